package iam

import (
	"context"

	shape "karri.dev/internal/aws/shape/iam"
)

// The same calls for users, groups and roles.

// AttachUserPolicy gives a user a managed policy.
func (s *Service) AttachUserPolicy(ctx context.Context, in *shape.AttachUserPolicyRequest) (*shape.AttachUserPolicyResult, error) {
	if err := s.attach(ctx, findUser, in.UserName, in.PolicyArn); err != nil {
		return nil, err
	}
	return &shape.AttachUserPolicyResult{}, nil
}

// DetachUserPolicy takes a managed policy from a user.
func (s *Service) DetachUserPolicy(ctx context.Context, in *shape.DetachUserPolicyRequest) (*shape.DetachUserPolicyResult, error) {
	if err := s.detach(ctx, findUser, in.UserName, in.PolicyArn); err != nil {
		return nil, err
	}
	return &shape.DetachUserPolicyResult{}, nil
}

// ListAttachedUserPolicies lists the managed policies of a user.
func (s *Service) ListAttachedUserPolicies(ctx context.Context, in *shape.ListAttachedUserPoliciesRequest) (*shape.ListAttachedUserPoliciesResult, error) {
	list, next, err := s.attached(ctx, findUser, in.UserName, in.PathPrefix, in.Marker, in.MaxItems)
	if err != nil {
		return nil, err
	}
	return &shape.ListAttachedUserPoliciesResult{AttachedPolicies: list, IsTruncated: next != "", Marker: next}, nil
}

// PutUserPolicy writes an inline policy of a user.
func (s *Service) PutUserPolicy(ctx context.Context, in *shape.PutUserPolicyRequest) (*shape.PutUserPolicyResult, error) {
	if err := s.putInline(ctx, findUser, in.UserName, in.PolicyName, in.PolicyDocument); err != nil {
		return nil, err
	}
	return &shape.PutUserPolicyResult{}, nil
}

// GetUserPolicy gives an inline policy of a user.
func (s *Service) GetUserPolicy(ctx context.Context, in *shape.GetUserPolicyRequest) (*shape.GetUserPolicyResult, error) {
	text, err := s.getInline(ctx, findUser, in.UserName, in.PolicyName)
	if err != nil {
		return nil, err
	}
	return &shape.GetUserPolicyResult{UserName: in.UserName, PolicyName: in.PolicyName, PolicyDocument: text}, nil
}

// DeleteUserPolicy deletes an inline policy of a user.
func (s *Service) DeleteUserPolicy(ctx context.Context, in *shape.DeleteUserPolicyRequest) (*shape.DeleteUserPolicyResult, error) {
	if err := s.deleteInline(ctx, findUser, in.UserName, in.PolicyName); err != nil {
		return nil, err
	}
	return &shape.DeleteUserPolicyResult{}, nil
}

// ListUserPolicies lists the names of the inline policies of a user.
func (s *Service) ListUserPolicies(ctx context.Context, in *shape.ListUserPoliciesRequest) (*shape.ListUserPoliciesResult, error) {
	list, next, err := s.inlineNames(ctx, findUser, in.UserName, in.Marker, in.MaxItems)
	if err != nil {
		return nil, err
	}
	return &shape.ListUserPoliciesResult{PolicyNames: list, IsTruncated: next != "", Marker: next}, nil
}

// PutUserPermissionsBoundary bounds what the policies of a user may allow.
func (s *Service) PutUserPermissionsBoundary(ctx context.Context, in *shape.PutUserPermissionsBoundaryRequest) (*shape.PutUserPermissionsBoundaryResult, error) {
	if err := s.bound(ctx, findUser, in.UserName, in.PermissionsBoundary); err != nil {
		return nil, err
	}
	return &shape.PutUserPermissionsBoundaryResult{}, nil
}

// DeleteUserPermissionsBoundary removes the boundary of a user.
func (s *Service) DeleteUserPermissionsBoundary(ctx context.Context, in *shape.DeleteUserPermissionsBoundaryRequest) (*shape.DeleteUserPermissionsBoundaryResult, error) {
	if err := s.bound(ctx, findUser, in.UserName, ""); err != nil {
		return nil, err
	}
	return &shape.DeleteUserPermissionsBoundaryResult{}, nil
}

// AttachGroupPolicy gives a group a managed policy.
func (s *Service) AttachGroupPolicy(ctx context.Context, in *shape.AttachGroupPolicyRequest) (*shape.AttachGroupPolicyResult, error) {
	if err := s.attach(ctx, findGroup, in.GroupName, in.PolicyArn); err != nil {
		return nil, err
	}
	return &shape.AttachGroupPolicyResult{}, nil
}

// DetachGroupPolicy takes a managed policy from a group.
func (s *Service) DetachGroupPolicy(ctx context.Context, in *shape.DetachGroupPolicyRequest) (*shape.DetachGroupPolicyResult, error) {
	if err := s.detach(ctx, findGroup, in.GroupName, in.PolicyArn); err != nil {
		return nil, err
	}
	return &shape.DetachGroupPolicyResult{}, nil
}

// ListAttachedGroupPolicies lists the managed policies of a group.
func (s *Service) ListAttachedGroupPolicies(ctx context.Context, in *shape.ListAttachedGroupPoliciesRequest) (*shape.ListAttachedGroupPoliciesResult, error) {
	list, next, err := s.attached(ctx, findGroup, in.GroupName, in.PathPrefix, in.Marker, in.MaxItems)
	if err != nil {
		return nil, err
	}
	return &shape.ListAttachedGroupPoliciesResult{AttachedPolicies: list, IsTruncated: next != "", Marker: next}, nil
}

// PutGroupPolicy writes an inline policy of a group.
func (s *Service) PutGroupPolicy(ctx context.Context, in *shape.PutGroupPolicyRequest) (*shape.PutGroupPolicyResult, error) {
	if err := s.putInline(ctx, findGroup, in.GroupName, in.PolicyName, in.PolicyDocument); err != nil {
		return nil, err
	}
	return &shape.PutGroupPolicyResult{}, nil
}

// GetGroupPolicy gives an inline policy of a group.
func (s *Service) GetGroupPolicy(ctx context.Context, in *shape.GetGroupPolicyRequest) (*shape.GetGroupPolicyResult, error) {
	text, err := s.getInline(ctx, findGroup, in.GroupName, in.PolicyName)
	if err != nil {
		return nil, err
	}
	return &shape.GetGroupPolicyResult{GroupName: in.GroupName, PolicyName: in.PolicyName, PolicyDocument: text}, nil
}

// DeleteGroupPolicy deletes an inline policy of a group.
func (s *Service) DeleteGroupPolicy(ctx context.Context, in *shape.DeleteGroupPolicyRequest) (*shape.DeleteGroupPolicyResult, error) {
	if err := s.deleteInline(ctx, findGroup, in.GroupName, in.PolicyName); err != nil {
		return nil, err
	}
	return &shape.DeleteGroupPolicyResult{}, nil
}

// ListGroupPolicies lists the names of the inline policies of a group.
func (s *Service) ListGroupPolicies(ctx context.Context, in *shape.ListGroupPoliciesRequest) (*shape.ListGroupPoliciesResult, error) {
	list, next, err := s.inlineNames(ctx, findGroup, in.GroupName, in.Marker, in.MaxItems)
	if err != nil {
		return nil, err
	}
	return &shape.ListGroupPoliciesResult{PolicyNames: list, IsTruncated: next != "", Marker: next}, nil
}

// AttachRolePolicy gives a role a managed policy.
func (s *Service) AttachRolePolicy(ctx context.Context, in *shape.AttachRolePolicyRequest) (*shape.AttachRolePolicyResult, error) {
	if err := s.attach(ctx, findRole, in.RoleName, in.PolicyArn); err != nil {
		return nil, err
	}
	return &shape.AttachRolePolicyResult{}, nil
}

// DetachRolePolicy takes a managed policy from a role.
func (s *Service) DetachRolePolicy(ctx context.Context, in *shape.DetachRolePolicyRequest) (*shape.DetachRolePolicyResult, error) {
	if err := s.detach(ctx, findRole, in.RoleName, in.PolicyArn); err != nil {
		return nil, err
	}
	return &shape.DetachRolePolicyResult{}, nil
}

// ListAttachedRolePolicies lists the managed policies of a role.
func (s *Service) ListAttachedRolePolicies(ctx context.Context, in *shape.ListAttachedRolePoliciesRequest) (*shape.ListAttachedRolePoliciesResult, error) {
	list, next, err := s.attached(ctx, findRole, in.RoleName, in.PathPrefix, in.Marker, in.MaxItems)
	if err != nil {
		return nil, err
	}
	return &shape.ListAttachedRolePoliciesResult{AttachedPolicies: list, IsTruncated: next != "", Marker: next}, nil
}

// PutRolePolicy writes an inline policy of a role.
func (s *Service) PutRolePolicy(ctx context.Context, in *shape.PutRolePolicyRequest) (*shape.PutRolePolicyResult, error) {
	if err := s.putInline(ctx, findRole, in.RoleName, in.PolicyName, in.PolicyDocument); err != nil {
		return nil, err
	}
	return &shape.PutRolePolicyResult{}, nil
}

// GetRolePolicy gives an inline policy of a role.
func (s *Service) GetRolePolicy(ctx context.Context, in *shape.GetRolePolicyRequest) (*shape.GetRolePolicyResult, error) {
	text, err := s.getInline(ctx, findRole, in.RoleName, in.PolicyName)
	if err != nil {
		return nil, err
	}
	return &shape.GetRolePolicyResult{RoleName: in.RoleName, PolicyName: in.PolicyName, PolicyDocument: text}, nil
}

// DeleteRolePolicy deletes an inline policy of a role.
func (s *Service) DeleteRolePolicy(ctx context.Context, in *shape.DeleteRolePolicyRequest) (*shape.DeleteRolePolicyResult, error) {
	if err := s.deleteInline(ctx, findRole, in.RoleName, in.PolicyName); err != nil {
		return nil, err
	}
	return &shape.DeleteRolePolicyResult{}, nil
}

// ListRolePolicies lists the names of the inline policies of a role.
func (s *Service) ListRolePolicies(ctx context.Context, in *shape.ListRolePoliciesRequest) (*shape.ListRolePoliciesResult, error) {
	list, next, err := s.inlineNames(ctx, findRole, in.RoleName, in.Marker, in.MaxItems)
	if err != nil {
		return nil, err
	}
	return &shape.ListRolePoliciesResult{PolicyNames: list, IsTruncated: next != "", Marker: next}, nil
}

// PutRolePermissionsBoundary bounds what the policies of a role may allow.
func (s *Service) PutRolePermissionsBoundary(ctx context.Context, in *shape.PutRolePermissionsBoundaryRequest) (*shape.PutRolePermissionsBoundaryResult, error) {
	if err := s.bound(ctx, findRole, in.RoleName, in.PermissionsBoundary); err != nil {
		return nil, err
	}
	return &shape.PutRolePermissionsBoundaryResult{}, nil
}

// DeleteRolePermissionsBoundary removes the boundary of a role.
func (s *Service) DeleteRolePermissionsBoundary(ctx context.Context, in *shape.DeleteRolePermissionsBoundaryRequest) (*shape.DeleteRolePermissionsBoundaryResult, error) {
	if err := s.bound(ctx, findRole, in.RoleName, ""); err != nil {
		return nil, err
	}
	return &shape.DeleteRolePermissionsBoundaryResult{}, nil
}
