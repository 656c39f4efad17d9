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
	peerAddr6   = netip.MustParseAddr("fe80::4") // the other end of a peering

	linkLocal6 = netip.MustParsePrefix("fe80::/10")
)

// hostLink6 is the address by which IPv6 routes name another host.
func hostLink6(underlay netip.Addr) netip.Addr {
	u := underlay.As4()
	return netip.AddrFrom16([16]byte{0: 0xfe, 1: 0x80, 10: 0x5e, 11: 0xfe, 12: u[0], 13: u[1], 14: u[2], 15: u[3]})
}

// hasSix says whether a VPC has an IPv6 range.
func hasSix(v network.VPC) bool { return slices.ContainsFunc(v.CIDRs, six.holds) }

// compileSix adds a VPC's IPv6 to its namespace. Guests find RouterAddr6 and nothing else on their link: no range is
// on-link for them, so that every packet is routed, and neighbours are never asked for.
func compileSix(o Options, v network.VPC, ps []port, joined []network.Peering, n *Namespace) {
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
	overlay := o.Underlay.IsValid()
	if overlay {
		remotesSix(n, v)
	}
	n.Policies = append(n.Policies, Policy{Priority: prefLocalRoute, Table: MainTable, NoDefaultRoute: true, IPv6: true})
	for _, t := range v.RouteTables {
		routesSix(n, v, t, ps, joined)
	}
	n.Policies = append(n.Policies, Policy{Priority: prefEnd, IPv6: true})
	n.Tables = append(n.Tables, filterSix(v, ps, joined, overlay))
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
func routesSix(n *Namespace, v network.VPC, t network.RouteTable, ps []port, joined []network.Peering) {
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
		case network.ToInterface:
			i := slices.IndexFunc(ps, func(p port) bool { return p.ID == r.ID })
			if i >= 0 && ps[i].NoSourceCheck && len(ps[i].IPv6) > 0 {
				route.Kind, route.Device, route.Via = Unicast, ps[i].tap, ps[i].IPv6[0]
			}
		case network.ToPeering:
			if slices.ContainsFunc(joined, func(p network.Peering) bool { return p.ID == r.ID }) {
				route.Kind, route.Device, route.Via = Unicast, PeerName(r.ID), peerAddr6
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
func filterSix(v network.VPC, ps []port, joined []network.Peering, overlay bool) Table {
	s := newSets()
	bind, macs, free := s.set("bind", InName, EtherSource, IP6Source), s.set("macs", InName, EtherSource), s.set("nosdc", InName, EtherSource)
	rtb, origin := s.mapTo("rtb", Mark, InGroup), s.mapTo("origin", Mark, InName)
	for _, name := range []string{"rate", "fresh"} {
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
		{Over{Set: "rate", Rate: servicePackets, Burst: serviceBurst}, Do("drop")},
	}
	for _, kind := range []int{133, 135, 136} { // questions for a router and for neighbours, and their answers
		services = append(services, Rule{Proto{58}, ICMP{Type: kind, Code: -1, V6: true}, Do("accept")})
	}
	chains := slices.Concat([]Chain{{Name: "antispoof", Base: &Base{"filter", "prerouting", -300, true}, Rules: spoof}}, classify(), []Chain{
		{Name: "services", Base: &Base{"filter", "input", 0, true}, Rules: append(services, Rule{Proto{17}, Ports{547, 547}, Do("accept")})},
	})
	if overlay { // no route on another host is meant
		chains = append(chains, Chain{Name: "overlay", Base: &Base{"filter", "postrouting", 310, false}, Rules: []Rule{{Name{OutName, OverlayName}, MarkAs(0)}}})
	}
	chains = append(chains, acls(six, s, v, ps, nil, overlay)...)
	chains = append(chains, groups(six, s, v, ps, nil, joined, nil, overlay)...)
	return Table{Family: "ip6", Name: TableName, Sets: s.all(), Chains: chains}
}
