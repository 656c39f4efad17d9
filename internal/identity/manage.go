package identity

import (
	"context"
	"net/mail"
	"strings"
	"time"

	"karri.dev/internal/aws/awserr"
	"karri.dev/internal/aws/call"
	"karri.dev/internal/resource"
	"karri.dev/internal/session"
	"karri.dev/internal/store"
)

// CheckEmail wants one plain address: NAME@HOST, without a display name.
func CheckEmail(address string) error {
	a, err := mail.ParseAddress(address)
	if err != nil || a.Address != address || len(address) > 254 || strings.ContainsAny(address, "\r\n") {
		return invalid("%.100q is not an e-mail address", address)
	}
	return nil
}

// SuspendAccount shuts an account's principals out, or lets them in again. What it has runs on.
func (i *Identity) SuspendAccount(ctx context.Context, nameOrID string, suspended bool) error {
	return i.deps.Store.Update(ctx, func(tx *store.Tx) error {
		a := findAccount(tx, nameOrID)
		switch {
		case a == nil:
			return noAccount(nameOrID)
		case a.CloudAdmin:
			return awserr.New("OperationNotPermitted", "The cloud administrator's account cannot be suspended.").WithStatus(409)
		case a.Closing:
			return awserr.New("OperationNotPermitted", "The account %s is being deleted.", a.Name).WithStatus(409)
		case a.Suspended == suspended:
			return nil
		}
		next := *a
		next.Suspended = suspended
		return store.Accounts.Put(tx, &next)
	})
}

// AccountByAlias finds an account by alias, name or id.
func AccountByAlias(r store.Reader, name string) *resource.Account {
	if a := store.AccountsByAlias.One(r, name); a != nil {
		return a
	}
	return findAccount(r, name)
}

// SetAlias gives an account another alias than its name. No two accounts have the same, and none has another's name.
func SetAlias(tx *store.Tx, account, alias string) error {
	a := store.Accounts.Get(tx, account)
	if a == nil {
		return noAccount(account)
	}
	if err := CheckAccountName(alias); err != nil {
		return err
	}
	if other := AccountByAlias(tx, alias); other != nil && other.ID != account {
		return awserr.New("EntityAlreadyExists", "The account alias %s already exists.", alias).WithStatus(409)
	}
	next := *a
	next.Alias, next.NoAlias = alias, false
	return store.Accounts.Put(tx, &next)
}

// RemoveAlias takes an account's alias away.
func RemoveAlias(tx *store.Tx, account, alias string) error {
	a := store.Accounts.Get(tx, account)
	if a == nil || alias == "" || a.AliasName() != alias {
		return awserr.New("NoSuchEntity", "The account alias %.63s cannot be found.", alias).WithStatus(404)
	}
	next := *a
	next.Alias, next.NoAlias = "", true
	return store.Accounts.Put(tx, &next)
}

// MaxImpersonation is how long the administrator may act as somebody at a time.
const MaxImpersonation = 12 * time.Hour

// Impersonate gives credentials to act as an account's user ("" is its root). Every call made with them names by in
// the audit log; that they were given out is for the caller to record.
func (i *Identity) Impersonate(account, user, by string, d time.Duration) (session.Credentials, call.Caller, error) {
	if d < time.Minute || d > MaxImpersonation {
		return session.Credentials{}, call.Caller{}, invalid("The time must be between a minute and %s.", MaxImpersonation)
	}
	r := i.deps.Store.Snapshot()
	a := findAccount(r, account)
	if a == nil {
		return session.Credentials{}, call.Caller{}, noAccount(account)
	}
	id := a.ID
	if user != "" {
		u, err := FindUser(r, a.ID, user)
		if err != nil {
			return session.Credentials{}, call.Caller{}, err
		}
		id = u.ID
	}
	now := i.deps.Now().UTC().Truncate(time.Second)
	c, err := i.NewSession(&call.Session{
		Kind: call.UserSession, AccountID: a.ID, PrincipalID: id, IssuedAt: now, ExpiresAt: now.Add(d), ImpersonatedBy: by,
	})
	if err != nil {
		return session.Credentials{}, call.Caller{}, err
	}
	p, err := i.Lookup(c.AccessKeyID, c.Token, now)
	if err != nil {
		return session.Credentials{}, call.Caller{}, awserr.New("OperationNotPermitted", "The account %s is suspended or being deleted.", a.Name).WithStatus(409)
	}
	return c, p.Caller, nil
}

// Accounts gives all accounts in order of id.
func (i *Identity) Accounts() []*resource.Account {
	var out []*resource.Account
	for a := range store.Accounts.All(i.deps.Store.Snapshot()) {
		out = append(out, a)
	}
	return out
}
