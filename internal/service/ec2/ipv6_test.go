package ec2

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	shape "karri.dev/internal/aws/shape/ec2"
	"karri.dev/internal/store"
)

// dual makes a VPC with an IPv6 range, and a subnet with one of its parts.
func (c *cloud) dual() (vpc, sub string, block netip.Prefix) {
	c.Helper()
	vpc, sub = c.vpc("10.0.0.0/16", "10.0.0.0/24")
	made := do(c, c.AssociateVpcCidrBlock, shape.AssociateVpcCidrBlockRequest{VpcId: vpc, AmazonProvidedIpv6CidrBlock: ptr(true)}).Ipv6CidrBlockAssociation
	if made.Ipv6CidrBlockState.State != "associating" {
		c.Errorf("%+v", made)
	}
	block = prefixOf(made.Ipv6CidrBlock)
	do(c, c.AssociateSubnetCidrBlock, shape.AssociateSubnetCidrBlockRequest{SubnetId: sub, Ipv6CidrBlock: nth6(block, 1).String()})
	return vpc, sub, block
}

// nth6 gives the n-th /64 of a VPC's range.
func nth6(p netip.Prefix, n byte) netip.Prefix {
	b := p.Addr().As16()
	b[7] = n
	return netip.PrefixFrom(netip.AddrFrom16(b), 64)
}

func TestIPv6Blocks(t *testing.T) {
	c := newCloud(t)
	made := do(c, c.CreateVpc, shape.CreateVpcRequest{CidrBlock: "10.0.0.0/16", AmazonProvidedIpv6CidrBlock: ptr(true), Ipv6CidrBlockNetworkBorderGroup: east}).Vpc
	vpc := made.VpcId
	seen := do(c, c.DescribeVpcs, shape.DescribeVpcsRequest{VpcIds: one(vpc)}).Vpcs[0].Ipv6CidrBlockAssociationSet
	if len(seen) != 1 || seen[0].Ipv6Pool != "Amazon" || seen[0].NetworkBorderGroup != east || seen[0].Ipv6CidrBlockState.State != "associated" {
		t.Fatalf("%+v", seen)
	}
	block := prefixOf(seen[0].Ipv6CidrBlock)
	if block.Bits() != 56 || !netip.MustParsePrefix("2001:db8:ec00::/52").Contains(block.Addr()) {
		t.Errorf("%s", block)
	}
	// What AWS opens by itself with the first range, and only where nobody has changed anything.
	groups := do(c, c.DescribeSecurityGroups, shape.DescribeSecurityGroupsRequest{Filters: filters("vpc-id", vpc)}).SecurityGroups
	if p := groups[0].IpPermissionsEgress; len(p) != 1 || len(p[0].Ipv6Ranges) != 1 || p[0].Ipv6Ranges[0].CidrIpv6 != "::/0" || len(p[0].IpRanges) != 1 {
		t.Errorf("%+v", p)
	}
	acl := do(c, c.DescribeNetworkAcls, shape.DescribeNetworkAclsRequest{Filters: filters("vpc-id", vpc)}).NetworkAcls[0]
	if n := slices.IndexFunc(acl.Entries, func(e shape.NetworkAclEntry) bool {
		return e.RuleNumber == 101 && e.Ipv6CidrBlock == "::/0" && !e.Egress
	}); n < 0 || len(acl.Entries) != 8 {
		t.Errorf("%+v", acl.Entries)
	}
	custom := do(c, c.CreateSecurityGroup, shape.CreateSecurityGroupRequest{GroupName: "g", Description: "d", VpcId: vpc}).GroupId
	if p := do(c, c.DescribeSecurityGroups, shape.DescribeSecurityGroupsRequest{GroupIds: one(custom)}).SecurityGroups[0].IpPermissionsEgress; len(p[0].Ipv6Ranges) != 1 {
		t.Errorf("%+v", p)
	}
	strict, _ := c.vpc("10.9.0.0/16", "10.9.0.0/24")
	before := store.VPCs.Get(c.Store.Snapshot(), strict)
	do(c, c.DeleteNetworkAclEntry, shape.DeleteNetworkAclEntryRequest{NetworkAclId: before.DefaultACL, RuleNumber: 100})
	do(c, c.AssociateVpcCidrBlock, shape.AssociateVpcCidrBlockRequest{VpcId: strict, AmazonProvidedIpv6CidrBlock: ptr(true)})
	for _, e := range store.NetworkACLs.Get(c.Store.Snapshot(), before.DefaultACL).Entries {
		if !e.Egress {
			t.Errorf("a changed ACL was opened: %+v", e)
		}
	}

	refused(c, c.AssociateVpcCidrBlock, shape.AssociateVpcCidrBlockRequest{VpcId: vpc, AmazonProvidedIpv6CidrBlock: ptr(true), CidrBlock: "10.1.0.0/16"}, "InvalidParameterCombination")
	refused(c, c.AssociateVpcCidrBlock, shape.AssociateVpcCidrBlockRequest{VpcId: vpc, AmazonProvidedIpv6CidrBlock: ptr(true), Ipv6CidrBlockNetworkBorderGroup: "us-east-1-wl1"}, "InvalidParameterValue")
	for range 4 {
		do(c, c.AssociateVpcCidrBlock, shape.AssociateVpcCidrBlockRequest{VpcId: vpc, AmazonProvidedIpv6CidrBlock: ptr(true)})
	}
	refused(c, c.AssociateVpcCidrBlock, shape.AssociateVpcCidrBlockRequest{VpcId: vpc, AmazonProvidedIpv6CidrBlock: ptr(true)}, "CidrLimitExceeded")

	part := nth6(block, 7)
	for text, code := range map[string]string{
		"10.0.0.0/24": "InvalidParameterValue", "2001:db8::1": "InvalidParameterValue", "2001:db8:ffff::/64": "InvalidSubnet.Range", part.Addr().String() + "/65": "InvalidSubnet.Range",
		block.Addr().String() + "/52": "InvalidSubnet.Range", part.Addr().String() + "/62": "InvalidSubnet.Range", "::ffff:10.0.0.0/120": "InvalidSubnet.Range",
	} {
		refused(c, c.CreateSubnet, shape.CreateSubnetRequest{VpcId: vpc, CidrBlock: "10.0.0.0/24", Ipv6CidrBlock: text}, code)
	}
	sub := do(c, c.CreateSubnet, shape.CreateSubnetRequest{VpcId: vpc, CidrBlock: "10.0.0.0/24", Ipv6CidrBlock: part.String()}).Subnet
	refused(c, c.CreateSubnet, shape.CreateSubnetRequest{VpcId: vpc, CidrBlock: "10.0.1.0/24", Ipv6CidrBlock: part.String()}, "InvalidSubnet.Conflict")
	refused(c, c.AssociateSubnetCidrBlock, shape.AssociateSubnetCidrBlockRequest{SubnetId: sub.SubnetId, Ipv6CidrBlock: nth6(block, 8).String()}, "CidrLimitExceeded")
	association := sub.Ipv6CidrBlockAssociationSet[0].AssociationId
	refused(c, c.DisassociateVpcCidrBlock, shape.DisassociateVpcCidrBlockRequest{AssociationId: seen[0].AssociationId}, "DependencyViolation")
	if _, err := c.DisassociateSubnetCidrBlock(c.bob, &shape.DisassociateSubnetCidrBlockRequest{AssociationId: association}); err == nil {
		t.Error("another account takes a range away")
	}
	found := do(c, c.DescribeSubnets, shape.DescribeSubnetsRequest{Filters: filters("ipv6-cidr-block-association.ipv6-cidr-block", part.String())}).Subnets
	if len(found) != 1 || found[0].SubnetId != sub.SubnetId {
		t.Errorf("%+v", found)
	}
	if out := do(c, c.DisassociateSubnetCidrBlock, shape.DisassociateSubnetCidrBlockRequest{AssociationId: association}); out.SubnetId != sub.SubnetId || out.Ipv6CidrBlockAssociation.Ipv6CidrBlockState.State != "disassociating" {
		t.Errorf("%+v", out)
	}
	refused(c, c.DisassociateSubnetCidrBlock, shape.DisassociateSubnetCidrBlockRequest{AssociationId: association}, "InvalidSubnetCidrBlockAssociationID.NotFound")
	do(c, c.DisassociateVpcCidrBlock, shape.DisassociateVpcCidrBlockRequest{AssociationId: seen[0].AssociationId})

	// A pool has an end, and no range is two VPCs'.
	small := newCloud(t, "2001:db8:ec00::/55")
	ask := shape.CreateVpcRequest{CidrBlock: "10.0.0.0/16", AmazonProvidedIpv6CidrBlock: ptr(true)}
	one, two := do(small, small.CreateVpc, ask).Vpc.Ipv6CidrBlockAssociationSet[0], do(small, small.CreateVpc, ask).Vpc.Ipv6CidrBlockAssociationSet[0]
	if one.Ipv6CidrBlock == two.Ipv6CidrBlock {
		t.Errorf("%s twice", one.Ipv6CidrBlock)
	}
	refused(small, small.CreateVpc, ask, "InsufficientCidrBlocks")
	do(small, small.DisassociateVpcCidrBlock, shape.DisassociateVpcCidrBlockRequest{AssociationId: one.AssociationId})
	do(small, small.CreateVpc, ask)
	poor := newCloud(t, "203.0.113.0/24")
	refused(poor, poor.CreateVpc, shape.CreateVpcRequest{CidrBlock: "10.0.0.0/16", AmazonProvidedIpv6CidrBlock: ptr(true)}, "UnsupportedOperation")
}

func TestIPv6Addresses(t *testing.T) {
	c := newCloud(t)
	_, sub, block := c.dual()
	own := nth6(block, 1)
	at := func(n byte) string {
		b := own.Addr().As16()
		b[15] = n
		return netip.AddrFrom16(b).String()
	}
	for text, code := range map[string]string{
		at(0): "InvalidParameterValue", at(3): "InvalidParameterValue", nth6(block, 2).Addr().Next().String(): "InvalidParameterValue", "10.0.0.9": "InvalidParameterValue",
		"fe80::1%eth0": "InvalidParameterValue", "::ffff:10.0.0.9": "InvalidParameterValue",
	} {
		refused(c, c.CreateNetworkInterface, shape.CreateNetworkInterfaceRequest{SubnetId: sub, Ipv6Addresses: []shape.InstanceIpv6Address{{Ipv6Address: text}}}, code)
	}
	made := do(c, c.CreateNetworkInterface, shape.CreateNetworkInterfaceRequest{
		SubnetId: sub, Ipv6Addresses: []shape.InstanceIpv6Address{{Ipv6Address: at(9)}, {Ipv6Address: at(8)}}, EnablePrimaryIpv6: ptr(true),
	}).NetworkInterface
	if a := made.Ipv6Addresses; len(a) != 2 || a[0].Ipv6Address != at(9) || !a[0].IsPrimaryIpv6 || a[1].IsPrimaryIpv6 {
		t.Errorf("%+v", a)
	}
	refused(c, c.CreateNetworkInterface, shape.CreateNetworkInterfaceRequest{SubnetId: sub, Ipv6Addresses: []shape.InstanceIpv6Address{{Ipv6Address: at(9)}}}, "InvalidIPAddress.InUse")
	refused(c, c.CreateNetworkInterface, shape.CreateNetworkInterfaceRequest{SubnetId: sub, Ipv6Addresses: []shape.InstanceIpv6Address{{Ipv6Address: at(7)}}, Ipv6AddressCount: ptr(1)}, "InvalidParameterCombination")
	refused(c, c.CreateNetworkInterface, shape.CreateNetworkInterfaceRequest{SubnetId: sub, Ipv6AddressCount: ptr(1 << 30)}, "InvalidParameterValue")
	four := c.subnet(made.VpcId, "10.0.4.0/24")
	refused(c, c.CreateNetworkInterface, shape.CreateNetworkInterfaceRequest{SubnetId: four, Ipv6AddressCount: ptr(1)}, "InvalidParameterValue")
	refused(c, c.ModifySubnetAttribute, shape.ModifySubnetAttributeRequest{SubnetId: four, AssignIpv6AddressOnCreation: boolean(true)}, "InvalidParameterValue")

	id := made.NetworkInterfaceId
	more := do(c, c.AssignIpv6Addresses, shape.AssignIpv6AddressesRequest{NetworkInterfaceId: id, Ipv6AddressCount: ptr(3)}).AssignedIpv6Addresses
	if len(more) != 3 || !own.Contains(netip.MustParseAddr(more[2])) {
		t.Errorf("%v", more)
	}
	refused(c, c.AssignIpv6Addresses, shape.AssignIpv6AddressesRequest{NetworkInterfaceId: id, Ipv6AddressCount: ptr(46)}, "PrivateIpAddressLimitExceeded")
	refused(c, c.AssignIpv6Addresses, shape.AssignIpv6AddressesRequest{NetworkInterfaceId: id}, "MissingParameter")
	refused(c, c.UnassignIpv6Addresses, shape.UnassignIpv6AddressesRequest{NetworkInterfaceId: id, Ipv6Addresses: one(at(77))}, "InvalidParameterValue")
	if _, err := c.UnassignIpv6Addresses(c.bob, &shape.UnassignIpv6AddressesRequest{NetworkInterfaceId: id, Ipv6Addresses: more}); err == nil {
		t.Error("another account takes addresses away")
	}
	do(c, c.UnassignIpv6Addresses, shape.UnassignIpv6AddressesRequest{NetworkInterfaceId: id, Ipv6Addresses: more})
	if seen := do(c, c.DescribeNetworkInterfaces, shape.DescribeNetworkInterfacesRequest{Filters: filters("ipv6-addresses.ipv6-address", at(8))}).NetworkInterfaces; len(seen) != 1 || len(seen[0].Ipv6Addresses) != 2 {
		t.Errorf("%+v", seen)
	}
	association := do(c, c.DescribeSubnets, shape.DescribeSubnetsRequest{SubnetIds: one(sub)}).Subnets[0].Ipv6CidrBlockAssociationSet[0].AssociationId
	refused(c, c.DisassociateSubnetCidrBlock, shape.DisassociateSubnetCidrBlockRequest{AssociationId: association}, "InvalidCidrBlock.InUse")
	refused(c, c.ModifyNetworkInterfaceAttribute, shape.ModifyNetworkInterfaceAttributeRequest{NetworkInterfaceId: id, EnablePrimaryIpv6: ptr(false)}, "InvalidParameterValue")

	do(c, c.ModifySubnetAttribute, shape.ModifySubnetAttributeRequest{SubnetId: sub, AssignIpv6AddressOnCreation: boolean(true)})
	plain := c.one(c.run(1, func(in *shape.RunInstancesRequest) { in.SubnetId = sub })[0])
	if plain.Ipv6Address == "" || len(plain.NetworkInterfaces[0].Ipv6Addresses) != 1 || !own.Contains(netip.MustParseAddr(plain.Ipv6Address)) {
		t.Errorf("%+v", plain)
	}
	none := c.one(c.run(1, func(in *shape.RunInstancesRequest) { in.SubnetId, in.Ipv6AddressCount = sub, ptr(0) })[0])
	if none.Ipv6Address != "" {
		t.Errorf("%+v", none)
	}
	asked := c.run(1, func(in *shape.RunInstancesRequest) {
		in.NetworkInterfaces = []shape.InstanceNetworkInterfaceSpecification{{
			DeviceIndex: ptr(0), SubnetId: sub, Ipv6Addresses: []shape.InstanceIpv6Address{{Ipv6Address: at(20)}}, PrimaryIpv6: ptr(true),
		}}
	})[0]
	found := do(c, c.DescribeInstances, shape.DescribeInstancesRequest{Filters: filters("network-interface.ipv6-addresses.ipv6-address", at(20))}).Reservations
	if len(found) != 1 || found[0].Instances[0].InstanceId != asked || !isTrue(found[0].Instances[0].NetworkInterfaces[0].Ipv6Addresses[0].IsPrimaryIpv6) {
		t.Errorf("%+v", found)
	}
	refused(c, c.UnassignIpv6Addresses, shape.UnassignIpv6AddressesRequest{NetworkInterfaceId: found[0].Instances[0].NetworkInterfaces[0].NetworkInterfaceId, Ipv6Addresses: one(at(20))}, "OperationNotPermitted")
	refused(c, c.RunInstances, shape.RunInstancesRequest{
		ImageId: c.image, MinCount: 2, MaxCount: 2, SubnetId: sub, Ipv6Addresses: []shape.InstanceIpv6Address{{Ipv6Address: at(30)}},
	}, "InvalidParameterCombination")
}

// Addresses are as far apart as the range is large, and of it: whatever its size.
func TestRandom6(t *testing.T) {
	rnd := newCloud(t).random()
	for _, text := range []string{"2001:db8::/64", "2001:db8:0:fff0::/60", "2001:db8::/44", "2001:db8::/80"} {
		block, seen := netip.MustParsePrefix(text), map[netip.Addr]bool{}
		for range 1000 {
			a := random6(block, rnd)
			if !block.Contains(a) {
				t.Fatalf("%s is not in %s", a, block)
			}
			seen[a] = true
		}
		if len(seen) < 990 {
			t.Errorf("%s: %d different", text, len(seen))
		}
		b := block.Addr()
		if !reserved6(block, b) || reserved6(block, b.Next().Next().Next().Next()) || !reserved6(block, b.Next().Next().Next()) {
			t.Errorf("%s: what is reserved", text)
		}
	}
	if !reserved6(netip.MustParsePrefix("2001:db8::/64"), netip.MustParseAddr("2001:db8::ffff:ffff:ffff:ffff")) {
		t.Error("the last address is free")
	}
}

func TestEgressOnlyGateways(t *testing.T) {
	c := newCloud(t)
	vpc, sub, block := c.dual()
	other, _ := c.vpc("10.7.0.0/16", "10.7.0.0/24")
	refused(c, c.CreateEgressOnlyInternetGateway, shape.CreateEgressOnlyInternetGatewayRequest{}, "MissingParameter")
	refused(c, c.CreateEgressOnlyInternetGateway, shape.CreateEgressOnlyInternetGatewayRequest{VpcId: "vpc-0123456789abcdef0"}, "InvalidVpcID.NotFound")
	ask := shape.CreateEgressOnlyInternetGatewayRequest{VpcId: vpc, ClientToken: "t", TagSpecifications: []shape.TagSpecification{
		{ResourceType: "egress-only-internet-gateway", Tags: []shape.Tag{{Key: "k", Value: "v"}}},
	}}
	made := do(c, c.CreateEgressOnlyInternetGateway, ask).EgressOnlyInternetGateway
	id := made.EgressOnlyInternetGatewayId
	if again := do(c, c.CreateEgressOnlyInternetGateway, ask).EgressOnlyInternetGateway; again.EgressOnlyInternetGatewayId != id || made.Attachments[0].State != "attached" {
		t.Errorf("%+v, %+v", made, again)
	}
	ask.VpcId = other
	refused(c, c.CreateEgressOnlyInternetGateway, ask, "IdempotentParameterMismatch")
	if seen := do(c, c.DescribeEgressOnlyInternetGateways, shape.DescribeEgressOnlyInternetGatewaysRequest{Filters: filters("tag:k", "v")}).EgressOnlyInternetGateways; len(seen) != 1 || seen[0].Attachments[0].VpcId != vpc {
		t.Errorf("%+v", seen)
	}
	if _, err := c.DeleteEgressOnlyInternetGateway(c.bob, &shape.DeleteEgressOnlyInternetGatewayRequest{EgressOnlyInternetGatewayId: id}); err == nil {
		t.Error("another account deletes it")
	}

	table := store.VPCs.Get(c.Store.Snapshot(), vpc).MainRouteTable
	theirs := store.VPCs.Get(c.Store.Snapshot(), other).MainRouteTable
	igw := do(c, c.CreateInternetGateway, shape.CreateInternetGatewayRequest{}).InternetGateway.InternetGatewayId
	do(c, c.AttachInternetGateway, shape.AttachInternetGatewayRequest{InternetGatewayId: igw, VpcId: vpc})
	for code, in := range map[string]shape.CreateRouteRequest{
		"InvalidParameterValue family":       {RouteTableId: table, DestinationCidrBlock: "0.0.0.0/0", EgressOnlyInternetGatewayId: id},
		"InvalidParameterValue network":      {RouteTableId: theirs, DestinationIpv6CidrBlock: "::/0", EgressOnlyInternetGatewayId: id},
		"InvalidGatewayID.NotFound":          {RouteTableId: table, DestinationIpv6CidrBlock: "::/0", EgressOnlyInternetGatewayId: "eigw-0123456789abcdef0"},
		"InvalidParameterCombination":        {RouteTableId: table, DestinationIpv6CidrBlock: "::/0", EgressOnlyInternetGatewayId: id, GatewayId: igw},
		"InvalidParameterValue mapped":       {RouteTableId: table, DestinationIpv6CidrBlock: "::ffff:0.0.0.0/96", GatewayId: igw},
		"InvalidParameterValue inside":       {RouteTableId: table, DestinationIpv6CidrBlock: nth6(block, 1).String(), GatewayId: igw},
		"RouteAlreadyExists local":           {RouteTableId: table, DestinationIpv6CidrBlock: block.String(), GatewayId: igw},
		"InvalidParameterValue wrong member": {RouteTableId: table, DestinationCidrBlock: "::/0", GatewayId: igw},
	} {
		refused(c, c.CreateRoute, in, strings.Fields(code)[0])
	}
	do(c, c.CreateRoute, shape.CreateRouteRequest{RouteTableId: table, DestinationIpv6CidrBlock: "::/0", EgressOnlyInternetGatewayId: id})
	do(c, c.CreateRoute, shape.CreateRouteRequest{RouteTableId: table, DestinationIpv6CidrBlock: "2001:db8:f::/48", GatewayId: igw})
	state := func(to string) string {
		seen := do(c, c.DescribeRouteTables, shape.DescribeRouteTablesRequest{Filters: filters("route.destination-ipv6-cidr-block", to)}).RouteTables
		for _, r := range seen[0].Routes {
			if r.DestinationIpv6CidrBlock == to {
				return r.State + " " + r.EgressOnlyInternetGatewayId + r.GatewayId
			}
		}
		return ""
	}
	if s := state("::/0"); s != "active "+id {
		t.Error(s)
	}
	if s := state("2001:db8:f::/48"); s != "active "+igw {
		t.Error(s)
	}
	if s := state(block.String()); s != "active local" {
		t.Error(s)
	}
	do(c, c.DeleteSubnet, shape.DeleteSubnetRequest{SubnetId: sub})
	do(c, c.DetachInternetGateway, shape.DetachInternetGatewayRequest{InternetGatewayId: igw, VpcId: vpc})
	refused(c, c.DeleteVpc, shape.DeleteVpcRequest{VpcId: vpc}, "DependencyViolation")
	do(c, c.DeleteEgressOnlyInternetGateway, shape.DeleteEgressOnlyInternetGatewayRequest{EgressOnlyInternetGatewayId: id})
	refused(c, c.DeleteEgressOnlyInternetGateway, shape.DeleteEgressOnlyInternetGatewayRequest{EgressOnlyInternetGatewayId: id}, "InvalidGatewayID.NotFound")
	if s := state("::/0"); s != "blackhole "+id {
		t.Error(s)
	}
	do(c, c.DeleteVpc, shape.DeleteVpcRequest{VpcId: vpc})
	c.quota(alice, map[string]int64{"ec2:quota-egressonlyinternetgatewaynumber": 0})
	refused(c, c.CreateEgressOnlyInternetGateway, shape.CreateEgressOnlyInternetGatewayRequest{VpcId: other}, "EgressOnlyInternetGatewayLimitExceeded")
}
