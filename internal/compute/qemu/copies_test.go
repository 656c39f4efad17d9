package qemu

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"karri.dev/internal/compute"
	"karri.dev/internal/compute/computetest"
	"karri.dev/internal/qcow2"
	"karri.dev/internal/sparse"
)

// TestSnapshot: copies of two disks are of the moment of the call, whatever is written meanwhile, also when the
// machine is stopped or the driver ends while they are made; the second copies only what has changed.
func TestSnapshot(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	d := open(t, filepath.Join(dir, "machines"))
	defer func() { cleanup(t, d) }()
	m := guest("", "", id, "") // its firmware finds nothing to boot: who writes is us
	m.CommandLine = ""
	const size = 96 << 20
	content := make([]byte, size)
	rand.NewChaCha8([32]byte{1}).Read(content[8<<20 : 40<<20])
	for _, name := range []string{"vol-0123456789abcdef0", "vol-0123456789abcdef1"} {
		path := filepath.Join(dir, name)
		f, err := os.Create(path)
		if err != nil {
			t.Fatal(err)
		}
		if name[len(name)-1] == '0' {
			err = sparse.Copy(f, bytesDisk(content))
		} else {
			err = qcow2.Create(f, size, "")
		}
		if err != nil {
			t.Fatal(err)
		}
		f.Close()
		format := map[bool]string{true: "raw", false: "qcow2"}[name[len(name)-1] == '0']
		m.Disks = append(m.Disks, compute.Disk{Name: name, Path: path, Format: format, SizeBytes: size})
	}
	if err := d.Start(t.Context(), m, nil); err != nil {
		t.Fatal(err)
	}
	write := func(disk, command string) {
		t.Helper()
		c, err := d.machines[id].connected(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		var said string
		if err := c.Do(t.Context(), "human-monitor-command", map[string]any{"command-line": "qemu-io -d " + deviceID(disk) + "/virtio-backend \"" + command + "\""}, &said); err != nil {
			t.Fatal(err, said)
		}
		if strings.Contains(said, "rror") || strings.Contains(said, "ailed") || strings.Contains(said, "conflict") {
			t.Fatalf("%s: %s", command, said)
		}
	}
	copyOf := func(disk int, snap, since string) compute.Copy {
		return compute.Copy{Disk: m.Disks[disk].Name, To: filepath.Join(dir, snap), Since: since}
	}
	read := func(snap string, below sparse.Disk) (*qcow2.File, []byte, string) {
		t.Helper()
		f, err := os.Open(filepath.Join(dir, snap))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { f.Close() })
		note, err := qcow2.Note(f)
		if err != nil {
			t.Fatal(err)
		}
		q, err := qcow2.Open(f, below)
		if err != nil {
			t.Fatal(err)
		}
		got := make([]byte, q.Size())
		if _, err := io.ReadFull(io.NewSectionReader(q, 0, q.Size()), got); err != nil {
			t.Fatal(err)
		}
		return q, got, note
	}
	arrives := func(snap string) {
		t.Helper()
		computetest.Await(t, snap, func() bool {
			_, err := os.Lstat(filepath.Join(dir, snap))
			return err == nil
		})
		if _, err := os.Lstat(filepath.Join(dir, snap+".part")); err == nil {
			t.Errorf("%s is whole and in part", snap)
		}
	}

	write(m.Disks[1].Name, "write -P 3 1M 1M")
	first := []compute.Copy{copyOf(0, "snap-0", ""), copyOf(1, "snap-1", "")}
	began := time.Now()
	for range 2 {
		if err := d.Snapshot(t.Context(), id, first, 0); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("snapshot of two disks: %v", time.Since(began)/2)
	write(m.Disks[0].Name, "write -P 9 10M 2M")
	write(m.Disks[1].Name, "write -P 4 1M 64k")
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	d = open(t, filepath.Join(dir, "machines"))
	arrives("snap-0")
	arrives("snap-1")
	below, got, note := read("snap-0", nil)
	if !bytes.Equal(got, content) || note != "" {
		t.Errorf("the copy is not of the moment of the call (note %q)", note)
	}
	copy(content[10<<20:], bytes.Repeat([]byte{9}, 2<<20))
	if _, got, _ := read("snap-1", nil); got[1<<20] != 3 || got[2<<20-1] != 3 || got[0] != 0 || got[2<<20] != 0 {
		t.Error("the other disk's copy is wrong")
	}

	// The next one has what changed since, and the machine's end waits for it.
	write(m.Disks[0].Name, "write -z 20M 1M")
	clear(content[20<<20 : 21<<20])
	if err := d.Snapshot(t.Context(), id, []compute.Copy{copyOf(0, "snap-2", "snap-0"), copyOf(1, "snap-3", "snap-unknown")}, 0); err != nil {
		t.Fatal(err)
	}
	if err := d.Stop(t.Context(), id, 0); err != nil {
		t.Fatal(err)
	}
	arrives("snap-2")
	arrives("snap-3")
	if _, got, note := read("snap-2", below); !bytes.Equal(got, content) || note != "snap-0" {
		t.Errorf("the second copy is wrong (note %q)", note)
	}
	if fi, err := os.Stat(filepath.Join(dir, "snap-2")); err != nil || fi.Sys() == nil || used(t, filepath.Join(dir, "snap-2")) > 4<<20 {
		t.Errorf("the second copy takes %d bytes, %v", used(t, filepath.Join(dir, "snap-2")), err)
	}
	if _, _, note := read("snap-3", nil); note != "" {
		t.Errorf("note %q", note)
	}

	// With a restart the copy is of the moment when the guest is down, at the latest after the grace, and it is one restart.
	if err := d.Start(t.Context(), m, nil); err != nil {
		t.Fatal(err)
	}
	down := []compute.Copy{copyOf(0, "snap-6", "")}
	if err := d.Snapshot(t.Context(), id, down, 500*time.Millisecond); !errors.Is(err, compute.ErrRestarting) {
		t.Fatal(err)
	}
	write(m.Disks[0].Name, "write -P 5 30M 1M") // as its file systems are written out
	copy(content[30<<20:], bytes.Repeat([]byte{5}, 1<<20))
	computetest.Await(t, "the snapshot at the restart", func() bool {
		err := d.Snapshot(t.Context(), id, down, 500*time.Millisecond)
		if err != nil && !errors.Is(err, compute.ErrRestarting) {
			t.Fatal(err)
		}
		return err == nil
	})
	arrives("snap-6")
	if _, got, _ := read("snap-6", nil); !bytes.Equal(got, content) {
		t.Error("the copy is not of the moment when the guest was down")
	}
	if rec, err := loadRecord(filepath.Join(dir, "machines", id)); err != nil || len(rec.AtReboot) > 0 || !rec.RebootBy.IsZero() {
		t.Errorf("it would be restarted again: %+v, %v", rec, err)
	}
	if err := d.Stop(t.Context(), id, 0); err != nil {
		t.Fatal(err)
	}

	// A hypervisor that dies leaves no half copy.
	if err := d.Start(t.Context(), m, nil); err != nil {
		t.Fatal(err)
	}
	if err := d.Snapshot(t.Context(), id, []compute.Copy{{Disk: "vol-none", To: filepath.Join(dir, "snap-4")}}, 0); err == nil {
		t.Error("copied a disk that is not there")
	}
	if err := d.Snapshot(t.Context(), id, []compute.Copy{copyOf(0, "snap-5", "")}, 0); err != nil {
		t.Fatal(err)
	}
	list, err := d.List(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	unix.Kill(list[0].PID, unix.SIGKILL)
	computetest.Await(t, "the machine's death", func() bool {
		list, err := d.List(t.Context())
		return err == nil && list[0].State == compute.Failed
	})
	if _, err := os.Lstat(filepath.Join(dir, "snap-5.part")); err == nil {
		t.Error("half a copy stays")
	}
}

func used(t *testing.T, path string) int64 {
	t.Helper()
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		t.Fatal(err)
	}
	return st.Blocks * 512
}

// bytesDisk is a disk in memory.
type bytesDisk []byte

func (b bytesDisk) Size() int64 { return int64(len(b)) }
func (b bytesDisk) Next(off int64) (from, to int64, err error) {
	return off, b.Size(), nil
}

func (b bytesDisk) ReadAt(p []byte, off int64) (int, error) { return bytes.NewReader(b).ReadAt(p, off) }
