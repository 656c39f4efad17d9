package daemon

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"runtime"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"karri.dev/internal/admin"
	"karri.dev/internal/block/serve"
	"karri.dev/internal/compute"
	"karri.dev/internal/compute/qemu"
	"karri.dev/internal/frontdoor"
	"karri.dev/internal/guestapi"
	"karri.dev/internal/imagecache"
	"karri.dev/internal/membership"
	"karri.dev/internal/network"
	"karri.dev/internal/network/netns"
	"karri.dev/internal/nodeapi"
	"karri.dev/internal/pki"
	"karri.dev/internal/role/node"
	"karri.dev/internal/version"
)

// nodeParts are what a node process is made of, where `karri up` and `karri node` differ.
type nodeParts struct {
	cfg    NodeConfig
	id     string
	log    *slog.Logger
	fetch  func(ctx context.Context, img nodeapi.Image) (io.ReadCloser, error)
	attach func(ctx context.Context) (nodeapi.NodeLink, error)
	api    netns.API // how guests reach the cloud's API; nil: they cannot
	// dial reaches a volume of the zone's host at the zone's address for it; nil: volumes are here.
	dial func(ctx context.Context, address string) (net.Conn, error)
	// disks reaches what the zone in this process serves of volumes; nil: the zone is elsewhere.
	disks func(ctx context.Context, export string) (net.Conn, error)
}

// nodeProcess is the node role with its engines.
type nodeProcess struct {
	id      string
	role    *node.Node
	compute *qemu.Driver
	network *netns.Driver
	closers closers
}

// engines opens what runs machines and networks on this host, for a node and for `karri down`.
func (p *nodeProcess) engines(dir, id string, cfg NodeConfig, accel compute.Accel, guests *late, api netns.API, dial func(ctx context.Context, volume string) (net.Conn, error), log *slog.Logger) (err error) {
	defer func() {
		if err != nil {
			p.closers.close(log)
		}
	}()
	p.id = id
	if p.compute, err = qemu.New(qemu.Config{Dir: under(dir, "machines"), Accel: accel, Dial: dial}, log); err != nil {
		return err
	}
	p.closers.add(p.compute.Close)
	var underlay netip.Addr
	if cfg.Underlay != "" {
		if underlay, err = netip.ParseAddr(cfg.Underlay); err != nil {
			return fmt.Errorf("--underlay: %w", err)
		}
	}
	deps := netns.Deps{Log: log, API: api}
	if guests != nil {
		deps.Metadata, deps.Flows = guests, guests.Flows
	}
	p.network, err = netns.New(netns.Config{Name: networkName(id), Underlay: underlay, PublicInterface: cfg.PublicInterface}, deps)
	if err != nil {
		return err
	}
	p.closers.add(p.network.Close)
	return nil
}

// networkName is how the host's namespaces and links of a node are called: several nodes may share a machine.
func networkName(nodeID string) string { return nodeID[len("node-"):][:8] }

// late answers the network's questions about metadata once the node is there.
type late struct{ node atomic.Pointer[node.Node] }

func (l *late) Lookup(vpcID string, ip netip.Addr) (nodeapi.Metadata, bool) {
	if n := l.node.Load(); n != nil {
		return n.Lookup(vpcID, ip)
	}
	return nodeapi.Metadata{}, false
}

// Flows takes the network's records of flow logs; there are none before there are guests.
func (l *late) Flows(records []network.FlowRecord) {
	if n := l.node.Load(); n != nil {
		n.Flows(records)
	}
}

// dialer makes of a way to the zone's volumes one for the driver of machines; nil of nil.
func (l *late) dialer(dial func(ctx context.Context, address string) (net.Conn, error)) func(ctx context.Context, volume string) (net.Conn, error) {
	if dial == nil {
		return nil
	}
	return func(ctx context.Context, _ string) (net.Conn, error) {
		n := l.node.Load()
		if n == nil || n.Storage() == "" {
			return nil, errors.New("it is not known where the zone's volumes are")
		}
		return dial(ctx, n.Storage())
	}
}

func openNode(ctx context.Context, parts nodeParts) (*nodeProcess, error) {
	cfg := parts.cfg
	dir := under(cfg.Join.DataDir, "node")
	if err := os.MkdirAll(dir, 0o711); err != nil {
		return nil, err
	}
	p := new(nodeProcess)
	metadata := new(late)
	accel, err := findAccel(ctx, dir, cfg.Accel, parts.log)
	if err != nil {
		return nil, err
	}
	dial := parts.disks
	if dial == nil {
		dial = metadata.dialer(parts.dial)
	}
	if err := p.engines(dir, parts.id, cfg, accel, metadata, parts.api, dial, parts.log); err != nil {
		return nil, err
	}
	cache, err := imagecache.New(imagecache.Config{Dir: under(dir, "images"), MaxBytes: int64(cfg.CacheGiB) << 30}, parts.log, time.Now)
	if err == nil {
		p.role, err = node.New(node.Config{Dir: dir, Hello: hello(cfg, p.compute.Accel())}, node.Deps{
			Log: parts.log, Now: time.Now, Compute: p.compute, Network: p.network, Cache: cache,
			Attach: parts.attach, Fetch: parts.fetch,
		})
	}
	if err != nil {
		p.closers.close(parts.log)
		return nil, err
	}
	metadata.node.Store(p.role)
	if err := writeID(dir, parts.id); err != nil {
		p.closers.close(parts.log)
		return nil, err
	}
	return p, nil
}

// hello says what this host offers.
func hello(cfg NodeConfig, accel compute.Accel) nodeapi.Hello {
	h := nodeapi.Hello{Name: cfg.Name, Underlay: cfg.Underlay, Accel: accel, Version: version.Version, VPN: netns.MissingForVPN() == nil}
	if h.Name == "" {
		h.Name, _ = os.Hostname()
	}
	h.Capacity.VCPUs = runtime.NumCPU() * max(cfg.CPUOvercommit, 1)
	var mem unix.Sysinfo_t
	if unix.Sysinfo(&mem) == nil {
		h.Capacity.MemoryMiB = max(0, int(uint64(mem.Totalram)*uint64(mem.Unit)>>20)-cfg.ReserveMiB)
	}
	var disk unix.Statfs_t
	if unix.Statfs(cfg.Join.DataDir, &disk) == nil {
		// Disks are copy-on-write and sparse: what is free may be promised several times over.
		h.Capacity.DiskGiB = int(disk.Bavail*uint64(disk.Bsize)>>30) * diskOvercommit
	}
	return h
}

// diskOvercommit is how often free disk space is promised to instances.
const diskOvercommit = 10

// component is the node in `karri status`.
func (p *nodeProcess) component() admin.Component {
	a := p.compute.Accel()
	c := admin.Component{Role: "node", Name: p.id, Healthy: p.role.Connected(), Facts: map[string]string{"accel": a.Name, "because": a.Reason}}
	if !c.Healthy {
		c.Detail = "not connected to its zone"
	}
	return c
}

// Node runs the node role until ctx ends.
func Node(ctx context.Context, cfg NodeConfig, log *slog.Logger, out io.Writer) error {
	l, err := acquire(cfg.Join.DataDir)
	if err != nil {
		return err
	}
	defer l.release()
	name := cfg.Name
	if name == "" {
		name, _ = os.Hostname()
	}
	m, err := join(ctx, cfg.Join, "node", name)
	if err != nil {
		return err
	}
	if m.Welcome().ZoneEndpoint == "" { // the zone may have started after we joined
		if err := m.Renew(ctx); err != nil {
			return err
		}
		if m.Welcome().ZoneEndpoint == "" {
			return fmt.Errorf("zone %s has not started yet", m.Identity.Zone)
		}
	}
	zone, err := nodeapi.Dial(m.Welcome().ZoneEndpoint, m.Keys.ClientConfig(m.Roots, pki.Identity{Role: "zone", Name: m.Identity.Zone}))
	if err != nil {
		return err
	}
	defer zone.Close()
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: m.CloudConfig()}}
	guests, err := guestAPI(m)
	if err != nil {
		return err
	}
	p, err := openNode(ctx, nodeParts{
		cfg: cfg, id: m.Identity.Name, log: log, api: guests,
		attach: func(ctx context.Context) (nodeapi.NodeLink, error) { return zone.Attach(ctx) },
		dial: func(ctx context.Context, address string) (net.Conn, error) {
			conn, err := new(net.Dialer).DialContext(ctx, "tcp", address)
			if err != nil {
				return nil, err
			}
			serve.Tune(conn)
			config := m.Keys.ClientConfig(m.Roots, pki.Identity{Role: "zone", Name: m.Identity.Zone})
			config.DynamicRecordSizingDisabled = true
			secure := tls.Client(conn, config)
			if err := secure.HandshakeContext(ctx); err != nil {
				conn.Close()
				return nil, err
			}
			return secure, nil
		},
		fetch: func(ctx context.Context, img nodeapi.Image) (io.ReadCloser, error) {
			url, err := zone.ImageURL(ctx, img.ID)
			if err != nil {
				return nil, err
			}
			return download(ctx, client, url)
		},
	})
	if err != nil {
		return err
	}
	defer p.closers.close(log)
	g, gctx := errgroup.WithContext(ctx)
	g.Go(func() error { return p.role.Run(gctx) })
	g.Go(func() error { return m.Run(gctx, log) })
	g.Go(func() error {
		return admin.Serve(gctx, cfg.Join.DataDir, log, map[string]admin.Method{"status": admin.Handle(func(context.Context, struct{}) (admin.Status, error) {
			return status(p.component()), nil
		})})
	})
	fmt.Fprint(out, ready("node", "id=%s zone=%s", p.id, m.Identity.Zone))
	return ended(ctx, g.Wait())
}

// guestAPI gives the way of guests to the API of the cloud that this node is a member of.
func guestAPI(m *membership.Member) (netns.API, error) {
	u, err := url.Parse(m.Cloud)
	if err != nil {
		return nil, fmt.Errorf("the cloud's URL: %w", err)
	}
	return guestapi.Tunnel(u.Host, frontdoor.Own+guestapi.TunnelPath, m.CloudConfig), nil
}

func download(ctx context.Context, client *http.Client, url string) (io.ReadCloser, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	res, err := client.Do(req)
	if err != nil {
		return nil, err
	}
	if res.StatusCode != http.StatusOK {
		res.Body.Close()
		return nil, fmt.Errorf("fetch image: the cloud answers %s", res.Status)
	}
	return res.Body, nil
}

// Down ends the process that serves a data directory, its guests, and what was made on the host.
func Down(ctx context.Context, dataDir string, log *slog.Logger) error {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Minute)
	defer cancel()
	if _, err := os.Stat(dataDir); err != nil {
		return err
	}
	if err := stopHolder(ctx, dataDir); err != nil {
		return err
	}
	l, err := acquire(dataDir)
	if err != nil {
		return err
	}
	defer l.release()
	dir := under(dataDir, "node")
	if err := endVolumeServer(ctx, dataDir); err != nil {
		return err
	}
	id, err := readID(dir)
	if err != nil || id == "" {
		return err // no node ever ran here
	}
	p := new(nodeProcess)
	if err := p.engines(dir, id, NodeConfig{}, compute.Accel{}, nil, nil, nil, log); err != nil {
		return err
	}
	defer p.closers.close(log)
	machines, err := p.compute.List(ctx)
	if err != nil {
		return err
	}
	var g errgroup.Group
	for _, m := range machines {
		if m.State == compute.Running {
			log.Info("stopping", "instance", m.ID)
			g.Go(func() error { return p.compute.Stop(ctx, m.ID, 30*time.Second) })
		}
	}
	if err := g.Wait(); err != nil {
		return err
	}
	if err := node.MarkStopped(dir); err != nil {
		return err
	}
	return p.network.Destroy(ctx)
}
