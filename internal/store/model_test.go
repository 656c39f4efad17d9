package store

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// TestModel compares random transactions, from three processes one after the other, with a map.
func TestModel(t *testing.T) {
	t.Parallel()
	for _, b := range backends() {
		t.Run(b.name, func(t *testing.T) {
			next := b.engine(t)
			stores := []*Store{openOn(t, next()), openOn(t, next()), openOn(t, next())}
			rapid.Check(t, func(t *rapid.T) { modelRun(t, stores) })
		})
	}
}

var errModel = errors.New("changed its mind")

func modelRun(t *rapid.T, stores []*Store) {
	model := map[string]*thing{}
	if err := stores[0].Update(context.Background(), func(tx *Tx) error {
		for r := range things.All(tx) {
			things.Delete(tx, r.ID)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	id := rapid.StringMatching("[a-d][/ü]?[0-3]")
	for range rapid.IntRange(1, 8).Draw(t, "transactions") {
		s := stores[rapid.IntRange(0, len(stores)-1).Draw(t, "store")]
		if err := s.Sync(context.Background()); err != nil {
			t.Fatal(err)
		}
		trial := maps.Clone(model)
		steps := rapid.IntRange(1, 6).Draw(t, "steps")
		kinds := make([]int, steps)
		recs := make([]*thing, steps)
		for i := range steps {
			kinds[i] = rapid.IntRange(0, 9).Draw(t, "kind")
			recs[i] = &thing{
				ID:    id.Draw(t, "id"),
				Name:  rapid.SampledFrom([]string{"", "", "n1", "n2", "n3"}).Draw(t, "name"),
				Kinds: rapid.SliceOfN(rapid.SampledFrom([]string{"x", "y", "z"}), 0, 3).Draw(t, "kinds"),
				N:     rapid.IntRange(0, 9).Draw(t, "n"),
			}
			if len(recs[i].Kinds) == 0 {
				recs[i].Kinds = nil // as it is read back
			}
		}
		err := s.Update(context.Background(), func(tx *Tx) error {
			trial = maps.Clone(model)
			for i, r := range recs {
				switch kinds[i] {
				case 0:
					return errModel
				case 1, 2:
					things.Delete(tx, r.ID)
					delete(trial, r.ID)
				default:
					taken := false
					for _, o := range trial {
						taken = taken || (o.ID != r.ID && o.Name != "" && o.Name == r.Name)
					}
					var dup *DuplicateError
					if err := things.Put(tx, r); errors.As(err, &dup) != taken || (err != nil) != taken {
						return fmt.Errorf("put %v: %v, taken=%v", r, err, taken)
					}
					if !taken {
						trial[r.ID] = r
					}
				}
				compare(t, tx, trial)
			}
			return nil
		})
		switch {
		case err == nil:
			model = trial
		case err != errModel:
			t.Fatal(err)
		}
	}
	for _, s := range stores {
		if err := s.Sync(context.Background()); err != nil {
			t.Fatal(err)
		}
		compare(t, s.Snapshot(), model)
		if err := s.Snapshot().Check(); err != nil {
			t.Fatal(err)
		}
	}
}

func compare(t *rapid.T, r Reader, model map[string]*thing) {
	want := slices.SortedFunc(maps.Values(model), func(a, b *thing) int {
		if a.ID < b.ID {
			return -1
		}
		return 1
	})
	if diff := cmp.Diff(want, slices.Collect(things.All(r))); diff != "" && len(want)+things.Len(r) > 0 {
		t.Fatalf("records (-want +got):\n%s", diff)
	}
	for _, kind := range []string{"x", "y", "z"} {
		var of []*thing
		n := int64(0)
		for _, w := range want {
			if slices.Contains(w.Kinds, kind) {
				of = append(of, w)
			}
			for _, k := range w.Kinds {
				if k == kind {
					n += int64(w.N)
				}
			}
		}
		if got := thingsSum.Sum(r, kind); got != n {
			t.Fatalf("kind %s: the sum is %d, want %d", kind, got, n)
		}
		if diff := cmp.Diff(of, slices.Collect(thingsByKind.By(r, kind))); diff != "" {
			t.Fatalf("kind %s (-want +got):\n%s", kind, diff)
		}
	}
}

// TestSerializable lets several processes work at once, over good and over bad connections. A counter must
// end at the number of increments that were acknowledged; a name must have one holder; money moves but is
// never made: in no snapshot that anybody sees.
func TestSerializable(t *testing.T) {
	t.Parallel()
	for _, b := range backends() {
		for _, rate := range []float64{0, 0.1} {
			t.Run(fmt.Sprint(b.name, "/faults=", rate), func(t *testing.T) {
				next := b.engine(t)
				run := serialRun{accounts: 10, rounds: 25, workers: 4}
				run.do(t, []engine{newFaulty(next(), rate), newFaulty(next(), rate), newFaulty(next(), rate)})
			})
		}
	}
}

type serialRun struct {
	accounts, rounds, workers int
	names                     sync.Map // name → holder, as acknowledged
	increments                atomic.Int64
}

func (r *serialRun) do(t *testing.T, engines []engine) {
	stores := make([]*Store, len(engines))
	for i, e := range engines {
		stores[i] = openOn(t, e)
	}
	mustUpdate(t, stores[0], func(tx *Tx) error {
		for i := range r.accounts {
			if err := things.Put(tx, &thing{ID: fmt.Sprint("account", i), N: 100, Kinds: []string{"account"}}); err != nil {
				return err
			}
		}
		return others.Put(tx, &thing{ID: "counter"})
	})
	readers, stop := context.WithCancel(t.Context())
	var reading, writing sync.WaitGroup
	for p, s := range stores {
		if err := s.Sync(t.Context()); err != nil {
			t.Fatal(err)
		}
		reading.Go(func() { r.watch(t, readers, s) })
		for w := range r.workers {
			writing.Go(func() {
				for round := range r.rounds {
					r.step(t, s, fmt.Sprint(p, "-", w, "-", round))
				}
			})
		}
	}
	writing.Wait()
	stop()
	reading.Wait()
	for _, s := range stores {
		if err := s.Sync(t.Context()); err != nil {
			t.Fatal(err)
		}
		snap := s.Snapshot()
		if err := snap.Check(); err != nil {
			t.Error(err)
		}
		if got, want := others.Get(snap, "counter").N, int(r.increments.Load()); got != want {
			t.Errorf("the counter is %d after %d increments", got, want)
		}
		r.names.Range(func(name, holder any) bool {
			if got := thingsByName.One(snap, name.(string)); got == nil || got.ID != holder {
				t.Errorf("name %v belongs to %v, not to %v", name, got, holder)
			}
			return true
		})
		r.invariant(t, snap)
	}
	commits, unknown := stores[0].Snapshot().Revision, int64(0)
	for _, e := range engines {
		unknown += e.(*faulty).unknown.Load()
	}
	t.Logf("%d acknowledged increments, revision %d, %d commits came through although an error was given", r.increments.Load(), commits, unknown)
}

func (r *serialRun) step(t *testing.T, s *Store, id string) {
	from, to := fmt.Sprint("account", rand.N(r.accounts)), fmt.Sprint("account", rand.N(r.accounts))
	n := 1 + rand.N(20)
	seen := 0
	err := s.Update(context.Background(), func(tx *Tx) error {
		c := *others.Get(tx, "counter")
		c.N++
		seen = c.N
		if err := others.Put(tx, &c); err != nil {
			return err
		}
		a := *things.Get(tx, from)
		a.N -= n
		if err := things.Put(tx, &a); err != nil {
			return err
		}
		b := *things.Get(tx, to)
		b.N += n
		if a.N < 0 {
			return errModel // after it wrote
		}
		return things.Put(tx, &b)
	})
	switch {
	case err == nil:
		r.increments.Add(1)
		if got := others.Get(s.Snapshot(), "counter").N; got < seen {
			t.Errorf("a process does not see its own write: %d < %d", got, seen)
		}
	case err != errModel:
		t.Errorf("transfer: %v", err)
	}
	name := strconv.Itoa(rand.N(r.rounds))
	err = s.Update(context.Background(), put(&thing{ID: id, Name: name}))
	var dup *DuplicateError
	switch {
	case err == nil:
		if other, had := r.names.LoadOrStore(name, id); had {
			t.Errorf("name %s was given to %v and to %v", name, other, id)
		}
	case !errors.As(err, &dup):
		t.Errorf("claim: %v", err)
	}
}

func (r *serialRun) watch(t *testing.T, ctx context.Context, s *Store) {
	f := s.Feed(things)
	defer f.Close()
	for {
		_, snap, err := f.Next(ctx)
		if err != nil {
			return
		}
		r.invariant(t, snap)
	}
}

func (r *serialRun) invariant(t *testing.T, snap *Snapshot) {
	sum, n := 0, 0
	for a := range thingsByKind.By(snap, "account") {
		sum += a.N
		n++
	}
	if n != r.accounts || sum != 100*r.accounts {
		t.Errorf("revision %d: %d accounts hold %d", snap.Revision, n, sum)
	}
}
