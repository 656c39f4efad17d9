package rules

import "net/netip"

// edgeSix adds IPv6 to the edge. Addresses are the guests' own on both sides: nothing is translated.
func edgeSix(o Options, pool []netip.Prefix, public map[netip.Addr]string, vpcs []VPC, n *Namespace) {
	n.Policies = append(n.Policies, Policy{Priority: prefMain, Table: MainTable, IPv6: true})
	n.Routes = append(n.Routes, Route{Table: MainTable, Destination: host(HostAddr6), Kind: Unicast, Device: EdgeLink})
	n.Neighbors = append(n.Neighbors, Neighbor{Device: EdgeLink, IP: HostAddr6, MAC: HostLinkMAC})
	s := newSets()
	owners := s.set("owners", InName, IP6Source)
	for _, a := range inUse(public) {
		if a.Is6() {
			n.Routes = append(n.Routes, Route{Table: MainTable, Destination: host(a), Kind: Unicast, Device: public[a], Via: vpcAddr6})
			owners.put("", public[a], a.String())
		}
	}
	for _, v := range vpcs {
		if v.Gateway && v.IPv6 {
			n.Neighbors = append(n.Neighbors, Neighbor{Device: v.EdgeName(), IP: vpcAddr6, MAC: GatewayMAC})
		}
	}
	if o.PublicInterface == "" {
		for _, p := range pool {
			if six.holds(p) {
				n.Routes = append(n.Routes, Route{Table: MainTable, Destination: p.Masked(), Kind: Unreachable})
			}
		}
	} else {
		n.Routes = append(n.Routes, Route{Table: MainTable, Destination: everywhere6, Kind: Unicast, Device: EdgeLink, Via: HostAddr6})
	}
	n.Tables = append(n.Tables, Table{Family: "ip6", Name: TableName, Sets: s.all(), Chains: []Chain{
		{Name: "antispoof", Base: &Base{"filter", "prerouting", -300, true}, Rules: []Rule{
			{In{Fields: Fields{InName, IP6Source}, Set: "owners"}, Do("accept")},
			{Name{InName, EdgeLink}, Prefix{IP6Source, linkLocal6}, Do("drop")},
			{Name{InName, EdgeLink}, Do("accept")},
		}},
		{Name: "input", Base: &Base{"filter", "input", 0, true}},
		{Name: "forward", Base: &Base{"filter", "forward", 0, false}, Rules: []Rule{
			{Name{InName, EdgeLink}, Name{OutName, EdgeLink}, Do("drop")},
		}},
	}})
}

// rootSix adds to the host's own namespace the ways to IPv6 addresses that are known outside, and the fence.
func rootSix(o Options, pool []netip.Prefix, public map[netip.Addr]string, n *Namespace) {
	n.Neighbors = append(n.Neighbors, Neighbor{Device: o.Link, IP: edgeAddr6, MAC: EdgeLinkMAC})
	s := newSets()
	ours := s.set("public", IP6Source)
	for _, a := range inUse(public) {
		if !a.Is6() {
			continue
		}
		n.Routes = append(n.Routes, Route{Table: MainTable, Destination: host(a), Kind: Unicast, Device: o.Link, Via: edgeAddr6, Source: HostAddr6})
		ours.put("", a.String())
		if o.PublicInterface != "" {
			n.Proxies = append(n.Proxies, Neighbor{Device: o.PublicInterface, IP: a})
		}
	}
	for _, p := range pool {
		if !six.holds(p) {
			continue
		}
		r := Route{Table: MainTable, Destination: p.Masked(), Kind: Unreachable, Metric: Metric(o.Link)}
		if o.PublicInterface != "" {
			r.Kind, r.Device = Unicast, o.PublicInterface
		}
		n.Routes = append(n.Routes, r)
	}
	n.Tables = append(n.Tables, fence(o, six, s))
}
