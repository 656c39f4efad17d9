package sim

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"sync"
	"time"

	"karri.dev/internal/compute"
	computefake "karri.dev/internal/compute/fake"
	"karri.dev/internal/imagecache"
	"karri.dev/internal/network"
	networkfake "karri.dev/internal/network/fake"
	"karri.dev/internal/nodeapi"
	"karri.dev/internal/pki"
	"karri.dev/internal/role/node"
	"karri.dev/internal/store"
)

// Node is a simulated machine with a real agent. The machine outlives its agent's processes.
type Node struct {
	ID   string
	Host *computefake.Host

	underlay string

	cloud   *Cloud
	memory  *node.Memory
	network network.Driver
	cache   cache

	mu      sync.Mutex
	driver  compute.Driver
	stop    func() // of the agent's process; nil: it is down
	lonely  bool   // cannot reach the zone
	hangUp  func() // ends the conversation
	revoked bool
}

func (c *Cloud) newNode(ctx context.Context, number int) (*Node, error) {
	f := c.cfg.Faults
	hosts := computefake.Config{Seed: c.cfg.Seed<<20 + uint64(number), StartLatency: f.StartLatency, GuestLatency: f.GuestLatency, StartFailures: f.StartFailures}
	if f.SlowNodes > 0 && number%f.SlowNodes == 0 {
		hosts.StartLatency, hosts.GuestLatency = 20*f.StartLatency, 20*f.GuestLatency
	}
	n := &Node{cloud: c, underlay: fmt.Sprintf("172.16.%d.%d", (number+1)>>8, (number+1)&255), Host: computefake.NewHost(hosts), memory: new(node.Memory)}
	n.network = networkfake.New(networkfake.Config{Fault: f.network(c.cfg.Seed, number), Unchecked: c.cfg.Unchecked})
	if c.cfg.Network != nil {
		var err error
		if n.network, err = c.cfg.Network(number, netip.MustParseAddr(n.underlay)); err != nil {
			return nil, err
		}
	}
	err := c.Store.Update(ctx, func(tx *store.Tx) error {
		rec, err := c.Role.Membership.AddNode(tx, fmt.Sprintf("node-%d", number), Zone)
		n.ID = rec.ID
		return err
	})
	return n, err
}

func (n *Node) identity() pki.Identity { return pki.Identity{Role: "node", Name: n.ID, Zone: Zone} }

// Start starts the agent's process if it is down.
func (n *Node) Start() {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.stop != nil || n.cloud.ctx.Err() != nil {
		return
	}
	c := n.cloud
	n.driver = n.Host.Open()
	agent, err := node.New(node.Config{
		Memory: n.memory, Grace: 20 * time.Second,
		Hello: nodeapi.Hello{Name: n.ID, Underlay: n.underlay, Capacity: c.cfg.Capacity, Accel: compute.Accel{Name: "fake"}, Version: "sim"},
	}, node.Deps{
		Log: c.log, Now: time.Now, Compute: n.driver, Network: n.network, Cache: &n.cache, Attach: n.attach,
		Fetch: func(context.Context, nodeapi.Image) (io.ReadCloser, error) {
			return nil, errors.New("nothing to fetch")
		},
	})
	if err != nil {
		c.wrong.set(err)
		return
	}
	ctx, cancel := context.WithCancel(c.ctx)
	done := make(chan struct{})
	n.stop = func() { cancel(); <-done }
	c.running.Go(func() {
		defer close(done)
		if err := agent.Run(ctx); err != nil && ctx.Err() == nil {
			c.wrong.set(fmt.Errorf("node %s ended: %w", n.ID, err))
		}
	})
}

// Stop ends the agent's process; guests go on.
func (n *Node) Stop() {
	n.mu.Lock()
	stop := n.stop
	n.stop = nil
	n.mu.Unlock()
	if stop != nil {
		stop()
	}
}

// PowerFailure is the sudden end of the whole machine, guests included.
func (n *Node) PowerFailure() {
	n.Stop()
	for _, m := range n.machines() {
		n.Host.Crash(m.ID)
	}
}

// Revoke shuts the node out of the cloud for good.
func (n *Node) Revoke(ctx context.Context) error {
	n.mu.Lock()
	n.revoked = true
	n.mu.Unlock()
	return n.cloud.Role.Membership.RevokeNode(ctx, n.ID)
}

// Revoked says whether it was.
func (n *Node) Revoked() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.revoked
}

// machines lists what is on the host, whether or not an agent runs.
func (n *Node) machines() []compute.Status {
	n.mu.Lock()
	d := n.driver
	n.mu.Unlock()
	if d == nil {
		return nil
	}
	list, _ := d.List(context.Background()) // the fake has no errors
	return list
}

// Disconnect cuts the node off from its zone. Reconnect ends that.
func (n *Node) Disconnect() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.lonely = true
	if n.hangUp != nil {
		n.hangUp()
	}
}

// Reconnect lets the node reach its zone again.
func (n *Node) Reconnect() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.lonely = false
}

// HangUp breaks the conversation once.
func (n *Node) HangUp() {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.hangUp != nil {
		n.hangUp()
	}
}

// attach is node.Deps.Attach: a conversation in memory, as `karri up` has it.
func (n *Node) attach(ctx context.Context) (nodeapi.NodeLink, error) {
	z := n.cloud.zone.Load()
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.lonely || z == nil {
		return nil, errors.New("no route to the zone")
	}
	nodeEnd, zoneEnd, hangUp := nodeapi.Pipe()
	n.hangUp = hangUp
	ctx, cancel := context.WithCancel(ctx)
	context.AfterFunc(z.ctx, cancel) // the zone's process ends its conversations
	n.cloud.running.Go(func() {
		defer cancel()
		defer hangUp()
		_ = z.Attach(ctx, n.identity(), &inspected{zoneEnd, n})
	})
	context.AfterFunc(ctx, hangUp)
	return nodeEnd, nil
}

// inspected is the zone's end of a conversation: what it sends is checked.
type inspected struct {
	nodeapi.ZoneLink
	node *Node
}

func (i *inspected) Send(m *nodeapi.FromZone) error {
	if m.Desired != nil {
		if err := i.node.own(m.Desired); err != nil {
			i.node.cloud.wrong.set(err)
		}
	}
	return i.ZoneLink.Send(m)
}

// own checks that a desired state names nothing of any other node's.
func (n *Node) own(d *nodeapi.Desired) error {
	snap := n.cloud.Store.Snapshot()
	belongs := func(id string) bool {
		inst := store.Instances.Get(snap, id)
		return inst == nil || inst.Node == n.ID // nil: forgotten since
	}
	for _, inst := range d.Instances {
		if !belongs(inst.ID) {
			return fmt.Errorf("node %s is told of instance %s, which is another's", n.ID, inst.ID)
		}
	}
	for _, v := range d.Network.VPCs {
		for _, e := range v.Interfaces {
			if !belongs(e.InstanceID) {
				return fmt.Errorf("node %s is told to serve interface %s of instance %s, which is another's", n.ID, e.ID, e.InstanceID)
			}
		}
	}
	return nil
}

// cache is an image cache without images that counts what is held.
type cache struct {
	mu   sync.Mutex
	held int
}

func (c *cache) Ensure(ctx context.Context, img imagecache.Image, _ imagecache.Fetch) (string, error) {
	if err := ctx.Err(); err != nil {
		return "", err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.held++
	return "/images/" + img.SHA256, nil
}

func (c *cache) Release(string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.held--
}
