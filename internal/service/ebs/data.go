package ebs

import (
	"bytes"
	"context"
	"errors"
	"io"

	"karri.dev/internal/chunks"
	"karri.dev/internal/resource"
	"karri.dev/internal/sparse"
)

// data reads a snapshot's blocks, whether they are kept as such or in an imported image.
type data struct {
	s    *Service
	snap *resource.Snapshot
	disk sparse.Disk // of an image; nil: blocks
	io.Closer
}

// openData opens a snapshot's data. It reads until ctx ends, and is to be closed.
func (s *Service) openData(ctx context.Context, snap *resource.Snapshot) (*data, error) {
	d := &data{s: s, snap: snap, Closer: io.NopCloser(nil)}
	if snap.Data.Format == chunks.Format {
		return d, nil
	}
	var err error
	d.disk, d.Closer, err = s.Chunks.OpenData(ctx, s.Images, &snap.Data)
	return d, err
}

// part gives at most most blocks that have data, the first of them the first at or after an index. Blocks of an image
// have no names.
func (d *data) part(ctx context.Context, from uint32, most int) ([]chunks.Entry, error) {
	if d.disk == nil {
		return d.s.Chunks.Part(ctx, d.snap.Data.Key, from, most)
	}
	var out []chunks.Entry
	for off := int64(from) * chunks.Size; off < d.disk.Size() && len(out) < most; {
		start, end, err := d.disk.Next(off)
		if err != nil {
			return nil, err
		}
		first := max(start, off) / chunks.Size
		for i := first; i*chunks.Size < end && len(out) < most; i++ {
			out = append(out, chunks.Entry{Index: uint32(i)})
			off = (i + 1) * chunks.Size
		}
		if start >= end { // nothing follows
			break
		}
	}
	return out, nil
}

// read gives a block.
func (d *data) read(ctx context.Context, e chunks.Entry) ([]byte, error) {
	if d.disk == nil {
		return d.s.Chunks.Block(ctx, e.ID)
	}
	block := make([]byte, chunks.Size)
	n, err := d.disk.ReadAt(block, int64(e.Index)*chunks.Size)
	if err != nil && !errors.Is(err, io.EOF) { // the last one of an image may be short
		return nil, err
	}
	clear(block[n:])
	return block, nil
}

// same says whether two blocks are alike.
func same(ctx context.Context, a *data, x chunks.Entry, b *data, y chunks.Entry) (bool, error) {
	if a.disk == nil && b.disk == nil {
		return x.ID == y.ID, nil
	}
	one, err := a.read(ctx, x)
	if err != nil {
		return false, err
	}
	two, err := b.read(ctx, y)
	return bytes.Equal(one, two), err
}
