package ec2

import (
	"karri.dev/internal/authz"
	shape "karri.dev/internal/aws/shape/ec2"
	"karri.dev/internal/policy"
	"karri.dev/internal/resource"
	"karri.dev/internal/store"
)

// Condition keys of what a call is about to make, which are no members of its request. What is not there yet has no id: of
// AWS's keys, those that name one (ec2:VpcID of CreateVpc) have no value.

type keysOf = func(*authz.Asking, policy.Key) (policy.Value, bool)

// first gives what either knows of a key; a may be nil.
func first(a, b keysOf) keysOf {
	if a == nil {
		return b
	}
	return func(x *authz.Asking, k policy.Key) (policy.Value, bool) {
		if v, ok := a(x, k); ok {
			return v, ok
		}
		return b(x, k)
	}
}

// made gives the keys of the kind of resource that a call makes.
func made[T any](kind string, keys func(a *authz.Asking, in *T, key string) (policy.Value, bool)) keysOf {
	return func(a *authz.Asking, k policy.Key) (policy.Value, bool) {
		if in, ok := a.Input.(*T); ok && a.New() && a.Kind() == kind {
			return keys(a, in, k.Name)
		}
		return policy.Value{}, false
	}
}

// madeByCaller gives the owner of an image or a snapshot that is made.
func madeByCaller(a *authz.Asking, k policy.Key) (policy.Value, bool) {
	return policy.String(a.Info.AccountID), k.Name == "ec2:owner" && a.New()
}

func createdVolume(a *authz.Asking, in *shape.CreateVolumeRequest, key string) (policy.Value, bool) {
	switch key {
	case "ec2:availabilityzone":
		return policy.String(in.AvailabilityZone), in.AvailabilityZone != ""
	case "ec2:availabilityzoneid":
		return zoneID(a.Reader, in.AvailabilityZone)
	case "ec2:encrypted":
		return policy.Bool(willEncrypt(a, in.Encrypted, in.SnapshotId)), true
	case "ec2:volumesize":
		return sizeKey(a, number(in.Size), in.SnapshotId)
	case "ec2:volumeiops":
		return policy.Int(int64(number(in.Iops))), in.Iops != nil
	case "ec2:volumethroughput":
		return policy.Int(int64(number(in.Throughput))), in.Throughput != nil
	case "ec2:volumetype":
		return policy.String(pick(in.VolumeType, defaultVolumeType(in.Iops))), true
	case "ec2:parentsnapshot":
		return policy.String(string(appendARN(nil, a.Info, "snapshot", in.SnapshotId))), in.SnapshotId != ""
	}
	return policy.Value{}, false
}

func importedVolume(a *authz.Asking, in *shape.ImportVolumeRequest, key string) (policy.Value, bool) {
	switch key {
	case "ec2:availabilityzone":
		return policy.String(in.AvailabilityZone), in.AvailabilityZone != ""
	case "ec2:availabilityzoneid":
		return zoneID(a.Reader, in.AvailabilityZone)
	case "ec2:encrypted":
		return policy.Bool(encryptsByDefault(a.Reader, a.Info)), true
	case "ec2:volumetype":
		return policy.String(defaultVolumeType(nil)), true
	case "ec2:volumesize":
		if in.Volume != nil {
			return policy.Int(int64(in.Volume.Size)), true
		}
	}
	return policy.Value{}, false
}

// cutKey gives the keys of a snapshot that is made of a volume of the caller's.
func cutKey(a *authz.Asking, volume, key string) (policy.Value, bool) {
	v := store.Volumes.Get(a.Reader, volume)
	if v == nil || !volumes.mine(a.Info, v) {
		return policy.Value{}, false // the handler refuses it
	}
	switch key {
	case "ec2:parentvolume":
		return policy.String(volumes.arn(v)), true
	case "ec2:volumesize", "ec2:encrypted":
		return volumeKey(a.Reader, v, key)
	case "ec2:sourceavailabilityzone":
		return policy.String(v.Zone), true
	}
	return policy.Value{}, false
}

func createdSnapshot(a *authz.Asking, in *shape.CreateSnapshotRequest, key string) (policy.Value, bool) {
	return cutKey(a, in.VolumeId, key)
}

func copiedSnapshot(a *authz.Asking, in *shape.CopySnapshotRequest, key string) (policy.Value, bool) {
	from := usableSnapshot(a, in.SourceSnapshotId)
	switch {
	case key == "ec2:encrypted":
		return policy.Bool(willEncrypt(a, in.Encrypted, in.SourceSnapshotId)), true
	case key == "ec2:parentsnapshot":
		return policy.String(string(appendARN(nil, a.Info, "snapshot", in.SourceSnapshotId))), in.SourceSnapshotId != ""
	case key == "ec2:volumesize" && from != nil:
		return policy.Int(int64(from.SizeGiB)), true
	}
	return policy.Value{}, false
}

func createdKeyPair(_ *authz.Asking, in *shape.CreateKeyPairRequest, key string) (policy.Value, bool) {
	return only(key, "ec2:keypairtype", pick(in.KeyType, "rsa"))
}

func createdPlacementGroup(_ *authz.Asking, in *shape.CreatePlacementGroupRequest, key string) (policy.Value, bool) {
	if key == "ec2:placementgroupname" {
		return policy.String(in.GroupName), in.GroupName != ""
	}
	return only(key, "ec2:placementgroupstrategy", pick(in.Strategy, "cluster"))
}

func createdPeering(a *authz.Asking, in *shape.CreateVpcPeeringConnectionRequest, key string) (policy.Value, bool) {
	switch key {
	case "ec2:requestervpc":
		return policy.String(sideARN(&resource.PeeringSide{AccountID: a.Info.AccountID, Region: a.Info.Region, VPCID: in.VpcId})), true
	case "ec2:acceptervpc":
		return policy.String(sideARN(&resource.PeeringSide{
			AccountID: pick(in.PeerOwnerId, a.Info.AccountID), Region: pick(in.PeerRegion, a.Info.Region), VPCID: in.PeerVpcId,
		})), true
	}
	return policy.Value{}, false
}

func createdEndpoint(a *authz.Asking, in *shape.CreateVpcEndpointRequest, key string) (policy.Value, bool) {
	switch key {
	case "ec2:vpceserviceregion":
		return policy.String(a.Info.Region), true
	case "ec2:vpceserviceowner":
		return policy.String("amazon"), true // there are no others' services
	}
	return only(key, "ec2:vpceservicename", in.ServiceName)
}

func createdVPN(_ *authz.Asking, in *shape.CreateVpnConnectionRequest, key string) (policy.Value, bool) {
	if key == "ec2:routingtype" {
		return policy.String(choose(in.Options != nil && isTrue(in.Options.StaticRoutesOnly), "static", "bgp")), true
	}
	return onlyVPN(key)
}

// tunnelKeys are the condition keys that are options of a tunnel, at path in the request.
func tunnelKeys(path string) (out string) {
	for key, member := range map[string]string{
		"DPDTimeoutSeconds": "DPDTimeoutSeconds", "InsideTunnelCidr": "TunnelInsideCidr", "InsideTunnelIpv6Cidr": "TunnelInsideIpv6Cidr", "IKEVersions": "IKEVersions.Value",
		"Phase1LifetimeSeconds": "Phase1LifetimeSeconds", "Phase2LifetimeSeconds": "Phase2LifetimeSeconds",
		"Phase1DHGroup": "Phase1DHGroupNumbers.Value", "Phase2DHGroup": "Phase2DHGroupNumbers.Value",
		"Phase1EncryptionAlgorithms": "Phase1EncryptionAlgorithms.Value", "Phase2EncryptionAlgorithms": "Phase2EncryptionAlgorithms.Value",
		"Phase1IntegrityAlgorithms": "Phase1IntegrityAlgorithms.Value", "Phase2IntegrityAlgorithms": "Phase2IntegrityAlgorithms.Value",
		"RekeyFuzzPercentage": "RekeyFuzzPercentage", "RekeyMarginTimeSeconds": "RekeyMarginTimeSeconds", "ReplayWindowSizePackets": "ReplayWindowSize",
	} {
		out += "ec2:" + key + "=" + path + member + " "
	}
	return out
}

// newProfile gives the profile that an instance is to have.
func newProfile(a *authz.Asking, k policy.Key) (policy.Value, bool) {
	if k.Name != "ec2:newinstanceprofile" || a.Kind() != "instance" {
		return policy.Value{}, false
	}
	var asked *shape.IamInstanceProfileSpecification
	switch in := a.Input.(type) {
	case *shape.AssociateIamInstanceProfileRequest:
		asked = in.IamInstanceProfile
	case *shape.ReplaceIamInstanceProfileAssociationRequest:
		asked = in.IamInstanceProfile
	}
	if p, err := findProfile(a.Reader, a.Info, asked); err == nil && p != nil {
		return policy.String(p.ARN()), true
	}
	return policy.Value{}, false
}

// permissionKeys gives whom a change of a snapshot's permissions lets in or out: ec2:Add/userId, ec2:Remove/group ….
func permissionKeys(a *authz.Asking, k policy.Key) (policy.Value, bool) {
	in, ok := a.Input.(*shape.ModifySnapshotAttributeRequest)
	if !ok || k.Name != "ec2:add" && k.Name != "ec2:remove" {
		return policy.Value{}, false
	}
	var list []shape.CreateVolumePermission
	if p := in.CreateVolumePermission; p != nil {
		list = choose(k.Name == "ec2:add", p.Add, p.Remove)
	}
	users, groups := []string(nil), []string(nil)
	if "ec2:"+in.OperationType == k.Name {
		users, groups = in.UserIds, in.GroupNames
	}
	for _, p := range list {
		users, groups = appendSome(users, p.UserId), appendSome(groups, p.Group)
	}
	switch k.Text() {
	case "ec2:add/userid", "ec2:remove/userid":
		return policy.Strings(users), len(users) > 0
	case "ec2:add/group", "ec2:remove/group":
		return policy.Strings(groups), len(groups) > 0
	}
	return policy.Value{}, false
}

func appendSome(list []string, s string) []string {
	if s == "" {
		return list
	}
	return append(list[:len(list):len(list)], s)
}
