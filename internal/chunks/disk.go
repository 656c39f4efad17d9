package chunks

import (
	"context"
	"fmt"
	"io"
	"sort"
	"sync"

	"karri.dev/internal/sparse"
)

// cachedBlocks is how many blocks an open disk keeps in memory.
const cachedBlocks = 16

// Disk is a snapshot's data as a disk to be read. Its methods may be called concurrently.
type Disk struct {
	s       *Store
	ctx     context.Context // of all reading
	size    int64
	entries []Entry

	mu    sync.Mutex
	cache map[ID]*cached
	order []ID // of the cache, oldest first
}

type cached struct {
	once sync.Once
	data []byte
	err  error
}

var _ sparse.Disk = (*Disk)(nil)

// Open opens the disk of a list. It reads until ctx ends.
func (s *Store) Open(ctx context.Context, key string, size int64) (*Disk, error) {
	entries, err := s.List(ctx, key)
	if err != nil {
		return nil, err
	}
	return &Disk{s: s, ctx: ctx, size: size, entries: entries, cache: map[ID]*cached{}}, nil
}

// Size implements sparse.Disk.
func (d *Disk) Size() int64 { return d.size }

// at gives the first entry at or after an index.
func (d *Disk) at(index int64) int {
	return sort.Search(len(d.entries), func(i int) bool { return int64(d.entries[i].Index) >= index })
}

// Next implements sparse.Disk.
func (d *Disk) Next(off int64) (from, to int64, err error) {
	index := off / Size
	i := d.at(index)
	if i == len(d.entries) || int64(d.entries[i].Index)*Size >= d.size {
		return d.size, d.size, nil
	}
	from = max(off, int64(d.entries[i].Index)*Size)
	for to = int64(d.entries[i].Index); i < len(d.entries) && int64(d.entries[i].Index) == to; i++ {
		to++
	}
	return from, min(to*Size, d.size), nil
}

// ReadAt implements sparse.Disk.
func (d *Disk) ReadAt(p []byte, off int64) (n int, err error) {
	if off < 0 {
		return 0, fmt.Errorf("read at %d", off)
	}
	for n < len(p) {
		at := off + int64(n)
		if at >= d.size {
			return n, io.EOF
		}
		part := p[n:min(int64(len(p)), int64(n)+Size-at%Size, int64(n)+d.size-at)]
		i := d.at(at / Size)
		if i == len(d.entries) || int64(d.entries[i].Index) != at/Size {
			clear(part)
		} else {
			data, err := d.block(d.entries[i].ID)
			if err != nil {
				return n, err
			}
			copy(part, data[at%Size:])
		}
		n += len(part)
	}
	return n, nil
}

// block reads a block once for all who want it at the same time.
func (d *Disk) block(id ID) ([]byte, error) {
	d.mu.Lock()
	c := d.cache[id]
	if c == nil {
		c = new(cached)
		d.cache[id] = c
		if d.order = append(d.order, id); len(d.order) > cachedBlocks {
			delete(d.cache, d.order[0])
			d.order = d.order[1:]
		}
	}
	d.mu.Unlock()
	c.once.Do(func() {
		if c.data, c.err = d.s.Block(d.ctx, id); c.err != nil { // another try is another block
			d.mu.Lock()
			defer d.mu.Unlock()
			if d.cache[id] == c {
				delete(d.cache, id)
			}
		}
	})
	return c.data, c.err
}
