package ec2

import (
	"karri.dev/internal/authz"
	"karri.dev/internal/aws/call"
	shape "karri.dev/internal/aws/shape/ec2"
	"karri.dev/internal/policy"
	"karri.dev/internal/resource"
	"karri.dev/internal/store"
	"karri.dev/internal/volumetype"
)

var (
	actRun      = policy.MakeAction("ec2:RunInstances")
	actPassRole = policy.MakeAction("iam:PassRole")
)

// wholeLaunch gives a launch with its template's parameters: leave is asked for what will be launched. A template that
// is not there is for the handler to refuse.
func wholeLaunch(r store.Reader, info *call.Info, in any) any {
	given := in.(*shape.RunInstancesRequest)
	if given.LaunchTemplate == nil {
		return given
	}
	whole, _, err := fromTemplate(r, info, given)
	if err != nil {
		return given
	}
	return whole
}

// launchKeys gives the condition keys of a launch that are no members of its request.
func launchKeys(a *authz.Asking, k policy.Key) (policy.Value, bool) {
	in, ok := a.Input.(*shape.RunInstancesRequest)
	if !ok {
		return policy.Value{}, false
	}
	switch a.Kind() {
	case "instance":
		if v, ok := launchedKey(a, in, k.Name); ok {
			return v, true
		}
	case "network-interface":
		s := store.Subnets.Get(a.Reader, launchSubnet(in))
		if s == nil || !subnets.mine(a.Info, s) {
			break
		}
		switch k.Name {
		case "ec2:subnet":
			return policy.String(subnetARN(&s.Owned, s.ID)), true
		case "ec2:vpc":
			return vpcKey(&s.Owned, s.VPCID)
		}
	}
	given, ok := a.Given.(*shape.RunInstancesRequest)
	if !ok || given.LaunchTemplate == nil {
		return policy.Value{}, false
	}
	switch k.Name {
	case "ec2:launchtemplate":
		t, err := findTemplate(a.Reader, a.Info, given.LaunchTemplate.LaunchTemplateId, given.LaunchTemplate.LaunchTemplateName)
		if err != nil {
			return policy.Value{}, false
		}
		return policy.String(string(appendARN(nil, a.Info, "launch-template", t.ID))), true
	case "ec2:islaunchtemplateresource":
		return policy.Bool(!overrides(given, a.Kind())), true
	}
	return policy.Value{}, false
}

// launchedKey gives the keys of an instance that is to be: what the request leaves out has the value that it will have.
func launchedKey(a *authz.Asking, in *shape.RunInstancesRequest, key string) (policy.Value, bool) {
	imds := in.MetadataOptions
	if imds == nil {
		imds = &shape.InstanceMetadataOptionsRequest{}
	}
	switch key {
	case "ec2:instancetype":
		return policy.String(pick(in.InstanceType, defaultType)), true
	case "ec2:tenancy":
		return policy.String("default"), true // no other is taken
	case "ec2:ebsoptimized":
		return policy.Bool(in.EbsOptimized != nil && *in.EbsOptimized), true
	case "ec2:instancemarkettype":
		return policy.String("on-demand"), true
	case "ec2:metadatahttptokens":
		return policy.String(pick(imds.HttpTokens, "optional")), true
	case "ec2:metadatahttpendpoint":
		return policy.String(pick(imds.HttpEndpoint, "enabled")), true
	case "ec2:metadatahttpputresponsehoplimit":
		if imds.HttpPutResponseHopLimit == nil {
			return policy.Int(1), true
		}
		return policy.Int(int64(*imds.HttpPutResponseHopLimit)), true
	case "ec2:rootdevicetype":
		if img, err := findImage(a.Reader, a.Info, in.ImageId); err == nil {
			return policy.String(img.RootDeviceType), true
		}
	case "ec2:instanceprofile":
		if p, err := findProfile(a.Reader, a.Info, in.IamInstanceProfile); err == nil && p != nil {
			return policy.String(p.ARN()), true
		}
	}
	return policy.Value{}, false
}

// launchSubnet gives the subnet that a launch names, "" for none.
func launchSubnet(in *shape.RunInstancesRequest) string {
	subnet := in.SubnetId
	for i := range in.NetworkInterfaces {
		subnet = pick(subnet, in.NetworkInterfaces[i].SubnetId)
	}
	return subnet
}

// overrides says whether a request itself says something about what a kind of resource will be.
func overrides(in *shape.RunInstancesRequest, kind string) bool {
	switch kind {
	case "image":
		return in.ImageId != ""
	case "instance":
		return in.InstanceType != ""
	case "key-pair":
		return in.KeyName != ""
	case "subnet":
		return in.SubnetId != "" || len(in.NetworkInterfaces) > 0
	case "security-group":
		return len(in.SecurityGroupIds)+len(in.SecurityGroups)+len(in.NetworkInterfaces) > 0
	case "network-interface":
		return len(in.NetworkInterfaces) > 0
	case "volume", "snapshot":
		return len(in.BlockDeviceMappings) > 0
	}
	return false
}

// launchUses asks for what a launch takes that its request names only by leaving it out, the default VPC's subnets
// and group, for its volumes, and for the passing on of its role.
func launchUses(a *authz.Asking) {
	in := a.Input.(*shape.RunInstancesRequest)
	subnet, zone := launchSubnet(in), ""
	groups := len(in.SecurityGroupIds) > 0 || len(in.SecurityGroups) > 0
	for i := range in.NetworkInterfaces {
		groups = groups || len(in.NetworkInterfaces[i].Groups) > 0
	}
	if in.Placement != nil {
		zone = in.Placement.AvailabilityZone
	}
	if v := defaultVPC(a.Reader, a.Info); subnet == "" && v != nil {
		for s := range store.SubnetsByVPC.By(a.Reader, v.ID) { // whichever the cloud may choose
			if s.Default && (zone == "" || s.Zone == zone) {
				a.On(actRun, "subnet", s.ID, nil)
				subnet = s.ID
			}
		}
	}
	if s := store.Subnets.Get(a.Reader, subnet); !groups && s != nil && subnets.mine(a.Info, s) {
		if v := store.VPCs.Get(a.Reader, s.VPCID); v != nil {
			a.On(actRun, "security-group", v.DefaultGroup, nil)
		}
	}
	launchVolumes(a, in)
	if p := in.IamInstanceProfile; p != nil {
		passProfile(a, p.Arn, p.Name)
	}
}

// launchVolumes asks for the volumes that come of a launch, and for what they are made of where the request says that.
// An image that is not there is for the handler to refuse.
func launchVolumes(a *authz.Asking, in *shape.RunInstancesRequest) {
	img, err := findImage(a.Reader, a.Info, in.ImageId)
	if err != nil {
		img = &resource.Image{}
	}
	mappings, err := joined(img, in.BlockDeviceMappings)
	if err != nil {
		return // likewise
	}
	for i := range mappings {
		if m := &mappings[i]; m.Virtual == "" {
			a.Makes("volume", func(k policy.Key) (policy.Value, bool) { return mappingKey(a.Info, m, k) })
		}
	}
	for _, m := range in.BlockDeviceMappings {
		if m.Ebs != nil && m.Ebs.SnapshotId != "" {
			a.On(actRun, "snapshot", m.Ebs.SnapshotId, nil)
		}
	}
}

// mappingKey gives the condition keys of a volume that a launch makes.
func mappingKey(info *call.Info, m *resource.ImageMapping, k policy.Key) (policy.Value, bool) {
	switch k.Name {
	case "ec2:volumesize":
		return policy.Int(int64(m.SizeGiB)), m.SizeGiB != 0
	case "ec2:volumeiops":
		return policy.Int(int64(m.IOPS)), m.IOPS != 0
	case "ec2:volumethroughput":
		return policy.Int(int64(m.Throughput)), m.Throughput != 0
	case "ec2:volumetype":
		return policy.String(pick(m.Type, volumetype.Default)), true
	case "ec2:encrypted":
		return policy.Bool(false), true
	case "ec2:parentsnapshot":
		return policy.String(string(appendARN(nil, info, "snapshot", m.SnapshotID))), m.SnapshotID != ""
	}
	return policy.Value{}, false
}

// createdVolume gives the keys of what CreateVolume makes that are no members of its request.
func createdVolume(a *authz.Asking, k policy.Key) (policy.Value, bool) {
	in, ok := a.Input.(*shape.CreateVolumeRequest)
	if !ok || a.Kind() != "volume" {
		return policy.Value{}, false
	}
	switch k.Name {
	case "ec2:encrypted":
		return policy.Bool(false), true
	case "ec2:volumetype":
		return policy.String(pick(in.VolumeType, defaultVolumeType(in.Iops))), true
	case "ec2:parentsnapshot":
		return policy.String(string(appendARN(nil, a.Info, "snapshot", in.SnapshotId))), in.SnapshotId != ""
	}
	return policy.Value{}, false
}
