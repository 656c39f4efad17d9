package computetest

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"karri.dev/internal/compute"
)

// disks plugs a volume in and out, around a restart of the driver.
func disks(t *testing.T, b *bench) {
	path := filepath.Join(t.TempDir(), "volume")
	if err := os.WriteFile(path, make([]byte, 1<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	v := compute.Disk{Name: "vol-0123456789abcdef0", Path: path, Format: "raw", SizeBytes: 1 << 20}
	if err := b.d.SetDisk(t.Context(), id, v); !errors.Is(err, compute.ErrNotFound) {
		t.Errorf("a disk for no machine: %v", err)
	}
	b.up(t, Obedient)
	own := len(b.is(t, compute.Running).Disks)
	for range 2 {
		if err := b.d.SetDisk(t.Context(), id, v); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Truncate(path, 2<<20); err != nil {
		t.Fatal(err)
	}
	v.SizeBytes, v.Limits = 2<<20, compute.Limits{IOPS: 100, BurstIOPS: 3000, BurstSeconds: 1800, BytesPerSecond: 1 << 20}
	if err := b.d.SetDisk(t.Context(), id, v); err != nil {
		t.Fatal(err)
	}
	if list := b.is(t, compute.Running).Disks; len(list) != own+1 || list[own] != v {
		t.Errorf("disks %+v", list)
	}
	if err := b.d.Close(); err != nil {
		t.Fatal(err)
	}
	b.d = b.Open(t, b.dir)
	if list := b.is(t, compute.Running).Disks; len(list) != own+1 || list[own] != v {
		t.Errorf("disks after a restart %+v", list)
	}
	for range 2 {
		Await(t, "the disk's end", func() bool {
			err := b.d.DropDisk(t.Context(), id, v.Name, false)
			if err != nil && !errors.Is(err, compute.ErrHeld) {
				t.Fatal(err)
			}
			return err == nil
		})
	}
	if list := b.is(t, compute.Running).Disks; len(list) != own {
		t.Errorf("disks %+v", list)
	}
	if err := b.d.SetDisk(t.Context(), id, v); err != nil { // and again
		t.Fatal(err)
	}
	if err := b.d.Stop(t.Context(), id, 0); err != nil {
		t.Fatal(err)
	}
	if err := b.d.SetDisk(t.Context(), id, v); err == nil {
		t.Error("a disk for a machine that is off")
	}
	if err := b.d.Remove(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path); err != nil {
		t.Errorf("the volume went with the machine: %v", err)
	}
}
