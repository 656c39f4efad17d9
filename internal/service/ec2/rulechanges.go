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

// ModifySecurityGroupRules replaces rules; they keep their ids and tags.
func (s *Service) ModifySecurityGroupRules(ctx context.Context, in *shape.ModifySecurityGroupRulesRequest) (*shape.ModifySecurityGroupRulesResult, error) {
	info, err := s.begin(ctx, in)
	if err != nil {
		return nil, err
	}
	switch {
	case in.GroupId == "":
		return nil, errMissing("groupId")
	case len(in.SecurityGroupRules) == 0:
		return nil, errMissing("securityGroupRule")
	}
	err = s.update(ctx, in.DryRun, func(tx *store.Tx) error {
		group, err := groups.find(tx, info, in.GroupId)
		if err != nil {
			return err
		}
		next := *group
		next.Rules = slices.Clone(group.Rules)
		for _, change := range in.SecurityGroupRules {
			i := slices.IndexFunc(next.Rules, func(r resource.Rule) bool { return r.ID == change.SecurityGroupRuleId })
			if i < 0 {
				return errNoRule(change.SecurityGroupRuleId)
			}
			rule, err := changedRule(tx, info, group, &next.Rules[i], change.SecurityGroupRule)
			if err != nil {
				return err
			}
			next.Rules[i] = *rule
		}
		for i := range next.Rules {
			if slices.ContainsFunc(next.Rules[:i], func(o resource.Rule) bool { return sameRule(&o, &next.Rules[i]) }) {
				return awserr.New("InvalidPermission.Duplicate", "the specified rule \"%s\" already exists", describeRule(&next.Rules[i]))
			}
		}
		for _, egress := range []bool{false, true} {
			if err := checkRuleLimit(tx, &next, egress); err != nil {
				return err
			}
		}
		return store.SecurityGroups.Put(tx, &next)
	})
	if err != nil {
		return nil, err
	}
	return &shape.ModifySecurityGroupRulesResult{Return: true}, nil
}

// changedRule gives a rule as a request wants it.
func changedRule(r store.Reader, info *call.Info, group *resource.SecurityGroup, old *resource.Rule, in *shape.SecurityGroupRuleRequest) (*resource.Rule, error) {
	if in == nil {
		return nil, errMissing("securityGroupRule")
	}
	p := shape.IpPermission{IpProtocol: in.IpProtocol, FromPort: in.FromPort, ToPort: in.ToPort}
	given := 0
	if in.CidrIpv4 != "" {
		given++
		p.IpRanges = []shape.IpRange{{CidrIp: in.CidrIpv4, Description: in.Description}}
	}
	if in.CidrIpv6 != "" {
		given++
		p.Ipv6Ranges = []shape.Ipv6Range{{CidrIpv6: in.CidrIpv6, Description: in.Description}}
	}
	if in.PrefixListId != "" {
		given++
		p.PrefixListIds = []shape.PrefixListId{{PrefixListId: in.PrefixListId, Description: in.Description}}
	}
	if in.ReferencedGroupId != "" {
		given++
		p.UserIdGroupPairs = []shape.UserIdGroupPair{{GroupId: in.ReferencedGroupId, Description: in.Description}}
	}
	if given != 1 {
		return nil, awserr.New("InvalidParameterValue", "Exactly one of cidrIpv4, cidrIpv6, prefixListId and referencedGroupId must be given")
	}
	q := ruleRequest{egress: old.Egress, permissions: []shape.IpPermission{p}}
	rules, err := q.rules(r, info, group)
	if err != nil {
		return nil, err
	}
	rule := rules[0]
	kind := func(r *resource.Rule) [4]bool {
		return [4]bool{r.CIDR != "", r.CIDR6 != "", r.PrefixList != "", r.GroupID != ""}
	}
	if kind(&rule) != kind(old) {
		return nil, awserr.New("InvalidParameterValue", "The type of source or destination of the rule %s cannot be changed", old.ID)
	}
	rule.ID, rule.Tags = old.ID, old.Tags
	return &rule, nil
}

// UpdateSecurityGroupRuleDescriptionsIngress changes descriptions of inbound rules.
func (s *Service) UpdateSecurityGroupRuleDescriptionsIngress(ctx context.Context, in *shape.UpdateSecurityGroupRuleDescriptionsIngressRequest) (*shape.UpdateSecurityGroupRuleDescriptionsIngressResult, error) {
	err := s.describeRules(ctx, in, in.DryRun, ruleRequest{groupID: in.GroupId, groupName: in.GroupName, permissions: in.IpPermissions}, in.SecurityGroupRuleDescriptions)
	if err != nil {
		return nil, err
	}
	return &shape.UpdateSecurityGroupRuleDescriptionsIngressResult{Return: true}, nil
}

// UpdateSecurityGroupRuleDescriptionsEgress changes descriptions of outbound rules.
func (s *Service) UpdateSecurityGroupRuleDescriptionsEgress(ctx context.Context, in *shape.UpdateSecurityGroupRuleDescriptionsEgressRequest) (*shape.UpdateSecurityGroupRuleDescriptionsEgressResult, error) {
	err := s.describeRules(ctx, in, in.DryRun, ruleRequest{egress: true, groupID: in.GroupId, groupName: in.GroupName, permissions: in.IpPermissions}, in.SecurityGroupRuleDescriptions)
	if err != nil {
		return nil, err
	}
	return &shape.UpdateSecurityGroupRuleDescriptionsEgressResult{Return: true}, nil
}

func (s *Service) describeRules(ctx context.Context, in any, dryRun *bool, q ruleRequest, byID []shape.SecurityGroupRuleDescription) error {
	info, err := s.begin(ctx, in)
	if err != nil {
		return err
	}
	switch {
	case len(q.permissions) == 0 && len(byID) == 0:
		return awserr.New("MissingParameter", "Either 'ipPermissions' or 'securityGroupRuleDescriptions' should be provided.")
	case len(q.permissions) > 0 && len(byID) > 0:
		return errCombination("The parameters ipPermissions and securityGroupRuleDescriptions cannot be used together")
	}
	return s.update(ctx, dryRun, func(tx *store.Tx) error {
		group, err := groupOf(tx, info, q.groupID, q.groupName)
		if err != nil {
			return err
		}
		next := *group
		next.Rules = slices.Clone(group.Rules)
		for _, d := range byID {
			i := slices.IndexFunc(next.Rules, func(r resource.Rule) bool { return r.ID == d.SecurityGroupRuleId && r.Egress == q.egress })
			if i < 0 {
				return errNoRule(d.SecurityGroupRuleId)
			}
			if err := checkGroupText("description", d.Description, 255); err != nil {
				return err
			}
			next.Rules[i].Description = d.Description
		}
		rules, err := q.rules(tx, info, group)
		if err != nil {
			return err
		}
		for _, rule := range rules {
			i := slices.IndexFunc(next.Rules, func(o resource.Rule) bool { return sameRule(&o, &rule) })
			if i < 0 {
				return awserr.New("InvalidPermission.NotFound", "The specified rule does not exist in this security group.")
			}
			next.Rules[i].Description = rule.Description
		}
		return store.SecurityGroups.Put(tx, &next)
	})
}

// GetSecurityGroupsForVpc lists the groups that interfaces of a VPC can have.
func (s *Service) GetSecurityGroupsForVpc(ctx context.Context, in *shape.GetSecurityGroupsForVpcRequest) (*shape.GetSecurityGroupsForVpcResult, error) {
	info, r, err := s.read(ctx, in, in.DryRun)
	if err != nil {
		return nil, err
	}
	if in.VpcId == "" {
		return nil, errMissing("vpcId")
	}
	v, err := vpcs.find(r, info, in.VpcId)
	if err != nil {
		return nil, err
	}
	set := &filter.Set[*resource.SecurityGroup]{
		Fields: map[string]func(*resource.SecurityGroup) []string{
			"group-id":       func(g *resource.SecurityGroup) []string { return one(g.ID) },
			"description":    func(g *resource.SecurityGroup) []string { return one(g.Description) },
			"group-name":     func(g *resource.SecurityGroup) []string { return one(g.Name) },
			"owner-id":       func(g *resource.SecurityGroup) []string { return one(g.AccountID) },
			"primary-vpc-id": func(g *resource.SecurityGroup) []string { return one(g.VPCID) },
		},
		Tags: func(g *resource.SecurityGroup) map[string]string { return g.Tags },
	}
	match, err := compile(set, in.Filters)
	if err != nil {
		return nil, err
	}
	list, next, err := list(s, r, info, groups, selection[resource.SecurityGroup]{
		op: "GetSecurityGroupsForVpc", max: in.MaxResults, token: in.NextToken,
		match: func(g *resource.SecurityGroup) bool { return g.VPCID == v.ID && (match == nil || match(g)) },
	})
	if err != nil {
		return nil, err
	}
	return &shape.GetSecurityGroupsForVpcResult{NextToken: next, SecurityGroupForVpcs: showAll(r, list, func(_ store.Reader, g *resource.SecurityGroup) shape.SecurityGroupForVpc {
		return shape.SecurityGroupForVpc{
			Description: g.Description, GroupName: g.Name, OwnerId: g.AccountID, GroupId: g.ID, PrimaryVpcId: g.VPCID, Tags: shapeTags(g.Tags),
		}
	})}, nil
}

// DescribeSecurityGroupReferences lists VPCs on the other side of a peering whose groups name these groups.
func (s *Service) DescribeSecurityGroupReferences(ctx context.Context, in *shape.DescribeSecurityGroupReferencesRequest) (*shape.DescribeSecurityGroupReferencesResult, error) {
	info, r, err := s.read(ctx, in, in.DryRun)
	if err != nil {
		return nil, err
	}
	if len(in.GroupId) == 0 {
		return nil, errMissing("groupId")
	}
	out := []shape.SecurityGroupReference{}
	for _, id := range in.GroupId {
		g, err := groups.find(r, info, id)
		if err != nil {
			return nil, err
		}
		seen := map[string]bool{}
		for other := range store.SecurityGroupsByPeer.By(r, g.ID) {
			if other.VPCID == g.VPCID || seen[other.VPCID] {
				continue
			}
			seen[other.VPCID] = true
			if p := peeringBetween(r, g.VPCID, other.VPCID); p != nil {
				out = append(out, shape.SecurityGroupReference{GroupId: g.ID, ReferencingVpcId: other.VPCID, VpcPeeringConnectionId: p.ID})
			}
		}
	}
	return &shape.DescribeSecurityGroupReferencesResult{SecurityGroupReferenceSet: out}, nil
}

// stale says that a rule names a group of a peered VPC that is gone, or whose peering is.
func stale(r store.Reader, g *resource.SecurityGroup, rule *resource.Rule) bool {
	if rule.GroupID == "" {
		return false
	}
	peer := store.SecurityGroups.Get(r, rule.GroupID)
	return peer == nil || peer.VPCID != g.VPCID && peeringBetween(r, g.VPCID, peer.VPCID) == nil
}

// DescribeStaleSecurityGroups lists groups of a VPC with rules that lead nowhere any more.
func (s *Service) DescribeStaleSecurityGroups(ctx context.Context, in *shape.DescribeStaleSecurityGroupsRequest) (*shape.DescribeStaleSecurityGroupsResult, error) {
	info, r, err := s.read(ctx, in, in.DryRun)
	if err != nil {
		return nil, err
	}
	if in.VpcId == "" {
		return nil, errMissing("vpcId")
	}
	v, err := vpcs.find(r, info, in.VpcId)
	if err != nil {
		return nil, err
	}
	list, next, err := list(s, r, info, groups, selection[resource.SecurityGroup]{
		op: "DescribeStaleSecurityGroups", max: in.MaxResults, token: in.NextToken, match: func(g *resource.SecurityGroup) bool {
			return g.VPCID == v.ID && slices.ContainsFunc(g.Rules, func(rule resource.Rule) bool { return stale(r, g, &rule) })
		},
	})
	if err != nil {
		return nil, err
	}
	return &shape.DescribeStaleSecurityGroupsResult{NextToken: next, StaleSecurityGroupSet: showAll(r, list, shapeStale)}, nil
}

func shapeStale(r store.Reader, g *resource.SecurityGroup) shape.StaleSecurityGroup {
	out := shape.StaleSecurityGroup{Description: g.Description, GroupId: g.ID, GroupName: g.Name, VpcId: g.VPCID}
	var gone []resource.Rule
	for i := range g.Rules {
		if stale(r, g, &g.Rules[i]) {
			gone = append(gone, g.Rules[i])
		}
	}
	show := func(egress bool) (all []shape.StaleIpPermission) {
		for _, p := range permissions(gone, egress) {
			one := shape.StaleIpPermission{IpProtocol: strings.ToLower(p.IpProtocol), UserIdGroupPairs: p.UserIdGroupPairs}
			if p.FromPort != nil {
				one.FromPort, one.ToPort = *p.FromPort, *p.ToPort
			}
			all = append(all, one)
		}
		return all
	}
	out.StaleIpPermissions, out.StaleIpPermissionsEgress = show(false), show(true)
	return out
}
