package daemon

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/netip"
	"os"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/prometheus/client_golang/prometheus"

	"karri.dev/internal/admin"
	"karri.dev/internal/audit"
	"karri.dev/internal/durable"
	"karri.dev/internal/guestapi"
	"karri.dev/internal/ids"
	"karri.dev/internal/image"
	"karri.dev/internal/membership"
	"karri.dev/internal/nodeapi"
	"karri.dev/internal/object"
	"karri.dev/internal/object/disk"
	"karri.dev/internal/pki"
	"karri.dev/internal/resource"
	"karri.dev/internal/role/cloud"
	"karri.dev/internal/role/zone"
	"karri.dev/internal/seal"
	"karri.dev/internal/signup"
	"karri.dev/internal/store"
	"karri.dev/internal/store/embedded"
)

// cloudProcess is the cloud role with what holds it: store, objects, listeners, files.
type cloudProcess struct {
	cfg     CloudConfig
	log     *slog.Logger
	sealer  *seal.Sealer
	store   *store.Store
	objects *disk.Engine
	ledger  *object.Ledger
	stores  map[string]*disk.Engine // further ones
	role    *cloud.Cloud
	api     *api
	root    *pki.Authority
	audit   *audit.Writer
	closers closers

	credentials string // folder of the administrator's credentials
	// zone is the one in the same process; nil = dial the instance's zone.
	zone   looker
	status func() []admin.Component // of further roles in the process
	zones  zoneClients
}

// closers are run in reverse.
type closers []func() error

func (c *closers) add(f func() error) { *c = append(*c, f) }

func (c closers) close(log *slog.Logger) {
	for i := len(c) - 1; i >= 0; i-- {
		if err := c[i](); err != nil {
			log.Error("cannot close", "error", err)
		}
	}
}

// zoneSettings are what the cloud tells its zones.
type zoneSettings struct {
	PublicPool []netip.Prefix `json:"public_pool"`
	Domain     string         `json:"domain"`
}

// openCloud starts the cloud role's engines and prepares the role. On an error everything is closed again.
func openCloud(ctx context.Context, cfg CloudConfig, log *slog.Logger) (p *cloudProcess, err error) {
	p = &cloudProcess{cfg: cfg, log: log, ledger: object.NewLedger()}
	opened := p // `return nil, err` sets p
	defer func() {
		if err != nil {
			opened.closers.close(log)
		}
	}()
	for _, dir := range []string{"keys", "log", "scratch"} {
		if err := os.MkdirAll(under(cfg.DataDir, dir), 0o700); err != nil {
			return nil, err
		}
	}
	if p.sealer, err = seal.FromFile(under(cfg.DataDir, "keys", "cloud.key")); err != nil {
		return nil, err
	}
	keeper, err := p.openStore(ctx)
	if err != nil {
		return nil, err
	}
	if p.root, err = membership.Root(ctx, p.store, p.sealer, time.Now); err != nil {
		return nil, err
	}
	if p.objects, err = disk.Open(disk.Config{Dir: under(cfg.DataDir, "objects"), Disks: cfg.ObjectDisks, Sealer: p.sealer, Ledger: p.ledger, Log: log}); err != nil {
		return nil, err
	}
	p.closers.add(p.objects.Close)
	if err := p.openStores(); err != nil {
		return nil, err
	}
	if err := p.openAudit(); err != nil {
		return nil, err
	}
	if p.api, err = listenAPI(cfg, p.root, log); err != nil {
		return nil, err
	}
	p.closers.add(func() error {
		if err := p.api.listener.Close(); !errors.Is(err, net.ErrClosed) { // the server closes it when it is shut down
			return err
		}
		return nil
	})
	converter, err := image.NewConverter(image.ConverterConfig{}, log)
	if err != nil {
		return nil, err
	}
	sender, err := cfg.Mail.sender()
	if err != nil {
		return nil, err
	}
	base := cfg.Mail.Base
	if base == "" {
		base = p.api.url(cfg)
	}
	bundles, certificate, err := membership.BundleKey(ctx, p.store, p.sealer, time.Now)
	if err != nil {
		return nil, err
	}
	registry := prometheus.NewRegistry()
	registry.MustRegister(objectMetrics{p})
	p.role = cloud.New(cloud.Config{
		SignUp: signup.Config{Admin: cfg.Mail.Admin, Base: base},

		ObjectStores: slices.Sorted(maps.Keys(p.stores)),

		Region: cfg.Region, Domain: cfg.Domain, Endpoint: p.api.url(cfg), PublicPool: cfg.PublicPool, IssuerNetworks: cfg.issuers,
		UsageFile: under(cfg.DataDir, "key-usage.json"), TriesFile: under(cfg.DataDir, "login-tries.json"), ScratchDir: under(cfg.DataDir, "scratch"), RootDevice: cfg.RootDevice,
	}, cloud.Deps{
		Registry: registry,
		Store:    p.store, Sealer: p.sealer, Objects: p.routes(), Ledger: p.ledger, Root: p.root, Keeper: keeper,
		IDs: ids.New(nil), Now: time.Now, Log: log, Audit: p.audit, Mail: sender, Console: p.readConsole, Screen: p.readScreen, Converter: converter, Bundles: bundles,
	})
	p.api.gate.Check = func(who pki.Identity, way guestapi.Way, guest netip.Addr) error {
		return p.role.Membership.SpeaksFor(who, way.VPC, way.Endpoint, guest)
	}
	p.role.Door.Handle(guestapi.TunnelPath, p.api.gate)
	if err := p.role.Events.Load(under(cfg.DataDir, "log", "audit.json")); err != nil {
		return nil, fmt.Errorf("read the audit log: %w", err)
	}
	if keeper != nil && cfg.StoreListen != "" {
		p.role.Membership.StoreEndpoints = []string{"https://" + cfg.StoreListen}
	}
	if p.role.Membership.Settings, err = json.Marshal(zoneSettings{cfg.PublicPool, cfg.Domain}); err != nil {
		return nil, err
	}
	account, key, err := p.role.Bootstrap(ctx)
	if err != nil {
		return nil, err
	}
	e := endpoint{url: p.api.url(cfg), region: cfg.Region, bundles: pki.EncodePEM(certificate)}
	if !p.api.loopback && cfg.TLSCert == "" {
		e.ca = pki.EncodePEM(p.root.Certificate())
	}
	p.credentials, err = writeCredentials(cfg.DataDir, e, account, key)
	return p, err
}

// openStore opens the state store; keeper is the authority of an embedded one.
func (p *cloudProcess) openStore(ctx context.Context) (keeper *pki.Authority, err error) {
	cfg := store.Config{Dir: under(p.cfg.DataDir, "state")}
	if len(p.cfg.Etcd.Endpoints) > 0 {
		cfg = store.Config{External: p.cfg.Etcd}
	} else {
		if keeper, err = membership.StoreAuthority(under(p.cfg.DataDir, "keys", "store-authority"), p.sealer, time.Now); err != nil {
			return nil, err
		}
		if cfg.Listen = p.cfg.StoreListen; cfg.Listen != "" {
			if cfg.Server, err = p.storeFiles(keeper); err != nil {
				return nil, err
			}
		}
	}
	p.store, err = store.Open(ctx, cfg, p.log)
	if err != nil {
		return nil, err
	}
	p.closers.add(p.store.Close)
	return keeper, nil
}

// storeFiles makes the embedded store's own certificate, anew at every start.
func (p *cloudProcess) storeFiles(keeper *pki.Authority) (embedded.TLS, error) {
	files := embedded.TLS{
		Cert: under(p.cfg.DataDir, "keys", "store.pem"), Key: under(p.cfg.DataDir, "keys", "store.pem"),
		ClientCA: under(p.cfg.DataDir, "keys", "store-ca.pem"),
	}
	host, _, err := net.SplitHostPort(p.cfg.StoreListen)
	if err != nil {
		return files, fmt.Errorf("--store-listen: %w", err)
	}
	key, err := pki.NewKey()
	if err != nil {
		return files, err
	}
	cert, err := keeper.Issue(pki.Identity{Role: "cloud", Name: "store"}, []string{host, "localhost", "127.0.0.1"}, key.Public())
	if err != nil {
		return files, err
	}
	if _, err := pki.NewKeyPair(files.Cert, key, cert); err != nil {
		return files, err
	}
	return files, durable.WriteFile(files.ClientCA, pki.EncodePEM(keeper.Certificate()), 0o600)
}

// The audit log takes at most auditFile bytes in each of its files, of which auditKeep older ones stay.
const (
	auditFile = 128 << 20
	auditKeep = 7
)

func (p *cloudProcess) openAudit() error {
	f, err := audit.OpenFile(under(p.cfg.DataDir, "log", "audit.json"), auditFile, auditKeep)
	if err != nil {
		return err
	}
	p.audit = audit.NewWriter(f)
	p.closers.add(f.Close)
	return nil
}

// run serves the API and runs the role until ctx ends.
func (p *cloudProcess) run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return p.audit.Run(ctx) })
	g.Go(func() error { return p.role.Run(ctx) })
	g.Go(func() error { return p.api.serve(ctx, p.role.Handler(), p.log) })
	g.Go(func() error { return admin.Serve(ctx, p.cfg.DataDir, p.log, p.allMethods()) })
	return g.Wait()
}

// Cloud runs the cloud role until ctx ends.
func Cloud(ctx context.Context, cfg CloudConfig, log *slog.Logger, out io.Writer) error {
	if err := cfg.defaults(); err != nil {
		return err
	}
	l, err := acquire(cfg.DataDir)
	if err != nil {
		return err
	}
	defer l.release()
	p, err := openCloud(ctx, cfg, log)
	if err != nil {
		return err
	}
	defer p.closers.close(log)
	fmt.Fprint(out, ready("cloud", "api=%s region=%s credentials=%s", p.api.url(cfg), cfg.Region, p.credentials))
	return ended(ctx, p.run(ctx))
}

// ended turns the end that was asked for into success.
func ended(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// looker is a zone as the cloud asks it about instances.
type looker interface {
	Console(ctx context.Context, instanceID string, max int) ([]byte, error)
	Screen(ctx context.Context, instanceID string) ([]byte, error)
}

// ownZone is a looker in the same process.
type ownZone struct{ z *zone.Zone }

func (o ownZone) Console(ctx context.Context, id string, max int) ([]byte, error) {
	return o.z.Console(ctx, pki.Identity{Role: "cloud"}, id, max)
}

func (o ownZone) Screen(ctx context.Context, id string) ([]byte, error) {
	return o.z.Screen(ctx, pki.Identity{Role: "cloud"}, id)
}

func (p *cloudProcess) readConsole(ctx context.Context, inst *resource.Instance, max int) ([]byte, error) {
	z, err := p.zoneOf(inst)
	if err != nil {
		return nil, err
	}
	return z.Console(ctx, inst.ID, max)
}

func (p *cloudProcess) readScreen(ctx context.Context, inst *resource.Instance) ([]byte, error) {
	z, err := p.zoneOf(inst)
	if err != nil {
		return nil, err
	}
	return z.Screen(ctx, inst.ID)
}

// zoneOf gives the instance's zone, to be asked.
func (p *cloudProcess) zoneOf(inst *resource.Instance) (looker, error) {
	if p.zone != nil {
		return p.zone, nil
	}
	z := store.Zones.Get(p.store.Snapshot(), inst.Zone)
	if z == nil || z.Endpoint == "" {
		return nil, fmt.Errorf("zone %s has not started yet", inst.Zone)
	}
	return p.zones.get(z, p)
}

// zoneClients are the cloud's connections to zones, by endpoint.
type zoneClients struct {
	mu      sync.Mutex
	clients map[string]*nodeapi.Client
}

func (z *zoneClients) get(zone *resource.Zone, p *cloudProcess) (*nodeapi.Client, error) {
	z.mu.Lock()
	defer z.mu.Unlock()
	key := zone.Name + "@" + zone.Endpoint
	if c := z.clients[key]; c != nil {
		return c, nil
	}
	c, err := nodeapi.Dial(zone.Endpoint, p.api.keys.ClientConfig(p.root.Pool(), pki.Identity{Role: "zone", Name: zone.Name}))
	if err != nil {
		return nil, err
	}
	if z.clients == nil {
		z.clients = map[string]*nodeapi.Client{}
	}
	z.clients[key] = c
	p.closers.add(c.Close)
	return c, nil
}
