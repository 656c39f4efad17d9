package ec2

import (
	"strings"
	"testing"

	shape "karri.dev/internal/aws/shape/ec2"
	"karri.dev/internal/resource"
	"karri.dev/internal/store"
)

// network gives zones of the region another network.
func (c *cloud) network(n resource.ZoneNetwork, zones ...string) error {
	for _, z := range zones {
		if err := c.Store.Update(c.Context(), func(tx *store.Tx) error { return SetZoneNetwork(tx, c.IDs, c.clock(), z, n) }); err != nil {
			return err
		}
	}
	return nil
}

func (c *cloud) instance(id string) shape.Instance {
	c.Helper()
	out := do(c, c.DescribeInstances, shape.DescribeInstancesRequest{InstanceIds: []string{id}})
	return out.Reservations[0].Instances[0]
}

// TestFlatModes: instances on the operator's network are in no VPC, and have nothing that it has not.
func TestFlatModes(t *testing.T) {
	c := newCloud(t)
	first := c.run(1)[0] // in a default VPC
	system := resource.ZoneNetwork{Mode: resource.ModeSystem, Bridge: "br0"}
	if err := c.network(system, "us-east-1a", "us-east-1b"); err == nil {
		t.Fatal("a zone's network changed under an instance")
	}
	do(c, c.TerminateInstances, shape.TerminateInstancesRequest{InstanceIds: []string{first}})
	if err := c.network(system, "us-east-1a", "us-east-1b"); err != nil {
		t.Fatal(err)
	}
	for v := range store.VPCs.All(c.Store.Snapshot()) {
		t.Errorf("the VPC %s is left", v.ID)
	}
	a, b := c.run(1)[0], c.run(1)[0]
	i := c.instance(a)
	if i.VpcId+i.SubnetId+i.PrivateIpAddress+i.PrivateDnsName+i.PublicIpAddress != "" || len(i.NetworkInterfaces)+len(i.SecurityGroups) > 0 {
		t.Errorf("it shows %+v", i)
	}
	snap := c.Store.Snapshot()
	macs := map[string]bool{}
	for _, id := range []string{a, b} {
		e := store.Interfaces.Get(snap, store.Instances.Get(snap, id).Interfaces[0])
		macs[e.MAC] = true
		refused(c, c.AttachNetworkInterface, shape.AttachNetworkInterfaceRequest{NetworkInterfaceId: e.ID, InstanceId: id, DeviceIndex: 1}, "InvalidNetworkInterfaceID.NotFound")
		refused(c, c.AssociateAddress, shape.AssociateAddressRequest{NetworkInterfaceId: e.ID, PublicIp: "203.0.113.1"}, "InvalidAddress.NotFound")
	}
	if len(macs) != 2 {
		t.Errorf("MAC addresses %v", macs)
	}
	launch := shape.RunInstancesRequest{ImageId: c.image, InstanceType: "t3.nano", MinCount: 1, MaxCount: 1}
	with := func(change func(*shape.RunInstancesRequest)) shape.RunInstancesRequest {
		in := launch
		change(&in)
		return in
	}
	refused(c, c.RunInstances, with(func(in *shape.RunInstancesRequest) { in.SecurityGroups = []string{"default"} }), "UnsupportedOperation")
	refused(c, c.RunInstances, with(func(in *shape.RunInstancesRequest) { in.PrivateIpAddress = "10.0.0.9" }), "InvalidParameterCombination")
	refused(c, c.RunInstances, with(func(in *shape.RunInstancesRequest) {
		in.NetworkInterfaces = []shape.InstanceNetworkInterfaceSpecification{{DeviceIndex: new(int)}}
	}), "InvalidParameterCombination")
	refused(c, c.CreateSecurityGroup, shape.CreateSecurityGroupRequest{GroupName: "web", Description: "web"}, "UnsupportedOperation")
	refused(c, c.AllocateAddress, shape.AllocateAddressRequest{}, "UnsupportedOperation")
	refused(c, c.AllocateAddress, shape.AllocateAddressRequest{Domain: "vpc"}, "UnsupportedOperation")
	refused(c, c.CreateVpc, shape.CreateVpcRequest{CidrBlock: "10.0.0.0/16"}, "UnsupportedOperation")
	refused(c, c.CreateVpnGateway, shape.CreateVpnGatewayRequest{Type: "ipsec.1"}, "InvalidParameterValue")
	refused(c, c.CreateDefaultVpc, shape.CreateDefaultVpcRequest{}, "OperationNotPermitted")
	refused(c, c.ModifyInstanceAttribute, shape.ModifyInstanceAttributeRequest{InstanceId: a, Groups: []string{"sg-0123456789abcdef0"}}, "InvalidParameterCombination")

	// STATIC gives the operator's cards, each once.
	do(c, c.TerminateInstances, shape.TerminateInstancesRequest{InstanceIds: []string{a, b}})
	static := resource.ZoneNetwork{
		Mode: resource.ModeStatic, Bridge: "br0", Subnet: "192.168.7.0/24", Router: "192.168.7.1", DNS: []string{"192.168.7.1"},
		MACs: []resource.MACAddress{{MAC: "0a:00:00:00:00:01", IP: "192.168.7.11"}, {MAC: "0a:00:00:00:00:02", IP: "192.168.7.12"}},
	}
	if err := c.network(static, "us-east-1a"); err != nil {
		t.Fatal(err)
	}
	here := func(in *shape.RunInstancesRequest) { in.Placement = &shape.Placement{AvailabilityZone: "us-east-1a"} }
	two := c.run(2, here)
	x, y := c.instance(two[0]), c.instance(two[1])
	if x.PrivateIpAddress == y.PrivateIpAddress || !strings.HasPrefix(x.PrivateIpAddress, "192.168.7.1") || !strings.HasPrefix(y.PrivateIpAddress, "192.168.7.1") {
		t.Errorf("addresses %s and %s", x.PrivateIpAddress, y.PrivateIpAddress)
	}
	refused(c, c.RunInstances, with(here), "InsufficientAddressCapacity")
	fewer := static
	fewer.MACs = static.MACs[:1]
	if err := c.network(fewer, "us-east-1a"); err == nil {
		t.Error("a card in use was taken from the list")
	}
	more := static
	more.MACs = append(more.MACs[:2:2], resource.MACAddress{MAC: "0a:00:00:00:00:03", IP: "192.168.7.13"})
	if err := c.network(more, "us-east-1a"); err != nil {
		t.Error(err)
	}
	c.run(1, here)
	// And back: every account has its default VPC again.
	var all []string
	for i := range store.Instances.All(c.Store.Snapshot()) {
		all = append(all, i.ID)
	}
	do(c, c.TerminateInstances, shape.TerminateInstancesRequest{InstanceIds: all})
	if err := c.network(resource.ZoneNetwork{Mode: resource.ModeVPC}, "us-east-1a", "us-east-1b"); err != nil {
		t.Fatal(err)
	}
	if i := c.instance(c.run(1)[0]); i.VpcId == "" || i.SubnetId == "" {
		t.Errorf("it shows %+v", i)
	}
}

func TestZoneNetworkChecks(t *testing.T) {
	card := []resource.MACAddress{{MAC: "0a:00:00:00:00:01", IP: "192.168.7.11"}}
	good := resource.ZoneNetwork{Mode: resource.ModeStatic, Bridge: "br0", Subnet: "192.168.7.0/24", Router: "192.168.7.1", MACs: card}
	if err := good.Check(); err != nil {
		t.Fatal(err)
	}
	for name, spoil := range map[string]func(*resource.ZoneNetwork){
		"mode":           func(n *resource.ZoneNetwork) { n.Mode = "BRIDGED" },
		"no bridge":      func(n *resource.ZoneNetwork) { n.Bridge = "" },
		"a path":         func(n *resource.ZoneNetwork) { n.Bridge = "../br0" },
		"host bits":      func(n *resource.ZoneNetwork) { n.Subnet = "192.168.7.1/24" },
		"router outside": func(n *resource.ZoneNetwork) { n.Router = "192.168.8.1" },
		"name server":    func(n *resource.ZoneNetwork) { n.DNS = []string{"ns1"} },
		"no cards":       func(n *resource.ZoneNetwork) { n.MACs = nil },
		"twice":          func(n *resource.ZoneNetwork) { n.MACs = append(card[:1:1], card[0]) },
		"multicast": func(n *resource.ZoneNetwork) {
			n.MACs = []resource.MACAddress{{MAC: "01:00:00:00:00:01", IP: "192.168.7.11"}}
		},
		"the router's": func(n *resource.ZoneNetwork) {
			n.MACs = []resource.MACAddress{{MAC: "0a:00:00:00:00:01", IP: "192.168.7.1"}}
		},
		"outside": func(n *resource.ZoneNetwork) {
			n.MACs = []resource.MACAddress{{MAC: "0a:00:00:00:00:01", IP: "10.0.0.1"}}
		},
		"group's size":  func(n *resource.ZoneNetwork) { n.GroupAddresses = 32 },
		"SYSTEM's list": func(n *resource.ZoneNetwork) { n.Mode = resource.ModeSystem },
	} {
		n := good
		spoil(&n)
		if n.Check() == nil {
			t.Errorf("%s: no error", name)
		}
	}
}
