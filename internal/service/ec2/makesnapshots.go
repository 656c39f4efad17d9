package ec2

import (
	"context"
	"maps"
	"slices"
	"time"

	"karri.dev/internal/aws/awserr"
	"karri.dev/internal/aws/call"
	shape "karri.dev/internal/aws/shape/ec2"
	"karri.dev/internal/chunks"
	"karri.dev/internal/resource"
	"karri.dev/internal/store"
)

const maxDescription = 255

// CreateSnapshot makes a snapshot of a volume as it is now. Its blocks are stored afterwards.
func (s *Service) CreateSnapshot(ctx context.Context, in *shape.CreateSnapshotRequest) (*shape.CreateSnapshotResult, error) {
	info, err := s.begin(ctx, in)
	if err != nil {
		return nil, err
	}
	if in.VolumeId == "" {
		return nil, errMissing("VolumeId")
	}
	tags, err := snapshotTags(in.Description, in.TagSpecifications)
	if err != nil {
		return nil, err
	}
	var made *resource.Snapshot
	err = s.update(ctx, in.DryRun, func(tx *store.Tx) error {
		v, err := volumes.find(tx, info, in.VolumeId)
		if err != nil {
			return err
		}
		made, err = s.addSnapshot(tx, info, v, in.Description, tags, s.now())
		return err
	})
	if err != nil {
		return nil, err
	}
	made = s.awaitCut(ctx, made)[0]
	out := shapeSnapshot(info, made)
	return &shape.CreateSnapshotResult{
		Description: out.Description, OwnerId: out.OwnerId, Progress: out.Progress, SnapshotId: out.SnapshotId, StartTime: out.StartTime,
		State: out.State, StateMessage: out.StateMessage, VolumeId: out.VolumeId, VolumeSize: out.VolumeSize, Tags: out.Tags, Encrypted: out.Encrypted, KmsKeyId: out.KmsKeyId,
	}, nil
}

func snapshotTags(description string, specs []shape.TagSpecification) (resource.Tags, error) {
	if len(description) > maxDescription {
		return nil, awserr.New("InvalidParameterValue", "The description has more than %d characters.", maxDescription)
	}
	tags, err := tagsOnCreate(specs, "snapshot")
	return tags["snapshot"], err
}

// addSnapshot puts a new snapshot of a volume into the transaction. Those of one instance that began at the same time
// are made at one moment.
func (s *Service) addSnapshot(tx *store.Tx, info *call.Info, v *resource.Volume, description string, tags resource.Tags, now time.Time) (*resource.Snapshot, error) {
	if v.State != resource.VolumeAvailable && v.State != resource.VolumeInUse {
		if v.State == resource.VolumeDeleting {
			return nil, volumes.notFound(v.ID)
		}
		return nil, awserr.New("IncorrectState", "Volume '%s' is in the '%s' state.", v.ID, v.State)
	}
	if z := store.Zones.Get(tx, v.Zone); z != nil && z.StorageGiB > 0 && !z.Snapshots {
		return nil, errUnsupported("Zone %s keeps its volumes away from the cloud's objects: it can make no snapshots.", v.Zone)
	}
	snap := &resource.Snapshot{
		Owned: s.owned(info, tags), ID: s.IDs.Resource("snap-"), VolumeID: v.ID, SizeGiB: v.SizeGiB, Description: description, State: "pending",
		Zone: v.Zone, Format: v.Format, Base: v.Base, Encrypted: v.Encrypted, Key: v.Key, Lineage: v.Lineage,
	}
	snap.CreatedAt = now
	var last *resource.Snapshot
	for old := range store.SnapshotsByVolume.By(tx, v.ID) {
		if old.State == "completed" && old.Data.Format == chunks.Format && (last == nil || old.CreatedAt.After(last.CreatedAt)) {
			last = old
		}
	}
	if last != nil {
		snap.Since = last.ID
	}
	return snap, store.Snapshots.Put(tx, snap)
}

// awaitCut waits until it is settled what is in new snapshots, so that what is written after the call is not. Whoever
// settles it may be away: then it is what it will find. It gives the snapshots as they are.
func (s *Service) awaitCut(ctx context.Context, list ...*resource.Snapshot) []*resource.Snapshot {
	list = slices.Clone(list)
	feed := s.Store.Feed(store.Snapshots)
	defer feed.Close()
	ctx, cancel := context.WithTimeout(ctx, s.cfg.SnapshotPatience)
	defer cancel()
	for {
		r, waiting := s.Store.Snapshot(), false
		for i, snap := range list {
			if now := store.Snapshots.Get(r, snap.ID); now != nil {
				list[i] = now
				waiting = waiting || now.State == "pending" && now.CutAt.IsZero()
			}
		}
		if !waiting {
			return list
		}
		if _, _, err := feed.Next(ctx); err != nil {
			return list
		}
	}
}

// CreateSnapshots makes snapshots of an instance's volumes, all of the same moment.
func (s *Service) CreateSnapshots(ctx context.Context, in *shape.CreateSnapshotsRequest) (*shape.CreateSnapshotsResult, error) {
	info, err := s.begin(ctx, in)
	if err != nil {
		return nil, err
	}
	if in.InstanceSpecification == nil || in.InstanceSpecification.InstanceId == "" {
		return nil, errMissing("InstanceSpecification.InstanceId")
	}
	if err := oneOf("CopyTagsFromSource", in.CopyTagsFromSource, "volume"); err != nil {
		return nil, err
	}
	tags, err := snapshotTags(in.Description, in.TagSpecifications)
	if err != nil {
		return nil, err
	}
	var made []*resource.Snapshot
	err = s.update(ctx, in.DryRun, func(tx *store.Tx) error {
		made = nil
		spec, now := in.InstanceSpecification, s.now()
		inst, err := instances.find(tx, info, spec.InstanceId)
		if err != nil {
			return err
		}
		if inst.State != resource.Running && inst.State != resource.Stopped && inst.State != resource.Stopping {
			return errInstanceState(inst.ID, string(inst.State))
		}
		left := slices.Clone(spec.ExcludeDataVolumeIds)
		for _, v := range volumesOf(tx, inst) {
			root := v.Attachment.Device == inst.RootDevice
			if i := slices.Index(left, v.ID); i >= 0 {
				if root {
					return awserr.New("InvalidParameterValue", "Volume %s is the root volume: exclude it with ExcludeBootVolume.", v.ID)
				}
				left = slices.Delete(left, i, i+1)
				continue
			}
			if root && isTrue(spec.ExcludeBootVolume) {
				continue
			}
			own := maps.Clone(tags)
			if in.CopyTagsFromSource == "volume" {
				own = maps.Clone(v.Tags)
				if own == nil {
					own = resource.Tags{}
				}
				maps.Copy(own, tags)
				if len(own) > maxTags {
					return errTagLimit()
				}
			}
			snap, err := s.addSnapshot(tx, info, v, in.Description, own, now)
			if err != nil {
				return err
			}
			made = append(made, snap)
		}
		switch {
		case len(left) > 0:
			return awserr.New("InvalidParameterValue", "Volume %s is not attached to instance %s.", left[0], inst.ID)
		case len(made) == 0:
			return awserr.New("InvalidParameterValue", "Instance %s has no volumes of which snapshots can be made.", inst.ID)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	out := &shape.CreateSnapshotsResult{}
	for _, snap := range s.awaitCut(ctx, made...) {
		v := shapeSnapshot(info, snap)
		out.Snapshots = append(out.Snapshots, shape.SnapshotInfo{
			Description: v.Description, Tags: v.Tags, VolumeId: v.VolumeId, State: v.State, VolumeSize: v.VolumeSize,
			StartTime: v.StartTime, Progress: v.Progress, OwnerId: v.OwnerId, SnapshotId: v.SnapshotId, Encrypted: v.Encrypted,
		})
	}
	return out, nil
}

// CopySnapshot makes a snapshot of the caller's that has the same data as another: nothing is copied, since data never
// changes.
func (s *Service) CopySnapshot(ctx context.Context, in *shape.CopySnapshotRequest) (*shape.CopySnapshotResult, error) {
	info, err := s.begin(ctx, in)
	if err != nil {
		return nil, err
	}
	switch {
	case in.SourceRegion == "":
		return nil, errMissing("SourceRegion")
	case in.SourceSnapshotId == "":
		return nil, errMissing("SourceSnapshotId")
	case in.SourceRegion != info.Region, in.DestinationRegion != "" && in.DestinationRegion != info.Region:
		return nil, awserr.New("InvalidParameterValue", "Value (%s) for parameter SourceRegion is invalid. This cloud has the one region %s.", in.SourceRegion, info.Region)
	}
	tags, err := snapshotTags(in.Description, in.TagSpecifications)
	if err != nil {
		return nil, err
	}
	var made *resource.Snapshot
	err = s.update(ctx, in.DryRun, func(tx *store.Tx) error {
		from, err := findSnapshot(tx, info, in.SourceSnapshotId)
		if err != nil {
			return err
		}
		if from.State != "completed" {
			return awserr.New("IncorrectState", "The snapshot '%s' is in the '%s' state.", from.ID, from.State)
		}
		made = s.copyOf(info, from, in.Description, tags)
		made.Encrypted = made.Encrypted || isTrue(in.Encrypted) || encryptsByDefault(tx, info)
		return store.Snapshots.Put(tx, made)
	})
	if err != nil {
		return nil, err
	}
	return &shape.CopySnapshotResult{SnapshotId: made.ID, Tags: shapeTags(made.Tags)}, nil
}
