package password

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
)

var cheap = Cost{MemoryKiB: 8, Passes: 1, Threads: 1}

func TestHash(t *testing.T) {
	h, ctx := New(cheap), t.Context()
	a, err := h.Hash(ctx, "secret")
	if err != nil || !strings.HasPrefix(a, "$argon2id$v=19$m=8,t=1,p=1$") {
		t.Fatalf("%s %v", a, err)
	}
	if b, _ := h.Hash(ctx, "secret"); a == b {
		t.Error("no salt")
	}
	for _, c := range []struct {
		hash, password string
		want, bad      bool
	}{
		{a, "secret", true, false},
		{a, "Secret", false, false},
		{a, "", false, false},
		{"", "secret", false, false},
		{"", "", false, false},
		{strings.Replace(a, "argon2id", "argon2i", 1), "secret", false, true},
		{strings.Replace(a, "v=19", "v=16", 1), "secret", false, true},
		{a[:strings.LastIndex(a, "$")+1], "secret", false, true},
		{"$argon2id$", "secret", false, true},
	} {
		if got, err := h.Check(ctx, c.hash, c.password); got != c.want || (err != nil) != c.bad {
			t.Errorf("%q %q: %v %v", c.hash, c.password, got, err)
		}
	}
	// The cost is the hash's own: it may become another for new ones.
	if ok, err := New(Cost{16, 2, 1}).Check(ctx, a, "secret"); !ok || err != nil {
		t.Errorf("%v %v", ok, err)
	}
}

func TestBusy(t *testing.T) {
	h := New(cheap)
	for range atOnce {
		h.running <- struct{}{}
	}
	ctx, cancel := context.WithCancel(t.Context())
	var all sync.WaitGroup
	for range cap(h.queue) {
		h.queue <- struct{}{}
	}
	if _, err := h.Hash(ctx, "x"); !errors.Is(err, ErrBusy) {
		t.Errorf("%v", err)
	}
	<-h.queue
	all.Go(func() {
		if _, err := h.Check(ctx, "", "x"); !errors.Is(err, context.Canceled) {
			t.Errorf("%v", err)
		}
	})
	cancel()
	all.Wait()
	if len(h.queue) != cap(h.queue)-1 {
		t.Error("who gave up still stands in the queue")
	}
}

func TestViolations(t *testing.T) {
	for password, bad := range map[string]bool{
		"Abcdefg1": false, "Abcdef1": true, "abcdefgh": true, "abcdefg1": true, "abcdefg1!": false, "ABCDEFG1!": false, "Accountname-1": true,
	} {
		if got := Violations(nil, password, "accountname-1"); (got != nil) != bad {
			t.Errorf("%s: %v", password, got)
		}
	}
}

func BenchmarkCheck(b *testing.B) {
	h := New(Standard)
	hash, _ := h.Hash(b.Context(), "secret")
	for b.Loop() {
		_, _ = h.Check(b.Context(), hash, "secret")
	}
}
