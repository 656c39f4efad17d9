package file

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"

	"golang.org/x/sys/unix"

	"karri.dev/internal/block"
	"karri.dev/internal/durable"
	"karri.dev/internal/sparse"
)

// copiesDir is where copies for snapshots are, beside the volumes.
const copiesDir = ".copies"

var validCopy = regexp.MustCompile(`^snap-[0-9a-z-]{1,40}(\.[a-z]{1,8})?$`)

// CopyPath implements block.Driver.
func (d *Driver) CopyPath(name string) string {
	return filepath.Join(d.dir, copiesDir, filepath.Base(name))
}

// Copy implements block.Driver. Where the file system can share blocks it takes no time and no space.
func (d *Driver) Copy(_ context.Context, id, name string) error {
	if !validID.MatchString(id) || !validCopy.MatchString(name) {
		return fmt.Errorf("copy %q of volume %q is not possible", name, id)
	}
	to := d.CopyPath(name)
	if _, err := os.Lstat(to); err == nil {
		return nil
	}
	from, err := os.OpenFile(d.Path(id), os.O_RDWR|unix.O_NOFOLLOW, 0)
	if err != nil {
		return wrap(id, err)
	}
	defer from.Close()
	if err := unix.Flock(int(from.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return fmt.Errorf("volume %s: %w", id, block.ErrBusy)
	}
	tmp := to + ".new"
	f, err := os.OpenFile(tmp, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return wrap(id, err)
	}
	if unix.IoctlFileClone(int(f.Fd()), int(from.Fd())) != nil {
		var disk *sparse.File
		if disk, err = sparse.NewFile(from); err == nil {
			err = sparse.Copy(f, disk)
		}
	}
	if err = errors.Join(err, f.Sync(), f.Close()); err == nil {
		err = os.Rename(tmp, to)
	}
	if err != nil {
		os.Remove(tmp)
		return wrap(id, err)
	}
	return durable.SyncDir(filepath.Dir(to))
}

// Copies implements block.Driver.
func (d *Driver) Copies(context.Context) (names []string, err error) {
	entries, err := os.ReadDir(filepath.Join(d.dir, copiesDir))
	if err != nil {
		return nil, fmt.Errorf("volumes: %w", err)
	}
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names, nil
}

// DeleteCopy implements block.Driver.
func (d *Driver) DeleteCopy(_ context.Context, name string) error {
	if !validCopy.MatchString(name) {
		return fmt.Errorf("copy name %q is not valid", name)
	}
	if err := os.Remove(d.CopyPath(name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("volumes: %w", err)
	}
	return nil
}
