package netns

import (
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"karri.dev/internal/network"
)

// TestOptions: what a VPC's DHCP options and DNS settings say is what its guests get.
func TestOptions(t *testing.T) {
	t.Parallel()
	d := newDriver(t, newLab(t), Config{}, metadata{"vpc-opt 10.0.0.10": {}})
	v := plainVPC("vpc-opt", 1)
	v.Groups[0].Rules = append(v.Groups[0].Rules, all(false))
	a, b := nic(1, "subnet-a", "10.0.0.10"), nic(2, "subnet-b", "10.0.1.53")
	a.Secondary = []network.Address{{Private: netip.MustParseAddr("10.0.0.12")}}
	v.Interfaces = []network.Interface{a, b}
	v.DHCP = network.DHCP{Domain: "corp.example", NTP: addrs("10.0.1.5"), NetBIOS: addrs("10.0.1.6"), NetBIOSNodeType: 2}
	v.DNS.Servers = addrs("10.0.0.2", "10.0.1.53")
	v.DNS.Forward = []network.Forward{{Domain: "corp.example", Servers: []netip.AddrPort{netip.MustParseAddrPort("10.0.1.53:53")}}}
	v.DNS.Names = []network.Name{{Name: "*.s3.us-east-1.example.com", IP: netip.MustParseAddr("169.254.169.252")}}
	apply(t, d, state(v))
	ga, gb := newGuest(t, d, a, subnetA), newGuest(t, d, b, subnetB)

	dir := t.TempDir()
	script := filepath.Join(dir, "event")
	if err := os.WriteFile(script, []byte("#!/bin/sh\n[ \"$1\" = bound ] && env > "+dir+"/lease\nexit 0\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	ga.run("busybox", "udhcpc", "-i", "eth0", "-n", "-q", "-f", "-t", "5", "-T", "1", "-O", "ntpsrv", "-O", "wins", "-s", script)
	lease, err := os.ReadFile(filepath.Join(dir, "lease"))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"domain=corp.example", "dns=10.0.0.2 10.0.1.53", "ntpsrv=10.0.1.5", "wins=10.0.1.6"} {
		if !strings.Contains("\n"+string(lease), "\n"+want+"\n") {
			t.Errorf("the lease lacks %s:\n%s", want, lease)
		}
	}

	socket := gb.udp("10.0.1.53:53") // a company's own name server, in a guest
	var seen string
	server := &dns.Server{PacketConn: socket, Handler: dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) {
		host, _, _ := net.SplitHostPort(w.RemoteAddr().String())
		seen = host
		m := new(dns.Msg)
		m.SetReply(q)
		rr, _ := dns.NewRR(q.Question[0].Name + " 30 IN A 192.0.2.7")
		m.Answer = []dns.RR{rr}
		_ = w.WriteMsg(m)
	})}
	go func() { _ = server.ActivateAndServe() }()
	if ip := ga.ask("udp", "10.0.0.2", "wiki.corp.example.", dns.TypeA); ip != "192.0.2.7" || seen != "10.0.0.2" {
		t.Errorf("the company's name: %s, asked by %s", ip, seen)
	}
	if ip := ga.ask("udp", "10.0.0.2", "bucket.s3.us-east-1.example.com.", dns.TypeA); ip != "169.254.169.252" {
		t.Errorf("a bucket's name: %s", ip)
	}

	ga.run("ip", "addr", "add", "10.0.0.12/32", "dev", "eth0")
	ga.run("ip", "route", "replace", "169.254.169.254", "dev", "eth0", "src", "10.0.0.12")
	if _, id := ga.get("/latest/meta-data/instance-id"); id != a.InstanceID {
		t.Errorf("from a secondary address: instance %q", id)
	}

	v.DNS.Disabled = true
	apply(t, d, state(v))
	c := ga.udp("10.0.0.10:0")
	q := new(dns.Msg)
	q.SetQuestion("wiki.corp.example.", dns.TypeA)
	wire, _ := q.Pack()
	silent(t, c, wire, "10.0.0.2:53")
}
