package ec2

import (
	"testing"

	shape "karri.dev/internal/aws/shape/ec2"
	"karri.dev/internal/resource"
	"karri.dev/internal/store"
)

func TestInterfacePermissions(t *testing.T) {
	c := newCloud(t)
	vpc, sub := c.vpc("10.0.0.0/16", "10.0.0.0/24")
	eni := do(c, c.CreateNetworkInterface, shape.CreateNetworkInterfaceRequest{SubnetId: sub}).NetworkInterface.NetworkInterfaceId
	igw := do(c, c.CreateInternetGateway, shape.CreateInternetGatewayRequest{}).InternetGateway.InternetGatewayId
	do(c, c.AttachInternetGateway, shape.AttachInternetGatewayRequest{InternetGatewayId: igw, VpcId: vpc})
	// Bob's own instance, in his VPC, from an image that he may use.
	do(c, c.ModifyImageAttribute, shape.ModifyImageAttributeRequest{ImageId: c.image, LaunchPermission: &shape.LaunchPermissionModifications{Add: []shape.LaunchPermission{{UserId: bob}}}})
	out, err := c.RunInstances(c.bob, &shape.RunInstancesRequest{ImageId: c.image, InstanceType: "t3.nano", MinCount: 1, MaxCount: 1})
	if err != nil {
		t.Fatal(err)
	}
	inst := out.Instances[0].InstanceId
	c.place(inst)
	eip, err := c.AllocateAddress(c.bob, &shape.AllocateAddressRequest{})
	if err != nil {
		t.Fatal(err)
	}
	attach := &shape.AttachNetworkInterfaceRequest{InstanceId: inst, NetworkInterfaceId: eni, DeviceIndex: 1}
	give := &shape.AssociateAddressRequest{AllocationId: eip.AllocationId, NetworkInterfaceId: eni}
	grant := shape.CreateNetworkInterfacePermissionRequest{NetworkInterfaceId: eni, AwsAccountId: bob, Permission: "INSTANCE-ATTACH"}

	c.code("unasked", second(c.AttachNetworkInterface(c.bob, attach)), "InvalidNetworkInterfaceID.NotFound")
	c.code("for another's", second(c.CreateNetworkInterfacePermission(c.bob, &grant)), "InvalidNetworkInterfaceID.NotFound")
	for code, in := range map[string]shape.CreateNetworkInterfacePermissionRequest{
		"MissingParameter":      {NetworkInterfaceId: eni, Permission: "INSTANCE-ATTACH"},
		"InvalidParameterValue": {NetworkInterfaceId: eni, Permission: "EVERYTHING", AwsAccountId: bob},
		"UnsupportedOperation":  {NetworkInterfaceId: eni, Permission: "INSTANCE-ATTACH", AwsService: "rds"},
	} {
		refused(c, c.CreateNetworkInterfacePermission, in, code)
	}
	first := do(c, c.CreateNetworkInterfacePermission, grant).InterfacePermission
	if again := do(c, c.CreateNetworkInterfacePermission, grant).InterfacePermission; again.NetworkInterfacePermissionId != first.NetworkInterfacePermissionId || first.PermissionState.State != "granted" {
		t.Errorf("%+v, %+v", first, again)
	}
	// The one permission is not the other, and neither is for everything else.
	c.code("an address", second(c.AssociateAddress(c.bob, give)), "InvalidNetworkInterfaceID.NotFound")
	c.code("attach", second(c.AttachNetworkInterface(c.bob, attach)), "")
	c.code("change", second(c.ModifyNetworkInterfaceAttribute(c.bob, &shape.ModifyNetworkInterfaceAttributeRequest{NetworkInterfaceId: eni, SourceDestCheck: boolean(false)})), "InvalidNetworkInterfaceID.NotFound")
	c.code("delete", second(c.DeleteNetworkInterface(c.bob, &shape.DeleteNetworkInterfaceRequest{NetworkInterfaceId: eni})), "InvalidNetworkInterfaceID.NotFound")
	c.code("assign", second(c.AssignPrivateIpAddresses(c.bob, &shape.AssignPrivateIpAddressesRequest{NetworkInterfaceId: eni, SecondaryPrivateIpAddressCount: ptr(1)})), "InvalidNetworkInterfaceID.NotFound")
	shown := do(c, c.DescribeNetworkInterfaces, shape.DescribeNetworkInterfacesRequest{NetworkInterfaceIds: one(eni), Filters: filters("attachment.instance-owner-id", bob)}).NetworkInterfaces
	if len(shown) != 1 || shown[0].Attachment.InstanceOwnerId != bob || shown[0].OwnerId != alice {
		t.Fatalf("%+v", shown)
	}
	theirs, err := c.DescribeInstances(c.bob, &shape.DescribeInstancesRequest{})
	if err != nil || len(theirs.Reservations[0].Instances[0].NetworkInterfaces) != 2 {
		t.Errorf("%+v %v", theirs, err)
	}
	do(c, c.CreateNetworkInterfacePermission, shape.CreateNetworkInterfacePermissionRequest{NetworkInterfaceId: eni, AwsAccountId: bob, Permission: "EIP-ASSOCIATE"})
	c.code("an address", second(c.AssociateAddress(c.bob, give)), "")
	if a := do(c, c.DescribeNetworkInterfaces, shape.DescribeNetworkInterfacesRequest{NetworkInterfaceIds: one(eni)}).NetworkInterfaces[0].Association; a == nil || a.IpOwnerId != bob {
		t.Errorf("%+v", a)
	}
	// Neither account takes the other's address for its own.
	mine := do(c, c.AllocateAddress, shape.AllocateAddressRequest{}).AllocationId
	refused(c, c.AssociateAddress, shape.AssociateAddressRequest{AllocationId: mine, NetworkInterfaceId: eni, AllowReassociation: ptr(true)}, "Resource.AlreadyAssociated")

	list := do(c, c.DescribeNetworkInterfacePermissions, shape.DescribeNetworkInterfacePermissionsRequest{Filters: filters("network-interface-permission.permission", "INSTANCE-ATTACH")}).NetworkInterfacePermissions
	if len(list) != 1 || list[0].AwsAccountId != bob || list[0].NetworkInterfaceId != eni {
		t.Errorf("%+v", list)
	}
	if l, err := c.DescribeNetworkInterfacePermissions(c.bob, &shape.DescribeNetworkInterfacePermissionsRequest{}); err != nil || len(l.NetworkInterfacePermissions) != 0 {
		t.Errorf("bob sees %+v %v", l, err)
	}
	drop := shape.DeleteNetworkInterfacePermissionRequest{NetworkInterfacePermissionId: first.NetworkInterfacePermissionId}
	c.code("another's permission", second(c.DeleteNetworkInterfacePermission(c.bob, &drop)), "InvalidNetworkInterfacePermissionID.NotFound")
	refused(c, c.DeleteNetworkInterfacePermission, drop, "OperationNotPermitted")
	drop.Force = ptr(true)
	do(c, c.DeleteNetworkInterfacePermission, drop)
	refused(c, c.DeleteNetworkInterfacePermission, drop, "InvalidNetworkInterfacePermissionID.NotFound")
	// What is attached stays; who has the instance may let go, and not have it back.
	c.code("a third one's", second(c.DetachNetworkInterface(as("333333333333"), &shape.DetachNetworkInterfaceRequest{AttachmentId: shown[0].Attachment.AttachmentId})), "InvalidAttachmentID.NotFound")
	c.code("detach", second(c.DetachNetworkInterface(c.bob, &shape.DetachNetworkInterfaceRequest{AttachmentId: shown[0].Attachment.AttachmentId, Force: ptr(true)})), "")
	c.code("attach again", second(c.AttachNetworkInterface(c.bob, attach)), "InvalidNetworkInterfaceID.NotFound")
	do(c, c.DeleteNetworkInterface, shape.DeleteNetworkInterfaceRequest{NetworkInterfaceId: eni})
	if a := store.Addresses.Get(c.Store.Snapshot(), eip.AllocationId); a.InterfaceID != "" || a.AccountID != bob {
		t.Errorf("%+v", a)
	}
	c.invariants()
}

// An account's end takes its interfaces from the instances of others, which go on.
func TestDeleteAccountOfALentInterface(t *testing.T) {
	c := newCloud(t)
	_, sub := c.vpc("10.0.0.0/16", "10.0.0.0/24")
	eni := do(c, c.CreateNetworkInterface, shape.CreateNetworkInterfaceRequest{SubnetId: sub}).NetworkInterface.NetworkInterfaceId
	do(c, c.CreateNetworkInterfacePermission, shape.CreateNetworkInterfacePermissionRequest{NetworkInterfaceId: eni, AwsAccountId: bob, Permission: resource.GrantAttach})
	do(c, c.ModifyImageAttribute, shape.ModifyImageAttributeRequest{ImageId: c.image, LaunchPermission: &shape.LaunchPermissionModifications{Add: []shape.LaunchPermission{{UserId: bob}}}})
	out, err := c.RunInstances(c.bob, &shape.RunInstancesRequest{ImageId: c.image, InstanceType: "t3.nano", MinCount: 1, MaxCount: 1})
	if err != nil {
		t.Fatal(err)
	}
	inst := out.Instances[0].InstanceId
	c.place(inst)
	c.code("attach", second(c.AttachNetworkInterface(c.bob, &shape.AttachNetworkInterfaceRequest{InstanceId: inst, NetworkInterfaceId: eni, DeviceIndex: 1})), "")
	// Bob's address on hers is free, hers on his is gone.
	vpc := store.Interfaces.Get(c.Store.Snapshot(), eni).VPCID
	igw := do(c, c.CreateInternetGateway, shape.CreateInternetGatewayRequest{}).InternetGateway.InternetGatewayId
	do(c, c.AttachInternetGateway, shape.AttachInternetGatewayRequest{InternetGatewayId: igw, VpcId: vpc})
	do(c, c.CreateNetworkInterfacePermission, shape.CreateNetworkInterfacePermissionRequest{NetworkInterfaceId: eni, AwsAccountId: bob, Permission: resource.GrantAddress})
	his := out.Instances[0].NetworkInterfaces[0].NetworkInterfaceId
	c.code("grant", second(c.CreateNetworkInterfacePermission(c.bob, &shape.CreateNetworkInterfacePermissionRequest{NetworkInterfaceId: his, AwsAccountId: alice, Permission: resource.GrantAddress})), "")
	do(c, c.AssociateAddress, shape.AssociateAddressRequest{AllocationId: do(c, c.AllocateAddress, shape.AllocateAddressRequest{}).AllocationId, NetworkInterfaceId: his})
	eip, err := c.AllocateAddress(c.bob, &shape.AllocateAddressRequest{})
	if err != nil {
		t.Fatal(err)
	}
	c.code("associate", second(c.AssociateAddress(c.bob, &shape.AssociateAddressRequest{AllocationId: eip.AllocationId, NetworkInterfaceId: eni})), "")
	c.write(func(tx *store.Tx) error { return DeleteAccount(tx, alice) })
	r := c.Store.Snapshot()
	if i := store.Instances.Get(r, inst); store.Interfaces.Get(r, eni) != nil || i.State != resource.Running || len(i.Interfaces) != 1 {
		t.Errorf("%+v", i)
	}
	if a, e := store.Addresses.Get(r, eip.AllocationId), store.Interfaces.Get(r, his); a.InterfaceID != "" || e.PublicIP != "" || e.AllocationID != "" {
		t.Errorf("%+v, %+v", a, e)
	}
}
