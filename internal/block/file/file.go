// Package file keeps volumes as sparse files in one directory: DIR/vol-…. It is the zone's storage where there is no
// Ceph. Locks say who has a volume open: the kernel lets go of them with the process, so there are no stale ones.
package file

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"karri.dev/internal/block"
	"karri.dev/internal/durable"
	"karri.dev/internal/luks"
	"karri.dev/internal/qcow2"
)

var _ block.Driver = (*Driver)(nil)

// Driver implements block.Driver.
type Driver struct{ dir string }

// New gives a driver over a directory, which it makes. What an interrupted Create left goes.
func New(dir string) (*Driver, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("volumes: %w", err)
	}
	if err := os.MkdirAll(filepath.Join(dir, copiesDir), 0o700); err != nil {
		return nil, fmt.Errorf("volumes: %w", err)
	}
	left, err := filepath.Glob(filepath.Join(dir, ".new-*"))
	if err != nil {
		return nil, err
	}
	for _, f := range left {
		if err := os.Remove(f); err != nil {
			return nil, fmt.Errorf("volumes: %w", err)
		}
	}
	return &Driver{dir}, nil
}

var validID = regexp.MustCompile(`^vol-[0-9a-f]{8,17}$`)

const (
	mib     = 1 << 20
	maxSize = 64 << 40
)

func check(v block.Spec) error {
	switch {
	case !validID.MatchString(v.ID):
		return fmt.Errorf("volume id %q is not valid", v.ID)
	case v.SizeBytes <= 0 || v.SizeBytes > maxSize || v.SizeBytes%mib != 0:
		return fmt.Errorf("volume %s: a size of %d bytes is not possible", v.ID, v.SizeBytes)
	case v.Key != nil && v.Format != block.Qcow2:
		return fmt.Errorf("volume %s: an encrypted one is of format qcow2", v.ID)
	case v.Format != block.Raw && v.Format != block.Qcow2:
		return fmt.Errorf("volume %s: format %q is not known", v.ID, v.Format)
	}
	return nil
}

// Path implements block.Driver.
func (d *Driver) Path(id string) string { return filepath.Join(d.dir, filepath.Base(id)) }

// Create implements block.Driver.
func (d *Driver) Create(_ context.Context, v block.Spec) error {
	if err := check(v); err != nil {
		return err
	}
	if _, err := os.Lstat(d.Path(v.ID)); err == nil {
		return nil
	}
	f, err := os.CreateTemp(d.dir, ".new-*")
	if err != nil {
		return wrap(v.ID, err)
	}
	defer os.Remove(f.Name()) // no file is there any more once it has its name
	switch {
	case v.Key != nil:
		var c *luks.Disk
		if c, err = luks.Format(f, v.Key); err == nil {
			err = qcow2.Create(c, v.SizeBytes, "")
		}
	case v.Format == block.Qcow2:
		err = qcow2.Create(f, v.SizeBytes, "")
	default:
		err = f.Truncate(v.SizeBytes)
	}
	if err = errors.Join(err, f.Sync(), f.Close()); err == nil {
		if err = os.Link(f.Name(), d.Path(v.ID)); errors.Is(err, fs.ErrExist) {
			err = nil // somebody was quicker
		}
	}
	if err != nil {
		return wrap(v.ID, err)
	}
	return durable.SyncDir(d.dir)
}

// Grow implements block.Driver.
func (d *Driver) Grow(_ context.Context, v block.Spec) error {
	if err := check(v); err != nil {
		return err
	}
	f, err := os.OpenFile(d.Path(v.ID), os.O_RDWR|unix.O_NOFOLLOW, 0)
	if err != nil {
		return wrap(v.ID, err)
	}
	defer f.Close()
	if v.Format == block.Qcow2 {
		// The hypervisor that has it open keeps its size, too, and is told to grow it itself.
		if unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) != nil {
			return nil
		}
		var to qcow2.Target = f
		if v.Key != nil {
			if to, err = luks.Open(f, v.Key); err != nil {
				return wrap(v.ID, err)
			}
		}
		return wrap(v.ID, qcow2.Grow(to, v.SizeBytes))
	}
	fi, err := f.Stat()
	if err == nil && fi.Size() < v.SizeBytes {
		err = errors.Join(f.Truncate(v.SizeBytes), f.Sync())
	}
	return wrap(v.ID, err)
}

// Delete implements block.Driver.
func (d *Driver) Delete(_ context.Context, id string) error {
	if !validID.MatchString(id) {
		return fmt.Errorf("volume id %q is not valid", id)
	}
	f, err := os.OpenFile(d.Path(id), os.O_RDWR|unix.O_NOFOLLOW, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return wrap(id, err)
	}
	defer f.Close()
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return fmt.Errorf("volume %s: %w", id, block.ErrBusy)
	}
	if err := os.Remove(d.Path(id)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return wrap(id, err)
	}
	return durable.SyncDir(d.dir)
}

// List implements block.Driver.
func (d *Driver) List(context.Context) ([]string, error) {
	entries, err := os.ReadDir(d.dir)
	if err != nil {
		return nil, fmt.Errorf("volumes: %w", err)
	}
	var ids []string
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), ".") {
			ids = append(ids, e.Name())
		}
	}
	return ids, nil
}

// Usage implements block.Driver. What may be taken is what volumes take and what is free beside.
func (d *Driver) Usage(context.Context) (total, used int64, err error) {
	ids, err := d.List(context.Background())
	if err != nil {
		return 0, 0, err
	}
	for _, id := range ids {
		var st unix.Stat_t
		if unix.Lstat(d.Path(id), &st) == nil {
			used += st.Blocks * 512
		}
	}
	var space unix.Statfs_t
	if err := unix.Statfs(d.dir, &space); err != nil {
		return 0, 0, fmt.Errorf("volumes: %w", err)
	}
	return used + int64(space.Bavail)*space.Bsize, used, nil
}

func wrap(id string, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, fs.ErrNotExist):
		err = fmt.Errorf("%w: %w", block.ErrNotFound, err)
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		err = fmt.Errorf("%w: %w", block.ErrNoSpace, err)
	}
	return fmt.Errorf("volume %s: %w", id, err)
}
