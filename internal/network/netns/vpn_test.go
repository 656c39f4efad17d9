package netns

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"karri.dev/internal/network"
	"karri.dev/internal/network/netlab"
	"karri.dev/internal/vici"
)

func vpnConnection(n int, customer string, routes ...string) network.VPNConnection {
	all := netip.MustParsePrefix("0.0.0.0/0")
	c := network.VPNConnection{ID: fmt.Sprintf("vpn-%017x", n), Customer: netip.MustParseAddr(customer), Local: all, Remote: all}
	for _, r := range routes {
		c.Routes = append(c.Routes, netip.MustParsePrefix(r))
	}
	for i := 1; i <= 2; i++ {
		phase := network.Phase{Encryption: []string{"AES128", "AES256-GCM-16"}, Integrity: []string{"SHA2-256"}, Groups: []int{14}, Seconds: 3600}
		c.Tunnels = append(c.Tunnels, network.VPNTunnel{
			ID: fmt.Sprintf("%s-%d", c.ID, i), Public: netip.MustParseAddr(fmt.Sprintf("198.51.100.%d", 100+10*n+i)),
			Inside: netip.MustParsePrefix(fmt.Sprintf("169.254.%d.%d/30", n, 4*i)), PSK: fmt.Sprintf("secret%d_%d", n, i),
			Versions: []int{1, 2}, Phase1: phase, Phase2: phase, Margin: 270, Fuzz: 100, Replay: 1024, DPDTimeout: 30, DPDAction: "clear",
		})
	}
	return c
}

// waitTunnel waits until a tunnel is up, or down.
func waitTunnel(t *testing.T, d *Driver, id string, up bool) {
	t.Helper()
	var last []network.TunnelStatus
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		last = d.Tunnels()
		for _, s := range last {
			if s.ID == id && s.Up == up {
				return
			}
		}
	}
	t.Fatalf("tunnel %s does not become up=%v: %+v", id, up, last)
}

// waitReady waits until strongSwan is there for all tunnels.
func waitReady(t *testing.T, d *Driver, n int) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		ready := 0
		for _, v := range d.views() {
			if v.Ready {
				ready++
			}
		}
		if ready == n {
			return
		}
	}
	t.Fatalf("not ready: %+v", d.Tunnels())
}

func TestVPN(t *testing.T) {
	t.Parallel()
	netlab.NeedStrongSwan(t)
	host := newLab(t)
	host.run("sh", "-c", "ip link add br9 type bridge; ip addr add 203.0.113.1/24 dev br9; ip link set br9 up")
	cfg := Config{PublicInterface: "br9"}
	d := newDriver(t, host, cfg, nil)
	vpc := func(id string, vni uint32, c network.VPNConnection) network.VPC {
		v := plainVPC(id, vni)
		v.VPN = &network.VPNGateway{ID: fmt.Sprintf("vgw-%017x", vni), Connections: []network.VPNConnection{c}}
		v.RouteTables[1].Routes = []network.Route{{Destination: everything, Target: network.ToVPNGateway, ID: v.VPN.ID}}
		return v
	}
	// Two tenants with the same ranges on both sides; the first one's private subnet sends all to its company.
	c1, c2 := vpnConnection(1, "203.0.113.10", "192.168.7.0/24", "0.0.0.0/0"), vpnConnection(2, "203.0.113.20", "192.168.7.0/24")
	v1, v2 := vpc("vpc-1", 1, c1), vpc("vpc-2", 2, c2)
	a, pub := nic(1, "subnet-b", "10.0.1.10"), nic(2, "subnet-a", "10.0.0.10")
	b := nic(3, "subnet-b", "10.0.1.10")
	v1.Interfaces, v2.Interfaces = []network.Interface{a, pub}, []network.Interface{b}
	apply(t, d, state(v1, v2))
	ga, gpub, gb := newGuest(t, d, a, subnetB), newGuest(t, d, pub, subnetA), newGuest(t, d, b, subnetB)
	for _, g := range []*guest{ga, gpub, gb} {
		g.listen(7)
		g.listen(8)
	}
	one, two := netlab.NewCompany(t, host.name, "br9", "203.0.113.10/24", "192.168.7.1"), netlab.NewCompany(t, host.name, "br9", "203.0.113.20/24", "192.168.7.1")
	for _, c := range []*netlab.Company{one, two} {
		c.Run("ip", "route", "add", "default", "via", "203.0.113.1")
	}
	for _, c := range []*netlab.Company{one, two} {
		c.Listen(7)
	}
	waitReady(t, d, 4)
	ga.cannotReach("192.168.7.1:7")
	if conn, err := vici.Dial(filepath.Join(d.tunnelDir(), c1.Tunnels[0].ID, "vici"), time.Second); err != nil {
		t.Error(err)
	} else {
		pid, err := conn.PID()
		conn.Close()
		if status, err2 := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid)); err != nil || err2 != nil || strings.Contains(string(status), "Uid:\t0") {
			t.Errorf("who reads what strangers send is root: %v, %v\n%s", err, err2, status)
		}
	}

	t.Run("attacks on the call", func(t *testing.T) {
		for name, tun := range map[string]netlab.Tunnel{
			"another tenant's secret":  {Gateway: "198.51.100.111", PSK: "secret2_1"},
			"the other tunnel's":       {Gateway: "198.51.100.111", PSK: "secret1_2"},
			"another tenant's gateway": {Gateway: "198.51.100.121", PSK: "secret2_1"},
			"weak encryption":          {Gateway: "198.51.100.111", PSK: "secret1_1", Proposal: "3des-sha1-modp1024"},
			"weak group":               {Gateway: "198.51.100.111", PSK: "secret1_1", Proposal: "aes128-sha256-modp1024"},
			"no encryption":            {Gateway: "198.51.100.111", PSK: "secret1_1", Proposal: "null-sha256-modp2048"},
		} {
			if out, err := one.Call(tun); err == nil {
				t.Errorf("%s: the tunnel is there:\n%s", name, out)
			}
		}
	})
	if out, err := one.Call(netlab.Tunnel{Gateway: "198.51.100.111", PSK: "secret1_1"}); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	waitTunnel(t, d, c1.Tunnels[0].ID, true)
	one.Route("10.0.0.0/16")
	if seen := one.Reaches("10.0.1.10:7"); seen != "192.168.7.1" {
		t.Errorf("came as %s", seen)
	}
	if seen := ga.reaches("192.168.7.1:7"); seen != "10.0.1.10" {
		t.Errorf("came as %s", seen)
	}
	t.Run("all Internet traffic by the company", func(t *testing.T) {
		one.Run("ip", "addr", "add", "192.0.2.80/32", "dev", "lo") // what the company would lead to
		ga.reaches("192.0.2.80:7")
	})
	t.Run("nothing else", func(t *testing.T) {
		one.CannotReach("10.0.1.10:8")                                                   // the group says no
		one.CannotReach("10.0.1.1:53")                                                   // the VPC's own
		one.CannotReach("10.0.0.2:53")                                                   // its resolver
		one.CannotReach("198.51.100.111:22")                                             // the gateway itself
		gpub.cannotReach("192.168.7.1:7")                                                // a subnet whose table has no such route
		gb.cannotReach("192.168.7.1:7")                                                  // the other tenant, whose tunnel is down
		two.CannotReach("10.0.1.10:7")                                                   // a company without a tunnel
		for _, source := range []string{"10.0.0.99", "169.254.169.254", "169.254.1.5"} { // spoofed inside
			one.Run("ip", "addr", "add", source+"/32", "dev", "lo")
			if out, err := one.Try("busybox", "nc", "-w", "1", "-s", source, "10.0.1.10", "7"); err == nil && out != "" {
				t.Errorf("%s was let in: %s", source, out)
			}
			one.Run("ip", "addr", "del", source+"/32", "dev", "lo")
		}
	})
	t.Run("plain packets stay inside", func(t *testing.T) {
		out := (&lab{d.nats[c1.Tunnels[0].ID], t}).run("ip", "route", "get", "8.8.8.8", "from", "10.0.1.10", "iif", "up0", "mark", "1")
		if !strings.Contains(out, "dev ipsec0") {
			t.Errorf("a packet for the customer takes %s", out)
		}
	})
	t.Run("failover", func(t *testing.T) {
		one.HangUp()
		waitTunnel(t, d, c1.Tunnels[0].ID, false)
		ga.cannotReach("192.168.7.1:7")
		if out, err := one.Call(netlab.Tunnel{Gateway: "198.51.100.112", PSK: "secret1_2"}); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		waitTunnel(t, d, c1.Tunnels[1].ID, true)
		ga.reaches("192.168.7.1:7")
	})
	t.Run("restart of the agent", func(*testing.T) { // the driver is the whole test's
		open, _, err := ga.dial("192.168.7.1:7", 10*time.Second)
		if err != nil {
			t.Fatal(err)
		}
		defer open.Close()
		again := d.cfg
		d.Close()
		echo(t, open)
		d = newDriver(t, host, again, nil)
		apply(t, d, state(v1, v2))
		waitTunnel(t, d, c1.Tunnels[1].ID, true)
		echo(t, open)
	})
	t.Run("the connection goes", func(t *testing.T) {
		v1.VPN = nil
		apply(t, d, state(v1, v2))
		ga.cannotReach("192.168.7.1:7")
		if n := len(d.Tunnels()); n != 2 {
			t.Errorf("%d tunnels", n)
		}
	})
	if err := d.Destroy(context.Background()); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(d.tunnelDir()); err == nil {
		t.Error("the daemons' files are left")
	}
}

// TestVPNWithBGP: routes come and go by BGP with a router of another make, and outlive a restart of the agent.
func TestVPNWithBGP(t *testing.T) {
	t.Parallel()
	netlab.NeedStrongSwan(t)
	host := newLab(t)
	host.run("sh", "-c", "ip link add br9 type bridge; ip addr add 203.0.113.1/24 dev br9; ip link set br9 up")
	d := newDriver(t, host, Config{PublicInterface: "br9"}, nil)
	v := plainVPC("vpc-1", 1)
	c := vpnConnection(1, "203.0.113.10")
	c.BGP = &network.BGP{LocalAS: 64512, PeerAS: 4200000010}
	v.VPN = &network.VPNGateway{ID: "vgw-00000000000000001", Connections: []network.VPNConnection{c}}
	v.RouteTables[1].Routes = []network.Route{{Destination: everything, Target: network.ToVPNGateway, ID: v.VPN.ID}}
	a := nic(1, "subnet-b", "10.0.1.10")
	v.Interfaces = []network.Interface{a}
	apply(t, d, state(v))
	ga := newGuest(t, d, a, subnetB)
	ga.listen(7)
	company := netlab.NewCompany(t, host.name, "br9", "203.0.113.10/24", "192.168.7.1")
	company.Run("ip", "route", "add", "default", "via", "203.0.113.1")
	company.Listen(7)
	waitReady(t, d, 2)
	one := c.Tunnels[0]
	if out, err := company.Call(netlab.Tunnel{Gateway: one.Public.String(), PSK: one.PSK}); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	ga.cannotReach("192.168.7.1:7") // nobody has said that it is there
	end := company.BGP(one.Customer().String(), one.Gateway().String(), 4200000010, 64512, "192.168.7.0/24", "172.16.0.0/12")
	waitTunnel(t, d, one.ID, true)
	if got := fmt.Sprint(d.Tunnels()[0].Routes); got != "[172.16.0.0/12 192.168.7.0/24]" {
		t.Errorf("learned %s", got)
	}
	if seen := company.Reaches("10.0.1.10:7"); seen != "192.168.7.1" { // by the route that we told
		t.Errorf("came as %s", seen)
	}
	open, _, err := ga.dial("192.168.7.1:7", 10*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	defer open.Close()
	again := d.cfg
	d.Close()
	echo(t, open)
	d = newDriver(t, host, again, nil)
	apply(t, d, state(v))
	waitTunnel(t, d, one.ID, true)
	echo(t, open)
	for end := time.Now().Add(20 * time.Second); !d.speaking(one.ID); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the session does not come back")
		}
	}
	echo(t, open)
	end()
	waitTunnel(t, d, one.ID, false)
	ga.cannotReach("192.168.7.1:7")
}

// speaking says whether a tunnel has a BGP session.
func (d *Driver) speaking(id string) bool {
	d.tunnelsMu.Lock()
	defer d.tunnelsMu.Unlock()
	t := d.tunnels[id]
	return t != nil && t.bgp != nil && t.bgp.session
}
