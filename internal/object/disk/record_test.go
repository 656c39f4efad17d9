package disk

import (
	"bytes"
	"math"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"karri.dev/internal/object"
)

func TestRecords(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		o := objectRecord{Meta: object.Meta{
			Key: "k", Size: rapid.Int64Range(0, math.MaxInt64).Draw(t, "size"), ETag: rapid.String().Draw(t, "etag"),
			Modified: time.Unix(0, rapid.Int64().Draw(t, "time")).UTC(), Parts: rapid.IntRange(0, 10000).Draw(t, "parts"),
			ChecksumAlgorithm: rapid.String().Draw(t, "algorithm"), Checksum: rapid.String().Draw(t, "sum"), ChecksumType: rapid.String().Draw(t, "type"),
		}, content: content{contentKind(rapid.IntRange(0, 3).Draw(t, "kind")), rapid.Uint64().Draw(t, "id")}, upload: rapid.String().Draw(t, "upload")}
		if h := rapid.MapOf(rapid.String(), rapid.String()).Draw(t, "headers"); len(h) > 0 {
			o.Headers = h
		}
		got, err := decodeObject(o.encode(), "k", true)
		if d := cmp.Diff(o, got, cmp.AllowUnexported(objectRecord{}, content{})); err != nil || d != "" {
			t.Fatalf("%v %s", err, d)
		}
	})
}

// TestEscape: escaped keys keep their order whatever follows, and come back.
func TestEscape(t *testing.T) {
	bytesOf := rapid.SliceOfN(rapid.SampledFrom([]byte{0, 1, 'a', 0xff}), 0, 4)
	rapid.Check(t, func(t *rapid.T) {
		a, b := bytesOf.Draw(t, "a"), bytesOf.Draw(t, "b")
		x, y := bytesOf.Draw(t, "x"), bytesOf.Draw(t, "y")
		want := bytes.Compare(a, b)
		if want == 0 {
			want = bytes.Compare(x, y)
		}
		left, right := append(escape(nil, string(a)), x...), append(escape(nil, string(b)), y...)
		if bytes.Compare(left, right) != want {
			t.Fatalf("%x %x and %x %x are in the wrong order", a, x, b, y)
		}
		if s, rest, ok := unescape(left); !ok || s != string(a) || !bytes.Equal(rest, x) {
			t.Fatalf("%x %x came back as %x %x", a, x, s, rest)
		}
	})
}

func FuzzDecode(f *testing.F) {
	o := objectRecord{Meta: object.Meta{Headers: map[string]string{"a": "b"}}}
	f.Add(o.encode())
	f.Add((&partRecord{}).encode(nil))
	f.Add([]byte{1, 1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01})
	f.Fuzz(func(t *testing.T, b []byte) {
		in := slices.Clone(b)
		_, _ = decodeObject(b, "k", true)
		_, _ = decodeParts(b)
		_, _ = decodePart(b)
		_, _ = decodeUpload(b, "k", "id")
		_, _, _ = unescape(b)
		if !bytes.Equal(in, b) {
			t.Fatal("the input was changed")
		}
	})
}
