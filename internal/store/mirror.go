package store

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"
)

// load builds a snapshot from all that the engine has.
func (s *Store) load(ctx context.Context) (snap *Snapshot, from int64, err error) {
	snap = newSnapshot()
	h, from, err := s.engine.load(ctx, func(p pair) error {
		t, err := s.tableByName(p.table)
		if err != nil {
			return err
		}
		if _, _, err := t.load(snap.tables[t.slotNumber()], p.key, p.value); err != nil {
			return fmt.Errorf("record %q: %w", p.key, err)
		}
		return nil
	})
	if err != nil {
		return nil, 0, err
	}
	snap.head = h.parse()
	snap.Revision = h.revision
	return snap, from, nil
}

// unreadable marks what no retry will heal.
type unreadable struct{ error }

// follow keeps the mirror up to date.
func (s *Store) follow(ctx context.Context, from int64) {
	for failures := 0; ctx.Err() == nil; {
		err := s.engine.follow(ctx, from, func(ev commitEvent) error {
			failures = 0
			if err := s.apply(ev); err != nil {
				return unreadable{err}
			}
			from = ev.head.revision
			return nil
		})
		if ctx.Err() != nil {
			return
		}
		if errors.Is(err, errCompacted) {
			s.log.Warn("this process was cut off for long: loading the state anew", "revision", from)
			if from, err = s.reload(ctx, from); err == nil {
				continue
			}
		}
		if bad := (unreadable{}); errors.As(err, &bad) {
			s.mu.Lock()
			s.broken = fmt.Errorf("the state is unreadable: %w", bad.error)
			s.mu.Unlock()
			close(s.brokenDown)
			s.log.Error("the state is unreadable, following ends", "err", bad.error)
			return
		}
		failures++
		s.report(fmt.Errorf("follow the state: %w", err))
		pause(ctx, time.Duration(float64(min(10*time.Millisecond<<min(failures, 8), 2*time.Second))*(0.5+rand.Float64()/2)))
	}
}

func (s *Store) reload(ctx context.Context, from int64) (int64, error) {
	snap, at, err := s.load(ctx)
	if err != nil {
		return from, err
	}
	s.publish(snap, nil, true)
	return at, nil
}

// apply brings a commit into the mirror, unless it is there already. The own ones the writer publishes
// itself, without reading them from bytes: apply lets it go first.
func (s *Store) apply(ev commitEvent) error {
	h := ev.head.parse()
	if len(h.commits) > 0 && strings.HasPrefix(h.commits[0], s.writer+"-") {
		s.committing <- struct{}{}
		<-s.committing
	}
	base := s.Snapshot()
	if ev.head.revision <= base.Revision {
		return nil
	}
	g := newGroup(base)
	for _, p := range ev.pairs {
		t, err := s.tableByName(p.table)
		if err != nil {
			return err
		}
		data := g.writable(t)
		w := write{table: t, key: p.key}
		if p.value == nil {
			w.old = t.remove(data, p.key)
		} else if w.old, w.rec, err = t.load(data, p.key, p.value); err != nil {
			return fmt.Errorf("record %q: %w", p.key, err)
		}
		g.writes = append(g.writes, w)
	}
	s.publish(g.snapshot(h), g.writes, false)
	return nil
}
