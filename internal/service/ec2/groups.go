package ec2

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"karri.dev/internal/aws/awserr"
	"karri.dev/internal/aws/call"
	shape "karri.dev/internal/aws/shape/ec2"
	"karri.dev/internal/filter"
	"karri.dev/internal/resource"
	"karri.dev/internal/store"
)

// Limits of AWS.
const (
	maxGroupsPerInterface = 5
	maxRulesPerGroup      = 60 // for each direction
)

// checkGroupText checks a group's name or description in a VPC.
func checkGroupText(parameter, text string, max int) error {
	ok := utf8.RuneCountInString(text) <= max
	for _, c := range text {
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', strings.ContainsRune(" ._-:/()#,@[]+=&;{}!$*", c):
		default:
			ok = false
		}
	}
	if !ok {
		return awserr.New("InvalidParameterValue", "Value (%s) for parameter %s is invalid. Character sets beyond ASCII are not supported.", text, parameter)
	}
	return nil
}

// CreateSecurityGroup makes a group that lets nothing in and everything out.
func (s *Service) CreateSecurityGroup(ctx context.Context, in *shape.CreateSecurityGroupRequest) (*shape.CreateSecurityGroupResult, error) {
	info, err := s.begin(ctx, in)
	if err != nil {
		return nil, err
	}
	switch {
	case in.GroupName == "":
		return nil, errMissing("GroupName")
	case in.Description == "":
		return nil, errMissing("GroupDescription")
	}
	if err := checkGroupText("groupName", in.GroupName, 255); err != nil {
		return nil, err
	}
	if err := checkGroupText("GroupDescription", in.Description, 255); err != nil {
		return nil, err
	}
	if strings.HasPrefix(strings.ToLower(in.GroupName), "sg-") {
		return nil, awserr.New("InvalidParameterValue", "Value (%s) for parameter GroupName is invalid. Group names may not be in the format sg-*.", in.GroupName)
	}
	tags, err := tagsOnCreate(in.TagSpecifications, "security-group")
	if err != nil {
		return nil, err
	}
	group := resource.SecurityGroup{
		Owned: s.owned(info, tags["security-group"]), ID: s.IDs.Resource("sg-"), Name: in.GroupName, Description: in.Description,
		Rules: []resource.Rule{allOut(s.IDs.Resource("sgr-"))},
	}
	err = s.update(ctx, in.DryRun, func(tx *store.Tx) error {
		vpc, err := vpcOrDefault(tx, info, in.VpcId)
		if err != nil {
			return err
		}
		if in.GroupName == "default" {
			return awserr.New("InvalidParameterValue", "Cannot use reserved security group name: default")
		}
		next := group
		next.VPCID = vpc.ID
		if len(vpc.IPv6) > 0 {
			next.Rules = append(slices.Clone(group.Rules), allOut6(s.IDs.Resource("sgr-")))
		}
		var taken *store.DuplicateError
		if err := store.SecurityGroups.Put(tx, &next); errors.As(err, &taken) {
			return awserr.New("InvalidGroup.Duplicate", "The security group '%s' already exists for VPC '%s'", in.GroupName, shownVPC(vpc.ID))
		} else if err != nil {
			return err
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return &shape.CreateSecurityGroupResult{GroupId: group.ID, Tags: shapeTags(group.Tags), SecurityGroupArn: groups.arn(&group)}, nil
}

func allOut(id string) resource.Rule {
	return resource.Rule{ID: id, Egress: true, Protocol: "-1", FromPort: -1, ToPort: -1, CIDR: "0.0.0.0/0"}
}

// vpcOrDefault gives the caller's VPC with this id, or their default VPC for "".
func vpcOrDefault(r store.Reader, info *call.Info, id string) (*resource.VPC, error) {
	if id != "" {
		return vpcs.find(r, info, id)
	}
	if v := home(r, info); v != nil {
		return v, nil
	}
	if !hasDefaultVPCs(r, info.Region) {
		return nil, errUnsupported("The region %s has no security groups outside of VPCs.", info.Region)
	}
	return nil, awserr.New("VPCIdNotSpecified", "No default VPC for this user")
}

// groupOf gives a group by id, or by its name in the default VPC.
func groupOf(r store.Reader, info *call.Info, id, name string) (*resource.SecurityGroup, error) {
	if id != "" {
		return groups.find(r, info, id)
	}
	if name == "" {
		return nil, awserr.New("MissingParameter", "The request must contain the parameter groupName or groupId")
	}
	if v := home(r, info); v != nil {
		if g := groupNamed(r, info, v.ID, name); g != nil {
			return g, nil
		}
	}
	return nil, awserr.New("InvalidGroup.NotFound", "The security group '%s' does not exist in default VPC", name)
}

// DeleteSecurityGroup deletes a group that nothing uses.
func (s *Service) DeleteSecurityGroup(ctx context.Context, in *shape.DeleteSecurityGroupRequest) (*shape.DeleteSecurityGroupResult, error) {
	info, err := s.begin(ctx, in)
	if err != nil {
		return nil, err
	}
	var deleted string
	err = s.update(ctx, in.DryRun, func(tx *store.Tx) error {
		g, err := groupOf(tx, info, in.GroupId, in.GroupName)
		if err != nil {
			return err
		}
		deleted = g.ID
		if g.Name == "default" {
			return awserr.New("CannotDelete", "the specified group: \"%s\" name: \"default\" cannot be deleted by a user", g.ID)
		}
		if store.InterfacesByGroup.One(tx, g.ID) != nil {
			return awserr.New("DependencyViolation", "resource %s has a dependent object", g.ID)
		}
		for other := range store.SecurityGroupsByPeer.By(tx, g.ID) {
			if other.VPCID == g.VPCID { // what names it across a peering becomes stale
				return awserr.New("DependencyViolation", "resource %s has a dependent object", g.ID)
			}
		}
		dropSlices(tx, g)
		store.SecurityGroups.Delete(tx, g.ID)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return &shape.DeleteSecurityGroupResult{Return: true, GroupId: deleted}, nil
}

// groupView is a group with what filters need beside it.
type groupView struct {
	*resource.SecurityGroup
	r store.Reader
}

var groupFilters = func() *filter.Set[groupView] {
	set := &filter.Set[groupView]{
		Fields: map[string]func(groupView) []string{
			"description": func(g groupView) []string { return one(g.Description) },
			"group-id":    func(g groupView) []string { return one(g.ID) },
			"group-name":  func(g groupView) []string { return one(g.Name) },
			"owner-id":    func(g groupView) []string { return one(g.AccountID) },
			"vpc-id":      func(g groupView) []string { return one(shownVPC(g.VPCID)) },
		},
		Tags: func(g groupView) map[string]string { return g.Tags },
	}
	rule := func(name string, value func(store.Reader, *resource.Rule) string) {
		for _, egress := range []bool{false, true} {
			prefix := "ip-permission."
			if egress {
				prefix = "egress.ip-permission."
			}
			set.Fields[prefix+name] = func(g groupView) (out []string) {
				for i := range g.Rules {
					if r := &g.Rules[i]; r.Egress == egress {
						out = append(out, one(value(g.r, r))...)
					}
				}
				return out
			}
		}
	}
	rule("cidr", func(_ store.Reader, r *resource.Rule) string { return r.CIDR })
	rule("ipv6-cidr", func(_ store.Reader, r *resource.Rule) string { return r.CIDR6 })
	rule("prefix-list-id", func(_ store.Reader, r *resource.Rule) string { return r.PrefixList })
	rule("from-port", func(_ store.Reader, r *resource.Rule) string { return strconv.Itoa(r.FromPort) })
	rule("to-port", func(_ store.Reader, r *resource.Rule) string { return strconv.Itoa(r.ToPort) })
	rule("protocol", func(_ store.Reader, r *resource.Rule) string { return r.Protocol })
	rule("group-id", func(_ store.Reader, r *resource.Rule) string { return r.GroupID })
	rule("user-id", func(_ store.Reader, r *resource.Rule) string { return r.GroupOwner })
	rule("group-name", func(db store.Reader, r *resource.Rule) string {
		if g := store.SecurityGroups.Get(db, r.GroupID); g != nil {
			return g.Name
		}
		return ""
	})
	return set
}()

// DescribeSecurityGroups lists groups.
func (s *Service) DescribeSecurityGroups(ctx context.Context, in *shape.DescribeSecurityGroupsRequest) (*shape.DescribeSecurityGroupsResult, error) {
	info, r, err := s.read(ctx, in, in.DryRun)
	if err != nil {
		return nil, err
	}
	match, err := compile(groupFilters, in.Filters)
	if err != nil {
		return nil, err
	}
	if in.MaxResults != nil && (len(in.GroupIds) > 0 || len(in.GroupNames) > 0) {
		return nil, errCombination("The parameter maxResults cannot be used with group ids or names")
	}
	wanted := in.GroupIds
	for _, name := range in.GroupNames {
		g, err := groupOf(r, info, "", name)
		if err != nil {
			return nil, err
		}
		wanted = append(wanted, g.ID)
	}
	list, next, err := list(s, r, info, groups, selection[resource.SecurityGroup]{
		op: "DescribeSecurityGroups", ids: wanted, max: in.MaxResults, token: in.NextToken,
		match: on(match, func(g *resource.SecurityGroup) groupView { return groupView{g, r} }),
	})
	if err != nil {
		return nil, err
	}
	out := make([]shape.SecurityGroup, len(list))
	for i, g := range list {
		out[i] = shape.SecurityGroup{
			Description: g.Description, GroupName: g.Name, OwnerId: g.AccountID, GroupId: g.ID, VpcId: shownVPC(g.VPCID), Tags: shapeTags(g.Tags),
			IpPermissions: permissions(g.Rules, false), IpPermissionsEgress: permissions(g.Rules, true), SecurityGroupArn: groups.arn(g),
		}
		if !resource.InVPC(g.VPCID) {
			out[i].IpPermissionsEgress = nil // what goes out is never held back
		}
	}
	return &shape.DescribeSecurityGroupsResult{SecurityGroups: out, NextToken: next}, nil
}
