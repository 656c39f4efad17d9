package objecttest

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"karri.dev/internal/object"
)

func buckets(t *testing.T, e object.Engine) {
	ctx := t.Context()
	if err := e.Empty(ctx, "never-written"); err != nil {
		t.Fatal(err)
	}
	put(t, e, "b", "o", []byte("1"))
	put(t, e, "b2", "o", []byte("2"))
	id, err := e.CreateUpload(ctx, "b", object.Upload{Key: "u"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := e.PutPart(ctx, "b", "u", id, 1, object.Put{Body: strings.NewReader("x"), Size: 1}); err != nil {
		t.Fatal(err)
	}
	wantErr(t, "empty", e.Empty(ctx, "b"), object.ErrNotEmpty)
	wantErr(t, "drop", e.Drop(ctx, "b"), object.ErrNotEmpty)
	if _, err := e.Delete(ctx, "b", object.Delete{Key: "o"}); err != nil {
		t.Fatal(err)
	}
	if err := e.Empty(ctx, "b"); err != nil {
		t.Fatalf("uploads count: %v", err)
	}
	for range 2 {
		if err := e.Drop(ctx, "b"); err != nil {
			t.Fatal(err)
		}
	}
	if got := get(t, e, "b2", "o"); string(got) != "2" {
		t.Fatal("dropping one bucket changed another")
	}
	body := func() object.Put { return object.Put{Key: "o", Body: strings.NewReader("x"), Size: 1} }
	for name, do := range map[string]func() error{
		"put":    func() error { _, err := e.Put(ctx, "b", body()); return err },
		"get":    func() error { _, err := e.Get(ctx, "b", "o", ""); return err },
		"head":   func() error { _, err := e.Head(ctx, "b", "o", ""); return err },
		"delete": func() error { _, err := e.Delete(ctx, "b", object.Delete{Key: "o"}); return err },
		"list":   func() error { _, err := e.List(ctx, "b", object.ListOptions{Max: 1}); return err },
		"empty":  func() error { return e.Empty(ctx, "b") },
		"create": func() error { _, err := e.CreateUpload(ctx, "b", object.Upload{Key: "o"}); return err },
		"upload": func() error { _, err := e.GetUpload(ctx, "b", "u", id); return err },
		"part":   func() error { _, err := e.PutPart(ctx, "b", "u", id, 1, body()); return err },
		"parts":  func() error { _, _, err := e.ListParts(ctx, "b", "u", id, 0, 1); return err },
		"uploads": func() error {
			_, _, err := e.ListUploads(ctx, "b", "", "", "", 1)
			return err
		},
		"complete": func() error {
			_, err := e.Complete(ctx, "b", "u", id, []object.Part{{Number: 1, ETag: ETag([]byte("x"))}}, object.Put{})
			return err
		},
		"abort": func() error { return e.Abort(ctx, "b", "u", id) },
	} {
		wantErr(t, name+" in a dropped bucket", do(), object.ErrNoBucket)
	}
}

// dropRace: a bucket is dropped, or a write into it is acknowledged; never both.
func dropRace(t *testing.T, e object.Engine) {
	for i := range 30 {
		bucket := fmt.Sprint("race-", i)
		var wg sync.WaitGroup
		var wrote, dropped error
		wg.Go(func() {
			_, wrote = e.Put(t.Context(), bucket, object.Put{Key: "o", Body: strings.NewReader("x"), Size: 1})
		})
		wg.Go(func() { dropped = e.Drop(t.Context(), bucket) })
		wg.Wait()
		okWrite := wrote == nil && errors.Is(dropped, object.ErrNotEmpty)
		okDrop := dropped == nil && errors.Is(wrote, object.ErrNoBucket)
		if !okWrite && !okDrop {
			t.Fatalf("put: %v, drop: %v", wrote, dropped)
		}
	}
}
