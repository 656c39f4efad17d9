package policy

import (
	"slices"
	"strings"
)

// PrincipalKind is what makes a request.
type PrincipalKind uint8

const (
	Anonymous     PrincipalKind = iota // nobody signed the request
	Root                               // an account's root user
	User                               // an IAM user, also with a GetSessionToken session
	RoleSession                        // from AssumeRole…, of an account's role
	FederatedUser                      // from GetFederationToken
	Service                            // a service of the cloud itself: "vmie.amazonaws.com"
	External                           // who calls AssumeRoleWithWebIdentity or …WithSAML: known to a provider, of no account
)

// Principal is who makes a request.
type Principal struct {
	Kind    PrincipalKind
	Account string // 12 digits; "" for Anonymous, Service and External
	// ARN of the caller: …:root, …:user/PATH/NAME, arn:aws:sts::…:assumed-role/ROLE/SESSION,
	// arn:aws:sts::…:federated-user/NAME. Service: its name. External: the provider's ARN or name.
	ARN string
	// ID is aws:userid: AIDA…, AROA…:SESSION, ACCOUNT:NAME of a federated user, the account of its root.
	ID string
	// Name is aws:username; only users have one.
	Name string
	// Issuer and IssuerID say whose session it is: ARN and unique id of the role, or of the user who called
	// GetFederationToken. Only RoleSession and FederatedUser have them.
	Issuer, IssuerID string
	CanonicalID      string // the account's, 64 hex digits
	Tags             []Tag  // of the user, or of the session (its role's tags included)
}

// Tag is a tag of the principal: aws:PrincipalTag/Key.
type Tag struct{ Key, Value string }

// reach says how closely a resource policy names the caller; bits.
type reach uint8

const (
	direct  reach = 1 << iota // the user, session, service or provider, or everyone
	issuer                    // the role of the session
	account                   // the account: a delegation to its administrators, or its root user itself
)

// principals is a compiled Principal or NotPrincipal.
type principals struct {
	*Principals
	everyone bool
}

func compilePrincipals(p *Principals) *principals {
	return &principals{p, p.Everyone || slices.Contains(p.AWS, "*")}
}

// reach gives every way in which the list names the caller.
func (p *principals) reach(who *Principal) reach {
	var r reach
	if p.everyone {
		r = direct
	}
	switch who.Kind {
	case Anonymous:
		return r
	case Service:
		if slices.Contains(p.Service, who.ARN) {
			r |= direct
		}
		return r
	case External:
		if slices.Contains(p.Federated, who.ARN) {
			r |= direct
		}
		return r
	}
	for _, name := range p.AWS {
		switch {
		case name == who.ARN || name == who.ID:
			r |= direct
		case who.Issuer != "" && (name == who.Issuer || name == who.IssuerID):
			r |= issuer
		}
		if name == who.Account || isRootOf(name, who.Account) {
			r |= account
		}
	}
	if who.CanonicalID != "" && slices.Contains(p.CanonicalUser, who.CanonicalID) {
		r |= account
	}
	return r
}

// excepts says whether a NotPrincipal list spares the caller. elements_notprincipal: each of account, role and
// session (account and user) has to be listed, and it spares nobody who has a permissions boundary.
func (p *principals) excepts(who *Principal, bounded bool) bool {
	r := p.reach(who)
	switch {
	case p.everyone:
		return true
	case bounded:
		return false
	}
	switch who.Kind {
	case Anonymous, Service, External:
		return r&direct != 0
	case Root:
		return r&account != 0
	case User:
		return r&(direct|account) == direct|account
	}
	return r == direct|issuer|account
}

// isRootOf says whether name is the ARN of the account's root, in any partition.
func isRootOf(name, account string) bool {
	rest, ok := strings.CutSuffix(name, ":root")
	if !ok || !strings.HasPrefix(rest, "arn:") {
		return false
	}
	rest, ok = strings.CutSuffix(rest, account)
	return ok && account != "" && strings.HasSuffix(rest, ":iam::")
}
