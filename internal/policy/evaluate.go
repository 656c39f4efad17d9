package policy

import "strings"

// Action is an action's name, prepared once (in the table of operations) for many evaluations.
type Action struct {
	Name  string // "ec2:RunInstances"
	lower string
}

// MakeAction prepares an action.
func MakeAction(name string) Action { return Action{name, strings.ToLower(name)} }

// Request is what is to be decided: one action on one resource. A call that touches several resources is
// several requests, all of which have to be allowed.
type Request struct {
	Principal Principal
	Action    Action
	Resource  string // ARN; "*" for an action without resources
	// Owner is the account that the resource belongs to. "": the caller's own, as for an action without resources.
	Owner   string
	Context Context // values of the other condition keys; nil: none
}

// Policies are those that concern a request.
type Policies struct {
	Identity []*Policy // of the user and its groups, or of the role
	Boundary *Policy   // nil: none
	Session  []*Policy // given when the session was made, together one limit; none: no limit but for FederatedUser
	Resource *Policy   // of the resource: bucket policy, trust policy; nil: none
	Grants   *Policy   // what else the resource grants: its access control list as a policy; nil: nothing
	// Trust says that the resource decides alone: without its policy's word the account's own policies allow
	// nothing. It is so for roles' trust policies.
	Trust bool
}

// Decision is the outcome.
type Decision struct {
	Allowed bool
	Reason  Reason
	// The statement that decided, and its policy: the first Deny, or the first Allow of the layer in Reason.
	// nil where nothing said a word.
	Statement *Statement
	Policy    *Policy
}

// Match is a statement that applied to a request.
type Match struct {
	Layer     Layer
	Policy    *Policy
	Statement *Statement
}

// Layer is where a policy stands in an evaluation.
type Layer uint8

const (
	IdentityLayer Layer = iota + 1
	BoundaryLayer
	SessionLayer
	ResourceLayer
)

// Evaluate decides a request as evaluation-logic describes it:
//
//   - a Deny that applies, anywhere, denies;
//   - within an account the identity policies or the resource's policy allow. Boundary and session policies
//     cap the identity policies, and a grant of the resource to a session's role, but not a grant of the
//     resource to the user, the session or everyone;
//   - a resource's grant to an account leaves the decision to that account's identity policies;
//   - across accounts, both sides have to allow;
//   - an account's root user needs no identity policies;
//   - who belongs to no account (anonymous, services, external identities) needs the resource's grant.
func Evaluate(r *Request, p *Policies) Decision {
	e := evaluation{Request: r, bounded: p.Boundary != nil}
	return e.decide(p)
}

// Pass decides whether a VPC endpoint's policy lets a request through, whoever else allows or denies it.
func Pass(r *Request, endpoint *Policy) Decision {
	e := evaluation{Request: r}
	var v verdict
	e.scan(&v, endpoint, ResourceLayer)
	switch {
	case v.deny != nil:
		return v.denied(DeniedByEndpoint)
	case v.allow == nil:
		return Decision{Reason: NoEndpointAllow}
	}
	return v.allowed(AllowedByResource)
}

// Explain is Evaluate that also gives every statement that applied, and the condition keys that were asked for
// and missing. It is for the policy simulator, whose Context goes before what the principal itself says.
func Explain(r *Request, p *Policies) (Decision, []Match, []Key) {
	e := evaluation{Request: r, bounded: p.Boundary != nil, trace: &trace{}}
	d := e.decide(p)
	return d, e.trace.matches, e.trace.missing
}

// evaluation is one run.
type evaluation struct {
	*Request
	bounded bool
	trace   *trace // nil: only the decision is wanted
}

type trace struct {
	matches []Match
	missing []Key
}

// verdict is what a layer says.
type verdict struct {
	deny, allow             *statement
	denyPolicy, allowPolicy *Policy
	reach                   reach // of the resource's grants
}

func (v *verdict) denied(why Reason) Decision {
	return Decision{Reason: why, Statement: v.deny.src, Policy: v.denyPolicy}
}

func (v *verdict) allowed(why Reason) Decision {
	d := Decision{Allowed: true, Reason: why, Policy: v.allowPolicy}
	if v.allow != nil {
		d.Statement = v.allow.src
	}
	return d
}

func (e *evaluation) decide(p *Policies) Decision {
	who := &e.Principal
	var identity, boundary, session, resource verdict
	for _, q := range p.Identity {
		e.scan(&identity, q, IdentityLayer)
	}
	if p.Boundary != nil {
		e.scan(&boundary, p.Boundary, BoundaryLayer)
	}
	for _, q := range p.Session {
		e.scan(&session, q, SessionLayer)
	}
	if p.Resource != nil {
		e.scan(&resource, p.Resource, ResourceLayer)
	}
	if p.Grants != nil {
		e.scan(&resource, p.Grants, ResourceLayer)
	}
	switch {
	case identity.deny != nil:
		return identity.denied(DeniedByIdentity)
	case resource.deny != nil:
		return resource.denied(DeniedByResource)
	case boundary.deny != nil:
		return boundary.denied(DeniedByBoundary)
	case session.deny != nil:
		return session.denied(DeniedBySession)
	}

	switch who.Kind {
	case Anonymous, Service, External:
		if resource.reach&direct != 0 {
			return resource.allowed(AllowedByResource)
		}
		return Decision{Reason: NoResourceAllow}
	}

	withinBoundary := p.Boundary == nil || boundary.allow != nil
	withinSession := session.allow != nil || len(p.Session) == 0 && who.Kind != FederatedUser
	own := identity.allow != nil || who.Kind == Root
	home := e.Owner == "" || e.Owner == who.Account

	granted := false
	switch {
	case home && resource.reach&direct != 0:
		return resource.allowed(AllowedByResource)
	case home && resource.reach&issuer != 0:
		granted, own = true, true // as if the role's own policies said so
	case home && !p.Trust:
		granted = true
	default:
		granted = resource.reach != 0
	}
	switch {
	case !granted:
		return Decision{Reason: NoResourceAllow}
	case !own:
		return Decision{Reason: NoIdentityAllow}
	case !withinBoundary:
		return Decision{Reason: NoBoundaryAllow}
	case !withinSession:
		return Decision{Reason: NoSessionAllow}
	case identity.allow == nil && who.Kind == Root:
		return identity.allowed(AllowedAsRoot)
	case identity.allow == nil:
		return resource.allowed(AllowedByResource)
	}
	return identity.allowed(AllowedByIdentity)
}

// scan adds one policy's word to its layer's.
func (e *evaluation) scan(v *verdict, p *Policy, l Layer) {
	for i := range p.denies {
		if v.deny != nil && e.trace == nil {
			return
		}
		s := &p.denies[i]
		if s.who != nil && !s.denies(e) || !s.applies(e) {
			continue
		}
		e.note(l, p, s)
		if v.deny == nil {
			v.deny, v.denyPolicy = s, p
		}
	}
	for i := range p.allows {
		if v.allow != nil && (l != ResourceLayer || v.reach&direct != 0) && e.trace == nil {
			return
		}
		s := &p.allows[i]
		var r reach
		if s.who != nil {
			if r = s.who.reach(&e.Principal); r == 0 {
				continue
			}
		}
		if !s.applies(e) {
			continue
		}
		e.note(l, p, s)
		if v.allow == nil || r&direct > v.reach&direct {
			v.allow, v.allowPolicy = s, p
		}
		v.reach |= r
	}
}

// denies says whether a Deny statement with principals means the caller.
func (s *statement) denies(e *evaluation) bool {
	if s.notPrincipal {
		return !s.who.excepts(&e.Principal, e.bounded)
	}
	return s.who.reach(&e.Principal) != 0
}

func (e *evaluation) note(l Layer, p *Policy, s *statement) {
	if e.trace != nil {
		e.trace.matches = append(e.trace.matches, Match{l, p, s.src})
	}
}
