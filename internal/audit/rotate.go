package audit

import (
	"errors"
	"fmt"
	"os"
	"strconv"
)

// File is an append-only log of bounded size: when it is full it becomes PATH.1, the one before PATH.2, and so
// on; the oldest goes. It is for one Writer, which never splits an event over two files.
type File struct {
	path string
	max  int64 // bytes of one file
	keep int   // older files
	file *os.File
	size int64
}

// OpenFile opens or makes the log. Files are readable by their owner only.
func OpenFile(path string, max int64, keep int) (*File, error) {
	f := &File{path: path, max: max, keep: keep}
	return f, f.open()
}

func (f *File) open() error {
	file, err := os.OpenFile(f.path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	info, err := file.Stat()
	if err != nil {
		file.Close()
		return err
	}
	f.file, f.size = file, info.Size()
	return nil
}

// Write appends b, to a new file where this one would become too large.
func (f *File) Write(b []byte) (int, error) {
	if f.size > 0 && f.size+int64(len(b)) > f.max {
		if err := f.rotate(); err != nil {
			return 0, fmt.Errorf("rotate %s: %w", f.path, err)
		}
	}
	n, err := f.file.Write(b)
	f.size += int64(n)
	return n, err
}

func (f *File) older(i int) string { return f.path + "." + strconv.Itoa(i) }

func (f *File) rotate() error {
	if err := f.file.Close(); err != nil {
		return err
	}
	for i := f.keep - 1; i > 0; i-- {
		if err := os.Rename(f.older(i), f.older(i+1)); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	if err := os.Rename(f.path, f.older(1)); err != nil {
		return err
	}
	return f.open()
}

// Close closes the file.
func (f *File) Close() error { return f.file.Close() }
