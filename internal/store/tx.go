package store

import (
	"fmt"
	"strings"
)

// Tx is a transaction under way: a Reader that sees its own writes. It is valid only inside Update's function.
type Tx struct {
	base   *Snapshot
	tables map[int]any // private copies of the tables written
	writes []write     // in order; the last one of a key counts
}

// write is one key's new value; nil deletes.
type write struct {
	table anyTable
	key   string
	value []byte
	old   any // record before, nil if none
	rec   any // record after, nil if deleted
}

func (tx *Tx) table(slot int) any {
	if d, ok := tx.tables[slot]; ok {
		return d
	}
	return tx.base.table(slot)
}

func (tx *Tx) writable(t anyTable) any {
	d, ok := tx.tables[t.slotNumber()]
	if !ok {
		d = t.clone(tx.base.table(t.slotNumber()))
		tx.tables[t.slotNumber()] = d
	}
	return d
}

// DuplicateError says that a unique index already holds a value.
type DuplicateError struct{ Table, Index, Value string }

func (e *DuplicateError) Error() string {
	return fmt.Sprintf("%s: %s %q is taken", e.Table, e.Index, e.Value)
}

// Put inserts or replaces a record. The error is a *DuplicateError where a unique index forbids it.
// The record must not be changed afterwards.
func (t *Table[T]) Put(tx *Tx, rec *T) error {
	key := t.key(rec)
	if key == "" || strings.ContainsAny(key, "\x00\n") {
		return fmt.Errorf("put %s: bad key %q", t.name, key)
	}
	data := tx.writable(t).(*rows[T])
	for i, x := range t.indexes {
		if !x.unique {
			continue
		}
		for _, v := range x.values(rec) {
			taken := false
			data.indexes[i].AscendGreaterOrEqual(indexEntry[T]{value: v}, func(e indexEntry[T]) bool {
				taken = e.value == v && e.key != key
				return !taken && e.value == v
			})
			if taken {
				return &DuplicateError{t.name, x.name, v}
			}
		}
	}
	value, err := t.encode(rec)
	if err != nil {
		return err
	}
	w := write{table: t, key: key, value: value, rec: rec}
	if old := t.set(data, key, rec); old != nil {
		w.old = old
	}
	tx.writes = append(tx.writes, w)
	return nil
}

// Delete removes the record with this key; it is no error if there is none.
func (t *Table[T]) Delete(tx *Tx, key string) {
	if old := t.remove(tx.writable(t), key); old != nil {
		tx.writes = append(tx.writes, write{table: t, key: key, old: old})
	}
}
