package identity

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"karri.dev/internal/authz"
	"karri.dev/internal/aws/awserr"
	"karri.dev/internal/aws/call"
	"karri.dev/internal/password"
	"karri.dev/internal/policy"
	"karri.dev/internal/resource"
	"karri.dev/internal/store"
)

// maxPrevious is how many earlier passwords are remembered: with the present one, all that a policy can ask about.
const maxPrevious = 23

// Decider decides what handlers ask; authz.Engine does.
type Decider interface {
	Decide(ctx context.Context, q authz.Question) error
}

var changePassword = policy.MakeAction("iam:ChangePassword")

// usersMay is what an account's password policy adds where users may change their own passwords.
var usersMay = func() *policy.Policy {
	p, err := policy.Parse(`{"Version":"2012-10-17","Statement":{"Effect":"Allow","Principal":"*","Action":"iam:ChangePassword","Resource":"*"}}`, policy.Resource)
	if err != nil {
		panic(err) // it is part of the program
	}
	return p
}()

// FindLoginProfile gives a user and its password, or NoSuchEntity.
func FindLoginProfile(r store.Reader, account, name string) (*resource.User, *resource.LoginProfile, error) {
	u, err := FindUser(r, account, name)
	if err != nil {
		return nil, nil, err
	}
	if p := store.LoginProfiles.Get(r, u.ID); p != nil {
		return u, p, nil
	}
	return u, nil, awserr.New("NoSuchEntity", "Login Profile for User %s cannot be found.", u.Name).WithStatus(404)
}

// checkPasswordText applies IAM's rule for what a password is made of.
func checkPasswordText(member, text string) error {
	if n := len([]rune(text)); n < 1 || n > 128 {
		return invalid("1 validation error detected: Value at '%s' failed to satisfy constraint: Member must have length between 1 and 128", member)
	}
	for _, c := range text {
		if c != '\t' && c != '\n' && c != '\r' && (c < ' ' || c > 'ÿ') {
			return invalid(`1 validation error detected: Value at '%s' failed to satisfy constraint: Member must satisfy regular expression pattern: [\u0009\u000A\u000D\u0020-\u00FF]+`, member)
		}
	}
	return nil
}

// rulesOf gives the account's policy for a password; nil where it has none, and for root's, which it does not bind.
func rulesOf(r store.Reader, p *resource.LoginProfile) *resource.PasswordPolicy {
	if p.UserID == p.AccountID {
		return nil
	}
	return store.PasswordPolicies.Get(r, p.AccountID)
}

// admitPassword says PasswordPolicyViolation for a text that cannot become this password.
func admitPassword(r store.Reader, p *resource.LoginProfile, text string) error {
	a := store.Accounts.Get(r, p.AccountID)
	if a == nil {
		return noAccount(p.AccountID)
	}
	if bad := password.Violations(rulesOf(r, p), text, a.Name, a.Email); len(bad) > 0 {
		return awserr.New("PasswordPolicyViolation", "%s", strings.Join(bad, ", "))
	}
	return nil
}

// CreateLoginProfile gives a user its first password.
func (i *Identity) CreateLoginProfile(ctx context.Context, account, name, text string, reset bool) (*resource.LoginProfile, string, error) {
	if err := checkPasswordText("password", text); err != nil {
		return nil, "", err
	}
	r := i.deps.Store.Snapshot()
	u, had, err := FindLoginProfile(r, account, name)
	switch {
	case had != nil:
		return nil, "", awserr.New("EntityAlreadyExists", "Login Profile for user %s already exists.", u.Name).WithStatus(409)
	case u == nil:
		return nil, "", err
	}
	now := i.Now()
	p := &resource.LoginProfile{UserID: u.ID, AccountID: account, ResetRequired: reset, CreatedAt: now, ChangedAt: now}
	if err := admitPassword(r, p, text); err != nil {
		return nil, "", err
	}
	if p.Hash, err = i.hash(ctx, text); err != nil {
		return nil, "", err
	}
	return p, u.Name, i.replacePassword(ctx, nil, p)
}

// UpdateLoginProfile is the administrator's change of a user's password ("" leaves it) and of whether the next login
// must set another (nil leaves it).
func (i *Identity) UpdateLoginProfile(ctx context.Context, account, name, text string, reset *bool) error {
	if text != "" {
		if err := checkPasswordText("password", text); err != nil {
			return err
		}
	}
	r := i.deps.Store.Snapshot()
	_, had, err := FindLoginProfile(r, account, name)
	if err != nil {
		return err
	}
	next := *had
	if reset != nil {
		next.ResetRequired = *reset
	}
	if text != "" {
		if err := admitPassword(r, had, text); err != nil {
			return err
		}
		hash, err := i.hash(ctx, text)
		if err != nil {
			return err
		}
		i.renew(&next, hash)
	}
	return i.replacePassword(ctx, had, &next)
}

// renew puts another hash in place of the present one.
func (i *Identity) renew(p *resource.LoginProfile, hash string) {
	p.Previous = slices.Insert(slices.Clone(p.Previous), 0, p.Hash)
	p.Previous = p.Previous[:min(len(p.Previous), maxPrevious)]
	p.Hash, p.ChangedAt = hash, i.Now()
}

// replacePassword stores a password, if what is there is still what the new one was made of.
func (i *Identity) replacePassword(ctx context.Context, had, next *resource.LoginProfile) error {
	return i.deps.Store.Update(ctx, func(tx *store.Tx) error {
		now := store.LoginProfiles.Get(tx, next.UserID)
		same := now == nil && had == nil || now != nil && had != nil && now.Hash == had.Hash && now.ChangedAt.Equal(had.ChangedAt)
		if !hasHolder(tx, next) || !same {
			return awserr.New("EntityTemporarilyUnmodifiable", "Login Profile is being changed by another request. Please try again.").WithStatus(409)
		}
		return store.LoginProfiles.Put(tx, next)
	})
}

// DeleteLoginProfile takes a user's password away.
func (i *Identity) DeleteLoginProfile(ctx context.Context, account, name string) error {
	return i.deps.Store.Update(ctx, func(tx *store.Tx) error {
		_, p, err := FindLoginProfile(tx, account, name)
		if err == nil {
			store.LoginProfiles.Delete(tx, p.UserID)
		}
		return err
	})
}

// ChangePassword is a user's change of its own password.
func (i *Identity) ChangePassword(ctx context.Context, old, text string) error {
	info := call.From(ctx)
	if err := errors.Join(checkPasswordText("oldPassword", old), checkPasswordText("newPassword", text)); err != nil {
		return err
	}
	if info.Anonymous() || info.UserName == "" || info.Session != nil && info.Session.Kind != call.UserSession {
		return awserr.New("InvalidUserType", "Only IAM Users can change their own password")
	}
	r := i.deps.Store.Snapshot()
	if err := i.mayChange(ctx, r); err != nil {
		return err
	}
	_, p, err := FindLoginProfile(r, info.AccountID, info.UserName)
	if err != nil {
		return err
	}
	key := tryKey("user", info.AccountID, strings.ToLower(info.UserName))
	if !i.tries.take(key, userTries, info.Time) {
		return awserr.New("Throttling", "Rate exceeded")
	}
	ok, err := i.passwords.Check(ctx, p.Hash, old)
	if err != nil {
		return busy(err)
	}
	if !ok {
		return awserr.New("AccessDenied", "The old password was incorrect.").WithStatus(403)
	}
	i.tries.giveBack(key)
	return i.change(ctx, r, p, text)
}

// mayChange asks whether the caller may change its own password.
func (i *Identity) mayChange(ctx context.Context, r store.Reader) error {
	info := call.From(ctx)
	q := authz.Question{Action: changePassword, Resource: info.ARN, Owner: info.AccountID}
	if p := store.PasswordPolicies.Get(r, info.AccountID); p != nil && p.AllowChange {
		q.Policy = usersMay
	}
	return i.deps.Authz.Decide(ctx, q)
}

// change sets a user's password to one that the user chose.
func (i *Identity) change(ctx context.Context, r store.Reader, p *resource.LoginProfile, text string) error {
	if err := admitPassword(r, p, text); err != nil {
		return err
	}
	if rules := rulesOf(r, p); rules != nil && rules.Reuse > 0 {
		used := append([]string{p.Hash}, p.Previous...)
		for _, hash := range used[:min(len(used), rules.Reuse)] {
			same, err := i.passwords.Check(ctx, hash, text)
			if err != nil {
				return busy(err)
			}
			if same {
				return awserr.New("PasswordPolicyViolation", "Password should not be one of the last %d passwords", rules.Reuse)
			}
		}
	}
	hash, err := i.hash(ctx, text)
	if err != nil {
		return err
	}
	next := *p
	i.renew(&next, hash)
	next.ResetRequired = false
	return i.replacePassword(ctx, p, &next)
}

func (i *Identity) hash(ctx context.Context, text string) (string, error) {
	hash, err := i.passwords.Hash(ctx, text)
	return hash, busy(err)
}

// busy says in AWS's words that too many passwords are being checked.
func busy(err error) error {
	if errors.Is(err, password.ErrBusy) {
		return awserr.New("Throttling", "Rate exceeded")
	}
	return err
}

// expired says that a password has come of age.
func expired(p *resource.LoginProfile, rules *resource.PasswordPolicy, now time.Time) bool {
	end := rules.Expires(p.ChangedAt)
	return !end.IsZero() && !now.Before(end)
}
