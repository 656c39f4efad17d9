package callers

import (
	"net/netip"
	"testing"
	"time"
)

func TestEachCallerHasItsOwnShare(t *testing.T) {
	now := time.Unix(0, 0)
	l := New(10, 20, func() time.Time { return now })
	busy, quiet := netip.MustParseAddr("10.0.0.5"), netip.MustParseAddr("10.0.0.6")
	n := 0
	for l.Allow(busy) {
		n++
	}
	if n != 20 {
		t.Errorf("%d requests at once, want the burst of 20", n)
	}
	if !l.Allow(quiet) {
		t.Error("a quiet caller is refused")
	}
	now = now.Add(time.Second)
	for n = 0; l.Allow(busy); n++ {
	}
	if n != 10 {
		t.Errorf("%d requests after a second, want 10", n)
	}
}

func TestMemoryIsBounded(t *testing.T) {
	now := time.Unix(0, 0)
	l := New(1, 1, func() time.Time { return now })
	a := netip.MustParseAddr("10.0.0.0")
	for range 3 * maxKnown {
		l.Allow(a)
		a = a.Next()
		now = now.Add(time.Second)
	}
	if n := len(l.buckets); n > maxKnown+1 {
		t.Errorf("%d callers are remembered", n)
	}
}
