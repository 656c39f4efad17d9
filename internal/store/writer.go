package store

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"time"
)

// Limits of one group commit. A single larger transaction is committed alone, as far as the engine takes it.
const (
	maxGroupOps     = 2000
	maxGroupBytes   = 1 << 20
	maxGroupUpdates = 1000
)

const (
	attemptTime = 5 * time.Second  // one try to commit
	patience    = 30 * time.Second // all tries, when the engine does not answer
)

// writer is the goroutine that commits.
type writer struct {
	*Store
	count int64 // of groups, for their names
}

func (s *Store) runWriter() {
	w := &writer{Store: s}
	var held *update
	for {
		u := held
		if u == nil {
			select {
			case u = <-s.updates:
			case <-s.closing.Done():
				return
			}
		}
		held = w.commitGroup(u)
	}
}

// commitGroup commits first together with those that wait behind it. It gives back one that did not fit.
func (w *writer) commitGroup(first *update) (held *update) {
	g := newGroup(w.Snapshot())
	members := make([]*update, 0, 8)
	for u := first; u != nil; u = w.waiting() {
		tx, err := g.run(u.fn)
		if len(members) > 0 && (len(g.writes)+len(tx.writes) > maxGroupOps || g.bytes+tx.bytes > maxGroupBytes) {
			g.undo(tx)
			held = u
			break
		}
		u.err = err
		g.keep(tx)
		members = append(members, u)
		if len(members) == maxGroupUpdates {
			break
		}
	}
	err := w.settle(g, members)
	for _, u := range members {
		if err != nil && u.err == nil {
			u.err = err
		}
		close(u.done)
	}
	return held
}

func (w *writer) waiting() *update {
	select {
	case u := <-w.updates:
		return u
	default:
		return nil
	}
}

// settle commits the group, running it again whenever another process was faster. Members' own errors are
// left in them; the error is for all the others.
func (w *writer) settle(g *group, members []*update) error {
	began := time.Now()
	for lost := 0; ; lost++ {
		if len(g.writes) == 0 {
			return nil
		}
		select {
		case <-w.brokenDown:
			return fmt.Errorf("%w: %w", ErrUnavailable, w.Healthy())
		default:
		}
		w.count++
		id := w.writer + "-" + strconv.FormatInt(w.count, 36)
		w.committing <- struct{}{}
		now, won, err := w.commit(g, id, began)
		if won && now.last(id) { // else others came after it, and the mirror gets them all in order
			w.publish(g.snapshot(now), g.writes, false)
		}
		<-w.committing
		if err != nil {
			for _, u := range members { // an error of theirs may rest on what was not written
				u.err = nil
			}
			return err
		}
		if won {
			return w.catchUp(now.revision, began, ErrUnknownOutcome)
		}
		if lost > 2 {
			pause(w.closing, rand.N(min(time.Millisecond<<min(lost, 6), 50*time.Millisecond)))
		}
		if err := w.catchUp(now.revision, began, ErrUnavailable); err != nil {
			for _, u := range members {
				u.err = nil
			}
			return err
		}
		g = newGroup(w.Snapshot())
		for _, u := range members {
			if u.err = u.ctx.Err(); u.err != nil {
				continue
			}
			tx, err := g.run(u.fn)
			u.err = err
			g.keep(tx)
		}
	}
}

// commit sends a group until its outcome is known, or patience ends. The guard makes it safe to send again:
// if an earlier try came through, the head names it.
func (w *writer) commit(g *group, id string, began time.Time) (now head, won bool, err error) {
	base, pairs := g.base.head, g.pairs()
	value := base.with(w.writer, id)
	sent := false // an earlier try may have come through
	for try := 0; ; try++ {
		ctx, cancel := context.WithTimeout(context.Background(), attemptTime)
		h, ok, err := w.engine.commit(ctx, base.revision, value, pairs)
		cancel()
		now = h.parse()
		switch {
		case err == nil && ok:
			return now, true, nil
		case err == nil && sent && now.has(id):
			return now, true, nil
		case err == nil && sent && len(now.commits) == recentWriters:
			return now, false, ErrUnknownOutcome
		case err == nil:
			return now, false, nil
		case errors.Is(err, errRefused) && !sent:
			return now, false, err
		}
		if !errors.Is(err, errRefused) {
			sent = true
		}
		w.report(fmt.Errorf("commit: %w", err))
		if w.closing.Err() != nil || time.Since(began) > patience {
			return now, false, fmt.Errorf("%w (%w)", ErrUnknownOutcome, err)
		}
		pause(w.closing, rand.N(min(10*time.Millisecond<<min(try, 6), 500*time.Millisecond)))
	}
}

// catchUp waits until the mirror has this revision; its error is asked for by the caller.
func (w *writer) catchUp(revision int64, began time.Time, otherwise error) error {
	if w.Snapshot().Revision >= revision {
		return nil
	}
	ctx, cancel := context.WithDeadline(context.Background(), began.Add(patience))
	defer cancel()
	if err := w.reach(ctx, revision); err != nil {
		return fmt.Errorf("%w (waiting for revision %d: %w)", otherwise, revision, err)
	}
	return nil
}
