package identity

import (
	"crypto/sha256"
	"errors"
	"time"

	"karri.dev/internal/aws/call"
	"karri.dev/internal/resource"
	"karri.dev/internal/session"
	"karri.dev/internal/store"
)

// opened is a session token that was opened, with the principal as of these records.
type opened struct {
	key     string
	session *call.Session // as it is in the token
	secret  string

	account *resource.Account
	user    *resource.User    // nil for root's sessions
	role    *resource.IAMRole // of a role's session
	Principal
}

// NewSession gives credentials for a session. Who may have one is for the caller to decide.
func (i *Identity) NewSession(s *call.Session) (session.Credentials, error) { return i.tokens.Make(s) }

// lookupSession opens a token. What is in it was true when it was made; whether its principal still exists is
// looked up in the mirror each time.
func (i *Identity) lookupSession(keyID, token string, now time.Time) (*Principal, error) {
	if token == "" {
		return nil, ErrNoKey // an id of a session is none of a long-lived key
	}
	name := sha256.Sum256([]byte(token))
	o := i.sessions.get(name)
	if o == nil {
		s, secret, err := i.tokens.Open(keyID, token, now)
		if errors.Is(err, session.ErrInvalid) {
			return nil, ErrBadToken
		}
		if err != nil {
			return nil, err
		}
		o = &opened{key: keyID, session: s, secret: secret}
	}
	switch {
	case o.key != keyID:
		return nil, ErrBadToken
	case !now.Before(o.session.ExpiresAt):
		i.sessions.drop(name)
		return nil, session.ErrExpired
	}
	snap := i.deps.Store.Snapshot()
	account := store.Accounts.Get(snap, o.session.AccountID)
	if account == nil || !account.Open() {
		i.sessions.drop(name)
		return nil, ErrNoKey
	}
	var user *resource.User
	var role *resource.IAMRole
	switch {
	case o.session.Kind == call.RoleSession:
		role = store.RolesByID.One(snap, o.session.PrincipalID)
		if role == nil || role.AccountID != account.ID || o.session.IssuedAt.Before(role.RevokedAt) {
			i.sessions.drop(name)
			return nil, ErrNoKey
		}
	case o.session.PrincipalID != account.ID:
		if user = store.UsersByID.One(snap, o.session.PrincipalID); user == nil || user.AccountID != account.ID {
			i.sessions.drop(name)
			return nil, ErrNoKey
		}
	}
	if o.account == account && o.user == user && o.role == role {
		return &o.Principal, nil
	}
	fresh := &opened{key: keyID, session: o.session, secret: o.secret, account: account, user: user, role: role}
	fresh.Principal = Principal{Caller: sessionCaller(fresh), Secret: o.secret}
	i.sessions.put(name, fresh)
	return &fresh.Principal, nil
}

// sessionCaller says who a session is.
func sessionCaller(o *opened) call.Caller {
	s := *o.session
	c := call.Caller{
		AccountID: o.account.ID, UserID: o.account.ID, ARN: RootARN(o.account.ID), AccessKeyID: o.key,
		CanonicalID: o.account.CanonicalID, CloudAdmin: o.account.CloudAdmin, Session: &s,
	}
	switch s.Kind {
	case call.UserSession:
		if u := o.user; u != nil {
			c.UserName, c.UserID, c.ARN = u.Name, u.ID, UserARN(u)
		}
	case call.RoleSession:
		s.RoleARN, s.RoleName = o.role.ARN(), o.role.Name
		c.UserID, c.ARN = o.role.ID+":"+s.Name, call.AssumedRoleARN(o.account.ID, o.role.Name, s.Name)
	case call.FederatedSession:
		c.UserID, c.ARN = o.account.ID+":"+s.Name, "arn:aws:sts::"+o.account.ID+":federated-user/"+s.Name
	}
	return c
}
