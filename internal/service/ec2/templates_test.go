package ec2

import (
	"encoding/base64"
	"slices"
	"testing"

	shape "karri.dev/internal/aws/shape/ec2"
	"karri.dev/internal/resource"
	"karri.dev/internal/store"
)

func TestLaunchTemplates(t *testing.T) {
	c := newCloud(t)
	make := func(name, token string, d *shape.RequestLaunchTemplateData) (*shape.CreateLaunchTemplateResult, error) {
		return c.CreateLaunchTemplate(c.alice, &shape.CreateLaunchTemplateRequest{LaunchTemplateName: name, ClientToken: token, LaunchTemplateData: d})
	}
	data := &shape.RequestLaunchTemplateData{
		ImageId: c.image, InstanceType: "t3.nano", UserData: base64.StdEncoding.EncodeToString([]byte("#!/bin/sh")),
		MetadataOptions:   &shape.LaunchTemplateInstanceMetadataOptionsRequest{HttpTokens: "required", HttpPutResponseHopLimit: ptr(3)},
		TagSpecifications: []shape.LaunchTemplateTagSpecificationRequest{{ResourceType: "instance", Tags: []shape.Tag{{Key: "a", Value: "1"}, {Key: "b", Value: "1"}}}},
	}
	for name, want := range map[string]string{"": "MissingParameter", "no": "InvalidLaunchTemplateName.MalformedException", "with space": "InvalidLaunchTemplateName.MalformedException"} {
		_, err := make(name, "", data)
		c.code("name "+name, err, want)
	}
	_, err := make("web", "", &shape.RequestLaunchTemplateData{})
	c.code("empty data", err, "MissingParameter")
	_, err = make("web", "", &shape.RequestLaunchTemplateData{UserData: "!"})
	c.code("bad user data", err, "InvalidUserData.Malformed")
	first, err := make("web", "token", data)
	c.code("create", err, "")
	again, err := make("web", "token", data)
	c.code("create again", err, "")
	if again.LaunchTemplate.LaunchTemplateId != first.LaunchTemplate.LaunchTemplateId {
		t.Error("the token made a second template")
	}
	_, err = make("web", "token", &shape.RequestLaunchTemplateData{ImageId: "ami-1"})
	c.code("token with other data", err, "IdempotentParameterMismatch")
	_, err = make("web", "", data)
	c.code("name twice", err, "InvalidLaunchTemplateName.AlreadyExistsException")
	id := first.LaunchTemplate.LaunchTemplateId

	v2, err := c.CreateLaunchTemplateVersion(c.alice, &shape.CreateLaunchTemplateVersionRequest{
		LaunchTemplateName: "web", SourceVersion: "1", LaunchTemplateData: &shape.RequestLaunchTemplateData{InstanceType: "t3.micro"},
	})
	c.code("version", err, "")
	if v := v2.LaunchTemplateVersion; v.VersionNumber != 2 || v.LaunchTemplateData.ImageId != c.image || v.LaunchTemplateData.InstanceType != "t3.micro" || v.DefaultVersion {
		t.Errorf("%+v", v)
	}
	_, err = c.CreateLaunchTemplateVersion(c.bob, &shape.CreateLaunchTemplateVersionRequest{LaunchTemplateId: id, LaunchTemplateData: data})
	c.code("a version of somebody else's", err, "InvalidLaunchTemplateId.NotFound")

	launch := func(version string, more shape.RunInstancesRequest) (*shape.RunInstancesResult, error) {
		more.LaunchTemplate = &shape.LaunchTemplateSpecification{LaunchTemplateId: id, Version: version}
		more.MinCount, more.MaxCount = 1, 1
		return c.RunInstances(c.alice, &more)
	}
	for version, want := range map[string]string{"": "t3.nano", "$Default": "t3.nano", "$Latest": "t3.micro", "2": "t3.micro"} {
		out, err := launch(version, shape.RunInstancesRequest{})
		c.code("launch "+version, err, "")
		i := out.Instances[0]
		if i.InstanceType != want || i.MetadataOptions.HttpTokens != "required" || i.MetadataOptions.HttpPutResponseHopLimit != 3 {
			t.Errorf("version %q: %s %+v", version, i.InstanceType, i.MetadataOptions)
		}
		if !slices.Contains(i.Tags, shape.Tag{Key: templateTag, Value: id}) || !slices.Contains(i.Tags, shape.Tag{Key: "b", Value: "1"}) {
			t.Errorf("tags %v", i.Tags)
		}
	}
	out, err := launch("1", shape.RunInstancesRequest{
		InstanceType: "m1.small", MetadataOptions: &shape.InstanceMetadataOptionsRequest{HttpTokens: "optional"},
		TagSpecifications: []shape.TagSpecification{{ResourceType: "instance", Tags: []shape.Tag{{Key: "b", Value: "2"}}}},
	})
	c.code("launch with more", err, "")
	i := out.Instances[0]
	if i.InstanceType != "m1.small" || i.MetadataOptions.HttpTokens != "optional" || i.MetadataOptions.HttpPutResponseHopLimit != 3 ||
		!slices.Contains(i.Tags, shape.Tag{Key: "a", Value: "1"}) || !slices.Contains(i.Tags, shape.Tag{Key: "b", Value: "2"}) {
		t.Errorf("%s %+v %v", i.InstanceType, i.MetadataOptions, i.Tags)
	}
	_, err = launch("9", shape.RunInstancesRequest{})
	c.code("no such version", err, "InvalidLaunchTemplateId.VersionNotFound")
	_, err = launch("x", shape.RunInstancesRequest{})
	c.code("no version", err, "InvalidLaunchTemplateVersion.Malformed")

	// A launch with a token is the same launch after the template has moved on.
	one, err := launch("$Latest", shape.RunInstancesRequest{ClientToken: "again"})
	c.code("launch with a token", err, "")
	_, err = c.CreateLaunchTemplateVersion(c.alice, &shape.CreateLaunchTemplateVersionRequest{LaunchTemplateId: id, LaunchTemplateData: &shape.RequestLaunchTemplateData{EbsOptimized: ptr(true), ImageId: c.image}})
	c.code("version 3", err, "")
	two, err := launch("$Latest", shape.RunInstancesRequest{ClientToken: "again"})
	c.code("launch with a token, again", err, "")
	if one.Instances[0].InstanceId != two.Instances[0].InstanceId {
		t.Error("the token launched twice")
	}
	_, err = launch("3", shape.RunInstancesRequest{})
	c.code("a template with what is refused", err, "UnsupportedOperation")

	_, err = c.ModifyLaunchTemplate(c.alice, &shape.ModifyLaunchTemplateRequest{LaunchTemplateId: id, DefaultVersion: "2"})
	c.code("default", err, "")
	del, err := c.DeleteLaunchTemplateVersions(c.alice, &shape.DeleteLaunchTemplateVersionsRequest{LaunchTemplateId: id, Versions: []string{"1", "2", "7"}})
	c.code("delete versions", err, "")
	if len(del.SuccessfullyDeletedLaunchTemplateVersions) != 1 || len(del.UnsuccessfullyDeletedLaunchTemplateVersions) != 2 {
		t.Errorf("%+v", del)
	}
	list, err := c.DescribeLaunchTemplateVersions(c.alice, &shape.DescribeLaunchTemplateVersionsRequest{LaunchTemplateName: "web", MaxResults: ptr(1)})
	c.code("describe versions", err, "")
	if len(list.LaunchTemplateVersions) != 1 || list.LaunchTemplateVersions[0].VersionNumber != 3 || list.NextToken == "" {
		t.Errorf("%+v", list)
	}
	list, err = c.DescribeLaunchTemplateVersions(c.alice, &shape.DescribeLaunchTemplateVersionsRequest{LaunchTemplateName: "web", MaxResults: ptr(1), NextToken: list.NextToken})
	c.code("describe more versions", err, "")
	if len(list.LaunchTemplateVersions) != 1 || list.LaunchTemplateVersions[0].VersionNumber != 2 || list.NextToken != "" {
		t.Errorf("%+v", list)
	}
	all, err := c.DescribeLaunchTemplateVersions(c.alice, &shape.DescribeLaunchTemplateVersionsRequest{Versions: []string{"$Default"}})
	c.code("describe all defaults", err, "")
	if len(all.LaunchTemplateVersions) != 1 || !all.LaunchTemplateVersions[0].DefaultVersion {
		t.Errorf("%+v", all)
	}
	theirs, err := c.DescribeLaunchTemplates(c.bob, &shape.DescribeLaunchTemplatesRequest{})
	c.code("bob's", err, "")
	if len(theirs.LaunchTemplates) != 0 {
		t.Error("bob sees alice's templates")
	}

	got, err := c.GetLaunchTemplateData(c.alice, &shape.GetLaunchTemplateDataRequest{InstanceId: i.InstanceId})
	c.code("get data", err, "")
	if d := got.LaunchTemplateData; d.ImageId != c.image || d.InstanceType != "m1.small" || d.MetadataOptions.HttpPutResponseHopLimit != 3 || len(d.NetworkInterfaces) != 1 {
		t.Errorf("%+v", d)
	}
	_, err = c.DeleteLaunchTemplate(c.alice, &shape.DeleteLaunchTemplateRequest{LaunchTemplateName: "web"})
	c.code("delete", err, "")
	for v := range store.LaunchTemplateVersions.All(c.Store.Snapshot()) {
		t.Errorf("version %d is left", v.Number)
	}
	if err := c.Store.Snapshot().Check(); err != nil {
		t.Error(err)
	}
}

func TestPlacementGroups(t *testing.T) {
	c := newCloud(t)
	for _, g := range []shape.CreatePlacementGroupRequest{{GroupName: "near"}, {GroupName: "far", Strategy: "spread"}, {GroupName: "parts", Strategy: "partition", PartitionCount: ptr(3)}} {
		_, err := c.CreatePlacementGroup(c.alice, &g)
		c.code("create "+g.GroupName, err, "")
	}
	for code, g := range map[string]shape.CreatePlacementGroupRequest{
		"MissingParameter": {}, "InvalidPlacementGroup.Duplicate": {GroupName: "near"}, "InvalidParameterValue": {GroupName: "x", Strategy: "heap"},
		"InvalidParameterCombination": {GroupName: "x", PartitionCount: ptr(2)}, "UnsupportedOperation": {GroupName: "x", Strategy: "spread", SpreadLevel: "host"},
	} {
		_, err := c.CreatePlacementGroup(c.alice, &g)
		c.code("create", err, code)
	}
	run := func(p shape.Placement, n int) (*shape.RunInstancesResult, error) {
		return c.RunInstances(c.alice, &shape.RunInstancesRequest{ImageId: c.image, InstanceType: "t3.nano", MinCount: n, MaxCount: n, Placement: &p})
	}
	out, err := run(shape.Placement{GroupName: "parts", AvailabilityZone: "us-east-1a"}, 3)
	c.code("run in partitions", err, "")
	var parts []int
	for _, i := range out.Instances {
		parts = append(parts, *i.Placement.PartitionNumber)
	}
	if slices.Sort(parts); !slices.Equal(parts, []int{1, 2, 3}) {
		t.Errorf("partitions %v", parts)
	}
	_, err = run(shape.Placement{GroupName: "parts", PartitionNumber: ptr(4)}, 1)
	c.code("partition 4 of 3", err, "InvalidParameterValue")
	_, err = run(shape.Placement{GroupName: "near", PartitionNumber: ptr(1)}, 1)
	c.code("partition of a cluster", err, "InvalidParameterCombination")
	_, err = run(shape.Placement{GroupName: "none"}, 1)
	c.code("no group", err, "InvalidPlacementGroup.Unknown")
	_, err = run(shape.Placement{GroupName: "near", AvailabilityZone: "us-east-1a"}, 1)
	c.code("cluster", err, "")
	_, err = run(shape.Placement{GroupName: "near", AvailabilityZone: "us-east-1b"}, 1)
	c.code("cluster over zones", err, "InvalidParameterCombination")
	_, err = c.DeletePlacementGroup(c.alice, &shape.DeletePlacementGroupRequest{GroupName: "near"})
	c.code("delete in use", err, "InvalidPlacementGroup.InUse")
	_, err = c.DeletePlacementGroup(c.bob, &shape.DeletePlacementGroupRequest{GroupName: "far"})
	c.code("delete somebody else's", err, "InvalidPlacementGroup.Unknown")
	_, err = c.DeletePlacementGroup(c.alice, &shape.DeletePlacementGroupRequest{GroupName: "far"})
	c.code("delete", err, "")
	found, err := c.DescribeInstances(c.alice, &shape.DescribeInstancesRequest{Filters: []shape.Filter{
		{Name: "placement-group-name", Values: []string{"parts"}}, {Name: "placement-partition-number", Values: []string{"2"}},
	}})
	c.code("filter", err, "")
	if len(found.Reservations) != 1 || len(found.Reservations[0].Instances) != 1 {
		t.Errorf("%+v", found)
	}
}

func TestUnoffered(t *testing.T) {
	c := newCloud(t)
	_, err := c.RequestSpotInstances(c.alice, &shape.RequestSpotInstancesRequest{})
	c.code("spot", err, "UnsupportedOperation")
	_, err = c.AllocateHosts(c.alice, &shape.AllocateHostsRequest{})
	c.code("hosts", err, "UnsupportedOperation")
	_, err = c.DescribeHosts(c.alice, &shape.DescribeHostsRequest{HostIds: []string{"h-1"}})
	c.code("a host", err, "InvalidHostID.NotFound")
	_, err = c.DescribeSpotInstanceRequests(c.alice, &shape.DescribeSpotInstanceRequestsRequest{Filters: []shape.Filter{{Name: "x", Values: []string{"y"}}}})
	c.code("a filter", err, "InvalidParameterValue")
}

func TestConsolesOfGuests(t *testing.T) {
	c := newCloud(t)
	out, err := c.RunInstances(c.alice, &shape.RunInstancesRequest{ImageId: c.image, InstanceType: "t3.nano", MinCount: 1, MaxCount: 1})
	c.code("run", err, "")
	id := out.Instances[0].InstanceId
	_, err = c.GetConsoleScreenshot(c.alice, &shape.GetConsoleScreenshotRequest{InstanceId: id})
	c.code("a picture of a pending instance", err, "IncorrectInstanceState")
	c.write(func(tx *store.Tx) error {
		inst := *store.Instances.Get(tx, id)
		inst.State, inst.Node = resource.Running, "node-us-east-1a"
		return store.Instances.Put(tx, &inst)
	})
	_, err = c.GetConsoleScreenshot(c.alice, &shape.GetConsoleScreenshotRequest{InstanceId: id})
	c.code("no display", err, "UnsupportedOperation")
	c.consoles[id] = "boot\n<Password>\r\nb2xk\r\n</Password>\n<Password>\r\nbmV3\r\n</Password>"
	picture, err := c.GetConsoleScreenshot(c.alice, &shape.GetConsoleScreenshotRequest{InstanceId: id})
	c.code("a picture", err, "")
	if picture.ImageData != base64.StdEncoding.EncodeToString([]byte("jpeg")) {
		t.Error(picture.ImageData)
	}
	_, err = c.GetConsoleScreenshot(c.bob, &shape.GetConsoleScreenshotRequest{InstanceId: id})
	c.code("a picture of somebody else's", err, "InvalidInstanceID.NotFound")
	pass, err := c.GetPasswordData(c.alice, &shape.GetPasswordDataRequest{InstanceId: id})
	c.code("password", err, "")
	if pass.PasswordData != "bmV3" {
		t.Errorf("%q", pass.PasswordData)
	}
	_, err = c.EnableSerialConsoleAccess(c.alice, &shape.EnableSerialConsoleAccessRequest{})
	c.code("what is not there", err, "UnsupportedOperation")
	status, err := c.GetSerialConsoleAccessStatus(c.alice, &shape.GetSerialConsoleAccessStatusRequest{})
	c.code("status", err, "")
	if status.SerialConsoleAccessEnabled {
		t.Errorf("%v", status)
	}
}
