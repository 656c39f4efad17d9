package disk

import (
	"errors"
	"fmt"
	"path"
	"strconv"
	"strings"
	"sync"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// folderCount is how many folders the data files are spread over. It never changes: the id gives the folder.
const folderCount = 256

// folders holds the data files. All folders are made, and durable, before the first file; so a file needs its
// own sync and that of its folder, and nothing else.
type folders struct {
	fs  vfs.FS
	dir string
	all [folderCount]struct {
		mu     sync.Mutex // one sync at a time, as vfs.File asks
		handle vfs.File
	}
}

func openFolders(fs vfs.FS, dir string) (*folders, error) {
	f := &folders{fs: fs, dir: dir}
	if err := makeDir(fs, dir); err != nil {
		return nil, err
	}
	for i := range folderCount {
		if err := fs.MkdirAll(f.folder(i), 0o700); err != nil {
			return nil, fmt.Errorf("make data folder: %w", noSpace(err))
		}
	}
	if err := syncDir(fs, dir); err != nil {
		return nil, err
	}
	for i := range f.all {
		handle, err := fs.OpenDir(f.folder(i))
		if err != nil {
			return nil, errors.Join(fmt.Errorf("open data folder: %w", err), f.close())
		}
		f.all[i].handle = handle
	}
	return f, nil
}

func (f *folders) folder(i int) string { return path.Join(f.dir, fmt.Sprintf("%02x", i)) }

func (f *folders) name(id uint64) string {
	return path.Join(f.folder(int(id%folderCount)), strconv.FormatUint(id, 16))
}

// sync makes the file's name durable.
func (f *folders) sync(id uint64) error {
	d := &f.all[id%folderCount]
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.handle.Sync()
}

// list gives the ids of the files in a folder.
func (f *folders) list(i int) ([]uint64, error) {
	names, err := f.fs.List(f.folder(i))
	if err != nil {
		return nil, fmt.Errorf("list data folder: %w", err)
	}
	ids := make([]uint64, 0, len(names))
	for _, name := range names {
		if id, err := strconv.ParseUint(name, 16, 64); err == nil && id%folderCount == uint64(i) {
			ids = append(ids, id)
		}
	}
	return ids, nil
}

func (f *folders) close() error {
	var errs []error
	for i := range f.all {
		if h := f.all[i].handle; h != nil {
			errs = append(errs, h.Close())
		}
	}
	return errors.Join(errs...)
}

// makeDir makes a folder and those above it, durably.
func makeDir(fs vfs.FS, dir string) error {
	if err := fs.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("make folder: %w", noSpace(err))
	}
	for up := path.Dir(dir); ; up = path.Dir(up) {
		if err := syncDir(fs, up); err != nil {
			return err
		}
		if up == "/" || up == "." || !strings.Contains(up, "/") {
			return nil
		}
	}
}

func syncDir(fs vfs.FS, dir string) error {
	d, err := fs.OpenDir(dir)
	if err != nil {
		return fmt.Errorf("open folder: %w", err)
	}
	err = d.Sync()
	if err := errors.Join(err, d.Close()); err != nil {
		return fmt.Errorf("sync folder: %w", err)
	}
	return nil
}
