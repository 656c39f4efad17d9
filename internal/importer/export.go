package importer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"

	"karri.dev/internal/object"
	"karri.dev/internal/qcow2"
	"karri.dev/internal/resource"
	"karri.dev/internal/store"
)

// Where the stages of an export end, in percent.
const (
	exportRead      = 25
	exportConverted = 80
)

// export begins exports that wait and cancels those that are to be.
func (im *Importer) export(ctx context.Context, work chan struct{}) {
	open := store.ExportTasksOpen.By(im.deps.Store.Snapshot(), "yes")
	for _, task := range slices.SortedFunc(open, func(a, b *resource.ExportTask) int { return a.CreatedAt.Compare(b.CreatedAt) }) {
		im.mu.Lock()
		cancel, running := im.running[task.ID]
		im.mu.Unlock()
		switch {
		case running && task.Cancel:
			cancel(errCancelled)
		case running:
		case task.Cancel:
			im.endExport(ctx, task.ID, "Cancelled by the user")
		case !im.start(ctx, work, task.ID, func(ctx context.Context) { im.carryOutExport(ctx, task) }):
			return
		}
	}
}

// carryOutExport does one export to its end, and says in the task how it ended.
func (im *Importer) carryOutExport(ctx context.Context, task *resource.ExportTask) {
	log := im.deps.Log.With("task", task.ID)
	err := im.exportImage(ctx, task)
	if err == nil {
		log.Info("image exported", "image", task.ImageID, "bucket", task.Bucket)
		return
	}
	if message, ended := im.why(ctx, log, task.ID, err); ended {
		log.Warn("export failed", "error", err, "message", message)
		im.endExport(context.WithoutCancel(ctx), task.ID, message)
	}
}

// exportImage does the work of one export. The disk's bytes are ours: Convert made them.
func (im *Importer) exportImage(ctx context.Context, task *resource.ExportTask) error {
	dir := im.scratch(task.ID)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return spaceError(err)
	}
	defer os.RemoveAll(dir)
	in, out := filepath.Join(dir, "in.qcow2"), filepath.Join(dir, "out")
	report := func(message string, percent int) {
		err := im.changeExport(ctx, task.ID, func(t *resource.ExportTask) {
			t.StatusMessage, t.Progress = message, max(t.Progress, percent)
		})
		if err != nil && ctx.Err() == nil {
			im.deps.Log.Warn("cannot report an export's progress", "task", task.ID, "error", err)
		}
	}
	report("validating", 1)
	if err := im.fetchDisk(ctx, task, in); err != nil {
		return spaceError(err)
	}
	report("converting", exportRead)
	if err := im.deps.Converter.Export(ctx, in, task.Format, out, func(int) {}); err != nil {
		return spaceError(err)
	}
	os.Remove(in)
	report("updating", exportConverted)
	if err := im.deliver(ctx, task, out); err != nil {
		return spaceError(err)
	}
	return im.changeExport(ctx, task.ID, func(t *resource.ExportTask) {
		t.Status, t.StatusMessage, t.Progress, t.EndedAt = "completed", "", 100, im.deps.Now().UTC()
	})
}

// fetchDisk makes a qcow2 file of what an export is of: an image's data, which is such a file, or a snapshot's blocks.
func (im *Importer) fetchDisk(ctx context.Context, task *resource.ExportTask, path string) error {
	if task.Data.Format != "qcow2" {
		disk, closer, err := im.deps.OpenData(ctx, &task.Data)
		if err != nil {
			return fmt.Errorf("open the disk: %w", err)
		}
		defer closer.Close()
		img, err := qcow2.NewImage(ctx, disk, false, func(int) {})
		if err != nil {
			return fmt.Errorf("read the disk: %w", err)
		}
		r := img.Reader(ctx)
		defer r.Close()
		return im.fetch(r, path)
	}
	o, err := im.deps.Objects.Get(ctx, Bucket, task.Data.Key, "")
	if errors.Is(err, object.ErrNotFound) {
		return &BadImage{Reason: fmt.Sprintf("The image %s was deregistered meanwhile", task.ImageID)}
	}
	if err != nil {
		return err
	}
	body, err := o.Range(0, o.Meta().Size)
	if err == nil {
		err = errors.Join(im.fetch(body, path), body.Close())
	}
	return errors.Join(err, o.Close())
}

// fetch copies an image's data into a file.
func (im *Importer) fetch(body io.Reader, path string) error {
	w, err := newHoled(path, im.cfg.Reserve)
	if err != nil {
		return err
	}
	_, err = io.Copy(w, body)
	return errors.Join(err, w.close())
}

// deliver puts the file into the account's bucket, which is looked up anew: it may have changed hands.
func (im *Importer) deliver(ctx context.Context, task *resource.ExportTask, path string) error {
	b := store.Buckets.Get(im.deps.Store.Snapshot(), task.Bucket)
	if b == nil || b.System || b.AccountID != task.AccountID {
		return &BadImage{Reason: fmt.Sprintf("The bucket %s does not exist or is not the account's", task.Bucket)}
	}
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	put := object.Put{Key: task.Key(), Body: io.TeeReader(f, counter(func(int) error { return ctx.Err() })), Size: info.Size()}
	if a := store.Accounts.Get(im.deps.Store.Snapshot(), task.AccountID); a != nil {
		put.Owner = a.CanonicalID
	}
	switch b.Versioning {
	case "Enabled":
		put.Versioning = object.Enabled
	case "Suspended":
		put.Versioning = object.Suspended
	}
	_, err = im.deps.Objects.Put(ctx, b.Engine, put)
	return err
}

// changeExport changes a task that is still open.
func (im *Importer) changeExport(ctx context.Context, id string, f func(t *resource.ExportTask)) error {
	return im.deps.Store.Update(ctx, func(tx *store.Tx) error {
		old := store.ExportTasks.Get(tx, id)
		if old == nil || old.Status == "completed" || old.Status == "deleted" {
			return errors.New("the task is not open any more")
		}
		t := *old
		f(&t)
		return store.ExportTasks.Put(tx, &t)
	})
}

func (im *Importer) endExport(ctx context.Context, id, message string) {
	err := im.changeExport(ctx, id, func(t *resource.ExportTask) {
		t.Status, t.StatusMessage, t.EndedAt = "deleted", message, im.deps.Now().UTC()
	})
	if err != nil {
		im.deps.Log.Error("cannot end an export", "task", id, "error", err)
	}
}
