package netns

import (
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"karri.dev/internal/network"
)

func TestReach(t *testing.T) {
	t.Parallel()
	host := newLab(t)
	d := newDriver(t, host, Config{}, nil)
	v, w := plainVPC("vpc-one", 1), plainVPC("vpc-two", 2)
	a := withPublic(nic(1, "subnet-a", "10.0.0.10"), "198.51.100.1")
	b := nic(2, "subnet-a", "10.0.0.11")
	c := nic(3, "subnet-b", "10.0.1.10")
	v.Interfaces = []network.Interface{a, b, c}
	twin := withPublic(nic(1, "subnet-a", "10.0.0.10"), "198.51.100.2") // same MAC and address in another VPC
	twin.ID = "eni-22222222222222222"
	w.Interfaces = []network.Interface{twin}
	apply(t, d, state(v, w))

	ga, gb, gc := newGuest(t, d, a, subnetA), newGuest(t, d, b, subnetA), newGuest(t, d, c, subnetB)
	gt := newGuest(t, d, twin, subnetA)
	for _, g := range []*guest{ga, gb, gc, gt} {
		g.listen(7)
		g.listen(8)
	}
	host.listen(7)

	t.Run("same subnet", func(t *testing.T) {
		if seen := ga.reaches("10.0.0.11:7"); seen != "10.0.0.10" {
			t.Errorf("came as %s", seen)
		}
		gb.reaches("10.0.0.10:7")
	})
	t.Run("across subnets", func(t *testing.T) {
		ga.reaches("10.0.1.10:7")
		gc.reaches("10.0.0.11:7")
	})
	t.Run("port not allowed", func(t *testing.T) { ga.cannotReach("10.0.0.11:8") })
	t.Run("unassigned addresses", func(t *testing.T) {
		if out, err := ga.try("busybox", "ping", "-c1", "-W1", "10.0.0.99"); err == nil {
			t.Errorf("somebody answers:\n%s", out)
		}
		if out := ga.run("ip", "neigh", "show", "10.0.0.99"); strings.Contains(out, "lladdr") {
			t.Errorf("ARP was answered: %s", out)
		}
		ga.cannotReach("10.0.1.99:7")
		ga.cannotReach("10.0.0.1:7")
	})
	t.Run("public address from the host", func(t *testing.T) {
		host.reaches("198.51.100.1:7")
		host.reaches("198.51.100.2:7")
		host.cannotReach("198.51.100.1:8")
		host.cannotReach("198.51.100.3:7")
	})
	t.Run("between VPCs by public address", func(t *testing.T) {
		if seen := ga.reaches("198.51.100.2:7"); seen != "198.51.100.1" {
			t.Errorf("came as %s", seen)
		}
	})
	t.Run("hairpin to oneself", func(t *testing.T) {
		if seen := ga.reaches("198.51.100.1:7"); seen != "198.51.100.1" {
			t.Errorf("came as %s", seen)
		}
	})
	t.Run("no public address or no route: no internet", func(t *testing.T) {
		gb.cannotReach("198.51.100.2:7")
		gc.cannotReach("198.51.100.2:7")
	})
	t.Run("host is not to be called", func(t *testing.T) {
		ga.cannotReach("100.64.0.2:7")
		ga.cannotReach("100.64.0.1:7")
		gb.cannotReach("100.64.0.2:7")
	})
}

func TestGroups(t *testing.T) {
	t.Parallel()
	d := newDriver(t, newLab(t), Config{}, nil)
	v := plainVPC("vpc-g", 1)
	a, b, c := nic(1, "subnet-a", "10.0.0.10", "sg-web"), nic(2, "subnet-a", "10.0.0.11", "sg-db"), nic(3, "subnet-b", "10.0.1.10", "sg-none")
	v.Interfaces = []network.Interface{a, b, c}
	web := network.Group{ID: "sg-web", Rules: []network.Rule{all(true)}, Members: addrs("10.0.0.10")}
	db := network.Group{ID: "sg-db", Rules: []network.Rule{
		{Protocol: 6, Ports: network.PortRange{From: 7, To: 9}, Group: "sg-web"},
	}}
	none := network.Group{ID: "sg-none", Rules: []network.Rule{all(true)}}
	v.Groups = []network.Group{db, none, web}
	apply(t, d, state(v))
	ga, gb, gc := newGuest(t, d, a, subnetA), newGuest(t, d, b, subnetA), newGuest(t, d, c, subnetB)
	for _, g := range []*guest{ga, gb, gc} {
		g.listen(7)
	}
	ga.reaches("10.0.0.11:7") // by group reference; and the answer comes back though sg-db lets nothing out
	gc.cannotReach("10.0.0.11:7")
	gb.cannotReach("10.0.0.10:7") // no egress rule

	kept, _, err := ga.dial("10.0.0.11:7", patience*20)
	if err != nil {
		t.Fatal(err)
	}
	defer kept.Close()
	// The member moves: new connections follow the change, the one that is open stays.
	web.Members = addrs("10.0.1.10")
	v.Groups = []network.Group{db, none, web}
	apply(t, d, state(v))
	ga.cannotReach("10.0.0.11:7")
	gc.reaches("10.0.0.11:7")
	echo(t, kept)

	db.Rules = []network.Rule{all(true)}
	v.Groups = []network.Group{db, none, web}
	apply(t, d, state(v))
	gc.cannotReach("10.0.0.11:7")
	echo(t, kept)
}

// echo demands that a connection still works both ways.
func echo(t *testing.T, c net.Conn) {
	t.Helper()
	_ = c.SetDeadline(time.Now().Add(10 * time.Second))
	if _, err := c.Write([]byte("ping")); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 4)
	if _, err := io.ReadFull(c, b); err != nil || string(b) != "ping" {
		t.Fatalf("the connection is dead: %q, %v", b, err)
	}
}
