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

// exportProbe is the object that AWS leaves beside exports, to see that it may write there.
const exportProbe = "vmimportexport_write_verification"

// ExportImage begins to write an image's disk into the caller's bucket, with the role of imports.
func (s *Service) ExportImage(ctx context.Context, in *shape.ExportImageRequest) (*shape.ExportImageResult, error) {
	info, err := s.begin(ctx, in)
	if err != nil {
		return nil, err
	}
	switch {
	case in.ImageId == "":
		return nil, errMissing("ImageId")
	case in.DiskImageFormat == "":
		return nil, errMissing("DiskImageFormat")
	case in.S3ExportLocation == nil || in.S3ExportLocation.S3Bucket == "":
		return nil, errMissing("S3ExportLocation.S3Bucket")
	case len(in.S3ExportLocation.S3Prefix) > 512:
		return nil, errValue(in.S3ExportLocation.S3Prefix, "s3Prefix")
	case len(in.ClientToken) > maxClientToken:
		return nil, errValue(in.ClientToken, "clientToken")
	case len(in.Description) > 255:
		return nil, awserr.New("InvalidParameterValue", "The description has more than 255 characters.")
	}
	if err := oneOf("diskImageFormat", strings.ToUpper(in.DiskImageFormat), "VMDK", "RAW", "VHD"); err != nil {
		return nil, err
	}
	tags, err := tagsOnCreate(in.TagSpecifications, exportTasks.name)
	if err != nil {
		return nil, err
	}
	task := &resource.ExportTask{
		Owned: s.owned(info, tags[exportTasks.name]), ID: s.IDs.Resource(exportTasks.prefix), ClientToken: in.ClientToken, Description: in.Description,
		ImageID: imageID(in.ImageId), Format: strings.ToLower(in.DiskImageFormat), RoleName: in.RoleName,
		Bucket: in.S3ExportLocation.S3Bucket, Prefix: in.S3ExportLocation.S3Prefix, Status: importActive, StatusMessage: "pending",
	}
	if _, err := exportable(s.Store.Snapshot(), info, in.ImageId); err != nil {
		return nil, err
	}
	if in.DryRun == nil || !*in.DryRun {
		role, name, who, err := s.takeRole(ctx, info, in.RoleName, "PutObject")
		if err != nil {
			return nil, err
		}
		if name != "" {
			task.RoleName = name
		}
		if b := store.Buckets.Get(s.Store.Snapshot(), task.Bucket); b != nil && b.AccountID != info.AccountID {
			return nil, awserr.New("InvalidParameter", "The bucket %s is not the account's", task.Bucket)
		}
		if err := s.Objects.Probe(role, task.Bucket, task.Prefix+exportProbe); err != nil {
			if awserr.Code(err) == "" {
				return nil, err
			}
			return nil, awserr.New("InvalidParameter", "The bucket %s does not exist, or cannot be written by %s: %s", task.Bucket, who, awserr.From(err).Message).Because(err)
		}
	}
	made := task
	err = s.update(ctx, in.DryRun, func(tx *store.Tx) error {
		made = task
		if in.ClientToken != "" {
			for old := range store.ExportTasksByOwner.By(tx, ownerKey(info)) {
				if old.ClientToken != in.ClientToken {
					continue
				}
				if old.ImageID != task.ImageID || old.Format != task.Format || old.Bucket != task.Bucket || old.Prefix != task.Prefix || old.Description != task.Description {
					return awserr.New("IdempotentParameterMismatch", "The client token was used before with other parameters.")
				}
				made = old
				return nil
			}
		}
		if task.Data, err = exportable(tx, info, in.ImageId); err != nil {
			return err
		}
		return store.ExportTasks.Put(tx, task)
	})
	if err != nil {
		return nil, err
	}
	t := shapeExport(nil, made)
	return &shape.ExportImageResult{
		Description: t.Description, DiskImageFormat: strings.ToUpper(made.Format), ExportImageTaskId: t.ExportImageTaskId, ImageId: t.ImageId, RoleName: made.RoleName,
		Progress: t.Progress, S3ExportLocation: t.S3ExportLocation, Status: t.Status, StatusMessage: t.StatusMessage, Tags: t.Tags,
	}, nil
}

// exportable gives the data of an image's root disk, if it is one that can be exported: of an image made of snapshots it is
// the root device's.
func exportable(r store.Reader, info *call.Info, id string) (data resource.ImageData, err error) {
	img, err := ownImage(r, info, id)
	switch {
	case err != nil:
		return data, err
	case img.State != resource.ImageAvailable:
		return data, awserr.New("IncorrectState", "The image %s is %s: only an available one can be exported.", img.ID, img.State)
	case img.Kind != "machine":
		return data, awserr.New("InvalidParameter", "The image %s is a %s: only machine images can be exported.", img.ID, img.Kind)
	case img.Data.Key != "":
		return img.Data, nil
	}
	root := slices.IndexFunc(img.Mappings, func(m resource.ImageMapping) bool { return sameDevice(m.Device, img.RootDeviceName) })
	if root < 0 {
		return data, errUnsupported("The image %s has no root disk.", img.ID)
	}
	snap := store.Snapshots.Get(r, img.Mappings[root].SnapshotID)
	switch {
	case snap == nil || snap.State != "completed":
		return data, awserr.New("IncorrectState", "The snapshot of the image %s is not there.", img.ID)
	case snap.Encrypted:
		return data, awserr.New("InvalidParameter", "The image %s has an encrypted snapshot: such images cannot be exported.", img.ID)
	case snap.AccountID != info.AccountID:
		return data, awserr.New("InvalidParameter", "The snapshot of the image %s is another account's: copy the image, and export the copy.", img.ID)
	}
	return snap.Data, nil
}

func shapeExport(_ store.Reader, t *resource.ExportTask) shape.ExportImageTask {
	out := shape.ExportImageTask{
		Description: t.Description, ExportImageTaskId: t.ID, ImageId: t.ImageID, Status: t.Status, StatusMessage: t.StatusMessage, Tags: shapeTags(t.Tags),
		S3ExportLocation: &shape.ExportTaskS3Location{S3Bucket: t.Bucket, S3Prefix: t.Prefix},
	}
	if t.Status == importActive {
		out.Progress = strconv.Itoa(t.Progress)
	}
	return out
}

var exportFilters = &filter.Set[*resource.ExportTask]{
	Fields: map[string]func(*resource.ExportTask) []string{
		"task-state": func(t *resource.ExportTask) []string { return one(t.Status) },
	},
	Tags: func(t *resource.ExportTask) map[string]string { return t.Tags },
}

// DescribeExportImageTasks lists the tasks of ExportImage.
func (s *Service) DescribeExportImageTasks(ctx context.Context, in *shape.DescribeExportImageTasksRequest) (*shape.DescribeExportImageTasksResult, error) {
	info, r, err := s.read(ctx, in, in.DryRun)
	if err != nil {
		return nil, err
	}
	match, err := compile(exportFilters, in.Filters)
	if err != nil {
		return nil, err
	}
	list, next, err := list(s, r, info, exportTasks, selection[resource.ExportTask]{
		op: "DescribeExportImageTasks", ids: in.ExportImageTaskIds, max: in.MaxResults, token: in.NextToken, match: match, least: 1,
	})
	if err != nil {
		return nil, err
	}
	return &shape.DescribeExportImageTasksResult{ExportImageTasks: showAll(r, list, shapeExport), NextToken: next}, nil
}

// CancelExportTask asks the importer to give an export up.
func (s *Service) CancelExportTask(ctx context.Context, in *shape.CancelExportTaskRequest) (*shape.CancelExportTaskResult, error) {
	info, err := s.begin(ctx, in)
	if err != nil {
		return nil, err
	}
	if in.ExportTaskId == "" {
		return nil, errMissing("exportTaskId")
	}
	err = s.update(ctx, nil, func(tx *store.Tx) error {
		task, err := exportTasks.find(tx, info, in.ExportTaskId)
		if err != nil {
			return err
		}
		switch task.Status {
		case importCompleted, importDeleted:
			return awserr.New("IncorrectState", "The export task '%s' is %s and cannot be cancelled.", task.ID, task.Status)
		case importDeleting:
			return nil
		}
		next := *task
		next.Cancel, next.Status, next.StatusMessage = true, importDeleting, "cancelled by the user"
		return store.ExportTasks.Put(tx, &next)
	})
	if err != nil {
		return nil, err
	}
	return &shape.CancelExportTaskResult{}, nil
}
