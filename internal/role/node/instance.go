package node

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"karri.dev/internal/compute"
	"karri.dev/internal/imagecache"
	"karri.dev/internal/nodeapi"
	"karri.dev/internal/resource"
)

// attempts is how often a machine that fails is started again within attemptWindow before it is given up.
const (
	attempts      = 4
	attemptWindow = 10 * time.Minute
)

// failure counts failed attempts to give an instance the power that is wanted.
type failure struct {
	power  resource.Power
	count  int
	first  time.Time
	reason string
	retry  time.Time // not before
	final  bool
}

// settled says that nothing is to be done for an instance as it was seen. The caller has claimed it.
func (n *Node) settled(inst nodeapi.Instance, s compute.Status) bool {
	if s.State == "" {
		s.State = compute.Absent
	}
	local := n.disk.instance(inst.ID)
	settled := false
	switch inst.Power {
	case resource.PowerOn:
		switch s.State {
		case compute.Running:
			settled = local.Started && local.Reboots >= inst.Reboots && (local.Restarts >= inst.Restarts || inst.Rootless) && (inst.Rootless || n.disksSettled(inst, s) && nicsSettled(inst, s) || n.disksRest(inst.ID))
		case compute.Off:
			settled = local.Started // the guest powered itself off: the zone decides what that means
		}
	case resource.PowerOff:
		settled = s.State != compute.Running && !local.Started
	case resource.PowerGone:
		settled = s.State == compute.Absent && !local.known
	}
	if inst.Power == resource.PowerOn && s.State != compute.Running && (keyless(inst.Machine) || inst.Rootless) {
		settled = true // until the zone speaks
	}
	if f, failed := n.failure(inst); failed && (f.final || n.deps.Now().Before(f.retry)) {
		settled = true // for now
	}
	if settled {
		n.note(inst, s, local)
	}
	return settled
}

// note keeps what was observed of an instance, for the next report.
func (n *Node) note(inst nodeapi.Instance, s compute.Status, local local) {
	o := nodeapi.Observed{ID: inst.ID, State: s.State, Reason: s.Reason, Reboots: local.Reboots, Power: inst.Power}
	if s.State == compute.Running {
		o.Disks, o.NICs = n.observedDisks(inst, s), observedNICs(s)
	}
	if inst.Power == resource.PowerOn && !local.Started && s.State == compute.Off {
		o.State = compute.Absent // it is still to be started: not the guest's doing
	}
	powersOff := s.State == compute.Off && local.Started // that it failed to start before does not matter
	if f, failed := n.failure(inst); failed && inst.Power == resource.PowerOn && s.State != compute.Running && !powersOff {
		o.State, o.Reason, o.Final = compute.Failed, f.reason, f.final
	}
	n.mu.Lock()
	n.observed[inst.ID] = o
	n.mu.Unlock()
}

// advance brings one instance towards what is desired of it. One worker at a time has an instance.
func (n *Node) advance(ctx context.Context, inst nodeapi.Instance) {
	log := n.deps.Log.With("instance", inst.ID)
	var err error
	switch inst.Power {
	case resource.PowerOn:
		err = n.on(ctx, inst)
	case resource.PowerOff:
		err = n.off(ctx, inst)
	case resource.PowerGone:
		err = n.gone(ctx, inst)
	default:
		err = fmt.Errorf("unknown power %q", inst.Power)
	}
	if err != nil && ctx.Err() == nil {
		log.Error("instance does not advance", "power", inst.Power, "error", err)
		n.fail(inst, err)
	}
	s := n.status(context.WithoutCancel(ctx), inst.ID)
	n.note(inst, s, n.disk.instance(inst.ID))
}

func (n *Node) status(ctx context.Context, id string) compute.Status {
	all, err := n.deps.Compute.List(ctx)
	if err == nil {
		for _, s := range all {
			if s.ID == id {
				return s
			}
		}
	}
	return compute.Status{ID: id, State: compute.Absent}
}

func (n *Node) on(ctx context.Context, inst nodeapi.Instance) error {
	local := n.disk.instance(inst.ID)
	s := n.status(ctx, inst.ID)
	if s.State == compute.Failed && local.Started {
		local.Started = false // counted as a failure, and started again after a while
		if err := n.disk.setInstance(inst.ID, local.record); err != nil {
			return err
		}
		return fmt.Errorf("the machine died: %s", s.Reason)
	}
	if s.State == compute.Running && local.Restarts < inst.Restarts && !inst.Rootless {
		if err := n.stopToRestart(ctx, inst, &local); err != nil {
			return err
		}
		s.State = compute.Off
	}
	if s.State == compute.Running && local.Started {
		for local.Reboots < inst.Reboots {
			if err := n.deps.Compute.Reboot(ctx, inst.ID, n.cfg.Grace); err != nil {
				return err
			}
			local.Reboots = inst.Reboots // several calls while one reboot was under way are one
			if err := n.disk.setInstance(inst.ID, local.record); err != nil {
				return err
			}
		}
		n.changeNICs(ctx, inst, s)
		if !inst.Rootless {
			n.changeDisks(ctx, inst, s)
		}
		return nil
	}
	n.mu.Lock()
	netErr := n.applied
	n.mu.Unlock()
	if netErr != nil {
		return fmt.Errorf("network: %w", netErr)
	}
	m, release, err := n.machine(ctx, inst)
	if err != nil {
		return err
	}
	defer release()
	var taps []*os.File
	defer func() {
		for _, f := range taps {
			f.Close()
		}
	}()
	for i, nic := range m.NICs {
		m.NICs[i].MTU = n.deps.Network.MTU()
		f, err := n.deps.Network.OpenTap(ctx, nic.ID)
		if err != nil {
			return err
		}
		taps = append(taps, f)
	}
	if err := n.deps.Compute.Start(ctx, m, taps); err != nil {
		return err
	}
	n.deps.Log.Info("instance started", "instance", inst.ID)
	return n.disk.setInstance(inst.ID, record{Started: true, Reboots: inst.Reboots, Restarts: inst.Restarts})
}

// stopToRestart stops a machine that is to be made anew. That it is off is not the guest's doing: this is written down
// before.
func (n *Node) stopToRestart(ctx context.Context, inst nodeapi.Instance, local *local) error {
	local.Started = false
	if err := n.disk.setInstance(inst.ID, local.record); err != nil {
		return err
	}
	if err := n.deps.Compute.Stop(ctx, inst.ID, n.cfg.Grace); err != nil && !errors.Is(err, compute.ErrNotFound) {
		return err
	}
	n.deps.Log.Info("instance stopped, to start with other disks", "instance", inst.ID)
	return nil
}

// machine completes the machine with files from the cache. release gives the files free for eviction: the
// machine's own disk by then holds on to what it needs.
func (n *Node) machine(ctx context.Context, inst nodeapi.Instance) (m compute.Machine, release func(), err error) {
	var held []string
	release = func() {
		for _, sum := range held {
			n.deps.Cache.Release(sum)
		}
	}
	defer func() {
		if err != nil {
			release()
		}
	}()
	file := func(img nodeapi.Image) (string, error) {
		path, err := n.image(ctx, img)
		if err == nil {
			held = append(held, img.SHA256)
		}
		return path, err
	}
	m = inst.Machine
	m.NICs = append([]compute.NIC(nil), m.NICs...)
	m.Disks = append([]compute.Disk(nil), m.Disks...)
	if len(m.Disks) == 0 {
		return m, release, permanent{errors.New("the instance's image is gone")}
	}
	for i := range m.Disks {
		img, based := inst.Bases[m.Disks[i].Name]
		if m.Disks[i].Name == rootDisk {
			img, based = inst.Image, true
		}
		if based {
			if m.Disks[i].Base, err = file(img); err != nil {
				return m, release, err
			}
		}
	}
	if inst.Kernel != nil {
		if m.Kernel, err = file(*inst.Kernel); err != nil {
			return m, release, err
		}
		if m.CommandLine == "" {
			m.CommandLine = "root=/dev/vda1 ro console=ttyS0"
		}
	} else {
		m.CommandLine = ""
	}
	if inst.Ramdisk != nil {
		if m.Ramdisk, err = file(*inst.Ramdisk); err != nil {
			return m, release, err
		}
	}
	return m, release, nil
}

func (n *Node) off(ctx context.Context, inst nodeapi.Instance) error {
	if err := n.deps.Compute.Stop(ctx, inst.ID, n.cfg.Grace); err != nil && !errors.Is(err, compute.ErrNotFound) {
		return err
	}
	local := n.disk.instance(inst.ID)
	local.Started = false
	return n.disk.setInstance(inst.ID, local.record)
}

// gone ends an instance. The guest is asked first, as EC2 does, but not for long: what it has is lost.
func (n *Node) gone(ctx context.Context, inst nodeapi.Instance) error {
	if err := n.deps.Compute.Stop(ctx, inst.ID, min(n.cfg.Grace, 10*time.Second)); err != nil && !errors.Is(err, compute.ErrNotFound) {
		return err
	}
	if err := n.deps.Compute.Remove(ctx, inst.ID); err != nil {
		return err
	}
	n.mu.Lock()
	delete(n.failures, inst.ID)
	n.mu.Unlock()
	n.deps.Log.Info("instance removed", "instance", inst.ID)
	return n.disk.removeInstance(inst.ID)
}

// permanent marks an error that trying again does not heal.
type permanent struct{ error }

func (p permanent) Unwrap() error { return p.error }

func (n *Node) fail(inst nodeapi.Instance, err error) {
	now := n.deps.Now()
	f, failed := n.failure(inst)
	if !failed {
		f = failure{power: inst.Power, first: now}
	}
	f.count++
	f.reason = err.Error()
	wait := time.Second << min(f.count, 6)
	f.retry = now.Add(wait)
	var p permanent
	f.final = inst.Power == resource.PowerOn && (f.count >= attempts || errors.As(err, &p) || errors.Is(err, imagecache.ErrCorrupt))
	n.mu.Lock()
	n.failures[inst.ID] = f
	n.mu.Unlock()
	time.AfterFunc(wait, func() { poke(n.wake) })
}

// failure gives what failed lately of what is wanted now.
func (n *Node) failure(inst nodeapi.Instance) (f failure, failed bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	f, failed = n.failures[inst.ID]
	if failed && f.power == inst.Power && n.deps.Now().Sub(f.first) <= attemptWindow {
		return f, true
	}
	return failure{}, false
}

// forget drops what is known of instances that are no longer ours.
func (n *Node) forget(ours map[string]bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for id := range n.observed {
		if !ours[id] {
			delete(n.observed, id)
			delete(n.failures, id)
			delete(n.disksRetry, id)
			delete(n.cut, id)
		}
	}
}

// report gives all that is observed, or nil before the zone has spoken.
func (n *Node) report() *nodeapi.Report {
	n.mu.Lock()
	defer n.mu.Unlock()
	if !n.fresh {
		return nil
	}
	r := &nodeapi.Report{Revision: n.desired.Revision, Gateways: n.gateways, Tunnels: n.deps.Network.Tunnels(), Learned: n.deps.Network.Learned()}
	for _, inst := range n.desired.Instances {
		if o, ok := n.observed[inst.ID]; ok {
			r.Instances = append(r.Instances, o)
		}
	}
	return r
}
