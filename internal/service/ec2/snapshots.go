package ec2

import (
	"context"
	"slices"
	"strconv"
	"strings"

	"karri.dev/internal/aws/awserr"
	"karri.dev/internal/aws/call"
	shape "karri.dev/internal/aws/shape/ec2"
	"karri.dev/internal/filter"
	"karri.dev/internal/resource"
	"karri.dev/internal/store"
)

// findSnapshot gives a snapshot of which the caller may make volumes.
func findSnapshot(r store.Reader, info *call.Info, id string) (*resource.Snapshot, error) {
	if !wellFormed("snap-", id) {
		return nil, awserr.New("InvalidParameterValue", "Value (%s) for parameter snapshotId is invalid. Expected: 'snap-...'.", id)
	}
	snap := store.Snapshots.Get(r, id)
	if snap == nil || snap.Region != info.Region || !mayRestore(r, info.AccountID, snap) {
		return nil, snapshots.notFound(id)
	}
	return snap, nil
}

// MayRestore says whether an account may make volumes of a snapshot.
func MayRestore(r store.Reader, account string, snap *resource.Snapshot) bool {
	return mayRestore(r, account, snap)
}

func mayRestore(r store.Reader, account string, snap *resource.Snapshot) bool {
	if snap.AccountID == account || slices.Contains(snap.Accounts, account) {
		return true
	}
	return snap.Public && publicSnapshotsOf(r, snap.OwnedBy()) != "block-all-sharing"
}

func shapeSnapshot(info *call.Info, s *resource.Snapshot) shape.Snapshot {
	out := shape.Snapshot{
		Description: s.Description, OwnerId: s.AccountID, Progress: strconv.Itoa(s.Progress) + "%", SnapshotId: s.ID, StartTime: s.CreatedAt,
		State: s.State, StateMessage: s.Reason, VolumeId: s.VolumeID, VolumeSize: s.SizeGiB, StorageTier: "standard",
		Encrypted: s.Encrypted, KmsKeyId: ebsKeyOf(s.Owned, s.Encrypted),
	}
	if s.AccountID == info.AccountID {
		out.Tags = shapeTags(s.Tags)
	}
	return out
}

var snapshotFilters = &filter.Set[*resource.Snapshot]{
	Fields: map[string]func(*resource.Snapshot) []string{
		"description":  func(s *resource.Snapshot) []string { return []string{s.Description} },
		"encrypted":    func(s *resource.Snapshot) []string { return one(strconv.FormatBool(s.Encrypted)) },
		"owner-id":     func(s *resource.Snapshot) []string { return one(s.AccountID) },
		"progress":     func(s *resource.Snapshot) []string { return one(strconv.Itoa(s.Progress) + "%") },
		"snapshot-id":  func(s *resource.Snapshot) []string { return one(s.ID) },
		"start-time":   func(s *resource.Snapshot) []string { return one(awsTime(s.CreatedAt)) },
		"status":       func(s *resource.Snapshot) []string { return one(s.State) },
		"storage-tier": constant[*resource.Snapshot]("standard"),
		"volume-id":    func(s *resource.Snapshot) []string { return one(s.VolumeID) },
		"volume-size":  func(s *resource.Snapshot) []string { return one(strconv.Itoa(s.SizeGiB)) },
	},
	Never: []string{"owner-alias", "transfer-type"},
	Tags:  func(s *resource.Snapshot) map[string]string { return s.Tags },
}

// DescribeSnapshots lists the snapshots of which the caller may make volumes.
func (s *Service) DescribeSnapshots(ctx context.Context, in *shape.DescribeSnapshotsRequest) (*shape.DescribeSnapshotsResult, error) {
	info, r, err := s.read(ctx, in, in.DryRun)
	if err != nil {
		return nil, err
	}
	match, err := compile(snapshotFilters, in.Filters)
	if err != nil {
		return nil, err
	}
	if in.MaxResults != nil && len(in.SnapshotIds) > 0 {
		return nil, errCombination("The parameter snapshotIdSet cannot be used with the parameter maxResults")
	}
	limit, start, err := s.page(info, "DescribeSnapshots", in.MaxResults, in.NextToken, 0)
	if err != nil {
		return nil, err
	}
	var candidates []*resource.Snapshot
	for _, id := range in.SnapshotIds {
		snap, err := findSnapshot(r, info, id)
		if err != nil {
			return nil, err
		}
		candidates = append(candidates, snap)
	}
	if len(in.SnapshotIds) == 0 {
		candidates = slices.Collect(store.SnapshotsByOwner.By(r, ownerKey(info)))
		for _, who := range []string{"all", info.AccountID} {
			candidates = slices.AppendSeq(candidates, store.SnapshotsShared.By(r, info.Region+"/"+who))
		}
	}
	slices.SortFunc(candidates, func(a, b *resource.Snapshot) int { return strings.Compare(a.ID, b.ID) })
	out := []shape.Snapshot{}
	for _, snap := range slices.Compact(candidates) {
		owner := []string{snap.AccountID}
		if snap.AccountID == info.AccountID {
			owner = append(owner, "self")
		}
		restorers := append([]string{snap.AccountID}, snap.Accounts...)
		if !mayRestore(r, info.AccountID, snap) {
			continue
		}
		restorers = append(restorers, "self", info.AccountID)
		if snap.Public {
			restorers = append(restorers, "all")
		}
		if snap.ID < start || !fits(in.OwnerIds, owner) || !fits(in.RestorableByUserIds, restorers) || match != nil && !match(snap) {
			continue
		}
		if out = append(out, shapeSnapshot(info, snap)); len(out) > limit {
			break
		}
	}
	list, next, err := cut(s, info, "DescribeSnapshots", out, limit, func(v shape.Snapshot) string { return v.SnapshotId })
	return &shape.DescribeSnapshotsResult{Snapshots: list, NextToken: next}, err
}

// DeleteSnapshot deletes a snapshot that no image needs. Volumes made of it keep what they have.
func (s *Service) DeleteSnapshot(ctx context.Context, in *shape.DeleteSnapshotRequest) (*shape.DeleteSnapshotResult, error) {
	info, err := s.begin(ctx, in)
	if err != nil {
		return nil, err
	}
	if in.SnapshotId == "" {
		return nil, errMissing("SnapshotId")
	}
	err = s.update(ctx, in.DryRun, func(tx *store.Tx) error {
		snap, err := snapshots.find(tx, info, in.SnapshotId)
		if err != nil {
			return err
		}
		if locked(snap, s.now()) {
			return awserr.New("SnapshotLocked", "Snapshot %s is locked.", snap.ID)
		}
		for img := range store.ImagesByOwner.By(tx, ownerKey(info)) {
			if img.State != resource.ImageDeregistered && slices.ContainsFunc(img.Mappings, func(m resource.ImageMapping) bool { return m.SnapshotID == snap.ID }) {
				return awserr.New("InvalidSnapshot.InUse", "The snapshot %s is currently in use by %s", snap.ID, img.ID)
			}
		}
		store.Snapshots.Delete(tx, snap.ID) // its data goes when nothing else needs it
		return nil
	})
	if err != nil {
		return nil, err
	}
	return &shape.DeleteSnapshotResult{}, nil
}
