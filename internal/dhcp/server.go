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
		l, ok := lookup(cm.IfIndex)
		if !ok {
			continue
		}
		answer, to, ok := Answer(buf[:n], l)
		if !ok {
			continue
		}
		out := &ipv4.ControlMessage{IfIndex: cm.IfIndex, Src: l.Router.AsSlice()}
		// The guest asks again when an answer is lost.
		_, _ = p.WriteTo(answer, out, &net.UDPAddr{IP: to.AsSlice(), Port: 68})
	}
}
