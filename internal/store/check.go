package store

import (
	"fmt"

	"github.com/google/btree"
)

// Check verifies that every index and tally holds exactly what the records say. An error means a bug, here or in
// code that changed a record in place. It reads everything: for tests and diagnosis.
func (s *Snapshot) Check() error {
	for i, t := range catalog.tables {
		if err := t.check(s.tables[i]); err != nil {
			return fmt.Errorf("table %s: %w", t.Name(), err)
		}
	}
	return nil
}

func (t *Table[T]) check(r *rows) (err error) {
	want := make([]int, len(t.indexes))
	r.primary.Ascend(func(e entry) bool {
		rec := e.rec.(*T)
		if key := t.key(rec); key != e.key {
			err = fmt.Errorf("record %q is stored under %q", key, e.key)
			return false
		}
		for i, values := range t.valuesOf(rec) {
			seen := make(map[string]bool, len(values))
			for _, v := range values {
				if got, ok := r.indexes[i].Get(indexEntry{value: v, key: e.key}); !ok || got.rec != e.rec {
					err = fmt.Errorf("index %s does not hold record %q under %q", t.indexes[i].name, e.key, v)
					return false
				}
				if !seen[v] {
					seen[v] = true
					want[i]++
				}
			}
		}
		return true
	})
	if err != nil {
		return err
	}
	for i, x := range t.indexes {
		if got := r.indexes[i].Len(); got != want[i] {
			return fmt.Errorf("index %s has %d entries, the records make %d", x.name, got, want[i])
		}
		if x.unique {
			if v, twice := repeated(r.indexes[i]); twice {
				return fmt.Errorf("unique index %s has %q twice", x.name, v)
			}
		}
	}
	return t.checkTallies(r)
}

func repeated(tree *btree.BTreeG[indexEntry]) (value string, twice bool) {
	first := true
	tree.Ascend(func(e indexEntry) bool {
		twice = !first && e.value == value
		first, value = false, e.value
		return !twice
	})
	return value, twice
}
