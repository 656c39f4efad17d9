package iam

import (
	"context"
	"crypto/sha256"
	"encoding/base32"
	"slices"
	"strconv"
	"strings"
	"time"

	"karri.dev/internal/authz"
	"karri.dev/internal/aws/awserr"
	"karri.dev/internal/aws/call"
	shape "karri.dev/internal/aws/shape/iam"
	"karri.dev/internal/policy"
	"karri.dev/internal/resource"
	"karri.dev/internal/store"
)

const (
	maxPolicy   = 6144 // characters of a managed policy
	maxVersions = 5
)

// ours says since when the cloud's own policies are: AWS shows this for its oldest ones.
var ours = time.Date(2015, 2, 6, 18, 39, 46, 0, time.UTC)

// cloudPolicies gives the cloud's own policies as records without an account, in order of name.
func cloudPolicies() []*resource.Policy {
	managed, err := policy.Managed()
	if err != nil {
		panic(err) // they are part of the program
	}
	var all []*resource.Policy
	for _, m := range managed {
		sum := sha256.Sum256([]byte(m.ARN()))
		all = append(all, &resource.Policy{
			AccountID: "aws", Name: m.Name, Path: m.Path, ID: "ANPA" + base32.StdEncoding.EncodeToString(sum[:])[:17], CreatedAt: ours, UpdatedAt: ours,
			Versions: []resource.PolicyVersion{{Number: 1, Text: m.Text, CreatedAt: ours}}, Default: 1, Next: 2,
		})
	}
	return all
}

// findPolicy gives a managed policy by ARN: the account's, or one of the cloud's.
func (s *Service) findPolicy(r store.Reader, account, arn string) (*resource.Policy, error) {
	if i := slices.IndexFunc(s.cloud, func(p *resource.Policy) bool { return p.ARN() == arn }); i >= 0 {
		return s.cloud[i], nil
	}
	if p := authz.FindPolicy(r, arn); p != nil && p.AccountID == account {
		return p, nil
	}
	return nil, noEntity("Policy %s was not found.", arn)
}

// pathOf gives the path and the name in a managed policy's ARN.
func pathOf(arn string) (path, name string) {
	_, rest, _ := strings.Cut(arn, ":policy")
	i := strings.LastIndexByte(rest, '/')
	return rest[:i+1], rest[i+1:]
}

// uses counts who of the account has a policy attached, and who is bounded by it.
func uses(r store.Reader, account, arn string) (attached, bounds int) {
	for _, u := range entitiesOf(r, account, arn) {
		if u.bound {
			bounds++
		} else {
			attached++
		}
	}
	return attached, bounds
}

func (s *Service) policyOut(r store.Reader, account string, p *resource.Policy, whole bool) *shape.Policy {
	out := &shape.Policy{
		PolicyName: p.Name, PolicyId: p.ID, Arn: p.ARN(), Path: p.Path, DefaultVersionId: versionID(p.Default), IsAttachable: p.Path != policy.ServiceRolePath,
		CreateDate: p.CreatedAt, UpdateDate: p.UpdatedAt,
	}
	out.AttachmentCount, out.PermissionsBoundaryUsageCount = uses(r, account, p.ARN())
	if whole { // lists leave both out
		out.Description, out.Tags = p.Description, tagsOut(p.Tags)
	}
	return out
}

// CreatePolicy makes a managed policy with its first version.
func (s *Service) CreatePolicy(ctx context.Context, in *shape.CreatePolicyRequest) (*shape.CreatePolicyResult, error) {
	tags, err := tagsIn(in.Tags)
	if err != nil {
		return nil, err
	}
	if err := checkDescription(in.Description); err != nil {
		return nil, err
	}
	now := s.identity.Now()
	p := &resource.Policy{
		AccountID: call.From(ctx).AccountID, Name: in.PolicyName, ID: s.identity.NewID("ANPA"), Description: in.Description, CreatedAt: now, UpdatedAt: now, Tags: tags,
		Versions: []resource.PolicyVersion{{Number: 1, Text: in.PolicyDocument, CreatedAt: now}}, Default: 1, Next: 2,
	}
	err = s.update(ctx, func(tx *store.Tx) (err error) {
		if p.Path, err = policyKind.admit(tx, p.AccountID, in.PolicyName, in.Path); err != nil {
			return err
		}
		if err := checkDocument(in.PolicyDocument, policy.Identity, maxPolicy); err != nil {
			return err
		}
		return store.Policies.Put(tx, p)
	})
	if err != nil {
		return nil, err
	}
	return &shape.CreatePolicyResult{Policy: s.policyOut(s.store.Snapshot(), p.AccountID, p, true)}, nil
}

// GetPolicy gives a managed policy without its text.
func (s *Service) GetPolicy(ctx context.Context, in *shape.GetPolicyRequest) (*shape.GetPolicyResult, error) {
	snap, account := s.store.Snapshot(), call.From(ctx).AccountID
	p, err := s.findPolicy(snap, account, in.PolicyArn)
	if err != nil {
		return nil, err
	}
	return &shape.GetPolicyResult{Policy: s.policyOut(snap, account, p, true)}, nil
}

// ListPolicies lists managed policies: the account's in order of name, then the cloud's.
func (s *Service) ListPolicies(ctx context.Context, in *shape.ListPoliciesRequest) (*shape.ListPoliciesResult, error) {
	pg, err := newPage(in.Marker, in.MaxItems)
	if err != nil {
		return nil, err
	}
	if err := checkPrefix(in.PathPrefix); err != nil {
		return nil, err
	}
	snap, account := s.store.Snapshot(), call.From(ctx).AccountID
	var all []*resource.Policy
	if in.Scope != "AWS" {
		all = slices.AppendSeq(all, policyKind.all(snap, account, ""))
	}
	if in.Scope != "Local" {
		all = append(all, s.cloud...)
	}
	used := in.OnlyAttached != nil && *in.OnlyAttached
	all = slices.DeleteFunc(all, func(p *resource.Policy) bool {
		if !strings.HasPrefix(p.Path, in.PathPrefix) {
			return true
		}
		if !used && in.PolicyUsageFilter == "" {
			return false
		}
		attached, bounds := uses(snap, account, p.ARN())
		return used && attached+bounds == 0 || in.PolicyUsageFilter == "PermissionsPolicy" && attached == 0 ||
			in.PolicyUsageFilter == "PermissionsBoundary" && bounds == 0
	})
	list, next := cut(pg, all, func(p *resource.Policy) string {
		order := "1" // of the marker: the account's own first
		if p.AccountID == "aws" {
			order = "2"
		}
		return order + strings.ToLower(p.Name)
	})
	out := &shape.ListPoliciesResult{Policies: []shape.Policy{}, Marker: next, IsTruncated: next != ""}
	for _, p := range list {
		out.Policies = append(out.Policies, *s.policyOut(snap, account, p, false))
	}
	return out, nil
}

// changePolicy replaces a policy of the account by what fn makes of a copy.
func (s *Service) changePolicy(ctx context.Context, arn string, fn func(*resource.Policy) error) error {
	account := call.From(ctx).AccountID
	return s.update(ctx, func(tx *store.Tx) error {
		p, err := s.findPolicy(tx, account, arn)
		if err != nil {
			return err
		}
		if p.AccountID != account {
			return awserr.New("AccessDenied", "Policy %s belongs to the cloud and cannot be changed.", arn).WithStatus(403)
		}
		next := *p
		next.Versions = slices.Clone(p.Versions)
		if err := fn(&next); err != nil {
			return err
		}
		return store.Policies.Put(tx, &next)
	})
}

// DeletePolicy deletes a policy that nobody uses and that has one version.
func (s *Service) DeletePolicy(ctx context.Context, in *shape.DeletePolicyRequest) (*shape.DeletePolicyResult, error) {
	account := call.From(ctx).AccountID
	err := s.update(ctx, func(tx *store.Tx) error {
		p, err := s.findPolicy(tx, account, in.PolicyArn)
		switch {
		case err != nil:
			return err
		case p.AccountID != account:
			return awserr.New("AccessDenied", "Policy %s belongs to the cloud and cannot be deleted.", in.PolicyArn).WithStatus(403)
		case len(entitiesOf(tx, account, p.ARN())) > 0:
			return conflict("Cannot delete a policy attached to entities.")
		case len(p.Versions) > 1:
			return conflict("This policy has more than one version. Before you delete a policy, you must delete the policy's versions. The default version is deleted with the policy.")
		}
		store.Policies.Delete(tx, store.UserKey(account, p.Name))
		return nil
	})
	if err != nil {
		return nil, err
	}
	return &shape.DeletePolicyResult{}, nil
}

// TagPolicy adds tags to a policy.
func (s *Service) TagPolicy(ctx context.Context, in *shape.TagPolicyRequest) (*shape.TagPolicyResult, error) {
	change, err := adding(in.Tags)
	if err != nil {
		return nil, err
	}
	err = s.changePolicy(ctx, in.PolicyArn, func(p *resource.Policy) (err error) {
		p.Tags, err = change(p.Tags)
		return err
	})
	if err != nil {
		return nil, err
	}
	return &shape.TagPolicyResult{}, nil
}

// UntagPolicy removes tags of a policy.
func (s *Service) UntagPolicy(ctx context.Context, in *shape.UntagPolicyRequest) (*shape.UntagPolicyResult, error) {
	change, err := removing(in.TagKeys)
	if err != nil {
		return nil, err
	}
	err = s.changePolicy(ctx, in.PolicyArn, func(p *resource.Policy) (err error) {
		p.Tags, err = change(p.Tags)
		return err
	})
	if err != nil {
		return nil, err
	}
	return &shape.UntagPolicyResult{}, nil
}

// ListPolicyTags lists a policy's tags in order of key.
func (s *Service) ListPolicyTags(ctx context.Context, in *shape.ListPolicyTagsRequest) (*shape.ListPolicyTagsResult, error) {
	pg, err := newPage(in.Marker, in.MaxItems)
	if err != nil {
		return nil, err
	}
	p, err := s.findPolicy(s.store.Snapshot(), call.From(ctx).AccountID, in.PolicyArn)
	if err != nil {
		return nil, err
	}
	out := &shape.ListPolicyTagsResult{}
	out.Tags, out.Marker = cut(pg, tagsOut(p.Tags), tagKey)
	out.IsTruncated = out.Marker != ""
	return out, nil
}

// entityUse is one use of a managed policy.
type entityUse struct {
	noun, name, path, id string
	bound                bool
}

// entitiesOf gives who in the account uses a policy, in order of kind and name.
func entitiesOf(r store.Reader, account, arn string) (all []entityUse) {
	for _, bound := range []bool{false, true} {
		key := arn
		if bound {
			key = "boundary " + arn
		}
		for g := range store.GroupsByPolicy.By(r, key) {
			if g.AccountID == account {
				all = append(all, entityUse{"Group", g.Name, g.Path, g.ID, bound})
			}
		}
		for role := range store.RolesByPolicy.By(r, key) {
			if role.AccountID == account {
				all = append(all, entityUse{"Role", role.Name, role.Path, role.ID, bound})
			}
		}
		for u := range store.UsersByPolicy.By(r, key) {
			if u.AccountID == account {
				all = append(all, entityUse{"User", u.Name, u.Path, u.ID, bound})
			}
		}
	}
	slices.SortFunc(all, func(a, b entityUse) int { return strings.Compare(a.noun+"/"+a.name, b.noun+"/"+b.name) })
	return all
}

// ListEntitiesForPolicy lists who uses a managed policy.
func (s *Service) ListEntitiesForPolicy(ctx context.Context, in *shape.ListEntitiesForPolicyRequest) (*shape.ListEntitiesForPolicyResult, error) {
	pg, err := newPage(in.Marker, in.MaxItems)
	if err != nil {
		return nil, err
	}
	if err := checkPrefix(in.PathPrefix); err != nil {
		return nil, err
	}
	snap, account := s.store.Snapshot(), call.From(ctx).AccountID
	p, err := s.findPolicy(snap, account, in.PolicyArn)
	if err != nil {
		return nil, err
	}
	all := slices.DeleteFunc(entitiesOf(snap, account, p.ARN()), func(u entityUse) bool {
		return !strings.HasPrefix(u.path, in.PathPrefix) || in.EntityFilter != "" && in.EntityFilter != u.noun ||
			in.PolicyUsageFilter == "PermissionsPolicy" && u.bound || in.PolicyUsageFilter == "PermissionsBoundary" && !u.bound
	})
	all = slices.CompactFunc(all, func(a, b entityUse) bool { return a.id == b.id })
	list, next := cut(pg, all, func(u entityUse) string { return u.noun + "/" + u.name })
	out := &shape.ListEntitiesForPolicyResult{
		PolicyGroups: []shape.PolicyGroup{}, PolicyUsers: []shape.PolicyUser{}, PolicyRoles: []shape.PolicyRole{}, Marker: next, IsTruncated: next != "",
	}
	for _, u := range list {
		switch u.noun {
		case "Group":
			out.PolicyGroups = append(out.PolicyGroups, shape.PolicyGroup{GroupName: u.name, GroupId: u.id})
		case "Role":
			out.PolicyRoles = append(out.PolicyRoles, shape.PolicyRole{RoleName: u.name, RoleId: u.id})
		case "User":
			out.PolicyUsers = append(out.PolicyUsers, shape.PolicyUser{UserName: u.name, UserId: u.id})
		}
	}
	return out, nil
}

func versionID(n int) string { return "v" + strconv.Itoa(n) }
