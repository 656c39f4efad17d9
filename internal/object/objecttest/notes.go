package objecttest

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"karri.dev/internal/object"
)

// notes come with the change that made them, in order, and with no other.
func notes(t *testing.T, e object.Engine) {
	ctx := t.Context()
	const bucket = "notes/1"
	says := func(queue, text string) []object.Note { return []object.Note{{Queue: queue, Body: []byte(text)}} }
	put := func(key string, absent bool) error {
		_, err := e.Put(ctx, bucket, object.Put{
			Key: key, Body: strings.NewReader("x"), Size: 1, IfNoneMatch: absent, Versioning: object.Enabled,
			Notes: func(m object.Meta) []object.Note { return says("a", fmt.Sprint("put ", m.Key, m.VersionID != "")) },
		})
		return err
	}
	if err := put("k", false); err != nil {
		t.Fatal(err)
	}
	if err := put("k", true); !errors.Is(err, object.ErrPrecondition) {
		t.Fatal(err)
	}
	removed := func(d object.Deleted, m *object.Meta) []object.Note {
		return says("a", fmt.Sprint("delete ", m.Key, d.Marker, m.VersionID == d.VersionID))
	}
	if _, err := e.Delete(ctx, bucket, object.Delete{Key: "none", Notes: removed}); err != nil { // nothing was changed
		t.Fatal(err)
	}
	if _, err := e.Change(ctx, bucket, "k", "", func(m object.Meta, a *object.Attributes) error {
		a.Notes = says("a\x00", "change "+m.Key)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if _, err := e.Delete(ctx, bucket, object.Delete{Key: "k", Versioning: object.Enabled, Notes: removed}); err != nil {
		t.Fatal(err)
	}
	read := func(queue string, limit int) (texts []string, ids []uint64) {
		t.Helper()
		list, err := e.Notes(ctx, queue, limit)
		if err != nil {
			t.Fatal(err)
		}
		for _, n := range list {
			texts, ids = append(texts, string(n.Body)), append(ids, n.ID)
		}
		return texts, ids
	}
	queues := func(want ...string) {
		t.Helper()
		if got, err := e.NoteQueues(ctx); err != nil || !slices.Equal(got, want) {
			t.Fatalf("queues %q, want %q: %v", got, want, err)
		}
	}
	queues("a", "a\x00")
	count := func(queue string, want int) {
		t.Helper()
		if got, err := e.NoteCount(ctx, queue); err != nil || got != want {
			t.Fatalf("queue %q holds %d, want %d: %v", queue, got, want, err)
		}
	}
	count("a", 2)
	count("none", 0)
	texts, ids := read("a", 10)
	if want := []string{"put ktrue", "delete ktrue true"}; !slices.Equal(texts, want) {
		t.Errorf("%q, want %q", texts, want)
	}
	if one, _ := read("a", 1); len(one) != 1 || one[0] != texts[0] {
		t.Errorf("the first: %q", one)
	}
	if other, _ := read("a\x00", 10); len(other) != 1 || other[0] != "change k" {
		t.Errorf("%q", other)
	}
	for range 2 {
		if err := e.DropNotes(ctx, "a", ids...); err != nil {
			t.Fatal(err)
		}
	}
	count("a", 0)
	count("a\x00", 1)
	queues("a\x00")
}
