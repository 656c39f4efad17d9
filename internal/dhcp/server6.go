package dhcp

import (
	"errors"
	"fmt"
	"net"
	"time"

	"golang.org/x/net/ipv6"
)

// Multicast addresses that guests and their router find each other by.
var (
	allNodes   = net.ParseIP("ff02::1")
	allServers = net.ParseIP("ff02::1:2") // DHCPv6's
)

// Server6 answers DHCPv6 requests on a socket on [::]:547.
type Server6 struct{ conn *ipv6.PacketConn }

// NewServer6 makes a server of a socket.
func NewServer6(conn net.PacketConn) (*Server6, error) {
	p := ipv6.NewPacketConn(conn)
	if err := p.SetControlMessage(ipv6.FlagInterface, true); err != nil {
		return nil, fmt.Errorf("ask for interface numbers: %w", err)
	}
	return &Server6{p}, nil
}

// Join lets the server hear an interface's guest. Once is enough for the life of the interface.
func (s *Server6) Join(index int) error {
	return s.conn.JoinGroup(&net.Interface{Index: index}, &net.IPAddr{IP: allServers})
}

// Serve answers until the socket is closed. Who asks is known from the interface that the request came in by.
func (s *Server6) Serve(lookup func(interfaceIndex int) (Lease6, bool)) error {
	buf := make([]byte, maxMessage+1)
	for {
		n, cm, from, err := s.conn.ReadFrom(buf)
		if errors.Is(err, net.ErrClosed) {
			return nil
		}
		if err != nil || cm == nil {
			continue
		}
		u, ok := from.(*net.UDPAddr)
		if !ok || u.Port != 546 || !u.IP.IsLinkLocalUnicast() {
			continue
		}
		l, ok := lookup(cm.IfIndex)
		if !ok {
			continue
		}
		if answer, ok := Answer6(buf[:n], l); ok {
			// The guest asks again when an answer is lost.
			_, _ = s.conn.WriteTo(answer, &ipv6.ControlMessage{IfIndex: cm.IfIndex}, &net.UDPAddr{IP: u.IP, Port: 546})
		}
	}
}

// Router tells guests of their IPv6 router, on a raw ICMPv6 socket.
type Router struct{ conn *ipv6.PacketConn }

// NewRouter makes a router of a socket.
func NewRouter(conn net.PacketConn) (*Router, error) {
	p := ipv6.NewPacketConn(conn)
	var filter ipv6.ICMPFilter
	filter.SetAll(true)
	filter.Accept(ipv6.ICMPTypeRouterSolicitation)
	err := errors.Join(p.SetICMPFilter(&filter), p.SetControlMessage(ipv6.FlagInterface|ipv6.FlagHopLimit, true),
		p.SetMulticastHopLimit(255), p.SetMulticastLoopback(false))
	if err != nil {
		return nil, fmt.Errorf("set up a router's socket: %w", err)
	}
	return &Router{p}, nil
}

// Serve answers guests that look for a router until the socket is closed.
func (r *Router) Serve(lookup func(interfaceIndex int) (Lease6, bool)) error {
	buf := make([]byte, maxMessage)
	for {
		_, cm, _, err := r.conn.ReadFrom(buf)
		if errors.Is(err, net.ErrClosed) {
			return nil
		}
		if err != nil || cm == nil || cm.HopLimit != 255 { // else it is from further away
			continue
		}
		if l, ok := lookup(cm.IfIndex); ok {
			r.Tell(cm.IfIndex, l)
		}
	}
}

// Interval is how often guests should be told unasked.
const Interval = 5 * time.Minute

// Tell tells an interface's guest of the router.
func (r *Router) Tell(index int, l Lease6) {
	// What is lost is asked for again, or comes with the next turn.
	_, _ = r.conn.WriteTo(Advertisement(l), &ipv6.ControlMessage{IfIndex: index, HopLimit: 255}, &net.IPAddr{IP: allNodes})
}
