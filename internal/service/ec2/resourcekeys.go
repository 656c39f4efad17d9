package ec2

import (
	"karri.dev/internal/authz"
	"karri.dev/internal/policy"
	"karri.dev/internal/resource"
	"karri.dev/internal/store"
	"karri.dev/internal/volumetype"
)

// found gives a resource's condition keys.
type found[T any] struct {
	r    store.Reader
	kind *kind[T]
	v    *T
}

// Value implements authz.Resource.
func (f found[T]) Value(k policy.Key) (policy.Value, bool) {
	switch k.Name {
	case "aws:resourcetag", "ec2:resourcetag":
		return authz.Tag(f.kind.owned(f.v).Tags, k.Arg)
	case "ec2:resourceid":
		return policy.String(f.kind.id(f.v)), true
	}
	switch v := any(f.v).(type) {
	case *resource.Instance:
		return instanceKey(f.r, v, k.Name)
	case *resource.Volume:
		return volumeKey(f.r, v, k.Name)
	case *resource.Snapshot:
		return snapshotKey(v, k.Name)
	case *resource.VPC:
		if k.Name == "ec2:tenancy" {
			return policy.String("default"), true // there is no other
		}
		return only(k.Name, "ec2:vpcid", v.ID)
	case *resource.Subnet:
		switch k.Name {
		case "ec2:availabilityzone":
			return policy.String(v.Zone), true
		case "ec2:availabilityzoneid":
			return zoneID(f.r, v.Zone)
		case "ec2:subnetid":
			return policy.String(v.ID), true
		}
		return vpcOnly(&v.Owned, v.VPCID, k.Name)
	case *resource.SecurityGroup:
		if k.Name == "ec2:securitygroupid" {
			return policy.String(v.ID), true
		}
		return vpcOnly(&v.Owned, v.VPCID, k.Name)
	case *resource.Interface:
		switch k.Name {
		case "ec2:subnet":
			return policy.String(subnetARN(&v.Owned, v.SubnetID)), true
		case "ec2:availabilityzone":
			return policy.String(v.Zone), true
		case "ec2:availabilityzoneid":
			return zoneID(f.r, v.Zone)
		case "ec2:networkinterfaceid":
			return policy.String(v.ID), true
		}
		return vpcOnly(&v.Owned, v.VPCID, k.Name)
	case *resource.VPCEndpoint:
		switch k.Name {
		case "ec2:vpceservicename":
			return policy.String(v.Service), true
		case "ec2:vpceserviceregion":
			return policy.String(v.Region), true
		}
		return vpcOnly(&v.Owned, v.VPCID, k.Name)
	case *resource.NATGateway:
		return vpcOnly(&v.Owned, v.VPCID, k.Name)
	case *resource.RouteTable:
		if k.Name == "ec2:routetableid" {
			return policy.String(v.ID), true
		}
		return vpcOnly(&v.Owned, v.VPCID, k.Name)
	case *resource.NetworkACL:
		if k.Name == "ec2:networkaclid" {
			return policy.String(v.ID), true
		}
		return vpcOnly(&v.Owned, v.VPCID, k.Name)
	case *resource.InternetGateway:
		return only(k.Name, "ec2:internetgatewayid", v.ID)
	case *resource.DHCPOptions:
		return only(k.Name, "ec2:dhcpoptionsid", v.ID)
	case *resource.Address:
		switch k.Name {
		case "ec2:allocationid":
			return policy.String(v.AllocationID), true
		case "ec2:publicipaddress":
			return policy.String(v.PublicIP), true
		case "ec2:domain":
			return policy.String("vpc"), true
		}
	case *resource.KeyPair:
		switch k.Name {
		case "ec2:keypairname":
			return policy.String(v.Name), true
		case "ec2:keypairtype":
			return policy.String(v.Type), true
		}
	case *resource.PlacementGroup:
		switch k.Name {
		case "ec2:placementgroupname":
			return policy.String(v.Name), true
		case "ec2:placementgroupstrategy":
			return policy.String(v.Strategy), true
		}
	case *resource.Image:
		return imageKey(v, k.Name)
	case *resource.VPNConnection:
		return vpnKey(v, k.Name)
	}
	return policy.Value{}, false
}

// zoneID gives AWS's name of a zone that is the same for all accounts: "use1-az1".
func zoneID(r store.Reader, zone string) (policy.Value, bool) {
	if z := store.Zones.Get(r, zone); z != nil {
		return policy.String(z.ZoneID), true
	}
	return policy.Value{}, false
}

// only gives a key that is one text.
func only(asked, key, value string) (policy.Value, bool) {
	return policy.String(value), asked == key && value != ""
}

func imageKey(v *resource.Image, key string) (policy.Value, bool) {
	switch key {
	case "ec2:owner":
		return policy.String(v.AccountID), true
	case "ec2:public":
		return policy.Bool(v.Public), true
	case "ec2:imageid":
		return policy.String(v.ID), true
	case "ec2:imagetype":
		return policy.String(v.Kind), true
	case "ec2:rootdevicetype":
		return policy.String(v.RootDeviceType), true
	}
	return policy.Value{}, false
}

// sharedImage is an image of another account's.
type sharedImage struct{ v *resource.Image }

// Value implements authz.Resource.
func (s sharedImage) Value(k policy.Key) (policy.Value, bool) { return imageKey(s.v, k.Name) }

// sharedSnapshot is a snapshot of another account's, likewise.
type sharedSnapshot struct{ v *resource.Snapshot }

// Value implements authz.Resource.
func (s sharedSnapshot) Value(k policy.Key) (policy.Value, bool) { return snapshotKey(s.v, k.Name) }

func volumeKey(r store.Reader, v *resource.Volume, key string) (policy.Value, bool) {
	switch key {
	case "ec2:availabilityzone":
		return policy.String(v.Zone), true
	case "ec2:availabilityzoneid":
		return zoneID(r, v.Zone)
	case "ec2:encrypted":
		return policy.Bool(v.Encrypted), true
	case "ec2:parentvolume":
		if snap := store.Snapshots.Get(r, v.SnapshotID); snap != nil && snap.AccountID == v.AccountID {
			return snapshotKey(snap, key)
		}
	case "ec2:parentsnapshot":
		return policy.String(snapshotARN(&v.Owned, v.SnapshotID)), v.SnapshotID != ""
	case "ec2:volumeid":
		return policy.String(v.ID), true
	case "ec2:volumeiops":
		return policy.Int(int64(volumetype.IOPS(v))), true
	case "ec2:volumesize":
		return policy.Int(int64(v.SizeGiB)), true
	case "ec2:volumethroughput":
		return policy.Int(int64(v.Throughput)), v.Throughput != 0
	case "ec2:volumetype":
		return policy.String(v.Type), true
	}
	return policy.Value{}, false
}

func snapshotKey(v *resource.Snapshot, key string) (policy.Value, bool) {
	switch key {
	case "ec2:owner":
		return policy.String(v.AccountID), true
	case "ec2:parentvolume":
		return policy.String("arn:aws:ec2:" + v.Region + ":" + v.AccountID + ":volume/" + v.VolumeID), v.VolumeID != ""
	case "ec2:encrypted":
		return policy.Bool(v.Encrypted), true
	case "ec2:snapshottime":
		return policy.Time(v.CreatedAt), true
	case "ec2:availabilityzone":
		return policy.String(v.Zone), v.Zone != ""
	case "ec2:snapshotid":
		return policy.String(v.ID), true
	case "ec2:volumesize":
		return policy.Int(int64(v.SizeGiB)), true
	}
	return policy.Value{}, false
}

func instanceKey(r store.Reader, v *resource.Instance, key string) (policy.Value, bool) {
	switch key {
	case "ec2:instancetype":
		return policy.String(v.Type), true
	case "ec2:availabilityzone":
		return policy.String(v.Zone), true
	case "ec2:availabilityzoneid":
		return zoneID(r, v.Zone)
	case "ec2:instanceid":
		return policy.String(v.ID), true
	case "ec2:instanceprofile":
		if p := store.InstanceProfilesByID.One(r, v.ProfileID); p != nil {
			return policy.String(p.ARN()), true
		}
	case "ec2:placementgroup":
		if g := store.PlacementGroups.Get(r, v.PlacementGroup); g != nil {
			return policy.String(placementARN(&v.Owned, g.Name)), true
		}
	case "ec2:productcode":
		if img := store.Images.Get(r, v.ImageID); img != nil && len(img.ProductCodes) > 0 {
			return policy.Strings(img.ProductCodes), true
		}
	case "ec2:rootdevicetype":
		if v.RootDevice != "" {
			return policy.String("ebs"), true
		}
		return policy.String("instance-store"), true
	case "ec2:metadatahttptokens":
		return policy.String(choose(v.IMDS.TokensNeeded, "required", "optional")), true
	case "ec2:metadatahttpendpoint":
		return policy.String(choose(v.IMDS.Disabled, "disabled", "enabled")), true
	case "ec2:metadatahttpputresponsehoplimit":
		return policy.Int(int64(max(v.IMDS.HopLimit, 1))), true
	case "ec2:instancemetadatatags":
		return policy.String(choose(v.IMDS.InstanceTags, "enabled", "disabled")), true
	}
	return onlyOffered(key)
}

// onlyOffered gives the keys of instances that have one value here, because no other can be chosen.
func onlyOffered(key string) (policy.Value, bool) {
	switch key {
	case "ec2:tenancy", "ec2:instanceautorecovery", "ec2:instancebandwidthweighting":
		return policy.String("default"), true
	case "ec2:ebsoptimized":
		return policy.Bool(false), true
	case "ec2:instancemarkettype":
		return policy.String("on-demand"), true
	}
	return policy.Value{}, false
}

func placementARN(o *resource.Owned, name string) string {
	return "arn:aws:ec2:" + o.Region + ":" + o.AccountID + ":placement-group/" + name
}

// vpnKey gives those of a connection that has no choice of them, or whose choice is not one of its tunnels'.
func vpnKey(v *resource.VPNConnection, key string) (policy.Value, bool) {
	if key == "ec2:routingtype" {
		return policy.String(choose(v.BGP, "bgp", "static")), true
	}
	return onlyVPN(key)
}

func onlyVPN(key string) (policy.Value, bool) {
	switch key {
	case "ec2:authenticationtype":
		return policy.String("pre-shared-keys"), true
	case "ec2:gatewaytype":
		return policy.String("VGW"), true
	}
	return policy.Value{}, false
}

func vpcOnly(o *resource.Owned, vpc, key string) (policy.Value, bool) {
	if key == "ec2:vpc" {
		return vpcKey(o, vpc)
	}
	return policy.Value{}, false
}

func vpcKey(o *resource.Owned, id string) (policy.Value, bool) {
	return policy.String("arn:aws:ec2:" + o.Region + ":" + o.AccountID + ":vpc/" + id), id != ""
}

func subnetARN(o *resource.Owned, id string) string {
	return "arn:aws:ec2:" + o.Region + ":" + o.AccountID + ":subnet/" + id
}

// snapshotARN has no account, as all ARNs of snapshots.
func snapshotARN(o *resource.Owned, id string) string {
	return "arn:aws:ec2:" + o.Region + "::snapshot/" + id
}
