package netns

import (
	"encoding/hex"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"karri.dev/internal/network"
	"karri.dev/internal/network/rules"
	"karri.dev/internal/nodeapi"
)

// hostile is a VPC with an attacker a, a victim b and a bystander c in one subnet. What b's group lets in is TCP 7 and
// UDP 9, from everywhere.
type hostile struct {
	d        *Driver
	host     *lab
	v        network.VPC
	a, b, c  *guest
	attacker *card
	victim   *card
	sentinel int
}

func newHostile(t *testing.T, m Metadata) *hostile {
	t.Helper()
	h := &hostile{host: newLab(t), v: plainVPC("vpc-h", 1)}
	h.d = newDriver(t, h.host, Config{}, m)
	h.v.Groups = []network.Group{{ID: "sg-h", Rules: []network.Rule{
		all(true), tcp(7, "0.0.0.0/0"),
		{Protocol: 17, Ports: network.PortRange{From: 9, To: 9}, CIDR: everything},
	}}}
	a, b := withPublic(nic(1, "subnet-a", "10.0.0.10", "sg-h"), "198.51.100.1"), nic(2, "subnet-a", "10.0.0.11", "sg-h")
	c := nic(3, "subnet-a", "10.0.0.12", "sg-h")
	h.v.Interfaces = []network.Interface{a, b, c}
	apply(t, h.d, state(h.v))
	h.a, h.b, h.c = newGuest(t, h.d, a, subnetA), newGuest(t, h.d, b, subnetA), newGuest(t, h.d, c, subnetA)
	h.b.listen(7)
	h.attacker, h.victim = h.a.card(), h.b.card()
	return h
}

// honest is a packet of the attacker's own to the victim, which may pass if b's group lets it.
func (h *hostile) honest(protocol byte, body []byte) []byte {
	return ether(rules.TapMAC, h.a.nic.MAC, 0x0800, ip4("10.0.0.10", "10.0.0.11", protocol, 1, 0, false, body))
}

// attack sends frames and demands that the victim's card sees nothing of them and the bystander has its service.
func (h *hostile) attack(t *testing.T, frames ...[]byte) {
	t.Helper()
	h.attacker.send(frames...)
	for range 3 { // what was sent before has arrived by then
		time.Sleep(5 * time.Millisecond)
		h.sentinel++
		text := fmt.Sprintf("sentinel %d.", h.sentinel)
		h.attacker.send(h.honest(17, udpTo(1, 9, []byte(text))))
		for _, f := range h.victim.until(text) {
			t.Errorf("the victim sees\n%s", hex.Dump(f))
		}
	}
	h.c.reaches("10.0.0.11:7")
}

// TestHostileFrames: root in a guest writes what it likes to its card.
func TestHostileFrames(t *testing.T) {
	t.Parallel()
	h := newHostile(t, nil)
	a, b := h.a.nic.MAC, h.b.nic.MAC
	data := []byte(marker)
	forged := func(from string) []byte { return ip4(from, "10.0.0.11", 17, 2, 0, false, udpTo(1, 9, data)) }
	neighbours := func() string { return (&lab{h.d.vpcs["vpc-h"].space, t}).run("ip", "neigh") }
	before := neighbours()
	offer := append([]byte{2, 1, 6, 0, 1, 2, 3, 4, 0, 0, 0x80, 0, 0, 0, 0, 0}, netip.MustParseAddr("10.0.0.99").AsSlice()...)
	offer = append(offer, make([]byte, 8)...)
	offer = append(append(offer, mac(b)...), make([]byte, 202)...)
	offer = append(offer, 99, 130, 83, 99, 53, 1, 2, 54, 4, 10, 0, 0, 10, 255)
	offer = append(offer, data...)
	for _, c := range []struct {
		name   string
		frames [][]byte
	}{
		{"the victim's MAC, own address", [][]byte{ether(rules.TapMAC, b, 0x0800, forged("10.0.0.10"))}},
		{"own MAC, the victim's and others' addresses", [][]byte{
			ether(rules.TapMAC, a, 0x0800, forged("10.0.0.11")), ether(rules.TapMAC, a, 0x0800, forged("10.0.0.12")),
			ether(rules.TapMAC, a, 0x0800, forged("10.0.0.1")), ether(rules.TapMAC, a, 0x0800, forged("10.0.0.2")),
			ether(rules.TapMAC, a, 0x0800, forged("169.254.169.254")), ether(rules.TapMAC, a, 0x0800, forged("127.0.0.1")),
			ether(rules.TapMAC, a, 0x0800, forged("198.51.100.1")), ether(rules.TapMAC, a, 0x0800, forged("0.0.0.0")),
			ether(rules.TapMAC, a, 0x0800, forged("192.0.2.1")),
		}},
		{"straight to the victim's MAC", [][]byte{
			ether(b, a, 0x0800, ip4("10.0.0.10", "10.0.0.11", 17, 2, 0, false, udpTo(1, 9, data))),
			ether(broadcastMAC, a, 0x0800, ip4("10.0.0.10", "10.0.0.11", 17, 2, 0, false, udpTo(1, 8, data))),
		}},
		{"broadcast and multicast", [][]byte{
			ether(broadcastMAC, a, 0x0800, ip4("10.0.0.10", "255.255.255.255", 17, 2, 0, false, udpTo(1, 9, data))),
			ether(broadcastMAC, a, 0x0800, ip4("10.0.0.10", "10.0.0.255", 17, 2, 0, false, udpTo(1, 9, data))),
			ether("01:00:5e:00:00:fb", a, 0x0800, ip4("10.0.0.10", "224.0.0.251", 17, 2, 0, false, udpTo(5353, 5353, data))),
		}},
		{"ARP answers and gratuitous ARP for the victim and the gateway", [][]byte{
			arpFrame(broadcastMAC, a, 2, a, "10.0.0.11", broadcastMAC, "10.0.0.11"), arpFrame(broadcastMAC, a, 1, a, "10.0.0.11", "00:00:00:00:00:00", "10.0.0.11"),
			arpFrame(b, a, 2, a, "10.0.0.1", b, "10.0.0.11"), arpFrame(broadcastMAC, a, 1, a, "10.0.0.1", "00:00:00:00:00:00", "10.0.0.1"),
			arpFrame(rules.TapMAC, a, 2, b, "10.0.0.11", rules.TapMAC, "10.0.0.1"), arpFrame(rules.TapMAC, a, 2, a, "10.0.0.12", rules.TapMAC, "10.0.0.1"),
			arpFrame(broadcastMAC, a, 2, a, "10.0.0.10", broadcastMAC, "10.0.0.10"), // even the own
		}},
		{"a DHCP server", [][]byte{
			ether(broadcastMAC, a, 0x0800, ip4("10.0.0.10", "255.255.255.255", 17, 2, 0, false, udpTo(67, 68, offer))),
			ether(b, a, 0x0800, ip4("10.0.0.10", "10.0.0.11", 17, 2, 0, false, udpTo(67, 68, offer))),
			ether(rules.TapMAC, a, 0x0800, ip4("10.0.0.10", "10.0.0.11", 17, 2, 0, false, udpTo(67, 68, offer))),
		}},
		{"router advertisements", [][]byte{advertisement(a), advertisement(rules.TapMAC)}},
		{"VLAN tags", [][]byte{
			tagged(h.honest(17, udpTo(1, 9, data)), 0x81000005),                                         // 802.1Q
			tagged(h.honest(17, udpTo(1, 9, data)), 0x88a80005, 0x81000006),                             // QinQ
			tagged(h.honest(17, udpTo(1, 9, data)), 0x81000005, 0x81000000),                             // twice
			tagged(ether(rules.TapMAC, a, 0x0800, forged("10.0.0.12")), 0x81000000),                     // priority only, forged
			tagged(ether(b, a, 0x0800, forged("10.0.0.10")), 0x81000fff),                                // reserved
			tagged(arpFrame(broadcastMAC, a, 2, a, "10.0.0.11", broadcastMAC, "10.0.0.11"), 0x81000000), // ARP behind one
		}},
		{"tiny fragments to a closed port", [][]byte{
			ether(rules.TapMAC, a, 0x0800, ip4("10.0.0.10", "10.0.0.11", 6, 7, 0, true, syn("10.0.0.10", "10.0.0.11", 5, 8, marker)[:8])),
			ether(rules.TapMAC, a, 0x0800, ip4("10.0.0.10", "10.0.0.11", 6, 7, 8, false, syn("10.0.0.10", "10.0.0.11", 5, 8, marker)[8:])),
		}},
		{"overlapping fragments that change the port", [][]byte{
			ether(rules.TapMAC, a, 0x0800, ip4("10.0.0.10", "10.0.0.11", 17, 8, 0, true, udpTo(1, 9, make([]byte, 24))[:24])),
			ether(rules.TapMAC, a, 0x0800, ip4("10.0.0.10", "10.0.0.11", 17, 8, 0, true, udpTo(1, 8, make([]byte, 24))[:16])),
			ether(rules.TapMAC, a, 0x0800, ip4("10.0.0.10", "10.0.0.11", 17, 8, 16, false, data)),
		}},
		{"later fragments only", [][]byte{
			ether(rules.TapMAC, a, 0x0800, ip4("10.0.0.10", "10.0.0.11", 17, 9, 1480, false, data)),
			ether(rules.TapMAC, a, 0x0800, ip4("10.0.0.10", "10.0.0.11", 6, 9, 8, true, data)),
			ether(rules.TapMAC, a, 0x0800, ip4("10.0.0.10", "10.0.0.11", 1, 9, 65512, false, data)), // past the end
		}},
		{"a forged source in fragments", [][]byte{
			ether(rules.TapMAC, a, 0x0800, ip4("10.0.0.12", "10.0.0.11", 17, 10, 0, true, udpTo(1, 9, data)[:8])),
			ether(rules.TapMAC, a, 0x0800, ip4("10.0.0.12", "10.0.0.11", 17, 10, 8, false, data)),
		}},
		{"other protocols inside IP", [][]byte{
			h.honest(4, forged("10.0.0.12")), h.honest(41, data), h.honest(47, data), h.honest(50, data), h.honest(89, data), h.honest(255, data), h.honest(0, data),
			ether(rules.TapMAC, a, 0x0800, append([]byte{0x46}, forged("10.0.0.10")[1:]...)), // options that are none
			ether(rules.TapMAC, a, 0x0800, append([]byte{0x65}, forged("10.0.0.10")[1:]...)), // another version
			ether(rules.TapMAC, a, 0x0800, forged("10.0.0.10")[:15]),                         // cut off
		}},
		{"odd Ethernet", func() (frames [][]byte) {
			for _, kind := range []uint16{0x0000, 0x0026, 0x05dc, 0x0600, 0x0805, 0x0842, 0x22f0, 0x6558, 0x8035, 0x86dd, 0x8808, 0x8847, 0x8863, 0x8864, 0x888e, 0x88cc, 0x88e5, 0x88f7, 0x8906, 0x894f, 0x9000, 0xffff} {
				for _, to := range []string{b, broadcastMAC, rules.TapMAC, "01:80:c2:00:00:00", "01:80:c2:00:00:0e"} {
					frames = append(frames, ether(to, a, kind, data), ether(to, b, kind, data))
				}
			}
			return frames
		}()},
	} {
		t.Run(c.name, func(t *testing.T) { h.attack(t, c.frames...) })
	}
	if after := neighbours(); after != before {
		t.Errorf("the router's neighbours were\n%s\nand are\n%s", before, after)
	}
	if out := (&lab{h.d.vpcs["vpc-h"].space, t}).run("ip", "-6", "route"); strings.Contains(out, "bad") {
		t.Errorf("the router has learned\n%s", out)
	}
	// The harness sees what does pass.
	h.attacker.send(h.honest(17, udpTo(1, 9, data)), tagged(h.honest(17, udpTo(1, 9, data)), 0x81000000))
	h.attacker.send(h.honest(17, udpTo(1, 9, []byte("the end"))))
	if n := len(h.victim.until("the end")); n != 2 {
		t.Errorf("%d honest frames arrive, want 2: plain and with a priority", n)
	}
}

// TestHostServices: no address of the host, the edge or the router serves a guest anything but what is its own.
func TestHostServices(t *testing.T) {
	t.Parallel()
	h := newHostile(t, metadata{"vpc-h 10.0.0.10": nodeapi.Metadata{}})
	h.host.run("sh", "-c", "ip link add u0 type veth peer name u1; ip addr add 172.31.7.1/24 dev u0; ip addr add 203.0.113.9/32 dev lo; ip link set u0 up; ip link set u1 up")
	ports := []int{22, 7, 80, 443, 8773, 8774, 8443, 2379, 2380, 5000}
	for _, p := range ports {
		h.host.listen(p)
	}
	h.host.reaches("172.31.7.1:8774") // it is there
	sink := h.host.udp("0.0.0.0:4789")
	edge := &lab{h.d.edge, t}
	edge.listen(8773)
	router := &lab{h.d.vpcs["vpc-h"].space, t}
	router.listen(8774)
	var knocks sync.WaitGroup
	for _, at := range []string{
		"172.31.7.1", "203.0.113.9", rules.HostAddr.String(), rules.EdgeAddr.String(), "100.64.0.3", "100.64.0.4", "100.64.0.5",
		"10.0.0.1", "10.0.1.1", "10.0.0.2", "169.254.169.253", "169.254.169.254", "169.254.169.252", "198.51.100.200",
	} {
		for _, p := range ports {
			if own := at == "169.254.169.254" && p == 80 || at == "169.254.169.252" && (p == 80 || p == 443 || p == 8773); own {
				continue
			}
			for _, g := range []*guest{h.a, h.b} { // with a public address and without
				knocks.Go(func() {
					if c, err := g.knock(fmt.Sprintf("%s:%d", at, p)); err == nil {
						c.Close()
						t.Errorf("%s reaches %s:%d", g.nic.PrivateIP, at, p)
					}
				})
			}
		}
		h.attacker.send(ether(rules.TapMAC, h.a.nic.MAC, 0x0800, ip4("10.0.0.10", at, 17, 3, 0, false, udpTo(4789, 4789, []byte(marker)))))
	}
	knocks.Wait()
	// Straight to the router's MAC, whatever the guest's own routes say.
	h.attack(t, ether(rules.TapMAC, h.a.nic.MAC, 0x0800, ip4("10.0.0.10", "127.0.0.1", 6, 3, 0, false, syn("10.0.0.10", "127.0.0.1", 5, 8774, marker))))
	_ = sink.SetReadDeadline(time.Now().Add(patience))
	if n, err := sink.Read(make([]byte, 100)); err == nil {
		t.Errorf("the host's VXLAN port got %d bytes of a guest's", n)
	}
}

// knock connects with little patience.
func (l *lab) knock(to string) (net.Conn, error) {
	var c net.Conn
	err := l.enter(func() (err error) {
		c, err = (&net.Dialer{Timeout: patience}).Dial("tcp4", to)
		return err
	})
	return c, err
}

// TestMetadataIsOnesOwn: no header and no address leads to another's metadata, and a token's answer goes one hop.
func TestMetadataIsOnesOwn(t *testing.T) {
	t.Parallel()
	h := newHostile(t, metadata{
		"vpc-h 10.0.0.10": nodeapi.Metadata{UserData: []byte("attacker's")}, "vpc-h 10.0.0.11": nodeapi.Metadata{UserData: []byte("victim's")},
	})
	for _, header := range []string{"X-Forwarded-For", "X-Real-IP", "Forwarded", "X-Client-IP", "True-Client-IP", "Host", "X-Original-Forwarded-For", "X-Instance-ID", "X-Amzn-Source-Ip"} {
		for _, value := range []string{"10.0.0.11", "for=10.0.0.11", h.b.nic.InstanceID, "10.0.0.11:1234"} {
			if _, text := h.a.get("/latest/user-data", header, value); text == "victim's" {
				t.Errorf("%s: %s leads to the victim's", header, value)
			}
		}
	}
	if code, _ := h.a.get("/latest/api/token", "X-aws-ec2-metadata-token-ttl-seconds", "60", "X-Forwarded-For", "10.0.0.10"); code != 403 {
		t.Errorf("a token through a proxy: %d", code)
	}
	// The SYN of somebody else's connection to the service, from the attacker's card.
	h.attack(t, ether(rules.TapMAC, h.a.nic.MAC, 0x0800, ip4("10.0.0.11", "169.254.169.254", 6, 4, 0, false, syn("10.0.0.11", "169.254.169.254", 99, 80, marker))))
	// The answer that holds the token may travel one hop.
	seen := h.a.card()
	if code, _ := h.a.get("/latest/api/token", "X-aws-ec2-metadata-token-ttl-seconds", "61"); code != 200 {
		t.Fatalf("token: %d", code)
	}
	if ttl := seen.ttlOf("Ttl-Seconds: 61"); ttl != 1 {
		t.Errorf("the token travels %d hops", ttl)
	}
}

// TestNoWindow: while rules change in every way, no packet passes that neither the old nor the new ones let through.
func TestNoWindow(t *testing.T) {
	t.Parallel()
	h := newHostile(t, nil)
	stop := make(chan struct{})
	var flood sync.WaitGroup
	flood.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
				h.attacker.send(h.honest(17, udpTo(uint16(i), 8, []byte(marker))))
			}
		}
	})
	rulesOf := h.v.Groups[0].Rules
	extra := nic(9, "subnet-a", "10.0.0.19", "sg-h", "sg-x")
	for i := range 40 {
		v := h.v
		v.Groups = []network.Group{{ID: "sg-h", Rules: append([]network.Rule(nil), rulesOf...)}}
		switch i % 4 {
		case 0: // a rule more
			v.Groups[0].Rules = append(v.Groups[0].Rules, tcp(1000+i, "0.0.0.0/0"))
		case 1: // an interface with a combination of groups of its own
			v.Groups = append(v.Groups, network.Group{ID: "sg-x", Rules: []network.Rule{all(true)}})
			v.Interfaces = append(append([]network.Interface(nil), v.Interfaces...), extra)
		case 2: // everything is written anew, because somebody else wrote
			h.router().run("nft", "add table inet other")
		case 3: // another driver takes over
			h.d.Close()
			h.d = newDriver(t, h.host, Config{Name: h.d.cfg.Name}, nil)
		}
		apply(t, h.d, state(v))
	}
	close(stop)
	flood.Wait()
	h.attack(t) // looks at all that the victim's card has seen
}
