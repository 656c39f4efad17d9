package lifecycle

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"time"

	"karri.dev/internal/reconcile"
	"karri.dev/internal/resource"
	"karri.dev/internal/store"
)

// taskShown is how long a task that is done stays visible.
const taskShown = 30 * 24 * time.Hour

// RootTasks carries out tasks that replace root volumes. One process of the cloud needs to run it; several do no harm.
type RootTasks struct {
	Store *store.Store
	Now   func() time.Time
	Log   *slog.Logger
}

// Run works until the context ends.
func (r *RootTasks) Run(ctx context.Context) error {
	loop := reconcile.New(reconcile.Config{Name: "root volumes", Period: time.Minute, Run: r.Once}, r.Log)
	feed := r.Store.Feed(store.Volumes, store.RootVolumeTasks, store.Instances)
	defer feed.Close()
	go func() {
		for {
			_, snap, err := feed.Next(ctx)
			if ctx.Err() != nil || errors.Is(err, store.ErrClosed) {
				return
			}
			if snap != nil && anyOpen(snap) {
				loop.Poke()
			}
		}
	}()
	return loop.Run(ctx)
}

func anyOpen(r store.Reader) bool {
	for range store.RootVolumeTasksOpen.By(r, "") {
		return true
	}
	return false
}

// Once does what can be done now.
func (r *RootTasks) Once(ctx context.Context) error {
	snap, now := r.Store.Snapshot(), r.Now()
	for _, t := range slices.Collect(store.RootVolumeTasks.All(snap)) {
		if !t.Open() && now.Sub(t.CompletedAt) < taskShown {
			continue
		}
		err := r.Store.Update(ctx, func(tx *store.Tx) error {
			is := store.RootVolumeTasks.Get(tx, t.ID)
			switch {
			case is == nil:
				return nil
			case !is.Open():
				store.RootVolumeTasks.Delete(tx, t.ID)
				return nil
			}
			return AdvanceRootTask(tx, is, now)
		})
		if err != nil {
			return err
		}
		if is := store.RootVolumeTasks.Get(r.Store.Snapshot(), t.ID); is != nil && is.State != t.State {
			r.Log.Info("root volume", "task", t.ID, "instance", t.InstanceID, "state", is.State)
		}
	}
	return nil
}

// AdvanceRootTask takes the next step of an open task, if it is time for it. First the new volume is made; then, in one
// moment, it is wanted in the place of the old one, and the machine anew; and in the end the guest has it.
func AdvanceRootTask(tx *store.Tx, t *resource.RootVolumeTask, now time.Time) error {
	inst, fresh, old := store.Instances.Get(tx, t.InstanceID), store.Volumes.Get(tx, t.New), store.Volumes.Get(tx, t.Old)
	ended := inst == nil || inst.Power == resource.PowerGone || !inst.State.Alive()
	if t.State == "in-progress" {
		switch {
		case fresh == nil || fresh.Attachment == nil || fresh.Attachment.InstanceID != t.InstanceID:
			return endRootTask(tx, t, "failed", now)
		case fresh.Attachment.State != resource.Attached || old != nil && old.Attachment != nil:
			return nil
		}
		if t.DeleteOld && old != nil && old.State == resource.VolumeAvailable {
			if err := DeleteVolume(tx, old); err != nil {
				return err
			}
		}
		return endRootTask(tx, t, "succeeded", now)
	}
	switch {
	case !ended && inst.State == resource.Running && fresh != nil && fresh.State == resource.VolumeCreating:
		return nil
	case ended, inst.State != resource.Running, fresh == nil, fresh.State != resource.VolumeAvailable, !fresh.Made,
		old == nil, old.Attachment == nil, old.Attachment.InstanceID != inst.ID, old.Attachment.State != resource.Attached:
		if fresh != nil && fresh.Attachment == nil && fresh.State != resource.VolumeDeleting { // nobody has used it
			if err := DeleteVolume(tx, fresh); err != nil {
				return err
			}
		}
		return endRootTask(tx, t, "failed", now)
	}
	was, link := *old, *old.Attachment
	link.State, link.Force = resource.Detaching, false
	was.Attachment = &link
	is := *fresh
	is.State = resource.VolumeInUse
	is.Attachment = &resource.VolumeAttachment{
		InstanceID: inst.ID, Device: inst.RootDevice, State: resource.Attaching, At: now.UTC().Truncate(time.Millisecond), DeleteOnEnd: old.Attachment.DeleteOnEnd,
	}
	machine, task := *inst, *t
	machine.Restarts++
	if t.ImageID != "" {
		machine.ImageID = t.ImageID
	}
	task.State = "in-progress"
	return errors.Join(store.Volumes.Put(tx, &was), store.Volumes.Put(tx, &is), store.Instances.Put(tx, &machine), store.RootVolumeTasks.Put(tx, &task))
}

func endRootTask(tx *store.Tx, t *resource.RootVolumeTask, state string, now time.Time) error {
	done := *t
	done.State, done.CompletedAt = state, now.UTC().Truncate(time.Millisecond)
	return store.RootVolumeTasks.Put(tx, &done)
}
