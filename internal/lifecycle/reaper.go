package lifecycle

import (
	"context"
	"log/slog"
	"time"

	"karri.dev/internal/store"
)

// reapBatch bounds one transaction of the reaper.
const reapBatch = 500

// Reaper forgets terminated instances in time. One process of the cloud needs to run it; several do no harm.
type Reaper struct {
	store *store.Store
	clock func() time.Time
	log   *slog.Logger
	every time.Duration
}

// NewReaper makes a Reaper that looks every so often.
func NewReaper(s *store.Store, clock func() time.Time, every time.Duration, log *slog.Logger) *Reaper {
	return &Reaper{s, clock, log, every}
}

// Run reaps until the context ends.
func (r *Reaper) Run(ctx context.Context) error {
	tick := time.NewTicker(r.every)
	defer tick.Stop()
	for {
		if n, err := r.Once(ctx); err != nil {
			r.log.Warn("forget terminated instances", "error", err)
		} else if n > 0 {
			r.log.Debug("forgot terminated instances", "count", n)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// Once forgets what is old enough now.
func (r *Reaper) Once(ctx context.Context) (total int, err error) {
	for {
		if !r.due() {
			return total, nil
		}
		n := 0
		if err := r.store.Update(ctx, func(tx *store.Tx) error {
			n = Reap(tx, r.clock(), reapBatch)
			return nil
		}); err != nil {
			return total, err
		}
		if total += n; n < reapBatch {
			return total, nil
		}
	}
}

// due looks in the snapshot, so that an idle cloud writes nothing.
func (r *Reaper) due() bool {
	now, snap := r.clock(), r.store.Snapshot()
	if len(oldNATs(snap, now, 1)) > 0 {
		return true
	}
	for inst := range store.InstancesTerminated.By(snap, "yes") {
		if now.Sub(inst.TerminatedAt) >= Shown {
			return true
		}
	}
	return false
}
