package netns

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"karri.dev/internal/network"
	"karri.dev/internal/network/netlab"
	"karri.dev/internal/nodeapi"
)

// The lab: every test's "host" is a network namespace of its own with no way out, guests are namespaces whose
// only link is a second tap, spliced to the driver's tap as a hypervisor would be.

var labNames atomic.Int64

// lab is one namespace standing for a machine or a guest.
type lab struct {
	*space
	t testing.TB
}

func newLab(t testing.TB) *lab {
	t.Helper()
	netlab.NeedRoot(t)
	name := fmt.Sprintf("lab%d-%d", os.Getpid(), labNames.Add(1))
	if err := createNamespace(filepath.Join(runDir, name)); err != nil {
		t.Fatal(err)
	}
	s, err := openSpace(name, filepath.Join(runDir, name), false, &atomic.Int64{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		s.close()
		if err := removeNamespace(name); err != nil {
			t.Error(err)
		}
		removeRunDir()
	})
	l := &lab{s, t}
	l.run("ip", "link", "set", "lo", "up")
	return l
}

// path is where the namespace is.
func (l *lab) path() string { return filepath.Join(runDir, l.name) }

// try runs a program in the namespace.
func (l *lab) try(args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, "ip", append([]string{"netns", "exec", l.name}, args...)...)
	b, err := cmd.CombinedOutput()
	return string(b), err
}

func (l *lab) run(args ...string) string {
	l.t.Helper()
	out, err := l.try(args...)
	if err != nil {
		l.t.Fatalf("%s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return out
}

// guest is a machine on one of the driver's taps.
type guest struct {
	*lab
	nic   network.Interface
	files [2]*os.File
	done  chan struct{}
}

// newGuest puts a machine on an applied interface. It has the interface's MAC, and its address if configured.
func newGuest(t testing.TB, d *Driver, nic network.Interface, subnet netip.Prefix) *guest {
	t.Helper()
	g := &guest{lab: newLab(t), nic: nic, done: make(chan struct{}, 2)}
	host, err := d.OpenTap(t.Context(), nic.ID)
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
	g.files[0] = host
	for i := range 2 {
		go netlab.Splice(g.files[i], g.files[1-i], g.done)
	}
	t.Cleanup(g.unplug)
	g.run("ip", "link", "set", "eth0", "address", nic.MAC, "mtu", fmt.Sprint(d.MTU()), "up")
	g.run("ip", "addr", "add", netip.PrefixFrom(nic.PrivateIP, subnet.Bits()).String(), "dev", "eth0")
	g.run("ip", "route", "add", "default", "via", subnet.Masked().Addr().Next().String())
	return g
}

func (g *guest) unplug() {
	if g.files[0] == nil {
		return
	}
	for _, f := range g.files {
		f.Close()
	}
	<-g.done
	<-g.done
	g.files[0] = nil
}

// listen opens a TCP echo server in the namespace.
func (l *lab) listen(port int) {
	l.t.Helper()
	var s net.Listener
	err := l.enter(func() (err error) {
		s, err = net.Listen("tcp", fmt.Sprintf(":%d", port))
		return err
	})
	if err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(func() { s.Close() })
	go netlab.Echo(s)
}

// patience is how long a test waits for what should not come. What should come is waited for much longer.
const patience = 400 * time.Millisecond

// dial connects from the namespace and gives the address that the server saw.
func (l *lab) dial(to string, wait time.Duration) (net.Conn, string, error) {
	var c net.Conn
	err := l.enter(func() (err error) {
		c, err = (&net.Dialer{Timeout: wait}).Dial("tcp", to)
		return err
	})
	if err != nil {
		return nil, "", err
	}
	seen, err := netlab.Seen(c)
	return c, seen, err
}

// reaches demands that TCP to an address works, and gives whom the server saw.
func (l *lab) reaches(to string) string {
	l.t.Helper()
	c, seen, err := l.dial(to, 10*time.Second)
	if err != nil {
		l.t.Fatalf("%s does not reach %s: %v", l.name, to, err)
	}
	c.Close()
	return seen
}

func (l *lab) cannotReach(to string) {
	l.t.Helper()
	if c, seen, err := l.dial(to, patience); err == nil {
		c.Close()
		l.t.Fatalf("%s reaches %s as %s", l.name, to, seen)
	}
}

// metadata answers from a map by "vpc address".
type metadata map[string]nodeapi.Metadata

func (m metadata) Lookup(vpc string, ip netip.Addr) (nodeapi.Metadata, bool) {
	v, ok := m[vpc+" "+ip.String()]
	return v, ok
}

// newDriver makes a driver on a host; Destroy is part of the test's end.
func newDriver(t testing.TB, host *lab, cfg Config, m Metadata) *Driver {
	t.Helper()
	if cfg.Name == "" {
		cfg.Name = fmt.Sprintf("t%d", labNames.Add(1)) + fmt.Sprintf("x%d", os.Getpid()%10000)
		cfg.Name = cfg.Name[:min(8, len(cfg.Name))]
	}
	cfg.HostNamespace = host.path()
	cfg.Verify = -1
	d, err := New(cfg, Deps{Metadata: m, API: testAPI, Log: slog.New(slog.NewTextHandler(t.Output(), nil))})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Destroy(context.Background()); err != nil && !errors.Is(err, errClosed) {
			t.Error(err)
		}
		d.Close()
	})
	return d
}

func apply(t testing.TB, d *Driver, s network.State) {
	t.Helper()
	if err := d.Apply(t.Context(), s); err != nil {
		t.Fatal(err)
	}
}

var everything = netip.MustParsePrefix("0.0.0.0/0")

func all(egress bool) network.Rule {
	return network.Rule{Egress: egress, Protocol: -1, CIDR: everything}
}

func tcp(port int, from string) network.Rule {
	return network.Rule{Protocol: 6, Ports: network.PortRange{From: port, To: port}, CIDR: netip.MustParsePrefix(from)}
}

// plainVPC is a VPC with two subnets, the first one public, and a group that lets TCP 7 in from everywhere.
func plainVPC(id string, vni uint32) network.VPC {
	return network.VPC{
		ID: id, VNI: vni, CIDRs: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/16")},
		Subnets: []network.Subnet{
			{ID: "subnet-a", Index: 1, CIDR: netip.MustParsePrefix("10.0.0.0/24"), RouteTable: "rtb-pub"},
			{ID: "subnet-b", Index: 2, CIDR: netip.MustParsePrefix("10.0.1.0/24"), RouteTable: "rtb-priv"},
		},
		RouteTables: []network.RouteTable{
			{ID: "rtb-pub", Index: 1, Routes: []network.Route{{Destination: everything, Target: network.InternetGateway}}},
			{ID: "rtb-priv", Index: 2},
		},
		Groups: []network.Group{{ID: "sg-echo", Rules: []network.Rule{all(true), tcp(7, "0.0.0.0/0")}}},
		DNS:    network.DNS{Domain: "ec2.internal"},
	}
}

func nic(n int, subnet, ip string, groups ...string) network.Interface {
	if len(groups) == 0 {
		groups = []string{"sg-echo"}
	}
	return network.Interface{
		ID: fmt.Sprintf("eni-%017x", n), InstanceID: fmt.Sprintf("i-%017x", n), SubnetID: subnet,
		MAC: fmt.Sprintf("02:00:00:00:%02x:%02x", n>>8, n&255), PrivateIP: netip.MustParseAddr(ip), Groups: groups,
		Hostname: "ip-" + strings.ReplaceAll(ip, ".", "-"),
	}
}

func withPublic(i network.Interface, ip string) network.Interface {
	i.PublicIP = netip.MustParseAddr(ip)
	return i
}

var pool = []netip.Prefix{netip.MustParsePrefix("198.51.100.0/24")}

func state(vpcs ...network.VPC) network.State { return network.State{PublicPool: pool, VPCs: vpcs} }

var (
	subnetA = netip.MustParsePrefix("10.0.0.0/24")
	subnetB = netip.MustParsePrefix("10.0.1.0/24")
)

func addrs(list ...string) []netip.Addr {
	out := make([]netip.Addr, len(list))
	for i, a := range list {
		out[i] = netip.MustParseAddr(a)
	}
	return out
}

// testAPI answers every request with who it is made for.
func testAPI(_ context.Context, vpcID, endpoint string, guest netip.AddrPort) (net.Conn, error) {
	near, far := net.Pipe()
	go func() {
		defer far.Close()
		r, err := http.ReadRequest(bufio.NewReader(far))
		if err != nil {
			return
		}
		text := vpcID + " " + guest.Addr().String() + " " + r.URL.Path
		if endpoint != "" {
			text += " by " + endpoint
		}
		fmt.Fprintf(far, "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s", len(text), text)
	}()
	return near, nil
}
