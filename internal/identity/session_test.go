package identity

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"karri.dev/internal/aws/call"
	"karri.dev/internal/resource"
	"karri.dev/internal/session"
	"karri.dev/internal/store"
)

func TestUserSessions(t *testing.T) {
	i, ctx := newIdentity(t, Config{}, Hooks{}), context.Background()
	a, rootKey, err := i.CreateAccount(ctx, NewAccount{Name: "acme"})
	if err != nil {
		t.Fatal(err)
	}
	bob, _, err := i.CreateUser(ctx, NewUser{Account: a.ID, Name: "bob"})
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	newSession := func(kind call.SessionKind, principal, name string) session.Credentials {
		t.Helper()
		c, err := i.NewSession(&call.Session{Kind: kind, AccountID: a.ID, PrincipalID: principal, Name: name, IssuedAt: now, ExpiresAt: now.Add(time.Hour)})
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	want := func(c session.Credentials, arn, id string, fails error) {
		t.Helper()
		for range 2 { // the second time from the cache
			p, err := i.Lookup(c.AccessKeyID, c.Token, now)
			if !errors.Is(err, fails) {
				t.Fatalf("%v, want %v", err, fails)
			}
			if fails == nil && cmp.Diff([]string{arn, id, c.Secret, c.AccessKeyID}, []string{p.Caller.ARN, p.Caller.UserID, p.Secret, p.Caller.AccessKeyID}) != "" {
				t.Fatalf("%+v", p)
			}
		}
	}
	root, user := newSession(call.UserSession, a.ID, ""), newSession(call.UserSession, bob.ID, "")
	fed := newSession(call.FederatedSession, bob.ID, "carol")
	want(root, RootARN(a.ID), a.ID, nil)
	want(user, "arn:aws:iam::"+a.ID+":user/bob", bob.ID, nil)
	want(fed, "arn:aws:sts::"+a.ID+":federated-user/carol", a.ID+":carol", nil)
	if p, err := i.Lookup(fed.AccessKeyID, fed.Token, now); err != nil || p.Caller.Root() || p.Caller.UserName != "" {
		t.Errorf("a federated user is taken for root: %+v, %v", p, err)
	}

	// Keys and tokens belong together, and are worth nothing alone.
	for name, pair := range map[string][2]string{
		"other token": {root.AccessKeyID, user.Token}, "token of another, cached": {user.AccessKeyID, fed.Token},
		"long-lived key with a token": {rootKey.ID, user.Token}, "garbage": {user.AccessKeyID, "x"},
	} {
		if _, err := i.Lookup(pair[0], pair[1], now); !errors.Is(err, ErrBadToken) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := i.Lookup(user.AccessKeyID, "", now); !errors.Is(err, ErrNoKey) {
		t.Errorf("no token: %v", err)
	}
	if _, err := i.Lookup(user.AccessKeyID, user.Token, now.Add(time.Hour)); !errors.Is(err, session.ErrExpired) {
		t.Errorf("expired: %v", err)
	}
	// A session goes with its user: renamed, it follows; deleted and made anew, it is over.
	put(t, i, func(tx *store.Tx) error { return i.ChangeUser(tx, a.ID, "bob", "rob", "/x/") })
	want(user, "arn:aws:iam::"+a.ID+":user/x/rob", bob.ID, nil)
	put(t, i, func(tx *store.Tx) error { return RemoveUser(tx, a.ID, "rob") })
	want(user, "", "", ErrNoKey)
	if _, _, err := i.CreateUser(ctx, NewUser{Account: a.ID, Name: "rob", Path: "/x/"}); err != nil {
		t.Fatal(err)
	}
	want(user, "", "", ErrNoKey)
	want(fed, "", "", ErrNoKey)

	// A suspended account's sessions and keys wait; a closed one's are over.
	change := func(f func(*resource.Account)) {
		put(t, i, func(tx *store.Tx) error {
			c := *store.Accounts.Get(tx, a.ID)
			f(&c)
			return store.Accounts.Put(tx, &c)
		})
	}
	change(func(c *resource.Account) { c.Suspended = true })
	want(root, "", "", ErrNoKey)
	if find(i, rootKey.ID) != nil {
		t.Error("the key of a suspended account works")
	}
	change(func(c *resource.Account) { c.Suspended = false })
	want(root, RootARN(a.ID), a.ID, nil)
	if err := i.DeleteAccount(ctx, "acme"); err != nil {
		t.Fatal(err)
	}
	want(root, "", "", ErrNoKey)
}
