package dhcp

import (
	"errors"
	"fmt"
	"net"

	"golang.org/x/net/ipv4"
)

// Serve answers requests on conn, a socket on 0.0.0.0:67 that may broadcast, until conn is closed. Who asks is
// known from the interface that the request came in by, never from what it says.
func Serve(conn net.PacketConn, lookup func(interfaceIndex int) (Lease, bool)) error {
	return serve(conn, func(index int, _ []byte) (Lease, bool) { return lookup(index) })
}

// ServeBridge is Serve where all guests come by one interface, a bridge. Who asks is known from the MAC address that the
// request names: whoever lets it pass has compared that with where it comes from.
func ServeBridge(conn net.PacketConn, lookup func(mac string) (Lease, bool)) error {
	return serve(conn, func(_ int, message []byte) (Lease, bool) {
		if len(message) < clientMAC+6 {
			return Lease{}, false
		}
		return lookup(net.HardwareAddr(message[clientMAC : clientMAC+6]).String())
	})
}

// clientMAC is where a message has the client's MAC address.
const clientMAC = 28

func serve(conn net.PacketConn, lookup func(index int, message []byte) (Lease, bool)) error {
	p := ipv4.NewPacketConn(conn)
	if err := p.SetControlMessage(ipv4.FlagInterface, true); err != nil {
		return fmt.Errorf("ask for interface numbers: %w", err)
	}
	buf := make([]byte, maxMessage+1)
	for {
		n, cm, from, err := p.ReadFrom(buf)
		if errors.Is(err, net.ErrClosed) {
			return nil
		}
		if err != nil || cm == nil {
			continue
		}
		if u, ok := from.(*net.UDPAddr); !ok || u.Port != 68 {
			continue
		}
		l, ok := lookup(cm.IfIndex, buf[:n])
		if !ok {
			continue
		}
		answer, to, ok := Answer(buf[:n], l)
		if !ok {
			continue
		}
		out := &ipv4.ControlMessage{IfIndex: cm.IfIndex, Src: l.server().AsSlice()}
		// The guest asks again when an answer is lost.
		_, _ = p.WriteTo(answer, out, &net.UDPAddr{IP: to.AsSlice(), Port: 68})
	}
}
