package durable

import (
	"errors"
	"path/filepath"
	"testing"
	"time"
)

// TestLock: one holder at a time; one that is about to let go is waited for.
func TestLock(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	first, err := Lock(path, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Lock(path, 0); !errors.Is(err, ErrLocked) {
		t.Fatalf("a second holder: %v", err)
	}
	time.AfterFunc(20*time.Millisecond, func() { first.Close() })
	second, err := Lock(path, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	if err := second.Close(); err != nil {
		t.Fatal(err)
	}
}
