package netns

import (
	"errors"
	"fmt"
	"net/netip"

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
