package ec2

import (
	"encoding/base64"
	"fmt"
	"strings"
	"testing"

	shape "karri.dev/internal/aws/shape/ec2"
	"karri.dev/internal/resource"
	"karri.dev/internal/store"
)

func TestImportInstance(t *testing.T) {
	c := newCloud(t)
	c.content = map[string]string{}
	for _, name := range []string{"root", "data"} {
		c.content["disks/"+name] = fmt.Sprintf(`<manifest><version>2010-11-15</version><file-format>RAW</file-format><import><size>10</size><volume-size>1</volume-size>`+
			`<parts count="1"><part index="0"><byte-range start="0" end="9"/><key>%s0</key></part></parts></import></manifest>`, name)
		c.objects[alice+"/disks/"+name] = true
	}
	image := func(name string, gib int64) shape.DiskImage {
		return shape.DiskImage{
			Description: name, Volume: &shape.VolumeDetail{Size: gib},
			Image: &shape.DiskImageDetail{Format: "RAW", Bytes: 10, ImportManifestUrl: "https://s3.cloud.test/disks/" + name},
		}
	}
	request := func(change ...func(*shape.ImportInstanceRequest)) *shape.ImportInstanceRequest {
		in := &shape.ImportInstanceRequest{
			Description: "d", Platform: "Linux", DiskImages: []shape.DiskImage{image("root", 8), image("data", 2)},
			LaunchSpecification: &shape.ImportInstanceLaunchSpecification{
				Architecture: "x86_64", InstanceType: "t3.nano", GroupNames: []string{"default"}, Placement: &shape.Placement{AvailabilityZone: "us-east-1a"},
				UserData: &shape.UserData{Data: base64.StdEncoding.EncodeToString([]byte("#!/bin/sh"))}, InstanceInitiatedShutdownBehavior: "terminate",
			},
		}
		for _, f := range change {
			f(in)
		}
		return in
	}
	spec := func(f func(*shape.ImportInstanceLaunchSpecification)) func(*shape.ImportInstanceRequest) {
		return func(in *shape.ImportInstanceRequest) { f(in.LaunchSpecification) }
	}
	theirs := ""
	for s := range store.SubnetsByOwner.By(c.Store.Snapshot(), bob+"/"+east) {
		theirs = s.ID
	}
	for name, x := range map[string]struct {
		change func(*shape.ImportInstanceRequest)
		code   string
	}{
		"no platform":      {func(in *shape.ImportInstanceRequest) { in.Platform = "" }, "MissingParameter"},
		"another platform": {func(in *shape.ImportInstanceRequest) { in.Platform = "BeOS" }, "InvalidParameterValue"},
		"no disks":         {func(in *shape.ImportInstanceRequest) { in.DiskImages = nil }, "MissingParameter"},
		"too many disks":   {func(in *shape.ImportInstanceRequest) { in.DiskImages = make([]shape.DiskImage, 21) }, "InvalidParameter"},
		"no volume size":   {func(in *shape.ImportInstanceRequest) { in.DiskImages[1].Volume = nil }, "MissingParameter"},
		"another's URL":    {func(in *shape.ImportInstanceRequest) { in.DiskImages[1] = image("stolen", 1) }, "InvalidParameter"},
		"no specification": {func(in *shape.ImportInstanceRequest) { in.LaunchSpecification = nil }, "MissingParameter"},
		"no type":          {spec(func(l *shape.ImportInstanceLaunchSpecification) { l.InstanceType = "" }), "MissingParameter"},
		"unknown type":     {spec(func(l *shape.ImportInstanceLaunchSpecification) { l.InstanceType = "t3.pico" }), "InvalidParameterValue"},
		"ARM":              {spec(func(l *shape.ImportInstanceLaunchSpecification) { l.Architecture = "arm64" }), "InvalidParameterValue"},
		"unknown group":    {spec(func(l *shape.ImportInstanceLaunchSpecification) { l.GroupNames = []string{"none"} }), "InvalidGroup.NotFound"},
		"unknown zone":     {spec(func(l *shape.ImportInstanceLaunchSpecification) { l.Placement.AvailabilityZone = "mars" }), "InvalidParameterValue"},
		"another's subnet": {spec(func(l *shape.ImportInstanceLaunchSpecification) {
			l.Placement, l.GroupNames, l.SubnetId = nil, nil, theirs
		}), "InvalidSubnetID.NotFound"},
		"user data":       {spec(func(l *shape.ImportInstanceLaunchSpecification) { l.UserData.Data = "!" }), "InvalidUserData.Malformed"},
		"additional info": {spec(func(l *shape.ImportInstanceLaunchSpecification) { l.AdditionalInfo = "x" }), "UnsupportedOperation"},
		"dry run":         {func(in *shape.ImportInstanceRequest) { in.DryRun = ptr(true) }, "DryRunOperation"},
	} {
		c.code(name, second(c.ImportInstance(c.alice, request(x.change))), x.code)
	}
	before := store.Images.Len(c.Store.Snapshot())

	made, err := c.ImportInstance(c.alice, request())
	if err != nil {
		t.Fatal(err)
	}
	task := made.ConversionTask
	id, instance := task.ConversionTaskId, task.ImportInstance.InstanceId
	if !strings.HasPrefix(id, "import-i-") || !strings.HasPrefix(instance, "i-") || task.ImportVolume != nil || len(task.ImportInstance.Volumes) != 2 {
		t.Fatalf("%+v", task)
	}
	if store.Images.Len(c.Store.Snapshot()) != before || store.Instances.Len(c.Store.Snapshot()) != 0 {
		t.Error("there is an image or an instance before the disks are converted")
	}
	describe := func(ids ...string) shape.ConversionTask {
		t.Helper()
		out, err := c.DescribeConversionTasks(c.alice, &shape.DescribeConversionTasksRequest{ConversionTaskIds: ids})
		if err != nil || len(out.ConversionTasks) != 1 {
			t.Fatalf("%+v %v", out, err)
		}
		return out.ConversionTasks[0]
	}
	c.code("bob looks", second(c.DescribeConversionTasks(c.bob, &shape.DescribeConversionTasksRequest{ConversionTaskIds: []string{id}})), "InvalidConversionTaskId")
	c.code("bob cancels", second(c.CancelConversionTask(c.bob, &shape.CancelConversionTaskRequest{ConversionTaskId: id})), "InvalidConversionTaskId")
	if out, err := c.DescribeImportImageTasks(c.alice, &shape.DescribeImportImageTasksRequest{}); err != nil || len(out.ImportImageTasks) != 0 {
		t.Errorf("it is shown among imports of images: %+v %v", out, err)
	}

	// Half of the work is the first disk.
	record := func() *resource.ImportTask { return store.ImportTasks.Get(c.Store.Snapshot(), id) }
	half := *record()
	half.Progress = 75
	c.write(func(tx *store.Tx) error { return store.ImportTasks.Put(tx, &half) })
	v := describe().ImportInstance.Volumes
	if v[0].BytesConverted != 10 || v[1].BytesConverted != 5 || v[0].Description != "root" || v[1].Volume.Size != 2 || v[1].Volume.Id != "" || v[0].AvailabilityZone != "us-east-1a" {
		t.Errorf("%+v", v)
	}

	disks := []resource.ImageData{{Key: "images/root", Format: "qcow2"}, {Key: "images/data", Format: "qcow2"}}
	finish := func() error {
		return c.Store.Update(t.Context(), func(tx *store.Tx) error {
			done := *record()
			done.Status = "completed"
			if err := store.ImportTasks.Put(tx, &done); err != nil {
				return err
			}
			return c.AddInstance(tx, &done, disks)
		})
	}
	c.quota(alice, map[string]int64{"ec2:quota-volumetotalsize": 9})
	c.code("beyond the quota", finish(), "VolumeLimitExceeded")
	c.quota(alice, map[string]int64{"ec2:quota-volumetotalsize": 10})
	c.code("finish", finish(), "")
	got := describe(id)
	i := c.one(instance)
	if got.State != "completed" || i.State.Name != "stopped" || i.RootDeviceType != "ebs" || i.Placement.AvailabilityZone != "us-east-1a" || i.SecurityGroups[0].GroupName != "default" {
		t.Errorf("%+v\n%+v", got, i)
	}
	if len(i.BlockDeviceMappings) != 2 || i.BlockDeviceMappings[0].DeviceName != "/dev/sda1" || i.BlockDeviceMappings[1].DeviceName != "/dev/sdb" ||
		i.BlockDeviceMappings[1].Ebs.VolumeId != got.ImportInstance.Volumes[1].Volume.Id {
		t.Errorf("%+v", i.BlockDeviceMappings)
	}
	for n, m := range i.BlockDeviceMappings {
		if v := store.Volumes.Get(c.Store.Snapshot(), m.Ebs.VolumeId); v.Base == nil || *v.Base != disks[n] || v.SnapshotID != "" || v.SizeGiB != []int{8, 2}[n] {
			t.Errorf("volume %d: %+v", n, v)
		}
	}
	inst := store.Instances.Get(c.Store.Snapshot(), instance)
	if c.userData(inst) != "#!/bin/sh" || inst.OnShutdown != "terminate" || inst.Power != resource.PowerOff {
		t.Errorf("%+v", inst)
	}
	c.code("its image", second(c.DescribeImages(c.alice, &shape.DescribeImagesRequest{ImageIds: []string{i.ImageId}})), "InvalidAMIID.NotFound")
	c.code("a launch of its image", second(c.RunInstances(c.alice, &shape.RunInstancesRequest{ImageId: i.ImageId, MinCount: 1, MaxCount: 1})), "InvalidAMIID.NotFound")
	c.code("start", second(c.StartInstances(c.alice, &shape.StartInstancesRequest{InstanceIds: []string{instance}})), "")
	if s := c.one(instance).State.Name; s != "pending" {
		t.Error(s)
	}
	c.code("end", second(c.TerminateInstances(c.alice, &shape.TerminateInstancesRequest{InstanceIds: []string{instance}})), "")
	if store.Images.Get(c.Store.Snapshot(), i.ImageId) != nil {
		t.Error("its image outlives it")
	}
	c.invariants()
}
