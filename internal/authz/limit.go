package authz

import (
	"fmt"

	"karri.dev/internal/aws/call"
	"karri.dev/internal/policy"
	"karri.dev/internal/resource"
	"karri.dev/internal/store"
)

// LimitsName is the name of the setting with the quotas that the cloud's administrator gives an account: a policy of
// Limit statements. For "" it is that of all accounts that have none of their own for a key.
func LimitsName(account string) string { return "quotas/" + account }

// Limit is what a quota is asked for.
type Limit struct {
	Key      string          // lower case: "ec2:quota-volumenumber"
	Actions  []policy.Action // a statement about one of them is about the quota
	Resource string          // ARN
	Account  string          // whose account's quotas; "" is the caller's
}

// NoLimit says that no statement limits something.
const NoLimit = -1

// Limits gives the least that Limit statements allow of what a quota counts: for the account by what the
// administrator has set, and for the caller by its own policies. Boundaries and session policies limit, too.
func (e *Engine) Limits(r store.Reader, info *call.Info, l *Limit) (account, own int64, err error) {
	a := e.asking(info)
	defer e.done(a)
	a.Reader, a.looked = r, true
	if err := e.know(r, &info.Caller, a.who); err != nil {
		return 0, 0, e.unknown(info, err)
	}
	a.request.Principal, a.request.Resource = a.who.Principal, l.Resource
	whose := l.Account
	if whose == "" {
		whose = info.AccountID
	}
	for _, of := range []string{whose, ""} {
		p, err := e.given(r, of)
		if err != nil {
			return 0, 0, err
		}
		if account = a.least(NoLimit, p, l); account != NoLimit {
			break
		}
	}
	own = NoLimit
	w := a.who
	for _, p := range w.policies.Identity {
		own = a.least(own, p, l)
	}
	for _, p := range w.policies.Session {
		own = a.least(own, p, l)
	}
	return account, a.least(own, w.policies.Boundary, l), nil
}

// given is the policy of quotas that the administrator gave; nil: none.
func (e *Engine) given(r store.Reader, account string) (*policy.Policy, error) {
	set := store.Settings.Get(r, LimitsName(account))
	if set == nil {
		return nil, nil
	}
	p := e.quotas.get(set, func(set *resource.Setting) parsed {
		p, err := policy.Parse(set.Value, policy.Identity)
		return parsed{p, err}
	})
	if p.err != nil {
		return nil, fmt.Errorf("quotas of account %q: %w", account, p.err)
	}
	return p.Policy, nil
}

// least lowers most to what a policy says.
func (a *Asking) least(most int64, p *policy.Policy, l *Limit) int64 {
	if p == nil {
		return most
	}
	quotas := p.Limits()
	for i := range quotas {
		q := &quotas[i]
		if q.Key != l.Key || most != NoLimit && most <= q.Max {
			continue
		}
		for _, action := range l.Actions {
			if a.request.Action = action; q.Applies(&a.request) {
				most = q.Max
				break
			}
		}
	}
	return most
}
