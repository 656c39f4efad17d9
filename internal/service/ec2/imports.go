package ec2

import (
	"context"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"karri.dev/internal/aws/awserr"
	"karri.dev/internal/aws/call"
	shape "karri.dev/internal/aws/shape/ec2"
	"karri.dev/internal/filter"
	"karri.dev/internal/resource"
	"karri.dev/internal/store"
)

// defaultRole is the role that AWS's importer takes when none is named.
const defaultRole = "vmimport"

// longestImport is how long the session of an import lasts; what is asked for with it is asked at its beginning.
const longestImport = time.Hour

// States of import tasks.
const (
	importActive    = "active"
	importCompleted = "completed"
	importDeleting  = "deleting"
	importDeleted   = "deleted"
)

// diskOf checks one disk container.
func diskOf(c *shape.ImageDiskContainer) (resource.ImportDisk, error) {
	d := resource.ImportDisk{Format: strings.ToLower(c.Format), Description: c.Description, DeviceName: c.DeviceName}
	if d.Format == "" {
		return d, errMissing("DiskContainer.Format")
	}
	if !slices.Contains([]string{"raw", "qcow2", "vmdk", "vhd", "vhdx", "ova"}, d.Format) {
		return d, awserr.New("InvalidParameter", "The disk container format '%s' is not supported: use RAW, VHD, VHDX, VMDK, OVA or QCOW2.", c.Format)
	}
	switch {
	case c.Url != "" && c.UserBucket != nil:
		return d, errCombination("The parameters Url and UserBucket of a disk container cannot be used together")
	case c.UserBucket != nil:
		d.Bucket, d.Key = c.UserBucket.S3Bucket, c.UserBucket.S3Key
	case c.Url != "":
		rest, ok := strings.CutPrefix(c.Url, "s3://")
		if !ok {
			return d, awserr.New("InvalidParameter", "The disk container URL '%s' is not supported: it must be s3://BUCKET/KEY.", c.Url)
		}
		d.Bucket, d.Key, _ = strings.Cut(rest, "/")
	}
	if d.Bucket == "" || d.Key == "" {
		return d, awserr.New("MissingParameter", "A disk container must name an S3 object: its bucket and key")
	}
	return d, nil
}

// maxImportDisks is how many disks an import can have; the importer's limit too.
const maxImportDisks = 20

var diskName = regexp.MustCompile(`^/dev/(sd|xvd|vd)[a-z][0-9]{0,2}$`)

// disksOf checks the disk containers of an image: the first is the root disk.
func disksOf(list []shape.ImageDiskContainer) ([]resource.ImportDisk, error) {
	var out []resource.ImportDisk
	names := map[string]bool{}
	for i := range list {
		d, err := diskOf(&list[i])
		if err != nil {
			return nil, err
		}
		if d.DeviceName != "" {
			if !diskName.MatchString(d.DeviceName) {
				return nil, awserr.New("InvalidParameter", "The device name '%s' of a disk container is not valid: use /dev/sda1, /dev/sdb and so on.", d.DeviceName)
			}
			if names[d.DeviceName] || i > 0 && sameDevice(d.DeviceName, defaultRootDevice) {
				return nil, awserr.New("InvalidParameter", "Two disk containers have the device name '%s'.", d.DeviceName)
			}
			names[d.DeviceName] = true
		}
		out = append(out, d)
	}
	return out, nil
}

// importOf checks a request and makes its task.
func importOf(in *shape.ImportImageRequest) (*resource.ImportTask, error) {
	switch {
	case len(in.DiskContainers) == 0:
		return nil, errMissing("DiskContainers")
	case len(in.DiskContainers) > maxImportDisks:
		return nil, awserr.New("InvalidParameter", "At most %d disk containers can be imported into one image.", maxImportDisks)
	case len(in.ClientToken) > maxClientToken:
		return nil, errValue(in.ClientToken, "clientToken")
	case len(in.Description) > 255:
		return nil, awserr.New("InvalidParameterValue", "The description has more than 255 characters.")
	}
	for _, e := range []error{
		oneOf("architecture", in.Architecture, "x86_64", "i386", "arm64"),
		oneOf("bootMode", in.BootMode, "legacy-bios", "uefi", "uefi-preferred"),
		oneOf("hypervisor", in.Hypervisor, "xen"),
		oneOf("licenseType", in.LicenseType, "AWS", "BYOL", "Auto"),
		oneOf("platform", strings.ToLower(in.Platform), "linux", "windows"),
	} {
		if e != nil {
			return nil, e
		}
	}
	switch {
	case in.Architecture == "i386":
		return nil, errUnsupported("The architecture '%s' is not supported by this cloud.", in.Architecture)
	case in.Architecture == "arm64" && in.BootMode == "legacy-bios":
		return nil, errCombination("Images of the architecture arm64 boot by UEFI: the boot mode legacy-bios cannot be used with it")
	case in.LicenseType == "AWS":
		return nil, errUnsupported("This cloud gives no licences: bring your own.")
	case in.UsageOperation != "" && in.UsageOperation != "RunInstances":
		return nil, errUnsupported("The usage operation '%s' is not supported by this cloud.", in.UsageOperation)
	}
	disks, err := disksOf(in.DiskContainers)
	if err != nil {
		return nil, err
	}
	tags, err := tagsOnCreate(in.TagSpecifications, "import-image-task")
	if err != nil {
		return nil, err
	}
	task := &resource.ImportTask{
		Owned: resource.Owned{Tags: tags["import-image-task"]}, ClientToken: in.ClientToken, Description: in.Description, Architecture: pick(in.Architecture, architecture),
		Platform: "Linux", BootMode: in.BootMode, RoleName: in.RoleName, Disks: disks, Status: importActive, StatusMessage: "pending",
	}
	if task.Architecture == "arm64" {
		task.BootMode = "uefi"
	}
	if strings.EqualFold(in.Platform, "windows") {
		task.Platform = "Windows"
	}
	return task, nil
}

// ImportImage begins to make an image of a disk in S3, which is read with a role of the account's: the one named, or
// "vmimport". Where none is named and there is no vmimport AWS refuses; here the caller must be able to read it.
func (s *Service) ImportImage(ctx context.Context, in *shape.ImportImageRequest) (*shape.ImportImageResult, error) {
	info, err := s.begin(ctx, in)
	if err != nil {
		return nil, err
	}
	task, err := importOf(in)
	if err != nil {
		return nil, err
	}
	if err := s.mayImport(ctx, info, task); err != nil {
		return nil, err
	}
	task.Owned = s.owned(info, task.Tags)
	task.ID, task.ImageID = s.IDs.Resource("import-ami-"), s.IDs.Resource("ami-")
	made, err := s.beginImport(ctx, info, in.DryRun, task)
	if err != nil {
		return nil, err
	}
	t := shapeImport(nil, made)
	return &shape.ImportImageResult{
		Architecture: t.Architecture, Description: t.Description, Hypervisor: t.Hypervisor, ImageId: t.ImageId, ImportTaskId: t.ImportTaskId,
		LicenseType: t.LicenseType, Platform: t.Platform, Progress: t.Progress, SnapshotDetails: t.SnapshotDetails, Status: t.Status,
		StatusMessage: t.StatusMessage, Tags: t.Tags, UsageOperation: t.UsageOperation,
	}, nil
}

// beginImport keeps a new task, or gives the one that its client token began.
func (s *Service) beginImport(ctx context.Context, info *call.Info, dryRun *bool, task *resource.ImportTask) (made *resource.ImportTask, err error) {
	err = s.update(ctx, dryRun, func(tx *store.Tx) error {
		made = task
		if task.ClientToken != "" {
			for old := range store.ImportTasksByOwner.By(tx, ownerKey(info)) {
				if old.ClientToken != task.ClientToken || (old.SnapshotID == "") != (task.SnapshotID == "") {
					continue
				}
				if !sameImport(old, task) {
					return awserr.New("IdempotentParameterMismatch", "The client token was used before with other parameters.")
				}
				made = old
				return nil
			}
		}
		return store.ImportTasks.Put(tx, task)
	})
	return made, err
}

func sameImport(a, b *resource.ImportTask) bool {
	same := func(a, b resource.ImportDisk) bool {
		return a.Format == b.Format && a.Bucket == b.Bucket && a.Key == b.Key && a.Description == b.Description
	}
	return a.Description == b.Description && a.Platform == b.Platform && a.BootMode == b.BootMode && a.RoleName == b.RoleName &&
		a.Architecture == b.Architecture && slices.EqualFunc(asked(a.Disks), asked(b.Disks), same)
}

// asked gives a task's disks as they were asked for: an archive's stand one by one in a task that is done.
func asked(disks []resource.ImportDisk) []resource.ImportDisk {
	return slices.CompactFunc(slices.Clone(disks), func(a, b resource.ImportDisk) bool {
		return a.Format == "ova" && b.Format == "ova" && a.Bucket == b.Bucket && a.Key == b.Key
	})
}

// shapeImport shows an import task.
func shapeImport(_ store.Reader, t *resource.ImportTask) shape.ImportImageTask {
	out := shape.ImportImageTask{
		Architecture: t.Architecture, Description: t.Description, Hypervisor: "xen", ImportTaskId: t.ID, LicenseType: "BYOL", Platform: t.Platform,
		Status: t.Status, StatusMessage: t.StatusMessage, Tags: shapeTags(t.Tags), BootMode: t.BootMode, UsageOperation: "RunInstances",
	}
	switch t.Status {
	case importCompleted:
		out.ImageId, out.StatusMessage = t.ImageID, ""
	case importActive:
		out.Progress = strconv.Itoa(t.Progress)
	}
	for _, d := range t.Disks {
		detail := shape.SnapshotDetail{
			Description: d.Description, DeviceName: d.DeviceName, DiskImageSize: float64(d.Size), Format: strings.ToUpper(d.Format), SnapshotId: d.SnapshotID,
			Status: t.Status, UserBucket: &shape.UserBucketDetails{S3Bucket: d.Bucket, S3Key: d.Key},
		}
		out.SnapshotDetails = append(out.SnapshotDetails, detail)
	}
	return out
}

var importFilters = &filter.Set[*resource.ImportTask]{
	Fields: map[string]func(*resource.ImportTask) []string{
		"task-state": func(t *resource.ImportTask) []string { return one(t.Status) },
	},
	Tags: func(t *resource.ImportTask) map[string]string { return t.Tags },
}

// DescribeImportImageTasks lists import tasks.
func (s *Service) DescribeImportImageTasks(ctx context.Context, in *shape.DescribeImportImageTasksRequest) (*shape.DescribeImportImageTasksResult, error) {
	info, r, err := s.read(ctx, in, in.DryRun)
	if err != nil {
		return nil, err
	}
	match, err := compile(importFilters, in.Filters)
	if err != nil {
		return nil, err
	}
	list, next, err := list(s, r, info, importTasks, selection[resource.ImportTask]{
		op: "DescribeImportImageTasks", ids: in.ImportTaskIds, max: in.MaxResults, token: in.NextToken, least: 1,
		match: func(t *resource.ImportTask) bool {
			return t.ImageID != "" && !t.Conversion() && (match == nil || match(t))
		},
	})
	if err != nil {
		return nil, err
	}
	return &shape.DescribeImportImageTasksResult{ImportImageTasks: showAll(r, list, shapeImport), NextToken: next}, nil
}

// CancelImportTask asks the importer to give a task up.
func (s *Service) CancelImportTask(ctx context.Context, in *shape.CancelImportTaskRequest) (*shape.CancelImportTaskResult, error) {
	info, err := s.begin(ctx, in)
	if err != nil {
		return nil, err
	}
	if in.ImportTaskId == "" {
		return nil, errMissing("importTaskId")
	}
	out := &shape.CancelImportTaskResult{ImportTaskId: in.ImportTaskId}
	err = s.update(ctx, in.DryRun, func(tx *store.Tx) error {
		k := importTasks
		if strings.HasPrefix(in.ImportTaskId, snapshotImports.prefix) {
			k = snapshotImports
		}
		task, err := k.find(tx, info, in.ImportTaskId)
		if err != nil {
			return err
		}
		out.PreviousState, out.State = task.Status, importDeleting
		return cancelImport(tx, task)
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// cancelImport marks a task for the importer to give up.
func cancelImport(tx *store.Tx, task *resource.ImportTask) error {
	switch task.Status {
	case importCompleted, importDeleted:
		return awserr.New("IncorrectState", "The import task '%s' is %s and cannot be cancelled.", task.ID, task.Status)
	case importDeleting:
		return nil
	}
	next := *task
	next.Cancel, next.Status, next.StatusMessage = true, importDeleting, "cancelled by the user"
	return store.ImportTasks.Put(tx, &next)
}
