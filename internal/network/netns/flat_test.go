package netns

import (
	"bytes"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"karri.dev/internal/network"
	"karri.dev/internal/network/netlab"
	"karri.dev/internal/nodeapi"
	"karri.dev/internal/resource"
)

var officeRange = netip.MustParsePrefix("192.168.77.0/24")

// flatHost is a host on an operator's network.
func flatHost(t *testing.T) (*lab, *netlab.Office) {
	t.Helper()
	host := newLab(t)
	return host, netlab.NewOffice(t, host.name, "office0", officeRange)
}

func flatNIC(n int, ip string) network.FlatInterface {
	i := network.FlatInterface{ID: fmt.Sprintf("eni-%017x", n), InstanceID: fmt.Sprintf("i-%017x", n), MAC: fmt.Sprintf("0a:00:00:00:00:%02x", n)}
	if ip != "" {
		i.IP = netip.MustParseAddr(ip)
	}
	return i
}

func flatState(dhcp *network.FlatDHCP, nics ...network.FlatInterface) network.State {
	return network.State{Flat: &network.Flat{ID: "flat-zone", Bridge: "office0", Interfaces: nics, DHCP: dhcp}}
}

// newFlatGuest puts a machine on a card, without an address.
func newFlatGuest(t *testing.T, d *Driver, nic network.FlatInterface) *guest {
	t.Helper()
	g := &guest{lab: newLab(t), nic: network.Interface{ID: nic.ID, MAC: nic.MAC}, done: make(chan struct{}, 2)}
	tap, err := d.OpenTap(t.Context(), nic.ID)
	if err != nil {
		t.Fatal(err)
	}
	err = g.enter(func() error {
		g.files[1], err = openTap("eth0")
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	g.files[0] = tap
	for i := range 2 {
		go netlab.Splice(g.files[i], g.files[1-i], g.done)
	}
	t.Cleanup(g.unplug)
	g.run("ip", "link", "set", "eth0", "address", nic.MAC, "up")
	return g
}

const leaseScript = `#!/bin/sh
[ "$1" = bound ] || exit 0
ip addr replace "$ip/$mask" dev eth0
ip route replace default via $router
echo "bound $ip router $router dns $dns server $serverid"
`

// lease asks a DHCP server, and says what came of it.
func (g *guest) lease() (string, error) {
	g.t.Helper()
	script := filepath.Join(g.t.TempDir(), "script")
	if err := os.WriteFile(script, []byte(leaseScript), 0o755); err != nil {
		g.t.Fatal(err)
	}
	return g.try("busybox", "udhcpc", "-i", "eth0", "-s", script, "-n", "-q", "-f", "-t", "5", "-T", "1")
}

func (g *guest) leases(want string) {
	g.t.Helper()
	if out, err := g.lease(); err != nil || !strings.Contains(out, "bound "+want) {
		g.t.Fatalf("DHCP: %v, want %q:\n%s", err, want, out)
	}
}

// learns waits until the driver tells these addresses.
func learns(t *testing.T, d *Driver, want ...network.LearnedAddress) {
	t.Helper()
	var got []network.LearnedAddress
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		if got = d.Learned(); fmt.Sprint(got) == fmt.Sprint(want) {
			return
		}
	}
	t.Fatalf("learned %v, want %v", got, want)
}

// TestSystem: guests on the operator's network, with addresses of its DHCP server.
func TestSystem(t *testing.T) {
	t.Parallel()
	host, office := flatHost(t)
	office.ServeDHCP()
	config := Config{Name: fmt.Sprintf("s%dx", os.Getpid()%10000)}
	d := newDriver(t, host, config, metadata{"flat-zone 192.168.77.100": nodeapi.Metadata{ImageID: "ami-a", Options: resource.IMDSOptions{HopLimit: 1}}})
	a, b := flatNIC(1, ""), flatNIC(2, "")
	apply(t, d, flatState(nil, a, b))
	ga, gb := newFlatGuest(t, d, a), newFlatGuest(t, d, b)
	router := office.Router.String()

	// Before DHCP nobody has an address.
	ga.run("ip", "addr", "add", "192.168.77.50/24", "dev", "eth0")
	if _, err := ga.try("busybox", "ping", "-c1", "-W1", router); err == nil {
		t.Error("a guest uses an address that nobody gave it")
	}
	ga.run("ip", "addr", "flush", "dev", "eth0")
	ga.leases("192.168.77.100")
	gb.leases("192.168.77.101")
	ga.run("busybox", "ping", "-c1", "-W5", router)
	gb.run("busybox", "ping", "-c1", "-W5", router)
	ga.run("busybox", "ping", "-c1", "-W5", "192.168.77.101") // no isolation between guests
	if out, err := office.Try("busybox", "ping", "-c1", "-W5", "192.168.77.100"); err != nil {
		t.Errorf("the office does not reach a guest: %s", out)
	}
	learns(t, d, network.LearnedAddress{Interface: a.ID, IP: office.Lease(a.MAC)}, network.LearnedAddress{Interface: b.ID, IP: office.Lease(b.MAC)})

	// The zone knows them now.
	a.IP, b.IP = office.Lease(a.MAC), office.Lease(b.MAC)
	apply(t, d, flatState(nil, a, b))
	learns(t, d)
	ga.run("busybox", "ping", "-c1", "-W5", router)
	if code, text := ga.get("/latest/meta-data/ami-id"); code != 200 || text != "ami-a" {
		t.Errorf("metadata: %d %q", code, text)
	}
	if out := office.Run("ip", "neigh"); strings.Contains(out, "169.254") {
		t.Errorf("metadata leaks to the office: %s", out)
	}

	// A driver that starts anew finds what the kernel learned while there was none.
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	office.Move(b.MAC, netip.MustParseAddr("192.168.77.120"))
	gb.run("ip", "addr", "flush", "dev", "eth0")
	gb.leases("192.168.77.120")
	gb.run("busybox", "ping", "-c1", "-W5", router)
	d = newDriver(t, host, config, nil)
	apply(t, d, flatState(nil, a, b))
	learns(t, d, network.LearnedAddress{Interface: b.ID, IP: netip.MustParseAddr("192.168.77.120")})
	ga.run("busybox", "ping", "-c1", "-W5", router)
	gb.run("busybox", "ping", "-c1", "-W5", router)
	b.IP = netip.MustParseAddr("192.168.77.120")
	apply(t, d, flatState(nil, a, b))
	gb.run("busybox", "ping", "-c1", "-W5", router)
	gb.run("ip", "addr", "add", "192.168.77.101/24", "dev", "eth0")
	if _, err := gb.try("busybox", "ping", "-I", "192.168.77.101", "-c1", "-W1", router); err == nil {
		t.Error("a guest keeps the address that it had before")
	}
	// One leaves, the other does not notice.
	apply(t, d, flatState(nil, a))
	ga.run("busybox", "ping", "-c1", "-W5", router)
	apply(t, d, network.State{})
	if out := host.run("ip", "-o", "link"); strings.Contains(out, "kf-") {
		t.Errorf("the uplink stays: %s", out)
	}
}

// TestStatic: our DHCP server gives the operator's addresses, and the office's server nothing.
func TestStatic(t *testing.T) {
	t.Parallel()
	host, office := flatHost(t)
	office.ServeDHCP()
	d := newDriver(t, host, Config{}, metadata{"flat-zone 192.168.77.20": nodeapi.Metadata{ImageID: "ami-a", Options: resource.IMDSOptions{HopLimit: 1}}})
	a, b := flatNIC(1, "192.168.77.20"), flatNIC(2, "192.168.77.21")
	dhcp := &network.FlatDHCP{Subnet: officeRange, Router: office.Router, Servers: addrs("192.168.77.2")}
	apply(t, d, flatState(dhcp, a, b))
	ga, gb := newFlatGuest(t, d, a), newFlatGuest(t, d, b)
	ga.leases("192.168.77.20 router 192.168.77.1 dns 192.168.77.2 server 169.254.169.254")
	gb.leases("192.168.77.21 router")
	ga.run("busybox", "ping", "-c1", "-W5", office.Router.String())
	ga.run("busybox", "ping", "-c1", "-W5", "192.168.77.21")
	if code, text := ga.get("/latest/meta-data/ami-id"); code != 200 || text != "ami-a" {
		t.Errorf("metadata: %d %q", code, text)
	}
	if len(d.Learned()) > 0 {
		t.Errorf("learned %v", d.Learned())
	}
}

// TestFlatAttacks: what root in a guest of a flat network tries against its neighbour and the office.
func TestFlatAttacks(t *testing.T) {
	for name, ours := range map[string]bool{"SYSTEM": false, "STATIC": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			host, office := flatHost(t)
			d := newDriver(t, host, Config{}, metadata{})
			var dhcp *network.FlatDHCP
			if ours {
				dhcp = &network.FlatDHCP{Subnet: officeRange, Router: office.Router}
			}
			a, b := flatNIC(1, "192.168.77.20"), flatNIC(2, "192.168.77.21")
			apply(t, d, flatState(dhcp, a, b))
			evil, victim := newFlatGuest(t, d, a), newFlatGuest(t, d, b)
			for g, ip := range map[*guest]string{evil: "192.168.77.20/24", victim: "192.168.77.21/24"} {
				g.run("ip", "addr", "add", ip, "dev", "eth0")
			}
			router := office.Router.String()
			seen, out := victim.card(), evil.card()
			ip := func(from, to string, body []byte) []byte { return ip4(from, to, 17, 7, 0, false, body) }
			note := append([]byte(marker), 0)
			grant := func(kind byte, client, yours string) []byte {
				m := make([]byte, 240, 260)
				m[0], m[1], m[2] = 2, 1, 6
				copy(m[16:], netip.MustParseAddr(yours).AsSlice())
				copy(m[28:], mac(client))
				copy(m[44:], marker)
				copy(m[236:], []byte{99, 130, 83, 99})
				return append(m, 53, 1, kind, 255)
			}
			for what, frame := range map[string][]byte{
				"another's MAC":              ether(b.MAC, "0a:00:00:00:00:09", 0x0800, ip("192.168.77.20", "192.168.77.21", udpTo(9, 9, note))),
				"the router's MAC":           ether(broadcastMAC, "fe:6b:61:72:72:08", 0x0800, ip("192.168.77.20", "255.255.255.255", udpTo(9, 9, note))),
				"the router's address":       ether(b.MAC, a.MAC, 0x0800, ip(router, "192.168.77.21", udpTo(9, 9, note))),
				"a free address":             ether(b.MAC, a.MAC, 0x0800, ip("192.168.77.99", "192.168.77.21", udpTo(9, 9, note))),
				"no address":                 ether(b.MAC, a.MAC, 0x0800, ip("0.0.0.0", "192.168.77.21", udpTo(9, 9, note))),
				"metadata's address":         ether(b.MAC, a.MAC, 0x0800, ip("169.254.169.254", "192.168.77.21", udpTo(80, 9, note))),
				"ARP for the router":         arpFrame(b.MAC, a.MAC, 2, a.MAC, router, b.MAC, "192.168.77.21"),
				"ARP for the victim":         arpFrame(broadcastMAC, a.MAC, 1, a.MAC, "192.168.77.21", "00:00:00:00:00:00", "192.168.77.21"),
				"ARP with another's MAC":     arpFrame(b.MAC, a.MAC, 2, "0a:00:00:00:00:09", "192.168.77.20", b.MAC, "192.168.77.21"),
				"a DHCP offer":               ether(broadcastMAC, a.MAC, 0x0800, ip("192.168.77.20", "255.255.255.255", udpTo(67, 68, grant(2, b.MAC, "192.168.77.66")))),
				"a DHCP ack":                 ether(b.MAC, a.MAC, 0x0800, ip("192.168.77.20", "192.168.77.21", udpTo(67, 68, grant(5, b.MAC, "192.168.77.66")))),
				"a DHCP ack to oneself":      ether(a.MAC, a.MAC, 0x0800, ip("192.168.77.20", "192.168.77.20", udpTo(67, 68, grant(5, a.MAC, "192.168.77.66")))),
				"a DHCP ack in two parts":    ether(b.MAC, a.MAC, 0x0800, ip4("192.168.77.20", "192.168.77.21", 17, 8, 0, true, udpTo(67, 68, grant(5, b.MAC, "192.168.77.66"))[:64])),
				"a router advertisement":     advertisement(a.MAC),
				"IPv6":                       ether(b.MAC, a.MAC, 0x86dd, append(make([]byte, 40), marker...)),
				"a VLAN tag":                 tagged(ether(b.MAC, a.MAC, 0x0800, ip("192.168.77.20", "192.168.77.21", udpTo(9, 9, note))), 0x81000005),
				"two VLAN tags":              tagged(ether(b.MAC, a.MAC, 0x0800, ip("192.168.77.20", "192.168.77.21", udpTo(9, 9, note))), 0x88a80005, 0x81000006),
				"a spanning tree's frame":    ether("01:80:c2:00:00:00", a.MAC, 0x0026, append([]byte{0x42, 0x42, 3}, marker...)),
				"an odd type":                ether(b.MAC, a.MAC, 0x88cc, []byte(marker)),
				"another's DHCP request":     ether(broadcastMAC, a.MAC, 0x0800, ip("0.0.0.0", "255.255.255.255", udpTo(68, 67, grant(1, b.MAC, "0.0.0.0")))),
				"a DHCP request through one": ether(broadcastMAC, a.MAC, 0x0800, ip("192.168.77.20", "255.255.255.255", udpTo(67, 67, grant(1, a.MAC, "0.0.0.0")))),
			} {
				t.Logf("%s: %d bytes", what, len(frame))
				out.send(frame)
			}
			// What is allowed comes last, and shows that the way was open.
			out.send(ether(b.MAC, a.MAC, 0x0800, ip("192.168.77.20", "192.168.77.21", udpTo(9, 9, []byte("the last one")))))
			for _, frame := range seen.until("the last one") {
				t.Errorf("the victim saw %x", frame)
			}
			if out := victim.run("ip", "neigh"); strings.Contains(out, router+" dev eth0 lladdr "+a.MAC) {
				t.Errorf("the victim takes the guest for its router: %s", out)
			}
			if learned, err := d.flat.lessons(); err != nil || len(learned) > 0 {
				t.Errorf("a guest taught %v, %v", learned, err)
			}
			// The metadata service knows nobody else: not from outside, and not under another's address.
			office.Run("ip", "route", "add", "169.254.169.254/32", "dev", "e0")
			if out, err := office.Try("busybox", "ping", "-c1", "-W1", "169.254.169.254"); err == nil {
				t.Errorf("the office reaches the metadata service: %s", out)
			}
			if bytes.Contains([]byte(host.run("ip", "-o", "addr")), []byte("169.254.169.254")) {
				t.Error("the host itself has the metadata service's address")
			}
		})
	}
}
