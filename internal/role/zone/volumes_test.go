package zone

import (
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"karri.dev/internal/compute"
	"karri.dev/internal/lifecycle"
	"karri.dev/internal/nodeapi"
	"karri.dev/internal/resource"
	"karri.dev/internal/store"
	"karri.dev/internal/volumetype"
)

const vol = "vol-0123456789abcdef0"

func (r *rig) volume(v resource.Volume) {
	v.ID, v.Zone, v.Format, v.State = vol, "us-east-1a", "raw", resource.VolumeCreating
	v.SizeGiB = max(v.SizeGiB, 1)
	r.put(func(tx *store.Tx) error { return store.Volumes.Put(tx, &v) })
	r.rest()
}

func (r *rig) rest() {
	time.Sleep(time.Second)
	synctest.Wait()
}

func (r *rig) edit(f func(*resource.Volume)) {
	r.put(func(tx *store.Tx) error {
		v := *store.Volumes.Get(tx, vol)
		if v.Attachment != nil {
			a := *v.Attachment
			v.Attachment = &a
		}
		f(&v)
		return store.Volumes.Put(tx, &v)
	})
	r.rest()
}

func (r *rig) get1() *resource.Volume { return store.Volumes.Get(r.store.Snapshot(), vol) }

// TestVolumeLife: a volume is made, attached, modified, detached and deleted, each when the node says so.
func TestVolumeLife(t *testing.T) {
	inRig(t, Config{}, func(r *rig) {
		r.volume(resource.Volume{Type: "gp3", IOPS: 3000, Throughput: 125})
		if v := r.get1(); v.State != resource.VolumeAvailable || !v.Made || v.MadeGiB != 1 {
			t.Fatalf("%+v", v)
		}
		if z := store.Zones.Get(r.store.Snapshot(), "us-east-1a"); z.StorageGiB == 0 {
			t.Error("the zone's room is not known")
		}
		p := r.connect("node-1", 4)
		r.launch("i-1")
		seen := nodeapi.Observed{ID: "i-1", State: compute.Running, Power: resource.PowerOn}
		r.report(p, seen)
		r.edit(func(v *resource.Volume) {
			v.State = resource.VolumeInUse
			v.Attachment = &resource.VolumeAttachment{InstanceID: "i-1", Device: "/dev/sdf", State: resource.Attaching}
		})
		want := compute.Disk{Name: vol, Export: vol, Format: "raw", SizeBytes: gib, Limits: volumetype.Limits(r.get1())}
		if got := p.last().Instances[0].Machine.Disks; !slices.Contains(got, want) {
			t.Errorf("desired disks %+v", got)
		}
		r.report(p, seen)
		if a := r.get1().Attachment; a.State != resource.Attaching {
			t.Errorf("%+v before the guest has it", a)
		}
		disk := nodeapi.ObservedDisk{Name: vol, SizeBytes: gib, Limits: want.Limits}
		seen.Disks = []nodeapi.ObservedDisk{disk}
		r.report(p, seen)
		if a := r.get1().Attachment; a.State != resource.Attached {
			t.Errorf("%+v", a)
		}
		r.edit(func(v *resource.Volume) {
			v.SizeGiB, v.IOPS, v.Modification = 2, 4000, &resource.VolumeModification{State: "modifying"}
		})
		r.report(p, seen)
		if v := r.get1(); v.Modification.State != "modifying" || v.MadeGiB != 2 {
			t.Errorf("%+v before the guest sees it", v)
		}
		seen.Disks = []nodeapi.ObservedDisk{{Name: vol, SizeBytes: 2 * gib, Limits: volumetype.Limits(r.get1())}}
		r.report(p, seen)
		if v := r.get1(); v.Modification.State != "completed" {
			t.Errorf("%+v", v.Modification)
		}
		r.edit(func(v *resource.Volume) { v.Attachment.State = resource.Detaching })
		r.report(p, seen)
		if a := r.get1().Attachment; a == nil {
			t.Fatal("free while the guest has it")
		}
		if got := p.last().Instances[0]; slices.ContainsFunc(got.Machine.Disks, func(d compute.Disk) bool { return d.Name == vol }) || got.Forced != nil {
			t.Errorf("desired %+v", got)
		}
		r.edit(func(v *resource.Volume) { v.Attachment.Force = true })
		if got := p.last().Instances[0]; !slices.Equal(got.Forced, []string{vol}) {
			t.Errorf("forced %v", got.Forced)
		}
		seen.Disks[0].Cut = true
		r.report(p, seen)
		if v := r.get1(); v.Attachment != nil || v.State != resource.VolumeAvailable {
			t.Errorf("%+v", v)
		}
		r.volumes.Hold(vol, true) // by a process that is about to end
		r.put(func(tx *store.Tx) error { return lifecycle.DeleteVolume(tx, r.get1()) })
		r.rest()
		if r.get1() == nil {
			t.Error("deleted while it is open")
		}
		r.volumes.Hold(vol, false)
		time.Sleep(3 * time.Second)
		r.rest()
		if list, _ := r.volumes.List(t.Context()); r.get1() != nil || len(list) != 0 {
			t.Errorf("%v is left", list)
		}
	})
}

// TestVolumeOfOthers: no node speaks for the volumes of another's instances.
func TestVolumeOfOthers(t *testing.T) {
	inRig(t, Config{}, func(r *rig) {
		p := r.connect("node-1", 1)
		r.launch("i-1")
		other := r.connect("node-2", 1)
		r.volume(resource.Volume{Type: "gp2", Attachment: &resource.VolumeAttachment{InstanceID: "i-1", Device: "/dev/sdf", State: resource.Attaching}})
		seen := nodeapi.Observed{ID: "i-1", State: compute.Running, Power: resource.PowerOn, Disks: []nodeapi.ObservedDisk{{Name: vol}}}
		r.report(other, seen)
		if a := r.get1().Attachment; a.State != resource.Attaching {
			t.Errorf("%+v", a)
		}
		r.report(p, seen)
		if a := r.get1().Attachment; a.State != resource.Attached {
			t.Errorf("%+v", a)
		}
	})
}

func (r *rig) report(p *peer, list ...nodeapi.Observed) { p.report(list...) }

// last gives the last desired state that the node got.
func (p *peer) last() *nodeapi.Desired {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.desired[len(p.desired)-1]
}

// TestReplacedRoot: a machine is wanted anew on its new root volume, and the old one is free once the guest has that.
func TestReplacedRoot(t *testing.T) {
	inRig(t, Config{}, func(r *rig) {
		const fresh, task = "vol-00000000000000009", "replacevol-0123456789abcdef0"
		p := r.connect("node-1", 4)
		r.launch("i-1")
		r.put(func(tx *store.Tx) error {
			inst := *store.Instances.Get(tx, "i-1")
			inst.RootDevice = "/dev/sda1"
			return store.Instances.Put(tx, &inst)
		})
		r.volume(resource.Volume{Type: "gp3"})
		r.edit(func(v *resource.Volume) {
			v.State = resource.VolumeInUse
			v.Attachment = &resource.VolumeAttachment{InstanceID: "i-1", Device: "/dev/sda1", State: resource.Attached, DeleteOnEnd: true}
		})
		on := func(name string) nodeapi.Observed {
			return nodeapi.Observed{ID: "i-1", State: compute.Running, Power: resource.PowerOn, Disks: []nodeapi.ObservedDisk{{Name: name, SizeBytes: gib}}}
		}
		r.report(p, on(vol))
		advance := func() string {
			r.put(func(tx *store.Tx) error {
				return lifecycle.AdvanceRootTask(tx, store.RootVolumeTasks.Get(tx, task), time.Now())
			})
			r.rest()
			return store.RootVolumeTasks.Get(r.store.Snapshot(), task).State
		}
		r.put(func(tx *store.Tx) error {
			v := *r.get1()
			v.ID, v.State, v.Attachment, v.Made, v.MadeGiB = fresh, resource.VolumeCreating, nil, false, 0
			return errors.Join(store.Volumes.Put(tx, &v), store.RootVolumeTasks.Put(tx, &resource.RootVolumeTask{ID: task, InstanceID: "i-1", Old: vol, New: fresh, DeleteOld: true, State: "pending"}))
		})
		r.rest() // the zone makes it
		if state := advance(); state != "in-progress" {
			t.Fatal(state)
		}
		got := p.last().Instances[0]
		if got.Restarts != 1 || got.Rootless || len(got.Machine.Disks) != 1 || got.Machine.Disks[0].Name != fresh {
			t.Errorf("desired %+v", got)
		}
		r.report(p, on(vol)) // not yet
		if state := advance(); state != "in-progress" || r.get1().Attachment == nil {
			t.Errorf("%s, %+v", state, r.get1())
		}
		r.report(p, nodeapi.Observed{ID: "i-1", State: compute.Absent, Power: resource.PowerOn}) // while it is off
		r.is("instance", r.get("i-1").State, resource.Running)
		r.report(p, on(fresh))
		if a := store.Volumes.Get(r.store.Snapshot(), fresh).Attachment; a.State != resource.Attached || a.Device != "/dev/sda1" {
			t.Errorf("%+v", a)
		}
		if state := advance(); state != "succeeded" {
			t.Error(state)
		}
		if v := r.get1(); v != nil && v.State != resource.VolumeDeleting {
			t.Errorf("%+v", v)
		}
		// A root volume that cannot be opened: its machine's disks are left alone.
		r.put(func(tx *store.Tx) error {
			v := *store.Volumes.Get(tx, fresh)
			link := *v.Attachment
			link.Device = "/dev/sdf"
			v.Attachment = &link
			return store.Volumes.Put(tx, &v)
		})
		r.rest()
		if got := p.last().Instances[0]; !got.Rootless {
			t.Errorf("desired %+v", got)
		}
	})
}
