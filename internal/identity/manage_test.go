package identity

import (
	"context"
	"testing"
	"time"
)

func TestImpersonation(t *testing.T) {
	i, ctx := newIdentity(t, Config{}, Hooks{}), context.Background()
	a, _, err := i.CreateAccount(ctx, NewAccount{Name: "acme", NoKey: true, Email: "root@acme.example"})
	if err != nil {
		t.Fatal(err)
	}
	bob, _, err := i.CreateUser(ctx, NewUser{Account: a.ID, Name: "bob"})
	if err != nil {
		t.Fatal(err)
	}
	for range KeysOf(i.deps.Store.Snapshot(), a.ID, "") {
		t.Error("root has a key")
	}
	c, who, err := i.Impersonate("acme", "bob", "arn:admin", time.Hour)
	if err != nil || who.UserID != bob.ID || who.Session.ImpersonatedBy != "arn:admin" {
		t.Fatalf("%+v, %v", who, err)
	}
	if p, err := i.Lookup(c.AccessKeyID, c.Token, time.Now()); err != nil || p.Caller.UserName != "bob" {
		t.Errorf("%+v, %v", p, err)
	}
	if _, who, err := i.Impersonate(a.ID, "", "arn:admin", time.Hour); err != nil || !who.Root() {
		t.Errorf("root: %+v, %v", who, err)
	}
	for name, f := range map[string]func() error{
		"no account": func() error { _, _, err := i.Impersonate("nobody", "", "x", time.Hour); return err },
		"no user":    func() error { _, _, err := i.Impersonate("acme", "eve", "x", time.Hour); return err },
		"for ever":   func() error { _, _, err := i.Impersonate("acme", "bob", "x", 13*time.Hour); return err },
		"suspended": func() error {
			if err := i.SuspendAccount(ctx, "acme", true); err != nil {
				t.Fatal(err)
			}
			_, _, err := i.Impersonate("acme", "bob", "x", time.Hour)
			return err
		},
	} {
		if f() == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestEmails(t *testing.T) {
	for address, good := range map[string]bool{
		"a@example.com": true, "a+b@example.com": true, "": false, "a": false, "A <a@example.com>": false, "a@example.com\r\nBcc: b@example.com": false, "a@b, c@d": false,
	} {
		if (CheckEmail(address) == nil) != good {
			t.Errorf("%q", address)
		}
	}
}
