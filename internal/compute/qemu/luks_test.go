package qemu

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"karri.dev/internal/compute"
	"karri.dev/internal/compute/computetest"
	"karri.dev/internal/luks"
	"karri.dev/internal/qcow2"
)

// TestEncrypted: what a guest writes to an encrypted volume is nowhere to be read, neither in its file, nor in a
// snapshot's, nor in the machine's record; a machine that begins with it opens it, too.
func TestEncrypted(t *testing.T) {
	t.Parallel()
	kernel, ramdisk := computetest.Guest(t)
	dir := t.TempDir()
	d := open(t, filepath.Join(dir, "machines"))
	defer func() { cleanup(t, d) }()
	if err := d.Start(t.Context(), guest(kernel, ramdisk, id, "plug"), nil); err != nil {
		t.Fatal(err)
	}
	const key = "0123456789abcdef0123456789abcdef0123456789A="
	path := filepath.Join(dir, "volume")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	c, err := luks.Format(f, []byte(key))
	if err != nil {
		t.Fatal(err)
	}
	if err := qcow2.Create(c, 1<<20, ""); err != nil {
		t.Fatal(err)
	}
	v := compute.Disk{Name: "vol-0123456789abcdef0", Path: path, Format: "qcow2", SizeBytes: 1 << 20, Encrypted: true}
	if d.SetDisk(t.Context(), id, v) == nil {
		t.Error("plugged in without a key")
	}
	v.Key = "another"
	if d.SetDisk(t.Context(), id, v) == nil {
		t.Error("plugged in with a wrong key")
	}
	v.Key = key
	if err := d.SetDisk(t.Context(), id, v); err != nil {
		t.Fatal(err)
	}
	computetest.AwaitConsole(t, d, id, "WRITTEN vda")
	to := filepath.Join(dir, "snap-0123456789abcdef0")
	if d.Snapshot(t.Context(), id, []compute.Copy{{Disk: v.Name, To: to}}, 0) == nil {
		t.Error("a copy that is not encrypted")
	}
	if err := d.Snapshot(t.Context(), id, []compute.Copy{{Disk: v.Name, To: to, Key: key}}, 0); err != nil {
		t.Fatal(err)
	}
	computetest.Await(t, "the copy is whole", func() bool { _, err := os.Lstat(to); return err == nil })
	v.SizeBytes = 2 << 20
	if err := d.SetDisk(t.Context(), id, v); err != nil {
		t.Fatal(err)
	}
	computetest.AwaitConsole(t, d, id, "RESIZED vda 4096")
	drop(t, d, v.Name)
	const written = "was-here-before!"
	for _, file := range []string{path, to} {
		raw, err := os.ReadFile(file)
		if err != nil || bytes.Contains(raw, []byte(written)) {
			t.Errorf("%s holds what was written, as it is: %v", file, err)
		}
		f, err := os.Open(file)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		c, err := luks.Open(f, []byte(key))
		if err != nil {
			t.Fatal(err)
		}
		q, err := qcow2.Open(c, nil)
		if err != nil {
			t.Fatal(err)
		}
		got := make([]byte, len(written))
		if _, err := q.ReadAt(got, 0); err != nil || string(got) != written {
			t.Errorf("%s holds %q: %v", file, got, err)
		}
	}
	const second = "i-0fedcba9876543210"
	m := guest(kernel, ramdisk, second, computetest.Deaf)
	m.Disks = append(m.Disks, v)
	if err := d.Start(t.Context(), m, nil); err != nil {
		t.Fatal(err)
	}
	if !locked(t, path) {
		t.Error("the machine does not have it")
	}
	for _, machine := range []string{id, second} {
		rec, err := os.ReadFile(filepath.Join(dir, "machines", machine, recordFile))
		if err != nil || bytes.Contains(rec, []byte(key)) {
			t.Errorf("the key is on the disk: %v", err)
		}
	}
}
