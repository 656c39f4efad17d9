package netlab

import (
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// NeedStrongSwan skips a test where the packages of VPNs are missing.
func NeedStrongSwan(t testing.TB) {
	t.Helper()
	for _, program := range []string{"charon-systemd", "swanctl"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skip("strongSwan is not installed: scripts/deps test")
		}
	}
}

// Company is a network of somebody's own: a machine on a link outside of the cloud, with strongSwan and a network
// behind it.
type Company struct {
	*Space
	LAN string // its address in its own network
	ip  netip.Prefix
	dir string
}

// NewCompany puts a company on a bridge of a namespace.
func NewCompany(t testing.TB, namespace, bridge, ip, lan string) *Company {
	t.Helper()
	c := &Company{Space: New(t), LAN: lan, ip: netip.MustParsePrefix(ip), dir: t.TempDir()}
	link := "c" + c.Name[max(0, len(c.Name)-10):]
	c.Run("ip", "link", "add", "e0", "type", "veth", "peer", "name", link, "netns", namespace)
	c.Run("ip", "-n", namespace, "link", "set", link, "master", bridge, "up")
	c.Run("ip", "addr", "add", ip, "dev", "e0")
	c.Run("ip", "link", "set", "e0", "up")
	c.Run("ip", "addr", "add", lan+"/32", "dev", "lo")
	// What strongSwan itself would lead into its tunnel is everything, the tunnel too.
	c.Run("ip", "rule", "add", "pref", "200", "lookup", "main")
	c.Run("ip", "rule", "add", "pref", "300", "unreachable")
	return c
}

// Tunnel is one end of a VPN tunnel as a customer's configuration says it. Proposal is strongSwan's, of both phases.
type Tunnel struct{ Gateway, PSK, Proposal string }

func (c *Company) env() string { return "STRONGSWAN_CONF=" + filepath.Join(c.dir, "strongswan.conf") }

func (c *Company) swanctl(args ...string) []string {
	return append(append([]string{"env", c.env(), "swanctl"}, args...), "--uri", "unix://"+filepath.Join(c.dir, "vici"))
}

// Call has the company's strongSwan call a gateway, and gives what it says of it.
func (c *Company) Call(tun Tunnel) (string, error) {
	c.t.Helper()
	if tun.Proposal == "" {
		tun.Proposal = "aes128-sha256-modp2048"
	}
	conf := strings.NewReplacer("LOCAL", c.ip.Addr().String(), "REMOTE", tun.Gateway, "SECRET", tun.PSK, "PROPOSAL", tun.Proposal)
	return c.CallBy(conf.Replace(tunnelConfig), "net")
}

// CallBy has the company's strongSwan take a whole configuration and call by one child of it.
func (c *Company) CallBy(config, child string) (string, error) {
	c.t.Helper()
	write := func(name, text string) string {
		path := filepath.Join(c.dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			c.t.Fatal(err)
		}
		return path
	}
	if _, err := os.Stat(filepath.Join(c.dir, "vici")); err != nil {
		write("strongswan.conf", strings.ReplaceAll(daemonConfig, "DIR", c.dir))
		c.startDaemon()
	}
	c.Run(c.swanctl("--load-all", "--clear", "--noprompt", "--file", write("swanctl.conf", config))...)
	return c.Try(c.swanctl("--initiate", "--child", child, "--timeout", "10")...)
}

func (c *Company) startDaemon() {
	c.t.Helper()
	cmd := exec.Command("charon-systemd")
	cmd.Env = append(os.Environ(), c.env())
	if err := c.Enter(cmd.Start); err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		if _, err := os.Stat(filepath.Join(c.dir, "vici")); err == nil {
			return
		}
		if time.Now().After(end) {
			c.t.Fatal("the company's strongSwan does not start")
		}
	}
}

// Route leads a range of the cloud's into the tunnel.
func (c *Company) Route(block string) {
	c.t.Helper()
	c.Run("ip", "route", "replace", block, "dev", "ipsec0", "src", c.LAN)
}

// HangUp ends the tunnel.
func (c *Company) HangUp() { c.End("aws") }

// End ends the tunnel of a connection of a configuration of its own.
func (c *Company) End(connection string) {
	c.t.Helper()
	if out, err := c.Try(c.swanctl("--terminate", "--ike", connection)...); err != nil {
		c.t.Fatal(fmt.Errorf("%w\n%s", err, out))
	}
}

// BGP starts the company's router: it tells the gateway of ranges and follows what the gateway tells. inside is its
// address in the tunnel. The function that it gives ends it.
func (c *Company) BGP(inside, gateway string, as, cloud uint32, ranges ...string) (end func()) {
	c.t.Helper()
	if _, err := exec.LookPath("bird"); err != nil {
		c.t.Skip("bird is not installed: scripts/deps test")
	}
	c.Run("ip", "addr", "replace", inside+"/30", "dev", "ipsec0")
	var routes strings.Builder
	for _, r := range ranges {
		fmt.Fprintf(&routes, "route %s blackhole; ", r)
	}
	conf := fmt.Sprintf(`router id %[1]s;
protocol device {}
protocol static { ipv4; %[2]s }
protocol kernel { ipv4 { import none; export filter { if source != RTS_BGP then reject; krt_prefsrc = %[3]s; accept; }; }; }
protocol bgp cloud {
	local %[1]s as %[4]d;
	neighbor %[5]s as %[6]d;
	connect retry time 1;
	error wait time 1, 1;
	ipv4 { import all; export where source = RTS_STATIC; };
}
`, inside, routes.String(), c.LAN, as, gateway, cloud)
	file := filepath.Join(c.dir, "bird.conf")
	if err := os.WriteFile(file, []byte(conf), 0o600); err != nil {
		c.t.Fatal(err)
	}
	cmd := exec.Command("bird", "-f", "-c", file, "-s", filepath.Join(c.dir, "bird.ctl"), "-P", filepath.Join(c.dir, "bird.pid"))
	if err := c.Enter(cmd.Start); err != nil {
		c.t.Fatal(err)
	}
	ended := false
	end = func() {
		if !ended {
			ended = true
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
		}
	}
	c.t.Cleanup(end)
	return end
}

const daemonConfig = `charon-systemd {
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
swanctl { load = random nonce aes sha1 sha2 hmac openssl }
`

const tunnelConfig = `connections { aws {
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
secrets { ike-1 { secret = "SECRET" } }
`
