package ec2

import (
	"context"
	"reflect"
	"strings"
	"testing"

	shape "karri.dev/internal/aws/shape/ec2"
	"karri.dev/internal/resource"
	"karri.dev/internal/store"
)

// do calls an operation by its request, fails the test on an error, and gives the result.
func do[In, Out any](c *cloud, op func(context.Context, *In) (*Out, error), in In) *Out {
	c.Helper()
	out, err := op(c.alice, &in)
	if err != nil {
		c.Fatalf("%T: %v", in, err)
	}
	return out
}

// refused calls an operation that must fail with a code.
func refused[In, Out any](c *cloud, op func(context.Context, *In) (*Out, error), in In, code string) {
	c.Helper()
	_, err := op(c.alice, &in)
	c.code(strings.TrimPrefix(reflect.TypeFor[In]().String(), "ec2."), err, code)
}

// vpc makes a VPC and a subnet in it.
func (c *cloud) vpc(block, subnet string) (vpc, sub string) {
	c.Helper()
	vpc = do(c, c.CreateVpc, shape.CreateVpcRequest{CidrBlock: block}).Vpc.VpcId
	return vpc, c.subnet(vpc, subnet)
}

func (c *cloud) subnet(vpc, block string) string {
	c.Helper()
	return do(c, c.CreateSubnet, shape.CreateSubnetRequest{VpcId: vpc, CidrBlock: block}).Subnet.SubnetId
}

func TestVPCRanges(t *testing.T) {
	c := newCloud(t)
	for block, code := range map[string]string{
		"10.0.0.0/15": "InvalidVpc.Range", "10.0.0.0/29": "InvalidVpc.Range", "127.0.0.0/16": "InvalidVpc.Range", "169.254.0.0/16": "InvalidVpc.Range",
		"224.0.0.0/16": "InvalidVpc.Range", "10.0.0/16": "InvalidParameterValue", "": "MissingParameter", "fd00::/16": "InvalidParameterValue",
	} {
		refused(c, c.CreateVpc, shape.CreateVpcRequest{CidrBlock: block}, code)
	}
	refused(c, c.CreateVpc, shape.CreateVpcRequest{CidrBlock: "10.0.0.0/16", InstanceTenancy: "dedicated"}, "UnsupportedOperation")
	made := do(c, c.CreateVpc, shape.CreateVpcRequest{CidrBlock: "10.1.2.3/20"}).Vpc
	if made.CidrBlock != "10.1.0.0/20" || made.State != "pending" || made.IsDefault {
		t.Errorf("%+v", made)
	}
	for block, code := range map[string]string{
		"10.0.0.0/15": "InvalidSubnet.Range", "10.1.0.0/29": "InvalidSubnet.Range", "10.1.0.0/19": "InvalidSubnet.Range", "10.2.0.0/24": "InvalidSubnet.Range",
		"10.1.0.0": "InvalidParameterValue", "": "MissingParameter",
	} {
		refused(c, c.CreateSubnet, shape.CreateSubnetRequest{VpcId: made.VpcId, CidrBlock: block}, code)
	}
	refused(c, c.CreateSubnet, shape.CreateSubnetRequest{VpcId: made.VpcId, CidrBlock: "10.1.0.0/24", AvailabilityZone: "us-east-1z"}, "InvalidParameterValue")
	sub := do(c, c.CreateSubnet, shape.CreateSubnetRequest{VpcId: made.VpcId, CidrBlock: "10.1.1.9/28", AvailabilityZoneId: "use1-az2"}).Subnet
	if sub.CidrBlock != "10.1.1.0/28" || sub.AvailabilityZone != "us-east-1b" || sub.AvailableIpAddressCount != 11 {
		t.Errorf("%+v", sub)
	}
	refused(c, c.CreateSubnet, shape.CreateSubnetRequest{VpcId: made.VpcId, CidrBlock: "10.1.1.0/24"}, "InvalidSubnet.Conflict")
	for block, code := range map[string]string{
		"10.1.0.0/16": "InvalidVpc.Range", "192.168.0.0/24": "InvalidVpc.Range", "10.9.0.0/29": "InvalidVpc.Range",
	} {
		refused(c, c.AssociateVpcCidrBlock, shape.AssociateVpcCidrBlockRequest{VpcId: made.VpcId, CidrBlock: block}, code)
	}
	second := do(c, c.AssociateVpcCidrBlock, shape.AssociateVpcCidrBlockRequest{VpcId: made.VpcId, CidrBlock: "100.64.0.0/24"}).CidrBlockAssociation
	if second.CidrBlockState.State != "associating" {
		t.Errorf("%+v", second)
	}
	for _, block := range []string{"10.2.0.0/24", "10.3.0.0/24", "10.4.0.0/24"} {
		do(c, c.AssociateVpcCidrBlock, shape.AssociateVpcCidrBlockRequest{VpcId: made.VpcId, CidrBlock: block})
	}
	refused(c, c.AssociateVpcCidrBlock, shape.AssociateVpcCidrBlockRequest{VpcId: made.VpcId, CidrBlock: "10.5.0.0/24"}, "CidrLimitExceeded")
	inSecond := c.subnet(made.VpcId, "100.64.0.0/28")
	refused(c, c.DisassociateVpcCidrBlock, shape.DisassociateVpcCidrBlockRequest{AssociationId: second.AssociationId}, "DependencyViolation")
	do(c, c.DeleteSubnet, shape.DeleteSubnetRequest{SubnetId: inSecond})
	if gone := do(c, c.DisassociateVpcCidrBlock, shape.DisassociateVpcCidrBlockRequest{AssociationId: second.AssociationId}); gone.CidrBlockAssociation.CidrBlock != "100.64.0.0/24" {
		t.Errorf("%+v", gone)
	}
	refused(c, c.DisassociateVpcCidrBlock, shape.DisassociateVpcCidrBlockRequest{AssociationId: second.AssociationId}, "InvalidVpcCidrBlockAssociationID.NotFound")
	shown := do(c, c.DescribeVpcs, shape.DescribeVpcsRequest{VpcIds: []string{made.VpcId}}).Vpcs[0]
	refused(c, c.DisassociateVpcCidrBlock, shape.DisassociateVpcCidrBlockRequest{AssociationId: shown.CidrBlockAssociationSet[0].AssociationId}, "OperationNotPermitted")
	if len(shown.CidrBlockAssociationSet) != 4 || shown.State != "available" {
		t.Errorf("%+v", shown)
	}
}

func TestVPCLimitsAndDefaults(t *testing.T) {
	c := newCloud(t)
	refused(c, c.CreateDefaultVpc, shape.CreateDefaultVpcRequest{}, "DefaultVpcAlreadyExists")
	refused(c, c.CreateDefaultSubnet, shape.CreateDefaultSubnetRequest{AvailabilityZone: "us-east-1a"}, "DefaultSubnetAlreadyExistsInAvailabilityZone")
	old := do(c, c.DescribeVpcs, shape.DescribeVpcsRequest{Filters: filters("is-default", "true")}).Vpcs[0]
	refused(c, c.DeleteVpc, shape.DeleteVpcRequest{VpcId: old.VpcId}, "DependencyViolation")
	subs := do(c, c.DescribeSubnets, shape.DescribeSubnetsRequest{Filters: filters("vpc-id", old.VpcId)}).Subnets
	do(c, c.DeleteSubnet, shape.DeleteSubnetRequest{SubnetId: subs[0].SubnetId})
	again := do(c, c.CreateDefaultSubnet, shape.CreateDefaultSubnetRequest{AvailabilityZone: subs[0].AvailabilityZone}).Subnet
	if again.CidrBlock != subs[0].CidrBlock || !again.DefaultForAz || !again.MapPublicIpOnLaunch {
		t.Errorf("%+v, was %+v", again, subs[0])
	}
	for _, sub := range []string{again.SubnetId, subs[1].SubnetId} {
		do(c, c.DeleteSubnet, shape.DeleteSubnetRequest{SubnetId: sub})
	}
	refused(c, c.DeleteVpc, shape.DeleteVpcRequest{VpcId: old.VpcId}, "DependencyViolation") // its internet gateway
	igw := do(c, c.DescribeInternetGateways, shape.DescribeInternetGatewaysRequest{}).InternetGateways[0].InternetGatewayId
	refused(c, c.DeleteInternetGateway, shape.DeleteInternetGatewayRequest{InternetGatewayId: igw}, "DependencyViolation")
	do(c, c.DetachInternetGateway, shape.DetachInternetGatewayRequest{InternetGatewayId: igw, VpcId: old.VpcId})
	refused(c, c.DetachInternetGateway, shape.DetachInternetGatewayRequest{InternetGatewayId: igw, VpcId: old.VpcId}, "Gateway.NotAttached")
	do(c, c.DeleteInternetGateway, shape.DeleteInternetGatewayRequest{InternetGatewayId: igw})
	do(c, c.DeleteVpc, shape.DeleteVpcRequest{VpcId: old.VpcId})
	refused(c, c.DeleteVpc, shape.DeleteVpcRequest{VpcId: old.VpcId}, "InvalidVpcID.NotFound")
	refused(c, c.CreateDefaultSubnet, shape.CreateDefaultSubnetRequest{AvailabilityZone: "us-east-1a"}, "DefaultVpcDoesNotExist")
	do(c, c.CreateDefaultVpc, shape.CreateDefaultVpcRequest{})
	c.place(c.run(1)...) // which goes to the new default VPC
	for range 4 {
		do(c, c.CreateVpc, shape.CreateVpcRequest{CidrBlock: "10.0.0.0/16"})
	}
	refused(c, c.CreateVpc, shape.CreateVpcRequest{CidrBlock: "10.0.0.0/16"}, "VpcLimitExceeded")
	c.invariants()
}

func TestRouteTables(t *testing.T) {
	c := newCloud(t)
	vpc, sub := c.vpc("10.0.0.0/16", "10.0.0.0/24")
	other, far := c.vpc("10.0.0.0/16", "10.0.0.0/24") // the same range is no trouble
	igw := do(c, c.CreateInternetGateway, shape.CreateInternetGatewayRequest{}).InternetGateway.InternetGatewayId
	table := do(c, c.CreateRouteTable, shape.CreateRouteTableRequest{VpcId: vpc, ClientToken: "t"}).RouteTable
	if again := do(c, c.CreateRouteTable, shape.CreateRouteTableRequest{VpcId: vpc, ClientToken: "t"}).RouteTable; again.RouteTableId != table.RouteTableId {
		t.Errorf("a client token made two: %+v", again)
	}
	id := table.RouteTableId
	all := shape.CreateRouteRequest{RouteTableId: id, DestinationCidrBlock: "0.0.0.0/0", GatewayId: igw}
	refused(c, c.CreateRoute, all, "InvalidParameterValue") // not attached
	do(c, c.AttachInternetGateway, shape.AttachInternetGatewayRequest{InternetGatewayId: igw, VpcId: vpc})
	refused(c, c.AttachInternetGateway, shape.AttachInternetGatewayRequest{InternetGatewayId: igw, VpcId: other}, "Resource.AlreadyAssociated")
	second := do(c, c.CreateInternetGateway, shape.CreateInternetGatewayRequest{}).InternetGateway.InternetGatewayId
	refused(c, c.AttachInternetGateway, shape.AttachInternetGatewayRequest{InternetGatewayId: second, VpcId: vpc}, "InvalidParameterValue")
	do(c, c.CreateRoute, all)
	do(c, c.CreateRoute, all) // the same again is no error
	all.GatewayId = second
	refused(c, c.CreateRoute, all, "InvalidParameterValue")
	for _, x := range []struct {
		in   shape.CreateRouteRequest
		code string
	}{
		{shape.CreateRouteRequest{RouteTableId: id, DestinationCidrBlock: "10.0.0.0/16", GatewayId: igw}, "RouteAlreadyExists"},
		{shape.CreateRouteRequest{RouteTableId: id, DestinationCidrBlock: "10.0.0.0/24", GatewayId: igw}, "InvalidParameterValue"},
		{shape.CreateRouteRequest{RouteTableId: id, DestinationCidrBlock: "1.2.3.0/24"}, "MissingParameter"},
		{shape.CreateRouteRequest{RouteTableId: id, GatewayId: igw}, "MissingParameter"},
		{shape.CreateRouteRequest{RouteTableId: id, DestinationCidrBlock: "1.2.3.0/24", GatewayId: igw, NatGatewayId: "nat-1"}, "InvalidParameterCombination"},
		{shape.CreateRouteRequest{RouteTableId: id, DestinationCidrBlock: "1.2.3.0/33", GatewayId: igw}, "InvalidParameterValue"},
		{shape.CreateRouteRequest{RouteTableId: id, DestinationCidrBlock: "1.2.3.0/24", GatewayId: "igw-0123456789abcdef0"}, "InvalidGatewayID.NotFound"},
		{shape.CreateRouteRequest{RouteTableId: id, DestinationCidrBlock: "1.2.3.0/24", GatewayId: "local"}, "InvalidParameterValue"},
	} {
		refused(c, c.CreateRoute, x.in, x.code)
	}
	refused(c, c.ReplaceRoute, shape.ReplaceRouteRequest{RouteTableId: id, DestinationCidrBlock: "9.9.9.0/24", GatewayId: igw}, "InvalidParameterValue")
	do(c, c.ReplaceRoute, shape.ReplaceRouteRequest{RouteTableId: id, DestinationCidrBlock: "0.0.0.0/0", GatewayId: igw})
	refused(c, c.DeleteRoute, shape.DeleteRouteRequest{RouteTableId: id, DestinationCidrBlock: "10.0.0.0/16"}, "InvalidParameterValue")
	refused(c, c.DeleteRoute, shape.DeleteRouteRequest{RouteTableId: id, DestinationCidrBlock: "9.9.9.0/24"}, "InvalidRoute.NotFound")

	assoc := do(c, c.AssociateRouteTable, shape.AssociateRouteTableRequest{RouteTableId: id, SubnetId: sub}).AssociationId
	refused(c, c.AssociateRouteTable, shape.AssociateRouteTableRequest{RouteTableId: id, SubnetId: far}, "InvalidParameterValue")
	next := do(c, c.CreateRouteTable, shape.CreateRouteTableRequest{VpcId: vpc}).RouteTable.RouteTableId
	refused(c, c.AssociateRouteTable, shape.AssociateRouteTableRequest{RouteTableId: next, SubnetId: sub}, "Resource.AlreadyAssociated")
	refused(c, c.DeleteRouteTable, shape.DeleteRouteTableRequest{RouteTableId: id}, "DependencyViolation")
	moved := do(c, c.ReplaceRouteTableAssociation, shape.ReplaceRouteTableAssociationRequest{AssociationId: assoc, RouteTableId: next}).NewAssociationId
	refused(c, c.DisassociateRouteTable, shape.DisassociateRouteTableRequest{AssociationId: assoc}, "InvalidAssociationID.NotFound")
	do(c, c.DisassociateRouteTable, shape.DisassociateRouteTableRequest{AssociationId: moved})
	main := do(c, c.DescribeRouteTables, shape.DescribeRouteTablesRequest{Filters: filters("vpc-id", vpc, "association.main", "true")}).RouteTables[0]
	mainAssoc := main.Associations[0].RouteTableAssociationId
	refused(c, c.DisassociateRouteTable, shape.DisassociateRouteTableRequest{AssociationId: mainAssoc}, "InvalidParameterValue")
	do(c, c.ReplaceRouteTableAssociation, shape.ReplaceRouteTableAssociationRequest{AssociationId: mainAssoc, RouteTableId: id})
	if v := store.VPCs.Get(c.Store.Snapshot(), vpc); v.MainRouteTable != id {
		t.Errorf("the main table is %s, want %s", v.MainRouteTable, id)
	}
	refused(c, c.DeleteRouteTable, shape.DeleteRouteTableRequest{RouteTableId: id}, "DependencyViolation")
	do(c, c.DeleteRouteTable, shape.DeleteRouteTableRequest{RouteTableId: main.RouteTableId})
	// A route to a gateway that was taken away is a black hole.
	do(c, c.DetachInternetGateway, shape.DetachInternetGatewayRequest{InternetGatewayId: igw, VpcId: vpc})
	if r := do(c, c.DescribeRouteTables, shape.DescribeRouteTablesRequest{RouteTableIds: []string{id}}).RouteTables[0].Routes; r[1].State != "blackhole" || r[0].State != "active" {
		t.Errorf("%+v", r)
	}
	do(c, c.DeleteRoute, shape.DeleteRouteRequest{RouteTableId: id, DestinationCidrBlock: "0.0.0.0/0"})
}

func TestNetworkACLs(t *testing.T) {
	c := newCloud(t)
	vpc, sub := c.vpc("10.0.0.0/16", "10.0.0.0/24")
	acl := do(c, c.CreateNetworkAcl, shape.CreateNetworkAclRequest{VpcId: vpc}).NetworkAcl
	if len(acl.Entries) != 2 || acl.IsDefault {
		t.Errorf("a new ACL: %+v", acl)
	}
	entry := func(change func(*shape.CreateNetworkAclEntryRequest)) shape.CreateNetworkAclEntryRequest {
		in := shape.CreateNetworkAclEntryRequest{
			NetworkAclId: acl.NetworkAclId, RuleNumber: 100, Protocol: "6", RuleAction: "allow", CidrBlock: "10.9.9.9/8", PortRange: &shape.PortRange{From: ptr(22), To: ptr(22)},
		}
		if change != nil {
			change(&in)
		}
		return in
	}
	for name, change := range map[string]func(*shape.CreateNetworkAclEntryRequest){
		"InvalidParameterValue number": func(in *shape.CreateNetworkAclEntryRequest) { in.RuleNumber = 32767 },
		"InvalidParameterValue zero":   func(in *shape.CreateNetworkAclEntryRequest) { in.RuleNumber = 0 },
		"InvalidParameterValue ports":  func(in *shape.CreateNetworkAclEntryRequest) { in.PortRange = nil },
		"InvalidParameterValue backward": func(in *shape.CreateNetworkAclEntryRequest) {
			in.PortRange = &shape.PortRange{From: ptr(9), To: ptr(8)}
		},
		"InvalidParameterValue icmp":     func(in *shape.CreateNetworkAclEntryRequest) { in.Protocol = "icmp" },
		"InvalidParameterValue protocol": func(in *shape.CreateNetworkAclEntryRequest) { in.Protocol = "256" },
		"InvalidParameterValue action":   func(in *shape.CreateNetworkAclEntryRequest) { in.RuleAction = "drop" },
		"InvalidParameterValue cidr":     func(in *shape.CreateNetworkAclEntryRequest) { in.CidrBlock = "10.0.0.0" },
		"MissingParameter":               func(in *shape.CreateNetworkAclEntryRequest) { in.CidrBlock = "" },
		"InvalidParameterCombination":    func(in *shape.CreateNetworkAclEntryRequest) { in.Ipv6CidrBlock = "::/0" },
		"InvalidNetworkAclID.NotFound":   func(in *shape.CreateNetworkAclEntryRequest) { in.NetworkAclId = "acl-0123456789abcdef0" },
	} {
		refused(c, c.CreateNetworkAclEntry, entry(change), strings.Fields(name)[0])
	}
	do(c, c.CreateNetworkAclEntry, entry(nil))
	refused(c, c.CreateNetworkAclEntry, entry(nil), "NetworkAclEntryAlreadyExists")
	do(c, c.CreateNetworkAclEntry, entry(func(in *shape.CreateNetworkAclEntryRequest) {
		in.RuleNumber, in.RuleAction, in.Protocol, in.PortRange = 50, "deny", "all", nil
	}))
	replace := shape.ReplaceNetworkAclEntryRequest(entry(func(in *shape.CreateNetworkAclEntryRequest) { in.PortRange.To = ptr(23) }))
	do(c, c.ReplaceNetworkAclEntry, replace)
	replace.RuleNumber = 101
	refused(c, c.ReplaceNetworkAclEntry, replace, "InvalidNetworkAclEntry.NotFound")
	for n := 1; n <= maxEntries-2; n++ {
		do(c, c.CreateNetworkAclEntry, entry(func(in *shape.CreateNetworkAclEntryRequest) { in.RuleNumber = 200 + n }))
	}
	refused(c, c.CreateNetworkAclEntry, entry(func(in *shape.CreateNetworkAclEntryRequest) { in.RuleNumber = 300 }), "NetworkAclEntryLimitExceeded")
	do(c, c.CreateNetworkAclEntry, entry(func(in *shape.CreateNetworkAclEntryRequest) { in.Egress = true }))
	do(c, c.DeleteNetworkAclEntry, shape.DeleteNetworkAclEntryRequest{NetworkAclId: acl.NetworkAclId, RuleNumber: 201})
	refused(c, c.DeleteNetworkAclEntry, shape.DeleteNetworkAclEntryRequest{NetworkAclId: acl.NetworkAclId, RuleNumber: 201}, "InvalidNetworkAclEntry.NotFound")
	stored := store.NetworkACLs.Get(c.Store.Snapshot(), acl.NetworkAclId).Entries
	if stored[0] != (resource.ACLEntry{Number: 50, Protocol: "-1", CIDR: "10.0.0.0/8"}) || stored[1].ToPort != 23 {
		t.Errorf("%+v", stored)
	}

	byDefault := do(c, c.DescribeNetworkAcls, shape.DescribeNetworkAclsRequest{Filters: filters("association.subnet-id", sub)}).NetworkAcls[0]
	old := byDefault.Associations[0].NetworkAclAssociationId
	refused(c, c.DeleteNetworkAcl, shape.DeleteNetworkAclRequest{NetworkAclId: byDefault.NetworkAclId}, "InvalidParameterValue")
	now := do(c, c.ReplaceNetworkAclAssociation, shape.ReplaceNetworkAclAssociationRequest{AssociationId: old, NetworkAclId: acl.NetworkAclId}).NewAssociationId
	refused(c, c.ReplaceNetworkAclAssociation, shape.ReplaceNetworkAclAssociationRequest{AssociationId: old, NetworkAclId: acl.NetworkAclId}, "InvalidAssociationID.NotFound")
	refused(c, c.DeleteNetworkAcl, shape.DeleteNetworkAclRequest{NetworkAclId: acl.NetworkAclId}, "DependencyViolation")
	far, _ := c.vpc("10.1.0.0/16", "10.1.0.0/24")
	foreign := do(c, c.CreateNetworkAcl, shape.CreateNetworkAclRequest{VpcId: far}).NetworkAcl.NetworkAclId
	refused(c, c.ReplaceNetworkAclAssociation, shape.ReplaceNetworkAclAssociationRequest{AssociationId: now, NetworkAclId: foreign}, "InvalidParameterValue")
	do(c, c.ReplaceNetworkAclAssociation, shape.ReplaceNetworkAclAssociationRequest{AssociationId: now, NetworkAclId: byDefault.NetworkAclId})
	do(c, c.DeleteNetworkAcl, shape.DeleteNetworkAclRequest{NetworkAclId: acl.NetworkAclId})
}

func TestDHCPOptions(t *testing.T) {
	c := newCloud(t)
	vpc, _ := c.vpc("10.0.0.0/16", "10.0.0.0/24")
	conf := func(pairs ...string) (out []shape.NewDhcpConfiguration) {
		for i := 0; i < len(pairs); i += 2 {
			out = append(out, shape.NewDhcpConfiguration{Key: pairs[i], Values: strings.Fields(pairs[i+1])})
		}
		return out
	}
	for _, bad := range [][]shape.NewDhcpConfiguration{
		conf("colour", "red"), conf("domain-name-servers", "10.0.0.1 10.0.0.2 10.0.0.3 10.0.0.4 10.0.0.5"), conf("domain-name-servers", "ns.example.com"),
		conf("domain-name-servers", ""), conf("domain-name-servers", "10.0.0.1", "domain-name-servers", "10.0.0.2"), conf("netbios-node-type", "3"),
	} {
		refused(c, c.CreateDhcpOptions, shape.CreateDhcpOptionsRequest{DhcpConfigurations: bad}, "InvalidParameterValue")
	}
	refused(c, c.CreateDhcpOptions, shape.CreateDhcpOptionsRequest{}, "MissingParameter")
	made := do(c, c.CreateDhcpOptions, shape.CreateDhcpOptionsRequest{DhcpConfigurations: conf("domain-name-servers", "10.0.0.5,10.0.0.6", "domain-name", "ec2.internal")}).DhcpOptions
	if got := made.DhcpConfigurations[1].Values; len(got) != 2 {
		t.Errorf("%+v", made)
	}
	id := made.DhcpOptionsId
	do(c, c.AssociateDhcpOptions, shape.AssociateDhcpOptionsRequest{DhcpOptionsId: id, VpcId: vpc})
	refused(c, c.DeleteDhcpOptions, shape.DeleteDhcpOptionsRequest{DhcpOptionsId: id}, "DependencyViolation")
	do(c, c.AssociateDhcpOptions, shape.AssociateDhcpOptionsRequest{DhcpOptionsId: "default", VpcId: vpc})
	do(c, c.DeleteDhcpOptions, shape.DeleteDhcpOptionsRequest{DhcpOptionsId: id})
	refused(c, c.AssociateDhcpOptions, shape.AssociateDhcpOptionsRequest{DhcpOptionsId: id, VpcId: vpc}, "InvalidDhcpOptionID.NotFound")
}

// A record that another account owns is not found by any call that changes it.
func TestVPCsOfAnotherAccount(t *testing.T) {
	c := newCloud(t)
	vpc, sub := c.vpc("10.0.0.0/16", "10.0.0.0/24")
	igw := do(c, c.CreateInternetGateway, shape.CreateInternetGatewayRequest{}).InternetGateway.InternetGatewayId
	v := store.VPCs.Get(c.Store.Snapshot(), vpc)
	table, acl := v.MainRouteTable, v.DefaultACL
	options := do(c, c.CreateDhcpOptions, shape.CreateDhcpOptionsRequest{DhcpConfigurations: []shape.NewDhcpConfiguration{{Key: "domain-name-servers", Values: []string{"10.0.0.5"}}}}).DhcpOptions.DhcpOptionsId
	theirs := store.VPCsByOwner.One(c.Store.Snapshot(), bob+"/"+east)
	their := store.SubnetsByVPC.One(c.Store.Snapshot(), theirs.ID).ID
	block := do(c, c.AssociateVpcCidrBlock, shape.AssociateVpcCidrBlockRequest{VpcId: vpc, CidrBlock: "10.1.0.0/16"}).CidrBlockAssociation.AssociationId
	x := c.bob
	for want, err := range map[string]error{
		"InvalidVpcID.NotFound delete":              second(c.DeleteVpc(x, &shape.DeleteVpcRequest{VpcId: vpc})),
		"InvalidVpcID.NotFound modify":              second(c.ModifyVpcAttribute(x, &shape.ModifyVpcAttributeRequest{VpcId: vpc, EnableDnsHostnames: boolean(true)})),
		"InvalidVpcID.NotFound tenancy":             second(c.ModifyVpcTenancy(x, &shape.ModifyVpcTenancyRequest{VpcId: vpc, InstanceTenancy: "default"})),
		"InvalidVpcID.NotFound range":               second(c.AssociateVpcCidrBlock(x, &shape.AssociateVpcCidrBlockRequest{VpcId: vpc, CidrBlock: "10.2.0.0/16"})),
		"InvalidVpcID.NotFound subnet":              second(c.CreateSubnet(x, &shape.CreateSubnetRequest{VpcId: vpc, CidrBlock: "10.0.1.0/24"})),
		"InvalidVpcID.NotFound table":               second(c.CreateRouteTable(x, &shape.CreateRouteTableRequest{VpcId: vpc})),
		"InvalidVpcID.NotFound acl":                 second(c.CreateNetworkAcl(x, &shape.CreateNetworkAclRequest{VpcId: vpc})),
		"InvalidVpcID.NotFound options":             second(c.AssociateDhcpOptions(x, &shape.AssociateDhcpOptionsRequest{VpcId: vpc, DhcpOptionsId: theirs.DHCPOptionsID})),
		"InvalidDhcpOptionID.NotFound":              second(c.AssociateDhcpOptions(x, &shape.AssociateDhcpOptionsRequest{VpcId: theirs.ID, DhcpOptionsId: options})),
		"InvalidDhcpOptionID.NotFound del":          second(c.DeleteDhcpOptions(x, &shape.DeleteDhcpOptionsRequest{DhcpOptionsId: options})),
		"InvalidVpcCidrBlockAssociationID.NotFound": second(c.DisassociateVpcCidrBlock(x, &shape.DisassociateVpcCidrBlockRequest{AssociationId: block})),
		"InvalidSubnetID.NotFound delete":           second(c.DeleteSubnet(x, &shape.DeleteSubnetRequest{SubnetId: sub})),
		"InvalidSubnetID.NotFound modify":           second(c.ModifySubnetAttribute(x, &shape.ModifySubnetAttributeRequest{SubnetId: sub, MapPublicIpOnLaunch: boolean(true)})),
		"InvalidSubnetID.NotFound associate":        second(c.AssociateRouteTable(x, &shape.AssociateRouteTableRequest{RouteTableId: theirs.MainRouteTable, SubnetId: sub})),
		"InvalidRouteTableID.NotFound associate":    second(c.AssociateRouteTable(x, &shape.AssociateRouteTableRequest{RouteTableId: table, SubnetId: their})),
		"InvalidRouteTableID.NotFound delete":       second(c.DeleteRouteTable(x, &shape.DeleteRouteTableRequest{RouteTableId: table})),
		"InvalidRouteTableID.NotFound route":        second(c.DeleteRoute(x, &shape.DeleteRouteRequest{RouteTableId: table, DestinationCidrBlock: "0.0.0.0/0"})),
		"InvalidGatewayID.NotFound route": second(c.CreateRoute(x, &shape.CreateRouteRequest{
			RouteTableId: theirs.MainRouteTable, DestinationCidrBlock: "1.0.0.0/8", GatewayId: igw,
		})),
		"InvalidInternetGatewayID.NotFound attach": second(c.AttachInternetGateway(x, &shape.AttachInternetGatewayRequest{VpcId: theirs.ID, InternetGatewayId: igw})),
		"InvalidInternetGatewayID.NotFound delete": second(c.DeleteInternetGateway(x, &shape.DeleteInternetGatewayRequest{InternetGatewayId: igw})),
		"InvalidNetworkAclID.NotFound delete":      second(c.DeleteNetworkAcl(x, &shape.DeleteNetworkAclRequest{NetworkAclId: acl})),
		"InvalidNetworkAclID.NotFound entry":       second(c.DeleteNetworkAclEntry(x, &shape.DeleteNetworkAclEntryRequest{NetworkAclId: acl, RuleNumber: 100})),
		"InvalidNetworkAclID.NotFound associate": second(c.ReplaceNetworkAclAssociation(x, &shape.ReplaceNetworkAclAssociationRequest{
			NetworkAclId: acl, AssociationId: aclAssociation(store.Subnets.Get(c.Store.Snapshot(), their)),
		})),
		"InvalidAssociationID.NotFound acl": second(c.ReplaceNetworkAclAssociation(x, &shape.ReplaceNetworkAclAssociationRequest{
			NetworkAclId: theirs.DefaultACL, AssociationId: aclAssociation(store.Subnets.Get(c.Store.Snapshot(), sub)),
		})),
	} {
		c.code(want, err, strings.Fields(want)[0])
	}
	c.invariants()
}
