package authz

import (
	"fmt"
	"maps"
	"slices"

	"karri.dev/internal/aws/call"
	"karri.dev/internal/policy"
	"karri.dev/internal/resource"
	"karri.dev/internal/store"
)

// who is a principal with the policies that concern it.
type who struct {
	policy.Principal
	policies policy.Policies
	// all says that nothing can refuse it within its account: root, without a session that limits it.
	all bool
}

// inline are an entity's own policies, compiled.
type inline struct {
	policies []*policy.Policy
	tags     []policy.Tag
	err      error
}

// broken is a policy that was accepted once and does not parse any more: to leave it out could lose a Deny.
func broken(what string, err error) error { return fmt.Errorf("policy of %s: %w", what, err) }

func compileInline(what string, p *resource.Permissions, tags resource.Tags) inline {
	var out inline
	for _, name := range slices.Sorted(maps.Keys(p.Inline)) {
		compiled, err := policy.Parse(p.Inline[name], policy.Identity)
		if err != nil {
			return inline{err: broken(what+" "+name, err)}
		}
		out.policies = append(out.policies, compiled)
	}
	for _, key := range slices.Sorted(maps.Keys(tags)) {
		out.tags = append(out.tags, policy.Tag{Key: key, Value: tags[key]})
	}
	return out
}

type parsed struct {
	*policy.Policy
	err error
}

// managedPolicy gives a managed policy by ARN: the cloud's, or the account's. nil: there is none.
func (e *Engine) managedPolicy(r store.Reader, arn string) (*policy.Policy, error) {
	if p, ok := e.managed[arn]; ok {
		return p, nil
	}
	rec := FindPolicy(r, arn)
	if rec == nil {
		return nil, nil
	}
	p := e.texts.get(rec, func(rec *resource.Policy) parsed {
		p, err := policy.Parse(rec.Text(), policy.Identity)
		return parsed{p, err}
	})
	if p.err != nil {
		return nil, broken(arn, p.err)
	}
	return p.Policy, nil
}

// FindPolicy gives an account's managed policy by its whole ARN, or nil.
func FindPolicy(r store.Reader, arn string) *resource.Policy {
	account, name := SplitARN(arn)
	if p := store.Policies.Get(r, store.UserKey(account, name)); p != nil && p.ARN() == arn {
		return p
	}
	return nil
}

// SplitARN gives the account and the name (what follows the last slash) of an IAM entity's ARN.
func SplitARN(arn string) (account, name string) {
	const head = "arn:aws:iam::"
	if len(arn) < len(head)+13 || arn[:len(head)] != head {
		return "", ""
	}
	for i := len(arn) - 1; i > len(head)+12; i-- {
		if arn[i] == '/' {
			return arn[len(head) : len(head)+12], arn[i+1:]
		}
	}
	return "", ""
}

// add collects the policies of an entity.
func (e *Engine) add(r store.Reader, w *who, own inline, p *resource.Permissions) error {
	if own.err != nil {
		return own.err
	}
	w.policies.Identity = append(w.policies.Identity, own.policies...)
	for _, arn := range p.Attached {
		m, err := e.managedPolicy(r, arn)
		if err != nil {
			return err
		}
		if m != nil {
			w.policies.Identity = append(w.policies.Identity, m)
		}
	}
	return nil
}

// bound sets the boundary. One that is gone leaves nothing allowed.
func (e *Engine) bound(r store.Reader, w *who, arn string) error {
	if arn == "" {
		return nil
	}
	m, err := e.managedPolicy(r, arn)
	if err != nil {
		return err
	}
	if m == nil {
		m = e.nothing
	}
	w.policies.Boundary = m
	return nil
}

// know fills in who makes a call, and by which policies.
func (e *Engine) know(r store.Reader, c *call.Caller, w *who) error {
	*w = who{policies: policy.Policies{Identity: w.policies.Identity[:0], Session: w.policies.Session[:0]}}
	if c.Anonymous() {
		return nil
	}
	w.Account, w.ARN, w.ID, w.CanonicalID = c.AccountID, c.ARN, c.UserID, c.CanonicalID
	s := c.Session
	switch {
	case s != nil && s.Kind == call.RoleSession:
		return e.knowRole(r, s, w)
	case s != nil && s.Kind == call.FederatedSession:
		return e.knowFederated(r, c, w)
	case c.Root():
		w.Kind, w.all = policy.Root, true
		return nil
	case c.UserName == "":
		return fmt.Errorf("%s is of no kind that is known", c.ARN)
	}
	w.Kind, w.Name = policy.User, c.UserName
	u := store.Users.Get(r, store.UserKey(c.AccountID, c.UserName))
	if u == nil || u.ID != c.UserID {
		return fmt.Errorf("the user %s is gone", c.ARN)
	}
	return e.knowUser(r, u, w)
}

func (e *Engine) knowUser(r store.Reader, u *resource.User, w *who) error {
	own := e.users.get(u, func(u *resource.User) inline { return compileInline("user "+u.Name, &u.Permissions, u.Tags) })
	w.Tags = own.tags
	if err := e.add(r, w, own, &u.Permissions); err != nil {
		return err
	}
	for _, id := range u.Groups {
		g := store.GroupsByID.One(r, id)
		if g == nil || g.AccountID != u.AccountID {
			continue
		}
		own := e.groups.get(g, func(g *resource.Group) inline { return compileInline("group "+g.Name, &g.Permissions, nil) })
		if err := e.add(r, w, own, &g.Permissions); err != nil {
			return err
		}
	}
	return e.bound(r, w, u.Boundary)
}

func (e *Engine) knowRole(r store.Reader, s *call.Session, w *who) error {
	role := store.RolesByID.One(r, s.PrincipalID)
	if role == nil || role.AccountID != s.AccountID {
		return fmt.Errorf("the role %s is gone", s.PrincipalID)
	}
	w.Kind, w.Issuer, w.IssuerID = policy.RoleSession, role.ARN(), role.ID
	own := e.roles.get(role, func(r *resource.IAMRole) inline { return compileInline("role "+r.Name, &r.Permissions, r.Tags) })
	if err := e.add(r, w, own, &role.Permissions); err != nil {
		return err
	}
	if err := e.bound(r, w, role.Boundary); err != nil {
		return err
	}
	return e.limit(r, s, w, own.tags)
}

// knowFederated makes a federated user who it is: what its user's and its session's policies both allow.
func (e *Engine) knowFederated(r store.Reader, c *call.Caller, w *who) error {
	s := c.Session
	w.Kind, w.IssuerID, w.Issuer = policy.FederatedUser, s.PrincipalID, "arn:aws:iam::"+c.AccountID+":root"
	if s.PrincipalID == c.AccountID {
		w.policies.Identity = append(w.policies.Identity, e.managed[policy.ManagedPrefix+"AdministratorAccess"])
		return e.limit(r, s, w, nil)
	}
	u := store.UsersByID.One(r, s.PrincipalID)
	if u == nil || u.AccountID != c.AccountID {
		return fmt.Errorf("the user %s is gone", s.PrincipalID)
	}
	w.Issuer = u.ARN()
	if err := e.knowUser(r, u, w); err != nil {
		return err
	}
	return e.limit(r, s, w, nil)
}

// limits are a session's policies and tags, compiled.
type limits struct {
	policies []*policy.Policy
	tags     []policy.Tag
	err      error
}

// limit adds what a session brings: its policies, and its tags over those of its principal.
func (e *Engine) limit(r store.Reader, s *call.Session, w *who, tags []policy.Tag) error {
	own := e.sessions.get(s, func(s *call.Session) (out limits) {
		for _, text := range s.Policies {
			p, err := policy.Parse(text, policy.Identity)
			if err != nil {
				return limits{err: broken("session "+s.Name, err)}
			}
			out.policies = append(out.policies, p)
		}
		for _, key := range slices.Sorted(maps.Keys(s.Tags)) {
			out.tags = append(out.tags, policy.Tag{Key: key, Value: s.Tags[key]})
		}
		return out
	})
	if own.err != nil {
		return own.err
	}
	w.policies.Session = append(w.policies.Session, own.policies...)
	for _, arn := range s.PolicyARNs {
		m, err := e.managedPolicy(r, arn)
		if err != nil {
			return err
		}
		if m == nil { // deleted since: it allows nothing any more
			m = e.nothing
		}
		w.policies.Session = append(w.policies.Session, m)
	}
	switch {
	case len(own.tags) == 0:
		w.Tags = tags
	case len(tags) == 0:
		w.Tags = own.tags
	default: // the first of a name counts
		w.Tags = slices.Concat(own.tags, tags)
	}
	return nil
}
