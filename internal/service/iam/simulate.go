package iam

import (
	"context"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"karri.dev/internal/aws/call"
	shape "karri.dev/internal/aws/shape/iam"
	"karri.dev/internal/policy"
	"karri.dev/internal/resource"
)

// simulation is what actions are tried in: the policies, who calls, and the context.
type simulation struct {
	identity  []source
	boundary  *source
	resource  *source
	principal policy.Principal
	owner     string // of the resources: an account
	context   values
	spelling  map[string]string // of condition keys, by their lower case
	actions   []string
	resources []string
}

// values are context entries by condition key in lower case.
type values map[string]policy.Value

// Value implements policy.Context.
func (v values) Value(k policy.Key) (policy.Value, bool) {
	got, ok := v[k.Text()]
	return got, ok
}

// SimulateCustomPolicy tries actions under policies that the call brings along.
func (s *Service) SimulateCustomPolicy(ctx context.Context, in *shape.SimulateCustomPolicyRequest) (*shape.SimulateCustomPolicyResult, error) {
	account := call.From(ctx).AccountID
	sim := &simulation{principal: policy.Principal{Kind: policy.User, Account: account}}
	var err error
	if sim.identity, err = inputs("PolicyInputList", in.PolicyInputList); err != nil {
		return nil, err
	}
	if len(in.PolicyInputList) == 0 {
		return nil, badInput("PolicyInputList must have at least one policy.")
	}
	if in.ResourcePolicy != "" && in.CallerArn == "" {
		return nil, badInput("CallerArn is required with a ResourcePolicy.")
	}
	results, next, err := s.simulate(sim, &trial{
		in.PermissionsBoundaryPolicyInputList, in.ActionNames, in.ResourceArns, in.ResourcePolicy, in.ResourceOwner, in.CallerArn,
		in.ContextEntries, in.ResourceHandlingOption, in.MaxItems, in.Marker,
	})
	if err != nil {
		return nil, err
	}
	return &shape.SimulateCustomPolicyResult{EvaluationResults: results, IsTruncated: next != "", Marker: next}, nil
}

// SimulatePrincipalPolicy tries actions under the policies of a user, group or role, and of those that the call brings along.
func (s *Service) SimulatePrincipalPolicy(ctx context.Context, in *shape.SimulatePrincipalPolicyRequest) (*shape.SimulatePrincipalPolicyResult, error) {
	sim, err := s.principalOf(call.From(ctx).AccountID, in.PolicySourceArn)
	if err != nil {
		return nil, err
	}
	more, err := inputs("PolicyInputList", in.PolicyInputList)
	if err != nil {
		return nil, err
	}
	sim.identity = append(sim.identity, more...)
	if in.ResourcePolicy != "" && in.CallerArn == "" && sim.principal.Kind != policy.User {
		return nil, badInput("CallerArn is required with a ResourcePolicy, unless PolicySourceArn is that of a user.")
	}
	results, next, err := s.simulate(sim, &trial{
		in.PermissionsBoundaryPolicyInputList, in.ActionNames, in.ResourceArns, in.ResourcePolicy, in.ResourceOwner, in.CallerArn,
		in.ContextEntries, in.ResourceHandlingOption, in.MaxItems, in.Marker,
	})
	if err != nil {
		return nil, err
	}
	return &shape.SimulatePrincipalPolicyResult{EvaluationResults: results, IsTruncated: next != "", Marker: next}, nil
}

// trial is what both simulations are asked in the same words.
type trial struct {
	boundaries            []string
	actions, resources    []string
	policy, owner, caller string
	context               []shape.ContextEntry
	handling              string
	maxItems              *int
	marker                string
}

// simulate gives a page of results: one for each action on each resource.
func (s *Service) simulate(sim *simulation, t *trial) (out []shape.EvaluationResult, next string, err error) {
	p, err := newPage(t.marker, t.maxItems)
	if err != nil {
		return nil, "", err
	}
	from := 0
	if p.after != "" {
		if from, err = strconv.Atoi(p.after); err != nil || from < 0 {
			return nil, "", invalid("Invalid Marker.")
		}
	}
	if err := s.prepare(sim, t); err != nil {
		return nil, "", err
	}
	all := len(sim.actions) * len(sim.resources)
	out = []shape.EvaluationResult{}
	for i := from; i < all; i++ {
		if len(out) == p.max {
			return out, marker(strconv.Itoa(i)), nil
		}
		out = append(out, sim.result(sim.actions[i/len(sim.resources)], sim.resources[i%len(sim.resources)]))
	}
	return out, "", nil
}

// prepare checks what is asked and completes the simulation.
func (s *Service) prepare(sim *simulation, t *trial) (err error) {
	if len(t.boundaries) > 1 {
		return badInput("PermissionsBoundaryPolicyInputList can have one policy.")
	}
	if len(t.boundaries) == 1 {
		list, err := inputs("PermissionsBoundaryPolicyInputList", t.boundaries)
		if err != nil {
			return err
		}
		sim.boundary = &list[0]
	}
	if t.caller != "" {
		if err := s.callAs(sim, t.caller); err != nil {
			return err
		}
	}
	if sim.owner, err = ownerOf(t.owner, sim.principal.Account); err != nil {
		return err
	}
	if t.policy != "" {
		parsed, err := policy.Parse(t.policy, policy.Resource)
		if err != nil {
			return badInput("ResourcePolicy: %s", err)
		}
		sim.resource = &source{"ResourcePolicy", shape.PolicySourceTypeResource, t.policy, parsed}
	}
	if sim.context, err = entries(t.context); err != nil {
		return err
	}
	sim.spelling = map[string]string{}
	for _, p := range sim.sources() {
		for _, key := range p.Keys() {
			sim.spelling[strings.ToLower(key)] = key
		}
	}
	if sim.actions, sim.resources = t.actions, t.resources; len(sim.resources) == 0 {
		sim.resources = []string{"*"}
	}
	return checkTrial(t)
}

// sources gives every policy of a simulation.
func (sim *simulation) sources() []source {
	all := slices.Clone(sim.identity)
	for _, p := range []*source{sim.boundary, sim.resource} {
		if p != nil {
			all = append(all, *p)
		}
	}
	return all
}

// result tries an action on a resource.
func (sim *simulation) result(action, arn string) shape.EvaluationResult {
	request := &policy.Request{Principal: sim.principal, Action: policy.MakeAction(action), Resource: arn, Owner: sim.owner, Context: sim.context}
	policies := &policy.Policies{}
	for _, p := range sim.identity {
		policies.Identity = append(policies.Identity, p.Policy)
	}
	if sim.boundary != nil {
		policies.Boundary = sim.boundary.Policy
	}
	if sim.resource != nil {
		policies.Resource = sim.resource.Policy
	}
	decision, matches, asked := policy.Explain(request, policies)
	r := shape.EvaluationResult{
		EvalActionName: action, EvalResourceName: arn, EvalDecision: shape.PolicyEvaluationDecisionTypeImplicitDeny,
		MatchedStatements: []shape.Statement{}, MissingContextValues: []string{},
	}
	switch {
	case decision.Allowed:
		r.EvalDecision = shape.PolicyEvaluationDecisionTypeAllowed
	case decision.Reason.Explicit():
		r.EvalDecision = shape.PolicyEvaluationDecisionTypeExplicitDeny
	}
	for _, m := range matches {
		// Those that made the result: of an explicit denial its statements, of leave those that gave it.
		if decision.Allowed && m.Statement.Effect == policy.Allow && m.Layer != policy.BoundaryLayer || decision.Reason.Explicit() && m.Statement.Effect == policy.Deny {
			r.MatchedStatements = append(r.MatchedStatements, sim.statement(m))
		}
	}
	missing := []string{}
	for _, k := range asked {
		name := k.Text()
		if spelt, ok := sim.spelling[name]; ok {
			name = spelt
		}
		missing = append(missing, name)
	}
	if sim.boundary != nil {
		r.PermissionsBoundaryDecisionDetail = &shape.PermissionsBoundaryDecisionDetail{AllowedByPermissionsBoundary: layer(matches, policy.BoundaryLayer) == shape.PolicyEvaluationDecisionTypeAllowed}
	}
	if arn == "*" {
		r.MissingContextValues = missing
		return r
	}
	specific := shape.ResourceSpecificResult{
		EvalResourceName: arn, EvalResourceDecision: r.EvalDecision, MatchedStatements: r.MatchedStatements, MissingContextValues: missing,
		PermissionsBoundaryDecisionDetail: r.PermissionsBoundaryDecisionDetail,
	}
	if sim.owner != sim.principal.Account { // both accounts have a say
		details := map[string]string{"IAM Policy": layer(matches, policy.IdentityLayer), "Resource Policy": layer(matches, policy.ResourceLayer)}
		r.EvalDecisionDetails, specific.EvalDecisionDetails = details, details
	}
	r.ResourceSpecificResults = []shape.ResourceSpecificResult{specific}
	return r
}

// layer gives what one kind of policies says by itself.
func layer(matches []policy.Match, l policy.Layer) string {
	says := shape.PolicyEvaluationDecisionTypeImplicitDeny
	for _, m := range matches {
		switch {
		case m.Layer != l:
		case m.Statement.Effect == policy.Deny:
			return shape.PolicyEvaluationDecisionTypeExplicitDeny
		default:
			says = shape.PolicyEvaluationDecisionTypeAllowed
		}
	}
	return says
}

// statement says where a statement stands.
func (sim *simulation) statement(m policy.Match) shape.Statement {
	for _, p := range sim.sources() {
		if p.Policy != m.Policy {
			continue
		}
		if start, end, ok := p.Span(m.Statement); ok {
			return shape.Statement{SourcePolicyId: p.id, SourcePolicyType: p.kind, StartPosition: position(p.text, start), EndPosition: position(p.text, end)}
		}
	}
	return shape.Statement{SourcePolicyType: shape.PolicySourceTypeNone}
}

// position counts lines and columns from 1.
func position(text string, at int) *shape.Position {
	before := text[:at]
	return &shape.Position{Line: 1 + strings.Count(before, "\n"), Column: 1 + utf8.RuneCountInString(before[strings.LastIndexByte(before, '\n')+1:])}
}

// source is a policy with what it is called in results.
type source struct {
	id, kind, text string
	*policy.Policy
}

// inputs are policies that a call brings along.
func inputs(member string, texts []string) (out []source, err error) {
	for i, text := range texts {
		id := member + "." + strconv.Itoa(i+1)
		p, err := policy.Parse(text, policy.Identity)
		if err != nil {
			return nil, badInput("%s: %s", id, err)
		}
		out = append(out, source{id, shape.PolicySourceTypeNone, text, p})
	}
	return out, nil
}

// stored is a policy of an entity: it was accepted once.
func stored(id, kind, text string) (source, error) {
	p, err := policy.Parse(text, policy.Identity)
	if err != nil {
		return source{}, err
	}
	return source{id, kind, text, p}, nil
}

func tagsOf(tags resource.Tags) (out []policy.Tag) {
	for k, v := range tags {
		out = append(out, policy.Tag{Key: k, Value: v})
	}
	return out
}
