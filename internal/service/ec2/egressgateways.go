package ec2

import (
	"context"

	"karri.dev/internal/aws/awserr"
	"karri.dev/internal/aws/call"
	shape "karri.dev/internal/aws/shape/ec2"
	"karri.dev/internal/filter"
	"karri.dev/internal/resource"
	"karri.dev/internal/store"
)

var egressGatewayFilters = &filter.Set[*resource.EgressGateway]{
	Tags: func(g *resource.EgressGateway) map[string]string { return g.Tags },
}

// shapeEgressGateway shows an egress-only internet gateway.
func shapeEgressGateway(_ store.Reader, g *resource.EgressGateway) shape.EgressOnlyInternetGateway {
	return shape.EgressOnlyInternetGateway{
		EgressOnlyInternetGatewayId: g.ID, Tags: shapeTags(g.Tags),
		Attachments: []shape.InternetGatewayAttachment{{State: "attached", VpcId: g.VPCID}},
	}
}

// CreateEgressOnlyInternetGateway gives a VPC a gateway by which its IPv6 goes out, and nothing but answers comes in.
func (s *Service) CreateEgressOnlyInternetGateway(ctx context.Context, in *shape.CreateEgressOnlyInternetGatewayRequest) (*shape.CreateEgressOnlyInternetGatewayResult, error) {
	info, err := s.begin(ctx, in)
	if err != nil {
		return nil, err
	}
	if in.VpcId == "" {
		return nil, errMissing("vpcId")
	}
	tags, err := tagsOnCreate(in.TagSpecifications, "egress-only-internet-gateway")
	if err != nil {
		return nil, err
	}
	token, err := tokenOfRequest(in)
	if err != nil {
		return nil, err
	}
	id := s.IDs.Resource("eigw-")
	var made *resource.EgressGateway
	err = s.update(ctx, in.DryRun, func(tx *store.Tx) error {
		for g := range store.EgressGatewaysByOwner.By(tx, ownerKey(info)) {
			if token.same(g.Token) {
				made = g
				return token.check(g.Token)
			}
		}
		v, err := vpcs.find(tx, info, in.VpcId)
		if err != nil {
			return err
		}
		made = &resource.EgressGateway{Owned: s.owned(info, tags["egress-only-internet-gateway"]), ID: id, VPCID: v.ID, Token: token.token}
		return store.EgressGateways.Put(tx, made)
	})
	if err != nil {
		return nil, err
	}
	out := shapeEgressGateway(nil, made)
	return &shape.CreateEgressOnlyInternetGatewayResult{EgressOnlyInternetGateway: &out, ClientToken: in.ClientToken}, nil
}

// DescribeEgressOnlyInternetGateways lists egress-only internet gateways.
func (s *Service) DescribeEgressOnlyInternetGateways(ctx context.Context, in *shape.DescribeEgressOnlyInternetGatewaysRequest) (*shape.DescribeEgressOnlyInternetGatewaysResult, error) {
	info, r, err := s.read(ctx, in, in.DryRun)
	if err != nil {
		return nil, err
	}
	match, err := compile(egressGatewayFilters, in.Filters)
	if err != nil {
		return nil, err
	}
	list, next, err := list(s, r, info, egressGateways, selection[resource.EgressGateway]{
		op: "DescribeEgressOnlyInternetGateways", ids: in.EgressOnlyInternetGatewayIds, max: in.MaxResults, token: in.NextToken, match: match,
	})
	if err != nil {
		return nil, err
	}
	return &shape.DescribeEgressOnlyInternetGatewaysResult{EgressOnlyInternetGateways: showAll(r, list, shapeEgressGateway), NextToken: next}, nil
}

// DeleteEgressOnlyInternetGateway takes a gateway away; routes to it become blackholes.
func (s *Service) DeleteEgressOnlyInternetGateway(ctx context.Context, in *shape.DeleteEgressOnlyInternetGatewayRequest) (*shape.DeleteEgressOnlyInternetGatewayResult, error) {
	info, err := s.begin(ctx, in)
	if err != nil {
		return nil, err
	}
	if in.EgressOnlyInternetGatewayId == "" {
		return nil, errMissing("egressOnlyInternetGatewayId")
	}
	err = s.update(ctx, in.DryRun, func(tx *store.Tx) error {
		g, err := egressGateways.find(tx, info, in.EgressOnlyInternetGatewayId)
		if err != nil {
			return err
		}
		store.EgressGateways.Delete(tx, g.ID)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return &shape.DeleteEgressOnlyInternetGatewayResult{ReturnCode: true}, nil
}

// egressTarget fills in a route to an egress-only internet gateway.
func egressTarget(r store.Reader, info *call.Info, t *resource.RouteTable, id string, route *resource.Route) error {
	g, err := egressGateways.find(r, info, id)
	if err != nil {
		return err
	}
	if g.VPCID != t.VPCID {
		return errNetworks(t, "egress only internet gateway", g.ID)
	}
	if route.PrefixListID == "" && !isV6(route.Destination) {
		return awserr.New("InvalidParameterValue", "The destination CIDR block %s cannot be used with the egress only internet gateway %s: it takes IPv6 only.", route.Destination, g.ID)
	}
	route.EgressOnlyID = g.ID
	return nil
}
