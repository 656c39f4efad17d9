package store

import (
	"encoding/json"
	"fmt"
	"iter"
)

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
	table(slot int) (r *rows, changing bool)
}

// anyTable is a Table without its type, for the code that moves bytes.
type anyTable interface {
	Name() string
	slotNumber() int
	empty() *rows
	load(r *rows, key string, value []byte) (old, rec any, err error)
	restore(r *rows, key string, rec any)
	remove(r *rows, key string) (old any)
	check(r *rows) error
}

// Name is the table's name in the store.
func (t *Table[T]) Name() string { return t.name }

func (t *Table[T]) slotNumber() int { return t.slot }

func (t *Table[T]) empty() *rows { return newRows(len(t.indexes), len(t.tallies)) }

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

func (t *Table[T]) load(r *rows, key string, value []byte) (old, rec any, err error) {
	n, err := t.decode(value)
	if err != nil {
		return nil, nil, err
	}
	if name := t.key(n); name != key {
		return nil, nil, fmt.Errorf("decode %s: the record calls itself %q", t.name, name)
	}
	if o := t.set(r, t.key(n), n, t.valuesOf(n)); o != nil { // the record's own string: one copy
		old = o
	}
	return old, n, nil
}

func (t *Table[T]) restore(r *rows, key string, rec any) {
	n := rec.(*T)
	t.set(r, key, n, t.valuesOf(n))
}

func (t *Table[T]) remove(r *rows, key string) (old any) {
	rec, _ := r.get(key).(*T)
	if rec == nil {
		return nil
	}
	values, shares := t.valuesOf(rec), t.sharesOf(rec)
	r.primary.Delete(entry{key: key})
	r.drop(key, values)
	r.count(shares, t.sharesOf(nil))
	return rec
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
func (t *Table[T]) set(r *rows, key string, rec *T, values [][]string) (old *T) {
	old, _ = r.get(key).(*T)
	before, after := t.sharesOf(old), t.sharesOf(rec)
	var was [][]string
	if old != nil {
		was = t.valuesOf(old)
	}
	r.count(before, after)
	r.put(key, rec, was, values)
	return old
}

// Get gives the record with this key, or nil.
func (t *Table[T]) Get(r Reader, key string) *T {
	rec, _ := t.rows(r).get(key).(*T)
	return rec
}

// Len counts the table's records.
func (t *Table[T]) Len(r Reader) int { return t.rows(r).primary.Len() }

func (t *Table[T]) rows(r Reader) *rows {
	rows, _ := r.table(t.slot)
	return rows
}

// All gives every record in order of key.
func (t *Table[T]) All(r Reader) iter.Seq[*T] { return t.From(r, "") }

// From gives the records with keys not below key, in order: for pages. In a transaction it is safe to Put
// and Delete in the loop; the loop goes over the records as they were when it began.
func (t *Table[T]) From(r Reader, key string) iter.Seq[*T] {
	return func(yield func(*T) bool) {
		rows, changing := r.table(t.slot)
		rows.from(key, changing, func(rec any) bool { return yield(rec.(*T)) })
	}
}

// By gives the records that have this value in the index, in order of key.
func (x *Index[T]) By(r Reader, value string) iter.Seq[*T] { return x.From(r, value, "") }

// From is By, beginning at the record key (inclusive): for pages.
func (x *Index[T]) From(r Reader, value, key string) iter.Seq[*T] {
	return func(yield func(*T) bool) {
		rows, changing := r.table(x.table.slot)
		rows.by(x.slot, value, key, changing, func(rec any) bool { return yield(rec.(*T)) })
	}
}

// One gives the first record that has this value, or nil.
func (x *Index[T]) One(r Reader, value string) (first *T) {
	x.table.rows(r).by(x.slot, value, "", false, func(rec any) bool {
		first = rec.(*T)
		return false
	})
	return first
}
