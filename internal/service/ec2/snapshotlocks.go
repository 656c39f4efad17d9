package ec2

import (
	"context"
	"slices"
	"time"

	"karri.dev/internal/aws/awserr"
	shape "karri.dev/internal/aws/shape/ec2"
	"karri.dev/internal/filter"
	"karri.dev/internal/resource"
	"karri.dev/internal/store"
)

const (
	maxLockDays = 36500
	maxCoolOff  = 72 // hours
	day         = 24 * time.Hour
)

// lockState gives the state of a snapshot's lock as EC2 names it; "" if there is none.
func lockState(snap *resource.Snapshot, now time.Time) string {
	l := snap.Lock
	switch {
	case l == nil:
		return ""
	case !now.Before(l.ExpiresAt):
		return "expired"
	case l.Mode == "governance":
		return "governance"
	case now.Before(l.CoolOffEnd):
		return "compliance-cooloff"
	}
	return "compliance"
}

// locked says that a snapshot must not be deleted.
func locked(snap *resource.Snapshot, now time.Time) bool {
	state := lockState(snap, now)
	return state != "" && state != "expired"
}

// LockSnapshot protects a snapshot from being deleted for some time. In compliance mode nobody can take that back after
// the time for second thoughts; in governance mode its owner can.
func (s *Service) LockSnapshot(ctx context.Context, in *shape.LockSnapshotRequest) (*shape.LockSnapshotResult, error) {
	info, err := s.begin(ctx, in)
	if err != nil {
		return nil, err
	}
	now := s.now()
	switch {
	case in.SnapshotId == "":
		return nil, errMissing("SnapshotId")
	case in.LockMode == "":
		return nil, errMissing("LockMode")
	case in.LockDuration == nil && in.ExpirationDate.IsZero():
		return nil, errMissing("LockDuration")
	case in.LockDuration != nil && !in.ExpirationDate.IsZero():
		return nil, errCombination("LockDuration and ExpirationDate cannot be given together")
	case in.LockDuration != nil && (*in.LockDuration < 1 || *in.LockDuration > maxLockDays):
		return nil, errValue(itoa(*in.LockDuration), "LockDuration")
	case in.LockDuration == nil && (in.ExpirationDate.Before(now.Add(day)) || in.ExpirationDate.After(now.Add(maxLockDays*day))):
		return nil, errValue(awsTime(in.ExpirationDate), "ExpirationDate")
	case in.CoolOffPeriod != nil && in.LockMode != "compliance":
		return nil, errCombination("CoolOffPeriod goes with the compliance mode")
	case in.CoolOffPeriod != nil && (*in.CoolOffPeriod < 1 || *in.CoolOffPeriod > maxCoolOff):
		return nil, errValue(itoa(*in.CoolOffPeriod), "CoolOffPeriod")
	}
	if err := oneOf("LockMode", in.LockMode, "compliance", "governance"); err != nil {
		return nil, err
	}
	var next resource.Snapshot
	err = s.update(ctx, in.DryRun, func(tx *store.Tx) error {
		snap, err := ownSnapshot(tx, info, in.SnapshotId)
		if err != nil {
			return err
		}
		lock := resource.SnapshotLock{Mode: in.LockMode, CreatedAt: now, CoolOffHours: number(in.CoolOffPeriod)}
		begins := snap.CompletedAt // a pending snapshot's counts from now, which is longer
		if begins.IsZero() || begins.Before(now) {
			begins = now
		}
		lock.StartsAt, lock.ExpiresAt = begins, in.ExpirationDate
		if in.LockDuration != nil {
			lock.ExpiresAt = begins.Add(time.Duration(*in.LockDuration) * day)
		}
		lock.Days = int(lock.ExpiresAt.Sub(begins) / day)
		if in.CoolOffPeriod != nil {
			lock.CoolOffEnd = now.Add(time.Duration(*in.CoolOffPeriod) * time.Hour)
		}
		switch lockState(snap, now) {
		case "compliance":
			if in.LockMode != "compliance" || in.CoolOffPeriod != nil || lock.ExpiresAt.Before(snap.Lock.ExpiresAt) {
				return awserr.New("SnapshotLocked", "Snapshot %s is locked in compliance mode: the lock can only be made longer.", snap.ID)
			}
			lock.CreatedAt = snap.Lock.CreatedAt
		case "compliance-cooloff":
			if in.LockMode == "compliance" && in.CoolOffPeriod == nil {
				lock.CoolOffEnd, lock.CoolOffHours = snap.Lock.CoolOffEnd, snap.Lock.CoolOffHours
			}
		}
		next = *snap
		next.Lock = &lock
		return store.Snapshots.Put(tx, &next)
	})
	if err != nil {
		return nil, err
	}
	v := shapeLock(&next, now)
	return &shape.LockSnapshotResult{
		SnapshotId: v.SnapshotId, LockState: v.LockState, LockDuration: v.LockDuration, CoolOffPeriod: v.CoolOffPeriod,
		CoolOffPeriodExpiresOn: v.CoolOffPeriodExpiresOn, LockCreatedOn: v.LockCreatedOn, LockExpiresOn: v.LockExpiresOn,
		LockDurationStartTime: v.LockDurationStartTime,
	}, nil
}

func shapeLock(snap *resource.Snapshot, now time.Time) shape.LockedSnapshotsInfo {
	l := snap.Lock
	return shape.LockedSnapshotsInfo{
		OwnerId: snap.AccountID, SnapshotId: snap.ID, LockState: lockState(snap, now), LockDuration: l.Days, CoolOffPeriod: l.CoolOffHours,
		CoolOffPeriodExpiresOn: l.CoolOffEnd, LockCreatedOn: l.CreatedAt, LockDurationStartTime: l.StartsAt, LockExpiresOn: l.ExpiresAt,
	}
}

// UnlockSnapshot takes a lock away that can be taken away.
func (s *Service) UnlockSnapshot(ctx context.Context, in *shape.UnlockSnapshotRequest) (*shape.UnlockSnapshotResult, error) {
	info, err := s.begin(ctx, in)
	if err != nil {
		return nil, err
	}
	if in.SnapshotId == "" {
		return nil, errMissing("SnapshotId")
	}
	err = s.update(ctx, in.DryRun, func(tx *store.Tx) error {
		snap, err := ownSnapshot(tx, info, in.SnapshotId)
		if err != nil {
			return err
		}
		switch lockState(snap, s.now()) {
		case "", "expired":
			return awserr.New("SnapshotNotLocked", "Snapshot %s is not locked.", snap.ID)
		case "compliance":
			return awserr.New("SnapshotLocked", "Snapshot %s is locked in compliance mode: the lock cannot be taken away.", snap.ID)
		}
		next := *snap
		next.Lock = nil
		return store.Snapshots.Put(tx, &next)
	})
	if err != nil {
		return nil, err
	}
	return &shape.UnlockSnapshotResult{SnapshotId: in.SnapshotId}, nil
}

// DescribeLockedSnapshots lists the caller's snapshots that have a lock, also an expired one.
func (s *Service) DescribeLockedSnapshots(ctx context.Context, in *shape.DescribeLockedSnapshotsRequest) (*shape.DescribeLockedSnapshotsResult, error) {
	info, r, err := s.read(ctx, in, in.DryRun)
	if err != nil {
		return nil, err
	}
	now := s.now()
	filters := &filter.Set[*resource.Snapshot]{Fields: map[string]func(*resource.Snapshot) []string{
		"lock-state": func(snap *resource.Snapshot) []string { return one(lockState(snap, now)) },
	}}
	match, err := compile(filters, in.Filters)
	if err != nil {
		return nil, err
	}
	if in.MaxResults != nil && len(in.SnapshotIds) > 0 {
		return nil, errCombination("The parameter snapshotIdSet cannot be used with the parameter maxResults")
	}
	found, next, err := list(s, r, info, snapshots, selection[resource.Snapshot]{
		op: "DescribeLockedSnapshots", max: in.MaxResults, token: in.NextToken,
		match: func(snap *resource.Snapshot) bool {
			return snap.Lock != nil && (len(in.SnapshotIds) == 0 || slices.Contains(in.SnapshotIds, snap.ID)) && (match == nil || match(snap))
		},
	})
	if err != nil {
		return nil, err
	}
	out := make([]shape.LockedSnapshotsInfo, len(found))
	for i, snap := range found {
		out[i] = shapeLock(snap, now)
	}
	return &shape.DescribeLockedSnapshotsResult{Snapshots: out, NextToken: next}, nil
}
