// Package serve serves the volumes of a zone's host to the nodes of other hosts that have them attached: NBD in TLS,
// with both ends' certificates checked. The server is a process of its own, which goes on while the zone is away: the
// zone starts it where there is none, adopts one that is there, and tells it over a socket who may have what. Nothing
// is served before it has been told.
//
// A volume is open once: its file is locked as long as it is granted to a node, only that node's connections get it,
// and a new connection is served when nothing of the one before is under way any more.
package serve

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"karri.dev/internal/nbd"
	"karri.dev/internal/pki"
)

// Grant says who may have a volume.
type Grant struct {
	Volume string `json:"volume"`
	Node   string `json:"node"`
	Path   string `json:"path"`
	// Growing says that whoever has the volume makes its file longer: it is served as long as a file can be.
	Growing bool `json:"growing,omitempty"`
}

// Server is the state of the process.
type Server struct {
	zone string
	log  *slog.Logger

	setting sync.Mutex // one set of grants after the other
	mu      sync.Mutex
	granted map[string]*granted // by volume
}

// granted is a grant that holds: with the locked file, and the connection that is served.
type granted struct {
	Grant
	file *file
	conn net.Conn      // nil: none
	done chan struct{} // closed when nothing is done for conn any more
	gone bool          // the grant has ended: no further connection
}

// NewServer makes the server of a zone. It serves nothing until Set.
func NewServer(zone string, log *slog.Logger) *Server {
	return &Server{zone: zone, log: log, granted: map[string]*granted{}}
}

// Set makes these grants those that hold. When it returns, nobody has what is not granted any more. refused says of
// which volumes the file could not be had, and why.
func (s *Server) Set(grants []Grant) (refused map[string]string) {
	s.setting.Lock()
	defer s.setting.Unlock()
	want := map[string]Grant{}
	for _, g := range grants {
		want[g.Volume] = g
	}
	var ended []*granted
	s.mu.Lock()
	for id, g := range s.granted {
		if want[id] == g.Grant {
			delete(want, id)
			continue
		}
		g.gone = true
		if g.conn != nil {
			g.conn.Close()
		}
		ended = append(ended, g)
		delete(s.granted, id)
	}
	s.mu.Unlock()
	for _, g := range ended {
		<-g.done
		g.file.Close()
		s.log.Info("volume no longer served", "volume", g.Volume, "node", g.Node)
	}
	refused = map[string]string{}
	for id, w := range want {
		f, err := openFile(w)
		if err != nil {
			refused[id] = err.Error()
			continue
		}
		g := &granted{Grant: w, file: f, done: make(chan struct{})}
		close(g.done)
		s.mu.Lock()
		s.granted[id] = g
		s.mu.Unlock()
		s.log.Info("volume served", "volume", id, "node", w.Node)
	}
	return refused
}

// Served gives how many volumes have a connection.
func (s *Server) Served() (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, g := range s.granted {
		if g.conn != nil {
			n++
		}
	}
	return n
}

const (
	helloTime  = 10 * time.Second // for both handshakes
	maxClients = 4096
	deadPeer   = 15 * time.Second // until a host that does not answer counts as away
)

// Serve accepts nodes' connections until ctx ends. config demands their certificates.
func (s *Server) Serve(ctx context.Context, l net.Listener, config *tls.Config) error {
	stop := context.AfterFunc(ctx, func() { l.Close() })
	defer stop()
	var all sync.WaitGroup
	defer all.Wait()
	slots := make(chan struct{}, maxClients)
	for {
		conn, err := l.Accept()
		if err != nil {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			if errors.Is(err, net.ErrClosed) {
				return err
			}
			time.Sleep(100 * time.Millisecond) // out of files, for a moment
			continue
		}
		slots <- struct{}{}
		all.Go(func() {
			defer func() { <-slots }()
			defer conn.Close()
			if err := s.serve(ctx, conn, config); err != nil && ctx.Err() == nil {
				s.log.Warn("connection ended", "from", conn.RemoteAddr(), "error", err)
			}
		})
	}
}

// serve serves one connection.
func (s *Server) serve(ctx context.Context, conn net.Conn, config *tls.Config) error {
	Tune(conn)
	secure := tls.Server(conn, config)
	hello, cancel := context.WithTimeout(ctx, helloTime)
	defer cancel()
	if err := secure.HandshakeContext(hello); err != nil {
		return err
	}
	chains := secure.ConnectionState().VerifiedChains
	if len(chains) == 0 {
		return errors.New("no verified certificate")
	}
	who, err := pki.IdentityOf(chains[0][0])
	if err != nil {
		return err
	}
	if err := secure.SetDeadline(time.Now().Add(helloTime)); err != nil {
		return err
	}
	var mine []*granted // usually one: a client may ask about several
	defer func() { s.leave(mine) }()
	return nbd.Serve(ctx, secure, func(ctx context.Context, name string) (nbd.Export, error) {
		g, err := s.claim(ctx, who, name, secure)
		if err != nil {
			return nbd.Export{}, err
		}
		if !slices.Contains(mine, g) {
			mine = append(mine, g)
		}
		return nbd.Export{Disk: g.file, Write: g.file}, secure.SetDeadline(time.Time{})
	})
}

// claim gives a connection the volume, if it is one of the node that has it attached. The connection that had it
// before ends first.
func (s *Server) claim(ctx context.Context, who pki.Identity, name string, conn net.Conn) (*granted, error) {
	ctx, cancel := context.WithTimeout(ctx, helloTime)
	defer cancel()
	for {
		s.mu.Lock()
		g := s.granted[name]
		if g == nil || g.gone || who.Role != "node" || who.Zone != s.zone || who.Name != g.Node {
			s.mu.Unlock()
			s.log.Warn("volume refused", "volume", name, "to", who.Name)
			return nil, nbd.ErrUnknown
		}
		if g.conn == conn { // it asks about it a second time
			s.mu.Unlock()
			return g, nil
		}
		if g.conn == nil {
			defer s.mu.Unlock()
			if err := g.file.measure(); err != nil {
				return nil, err
			}
			g.conn, g.done = conn, make(chan struct{})
			s.log.Info("volume open", "volume", name, "node", who.Name)
			return g, nil
		}
		g.conn.Close()
		done := g.done
		s.mu.Unlock()
		select {
		case <-done:
		case <-ctx.Done():
			return nil, fmt.Errorf("volume %s: its connection before does not end", name)
		}
	}
}

// leave notes that nothing is done any more for the connection that has them.
func (s *Server) leave(list []*granted) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, g := range list {
		g.conn = nil
		close(g.done)
	}
}

// Tune makes a connection fit for volumes, at either end: small requests leave at once (Go's default), and an end
// that does not answer is away soon.
func Tune(conn net.Conn) {
	tcp, ok := conn.(*net.TCPConn)
	if !ok {
		return
	}
	tcp.SetKeepAliveConfig(net.KeepAliveConfig{Enable: true, Idle: deadPeer / 3, Interval: deadPeer / 3, Count: 2})
	if raw, err := tcp.SyscallConn(); err == nil {
		raw.Control(func(fd uintptr) {
			unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(deadPeer/time.Millisecond))
		})
	}
}
