package ec2

import (
	"encoding/json"

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
	// No policy can ask for user data, which is sealed.
	whole, _, err := fromTemplate(r, info, given, func(v *resource.LaunchTemplateVersion) (json.RawMessage, error) { return v.Data, nil })
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
		if v, ok := launchedInterfaceKey(a, in, k.Name); ok {
			return v, true
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
	case "ec2:availabilityzone", "ec2:availabilityzoneid":
		return launchZone(a, in, key)
	case "ec2:instancemetadatatags":
		return policy.String(pick(imds.InstanceMetadataTags, "disabled")), true
	case "ec2:placementgroup":
		if in.Placement != nil && in.Placement.GroupName != "" {
			return policy.String(string(appendARN(nil, a.Info, "placement-group", in.Placement.GroupName))), true
		}
	case "ec2:productcode":
		if img, err := findImage(a.Reader, a.Info, in.ImageId); err == nil && len(img.ProductCodes) > 0 {
			return policy.Strings(img.ProductCodes), true
		}
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
	return onlyOffered(key)
}

// launchedInterfaceKey gives the keys of the interfaces that a launch makes.
func launchedInterfaceKey(a *authz.Asking, in *shape.RunInstancesRequest, key string) (policy.Value, bool) {
	s := store.Subnets.Get(a.Reader, launchSubnet(in))
	if s != nil && !subnets.mine(a.Info, s) {
		s = nil
	}
	switch {
	case key == "ec2:availabilityzone" || key == "ec2:availabilityzoneid":
		return launchZone(a, in, key)
	case key == "ec2:associatepublicipaddress":
		public, said := false, false
		for i := range in.NetworkInterfaces {
			if want := in.NetworkInterfaces[i].AssociatePublicIpAddress; want != nil {
				public, said = public || *want, true
			}
		}
		return policy.Bool(public || !said && (s == nil || s.MapPublicIP)), said || s != nil
	case key == "ec2:subnet" && s != nil:
		return policy.String(subnetARN(&s.Owned, s.ID)), true
	case key == "ec2:vpc" && s != nil:
		return vpcKey(&s.Owned, s.VPCID)
	}
	return policy.Value{}, false
}

// launchZone gives the zone that a launch names, or that of the subnet it names, by its name or by its id.
func launchZone(a *authz.Asking, in *shape.RunInstancesRequest, key string) (policy.Value, bool) {
	zone := ""
	if p := in.Placement; p != nil {
		zone = p.AvailabilityZone
		for z := range store.Zones.All(a.Reader) {
			if zone == "" && p.AvailabilityZoneId != "" && z.ZoneID == p.AvailabilityZoneId {
				zone = z.Name
			}
		}
	}
	if s := store.Subnets.Get(a.Reader, launchSubnet(in)); zone == "" && s != nil && subnets.mine(a.Info, s) {
		zone = s.Zone
	}
	if key == "ec2:availabilityzoneid" {
		return zoneID(a.Reader, zone)
	}
	return policy.String(zone), zone != ""
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
			a.Makes("volume", func(k policy.Key) (policy.Value, bool) { return mappingKey(a, m, k) })
		}
	}
	for _, m := range in.BlockDeviceMappings {
		if m.Ebs != nil && m.Ebs.SnapshotId != "" {
			a.On(actRun, "snapshot", m.Ebs.SnapshotId, nil)
		}
	}
}

// mappingKey gives the condition keys of a volume that a launch makes.
func mappingKey(a *authz.Asking, m *resource.ImageMapping, k policy.Key) (policy.Value, bool) {
	switch k.Name {
	case "ec2:volumesize":
		return sizeKey(a, m.SizeGiB, m.SnapshotID)
	case "ec2:volumeiops":
		return policy.Int(int64(m.IOPS)), m.IOPS != 0
	case "ec2:volumethroughput":
		return policy.Int(int64(m.Throughput)), m.Throughput != 0
	case "ec2:volumetype":
		return policy.String(pick(m.Type, volumetype.Default)), true
	case "ec2:encrypted":
		return policy.Bool(willEncrypt(a, m.Encrypted, m.SnapshotID)), true
	case "ec2:parentsnapshot":
		return policy.String(string(appendARN(nil, a.Info, "snapshot", m.SnapshotID))), m.SnapshotID != ""
	}
	return policy.Value{}, false
}

// sizeKey gives the size of a volume that is to be made: that of its snapshot where none is asked for.
func sizeKey(a *authz.Asking, asked int, snapshot string) (policy.Value, bool) {
	if s := usableSnapshot(a, snapshot); asked == 0 && s != nil {
		asked = s.SizeGiB
	}
	return policy.Int(int64(asked)), asked != 0
}

// willEncrypt says whether a volume that is to be made will be encrypted.
func willEncrypt(a *authz.Asking, asked *bool, snapshot string) bool {
	if isTrue(asked) || encryptsByDefault(a.Reader, a.Info) {
		return true
	}
	s := usableSnapshot(a, snapshot)
	return s != nil && s.Encrypted
}

// usableSnapshot gives a snapshot that the caller may make volumes of, nil for any other: policies tell nothing of those.
func usableSnapshot(a *authz.Asking, id string) *resource.Snapshot {
	if s := store.Snapshots.Get(a.Reader, id); s != nil && s.Region == a.Info.Region && mayRestore(a.Reader, a.Info.AccountID, s) {
		return s
	}
	return nil
}
