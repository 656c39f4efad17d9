package guestapi

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"karri.dev/internal/mixedlisten"
	"karri.dev/internal/pki"
)

// A node's guests are told apart by what it says of them, which is checked; nobody else gets through.
func TestTunnel(t *testing.T) {
	root, err := pki.NewAuthority("root", time.Now)
	if err != nil {
		t.Fatal(err)
	}
	pair := func(who pki.Identity, hosts ...string) *pki.KeyPair {
		key, err := pki.NewKey()
		if err != nil {
			t.Fatal(err)
		}
		cert, err := root.Issue(who, hosts, key.Public())
		if err != nil {
			t.Fatal(err)
		}
		p, err := pki.NewKeyPair("", key, cert, root.Certificate())
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	cloud, node := pki.Identity{Role: "cloud", Name: "api"}, pki.Identity{Role: "node", Name: "node-1", Zone: "us-east-1a"}
	config := pair(cloud, "127.0.0.1").ServerConfig(nil)
	config.ClientAuth, config.ClientCAs = tls.VerifyClientCertIfGiven, root.Pool()
	gate := NewGate(slog.New(slog.DiscardHandler))
	gate.Check = func(who pki.Identity, way Way, guest netip.Addr) error {
		if who != node || guest.String() != "10.0.0.5" || way.VPC != "vpc-1" {
			return errors.New("no")
		}
		return nil
	}
	mux := http.NewServeMux()
	mux.Handle("/own/"+TunnelPath, gate)
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		way := From(r.Context())
		fmt.Fprint(w, r.RemoteAddr, " ", way.VPC, " ", way.Endpoint, " ", r.TLS != nil, " ", len(body))
	})
	outer, err := tls.Listen("tcp", "127.0.0.1:0", config)
	if err != nil {
		t.Fatal(err)
	}
	certs := httptest.NewTLSServer(nil)
	defer certs.Close()
	s := &http.Server{Handler: mux, ConnContext: ConnContext, TLSNextProto: map[string]func(*http.Server, *tls.Conn, http.Handler){}}
	defer s.Close()
	go s.Serve(outer)
	go s.Serve(mixedlisten.New(gate, &tls.Config{Certificates: certs.TLS.Certificates}))

	dialer := func(p *pki.KeyPair) func(context.Context, string, string, netip.AddrPort) (net.Conn, error) {
		return Tunnel(outer.Addr().String(), "/own/"+TunnelPath, func() *tls.Config { return p.ClientConfig(root.Pool(), cloud) })
	}
	good := dialer(pair(node))
	ask := func(url, endpoint string, size int) string {
		c := &http.Client{Transport: &http.Transport{
			TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, DisableKeepAlives: true,
			DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
				return good(ctx, "vpc-1", endpoint, netip.MustParseAddrPort("10.0.0.5:4242"))
			},
		}}
		res, err := c.Post(url, "text/plain", strings.NewReader(strings.Repeat("x", size)))
		if err != nil {
			return err.Error()
		}
		defer res.Body.Close()
		text, _ := io.ReadAll(res.Body)
		return string(text)
	}
	for _, c := range []struct{ url, endpoint, want string }{
		{"http://api/", "", "10.0.0.5:4242 vpc-1  false 300000"},
		{"https://api/", "vpce-1", "10.0.0.5:4242 vpc-1 vpce-1 true 300000"},
	} {
		if got := ask(c.url, c.endpoint, 300_000); got != c.want {
			t.Errorf("%s: %q, want %q", c.url, got, c.want)
		}
	}
	if got := ask("http://api/own/"+TunnelPath, "", 1); got != "forbidden\n" { // a guest makes no tunnel of its own
		t.Error(got)
	}
	for name, try := range map[string]func() (net.Conn, error){
		"another guest": func() (net.Conn, error) {
			return good(t.Context(), "vpc-1", "", netip.MustParseAddrPort("10.0.0.6:4242"))
		},
		"another VPC": func() (net.Conn, error) {
			return good(t.Context(), "vpc-2", "", netip.MustParseAddrPort("10.0.0.5:4242"))
		},
		"another node": func() (net.Conn, error) {
			return dialer(pair(pki.Identity{Role: "node", Name: "node-2"}))(t.Context(), "vpc-1", "", netip.MustParseAddrPort("10.0.0.5:4242"))
		},
		"a header within": func() (net.Conn, error) {
			return good(t.Context(), "vpc-1\r\nKarri-Guest: vpc-1", "", netip.MustParseAddrPort("10.0.0.6:4242"))
		},
	} {
		if c, err := try(); err == nil || !strings.Contains(err.Error(), "403") {
			t.Errorf("%s: %v, %v", name, c, err)
		}
	}
	open := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}
	req, _ := http.NewRequest("GET", "https://"+outer.Addr().String()+"/own/"+TunnelPath, nil)
	req.Header.Set(guestHeader, "vpc-1 10.0.0.5:1")
	req.Header.Set("Connection", "Upgrade")
	req.Header.Set("Upgrade", tunnelWord)
	if res, err := open.Do(req); err != nil || res.StatusCode != http.StatusForbidden {
		t.Errorf("without a certificate: %v %v", res, err)
	}
}
