package guestapi

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"path/filepath"
	"strings"
	"testing"

	"karri.dev/internal/mixedlisten"
)

// A guest's requests carry its address and VPC, over HTTP and HTTPS; nobody else's carry a VPC.
func TestGuests(t *testing.T) {
	path := filepath.Join(t.TempDir(), "guests.sock")
	for range 2 { // over what a killed process left
		l, err := Listen(path)
		if err != nil {
			t.Fatal(err)
		}
		l.Close()
	}
	l, err := Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	certs := httptest.NewTLSServer(nil)
	defer certs.Close()
	s := &http.Server{ConnContext: ConnContext, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		way := From(r.Context())
		fmt.Fprint(w, r.RemoteAddr, " ", way.VPC, way.Endpoint, " ", r.TLS != nil, " ", string(body))
	})}
	served := make(chan error, 2)
	go func() { served <- s.Serve(mixedlisten.New(l, &tls.Config{Certificates: certs.TLS.Certificates})) }()
	plain, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go func() { served <- s.Serve(plain) }()
	defer func() {
		s.Close()
		<-served
		<-served
	}()
	dial := Dialer(path)
	as := func(vpc, endpoint, from string) *http.Client {
		return &http.Client{Transport: &http.Transport{
			TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, DisableKeepAlives: true,
			DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
				return dial(ctx, vpc, endpoint, netip.MustParseAddrPort(from))
			},
		}}
	}
	ask := func(c *http.Client, url string) string {
		res, err := c.Post(url, "text/plain", strings.NewReader("hello"))
		if err != nil {
			return "error"
		}
		defer res.Body.Close()
		text, _ := io.ReadAll(res.Body)
		return string(text)
	}
	for url, want := range map[string]string{
		"http://api/":  "10.0.0.5:4242 vpc-1 false hello",
		"https://api/": "10.0.0.5:4242 vpc-1 true hello",
	} {
		if got := ask(as("vpc-1", "", "10.0.0.5:4242"), url); got != want {
			t.Errorf("%s: %q, want %q", url, got, want)
		}
	}
	if got, want := ask(as("vpc-1", "vpce-1", "10.0.0.5:4242"), "http://api/"), "10.0.0.5:4242 vpc-1vpce-1 false hello"; got != want {
		t.Errorf("by an endpoint: %q, want %q", got, want)
	}
	if got := ask(as("vpc-1 10.0.0.6:1 x", "vpce-1", "10.0.0.5:4242"), "http://api/"); got != "error" {
		t.Errorf("a greeting with more in it: %q", got)
	}
	if got := ask(&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}, "http://"+plain.Addr().String()); !strings.HasPrefix(got, "127.0.0.1:") || !strings.HasSuffix(got, "  false hello") {
		t.Errorf("somebody else: %q", got)
	}
	// Without a greeting nothing is served.
	c, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	fmt.Fprint(c, "GET / HTTP/1.1\r\nHost: api\r\n\r\n")
	if text, _ := io.ReadAll(c); len(text) != 0 {
		t.Errorf("no greeting: %q", text)
	}
}
