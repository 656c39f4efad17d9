package zone

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"karri.dev/internal/block/fake"
	"karri.dev/internal/compute"
	"karri.dev/internal/lifecycle"
	"karri.dev/internal/nodeapi"
	"karri.dev/internal/pki"
	"karri.dev/internal/placement"
	"karri.dev/internal/resource"
	"karri.dev/internal/store"
)

// rig is a zone that runs over a store in memory, in a bubble.
type rig struct {
	t     *testing.T
	store *store.Store
	zone  *Zone

	volumes *fake.Driver
	exports *server
}

func inRig(t *testing.T, cfg Config, test func(*rig)) {
	synctest.Test(t, func(t *testing.T) {
		log := slog.New(slog.DiscardHandler)
		st := store.OpenMemory(log)
		cfg.Name = "us-east-1a"
		volumes, exports := fake.New(), newServer()
		z := New(cfg, Deps{Store: st, Log: log, Now: time.Now, ImageURL: func(_ context.Context, img *resource.Image) (string, error) { return "url of " + img.ID, nil }, Volumes: volumes, Exports: exports})
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() {
			defer close(done)
			_ = z.Run(ctx)
		}()
		r := &rig{t, st, z, volumes, exports}
		r.put(func(tx *store.Tx) error {
			return errors.Join(
				store.Zones.Put(tx, &resource.Zone{Name: "us-east-1a", Region: "us-east-1", ZoneID: "use1-az1"}),
				store.Images.Put(tx, &resource.Image{ID: "ami-1", State: resource.ImageAvailable, Data: resource.ImageData{Format: "qcow2"}}),
			)
		})
		defer func() { stop(); <-done; st.Close() }()
		test(r)
	})
}

func (r *rig) put(fn func(*store.Tx) error) {
	r.t.Helper()
	if err := r.store.Update(r.t.Context(), fn); err != nil {
		r.t.Fatal(err)
	}
}

func (r *rig) addNode(id, zone string) {
	r.put(func(tx *store.Tx) error { return store.Nodes.Put(tx, &resource.Node{ID: id, Zone: zone}) })
}

func (r *rig) launch(ids ...string) {
	r.put(func(tx *store.Tx) error {
		for _, id := range ids {
			inst := &resource.Instance{
				Owned: resource.Owned{AccountID: "1", Region: "us-east-1"}, ID: id, ImageID: "ami-1", VCPUs: 1, MemoryMiB: 512, DiskGiB: 1, Zone: "us-east-1a",
				VPCID: "vpc-1", Power: resource.PowerOn, State: resource.Pending, LaunchedAt: time.Now(), OnShutdown: "terminate",
			}
			if err := store.Instances.Put(tx, inst); err != nil {
				return err
			}
		}
		return nil
	})
	time.Sleep(time.Second)
	synctest.Wait()
}

func (r *rig) get(id string) *resource.Instance {
	r.t.Helper()
	inst := store.Instances.Get(r.store.Snapshot(), id)
	if inst == nil {
		r.t.Fatalf("there is no %s", id)
	}
	return inst
}

// peer is a node as the test plays it.
type peer struct {
	link   nodeapi.NodeLink
	hangUp func()
	ended  chan error

	mu      sync.Mutex
	desired []*nodeapi.Desired
	asks    []*nodeapi.Ask
}

func (r *rig) dial(who pki.Identity) *peer {
	nodeEnd, zoneEnd, hangUp := nodeapi.Pipe()
	p := &peer{link: nodeEnd, hangUp: hangUp, ended: make(chan error, 1)}
	go func() {
		defer hangUp()
		p.ended <- r.zone.Attach(r.t.Context(), who, zoneEnd)
	}()
	go func() {
		for {
			m, err := nodeEnd.Recv()
			if err != nil {
				return
			}
			p.mu.Lock()
			if m.Desired != nil {
				p.desired = append(p.desired, m.Desired)
			} else {
				p.asks = append(p.asks, m.Ask)
			}
			p.mu.Unlock()
		}
	}()
	r.t.Cleanup(hangUp)
	return p
}

func node(id string) pki.Identity { return pki.Identity{Role: "node", Name: id, Zone: "us-east-1a"} }

// connect makes a node of the zone and lets it say hello.
func (r *rig) connect(id string, vcpus int) *peer {
	r.t.Helper()
	if store.Nodes.Get(r.store.Snapshot(), id) == nil {
		r.addNode(id, "us-east-1a")
	}
	p := r.dial(node(id))
	r.hello(p, vcpus)
	return p
}

func (r *rig) hello(p *peer, vcpus int) {
	h := nodeapi.Hello{Name: "n", Underlay: "192.0.2.1", Capacity: resource.Capacity{VCPUs: vcpus, MemoryMiB: 1 << 20, DiskGiB: 1 << 10}}
	_ = p.link.Send(&nodeapi.FromNode{Hello: &h})
	time.Sleep(time.Second)
	synctest.Wait()
}

func (p *peer) report(list ...nodeapi.Observed) {
	_ = p.link.Send(&nodeapi.FromNode{Report: &nodeapi.Report{Instances: list}})
	time.Sleep(time.Second)
	synctest.Wait()
}

// told gives the instances in the last desired state that the node got.
func (p *peer) told() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.desired) == 0 {
		return "nothing"
	}
	var out []string
	for _, inst := range p.desired[len(p.desired)-1].Instances {
		out = append(out, inst.ID+" "+string(inst.Power))
	}
	return strings.Join(out, ", ")
}

func (p *peer) states() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.desired)
}

func (r *rig) is(what string, got, want any) {
	r.t.Helper()
	if got != want {
		r.t.Errorf("%s: %v, want %v", what, got, want)
	}
}

func TestLifeOfAnInstance(t *testing.T) {
	inRig(t, Config{}, func(r *rig) {
		p := r.connect("node-1", 4)
		r.is("told at first", p.told(), "")
		r.launch("i-1")
		r.is("node", r.get("i-1").Node, "node-1")
		r.is("told", p.told(), "i-1 on")
		n := p.states()
		p.report(nodeapi.Observed{ID: "i-1", State: compute.Running, Power: "on"})
		r.is("state", r.get("i-1").State, resource.Running)
		r.is("states that were sent again for the node's own news", p.states()-n, 0)

		p.report(nodeapi.Observed{ID: "i-1", State: compute.Off, Power: "on"})
		r.is("power", r.get("i-1").Power, resource.PowerGone)
		r.is("reason", r.get("i-1").StateReason.Code, lifecycle.ByGuest.Code)
		r.is("told", p.told(), "i-1 gone")
		p.report(nodeapi.Observed{ID: "i-1", State: compute.Absent, Power: "on"}) // of an earlier wish
		r.is("state", r.get("i-1").State, resource.ShuttingDown)
		p.report(nodeapi.Observed{ID: "i-1", State: compute.Absent, Power: "gone"})
		r.is("state", r.get("i-1").State, resource.Terminated)
		r.is("told", p.told(), "")
		r.is("vCPUs in use", store.InstancesVCPUs.Sum(r.store.Snapshot(), store.ZoneKey("us-east-1a")), int64(0))
	})
}

func TestNoNodeSpeaksForAnother(t *testing.T) {
	inRig(t, Config{Placement: placement.RoundRobin}, func(r *rig) {
		a, b := r.connect("node-1", 4), r.connect("node-2", 4)
		r.launch("i-1", "i-2")
		r.is("told", a.told(), "i-1 on")
		r.is("told", b.told(), "i-2 on")
		b.report(nodeapi.Observed{ID: "i-1", State: compute.Failed, Final: true, Power: "on"}, nodeapi.Observed{ID: "i-0", State: compute.Running, Power: "on"})
		r.is("state", r.get("i-1").State, resource.Pending)
		r.is("power", r.get("i-1").Power, resource.PowerOn)
	})
}

func TestWhoIsAdmitted(t *testing.T) {
	inRig(t, Config{}, func(r *rig) {
		r.addNode("node-1", "us-east-1a")
		r.addNode("node-b", "us-east-1b")
		r.put(func(tx *store.Tx) error {
			return store.Nodes.Put(tx, &resource.Node{ID: "node-r", Zone: "us-east-1a", Revoked: true})
		})
		for _, who := range []pki.Identity{
			{},
			{Role: "cloud"},
			{Role: "zone", Name: "us-east-1a"},
			{Role: "node", Name: "node-1", Zone: "us-east-1b"},
			{Role: "node", Name: "node-1"},
			{Role: "node", Name: "node-b", Zone: "us-east-1a"}, // a certificate of this zone for a node of another
			{Role: "node", Name: "node-unknown", Zone: "us-east-1a"},
			{Role: "node", Name: "", Zone: "us-east-1a"},
			{Role: "node", Name: "node-r", Zone: "us-east-1a"},
		} {
			p := r.dial(who)
			synctest.Wait()
			select {
			case err := <-p.ended:
				if err == nil {
					t.Errorf("%+v was admitted", who)
				}
			default:
				t.Errorf("%+v was admitted", who)
			}
			if _, err := r.zone.ImageURL(r.t.Context(), who, "ami-1"); err == nil {
				t.Errorf("%+v got an image", who)
			}
			p.hangUp()
		}
	})
}

func TestFirstMessageIsHello(t *testing.T) {
	inRig(t, Config{}, func(r *rig) {
		r.addNode("node-1", "us-east-1a")
		p := r.dial(node("node-1"))
		p.report()
		if err := <-p.ended; err == nil {
			t.Error("a conversation went on without a hello")
		}
	})
}

func TestImagesOfOwnInstancesOnly(t *testing.T) {
	inRig(t, Config{}, func(r *rig) {
		r.connect("node-1", 4)
		r.launch("i-1")
		r.addNode("node-2", "us-east-1a")
		if url, err := r.zone.ImageURL(r.t.Context(), node("node-1"), "ami-1"); err != nil || url != "url of ami-1" {
			t.Error(url, err)
		}
		for _, c := range []struct{ node, image string }{{"node-2", "ami-1"}, {"node-1", "ami-2"}, {"node-1", ""}} {
			if url, err := r.zone.ImageURL(r.t.Context(), node(c.node), c.image); err == nil {
				t.Errorf("%s got %q: %s", c.node, c.image, url)
			}
		}
	})
}

// A revoked node is cut off at once, gets nothing more, and its instances end.
func TestRevoke(t *testing.T) {
	inRig(t, Config{}, func(r *rig) {
		p := r.connect("node-1", 4)
		r.launch("i-1")
		p.report(nodeapi.Observed{ID: "i-1", State: compute.Running, Power: "on"})
		r.put(func(tx *store.Tx) error {
			n := *store.Nodes.Get(tx, "node-1")
			n.Revoked, n.Up = true, false
			return store.Nodes.Put(tx, &n)
		})
		synctest.Wait()
		select {
		case err := <-p.ended:
			if !errors.Is(err, errRevoked) {
				t.Error(err)
			}
		default:
			t.Fatal("the conversation goes on")
		}
		r.is("state", r.get("i-1").State, resource.Terminated)
		r.is("reason", r.get("i-1").StateReason.Code, "Server.InternalError")
		if p := r.dial(node("node-1")); <-p.ended == nil {
			t.Error("it came back")
		}
		if _, err := r.zone.ImageURL(r.t.Context(), node("node-1"), "ami-1"); !errors.Is(err, errRevoked) {
			t.Error(err)
		}
		r.launch("i-2")
		r.is("node", r.get("i-2").Node, "")
	})
}

func TestConsoleIsForTheCloud(t *testing.T) {
	inRig(t, Config{}, func(r *rig) {
		p := r.connect("node-1", 4)
		r.launch("i-1")
		for _, who := range []pki.Identity{{}, node("node-1"), {Role: "zone", Name: "us-east-1a"}} {
			if _, err := r.zone.Console(r.t.Context(), who, "i-1", 100); err == nil {
				t.Errorf("%+v reads a console", who)
			}
		}
		cloud := pki.Identity{Role: "cloud"}
		if data, err := r.zone.Console(r.t.Context(), cloud, "i-0", 100); data != nil || err != nil {
			t.Error("unknown instance:", data, err)
		}
		answer := func(a nodeapi.Answer) {
			synctest.Wait()
			p.mu.Lock()
			a.ID = p.asks[len(p.asks)-1].ID
			p.mu.Unlock()
			_ = p.link.Send(&nodeapi.FromNode{Answer: &nodeapi.Answer{ID: a.ID + 100, Data: []byte("to another question")}})
			_ = p.link.Send(&nodeapi.FromNode{Answer: &a})
		}
		go answer(nodeapi.Answer{Data: []byte("hello")})
		if data, err := r.zone.Console(r.t.Context(), cloud, "i-1", 100); string(data) != "hello" || err != nil {
			t.Errorf("%q %v", data, err)
		}
		go answer(nodeapi.Answer{Error: "broken"})
		if _, err := r.zone.Console(r.t.Context(), cloud, "i-1", 100); err == nil || err.Error() != "broken" {
			t.Error(err)
		}
		began := time.Now()
		if _, err := r.zone.Console(r.t.Context(), cloud, "i-1", 100); err == nil || time.Since(began) != askTime {
			t.Error("no answer:", err, time.Since(began))
		}
		began = time.Now()
		time.AfterFunc(time.Second, p.hangUp)
		if _, err := r.zone.Console(r.t.Context(), cloud, "i-1", 100); err == nil || time.Since(began) != time.Second {
			t.Error("hung up:", err, time.Since(began))
		}
	})
}

func TestCapacity(t *testing.T) {
	inRig(t, Config{}, func(r *rig) {
		r.connect("node-1", 2)
		r.launch("i-1", "i-2", "i-3")
		r.is("node", r.get("i-3").Node, "")
		p := r.connect("node-2", 1) // one more comes in time
		r.is("node", r.get("i-3").Node, "node-2")
		r.launch("i-4")
		time.Sleep(patience - 5*time.Second)
		r.is("state", r.get("i-4").State, resource.Pending)
		p.hangUp()
		r.launch("i-5") // waits less long
		time.Sleep(15 * time.Second)
		r.is("state", r.get("i-4").State, resource.Terminated)
		r.is("reason", r.get("i-4").StateReason.Code, "Server.InsufficientInstanceCapacity")
		r.is("state", r.get("i-5").State, resource.Pending)
	})
}

// Room that an ended instance leaves is used at once.
func TestRoomIsUsedAgain(t *testing.T) {
	inRig(t, Config{}, func(r *rig) {
		p := r.connect("node-1", 1)
		r.launch("i-1", "i-2")
		r.put(func(tx *store.Tx) error {
			_, err := lifecycle.End(tx, store.Instances.Get(tx, "i-1"), lifecycle.ByUser, time.Now())
			return err
		})
		p.report(nodeapi.Observed{ID: "i-1", State: compute.Absent, Power: "gone"})
		r.is("node", r.get("i-2").Node, "node-1")
		r.is("told", p.told(), "i-2 on")
	})
}

func TestRoundRobin(t *testing.T) {
	inRig(t, Config{Placement: placement.RoundRobin}, func(r *rig) {
		for _, id := range []string{"node-1", "node-2", "node-3"} {
			r.connect(id, 10)
		}
		for i := range 7 {
			id := fmt.Sprintf("i-%d", i)
			r.launch(id)
			r.is(id, r.get(id).Node, fmt.Sprintf("node-%d", i%3+1))
		}
	})
}

// A node that is away counts as down after its grace, takes nothing, and is welcome when it returns.
func TestNodeAwayAndBack(t *testing.T) {
	inRig(t, Config{NodeGrace: 20 * time.Second}, func(r *rig) {
		up := func() bool { return store.Nodes.Get(r.store.Snapshot(), "node-1").Up }
		p := r.connect("node-1", 4)
		r.launch("i-1")
		p.hangUp()
		time.Sleep(10 * time.Second)
		r.is("up within the grace", up(), true)
		r.launch("i-2")
		r.is("placed on one that is away", r.get("i-2").Node, "")
		time.Sleep(16 * time.Second)
		r.is("up after the grace", up(), false)
		p = r.connect("node-1", 4)
		r.is("up again", up(), true)
		r.is("told", p.told(), "i-1 on, i-2 on")
		time.Sleep(time.Minute)
		r.is("up for good", up(), true)
	})
}

// The newer of two conversations of a node counts.
func TestConnectsTwice(t *testing.T) {
	inRig(t, Config{}, func(r *rig) {
		old := r.connect("node-1", 4)
		p := r.connect("node-1", 4)
		if err := <-old.ended; err == nil {
			t.Error("the older one ended without a reason")
		}
		r.launch("i-1")
		r.is("told", p.told(), "i-1 on")
		r.is("the older was told", old.told(), "")
	})
}

// Others of the VPC learn where an instance is although it found its node late, and that a node moved.
func TestRemotes(t *testing.T) {
	inRig(t, Config{Placement: placement.RoundRobin}, func(r *rig) {
		eni := func(inst, ip string) {
			r.put(func(tx *store.Tx) error {
				i := *store.Instances.Get(tx, inst)
				i.Interfaces = []string{"eni-" + inst}
				return errors.Join(store.Instances.Put(tx, &i), store.Interfaces.Put(tx, &resource.Interface{ID: "eni-" + inst, VPCID: "vpc-1", PrivateIP: ip, InstanceID: inst, MAC: "02:00:00:00:00:01"}))
			})
		}
		r.put(func(tx *store.Tx) error { return store.VPCs.Put(tx, &resource.VPC{ID: "vpc-1", CIDR: "10.0.0.0/16"}) })
		a := r.connect("node-1", 1)
		r.launch("i-1", "i-2") // there is room for one
		eni("i-1", "10.0.0.4")
		eni("i-2", "10.0.0.5")
		time.Sleep(time.Second)
		remotes := func() string {
			a.mu.Lock()
			defer a.mu.Unlock()
			var out []string
			for _, r := range a.desired[len(a.desired)-1].Network.VPCs[0].Remotes {
				out = append(out, fmt.Sprint(r.PrivateIP, " ", r.MAC, " ", r.Underlay))
			}
			return fmt.Sprint(out)
		}
		r.is("remotes", remotes(), "[]")
		r.connect("node-2", 1)
		r.is("remotes", remotes(), "[10.0.0.5 02:00:00:00:00:01 192.0.2.1]")
		r.put(func(tx *store.Tx) error {
			n := *store.Nodes.Get(tx, "node-2")
			n.Underlay = "192.0.2.9"
			return store.Nodes.Put(tx, &n)
		})
		time.Sleep(time.Second)
		r.is("remotes", remotes(), "[10.0.0.5 02:00:00:00:00:01 192.0.2.9]")
	})
}

// A burst reaches a node in few states.
func TestPace(t *testing.T) {
	inRig(t, Config{PublicPool: []netip.Prefix{netip.MustParsePrefix("198.51.100.0/24")}}, func(r *rig) {
		p := r.connect("node-1", 1000)
		n := p.states()
		for i := range 100 {
			r.put(func(tx *store.Tx) error {
				return store.Instances.Put(tx, &resource.Instance{ID: fmt.Sprintf("i-%d", i), Node: "node-1", Power: "on", State: "pending"})
			})
			time.Sleep(time.Millisecond)
		}
		time.Sleep(time.Second)
		if got := p.states() - n; got > 3 {
			t.Errorf("%d states for a burst of 100 ms", got)
		}
		if got := strings.Count(p.told(), " on"); got != 100 {
			t.Errorf("%d instances in the last one", got)
		}
	})
}
