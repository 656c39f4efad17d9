package cloud

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"karri.dev/internal/authz"
	"karri.dev/internal/aws/awserr"
	"karri.dev/internal/aws/call"
	shapeec2 "karri.dev/internal/aws/shape/ec2"
	shapeiam "karri.dev/internal/aws/shape/iam"
	"karri.dev/internal/aws/wire"
	"karri.dev/internal/policy"
	"karri.dev/internal/resource"
	"karri.dev/internal/store"
)

// deciding is a cloud in which one user's policies are tried out.
type deciding struct {
	*testing.T
	*Cloud
	account string
	ec2     *wire.Service
	iam     *wire.Service
}

func newDeciding(t *testing.T) *deciding {
	c, a := newCloud(t)
	d := &deciding{T: t, Cloud: c, account: a.ID, ec2: shapeec2.Service(), iam: shapeiam.Service()}
	owned := resource.Owned{AccountID: a.ID, Region: "us-east-1"}
	d.put(func(tx *store.Tx) error {
		for _, s := range []string{"subnet-0aaaaaaaaaaaaaaa1", "subnet-0aaaaaaaaaaaaaaa2"} {
			if err := store.Subnets.Put(tx, &resource.Subnet{Owned: owned, ID: s, VPCID: first(store.VPCsByOwner.By(tx, a.ID+"/us-east-1")).ID, Zone: "us-east-1a"}); err != nil {
				return err
			}
		}
		img := *store.Images.Get(tx, victims["image"])
		ebs := img
		ebs.ID, ebs.Name, ebs.RootDeviceType, ebs.RootDeviceName = "ami-0aaaaaaaaaaaaaaa2", "ebs", "ebs", "/dev/sda1"
		ebs.Mappings = []resource.ImageMapping{{Device: "/dev/sda1", SnapshotID: victims["snapshot"], SizeGiB: 8, Type: "gp3"}}
		theirs := img
		theirs.ID, theirs.Name, theirs.AccountID, theirs.Public = "ami-0aaaaaaaaaaaaaaa3", "public", "999999999999", true
		for _, i := range []*resource.Image{&ebs, &theirs} {
			if err := store.Images.Put(tx, i); err != nil {
				return err
			}
		}
		return store.InstanceProfiles.Put(tx, &resource.InstanceProfile{AccountID: a.ID, Name: "web", ID: "AIPAWEB", Path: "/", RoleID: "AROATARGETTARGETTARGE"})
	})
	return d
}

func (d *deciding) put(fn func(*store.Tx) error) {
	d.Helper()
	if err := d.deps.Store.Update(d.Context(), fn); err != nil {
		d.Fatal(err)
	}
}

// policies gives the user nobody what it may, and what bounds it.
func (d *deciding) policies(boundary string, statements ...string) {
	d.Helper()
	d.put(func(tx *store.Tx) error {
		u := *store.Users.Get(tx, store.UserKey(d.account, "nobody"))
		u.Inline = map[string]string{}
		for i, s := range statements {
			u.Inline[fmt.Sprint("p", i)] = `{"Version":"2012-10-17","Statement":` + s + `}`
		}
		u.Boundary = boundary
		return store.Users.Put(tx, &u)
	})
}

// template makes a launch template of these parameters.
func (d *deciding) template(name, data string) *shapeec2.LaunchTemplateSpecification {
	id := "lt-0" + fmt.Sprintf("%016x", len(name))
	owned := resource.Owned{AccountID: d.account, Region: "us-east-1"}
	d.put(func(tx *store.Tx) error {
		if err := store.LaunchTemplateVersions.Put(tx, &resource.LaunchTemplateVersion{Owned: owned, TemplateID: id, Number: 1, Data: []byte(data)}); err != nil {
			return err
		}
		return store.LaunchTemplates.Put(tx, &resource.LaunchTemplate{Owned: owned, ID: id, Name: name, Default: 1, Newest: 1})
	})
	return &shapeec2.LaunchTemplateSpecification{LaunchTemplateName: name}
}

// asks gives "" where nobody may make the call, else the code of the refusal.
func (d *deciding) asks(svc *wire.Service, operation string, in any) string {
	u := store.Users.Get(d.deps.Store.Snapshot(), store.UserKey(d.account, "nobody"))
	who := call.Caller{AccountID: d.account, UserName: u.Name, UserID: u.ID, ARN: u.ARN()}
	info := &call.Info{Caller: who, Service: svc.Name, Operation: operation, Region: "us-east-1", Time: time.Now()}
	return awserr.Code(d.Authz.Authorize(call.With(d.Context(), info), authz.Call{Info: info, Service: svc, Operation: operation, Input: in}))
}

func allowed(action, resource string, condition ...string) string {
	c := ""
	if len(condition) > 0 {
		c = `,"Condition":{` + strings.Join(condition, ",") + `}`
	}
	return fmt.Sprintf(`{"Effect":"Allow","Action":%q,"Resource":%q%s}`, action, resource, c)
}

func deniedOn(action, resource string, condition ...string) string {
	return strings.Replace(allowed(action, resource, condition...), "Allow", "Deny", 1)
}

// What a launch, and what comes of it, is allowed by: tags, roles, volumes, what a template says.
func TestLaunchDecisions(t *testing.T) {
	d := newDeciding(t)
	const no = "UnauthorizedOperation"
	const ebs = "ami-0aaaaaaaaaaaaaaa2"
	launch := func(change ...func(*shapeec2.RunInstancesRequest)) *shapeec2.RunInstancesRequest {
		in := &shapeec2.RunInstancesRequest{ImageId: victims["image"], MinCount: 1, MaxCount: 1, InstanceType: "t3.nano", SubnetId: "subnet-0aaaaaaaaaaaaaaa1"}
		for _, f := range change {
			f(in)
		}
		return in
	}
	type req = *shapeec2.RunInstancesRequest
	tagged := func(kind string, tags ...string) func(req) {
		return func(in req) {
			spec := shapeec2.TagSpecification{ResourceType: kind}
			for i := 0; i < len(tags); i += 2 {
				spec.Tags = append(spec.Tags, shapeec2.Tag{Key: tags[i], Value: tags[i+1]})
			}
			in.TagSpecifications = append(in.TagSpecifications, spec)
		}
	}
	disk := func(gib int) func(req) {
		return func(in req) {
			in.BlockDeviceMappings = append(in.BlockDeviceMappings, shapeec2.BlockDeviceMapping{DeviceName: "/dev/sdf", Ebs: &shapeec2.EbsBlockDevice{VolumeSize: &gib}})
		}
	}
	profile := func(in req) { in.IamInstanceProfile = &shapeec2.IamInstanceProfileSpecification{Name: "web"} }
	image := func(id string) func(req) { return func(in req) { in.ImageId = id } }
	from := func(t *shapeec2.LaunchTemplateSpecification) func(req) {
		return func(in req) { *in = shapeec2.RunInstancesRequest{MinCount: 1, MaxCount: 1, LaunchTemplate: t} }
	}
	plain := d.template("plain", `{"ImageId":"`+victims["image"]+`","InstanceType":"t3.nano","SubnetId":"subnet-0aaaaaaaaaaaaaaa1"}`)
	strong := d.template("stronger", `{"ImageId":"`+victims["image"]+`","InstanceType":"t3.nano","SubnetId":"subnet-0aaaaaaaaaaaaaaa1","IamInstanceProfile":{"Name":"web"}}`)
	secret := d.template("into-secret", `{"ImageId":"`+victims["image"]+`","InstanceType":"m5.large","SubnetId":"subnet-0aaaaaaaaaaaaaaa2","BlockDeviceMappings":[{"DeviceName":"/dev/sdf","Ebs":{"VolumeSize":500}}],"TagSpecifications":[{"ResourceType":"instance","Tags":[{"Key":"env","Value":"prod"}]}]}`)

	run := allowed("ec2:RunInstances", "*")
	tags := allowed("ec2:CreateTags", "*", `"StringEquals":{"ec2:CreateAction":"RunInstances"}`)
	role := "arn:aws:iam::" + d.account + ":role/target"
	deny := func(resource, condition string) string { return deniedOn("ec2:RunInstances", resource, condition) }
	for _, tt := range []struct {
		name   string
		allows []string
		in     req
		want   string
	}{
		{"nothing", nil, launch(), no},
		{"a launch", []string{run}, launch(), ""},
		{"not on images", []string{allowed("ec2:RunInstances", "arn:aws:ec2:*:*:*")}, launch(), ""},
		{"not the image", []string{run, deniedOn("ec2:RunInstances", "arn:aws:ec2:*::image/"+victims["image"])}, launch(), no},

		{"tags without leave", []string{run}, launch(tagged("instance", "env", "test")), no},
		{"tags at a launch", []string{run, tags}, launch(tagged("instance", "env", "test")), ""},
		{"tags of another call", []string{run, allowed("ec2:CreateTags", "*", `"StringEquals":{"ec2:CreateAction":"CreateVolume"}`)}, launch(tagged("instance", "env", "test")), no},
		{"tags of the instance only", []string{run, allowed("ec2:CreateTags", "arn:aws:ec2:*:*:instance/*")}, launch(disk(1), tagged("volume", "env", "test")), no},
		{"tags of the volume", []string{run, allowed("ec2:CreateTags", "arn:aws:ec2:*:*:volume/*")}, launch(disk(1), tagged("volume", "env", "test")), ""},
		{"tags of the interface", []string{run, allowed("ec2:CreateTags", "arn:aws:ec2:*:*:instance/*")}, launch(tagged("network-interface", "env", "test")), no},
		{"the tag that is wanted", []string{allowed("ec2:RunInstances", "arn:aws:ec2:*:*:instance/*", `"StringEquals":{"aws:RequestTag/env":"test"}`), allowed("ec2:RunInstances", "*"), deny("arn:aws:ec2:*:*:instance/*", `"StringNotEquals":{"aws:RequestTag/env":"test"}`), tags}, launch(tagged("instance", "env", "test")), ""},
		{"the tag is missing", []string{run, deny("arn:aws:ec2:*:*:instance/*", `"StringNotEquals":{"aws:RequestTag/env":"test"}`), tags}, launch(), no},
		{"a tag too many", []string{run, allowed("ec2:CreateTags", "*", `"ForAllValues:StringEquals":{"aws:TagKeys":["env"]}`)}, launch(tagged("instance", "env", "test", "admin", "yes")), no},

		{"a role without leave", []string{run}, launch(profile), no},
		{"a role", []string{run, allowed("iam:PassRole", role)}, launch(profile), ""},
		{"another role", []string{run, allowed("iam:PassRole", role+"-2")}, launch(profile), no},
		{"a role for EC2", []string{run, allowed("iam:PassRole", "*", `"StringEquals":{"iam:PassedToService":"ec2.amazonaws.com"}`)}, launch(profile), ""},
		{"a role for another service", []string{run, allowed("iam:PassRole", "*", `"StringEquals":{"iam:PassedToService":"lambda.amazonaws.com"}`)}, launch(profile), no},

		{"type", []string{run, deny("*", `"StringEquals":{"ec2:InstanceType":"t3.nano"}`)}, launch(), no},
		{"other type", []string{run, deny("*", `"StringEquals":{"ec2:InstanceType":"m5.large"}`)}, launch(), ""},
		{"default type", []string{run, deny("*", `"StringEquals":{"ec2:InstanceType":"m1.small"}`)}, launch(func(in req) { in.InstanceType = "" }), no},
		{"metadata without tokens", []string{run, deny("arn:aws:ec2:*:*:instance/*", `"StringEquals":{"ec2:MetadataHttpTokens":"optional"}`)}, launch(), no},
		{"tokens are needed", []string{run, deny("arn:aws:ec2:*:*:instance/*", `"StringNotEquals":{"ec2:MetadataHttpTokens":"required"}`)}, launch(func(in req) { in.MetadataOptions = &shapeec2.InstanceMetadataOptionsRequest{HttpTokens: "required"} }), ""},
		{"root device", []string{run, deny("arn:aws:ec2:*:*:instance/*", `"StringEquals":{"ec2:RootDeviceType":"ebs"}`)}, launch(image(ebs)), no},
		{"profile", []string{run, allowed("iam:PassRole", "*"), deny("arn:aws:ec2:*:*:instance/*", `"ArnNotEquals":{"ec2:InstanceProfile":"arn:aws:iam::`+d.account+`:instance-profile/web"}`)}, launch(profile), ""},
		{"VPC", []string{run, deny("arn:aws:ec2:*:*:network-interface/*", `"ArnLike":{"ec2:Subnet":"arn:aws:ec2:*:*:subnet/subnet-0aaaaaaaaaaaaaaa1"}`)}, launch(), no},
		{"own image", []string{run, deny("arn:aws:ec2:*::image/*", `"StringNotEquals":{"ec2:Owner":"`+d.account+`"}`)}, launch(), ""},
		{"another's image", []string{run, deny("arn:aws:ec2:*::image/*", `"StringNotEquals":{"ec2:Owner":"`+d.account+`"}`)}, launch(image("ami-0aaaaaaaaaaaaaaa3")), no},
		{"a public image", []string{run, deny("arn:aws:ec2:*::image/*", `"Bool":{"ec2:Public":"true"}`)}, launch(image("ami-0aaaaaaaaaaaaaaa3")), no},

		{"large volume", []string{run, deny("arn:aws:ec2:*:*:volume/*", `"NumericGreaterThan":{"ec2:VolumeSize":"100"}`)}, launch(disk(101)), no},
		{"small volume", []string{run, deny("arn:aws:ec2:*:*:volume/*", `"NumericGreaterThan":{"ec2:VolumeSize":"100"}`)}, launch(disk(100)), ""},
		{"the image's volume", []string{run, deny("arn:aws:ec2:*:*:volume/*", `"NumericGreaterThan":{"ec2:VolumeSize":"7"}`)}, launch(image(ebs)), no},
		{"no volumes", []string{run, deniedOn("ec2:RunInstances", "arn:aws:ec2:*:*:volume/*")}, launch(image(ebs)), no},
		{"none made", []string{run, deniedOn("ec2:RunInstances", "arn:aws:ec2:*:*:volume/*")}, launch(), ""},
		{"not encrypted", []string{run, deny("arn:aws:ec2:*:*:volume/*", `"Bool":{"ec2:Encrypted":"false"}`)}, launch(disk(1)), no},
		{"encrypted", []string{run, deny("arn:aws:ec2:*:*:volume/*", `"Bool":{"ec2:Encrypted":"false"}`)}, launch(disk(1), func(in req) { yes := true; in.BlockDeviceMappings[0].Ebs.Encrypted = &yes }), ""},
		{"the subnet's zone", []string{run, deny("arn:aws:ec2:*:*:instance/*", `"StringEquals":{"ec2:AvailabilityZone":"us-east-1a"}`)}, launch(), no},
		{"a public address", []string{run, deny("arn:aws:ec2:*:*:network-interface/*", `"Bool":{"ec2:AssociatePublicIpAddress":"true"}`)}, launch(func(in req) {
			yes := true
			in.NetworkInterfaces = []shapeec2.InstanceNetworkInterfaceSpecification{{SubnetId: in.SubnetId, AssociatePublicIpAddress: &yes}}
			in.SubnetId = ""
		}), no},
		{"no public address", []string{run, deny("arn:aws:ec2:*:*:network-interface/*", `"Bool":{"ec2:AssociatePublicIpAddress":"true"}`)}, launch(), ""},

		{"by a template", []string{run}, launch(from(plain)), ""},
		{"not by this template", []string{run, deniedOn("ec2:RunInstances", "arn:aws:ec2:*:*:launch-template/*")}, launch(from(plain)), no},
		{"a template's role", []string{run}, launch(from(strong)), no},
		{"a template's role with leave", []string{run, allowed("iam:PassRole", role)}, launch(from(strong)), ""},
		{"a template's subnet", []string{run, tags, deniedOn("ec2:RunInstances", "arn:aws:ec2:*:*:subnet/subnet-0aaaaaaaaaaaaaaa2")}, launch(from(secret)), no},
		{"a template's type", []string{run, tags, deny("*", `"StringEquals":{"ec2:InstanceType":"m5.large"}`)}, launch(from(secret)), no},
		{"a template's volume", []string{run, tags, deny("*", `"NumericGreaterThan":{"ec2:VolumeSize":"100"}`)}, launch(from(secret)), no},
		{"a template's tags", []string{run}, launch(from(secret)), no},
		{"a template's tags with leave", []string{run, tags}, launch(from(secret)), ""},
		{"only by templates", []string{allowed("ec2:RunInstances", "*", `"ArnLike":{"ec2:LaunchTemplate":"arn:aws:ec2:*:*:launch-template/*"}`)}, launch(), no},
		{"only by templates, by one", []string{allowed("ec2:RunInstances", "*", `"ArnLike":{"ec2:LaunchTemplate":"arn:aws:ec2:*:*:launch-template/*"}`)}, launch(from(plain)), ""},
		{"as the template says", []string{run, deny("*", `"Bool":{"ec2:IsLaunchTemplateResource":"false"}`)}, launch(from(plain)), ""},
		{"otherwise than it says", []string{run, deny("*", `"Bool":{"ec2:IsLaunchTemplateResource":"false"}`)}, launch(from(plain), func(in req) { in.InstanceType = "t3.micro" }), no},
	} {
		d.policies("", tt.allows...)
		if got := d.asks(d.ec2, "RunInstances", tt.in); got != tt.want {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
}

// The same for other calls of EC2.
func TestEC2Decisions(t *testing.T) {
	d := newDeciding(t)
	const no = "UnauthorizedOperation"
	d.put(func(tx *store.Tx) error {
		i := *store.Instances.Get(tx, victims["instance"])
		i.Tags = resource.Tags{"owner": "nobody", "team": "red"}
		v := *store.Volumes.Get(tx, victims["volume"])
		v.ID, v.Attachment = "vol-0aaaaaaaaaaaaaaa2", &resource.VolumeAttachment{InstanceID: i.ID, Device: "/dev/sdf", State: resource.Attached}
		if err := store.Volumes.Put(tx, &v); err != nil {
			return err
		}
		large := *store.Snapshots.Get(tx, victims["snapshot"])
		large.ID, large.SizeGiB = "snap-0aaaaaaaaaaaaaaa4", 500
		hidden := large
		hidden.ID, hidden.AccountID, hidden.Encrypted = "snap-0aaaaaaaaaaaaaaa5", "999999999999", true
		shared := hidden
		shared.ID, shared.Accounts, shared.Tags = "snap-0aaaaaaaaaaaaaaa6", []string{d.account}, resource.Tags{"secret": "yes"}
		for _, s := range []*resource.Snapshot{&large, &hidden, &shared} {
			if err := store.Snapshots.Put(tx, s); err != nil {
				return err
			}
		}
		return store.Instances.Put(tx, &i)
	})
	all := func(action string) string { return allowed(action, "*") }
	size, small, fourteen, two, yes := 200, 10, 14, 2, true
	volume := &shapeec2.CreateVolumeRequest{AvailabilityZone: "us-east-1a", Size: &size}
	spec := []shapeec2.TagSpecification{{ResourceType: "volume", Tags: []shapeec2.Tag{{Key: "env", Value: "test"}}}}
	for _, tt := range []struct {
		name      string
		operation string
		in        any
		allows    []string
		want      string
	}{
		{"volume", "CreateVolume", volume, []string{all("ec2:CreateVolume")}, ""},
		{"large volume", "CreateVolume", volume, []string{all("ec2:CreateVolume"), deniedOn("ec2:CreateVolume", "*", `"NumericGreaterThan":{"ec2:VolumeSize":"100"}`)}, no},
		{"small volume", "CreateVolume", &shapeec2.CreateVolumeRequest{AvailabilityZone: "us-east-1a", Size: &small}, []string{all("ec2:CreateVolume"), deniedOn("ec2:CreateVolume", "*", `"NumericGreaterThan":{"ec2:VolumeSize":"100"}`)}, ""},
		{"volume's default type", "CreateVolume", volume, []string{allowed("ec2:CreateVolume", "*", `"StringEquals":{"ec2:VolumeType":"gp2"}`)}, ""},
		{"volume in the clear", "CreateVolume", volume, []string{all("ec2:CreateVolume"), deniedOn("ec2:CreateVolume", "*", `"Bool":{"ec2:Encrypted":"false"}`)}, no},
		{"volume encrypted", "CreateVolume", &shapeec2.CreateVolumeRequest{AvailabilityZone: "us-east-1a", Size: &small, Encrypted: &yes}, []string{all("ec2:CreateVolume"), deniedOn("ec2:CreateVolume", "*", `"Bool":{"ec2:Encrypted":"false"}`)}, ""},
		{"large by its snapshot", "CreateVolume", &shapeec2.CreateVolumeRequest{AvailabilityZone: "us-east-1a", SnapshotId: "snap-0aaaaaaaaaaaaaaa4"}, []string{all("ec2:CreateVolume"), deniedOn("ec2:CreateVolume", "arn:aws:ec2:*:*:volume/*", `"NumericGreaterThan":{"ec2:VolumeSize":"100"}`)}, no},
		{"another's snapshot stays secret", "CreateVolume", &shapeec2.CreateVolumeRequest{AvailabilityZone: "us-east-1a", SnapshotId: "snap-0aaaaaaaaaaaaaaa5"}, []string{all("ec2:CreateVolume"), deniedOn("ec2:CreateVolume", "*", `"NumericGreaterThan":{"ec2:VolumeSize":"0"}`), deniedOn("ec2:CreateVolume", "*", `"Bool":{"ec2:Encrypted":"true"}`)}, ""},
		{"a shared snapshot's owner", "CreateVolume", &shapeec2.CreateVolumeRequest{AvailabilityZone: "us-east-1a", SnapshotId: "snap-0aaaaaaaaaaaaaaa6"}, []string{all("ec2:CreateVolume"), deniedOn("ec2:CreateVolume", "arn:aws:ec2:*::snapshot/*", `"StringNotEquals":{"ec2:Owner":"`+d.account+`"}`)}, no},
		{"a shared snapshot's tags", "CreateVolume", &shapeec2.CreateVolumeRequest{AvailabilityZone: "us-east-1a", SnapshotId: "snap-0aaaaaaaaaaaaaaa6"}, []string{allowed("ec2:CreateVolume", "arn:aws:ec2:*:*:volume/*"), allowed("ec2:CreateVolume", "arn:aws:ec2:*::snapshot/*", `"StringEquals":{"aws:ResourceTag/secret":"yes"}`)}, no},
		{"only protection", "ModifyInstanceAttribute", &shapeec2.ModifyInstanceAttributeRequest{InstanceId: victims["instance"], DisableApiTermination: &shapeec2.AttributeBooleanValue{Value: &yes}}, []string{allowed("ec2:ModifyInstanceAttribute", "*", `"StringEquals":{"ec2:Attribute":"disableApiTermination"}`)}, ""},
		{"only to protect", "ModifyInstanceAttribute", &shapeec2.ModifyInstanceAttributeRequest{InstanceId: victims["instance"], DisableApiTermination: &shapeec2.AttributeBooleanValue{Value: &yes}}, []string{allowed("ec2:ModifyInstanceAttribute", "*", `"Bool":{"ec2:Attribute/DisableApiTermination":"false"}`)}, no},
		{"not the user data", "ModifyInstanceAttribute", &shapeec2.ModifyInstanceAttributeRequest{InstanceId: victims["instance"], UserData: &shapeec2.SecureBlobAttributeValue{Value: []byte("x")}}, []string{all("ec2:ModifyInstanceAttribute"), deniedOn("ec2:ModifyInstanceAttribute", "*", `"StringEquals":{"ec2:Attribute":"userData"}`)}, no},
		{"by name and value", "ModifyInstanceAttribute", &shapeec2.ModifyInstanceAttributeRequest{InstanceId: victims["instance"], Attribute: "instanceType", Value: "m5.large"}, []string{all("ec2:ModifyInstanceAttribute"), deniedOn("ec2:ModifyInstanceAttribute", "*", `"StringNotEquals":{"ec2:Attribute/InstanceType":"t3.nano"}`)}, no},
		{"tokens no more", "ModifyInstanceMetadataOptions", &shapeec2.ModifyInstanceMetadataOptionsRequest{InstanceId: victims["instance"], HttpTokens: "optional"}, []string{all("ec2:ModifyInstanceMetadataOptions"), deniedOn("ec2:ModifyInstanceMetadataOptions", "*", `"StringEquals":{"ec2:Attribute/HttpTokens":"optional"}`)}, no},
		{"a snapshot for everybody", "ModifySnapshotAttribute", &shapeec2.ModifySnapshotAttributeRequest{SnapshotId: victims["snapshot"], OperationType: "add", GroupNames: []string{"all"}}, []string{all("ec2:ModifySnapshotAttribute"), deniedOn("ec2:ModifySnapshotAttribute", "*", `"StringEquals":{"ec2:Add/group":"all"}`)}, no},
		{"a snapshot for a friend", "ModifySnapshotAttribute", &shapeec2.ModifySnapshotAttributeRequest{SnapshotId: victims["snapshot"], CreateVolumePermission: &shapeec2.CreateVolumePermissionModifications{Add: []shapeec2.CreateVolumePermission{{UserId: "999999999999"}}}}, []string{allowed("ec2:ModifySnapshotAttribute", "*", `"ForAllValues:StringEquals":{"ec2:Add/userId":["999999999999"]}`)}, ""},
		{"what an instance is", "DescribeInstanceAttribute", &shapeec2.DescribeInstanceAttributeRequest{InstanceId: victims["instance"], Attribute: "userData"}, []string{all("ec2:Describe*"), deniedOn("ec2:DescribeInstanceAttribute", "*", `"StringEquals":{"aws:ResourceTag/team":"red"}`)}, no},
		{"a better profile", "AssociateIamInstanceProfile", &shapeec2.AssociateIamInstanceProfileRequest{InstanceId: victims["instance"], IamInstanceProfile: &shapeec2.IamInstanceProfileSpecification{Name: "web"}}, []string{all("ec2:*"), all("iam:PassRole"), deniedOn("ec2:*", "*", `"ArnLike":{"ec2:NewInstanceProfile":"arn:aws:iam::*:instance-profile/web"}`)}, no},
		{"a snapshot of that volume", "CreateSnapshot", &shapeec2.CreateSnapshotRequest{VolumeId: victims["volume"]}, []string{all("ec2:CreateSnapshot"), deniedOn("ec2:CreateSnapshot", "arn:aws:ec2:*::snapshot/*", `"ArnLike":{"ec2:ParentVolume":"arn:aws:ec2:*:*:volume/`+victims["volume"]+`"}`)}, no},
		{"a weak tunnel", "CreateVpnConnection", &shapeec2.CreateVpnConnectionRequest{CustomerGatewayId: "cgw-1", Type: "ipsec.1", Options: &shapeec2.VpnConnectionOptionsSpecification{TunnelOptions: []shapeec2.VpnTunnelOptionsSpecification{{Phase1DHGroupNumbers: []shapeec2.Phase1DHGroupNumbersRequestListValue{{Value: &fourteen}, {Value: &two}}}}}}, []string{all("ec2:CreateVpnConnection"), deniedOn("ec2:CreateVpnConnection", "*", `"ForAnyValue:NumericLessThan":{"ec2:Phase1DHGroup":"14"}`)}, no},
		{"volume's tags", "CreateVolume", &shapeec2.CreateVolumeRequest{AvailabilityZone: "us-east-1a", Size: &small, TagSpecifications: spec}, []string{all("ec2:CreateVolume")}, no},
		{"growth", "ModifyVolume", &shapeec2.ModifyVolumeRequest{VolumeId: victims["volume"], Size: &size}, []string{all("ec2:ModifyVolume"), deniedOn("ec2:ModifyVolume", "*", `"NumericGreaterThan":{"ec2:Attribute/Size":"100"}`)}, no},
		{"the volume's size", "DeleteVolume", &shapeec2.DeleteVolumeRequest{VolumeId: victims["volume"]}, []string{allowed("ec2:DeleteVolume", "*", `"NumericLessThan":{"ec2:VolumeSize":"2"}`)}, ""},

		{"own instance", "StopInstances", &shapeec2.StopInstancesRequest{InstanceIds: []string{victims["instance"]}}, []string{allowed("ec2:StopInstances", "*", `"StringEquals":{"aws:ResourceTag/owner":"${aws:username}"}`)}, ""},
		{"ec2:ResourceTag", "StopInstances", &shapeec2.StopInstancesRequest{InstanceIds: []string{victims["instance"]}}, []string{allowed("ec2:StopInstances", "*", `"StringEquals":{"ec2:ResourceTag/team":"blue"}`)}, no},
		{"one of two", "StopInstances", &shapeec2.StopInstancesRequest{InstanceIds: []string{victims["instance"], "i-0bbbbbbbbbbbbbbb2"}}, []string{allowed("ec2:StopInstances", "arn:aws:ec2:*:*:instance/"+victims["instance"])}, no},
		{"no names, all are meant", "DeleteTags", &shapeec2.DeleteTagsRequest{Resources: []string{victims["instance"], victims["volume"]}}, []string{allowed("ec2:DeleteTags", "arn:aws:ec2:*:*:instance/*")}, no},
		{"whose tag it was", "CreateTags", &shapeec2.CreateTagsRequest{Resources: []string{victims["instance"]}, Tags: []shapeec2.Tag{{Key: "owner", Value: "eve"}}}, []string{all("ec2:CreateTags"), deniedOn("ec2:CreateTags", "*", `"ForAnyValue:StringEquals":{"aws:TagKeys":["owner"]}`)}, no},
		{"tags only at launches", "CreateTags", &shapeec2.CreateTagsRequest{Resources: []string{victims["instance"]}, Tags: []shapeec2.Tag{{Key: "a", Value: "b"}}}, []string{allowed("ec2:CreateTags", "*", `"StringEquals":{"ec2:CreateAction":"RunInstances"}`)}, no},
		{"a profile", "AssociateIamInstanceProfile", &shapeec2.AssociateIamInstanceProfileRequest{InstanceId: victims["instance"], IamInstanceProfile: &shapeec2.IamInstanceProfileSpecification{Name: "web"}}, []string{all("ec2:*")}, no},
		{"a profile with leave", "AssociateIamInstanceProfile", &shapeec2.AssociateIamInstanceProfileRequest{InstanceId: victims["instance"], IamInstanceProfile: &shapeec2.IamInstanceProfileSpecification{Name: "web"}}, []string{all("ec2:*"), all("iam:PassRole")}, ""},
		{"a snapshot of the volume", "CreateSnapshot", &shapeec2.CreateSnapshotRequest{VolumeId: victims["volume"]}, []string{allowed("ec2:CreateSnapshot", "arn:aws:ec2:*::snapshot/*")}, no},
		{"a rule", "AuthorizeSecurityGroupIngress", &shapeec2.AuthorizeSecurityGroupIngressRequest{GroupId: "sg-0aaaaaaaaaaaaaaa1"}, []string{allowed("ec2:AuthorizeSecurityGroupIngress", "arn:aws:ec2:*:*:security-group/*")}, ""},
		{"a rule with tags", "AuthorizeSecurityGroupIngress", &shapeec2.AuthorizeSecurityGroupIngressRequest{GroupId: "sg-0aaaaaaaaaaaaaaa1", TagSpecifications: []shapeec2.TagSpecification{{ResourceType: "security-group-rule", Tags: []shapeec2.Tag{{Key: "a", Value: "b"}}}}}, []string{all("ec2:AuthorizeSecurityGroupIngress")}, no},
		{"an image of a snapshot", "RegisterImage", &shapeec2.RegisterImageRequest{BlockDeviceMappings: []shapeec2.BlockDeviceMapping{{Ebs: &shapeec2.EbsBlockDevice{SnapshotId: victims["snapshot"]}}}}, []string{allowed("ec2:RegisterImage", "arn:aws:ec2:*::image/*")}, no},
		{"an interface in a subnet", "CreateNetworkInterface", &shapeec2.CreateNetworkInterfaceRequest{SubnetId: "subnet-0aaaaaaaaaaaaaaa1"}, []string{allowed("ec2:CreateNetworkInterface", "arn:aws:ec2:*:*:subnet/*"), allowed("ec2:CreateNetworkInterface", "arn:aws:ec2:*:*:network-interface/*", `"ArnLike":{"ec2:Subnet":"arn:aws:ec2:*:*:subnet/subnet-0aaaaaaaaaaaaaaa1","ec2:Vpc":"arn:aws:ec2:*:*:vpc/*"}`)}, ""},
		{"an interface in another", "CreateNetworkInterface", &shapeec2.CreateNetworkInterfaceRequest{SubnetId: "subnet-0aaaaaaaaaaaaaaa2"}, []string{allowed("ec2:CreateNetworkInterface", "arn:aws:ec2:*:*:subnet/*"), allowed("ec2:CreateNetworkInterface", "arn:aws:ec2:*:*:network-interface/*", `"ArnLike":{"ec2:Subnet":"arn:aws:ec2:*:*:subnet/subnet-0aaaaaaaaaaaaaaa1"}`)}, no},
		{"snapshots of an instance", "CreateSnapshots", &shapeec2.CreateSnapshotsRequest{InstanceSpecification: &shapeec2.InstanceSpecification{InstanceId: victims["instance"]}}, []string{all("ec2:CreateSnapshots"), deniedOn("ec2:CreateSnapshots", "arn:aws:ec2:*:*:volume/*")}, no},
		{"another region", "DescribeInstances", &shapeec2.DescribeInstancesRequest{}, []string{allowed("ec2:*", "*", `"StringEquals":{"aws:RequestedRegion":"eu-west-1"}`)}, no},
	} {
		d.policies("", tt.allows...)
		if got := d.asks(d.ec2, tt.operation, tt.in); got != tt.want {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
}

// Nobody makes more of themselves than they were given: what AWS's guide has boundaries for.
func TestBoundaryDecisions(t *testing.T) {
	d := newDeciding(t)
	const no = "AccessDenied"
	limit := "arn:aws:iam::" + d.account + ":policy/limit"
	d.put(func(tx *store.Tx) error {
		return store.Policies.Put(tx, &resource.Policy{AccountID: d.account, Name: "limit", ID: "ANPALIMIT", Path: "/", Default: 1, Versions: []resource.PolicyVersion{{
			Number: 1, Text: `{"Version":"2012-10-17","Statement":[` + allowed("s3:*", "*") + `,` + allowed("iam:*", "*") + `,` + allowed("ec2:Describe*", "*") + `,
			{"Effect":"Deny","Action":["iam:DeleteUserPermissionsBoundary","iam:DeleteRolePermissionsBoundary","iam:CreatePolicyVersion","iam:SetDefaultPolicyVersion","iam:DeletePolicy"],"Resource":"*"},
			{"Effect":"Deny","Action":["iam:CreateUser","iam:CreateRole","iam:PutUserPermissionsBoundary","iam:PutRolePermissionsBoundary","iam:PutUserPolicy","iam:AttachUserPolicy"],"Resource":"*","Condition":{"StringNotEquals":{"iam:PermissionsBoundary":"` + limit + `"}}}]}`,
		}}})
	})
	everything := []string{allowed("*", "*")}
	own := &shapeiam.DeleteUserPermissionsBoundaryRequest{UserName: "nobody"}
	for _, tt := range []struct {
		name      string
		svc       *wire.Service
		operation string
		in        any
		boundary  string
		allows    []string
		want      string
	}{
		{"unbounded", d.ec2, "TerminateInstances", &shapeec2.TerminateInstancesRequest{InstanceIds: []string{victims["instance"]}}, "", everything, ""},
		{"beyond the boundary", d.ec2, "TerminateInstances", &shapeec2.TerminateInstancesRequest{InstanceIds: []string{victims["instance"]}}, limit, everything, "UnauthorizedOperation"},
		{"within it", d.ec2, "DescribeInstances", &shapeec2.DescribeInstancesRequest{}, limit, everything, ""},
		{"a boundary gives nothing", d.ec2, "DescribeInstances", &shapeec2.DescribeInstancesRequest{}, limit, nil, "UnauthorizedOperation"},
		{"one that is gone allows nothing", d.ec2, "DescribeInstances", &shapeec2.DescribeInstancesRequest{}, limit + "-gone", everything, "UnauthorizedOperation"},
		{"the own boundary", d.iam, "DeleteUserPermissionsBoundary", own, limit, everything, no},
		{"another boundary for oneself", d.iam, "PutUserPermissionsBoundary", &shapeiam.PutUserPermissionsBoundaryRequest{UserName: "nobody", PermissionsBoundary: policy.ManagedPrefix + "AdministratorAccess"}, limit, everything, no},
		{"the same boundary again", d.iam, "PutUserPermissionsBoundary", &shapeiam.PutUserPermissionsBoundaryRequest{UserName: "nobody", PermissionsBoundary: limit}, limit, everything, ""},
		{"a wider version of the boundary", d.iam, "CreatePolicyVersion", &shapeiam.CreatePolicyVersionRequest{PolicyArn: limit}, limit, everything, no},
		{"an unbounded user", d.iam, "CreateUser", &shapeiam.CreateUserRequest{UserName: "eve"}, limit, everything, no},
		{"a user with another boundary", d.iam, "CreateUser", &shapeiam.CreateUserRequest{UserName: "eve", PermissionsBoundary: policy.ManagedPrefix + "AdministratorAccess"}, limit, everything, no},
		{"a bounded user", d.iam, "CreateUser", &shapeiam.CreateUserRequest{UserName: "eve", PermissionsBoundary: limit}, limit, everything, ""},
		{"an unbounded role", d.iam, "CreateRole", &shapeiam.CreateRoleRequest{RoleName: "eve"}, limit, everything, no},
		{"power for an unbounded user", d.iam, "PutUserPolicy", &shapeiam.PutUserPolicyRequest{UserName: "target"}, limit, everything, no},
		{"power for a bounded user", d.iam, "PutUserPolicy", &shapeiam.PutUserPolicyRequest{UserName: "nobody"}, limit, everything, ""},

		{"attach anything", d.iam, "AttachUserPolicy", &shapeiam.AttachUserPolicyRequest{UserName: "target", PolicyArn: policy.ManagedPrefix + "AdministratorAccess"}, "", []string{allowed("iam:AttachUserPolicy", "*", `"ArnEquals":{"iam:PolicyARN":"`+limit+`"}`)}, no},
		{"attach the allowed", d.iam, "AttachUserPolicy", &shapeiam.AttachUserPolicyRequest{UserName: "target", PolicyArn: limit}, "", []string{allowed("iam:AttachUserPolicy", "*", `"ArnEquals":{"iam:PolicyARN":"`+limit+`"}`)}, ""},
		{"a key of somebody else", d.iam, "CreateAccessKey", &shapeiam.CreateAccessKeyRequest{UserName: "target"}, "", []string{allowed("iam:CreateAccessKey", "arn:aws:iam::*:user/${aws:username}")}, no},
		{"the own key", d.iam, "CreateAccessKey", &shapeiam.CreateAccessKeyRequest{}, "", []string{allowed("iam:CreateAccessKey", "arn:aws:iam::*:user/${aws:username}")}, ""},
		{"a password of somebody else", d.iam, "UpdateLoginProfile", &shapeiam.UpdateLoginProfileRequest{UserName: "target"}, "", []string{allowed("iam:UpdateLoginProfile", "arn:aws:iam::*:user/${aws:username}")}, no},
		{"a device of somebody else", d.iam, "DeactivateMFADevice", &shapeiam.DeactivateMFADeviceRequest{UserName: "target"}, "", []string{allowed("iam:DeactivateMFADevice", "arn:aws:iam::*:user/${aws:username}")}, no},
		{"into the administrators", d.iam, "AddUserToGroup", &shapeiam.AddUserToGroupRequest{GroupName: "target", UserName: "nobody"}, "", []string{allowed("iam:AddUserToGroup", "arn:aws:iam::*:group/guests")}, no},
		{"a role into a profile", d.iam, "AddRoleToInstanceProfile", &shapeiam.AddRoleToInstanceProfileRequest{InstanceProfileName: "web", RoleName: "target"}, "", []string{allowed("iam:AddRoleToInstanceProfile", "*")}, no},
		{"another trust", d.iam, "UpdateAssumeRolePolicy", &shapeiam.UpdateAssumeRolePolicyRequest{RoleName: "target"}, "", []string{allowed("iam:UpdateAssumeRolePolicy", "arn:aws:iam::*:role/mine/*")}, no},
		{"a name in a path", d.iam, "DeleteUser", &shapeiam.DeleteUserRequest{UserName: "target"}, "", []string{allowed("iam:DeleteUser", "arn:aws:iam::*:user/temps/*")}, no},
		{"out of a path", d.iam, "UpdateUser", &shapeiam.UpdateUserRequest{UserName: "target", NewPath: "/admins/"}, "", []string{allowed("iam:UpdateUser", "arn:aws:iam::*:user/target")}, no},
	} {
		d.policies(tt.boundary, tt.allows...)
		if got := d.asks(tt.svc, tt.operation, tt.in); got != tt.want {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
}

// Nothing of a template that has become another between the decision and the launch gets through: the launch asks
// again where nobody can change it.
func TestTemplateIsAskedAboutAgain(t *testing.T) {
	d := newDeciding(t)
	tmpl := d.template("moving", `{"ImageId":"`+victims["image"]+`","InstanceType":"t3.nano","SubnetId":"subnet-0aaaaaaaaaaaaaaa1"}`)
	d.policies("", allowed("ec2:RunInstances", "*"), deniedOn("ec2:RunInstances", "arn:aws:ec2:*:*:subnet/subnet-0aaaaaaaaaaaaaaa2"))
	in := &shapeec2.RunInstancesRequest{MinCount: 1, MaxCount: 1, LaunchTemplate: tmpl}
	if got := d.asks(d.ec2, "RunInstances", in); got != "" {
		t.Fatal(got)
	}
	d.template("moving", `{"ImageId":"`+victims["image"]+`","InstanceType":"t3.nano","SubnetId":"subnet-0aaaaaaaaaaaaaaa2"}`)
	u := store.Users.Get(d.deps.Store.Snapshot(), store.UserKey(d.account, "nobody"))
	info := &call.Info{Caller: call.Caller{AccountID: d.account, UserName: u.Name, UserID: u.ID, ARN: u.ARN()}, Service: "ec2", Operation: "RunInstances", Region: "us-east-1", Time: time.Now(), Input: in}
	if _, err := d.EC2.RunInstances(call.With(t.Context(), info), in); awserr.Code(err) != "UnauthorizedOperation" {
		t.Errorf("%v", err)
	}
}
