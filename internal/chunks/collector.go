package chunks

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"karri.dev/internal/reconcile"
	"karri.dev/internal/resource"
	"karri.dev/internal/store"
)

// fullSweep is how often everything is looked at, for what crashes have left.
const fullSweep = 24 * time.Hour

// Collect sweeps whenever a snapshot or a volume of one is gone, until ctx ends. One process of the cloud runs it.
func (s *Store) Collect(ctx context.Context, st *store.Store, log *slog.Logger) error {
	var last time.Time
	loop := reconcile.New(reconcile.Config{Name: "snapshot garbage", Period: time.Hour, Run: func(ctx context.Context) error {
		all := time.Since(last) > fullSweep
		n, err := s.Sweep(ctx, all, func() map[string]bool { return Live(st.Snapshot()) })
		if err != nil {
			return err
		}
		if all {
			last = time.Now()
		}
		if n != (Swept{}) {
			log.Info("data of snapshots deleted", "snapshots", n.Lists, "blocks", n.Blocks)
		}
		return nil
	}}, log)
	feed := st.Feed(store.Snapshots, store.Volumes)
	defer feed.Close()
	go func() {
		for {
			changes, _, err := feed.Next(ctx)
			if ctx.Err() != nil || errors.Is(err, store.ErrClosed) {
				return
			}
			for _, c := range changes {
				switch old := c.Old.(type) {
				case *resource.Snapshot: // gone, or pending no more
					if c.New == nil || old.State == "pending" {
						loop.Poke()
					}
				case *resource.Volume:
					if is, _ := c.New.(*resource.Volume); old.Base != nil && (is == nil || is.Base == nil) {
						loop.Poke()
					}
				}
			}
		}
	}()
	return loop.Run(ctx)
}

// Live gives the keys of all lists that are in use, and what the keys of loose blocks in use begin with.
func Live(r store.Reader) map[string]bool {
	keep := map[string]bool{}
	for snap := range store.Snapshots.All(r) {
		keep[ListKey(snap.ID)] = true
		if snap.Direct != nil {
			keep[looseKeys(snap.ID)] = true
		}
		keep[snap.Data.Key] = true
		if snap.Since != "" {
			keep[ListKey(snap.Since)] = true
		}
		if snap.Base != nil {
			keep[snap.Base.Key] = true
		}
	}
	for v := range store.Volumes.All(r) {
		if v.Base != nil {
			keep[v.Base.Key] = true
		}
	}
	return keep
}
