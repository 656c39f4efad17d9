package identity

import (
	"context"
	"errors"
	"net/netip"
	"strings"
	"time"

	"karri.dev/internal/aws/awserr"
	"karri.dev/internal/aws/call"
	"karri.dev/internal/resource"
	"karri.dev/internal/session"
	"karri.dev/internal/store"
)

// Login is what a person gives to prove who it is.
type Login struct {
	Account  string // alias, name or id
	User     string
	Root     bool // in place of a user: the account's root
	Password string
	Code     string // of an MFA device; needed where the user has one
	New      string // the password from now on; needed where the present one has expired or was for one login
	Life     time.Duration
	From     netip.Addr
	// Info is the request; its Caller is filled in.
	Info *call.Info
}

// What a login can lack. Nobody learns more from them who has not given the right password.
var (
	ErrLogin    = errors.New("the account, the name or the password is wrong")
	ErrTooOften = errors.New("too many attempts: wait a little")
	ErrNoCode   = errors.New("a code of the user's MFA device is needed")
	ErrOldNow   = errors.New("the password must be changed: give a new one")
	ErrHardEnd  = errors.New("the password has expired: an administrator must set another")
)

// Life of the sessions of people.
const (
	LoginLife    = 12 * time.Hour
	minLoginLife = 15 * time.Minute
)

// CheckLogin finds out who a person is and begins a session. A name that is not there takes as long as one that is, and
// gets the same answer. mfa says that a device has vouched for the person. With an error, who is for the audit log: the
// account and the user of those names, as far as they are there.
func (i *Identity) CheckLogin(ctx context.Context, l Login) (c session.Credentials, who call.Caller, mfa bool, err error) {
	if l.Life == 0 {
		l.Life = LoginLife
	}
	if l.Life < minLoginLife || l.Life > LoginLife {
		return c, who, false, invalid("The time must be between %s and %s.", minLoginLife, LoginLife)
	}
	if l.New != "" {
		if err := checkPasswordText("newPassword", l.New); err != nil {
			return c, who, false, err
		}
	}
	a, u, p, err := i.checkPassword(ctx, l)
	if a != nil {
		who.AccountID = a.ID
	}
	if u != nil {
		who.UserName, who.UserID, who.ARN = u.Name, u.ID, holderARN(u)
	}
	if err != nil {
		return c, who, false, err
	}
	if mfa, err = i.checkDevice(ctx, u, l.Code); err != nil {
		return c, who, false, err
	}
	if p, err = i.renewAtLogin(ctx, a, u, p, l); err != nil {
		return c, who, false, err
	}
	now := i.Now().Truncate(time.Second)
	s := &call.Session{Kind: call.UserSession, AccountID: a.ID, PrincipalID: u.ID, IssuedAt: now, ExpiresAt: now.Add(l.Life), Login: true, MFA: mfa}
	if mfa {
		s.MFATime = now
	}
	err = i.deps.Store.Update(ctx, func(tx *store.Tx) error {
		have := store.LoginProfiles.Get(tx, u.ID)
		if have == nil || have.Hash != p.Hash || !hasHolder(tx, have) {
			return ErrLogin // changed or deleted meanwhile
		}
		next := *have
		next.UsedAt = now
		return store.LoginProfiles.Put(tx, &next)
	})
	if err != nil {
		return c, who, false, err
	}
	if c, err = i.NewSession(s); err != nil {
		return c, who, false, err
	}
	principal, err := i.Lookup(c.AccessKeyID, c.Token, now)
	if err != nil {
		return session.Credentials{}, who, mfa, ErrLogin // the account was closed meanwhile
	}
	return c, principal.Caller, mfa, nil
}

// checkPassword finds the user by name and password. It gives what it found with errors too.
func (i *Identity) checkPassword(ctx context.Context, l Login) (*resource.Account, *resource.User, *resource.LoginProfile, error) {
	now := i.Now()
	r := i.deps.Store.Snapshot()
	a := AccountByAlias(r, l.Account)
	account := strings.ToLower(l.Account)
	if a != nil {
		account = a.ID // all its names are one to the count of tries
	}
	user, source := tryKey("user", account, strings.ToLower(l.User)), sourceKey(l.From)
	if l.Root {
		user = tryKey("root", account)
	}
	if !i.tries.take(source, sourceTries, now) || !i.tries.take(user, userTries, now) {
		return a, nil, nil, ErrTooOften
	}
	var u *resource.User
	var p *resource.LoginProfile
	hash := "" // nobody's
	if a != nil && a.Open() {
		if u = l.holder(r, a); u != nil {
			if p = store.LoginProfiles.Get(r, u.ID); p != nil {
				hash = p.Hash
			}
		}
	}
	text := l.Password
	if len(text) > 512 { // nobody's either: 128 characters have at most 256 bytes
		text, hash = "", ""
	}
	ok, err := i.passwords.Check(ctx, hash, text)
	if awserr.Code(busy(err)) != "" {
		return a, u, nil, ErrTooOften
	}
	if err != nil {
		return a, u, nil, err
	}
	if !ok {
		return a, u, nil, ErrLogin
	}
	i.tries.giveBack(source)
	i.tries.giveBack(user)
	return a, u, p, nil
}

// checkDevice asks for a code where the user has a device. It comes after the password, so that only who knows
// that learns whether there is one.
func (i *Identity) checkDevice(ctx context.Context, u *resource.User, code string) (bool, error) {
	if store.MFADevicesByUser.One(i.deps.Store.Snapshot(), u.ID) == nil {
		return false, nil
	}
	if code == "" {
		return false, ErrNoCode
	}
	err := i.CheckCode(ctx, u.ID, "", code)
	if awserr.Code(err) == "Throttling" {
		err = ErrTooOften
	}
	return err == nil, err
}

// renewAtLogin changes the password where it must be, or where the person wants it. It gives what counts now.
func (i *Identity) renewAtLogin(ctx context.Context, a *resource.Account, u *resource.User, p *resource.LoginProfile, l Login) (*resource.LoginProfile, error) {
	r := i.deps.Store.Snapshot()
	rules := rulesOf(r, p)
	old := expired(p, rules, i.Now())
	switch {
	case old && rules.HardExpiry:
		return nil, ErrHardEnd
	case l.New == "" && (old || p.ResetRequired):
		return nil, ErrOldNow
	case l.New == "":
		return p, nil
	}
	info := call.Info{}
	if l.Info != nil {
		info = *l.Info
	}
	info.Caller = call.Caller{AccountID: a.ID, UserName: u.Name, UserID: u.ID, ARN: holderARN(u), CanonicalID: a.CanonicalID, CloudAdmin: a.CloudAdmin}
	info.Service, info.Operation, info.Time = "iam", "ChangePassword", i.Now()
	ctx = call.With(ctx, &info)
	if err := i.mayChange(ctx, r); err != nil {
		return nil, err
	}
	if err := i.change(ctx, r, p, l.New); err != nil {
		return nil, err
	}
	if p = store.LoginProfiles.Get(i.deps.Store.Snapshot(), u.ID); p == nil {
		return nil, ErrLogin
	}
	return p, nil
}
