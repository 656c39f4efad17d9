package objecttest

import (
	"bytes"
	"crypto/md5"
	"encoding/hex"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"karri.dev/internal/object"
)

const fiveMiB = 5 << 20

func begin(t testing.TB, e object.Engine, key string) string {
	t.Helper()
	id, err := e.CreateUpload(t.Context(), "b", object.Upload{
		Key: key, Initiator: "me", Headers: map[string]string{"Content-Type": "x/y"}, ChecksumAlgorithm: "CRC32", ChecksumType: "FULL_OBJECT",
	})
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func putPart(t testing.TB, e object.Engine, key, id string, number int, body []byte) object.Part {
	t.Helper()
	p, err := e.PutPart(t.Context(), "b", key, id, number, object.Put{Body: bytes.NewReader(body), Size: int64(len(body))})
	if err != nil {
		t.Fatalf("part %d: %v", number, err)
	}
	if p.Number != number || p.Size != int64(len(body)) || p.ETag != ETag(body) {
		t.Fatalf("part's answer: %+v", p)
	}
	return p
}

func joinedETag(parts []object.Part) string {
	h := md5.New()
	for _, p := range parts {
		b, _ := hex.DecodeString(p.ETag)
		h.Write(b)
	}
	return fmt.Sprintf("%x-%d", h.Sum(nil), len(parts))
}

func multipart(t *testing.T, e object.Engine) {
	id := begin(t, e, "o")
	u, err := e.GetUpload(t.Context(), "b", "o", id)
	if err != nil || u.ID != id || u.Key != "o" || u.Initiator != "me" || u.Headers["Content-Type"] != "x/y" || u.ChecksumType != "FULL_OBJECT" {
		t.Fatalf("upload: %+v, %v", u, err)
	}
	first, second, third := Bytes(1, fiveMiB), Bytes(2, fiveMiB+12345), Bytes(3, 100)
	// Out of order, with one that is left out.
	ps := []object.Part{{}, {}, putPart(t, e, "o", id, 9, third)}
	putPart(t, e, "o", id, 5, Bytes(4, 70000))
	ps[1], ps[0] = putPart(t, e, "o", id, 3, second), putPart(t, e, "o", id, 1, first)
	wantNone(t, e, "b", "o")

	m, err := e.Complete(t.Context(), "b", "o", id, ps, object.Put{
		Checksum: func() (string, string, string, error) { return "CRC32", "AAAAAA==", "FULL_OBJECT", nil },
	})
	whole := append(append(bytes.Clone(first), second...), third...)
	want := object.Meta{
		Key: "o", VersionID: object.Null, Size: int64(len(whole)), ETag: joinedETag(ps), Parts: 3, Modified: m.Modified, Encryption: m.Encryption, Headers: map[string]string{"Content-Type": "x/y"},
		ChecksumAlgorithm: "CRC32", Checksum: "AAAAAA==", ChecksumType: "FULL_OBJECT",
	}
	if d := cmp.Diff(want, m); err != nil || d != "" {
		t.Fatalf("complete: %v %s", err, d)
	}
	o, err := e.Get(t.Context(), "b", "o", "")
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(want, o.Meta()); d != "" {
		t.Fatal(d)
	}
	got, err := o.Parts()
	if d := cmp.Diff(ps, got); err != nil || d != "" {
		t.Fatalf("parts: %v %s", err, d)
	}
	if !bytes.Equal(readRange(t, o, 0, int64(len(whole))), whole) {
		t.Fatal("the whole is wrong")
	}
	for _, at := range []int{0, fiveMiB - 1, fiveMiB, fiveMiB + 1, 2*fiveMiB + 12344, 2*fiveMiB + 12345, len(whole) - 1} {
		for _, n := range []int{1, 2, 1000, 70000, fiveMiB + 20000} {
			if at+n <= len(whole) && !bytes.Equal(readRange(t, o, int64(at), int64(n)), whole[at:at+n]) {
				t.Fatalf("range %d+%d is wrong", at, n)
			}
		}
	}
	if _, err := e.Delete(t.Context(), "b", object.Delete{Key: "o"}); err != nil {
		t.Fatal(err)
	}
	wantNone(t, e, "b", "o")
	if !bytes.Equal(readRange(t, o, 0, int64(len(whole))), whole) {
		t.Fatal("the open object changed when it was deleted")
	}
	closing(t, o)
}

func partRules(t *testing.T, e object.Engine) {
	ctx := t.Context()
	id := begin(t, e, "o")
	big, small := putPart(t, e, "o", id, 1, Bytes(1, fiveMiB)), putPart(t, e, "o", id, 2, []byte("x"))
	last := putPart(t, e, "o", id, 3, []byte("y"))
	for name, c := range map[string]struct {
		parts []object.Part
		want  error
	}{
		"none":      {nil, object.ErrInvalidPart},
		"unknown":   {[]object.Part{big, {Number: 4, ETag: big.ETag}}, object.ErrInvalidPart},
		"missing":   {[]object.Part{big, {Number: 10000, ETag: big.ETag}}, object.ErrInvalidPart},
		"ETag":      {[]object.Part{big, {Number: 2, ETag: big.ETag}}, object.ErrInvalidPart},
		"first":     {[]object.Part{{Number: 1, ETag: small.ETag}, small}, object.ErrInvalidPart},
		"order":     {[]object.Part{small, big}, object.ErrPartOrder},
		"twice":     {[]object.Part{big, big}, object.ErrPartOrder},
		"too small": {[]object.Part{big, small, last}, object.ErrPartTooSmall},
	} {
		_, err := e.Complete(ctx, "b", "o", id, c.parts, object.Put{})
		wantErr(t, name, err, c.want)
	}
	put(t, e, "b", "o", []byte("there"))
	_, err := e.Complete(ctx, "b", "o", id, []object.Part{big}, object.Put{IfNoneMatch: true})
	wantErr(t, "If-None-Match", err, object.ErrPrecondition)
	for _, number := range []int{0, -1, 10001} {
		_, err := e.PutPart(ctx, "b", "o", id, number, object.Put{Body: strings.NewReader("x"), Size: 1})
		wantErr(t, "part number", err, object.ErrInvalidPart)
	}
	for _, bad := range [][2]string{{"o", "nonsense"}, {"o", ""}, {"p", id}, {"o\x00", id}, {"o", id + "0"}} {
		_, err := e.PutPart(ctx, "b", bad[0], bad[1], 1, object.Put{Body: strings.NewReader("x"), Size: 1})
		wantErr(t, "part of no upload", err, object.ErrNoUpload)
		_, err = e.Complete(ctx, "b", bad[0], bad[1], []object.Part{big}, object.Put{})
		wantErr(t, "complete of no upload", err, object.ErrNoUpload)
		wantErr(t, "abort of no upload", e.Abort(ctx, "b", bad[0], bad[1]), object.ErrNoUpload)
	}
	if err := e.Abort(ctx, "b", "o", id); err != nil {
		t.Fatal(err)
	}
	_, err = e.PutPart(ctx, "b", "o", id, 1, object.Put{Body: strings.NewReader("x"), Size: 1})
	wantErr(t, "part of an aborted upload", err, object.ErrNoUpload)
	if string(get(t, e, "b", "o")) != "there" {
		t.Fatal("an upload that came to nothing changed the object")
	}
}

func partReplaced(t *testing.T, e object.Engine) {
	id := begin(t, e, "o")
	old := putPart(t, e, "o", id, 1, []byte("old"))
	part := putPart(t, e, "o", id, 1, []byte("new"))
	_, err := e.Complete(t.Context(), "b", "o", id, []object.Part{old}, object.Put{})
	wantErr(t, "replaced part", err, object.ErrInvalidPart)
	if _, err := e.Complete(t.Context(), "b", "o", id, []object.Part{part}, object.Put{}); err != nil {
		t.Fatal(err)
	}
	if got := get(t, e, "b", "o"); string(got) != "new" {
		t.Fatalf("got %q", got)
	}
}

func completeTwice(t *testing.T, e object.Engine) {
	ctx := t.Context()
	id := begin(t, e, "o")
	ps := []object.Part{putPart(t, e, "o", id, 1, nil)}
	first, err := e.Complete(ctx, "b", "o", id, ps, object.Put{})
	if err != nil {
		t.Fatal(err)
	}
	again, err := e.Complete(ctx, "b", "o", id, ps, object.Put{})
	if d := cmp.Diff(first, again); err != nil || d != "" {
		t.Fatalf("complete again: %v %s", err, d)
	}
	_, err = e.Complete(ctx, "b", "o", id, []object.Part{{Number: 2, ETag: ps[0].ETag}}, object.Put{})
	wantErr(t, "with other parts", err, object.ErrNoUpload)
	wantErr(t, "abort of a completed upload", e.Abort(ctx, "b", "o", id), object.ErrNoUpload)
	put(t, e, "b", "o", []byte("x"))
	_, err = e.Complete(ctx, "b", "o", id, ps, object.Put{})
	wantErr(t, "once it is replaced", err, object.ErrNoUpload)
}

func listParts(t *testing.T, e object.Engine) {
	id := begin(t, e, "o")
	for _, n := range []int{300, 2, 10000, 1} {
		putPart(t, e, "o", id, n, []byte(fmt.Sprint(n)))
	}
	var got []int
	after := 0
	for {
		ps, more, err := e.ListParts(t.Context(), "b", "o", id, after, 3)
		if err != nil || more != (len(got) == 0) {
			t.Fatalf("more %v, %v", more, err)
		}
		for _, p := range ps {
			got = append(got, p.Number)
			after = p.Number
		}
		if !more {
			break
		}
	}
	if d := cmp.Diff([]int{1, 2, 300, 10000}, got); d != "" {
		t.Fatal(d)
	}
	_, _, err := e.ListParts(t.Context(), "b", "o", "none", 0, 3)
	wantErr(t, "parts of no upload", err, object.ErrNoUpload)
}

func listUploads(t *testing.T, e object.Engine) {
	type name struct{ Key, ID string }
	var all []name
	for _, k := range []string{"a", "a", "a", "a\x00", "a\x00b", "a/b", "b", "b\xff"} {
		all = append(all, name{k, begin(t, e, k)})
	}
	page := func(prefix, key, id string, limit int) (out []name, more bool) {
		us, more, err := e.ListUploads(t.Context(), "b", prefix, key, id, limit)
		if err != nil {
			t.Fatal(err)
		}
		for _, u := range us {
			out = append(out, name{u.Key, u.ID})
		}
		return out, more
	}
	for _, limit := range []int{1, 2, 3, 7, 8, 9} {
		var got []name
		last := name{}
		for {
			p, more := page("", last.Key, last.ID, limit)
			got = append(got, p...)
			if !more {
				break
			}
			last = p[len(p)-1]
		}
		if d := cmp.Diff(all, got); d != "" {
			t.Fatalf("pages of %d: %s", limit, d)
		}
	}
	if got, _ := page("a\x00", "", "", 10); len(got) != 2 {
		t.Fatalf("prefix a\\x00: %v", got)
	}
	if got, _ := page("a", "", "", 10); len(got) != 6 {
		t.Fatalf("prefix a: %v", got)
	}
	if got, _ := page("", "a", "", 10); len(got) != 5 || got[0].Key != "a\x00" {
		t.Fatalf("after key a: %v", got)
	}
	if got, _ := page("b", "a", "", 10); len(got) != 2 {
		t.Fatalf("after key a with prefix b: %v", got)
	}
}
