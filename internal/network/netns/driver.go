// Package netns is the network driver of a real Linux host: one network namespace per VPC, one persistent tap
// with a /32 route per interface, nftables for groups, ACLs and anti-spoofing, an edge namespace with the
// internet gateways, VXLAN to other hosts, and DHCP, DNS and the metadata service on sockets inside each
// namespace. No bridges. What must be there is compiled by package rules; this package makes it true.
package netns

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"sync"
	"sync/atomic"
	"time"

	"karri.dev/internal/network"
	"karri.dev/internal/network/rules"
	"karri.dev/internal/nodeapi"
)

// Config says where and as what the driver works.
type Config struct {
	// Name tells drivers on one machine apart: 1 to 8 lower-case letters and digits, the same after a restart.
	// All that the driver makes carries it: namespaces karri-NAME-…, the link kr-NAME.
	Name string
	// HostNamespace is the path of the namespace that stands for the host; "" = this process's own.
	HostNamespace string
	// Underlay is this host's address for traffic between hosts; zero = there are no others.
	Underlay netip.Addr
	// PublicInterface is the host's link on which public addresses are reachable for other machines and
	// through which guests with one reach out; "" = public addresses exist on this host only.
	PublicInterface string
	// Upstreams answer names that are not a VPC's own; none = such names do not exist.
	Upstreams []netip.AddrPort
	// MTU of guests' interfaces; 0 = 1500, or 1450 with an Underlay.
	MTU int
	// Conns is how many tracked connections one interface may have; 0 = a quarter of what the kernel's table holds.
	Conns int
	// Count is how often they are counted; 0 = every second.
	Count time.Duration
	// Flows is the interval of flow logs' records; 0 = a minute.
	Flows time.Duration
	// Verify is how often the kernel is compared with the last applied state; 0 = every 30 s, < 0 never.
	Verify time.Duration
}

// Metadata finds an instance's metadata by its VPC and private address.
type Metadata interface {
	Lookup(vpcID string, ip netip.Addr) (nodeapi.Metadata, bool)
}

// API connects to the cloud's API in the name of a guest, which came by a VPC endpoint, or "".
type API func(ctx context.Context, vpcID, endpoint string, guest netip.AddrPort) (net.Conn, error)

// Deps are what the driver uses of others.
type Deps struct {
	Log      *slog.Logger
	Metadata Metadata // nil = no metadata service
	API      API      // nil = guests cannot reach the cloud's API by rules.APIAddr
	// Flows takes the records of flow logs, and must not wait for anybody; nil = there are none.
	Flows func([]network.FlowRecord)
	Now   func() time.Time // nil = time.Now
	Rand  io.Reader        // nil = the system's
}

// Driver is a network.Driver.
type Driver struct {
	cfg   Config
	deps  Deps
	rules rules.Options

	mu       sync.Mutex
	root     *space
	edge     *space
	vpcs     map[string]*vpc
	nats     map[string]*space // of NAT gateways, virtual private gateways and VPN tunnels
	flat     *flat             // nil = there is none
	adopted  bool
	last     *network.State
	whole    bool // last is in force, as far as is known
	compiled rules.Host
	closed   bool

	tunnelsMu sync.Mutex
	tunnels   map[string]*tunnel
	news      chan struct{}

	stop   context.CancelFunc
	ctx    context.Context
	work   sync.WaitGroup
	ticks  sync.Once
	writes atomic.Int64 // changes made to the kernel
}

// vpc is one VPC on this host.
type vpc struct {
	*space
	gateway, overlay bool
	joined           []rules.Link
	full             []string // taps that have as many connections as they may, sorted
	services         *services
	flows            *flows
}

var _ network.Driver = (*Driver)(nil)

var validName = regexp.MustCompile(`^[a-z0-9]{1,8}$`)

// New makes a driver; nothing happens on the host before Apply.
func New(cfg Config, deps Deps) (*Driver, error) {
	if !validName.MatchString(cfg.Name) {
		return nil, fmt.Errorf("netns: name %q is not 1 to 8 lower-case letters and digits", cfg.Name)
	}
	if cfg.Underlay.IsValid() && !cfg.Underlay.Is4() {
		return nil, fmt.Errorf("netns: underlay %s is not an IPv4 address", cfg.Underlay)
	}
	if cfg.MTU == 0 {
		cfg.MTU = 1500
		if cfg.Underlay.IsValid() {
			cfg.MTU = 1450
		}
	}
	if cfg.Count == 0 {
		cfg.Count = time.Second
	}
	if cfg.Flows == 0 {
		cfg.Flows = time.Minute
	}
	if cfg.Verify == 0 {
		cfg.Verify = 30 * time.Second
	}
	if cfg.HostNamespace == "" {
		cfg.HostNamespace = "/proc/thread-self/ns/net"
	}
	if deps.Log == nil {
		deps.Log = slog.New(slog.DiscardHandler)
	}
	if deps.Now == nil {
		deps.Now = time.Now
	}
	if deps.Rand == nil {
		deps.Rand = rand.Reader
	}
	d := &Driver{cfg: cfg, deps: deps, vpcs: map[string]*vpc{}, nats: map[string]*space{}, tunnels: map[string]*tunnel{}, news: make(chan struct{}, 1)}
	d.rules = rules.Options{Link: "kr-" + cfg.Name, Underlay: cfg.Underlay, PublicInterface: cfg.PublicInterface}
	root, err := openSpace("", cfg.HostNamespace, true, &d.writes)
	if err != nil {
		return nil, fmt.Errorf("netns: open the host's namespace: %w", err)
	}
	d.root = root
	d.ctx, d.stop = context.WithCancel(context.Background())
	return d, nil
}

func (d *Driver) prefix() string             { return "karri-" + d.cfg.Name + "-" }
func (d *Driver) spaceName(id string) string { return d.prefix() + id }

// MTU is that of guests' interfaces.
func (d *Driver) MTU() int { return d.cfg.MTU }

var errClosed = errors.New("netns: the driver is closed")

// OpenTap attaches to an applied interface's tap.
func (d *Driver) OpenTap(_ context.Context, interfaceID string) (*os.File, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return nil, errClosed
	}
	for _, v := range d.compiled.VPCs {
		for _, t := range v.Taps {
			if s := d.vpcs[v.ID]; t.ID == interfaceID && s != nil {
				return s.attach(t.Name)
			}
		}
	}
	if f := d.compiled.Flat; f != nil && d.flat != nil {
		for _, t := range f.Taps {
			if t.ID == interfaceID {
				return d.flat.attach(t.Name)
			}
		}
	}
	return nil, fmt.Errorf("netns: no interface %s here", interfaceID)
}

// attach opens a tap that must be there already: the kernel would make a new one.
func (s *space) attach(tap string) (*os.File, error) {
	var f *os.File
	err := s.enter(func() error {
		if _, err := s.links.LinkByName(tap); err != nil {
			return fmt.Errorf("find tap %s: %w", tap, err)
		}
		var err error
		f, err = openTap(tap)
		return err
	})
	return f, err
}

// Close ends the services. Packets go on flowing.
func (d *Driver) Close() error {
	d.mu.Lock()
	if d.closed {
		d.mu.Unlock()
		return nil
	}
	d.closed = true
	d.stop()
	for _, v := range d.vpcs {
		v.flows.close()
		v.services.close()
		v.close()
	}
	for _, s := range d.nats {
		s.close()
	}
	if d.flat != nil {
		d.flat.end()
	}
	if d.edge != nil {
		d.edge.close()
	}
	d.root.close()
	d.mu.Unlock()
	d.work.Wait()
	return nil
}

// Destroy removes all that a driver of this name made on the host.
func (d *Driver) Destroy(ctx context.Context) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return errClosed
	}
	d.last, d.compiled = nil, rules.Host{}
	d.endTunnels(func(string) bool { return false })
	errs := []error{d.clearRoot()}
	for id := range d.vpcs {
		errs = append(errs, d.dropVPC(id))
	}
	for id := range d.nats {
		errs = append(errs, d.dropNAT(id))
	}
	if d.flat != nil {
		errs = append(errs, d.dropFlat())
	}
	if d.edge != nil {
		d.edge.close()
		d.edge = nil
	}
	names, err := namedSpaces(d.prefix())
	errs = append(errs, err)
	for _, name := range names {
		errs = append(errs, d.dropSpace(name))
	}
	removeRunDir()
	d.adopted = false
	return errors.Join(errs...)
}

// dropNAT ends a NAT gateway's namespace.
func (d *Driver) dropNAT(id string) error {
	s := d.nats[id]
	delete(d.nats, id)
	s.close()
	return d.dropSpace(s.name)
}

// dropVPC ends a VPC's services and namespace.
func (d *Driver) dropVPC(id string) error {
	v := d.vpcs[id]
	delete(d.vpcs, id)
	v.flows.close()
	v.services.close()
	v.close()
	return d.dropSpace(v.name)
}

// dropSpace removes a namespace with its links: a hypervisor that still holds a tap would keep the whole
// namespace alive, and with it the other ends of its links.
func (d *Driver) dropSpace(name string) error {
	path := filepath.Join(runDir, name)
	if isNamespace(path) {
		s, err := openSpace(name, path, false, &d.writes)
		if err != nil {
			return err
		}
		devices, err := s.devices()
		for link := range devices {
			if link != "lo" {
				err = errors.Join(err, s.deleteLink(link))
			}
		}
		s.close()
		if err != nil {
			return err
		}
	}
	d.writes.Add(1)
	return removeNamespace(name)
}
