package s3

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"syscall"
	"time"
)

// errAddress says that nobody can mean this address.
var errAddress = errors.New("the address is refused")

// dial connects to what the administrator has named. A name's owner decides where it leads, so a name must not lead to this
// machine, to its link (metadata services), or to many: only an address that was written as such may be this machine's own.
func dial(ctx context.Context, network, to string) (net.Conn, error) {
	host, _, err := net.SplitHostPort(to)
	if err != nil {
		return nil, fmt.Errorf("dial %s: %w", to, err)
	}
	_, err = netip.ParseAddr(host)
	literal := err == nil || host == "localhost"
	d := net.Dialer{Timeout: hookTime, KeepAlive: 30 * time.Second, Control: func(_, address string, _ syscall.RawConn) error {
		at, err := netip.ParseAddrPort(address)
		if err != nil {
			return fmt.Errorf("dial %s: %w", address, err)
		}
		return permitted(at.Addr(), literal)
	}}
	return d.DialContext(ctx, network, to)
}

func permitted(addr netip.Addr, literal bool) error {
	addr = addr.Unmap().WithZone("")
	if addr.IsLinkLocalUnicast() || addr.IsMulticast() || addr.IsUnspecified() || addr == netip.AddrFrom4([4]byte{255, 255, 255, 255}) {
		return fmt.Errorf("%w: %s", errAddress, addr)
	}
	if literal {
		return nil
	}
	own, err := net.InterfaceAddrs()
	if err != nil {
		return fmt.Errorf("the machine's own addresses: %w", err)
	}
	mine := addr.IsLoopback()
	for _, a := range own {
		if p, err := netip.ParsePrefix(a.String()); err == nil && p.Addr() == addr {
			mine = true
		}
	}
	if mine {
		return fmt.Errorf("%w: a name leads to %s, which is this machine", errAddress, addr)
	}
	return nil
}

// caller makes a client for what the administrator has named: no proxy, no redirects.
func caller() (*http.Client, *http.Transport) {
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.Proxy, t.DialContext, t.DisableCompression = nil, dial, true
	return &http.Client{Transport: t, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}, t
}
