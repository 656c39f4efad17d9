package object_test

import (
	"errors"
	"strings"
	"testing"

	"karri.dev/internal/object"
	"karri.dev/internal/object/disk"
	"karri.dev/internal/object/objecttest"
)

func memory(t testing.TB) *disk.Engine {
	t.Helper()
	e, err := disk.Open(disk.Config{Dir: "/o", FS: disk.InMemory()})
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// routes closes with the test.
func routes(t testing.TB) object.Routes {
	r := object.Routes{Home: memory(t), Others: map[string]object.Engine{"far": memory(t)}}
	t.Cleanup(func() {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	})
	return r
}

func TestContract(t *testing.T) {
	objecttest.Run(t, func(t testing.TB) object.Engine { return routes(t) })
}

func TestRoutes(t *testing.T) {
	r := routes(t)
	put := func(bucket string) error {
		_, err := r.Put(t.Context(), bucket, object.Put{Key: "k", Body: strings.NewReader("x"), Size: 1})
		return err
	}
	far := object.Route("b", "far")
	if err := errors.Join(put(object.Route("b", "")), put(far)); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Others["far"].Head(t.Context(), far, "k", ""); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Home.Head(t.Context(), far, "k", ""); !errors.Is(err, object.ErrNotFound) {
		t.Fatalf("at home: %v", err)
	}
	// Nothing of a store that is not there looks like an empty bucket.
	gone := object.Route("b", "gone")
	_, err := r.List(t.Context(), gone, object.ListOptions{Max: 1})
	for what, err := range map[string]error{"put": put(gone), "empty": r.Empty(t.Context(), gone), "drop": r.Drop(t.Context(), gone), "list": err} {
		if !errors.Is(err, object.ErrOffline) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// TestRoutedNotes: a queue has the notes of all engines, and each is dropped where it is.
func TestRoutedNotes(t *testing.T) {
	r := routes(t)
	note := func(bucket, body string) {
		t.Helper()
		_, err := r.Put(t.Context(), bucket, object.Put{Key: body, Body: strings.NewReader("x"), Size: 1, Notes: func(object.Meta) []object.Note {
			return []object.Note{{Queue: "q", Body: []byte(body)}}
		}})
		if err != nil {
			t.Fatal(err)
		}
	}
	far := object.Route("b", "far")
	note("b", "1")
	note(far, "2") // the numbers of both are the same in their engines
	note("b", "3")
	left := func() (bodies string) {
		t.Helper()
		notes, err := r.Notes(t.Context(), "q", 10)
		if err != nil {
			t.Fatal(err)
		}
		for _, n := range notes {
			bodies += string(n.Body)
		}
		return bodies
	}
	if l := left(); l != "132" {
		t.Fatalf("notes %q", l)
	}
	if q, err := r.NoteQueues(t.Context()); err != nil || len(q) != 1 {
		t.Fatal(q, err)
	}
	notes, err := r.Notes(t.Context(), "q", 10)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.DropNotes(t.Context(), "q", notes[2].ID); err != nil {
		t.Fatal(err)
	}
	if l := left(); l != "13" {
		t.Fatalf("after one of the other engine was dropped: %q", l)
	}
	if n, err := r.Notes(t.Context(), "q", 1); err != nil || len(n) != 1 {
		t.Fatal(n, err)
	}
}
