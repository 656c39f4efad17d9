package ec2

import (
	"testing"
	"time"

	shape "karri.dev/internal/aws/shape/ec2"
	"karri.dev/internal/chunks"
	"karri.dev/internal/resource"
	"karri.dev/internal/store"
)

// complete does what a zone does with pending snapshots.
func (c *cloud) complete(ids ...string) {
	c.Helper()
	c.write(func(tx *store.Tx) error {
		for _, id := range ids {
			snap := *store.Snapshots.Get(tx, id)
			snap.State, snap.Progress, snap.CutAt, snap.CompletedAt = "completed", 100, c.clock(), c.clock()
			snap.Data = resource.ImageData{Key: chunks.ListKey(id), Format: chunks.Format, VirtualSize: int64(snap.SizeGiB) << 30}
			snap.Format, snap.Base, snap.Since = "", nil, ""
			if err := store.Snapshots.Put(tx, &snap); err != nil {
				return err
			}
		}
		return nil
	})
}

func (c *cloud) newVolume(gib int) string {
	c.Helper()
	v, err := c.CreateVolume(c.alice, &shape.CreateVolumeRequest{AvailabilityZone: "us-east-1a", Size: &gib})
	if err != nil {
		c.Fatal(err)
	}
	return v.VolumeId
}

func (c *cloud) snapshot(volume string) string {
	c.Helper()
	snap, err := c.CreateSnapshot(c.alice, &shape.CreateSnapshotRequest{VolumeId: volume})
	if err != nil {
		c.Fatal(err)
	}
	return snap.SnapshotId
}

func TestSnapshotLife(t *testing.T) {
	c := newCloud(t)
	vol := c.newVolume(3)
	_, err := c.CreateSnapshot(c.alice, &shape.CreateSnapshotRequest{VolumeId: vol})
	c.code("of a volume that is not made", err, "IncorrectState")
	c.made(vol)
	_, err = c.CreateSnapshot(c.bob, &shape.CreateSnapshotRequest{VolumeId: vol})
	c.code("of another account's volume", err, "InvalidVolume.NotFound")
	first := c.snapshot(vol)
	if s := store.Snapshots.Get(c.Store.Snapshot(), first); s.State != "pending" || s.SizeGiB != 3 || s.Zone != "us-east-1a" || s.Since != "" || s.Format != "raw" {
		t.Errorf("%+v", s)
	}
	_, err = c.CopySnapshot(c.alice, &shape.CopySnapshotRequest{SourceRegion: east, SourceSnapshotId: first})
	c.code("copy a pending one", err, "IncorrectState")
	_, err = c.CreateVolume(c.alice, &shape.CreateVolumeRequest{AvailabilityZone: "us-east-1a", SnapshotId: first})
	c.code("volume of a pending one", err, "IncorrectState")
	c.complete(first)
	c.pass(time.Minute)
	second := c.snapshot(vol)
	if s := store.Snapshots.Get(c.Store.Snapshot(), second); s.Since != first {
		t.Errorf("the second snapshot is since %q", s.Since)
	}
	copied, err := c.CopySnapshot(c.alice, &shape.CopySnapshotRequest{SourceRegion: east, SourceSnapshotId: first, Description: "copy"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.DeleteSnapshot(c.alice, &shape.DeleteSnapshotRequest{SnapshotId: first}); err != nil {
		t.Fatal(err)
	}
	if live := chunks.Live(c.Store.Snapshot()); !live[chunks.ListKey(first)] {
		t.Error("what the copy and the second snapshot need would be swept away")
	}
	c.complete(second)
	if _, err := c.DeleteSnapshot(c.alice, &shape.DeleteSnapshotRequest{SnapshotId: copied.SnapshotId}); err != nil {
		t.Fatal(err)
	}
	if live := chunks.Live(c.Store.Snapshot()); live[chunks.ListKey(first)] || !live[chunks.ListKey(second)] {
		t.Errorf("live: %v", live)
	}
}

// TestCreateSnapshots: all volumes of an instance at one moment, but for those that are left out.
func TestCreateSnapshots(t *testing.T) {
	c := newCloud(t)
	c.backed()
	id := c.run(1)[0]
	c.place(id)
	root := c.one(id).BlockDeviceMappings[0].Ebs.VolumeId
	c.made(root)
	_, err := c.CreateSnapshots(c.alice, &shape.CreateSnapshotsRequest{InstanceSpecification: &shape.InstanceSpecification{InstanceId: id, ExcludeDataVolumeIds: []string{root}}})
	c.code("the root among data volumes", err, "InvalidParameterValue")
	_, err = c.CreateSnapshots(c.bob, &shape.CreateSnapshotsRequest{InstanceSpecification: &shape.InstanceSpecification{InstanceId: id}})
	c.code("of another account's instance", err, "InvalidInstanceID.NotFound")
	yes := true
	_, err = c.CreateSnapshots(c.alice, &shape.CreateSnapshotsRequest{InstanceSpecification: &shape.InstanceSpecification{InstanceId: id, ExcludeBootVolume: &yes}})
	c.code("of nothing", err, "InvalidParameterValue")
	out, err := c.CreateSnapshots(c.alice, &shape.CreateSnapshotsRequest{InstanceSpecification: &shape.InstanceSpecification{InstanceId: id}, CopyTagsFromSource: "volume"})
	if err != nil || len(out.Snapshots) != 1 || out.Snapshots[0].VolumeId != root || out.Snapshots[0].State != "pending" {
		t.Errorf("%+v, %v", out, err)
	}
}

func TestSnapshotSharing(t *testing.T) {
	c := newCloud(t)
	vol := c.newVolume(1)
	c.made(vol)
	id := c.snapshot(vol)
	c.complete(id)
	sees := func() bool {
		out, err := c.DescribeSnapshots(c.bob, &shape.DescribeSnapshotsRequest{})
		if err != nil {
			t.Fatal(err)
		}
		return len(out.Snapshots) == 1
	}
	modify := func(add, remove []shape.CreateVolumePermission) error {
		_, err := c.ModifySnapshotAttribute(c.alice, &shape.ModifySnapshotAttributeRequest{
			SnapshotId: id, Attribute: "createVolumePermission", CreateVolumePermission: &shape.CreateVolumePermissionModifications{Add: add, Remove: remove},
		})
		return err
	}
	if sees() {
		t.Error("bob sees what is not shared")
	}
	_, err := c.CopySnapshot(c.bob, &shape.CopySnapshotRequest{SourceRegion: east, SourceSnapshotId: id})
	c.code("copy what is not shared", err, "InvalidSnapshot.NotFound")
	if err := modify([]shape.CreateVolumePermission{{UserId: bob}}, nil); err != nil || !sees() {
		t.Errorf("shared: %v", err)
	}
	_, err = c.ModifySnapshotAttribute(c.bob, &shape.ModifySnapshotAttributeRequest{SnapshotId: id, OperationType: "add", UserIds: []string{bob}})
	c.code("share another account's", err, "AuthFailure")
	_, err = c.DeleteSnapshot(c.bob, &shape.DeleteSnapshotRequest{SnapshotId: id})
	c.code("delete another account's", err, "InvalidSnapshot.NotFound")
	if _, err := c.ResetSnapshotAttribute(c.alice, &shape.ResetSnapshotAttributeRequest{SnapshotId: id, Attribute: "createVolumePermission"}); err != nil || sees() {
		t.Errorf("reset: %v", err)
	}
	all := []shape.CreateVolumePermission{{Group: "all"}}
	if err := modify(all, nil); err != nil || !sees() {
		t.Errorf("public: %v", err)
	}
	if _, err := c.EnableSnapshotBlockPublicAccess(c.alice, &shape.EnableSnapshotBlockPublicAccessRequest{State: "block-all-sharing"}); err != nil || sees() {
		t.Errorf("bob sees what is blocked: %v", err)
	}
	if err := modify(nil, all); err != nil {
		t.Error(err)
	}
	c.code("make public what is blocked", modify(all, nil), "OperationNotPermitted")
	if _, err := c.DisableSnapshotBlockPublicAccess(c.alice, &shape.DisableSnapshotBlockPublicAccessRequest{}); err != nil {
		t.Error(err)
	}
	if err := modify(all, nil); err != nil || !sees() {
		t.Errorf("public again: %v", err)
	}
}

func TestSnapshotLocks(t *testing.T) {
	c := newCloud(t)
	vol := c.newVolume(1)
	c.made(vol)
	id := c.snapshot(vol)
	c.complete(id)
	lock := func(mode string, days, coolOff int) (string, error) {
		in := &shape.LockSnapshotRequest{SnapshotId: id, LockMode: mode, LockDuration: &days}
		if coolOff > 0 {
			in.CoolOffPeriod = &coolOff
		}
		out, err := c.LockSnapshot(c.alice, in)
		if err != nil {
			return "", err
		}
		return out.LockState, nil
	}
	remove := func() error {
		_, err := c.DeleteSnapshot(c.alice, &shape.DeleteSnapshotRequest{SnapshotId: id})
		return err
	}
	unlock := func() error {
		_, err := c.UnlockSnapshot(c.alice, &shape.UnlockSnapshotRequest{SnapshotId: id})
		return err
	}
	c.code("unlock what is not locked", unlock(), "SnapshotNotLocked")
	if state, err := lock("governance", 2, 0); state != "governance" || err != nil {
		t.Error(state, err)
	}
	c.code("delete a locked one", remove(), "SnapshotLocked")
	if err := unlock(); err != nil {
		t.Error(err)
	}
	if state, err := lock("compliance", 2, 1); state != "compliance-cooloff" || err != nil {
		t.Error(state, err)
	}
	c.pass(2 * time.Hour)
	c.code("unlock in compliance mode", unlock(), "SnapshotLocked")
	_, err := lock("compliance", 1, 0)
	c.code("shorten", err, "SnapshotLocked")
	_, err = lock("governance", 9, 0)
	c.code("soften", err, "SnapshotLocked")
	if state, err := lock("compliance", 3, 0); state != "compliance" || err != nil {
		t.Error(state, err)
	}
	c.pass(73 * time.Hour)
	out, err := c.DescribeLockedSnapshots(c.alice, &shape.DescribeLockedSnapshotsRequest{})
	if err != nil || len(out.Snapshots) != 1 || out.Snapshots[0].LockState != "expired" {
		t.Errorf("%+v, %v", out, err)
	}
	if err := remove(); err != nil {
		t.Error(err)
	}
}
