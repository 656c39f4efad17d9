package rules

import (
	"cmp"
	"net/netip"
	"slices"
	"strconv"

	"karri.dev/internal/network"
)

// A virtual private gateway is a namespace of its own on a link to its VPC. Each tunnel of its connections has a
// namespace, too, between the gateway's and the edge: what leaves the VPC passes the gateway, which chooses the
// tunnel, and leaves by the edge as ESP only.

// Names, addresses and numbers in these namespaces.
const (
	IPsecLink  = "ipsec0" // in a tunnel's: what passes it is encrypted, or was
	tunnelLink = "out0"   // in a tunnel's: its link to the edge

	fromGateway = 1    // mark of packets for the customer
	fromTunnel  = 2    // mark of packets from the customer
	tunnelMSS   = 1360 // what fits into a tunnel whose link has 1400
)

// CharonPriority is that of the policy rule which strongSwan makes for itself: after ours, so that it never counts.
const CharonPriority = 32765

// TunnelView is what the host knows of a VPN tunnel.
type TunnelView struct {
	Ready bool // its IPsecLink is there
	Up    bool
	// Learned are the routes that came by BGP.
	Learned []network.Learned
}

var (
	linkLocal = netip.PrefixFrom(netip.AddrFrom4([4]byte{169, 254}), 16)
	reserved  = []netip.Prefix{
		netip.PrefixFrom(netip.AddrFrom4([4]byte{0}), 8), netip.PrefixFrom(netip.AddrFrom4([4]byte{127}), 8),
		netip.PrefixFrom(netip.AddrFrom4([4]byte{224}), 3), linkLocal,
	}
)

// vpn is the VPC's virtual private gateway where it is on this host.
type vpn struct {
	network.VPNGateway
	link string // in its VPC
}

// localVPN gives the VPC's virtual private gateway if it is on this host, else nil.
func localVPN(o Options, v network.VPC) *vpn {
	if v.VPN == nil || v4(v.VPN.Underlay) && v.VPN.Underlay != o.Underlay || !plainID(v.VPN.ID) {
		return nil
	}
	return &vpn{*v.VPN, "vgw" + tail(v.VPN.ID, "vgw-")}
}

// usable gives the connections and tunnels whose data make sense.
func (g *vpn) usable() (out []network.VPNConnection) {
	for _, c := range g.Connections {
		c.Tunnels = slices.DeleteFunc(slices.Clone(c.Tunnels), func(t network.VPNTunnel) bool {
			return !plainID(t.ID) || !v4(t.Public) || t.Inside.Bits() != 30 || !linkLocal.Contains(t.Inside.Addr())
		})
		c.Routes = slices.DeleteFunc(slices.Clone(c.Routes), func(p netip.Prefix) bool { return !p.IsValid() || !p.Addr().Is4() })
		if v4(c.Customer) && len(c.Tunnels) > 0 {
			out = append(out, c)
		}
	}
	return out
}

// tunnelEnd is the name of a tunnel's link in the gateway and on the edge: the end of the connection's id, which is
// random, and the tunnel's number.
func tunnelEnd(id string) string {
	id = tail(id, "vpn-")
	return "vt" + id[max(0, len(id)-13):]
}

// compileVPN gives the namespaces of a virtual private gateway and its tunnels, and the tunnels' public addresses by
// their link on the edge.
func compileVPN(o Options, v network.VPC) (out []Gateway, public map[netip.Addr]string) {
	g := localVPN(o, v)
	if g == nil {
		return nil, nil
	}
	public = map[netip.Addr]string{}
	gateway := Gateway{ID: g.ID}
	n := &gateway.Namespace
	n.Policies = []Policy{{Priority: prefMain, Table: MainTable}}
	n.Neighbors = []Neighbor{{Device: NATLink, IP: routerAddr, MAC: TapMAC}}
	spoof := Chain{Name: "antispoof", Base: &Base{"filter", "prerouting", -300, true}, Rules: []Rule{{Name{InName, NATLink}, Do("accept")}}}
	forward := Chain{Name: "forward", Base: &Base{"filter", "forward", 0, true}}
	own := map[netip.Prefix]bool{}
	for _, c := range v.CIDRs {
		if c.Addr().Is4() {
			own[c.Masked()] = true
			n.Routes = append(n.Routes, Route{Table: MainTable, Destination: c.Masked(), Kind: Unicast, Device: NATLink, Via: routerAddr})
			spoof.Rules = append(spoof.Rules, Rule{Prefix{IPSource, c.Masked()}, Do("drop")})
		}
	}
	for _, p := range reserved {
		spoof.Rules = append(spoof.Rules, Rule{Prefix{IPSource, p}, Do("drop")})
	}
	routed := map[netip.Prefix]bool{}
	for _, c := range g.usable() {
		for _, t := range c.Tunnels {
			name := tunnelEnd(t.ID)
			gateway.Links = append(gateway.Links, Link{Name: name, MAC: LowerMAC, To: t.ID, There: NATLink, ThereMAC: UpperMAC})
			n.Neighbors = append(n.Neighbors, Neighbor{Device: name, IP: peerAddr, MAC: UpperMAC})
			// A tunnel may say that a packet is too big for it.
			spoof.Rules = append(spoof.Rules, Rule{Name{InName, name}, Prefix{IPSource, host(t.Public)}, Proto{1}, ICMP{Type: 3, Code: 4}, Do("accept")})
			for _, p := range behind(c, o.Tunnels[t.ID]) {
				spoof.Rules = append(spoof.Rules, from(name, p.Prefix))
			}
			forward.Rules = append(forward.Rules,
				Rule{Name{InName, name}, Name{OutName, NATLink}, Do("accept")}, Rule{Name{InName, NATLink}, Name{OutName, name}, Do("accept")})
			out = append(out, compileTunnel(v, c, t, o.Tunnels[t.ID].Ready))
			public[t.Public] = name
		}
		for _, w := range ways(o, c) {
			if own[w.Prefix] || routed[w.Prefix] {
				continue
			}
			routed[w.Prefix] = true
			n.Routes = append(n.Routes, Route{Table: MainTable, Destination: w.Prefix, Kind: Unicast, Device: tunnelEnd(w.tunnel), Via: peerAddr})
		}
	}
	n.Tables = []Table{{Family: "ip", Name: TableName, Chains: []Chain{spoof, {Name: "input", Base: &Base{"filter", "input", 0, true}}, forward}}}
	return append([]Gateway{gateway}, out...), public
}

// behind gives what is behind a tunnel.
func behind(c network.VPNConnection, view TunnelView) (out []network.Learned) {
	if c.BGP != nil {
		return view.Learned
	}
	for _, p := range c.Routes {
		out = append(out, network.Learned{Prefix: p})
	}
	return out
}

// way is a route by a tunnel.
type way struct {
	network.Learned
	tunnel string
}

// ways gives the best way to each range behind a connection's tunnels that are up: the one with the shorter path, the
// lower metric, or the first.
func ways(o Options, c network.VPNConnection) (out []way) {
	for _, t := range c.Tunnels {
		view := o.Tunnels[t.ID]
		if !view.Ready || !view.Up {
			continue
		}
		for _, l := range behind(c, view) {
			l.Prefix = l.Prefix.Masked()
			i := slices.IndexFunc(out, func(w way) bool { return w.Prefix == l.Prefix })
			switch {
			case i < 0:
				out = append(out, way{l, t.ID})
			case cmp.Or(cmp.Compare(l.Length, out[i].Length), cmp.Compare(l.MED, out[i].MED)) < 0:
				out[i] = way{l, t.ID}
			}
		}
	}
	return out
}

// from is the rule that lets packets of a range in by a link.
func from(link string, p netip.Prefix) Rule {
	rule := Rule{Name{InName, link}}
	if p.Bits() > 0 {
		rule = append(rule, Prefix{IPSource, p.Masked()})
	}
	return append(rule, Do("accept"))
}

// compileTunnel gives a tunnel's namespace. Only its customer gateway may speak to its public address, and only IKE
// and ESP; what comes in by one side of the tunnel leaves by the other or not at all.
func compileTunnel(v network.VPC, c network.VPNConnection, t network.VPNTunnel, ready bool) Gateway {
	const toCustomer, toVPC = tableBase + fromGateway, tableBase + fromTunnel
	out := Gateway{ID: t.ID, Tunnel: true}
	n := &out.Namespace
	n.Addresses = sorted([]netip.Addr{t.Public, t.Gateway()})
	out.Links = []Link{{Name: tunnelLink, MAC: GatewayMAC, To: EdgeSpace, There: tunnelEnd(t.ID), ThereMAC: EdgeVPCMAC}}
	n.Neighbors = []Neighbor{{Device: tunnelLink, IP: EdgeAddr, MAC: EdgeVPCMAC}, {Device: NATLink, IP: routerAddr, MAC: LowerMAC}}
	n.Routes = []Route{
		{Table: MainTable, Destination: everywhere, Kind: Unicast, Device: tunnelLink, Via: EdgeAddr, Source: t.Public},
		{Table: MainTable, Destination: t.Inside.Masked(), Kind: Unreachable},
		{Table: toVPC, Destination: everywhere, Kind: Unreachable},
	}
	if ready {
		n.Routes = append(n.Routes,
			Route{Table: MainTable, Destination: host(t.Customer()), Kind: Unicast, Device: IPsecLink, Source: t.Gateway()},
			Route{Table: toCustomer, Destination: everywhere, Kind: Unicast, Device: IPsecLink})
	} else {
		n.Routes = append(n.Routes, Route{Table: toCustomer, Destination: everywhere, Kind: Unreachable})
	}
	for _, r := range v.CIDRs {
		if r.Addr().Is4() {
			n.Routes = append(n.Routes, Route{Table: toVPC, Destination: r.Masked(), Kind: Unicast, Device: NATLink, Via: routerAddr})
		}
	}
	n.Policies = []Policy{
		{Priority: prefForward, Mark: fromGateway, Table: toCustomer},
		{Priority: prefForward, Mark: fromTunnel, Table: toVPC},
		{Priority: prefLocalRoute, Table: MainTable},
		{Priority: prefEnd},
	}
	customer := Prefix{IPSource, host(c.Customer)}
	inner := Prefix{IPSource, host(t.Customer())}
	pass := func(in, out string) Rule {
		r := Rule{Name{InName, in}, Name{OutName, out}}
		if in == IPsecLink && c.Remote.Bits() > 0 {
			r = append(r, Prefix{IPSource, c.Remote.Masked()})
		}
		if out == IPsecLink && c.Remote.Bits() > 0 {
			r = append(r, Prefix{IPDest, c.Remote.Masked()})
		}
		return append(r, Do("accept"))
	}
	n.Tables = []Table{{Family: "ip", Name: TableName, Chains: []Chain{
		{Name: "classify", Base: &Base{"filter", "prerouting", -150, false}, Rules: []Rule{
			{Name{InName, NATLink}, MarkAs(fromGateway)},
			{Name{InName, IPsecLink}, MarkAs(fromTunnel)},
		}},
		{Name: "input", Base: &Base{"filter", "input", 0, true}, Rules: []Rule{
			{Name{InName, "lo"}, Do("accept")},
			{Name{InName, tunnelLink}, customer, Proto{17}, Ports{500, 500}, Do("accept")},
			{Name{InName, tunnelLink}, customer, Proto{17}, Ports{4500, 4500}, Do("accept")},
			{Name{InName, tunnelLink}, customer, Proto{50}, Do("accept")},
			{Name{InName, IPsecLink}, inner, Prefix{IPDest, host(t.Gateway())}, Proto{1}, Do("accept")},
			{Name{InName, IPsecLink}, inner, Prefix{IPDest, host(t.Gateway())}, Proto{6}, Ports{179, 179}, Do("accept")}, // BGP
		}},
		{Name: "forward", Base: &Base{"filter", "forward", 0, true}, Rules: []Rule{
			{Proto{6}, MaxSegment(tunnelMSS)},
			pass(NATLink, IPsecLink),
			pass(IPsecLink, NATLink),
		}},
	}}}
	return out
}

func (t MaxSegment) text() string {
	return "tcp flags syn / syn tcp option maxseg size set " + strconv.Itoa(int(t))
}
