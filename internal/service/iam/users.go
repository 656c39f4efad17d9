package iam

import (
	"context"
	"time"

	"karri.dev/internal/aws/call"
	shape "karri.dev/internal/aws/shape/iam"
	"karri.dev/internal/identity"
	"karri.dev/internal/resource"
	"karri.dev/internal/store"
)

// CreateUser makes a user without access keys.
func (s *Service) CreateUser(ctx context.Context, in *shape.CreateUserRequest) (*shape.CreateUserResult, error) {
	tags, err := tagsIn(in.Tags)
	if err != nil {
		return nil, err
	}
	account := call.From(ctx).AccountID
	var u *resource.User
	err = s.update(ctx, func(tx *store.Tx) (err error) {
		if u, err = s.identity.AddUser(tx, account, in.UserName, in.Path, tags); err != nil || in.PermissionsBoundary == "" {
			return err
		}
		if err := attachable(tx, account, in.PermissionsBoundary); err != nil {
			return err
		}
		bounded := *u
		bounded.Boundary, u = in.PermissionsBoundary, &bounded
		return store.Users.Put(tx, u)
	})
	if err != nil {
		return nil, err
	}
	return &shape.CreateUserResult{User: userOut(u, true)}, nil
}

// GetUser gives a user, or who is calling where no name is given.
func (s *Service) GetUser(ctx context.Context, in *shape.GetUserRequest) (*shape.GetUserResult, error) {
	c, snap := call.From(ctx).Caller, s.store.Snapshot()
	name := in.UserName
	if name == "" {
		if c.Root() {
			return &shape.GetUserResult{User: rootOut(snap, c.AccountID)}, nil
		}
		name = c.UserName
	} else if err := identity.CheckUserName(name); err != nil {
		return nil, err
	}
	u, err := identity.FindUser(snap, c.AccountID, name)
	if err != nil {
		return nil, err
	}
	out := userOut(u, true)
	out.PasswordLastUsed = passwordUsed(snap, u)
	return &shape.GetUserResult{User: out}, nil
}

// ListUsers lists the account's users in order of name.
func (s *Service) ListUsers(ctx context.Context, in *shape.ListUsersRequest) (*shape.ListUsersResult, error) {
	p, err := newPage(in.Marker, in.MaxItems)
	if err != nil {
		return nil, err
	}
	snap := s.store.Snapshot()
	list, next, err := userKind.list(snap, call.From(ctx).AccountID, in.PathPrefix, p, nil)
	if err != nil {
		return nil, err
	}
	out := &shape.ListUsersResult{Users: []shape.User{}, Marker: next, IsTruncated: next != ""}
	for i, u := range list {
		out.Users = append(out.Users, *userOut(u, false))
		out.Users[i].PasswordLastUsed = passwordUsed(snap, u)
	}
	return out, nil
}

// UpdateUser gives a user another name or path.
func (s *Service) UpdateUser(ctx context.Context, in *shape.UpdateUserRequest) (*shape.UpdateUserResult, error) {
	account := call.From(ctx).AccountID
	err := s.update(ctx, func(tx *store.Tx) error {
		return s.identity.ChangeUser(tx, account, in.UserName, in.NewUserName, in.NewPath)
	})
	if err != nil {
		return nil, err
	}
	return &shape.UpdateUserResult{}, nil
}

// DeleteUser deletes a user without access keys, groups and policies.
func (s *Service) DeleteUser(ctx context.Context, in *shape.DeleteUserRequest) (*shape.DeleteUserResult, error) {
	account := call.From(ctx).AccountID
	err := s.update(ctx, func(tx *store.Tx) error {
		u, err := identity.FindUser(tx, account, in.UserName)
		if err != nil {
			return err
		}
		if len(u.Groups) > 0 {
			return conflict("Cannot delete entity, must remove users from group first.")
		}
		if err := bare(&u.Permissions); err != nil {
			return err
		}
		return identity.RemoveUser(tx, account, in.UserName)
	})
	if err != nil {
		return nil, err
	}
	return &shape.DeleteUserResult{}, nil
}

// userOut gives a user as AWS does; lists leave the tags out.
func userOut(u *resource.User, tags bool) *shape.User {
	out := &shape.User{Path: u.Path, UserName: u.Name, UserId: u.ID, Arn: identity.UserARN(u), CreateDate: u.CreatedAt}
	if tags {
		out.PermissionsBoundary, out.Tags = boundaryOut(u.Boundary), tagsOut(u.Tags)
	}
	return out
}

// rootOut gives an account's root as AWS does.
func rootOut(r store.Reader, account string) *shape.User {
	out := &shape.User{Path: "/", UserId: account, Arn: identity.RootARN(account)}
	if a := store.Accounts.Get(r, account); a != nil {
		out.CreateDate, out.PasswordLastUsed = a.CreatedAt, passwordUsed(r, &resource.User{ID: account})
	}
	return out
}

// passwordUsed says when a user last logged in.
func passwordUsed(r store.Reader, u *resource.User) (at time.Time) {
	if p := store.LoginProfiles.Get(r, u.ID); p != nil {
		at = p.UsedAt
	}
	return at
}
