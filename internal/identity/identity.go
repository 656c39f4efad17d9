// Package identity knows who may sign a request: accounts, their users and their access keys.
//
// Secrets are sealed in the store with a key that is not in it, and are opened only here.
package identity

import (
	"context"
	"log/slog"
	"time"

	"karri.dev/internal/ids"
	"karri.dev/internal/password"
	"karri.dev/internal/resource"
	"karri.dev/internal/seal"
	"karri.dev/internal/session"
	"karri.dev/internal/store"
)

// AdminAccount is the name of the cloud administrator's account ("eucalyptus" of old).
const AdminAccount = "karri"

// Hooks let the services take part in an account's life.
type Hooks struct {
	// Create runs in the transaction that makes an account: the default VPC comes from here.
	Create []func(tx *store.Tx, a resource.Account) error
	// Drain ends what an account has outside the store (objects, guests) and whatever is too much for one
	// transaction. The account's keys have stopped working by then. It may run more than once.
	Drain []func(ctx context.Context, a resource.Account) error
	// Delete runs in the transaction that deletes an account and removes all its records.
	Delete []func(tx *store.Tx, a resource.Account) error
}

// Config is what an operator chooses.
type Config struct {
	// UsageFile keeps when access keys were last used; "" keeps that in memory only.
	UsageFile string
	// TriesFile keeps how often who was wrong with passwords and codes; "" keeps that in memory only.
	TriesFile string
	// UsageInterval is how often both are written; 0 means a minute.
	UsageInterval time.Duration
}

// Deps are what Identity works with.
type Deps struct {
	Store  *store.Store
	Sealer *seal.Sealer
	IDs    *ids.Source
	Now    func() time.Time
	Log    *slog.Logger
	Hooks  Hooks
	// Authz decides who may change a password.
	Authz Decider
	// Passwords hashes them; nil means at the standard cost.
	Passwords *password.Hasher
}

// Identity authenticates access keys and manages accounts, users and keys.
type Identity struct {
	cfg   Config
	deps  Deps
	cache cache[string, entry]
	usage usage

	tokens   *session.Codec
	sessions cache[[32]byte, opened]

	passwords *password.Hasher
	tries     tries
}

// New makes an Identity.
func New(cfg Config, deps Deps) *Identity {
	if cfg.UsageInterval == 0 {
		cfg.UsageInterval = time.Minute
	}
	if deps.Now == nil {
		deps.Now = time.Now
	}
	if deps.Log == nil {
		deps.Log = slog.New(slog.DiscardHandler)
	}
	if deps.IDs == nil {
		deps.IDs = ids.New(nil)
	}
	if deps.Passwords == nil {
		deps.Passwords = password.New(password.Standard)
	}
	i := &Identity{cfg: cfg, deps: deps, passwords: deps.Passwords}
	var err error
	if i.tokens, err = session.NewCodec(deps.Sealer.Derive("session tokens"), deps.IDs); err != nil {
		panic(err) // a derived key has the right size
	}
	return i
}

// RootARN gives the ARN of an account's root.
func RootARN(account string) string { return "arn:aws:iam::" + account + ":root" }

// UserARN gives a user's ARN.
func UserARN(u *resource.User) string {
	return "arn:aws:iam::" + u.AccountID + ":user" + u.Path + u.Name
}

func sealContext(keyID string) string { return "access-key:" + keyID }
