package netns

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"karri.dev/internal/network"
	"karri.dev/internal/network/rules"
)

// ip6 is an IPv6 packet.
func ip6(from, to string, next, hops byte, body []byte) []byte {
	h := binary.BigEndian.AppendUint16([]byte{0x60, 0, 0, 0}, uint16(len(body)))
	h = append(h, next, hops)
	h = append(h, netip.MustParseAddr(from).AsSlice()...)
	h = append(h, netip.MustParseAddr(to).AsSlice()...)
	return append(h, body...)
}

// checked fills in the checksum of an ICMPv6 message or a UDP datagram, which stands at an offset.
func checked(from, to string, next byte, at int, body []byte) []byte {
	pseudo := append(netip.MustParseAddr(from).AsSlice(), netip.MustParseAddr(to).AsSlice()...)
	pseudo = binary.BigEndian.AppendUint32(pseudo, uint32(len(body)))
	pseudo = append(pseudo, 0, 0, 0, next)
	if len(body)%2 != 0 {
		body = append(body, 0)
	}
	binary.BigEndian.PutUint16(body[at:], sum(append(pseudo, body...)))
	return body
}

// newHostile6 is newHostile in a VPC that has IPv6, too, where the groups let all of it in.
func newHostile6(t *testing.T) *hostile {
	t.Helper()
	h := &hostile{host: newLab(t), v: dualVPC("vpc-h", 1)}
	h.d = newDriver(t, h.host, Config{}, nil)
	h.v.Groups = []network.Group{{ID: "sg-h", Rules: []network.Rule{
		all(true), all6(true), all6(false), tcp(7, "0.0.0.0/0"), {Protocol: 17, Ports: network.PortRange{From: 9, To: 9}, CIDR: everything},
	}}}
	for i, ip := range []string{"10.0.0.10", "10.0.0.11", "10.0.0.12"} { // and …::10 to …::12
		h.v.Interfaces = append(h.v.Interfaces, with6(nic(i+1, "subnet-a", ip, "sg-h"), fmt.Sprintf("2001:db8:1::%d", 10+i)))
	}
	apply(t, h.d, state6(h.v))
	for i, g := range []**guest{&h.a, &h.b, &h.c} {
		*g = newGuest6(t, h.d, h.v.Interfaces[i], subnetA)
	}
	h.b.listen(7)
	h.attacker, h.victim = h.a.card(), h.b.card()
	return h
}

// TestHostileFrames6: in the name of a router, a DHCPv6 server or a neighbour a guest reaches nobody, though groups let all IPv6 in.
func TestHostileFrames6(t *testing.T) {
	t.Parallel()
	h := newHostile6(t)
	a, b, far := h.a.nic.MAC, h.b.nic.MAC, "2001:db8:1::11"
	frame := func(to, from, dest string, next byte, at int, body []byte) []byte {
		return ether(to, a, 0x86dd, ip6(from, dest, next, 255, checked(from, dest, next, at, append(body, marker...))))
	}
	ra := append([]byte{134, 0, 0, 0, 64, 0xc0, 0xff, 0xff}, make([]byte, 8)...)
	neighbour := append([]byte{136, 0, 0, 0, 0xa0, 0, 0, 0}, netip.MustParseAddr("fe80::1").AsSlice()...)
	redirect := append(append([]byte{137, 0, 0, 0, 0, 0, 0, 0}, netip.MustParseAddr("fe80::bad").AsSlice()...), netip.MustParseAddr(far).AsSlice()...)
	reply := udpTo(547, 546, []byte{7, 1, 2, 3})
	binary.BigEndian.PutUint16(reply[4:], uint16(len(reply)+len(marker)))
	var frames [][]byte
	for _, to := range []string{rules.TapMAC, b, "33:33:00:00:00:01"} {
		for _, from := range []string{"fe80::bad", "fe80::1", "2001:db8:1::66"} {
			for _, dest := range []string{"ff02::1", "fe80::11", far} {
				frames = append(frames, frame(to, from, dest, 58, 2, ra), frame(to, from, dest, 58, 2, neighbour), frame(to, from, dest, 58, 2, redirect), frame(to, from, dest, 17, 6, reply))
			}
		}
		// In its own name to another's link: it goes no further than the router.
		for _, dest := range []string{"ff02::1", "ff05::1", "ff0e::1", "fe80::11"} {
			frames = append(frames, frame(to, "2001:db8:1::10", dest, 17, 6, reply))
		}
	}
	h.attack(t, frames...)
	// To the victim's own address, in its own name, a packet passes, but not as one from the victim's link: that is told by its hop limit.
	h.attacker.send(frame(rules.TapMAC, "2001:db8:1::10", far, 58, 2, ra))
	h.victim.receive("the advertisement that was routed", func(f []byte) bool {
		found := strings.Contains(string(f), marker)
		if found && (f[12] != 0x86 || f[21] != 254) {
			t.Errorf("it comes with the hop limit %d", f[21])
		}
		return found
	})
	if out := h.b.run("ip", "-6", "route"); strings.Contains(out, "fe80::bad") || !strings.Contains(out, "default via fe80::1") {
		t.Errorf("the victim's routes: %s", out)
	}
	h.c.reaches("[" + far + "]:7")
}

// TestNDPFlood: neither what a guest says of neighbours nor its packets for addresses that nobody has fill the table of
// neighbours, which all namespaces share.
func TestNDPFlood(t *testing.T) {
	t.Parallel()
	h := newHostile6(t)
	h.v.Interfaces[0].NoSourceCheck = true
	apply(t, h.d, state6(h.v))
	a := h.a.nic.MAC
	count := func() int { return strings.Count(h.router().run("ip", "-6", "neigh"), "\n") }
	before := count()
	for i := range 8000 {
		from, nobody := fmt.Sprintf("fe80::6:%x", i), fmt.Sprintf("2001:db8:1::7:%x", i)
		ask := append([]byte{135, 0, 0, 0, 0, 0, 0, 0}, rules.RouterAddr6.AsSlice()...)
		ask = append(append(ask, 1, 1), mac(a)...) // the sender's MAC, to be remembered
		router := append([]byte{133, 0, 0, 0, 0, 0, 0, 0, 1, 1}, mac(a)...)
		h.attacker.send(
			ether(rules.TapMAC, a, 0x86dd, ip6(from, "fe80::1", 58, 255, checked(from, "fe80::1", 58, 2, ask))),
			ether(rules.TapMAC, a, 0x86dd, ip6(from, "ff02::2", 58, 255, checked(from, "ff02::2", 58, 2, router))),
			ether(rules.TapMAC, a, 0x86dd, ip6("2001:db8:1::10", nobody, 17, 64, checked("2001:db8:1::10", nobody, 17, 6, udpTo(1, 9, []byte(marker))))))
	}
	if n := count() - before; n > 500 {
		t.Errorf("the router remembers %d neighbours more", n)
	}
	h.c.run("ip", "-6", "neigh", "flush", "dev", "eth0")
	h.c.reaches("[2001:db8:1::11]:7")
}

// fragment6 is one fragment of an IPv6 packet: offset in bytes.
func fragment6(from, to string, protocol byte, id uint32, offset int, more bool, body []byte) []byte {
	place := uint16(offset)
	if more {
		place |= 1
	}
	h := binary.BigEndian.AppendUint16([]byte{protocol, 0}, place)
	h = binary.BigEndian.AppendUint32(h, id)
	return ip6(from, to, 44, 64, append(h, body...))
}

// TestFragmentFlood6: fragments that never become whole take no neighbour's room.
func TestFragmentFlood6(t *testing.T) {
	t.Parallel()
	h := newHostile6(t)
	sink, from := h.b.udp("[2001:db8:1::11]:9"), h.c.udp("[2001:db8:1::12]:0")
	body := make([]byte, 1400)
	for i := range 20_000 {
		h.attacker.send(ether(rules.TapMAC, h.a.nic.MAC, 0x86dd, fragment6("2001:db8:1::10", "2001:db8:1::11", 17, uint32(i), 0, true, body)))
	}
	whole := strings.Repeat("x", 4000)
	send(t, from, "[2001:db8:1::11]:9", whole)
	_ = sink.SetReadDeadline(time.Now().Add(10 * time.Second))
	buf := make([]byte, 5000)
	if n, err := sink.Read(buf); err != nil || string(buf[:n]) != whole {
		t.Errorf("the bystander's datagram in fragments: %d bytes, %v", n, err)
	}
}

// TestFlowLogs6: IPv6 that passes and that is denied is logged as IPv4 is.
func TestFlowLogs6(t *testing.T) {
	t.Parallel()
	h := newHostile6(t)
	seen := &logged{sums: map[string]network.FlowRecord{}}
	h.d.deps.Flows, h.d.cfg.Flows = seen.take, 50*time.Millisecond
	h.v.FlowLogs = []network.FlowLog{{ID: "fl-all", Interfaces: []string{h.a.nic.ID, h.b.nic.ID}, Accepted: true, Rejected: true, Seconds: 60}}
	h.v.Groups[0].Rules = append(h.v.Groups[0].Rules[:2:2], network.Rule{Protocol: 6, Ports: network.PortRange{From: 7, To: 7}, CIDR: everything6})
	apply(t, h.d, state6(h.v))
	h.a.reaches("[2001:db8:1::11]:7")
	h.a.cannotReach("[2001:db8:1::11]:8")
	for _, key := range []string{
		"fl-all 1 out 2001:db8:1::10>2001:db8:1::11 6:7 ACCEPT", "fl-all 2 in 2001:db8:1::10>2001:db8:1::11 6:7 ACCEPT",
		"fl-all 2 in 2001:db8:1::10>2001:db8:1::11 6:8 REJECT",
	} {
		eventually(t, key, func() bool { return seen.get(key).Packets > 0 })
	}
	if r := seen.get("fl-all 2 in 2001:db8:1::10>2001:db8:1::11 6:8 ACCEPT"); r.Packets > 0 {
		t.Errorf("what was denied counts as let in: %+v", r)
	}
}
