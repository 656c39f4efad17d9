package ec2

import (
	"testing"

	shape "karri.dev/internal/aws/shape/ec2"
	"karri.dev/internal/resource"
	"karri.dev/internal/store"
)

// A disabled image is its owner's alone, is listed when asked for, and nothing is launched of it.
func TestDisabledImage(t *testing.T) {
	c := newCloud(t)
	c.write(func(tx *store.Tx) error {
		img := *store.Images.Get(tx, c.image)
		img.AccountID, img.Public, img.LaunchAccounts = alice, true, []string{bob}
		return store.Images.Put(tx, &img)
	})
	_, err := c.DisableImage(c.bob, &shape.DisableImageRequest{ImageId: c.image})
	if err == nil {
		t.Error("another account disables a public image")
	}
	refused(c, c.DisableImage, shape.DisableImageRequest{ImageId: c.image, DryRun: ptr(true)}, "DryRunOperation")
	for range 2 {
		do(c, c.DisableImage, shape.DisableImageRequest{ImageId: c.image})
	}
	listed := func(in shape.DescribeImagesRequest) int { return len(do(c, c.DescribeImages, in).Images) }
	if listed(shape.DescribeImagesRequest{}) != 0 || listed(shape.DescribeImagesRequest{IncludeDisabled: ptr(true)}) != 1 {
		t.Error("a disabled image is listed, or not when asked for")
	}
	_, err = c.RunInstances(c.alice, &shape.RunInstancesRequest{ImageId: c.image, MinCount: 1, MaxCount: 1})
	c.code("a launch", err, "InvalidAMIID.Unavailable")
	do(c, c.EnableImage, shape.EnableImageRequest{ImageId: c.image})
	c.run(1)
	if img := store.Images.Get(c.Store.Snapshot(), c.image); img.State != resource.ImageAvailable || img.Public || len(img.LaunchAccounts) > 0 {
		t.Errorf("%+v", img)
	}
}

// What there is none of says so.
func TestSnapshotTiers(t *testing.T) {
	c := newCloud(t)
	vol := c.volume(1)
	snap := c.snapshot(vol)
	c.complete(snap)
	out := do(c, c.DescribeSnapshotTierStatus, shape.DescribeSnapshotTierStatusRequest{Filters: []shape.Filter{{Name: "volume-id", Values: []string{vol}}}})
	if len(out.SnapshotTierStatuses) != 1 || out.SnapshotTierStatuses[0].StorageTier != "standard" || out.SnapshotTierStatuses[0].Status != "completed" {
		t.Errorf("%+v", out)
	}
	refused(c, c.ModifySnapshotTier, shape.ModifySnapshotTierRequest{SnapshotId: snap}, "UnsupportedOperation")
	refused(c, c.ModifySnapshotTier, shape.ModifySnapshotTierRequest{SnapshotId: "snap-00000000000000000"}, "InvalidSnapshot.NotFound")
	refused(c, c.RestoreSnapshotTier, shape.RestoreSnapshotTierRequest{SnapshotId: snap}, "UnsupportedOperation")
	refused(c, c.EnableFastSnapshotRestores, shape.EnableFastSnapshotRestoresRequest{SourceSnapshotIds: []string{snap}, AvailabilityZones: []string{"us-east-1a"}}, "UnsupportedOperation")
	refused(c, c.RestoreSnapshotFromRecycleBin, shape.RestoreSnapshotFromRecycleBinRequest{SnapshotId: snap}, "InvalidSnapshot.NotFound")
	refused(c, c.RestoreImageFromRecycleBin, shape.RestoreImageFromRecycleBinRequest{ImageId: c.image}, "InvalidAMIID.NotFound")
	if bin := do(c, c.ListSnapshotsInRecycleBin, shape.ListSnapshotsInRecycleBinRequest{}); len(bin.Snapshots) != 0 {
		t.Errorf("%+v", bin)
	}
}
