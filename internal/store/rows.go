package store

import (
	"sync"

	"github.com/google/btree"
)

// degree of the B-trees: nodes of some hundred bytes, cheap to copy on write.
const degree = 16

// entry and indexEntry are what the trees hold: rec is a *T. The trees do not know T: compiled once for each of so many
// tables, they made this package take half a minute.
type entry struct {
	key string
	rec any
}

type indexEntry struct {
	value, key string
	rec        any
}

// rows is a table's data in one snapshot. Cloning is O(1); trees copy on write.
type rows struct {
	cloning sync.Mutex // btree.Clone writes to what it clones
	primary *btree.BTreeG[entry]
	indexes []*btree.BTreeG[indexEntry]
	tallies []*btree.BTreeG[sum]
}

func newRows(indexes, tallies int) *rows {
	r := &rows{primary: btree.NewG(degree, func(a, b entry) bool { return a.key < b.key })}
	for range indexes {
		r.indexes = append(r.indexes, btree.NewG(degree, func(a, b indexEntry) bool {
			if a.value != b.value {
				return a.value < b.value
			}
			return a.key < b.key
		}))
	}
	for range tallies {
		r.tallies = append(r.tallies, newTally())
	}
	return r
}

func (r *rows) clone() *rows {
	r.cloning.Lock()
	defer r.cloning.Unlock()
	c := &rows{primary: r.primary.Clone(), indexes: make([]*btree.BTreeG[indexEntry], len(r.indexes))}
	for i, x := range r.indexes {
		c.indexes[i] = x.Clone()
	}
	for _, x := range r.tallies {
		c.tallies = append(c.tallies, x.Clone())
	}
	return c
}

// get gives the record with this key, or nil.
func (r *rows) get(key string) any {
	e, _ := r.primary.Get(entry{key: key})
	return e.rec
}

// put replaces the record with this key, old's values in the indexes by those of rec.
func (r *rows) put(key string, rec any, old, values [][]string) {
	r.drop(key, old)
	r.primary.ReplaceOrInsert(entry{key, rec})
	for i, vs := range values {
		for _, v := range vs {
			r.indexes[i].ReplaceOrInsert(indexEntry{v, key, rec})
		}
	}
}

func (r *rows) drop(key string, values [][]string) {
	for i, vs := range values {
		for _, v := range vs {
			r.indexes[i].Delete(indexEntry{value: v, key: key})
		}
	}
}

// taken says whether another record than key has this value in an index.
func (r *rows) taken(index int, value, key string) (taken bool) {
	r.indexes[index].AscendGreaterOrEqual(indexEntry{value: value}, func(e indexEntry) bool {
		taken = e.value == value && e.key != key
		return !taken && e.value == value
	})
	return taken
}

// from walks the records with keys not below key, in order. A tree that is changing is walked as it was.
func (r *rows) from(key string, changing bool, visit func(rec any) bool) {
	tree := r.primary
	if changing {
		tree = tree.Clone()
	}
	tree.AscendGreaterOrEqual(entry{key: key}, func(e entry) bool { return visit(e.rec) })
}

// by walks the records with a value in an index, in order of key, as from does.
func (r *rows) by(index int, value, key string, changing bool, visit func(rec any) bool) {
	tree := r.indexes[index]
	if changing {
		tree = tree.Clone()
	}
	tree.AscendGreaterOrEqual(indexEntry{value: value, key: key}, func(e indexEntry) bool {
		return e.value == value && visit(e.rec)
	})
}
