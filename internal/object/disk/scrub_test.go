package disk

import (
	"bytes"
	"fmt"
	"slices"
	"testing"

	"karri.dev/internal/object"
	"karri.dev/internal/object/objecttest"
)

// TestScrub: damage is found in files that nobody reads, with and without a customer's key, and nowhere else.
func TestScrub(t *testing.T) {
	fs := InMemory()
	e := open(t, Config{Dir: "/o", FS: fs, Sealer: sealer(t), ScrubRate: 1 << 40})
	body := objecttest.Bytes(1, 5*blockData)
	for i := range 4 {
		p := object.Put{Key: fmt.Sprint(i), Body: bytes.NewReader(body), Size: -1}
		if i%2 == 1 {
			p.Customer = objecttest.Bytes(2, dataKeySize)
		}
		if _, err := e.Put(t.Context(), "b", p); err != nil {
			t.Fatal(err)
		}
	}
	round := func(damaged int64) {
		t.Helper()
		before := e.Scrubbed()
		if err := e.scrub(); err != nil {
			t.Fatal(err)
		}
		if s := e.Scrubbed(); s.Rounds != before.Rounds+1 || s.Files != before.Files+4 || s.Damaged != before.Damaged+damaged {
			t.Fatalf("scrubbed %+v after %+v, want %d damaged", s, before, damaged)
		}
	}
	round(0)
	for n, key := range []string{"1", "2"} {
		o, err := e.Get(t.Context(), "b", key, "")
		if err != nil {
			t.Fatal(err)
		}
		rewrite(t, fs, e.home().name(o.(*openObject).pin.id), func(raw []byte) []byte { raw[4*blockSize+n] ^= 1; return raw })
		if err := o.Close(); err != nil {
			t.Fatal(err)
		}
		round(int64(n) + 1)
		found := e.Scrubbed().Found
		if !slices.ContainsFunc(found, func(d Damage) bool { return d.Bucket == "b" && d.Key == key && d.Version == object.Null }) {
			t.Fatalf("found %+v, want %s", found, key)
		}
	}
}
