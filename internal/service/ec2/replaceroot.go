package ec2

import (
	"context"
	"time"

	"karri.dev/internal/aws/awserr"
	"karri.dev/internal/aws/call"
	shape "karri.dev/internal/aws/shape/ec2"
	"karri.dev/internal/filter"
	"karri.dev/internal/resource"
	"karri.dev/internal/store"
)

// CreateReplaceRootVolumeTask gives a running instance another root volume: as at its launch, of a snapshot of the present
// one, or of an image. The guest is restarted on it; everything else stays.
func (s *Service) CreateReplaceRootVolumeTask(ctx context.Context, in *shape.CreateReplaceRootVolumeTaskRequest) (*shape.CreateReplaceRootVolumeTaskResult, error) {
	info, err := s.begin(ctx, in)
	if err != nil {
		return nil, err
	}
	switch {
	case in.InstanceId == "":
		return nil, errMissing("InstanceId")
	case in.SnapshotId != "" && in.ImageId != "":
		return nil, errCombination("The parameters SnapshotId and ImageId cannot be used together.")
	}
	tags, err := tagsOnCreate(in.TagSpecifications, rootTasks.name)
	if err != nil {
		return nil, err
	}
	token, err := tokenOfRequest(in)
	if err != nil {
		return nil, err
	}
	var made *resource.RootVolumeTask
	err = s.update(ctx, in.DryRun, func(tx *store.Tx) error {
		for old := range store.RootVolumeTasksByOwner.By(tx, ownerKey(info)) {
			if token.same(old.Token) {
				made = old
				return token.check(old.Token)
			}
		}
		inst, err := instances.find(tx, info, in.InstanceId)
		switch {
		case err != nil:
			return err
		case inst.RootDevice == "":
			return errNotEBS(inst, "given another root volume")
		case inst.State != resource.Running || inst.Power != resource.PowerOn:
			return errInstanceState(inst.ID, string(inst.State))
		}
		for open := range store.RootVolumeTasksOpen.By(tx, inst.ID) {
			return awserr.New("IncorrectState", "The root volume of the instance '%s' is being replaced already, by the task '%s'.", inst.ID, open.ID)
		}
		have := volumesOf(tx, inst)
		if len(have) == 0 || have[0].Attachment.Device != inst.RootDevice || have[0].Attachment.State != resource.Attached {
			return awserr.New("IncorrectState", "The instance '%s' has no attached root volume.", inst.ID)
		}
		made = &resource.RootVolumeTask{
			Owned: s.owned(info, tags[rootTasks.name]), ID: s.IDs.Resource(rootTasks.prefix), InstanceID: inst.ID, Old: have[0].ID,
			DeleteOld: isTrue(in.DeleteReplacedRootVolume), Token: token.token, State: "pending",
		}
		v, err := s.replacement(tx, info, inst, have[0], in, made)
		if err != nil {
			return err
		}
		if err := s.addVolume(tx, v); err != nil {
			return err
		}
		return store.RootVolumeTasks.Put(tx, made)
	})
	if err != nil {
		return nil, err
	}
	out := shapeRootTask(made)
	return &shape.CreateReplaceRootVolumeTaskResult{ReplaceRootVolumeTask: &out}, nil
}

// replacement makes the record of a new root volume: like the old one, of other data.
func (s *Service) replacement(tx *store.Tx, info *call.Info, inst *resource.Instance, old *resource.Volume, in *shape.CreateReplaceRootVolumeTaskRequest, task *resource.RootVolumeTask) (*resource.Volume, error) {
	v := &resource.Volume{
		Owned: s.owned(info, nil), ID: s.IDs.Resource("vol-"), Zone: old.Zone, Type: old.Type, State: resource.VolumeCreating,
		Lineage: old.Descent(), LaunchSnapshot: pick(old.LaunchSnapshot, old.SnapshotID),
	}
	task.New = v.ID
	var snap *resource.Snapshot
	var err error
	switch {
	case in.ImageId != "":
		task.ImageID = imageID(in.ImageId)
		if snap, err = rootOfImage(tx, info, inst, task.ImageID); err != nil {
			return nil, err
		}
		v.Lineage, v.LaunchSnapshot = "", "" // nothing of the old one is in it
	case in.SnapshotId != "":
		task.SnapshotID = in.SnapshotId
		if snap, err = findSnapshot(tx, info, in.SnapshotId); err != nil {
			return nil, err
		}
		if snap.Descent() != old.Descent() && snap.ID != v.LaunchSnapshot {
			return nil, awserr.New("InvalidParameterValue", "The snapshot '%s' is not one of the root volume of the instance '%s'.", snap.ID, inst.ID)
		}
	default:
		if snap = store.Snapshots.Get(tx, v.LaunchSnapshot); snap == nil {
			return nil, awserr.New("InvalidSnapshot.NotFound", "The snapshot '%s', of which the root volume was made, does not exist.", v.LaunchSnapshot)
		}
	}
	d := disk{kind: old.Type, gib: max(old.SizeGiB, snap.SizeGiB), encrypts: old.Encrypted || EncryptsByDefault(tx, info)}
	if old.IOPS > 0 {
		d.iops = &old.IOPS
	}
	if old.Throughput > 0 {
		d.throughput = &old.Throughput
	}
	return v, s.fillVolume(v, d, snap)
}

// rootOfImage gives the snapshot of the root disk of an image that can take the place of an instance's own.
func rootOfImage(r store.Reader, info *call.Info, inst *resource.Instance, id string) (*resource.Snapshot, error) {
	img := store.Images.Get(r, id)
	switch {
	case !wellFormed("ami-", id):
		return nil, awserr.New(images.malformed, "Invalid id: \"%s\" (expecting \"%s...\")", id, images.prefix)
	case img == nil || img.Region != info.Region || !visible(info, img):
		return nil, images.notFound(id)
	case img.State != resource.ImageAvailable:
		return nil, awserr.New("InvalidAMIID.Unavailable", "The image ID '%s' is not available", id)
	case img.RootDeviceType != "ebs":
		return nil, errUnsupported("The image '%s' has no 'ebs' root device.", id)
	}
	// What the machine is made of stays as it is.
	if was := store.Images.Get(r, inst.ImageID); was != nil && (was.Architecture != img.Architecture || was.UEFI() != img.UEFI() || was.FileSystem != img.FileSystem) {
		return nil, awserr.New("InvalidParameterValue", "The image '%s' does not have the architecture and boot mode of the instance '%s'.", id, inst.ID)
	}
	for _, m := range img.Mappings {
		if sameDevice(m.Device, img.RootDeviceName) && m.SnapshotID != "" {
			if snap := store.Snapshots.Get(r, m.SnapshotID); snap != nil {
				return snap, nil
			}
		}
	}
	return nil, errUnsupported("The image '%s' has no snapshot of its root disk.", id)
}

func shapeRootTask(t *resource.RootVolumeTask) shape.ReplaceRootVolumeTask {
	out := shape.ReplaceRootVolumeTask{
		ReplaceRootVolumeTaskId: t.ID, InstanceId: t.InstanceID, TaskState: t.State, StartTime: t.CreatedAt.UTC().Format(time.RFC3339), Tags: shapeTags(t.Tags),
		ImageId: t.ImageID, SnapshotId: t.SnapshotID, DeleteReplacedRootVolume: t.DeleteOld,
	}
	if !t.CompletedAt.IsZero() {
		out.CompleteTime = t.CompletedAt.UTC().Format(time.RFC3339)
	}
	return out
}

var rootTaskFilters = &filter.Set[*resource.RootVolumeTask]{
	Fields: map[string]func(*resource.RootVolumeTask) []string{
		"instance-id": func(t *resource.RootVolumeTask) []string { return one(t.InstanceID) },
	},
	Tags: func(t *resource.RootVolumeTask) map[string]string { return t.Tags },
}

// DescribeReplaceRootVolumeTasks lists the tasks.
func (s *Service) DescribeReplaceRootVolumeTasks(ctx context.Context, in *shape.DescribeReplaceRootVolumeTasksRequest) (*shape.DescribeReplaceRootVolumeTasksResult, error) {
	info, r, err := s.read(ctx, in, in.DryRun)
	if err != nil {
		return nil, err
	}
	match, err := compile(rootTaskFilters, in.Filters)
	if err != nil {
		return nil, err
	}
	found, next, err := list(s, r, info, rootTasks, selection[resource.RootVolumeTask]{
		op: "DescribeReplaceRootVolumeTasks", ids: in.ReplaceRootVolumeTaskIds, max: in.MaxResults, token: in.NextToken, match: match, least: 1,
	})
	if err != nil {
		return nil, err
	}
	out := &shape.DescribeReplaceRootVolumeTasksResult{ReplaceRootVolumeTasks: []shape.ReplaceRootVolumeTask{}, NextToken: next}
	for _, t := range found {
		out.ReplaceRootVolumeTasks = append(out.ReplaceRootVolumeTasks, shapeRootTask(t))
	}
	return out, nil
}
