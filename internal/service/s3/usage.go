package s3

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"karri.dev/internal/aws/call"
	"karri.dev/internal/object"
	"karri.dev/internal/quota"
	"karri.dev/internal/resource"
	"karri.dev/internal/store"
)

// Quotas on what is in buckets. The account that a bucket belongs to limits it, and so do the policies of whoever writes.
// A user's limit on the size of all buckets is about those that the user has made.

// room gives what judges a write by the quotas; nil if there are none.
func (s *Service) room(ctx context.Context, b *resource.Bucket, key string) (func(object.Balance) error, error) {
	s.hold(b)
	if s.quotas == nil {
		return nil, nil
	}
	info, snap := call.From(ctx), s.store.Snapshot()
	theirs, own, err := s.quotas.Objects(snap, info, b.AccountID, bucketARN(b.Name)+"/"+key)
	if err != nil || !theirs.Any() && !own.Any() {
		return nil, err
	}
	s.holdAll(b.AccountID)
	holder := info.PrincipalID()
	if holder == "" {
		holder = info.AccountID
	} else if info.AccountID != b.AccountID && own.TotalSize != quota.None {
		s.holdAll(info.AccountID)
	}
	return func(w object.Balance) error {
		if err := s.judge(w, theirs, b.AccountID); err != nil {
			return err
		}
		return s.judge(w, own, holder)
	}, nil
}

// judge refuses what gets past a limit; what adds nothing is never refused.
func (s *Service) judge(w object.Balance, l quota.ObjectLimits, holder string) error {
	switch {
	case w.Added.Bytes > 0 && above(w.Bucket.Bytes, l.BucketSize):
		return s.quotas.ObjectRefusal(quota.BucketSize, l.BucketSize)
	case w.Added.Bytes > 0 && above(w.Held(holder).Bytes, l.TotalSize):
		return s.quotas.ObjectRefusal(quota.TotalSize, l.TotalSize)
	case w.Added.Objects > 0 && l.BucketObjects != quota.None && w.Bucket.Objects > l.BucketObjects:
		return s.quotas.ObjectRefusal(quota.BucketObjects, l.BucketObjects)
	}
	return nil
}

// above compares bytes with a limit in MiB.
func above(bytes, most int64) bool { return most != quota.None && (bytes-1)>>20 >= most && bytes > 0 }

// hold tells the ledger whose a bucket is.
func (s *Service) hold(b *resource.Bucket) {
	if b.Creator == "" {
		s.ledger.Hold(b.Engine, b.AccountID)
		return
	}
	s.ledger.Hold(b.Engine, b.AccountID, b.Creator)
}

// holdAll does so, once, for all buckets that an account has. Those to come are held when they are written to.
func (s *Service) holdAll(account string) {
	once, _ := s.held.LoadOrStore(account, new(sync.Once))
	once.(*sync.Once).Do(func() {
		for b := range store.BucketsByOwner.From(s.store.Snapshot(), account, "") {
			if !b.System {
				s.hold(b)
			}
		}
	})
}

// BucketUsage is what a bucket holds.
type BucketUsage struct {
	Bucket string `json:"Bucket"`
	object.Tally
	Problem string `json:"Problem,omitempty"`
}

// Usage gives what each bucket of an account holds.
func (s *Service) Usage(ctx context.Context, account string) ([]BucketUsage, error) {
	out := []BucketUsage{}
	for b := range store.BucketsByOwner.From(s.store.Snapshot(), account, "") {
		if b.System {
			continue
		}
		n, err := s.engine.Tally(ctx, b.Engine)
		u := BucketUsage{Bucket: b.Name, Tally: n}
		switch {
		case errors.Is(err, object.ErrNoBucket): // being deleted
			continue
		case errors.Is(err, object.ErrOffline):
			u.Problem = err.Error()
		case err != nil:
			return nil, fmt.Errorf("bucket %s: %w", b.Name, err)
		}
		out = append(out, u)
	}
	return out, nil
}
