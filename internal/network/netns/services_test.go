package netns

import (
	"context"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"karri.dev/internal/network"
	"karri.dev/internal/nodeapi"
)

// client is an HTTP client in the namespace.
func (l *lab) client() *http.Client {
	tr := &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, network, address string) (c net.Conn, err error) {
		err = l.enter(func() error {
			c, err = (&net.Dialer{Timeout: patience * 10}).DialContext(ctx, "tcp4", address)
			return err
		})
		return c, err
	}}
	l.t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr, Timeout: patience * 20}
}

func (l *lab) get(path string, header ...string) (int, string) {
	l.t.Helper()
	method := http.MethodGet
	if path == "/latest/api/token" {
		method = http.MethodPut
	}
	r, err := http.NewRequestWithContext(context.Background(), method, "http://169.254.169.254"+path, nil)
	if err != nil {
		l.t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	a, err := l.client().Do(r)
	if err != nil {
		l.t.Fatalf("%s: %v", path, err)
	}
	defer a.Body.Close()
	b, err := io.ReadAll(a.Body)
	if err != nil {
		l.t.Fatal(err)
	}
	return a.StatusCode, string(b)
}

func (l *lab) ask(network, server, name string, kind uint16) string {
	l.t.Helper()
	var c net.Conn
	err := l.enter(func() (err error) {
		c, err = (&net.Dialer{Timeout: patience * 10}).Dial(network, server+":53")
		return err
	})
	if err != nil {
		l.t.Fatal(err)
	}
	defer c.Close()
	q := new(dns.Msg)
	q.SetQuestion(name, kind)
	a, _, err := (&dns.Client{Net: network}).ExchangeWithConn(q, &dns.Conn{Conn: c})
	if err != nil {
		l.t.Fatalf("%s by %s from %s: %v", name, network, server, err)
	}
	if len(a.Answer) == 0 {
		return dns.RcodeToString[a.Rcode]
	}
	f := strings.Fields(a.Answer[0].String())
	return f[len(f)-1]
}

func TestServices(t *testing.T) {
	t.Parallel()
	a := nic(1, "subnet-a", "10.0.0.10")
	v, w := plainVPC("vpc-one", 1), plainVPC("vpc-two", 2)
	v.Interfaces, w.Interfaces = []network.Interface{a}, []network.Interface{a}
	w.Interfaces[0].ID = "eni-22222222222222222"
	w.Interfaces[0].InstanceID = "i-22222222222222222"
	v.DNS.Names = []network.Name{{Name: "ec2-198-51-100-1.compute-1.example.com", IP: a.PrivateIP}}
	d := newDriver(t, newLab(t), Config{}, metadata{
		"vpc-one 10.0.0.10": nodeapi.Metadata{UserData: []byte("one")},
		"vpc-two 10.0.0.10": nodeapi.Metadata{UserData: []byte("two")},
	})
	apply(t, d, state(v, w))
	one, two := newGuest(t, d, v.Interfaces[0], subnetA), newGuest(t, d, w.Interfaces[0], subnetA)

	t.Run("metadata by VPC and address", func(t *testing.T) {
		if _, id := one.get("/latest/meta-data/instance-id"); id != a.InstanceID {
			t.Errorf("instance %q", id)
		}
		if _, id := two.get("/latest/meta-data/instance-id"); id != "i-22222222222222222" {
			t.Errorf("instance %q", id)
		}
		if _, text := two.get("/2009-04-04/user-data"); text != "two" {
			t.Errorf("user data %q", text)
		}
		code, token := one.get("/latest/api/token", "X-aws-ec2-metadata-token-ttl-seconds", "60")
		if code != 200 {
			t.Fatalf("token: %d", code)
		}
		if code, text := one.get("/latest/user-data", "X-aws-ec2-metadata-token", token); code != 200 || text != "one" {
			t.Errorf("with token: %d %q", code, text)
		}
		if code, _ := two.get("/latest/user-data", "X-aws-ec2-metadata-token", token); code != 401 {
			t.Errorf("another instance's token: %d", code)
		}
	})
	t.Run("api by VPC and address", func(t *testing.T) {
		for guest, want := range map[*lab]string{one.lab: "vpc-one 10.0.0.10 /x", two.lab: "vpc-two 10.0.0.10 /x"} {
			for _, at := range []string{"169.254.169.252", "169.254.169.252:8773"} {
				res, err := guest.client().Get("http://" + at + "/x")
				if err != nil {
					t.Fatal(err)
				}
				text, _ := io.ReadAll(res.Body)
				res.Body.Close()
				if string(text) != want {
					t.Errorf("%s: %q, want %q", at, text, want)
				}
			}
		}
		if ip := one.ask("udp", "169.254.169.253", "api.ec2.internal.", dns.TypeA); ip != "169.254.169.252" {
			t.Errorf("the API's name: %s", ip)
		}
	})
	t.Run("dns", func(t *testing.T) {
		for _, c := range []struct {
			network, server, name, want string
			kind                        uint16
		}{
			{"udp", "10.0.0.2", "ip-10-0-0-10.ec2.internal.", "10.0.0.10", dns.TypeA},
			{"tcp", "10.0.0.2", "ip-10-0-0-10.ec2.internal.", "10.0.0.10", dns.TypeA},
			{"udp", "169.254.169.253", "10.0.0.10.in-addr.arpa.", "ip-10-0-0-10.ec2.internal.", dns.TypePTR},
			{"tcp", "169.254.169.253", "ec2-198-51-100-1.compute-1.example.com.", "10.0.0.10", dns.TypeA},
			{"udp", "10.0.0.2", "ip-10-0-0-11.ec2.internal.", "NXDOMAIN", dns.TypeA},
			{"udp", "10.0.0.2", "example.org.", "NXDOMAIN", dns.TypeA},
		} {
			if c.name == "10.0.0.10.in-addr.arpa." {
				c.want = "ip-10-0-0-10.ec2.internal."
			}
			if got := one.ask(c.network, c.server, c.name, c.kind); got != c.want {
				t.Errorf("%s by %s: %s, want %s", c.name, c.network, got, c.want)
			}
		}
	})
	t.Run("dhcp", func(t *testing.T) {
		dir := t.TempDir()
		script := filepath.Join(dir, "event")
		if err := os.WriteFile(script, []byte("#!/bin/sh\n[ \"$1\" = bound ] && env > "+dir+"/lease\nexit 0\n"), 0o755); err != nil {
			t.Fatal(err)
		}
		one.run("ip", "addr", "flush", "dev", "eth0")
		one.run("busybox", "udhcpc", "-i", "eth0", "-n", "-q", "-f", "-t", "5", "-T", "1", "-O", "mtu", "-s", script)
		b, err := os.ReadFile(filepath.Join(dir, "lease"))
		if err != nil {
			t.Fatal(err)
		}
		for _, want := range []string{
			"ip=10.0.0.10", "subnet=255.255.255.0", "router=10.0.0.1", "dns=10.0.0.2", "domain=ec2.internal",
			"hostname=ip-10-0-0-10", "mtu=1500", "lease=3600", "serverid=10.0.0.1",
		} {
			if !strings.Contains("\n"+string(b), "\n"+want+"\n") {
				t.Errorf("the lease lacks %s:\n%s", want, b)
			}
		}
		if out, err := one.try("busybox", "udhcpc", "-i", "eth0", "-n", "-q", "-f", "-t", "1", "-T", "1", "-r", "10.0.0.99", "-s", script); err != nil {
			t.Errorf("asking for another address should end with one's own: %v\n%s", err, out)
		}
	})
}
