package ec2

import (
	"context"

	shape "karri.dev/internal/aws/shape/ec2"
	"karri.dev/internal/filter"
	"karri.dev/internal/resource"
)

// What snapshots and images have none of here: an archive tier, fast restore, a recycle bin. Lists of it are empty, and
// whatever would change something is refused.

var tierFilters = &filter.Set[*resource.Snapshot]{
	Fields: map[string]func(*resource.Snapshot) []string{
		"snapshot-id": func(s *resource.Snapshot) []string { return one(s.ID) },
		"volume-id":   func(s *resource.Snapshot) []string { return one(s.VolumeID) },
	},
	Never: []string{"last-tiering-operation"},
}

// DescribeSnapshotTierStatus lists the caller's snapshots with their tier, the standard one.
func (s *Service) DescribeSnapshotTierStatus(ctx context.Context, in *shape.DescribeSnapshotTierStatusRequest) (*shape.DescribeSnapshotTierStatusResult, error) {
	info, r, err := s.read(ctx, in, in.DryRun)
	if err != nil {
		return nil, err
	}
	match, err := compile(tierFilters, in.Filters)
	if err != nil {
		return nil, err
	}
	found, next, err := list(s, r, info, snapshots, selection[resource.Snapshot]{
		op: "DescribeSnapshotTierStatus", max: in.MaxResults, token: in.NextToken, match: match, least: 1,
	})
	if err != nil {
		return nil, err
	}
	out := &shape.DescribeSnapshotTierStatusResult{SnapshotTierStatuses: []shape.SnapshotTierStatus{}, NextToken: next}
	for _, snap := range found {
		out.SnapshotTierStatuses = append(out.SnapshotTierStatuses, shape.SnapshotTierStatus{
			SnapshotId: snap.ID, VolumeId: snap.VolumeID, Status: snap.State, OwnerId: snap.AccountID, Tags: shapeTags(snap.Tags), StorageTier: "standard",
		})
	}
	return out, nil
}

// refuseFor refuses what one snapshot of the caller's cannot have.
func (s *Service) refuseFor(ctx context.Context, in any, snapshot, why string) error {
	info, err := s.begin(ctx, in)
	if err != nil {
		return err
	}
	if snapshot == "" {
		return errMissing("SnapshotId")
	}
	if _, err := ownSnapshot(s.Store.Snapshot(), info, snapshot); err != nil {
		return err
	}
	return errUnsupported("%s", why)
}

// ModifySnapshotTier is refused.
func (s *Service) ModifySnapshotTier(ctx context.Context, in *shape.ModifySnapshotTierRequest) (*shape.ModifySnapshotTierResult, error) {
	return nil, s.refuseFor(ctx, in, in.SnapshotId, "There is no archive tier for snapshots here: they share their blocks in the one tier there is.")
}

// RestoreSnapshotTier is refused: no snapshot is archived.
func (s *Service) RestoreSnapshotTier(ctx context.Context, in *shape.RestoreSnapshotTierRequest) (*shape.RestoreSnapshotTierResult, error) {
	return nil, s.refuseFor(ctx, in, in.SnapshotId, "The snapshot is not archived: there is no archive tier for snapshots here.")
}

const noFastRestore = "Fast snapshot restore is not offered: volumes of snapshots fill while they are used."

// EnableFastSnapshotRestores is refused.
func (s *Service) EnableFastSnapshotRestores(ctx context.Context, in *shape.EnableFastSnapshotRestoresRequest) (*shape.EnableFastSnapshotRestoresResult, error) {
	if _, err := s.begin(ctx, in); err != nil {
		return nil, err
	}
	return nil, errUnsupported(noFastRestore)
}

// DisableFastSnapshotRestores is refused: it is enabled nowhere.
func (s *Service) DisableFastSnapshotRestores(ctx context.Context, in *shape.DisableFastSnapshotRestoresRequest) (*shape.DisableFastSnapshotRestoresResult, error) {
	if _, err := s.begin(ctx, in); err != nil {
		return nil, err
	}
	return nil, errUnsupported(noFastRestore)
}

var fastRestoreFilters = &filter.Set[*shape.DescribeFastSnapshotRestoreSuccessItem]{
	Never: []string{"availability-zone", "availability-zone-id", "owner-id", "snapshot-id", "state"},
}

// DescribeFastSnapshotRestores lists where snapshots are restored fast: nowhere.
func (s *Service) DescribeFastSnapshotRestores(ctx context.Context, in *shape.DescribeFastSnapshotRestoresRequest) (*shape.DescribeFastSnapshotRestoresResult, error) {
	info, _, err := s.read(ctx, in, in.DryRun)
	if err != nil {
		return nil, err
	}
	if _, err := compile(fastRestoreFilters, in.Filters); err != nil {
		return nil, err
	}
	if _, _, err := s.page(info, "DescribeFastSnapshotRestores", in.MaxResults, in.NextToken, 1); err != nil {
		return nil, err
	}
	return &shape.DescribeFastSnapshotRestoresResult{FastSnapshotRestores: []shape.DescribeFastSnapshotRestoreSuccessItem{}}, nil
}

// ListSnapshotsInRecycleBin lists deleted snapshots that can be had back: none, for nothing has retention rules.
func (s *Service) ListSnapshotsInRecycleBin(ctx context.Context, in *shape.ListSnapshotsInRecycleBinRequest) (*shape.ListSnapshotsInRecycleBinResult, error) {
	info, _, err := s.read(ctx, in, in.DryRun)
	if err != nil {
		return nil, err
	}
	if _, _, err := s.page(info, "ListSnapshotsInRecycleBin", in.MaxResults, in.NextToken, 0); err != nil {
		return nil, err
	}
	for _, id := range in.SnapshotIds {
		return nil, snapshots.notFound(id)
	}
	return &shape.ListSnapshotsInRecycleBinResult{Snapshots: []shape.SnapshotRecycleBinInfo{}}, nil
}

// RestoreSnapshotFromRecycleBin finds none.
func (s *Service) RestoreSnapshotFromRecycleBin(ctx context.Context, in *shape.RestoreSnapshotFromRecycleBinRequest) (*shape.RestoreSnapshotFromRecycleBinResult, error) {
	if _, err := s.begin(ctx, in); err != nil {
		return nil, err
	}
	return nil, snapshots.notFound(in.SnapshotId)
}

// ListImagesInRecycleBin lists deregistered images that can be had back: none.
func (s *Service) ListImagesInRecycleBin(ctx context.Context, in *shape.ListImagesInRecycleBinRequest) (*shape.ListImagesInRecycleBinResult, error) {
	info, _, err := s.read(ctx, in, in.DryRun)
	if err != nil {
		return nil, err
	}
	if _, _, err := s.page(info, "ListImagesInRecycleBin", in.MaxResults, in.NextToken, 1); err != nil {
		return nil, err
	}
	for _, id := range in.ImageIds {
		return nil, images.notFound(id)
	}
	return &shape.ListImagesInRecycleBinResult{Images: []shape.ImageRecycleBinInfo{}}, nil
}

// RestoreImageFromRecycleBin finds none.
func (s *Service) RestoreImageFromRecycleBin(ctx context.Context, in *shape.RestoreImageFromRecycleBinRequest) (*shape.RestoreImageFromRecycleBinResult, error) {
	if _, err := s.begin(ctx, in); err != nil {
		return nil, err
	}
	return nil, images.notFound(in.ImageId)
}
