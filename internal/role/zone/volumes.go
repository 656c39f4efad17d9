package zone

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"time"

	"karri.dev/internal/block"
	"karri.dev/internal/chunks"
	"karri.dev/internal/compute"
	"karri.dev/internal/lifecycle"
	"karri.dev/internal/nodeapi"
	"karri.dev/internal/resource"
	"karri.dev/internal/store"
	"karri.dev/internal/volumetype"
)

// The storage controller: it makes, grows and deletes the files of the zone's volumes, and says how much they may
// take.

const gib = 1 << 30

func (z *Zone) spec(v *resource.Volume) (block.Spec, error) {
	s := block.Spec{ID: v.ID, SizeBytes: int64(v.SizeGiB) * gib, Format: v.Format}
	if v.Key == nil {
		return s, nil
	}
	key, err := z.cfg.VolumeKeys.Open(v.AccountID, v.ID, v.Key)
	s.Key = []byte(key)
	return s, err
}

// storageOvercommit is how often the room for volumes is promised: their files are sparse.
const storageOvercommit = 10

// storage does what waits to be done to volumes.
func (z *Zone) storage(ctx context.Context) error {
	if z.deps.Volumes == nil {
		return nil
	}
	if err := z.reportStorage(ctx); err != nil {
		return err
	}
	var errs []error
	for _, v := range slices.Collect(store.VolumesWaiting.By(z.deps.Store.Snapshot(), z.cfg.Name)) {
		if err := z.work(ctx, v); err != nil {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// volumeChanged follows a volume's record; either is nil where there is none.
func (z *Zone) volumeChanged(was, is *resource.Volume) {
	if is == nil {
		z.mu.Lock()
		delete(z.made, was.ID)
		z.mu.Unlock()
	}
	snap := z.deps.Store.Snapshot()
	for _, v := range []*resource.Volume{was, is} {
		if v == nil || v.Zone != z.cfg.Name {
			continue
		}
		z.disks.Poke()
		z.serve.Poke()
		if v.Attachment != nil {
			if inst := store.Instances.Get(snap, v.Attachment.InstanceID); inst != nil {
				z.wake(inst.Node)
			}
		}
	}
}

// work does what waits to be done to one volume, and writes down that it is done.
func (z *Zone) work(ctx context.Context, v *resource.Volume) error {
	if v.State == resource.VolumeDeleting {
		err := z.deps.Volumes.Delete(ctx, v.ID)
		if errors.Is(err, block.ErrBusy) {
			time.AfterFunc(time.Second, z.disks.Poke) // a machine that has just ended lets go any moment
			return nil
		}
		if err != nil {
			return err
		}
		z.deps.Log.Info("volume deleted", "volume", v.ID)
		return z.deps.Store.Update(ctx, func(tx *store.Tx) error { store.Volumes.Delete(tx, v.ID); return nil })
	}
	err := z.make(ctx, v)
	return z.deps.Store.Update(ctx, func(tx *store.Tx) error {
		now := store.Volumes.Get(tx, v.ID)
		if now == nil || now.State == resource.VolumeDeleting {
			return nil
		}
		next := *now
		switch {
		case errors.Is(err, block.ErrNoSpace) && !now.Made:
			next.State, next.Reason = resource.VolumeError, err.Error()
		case err != nil:
			return err
		default:
			next.Made, next.MadeGiB = true, max(now.MadeGiB, v.SizeGiB)
			if next.State == resource.VolumeCreating {
				next.State = resource.VolumeAvailable
				if next.Attachment != nil {
					next.State = resource.VolumeInUse
				}
			}
			// A guest's volume is modified when its node says so, if one has it.
			if m := next.Modification; m != nil && m.State == "modifying" && next.MadeGiB >= next.SizeGiB && !z.running(tx, now) {
				next.Modification = completed(m, z.deps.Now())
			}
		}
		if reflect.DeepEqual(&next, now) { // a write would wake us again
			return nil
		}
		return store.Volumes.Put(tx, &next)
	})
}

func completed(m *resource.VolumeModification, now time.Time) *resource.VolumeModification {
	done := *m
	done.State, done.EndedAt = "completed", now.UTC().Truncate(time.Millisecond)
	return &done
}

// running says that a machine may have the volume.
func (z *Zone) running(r store.Reader, v *resource.Volume) bool {
	if v.Attachment == nil {
		return false
	}
	inst := store.Instances.Get(r, v.Attachment.InstanceID)
	return inst != nil && inst.Node != "" && inst.State != resource.Stopped
}

// make makes a volume's file, as large as the volume is.
func (z *Zone) make(ctx context.Context, v *resource.Volume) error {
	s, err := z.spec(v)
	if err != nil {
		return err
	}
	if v.Made {
		return z.deps.Volumes.Grow(ctx, s)
	}
	if err := z.deps.Volumes.Create(ctx, s); err != nil {
		return err
	}
	z.mu.Lock()
	z.made[v.ID] = true
	z.mu.Unlock()
	return z.deps.Volumes.Grow(ctx, s) // it may have been there, and smaller
}

// isMade says that a volume's file is there, which the store may not know yet.
func (z *Zone) isMade(v *resource.Volume) bool {
	if v.Made {
		return true
	}
	z.mu.Lock()
	defer z.mu.Unlock()
	return z.made[v.ID]
}

// makeFor makes the volumes that a node's instances wait for, without waiting for the controller's turn.
func (z *Zone) makeFor(ctx context.Context, r store.Reader, node string) {
	if z.deps.Volumes == nil {
		return
	}
	for inst := range store.InstancesByNode.By(r, node) {
		for v := range store.VolumesByInstance.By(r, inst.ID) {
			if v.State == resource.VolumeCreating && !z.isMade(v) {
				if err := z.make(ctx, v); err != nil {
					z.deps.Log.Error("volume not made", "volume", v.ID, "error", err)
				}
			}
		}
	}
}

// reportStorage writes how much volumes may take into the zone's record.
func (z *Zone) reportStorage(ctx context.Context) error {
	total, _, err := z.deps.Volumes.Usage(ctx)
	if err != nil {
		return err
	}
	offer := int(total/gib) * storageOvercommit
	old := store.Zones.Get(z.deps.Store.Snapshot(), z.cfg.Name)
	snapshots := z.deps.Chunks != nil
	if old == nil || snapshots == old.Snapshots && offer > 0 && old.StorageGiB > 0 && max(offer-old.StorageGiB, old.StorageGiB-offer) < old.StorageGiB/20 {
		return nil // others write to the disk, too: small changes are not worth a word
	}
	return z.deps.Store.Update(ctx, func(tx *store.Tx) error {
		old := store.Zones.Get(tx, z.cfg.Name)
		if old == nil {
			return fmt.Errorf("zone %s is not registered", z.cfg.Name)
		}
		next := *old
		next.StorageGiB, next.Snapshots = max(1, offer), snapshots
		return store.Zones.Put(tx, &next)
	})
}

// disksOf compiles the volumes that a machine should have, the root volume first; forced are those that are
// to be taken away by force. ready is false while one without which the machine cannot start is not there.
func disksOf(r store.Reader, inst *resource.Instance, place func(*resource.Volume) (compute.Disk, bool)) (disks []compute.Disk, bases map[string]nodeapi.Image, forced []string, ready bool) {
	ready = true
	list := slices.Collect(store.VolumesByInstance.By(r, inst.ID))
	slices.SortFunc(list, func(a, b *resource.Volume) int {
		x, y := a.Attachment.Device, b.Attachment.Device
		switch {
		case (x == inst.RootDevice) != (y == inst.RootDevice):
			if x == inst.RootDevice {
				return -1
			}
			return 1
		case len(x) != len(y):
			return len(x) - len(y)
		case x < y:
			return -1
		}
		return 1
	})
	for _, v := range list {
		if v.Attachment.State == resource.Detaching {
			if v.Attachment.Force {
				forced = append(forced, v.ID)
			}
			continue
		}
		d, there := place(v)
		if !there {
			ready = ready && inst.State != resource.Pending
			continue
		}
		d.Name, d.Format, d.Limits = v.ID, v.Format, volumetype.Limits(v)
		// No larger than the file is: a guest learns of the rest when it is there.
		d.SizeBytes = int64(v.SizeGiB) * gib
		if v.MadeGiB > 0 {
			d.SizeBytes = int64(min(v.MadeGiB, v.SizeGiB)) * gib
		}
		switch {
		case v.Base == nil:
		case v.Base.Format == chunks.Format:
			d.BaseExport = baseExport(v.ID)
		default:
			if bases == nil {
				bases = map[string]nodeapi.Image{}
			}
			bases[v.ID] = nodeapi.Image{ID: v.ID, SHA256: v.Base.SHA256, Size: v.Base.Size, VirtualSize: v.Base.VirtualSize, Format: v.Base.Format}
			d.BaseFormat = v.Base.Format
		}
		disks = append(disks, d)
	}
	if inst.RootDevice != "" && len(disks) == 0 {
		ready = false
	}
	return disks, bases, forced, ready
}

// isCopied says that a volume's file is being copied: nobody can open it.
func (z *Zone) isCopied(id string) bool {
	z.mu.Lock()
	defer z.mu.Unlock()
	return z.copying[id] > 0
}

// whereFor says how the machines of a node open a volume.
func (z *Zone) whereFor(node *resource.Node) func(*resource.Volume) (compute.Disk, bool) {
	return func(v *resource.Volume) (d compute.Disk, there bool) {
		if z.deps.Volumes == nil || !z.isMade(v) || z.isCopied(v.ID) {
			return d, false
		}
		if v.Key != nil {
			var err error
			d.Encrypted = true
			if d.Key, err = z.cfg.VolumeKeys.Open(v.AccountID, v.ID, v.Key); err != nil {
				z.deps.Log.Error("key of a volume not opened", "volume", v.ID, "error", err)
				return d, false
			}
		}
		if node.Local {
			d.Path = z.deps.Volumes.Path(v.ID)
			return d, true
		}
		d.Export = v.ID
		return d, z.isServed(v, node.ID)
	}
}

// nextVolume gives a volume as it becomes by what a node observes of its instance, or nil where nothing changes. It
// is pure; free says that nobody has the volume any more.
func nextVolume(inst *resource.Instance, v *resource.Volume, o nodeapi.Observed, now time.Time) (next *resource.Volume, free bool) {
	a := *v.Attachment
	var seen nodeapi.ObservedDisk
	i := slices.IndexFunc(o.Disks, func(d nodeapi.ObservedDisk) bool { return d.Name == v.ID })
	if i >= 0 {
		seen = o.Disks[i]
	}
	off := inst.Power == resource.PowerOff && o.Power == resource.PowerOff && o.State != compute.Running
	switch a.State {
	case resource.Attaching:
		if off || o.State == compute.Running && i >= 0 && !seen.Cut {
			a.State = resource.Attached
		}
	case resource.Detaching:
		if off || o.State == compute.Running && (i < 0 || seen.Cut) {
			return v, true
		}
	}
	n := *v
	n.Attachment = &a
	if filled := fillable(v) && o.State == compute.Running && i >= 0 && seen.Filled && !seen.Cut; filled {
		n.Base = nil
	}
	if m := v.Modification; m != nil && m.State == "modifying" && v.MadeGiB >= v.SizeGiB {
		if off || i >= 0 && seen.SizeBytes >= int64(v.SizeGiB)*gib && seen.Limits == volumetype.Limits(v) {
			n.Modification = completed(m, now)
		}
	}
	if a == *v.Attachment && n.Modification == v.Modification && n.Base == v.Base {
		return nil, false
	}
	return &n, false
}

// observeVolumes puts what a node observes of an instance's volumes into the transaction.
func observeVolumes(tx *store.Tx, inst *resource.Instance, o nodeapi.Observed, now time.Time) error {
	for _, v := range slices.Collect(store.VolumesByInstance.By(tx, inst.ID)) {
		next, free := nextVolume(inst, v, o, now)
		var err error
		switch {
		case free:
			err = lifecycle.Detached(tx, v)
		case next != nil:
			err = store.Volumes.Put(tx, next)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// volumesNews says that an observation changes some volume.
func volumesNews(r store.Reader, inst *resource.Instance, o nodeapi.Observed) bool {
	for v := range store.VolumesByInstance.By(r, inst.ID) {
		if next, free := nextVolume(inst, v, o, time.Time{}); next != nil || free {
			return true
		}
	}
	return false
}
