// Package sparse reads disks that are mostly holes: files, and what else knows where its data is.
package sparse

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// Disk is a disk to be read. What lies beyond its end reads as nothing (io.EOF).
type Disk interface {
	io.ReaderAt
	Size() int64
	// Next gives the first range at or after off that may hold anything but zeros; from is Size when there is none.
	Next(off int64) (from, to int64, err error)
}

// File is a sparse file as a disk.
type File struct {
	*os.File
	size int64
}

// NewFile takes the size that the file has now.
func NewFile(f *os.File) (*File, error) {
	fi, err := f.Stat()
	if err != nil {
		return nil, err
	}
	return &File{f, fi.Size()}, nil
}

// Size implements Disk.
func (f *File) Size() int64 { return f.size }

// Next implements Disk.
func (f *File) Next(off int64) (from, to int64, err error) {
	if off >= f.size {
		return f.size, f.size, nil
	}
	from, err = unix.Seek(int(f.Fd()), off, unix.SEEK_DATA)
	if errors.Is(err, unix.ENXIO) {
		return f.size, f.size, nil
	}
	if err == nil {
		to, err = unix.Seek(int(f.Fd()), from, unix.SEEK_HOLE)
	}
	if err != nil {
		return 0, 0, fmt.Errorf("look for data in %s: %w", f.Name(), err)
	}
	return min(from, f.size), min(to, f.size), nil
}

// Zeros is a disk without data.
type Zeros int64

// Size implements Disk.
func (z Zeros) Size() int64 { return int64(z) }

// Next implements Disk.
func (z Zeros) Next(int64) (from, to int64, err error) { return int64(z), int64(z), nil }

// ReadAt implements Disk.
func (z Zeros) ReadAt(p []byte, off int64) (int, error) {
	n := len(p)
	if left := int64(z) - off; int64(n) > left {
		n = int(max(left, 0))
	}
	clear(p[:n])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

var zeros [64 << 10]byte

// IsZero says whether there are only zeros in b.
func IsZero(b []byte) bool {
	for len(b) > 0 {
		n := min(len(b), len(zeros))
		if !bytes.Equal(b[:n], zeros[:n]) {
			return false
		}
		b = b[n:]
	}
	return true
}

// ReadFull fills p from off on; what is beyond the disk's end is zeros.
func ReadFull(d io.ReaderAt, p []byte, off int64) error {
	n, err := d.ReadAt(p, off)
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	clear(p[n:])
	return nil
}

// Blocks calls f for each block of size bytes in which there may be data, in order. The last one may reach beyond the
// disk's end, and is zeros there. f must not keep its data.
func Blocks(d Disk, size int64, f func(index int64, data []byte) error) error {
	buf := make([]byte, size)
	for at := int64(0); at < d.Size(); {
		from, _, err := d.Next(at)
		if err != nil {
			return err
		}
		if from >= d.Size() {
			return nil
		}
		index := from / size
		if err := ReadFull(d, buf, index*size); err != nil {
			return err
		}
		if err := f(index, buf); err != nil {
			return err
		}
		at = (index + 1) * size
	}
	return nil
}

// Copy writes a disk into a file, which gets its size; holes and blocks of zeros become holes.
func Copy(to *os.File, d Disk) error {
	if err := to.Truncate(0); err != nil {
		return err
	}
	if err := to.Truncate(d.Size()); err != nil {
		return err
	}
	const block = 64 << 10
	return Blocks(d, block, func(index int64, data []byte) error {
		if IsZero(data) {
			return nil
		}
		data = data[:min(block, d.Size()-index*block)]
		_, err := to.WriteAt(data, index*block)
		return err
	})
}
