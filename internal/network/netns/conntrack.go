package netns

import (
	"fmt"
	"net"
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"karri.dev/internal/network/rules"
)

// forget drops conntrack's memory of addresses that left: whoever has them next must not inherit connections
// that its own groups never allowed.
func (s *space) forget(have, want rules.Namespace, before []rules.Table) error {
	addrs := leaving(have, want, before)
	if len(addrs) == 0 {
		return nil
	}
	families := []netlink.InetFamily{unix.AF_INET}
	if s.six {
		families = append(families, unix.AF_INET6)
	}
	for _, f := range families {
		if _, err := s.links.ConntrackDeleteFilters(netlink.ConntrackTable, f, flowsOf(addrs)); err != nil {
			return fmt.Errorf("forget connections: %w", err)
		}
	}
	return nil
}

// flowsOf matches connections of any of the addresses.
type flowsOf map[netip.Addr]bool

func (f flowsOf) MatchConntrackFlow(c *netlink.ConntrackFlow) bool {
	for _, ip := range []net.IP{c.Forward.SrcIP, c.Forward.DstIP, c.Reverse.SrcIP, c.Reverse.DstIP} {
		if a, ok := netip.AddrFromSlice(ip); ok && f[a.Unmap()] {
			return true
		}
	}
	return false
}
