package netns

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"karri.dev/internal/network/rules"
)

// addRouter gives a tap the address at which its guest finds the IPv6 router. Nobody else can have it: the kernel
// need not ask.
func (s *space) addRouter(index int) error {
	a := &netlink.Addr{IPNet: ipnet(netip.PrefixFrom(rules.RouterAddr6, 64)), Scope: unix.RT_SCOPE_LINK, Flags: unix.IFA_F_NODAD}
	l := &netlink.Device{LinkAttrs: netlink.LinkAttrs{Index: index}}
	if err := s.links.AddrAdd(l, a); err != nil && !errors.Is(err, unix.EEXIST) {
		return fmt.Errorf("add %s: %w", rules.RouterAddr6, err)
	}
	return nil
}

// switchEdge turns IPv6 on or off in the edge and, where the host has it, on the host's link to it.
func (d *Driver) switchEdge(on bool) error {
	if d.edge.six != on || !d.edge.known {
		if err := d.edge.switchSix(on); err != nil {
			return err
		}
		d.edge.six, d.edge.known = on, false
	}
	if on && !d.root.six {
		err := d.root.enter(func() error {
			_, err := os.Stat("/proc/sys/net/ipv6")
			return err
		})
		if errors.Is(err, os.ErrNotExist) {
			return nil // guests speak IPv6 among themselves, and to the host's other guests
		}
		if err != nil {
			return err
		}
		d.root.six, d.root.known = true, false
	}
	return nil
}

// setUpRoot6 gives the host's link to the edge its IPv6 address.
func (d *Driver) setUpRoot6(l netlink.Link) error {
	addrs, err := retry(func() ([]netlink.Addr, error) { return d.root.links.AddrList(l, netlink.FAMILY_V6) })
	if err != nil {
		return err
	}
	for _, a := range addrs {
		if ip, ok := netip.AddrFromSlice(a.IP); ok && ip == rules.HostAddr6 {
			return nil
		}
	}
	d.writes.Add(1)
	return d.root.enter(func() error {
		for _, s := range []hostSetting{{"disable_ipv6", "0"}, {"accept_ra", "0"}} {
			if err := setting("ipv6/conf/"+d.rules.Link+"/"+s.path, s.value); err != nil {
				return err
			}
		}
		a := &netlink.Addr{IPNet: ipnet(netip.PrefixFrom(rules.HostAddr6, 128)), Flags: unix.IFA_F_NODAD | unix.IFA_F_NOPREFIXROUTE}
		if err := d.root.links.AddrAdd(l, a); err != nil && !errors.Is(err, unix.EEXIST) {
			return fmt.Errorf("add %s to %s: %w", rules.HostAddr6, d.rules.Link, err)
		}
		return nil
	})
}

// withoutSix is what there is for a host without IPv6.
func withoutSix(n rules.Namespace) rules.Namespace {
	n.Tables = slices.DeleteFunc(slices.Clone(n.Tables), func(t rules.Table) bool { return t.Family == "ip6" })
	n.Routes = slices.DeleteFunc(slices.Clone(n.Routes), func(r rules.Route) bool { return r.Destination.Addr().Is6() })
	n.Neighbors = slices.DeleteFunc(slices.Clone(n.Neighbors), func(e rules.Neighbor) bool { return e.IP.Is6() })
	n.Proxies = slices.DeleteFunc(slices.Clone(n.Proxies), func(e rules.Neighbor) bool { return e.IP.Is6() })
	return n
}

// forwarding6 lets IPv6 packets pass between the public interface and the link to the edge. Kernels before 6.17 can only
// let them pass everywhere, after which a host no longer listens to its own routers unless it is told to.
func forwarding6(public, link string) []hostSetting {
	out := []hostSetting{{"ipv6/conf/" + public + "/proxy_ndp", "1"}}
	if _, err := os.Stat("/proc/sys/net/ipv6/conf/" + public + "/force_forwarding"); err == nil {
		return append(out, hostSetting{"ipv6/conf/" + public + "/force_forwarding", "1"}, hostSetting{"ipv6/conf/" + link + "/force_forwarding", "1"})
	}
	if b, err := os.ReadFile("/proc/sys/net/ipv6/conf/" + public + "/accept_ra"); err == nil && string(b) == "1\n" {
		out = append(out, hostSetting{"ipv6/conf/" + public + "/accept_ra", "2"})
	}
	return append(out, hostSetting{"ipv6/conf/all/forwarding", "1"})
}

// routers gives the links, by number, that have the IPv6 router's address.
func (s *space) routers() (map[int]bool, error) {
	if !s.six {
		return nil, nil
	}
	list, err := retry(func() ([]netlink.Addr, error) { return s.links.AddrList(nil, netlink.FAMILY_V6) })
	if err != nil {
		return nil, fmt.Errorf("list addresses: %w", err)
	}
	out := map[int]bool{}
	for _, a := range list {
		if ip, ok := netip.AddrFromSlice(a.IP); ok && ip == rules.RouterAddr6 {
			out[a.LinkIndex] = true
		}
	}
	return out, nil
}
