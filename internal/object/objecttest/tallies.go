package objecttest

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"

	"karri.dev/internal/object"
)

// CheckTally compares what an engine says that a bucket holds with what can be listed in it.
func CheckTally(t testing.TB, e object.Engine, bucket string) object.Tally {
	t.Helper()
	var want object.Tally
	vs, err := e.ListVersions(t.Context(), bucket, object.VersionOptions{Max: 1e6})
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range vs.Versions {
		want = want.Plus(object.Tally{Objects: 1, Bytes: v.Size})
	}
	us, _, err := e.ListUploads(t.Context(), bucket, "", "", "", 1e6)
	if err != nil {
		t.Fatal(err)
	}
	for _, u := range us {
		ps, _, err := e.ListParts(t.Context(), bucket, u.Key, u.ID, 0, 1e6)
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range ps {
			want = want.Plus(object.Tally{Objects: 1, Bytes: p.Size})
		}
	}
	if got, err := e.Tally(t.Context(), bucket); err != nil || got != want {
		t.Fatalf("bucket %s: %+v (%v), and %+v is listed", bucket, got, err, want)
	}
	return want
}

// tallies does everything that changes what a bucket holds, in a random order.
func tallies(t *testing.T, e object.Engine) {
	rng := rand.New(rand.NewPCG(3, 3))
	ctx, bucket := t.Context(), "t"
	uploads := map[string]string{} // id → key
	for step := range 300 {
		key, state := fmt.Sprint(rng.IntN(4)), object.Versioning(rng.IntN(3))
		body := Bytes(uint64(step), rng.IntN(2000))
		id := ""
		for u := range uploads {
			id = u
			break
		}
		var err error
		switch rng.IntN(9) {
		case 0:
			_, err = e.Delete(ctx, bucket, object.Delete{Key: key, Versioning: state})
		case 1:
			vs, lerr := e.ListVersions(ctx, bucket, object.VersionOptions{Prefix: key, Max: 5})
			if err = lerr; len(vs.Versions) > 0 {
				v := vs.Versions[rng.IntN(len(vs.Versions))]
				_, err = e.Delete(ctx, bucket, object.Delete{Key: v.Key, VersionID: v.VersionID})
			}
		case 2:
			if id, err = e.CreateUpload(ctx, bucket, object.Upload{Key: key}); err == nil {
				uploads[id] = key
			}
		case 3, 4:
			if id != "" {
				_, err = e.PutPart(ctx, bucket, uploads[id], id, 1+rng.IntN(3), object.Put{Body: bytes.NewReader(body), Size: -1})
			}
		case 5:
			if id == "" {
				break
			}
			ps, _, lerr := e.ListParts(ctx, bucket, uploads[id], id, 0, 10)
			if err = lerr; len(ps) == 0 {
				break
			}
			if _, err = e.Complete(ctx, bucket, uploads[id], id, ps[len(ps)-1:], object.Put{Versioning: state}); err == nil {
				delete(uploads, id)
			}
		case 6:
			if id != "" {
				err = e.Abort(ctx, bucket, uploads[id], id)
				delete(uploads, id)
			}
		default:
			_, err = e.Put(ctx, bucket, object.Put{Key: key, Versioning: state, Body: bytes.NewReader(body), Size: -1})
		}
		if err != nil {
			t.Fatalf("step %d: %v", step, err)
		}
		CheckTally(t, e, bucket)
	}
}

// rooms: writes at the same time never get past what Room allows, and one that is refused leaves nothing.
func rooms(t *testing.T, e object.Engine) {
	full := errors.New("no more")
	room := func(b object.Balance) error {
		if b.Added.Bytes > 0 && b.Bucket.Bytes > 1000 || b.Added.Objects > 0 && b.Bucket.Objects > 12 {
			return full
		}
		return nil
	}
	ctx, body := t.Context(), Bytes(1, 100)
	var wg sync.WaitGroup
	var made atomic.Int64
	for i := range 40 {
		wg.Go(func() {
			size := int64(-1)
			if i%2 == 0 {
				size = 100
			}
			_, err := e.Put(ctx, "r", object.Put{Key: fmt.Sprint(i), Body: bytes.NewReader(body), Size: size, Room: room})
			if err == nil {
				made.Add(1)
			} else if !errors.Is(err, full) {
				t.Errorf("put: %v", err)
			}
		})
	}
	wg.Wait()
	if n := CheckTally(t, e, "r"); made.Load() != 10 || n != (object.Tally{Objects: 10, Bytes: 1000}) {
		t.Fatalf("%d writes were taken, the bucket holds %+v", made.Load(), n)
	}
	l, err := e.List(ctx, "r", object.ListOptions{Max: 1})
	if err != nil {
		t.Fatal(err)
	}
	key := l.Objects[0].Key
	if _, err := e.Put(ctx, "r", object.Put{Key: key, Body: bytes.NewReader(body), Size: 100, Room: room}); err != nil {
		t.Fatalf("in place of what is there: %v", err)
	}
	_, err = e.Put(ctx, "r", object.Put{Key: key, Versioning: object.Enabled, Body: bytes.NewReader(body), Size: 100, Room: room})
	wantErr(t, "another version", err, full)
	id, err := e.CreateUpload(ctx, "r", object.Upload{Key: "u"})
	if err != nil {
		t.Fatal(err)
	}
	_, err = e.PutPart(ctx, "r", "u", id, 1, object.Put{Body: bytes.NewReader(body), Size: 100, Room: room})
	wantErr(t, "a part", err, full)
	if _, err := e.Delete(ctx, "r", object.Delete{Key: key}); err != nil {
		t.Fatal(err)
	}
	for n, want := range []error{nil, nil, full} { // a part in place of itself, and no second
		_, err = e.PutPart(ctx, "r", "u", id, max(1, n), object.Put{Body: bytes.NewReader(body), Size: -1, Room: room})
		wantErr(t, fmt.Sprint("part ", n), err, want)
	}
	ps, _, err := e.ListParts(ctx, "r", "u", id, 0, 10)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := e.Complete(ctx, "r", "u", id, ps, object.Put{Room: room}); err != nil {
		t.Fatalf("complete, which adds nothing: %v", err)
	}
	CheckTally(t, e, "r")
}
