package netns

import (
	"bytes"
	"encoding/binary"
	"net"
	"net/netip"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Frames as root in a hostile guest makes them, and what a neighbour's card sees.

// marker is in every forged frame, whole: who sees it was reached.
const marker = "karri-was-here!!"

var broadcastMAC = "ff:ff:ff:ff:ff:ff"

func mac(s string) []byte {
	m, err := net.ParseMAC(s)
	if err != nil {
		panic(err)
	}
	return m
}

// ether is a frame; short ones are filled up as a card does it.
func ether(to, from string, kind uint16, body []byte) []byte {
	f := append(mac(to), mac(from)...)
	f = binary.BigEndian.AppendUint16(f, kind)
	f = append(f, body...)
	for len(f) < 60 {
		f = append(f, 0)
	}
	return f
}

// tagged is a frame with VLAN tags, the outer one first.
func tagged(frame []byte, tags ...uint32) []byte {
	f := append([]byte(nil), frame[:12]...)
	for _, tag := range tags {
		f = binary.BigEndian.AppendUint32(f, tag)
	}
	return append(f, frame[12:]...)
}

func sum(b []byte) uint16 {
	var s uint32
	for i := 0; i+1 < len(b); i += 2 {
		s += uint32(b[i])<<8 | uint32(b[i+1])
	}
	if len(b)%2 == 1 {
		s += uint32(b[len(b)-1]) << 8
	}
	for s>>16 != 0 {
		s = s&0xffff + s>>16
	}
	return ^uint16(s)
}

// ip4 is an IPv4 packet, or one fragment of it: offset in bytes.
func ip4(from, to string, protocol byte, id uint16, offset int, more bool, body []byte) []byte {
	flags := uint16(offset / 8)
	if more {
		flags |= 0x2000
	}
	h := []byte{0x45, 0}
	h = binary.BigEndian.AppendUint16(h, uint16(20+len(body)))
	h = binary.BigEndian.AppendUint16(h, id)
	h = binary.BigEndian.AppendUint16(h, flags)
	h = append(h, 64, protocol, 0, 0)
	h = append(h, netip.MustParseAddr(from).AsSlice()...)
	h = append(h, netip.MustParseAddr(to).AsSlice()...)
	binary.BigEndian.PutUint16(h[10:], sum(h))
	return append(h, body...)
}

// udpTo is a UDP datagram without a checksum.
func udpTo(from, to uint16, data []byte) []byte {
	b := binary.BigEndian.AppendUint16(nil, from)
	b = binary.BigEndian.AppendUint16(b, to)
	b = binary.BigEndian.AppendUint16(b, uint16(8+len(data)))
	return append(append(b, 0, 0), data...)
}

// syn is the segment that opens a TCP connection, with data.
func syn(from, to string, sport, dport uint16, data string) []byte {
	b := binary.BigEndian.AppendUint16(nil, sport)
	b = binary.BigEndian.AppendUint16(b, dport)
	b = append(b, 0, 0, 0, 1, 0, 0, 0, 0, 0x50, 2, 0xff, 0xff, 0, 0, 0, 0)
	b = append(b, data...)
	pseudo := append(netip.MustParseAddr(from).AsSlice(), netip.MustParseAddr(to).AsSlice()...)
	pseudo = append(pseudo, 0, 6)
	pseudo = binary.BigEndian.AppendUint16(pseudo, uint16(len(b)))
	binary.BigEndian.PutUint16(b[16:], sum(append(pseudo, b...)))
	return b
}

// arpFrame is an ARP message; its trailing bytes carry the marker.
func arpFrame(to, from string, op uint16, sha, spa, tha, tpa string) []byte {
	b := []byte{0, 1, 8, 0, 6, 4}
	b = binary.BigEndian.AppendUint16(b, op)
	b = append(append(b, mac(sha)...), netip.MustParseAddr(spa).AsSlice()...)
	b = append(append(b, mac(tha)...), netip.MustParseAddr(tpa).AsSlice()...)
	return ether(to, from, 0x0806, append(b, marker...))
}

// advertisement is a router advertisement that would make its sender everybody's way out.
func advertisement(from string) []byte {
	body := append([]byte{134, 0, 0, 0, 64, 0, 0xff, 0xff, 0, 0, 0, 0, 0, 0, 0, 0, 3, 4, 64, 0xc0}, bytes.Repeat([]byte{0xff}, 8)...)
	body = append(body, 0, 0, 0, 0)
	body = append(body, netip.MustParseAddr("2001:db8:bad::").AsSlice()...)
	body = append(body, marker...)
	src, dst := netip.MustParseAddr("fe80::bad").AsSlice(), netip.MustParseAddr("ff02::1").AsSlice()
	pseudo := append(append([]byte(nil), src...), dst...)
	pseudo = binary.BigEndian.AppendUint32(pseudo, uint32(len(body)))
	pseudo = append(pseudo, 0, 0, 0, 58)
	binary.BigEndian.PutUint16(body[2:], sum(append(pseudo, body...)))
	h := []byte{0x60, 0, 0, 0}
	h = binary.BigEndian.AppendUint16(h, uint16(len(body)))
	h = append(append(append(h, 58, 255), src...), dst...)
	return ether("33:33:00:00:00:01", from, 0x86dd, append(h, body...))
}

// card is a raw socket on a guest's card.
type card struct {
	t  testing.TB
	fd int
}

func (g *guest) card() *card {
	g.t.Helper()
	c := &card{t: g.t, fd: -1}
	err := g.enter(func() error {
		l, err := g.links.LinkByName("eth0")
		if err != nil {
			return err
		}
		all := binary.BigEndian.Uint16(binary.NativeEndian.AppendUint16(nil, unix.ETH_P_ALL))
		if c.fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, int(all)); err != nil {
			return err
		}
		_ = unix.SetsockoptInt(c.fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 64<<20)
		return unix.Bind(c.fd, &unix.SockaddrLinklayer{Protocol: all, Ifindex: l.Attrs().Index})
	})
	if err != nil {
		g.t.Fatal(err)
	}
	g.t.Cleanup(func() { unix.Close(c.fd) })
	return c
}

func (c *card) send(frames ...[]byte) {
	c.t.Helper()
	for _, f := range frames {
		err := unix.Send(c.fd, f, 0)
		for err == unix.ENOBUFS || err == unix.EAGAIN { // the guest's own queue is full
			time.Sleep(time.Millisecond)
			err = unix.Send(c.fd, f, 0)
		}
		if err != nil {
			c.t.Fatalf("send a frame: %v", err)
		}
	}
}

// receive reads frames that came in until visit has seen what it waited for; what names it.
func (c *card) receive(what string, visit func(frame []byte) bool) {
	c.t.Helper()
	_ = unix.SetsockoptTimeval(c.fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: 10})
	buf := make([]byte, 70_000)
	for {
		n, from, err := unix.Recvfrom(c.fd, buf, 0)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			c.t.Fatalf("waiting for %q: %v", what, err)
		}
		if l, ok := from.(*unix.SockaddrLinklayer); ok && l.Pkttype == unix.PACKET_OUTGOING {
			continue
		}
		if visit(buf[:n]) {
			return
		}
	}
}

// until reads frames until one holds what, and gives those before it that held the marker.
func (c *card) until(what string) (reached [][]byte) {
	c.t.Helper()
	c.receive(what, func(frame []byte) bool {
		if bytes.Contains(frame, []byte(what)) {
			return true
		}
		if bytes.Contains(frame, []byte(marker)) {
			reached = append(reached, bytes.Clone(frame))
		}
		return false
	})
	return reached
}

// ttlOf waits for an IPv4 packet that holds what and gives its time to live.
func (c *card) ttlOf(what string) (ttl int) {
	c.t.Helper()
	c.receive(what, func(frame []byte) bool {
		found := len(frame) > 34 && bytes.Contains(bytes.ToLower(frame), bytes.ToLower([]byte(what))) && frame[12] == 8
		if found {
			ttl = int(frame[22])
		}
		return found
	})
	return ttl
}
