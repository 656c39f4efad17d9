// Package qcow2 reads qcow2 files: those that somebody brought and package image has inspected, those that we made of
// them, and those in which our hypervisors keep what differs from a base; and it makes them. It follows the format's
// specification in QEMU's tree. Nothing in a file makes it open another one, or read outside of its own.
package qcow2

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/klauspost/compress/flate"
	"github.com/klauspost/compress/zstd"

	"karri.dev/internal/sparse"
)

const (
	magic      = 0x514649fb
	headerSize = 104
	maxL1      = 32 << 20 // bytes, QEMU's own limit
	maxSize    = 64 << 40

	offsetMask = 0x00fffffffffffe00
	compressed = 1 << 62
	allZero    = 1 // in an entry of version 3
	// Incompatible features: dirty, which refcounts may be, that are not read; and a compression type in the header.
	knownBits = 1 | hasType
	hasType   = 1 << 3

	cachedTables = 64
)

// File is an open qcow2 file as a disk. Its methods may be called concurrently.
type File struct {
	r       io.ReaderAt
	below   sparse.Disk
	version uint32
	bits    uint32
	zstd    bool // compressed clusters, else deflate
	size    int64
	l1      []uint64

	mu     sync.Mutex
	tables map[uint64][]uint64 // second-level ones, a few
}

var _ sparse.Disk = (*File)(nil)

// Open reads a file's header and first table. What the file does not hold is below: nil means zeros. A name of a
// backing file in it is of no interest.
func Open(r io.ReaderAt, below sparse.Disk) (*File, error) {
	h := make([]byte, headerSize)
	if err := sparse.ReadFull(r, h, 0); err != nil {
		return nil, fmt.Errorf("qcow2: %w", err)
	}
	be := binary.BigEndian
	f := &File{r: r, below: below, version: be.Uint32(h[4:]), bits: be.Uint32(h[20:]), tables: map[uint64][]uint64{}}
	size, l1 := be.Uint64(h[24:]), be.Uint32(h[36:])
	if f.version == 3 && be.Uint64(h[72:])&hasType != 0 {
		var kind [1]byte
		if err := sparse.ReadFull(r, kind[:], headerSize); err != nil {
			return nil, fmt.Errorf("qcow2: %w", err)
		}
		if kind[0] > 1 {
			return nil, fmt.Errorf("qcow2: unknown compression %d", kind[0])
		}
		f.zstd = kind[0] == 1
	}
	switch {
	case be.Uint32(h) != magic || f.version != 2 && f.version != 3:
		return nil, errors.New("qcow2: not such a file")
	case f.bits < 9 || f.bits > 21:
		return nil, fmt.Errorf("qcow2: clusters of 2^%d bytes", f.bits)
	case size > maxSize:
		return nil, fmt.Errorf("qcow2: a disk of %d bytes", size)
	case be.Uint32(h[32:]) != 0:
		return nil, errors.New("qcow2: encrypted")
	case f.version == 3 && be.Uint64(h[72:])&^knownBits != 0:
		return nil, fmt.Errorf("qcow2: unknown features %#x", be.Uint64(h[72:]))
	case l1 > maxL1/8 || uint64(l1)<<(2*f.bits-3) < size:
		return nil, fmt.Errorf("qcow2: a first-level table of %d entries for %d bytes", l1, size)
	}
	f.size = int64(size)
	if f.below == nil {
		f.below = sparse.Zeros(f.size)
	}
	used := (size + 1<<(2*f.bits-3) - 1) >> (2*f.bits - 3)
	var err error
	f.l1, err = f.table(be.Uint64(h[40:]), int(used))
	return f, err
}

func (f *File) table(at uint64, entries int) ([]uint64, error) {
	if at > 1<<62 {
		return nil, &damage{fmt.Errorf("qcow2: a table at %d", at)}
	}
	b := make([]byte, entries*8)
	if _, err := f.r.ReadAt(b, int64(at)); err != nil {
		return nil, fmt.Errorf("qcow2: a table at %d: %w", at, err)
	}
	out := make([]uint64, entries)
	for i := range out {
		out[i] = binary.BigEndian.Uint64(b[i*8:])
	}
	return out, nil
}

// second gives the second-level table for a position, nil if there is none.
func (f *File) second(off int64) ([]uint64, error) {
	at := f.l1[off>>(2*f.bits-3)] & offsetMask
	if at == 0 {
		return nil, nil
	}
	f.mu.Lock()
	t := f.tables[at]
	f.mu.Unlock()
	if t != nil {
		return t, nil
	}
	t, err := f.table(at, 1<<(f.bits-3))
	if err != nil {
		return nil, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.tables) >= cachedTables {
		clear(f.tables)
	}
	f.tables[at] = t
	return t, nil
}

func (f *File) entry(off int64) (uint64, error) {
	t, err := f.second(off)
	if t == nil {
		return 0, err
	}
	return t[off>>f.bits&(1<<(f.bits-3)-1)], nil
}

// Size implements sparse.Disk.
func (f *File) Size() int64 { return f.size }

// ReadAt implements sparse.Disk.
func (f *File) ReadAt(p []byte, off int64) (n int, err error) {
	if off < 0 {
		return 0, errors.New("qcow2: negative offset")
	}
	cluster := int64(1) << f.bits
	for n < len(p) {
		at := off + int64(n)
		if at >= f.size {
			return n, io.EOF
		}
		part := p[n:min(int64(len(p)), int64(n)+cluster-at%cluster, int64(n)+f.size-at)]
		if err := f.readIn(part, at); err != nil {
			return n, err
		}
		n += len(part)
	}
	return n, nil
}

// readIn reads within one cluster.
func (f *File) readIn(p []byte, at int64) error {
	e, err := f.entry(at)
	within := at & (1<<f.bits - 1)
	switch {
	case err != nil:
		return err
	case e&compressed != 0:
		data, err := f.inflate(e)
		if err == nil {
			copy(p, data[within:])
		}
		return err
	case f.version == 3 && e&allZero != 0:
		clear(p)
		return nil
	case e&offsetMask == 0:
		return sparse.ReadFull(f.below, p, at)
	}
	if _, err := f.r.ReadAt(p, int64(e&offsetMask)+within); err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("qcow2: %w", err)
	} else if errors.Is(err, io.EOF) { // the last cluster need not be in the file to its end
		return sparse.ReadFull(f.r, p, int64(e&offsetMask)+within)
	}
	return nil
}

// inflate reads a compressed cluster.
func (f *File) inflate(e uint64) ([]byte, error) {
	split := 62 - (f.bits - 8)
	at := int64(e & (1<<split - 1))
	sectors := int64(e&(compressed-1)>>split) + 1
	in := make([]byte, sectors*512-at%512)
	if err := sparse.ReadFull(f.r, in, at); err != nil {
		return nil, fmt.Errorf("qcow2: %w", err)
	}
	out := make([]byte, 1<<f.bits)
	if err := f.unpack(out, in); err != nil {
		return nil, &damage{fmt.Errorf("qcow2: a compressed cluster at %d: %w", at, err)}
	}
	return out, nil
}

// damage is of what is in the file.
type damage struct{ error }

func (d *damage) Unwrap() error { return d.error }

// DamagedImage tells it from errors of who reads the file.
func (d *damage) DamagedImage() {}

// Inflaters hold no state.
var inflaters = sync.Pool{New: func() any { return flate.NewReader(nil) }}

func (f *File) unpack(out, in []byte) error {
	if f.zstd {
		z, err := zstd.NewReader(bytes.NewReader(in), zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(16<<20))
		if err != nil {
			return err
		}
		defer z.Close()
		_, err = io.ReadFull(z, out)
		return err
	}
	z := inflaters.Get().(io.ReadCloser)
	defer inflaters.Put(z)
	if err := z.(flate.Resetter).Reset(bytes.NewReader(in), nil); err != nil {
		return err
	}
	_, err := io.ReadFull(z, out)
	return err
}

// Next implements sparse.Disk.
func (f *File) Next(off int64) (from, to int64, err error) {
	cluster, span := int64(1)<<f.bits, int64(1)<<(2*f.bits-3)
	below := int64(-1) // where the next data below is
	for at := max(off, 0) &^ (cluster - 1); at < f.size; {
		if below >= 0 && below < at {
			below = -1
		}
		if below < 0 {
			if below, _, err = f.below.Next(at); err != nil {
				return 0, 0, err
			}
			if below >= f.below.Size() {
				below = f.size
			}
		}
		t, err := f.second(at)
		if err != nil {
			return 0, 0, err
		}
		if t == nil && below >= (at/span+1)*span {
			at = (at/span + 1) * span
			continue
		}
		e := uint64(0)
		if t != nil {
			e = t[at>>f.bits&(1<<(f.bits-3)-1)]
		}
		zero := f.version == 3 && e&compressed == 0 && e&allZero != 0
		if !zero && (e&compressed != 0 || e&offsetMask != 0 || below < at+cluster) {
			return max(at, off), min(at+cluster, f.size), nil
		}
		at += cluster
	}
	return f.size, f.size, nil
}

// Own gives the first range at or after off that the file itself holds, zeros included: what hides what is below.
func (f *File) Own(off int64) (from, to int64, err error) {
	cluster, span := int64(1)<<f.bits, int64(1)<<(2*f.bits-3)
	for at := max(off, 0) &^ (cluster - 1); at < f.size; {
		t, err := f.second(at)
		if err != nil {
			return 0, 0, err
		}
		if t == nil {
			at = (at/span + 1) * span
			continue
		}
		if t[at>>f.bits&(1<<(f.bits-3)-1)] != 0 {
			return max(at, off), min(at+cluster, f.size), nil
		}
		at += cluster
	}
	return f.size, f.size, nil
}
