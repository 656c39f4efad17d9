package netns

import (
	"fmt"
	"net"
	"net/netip"
	"testing"
	"time"

	"karri.dev/internal/network"
)

// udp opens a socket in the namespace.
func (l *lab) udp(at string) *net.UDPConn {
	l.t.Helper()
	a, err := net.ResolveUDPAddr("udp", at)
	if err != nil {
		l.t.Fatal(err)
	}
	var c *net.UDPConn
	if err := l.enter(func() (err error) { c, err = net.ListenUDP("udp", a); return err }); err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(func() { c.Close() })
	return c
}

func send(t *testing.T, c *net.UDPConn, to, text string) {
	t.Helper()
	if _, err := c.WriteToUDPAddrPort([]byte(text), netip.MustParseAddrPort(to)); err != nil {
		t.Fatal(err)
	}
}

func receive(t *testing.T, c *net.UDPConn) string {
	t.Helper()
	_ = c.SetReadDeadline(time.Now().Add(10 * time.Second))
	b := make([]byte, 100)
	n, err := c.Read(b)
	if err != nil {
		t.Fatalf("nothing arrives: %v", err)
	}
	return string(b[:n])
}

func TestSpoofing(t *testing.T) {
	t.Parallel()
	d := newDriver(t, newLab(t), Config{}, nil)
	v := plainVPC("vpc-s", 1)
	v.Groups = []network.Group{{ID: "sg-all", Rules: []network.Rule{all(true), all(false)}}}
	a, b := nic(1, "subnet-a", "10.0.0.10", "sg-all"), nic(2, "subnet-a", "10.0.0.11", "sg-all")
	v.Interfaces = []network.Interface{a, b}
	apply(t, d, state(v))
	ga, gb := newGuest(t, d, a, subnetA), newGuest(t, d, b, subnetA)
	sink := gb.udp("0.0.0.0:9")
	honest := ga.udp("10.0.0.10:0")
	send(t, honest, "10.0.0.11:9", "hello")
	if got := receive(t, sink); got != "hello" {
		t.Fatalf("got %q", got)
	}

	ga.run("ip", "addr", "add", "10.0.0.77/24", "dev", "eth0")
	arp := func(want bool, args ...string) {
		t.Helper()
		_, err := ga.try(append([]string{"busybox", "arping", "-c1", "-w1", "-I", "eth0"}, args...)...)
		if (err == nil) != want {
			t.Errorf("arping %v: %v", args, err)
		}
	}
	arp(true, "10.0.0.1")
	arp(true, "10.0.0.11") // by proxy
	arp(false, "-s", "10.0.0.77", "10.0.0.1")

	forged := ga.udp("10.0.0.77:0")
	send(t, forged, "10.0.0.11:9", "forged address")
	send(t, honest, "10.0.0.11:9", "after address")
	if got := receive(t, sink); got != "after address" {
		t.Fatalf("got %q", got)
	}
	// Another MAC: neither ARP nor IP; with the right one again all is well.
	ga.run("ip", "link", "set", "eth0", "address", "02:00:00:00:00:99")
	arp(false, "10.0.0.1")
	ga.run("ip", "neigh", "replace", "10.0.0.11", "lladdr", "0e:6b:61:72:72:69", "dev", "eth0")
	send(t, honest, "10.0.0.11:9", "forged MAC")
	ga.run("ip", "link", "set", "eth0", "address", a.MAC)
	send(t, honest, "10.0.0.11:9", "after MAC")
	if got := receive(t, sink); got != "after MAC" {
		t.Fatalf("got %q", got)
	}
	// With the source check off, any address may be used, the MAC still not.
	v.Interfaces[0].NoSourceCheck = true
	apply(t, d, state(v))
	send(t, forged, "10.0.0.11:9", "forwarded")
	if got := receive(t, sink); got != "forwarded" {
		t.Fatalf("got %q", got)
	}
}

func TestACL(t *testing.T) {
	t.Parallel()
	d := newDriver(t, newLab(t), Config{}, nil)
	v := plainVPC("vpc-a", 1)
	v.Groups = []network.Group{{ID: "sg-all", Rules: []network.Rule{all(true), all(false)}}}
	entry := func(egress, allow bool, from, to int) network.ACLEntry {
		return network.ACLEntry{Egress: egress, Allow: allow, Protocol: 6, CIDR: everything, Ports: network.PortRange{From: from, To: to}}
	}
	v.ACLs = []network.ACL{{ID: "acl-b", Entries: []network.ACLEntry{
		entry(false, false, 8, 8), entry(false, true, 7, 9), entry(true, true, 1024, 65535),
	}}}
	v.Subnets[1].ACL = "acl-b"
	a, b, c := nic(1, "subnet-a", "10.0.0.10", "sg-all"), nic(2, "subnet-b", "10.0.1.10", "sg-all"), nic(3, "subnet-b", "10.0.1.11", "sg-all")
	v.Interfaces = []network.Interface{a, b, c}
	apply(t, d, state(v))
	ga, gb, gc := newGuest(t, d, a, subnetA), newGuest(t, d, b, subnetB), newGuest(t, d, c, subnetB)
	for _, g := range []*guest{ga, gb, gc} {
		for _, port := range []int{7, 8, 10} {
			g.listen(port)
		}
	}
	ga.reaches("10.0.1.10:7")
	ga.cannotReach("10.0.1.10:8")  // denied by a lower number
	ga.cannotReach("10.0.1.10:10") // by the end
	gc.reaches("10.0.1.10:8")      // inside the subnet no ACL looks
	gb.cannotReach("10.0.0.10:7")  // port 7 is not let out …
	gb.cannotReach("10.0.0.10:10")
	v.ACLs[0].Entries = append(v.ACLs[0].Entries, entry(true, true, 1, 1023))
	apply(t, d, state(v))
	gb.cannotReach("10.0.0.10:7") // … and when it is, the answer is not let in: ACLs have no memory
	v.ACLs[0].Entries = append(v.ACLs[0].Entries, entry(false, true, 1024, 65535))
	apply(t, d, state(v))
	gb.reaches("10.0.0.10:7")
}

func TestAddressIsNotInherited(t *testing.T) {
	t.Parallel()
	host := newLab(t)
	d := newDriver(t, host, Config{}, nil)
	v := plainVPC("vpc-i", 1)
	a, b := withPublic(nic(1, "subnet-a", "10.0.0.10"), "198.51.100.1"), nic(2, "subnet-a", "10.0.0.11")
	v.Interfaces = []network.Interface{a, b}
	apply(t, d, state(v))
	ga, gb := newGuest(t, d, a, subnetA), newGuest(t, d, b, subnetA)
	ga.listen(7)
	gb.listen(7)
	c, _, err := host.dial("198.51.100.1:7", 10*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	echo(t, c)
	a.PublicIP, b.PublicIP = netip.Addr{}, netip.MustParseAddr("198.51.100.1") // the elastic IP moves
	v.Interfaces = []network.Interface{a, b}
	apply(t, d, state(v))
	_ = c.SetDeadline(time.Now().Add(patience))
	fmt.Fprint(c, "ping")
	if n, err := c.Read(make([]byte, 1)); err == nil {
		t.Errorf("the old connection goes on: %d bytes", n)
	}
	host.reaches("198.51.100.1:7")
}

// silent demands that a message gets no answer.
func silent(t *testing.T, c *net.UDPConn, message []byte, to string) {
	t.Helper()
	send(t, c, to, string(message))
	_ = c.SetReadDeadline(time.Now().Add(patience))
	if n, err := c.Read(make([]byte, 1500)); err == nil {
		t.Errorf("%s answers %d bytes", to, n)
	}
}
