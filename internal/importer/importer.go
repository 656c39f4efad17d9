// Package importer carries out ImportImage and ImportSnapshot tasks: it checks the disk where it lies in S3, streams it
// into the system bucket, and makes the image; and ExportImage tasks, the way back, for which it needs a converter in a
// jail. A task that a crash cut short is done again from the start; what a crash left is removed.
package importer

import (
	"context"
	"crypto/rsa"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"karri.dev/internal/aws/awserr"
	"karri.dev/internal/image"
	"karri.dev/internal/jail"
	"karri.dev/internal/object"
	"karri.dev/internal/reconcile"
	"karri.dev/internal/resource"
	"karri.dev/internal/sparse"
	"karri.dev/internal/store"
)

// Bucket is the system bucket that holds the data of images, in the object engine and in the store.
const Bucket = "karri-images"

// Config describes an importer.
type Config struct {
	Scratch  string // a folder of its own: emptied at the start
	Parallel int    // tasks at once; 0 means 2
	// RootDevice is what imported images become: "ebs", or "instance-store", which is also "".
	RootDevice string
	// RetryPause is waited before a task that failed for a reason of ours is tried again; 0 means 5 s.
	RetryPause time.Duration
	// PartsPause is waited before it is looked again for parts that were not uploaded yet; 0 means 10 s.
	PartsPause time.Duration
	Reserve    int64 // bytes that a task leaves free on the file system; 0 means 256 MiB
}

// Converter writes disks in the formats of others.
type Converter interface {
	// Export writes the disk of in, a qcow2 file of ours, in another format: "raw", "vmdk" or "vhd".
	Export(ctx context.Context, in, format, out string, progress func(percent int)) error
}

// BadImage says what is wrong with somebody's image; Reason is shown to its owner.
type BadImage = image.Invalid

// Deps are what an importer works with.
type Deps struct {
	Store     *store.Store
	Objects   object.Engine
	Converter Converter
	Bundles   *rsa.PrivateKey // opens bundles; nil: none
	// AddVolume puts a new volume into a transaction, within its account's quotas and its zone's room.
	AddVolume func(tx *store.Tx, v *resource.Volume) error
	// AddInstance likewise puts the instance of a task, with its volumes over the data of the task's disks.
	AddInstance func(tx *store.Tx, t *resource.ImportTask, disks []resource.ImageData) error
	// OpenData opens a snapshot's data, and Upload puts a file into a bucket as a form does that a browser posts.
	OpenData func(ctx context.Context, data *resource.ImageData) (sparse.Disk, io.Closer, error)
	Upload   func(ctx context.Context, bucket string, fields map[string]string, file []byte) error
	Now      func() time.Time
	Log      *slog.Logger
}

// Importer is a reconciler; one process of the cloud runs it.
type Importer struct {
	cfg  Config
	deps Deps

	poke func() // the loop; set by Run

	mu      sync.Mutex
	running map[string]context.CancelCauseFunc // by task, or image of a bundle
	tries   map[string]int                     // that failed for a reason of ours
	waiting map[string]time.Time               // for their parts: when to look again
}

// New makes an importer.
func New(cfg Config, deps Deps) *Importer {
	if cfg.Parallel == 0 {
		cfg.Parallel = 2
	}
	if cfg.RetryPause == 0 {
		cfg.RetryPause = 5 * time.Second
	}
	if cfg.PartsPause == 0 {
		cfg.PartsPause = 10 * time.Second
	}
	if cfg.Reserve == 0 {
		cfg.Reserve = 256 << 20
	}
	return &Importer{cfg: cfg, deps: deps, running: map[string]context.CancelCauseFunc{}, tries: map[string]int{}, waiting: map[string]time.Time{}}
}

// CreateBucket makes the system bucket's record.
func CreateBucket(tx *store.Tx, region string, now time.Time) error {
	if store.Buckets.Get(tx, Bucket) != nil {
		return nil
	}
	return store.Buckets.Put(tx, &resource.Bucket{Name: Bucket, Region: region, CreatedAt: now, Engine: Bucket, System: true})
}

// Run works until ctx ends.
func (im *Importer) Run(ctx context.Context) error {
	if err := os.RemoveAll(im.cfg.Scratch); err != nil {
		return fmt.Errorf("importer: %w", err)
	}
	if err := os.MkdirAll(im.cfg.Scratch, 0o700); err != nil {
		return fmt.Errorf("importer: %w", err)
	}
	g, ctx := errgroup.WithContext(ctx)
	work := make(chan struct{}, im.cfg.Parallel) // a place for each task under way
	loop := reconcile.New(reconcile.Config{Name: "importer", Period: 30 * time.Second, Run: func(ctx context.Context) error {
		im.step(ctx, work)
		im.unbundle(ctx, work)
		im.export(ctx, work)
		im.bundle(ctx, work)
		return nil
	}}, im.deps.Log)
	im.poke = loop.Poke
	garbage := reconcile.New(reconcile.Config{Name: "image garbage", Period: 5 * time.Minute, Run: im.collect}, im.deps.Log)
	tasks := im.deps.Store.Feed(store.ImportTasks)
	defer tasks.Close()
	exports := im.deps.Store.Feed(store.ExportTasks)
	defer exports.Close()
	images := im.deps.Store.Feed(store.Images)
	defer images.Close()
	g.Go(func() error { return loop.Run(ctx) })
	g.Go(func() error { return loop.Follow(ctx, tasks) })
	g.Go(func() error { return loop.Follow(ctx, exports) })
	bundles := im.deps.Store.Feed(store.BundleTasks)
	defer bundles.Close()
	snapshots := im.deps.Store.Feed(store.Snapshots)
	defer snapshots.Close()
	g.Go(func() error { return loop.Follow(ctx, bundles) })
	g.Go(func() error { return loop.Follow(ctx, snapshots) })
	bundled := im.deps.Store.Feed(store.Images)
	defer bundled.Close()
	g.Go(func() error { return loop.Follow(ctx, bundled) })
	g.Go(func() error { return garbage.Run(ctx) })
	g.Go(func() error { return garbage.Follow(ctx, images) })
	err := g.Wait()
	for range im.cfg.Parallel { // until the last task is out
		work <- struct{}{}
	}
	return err
}

var errCancelled = errors.New("cancelled")

// step begins tasks that wait and cancels those that are to be.
func (im *Importer) step(ctx context.Context, work chan struct{}) {
	snap := im.deps.Store.Snapshot()
	for _, task := range slices.SortedFunc(store.ImportTasksOpen.By(snap, "yes"), func(a, b *resource.ImportTask) int { return a.CreatedAt.Compare(b.CreatedAt) }) {
		im.mu.Lock()
		cancel, running := im.running[task.ID]
		im.mu.Unlock()
		if running {
			if task.Cancel {
				cancel(errCancelled)
			}
			continue
		}
		if task.Cancel {
			if err := im.end(ctx, task.ID, "Cancelled by the user"); err != nil {
				im.deps.Log.Error("cannot end a cancelled import", "task", task.ID, "error", err)
			}
			continue
		}
		if im.waits(task.ID) {
			continue
		}
		if !im.start(ctx, work, task.ID, func(ctx context.Context) { im.carryOut(ctx, task) }) {
			return
		}
	}
}

// start begins to work on what has this id, if there is a place; the end pokes the loop.
func (im *Importer) start(ctx context.Context, work chan struct{}, id string, f func(ctx context.Context)) bool {
	select {
	case work <- struct{}{}:
	default:
		return false
	}
	ctx, cancel := context.WithCancelCause(ctx)
	im.mu.Lock()
	im.running[id] = cancel
	im.mu.Unlock()
	go func() {
		defer func() {
			cancel(nil)
			im.mu.Lock()
			delete(im.running, id)
			im.mu.Unlock()
			<-work
			im.poke()
		}()
		f(ctx)
	}()
	return true
}

// carryOut does one task to its end, and says in the task how it ended.
func (im *Importer) carryOut(ctx context.Context, task *resource.ImportTask) {
	log := im.deps.Log.With("task", task.ID)
	began := im.deps.Now()
	err := im.importImage(ctx, task)
	if err == nil {
		log.Info("disk imported", "as", task.Target(), "after", im.deps.Now().Sub(began).Round(time.Millisecond))
		return
	}
	if errors.Is(err, errWaiting) && ctx.Err() == nil {
		im.wait(ctx, task, err)
		return
	}
	message, ended := im.why(ctx, log, task.ID, err)
	if !ended {
		return
	}
	log.Warn("import failed", "error", err, "message", message)
	if err := im.end(context.WithoutCancel(ctx), task.ID, message); err != nil {
		log.Error("cannot end a failed import", "error", err)
	}
}

// wait looks again later whether a task's parts have come, or ends it.
func (im *Importer) wait(ctx context.Context, task *resource.ImportTask, why error) {
	if task.Conversion() && im.deps.Now().Before(task.Volumes[0].Expires) {
		im.reporter(ctx, task.ID)("Pending: "+why.Error(), 0)
		im.mu.Lock()
		im.waiting[task.ID] = im.deps.Now().Add(im.cfg.PartsPause)
		im.mu.Unlock()
		time.AfterFunc(im.cfg.PartsPause, im.poke)
		return
	}
	if err := im.end(ctx, task.ID, "ClientError: The task has expired: "+why.Error()); err != nil {
		im.deps.Log.Error("cannot end an expired import", "task", task.ID, "error", err)
	}
}

// waits says whether it is too early to look again for a task's parts.
func (im *Importer) waits(id string) bool {
	im.mu.Lock()
	defer im.mu.Unlock()
	until, ok := im.waiting[id]
	if ok && im.deps.Now().Before(until) {
		return true
	}
	delete(im.waiting, id)
	return false
}

// why says in words for its owner why a task failed; not ended: it is tried again.
func (im *Importer) why(ctx context.Context, log *slog.Logger, id string, err error) (message string, ended bool) {
	var bad *BadImage
	var refused *awserr.Error
	switch {
	case errors.Is(context.Cause(ctx), errCancelled):
		return "Cancelled by the user", true
	case ctx.Err() != nil:
		return "", false // we are being stopped: the task is done again
	case errors.As(err, &bad):
		return "ClientError: " + bad.Reason, true
	case errors.As(err, &refused):
		return "ClientError: " + refused.Message, true
	case errors.Is(err, object.ErrNoSpace):
		return "ServerError: There is not enough disk space in the cloud for this image", true
	case errors.Is(err, jail.ErrNoJail):
		return "ServerError: This cloud cannot convert images safely; its administrator finds the reason in the log", true
	case im.again(id):
		log.Warn("task is tried again", "error", err)
		return "", false
	}
	return "ServerError: an internal error has occurred during conversion", true
}

// maxTries is how often a task whose failure is nobody's fault is begun, and retryPause the time between two.
const maxTries = 4

// again says whether a task that failed for a reason of ours has another try, and sees to it.
func (im *Importer) again(id string) bool {
	im.mu.Lock()
	defer im.mu.Unlock()
	im.tries[id]++
	if im.tries[id] >= maxTries {
		delete(im.tries, id)
		return false
	}
	time.AfterFunc(im.cfg.RetryPause, im.poke)
	return true
}

// end closes a task that made no image. AWS calls that state "deleted".
func (im *Importer) end(ctx context.Context, id, message string) error {
	return im.change(ctx, id, func(_ *store.Tx, t *resource.ImportTask) error {
		t.Status, t.StatusMessage, t.EndedAt = "deleted", message, im.deps.Now().UTC()
		return nil
	})
}

// change changes a task that is still open.
func (im *Importer) change(ctx context.Context, id string, f func(tx *store.Tx, t *resource.ImportTask) error) error {
	return im.deps.Store.Update(ctx, func(tx *store.Tx) error {
		old := store.ImportTasks.Get(tx, id)
		if old == nil || old.Status == "completed" || old.Status == "deleted" {
			return errors.New("the task is not open any more")
		}
		t := *old
		if err := f(tx, &t); err != nil {
			return err
		}
		return store.ImportTasks.Put(tx, &t)
	})
}

// scratch gives a task's own folder.
func (im *Importer) scratch(id string) string {
	return filepath.Join(im.cfg.Scratch, filepath.Base(id))
}
