package store

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	if childMain() {
		return
	}
	goleak.VerifyTestMain(m,
		goleak.IgnoreTopFunction("go.etcd.io/etcd/pkg/v3/schedule.(*fifo).run")) // ends soon after its server
}

// TestContract is what every engine has to give.
func TestContract(t *testing.T) {
	t.Parallel()
	for _, b := range backends() {
		t.Run(b.name, func(t *testing.T) {
			next := b.engine(t)
			tests := []struct {
				name string
				fn   func(t *testing.T, next func() engine)
			}{
				{"UpdateAndRead", testUpdateAndRead},
				{"FailureLeavesNothing", testFailure},
				{"Unique", testUnique},
				{"ChangeWhileWalking", testWalk},
				{"Feed", testFeed},
				{"OtherProcess", testOther},
				{"Reopen", testReopen},
				{"Large", testLarge},
				{"Context", testContext},
				{"Lead", testLead},
				{"Close", testClose},
			}
			for _, tt := range tests {
				t.Run(tt.name, func(t *testing.T) { tt.fn(t, next) })
			}
		})
	}
}

func put(recs ...*thing) func(*Tx) error {
	return func(tx *Tx) error {
		for _, r := range recs {
			if err := things.Put(tx, r); err != nil {
				return err
			}
		}
		return nil
	}
}

func mustUpdate(t testing.TB, s *Store, fn func(*Tx) error) {
	t.Helper()
	if err := s.Update(context.Background(), fn); err != nil {
		t.Fatal(err)
	}
	if err := s.Snapshot().Check(); err != nil {
		t.Fatal(err)
	}
}

func ids(seq func(func(*thing) bool)) (out []string) {
	for r := range seq {
		out = append(out, r.ID)
	}
	return out
}

func wantIDs(t testing.TB, seq func(func(*thing) bool), want ...string) {
	t.Helper()
	if diff := cmp.Diff(want, ids(seq)); diff != "" {
		t.Errorf("records (-want +got):\n%s", diff)
	}
}

// fresh opens a store and empties the tables.
func fresh(t testing.TB, e engine) *Store {
	s := openOn(t, e)
	mustUpdate(t, s, func(tx *Tx) error {
		for r := range things.All(tx) {
			things.Delete(tx, r.ID)
		}
		for r := range others.All(tx) {
			others.Delete(tx, r.ID)
		}
		return nil
	})
	return s
}

func testUpdateAndRead(t *testing.T, next func() engine) {
	s := fresh(t, next())
	before := s.Snapshot()
	mustUpdate(t, s, put(&thing{ID: "b", Name: "bee", Kinds: []string{"x", "y"}}, &thing{ID: "a", Kinds: []string{"x"}}, &thing{ID: "c"}))
	snap := s.Snapshot()
	if before.Revision >= snap.Revision || things.Len(before) != 0 {
		t.Error("an old snapshot changed")
	}
	wantIDs(t, things.All(snap), "a", "b", "c")
	wantIDs(t, things.From(snap, "b"), "b", "c")
	wantIDs(t, thingsByKind.By(snap, "x"), "a", "b")
	wantIDs(t, thingsByKind.From(snap, "x", "aa"), "b")
	wantIDs(t, thingsByKind.By(snap, "z"))
	if got := thingsByName.One(snap, "bee"); got == nil || got.ID != "b" {
		t.Errorf("by name: %v", got)
	}
	mustUpdate(t, s, func(tx *Tx) error {
		wantIDs(t, thingsByKind.By(tx, "x"), "a", "b")
		if err := things.Put(tx, &thing{ID: "b", Kinds: []string{"z"}}); err != nil {
			return err
		}
		wantIDs(t, thingsByKind.By(tx, "x"), "a") // sees its own writes
		if thingsByName.One(tx, "bee") != nil {
			t.Error("a name that was given up is still there")
		}
		things.Delete(tx, "a")
		things.Delete(tx, "never there")
		return others.Put(tx, &thing{ID: "a", N: 7})
	})
	wantIDs(t, things.All(s.Snapshot()), "b", "c")
	if got := others.Get(s.Snapshot(), "a"); got == nil || got.N != 7 {
		t.Errorf("other table: %v", got)
	}
	revision := s.Snapshot().Revision
	mustUpdate(t, s, func(tx *Tx) error { wantIDs(t, things.All(tx), "b", "c"); return nil })
	if s.Snapshot().Revision != revision {
		t.Error("a transaction without writes was committed")
	}
	for _, key := range []string{"", "a\nb", "a\x00"} {
		if err := s.Update(t.Context(), put(&thing{ID: key})); err == nil {
			t.Errorf("key %q was taken", key)
		}
	}
	mustUpdate(t, s, put(&thing{ID: "a/b/ü c"})) // slashes are fine
}

func testFailure(t *testing.T, next func() engine) {
	s := fresh(t, next())
	mustUpdate(t, s, put(&thing{ID: "a", Name: "one", Kinds: []string{"x"}}, &thing{ID: "b"}))
	before := s.Snapshot()
	bad := errors.New("bad")
	mess := func(tx *Tx) {
		things.Put(tx, &thing{ID: "a", Name: "two", Kinds: []string{"y"}})
		things.Put(tx, &thing{ID: "n", Name: "one"})
		things.Put(tx, &thing{ID: "a", Name: "three"})
		things.Delete(tx, "b")
		things.Delete(tx, "a")
	}
	if err := s.Update(t.Context(), func(tx *Tx) error { mess(tx); return bad }); err != bad {
		t.Errorf("error %v", err)
	}
	if err := s.Update(t.Context(), func(tx *Tx) error { mess(tx); panic("ouch") }); err == nil || !strings.Contains(err.Error(), "ouch") {
		t.Errorf("error %v", err)
	}
	if s.Snapshot() != before {
		t.Error("a failed transaction changed something")
	}
	// Good and bad ones in one group: the bad ones leave no trace in the good ones' view.
	var wg sync.WaitGroup
	for i := range 60 {
		wg.Go(func() {
			err := s.Update(context.Background(), func(tx *Tx) error {
				a := things.Get(tx, "a")
				if a == nil || a.Name != "one" || things.Get(tx, "b") == nil {
					return errors.New("saw what a failed one did")
				}
				if i%3 > 0 {
					mess(tx)
					if i%3 == 1 {
						return bad
					}
					panic(bad)
				}
				return things.Put(tx, &thing{ID: fmt.Sprint("n", i)})
			})
			if (i%3 == 0 && err != nil) || (i%3 == 1 && err != bad) || (i%3 == 2 && err == nil) {
				t.Errorf("update %d: %v", i, err)
			}
		})
	}
	wg.Wait()
	if n := things.Len(s.Snapshot()); n != 22 {
		t.Errorf("%d records", n)
	}
	if err := s.Snapshot().Check(); err != nil {
		t.Error(err)
	}
}

func testUnique(t *testing.T, next func() engine) {
	s := fresh(t, next())
	mustUpdate(t, s, put(&thing{ID: "b", Name: "n"}))
	for _, id := range []string{"a", "c"} {
		err := s.Update(t.Context(), put(&thing{ID: id, Name: "n"}))
		var dup *DuplicateError
		if !errors.As(err, &dup) || *dup != (DuplicateError{"test-things", "name", "n"}) {
			t.Errorf("error %v", err)
		}
	}
	mustUpdate(t, s, put(&thing{ID: "b", Name: "n", N: 1})) // it has the name itself
	mustUpdate(t, s, func(tx *Tx) error {                   // swapping within a transaction
		things.Delete(tx, "b")
		return things.Put(tx, &thing{ID: "a", Name: "n"})
	})
	mustUpdate(t, s, func(tx *Tx) error { // a refused Put leaves the transaction usable
		if err := things.Put(tx, &thing{ID: "z", Name: "n"}); err == nil {
			t.Error("a second holder of a name")
		}
		return things.Put(tx, &thing{ID: "z", Name: "m"})
	})
}

func testWalk(t *testing.T, next func() engine) {
	s := fresh(t, next())
	mustUpdate(t, s, func(tx *Tx) error {
		for i := range 500 {
			if err := things.Put(tx, &thing{ID: fmt.Sprintf("%03d", i), Kinds: []string{"k"}}); err != nil {
				return err
			}
		}
		n := 0
		for r := range thingsByKind.By(tx, "k") { // also over what this transaction wrote itself
			things.Delete(tx, r.ID)
			things.Put(tx, &thing{ID: "new" + r.ID, Kinds: []string{"k"}})
			n++
		}
		if n != 500 {
			t.Errorf("walked over %d records", n)
		}
		return nil
	})
	if n := things.Len(s.Snapshot()); n != 500 {
		t.Errorf("%d records", n)
	}
	mustUpdate(t, s, func(tx *Tx) error {
		for r := range things.All(tx) {
			things.Delete(tx, r.ID)
		}
		return nil
	})
	if n := things.Len(s.Snapshot()); n != 0 {
		t.Errorf("%d records", n)
	}
}

func testFeed(t *testing.T, next func() engine) {
	a, b := fresh(t, next()), openOn(t, next())
	for _, s := range []*Store{a, b} {
		if err := s.Sync(t.Context()); err != nil {
			t.Fatal(err)
		}
		f := s.Feed(things)
		defer f.Close()
		if changes, snap, err := f.Next(t.Context()); changes != nil || snap == nil || err != nil {
			t.Fatalf("the first time: %v %v %v", changes, snap, err)
		}
		mustUpdate(t, a, put(&thing{ID: "a", N: 1}, &thing{ID: "b"}))
		mustUpdate(t, a, put(&thing{ID: "a", N: 2}))
		mustUpdate(t, a, func(tx *Tx) error {
			things.Delete(tx, "b")
			return others.Put(tx, &thing{ID: "not asked for"})
		})
		if err := s.Sync(t.Context()); err != nil {
			t.Fatal(err)
		}
		changes, snap, err := f.Next(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		want := []Change{{Table: "test-things", Key: "a", New: &thing{ID: "a", N: 2}}} // b came and went
		if diff := cmp.Diff(want, changes); diff != "" {
			t.Errorf("changes (-want +got):\n%s", diff)
		}
		if things.Get(snap, "a").N != 2 {
			t.Error("the snapshot is older than the changes")
		}
		mustUpdate(t, a, func(tx *Tx) error { return others.Put(tx, &thing{ID: "not asked for", N: 1}) })
		mustUpdate(t, a, func(tx *Tx) error { things.Delete(tx, "a"); return nil })
		changes, _, err = f.Next(t.Context())
		want = []Change{{Table: "test-things", Key: "a", Old: &thing{ID: "a", N: 2}}}
		if diff := cmp.Diff(want, changes); diff != "" || err != nil {
			t.Errorf("changes (-want +got), %v:\n%s", err, diff)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
		defer cancel()
		if _, _, err := f.Next(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("nothing changed: %v", err)
		}
	}
}

func testOther(t *testing.T, next func() engine) {
	a, b := fresh(t, next()), openOn(t, next())
	changed := b.Changed()
	mustUpdate(t, a, put(&thing{ID: "a", Name: "n", Kinds: []string{"k"}}))
	if err := b.Sync(t.Context()); err != nil {
		t.Fatal(err)
	}
	<-changed
	if b.Snapshot().Revision != a.Snapshot().Revision {
		t.Error("not at the same revision")
	}
	wantIDs(t, thingsByKind.By(b.Snapshot(), "k"), "a")
	if err := b.Snapshot().Check(); err != nil {
		t.Error(err)
	}
	for i := range 50 { // each sees the other's last write, without Sync: the head makes one line of them
		s := []*Store{a, b}[i%2]
		mustUpdate(t, s, func(tx *Tx) error {
			r := *things.Get(tx, "a")
			r.N++
			return things.Put(tx, &r)
		})
		if got := things.Get(s.Snapshot(), "a").N; got != i+1 {
			t.Fatalf("after %d increments: %d", i+1, got)
		}
	}
}

func testReopen(t *testing.T, next func() engine) {
	s := fresh(t, next())
	mustUpdate(t, s, func(tx *Tx) error {
		for i := range pageSize + 500 {
			if err := things.Put(tx, &thing{ID: fmt.Sprintf("%05d/x", i), Kinds: []string{"k"}, N: i}); err != nil {
				return err
			}
		}
		return nil
	})
	again := openOn(t, next())
	if diff := cmp.Diff(slices.Collect(things.All(s.Snapshot())), slices.Collect(things.All(again.Snapshot()))); diff != "" {
		t.Error(diff)
	}
	if again.Snapshot().Revision != s.Snapshot().Revision {
		t.Error("another revision")
	}
	mustUpdate(t, again, put(&thing{ID: "more"}))
}

func testLarge(t *testing.T, next func() engine) {
	a, b := fresh(t, next()), openOn(t, next())
	const n = 5000 // more than a group
	mustUpdate(t, a, func(tx *Tx) error {
		for i := range n {
			if err := things.Put(tx, &thing{ID: fmt.Sprint(i), Name: strings.Repeat("x", 100) + fmt.Sprint(i)}); err != nil {
				return err
			}
		}
		return nil
	})
	if err := b.Sync(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := things.Len(b.Snapshot()); got != n {
		t.Errorf("%d records", got)
	}
	var wg sync.WaitGroup
	for i := range 6 { // together more than a group
		wg.Go(func() {
			err := a.Update(context.Background(), func(tx *Tx) error {
				for j := range 900 {
					if err := others.Put(tx, &thing{ID: fmt.Sprint(i, "-", j), Name: strings.Repeat("x", 400)}); err != nil {
						return err
					}
				}
				return nil
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if got := others.Len(a.Snapshot()); got != 5400 {
		t.Errorf("%d records", got)
	}
	if _, ok := a.engine.(*etcd); ok {
		before := a.Snapshot()
		err := a.Update(t.Context(), put(&thing{ID: "huge", Name: strings.Repeat("x", 17<<20)}))
		if !errors.Is(err, ErrTooLarge) || a.Snapshot() != before {
			t.Errorf("17 MiB in one record: %v", err)
		}
	}
	mustUpdate(t, a, put(&thing{ID: "fine"}))
}

func testContext(t *testing.T, next func() engine) {
	s := fresh(t, next())
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Update(ended, put(&thing{ID: "a"})); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
	// While another transaction has its turn, waiting ones can give up.
	hold, holding := make(chan struct{}), make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		s.Update(context.Background(), func(*Tx) error {
			close(holding)
			<-hold
			return nil
		})
	})
	<-holding
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	if err := s.Update(ctx, put(&thing{ID: "b"})); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error %v", err)
	}
	close(hold)
	wg.Wait()
	mustUpdate(t, s, put(&thing{ID: "c"}))
	wantIDs(t, things.All(s.Snapshot()), "c")
}

func testLead(t *testing.T, next func() engine) {
	a, b := openOn(t, next()), openOn(t, next())
	var mu sync.Mutex
	leaders, turns := 0, 0
	var wg sync.WaitGroup
	for _, s := range []*Store{a, b, a} {
		wg.Go(func() {
			err := s.Lead(t.Context(), "job", func(ctx context.Context) error {
				mu.Lock()
				leaders++
				turns++
				if leaders > 1 {
					t.Error("two leaders")
				}
				mu.Unlock()
				time.Sleep(5 * time.Millisecond)
				mu.Lock()
				leaders--
				mu.Unlock()
				return errors.New("own error")
			})
			if err == nil || err.Error() != "own error" {
				t.Errorf("error %v", err)
			}
		})
	}
	wg.Wait()
	if turns != 3 {
		t.Errorf("%d turns", turns)
	}
	ctx, cancel := context.WithCancel(t.Context())
	if err := b.Lead(ctx, "other job", func(ctx context.Context) error {
		cancel()
		<-ctx.Done()
		return ctx.Err()
	}); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
	stopped := make(chan struct{})
	if err := b.Lead(t.Context(), "third job", func(ctx context.Context) error {
		go func() { b.Close(); close(stopped) }()
		<-ctx.Done()
		return ctx.Err()
	}); err == nil {
		t.Error("leads in a closed store")
	}
	<-stopped
}

func testClose(t *testing.T, next func() engine) {
	s := openOn(t, next())
	f := s.Feed()
	f.Next(t.Context())
	var wg sync.WaitGroup
	for i := range 20 {
		wg.Go(func() {
			for n := 0; ; n++ {
				err := s.Update(context.Background(), put(&thing{ID: fmt.Sprint("close", i), N: n}))
				if err == nil {
					continue
				}
				if err != ErrClosed {
					t.Errorf("error %v", err)
				}
				return
			}
		})
	}
	time.Sleep(20 * time.Millisecond)
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	wg.Wait()
	for {
		if _, _, err := f.Next(t.Context()); err != nil {
			if err != ErrClosed {
				t.Errorf("feed: %v", err)
			}
			break
		}
	}
}
