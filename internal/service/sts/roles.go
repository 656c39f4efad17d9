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
type actions struct{ assume, tag, source policy.Action }

func newActions() actions {
	return actions{policy.MakeAction("sts:AssumeRole"), policy.MakeAction("sts:TagSession"), policy.MakeAction("sts:SetSourceIdentity")}
}

// noRole is the one answer to who may not take a role, whether it is there or not.
func noRole(ctx context.Context, action, arn string) error {
	return denied("User: %s is not authorized to perform: %s on resource: %s", call.From(ctx).ARN, action, arn)
}

// AssumeRole gives the caller credentials of a role, as the role's trust policy allows.
func (s *Service) AssumeRole(ctx context.Context, in *shape.AssumeRoleRequest) (*shape.AssumeRoleResult, error) {
	info := call.From(ctx)
	account, roleName := authz.SplitARN(in.RoleArn)
	if account == "" || !strings.HasPrefix(in.RoleArn, "arn:aws:iam::"+account+":role/") {
		return nil, invalid("Value '%.256s' at 'roleArn' is not the ARN of a role", in.RoleArn)
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
	role := store.Roles.Get(s.Store.Snapshot(), store.UserKey(account, roleName))
	if role != nil && role.ARN() != in.RoleArn {
		role = nil
	}
	if err := s.mayAssume(ctx, in, role, of, mfa.MFA); err != nil {
		return nil, err
	}
	if limit := max(role.MaxSession, defaultRole); d > limit {
		return nil, awserr.New("ValidationError", "The requested DurationSeconds exceeds the MaxSessionDuration set for this role.")
	}
	of.PrincipalID = role.ID
	if err := s.policies(of, in.Policy, in.PolicyArns); err != nil {
		return nil, err
	}
	c, packed, err := s.credentials(of)
	if err != nil {
		return nil, err
	}
	return &shape.AssumeRoleResult{
		Credentials: c, PackedPolicySize: packed, SourceIdentity: of.SourceIdentity,
		AssumedRoleUser: &shape.AssumedRoleUser{AssumedRoleId: role.ID + ":" + of.Name, Arn: call.AssumedRoleARN(account, role.Name, of.Name)},
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

// mayAssume asks the trust policy, and the caller's own policies where it is needed.
func (s *Service) mayAssume(ctx context.Context, in *shape.AssumeRoleRequest, role *resource.IAMRole, of *call.Session, mfa bool) error {
	if role == nil {
		return noRole(ctx, "sts:AssumeRole", in.RoleArn)
	}
	trust, err := s.Roles.Trust(role)
	if err != nil {
		return err
	}
	asked := []policy.Action{s.actions.assume}
	if len(in.Tags) > 0 {
		asked = append(asked, s.actions.tag)
	}
	if in.SourceIdentity != "" {
		asked = append(asked, s.actions.source)
	}
	for _, action := range asked {
		err := s.Roles.Decide(ctx, authz.Question{
			Action: action, Resource: role.ARN(), Owner: role.AccountID, Policy: trust, Trust: true, Keys: assumeKeys(in, role, of, mfa),
		})
		if awserr.Code(err) == "AccessDenied" {
			return noRole(ctx, action.Name, in.RoleArn)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// assumeKeys are the condition keys of taking a role.
func assumeKeys(in *shape.AssumeRoleRequest, role *resource.IAMRole, of *call.Session, mfa bool) authz.Keys {
	return func(k policy.Key) (policy.Value, bool) {
		switch k.Name {
		case "sts:externalid":
			return policy.String(in.ExternalId), in.ExternalId != ""
		case "sts:rolesessionname":
			return policy.String(of.Name), true
		case "sts:sourceidentity":
			return policy.String(of.SourceIdentity), of.SourceIdentity != ""
		case "sts:transitivetagkeys":
			return policy.Strings(in.TransitiveTagKeys), len(in.TransitiveTagKeys) > 0
		case "aws:requesttag":
			for _, t := range in.Tags {
				if strings.EqualFold(t.Key, k.Arg) {
					return policy.String(t.Value), true
				}
			}
		case "aws:tagkeys":
			var keys []string
			for _, t := range in.Tags {
				keys = append(keys, t.Key)
			}
			return policy.Strings(keys), len(keys) > 0
		case "aws:resourcetag", "iam:resourcetag":
			return authz.Tag(role.Tags, k.Arg)
		case "aws:multifactorauthpresent":
			return policy.Bool(true), mfa
		case "aws:multifactorauthage":
			return policy.Int(0), mfa
		}
		return policy.Value{}, false
	}
}
