// Package reconcile runs a reconciler: a function without input that looks at what is wanted and what is,
// and makes one step from the one to the other. It runs when poked and on a period; after a failure it runs
// again later and later. Reconcilers do not retry inside, and must be idempotent.
package reconcile

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"karri.dev/internal/store"
)

// Config describes a loop.
type Config struct {
	Name   string
	Period time.Duration // the longest time between two activations; 0: only when poked or after a failure
	Run    func(ctx context.Context) error

	// After the n-th failure in a row the loop rests for MinBackoff·2ⁿ⁻¹, at most MaxBackoff, less up to a half
	// by chance. Pokes wait that long too.
	MinBackoff time.Duration  // 0 means 100 ms
	MaxBackoff time.Duration  // 0 means 30 s
	Random     func() float64 // in [0,1); nil means math/rand
}

// Loop is a reconciler with its schedule.
type Loop struct {
	cfg  Config
	log  *slog.Logger
	poke chan struct{} // holds one token when there may be work

	mu     sync.Mutex
	status Status
}

// Status says how a loop is doing.
type Status struct {
	Name      string
	Running   bool
	Runs      int       // finished activations
	Failures  int       // in a row, up to the last one
	StartedAt time.Time // of the last activation, zero if there was none
	EndedAt   time.Time // of the last finished activation
	Err       error     // of the last finished activation
}

// New makes a loop; Run starts it.
func New(cfg Config, log *slog.Logger) *Loop {
	if cfg.MinBackoff == 0 {
		cfg.MinBackoff = 100 * time.Millisecond
	}
	if cfg.MaxBackoff == 0 {
		cfg.MaxBackoff = 30 * time.Second
	}
	if cfg.Random == nil {
		cfg.Random = rand.Float64
	}
	return &Loop{
		cfg: cfg, log: log.With("reconciler", cfg.Name),
		poke: make(chan struct{}, 1), status: Status{Name: cfg.Name},
	}
}

// Poke says that there may be work. A poke during an activation leads to another one after it.
func (l *Loop) Poke() {
	select {
	case l.poke <- struct{}{}:
	default:
	}
}

// Follow pokes the loop whenever the feed has something, until ctx or the store ends.
func (l *Loop) Follow(ctx context.Context, feed *store.Feed) error {
	for {
		_, _, err := feed.Next(ctx)
		switch {
		case ctx.Err() != nil || errors.Is(err, store.ErrClosed):
			return nil
		case err != nil:
			return err
		}
		l.Poke()
	}
}

// Run activates the reconciler at once, and then as its schedule says, until ctx ends.
func (l *Loop) Run(ctx context.Context) error {
	for ctx.Err() == nil {
		failures := l.activate(ctx)
		if ctx.Err() != nil {
			break
		}
		var next <-chan time.Time
		poke := l.poke
		switch {
		case failures > 0:
			next, poke = time.After(l.backoff(failures)), nil
		case l.cfg.Period > 0:
			next = time.After(l.cfg.Period)
		}
		select {
		case <-poke:
		case <-next:
			l.drain()
		case <-ctx.Done():
		}
	}
	return nil
}

// drain forgets a poke that the coming activation answers.
func (l *Loop) drain() {
	select {
	case <-l.poke:
	default:
	}
}

func (l *Loop) activate(ctx context.Context) (failures int) {
	l.mu.Lock()
	l.status.Running, l.status.StartedAt = true, time.Now()
	before := l.status.Failures
	l.mu.Unlock()

	err := l.cfg.Run(ctx)

	l.mu.Lock()
	defer l.mu.Unlock()
	s := &l.status
	s.Running, s.EndedAt = false, time.Now()
	if ctx.Err() != nil {
		return 0 // cut short: it says nothing about the reconciler
	}
	s.Runs++
	s.Err = err
	switch {
	case err == nil && before > 0:
		l.log.Info("works again", "failures", before)
		s.Failures = 0
	case err != nil:
		s.Failures++
		l.log.Warn("activation failed", "err", err, "failures", s.Failures)
	}
	return s.Failures
}

func (l *Loop) backoff(failures int) time.Duration {
	d := l.cfg.MaxBackoff
	if n := failures - 1; n < 32 {
		d = min(d, l.cfg.MinBackoff<<n)
	}
	return d - time.Duration(float64(d/2)*l.cfg.Random())
}

// Status gives the loop's state of health.
func (l *Loop) Status() Status {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.status
}
