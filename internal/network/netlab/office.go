package netlab

import (
	"context"
	"net"
	"net/netip"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"karri.dev/internal/dhcp"
)

// Office is an operator's flat network: a machine on a bridge, its router and DHCP server.
type Office struct {
	*Space
	Router netip.Addr
	subnet netip.Prefix

	mu     sync.Mutex
	leases map[string]netip.Addr
	next   netip.Addr
}

// NewOffice makes the bridge in a namespace, and the machine on it. The router is the first address of the subnet, the
// 100th is the first one that its DHCP server gives.
func NewOffice(t testing.TB, namespace, bridge string, subnet netip.Prefix) *Office {
	t.Helper()
	o := &Office{Space: New(t), Router: subnet.Masked().Addr().Next(), subnet: subnet, leases: map[string]netip.Addr{}}
	o.next = o.Router
	for range 99 {
		o.next = o.next.Next()
	}
	link := "o" + o.Name[max(0, len(o.Name)-10):]
	o.Run("ip", "-n", namespace, "link", "add", bridge, "type", "bridge")
	o.Run("ip", "-n", namespace, "link", "set", bridge, "up")
	o.Run("ip", "link", "add", "e0", "type", "veth", "peer", "name", link, "netns", namespace)
	o.Run("ip", "-n", namespace, "link", "set", link, "master", bridge, "up")
	o.Run("ip", "addr", "add", netip.PrefixFrom(o.Router, subnet.Bits()).String(), "dev", "e0")
	o.Run("ip", "link", "set", "e0", "up")
	return o
}

// ServeDHCP begins to give addresses.
func (o *Office) ServeDHCP() {
	o.t.Helper()
	config := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error {
		return c.Control(func(fd uintptr) { _ = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_BROADCAST, 1) })
	}}
	var conn net.PacketConn
	err := o.Enter(func() (err error) {
		conn, err = config.ListenPacket(context.Background(), "udp4", "0.0.0.0:67")
		return err
	})
	if err != nil {
		o.t.Fatal(err)
	}
	o.t.Cleanup(func() { conn.Close() })
	go func() { _ = dhcp.ServeBridge(conn, o.lease) }()
}

// Lease says which address the DHCP server gave, or will give, to a card.
func (o *Office) Lease(mac string) netip.Addr {
	l, _ := o.lease(mac)
	return l.IP
}

// Move gives a card another address from now on: it gets a refusal for the one that it has.
func (o *Office) Move(mac string, ip netip.Addr) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.leases[mac] = ip
}

func (o *Office) lease(mac string) (dhcp.Lease, bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	hw, err := net.ParseMAC(mac)
	if err != nil {
		return dhcp.Lease{}, false
	}
	ip, known := o.leases[mac]
	if !known {
		ip = o.next
		o.leases[mac], o.next = ip, ip.Next()
	}
	// A DHCP server writes frames by itself: it does not ask who has an address that nobody has yet.
	_, _ = o.Try("ip", "neigh", "replace", ip.String(), "lladdr", mac, "dev", "e0", "nud", "stale")
	return dhcp.Lease{MAC: hw, IP: ip, Subnet: o.subnet, Router: o.Router, Duration: time.Hour}, true
}
