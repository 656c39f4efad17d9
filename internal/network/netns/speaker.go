package netns

import (
	"context"
	"encoding/json"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"time"

	"karri.dev/internal/bgp"
	"karri.dev/internal/network"
)

// bgpRestart is for how long routes that an earlier process learned count, until the neighbour has said them again.
const bgpRestart = 150 * time.Second

// speaker tells and learns routes in one tunnel. Fields but the first are under Driver.tunnelsMu.
type speaker struct {
	cfg  bgp.Config
	stop context.CancelFunc

	session bool
	stale   time.Time // until when routes of an earlier process count
	routes  []bgp.Route
}

// established says whether routes count.
func (b *speaker) established(now time.Time) bool { return b.session || now.Before(b.stale) }

// speak makes the tunnel's speaker the one that is wanted.
func (t *tunnel) speak(v network.VPC, c network.VPNConnection, want network.VPNTunnel) {
	var cfg bgp.Config
	if c.BGP != nil {
		cfg = bgp.Config{LocalAS: c.BGP.LocalAS, PeerAS: c.BGP.PeerAS, ID: want.Gateway()}
		for _, r := range v.CIDRs {
			if r.Addr().Is4() {
				cfg.Announce = append(cfg.Announce, r.Masked())
			}
		}
	}
	d := t.d
	d.tunnelsMu.Lock()
	defer d.tunnelsMu.Unlock()
	if t.bgp != nil && reflect.DeepEqual(t.bgp.cfg, cfg) || t.bgp == nil && c.BGP == nil {
		return
	}
	if t.bgp != nil {
		t.bgp.stop()
		t.bgp = nil
	}
	if c.BGP == nil {
		return
	}
	ctx, cancel := context.WithCancel(d.ctx)
	b := &speaker{cfg: cfg, stop: cancel}
	if text, err := os.ReadFile(t.routesFile()); err == nil && json.Unmarshal(text, &b.routes) == nil {
		b.stale = d.deps.Now().Add(bgpRestart)
	}
	t.bgp = b
	d.work.Go(func() { t.serveBGP(ctx, b, want.Customer()) })
}

// hush ends the tunnel's speaker.
func (t *tunnel) hush() {
	t.d.tunnelsMu.Lock()
	defer t.d.tunnelsMu.Unlock()
	if t.bgp != nil {
		t.bgp.stop()
	}
}

func (t *tunnel) routesFile() string { return filepath.Join(t.dir, "routes.json") }

// serveBGP waits for the customer's calls: one at a time.
func (t *tunnel) serveBGP(ctx context.Context, b *speaker, customer netip.Addr) {
	var l net.Listener
	for l == nil {
		s, err := openSpace(t.space, filepath.Join(runDir, t.space), false, &t.d.writes)
		if err == nil {
			err = s.enter(func() (err error) {
				l, err = net.Listen("tcp4", netip.AddrPortFrom(b.cfg.ID, 179).String())
				return err
			})
			s.close()
		}
		if err == nil {
			break
		}
		select { // the address may not be there yet
		case <-ctx.Done():
			return
		case <-time.After(tunnelPause / 4):
		}
	}
	stop := context.AfterFunc(ctx, func() { l.Close() })
	defer stop()
	defer l.Close()
	for {
		c, err := l.Accept()
		if ctx.Err() != nil {
			return
		}
		if err != nil {
			t.d.deps.Log.Warn("BGP of a VPN tunnel", "tunnel", t.space, "error", err)
			return
		}
		if from, ok := c.RemoteAddr().(*net.TCPAddr); !ok || from.AddrPort().Addr().Unmap() != customer {
			c.Close()
			continue
		}
		err = bgp.Serve(ctx, c, b.cfg, func(routes []bgp.Route) { t.learned(b, true, routes) })
		if ctx.Err() != nil {
			return // what was learned counts for the next process
		}
		t.d.deps.Log.Info("BGP session ended", "tunnel", t.space, "why", err)
		t.learned(b, false, nil)
	}
}

// learned notes what the neighbour says, or that it has gone.
func (t *tunnel) learned(b *speaker, session bool, routes []bgp.Route) {
	d := t.d
	d.tunnelsMu.Lock()
	b.session, b.routes, b.stale = session, routes, time.Time{}
	d.tunnelsMu.Unlock()
	if text, err := json.Marshal(routes); err == nil && session {
		_ = os.WriteFile(t.routesFile(), text, 0o600) // only to bridge a restart of this process
	} else {
		_ = os.Remove(t.routesFile())
	}
	t.tell()
}
