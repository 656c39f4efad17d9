package node

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"karri.dev/internal/compute"
	"karri.dev/internal/imagecache"
	"karri.dev/internal/network"
	"karri.dev/internal/nodeapi"
	"karri.dev/internal/resource"
)

// driver is a compute driver whose machines do what the test says.
type driver struct {
	mu       sync.Mutex
	machines map[string]compute.State
	calls    []string // "start i-1" …
	failures int      // how many of the next starts fail
	hold     chan struct{}
	deaf     bool           // a reboot lasts until it is given up, a disk is never let go of
	disks    []compute.Disk // of every running machine
	nics     []compute.NIC  // likewise
	events   chan struct{}
}

func newDriver() *driver {
	return &driver{machines: map[string]compute.State{}, events: make(chan struct{}, 1)}
}

func (d *driver) note(format string, args ...any) {
	d.calls = append(d.calls, fmt.Sprintf(format, args...))
}

func (d *driver) Start(_ context.Context, m compute.Machine, taps []*os.File) error {
	d.mu.Lock()
	hold := d.hold
	d.mu.Unlock()
	if hold != nil {
		<-hold
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.note("start %s", m.ID)
	if len(taps) != len(m.NICs) {
		return errors.New("wrong number of taps")
	}
	if d.failures > 0 {
		d.failures--
		return errors.New("no luck")
	}
	d.machines[m.ID] = compute.Running
	d.disks, d.nics = m.Disks, m.NICs
	return nil
}

// fail makes the next calls fail, beDeaf makes guests not answer.
func (d *driver) fail(times int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.failures = times
}

func (d *driver) beDeaf(deaf bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.deaf = deaf
}

func (d *driver) Stop(_ context.Context, id string, grace time.Duration) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.note("stop %s %v", id, grace)
	if d.machines[id] == compute.Running {
		d.machines[id] = compute.Off
	}
	return nil
}

func (d *driver) Reboot(ctx context.Context, id string, _ time.Duration) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.note("reboot %s", id)
	if d.deaf { // the guest does not answer
		d.mu.Unlock()
		<-ctx.Done()
		d.mu.Lock()
		return ctx.Err()
	}
	return nil
}

func (d *driver) Remove(_ context.Context, id string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.note("remove %s", id)
	delete(d.machines, id)
	return nil
}

func (d *driver) List(context.Context) (list []compute.Status, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for id, s := range d.machines {
		list = append(list, compute.Status{ID: id, State: s, Disks: slices.Clone(d.disks), NICs: slices.Clone(d.nics)})
	}
	return list, nil
}

func (d *driver) SetDisk(_ context.Context, id string, disk compute.Disk) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.note("set %s %s %d", id, disk.Name, disk.SizeBytes)
	if d.failures > 0 {
		d.failures--
		return errors.New("no luck")
	}
	d.disks = append(slices.DeleteFunc(d.disks, func(have compute.Disk) bool { return have.Name == disk.Name }), disk)
	return nil
}

// Snapshot implements compute.Driver.
func (d *driver) Snapshot(_ context.Context, id string, copies []compute.Copy, _ time.Duration) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.note("snapshot %s %d", id, len(copies))
	return nil
}

func (d *driver) DropDisk(_ context.Context, id, name string, force bool) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.note("drop %s %s %v", id, name, force)
	if d.deaf {
		return compute.ErrHeld
	}
	d.disks = slices.DeleteFunc(d.disks, func(have compute.Disk) bool { return have.Name == name })
	return nil
}

func (d *driver) SetNIC(_ context.Context, id string, nic compute.NIC, _ *os.File) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.note("plug %s %s", id, nic.ID)
	d.nics = append(d.nics, nic)
	return nil
}

func (d *driver) DropNIC(_ context.Context, id, nic string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.note("unplug %s %s", id, nic)
	if d.deaf {
		return compute.ErrHeld
	}
	d.nics = slices.DeleteFunc(d.nics, func(have compute.NIC) bool { return have.ID == nic })
	return nil
}

func (d *driver) Events() <-chan struct{}                        { return d.events }
func (d *driver) Screen(context.Context, string) ([]byte, error) { return nil, compute.ErrNoScreen }

func (d *driver) Console(_ context.Context, id string, max int) ([]byte, error) {
	if id == "i-1" {
		return []byte("hello")[:min(max, 5)], nil
	}
	return nil, compute.ErrNotFound
}
func (d *driver) Accel() compute.Accel { return compute.Accel{Name: "fake"} }
func (d *driver) Close() error         { return nil }

// becomes changes a machine's state from outside, as a guest does.
func (d *driver) becomes(id string, s compute.State) {
	d.mu.Lock()
	d.machines[id] = s
	d.mu.Unlock()
	poke(d.events)
}

func (d *driver) take() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	calls := d.calls
	d.calls = nil
	return calls
}

// taps is a network driver without a network.
type taps struct {
	network.Driver
	mu   sync.Mutex
	fail error
}

func (n *taps) Apply(context.Context, network.State) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.fail
}
func (n *taps) OpenTap(context.Context, string) (*os.File, error) { return os.Open(os.DevNull) }
func (n *taps) MTU() int                                          { return 1500 }
func (n *taps) Tunnels() []network.TunnelStatus                   { return nil }
func (n *taps) Learned() []network.LearnedAddress                 { return nil }
func (n *taps) News() <-chan struct{}                             { return nil }

// images is a cache that has every image, or gives an error.
type images struct {
	mu   sync.Mutex
	err  error
	held int
}

func (i *images) Ensure(_ context.Context, img imagecache.Image, _ imagecache.Fetch) (string, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.err == nil {
		i.held++
	}
	return "/" + img.SHA256, i.err
}

func (i *images) Release(string) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.held--
}

// rig is a node with everything around it: the test is its zone.
type rig struct {
	t       *testing.T
	driver  *driver
	network *taps
	images  *images
	memory  *Memory
	zone    nodeapi.ZoneLink
	stop    func()

	mu      sync.Mutex
	reports []*nodeapi.Report
	answers []*nodeapi.Answer
	hello   *nodeapi.Hello
}

// begin starts a node in a bubble; another one over the same rig is the same node after a restart.
func (r *rig) begin() {
	r.t.Helper()
	nodeEnd, zoneEnd, hangUp := nodeapi.Pipe()
	attached := false
	n, err := New(Config{Memory: r.memory, Hello: nodeapi.Hello{Name: "n"}}, Deps{
		Log: slog.New(slog.DiscardHandler), Now: time.Now, Compute: r.driver, Network: r.network, Cache: r.images,
		Attach: func(ctx context.Context) (nodeapi.NodeLink, error) {
			if attached {
				return nil, errors.New("the zone is away")
			}
			attached = true
			context.AfterFunc(ctx, hangUp)
			return nodeEnd, nil
		},
		Fetch: func(context.Context, nodeapi.Image) (io.ReadCloser, error) { return nil, errors.New("unused") },
	})
	if err != nil {
		r.t.Fatal(err)
	}
	r.zone = zoneEnd
	ctx, cancel := context.WithCancel(r.t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = n.Run(ctx)
	}()
	go func() {
		for {
			m, err := zoneEnd.Recv()
			if err != nil {
				return
			}
			r.mu.Lock()
			switch {
			case m.Hello != nil:
				r.hello = m.Hello
			case m.Report != nil:
				r.reports = append(r.reports, m.Report)
			case m.Answer != nil:
				r.answers = append(r.answers, m.Answer)
			}
			r.mu.Unlock()
		}
	}()
	r.stop = func() { cancel(); hangUp(); <-done }
	synctest.Wait()
}

func inRig(t *testing.T, test func(*rig)) {
	synctest.Test(t, func(t *testing.T) {
		r := &rig{t: t, driver: newDriver(), network: new(taps), images: new(images), memory: new(Memory)}
		r.begin()
		defer func() {
			r.stop()
			if r.images.held != 0 {
				t.Errorf("%d images are held", r.images.held)
			}
		}()
		test(r)
	})
}

func instance(id string, power resource.Power, reboots int) nodeapi.Instance {
	return nodeapi.Instance{
		ID: id, Power: power, Reboots: reboots, Image: nodeapi.Image{ID: "ami-1", SHA256: "ab"},
		Machine: compute.Machine{ID: id, Disks: []compute.Disk{{Name: "root"}}, NICs: []compute.NIC{{ID: "eni-1"}}},
	}
}

// want sends a desired state and lets the node work.
func (r *rig) want(list ...nodeapi.Instance) {
	r.t.Helper()
	if err := r.zone.Send(&nodeapi.FromZone{Desired: &nodeapi.Desired{Revision: 1, Instances: list}}); err != nil {
		r.t.Fatal(err)
	}
	synctest.Wait()
}

// called checks what the driver was asked for since the last time.
func (r *rig) called(want ...string) {
	r.t.Helper()
	if diff := cmp.Diff(want, r.driver.take()); diff != "" {
		r.t.Errorf("calls (-want +got):\n%s", diff)
	}
}

// reported checks the last report.
func (r *rig) reported(want ...nodeapi.Observed) {
	for i := range want { // every machine has the card that it began with
		if want[i].State == compute.Running && want[i].NICs == nil {
			want[i].NICs = []string{"eni-1"}
		}
	}
	r.t.Helper()
	synctest.Wait()
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.reports) == 0 {
		r.t.Error("nothing was reported")
		return
	}
	if diff := cmp.Diff(want, r.reports[len(r.reports)-1].Instances); diff != "" {
		r.t.Errorf("report (-want +got):\n%s", diff)
	}
}

func TestStartRebootEnd(t *testing.T) {
	inRig(t, func(r *rig) {
		r.want(instance("i-1", resource.PowerOn, 0))
		r.called("start i-1")
		r.reported(nodeapi.Observed{ID: "i-1", State: compute.Running, Power: "on"})

		r.want(instance("i-1", resource.PowerOn, 3)) // three calls at once are one reboot
		r.called("reboot i-1")
		r.reported(nodeapi.Observed{ID: "i-1", State: compute.Running, Power: "on", Reboots: 3})
		r.want(instance("i-1", resource.PowerOn, 3))
		r.called()

		r.want(instance("i-1", resource.PowerGone, 3))
		r.called("stop i-1 10s", "remove i-1")
		r.reported(nodeapi.Observed{ID: "i-1", State: compute.Absent, Power: "gone"})
		r.want()
		r.called()
		if !r.memory.Empty() {
			t.Error("something is kept of an instance that is gone")
		}
	})
}

func TestStopAndStart(t *testing.T) {
	inRig(t, func(r *rig) {
		r.want(instance("i-1", resource.PowerOn, 0))
		r.called("start i-1")
		r.want(instance("i-1", resource.PowerOff, 0))
		r.called("stop i-1 1m0s")
		r.reported(nodeapi.Observed{ID: "i-1", State: compute.Off, Power: "off"})
		r.want(instance("i-1", resource.PowerOn, 0)) // off, but not by its guest
		r.called("start i-1")
		r.reported(nodeapi.Observed{ID: "i-1", State: compute.Running, Power: "on"})
	})
}

func TestGuestPowersOff(t *testing.T) {
	inRig(t, func(r *rig) {
		r.want(instance("i-1", resource.PowerOn, 0))
		r.driver.becomes("i-1", compute.Off)
		r.reported(nodeapi.Observed{ID: "i-1", State: compute.Off, Power: "on"})
		r.called("start i-1") // once: it is not started again
	})
}

// A start that failed before must not hide that the guest powered itself off.
func TestGuestPowersOffAfterFailedStart(t *testing.T) {
	inRig(t, func(r *rig) {
		r.driver.fail(1)
		r.want(instance("i-1", resource.PowerOn, 0))
		r.reported(nodeapi.Observed{ID: "i-1", State: compute.Failed, Reason: "no luck", Power: "on"})
		time.Sleep(5 * time.Second)
		r.called("start i-1", "start i-1")
		r.reported(nodeapi.Observed{ID: "i-1", State: compute.Running, Power: "on"})
		r.driver.becomes("i-1", compute.Off)
		r.reported(nodeapi.Observed{ID: "i-1", State: compute.Off, Power: "on"})
	})
}

func TestFailureBudget(t *testing.T) {
	inRig(t, func(r *rig) {
		r.driver.fail(100)
		r.want(instance("i-1", resource.PowerOn, 0))
		time.Sleep(time.Minute)
		r.called("start i-1", "start i-1", "start i-1", "start i-1")
		r.reported(nodeapi.Observed{ID: "i-1", State: compute.Failed, Reason: "no luck", Power: "on", Final: true})
		// The zone gives it up; that it never started is no reason not to end.
		r.want(instance("i-1", resource.PowerGone, 0))
		r.reported(nodeapi.Observed{ID: "i-1", State: compute.Absent, Power: "gone"})
	})
}

func TestCrashLoopEnds(t *testing.T) {
	inRig(t, func(r *rig) {
		r.want(instance("i-1", resource.PowerOn, 0))
		for range 4 {
			r.driver.becomes("i-1", compute.Failed)
			time.Sleep(30 * time.Second)
		}
		r.called("start i-1", "start i-1", "start i-1", "start i-1")
		r.reported(nodeapi.Observed{ID: "i-1", State: compute.Failed, Reason: "the machine died: ", Power: "on", Final: true})
	})
}

func TestPermanentFailure(t *testing.T) {
	for name, breakIt := range map[string]func(*rig, *nodeapi.Instance){
		"no image":      func(_ *rig, i *nodeapi.Instance) { i.Machine.Disks = nil },
		"corrupt image": func(r *rig, _ *nodeapi.Instance) { r.images.err = imagecache.ErrCorrupt },
	} {
		t.Run(name, func(t *testing.T) {
			inRig(t, func(r *rig) {
				inst := instance("i-1", resource.PowerOn, 0)
				breakIt(r, &inst)
				r.want(inst)
				r.mu.Lock()
				defer r.mu.Unlock()
				last := r.reports[len(r.reports)-1].Instances
				if len(last) != 1 || !last[0].Final || last[0].State != compute.Failed {
					t.Errorf("reported %+v", last)
				}
			})
		})
	}
}

func TestNetworkFailureIsRetried(t *testing.T) {
	inRig(t, func(r *rig) {
		r.network.fail = errors.New("broken")
		r.want(instance("i-1", resource.PowerOn, 0))
		r.called()
		r.reported(nodeapi.Observed{ID: "i-1", State: compute.Failed, Reason: "network: broken", Power: "on"})
		r.network.mu.Lock()
		r.network.fail = nil
		r.network.mu.Unlock()
		time.Sleep(5 * time.Second)
		r.called("start i-1")
	})
}

// Errors of an ending instance are tried again without end, but not without a pause.
func TestEndingIsRetried(t *testing.T) {
	inRig(t, func(r *rig) {
		r.want(instance("i-1", resource.PowerOn, 0))
		inst := instance("i-1", resource.PowerGone, 0)
		for range 100 {
			n := &Node{cfg: Config{}, deps: Deps{Now: time.Now}, wake: make(chan struct{}, 1), failures: map[string]failure{}}
			for range 70 { // no overflow of the pause
				n.fail(inst, errors.New("busy"))
			}
			if f, _ := n.failure(inst); f.final || time.Until(f.retry) != 64*time.Second {
				t.Fatalf("%+v", f)
			}
		}
	})
}

// Orphans are removed, but not before the zone has said what it wants.
func TestOrphans(t *testing.T) {
	inRig(t, func(r *rig) {
		r.driver.becomes("i-old", compute.Running)
		time.Sleep(time.Minute)
		r.called()
		if len(r.reports) != 0 {
			t.Error("a node reported before its zone spoke")
		}
		r.want(instance("i-1", resource.PowerOn, 0))
		synctest.Wait()
		calls := r.driver.take()
		slices.Sort(calls)
		if diff := cmp.Diff([]string{"remove i-old", "start i-1", "stop i-old 10s"}, calls); diff != "" {
			t.Error(diff)
		}
	})
}

// A restarted agent leaves guests alone, knows what was asked for, and who powered off.
func TestRestart(t *testing.T) {
	inRig(t, func(r *rig) {
		r.want(instance("i-1", resource.PowerOn, 2), instance("i-2", resource.PowerOn, 0), instance("i-3", resource.PowerOn, 0))
		r.stop()
		r.driver.take()
		r.driver.becomes("i-2", compute.Off)    // powers off while nobody looks
		r.driver.becomes("i-3", compute.Failed) // dies
		r.begin()
		synctest.Wait()
		time.Sleep(5 * time.Second)
		r.called("start i-3") // without having heard from the zone
		r.want(instance("i-1", resource.PowerOn, 2), instance("i-2", resource.PowerOn, 0), instance("i-3", resource.PowerOn, 0))
		r.called()
		r.reported(
			nodeapi.Observed{ID: "i-1", State: compute.Running, Power: "on", Reboots: 2},
			nodeapi.Observed{ID: "i-2", State: compute.Off, Power: "on"},
			nodeapi.Observed{ID: "i-3", State: compute.Running, Power: "on"},
		)
	})
}

// An instance that is wanted gone while it starts is not said to be gone before its machine is.
func TestEndWhileStarting(t *testing.T) {
	inRig(t, func(r *rig) {
		r.driver.hold = make(chan struct{})
		r.want(instance("i-1", resource.PowerOn, 0))
		r.want(instance("i-1", resource.PowerGone, 0))
		r.mu.Lock()
		for _, report := range r.reports {
			for _, o := range report.Instances {
				if o.Power == resource.PowerGone {
					t.Errorf("reported %+v while it starts", o)
				}
			}
		}
		r.mu.Unlock()
		close(r.driver.hold)
		synctest.Wait()
		r.called("start i-1", "stop i-1 10s", "remove i-1")
		r.reported(nodeapi.Observed{ID: "i-1", State: compute.Absent, Power: "gone"})
	})
}

// Who terminates does not wait for a reboot that is under way.
func TestEndWhileRebooting(t *testing.T) {
	inRig(t, func(r *rig) {
		r.want(instance("i-1", resource.PowerOn, 0))
		r.driver.beDeaf(true)
		r.want(instance("i-1", resource.PowerOn, 1))
		r.called("start i-1", "reboot i-1")
		r.want(instance("i-1", resource.PowerGone, 1))
		r.called("stop i-1 10s", "remove i-1")
		r.reported(nodeapi.Observed{ID: "i-1", State: compute.Absent, Power: "gone", Reboots: 0})
	})
}

func TestQuestions(t *testing.T) {
	inRig(t, func(r *rig) {
		for i, q := range []nodeapi.Ask{{What: "console", Instance: "i-1", Max: 4}, {What: "console", Instance: "i-9", Max: 4}, {What: "soul"}} {
			q.ID = uint64(i)
			if err := r.zone.Send(&nodeapi.FromZone{Ask: &q}); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
		}
		want := []*nodeapi.Answer{{ID: 0, Data: []byte("hell")}, {ID: 1}, {ID: 2, Error: `this node does not know the question "soul"`}}
		r.mu.Lock()
		defer r.mu.Unlock()
		if diff := cmp.Diff(want, r.answers); diff != "" {
			t.Error(diff)
		}
		if r.hello == nil || r.hello.Name != "n" {
			t.Error("no hello", r.hello)
		}
	})
}

// A machine that is wanted with another root disk is made anew, and that it is off meanwhile is not its guest's doing.
func TestRestartOnAnotherRoot(t *testing.T) {
	inRig(t, func(r *rig) {
		on := func(disk string, restarts int, rootless bool) nodeapi.Instance {
			i := instance("i-1", resource.PowerOn, 0)
			i.Restarts, i.Rootless = restarts, rootless
			i.Machine.Disks = []compute.Disk{{Name: disk, Path: "/" + disk}}
			return i
		}
		r.want(on("vol-1", 0, false))
		r.called("start i-1")
		r.want(on("vol-2", 1, true)) // it cannot be opened yet
		r.called()
		r.want(on("vol-2", 1, false))
		r.called("stop i-1 1m0s", "start i-1")
		r.reported(nodeapi.Observed{ID: "i-1", State: compute.Running, Power: "on", Disks: []nodeapi.ObservedDisk{{Name: "vol-2", Filled: true}}})
		r.want(on("vol-2", 1, false))
		r.called()
		// Killed after the machine was stopped: it is started on the new disk.
		r.driver.becomes("i-1", compute.Off)
		r.stop()
		l := r.memory.instance("i-1")
		l.Started, l.Restarts = false, 1
		if err := r.memory.setInstance("i-1", l.record); err != nil {
			t.Fatal(err)
		}
		r.begin()
		r.called("start i-1")
		r.want(on("vol-3", 2, false))
		r.called("stop i-1 1m0s", "start i-1")
	})
}
