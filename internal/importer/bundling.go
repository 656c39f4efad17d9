package importer

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"time"

	"karri.dev/internal/aws/awserr"
	"karri.dev/internal/bundle"
	"karri.dev/internal/resource"
	"karri.dev/internal/store"
)

// bundle begins bundles of instances whose disks are there, and cancels those that are to be.
func (im *Importer) bundle(ctx context.Context, work chan struct{}) {
	snap := im.deps.Store.Snapshot()
	for _, t := range slices.SortedFunc(store.BundleTasksOpen.By(snap, "yes"), func(a, b *resource.BundleTask) int { return a.CreatedAt.Compare(b.CreatedAt) }) {
		im.mu.Lock()
		cancel, running := im.running[t.ID]
		im.mu.Unlock()
		disk := store.Snapshots.Get(snap, t.SnapshotID)
		switch {
		case running && t.State == resource.BundleCancelling:
			cancel(errCancelled)
		case running:
		case t.State == resource.BundleCancelling:
			im.failBundle(ctx, t.ID, "Client.Cancelled", "Cancelled by the user")
		case disk == nil || disk.State == "error":
			im.failBundle(ctx, t.ID, "Client.InstanceGone", "The instance's disk could not be read: the instance ended, or its host failed")
		case disk.State == "pending":
			state := resource.BundleBundling
			if disk.CutAt.IsZero() {
				state = resource.BundleWaiting
			}
			im.reportBundle(ctx, t.ID, state, disk.Progress/4)
		case !im.start(ctx, work, t.ID, func(ctx context.Context) { im.carryOutBundling(ctx, t, disk) }):
			return
		}
	}
}

// carryOutBundling does one task to its end, and says in the task how it ended.
func (im *Importer) carryOutBundling(ctx context.Context, t *resource.BundleTask, disk *resource.Snapshot) {
	log := im.deps.Log.With("task", t.ID)
	err := im.bundleInstance(ctx, t, disk)
	if err == nil {
		log.Info("instance bundled", "instance", t.InstanceID, "bucket", t.Bucket, "prefix", t.Prefix)
		return
	}
	code := "Server.InternalError"
	var refused *awserr.Error
	if errors.Is(context.Cause(ctx), errCancelled) {
		code = "Client.Cancelled"
	} else if errors.As(err, &refused) {
		code = "Client.S3Error"
	}
	if message, ended := im.why(ctx, log, t.ID, err); ended {
		log.Warn("bundling failed", "error", err, "message", message)
		im.failBundle(context.WithoutCancel(ctx), t.ID, code, message)
	}
}

// bundleInstance writes the bundle, part by part, into its bucket, and the manifest last.
func (im *Importer) bundleInstance(ctx context.Context, t *resource.BundleTask, snap *resource.Snapshot) error {
	if im.deps.Bundles == nil {
		return errors.New("the cloud has no key for bundles")
	}
	disk, closer, err := im.deps.OpenData(ctx, &snap.Data)
	if err != nil {
		return fmt.Errorf("open the disk: %w", err)
	}
	defer closer.Close()
	state, last, read := resource.BundleBundling, time.Time{}, int64(0)
	progress := counter(func(n int) error {
		read += int64(n)
		if now := im.deps.Now(); now.Sub(last) >= time.Second {
			last = now
			im.reportBundle(ctx, t.ID, state, 25+int(read*74/max(1, disk.Size())))
		}
		return ctx.Err()
	})
	cloud := &x509.Certificate{PublicKey: &im.deps.Bundles.PublicKey}
	source := bundle.Source{
		Image: io.TeeReader(io.NewSectionReader(disk, 0, disk.Size()), progress), Size: disk.Size(), Name: path.Base(t.Prefix), User: t.AccountID,
		Kind: bundle.Machine, Kernel: t.KernelID, Ramdisk: t.RamdiskID, Certificate: cloud, Key: im.deps.Bundles, Cloud: cloud,
		Owner: im.ownersCertificate(t.AccountID), Random: rand.Reader,
	}
	dir, _ := path.Split(t.Prefix)
	manifest, err := bundle.Write(source, func(name string) (io.WriteCloser, error) {
		return &upload{im: im, ctx: ctx, task: t, key: dir + name, done: func() { state = resource.BundleStoring }}, nil
	})
	if err == nil {
		err = im.deps.Upload(ctx, t.Bucket, t.Upload.Fields(t.Prefix+".manifest.xml"), manifest)
	}
	if err != nil {
		return err
	}
	return im.changeBundle(ctx, t.ID, func(next *resource.BundleTask) {
		next.State, next.Progress = resource.BundleComplete, 100
	})
}

// ownersCertificate gives an account's signing certificate of its own, nil for none.
func (im *Importer) ownersCertificate(account string) *x509.Certificate {
	for c := range store.SigningCertificatesByAccount.By(im.deps.Store.Snapshot(), account) {
		if cert, err := x509.ParseCertificate(c.DER); c.Active && c.UserID == "" && err == nil {
			return cert
		}
	}
	return nil
}

// upload is a part on its way into the bucket.
type upload struct {
	bytes.Buffer
	im   *Importer
	ctx  context.Context
	task *resource.BundleTask
	key  string
	done func()
}

func (u *upload) Close() error {
	u.done()
	return u.im.deps.Upload(u.ctx, u.task.Bucket, u.task.Upload.Fields(u.key), u.Bytes())
}

func (im *Importer) reportBundle(ctx context.Context, id, state string, percent int) {
	err := im.changeBundle(ctx, id, func(t *resource.BundleTask) {
		if t.State != resource.BundleCancelling {
			t.State, t.Progress = state, max(t.Progress, percent)
		}
	})
	if err != nil && ctx.Err() == nil {
		im.deps.Log.Warn("cannot report a bundle's progress", "task", id, "error", err)
	}
}

func (im *Importer) failBundle(ctx context.Context, id, code, message string) {
	err := im.changeBundle(ctx, id, func(t *resource.BundleTask) {
		t.State, t.Code, t.Message = resource.BundleFailed, code, message
	})
	if err != nil {
		im.deps.Log.Error("cannot end a bundle", "task", id, "error", err)
	}
}

// changeBundle changes a task that is still open. With its end the disk's snapshot goes, and what it uploaded with.
func (im *Importer) changeBundle(ctx context.Context, id string, f func(t *resource.BundleTask)) error {
	return im.deps.Store.Update(ctx, func(tx *store.Tx) error {
		old := store.BundleTasks.Get(tx, id)
		if old == nil || !old.Open() {
			return errors.New("the task is not open any more")
		}
		t := *old
		f(&t)
		if t.State == old.State && t.Progress == old.Progress {
			return nil
		}
		t.UpdatedAt = im.deps.Now().UTC().Truncate(time.Millisecond)
		if !t.Open() {
			t.Upload = resource.BundleUpload{}
			store.Snapshots.Delete(tx, t.SnapshotID)
		}
		return store.BundleTasks.Put(tx, &t)
	})
}
