package authz

import (
	"context"
	"fmt"
	"reflect"

	"karri.dev/internal/aws/call"
	"karri.dev/internal/policy"
	"karri.dev/internal/resource"
	"karri.dev/internal/store"
)

// Question is what a handler asks itself: whether the caller may do something with a resource that it found.
type Question struct {
	Action   policy.Action // made once, of "s3:GetObject"
	Resource string        // ARN
	// Owner is the account that the resource belongs to. Of another account than the caller's, the resource's own
	// policies have to grant it as well.
	Owner string
	// Policy is the resource's own, Grants its access control list as a policy; nil: none.
	Policy, Grants *policy.Policy
	// Trust says that Policy alone lets anybody in: it is a role's.
	Trust bool
	// Keys gives the condition keys of the request and the resource beside those that every request has; nil: none.
	Keys Keys
	// As is who asks where that is not the caller: a service, or somebody whom an identity provider vouches for.
	As *policy.Principal
}

// Decide gives nil, or AccessDenied (EC2: UnauthorizedOperation) with the reason. Anonymous callers are let in by what
// the resource grants to everyone.
func (e *Engine) Decide(ctx context.Context, q Question) error {
	a := e.asking(call.From(ctx))
	defer e.done(a)
	d, err := e.decision(a, q)
	if err != nil {
		return e.unknown(a.Info, err)
	}
	if !d.Allowed {
		return e.refuse(a, d)
	}
	return nil
}

func (e *Engine) decision(a *Asking, q Question) (policy.Decision, error) {
	if q.As != nil {
		a.who.Principal = *q.As
	} else if err := e.know(a.Reader, &a.Info.Caller, a.who); err != nil {
		return policy.Decision{}, err
	}
	a.looked, a.keys = true, q.Keys
	if op := e.services[a.Info.Service][a.Info.Operation]; op != nil && op.Handler != "" && a.Info.Input != nil {
		a.op, a.in = op, reflect.ValueOf(a.Info.Input).Elem()
	}
	w := a.who
	w.policies.Resource, w.policies.Grants, w.policies.Trust = q.Policy, q.Grants, q.Trust
	a.request.Principal, a.request.Action, a.request.Resource, a.request.Owner = w.Principal, q.Action, q.Resource, q.Owner
	return a.evaluate(), nil
}

// Trust gives a role's trust policy, with unique ids in place of the ARNs it was written with.
func (e *Engine) Trust(role *resource.IAMRole) (*policy.Policy, error) {
	p := e.trusts.get(role, func(role *resource.IAMRole) parsed {
		p, err := BoundPolicy(role.Trust, policy.Trust)
		return parsed{p, err}
	})
	if p.err != nil {
		return nil, fmt.Errorf("trust policy of role %s: %w", role.ARN(), p.err)
	}
	return p.Policy, nil
}

// BoundPolicy compiles a policy that names principals for evaluation.
func BoundPolicy(b resource.Bound, kind policy.Kind) (*policy.Policy, error) {
	p, err := policy.Parse(b.Text, kind)
	if err != nil || len(b.IDs) == 0 {
		return p, err
	}
	return p.Bind(kind, func(name string) string {
		if id, ok := b.IDs[name]; ok {
			return id
		}
		return name
	})
}

// Bind notes whom the ARNs of users and roles in a policy mean now. missing is the first principal that is not there.
func Bind(r store.Reader, text string, kind policy.Kind) (b resource.Bound, missing string, err error) {
	p, err := policy.Parse(text, kind)
	if err != nil {
		return resource.Bound{}, "", err
	}
	b.Text = text
	for _, s := range p.Document().Statements {
		for _, list := range []*policy.Principals{s.Principal, s.NotPrincipal} {
			if list == nil {
				continue
			}
			for _, name := range list.AWS {
				id, ok := entityID(r, name)
				switch {
				case !ok && missing == "":
					missing = name
				case id != "":
					if b.IDs == nil {
						b.IDs = map[string]string{}
					}
					b.IDs[name] = id
				}
			}
			for _, id := range list.CanonicalUser {
				if store.AccountsByCanon.One(r, id) == nil && missing == "" {
					missing = id
				}
			}
		}
	}
	return b, missing, nil
}

// entityID gives the unique id of a user or role by ARN; "" for accounts, sessions and ids. ok: it is there.
func entityID(r store.Reader, name string) (id string, ok bool) {
	account, kind, last := PrincipalARN(name)
	switch kind {
	case "everyone", "id":
		return "", true
	case "account", "root", "assumed-role", "federated-user":
		return "", store.Accounts.Get(r, account) != nil
	case "user":
		if u := store.Users.Get(r, store.UserKey(account, last)); u != nil && u.ARN() == name {
			return u.ID, true
		}
	case "role":
		if role := store.Roles.Get(r, store.UserKey(account, last)); role != nil && role.ARN() == name {
			return role.ID, true
		}
	}
	return "", false
}
