package objecttest

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

	"karri.dev/internal/object"
)

// History is what writers know of their keys. A key has one writer. Its states are ETags, "" being none;
// what is found after a crash must be the one acknowledged last, or one that was begun after it.
type History struct {
	mu    sync.Mutex
	began map[string][]string
	acked map[string]int // index into began
	Tell  func(string)   // if set, hears of everything as lines; for a process that will be killed
}

// NewHistory begins one.
func NewHistory() *History {
	return &History{began: map[string][]string{}, acked: map[string]int{}}
}

// Begin says that a change is about to be asked for.
func (h *History) Begin(key, etag string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.began[key] == nil {
		h.began[key] = []string{""}
	}
	h.began[key] = append(h.began[key], etag)
	if h.Tell != nil {
		h.Tell("B " + key + " " + etag)
	}
}

// End says what has become of it.
func (h *History) End(key string, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if err == nil && len(h.began[key]) > 0 {
		h.acked[key] = len(h.began[key]) - 1
		if h.Tell != nil {
			h.Tell("A " + key + " " + h.began[key][h.acked[key]])
		}
	}
}

// Promises gives what was acknowledged until now.
func (h *History) Promises() map[string]int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return maps.Clone(h.acked)
}

// After gives the history as it binds after a crash: what had been promised before it, and all that was begun.
func (h *History) After(promised map[string]int) *History {
	h.mu.Lock()
	defer h.mu.Unlock()
	c := &History{began: map[string][]string{}, acked: promised}
	for k, v := range h.began {
		c.began[k] = slices.Clone(v)
	}
	return c
}

// Write changes random keys until ctx ends or the engine fails.
func (h *History) Write(ctx context.Context, e object.Engine, writer uint64) {
	rng := rand.New(rand.NewPCG(writer, 1))
	for n := uint64(0); ctx.Err() == nil; n++ {
		number := rng.IntN(6)
		key, versioning := fmt.Sprintf("%d/%d", writer%256, number), object.Versioning(number%3)
		size := []int{0, 10, 1000, 64 << 10, 70 << 10, 300 << 10}[rng.IntN(6)]
		body := Bytes(writer<<32|n, size)
		var err error
		switch rng.IntN(8) {
		case 0:
			h.Begin(key, "")
			_, err = e.Delete(ctx, "b", object.Delete{Key: key, Versioning: versioning})
		case 1:
			err = h.upload(ctx, e, key, versioning, body)
		default:
			h.Begin(key, ETag(body))
			_, err = e.Put(ctx, "b", object.Put{Key: key, Versioning: versioning, Body: bytes.NewReader(body), Size: -1})
		}
		h.End(key, err)
		if err != nil {
			return
		}
	}
}

func (h *History) upload(ctx context.Context, e object.Engine, key string, versioning object.Versioning, body []byte) error {
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
	h.Begin(key, multipartETag(p.ETag))
	_, err = e.Complete(ctx, "b", key, id, []object.Part{p}, object.Put{Versioning: versioning})
	return err
}

// multipartETag is that of an object of one part.
func multipartETag(part string) string {
	sum, _ := hex.DecodeString(part)
	return ETag(sum) + "-1"
}

// Check compares what an engine holds after a crash with what was acknowledged before.
func (h *History) Check(t testing.TB, e object.Engine) (checked int) {
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
			h.Whole(t, e, v.Meta)
		}
	}
	CheckTally(t, e, "b")
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

// Whole reads a version.
func (h *History) Whole(t testing.TB, e object.Engine, m object.Meta) {
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
	etag := ETag(b)
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
