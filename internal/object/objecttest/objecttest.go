// Package objecttest is the contract of object.Engine as tests; every driver passes it.
package objecttest

import (
	"bytes"
	"context"
	"crypto/md5"
	"encoding/hex"
	"errors"
	"io"
	"math/rand/v2"
	"strings"
	"testing"

	"karri.dev/internal/object"
)

// Open opens a fresh engine and closes it with the test. Its parts may be as small as S3 allows.
type Open func(t testing.TB) object.Engine

// Run runs the whole suite.
func Run(t *testing.T, open Open) {
	for name, test := range map[string]func(*testing.T, object.Engine){
		"RoundTrip":     roundTrip,
		"Ranges":        ranges,
		"StrangeKeys":   strangeKeys,
		"Overwrite":     overwrite,
		"OpenReaders":   openReaders,
		"BadBodies":     badBodies,
		"Conditions":    conditions,
		"OneWinner":     oneWinner,
		"Buckets":       buckets,
		"DropRace":      dropRace,
		"Multipart":     multipart,
		"PartRules":     partRules,
		"PartReplaced":  partReplaced,
		"CompleteTwice": completeTwice,
		"ListUploads":   listUploads,
		"ListParts":     listParts,
		"ListEdges":     listEdges,
		"ListModel":     listModel,
		"Concurrency":   concurrency,
		"Usage":         usage,
		"Versions":      versions,
		"VersionModel":  versionModel,
		"Attributes":    attributes,
		"Locks":         locks,
		"CustomerKeys":  customerKeys,
		"Notes":         notes,
		"DeleteChecks":  deleteChecks,
		"Tallies":       tallies,
		"Rooms":         rooms,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, open(t))
		})
	}
}

// Sizes are body sizes at which engines change their ways.
var sizes = []int{0, 1, 100, 64<<10 - 1, 64 << 10, 64<<10 + 1, 256 << 10, 256<<10 + 1, 1<<20 + 7}

// Bytes gives n bytes that depend on the seed.
func Bytes(seed uint64, n int) []byte {
	var key [32]byte
	for i := range 8 {
		key[i] = byte(seed >> (8 * i))
	}
	b := make([]byte, n)
	_, _ = rand.NewChaCha8(key).Read(b) // never fails
	return b
}

// ETag gives the hex MD5 of a body.
func ETag(b []byte) string {
	sum := md5.Sum(b)
	return hex.EncodeToString(sum[:])
}

func put(t testing.TB, e object.Engine, bucket, key string, body []byte) object.Meta {
	t.Helper()
	m, err := e.Put(t.Context(), bucket, object.Put{Key: key, Body: bytes.NewReader(body), Size: int64(len(body))})
	if err != nil {
		t.Fatalf("put %q: %v", key, err)
	}
	return m
}

func get(t testing.TB, e object.Engine, bucket, key string) []byte {
	t.Helper()
	o, err := e.Get(t.Context(), bucket, key, "")
	if err != nil {
		t.Fatalf("get %q: %v", key, err)
	}
	defer closing(t, o)
	return readRange(t, o, 0, o.Meta().Size)
}

func readRange(t testing.TB, o object.Object, offset, length int64) []byte {
	t.Helper()
	r, err := o.Range(offset, length)
	if err != nil {
		t.Fatalf("range %d+%d: %v", offset, length, err)
	}
	defer closing(t, r)
	b, err := io.ReadAll(r)
	if err != nil {
		t.Fatalf("read range %d+%d: %v", offset, length, err)
	}
	return b
}

func closing(t testing.TB, c io.Closer) {
	t.Helper()
	if err := c.Close(); err != nil {
		t.Errorf("close: %v", err)
	}
}

func wantErr(t testing.TB, what string, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Fatalf("%s: error %v, want %v", what, err, want)
	}
}

func wantNone(t testing.TB, e object.Engine, bucket, key string) {
	t.Helper()
	_, err := e.Head(t.Context(), bucket, key, "")
	wantErr(t, "head of "+key, err, object.ErrNotFound)
	_, err = e.Get(t.Context(), bucket, key, "")
	wantErr(t, "get of "+key, err, object.ErrNotFound)
	l, err := e.List(t.Context(), bucket, object.ListOptions{Prefix: key, Max: 10})
	if err != nil {
		t.Fatalf("list: %v", err)
	}
	for _, m := range l.Objects {
		if m.Key == key {
			t.Fatalf("list shows %q", key)
		}
	}
}

func usage(t *testing.T, e object.Engine) {
	total, free, err := e.Usage(context.Background())
	if err != nil || total <= 0 || free <= 0 || free > total {
		t.Fatalf("usage: total %d, free %d, %v", total, free, err)
	}
}

// longKey is as long as S3 allows.
var longKey = strings.Repeat("k", 1024)
