package identity

import (
	"context"
	"time"

	"karri.dev/internal/aws/call"
	"karri.dev/internal/resource"
	"karri.dev/internal/store"
)

// An account's root can have a password and MFA devices as users have them. They are kept under the account's id,
// and the account's password policy does not bind root, as in AWS.

// holder gives the user whose password a login is about, or nil. Root is one without a name.
func (l *Login) holder(r store.Reader, a *resource.Account) *resource.User {
	switch {
	case l.Root && l.User == "":
		return &resource.User{AccountID: a.ID, ID: a.ID}
	case l.Root || l.User == "":
		return nil
	}
	return store.Users.Get(r, store.UserKey(a.ID, l.User))
}

// holderARN is UserARN for root too.
func holderARN(u *resource.User) string {
	if u.ID == u.AccountID {
		return RootARN(u.AccountID)
	}
	return UserARN(u)
}

// hasHolder says that whose password it is is there.
func hasHolder(r store.Reader, p *resource.LoginProfile) bool {
	if p.UserID == p.AccountID {
		return store.Accounts.Get(r, p.AccountID) != nil
	}
	return store.UsersByID.One(r, p.UserID) != nil
}

// SetRootPassword gives an account's root a password; "" takes it away.
func (i *Identity) SetRootPassword(ctx context.Context, nameOrID, text string) error {
	r := i.deps.Store.Snapshot()
	a := findAccount(r, nameOrID)
	if a == nil {
		return noAccount(nameOrID)
	}
	had := store.LoginProfiles.Get(r, a.ID)
	if text == "" {
		return i.deps.Store.Update(ctx, func(tx *store.Tx) error {
			store.LoginProfiles.Delete(tx, a.ID)
			return nil
		})
	}
	if err := checkPasswordText("password", text); err != nil {
		return err
	}
	now := i.Now()
	next := &resource.LoginProfile{UserID: a.ID, AccountID: a.ID, CreatedAt: now, ChangedAt: now}
	if err := admitPassword(r, next, text); err != nil {
		return err
	}
	var err error
	if next.Hash, err = i.hash(ctx, text); err != nil {
		return err
	}
	if had != nil {
		next.CreatedAt, next.UsedAt = had.CreatedAt, had.UsedAt
	}
	return i.replacePassword(ctx, had, next)
}

// RemoveRootDevices lets an account's root in without the MFA devices that it has lost. They are nobody's then.
func (i *Identity) RemoveRootDevices(ctx context.Context, nameOrID string) error {
	return i.deps.Store.Update(ctx, func(tx *store.Tx) error {
		a := findAccount(tx, nameOrID)
		if a == nil {
			return noAccount(nameOrID)
		}
		var all []*resource.MFADevice
		for d := range DevicesOf(tx, a.ID) {
			all = append(all, d)
		}
		for _, d := range all {
			next := *d
			next.UserID, next.EnabledAt, next.Drift = "", time.Time{}, 0
			if err := store.MFADevices.Put(tx, &next); err != nil {
				return err
			}
		}
		return nil
	})
}

// DeviceHolder gives the id and the name of whose MFA devices a call is about. Root means its own by its account's id
// in place of a name, and where a name may be absent.
func DeviceHolder(r store.Reader, c call.Caller, name string) (id, shown string, err error) {
	if name == "" && !c.Root() {
		if name = c.UserName; name == "" {
			return "", "", invalid("Must specify userName when calling with non-User credentials")
		}
	}
	if c.Root() && (name == "" || name == c.AccountID && store.Users.Get(r, store.UserKey(c.AccountID, name)) == nil) {
		return c.AccountID, c.AccountID, nil
	}
	u, err := FindUser(r, c.AccountID, name)
	if err != nil {
		return "", "", err
	}
	return u.ID, u.Name, nil
}
