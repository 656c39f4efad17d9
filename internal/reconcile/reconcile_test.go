package reconcile

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"karri.dev/internal/resource"
	"karri.dev/internal/store"
)

var quiet = slog.New(slog.DiscardHandler)

// start runs a loop in the bubble until the test ends.
func start(t *testing.T, cfg Config) *Loop {
	l := New(cfg, quiet)
	done := make(chan error)
	go func() { done <- l.Run(t.Context()) }()
	t.Cleanup(func() {
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return l
}

func TestPeriodAndPokes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		var at []time.Duration
		l := start(t, Config{Name: "x", Period: time.Minute, Run: func(context.Context) error {
			at = append(at, time.Since(began))
			time.Sleep(time.Second)
			return nil
		}})
		time.Sleep(500 * time.Millisecond)
		for range 5 {
			l.Poke() // while it runs: one more activation, not five
		}
		time.Sleep(61*time.Second + 500*time.Millisecond)
		synctest.Wait()
		if diff := cmp.Diff([]time.Duration{0, time.Second, 62 * time.Second}, at); diff != "" {
			t.Error(diff)
		}
		if s := l.Status(); !s.Running || s.Runs != 2 || s.Err != nil || s.Name != "x" {
			t.Errorf("status %+v", s)
		}
	})
}

func TestBackoff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bad := errors.New("bad")
		last := time.Now()
		var gaps []time.Duration
		var fails atomic.Bool
		fails.Store(true)
		var l *Loop
		begun := make(chan struct{}) // l is set
		l = start(t, Config{
			Name: "x", MinBackoff: time.Second, MaxBackoff: 5 * time.Second, Random: func() float64 { return 0 },
			Run: func(context.Context) error {
				gaps = append(gaps, time.Since(last))
				last = time.Now()
				if !fails.Load() {
					return nil
				}
				<-begun
				l.Poke() // does not cut the rest short
				return bad
			},
		})
		close(begun)
		time.Sleep(18 * time.Second)
		synctest.Wait()
		s := time.Second
		if diff := cmp.Diff([]time.Duration{0, s, 2 * s, 4 * s, 5 * s, 5 * s}, gaps); diff != "" {
			t.Error(diff)
		}
		if st := l.Status(); st.Failures != 6 || !errors.Is(st.Err, bad) {
			t.Errorf("status %+v", st)
		}
		fails.Store(false)
		time.Sleep(time.Hour)
		if st := l.Status(); st.Failures != 0 || st.Err != nil || st.Runs != 7 {
			t.Errorf("status %+v", st)
		}
		l.Poke()
		synctest.Wait()
		if st := l.Status(); st.Runs != 8 {
			t.Errorf("a poke after the failures: status %+v", st)
		}
	})
}

func TestBackoffBounds(t *testing.T) {
	for _, random := range []float64{0, 0.5, 0.999} {
		l := New(Config{Name: "x", Random: func() float64 { return random }}, quiet)
		for failures := 1; failures < 200; failures++ {
			if d := l.backoff(failures); d < 50*time.Millisecond || d > 30*time.Second {
				t.Fatalf("after %d failures: %v", failures, d)
			}
		}
	}
}

func TestFollow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := store.OpenMemory(quiet)
		feed := s.Feed(store.Settings)
		l := start(t, Config{Name: "x", Run: func(context.Context) error { return nil }})
		done := make(chan error)
		go func() { done <- l.Follow(t.Context(), feed) }()
		synctest.Wait()
		before := l.Status().Runs
		put := func(tx *store.Tx) error { return store.Settings.Put(tx, &resource.Setting{Name: "a", Value: "1"}) }
		if err := s.Update(t.Context(), put); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if now := l.Status().Runs; now != before+1 {
			t.Errorf("%d activations for one change", now-before)
		}
		s.Close()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}
