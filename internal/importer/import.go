package importer

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"syscall"
	"time"

	"karri.dev/internal/image"
	"karri.dev/internal/object"
	"karri.dev/internal/qcow2"
	"karri.dev/internal/resource"
	"karri.dev/internal/store"
)

// Shares of the whole that the stages take, in percent: where each ends.
const (
	validated = 10
	stored    = 99
)

// importImage does the work of one task. Each disk goes from S3 into the system bucket without being anywhere else.
func (im *Importer) importImage(ctx context.Context, task *resource.ImportTask) error {
	report := im.reporter(ctx, task.ID)
	report("validating", 1)
	disks, err := im.open(ctx, task)
	defer func() {
		for _, d := range disks {
			d.object.Close()
		}
	}()
	if err != nil {
		return spaceError(err)
	}
	for n, v := range task.Volumes { // their formats have one disk a file
		if size := gib(disks[n].Size()); size > v.SizeGiB {
			return &BadImage{Reason: fmt.Sprintf("The disk has %d GiB, and the volume only %d", size, v.SizeGiB)}
		}
	}
	if len(disks) > 1 && !task.Conversion() && (task.SnapshotID != "" || im.cfg.RootDevice != "ebs") {
		return &BadImage{Reason: fmt.Sprintf("The image has %d disks: exactly one can be imported here", len(disks))}
	}
	list := make([]imported, len(disks))
	for n, d := range disks {
		report("converting", validated)
		share := (stored - validated) / len(disks)
		data, err := im.keep(ctx, diskID(task, n), d.Disk, func(p int) { report("converting", validated+share*n+share*p/100) })
		if err != nil {
			return spaceError(err)
		}
		list[n] = imported{d.of, data}
	}
	report("updating", stored)
	return im.finish(ctx, task.ID, list)
}

// source is a disk that is to be imported.
type source struct {
	image.Disk
	object file
	of     resource.ImportDisk
}

// imported is one that was.
type imported struct {
	of   resource.ImportDisk
	data resource.ImageData
}

// open finds a task's disks: those of an archive come one by one. What it gives is to be closed, also with an error.
func (im *Importer) open(ctx context.Context, task *resource.ImportTask) (out []source, err error) {
	for _, d := range task.Disks {
		o, err := im.file(ctx, task.AccountID, d)
		if err != nil {
			return out, err
		}
		r := object.NewRangeReaderAt(o, o.Size())
		list, err := image.InspectAll(r, r.Size(), image.Format(d.Format), 0)
		var bad *BadImage
		if errors.As(err, &bad) {
			err = &BadImage{Reason: "Disk validation failed [" + bad.Reason + "]"}
		} else if err != nil {
			err = fmt.Errorf("check image: %w", err)
		}
		if err == nil && len(out)+len(list) > MaxDisks {
			err = &BadImage{Reason: fmt.Sprintf("There are more than %d disks", MaxDisks)}
		}
		if err != nil {
			o.Close()
			return out, err
		}
		for n, info := range list {
			if n > 0 {
				if o, err = im.file(ctx, task.AccountID, d); err != nil {
					return out, err
				}
				d.DeviceName = ""
			}
			disk, err := image.Open(object.NewRangeReaderAt(o, o.Size()), info)
			out = append(out, source{disk, o, d})
			if err != nil {
				return out, err
			}
		}
	}
	return out, nil
}

// object opens a disk's object. The bucket is looked up anew: it may have changed hands since the caller's access was
// checked.
func (im *Importer) object(ctx context.Context, account string, disk resource.ImportDisk) (object.Object, error) {
	b := store.Buckets.Get(im.deps.Store.Snapshot(), disk.Bucket)
	if b == nil || b.System || b.AccountID != account {
		return nil, &BadImage{Reason: fmt.Sprintf("The bucket %s does not exist or is not the account's", disk.Bucket)}
	}
	o, err := im.deps.Objects.Get(ctx, b.Engine, disk.Key, "")
	if errors.Is(err, object.ErrNotFound) {
		return nil, &BadImage{Reason: fmt.Sprintf("The object %s does not exist in bucket %s", disk.Key, disk.Bucket)}
	}
	if err != nil {
		return nil, err
	}
	if o.Meta().Size == 0 {
		o.Close()
		return nil, &BadImage{Reason: "The disk image is empty"}
	}
	return o, nil
}

// reporter gives a function that writes progress into the task: at every new message, else once a second.
func (im *Importer) reporter(ctx context.Context, id string) func(message string, percent int) {
	var mu sync.Mutex
	var last time.Time
	var said string
	return func(message string, percent int) {
		mu.Lock()
		defer mu.Unlock()
		if now := im.deps.Now(); message != said || now.Sub(last) >= time.Second {
			said, last = message, now
			err := im.change(ctx, id, func(_ *store.Tx, t *resource.ImportTask) error {
				t.StatusMessage, t.Progress = message, max(t.Progress, percent)
				return nil
			})
			if err != nil && ctx.Err() == nil {
				im.deps.Log.Warn("cannot report an import's progress", "task", id, "error", err)
			}
		}
	}
}

// Key is where an image's data is in the system bucket.
func Key(imageID string) string { return "images/" + imageID }

// keep makes a qcow2 file of a disk in the system bucket.
func (im *Importer) keep(ctx context.Context, id string, d image.Disk, progress func(percent int)) (resource.ImageData, error) {
	look := func(p int) { progress(p / 2) }
	img, err := qcow2.NewImage(ctx, d, !d.Mapped, look)
	if err != nil {
		return resource.ImageData{}, fmt.Errorf("read the disk: %w", err)
	}
	r := img.Reader(ctx)
	defer r.Close()
	from := 0
	if !d.Mapped {
		from = 50
	}
	data, err := im.put(ctx, id, r, img.Size(), func(p int) { progress(from + p*(100-from)/100) })
	data.Format, data.VirtualSize = "qcow2", d.Size()
	return data, err
}

// put puts what becomes an image's data into the system bucket.
func (im *Importer) put(ctx context.Context, id string, r io.Reader, size int64, progress func(percent int)) (resource.ImageData, error) {
	sum, read := sha256.New(), int64(0)
	body := io.TeeReader(r, counter(func(n int) error {
		read += int64(n)
		progress(int(read * 100 / max(size, 1)))
		return ctx.Err()
	}))
	m, err := im.deps.Objects.Put(ctx, Bucket, object.Put{Key: Key(id), Body: body, Size: size, Sum: sum})
	if err != nil {
		return resource.ImageData{}, fmt.Errorf("store the image: %w", err)
	}
	return resource.ImageData{Key: m.Key, Size: m.Size, SHA256: hex.EncodeToString(sum.Sum(nil))}, nil
}

// counter is a writer that only counts.
type counter func(n int) error

func (c counter) Write(p []byte) (int, error) { return len(p), c(len(p)) }

// MaxDisks is how many disks an image can be imported with.
const MaxDisks = 20

// diskID names the data of a task's disk: the first one's is that of what the task makes, and further ones are of
// volumes, or of snapshots, whose ids follow from the image's.
func diskID(task *resource.ImportTask, n int) string {
	switch {
	case n < len(task.Volumes):
		return task.Volumes[n].ID
	case n == 0:
		return task.Target()
	}
	sum := sha256.Sum256(fmt.Appendf(nil, "%s disk %d", task.Target(), n))
	return "snap-" + hex.EncodeToString(sum[:])[:17]
}

// finish makes the image and completes the task, in one transaction.
func (im *Importer) finish(ctx context.Context, id string, disks []imported) error {
	return im.change(ctx, id, func(tx *store.Tx, t *resource.ImportTask) error {
		if t.Cancel {
			return errCancelled
		}
		now := im.deps.Now().UTC()
		owned := t.Owned
		owned.CreatedAt, owned.Tags = now, nil
		t.Status, t.StatusMessage, t.Progress, t.EndedAt = "completed", "", 100, now
		t.Disks = make([]resource.ImportDisk, len(disks))
		for n, d := range disks {
			t.Disks[n] = d.of
			t.Disks[n].Size = d.data.VirtualSize
		}
		root := disks[0].data
		if t.InstanceID != "" {
			var data []resource.ImageData
			for _, d := range disks {
				data = append(data, d.data)
			}
			return im.deps.AddInstance(tx, t, data)
		}
		if t.Conversion() {
			return im.addVolume(tx, t, owned, root)
		}
		if t.SnapshotID != "" {
			return store.Snapshots.Put(tx, &resource.Snapshot{
				Owned: owned, ID: t.SnapshotID, VolumeID: resource.NoVolume, SizeGiB: gib(root.VirtualSize), Description: t.Description,
				State: "completed", Progress: 100, CompletedAt: now, Data: root,
			})
		}
		img := &resource.Image{
			Owned: owned, ID: t.ImageID, Kind: "machine", Name: t.ID, Description: t.Description, Architecture: t.Architecture,
			Platform: t.Platform, BootMode: t.BootMode, State: resource.ImageAvailable,
			RootDeviceType: "instance-store", RootDeviceName: "/dev/sda1",
			Location: t.Disks[0].Bucket + "/" + t.Disks[0].Key, Data: root,
		}
		if im.cfg.RootDevice == "ebs" {
			snap := Snapshot(img, now)
			t.Disks[0].SnapshotID, t.Disks[0].DeviceName = snap.ID, img.RootDeviceName
			if err := store.Snapshots.Put(tx, snap); err != nil {
				return err
			}
		}
		names := devices(t.Disks)
		for n, d := range disks[1:] {
			snap := &resource.Snapshot{
				Owned: owned, ID: diskID(t, n+1), VolumeID: resource.NoVolume, SizeGiB: gib(d.data.VirtualSize),
				Description: "Created by AWS-VMImport service for " + img.Name, State: "completed", Progress: 100, CompletedAt: now, Data: d.data,
			}
			if err := store.Snapshots.Put(tx, snap); err != nil {
				return err
			}
			t.Disks[n+1].SnapshotID, t.Disks[n+1].DeviceName = snap.ID, names[n]
			img.Mappings = append(img.Mappings, resource.ImageMapping{Device: names[n], SnapshotID: snap.ID, SizeGiB: snap.SizeGiB, Type: "gp2", DeleteOnEnd: true})
		}
		return store.Images.Put(tx, img)
	})
}

// devices gives the disks after the first their names: those that were asked for, and free ones.
func devices(disks []resource.ImportDisk) []string {
	taken := map[string]bool{}
	var out []string
	for _, d := range disks[1:] {
		taken[d.DeviceName] = true
	}
	next := byte('b')
	for _, d := range disks[1:] {
		name := d.DeviceName
		for ; name == "" && next <= 'z'; next++ {
			if free := "/dev/sd" + string(next); !taken[free] {
				name = free
			}
		}
		out = append(out, name)
	}
	return out
}

// gib gives the size of a volume for a disk.
func gib(bytes int64) int { return max(1, int((bytes+1<<30-1)>>30)) }

// Snapshot makes an image EBS-backed, and gives the snapshot of its root volume: it shares the image's data.
func Snapshot(img *resource.Image, now time.Time) *resource.Snapshot {
	owned := img.Owned
	owned.CreatedAt, owned.Tags = now, nil
	snap := &resource.Snapshot{
		Owned: owned, ID: "snap-" + strings.TrimPrefix(img.ID, "ami-"), VolumeID: resource.NoVolume,
		SizeGiB: gib(img.Data.VirtualSize), Description: "Created by AWS-VMImport service for " + img.Name,
		State: "completed", Progress: 100, CompletedAt: now, Data: img.Data,
	}
	img.RootDeviceType, img.SnapshotID = "ebs", snap.ID
	img.Mappings = []resource.ImageMapping{{Device: img.RootDeviceName, SnapshotID: snap.ID, SizeGiB: snap.SizeGiB, Type: "gp2", DeleteOnEnd: true}}
	return snap
}

// collect deletes the data of images that are no more. Data is named before its image exists: it stays while
// a task for that image is open.
func (im *Importer) collect(ctx context.Context) error {
	after := ""
	for {
		page, err := im.deps.Objects.List(ctx, Bucket, object.ListOptions{Prefix: Key(""), After: after, Max: 1000})
		if err != nil {
			return err
		}
		snap := im.deps.Store.Snapshot() // newer than the listing: an image that was finished meanwhile is in it
		open := map[string]bool{}
		for t := range store.ImportTasksOpen.By(snap, "yes") {
			for n := range MaxDisks {
				open[diskID(t, n)] = true
			}
		}
		for t := range store.ExportTasksOpen.By(snap, "yes") {
			open[strings.TrimPrefix(t.Data.Key, Key(""))] = true
		}
		for i := range store.Images.All(snap) { // copies have their source's
			open[strings.TrimPrefix(i.Data.Key, Key(""))] = true
		}
		for s := range store.Snapshots.All(snap) { // and what images are not alone with
			open[strings.TrimPrefix(s.Data.Key, Key(""))] = true
			open[s.ID] = true // pending: its data comes first
		}
		for v := range store.Volumes.All(snap) {
			if v.Base != nil {
				open[strings.TrimPrefix(v.Base.Key, Key(""))] = true
			}
		}
		for _, o := range page.Objects {
			id := o.Key[len(Key("")):]
			if store.Images.Get(snap, id) != nil || open[id] {
				continue
			}
			if _, err := im.deps.Objects.Delete(ctx, Bucket, object.Delete{Key: o.Key}); err != nil {
				return err
			}
			im.deps.Log.Info("image data deleted", "image", id)
		}
		if !page.Truncated {
			return nil
		}
		after = page.Next
	}
}

// spaceError marks a full disk.
func spaceError(err error) error {
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return fmt.Errorf("%w: %w", object.ErrNoSpace, err)
	}
	return err
}
