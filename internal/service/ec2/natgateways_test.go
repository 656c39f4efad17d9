package ec2

import (
	"strings"
	"testing"
	"time"

	shape "karri.dev/internal/aws/shape/ec2"
	"karri.dev/internal/lifecycle"
	"karri.dev/internal/resource"
	"karri.dev/internal/store"
)

// nat gives a NAT gateway as alice sees it.
func (c *cloud) nat(id string) shape.NatGateway {
	c.Helper()
	return do(c, c.DescribeNatGateways, shape.DescribeNatGatewaysRequest{NatGatewayIds: []string{id}}).NatGateways[0]
}

// onNode puts a NAT gateway on a node and makes it available, as a zone does.
func (c *cloud) onNode(id string) {
	c.Helper()
	c.write(func(tx *store.Tx) error {
		g := *store.NATGateways.Get(tx, id)
		g.Node, g.State = "node-"+g.Zone, resource.NATAvailable
		return store.NATGateways.Put(tx, &g)
	})
}

// offNode ends a NAT gateway that is being deleted, as a zone does.
func (c *cloud) offNode(id string) {
	c.Helper()
	c.write(func(tx *store.Tx) error { return lifecycle.FinishNAT(tx, store.NATGateways.Get(tx, id)) })
}

// internet gives a VPC an internet gateway.
func (c *cloud) internet(vpc string) string {
	c.Helper()
	igw := do(c, c.CreateInternetGateway, shape.CreateInternetGatewayRequest{}).InternetGateway.InternetGatewayId
	do(c, c.AttachInternetGateway, shape.AttachInternetGatewayRequest{InternetGatewayId: igw, VpcId: vpc})
	return igw
}

func TestNATGateway(t *testing.T) {
	c := newCloud(t)
	vpc, sub := c.vpc("10.0.0.0/16", "10.0.0.0/24")
	igw := c.internet(vpc)
	eip := do(c, c.AllocateAddress, shape.AllocateAddressRequest{})
	for code, in := range map[string]shape.CreateNatGatewayRequest{
		"MissingParameter subnet":            {AllocationId: eip.AllocationId},
		"MissingParameter allocation":        {SubnetId: sub},
		"InvalidParameterValue kind":         {SubnetId: sub, AllocationId: eip.AllocationId, ConnectivityType: "both"},
		"InvalidParameterCombination":        {SubnetId: sub, AllocationId: eip.AllocationId, ConnectivityType: "private"},
		"InvalidParameterCombination count":  {SubnetId: sub, AllocationId: eip.AllocationId, SecondaryPrivateIpAddressCount: ptr(1)},
		"InvalidParameterCombination more":   {SubnetId: sub, AllocationId: eip.AllocationId, SecondaryPrivateIpAddresses: []string{"10.0.0.9"}},
		"InvalidParameterValue twice":        {SubnetId: sub, AllocationId: eip.AllocationId, SecondaryAllocationIds: []string{eip.AllocationId}},
		"InvalidParameterValue outside":      {SubnetId: sub, AllocationId: eip.AllocationId, PrivateIpAddress: "10.0.9.9"},
		"PrivateIpAddressLimitExceeded":      {SubnetId: sub, ConnectivityType: "private", SecondaryPrivateIpAddressCount: ptr(8)},
		"AddressLimitExceeded":               {SubnetId: sub, AllocationId: eip.AllocationId, SecondaryAllocationIds: []string{"eipalloc-1", "eipalloc-2"}},
		"InvalidSubnetID.NotFound":           {SubnetId: "subnet-0123456789abcdef0", AllocationId: eip.AllocationId},
		"InvalidAllocationID.NotFound":       {SubnetId: sub, AllocationId: "eipalloc-0123456789abcdef0"},
		"InvalidAllocationID.NotFound other": {SubnetId: sub, AllocationId: eip.AllocationId, SecondaryAllocationIds: []string{"eipalloc-0123456789abcdef0"}},
	} {
		refused(c, c.CreateNatGateway, in, strings.Fields(code)[0])
	}
	make := shape.CreateNatGatewayRequest{
		SubnetId: sub, AllocationId: eip.AllocationId, PrivateIpAddress: "10.0.0.9", ClientToken: "t",
		TagSpecifications: []shape.TagSpecification{{ResourceType: "natgateway", Tags: []shape.Tag{{Key: "a", Value: "b"}}}},
	}
	made := do(c, c.CreateNatGateway, make).NatGateway
	id := made.NatGatewayId
	if again := do(c, c.CreateNatGateway, make).NatGateway; again.NatGatewayId != id {
		t.Errorf("a client token made two: %s", again.NatGatewayId)
	}
	make.PrivateIpAddress = ""
	refused(c, c.CreateNatGateway, make, "IdempotentParameterMismatch")
	if a := made.NatGatewayAddresses; made.State != "pending" || made.ConnectivityType != "public" || len(a) != 1 || a[0].PrivateIp != "10.0.0.9" || a[0].PublicIp != eip.PublicIp || !a[0].IsPrimary || a[0].Status != "associating" {
		t.Errorf("%+v", made)
	}
	c.onNode(id)
	if g := c.nat(id); g.State != "available" || g.NatGatewayAddresses[0].Status != "succeeded" || len(g.Tags) != 1 {
		t.Errorf("%+v", g)
	}
	for name, value := range map[string]string{"state": "available", "vpc-id": vpc, "subnet-id": sub, "nat-gateway-id": id, "tag:a": "b", "tag-key": "a"} {
		if out := do(c, c.DescribeNatGateways, shape.DescribeNatGatewaysRequest{Filter: filters(name, value)}); len(out.NatGateways) != 1 {
			t.Errorf("filter %s: %+v", name, out)
		}
	}
	// What it has is its own.
	eni := made.NatGatewayAddresses[0].NetworkInterfaceId
	if e := do(c, c.DescribeNetworkInterfaces, shape.DescribeNetworkInterfacesRequest{NetworkInterfaceIds: []string{eni}}).NetworkInterfaces[0]; e.InterfaceType != "nat_gateway" || !e.RequesterManaged || e.Status != "in-use" || e.SourceDestCheck || e.Association == nil {
		t.Errorf("%+v", e)
	}
	refused(c, c.DeleteNetworkInterface, shape.DeleteNetworkInterfaceRequest{NetworkInterfaceId: eni}, "InvalidParameterValue")
	refused(c, c.DisassociateAddress, shape.DisassociateAddressRequest{PublicIp: eip.PublicIp}, "AuthFailure")
	refused(c, c.ReleaseAddress, shape.ReleaseAddressRequest{AllocationId: eip.AllocationId}, "InvalidIPAddress.InUse")
	refused(c, c.AssociateAddress, shape.AssociateAddressRequest{AllocationId: eip.AllocationId, NetworkInterfaceId: eni}, "OperationNotPermitted")
	refused(c, c.DetachInternetGateway, shape.DetachInternetGatewayRequest{InternetGatewayId: igw, VpcId: vpc}, "DependencyViolation")
	refused(c, c.DeleteSubnet, shape.DeleteSubnetRequest{SubnetId: sub}, "DependencyViolation")
	refused(c, c.AssignPrivateIpAddresses, shape.AssignPrivateIpAddressesRequest{NetworkInterfaceId: eni, SecondaryPrivateIpAddressCount: ptr(1)}, "OperationNotPermitted")

	table := store.VPCs.Get(c.Store.Snapshot(), vpc).MainRouteTable
	do(c, c.CreateRoute, shape.CreateRouteRequest{RouteTableId: table, DestinationCidrBlock: "0.0.0.0/0", NatGatewayId: id})
	refused(c, c.CreateRoute, shape.CreateRouteRequest{RouteTableId: table, DestinationCidrBlock: "1.0.0.0/8", NatGatewayId: "nat-0123456789abcdef0"}, "InvalidNatGatewayID.NotFound")
	if r := c.routes(table)["0.0.0.0/0"]; r.State != "active" || r.NatGatewayId != id {
		t.Errorf("%+v", r)
	}
	do(c, c.DeleteNatGateway, shape.DeleteNatGatewayRequest{NatGatewayId: id})
	do(c, c.DeleteNatGateway, shape.DeleteNatGatewayRequest{NatGatewayId: id})
	if g := c.nat(id); g.State != "deleting" || g.DeleteTime.IsZero() {
		t.Errorf("%+v", g)
	}
	if r := c.routes(table)["0.0.0.0/0"]; r.State != "blackhole" {
		t.Errorf("%+v", r)
	}
	refused(c, c.ReleaseAddress, shape.ReleaseAddressRequest{AllocationId: eip.AllocationId}, "InvalidIPAddress.InUse") // as long as a node has it
	c.offNode(id)
	if g := c.nat(id); g.State != "deleted" || g.NatGatewayAddresses[0].PublicIp != eip.PublicIp {
		t.Errorf("%+v", g)
	}
	do(c, c.ReleaseAddress, shape.ReleaseAddressRequest{AllocationId: eip.AllocationId})
	do(c, c.DetachInternetGateway, shape.DetachInternetGatewayRequest{InternetGatewayId: igw, VpcId: vpc})
	do(c, c.DeleteSubnet, shape.DeleteSubnetRequest{SubnetId: sub})
	do(c, c.DeleteVpc, shape.DeleteVpcRequest{VpcId: vpc})
	c.pass(lifecycle.Shown)
	c.write(func(tx *store.Tx) error { lifecycle.Reap(tx, c.clock(), 10); return nil })
	refused(c, c.DescribeNatGateways, shape.DescribeNatGatewaysRequest{NatGatewayIds: []string{id}}, "NatGatewayNotFound")
	refused(c, c.DeleteNatGateway, shape.DeleteNatGatewayRequest{NatGatewayId: "nat-1"}, "NatGatewayMalformed")
	c.invariants()
}

// What AWS finds out only while it makes a NAT gateway is the gateway's failure, not the call's.
func TestNATGatewayFails(t *testing.T) {
	c := newCloud(t)
	vpc, sub := c.vpc("10.0.0.0/16", "10.0.0.0/28")
	eip := do(c, c.AllocateAddress, shape.AllocateAddressRequest{})
	in := shape.CreateNatGatewayRequest{SubnetId: sub, AllocationId: eip.AllocationId}
	failed := func(code string) {
		t.Helper()
		made := do(c, c.CreateNatGateway, in).NatGateway
		if made.State != "pending" || made.FailureCode != "" {
			t.Errorf("%+v", made)
		}
		if g := c.nat(made.NatGatewayId); g.State != "failed" || g.FailureCode != code || g.NatGatewayAddresses[0].AllocationId != in.AllocationId {
			t.Errorf("want %s: %+v", code, g)
		}
		do(c, c.DeleteNatGateway, shape.DeleteNatGatewayRequest{NatGatewayId: made.NatGatewayId})
		if g := c.nat(made.NatGatewayId); g.State != "deleted" {
			t.Errorf("%+v", g)
		}
	}
	failed("Gateway.NotAttached")
	c.internet(vpc)
	eni := do(c, c.CreateNetworkInterface, shape.CreateNetworkInterfaceRequest{SubnetId: sub}).NetworkInterface.NetworkInterfaceId
	do(c, c.AssociateAddress, shape.AssociateAddressRequest{AllocationId: eip.AllocationId, NetworkInterfaceId: eni})
	failed("Resource.AlreadyAssociated")
	do(c, c.DisassociateAddress, shape.DisassociateAddressRequest{PublicIp: eip.PublicIp})
	do(c, c.AssignPrivateIpAddresses, shape.AssignPrivateIpAddressesRequest{NetworkInterfaceId: eni, SecondaryPrivateIpAddressCount: ptr(10)})
	failed("InsufficientFreeAddressesInSubnet")
	do(c, c.DeleteNetworkInterface, shape.DeleteNetworkInterfaceRequest{NetworkInterfaceId: eni})
	do(c, c.DeleteSubnet, shape.DeleteSubnetRequest{SubnetId: sub})
	c.invariants()
}

func TestNATGatewayAddresses(t *testing.T) {
	c := newCloud(t)
	vpc, sub := c.vpc("10.0.0.0/16", "10.0.0.0/24")
	c.internet(vpc)
	first, second, third := do(c, c.AllocateAddress, shape.AllocateAddressRequest{}), do(c, c.AllocateAddress, shape.AllocateAddressRequest{}), do(c, c.AllocateAddress, shape.AllocateAddressRequest{})
	pub := do(c, c.CreateNatGateway, shape.CreateNatGatewayRequest{SubnetId: sub, AllocationId: first.AllocationId}).NatGateway.NatGatewayId
	more := shape.AssociateNatGatewayAddressRequest{NatGatewayId: pub, AllocationIds: []string{second.AllocationId}, PrivateIpAddresses: []string{"10.0.0.44"}}
	refused(c, c.AssociateNatGatewayAddress, more, "IncorrectState") // not yet available
	c.onNode(pub)
	refused(c, c.AssociateNatGatewayAddress, shape.AssociateNatGatewayAddressRequest{NatGatewayId: pub, AllocationIds: []string{first.AllocationId}}, "Resource.AlreadyAssociated")
	got := do(c, c.AssociateNatGatewayAddress, more).NatGatewayAddresses
	if len(got) != 1 || got[0].PrivateIp != "10.0.0.44" || got[0].PublicIp != second.PublicIp || got[0].Status != "associating" {
		t.Errorf("%+v", got)
	}
	refused(c, c.AssociateNatGatewayAddress, shape.AssociateNatGatewayAddressRequest{NatGatewayId: pub, AllocationIds: []string{third.AllocationId}}, "AddressLimitExceeded")
	if _, err := c.AssociateNatGatewayAddress(c.bob, &more); err == nil {
		t.Error("bob changes alice's NAT gateway")
	}
	primary := c.nat(pub).NatGatewayAddresses[0].AssociationId
	take := shape.DisassociateNatGatewayAddressRequest{NatGatewayId: pub, AssociationIds: []string{primary}}
	refused(c, c.DisassociateNatGatewayAddress, take, "InvalidParameter")
	take.AssociationIds = []string{"eipassoc-0123456789abcdef0"}
	refused(c, c.DisassociateNatGatewayAddress, take, "InvalidAssociationID.NotFound")
	take.AssociationIds, take.MaxDrainDurationSeconds = []string{got[0].AssociationId}, ptr(4001)
	refused(c, c.DisassociateNatGatewayAddress, take, "InvalidParameterValue")
	take.MaxDrainDurationSeconds = nil
	do(c, c.DisassociateNatGatewayAddress, take)
	do(c, c.ReleaseAddress, shape.ReleaseAddressRequest{AllocationId: second.AllocationId})
	if a := c.nat(pub).NatGatewayAddresses; len(a) != 1 {
		t.Errorf("%+v", a)
	}
	refused(c, c.AssignPrivateNatGatewayAddress, shape.AssignPrivateNatGatewayAddressRequest{NatGatewayId: pub, PrivateIpAddressCount: ptr(1)}, "InvalidParameter")

	private := do(c, c.CreateNatGateway, shape.CreateNatGatewayRequest{SubnetId: sub, ConnectivityType: "private", SecondaryPrivateIpAddressCount: ptr(1)}).NatGateway.NatGatewayId
	c.onNode(private)
	for code, in := range map[string]shape.AssignPrivateNatGatewayAddressRequest{
		"MissingParameter":              {NatGatewayId: private},
		"InvalidParameterCombination":   {NatGatewayId: private, PrivateIpAddressCount: ptr(1), PrivateIpAddresses: []string{"10.0.0.9"}},
		"InvalidParameterValue":         {NatGatewayId: private, PrivateIpAddressCount: ptr(0)},
		"PrivateIpAddressLimitExceeded": {NatGatewayId: private, PrivateIpAddressCount: ptr(7)},
		"NatGatewayNotFound":            {NatGatewayId: "nat-0123456789abcdef0", PrivateIpAddressCount: ptr(1)},
	} {
		refused(c, c.AssignPrivateNatGatewayAddress, in, code)
	}
	if got := do(c, c.AssignPrivateNatGatewayAddress, shape.AssignPrivateNatGatewayAddressRequest{NatGatewayId: private, PrivateIpAddresses: []string{"10.0.0.99"}}).NatGatewayAddresses; len(got) != 1 || got[0].PrivateIp != "10.0.0.99" || got[0].Status != "assigning" {
		t.Errorf("%+v", got)
	}
	do(c, c.UnassignPrivateNatGatewayAddress, shape.UnassignPrivateNatGatewayAddressRequest{NatGatewayId: private, PrivateIpAddresses: []string{"10.0.0.99"}})
	refused(c, c.UnassignPrivateNatGatewayAddress, shape.UnassignPrivateNatGatewayAddressRequest{NatGatewayId: private, PrivateIpAddresses: []string{"10.0.0.99"}}, "InvalidParameterValue")
	if a := c.nat(private).NatGatewayAddresses; len(a) != 2 || a[0].PublicIp != "" {
		t.Errorf("%+v", a)
	}
	refused(c, c.UnassignPrivateNatGatewayAddress, shape.UnassignPrivateNatGatewayAddressRequest{NatGatewayId: private, PrivateIpAddresses: []string{c.nat(private).NatGatewayAddresses[0].PrivateIp}}, "InvalidParameter")
	c.pass(time.Second)
	c.invariants()
}

func TestNATGatewayLimit(t *testing.T) {
	c := newCloud(t)
	_, sub := c.vpc("10.0.0.0/16", "10.0.0.0/24")
	var ids []string
	for range maxNATGateways {
		ids = append(ids, do(c, c.CreateNatGateway, shape.CreateNatGatewayRequest{SubnetId: sub, ConnectivityType: "private"}).NatGateway.NatGatewayId)
	}
	refused(c, c.CreateNatGateway, shape.CreateNatGatewayRequest{SubnetId: sub, ConnectivityType: "private"}, "NatGatewayLimitExceeded")
	do(c, c.DeleteNatGateway, shape.DeleteNatGatewayRequest{NatGatewayId: ids[0]}) // no node has it
	if g := c.nat(ids[0]); g.State != "deleted" {
		t.Errorf("%+v", g)
	}
	do(c, c.CreateNatGateway, shape.CreateNatGatewayRequest{SubnetId: sub, ConnectivityType: "private"})
	if _, err := c.DeleteNatGateway(c.bob, &shape.DeleteNatGatewayRequest{NatGatewayId: ids[1]}); err == nil {
		t.Error("bob deletes alice's NAT gateway")
	}
	if out, err := c.DescribeNatGateways(c.bob, &shape.DescribeNatGatewaysRequest{}); err != nil || len(out.NatGateways) != 0 {
		t.Errorf("bob sees %+v, %v", out, err)
	}
}
