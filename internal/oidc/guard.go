package oidc

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"syscall"
)

// ErrAddress says that a provider's name leads to an address where no provider may be.
var ErrAddress = errors.New("the address is not one of a public identity provider")

// Guard decides which addresses providers may have. Whoever has an account chooses names, and a name can lead anywhere:
// so the address itself is checked, each time that one is dialled.
type Guard struct {
	// Private are networks of the operator's own in which providers may be too, on any port. The machine's own addresses
	// are not meant by a range around them, only by an entry that is exactly one of them.
	Private []netip.Prefix
	// Own gives the machine's addresses; nil asks the system.
	Own func() ([]netip.Addr, error)
}

// special are ranges that look like unicast and are not the internet: RFC 6890 and its successors, and those that carry an
// IPv4 address inside.
var special = []netip.Prefix{
	netip.MustParsePrefix("0.0.0.0/8"), netip.MustParsePrefix("100.64.0.0/10"), netip.MustParsePrefix("192.0.0.0/24"),
	netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("192.88.99.0/24"), netip.MustParsePrefix("198.18.0.0/15"),
	netip.MustParsePrefix("198.51.100.0/24"), netip.MustParsePrefix("203.0.113.0/24"), netip.MustParsePrefix("240.0.0.0/4"),
	netip.MustParsePrefix("::/96"), netip.MustParsePrefix("64:ff9b::/96"), netip.MustParsePrefix("64:ff9b:1::/48"),
	netip.MustParsePrefix("100::/64"), netip.MustParsePrefix("2001::/23"), netip.MustParsePrefix("2001:db8::/32"),
	netip.MustParsePrefix("2002::/16"), netip.MustParsePrefix("fec0::/10"), netip.MustParsePrefix("3fff::/20"),
}

// permit says whether a provider may be at an address.
func (g *Guard) permit(to netip.AddrPort) error {
	addr := to.Addr().Unmap().WithZone("")
	refused := fmt.Errorf("%w: %s", ErrAddress, to)
	if addr.IsLinkLocalUnicast() || addr.IsMulticast() || addr.IsUnspecified() || addr == netip.AddrFrom4([4]byte{255, 255, 255, 255}) {
		return refused // metadata services above all; nobody can mean these
	}
	named, within := false, false
	for _, p := range g.Private {
		if p.Contains(addr) {
			within = true
			named = named || p.IsSingleIP()
		}
	}
	if named {
		return nil
	}
	own := g.Own
	if own == nil {
		own = systemAddresses
	}
	mine, err := own()
	if err != nil {
		return fmt.Errorf("the machine's own addresses: %w", err)
	}
	switch {
	case addr.IsLoopback() || slices.Contains(mine, addr):
		return refused // the control plane
	case within:
		return nil
	case !addr.IsGlobalUnicast() || addr.IsPrivate() || to.Port() != 443 || slices.ContainsFunc(special, func(p netip.Prefix) bool { return p.Contains(addr) }):
		return refused
	}
	return nil
}

func systemAddresses() ([]netip.Addr, error) {
	all, err := net.InterfaceAddrs()
	if err != nil {
		return nil, err
	}
	var out []netip.Addr
	for _, a := range all {
		if p, err := netip.ParsePrefix(a.String()); err == nil {
			out = append(out, p.Addr().Unmap().WithZone(""))
		}
	}
	return out, nil
}

// dial connects to an address that is permitted.
func (g *Guard) dial(ctx context.Context, network, address string) (net.Conn, error) {
	d := net.Dialer{Control: func(_, address string, _ syscall.RawConn) error {
		to, err := netip.ParseAddrPort(address)
		if err != nil {
			return err
		}
		return g.permit(to)
	}}
	return d.DialContext(ctx, network, address)
}
