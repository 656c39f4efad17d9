package iam

import (
	"context"
	"encoding/base64"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"karri.dev/internal/authz"
	"karri.dev/internal/aws/call"
	shape "karri.dev/internal/aws/shape/iam"
	"karri.dev/internal/policy"
	"karri.dev/internal/resource"
	"karri.dev/internal/store"
)

// principalOf gathers the policies of a user, group or role of the account.
func (s *Service) principalOf(account, arn string) (*simulation, error) {
	snap := s.store.Snapshot()
	owner, last := authz.SplitARN(arn)
	kind, _, _ := strings.Cut(strings.TrimPrefix(arn, "arn:aws:iam::"+owner+":"), "/")
	if owner == "" || kind != "user" && kind != "group" && kind != "role" {
		return nil, badInput("Invalid ARN: %.256s is not that of a user, group or role", arn)
	}
	missing := noEntity("The %s with arn %.512s cannot be found.", kind, arn)
	if owner != account {
		return nil, missing
	}
	sim := &simulation{principal: policy.Principal{Kind: policy.User, Account: account}}
	key := store.UserKey(account, last)
	switch kind {
	case "group":
		g := store.Groups.Get(snap, key)
		if g == nil || g.ARN() != arn {
			return nil, missing
		}
		return sim, s.holds(snap, sim, shape.PolicySourceTypeGroup, g.Name, &g.Permissions)
	case "role":
		r := store.Roles.Get(snap, key)
		if r == nil || r.ARN() != arn {
			return nil, missing
		}
		sim.principal = policy.Principal{Kind: policy.RoleSession, Account: account, Issuer: arn, IssuerID: r.ID, Tags: tagsOf(r.Tags)}
		return sim, s.holds(snap, sim, shape.PolicySourceTypeRole, r.Name, &r.Permissions)
	}
	u := store.Users.Get(snap, key)
	if u == nil || u.ARN() != arn {
		return nil, missing
	}
	sim.principal = policy.Principal{Kind: policy.User, Account: account, ARN: arn, ID: u.ID, Name: u.Name, Tags: tagsOf(u.Tags)}
	if err := s.holds(snap, sim, shape.PolicySourceTypeUser, u.Name, &u.Permissions); err != nil {
		return nil, err
	}
	for _, id := range u.Groups {
		if g := store.GroupsByID.One(snap, id); g != nil && g.AccountID == account {
			if err := s.holds(snap, sim, shape.PolicySourceTypeGroup, g.Name, &g.Permissions); err != nil {
				return nil, err
			}
		}
	}
	return sim, nil
}

// holds adds an entity's policies, under the names that AWS has for them: of an inline one KIND_ENTITY_POLICY.
func (s *Service) holds(r store.Reader, sim *simulation, kind, name string, p *resource.Permissions) error {
	for _, inline := range slices.Sorted(maps.Keys(p.Inline)) {
		one, err := stored(kind+"_"+name+"_"+inline, kind, p.Inline[inline])
		if err != nil {
			return err
		}
		sim.identity = append(sim.identity, one)
	}
	for _, arn := range p.Attached {
		one, err := s.managedSource(r, arn)
		if err != nil {
			return err
		}
		if one != nil {
			sim.identity = append(sim.identity, *one)
		}
	}
	if p.Boundary == "" {
		return nil
	}
	one, err := s.managedSource(r, p.Boundary)
	if err == nil && one == nil { // one that is gone leaves nothing allowed
		var none source
		none, err = stored("none", shape.PolicySourceTypeNone, `{"Version":"2012-10-17","Statement":{"Effect":"Deny","Action":"*","Resource":"*"}}`)
		one = &none
	}
	sim.boundary = one
	return err
}

// managedSource gives a managed policy; nil: there is none.
func (s *Service) managedSource(r store.Reader, arn string) (*source, error) {
	kind, p := shape.PolicySourceTypeUserManaged, authz.FindPolicy(r, arn)
	if i := slices.IndexFunc(s.cloud, func(p *resource.Policy) bool { return p.ARN() == arn }); i >= 0 {
		kind, p = shape.PolicySourceTypeAwsManaged, s.cloud[i]
	}
	if p == nil {
		return nil, nil
	}
	one, err := stored(p.Name, kind, p.Text())
	return &one, err
}

// callAs makes a user the caller, who need not be there.
func (s *Service) callAs(sim *simulation, arn string) error {
	account, kind, name := authz.PrincipalARN(arn)
	if kind != "user" {
		return badInput("Invalid CallerArn: %.256s is not the ARN of a user", arn)
	}
	if arn == sim.principal.ARN {
		return nil
	}
	sim.principal = policy.Principal{Kind: policy.User, Account: account, ARN: arn, Name: name}
	return nil
}

// ownerOf gives the account that resources belong to: an ARN's, a number, or the caller's.
func ownerOf(owner, caller string) (string, error) {
	if owner == "" {
		return caller, nil
	}
	if account, kind, _ := authz.PrincipalARN(owner); (kind == "root" || kind == "account" || kind == "user") && account != "" {
		return account, nil
	}
	return "", badInput("Invalid ResourceOwner: %.256s is not an account", owner)
}

// handling lists what RunInstances has to be tried on in each of EC2's cases.
var handling = map[string][]string{
	"EC2-VPC-InstanceStore":        {"instance", "image", "security-group", "network-interface"},
	"EC2-VPC-InstanceStore-Subnet": {"instance", "image", "security-group", "network-interface", "subnet"},
	"EC2-VPC-EBS":                  {"instance", "image", "security-group", "network-interface", "volume"},
	"EC2-VPC-EBS-Subnet":           {"instance", "image", "security-group", "network-interface", "subnet", "volume"},
}

func checkTrial(t *trial) error {
	if len(t.actions) == 0 {
		return badInput("ActionNames must have at least one action.")
	}
	for _, a := range t.actions {
		service, name, ok := strings.Cut(a, ":")
		if !ok || service == "" || name == "" || len(a) > 128 || strings.ContainsAny(a, "*?:"[:2]) || strings.Contains(name, ":") {
			return badInput("Invalid Action: %.128s", a)
		}
	}
	for _, arn := range t.resources {
		if arn != "*" && (len(arn) > 2048 || !strings.HasPrefix(arn, "arn:") || strings.Count(arn, ":") < 5) {
			return badInput("Invalid Resource: %.256s", arn)
		}
	}
	if t.policy != "" && (len(t.resources) == 0 || slices.Contains(t.resources, "*")) {
		return badInput("ResourceArns must name the resource of the ResourcePolicy.")
	}
	if t.handling == "" {
		return nil
	}
	types, ok := handling[t.handling]
	if !ok {
		return badInput("Invalid ResourceHandlingOption: %.64s", t.handling)
	}
	for _, kind := range types {
		if !slices.ContainsFunc(t.resources, func(arn string) bool {
			part := strings.SplitN(arn, ":", 6)
			return len(part) == 6 && part[2] == "ec2" && strings.HasPrefix(part[5], kind+"/")
		}) {
			return badInput("ResourceHandlingOption %s needs a resource of the type %s in ResourceArns.", t.handling, kind)
		}
	}
	return nil
}

// entries reads the context: values of the type that each says.
func entries(list []shape.ContextEntry) (values, error) {
	out := values{}
	for _, e := range list {
		key := strings.ToLower(e.ContextKeyName)
		one, many := strings.CutSuffix(e.ContextKeyType, "List")
		valid, known := types[one]
		switch {
		case len(key) < 5 || len(key) > 256 || !strings.Contains(key, ":"):
			return nil, badInput("Invalid ContextKeyName: %.256s", e.ContextKeyName)
		case !known:
			return nil, badInput("Invalid ContextKeyType: %.64s", e.ContextKeyType)
		case !many && len(e.ContextKeyValues) != 1:
			return nil, badInput("The context key %s of type %s must have one value.", e.ContextKeyName, e.ContextKeyType)
		case !slices.ContainsFunc(e.ContextKeyValues, func(v string) bool { return !valid(v) }):
		default:
			return nil, badInput("The context key %s has a value that is not of type %s.", e.ContextKeyName, e.ContextKeyType)
		}
		if out[key] = policy.Strings(e.ContextKeyValues); !many {
			out[key] = policy.String(e.ContextKeyValues[0])
		}
	}
	return out, nil
}

// types says for each type of context key whether a text is a value of it.
var types = map[string]func(string) bool{
	"string":  func(string) bool { return true },
	"numeric": func(v string) bool { _, err := strconv.ParseFloat(v, 64); return err == nil },
	"boolean": func(v string) bool { return strings.EqualFold(v, "true") || strings.EqualFold(v, "false") },
	"ip": func(v string) bool {
		_, err := netip.ParseAddr(v)
		return err == nil
	},
	"binary": func(v string) bool { _, err := base64.StdEncoding.DecodeString(v); return err == nil },
	"date": func(v string) bool {
		if _, err := strconv.ParseInt(v, 10, 64); err == nil {
			return true
		}
		_, err := time.Parse(time.RFC3339, v)
		_, day := time.Parse(time.DateOnly, v)
		return err == nil || day == nil
	},
}

// GetContextKeysForCustomPolicy lists the condition keys that policies ask for.
func (s *Service) GetContextKeysForCustomPolicy(_ context.Context, in *shape.GetContextKeysForCustomPolicyRequest) (*shape.GetContextKeysForCustomPolicyResult, error) {
	list, err := inputs("PolicyInputList", in.PolicyInputList)
	if err != nil {
		return nil, err
	}
	return &shape.GetContextKeysForCustomPolicyResult{ContextKeyNames: keysOf(list)}, nil
}

// GetContextKeysForPrincipalPolicy lists the condition keys that the policies of a user, group or role ask for, and others that
// the call brings along.
func (s *Service) GetContextKeysForPrincipalPolicy(ctx context.Context, in *shape.GetContextKeysForPrincipalPolicyRequest) (*shape.GetContextKeysForPrincipalPolicyResult, error) {
	sim, err := s.principalOf(call.From(ctx).AccountID, in.PolicySourceArn)
	if err != nil {
		return nil, err
	}
	more, err := inputs("PolicyInputList", in.PolicyInputList)
	if err != nil {
		return nil, err
	}
	return &shape.GetContextKeysForPrincipalPolicyResult{ContextKeyNames: keysOf(append(sim.identity, more...))}, nil
}

func keysOf(list []source) []string {
	out := []string{}
	for _, p := range list {
		for _, key := range p.Keys() {
			if !slices.ContainsFunc(out, func(k string) bool { return strings.EqualFold(k, key) }) {
				out = append(out, key)
			}
		}
	}
	return out
}
