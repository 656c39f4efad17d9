package ec2

import (
	"context"
	"net/netip"
	"slices"
	"strconv"

	shape "karri.dev/internal/aws/shape/ec2"
	"karri.dev/internal/cidr"
	"karri.dev/internal/filter"
	"karri.dev/internal/resource"
	"karri.dev/internal/store"
)

// available counts a subnet's free addresses.
func available(r store.Reader, sub *resource.Subnet) int {
	p, err := netip.ParsePrefix(sub.CIDR)
	if err != nil {
		return 0
	}
	n := int(cidr.Subnet(p).Size())
	for e := range store.InterfacesBySubnet.By(r, sub.ID) {
		n -= len(e.Addresses()) + len(e.DelegatedIPv4())
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

func (v subnetView) v6(value func(*resource.V6Block) string) []string {
	if v.IPv6 == nil {
		return nil
	}
	return one(value(v.IPv6))
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
			"ipv6-cidr-block-association.ipv6-cidr-block": func(v subnetView) []string { return v.v6(func(b *resource.V6Block) string { return b.CIDR }) },
			"ipv6-cidr-block-association.association-id":  func(v subnetView) []string { return v.v6(func(b *resource.V6Block) string { return b.AssociationID }) },
			"ipv6-cidr-block-association.state":           func(v subnetView) []string { return v.v6(func(*resource.V6Block) string { return "associated" }) },
		},
		Never: []string{
			"customer-owned-ipv4-pool", "enable-lni-at-device-index", "outpost-arn",
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

// shapeSubnet shows a subnet.
func shapeSubnet(r store.Reader, sub *resource.Subnet) shape.Subnet {
	v := subnetView{sub, r}
	out := shape.Subnet{
		AvailabilityZone: v.Zone, AvailabilityZoneId: v.zoneID(), AvailableIpAddressCount: available(r, sub), CidrBlock: v.CIDR,
		DefaultForAz: v.Default, MapPublicIpOnLaunch: v.MapPublicIP, State: "available", SubnetId: v.ID, VpcId: v.VPCID, OwnerId: v.AccountID,
		AssignIpv6AddressOnCreation: v.AssignIPv6, Ipv6CidrBlockAssociationSet: []shape.SubnetIpv6CidrBlockAssociation{},
		Tags: shapeTags(v.Tags), SubnetArn: subnets.arn(sub),
		PrivateDnsNameOptionsOnLaunch: &shape.PrivateDnsNameOptionsOnLaunch{HostnameType: "ip-name"},
	}
	if v.IPv6 != nil {
		out.Ipv6CidrBlockAssociationSet = append(out.Ipv6CidrBlockAssociationSet, *shapeSubnetV6(v.IPv6, "associated"))
	}
	return out
}

func shapeSubnetV6(b *resource.V6Block, state string) *shape.SubnetIpv6CidrBlockAssociation {
	return &shape.SubnetIpv6CidrBlockAssociation{
		AssociationId: b.AssociationID, Ipv6CidrBlock: b.CIDR, Ipv6CidrBlockState: &shape.SubnetCidrBlockState{State: state},
		Ipv6AddressAttribute: "public", IpSource: "amazon",
	}
}

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
	return &shape.DescribeSubnetsResult{Subnets: showAll(r, list, shapeSubnet), NextToken: next}, nil
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
