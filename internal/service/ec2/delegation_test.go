package ec2

import (
	"net/netip"
	"strings"
	"testing"

	shape "karri.dev/internal/aws/shape/ec2"
	"karri.dev/internal/store"
)

func TestDelegatedPrefixes(t *testing.T) {
	c := newCloud(t)
	vpc, sub := c.vpc("10.0.0.0/16", "10.0.0.0/25")
	named := func(list ...string) (out []shape.Ipv4PrefixSpecificationRequest) {
		for _, p := range list {
			out = append(out, shape.Ipv4PrefixSpecificationRequest{Ipv4Prefix: p})
		}
		return out
	}
	for code, in := range map[string]shape.CreateNetworkInterfaceRequest{
		"InvalidParameterValue outside":          {Ipv4Prefixes: named("10.0.1.16/28")},
		"InvalidParameterValue length":           {Ipv4Prefixes: named("10.0.0.64/27")},
		"InvalidParameterValue inner":            {Ipv4Prefixes: named("10.0.0.65/28")},
		"InvalidParameterValue first":            {Ipv4Prefixes: named("10.0.0.0/28")},
		"InvalidParameterValue last":             {Ipv4Prefixes: named("10.0.0.112/28")},
		"InvalidParameterValue twice":            {Ipv4Prefixes: named("10.0.0.64/28", "10.0.0.64/28")},
		"InvalidParameterValue six":              {Ipv4Prefixes: named("fd00::/28")},
		"InvalidParameterValue none":             {Ipv4PrefixCount: ptr(0)},
		"InvalidParameterCombination both":       {Ipv4PrefixCount: ptr(1), Ipv4Prefixes: named("10.0.0.64/28")},
		"InvalidParameterCombination secondary":  {Ipv4PrefixCount: ptr(1), SecondaryPrivateIpAddressCount: ptr(1)},
		"InsufficientCidrBlocks":                 {Ipv4PrefixCount: ptr(7)},
		"InvalidIPAddress.InUse own primary one": {Ipv4Prefixes: named("10.0.0.64/28"), PrivateIpAddress: "10.0.0.70"},
	} {
		in.SubnetId = sub
		refused(c, c.CreateNetworkInterface, in, strings.Fields(code)[0])
	}
	before := do(c, c.DescribeSubnets, shape.DescribeSubnetsRequest{SubnetIds: one(sub)}).Subnets[0].AvailableIpAddressCount
	first := do(c, c.CreateNetworkInterface, shape.CreateNetworkInterfaceRequest{SubnetId: sub, PrivateIpAddress: "10.0.0.20", Ipv4Prefixes: named("10.0.0.64/28")}).NetworkInterface
	if len(first.Ipv4Prefixes) != 1 || first.Ipv4Prefixes[0].Ipv4Prefix != "10.0.0.64/28" {
		t.Errorf("%+v", first)
	}
	if n := do(c, c.DescribeSubnets, shape.DescribeSubnetsRequest{SubnetIds: one(sub)}).Subnets[0].AvailableIpAddressCount; n != before-17 {
		t.Errorf("%d addresses are free, %d were", n, before)
	}
	id := first.NetworkInterfaceId
	// An address of a delegated prefix is nobody else's, whoever asks and however.
	for _, ip := range []string{"10.0.0.64", "10.0.0.79"} {
		refused(c, c.CreateNetworkInterface, shape.CreateNetworkInterfaceRequest{SubnetId: sub, PrivateIpAddress: ip}, "InvalidIPAddress.InUse")
	}
	other := do(c, c.CreateNetworkInterface, shape.CreateNetworkInterfaceRequest{SubnetId: sub, PrivateIpAddress: "10.0.0.40"}).NetworkInterface.NetworkInterfaceId
	assign := shape.AssignPrivateIpAddressesRequest{NetworkInterfaceId: other, Ipv4Prefixes: []string{"10.0.0.64/28"}, AllowReassignment: ptr(true)}
	refused(c, c.AssignPrivateIpAddresses, assign, "InvalidIPAddress.InUse")
	refused(c, c.AssignPrivateIpAddresses, shape.AssignPrivateIpAddressesRequest{NetworkInterfaceId: other, PrivateIpAddresses: []string{"10.0.0.66"}, AllowReassignment: ptr(true)}, "InvalidIPAddress.InUse")
	more := do(c, c.AssignPrivateIpAddresses, shape.AssignPrivateIpAddressesRequest{NetworkInterfaceId: other, Ipv4PrefixCount: ptr(3)})
	if len(more.AssignedIpv4Prefixes) != 3 {
		t.Fatalf("%+v", more)
	}
	for _, p := range more.AssignedIpv4Prefixes { // the six that there are, less those with 10.0.0.20, .40 and the one taken
		if p := netip.MustParsePrefix(p.Ipv4Prefix); p.Bits() != 28 || strings.Contains("10.0.0.0/28 10.0.0.16/28 10.0.0.32/28 10.0.0.64/28 10.0.0.112/28", p.String()) {
			t.Errorf("%v", p)
		}
	}
	refused(c, c.AssignPrivateIpAddresses, shape.AssignPrivateIpAddressesRequest{NetworkInterfaceId: other, Ipv4PrefixCount: ptr(1)}, "InsufficientCidrBlocks")
	refused(c, c.UnassignPrivateIpAddresses, shape.UnassignPrivateIpAddressesRequest{NetworkInterfaceId: other, Ipv4Prefixes: []string{"10.0.0.64/28"}}, "InvalidParameterValue")
	do(c, c.UnassignPrivateIpAddresses, shape.UnassignPrivateIpAddressesRequest{NetworkInterfaceId: id, Ipv4Prefixes: []string{"10.0.0.64/28"}})
	do(c, c.AssignPrivateIpAddresses, assign)
	c.invariants()

	// Each counts as an address of the type's, and types that are not Nitro have none.
	run := shape.RunInstancesRequest{ImageId: c.image, InstanceType: "t3.nano", MinCount: 1, MaxCount: 1, NetworkInterfaces: []shape.InstanceNetworkInterfaceSpecification{
		{DeviceIndex: ptr(0), SubnetId: c.subnet(vpc, "10.0.2.0/24"), Ipv4PrefixCount: ptr(2)},
	}}
	refused(c, c.RunInstances, run, "PrivateIpAddressLimitExceeded")
	run.NetworkInterfaces[0].Ipv4PrefixCount = ptr(1)
	inst := do(c, c.RunInstances, run).Instances[0]
	if n := inst.NetworkInterfaces[0].Ipv4Prefixes; len(n) != 1 {
		t.Errorf("%+v", n)
	}
	refused(c, c.AssignPrivateIpAddresses, shape.AssignPrivateIpAddressesRequest{NetworkInterfaceId: inst.NetworkInterfaces[0].NetworkInterfaceId, Ipv4PrefixCount: ptr(1)}, "PrivateIpAddressLimitExceeded")
	run.InstanceType = "t2.small"
	refused(c, c.RunInstances, run, "UnsupportedOperation")
	old := c.run(1, func(in *shape.RunInstancesRequest) { in.InstanceType, in.SubnetId = "t2.small", sub })[0]
	c.place(old)
	refused(c, c.AttachNetworkInterface, shape.AttachNetworkInterfaceRequest{InstanceId: old, NetworkInterfaceId: other, DeviceIndex: 1}, "UnsupportedOperation")
	c.code("another's interface", second(c.AssignPrivateIpAddresses(c.bob, &assign)), "InvalidNetworkInterfaceID.NotFound")
}

func TestReservations(t *testing.T) {
	c := newCloud(t)
	_, sub := c.vpc("10.0.0.0/16", "10.0.0.0/26")
	reserve := func(kind, block string) shape.CreateSubnetCidrReservationRequest {
		return shape.CreateSubnetCidrReservationRequest{SubnetId: sub, ReservationType: kind, Cidr: block, Description: "d"}
	}
	for code, in := range map[string]shape.CreateSubnetCidrReservationRequest{
		"InvalidParameterValue kind":    reserve("both", "10.0.0.16/28"),
		"InvalidParameterValue outside": reserve("prefix", "10.0.1.16/28"),
		"InvalidParameterValue wider":   reserve("explicit", "10.0.0.0/25"),
		"InvalidParameterValue inner":   reserve("explicit", "10.0.0.17/28"),
		"InvalidParameterValue short":   reserve("prefix", "10.0.0.16/29"),
		"MissingParameter":              reserve("prefix", ""),
	} {
		refused(c, c.CreateSubnetCidrReservation, in, strings.Fields(code)[0])
	}
	prefixes := do(c, c.CreateSubnetCidrReservation, reserve("prefix", "10.0.0.32/28")).SubnetCidrReservation
	explicit := do(c, c.CreateSubnetCidrReservation, reserve("explicit", "10.0.0.16/28")).SubnetCidrReservation
	refused(c, c.CreateSubnetCidrReservation, reserve("explicit", "10.0.0.40/30"), "InvalidSubnetCidrReservation.Conflict")
	// Unasked, addresses come from the rest: 10.0.0.4-15 and 48-62.
	for range 27 {
		e := do(c, c.CreateNetworkInterface, shape.CreateNetworkInterfaceRequest{SubnetId: sub}).NetworkInterface
		if ip := netip.MustParseAddr(e.PrivateIpAddress); netip.MustParsePrefix("10.0.0.16/28").Contains(ip) || netip.MustParsePrefix("10.0.0.32/28").Contains(ip) {
			t.Errorf("%v is reserved", ip)
		}
	}
	refused(c, c.CreateNetworkInterface, shape.CreateNetworkInterfaceRequest{SubnetId: sub}, "InsufficientFreeAddressesInSubnet")
	e := do(c, c.CreateNetworkInterface, shape.CreateNetworkInterfaceRequest{SubnetId: sub, PrivateIpAddress: "10.0.0.20", Ipv4PrefixCount: ptr(1)}).NetworkInterface
	if e.Ipv4Prefixes[0].Ipv4Prefix != "10.0.0.32/28" {
		t.Errorf("%+v", e.Ipv4Prefixes)
	}
	got := do(c, c.GetSubnetCidrReservations, shape.GetSubnetCidrReservationsRequest{SubnetId: sub, Filters: filters("reservationType", "prefix")}).SubnetIpv4CidrReservations
	if len(got) != 1 || got[0].SubnetCidrReservationId != prefixes.SubnetCidrReservationId {
		t.Errorf("%+v", got)
	}
	c.code("another's subnet", second(c.GetSubnetCidrReservations(c.bob, &shape.GetSubnetCidrReservationsRequest{SubnetId: sub})), "InvalidSubnetID.NotFound")
	c.code("another's reservation", second(c.DeleteSubnetCidrReservation(c.bob, &shape.DeleteSubnetCidrReservationRequest{SubnetCidrReservationId: explicit.SubnetCidrReservationId})), "InvalidSubnetCidrReservationID.NotFound")
	do(c, c.DeleteSubnetCidrReservation, shape.DeleteSubnetCidrReservationRequest{SubnetCidrReservationId: explicit.SubnetCidrReservationId})
	if e := do(c, c.CreateNetworkInterface, shape.CreateNetworkInterfaceRequest{SubnetId: sub}).NetworkInterface; !netip.MustParsePrefix("10.0.0.16/28").Contains(netip.MustParseAddr(e.PrivateIpAddress)) {
		t.Errorf("%s", e.PrivateIpAddress)
	}
	for e := range store.InterfacesBySubnet.By(c.Store.Snapshot(), sub) {
		do(c, c.DeleteNetworkInterface, shape.DeleteNetworkInterfaceRequest{NetworkInterfaceId: e.ID})
	}
	do(c, c.DeleteSubnet, shape.DeleteSubnetRequest{SubnetId: sub})
	if n := store.CIDRReservations.Len(c.Store.Snapshot()); n != 0 {
		t.Errorf("%d reservations of a subnet that is gone", n)
	}
}
