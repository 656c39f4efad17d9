package rules

import (
	"hash/fnv"
	"net/netip"
	"slices"
	"strings"
)

// compileEdge gives the namespace between the host and the VPCs: one /32 route per public address in use,
// nothing else of the pool.
func compileEdge(o Options, pool []netip.Prefix, public map[netip.Addr]string, h Host, tunnels []string) Namespace {
	vpcs, n := h.VPCs, Namespace{Addresses: []netip.Addr{EdgeAddr}, Policies: []Policy{{Priority: prefMain, Table: MainTable}}}
	n.Routes = append(n.Routes, Route{Table: MainTable, Destination: host(HostAddr), Kind: Unicast, Device: EdgeLink})
	n.Neighbors = append(n.Neighbors, Neighbor{Device: EdgeLink, IP: HostAddr, MAC: HostLinkMAC})
	s := newSets()
	owners := s.set("owners", InName, IPSource)
	for _, a := range inUse(public) {
		if a.Is6() {
			continue
		}
		n.Routes = append(n.Routes, Route{Table: MainTable, Destination: host(a), Kind: Unicast, Device: public[a], Via: gatewayAddr})
		owners.put("", public[a], a.String())
	}
	for _, v := range vpcs {
		if v.Gateway {
			n.Neighbors = append(n.Neighbors, Neighbor{Device: v.EdgeName(), IP: gatewayAddr, MAC: GatewayMAC})
		}
	}
	slices.Sort(tunnels)
	for _, link := range tunnels {
		n.Neighbors = append(n.Neighbors, Neighbor{Device: link, IP: gatewayAddr, MAC: GatewayMAC})
	}
	if o.PublicInterface == "" {
		for _, p := range pool {
			if four.holds(p) {
				n.Routes = append(n.Routes, Route{Table: MainTable, Destination: p.Masked(), Kind: Unreachable})
			}
		}
	} else {
		n.Routes = append(n.Routes, Route{Table: MainTable, Destination: everywhere, Kind: Unicast, Device: EdgeLink, Via: HostAddr})
	}
	n.Tables = []Table{{Family: "ip", Name: TableName, Sets: s.all(), Chains: []Chain{
		{Name: "antispoof", Base: &Base{"filter", "prerouting", -300, true}, Rules: []Rule{
			{In{Fields: Fields{InName, IPSource}, Set: "owners"}, Do("accept")},
			{Name{InName, EdgeLink}, Do("accept")},
		}},
		{Name: "input", Base: &Base{"filter", "input", 0, true}},
		{Name: "forward", Base: &Base{"filter", "forward", 0, false}, Rules: []Rule{
			{Name{InName, EdgeLink}, Name{OutName, EdgeLink}, Do("drop")},
		}},
	}}}
	if h.Six {
		edgeSix(o, pool, public, h.VPCs, &n)
	}
	return n
}

// compileRoot gives what stands in the host's own namespace: the ways to public addresses in use, and a fence
// around the link to the edge. Guests answer the host but cannot call it, and reach no network of the host's
// but the public one.
func compileRoot(o Options, pool []netip.Prefix, public map[netip.Addr]string, withSix bool) Namespace {
	n := Namespace{}
	n.Neighbors = append(n.Neighbors, Neighbor{Device: o.Link, IP: EdgeAddr, MAC: EdgeLinkMAC})
	s := newSets()
	ours := s.set("public", IPSource)
	for _, a := range inUse(public) {
		if a.Is6() {
			continue
		}
		n.Routes = append(n.Routes, Route{
			Table: MainTable, Destination: host(a), Kind: Unicast,
			Device: o.Link, Via: EdgeAddr, Source: HostAddr,
		})
		ours.put("", a.String())
		if o.PublicInterface != "" {
			n.Proxies = append(n.Proxies, Neighbor{Device: o.PublicInterface, IP: a})
		}
	}
	for _, p := range pool { // each driver on a host has its own metric, and so its own route
		if !four.holds(p) {
			continue
		}
		r := Route{Table: MainTable, Destination: p.Masked(), Kind: Unreachable, Metric: Metric(o.Link)}
		if o.PublicInterface != "" {
			r.Kind, r.Device = Unicast, o.PublicInterface
		}
		n.Routes = append(n.Routes, r)
	}
	n.Tables = []Table{fence(o, four, s)}
	if withSix {
		rootSix(o, pool, public, &n)
	}
	return n
}

// fence is the host's table of one family, with the set of public addresses.
func fence(o Options, f family, s *sets) Table {
	forward, name := Chain{Name: "forward", Base: &Base{"filter", "forward", 0, false}}, "ip"
	if f.six {
		name = "ip6"
	}
	if p := o.PublicInterface; p != "" {
		forward.Rules = append(forward.Rules,
			Rule{Name{InName, o.Link}, Name{OutName, p}, In{Fields: Fields{f.source}, Set: "public"}, Do("accept")},
			Rule{Name{InName, p}, Name{OutName, o.Link}, In{Fields: Fields{f.dest}, Set: "public"}, Do("accept")})
	}
	forward.Rules = append(forward.Rules, Rule{Name{InName, o.Link}, Do("drop")}, Rule{Name{OutName, o.Link}, Do("drop")})
	return Table{Family: name, Name: RootTable(o.Link), Sets: s.all(), Chains: []Chain{
		{Name: "input", Base: &Base{"filter", "input", 0, false}, Rules: []Rule{
			{Name{InName, o.Link}, State{Established}, Do("accept")},
			{Name{InName, o.Link}, Do("drop")},
		}},
		forward,
	}}
}

// RootTable is the name of a driver's table in the host's own namespace.
func RootTable(link string) string { return "karri_" + strings.ReplaceAll(link, "-", "_") }

// Metric is the metric of a driver's routes for the public pool, by which it knows its own.
func Metric(link string) int {
	h := fnv.New32a()
	h.Write([]byte(link))
	return 1<<20 + int(h.Sum32()>>12)
}

func inUse(public map[netip.Addr]string) []netip.Addr {
	out := make([]netip.Addr, 0, len(public))
	for a := range public {
		out = append(out, a)
	}
	return sorted(out)
}
