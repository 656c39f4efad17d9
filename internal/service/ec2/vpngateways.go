package ec2

import (
	"context"
	"slices"
	"strconv"

	"karri.dev/internal/aws/awserr"
	"karri.dev/internal/aws/call"
	shape "karri.dev/internal/aws/shape/ec2"
	"karri.dev/internal/filter"
	"karri.dev/internal/resource"
	"karri.dev/internal/store"
)

// amazonASN is the number of the cloud's autonomous system unless another is asked for.
const amazonASN = 64512

// CreateVpnGateway makes a virtual private gateway that no VPC has yet.
func (s *Service) CreateVpnGateway(ctx context.Context, in *shape.CreateVpnGatewayRequest) (*shape.CreateVpnGatewayResult, error) {
	info, err := s.begin(ctx, in)
	if err != nil {
		return nil, err
	}
	if err := checkIPsec(in.Type); err != nil {
		return nil, err
	}
	asn := int64(amazonASN)
	if in.AmazonSideAsn != nil {
		if asn = *in.AmazonSideAsn; (asn < 64512 || asn > 65534) && (asn < 4200000000 || asn > 4294967294) {
			return nil, errValue(strconv.FormatInt(asn, 10), "amazonSideAsn")
		}
	}
	tags, err := tagsOnCreate(in.TagSpecifications, "vpn-gateway")
	if err != nil {
		return nil, err
	}
	g := &resource.VPNGateway{Owned: s.owned(info, tags["vpn-gateway"]), ID: s.IDs.Resource("vgw-"), ASN: asn, Asked: in.AvailabilityZone, State: resource.VPNAvailable}
	err = s.update(ctx, in.DryRun, func(tx *store.Tx) error {
		n := 0
		for other := range store.VPNGatewaysByOwner.By(tx, ownerKey(info)) {
			if other.Alive() {
				n++
			}
		}
		if n >= maxVPNGateways {
			return awserr.New("VpnGatewayLimitExceeded", "The maximum number of virtual private gateways has been reached.")
		}
		if g.Zone = vpnZone(tx, info.Region, in.AvailabilityZone); g.Zone == "" {
			return errValue(in.AvailabilityZone, "availabilityZone")
		}
		return store.VPNGateways.Put(tx, g)
	})
	if err != nil {
		return nil, err
	}
	out := shapeVPNGateway(nil, g)
	return &shape.CreateVpnGatewayResult{VpnGateway: &out}, nil
}

// vpnZone gives the zone for a virtual private gateway: the one that is asked for, or the first one with a node.
func vpnZone(r store.Reader, region, asked string) string {
	var names []string
	for z := range store.Zones.All(r) {
		if z.Region == region && z.Network.VPC() && (asked == "" || z.Name == asked) {
			names = append(names, z.Name)
		}
	}
	slices.Sort(names)
	for _, name := range names {
		if has(store.NodesByZone.By(r, name), func(n *resource.Node) bool { return n.Up && !n.Revoked }) {
			return name
		}
	}
	if len(names) == 0 {
		return ""
	}
	return names[0]
}

func shapeVPNGateway(_ store.Reader, g *resource.VPNGateway) shape.VpnGateway {
	out := shape.VpnGateway{
		VpnGatewayId: g.ID, AmazonSideAsn: g.ASN, AvailabilityZone: g.Asked, State: g.State, Type: ipsec1, Tags: shapeTags(g.Tags), VpcAttachments: []shape.VpcAttachment{},
	}
	if g.VPCID != "" {
		out.VpcAttachments = append(out.VpcAttachments, shape.VpcAttachment{State: "attached", VpcId: g.VPCID})
	}
	return out
}

// vpnGateway finds a virtual private gateway that is not deleted.
func vpnGateway(r store.Reader, info *call.Info, id string) (*resource.VPNGateway, error) {
	if id == "" {
		return nil, errMissing("vpnGatewayId")
	}
	g, err := vpnGateways.find(r, info, id)
	if err == nil && !g.Alive() {
		err = vpnGateways.notFound(id)
	}
	return g, err
}

// DeleteVpnGateway deletes one that neither a VPC nor a VPN connection has.
func (s *Service) DeleteVpnGateway(ctx context.Context, in *shape.DeleteVpnGatewayRequest) (*shape.DeleteVpnGatewayResult, error) {
	info, err := s.begin(ctx, in)
	if err != nil {
		return nil, err
	}
	err = s.update(ctx, in.DryRun, func(tx *store.Tx) error {
		g, err := vpnGateway(tx, info, in.VpnGatewayId)
		switch {
		case err != nil:
			return err
		case g.VPCID != "" || store.VPNConnectionsByGateway.One(tx, g.ID) != nil:
			return awserr.New("IncorrectState", "The virtual private gateway '%s' is in use.", g.ID)
		}
		next := *g
		next.State, next.EndedAt = resource.VPNDeleted, s.now()
		return store.VPNGateways.Put(tx, &next)
	})
	if err != nil {
		return nil, err
	}
	return &shape.DeleteVpnGatewayResult{}, nil
}

// AttachVpnGateway gives a virtual private gateway to a VPC that has none.
func (s *Service) AttachVpnGateway(ctx context.Context, in *shape.AttachVpnGatewayRequest) (*shape.AttachVpnGatewayResult, error) {
	info, err := s.begin(ctx, in)
	if err != nil {
		return nil, err
	}
	if in.VpcId == "" {
		return nil, errMissing("vpcId")
	}
	err = s.update(ctx, in.DryRun, func(tx *store.Tx) error {
		g, err := vpnGateway(tx, info, in.VpnGatewayId)
		if err != nil {
			return err
		}
		v, err := vpcs.find(tx, info, in.VpcId)
		switch {
		case err != nil:
			return err
		case g.VPCID == v.ID:
			return nil
		case g.VPCID != "":
			return awserr.New("VpnGatewayAttachmentLimitExceeded", "The virtual private gateway '%s' is already attached to %s.", g.ID, g.VPCID)
		case store.VPNGatewaysByVPC.One(tx, v.ID) != nil:
			return awserr.New("VpnGatewayAttachmentLimitExceeded", "Network %s already has a virtual private gateway attached.", v.ID)
		}
		next := *g
		next.VPCID = v.ID
		return store.VPNGateways.Put(tx, &next)
	})
	if err != nil {
		return nil, err
	}
	return &shape.AttachVpnGatewayResult{VpcAttachment: &shape.VpcAttachment{State: "attaching", VpcId: in.VpcId}}, nil
}

// DetachVpnGateway takes a virtual private gateway from its VPC. Routes to it become blackholes.
func (s *Service) DetachVpnGateway(ctx context.Context, in *shape.DetachVpnGatewayRequest) (*shape.DetachVpnGatewayResult, error) {
	info, err := s.begin(ctx, in)
	if err != nil {
		return nil, err
	}
	if in.VpcId == "" {
		return nil, errMissing("vpcId")
	}
	err = s.update(ctx, in.DryRun, func(tx *store.Tx) error {
		g, err := vpnGateway(tx, info, in.VpnGatewayId)
		if err != nil {
			return err
		}
		if g.VPCID != in.VpcId {
			return awserr.New("InvalidVpnGatewayAttachment.NotFound", "The attachment with vpn gateway ID '%s' and vpc ID '%s' does not exist", g.ID, in.VpcId)
		}
		for t := range store.RouteTablesByVPC.By(tx, g.VPCID) {
			if i := slices.Index(t.Propagating, g.ID); i >= 0 {
				next := *t
				next.Propagating = slices.Delete(slices.Clone(t.Propagating), i, i+1)
				if err := store.RouteTables.Put(tx, &next); err != nil {
					return err
				}
			}
		}
		next := *g
		next.VPCID, next.Node = "", ""
		if err := store.VPNGateways.Put(tx, &next); err != nil {
			return err
		}
		return forgetTunnels(tx, g.ID, s.now())
	})
	if err != nil {
		return nil, err
	}
	return &shape.DetachVpnGatewayResult{}, nil
}

// EnableVgwRoutePropagation lets a virtual private gateway's routes into a route table.
func (s *Service) EnableVgwRoutePropagation(ctx context.Context, in *shape.EnableVgwRoutePropagationRequest) (*shape.EnableVgwRoutePropagationResult, error) {
	if err := s.propagate(ctx, in, in.RouteTableId, in.GatewayId, in.DryRun, true); err != nil {
		return nil, err
	}
	return &shape.EnableVgwRoutePropagationResult{}, nil
}

// DisableVgwRoutePropagation takes them out again.
func (s *Service) DisableVgwRoutePropagation(ctx context.Context, in *shape.DisableVgwRoutePropagationRequest) (*shape.DisableVgwRoutePropagationResult, error) {
	if err := s.propagate(ctx, in, in.RouteTableId, in.GatewayId, in.DryRun, false); err != nil {
		return nil, err
	}
	return &shape.DisableVgwRoutePropagationResult{}, nil
}

func (s *Service) propagate(ctx context.Context, in any, table, gateway string, dryRun *bool, on bool) error {
	info, err := s.begin(ctx, in)
	switch {
	case err != nil:
		return err
	case table == "":
		return errMissing("routeTableId")
	case gateway == "":
		return errMissing("gatewayId")
	}
	return s.update(ctx, dryRun, func(tx *store.Tx) error {
		t, err := routeTables.find(tx, info, table)
		if err != nil {
			return err
		}
		g, err := vpnGateway(tx, info, gateway)
		if err != nil {
			return err
		}
		if g.VPCID != t.VPCID {
			return awserr.New("Gateway.NotAttached", "resource %s is not attached to network %s", g.ID, t.VPCID)
		}
		i := slices.Index(t.Propagating, g.ID)
		if on == (i >= 0) {
			return nil
		}
		next := *t
		if next.Propagating = append(slices.Clone(t.Propagating), g.ID); !on {
			next.Propagating = slices.Delete(slices.Clone(t.Propagating), i, i+1)
		}
		return store.RouteTables.Put(tx, &next)
	})
}

// vpnTarget checks a virtual private gateway that a route is to lead to.
func vpnTarget(r store.Reader, info *call.Info, t *resource.RouteTable, id string, route *resource.Route) error {
	g, err := vpnGateway(r, info, id)
	if err != nil {
		return awserr.New("InvalidGatewayID.NotFound", "The gateway ID '%s' does not exist", id)
	}
	if g.VPCID != t.VPCID {
		return errNetworks(t, "network gateway", g.ID)
	}
	route.GatewayID = g.ID
	return nil
}

var vpnGatewayFilters = &filter.Set[*resource.VPNGateway]{
	Fields: map[string]func(*resource.VPNGateway) []string{
		"amazon-side-asn": func(g *resource.VPNGateway) []string { return one(strconv.FormatInt(g.ASN, 10)) },
		"attachment.state": func(g *resource.VPNGateway) []string {
			if g.VPCID == "" {
				return nil
			}
			return []string{"attached"}
		},
		"attachment.vpc-id": func(g *resource.VPNGateway) []string { return one(g.VPCID) },
		"availability-zone": func(g *resource.VPNGateway) []string { return one(g.Asked) },
		"state":             func(g *resource.VPNGateway) []string { return one(g.State) },
		"type":              constant[*resource.VPNGateway](ipsec1),
		"vpn-gateway-id":    func(g *resource.VPNGateway) []string { return one(g.ID) },
	},
	Tags: func(g *resource.VPNGateway) map[string]string { return g.Tags },
}

// DescribeVpnGateways lists virtual private gateways; deleted ones, too, for an hour.
func (s *Service) DescribeVpnGateways(ctx context.Context, in *shape.DescribeVpnGatewaysRequest) (*shape.DescribeVpnGatewaysResult, error) {
	info, r, err := s.read(ctx, in, in.DryRun)
	if err != nil {
		return nil, err
	}
	match, err := compile(vpnGatewayFilters, in.Filters)
	if err != nil {
		return nil, err
	}
	list, _, err := list(s, r, info, vpnGateways, selection[resource.VPNGateway]{op: "DescribeVpnGateways", ids: in.VpnGatewayIds, match: match})
	if err != nil {
		return nil, err
	}
	return &shape.DescribeVpnGatewaysResult{VpnGateways: showAll(r, list, shapeVPNGateway)}, nil
}
