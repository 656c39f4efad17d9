package netns

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"karri.dev/internal/network/rules"
)

// routeProtocol marks routes as karri's ("ip route" shows it as proto 75).
const routeProtocol = 75

// owner says which of a namespace's things are the driver's to change.
type owner struct {
	whole    bool // the namespace is the driver's: addresses and policy rules too
	route    func(rules.Route) bool
	neighbor func(rules.Neighbor) bool
	proxies  string // device whose proxy entries may be ours; "" = none
}

// allOurs is for the namespaces that the driver made.
var allOurs = owner{
	whole:    true,
	route:    func(r rules.Route) bool { return true },
	neighbor: func(n rules.Neighbor) bool { return true },
}

// device is a network interface as the kernel has it.
type device struct {
	index int
	kind  string
	group uint32
	mtu   int
	mac   string
	up    bool
	gbp   bool // of a VXLAN device: packets' marks go with them
}

// devices reads the interfaces of the namespace.
func (s *space) devices() (map[string]device, error) {
	list, err := retry(s.links.LinkList)
	if err != nil {
		return nil, fmt.Errorf("list links: %w", err)
	}
	out := make(map[string]device, len(list))
	for _, l := range list {
		a := l.Attrs()
		vx, _ := l.(*netlink.Vxlan)
		out[a.Name] = device{
			index: a.Index, kind: l.Type(), group: a.Group, mtu: a.MTU,
			mac: a.HardwareAddr.String(), up: a.Flags&net.FlagUp != 0,
			gbp: vx != nil && vx.GBP,
		}
	}
	return out, nil
}

// retry repeats a dump that a change interrupted.
func retry[T any](list func() ([]T, error)) ([]T, error) {
	for range 10 {
		out, err := list()
		if !errors.Is(err, netlink.ErrDumpInterrupted) {
			return out, err
		}
	}
	return list()
}

// observe reads what the kernel has of what a rules.Namespace describes, but for taps and tables.
func (s *space) observe(devices map[string]device, own owner) (rules.Namespace, error) {
	var n rules.Namespace
	names := make(map[int]string, len(devices))
	for name, d := range devices {
		names[d.index] = name
	}
	if own.whole {
		if err := s.observeOwn(&n, names, devices); err != nil {
			return n, err
		}
	}
	families := []int{netlink.FAMILY_V4}
	if s.six {
		families = append(families, netlink.FAMILY_V6)
	}
	for _, f := range families {
		if err := s.observeFamily(&n, f, names, own); err != nil {
			return n, err
		}
	}
	if d, ok := devices[own.proxies]; ok {
		for _, f := range families {
			entries, err := retry(func() ([]netlink.Neigh, error) { return s.links.NeighProxyList(d.index, f) })
			if err != nil {
				return n, fmt.Errorf("list proxy entries: %w", err)
			}
			for _, e := range entries {
				ip, _ := netip.AddrFromSlice(short(e.IP))
				routed := func(r rules.Route) bool {
					return r.Kind == rules.Unicast && r.Destination == netip.PrefixFrom(ip, ip.BitLen())
				}
				if slices.ContainsFunc(n.Routes, routed) {
					n.Proxies = append(n.Proxies, rules.Neighbor{Device: own.proxies, IP: ip})
				}
			}
		}
	}
	return n, nil
}

// observeFamily reads routes and neighbours of one family.
func (s *space) observeFamily(n *rules.Namespace, family int, names map[int]string, own owner) error {
	routes, err := retry(func() ([]netlink.Route, error) {
		return s.links.RouteListFiltered(family, &netlink.Route{Table: unix.RT_TABLE_UNSPEC}, netlink.RT_FILTER_TABLE)
	})
	if err != nil {
		return fmt.Errorf("list routes: %w", err)
	}
	for _, r := range routes {
		if d := decodeRoute(r, names); r.Table != unix.RT_TABLE_LOCAL && !d.Destination.Addr().IsLinkLocalUnicast() && !d.Destination.Addr().IsMulticast() && own.route(d) {
			n.Routes = append(n.Routes, d)
		}
	}
	neighbors, err := retry(func() ([]netlink.Neigh, error) { return s.links.NeighList(0, family) })
	if err != nil {
		return fmt.Errorf("list neighbors: %w", err)
	}
	for _, e := range neighbors {
		ip, _ := netip.AddrFromSlice(short(e.IP))
		d := rules.Neighbor{Device: names[e.LinkIndex], IP: ip, MAC: e.HardwareAddr.String()}
		if e.State&netlink.NUD_PERMANENT != 0 && own.neighbor(d) {
			n.Neighbors = append(n.Neighbors, d)
		}
	}
	return nil
}

// observeOwn reads what only a namespace of the driver's own is asked for.
func (s *space) observeOwn(n *rules.Namespace, names map[int]string, devices map[string]device) error {
	addrs, err := retry(func() ([]netlink.Addr, error) { return s.links.AddrList(nil, netlink.FAMILY_V4) })
	if err != nil {
		return fmt.Errorf("list addresses: %w", err)
	}
	for _, a := range addrs {
		if ip, ok := netip.AddrFromSlice(a.IP.To4()); ok && names[a.LinkIndex] == "lo" && !ip.IsLoopback() {
			n.Addresses = append(n.Addresses, ip)
		}
	}
	if vx, ok := devices[rules.OverlayName]; ok {
		entries, err := retry(func() ([]netlink.Neigh, error) { return s.links.NeighList(vx.index, unix.AF_BRIDGE) })
		if err != nil {
			return fmt.Errorf("list forwarding entries: %w", err)
		}
		for _, e := range entries {
			ip, _ := netip.AddrFromSlice(e.IP.To4())
			n.Peers = append(n.Peers, rules.Peer{MAC: e.HardwareAddr.String(), Underlay: ip})
		}
	}
	policies, err := retry(func() ([]netlink.Rule, error) { return s.links.RuleList(netlink.FAMILY_V4) })
	if err == nil && s.six {
		var more []netlink.Rule
		more, err = retry(func() ([]netlink.Rule, error) { return s.links.RuleList(netlink.FAMILY_V6) })
		policies = append(policies, more...)
	}
	if err != nil {
		return fmt.Errorf("list policy rules: %w", err)
	}
	for _, p := range policies {
		if p.Priority > 0 && p.Priority != rules.CharonPriority {
			d := rules.Policy{Priority: p.Priority, Mark: p.Mark, Table: p.Table, NoDefaultRoute: p.SuppressPrefixlen == 0, IPv6: p.Family == netlink.FAMILY_V6}
			if p.Src != nil {
				d.From, _ = netip.AddrFromSlice(p.Src.IP.To4())
			}
			if p.Type == unix.RTN_UNREACHABLE {
				d.Table = 0
			}
			n.Policies = append(n.Policies, d)
		}
	}
	return nil
}

// defaultMetric6 is what the kernel gives IPv6 routes without one.
const defaultMetric6 = 1024

// short gives an address in as many bytes as its family has.
func short(ip net.IP) net.IP {
	if four := ip.To4(); four != nil {
		return four
	}
	return ip
}

func familyOf(a netip.Addr) int {
	if a.Is6() {
		return netlink.FAMILY_V6
	}
	return netlink.FAMILY_V4
}

func decodeRoute(r netlink.Route, names map[int]string) rules.Route {
	d := rules.Route{
		Table: r.Table, Destination: netip.PrefixFrom(netip.IPv4Unspecified(), 0), Kind: rules.Unicast,
		Device: names[r.LinkIndex], Metric: r.Priority,
	}
	if r.Family == netlink.FAMILY_V6 {
		d.Destination = netip.PrefixFrom(netip.IPv6Unspecified(), 0)
		if d.Metric == defaultMetric6 {
			d.Metric = 0
		}
	}
	if r.Dst != nil {
		ip, _ := netip.AddrFromSlice(short(r.Dst.IP))
		ones, _ := r.Dst.Mask.Size()
		d.Destination = netip.PrefixFrom(ip, ones)
	}
	switch r.Type {
	case unix.RTN_UNREACHABLE:
		d.Kind, d.Device = rules.Unreachable, ""
	case unix.RTN_BLACKHOLE:
		d.Kind, d.Device = rules.BlackholeR, ""
	}
	d.Via, _ = netip.AddrFromSlice(short(r.Gw))
	d.Source, _ = netip.AddrFromSlice(short(r.Src))
	return d
}

// present leaves out what went with its interface.
func (s *space) present(n rules.Namespace) rules.Namespace {
	gone := func(device string) bool { return device != "" && s.index[device] == 0 }
	n.Routes = slices.DeleteFunc(slices.Clone(n.Routes), func(r rules.Route) bool { return gone(r.Device) })
	n.Neighbors = slices.DeleteFunc(slices.Clone(n.Neighbors), func(e rules.Neighbor) bool { return gone(e.Device) })
	return n
}

// change leads the namespace from have to want, and gives the last error that mattered. Things of an
// interface that is gone went with it: that is no error.
func (s *space) change(have, want rules.Namespace, write func(string, error)) {
	index := func(name string) int { return s.index[name] }
	gone := func(err error) error {
		if errors.Is(err, unix.ESRCH) || errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENODEV) || errors.Is(err, unix.EADDRNOTAVAIL) {
			return nil
		}
		return err
	}
	there := func(err error) error {
		if errors.Is(err, unix.EEXIST) {
			return nil
		}
		return err
	}
	have = s.present(have)
	addrsOut, addrsIn := differ(have.Addresses, want.Addresses)
	routesOut, routesIn := differ(have.Routes, want.Routes)
	neighOut, neighIn := differ(have.Neighbors, want.Neighbors)
	peersOut, peersIn := differ(have.Peers, want.Peers)
	proxiesOut, proxiesIn := differ(have.Proxies, want.Proxies)
	policiesOut, policiesIn := differ(have.Policies, want.Policies)

	for _, a := range addrsIn {
		write("add address "+a.String(), there(s.links.AddrAdd(loopback(index("lo")), address(a))))
	}
	for _, p := range policiesIn { // before those that go: some rule always decides
		write(fmt.Sprintf("add rule %d", p.Priority), there(s.links.RuleAdd(encodePolicy(p))))
	}
	for _, p := range policiesOut {
		write(fmt.Sprintf("delete rule %d", p.Priority), gone(s.links.RuleDel(encodePolicy(p))))
	}
	for _, e := range proxiesOut {
		write("delete proxy "+e.IP.String(), gone(s.links.NeighDel(encodeNeighbor(e, index(e.Device), netlink.NTF_PROXY))))
	}
	for _, r := range routesOut {
		e := encodeRoute(r, index(r.Device))
		e.Protocol, e.Scope = 0, netlink.SCOPE_NOWHERE // whoever made it
		write("delete route "+r.String(), gone(s.links.RouteDel(e)))
	}
	for _, e := range neighIn {
		write("set neighbor "+e.IP.String(), s.links.NeighSet(encodeNeighbor(e, index(e.Device), 0)))
	}
	for _, p := range peersIn {
		write("add peer "+p.Underlay.String(), there(s.links.NeighAppend(encodePeer(p, index(rules.OverlayName)))))
	}
	for _, r := range routesIn {
		write("add route "+r.String(), s.links.RouteReplace(encodeRoute(r, index(r.Device))))
	}
	for _, e := range proxiesIn {
		write("add proxy "+e.IP.String(), there(s.links.NeighSet(encodeNeighbor(e, index(e.Device), netlink.NTF_PROXY))))
	}
	kept := map[rules.Neighbor]bool{}
	for _, e := range want.Neighbors {
		kept[rules.Neighbor{Device: e.Device, IP: e.IP}] = true
	}
	for _, e := range neighOut {
		if !kept[rules.Neighbor{Device: e.Device, IP: e.IP}] { // else NeighSet has changed its MAC
			write("delete neighbor "+e.IP.String(), gone(s.links.NeighDel(encodeNeighbor(e, index(e.Device), 0))))
		}
	}
	for _, p := range peersOut {
		write("delete peer "+p.Underlay.String(), gone(s.links.NeighDel(encodePeer(p, index(rules.OverlayName)))))
	}
	for _, a := range addrsOut {
		write("delete address "+a.String(), gone(s.links.AddrDel(loopback(index("lo")), address(a))))
	}
}

func loopback(index int) netlink.Link {
	return &netlink.Device{LinkAttrs: netlink.LinkAttrs{Name: "lo", Index: index}}
}

func address(a netip.Addr) *netlink.Addr { return &netlink.Addr{IPNet: ipnet(netip.PrefixFrom(a, 32))} }

func ipnet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}

func encodeRoute(r rules.Route, index int) *netlink.Route {
	out := &netlink.Route{Table: r.Table, Dst: ipnet(r.Destination), Protocol: routeProtocol, Priority: r.Metric, Type: unix.RTN_UNICAST}
	switch r.Kind {
	case rules.Unreachable:
		out.Type = unix.RTN_UNREACHABLE
		return out
	case rules.BlackholeR:
		out.Type = unix.RTN_BLACKHOLE
		return out
	}
	out.LinkIndex = index
	out.Scope = netlink.SCOPE_LINK
	if r.Via.IsValid() {
		out.Gw, out.Scope = r.Via.AsSlice(), netlink.SCOPE_UNIVERSE
		out.SetFlag(netlink.FLAG_ONLINK)
	}
	if r.Source.IsValid() {
		out.Src = r.Source.AsSlice()
	}
	return out
}

func encodeNeighbor(e rules.Neighbor, index, flags int) *netlink.Neigh {
	mac, _ := net.ParseMAC(e.MAC)
	return &netlink.Neigh{
		LinkIndex: index, Family: familyOf(e.IP), State: netlink.NUD_PERMANENT,
		IP: e.IP.AsSlice(), HardwareAddr: mac, Flags: flags,
	}
}

func encodePeer(p rules.Peer, index int) *netlink.Neigh {
	mac, _ := net.ParseMAC(p.MAC)
	return &netlink.Neigh{
		LinkIndex: index, Family: unix.AF_BRIDGE, State: netlink.NUD_PERMANENT, Flags: netlink.NTF_SELF,
		IP: p.Underlay.AsSlice(), HardwareAddr: mac,
	}
}

func encodePolicy(p rules.Policy) *netlink.Rule {
	out := netlink.NewRule()
	out.Family, out.Priority, out.Mark, out.Table = netlink.FAMILY_V4, p.Priority, p.Mark, p.Table
	if p.IPv6 {
		out.Family = netlink.FAMILY_V6
	}
	if p.NoDefaultRoute {
		out.SuppressPrefixlen = 0
	}
	if p.From.IsValid() {
		out.Src = ipnet(netip.PrefixFrom(p.From, 32))
	}
	if p.Table == 0 {
		out.Type = unix.RTN_UNREACHABLE
	}
	return out
}
