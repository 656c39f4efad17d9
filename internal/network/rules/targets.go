package rules

import (
	"hash/fnv"
	"net"
	"net/netip"
	"slices"
	"strings"

	"karri.dev/internal/network"
)

// targets are what routes of a VPC can lead to, by id.
type targets struct {
	hops map[string]hop
	far  []farTarget // those on other hosts
	near []nearTarget
}

// hop is how a packet gets to a target; no device = it does not.
type hop struct {
	device    string
	via, via6 netip.Addr // no via6 = nothing of IPv6 does
}

// farTarget is a target on another host. It has a next hop of its own there, by which the mark is found that
// tells the other host whom the packet is for: its destination does not.
type farTarget struct {
	mark     uint32
	hop      netip.Addr
	hop6     netip.Addr
	underlay netip.Addr
}

// nearTarget is a target here to which other hosts may send.
type nearTarget struct {
	mark uint32
	hop  hop
}

func newTargets(o Options, v network.VPC, ps []port, gates []gate, joined []network.Peering, gateway *vpn) *targets {
	t := &targets{hops: map[string]hop{}}
	wanted := map[string]bool{}
	for _, table := range v.RouteTables {
		for _, r := range table.Routes {
			wanted[r.ID] = true
		}
	}
	taken := map[uint32]bool{}
	near := func(id string, h hop) {
		t.hops[id] = h
		if m := targetMark(id); wanted[id] && !taken[m] {
			taken[m] = true
			t.near = append(t.near, nearTarget{m, h})
		}
	}
	for _, p := range ps {
		if !p.NoSourceCheck { // it takes nothing that is not for itself
			near(p.ID, hop{})
		} else {
			h := hop{device: p.tap, via: p.PrivateIP}
			if len(p.IPv6) > 0 {
				h.via6 = p.IPv6[0]
			}
			near(p.ID, h)
		}
	}
	for _, g := range gates {
		near(g.ID, hop{device: g.link, via: g.addrs[0].Private})
	}
	if gateway != nil {
		near(gateway.ID, hop{device: gateway.link, via: peerAddr})
	}
	for _, p := range joined {
		t.hops[p.ID] = hop{PeerName(p.ID), peerAddr, peerAddr6}
	}
	far := func(id string, underlay netip.Addr) {
		if !wanted[id] || id == "" || !o.Underlay.IsValid() {
			return
		}
		m := targetMark(id)
		f := farTarget{mark: m, hop: netip.AddrFrom4([4]byte{255, 254, byte(m >> 8), byte(m)}), hop6: hostLink6(netip.AddrFrom4([4]byte{255, 254, byte(m >> 8), byte(m)})), underlay: underlay}
		t.hops[id] = hop{OverlayName, f.hop, f.hop6}
		if !slices.ContainsFunc(t.far, func(o farTarget) bool { return o.mark == m }) {
			t.far = append(t.far, f)
		} else {
			t.hops[id] = hop{} // two with one mark: rather none than the wrong one
		}
	}
	for _, r := range v.Remotes {
		if v4(r.Underlay) {
			far(r.ID, r.Underlay)
		}
	}
	for _, g := range v.NATGateways {
		if elsewhere(g, o) {
			far(g.ID, g.Underlay)
		}
	}
	if g := v.VPN; g != nil && gateway == nil && v4(g.Underlay) {
		far(g.ID, g.Underlay)
	}
	return t
}

// find says where a route leads; false = nowhere.
func (t *targets) find(r network.Route) (device string, via netip.Addr, ok bool) {
	switch r.Target {
	case network.ToNATGateway, network.ToInterface, network.ToPeering, network.ToVPNGateway:
		h := t.hops[r.ID]
		return h.device, h.via, h.device != ""
	}
	return "", netip.Addr{}, false
}

// forward adds what targets need between hosts.
func (t *targets) forward(n *Namespace) {
	for _, f := range t.far {
		n.Neighbors = append(n.Neighbors, Neighbor{Device: OverlayName, IP: f.hop, MAC: OverlayMAC(f.underlay)})
	}
	for _, m := range t.near {
		n.Policies = append(n.Policies, Policy{Priority: prefForward, Mark: m.mark, Table: int(m.mark)})
		r := Route{Table: int(m.mark), Destination: everywhere, Kind: BlackholeR}
		if m.hop.device != "" {
			r.Kind, r.Device, r.Via = Unicast, m.hop.device, m.hop.via
		}
		n.Routes = append(n.Routes, r)
	}
}

// forwardSix is forward for IPv6.
func (t *targets) forwardSix(n *Namespace) {
	for _, f := range t.far {
		n.Neighbors = append(n.Neighbors, Neighbor{Device: OverlayName, IP: f.hop6, MAC: OverlayMAC(f.underlay)})
	}
	for _, m := range t.near {
		n.Policies = append(n.Policies, Policy{Priority: prefForward, Mark: m.mark, Table: int(m.mark), IPv6: true})
		r := Route{Table: int(m.mark), Destination: everywhere6, Kind: BlackholeR}
		if m.hop.via6.IsValid() {
			r.Kind, r.Device, r.Via = Unicast, m.hop.device, m.hop.via6
		}
		n.Routes = append(n.Routes, r)
	}
}

// targetMark is the mark of packets for a target on another host, and the number of the kernel table there that
// leads to it: 16 bits are what VXLAN carries.
func targetMark(id string) uint32 {
	h := fnv.New32a()
	h.Write([]byte(id))
	return 0x8000 | h.Sum32()>>17
}

// gate is a NAT gateway on this host.
type gate struct {
	network.NATGateway
	link   string // in its VPC
	mac    string
	subnet network.Subnet
	addrs  []network.Address
}

func elsewhere(g network.NATGateway, o Options) bool {
	return v4(g.Underlay) && g.Underlay != o.Underlay
}

// localNATs gives the NAT gateways of a VPC that are on this host and can be served.
func localNATs(o Options, v network.VPC) (out []gate) {
	for _, g := range v.NATGateways {
		mac, err := net.ParseMAC(g.MAC)
		i := slices.IndexFunc(v.Subnets, func(s network.Subnet) bool { return s.ID == g.SubnetID })
		if elsewhere(g, o) || err != nil || i < 0 || !plainID(g.ID) || len(g.Addresses) == 0 {
			continue
		}
		n := gate{NATGateway: g, link: "nat" + tail(g.ID, "nat-"), mac: mac.String(), subnet: v.Subnets[i], addrs: slices.Clone(g.Addresses)}
		if slices.ContainsFunc(n.addrs, func(a network.Address) bool { return !v4(a.Private) || !n.subnet.CIDR.Contains(a.Private) }) {
			continue
		}
		inForce(n.addrs, slices.Contains(publicTables(v), n.subnet.RouteTable))
		out = append(out, n)
	}
	return out
}

// compileNAT gives a NAT gateway's own namespace: what comes in goes back in the gateway's name, and what
// nobody inside has asked for has nowhere to go.
func compileNAT(g gate) Gateway {
	n := Namespace{Policies: []Policy{{Priority: prefMain, Table: MainTable}}}
	n.Routes = append(n.Routes, Route{Table: MainTable, Destination: everywhere, Kind: Unicast, Device: NATLink, Via: routerAddr})
	for _, a := range g.addrs {
		n.Routes = append(n.Routes, Route{Table: MainTable, Destination: host(a.Private), Kind: BlackholeR})
	}
	n.Neighbors = []Neighbor{{Device: NATLink, IP: routerAddr, MAC: TapMAC}}
	n.Tables = []Table{{Family: "ip", Name: TableName, Chains: []Chain{
		{Name: "input", Base: &Base{"filter", "input", 0, true}},
		{Name: "forward", Base: &Base{"filter", "forward", 0, true}, Rules: []Rule{
			{State{Invalid}, Do("drop")}, // would go out with the guest's own address
			{Proto{6}, Do("accept")}, {Proto{17}, Do("accept")}, {Proto{1}, Do("accept")},
		}},
		{Name: "sources", Base: &Base{"nat", "postrouting", 100, false}, Rules: sources(g.addrs)},
	}}}
	return Gateway{ID: g.ID, Namespace: n}
}

// sources spreads new connections evenly over a NAT gateway's addresses, as AWS does: each has its own ports.
func sources(addrs []network.Address) (out []Rule) {
	for i, a := range addrs {
		rule := Rule{SNAT{a.Private}}
		if left := len(addrs) - i; left > 1 {
			rule = Rule{OneIn(left), SNAT{a.Private}}
		}
		out = append(out, rule)
	}
	return out
}

// peers gives the peerings whose other VPC is on this host.
func peers(v network.VPC, here map[string]bool) (out []network.Peering) {
	for _, p := range v.Peerings {
		if here[p.VPC] && p.VPC != v.ID && plainID(p.ID) {
			out = append(out, p)
		}
	}
	return out
}

// PeerName is the name of both ends of a peering's link.
func PeerName(id string) string { return "pcx" + tail(id, "pcx-") }

// tail is as much of an id as fits into a link's name.
func tail(id, prefix string) string {
	id = strings.TrimPrefix(id, prefix)
	return id[max(0, len(id)-12):]
}

// translated gives the private addresses that have a public one.
func translated(ps []port, gates []gate) (out []network.Address) {
	add := func(list []network.Address) {
		for _, a := range list {
			if a.Public.IsValid() {
				out = append(out, a)
			}
		}
	}
	for _, p := range ps {
		add(p.addrs)
	}
	for _, g := range gates {
		add(g.addrs)
	}
	return out
}

// prefixes gives the IPv4 ranges that are delegated to the interface.
func (p port) prefixes() (out []netip.Prefix) {
	for _, r := range p.Prefixes {
		if r.IsValid() && r.Addr().Is4() {
			out = append(out, r.Masked())
		}
	}
	return out
}

// inside says whether a range is a part of the VPC's own.
func inside(v network.VPC, p netip.Prefix) bool {
	return slices.ContainsFunc(v.CIDRs, func(c netip.Prefix) bool { return c.Bits() <= p.Bits() && c.Contains(p.Addr()) })
}
