package objecttest

import (
	"bytes"
	"context"
	"crypto/md5"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"

	"karri.dev/internal/object"
)

func roundTrip(t *testing.T, e object.Engine) {
	for _, n := range sizes {
		body := Bytes(1, n)
		p := object.Put{
			Key: fmt.Sprint("size-", n), Body: bytes.NewReader(body), Size: int64(n),
			Headers:  map[string]string{"Content-Type": "text/plain", "X-Amz-Meta-A": "ü\x01"},
			Checksum: func() (string, string, string, error) { return "CRC32", "AAAAAA==", "FULL_OBJECT", nil },
		}
		if n%2 == 1 {
			p.Size = -1
			p.Body = iotest.HalfReader(iotest.DataErrReader(p.Body))
		}
		m, err := e.Put(t.Context(), "b", p)
		if err != nil {
			t.Fatalf("put of %d bytes: %v", n, err)
		}
		want := object.Meta{
			Key: p.Key, VersionID: object.Null, Size: int64(n), ETag: ETag(body), Modified: m.Modified, Headers: p.Headers, Encryption: m.Encryption,
			ChecksumAlgorithm: "CRC32", Checksum: "AAAAAA==", ChecksumType: "FULL_OBJECT",
		}
		if d := cmp.Diff(want, m); d != "" {
			t.Fatalf("put's answer: %s", d)
		}
		head, err := e.Head(t.Context(), "b", p.Key, "")
		if d := cmp.Diff(want, head); err != nil || d != "" {
			t.Fatalf("head: %v %s", err, d)
		}
		o, err := e.Get(t.Context(), "b", p.Key, "")
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(want, o.Meta()); d != "" {
			t.Fatalf("get: %s", d)
		}
		if ps, err := o.Parts(); ps != nil || err != nil {
			t.Fatalf("parts of a plain object: %v, %v", ps, err)
		}
		if got := readRange(t, o, 0, int64(n)); !bytes.Equal(got, body) {
			t.Fatalf("%d bytes came back wrong", n)
		}
		closing(t, o)
	}
}

func ranges(t *testing.T, e object.Engine) {
	for _, n := range []int{1000, 300 << 10, 1<<20 + 7} {
		body := Bytes(2, n)
		put(t, e, "b", "o", body)
		o, err := e.Get(t.Context(), "b", "o", "")
		if err != nil {
			t.Fatal(err)
		}
		for _, off := range []int{0, 1, 999, 65531, 65532, 65533, 65536, 262127, 262128, 262143, 262144, n - 1, n} {
			for _, length := range []int{0, 1, 2, 65531, 65532, 65536, 262128, n} {
				if off > n || off+length > n {
					continue
				}
				if got := readRange(t, o, int64(off), int64(length)); !bytes.Equal(got, body[off:off+length]) {
					t.Fatalf("range %d+%d of %d is wrong", off, length, n)
				}
			}
		}
		for _, bad := range [][2]int64{{-1, 1}, {0, -1}, {0, int64(n) + 1}, {int64(n), 1}, {1, 1<<63 - 1}} {
			if _, err := o.Range(bad[0], bad[1]); err == nil {
				t.Fatalf("range %v of %d bytes is no error", bad, n)
			}
		}
		r, err := o.Range(1, int64(n)-1)
		if err != nil {
			t.Fatal(err)
		}
		if err := iotest.TestReader(r, body[1:]); err != nil {
			t.Fatal(err)
		}
		closing(t, r)
		closing(t, o)
	}
}

func strangeKeys(t *testing.T, e object.Engine) {
	keys := []string{
		"a", "a/", "a/b", "a//b", "a/../b", "/a", "//", ".", "..", "../../etc/passwd", " ", "\n", "\x00", "a\x00", "a\x00b", "a\x00\x01",
		"\xff", "\xff\xfe", "a\xff", "é", "e\u0301", "日本語", longKey, longKey[:1023] + "\xff", "%2F", "a%2Fb", "*", "<&>\"'",
	}
	for i, k := range keys {
		put(t, e, "b", k, []byte(fmt.Sprint(i)))
		put(t, e, "bb", k, []byte(fmt.Sprint("other ", i)))
	}
	for i, k := range keys {
		if got := get(t, e, "b", k); string(got) != fmt.Sprint(i) {
			t.Fatalf("%q: got %q", k, got)
		}
	}
	l, err := e.List(t.Context(), "b", object.ListOptions{Max: 1000})
	if err != nil || len(l.Objects) != len(keys) {
		t.Fatalf("list: %d of %d keys, %v", len(l.Objects), len(keys), err)
	}
	for i := 1; i < len(l.Objects); i++ {
		if l.Objects[i-1].Key >= l.Objects[i].Key {
			t.Fatalf("%q is listed before %q", l.Objects[i-1].Key, l.Objects[i].Key)
		}
	}
	for _, k := range keys {
		if _, err := e.Delete(t.Context(), "b", object.Delete{Key: k}); err != nil {
			t.Fatal(err)
		}
		wantNone(t, e, "b", k)
	}
	if l, err := e.List(t.Context(), "bb", object.ListOptions{Max: 1000}); err != nil || len(l.Objects) != len(keys) {
		t.Fatalf("deleting in one bucket changed another: %d, %v", len(l.Objects), err)
	}
}

func overwrite(t *testing.T, e object.Engine) {
	for i, n := range []int{10, 200 << 10, 0, 64 << 10, 70 << 10, 5} {
		body := Bytes(uint64(i), n)
		put(t, e, "b", "o", body)
		if !bytes.Equal(get(t, e, "b", "o"), body) {
			t.Fatalf("write %d of %d bytes is not what is read", i, n)
		}
	}
	for range 2 {
		if _, err := e.Delete(t.Context(), "b", object.Delete{Key: "o"}); err != nil {
			t.Fatal(err)
		}
		wantNone(t, e, "b", "o")
	}
}

// openReaders: an open object is what it was, whatever becomes of its key.
func openReaders(t *testing.T, e object.Engine) {
	for _, n := range []int{100, 400 << 10} {
		for name, change := range map[string]func(){
			"overwrite": func() { put(t, e, "b", "o", Bytes(99, n)) },
			"delete": func() {
				if _, err := e.Delete(t.Context(), "b", object.Delete{Key: "o"}); err != nil {
					t.Fatal(err)
				}
			},
		} {
			body := Bytes(3, n)
			put(t, e, "b", "o", body)
			o, err := e.Get(t.Context(), "b", "o", "")
			if err != nil {
				t.Fatal(err)
			}
			r, err := o.Range(0, int64(n))
			if err != nil {
				t.Fatal(err)
			}
			head := make([]byte, 10)
			if _, err := io.ReadFull(r, head); err != nil {
				t.Fatal(err)
			}
			change()
			rest, err := io.ReadAll(r)
			if err != nil || !bytes.Equal(append(head, rest...), body) {
				t.Fatalf("%s changed what an open reader reads: %v", name, err)
			}
			closing(t, r)
			if got := readRange(t, o, 5, int64(n)-5); !bytes.Equal(got, body[5:]) {
				t.Fatalf("%s changed what an open object reads", name)
			}
			closing(t, o)
			closing(t, o)
		}
	}
}

func badBodies(t *testing.T, e object.Engine) {
	put(t, e, "b", "old", []byte("old"))
	id, err := e.CreateUpload(t.Context(), "b", object.Upload{Key: "old"})
	if err != nil {
		t.Fatal(err)
	}
	broken := errors.New("broken")
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	for _, n := range []int{10, 300 << 10} {
		body := Bytes(4, n)
		wrong := md5.Sum(nil)
		for name, c := range map[string]struct {
			p    object.Put
			ctx  context.Context
			want error
		}{
			"short":         {p: object.Put{Body: bytes.NewReader(body), Size: int64(n) + 1}, want: object.ErrLength},
			"long":          {p: object.Put{Body: bytes.NewReader(body), Size: int64(n) - 1}, want: object.ErrLength},
			"broken":        {p: object.Put{Body: io.MultiReader(bytes.NewReader(body), iotest.ErrReader(broken)), Size: -1}, want: broken},
			"cut off":       {p: object.Put{Body: io.MultiReader(bytes.NewReader(body), iotest.ErrReader(io.ErrUnexpectedEOF)), Size: -1}, want: io.ErrUnexpectedEOF},
			"cut off sized": {p: object.Put{Body: io.MultiReader(bytes.NewReader(body), iotest.ErrReader(io.ErrUnexpectedEOF)), Size: int64(n) + 1}, want: io.ErrUnexpectedEOF},
			"digest":        {p: object.Put{Body: bytes.NewReader(body), Size: int64(n), MD5: wrong[:]}, want: object.ErrDigest},
			"checksum": {p: object.Put{
				Body: bytes.NewReader(body), Size: int64(n),
				Checksum: func() (string, string, string, error) { return "", "", "", broken },
			}, want: broken},
			"ended": {p: object.Put{Body: bytes.NewReader(body), Size: int64(n)}, ctx: ended, want: context.Canceled},
		} {
			if c.ctx == nil {
				c.ctx = t.Context()
			}
			for _, key := range []string{"new", "old"} {
				c.p.Key = key
				if s, ok := c.p.Body.(io.Seeker); ok {
					if _, err := s.Seek(0, io.SeekStart); err != nil {
						t.Fatal(err)
					}
				} else if key == "old" {
					continue // the body is used up
				}
				_, err := e.Put(c.ctx, "b", c.p)
				wantErr(t, name, err, c.want)
			}
			if s, ok := c.p.Body.(io.Seeker); ok {
				if _, err := s.Seek(0, io.SeekStart); err != nil {
					t.Fatal(err)
				}
				_, err := e.PutPart(c.ctx, "b", "old", id, 1, c.p)
				wantErr(t, name+" part", err, c.want)
			}
			wantNone(t, e, "b", "new")
		}
	}
	if got := get(t, e, "b", "old"); string(got) != "old" {
		t.Fatalf("a failed write changed the object: %q", got)
	}
	if ps, _, err := e.ListParts(t.Context(), "b", "old", id, 0, 10); err != nil || len(ps) != 0 {
		t.Fatalf("failed parts are listed: %v, %v", ps, err)
	}
}

func conditions(t *testing.T, e object.Engine) {
	ctx := t.Context()
	body := func(s string) object.Put {
		return object.Put{Key: "o", Body: strings.NewReader(s), Size: int64(len(s))}
	}
	ifMatch := func(s, etag string) object.Put { p := body(s); p.IfMatch = etag; return p }
	ifNone := func(s string) object.Put { p := body(s); p.IfNoneMatch = true; return p }

	_, err := e.Put(ctx, "b", ifMatch("1", ETag(nil)))
	wantErr(t, "If-Match of no object", err, object.ErrNotFound)
	if _, err = e.Put(ctx, "b", ifNone("1")); err != nil {
		t.Fatal(err)
	}
	_, err = e.Put(ctx, "b", ifNone("2"))
	wantErr(t, "If-None-Match of an object", err, object.ErrPrecondition)
	_, err = e.Put(ctx, "b", ifMatch("2", ETag([]byte("x"))))
	wantErr(t, "If-Match of another ETag", err, object.ErrPrecondition)
	if _, err = e.Put(ctx, "b", ifMatch("2", ETag([]byte("1")))); err != nil {
		t.Fatal(err)
	}
	if got := get(t, e, "b", "o"); string(got) != "2" {
		t.Fatalf("got %q", got)
	}
}

// oneWinner: of many conditional writes at once, exactly one succeeds.
func oneWinner(t *testing.T, e object.Engine) {
	for round := range 5 {
		var won, lost int
		var mu sync.Mutex
		var wg sync.WaitGroup
		for i := range 16 {
			wg.Go(func() {
				b := Bytes(uint64(i), 100+i%2*70000)
				_, err := e.Put(t.Context(), "b", object.Put{Key: fmt.Sprint(round), Body: bytes.NewReader(b), Size: -1, IfNoneMatch: true})
				mu.Lock()
				defer mu.Unlock()
				if err == nil {
					won++
				} else if errors.Is(err, object.ErrPrecondition) {
					lost++
				}
			})
		}
		wg.Wait()
		if won != 1 || lost != 15 {
			t.Fatalf("%d won, %d lost", won, lost)
		}
	}
}

// concurrency: readers see whole writes only, and their own at once.
func concurrency(t *testing.T, e object.Engine) {
	var wg sync.WaitGroup
	for w := range 8 {
		wg.Go(func() {
			for i := range 30 {
				key := fmt.Sprint("own-", w)
				body := Bytes(uint64(w*1000+i), 1+(i%3)*70000)
				if _, err := e.Put(t.Context(), "b", object.Put{Key: key, Body: bytes.NewReader(body), Size: -1}); err != nil {
					t.Errorf("put: %v", err)
					return
				}
				if m, err := e.Head(t.Context(), "b", key, ""); err != nil || m.ETag != ETag(body) {
					t.Errorf("own write is not read: %v", err)
				}
				shared := Bytes(uint64(i), 1+(w%3)*70000)
				if _, err := e.Put(t.Context(), "b", object.Put{Key: "shared", Body: bytes.NewReader(shared), Size: -1}); err != nil {
					t.Errorf("put: %v", err)
				}
				if i%7 == 0 {
					if _, err := e.Delete(t.Context(), "b", object.Delete{Key: "shared"}); err != nil {
						t.Errorf("delete: %v", err)
					}
				}
				readWhole(t, e, "shared")
			}
		})
	}
	wg.Wait()
}

func readWhole(t *testing.T, e object.Engine, key string) {
	o, err := e.Get(t.Context(), "b", key, "")
	if errors.Is(err, object.ErrNotFound) {
		return
	}
	if err != nil {
		t.Errorf("get: %v", err)
		return
	}
	defer closing(t, o)
	r, err := o.Range(0, o.Meta().Size)
	if err != nil {
		t.Errorf("range: %v", err)
		return
	}
	defer closing(t, r)
	b, err := io.ReadAll(r)
	if err != nil || ETag(b) != o.Meta().ETag {
		t.Errorf("a torn read: %d bytes of %d, %v", len(b), o.Meta().Size, err)
	}
}
