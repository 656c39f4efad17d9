package ec2

import (
	"context"
	"encoding/base64"
	"errors"
	"path"
	"strconv"

	"karri.dev/internal/aws/awserr"
	shape "karri.dev/internal/aws/shape/ec2"
	"karri.dev/internal/bundle"
	"karri.dev/internal/filter"
	"karri.dev/internal/postpolicy"
	"karri.dev/internal/resource"
	"karri.dev/internal/store"
)

// BundleInstance begins to make a bundle of the root disk of an instance-store instance. The guest is restarted for it.
func (s *Service) BundleInstance(ctx context.Context, in *shape.BundleInstanceRequest) (*shape.BundleInstanceResult, error) {
	info, err := s.begin(ctx, in)
	if err != nil {
		return nil, err
	}
	switch {
	case in.InstanceId == "":
		return nil, errMissing("instanceId")
	case in.Storage == nil || in.Storage.S3 == nil:
		return nil, errMissing("storage")
	}
	to := in.Storage.S3
	for _, p := range [][2]string{
		{"bucket", to.Bucket},
		{"prefix", to.Prefix},
		{"awsAccessKeyId", to.AWSAccessKeyId},
		{"uploadPolicy", string(to.UploadPolicy)},
		{"uploadPolicySignature", to.UploadPolicySignature},
	} {
		if p[1] == "" {
			return nil, errMissing(p[0])
		}
	}
	now := s.now()
	task := &resource.BundleTask{
		Owned: s.owned(info, nil), ID: s.IDs.Resource(bundleTasks.prefix), InstanceID: in.InstanceId, SnapshotID: s.IDs.Resource(snapshots.prefix),
		Bucket: to.Bucket, Prefix: to.Prefix, State: resource.BundlePending, UpdatedAt: now,
		Upload: resource.BundleUpload{AccessKeyID: to.AWSAccessKeyId, Policy: base64.StdEncoding.EncodeToString(to.UploadPolicy), Signature: to.UploadPolicySignature},
	}
	if !bundle.ValidName(path.Base(to.Prefix)) || len(to.Prefix) > 900 {
		return nil, errValue(to.Prefix, "prefix")
	}
	if err := s.uploadable(task); err != nil {
		return nil, err
	}
	err = s.update(ctx, in.DryRun, func(tx *store.Tx) error {
		inst, err := instances.find(tx, info, in.InstanceId)
		switch {
		case err != nil:
			return err
		case inst.RootDevice != "":
			return errUnsupported("The instance '%s' has an 'ebs' root device type and cannot be bundled: make an image of it with CreateImage.", inst.ID)
		case inst.State != resource.Running:
			return errInstanceState(inst.ID, string(inst.State))
		}
		for old := range store.BundleTasksByOwner.By(tx, ownerKey(info)) {
			if old.InstanceID == inst.ID && old.Open() {
				return awserr.New("BundlingInProgress", "The instance '%s' is being bundled by the task %s.", inst.ID, old.ID)
			}
		}
		if z := store.Zones.Get(tx, inst.Zone); z != nil && z.StorageGiB > 0 && !z.Snapshots {
			return errUnsupported("Zone %s is away from the cloud's objects: its instances cannot be bundled.", inst.Zone)
		}
		if n := store.Nodes.Get(tx, inst.Node); n == nil || !n.Local {
			return errUnsupported("The instance '%s' runs on a host of its own: it cannot be bundled.", inst.ID)
		}
		made := *task
		made.KernelID, made.RamdiskID = inst.KernelID, inst.RamdiskID
		snap := &resource.Snapshot{
			Owned: resource.Owned{Region: info.Region, CreatedAt: now}, ID: task.SnapshotID, RootOf: inst.ID, SizeGiB: inst.DiskGiB, State: "pending",
			Zone: inst.Zone, Reboot: true,
		}
		task = &made
		return errors.Join(store.Snapshots.Put(tx, snap), store.BundleTasks.Put(tx, task))
	})
	if err != nil {
		return nil, err
	}
	out := shapeBundleTask(nil, task)
	return &shape.BundleInstanceResult{BundleTask: &out}, nil
}

// uploadable looks whether a task's policy lets its files be uploaded, before a guest is restarted for it. Whose
// signature it is, and what he may write, turns out at the upload.
func (s *Service) uploadable(t *resource.BundleTask) error {
	p, err := postpolicy.Parse(t.Upload.Policy)
	if err == nil {
		for _, name := range []string{".part.0", ".manifest.xml"} {
			fields := t.Upload.Fields(t.Prefix + name)
			if err = p.Check(map[string]string{"key": fields["key"], "acl": fields["acl"]}, t.Bucket, s.now()); err != nil {
				break
			}
		}
	}
	var bad *postpolicy.Error
	if errors.As(err, &bad) {
		return awserr.New("InvalidParameterValue", "The upload policy does not allow what is needed: %s", bad.Reason)
	}
	if err == nil && p.Most < bundle.PartSize {
		return awserr.New("InvalidParameterValue", "The upload policy allows files of %d bytes, and the parts of a bundle have up to %d.", p.Most, bundle.PartSize)
	}
	return err
}

func shapeBundleTask(_ store.Reader, t *resource.BundleTask) shape.BundleTask {
	out := shape.BundleTask{
		BundleId: t.ID, InstanceId: t.InstanceID, Progress: strconv.Itoa(t.Progress) + "%", StartTime: t.CreatedAt, State: t.State, UpdateTime: t.UpdatedAt,
		Storage: &shape.Storage{S3: &shape.S3Storage{Bucket: t.Bucket, Prefix: t.Prefix}},
	}
	if t.Code != "" {
		out.BundleTaskError = &shape.BundleTaskError{Code: t.Code, Message: t.Message}
	}
	return out
}

var bundleFilters = &filter.Set[*resource.BundleTask]{
	Fields: map[string]func(*resource.BundleTask) []string{
		"bundle-id":     func(t *resource.BundleTask) []string { return one(t.ID) },
		"error-code":    func(t *resource.BundleTask) []string { return one(t.Code) },
		"error-message": func(t *resource.BundleTask) []string { return one(t.Message) },
		"instance-id":   func(t *resource.BundleTask) []string { return one(t.InstanceID) },
		"progress":      func(t *resource.BundleTask) []string { return one(strconv.Itoa(t.Progress) + "%") },
		"s3-bucket":     func(t *resource.BundleTask) []string { return one(t.Bucket) },
		"s3-prefix":     func(t *resource.BundleTask) []string { return one(t.Prefix) },
		"start-time":    func(t *resource.BundleTask) []string { return one(awsTime(t.CreatedAt)) },
		"state":         func(t *resource.BundleTask) []string { return one(t.State) },
		"update-time":   func(t *resource.BundleTask) []string { return one(awsTime(t.UpdatedAt)) },
	},
}

// DescribeBundleTasks lists the tasks of BundleInstance.
func (s *Service) DescribeBundleTasks(ctx context.Context, in *shape.DescribeBundleTasksRequest) (*shape.DescribeBundleTasksResult, error) {
	info, r, err := s.read(ctx, in, in.DryRun)
	if err != nil {
		return nil, err
	}
	match, err := compile(bundleFilters, in.Filters)
	if err != nil {
		return nil, err
	}
	list, _, err := list(s, r, info, bundleTasks, selection[resource.BundleTask]{op: "DescribeBundleTasks", ids: in.BundleIds, match: match})
	if err != nil {
		return nil, err
	}
	return &shape.DescribeBundleTasksResult{BundleTasks: showAll(r, list, shapeBundleTask)}, nil
}

// CancelBundleTask asks the importer to give a bundle up. The guest is restarted all the same if that has begun.
func (s *Service) CancelBundleTask(ctx context.Context, in *shape.CancelBundleTaskRequest) (*shape.CancelBundleTaskResult, error) {
	info, err := s.begin(ctx, in)
	if err != nil {
		return nil, err
	}
	if in.BundleId == "" {
		return nil, errMissing("bundleId")
	}
	var next resource.BundleTask
	err = s.update(ctx, in.DryRun, func(tx *store.Tx) error {
		task, err := bundleTasks.find(tx, info, in.BundleId)
		if err != nil {
			return err
		}
		if !task.Open() {
			return awserr.New("IncorrectState", "The bundle task '%s' is %s and cannot be cancelled.", task.ID, task.State)
		}
		next = *task
		next.State, next.UpdatedAt = resource.BundleCancelling, s.now()
		return store.BundleTasks.Put(tx, &next)
	})
	if err != nil {
		return nil, err
	}
	out := shapeBundleTask(nil, &next)
	return &shape.CancelBundleTaskResult{BundleTask: &out}, nil
}
