package store

import (
	"fmt"
	"slices"

	"github.com/google/btree"
)

// Tally keeps sums of a number of a table's records, by a value of theirs, so that nothing has to be counted to know
// how much there is. Like an index it is made of the records, in memory: it cannot differ from them.
type Tally[T any] struct {
	table  *Table[T]
	name   string
	slot   int
	values func(*T) ([]string, int64)
}

// Sum gives the sum of the records that have this value.
func (y *Tally[T]) Sum(r Reader, value string) int64 {
	e, _ := y.table.rows(r).tallies[y.slot].Get(sum{value: value})
	return e.n
}

type sum struct {
	value string
	n     int64
}

// share is what a record adds to a tally.
type share struct {
	values []string
	n      int64
}

func newTally() *btree.BTreeG[sum] {
	return btree.NewG(degree, func(a, b sum) bool { return a.value < b.value })
}

// sharesOf gives what a record adds to each tally; nil adds nothing.
func (t *Table[T]) sharesOf(rec *T) []share {
	if len(t.tallies) == 0 {
		return nil
	}
	out := make([]share, len(t.tallies))
	if rec == nil {
		return out
	}
	for i, y := range t.tallies {
		out[i].values, out[i].n = y.values(rec)
	}
	return out
}

// count brings the tallies from what a record was to what it is.
func (r *rows) count(before, after []share) {
	for i := range after {
		b, a := &before[i], &after[i]
		if b.n == a.n && slices.Equal(b.values, a.values) {
			continue
		}
		r.add(i, b.values, -b.n)
		r.add(i, a.values, a.n)
	}
}

func (r *rows) add(tally int, values []string, n int64) {
	if n == 0 {
		return
	}
	tree := r.tallies[tally]
	for _, v := range values {
		e, _ := tree.Get(sum{value: v})
		if e = (sum{v, e.n + n}); e.n == 0 {
			tree.Delete(e)
		} else {
			tree.ReplaceOrInsert(e)
		}
	}
}

// checkTallies compares the sums with the records.
func (t *Table[T]) checkTallies(r *rows) error {
	want := make([]map[string]int64, len(t.tallies))
	for i := range want {
		want[i] = map[string]int64{}
	}
	r.primary.Ascend(func(e entry) bool {
		for i, s := range t.sharesOf(e.rec.(*T)) {
			for _, v := range s.values {
				want[i][v] += s.n
			}
		}
		return true
	})
	for i, y := range t.tallies {
		var err error
		r.tallies[i].Ascend(func(e sum) bool {
			if want[i][e.value] != e.n {
				err = fmt.Errorf("tally %s has %d for %q, the records make %d", y.name, e.n, e.value, want[i][e.value])
			}
			delete(want[i], e.value)
			return err == nil
		})
		if err != nil {
			return err
		}
		for v, n := range want[i] {
			if n != 0 {
				return fmt.Errorf("tally %s has nothing for %q, the records make %d", y.name, v, n)
			}
		}
	}
	return nil
}
