package ec2

import (
	"context"
	"testing"

	shape "karri.dev/internal/aws/shape/ec2"
	"karri.dev/internal/importer"
	"karri.dev/internal/lifecycle"
	"karri.dev/internal/resource"
	"karri.dev/internal/store"
)

// backed makes the cloud's image EBS-backed.
func (c *cloud) backed() *resource.Snapshot {
	c.Helper()
	var snap *resource.Snapshot
	c.write(func(tx *store.Tx) error {
		img := *store.Images.Get(tx, c.image)
		snap = importer.Snapshot(&img, c.clock())
		if err := store.Snapshots.Put(tx, snap); err != nil {
			return err
		}
		return store.Images.Put(tx, &img)
	})
	return snap
}

// off does what a zone does when a stopping instance's machine is off.
func (c *cloud) off(id string) {
	c.Helper()
	c.write(func(tx *store.Tx) error { return lifecycle.Stopped(tx, store.Instances.Get(tx, id)) })
}

func TestStopAndStart(t *testing.T) {
	c := newCloud(t)
	snap := c.backed()
	id := c.run(1)[0]
	c.place(id)
	before := c.one(id)
	if before.RootDeviceType != "ebs" || before.RootDeviceName != "/dev/sda1" || len(before.BlockDeviceMappings) != 1 || !before.BlockDeviceMappings[0].Ebs.DeleteOnTermination {
		t.Fatalf("%+v", before)
	}
	root := before.BlockDeviceMappings[0].Ebs.VolumeId
	if v := c.vol(root); v.SnapshotID != snap.ID || v.Base == nil || v.SizeGiB != snap.SizeGiB || v.Format != "qcow2" {
		t.Errorf("%+v", v)
	}
	c.made(root)
	ids := []string{id}
	_, err := c.DetachVolume(c.alice, &shape.DetachVolumeRequest{VolumeId: root})
	c.code("detach the root of a running instance", err, "OperationNotPermitted")
	stop := func() (string, error) {
		out, err := c.StopInstances(c.alice, &shape.StopInstancesRequest{InstanceIds: ids})
		if err != nil {
			return "", err
		}
		return out.StoppingInstances[0].CurrentState.Name, nil
	}
	start := func() (string, error) {
		out, err := c.StartInstances(c.alice, &shape.StartInstancesRequest{InstanceIds: ids})
		if err != nil {
			return "", err
		}
		return out.StartingInstances[0].CurrentState.Name, nil
	}
	if state, err := stop(); state != "stopping" || err != nil {
		t.Fatal(state, err)
	}
	_, err = start()
	c.code("start while stopping", err, "IncorrectInstanceState")
	c.off(id)
	after := c.one(id)
	if after.State.Name != "stopped" || after.PrivateIpAddress != before.PrivateIpAddress || after.PublicIpAddress != "" || before.PublicIpAddress == "" {
		t.Errorf("%+v", after)
	}
	if state, err := stop(); state != "stopped" || err != nil {
		t.Error("stop again:", state, err)
	}
	// The root volume may go and come while it is stopped; without it nothing starts.
	if _, err := c.DetachVolume(c.alice, &shape.DetachVolumeRequest{VolumeId: root}); err != nil || c.vol(root).Attachment != nil {
		t.Fatal(err)
	}
	_, err = start()
	c.code("start without a root", err, "IncorrectInstanceState")
	if _, err := c.AttachVolume(c.alice, &shape.AttachVolumeRequest{VolumeId: root, InstanceId: id, Device: "/dev/sda1"}); err != nil || c.vol(root).Attachment.State != resource.Attached {
		t.Fatal(err)
	}
	modify := func(in shape.ModifyInstanceAttributeRequest) error {
		in.InstanceId = id
		_, err := c.ModifyInstanceAttribute(c.alice, &in)
		return err
	}
	c.code("type", modify(shape.ModifyInstanceAttributeRequest{InstanceType: text("t3.large")}), "")
	c.code("no such type", modify(shape.ModifyInstanceAttributeRequest{InstanceType: text("x9.huge")}), "InvalidParameterValue")
	c.code("user data", modify(shape.ModifyInstanceAttributeRequest{UserData: &shape.SecureBlobAttributeValue{Value: []byte("hello")}}), "")
	c.code("shutdown", modify(shape.ModifyInstanceAttributeRequest{InstanceInitiatedShutdownBehavior: text("terminate")}), "")
	if inst := store.Instances.Get(c.Store.Snapshot(), id); inst.Type != "t3.large" || inst.MemoryMiB != 8192 || c.userData(inst) != "hello" || inst.OnShutdown != "terminate" {
		t.Errorf("%+v", inst)
	}
	if state, err := start(); state != "pending" || err != nil {
		t.Fatal(state, err)
	}
	if again := c.one(id); again.PublicIpAddress == "" || again.PrivateIpAddress != before.PrivateIpAddress {
		t.Errorf("%+v", again)
	}
	if inst := store.Instances.Get(c.Store.Snapshot(), id); inst.Node != "" || inst.Power != resource.PowerOn {
		t.Errorf("%+v", inst)
	}
	c.write(func(tx *store.Tx) error {
		_, err := lifecycle.End(tx, store.Instances.Get(tx, id), lifecycle.ByUser, c.clock())
		return err
	})
	if v := c.vol(root); v.Attachment != nil || v.State != resource.VolumeAvailable { // attached by hand: it stays
		t.Errorf("%+v", v)
	}
}

func TestBlockDeviceMappings(t *testing.T) {
	c := newCloud(t)
	c.backed()
	launch := func(mappings ...shape.BlockDeviceMapping) ([]*resource.Volume, error) {
		out, err := c.RunInstances(c.alice, &shape.RunInstancesRequest{ImageId: c.image, MinCount: 1, MaxCount: 1, BlockDeviceMappings: mappings})
		if err != nil {
			return nil, err
		}
		r := c.Store.Snapshot()
		return volumesOf(r, store.Instances.Get(r, out.Instances[0].InstanceId)), nil
	}
	list, err := launch(
		shape.BlockDeviceMapping{DeviceName: "/dev/sdf", Ebs: &shape.EbsBlockDevice{VolumeSize: ptr(3), DeleteOnTermination: ptr(false)}},
		shape.BlockDeviceMapping{DeviceName: "/dev/sda1", Ebs: &shape.EbsBlockDevice{VolumeSize: ptr(20), VolumeType: "gp3", Throughput: ptr(200)}},
		shape.BlockDeviceMapping{DeviceName: "/dev/sdb", VirtualName: "ephemeral0"},
	)
	if err != nil || len(list) != 2 {
		t.Fatal(list, err)
	}
	if v := list[0]; v.Attachment.Device != "/dev/sda1" || v.SizeGiB != 20 || v.Type != "gp3" || v.IOPS != 3000 || v.Throughput != 200 || !v.Attachment.DeleteOnEnd || v.Base == nil {
		t.Errorf("root %+v", v)
	}
	if v := list[1]; v.SizeGiB != 3 || v.Type != "gp2" || v.Attachment.DeleteOnEnd || v.Base != nil || v.Format != "raw" {
		t.Errorf("data %+v", v)
	}
	_, err = launch(shape.BlockDeviceMapping{DeviceName: "/dev/sda1", VirtualName: "ephemeral0"})
	c.code("no root", err, "InvalidBlockDeviceMapping")
	c.write(func(tx *store.Tx) error {
		s := *store.Snapshots.Get(tx, list[0].SnapshotID)
		s.SizeGiB = 4
		return store.Snapshots.Put(tx, &s)
	})
	_, err = launch(shape.BlockDeviceMapping{DeviceName: "/dev/sda1", Ebs: &shape.EbsBlockDevice{VolumeSize: ptr(3)}})
	c.code("smaller than the snapshot", err, "InvalidParameterValue")
}

func TestSnapshots(t *testing.T) {
	c := newCloud(t)
	snap := c.backed()
	ids := func(out *shape.DescribeSnapshotsResult, err error) (list []string) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range out.Snapshots {
			list = append(list, s.SnapshotId)
		}
		return list
	}
	if got := ids(c.DescribeSnapshots(c.alice, &shape.DescribeSnapshotsRequest{OwnerIds: []string{"self"}})); len(got) != 1 || got[0] != snap.ID {
		t.Errorf("%v", got)
	}
	if got := ids(c.DescribeSnapshots(c.bob, &shape.DescribeSnapshotsRequest{})); len(got) != 0 {
		t.Errorf("another account sees %v", got)
	}
	v, err := c.CreateVolume(c.alice, &shape.CreateVolumeRequest{AvailabilityZone: "us-east-1a", SnapshotId: snap.ID})
	if err != nil || v.Size != snap.SizeGiB {
		t.Fatal(v, err)
	}
	_, err = c.CreateVolume(c.bob, &shape.CreateVolumeRequest{AvailabilityZone: "us-east-1a", SnapshotId: snap.ID})
	c.code("another account's volume", err, "InvalidSnapshot.NotFound")
	remove := func(x context.Context) error {
		_, err := c.DeleteSnapshot(x, &shape.DeleteSnapshotRequest{SnapshotId: snap.ID})
		return err
	}
	c.code("another account's", remove(c.bob), "InvalidSnapshot.NotFound")
	c.code("an image's", remove(c.alice), "InvalidSnapshot.InUse")
	if _, err := c.DeregisterImage(c.alice, &shape.DeregisterImageRequest{ImageId: c.image}); err != nil {
		t.Fatal(err)
	}
	c.code("nobody's", remove(c.alice), "")
	if v := c.vol(v.VolumeId); v.Base == nil || v.Base.Key != snap.Data.Key {
		t.Errorf("the volume lost what is below it: %+v", v)
	}
}
