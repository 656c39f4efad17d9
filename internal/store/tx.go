package store

import (
	"fmt"
	"runtime/debug"
	"strings"
)

// Tx is a transaction under way: a Reader that sees its own writes. It is valid only inside Update's function.
type Tx struct {
	group  *group
	writes []write // in order; the last one of a key counts
	bytes  int
}

// write is one key's new value; nil deletes.
type write struct {
	table anyTable
	key   string
	value []byte
	old   any // record before, nil if none
	rec   any // record after, nil if deleted
}

// group is the transactions of one commit. They run one after the other on the same private tables; what
// a failed one did is undone from its writes.
type group struct {
	base   *Snapshot
	tables []*rows // private copies, by slot; nil: not written
	writes []write
	bytes  int
}

func newGroup(base *Snapshot) *group {
	return &group{base: base, tables: make([]*rows, len(base.tables))}
}

func (tx *Tx) table(slot int) (r *rows, changing bool) {
	if d := tx.group.tables[slot]; d != nil {
		return d, true
	}
	return tx.group.base.table(slot)
}

func (g *group) writable(t anyTable) *rows {
	slot := t.slotNumber()
	if g.tables[slot] == nil {
		g.tables[slot] = g.base.tables[slot].clone()
	}
	return g.tables[slot]
}

func (tx *Tx) record(w write) {
	tx.writes = append(tx.writes, w)
	tx.bytes += len(w.table.Name()) + len(w.key) + len(w.value)
}

// run gives fn its turn. A function that fails or panics leaves nothing.
func (g *group) run(fn func(*Tx) error) (tx *Tx, err error) {
	tx = &Tx{group: g}
	finished := false
	defer func() {
		if !finished {
			err = fmt.Errorf("transaction panicked: %v\n%s", recover(), debug.Stack())
		}
		if err != nil {
			g.undo(tx)
		}
	}()
	err = fn(tx)
	finished = true
	return tx, err
}

func (g *group) undo(tx *Tx) {
	for i := len(tx.writes) - 1; i >= 0; i-- {
		w := tx.writes[i]
		if data := g.tables[w.table.slotNumber()]; w.old == nil {
			w.table.remove(data, w.key)
		} else {
			w.table.restore(data, w.key, w.old)
		}
	}
	tx.writes, tx.bytes = nil, 0
}

// keep makes a transaction that succeeded part of the group.
func (g *group) keep(tx *Tx) {
	g.writes = append(g.writes, tx.writes...)
	g.bytes += tx.bytes
}

// pairs are the group's writes for the engine: each key once.
func (g *group) pairs() []pair {
	type id struct {
		slot int
		key  string
	}
	at := make(map[id]int, len(g.writes))
	out := make([]pair, 0, len(g.writes))
	for _, w := range g.writes {
		p := pair{w.table.Name(), w.key, w.value}
		k := id{w.table.slotNumber(), w.key}
		if i, ok := at[k]; ok {
			out[i] = p
			continue
		}
		at[k] = len(out)
		out = append(out, p)
	}
	return out
}

// snapshot is the state after the group.
func (g *group) snapshot(head head) *Snapshot {
	s := &Snapshot{Revision: head.revision, head: head, tables: make([]*rows, len(g.base.tables))}
	for i, d := range g.tables {
		if d == nil {
			d = g.base.tables[i]
		}
		s.tables[i] = d
	}
	return s
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
	value, err := t.encode(rec)
	if err != nil {
		return err
	}
	values := t.valuesOf(rec)
	current := t.rows(tx)
	for i, x := range t.indexes {
		if !x.unique {
			continue
		}
		for _, v := range values[i] {
			if current.taken(i, v, key) {
				return &DuplicateError{t.name, x.name, v}
			}
		}
	}
	w := write{table: t, key: key, value: value, rec: rec}
	if old := t.set(tx.group.writable(t), key, rec, values); old != nil {
		w.old = old
	}
	tx.record(w)
	return nil
}

// Delete removes the record with this key; it is no error if there is none.
func (t *Table[T]) Delete(tx *Tx, key string) {
	if t.Get(tx, key) == nil {
		return
	}
	old := t.remove(tx.group.writable(t), key)
	tx.record(write{table: t, key: key, old: old})
}
