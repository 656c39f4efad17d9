package session

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"karri.dev/internal/aws/call"
	"karri.dev/internal/ids"
	"karri.dev/internal/seal"
)

var at = time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)

func newCodec(t testing.TB, key byte) *Codec {
	t.Helper()
	c, err := NewCodec(bytes.Repeat([]byte{key}, seal.KeySize), ids.New(nil))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func example() *call.Session {
	return &call.Session{
		Kind: call.RoleSession, AccountID: "123456789012", PrincipalID: "AROAEXAMPLE", Name: "me", IssuedAt: at, ExpiresAt: at.Add(time.Hour),
		Policies: []string{`{"Version":"2012-10-17"}`}, PolicyARNs: []string{"arn:aws:iam::aws:policy/ReadOnlyAccess"},
		Tags: map[string]string{"team": "blue"}, TransitiveTags: []string{"team"}, SourceIdentity: "alice", Chained: true,
	}
}

func TestTokens(t *testing.T) {
	c, s := newCodec(t, 1), example()
	cred, err := c.Make(s)
	if err != nil {
		t.Fatal(err)
	}
	if len(cred.AccessKeyID) != 20 || len(cred.Secret) != 40 || cred.ExpiresAt != s.ExpiresAt {
		t.Errorf("%+v", cred)
	}
	if account, ok := Account(cred.AccessKeyID); !ok || account != s.AccountID {
		t.Errorf("account of %s is %q", cred.AccessKeyID, account)
	}
	got, secret, err := c.Open(cred.AccessKeyID, cred.Token, at)
	if err != nil || secret != cred.Secret {
		t.Fatal(secret, err)
	}
	if diff := cmp.Diff(s, got); diff != "" {
		t.Error(diff)
	}
	if strings.Contains(cred.Token, cred.Secret) {
		t.Error("the secret is readable in the token")
	}
	if _, _, err := c.Open(cred.AccessKeyID, cred.Token, at.Add(time.Hour-time.Second)); err != nil {
		t.Error(err)
	}
	if _, _, err := c.Open(cred.AccessKeyID, cred.Token, at.Add(time.Hour)); !errors.Is(err, ErrExpired) {
		t.Error(err)
	}
}

// Nothing but the very token opens, with its very key.
func TestForgery(t *testing.T) {
	c := newCodec(t, 1)
	cred, err := c.Make(example())
	if err != nil {
		t.Fatal(err)
	}
	other, err := c.Make(example())
	if err != nil {
		t.Fatal(err)
	}
	bad := func(name, key, token string) {
		t.Helper()
		if _, secret, err := c.Open(key, token, at); !errors.Is(err, ErrInvalid) || secret != "" {
			t.Errorf("%s: %v", name, err)
		}
	}
	raw, err := base64.StdEncoding.DecodeString(cred.Token)
	if err != nil {
		t.Fatal(err)
	}
	for i := range raw {
		changed := bytes.Clone(raw)
		changed[i] ^= 1
		bad(fmt.Sprint("bit in byte ", i), cred.AccessKeyID, base64.StdEncoding.EncodeToString(changed))
	}
	for n := range len(raw) {
		bad(fmt.Sprint("cut at ", n), cred.AccessKeyID, base64.StdEncoding.EncodeToString(raw[:n]))
	}
	bad("another's key", other.AccessKeyID, cred.Token)
	bad("no key", "", cred.Token)
	bad("no token", cred.AccessKeyID, "")
	bad("space", cred.AccessKeyID, cred.Token+" ")
	bad("oversized", cred.AccessKeyID, strings.Repeat("A", 1<<20))
	if _, _, err := newCodec(t, 2).Open(cred.AccessKeyID, cred.Token, at); !errors.Is(err, ErrInvalid) {
		t.Errorf("another cloud's token: %v", err)
	}
	// A sealed value of another kind, with the same key, is no token.
	s, err := seal.New(bytes.Repeat([]byte{1}, seal.KeySize))
	if err != nil {
		t.Fatal(err)
	}
	bad("other context", cred.AccessKeyID, base64.StdEncoding.EncodeToString(append([]byte{version}, s.Seal(pack([]byte(`{}`)), "other")...)))
	// A token that unpacks without end is cut off.
	bomb := append([]byte{version}, s.Seal(pack(bytes.Repeat([]byte{' '}, 64<<20)), context)...)
	bad("bomb", cred.AccessKeyID, base64.StdEncoding.EncodeToString(bomb))
}

func TestPacked(t *testing.T) {
	s := &call.Session{AccountID: "123456789012"}
	if n, err := Packed(s); n != 0 || err != nil {
		t.Error(n, err)
	}
	if n, err := Packed(example()); n < 1 || n > 10 || err != nil {
		t.Error(n, err)
	}
	s.Tags = map[string]string{}
	random := ids.New(nil)
	for range 50 {
		s.Tags[random.Hex(64)] = random.Hex(128)
	}
	if _, err := Packed(s); !errors.Is(err, ErrTooLarge) {
		t.Error(err)
	}
	if _, err := newCodec(t, 1).Make(s); !errors.Is(err, ErrTooLarge) {
		t.Error(err)
	}
	// Nor has anything else in a session room without end.
	if _, err := newCodec(t, 1).Make(&call.Session{AccountID: "123456789012", Subject: ids.New(nil).Hex(12 << 10)}); !errors.Is(err, ErrTooLarge) {
		t.Error(err)
	}
	// The largest session that is allowed has a token that opens.
	s.Tags = map[string]string{}
	for len(s.Tags) < 50 {
		s.Tags[random.Hex(16)] = random.Hex(20)
		if _, err := Packed(s); err != nil {
			break
		}
	}
	s.ExpiresAt = at.Add(time.Hour)
	if cred, err := newCodec(t, 1).Make(s); err == nil {
		if _, _, err := newCodec(t, 1).Open(cred.AccessKeyID, cred.Token, at); err != nil {
			t.Error(err, len(cred.Token))
		}
	}
}

func TestAccount(t *testing.T) {
	for _, id := range []string{"", "ASIA", "AKIAIOSFODNN7EXAMPLE", "ASIAIOSFODNN7EXAMPL0", "ASIAAAAAAAAAAAAAAAAA", "ASIAIOSFODNN7EXAMPLEX"} {
		if a, ok := Account(id); ok && (id == "" || len(id) != 20 || id[:4] != KeyPrefix || len(a) != 12) {
			t.Errorf("%s: %s", id, a)
		}
	}
	if _, err := keyID("12", make([]byte, 8)); err == nil {
		t.Error("a key for no account")
	}
}

func FuzzOpen(f *testing.F) {
	c := newCodec(f, 1)
	cred, err := c.Make(example())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(cred.AccessKeyID, cred.Token)
	f.Add("", "AQ==")
	f.Fuzz(func(t *testing.T, key, token string) {
		if _, _, err := c.Open(key, token, at); err == nil && (key != cred.AccessKeyID || token != cred.Token) {
			t.Fatalf("%q opens with %q", token, key)
		}
	})
}

func BenchmarkOpen(b *testing.B) {
	c := newCodec(b, 1)
	cred, err := c.Make(example())
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if _, _, err := c.Open(cred.AccessKeyID, cred.Token, at); err != nil {
			b.Fatal(err)
		}
	}
}
