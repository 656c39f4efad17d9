package rules

import (
	"fmt"
	"net/netip"
	"slices"

	"karri.dev/internal/network"
)

// family is what rules of IPv4 and IPv6 differ in.
type family struct {
	six          bool
	source, dest Field
}

var (
	four = family{false, IPSource, IPDest}
	six  = family{true, IP6Source, IP6Dest}
)

// has says whether an address can be a guest's in the family.
func (f family) has(a netip.Addr) bool {
	if !f.six {
		return v4(a)
	}
	return a.Is6() && !a.Is4In6() && a.Zone() == "" && a.IsGlobalUnicast()
}

// holds says whether a range is one of the family.
func (f family) holds(p netip.Prefix) bool {
	return p.IsValid() && p.Addr().Is4() != f.six && !p.Addr().Is4In6()
}

func (f family) of(sub network.Subnet) netip.Prefix {
	if f.six {
		return sub.CIDR6
	}
	return sub.CIDR
}

// Link-local addresses, which are the same on every link, and ranges.
var (
	RouterAddr6 = netip.MustParseAddr("fe80::1") // of the router on every tap
	edgeAddr6   = netip.MustParseAddr("fe80::2") // the edge, as the internet gateway of a VPC, and from the host
	egressAddr6 = netip.MustParseAddr("fe80::3") // the edge, as the egress-only internet gateway of a VPC
	peerAddr6   = netip.MustParseAddr("fe80::4") // the other end of a peering
	vpcAddr6    = netip.MustParseAddr("fe80::5") // a VPC, from the edge

	// HostAddr6 is the host, from the edge: a unique local address, which no VPC has.
	HostAddr6 = netip.MustParseAddr("fd6b:6172:7269::1")

	linkLocal6  = netip.MustParsePrefix("fe80::/10")
	everywhere6 = netip.PrefixFrom(netip.IPv6Unspecified(), 0)
)

// hostLink6 is the address by which IPv6 routes name another host.
func hostLink6(underlay netip.Addr) netip.Addr {
	u := underlay.As4()
	return netip.AddrFrom16([16]byte{0: 0xfe, 1: 0x80, 10: 0x5e, 11: 0xfe, 12: u[0], 13: u[1], 14: u[2], 15: u[3]})
}

// hasSix says whether a VPC has an IPv6 range.
func hasSix(v network.VPC) bool { return slices.ContainsFunc(v.CIDRs, six.holds) }

// way6 is how a subnet's IPv6 leaves its VPC.
type way6 struct{ both, out bool }

// ways6 gives the ways out, by route table.
func ways6(v network.VPC) map[string]way6 {
	all := map[string]way6{}
	for _, t := range v.RouteTables {
		var w way6
		for _, r := range t.Routes {
			if six.holds(r.Destination) {
				w.both = w.both || r.Target == network.InternetGateway
				w.out = w.out || r.Target == network.EgressOnly
			}
		}
		all[t.ID] = w
	}
	return all
}

// outside6 gives the IPv6 addresses that are known outside of the VPC; those that can be called from there have both.
func outside6(v network.VPC, ps []port) (known, both []netip.Addr) {
	if !hasSix(v) {
		return nil, nil
	}
	ways := ways6(v)
	for _, p := range ps {
		w := ways[p.subnet.RouteTable]
		if w.both {
			both = append(both, p.IPv6...)
		}
		if w.both || w.out {
			known = append(known, p.IPv6...)
		}
	}
	return sorted(known), sorted(both)
}

// compileSix adds a VPC's IPv6 to its namespace. Guests find RouterAddr6 and nothing else on their link: no range is
// on-link for them, so that every packet is routed, and neighbours are never asked for.
func compileSix(o Options, v network.VPC, ps []port, joined []network.Peering, targets *targets, gateway bool, n *Namespace) {
	for i, p := range ps {
		n.Taps[i].IPv6 = true
		for _, a := range p.IPv6 {
			n.Routes = append(n.Routes, Route{Table: MainTable, Destination: host(a), Kind: Unicast, Device: p.tap})
			n.Neighbors = append(n.Neighbors, Neighbor{Device: p.tap, IP: a, MAC: p.mac})
		}
		for _, r := range p.Prefixes {
			if six.holds(r) && len(p.IPv6) > 0 {
				n.Routes = append(n.Routes, Route{Table: MainTable, Destination: r.Masked(), Kind: Unicast, Device: p.tap, Via: p.IPv6[0]})
			}
		}
	}
	for _, p := range joined {
		mac := UpperMAC
		if v.ID > p.VPC {
			mac = LowerMAC
		}
		n.Neighbors = append(n.Neighbors, Neighbor{Device: PeerName(p.ID), IP: peerAddr6, MAC: mac})
	}
	for _, c := range v.CIDRs {
		if six.holds(c) {
			n.Routes = append(n.Routes, Route{Table: MainTable, Destination: c.Masked(), Kind: Unreachable})
		}
	}
	if gateway {
		n.Neighbors = append(n.Neighbors, Neighbor{Device: GatewayName, IP: edgeAddr6, MAC: EdgeVPCMAC}, Neighbor{Device: GatewayName, IP: egressAddr6, MAC: EdgeVPCMAC})
	}
	overlay := o.Underlay.IsValid()
	if overlay {
		remotesSix(n, v)
		targets.forwardSix(n)
	}
	n.Policies = append(n.Policies, Policy{Priority: prefLocalRoute, Table: MainTable, NoDefaultRoute: true, IPv6: true})
	for _, t := range v.RouteTables {
		routesSix(n, v, t, targets)
	}
	n.Policies = append(n.Policies, Policy{Priority: prefEnd, IPv6: true})
	n.Tables = append(n.Tables, filterSix(v, ps, joined, targets, overlay))
}

// remotesSix adds the ways to IPv6 addresses on other hosts.
func remotesSix(n *Namespace, v network.VPC) {
	var hosts []netip.Addr
	for _, r := range v.Remotes {
		for _, p := range r.Others {
			if six.holds(p) && v4(r.Underlay) {
				n.Routes = append(n.Routes, Route{Table: MainTable, Destination: p.Masked(), Kind: Unicast, Device: OverlayName, Via: hostLink6(r.Underlay)})
				hosts = append(hosts, r.Underlay)
			}
		}
	}
	for _, h := range sorted(hosts) {
		n.Neighbors = append(n.Neighbors, Neighbor{Device: OverlayName, IP: hostLink6(h), MAC: OverlayMAC(h)})
	}
}

// routesSix adds a route table's IPv6 routes.
func routesSix(n *Namespace, v network.VPC, t network.RouteTable, targets *targets) {
	used := map[int]int{} // kernel table → priority
	for _, r := range t.Routes {
		if !six.holds(r.Destination) {
			continue
		}
		table, priority := tableBase+int(t.Index), prefRouteTable
		if inside(v, r.Destination) {
			table, priority = specificBase+int(t.Index), prefSpecific
		}
		used[table] = priority
		route := Route{Table: table, Destination: r.Destination.Masked(), Kind: BlackholeR}
		switch r.Target {
		case network.InternetGateway:
			route.Kind, route.Device, route.Via = Unicast, GatewayName, edgeAddr6
		case network.EgressOnly:
			route.Kind, route.Device, route.Via = Unicast, GatewayName, egressAddr6
		case network.ToInterface, network.ToPeering:
			if h := targets.hops[r.ID]; h.via6.IsValid() {
				route.Kind, route.Device, route.Via = Unicast, h.device, h.via6
			}
		}
		n.Routes = append(n.Routes, route)
	}
	for _, table := range []int{specificBase + int(t.Index), tableBase + int(t.Index)} {
		if used[table] != 0 {
			n.Policies = append(n.Policies, Policy{Priority: used[table], Mark: t.Index, Table: table, IPv6: true})
		}
	}
}

// filterSix is the VPC's ip6 table.
func filterSix(v network.VPC, ps []port, joined []network.Peering, targets *targets, overlay bool) Table {
	s := newSets()
	bind, macs, free := s.set("bind", InName, EtherSource, IP6Source), s.set("macs", InName, EtherSource), s.set("nosdc", InName, EtherSource)
	rtb, origin := s.mapTo("rtb", Mark, InGroup), s.mapTo("origin", Mark, InName)
	for _, name := range []string{"rate", "fresh", "fragments", "fragment_bytes"} {
		s.add(Set{Name: name, Key: []Type{IfName}, Dynamic: true})
	}
	s.set(Full, InName)
	putTables(rtb, v)
	from := Fields{InName, EtherSource}
	spoof := []Rule{
		{In{Fields: Fields{InName, EtherSource, IP6Source}, Set: "bind"}, Do("accept")},
		// From link-local addresses, and from none, guests speak with their router; neither is ever forwarded.
		{In{Fields: from, Set: "macs"}, Prefix{IP6Source, linkLocal6}, Do("accept")},
		{In{Fields: from, Set: "macs"}, Prefix{IP6Source, host(netip.IPv6Unspecified())}, Proto{58}, Do("accept")},
		{In{Fields: from, Set: "nosdc"}, Do("accept")},
		{Name{InName, OverlayName}, Do("accept")},
		{Name{InName, "lo"}, Do("accept")},
	}
	for _, p := range ps {
		for _, a := range p.IPv6 {
			bind.put("", p.tap, p.mac, a.String())
		}
		macs.put("", p.tap, p.mac)
		origin.put(fmt.Sprint(ConnMark(p.tap)), p.tap)
		if p.NoSourceCheck {
			free.put("", p.tap, p.mac)
		}
		for _, r := range p.Prefixes {
			if six.holds(r) {
				spoof = append(spoof, Rule{Name{InName, p.tap}, In{Fields: from, Set: "macs"}, Prefix{IP6Source, r.Masked()}, Do("accept")})
			}
		}
	}
	outside, public := s.set("outside", IP6Dest), s.set("public", IP6Dest)
	known, both := outside6(v, ps)
	for _, a := range known {
		outside.put("", a.String())
	}
	for _, a := range both {
		public.put("", a.String())
	}
	for _, c := range v.CIDRs { // what is inside does not come from outside
		if six.holds(c) {
			spoof = append(spoof, Rule{Name{InName, GatewayName}, Prefix{IP6Source, c.Masked()}, Do("drop")})
		}
	}
	spoof = append(spoof, Rule{Name{InName, GatewayName}, In{Fields: Fields{IP6Dest}, Set: "outside"}, Do("accept")})
	for _, p := range joined {
		for _, c := range p.CIDRs {
			if six.holds(c) {
				spoof = append(spoof, Rule{Name{InName, PeerName(p.ID)}, Prefix{IP6Source, c.Masked()}, Do("accept")})
			}
		}
	}
	services := []Rule{
		{Name{InName, "lo"}, Do("accept")},
		{Name{InName, OverlayName}, Do("drop")},
		{Name{InName, GatewayName}, Do("drop")},
		{Over{Set: "rate", Rate: linkPackets, Burst: linkBurst}, Do("drop")},
	}
	for _, kind := range []int{133, 135, 136} { // questions for a router and for neighbours, and their answers
		services = append(services, Rule{Proto{58}, ICMP{Type: kind, Code: -1, V6: true}, Do("accept")})
	}
	chains := slices.Concat([]Chain{{Name: "antispoof", Base: &Base{"filter", "prerouting", -300, true}, Rules: spoof}}, fragments(six), classify(), []Chain{
		{Name: "services", Base: &Base{"filter", "input", 0, true}, Rules: append(services, Rule{Proto{17}, Ports{547, 547}, Do("accept")})},
	})
	chains = append(chains, Chain{Name: "egress", Base: &Base{"filter", "postrouting", 300, false}, Rules: []Rule{
		{Name{OutName, GatewayName}, In{Fields: Fields{IP6Source}, Set: "outside", Not: true}, Do("drop")},
		// By an egress-only gateway nobody answers who was called by another way.
		{Name{OutName, GatewayName}, Prefix{NextHop6, host(egressAddr6)}, State{Reply}, Do("drop")},
	}})
	if overlay { // the mark goes with the packet, and says to the other host whom a route leads to
		hops := s.mapTo("hops", Mark, NextHop6)
		for _, f := range targets.far {
			hops.put(fmt.Sprint(f.mark), f.hop6.String())
		}
		chains = append(chains, Chain{Name: "overlay", Base: &Base{"filter", "postrouting", 310, false}, Rules: []Rule{
			{Name{OutName, OverlayName}, MarkAs(0)},
			{Name{OutName, OverlayName}, SetMark{NextHop6, "hops"}},
		}})
	}
	chains = append(chains, acls(six, s, v, ps, nil, overlay)...)
	chains = append(chains, groups(six, s, v, ps, nil, joined, nil, overlay)...)
	forward := &chains[slices.IndexFunc(chains, func(c Chain) bool { return c.Name == "forward" })]
	last := len(forward.Rules) - 1
	forward.Rules = slices.Insert(forward.Rules, last, Rule{Name{InName, GatewayName}, In{Fields: Fields{IP6Dest}, Set: "public", Not: true}, Do("drop")})
	chains = logDenied(s, v, chains)
	return Table{Family: "ip6", Name: TableName, Sets: s.all(), Chains: chains}
}
