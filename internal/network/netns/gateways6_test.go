package netns

import (
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"karri.dev/internal/network"
	"karri.dev/internal/network/rules"
)

var pool6 = netip.MustParsePrefix("2001:db8::/32")

func state6(vpcs ...network.VPC) network.State {
	s := state(vpcs...)
	s.PublicPool = append(append([]netip.Prefix(nil), pool...), pool6)
	return s
}

// An internet gateway leads both ways, an egress-only one out, and neither where no route says so.
func TestIPv6Gateways(t *testing.T) {
	t.Parallel()
	host := newLab(t)
	d := newDriver(t, host, Config{}, nil)
	v, w := dualVPC("vpc-v", 1), dualVPC("vpc-w", 2)
	// Subnet a: both ways; subnet b: out only, but for one range that it shares with the internet gateway.
	out := network.Route{Destination: everything6, Target: network.EgressOnly}
	v.RouteTables[0].Routes = append(v.RouteTables[0].Routes, network.Route{Destination: everything6, Target: network.InternetGateway})
	v.RouteTables[1].Routes = append(v.RouteTables[1].Routes, out)
	w.RouteTables[0].Routes = append(w.RouteTables[0].Routes, network.Route{Destination: everything6, Target: network.InternetGateway})
	a, b := with6(nic(1, "subnet-a", "10.0.0.10"), "2001:db8:1::a"), with6(nic(2, "subnet-b", "10.0.1.11"), "2001:db8:1:1::b")
	far, inner := with6(nic(3, "subnet-a", "10.0.0.13"), "2001:db8:2::d"), with6(nic(4, "subnet-b", "10.0.1.14"), "2001:db8:2:1::e")
	v.Interfaces, w.Interfaces = []network.Interface{a, b}, []network.Interface{far, inner}
	apply(t, d, state6())
	apply(t, d, state6(plainVPC("vpc-v", 1))) // IPv6 comes to a host, and to a VPC, that are there
	apply(t, d, state6(v, w))
	ga, gb := newGuest6(t, d, a, subnetA), newGuest6(t, d, b, subnetB)
	gf, gi := newGuest6(t, d, far, subnetA), newGuest6(t, d, inner, subnetB)
	for _, l := range []*lab{ga.lab, gb.lab, gf.lab, gi.lab, host} {
		l.listen(7)
	}
	t.Run("internet gateway", func(t *testing.T) {
		if seen := host.reaches("[2001:db8:1::a]:7"); seen != rules.HostAddr6.String() {
			t.Errorf("came as %s", seen)
		}
		if seen := ga.reaches("[2001:db8:2::d]:7"); seen != "2001:db8:1::a" { // nothing is translated
			t.Errorf("came as %s", seen)
		}
		host.cannotReach("[2001:db8:1::a]:8") // its group
		host.cannotReach("[2001:db8:1::99]:7")
		ga.cannotReach("[" + rules.HostAddr6.String() + "]:7")
		ga.cannotReach("[2001:db8:1234::1]:7")
	})
	t.Run("egress-only gateway", func(t *testing.T) {
		if seen := gb.reaches("[2001:db8:2::d]:7"); seen != "2001:db8:1:1::b" {
			t.Errorf("came as %s", seen)
		}
		gf.cannotReach("[2001:db8:1:1::b]:7")
		host.cannotReach("[2001:db8:1:1::b]:7")
	})
	t.Run("no gateway", func(t *testing.T) {
		gi.cannotReach("[2001:db8:1::a]:7")
		ga.cannotReach("[2001:db8:2:1::e]:7")
		host.cannotReach("[2001:db8:2:1::e]:7")
		gi.reaches("[2001:db8:2::d]:7") // inside
	})
	t.Run("both in one table", func(t *testing.T) {
		next := v
		next.RouteTables = append([]network.RouteTable(nil), v.RouteTables...)
		next.RouteTables[1].Routes = []network.Route{out, {Destination: netip.MustParsePrefix("2001:db8:ffff::/48"), Target: network.InternetGateway}}
		apply(t, d, state6(next, w))
		// It can be called, but its answers would go out by the egress-only gateway, which has seen no question.
		gf.cannotReach("[2001:db8:1:1::b]:7")
		gb.reaches("[2001:db8:2::d]:7")
	})
	t.Run("from outside in the name of one inside", func(t *testing.T) {
		member := v
		member.Groups = []network.Group{{ID: v.Groups[0].ID, Rules: []network.Rule{all6(true), {Protocol: -1, CIDR: v.CIDRs[1]}}}}
		apply(t, d, state6(member, w))
		in := ga.udp("[::]:9")
		host.run("ip", "-6", "addr", "add", "2001:db8:1::77/128", "dev", "lo")
		to := net.UDPAddrFromAddrPort(netip.MustParseAddrPort("[2001:db8:1::a]:9"))
		send := func(c *net.UDPConn) {
			if _, err := c.WriteTo([]byte("x"), to); err != nil {
				t.Fatal(err)
			}
		}
		forged := host.udp("[2001:db8:1::77]:0")
		for range 3 {
			send(forged)
		}
		send(gb.udp("[2001:db8:1:1::b]:0")) // that one comes, after the others
		_ = in.SetReadDeadline(time.Now().Add(10 * time.Second))
		_, from, err := in.ReadFromUDPAddrPort(make([]byte, 9))
		if err != nil || from.Addr().String() != "2001:db8:1:1::b" {
			t.Errorf("a packet of %s came in, %v", from, err)
		}
		host.run("ip", "-6", "addr", "del", "2001:db8:1::77/128", "dev", "lo")
	})
	apply(t, d, state6(v, w))
	before := d.writes.Load()
	apply(t, d, *d.last)
	if n := d.writes.Load() - before; n != 0 {
		t.Errorf("applying the same state again makes %d changes", n)
	}
	// A driver that comes back finds everything as it should be.
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	again, err := New(d.cfg, Deps{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { again.Close() })
	apply(t, again, state6(v, w))
	host.reaches("[2001:db8:1::a]:7")
	// With the last IPv6 range all of it goes, also from the host.
	apply(t, again, state(plainVPC("vpc-v", 1)))
	if out := host.run("ip", "-6", "route", "show"); out != "" && strings.Contains(out, "2001:db8") {
		t.Errorf("left on the host: %s", out)
	}
}
