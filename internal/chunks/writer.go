package chunks

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"

	"golang.org/x/sync/errgroup"

	"karri.dev/internal/object"
	"karri.dev/internal/sparse"
)

// parallel is how many blocks are on their way to the object engine at once: each waits for its disk.
const parallel = 6

// Writer makes one list. Close it in the end.
type Writer struct {
	s       *Store
	mu      sync.Mutex
	entries []Entry
	held    []ID
}

// NewWriter makes a Writer.
func (s *Store) NewWriter() *Writer { return &Writer{s: s} }

// Keep adds a block that is there already, in a list which is needed until Close.
func (w *Writer) Keep(e Entry) {
	w.s.hold(e.ID)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.held = append(w.held, e.ID)
	w.entries = append(w.entries, e)
}

// Add stores a block of Size bytes and adds it; one of zeros is left out. It may be called concurrently.
func (w *Writer) Add(ctx context.Context, index uint32, data []byte) (stored bool, err error) {
	if sparse.IsZero(data) {
		return false, nil
	}
	e := Entry{index, w.s.Name(data)}
	w.Keep(e)
	return w.s.put(ctx, e.ID, data)
}

// put stores a block unless it is there. It is held.
func (s *Store) put(ctx context.Context, id ID, data []byte) (stored bool, err error) {
	m, err := s.objects.Head(ctx, Bucket, id.key(), "")
	if err == nil && m.Size == Size {
		return false, nil
	}
	if err != nil && !errors.Is(err, object.ErrNotFound) {
		return false, fmt.Errorf("block %x: %w", id[:6], err)
	}
	if _, err := s.objects.Put(ctx, Bucket, object.Put{Key: id.key(), Body: bytes.NewReader(data), Size: Size}); err != nil {
		return false, fmt.Errorf("block %x: %w", id[:6], err)
	}
	return true, nil
}

// Commit writes the list of all that was added.
func (w *Writer) Commit(ctx context.Context, key string) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.s.putList(ctx, key, w.entries)
}

// Close lets go of the blocks: from now on only lists keep them.
func (w *Writer) Close() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.s.release(w.held)
	w.held, w.entries = nil, nil
}

// Stored counts what Save has done.
type Stored struct{ Blocks, New int }

// Save stores a disk's data as a list. progress is told percentages.
func (s *Store) Save(ctx context.Context, key string, d sparse.Disk, progress func(percent int)) (n Stored, err error) {
	return s.save(ctx, key, d, nil, progress)
}

// SaveChanges stores a disk of which only what changes gives differs from an earlier list.
func (s *Store) SaveChanges(ctx context.Context, key string, d sparse.Disk, parent string, changes func(off int64) (from, to int64, err error), progress func(percent int)) (Stored, error) {
	earlier, err := s.List(ctx, parent)
	if err != nil {
		return Stored{}, err
	}
	var keep []Entry
	at := int64(-1) // the first block after the last one that was looked up
	changed := false
	for _, e := range earlier {
		index := int64(e.Index)
		if index*Size >= d.Size() {
			break
		}
		if index >= at { // else it lies in what was found to be unchanged
			from, _, err := changes(index * Size)
			if err != nil {
				return Stored{}, err
			}
			at, changed = from/Size, from < (index+1)*Size
			if changed {
				at = index + 1
			}
		} else {
			changed = false
		}
		if !changed {
			keep = append(keep, e)
		}
	}
	return s.save(ctx, key, &changedOnly{d, changes}, keep, progress)
}

// changedOnly has data only where something changed.
type changedOnly struct {
	sparse.Disk
	changes func(off int64) (from, to int64, err error)
}

func (c *changedOnly) Next(off int64) (from, to int64, err error) { return c.changes(off) }

func (s *Store) save(ctx context.Context, key string, d sparse.Disk, keep []Entry, progress func(percent int)) (n Stored, err error) {
	w := s.NewWriter()
	defer w.Close()
	for _, e := range keep {
		w.Keep(e)
	}
	n.Blocks = len(keep)
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(parallel)
	var mu sync.Mutex
	err = sparse.Blocks(d, Size, func(index int64, data []byte) error {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		progress(int(index * Size * 100 / d.Size()))
		if sparse.IsZero(data) {
			return nil
		}
		data = bytes.Clone(data)
		g.Go(func() error {
			stored, err := w.Add(ctx, uint32(index), data)
			mu.Lock()
			defer mu.Unlock()
			n.Blocks++
			if stored {
				n.New++
			}
			return err
		})
		return nil
	})
	if e := g.Wait(); e != nil {
		err = e // the cause
	}
	if err != nil {
		return n, err
	}
	return n, w.Commit(context.WithoutCancel(ctx), key)
}
