// Package zone is the zone role: the cluster controller of one availability zone. It places instances on
// nodes, streams to each node its own desired state, and writes what nodes observe back into the store.
// It holds nothing that cannot be made anew from the store and the nodes.
package zone

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/netip"
	"reflect"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"karri.dev/internal/block"
	"karri.dev/internal/chunks"
	"karri.dev/internal/network"
	"karri.dev/internal/nodeapi"
	"karri.dev/internal/pki"
	"karri.dev/internal/placement"
	"karri.dev/internal/reconcile"
	"karri.dev/internal/resource"
	"karri.dev/internal/seal"
	"karri.dev/internal/sparse"
	"karri.dev/internal/store"
	"karri.dev/internal/volumekey"
)

// Config is how a zone behaves.
type Config struct {
	Name       string // "us-east-1a"
	Placement  placement.Policy
	PublicPool []netip.Prefix
	Domain     string // of public DNS names
	// RoleKey opens the credentials of instances' roles; nil: instances get none.
	RoleKey *seal.Sealer
	// VolumeKeys opens the keys of encrypted volumes.
	VolumeKeys *volumekey.Keys
	// Storage is where nodes reach the zone's volumes; "" = only a node in this process does.
	Storage string
	// NodeGrace is how long a node may be away before it counts as down; 0 means 30 s.
	NodeGrace time.Duration
}

// Deps are what a zone works with.
type Deps struct {
	Store *store.Store
	Log   *slog.Logger
	Now   func() time.Time
	// ImageURL gives a short-lived URL of an image's bytes.
	ImageURL func(ctx context.Context, img *resource.Image) (string, error)
	// Flows delivers a node's records of flow logs; nil: nobody does. An error says that they may be given again.
	Flows func(ctx context.Context, node string, records []network.FlowRecord) error
	// Volumes keeps the zone's volumes; nil: this zone has none.
	Volumes block.Driver
	// Exports serves volumes to nodes of other hosts; nil: there are none.
	Exports Exports
	// Chunks keeps snapshots' data, and OpenData opens it, also that of images; nil: no snapshots are made here.
	Chunks   *chunks.Store
	OpenData func(context.Context, *resource.ImageData) (sparse.Disk, io.Closer, error)
}

// Zone is the role. It is a nodeapi.Server.
type Zone struct {
	cfg   Config
	deps  Deps
	place *reconcile.Loop
	disks *reconcile.Loop
	snaps *reconcile.Loop
	serve *reconcile.Loop
	near  *neighbourhood

	tasks   sync.WaitGroup // snapshots under way
	filling chan struct{}  // holds a word for each that is being filled

	mu       sync.Mutex
	sessions map[string]*session // by node
	made     map[string]bool     // volumes whose file this process made
	last     string              // round robin's last choice
	snapping map[string]bool     // snapshots that somebody works on
	copying  map[string]int      // volumes whose file is being copied
	served   map[string]string   // volumes that are served, with their nodes; nil: not known yet
}

// New makes a zone.
func New(cfg Config, deps Deps) *Zone {
	if cfg.NodeGrace == 0 {
		cfg.NodeGrace = 30 * time.Second
	}
	z := &Zone{cfg: cfg, deps: deps, sessions: map[string]*session{}, made: map[string]bool{}, snapping: map[string]bool{}, copying: map[string]int{}, filling: make(chan struct{}, fillParallel)}
	z.near = &neighbourhood{domain: cfg.Domain, vpcs: map[string]*neighbours{}, since: map[string]int64{}}
	z.place = reconcile.New(reconcile.Config{Name: "placement", Period: 10 * time.Second, Run: z.placeAll}, deps.Log)
	z.disks = reconcile.New(reconcile.Config{Name: "storage", Period: 30 * time.Second, Run: z.storage}, deps.Log)
	z.serve = reconcile.New(reconcile.Config{Name: "exports", Period: 10 * time.Second, MaxBackoff: time.Second, Run: z.export}, deps.Log)
	z.snaps = reconcile.New(reconcile.Config{Name: "snapshots", Period: 30 * time.Second, Run: z.snapshots}, deps.Log)
	return z
}

// Run works until ctx ends.
func (z *Zone) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return z.place.Run(ctx) })
	g.Go(func() error { return z.disks.Run(ctx) })
	g.Go(func() error {
		defer z.tasks.Wait()
		return z.snaps.Run(ctx)
	})
	if z.deps.Exports != nil {
		g.Go(func() error { return z.serve.Run(ctx) })
		g.Go(func() error { return z.followExports(ctx) })
	}
	g.Go(func() error { return z.follow(ctx) })
	g.Go(func() error { return z.watchNodes(ctx) })
	return g.Wait()
}

// vpcDelay gathers changes that concern all nodes of a VPC before these are told: a burst of launches
// must not make every node of the VPC take in a new state for each one.
const vpcDelay = 200 * time.Millisecond

// follow tells sessions that their nodes' desired state changed.
func (z *Zone) follow(ctx context.Context) error {
	feed := z.deps.Store.Feed(store.Instances, store.Interfaces, store.SecurityGroups, store.VPCs, store.Subnets,
		store.RouteTables, store.InternetGateways, store.EgressGateways, store.NetworkACLs, store.PrefixLists, store.Peerings, store.NATGateways, store.FlowLogs, store.VPCEndpoints, store.VPNGateways, store.VPNConnections, store.CustomerGateways, store.Nodes, store.Volumes, store.Snapshots,
		store.InstanceCredentials, store.Zones)
	defer feed.Close()
	var later sync.Map // VPC ids waiting for vpcDelay
	for {
		changes, _, err := feed.Next(ctx)
		if err != nil {
			return err
		}
		if changes == nil { // anything may have changed
			z.cutRevoked()
			z.near.forget("", z.deps.Store.Snapshot().Revision)
			z.wake(z.all()...)
			z.place.Poke()
			z.disks.Poke()
			z.snaps.Poke()
			z.serve.Poke()
		}
		vpcs := map[string]bool{}
		for _, c := range changes {
			switch c.Table {
			case store.Instances.Name():
				was, _ := c.Old.(*resource.Instance)
				is, _ := c.New.(*resource.Instance)
				z.instanceChanged(was, is, vpcs)
			case store.Volumes.Name():
				was, _ := c.Old.(*resource.Volume)
				is, _ := c.New.(*resource.Volume)
				z.volumeChanged(was, is)
			case store.Snapshots.Name():
				if was, _ := c.Old.(*resource.Snapshot); was == nil || was.State == "pending" {
					z.snaps.Poke()
				}
			case store.Zones.Name():
				z.wake(z.all()...)
			case store.Nodes.Name():
				was, _ := c.Old.(*resource.Node)
				is, _ := c.New.(*resource.Node)
				z.nodeChanged(was, is)
			case store.InstanceCredentials.Name():
				for _, rec := range []any{c.Old, c.New} {
					if cred, ok := rec.(*resource.InstanceCredentials); ok && cred != nil {
						if inst := store.Instances.Get(z.deps.Store.Snapshot(), cred.InstanceID); inst != nil {
							z.wake(inst.Node)
						}
					}
				}
			case store.NATGateways.Name():
				was, _ := c.Old.(*resource.NATGateway)
				is, _ := c.New.(*resource.NATGateway)
				z.natChanged(was, is, vpcs)
			case store.VPNGateways.Name():
				was, _ := c.Old.(*resource.VPNGateway)
				is, _ := c.New.(*resource.VPNGateway)
				z.vpnChanged(was, is, vpcs)
			case store.VPNConnections.Name():
				for _, rec := range []any{c.Old, c.New} {
					if v, _ := rec.(*resource.VPNConnection); v != nil {
						if g := store.VPNGateways.Get(z.deps.Store.Snapshot(), v.GatewayID); g != nil && g.VPCID != "" {
							vpcs[g.VPCID] = true
						}
					}
				}
			case store.Addresses.Name():
				was, _ := c.Old.(*resource.Address)
				is, _ := c.New.(*resource.Address)
				if ptrOf(was) != ptrOf(is) { // which all resolvers know
					for v := range store.VPCs.All(z.deps.Store.Snapshot()) {
						vpcs[v.ID] = true
					}
				}
			case store.PrefixLists.Name():
				if is, _ := c.New.(*resource.PrefixList); is != nil { // nothing names one that is gone
					z.listChanged(is.ID, vpcs)
				}
			default:
				for _, rec := range []any{c.Old, c.New} {
					for _, id := range vpcsOf(rec) {
						if id != "" {
							vpcs[id] = true
						}
					}
				}
			}
		}
		for id := range vpcs {
			if _, waiting := later.LoadOrStore(id, true); waiting {
				continue
			}
			time.AfterFunc(vpcDelay, func() {
				later.Delete(id)
				snap := z.deps.Store.Snapshot()
				z.near.forget(id, snap.Revision)
				z.wake(nodesOf(snap, id)...)
			})
		}
	}
}

func ptrOf(a *resource.Address) string {
	if a == nil {
		return ""
	}
	return a.PTR
}

// listChanged marks the VPCs whose groups or route tables name a prefix list.
func (z *Zone) listChanged(id string, vpcs map[string]bool) {
	snap := z.deps.Store.Snapshot()
	for g := range store.SecurityGroupsByList.By(snap, id) {
		vpcs[g.VPCID] = true
	}
	for t := range store.RouteTablesByList.By(snap, id) {
		vpcs[t.VPCID] = true
	}
}

// vpcsOf gives the VPCs that a changed network record belongs to. (A set of DHCP options never changes.)
func vpcsOf(rec any) []string {
	switch r := rec.(type) {
	case *resource.Interface:
		return []string{r.VPCID}
	case *resource.SecurityGroup:
		return []string{r.VPCID}
	case *resource.VPC:
		return []string{r.ID}
	case *resource.Subnet:
		return []string{r.VPCID}
	case *resource.RouteTable:
		return []string{r.VPCID}
	case *resource.InternetGateway:
		return []string{r.VPCID}
	case *resource.EgressGateway:
		return []string{r.VPCID}
	case *resource.NetworkACL:
		return []string{r.VPCID}
	case *resource.VPCEndpoint:
		return []string{r.VPCID}
	case *resource.FlowLog:
		return []string{r.VPCID}
	case *resource.Peering:
		return []string{r.Requester.VPCID, r.Accepter.VPCID}
	}
	return nil
}

// nodesOf gives the nodes that have something in the VPC, or in one that is peered with it.
func nodesOf(r store.Reader, vpcID string) []string {
	seen := map[string]bool{}
	add := func(vpc string) {
		for e := range store.InterfacesByVPC.By(r, vpc) {
			if inst := store.Instances.Get(r, e.InstanceID); inst != nil && inst.Node != "" {
				seen[inst.Node] = true
			}
		}
		for g := range store.NATGatewaysByVPC.By(r, vpc) {
			seen[g.Node] = true
		}
		if g := store.VPNGatewaysByVPC.One(r, vpc); g != nil {
			seen[g.Node] = true
		}
	}
	add(vpcID)
	for _, p := range peerings(r, vpcID) {
		add(p.Other(vpcID))
	}
	delete(seen, "")
	return slices.Collect(maps.Keys(seen))
}

// instanceChanged follows an instance's record; either is nil where there is none.
func (z *Zone) instanceChanged(was, is *resource.Instance, vpcs map[string]bool) {
	if was == nil {
		was = &resource.Instance{}
	}
	if is == nil {
		is = &resource.Instance{}
	}
	ended := was.State.Alive() && !is.State.Alive() // which makes room
	if is.Zone == z.cfg.Name && (ended || is.Node == "" && is.State.Alive()) {
		z.place.Poke()
	}
	if was.Node != is.Node { // others of the VPC have to know where it is
		vpcs[was.VPCID], vpcs[is.VPCID] = true, true
		snap := z.deps.Store.Snapshot()
		for _, e := range append(interfacesOf(snap, was), interfacesOf(snap, is)...) { // some are in other VPCs
			vpcs[e.VPCID] = true
		}
		delete(vpcs, "")
	}
	if was.Node != is.Node || was.State != is.State {
		z.serve.Poke()
	}
	if !sameForNode(was, is) {
		z.wake(was.Node, is.Node)
	}
}

// sameForNode says that nothing changed of what a node is told of an instance: states come from there.
func sameForNode(was, is *resource.Instance) bool {
	if was.State.Alive() != is.State.Alive() {
		return false
	}
	a, b := *was, *is
	a.State, a.StateReason = b.State, b.StateReason
	return reflect.DeepEqual(&a, &b)
}

// nodeChanged follows a node's record: who is revoked is cut off.
func (z *Zone) nodeChanged(was, is *resource.Node) {
	if is == nil {
		is = &resource.Node{ID: was.ID, Revoked: true}
	}
	z.place.Poke()
	z.serve.Poke()
	if is.Revoked {
		z.mu.Lock()
		s := z.sessions[is.ID]
		z.mu.Unlock()
		if s != nil {
			s.end(errRevoked)
		}
	}
	if was != nil && was.Underlay != is.Underlay { // all others send it packets
		z.near.forget("", z.deps.Store.Snapshot().Revision)
		z.wake(z.all()...)
	}
}

// cutRevoked ends the sessions of all nodes that may no longer have one.
func (z *Zone) cutRevoked() {
	snap := z.deps.Store.Snapshot()
	for _, id := range z.all() {
		if n := store.Nodes.Get(snap, id); n == nil || n.Revoked {
			z.nodeChanged(&resource.Node{ID: id}, nil)
		}
	}
}

var errRevoked = errors.New("this node is revoked")

// admit checks that a caller is a node of this zone in good standing.
func (z *Zone) admit(who pki.Identity) (*resource.Node, error) {
	if who.Role != "node" || who.Zone != z.cfg.Name {
		return nil, fmt.Errorf("zone %s does not serve %s %q of zone %q", z.cfg.Name, who.Role, who.Name, who.Zone)
	}
	n := store.Nodes.Get(z.deps.Store.Snapshot(), who.Name)
	if n == nil || n.Zone != z.cfg.Name {
		return nil, fmt.Errorf("node %q is not registered in zone %s", who.Name, z.cfg.Name)
	}
	if n.Revoked {
		return nil, errRevoked
	}
	return n, nil
}

// ImageURL implements nodeapi.Server: a node gets the images of its own instances and no others.
func (z *Zone) ImageURL(ctx context.Context, who pki.Identity, imageID string) (string, error) {
	node, err := z.admit(who)
	if err != nil {
		return "", err
	}
	snap := z.deps.Store.Snapshot()
	for inst := range store.InstancesByNode.By(snap, node.ID) {
		if inst.ImageID == imageID || inst.KernelID == imageID || inst.RamdiskID == imageID {
			img := store.Images.Get(snap, imageID)
			if img == nil {
				break
			}
			return z.deps.ImageURL(ctx, img)
		}
	}
	// What is below a volume goes by the volume's name.
	if v := store.Volumes.Get(snap, imageID); v != nil && v.Base != nil && v.Attachment != nil {
		if inst := store.Instances.Get(snap, v.Attachment.InstanceID); inst != nil && inst.Node == node.ID {
			return z.deps.ImageURL(ctx, &resource.Image{ID: v.ID})
		}
	}
	return "", fmt.Errorf("no instance of node %s uses image %q", node.ID, imageID)
}

// Console implements nodeapi.Server: the cloud, and nobody else, reads an instance's console.
func (z *Zone) Console(ctx context.Context, who pki.Identity, instanceID string, max int) ([]byte, error) {
	return z.look(ctx, who, nodeapi.Ask{What: "console", Instance: instanceID, Max: max})
}

// Screen implements nodeapi.Server, likewise.
func (z *Zone) Screen(ctx context.Context, who pki.Identity, instanceID string) ([]byte, error) {
	return z.look(ctx, who, nodeapi.Ask{What: "screen", Instance: instanceID})
}

// look asks an instance's node.
func (z *Zone) look(ctx context.Context, who pki.Identity, q nodeapi.Ask) ([]byte, error) {
	if who.Role != "cloud" {
		return nil, fmt.Errorf("%s %q may not look at instances", who.Role, who.Name)
	}
	inst := store.Instances.Get(z.deps.Store.Snapshot(), q.Instance)
	if inst == nil || inst.Node == "" {
		return nil, nil // nothing has run yet
	}
	z.mu.Lock()
	s := z.sessions[inst.Node]
	z.mu.Unlock()
	if s == nil {
		return nil, fmt.Errorf("node %s is not connected", inst.Node)
	}
	return s.ask(ctx, q)
}

// wake makes the sessions of these nodes send the newest desired state.
func (z *Zone) wake(nodes ...string) {
	z.mu.Lock()
	defer z.mu.Unlock()
	for _, id := range nodes {
		if s := z.sessions[id]; s != nil {
			s.poke()
		}
	}
}

func (z *Zone) all() []string {
	z.mu.Lock()
	defer z.mu.Unlock()
	var out []string
	for id := range z.sessions {
		out = append(out, id)
	}
	return out
}
