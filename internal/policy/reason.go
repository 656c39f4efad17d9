package policy

import "fmt"

// Reason says which rule decided.
type Reason uint8

const (
	AllowedByIdentity Reason = iota + 1
	AllowedByResource
	AllowedAsRoot

	DeniedByIdentity // explicit denies
	DeniedByResource
	DeniedByBoundary
	DeniedBySession
	DeniedByEndpoint

	NoIdentityAllow // implicit denies
	NoResourceAllow
	NoBoundaryAllow
	NoSessionAllow
	NoEndpointAllow
)

// Explicit says that a Deny statement decided.
func (r Reason) Explicit() bool { return r >= DeniedByIdentity && r <= DeniedByEndpoint }

// policyWords names the kind of policy in the words of AWS's error messages.
func (r Reason) policyWords() string {
	switch r {
	case AllowedByIdentity, DeniedByIdentity, NoIdentityAllow:
		return "identity-based policy"
	case AllowedByResource, DeniedByResource, NoResourceAllow:
		return "resource-based policy"
	case DeniedByBoundary, NoBoundaryAllow:
		return "permissions boundary"
	case DeniedBySession, NoSessionAllow:
		return "session policy"
	case DeniedByEndpoint, NoEndpointAllow:
		return "VPC endpoint policy"
	}
	return "root user"
}

// String is for logs and audit records.
func (r Reason) String() string {
	switch {
	case r <= AllowedAsRoot:
		return "allowed: " + r.policyWords()
	case r.Explicit():
		return "explicit deny: " + r.policyWords()
	}
	return "implicit deny: no " + r.policyWords()
}

// Message gives AWS's sentence for a refusal: who may not do what, on what and why (troubleshoot_access-denied).
func (d Decision) Message(r *Request) string {
	on := " on resource: " + r.Resource
	if r.Resource == "*" {
		on = ""
	}
	why := fmt.Sprintf("because no %s allows the %s action", d.Reason.policyWords(), r.Action.Name)
	if d.Reason.Explicit() {
		article := "a"
		if d.Reason == DeniedByIdentity {
			article = "an"
		}
		why = fmt.Sprintf("with an explicit deny in %s %s", article, d.Reason.policyWords())
	}
	who := r.Principal.ARN
	if r.Principal.Kind == Anonymous {
		who = "anonymous"
	}
	return fmt.Sprintf("User: %s is not authorized to perform: %s%s %s", who, r.Action.Name, on, why)
}
