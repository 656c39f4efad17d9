package dns

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"testing"

	"github.com/miekg/dns"
)

func resolver(t testing.TB, cfg Config) *Resolver {
	t.Helper()
	z := NewZone("ec2.internal", []Record{
		{"ip-10-0-0-5.ec2.internal", netip.MustParseAddr("10.0.0.5")},
		{"web.ec2.internal", netip.MustParseAddr("10.0.0.5")},
		{"ec2-198-51-100-7.compute-1.example.com", netip.MustParseAddr("198.51.100.7")},
		{"web.ec2.internal", netip.MustParseAddr("2001:db8::5")},
		{"*.s3.example.com", netip.MustParseAddr("169.254.169.252")},
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
