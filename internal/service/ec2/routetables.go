package ec2

import (
	"cmp"
	"context"

	shape "karri.dev/internal/aws/shape/ec2"
	"karri.dev/internal/filter"
	"karri.dev/internal/lifecycle"
	"karri.dev/internal/resource"
	"karri.dev/internal/store"
)

// shapeTable shows a route table with its local routes.
func shapeTable(r store.Reader, t *resource.RouteTable) shape.RouteTable {
	out := shape.RouteTable{
		Associations: []shape.RouteTableAssociation{}, PropagatingVgws: []shape.PropagatingVgw{},
		RouteTableId: t.ID, Tags: shapeTags(t.Tags), VpcId: t.VPCID, OwnerId: t.AccountID,
	}
	associated := &shape.RouteTableAssociationState{State: "associated"}
	if t.Main {
		out.Associations = append(out.Associations, shape.RouteTableAssociation{
			Main: true, RouteTableAssociationId: t.MainAssoc, RouteTableId: t.ID, AssociationState: associated,
		})
	}
	for _, a := range t.Associations {
		out.Associations = append(out.Associations, shape.RouteTableAssociation{
			RouteTableAssociationId: a.ID, RouteTableId: t.ID, SubnetId: a.SubnetID, AssociationState: associated,
		})
	}
	if v := store.VPCs.Get(r, t.VPCID); v != nil {
		for _, block := range v.Ranges() {
			local := shape.Route{GatewayId: "local", Origin: "CreateRouteTable", State: "active"}
			setDestination(&local, block)
			out.Routes = append(out.Routes, local)
		}
	}
	for _, route := range t.Routes {
		out.Routes = append(out.Routes, shapeRoute(r, t, &route))
	}
	for _, route := range lifecycle.Propagated(r, t) {
		out.Routes = append(out.Routes, shapeRoute(r, t, &route))
	}
	for _, id := range t.Propagating {
		out.PropagatingVgws = append(out.PropagatingVgws, shape.PropagatingVgw{GatewayId: id})
	}
	return out
}

// shapeRoute shows a route that is not local.
func shapeRoute(r store.Reader, t *resource.RouteTable, route *resource.Route) shape.Route {
	out := shape.Route{
		DestinationPrefixListId: route.PrefixListID, GatewayId: route.GatewayID, NatGatewayId: route.NATGatewayID,
		NetworkInterfaceId: route.InterfaceID, InstanceId: route.InstanceID, VpcPeeringConnectionId: route.PeeringID, EgressOnlyInternetGatewayId: route.EgressOnlyID,
		Origin: cmp.Or(route.Origin, "CreateRoute"), State: "blackhole",
	}
	setDestination(&out, route.Destination)
	if routeActive(r, t, route) {
		out.State = "active"
	}
	if e := store.Interfaces.Get(r, route.InterfaceID); e != nil {
		out.InstanceId = cmp.Or(e.InstanceID, out.InstanceId)
	}
	if out.InstanceId != "" {
		out.InstanceOwnerId = t.AccountID
	}
	return out
}

// setDestination shows where a route leads, in the member of the range's family.
func setDestination(out *shape.Route, block string) {
	if isV6(block) {
		out.DestinationIpv6CidrBlock = block
	} else {
		out.DestinationCidrBlock = block
	}
}

var tableFilters = func() *filter.Set[*shape.RouteTable] {
	type table = *shape.RouteTable
	set := &filter.Set[table]{
		Fields: map[string]func(table) []string{
			"owner-id":       func(t table) []string { return one(t.OwnerId) },
			"route-table-id": func(t table) []string { return one(t.RouteTableId) },
			"vpc-id":         func(t table) []string { return one(t.VpcId) },
		},
		Never: []string{
			"association.gateway-id", "route.transit-gateway-id",
		},
		Tags: func(t table) map[string]string { return mapTags(t.Tags) },
	}
	association := func(name string, value func(*shape.RouteTableAssociation) []string) {
		set.Fields["association."+name] = func(t table) (out []string) {
			for i := range t.Associations {
				out = append(out, value(&t.Associations[i])...)
			}
			return out
		}
	}
	association("route-table-association-id", func(a *shape.RouteTableAssociation) []string { return one(a.RouteTableAssociationId) })
	association("route-table-id", func(a *shape.RouteTableAssociation) []string { return one(a.RouteTableId) })
	association("subnet-id", func(a *shape.RouteTableAssociation) []string { return one(a.SubnetId) })
	association("main", func(a *shape.RouteTableAssociation) []string { return yes(a.Main) })
	route := func(name string, value func(*shape.Route) string) {
		set.Fields["route."+name] = func(t table) (out []string) {
			for i := range t.Routes {
				out = append(out, one(value(&t.Routes[i]))...)
			}
			return out
		}
	}
	route("destination-cidr-block", func(r *shape.Route) string { return r.DestinationCidrBlock })
	route("destination-ipv6-cidr-block", func(r *shape.Route) string { return r.DestinationIpv6CidrBlock })
	route("egress-only-internet-gateway-id", func(r *shape.Route) string { return r.EgressOnlyInternetGatewayId })
	route("destination-prefix-list-id", func(r *shape.Route) string { return r.DestinationPrefixListId })
	route("gateway-id", func(r *shape.Route) string { return r.GatewayId })
	route("instance-id", func(r *shape.Route) string { return r.InstanceId })
	route("nat-gateway-id", func(r *shape.Route) string { return r.NatGatewayId })
	route("vpc-peering-connection-id", func(r *shape.Route) string { return r.VpcPeeringConnectionId })
	route("origin", func(r *shape.Route) string { return r.Origin })
	route("state", func(r *shape.Route) string { return r.State })
	return set
}()

// mapTags turns shown tags back, for filters on what is shown.
func mapTags(tags []shape.Tag) map[string]string {
	out := make(map[string]string, len(tags))
	for _, t := range tags {
		out[t.Key] = t.Value
	}
	return out
}

// shown makes a test of records of a test of what is shown of them.
func shown[T, S any](r store.Reader, match filter.Match[*S], show func(store.Reader, *T) S) filter.Match[*T] {
	return on(match, func(v *T) *S { s := show(r, v); return &s })
}

// showAll shows a list.
func showAll[T, S any](r store.Reader, list []*T, show func(store.Reader, *T) S) []S {
	out := make([]S, len(list))
	for i, v := range list {
		out[i] = show(r, v)
	}
	return out
}

// DescribeRouteTables lists route tables.
func (s *Service) DescribeRouteTables(ctx context.Context, in *shape.DescribeRouteTablesRequest) (*shape.DescribeRouteTablesResult, error) {
	info, r, err := s.read(ctx, in, in.DryRun)
	if err != nil {
		return nil, err
	}
	match, err := compile(tableFilters, in.Filters)
	if err != nil {
		return nil, err
	}
	list, next, err := list(s, r, info, routeTables, selection[resource.RouteTable]{
		op: "DescribeRouteTables", ids: in.RouteTableIds, max: in.MaxResults, token: in.NextToken, match: shown(r, match, shapeTable),
	})
	if err != nil {
		return nil, err
	}
	return &shape.DescribeRouteTablesResult{RouteTables: showAll(r, list, shapeTable), NextToken: next}, nil
}
