package iam

import (
	"context"
	"maps"
	"slices"
	"strings"

	"karri.dev/internal/aws/call"
	shape "karri.dev/internal/aws/shape/iam"
	"karri.dev/internal/resource"
	"karri.dev/internal/store"
)

// GetAccountAuthorizationDetails gives users, groups, roles and policies with all that decides what they may do: the
// account's own policies, and those of the cloud that somebody uses.
func (s *Service) GetAccountAuthorizationDetails(ctx context.Context, in *shape.GetAccountAuthorizationDetailsRequest) (*shape.GetAccountAuthorizationDetailsResult, error) {
	p, err := newPage(in.Marker, in.MaxItems)
	if err != nil {
		return nil, err
	}
	for _, f := range in.Filter {
		if !slices.Contains([]string{"User", "Role", "Group", "LocalManagedPolicy", "AWSManagedPolicy"}, f) {
			return nil, invalid("1 validation error detected: Value '%.64s' at 'filter' failed to satisfy constraint: Member must satisfy enum value set: [User, Role, Group, LocalManagedPolicy, AWSManagedPolicy]", f)
		}
	}
	r, account := s.store.Snapshot(), call.From(ctx).AccountID
	out := &shape.GetAccountAuthorizationDetailsResult{
		UserDetailList: []shape.UserDetail{}, GroupDetailList: []shape.GroupDetail{}, RoleDetailList: []shape.RoleDetail{}, Policies: []shape.ManagedPolicyDetail{},
	}
	list, next := cut(p, s.detailed(r, account, in.Filter), func(d detail) string { return d.place })
	for _, d := range list {
		d.add(out)
	}
	out.Marker, out.IsTruncated = next, next != ""
	return out, nil
}

// detail is one entity of the details; place is where in their order.
type detail struct {
	place string
	add   func(out *shape.GetAccountAuthorizationDetailsResult)
}

// detailed lists the entities of these kinds in order of kind and name.
func (s *Service) detailed(r store.Reader, account string, filter []string) (all []detail) {
	wants := func(kind string) bool { return len(filter) == 0 || slices.Contains(filter, kind) }
	if wants("User") {
		for u := range userKind.all(r, account, "") {
			all = append(all, detail{"1/" + strings.ToLower(u.Name), func(out *shape.GetAccountAuthorizationDetailsResult) {
				out.UserDetailList = append(out.UserDetailList, userDetail(r, u))
			}})
		}
	}
	if wants("Group") {
		for g := range groupKind.all(r, account, "") {
			all = append(all, detail{"2/" + strings.ToLower(g.Name), func(out *shape.GetAccountAuthorizationDetailsResult) {
				out.GroupDetailList = append(out.GroupDetailList, shape.GroupDetail{
					Path: g.Path, GroupName: g.Name, GroupId: g.ID, Arn: g.ARN(), CreateDate: g.CreatedAt,
					GroupPolicyList: inlineOut(&g.Permissions), AttachedManagedPolicies: attachedOut(&g.Permissions),
				})
			}})
		}
	}
	if wants("Role") {
		for role := range roleKind.all(r, account, "") {
			all = append(all, detail{"3/" + strings.ToLower(role.Name), func(out *shape.GetAccountAuthorizationDetailsResult) {
				out.RoleDetailList = append(out.RoleDetailList, s.roleDetail(r, role))
			}})
		}
	}
	if wants("LocalManagedPolicy") {
		for p := range policyKind.all(r, account, "") {
			all = append(all, s.policyDetail(r, account, "4/", p))
		}
	}
	if wants("AWSManagedPolicy") {
		for _, p := range s.cloud {
			if attached, bounds := uses(r, account, p.ARN()); attached+bounds > 0 {
				all = append(all, s.policyDetail(r, account, "5/", p))
			}
		}
	}
	slices.SortFunc(all, func(a, b detail) int { return strings.Compare(a.place, b.place) })
	return all
}

func userDetail(r store.Reader, u *resource.User) shape.UserDetail {
	d := shape.UserDetail{
		Path: u.Path, UserName: u.Name, UserId: u.ID, Arn: u.ARN(), CreateDate: u.CreatedAt, UserPolicyList: inlineOut(&u.Permissions), GroupList: []string{},
		AttachedManagedPolicies: attachedOut(&u.Permissions), PermissionsBoundary: boundaryOut(u.Boundary), Tags: tagsOut(u.Tags),
	}
	for _, id := range u.Groups {
		if g := store.GroupsByID.One(r, id); g != nil {
			d.GroupList = append(d.GroupList, g.Name)
		}
	}
	slices.Sort(d.GroupList)
	return d
}

func (s *Service) roleDetail(r store.Reader, role *resource.IAMRole) shape.RoleDetail {
	d := shape.RoleDetail{
		Path: role.Path, RoleName: role.Name, RoleId: role.ID, Arn: role.ARN(), CreateDate: role.CreatedAt, AssumeRolePolicyDocument: escaped(role.Trust.Text),
		InstanceProfileList: []shape.InstanceProfile{}, RolePolicyList: inlineOut(&role.Permissions), AttachedManagedPolicies: attachedOut(&role.Permissions),
		PermissionsBoundary: boundaryOut(role.Boundary), Tags: tagsOut(role.Tags), RoleLastUsed: s.roleUsed(role),
	}
	for p := range store.InstanceProfilesByRole.By(r, role.ID) {
		d.InstanceProfileList = append(d.InstanceProfileList, *profileOut(r, p, false))
	}
	return d
}

// roleUsed says when a role's credentials were last used, for whatever service.
func (s *Service) roleUsed(role *resource.IAMRole) *shape.RoleLastUsed {
	out := &shape.RoleLastUsed{}
	for namespace := range services {
		if use, ok := s.identity.LastUsedBy(role.ID, namespace); ok && use.Time.After(out.LastUsedDate) {
			out.LastUsedDate, out.Region = use.Time, use.Region
		}
	}
	return out
}

func (s *Service) policyDetail(r store.Reader, account, order string, p *resource.Policy) detail {
	return detail{order + strings.ToLower(p.Name), func(out *shape.GetAccountAuthorizationDetailsResult) {
		about := s.policyOut(r, account, p, true)
		d := shape.ManagedPolicyDetail{
			PolicyName: about.PolicyName, PolicyId: about.PolicyId, Arn: about.Arn, Path: about.Path, DefaultVersionId: about.DefaultVersionId,
			AttachmentCount: about.AttachmentCount, PermissionsBoundaryUsageCount: about.PermissionsBoundaryUsageCount, IsAttachable: about.IsAttachable,
			Description: about.Description, CreateDate: about.CreateDate, UpdateDate: about.UpdateDate,
		}
		for _, v := range slices.Backward(p.Versions) {
			d.PolicyVersionList = append(d.PolicyVersionList, *versionOut(p, v, true))
		}
		out.Policies = append(out.Policies, d)
	}}
}

// inlineOut gives an entity's inline policies in order of name.
func inlineOut(p *resource.Permissions) []shape.PolicyDetail {
	out := []shape.PolicyDetail{}
	for _, name := range slices.Sorted(maps.Keys(p.Inline)) {
		out = append(out, shape.PolicyDetail{PolicyName: name, PolicyDocument: escaped(p.Inline[name])})
	}
	return out
}

// attachedOut gives an entity's managed policies in order of name.
func attachedOut(p *resource.Permissions) []shape.AttachedPolicy {
	out := []shape.AttachedPolicy{}
	for _, arn := range p.Attached {
		_, name := pathOf(arn)
		out = append(out, shape.AttachedPolicy{PolicyName: name, PolicyArn: arn})
	}
	slices.SortFunc(out, func(a, b shape.AttachedPolicy) int { return strings.Compare(a.PolicyName, b.PolicyName) })
	return out
}
