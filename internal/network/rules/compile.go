package rules

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"

	"karri.dev/internal/network"
)

// Options is what compiling must know of the host.
type Options struct {
	Link            string     // name of the host's end of its link to the edge; also the name of our table there
	Underlay        netip.Addr // this host's address for traffic between hosts; zero = it is the only one
	PublicInterface string     // the host's link on which public addresses live; "" = they live on this host only

	Tunnels map[string]TunnelView // what is known of VPN tunnels, by id
}

// Names and addresses that are the same in every namespace: they never meet outside their own link.
const (
	TableName   = "karri"
	GatewayName = "igw0"  // in a VPC: its link to the edge
	OverlayName = "vx0"   // in a VPC: its VXLAN device
	EdgeLink    = "host0" // in the edge: its link to the host

	TapMAC      = "0e:6b:61:72:72:69" // of every tap's host end
	GatewayMAC  = "0e:6b:61:72:72:01" // of GatewayName
	LowerMAC    = "0e:6b:61:72:72:05" // of a peering's end in the VPC with the lower id
	UpperMAC    = "0e:6b:61:72:72:06" // of the other end
	NATLink     = "up0"               // in a NAT gateway: its link to its VPC
	EdgeVPCMAC  = "0e:6b:61:72:72:02" // of the edge's end of it
	EdgeLinkMAC = "0e:6b:61:72:72:03" // of EdgeLink
	HostLinkMAC = "0e:6b:61:72:72:04" // of the host's end of it
)

// Link addresses, out of the range kept for carriers' own use.
var (
	EdgeAddr    = netip.AddrFrom4([4]byte{100, 64, 0, 1})
	HostAddr    = netip.AddrFrom4([4]byte{100, 64, 0, 2})
	gatewayAddr = netip.AddrFrom4([4]byte{100, 64, 0, 3})
	peerAddr    = netip.AddrFrom4([4]byte{100, 64, 0, 4}) // the other end of a peering
	routerAddr  = netip.AddrFrom4([4]byte{100, 64, 0, 5}) // a NAT gateway's way into its VPC

	// MetadataAddr, ResolverAddr, APIAddr and S3Addr are the same in every VPC.
	MetadataAddr = netip.AddrFrom4([4]byte{169, 254, 169, 254})
	ResolverAddr = netip.AddrFrom4([4]byte{169, 254, 169, 253})
	APIAddr      = netip.AddrFrom4([4]byte{169, 254, 169, 252})
	S3Addr       = netip.AddrFrom4([4]byte{169, 254, 169, 251}) // reached through gateway endpoints only

	everywhere = netip.PrefixFrom(netip.IPv4Unspecified(), 0)
)

// Compile says what the host must hold for state. What is wrong in itself (an interface outside its subnet, two
// with one address) is left out and named in the error; the rest is complete.
func Compile(o Options, state network.State) (Host, error) {
	var h Host
	var errs []error
	public := map[netip.Addr]string{} // address in use → device of the edge
	var tunnels []string              // links of VPN tunnels on the edge
	here := map[string]bool{}
	for _, v := range state.VPCs {
		here[v.ID] = true
	}
	for _, v := range state.VPCs {
		c, addresses, err := compileVPC(o, v, here)
		for _, g := range localNATs(o, v) {
			h.NATs = append(h.NATs, compileNAT(g))
		}
		gateways, outside := compileVPN(o, v)
		h.NATs = append(h.NATs, gateways...)
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", v.ID, err))
		}
		for _, a := range addresses {
			if _, taken := public[a]; taken {
				errs = append(errs, fmt.Errorf("%s: public address %s is in use twice", v.ID, a))
				continue
			}
			public[a] = c.EdgeName()
		}
		for a, link := range outside {
			if _, taken := public[a]; taken {
				errs = append(errs, fmt.Errorf("%s: public address %s is in use twice", v.ID, a))
				continue
			}
			public[a] = link
			tunnels = append(tunnels, link)
		}
		h.VPCs = append(h.VPCs, c)
		h.Six = h.Six || c.IPv6
	}
	if state.Flat != nil {
		flat, err := compileFlat(o, *state.Flat)
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", state.Flat.ID, err))
		}
		h.Flat = &flat
	}
	h.Edge = compileEdge(o, state.PublicPool, public, h, tunnels)
	h.Root = compileRoot(o, state.PublicPool, public, h.Six)
	return h, errors.Join(errs...)
}

// port is a valid interface, ready for rules.
type port struct {
	network.Interface
	tap    string
	mac    string
	subnet network.Subnet
	addrs  []network.Address // all IPv4 ones, the primary first; Public only where it is in force
}

// TapName is the name of an interface's tap; it fits the kernel's 15 characters.
func TapName(interfaceID string) string {
	id := strings.TrimPrefix(interfaceID, "eni-")
	return "eni" + id[max(0, len(id)-12):]
}

// plainID says whether an id can stand in names of taps, chains and sets.
func plainID(id string) bool {
	for _, r := range id {
		if (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '-' {
			return false
		}
	}
	return id != "" && len(id) <= 64
}

func v4(a netip.Addr) bool { return a.Is4() && !a.IsUnspecified() }

// publicTables gives the route tables with a way to the internet gateway.
func publicTables(v network.VPC) (ids []string) {
	for _, t := range v.RouteTables {
		if slices.ContainsFunc(t.Routes, func(r network.Route) bool {
			return r.Target == network.InternetGateway && r.Destination.Addr().Is4()
		}) {
			ids = append(ids, t.ID)
		}
	}
	return ids
}

// inForce takes public addresses away where there is no way to the internet gateway.
func inForce(addrs []network.Address, public bool) {
	for i := range addrs {
		if !public || !v4(addrs[i].Public) {
			addrs[i].Public = netip.Addr{}
		}
	}
}

// ports gives the interfaces that can be served, and why others cannot.
func ports(v network.VPC) ([]port, error) {
	subnets := map[string]network.Subnet{}
	for _, s := range v.Subnets {
		subnets[s.ID] = s
	}
	internet := publicTables(v)
	var out []port
	var errs []error
	seen := map[string]string{}
	for _, i := range v.Interfaces {
		p := port{Interface: i, tap: TapName(i.ID), subnet: subnets[i.SubnetID]}
		mac, err := net.ParseMAC(i.MAC)
		switch {
		case !plainID(i.ID):
			err = errors.New("not an interface id")
		case p.subnet.ID == "":
			err = fmt.Errorf("unknown subnet %q", i.SubnetID)
		case err != nil:
		case len(mac) != 6 || mac[0]&1 != 0 || mac.String() == TapMAC:
			err = fmt.Errorf("MAC %s cannot be a guest's", i.MAC)
		case !v4(i.PrivateIP) || !p.subnet.CIDR.Contains(i.PrivateIP) || slices.Contains(local(v), i.PrivateIP):
			err = fmt.Errorf("address %s is not for guests of %s", i.PrivateIP, p.subnet.CIDR)
		}
		for _, a := range i.Secondary {
			if err == nil && (!v4(a.Private) || !p.subnet.CIDR.Contains(a.Private) || slices.Contains(local(v), a.Private)) {
				err = fmt.Errorf("address %s is not for guests of %s", a.Private, p.subnet.CIDR)
			}
		}
		for _, a := range i.IPv6 {
			if err == nil && (!six.has(a) || !p.subnet.CIDR6.Contains(a)) {
				err = fmt.Errorf("address %s is not for guests of %s", a, p.subnet.CIDR6)
			}
		}
		for _, r := range i.Prefixes {
			if err == nil && r.Addr().Is6() && (r.Bits() < p.subnet.CIDR6.Bits() || !p.subnet.CIDR6.Contains(r.Addr())) {
				err = fmt.Errorf("prefix %s is not inside %s", r, p.subnet.CIDR6)
			}
			if err == nil && r.Addr().Is4() && (r.Bits() < p.subnet.CIDR.Bits() || !p.subnet.CIDR.Contains(r.Addr())) {
				err = fmt.Errorf("prefix %s is not inside %s", r, p.subnet.CIDR)
			}
		}
		keys := []string{p.tap, i.PrivateIP.String()}
		for _, a := range i.Secondary {
			keys = append(keys, a.Private.String())
		}
		for _, a := range i.IPv6 {
			keys = append(keys, a.String())
		}
		for _, key := range keys {
			if other, taken := seen[key]; taken && err == nil {
				err = fmt.Errorf("%s is taken by %s", key, other)
			}
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("interface %s: %w", i.ID, err))
			continue
		}
		for _, key := range keys {
			seen[key] = i.ID
		}
		p.mac = mac.String()
		p.addrs = append(p.addrs, network.Address{Private: i.PrivateIP, Public: i.PublicIP})
		p.addrs = append(p.addrs, i.Secondary...)
		inForce(p.addrs, slices.Contains(internet, p.subnet.RouteTable))
		out = append(out, p)
	}
	return out, errors.Join(errs...)
}

// add gives the n-th address of a range.
func nth(p netip.Prefix, n uint32) netip.Addr {
	b := p.Masked().Addr().As4()
	var out [4]byte
	binary.BigEndian.PutUint32(out[:], binary.BigEndian.Uint32(b[:])+n)
	return netip.AddrFrom4(out)
}

// GatewayAddr is the router's address in a subnet: its first.
func GatewayAddr(subnet netip.Prefix) netip.Addr { return nth(subnet, 1) }

// VPCResolver is the VPC's own resolver: the second address of its first range; false if it has none.
func VPCResolver(v network.VPC) (netip.Addr, bool) {
	if len(v.CIDRs) == 0 || !v.CIDRs[0].Addr().Is4() {
		return netip.Addr{}, false
	}
	return nth(v.CIDRs[0], 2), true
}

// local gives the addresses that the VPC's router has itself.
func local(v network.VPC) []netip.Addr {
	out := []netip.Addr{ResolverAddr, MetadataAddr, APIAddr, S3Addr}
	if a, ok := VPCResolver(v); ok {
		out = append(out, a)
	}
	for _, s := range v.Subnets {
		if s.CIDR.Addr().Is4() {
			out = append(out, GatewayAddr(s.CIDR))
		}
	}
	for _, e := range v.Endpoints {
		for _, a := range e.Addresses {
			if v4(a) {
				out = append(out, a)
			}
		}
	}
	return sorted(out)
}

func sorted(addrs []netip.Addr) []netip.Addr {
	slices.SortFunc(addrs, netip.Addr.Compare)
	return slices.Compact(addrs)
}

func host(a netip.Addr) netip.Prefix { return netip.PrefixFrom(a, a.BitLen()) }

// hostLink is the address by which a VPC's routes name another host: its underlay address moved into 240.0.0.0/4,
// which no VPC can use, so that it can never be confused with a guest's.
func hostLink(underlay netip.Addr) netip.Addr {
	b := underlay.As4()
	b[0] |= 0xf0
	return netip.AddrFrom4(b)
}

// OverlayMAC is the MAC of a host's end of every VXLAN link.
func OverlayMAC(underlay netip.Addr) string {
	b := underlay.As4()
	return fmt.Sprintf("0e:6c:%02x:%02x:%02x:%02x", b[0], b[1], b[2], b[3])
}
