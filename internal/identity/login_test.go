package identity

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"karri.dev/internal/password"
	"karri.dev/internal/resource"
	"karri.dev/internal/seal"
	"karri.dev/internal/store"
)

// people is an Identity with an account whose user bob has a password, and whose user keyless has none.
func people(t *testing.T, s *store.Store, cfg Config, cost password.Cost, now func() time.Time) *Identity {
	t.Helper()
	sealer, err := seal.New(bytes.Repeat([]byte{7}, seal.KeySize))
	if err != nil {
		t.Fatal(err)
	}
	i := New(cfg, Deps{Store: s, Sealer: sealer, Passwords: password.New(cost), Now: now})
	if _, _, err := i.Bootstrap(t.Context(), Key{}); err != nil {
		t.Fatal(err)
	}
	return i
}

func withBob(t *testing.T, i *Identity) {
	t.Helper()
	for _, name := range []string{"bob", "keyless"} {
		if _, _, err := i.CreateUser(t.Context(), NewUser{Account: AdminAccount, Name: name}); err != nil {
			t.Fatal(err)
		}
	}
	a, err := i.Account(AdminAccount)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := i.CreateLoginProfile(t.Context(), a.ID, "bob", "Correct-Horse-1", false); err != nil {
		t.Fatal(err)
	}
}

// What somebody has tried is known to the next process: a restart gives nobody new guesses.
func TestTriesSurviveARestart(t *testing.T) {
	s := store.OpenMemory(slog.New(slog.DiscardHandler))
	t.Cleanup(func() { s.Close() })
	now := time.Date(2026, 11, 25, 0, 0, 0, 0, time.UTC)
	clock := func() time.Time { return now }
	cfg := Config{TriesFile: filepath.Join(t.TempDir(), "tries.json")}
	cheap := password.Cost{MemoryKiB: 8, Passes: 1, Threads: 1}
	// life runs a process until the end of fn.
	life := func(fn func(*Identity)) {
		i := people(t, s, cfg, cheap, clock)
		ctx, cancel := context.WithCancel(t.Context())
		if err := i.tries.load(cfg.TriesFile); err != nil { // as Run does first
			t.Fatal(err)
		}
		fn(i)
		cancel()
		if err := i.Run(ctx); err != nil {
			t.Fatal(err)
		}
	}
	try := func(i *Identity, user, text, from string) error {
		_, _, _, err := i.CheckLogin(t.Context(), Login{Account: AdminAccount, User: user, Password: text, From: netip.MustParseAddr(from)})
		return err
	}
	life(func(i *Identity) {
		withBob(t, i)
		for range userTries.burst - 1 {
			if err := try(i, "bob", "guess", "192.0.2.1"); !errors.Is(err, ErrLogin) {
				t.Fatal(err)
			}
		}
	})
	life(func(i *Identity) {
		if err := try(i, "bob", "guess", "192.0.2.2"); !errors.Is(err, ErrLogin) {
			t.Fatal(err)
		}
		if err := try(i, "bob", "Correct-Horse-1", "192.0.2.3"); !errors.Is(err, ErrTooOften) {
			t.Errorf("one more after the restart: %v", err)
		}
	})
	life(func(i *Identity) {
		if err := try(i, "bob", "Correct-Horse-1", "192.0.2.3"); !errors.Is(err, ErrTooOften) {
			t.Errorf("after the second: %v", err)
		}
		now = now.Add(userTries.every)
		if err := try(i, "bob", "Correct-Horse-1", "192.0.2.3"); err != nil {
			t.Errorf("a while later: %v", err)
		}
	})
	text, err := os.ReadFile(cfg.TriesFile)
	if err != nil || len(text) < 10 {
		t.Fatal(string(text), err)
	}
	for _, typed := range []string{"bob", "guess", "Correct-Horse-1", "192.0.2"} {
		if strings.Contains(string(text), typed) {
			t.Errorf("the file has what people typed: %s", text)
		}
	}
}

// A process that is killed gives nobody new guesses either, not even those of its last minute.
func TestTriesSurviveAKill(t *testing.T) {
	file := filepath.Join(t.TempDir(), "tries.json")
	now := time.Date(2026, 11, 25, 0, 0, 0, 0, time.UTC)
	var first tries
	if err := first.load(file); err != nil {
		t.Fatal(err)
	}
	for i := range userTries.burst {
		if i == 4 {
			if err := first.save(file, now); err != nil {
				t.Fatal(err)
			}
		}
		if !first.take("bob", userTries, now) {
			t.Fatal("too early")
		}
	}
	f, err := os.OpenFile(file+".journal", os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteString(`{"key":"bo`); err != nil { // the kill came in the middle of a line
		t.Fatal(err)
	}
	f.Close()
	var second tries
	if err := second.load(file); err != nil {
		t.Fatal(err)
	}
	if second.take("bob", userTries, now) {
		t.Error("one more after the kill")
	}
	if !second.take("ann", userTries, now) {
		t.Error("somebody else pays for it")
	}
	var third tries
	if err := third.load(file); err != nil {
		t.Fatal(err)
	}
	if b := third.old["ann"]; b == nil || b.Left != float64(userTries.burst-1) {
		t.Errorf("what came after half a line: %v", b)
	}
}

// Whether a name is there costs the same work to find out: each refusal computes one hash. The memory that
// argon2id takes shows that it ran.
func TestEveryRefusalHashesOnce(t *testing.T) {
	s := store.OpenMemory(slog.New(slog.DiscardHandler))
	t.Cleanup(func() { s.Close() })
	const kib = 8 << 10
	i := people(t, s, Config{}, password.Cost{MemoryKiB: kib, Passes: 1, Threads: 1}, time.Now)
	withBob(t, i)
	if _, _, err := i.CreateAccount(t.Context(), NewAccount{Name: "shut"}); err != nil {
		t.Fatal(err)
	}
	if err := i.SuspendAccount(t.Context(), "shut", true); err != nil {
		t.Fatal(err)
	}
	for _, l := range []Login{
		{Account: AdminAccount, User: "bob", Password: "wrong"},
		{Account: AdminAccount, User: "keyless", Password: "wrong"},
		{Account: AdminAccount, User: "nobody", Password: "wrong"},
		{Account: AdminAccount, Root: true, Password: "wrong"},
		{Account: AdminAccount, User: "bob", Root: true, Password: "Correct-Horse-1"},
		{Account: AdminAccount, Password: "wrong"},
		{Account: "nowhere", User: "bob", Password: "Correct-Horse-1"},
		{Account: "nowhere", Root: true, Password: "wrong"},
		{Account: "shut", User: "bob", Password: "wrong"},
		{Account: AdminAccount, User: "bob", Password: strings.Repeat("x", 5000)},
		{},
	} {
		l.From = netip.MustParseAddr("192.0.2.1")
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, _, _, err := i.CheckLogin(t.Context(), l)
		runtime.ReadMemStats(&after)
		if !errors.Is(err, ErrLogin) {
			t.Errorf("%+v: %v", l, err)
		}
		if took := (after.TotalAlloc - before.TotalAlloc) >> 10; took < kib || took >= 2*kib {
			t.Errorf("%q %q root %v: the refusal took %d KiB, one hash is %d", l.Account, l.User, l.Root, took, kib)
		}
	}
}

// Root logs in with a password of its own, which no user's is, and which ends with the account.
func TestRootPassword(t *testing.T) {
	s := store.OpenMemory(slog.New(slog.DiscardHandler))
	t.Cleanup(func() { s.Close() })
	i, ctx := people(t, s, Config{}, password.Cost{MemoryKiB: 8, Passes: 1, Threads: 1}, time.Now), t.Context()
	a, _, err := i.CreateAccount(ctx, NewAccount{Name: "chemistry", Email: "Chem-1@example.com"})
	if err != nil {
		t.Fatal(err)
	}
	login := func(l Login) (string, error) {
		l.Account, l.From = "chemistry", netip.MustParseAddr("192.0.2.1")
		_, who, _, err := i.CheckLogin(ctx, l)
		return who.ARN, err
	}
	if _, err := login(Login{Root: true}); !errors.Is(err, ErrLogin) {
		t.Errorf("without a password: %v", err)
	}
	for _, bad := range []string{"Short-1", "nothing but letters", "Chem-1@example.com", "Tabs\x00-and-1", strings.Repeat("Aa1", 50)} {
		if err := i.SetRootPassword(ctx, a.ID, bad); err == nil {
			t.Errorf("%q was taken", bad)
		}
	}
	// The account's policy is for its users.
	if err := s.Update(ctx, func(tx *store.Tx) error {
		return store.PasswordPolicies.Put(tx, &resource.PasswordPolicy{AccountID: a.ID, MinLength: 60, MaxAge: 1, HardExpiry: true})
	}); err != nil {
		t.Fatal(err)
	}
	if err := i.SetRootPassword(ctx, "chemistry", "Root-Horse-1"); err != nil {
		t.Fatal(err)
	}
	if arn, err := login(Login{Root: true, Password: "Root-Horse-1"}); err != nil || arn != RootARN(a.ID) {
		t.Errorf("%s %v", arn, err)
	}
	if _, err := login(Login{User: a.ID, Password: "Root-Horse-1"}); !errors.Is(err, ErrLogin) {
		t.Errorf("the account's id is a user's name: %v", err)
	}
	if err := i.SetRootPassword(ctx, "chemistry", ""); err != nil {
		t.Fatal(err)
	}
	if _, err := login(Login{Root: true, Password: "Root-Horse-1"}); !errors.Is(err, ErrLogin) {
		t.Errorf("after it was taken away: %v", err)
	}
	if err := i.SetRootPassword(ctx, "chemistry", "Root-Horse-2"); err != nil {
		t.Fatal(err)
	}
	if err := i.DeleteAccount(ctx, "chemistry"); err != nil {
		t.Fatal(err)
	}
	if store.LoginProfiles.Get(s.Snapshot(), a.ID) != nil {
		t.Error("the password outlives the account")
	}
	if err := i.SetRootPassword(ctx, "chemistry", "Root-Horse-2"); err == nil {
		t.Error("a password of an account that is gone")
	}
}
