package disk

import (
	"context"
	"errors"
	"strings"
	"testing"

	"karri.dev/internal/object"
)

// A null version below others is found by the next process too.
func TestNullVersionIsKnownAfterReopening(t *testing.T) {
	dir, ctx := t.TempDir(), context.Background()
	put := func(e *Engine, body string, v object.Versioning) {
		t.Helper()
		if _, err := e.Put(ctx, "b", object.Put{Key: "k", Body: strings.NewReader(body), Size: int64(len(body)), Versioning: v}); err != nil {
			t.Fatal(err)
		}
	}
	e, err := Open(Config{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	if e.known.nulls.Load() {
		t.Error("a new engine is said to have null versions")
	}
	put(e, "null", object.Unversioned)
	put(e, "named", object.Enabled)
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	e = open(t, Config{Dir: dir})
	put(e, "second null", object.Suspended)
	o, err := e.Get(ctx, "b", "k", object.Null)
	if err != nil {
		t.Fatal(err)
	}
	defer o.Close()
	if n, err := e.Tally(ctx, "b"); err != nil || o.Meta().Size != int64(len("second null")) || n.Objects != 2 {
		t.Errorf("%d bytes of %+v, %v", o.Meta().Size, n, err)
	}
}

// What was written to a bucket does not keep it alive.
func TestDroppedBucketStaysDropped(t *testing.T) {
	e, ctx := open(t, Config{Dir: t.TempDir()}), context.Background()
	put := func() error {
		_, err := e.Put(ctx, "b", object.Put{Key: "k", Size: 0})
		return err
	}
	if err := put(); err != nil {
		t.Fatal(err)
	}
	if _, err := e.Delete(ctx, "b", object.Delete{Key: "k"}); err != nil {
		t.Fatal(err)
	}
	if err := e.Drop(ctx, "b"); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := put(); !errors.Is(err, object.ErrNoBucket) {
			t.Errorf("put: %v", err)
		}
		if err := e.Empty(ctx, "b"); !errors.Is(err, object.ErrNoBucket) {
			t.Errorf("empty: %v", err)
		}
	}
}
