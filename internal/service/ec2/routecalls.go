package ec2

import (
	"context"
	"net/netip"
	"slices"

	"karri.dev/internal/aws/awserr"
	"karri.dev/internal/aws/call"
	shape "karri.dev/internal/aws/shape/ec2"
	"karri.dev/internal/resource"
	"karri.dev/internal/store"
)

const maxRoutes = 500 // of a route table, without propagated ones

// destination is where a route leads to, as a caller says it.
type destination struct{ v4, v6, list string }

// read checks a destination and gives it as routes have it.
func (d destination) read() (block, list string, err error) {
	given := 0
	for _, v := range []string{d.v4, d.v6, d.list} {
		if v != "" {
			given++
		}
	}
	switch {
	case given == 0:
		return "", "", awserr.New("MissingParameter", "The request must contain exactly one of destinationCidrBlock, destinationIpv6CidrBlock, destinationPrefixListId")
	case given > 1:
		return "", "", errCombination("Only one of destinationCidrBlock, destinationIpv6CidrBlock and destinationPrefixListId can be given")
	case d.list != "":
		return "", d.list, nil
	}
	p, err := netip.ParsePrefix(d.v4 + d.v6)
	if err != nil || p.Addr().Is4() != (d.v4 != "") || p.Addr().Is4In6() {
		parameter := "destinationCidrBlock"
		if d.v6 != "" {
			parameter = "destinationIpv6CidrBlock"
		}
		return "", "", awserr.New("InvalidParameterValue", "Value (%s) for parameter %s is invalid. This is not a valid CIDR block.", d.v4+d.v6, parameter)
	}
	return p.Masked().String(), "", nil
}

// name is how messages call a route's destination.
func routeName(route *resource.Route) string { return route.Destination + route.PrefixListID }

func sameDestination(a, b *resource.Route) bool {
	return a.Destination == b.Destination && a.PrefixListID == b.PrefixListID
}

// local gives the VPC's range that has just this destination: its route cannot be had twice.
func isLocal(v *resource.VPC, route *resource.Route) bool {
	return slices.Contains(v.Blocks(), route.Destination) ||
		slices.ContainsFunc(v.IPv6, func(b resource.V6Block) bool { return b.CIDR == route.Destination })
}

// routeRequest is what CreateRoute and ReplaceRoute share.
type routeRequest struct {
	table string
	to    destination
	// Targets: exactly one is given.
	gateway, nat, iface, instance, peering, egress string
}

// resolve makes the route of a request, for a table.
func (q *routeRequest) resolve(r store.Reader, info *call.Info, t *resource.RouteTable) (*resource.Route, error) {
	block, list, err := q.to.read()
	if err != nil {
		return nil, err
	}
	route := &resource.Route{Destination: block, PrefixListID: list}
	if err := q.target(r, info, t, route); err != nil {
		return nil, err
	}
	if list != "" {
		return route, checkRouteList(r, info, list)
	}
	v := store.VPCs.Get(r, t.VPCID)
	if p := prefixOf(block); v != nil && within(v, p) && !isLocal(v, route) {
		return route, checkInside(r, v, p, route)
	}
	return route, nil
}

// checkRouteList checks a prefix list that a route is to lead to.
func checkRouteList(r store.Reader, info *call.Info, id string) error {
	l, err := prefixList(r, info, id)
	if err != nil {
		return err
	}
	if l.AccountID == "AWS" {
		return awserr.New("InvalidParameterValue", "The prefix list %s is for gateway endpoints only.", id)
	}
	return nil
}

// CreateRoute adds a route.
func (s *Service) CreateRoute(ctx context.Context, in *shape.CreateRouteRequest) (*shape.CreateRouteResult, error) {
	info, err := s.begin(ctx, in)
	if err != nil {
		return nil, err
	}
	q := routeRequest{
		table: in.RouteTableId, to: destination{in.DestinationCidrBlock, in.DestinationIpv6CidrBlock, in.DestinationPrefixListId},
		gateway: in.GatewayId, nat: in.NatGatewayId, iface: in.NetworkInterfaceId, instance: in.InstanceId, peering: in.VpcPeeringConnectionId, egress: in.EgressOnlyInternetGatewayId,
	}
	err = s.changeRoute(ctx, info, in.DryRun, q, func(v *resource.VPC, routes []resource.Route, at int, route *resource.Route) ([]resource.Route, error) {
		if at >= 0 && sameRoute(&routes[at], route) {
			return routes, nil
		}
		if at >= 0 || isLocal(v, route) {
			return nil, awserr.New("RouteAlreadyExists", "The route identified by %s already exists.", routeName(route))
		}
		if len(routes) >= maxRoutes {
			return nil, awserr.New("RouteLimitExceeded", "The maximum number of routes has been reached.")
		}
		return append(slices.Clone(routes), *route), nil
	})
	if err != nil {
		return nil, err
	}
	return &shape.CreateRouteResult{Return: true}, nil
}

func sameRoute(a, b *resource.Route) bool { return *a == *b }

// ReplaceRoute gives a route another target.
func (s *Service) ReplaceRoute(ctx context.Context, in *shape.ReplaceRouteRequest) (*shape.ReplaceRouteResult, error) {
	info, err := s.begin(ctx, in)
	if err != nil {
		return nil, err
	}
	q := routeRequest{
		table: in.RouteTableId, to: destination{in.DestinationCidrBlock, in.DestinationIpv6CidrBlock, in.DestinationPrefixListId},
		gateway: in.GatewayId, nat: in.NatGatewayId, iface: in.NetworkInterfaceId, instance: in.InstanceId, peering: in.VpcPeeringConnectionId, egress: in.EgressOnlyInternetGatewayId,
	}
	err = s.changeRoute(ctx, info, in.DryRun, q, func(_ *resource.VPC, routes []resource.Route, at int, route *resource.Route) ([]resource.Route, error) {
		if at < 0 {
			return nil, awserr.New("InvalidParameterValue", "There is no route defined for '%s' in the route table. Use CreateRoute instead.", routeName(route))
		}
		routes = slices.Clone(routes)
		routes[at] = *route
		return routes, nil
	})
	if err != nil {
		return nil, err
	}
	return &shape.ReplaceRouteResult{}, nil
}

// changeRoute changes a table's routes. change is told where the destination is among them, or -1.
func (s *Service) changeRoute(ctx context.Context, info *call.Info, dryRun *bool, q routeRequest, change func(v *resource.VPC, routes []resource.Route, at int, route *resource.Route) ([]resource.Route, error)) error {
	if q.table == "" {
		return errMissing("routeTableId")
	}
	return s.update(ctx, dryRun, func(tx *store.Tx) error {
		t, err := routeTables.find(tx, info, q.table)
		if err != nil {
			return err
		}
		route, err := q.resolve(tx, info, t)
		if err != nil {
			return err
		}
		at := slices.IndexFunc(t.Routes, func(o resource.Route) bool { return sameDestination(&o, route) })
		next := *t
		if next.Routes, err = change(store.VPCs.Get(tx, t.VPCID), t.Routes, at, route); err != nil {
			return err
		}
		return store.RouteTables.Put(tx, &next)
	})
}

// DeleteRoute takes a route away.
func (s *Service) DeleteRoute(ctx context.Context, in *shape.DeleteRouteRequest) (*shape.DeleteRouteResult, error) {
	info, err := s.begin(ctx, in)
	if err != nil {
		return nil, err
	}
	if in.RouteTableId == "" {
		return nil, errMissing("routeTableId")
	}
	block, list, err := destination{in.DestinationCidrBlock, in.DestinationIpv6CidrBlock, in.DestinationPrefixListId}.read()
	if err != nil {
		return nil, err
	}
	want := resource.Route{Destination: block, PrefixListID: list}
	err = s.update(ctx, in.DryRun, func(tx *store.Tx) error {
		t, err := routeTables.find(tx, info, in.RouteTableId)
		if err != nil {
			return err
		}
		i := slices.IndexFunc(t.Routes, func(o resource.Route) bool { return sameDestination(&o, &want) })
		if i < 0 {
			if isLocal(store.VPCs.Get(tx, t.VPCID), &want) {
				return awserr.New("InvalidParameterValue", "cannot remove local route %s in route table %s", block, t.ID)
			}
			return awserr.New("InvalidRoute.NotFound", "no route with destination-cidr-block %s in route table %s", routeName(&want), t.ID)
		}
		if t.Routes[i].PrefixListID == resource.S3PrefixList {
			return awserr.New("InvalidParameterValue", "cannot remove VPC endpoint route %s in route table %s", list, t.ID)
		}
		next := *t
		next.Routes = slices.Delete(slices.Clone(t.Routes), i, i+1)
		return store.RouteTables.Put(tx, &next)
	})
	if err != nil {
		return nil, err
	}
	return &shape.DeleteRouteResult{}, nil
}
