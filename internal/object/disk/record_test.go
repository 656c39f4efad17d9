package disk

import (
	"bytes"
	"encoding/hex"
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
		}, content: content{kind: contentKind(rapid.IntRange(0, 3).Draw(t, "kind")), id: rapid.Uint64().Draw(t, "id")}, upload: rapid.String().Draw(t, "upload")}
		o.null, o.Marker, o.seq = rapid.Bool().Draw(t, "null"), rapid.Bool().Draw(t, "marker"), rapid.Uint64().Draw(t, "seq")
		o.Owner, o.Class, o.content.disk = rapid.String().Draw(t, "owner"), rapid.String().Draw(t, "class"), rapid.Uint64().Draw(t, "disk")
		o.Lock.Mode, o.Lock.Hold = rapid.String().Draw(t, "mode"), rapid.Bool().Draw(t, "hold")
		if until := rapid.Int64().Draw(t, "until"); until != 0 {
			o.Lock.Until = time.Unix(0, until).UTC()
		}
		if b := rapid.SliceOf(rapid.Byte()).Draw(t, "acl"); len(b) > 0 {
			o.ACL, o.sealed, o.Encryption = b, b, encryption(b)
		}
		if tags := rapid.MapOf(rapid.String(), rapid.String()).Draw(t, "tags"); len(tags) > 0 {
			o.Tags = tags
		}
		if h := rapid.MapOf(rapid.String(), rapid.String()).Draw(t, "headers"); len(h) > 0 {
			o.Headers = h
		}
		got, err := decodeObject(o.encode(), "k", true)
		if d := cmp.Diff(o, got, cmp.AllowUnexported(objectRecord{}, content{})); err != nil || d != "" {
			t.Fatalf("%v %s", err, d)
		}
	})
}

// TestOldRecords reads what the first layout wrote.
func TestOldRecords(t *testing.T) {
	for _, old := range []string{
		// object: kind file, id 5, size 3, time 2 ns, no parts; "e", "a", "c", "t", "u"; one header
		"010205030400016501610163017401750101680176",
		// upload: time 2 ns, "i", "a", "t", one header
		"01040169016101740101680176",
	} {
		b, err := hex.DecodeString(old)
		if err != nil {
			t.Fatal(err)
		}
		headers := map[string]string{"h": "v"}
		if len(b) > 16 {
			o, err := decodeObject(b, "k", true)
			want := objectRecord{
				Meta: object.Meta{
					Key: "k", Size: 3, Modified: time.Unix(0, 2).UTC(), ETag: "e", ChecksumAlgorithm: "a", Checksum: "c", ChecksumType: "t", Headers: headers,
				}, content: content{kind: file, id: 5}, upload: "u", null: true,
			}
			if d := cmp.Diff(want, o, cmp.AllowUnexported(objectRecord{}, content{})); d != "" || err != nil {
				t.Fatalf("%v %s", err, d)
			}
			continue
		}
		u, err := decodeUpload(b, "k", "id")
		want := uploadRecord{Upload: object.Upload{
			Key: "k", ID: "id", Started: time.Unix(0, 2).UTC(), Initiator: "i", ChecksumAlgorithm: "a", ChecksumType: "t", Headers: headers,
		}}
		if d := cmp.Diff(want, u, cmp.AllowUnexported(uploadRecord{})); d != "" || err != nil {
			t.Fatalf("%v %s", err, d)
		}
	}
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
	f.Add((&uploadRecord{}).encode())
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
