package sts

import (
	"context"
	"slices"
	"strings"
	"time"

	"karri.dev/internal/authz"
	"karri.dev/internal/aws/awserr"
	"karri.dev/internal/aws/call"
	shape "karri.dev/internal/aws/shape/sts"
	"karri.dev/internal/policy"
	"karri.dev/internal/resource"
	"karri.dev/internal/store"
)

// Limits of role sessions.
const (
	defaultRole  = time.Hour
	longestRole  = 12 * time.Hour
	longestChain = time.Hour // of a role taken with another role's credentials
)

// Roles decides who may take a role; authz.Engine does.
type Roles interface {
	Decide(ctx context.Context, q authz.Question) error
	Trust(role *resource.IAMRole) (*policy.Policy, error)
}

// actions are those that taking a role asks for.
type actions struct{ assume, web, saml, tag, source policy.Action }

func newActions() actions {
	return actions{
		policy.MakeAction("sts:AssumeRole"), policy.MakeAction("sts:AssumeRoleWithWebIdentity"), policy.MakeAction("sts:AssumeRoleWithSAML"),
		policy.MakeAction("sts:TagSession"), policy.MakeAction("sts:SetSourceIdentity"),
	}
}

// wish is somebody's wish to take a role.
type wish struct {
	action     policy.Action
	as         *policy.Principal // nil: who signed the call
	arn        string            // the role's, as asked for
	role       *resource.IAMRole // nil: there is none
	of         *call.Session
	externalID string
	tags       []shape.Tag
	transitive []string
	mfa        bool
	claims     map[string]policy.Value // what an identity provider says, by condition key in lower case
}

// findRole gives the role of an ARN; nil: there is none.
func (s *Service) findRole(arn string) *resource.IAMRole {
	account, name := authz.SplitARN(arn)
	if role := store.Roles.Get(s.Store.Snapshot(), store.UserKey(account, name)); role != nil && role.ARN() == arn {
		return role
	}
	return nil
}

// checkRole gives the account in a role's ARN.
func checkRole(arn string) (account string, err error) {
	account, _ = authz.SplitARN(arn)
	if account == "" || !strings.HasPrefix(arn, "arn:aws:iam::"+account+":role/") {
		return "", invalid("Value '%.256s' at 'roleArn' is not the ARN of a role", arn)
	}
	return account, nil
}

// refuse is the one answer to who may not take a role, whether it is there or not.
func (w *wish) refuse(ctx context.Context, action policy.Action) error {
	if w.as != nil {
		return denied("Not authorized to perform %s", action.Name)
	}
	return denied("User: %s is not authorized to perform: %s on resource: %s", call.From(ctx).ARN, action.Name, w.arn)
}

// AssumeRole gives the caller credentials of a role, as the role's trust policy allows.
func (s *Service) AssumeRole(ctx context.Context, in *shape.AssumeRoleRequest) (*shape.AssumeRoleResult, error) {
	info := call.From(ctx)
	account, err := checkRole(in.RoleArn)
	if err != nil {
		return nil, err
	}
	if err := checkAssume(in); err != nil {
		return nil, err
	}
	if info.Root() {
		return nil, denied("Roles may not be assumed by root accounts.")
	}
	chained := info.Session != nil && info.Session.Kind == call.RoleSession
	d, err := duration(in.DurationSeconds, defaultRole, longestRole)
	if err != nil {
		return nil, err
	}
	if chained && d > longestChain {
		return nil, awserr.New("ValidationError", "The requested DurationSeconds exceeds the 1 hour session limit for roles assumed by role chaining.")
	}
	now := s.Now().UTC().Truncate(time.Second)
	of := &call.Session{
		Kind: call.RoleSession, AccountID: account, Name: in.RoleSessionName, IssuedAt: now, ExpiresAt: now.Add(d),
		SourceIdentity: in.SourceIdentity, Chained: chained,
	}
	if err := inherit(of, info.Session, in); err != nil {
		return nil, err
	}
	mfa := new(call.Session)
	if err := s.mfa(ctx, mfa, in.SerialNumber, in.TokenCode); err != nil {
		return nil, err
	}
	w := &wish{
		action: s.actions.assume, arn: in.RoleArn, role: s.findRole(in.RoleArn), of: of, externalID: in.ExternalId,
		tags: in.Tags, transitive: in.TransitiveTagKeys, mfa: mfa.MFA,
	}
	c, packed, err := s.issue(ctx, w, d, in.Policy, in.PolicyArns)
	if err != nil {
		return nil, err
	}
	return &shape.AssumeRoleResult{
		Credentials: c, PackedPolicySize: packed, SourceIdentity: of.SourceIdentity,
		AssumedRoleUser: w.user(),
	}, nil
}

func checkAssume(in *shape.AssumeRoleRequest) error {
	if err := name("roleSessionName", in.RoleSessionName, 2, 64); err != nil {
		return err
	}
	if in.SourceIdentity != "" {
		if err := name("sourceIdentity", in.SourceIdentity, 2, 64); err != nil {
			return err
		}
	}
	if id := in.ExternalId; id != "" && (len(id) < 2 || len(id) > 1224 || strings.ContainsFunc(id, func(r rune) bool {
		return (r < '0' || r > '9') && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && !strings.ContainsRune("_+=,.@:/-", r)
	})) {
		return invalid(`Value at 'externalId' failed to satisfy constraint: Member must satisfy regular expression pattern: [\w+=,.@:\/-]*`)
	}
	if len(in.ProvidedContexts) > 0 {
		return awserr.New("ValidationError", "Trusted context assertions are not supported by this cloud.")
	}
	return nil
}

// inherit notes in a session what a chain hands on, and the tags asked for.
func inherit(of, from *call.Session, in *shape.AssumeRoleRequest) error {
	if from != nil {
		if from.SourceIdentity != "" {
			if in.SourceIdentity != "" && in.SourceIdentity != from.SourceIdentity {
				return denied("The source identity of a session cannot be changed.")
			}
			of.SourceIdentity = from.SourceIdentity
		}
		for _, k := range from.TransitiveTags {
			if of.Tags == nil {
				of.Tags = map[string]string{}
			}
			of.Tags[k] = from.Tags[k]
		}
		of.TransitiveTags = slices.Clone(from.TransitiveTags)
	}
	return tags(of, in.Tags, in.TransitiveTagKeys)
}

// issue gives the credentials of a role to who may have them, less what session policies leave out.
func (s *Service) issue(ctx context.Context, w *wish, d time.Duration, inline string, arns []shape.PolicyDescriptorType) (*shape.Credentials, int, error) {
	if err := s.grant(ctx, w, d); err != nil {
		return nil, 0, err
	}
	if err := s.policies(w.of, inline, arns); err != nil {
		return nil, 0, err
	}
	return s.credentials(w.of)
}

// grant asks the trust policy, and the caller's own policies where it is needed, and makes the session the role's.
func (s *Service) grant(ctx context.Context, w *wish, d time.Duration) error {
	if w.role == nil {
		return w.refuse(ctx, w.action)
	}
	trust, err := s.Roles.Trust(w.role)
	if err != nil {
		return err
	}
	asked := []policy.Action{w.action}
	if len(w.of.Tags) > 0 { // those that a chain hands on too
		asked = append(asked, s.actions.tag)
	}
	if w.of.SourceIdentity != "" { // likewise: it goes on with the chain, and not into a role that does not take it
		asked = append(asked, s.actions.source)
	}
	for _, action := range asked {
		err := s.Roles.Decide(ctx, authz.Question{
			Action: action, Resource: w.role.ARN(), Owner: w.role.AccountID, Policy: trust, Trust: true, Keys: w.value, As: w.as,
		})
		if awserr.Code(err) == "AccessDenied" {
			return w.refuse(ctx, action)
		}
		if err != nil {
			return err
		}
	}
	if limit := max(w.role.MaxSession, defaultRole); d > limit {
		return awserr.New("ValidationError", "The requested DurationSeconds exceeds the MaxSessionDuration set for this role.")
	}
	w.of.PrincipalID = w.role.ID
	return nil
}

// user says who the session is.
func (w *wish) user() *shape.AssumedRoleUser {
	return &shape.AssumedRoleUser{AssumedRoleId: w.role.ID + ":" + w.of.Name, Arn: call.AssumedRoleARN(w.role.AccountID, w.role.Name, w.of.Name)}
}

// value gives the condition keys of taking a role.
func (w *wish) value(k policy.Key) (policy.Value, bool) {
	switch k.Name {
	case "sts:externalid":
		return policy.String(w.externalID), w.externalID != ""
	case "sts:rolesessionname":
		return policy.String(w.of.Name), true
	case "sts:sourceidentity":
		return policy.String(w.of.SourceIdentity), w.of.SourceIdentity != ""
	case "sts:transitivetagkeys":
		return policy.Strings(w.transitive), len(w.transitive) > 0
	case "aws:requesttag":
		for _, t := range w.tags {
			if strings.EqualFold(t.Key, k.Arg) {
				return policy.String(t.Value), true
			}
		}
	case "aws:tagkeys":
		var keys []string
		for _, t := range w.tags {
			keys = append(keys, t.Key)
		}
		return policy.Strings(keys), len(keys) > 0
	case "aws:resourcetag", "iam:resourcetag":
		return authz.Tag(w.role.Tags, k.Arg)
	case "aws:multifactorauthpresent":
		return policy.Bool(true), w.mfa
	case "aws:multifactorauthage":
		return policy.Int(0), w.mfa
	case "aws:federatedprovider":
		return policy.String(w.of.Provider), w.of.Provider != ""
	}
	v, ok := w.claims[k.Text()]
	return v, ok
}
