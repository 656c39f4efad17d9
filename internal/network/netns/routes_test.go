package netns

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	"karri.dev/internal/network"
)

// natVPC is plainVPC with a NAT gateway in its public subnet, to which the private one's routes lead.
func natVPC(id string, vni uint32, underlay string) network.VPC {
	v := plainVPC(id, vni)
	g := network.NATGateway{
		ID: "nat-00000000000000001", SubnetID: "subnet-a", MAC: "02:00:00:00:aa:01",
		Addresses: []network.Address{{Private: netip.MustParseAddr("10.0.0.50"), Public: netip.MustParseAddr("198.51.100.9")}},
	}
	if underlay != "" {
		g.Underlay = netip.MustParseAddr(underlay)
	}
	v.NATGateways = []network.NATGateway{g}
	v.RouteTables[1].Routes = []network.Route{{Destination: everything, Target: network.ToNATGateway, ID: g.ID}}
	return v
}

// twoHosts gives two machines with a link between them.
func twoHosts(t *testing.T) (one, two *lab) {
	one, two = newLab(t), newLab(t)
	one.run("ip", "link", "add", "u0", "type", "veth", "peer", "name", "u0", "netns", two.name)
	one.run("sh", "-c", "ip addr add 172.16.0.1/24 dev u0; ip link set u0 up")
	two.run("sh", "-c", "ip addr add 172.16.0.2/24 dev u0; ip link set u0 up")
	return one, two
}

func TestNATGateway(t *testing.T) {
	t.Parallel()
	host := newLab(t)
	d := newDriver(t, host, Config{}, nil)
	v, w := natVPC("vpc-n", 1, ""), plainVPC("vpc-w", 2)
	a, c := nic(1, "subnet-a", "10.0.0.10"), nic(2, "subnet-b", "10.0.1.10")
	out := withPublic(nic(3, "subnet-a", "10.0.0.10"), "198.51.100.2")
	w.Groups[0].Rules = append(w.Groups[0].Rules, all(false))
	v.Interfaces, w.Interfaces = []network.Interface{a, c}, []network.Interface{out}
	apply(t, d, state(v, w))
	ga, gc, gw := newGuest(t, d, a, subnetA), newGuest(t, d, c, subnetB), newGuest(t, d, out, subnetA)
	for _, g := range []*guest{ga, gc, gw} {
		g.listen(7)
	}
	if seen := gc.reaches("198.51.100.2:7"); seen != "198.51.100.9" {
		t.Errorf("came as %s", seen)
	}
	gc.run("busybox", "ping", "-c1", "-W5", "198.51.100.2")
	if seen := gc.reaches("10.0.0.10:7"); seen != "10.0.1.10" { // not for what is inside
		t.Errorf("came as %s", seen)
	}
	ga.cannotReach("198.51.100.2:7") // a public subnet needs a public address
	gw.cannotReach("198.51.100.9:7") // nobody calls a NAT gateway
	host.cannotReach("198.51.100.9:7")
	gc.cannotReach("10.0.0.50:7")
	open, _, err := gc.dial("198.51.100.2:7", 10*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	defer open.Close()
	before := d.writes.Load()
	apply(t, d, state(v, w))
	if n := d.writes.Load() - before; n != 0 {
		t.Errorf("%d writes", n)
	}
	cfg := d.cfg
	d.Close()
	d = newDriver(t, host, cfg, nil)
	apply(t, d, state(v, w))
	echo(t, open)
	(&lab{d.nats["nat-00000000000000001"], t}).run("sh", "-c", "ip link del up0; nft flush ruleset")
	apply(t, d, state(v, w))
	if seen := gc.reaches("198.51.100.2:7"); seen != "198.51.100.9" {
		t.Errorf("after repair came as %s", seen)
	}
	v.RouteTables[0].Routes = nil // the gateway's own subnet has no internet any more
	apply(t, d, state(v, w))
	gc.cannotReach("198.51.100.2:7")
	v.NATGateways, v.RouteTables[1].Routes = nil, nil
	apply(t, d, state(v, w))
	if len(d.nats) != 0 || isNamespace(runDir+"/"+d.spaceName("nat-00000000000000001")) {
		t.Error("the NAT gateway is still there")
	}
}

// Of several addresses each sends, and answers come back to what it sent; one that is taken away sends no more.
func TestNATGatewayAddresses(t *testing.T) {
	t.Parallel()
	d := newDriver(t, newLab(t), Config{}, nil)
	v, w := natVPC("vpc-n", 1, ""), plainVPC("vpc-w", 2)
	want := map[string]bool{"198.51.100.9": true}
	g := &v.NATGateways[0]
	for i := 10; i < 13; i++ {
		a := network.Address{Private: netip.AddrFrom4([4]byte{10, 0, 0, byte(50 + i)}), Public: netip.AddrFrom4([4]byte{198, 51, 100, byte(i)})}
		g.Addresses = append(g.Addresses, a)
		want[a.Public.String()] = true
	}
	in, out := nic(1, "subnet-b", "10.0.1.10"), withPublic(nic(2, "subnet-a", "10.0.0.10"), "198.51.100.2")
	w.Groups[0].Rules = append(w.Groups[0].Rules, all(false))
	v.Interfaces, w.Interfaces = []network.Interface{in}, []network.Interface{out}
	apply(t, d, state(v, w))
	guest, server := newGuest(t, d, in, subnetB), newGuest(t, d, out, subnetA)
	server.listen(7)
	seen := map[string]int{}
	for range 80 { // the chance that one of four is left out is 4 in 10,000,000,000
		seen[guest.reaches("198.51.100.2:7")]++
	}
	for a := range want {
		if seen[a] == 0 {
			t.Errorf("%s never sent: %v", a, seen)
		}
	}
	for a := range seen {
		if !want[a] {
			t.Errorf("%s sent", a)
		}
	}
	v.NATGateways = slices.Clone(v.NATGateways)
	v.NATGateways[0].Addresses = v.NATGateways[0].Addresses[1:2]
	apply(t, d, state(v, w))
	for range 10 {
		if a := guest.reaches("198.51.100.2:7"); a != "198.51.100.10" {
			t.Errorf("%s sent", a)
		}
	}
}

func TestInterfaceRoute(t *testing.T) {
	t.Parallel()
	d := newDriver(t, newLab(t), Config{}, nil)
	v := plainVPC("vpc-r", 1)
	v.Groups[0].Rules = append(v.Groups[0].Rules, all(false))
	client, router := nic(1, "subnet-b", "10.0.1.10"), nic(2, "subnet-a", "10.0.0.10")
	router.NoSourceCheck = true
	v.RouteTables[1].Routes = []network.Route{{Destination: netip.MustParsePrefix("192.168.7.0/24"), Target: network.ToInterface, ID: router.ID}}
	v.Interfaces = []network.Interface{client, router}
	apply(t, d, state(v))
	gc, gr := newGuest(t, d, client, subnetB), newGuest(t, d, router, subnetA)
	gr.run("ip", "addr", "add", "192.168.7.1/32", "dev", "lo")
	gr.listen(7)
	if seen := gc.reaches("192.168.7.1:7"); seen != "10.0.1.10" {
		t.Errorf("came as %s", seen)
	}
	v.Interfaces[1].NoSourceCheck = false
	apply(t, d, state(v))
	gc.cannotReach("192.168.7.1:7")
	v.Interfaces[1].NoSourceCheck = true
	// A route inside the VPC's own ranges goes before the local one.
	server := nic(3, "subnet-a", "10.0.0.20")
	v.Interfaces = append(v.Interfaces, server)
	v.RouteTables[1].Routes[0].Destination = subnetA
	apply(t, d, state(v))
	gs := newGuest(t, d, server, subnetA)
	gs.listen(7)
	gr.run("sysctl", "-qw", "net.ipv4.ip_forward=0")
	gc.cannotReach("10.0.0.20:7")
	gr.run("sysctl", "-qw", "net.ipv4.ip_forward=1")
	if seen := gc.reaches("10.0.0.20:7"); seen != "10.0.1.10" {
		t.Errorf("came as %s", seen)
	}
	v.Interfaces = v.Interfaces[:1] // its target is gone: a blackhole, which does not fall through to anything
	apply(t, d, state(v))
	gc.cannotReach("192.168.7.1:7")
}

func TestSecondaryAddresses(t *testing.T) {
	t.Parallel()
	host := newLab(t)
	d := newDriver(t, host, Config{}, nil)
	v := plainVPC("vpc-2", 1)
	a, b := withPublic(nic(1, "subnet-a", "10.0.0.10"), "198.51.100.1"), nic(2, "subnet-a", "10.0.0.11")
	a.Secondary = []network.Address{{Private: netip.MustParseAddr("10.0.0.12"), Public: netip.MustParseAddr("198.51.100.2")}}
	a.Prefixes = []netip.Prefix{netip.MustParsePrefix("10.0.0.64/28")}
	v.Interfaces = []network.Interface{a, b}
	apply(t, d, state(v))
	ga, gb := newGuest(t, d, a, subnetA), newGuest(t, d, b, subnetA)
	for _, ip := range []string{"10.0.0.12", "10.0.0.70", "10.0.0.13", "10.0.0.80"} {
		ga.run("ip", "addr", "add", ip+"/24", "dev", "eth0")
	}
	ga.listen(7)
	for _, ip := range []string{"10.0.0.10", "10.0.0.12", "10.0.0.70"} {
		gb.reaches(ip + ":7")
	}
	for _, ip := range []string{"10.0.0.13", "10.0.0.80"} { // not its own
		gb.cannotReach(ip + ":7")
	}
	host.reaches("198.51.100.2:7")
	v.Interfaces[0].Secondary = nil
	apply(t, d, state(v))
	gb.cannotReach("10.0.0.12:7")
	gb.reaches("10.0.0.10:7")
}

// peered gives two VPCs that are peered, of which the second is 10.1.0.0/16.
func peered() (v, w network.VPC) {
	v, w = plainVPC("vpc-p", 11), plainVPC("vpc-q", 12)
	w.CIDRs = []netip.Prefix{netip.MustParsePrefix("10.1.0.0/16")}
	w.Subnets = []network.Subnet{{ID: "subnet-q", Index: 1, CIDR: netip.MustParsePrefix("10.1.0.0/24"), RouteTable: "rtb-pub"}}
	v.Peerings = []network.Peering{{ID: "pcx-00000000000000001", VPC: w.ID, CIDRs: w.CIDRs}}
	w.Peerings = []network.Peering{{ID: "pcx-00000000000000001", VPC: v.ID, CIDRs: v.CIDRs}}
	v.RouteTables[1].Routes = []network.Route{{Destination: w.CIDRs[0], Target: network.ToPeering, ID: "pcx-00000000000000001"}}
	w.RouteTables[0].Routes = append(w.RouteTables[0].Routes, network.Route{Destination: v.CIDRs[0], Target: network.ToPeering, ID: "pcx-00000000000000001"})
	// The second VPC lets in only the first one's group.
	w.Groups = []network.Group{
		{ID: "sg-echo", Members: addrs("10.0.1.10")},
		{ID: "sg-q", Rules: []network.Rule{all(true), {Protocol: 6, Ports: network.PortRange{From: 7, To: 7}, Group: "sg-echo"}}},
	}
	return v, w
}

var subnetQ = netip.MustParsePrefix("10.1.0.0/24")

func TestPeering(t *testing.T) {
	t.Parallel()
	d := newDriver(t, newLab(t), Config{}, nil)
	v, w := peered()
	pub, priv, q := withPublic(nic(1, "subnet-a", "10.0.0.10"), "198.51.100.1"), nic(2, "subnet-b", "10.0.1.10"), nic(3, "subnet-q", "10.1.0.10", "sg-q")
	other := nic(4, "subnet-b", "10.0.1.11", "sg-echo")
	v.Interfaces, w.Interfaces = []network.Interface{pub, priv, other}, []network.Interface{q}
	apply(t, d, state(v, w))
	gPub, gPriv, gq, gOther := newGuest(t, d, pub, subnetA), newGuest(t, d, priv, subnetB), newGuest(t, d, q, subnetQ), newGuest(t, d, other, subnetB)
	for _, g := range []*guest{gPub, gPriv, gq, gOther} {
		g.listen(7)
	}
	if seen := gPriv.reaches("10.1.0.10:7"); seen != "10.0.1.10" {
		t.Errorf("came as %s", seen)
	}
	gq.reaches("10.0.1.10:7")
	if c, err := gPriv.knock("10.0.0.2:53"); err != nil {
		t.Error(err)
	} else {
		c.Close()
	}
	if c, err := gPriv.knock("10.1.0.2:53"); err == nil { // the peer's resolver
		c.Close()
		t.Error("the peer's resolver answers")
	}
	gOther.cannotReach("10.1.0.10:7") // not in the members that the group's rule means
	gPub.cannotReach("10.1.0.10:7")   // its route table does not lead there
	gq.cannotReach("10.0.0.10:7")     // and so its answers do not come back
	// Not through: the peer's internet gateway is not ours.
	w.RouteTables[0].Routes[0] = network.Route{Destination: everything, Target: network.ToPeering, ID: "pcx-00000000000000001"}
	apply(t, d, state(v, w))
	gq.cannotReach("198.51.100.1:7")
	gPriv.reaches("10.1.0.10:7")
	v.Peerings, w.Peerings = nil, nil
	apply(t, d, state(v, w))
	gPriv.cannotReach("10.1.0.10:7")
}

// TestRoutesBetweenHosts: NAT gateway, interface route and peering with their two ends on different hosts.
func TestRoutesBetweenHosts(t *testing.T) {
	t.Parallel()
	one, two := twoHosts(t)
	u1, u2 := netip.MustParseAddr("172.16.0.1"), netip.MustParseAddr("172.16.0.2")
	d1, d2 := newDriver(t, one, Config{Underlay: u1}, nil), newDriver(t, two, Config{Underlay: u2}, nil)
	v, w := peered()
	v.NATGateways = natVPC("x", 1, "172.16.0.2").NATGateways
	v.Groups[0].Rules = append(v.Groups[0].Rules, all(false))
	client, router := nic(1, "subnet-b", "10.0.1.10"), nic(2, "subnet-a", "10.0.0.10")
	router.NoSourceCheck = true
	q, out := nic(3, "subnet-q", "10.1.0.10", "sg-q"), withPublic(nic(4, "subnet-a", "10.0.0.11"), "198.51.100.2")
	v.RouteTables[1].Routes = append(v.RouteTables[1].Routes,
		network.Route{Destination: everything, Target: network.ToNATGateway, ID: v.NATGateways[0].ID},
		network.Route{Destination: netip.MustParsePrefix("192.168.7.0/24"), Target: network.ToInterface, ID: router.ID})
	remote := func(i network.Interface, u netip.Addr) network.Remote {
		return network.Remote{ID: i.ID, PrivateIP: i.PrivateIP, MAC: i.MAC, Underlay: u, SubnetID: i.SubnetID}
	}
	v1, v2, w1, w2 := v, v, w, w
	v1.Interfaces, v1.Remotes = []network.Interface{client}, []network.Remote{remote(router, u2)}
	v2.Interfaces, v2.Remotes = []network.Interface{router}, []network.Remote{remote(client, u1)}
	w1.Remotes, w2.Interfaces = []network.Remote{remote(q, u2)}, []network.Interface{q}
	world := plainVPC("vpc-w", 13)
	world.Interfaces = []network.Interface{out}
	apply(t, d1, state(v1, w1))
	apply(t, d2, state(v2, w2, world))
	gc, gr, gq, gw := newGuest(t, d1, client, subnetB), newGuest(t, d2, router, subnetA), newGuest(t, d2, q, subnetQ), newGuest(t, d2, out, subnetA)
	gr.run("ip", "addr", "add", "192.168.7.1/32", "dev", "lo")
	for _, g := range []*guest{gc, gr, gq, gw} {
		g.listen(7)
	}
	for to, as := range map[string]string{"10.0.0.10:7": "10.0.1.10", "192.168.7.1:7": "10.0.1.10", "10.1.0.10:7": "10.0.1.10", "198.51.100.2:7": "198.51.100.9"} {
		if seen := gc.reaches(to); seen != as {
			t.Errorf("came to %s as %s", to, seen)
		}
	}
	gq.reaches("10.0.1.10:7")
	for _, d := range []*Driver{d1, d2} {
		before := d.writes.Load()
		apply(t, d, *d.last)
		if n := d.writes.Load() - before; n != 0 {
			t.Errorf("%d writes", n)
		}
	}
}
