// Package guestapi is the way of guests to the cloud's API: where their node runs in the same process, a unix socket
// that only the process's user can open, on which the node first says in one line which guest it speaks for; else a tunnel.
package guestapi

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync"
	"time"
)

const (
	greeting = "karri-guest"
	maxLine  = 128
	patience = 10 * time.Second
)

// Dialer connects to the socket at path.
func Dialer(path string) func(ctx context.Context, vpcID, endpoint string, guest netip.AddrPort) (net.Conn, error) {
	return func(ctx context.Context, vpcID, endpoint string, guest netip.AddrPort) (net.Conn, error) {
		c, err := new(net.Dialer).DialContext(ctx, "unix", path)
		if err != nil {
			return nil, err
		}
		if _, err := fmt.Fprintf(c, "%s %s %s %s\n", greeting, vpcID, guest, endpoint); err != nil {
			c.Close()
			return nil, err
		}
		return c, nil
	}
}

// Listen opens the socket. Its connections tell the guest's address as their remote one.
func Listen(path string) (net.Listener, error) {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) { // of a process that was killed
		return nil, err
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		return nil, fmt.Errorf("socket for guests: %w", err)
	}
	if err := os.Chmod(path, 0o600); err != nil {
		l.Close()
		return nil, err
	}
	return listener{l}, nil
}

type listener struct{ net.Listener }

func (l listener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &conn{Conn: c, in: bufio.NewReaderSize(c, 4<<10)}, nil
}

// conn reads the greeting at its first read, so that accepting waits for nobody.
type conn struct {
	net.Conn
	in *bufio.Reader

	greeted bool // it is known without a greeting
	once    sync.Once
	err     error
	way     Way
	guest   netip.AddrPort
}

func (c *conn) greet() {
	if c.greeted {
		return
	}
	_ = c.SetReadDeadline(time.Now().Add(patience))
	defer c.SetReadDeadline(time.Time{})
	line, err := c.in.ReadSlice('\n')
	if err != nil || len(line) > maxLine {
		c.err = errors.New("guest connection without a greeting")
		return
	}
	f := strings.Fields(string(line))
	if len(f) < 3 || len(f) > 4 || f[0] != greeting {
		c.err = errors.New("guest connection with another greeting")
		return
	}
	if c.guest, c.err = netip.ParseAddrPort(f[2]); c.err == nil {
		c.way = Way{VPC: f[1]}
		if len(f) == 4 {
			c.way.Endpoint = f[3]
		}
	}
}

func (c *conn) Read(b []byte) (int, error) {
	c.once.Do(c.greet)
	if c.err != nil {
		return 0, c.err
	}
	return c.in.Read(b)
}

// CloseWrite ends what the guest is sent.
func (c *conn) CloseWrite() error { return c.Conn.(interface{ CloseWrite() error }).CloseWrite() }

// RemoteAddr is the guest's address, once it is known.
func (c *conn) RemoteAddr() net.Addr {
	c.once.Do(c.greet)
	if c.err != nil || !c.guest.IsValid() {
		return c.Conn.RemoteAddr()
	}
	return net.TCPAddrFromAddrPort(c.guest)
}

type key struct{}

// ConnContext is for http.Server: it notes the guest's way.
func ConnContext(ctx context.Context, c net.Conn) context.Context {
	for {
		switch inner := c.(type) {
		case *conn:
			inner.once.Do(inner.greet)
			return context.WithValue(ctx, key{}, inner.way)
		case *tls.Conn:
			c = inner.NetConn()
		case interface{ Inner() net.Conn }:
			c = inner.Inner()
		default:
			return ctx
		}
	}
}

// Way is how a guest's request came: out of which VPC, and by which VPC endpoint, if any.
type Way struct{ VPC, Endpoint string }

// From gives the way of a guest's request, the zero Way for everybody else's.
func From(ctx context.Context) Way {
	way, _ := ctx.Value(key{}).(Way)
	return way
}
