package store

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"
)

var (
	// ErrClosed is answered once the store is closing. Nothing was written.
	ErrClosed = errors.New("store is closed")
	// ErrUnavailable wraps the reason why nothing could be written.
	ErrUnavailable = errors.New("state store is unavailable")
	// ErrUnknownOutcome: the connection was lost while a commit was under way, and did not come back in time
	// to find out whether it happened.
	ErrUnknownOutcome = errors.New("state store did not answer in time: it is not known whether the change was made")
	// ErrTooLarge: the transaction is larger than the engine takes at once. Nothing was written.
	ErrTooLarge = errors.New("transaction is too large")
)

// Snapshot is the whole state at one revision. It is immutable; keep it as long as you like.
type Snapshot struct {
	Revision int64 // of the last commit in it; 0 for an empty store
	head     head
	tables   []*rows
}

func (s *Snapshot) table(slot int) (r *rows, changing bool) { return s.tables[slot], false }

// Store is a process's view of the state. See the package comment.
type Store struct {
	log    *slog.Logger
	engine engine
	byName map[string]anyTable
	writer string // this store's name in the head value

	updates chan *update
	closing context.Context
	stop    context.CancelFunc
	running sync.WaitGroup
	closed  sync.Once

	committing chan struct{} // full while the writer waits for an outcome

	snap atomic.Pointer[Snapshot]

	mu      sync.Mutex // guards what follows, and the order of publishing
	changed chan struct{}
	feeds   map[*Feed]struct{}
	broken  error // why the mirror cannot follow any more
	trouble error // for Healthy

	brokenDown chan struct{} // closed once broken is set
}

type update struct {
	ctx  context.Context
	fn   func(*Tx) error
	err  error
	done chan struct{}
}

// open loads the state and starts to follow it.
func open(ctx context.Context, log *slog.Logger, e engine) (*Store, error) {
	s := &Store{
		log: log, engine: e,
		byName:  make(map[string]anyTable, len(catalog.tables)),
		writer:  rand.Text()[:12],
		updates: make(chan *update),

		committing: make(chan struct{}, 1),
		changed:    make(chan struct{}),
		feeds:      make(map[*Feed]struct{}),

		brokenDown: make(chan struct{}),
	}
	for _, t := range catalog.tables {
		s.byName[t.Name()] = t
	}
	snap, from, err := s.load(ctx)
	if err != nil {
		return nil, fmt.Errorf("load the state: %w", err)
	}
	s.snap.Store(snap)
	s.closing, s.stop = context.WithCancel(context.Background())
	s.running.Go(s.runWriter)
	s.running.Go(func() { s.follow(s.closing, from) })
	return s, nil
}

// Close ends the store: a commit under way is finished, waiting updates get ErrClosed.
func (s *Store) Close() error {
	var err error
	s.closed.Do(func() {
		s.stop()
		s.running.Wait()
		err = s.engine.close()
	})
	return err
}

// Snapshot gives the newest state known: at least as new as every Update that returned in this process.
func (s *Store) Snapshot() *Snapshot { return s.snap.Load() }

// Changed gives a channel that is closed when a newer snapshot than the present one is there.
func (s *Store) Changed() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.changed
}

// Sync waits until Snapshot contains everything that any process wrote before Sync was called.
func (s *Store) Sync(ctx context.Context) error {
	revision, err := s.engine.current(ctx)
	if err != nil {
		return fmt.Errorf("read the head: %w", err)
	}
	return s.reach(ctx, revision)
}

// reach waits until the mirror has this revision.
func (s *Store) reach(ctx context.Context, revision int64) error {
	for {
		changed := s.Changed()
		if s.Snapshot().Revision >= revision {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		case <-s.closing.Done():
			return ErrClosed
		case <-s.brokenDown:
			return s.Healthy()
		}
	}
}

// Update runs fn and makes its writes durable, all or nothing. fn sees every transaction before it, may run
// more than once, and must not block or have other effects. Its error is returned as it is, and then nothing
// is written. A context that ends before fn ran means that nothing was written; later it has no effect,
// so that the outcome is known. Only when the state store cannot be reached for long there is
// ErrUnavailable (nothing was written) or ErrUnknownOutcome.
func (s *Store) Update(ctx context.Context, fn func(*Tx) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	u := &update{ctx: ctx, fn: fn, done: make(chan struct{})}
	select {
	case s.updates <- u:
	case <-ctx.Done():
		return ctx.Err()
	case <-s.closing.Done():
		return ErrClosed
	}
	<-u.done
	return u.err
}

// Healthy says what is wrong between this process and the state store, if anything.
func (s *Store) Healthy() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.broken != nil {
		return s.broken
	}
	return s.trouble
}

// report keeps the state of health, and logs its changes.
func (s *Store) report(err error) {
	s.mu.Lock()
	before := s.trouble
	s.trouble = err
	s.mu.Unlock()
	switch {
	case err != nil && (before == nil || before.Error() != err.Error()):
		s.log.Warn("state store is in trouble", "err", err)
	case err == nil && before != nil:
		s.log.Info("state store is well again")
	}
}

// publish makes a snapshot the newest, unless the mirror is already there.
func (s *Store) publish(snap *Snapshot, writes []write, reloaded bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if now := s.snap.Load(); snap.Revision <= now.Revision && !(reloaded && snap.Revision == now.Revision) {
		return
	}
	s.snap.Store(snap)
	for f := range s.feeds {
		f.add(writes, reloaded)
	}
	close(s.changed)
	s.changed = make(chan struct{})
}

func newSnapshot() *Snapshot {
	s := &Snapshot{tables: make([]*rows, len(catalog.tables))}
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

// pause waits for d, or until ctx ends.
func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}
