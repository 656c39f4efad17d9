package identity

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"karri.dev/internal/aws/awserr"
	"karri.dev/internal/resource"
	"karri.dev/internal/store"
)

// Key is an access key with its secret in clear, as it is shown once.
type Key struct{ ID, Secret string }

// NewAccount describes an account to be made. An empty Key means a random one.
type NewAccount struct {
	Name       string
	Key        Key
	CloudAdmin bool

	Email   string        // "" where none is known; unique in the cloud
	Tags    resource.Tags // as Organizations has them
	Request string        // id of the CreateAccount that asked for it
	NoKey   bool          // root gets no access key
	// Then runs in the transaction that makes the account, after the Create hooks; nil: nothing more.
	Then func(tx *store.Tx, a resource.Account) error
}

// CreateAccount makes an account with a root key and what the Create hooks add, all or nothing.
func (i *Identity) CreateAccount(ctx context.Context, n NewAccount) (resource.Account, Key, error) {
	if err := CheckAccountName(n.Name); err != nil {
		return resource.Account{}, Key{}, err
	}
	key, err := i.newKey(n.Key)
	if err != nil {
		return resource.Account{}, Key{}, err
	}
	if n.NoKey {
		key = Key{}
	}
	if n.Email != "" {
		if err := CheckEmail(n.Email); err != nil {
			return resource.Account{}, Key{}, err
		}
	}
	account := resource.Account{
		ID: i.deps.IDs.Account(), Name: n.Name, CanonicalID: i.deps.IDs.Canonical(),
		CloudAdmin: n.CloudAdmin, CreatedAt: i.deps.Now().UTC(), Email: n.Email, Tags: n.Tags, Request: n.Request,
	}
	err = i.deps.Store.Update(ctx, func(tx *store.Tx) error {
		if err := i.addAccount(tx, account, key); err != nil || n.Then == nil {
			return err
		}
		return n.Then(tx, account)
	})
	if err != nil {
		return resource.Account{}, Key{}, err
	}
	return account, key, nil
}

func (i *Identity) addAccount(tx *store.Tx, account resource.Account, key Key) error {
	if store.Accounts.Get(tx, account.ID) != nil {
		return fmt.Errorf("account id %s is taken: try again", account.ID)
	}
	if store.AccountsByName.One(tx, account.Name) != nil || store.AccountsByAlias.One(tx, account.Name) != nil {
		return awserr.New("EntityAlreadyExists", "The account %s already exists.", account.Name).WithStatus(409)
	}
	if account.Email != "" && store.AccountsByEmail.One(tx, strings.ToLower(account.Email)) != nil {
		return awserr.New("EntityAlreadyExists", "The e-mail address %s already belongs to an account.", account.Email).WithStatus(409)
	}
	if err := store.Accounts.Put(tx, &account); err != nil {
		return err
	}
	if key.ID != "" {
		if _, err := i.AddKey(tx, account.ID, "", key); err != nil {
			return err
		}
	}
	for _, hook := range i.deps.Hooks.Create {
		if err := hook(tx, account); err != nil {
			return fmt.Errorf("create account %s: %w", account.Name, err)
		}
	}
	return nil
}

// Bootstrap makes the cloud administrator's account if there is none, and gives it with an active root
// key: where all of them were deactivated or deleted, one is activated or made. key is the one to use for a new account, empty for a random one.
func (i *Identity) Bootstrap(ctx context.Context, key Key) (resource.Account, Key, error) {
	key, err := i.newKey(key)
	if err != nil {
		return resource.Account{}, Key{}, err
	}
	account := resource.Account{
		ID: i.deps.IDs.Account(), Name: AdminAccount, CanonicalID: i.deps.IDs.Canonical(),
		CloudAdmin: true, CreatedAt: i.deps.Now().UTC(),
	}
	var found *resource.Account
	var have *resource.AccessKey
	err = i.deps.Store.Update(ctx, func(tx *store.Tx) error {
		found, have = store.AccountsByName.One(tx, AdminAccount), nil
		if found == nil {
			return i.addAccount(tx, account, key)
		}
		if !found.CloudAdmin {
			return errors.New("the account " + AdminAccount + " is not the cloud administrator's")
		}
		for k := range KeysOf(tx, found.ID, "") {
			if have == nil || k.Active && !have.Active {
				have = k
			}
		}
		switch {
		case have == nil:
			_, err := i.AddKey(tx, found.ID, "", key)
			return err
		case !have.Active: // the administrator has locked himself out
			active := *have
			active.Active = true
			have = &active
			return store.AccessKeys.Put(tx, have)
		}
		return nil
	})
	switch {
	case err != nil:
		return resource.Account{}, Key{}, fmt.Errorf("make the administrator's account: %w", err)
	case found == nil:
		return account, key, nil
	case have == nil:
		return *found, key, nil
	}
	secret, err := i.deps.Sealer.Open(have.Sealed, sealContext(have.ID))
	if err != nil {
		return resource.Account{}, Key{}, fmt.Errorf("open the administrator's access key: %w", err)
	}
	return *found, Key{have.ID, string(secret)}, nil
}

// Account finds an account by name or id.
func (i *Identity) Account(nameOrID string) (resource.Account, error) {
	a := findAccount(i.deps.Store.Snapshot(), nameOrID)
	if a == nil {
		return resource.Account{}, noAccount(nameOrID)
	}
	return *a, nil
}

func findAccount(r store.Reader, nameOrID string) *resource.Account {
	if a := store.AccountsByName.One(r, nameOrID); a != nil {
		return a
	}
	return store.Accounts.Get(r, nameOrID)
}

func noAccount(name string) error {
	return awserr.New("NoSuchEntity", "The account %s cannot be found.", name).WithStatus(404)
}

// DeleteAccount ends an account with everything it has. First its keys stop working, then the Drain hooks
// empty it, then one transaction removes the rest. After a failure it can be called again.
func (i *Identity) DeleteAccount(ctx context.Context, nameOrID string) error {
	var account resource.Account
	err := i.deps.Store.Update(ctx, func(tx *store.Tx) error {
		a := findAccount(tx, nameOrID)
		if a == nil {
			return noAccount(nameOrID)
		}
		if a.CloudAdmin {
			return awserr.New("DeleteConflict", "The cloud administrator's account cannot be deleted.").WithStatus(409)
		}
		account = *a
		account.Closing = true
		return store.Accounts.Put(tx, &account)
	})
	if err != nil {
		return err
	}
	for _, drain := range i.deps.Hooks.Drain {
		if err := drain(ctx, account); err != nil {
			return fmt.Errorf("empty account %s: %w", account.Name, err)
		}
	}
	return i.deps.Store.Update(ctx, func(tx *store.Tx) error {
		for _, hook := range i.deps.Hooks.Delete {
			if err := hook(tx, account); err != nil {
				return fmt.Errorf("delete account %s: %w", account.Name, err)
			}
		}
		removePeople(tx, account.ID)
		store.Accounts.Delete(tx, account.ID)
		return nil
	})
}

// removePeople deletes an account's users, keys, certificates, groups, roles, policies and identity providers.
func removePeople(tx *store.Tx, account string) {
	for _, c := range slices.Collect(store.SigningCertificatesByAccount.By(tx, account)) {
		store.SigningCertificates.Delete(tx, c.ID)
	}
	for _, p := range slices.Collect(store.OIDCProvidersByAccount.By(tx, account)) {
		store.OIDCProviders.Delete(tx, p.ARN())
	}
	for _, p := range slices.Collect(store.SAMLProvidersByAccount.By(tx, account)) {
		store.SAMLProviders.Delete(tx, p.ARN())
	}
	removeOf(tx, store.Groups, account, func(g *resource.Group) string { return g.Name })
	removeOf(tx, store.Roles, account, func(r *resource.IAMRole) string { return r.Name })
	removeOf(tx, store.Policies, account, func(p *resource.Policy) string { return p.Name })
	removeOf(tx, store.InstanceProfiles, account, func(p *resource.InstanceProfile) string { return p.Name })
	removeOf(tx, store.MFADevices, account, func(d *resource.MFADevice) string { return d.Name })
	removeOf(tx, store.ServerCertificates, account, func(c *resource.ServerCertificate) string { return c.Name })
	removeOf(tx, store.AccessJobs, account, func(j *resource.AccessJob) string { return j.ID })
	removeOf(tx, store.RoleDeletions, account, func(d *resource.RoleDeletion) string { return d.ID })
	for _, k := range slices.Collect(store.SSHPublicKeysByAccount.By(tx, account)) {
		store.SSHPublicKeys.Delete(tx, k.ID)
	}
	store.CredentialReports.Delete(tx, account)
	store.PasswordPolicies.Delete(tx, account)
	store.LoginProfiles.Delete(tx, account) // root's
	owners := []string{""}
	for u := range UsersOf(tx, account) {
		store.LoginProfiles.Delete(tx, u.ID)
		owners = append(owners, u.Name)
	}
	for _, name := range owners {
		var keys []string
		for k := range store.AccessKeysByUser.By(tx, store.UserKey(account, name)) {
			keys = append(keys, k.ID)
		}
		for _, id := range keys {
			store.AccessKeys.Delete(tx, id)
		}
		if name != "" {
			store.Users.Delete(tx, store.UserKey(account, name))
		}
	}
}

// removeOf deletes an account's records of a table whose keys are store.UserKey.
func removeOf[T any](tx *store.Tx, t *store.Table[T], account string, name func(*T) string) {
	for rec := range t.From(tx, account+"/") {
		key := store.UserKey(account, name(rec))
		if t.Get(tx, key) != rec {
			return
		}
		t.Delete(tx, key)
	}
}
