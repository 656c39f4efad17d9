package instancerole_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"testing"
	"time"

	"karri.dev/internal/authz"
	"karri.dev/internal/identity"
	"karri.dev/internal/instancerole"
	"karri.dev/internal/policy"
	"karri.dev/internal/resource"
	"karri.dev/internal/seal"
	"karri.dev/internal/store"
)

const trustEC2 = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"ec2.amazonaws.com"},"Action":"sts:AssumeRole"}]}`

type world struct {
	t       *testing.T
	store   *store.Store
	id      *identity.Identity
	maker   *instancerole.Maker
	key     *seal.Sealer
	account string
	now     time.Time
}

func newWorld(t *testing.T) *world {
	log := slog.New(slog.DiscardHandler)
	w := &world{t: t, store: store.OpenMemory(log), now: time.Now().UTC().Truncate(time.Second)}
	t.Cleanup(func() { w.store.Close() })
	sealer, err := seal.New(bytes.Repeat([]byte{1}, seal.KeySize))
	if err != nil {
		t.Fatal(err)
	}
	if w.key, err = instancerole.NewSealer(sealer.Derive("image links")); err != nil {
		t.Fatal(err)
	}
	clock := func() time.Time { return w.now }
	w.id = identity.New(identity.Config{}, identity.Deps{Store: w.store, Sealer: sealer, Log: log, Now: clock})
	a, _, err := w.id.CreateAccount(context.Background(), identity.NewAccount{Name: "acme"})
	if err != nil {
		t.Fatal(err)
	}
	w.account = a.ID
	w.maker = instancerole.New(instancerole.Deps{
		Store: w.store, Sessions: w.id, Roles: authz.New(authz.Deps{Store: w.store, Log: log}), Sealer: w.key, Now: clock, Log: log,
	})
	w.role(trustEC2)
	w.put(func(tx *store.Tx) error {
		return errors.Join(
			store.InstanceProfiles.Put(tx, &resource.InstanceProfile{AccountID: a.ID, Name: "web", ID: "AIPAWEB", Path: "/", RoleID: "AROAWEB"}),
			store.Instances.Put(tx, &resource.Instance{Owned: resource.Owned{AccountID: a.ID, Region: "us-east-1"}, ID: "i-1", State: resource.Running, ProfileID: "AIPAWEB"}),
			store.Instances.Put(tx, &resource.Instance{Owned: resource.Owned{AccountID: "999999999999", Region: "us-east-1"}, ID: "i-2", State: resource.Running, ProfileID: "AIPAWEB"}),
			store.Instances.Put(tx, &resource.Instance{Owned: resource.Owned{AccountID: a.ID, Region: "us-east-1"}, ID: "i-3", State: resource.Running}),
		)
	})
	return w
}

func (w *world) put(f func(tx *store.Tx) error) {
	w.t.Helper()
	if err := w.store.Update(context.Background(), f); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) role(trust string) {
	w.t.Helper()
	bound, missing, err := authz.Bind(w.store.Snapshot(), trust, policy.Trust)
	if err != nil || missing != "" {
		w.t.Fatal(missing, err)
	}
	w.put(func(tx *store.Tx) error {
		return store.Roles.Put(tx, &resource.IAMRole{AccountID: w.account, Name: "web", ID: "AROAWEB", Path: "/", Trust: bound})
	})
}

// run makes a pass and gives an instance's credentials.
func (w *world) run(id string) *resource.InstanceCredentials {
	w.t.Helper()
	if err := w.maker.Once(context.Background()); err != nil {
		w.t.Fatal(err)
	}
	return store.InstanceCredentials.Get(w.store.Snapshot(), id)
}

func TestCredentialsOfInstances(t *testing.T) {
	w := newWorld(t)
	c := w.run("i-1")
	if c == nil || c.Problem != "" || c.RoleName != "web" || c.ExpiresAt.Sub(w.now) != instancerole.Life {
		t.Fatalf("%+v", c)
	}
	s, err := instancerole.Open(w.key, c)
	if err != nil {
		t.Fatal(err)
	}
	p, err := w.id.Lookup(s.AccessKeyID, s.Token, w.now)
	if err != nil || p.Secret != s.Secret || p.Caller.ARN != "arn:aws:sts::"+w.account+":assumed-role/web/i-1" || p.Caller.UserID != "AROAWEB:i-1" || p.Caller.Session.InstanceID != "i-1" {
		t.Fatalf("%+v, %v", p, err)
	}
	if bytes.Contains(c.Sealed, []byte(s.Secret)) {
		t.Error("the secret is stored in clear")
	}
	other := *c
	other.InstanceID = "i-3"
	if _, err := instancerole.Open(w.key, &other); err == nil {
		t.Error("credentials open as another instance's")
	}
	// A profile of another account gives nothing, no profile neither.
	if c := w.run("i-2"); c == nil || c.Problem != "InstanceProfileNotFound" || c.Sealed != nil {
		t.Errorf("another account's profile: %+v", c)
	}
	if c := w.run("i-3"); c != nil {
		t.Errorf("no profile: %+v", c)
	}
	// Renewed long before they end; the old ones go on.
	if again := w.run("i-1"); again != c {
		t.Error("renewed too early")
	}
	w.now = w.now.Add(instancerole.Fresh)
	renewed := w.run("i-1")
	if renewed == c {
		t.Fatal("not renewed")
	}
	if _, err := w.id.Lookup(s.AccessKeyID, s.Token, w.now); err != nil {
		t.Errorf("the old ones ended with the new: %v", err)
	}
	// Revoked: what was issued before is worthless, and there are new ones.
	w.now = w.now.Add(time.Minute)
	w.put(func(tx *store.Tx) error {
		r := *store.RolesByID.One(tx, "AROAWEB")
		r.RevokedAt = w.now
		return store.Roles.Put(tx, &r)
	})
	if _, err := w.id.Lookup(s.AccessKeyID, s.Token, w.now); !errors.Is(err, identity.ErrNoKey) {
		t.Errorf("revoked: %v", err)
	}
	if fresh := w.run("i-1"); fresh == renewed || fresh.IssuedAt != w.now {
		t.Errorf("after the revocation: %+v", fresh)
	}
	// A role that does not trust EC2 gives nothing, with the reason.
	w.role(`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"lambda.amazonaws.com"},"Action":"sts:AssumeRole"}]}`)
	w.now = w.now.Add(time.Second)
	if c := w.run("i-1"); c.Problem != "AssumeRoleUnauthorizedAccess" || c.Sealed != nil {
		t.Errorf("no trust: %+v", c)
	}
	w.role(trustEC2)
	if c := w.run("i-1"); c.Problem != "" || c.Sealed == nil {
		t.Errorf("trusted again: %+v", c)
	}
	// Taken from the profile, and a role of the same name that is another.
	w.put(func(tx *store.Tx) error {
		p := *store.InstanceProfilesByID.One(tx, "AIPAWEB")
		p.RoleID = ""
		return store.InstanceProfiles.Put(tx, &p)
	})
	if c := w.run("i-1"); c.Problem != "InstanceProfileNoRole" {
		t.Errorf("no role: %+v", c)
	}
	// An instance that ends, or loses its profile, has none.
	w.put(func(tx *store.Tx) error {
		i := *store.Instances.Get(tx, "i-1")
		i.ProfileID = ""
		j := *store.Instances.Get(tx, "i-2")
		j.State = resource.Terminated
		return errors.Join(store.Instances.Put(tx, &i), store.Instances.Put(tx, &j))
	})
	if w.run("i-1") != nil || w.run("i-2") != nil {
		t.Error("credentials are left")
	}
	// The role is gone: so is every session of it.
	now := w.now
	w.put(func(tx *store.Tx) error { store.Roles.Delete(tx, store.UserKey(w.account, "web")); return nil })
	if _, err := w.id.Lookup(s.AccessKeyID, s.Token, now); !errors.Is(err, identity.ErrNoKey) {
		t.Errorf("a session of a role that is gone: %v", err)
	}
}
