package iam

import (
	"context"
	"time"

	"karri.dev/internal/authz"
	"karri.dev/internal/aws/call"
	shape "karri.dev/internal/aws/shape/iam"
	"karri.dev/internal/policy"
	"karri.dev/internal/resource"
	"karri.dev/internal/store"
)

// A role's sessions last from an hour to twelve; its trust policy has 2,048 characters.
const (
	leastSession = time.Hour
	mostSession  = 12 * time.Hour
	maxTrust     = 2048
)

func roleOut(r *resource.IAMRole, tags bool) *shape.Role {
	out := &shape.Role{
		Path: r.Path, RoleName: r.Name, RoleId: r.ID, Arn: r.ARN(), CreateDate: r.CreatedAt, AssumeRolePolicyDocument: escaped(r.Trust.Text),
		Description: r.Description, MaxSessionDuration: int(r.MaxSession / time.Second),
	}
	if tags { // lists leave both out
		out.PermissionsBoundary, out.Tags = boundaryOut(r.Boundary), tagsOut(r.Tags)
	}
	return out
}

// trust checks who may assume a role and notes whom the names mean now.
func trust(r store.Reader, text string) (resource.Bound, error) {
	if err := checkDocument(text, policy.Trust, maxTrust); err != nil {
		return resource.Bound{}, err
	}
	b, missing, err := authz.Bind(r, text, policy.Trust)
	if err != nil {
		return b, malformed(err)
	}
	if missing != "" {
		return b, malformed(principalError(missing))
	}
	return b, nil
}

// principalError is about a principal that is not there.
type principalError string

func (e principalError) Error() string {
	return `Invalid principal in policy: "AWS":"` + string(e) + `"`
}

func sessionTime(seconds *int) (time.Duration, error) {
	if seconds == nil {
		return leastSession, nil
	}
	d := time.Duration(*seconds) * time.Second
	if d < leastSession || d > mostSession {
		return 0, invalid("1 validation error detected: Value '%d' at 'maxSessionDuration' failed to satisfy constraint: Member must have value between 3600 and 43200", *seconds)
	}
	return d, nil
}

func checkDescription(text string) error {
	if len([]rune(text)) > 1000 {
		return invalid("1 validation error detected: Value at 'description' failed to satisfy constraint: Member must have length less than or equal to 1000")
	}
	return nil
}

// CreateRole makes a role without policies.
func (s *Service) CreateRole(ctx context.Context, in *shape.CreateRoleRequest) (*shape.CreateRoleResult, error) {
	tags, err := tagsIn(in.Tags)
	if err != nil {
		return nil, err
	}
	d, err := sessionTime(in.MaxSessionDuration)
	if err != nil {
		return nil, err
	}
	if err := checkDescription(in.Description); err != nil {
		return nil, err
	}
	r := &resource.IAMRole{
		AccountID: call.From(ctx).AccountID, Name: in.RoleName, ID: s.identity.NewID("AROA"), Description: in.Description, MaxSession: d,
		CreatedAt: s.identity.Now(), Tags: tags,
	}
	err = s.update(ctx, func(tx *store.Tx) (err error) {
		if r.Path, err = roleKind.admit(tx, r.AccountID, in.RoleName, in.Path); err != nil {
			return err
		}
		if r.Trust, err = trust(tx, in.AssumeRolePolicyDocument); err != nil {
			return err
		}
		if in.PermissionsBoundary != "" {
			if err := attachable(tx, r.AccountID, in.PermissionsBoundary); err != nil {
				return err
			}
			r.Boundary = in.PermissionsBoundary
		}
		return store.Roles.Put(tx, r)
	})
	if err != nil {
		return nil, err
	}
	return &shape.CreateRoleResult{Role: roleOut(r, true)}, nil
}

// GetRole gives a role.
func (s *Service) GetRole(ctx context.Context, in *shape.GetRoleRequest) (*shape.GetRoleResult, error) {
	r, err := roleKind.find(s.store.Snapshot(), call.From(ctx).AccountID, in.RoleName)
	if err != nil {
		return nil, err
	}
	out := roleOut(r, true)
	out.RoleLastUsed = s.roleUsed(r)
	return &shape.GetRoleResult{Role: out}, nil
}

// ListRoles lists the account's roles in order of name.
func (s *Service) ListRoles(ctx context.Context, in *shape.ListRolesRequest) (*shape.ListRolesResult, error) {
	p, err := newPage(in.Marker, in.MaxItems)
	if err != nil {
		return nil, err
	}
	list, next, err := roleKind.list(s.store.Snapshot(), call.From(ctx).AccountID, in.PathPrefix, p, nil)
	if err != nil {
		return nil, err
	}
	out := &shape.ListRolesResult{Roles: []shape.Role{}, Marker: next, IsTruncated: next != ""}
	for _, r := range list {
		out.Roles = append(out.Roles, *roleOut(r, false))
	}
	return out, nil
}

// changeRole replaces a role by what fn makes of a copy.
func (s *Service) changeRole(ctx context.Context, name string, fn func(*store.Tx, *resource.IAMRole) error) (*resource.IAMRole, error) {
	account := call.From(ctx).AccountID
	var next resource.IAMRole
	err := s.update(ctx, func(tx *store.Tx) error {
		r, err := roleKind.find(tx, account, name)
		if err != nil {
			return err
		}
		if err := changeable(r); err != nil {
			return err
		}
		next = *r
		if err := fn(tx, &next); err != nil {
			return err
		}
		return store.Roles.Put(tx, &next)
	})
	return &next, err
}

// UpdateRole changes a role's description and the longest time of its sessions.
func (s *Service) UpdateRole(ctx context.Context, in *shape.UpdateRoleRequest) (*shape.UpdateRoleResult, error) {
	d, err := sessionTime(in.MaxSessionDuration)
	if err != nil {
		return nil, err
	}
	if err := checkDescription(in.Description); err != nil {
		return nil, err
	}
	_, err = s.changeRole(ctx, in.RoleName, func(_ *store.Tx, r *resource.IAMRole) error {
		if in.Description != "" {
			r.Description = in.Description
		}
		if in.MaxSessionDuration != nil {
			r.MaxSession = d
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return &shape.UpdateRoleResult{}, nil
}

// UpdateRoleDescription changes a role's description.
func (s *Service) UpdateRoleDescription(ctx context.Context, in *shape.UpdateRoleDescriptionRequest) (*shape.UpdateRoleDescriptionResult, error) {
	if err := checkDescription(in.Description); err != nil {
		return nil, err
	}
	r, err := s.changeRole(ctx, in.RoleName, func(_ *store.Tx, r *resource.IAMRole) error {
		r.Description = in.Description
		return nil
	})
	if err != nil {
		return nil, err
	}
	return &shape.UpdateRoleDescriptionResult{Role: roleOut(r, true)}, nil
}

// UpdateAssumeRolePolicy changes who may assume a role.
func (s *Service) UpdateAssumeRolePolicy(ctx context.Context, in *shape.UpdateAssumeRolePolicyRequest) (*shape.UpdateAssumeRolePolicyResult, error) {
	_, err := s.changeRole(ctx, in.RoleName, func(tx *store.Tx, r *resource.IAMRole) (err error) {
		r.Trust, err = trust(tx, in.PolicyDocument)
		return err
	})
	if err != nil {
		return nil, err
	}
	return &shape.UpdateAssumeRolePolicyResult{}, nil
}

// DeleteRole deletes a role without policies that is in no instance profile. Its sessions end with it.
func (s *Service) DeleteRole(ctx context.Context, in *shape.DeleteRoleRequest) (*shape.DeleteRoleResult, error) {
	account := call.From(ctx).AccountID
	err := s.update(ctx, func(tx *store.Tx) error {
		r, err := roleKind.find(tx, account, in.RoleName)
		if err != nil {
			return err
		}
		if err := changeable(r); err != nil {
			return err
		}
		if store.InstanceProfilesByRole.One(tx, r.ID) != nil {
			return conflict("Cannot delete entity, must remove roles from instance profile first.")
		}
		if err := bare(&r.Permissions); err != nil {
			return err
		}
		store.Roles.Delete(tx, store.UserKey(account, r.Name))
		return nil
	})
	if err != nil {
		return nil, err
	}
	return &shape.DeleteRoleResult{}, nil
}

// TagRole adds tags to a role; one whose key is there already, in whatever case, is replaced.
func (s *Service) TagRole(ctx context.Context, in *shape.TagRoleRequest) (*shape.TagRoleResult, error) {
	change, err := adding(in.Tags)
	if err != nil {
		return nil, err
	}
	_, err = s.changeRole(ctx, in.RoleName, func(_ *store.Tx, r *resource.IAMRole) (err error) {
		r.Tags, err = change(r.Tags)
		return err
	})
	if err != nil {
		return nil, err
	}
	return &shape.TagRoleResult{}, nil
}

// UntagRole removes tags of a role.
func (s *Service) UntagRole(ctx context.Context, in *shape.UntagRoleRequest) (*shape.UntagRoleResult, error) {
	change, err := removing(in.TagKeys)
	if err != nil {
		return nil, err
	}
	_, err = s.changeRole(ctx, in.RoleName, func(_ *store.Tx, r *resource.IAMRole) (err error) {
		r.Tags, err = change(r.Tags)
		return err
	})
	if err != nil {
		return nil, err
	}
	return &shape.UntagRoleResult{}, nil
}

// ListRoleTags lists a role's tags in order of key.
func (s *Service) ListRoleTags(ctx context.Context, in *shape.ListRoleTagsRequest) (*shape.ListRoleTagsResult, error) {
	p, err := newPage(in.Marker, in.MaxItems)
	if err != nil {
		return nil, err
	}
	r, err := roleKind.find(s.store.Snapshot(), call.From(ctx).AccountID, in.RoleName)
	if err != nil {
		return nil, err
	}
	out := &shape.ListRoleTagsResult{}
	out.Tags, out.Marker = cut(p, tagsOut(r.Tags), tagKey)
	out.IsTruncated = out.Marker != ""
	return out, nil
}
