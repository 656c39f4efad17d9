package netns

import (
	"net/netip"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"karri.dev/internal/network"
)

func TestConverge(t *testing.T) {
	t.Parallel()
	whole := t
	host := newLab(t)
	hostBefore := host.run("sh", "-c", "ip addr; ip route show table all; ip rule; nft list ruleset; ip neigh")
	namesBefore, _ := namedSpaces("karri-")
	cfg := Config{Name: "conv"}
	d := newDriver(t, host, cfg, nil)
	v := plainVPC("vpc-c", 1)
	a, b := withPublic(nic(1, "subnet-a", "10.0.0.10"), "198.51.100.1"), nic(2, "subnet-b", "10.0.1.10")
	v.Interfaces = []network.Interface{a, b}
	apply(t, d, state(v))
	ga, gb := newGuest(t, d, a, subnetA), newGuest(t, d, b, subnetB)
	ga.listen(7)
	gb.listen(7)
	inside, _, err := ga.dial("10.0.1.10:7", 10*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	defer inside.Close()
	outside, _, err := host.dial("198.51.100.1:7", 10*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	defer outside.Close()

	t.Run("the same again writes nothing", func(t *testing.T) {
		for range 3 {
			before := d.writes.Load()
			apply(t, d, state(v))
			if n := d.writes.Load() - before; n != 0 {
				t.Errorf("%d writes", n)
			}
		}
	})
	space := &lab{d.vpcs["vpc-c"].space, t}
	edge := &lab{d.edge, t}
	t.Run("foreign changes are repaired", func(t *testing.T) {
		for _, c := range []struct {
			on     *lab
			change string
		}{
			{space, "nft flush chain ip karri antispoof"},
			{space, "nft delete table arp karri"},
			{space, "nft add table inet other"},
			{space, "ip route del 10.0.1.10"},
			{space, "ip neigh del 10.0.1.10 dev eni000000000002"},
			{space, "ip rule del pref 3000"},
			{space, "ip link set eni000000000002 down"},
			{space, "ip addr del 169.254.169.254/32 dev lo"},
			{space, "ip route add 10.0.0.99 dev eni000000000002"},
			{space, "ip link del igw0"},
			{edge, "ip route del 198.51.100.1"},
			{edge, "nft flush ruleset"},
			{host, "nft flush ruleset"},
			{host, "ip route del 198.51.100.1"},
			{host, "ip link del kr-conv"},
		} {
			counters := regexp.MustCompile(`(?s)\t\telements = \{ "[^}]* limit rate [^}]*\}\n`) // packets' own doing
			text := func() string {
				return counters.ReplaceAllString(space.run("sh", "-c", "ip route show table all | sort; ip rule; nft list ruleset; ip neigh | sort; ip -br addr | sed 's/@if[0-9]*//' | sort")+
					edge.run("sh", "-c", "ip route | sort; nft list ruleset; ip neigh | sort")+
					host.run("sh", "-c", "ip route | sort; nft list ruleset"), "")
			}
			before := text()
			c.on.run("sh", "-c", c.change)
			if text() == before {
				t.Errorf("%s changed nothing", c.change)
			}
			apply(t, d, state(v))
			if after := text(); after != before {
				t.Errorf("after %q (-before +after):\n%s", c.change, cmp.Diff(strings.Split(before, "\n"), strings.Split(after, "\n")))
			}
			ga.reaches("10.0.1.10:7")
			host.reaches("198.51.100.1:7")
		}
		echo(t, inside)
	})
	t.Run("a restarted driver takes over", func(t *testing.T) {
		d.Close()
		echo(t, inside) // nobody is needed for packets to flow
		d = newDriver(whole, host, cfg, nil)
		apply(t, d, state(v))
		echo(t, inside)
		ga.reaches("10.0.1.10:7")
		before := d.writes.Load()
		apply(t, d, state(v))
		if n := d.writes.Load() - before; n != 0 {
			t.Errorf("%d writes after taking over", n)
		}
	})
	t.Run("a VPC that is gone is removed, also after a restart", func(t *testing.T) {
		w := plainVPC("vpc-d", 2)
		w.Interfaces = []network.Interface{nic(9, "subnet-a", "10.0.0.10")}
		apply(t, d, state(v, w))
		d.Close()
		d = newDriver(whole, host, cfg, nil)
		apply(t, d, state(v))
		if names, _ := namedSpaces("karri-conv-"); len(names) != 2 {
			t.Errorf("namespaces: %v", names)
		}
		echo(t, inside)
	})
	t.Run("destroy leaves nothing", func(t *testing.T) {
		if err := d.Destroy(t.Context()); err != nil {
			t.Fatal(err)
		}
		if after := host.run("sh", "-c", "ip addr; ip route show table all; ip rule; nft list ruleset; ip neigh"); after != hostBefore {
			t.Errorf("the host has left:\n%s\nbefore:\n%s", after, hostBefore)
		}
		if names, _ := namedSpaces("karri-conv-"); len(names) != 0 {
			t.Errorf("namespaces: %v, before %v", names, namesBefore)
		}
	})
}

func TestOverlay(t *testing.T) {
	t.Parallel()
	one, two := newLab(t), newLab(t)
	one.run("ip", "link", "add", "u0", "type", "veth", "peer", "name", "u0", "netns", two.name)
	one.run("sh", "-c", "ip addr add 10.0.0.1/24 dev u0; ip link set u0 up") // an underlay with the guests' own range
	two.run("sh", "-c", "ip addr add 10.0.0.2/24 dev u0; ip link set u0 up")
	u1, u2 := netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("10.0.0.2")
	d1, d2 := newDriver(t, one, Config{Underlay: u1}, nil), newDriver(t, two, Config{Underlay: u2}, nil)
	if d1.MTU() != 1450 {
		t.Errorf("MTU %d", d1.MTU())
	}
	web := network.Group{ID: "sg-web", Rules: []network.Rule{all(true)}, Members: addrs("10.0.0.10", "10.0.1.10")}
	db := network.Group{ID: "sg-db", Members: addrs("10.0.0.11"), Rules: []network.Rule{{Protocol: 6, Ports: network.PortRange{From: 7, To: 7}, Group: "sg-web"}}}
	mute := network.Group{ID: "sg-mute", Rules: []network.Rule{tcp(7, "0.0.0.0/0")}}
	a, b, c := nic(1, "subnet-a", "10.0.0.10", "sg-web"), nic(2, "subnet-a", "10.0.0.11", "sg-db"), nic(3, "subnet-b", "10.0.1.12", "sg-mute")
	remote := func(i network.Interface, u netip.Addr) network.Remote {
		return network.Remote{PrivateIP: i.PrivateIP, MAC: i.MAC, Underlay: u, SubnetID: i.SubnetID}
	}
	v1, v2 := plainVPC("vpc-o", 77), plainVPC("vpc-o", 77)
	v1.Groups, v2.Groups = []network.Group{db, mute, web}, []network.Group{db, mute, web}
	v1.Interfaces, v1.Remotes = []network.Interface{a}, []network.Remote{remote(b, u2), remote(c, u2)}
	v2.Interfaces, v2.Remotes = []network.Interface{b, c}, []network.Remote{remote(a, u1)}
	apply(t, d1, state(v1))
	apply(t, d2, state(v2))
	ga, gb, gc := newGuest(t, d1, a, subnetA), newGuest(t, d2, b, subnetA), newGuest(t, d2, c, subnetB)
	for _, g := range []*guest{ga, gb, gc} {
		g.listen(7)
		g.listen(8)
	}
	if seen := ga.reaches("10.0.0.11:7"); seen != "10.0.0.10" { // destination's rule names the source's group
		t.Errorf("came as %s", seen)
	}
	ga.reaches("10.0.1.12:7")
	ga.cannotReach("10.0.0.11:8")
	gc.cannotReach("10.0.0.10:7") // the source's group lets nothing out
	big := strings.Repeat("x", 1<<16)
	conn, _, err := ga.dial("10.0.0.11:7", 10*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	go func() { _, _ = conn.Write([]byte(big)) }()
	got := make([]byte, 0, len(big))
	buf := make([]byte, 4096)
	for len(got) < len(big) {
		n, err := conn.Read(buf)
		if err != nil {
			t.Fatalf("after %d bytes: %v", len(got), err)
		}
		got = append(got, buf[:n]...)
	}
	before := d1.writes.Load()
	apply(t, d1, state(v1))
	if n := d1.writes.Load() - before; n != 0 {
		t.Errorf("%d writes", n)
	}
	// The guest leaves the other host: its address is no longer answered for.
	v1.Remotes = v1.Remotes[1:]
	apply(t, d1, state(v1))
	ga.cannotReach("10.0.0.11:7")
}

func TestPublicInterface(t *testing.T) {
	t.Parallel()
	host, world := newLab(t), newLab(t)
	host.run("ip", "link", "add", "eth9", "type", "veth", "peer", "name", "w0", "netns", world.name)
	host.run("sh", "-c", "ip addr add 198.51.100.250/24 dev eth9; ip link set eth9 up")
	world.run("sh", "-c", "ip addr add 198.51.100.251/24 dev w0; ip link set w0 up; ip link add name far type veth peer name far1; ip addr add 203.0.113.1/32 dev lo")
	host.run("ip", "route", "add", "203.0.113.0/24", "via", "198.51.100.251")
	settings := "cat /proc/sys/net/ipv4/conf/eth9/forwarding /proc/sys/net/ipv4/neigh/eth9/proxy_delay; ip neigh show proxy"
	before := host.run("sh", "-c", settings)
	d := newDriver(t, host, Config{PublicInterface: "eth9"}, nil)
	v := plainVPC("vpc-p", 1)
	a := withPublic(nic(1, "subnet-a", "10.0.0.10"), "198.51.100.1")
	v.Interfaces = []network.Interface{a}
	apply(t, d, state(v))
	ga := newGuest(t, d, a, subnetA)
	ga.listen(7)
	world.listen(7)
	host.listen(7)
	world.reaches("198.51.100.1:7")
	host.reaches("198.51.100.1:7")
	if seen := ga.reaches("198.51.100.251:7"); seen != "198.51.100.1" {
		t.Errorf("came as %s", seen)
	}
	ga.reaches("203.0.113.1:7")
	ga.cannotReach("198.51.100.250:7") // the host itself
	world.cannotReach("198.51.100.2:7")
	n := d.writes.Load()
	apply(t, d, state(v))
	if got := d.writes.Load() - n; got != 0 {
		t.Errorf("%d writes", got)
	}
	if err := d.Destroy(t.Context()); err != nil {
		t.Fatal(err)
	}
	if after := host.run("sh", "-c", settings); after != before {
		t.Errorf("left behind:\n%s\nbefore:\n%s", after, before)
	}
}
