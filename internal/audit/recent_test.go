package audit

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"
)

func TestRecent(t *testing.T) {
	at := time.Date(2026, 11, 24, 0, 0, 0, 0, time.UTC)
	event := func(i int, account string) *Event {
		return &Event{Management: true, EventID: fmt.Sprint(i), Recipient: account, Region: "r", Time: at.Add(time.Duration(i) * time.Second)}
	}
	path := filepath.Join(t.TempDir(), "audit.json")
	f, err := OpenFile(path, 1<<20, 1)
	if err != nil {
		t.Fatal(err)
	}
	w := NewWriter(f)
	live := NewRecent(5)
	for i := range 12 {
		account := "a"
		if i%2 == 1 {
			account = "b"
		}
		Both(w, live).Record(event(i, account))
	}
	Both(w, live).Record(&Event{EventID: "data", Recipient: "a", Region: "r"})
	Both(w, live).Record(&Event{EventID: "nobody", Management: true, Region: "r"})
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	f.Write([]byte(`{"eventID":"half`))
	f.Close()
	again := NewRecent(5)
	if err := again.Load(path); err != nil {
		t.Fatal(err)
	}
	if err := again.Load(filepath.Join(filepath.Dir(path), "none")); err != nil {
		t.Error(err)
	}
	for name, r := range map[string]*Recent{"live": live, "loaded": again} {
		all := func(q Query) (out string) {
			for {
				found, next := r.Find(q)
				for _, e := range found {
					out += e.EventID + " "
				}
				if next == 0 {
					return out
				}
				out += "| "
				q.Before = next
			}
		}
		for want, q := range map[string]Query{
			"10 8 ":       {Account: "a", Region: "r", Max: 10},
			"11 | 9 | 7 ": {Account: "b", Region: "r", Max: 1},
			"":            {Account: "b", Region: "other", Max: 10},
			"9 ":          {Account: "b", Region: "r", Max: 10, Start: at.Add(8 * time.Second), End: at.Add(10 * time.Second)},
			"7 ":          {Account: "b", Region: "r", Max: 10, Match: func(e *Event) bool { return e.EventID == "7" }},
		} {
			if got := all(q); got != want {
				t.Errorf("%s: %q, want %q", name, got, want)
			}
		}
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
}
