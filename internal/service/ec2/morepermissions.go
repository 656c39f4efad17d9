package ec2

import (
	"reflect"
	"slices"

	"karri.dev/internal/authz"
	shape "karri.dev/internal/aws/shape/ec2"
	"karri.dev/internal/policy"
	"karri.dev/internal/store"
)

// volumesOfInstance asks for the volumes whose snapshots are wanted.
func volumesOfInstance(a *authz.Asking) {
	in := a.Input.(*shape.CreateSnapshotsRequest)
	if in.InstanceSpecification == nil {
		return // the handler refuses it
	}
	inst := store.Instances.Get(a.Reader, in.InstanceSpecification.InstanceId)
	if inst == nil || !instances.mine(a.Info, inst) {
		return // likewise
	}
	for _, v := range volumesOf(a.Reader, inst) {
		root := v.Attachment.Device == inst.RootDevice
		if root && isTrue(in.InstanceSpecification.ExcludeBootVolume) || slices.Contains(in.InstanceSpecification.ExcludeDataVolumeIds, v.ID) {
			continue
		}
		a.On(actCreateSnapshots, "volume", v.ID, nil)
	}
}

// acceptedVPC asks for the VPC that somebody else will reach.
func acceptedVPC(a *authz.Asking) {
	p := store.Peerings.Get(a.Reader, a.Input.(*shape.AcceptVpcPeeringConnectionRequest).VpcPeeringConnectionId)
	if p != nil && p.Accepter.AccountID == a.Info.AccountID {
		a.On(actAcceptPeering, "vpc", p.Accepter.VPCID, nil)
	}
}

var (
	actCreateSnapshots = policy.MakeAction("ec2:CreateSnapshots")
	actAcceptPeering   = policy.MakeAction("ec2:AcceptVpcPeeringConnection")
)

// madeIn gives the keys that say where something is made: its VPC and subnet, by the request's members of these names.
func madeIn(a *authz.Asking, k policy.Key) (policy.Value, bool) {
	member := func(name string) string {
		if v := reflect.ValueOf(a.Input).Elem().FieldByName(name); v.IsValid() && v.Kind() == reflect.String {
			return v.String()
		}
		return ""
	}
	if k.Name != "ec2:vpc" && k.Name != "ec2:subnet" || a.Kind() == "vpc" {
		return policy.Value{}, false
	}
	s := store.Subnets.Get(a.Reader, member("SubnetId"))
	switch {
	case s != nil && subnets.mine(a.Info, s) && k.Name == "ec2:subnet" && a.Kind() != "subnet":
		return policy.String(subnetARN(&s.Owned, s.ID)), true
	case s != nil && subnets.mine(a.Info, s) && k.Name == "ec2:vpc":
		return vpcKey(&s.Owned, s.VPCID)
	}
	if v := store.VPCs.Get(a.Reader, member("VpcId")); v != nil && vpcs.mine(a.Info, v) && k.Name == "ec2:vpc" {
		return vpcKey(&v.Owned, v.ID)
	}
	return policy.Value{}, false
}
