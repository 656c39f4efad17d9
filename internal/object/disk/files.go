package disk

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"path"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// Files keeps data files. Each has a number that was never used before and never will be again; nothing is overwritten or
// renamed. Methods may be called concurrently, for different files.
type Files interface {
	// Create begins a file of size bytes, -1 if that is not known yet. Until Commit it may or may not be there after a crash.
	Create(ctx context.Context, id uint64, size int64) (FileWriter, error)
	// Read reads length bytes from offset, or to the end if length is negative. What the file does not have is
	// io.ErrUnexpectedEOF or an earlier end.
	Read(ctx context.Context, id uint64, offset, length int64) (io.ReadCloser, error)
	// Remove removes a file; one that is not there is no error.
	Remove(ctx context.Context, id uint64) error
	// Each calls fn for every file that was there before, until it gives an error.
	Each(ctx context.Context, fn func(id uint64) error) error
	// Usage gives total and free bytes, math.MaxInt64 if there is no limit.
	Usage(ctx context.Context) (total, free int64, err error)
	Close() error
}

// FileWriter is a file being written, from its beginning to its end. Write leaves its argument alone once it has returned.
type FileWriter interface {
	io.Writer
	// Commit returns when the file, its name too, is durable.
	Commit() error
	// Abort ends the writing; what is there is left to Remove.
	Abort() error
}

var _ Files = (*folders)(nil)

// syncEvery is how many bytes are written before the kernel is asked to begin writing them out.
const syncEvery = 4 << 20

type folderWriter struct {
	folders       *folders
	file          vfs.File
	id            uint64
	size, started int64 // bytes written; those on their way out
}

func (f *folders) Create(_ context.Context, id uint64, _ int64) (FileWriter, error) {
	file, err := f.fs.Create(f.name(id), vfs.WriteCategoryUnspecified)
	if err != nil {
		return nil, fmt.Errorf("create data file: %w", noSpace(err))
	}
	return &folderWriter{folders: f, file: file, id: id}, nil
}

func (w *folderWriter) Write(p []byte) (int, error) {
	n, err := w.file.Write(p)
	if err != nil {
		return n, fmt.Errorf("write data file: %w", noSpace(err))
	}
	if w.size += int64(n); w.size-w.started >= syncEvery {
		w.started = w.size
		if _, err := w.file.SyncTo(w.size); err != nil {
			return n, fmt.Errorf("sync data file: %w", noSpace(err))
		}
	}
	return n, nil
}

func (w *folderWriter) Commit() error {
	err := w.file.SyncData()
	if err := errors.Join(err, w.file.Close()); err != nil {
		return fmt.Errorf("sync data file: %w", noSpace(err))
	}
	if err := w.folders.sync(w.id); err != nil {
		return fmt.Errorf("sync data folder: %w", noSpace(err))
	}
	return nil
}

func (w *folderWriter) Abort() error { return w.file.Close() }

func (f *folders) Read(_ context.Context, id uint64, offset, length int64) (io.ReadCloser, error) {
	if length < 0 {
		length = math.MaxInt64 - offset
	}
	file, err := f.open(id)
	if err != nil {
		return nil, fmt.Errorf("open data file: %w", err)
	}
	return &section{io.NewSectionReader(file, offset, length), file}, nil
}

type section struct {
	*io.SectionReader
	file io.Closer
}

func (s *section) Close() error { return s.file.Close() }

// open opens a file for reading.
func (f *folders) open(id uint64) (interface {
	io.ReaderAt
	io.Closer
}, error,
) {
	if f.fs == vfs.Default {
		return os.Open(f.name(id)) // vfs makes ready for writing, which takes longer than the open
	}
	return f.fs.Open(f.name(id))
}

func (f *folders) Remove(_ context.Context, id uint64) error {
	if err := f.fs.Remove(f.name(id)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove data file: %w", err)
	}
	return nil
}

func (f *folders) Each(_ context.Context, fn func(id uint64) error) error {
	for i := range folderCount {
		ids, err := f.list(i)
		if err != nil {
			return err
		}
		for _, id := range ids {
			if err := fn(id); err != nil {
				return err
			}
		}
	}
	return nil
}

func (f *folders) Usage(context.Context) (total, free int64, err error) { return usage(f.fs, f.dir) }

func usage(fs vfs.FS, dir string) (total, free int64, err error) {
	u, err := fs.GetDiskUsage(dir)
	if err != nil {
		return 0, 0, fmt.Errorf("disk usage of %s: %w", path.Clean(dir), err)
	}
	return int64(u.TotalBytes), int64(u.AvailBytes), nil
}

func (f *folders) Close() error { return f.close() }
