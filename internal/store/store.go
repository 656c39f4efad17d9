package store

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
)

// Limits of one group commit; a single larger transaction is committed alone.
const (
	maxBatchOps   = 2000
	maxBatchBytes = 1 << 20
)

// ErrClosed is answered once the store is closing.
var ErrClosed = errors.New("store is closed")

// Snapshot is the whole state at one revision. It is immutable; keep it as long as you like.
type Snapshot struct {
	Revision int64
	tables   []any
}

func (s *Snapshot) table(slot int) any { return s.tables[slot] }

// engine keeps bytes durably: etcd, or memory for tests.
type engine interface {
	// load gives every pair at one revision, and the revision of the head key (0 if never written).
	load(ctx context.Context, each func(table, key string, value []byte) error) (revision, head int64, err error)
	// commit applies the writes if the head's revision is still head, and then is durable. ok=false: another
	// process was faster. An error leaves the outcome unknown; id tells it later (see settle).
	commit(ctx context.Context, head int64, id string, writes []write) (revision int64, ok bool, err error)
	// settle finds out whether the commit id, whose outcome was unknown, happened, and at which revision.
	settle(ctx context.Context, id string, head int64) (revision int64, happened bool, err error)
	// watch calls each for every commit after revision, in order, until ctx ends. It returns an error that
	// wraps errCompacted if the past is gone and the state must be loaded anew.
	watch(ctx context.Context, revision int64, each func(commitEvent) error) error
	close() error
}

var errCompacted = errors.New("revision is compacted")

// commitEvent is one process's group commit as others see it.
type commitEvent struct {
	revision int64
	pairs    []pair
}

type pair struct {
	table, key string
	value      []byte // nil = deleted
}

// Store is a process's view of the state. See the package comment.
type Store struct {
	log     *slog.Logger
	engine  engine
	byName  map[string]anyTable
	updates chan *update
	stop    context.CancelFunc
	done    sync.WaitGroup
	newID   func() string

	snap atomic.Pointer[Snapshot]

	mu      sync.Mutex // guards what follows, and the order of publishing
	head    int64
	changed chan struct{} // closed and replaced at every new snapshot
	feeds   map[*Feed]struct{}
}

type update struct {
	ctx  context.Context
	fn   func(*Tx) error
	tx   *Tx
	err  error
	done chan struct{}
}

// Snapshot gives the newest state known: at least as new as every Update that returned in this process.
func (s *Store) Snapshot() *Snapshot { return s.snap.Load() }

// Update runs fn and makes its writes durable, all or nothing. fn sees every transaction before it, may run
// more than once, and must not block or have other effects. Its error is returned as it is, and then nothing
// is written. A context that ends before fn ran means that nothing was written.
func (s *Store) Update(ctx context.Context, fn func(*Tx) error) error {
	u := &update{ctx: ctx, fn: fn, done: make(chan struct{})}
	select {
	case s.updates <- u:
	case <-ctx.Done():
		return ctx.Err()
	case <-s.stopped():
		return ErrClosed
	}
	<-u.done // the writer always answers; an outcome must never be left unknown to the caller
	return u.err
}

func newSnapshot() *Snapshot {
	s := &Snapshot{tables: make([]any, len(catalog.tables))}
	for i, t := range catalog.tables {
		s.tables[i] = t.empty()
	}
	return s
}

func (s *Store) tableByName(name string) (anyTable, error) {
	t, ok := s.byName[name]
	if !ok {
		return nil, fmt.Errorf("unknown table %q: the store was written by a newer Karri", name)
	}
	return t, nil
}
