package disk

import (
	"context"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"karri.dev/internal/object"
	"karri.dev/internal/object/objecttest"
)

// crashFS is a file system that can lose what was not synced, and names that were not synced.
func crashFS() *vfs.MemFS {
	fs := vfs.NewCrashableMem()
	fs.TestingSetDiskUsage(vfs.DiskUsage{AvailBytes: memoryDisk, TotalBytes: memoryDisk})
	return fs
}

// files counts the data files, and those that the index names.
func (e *Engine) files(t *testing.T) (onDisk, named int) {
	t.Helper()
	for _, p := range e.places {
		if err := p.file.Each(t.Context(), func(uint64) error { onDisk++; return nil }); err != nil {
			t.Fatal(err)
		}
	}
	err := e.look(func(r reader) error {
		it, err := r.scan([]byte{tableFiles})
		if err != nil {
			return err
		}
		for ok := it.First(); ok; ok = it.Next() {
			named++
		}
		return closeScan(it)
	})
	if err != nil {
		t.Fatal(err)
	}
	return onDisk, named
}

// TestPowerLoss cuts the power again and again while writers work: what was not synced is lost, or only some
// of it.
func TestPowerLoss(t *testing.T) {
	t.Run("one disk", func(t *testing.T) { powerLoss(t, 20) })
	t.Run("three disks", func(t *testing.T) { powerLoss(t, 10, "/d1", "/d2") })
}

func powerLoss(t *testing.T, crashes int, disks ...string) {
	fs, cfg := crashFS(), Config{Dir: "/a/b/objects", Disks: disks, Sealer: sealer(t)}
	for _, d := range disks {
		if err := makeDir(fs, d); err != nil {
			t.Fatal(err)
		}
	}
	h := objecttest.NewHistory()
	rng := rand.New(rand.NewPCG(1, 2))
	checked := 0
	for crash := range crashes {
		cfg.FS = fs
		e, err := Open(cfg)
		if err != nil {
			t.Fatalf("crash %d: %v", crash, err)
		}
		checked += h.Check(t, e)
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		writing := h
		for w := range 4 {
			wg.Go(func() { writing.Write(ctx, e, uint64(crash)<<8|uint64(w)) })
		}
		for range 20 + rng.IntN(200) { // some work, counted in commits rather than in time
			if _, err := e.Put(ctx, "clock", object.Put{Key: "tick", Size: 0}); err != nil {
				t.Fatal(err)
			}
		}
		promised := h.Promises() // before the cut
		lost := fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: []int{0, 0, 30, 70}[crash%4], RNG: rng})
		h = h.After(promised)
		cancel()
		wg.Wait()
		if err := e.Close(); err != nil {
			t.Fatal(err)
		}
		fs = lost
		fs.TestingSetDiskUsage(vfs.DiskUsage{AvailBytes: memoryDisk, TotalBytes: memoryDisk})
	}
	cfg.FS = fs
	e := open(t, cfg)
	checked += h.Check(t, e)
	if _, err := e.collect(); err != nil {
		t.Fatal(err)
	}
	if onDisk, named := e.files(t); onDisk != named {
		t.Fatalf("%d files, %d of them named: garbage is left, or files are missing", onDisk, named)
	}
	t.Logf("%d crashes, %d keys checked", crashes, checked)
}
