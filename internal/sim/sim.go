// Package sim is a whole cloud in one process: the real cloud and zone roles and any number of real node
// agents, over simulated hosts. Faults come from a seed. Inside a testing/synctest bubble an hour of a cloud
// of a thousand nodes takes seconds.
package sim

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"karri.dev/internal/audit"
	"karri.dev/internal/block/fake"
	"karri.dev/internal/compute"
	"karri.dev/internal/identity"
	"karri.dev/internal/ids"
	"karri.dev/internal/membership"
	"karri.dev/internal/network"
	"karri.dev/internal/object"
	"karri.dev/internal/object/disk"
	"karri.dev/internal/pki"
	"karri.dev/internal/placement"
	"karri.dev/internal/resource"
	"karri.dev/internal/role/cloud"
	"karri.dev/internal/role/zone"
	"karri.dev/internal/seal"
	"karri.dev/internal/store"
)

// Region and Zone are where everything is.
const (
	Region = "us-east-1"
	Zone   = "us-east-1a"
)

// Config says what is simulated. The zero Config is an empty cloud without faults.
type Config struct {
	Nodes     int
	Accounts  int
	Seed      uint64
	Capacity  resource.Capacity // of each node; zero: 16 vCPUs, 32 GiB, 1 TiB
	Placement placement.Policy
	Faults    Faults
	// Store holds the state; nil: one in memory. The cloud closes it.
	Store *store.Store
	Log   *slog.Logger // nil: none
	Audit audit.Sink   // nil: none
	// NodeGrace is how long a node may be away before it counts as down; 0: the zone's default.
	NodeGrace time.Duration
	// Network makes the network driver of the n-th node; nil: simulated ones.
	Network func(n int, underlay netip.Addr) (network.Driver, error)
	// Unchecked leaves out the nodes' compiling of network rules: for measurements.
	Unchecked bool
	// RatePerSecond is the front door's throttle per account; negative: none.
	RatePerSecond float64
}

// Cloud is a simulated cloud.
type Cloud struct {
	Store    *store.Store
	Role     *cloud.Cloud
	Nodes    []*Node
	Accounts []Account
	Image    string // id of a public image that can be launched

	cfg     Config
	log     *slog.Logger
	objects *disk.Engine
	ledger  *object.Ledger
	volumes *fake.Driver
	zone    atomic.Pointer[runningZone] // nil while it is down
	wrong   firstError                  // what was seen on the way that must never be

	running sync.WaitGroup
	ctx     context.Context // of Run
}

// Account is an account with its root's key.
type Account struct {
	resource.Account
	Key identity.Key
}

// runningZone is a zone process.
type runningZone struct {
	*zone.Zone
	ctx  context.Context // ends with the process
	stop func()
}

// Public addresses: as many as a large simulation needs, and a range that no real network of nodes uses itself.
var (
	pool     = netip.MustParsePrefix("100.64.0.0/10")
	realPool = netip.MustParsePrefix("198.51.100.0/24")
)

func (c *Cloud) pool() []netip.Prefix {
	if c.cfg.Network != nil {
		return []netip.Prefix{realPool}
	}
	return []netip.Prefix{pool}
}

// New makes a cloud with its nodes and accounts. Nothing runs before Run.
func New(ctx context.Context, cfg Config) (*Cloud, error) {
	if cfg.Capacity == (resource.Capacity{}) {
		cfg.Capacity = resource.Capacity{VCPUs: 16, MemoryMiB: 32 << 10, DiskGiB: 1 << 10}
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	c := &Cloud{cfg: cfg, log: cfg.Log, Store: cfg.Store, volumes: fake.New()}
	if c.Store == nil {
		c.Store = store.OpenMemory(c.log)
	}
	var err error
	c.ledger = object.NewLedger()
	if c.objects, err = disk.Open(disk.Config{Dir: "objects", FS: disk.InMemory(), Ledger: c.ledger, Log: c.log}); err != nil {
		return nil, errors.Join(err, c.Store.Close())
	}
	if err := c.furnish(ctx); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return c, nil
}

// furnish makes the role and the records that a cloud begins with.
func (c *Cloud) furnish(ctx context.Context) error {
	chacha := func(purpose byte) *rand.ChaCha8 {
		seed := sha256.Sum256(fmt.Appendf(nil, "%d %d", c.cfg.Seed, purpose))
		return rand.NewChaCha8(seed)
	}
	key := make([]byte, 32)
	_, _ = chacha('k').Read(key)
	sealer, err := seal.New(key)
	if err != nil {
		return err
	}
	root, err := membership.Root(ctx, c.Store, sealer, time.Now)
	if err != nil {
		return err
	}
	c.Role = cloud.New(cloud.Config{
		Region: Region, Domain: "karri.internal", Endpoint: "http://127.0.0.1:8773",
		PublicPool: c.pool(), RatePerSecond: c.cfg.RatePerSecond,
	}, cloud.Deps{
		Store: c.Store, Sealer: sealer, Objects: c.objects, Ledger: c.ledger, Root: root,
		IDs: ids.New(chacha('i')), Now: time.Now, Log: c.log, Audit: c.cfg.Audit,
		Screen: func(context.Context, *resource.Instance) ([]byte, error) { return nil, compute.ErrNoScreen },
		Console: func(ctx context.Context, inst *resource.Instance, max int) ([]byte, error) {
			z := c.zone.Load()
			if z == nil {
				return nil, errors.New("the zone is down")
			}
			return z.Console(ctx, pki.Identity{Role: "cloud"}, inst.ID, max)
		},
	})
	admin, adminKey, err := c.Role.Bootstrap(ctx)
	if err != nil {
		return err
	}
	c.Accounts = []Account{{admin, adminKey}}
	if err := c.Store.Update(ctx, func(tx *store.Tx) error { return c.Role.Membership.AddZone(tx, Zone) }); err != nil {
		return err
	}
	for i := 1; i < c.cfg.Accounts; i++ {
		a, key, err := c.Role.Identity.CreateAccount(ctx, identity.NewAccount{Name: fmt.Sprintf("account-%d", i)})
		if err != nil {
			return err
		}
		c.Accounts = append(c.Accounts, Account{a, key})
	}
	c.Image = "ami-0123456789abcdef0"
	sum := sha256.Sum256([]byte(c.Image))
	err = c.Store.Update(ctx, func(tx *store.Tx) error {
		return store.Images.Put(tx, &resource.Image{
			Owned: resource.Owned{AccountID: admin.ID, Region: Region, CreatedAt: time.Now().UTC()},
			ID:    c.Image, Kind: "machine", Name: "simulated", Architecture: "x86_64", State: resource.ImageAvailable,
			RootDeviceType: "instance-store", RootDeviceName: "/dev/sda1", Public: true,
			Data: resource.ImageData{Key: "simulated", Format: "qcow2", Size: 1 << 20, VirtualSize: 64 << 20, SHA256: hex.EncodeToString(sum[:])},
		})
	})
	if err != nil {
		return err
	}
	for i := range c.cfg.Nodes {
		n, err := c.newNode(ctx, i)
		if err != nil {
			return err
		}
		c.Nodes = append(c.Nodes, n)
	}
	return nil
}

// Run runs every role until ctx ends. It is to be called once.
func (c *Cloud) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	c.ctx = ctx
	g.Go(func() error { return c.Role.Run(ctx) })
	c.startZone()
	for _, n := range c.Nodes {
		n.Start()
	}
	err := g.Wait()
	c.running.Wait()
	return err
}

// Close ends the store and the engines, after Run.
func (c *Cloud) Close() error { return errors.Join(c.objects.Close(), c.Store.Close()) }

// startZone starts the zone's process anew.
func (c *Cloud) startZone() {
	ctx, cancel := context.WithCancel(c.ctx)
	done := make(chan struct{})
	z := &runningZone{ctx: ctx, stop: func() { cancel(); <-done }}
	z.Zone = zone.New(zone.Config{Name: Zone, Placement: c.cfg.Placement, PublicPool: c.pool(), NodeGrace: c.cfg.NodeGrace, RoleKey: c.Role.RoleKey}, zone.Deps{
		Store: c.Store, Log: c.log, Now: time.Now,
		ImageURL: func(_ context.Context, img *resource.Image) (string, error) { return "sim:" + img.ID, nil },
		Flows:    c.Role.FlowLogs().Deliver,
		Volumes:  c.volumes,
	})
	c.zone.Store(z)
	c.running.Go(func() {
		defer close(done)
		if err := z.Run(ctx); err != nil && ctx.Err() == nil {
			c.wrong.set(fmt.Errorf("the zone ended: %w", err))
		}
	})
}

// StopZone ends the zone's process: every node loses it. StartZone starts another one.
func (c *Cloud) StopZone() {
	if z := c.zone.Swap(nil); z != nil {
		z.stop()
	}
}

// StartZone starts the zone's process if it is down.
func (c *Cloud) StartZone() {
	if c.zone.Load() == nil {
		c.startZone()
	}
}

// firstError keeps the first error of many goroutines.
type firstError struct {
	mu  sync.Mutex
	err error
}

func (f *firstError) set(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.err == nil {
		f.err = err
	}
}

func (f *firstError) get() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.err
}
