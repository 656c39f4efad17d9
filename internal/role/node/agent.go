// Package node is the node role: the controller of one hypervisor. It makes true what its zone desires of
// it and reports what it observes. What it needs it keeps on its own disk, so that a restart of any Karri
// process, or of the machine, finds it at work without being told again.
package node

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"karri.dev/internal/compute"
	"karri.dev/internal/imagecache"
	"karri.dev/internal/network"
	"karri.dev/internal/nodeapi"
	"karri.dev/internal/resource"
)

// Config is what a node is.
type Config struct {
	Dir    string  // its own files
	Memory *Memory // in place of Dir: for simulation
	Hello  nodeapi.Hello
	// Grace is how long a guest may take to shut down or restart; 0 means 60 s.
	Grace time.Duration
	// Parallel bounds how many instances are worked on at once; 0 means 8.
	Parallel int
}

// Deps are what a node works with.
type Deps struct {
	Log     *slog.Logger
	Now     func() time.Time
	Compute compute.Driver
	Network network.Driver
	Cache   Cache
	// Attach opens the conversation with the zone. It ends with ctx.
	Attach func(ctx context.Context) (nodeapi.NodeLink, error)
	// Fetch opens an image's bytes.
	Fetch func(ctx context.Context, img nodeapi.Image) (io.ReadCloser, error)
}

// Cache keeps images on the node. An image that was ensured stays until it is released as often.
type Cache interface {
	// Ensure gives the path of the image's file, which fetch writes where it is not there yet.
	Ensure(ctx context.Context, img imagecache.Image, fetch imagecache.Fetch) (path string, err error)
	Release(sha256 string)
}

// Node is the role.
type Node struct {
	cfg   Config
	deps  Deps
	disk  keeper
	flows *flowQueue
	wake  chan struct{} // something may have to be done
	news  chan struct{} // something may have to be reported

	mu       sync.Mutex
	desired  *nodeapi.Desired  // newest known
	fresh    bool              // received since this process began, not read from disk
	applied  error             // outcome of the last network.Apply
	gateways []nodeapi.Gateway // of the last state that was applied whole
	busy     map[string]*worker
	again    map[string]bool // poked while busy
	failures map[string]failure
	observed map[string]nodeapi.Observed
	metadata map[caller]nodeapi.Metadata
	// disksRetry says before when the disks of an instance are left alone, after a failure or a guest that holds on.
	disksRetry map[string]time.Time
	cut        map[string][]string // disks that were taken away by force, by instance
	connected  bool
}

// New makes a node and reads what it knew before.
func New(cfg Config, deps Deps) (*Node, error) {
	if cfg.Grace == 0 {
		cfg.Grace = 60 * time.Second
	}
	if cfg.Parallel == 0 {
		cfg.Parallel = 8
	}
	n := &Node{
		cfg: cfg, deps: deps,
		flows: newFlowQueue(),
		disk:  disk{filepath.Join(cfg.Dir, "agent")},
		wake:  make(chan struct{}, 1), news: make(chan struct{}, 1),
		busy: map[string]*worker{}, again: map[string]bool{},
		failures: map[string]failure{}, observed: map[string]nodeapi.Observed{},
		disksRetry: map[string]time.Time{}, cut: map[string][]string{},
	}
	if cfg.Memory != nil {
		n.disk = cfg.Memory
	}
	d, err := n.disk.desired()
	if err != nil {
		return nil, err
	}
	n.set(d)
	return n, nil
}

// Run works until ctx ends. Guests go on.
func (n *Node) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return n.converge(ctx) })
	g.Go(func() error { return n.converse(ctx) })
	return g.Wait()
}

// Connected says whether the zone is reached.
func (n *Node) Connected() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.connected
}

func poke(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// period is how often the node looks at everything without a reason.
const period = 15 * time.Second

// converge makes true what is desired, whenever that or what is observed may have changed.
func (n *Node) converge(ctx context.Context) error {
	limit := make(chan struct{}, n.cfg.Parallel)
	var workers sync.WaitGroup
	defer workers.Wait()
	tick := time.NewTicker(period)
	defer tick.Stop()
	poke(n.wake)
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-n.wake:
		case <-n.deps.Compute.Events():
		case <-n.deps.Network.News():
		case <-tick.C:
		}
		for _, inst := range n.look(ctx) {
			work, cancel := context.WithCancel(ctx)
			n.begin(inst, cancel)
			workers.Go(func() {
				defer cancel()
				limit <- struct{}{}
				n.advance(work, inst)
				<-limit
				n.release(inst.ID)
				poke(n.news)
			})
		}
		poke(n.news)
	}
}

// look applies the network and compares what is desired with what is there. It gives the instances that need
// work, each claimed for it.
func (n *Node) look(ctx context.Context) (work []nodeapi.Instance) {
	n.mu.Lock()
	d, fresh := n.desired, n.fresh
	n.mu.Unlock()
	err := n.deps.Network.Apply(ctx, d.Network)
	if err != nil {
		n.deps.Log.Error("cannot apply the network", "error", err)
	}
	n.mu.Lock()
	if n.applied = err; err == nil {
		n.gateways = d.Gateways
	}
	n.mu.Unlock()
	// Claims come first: an instance must not be judged by how it was before its worker was done with it. A
	// machine just started would look as if its guest had powered it off.
	var mine []nodeapi.Instance
	ours := map[string]bool{}
	for _, inst := range d.Instances {
		ours[inst.ID] = true
		if n.claim(inst.ID, inst.Power) {
			mine = append(mine, inst)
		}
	}
	statuses, err := n.deps.Compute.List(ctx)
	if err != nil {
		n.deps.Log.Error("cannot list machines", "error", err)
		for _, inst := range mine {
			n.release(inst.ID)
		}
		return nil
	}
	seen := map[string]compute.Status{}
	for _, s := range statuses {
		seen[s.ID] = s
		// What the zone no longer knows must go; before it has spoken, nothing may.
		if fresh && !ours[s.ID] {
			ours[s.ID] = true
			if n.claim(s.ID, resource.PowerGone) {
				mine = append(mine, nodeapi.Instance{ID: s.ID, Power: resource.PowerGone})
			}
		}
	}
	n.forget(ours)
	for _, inst := range mine {
		if n.settled(inst, seen[inst.ID]) {
			n.release(inst.ID)
		} else {
			work = append(work, inst)
		}
	}
	return work
}

// worker is who has an instance: what power it works for, and how to make it stop.
type worker struct {
	power  resource.Power
	cancel context.CancelFunc // nil until it begins
}

// claim takes an instance for one worker. Where another one has it that works for another power, that one is
// cut short: nobody waits for a reboot in order to terminate.
func (n *Node) claim(id string, power resource.Power) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if w := n.busy[id]; w != nil {
		n.again[id] = true
		if w.power != power && w.cancel != nil {
			w.cancel()
		}
		return false
	}
	n.busy[id] = &worker{power: power}
	return true
}

// begin notes how to cut short the worker of a claimed instance.
func (n *Node) begin(inst nodeapi.Instance, cancel context.CancelFunc) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.busy[inst.ID].cancel = cancel
}

// release gives it back. If somebody wanted it meanwhile, there is another look.
func (n *Node) release(id string) {
	n.mu.Lock()
	wanted := n.again[id]
	delete(n.busy, id)
	delete(n.again, id)
	n.mu.Unlock()
	if wanted {
		poke(n.wake)
	}
}

// set takes a desired state as the newest.
func (n *Node) set(d *nodeapi.Desired) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.desired = d
	n.metadata = map[caller]nodeapi.Metadata{}
	for _, inst := range d.Instances {
		if inst.Power != resource.PowerOn {
			continue
		}
		for _, e := range inst.Metadata.Interfaces {
			if ip, err := netip.ParseAddr(e.PrivateIP); err == nil {
				n.metadata[caller{e.VPCID, ip}] = inst.Metadata
			}
		}
	}
}

// caller is who asks the metadata service.
type caller struct {
	vpc string
	ip  netip.Addr
}

// Lookup gives the metadata of the instance at an address of a VPC.
func (n *Node) Lookup(vpcID string, ip netip.Addr) (nodeapi.Metadata, bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	m, ok := n.metadata[caller{vpcID, ip}]
	return m, ok
}

// converse keeps up the conversation with the zone.
func (n *Node) converse(ctx context.Context) error {
	wait := time.Duration(0)
	for {
		began := n.deps.Now()
		err := n.conversation(ctx)
		n.mu.Lock()
		n.connected = false
		n.mu.Unlock()
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if n.deps.Now().Sub(began) > time.Minute {
			wait = 0
		}
		wait = min(max(2*wait, 200*time.Millisecond), 5*time.Second)
		n.deps.Log.Warn("lost the zone, will connect again", "error", err, "in", wait)
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(wait):
		}
	}
}

func (n *Node) conversation(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	link, err := n.deps.Attach(ctx)
	if err != nil {
		return err
	}
	if err := link.Send(&nodeapi.FromNode{Hello: &n.cfg.Hello}); err != nil {
		return err
	}
	n.flows.again()
	answers := make(chan *nodeapi.Answer)
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		defer cancel() // a broken stream ends the sender, too
		return n.receive(ctx, link, answers)
	})
	g.Go(func() error { return n.send(ctx, link, answers) })
	return g.Wait()
}

func (n *Node) receive(ctx context.Context, link nodeapi.NodeLink, answers chan<- *nodeapi.Answer) error {
	for {
		m, err := link.Recv()
		if err != nil {
			return err
		}
		switch {
		case m.Desired != nil:
			if err := n.disk.setDesired(m.Desired); err != nil {
				return err
			}
			n.set(m.Desired)
			n.mu.Lock()
			n.fresh, n.connected = true, true
			n.mu.Unlock()
			poke(n.wake)
		case m.FlowsTaken != 0:
			n.flows.taken(m.FlowsTaken)
		case m.Ask != nil:
			go func() {
				select {
				case answers <- n.answer(ctx, m.Ask):
				case <-ctx.Done():
				}
			}()
		}
	}
}

// send is the only sender on the link.
func (n *Node) send(ctx context.Context, link nodeapi.NodeLink, answers <-chan *nodeapi.Answer) error {
	for {
		var m nodeapi.FromNode
		select {
		case <-ctx.Done():
			return ctx.Err()
		case a := <-answers:
			m.Answer = a
		case <-n.flows.news:
			if m.Flows = n.flows.next(); m.Flows == nil {
				continue
			}
		case <-n.news:
			report := n.report()
			if report == nil {
				continue
			}
			m.Report = report
		}
		if err := link.Send(&m); err != nil {
			return err
		}
	}
}

func (n *Node) answer(ctx context.Context, q *nodeapi.Ask) *nodeapi.Answer {
	a := &nodeapi.Answer{ID: q.ID}
	switch q.What {
	case "console":
		data, err := n.deps.Compute.Console(ctx, q.Instance, q.Max)
		if err != nil && !errors.Is(err, compute.ErrNotFound) {
			a.Error = err.Error()
		}
		a.Data = data
	case "screen":
		data, err := n.deps.Compute.Screen(ctx, q.Instance)
		switch {
		case errors.Is(err, compute.ErrNoScreen):
			a.NoScreen = true
		case err != nil && !errors.Is(err, compute.ErrNotFound):
			a.Error = err.Error()
		}
		a.Data = data
	case "snapshot":
		reboot := time.Duration(0)
		if q.Reboot {
			reboot = n.cfg.Grace
		}
		if err := n.deps.Compute.Snapshot(ctx, q.Instance, q.Copies, reboot); err != nil {
			a.Error = err.Error()
		}
	default:
		a.Error = fmt.Sprintf("this node does not know the question %q", q.What)
	}
	return a
}
