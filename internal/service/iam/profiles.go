package iam

import (
	"context"

	"karri.dev/internal/aws/call"
	shape "karri.dev/internal/aws/shape/iam"
	"karri.dev/internal/identity"
	"karri.dev/internal/resource"
	"karri.dev/internal/store"
)

func profileOut(r store.Reader, p *resource.InstanceProfile, tags bool) *shape.InstanceProfile {
	out := &shape.InstanceProfile{
		Path: p.Path, InstanceProfileName: p.Name, InstanceProfileId: p.ID, Arn: p.ARN(), CreateDate: p.CreatedAt, Roles: []shape.Role{},
	}
	if role := store.RolesByID.One(r, p.RoleID); role != nil && p.RoleID != "" {
		out.Roles = append(out.Roles, *roleOut(role, false))
	}
	if tags {
		out.Tags = tagsOut(p.Tags)
	}
	return out
}

// CreateInstanceProfile makes an instance profile without a role.
func (s *Service) CreateInstanceProfile(ctx context.Context, in *shape.CreateInstanceProfileRequest) (*shape.CreateInstanceProfileResult, error) {
	tags, err := tagsIn(in.Tags)
	if err != nil {
		return nil, err
	}
	p := &resource.InstanceProfile{
		AccountID: call.From(ctx).AccountID, Name: in.InstanceProfileName, ID: s.identity.NewID("AIPA"), CreatedAt: s.identity.Now(), Tags: tags,
	}
	err = s.update(ctx, func(tx *store.Tx) (err error) {
		if p.Path, err = profileKind.admit(tx, p.AccountID, in.InstanceProfileName, in.Path); err != nil {
			return err
		}
		return store.InstanceProfiles.Put(tx, p)
	})
	if err != nil {
		return nil, err
	}
	return &shape.CreateInstanceProfileResult{InstanceProfile: profileOut(s.store.Snapshot(), p, true)}, nil
}

// GetInstanceProfile gives an instance profile with its role.
func (s *Service) GetInstanceProfile(ctx context.Context, in *shape.GetInstanceProfileRequest) (*shape.GetInstanceProfileResult, error) {
	snap := s.store.Snapshot()
	p, err := profileKind.find(snap, call.From(ctx).AccountID, in.InstanceProfileName)
	if err != nil {
		return nil, err
	}
	return &shape.GetInstanceProfileResult{InstanceProfile: profileOut(snap, p, true)}, nil
}

// profiles gives a page of instance profiles.
func (s *Service) profiles(ctx context.Context, prefix, after string, maxItems *int, keep func(*resource.InstanceProfile) bool) ([]shape.InstanceProfile, string, error) {
	p, err := newPage(after, maxItems)
	if err != nil {
		return nil, "", err
	}
	snap := s.store.Snapshot()
	list, next, err := profileKind.list(snap, call.From(ctx).AccountID, prefix, p, keep)
	if err != nil {
		return nil, "", err
	}
	out := []shape.InstanceProfile{}
	for _, v := range list {
		out = append(out, *profileOut(snap, v, false))
	}
	return out, next, nil
}

// ListInstanceProfiles lists the account's instance profiles in order of name.
func (s *Service) ListInstanceProfiles(ctx context.Context, in *shape.ListInstanceProfilesRequest) (*shape.ListInstanceProfilesResult, error) {
	list, next, err := s.profiles(ctx, in.PathPrefix, in.Marker, in.MaxItems, nil)
	if err != nil {
		return nil, err
	}
	return &shape.ListInstanceProfilesResult{InstanceProfiles: list, Marker: next, IsTruncated: next != ""}, nil
}

// ListInstanceProfilesForRole lists the instance profiles that have a role.
func (s *Service) ListInstanceProfilesForRole(ctx context.Context, in *shape.ListInstanceProfilesForRoleRequest) (*shape.ListInstanceProfilesForRoleResult, error) {
	role, err := roleKind.find(s.store.Snapshot(), call.From(ctx).AccountID, in.RoleName)
	if err != nil {
		return nil, err
	}
	list, next, err := s.profiles(ctx, "", in.Marker, in.MaxItems, func(p *resource.InstanceProfile) bool { return p.RoleID == role.ID })
	if err != nil {
		return nil, err
	}
	return &shape.ListInstanceProfilesForRoleResult{InstanceProfiles: list, Marker: next, IsTruncated: next != ""}, nil
}

// changeProfile replaces an instance profile by what fn makes of a copy.
func (s *Service) changeProfile(ctx context.Context, name string, fn func(*store.Tx, *resource.InstanceProfile) error) error {
	account := call.From(ctx).AccountID
	return s.update(ctx, func(tx *store.Tx) error {
		p, err := profileKind.find(tx, account, name)
		if err != nil {
			return err
		}
		next := *p
		if err := fn(tx, &next); err != nil {
			return err
		}
		return store.InstanceProfiles.Put(tx, &next)
	})
}

// AddRoleToInstanceProfile gives a profile its role. It can have one.
func (s *Service) AddRoleToInstanceProfile(ctx context.Context, in *shape.AddRoleToInstanceProfileRequest) (*shape.AddRoleToInstanceProfileResult, error) {
	err := s.changeProfile(ctx, in.InstanceProfileName, func(tx *store.Tx, p *resource.InstanceProfile) error {
		role, err := roleKind.find(tx, p.AccountID, in.RoleName)
		if err != nil {
			return err
		}
		if p.RoleID != "" {
			return identity.OverQuota("InstanceSessionsPerInstanceProfile", 1)
		}
		p.RoleID = role.ID
		return nil
	})
	if err != nil {
		return nil, err
	}
	return &shape.AddRoleToInstanceProfileResult{}, nil
}

// RemoveRoleFromInstanceProfile takes a profile's role away: instances with it get no further credentials.
func (s *Service) RemoveRoleFromInstanceProfile(ctx context.Context, in *shape.RemoveRoleFromInstanceProfileRequest) (*shape.RemoveRoleFromInstanceProfileResult, error) {
	err := s.changeProfile(ctx, in.InstanceProfileName, func(tx *store.Tx, p *resource.InstanceProfile) error {
		role := store.Roles.Get(tx, store.UserKey(p.AccountID, in.RoleName))
		if role == nil || p.RoleID != role.ID {
			return noEntity("The role with name %s cannot be found.", in.RoleName)
		}
		p.RoleID = ""
		return nil
	})
	if err != nil {
		return nil, err
	}
	return &shape.RemoveRoleFromInstanceProfileResult{}, nil
}

// DeleteInstanceProfile deletes an instance profile without a role.
func (s *Service) DeleteInstanceProfile(ctx context.Context, in *shape.DeleteInstanceProfileRequest) (*shape.DeleteInstanceProfileResult, error) {
	account := call.From(ctx).AccountID
	err := s.update(ctx, func(tx *store.Tx) error {
		p, err := profileKind.find(tx, account, in.InstanceProfileName)
		if err != nil {
			return err
		}
		if p.RoleID != "" {
			return conflict("Cannot delete entity, must remove roles from instance profile first.")
		}
		store.InstanceProfiles.Delete(tx, store.UserKey(account, p.Name))
		return nil
	})
	if err != nil {
		return nil, err
	}
	return &shape.DeleteInstanceProfileResult{}, nil
}

// TagInstanceProfile adds tags to an instance profile.
func (s *Service) TagInstanceProfile(ctx context.Context, in *shape.TagInstanceProfileRequest) (*shape.TagInstanceProfileResult, error) {
	change, err := adding(in.Tags)
	if err != nil {
		return nil, err
	}
	err = s.changeProfile(ctx, in.InstanceProfileName, func(_ *store.Tx, p *resource.InstanceProfile) (err error) {
		p.Tags, err = change(p.Tags)
		return err
	})
	if err != nil {
		return nil, err
	}
	return &shape.TagInstanceProfileResult{}, nil
}

// UntagInstanceProfile removes tags of an instance profile.
func (s *Service) UntagInstanceProfile(ctx context.Context, in *shape.UntagInstanceProfileRequest) (*shape.UntagInstanceProfileResult, error) {
	change, err := removing(in.TagKeys)
	if err != nil {
		return nil, err
	}
	err = s.changeProfile(ctx, in.InstanceProfileName, func(_ *store.Tx, p *resource.InstanceProfile) (err error) {
		p.Tags, err = change(p.Tags)
		return err
	})
	if err != nil {
		return nil, err
	}
	return &shape.UntagInstanceProfileResult{}, nil
}

// ListInstanceProfileTags lists an instance profile's tags in order of key.
func (s *Service) ListInstanceProfileTags(ctx context.Context, in *shape.ListInstanceProfileTagsRequest) (*shape.ListInstanceProfileTagsResult, error) {
	p, err := newPage(in.Marker, in.MaxItems)
	if err != nil {
		return nil, err
	}
	v, err := profileKind.find(s.store.Snapshot(), call.From(ctx).AccountID, in.InstanceProfileName)
	if err != nil {
		return nil, err
	}
	out := &shape.ListInstanceProfileTagsResult{}
	out.Tags, out.Marker = cut(p, tagsOut(v.Tags), tagKey)
	out.IsTruncated = out.Marker != ""
	return out, nil
}
