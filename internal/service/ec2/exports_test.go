package ec2

import (
	"testing"

	shape "karri.dev/internal/aws/shape/ec2"
	"karri.dev/internal/resource"
	"karri.dev/internal/store"
)

func snapshotRequest() *shape.ImportSnapshotRequest {
	return &shape.ImportSnapshotRequest{
		Description: "data", DiskContainer: &shape.SnapshotDiskContainer{Format: "RAW", UserBucket: &shape.UserBucket{S3Bucket: "disks", S3Key: "tiny.raw"}},
	}
}

func exportRequest(image string) *shape.ExportImageRequest {
	return &shape.ExportImageRequest{
		ImageId: image, DiskImageFormat: "VMDK", S3ExportLocation: &shape.ExportTaskS3LocationRequest{S3Bucket: alice + "-exports", S3Prefix: "a/"},
	}
}

func TestImportSnapshotRequests(t *testing.T) {
	c := newCloud(t)
	for what, x := range map[string]struct {
		edit func(*shape.ImportSnapshotRequest)
		code string
	}{
		"":           {func(*shape.ImportSnapshotRequest) {}, ""},
		"none":       {func(r *shape.ImportSnapshotRequest) { r.DiskContainer = nil }, "MissingParameter"},
		"no format":  {func(r *shape.ImportSnapshotRequest) { r.DiskContainer.Format = "" }, "MissingParameter"},
		"ova":        {func(r *shape.ImportSnapshotRequest) { r.DiskContainer.Format = "OVA" }, "InvalidParameter"},
		"no object":  {func(r *shape.ImportSnapshotRequest) { r.DiskContainer.UserBucket.S3Key = "none" }, "InvalidParameter"},
		"encryption": {func(r *shape.ImportSnapshotRequest) { r.Encrypted = ptr(true) }, "UnsupportedOperation"},
		"role":       {func(r *shape.ImportSnapshotRequest) { r.RoleName = "none" }, "InvalidParameter"},
	} {
		in := snapshotRequest()
		x.edit(in)
		c.code("import "+what, second(c.ImportSnapshot(c.alice, in)), x.code)
	}
	c.code("bob imports alice's object", second(c.ImportSnapshot(c.bob, snapshotRequest())), "InvalidParameter")

	in, image := snapshotRequest(), importRequest()
	in.ClientToken, image.ClientToken = "t", "t" // tokens of another operation do not count
	first, err := c.ImportSnapshot(c.alice, in)
	if err != nil {
		t.Fatal(err)
	}
	c.code("an image with the same token", second(c.ImportImage(c.alice, image)), "")
	if again, err := c.ImportSnapshot(c.alice, in); err != nil || again.ImportTaskId != first.ImportTaskId {
		t.Errorf("%+v %v", again, err)
	}
	list, err := c.DescribeImportSnapshotTasks(c.alice, &shape.DescribeImportSnapshotTasksRequest{})
	if err != nil || len(list.ImportSnapshotTasks) != 2 || list.ImportSnapshotTasks[0].SnapshotTaskDetail.SnapshotId != "" {
		t.Errorf("%+v %v", list, err)
	}
	images, err := c.DescribeImportImageTasks(c.alice, &shape.DescribeImportImageTasksRequest{})
	if err != nil || len(images.ImportImageTasks) != 1 {
		t.Errorf("%+v %v", images, err)
	}
	if out, err := c.CancelImportTask(c.alice, &shape.CancelImportTaskRequest{ImportTaskId: first.ImportTaskId}); err != nil || out.State != "deleting" {
		t.Errorf("%+v %v", out, err)
	}
}

func TestExportRequests(t *testing.T) {
	c := newCloud(t)
	for what, x := range map[string]struct {
		edit func(*shape.ExportImageRequest)
		code string
	}{
		"":               {func(*shape.ExportImageRequest) {}, ""},
		"no image":       {func(r *shape.ExportImageRequest) { r.ImageId = "" }, "MissingParameter"},
		"other image":    {func(r *shape.ExportImageRequest) { r.ImageId = "ami-0123456789abcdef1" }, "InvalidAMIID.NotFound"},
		"format":         {func(r *shape.ExportImageRequest) { r.DiskImageFormat = "qcow2" }, "InvalidParameterValue"},
		"no bucket":      {func(r *shape.ExportImageRequest) { r.S3ExportLocation = nil }, "MissingParameter"},
		"another bucket": {func(r *shape.ExportImageRequest) { r.S3ExportLocation.S3Bucket = bob + "-exports" }, "InvalidParameter"},
		"role":           {func(r *shape.ExportImageRequest) { r.RoleName = "none" }, "InvalidParameter"},
	} {
		in := exportRequest(c.image)
		x.edit(in)
		c.code("export "+what, second(c.ExportImage(c.alice, in)), x.code)
	}
	c.write(func(tx *store.Tx) error { // shared with bob: he may launch it, and not carry it away
		img := *store.Images.Get(tx, c.image)
		img.Public = true
		return store.Images.Put(tx, &img)
	})
	c.code("bob", second(c.ExportImage(c.bob, exportRequest(c.image))), "AuthFailure")

	in := exportRequest(c.image)
	in.ClientToken = "t"
	first, err := c.ExportImage(c.alice, in)
	if err != nil || first.Status != "active" || first.DiskImageFormat != "VMDK" {
		t.Fatalf("%+v %v", first, err)
	}
	if again, err := c.ExportImage(c.alice, in); err != nil || again.ExportImageTaskId != first.ExportImageTaskId {
		t.Errorf("%+v %v", again, err)
	}
	in.DiskImageFormat = "RAW"
	c.code("token again", second(c.ExportImage(c.alice, in)), "IdempotentParameterMismatch")
	c.code("cancel", second(c.CancelExportTask(c.alice, &shape.CancelExportTaskRequest{ExportTaskId: first.ExportImageTaskId})), "")
	list, err := c.DescribeExportImageTasks(c.alice, &shape.DescribeExportImageTasksRequest{Filters: filters("task-state", "deleting")})
	if err != nil || len(list.ExportImageTasks) != 1 || list.ExportImageTasks[0].Status != "deleting" {
		t.Errorf("%+v %v", list, err)
	}
	c.write(func(tx *store.Tx) error {
		task := *store.ExportTasks.Get(tx, first.ExportImageTaskId)
		task.Status = "deleted"
		return store.ExportTasks.Put(tx, &task)
	})
	c.code("cancel what ended", second(c.CancelExportTask(c.alice, &shape.CancelExportTaskRequest{ExportTaskId: first.ExportImageTaskId})), "IncorrectState")

	c.write(func(tx *store.Tx) error {
		img := *store.Images.Get(tx, c.image)
		img.Data = resource.ImageData{}
		return store.Images.Put(tx, &img)
	})
	c.code("without a root disk", second(c.ExportImage(c.alice, exportRequest(c.image))), "UnsupportedOperation")
	snap := &resource.Snapshot{Owned: resource.Owned{AccountID: alice, Region: east}, ID: "snap-1", State: "completed", Data: resource.ImageData{Key: "l/snap-1", Format: "chunks"}}
	c.write(func(tx *store.Tx) error {
		img := *store.Images.Get(tx, c.image)
		img.RootDeviceType, img.Mappings = "ebs", []resource.ImageMapping{{Device: "/dev/sdb", SnapshotID: "snap-2"}, {Device: img.RootDeviceName, SnapshotID: "snap-1"}}
		return store.Images.Put(tx, &img)
	})
	for name, x := range map[string]struct {
		change func(s *resource.Snapshot)
		code   string
	}{
		"made of a snapshot":          {func(*resource.Snapshot) {}, ""},
		"of an encrypted one":         {func(s *resource.Snapshot) { s.Encrypted = true }, "InvalidParameter"},
		"of another account's":        {func(s *resource.Snapshot) { s.AccountID = bob }, "InvalidParameter"},
		"of one that is not complete": {func(s *resource.Snapshot) { s.State = "pending" }, "IncorrectState"},
	} {
		next := *snap
		x.change(&next)
		c.write(func(tx *store.Tx) error { return store.Snapshots.Put(tx, &next) })
		made, err := c.ExportImage(c.alice, exportRequest(c.image))
		c.code(name, err, x.code)
		if err == nil && store.ExportTasks.Get(c.Store.Snapshot(), made.ExportImageTaskId).Data != snap.Data {
			t.Error("the export is of something else")
		}
	}
}
