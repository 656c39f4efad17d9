package ec2

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"karri.dev/internal/aws/awserr"
	shape "karri.dev/internal/aws/shape/ec2"
	"karri.dev/internal/resource"
	"karri.dev/internal/store"
)

// Every filter that AWS documents for instances is known, and those that say what an instance is find it.
func TestInstanceFilters(t *testing.T) {
	c := newCloud(t)
	ids := c.run(2, func(r *shape.RunInstancesRequest) {
		r.TagSpecifications = []shape.TagSpecification{
			{ResourceType: "instance", Tags: []shape.Tag{{Key: "Name", Value: "web"}}},
			{ResourceType: "network-interface", Tags: []shape.Tag{{Key: "nic", Value: "yes"}}},
		}
	})
	i := c.one(ids[0])
	n := i.NetworkInterfaces[0]
	for _, pair := range [][2]string{
		{"instance-id", i.InstanceId},
		{"instance-state-name", "pending"},
		{"instance-state-code", "0"},
		{"image-id", strings.Replace(i.ImageId, "ami-", "emi-", 1)},
		{"instance-type", "t3.*"},
		{"availability-zone", i.Placement.AvailabilityZone},
		{"vpc-id", i.VpcId},
		{"subnet-id", i.SubnetId},
		{"private-ip-address", i.PrivateIpAddress},
		{"ip-address", i.PublicIpAddress},
		{"dns-name", i.PublicDnsName},
		{"private-dns-name", i.PrivateDnsName},
		{"tag:Name", "w?b"},
		{"tag-key", "Name"},
		{"network-interface.tag-key", "nic"},
		{"network-interface.mac-address", n.MacAddress},
		{"network-interface.network-interface-id", n.NetworkInterfaceId},
		{"network-interface.attachment.attachment-id", n.Attachment.AttachmentId},
		{"network-interface.association.public-ip", i.PublicIpAddress},
		{"instance.group-name", "default"},
		{"instance.group-id", n.Groups[0].GroupId},
		{"launch-time", "2026-11-21T*"},
		{"owner-id", alice},
		{"root-device-type", "instance-store"},
		{"metadata-options.http-tokens", "optional"},
		{"launch-index", "0"},
		{"reservation-id", "r-*"},
		{"state-reason-code", "pending"},
		{"architecture", "x86_64"},
		{"hypervisor", "xen"},
		{"source-dest-check", "true"},
		{"monitoring-state", "disabled"},
		{"tenancy", "default"},
		{"client-token", "*"},
	} {
		out, err := c.DescribeInstances(c.alice, &shape.DescribeInstancesRequest{Filters: filters("instance-id", i.InstanceId, pair[0], pair[1])})
		want := 1
		if pair[0] == "client-token" {
			want = 0
		}
		if err != nil || len(out.Reservations) != want {
			t.Errorf("%s=%s finds %d, %v", pair[0], pair[1], len(out.Reservations), err)
		}
	}
	_, err := c.DescribeInstances(c.alice, &shape.DescribeInstancesRequest{Filters: filters("colour", "red")})
	c.code("unknown filter", err, "InvalidParameterValue")
	for _, f := range instanceFilters.Fields { // none panics on an instance of which everything is gone
		f(&instanceView{Instance: &resource.Instance{State: resource.Terminated}, r: c.Store.Snapshot(), s: c.Service})
	}
}

// Pages give every instance exactly once, and tokens are good for their call and account alone.
func TestPages(t *testing.T) {
	c := newCloud(t)
	want := c.run(23)
	slices.Sort(want)
	var got []string
	token := ""
	for pages := 1; ; pages++ {
		out, err := c.DescribeInstances(c.alice, &shape.DescribeInstancesRequest{MaxResults: ptr(7), NextToken: token})
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range out.Reservations {
			for _, i := range r.Instances {
				got = append(got, i.InstanceId)
			}
		}
		if token = out.NextToken; token == "" {
			if pages != 4 {
				t.Errorf("%d pages", pages)
			}
			break
		}
		_, err = c.DescribeInstances(c.bob, &shape.DescribeInstancesRequest{NextToken: token})
		c.code("bob's use of a token", err, "InvalidNextToken")
		_, err = c.DescribeVpcs(c.alice, &shape.DescribeVpcsRequest{NextToken: token})
		c.code("use for another call", err, "InvalidNextToken")
	}
	if !slices.Equal(got, want) {
		t.Errorf("%d of %d", len(got), len(want))
	}
	_, err := c.DescribeInstances(c.alice, &shape.DescribeInstancesRequest{MaxResults: ptr(4)})
	c.code("small page", err, "InvalidParameterValue")
	_, err = c.DescribeInstances(c.alice, &shape.DescribeInstancesRequest{MaxResults: ptr(5), InstanceIds: want[:1]})
	c.code("page of ids", err, "InvalidParameterCombination")
	types, seen := "", map[string]bool{}
	for {
		out, err := c.DescribeInstanceTypes(c.alice, &shape.DescribeInstanceTypesRequest{MaxResults: ptr(10), NextToken: types})
		if err != nil {
			t.Fatal(err)
		}
		for _, k := range out.InstanceTypes {
			seen[k.InstanceType] = true
		}
		if types = out.NextToken; types == "" {
			break
		}
	}
	if table, _ := c.Types.At(c.Store.Snapshot()); len(seen) != len(table.All()) {
		t.Errorf("%d types", len(seen))
	}
}

func TestDefaultVPC(t *testing.T) {
	c := newCloud(t)
	vpcs, err := c.DescribeVpcs(c.alice, &shape.DescribeVpcsRequest{Filters: filters("is-default", "true")})
	if err != nil || len(vpcs.Vpcs) != 1 || vpcs.Vpcs[0].CidrBlock != "172.31.0.0/16" {
		t.Fatalf("%+v %v", vpcs, err)
	}
	id := vpcs.Vpcs[0].VpcId
	in := filters("vpc-id", id)
	subs, err := c.DescribeSubnets(c.alice, &shape.DescribeSubnetsRequest{Filters: append(in, filters("default-for-az", "true")...)})
	if err != nil || len(subs.Subnets) != 2 || subs.Subnets[0].AvailableIpAddressCount != 4091 || !subs.Subnets[0].MapPublicIpOnLaunch {
		t.Errorf("%+v %v", subs, err)
	}
	tables, err := c.DescribeRouteTables(c.alice, &shape.DescribeRouteTablesRequest{Filters: append(in, filters("association.main", "true", "route.state", "active")...)})
	if err != nil || len(tables.RouteTables) != 1 || len(tables.RouteTables[0].Routes) != 2 || tables.RouteTables[0].Routes[0].GatewayId != "local" {
		t.Errorf("%+v %v", tables, err)
	}
	acls, err := c.DescribeNetworkAcls(c.alice, &shape.DescribeNetworkAclsRequest{Filters: append(in, filters("default", "true", "entry.rule-number", "32767")...)})
	if err != nil || len(acls.NetworkAcls) != 1 || len(acls.NetworkAcls[0].Entries) != 4 || len(acls.NetworkAcls[0].Associations) != 2 {
		t.Errorf("%+v %v", acls, err)
	}
	groups, err := c.DescribeSecurityGroups(c.alice, &shape.DescribeSecurityGroupsRequest{Filters: append(in, filters("ip-permission.group-name", "default", "egress.ip-permission.cidr", "0.0.0.0/0")...)})
	if err != nil || len(groups.SecurityGroups) != 1 || groups.SecurityGroups[0].IpPermissions[0].UserIdGroupPairs[0].UserId != alice {
		t.Errorf("%+v %v", groups, err)
	}
	dhcp, err := c.DescribeDhcpOptions(c.alice, &shape.DescribeDhcpOptionsRequest{Filters: filters("value", "ec2.internal")})
	if err != nil || len(dhcp.DhcpOptions) != 1 {
		t.Errorf("%+v %v", dhcp, err)
	}
	a := store.VPCsByOwner.One(c.Store.Snapshot(), alice+"/"+east)
	b := store.VPCsByOwner.One(c.Store.Snapshot(), bob+"/"+east)
	if a.VNI == b.VNI {
		t.Error("two VPCs have one VNI")
	}
	// A zone that comes later gets its subnets, once.
	late := &resource.Zone{Name: "us-east-1c", Region: east, ZoneID: "use1-az3"}
	for range 2 {
		c.write(func(tx *store.Tx) error {
			if err := store.Zones.Put(tx, late); err != nil {
				return err
			}
			return CreateDefaultSubnets(tx, c.IDs, c.clock(), late)
		})
	}
	if subs, err = c.DescribeSubnets(c.alice, &shape.DescribeSubnetsRequest{Filters: filters("availability-zone-id", "use1-az3")}); err != nil || len(subs.Subnets) != 1 || subs.Subnets[0].CidrBlock != "172.31.32.0/20" {
		t.Errorf("%+v %v", subs, err)
	}
}

func TestSecurityGroupRules(t *testing.T) {
	c := newCloud(t)
	made, err := c.CreateSecurityGroup(c.alice, &shape.CreateSecurityGroupRequest{GroupName: "web", Description: "web servers"})
	if err != nil {
		t.Fatal(err)
	}
	g := made.GroupId
	_, err = c.CreateSecurityGroup(c.alice, &shape.CreateSecurityGroupRequest{GroupName: "web", Description: "web servers"})
	c.code("again", err, "InvalidGroup.Duplicate")
	perm := func(proto string, from, to int, cidr string) []shape.IpPermission {
		return []shape.IpPermission{{IpProtocol: proto, FromPort: &from, ToPort: &to, IpRanges: []shape.IpRange{{CidrIp: cidr}}}}
	}
	authorize := func(p []shape.IpPermission) error {
		return second(c.AuthorizeSecurityGroupIngress(c.alice, &shape.AuthorizeSecurityGroupIngressRequest{GroupId: g, IpPermissions: p}))
	}
	for _, x := range []struct {
		what  string
		perms []shape.IpPermission
		code  string
	}{
		{"ssh", perm("tcp", 22, 22, "0.0.0.0/0"), ""},
		{"ssh again", perm("6", 22, 22, "0.0.0.0/0"), "InvalidPermission.Duplicate"},
		{"host bits", perm("tcp", 80, 80, "10.1.2.3/8"), ""},
		{"host bits again", perm("tcp", 80, 80, "10.0.0.0/8"), "InvalidPermission.Duplicate"},
		{"backwards", perm("tcp", 23, 22, "0.0.0.0/0"), "InvalidParameterValue"},
		{"port 65536", perm("udp", 1, 65536, "0.0.0.0/0"), "InvalidParameterValue"},
		{"no mask", perm("tcp", 1, 2, "10.0.0.1"), "InvalidParameterValue"},
		{"IPv6 as IPv4", perm("tcp", 1, 2, "::/0"), "InvalidParameterValue"},
		{"protocol", perm("xtp", 1, 2, "0.0.0.0/0"), "InvalidPermission.Malformed"},
		{"protocol 256", perm("256", 1, 2, "0.0.0.0/0"), "InvalidPermission.Malformed"},
		{"ping", perm("icmp", 8, -1, "0.0.0.0/0"), ""},
		{"icmp code without type", perm("icmp", -1, 3, "0.0.0.0/0"), "InvalidParameterValue"},
		{"twice in one", append(perm("tcp", 9, 9, "0.0.0.0/0"), perm("tcp", 9, 9, "0.0.0.0/0")...), "InvalidParameterValue"},
		{"no peer", []shape.IpPermission{{IpProtocol: "-1"}}, "MissingParameter"},
		{"none", nil, "MissingParameter"},
		{"group", []shape.IpPermission{{IpProtocol: "-1", UserIdGroupPairs: []shape.UserIdGroupPair{{GroupName: "default"}}}}, ""},
	} {
		c.code(x.what, authorize(x.perms), x.code)
	}
	out, err := c.DescribeSecurityGroups(c.alice, &shape.DescribeSecurityGroupsRequest{GroupNames: []string{"web"}})
	if err != nil || len(out.SecurityGroups[0].IpPermissions) != 4 || out.SecurityGroups[0].IpPermissions[1].IpRanges[0].CidrIp != "10.0.0.0/8" {
		t.Errorf("%+v %v", out, err)
	}
	var many []shape.IpPermission
	for p := range 57 {
		many = append(many, perm("tcp", 1000+p, 1000+p, "0.0.0.0/0")...)
	}
	c.code("too many", authorize(many), "RulesPerSecurityGroupLimitExceeded")
	revoke := func(group string, p []shape.IpPermission, ids ...string) (*shape.RevokeSecurityGroupIngressResult, error) {
		return c.RevokeSecurityGroupIngress(c.alice, &shape.RevokeSecurityGroupIngressRequest{GroupId: group, IpPermissions: p, SecurityGroupRuleIds: ids})
	}
	gone, err := revoke(g, append(perm("tcp", 22, 22, "0.0.0.0/0"), perm("tcp", 4, 4, "0.0.0.0/0")...))
	if err != nil || len(gone.RevokedSecurityGroupRules) != 1 || len(gone.UnknownIpPermissions) != 1 {
		t.Errorf("%+v %v", gone, err)
	}
	rules, err := c.DescribeSecurityGroupRules(c.alice, &shape.DescribeSecurityGroupRulesRequest{Filters: filters("group-id", g)})
	if err != nil || len(rules.SecurityGroupRules) != 4 {
		t.Fatalf("%+v %v", rules, err)
	}
	for _, r := range rules.SecurityGroupRules {
		if !r.IsEgress {
			c.code("revoke "+r.SecurityGroupRuleId, second(revoke(g, nil, r.SecurityGroupRuleId)), "")
			c.code("again", second(revoke(g, nil, r.SecurityGroupRuleId)), "InvalidSecurityGroupRuleId.NotFound")
		}
	}
	id := c.run(1, func(r *shape.RunInstancesRequest) { r.SecurityGroupIds = []string{g} })[0]
	c.code("delete a group in use", second(c.DeleteSecurityGroup(c.alice, &shape.DeleteSecurityGroupRequest{GroupId: g})), "DependencyViolation")
	def := store.VPCsByOwner.One(c.Store.Snapshot(), alice+"/"+east).DefaultGroup
	c.code("change groups", second(c.ModifyInstanceAttribute(c.alice, &shape.ModifyInstanceAttributeRequest{InstanceId: id, Groups: []string{def}})), "")
	c.code("delete", second(c.DeleteSecurityGroup(c.alice, &shape.DeleteSecurityGroupRequest{GroupName: "web"})), "")
	c.code("delete the default", second(c.DeleteSecurityGroup(c.alice, &shape.DeleteSecurityGroupRequest{GroupId: def})), "CannotDelete")
}

func TestTags(t *testing.T) {
	c := newCloud(t)
	id := c.run(1)[0]
	create := func(tags ...shape.Tag) error {
		return second(c.CreateTags(c.alice, &shape.CreateTagsRequest{Resources: []string{id, c.image}, Tags: tags}))
	}
	var fifty []shape.Tag
	for n := range 50 {
		fifty = append(fifty, shape.Tag{Key: fmt.Sprintf("k%02d", n), Value: "v"})
	}
	c.code("fifty", create(fifty...), "")
	c.code("overwrite", create(shape.Tag{Key: "k00", Value: "new"}), "")
	c.code("one more", create(shape.Tag{Key: "more"}), "TagLimitExceeded")
	c.code("reserved", create(shape.Tag{Key: "aws:x"}), "InvalidParameterValue")
	c.code("long key", create(shape.Tag{Key: strings.Repeat("é", 129)}), "InvalidParameterValue")
	c.code("twice", create(shape.Tag{Key: "k00"}, shape.Tag{Key: "k00"}), "InvalidParameterValue")
	c.code("no such thing", second(c.CreateTags(c.alice, &shape.CreateTagsRequest{Resources: []string{"xyz-1"}, Tags: fifty[:1]})), "InvalidID")
	out, err := c.DescribeTags(c.alice, &shape.DescribeTagsRequest{Filters: filters("resource-type", "instance", "tag:k00", "new")})
	if err != nil || len(out.Tags) != 1 || out.Tags[0].ResourceId != id {
		t.Errorf("%+v %v", out, err)
	}
	seen, token := map[string]bool{}, ""
	for {
		out, err := c.DescribeTags(c.alice, &shape.DescribeTagsRequest{MaxResults: ptr(30), NextToken: token})
		if err != nil {
			t.Fatal(err)
		}
		for _, x := range out.Tags {
			seen[x.ResourceId+x.Key] = true
		}
		if token = out.NextToken; token == "" {
			break
		}
	}
	if len(seen) != 100 {
		t.Errorf("%d tags in pages", len(seen))
	}
	del := func(tags ...shape.Tag) {
		c.code("delete", second(c.DeleteTags(c.alice, &shape.DeleteTagsRequest{Resources: []string{id}, Tags: tags})), "")
	}
	del(shape.Tag{Key: "k00", Value: "other"}, shape.Tag{Key: "k01"})
	if n := len(c.one(id).Tags); n != 49 {
		t.Errorf("%d tags", n)
	}
	del()
	if n := len(c.one(id).Tags); n != 0 {
		t.Errorf("%d tags", n)
	}
}

func TestImagesAndImports(t *testing.T) {
	c := newCloud(t)
	images := func(in *shape.DescribeImagesRequest) int {
		out, err := c.DescribeImages(c.bob, in)
		if err != nil {
			t.Fatal(err)
		}
		return len(out.Images)
	}
	modify := func(add bool, p shape.LaunchPermission) error {
		m := &shape.LaunchPermissionModifications{Add: []shape.LaunchPermission{p}}
		if !add {
			m = &shape.LaunchPermissionModifications{Remove: []shape.LaunchPermission{p}}
		}
		return second(c.ModifyImageAttribute(c.alice, &shape.ModifyImageAttributeRequest{ImageId: c.image, LaunchPermission: m}))
	}
	if images(&shape.DescribeImagesRequest{}) != 0 {
		t.Error("bob sees a private image")
	}
	c.code("share", modify(true, shape.LaunchPermission{UserId: bob}), "")
	c.code("share with nobody", modify(true, shape.LaunchPermission{UserId: "999999999999"}), "InvalidAMIAttributeItemValue")
	if images(&shape.DescribeImagesRequest{ExecutableUsers: []string{"self"}}) != 1 || images(&shape.DescribeImagesRequest{Owners: []string{"self"}}) != 0 {
		t.Error("sharing does not show")
	}
	c.code("bob changes it", second(c.ModifyImageAttribute(c.bob, &shape.ModifyImageAttributeRequest{ImageId: c.image, Description: text("mine")})), "AuthFailure")
	c.code("reset", second(c.ResetImageAttribute(c.alice, &shape.ResetImageAttributeRequest{ImageId: c.image, Attribute: "launchPermission"})), "")
	c.code("publish", second(c.ModifyImageAttribute(c.alice, &shape.ModifyImageAttributeRequest{ImageId: c.image, Attribute: "launchPermission", OperationType: "add", UserGroups: []string{"all"}})), "")
	if images(&shape.DescribeImagesRequest{Owners: []string{alice}, Filters: filters("root-device-type", "instance-store", "is-public", "true")}) != 1 {
		t.Error("publishing does not show")
	}
	for what, x := range map[string]struct {
		edit func(*shape.ImportImageRequest)
		code string
	}{
		"": {func(*shape.ImportImageRequest) {}, ""},
		"url": {func(r *shape.ImportImageRequest) {
			r.DiskContainers[0] = shape.ImageDiskContainer{Format: "raw", Url: "s3://disks/tiny.raw"}
		}, ""},
		"http url": {func(r *shape.ImportImageRequest) {
			r.DiskContainers[0] = shape.ImageDiskContainer{Format: "raw", Url: "http://169.254.169.254/"}
		}, "InvalidParameter"},
		"no object": {func(r *shape.ImportImageRequest) { r.DiskContainers[0].UserBucket.S3Key = "none" }, "InvalidParameter"},
		"format":    {func(r *shape.ImportImageRequest) { r.DiskContainers[0].Format = "iso" }, "InvalidParameter"},
		"two disks": {func(r *shape.ImportImageRequest) { r.DiskContainers = append(r.DiskContainers, r.DiskContainers[0]) }, ""},
		"disks of one name": {func(r *shape.ImportImageRequest) {
			r.DiskContainers[0].DeviceName = "/dev/sdf"
			r.DiskContainers = append(r.DiskContainers, r.DiskContainers[0])
		}, "InvalidParameter"},
		"device name":    {func(r *shape.ImportImageRequest) { r.DiskContainers[0].DeviceName = "../x" }, "InvalidParameter"},
		"21 disks":       {func(r *shape.ImportImageRequest) { r.DiskContainers = slices.Repeat(r.DiskContainers, 21) }, "InvalidParameter"},
		"uefi-preferred": {func(r *shape.ImportImageRequest) { r.BootMode = "uefi-preferred" }, ""},
		"i386":           {func(r *shape.ImportImageRequest) { r.Architecture = "i386" }, "UnsupportedOperation"},
		"arm64 by BIOS":  {func(r *shape.ImportImageRequest) { r.Architecture, r.BootMode = "arm64", "legacy-bios" }, "InvalidParameterCombination"},
		"second object": {func(r *shape.ImportImageRequest) {
			r.DiskContainers = append(r.DiskContainers, shape.ImageDiskContainer{Format: "raw", Url: "s3://disks/none"})
		}, "InvalidParameter"},
		"none":       {func(r *shape.ImportImageRequest) { r.DiskContainers = nil }, "MissingParameter"},
		"arm64":      {func(r *shape.ImportImageRequest) { r.Architecture = "arm64" }, ""},
		"encryption": {func(r *shape.ImportImageRequest) { r.Encrypted = ptr(true) }, "UnsupportedOperation"},
	} {
		in := importRequest()
		x.edit(in)
		c.code("import "+what, second(c.ImportImage(c.alice, in)), x.code)
	}
	c.code("bob imports alice's object", second(c.ImportImage(c.bob, importRequest())), "InvalidParameter")
	in := importRequest()
	in.ClientToken = "t"
	first, err := c.ImportImage(c.alice, in)
	if err != nil {
		t.Fatal(err)
	}
	if again, err := c.ImportImage(c.alice, in); err != nil || again.ImportTaskId != first.ImportTaskId {
		t.Errorf("%+v %v", again, err)
	}
	in.Description = "other"
	c.code("token again", second(c.ImportImage(c.alice, in)), "IdempotentParameterMismatch")
	cancelled, err := c.CancelImportTask(c.alice, &shape.CancelImportTaskRequest{ImportTaskId: first.ImportTaskId})
	if err != nil || cancelled.State != "deleting" || !store.ImportTasks.Get(c.Store.Snapshot(), first.ImportTaskId).Cancel {
		t.Errorf("%+v %v", cancelled, err)
	}
}

func TestRegionsZonesTypes(t *testing.T) {
	c := newCloud(t)
	r, err := c.DescribeRegions(c.alice, &shape.DescribeRegionsRequest{})
	if err != nil || len(r.Regions) != 1 || r.Regions[0].Endpoint != "ec2.us-east-1.cloud.test" {
		t.Errorf("%+v %v", r, err)
	}
	c.code("region", second(c.DescribeRegions(c.alice, &shape.DescribeRegionsRequest{RegionNames: []string{"mars-1"}})), "InvalidParameterValue")
	z, err := c.DescribeAvailabilityZones(c.alice, &shape.DescribeAvailabilityZonesRequest{Filters: filters("zone-id", "use1-az2")})
	if err != nil || len(z.AvailabilityZones) != 1 || z.AvailabilityZones[0].ZoneName != "us-east-1b" {
		t.Errorf("%+v %v", z, err)
	}
	c.write(func(tx *store.Tx) error {
		return store.Settings.Put(tx, &resource.Setting{Name: "instance-types", Value: `[{"name":"k1.tiny","vcpus":1,"memory_mib":128,"disk_gib":1}]`})
	})
	k, err := c.DescribeInstanceTypes(c.alice, &shape.DescribeInstanceTypesRequest{Filters: filters("memory-info.size-in-mib", "128")})
	if err != nil || len(k.InstanceTypes) != 1 || k.InstanceTypes[0].InstanceType != "k1.tiny" {
		t.Errorf("%+v %v", k, err)
	}
	o, err := c.DescribeInstanceTypeOfferings(c.alice, &shape.DescribeInstanceTypeOfferingsRequest{LocationType: "availability-zone", Filters: filters("instance-type", "t3.nano")})
	if err != nil || len(o.InstanceTypeOfferings) != 2 {
		t.Errorf("%+v %v", o, err)
	}
	a, err := c.DescribeAccountAttributes(c.alice, &shape.DescribeAccountAttributesRequest{AttributeNames: []string{"default-vpc"}})
	if err != nil || !strings.HasPrefix(a.AccountAttributes[0].AttributeValues[0].AttributeValue, "vpc-") {
		t.Errorf("%+v %v", a, err)
	}
	if code := awserr.Code(second(c.DescribeInstanceTypes(c.alice, &shape.DescribeInstanceTypesRequest{InstanceTypes: []string{"z9.x"}}))); code != "InvalidInstanceType" {
		t.Error(code)
	}
}
