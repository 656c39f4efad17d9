package disk

import (
	"errors"
	"fmt"
	"sync"

	"github.com/cockroachdb/pebble/v2"

	"karri.dev/internal/object"
)

// Limits of one group commit.
const (
	maxGroup      = 1024
	maxGroupBytes = 8 << 20
)

// update is a change that waits for the committer.
type update struct {
	fn   func(*tx) error
	err  error
	done chan struct{}
}

// tx is a change under way. It sees the changes before it. A function must check first and write then:
// what it wrote is not taken back when it fails.
type tx struct {
	reader
	batch  *pebble.Batch
	doomed []doomed
	tally  tallying
}

// reader finds records in a snapshot or in a change under way.
type reader struct {
	pebble.Reader
	known      *known
	committing bool // it is the committer's
}

// update runs fn in the committer's order and returns once its writes are durable and visible. An error of fn
// is returned as it is. It does not depend on a context: the outcome must be known.
func (e *Engine) update(fn func(*tx) error) error {
	if err := e.spare.ready(); err != nil {
		return err
	}
	u := &update{fn: fn, done: make(chan struct{})}
	e.updates <- u
	<-u.done
	return u.err
}

// group is what is committed together.
type group struct {
	tx      *tx
	updates []*update
	view    *view // the state with it; nil if it changes nothing
	err     error
}

// commitLoop is the one writer of the index. While one group becomes durable, the next one is made up, on top of it.
func (e *Engine) commitLoop() {
	defer close(e.applied)
	for first := range e.updates {
		t := &tx{batch: e.db.NewIndexedBatch(), tally: tallying{ledger: e.cfg.Ledger}}
		t.reader = reader{t.batch, e.known, true}
		g := group{tx: t}
		for u := first; u != nil; u = e.another(len(g.updates), t.batch.Len()) {
			u.err = u.fn(t)
			t.tally.settle()
			g.updates = append(g.updates, u)
		}
		if g.err = t.putTallies(); g.err == nil && !t.batch.Empty() {
			if g.err = e.db.ApplyNoSyncWait(t.batch, pebble.Sync); g.err == nil {
				g.view = e.current.of(e.db)
			}
		}
		if g.err != nil {
			t.tally.undo()
		}
		e.applied <- g
	}
}

// another gives the next waiting change, or nil when the group is to be committed.
func (e *Engine) another(count, size int) *update {
	if count >= maxGroup || size >= maxGroupBytes {
		return nil
	}
	select {
	case u := <-e.updates: // nil once closed
		return u
	default:
		return nil
	}
}

// syncLoop waits until a group is durable, shows it to readers and then answers. A group without changes waits for its turn
// too: what it has seen may not have been durable.
func (e *Engine) syncLoop() {
	for g := range e.applied {
		if g.view != nil {
			if g.err = g.tx.batch.SyncWait(); g.err == nil {
				e.garbage.order.Lock()
				e.current.advance(g.view)
				e.garbage.add(g.tx.doomed)
				e.garbage.order.Unlock()
			} else {
				g.err = errors.Join(g.err, g.view.snap.Close())
			}
		}
		g.err = errors.Join(g.err, g.tx.batch.Close())
		for _, u := range g.updates {
			if g.err != nil && u.err == nil {
				u.err = fmt.Errorf("commit to object index: %w", noSpace(g.err))
			}
			close(u.done)
		}
	}
}

// get gives a copy of a value, nil if there is none.
func (r reader) get(key []byte) ([]byte, error) {
	value, closer, err := r.Get(key)
	if errors.Is(err, pebble.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read object index: %w", damaged(err))
	}
	out := append(make([]byte, 0, len(value)), value...)
	return out, closer.Close()
}

func (r reader) has(key []byte) (bool, error) {
	_, closer, err := r.Get(key)
	if errors.Is(err, pebble.ErrNotFound) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("read object index: %w", damaged(err))
	}
	return true, closer.Close()
}

// alive answers ErrNoBucket for a dropped bucket.
func (r reader) alive(bucket string) error {
	if _, live := r.known.live.Load(bucket); live {
		return nil
	}
	dropped, err := r.has(droppedKey(bucket))
	switch {
	case err != nil:
		return err
	case dropped:
		return object.ErrNoBucket
	case r.committing:
		r.known.live.Store(bucket, nil)
	}
	return nil
}

func damaged(err error) error {
	if pebble.IsCorruptionError(err) {
		return fmt.Errorf("%w: %w", object.ErrCorrupt, err)
	}
	return err
}

func (t *tx) set(key, value []byte) error {
	if err := t.batch.Set(key, value, nil); err != nil {
		return fmt.Errorf("write object index: %w", err)
	}
	return nil
}

func (t *tx) remove(key []byte) error {
	if err := t.batch.Delete(key, nil); err != nil {
		return fmt.Errorf("write object index: %w", err)
	}
	return nil
}

// views gives readers the snapshot of the last durable commit.
type views struct {
	known *known
	mu    sync.Mutex
	now   *view
}

// view is a durable state. It is closed with its last user.
type view struct {
	reader
	snap *pebble.Snapshot
	refs int // guarded by views.mu; one is for being the newest
}

func newViews(db *pebble.DB, known *known) *views {
	s := &views{known: known}
	s.advance(s.of(db))
	return s
}

// of gives the state that the index has now, durable or not.
func (s *views) of(db *pebble.DB) *view {
	snap := db.NewSnapshot()
	return &view{reader: reader{Reader: snap, known: s.known}, snap: snap, refs: 1}
}

// advance makes v the state that readers see.
func (s *views) advance(v *view) {
	s.mu.Lock()
	old := s.now
	s.now = v
	s.mu.Unlock()
	if old != nil {
		_ = s.release(old)
	}
}

// acquire gives the newest durable state; release it soon.
func (s *views) acquire() *view {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.now.refs++
	return s.now
}

func (s *views) release(v *view) error {
	s.mu.Lock()
	v.refs--
	last := v.refs == 0
	s.mu.Unlock()
	if last {
		return v.snap.Close()
	}
	return nil
}

func (s *views) close() error { return s.release(s.now) }
