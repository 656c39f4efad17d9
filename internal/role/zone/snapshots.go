package zone

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"karri.dev/internal/block"
	"karri.dev/internal/chunks"
	"karri.dev/internal/compute"
	"karri.dev/internal/lifecycle"
	"karri.dev/internal/luks"
	"karri.dev/internal/nodeapi"
	"karri.dev/internal/qcow2"
	"karri.dev/internal/resource"
	"karri.dev/internal/sparse"
	"karri.dev/internal/store"
)

// Snapshots, in two steps. Cut: what is in a snapshot is settled, by a copy beside the volume: the hypervisor makes it
// of a running machine's disk, and we ourselves of a volume that nobody has open. Fill: the copy's blocks are stored,
// and the snapshot is completed. What a crash cuts short begins again, with the copy if there is one.

const (
	cutPatience  = 10 * time.Minute       // for a busy volume
	copyPoll     = 100 * time.Millisecond // of a copy that a hypervisor is making
	fillTries    = 4
	fillParallel = 2
)

// directCopy is the name of the copy that we ourselves make: of the volume's format. A hypervisor's is named by the
// snapshot alone.
func directCopy(snapshot string) string { return snapshot + "-direct" }

// snapshots begins what waits to be done.
func (z *Zone) snapshots(ctx context.Context) error {
	if z.deps.Volumes == nil || z.deps.Chunks == nil {
		return nil
	}
	snap := z.deps.Store.Snapshot()
	var uncut []*resource.Snapshot
	for s := range store.SnapshotsPending.By(snap, z.cfg.Name) {
		switch {
		case s.CutAt.IsZero():
			uncut = append(uncut, s)
		case z.claimSnapshots(s):
			z.tasks.Go(func() { z.fill(ctx, s) })
		}
	}
	for _, group := range byMachine(snap, uncut) {
		if z.claimSnapshots(group...) {
			z.tasks.Go(func() { z.cut(ctx, group) })
		}
	}
	return z.dropCopies(ctx)
}

// byMachine puts together what is to be cut at one moment: the snapshots that one call made of a machine's volumes.
func byMachine(r store.Reader, list []*resource.Snapshot) (out [][]*resource.Snapshot) {
	at := map[string]int{}
	for _, s := range list {
		key := s.ID
		if v := store.Volumes.Get(r, s.VolumeID); v != nil && v.Attachment != nil {
			key = v.Attachment.InstanceID + s.CreatedAt.String()
		}
		i, known := at[key]
		if !known {
			i = len(out)
			at[key] = i
			out = append(out, nil)
		}
		out[i] = append(out[i], s)
	}
	return out
}

func (z *Zone) claimSnapshots(list ...*resource.Snapshot) bool {
	z.mu.Lock()
	defer z.mu.Unlock()
	for _, s := range list {
		if z.snapping[s.ID] {
			return false
		}
	}
	for _, s := range list {
		z.snapping[s.ID] = true
	}
	return true
}

func (z *Zone) releaseSnapshots(list ...*resource.Snapshot) {
	z.mu.Lock()
	for _, s := range list {
		delete(z.snapping, s.ID)
	}
	z.mu.Unlock()
	z.snaps.Poke()
}

// cut settles what is in the snapshots of a group.
func (z *Zone) cut(ctx context.Context, group []*resource.Snapshot) {
	defer z.releaseSnapshots(group...)
	end := z.deps.Now().Add(cutPatience)
	for wait := 50 * time.Millisecond; ; wait = min(2*wait, 2*time.Second) {
		err := z.cutOnce(ctx, group)
		if ctx.Err() != nil {
			return
		}
		if err == nil {
			now := z.deps.Now().UTC().Truncate(time.Millisecond)
			err = z.changeSnapshots(ctx, group, func(s *resource.Snapshot) { s.CutAt = now })
			if err == nil {
				return
			}
		}
		// Also while a guest shuts down for it, as it was asked to.
		z.deps.Log.Info("snapshot not cut yet", "snapshot", group[0].ID, "error", err)
		if z.deps.Now().After(end) || errors.Is(err, block.ErrNotFound) {
			z.fail(ctx, group, err)
			return
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return
		}
	}
}

// cutOnce tries to. A machine that runs has its disks copied by its hypervisor, else the volume's file is copied.
func (z *Zone) cutOnce(ctx context.Context, group []*resource.Snapshot) error {
	snap := z.deps.Store.Snapshot()
	ask := nodeapi.Ask{What: "snapshot"}
	node := ""
	for _, s := range group {
		if s.RootOf != "" {
			inst := store.Instances.Get(snap, s.RootOf)
			if inst == nil || inst.Power == resource.PowerGone {
				return fmt.Errorf("instance %s: %w", s.RootOf, block.ErrNotFound)
			}
			node, ask.Instance, ask.Reboot = inst.Node, inst.ID, true
			ask.Copies = append(ask.Copies, compute.Copy{Disk: "root", To: z.deps.Volumes.CopyPath(s.ID)})
			continue
		}
		v := store.Volumes.Get(snap, s.VolumeID)
		if v == nil {
			if z.copied(s.ID) || z.copied(directCopy(s.ID)) {
				continue
			}
			return fmt.Errorf("volume %s: %w", s.VolumeID, block.ErrNotFound)
		}
		if !z.isMade(v) {
			return fmt.Errorf("volume %s is not made yet", v.ID)
		}
		if z.running(snap, v) {
			node, ask.Instance = store.Instances.Get(snap, v.Attachment.InstanceID).Node, v.Attachment.InstanceID
			ask.Reboot = ask.Reboot || s.Reboot
			key, err := z.keyOf(s)
			if err != nil {
				return err
			}
			ask.Copies = append(ask.Copies, compute.Copy{Disk: v.ID, To: z.deps.Volumes.CopyPath(s.ID), Since: s.Since, Key: key})
			continue
		}
		if err := z.copyDirectly(ctx, v.ID, s); err != nil {
			return err
		}
	}
	if node == "" {
		return nil
	}
	z.mu.Lock()
	session := z.sessions[node]
	z.mu.Unlock()
	if session == nil {
		return fmt.Errorf("node %s is not connected", node)
	}
	_, err := session.ask(ctx, ask) // fails while the machine is about to start or to end
	return err
}

// copyDirectly copies a volume that nobody has open. Meanwhile no machine is given it.
func (z *Zone) copyDirectly(ctx context.Context, volume string, s *resource.Snapshot) error {
	z.mu.Lock()
	z.copying[volume]++
	z.mu.Unlock()
	defer func() {
		z.mu.Lock()
		if z.copying[volume]--; z.copying[volume] == 0 {
			delete(z.copying, volume)
		}
		z.mu.Unlock()
		if v := store.Volumes.Get(z.deps.Store.Snapshot(), volume); v != nil {
			z.volumeChanged(v, v) // who waited for it
		}
	}()
	return z.deps.Volumes.Copy(ctx, volume, directCopy(s.ID))
}

// copied says whether there is a copy, or a part of it. The part is looked for first: it gets the copy's name in the end.
func (z *Zone) copied(name string) bool {
	for _, n := range []string{compute.Copy{To: name}.Partial(), name} {
		if _, err := os.Lstat(z.deps.Volumes.CopyPath(n)); err == nil {
			return true
		}
	}
	return false
}

// fill stores a snapshot's blocks and completes it.
func (z *Zone) fill(ctx context.Context, s *resource.Snapshot) {
	defer z.releaseSnapshots(s)
	for try := 1; ; try++ {
		err := z.fillOnce(ctx, s)
		if ctx.Err() != nil || err == nil {
			return
		}
		if try == fillTries || errors.Is(err, errNoCopy) {
			z.fail(ctx, []*resource.Snapshot{s}, err)
			return
		}
		z.deps.Log.Warn("snapshot not stored", "snapshot", s.ID, "error", err)
		select {
		case <-time.After(time.Second << try):
		case <-ctx.Done():
			return
		}
	}
}

var errNoCopy = errors.New("the machine's end interrupted the snapshot")

func (z *Zone) fillOnce(ctx context.Context, s *resource.Snapshot) error {
	name := directCopy(s.ID)
	if _, err := os.Lstat(z.deps.Volumes.CopyPath(name)); err != nil {
		name = s.ID
		for {
			if _, err := os.Lstat(z.deps.Volumes.CopyPath(name)); err == nil {
				break
			}
			if !z.copied(name) {
				return errNoCopy
			}
			if store.Snapshots.Get(z.deps.Store.Snapshot(), s.ID) == nil {
				return nil
			}
			select {
			case <-time.After(copyPoll):
			case <-ctx.Done():
				return ctx.Err()
			}
		}
	}
	select {
	case z.filling <- struct{}{}:
		defer func() { <-z.filling }()
	case <-ctx.Done():
		return ctx.Err()
	}
	began := z.deps.Now()
	n, err := z.store(ctx, s, name)
	if err != nil {
		return err
	}
	err = z.changeSnapshots(ctx, []*resource.Snapshot{s}, func(next *resource.Snapshot) {
		next.State, next.Progress, next.CompletedAt = "completed", 100, z.deps.Now().UTC().Truncate(time.Millisecond)
		next.Data = resource.ImageData{Key: chunks.ListKey(s.ID), Format: chunks.Format, VirtualSize: int64(s.SizeGiB) * gib, Size: int64(n.Blocks) * chunks.Size}
		next.Format, next.Base, next.Key, next.Since = "", nil, nil, ""
	})
	if err == nil {
		z.deps.Log.Info("snapshot completed", "snapshot", s.ID, "blocks", n.Blocks, "new", n.New, "after", z.deps.Now().Sub(began).Round(time.Millisecond))
	}
	return err
}

// store stores the blocks of a copy.
func (z *Zone) store(ctx context.Context, s *resource.Snapshot, name string) (chunks.Stored, error) {
	f, err := os.Open(z.deps.Volumes.CopyPath(name))
	if err != nil {
		return chunks.Stored{}, err
	}
	defer f.Close()
	var last time.Time
	progress := func(percent int) {
		if now := z.deps.Now(); now.Sub(last) >= time.Second && percent < 100 {
			last = now
			err := z.changeSnapshots(ctx, []*resource.Snapshot{s}, func(next *resource.Snapshot) { next.Progress = max(next.Progress, percent) })
			if err != nil && ctx.Err() == nil {
				z.deps.Log.Warn("progress of a snapshot not written", "snapshot", s.ID, "error", err)
			}
		}
	}
	var r io.ReaderAt = f
	secret, err := z.keyOf(s)
	if err == nil && secret != "" {
		r, err = luks.Open(f, []byte(secret))
	}
	if err != nil {
		return chunks.Stored{}, err
	}
	key := chunks.ListKey(s.ID)
	if name != s.ID { // ours
		disk, below, err := z.openCopy(ctx, f, r, s)
		if err != nil {
			return chunks.Stored{}, err
		}
		defer below.Close()
		return z.deps.Chunks.Save(ctx, key, disk, progress)
	}
	since, err := qcow2.Note(r)
	if err != nil {
		return chunks.Stored{}, err
	}
	if since == "" {
		disk, err := qcow2.Open(r, nil)
		if err != nil {
			return chunks.Stored{}, err
		}
		return z.deps.Chunks.Save(ctx, key, disk, progress)
	}
	if since != s.Since {
		return chunks.Stored{}, fmt.Errorf("the copy is over %s, not over %s", since, s.Since)
	}
	parent := chunks.ListKey(since)
	below, err := z.deps.Chunks.Open(ctx, parent, 64<<40)
	if err != nil {
		return chunks.Stored{}, err
	}
	disk, err := qcow2.Open(r, below)
	if err != nil {
		return chunks.Stored{}, err
	}
	return z.deps.Chunks.SaveChanges(ctx, key, disk, parent, disk.Own, progress)
}

// keyOf gives the key of a pending snapshot's copy, "" for none.
func (z *Zone) keyOf(s *resource.Snapshot) (string, error) {
	if s.Key == nil {
		return "", nil
	}
	return z.cfg.VolumeKeys.Open(s.AccountID, s.VolumeID, s.Key)
}

// openCopy opens the copy of a volume's file, over what the volume is over. r is what is in f.
func (z *Zone) openCopy(ctx context.Context, f *os.File, r io.ReaderAt, s *resource.Snapshot) (sparse.Disk, io.Closer, error) {
	nothing := io.NopCloser(nil)
	if s.Format == block.Raw {
		disk, err := sparse.NewFile(f)
		return disk, nothing, err
	}
	if s.Base == nil {
		disk, err := qcow2.Open(r, nil)
		return disk, nothing, err
	}
	below, c, err := z.deps.OpenData(ctx, s.Base)
	if err != nil {
		return nil, nil, err
	}
	disk, err := qcow2.Open(r, below)
	if err != nil {
		c.Close()
		return nil, nil, err
	}
	return disk, c, nil
}

// changeSnapshots changes snapshots that are still pending; others are left out.
func (z *Zone) changeSnapshots(ctx context.Context, list []*resource.Snapshot, change func(*resource.Snapshot)) error {
	return z.deps.Store.Update(ctx, func(tx *store.Tx) error {
		for _, s := range list {
			now := store.Snapshots.Get(tx, s.ID)
			if now == nil || now.State != "pending" {
				continue
			}
			next := *now
			change(&next)
			if err := store.Snapshots.Put(tx, &next); err != nil {
				return err
			}
			if next.State == "pending" {
				continue
			}
			if err := lifecycle.SettleImages(tx, &next); err != nil {
				return err
			}
		}
		return nil
	})
}

// fail ends snapshots that cannot be made.
func (z *Zone) fail(ctx context.Context, list []*resource.Snapshot, why error) {
	z.deps.Log.Error("snapshot failed", "snapshot", list[0].ID, "of", len(list), "error", why)
	err := z.changeSnapshots(ctx, list, func(next *resource.Snapshot) {
		next.State, next.Reason = "error", "The snapshot could not be made: "+why.Error()
		next.Format, next.Base, next.Key, next.Since = "", nil, nil, ""
	})
	if err != nil && ctx.Err() == nil {
		z.deps.Log.Error("failure of a snapshot not written", "snapshot", list[0].ID, "error", err)
	}
}

// dropCopies deletes copies that no snapshot needs any more.
func (z *Zone) dropCopies(ctx context.Context) error {
	names, err := z.deps.Volumes.Copies(ctx)
	if err != nil || len(names) == 0 {
		return err
	}
	snap := z.deps.Store.Snapshot() // newer than the names
	for _, name := range names {
		id, _, _ := strings.Cut(name, ".")
		id = strings.TrimSuffix(id, "-direct")
		if s := store.Snapshots.Get(snap, id); s != nil && s.State == "pending" {
			continue
		}
		if err := z.deps.Volumes.DeleteCopy(ctx, name); err != nil {
			return err
		}
	}
	return nil
}
