package ec2

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"karri.dev/internal/aws/awserr"
	shape "karri.dev/internal/aws/shape/ec2"
	"karri.dev/internal/resource"
	"karri.dev/internal/store"
)

// TestVPCsAtRandom makes and deletes what is in VPCs in any order. Whatever the API takes leaves no reference to what is
// gone, and what it refuses it refuses with AWS's words for that.
func TestVPCsAtRandom(t *testing.T) {
	for seed := range uint64(20) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			w := &walk{cloud: newCloud(t), rnd: rand.New(rand.NewPCG(seed, 1)), took: map[string]int{}, home: map[string]string{}}
			c := w.cloud
			for range 400 {
				w.step()
				w.references()
			}
			c.invariants()
			if err := c.Store.Snapshot().Check(); err != nil {
				t.Fatal(err)
			}
			made := 0
			for _, n := range w.took {
				made += n
			}
			if made < 100 {
				t.Errorf("only %d calls were taken: %v", made, w.took)
			}
		})
	}
}

// walk is a cloud and a way through its calls.
type walk struct {
	*cloud
	rnd  *rand.Rand
	took map[string]int    // calls that were taken, by operation
	home map[string]string // groups' VPCs, also of those that are gone
}

// refusals are what AWS says of something that is in use, not there, there already, of another VPC, or not now.
var refusals = []string{
	"DependencyViolation", ".NotFound", "NotFound", "InUse", "AlreadyExists", "AlreadyAssociated", "Conflict", "InvalidParameterValue", "InvalidSubnet.Range", "CannotDelete",
	"Gateway.NotAttached", "LimitExceeded", "IncorrectState", "OperationNotPermitted", "AuthFailure", "InvalidStateTransition", "InvalidGroup.", "InvalidPermission.Duplicate", "InsufficientFreeAddressesInSubnet",
}

// try calls an operation; an error must be one of the refusals.
func try[In, Out any](w *walk, op func(context.Context, *In) (*Out, error), in In) {
	w.Helper()
	name := strings.TrimPrefix(fmt.Sprintf("%T", in), "ec2.")
	_, err := op(w.alice, &in)
	if err == nil {
		w.took[name]++
		return
	}
	if code := awserr.Code(err); !slices.ContainsFunc(refusals, func(r string) bool { return strings.Contains(code, r) }) {
		w.Fatalf("%s %+v: %v", name, in, err)
	}
}

// anyOf gives some id of a kind that alice has, or one that does not exist.
func anyOf[T any](w *walk, k *kind[T]) string {
	var all []string
	for v := range k.owner.By(w.Store.Snapshot(), alice+"/"+east) {
		all = append(all, k.id(v))
	}
	if len(all) == 0 || w.rnd.IntN(20) == 0 {
		return k.prefix + "0123456789abcdef0"
	}
	return all[w.rnd.IntN(len(all))]
}

func (w *walk) peering() string {
	for p := range store.PeeringsBySide.By(w.Store.Snapshot(), alice+"/"+east) {
		if w.rnd.IntN(3) == 0 {
			return p.ID
		}
	}
	return "pcx-0123456789abcdef0"
}

// block gives some range inside 10.0.0.0/14.
func (w *walk) block(bits int) string {
	return fmt.Sprintf("10.%d.%d.0/%d", w.rnd.IntN(4), w.rnd.IntN(4)*16, bits)
}

func (w *walk) step() {
	c := w.cloud
	steps := []func(){
		func() {
			try(w, c.CreateVpc, shape.CreateVpcRequest{CidrBlock: fmt.Sprintf("10.%d.0.0/16", w.rnd.IntN(4))})
		},
		func() { try(w, c.DeleteVpc, shape.DeleteVpcRequest{VpcId: anyOf(w, vpcs)}) },
		func() {
			try(w, c.CreateSubnet, shape.CreateSubnetRequest{VpcId: anyOf(w, vpcs), CidrBlock: w.block(24)})
		},
		func() { try(w, c.DeleteSubnet, shape.DeleteSubnetRequest{SubnetId: anyOf(w, subnets)}) },
		func() { try(w, c.CreateInternetGateway, shape.CreateInternetGatewayRequest{}) },
		func() {
			try(w, c.DeleteInternetGateway, shape.DeleteInternetGatewayRequest{InternetGatewayId: anyOf(w, gateways)})
		},
		func() {
			try(w, c.AttachInternetGateway, shape.AttachInternetGatewayRequest{InternetGatewayId: anyOf(w, gateways), VpcId: anyOf(w, vpcs)})
		},
		func() {
			igw := anyOf(w, gateways)
			vpc := anyOf(w, vpcs)
			if g := store.InternetGateways.Get(c.Store.Snapshot(), igw); g != nil && g.VPCID != "" {
				vpc = g.VPCID
			}
			try(w, c.DetachInternetGateway, shape.DetachInternetGatewayRequest{InternetGatewayId: igw, VpcId: vpc})
		},
		func() { try(w, c.CreateRouteTable, shape.CreateRouteTableRequest{VpcId: anyOf(w, vpcs)}) },
		func() { try(w, c.DeleteRouteTable, shape.DeleteRouteTableRequest{RouteTableId: anyOf(w, routeTables)}) },
		func() {
			try(w, c.AssociateRouteTable, shape.AssociateRouteTableRequest{RouteTableId: anyOf(w, routeTables), SubnetId: anyOf(w, subnets)})
		},
		w.route, w.route,
		func() {
			try(w, c.CreateNetworkInterface, shape.CreateNetworkInterfaceRequest{SubnetId: anyOf(w, subnets), SecondaryPrivateIpAddressCount: ptr(1 + w.rnd.IntN(3))})
		},
		func() {
			try(w, c.DeleteNetworkInterface, shape.DeleteNetworkInterfaceRequest{NetworkInterfaceId: anyOf(w, interfaces)})
		},
		func() { try(w, c.AllocateAddress, shape.AllocateAddressRequest{}) },
		func() { try(w, c.ReleaseAddress, shape.ReleaseAddressRequest{AllocationId: anyOf(w, addresses)}) },
		func() {
			try(w, c.AssociateAddress, shape.AssociateAddressRequest{AllocationId: anyOf(w, addresses), NetworkInterfaceId: anyOf(w, interfaces)})
		},
		func() {
			try(w, c.CreateNatGateway, shape.CreateNatGatewayRequest{SubnetId: anyOf(w, subnets), AllocationId: anyOf(w, addresses)})
		},
		func() {
			try(w, c.CreateNatGateway, shape.CreateNatGatewayRequest{SubnetId: anyOf(w, subnets), ConnectivityType: "private"})
		},
		func() { try(w, c.DeleteNatGateway, shape.DeleteNatGatewayRequest{NatGatewayId: anyOf(w, natGateways)}) },
		w.zone,
		func() {
			try(w, c.CreateSecurityGroup, shape.CreateSecurityGroupRequest{GroupName: fmt.Sprint("g", w.rnd.IntN(9)), Description: "d", VpcId: anyOf(w, vpcs)})
		},
		func() { try(w, c.DeleteSecurityGroup, shape.DeleteSecurityGroupRequest{GroupId: anyOf(w, groups)}) },
		func() {
			try(w, c.AuthorizeSecurityGroupIngress, shape.AuthorizeSecurityGroupIngressRequest{GroupId: anyOf(w, groups), IpPermissions: []shape.IpPermission{{
				IpProtocol: "tcp", FromPort: ptr(1), ToPort: ptr(1), UserIdGroupPairs: []shape.UserIdGroupPair{{GroupId: anyOf(w, groups)}},
			}}})
		},
		func() {
			try(w, c.CreateVpcPeeringConnection, shape.CreateVpcPeeringConnectionRequest{VpcId: anyOf(w, vpcs), PeerVpcId: anyOf(w, vpcs)})
		},
		func() {
			try(w, c.AcceptVpcPeeringConnection, shape.AcceptVpcPeeringConnectionRequest{VpcPeeringConnectionId: w.peering()})
		},
		func() {
			try(w, c.DeleteVpcPeeringConnection, shape.DeleteVpcPeeringConnectionRequest{VpcPeeringConnectionId: w.peering()})
		},
		func() { try(w, c.CreateNetworkAcl, shape.CreateNetworkAclRequest{VpcId: anyOf(w, vpcs)}) },
		func() { try(w, c.DeleteNetworkAcl, shape.DeleteNetworkAclRequest{NetworkAclId: anyOf(w, acls)}) },
	}
	steps[w.rnd.IntN(len(steps))]()
}

// route adds a route to something.
func (w *walk) route() {
	in := shape.CreateRouteRequest{RouteTableId: anyOf(w, routeTables), DestinationCidrBlock: w.block([]int{0, 8, 16, 24}[w.rnd.IntN(4)])}
	switch w.rnd.IntN(4) {
	case 0:
		in.GatewayId = anyOf(w, gateways)
	case 1:
		in.NatGatewayId = anyOf(w, natGateways)
	case 2:
		in.NetworkInterfaceId = anyOf(w, interfaces)
	case 3:
		in.VpcPeeringConnectionId = w.peering()
	}
	try(w, w.cloud.CreateRoute, in)
}

// zone does to NAT gateways what their zone does.
func (w *walk) zone() {
	for g := range store.NATGatewaysByOwner.By(w.Store.Snapshot(), alice+"/"+east) {
		switch {
		case g.State == resource.NATPending:
			w.onNode(g.ID)
		case g.State == resource.NATDeleting:
			w.offNode(g.ID)
		}
	}
}

// references demands that everything that is named is there; only routes may lead to what is gone, and are black holes.
func (w *walk) references() {
	w.Helper()
	r := w.Store.Snapshot()
	vpc := func(of, id string) *resource.VPC {
		v := store.VPCs.Get(r, id)
		if v == nil {
			w.Fatalf("%s is in %s, which is gone", of, id)
		}
		return v
	}
	for v := range store.VPCs.All(r) {
		if t := store.RouteTables.Get(r, v.MainRouteTable); t == nil || !t.Main || t.VPCID != v.ID {
			w.Fatalf("%s has the main table %+v", v.ID, t)
		}
		if g := store.SecurityGroups.Get(r, v.DefaultGroup); g == nil || g.VPCID != v.ID || store.NetworkACLs.Get(r, v.DefaultACL) == nil {
			w.Fatalf("%s has lost its default group or ACL", v.ID)
		}
	}
	for s := range store.Subnets.All(r) {
		vpc(s.ID, s.VPCID)
		if a := store.NetworkACLs.Get(r, s.NetworkACL); a == nil || a.VPCID != s.VPCID {
			w.Fatalf("%s has the ACL %q", s.ID, s.NetworkACL)
		}
	}
	for e := range store.Interfaces.All(r) {
		vpc(e.ID, e.VPCID)
		if store.Subnets.Get(r, e.SubnetID) == nil {
			w.Fatalf("%s is in %s, which is gone", e.ID, e.SubnetID)
		}
		for _, g := range e.Groups {
			if store.SecurityGroups.Get(r, g) == nil {
				w.Fatalf("%s is in the group %s, which is gone", e.ID, g)
			}
		}
		if e.PublicIP != "" && store.InternetGatewaysByVPC.One(r, e.VPCID) == nil {
			w.Fatalf("%s has a public address without an internet gateway", e.ID)
		}
	}
	for g := range store.NATGateways.All(r) {
		if e := store.Interfaces.Get(r, g.InterfaceID); g.Alive() != (e != nil) {
			w.Fatalf("%+v has the interface %+v", g, e)
		}
	}
	for a := range store.Addresses.All(r) {
		if g := store.NATGateways.Get(r, a.ManagedBy); a.ManagedBy != "" && (g == nil || !g.Alive()) {
			w.Fatalf("%+v is kept by %+v", a, g)
		}
	}
	for t := range store.RouteTables.All(r) {
		v := vpc(t.ID, t.VPCID)
		for _, a := range t.Associations {
			if s := store.Subnets.Get(r, a.SubnetID); s == nil || s.VPCID != v.ID {
				w.Fatalf("%s is associated with %s, which is not there", t.ID, a.SubnetID)
			}
		}
		for _, route := range shapeTable(r, t).Routes {
			there := route.GatewayId == "local" || store.InternetGateways.Get(r, route.GatewayId) != nil || store.NATGateways.Get(r, route.NatGatewayId) != nil ||
				store.Interfaces.Get(r, route.NetworkInterfaceId) != nil || store.Peerings.Get(r, route.VpcPeeringConnectionId) != nil
			if !there && route.State != "blackhole" {
				w.Fatalf("%s: %+v leads to what is gone", t.ID, route)
			}
		}
	}
	for g := range store.SecurityGroups.All(r) {
		vpc(g.ID, g.VPCID)
		w.home[g.ID] = g.VPCID
		for _, rule := range g.Rules {
			peer := store.SecurityGroups.Get(r, rule.GroupID)
			if rule.GroupID != "" && peer == nil && w.home[rule.GroupID] == g.VPCID { // one of a peered VPC is stale
				w.Fatalf("%s names the group %s, which is gone", g.ID, rule.GroupID)
			}
		}
	}
	for p := range store.Peerings.All(r) {
		if p.State == resource.PeeringActive {
			vpc(p.ID, p.Requester.VPCID)
			vpc(p.ID, p.Accepter.VPCID)
		}
	}
}
