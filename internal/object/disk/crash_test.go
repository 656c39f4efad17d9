package disk

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"slices"
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

// history is what the writers know of their keys. A key has one writer. Its states are ETags, "" being none;
// what is found after a crash must be the one acknowledged last, or one that was begun after it.
type history struct {
	mu    sync.Mutex
	began map[string][]string
	acked map[string]int // index into began
	tell  func(string)   // if set, hears of everything as lines; for a process that will be killed
}

func newHistory() *history {
	return &history{began: map[string][]string{}, acked: map[string]int{}}
}

func (h *history) begin(key, etag string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.began[key] == nil {
		h.began[key] = []string{""}
	}
	h.began[key] = append(h.began[key], etag)
	if h.tell != nil {
		h.tell("B " + key + " " + etag)
	}
}

func (h *history) end(key string, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if err == nil && len(h.began[key]) > 0 {
		h.acked[key] = len(h.began[key]) - 1
		if h.tell != nil {
			h.tell("A " + key + " " + h.began[key][h.acked[key]])
		}
	}
}

// promises gives what was acknowledged until now.
func (h *history) promises() map[string]int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return maps.Clone(h.acked)
}

// after gives the history as it binds after a crash: what had been promised before it, and all that was begun.
func (h *history) after(promised map[string]int) *history {
	h.mu.Lock()
	defer h.mu.Unlock()
	c := &history{began: map[string][]string{}, acked: promised}
	for k, v := range h.began {
		c.began[k] = slices.Clone(v)
	}
	return c
}

// write changes random keys until ctx ends or the engine fails.
func (h *history) write(ctx context.Context, e object.Engine, writer uint64) {
	rng := rand.New(rand.NewPCG(writer, 1))
	for n := uint64(0); ctx.Err() == nil; n++ {
		number := rng.IntN(6)
		key, versioning := fmt.Sprintf("%d/%d", writer%256, number), object.Versioning(number%3)
		size := []int{0, 10, 1000, 64 << 10, 70 << 10, 300 << 10}[rng.IntN(6)]
		body := objecttest.Bytes(writer<<32|n, size)
		var err error
		switch rng.IntN(8) {
		case 0:
			h.begin(key, "")
			_, err = e.Delete(ctx, "b", object.Delete{Key: key, Versioning: versioning})
		case 1:
			err = h.upload(ctx, e, key, versioning, body)
		default:
			h.begin(key, objecttest.ETag(body))
			_, err = e.Put(ctx, "b", object.Put{Key: key, Versioning: versioning, Body: bytes.NewReader(body), Size: -1})
		}
		h.end(key, err)
		if err != nil {
			return
		}
	}
}

func (h *history) upload(ctx context.Context, e object.Engine, key string, versioning object.Versioning, body []byte) error {
	id, err := e.CreateUpload(ctx, "b", object.Upload{Key: key})
	if err != nil {
		return err
	}
	p, err := e.PutPart(ctx, "b", key, id, 1, object.Put{Body: bytes.NewReader(body), Size: -1})
	if err != nil {
		return err
	}
	if len(body) == 10 {
		return e.Abort(ctx, "b", key, id)
	}
	h.begin(key, multipartETag(p.ETag))
	_, err = e.Complete(ctx, "b", key, id, []object.Part{p}, object.Put{Versioning: versioning})
	return err
}

// multipartETag is that of an object of one part.
func multipartETag(part string) string {
	sum, _ := hex.DecodeString(part)
	return objecttest.ETag(sum) + "-1"
}

// check compares what an engine holds after a crash with what was acknowledged before.
func (h *history) check(t *testing.T, e *Engine) (checked int) {
	t.Helper()
	found := map[string]string{}
	l, err := e.List(t.Context(), "b", object.ListOptions{Max: 100000})
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range l.Objects {
		found[m.Key] = m.ETag
	}
	// Every version is whole, and the latest are those that are listed.
	vs, err := e.ListVersions(t.Context(), "b", object.VersionOptions{Max: 100000})
	if err != nil {
		t.Fatal(err)
	}
	latest := 0
	for _, v := range vs.Versions {
		if v.Latest && !v.Marker {
			latest++
			if found[v.Key] != v.ETag {
				t.Fatalf("%s: the latest version is %s, and %q is listed", v.Key, v.ETag, found[v.Key])
			}
		}
		if !v.Marker {
			h.whole(t, e, v.Meta)
		}
	}
	if latest != len(found) {
		t.Fatalf("%d objects are listed, %d versions are the latest", len(found), latest)
	}
	for k, etag := range found {
		if h.began[k] == nil {
			t.Fatalf("%s: found %q, and nobody wrote it", k, etag)
		}
	}
	for k, states := range h.began {
		if !slices.Contains(states[h.acked[k]:], found[k]) {
			t.Fatalf("%s: found %q, acknowledged %q, begun after it %q", k, found[k], states[h.acked[k]], states[h.acked[k]+1:])
		}
		h.began[k], h.acked[k] = []string{found[k]}, 0
		checked++
	}
	return checked
}

// whole reads a version.
func (h *history) whole(t *testing.T, e *Engine, m object.Meta) {
	t.Helper()
	o, err := e.Get(t.Context(), "b", m.Key, m.VersionID)
	if err != nil {
		t.Fatalf("%s is listed but: %v", m.Key, err)
	}
	r, err := o.Range(0, m.Size)
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(r)
	etag := objecttest.ETag(b)
	if m.Parts > 0 {
		etag = multipartETag(etag)
	}
	if err != nil || etag != m.ETag {
		t.Fatalf("%s is not whole: %d bytes of %d, %v", m.Key, len(b), m.Size, err)
	}
	if err := errors.Join(r.Close(), o.Close()); err != nil {
		t.Fatal(err)
	}
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
	h := newHistory()
	rng := rand.New(rand.NewPCG(1, 2))
	checked := 0
	for crash := range crashes {
		cfg.FS = fs
		e, err := Open(cfg)
		if err != nil {
			t.Fatalf("crash %d: %v", crash, err)
		}
		checked += h.check(t, e)
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		writing := h
		for w := range 4 {
			wg.Go(func() { writing.write(ctx, e, uint64(crash)<<8|uint64(w)) })
		}
		for range 20 + rng.IntN(200) { // some work, counted in commits rather than in time
			if _, err := e.Put(ctx, "clock", object.Put{Key: "tick", Size: 0}); err != nil {
				t.Fatal(err)
			}
		}
		promised := h.promises() // before the cut
		lost := fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: []int{0, 0, 30, 70}[crash%4], RNG: rng})
		h = h.after(promised)
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
	checked += h.check(t, e)
	if _, err := e.collect(); err != nil {
		t.Fatal(err)
	}
	if onDisk, named := e.files(t); onDisk != named {
		t.Fatalf("%d files, %d of them named: garbage is left, or files are missing", onDisk, named)
	}
	t.Logf("%d crashes, %d keys checked", crashes, checked)
}
