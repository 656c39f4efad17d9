package ebs

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"karri.dev/internal/chunks"
	"karri.dev/internal/lifecycle"
	"karri.dev/internal/reconcile"
	"karri.dev/internal/resource"
	"karri.dev/internal/store"
)

// Run completes snapshots that clients have sealed, gives up those that nobody writes any more, and clears away what is
// left of both, until ctx ends. One process of the cloud runs it.
func (s *Service) Run(ctx context.Context) error {
	loop := reconcile.New(reconcile.Config{Name: "direct snapshots", Period: time.Minute, Run: s.settle}, s.Log)
	feed := s.Store.Feed(store.Snapshots)
	defer feed.Close()
	go func() {
		for {
			changes, _, err := feed.Next(ctx)
			if ctx.Err() != nil || errors.Is(err, store.ErrClosed) {
				return
			}
			for _, c := range changes {
				if snap, _ := c.New.(*resource.Snapshot); snap != nil && snap.Direct != nil && snap.Direct.Sealed {
					loop.Poke()
				}
			}
		}
	}()
	return loop.Run(ctx)
}

// settle does what is to be done with each of them.
func (s *Service) settle(ctx context.Context) error {
	var failed error
	for _, snap := range slices.Collect(store.SnapshotsDirect.By(s.Store.Snapshot(), "")) {
		var err error
		switch {
		case snap.State != "pending":
			err = s.clear(ctx, snap)
		case snap.Direct.Sealed:
			err = s.join(ctx, snap)
		default:
			err = s.expire(ctx, snap)
		}
		if err != nil {
			failed = errors.Join(failed, fmt.Errorf("snapshot %s: %w", snap.ID, err))
		}
	}
	return failed
}

// join makes a sealed snapshot's list, and completes it.
func (s *Service) join(ctx context.Context, snap *resource.Snapshot) error {
	// Counted again: a block can have come after CompleteSnapshot has counted, and before it sealed.
	loose, err := s.Chunks.Loose(ctx, snap.ID)
	if err != nil {
		return err
	}
	if len(loose) != snap.Direct.Blocks {
		return s.end(ctx, snap, "error", "Blocks were written while the snapshot was completed.", resource.ImageData{})
	}
	n, err := s.Chunks.Join(ctx, snap.ID, s.Images, snap.Base)
	if err != nil {
		return err
	}
	return s.end(ctx, snap, "completed", "", resource.ImageData{
		Key: chunks.ListKey(snap.ID), Format: chunks.Format, VirtualSize: int64(snap.SizeGiB) << 30, Size: int64(n) * chunks.Size,
	})
}

// expire gives up a snapshot to which nothing was written for its timeout.
func (s *Service) expire(ctx context.Context, snap *resource.Snapshot) error {
	patience := time.Duration(snap.Direct.Timeout) * time.Minute
	last := snap.CreatedAt
	if s.Now().Sub(last) < patience {
		return nil
	}
	loose, err := s.Chunks.Loose(ctx, snap.ID)
	if err != nil {
		return err
	}
	for _, l := range loose {
		if l.At.After(last) {
			last = l.At
		}
	}
	if s.Now().Sub(last) < patience {
		return nil
	}
	return s.end(ctx, snap, "error", "The snapshot was not completed in time.", resource.ImageData{})
}

// end gives a pending snapshot its last state, and clears it.
func (s *Service) end(ctx context.Context, snap *resource.Snapshot, state, why string, data resource.ImageData) error {
	var ended *resource.Snapshot
	err := s.Store.Update(ctx, func(tx *store.Tx) error {
		ended = nil
		now := store.Snapshots.Get(tx, snap.ID)
		if now == nil || now.State != "pending" || now.Direct == nil || now.Direct.Sealed != snap.Direct.Sealed {
			return nil
		}
		next := *now
		next.State, next.Reason, next.Data, next.Base = state, why, data, nil
		if state == "completed" {
			next.Progress, next.CompletedAt = 100, s.Now().UTC().Truncate(time.Millisecond)
		}
		ended = &next
		if err := store.Snapshots.Put(tx, &next); err != nil {
			return err
		}
		return lifecycle.SettleImages(tx, &next)
	})
	if err != nil || ended == nil {
		return err
	}
	s.Log.Info("snapshot of a client's blocks", "snapshot", snap.ID, "state", state, "blocks", data.Size/chunks.Size, "why", why)
	return s.clear(ctx, ended)
}

// clear forgets the loose blocks of a snapshot that is completed or given up.
func (s *Service) clear(ctx context.Context, snap *resource.Snapshot) error {
	if err := s.Chunks.DropLoose(ctx, snap.ID); err != nil {
		return err
	}
	return s.Store.Update(ctx, func(tx *store.Tx) error {
		now := store.Snapshots.Get(tx, snap.ID)
		if now == nil || now.State == "pending" || now.Direct == nil {
			return nil
		}
		next := *now
		next.Direct = nil
		return store.Snapshots.Put(tx, &next)
	})
}
