package ec2

import (
	"testing"

	shape "karri.dev/internal/aws/shape/ec2"
	"karri.dev/internal/chunks"
	"karri.dev/internal/lifecycle"
	"karri.dev/internal/resource"
	"karri.dev/internal/store"
)

// advance does what the cloud does with a task that replaces a root volume.
func (c *cloud) advance(id string) *resource.RootVolumeTask {
	c.Helper()
	c.write(func(tx *store.Tx) error {
		if t := store.RootVolumeTasks.Get(tx, id); t.Open() {
			return lifecycle.AdvanceRootTask(tx, t, c.clock())
		}
		return nil
	})
	return store.RootVolumeTasks.Get(c.Store.Snapshot(), id)
}

// restarted does what a zone does when a node has restarted a machine on the disks that are wanted.
func (c *cloud) restarted(instance string) {
	c.Helper()
	c.write(func(tx *store.Tx) error {
		for _, v := range volumesOf(tx, store.Instances.Get(tx, instance)) {
			next, link := *v, *v.Attachment
			if link.State == resource.Detaching {
				if err := lifecycle.Detached(tx, v); err != nil {
					return err
				}
				continue
			}
			link.State = resource.Attached
			next.Attachment = &link
			if err := store.Volumes.Put(tx, &next); err != nil {
				return err
			}
		}
		return nil
	})
}

// backedInstance launches one and lets it run.
func (c *cloud) backedInstance() (id, root string) {
	c.Helper()
	id = c.run(1)[0]
	c.place(id)
	root = c.one(id).BlockDeviceMappings[0].Ebs.VolumeId
	c.made(root)
	c.write(func(tx *store.Tx) error {
		v := *store.Volumes.Get(tx, root)
		v.State = resource.VolumeInUse
		return store.Volumes.Put(tx, &v)
	})
	c.restarted(id)
	return id, root
}

func TestReplaceRootVolume(t *testing.T) {
	c := newCloud(t)
	launched := c.backed()
	id, root := c.backedInstance()
	type req = shape.CreateReplaceRootVolumeTaskRequest
	replace := func(in req) *shape.ReplaceRootVolumeTask {
		t.Helper()
		in.InstanceId = id
		return do(c, c.CreateReplaceRootVolumeTask, in).ReplaceRootVolumeTask
	}
	// From a snapshot of the root volume.
	snap := c.snapshot(root)
	c.complete(snap)
	task := replace(req{SnapshotId: snap, ClientToken: "one", TagSpecifications: []shape.TagSpecification{{ResourceType: "replace-root-volume-task", Tags: []shape.Tag{{Key: "a", Value: "b"}}}}})
	if task.TaskState != "pending" || task.SnapshotId != snap || len(task.Tags) != 1 || task.CompleteTime != "" {
		t.Errorf("%+v", task)
	}
	if again := replace(req{SnapshotId: snap, ClientToken: "one", TagSpecifications: []shape.TagSpecification{{ResourceType: "replace-root-volume-task", Tags: []shape.Tag{{Key: "a", Value: "b"}}}}}); again.ReplaceRootVolumeTaskId != task.ReplaceRootVolumeTaskId {
		t.Error("the token made another task")
	}
	refused(c, c.CreateReplaceRootVolumeTask, req{InstanceId: id, ClientToken: "one"}, "IdempotentParameterMismatch")
	refused(c, c.CreateReplaceRootVolumeTask, req{InstanceId: id}, "IncorrectState") // one at a time
	now := c.advance(task.ReplaceRootVolumeTaskId)
	if now.State != "pending" {
		t.Errorf("the volume is not made, and the task is %s", now.State)
	}
	c.made(now.New)
	v := c.vol(now.New)
	if v.SnapshotID != snap || v.Base == nil || v.Base.Format != chunks.Format || v.Attachment != nil {
		t.Errorf("%+v", v)
	}
	now = c.advance(now.ID)
	inst := store.Instances.Get(c.Store.Snapshot(), id)
	if now.State != "in-progress" || inst.Restarts != 1 || inst.State != resource.Running || c.vol(root).Attachment.State != resource.Detaching || c.vol(now.New).Attachment.State != resource.Attaching {
		t.Errorf("%+v, %+v", now, inst)
	}
	if now = c.advance(now.ID); now.State != "in-progress" {
		t.Error("done before the guest has it")
	}
	c.restarted(id)
	now = c.advance(now.ID)
	out := do(c, c.DescribeReplaceRootVolumeTasks, shape.DescribeReplaceRootVolumeTasksRequest{Filters: []shape.Filter{{Name: "instance-id", Values: []string{id}}}})
	if list := out.ReplaceRootVolumeTasks; len(list) != 1 || list[0].TaskState != "succeeded" || list[0].CompleteTime == "" {
		t.Errorf("%+v", list)
	}
	if v := c.vol(root); v.State != resource.VolumeAvailable || v.Attachment != nil {
		t.Errorf("the old volume: %+v", v)
	}
	if d := c.one(id).BlockDeviceMappings; len(d) != 1 || d[0].Ebs.VolumeId != now.New || !d[0].Ebs.DeleteOnTermination {
		t.Errorf("%+v", d)
	}
	// To the launch state: what the first root volume was made of. The replaced one goes.
	second := now.New
	task = replace(req{DeleteReplacedRootVolume: ptr(true)})
	now = store.RootVolumeTasks.Get(c.Store.Snapshot(), task.ReplaceRootVolumeTaskId)
	if v := c.vol(now.New); v.SnapshotID != launched.ID || v.Descent() != root {
		t.Errorf("%+v", v)
	}
	c.made(now.New)
	c.advance(now.ID)
	c.restarted(id)
	if now = c.advance(now.ID); now.State != "succeeded" || c.vol(second).State != resource.VolumeDeleting {
		t.Errorf("%+v %+v", now, c.vol(second))
	}
	// A snapshot of an ancestor is still one of the root volume; of another volume it is none.
	other := c.newVolume(1)
	c.made(other)
	foreign := c.snapshot(other)
	c.complete(foreign)
	refused(c, c.CreateReplaceRootVolumeTask, req{InstanceId: id, SnapshotId: foreign}, "InvalidParameterValue")
	task = replace(req{SnapshotId: snap})
	// It fails where the machine stops before, and leaves nothing.
	c.write(func(tx *store.Tx) error {
		inst := *store.Instances.Get(tx, id)
		inst.State, inst.Power = resource.Stopping, resource.PowerOff
		return store.Instances.Put(tx, &inst)
	})
	if now = c.advance(task.ReplaceRootVolumeTaskId); now.State != "failed" || c.vol(now.New).State != resource.VolumeDeleting {
		t.Errorf("%+v %+v", now, c.vol(now.New))
	}
	refused(c, c.CreateReplaceRootVolumeTask, req{InstanceId: id}, "IncorrectInstanceState")
}

func TestReplaceRootVolumeOfImage(t *testing.T) {
	c := newCloud(t)
	c.backed()
	id, root := c.backedInstance()
	type req = shape.CreateReplaceRootVolumeTaskRequest
	snap := c.snapshot(root)
	c.complete(snap)
	register := func(name string, change func(*shape.RegisterImageRequest)) string {
		in := shape.RegisterImageRequest{
			Name: name, RootDeviceName: "/dev/xvda", Architecture: "x86_64",
			BlockDeviceMappings: []shape.BlockDeviceMapping{{DeviceName: "/dev/xvda", Ebs: &shape.EbsBlockDevice{SnapshotId: snap, VolumeSize: ptr(5)}}},
		}
		change(&in)
		return do(c, c.RegisterImage, in).ImageId
	}
	image := register("new", func(*shape.RegisterImageRequest) {})
	uefi := register("uefi", func(in *shape.RegisterImageRequest) { in.BootMode = "uefi" })
	refused(c, c.CreateReplaceRootVolumeTask, req{InstanceId: id, ImageId: uefi}, "InvalidParameterValue")
	refused(c, c.CreateReplaceRootVolumeTask, req{InstanceId: id, ImageId: "ami-00000000000000000"}, "InvalidAMIID.NotFound")
	refused(c, c.CreateReplaceRootVolumeTask, req{InstanceId: id, ImageId: image, SnapshotId: snap}, "InvalidParameterCombination")
	_, err := c.CreateReplaceRootVolumeTask(c.bob, &req{InstanceId: id})
	c.code("of another account's instance", err, "InvalidInstanceID.NotFound")
	task := do(c, c.CreateReplaceRootVolumeTask, req{InstanceId: id, ImageId: image}).ReplaceRootVolumeTask
	now := store.RootVolumeTasks.Get(c.Store.Snapshot(), task.ReplaceRootVolumeTaskId)
	c.made(now.New)
	c.advance(now.ID)
	// The guest is stopped in the middle: then it starts on the new volume.
	c.write(func(tx *store.Tx) error { return lifecycle.Stopped(tx, store.Instances.Get(tx, id)) })
	if now = c.advance(now.ID); now.State != "succeeded" || c.vol(root).Attachment != nil || c.vol(now.New).Attachment.State != resource.Attached {
		t.Errorf("%+v", now)
	}
	if got := c.one(id); got.ImageId != image || got.RootDeviceName == "" {
		t.Errorf("%s", got.ImageId)
	}
	// Back to the launch state is now the image's.
	if v := c.vol(now.New); v.Descent() != v.ID || v.SnapshotID != snap {
		t.Errorf("%+v", v)
	}
}

// Whether a volume ends with its instance, and whether that can be stopped, is changed while it runs.
func TestVolumeAndStopAttributes(t *testing.T) {
	c := newCloud(t)
	c.backed()
	id, root := c.backedInstance()
	modify := func(in shape.ModifyInstanceAttributeRequest) error {
		in.InstanceId = id
		_, err := c.ModifyInstanceAttribute(c.alice, &in)
		return err
	}
	keep := func(device string) []shape.InstanceBlockDeviceMappingSpecification {
		return []shape.InstanceBlockDeviceMappingSpecification{{DeviceName: device, Ebs: &shape.EbsInstanceBlockDeviceSpecification{DeleteOnTermination: ptr(false)}}}
	}
	device := c.vol(root).Attachment.Device
	c.code("keep", modify(shape.ModifyInstanceAttributeRequest{BlockDeviceMappings: keep(device)}), "")
	if c.vol(root).Attachment.DeleteOnEnd {
		t.Error("the root volume would end with its instance")
	}
	c.code("no such device", modify(shape.ModifyInstanceAttributeRequest{BlockDeviceMappings: keep("/dev/sdz")}), "InvalidInstanceAttributeValue")
	c.code("nothing said", modify(shape.ModifyInstanceAttributeRequest{BlockDeviceMappings: []shape.InstanceBlockDeviceMappingSpecification{{DeviceName: device}}}), "MissingParameter")
	c.code("protect", modify(shape.ModifyInstanceAttributeRequest{DisableApiStop: boolean(true)}), "")
	refused(c, c.StopInstances, shape.StopInstancesRequest{InstanceIds: []string{id}}, "OperationNotPermitted")
	if out := do(c, c.DescribeInstanceAttribute, shape.DescribeInstanceAttributeRequest{InstanceId: id, Attribute: "disableApiStop"}); !*out.DisableApiStop.Value {
		t.Error("the protection is not shown")
	}
	c.code("by the older way", modify(shape.ModifyInstanceAttributeRequest{Attribute: "disableApiStop", Value: "false"}), "")
	do(c, c.StopInstances, shape.StopInstancesRequest{InstanceIds: []string{id}})
	c.code("a kernel while it runs", modify(shape.ModifyInstanceAttributeRequest{Kernel: text("aki-0123456789abcdef0")}), "IncorrectInstanceState")
	c.write(func(tx *store.Tx) error { return lifecycle.Stopped(tx, store.Instances.Get(tx, id)) })
	c.code("no such kernel", modify(shape.ModifyInstanceAttributeRequest{Kernel: text("aki-0123456789abcdef0")}), "InvalidAMIID.NotFound")
	c.write(func(tx *store.Tx) error {
		img := *store.Images.Get(tx, c.image)
		img.ID, img.Kind, img.Name, img.AccountID = "aki-0123456789abcdef0", "kernel", "kernel", alice
		return store.Images.Put(tx, &img)
	})
	c.code("a kernel", modify(shape.ModifyInstanceAttributeRequest{Kernel: text("aki-0123456789abcdef0")}), "")
	c.code("a kernel for a ramdisk", modify(shape.ModifyInstanceAttributeRequest{Ramdisk: text("aki-0123456789abcdef0")}), "InvalidAMIID.NotFound")
	if got := store.Instances.Get(c.Store.Snapshot(), id); got.KernelID != "aki-0123456789abcdef0" || got.RamdiskID != "" {
		t.Errorf("%+v", got)
	}
}
