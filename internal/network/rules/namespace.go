// Package rules compiles a host's desired network into what its kernel must hold: addresses, routes,
// neighbours and nftables, as plain data. It is pure: nothing here touches a kernel, so that every rule can be
// read and tested on paper. Text forms are those of nft and ip.
package rules

import (
	"fmt"
	"net/netip"
	"strings"
)

// Host is everything that one driver keeps on its host.
type Host struct {
	Six  bool      // IPv6 is spoken in Edge and, where the host has it, Root
	Root Namespace // what stands in the host's own namespace
	Edge Namespace // between the host and the VPCs' internet gateways
	VPCs []VPC     // sorted by ID
	NATs []Gateway // local NAT gateways, virtual private gateways and VPN tunnels
	Flat *Flat     // nil = none
}

// VPC is one VPC's namespace and its place on the edge.
type VPC struct {
	ID      string
	VNI     uint32
	Gateway bool // a veth GatewayName here and EdgeName there
	Overlay bool // a VXLAN device OverlayName
	IPv6    bool // taps have RouterAddr6
	Links   []Link
	Namespace
}

// Link is a veth pair between the VPC's namespace and another one.
type Link struct {
	Name, MAC   string // here
	Group       uint32
	To          string // id of the other namespace: a VPC's or a NAT gateway's
	There       string // name of the other end
	ThereMAC    string
	ByOtherSide bool // the other namespace's list makes it
}

func (l Link) String() string {
	return fmt.Sprintf("link %s %s group %d to %s %s %s made there %v", l.Name, l.MAC, l.Group, l.To, l.There, l.ThereMAC, l.ByOtherSide)
}

// EdgeSpace is the id by which links name the edge.
const EdgeSpace = "edge"

// Gateway is the namespace of a NAT gateway, a virtual private gateway or a VPN tunnel.
type Gateway struct {
	ID     string
	Tunnel bool   // strongSwan works in it
	Links  []Link // beside the one that its VPC makes
	Namespace
}

// EdgeName is the name of the edge's end of a VPC's gateway link.
func (v VPC) EdgeName() string { return edgeName(v.VNI) }

func edgeName(vni uint32) string { return fmt.Sprintf("vpc%d", vni) }

// Namespace is the content of one network namespace. All parts are comparable values in a fixed order.
type Namespace struct {
	Addresses []netip.Addr // on lo
	Taps      []Tap
	Routes    []Route
	Neighbors []Neighbor
	Peers     []Peer     // of the VXLAN device
	Proxies   []Neighbor // addresses answered for by proxy ARP; without MAC
	Policies  []Policy
	Tables    []Table
}

// Tap is the host's end of an interface.
type Tap struct {
	Name  string
	ID    string // of the interface
	Group uint32 // the subnet's index
	IPv6  bool   // it has RouterAddr6
}

// Kind is a route's kind.
type Kind string

// Kinds of routes.
const (
	Unicast     Kind = "unicast"
	Unreachable Kind = "unreachable"
	BlackholeR  Kind = "blackhole"
)

// Route is one route. Via is taken for on-link, whatever the other routes say.
type Route struct {
	Table       int
	Destination netip.Prefix
	Kind        Kind
	Device      string
	Via         netip.Addr
	Source      netip.Addr
	Metric      int
}

// MainTable is the number of the kernel's main routing table.
const MainTable = 254

func (r Route) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s", r.Kind, r.Destination)
	if r.Via.IsValid() {
		fmt.Fprintf(&b, " via %s", r.Via)
	}
	if r.Device != "" {
		fmt.Fprintf(&b, " dev %s", r.Device)
	}
	if r.Source.IsValid() {
		fmt.Fprintf(&b, " src %s", r.Source)
	}
	if r.Metric != 0 {
		fmt.Fprintf(&b, " metric %d", r.Metric)
	}
	if r.Table != MainTable {
		fmt.Fprintf(&b, " table %d", r.Table)
	}
	return b.String()
}

// Neighbor is a permanent neighbour entry.
type Neighbor struct {
	Device string
	IP     netip.Addr
	MAC    string
}

// Peer is another host's VXLAN endpoint.
type Peer struct {
	MAC      string
	Underlay netip.Addr
}

// Policy is one policy rule.
type Policy struct {
	Priority       int
	Mark           uint32
	From           netip.Addr // only of what the namespace itself sends from this address
	Table          int        // 0 = unreachable
	NoDefaultRoute bool       // suppress_prefixlength 0
	IPv6           bool
}

// String gives all of it as text, for people and golden files.
func (n Namespace) String() string {
	var b strings.Builder
	for _, a := range n.Addresses {
		fmt.Fprintf(&b, "addr %s/32 dev lo\n", a)
	}
	for _, t := range n.Taps {
		fmt.Fprintf(&b, "tap %s group %d # %s\n", t.Name, t.Group, t.ID)
		if t.IPv6 {
			fmt.Fprintf(&b, "addr %s/64 dev %s\n", RouterAddr6, t.Name)
		}
	}
	for _, r := range n.Routes {
		fmt.Fprintf(&b, "route %s\n", r)
	}
	for _, e := range n.Neighbors {
		fmt.Fprintf(&b, "neigh %s lladdr %s dev %s\n", e.IP, e.MAC, e.Device)
	}
	for _, p := range n.Peers {
		fmt.Fprintf(&b, "fdb %s dev %s dst %s\n", p.MAC, OverlayName, p.Underlay)
	}
	for _, e := range n.Proxies {
		fmt.Fprintf(&b, "neigh proxy %s dev %s\n", e.IP, e.Device)
	}
	for _, p := range n.Policies {
		if p.IPv6 {
			b.WriteString("-6 ")
		}
		fmt.Fprintf(&b, "rule pref %d", p.Priority)
		if p.Mark != 0 {
			fmt.Fprintf(&b, " fwmark %d", p.Mark)
		}
		if p.From.IsValid() {
			fmt.Fprintf(&b, " from %s", p.From)
		}
		switch {
		case p.Table == 0:
			b.WriteString(" unreachable\n")
		case p.NoDefaultRoute:
			fmt.Fprintf(&b, " lookup %d suppress_prefixlength 0\n", p.Table)
		default:
			fmt.Fprintf(&b, " lookup %d\n", p.Table)
		}
	}
	for _, t := range n.Tables {
		b.WriteString(t.String())
	}
	return b.String()
}

// String gives the whole host as text.
func (h Host) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "## host\n%s## edge\n%s", h.Root, h.Edge)
	for _, v := range h.VPCs {
		fmt.Fprintf(&b, "## %s vni %d gateway %v overlay %v\n%s", v.ID, v.VNI, v.Gateway, v.Overlay, v.Namespace)
		for _, l := range v.Links {
			fmt.Fprintln(&b, l)
		}
	}
	for _, g := range h.NATs {
		fmt.Fprintf(&b, "## %s\n%s", g.ID, g.Namespace)
		for _, l := range g.Links {
			fmt.Fprintln(&b, l)
		}
	}
	if h.Flat != nil {
		fmt.Fprintf(&b, "## %s on %s by %s\n%s", h.Flat.ID, h.Flat.Bridge, h.Flat.Uplink, h.Flat.Namespace)
	}
	return b.String()
}
