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
		a.Makes("snapshot", func(k policy.Key) (policy.Value, bool) { return cutKey(a, v.ID, k.Name) })
	}
}

// snapshotsOfImage asks for the snapshots that an image of an instance is made of.
func snapshotsOfImage(a *authz.Asking) {
	inst := store.Instances.Get(a.Reader, a.Input.(*shape.CreateImageRequest).InstanceId)
	if inst == nil || !instances.mine(a.Info, inst) {
		return // the handler refuses it
	}
	for _, v := range volumesOf(a.Reader, inst) {
		a.Makes("snapshot", func(k policy.Key) (policy.Value, bool) { return cutKey(a, v.ID, k.Name) })
	}
}

// attachedInstance asks for the instance that an interface is attached to, where the call is about the attachment.
func attachedInstance(a *authz.Asking) {
	id, action := "", actDetachInterface
	switch in := a.Input.(type) {
	case *shape.DetachNetworkInterfaceRequest:
		id = in.AttachmentId
	case *shape.ModifyNetworkInterfaceAttributeRequest:
		action = actModifyInterface
		if in.Attachment != nil {
			id = in.Attachment.AttachmentId
		}
	}
	for e := range store.InterfacesByOwner.By(a.Reader, ownerKey(a.Info)) {
		if id != "" && e.AttachmentID == id && e.InstanceID != "" {
			a.On(action, "instance", e.InstanceID, nil)
		}
	}
}

// associatedSubnet asks for the subnet of an association with a route table; the main one is its VPC's.
func associatedSubnet(a *authz.Asking) {
	id, action := "", actDisassociateTable
	switch in := a.Input.(type) {
	case *shape.DisassociateRouteTableRequest:
		id = in.AssociationId
	case *shape.ReplaceRouteTableAssociationRequest:
		id, action = in.AssociationId, actReplaceTable
	}
	if t, at, err := associationOf(a.Reader, a.Info, id); err == nil && at >= 0 {
		a.On(action, "subnet", t.Associations[at].SubnetID, nil)
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

	actDetachInterface   = policy.MakeAction("ec2:DetachNetworkInterface")
	actModifyInterface   = policy.MakeAction("ec2:ModifyNetworkInterfaceAttribute")
	actDisassociateTable = policy.MakeAction("ec2:DisassociateRouteTable")
	actReplaceTable      = policy.MakeAction("ec2:ReplaceRouteTableAssociation")
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
