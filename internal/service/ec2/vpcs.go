package ec2

import (
	"context"
	"crypto/sha256"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	shape "karri.dev/internal/aws/shape/ec2"
	"karri.dev/internal/cidr"
	"karri.dev/internal/filter"
	"karri.dev/internal/resource"
	"karri.dev/internal/store"
)

// blocks gives a VPC's ranges, the first one first.
func blocks(v *resource.VPC) []string { return append([]string{v.CIDR}, v.CIDRs...) }

// association makes the id of something that has no record of its own from its owner's id, so that it is
// always the same. n tells several of one owner apart.
func association(prefix, id string, n int) string {
	_, hex, _ := strings.Cut(id, "-")
	if n > 0 {
		hex = fmt.Sprintf("%x", sha256.Sum256([]byte(id+"/"+strconv.Itoa(n))))[:17]
	}
	return prefix + hex
}

var vpcFilters = &filter.Set[*resource.VPC]{
	Fields: map[string]func(*resource.VPC) []string{
		"cidr":                                  func(v *resource.VPC) []string { return one(v.CIDR) },
		"cidr-block-association.cidr-block":     blocks,
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
	},
	Never: []string{
		"ipv6-cidr-block-association.ipv6-cidr-block", "ipv6-cidr-block-association.ipv6-pool",
		"ipv6-cidr-block-association.association-id", "ipv6-cidr-block-association.state",
	},
	Tags: func(v *resource.VPC) map[string]string { return v.Tags },
}

func vpcAssociations(v *resource.VPC) (out []string) {
	for i := range blocks(v) {
		out = append(out, association("vpc-cidr-assoc-", v.ID, i))
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
		out[i] = shape.Vpc{
			CidrBlock: v.CIDR, DhcpOptionsId: v.DHCPOptionsID, State: "available", VpcId: v.ID, OwnerId: v.AccountID,
			InstanceTenancy: "default", IsDefault: v.Default, Tags: shapeTags(v.Tags),
		}
		for n, block := range blocks(v) {
			out[i].CidrBlockAssociationSet = append(out[i].CidrBlockAssociationSet, shape.VpcCidrBlockAssociation{
				AssociationId: association("vpc-cidr-assoc-", v.ID, n), CidrBlock: block, CidrBlockState: &shape.VpcCidrBlockState{State: "associated"},
			})
		}
	}
	return &shape.DescribeVpcsResult{Vpcs: out, NextToken: next}, nil
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
		out.EnableNetworkAddressUsageMetrics = boolean(false)
	default:
		return nil, errValue(in.Attribute, "attribute")
	}
	return out, nil
}

func boolean(b bool) *shape.AttributeBooleanValue { return &shape.AttributeBooleanValue{Value: &b} }

// available counts a subnet's free addresses.
func available(r store.Reader, sub *resource.Subnet) int {
	p, err := netip.ParsePrefix(sub.CIDR)
	if err != nil {
		return 0
	}
	n := int(cidr.Subnet(p).Size())
	for e := range store.InterfacesBySubnet.By(r, sub.ID) {
		if e.PrivateIP != "" {
			n--
		}
	}
	return n
}

// subnetView is a subnet with what filters need beside it.
type subnetView struct {
	*resource.Subnet
	r store.Reader
}

func (v subnetView) zoneID() string {
	if z := store.Zones.Get(v.r, v.Zone); z != nil {
		return z.ZoneID
	}
	return ""
}

var subnetFilters = func() *filter.Set[subnetView] {
	set := &filter.Set[subnetView]{
		Fields: map[string]func(subnetView) []string{
			"availability-zone":               func(v subnetView) []string { return one(v.Zone) },
			"availability-zone-id":            func(v subnetView) []string { return one(v.zoneID()) },
			"available-ip-address-count":      func(v subnetView) []string { return one(strconv.Itoa(available(v.r, v.Subnet))) },
			"cidr-block":                      func(v subnetView) []string { return one(v.CIDR) },
			"default-for-az":                  func(v subnetView) []string { return yes(v.Default) },
			"enable-dns64":                    constant[subnetView]("false"),
			"ipv6-native":                     constant[subnetView]("false"),
			"map-customer-owned-ip-on-launch": constant[subnetView]("false"),
			"map-public-ip-on-launch":         func(v subnetView) []string { return yes(v.MapPublicIP) },
			"owner-id":                        func(v subnetView) []string { return one(v.AccountID) },
			"private-dns-name-options-on-launch.hostname-type":                        constant[subnetView]("ip-name"),
			"private-dns-name-options-on-launch.enable-resource-name-dns-a-record":    constant[subnetView]("false"),
			"private-dns-name-options-on-launch.enable-resource-name-dns-aaaa-record": constant[subnetView]("false"),
			"state":      constant[subnetView]("available"),
			"subnet-arn": func(v subnetView) []string { return one(subnets.arn(v.Subnet)) },
			"subnet-id":  func(v subnetView) []string { return one(v.ID) },
			"vpc-id":     func(v subnetView) []string { return one(v.VPCID) },
		},
		Never: []string{
			"customer-owned-ipv4-pool", "enable-lni-at-device-index", "outpost-arn", "ipv6-cidr-block-association.ipv6-cidr-block",
			"ipv6-cidr-block-association.association-id", "ipv6-cidr-block-association.state",
		},
		Tags: func(v subnetView) map[string]string { return v.Tags },
	}
	for alias, name := range map[string]string{ // spellings that AWS also takes
		"availabilityZone": "availability-zone", "availabilityZoneId": "availability-zone-id", "cidr": "cidr-block",
		"cidrBlock": "cidr-block", "defaultForAz": "default-for-az",
	} {
		set.Fields[alias] = set.Fields[name]
	}
	return set
}()

// DescribeSubnets lists subnets.
func (s *Service) DescribeSubnets(ctx context.Context, in *shape.DescribeSubnetsRequest) (*shape.DescribeSubnetsResult, error) {
	info, r, err := s.read(ctx, in, in.DryRun)
	if err != nil {
		return nil, err
	}
	match, err := compile(subnetFilters, in.Filters)
	if err != nil {
		return nil, err
	}
	list, next, err := list(s, r, info, subnets, selection[resource.Subnet]{
		op: "DescribeSubnets", ids: in.SubnetIds, max: in.MaxResults, token: in.NextToken,
		match: on(match, func(v *resource.Subnet) subnetView { return subnetView{v, r} }),
	})
	if err != nil {
		return nil, err
	}
	out := make([]shape.Subnet, len(list))
	for i, sub := range list {
		v := subnetView{sub, r}
		out[i] = shape.Subnet{
			AvailabilityZone: v.Zone, AvailabilityZoneId: v.zoneID(), AvailableIpAddressCount: available(r, sub), CidrBlock: v.CIDR,
			DefaultForAz: v.Default, MapPublicIpOnLaunch: v.MapPublicIP, State: "available", SubnetId: v.ID, VpcId: v.VPCID, OwnerId: v.AccountID,
			Ipv6CidrBlockAssociationSet: []shape.SubnetIpv6CidrBlockAssociation{}, Tags: shapeTags(v.Tags), SubnetArn: subnets.arn(sub),
			PrivateDnsNameOptionsOnLaunch: &shape.PrivateDnsNameOptionsOnLaunch{HostnameType: "ip-name"},
		}
	}
	return &shape.DescribeSubnetsResult{Subnets: out, NextToken: next}, nil
}

// subnetsOf gives the ids of a VPC's subnets that pass.
func subnetsOf(r store.Reader, vpc string, pass func(*resource.Subnet) bool) (out []string) {
	for s := range store.SubnetsByVPC.By(r, vpc) {
		if pass(s) {
			out = append(out, s.ID)
		}
	}
	slices.Sort(out)
	return out
}
