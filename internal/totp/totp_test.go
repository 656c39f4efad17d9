package totp

import (
	"testing"
	"time"
)

// Appendix B of RFC 6238, the last six of its eight digits.
func TestVectors(t *testing.T) {
	seed := []byte("12345678901234567890")
	for at, want := range map[int64]string{59: "287082", 1111111109: "081804", 1111111111: "050471", 1234567890: "005924", 2000000000: "279037", 20000000000: "353130"} {
		if got := Code(seed, Step(time.Unix(at, 0))); got != want {
			t.Errorf("%d: %s, want %s", at, got, want)
		}
	}
}

func TestFind(t *testing.T) {
	seed := []byte("12345678901234567890")
	for _, c := range []struct {
		at    int64
		reach int64
		codes []string
		step  int64
		ok    bool
	}{
		{100, 1, []string{Code(seed, 101)}, 101, true},
		{100, 1, []string{Code(seed, 102)}, 0, false},
		{100, 5, []string{Code(seed, 97), Code(seed, 98)}, 97, true},
		{100, 5, []string{Code(seed, 98), Code(seed, 97)}, 0, false},
		{100, 5, []string{""}, 0, false},
		{100, 5, nil, 0, false},
	} {
		if step, ok := Find(seed, c.at, c.reach, c.codes...); ok != c.ok || ok && step != c.step {
			t.Errorf("%+v: %d %v", c, step, ok)
		}
	}
}
