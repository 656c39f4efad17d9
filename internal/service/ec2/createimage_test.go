package ec2

import (
	"slices"
	"testing"

	shape "karri.dev/internal/aws/shape/ec2"
	"karri.dev/internal/chunks"
	"karri.dev/internal/lifecycle"
	"karri.dev/internal/resource"
	"karri.dev/internal/store"
)

// settle does what a zone does with the snapshots of an image, and what follows.
func (c *cloud) settle(image string, fail bool) {
	c.Helper()
	img := store.Images.Get(c.Store.Snapshot(), image)
	for _, m := range img.Mappings {
		if m.SnapshotID == "" || store.Snapshots.Get(c.Store.Snapshot(), m.SnapshotID).State != "pending" {
			continue
		}
		c.complete(m.SnapshotID)
		c.write(func(tx *store.Tx) error {
			snap := *store.Snapshots.Get(tx, m.SnapshotID)
			if fail {
				snap.State = "error"
				if err := store.Snapshots.Put(tx, &snap); err != nil {
					return err
				}
			}
			return lifecycle.SettleImages(tx, &snap)
		})
	}
}

func (c *cloud) img(id string) *resource.Image { return store.Images.Get(c.Store.Snapshot(), id) }

// withData launches an EBS-backed instance that has a second volume.
func (c *cloud) withData() (id string, root, data *resource.Volume) {
	c.Helper()
	c.backed()
	id = c.run(1, func(r *shape.RunInstancesRequest) {
		r.BlockDeviceMappings = []shape.BlockDeviceMapping{{DeviceName: "/dev/sdf", Ebs: &shape.EbsBlockDevice{VolumeSize: ptr(7), VolumeType: "io1", Iops: ptr(200), DeleteOnTermination: ptr(false)}}}
	})[0]
	c.place(id)
	for _, b := range c.one(id).BlockDeviceMappings {
		c.made(b.Ebs.VolumeId)
		c.write(func(tx *store.Tx) error {
			v := *store.Volumes.Get(tx, b.Ebs.VolumeId)
			v.State = resource.VolumeInUse
			return store.Volumes.Put(tx, &v)
		})
	}
	return id, c.vol(c.one(id).BlockDeviceMappings[0].Ebs.VolumeId), c.vol(c.one(id).BlockDeviceMappings[1].Ebs.VolumeId)
}

func TestCreateImage(t *testing.T) {
	c := newCloud(t)
	store1 := c.run(1)[0]
	c.place(store1)
	_, err := c.CreateImage(c.alice, &shape.CreateImageRequest{InstanceId: store1, Name: "mine"})
	c.code("of an instance-store instance", err, "InvalidParameterValue")
	id, root, data := c.withData()
	for what, r := range map[string]struct {
		in   shape.CreateImageRequest
		code string
	}{
		"no name":       {shape.CreateImageRequest{InstanceId: id}, "MissingParameter"},
		"a short name":  {shape.CreateImageRequest{InstanceId: id, Name: "ab"}, "InvalidAMIName.Malformed"},
		"no instance":   {shape.CreateImageRequest{Name: "mine"}, "MissingParameter"},
		"unknown":       {shape.CreateImageRequest{Name: "mine", InstanceId: "i-00000000000000000"}, "InvalidInstanceID.NotFound"},
		"a taken name":  {shape.CreateImageRequest{Name: c.img(c.image).Name, InstanceId: id}, "InvalidAMIName.Duplicate"},
		"encrypted":     {shape.CreateImageRequest{Name: "mine", InstanceId: id, BlockDeviceMappings: []shape.BlockDeviceMapping{{DeviceName: "/dev/sdf", Ebs: &shape.EbsBlockDevice{Encrypted: ptr(true)}}}}, "UnsupportedOperation"},
		"without root":  {shape.CreateImageRequest{Name: "mine", InstanceId: id, BlockDeviceMappings: []shape.BlockDeviceMapping{{DeviceName: "/dev/sda1", NoDevice: ""}}}, "InvalidBlockDeviceMapping"},
		"another's own": {shape.CreateImageRequest{Name: "mine", InstanceId: id, BlockDeviceMappings: []shape.BlockDeviceMapping{{DeviceName: "/dev/sdg", Ebs: &shape.EbsBlockDevice{SnapshotId: "snap-00000000000000000"}}}}, "InvalidSnapshot.NotFound"},
	} {
		_, err := c.CreateImage(c.alice, &r.in)
		c.code(what, err, r.code)
	}
	// The place of a snapshot takes no volume: neither another account's, nor one of the instance's own.
	theirs, err := c.CreateVolume(c.bob, &shape.CreateVolumeRequest{AvailabilityZone: "us-east-1a", Size: ptr(1)})
	if err != nil {
		t.Fatal(err)
	}
	c.made(theirs.VolumeId)
	for _, volume := range []string{theirs.VolumeId, data.ID} {
		_, err := c.CreateImage(c.alice, &shape.CreateImageRequest{Name: "mine", InstanceId: id, BlockDeviceMappings: []shape.BlockDeviceMapping{{DeviceName: "/dev/sdg", Ebs: &shape.EbsBlockDevice{SnapshotId: volume, VolumeSize: ptr(9)}}}})
		c.code("a volume for a snapshot", err, "InvalidParameterValue")
	}
	_, err = c.CreateImage(c.bob, &shape.CreateImageRequest{InstanceId: id, Name: "mine"})
	c.code("of another account's instance", err, "InvalidInstanceID.NotFound")

	out, err := c.CreateImage(c.alice, &shape.CreateImageRequest{InstanceId: id, Name: "mine", Description: "d", NoReboot: ptr(true), BlockDeviceMappings: []shape.BlockDeviceMapping{
		{DeviceName: "/dev/sdh", Ebs: &shape.EbsBlockDevice{VolumeSize: ptr(3)}},
		{DeviceName: "/dev/sdi", VirtualName: "ephemeral0"},
		{DeviceName: "/dev/sda1", Ebs: &shape.EbsBlockDevice{VolumeSize: ptr(root.SizeGiB + 2)}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	img := c.img(out.ImageId)
	if img.State != resource.ImagePending || img.RootDeviceType != "ebs" || img.RootDeviceName != "/dev/sda1" || len(img.Mappings) != 4 {
		t.Fatalf("%+v", img)
	}
	_, err = c.RunInstances(c.alice, &shape.RunInstancesRequest{ImageId: img.ID, InstanceType: "t3.nano", MinCount: 1, MaxCount: 1})
	c.code("launch of a pending image", err, "InvalidAMIID.Unavailable")
	for i, v := range []*resource.Volume{root, data} {
		snap := store.Snapshots.Get(c.Store.Snapshot(), img.Mappings[i].SnapshotID)
		if snap == nil || snap.VolumeID != v.ID || snap.Reboot || snap.SizeGiB != v.SizeGiB {
			t.Errorf("snapshot of %s: %+v", v.ID, snap)
		}
	}
	c.settle(img.ID, false)
	img = c.img(img.ID)
	if img.State != resource.ImageAvailable || img.SnapshotID != img.Mappings[0].SnapshotID {
		t.Errorf("%+v", img)
	}
	_, err = c.DeleteSnapshot(c.alice, &shape.DeleteSnapshotRequest{SnapshotId: img.SnapshotID})
	c.code("delete an image's snapshot", err, "InvalidSnapshot.InUse")
	shown, err := c.DescribeImages(c.alice, &shape.DescribeImagesRequest{ImageIds: []string{img.ID}})
	if err != nil {
		t.Fatal(err)
	}
	bdm := shown.Images[0].BlockDeviceMappings
	if len(bdm) != 4 || *bdm[0].Ebs.VolumeSize != root.SizeGiB+2 || bdm[1].Ebs.VolumeType != "io1" || *bdm[1].Ebs.Iops != 200 || *bdm[1].Ebs.DeleteOnTermination || bdm[3].VirtualName != "ephemeral0" || bdm[3].Ebs != nil {
		t.Errorf("%+v", bdm)
	}
	// Its instances have what it says, over the snapshots' blocks, also those of an account that it is shared with.
	c.write(func(tx *store.Tx) error {
		next := *store.Images.Get(tx, img.ID)
		next.Public = true
		return store.Images.Put(tx, &next)
	})
	again, err := c.RunInstances(c.bob, &shape.RunInstancesRequest{ImageId: img.ID, InstanceType: "t3.nano", MinCount: 1, MaxCount: 1})
	if err != nil {
		t.Fatal(err)
	}
	var got []int
	for v := range store.VolumesByInstance.By(c.Store.Snapshot(), again.Instances[0].InstanceId) {
		got = append(got, v.SizeGiB)
		if v.SnapshotID != "" && (v.Base == nil || v.Base.Format != chunks.Format) {
			t.Errorf("%+v", v)
		}
	}
	if slices.Sort(got); !slices.Equal(got, []int{3, 7, root.SizeGiB + 2}) && !slices.Equal(got, []int{root.SizeGiB + 2, 3, 7}) {
		t.Errorf("volumes of %v GiB", got)
	}
	_, err = c.RunInstances(c.bob, &shape.RunInstancesRequest{ImageId: img.ID, InstanceType: "t3.nano", MinCount: 1, MaxCount: 1, BlockDeviceMappings: []shape.BlockDeviceMapping{
		{DeviceName: "/dev/sdx", Ebs: &shape.EbsBlockDevice{SnapshotId: img.Mappings[1].SnapshotID}},
	}})
	c.code("its snapshot at another device", err, "InvalidSnapshot.NotFound")

	// A running guest is restarted unless it is said otherwise; a snapshot that fails makes the image fail.
	out, err = c.CreateImage(c.alice, &shape.CreateImageRequest{InstanceId: id, Name: "other"})
	if err != nil {
		t.Fatal(err)
	}
	if snap := store.Snapshots.Get(c.Store.Snapshot(), c.img(out.ImageId).SnapshotID); !snap.Reboot {
		t.Errorf("%+v", snap)
	}
	c.settle(out.ImageId, true)
	if img := c.img(out.ImageId); img.State != resource.ImageFailed || img.StateReason == "" {
		t.Errorf("%+v", img)
	}
}

func TestRegisterSnapshot(t *testing.T) {
	c := newCloud(t)
	vol := c.newVolume(3)
	c.made(vol)
	snap := c.snapshot(vol)
	root := func(e *shape.EbsBlockDevice) *shape.RegisterImageRequest {
		return &shape.RegisterImageRequest{Name: "from", RootDeviceName: "/dev/xvda", BlockDeviceMappings: []shape.BlockDeviceMapping{{DeviceName: "/dev/xvda", Ebs: e}}}
	}
	_, err := c.RegisterImage(c.alice, root(&shape.EbsBlockDevice{SnapshotId: snap}))
	c.code("pending", err, "IncorrectState")
	c.complete(snap)
	_, err = c.RegisterImage(c.bob, root(&shape.EbsBlockDevice{SnapshotId: snap}))
	c.code("another's", err, "InvalidSnapshot.NotFound")
	_, err = c.RegisterImage(c.alice, root(&shape.EbsBlockDevice{VolumeSize: ptr(3)}))
	c.code("no snapshot", err, "InvalidBlockDeviceMapping")
	_, err = c.RegisterImage(c.alice, root(&shape.EbsBlockDevice{SnapshotId: snap, VolumeSize: ptr(2)}))
	c.code("too small", err, "InvalidBlockDeviceMapping")
	out, err := c.RegisterImage(c.alice, root(&shape.EbsBlockDevice{SnapshotId: snap, VolumeType: "gp2"}))
	if err != nil {
		t.Fatal(err)
	}
	if img := c.img(out.ImageId); img.State != resource.ImageAvailable || img.RootDeviceName != "/dev/xvda" || img.Mappings[0].SizeGiB != 3 || img.SnapshotID != snap {
		t.Errorf("%+v", img)
	}
	_, err = c.RegisterImage(c.alice, root(&shape.EbsBlockDevice{SnapshotId: snap}))
	c.code("twice", err, "InvalidAMIName.Duplicate")
	c.image = out.ImageId
	if inst := c.one(c.run(1)[0]); inst.RootDeviceName != "/dev/xvda" || inst.RootDeviceType != "ebs" {
		t.Errorf("%+v", inst)
	}

	// A copy has its own snapshots, of the same data.
	_, err = c.CopyImage(c.bob, &shape.CopyImageRequest{Name: "copy", SourceImageId: out.ImageId, SourceRegion: east})
	c.code("copy what is not shared", err, "InvalidAMIID.NotFound")
	c.write(func(tx *store.Tx) error {
		next := *store.Images.Get(tx, out.ImageId)
		next.Public = true
		return store.Images.Put(tx, &next)
	})
	_, err = c.CopyImage(c.bob, &shape.CopyImageRequest{Name: "copy", SourceImageId: out.ImageId, SourceRegion: east})
	c.code("copy an image whose snapshot is not shared", err, "InvalidRequest")
	copied, err := c.CopyImage(c.alice, &shape.CopyImageRequest{Name: "copy", SourceImageId: out.ImageId, SourceRegion: east, ClientToken: "t"})
	if err != nil {
		t.Fatal(err)
	}
	second, err := c.CopyImage(c.alice, &shape.CopyImageRequest{Name: "copy", SourceImageId: out.ImageId, SourceRegion: east, ClientToken: "t"})
	if err != nil || second.ImageId != copied.ImageId {
		t.Errorf("with the same token: %+v, %v", second, err)
	}
	_, err = c.CopyImage(c.alice, &shape.CopyImageRequest{Name: "copy2", SourceImageId: out.ImageId, SourceRegion: east, ClientToken: "t"})
	c.code("the token for another", err, "IdempotentParameterMismatch")
	img := c.img(copied.ImageId)
	if img.Public || img.SnapshotID == snap || img.SnapshotID != img.Mappings[0].SnapshotID || store.Snapshots.Get(c.Store.Snapshot(), img.SnapshotID).Data != store.Snapshots.Get(c.Store.Snapshot(), snap).Data {
		t.Errorf("%+v", img)
	}
	for _, id := range []string{out.ImageId} {
		if _, err := c.DeregisterImage(c.alice, &shape.DeregisterImageRequest{ImageId: id}); err != nil {
			t.Error(err)
		}
	}
	if _, err := c.DeleteSnapshot(c.alice, &shape.DeleteSnapshotRequest{SnapshotId: snap}); err != nil {
		t.Error(err)
	}
	if live := chunks.Live(c.Store.Snapshot()); !live[chunks.ListKey(snap)] {
		t.Error("the copy's blocks would be swept away")
	}
}
