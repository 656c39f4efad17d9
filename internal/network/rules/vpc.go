package rules

import (
	"fmt"
	"hash/fnv"
	"net/netip"
	"slices"

	"karri.dev/internal/network"
)

// Limits of what one tap may ask of its router's own services.
const (
	servicePackets = 1000 // a second
	serviceBurst   = 2000
	serviceConns   = 64 // TCP connections at a time
)

// Limits of what one tap may take of what the VPC's guests share in the kernel: fragments that wait for others (for
// fragmentSeconds, see package netns), new connections, and ARP. Connections at a time are counted by the driver.
const (
	fragmentPackets = 1024 // a second, as EC2 has it
	fragmentBurst   = 2048
	fragmentBytes   = 1536 // kB a second
	freshConns      = 25_000
	arpPackets      = 200
	arpForeign      = 10 // with somebody else's address as the sender, where that is allowed
	linkPackets     = 20 // to the IPv6 router itself: each sender makes the kernel remember a neighbour
	linkBurst       = 100
)

// Priorities of the policy rules; 0 is the kernel's own, for local addresses.
const (
	prefForward    = 400  // what another host sends to a route's target here
	prefSpecific   = 500  // routes inside the VPC's own ranges
	prefLocalRoute = 1000 // the VPC's own ranges come first
	prefRouteTable = 2000
	prefEnd        = 3000
	prefMain       = 32766 // the kernel's own for its main table, which the edge keeps
	tableBase      = 100   // route table n is kernel table 100+n
	specificBase   = 10000 // and its routes inside the VPC's ranges are in 10000+n
)

// compileVPC gives a VPC's namespace, and the public addresses in force in it.
func compileVPC(o Options, v network.VPC, here map[string]bool) (VPC, []netip.Addr, error) {
	ps, err := ports(v)
	out := VPC{ID: v.ID, VNI: v.VNI, Overlay: o.Underlay.IsValid()}
	n := &out.Namespace
	n.Addresses = local(v)
	for _, p := range ps {
		n.Taps = append(n.Taps, Tap{Name: p.tap, ID: p.ID, Group: p.subnet.Index})
		n.Routes = append(n.Routes, Route{Table: MainTable, Destination: host(p.PrivateIP), Kind: Unicast, Device: p.tap})
		n.Neighbors = append(n.Neighbors, Neighbor{Device: p.tap, IP: p.PrivateIP, MAC: p.mac})
		for _, a := range p.addrs[1:] {
			n.Routes = append(n.Routes, Route{Table: MainTable, Destination: host(a.Private), Kind: Unicast, Device: p.tap, Via: p.PrivateIP})
		}
		for _, r := range p.prefixes() {
			n.Routes = append(n.Routes, Route{Table: MainTable, Destination: r, Kind: Unicast, Device: p.tap, Via: p.PrivateIP})
		}
	}
	gates := localNATs(o, v)
	for _, g := range gates {
		out.Links = append(out.Links, Link{Name: g.link, MAC: TapMAC, Group: g.subnet.Index, To: g.ID, There: NATLink, ThereMAC: g.mac})
		n.Neighbors = append(n.Neighbors, Neighbor{Device: g.link, IP: g.addrs[0].Private, MAC: g.mac})
		for _, a := range g.addrs {
			n.Routes = append(n.Routes, Route{Table: MainTable, Destination: host(a.Private), Kind: Unicast, Device: g.link, Via: g.addrs[0].Private})
		}
	}
	gateway := localVPN(o, v)
	if gateway != nil {
		out.Links = append(out.Links, Link{Name: gateway.link, MAC: TapMAC, To: gateway.ID, There: NATLink, ThereMAC: GatewayMAC})
		n.Neighbors = append(n.Neighbors, Neighbor{Device: gateway.link, IP: peerAddr, MAC: GatewayMAC})
	}
	joined := peers(v, here)
	for _, p := range joined {
		mine, theirs := LowerMAC, UpperMAC
		if v.ID > p.VPC {
			mine, theirs = theirs, mine
		}
		link := PeerName(p.ID)
		out.Links = append(out.Links, Link{Name: link, MAC: mine, To: p.VPC, There: link, ThereMAC: theirs, ByOtherSide: v.ID > p.VPC})
		n.Neighbors = append(n.Neighbors, Neighbor{Device: link, IP: peerAddr, MAC: theirs})
	}
	for _, c := range v.CIDRs {
		if !c.Addr().Is4() {
			continue
		}
		n.Routes = append(n.Routes, Route{Table: MainTable, Destination: c.Masked(), Kind: Unreachable})
	}
	targets := newTargets(o, v, ps, gates, joined, gateway)
	n.Policies = append(n.Policies, endpointPolicies(v)...)
	if out.Overlay {
		remotes(n, o, v)
		targets.forward(n)
	}
	n.Policies = append(n.Policies, Policy{Priority: prefLocalRoute, Table: MainTable, NoDefaultRoute: true})
	for _, t := range v.RouteTables {
		table := tableBase + int(t.Index)
		n.Policies = append(n.Policies, Policy{Priority: prefRouteTable, Mark: t.Index, Table: table})
		specific := false
		for _, r := range t.Routes {
			if !r.Destination.IsValid() || !r.Destination.Addr().Is4() || r.Target == network.ToGatewayService {
				continue // the last ones are in the set of tables that lead to S3
			}
			route := Route{Table: table, Destination: r.Destination.Masked(), Kind: BlackholeR}
			if r.Target == network.InternetGateway {
				out.Gateway = true
				route.Kind, route.Via, route.Device = Unicast, EdgeAddr, GatewayName
			} else if device, via, ok := targets.find(r); ok {
				route.Kind, route.Via, route.Device = Unicast, via, device
			}
			if inside(v, r.Destination) {
				route.Table, specific = specificBase+int(t.Index), true
			}
			n.Routes = append(n.Routes, route)
		}
		if specific {
			n.Policies = append(n.Policies, Policy{Priority: prefSpecific, Mark: t.Index, Table: specificBase + int(t.Index)})
		}
	}
	n.Policies = append(n.Policies, Policy{Priority: prefEnd})
	for _, w := range ways6(v) {
		out.Gateway = out.Gateway || hasSix(v) && (w.both || w.out)
	}
	if out.Gateway {
		n.Neighbors = append(n.Neighbors, Neighbor{Device: GatewayName, IP: EdgeAddr, MAC: EdgeVPCMAC})
	}
	n.Tables = []Table{filter(v, ps, gates, joined, gateway, targets, out.Overlay), arp(ps)}
	if hasSix(v) {
		out.IPv6 = true
		compileSix(o, v, ps, joined, targets, out.Gateway, n)
	}
	public, _ := outside6(v, ps)
	for _, a := range translated(ps, gates) {
		public = append(public, a.Public)
	}
	return out, sorted(public), err
}

// remotes adds the ways to the VPC's interfaces on other hosts.
func remotes(n *Namespace, o Options, v network.VPC) {
	hosts := map[netip.Addr]bool{}
	for _, r := range v.Remotes {
		if !v4(r.PrivateIP) || !v4(r.Underlay) {
			continue
		}
		hosts[r.Underlay] = true
		n.Routes = append(n.Routes, Route{
			Table: MainTable, Destination: host(r.PrivateIP), Kind: Unicast,
			Device: OverlayName, Via: hostLink(r.Underlay),
		})
		for _, p := range r.Others {
			if p.IsValid() && p.Addr().Is4() {
				n.Routes = append(n.Routes, Route{Table: MainTable, Destination: p.Masked(), Kind: Unicast, Device: OverlayName, Via: hostLink(r.Underlay)})
			}
		}
	}
	if v.VPN != nil && v4(v.VPN.Underlay) && v.VPN.Underlay != o.Underlay {
		hosts[v.VPN.Underlay] = true
	}
	for _, g := range v.NATGateways {
		if !elsewhere(g, o) {
			continue
		}
		hosts[g.Underlay] = true
		for _, a := range g.Addresses {
			if v4(a.Private) {
				n.Routes = append(n.Routes, Route{Table: MainTable, Destination: host(a.Private), Kind: Unicast, Device: OverlayName, Via: hostLink(g.Underlay)})
			}
		}
	}
	var order []netip.Addr
	for h := range hosts {
		order = append(order, h)
	}
	for _, h := range sorted(order) {
		n.Neighbors = append(n.Neighbors, Neighbor{Device: OverlayName, IP: hostLink(h), MAC: OverlayMAC(h)})
		n.Peers = append(n.Peers, Peer{MAC: OverlayMAC(h), Underlay: h})
	}
}

// filter is the VPC's ip table.
func filter(v network.VPC, ps []port, gates []gate, joined []network.Peering, gateway *vpn, targets *targets, overlay bool) Table {
	s := newSets()
	var (
		bind     = s.set("bind", InName, EtherSource, IPSource)
		macs     = s.set("macs", InName, EtherSource)
		free     = s.set("nosdc", InName, EtherSource)
		rtb      = s.mapTo("rtb", Mark, InGroup)
		resolver = s.set("resolver", IPDest)
		public   = s.set("public", IPSource)
		eipIn    = s.mapTo("eip_in", IPv4Addr, IPDest)
		eipOut   = s.mapTo("eip_out", IPv4Addr, IPSource)
	)
	s.add(Set{Name: "rate", Key: []Type{IfName}, Dynamic: true})
	s.add(Set{Name: "conns", Key: []Type{IfName}, Dynamic: true})
	for _, name := range []string{"fragments", "fragment_bytes", "fresh"} {
		s.add(Set{Name: name, Key: []Type{IfName}, Dynamic: true})
	}
	s.set(Full, InName)
	origin := s.mapTo("origin", Mark, InName)
	for _, p := range ps {
		for _, a := range p.addrs {
			bind.put("", p.tap, p.mac, a.Private.String())
		}
		macs.put("", p.tap, p.mac)
		origin.put(fmt.Sprint(ConnMark(p.tap)), p.tap)
		if p.NoSourceCheck {
			free.put("", p.tap, p.mac)
		}
	}
	for _, g := range gates {
		free.put("", g.link, g.mac)
	}
	for _, a := range translated(ps, gates) {
		public.put("", a.Public.String())
		eipIn.put(a.Private.String(), a.Public.String())
		eipOut.put(a.Public.String(), a.Private.String())
	}
	putTables(rtb, v)
	resolver.put("", ResolverAddr.String())
	if a, ok := VPCResolver(v); ok {
		resolver.put("", a.String())
	}

	from := Fields{InName, EtherSource}
	chains := slices.Concat([]Chain{
		{Name: "antispoof", Base: &Base{"filter", "prerouting", -300, true}, Rules: []Rule{
			{In{Fields: Fields{InName, EtherSource, IPSource}, Set: "bind"}, Do("accept")},
			{In{Fields: from, Set: "nosdc"}, Do("accept")},
			{Name{InName, GatewayName}, In{Fields: Fields{IPDest}, Set: "public"}, Do("accept")},
			{Name{InName, OverlayName}, Do("accept")},
			{Name{InName, "lo"}, Do("accept")},
			{
				In{Fields: from, Set: "macs"},
				Prefix{IPSource, host(netip.IPv4Unspecified())},
				Prefix{IPDest, host(netip.AddrFrom4([4]byte{255, 255, 255, 255}))},
				Proto{17},
				Ports{67, 67},
				Do("accept"),
			},
		}},
	}, fragments(four), classify(), []Chain{
		{Name: "eip_dnat", Base: &Base{"nat", "prerouting", -100, false}, Rules: []Rule{{Name{InName, GatewayName}, NAT{Map: "eip_in"}}}},
		{Name: "eip_snat", Base: &Base{"nat", "postrouting", 100, false}, Rules: []Rule{{Name{OutName, GatewayName}, NAT{Source: true, Map: "eip_out"}}}},
		{Name: "egress", Base: &Base{"filter", "postrouting", 300, false}, Rules: []Rule{
			{Name{OutName, GatewayName}, In{Fields: Fields{IPSource}, Set: "public", Not: true}, Do("drop")},
		}},
		{Name: "services", Base: &Base{"filter", "input", 0, true}, Rules: []Rule{
			{Name{InName, "lo"}, Do("accept")},
			{Name{InName, GatewayName}, Do("drop")},
			{Name{InName, OverlayName}, Do("drop")},
			// Who needs not say who it is could else spend its neighbours' shares.
			{In{Fields: from, Set: "nosdc"}, In{Fields: Fields{InName, EtherSource, IPSource}, Set: "bind", Not: true}, Do("drop")},
			{In{Fields: Fields{IPDest}, Set: "endpoints"}, Proto{6}, Do("goto endpoint")},
			{In{Fields: Fields{IPDest}, Set: "endpoints"}, Do("drop")},
			{State{Established}, Prefix{IPDest, host(APIAddr)}, Proto{6}, Do("accept")}, // whole objects pass here
			{Over{Set: "rate", Rate: servicePackets, Burst: serviceBurst}, Do("drop")},
			{State{Established}, Do("accept")},
			{Proto{17}, Ports{67, 67}, Do("accept")},
			{In{Fields: Fields{IPDest}, Set: "resolver"}, Proto{17}, Ports{53, 53}, Do("accept")},
			{Proto{6}, State{New}, Conns{"conns", serviceConns}, Do("drop")},
			{In{Fields: Fields{IPDest}, Set: "resolver"}, Proto{6}, Ports{53, 53}, Do("accept")},
			{Prefix{IPDest, host(MetadataAddr)}, Proto{6}, Ports{80, 80}, Do("accept")},
			{Prefix{IPDest, host(APIAddr)}, Proto{6}, Ports{80, 80}, Do("accept")},
			{Prefix{IPDest, host(APIAddr)}, Proto{6}, Ports{443, 443}, Do("accept")},
			{Prefix{IPDest, host(APIAddr)}, Proto{6}, Ports{8773, 8773}, Do("accept")},
		}},
	})
	spoof := &chains[0]
	for _, p := range joined { // a VPC's names are not its peers' to ask for, as in EC2
		own := &chains[slices.IndexFunc(chains, func(c Chain) bool { return c.Name == "services" })]
		own.Rules = append([]Rule{{Name{InName, PeerName(p.ID)}, In{Fields: Fields{IPDest}, Set: "resolver"}, Do("drop")}}, own.Rules...)
	}
	for _, p := range ps {
		for _, r := range p.prefixes() {
			spoof.Rules = append(spoof.Rules, Rule{Name{InName, p.tap}, In{Fields: from, Set: "macs"}, Prefix{IPSource, r}, Do("accept")})
		}
	}
	if gateway != nil { // which has looked at the sources
		spoof.Rules = append(spoof.Rules, Rule{Name{InName, gateway.link}, Do("accept")})
		services := &chains[len(chains)-1]
		services.Rules = slices.Insert(services.Rules, 1, Rule{Name{InName, gateway.link}, Do("drop")})
	}
	for _, p := range joined {
		for _, c := range p.CIDRs {
			if c.Addr().Is4() {
				spoof.Rules = append(spoof.Rules, Rule{Name{InName, PeerName(p.ID)}, Prefix{IPSource, c.Masked()}, Do("accept")})
			}
		}
	}
	if overlay { // the mark goes with the packet, and says to the other host whom a route leads to
		hops := s.mapTo("hops", Mark, NextHop)
		for _, f := range targets.far {
			hops.put(fmt.Sprint(f.mark), f.hop.String())
		}
		chains = append(chains, Chain{Name: "overlay", Base: &Base{"filter", "postrouting", 310, false}, Rules: []Rule{
			{Name{OutName, OverlayName}, MarkAs(0)},
			{Name{OutName, OverlayName}, SetMark{NextHop, "hops"}},
		}})
	}
	chains = append(chains, endpoints(s, v)...)
	chains = append(chains, acls(four, s, v, ps, gates, overlay)...)
	chains = append(chains, groups(four, s, v, ps, gates, joined, gateway, overlay)...)
	chains = logDenied(s, v, chains)
	return Table{Family: "ip", Name: TableName, Sets: s.all(), Chains: chains}
}

// putTables says which route table a subnet's packets go by.
func putTables(rtb *growing, v network.VPC) {
	for _, sub := range v.Subnets {
		if i := slices.IndexFunc(v.RouteTables, func(t network.RouteTable) bool { return t.ID == sub.RouteTable }); i >= 0 {
			rtb.put(fmt.Sprint(v.RouteTables[i].Index), fmt.Sprint(sub.Index))
		}
	}
}

// fragments gives the chains that share out the room for fragments, before they are put together.
func fragments(f family) []Chain {
	return []Chain{
		{Name: "shared", Base: &Base{"filter", "prerouting", -450, false}, Rules: []Rule{{Fragment{V6: f.six}, Do("jump fragments")}}},
		{Name: "fragments", Rules: []Rule{
			{Name{InName, GatewayName}, Do("return")},
			{Name{InName, OverlayName}, Do("return")},
			{Over{Set: "fragments", Rate: fragmentPackets, Burst: fragmentBurst}, Do("drop")},
			{Over{Set: "fragment_bytes", Rate: fragmentBytes, Burst: 2 * fragmentBytes, Bytes: true}, Do("drop")},
		}},
	}
}

// classify gives the chains that mark a packet with its route table, and judge and mark those that begin a connection.
func classify() []Chain {
	return []Chain{
		{Name: "classify", Base: &Base{"filter", "prerouting", -150, false}, Rules: []Rule{
			{State{Unknown}, Do("jump fresh")},
			{SetMark{InGroup, "rtb"}},
		}},
		{Name: "fresh", Rules: []Rule{
			{In{Fields: Fields{InName}, Set: Full}, Do("drop")},
			{Over{Set: "fresh", Rate: freshConns, Burst: freshConns}, Do("drop")},
			{Origin{"origin"}},
		}},
	}
}

// ConnMark is the mark of connections that a tap began.
func ConnMark(tap string) uint32 {
	h := fnv.New32a()
	h.Write([]byte(tap))
	return h.Sum32()
}

// Full is the set of taps that have as many connections as they may; the driver fills it.
const Full = "full"

// arp is the VPC's arp table: a guest may speak only for its own address, or ask whether it is free.
func arp(ps []port) Table {
	s := newSets()
	bind, macs, free := s.set("abind", InName, ARPEther, ARPSource), s.set("macs", InName, ARPEther), s.set("nosdc", InName, ARPEther)
	for _, p := range ps {
		for _, a := range p.addrs {
			bind.put("", p.tap, p.mac, a.Private.String())
		}
		macs.put("", p.tap, p.mac)
		if p.NoSourceCheck {
			free.put("", p.tap, p.mac)
		}
	}
	from := Fields{InName, ARPEther}
	s.add(Set{Name: "rate", Key: []Type{IfName}, Dynamic: true})
	s.add(Set{Name: "foreign", Key: []Type{IfName}, Dynamic: true})
	rules := []Rule{
		{Over{Set: "rate", Rate: arpPackets, Burst: 2 * arpPackets}, Do("drop")},
		{In{Fields: Fields{InName, ARPEther, ARPSource}, Set: "abind"}, Do("accept")},
		{In{Fields: from, Set: "macs"}, Prefix{ARPSource, host(netip.IPv4Unspecified())}, Do("accept")},
	}
	for _, p := range ps {
		for _, r := range p.prefixes() {
			rules = append(rules, Rule{Name{InName, p.tap}, In{Fields: from, Set: "macs"}, Prefix{ARPSource, r}, Do("accept")})
		}
	}
	rules = append(rules, // each sender makes the kernel remember a neighbour, of which it has few for all namespaces
		Rule{Over{Set: "foreign", Rate: arpForeign, Burst: 2 * arpForeign}, Do("drop")},
		Rule{In{Fields: from, Set: "nosdc"}, Do("accept")})
	return Table{Family: "arp", Name: TableName, Sets: s.all(), Chains: []Chain{{Name: "antispoof", Base: &Base{"filter", "input", 0, true}, Rules: rules}}}
}
