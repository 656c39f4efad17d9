package chunks

import (
	"context"
	"fmt"
	"io"
	"sort"

	"karri.dev/internal/blockcache"
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
	cache   *blockcache.Cache[ID]
}

var _ sparse.Disk = (*Disk)(nil)

// Open opens the disk of a list. It reads until ctx ends.
func (s *Store) Open(ctx context.Context, key string, size int64) (*Disk, error) {
	entries, err := s.List(ctx, key)
	if err != nil {
		return nil, err
	}
	return &Disk{s: s, ctx: ctx, size: size, entries: entries, cache: blockcache.New[ID](cachedBlocks)}, nil
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
			id := d.entries[i].ID
			data, err := d.cache.Get(id, func() ([]byte, error) { return d.s.Block(d.ctx, id) })
			if err != nil {
				return n, err
			}
			copy(part, data[at%Size:])
		}
		n += len(part)
	}
	return n, nil
}
