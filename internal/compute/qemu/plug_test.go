package qemu

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"karri.dev/internal/compute"
	"karri.dev/internal/compute/computetest"
)

// TestPlug: a guest uses a volume that is plugged in, sees it grow, and lets go of it; meanwhile, and after the
// driver's end, nobody else can lock it.
func TestPlug(t *testing.T) {
	t.Parallel()
	kernel, ramdisk := computetest.Guest(t)
	dir := t.TempDir()
	d := open(t, filepath.Join(dir, "machines"))
	defer func() { cleanup(t, d) }()
	if err := d.Start(t.Context(), guest(kernel, ramdisk, id, "plug"), nil); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "volume")
	if err := os.WriteFile(path, append([]byte("made-of-this----"), make([]byte, 1<<20-16)...), 0o600); err != nil {
		t.Fatal(err)
	}
	v := compute.Disk{Name: "vol-0123456789abcdef0", Path: path, Format: "raw", SizeBytes: 1 << 20}
	if err := d.SetDisk(t.Context(), id, v); err != nil {
		t.Fatal(err)
	}
	computetest.AwaitConsole(t, d, id, "PLUGGED vol0123456789abcdef0 2048 made-of-this----")
	computetest.AwaitConsole(t, d, id, "WRITTEN vda")
	if locked(t, path) != true {
		t.Error("the volume in use can be locked")
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	if locked(t, path) != true {
		t.Error("the volume can be locked while no driver runs")
	}
	d = open(t, filepath.Join(dir, "machines"))
	if err := os.Truncate(path, 2<<20); err != nil {
		t.Fatal(err)
	}
	v.SizeBytes = 2 << 20
	if err := d.SetDisk(t.Context(), id, v); err != nil {
		t.Fatal(err)
	}
	computetest.AwaitConsole(t, d, id, "RESIZED vda 4096")
	drop(t, d, v.Name)
	computetest.AwaitConsole(t, d, id, "UNPLUGGED vda")
	if locked(t, path) {
		t.Error("the volume is still open")
	}
	if data, err := os.ReadFile(path); err != nil || !bytes.HasPrefix(data, []byte("was-here-before!")) {
		t.Errorf("the volume holds %.16q: %v", data, err)
	}
}

// TestForce: a guest that never lets go loses the volume's data all the same, and the volume is free.
func TestForce(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "volume")
	if err := os.WriteFile(path, make([]byte, 1<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	d := open(t, filepath.Join(dir, "machines"))
	defer cleanup(t, d)
	m := guest("", "", id, "") // its firmware finds nothing to boot: there is nobody to answer
	m.CommandLine = ""
	m.Disks = []compute.Disk{{Name: "root", Base: path, BaseFormat: "raw", SizeBytes: 1 << 20}}
	if err := d.Start(t.Context(), m, nil); err != nil {
		t.Fatal(err)
	}
	other := filepath.Join(dir, "other")
	if err := os.WriteFile(other, make([]byte, 1<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	v := compute.Disk{Name: "vol-0123456789abcdef0", Path: other, Format: "raw", SizeBytes: 1 << 20}
	if err := d.SetDisk(t.Context(), id, v); err != nil {
		t.Fatal(err)
	}
	if err := d.DropDisk(t.Context(), id, v.Name, false); !errors.Is(err, compute.ErrHeld) || !locked(t, other) {
		t.Fatalf("dropped: %v", err)
	}
	for range 2 {
		if err := d.DropDisk(t.Context(), id, v.Name, true); !errors.Is(err, compute.ErrHeld) || locked(t, other) {
			t.Fatalf("by force: %v", err)
		}
	}
}

// TestExport: a volume of another host is reached through Dial, before and after a restart of the driver.
func TestExport(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	dialled := make(chan string, 10)
	cfg := Config{Dir: filepath.Join(dir, "machines"), Dial: func(_ context.Context, name string) (net.Conn, error) {
		dialled <- name
		return nil, errors.New("not here")
	}}
	d, err := New(cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { cleanup(t, d) }()
	kernel, ramdisk := computetest.Guest(t)
	if err := d.Start(t.Context(), guest(kernel, ramdisk, id, computetest.Deaf), nil); err != nil {
		t.Fatal(err)
	}
	v := compute.Disk{Name: "vol-0123456789abcdef0", Export: "vol-0123456789abcdef0", Format: "raw", SizeBytes: 1 << 20}
	if err := d.SetDisk(t.Context(), id, v); err == nil {
		t.Fatal("plugged in what nobody serves")
	}
	if got := <-dialled; got != v.Export {
		t.Errorf("dialled %q", got)
	}
	if s := computetest.StatusOf(t, d, id); len(s.Disks) != 0 {
		t.Errorf("disks %+v", s.Disks)
	}
}

func drop(t *testing.T, d *Driver, name string) {
	t.Helper()
	computetest.Await(t, "the guest lets go of "+name, func() bool {
		err := d.DropDisk(t.Context(), id, name, false)
		if err != nil && !errors.Is(err, compute.ErrHeld) {
			t.Fatal(err)
		}
		return err == nil
	})
}

// locked says whether somebody else holds the file's lock.
func locked(t *testing.T, path string) bool {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	return unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) != nil
}
