package node

import (
	"context"
	"errors"
	"io"
	"slices"
	"time"

	"karri.dev/internal/compute"
	"karri.dev/internal/imagecache"
	"karri.dev/internal/nodeapi"
)

// rootDisk is the name of an instance-store instance's own disk.
const rootDisk = "root"

// diskPatience is how long disks are left alone after one could not be changed.
const diskPatience = 3 * time.Second

// Storage gives the address at which the zone serves volumes, "" for none.
func (n *Node) Storage() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.desired.Storage
}

// disksSettled says that a running machine has the disks that it should have.
func (n *Node) disksSettled(inst nodeapi.Instance, s compute.Status) bool {
	for _, want := range inst.Machine.Disks {
		i := indexOf(s.Disks, want.Name)
		if want.Volume() && (i < 0 || s.Disks[i].SizeBytes < want.SizeBytes || s.Disks[i].Limits != want.Limits) {
			return false
		}
	}
	for _, have := range s.Disks {
		if have.Name != rootDisk && indexOf(inst.Machine.Disks, have.Name) < 0 {
			return false
		}
	}
	return true
}

func indexOf(disks []compute.Disk, name string) int {
	return slices.IndexFunc(disks, func(d compute.Disk) bool { return d.Name == name })
}

// disksRest says that an instance's disks are to be left alone for a moment.
func (n *Node) disksRest(id string) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.deps.Now().Before(n.disksRetry[id])
}

// changeDisks gives a running machine the disks that it should have, and takes away the others. What does not
// succeed is tried again: it is no failure of the machine.
func (n *Node) changeDisks(ctx context.Context, inst nodeapi.Instance, s compute.Status) {
	if n.disksSettled(inst, s) || n.disksRest(inst.ID) {
		return
	}
	log := n.deps.Log.With("instance", inst.ID)
	var cut []string
	rest := false
	for _, have := range s.Disks {
		if have.Name == rootDisk || indexOf(inst.Machine.Disks, have.Name) >= 0 {
			continue
		}
		force := slices.Contains(inst.Forced, have.Name)
		switch err := n.deps.Compute.DropDisk(ctx, inst.ID, have.Name, force); {
		case err == nil:
			log.Info("disk taken away", "disk", have.Name)
		case errors.Is(err, compute.ErrHeld):
			rest = true
			if force {
				cut = append(cut, have.Name)
			}
		default:
			rest = true
			log.Error("disk not taken away", "disk", have.Name, "error", err)
		}
	}
	for _, want := range inst.Machine.Disks {
		i := indexOf(s.Disks, want.Name)
		if !want.Volume() || i >= 0 && s.Disks[i].SizeBytes >= want.SizeBytes && s.Disks[i].Limits == want.Limits {
			continue
		}
		if err := n.setDisk(ctx, inst, want); err != nil {
			rest = true
			log.Error("disk not set", "disk", want.Name, "error", err)
		} else {
			log.Info("disk set", "disk", want.Name)
		}
	}
	n.mu.Lock()
	n.cut[inst.ID] = cut
	if rest {
		n.disksRetry[inst.ID] = n.deps.Now().Add(diskPatience)
		time.AfterFunc(diskPatience, func() { poke(n.wake) })
	}
	n.mu.Unlock()
}

// setDisk fetches what is below a volume and plugs it in.
func (n *Node) setDisk(ctx context.Context, inst nodeapi.Instance, d compute.Disk) error {
	if img, based := inst.Bases[d.Name]; based {
		path, err := n.image(ctx, img)
		if err != nil {
			return err
		}
		defer n.deps.Cache.Release(img.SHA256) // the hypervisor has it open by then
		d.Base = path
	}
	return n.deps.Compute.SetDisk(ctx, inst.ID, d)
}

// image gives the path of an image in the cache. It is to be released.
func (n *Node) image(ctx context.Context, img nodeapi.Image) (string, error) {
	return n.deps.Cache.Ensure(ctx, imagecache.Image{SHA256: img.SHA256, Size: img.Size}, func(ctx context.Context, w io.Writer) error {
		r, err := n.deps.Fetch(ctx, img)
		if err != nil {
			return err
		}
		defer r.Close()
		_, err = io.Copy(w, r)
		return err
	})
}

// observedDisks gives the volumes of a running machine for a report.
func (n *Node) observedDisks(inst nodeapi.Instance, s compute.Status) (out []nodeapi.ObservedDisk) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, d := range s.Disks {
		if d.Name != rootDisk {
			out = append(out, nodeapi.ObservedDisk{
				Name: d.Name, SizeBytes: d.SizeBytes, Limits: d.Limits, Filled: d.BaseExport == "",
				Cut: slices.Contains(n.cut[inst.ID], d.Name) && indexOf(inst.Machine.Disks, d.Name) < 0,
			})
		}
	}
	return out
}
