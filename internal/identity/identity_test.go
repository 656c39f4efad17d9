package identity

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"karri.dev/internal/aws/awserr"
	"karri.dev/internal/aws/call"
	"karri.dev/internal/resource"
	"karri.dev/internal/seal"
	"karri.dev/internal/store"
)

func newIdentity(t testing.TB, cfg Config, hooks Hooks) *Identity {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	s := store.OpenMemory(log)
	t.Cleanup(func() { s.Close() })
	sealer, err := seal.New(bytes.Repeat([]byte{7}, seal.KeySize))
	if err != nil {
		t.Fatal(err)
	}
	return New(cfg, Deps{Store: s, Sealer: sealer, Log: log, Hooks: hooks})
}

func TestBootstrap(t *testing.T) {
	i, ctx := newIdentity(t, Config{}, Hooks{}), context.Background()
	a, key, err := i.Bootstrap(ctx, Key{})
	if err != nil || a.Name != "karri" || !a.CloudAdmin || len(a.ID) != 12 || len(a.CanonicalID) != 64 {
		t.Fatalf("%+v, %v", a, err)
	}
	again, same, err := i.Bootstrap(ctx, Key{})
	if err != nil || again.ID != a.ID || same != key {
		t.Errorf("second time: %+v, %v, %v", again, same, err)
	}
	p := find(i, key.ID)
	want := call.Caller{AccountID: a.ID, UserID: a.ID, ARN: "arn:aws:iam::" + a.ID + ":root", AccessKeyID: key.ID, CanonicalID: a.CanonicalID, CloudAdmin: true}
	if p == nil || p.Secret != key.Secret {
		t.Fatalf("lookup: %+v", p)
	}
	if diff := cmp.Diff(want, p.Caller); diff != "" {
		t.Error(diff)
	}
	rec := *store.AccessKeys.Get(i.deps.Store.Snapshot(), key.ID)
	if bytes.Contains(rec.Sealed, []byte(key.Secret)) {
		t.Error("the secret is stored in clear")
	}

	// Locked out: the next start lets the administrator in again.
	rec.Active = false
	put(t, i, func(tx *store.Tx) error { return store.AccessKeys.Put(tx, &rec) })
	if find(i, key.ID) != nil {
		t.Error("an inactive key works")
	}
	if _, same, err = i.Bootstrap(ctx, Key{}); err != nil || same != key || find(i, key.ID) == nil {
		t.Errorf("inactive: %v, %v", same, err)
	}
	put(t, i, func(tx *store.Tx) error { store.AccessKeys.Delete(tx, key.ID); return nil })
	if find(i, key.ID) != nil {
		t.Error("a deleted key works")
	}
	if _, other, err := i.Bootstrap(ctx, Key{}); err != nil || other == key || find(i, other.ID) == nil {
		t.Errorf("no key: %v, %v", other, err)
	}
	if err := i.DeleteAccount(ctx, "karri"); awserr.Code(err) != "DeleteConflict" {
		t.Errorf("delete the administrator: %v", err)
	}
}

func put(t testing.TB, i *Identity, fn func(tx *store.Tx) error) {
	t.Helper()
	if err := i.deps.Store.Update(context.Background(), fn); err != nil {
		t.Fatal(err)
	}
}

func TestAccountLife(t *testing.T) {
	var steps []string
	var fail error
	step := func(name string) func(*store.Tx, resource.Account) error {
		return func(tx *store.Tx, a resource.Account) error {
			steps = append(steps, name+" "+a.Name)
			return fail
		}
	}
	var i *Identity
	var key Key
	i = newIdentity(t, Config{}, Hooks{
		Create: []func(*store.Tx, resource.Account) error{step("create")},
		Delete: []func(*store.Tx, resource.Account) error{step("delete")},
		Drain: []func(context.Context, resource.Account) error{func(_ context.Context, a resource.Account) error {
			steps = append(steps, fmt.Sprint("drain ", a.Name, ", key works: ", find(i, key.ID) != nil))
			return fail
		}},
	})
	ctx := context.Background()
	a, key, err := i.CreateAccount(ctx, NewAccount{Name: "acme", Key: Key{"AKIAACMEACMEACMEACME", "a-secret-of-acme-0123"}})
	if err != nil || key.ID != "AKIAACMEACMEACMEACME" || find(i, key.ID) == nil {
		t.Fatalf("%+v, %v", a, err)
	}
	if _, user, err := i.CreateUser(ctx, NewUser{Account: a.ID, Name: "bob", Key: &Key{}}); err != nil || find(i, user.ID).Caller.ARN != "arn:aws:iam::"+a.ID+":user/bob" {
		t.Fatal(err)
	}
	for name, n := range map[string]NewAccount{
		"same name":     {Name: "acme"},
		"same key":      {Name: "other", Key: key},
		"bad name":      {Name: "Acme"},
		"name of an id": {Name: "123456789012"},
		"short key":     {Name: "other", Key: Key{"AKIA", "a-secret-of-acme-0123"}},
		"half a key":    {Name: "other", Key: Key{ID: "AKIAOTHEROTHEROTHER1"}},
		"empty secret":  {Name: "other", Key: Key{"AKIAOTHEROTHEROTHER1", " "}},
	} {
		if _, _, err := i.CreateAccount(ctx, n); awserr.Code(err) == "" {
			t.Errorf("%s: %v", name, err)
		}
	}
	if n := store.Accounts.Len(i.deps.Store.Snapshot()); n != 1 {
		t.Errorf("%d accounts", n)
	}
	fail = errors.New("no room")
	if _, _, err := i.CreateAccount(ctx, NewAccount{Name: "half"}); !errors.Is(err, fail) {
		t.Error(err)
	}
	if store.AccountsByName.One(i.deps.Store.Snapshot(), "half") != nil {
		t.Error("an account without its VPC was left")
	}
	steps = nil
	if err := i.DeleteAccount(ctx, "acme"); !errors.Is(err, fail) {
		t.Error(err)
	}
	if _, _, err := i.CreateUser(ctx, NewUser{Account: "acme", Name: "late"}); awserr.Code(err) != "NoSuchEntity" {
		t.Errorf("user of an account that closes: %v", err)
	}
	fail = nil
	if err := i.DeleteAccount(ctx, "acme"); err != nil {
		t.Error(err)
	}
	want := []string{"drain acme, key works: false", "drain acme, key works: false", "delete acme"}
	if diff := cmp.Diff(want, steps); diff != "" {
		t.Error(diff)
	}
	snap := i.deps.Store.Snapshot()
	if store.Accounts.Len(snap)+store.Users.Len(snap)+store.AccessKeys.Len(snap) != 0 {
		t.Error("something was left")
	}
	if err := i.DeleteAccount(ctx, "acme"); awserr.Code(err) != "NoSuchEntity" {
		t.Error(err)
	}
}

func TestSealedElsewhere(t *testing.T) {
	i, ctx := newIdentity(t, Config{}, Hooks{}), context.Background()
	_, key, err := i.Bootstrap(ctx, Key{})
	if err != nil {
		t.Fatal(err)
	}
	// A sealed secret moved to another record must not open there.
	moved := *store.AccessKeys.Get(i.deps.Store.Snapshot(), key.ID)
	moved.ID = "AKIAMOVEDMOVEDMOVED1"
	put(t, i, func(tx *store.Tx) error { return store.AccessKeys.Put(tx, &moved) })
	if find(i, moved.ID) != nil {
		t.Error("a moved secret opens")
	}
}

func TestLookupFollowsTheStore(t *testing.T) {
	i, ctx := newIdentity(t, Config{}, Hooks{}), context.Background()
	a, _, err := i.Bootstrap(ctx, Key{})
	if err != nil {
		t.Fatal(err)
	}
	_, key, err := i.CreateUser(ctx, NewUser{Account: a.ID, Name: "eve", Key: &Key{}})
	if err != nil {
		t.Fatal(err)
	}
	arn := func() string {
		if p := find(i, key.ID); p != nil {
			return strings.TrimPrefix(p.Caller.ARN, "arn:aws:iam::"+a.ID)
		}
		return ""
	}
	if got := arn(); got != ":user/eve" {
		t.Error(got)
	}
	if first := find(i, key.ID); first != find(i, key.ID) {
		t.Error("the opened secret is not kept")
	}
	put(t, i, func(tx *store.Tx) error { return i.ChangeUser(tx, a.ID, "EVE", "Adam", "/garden/") })
	if got := arn(); got != ":user/garden/Adam" {
		t.Error(got)
	}
	put(t, i, func(tx *store.Tx) error { return i.ChangeUser(tx, a.ID, "adam", "ADAM", "") }) // the same name but for case
	if got := arn(); got != ":user/garden/ADAM" {
		t.Error(got)
	}
	put(t, i, func(tx *store.Tx) error {
		store.Users.Delete(tx, store.UserKey(a.ID, "adam"))
		return nil
	})
	if got := arn(); got != "" {
		t.Errorf("the key of a user that is gone is %q", got)
	}
}

func TestUsageIsKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		file := filepath.Join(t.TempDir(), "usage.json")
		i := newIdentity(t, Config{UsageFile: file}, Hooks{})
		account, key, err := i.Bootstrap(context.Background(), Key{})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan error)
		go func() { done <- i.Run(ctx) }()
		at := time.Now()
		i.Used(&call.Caller{AccessKeyID: key.ID, UserID: account.ID}, "ec2", "us-east-1", at)
		i.Used(&call.Caller{AccessKeyID: "AKIAGONE", UserID: "AIDAGONE"}, "ec2", "us-east-1", at)
		time.Sleep(61 * time.Second)

		next := New(Config{UsageFile: file}, i.deps)
		if err := next.loadUsage(); err != nil {
			t.Fatal(err)
		}
		use, ok := next.LastUsed(key.ID)
		if diff := cmp.Diff(Use{at.UTC().Truncate(time.Second), "ec2", "us-east-1"}, use); diff != "" || !ok {
			t.Error(diff)
		}
		if _, ok := next.LastUsedBy(account.ID, "ec2"); !ok {
			t.Error("root's use was not kept")
		}
		if _, ok := next.LastUsedBy("AIDAGONE", "ec2"); ok {
			t.Error("the use of a user who is gone was kept")
		}
		if _, ok := next.LastUsed("AKIAGONE"); ok {
			t.Error("the use of a key that is gone was kept")
		}
		i.Used(&call.Caller{AccessKeyID: key.ID}, "s3", "us-east-1", at.Add(time.Hour))
		cancel()
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		last := New(Config{UsageFile: file}, i.deps)
		if err := last.loadUsage(); err != nil {
			t.Fatal(err)
		}
		if use, _ := last.LastUsed(key.ID); use.Service != "s3" {
			t.Errorf("not saved at the end: %+v", use)
		}
		i.deps.Store.Close()
	})
}

func TestShapes(t *testing.T) {
	for name, ok := range map[string]bool{
		"a": true, "A+=,.@-_1": true, "": false, "a b": false, "a/b": false, "é": false,
		strings.Repeat("a", 64): true, strings.Repeat("a", 65): false, "a\x00": false, "a\n": false,
	} {
		if (CheckUserName(name) == nil) != ok {
			t.Errorf("user %q", name)
		}
	}
	for path, ok := range map[string]bool{
		"/": true, "/a/": true, "/a/b/": true, "": false, "//": false, "a": false, "/a": false, "a/": false, "/a b/": false,
		"/" + strings.Repeat("a", 510) + "/": true, "/" + strings.Repeat("a", 511) + "/": false, "/\n/": false,
	} {
		if (CheckPath(path) == nil) != ok {
			t.Errorf("path %q", path)
		}
	}
}

func BenchmarkLookup(b *testing.B) {
	i := newIdentity(b, Config{}, Hooks{})
	_, key, err := i.Bootstrap(context.Background(), Key{})
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if find(i, key.ID) == nil {
			b.Fatal("no key")
		}
	}
}

// find gives the principal of a long-lived key, nil if it does not count.
func find(i *Identity, key string) *Principal {
	p, err := i.Lookup(key, "", time.Now())
	if err != nil {
		return nil
	}
	return p
}
