package dns

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"
)

func resolver(t testing.TB, cfg Config) *Resolver {
	t.Helper()
	z := NewZone("ec2.internal", []Record{
		{Name: "ip-10-0-0-5.ec2.internal", IP: netip.MustParseAddr("10.0.0.5")},
		{Name: "web.ec2.internal", IP: netip.MustParseAddr("10.0.0.5")},
		{Name: "ec2-198-51-100-7.compute-1.example.com", IP: netip.MustParseAddr("198.51.100.7")},
		{Name: "web.ec2.internal", IP: netip.MustParseAddr("2001:db8::5")},
		{Name: "mail.example.org", IP: netip.MustParseAddr("198.51.100.9"), Reverse: true},
		{Name: "*.s3.example.com", IP: netip.MustParseAddr("169.254.169.252")},
	})
	cfg.Zone = func() *Zone { return z }
	return New(cfg)
}

func TestAnswer(t *testing.T) {
	for _, c := range []struct {
		name  string
		kind  uint16
		rcode int
		want  string
	}{
		{"ip-10-0-0-5.ec2.internal.", dns.TypeA, dns.RcodeSuccess, "10.0.0.5"},
		{"IP-10-0-0-5.EC2.internal.", dns.TypeA, dns.RcodeSuccess, "10.0.0.5"},
		{"web.ec2.internal.", dns.TypeA, dns.RcodeSuccess, "10.0.0.5"},
		{"ip-10-0-0-5.ec2.internal.", dns.TypeAAAA, dns.RcodeSuccess, ""},
		{"ip-10-0-0-6.ec2.internal.", dns.TypeA, dns.RcodeNameError, ""},
		{"5.0.0.10.in-addr.arpa.", dns.TypePTR, dns.RcodeSuccess, "ip-10-0-0-5.ec2.internal."},
		{"9.100.51.198.in-addr.arpa.", dns.TypePTR, dns.RcodeSuccess, "mail.example.org."},
		{"mail.example.org.", dns.TypeA, dns.RcodeNameError, ""},
		{"6.0.0.10.in-addr.arpa.", dns.TypePTR, dns.RcodeNameError, ""},
		{"ec2-198-51-100-7.compute-1.example.com.", dns.TypeA, dns.RcodeSuccess, "198.51.100.7"},
		{"ec2.internal.", dns.TypeA, dns.RcodeSuccess, ""},
		{"example.org.", dns.TypeA, dns.RcodeNameError, ""},
		{"web.ec2.internal.", dns.TypeAAAA, dns.RcodeSuccess, "2001:db8::5"},
		{"my.bucket.s3.example.com.", dns.TypeA, dns.RcodeSuccess, "169.254.169.252"},
		{"s3.example.com.", dns.TypeA, dns.RcodeNameError, ""},
		{"ec2.internal.", dns.TypeAXFR, dns.RcodeRefused, ""},
	} {
		q := new(dns.Msg)
		q.SetQuestion(c.name, c.kind)
		a := resolver(t, Config{}).Answer(q, false)
		got := ""
		if len(a.Answer) > 0 {
			switch rr := a.Answer[0].(type) {
			case *dns.A:
				got = rr.A.String()
			case *dns.AAAA:
				got = rr.AAAA.String()
			case *dns.PTR:
				got = rr.Ptr
			}
		}
		if a.Rcode != c.rcode || got != c.want {
			t.Errorf("%s %s: %s %q, want %s %q", c.name, dns.TypeToString[c.kind], dns.RcodeToString[a.Rcode], got, dns.RcodeToString[c.rcode], c.want)
		}
	}
}

func TestForward(t *testing.T) {
	var dialled []string
	r := resolver(t, Config{
		Upstreams: []netip.AddrPort{netip.MustParseAddrPort("192.0.2.1:53"), netip.MustParseAddrPort("192.0.2.2:53")},
		Dial: func(_ context.Context, network, address string) (net.Conn, error) {
			dialled = append(dialled, address)
			if address == "192.0.2.1:53" {
				return nil, errors.New("down")
			}
			client, server := net.Pipe()
			go func() {
				defer server.Close()
				c := &dns.Conn{Conn: server}
				q, err := c.ReadMsg()
				if err != nil {
					return
				}
				m := new(dns.Msg)
				m.SetReply(q)
				rr, _ := dns.NewRR("example.org. 30 IN A 203.0.113.9")
				m.Answer = []dns.RR{rr}
				_ = c.WriteMsg(m)
			}()
			return client, nil
		},
	})
	q := new(dns.Msg)
	q.SetQuestion("example.org.", dns.TypeA)
	a := r.Answer(q, false)
	if a.Rcode != dns.RcodeSuccess || len(a.Answer) != 1 || a.Id != q.Id {
		t.Fatalf("answer %v, asked %v", a, dialled)
	}
	q.SetQuestion("nobody.ec2.internal.", dns.TypeA) // never leaves the VPC
	n := len(dialled)
	if a := r.Answer(q, false); a.Rcode != dns.RcodeNameError || len(dialled) != n {
		t.Fatalf("internal name was asked upstream: %v", dialled)
	}
}

func FuzzAnswer(f *testing.F) {
	q := new(dns.Msg)
	q.SetQuestion("ip-10-0-0-5.ec2.internal.", dns.TypeA)
	b, _ := q.Pack()
	f.Add(b)
	r := resolver(f, Config{})
	f.Fuzz(func(t *testing.T, b []byte) {
		q := new(dns.Msg)
		if q.Unpack(b) != nil {
			return
		}
		a := r.Answer(q, false)
		if a == nil {
			return
		}
		if _, err := a.Pack(); err != nil {
			t.Fatalf("answer to %v: %v", q, err)
		}
	})
}

// asker is one question's way back.
type asker struct {
	dns.ResponseWriter
	from string
	got  chan *dns.Msg
}

func (a *asker) RemoteAddr() net.Addr {
	return net.UDPAddrFromAddrPort(netip.MustParseAddrPort(a.from))
}

func (a *asker) WriteMsg(m *dns.Msg) error {
	a.got <- m
	return nil
}

// TestOneCallerLeavesRoom: a caller whose questions nobody answers does not keep another one from its answers.
func TestOneCallerLeavesRoom(t *testing.T) {
	server, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	go func() { // answers what is called fast.*, and nothing else
		buf := make([]byte, 1500)
		for {
			n, from, err := server.ReadFrom(buf)
			if err != nil {
				return
			}
			q := new(dns.Msg)
			if q.Unpack(buf[:n]) != nil || !strings.HasPrefix(q.Question[0].Name, "fast") {
				continue
			}
			m := new(dns.Msg)
			m.SetReply(q)
			if b, err := m.Pack(); err == nil {
				_, _ = server.WriteTo(b, from)
			}
		}
	}()
	zone := NewZone("ec2.internal", nil)
	r := New(Config{Zone: func() *Zone { return zone }, Upstreams: []netip.AddrPort{server.LocalAddr().(*net.UDPAddr).AddrPort()}})
	question := func(name string) *dns.Msg {
		q := new(dns.Msg)
		q.SetQuestion(name, dns.TypeA)
		return q
	}
	var flood sync.WaitGroup
	for range callerBurst {
		flood.Go(func() {
			r.ServeDNS(&asker{from: "10.0.0.10:1", got: make(chan *dns.Msg, 1)}, question("slow.example."))
		})
	}
	deadline := time.Now().Add(20 * time.Second)
	for len(r.forwards) < callerOpen && time.Now().Before(deadline) {
		time.Sleep(time.Millisecond)
	}
	if n := len(r.forwards); n > callerOpen {
		t.Errorf("one caller has %d questions under way", n)
	}
	for range 50 {
		a := &asker{from: "10.0.0.11:1", got: make(chan *dns.Msg, 1)}
		r.ServeDNS(a, question("fast.example."))
		if m := <-a.got; m.Rcode != dns.RcodeSuccess {
			t.Fatalf("the other caller gets %s", dns.RcodeToString[m.Rcode])
		}
	}
	flood.Wait()
	if len(r.open) != 0 {
		t.Errorf("%d callers are remembered", len(r.open))
	}
}
