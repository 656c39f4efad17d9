package ec2

import (
	"context"
	"crypto/rand"
	"net/netip"
	"slices"
	"strconv"
	"time"

	"karri.dev/internal/aws/awserr"
	"karri.dev/internal/aws/call"
	shape "karri.dev/internal/aws/shape/ec2"
	"karri.dev/internal/filter"
	"karri.dev/internal/lifecycle"
	"karri.dev/internal/resource"
	"karri.dev/internal/store"
)

// tunnelsOf is how many tunnels a connection has.
const tunnelsOf = 2

// vpnRequest is what CreateVpnConnection asks for.
type vpnRequest struct {
	bgp             bool
	customer, cloud string
	tunnels         [tunnelsOf]resource.VPNTunnelOptions
	inside, psk     [tunnelsOf]string
}

func readVPN(in *shape.CreateVpnConnectionRequest) (q vpnRequest, err error) {
	switch {
	case in.CustomerGatewayId == "":
		return q, errMissing("customerGatewayId")
	case in.VpnGatewayId == "":
		return q, errMissing("vpnGatewayId")
	}
	if err := checkIPsec(in.Type); err != nil {
		return q, err
	}
	o := in.Options
	if o == nil {
		o = &shape.VpnConnectionOptionsSpecification{}
	}
	q.bgp = !isTrue(o.StaticRoutesOnly)
	if o.TunnelInsideIpVersion == "ipv6" || o.OutsideIpAddressType == "PrivateIpv4" {
		return q, errUnsupported("VPN connections of virtual private gateways have IPv4 inside and public addresses outside.")
	}
	if err := oneOf("TunnelInsideIpVersion", o.TunnelInsideIpVersion, "ipv4"); err != nil {
		return q, err
	}
	if err := oneOf("OutsideIpAddressType", o.OutsideIpAddressType, "PublicIpv4"); err != nil {
		return q, err
	}
	if err := readSelectors(o.LocalIpv4NetworkCidr, o.RemoteIpv4NetworkCidr, &q.customer, &q.cloud); err != nil {
		return q, err
	}
	if len(o.TunnelOptions) > tunnelsOf {
		return q, awserr.New("InvalidParameterValue", "At most two TunnelOptions can be given")
	}
	for i := range o.TunnelOptions {
		t := &o.TunnelOptions[i]
		if q.tunnels[i], err = readTunnel(t, resource.VPNTunnelOptions{}); err != nil {
			return q, err
		}
		q.inside[i], q.psk[i] = t.TunnelInsideCidr, t.PreSharedKey
	}
	if q.inside[0] != "" && q.inside[0] == q.inside[1] {
		return q, errInside(q.inside[0])
	}
	return q, nil
}

func errInside(block string) error {
	return awserr.New("InvalidParameterValue", "The TunnelInsideCidr %s is already in use by a VPN connection of this virtual private gateway", block)
}

// makePSK makes a secret.
func makePSK() string {
	b := make([]byte, 32)
	rand.Read(b)
	for i := range b {
		b[i] = pskLetters[int(b[i])%len(pskLetters)]
	}
	return string(b)
}

// CreateVpnConnection joins a virtual private gateway to a customer gateway. It is available once its node has it.
func (s *Service) CreateVpnConnection(ctx context.Context, in *shape.CreateVpnConnectionRequest) (*shape.CreateVpnConnectionResult, error) {
	info, err := s.begin(ctx, in)
	if err != nil {
		return nil, err
	}
	q, err := readVPN(in)
	if err != nil {
		return nil, err
	}
	tags, err := tagsOnCreate(in.TagSpecifications, "vpn-connection")
	if err != nil {
		return nil, err
	}
	id, rnd := s.IDs.Resource("vpn-"), s.random()
	for i := range q.psk {
		if q.psk[i] == "" {
			q.psk[i] = makePSK()
		}
	}
	var made *resource.VPNConnection
	err = s.update(ctx, in.DryRun, func(tx *store.Tx) error {
		customer, err := customerGateways.find(tx, info, in.CustomerGatewayId)
		if err == nil && customer.State == resource.VPNDeleted {
			err = customerGateways.notFound(in.CustomerGatewayId)
		}
		if err != nil {
			return err
		}
		g, err := vpnGateway(tx, info, in.VpnGatewayId)
		if err != nil {
			return err
		}
		if err := checkVPNLimits(tx, info, g.ID); err != nil {
			return err
		}
		if has(store.VPNConnectionsByGateway.By(tx, g.ID), func(c *resource.VPNConnection) bool { return c.CustomerID == customer.ID }) {
			return awserr.New("InvalidParameterCombination", "A VPN connection between %s and %s already exists", customer.ID, g.ID)
		}
		made = &resource.VPNConnection{
			Owned: s.owned(info, tags["vpn-connection"]), ID: id, CustomerID: customer.ID, GatewayID: g.ID, BGP: q.bgp, Customer: q.customer, Cloud: q.cloud, State: resource.VPNPending,
		}
		if g.VPCID == "" { // nothing to wait for
			made.State = resource.VPNAvailable
		}
		taken := insideTaken(tx, g.ID, "")
		for i := range tunnelsOf {
			inside := q.inside[i]
			if inside != "" && taken[inside] {
				return errInside(inside)
			}
			if inside == "" {
				if other := q.inside[1-i]; other != "" {
					taken[other] = true
				}
				inside = freeInside(taken, rnd)
			}
			taken[inside] = true
			outside := s.freePublic(tx, rnd)
			for tries := 0; i > 0 && outside == made.Tunnels[0].Outside && tries < 16; tries++ {
				outside = s.freePublic(tx, rnd)
			}
			if outside == "" || i > 0 && outside == made.Tunnels[0].Outside {
				return errNoPublic()
			}
			made.Tunnels = append(made.Tunnels, resource.VPNTunnel{
				Outside: outside, Inside: inside, PSK: s.Sealer.Seal([]byte(q.psk[i]), resource.PSKContext(id, outside)), Options: q.tunnels[i], Changed: s.now(),
			})
		}
		return store.VPNConnections.Put(tx, made)
	})
	if err != nil {
		return nil, err
	}
	out := s.shapeVPN(s.Store.Snapshot(), made)
	out.State = resource.VPNPending
	return &shape.CreateVpnConnectionResult{VpnConnection: &out}, nil
}

func checkVPNLimits(r store.Reader, info *call.Info, gateway string) error {
	all, mine := 0, 0
	for c := range store.VPNConnectionsByOwner.By(r, ownerKey(info)) {
		if c.State != resource.VPNDeleted {
			all++
			if c.GatewayID == gateway {
				mine++
			}
		}
	}
	if all >= maxVPNConnections || mine >= maxVPNsOfGateway {
		return awserr.New("VpnConnectionLimitExceeded", "The maximum number of VPN connections has been reached.")
	}
	return nil
}

// shapeVPN shows a VPN connection, with its secrets while it is there.
func (s *Service) shapeVPN(r store.Reader, c *resource.VPNConnection) shape.VpnConnection {
	out := shape.VpnConnection{
		VpnConnectionId: c.ID, CustomerGatewayId: c.CustomerID, VpnGatewayId: c.GatewayID, Category: "VPN", State: c.State, Type: ipsec1, Tags: shapeTags(c.Tags),
		GatewayAssociationState: "associated", Routes: []shape.VpnStaticRoute{}, VgwTelemetry: []shape.VgwTelemetry{},
	}
	everything := func(block string) string { return choose(block == "", "0.0.0.0/0", block) }
	options := &shape.VpnConnectionOptions{
		StaticRoutesOnly: !c.BGP, LocalIpv4NetworkCidr: everything(c.Customer), RemoteIpv4NetworkCidr: everything(c.Cloud),
		OutsideIpAddressType: "PublicIpv4", TunnelInsideIpVersion: "ipv4", TunnelOptions: []shape.TunnelOption{},
	}
	if c.State == resource.VPNDeleted {
		return out
	}
	out.Options = options
	for _, block := range c.Routes {
		out.Routes = append(out.Routes, shape.VpnStaticRoute{DestinationCidrBlock: block, State: c.State})
	}
	var psks []string
	for i := range c.Tunnels {
		t := &c.Tunnels[i]
		psk, err := s.Sealer.Open(t.PSK, resource.PSKContext(c.ID, t.Outside))
		if err != nil {
			s.Log.Error("a VPN connection's secret does not open", "connection", c.ID, "error", err)
		}
		psks = append(psks, string(psk))
		options.TunnelOptions = append(options.TunnelOptions, shapeTunnel(t, string(psk)))
		telemetry := shape.VgwTelemetry{OutsideIpAddress: t.Outside, Status: choose(t.Up, "UP", "DOWN"), LastStatusChange: t.Changed, StatusMessage: t.Message}
		switch {
		case t.Up && c.BGP:
			telemetry.AcceptedRouteCount, telemetry.StatusMessage = len(t.Learned), strconv.Itoa(len(t.Learned))+" BGP ROUTES"
		case t.Up:
			telemetry.AcceptedRouteCount = len(c.Routes)
		case t.Message == "":
			telemetry.StatusMessage = "IPSEC IS DOWN"
		}
		out.VgwTelemetry = append(out.VgwTelemetry, telemetry)
	}
	if customer := store.CustomerGateways.Get(r, c.CustomerID); customer != nil && c.Alive() {
		out.CustomerGatewayConfiguration = customerConfiguration(c, customer, store.VPNGateways.Get(r, c.GatewayID), psks)
	}
	return out
}

// readSelectors takes over the ranges that may pass on the customer's and on the cloud's side, where they are given; "" is all.
func readSelectors(local, remote string, customer, cloud *string) error {
	for name, v := range map[string]struct {
		given string
		to    *string
	}{"LocalIpv4NetworkCidr": {local, customer}, "RemoteIpv4NetworkCidr": {remote, cloud}} {
		if v.given == "" {
			continue
		}
		p, err := netip.ParsePrefix(v.given)
		if err != nil || !p.Addr().Is4() || p != p.Masked() {
			return errValue(v.given, name)
		}
		if *v.to = p.String(); p.Bits() == 0 {
			*v.to = ""
		}
	}
	return nil
}

// vpnConnection finds a VPN connection that is there.
func vpnConnection(r store.Reader, info *call.Info, id string) (*resource.VPNConnection, error) {
	if id == "" {
		return nil, errMissing("vpnConnectionId")
	}
	c, err := vpnConnections.find(r, info, id)
	if err == nil && c.State == resource.VPNDeleted {
		err = vpnConnections.notFound(id)
	}
	return c, err
}

// DeleteVpnConnection wants a VPN connection gone. It is once its node has none of it.
func (s *Service) DeleteVpnConnection(ctx context.Context, in *shape.DeleteVpnConnectionRequest) (*shape.DeleteVpnConnectionResult, error) {
	info, err := s.begin(ctx, in)
	if err != nil {
		return nil, err
	}
	err = s.update(ctx, in.DryRun, func(tx *store.Tx) error {
		c, err := vpnConnection(tx, info, in.VpnConnectionId)
		if err != nil || !c.Alive() {
			return err
		}
		next := *c
		next.State, next.EndedAt = resource.VPNDeleting, s.now()
		if g := store.VPNGateways.Get(tx, c.GatewayID); g == nil || g.Node == "" {
			return lifecycle.FinishVPN(tx, &next)
		}
		return store.VPNConnections.Put(tx, &next)
	})
	if err != nil {
		return nil, err
	}
	return &shape.DeleteVpnConnectionResult{}, nil
}

// forgetTunnels notes that a virtual private gateway is on no node: nothing of its connections is up, and those that
// were to go have gone.
func forgetTunnels(tx *store.Tx, gateway string, now time.Time) error {
	for _, c := range slices.Collect(store.VPNConnectionsByGateway.By(tx, gateway)) {
		if c.State == resource.VPNDeleting {
			if err := lifecycle.FinishVPN(tx, c); err != nil {
				return err
			}
			continue
		}
		next := *c
		next.State, next.Tunnels = resource.VPNAvailable, slices.Clone(c.Tunnels)
		for i := range next.Tunnels {
			if t := &next.Tunnels[i]; t.Up || t.Message != "" {
				t.Up, t.Message, t.Learned, t.Changed = false, "", nil, now
			}
		}
		if err := store.VPNConnections.Put(tx, &next); err != nil {
			return err
		}
	}
	return nil
}

// CreateVpnConnectionRoute adds a static route: what is behind the customer gateway.
func (s *Service) CreateVpnConnectionRoute(ctx context.Context, in *shape.CreateVpnConnectionRouteRequest) (*shape.CreateVpnConnectionRouteResult, error) {
	err := s.changeVPNRoutes(ctx, in, in.VpnConnectionId, in.DestinationCidrBlock, func(routes []string, at int, block string) ([]string, error) {
		switch {
		case at >= 0:
			return routes, nil
		case len(routes) >= maxVPNRoutes:
			return nil, awserr.New("RouteLimitExceeded", "The maximum number of static routes of a VPN connection has been reached.")
		}
		return append(slices.Clone(routes), block), nil
	})
	if err != nil {
		return nil, err
	}
	return &shape.CreateVpnConnectionRouteResult{}, nil
}

// DeleteVpnConnectionRoute takes a static route away.
func (s *Service) DeleteVpnConnectionRoute(ctx context.Context, in *shape.DeleteVpnConnectionRouteRequest) (*shape.DeleteVpnConnectionRouteResult, error) {
	err := s.changeVPNRoutes(ctx, in, in.VpnConnectionId, in.DestinationCidrBlock, func(routes []string, at int, block string) ([]string, error) {
		if at < 0 {
			return nil, awserr.New("InvalidRoute.NotFound", "The specified route %s does not exist", block)
		}
		return slices.Delete(slices.Clone(routes), at, at+1), nil
	})
	if err != nil {
		return nil, err
	}
	return &shape.DeleteVpnConnectionRouteResult{}, nil
}

func (s *Service) changeVPNRoutes(ctx context.Context, in any, id, destination string, change func(routes []string, at int, block string) ([]string, error)) error {
	info, err := s.begin(ctx, in)
	if err != nil {
		return err
	}
	if destination == "" {
		return errMissing("destinationCidrBlock")
	}
	p, err := netip.ParsePrefix(destination)
	if err != nil || !p.Addr().Is4() {
		return awserr.New("InvalidParameterValue", "Value (%s) for parameter destinationCidrBlock is invalid. This is not a valid CIDR block.", destination)
	}
	block := p.Masked().String()
	return s.update(ctx, nil, func(tx *store.Tx) error {
		c, err := vpnConnection(tx, info, id)
		if err != nil {
			return err
		}
		if !c.Alive() {
			return awserr.New("IncorrectState", "The VPN connection '%s' is in state '%s'.", c.ID, c.State)
		}
		if c.BGP {
			return errUnsupported("The VPN connection '%s' does not support static routes: it uses BGP.", c.ID)
		}
		next := *c
		if next.Routes, err = change(c.Routes, slices.Index(c.Routes, block), block); err != nil {
			return err
		}
		return store.VPNConnections.Put(tx, &next)
	})
}

// ModifyVpnTunnelOptions changes one tunnel, which goes down for it.
func (s *Service) ModifyVpnTunnelOptions(ctx context.Context, in *shape.ModifyVpnTunnelOptionsRequest) (*shape.ModifyVpnTunnelOptionsResult, error) {
	info, err := s.begin(ctx, in)
	if err != nil {
		return nil, err
	}
	switch {
	case in.VpnTunnelOutsideIpAddress == "":
		return nil, errMissing("vpnTunnelOutsideIpAddress")
	case in.TunnelOptions == nil:
		return nil, errMissing("tunnelOptions")
	}
	options := shape.VpnTunnelOptionsSpecification(*in.TunnelOptions)
	var next resource.VPNConnection
	err = s.update(ctx, in.DryRun, func(tx *store.Tx) error {
		c, err := vpnConnection(tx, info, in.VpnConnectionId)
		if err != nil {
			return err
		}
		if c.State != resource.VPNAvailable {
			return awserr.New("IncorrectState", "The VPN connection '%s' is in state '%s'.", c.ID, c.State)
		}
		i := slices.IndexFunc(c.Tunnels, func(t resource.VPNTunnel) bool { return t.Outside == in.VpnTunnelOutsideIpAddress })
		if i < 0 {
			return errValue(in.VpnTunnelOutsideIpAddress, "vpnTunnelOutsideIpAddress")
		}
		next = *c
		next.Tunnels = slices.Clone(c.Tunnels)
		t := &next.Tunnels[i]
		if t.Options, err = readTunnel(&options, t.Options); err != nil {
			return err
		}
		if options.TunnelInsideCidr != "" {
			if insideTaken(tx, c.GatewayID, t.Outside)[options.TunnelInsideCidr] {
				return errInside(options.TunnelInsideCidr)
			}
			t.Inside = options.TunnelInsideCidr
		}
		if options.PreSharedKey != "" {
			t.PSK = s.Sealer.Seal([]byte(options.PreSharedKey), resource.PSKContext(c.ID, t.Outside))
		}
		return store.VPNConnections.Put(tx, &next)
	})
	if err != nil {
		return nil, err
	}
	out := s.shapeVPN(s.Store.Snapshot(), &next)
	return &shape.ModifyVpnTunnelOptionsResult{VpnConnection: &out}, nil
}

var vpnFilters = &filter.Set[*shape.VpnConnection]{
	Fields: map[string]func(*shape.VpnConnection) []string{
		"customer-gateway-configuration": func(c *shape.VpnConnection) []string { return one(c.CustomerGatewayConfiguration) },
		"customer-gateway-id":            func(c *shape.VpnConnection) []string { return one(c.CustomerGatewayId) },
		"state":                          func(c *shape.VpnConnection) []string { return one(c.State) },
		"option.static-routes-only":      func(c *shape.VpnConnection) []string { return yes(c.Options != nil && c.Options.StaticRoutesOnly) },
		"route.destination-cidr-block": func(c *shape.VpnConnection) (out []string) {
			for _, r := range c.Routes {
				out = append(out, r.DestinationCidrBlock)
			}
			return out
		},
		"type":              constant[*shape.VpnConnection](ipsec1),
		"vpn-connection-id": func(c *shape.VpnConnection) []string { return one(c.VpnConnectionId) },
		"vpn-gateway-id":    func(c *shape.VpnConnection) []string { return one(c.VpnGatewayId) },
	},
	Never: []string{"transit-gateway-id"},
	Tags:  func(c *shape.VpnConnection) map[string]string { return mapTags(c.Tags) },
}

// DescribeVpnConnections lists VPN connections; deleted ones, too, for an hour.
func (s *Service) DescribeVpnConnections(ctx context.Context, in *shape.DescribeVpnConnectionsRequest) (*shape.DescribeVpnConnectionsResult, error) {
	info, r, err := s.read(ctx, in, in.DryRun)
	if err != nil {
		return nil, err
	}
	bgp := func(c *resource.VPNConnection) []string {
		if g := store.CustomerGateways.Get(r, c.CustomerID); g != nil {
			return one(strconv.FormatInt(g.ASN, 10))
		}
		return nil
	}
	byASN := &filter.Set[*resource.VPNConnection]{Fields: map[string]func(*resource.VPNConnection) []string{"bgp-asn": bgp}}
	var own, shown []shape.Filter
	for _, f := range in.Filters {
		if f.Name == "bgp-asn" {
			own = append(own, f)
		} else {
			shown = append(shown, f)
		}
	}
	first, err := compile(byASN, own)
	if err != nil {
		return nil, err
	}
	second, err := compile(vpnFilters, shown)
	if err != nil {
		return nil, err
	}
	match := func(c *resource.VPNConnection) bool {
		if first != nil && !first(c) {
			return false
		}
		if second == nil {
			return true
		}
		v := s.shapeVPN(r, c)
		return second(&v)
	}
	list, _, err := list(s, r, info, vpnConnections, selection[resource.VPNConnection]{op: "DescribeVpnConnections", ids: in.VpnConnectionIds, match: match})
	if err != nil {
		return nil, err
	}
	return &shape.DescribeVpnConnectionsResult{VpnConnections: showAll(r, list, s.shapeVPN)}, nil
}
