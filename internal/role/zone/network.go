package zone

import (
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"karri.dev/internal/lifecycle"
	"karri.dev/internal/network"
	"karri.dev/internal/resource"
	"karri.dev/internal/seal"
	"karri.dev/internal/store"
)

// networks compiles the VPCs that one node needs.
type networks struct {
	r     store.Reader
	node  string
	near  func(*resource.VPC) *neighbours
	key   *seal.Sealer                     // opens secrets of VPN connections
	local map[string][]*resource.Interface // the node's own, by VPC
}

// all gives the VPCs with something on the node, and those that are peered with one of them.
func (n *networks) all() (out []network.VPC) {
	here := map[string]*resource.VPC{}
	for id := range n.local {
		if v := store.VPCs.Get(n.r, id); v != nil {
			here[id] = v
		}
	}
	for g := range store.NATGatewaysByNode.By(n.r, n.node) {
		if v := store.VPCs.Get(n.r, g.VPCID); v != nil && g.Works() {
			here[v.ID] = v
		}
	}
	for g := range store.VPNGatewaysByNode.By(n.r, n.node) {
		if v := store.VPCs.Get(n.r, g.VPCID); v != nil {
			here[v.ID] = v
		}
	}
	for _, id := range slices.Collect(maps.Keys(here)) {
		for _, p := range peerings(n.r, id) {
			if v := store.VPCs.Get(n.r, p.Other(id)); v != nil {
				here[v.ID] = v
			}
		}
	}
	for _, id := range slices.Sorted(maps.Keys(here)) {
		out = append(out, n.vpc(here[id], here))
	}
	return out
}

// peerings gives a VPC's active peerings.
func peerings(r store.Reader, vpc string) (out []*resource.Peering) {
	for p := range store.PeeringsByVPC.By(r, vpc) {
		if p.State == resource.PeeringActive {
			out = append(out, p)
		}
	}
	return out
}

// vpc compiles one VPC; here are all that the node gets.
func (n *networks) vpc(v *resource.VPC, here map[string]*resource.VPC) network.VPC {
	near, local := n.near(v), n.local[v.ID]
	out := network.VPC{ID: v.ID, VNI: v.VNI, CIDRs: blocks(v)}
	tables := map[string]string{} // subnet → its table
	igw := store.InternetGatewaysByVPC.One(n.r, v.ID)
	for t := range store.RouteTablesByVPC.By(n.r, v.ID) {
		out.RouteTables = append(out.RouteTables, routeTable(n.r, t, igw))
		for _, a := range t.Associations {
			tables[a.SubnetID] = t.ID
		}
	}
	for s := range store.SubnetsByVPC.By(n.r, v.ID) {
		table := tables[s.ID]
		if table == "" {
			table = v.MainRouteTable
		}
		sub := network.Subnet{ID: s.ID, Index: s.Index, CIDR: prefix(s.CIDR), RouteTable: table, ACL: s.NetworkACL}
		if s.IPv6 != nil {
			sub.CIDR6 = prefix(s.IPv6.CIDR)
		}
		out.Subnets = append(out.Subnets, sub)
	}
	for a := range store.NetworkACLsByVPC.By(n.r, v.ID) {
		out.ACLs = append(out.ACLs, acl(a))
	}
	for _, e := range local {
		out.Interfaces = append(out.Interfaces, networkInterface(e))
	}
	slices.SortFunc(out.Interfaces, func(a, b network.Interface) int { return strings.Compare(a.ID, b.ID) })
	out.NATGateways, out.Endpoints = n.natGateways(v), near.endpoints
	out.VPN = n.vpnGateway(v)
	out.FlowLogs = flowLogs(n.r, v, local)
	out.DNS, out.DHCP = options(n.r, v)
	out.Remotes = near.remotes(n.node)
	out.DNS.Names, out.DNS.Reverse = near.names, reverseNames(n.r)
	members := []*neighbours{near} // whose groups the VPC's rules may name
	for _, p := range peerings(n.r, v.ID) {
		other := here[p.Other(v.ID)]
		if other == nil {
			continue
		}
		theirs := n.near(other)
		members = append(members, theirs)
		out.Peerings = append(out.Peerings, network.Peering{ID: p.ID, VPC: other.ID, CIDRs: blocks(other)})
		if p.Side(other.ID).RemoteDNS {
			out.DNS.Names = append(slices.Clip(out.DNS.Names), theirs.public...)
		}
	}
	out.Groups = groups(n.r, members, local, near.endpoints)
	return out
}

// reverseNames gives the names that owners gave to their elastic IPs: every resolver knows them, as if they were in the public DNS.
func reverseNames(r store.Reader) (out []network.Name) {
	for a := range store.AddressesNamed.By(r, "yes") {
		out = append(out, network.Name{Name: strings.TrimSuffix(a.PTR, "."), IP: addr(a.PublicIP)})
	}
	slices.SortFunc(out, func(a, b network.Name) int { return a.IP.Compare(b.IP) })
	return out
}

func blocks(v *resource.VPC) (out []netip.Prefix) {
	for _, c := range v.Ranges() {
		out = append(out, prefix(c))
	}
	return out
}

// options gives what a VPC's resolver and its DHCP say by its set of DHCP options.
func options(r store.Reader, v *resource.VPC) (network.DNS, network.DHCP) {
	dns := network.DNS{Domain: resource.PrivateDomain(v.Region), Disabled: !v.DNSSupport}
	var dhcp network.DHCP
	d := store.DHCPOptions.Get(r, v.DHCPOptionsID)
	if d == nil {
		return dns, dhcp
	}
	for _, server := range d.Values["domain-name-servers"] {
		ip := addr(server)
		if !ip.IsValid() { // "AmazonProvidedDNS"
			ip = resolver(v)
		}
		dns.Servers = append(dns.Servers, ip)
	}
	if len(dns.Servers) == 1 && dns.Servers[0] == resolver(v) {
		dns.Servers = nil // which is what none means
	}
	if name := d.Values["domain-name"]; len(name) > 0 && name[0] != dns.Domain {
		dhcp.Domain = name[0]
	}
	for _, server := range d.Values["ntp-servers"] {
		dhcp.NTP = append(dhcp.NTP, addr(server))
	}
	for _, server := range d.Values["netbios-name-servers"] {
		dhcp.NetBIOS = append(dhcp.NetBIOS, addr(server))
	}
	if kind := d.Values["netbios-node-type"]; len(kind) > 0 {
		dhcp.NetBIOSNodeType, _ = strconv.Atoi(kind[0])
	}
	return dns, dhcp
}

// resolver is the VPC's own name server: the second address of its first range.
func resolver(v *resource.VPC) netip.Addr {
	first := prefix(v.CIDR).Masked().Addr()
	return first.Next().Next()
}

func networkInterface(e *resource.Interface) network.Interface {
	out := network.Interface{
		ID: e.ID, InstanceID: e.InstanceID, SubnetID: e.SubnetID, MAC: e.MAC, PrivateIP: addr(e.PrivateIP), PublicIP: addr(e.PublicIP),
		Groups: e.Groups, NoSourceCheck: e.NoSourceCheck, Hostname: resource.PrivateHost(e.PrivateIP),
	}
	for _, a := range e.Secondary {
		out.Secondary = append(out.Secondary, network.Address{Private: addr(a.PrivateIP), Public: addr(a.PublicIP)})
	}
	for _, ip := range e.IPv6 {
		out.IPv6 = append(out.IPv6, addr(ip))
	}
	for _, p := range e.Prefixes {
		out.Prefixes = append(out.Prefixes, prefix(p))
	}
	return out
}

func routeTable(r store.Reader, t *resource.RouteTable, igw *resource.InternetGateway) network.RouteTable {
	out := network.RouteTable{ID: t.ID, Index: t.Index}
	for _, route := range append(slices.Clip(t.Routes), lifecycle.Propagated(r, t)...) {
		to := target(r, &route, igw)
		destinations := []netip.Prefix{prefix(route.Destination)}
		if route.PrefixListID != "" {
			destinations = listBlocks(r, route.PrefixListID)
		}
		for _, d := range destinations {
			to.Destination = d
			out.Routes = append(out.Routes, to)
		}
	}
	return out
}

// target says where a route leads. What is named and not there makes it a blackhole on the node.
func target(r store.Reader, route *resource.Route, igw *resource.InternetGateway) network.Route {
	switch {
	case igw != nil && route.GatewayID == igw.ID:
		return network.Route{Target: network.InternetGateway}
	case strings.HasPrefix(route.GatewayID, "vpce-"):
		return network.Route{Target: network.ToGatewayService, ID: route.GatewayID}
	case strings.HasPrefix(route.GatewayID, "vgw-"):
		return network.Route{Target: network.ToVPNGateway, ID: route.GatewayID}
	case route.EgressOnlyID != "" && store.EgressGateways.Get(r, route.EgressOnlyID) != nil:
		return network.Route{Target: network.EgressOnly}
	case route.NATGatewayID != "":
		return network.Route{Target: network.ToNATGateway, ID: route.NATGatewayID}
	case route.InterfaceID != "":
		return network.Route{Target: network.ToInterface, ID: route.InterfaceID}
	case route.PeeringID != "":
		return network.Route{Target: network.ToPeering, ID: route.PeeringID}
	}
	return network.Route{Target: network.Blackhole}
}

func acl(a *resource.NetworkACL) network.ACL {
	out := network.ACL{ID: a.ID}
	for _, e := range a.Entries {
		from, to := e.FromPort, e.ToPort
		if from == 0 && to == 0 && e.Protocol != "1" && e.Protocol != "58" {
			from, to = -1, -1
		}
		out.Entries = append(out.Entries, network.ACLEntry{
			Egress: e.Egress, Allow: e.Allow, Protocol: protocol(e.Protocol), CIDR: prefix(e.CIDR + e.CIDR6), Ports: network.PortRange{From: from, To: to},
		})
	}
	return out
}

// groups gives the security groups of local interfaces and of endpoints, and of those that their rules name the members: who is in a
// group of the VPC itself, or of one that is peered with it.
func groups(r store.Reader, near []*neighbours, local []*resource.Interface, endpoints []network.Endpoint) []network.Group {
	need := map[string]*network.Group{}
	want := func(id string) *network.Group {
		g := need[id]
		if g == nil {
			g = &network.Group{ID: id}
			need[id] = g
		}
		return g
	}
	var used [][]string
	for _, e := range local {
		used = append(used, e.Groups)
	}
	for _, e := range endpoints {
		used = append(used, e.Groups)
	}
	for _, ids := range used {
		for _, id := range ids {
			g := store.SecurityGroups.Get(r, id)
			if g == nil || want(id).Rules != nil {
				continue
			}
			for _, rule := range g.Rules {
				if rule.PrefixList != "" {
					want(id).Rules = append(want(id).Rules, listRules(r, &rule)...)
					continue
				}
				out := network.Rule{Egress: rule.Egress, Protocol: protocol(rule.Protocol), Ports: network.PortRange{From: rule.FromPort, To: rule.ToPort}}
				if rule.GroupID != "" {
					out.Group = rule.GroupID
					want(rule.GroupID)
				} else {
					out.CIDR = prefix(rule.CIDR + rule.CIDR6)
				}
				want(id).Rules = append(want(id).Rules, out)
			}
		}
	}
	// Members matter only for groups that some rule names.
	named := map[string]bool{}
	for _, g := range need {
		for _, rule := range g.Rules {
			named[rule.Group] = true
		}
	}
	var out []network.Group
	for _, g := range need {
		if named[g.ID] {
			for _, n := range near { // a group is one VPC's
				g.Members = append(slices.Clip(g.Members), n.members[g.ID]...)
			}
		}
		out = append(out, *g)
	}
	slices.SortFunc(out, func(a, b network.Group) int { return strings.Compare(a.ID, b.ID) })
	return out
}

// listRules makes a rule that names a prefix list one rule for each of its blocks.
func listRules(r store.Reader, rule *resource.Rule) (out []network.Rule) {
	for _, block := range listBlocks(r, rule.PrefixList) {
		out = append(out, network.Rule{
			Egress: rule.Egress, Protocol: protocol(rule.Protocol), Ports: network.PortRange{From: rule.FromPort, To: rule.ToPort}, CIDR: block,
		})
	}
	return out
}

// listBlocks gives a prefix list's blocks.
func listBlocks(r store.Reader, id string) (out []netip.Prefix) {
	if id == resource.S3PrefixList {
		return []netip.Prefix{netip.PrefixFrom(addr(resource.S3Address), 32)}
	}
	l := store.PrefixLists.Get(r, id)
	if l == nil {
		return nil
	}
	for _, e := range l.Current().Entries {
		out = append(out, prefix(e.CIDR))
	}
	return out
}

// prefix and addr read what handlers have validated; the zero value, which matches nothing, is the answer to
// anything else.
func prefix(s string) netip.Prefix {
	p, _ := netip.ParsePrefix(s)
	return p
}

func addr(s string) netip.Addr {
	a, _ := netip.ParseAddr(s)
	return a
}

func protocol(s string) int {
	switch s {
	case "tcp":
		return 6
	case "udp":
		return 17
	case "icmp":
		return 1
	case "icmpv6":
		return 58
	}
	n, err := strconv.Atoi(s)
	if err != nil {
		return 255 // reserved: matches nothing
	}
	return n
}
