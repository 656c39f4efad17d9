package disk

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"

	"karri.dev/internal/object"
)

// note puts notes into their queues.
func (e *Engine) note(t *tx, notes []object.Note) error {
	for _, n := range notes {
		if err := t.set(noteKey(n.Queue, e.ids.next()), n.Body); err != nil {
			return err
		}
		e.queues.count(n.Queue, 1)
	}
	return nil
}

// queues counts notes, with those that are being committed.
type queues struct {
	mu sync.Mutex
	n  map[string]int
}

func (q *queues) count(queue string, n int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.n[queue] += n; q.n[queue] == 0 {
		delete(q.n, queue)
	}
}

// openNotes counts the notes that are there.
func (e *Engine) openNotes() error {
	e.queues.n = map[string]int{}
	return reader{Reader: e.db, known: e.known}.each(tableNotes, func(queue string, _, _ []byte) error {
		e.queues.count(queue, 1)
		return nil
	})
}

// NoteCount gives how many notes a queue holds.
func (e *Engine) NoteCount(_ context.Context, queue string) (int, error) {
	if err := e.enter(); err != nil {
		return 0, err
	}
	defer e.calls.RUnlock()
	e.queues.mu.Lock()
	defer e.queues.mu.Unlock()
	return e.queues.n[queue], nil
}

// Notes gives the oldest of a queue.
func (e *Engine) Notes(_ context.Context, queue string, limit int) (out []object.Note, err error) {
	if err := e.enter(); err != nil {
		return nil, err
	}
	defer e.calls.RUnlock()
	err = e.look(func(r reader) (err error) {
		it, err := r.scan(bucketPrefix(tableNotes, queue))
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, closeScan(it)) }()
		for ok := it.First(); ok && len(out) < limit; ok = it.Next() {
			body, err := it.ValueAndErr()
			if err != nil {
				return fmt.Errorf("read notes: %w", damaged(err))
			}
			key := it.Key()
			out = append(out, object.Note{Queue: queue, ID: binary.BigEndian.Uint64(key[len(key)-8:]), Body: bytes.Clone(body)})
		}
		return nil
	})
	return out, err
}

// NoteQueues names the queues: one seek for each.
func (e *Engine) NoteQueues(context.Context) (out []string, err error) {
	if err := e.enter(); err != nil {
		return nil, err
	}
	defer e.calls.RUnlock()
	err = e.look(func(r reader) (err error) {
		it, err := r.scan([]byte{tableNotes})
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, closeScan(it)) }()
		for ok := it.First(); ok; {
			size, n := binary.Uvarint(it.Key()[1:])
			if n <= 0 || len(it.Key()) != 1+n+int(size)+8 {
				return fmt.Errorf("a note: %w: %w", object.ErrCorrupt, errRecord)
			}
			queue := string(it.Key()[1+n : 1+n+int(size)])
			out = append(out, queue)
			ok = it.SeekGE(after(bucketPrefix(tableNotes, queue)))
		}
		return nil
	})
	return out, err
}

// DropNotes forgets notes.
func (e *Engine) DropNotes(_ context.Context, queue string, ids ...uint64) error {
	if err := e.enter(); err != nil {
		return err
	}
	defer e.calls.RUnlock()
	return e.update(func(t *tx) error {
		for _, id := range ids {
			if there, err := t.has(noteKey(queue, id)); err != nil || !there {
				if err != nil {
					return err
				}
				continue
			}
			if err := t.remove(noteKey(queue, id)); err != nil {
				return err
			}
			e.queues.count(queue, -1)
		}
		return nil
	})
}
