package ec2

import (
	"context"
	"slices"
	"strings"

	shape "karri.dev/internal/aws/shape/ec2"
	"karri.dev/internal/filter"
	"karri.dev/internal/resource"
	"karri.dev/internal/store"
)

// AuthorizeSecurityGroupIngress adds inbound rules.
func (s *Service) AuthorizeSecurityGroupIngress(ctx context.Context, in *shape.AuthorizeSecurityGroupIngressRequest) (*shape.AuthorizeSecurityGroupIngressResult, error) {
	info, err := s.begin(ctx, in)
	if err != nil {
		return nil, err
	}
	tags, err := tagsOnCreate(in.TagSpecifications, "security-group-rule")
	if err != nil {
		return nil, err
	}
	rules, err := s.authorize(ctx, info, in.DryRun, ruleRequest{
		groupID: in.GroupId, groupName: in.GroupName, permissions: in.IpPermissions, cidr: in.CidrIp, protocol: in.IpProtocol,
		sourceName: in.SourceSecurityGroupName, sourceOwner: in.SourceSecurityGroupOwnerId, from: in.FromPort, to: in.ToPort, tags: tags["security-group-rule"],
	})
	if err != nil {
		return nil, err
	}
	return &shape.AuthorizeSecurityGroupIngressResult{Return: true, SecurityGroupRules: rules}, nil
}

// AuthorizeSecurityGroupEgress adds outbound rules.
func (s *Service) AuthorizeSecurityGroupEgress(ctx context.Context, in *shape.AuthorizeSecurityGroupEgressRequest) (*shape.AuthorizeSecurityGroupEgressResult, error) {
	info, err := s.begin(ctx, in)
	if err != nil {
		return nil, err
	}
	if in.GroupId == "" {
		return nil, errMissing("groupId")
	}
	tags, err := tagsOnCreate(in.TagSpecifications, "security-group-rule")
	if err != nil {
		return nil, err
	}
	rules, err := s.authorize(ctx, info, in.DryRun, ruleRequest{
		egress: true, groupID: in.GroupId, permissions: in.IpPermissions, cidr: in.CidrIp, protocol: in.IpProtocol,
		sourceName: in.SourceSecurityGroupName, sourceOwner: in.SourceSecurityGroupOwnerId, from: in.FromPort, to: in.ToPort, tags: tags["security-group-rule"],
	})
	if err != nil {
		return nil, err
	}
	return &shape.AuthorizeSecurityGroupEgressResult{Return: true, SecurityGroupRules: rules}, nil
}

// RevokeSecurityGroupIngress removes inbound rules.
func (s *Service) RevokeSecurityGroupIngress(ctx context.Context, in *shape.RevokeSecurityGroupIngressRequest) (*shape.RevokeSecurityGroupIngressResult, error) {
	info, err := s.begin(ctx, in)
	if err != nil {
		return nil, err
	}
	gone, err := s.revoke(ctx, info, in.DryRun, ruleRequest{
		groupID: in.GroupId, groupName: in.GroupName, permissions: in.IpPermissions, ruleIDs: in.SecurityGroupRuleIds, cidr: in.CidrIp, protocol: in.IpProtocol,
		sourceName: in.SourceSecurityGroupName, sourceOwner: in.SourceSecurityGroupOwnerId, from: in.FromPort, to: in.ToPort,
	})
	if err != nil {
		return nil, err
	}
	return &shape.RevokeSecurityGroupIngressResult{Return: true, UnknownIpPermissions: gone.unknown, RevokedSecurityGroupRules: gone.rules}, nil
}

// RevokeSecurityGroupEgress removes outbound rules.
func (s *Service) RevokeSecurityGroupEgress(ctx context.Context, in *shape.RevokeSecurityGroupEgressRequest) (*shape.RevokeSecurityGroupEgressResult, error) {
	info, err := s.begin(ctx, in)
	if err != nil {
		return nil, err
	}
	if in.GroupId == "" {
		return nil, errMissing("groupId")
	}
	gone, err := s.revoke(ctx, info, in.DryRun, ruleRequest{
		egress: true, groupID: in.GroupId, permissions: in.IpPermissions, ruleIDs: in.SecurityGroupRuleIds, cidr: in.CidrIp, protocol: in.IpProtocol,
		sourceName: in.SourceSecurityGroupName, sourceOwner: in.SourceSecurityGroupOwnerId, from: in.FromPort, to: in.ToPort,
	})
	if err != nil {
		return nil, err
	}
	return &shape.RevokeSecurityGroupEgressResult{Return: true, UnknownIpPermissions: gone.unknown, RevokedSecurityGroupRules: gone.rules}, nil
}

// ruleView is a rule in its group.
type ruleView struct {
	group *resource.SecurityGroup
	rule  *resource.Rule
}

var ruleFilters = &filter.Set[ruleView]{
	Fields: map[string]func(ruleView) []string{
		"group-id":               func(v ruleView) []string { return one(v.group.ID) },
		"security-group-rule-id": func(v ruleView) []string { return one(v.rule.ID) },
	},
	Tags: func(v ruleView) map[string]string { return v.rule.Tags },
}

// DescribeSecurityGroupRules lists the rules of all the caller's groups.
func (s *Service) DescribeSecurityGroupRules(ctx context.Context, in *shape.DescribeSecurityGroupRulesRequest) (*shape.DescribeSecurityGroupRulesResult, error) {
	info, r, err := s.read(ctx, in, in.DryRun)
	if err != nil {
		return nil, err
	}
	match, err := compile(ruleFilters, in.Filters)
	if err != nil {
		return nil, err
	}
	limit, start, err := s.page(info, "DescribeSecurityGroupRules", in.MaxResults, in.NextToken, 0)
	if err != nil {
		return nil, err
	}
	missing := map[string]bool{}
	for _, id := range in.SecurityGroupRuleIds {
		missing[id] = true
	}
	out := []shape.SecurityGroupRule{}
	for g := range store.SecurityGroupsByOwner.By(r, ownerKey(info)) {
		for i := range g.Rules {
			rule := &g.Rules[i]
			if len(in.SecurityGroupRuleIds) > 0 && !slices.Contains(in.SecurityGroupRuleIds, rule.ID) {
				continue
			}
			delete(missing, rule.ID)
			if rule.ID >= start && (match == nil || match(ruleView{g, rule})) {
				out = append(out, shapeRule(g, rule))
			}
		}
	}
	for _, id := range in.SecurityGroupRuleIds {
		if missing[id] {
			return nil, errNoRule(id)
		}
	}
	slices.SortFunc(out, func(a, b shape.SecurityGroupRule) int {
		return strings.Compare(a.SecurityGroupRuleId, b.SecurityGroupRuleId)
	})
	list, next, err := cut(s, info, "DescribeSecurityGroupRules", out, limit, func(r shape.SecurityGroupRule) string { return r.SecurityGroupRuleId })
	return &shape.DescribeSecurityGroupRulesResult{SecurityGroupRules: list, NextToken: next}, err
}
