package store

import (
	"context"
	"log/slog"
	"testing"

	"karri.dev/internal/resource"
)

func TestSmoke(t *testing.T) {
	s := OpenMemory(slog.New(slog.DiscardHandler))
	defer s.Close()
	f := s.Feed(Settings)
	if ch, _, err := f.Next(t.Context()); err != nil || ch != nil {
		t.Fatal(ch, err)
	}
	if err := s.Update(context.Background(), func(tx *Tx) error {
		return Settings.Put(tx, &resource.Setting{Name: "a", Value: "1"})
	}); err != nil {
		t.Fatal(err)
	}
	if got := Settings.Get(s.Snapshot(), "a"); got == nil || got.Value != "1" {
		t.Fatal(got)
	}
	ch, _, err := f.Next(t.Context())
	if err != nil || len(ch) != 1 {
		t.Fatal(ch, err)
	}
	if err := s.Sync(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Log(s.Snapshot().Revision)
}
