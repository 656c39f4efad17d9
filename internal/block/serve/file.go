package serve

import (
	"errors"
	"fmt"
	"io"
	"os"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"karri.dev/internal/nbd"
	"karri.dev/internal/sparse"
)

var (
	_ sparse.Disk = (*file)(nil)
	_ nbd.Writer  = (*file)(nil)
)

// longest is how long a file that grows under its user is served as: more than a volume of the greatest size needs.
const longest = 1 << 47

// file is a volume's file, locked. What lies beyond its end reads as zeros.
type file struct {
	*os.File
	growing bool
	size    atomic.Int64
}

// openFile opens a volume's file as a hypervisor on this host would.
func openFile(g Grant) (*file, error) {
	f, err := os.OpenFile(g.Path, os.O_RDWR|unix.O_NOFOLLOW, 0)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		f.Close()
		return nil, fmt.Errorf("volume %s is still open elsewhere: %w", g.Volume, err)
	}
	out := &file{File: f, growing: g.Growing}
	if err := out.measure(); err != nil {
		f.Close()
		return nil, err
	}
	return out, nil
}

// measure takes the size that the file has now, for the next connection.
func (f *file) measure() error {
	if f.growing {
		f.size.Store(longest)
		return nil
	}
	fi, err := f.Stat()
	if err == nil {
		f.size.Store(fi.Size())
	}
	return err
}

// Size implements sparse.Disk.
func (f *file) Size() int64 { return f.size.Load() }

// ReadAt implements sparse.Disk.
func (f *file) ReadAt(p []byte, off int64) (int, error) {
	n, err := f.File.ReadAt(p, off)
	if errors.Is(err, io.EOF) {
		clear(p[n:])
		return len(p), nil
	}
	return n, err
}

// Next implements sparse.Disk.
func (f *file) Next(off int64) (from, to int64, err error) {
	size := f.Size()
	from, err = unix.Seek(int(f.Fd()), off, unix.SEEK_DATA)
	if errors.Is(err, unix.ENXIO) {
		return size, size, nil
	}
	if err == nil {
		to, err = unix.Seek(int(f.Fd()), from, unix.SEEK_HOLE)
	}
	return min(from, size), min(to, size), err
}

// Sync implements nbd.Writer.
func (f *file) Sync() error {
	for {
		if err := unix.Fdatasync(int(f.Fd())); !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

// Zero implements nbd.Writer.
func (f *file) Zero(off, length int64, punch bool) error {
	// The length stays where the file grows by itself, and else the range is within it.
	mode := uint32(unix.FALLOC_FL_ZERO_RANGE | unix.FALLOC_FL_KEEP_SIZE)
	if punch {
		mode = unix.FALLOC_FL_PUNCH_HOLE | unix.FALLOC_FL_KEEP_SIZE
	}
	err := unix.Fallocate(int(f.Fd()), mode, off, length)
	if !errors.Is(err, unix.EOPNOTSUPP) {
		return err
	}
	zeros := make([]byte, min(length, 1<<20))
	for end := off + length; off < end; off += int64(len(zeros)) {
		if _, err := f.WriteAt(zeros[:min(int64(len(zeros)), end-off)], off); err != nil {
			return err
		}
	}
	return nil
}

// Discard implements nbd.Writer.
func (f *file) Discard(off, length int64) error {
	err := unix.Fallocate(int(f.Fd()), unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, off, length)
	if errors.Is(err, unix.EOPNOTSUPP) {
		return nil
	}
	return err
}
