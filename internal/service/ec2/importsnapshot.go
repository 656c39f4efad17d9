package ec2

import (
	"context"
	"strconv"
	"strings"

	"karri.dev/internal/aws/awserr"
	shape "karri.dev/internal/aws/shape/ec2"
	"karri.dev/internal/resource"
	"karri.dev/internal/store"
)

// ImportSnapshot begins to make a snapshot of a disk in S3.
func (s *Service) ImportSnapshot(ctx context.Context, in *shape.ImportSnapshotRequest) (*shape.ImportSnapshotResult, error) {
	info, err := s.begin(ctx, in)
	if err != nil {
		return nil, err
	}
	switch {
	case in.DiskContainer == nil:
		return nil, errMissing("DiskContainer")
	case len(in.ClientToken) > maxClientToken:
		return nil, errValue(in.ClientToken, "clientToken")
	case len(in.Description) > 255:
		return nil, awserr.New("InvalidParameterValue", "The description has more than 255 characters.")
	case strings.EqualFold(in.DiskContainer.Format, "ova"):
		return nil, awserr.New("InvalidParameter", "The disk container format 'OVA' is not supported for snapshots: use RAW, VHD, VHDX, VMDK or QCOW2.")
	}
	c := in.DiskContainer
	disk, err := diskOf(&shape.ImageDiskContainer{Description: c.Description, Format: c.Format, Url: c.Url, UserBucket: c.UserBucket})
	if err != nil {
		return nil, err
	}
	tags, err := tagsOnCreate(in.TagSpecifications, snapshotImports.name)
	if err != nil {
		return nil, err
	}
	task := &resource.ImportTask{
		Owned: s.owned(info, tags[snapshotImports.name]), ID: s.IDs.Resource(snapshotImports.prefix), SnapshotID: s.IDs.Resource("snap-"), ClientToken: in.ClientToken,
		Description: in.Description, RoleName: in.RoleName, Disks: []resource.ImportDisk{disk}, Status: importActive, StatusMessage: "pending",
	}
	if err := s.mayImport(ctx, info, task); err != nil {
		return nil, err
	}
	made, err := s.beginImport(ctx, info, in.DryRun, task)
	if err != nil {
		return nil, err
	}
	t := shapeSnapshotImport(nil, made)
	return &shape.ImportSnapshotResult{Description: t.Description, ImportTaskId: t.ImportTaskId, SnapshotTaskDetail: t.SnapshotTaskDetail, Tags: t.Tags}, nil
}

func shapeSnapshotImport(_ store.Reader, t *resource.ImportTask) shape.ImportSnapshotTask {
	d := t.Disks[0]
	detail := &shape.SnapshotTaskDetail{
		Description: t.Description, DiskImageSize: float64(d.Size), Format: strings.ToUpper(d.Format), Status: t.Status, StatusMessage: t.StatusMessage,
		UserBucket: &shape.UserBucketDetails{S3Bucket: d.Bucket, S3Key: d.Key},
	}
	switch t.Status {
	case importCompleted:
		detail.SnapshotId = t.SnapshotID
	case importActive:
		detail.Progress = strconv.Itoa(t.Progress)
	}
	return shape.ImportSnapshotTask{Description: t.Description, ImportTaskId: t.ID, SnapshotTaskDetail: detail, Tags: shapeTags(t.Tags)}
}

// DescribeImportSnapshotTasks lists the tasks of ImportSnapshot.
func (s *Service) DescribeImportSnapshotTasks(ctx context.Context, in *shape.DescribeImportSnapshotTasksRequest) (*shape.DescribeImportSnapshotTasksResult, error) {
	info, r, err := s.read(ctx, in, in.DryRun)
	if err != nil {
		return nil, err
	}
	match, err := compile(importFilters, in.Filters)
	if err != nil {
		return nil, err
	}
	list, next, err := list(s, r, info, snapshotImports, selection[resource.ImportTask]{
		op: "DescribeImportSnapshotTasks", ids: in.ImportTaskIds, max: in.MaxResults, token: in.NextToken, least: 1,
		match: func(t *resource.ImportTask) bool { return t.SnapshotID != "" && (match == nil || match(t)) },
	})
	if err != nil {
		return nil, err
	}
	return &shape.DescribeImportSnapshotTasksResult{ImportSnapshotTasks: showAll(r, list, shapeSnapshotImport), NextToken: next}, nil
}
