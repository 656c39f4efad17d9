package ec2

import (
	"cmp"
	"context"
	"crypto/sha256"
	"fmt"
	"strings"

	shape "karri.dev/internal/aws/shape/ec2"
	"karri.dev/internal/filter"
	"karri.dev/internal/resource"
)

// association makes the id of something that has no record of its own from its owner's id, so that it is
// always the same. which tells several of one owner apart; "" is the first.
func association(prefix, id, which string) string {
	_, hex, _ := strings.Cut(id, "-")
	if which != "" {
		hex = fmt.Sprintf("%x", sha256.Sum256([]byte(id+"/"+which)))[:17]
	}
	return prefix + hex
}

// blockAssociation is the association id of a VPC's n-th range.
func blockAssociation(v *resource.VPC, n int) string {
	if n == 0 {
		return association("vpc-cidr-assoc-", v.ID, "")
	}
	return association("vpc-cidr-assoc-", v.ID, v.CIDRs[n-1])
}

// v6Blocks makes a filter's field of the VPC's IPv6 ranges.
func v6Blocks(value func(resource.V6Block) string) func(*resource.VPC) []string {
	return func(v *resource.VPC) (out []string) {
		for _, b := range v.IPv6 {
			out = append(out, value(b))
		}
		return out
	}
}

var vpcFilters = &filter.Set[*resource.VPC]{
	Fields: map[string]func(*resource.VPC) []string{
		"cidr":                                  func(v *resource.VPC) []string { return one(v.CIDR) },
		"cidr-block-association.cidr-block":     (*resource.VPC).Blocks,
		"cidr-block-association.association-id": func(v *resource.VPC) []string { return vpcAssociations(v) },
		"cidr-block-association.state":          constant[*resource.VPC]("associated"),
		"dhcp-options-id":                       func(v *resource.VPC) []string { return one(v.DHCPOptionsID) },
		"is-default":                            func(v *resource.VPC) []string { return yes(v.Default) },
		"isDefault":                             func(v *resource.VPC) []string { return yes(v.Default) },
		"owner-id":                              func(v *resource.VPC) []string { return one(v.AccountID) },
		"state":                                 constant[*resource.VPC]("available"),
		"vpc-id":                                func(v *resource.VPC) []string { return one(v.ID) },
		"cidr-block":                            func(v *resource.VPC) []string { return one(v.CIDR) },
		"cidrBlock":                             func(v *resource.VPC) []string { return one(v.CIDR) },
		"dhcpOptionsId":                         func(v *resource.VPC) []string { return one(v.DHCPOptionsID) },
		"ipv6-cidr-block-association.ipv6-cidr-block": v6Blocks(func(b resource.V6Block) string { return b.CIDR }),
		"ipv6-cidr-block-association.association-id":  v6Blocks(func(b resource.V6Block) string { return b.AssociationID }),
		"ipv6-cidr-block-association.state":           v6Blocks(func(resource.V6Block) string { return "associated" }),
		"ipv6-cidr-block-association.ipv6-pool":       v6Blocks(func(resource.V6Block) string { return v6Pool }),
	},
	Tags: func(v *resource.VPC) map[string]string { return v.Tags },
}

func vpcAssociations(v *resource.VPC) (out []string) {
	for i := range v.Blocks() {
		out = append(out, blockAssociation(v, i))
	}
	return out
}

// DescribeVpcs lists VPCs.
func (s *Service) DescribeVpcs(ctx context.Context, in *shape.DescribeVpcsRequest) (*shape.DescribeVpcsResult, error) {
	info, r, err := s.read(ctx, in, in.DryRun)
	if err != nil {
		return nil, err
	}
	match, err := compile(vpcFilters, in.Filters)
	if err != nil {
		return nil, err
	}
	list, next, err := list(s, r, info, vpcs, selection[resource.VPC]{op: "DescribeVpcs", ids: in.VpcIds, max: in.MaxResults, token: in.NextToken, match: match})
	if err != nil {
		return nil, err
	}
	out := make([]shape.Vpc, len(list))
	for i, v := range list {
		out[i] = shapeVPC(v)
	}
	return &shape.DescribeVpcsResult{Vpcs: out, NextToken: next}, nil
}

// shapeVPC shows a VPC.
func shapeVPC(v *resource.VPC) shape.Vpc {
	out := shape.Vpc{
		CidrBlock: v.CIDR, DhcpOptionsId: v.DHCPOptionsID, State: "available", VpcId: v.ID, OwnerId: v.AccountID,
		InstanceTenancy: cmp.Or(v.Tenancy, "default"), IsDefault: v.Default, Tags: shapeTags(v.Tags),
	}
	for n := range v.Blocks() {
		out.CidrBlockAssociationSet = append(out.CidrBlockAssociationSet, *shapeBlock(v, n, "associated"))
	}
	for _, b := range v.IPv6 {
		out.Ipv6CidrBlockAssociationSet = append(out.Ipv6CidrBlockAssociationSet, *shapeV6Block(v, b, "associated"))
	}
	return out
}

func shapeBlock(v *resource.VPC, n int, state string) *shape.VpcCidrBlockAssociation {
	return &shape.VpcCidrBlockAssociation{
		AssociationId: blockAssociation(v, n), CidrBlock: v.Blocks()[n], CidrBlockState: &shape.VpcCidrBlockState{State: state},
	}
}

func shapeV6Block(v *resource.VPC, b resource.V6Block, state string) *shape.VpcIpv6CidrBlockAssociation {
	return &shape.VpcIpv6CidrBlockAssociation{
		AssociationId: b.AssociationID, Ipv6CidrBlock: b.CIDR, Ipv6CidrBlockState: &shape.VpcCidrBlockState{State: state},
		NetworkBorderGroup: v.Region, Ipv6Pool: v6Pool, Ipv6AddressAttribute: "public", IpSource: "amazon",
	}
}

// DescribeVpcAttribute answers one attribute.
func (s *Service) DescribeVpcAttribute(ctx context.Context, in *shape.DescribeVpcAttributeRequest) (*shape.DescribeVpcAttributeResult, error) {
	info, r, err := s.read(ctx, in, in.DryRun)
	if err != nil {
		return nil, err
	}
	if in.VpcId == "" {
		return nil, errMissing("vpcId")
	}
	if in.Attribute == "" {
		return nil, errMissing("attribute")
	}
	v, err := vpcs.find(r, info, in.VpcId)
	if err != nil {
		return nil, err
	}
	out := &shape.DescribeVpcAttributeResult{VpcId: v.ID}
	switch in.Attribute {
	case "enableDnsSupport":
		out.EnableDnsSupport = boolean(v.DNSSupport)
	case "enableDnsHostnames":
		out.EnableDnsHostnames = boolean(v.DNSHostnames)
	case "enableNetworkAddressUsageMetrics":
		out.EnableNetworkAddressUsageMetrics = boolean(v.UsageMetrics)
	default:
		return nil, errValue(in.Attribute, "attribute")
	}
	return out, nil
}

func boolean(b bool) *shape.AttributeBooleanValue { return &shape.AttributeBooleanValue{Value: &b} }
