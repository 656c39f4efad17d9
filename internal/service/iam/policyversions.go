package iam

import (
	"context"
	"fmt"
	"math"
	"slices"

	"karri.dev/internal/aws/awserr"
	"karri.dev/internal/aws/call"
	shape "karri.dev/internal/aws/shape/iam"
	"karri.dev/internal/policy"
	"karri.dev/internal/resource"
)

// version gives the place of a version in its policy, or NoSuchEntity.
func version(p *resource.Policy, id string) (int, error) {
	for i, v := range p.Versions {
		if versionID(v.Number) == id {
			return i, nil
		}
	}
	return 0, noEntity("Policy %s version %s does not exist or is not attachable.", p.ARN(), id)
}

// versionOut gives a version; text only where the call gives one.
func versionOut(p *resource.Policy, v resource.PolicyVersion, text bool) *shape.PolicyVersion {
	out := &shape.PolicyVersion{VersionId: versionID(v.Number), IsDefaultVersion: v.Number == p.Default, CreateDate: v.CreatedAt}
	if text {
		out.Document = escaped(v.Text)
	}
	return out
}

// CreatePolicyVersion adds a version to a policy.
func (s *Service) CreatePolicyVersion(ctx context.Context, in *shape.CreatePolicyVersionRequest) (*shape.CreatePolicyVersionResult, error) {
	if err := checkDocument(in.PolicyDocument, policy.Identity, maxPolicy); err != nil {
		return nil, err
	}
	now := s.identity.Now()
	var out *shape.PolicyVersion
	err := s.changePolicy(ctx, in.PolicyArn, func(p *resource.Policy) error {
		if len(p.Versions) >= maxVersions {
			return awserr.New("LimitExceeded", "A managed policy can have up to %d versions. Before you create a new version, you must delete an existing version.", maxVersions).WithStatus(409)
		}
		v := resource.PolicyVersion{Number: p.Next, Text: in.PolicyDocument, CreatedAt: now}
		p.Versions, p.Next, p.UpdatedAt = append(p.Versions, v), p.Next+1, now
		if in.SetAsDefault != nil && *in.SetAsDefault {
			p.Default = v.Number
		}
		out = versionOut(p, v, false)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return &shape.CreatePolicyVersionResult{PolicyVersion: out}, nil
}

// GetPolicyVersion gives a version with its text.
func (s *Service) GetPolicyVersion(ctx context.Context, in *shape.GetPolicyVersionRequest) (*shape.GetPolicyVersionResult, error) {
	p, err := s.findPolicy(s.store.Snapshot(), call.From(ctx).AccountID, in.PolicyArn)
	if err != nil {
		return nil, err
	}
	i, err := version(p, in.VersionId)
	if err != nil {
		return nil, err
	}
	return &shape.GetPolicyVersionResult{PolicyVersion: versionOut(p, p.Versions[i], true)}, nil
}

// ListPolicyVersions lists a policy's versions, newest first.
func (s *Service) ListPolicyVersions(ctx context.Context, in *shape.ListPolicyVersionsRequest) (*shape.ListPolicyVersionsResult, error) {
	pg, err := newPage(in.Marker, in.MaxItems)
	if err != nil {
		return nil, err
	}
	p, err := s.findPolicy(s.store.Snapshot(), call.From(ctx).AccountID, in.PolicyArn)
	if err != nil {
		return nil, err
	}
	newest := slices.Clone(p.Versions)
	slices.Reverse(newest)
	// Markers are in ascending order: of how far a version is from the newest number there can be.
	list, next := cut(pg, newest, func(v resource.PolicyVersion) string { return fmt.Sprintf("%010d", math.MaxInt32-v.Number) })
	out := &shape.ListPolicyVersionsResult{Versions: []shape.PolicyVersion{}, Marker: next, IsTruncated: next != ""}
	for _, v := range list {
		out.Versions = append(out.Versions, *versionOut(p, v, false))
	}
	return out, nil
}

// SetDefaultPolicyVersion puts a version in force.
func (s *Service) SetDefaultPolicyVersion(ctx context.Context, in *shape.SetDefaultPolicyVersionRequest) (*shape.SetDefaultPolicyVersionResult, error) {
	now := s.identity.Now()
	err := s.changePolicy(ctx, in.PolicyArn, func(p *resource.Policy) error {
		i, err := version(p, in.VersionId)
		if err != nil {
			return err
		}
		p.Default, p.UpdatedAt = p.Versions[i].Number, now
		return nil
	})
	if err != nil {
		return nil, err
	}
	return &shape.SetDefaultPolicyVersionResult{}, nil
}

// DeletePolicyVersion deletes a version that is not in force.
func (s *Service) DeletePolicyVersion(ctx context.Context, in *shape.DeletePolicyVersionRequest) (*shape.DeletePolicyVersionResult, error) {
	err := s.changePolicy(ctx, in.PolicyArn, func(p *resource.Policy) error {
		i, err := version(p, in.VersionId)
		if err != nil {
			return err
		}
		if p.Versions[i].Number == p.Default {
			return conflict("Cannot delete the default version of a policy.")
		}
		p.Versions = slices.Delete(p.Versions, i, i+1)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return &shape.DeletePolicyVersionResult{}, nil
}
