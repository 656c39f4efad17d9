package store

import (
	"encoding/json"
	"fmt"
	"iter"
	"sync"

	"github.com/google/btree"
)

// degree of the B-trees: nodes of some hundred bytes, cheap to copy on write.
const degree = 16

// Table is the typed description of one kind of record. Descriptions are immutable and hold no data.
type Table[T any] struct {
	name    string
	version int
	slot    int
	key     func(*T) string
	indexes []*Index[T]
	tallies []*Tally[T]
	upgrade func(version int, data []byte) ([]byte, error)
}

// Index finds records by a value of theirs. A record may have several values, or none.
type Index[T any] struct {
	table  *Table[T]
	name   string
	slot   int
	unique bool
	values func(*T) []string
}

// Reader is what can be read: a Snapshot, or a Tx with its own writes on top.
type Reader interface {
	// table gives a table's rows; changing says that they may change while they are walked.
	table(slot int) (rows any, changing bool)
}

type entry[T any] struct {
	key string
	rec *T
}

type indexEntry[T any] struct {
	value, key string
	rec        *T
}

// rows is a table's data in one snapshot. Cloning is O(1); trees copy on write.
type rows[T any] struct {
	cloning sync.Mutex // btree.Clone writes to what it clones
	primary *btree.BTreeG[entry[T]]
	indexes []*btree.BTreeG[indexEntry[T]]
	tallies []*btree.BTreeG[sum]
}

// anyTable is a Table without its type, for the code that moves bytes.
type anyTable interface {
	Name() string
	slotNumber() int
	empty() any
	clone(data any) any
	load(data any, key string, value []byte) (old, rec any, err error)
	restore(data any, key string, rec any)
	remove(data any, key string) (old any)
	check(data any) error
}

// Name is the table's name in the store.
func (t *Table[T]) Name() string { return t.name }

func (t *Table[T]) slotNumber() int { return t.slot }

func (t *Table[T]) empty() any {
	r := &rows[T]{primary: btree.NewG(degree, func(a, b entry[T]) bool { return a.key < b.key })}
	for range t.indexes {
		r.indexes = append(r.indexes, btree.NewG(degree, func(a, b indexEntry[T]) bool {
			if a.value != b.value {
				return a.value < b.value
			}
			return a.key < b.key
		}))
	}
	for range t.tallies {
		r.tallies = append(r.tallies, newTally())
	}
	return r
}

func (t *Table[T]) clone(data any) any {
	old := data.(*rows[T])
	old.cloning.Lock()
	defer old.cloning.Unlock()
	r := &rows[T]{primary: old.primary.Clone(), indexes: make([]*btree.BTreeG[indexEntry[T]], len(old.indexes))}
	for i, x := range old.indexes {
		r.indexes[i] = x.Clone()
	}
	for _, x := range old.tallies {
		r.tallies = append(r.tallies, x.Clone())
	}
	return r
}

func (t *Table[T]) encode(rec *T) ([]byte, error) {
	data, err := json.Marshal(rec)
	if err != nil {
		return nil, fmt.Errorf("encode %s: %w", t.name, err)
	}
	return append([]byte{byte(t.version)}, data...), nil
}

// decode reads a stored value: one byte of record version, then JSON.
func (t *Table[T]) decode(value []byte) (*T, error) {
	if len(value) == 0 {
		return nil, fmt.Errorf("decode %s: empty value", t.name)
	}
	version, data := int(value[0]), value[1:]
	if version > t.version {
		return nil, fmt.Errorf("decode %s: record version %d is newer than this Karri's %d", t.name, version, t.version)
	}
	if version < t.version {
		if t.upgrade == nil {
			return nil, fmt.Errorf("decode %s: no upgrade from record version %d", t.name, version)
		}
		var err error
		if data, err = t.upgrade(version, data); err != nil {
			return nil, fmt.Errorf("upgrade %s from record version %d: %w", t.name, version, err)
		}
	}
	rec := new(T)
	if err := json.Unmarshal(data, rec); err != nil {
		return nil, fmt.Errorf("decode %s: %w", t.name, err)
	}
	return rec, nil
}

func (t *Table[T]) load(data any, key string, value []byte) (old, rec any, err error) {
	r, err := t.decode(value)
	if err != nil {
		return nil, nil, err
	}
	if name := t.key(r); name != key {
		return nil, nil, fmt.Errorf("decode %s: the record calls itself %q", t.name, name)
	}
	if o := t.set(data.(*rows[T]), t.key(r), r, t.valuesOf(r)); o != nil { // the record's own string: one copy
		old = o
	}
	return old, r, nil
}

func (t *Table[T]) restore(data any, key string, rec any) {
	r := rec.(*T)
	t.set(data.(*rows[T]), key, r, t.valuesOf(r))
}

func (t *Table[T]) remove(data any, key string) (old any) {
	r := data.(*rows[T])
	e, ok := r.primary.Get(entry[T]{key: key})
	if !ok {
		return nil
	}
	values, shares := t.valuesOf(e.rec), t.sharesOf(e.rec)
	r.primary.Delete(e)
	r.drop(key, values)
	r.count(shares, t.sharesOf(nil))
	return e.rec
}

// valuesOf gives a record's values in each index.
func (t *Table[T]) valuesOf(rec *T) [][]string {
	out := make([][]string, len(t.indexes))
	for i, x := range t.indexes {
		out[i] = x.values(rec)
	}
	return out
}

// set puts a record into the trees and gives the one it replaced. Code of others (an index's values) runs
// before the trees are touched: a panic there leaves them whole.
func (t *Table[T]) set(r *rows[T], key string, rec *T, values [][]string) (old *T) {
	if e, ok := r.primary.Get(entry[T]{key: key}); ok {
		old = e.rec
	}
	before, after := t.sharesOf(old), t.sharesOf(rec)
	if old != nil {
		r.drop(key, t.valuesOf(old))
	}
	r.count(before, after)
	r.primary.ReplaceOrInsert(entry[T]{key, rec})
	for i, vs := range values {
		for _, v := range vs {
			r.indexes[i].ReplaceOrInsert(indexEntry[T]{v, key, rec})
		}
	}
	return old
}

func (r *rows[T]) drop(key string, values [][]string) {
	for i, vs := range values {
		for _, v := range vs {
			r.indexes[i].Delete(indexEntry[T]{value: v, key: key})
		}
	}
}

// Get gives the record with this key, or nil.
func (t *Table[T]) Get(r Reader, key string) *T {
	e, _ := t.rows(r).primary.Get(entry[T]{key: key})
	return e.rec
}

// Len counts the table's records.
func (t *Table[T]) Len(r Reader) int { return t.rows(r).primary.Len() }

func (t *Table[T]) rows(r Reader) *rows[T] {
	data, _ := r.table(t.slot)
	return data.(*rows[T])
}

// All gives every record in order of key.
func (t *Table[T]) All(r Reader) iter.Seq[*T] { return t.From(r, "") }

// From gives the records with keys not below key, in order: for pages. In a transaction it is safe to Put
// and Delete in the loop; the loop goes over the records as they were when it began.
func (t *Table[T]) From(r Reader, key string) iter.Seq[*T] {
	return func(yield func(*T) bool) {
		data, changing := r.table(t.slot)
		tree := data.(*rows[T]).primary
		if changing {
			tree = tree.Clone()
		}
		tree.AscendGreaterOrEqual(entry[T]{key: key}, func(e entry[T]) bool { return yield(e.rec) })
	}
}

// By gives the records that have this value in the index, in order of key.
func (x *Index[T]) By(r Reader, value string) iter.Seq[*T] { return x.From(r, value, "") }

// From is By, beginning at the record key (inclusive): for pages.
func (x *Index[T]) From(r Reader, value, key string) iter.Seq[*T] {
	return func(yield func(*T) bool) {
		data, changing := r.table(x.table.slot)
		tree := data.(*rows[T]).indexes[x.slot]
		if changing {
			tree = tree.Clone()
		}
		tree.AscendGreaterOrEqual(indexEntry[T]{value: value, key: key}, func(e indexEntry[T]) bool {
			return e.value == value && yield(e.rec)
		})
	}
}

// One gives the first record that has this value, or nil.
func (x *Index[T]) One(r Reader, value string) (rec *T) {
	x.table.rows(r).indexes[x.slot].AscendGreaterOrEqual(indexEntry[T]{value: value}, func(e indexEntry[T]) bool {
		if e.value == value {
			rec = e.rec
		}
		return false
	})
	return rec
}
