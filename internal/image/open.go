package image

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/klauspost/compress/zlib"

	"karri.dev/internal/qcow2"
	"karri.dev/internal/sparse"
)

// Disk is the disk in an image.
type Disk struct {
	sparse.Disk
	// Mapped says that the image itself tells where it has data. Else it may have zeros anywhere.
	Mapped bool
}

// Open opens the disk of an image of which Inspect said info. It reads nothing but r, and is as careful as Inspect: what
// is damaged gives an error when it is read, an *Invalid if the image is at fault.
func Open(r io.ReaderAt, info Info) (Disk, error) {
	window := io.NewSectionReader(r, info.Offset, info.Length)
	var d sparse.Disk
	var err error
	switch info.Format {
	case Raw:
		return Disk{Disk: rawDisk{io.NewSectionReader(r, info.Offset, info.VirtualSize)}}, nil
	case QCOW2:
		d, err = qcow2.Open(window, nil)
		d = padded{d, info.VirtualSize}
	case VMDK:
		d, err = openVMDK(window, info.VirtualSize)
	case VHD:
		d, err = openVHD(window, info.VirtualSize)
	case VHDX:
		d, err = openVHDX(window, info.VirtualSize)
	default:
		err = fmt.Errorf("open image: unknown format %q", info.Format)
	}
	return Disk{d, true}, damaged(err)
}

// rawDisk may have data everywhere.
type rawDisk struct{ *io.SectionReader }

func (d rawDisk) Next(off int64) (from, to int64, err error) {
	return min(off, d.Size()), d.Size(), nil
}

// padded is a disk up to a whole sector.
type padded struct {
	sparse.Disk
	size int64
}

func (d padded) Size() int64 { return d.size }

func (d padded) Next(off int64) (from, to int64, err error) {
	if from, to, err = d.Disk.Next(off); from >= d.Disk.Size() {
		return d.size, d.size, err
	}
	return from, to, damaged(err)
}

func (d padded) ReadAt(p []byte, off int64) (int, error) {
	p = p[:max(0, min(int64(len(p)), d.size-off))]
	if err := sparse.ReadFull(d.Disk, p, off); err != nil {
		return 0, damaged(err)
	}
	return len(p), nil
}

// damaged tells errors of what an image holds from those of who reads it.
func damaged(err error) error {
	var syntax interface{ DamagedImage() }
	if errors.As(err, &syntax) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) {
		return invalid("Disk validation failed [the image is damaged: %.200s]", err)
	}
	return err
}

// blocks is a disk in blocks of one size, each of which lies somewhere in the file or is zeros.
type blocks struct {
	r     io.ReaderAt
	size  int64                            // of the disk
	block int64                            // bytes
	place func(index int64) (int64, error) // in the file; 0 for zeros
	// unpack fills p with the whole block at a place; nil: blocks are stored as they are.
	unpack func(p []byte, at int64) error
}

func (d *blocks) Size() int64 { return d.size }

func (d *blocks) Next(off int64) (from, to int64, err error) {
	for i := max(off, 0) / d.block; i*d.block < d.size; i++ {
		at, err := d.place(i)
		if err != nil {
			return 0, 0, damaged(err)
		}
		if at != 0 {
			return max(off, i*d.block), min((i+1)*d.block, d.size), nil
		}
	}
	return d.size, d.size, nil
}

func (d *blocks) ReadAt(p []byte, off int64) (n int, err error) {
	if off < 0 {
		return 0, errors.New("negative offset")
	}
	for n < len(p) {
		pos := off + int64(n)
		if pos >= d.size {
			return n, io.EOF
		}
		part := p[n:min(int64(len(p)), int64(n)+d.block-pos%d.block, int64(n)+d.size-pos)]
		if err := d.read(part, pos); err != nil {
			return n, damaged(err)
		}
		n += len(part)
	}
	return n, nil
}

// read reads within one block.
func (d *blocks) read(p []byte, pos int64) error {
	at, err := d.place(pos / d.block)
	switch {
	case err != nil:
		return err
	case at == 0:
		clear(p)
		return nil
	case d.unpack == nil:
		return sparse.ReadFull(d.r, p, at+pos%d.block)
	}
	if int64(len(p)) == d.block {
		return d.unpack(p, at)
	}
	whole := make([]byte, d.block)
	err = d.unpack(whole, at)
	copy(p, whole[pos%d.block:])
	return err
}

// words reads a table of numbers of 4 or 8 bytes.
func words(r io.ReaderAt, at, n int64, width int, order binary.ByteOrder) ([]uint64, error) {
	b := make([]byte, n*int64(width))
	if got, err := r.ReadAt(b, at); got < len(b) {
		return nil, fmt.Errorf("a table at %d: %w", at, err)
	}
	out := make([]uint64, n)
	for i := range out {
		if width == 4 {
			out[i] = uint64(order.Uint32(b[4*i:]))
		} else {
			out[i] = order.Uint64(b[8*i:])
		}
	}
	return out, nil
}

func openVHD(r io.ReaderAt, size int64) (sparse.Disk, error) {
	be := binary.BigEndian
	footer, header := make([]byte, 512), make([]byte, 1024)
	if err := sparse.ReadFull(r, footer, 0); err != nil {
		return nil, err
	}
	if err := sparse.ReadFull(r, header, int64(be.Uint64(footer[16:])&(1<<62-1))); err != nil {
		return nil, err
	}
	block := int64(be.Uint32(header[32:]))
	if block < 512 {
		return nil, invalid("blocks of %d bytes", block)
	}
	table, err := words(r, int64(be.Uint64(header[16:])&(1<<62-1)), (size+block-1)/block, 4, be)
	if err != nil {
		return nil, err
	}
	bitmap := (block/512/8 + 511) &^ 511
	return &blocks{r: r, size: size, block: block, place: func(i int64) (int64, error) {
		if table[i] == 0xffffffff {
			return 0, nil
		}
		return int64(table[i])*512 + bitmap, nil
	}}, nil
}

func openVHDX(r *io.SectionReader, size int64) (sparse.Disk, error) {
	f := file{r, r.Size()}
	regions, err := vhdxRegions(f, 192<<10)
	if err != nil {
		if regions, err = vhdxRegions(f, 256<<10); err != nil {
			return nil, err
		}
	}
	length, _, err := vhdxItems(f, regions[vhdxMetadata])
	if err != nil {
		return nil, err
	}
	block := int64(length)
	if block < 1<<20 {
		return nil, invalid("blocks of %d bytes", block)
	}
	n, chunk := (size+block-1)/block, vhdxChunk(uint64(block))
	table, err := words(r, int64(regions[vhdxBAT].offset), n+(n-1)/int64(chunk), 8, binary.LittleEndian)
	if err != nil {
		return nil, err
	}
	return &blocks{r: r, size: size, block: block, place: func(i int64) (int64, error) {
		e := table[i+i/int64(chunk)]
		switch state := e & 7; state {
		case 0, 1, 2, 3: // not there, undefined, zeros, unmapped
			return 0, nil
		case 6:
			return int64(e >> 20 << 20 & (1<<62 - 1)), nil
		default:
			return 0, invalid("block %d is in state %d", i, state)
		}
	}}, nil
}

// cachedGrainTables bounds the memory of an open VMDK.
const cachedGrainTables = 1024

type vmdk struct {
	r         io.ReaderAt
	grain     int64    // bytes
	perTable  int64    // grains
	directory []uint64 // sectors of tables

	mu     sync.Mutex
	tables map[uint64][]uint64
}

func openVMDK(r *io.SectionReader, size int64) (sparse.Disk, error) {
	le := binary.LittleEndian
	h := make([]byte, 512)
	if err := sparse.ReadFull(r, h, 0); err != nil {
		return nil, err
	}
	if le.Uint64(h[56:]) == vmdkAtEnd {
		if err := sparse.ReadFull(r, h, r.Size()-1024); err != nil {
			return nil, err
		}
	}
	v := &vmdk{r: r, grain: int64(le.Uint64(h[20:])&(1<<30-1)) * 512, perTable: int64(le.Uint32(h[44:])), tables: map[uint64][]uint64{}}
	if v.grain <= 0 || v.perTable <= 0 || v.perTable > 512 {
		return nil, invalid("grain tables of %d entries", v.perTable)
	}
	grains := (size + v.grain - 1) / v.grain
	var err error
	if v.directory, err = words(r, int64(le.Uint64(h[56:])&(1<<50-1))*512, (grains+v.perTable-1)/v.perTable, 4, le); err != nil {
		return nil, err
	}
	d := &blocks{r: r, size: size, block: v.grain, place: v.place}
	if le.Uint32(h[8:])&vmdkCompressed != 0 {
		d.unpack = v.unpack
	}
	return d, nil
}

func (v *vmdk) place(i int64) (int64, error) {
	at := v.directory[i/v.perTable]
	if at == 0 {
		return 0, nil
	}
	v.mu.Lock()
	t := v.tables[at]
	v.mu.Unlock()
	if t == nil {
		var err error
		if t, err = words(v.r, int64(at)*512, v.perTable, 4, binary.LittleEndian); err != nil {
			return 0, err
		}
		v.mu.Lock()
		if len(v.tables) >= cachedGrainTables {
			clear(v.tables)
		}
		v.tables[at] = t
		v.mu.Unlock()
	}
	if e := t[i%v.perTable]; e > 1 { // 1: zeros
		return int64(e) * 512, nil
	}
	return 0, nil
}

// unpack reads a compressed grain: where it is, its length, and zlib's bytes.
func (v *vmdk) unpack(p []byte, at int64) error {
	var head [12]byte
	if err := sparse.ReadFull(v.r, head[:], at); err != nil {
		return err
	}
	n := int64(binary.LittleEndian.Uint32(head[8:]))
	if n > 2*v.grain+4096 {
		return invalid("a grain at %d of %d bytes", at, n)
	}
	z, _ := inflaters.Get().(io.ReadCloser)
	in := io.NewSectionReader(v.r, at+12, n)
	var err error
	if z == nil {
		z, err = zlib.NewReader(in)
	} else {
		err = z.(zlib.Resetter).Reset(in, nil)
	}
	if err != nil {
		return invalid("a grain at %d: %v", at, err)
	}
	defer inflaters.Put(z)
	got, err := io.ReadFull(z, p)
	if errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) { // the last one may end with the disk
		clear(p[got:])
		err = nil
	}
	if err != nil {
		return invalid("a grain at %d: %v", at, err)
	}
	return nil
}

var inflaters sync.Pool // of zlib readers; holds no state
