package ec2

import (
	"context"
	"strconv"

	shape "karri.dev/internal/aws/shape/ec2"
	"karri.dev/internal/filter"
	"karri.dev/internal/resource"
	"karri.dev/internal/store"
)

// lastRule is the number of the rule that denies what no other rule decided.
const lastRule = 32767

// shapeACL shows a network ACL with its last rules, which are not stored.
func shapeACL(r store.Reader, a *resource.NetworkACL) shape.NetworkAcl {
	out := shape.NetworkAcl{
		IsDefault: a.Default, NetworkAclId: a.ID, Tags: shapeTags(a.Tags), VpcId: a.VPCID, OwnerId: a.AccountID,
		Associations: []shape.NetworkAclAssociation{},
	}
	for _, id := range subnetsOf(r, a.VPCID, func(s *resource.Subnet) bool { return s.NetworkACL == a.ID }) {
		out.Associations = append(out.Associations, shape.NetworkAclAssociation{
			NetworkAclAssociationId: aclAssociation(store.Subnets.Get(r, id)), NetworkAclId: a.ID, SubnetId: id,
		})
	}
	for _, egress := range []bool{true, false} {
		for _, e := range a.Entries {
			if e.Egress != egress {
				continue
			}
			entry := shape.NetworkAclEntry{CidrBlock: e.CIDR, Egress: egress, Protocol: e.Protocol, RuleAction: "deny", RuleNumber: e.Number}
			if e.Allow {
				entry.RuleAction = "allow"
			}
			if e.CIDR6 != "" {
				entry.Ipv6CidrBlock = e.CIDR6
			}
			switch e.Protocol {
			case "6", "17":
				entry.PortRange = &shape.PortRange{From: &e.FromPort, To: &e.ToPort}
			case "1", "58":
				entry.IcmpTypeCode = &shape.IcmpTypeCode{Type: &e.FromPort, Code: &e.ToPort}
			}
			out.Entries = append(out.Entries, entry)
		}
		out.Entries = append(out.Entries, shape.NetworkAclEntry{CidrBlock: "0.0.0.0/0", Egress: egress, Protocol: "-1", RuleAction: "deny", RuleNumber: lastRule})
		if v := store.VPCs.Get(r, a.VPCID); v != nil && len(v.IPv6) > 0 {
			out.Entries = append(out.Entries, shape.NetworkAclEntry{Ipv6CidrBlock: "::/0", Egress: egress, Protocol: "-1", RuleAction: "deny", RuleNumber: lastRule + 1})
		}
	}
	return out
}

var aclFilters = func() *filter.Set[*shape.NetworkAcl] {
	type acl = *shape.NetworkAcl
	set := &filter.Set[acl]{
		Fields: map[string]func(acl) []string{
			"default":        func(a acl) []string { return yes(a.IsDefault) },
			"network-acl-id": func(a acl) []string { return one(a.NetworkAclId) },
			"owner-id":       func(a acl) []string { return one(a.OwnerId) },
			"vpc-id":         func(a acl) []string { return one(a.VpcId) },
		},
		Tags: func(a acl) map[string]string { return mapTags(a.Tags) },
	}
	association := func(name string, value func(*shape.NetworkAclAssociation) string) {
		set.Fields["association."+name] = func(a acl) (out []string) {
			for i := range a.Associations {
				out = append(out, value(&a.Associations[i]))
			}
			return out
		}
	}
	association("association-id", func(a *shape.NetworkAclAssociation) string { return a.NetworkAclAssociationId })
	association("network-acl-id", func(a *shape.NetworkAclAssociation) string { return a.NetworkAclId })
	association("subnet-id", func(a *shape.NetworkAclAssociation) string { return a.SubnetId })
	entry := func(name string, value func(*shape.NetworkAclEntry) string) {
		set.Fields["entry."+name] = func(a acl) (out []string) {
			for i := range a.Entries {
				out = append(out, one(value(&a.Entries[i]))...)
			}
			return out
		}
	}
	number := func(n *int) string {
		if n == nil {
			return ""
		}
		return strconv.Itoa(*n)
	}
	entry("cidr", func(e *shape.NetworkAclEntry) string { return e.CidrBlock })
	entry("ipv6-cidr", func(e *shape.NetworkAclEntry) string { return e.Ipv6CidrBlock })
	entry("egress", func(e *shape.NetworkAclEntry) string { return strconv.FormatBool(e.Egress) })
	entry("protocol", func(e *shape.NetworkAclEntry) string { return e.Protocol })
	entry("rule-action", func(e *shape.NetworkAclEntry) string { return e.RuleAction })
	entry("rule-number", func(e *shape.NetworkAclEntry) string { return strconv.Itoa(e.RuleNumber) })
	icmp := func(e *shape.NetworkAclEntry) shape.IcmpTypeCode {
		if e.IcmpTypeCode == nil {
			return shape.IcmpTypeCode{}
		}
		return *e.IcmpTypeCode
	}
	ports := func(e *shape.NetworkAclEntry) shape.PortRange {
		if e.PortRange == nil {
			return shape.PortRange{}
		}
		return *e.PortRange
	}
	entry("icmp.code", func(e *shape.NetworkAclEntry) string { return number(icmp(e).Code) })
	entry("icmp.type", func(e *shape.NetworkAclEntry) string { return number(icmp(e).Type) })
	entry("port-range.from", func(e *shape.NetworkAclEntry) string { return number(ports(e).From) })
	entry("port-range.to", func(e *shape.NetworkAclEntry) string { return number(ports(e).To) })
	return set
}()

// DescribeNetworkAcls lists network ACLs.
func (s *Service) DescribeNetworkAcls(ctx context.Context, in *shape.DescribeNetworkAclsRequest) (*shape.DescribeNetworkAclsResult, error) {
	info, r, err := s.read(ctx, in, in.DryRun)
	if err != nil {
		return nil, err
	}
	match, err := compile(aclFilters, in.Filters)
	if err != nil {
		return nil, err
	}
	list, next, err := list(s, r, info, acls, selection[resource.NetworkACL]{
		op: "DescribeNetworkAcls", ids: in.NetworkAclIds, max: in.MaxResults, token: in.NextToken, match: shown(r, match, shapeACL),
	})
	if err != nil {
		return nil, err
	}
	return &shape.DescribeNetworkAclsResult{NetworkAcls: showAll(r, list, shapeACL), NextToken: next}, nil
}
