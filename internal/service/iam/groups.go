package iam

import (
	"context"
	"slices"
	"strings"

	"karri.dev/internal/aws/call"
	shape "karri.dev/internal/aws/shape/iam"
	"karri.dev/internal/identity"
	"karri.dev/internal/resource"
	"karri.dev/internal/store"
)

// maxGroups is how many groups a user may be in.
const maxGroups = 10

func groupOut(g *resource.Group) *shape.Group {
	return &shape.Group{Path: g.Path, GroupName: g.Name, GroupId: g.ID, Arn: g.ARN(), CreateDate: g.CreatedAt}
}

// CreateGroup makes a group without members.
func (s *Service) CreateGroup(ctx context.Context, in *shape.CreateGroupRequest) (*shape.CreateGroupResult, error) {
	g := &resource.Group{AccountID: call.From(ctx).AccountID, Name: in.GroupName, ID: s.identity.NewID("AGPA"), CreatedAt: s.identity.Now()}
	err := s.update(ctx, func(tx *store.Tx) (err error) {
		if g.Path, err = groupKind.admit(tx, g.AccountID, in.GroupName, in.Path); err != nil {
			return err
		}
		return store.Groups.Put(tx, g)
	})
	if err != nil {
		return nil, err
	}
	return &shape.CreateGroupResult{Group: groupOut(g)}, nil
}

// GetGroup gives a group and a page of its members.
func (s *Service) GetGroup(ctx context.Context, in *shape.GetGroupRequest) (*shape.GetGroupResult, error) {
	p, err := newPage(in.Marker, in.MaxItems)
	if err != nil {
		return nil, err
	}
	snap := s.store.Snapshot()
	g, err := groupKind.find(snap, call.From(ctx).AccountID, in.GroupName)
	if err != nil {
		return nil, err
	}
	var members []shape.User
	for u := range store.UsersByGroup.By(snap, g.ID) {
		members = append(members, *userOut(u, false))
	}
	slices.SortFunc(members, func(a, b shape.User) int { return strings.Compare(a.UserName, b.UserName) })
	out := &shape.GetGroupResult{Group: groupOut(g)}
	out.Users, out.Marker = cut(p, members, func(u shape.User) string { return u.UserName })
	out.IsTruncated = out.Marker != ""
	return out, nil
}

// UpdateGroup gives a group another name or path.
func (s *Service) UpdateGroup(ctx context.Context, in *shape.UpdateGroupRequest) (*shape.UpdateGroupResult, error) {
	account := call.From(ctx).AccountID
	err := s.update(ctx, func(tx *store.Tx) error {
		g, err := groupKind.find(tx, account, in.GroupName)
		if err != nil {
			return err
		}
		next := *g
		if in.NewPath != "" {
			if err := identity.CheckPath(in.NewPath); err != nil {
				return err
			}
			next.Path = in.NewPath
		}
		if in.NewGroupName != "" {
			if err := checkName("newGroupName", in.NewGroupName, groupKind.longest); err != nil {
				return err
			}
			if had := store.Groups.Get(tx, store.UserKey(account, in.NewGroupName)); had != nil && had.ID != g.ID {
				return exists("Group with name %s already exists.", in.NewGroupName)
			}
			next.Name = in.NewGroupName
			store.Groups.Delete(tx, store.UserKey(account, g.Name))
		}
		return store.Groups.Put(tx, &next)
	})
	if err != nil {
		return nil, err
	}
	return &shape.UpdateGroupResult{}, nil
}

// DeleteGroup deletes a group without members and policies.
func (s *Service) DeleteGroup(ctx context.Context, in *shape.DeleteGroupRequest) (*shape.DeleteGroupResult, error) {
	account := call.From(ctx).AccountID
	err := s.update(ctx, func(tx *store.Tx) error {
		g, err := groupKind.find(tx, account, in.GroupName)
		if err != nil {
			return err
		}
		if store.UsersByGroup.One(tx, g.ID) != nil {
			return conflict("Cannot delete entity, must remove users from group first.")
		}
		if err := bare(&g.Permissions); err != nil {
			return err
		}
		store.Groups.Delete(tx, store.UserKey(account, g.Name))
		return nil
	})
	if err != nil {
		return nil, err
	}
	return &shape.DeleteGroupResult{}, nil
}

// ListGroups lists the account's groups in order of name.
func (s *Service) ListGroups(ctx context.Context, in *shape.ListGroupsRequest) (*shape.ListGroupsResult, error) {
	p, err := newPage(in.Marker, in.MaxItems)
	if err != nil {
		return nil, err
	}
	list, next, err := groupKind.list(s.store.Snapshot(), call.From(ctx).AccountID, in.PathPrefix, p, nil)
	if err != nil {
		return nil, err
	}
	out := &shape.ListGroupsResult{Groups: []shape.Group{}, Marker: next, IsTruncated: next != ""}
	for _, g := range list {
		out.Groups = append(out.Groups, *groupOut(g))
	}
	return out, nil
}

// ListGroupsForUser lists the groups that a user is in, in order of name.
func (s *Service) ListGroupsForUser(ctx context.Context, in *shape.ListGroupsForUserRequest) (*shape.ListGroupsForUserResult, error) {
	p, err := newPage(in.Marker, in.MaxItems)
	if err != nil {
		return nil, err
	}
	snap := s.store.Snapshot()
	u, err := identity.FindUser(snap, call.From(ctx).AccountID, in.UserName)
	if err != nil {
		return nil, err
	}
	var groups []shape.Group
	for _, id := range u.Groups {
		if g := store.GroupsByID.One(snap, id); g != nil {
			groups = append(groups, *groupOut(g))
		}
	}
	slices.SortFunc(groups, func(a, b shape.Group) int { return strings.Compare(a.GroupName, b.GroupName) })
	out := &shape.ListGroupsForUserResult{}
	out.Groups, out.Marker = cut(p, groups, func(g shape.Group) string { return g.GroupName })
	out.IsTruncated = out.Marker != ""
	return out, nil
}

// AddUserToGroup makes a user a member. It is no error if it is one.
func (s *Service) AddUserToGroup(ctx context.Context, in *shape.AddUserToGroupRequest) (*shape.AddUserToGroupResult, error) {
	err := s.member(ctx, in.GroupName, in.UserName, func(groups []string, id string) ([]string, error) {
		if slices.Contains(groups, id) {
			return groups, nil
		}
		if len(groups) >= maxGroups {
			return nil, identity.OverQuota("GroupsPerUser", maxGroups)
		}
		return append(groups, id), nil
	})
	if err != nil {
		return nil, err
	}
	return &shape.AddUserToGroupResult{}, nil
}

// RemoveUserFromGroup ends a membership. It is no error if there is none.
func (s *Service) RemoveUserFromGroup(ctx context.Context, in *shape.RemoveUserFromGroupRequest) (*shape.RemoveUserFromGroupResult, error) {
	err := s.member(ctx, in.GroupName, in.UserName, func(groups []string, id string) ([]string, error) {
		return slices.DeleteFunc(groups, func(g string) bool { return g == id }), nil
	})
	if err != nil {
		return nil, err
	}
	return &shape.RemoveUserFromGroupResult{}, nil
}

// member changes the groups of a user.
func (s *Service) member(ctx context.Context, group, user string, change func(groups []string, id string) ([]string, error)) error {
	account := call.From(ctx).AccountID
	return s.update(ctx, func(tx *store.Tx) error {
		g, err := groupKind.find(tx, account, group)
		if err != nil {
			return err
		}
		u, err := identity.FindUser(tx, account, user)
		if err != nil {
			return err
		}
		next := *u
		if next.Groups, err = change(slices.Clone(u.Groups), g.ID); err != nil {
			return err
		}
		return store.Users.Put(tx, &next)
	})
}
