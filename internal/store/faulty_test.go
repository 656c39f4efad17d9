package store

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"
)

// faulty is an engine behind a bad connection: commits get lost, or come through and their answers get
// lost, or come through much later; watches break off, sometimes for so long that the past is gone.
type faulty struct {
	engine
	rate float64 // of calls that go wrong

	loads int

	ended   context.Context
	stop    context.CancelFunc
	late    sync.WaitGroup
	unknown atomic.Int64 // commits that happened although an error was given
}

func newFaulty(e engine, rate float64) *faulty {
	f := &faulty{engine: e, rate: rate}
	f.ended, f.stop = context.WithCancel(context.Background())
	return f
}

var errFault = errors.New("connection lost (injected)")

func (f *faulty) bad() bool { return rand.Float64() < f.rate }

func (f *faulty) commit(ctx context.Context, guard int64, value []byte, pairs []pair) (headValue, bool, error) {
	if f.bad() {
		switch rand.N(3) {
		case 0: // never arrives
			return headValue{}, false, errFault
		case 1: // arrives, the answer does not
			if _, ok, err := f.engine.commit(ctx, guard, value, pairs); ok && err == nil {
				f.unknown.Add(1)
			}
			return headValue{}, false, errFault
		case 2: // arrives after the caller was told
			f.late.Go(func() {
				pause(f.ended, rand.N(30*time.Millisecond))
				if _, ok, err := f.engine.commit(context.Background(), guard, value, pairs); ok && err == nil {
					f.unknown.Add(1)
				}
			})
			return headValue{}, false, errFault
		}
	}
	return f.engine.commit(ctx, guard, value, pairs)
}

func (f *faulty) follow(ctx context.Context, revision int64, each func(commitEvent) error) error {
	if f.bad() {
		return errCompacted
	}
	return f.engine.follow(ctx, revision, func(ev commitEvent) error {
		if rand.Float64() < f.rate/4 {
			return errFault
		}
		return each(ev)
	})
}

func (f *faulty) load(ctx context.Context, each func(pair) error) (headValue, int64, error) {
	h, at, err := f.engine.load(ctx, each)
	if f.loads++; err == nil && f.loads > 1 && f.bad() {
		err = errFault
	}
	return h, at, err
}

func (f *faulty) close() error {
	f.stop()
	f.late.Wait()
	return f.engine.close()
}
