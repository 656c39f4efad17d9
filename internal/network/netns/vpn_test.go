package netns

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"karri.dev/internal/network"
)

// needStrongSwan skips a test where the packages of VPNs are missing.
func needStrongSwan(t *testing.T) {
	t.Helper()
	for _, program := range []string{charonProgram, "swanctl"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skip("strongSwan is not installed: scripts/deps test")
		}
	}
}

// company is a network of somebody's own: a machine on the Internet with strongSwan and a network behind it.
type company struct {
	*lab
	dir string
	ip  string
}

// newCompany puts a company on the link of a host, which is its way to the public addresses.
func newCompany(t *testing.T, host *lab, n int, lan string) *company {
	t.Helper()
	c := &company{newLab(t), t.TempDir(), fmt.Sprintf("203.0.113.%d", n)}
	link := fmt.Sprintf("c%d", n)
	host.run("ip", "link", "add", link, "type", "veth", "peer", "name", "e0", "netns", c.name)
	host.run("ip", "link", "set", link, "master", "br9", "up")
	c.run("sh", "-c", "ip addr add "+c.ip+"/24 dev e0; ip link set e0 up; ip addr add "+lan+"/24 dev lo; ip route add default via 203.0.113.1")
	c.run("sh", "-c", "ip rule add pref 200 lookup main; ip rule add pref 300 unreachable")
	return c
}

// tunnel is one of the company's tunnels.
type ipsec struct {
	gateway, psk, proposal string
}

// call starts the company's strongSwan and has it call the gateway.
func (c *company) call(tun ipsec) (string, error) {
	c.t.Helper()
	if tun.proposal == "" {
		tun.proposal = "aes128-sha256-modp2048"
	}
	conf := strings.NewReplacer("DIR", c.dir, "LOCAL", c.ip, "REMOTE", tun.gateway, "PSK", tun.psk, "PROPOSAL", tun.proposal)
	write := func(name, text string) string {
		path := filepath.Join(c.dir, name)
		if err := os.WriteFile(path, []byte(conf.Replace(text)), 0o600); err != nil {
			c.t.Fatal(err)
		}
		return path
	}
	main := write("strongswan.conf", `charon-systemd {
		load_modular = no
		load = random nonce aes sha1 sha2 hmac kdf gmp openssl kernel-libipsec kernel-netlink socket-default vici
		install_routes = no
		routing_table_prio = 32765
		retransmit_tries = 2
		retransmit_timeout = 1
		syslog { daemon { default = -1 } }
		journal { default = -1 }
		plugins {
			vici { socket = unix://DIR/vici }
			kernel-libipsec { allow_peer_ts = yes }
		}
	}
	swanctl { load = random nonce aes sha1 sha2 hmac openssl }`)
	tunnel := write("swanctl.conf", `connections { aws {
		version = 2
		local_addrs = LOCAL
		remote_addrs = REMOTE
		encap = yes
		mobike = no
		proposals = PROPOSAL
		local { auth = psk
			id = LOCAL }
		remote { auth = psk
			id = REMOTE }
		children { net {
			local_ts = 0.0.0.0/0
			remote_ts = 0.0.0.0/0
			esp_proposals = PROPOSAL
		} }
	} }
	secrets { ike-1 { secret = "PSK" } }`)
	vici := filepath.Join(c.dir, "vici")
	env := "STRONGSWAN_CONF=" + main
	if _, err := os.Stat(vici); err != nil {
		cmd := exec.Command(charonProgram)
		cmd.Env = append(os.Environ(), env)
		if err := c.enter(cmd.Start); err != nil {
			c.t.Fatal(err)
		}
		c.t.Cleanup(func() {
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
		})
		for end := time.Now().Add(10 * time.Second); ; time.Sleep(20 * time.Millisecond) {
			if _, err := os.Stat(vici); err == nil {
				break
			}
			if time.Now().After(end) {
				c.t.Fatal("the company's strongSwan does not start")
			}
		}
		c.run("sh", "-c", "ip route add 10.0.0.0/16 dev ipsec0 src "+c.lan())
	}
	uri := "unix://" + vici
	c.run("env", env, "swanctl", "--load-all", "--clear", "--noprompt", "--file", tunnel, "--uri", uri)
	return c.try("env", env, "swanctl", "--initiate", "--child", "net", "--timeout", "10", "--uri", uri)
}

func (c *company) hangUp() {
	c.run("env", "STRONGSWAN_CONF="+filepath.Join(c.dir, "strongswan.conf"), "swanctl", "--terminate", "--ike", "aws", "--uri", "unix://"+filepath.Join(c.dir, "vici"))
}

// lan is the company's address in its own network.
func (c *company) lan() string {
	for _, w := range strings.Fields(c.run("ip", "-4", "-o", "addr", "show", "dev", "lo")) {
		if p, err := netip.ParsePrefix(w); err == nil && !p.Addr().IsLoopback() {
			return p.Addr().String()
		}
	}
	c.t.Fatal("no address")
	return ""
}

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
	needStrongSwan(t)
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
	one, two := newCompany(t, host, 10, "192.168.7.1"), newCompany(t, host, 20, "192.168.7.1")
	for _, c := range []*company{one, two} {
		c.listen(7)
	}
	waitReady(t, d, 4)
	ga.cannotReach("192.168.7.1:7")

	t.Run("attacks on the call", func(t *testing.T) {
		for name, tun := range map[string]ipsec{
			"another tenant's secret":  {gateway: "198.51.100.111", psk: "secret2_1"},
			"the other tunnel's":       {gateway: "198.51.100.111", psk: "secret1_2"},
			"another tenant's gateway": {gateway: "198.51.100.121", psk: "secret2_1"},
			"weak encryption":          {gateway: "198.51.100.111", psk: "secret1_1", proposal: "3des-sha1-modp1024"},
			"weak group":               {gateway: "198.51.100.111", psk: "secret1_1", proposal: "aes128-sha256-modp1024"},
			"no encryption":            {gateway: "198.51.100.111", psk: "secret1_1", proposal: "null-sha256-modp2048"},
		} {
			if out, err := one.call(tun); err == nil {
				t.Errorf("%s: the tunnel is there:\n%s", name, out)
			}
		}
	})
	if out, err := one.call(ipsec{gateway: "198.51.100.111", psk: "secret1_1"}); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	waitTunnel(t, d, c1.Tunnels[0].ID, true)
	if seen := one.reaches("10.0.1.10:7"); seen != "192.168.7.1" {
		t.Errorf("came as %s", seen)
	}
	if seen := ga.reaches("192.168.7.1:7"); seen != "10.0.1.10" {
		t.Errorf("came as %s", seen)
	}
	t.Run("all Internet traffic by the company", func(t *testing.T) {
		one.run("ip", "addr", "add", "192.0.2.80/32", "dev", "lo") // what the company would lead to
		ga.reaches("192.0.2.80:7")
	})
	t.Run("nothing else", func(t *testing.T) {
		one.cannotReach("10.0.1.10:8")                                                   // the group says no
		one.cannotReach("10.0.1.1:53")                                                   // the VPC's own
		one.cannotReach("10.0.0.2:53")                                                   // its resolver
		one.cannotReach("198.51.100.111:22")                                             // the gateway itself
		gpub.cannotReach("192.168.7.1:7")                                                // a subnet whose table has no such route
		gb.cannotReach("192.168.7.1:7")                                                  // the other tenant, whose tunnel is down
		two.cannotReach("10.0.1.10:7")                                                   // a company without a tunnel
		for _, source := range []string{"10.0.0.99", "169.254.169.254", "169.254.1.5"} { // spoofed inside
			one.run("ip", "addr", "add", source+"/32", "dev", "lo")
			if out, err := one.try("busybox", "nc", "-w", "1", "-s", source, "10.0.1.10", "7"); err == nil && out != "" {
				t.Errorf("%s was let in: %s", source, out)
			}
			one.run("ip", "addr", "del", source+"/32", "dev", "lo")
		}
	})
	t.Run("plain packets stay inside", func(t *testing.T) {
		out := (&lab{d.nats[c1.Tunnels[0].ID], t}).run("ip", "route", "get", "8.8.8.8", "from", "10.0.1.10", "iif", "up0", "mark", "1")
		if !strings.Contains(out, "dev ipsec0") {
			t.Errorf("a packet for the customer takes %s", out)
		}
	})
	t.Run("failover", func(t *testing.T) {
		one.hangUp()
		waitTunnel(t, d, c1.Tunnels[0].ID, false)
		ga.cannotReach("192.168.7.1:7")
		if out, err := one.call(ipsec{gateway: "198.51.100.112", psk: "secret1_2"}); err != nil {
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
