package netns

import (
	"context"
	"io"
	"net"
	"net/netip"
	"sync"
	"time"
)

// Ports on which guests find the cloud's API at rules.APIAddr.
var apiPorts = []uint16{80, 443, 8773}

// Limits of one VPC's connections to the API: how many at once, and how long one may stay silent.
const (
	apiConns   = 1024
	apiDial    = 10 * time.Second
	apiSilence = 5 * time.Minute
)

// forwardAPI carries bytes between guests and the API. What they say is between the two: TLS passes through.
// by gives the VPC endpoint that a guest comes by; false turns it away.
func (s *services) forwardAPI(listeners []net.Listener, by func(guest netip.Addr) (string, bool)) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	slots := make(chan struct{}, apiConns)
	var open sync.WaitGroup
	for _, l := range listeners {
		s.serve("api", func() error {
			for {
				guest, err := l.Accept()
				if err != nil {
					return err
				}
				select {
				case slots <- struct{}{}:
				default:
					guest.Close()
					continue
				}
				if ctx.Err() != nil {
					guest.Close()
					return nil
				}
				open.Go(func() {
					defer func() { <-slots }()
					s.forward(ctx, guest, by)
				})
			}
		})
	}
	return func() { cancel(); open.Wait() } // before the listeners close
}

// forward serves one connection to its end.
func (s *services) forward(ctx context.Context, guest net.Conn, by func(netip.Addr) (string, bool)) {
	defer guest.Close()
	from, err := netip.ParseAddrPort(guest.RemoteAddr().String())
	if err != nil {
		return
	}
	endpoint, ok := by(from.Addr())
	if !ok {
		return
	}
	dial, cancel := context.WithTimeout(ctx, apiDial)
	api, err := s.d.deps.API(dial, s.vpcID, endpoint, from)
	cancel()
	if err != nil {
		s.d.deps.Log.Warn("a guest cannot reach the API", "vpc", s.vpcID, "error", err)
		return
	}
	defer api.Close()
	stop := context.AfterFunc(ctx, func() {
		guest.Close()
		api.Close()
	})
	defer stop()
	var both sync.WaitGroup
	both.Go(func() { carry(api, guest) })
	both.Go(func() { carry(guest, api) })
	both.Wait()
}

// carry copies until from ends or is silent for too long, then tells to.
func carry(to, from net.Conn) {
	buf := make([]byte, 32<<10)
	for {
		_ = from.SetReadDeadline(time.Now().Add(apiSilence))
		n, err := from.Read(buf)
		if n > 0 {
			_ = to.SetWriteDeadline(time.Now().Add(apiSilence))
			if _, err := to.Write(buf[:n]); err != nil {
				from.Close() // the other direction ends with it
				return
			}
		}
		if err == io.EOF {
			if half, ok := to.(interface{ CloseWrite() error }); ok {
				_ = half.CloseWrite()
				return
			}
		}
		if err != nil {
			to.Close()
			return
		}
	}
}
