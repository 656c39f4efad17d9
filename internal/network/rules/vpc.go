package rules

import (
	"fmt"
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

// Priorities of the policy rules; 0 is the kernel's own, for local addresses.
const (
	prefLocalRoute = 1000 // the VPC's own ranges come first
	prefRouteTable = 2000
	prefEnd        = 3000
	prefMain       = 32766 // the kernel's own for its main table, which the edge keeps
	tableBase      = 100   // route table n is kernel table 100+n
)

// compileVPC gives a VPC's namespace, and the public addresses in force in it.
func compileVPC(o Options, v network.VPC) (VPC, []netip.Addr, error) {
	ps, err := ports(v)
	out := VPC{ID: v.ID, VNI: v.VNI, Overlay: o.Underlay.IsValid()}
	n := &out.Namespace
	n.Addresses = local(v)
	for _, p := range ps {
		n.Taps = append(n.Taps, Tap{Name: p.tap, ID: p.ID, Group: p.subnet.Index})
		n.Routes = append(n.Routes, Route{Table: MainTable, Destination: host(p.PrivateIP), Kind: Unicast, Device: p.tap})
		n.Neighbors = append(n.Neighbors, Neighbor{Device: p.tap, IP: p.PrivateIP, MAC: p.mac})
	}
	for _, c := range v.CIDRs {
		n.Routes = append(n.Routes, Route{Table: MainTable, Destination: c.Masked(), Kind: Unreachable})
	}
	if out.Overlay {
		remotes(n, v)
	}
	n.Policies = append(n.Policies, Policy{Priority: prefLocalRoute, Table: MainTable, NoDefaultRoute: true})
	for _, t := range v.RouteTables {
		table := tableBase + int(t.Index)
		n.Policies = append(n.Policies, Policy{Priority: prefRouteTable, Mark: t.Index, Table: table})
		for _, r := range t.Routes {
			route := Route{Table: table, Destination: r.Destination.Masked(), Kind: BlackholeR}
			if r.Target == network.InternetGateway {
				out.Gateway = true
				route.Kind, route.Via, route.Device = Unicast, EdgeAddr, GatewayName
			}
			n.Routes = append(n.Routes, route)
		}
	}
	n.Policies = append(n.Policies, Policy{Priority: prefEnd})
	if out.Gateway {
		n.Neighbors = append(n.Neighbors, Neighbor{Device: GatewayName, IP: EdgeAddr, MAC: EdgeVPCMAC})
	}
	n.Tables = []Table{filter(v, ps, out.Overlay), arp(ps)}
	var public []netip.Addr
	for _, p := range ps {
		if p.public {
			public = append(public, p.PublicIP)
		}
	}
	return out, sorted(public), err
}

// remotes adds the ways to the VPC's interfaces on other hosts.
func remotes(n *Namespace, v network.VPC) {
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
func filter(v network.VPC, ps []port, overlay bool) Table {
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
	for _, p := range ps {
		bind.put("", p.tap, p.mac, p.PrivateIP.String())
		macs.put("", p.tap, p.mac)
		if p.NoSourceCheck {
			free.put("", p.tap, p.mac)
		}
		if p.public {
			public.put("", p.PublicIP.String())
			eipIn.put(p.PrivateIP.String(), p.PublicIP.String())
			eipOut.put(p.PublicIP.String(), p.PrivateIP.String())
		}
	}
	for _, sub := range v.Subnets {
		if i := slices.IndexFunc(v.RouteTables, func(t network.RouteTable) bool { return t.ID == sub.RouteTable }); i >= 0 {
			rtb.put(fmt.Sprint(v.RouteTables[i].Index), fmt.Sprint(sub.Index))
		}
	}
	resolver.put("", ResolverAddr.String())
	if a, ok := VPCResolver(v); ok {
		resolver.put("", a.String())
	}

	from := Fields{InName, EtherSource}
	chains := []Chain{
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
		{Name: "classify", Base: &Base{"filter", "prerouting", -150, false}, Rules: []Rule{{SetMark{InGroup, "rtb"}}}},
		{Name: "eip_dnat", Base: &Base{"nat", "prerouting", -100, false}, Rules: []Rule{{Name{InName, GatewayName}, NAT{Map: "eip_in"}}}},
		{Name: "eip_snat", Base: &Base{"nat", "postrouting", 100, false}, Rules: []Rule{{Name{OutName, GatewayName}, NAT{Source: true, Map: "eip_out"}}}},
		{Name: "egress", Base: &Base{"filter", "postrouting", 300, false}, Rules: []Rule{
			{Name{OutName, GatewayName}, In{Fields: Fields{IPSource}, Set: "public", Not: true}, Do("drop")},
		}},
		{Name: "services", Base: &Base{"filter", "input", 0, true}, Rules: []Rule{
			{Name{InName, "lo"}, Do("accept")},
			{Name{InName, GatewayName}, Do("drop")},
			{Name{InName, OverlayName}, Do("drop")},
			{State{Established}, Prefix{IPDest, host(APIAddr)}, Proto{6}, Do("accept")}, // whole objects pass here
			{Over{"rate", servicePackets, serviceBurst}, Do("drop")},
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
	}
	chains = append(chains, acls(s, v, ps, overlay)...)
	chains = append(chains, groups(s, v, ps)...)
	return Table{Family: "ip", Name: TableName, Sets: s.all(), Chains: chains}
}

// arp is the VPC's arp table: a guest may speak only for its own address, or ask whether it is free.
func arp(ps []port) Table {
	s := newSets()
	bind, macs, free := s.set("abind", InName, ARPEther, ARPSource), s.set("macs", InName, ARPEther), s.set("nosdc", InName, ARPEther)
	for _, p := range ps {
		bind.put("", p.tap, p.mac, p.PrivateIP.String())
		macs.put("", p.tap, p.mac)
		if p.NoSourceCheck {
			free.put("", p.tap, p.mac)
		}
	}
	from := Fields{InName, ARPEther}
	return Table{Family: "arp", Name: TableName, Sets: s.all(), Chains: []Chain{
		{Name: "antispoof", Base: &Base{"filter", "input", 0, true}, Rules: []Rule{
			{In{Fields: Fields{InName, ARPEther, ARPSource}, Set: "abind"}, Do("accept")},
			{In{Fields: from, Set: "macs"}, Prefix{ARPSource, host(netip.IPv4Unspecified())}, Do("accept")},
			{In{Fields: from, Set: "nosdc"}, Do("accept")},
		}},
	}}
}
