package iam

import (
	"maps"
	"slices"
	"strings"

	"karri.dev/internal/authz"
	"karri.dev/internal/aws/awserr"
	"karri.dev/internal/identity"
	"karri.dev/internal/policy"
	"karri.dev/internal/resource"
	"karri.dev/internal/store"
)

// maxAttached is how many managed policies an entity may have, the others how many characters its inline policies.
const (
	maxAttached = 10
	inlineUser  = policy.InlineUserSize
	inlineGroup = policy.InlineGroupSize
	inlineRole  = policy.InlineRoleSize
)

// holder is what policies hang on: a user, a group or a role.
type holder struct {
	noun   string // "user"
	quota  string // "PoliciesPerUser"
	inline int    // how many characters its inline policies may have together
	*resource.Permissions
	put func(*store.Tx, resource.Permissions) error
}

// find is one of findUser, findGroup and findRole.
type find func(r store.Reader, account, name string) (holder, error)

func findUser(r store.Reader, account, name string) (holder, error) {
	u, err := identity.FindUser(r, account, name)
	if err != nil {
		return holder{}, err
	}
	return holder{"user", "PoliciesPerUser", inlineUser, &u.Permissions, func(tx *store.Tx, p resource.Permissions) error {
		next := *u
		next.Permissions = p
		return store.Users.Put(tx, &next)
	}}, nil
}

func findGroup(r store.Reader, account, name string) (holder, error) {
	g, err := groupKind.find(r, account, name)
	if err != nil {
		return holder{}, err
	}
	return holder{"group", "PoliciesPerGroup", inlineGroup, &g.Permissions, func(tx *store.Tx, p resource.Permissions) error {
		next := *g
		next.Permissions = p
		return store.Groups.Put(tx, &next)
	}}, nil
}

func findRole(r store.Reader, account, name string) (holder, error) {
	role, err := roleKind.find(r, account, name)
	if err != nil {
		return holder{}, err
	}
	return holder{"role", "PoliciesPerRole", inlineRole, &role.Permissions, func(tx *store.Tx, p resource.Permissions) error {
		if err := changeable(role); err != nil {
			return err
		}
		next := *role
		next.Permissions = p
		return store.Roles.Put(tx, &next)
	}}, nil
}

// change replaces an entity's permissions; fn gets a copy.
func change(tx *store.Tx, find find, account, name string, fn func(h holder, p *resource.Permissions) error) error {
	h, err := find(tx, account, name)
	if err != nil {
		return err
	}
	next := *h.Permissions
	next.Attached, next.Inline = slices.Clone(next.Attached), maps.Clone(next.Inline)
	if err := fn(h, &next); err != nil {
		return err
	}
	return h.put(tx, next)
}

// bare says DeleteConflict for an entity that has policies.
func bare(p *resource.Permissions) error {
	switch {
	case len(p.Attached) > 0:
		return conflict("Cannot delete entity, must detach all policies first.")
	case len(p.Inline) > 0:
		return conflict("Cannot delete entity, must delete policies first.")
	}
	return nil
}

// attachable checks that an account may use a managed policy.
func attachable(r store.Reader, account, arn string) error {
	if !strings.HasPrefix(arn, "arn:") || len(arn) < 20 || len(arn) > 2048 {
		return invalid("ARN %s is not valid.", arn)
	}
	if policy.Attachable(arn) {
		return nil
	}
	if policy.IsManaged(arn) {
		return awserr.New("PolicyNotAttachable", "Cannot attach a Service Role Policy to a Customer Role.")
	}
	if p := authz.FindPolicy(r, arn); p == nil || p.AccountID != account {
		return noEntity("Policy %s does not exist or is not attachable.", arn)
	}
	return nil
}
