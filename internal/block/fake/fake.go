// Package fake is a block driver without bytes: for simulated clouds.
package fake

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"

	"karri.dev/internal/block"
)

var _ block.Driver = (*Driver)(nil)

// Driver implements block.Driver. Like disks it outlives the processes that use it.
type Driver struct {
	mu      sync.Mutex
	volumes map[string]int64
	open    map[string]bool
	copies  map[string]bool
}

// New gives an empty driver.
func New() *Driver {
	return &Driver{volumes: map[string]int64{}, open: map[string]bool{}, copies: map[string]bool{}}
}

// Create implements block.Driver.
func (d *Driver) Create(_ context.Context, v block.Spec) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if v.ID == "" || v.SizeBytes <= 0 || v.SizeBytes > 64<<40 || v.SizeBytes%(1<<20) != 0 || v.Format != block.Raw && v.Format != block.Qcow2 {
		return fmt.Errorf("volume %q is not possible", v.ID)
	}
	if _, ok := d.volumes[v.ID]; !ok {
		d.volumes[v.ID] = v.SizeBytes
	}
	return nil
}

// Grow implements block.Driver.
func (d *Driver) Grow(_ context.Context, v block.Spec) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	size, ok := d.volumes[v.ID]
	if !ok {
		return fmt.Errorf("volume %s: %w", v.ID, block.ErrNotFound)
	}
	d.volumes[v.ID] = max(size, v.SizeBytes)
	return nil
}

// Delete implements block.Driver.
func (d *Driver) Delete(_ context.Context, id string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.open[id] {
		return fmt.Errorf("volume %s: %w", id, block.ErrBusy)
	}
	delete(d.volumes, id)
	return nil
}

// Hold makes a volume count as open, or not.
func (d *Driver) Hold(id string, open bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.open[id] = open
}

// List implements block.Driver.
func (d *Driver) List(context.Context) ([]string, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Sorted(maps.Keys(d.volumes)), nil
}

// Path implements block.Driver.
func (d *Driver) Path(id string) string { return "/nowhere/" + id }

// Copy implements block.Driver.
func (d *Driver) Copy(_ context.Context, id, name string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if _, ok := d.volumes[id]; !ok {
		return fmt.Errorf("volume %s: %w", id, block.ErrNotFound)
	}
	if d.open[id] {
		return fmt.Errorf("volume %s: %w", id, block.ErrBusy)
	}
	d.copies[name] = true
	return nil
}

// CopyPath implements block.Driver.
func (d *Driver) CopyPath(name string) string { return "/nowhere/copies/" + name }

// Copies implements block.Driver.
func (d *Driver) Copies(context.Context) ([]string, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Sorted(maps.Keys(d.copies)), nil
}

// DeleteCopy implements block.Driver.
func (d *Driver) DeleteCopy(_ context.Context, name string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.copies, name)
	return nil
}

// Usage implements block.Driver.
func (d *Driver) Usage(context.Context) (total, used int64, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, size := range d.volumes {
		used += size
	}
	return 1 << 50, used, nil
}
