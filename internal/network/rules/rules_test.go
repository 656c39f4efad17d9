package rules

import (
	"flag"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"karri.dev/internal/network"
)

var update = flag.Bool("update", false, "write the golden files anew")

func prefix(s string) netip.Prefix { return netip.MustParsePrefix(s) }
func addr(s string) netip.Addr     { return netip.MustParseAddr(s) }

// full is a state that has some of everything.
func full() network.State {
	return network.State{
		PublicPool: []netip.Prefix{prefix("198.51.100.0/24")},
		VPCs: []network.VPC{{
			ID: "vpc-1", VNI: 1, CIDRs: []netip.Prefix{prefix("10.0.0.0/16")},
			Subnets: []network.Subnet{
				{ID: "subnet-a", Index: 1, CIDR: prefix("10.0.0.0/24"), RouteTable: "rtb-1"},
				{ID: "subnet-b", Index: 2, CIDR: prefix("10.0.1.0/24"), RouteTable: "rtb-2", ACL: "acl-1"},
			},
			RouteTables: []network.RouteTable{
				{ID: "rtb-1", Index: 1, Routes: []network.Route{
					{Destination: prefix("0.0.0.0/0"), Target: network.InternetGateway},
					{Destination: prefix("192.0.2.0/24"), Target: network.Blackhole},
				}},
				{ID: "rtb-2", Index: 2},
			},
			ACLs: []network.ACL{{ID: "acl-1", Entries: []network.ACLEntry{
				{Allow: true, Protocol: 6, CIDR: prefix("10.0.0.0/24"), Ports: network.PortRange{From: 22, To: 22}},
				{Protocol: 1, CIDR: prefix("0.0.0.0/0"), Ports: network.PortRange{From: -1}},
				{Egress: true, Allow: true, Protocol: -1, CIDR: prefix("0.0.0.0/0")},
			}}},
			Groups: []network.Group{
				{ID: "sg-db", Members: []netip.Addr{addr("10.0.1.5")}, Rules: []network.Rule{
					{Protocol: 6, Ports: network.PortRange{From: 5432, To: 5433}, Group: "sg-web"},
					{Protocol: 1, Ports: network.PortRange{From: 8, To: -1}, CIDR: prefix("0.0.0.0/0")},
				}},
				{ID: "sg-web", Members: []netip.Addr{addr("10.0.0.5"), addr("10.0.0.7")}, Rules: []network.Rule{
					{Egress: true, Protocol: -1, CIDR: prefix("0.0.0.0/0")},
					{Protocol: 6, Ports: network.PortRange{From: 443, To: 443}, CIDR: prefix("0.0.0.0/0")},
					{Protocol: 17, Ports: network.PortRange{From: 0, To: 65535}, CIDR: prefix("192.0.2.0/28")},
					{Protocol: 47, CIDR: prefix("192.0.2.1/32")},
					{Protocol: 6, Ports: network.PortRange{From: 1, To: 2}, Group: "sg-gone"},
				}},
			},
			Interfaces: []network.Interface{
				{ID: "eni-0000000000000000a", InstanceID: "i-a", SubnetID: "subnet-a", MAC: "02:00:00:00:00:05", PrivateIP: addr("10.0.0.5"), PublicIP: addr("198.51.100.5"), Groups: []string{"sg-web"}},
				{ID: "eni-0000000000000000b", InstanceID: "i-b", SubnetID: "subnet-b", MAC: "02:00:00:00:00:06", PrivateIP: addr("10.0.1.5"), PublicIP: addr("198.51.100.6"), Groups: []string{"sg-web", "sg-db"}, NoSourceCheck: true},
			},
			Remotes: []network.Remote{{PrivateIP: addr("10.0.0.7"), MAC: "02:00:00:00:00:07", Underlay: addr("172.16.0.2"), SubnetID: "subnet-a"}},
			DNS:     network.DNS{Domain: "ec2.internal"},
		}},
	}
}

// routed is full with NAT gateways here and elsewhere, routes to interfaces, and a peering.
func routed() network.State {
	s := full()
	v := &s.VPCs[0]
	v.Interfaces[0].Secondary = []network.Address{{Private: addr("10.0.0.8"), Public: addr("198.51.100.8")}}
	v.Interfaces[0].Prefixes = []netip.Prefix{prefix("10.0.0.64/28")}
	v.Remotes[0].ID, v.Remotes[0].Others = "eni-far", []netip.Prefix{prefix("10.0.0.9/32")}
	v.NATGateways = []network.NATGateway{
		{ID: "nat-1", SubnetID: "subnet-a", MAC: "02:00:00:00:00:50", Addresses: []network.Address{{Private: addr("10.0.0.50"), Public: addr("198.51.100.50")}}},
		{ID: "nat-2", SubnetID: "subnet-a", MAC: "02:00:00:00:00:51", Underlay: addr("172.16.0.2"), Addresses: []network.Address{{Private: addr("10.0.0.51")}}},
	}
	v.Peerings = []network.Peering{{ID: "pcx-1", VPC: "vpc-2", CIDRs: []netip.Prefix{prefix("10.2.0.0/16")}}}
	v.RouteTables[1].Routes = []network.Route{
		{Destination: prefix("0.0.0.0/0"), Target: network.ToNATGateway, ID: "nat-1"},
		{Destination: prefix("192.168.1.0/24"), Target: network.ToNATGateway, ID: "nat-2"},
		{Destination: prefix("192.168.2.0/24"), Target: network.ToInterface, ID: "eni-far"},
		{Destination: prefix("192.168.3.0/24"), Target: network.ToInterface, ID: "eni-0000000000000000a"}, // it checks
		{Destination: prefix("10.0.0.0/24"), Target: network.ToInterface, ID: "eni-0000000000000000b"},
		{Destination: prefix("10.2.0.0/16"), Target: network.ToPeering, ID: "pcx-1"},
		{Destination: prefix("192.168.4.0/24"), Target: network.ToPeering, ID: "pcx-gone"},
		{Destination: prefix("192.168.5.0/24"), Target: network.ToVPNGateway},
	}
	s.VPCs = append(s.VPCs, network.VPC{
		ID: "vpc-2", VNI: 2, CIDRs: []netip.Prefix{prefix("10.2.0.0/16")},
		Subnets:     []network.Subnet{{ID: "subnet-c", Index: 1, CIDR: prefix("10.2.0.0/24"), RouteTable: "rtb-3"}},
		RouteTables: []network.RouteTable{{ID: "rtb-3", Index: 1}},
		Peerings:    []network.Peering{{ID: "pcx-1", VPC: "vpc-1", CIDRs: []netip.Prefix{prefix("10.0.0.0/16")}}},
		DNS:         network.DNS{Domain: "ec2.internal"},
	})
	return s
}

// dual is routed with IPv6 beside it.
func dual() network.State {
	s := routed()
	v, w := &s.VPCs[0], &s.VPCs[1]
	v.CIDRs, w.CIDRs = append(v.CIDRs, prefix("2001:db8:1::/56")), append(w.CIDRs, prefix("2001:db8:2::/56"))
	v.Subnets[0].CIDR6, v.Subnets[1].CIDR6 = prefix("2001:db8:1::/64"), prefix("2001:db8:1:1::/64")
	v.Interfaces[0].IPv6, v.Interfaces[1].IPv6 = []netip.Addr{addr("2001:db8:1::5"), addr("2001:db8:1::6")}, []netip.Addr{addr("2001:db8:1:1::5")}
	v.Interfaces[0].Prefixes = append(v.Interfaces[0].Prefixes, prefix("2001:db8:1:0:1::/80"))
	v.Remotes[0].Others = append(v.Remotes[0].Others, prefix("2001:db8:1::7/128"))
	v.RouteTables[1].Routes = append(v.RouteTables[1].Routes,
		network.Route{Destination: prefix("2001:db8:2::/56"), Target: network.ToPeering, ID: "pcx-1"},
		network.Route{Destination: prefix("::/0"), Target: network.InternetGateway},
		network.Route{Destination: prefix("2001:db8:a::/48"), Target: network.EgressOnly},
		network.Route{Destination: prefix("2001:db8:9::/48"), Target: network.ToInterface, ID: "eni-0000000000000000b"},
		network.Route{Destination: prefix("2001:db8:1::/64"), Target: network.ToInterface, ID: "eni-0000000000000000a"}, // it checks
		network.Route{Destination: prefix("::/0"), Target: network.Blackhole})
	v.Peerings[0].CIDRs, w.Peerings[0].CIDRs = w.CIDRs, v.CIDRs
	v.Groups[0].Members = append(v.Groups[0].Members, addr("2001:db8:1:1::5"))
	v.Groups[1].Members = append(v.Groups[1].Members, addr("2001:db8:1::5"))
	v.Groups[1].Rules = append(v.Groups[1].Rules,
		network.Rule{Egress: true, Protocol: -1, CIDR: prefix("::/0")},
		network.Rule{Protocol: 58, Ports: network.PortRange{From: 128, To: -1}, CIDR: prefix("::/0")},
		network.Rule{Protocol: 6, Ports: network.PortRange{From: 80, To: 80}, CIDR: prefix("2001:db8:2::/56")})
	v.ACLs[0].Entries = append(v.ACLs[0].Entries,
		network.ACLEntry{Allow: true, Protocol: 58, CIDR: prefix("::/0"), Ports: network.PortRange{From: 128, To: 0}},
		network.ACLEntry{Egress: true, Allow: true, Protocol: -1, CIDR: prefix("::/0")})
	return s
}

// onBridge is a state of an operator's flat network.
func onBridge(dhcp *network.FlatDHCP) network.State {
	return network.State{Flat: &network.Flat{ID: "flat-us-east-1a", Bridge: "br0", DHCP: dhcp, Interfaces: []network.FlatInterface{
		{ID: "eni-0000000000000000a", InstanceID: "i-a", MAC: "0a:00:00:00:00:05", IP: addr("192.168.7.5")},
		{ID: "eni-0000000000000000b", InstanceID: "i-b", MAC: "0a:00:00:00:00:06"},
	}}}
}

func TestCompile(t *testing.T) {
	bare := full()
	bare.VPCs = nil
	for name, c := range map[string]struct {
		o Options
		s network.State
	}{
		"empty":   {Options{Link: "kr-x"}, bare},
		"alone":   {Options{Link: "kr-x"}, full()},
		"overlay": {Options{Link: "kr-x", Underlay: addr("172.16.0.1")}, full()},
		"public":  {Options{Link: "kr-x", PublicInterface: "eth0"}, full()},
		"routes":  {Options{Link: "kr-x", Underlay: addr("172.16.0.1")}, routed()},
		"dual":    {Options{Link: "kr-x", Underlay: addr("172.16.0.1")}, dual()},
		"system":  {Options{Link: "kr-x"}, onBridge(nil)},
		"static":  {Options{Link: "kr-x"}, onBridge(&network.FlatDHCP{Subnet: prefix("192.168.7.0/24"), Router: addr("192.168.7.1")})},
	} {
		t.Run(name, func(t *testing.T) {
			h, err := Compile(c.o, c.s)
			if err != nil {
				t.Fatal(err)
			}
			golden(t, name, h.String())
			again, _ := Compile(c.o, c.s)
			if again.String() != h.String() {
				t.Error("compiling twice gives two things")
			}
			check(t, h)
		})
	}
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", name+".golden")
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(strings.Split(string(want), "\n"), strings.Split(got, "\n")); d != "" {
		t.Errorf("-want +got (go test -update writes the file anew):\n%s", d)
	}
}

// check lets nft read what we say in its words.
func check(t *testing.T, h Host) {
	t.Helper()
	if _, err := exec.LookPath("nft"); err != nil || os.Geteuid() != 0 {
		t.Log("nft does not check the text: needs root and nft")
		return
	}
	spaces := []Namespace{h.Root, h.Edge}
	for _, v := range h.VPCs {
		spaces = append(spaces, v.Namespace)
	}
	if h.Flat != nil && !strings.Contains(h.Flat.String(), "update @"+Learned) { // nft has no type for that
		spaces = append(spaces, h.Flat.Namespace)
	}
	for _, n := range spaces {
		for _, table := range n.Tables {
			cmd := exec.Command("unshare", "-n", "nft", "-c", "-f", "-")
			cmd.Stdin = strings.NewReader(table.String())
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Errorf("nft: %v\n%s", err, out)
			}
		}
	}
}

// TestBadInterfaces: what is wrong is left out and named, the rest stays whole.
func TestBadInterfaces(t *testing.T) {
	good := full().VPCs[0].Interfaces[0]
	for name, spoil := range map[string]func(*network.Interface){
		"subnet":            func(i *network.Interface) { i.SubnetID = "subnet-x" },
		"MAC":               func(i *network.Interface) { i.MAC = "junk" },
		"multicast MAC":     func(i *network.Interface) { i.MAC = "01:00:5e:00:00:01" },
		"the router's MAC":  func(i *network.Interface) { i.MAC = TapMAC },
		"no address":        func(i *network.Interface) { i.PrivateIP = netip.Addr{} },
		"outside":           func(i *network.Interface) { i.PrivateIP = addr("10.0.1.9") },
		"the gateway's":     func(i *network.Interface) { i.PrivateIP = addr("10.0.0.1") },
		"the resolver's":    func(i *network.Interface) { i.PrivateIP = addr("10.0.0.2") },
		"taken address":     func(i *network.Interface) { i.PrivateIP = good.PrivateIP },
		"another family's":  func(i *network.Interface) { i.IPv6 = []netip.Addr{addr("10.0.0.77")} },
		"not the subnet's":  func(i *network.Interface) { i.IPv6 = []netip.Addr{addr("2001:db8:5::1")} },
		"taken tap name":    func(i *network.Interface) { i.ID = "eni-fffff00000000000a" },
		"an id with quotes": func(i *network.Interface) { i.ID = `eni-"; flush ruleset` },
	} {
		s := full()
		bad := good
		bad.ID, bad.PrivateIP, bad.PublicIP = "eni-0000000000000000c", addr("10.0.0.66"), netip.Addr{}
		spoil(&bad)
		s.VPCs[0].Interfaces = append(s.VPCs[0].Interfaces, bad)
		h, err := Compile(Options{Link: "kr-x"}, s)
		if err == nil {
			t.Errorf("%s: no error", name)
		}
		want, _ := Compile(Options{Link: "kr-x"}, full())
		if d := cmp.Diff(want.String(), h.String()); d != "" {
			t.Errorf("%s: the rest differs:\n%s", name, d)
		}
	}
}

func BenchmarkCompile(b *testing.B) {
	s := full()
	v := &s.VPCs[0]
	v.Interfaces = nil
	for i := range 1000 {
		a := netip.AddrFrom4([4]byte{10, 0, byte(i / 200), byte(10 + i%200)})
		v.Subnets[0].CIDR = prefix("10.0.0.0/20")
		v.Interfaces = append(v.Interfaces, network.Interface{
			ID: fmt.Sprintf("eni-%017x", i), SubnetID: "subnet-a", MAC: fmt.Sprintf("02:00:00:00:%02x:%02x", i>>8, i&255),
			PrivateIP: a, Groups: []string{"sg-web", "sg-db"},
		})
	}
	for b.Loop() {
		if _, err := Compile(Options{Link: "kr-x"}, s); err != nil {
			b.Fatal(err)
		}
	}
}
