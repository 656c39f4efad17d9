// Package blocktest checks that a block driver keeps the contract of block.Driver.
package blocktest

import (
	"errors"
	"slices"
	"sync"
	"testing"

	"karri.dev/internal/block"
)

// Harness makes a driver testable.
type Harness struct {
	// Open makes a driver; called again for the same test, it is over the same volumes.
	Open func(t *testing.T) block.Driver
	// Hold opens a volume as a hypervisor does, until the function that it gives is called.
	Hold func(t *testing.T, d block.Driver, id string) (letGo func())
}

const id = "vol-0123456789abcdef0"

// Run runs the suite.
func Run(t *testing.T, h Harness) {
	for name, test := range map[string]func(*testing.T, Harness){"Life": life, "Refused": refused, "Busy": busy, "Copies": copies, "Concurrent": concurrent} {
		t.Run(name, func(t *testing.T) { test(t, h) })
	}
}

func life(t *testing.T, h Harness) {
	for _, v := range []block.Spec{{Format: block.Raw}, {Format: block.Qcow2}, {Format: block.Qcow2, Key: []byte("0123456789abcdef")}} {
		d := h.Open(t)
		v.ID, v.SizeBytes = id, 1<<40
		if err := d.Grow(t.Context(), v); !errors.Is(err, block.ErrNotFound) {
			t.Errorf("grew what is not there: %v", err)
		}
		for range 2 {
			if err := d.Create(t.Context(), v); err != nil {
				t.Fatal(err)
			}
		}
		d = h.Open(t)
		v.SizeBytes *= 2
		for range 2 {
			if err := d.Grow(t.Context(), v); err != nil {
				t.Fatal(err)
			}
		}
		if list, err := d.List(t.Context()); err != nil || !slices.Equal(list, []string{id}) {
			t.Errorf("%v, %v", list, err)
		}
		if total, used, err := d.Usage(t.Context()); err != nil || total <= 0 || used < 0 {
			t.Errorf("usage %d of %d, %v", used, total, err)
		}
		for range 2 {
			if err := d.Delete(t.Context(), id); err != nil {
				t.Fatal(err)
			}
		}
		if list, err := h.Open(t).List(t.Context()); err != nil || len(list) != 0 {
			t.Errorf("%v, %v", list, err)
		}
	}
}

func refused(t *testing.T, h Harness) {
	d := h.Open(t)
	for name, v := range map[string]block.Spec{
		"no id":      {SizeBytes: 1 << 30, Format: block.Raw},
		"empty":      {ID: id, Format: block.Raw},
		"odd":        {ID: id, SizeBytes: 1<<20 + 512, Format: block.Raw},
		"too large":  {ID: id, SizeBytes: 64<<40 + 1<<20, Format: block.Raw},
		"odd format": {ID: id, SizeBytes: 1 << 20, Format: "vmdk"},
	} {
		if err := d.Create(t.Context(), v); err == nil {
			t.Errorf("%s: created", name)
		}
	}
	if list, err := d.List(t.Context()); err != nil || len(list) != 0 {
		t.Errorf("%v, %v", list, err)
	}
}

// busy: what somebody has open is not deleted, and can grow.
func busy(t *testing.T, h Harness) {
	d := h.Open(t)
	v := block.Spec{ID: id, SizeBytes: 1 << 20, Format: block.Raw}
	if err := d.Create(t.Context(), v); err != nil {
		t.Fatal(err)
	}
	letGo := h.Hold(t, d, id)
	if err := d.Delete(t.Context(), id); !errors.Is(err, block.ErrBusy) {
		t.Errorf("deleted an open volume: %v", err)
	}
	v.SizeBytes = 2 << 20
	if err := d.Grow(t.Context(), v); err != nil {
		t.Error(err)
	}
	letGo()
	if err := d.Delete(t.Context(), id); err != nil {
		t.Error(err)
	}
}

func concurrent(t *testing.T, h Harness) {
	d := h.Open(t)
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			if err := d.Create(t.Context(), block.Spec{ID: id, SizeBytes: 1 << 20, Format: block.Raw}); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if list, err := d.List(t.Context()); err != nil || len(list) != 1 {
		t.Errorf("%v, %v", list, err)
	}
	for range 4 {
		all.Go(func() {
			if err := d.Delete(t.Context(), id); err != nil && !errors.Is(err, block.ErrBusy) {
				t.Error(err)
			}
		})
	}
	all.Wait()
}

// copies: a copy is made of what nobody has open, and outlives its volume.
func copies(t *testing.T, h Harness) {
	d := h.Open(t)
	if err := d.Copy(t.Context(), id, "snap-0123456789abcdef0"); !errors.Is(err, block.ErrNotFound) {
		t.Errorf("copied what is not there: %v", err)
	}
	if err := d.Create(t.Context(), block.Spec{ID: id, SizeBytes: 1 << 20, Format: block.Qcow2}); err != nil {
		t.Fatal(err)
	}
	letGo := h.Hold(t, d, id)
	if err := d.Copy(t.Context(), id, "snap-0123456789abcdef0"); !errors.Is(err, block.ErrBusy) {
		t.Errorf("copied an open volume: %v", err)
	}
	letGo()
	for range 2 {
		if err := d.Copy(t.Context(), id, "snap-0123456789abcdef0"); err != nil {
			t.Fatal(err)
		}
	}
	if err := d.Delete(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	d = h.Open(t)
	if list, err := d.Copies(t.Context()); err != nil || !slices.Equal(list, []string{"snap-0123456789abcdef0"}) {
		t.Errorf("%v, %v", list, err)
	}
	if list, err := d.List(t.Context()); err != nil || len(list) != 0 {
		t.Errorf("%v, %v", list, err)
	}
	for range 2 {
		if err := d.DeleteCopy(t.Context(), "snap-0123456789abcdef0"); err != nil {
			t.Fatal(err)
		}
	}
	if list, err := d.Copies(t.Context()); err != nil || len(list) != 0 {
		t.Errorf("%v, %v", list, err)
	}
}
