package ec2

import (
	"context"
	"slices"
	"strings"

	"karri.dev/internal/aws/awserr"
	"karri.dev/internal/aws/call"
	shape "karri.dev/internal/aws/shape/ec2"
	"karri.dev/internal/filter"
	"karri.dev/internal/resource"
	"karri.dev/internal/store"
)

// maxGrants bounds the permissions of one interface.
const maxGrants = 50

// granted gives an interface for what the caller wants to do with it: one of the caller's own, or another account's that lets it.
func granted(r store.Reader, info *call.Info, id, what string) (*resource.Interface, error) {
	if e := store.Interfaces.Get(r, id); e != nil && e.Region == info.Region && e.Grants(info.AccountID, what) {
		return e, nil
	}
	return interfaces.find(r, info, id)
}

// attachedBy gives the interface of an attachment, if it or the instance that has it is the caller's.
func attachedBy(r store.Reader, info *call.Info, attachment string) *resource.Interface {
	e := store.InterfacesByAttachment.One(r, attachment)
	if e == nil || interfaces.mine(info, e) {
		return e
	}
	if inst := store.Instances.Get(r, e.InstanceID); inst != nil && instances.mine(info, inst) {
		return e
	}
	return nil
}

// grantView is a permission with the interface that it is for.
type grantView struct {
	*resource.InterfaceGrant
	eni *resource.Interface
}

func shapeGrant(v grantView) shape.NetworkInterfacePermission {
	return shape.NetworkInterfacePermission{
		NetworkInterfacePermissionId: v.ID, NetworkInterfaceId: v.eni.ID, AwsAccountId: v.Account, Permission: v.What,
		PermissionState: &shape.NetworkInterfacePermissionState{State: "granted"},
	}
}

// CreateNetworkInterfacePermission lets another account attach an interface to its instances, or give it its addresses.
func (s *Service) CreateNetworkInterfacePermission(ctx context.Context, in *shape.CreateNetworkInterfacePermissionRequest) (*shape.CreateNetworkInterfacePermissionResult, error) {
	info, err := s.begin(ctx, in)
	if err != nil {
		return nil, err
	}
	switch {
	case in.NetworkInterfaceId == "":
		return nil, errMissing("networkInterfaceId")
	case in.Permission == "":
		return nil, errMissing("permission")
	case in.AwsAccountId == "":
		return nil, errMissing("awsAccountId")
	case !isAccountID(in.AwsAccountId):
		return nil, errValue(in.AwsAccountId, "awsAccountId")
	}
	if err := oneOf("permission", in.Permission, resource.GrantAttach, resource.GrantAddress); err != nil {
		return nil, err
	}
	grant := resource.InterfaceGrant{ID: s.IDs.Resource("eni-perm-"), Account: in.AwsAccountId, What: in.Permission}
	var made grantView
	err = s.update(ctx, in.DryRun, func(tx *store.Tx) error {
		e, err := editable(tx, info, in.NetworkInterfaceId)
		if err != nil {
			return err
		}
		for i := range e.Granted {
			if old := &e.Granted[i]; old.Account == grant.Account && old.What == grant.What {
				made = grantView{old, e}
				return nil
			}
		}
		if len(e.Granted) >= maxGrants {
			return awserr.New("NetworkInterfacePermissionLimitExceeded", "The maximum number of permissions of the network interface has been reached.")
		}
		next := *e
		next.Granted = append(slices.Clip(e.Granted), grant)
		made = grantView{&grant, e}
		return store.Interfaces.Put(tx, &next)
	})
	if err != nil {
		return nil, err
	}
	out := shapeGrant(made)
	return &shape.CreateNetworkInterfacePermissionResult{InterfacePermission: &out}, nil
}

// isAccountID says whether text is 12 digits.
func isAccountID(text string) bool { return len(text) == 12 && strings.Trim(text, "0123456789") == "" }

func errNoGrant(id string) error {
	return awserr.New("InvalidNetworkInterfacePermissionID.NotFound", "The network interface permission ID '%s' does not exist", id)
}

// grantsOf gives all permissions on the caller's interfaces, in order of id.
func grantsOf(r store.Reader, info *call.Info) (out []grantView) {
	for e := range store.InterfacesByOwner.By(r, ownerKey(info)) {
		for i := range e.Granted {
			out = append(out, grantView{&e.Granted[i], e})
		}
	}
	slices.SortFunc(out, func(a, b grantView) int { return strings.Compare(a.ID, b.ID) })
	return out
}

// DeleteNetworkInterfacePermission takes a permission back; what was done with it stays. One that an instance uses is
// only taken back by force.
func (s *Service) DeleteNetworkInterfacePermission(ctx context.Context, in *shape.DeleteNetworkInterfacePermissionRequest) (*shape.DeleteNetworkInterfacePermissionResult, error) {
	info, err := s.begin(ctx, in)
	if err != nil {
		return nil, err
	}
	if in.NetworkInterfacePermissionId == "" {
		return nil, errMissing("networkInterfacePermissionId")
	}
	err = s.update(ctx, in.DryRun, func(tx *store.Tx) error {
		all := grantsOf(tx, info)
		i := slices.IndexFunc(all, func(v grantView) bool { return v.ID == in.NetworkInterfacePermissionId })
		if i < 0 {
			return errNoGrant(in.NetworkInterfacePermissionId)
		}
		e := all[i].eni
		inst := store.Instances.Get(tx, e.InstanceID)
		if inst != nil && inst.AccountID == all[i].Account && all[i].What == resource.GrantAttach && !isTrue(in.Force) {
			return awserr.New("OperationNotPermitted", "The account %s has attached the network interface '%s' to an instance; use Force to remove the permission.", all[i].Account, e.ID)
		}
		next := *e
		next.Granted = slices.DeleteFunc(slices.Clone(e.Granted), func(g resource.InterfaceGrant) bool { return g.ID == in.NetworkInterfacePermissionId })
		return store.Interfaces.Put(tx, &next)
	})
	if err != nil {
		return nil, err
	}
	return &shape.DeleteNetworkInterfacePermissionResult{Return: true}, nil
}

var grantFilters = &filter.Set[grantView]{
	Fields: map[string]func(grantView) []string{
		"network-interface-permission.network-interface-permission-id": func(v grantView) []string { return one(v.ID) },
		"network-interface-permission.network-interface-id":            func(v grantView) []string { return one(v.eni.ID) },
		"network-interface-permission.aws-account-id":                  func(v grantView) []string { return one(v.Account) },
		"network-interface-permission.permission":                      func(v grantView) []string { return one(v.What) },
	},
	Never: []string{"network-interface-permission.aws-service"},
}

// DescribeNetworkInterfacePermissions lists the permissions on the caller's interfaces.
func (s *Service) DescribeNetworkInterfacePermissions(ctx context.Context, in *shape.DescribeNetworkInterfacePermissionsRequest) (*shape.DescribeNetworkInterfacePermissionsResult, error) {
	info, r, err := s.read(ctx, in, nil)
	if err != nil {
		return nil, err
	}
	match, err := compile(grantFilters, in.Filters)
	if err != nil {
		return nil, err
	}
	limit, start, err := s.page(info, "DescribeNetworkInterfacePermissions", in.MaxResults, in.NextToken, 5)
	if err != nil {
		return nil, err
	}
	if in.MaxResults == nil {
		limit = 50 // as AWS has it
	}
	all := grantsOf(r, info)
	for _, id := range in.NetworkInterfacePermissionIds {
		if !slices.ContainsFunc(all, func(v grantView) bool { return v.ID == id }) {
			return nil, errNoGrant(id)
		}
	}
	all = slices.DeleteFunc(all, func(v grantView) bool {
		return v.ID < start || len(in.NetworkInterfacePermissionIds) > 0 && !slices.Contains(in.NetworkInterfacePermissionIds, v.ID) || match != nil && !match(v)
	})
	all, next, err := cut(s, info, "DescribeNetworkInterfacePermissions", all, limit, func(v grantView) string { return v.ID })
	if err != nil {
		return nil, err
	}
	out := &shape.DescribeNetworkInterfacePermissionsResult{NetworkInterfacePermissions: []shape.NetworkInterfacePermission{}, NextToken: next}
	for _, v := range all {
		out.NetworkInterfacePermissions = append(out.NetworkInterfacePermissions, shapeGrant(v))
	}
	return out, nil
}
