package netns

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"karri.dev/internal/network"
	"karri.dev/internal/network/rules"
	"karri.dev/internal/vici"
)

// Each VPN tunnel has a strongSwan daemon (charon) of its own in its namespace, which goes on when this process
// ends and is found again by its control socket. No secret is ever written to a file: they go by the socket.

const (
	charonProgram = "charon-systemd"
	charonPlugin  = "/usr/lib/ipsec/plugins/libstrongswan-kernel-libipsec.so"
	viciWait      = 5 * time.Second
	tunnelPause   = 2 * time.Second // between looks at a tunnel
)

// charonRoutes is the kernel table of routes that charon makes and nothing uses.
const charonRoutes = 220

// tunnel is one VPN tunnel at work.
type tunnel struct {
	d     *Driver
	space string // name of its namespace
	dir   string // of its daemon's files
	stop  context.CancelFunc

	mu     sync.Mutex // one works on the daemon at a time
	gone   bool
	want   network.VPNTunnel
	conn   network.VPNConnection
	loaded network.VPNTunnel // what the daemon has been told
	remote string

	// Under Driver.tunnelsMu: what is known, what of it routes follow, and what they have followed.
	ready, up bool
	err       error
	bgp       *speaker // nil where routes are static
	view      rules.TunnelView
	status    network.TunnelStatus
}

func (d *Driver) tunnelDir() string { return filepath.Join("/run", d.prefix()+"vpn") }

// Tunnels says how the VPN tunnels of the applied state are.
func (d *Driver) Tunnels() []network.TunnelStatus {
	d.tunnelsMu.Lock()
	defer d.tunnelsMu.Unlock()
	var out []network.TunnelStatus
	for _, t := range d.tunnels {
		out = append(out, t.status)
	}
	slices.SortFunc(out, func(a, b network.TunnelStatus) int { return strings.Compare(a.ID, b.ID) })
	return out
}

// News holds a word whenever Tunnels may have changed.
func (d *Driver) News() <-chan struct{} { return d.news }

// views gives what compiling must know of tunnels.
func (d *Driver) views() map[string]rules.TunnelView {
	d.tunnelsMu.Lock()
	defer d.tunnelsMu.Unlock()
	out := map[string]rules.TunnelView{}
	for id, t := range d.tunnels {
		out[id] = t.view
	}
	return out
}

// runTunnels makes the tunnels at work those of the state. It is called with mu held, once their namespaces are there.
func (d *Driver) runTunnels(state network.State, host rules.Host) {
	wanted := map[string]bool{}
	for _, g := range host.NATs {
		wanted[g.ID] = g.Tunnel
	}
	d.endTunnels(func(id string) bool { return wanted[id] })
	for _, v := range state.VPCs {
		if v.VPN == nil {
			continue
		}
		for _, c := range v.VPN.Connections {
			for _, t := range c.Tunnels {
				if wanted[t.ID] {
					d.runTunnel(v, c, t)
				}
			}
		}
	}
}

func (d *Driver) runTunnel(v network.VPC, c network.VPNConnection, want network.VPNTunnel) {
	d.tunnelsMu.Lock()
	t := d.tunnels[want.ID]
	fresh := t == nil
	if fresh {
		t = &tunnel{d: d, space: d.spaceName(want.ID), dir: filepath.Join(d.tunnelDir(), want.ID), status: network.TunnelStatus{ID: want.ID}}
		d.tunnels[want.ID] = t
	}
	d.tunnelsMu.Unlock()
	t.mu.Lock()
	t.want, t.conn = want, c
	t.mu.Unlock()
	t.speak(v, c, want)
	if fresh {
		ctx, cancel := context.WithCancel(d.ctx)
		t.stop = cancel
		d.work.Go(func() { t.run(ctx) })
	}
}

// endTunnels ends the tunnels that are not to stay, also those of an earlier process.
func (d *Driver) endTunnels(stay func(id string) bool) {
	d.tunnelsMu.Lock()
	var out []*tunnel
	for id, t := range d.tunnels {
		if !stay(id) {
			out = append(out, t)
			delete(d.tunnels, id)
		}
	}
	d.tunnelsMu.Unlock()
	for _, t := range out {
		t.stop()
		t.hush()
		t.end()
	}
	entries, _ := os.ReadDir(d.tunnelDir())
	for _, e := range entries {
		if !stay(e.Name()) {
			(&tunnel{d: d, dir: filepath.Join(d.tunnelDir(), e.Name())}).end()
		}
	}
	_ = os.Remove(d.tunnelDir()) // if it is empty
}

// run looks after the tunnel until ctx ends. The daemon goes on.
func (t *tunnel) run(ctx context.Context) {
	tick := time.NewTicker(tunnelPause)
	defer tick.Stop()
	for {
		ready, up, err := t.look()
		if ctx.Err() != nil {
			return
		}
		t.d.tunnelsMu.Lock()
		t.ready, t.up, t.err = ready, up, err
		t.d.tunnelsMu.Unlock()
		t.tell()
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// tell has the routes follow how the tunnel is.
func (t *tunnel) tell() {
	d := t.d
	d.tunnelsMu.Lock()
	view := rules.TunnelView{Ready: t.ready, Up: t.up}
	status := network.TunnelStatus{ID: t.status.ID, Up: t.up}
	if t.err != nil {
		status.Message = t.err.Error()
	}
	if t.bgp != nil && t.up {
		if view.Up = t.bgp.established(d.deps.Now()); view.Up {
			for _, r := range t.bgp.routes {
				view.Learned = append(view.Learned, network.Learned(r))
				status.Routes = append(status.Routes, r.Prefix)
			}
		} else {
			status.Up, status.Message = false, "IPSEC IS UP"
		}
	}
	same := reflect.DeepEqual(t.view, view) && reflect.DeepEqual(t.status, status)
	t.view = view
	d.tunnelsMu.Unlock()
	if same {
		return
	}
	d.deps.Log.Info("VPN tunnel", "tunnel", status.ID, "up", status.Up, "why", status.Message, "routes", len(status.Routes))
	d.mu.Lock()
	if d.last != nil && !d.closed {
		if err := d.apply(d.ctx, *d.last); err != nil {
			d.deps.Log.Error("network does not follow a VPN tunnel", "tunnel", status.ID, "error", err)
		}
	}
	d.mu.Unlock()
	d.tunnelsMu.Lock()
	t.status = status
	d.tunnelsMu.Unlock()
	select {
	case d.news <- struct{}{}:
	default:
	}
}

// look makes the daemon be there and know what it must, and says whether its device is there and its tunnel up.
func (t *tunnel) look() (ready, up bool, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.gone {
		return false, false, errors.New("the tunnel is gone")
	}
	c, err := t.daemon()
	if err != nil {
		return false, false, err
	}
	defer c.Close()
	if err := t.load(c); err != nil {
		return true, false, err
	}
	up, err = established(c)
	return true, up, err
}

// MissingForVPN says what a host lacks for VPN connections, if anything.
func MissingForVPN() error {
	_, err := exec.LookPath(charonProgram)
	if err == nil {
		_, err = os.Stat(charonPlugin)
	}
	if err != nil {
		return errors.New("the node lacks strongSwan: charon-systemd and libcharon-extra-plugins are not installed")
	}
	return nil
}

// daemon connects to the tunnel's daemon, started if need be.
func (t *tunnel) daemon() (*vici.Conn, error) {
	socket := filepath.Join(t.dir, "vici")
	if c, err := vici.Dial(socket, viciWait); err == nil {
		return c, nil
	}
	t.loaded, t.remote = network.VPNTunnel{}, ""
	if err := MissingForVPN(); err != nil {
		return nil, err
	}
	if err := os.RemoveAll(t.dir); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(t.dir, 0o700); err != nil {
		return nil, err
	}
	conf := filepath.Join(t.dir, "strongswan.conf")
	if err := os.WriteFile(conf, []byte(charonConfig(t.dir, t.want)), 0o600); err != nil {
		return nil, err
	}
	s, err := openSpace(t.space, filepath.Join(runDir, t.space), false, &t.d.writes)
	if err != nil {
		return nil, err
	}
	defer s.close()
	cmd := exec.Command(charonProgram)
	cmd.Env = []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "STRONGSWAN_CONF=" + conf}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := s.enter(cmd.Start); err != nil {
		return nil, fmt.Errorf("start %s: %w", charonProgram, err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	for end := time.Now().Add(viciWait); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if c, err := vici.Dial(socket, viciWait); err == nil {
			return c, nil
		}
		select {
		case err := <-ended:
			return nil, fmt.Errorf("%s ended: %w", charonProgram, err)
		default:
		}
	}
	_ = cmd.Process.Kill()
	return nil, fmt.Errorf("%s does not answer", charonProgram)
}

// charonConfig is the daemon's configuration. Times between repetitions of an unanswered question make its six tries
// last two thirds of the DPD timeout, after the third that dpd_delay waits before it asks.
func charonConfig(dir string, t network.VPNTunnel) string {
	return fmt.Sprintf(`%s {
	user = nobody
	group = nogroup
	load_modular = no
	load = random nonce aes sha1 sha2 hmac kdf gmp openssl kernel-libipsec kernel-netlink socket-default vici
	install_routes = no
	install_virtual_ip = no
	routing_table = %d
	routing_table_prio = %d
	retransmit_base = 1
	retransmit_tries = 5
	retransmit_timeout = %.2f
	replay_window = %d
	filelog {
		log {
			path = %s/log
			default = 0
		}
	}
	syslog {
		daemon {
			default = -1
		}
	}
	journal {
		default = -1
	}
	plugins {
		vici {
			socket = unix://%s/vici
		}
		kernel-libipsec {
			allow_peer_ts = yes
		}
	}
}
`, charonProgram, charonRoutes, rules.CharonPriority, float64(t.DPDTimeout)/9, t.Replay, dir, dir)
}

// load tells the daemon what it must know, if it does not yet. What it had agreed on by other words ends.
func (t *tunnel) load(c *vici.Conn) error {
	if reflect.DeepEqual(t.loaded, t.want) && t.remote == t.conn.Customer.String() {
		return nil
	}
	changed := t.loaded.ID != ""
	if _, err := c.Call("clear-creds", nil); err != nil {
		return err
	}
	if _, err := c.Call("load-shared", vici.Section{"id": "psk", "type": "IKE", "data": t.want.PSK}); err != nil {
		return err
	}
	if _, err := c.Call("load-conn", vici.Section{"tun": connection(t.conn, t.want)}); err != nil {
		return err
	}
	if changed {
		_, _ = c.Call("terminate", vici.Section{"ike": "tun", "timeout": "-1"}) // there may be nothing
	}
	t.loaded, t.remote = t.want, t.conn.Customer.String()
	return nil
}

// established says whether the daemon has an agreement by which packets pass.
func established(c *vici.Conn) (bool, error) {
	list, err := c.List("list-sas", "list-sa", vici.Section{"ike": "tun"})
	if err != nil {
		return false, err
	}
	for _, e := range list {
		for _, ike := range e.Sections {
			children, _ := ike["child-sas"].(vici.Section)
			for _, child := range children.Sections {
				if child.Get("state") == "INSTALLED" && ike.Get("state") == "ESTABLISHED" {
					return true, nil
				}
			}
		}
	}
	return false, nil
}

// end stops the daemon.
func (t *tunnel) end() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.gone = true
	if c, err := vici.Dial(filepath.Join(t.dir, "vici"), viciWait); err == nil {
		pid, err := c.PID()
		c.Close()
		if err == nil && pid > 1 {
			endProcess(pid)
		}
	}
	_ = os.RemoveAll(t.dir)
}

// endProcess asks a process to end, and makes it.
func endProcess(pid int) {
	_ = syscall.Kill(pid, syscall.SIGTERM)
	for end := time.Now().Add(2 * time.Second); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if syscall.Kill(pid, 0) != nil || zombie(pid) {
			return
		}
	}
	_ = syscall.Kill(pid, syscall.SIGKILL)
}

func zombie(pid int) bool {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	_, rest, _ := strings.Cut(string(b), ") ")
	return err != nil || strings.HasPrefix(rest, "Z")
}
