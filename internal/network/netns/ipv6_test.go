package netns

import (
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv6"
	"golang.org/x/net/ipv6"

	"karri.dev/internal/network"
)

// dualVPC is plainVPC with an IPv6 range, out of which n makes addresses.
func dualVPC(id string, vni uint32) network.VPC {
	v := plainVPC(id, vni)
	v.CIDRs = append(v.CIDRs, netip.MustParsePrefix(fmt.Sprintf("2001:db8:%d::/56", vni)))
	for i := range v.Subnets {
		v.Subnets[i].CIDR6 = netip.MustParsePrefix(fmt.Sprintf("2001:db8:%d:%d::/64", vni, i))
	}
	v.Groups[0].Rules = append(v.Groups[0].Rules, all6(true), network.Rule{Protocol: 6, Ports: network.PortRange{From: 7, To: 7}, CIDR: everything6})
	return v
}

var everything6 = netip.MustParsePrefix("::/0")

func all6(egress bool) network.Rule {
	return network.Rule{Egress: egress, Protocol: -1, CIDR: everything6}
}

func with6(i network.Interface, ips ...string) network.Interface {
	i.IPv6 = addrs(ips...)
	return i
}

// newGuest6 is newGuest with the interface's IPv6 addresses, and the router by hand.
func newGuest6(t testing.TB, d *Driver, nic network.Interface, subnet netip.Prefix) *guest {
	t.Helper()
	g := newGuest(t, d, nic, subnet)
	for _, a := range nic.IPv6 {
		g.address6(a.String())
	}
	g.run("ip", "-6", "route", "replace", "default", "via", "fe80::1", "dev", "eth0")
	return g
}

func (g *guest) address6(ip string) {
	g.t.Helper()
	g.run("ip", "-6", "addr", "add", ip+"/128", "dev", "eth0", "nodad")
}

func TestIPv6(t *testing.T) {
	t.Parallel()
	d := newDriver(t, newLab(t), Config{}, nil)
	v, w := dualVPC("vpc-s", 1), dualVPC("vpc-u", 2)
	w.CIDRs[1] = v.CIDRs[1] // the same range twice: nothing crosses
	w.Subnets[0].CIDR6 = v.Subnets[0].CIDR6
	a, b := with6(nic(1, "subnet-a", "10.0.0.10"), "2001:db8:1::a", "2001:db8:1::aa"), with6(nic(2, "subnet-a", "10.0.0.11"), "2001:db8:1::b")
	c, only4 := with6(nic(3, "subnet-b", "10.0.1.10"), "2001:db8:1:1::c"), nic(4, "subnet-a", "10.0.0.12")
	far := with6(nic(5, "subnet-a", "10.0.0.13"), "2001:db8:1::d")
	v.Interfaces, w.Interfaces = []network.Interface{a, b, c, only4}, []network.Interface{far}
	plain := v
	plain.CIDRs = v.CIDRs[:1]
	plain.Interfaces = []network.Interface{nic(1, "subnet-a", "10.0.0.10")}
	apply(t, d, state(plain))
	apply(t, d, state(v, w)) // IPv6 comes to a VPC that is there
	ga, gb, gc := newGuest6(t, d, a, subnetA), newGuest6(t, d, b, subnetA), newGuest6(t, d, c, subnetB)
	g4, gf := newGuest6(t, d, only4, subnetA), newGuest6(t, d, far, subnetA)
	for _, g := range []*guest{ga, gb, gc, g4, gf} {
		g.listen(7)
		g.listen(8)
	}
	if seen := ga.reaches("[2001:db8:1::b]:7"); seen != "2001:db8:1::a" && seen != "2001:db8:1::aa" {
		t.Errorf("came as %s", seen)
	}
	gc.reaches("[2001:db8:1::aa]:7")
	ga.reaches("[2001:db8:1:1::c]:7")
	ga.reaches("10.0.0.11:7")
	ga.cannotReach("[2001:db8:1::b]:8")
	ga.cannotReach("[2001:db8:1::d]:7") // another VPC's
	ga.cannotReach("[2001:db8:1::99]:7")
	g4.address6("2001:db8:1::99")
	g4.cannotReach("[2001:db8:1::b]:7") // it has no such address

	t.Run("spoofing", func(t *testing.T) {
		gb.address6("2001:db8:1::66")
		gb.run("ip", "-6", "route", "replace", "2001:db8:1::a/128", "via", "fe80::1", "dev", "eth0", "src", "2001:db8:1::66")
		gb.cannotReach("[2001:db8:1::a]:7")
		gb.run("ip", "-6", "addr", "del", "2001:db8:1::66/128", "dev", "eth0")
		gb.run("ip", "-6", "route", "del", "2001:db8:1::a/128")
		// What a guest says of other addresses changes nobody's way: the router believes nothing.
		advertise(t, gb, "2001:db8:1::a")
		ga.reaches("[2001:db8:1:1::c]:7")
		if seen := gc.reaches("[2001:db8:1::a]:7"); seen != "2001:db8:1:1::c" {
			t.Errorf("came as %s", seen)
		}
		if out := ga.run("ip", "-6", "neigh", "show"); strings.Contains(out, b.MAC) {
			t.Errorf("a neighbour is seen: %s", out)
		}
	})

	t.Run("groups and ACLs", func(t *testing.T) {
		next := v
		next.Groups = []network.Group{
			{ID: "sg-echo", Rules: []network.Rule{all6(true), {Protocol: 58, Ports: network.PortRange{From: 128, To: -1}, CIDR: everything6}, {Protocol: 6, Ports: network.PortRange{From: 7, To: 7}, Group: "sg-in"}}},
			{ID: "sg-in", Rules: []network.Rule{all6(true)}, Members: addrs("10.0.0.10", "2001:db8:1::a")},
		}
		next.Interfaces = []network.Interface{a, b, c}
		next.Interfaces[0].Groups = []string{"sg-in"}
		apply(t, d, state(next))
		ga.run("ip", "-6", "addr", "del", "2001:db8:1::aa/128", "dev", "eth0")
		ga.reaches("[2001:db8:1::b]:7")
		gc.cannotReach("[2001:db8:1::b]:7")
		ga.cannotReach("10.0.0.11:7") // its group lets out IPv6 only
		gc.run("busybox", "ping6", "-c1", "-W5", "2001:db8:1::b")
		if out, err := gc.try("busybox", "ping6", "-c1", "-W1", "2001:db8:1::a"); err == nil {
			t.Errorf("ping: %s", out)
		}
		next.Subnets = append([]network.Subnet(nil), v.Subnets...)
		next.Subnets[1].ACL = "acl-1"
		next.ACLs = []network.ACL{{ID: "acl-1", Entries: []network.ACLEntry{
			{Egress: true, Allow: true, Protocol: -1, CIDR: everything6},
			{Allow: true, Protocol: -1, CIDR: everything}, // IPv4 only
		}}}
		apply(t, d, state(next))
		if out, err := gc.try("busybox", "ping6", "-c1", "-W1", "2001:db8:1::b"); err == nil {
			t.Errorf("the ACL lets the answer in: %s", out)
		}
	})

	before := d.writes.Load()
	apply(t, d, *d.last)
	if n := d.writes.Load() - before; n != 0 {
		t.Errorf("applying the same state again makes %d changes", n)
	}
	apply(t, d, state(plain)) // and goes again
	ga.cannotReach("[2001:db8:1::b]:7")
}

// advertise sends a neighbour advertisement: an address is here.
func advertise(t *testing.T, g *guest, ip string) {
	t.Helper()
	body := append([]byte{136, 0, 0, 0, 0x20, 0, 0, 0}, net.ParseIP(ip)...)
	mac, _ := net.ParseMAC(g.nic.MAC)
	body = append(append(body, 2, 1), mac...)
	err := g.enter(func() error {
		c, err := net.ListenPacket("ip6:ipv6-icmp", "::")
		if err != nil {
			return err
		}
		defer c.Close()
		p := ipv6.NewPacketConn(c)
		if err := p.SetMulticastHopLimit(255); err != nil {
			return err
		}
		l, err := net.InterfaceByName("eth0")
		if err != nil {
			return err
		}
		_, err = p.WriteTo(body, &ipv6.ControlMessage{IfIndex: l.Index, HopLimit: 255}, &net.IPAddr{IP: net.ParseIP("ff02::1")})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// A guest that asks gets the router by an advertisement, and its address by DHCPv6.
func TestIPv6Services(t *testing.T) {
	t.Parallel()
	d := newDriver(t, newLab(t), Config{}, nil)
	v := dualVPC("vpc-q", 1)
	a, b := with6(nic(1, "subnet-a", "10.0.0.10"), "2001:db8:1::a"), with6(nic(2, "subnet-a", "10.0.0.11"), "2001:db8:1::b")
	v.Interfaces = []network.Interface{a, b}
	apply(t, d, state(v))
	ga, gb := newGuest(t, d, a, subnetA), newGuest6(t, d, b, subnetA)
	gb.listen(7)
	ga.run("sysctl", "-qw", "net.ipv6.conf.eth0.forwarding=0", "net.ipv6.conf.eth0.accept_ra=1")
	ga.run("ip", "link", "set", "eth0", "down")
	ga.run("ip", "link", "set", "eth0", "up") // which makes the kernel ask for a router
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(100 * time.Millisecond) {
		if out := ga.run("ip", "-6", "route", "show", "default"); strings.Contains(out, "via fe80::1 dev eth0") {
			break
		} else if time.Now().After(end) {
			t.Fatalf("no router: %s\n%s", out, ga.run("ip", "-6", "addr"))
		}
	}
	if out := ga.run("ip", "-6", "addr", "show", "dev", "eth0", "scope", "global"); out != "" {
		t.Errorf("an address without DHCPv6: %s", out)
	}
	given := ask6(t, ga)
	if given != "2001:db8:1::a" {
		t.Fatalf("given %q", given)
	}
	ga.address6(given)
	ga.reaches("[2001:db8:1::b]:7")
}

// ask6 gives the address that DHCPv6 offers.
func ask6(t *testing.T, g *guest) (given string) {
	t.Helper()
	mac, _ := net.ParseMAC(g.nic.MAC)
	q, err := dhcpv6.NewSolicit(mac)
	if err != nil {
		t.Fatal(err)
	}
	var c *net.UDPConn
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(100 * time.Millisecond) { // its own address is tentative at first
		err = g.enter(func() (err error) {
			c, err = net.ListenUDP("udp6", &net.UDPAddr{Port: 546})
			if err != nil {
				return err
			}
			l, err := net.InterfaceByName("eth0")
			if err != nil {
				return err
			}
			p := ipv6.NewPacketConn(c)
			_, err = p.WriteTo(q.ToBytes(), &ipv6.ControlMessage{IfIndex: l.Index}, &net.UDPAddr{IP: net.ParseIP("ff02::1:2"), Port: 547})
			return err
		})
		if err == nil {
			_ = c.SetReadDeadline(time.Now().Add(time.Second))
			buf := make([]byte, 1500)
			n, _, readErr := c.ReadFrom(buf)
			c.Close()
			if err = readErr; err == nil {
				a, err := dhcpv6.MessageFromBytes(buf[:n])
				if err != nil || a.MessageType != dhcpv6.MessageTypeAdvertise || a.Options.OneIANA() == nil {
					t.Fatalf("%v, %v", a, err)
				}
				for _, ip := range a.Options.OneIANA().Options.Addresses() {
					given += ip.IPv6Addr.String()
				}
				return given
			}
		} else if c != nil {
			c.Close()
		}
		if time.Now().After(end) {
			t.Fatal(err)
		}
	}
}

// Two hosts: IPv6 between them, with groups and ACLs on both.
func TestIPv6Overlay(t *testing.T) {
	t.Parallel()
	h1, h2 := newLab(t), newLab(t)
	h1.run("ip", "link", "add", "u0", "type", "veth", "peer", "name", "u0", "netns", h2.name)
	h1.run("sh", "-c", "ip addr add 192.168.77.1/24 dev u0; ip link set u0 up")
	h2.run("sh", "-c", "ip addr add 192.168.77.2/24 dev u0; ip link set u0 up")
	one := newDriver(t, h1, Config{Underlay: netip.MustParseAddr("192.168.77.1")}, nil)
	two := newDriver(t, h2, Config{Underlay: netip.MustParseAddr("192.168.77.2")}, nil)
	v, w := dualVPC("vpc-o", 7), dualVPC("vpc-o", 7)
	a, b := with6(nic(1, "subnet-a", "10.0.0.10"), "2001:db8:7::a"), with6(nic(2, "subnet-b", "10.0.1.11"), "2001:db8:7:1::b")
	remote := func(e network.Interface, host string) network.Remote {
		return network.Remote{
			ID: e.ID, PrivateIP: e.PrivateIP, MAC: e.MAC, Underlay: netip.MustParseAddr(host), SubnetID: e.SubnetID,
			Others: []netip.Prefix{netip.PrefixFrom(e.IPv6[0], 128)},
		}
	}
	v.Interfaces, w.Interfaces = []network.Interface{a}, []network.Interface{b}
	v.Remotes, w.Remotes = []network.Remote{remote(b, "192.168.77.2")}, []network.Remote{remote(a, "192.168.77.1")}
	apply(t, one, state(v))
	apply(t, two, state(w))
	ga, gb := newGuest6(t, one, a, subnetA), newGuest6(t, two, b, subnetB)
	ga.listen(7)
	gb.listen(7)
	gb.listen(8)
	ga.reaches("[2001:db8:7:1::b]:7")
	gb.reaches("[2001:db8:7::a]:7")
	ga.cannotReach("[2001:db8:7:1::b]:8")
}
