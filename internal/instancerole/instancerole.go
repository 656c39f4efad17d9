// Package instancerole makes the credentials that instances get of their profiles' roles, and renews them long before
// they end. It is a reconciler of the cloud role, the only one that can make session tokens; what it makes
// lies sealed in the store, for a few hours each, and an instance's zone opens it for the instance's node.
package instancerole

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/json"
	"log/slog"
	"slices"
	"time"

	"karri.dev/internal/authz"
	"karri.dev/internal/aws/awserr"
	"karri.dev/internal/aws/call"
	"karri.dev/internal/policy"
	"karri.dev/internal/reconcile"
	"karri.dev/internal/resource"
	"karri.dev/internal/seal"
	"karri.dev/internal/session"
	"karri.dev/internal/store"
)

const (
	// Life is how long credentials are good for, and Fresh how old they get before there are new ones: a guest
	// always finds some that are good for hours.
	Life  = 6 * time.Hour
	Fresh = time.Hour

	period = time.Minute
	batch  = 200 // instances in a transaction
	// Service is who takes the role for an instance.
	Service = "ec2.amazonaws.com"
)

// Secret is what is sealed in resource.InstanceCredentials.
type Secret struct {
	AccessKeyID string `json:"id"`
	Secret      string `json:"secret"`
	Token       string `json:"token"`
}

// NewSealer makes what seals credentials, of the key that the cloud shares with its zones.
func NewSealer(shared []byte) (*seal.Sealer, error) {
	m := hmac.New(sha256.New, shared)
	m.Write([]byte("instance credentials"))
	return seal.New(m.Sum(nil))
}

func sealContext(c *resource.InstanceCredentials) string {
	return "instance:" + c.InstanceID + ":" + c.RoleID
}

// Open gives what credentials hold.
func Open(s *seal.Sealer, c *resource.InstanceCredentials) (Secret, error) {
	var out Secret
	text, err := s.Open(c.Sealed, sealContext(c))
	if err == nil {
		err = json.Unmarshal(text, &out)
	}
	return out, err
}

// Sessions makes credentials.
type Sessions interface {
	NewSession(s *call.Session) (session.Credentials, error)
}

// Roles says whether a role may be taken; authz.Engine does.
type Roles interface {
	Decide(ctx context.Context, q authz.Question) error
	Trust(role *resource.IAMRole) (*policy.Policy, error)
}

// Deps are what a Maker works with.
type Deps struct {
	Store    *store.Store
	Sessions Sessions
	Roles    Roles
	Sealer   *seal.Sealer
	Now      func() time.Time
	Log      *slog.Logger
}

// Maker is the reconciler.
type Maker struct {
	deps   Deps
	assume policy.Action
}

// New makes a Maker.
func New(deps Deps) *Maker { return &Maker{deps, policy.MakeAction("sts:AssumeRole")} }

// Run works until ctx ends.
func (m *Maker) Run(ctx context.Context) error {
	loop := reconcile.New(reconcile.Config{Name: "instance roles", Period: period, Run: m.Once}, m.deps.Log)
	feed := m.deps.Store.Feed(store.Instances, store.InstanceProfiles, store.Roles)
	defer feed.Close()
	done := make(chan error, 1)
	go func() { done <- loop.Follow(ctx, feed) }()
	err := loop.Run(ctx)
	<-done
	return err
}

// Once makes and renews what is due, and removes what nobody has a right to any more.
func (m *Maker) Once(ctx context.Context) error {
	snap := m.deps.Store.Snapshot()
	var put []*resource.InstanceCredentials
	for inst := range store.InstancesWithProfile.By(snap, "yes") {
		next, err := m.next(ctx, snap, inst)
		if err != nil {
			return err
		}
		if next != nil {
			put = append(put, next)
		}
	}
	var gone []string
	for c := range store.InstanceCredentials.All(snap) {
		if inst := store.Instances.Get(snap, c.InstanceID); inst == nil || !inst.State.Alive() || inst.ProfileID != c.ProfileID {
			if !slices.ContainsFunc(put, func(p *resource.InstanceCredentials) bool { return p.InstanceID == c.InstanceID }) {
				gone = append(gone, c.InstanceID)
			}
		}
	}
	for part := range slices.Chunk(put, batch) {
		if err := m.write(ctx, part, nil); err != nil {
			return err
		}
	}
	for part := range slices.Chunk(gone, batch) {
		if err := m.write(ctx, nil, part); err != nil {
			return err
		}
	}
	return nil
}

// write keeps what is still wanted when it is written.
func (m *Maker) write(ctx context.Context, put []*resource.InstanceCredentials, gone []string) error {
	return m.deps.Store.Update(ctx, func(tx *store.Tx) error {
		for _, c := range put {
			if inst := store.Instances.Get(tx, c.InstanceID); inst == nil || !inst.State.Alive() || inst.ProfileID != c.ProfileID {
				continue
			}
			if err := store.InstanceCredentials.Put(tx, c); err != nil {
				return err
			}
		}
		for _, id := range gone {
			c := store.InstanceCredentials.Get(tx, id)
			if inst := store.Instances.Get(tx, id); c != nil && (inst == nil || !inst.State.Alive() || inst.ProfileID != c.ProfileID) {
				store.InstanceCredentials.Delete(tx, id)
			}
		}
		return nil
	})
}

// next gives the credentials that an instance should have in place of those it has; nil: those are right.
func (m *Maker) next(ctx context.Context, r store.Reader, inst *resource.Instance) (*resource.InstanceCredentials, error) {
	now := m.deps.Now().UTC().Truncate(time.Second)
	have := store.InstanceCredentials.Get(r, inst.ID)
	c := &resource.InstanceCredentials{InstanceID: inst.ID, ProfileID: inst.ProfileID, IssuedAt: now}
	profile := store.InstanceProfilesByID.One(r, inst.ProfileID)
	var role *resource.IAMRole
	if profile != nil && profile.AccountID == inst.AccountID {
		c.ProfileARN = profile.ARN()
		role = store.RolesByID.One(r, profile.RoleID)
	}
	switch {
	case profile == nil || profile.AccountID != inst.AccountID:
		c.Problem = "InstanceProfileNotFound"
	case role == nil || role.AccountID != inst.AccountID:
		c.Problem = "InstanceProfileNoRole"
	default:
		c.RoleID, c.RoleName = role.ID, role.Name
		if err := m.trusted(ctx, role, inst); err != nil {
			if awserr.Code(err) != "AccessDenied" {
				return nil, err
			}
			c.Problem = "AssumeRoleUnauthorizedAccess"
		}
	}
	if have != nil && have.ProfileID == c.ProfileID && have.ProfileARN == c.ProfileARN && have.RoleID == c.RoleID && have.RoleName == c.RoleName &&
		have.Problem == c.Problem && (c.Problem != "" || now.Sub(have.IssuedAt) < Fresh && !have.IssuedAt.Before(role.RevokedAt)) {
		return nil, nil
	}
	if c.Problem != "" {
		return c, nil
	}
	c.ExpiresAt = now.Add(Life)
	made, err := m.deps.Sessions.NewSession(&call.Session{
		Kind: call.RoleSession, AccountID: role.AccountID, PrincipalID: role.ID, Name: inst.ID, IssuedAt: now, ExpiresAt: c.ExpiresAt, InstanceID: inst.ID,
	})
	if err != nil {
		return nil, err
	}
	text, err := json.Marshal(Secret{made.AccessKeyID, made.Secret, made.Token})
	if err != nil {
		return nil, err
	}
	c.Sealed = m.deps.Sealer.Seal(text, sealContext(c))
	return c, nil
}

// trusted asks the role's trust policy whether EC2 may take it for an instance.
func (m *Maker) trusted(ctx context.Context, role *resource.IAMRole, inst *resource.Instance) error {
	trust, err := m.deps.Roles.Trust(role)
	if err != nil {
		m.deps.Log.Error("a trust policy does not parse", "role", role.ARN(), "error", err)
		return awserr.New("AccessDenied", "The trust policy cannot be read").Because(err)
	}
	arn := "arn:aws:ec2:" + inst.Region + ":" + inst.AccountID + ":instance/" + inst.ID
	return m.deps.Roles.Decide(ctx, authz.Question{
		Action: m.assume, Resource: role.ARN(), Owner: role.AccountID, Policy: trust, Trust: true,
		As: &policy.Principal{Kind: policy.Service, ARN: Service, ID: Service},
		Keys: func(k policy.Key) (policy.Value, bool) {
			switch k.Name {
			case "aws:sourceaccount":
				return policy.String(inst.AccountID), true
			case "aws:sourcearn":
				return policy.String(arn), true
			}
			return policy.Value{}, false
		},
	})
}
