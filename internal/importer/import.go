package importer

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"karri.dev/internal/object"
	"karri.dev/internal/resource"
	"karri.dev/internal/store"
)

// Shares of the whole that the stages take, in percent: where each ends.
const (
	readDone    = 25
	convertDone = 80
	storeDone   = 99
)

// importImage does the work of one task.
func (im *Importer) importImage(ctx context.Context, task *resource.ImportTask) error {
	if len(task.Disks) != 1 {
		return &BadImage{Reason: "Exactly one disk can be imported into an image"}
	}
	dir := im.scratch(task.ID)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return spaceError(err)
	}
	defer os.RemoveAll(dir)
	report := im.reporter(ctx, task.ID)
	in, out := filepath.Join(dir, "in"), filepath.Join(dir, "out.qcow2")

	report("validating", 1)
	if err := im.read(ctx, task, in, func(p int) { report("validating", p*readDone/100) }); err != nil {
		return err
	}
	report("converting", readDone)
	size, err := im.deps.Converter.Convert(ctx, task.Disks[0].Format, in, out, func(p int) {
		report("converting", readDone+p*(convertDone-readDone)/100)
	})
	if err != nil {
		return spaceError(err)
	}
	os.Remove(in) // its space is wanted for the object
	report("updating", convertDone)
	data, err := im.keep(ctx, task.Target(), out, func(p int) { report("updating", convertDone+p*(storeDone-convertDone)/100) })
	if err != nil {
		return spaceError(err)
	}
	data.VirtualSize = size
	return im.finish(ctx, task.ID, data)
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

// read copies the disk out of S3 into a sparse file. The bucket is looked up anew: it may have changed hands
// since the caller's access was checked.
func (im *Importer) read(ctx context.Context, task *resource.ImportTask, path string, progress func(percent int)) error {
	disk := task.Disks[0]
	b := store.Buckets.Get(im.deps.Store.Snapshot(), disk.Bucket)
	if b == nil || b.System || b.AccountID != task.AccountID {
		return &BadImage{Reason: fmt.Sprintf("The bucket %s does not exist or is not the account's", disk.Bucket)}
	}
	o, err := im.deps.Objects.Get(ctx, b.Engine, disk.Key, "")
	if errors.Is(err, object.ErrNotFound) {
		return &BadImage{Reason: fmt.Sprintf("The object %s does not exist in bucket %s", disk.Key, disk.Bucket)}
	}
	if err != nil {
		return err
	}
	defer o.Close()
	size := o.Meta().Size
	if size == 0 {
		return &BadImage{Reason: "The disk image is empty"}
	}
	body, err := o.Range(0, size)
	if err != nil {
		return err
	}
	defer body.Close()
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return spaceError(err)
	}
	defer f.Close()
	// Others need the file system too: the state store stops when it is full.
	var space syscall.Statfs_t
	if err := syscall.Statfs(filepath.Dir(path), &space); err != nil {
		return err
	}
	free := int64(space.Bavail)*space.Bsize - im.cfg.Reserve
	buf := make([]byte, 1<<20)
	for at := int64(0); at < size; {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		n, err := io.ReadFull(body, buf[:min(int64(len(buf)), size-at)])
		if err != nil {
			return fmt.Errorf("read the disk image: %w", err)
		}
		if !zero(buf[:n]) { // holes stay holes
			if free -= int64(n); free < 0 {
				return spaceError(syscall.ENOSPC)
			}
			if _, err := f.WriteAt(buf[:n], at); err != nil {
				return spaceError(err)
			}
		}
		at += int64(n)
		progress(int(at * 100 / size))
	}
	return spaceError(errors.Join(f.Truncate(size), f.Close()))
}

func zero(b []byte) bool {
	for _, c := range b {
		if c != 0 {
			return false
		}
	}
	return true
}

// Key is where an image's data is in the system bucket.
func Key(imageID string) string { return "images/" + imageID }

// keep puts the converted disk into the system bucket.
func (im *Importer) keep(ctx context.Context, imageID, path string, progress func(percent int)) (resource.ImageData, error) {
	f, err := os.Open(path)
	if err != nil {
		return resource.ImageData{}, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return resource.ImageData{}, err
	}
	sum := sha256.New()
	read := int64(0)
	body := io.TeeReader(f, io.MultiWriter(sum, counter(func(n int) error {
		read += int64(n)
		progress(int(read * 100 / max(info.Size(), 1)))
		return ctx.Err()
	})))
	m, err := im.deps.Objects.Put(ctx, Bucket, object.Put{Key: Key(imageID), Body: body, Size: info.Size()})
	if err != nil {
		return resource.ImageData{}, fmt.Errorf("store the image: %w", err)
	}
	return resource.ImageData{Key: m.Key, Format: "qcow2", Size: m.Size, SHA256: hex.EncodeToString(sum.Sum(nil))}, nil
}

// counter is a writer that only counts.
type counter func(n int) error

func (c counter) Write(p []byte) (int, error) { return len(p), c(len(p)) }

// finish makes the image and completes the task, in one transaction.
func (im *Importer) finish(ctx context.Context, id string, data resource.ImageData) error {
	return im.change(ctx, id, func(tx *store.Tx, t *resource.ImportTask) error {
		if t.Cancel {
			return errCancelled
		}
		now := im.deps.Now().UTC()
		owned := t.Owned
		owned.CreatedAt, owned.Tags = now, nil
		t.Status, t.StatusMessage, t.Progress, t.EndedAt = "completed", "", 100, now
		t.Disks = append([]resource.ImportDisk(nil), t.Disks...)
		t.Disks[0].Size = data.VirtualSize
		if t.SnapshotID != "" {
			return store.Snapshots.Put(tx, &resource.Snapshot{
				Owned: owned, ID: t.SnapshotID, VolumeID: noVolume, SizeGiB: gib(data.VirtualSize), Description: t.Description,
				State: "completed", Progress: 100, CompletedAt: now, Data: data,
			})
		}
		img := &resource.Image{
			Owned: owned, ID: t.ImageID, Kind: "machine", Name: t.ID, Description: t.Description, Architecture: t.Architecture,
			Platform: t.Platform, BootMode: t.BootMode, State: resource.ImageAvailable,
			RootDeviceType: "instance-store", RootDeviceName: "/dev/sda1",
			Location: t.Disks[0].Bucket + "/" + t.Disks[0].Key, Data: data,
		}
		if im.cfg.RootDevice == "ebs" {
			if err := store.Snapshots.Put(tx, Snapshot(img, now)); err != nil {
				return err
			}
		}
		return store.Images.Put(tx, img)
	})
}

// noVolume is what AWS's snapshots say that were not made of a volume.
const noVolume = "vol-ffffffff"

// gib gives the size of a volume for a disk.
func gib(bytes int64) int { return max(1, int((bytes+1<<30-1)>>30)) }

// Snapshot makes an image EBS-backed, and gives the snapshot of its root volume: it shares the image's data.
func Snapshot(img *resource.Image, now time.Time) *resource.Snapshot {
	owned := img.Owned
	owned.CreatedAt, owned.Tags = now, nil
	snap := &resource.Snapshot{
		Owned: owned, ID: "snap-" + strings.TrimPrefix(img.ID, "ami-"), VolumeID: noVolume,
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
			open[t.Target()] = true
		}
		for t := range store.ExportTasksOpen.By(snap, "yes") {
			open[strings.TrimPrefix(t.Data.Key, Key(""))] = true
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
