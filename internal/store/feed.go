package store

import (
	"context"
	"slices"
)

// Change is one record's way from one snapshot to a later one. Old and New hold *T of the table's type; Old
// is nil for a record that was not there, New for one that is gone.
type Change struct {
	Table, Key string
	Old, New   any
}

// Named is any Table.
type Named interface{ Name() string }

// Feed tells one reader what changed in some tables since it last asked. A slow reader gets the changes of
// a record as one: what waits is bounded by the number of records.
type Feed struct {
	store  *Store
	tables map[string]bool
	wake   chan struct{} // holds one token when something waits

	// guarded by store.mu
	rescan  bool
	waiting map[feedKey]int // place in changes
	changes []Change
}

type feedKey struct{ table, key string }

// Feed begins a feed of these tables (none: all). Close it when done.
func (s *Store) Feed(tables ...Named) *Feed {
	f := &Feed{store: s, wake: make(chan struct{}, 1), waiting: make(map[feedKey]int), rescan: true}
	if len(tables) > 0 {
		f.tables = make(map[string]bool, len(tables))
		for _, t := range tables {
			f.tables[t.Name()] = true
		}
	}
	f.wake <- struct{}{}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.feeds[f] = struct{}{}
	return f
}

// Close ends the feed.
func (f *Feed) Close() {
	f.store.mu.Lock()
	defer f.store.mu.Unlock()
	delete(f.store.feeds, f)
}

// Next waits until something changed and gives the changes, and the snapshot that they lead to.
// Changes are nil when the reader has to look through the whole snapshot: the first time (at once), and when
// this process was cut off for so long that it had to load the state anew.
func (f *Feed) Next(ctx context.Context) ([]Change, *Snapshot, error) {
	for {
		select {
		case <-f.wake:
		case <-ctx.Done():
			return nil, nil, ctx.Err()
		case <-f.store.closing.Done():
			return nil, nil, ErrClosed
		}
		if changes, snap, ok := f.take(); ok {
			return changes, snap, nil
		}
	}
}

func (f *Feed) take() (changes []Change, snap *Snapshot, ok bool) {
	f.store.mu.Lock()
	defer f.store.mu.Unlock()
	snap, changes = f.store.snap.Load(), f.changes
	rescan := f.rescan
	f.changes, f.rescan = nil, false
	clear(f.waiting)
	if rescan {
		return nil, snap, true
	}
	// A record that came and went while nobody looked is no change.
	changes = slices.DeleteFunc(changes, func(c Change) bool { return c.Old == nil && c.New == nil })
	return changes, snap, len(changes) > 0
}

// add is called by publish, under store.mu.
func (f *Feed) add(writes []write, reloaded bool) {
	if reloaded {
		f.rescan = true
	}
	if f.rescan {
		f.changes = nil
		clear(f.waiting)
		f.poke()
		return
	}
	for _, w := range writes {
		name := w.table.Name()
		if f.tables != nil && !f.tables[name] {
			continue
		}
		k := feedKey{name, w.key}
		if i, ok := f.waiting[k]; ok {
			f.changes[i].New = w.rec
			continue
		}
		f.waiting[k] = len(f.changes)
		f.changes = append(f.changes, Change{Table: name, Key: w.key, Old: w.old, New: w.rec})
	}
	if len(f.changes) > 0 {
		f.poke()
	}
}

func (f *Feed) poke() {
	select {
	case f.wake <- struct{}{}:
	default:
	}
}
