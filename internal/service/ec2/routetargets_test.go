package ec2

import (
	"testing"

	shape "karri.dev/internal/aws/shape/ec2"
	"karri.dev/internal/resource"
	"karri.dev/internal/store"
)

// routes gives a table's routes by destination, as alice sees them.
func (c *cloud) routes(table string) map[string]shape.Route {
	c.Helper()
	out := map[string]shape.Route{}
	for _, r := range do(c, c.DescribeRouteTables, shape.DescribeRouteTablesRequest{RouteTableIds: []string{table}}).RouteTables[0].Routes {
		out[r.DestinationCidrBlock+r.DestinationPrefixListId] = r
	}
	return out
}

func TestRoutesToInterfaces(t *testing.T) {
	c := newCloud(t)
	vpc, sub := c.vpc("10.0.0.0/16", "10.0.0.0/24")
	other := c.subnet(vpc, "10.0.1.0/24")
	_, far := c.vpc("10.0.0.0/16", "10.0.0.0/24")
	table := do(c, c.CreateRouteTable, shape.CreateRouteTableRequest{VpcId: vpc}).RouteTable.RouteTableId
	eni := do(c, c.CreateNetworkInterface, shape.CreateNetworkInterfaceRequest{SubnetId: other}).NetworkInterface.NetworkInterfaceId
	foreign := do(c, c.CreateNetworkInterface, shape.CreateNetworkInterfaceRequest{SubnetId: far}).NetworkInterface.NetworkInterfaceId
	inst := c.run(1, func(in *shape.RunInstancesRequest) { in.SubnetId = sub })[0]
	c.place(inst)
	first := store.Instances.Get(c.Store.Snapshot(), inst).Interfaces[0]

	to := func(block string) shape.CreateRouteRequest {
		return shape.CreateRouteRequest{RouteTableId: table, DestinationCidrBlock: block}
	}
	via := func(in shape.CreateRouteRequest, eni, instance string) shape.CreateRouteRequest {
		in.NetworkInterfaceId, in.InstanceId = eni, instance
		return in
	}
	refused(c, c.CreateRoute, via(to("1.0.0.0/8"), foreign, ""), "InvalidParameterValue")
	refused(c, c.CreateRoute, via(to("1.0.0.0/8"), "eni-0123456789abcdef0", ""), "InvalidNetworkInterfaceID.NotFound")
	refused(c, c.CreateRoute, via(to("1.0.0.0/8"), "", "i-0123456789abcdef0"), "InvalidInstanceID.NotFound")
	refused(c, c.CreateRoute, via(to("1.0.0.0/8"), eni, inst), "InvalidParameterCombination")
	refused(c, c.CreateRoute, via(to("10.0.0.0/25"), eni, ""), "InvalidParameterValue") // not a whole subnet
	refused(c, c.CreateRoute, via(to("10.0.0.0/16"), eni, ""), "RouteAlreadyExists")
	do(c, c.CreateRoute, via(to("10.0.0.0/24"), eni, ""))
	do(c, c.CreateRoute, via(to("1.0.0.0/8"), "", inst))

	got := c.routes(table)
	if r := got["10.0.0.0/24"]; r.State != "blackhole" || r.NetworkInterfaceId != eni || r.InstanceId != "" {
		t.Errorf("a route to an interface that nobody has: %+v", r)
	}
	if r := got["1.0.0.0/8"]; r.State != "active" || r.NetworkInterfaceId != first || r.InstanceId != inst || r.InstanceOwnerId != alice || r.Origin != "CreateRoute" {
		t.Errorf("a route to an instance: %+v", r)
	}
	if n := len(do(c, c.DescribeRouteTables, shape.DescribeRouteTablesRequest{Filters: filters("route.instance-id", inst)}).RouteTables); n != 1 {
		t.Errorf("%d tables have a route to the instance", n)
	}
	c.stopped(inst)
	if r := c.routes(table)["1.0.0.0/8"]; r.State != "blackhole" {
		t.Errorf("the instance is stopped: %+v", r)
	}
	do(c, c.AttachNetworkInterface, shape.AttachNetworkInterfaceRequest{InstanceId: inst, NetworkInterfaceId: eni, DeviceIndex: 1})
	refused(c, c.CreateRoute, via(to("2.0.0.0/8"), "", inst), "InvalidInstanceID") // it has two
	do(c, c.TerminateInstances, shape.TerminateInstancesRequest{InstanceIds: []string{inst}})
	c.finish(inst)
	if r := c.routes(table)["1.0.0.0/8"]; r.State != "blackhole" || r.InstanceId != inst {
		t.Errorf("the instance is gone: %+v", r)
	}
	do(c, c.ReplaceRoute, shape.ReplaceRouteRequest{RouteTableId: table, DestinationCidrBlock: "1.0.0.0/8", NetworkInterfaceId: eni})
	c.invariants()
}

func TestRoutesToPeerings(t *testing.T) {
	c := newCloud(t)
	vpc, _ := c.vpc("10.0.0.0/16", "10.0.0.0/24")
	third, _ := c.vpc("10.1.0.0/16", "10.1.0.0/24")
	var theirs *resource.VPC
	for v := range store.VPCsByOwner.By(c.Store.Snapshot(), bob+"/"+east) {
		theirs = v
	}
	id := do(c, c.CreateVpcPeeringConnection, shape.CreateVpcPeeringConnectionRequest{VpcId: vpc, PeerVpcId: theirs.ID, PeerOwnerId: bob}).VpcPeeringConnection.VpcPeeringConnectionId
	table := store.VPCs.Get(c.Store.Snapshot(), vpc).MainRouteTable
	route := shape.CreateRouteRequest{RouteTableId: table, DestinationCidrBlock: theirs.CIDR, VpcPeeringConnectionId: id}
	do(c, c.CreateRoute, route) // before it is accepted
	if r := c.routes(table)[theirs.CIDR]; r.State != "blackhole" || r.VpcPeeringConnectionId != id {
		t.Errorf("%+v", r)
	}
	route.RouteTableId = store.VPCs.Get(c.Store.Snapshot(), third).MainRouteTable
	refused(c, c.CreateRoute, route, "InvalidParameterValue") // a VPC that it does not join
	route.RouteTableId = table
	route.VpcPeeringConnectionId = "pcx-0123456789abcdef0"
	refused(c, c.CreateRoute, route, "InvalidVpcPeeringConnectionID.NotFound")
	if _, err := c.AcceptVpcPeeringConnection(c.bob, &shape.AcceptVpcPeeringConnectionRequest{VpcPeeringConnectionId: id}); err != nil {
		t.Fatal(err)
	}
	if r := c.routes(table)[theirs.CIDR]; r.State != "active" {
		t.Errorf("%+v", r)
	}
	// Nobody else can use it.
	carol := as("333333333333")
	c.write(func(tx *store.Tx) error {
		_, err := CreateDefaultVPC(tx, c.IDs, c.time, "333333333333", east)
		return err
	})
	var hers *resource.VPC
	for v := range store.VPCsByOwner.By(c.Store.Snapshot(), "333333333333/"+east) {
		hers = v
	}
	_, err := c.CreateRoute(carol, &shape.CreateRouteRequest{RouteTableId: hers.MainRouteTable, DestinationCidrBlock: "10.0.0.0/16", VpcPeeringConnectionId: id})
	c.code("another account's route", err, "InvalidVpcPeeringConnectionID.NotFound")
	if _, err := c.DeleteVpcPeeringConnection(c.bob, &shape.DeleteVpcPeeringConnectionRequest{VpcPeeringConnectionId: id}); err != nil {
		t.Fatal(err)
	}
	if r := c.routes(table)[theirs.CIDR]; r.State != "blackhole" {
		t.Errorf("%+v", r)
	}
	refused(c, c.ReplaceRoute, shape.ReplaceRouteRequest{RouteTableId: table, DestinationCidrBlock: theirs.CIDR, VpcPeeringConnectionId: id}, "InvalidVpcPeeringConnectionID.NotFound")
	do(c, c.DeleteRoute, shape.DeleteRouteRequest{RouteTableId: table, DestinationCidrBlock: theirs.CIDR})
}
