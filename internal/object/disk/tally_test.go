package disk

import (
	"bytes"
	"testing"

	"github.com/cockroachdb/pebble/v2"

	"karri.dev/internal/object"
	"karri.dev/internal/object/objecttest"
)

// TestRecount: numbers that are wrong are found and mended, and an index without numbers gets them.
func TestRecount(t *testing.T) {
	fs, ledger := InMemory(), object.NewLedger()
	e := open(t, Config{Dir: "/o", FS: fs, Ledger: ledger})
	ledger.Hold("b", "someone")
	for _, key := range []string{"1", "2"} {
		if _, err := e.Put(t.Context(), "b", object.Put{Key: key, Body: bytes.NewReader(make([]byte, 10)), Size: 10}); err != nil {
			t.Fatal(err)
		}
	}
	if wrong, err := e.recount(); wrong != 0 || err != nil {
		t.Fatalf("%d, %v", wrong, err)
	}
	if err := e.update(func(t *tx) error { t.tally.add("b", object.Tally{Objects: 5, Bytes: -7}); return nil }); err != nil {
		t.Fatal(err)
	}
	if got, err := e.Tally(t.Context(), "b"); err != nil || got != (object.Tally{Objects: 7, Bytes: 13}) {
		t.Fatalf("%+v, %v", got, err)
	}
	if wrong, err := e.recount(); wrong != 1 || err != nil {
		t.Fatalf("%d, %v", wrong, err)
	}
	want := objecttest.CheckTally(t, e, "b")
	if got := ledger.Of("b"); got != want {
		t.Fatalf("the ledger has %+v", got)
	}
	for _, key := range [][]byte{keyTallied, tallyKey("b")} {
		if err := e.db.Delete(key, pebble.Sync); err != nil {
			t.Fatal(err)
		}
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	again := object.NewLedger()
	again.Hold("b", "someone")
	e = open(t, Config{Dir: "/o", FS: fs, Ledger: again})
	objecttest.CheckTally(t, e, "b")
	if got := again.Of("b"); got != want {
		t.Fatalf("the ledger has %+v after the start", got)
	}
}
