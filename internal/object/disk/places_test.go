package disk

import (
	"bytes"
	"errors"
	"fmt"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"karri.dev/internal/object"
	"karri.dev/internal/object/objecttest"
)

// threeDisks is a configuration on a file system in memory.
func threeDisks(t testing.TB, fs vfs.FS) Config {
	t.Helper()
	cfg := Config{Dir: "/o", FS: fs, Sealer: sealer(t), Disks: []string{"/d1", "/d2"}}
	for _, d := range cfg.Disks {
		if err := makeDir(fs, d); err != nil {
			t.Fatal(err)
		}
	}
	return cfg
}

func TestContractThreeDisks(t *testing.T) {
	objecttest.Run(t, func(t testing.TB) object.Engine { return open(t, threeDisks(t, InMemory())) })
}

// spread puts objects large enough for files, and one small one, and says how many are on each disk.
func spread(t *testing.T, e *Engine, prefix string, count int) (on map[uint64][]string) {
	t.Helper()
	on = map[uint64][]string{}
	for i := range count {
		key := fmt.Sprint(prefix, i)
		body := objecttest.Bytes(uint64(i), 100<<10)
		if _, err := e.Put(t.Context(), "b", object.Put{Key: key, Body: bytes.NewReader(body), Size: int64(len(body))}); err != nil {
			t.Fatal(err)
		}
		o, err := e.Get(t.Context(), "b", key, "")
		if err != nil {
			t.Fatal(err)
		}
		at := o.(*openObject).pin.disk
		on[at] = append(on[at], key)
		if err := o.Close(); err != nil {
			t.Fatal(err)
		}
	}
	return on
}

// TestMissingDisk: objects on a disk that is not there are a clear error, everything else goes on, and with the disk
// everything is back.
func TestMissingDisk(t *testing.T) {
	fs := InMemory()
	cfg := threeDisks(t, fs)
	e := open(t, cfg)
	on := spread(t, e, "k", 60)
	if len(on) != 3 {
		t.Fatalf("objects are on %d disks of 3", len(on))
	}
	lost, err := e.diskAt("/d1")
	if err != nil || lost == 0 {
		t.Fatal(lost, err)
	}
	h := objecttest.NewHistory()
	check := func(e *Engine, missing uint64) {
		t.Helper()
		for disk, keys := range on {
			for _, key := range keys {
				o, err := e.Get(t.Context(), "b", key, "")
				if disk == missing {
					if !errors.Is(err, object.ErrOffline) {
						t.Fatalf("%s on a missing disk: %v", key, err)
					}
					if _, err := e.Head(t.Context(), "b", key, ""); err != nil {
						t.Fatal(err)
					}
					continue
				}
				if err != nil {
					t.Fatal(key, err)
				}
				h.Whole(t, e, o.Meta())
				if err := o.Close(); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	check(e, 99)

	// It goes while the engine runs.
	if err := fs.Rename("/d1", "/elsewhere"); err != nil {
		t.Fatal(err)
	}
	for _, p := range e.places[1:] {
		e.watchPlace(p)
	}
	check(e, lost)
	for disk, keys := range spread(t, e, "more", 20) {
		if disk == lost {
			t.Fatal("something was put on the missing disk")
		}
		on[disk] = append(on[disk], keys...)
	}
	if p := e.Places(t.Context()); len(p) != 3 || p[1].Online || p[1].Problem == "" || !p[2].Online {
		t.Fatalf("places: %+v", p)
	}
	// Deleting what is there is possible, and its file goes when the disk is back.
	gone := on[lost][0]
	on[lost] = on[lost][1:]
	if _, err := e.Delete(t.Context(), "b", object.Delete{Key: gone}); err != nil {
		t.Fatal(err)
	}
	if err := e.scrub(); err != nil || e.Scrubbed().Damaged != 0 {
		t.Fatalf("scrub with a missing disk: %v, %+v", err, e.Scrubbed())
	}
	if _, err := e.collect(); err != nil {
		t.Fatal(err)
	}

	// It is still missing at the next start: its empty mount point is not taken for a new disk.
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	if err := makeDir(fs, "/d1"); err != nil {
		t.Fatal(err)
	}
	e = open(t, cfg)
	check(e, lost)
	if _, err := fs.Stat("/d1/" + markName); err == nil {
		t.Fatal("an empty mount point was taken for a disk")
	}

	// It comes back.
	if err := errors.Join(fs.RemoveAll("/d1"), fs.Rename("/elsewhere", "/d1")); err != nil {
		t.Fatal(err)
	}
	for _, p := range e.places[1:] {
		e.watchPlace(p)
	}
	check(e, 99)
	if n, err := e.collect(); err != nil || n != 1 {
		t.Fatalf("collected %d, %v; want the deleted object's file", n, err)
	}
	check(e, 99)
}

// TestDiskIdentity: a disk is known by what is on it, not by where it is.
func TestDiskIdentity(t *testing.T) {
	fs := InMemory()
	cfg := threeDisks(t, fs)
	e := open(t, cfg)
	on := spread(t, e, "k", 30)
	d1, err := e.diskAt("/d1")
	if err != nil {
		t.Fatal(err)
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	// The two have changed places.
	for _, move := range [][2]string{{"/d1", "/x"}, {"/d2", "/d1"}, {"/x", "/d2"}} {
		if err := fs.Rename(move[0], move[1]); err != nil {
			t.Fatal(err)
		}
	}
	e = open(t, cfg)
	h := objecttest.NewHistory()
	for _, keys := range on {
		for _, key := range keys {
			m, err := e.Head(t.Context(), "b", key, "")
			if err != nil {
				t.Fatal(err)
			}
			h.Whole(t, e, m)
		}
	}
	if now, err := e.diskAt("/d2"); err != nil || now != d1 {
		t.Fatalf("in /d2 is %x, %v; want %x", now, err, d1)
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	for name, bad := range map[string]Config{
		"another cloud's disk": {Dir: "/p", FS: fs, Disks: []string{"/d1"}},
		"no such folder":       {Dir: "/o", FS: fs, Disks: []string{"/d1", "/d2", "/new"}},
		"twice the same":       {Dir: "/o", FS: fs, Disks: []string{"/d1", "/d1"}},
	} {
		if e, err := Open(bad); err == nil {
			t.Errorf("%s: no error", name)
			_ = e.Close()
		}
	}
	// A disk that is left out of the configuration.
	cfg.Disks = []string{"/d1"}
	e = open(t, cfg)
	if _, err := e.Get(t.Context(), "b", on[d1][0], ""); !errors.Is(err, object.ErrOffline) {
		t.Fatalf("on a disk that is left out: %v", err)
	}
}

// TestPlacement: a disk below its reserve takes nothing more.
func TestPlacement(t *testing.T) {
	fs := &diskSizes{FS: InMemory(), free: map[string]uint64{"/d1/data": 1 << 30}}
	e := open(t, threeDisks(t, fs))
	for disk, keys := range spread(t, e, "k", 30) {
		d1, err := e.diskAt("/d1")
		if err != nil {
			t.Fatal(err)
		}
		if disk == d1 {
			t.Fatalf("%d objects on a disk that is nearly full", len(keys))
		}
	}
}

type diskSizes struct {
	vfs.FS
	free map[string]uint64 // others have plenty
}

func (f *diskSizes) GetDiskUsage(dir string) (vfs.DiskUsage, error) {
	u, err := f.FS.GetDiskUsage(dir)
	if free, ok := f.free[dir]; ok {
		u.AvailBytes = free >> 3 // below 256 MiB
	}
	return u, err
}
