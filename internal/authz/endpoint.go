package authz

import (
	"karri.dev/internal/aws/call"
	"karri.dev/internal/policy"
	"karri.dev/internal/resource"
	"karri.dev/internal/store"
)

// endpointPolicy gives the policy of the VPC endpoint that a call came by; nil: there is none, or it lets everything
// through. An endpoint is for one service only, and one that is gone for none.
func (e *Engine) endpointPolicy(r store.Reader, info *call.Info) *policy.Policy {
	if info.SourceEndpoint == "" {
		return nil
	}
	at := store.VPCEndpoints.Get(r, info.SourceEndpoint)
	if at == nil || at.Signing() != info.Service {
		return e.nothing
	}
	if at.Policy == nil {
		return nil
	}
	p := e.ways.get(at, func(at *resource.VPCEndpoint) parsed {
		p, err := BoundPolicy(*at.Policy, policy.Resource)
		return parsed{p, err}
	})
	if p.err != nil {
		e.deps.Log.Error("a VPC endpoint's policy cannot be read: nothing passes", "endpoint", at.ID, "error", p.err)
		return e.nothing
	}
	return p.Policy
}

// evaluate decides the request: the VPC endpoint lets it pass, and the policies allow it.
func (a *Asking) evaluate() policy.Decision {
	if a.passes != nil {
		if d := policy.Pass(&a.request, a.passes); !d.Allowed {
			return d
		}
	}
	return policy.Evaluate(&a.request, &a.who.policies)
}
