package sim

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"karri.dev/internal/aws/awserr"
	shape "karri.dev/internal/aws/shape/ec2"
	"karri.dev/internal/network"
	"karri.dev/internal/network/netlab"
	"karri.dev/internal/network/netns"
	"karri.dev/internal/placement"
	"karri.dev/internal/resource"
	"karri.dev/internal/store"
)

// packets is a simulated cloud whose nodes have real networks: what is asked of the API is true when packets say so.
// Guests are namespaces on the taps of instances that do not run.
type packets struct {
	*testing.T
	*Cloud
	hosts  []*netlab.Space
	alice  context.Context
	bob    context.Context
	guests map[string]*netlab.Guest // by interface
}

var drivers atomic.Int64

// with changes how hosts are.
func newPackets(t *testing.T, nodes int, with ...func(host *netlab.Space, n int, cfg *netns.Config)) *packets {
	t.Helper()
	netlab.NeedRoot(t)
	p := &packets{T: t, guests: map[string]*netlab.Guest{}}
	wire := netlab.New(t) // between the hosts
	wire.Run("ip", "link", "add", "br0", "type", "bridge")
	wire.Run("ip", "link", "set", "br0", "up")
	log := slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelWarn}))
	var err error
	p.Cloud, err = New(t.Context(), Config{
		Nodes: nodes, Accounts: 3, Placement: placement.RoundRobin, Log: log, RatePerSecond: -1, NodeGrace: time.Second,
		Network: func(n int, underlay netip.Addr) (network.Driver, error) {
			host := netlab.New(t)
			p.hosts = append(p.hosts, host)
			host.Run("ip", "link", "add", "u0", "type", "veth", "peer", "name", fmt.Sprintf("p%d", n), "netns", wire.Name)
			host.Run("ip", "addr", "add", underlay.String()+"/16", "dev", "u0")
			host.Run("ip", "link", "set", "u0", "up")
			wire.Run("ip", "link", "set", fmt.Sprintf("p%d", n), "master", "br0", "up")
			name := fmt.Sprintf("s%dx%d", drivers.Add(1), os.Getpid()%10000)
			cfg := netns.Config{Name: name, HostNamespace: host.Path(), Underlay: underlay, Verify: -1}
			for _, f := range with {
				f(host, n, &cfg)
			}
			d, err := netns.New(cfg, netns.Deps{Log: log})
			if err == nil {
				t.Cleanup(func() {
					if err := d.Destroy(context.Background()); err != nil {
						t.Error(err)
					}
					d.Close()
				})
			}
			return d, err
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- p.Cloud.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		<-ended
		if err := p.Check(); err != nil {
			t.Error(err)
		}
		p.Close()
	})
	p.alice, p.bob = p.As(ctx, p.Accounts[1]), p.As(ctx, p.Accounts[2])
	return p
}

// ask calls an operation that must succeed.
func ask[In, Out any](p *packets, ctx context.Context, op func(context.Context, *In) (*Out, error), in In) *Out {
	p.Helper()
	out, err := op(ctx, &in)
	if err != nil {
		p.Fatalf("%T: %v", in, err)
	}
	return out
}

// deny calls an operation that must fail with a code.
func deny[In, Out any](p *packets, ctx context.Context, op func(context.Context, *In) (*Out, error), in In, code string) {
	p.Helper()
	if _, err := op(ctx, &in); awserr.Code(err) != code {
		p.Errorf("%T: %v, want %s", in, err, code)
	}
}

// eventually waits for what must come.
func (p *packets) eventually(what string, ok func() bool) {
	p.Helper()
	for end := time.Now().Add(30 * time.Second); !ok(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			p.Fatalf("waited in vain: %s", what)
		}
	}
}

// vpc makes a VPC whose default group lets everything in.
func (p *packets) vpc(ctx context.Context, block string) *resource.VPC {
	p.Helper()
	id := ask(p, ctx, p.Role.EC2.CreateVpc, shape.CreateVpcRequest{CidrBlock: block}).Vpc.VpcId
	v := store.VPCs.Get(p.Store.Snapshot(), id)
	p.open(ctx, v.DefaultGroup, "0.0.0.0/0")
	return v
}

// open lets a block, or the members of a group, call a group.
func (p *packets) open(ctx context.Context, group, from string) {
	p.Helper()
	rule := shape.IpPermission{IpProtocol: "-1"}
	if strings.HasPrefix(from, "sg-") {
		rule.UserIdGroupPairs = []shape.UserIdGroupPair{{GroupId: from}}
	} else {
		rule.IpRanges = []shape.IpRange{{CidrIp: from}}
	}
	ask(p, ctx, p.Role.EC2.AuthorizeSecurityGroupIngress, shape.AuthorizeSecurityGroupIngressRequest{GroupId: group, IpPermissions: []shape.IpPermission{rule}})
}

func (p *packets) subnet(ctx context.Context, v *resource.VPC, block string) string {
	p.Helper()
	return ask(p, ctx, p.Role.EC2.CreateSubnet, shape.CreateSubnetRequest{VpcId: v.ID, CidrBlock: block}).Subnet.SubnetId
}

// internet gives a VPC an internet gateway and a route table that leads there.
func (p *packets) internet(ctx context.Context, v *resource.VPC) (table string) {
	p.Helper()
	igw := ask(p, ctx, p.Role.EC2.CreateInternetGateway, shape.CreateInternetGatewayRequest{}).InternetGateway.InternetGatewayId
	ask(p, ctx, p.Role.EC2.AttachInternetGateway, shape.AttachInternetGatewayRequest{InternetGatewayId: igw, VpcId: v.ID})
	table = ask(p, ctx, p.Role.EC2.CreateRouteTable, shape.CreateRouteTableRequest{VpcId: v.ID}).RouteTable.RouteTableId
	ask(p, ctx, p.Role.EC2.CreateRoute, shape.CreateRouteRequest{RouteTableId: table, DestinationCidrBlock: "0.0.0.0/0", GatewayId: igw})
	return table
}

// launch runs an instance in a subnet and gives its primary interface, with a guest on it that listens on port 7.
func (p *packets) launch(ctx context.Context, subnet string, change ...func(*shape.RunInstancesRequest)) (*resource.Interface, *netlab.Guest) {
	p.Helper()
	in := shape.RunInstancesRequest{ImageId: p.Image, InstanceType: "t3.small", MinCount: 1, MaxCount: 1, SubnetId: subnet}
	for _, f := range change {
		f(&in)
	}
	id := ask(p, ctx, p.Role.EC2.RunInstances, in).Instances[0].InstanceId
	p.eventually("instance runs", func() bool { return store.Instances.Get(p.Store.Snapshot(), id).State == resource.Running })
	eni := store.Instances.Get(p.Store.Snapshot(), id).Interfaces[0]
	return p.plug(eni)
}

// plug puts a guest on an instance's interface.
func (p *packets) plug(eni string) (*resource.Interface, *netlab.Guest) {
	p.Helper()
	e := store.Interfaces.Get(p.Store.Snapshot(), eni)
	n := p.nodeOf(e.InstanceID)
	tap, err := n.network.OpenTap(p.Context(), eni)
	p.eventually("tap", func() bool {
		if err != nil {
			tap, err = n.network.OpenTap(p.Context(), eni)
		}
		return err == nil
	})
	g := netlab.Plug(p, tap, e.MAC, n.network.MTU())
	g.Address(e.PrivateIP, netip.MustParsePrefix(store.Subnets.Get(p.Store.Snapshot(), e.SubnetID).CIDR))
	g.Listen(7)
	p.guests[eni] = g
	return e, g
}

func (p *packets) nodeOf(instance string) *Node {
	p.Helper()
	inst := store.Instances.Get(p.Store.Snapshot(), instance)
	for _, n := range p.Nodes {
		if n.ID == inst.Node {
			return n
		}
	}
	p.Fatalf("instance %s is on %q", instance, inst.Node)
	return nil
}

func TestPeeringByPackets(t *testing.T) {
	p := newPackets(t, 2)
	ec2 := p.Role.EC2
	one, two := p.vpc(p.alice, "10.0.0.0/16"), p.vpc(p.bob, "10.1.0.0/16")
	subOne, subTwo := p.subnet(p.alice, one, "10.0.0.0/24"), p.subnet(p.bob, two, "10.1.0.0/24")
	// Two on each side: by turns on both nodes, so that one pair shares a node and one does not.
	a1, ga := p.launch(p.alice, subOne)
	b1, gb := p.launch(p.bob, subTwo)
	_, ga2 := p.launch(p.alice, subOne)
	b2, _ := p.launch(p.bob, subTwo)

	pcx := ask(p, p.alice, ec2.CreateVpcPeeringConnection, shape.CreateVpcPeeringConnectionRequest{VpcId: one.ID, PeerVpcId: two.ID, PeerOwnerId: two.AccountID}).VpcPeeringConnection.VpcPeeringConnectionId
	ask(p, p.alice, ec2.CreateRoute, shape.CreateRouteRequest{RouteTableId: one.MainRouteTable, DestinationCidrBlock: "10.1.0.0/16", VpcPeeringConnectionId: pcx})
	ga.CannotReach(b1.PrivateIP + ":7")
	deny(p, p.alice, ec2.AcceptVpcPeeringConnection, shape.AcceptVpcPeeringConnectionRequest{VpcPeeringConnectionId: pcx}, "OperationNotPermitted")
	ask(p, p.bob, ec2.AcceptVpcPeeringConnection, shape.AcceptVpcPeeringConnectionRequest{VpcPeeringConnectionId: pcx})
	ga.CannotReach(b1.PrivateIP + ":7") // there is no way back
	ask(p, p.bob, ec2.CreateRoute, shape.CreateRouteRequest{RouteTableId: two.MainRouteTable, DestinationCidrBlock: "10.0.0.0/24", VpcPeeringConnectionId: pcx})
	for _, to := range []*resource.Interface{b1, b2} {
		if seen := ga.Reaches(to.PrivateIP + ":7"); seen != a1.PrivateIP {
			t.Errorf("%s saw %s", to.PrivateIP, seen)
		}
		ga2.Reaches(to.PrivateIP + ":7")
	}
	gb.Reaches(a1.PrivateIP + ":7")

	// A group of the peer in a rule, and nothing else.
	group := ask(p, p.bob, ec2.CreateSecurityGroup, shape.CreateSecurityGroupRequest{GroupName: "web", Description: "web", VpcId: two.ID}).GroupId
	ask(p, p.bob, ec2.ModifyNetworkInterfaceAttribute, shape.ModifyNetworkInterfaceAttributeRequest{NetworkInterfaceId: b1.ID, Groups: []string{group}})
	ga.CannotReach(b1.PrivateIP + ":7")
	p.open(p.bob, group, one.DefaultGroup)
	ga.Reaches(b1.PrivateIP + ":7")
	ga2.Reaches(b1.PrivateIP + ":7")
	// A new member of the group, on whichever node.
	_, ga3 := p.launch(p.alice, subOne)
	ga3.Reaches(b1.PrivateIP + ":7")

	ask(p, p.alice, ec2.DeleteVpcPeeringConnection, shape.DeleteVpcPeeringConnectionRequest{VpcPeeringConnectionId: pcx})
	ga.CannotReach(b1.PrivateIP + ":7")
	ga2.CannotReach(b2.PrivateIP + ":7")
	gb.CannotReach(a1.PrivateIP + ":7")
}

func TestRoutesByPackets(t *testing.T) {
	p := newPackets(t, 2)
	ec2 := p.Role.EC2
	v := p.vpc(p.alice, "10.0.0.0/16")
	front, back := p.subnet(p.alice, v, "10.0.0.0/24"), p.subnet(p.alice, v, "10.0.1.0/24")
	a, ga := p.launch(p.alice, front)
	b, gb := p.launch(p.alice, back) // on the other node
	// b stands for a network behind it.
	gb.Run("ip", "addr", "add", "192.168.7.7/32", "dev", "lo")
	table := v.MainRouteTable
	ask(p, p.alice, ec2.CreateRoute, shape.CreateRouteRequest{RouteTableId: table, DestinationCidrBlock: "192.168.7.0/24", NetworkInterfaceId: b.ID})
	ga.CannotReach("192.168.7.7:7") // b checks what it gets
	ask(p, p.alice, ec2.ModifyNetworkInterfaceAttribute, shape.ModifyNetworkInterfaceAttributeRequest{NetworkInterfaceId: b.ID, SourceDestCheck: &shape.AttributeBooleanValue{Value: new(bool)}})
	if seen := ga.Reaches("192.168.7.7:7"); seen != a.PrivateIP {
		t.Errorf("seen as %s", seen)
	}
	ask(p, p.alice, ec2.ResetNetworkInterfaceAttribute, shape.ResetNetworkInterfaceAttributeRequest{NetworkInterfaceId: b.ID, SourceDestCheck: "true"})
	ga.CannotReach("192.168.7.7:7")

	// Secondary addresses come and go while the guests run.
	extra := ask(p, p.alice, ec2.AssignPrivateIpAddresses, shape.AssignPrivateIpAddressesRequest{NetworkInterfaceId: b.ID, PrivateIpAddresses: []string{"10.0.1.77"}})
	if len(extra.AssignedPrivateIpAddresses) != 1 {
		t.Fatal(extra)
	}
	gb.Run("ip", "addr", "add", "10.0.1.77/32", "dev", "eth0")
	ga.Reaches("10.0.1.77:7")
	ask(p, p.alice, ec2.UnassignPrivateIpAddresses, shape.UnassignPrivateIpAddressesRequest{NetworkInterfaceId: b.ID, PrivateIpAddresses: []string{"10.0.1.77"}})
	ga.CannotReach("10.0.1.77:7")
}

// nat makes a NAT gateway and waits until it is available.
func (p *packets) nat(ctx context.Context, in shape.CreateNatGatewayRequest) string {
	p.Helper()
	id := ask(p, ctx, p.Role.EC2.CreateNatGateway, in).NatGateway.NatGatewayId
	p.eventually("NAT gateway available", func() bool { return store.NATGateways.Get(p.Store.Snapshot(), id).State == resource.NATAvailable })
	return id
}

func TestNATByPackets(t *testing.T) {
	p := newPackets(t, 2)
	ec2 := p.Role.EC2
	v := p.vpc(p.alice, "10.0.0.0/16")
	public, private := p.subnet(p.alice, v, "10.0.0.0/24"), p.subnet(p.alice, v, "10.0.1.0/24")
	table := p.internet(p.alice, v)
	ask(p, p.alice, ec2.AssociateRouteTable, shape.AssociateRouteTableRequest{RouteTableId: table, SubnetId: public})
	// Somebody on the internet: another VPC's instance with a public address.
	w := p.vpc(p.bob, "10.0.0.0/16")
	ask(p, p.bob, ec2.CreateRoute, shape.CreateRouteRequest{RouteTableId: p.internet(p.bob, w), DestinationCidrBlock: "1.2.3.0/24", GatewayId: store.InternetGatewaysByVPC.One(p.Store.Snapshot(), w.ID).ID})
	outside := p.subnet(p.bob, w, "10.0.0.0/24")
	for t := range store.RouteTablesByVPC.By(p.Store.Snapshot(), w.ID) {
		if !t.Main {
			ask(p, p.bob, ec2.AssociateRouteTable, shape.AssociateRouteTableRequest{RouteTableId: t.ID, SubnetId: outside})
		}
	}
	ask(p, p.bob, ec2.ModifySubnetAttribute, shape.ModifySubnetAttributeRequest{SubnetId: outside, MapPublicIpOnLaunch: &shape.AttributeBooleanValue{Value: ptr(true)}})
	server, gs := p.launch(p.bob, outside)
	_, ga := p.launch(p.alice, private)
	_, gb := p.launch(p.alice, private) // on the other node
	far := server.PublicIP + ":7"
	ga.CannotReach(far)

	eip := ask(p, p.alice, ec2.AllocateAddress, shape.AllocateAddressRequest{})
	nat := p.nat(p.alice, shape.CreateNatGatewayRequest{SubnetId: public, AllocationId: eip.AllocationId})
	ask(p, p.alice, ec2.CreateRoute, shape.CreateRouteRequest{RouteTableId: v.MainRouteTable, DestinationCidrBlock: "0.0.0.0/0", NatGatewayId: nat})
	// Public addresses are one host's only in this lab: the gateway and the server must share one.
	serverNode, natNode := p.nodeOf(server.InstanceID).ID, store.NATGateways.Get(p.Store.Snapshot(), nat).Node
	if serverNode != natNode {
		t.Logf("moving the NAT gateway from %s to %s", natNode, serverNode)
		p.down(natNode)
		p.eventually("NAT gateway moves", func() bool { return store.NATGateways.Get(p.Store.Snapshot(), nat).Node == serverNode })
		p.up(natNode)
	}
	for _, g := range []*netlab.Guest{ga, gb} {
		if seen := g.Reaches(far); seen != eip.PublicIp {
			t.Errorf("seen as %s, want %s", seen, eip.PublicIp)
		}
	}
	gs.CannotReach(eip.PublicIp + ":7")
	ask(p, p.alice, ec2.DeleteNatGateway, shape.DeleteNatGatewayRequest{NatGatewayId: nat})
	ga.CannotReach(far)
	p.eventually("NAT gateway deleted", func() bool { return store.NATGateways.Get(p.Store.Snapshot(), nat).State == resource.NATDeleted })
	ask(p, p.alice, ec2.ReleaseAddress, shape.ReleaseAddressRequest{AllocationId: eip.AllocationId})
}

// A NAT gateway goes on where its node does not.
func TestNATFailoverByPackets(t *testing.T) {
	p := newPackets(t, 2)
	ec2 := p.Role.EC2
	v := p.vpc(p.alice, "10.0.0.0/16")
	front, back := p.subnet(p.alice, v, "10.0.0.0/24"), p.subnet(p.alice, v, "10.0.1.0/24")
	private := ask(p, p.alice, ec2.CreateRouteTable, shape.CreateRouteTableRequest{VpcId: v.ID}).RouteTable.RouteTableId
	ask(p, p.alice, ec2.AssociateRouteTable, shape.AssociateRouteTableRequest{RouteTableId: private, SubnetId: back})
	// A peer that knows of the first subnet only: others reach it through a private NAT gateway.
	w := p.vpc(p.bob, "10.1.0.0/16")
	theirs := p.subnet(p.bob, w, "10.1.0.0/24")
	pcx := ask(p, p.alice, ec2.CreateVpcPeeringConnection, shape.CreateVpcPeeringConnectionRequest{VpcId: v.ID, PeerVpcId: w.ID, PeerOwnerId: w.AccountID}).VpcPeeringConnection.VpcPeeringConnectionId
	ask(p, p.bob, ec2.AcceptVpcPeeringConnection, shape.AcceptVpcPeeringConnectionRequest{VpcPeeringConnectionId: pcx})
	ask(p, p.alice, ec2.CreateRoute, shape.CreateRouteRequest{RouteTableId: v.MainRouteTable, DestinationCidrBlock: "10.1.0.0/16", VpcPeeringConnectionId: pcx})
	ask(p, p.bob, ec2.CreateRoute, shape.CreateRouteRequest{RouteTableId: w.MainRouteTable, DestinationCidrBlock: "10.0.0.0/24", VpcPeeringConnectionId: pcx})
	nat := p.nat(p.alice, shape.CreateNatGatewayRequest{SubnetId: front, ConnectivityType: "private", PrivateIpAddress: "10.0.0.50"})
	ask(p, p.alice, ec2.CreateRoute, shape.CreateRouteRequest{RouteTableId: private, DestinationCidrBlock: "10.1.0.0/16", NatGatewayId: nat})
	server, _ := p.launch(p.bob, theirs)
	_, client := p.launch(p.alice, back)
	if p.nodeOf(server.InstanceID).ID == store.NATGateways.Get(p.Store.Snapshot(), nat).Node {
		t.Log("the server is on the gateway's node")
	}
	if seen := client.Reaches(server.PrivateIP + ":7"); seen != "10.0.0.50" {
		t.Errorf("seen as %s", seen)
	}
	was := store.NATGateways.Get(p.Store.Snapshot(), nat).Node
	p.down(was)
	p.eventually("NAT gateway moves", func() bool { return store.NATGateways.Get(p.Store.Snapshot(), nat).Node != was })
	p.up(was)
	if seen := client.Reaches(server.PrivateIP + ":7"); seen != "10.0.0.50" {
		t.Errorf("seen as %s", seen)
	}
	if g := store.NATGateways.Get(p.Store.Snapshot(), nat); g.State != resource.NATAvailable || g.Node == was {
		t.Errorf("%+v", g)
	}
}

// down cuts a node off until it counts as down; what it has goes on.
func (p *packets) down(id string) {
	p.Helper()
	p.byID(id).Disconnect()
	p.eventually("node is down", func() bool { return !store.Nodes.Get(p.Store.Snapshot(), id).Up })
}

func (p *packets) up(id string) {
	p.Helper()
	p.byID(id).Reconnect()
	p.eventually("node is up", func() bool { return store.Nodes.Get(p.Store.Snapshot(), id).Up })
}

func (p *packets) byID(id string) *Node {
	for _, n := range p.Nodes {
		if n.ID == id {
			return n
		}
	}
	p.Fatalf("no node %s", id)
	return nil
}

func ptr[T any](v T) *T { return &v }

// An interface is plugged into a running instance and out of it again: packets follow.
func TestHotPlugByPackets(t *testing.T) {
	p := newPackets(t, 2)
	ec2 := p.Role.EC2
	v := p.vpc(p.alice, "10.0.0.0/16")
	front, back := p.subnet(p.alice, v, "10.0.0.0/24"), p.subnet(p.alice, v, "10.0.1.0/24")
	a, _ := p.launch(p.alice, front)
	_, gb := p.launch(p.alice, front)
	eni := ask(p, p.alice, ec2.CreateNetworkInterface, shape.CreateNetworkInterfaceRequest{SubnetId: back}).NetworkInterface
	state := func() string { return store.Interfaces.Get(p.Store.Snapshot(), eni.NetworkInterfaceId).AttachState }
	for range 2 {
		gb.CannotReach(eni.PrivateIpAddress + ":7")
		assoc := ask(p, p.alice, ec2.AttachNetworkInterface, shape.AttachNetworkInterfaceRequest{InstanceId: a.InstanceID, NetworkInterfaceId: eni.NetworkInterfaceId, DeviceIndex: 1}).AttachmentId
		p.eventually("attached", func() bool { return state() == "" })
		_, second := p.plug(eni.NetworkInterfaceId)
		gb.Reaches(eni.PrivateIpAddress + ":7")
		ask(p, p.alice, ec2.DetachNetworkInterface, shape.DetachNetworkInterfaceRequest{AttachmentId: assoc})
		p.eventually("detached", func() bool {
			return store.Interfaces.Get(p.Store.Snapshot(), eni.NetworkInterfaceId).InstanceID == ""
		})
		gb.CannotReach(eni.PrivateIpAddress + ":7")
		second.Unplug()
	}
}
