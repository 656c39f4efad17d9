// Package signup lets people ask for an account: a request, the administrator's word by mail, and a link by which
// the person makes the account. Links carry single-use tokens of which only digests are stored.
//
//	requested --accept--> approved --activate--> active
//	requested --reject--> rejected
//
// Each step is a transaction; mails are sent afterwards by a reconciler, again after a crash (with a fresh token, so
// that what is in the last mail is what works). Requests and approvals that nobody takes up lapse.
package signup

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"strings"
	"time"

	"karri.dev/internal/aws/awserr"
	"karri.dev/internal/identity"
	"karri.dev/internal/ids"
	"karri.dev/internal/mail"
	"karri.dev/internal/policy"
	"karri.dev/internal/reconcile"
	"karri.dev/internal/resource"
	"karri.dev/internal/store"
)

const (
	// Life is how long a request waits for its answer, and an approval for its activation.
	Life = 7 * 24 * time.Hour
	// maxOpen bounds the requests that wait, so that nobody fills the store or the administrator's mailbox.
	maxOpen = 200
	// firstUser is the user that an activation makes, with AdministratorAccess.
	firstUser = "admin"
	period    = time.Minute
)

// Config says who decides and where links lead.
type Config struct {
	Admin string // the administrator's address; "" = nobody can sign up
	Base  string // URL of the API as people reach it
}

// Deps are what a Server works with.
type Deps struct {
	Store    *store.Store
	Identity *identity.Identity
	IDs      *ids.Source
	Mail     mail.Sender
	Now      func() time.Time
	Log      *slog.Logger
}

// Server carries sign-ups out.
type Server struct {
	cfg   Config
	deps  Deps
	loop  *reconcile.Loop
	limit *limits
}

// New makes a Server.
func New(cfg Config, deps Deps) *Server {
	s := &Server{cfg: cfg, deps: deps, limit: newLimits()}
	s.loop = reconcile.New(reconcile.Config{Name: "sign-up mails", Period: period, Run: s.Once}, deps.Log)
	return s
}

// Run sends mails until ctx ends. One process of the cloud runs it.
func (s *Server) Run(ctx context.Context) error {
	feed := s.deps.Store.Feed(store.SignUps)
	defer feed.Close()
	done := make(chan error, 1)
	go func() { done <- s.loop.Follow(ctx, feed) }()
	err := s.loop.Run(ctx)
	<-done
	return err
}

// ErrLink says that a link is not, or no longer, good. It never says why.
var ErrLink = errors.New("this link is not valid any more")

func digest(token string) string {
	sum := sha256.Sum256([]byte(token))
	return hex.EncodeToString(sum[:])
}

func newToken() string {
	b := make([]byte, 32)
	rand.Read(b)
	return base64.RawURLEncoding.EncodeToString(b)
}

// Request notes that somebody wants an account. Whether the name or the address is taken shows neither in the answer
// nor in the time that it takes: the administrator learns it.
func (s *Server) Request(ctx context.Context, account, email, reason string) error {
	if err := identity.CheckEmail(email); err != nil {
		return err
	}
	if err := identity.CheckAccountName(account); err != nil {
		return err
	}
	if len(reason) > 1000 {
		reason = strings.ToValidUTF8(reason[:1000], "")
	}
	now := s.deps.Now().UTC()
	rec := &resource.SignUp{
		ID: "su-" + s.deps.IDs.Hex(8), Account: account, Email: email, Reason: reason, State: resource.SignUpRequested, Mail: resource.SignUpMailAdmin,
		CreatedAt: now, ExpiresAt: now.Add(Life),
	}
	return s.deps.Store.Update(ctx, func(tx *store.Tx) error {
		open := 0
		for r := range store.SignUps.All(tx) {
			if r.Open(now) {
				if open++; strings.EqualFold(r.Email, email) && r.State == resource.SignUpRequested {
					return nil // asked already: one mail is enough
				}
			}
		}
		if open >= maxOpen {
			return nil
		}
		return store.SignUps.Put(tx, rec)
	})
}

// find gives the request that a token belongs to, in the state that it counts in.
func (s *Server) find(r store.Reader, token string, state resource.SignUpState) *resource.SignUp {
	if len(token) > 100 {
		return nil
	}
	rec := store.SignUpsByToken.One(r, digest(token))
	if rec == nil || rec.State != state || !rec.Open(s.deps.Now()) {
		return nil
	}
	return rec
}

// Decide accepts or rejects a request by the token of the administrator's mail.
func (s *Server) Decide(ctx context.Context, token string, accept bool) error {
	return s.deps.Store.Update(ctx, func(tx *store.Tx) error {
		rec := s.find(tx, token, resource.SignUpRequested)
		if rec == nil {
			return ErrLink
		}
		return s.decide(tx, rec, accept)
	})
}

// DecideID does the same for the administrator on the machine, by the request's id.
func (s *Server) DecideID(ctx context.Context, id string, accept bool) error {
	return s.deps.Store.Update(ctx, func(tx *store.Tx) error {
		rec := store.SignUps.Get(tx, id)
		if rec == nil || rec.State != resource.SignUpRequested || !rec.Open(s.deps.Now()) {
			return awserr.New("NoSuchEntity", "There is no open sign-up request %.40s.", id).WithStatus(404)
		}
		return s.decide(tx, rec, accept)
	})
}

func (s *Server) decide(tx *store.Tx, rec *resource.SignUp, accept bool) error {
	next := *rec
	next.Token, next.DecidedAt, next.Mail = "", s.deps.Now().UTC(), ""
	next.State = resource.SignUpRejected
	if accept {
		next.State, next.Mail, next.ExpiresAt = resource.SignUpApproved, resource.SignUpMailUser, next.DecidedAt.Add(Life)
	}
	return store.SignUps.Put(tx, &next)
}

// Activation is what a new account's person is shown, once.
type Activation struct {
	Account resource.Account
	User    string
	Key     identity.Key
}

// Activate makes the account by the token of the person's mail.
func (s *Server) Activate(ctx context.Context, token string) (Activation, error) {
	rec := s.find(s.deps.Store.Snapshot(), token, resource.SignUpApproved)
	if rec == nil {
		return Activation{}, ErrLink
	}
	out := Activation{User: firstUser, Key: s.deps.Identity.RandomKey()}
	var err error
	out.Account, _, err = s.deps.Identity.CreateAccount(ctx, identity.NewAccount{
		Name: rec.Account, Email: rec.Email, NoKey: true,
		Then: func(tx *store.Tx, a resource.Account) error {
			now := s.find(tx, token, resource.SignUpApproved)
			if now == nil || now.ID != rec.ID {
				return ErrLink // used in the meantime
			}
			next := *now
			next.State, next.Token, next.AccountID = resource.SignUpActive, "", a.ID
			if err := store.SignUps.Put(tx, &next); err != nil {
				return err
			}
			u, err := s.deps.Identity.AddUser(tx, a.ID, firstUser, "/", nil)
			if err != nil {
				return err
			}
			admin := *u
			admin.Attached = []string{policy.ManagedPrefix + "AdministratorAccess"}
			if err := store.Users.Put(tx, &admin); err != nil {
				return err
			}
			_, err = s.deps.Identity.AddKey(tx, a.ID, firstUser, out.Key)
			return err
		},
	})
	return out, err
}

// List gives all requests, for the administrator.
func (s *Server) List() []resource.SignUp {
	var out []resource.SignUp
	for r := range store.SignUps.All(s.deps.Store.Snapshot()) {
		show := *r
		show.Token = ""
		out = append(out, show)
	}
	return out
}

// Once sends the mails that are due, and forgets what is long over.
func (s *Server) Once(ctx context.Context) error {
	now := s.deps.Now().UTC()
	var errs []error
	for rec := range store.SignUps.All(s.deps.Store.Snapshot()) {
		switch {
		case !rec.Open(now) && now.Sub(rec.ExpiresAt) > 4*Life:
			errs = append(errs, s.deps.Store.Update(ctx, func(tx *store.Tx) error {
				store.SignUps.Delete(tx, rec.ID)
				return nil
			}))
		case rec.Mail != "" && rec.Open(now):
			errs = append(errs, s.send(ctx, rec.ID))
		}
	}
	return errors.Join(errs...)
}

// send gives a request a fresh token and mails it. The mail is marked as sent last: after a crash it goes out again.
func (s *Server) send(ctx context.Context, id string) error {
	token := newToken()
	var rec *resource.SignUp
	err := s.deps.Store.Update(ctx, func(tx *store.Tx) error {
		rec = store.SignUps.Get(tx, id)
		if rec == nil || rec.Mail == "" || !rec.Open(s.deps.Now()) {
			rec = nil
			return nil
		}
		next := *rec
		next.Token = digest(token)
		rec = &next
		return store.SignUps.Put(tx, &next)
	})
	if err != nil || rec == nil {
		return err
	}
	m := s.message(rec, token)
	if err := s.deps.Mail.Send(ctx, m); err != nil {
		return fmt.Errorf("sign-up %s: %w", id, err)
	}
	sent := rec.Mail
	return s.deps.Store.Update(ctx, func(tx *store.Tx) error {
		now := store.SignUps.Get(tx, id)
		if now == nil || now.Mail != sent {
			return nil
		}
		next := *now
		next.Mail = ""
		return store.SignUps.Put(tx, &next)
	})
}

func (s *Server) link(step, token string) string {
	return strings.TrimSuffix(s.cfg.Base, "/") + Path + step + "?" + url.Values{"token": {token}}.Encode()
}

func (s *Server) message(rec *resource.SignUp, token string) mail.Message {
	if rec.Mail == resource.SignUpMailAdmin {
		note := ""
		if r := s.deps.Store.Snapshot(); store.AccountsByName.One(r, rec.Account) != nil || store.AccountsByEmail.One(r, strings.ToLower(rec.Email)) != nil {
			note = "\nNOTE: an account with this name or address exists already; an activation would fail.\n"
		}
		return mail.Message{To: s.cfg.Admin, Subject: "Somebody asks for the account " + rec.Account, Text: fmt.Sprintf(
			"%s asks for the account %q at %s.\n%s\nReason given:\n%s\n\nAccept:\n%s\n\nReject:\n%s\n\nThe links work once, until %s.\n",
			rec.Email, rec.Account, s.cfg.Base, note, quoted(rec.Reason), s.link("accept", token), s.link("reject", token), rec.ExpiresAt.Format(time.RFC1123))}
	}
	return mail.Message{To: rec.Email, Subject: "Your account " + rec.Account, Text: fmt.Sprintf(
		"Your account %q at %s has been approved. Make it with this link, which works once, until %s:\n\n%s\n\nIf you have not asked for it, do nothing.\n",
		rec.Account, s.cfg.Base, rec.ExpiresAt.Format(time.RFC1123), s.link("activate", token))}
}

// quoted marks each line of what a stranger wrote.
func quoted(text string) string {
	if text == "" {
		return "> (none)"
	}
	return "> " + strings.ReplaceAll(strings.ReplaceAll(text, "\r", ""), "\n", "\n> ")
}
