// Package mixedlisten serves HTTP and HTTPS on one port: the first byte of a connection tells them apart.
package mixedlisten

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"sync"
	"time"
)

// handshakeRecord is the first byte of every TLS connection; no HTTP request begins with it.
const handshakeRecord = 0x16

// Limits for connections that have not said anything yet.
const (
	patience   = 10 * time.Second
	mostSilent = 1024
)

// New wraps a listener: Accept gives a *tls.Conn for clients that speak TLS and the plain connection for
// others. A nil config leaves only plain connections. Close closes the inner listener.
func New(inner net.Listener, config *tls.Config) net.Listener {
	l := &listener{Listener: inner, config: config, ready: make(chan net.Conn), closed: make(chan struct{}), slots: make(chan struct{}, mostSilent)}
	go l.accept()
	return l
}

type listener struct {
	net.Listener
	config *tls.Config
	ready  chan net.Conn
	slots  chan struct{}

	once   sync.Once
	closed chan struct{}
	err    error // valid once closed is closed
}

func (l *listener) Accept() (net.Conn, error) {
	select {
	case c := <-l.ready:
		return c, nil
	case <-l.closed:
		return nil, l.err
	}
}

func (l *listener) Close() error {
	err := l.Listener.Close()
	l.end(net.ErrClosed)
	return err
}

func (l *listener) end(err error) {
	l.once.Do(func() {
		l.err = err
		close(l.closed)
	})
}

// accept takes connections; one that says nothing holds up no other.
func (l *listener) accept() {
	for {
		select {
		case l.slots <- struct{}{}:
		case <-l.closed:
			return
		}
		c, err := l.Listener.Accept()
		if err != nil {
			<-l.slots
			if passing(err) {
				time.Sleep(5 * time.Millisecond)
				continue
			}
			l.end(err)
			return
		}
		go l.sort(c)
	}
}

// passing says that accepting may work again: out of file descriptors, or a client that was gone already.
func passing(err error) bool {
	var t interface{ Temporary() bool }
	return !errors.Is(err, net.ErrClosed) && errors.As(err, &t) && t.Temporary()
}

func (l *listener) sort(c net.Conn) {
	first := make([]byte, 1)
	stop := make(chan struct{})
	go func() { // a closed listener does not wait for the silent
		select {
		case <-l.closed:
			c.Close()
		case <-stop:
		}
	}()
	c.SetReadDeadline(time.Now().Add(patience))
	_, err := io.ReadFull(c, first)
	close(stop)
	<-l.slots
	if err != nil {
		c.Close()
		return
	}
	c.SetReadDeadline(time.Time{})
	var out net.Conn = &peeked{Conn: c, first: first}
	if first[0] == handshakeRecord {
		if l.config == nil {
			c.Close()
			return
		}
		out = tls.Server(out, l.config)
	}
	select {
	case l.ready <- out:
	case <-l.closed:
		c.Close()
	}
}

// peeked gives back the byte that was read. Only one goroutine reads a connection at a time.
type peeked struct {
	net.Conn
	first []byte
}

// Inner gives the connection without the peeking, for those who want to know what it is.
func (p *peeked) Inner() net.Conn { return p.Conn }

func (p *peeked) Read(b []byte) (int, error) {
	if len(p.first) > 0 && len(b) > 0 {
		n := copy(b, p.first)
		p.first = p.first[n:]
		return n, nil
	}
	return p.Conn.Read(b)
}

// ReadFrom keeps sendfile working for plain connections.
func (p *peeked) ReadFrom(r io.Reader) (int64, error) {
	if rf, ok := p.Conn.(io.ReaderFrom); ok {
		return rf.ReadFrom(r)
	}
	return io.Copy(struct{ io.Writer }{p.Conn}, r)
}
