package guestapi

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"time"

	"karri.dev/internal/pki"
)

// A node in a process of its own carries its guests' connections inside connections of its own to the cloud's API, over
// TLS with its certificate: a request to TunnelPath says which guest it is for, and what follows is the guest's.
const (
	TunnelPath  = "guest" // below the API's own paths
	tunnelWord  = "karri-guest"
	guestHeader = "Karri-Guest"
)

// Tunnel connects by the cloud's API at address, whose path for this is path. config is asked at each connection, as
// certificates are renewed.
func Tunnel(address, path string, config func() *tls.Config) func(ctx context.Context, vpcID, endpoint string, guest netip.AddrPort) (net.Conn, error) {
	return func(ctx context.Context, vpcID, endpoint string, guest netip.AddrPort) (net.Conn, error) {
		c, err := (&tls.Dialer{Config: config()}).DialContext(ctx, "tcp", address)
		if err != nil {
			return nil, err
		}
		stop := context.AfterFunc(ctx, func() { _ = c.SetDeadline(time.Unix(1, 0)) })
		in := bufio.NewReaderSize(c, 4<<10)
		if err = knock(c, in, address, path, strings.TrimSpace(fmt.Sprintf("%s %s %s", vpcID, guest, endpoint))); err == nil && !stop() {
			err = ctx.Err()
		}
		if err != nil {
			stop()
			c.Close()
			return nil, fmt.Errorf("the cloud's way for guests: %w", err)
		}
		return &conn{Conn: c, in: in, greeted: true}, nil
	}
}

// knock asks to be let through.
func knock(c net.Conn, in *bufio.Reader, host, path, who string) error {
	if _, err := fmt.Fprintf(c, "GET %s HTTP/1.1\r\nHost: %s\r\nConnection: Upgrade\r\nUpgrade: %s\r\n%s: %s\r\n\r\n", path, host, tunnelWord, guestHeader, who); err != nil {
		return err
	}
	res, err := http.ReadResponse(in, nil)
	if err != nil {
		return err
	}
	if res.StatusCode != http.StatusSwitchingProtocols {
		res.Body.Close()
		return errors.New(res.Status)
	}
	return nil
}

// Gate is the other end of tunnels: a handler for TunnelPath, and the listener of the guests' connections that came by it.
// Like Listen's they tell the guest's address as their remote one.
type Gate struct {
	// Check says whether a process may speak for a guest.
	Check func(who pki.Identity, way Way, guest netip.Addr) error
	Log   *slog.Logger

	come chan net.Conn
	once sync.Once
	done chan struct{}
}

// NewGate makes a Gate. Its Check is set before its first request.
func NewGate(log *slog.Logger) *Gate {
	return &Gate{Log: log, come: make(chan net.Conn), done: make(chan struct{})}
}

// Accept gives the next guest's connection.
func (g *Gate) Accept() (net.Conn, error) {
	select {
	case c := <-g.come:
		return c, nil
	case <-g.done:
		return nil, net.ErrClosed
	}
}

// Close ends accepting.
func (g *Gate) Close() error {
	g.once.Do(func() { close(g.done) })
	return nil
}

// Addr is nobody's.
func (g *Gate) Addr() net.Addr { return &net.UnixAddr{Name: "guests", Net: "unix"} }

// ServeHTTP lets a node's guest through.
func (g *Gate) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	way, guest, err := g.admit(r)
	if err != nil {
		g.Log.Warn("refused to carry a guest's connection", "from", r.RemoteAddr, "guest", r.Header.Get(guestHeader), "error", err)
		http.Error(w, "forbidden", http.StatusForbidden)
		return
	}
	raw, rw, err := http.NewResponseController(w).Hijack()
	if err != nil {
		http.Error(w, "cannot", http.StatusInternalServerError)
		return
	}
	_ = raw.SetDeadline(time.Time{})
	if _, err := fmt.Fprintf(raw, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: %s\r\n\r\n", tunnelWord); err != nil {
		raw.Close()
		return
	}
	select {
	case g.come <- &conn{Conn: raw, in: rw.Reader, greeted: true, way: way, guest: guest}:
	case <-g.done:
		raw.Close()
	}
}

func (g *Gate) admit(r *http.Request) (way Way, guest netip.AddrPort, err error) {
	if r.TLS == nil || len(r.TLS.VerifiedChains) == 0 {
		return way, guest, errors.New("no certificate")
	}
	if From(r.Context()) != (Way{}) {
		return way, guest, errors.New("it came from a guest itself")
	}
	who, err := pki.IdentityOf(r.TLS.VerifiedChains[0][0])
	if err != nil {
		return way, guest, err
	}
	f := strings.Fields(r.Header.Get(guestHeader))
	if r.Header.Get("Upgrade") != tunnelWord || len(f) < 2 || len(f) > 3 {
		return way, guest, errors.New("not a guest's connection")
	}
	if guest, err = netip.ParseAddrPort(f[1]); err != nil {
		return way, guest, err
	}
	if way.VPC = f[0]; len(f) == 3 {
		way.Endpoint = f[2]
	}
	return way, guest, g.Check(who, way, guest.Addr())
}
