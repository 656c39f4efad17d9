package ec2

import (
	"net/netip"
	"strings"

	"karri.dev/internal/aws/awserr"
	"karri.dev/internal/aws/call"
	"karri.dev/internal/resource"
	"karri.dev/internal/store"
)

// target fills in the route's target.
func (q *routeRequest) target(r store.Reader, info *call.Info, t *resource.RouteTable, route *resource.Route) error {
	given := 0
	for _, v := range []string{q.gateway, q.nat, q.iface, q.instance, q.peering, q.egress} {
		if v != "" {
			given++
		}
	}
	switch {
	case given == 0:
		return awserr.New("MissingParameter", "The request must contain exactly one of gatewayId, natGatewayId, networkInterfaceId, vpcPeeringConnectionId, egressOnlyInternetGatewayId, instanceId")
	case given > 1:
		return errCombination("Only one target of a route can be given")
	case isV6(route.Destination) && q.nat != "":
		return errUnsupported("A route to the IPv6 range %s cannot lead to a NAT gateway in this cloud.", route.Destination)
	case isV6(route.Destination) && strings.HasPrefix(q.gateway, "vgw-"):
		return errUnsupported("The IPv6 range %s cannot be reached through a virtual private gateway in this cloud.", route.Destination)
	case q.gateway != "":
		return gatewayTarget(r, info, t, q.gateway, route)
	case q.iface != "":
		return interfaceTarget(r, info, t, q.iface, route)
	case q.instance != "":
		return instanceTarget(r, info, t, q.instance, route)
	case q.nat != "":
		return natTarget(r, info, t, q.nat, route)
	case q.peering != "":
		return peeringTarget(r, info, t, q.peering, route)
	}
	return egressTarget(r, info, t, q.egress, route)
}

func errNetworks(t *resource.RouteTable, noun, id string) error {
	return awserr.New("InvalidParameterValue", "route table %s and %s %s belong to different networks", t.ID, noun, id)
}

func interfaceTarget(r store.Reader, info *call.Info, t *resource.RouteTable, id string, route *resource.Route) error {
	e, err := editable(r, info, id)
	if err != nil {
		return err
	}
	if e.VPCID != t.VPCID {
		return errNetworks(t, "interface", e.ID)
	}
	route.InterfaceID = e.ID
	return nil
}

func instanceTarget(r store.Reader, info *call.Info, t *resource.RouteTable, id string, route *resource.Route) error {
	inst, err := instances.find(r, info, id)
	if err != nil {
		return err
	}
	switch {
	case inst.Power == resource.PowerGone || len(inst.Interfaces) == 0:
		return awserr.New("InvalidInstanceID", "The instance '%s' is not in a valid state for this operation.", inst.ID)
	case len(inst.Interfaces) > 1:
		return awserr.New("InvalidInstanceID", "There are multiple interfaces attached to instance '%s'. Please specify an interface ID for the operation instead.", inst.ID)
	case inst.VPCID != t.VPCID:
		return errNetworks(t, "instance", inst.ID)
	}
	route.InstanceID, route.InterfaceID = inst.ID, inst.Interfaces[0]
	return nil
}

func natTarget(r store.Reader, info *call.Info, t *resource.RouteTable, id string, route *resource.Route) error {
	g := store.NATGateways.Get(r, id)
	if g == nil || !natGateways.mine(info, g) || !g.Works() {
		return awserr.New("InvalidNatGatewayID.NotFound", "The natGateway ID '%s' does not exist", id)
	}
	if g.VPCID != t.VPCID {
		return errNetworks(t, "NAT gateway", g.ID)
	}
	route.NATGatewayID = g.ID
	return nil
}

// peeringTarget takes a peering that waits for its acceptance, too: until then the route is a blackhole.
func peeringTarget(r store.Reader, info *call.Info, t *resource.RouteTable, id string, route *resource.Route) error {
	p := store.Peerings.Get(r, id)
	if p == nil || sideOf(p, info) == nil || p.State != resource.PeeringActive && p.State != resource.PeeringPending {
		return errNoPeering(id)
	}
	if p.Requester.VPCID != t.VPCID && p.Accepter.VPCID != t.VPCID {
		return errNetworks(t, "vpc peering connection", p.ID)
	}
	route.PeeringID = p.ID
	return nil
}

func gatewayTarget(r store.Reader, info *call.Info, t *resource.RouteTable, id string, route *resource.Route) error {
	if id == "local" {
		return awserr.New("InvalidParameterValue", "The gateway ID 'local' cannot be the target of this route")
	}
	if strings.HasPrefix(id, "vgw-") {
		return vpnTarget(r, info, t, id, route)
	}
	g := store.InternetGateways.Get(r, id)
	if !strings.HasPrefix(id, "igw-") || g == nil || !gateways.mine(info, g) {
		return awserr.New("InvalidGatewayID.NotFound", "The gateway ID '%s' does not exist", id)
	}
	if g.VPCID != t.VPCID {
		return awserr.New("InvalidParameterValue", "route table %s and network gateway %s belong to different networks", t.ID, g.ID)
	}
	route.GatewayID = g.ID
	return nil
}

// checkInside checks a route that is more specific than the local ones: it leads a whole subnet's traffic through
// something in the VPC.
func checkInside(r store.Reader, v *resource.VPC, p netip.Prefix, route *resource.Route) error {
	if route.InterfaceID == "" && route.NATGatewayID == "" {
		return awserr.New("InvalidParameterValue", "The destination CIDR block %s is equal to or more specific than one of this VPC's CIDR blocks. This route can target only an interface or an instance.", p)
	}
	if !has(store.SubnetsByVPC.By(r, v.ID), func(s *resource.Subnet) bool {
		return prefixOf(s.CIDR) == p || s.IPv6 != nil && prefixOf(s.IPv6.CIDR) == p
	}) {
		return awserr.New("InvalidParameterValue", "The destination CIDR block %s is more specific than one of this VPC's CIDR blocks and is not that of a subnet.", p)
	}
	return nil
}

// routeActive says whether what a route leads to is there.
func routeActive(r store.Reader, t *resource.RouteTable, route *resource.Route) bool {
	switch {
	case strings.HasPrefix(route.GatewayID, "vpce-"):
		return store.VPCEndpoints.Get(r, route.GatewayID) != nil
	case strings.HasPrefix(route.GatewayID, "vgw-"):
		g := store.VPNGateways.Get(r, route.GatewayID)
		return g != nil && g.VPCID == t.VPCID
	case route.GatewayID != "":
		g := store.InternetGateways.Get(r, route.GatewayID)
		return g != nil && g.VPCID == t.VPCID
	case route.EgressOnlyID != "":
		return store.EgressGateways.Get(r, route.EgressOnlyID) != nil
	case route.InterfaceID != "":
		e := store.Interfaces.Get(r, route.InterfaceID)
		if e == nil {
			return false
		}
		inst := store.Instances.Get(r, e.InstanceID)
		return inst != nil && inst.Power == resource.PowerOn
	case route.NATGatewayID != "":
		g := store.NATGateways.Get(r, route.NATGatewayID)
		return g != nil && g.Works()
	case route.PeeringID != "":
		p := store.Peerings.Get(r, route.PeeringID)
		return p != nil && p.State == resource.PeeringActive
	}
	return false
}
