package netns

import (
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"karri.dev/internal/network/rules"
	"karri.dev/internal/nodeapi"
)

// Floods: what guests of a VPC share in the kernel is shared out.

// TestFragmentFlood: fragments that never become whole take no neighbour's room.
func TestFragmentFlood(t *testing.T) {
	t.Parallel()
	h := newHostile(t, nil)
	sink := h.b.udp("10.0.0.11:9")
	from := h.c.udp("10.0.0.12:0")
	body := make([]byte, 1400)
	for i := range 20_000 {
		h.attacker.send(ether(rules.TapMAC, h.a.nic.MAC, 0x0800, ip4("10.0.0.10", "10.0.0.11", 17, uint16(i), 0, true, body)))
	}
	held := h.router().run("cat", "/proc/net/sockstat")
	var inuse, memory int
	for _, line := range strings.Split(held, "\n") {
		_, _ = fmt.Sscanf(line, "FRAG: inuse %d memory %d", &inuse, &memory)
	}
	if inuse == 0 || memory > 24<<20 {
		t.Errorf("%d datagrams wait in %d bytes", inuse, memory)
	}
	whole := strings.Repeat("x", 4000)
	send(t, from, "10.0.0.11:9", whole)
	_ = sink.SetReadDeadline(time.Now().Add(10 * time.Second))
	buf := make([]byte, 5000)
	if n, err := sink.Read(buf); err != nil || string(buf[:n]) != whole {
		t.Errorf("the bystander's datagram in fragments: %d bytes, %v", n, err)
	}
}

func (h *hostile) router() *lab { return &lab{h.d.vpcs["vpc-h"].space, h.a.t} }

// TestARPFlood: neither a guest's ARP nor its packets for addresses that nobody has fill the table of neighbours,
// which all namespaces share, also where its source is not checked.
func TestARPFlood(t *testing.T) {
	t.Parallel()
	h := newHostile(t, nil)
	h.v.Interfaces[0].NoSourceCheck = true
	apply(t, h.d, state(h.v))
	a := h.a.nic.MAC
	count := func() int { return strings.Count(h.router().run("ip", "neigh"), "\n") }
	before := count()
	for i := range 8000 {
		spa := netip.AddrFrom4([4]byte{10, 0, byte(16 + i>>8), byte(i)}).String()
		h.attacker.send(arpFrame(broadcastMAC, a, 1, a, spa, "00:00:00:00:00:00", "10.0.0.1"),
			ether(rules.TapMAC, a, 0x0800, ip4("10.0.0.10", spa, 17, 1, 0, false, udpTo(1, 9, []byte(marker)))))
	}
	if n := count() - before; n > 200 {
		t.Errorf("the router remembers %d neighbours more", n)
	}
	h.c.run("ip", "neigh", "flush", "dev", "eth0")
	h.c.reaches("10.0.0.11:7")
}

// TestConnectionFlood: who has as many connections as it may gets no more, and the others do.
func TestConnectionFlood(t *testing.T) {
	t.Parallel()
	const share = 400
	h := newHostile(t, nil)
	h.d.Close()
	h.d = newDriver(t, h.host, Config{Name: h.d.cfg.Name, Conns: share, Count: 20 * time.Millisecond}, nil)
	apply(t, h.d, state(h.v)) // took over
	old, _, err := h.a.dial("10.0.0.11:7", 10*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	defer old.Close()
	h.attack(t) // the sentinels' own connection
	isFull := func() bool {
		return strings.Contains(h.router().run("nft", "list", "set", "ip", "karri", "full"), rules.TapName(h.a.nic.ID))
	}
	for i := range 3 * share {
		h.attacker.send(h.honest(17, udpTo(uint16(1000+i), 9, []byte("flood"))))
	}
	eventually(t, "the attacker is full", isFull)
	h.attack(t, h.honest(17, udpTo(7777, 9, []byte(marker)))) // one connection more, to an open port
	h.a.cannotReach("10.0.0.11:7")
	h.c.cannotReach("10.0.0.10:7") // nor inwards: it is its connection, too
	h.c.reaches("10.0.0.11:7")
	echo(t, old) // what it has goes on
	// With its connections gone it may have new ones.
	if _, err := h.router().links.ConntrackDeleteFilters(netlink.ConntrackTable, unix.AF_INET, ofProtocol(17)); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the attacker is not full any more", func() bool { return !isFull() })
	h.a.reaches("10.0.0.11:7")

	// Connections from outside count for whom they end at.
	for i := range 2 * share {
		c := h.host.udp("0.0.0.0:0")
		send(t, c, "198.51.100.1:9", fmt.Sprint(i))
		c.Close()
	}
	eventually(t, "the victim of outsiders is full", isFull)
	h.c.reaches("10.0.0.11:7")
}

// ofProtocol matches connections of one protocol.
type ofProtocol uint8

func (p ofProtocol) MatchConntrackFlow(c *netlink.ConntrackFlow) bool {
	return c.Forward.Protocol == uint8(p)
}

func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !ok(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited in vain until %s", what)
		}
	}
}

// TestServicesUnderLoad: one guest floods the router's services, and another one gets every answer.
func TestServicesUnderLoad(t *testing.T) {
	t.Parallel()
	h := newHostile(t, metadata{"vpc-h 10.0.0.10": nodeapi.Metadata{}, "vpc-h 10.0.0.12": nodeapi.Metadata{UserData: []byte("mine")}})
	// Connections that say nothing, to all services: as many as are let in, and more.
	var knocks sync.WaitGroup
	for _, at := range []string{"169.254.169.254:80", "10.0.0.2:53", "169.254.169.252:8773"} {
		for range 40 {
			knocks.Go(func() {
				if c, err := h.a.knock(at); err == nil {
					t.Cleanup(func() { c.Close() })
				}
			})
		}
	}
	knocks.Wait()
	stop := make(chan struct{})
	var flood sync.WaitGroup
	flood.Go(func() {
		q := new(dns.Msg)
		q.SetQuestion("ip-10-0-0-12.ec2.internal.", dns.TypeA)
		b, err := q.Pack()
		if err != nil {
			return
		}
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
			}
			port := uint16(1024 + i%60000)
			h.attacker.send(
				ether(rules.TapMAC, h.a.nic.MAC, 0x0800, ip4("10.0.0.10", "10.0.0.2", 17, uint16(i), 0, false, udpTo(port, 53, b))),
				ether(rules.TapMAC, h.a.nic.MAC, 0x0800, ip4("10.0.0.10", "169.254.169.254", 6, uint16(i), 0, false, syn("10.0.0.10", "169.254.169.254", port, 80, ""))),
			)
		}
	})
	for range 40 {
		if code, text := h.c.get("/latest/user-data"); code != 200 || text != "mine" {
			t.Errorf("metadata: %d %q", code, text)
		}
		if ip := h.c.ask("udp", "10.0.0.2", "ip-10-0-0-11.ec2.internal.", dns.TypeA); ip != "10.0.0.11" {
			t.Errorf("name: %s", ip)
		}
		if ip := h.c.ask("tcp", "10.0.0.2", "ip-10-0-0-11.ec2.internal.", dns.TypeA); ip != "10.0.0.11" {
			t.Errorf("name by TCP: %s", ip)
		}
	}
	close(stop)
	flood.Wait()
}
