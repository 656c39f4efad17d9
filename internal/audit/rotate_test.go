package audit

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestRotation(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.json")
	f, err := OpenFile(path, 40, 2)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 12 {
		if _, err := fmt.Fprintf(f, "event %02d\n", i); err != nil { // 9 bytes: four fit
			t.Fatal(err)
		}
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	read := func(name string) string {
		data, err := os.ReadFile(name)
		if err != nil {
			return err.Error()
		}
		return strings.ReplaceAll(string(data), "\n", ",")
	}
	for name, want := range map[string]string{
		path: "event 08,event 09,event 10,event 11,", path + ".1": "event 04,event 05,event 06,event 07,", path + ".2": "event 00,event 01,event 02,event 03,",
	} {
		if got := read(name); got != want {
			t.Errorf("%s: %q, want %q", filepath.Base(name), got, want)
		}
	}
	// The next process goes on where this one ended, and the oldest file goes.
	if f, err = OpenFile(path, 40, 2); err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	fmt.Fprint(f, "event 12\n")
	if got := read(path); got != "event 12," {
		t.Errorf("after a restart: %q", got)
	}
	if got := read(path + ".2"); !strings.HasPrefix(got, "event 04") {
		t.Errorf("oldest: %q", got)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v %v", info.Mode(), err)
	}
}

// No event is split over two files, however they fall.
func TestEventsStayWhole(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.json")
	f, err := OpenFile(path, 100_000, 9)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	w := NewWriter(f)
	for i := range 1000 {
		w.Record(&Event{Name: strings.Repeat("x", i)})
	}
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(path + "*")
	if err != nil || len(files) < 5 {
		t.Fatal(files, err)
	}
	for _, name := range files {
		data, err := os.ReadFile(name)
		if err != nil || len(data) == 0 || data[0] != '{' || !strings.HasSuffix(string(data), "}\n") {
			t.Errorf("%s has half an event: %v", filepath.Base(name), err)
		}
	}
}
