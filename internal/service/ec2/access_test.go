package ec2

import (
	"context"
	"strings"
	"testing"

	shape "karri.dev/internal/aws/shape/ec2"
	"karri.dev/internal/store"
)

// Whatever is another account's is not found, by every operation that takes an id; and in another region
// nothing of one's own is found.
func TestAnotherAccountsThingsAreNotFound(t *testing.T) {
	c := newCloud(t)
	r := c.Store.Snapshot()
	vpc := store.VPCsByOwner.One(r, alice+"/"+east)
	sub := store.SubnetsByVPC.One(r, vpc.ID)
	inst := c.run(1)[0]
	c.place(inst)
	eni := c.one(inst).NetworkInterfaces[0].NetworkInterfaceId
	key, err := c.CreateKeyPair(c.alice, &shape.CreateKeyPairRequest{KeyName: "k", KeyType: "ed25519"})
	if err != nil {
		t.Fatal(err)
	}
	eip, err := c.AllocateAddress(c.alice, &shape.AllocateAddressRequest{})
	if err != nil {
		t.Fatal(err)
	}
	assoc, err := c.AssociateAddress(c.alice, &shape.AssociateAddressRequest{AllocationId: eip.AllocationId, InstanceId: inst})
	if err != nil {
		t.Fatal(err)
	}
	task, err := c.ImportImage(c.alice, importRequest())
	if err != nil {
		t.Fatal(err)
	}
	snapshot, err := c.ImportSnapshot(c.alice, snapshotRequest())
	if err != nil {
		t.Fatal(err)
	}
	export, err := c.ExportImage(c.alice, exportRequest(c.image))
	if err != nil {
		t.Fatal(err)
	}
	rule := store.SecurityGroups.Get(r, vpc.DefaultGroup).Rules[0].ID
	igw := store.InternetGatewaysByVPC.One(r, vpc.ID).ID
	perms := []shape.IpPermission{{IpProtocol: "-1", IpRanges: []shape.IpRange{{CidrIp: "0.0.0.0/0"}}}}
	group := vpc.DefaultGroup
	one := func(id string) []string { return []string{id} }
	tags := []shape.Tag{{Key: "a", Value: "b"}}
	calls := map[string]func(ctx context.Context) error{
		"InvalidInstanceID.NotFound Terminate": func(x context.Context) error {
			return second(c.TerminateInstances(x, &shape.TerminateInstancesRequest{InstanceIds: one(inst)}))
		},
		"InvalidInstanceID.NotFound Stop": func(x context.Context) error {
			return second(c.StopInstances(x, &shape.StopInstancesRequest{InstanceIds: one(inst)}))
		},
		"InvalidInstanceID.NotFound Start": func(x context.Context) error {
			return second(c.StartInstances(x, &shape.StartInstancesRequest{InstanceIds: one(inst)}))
		},
		"InvalidInstanceID.NotFound Reboot": func(x context.Context) error {
			return second(c.RebootInstances(x, &shape.RebootInstancesRequest{InstanceIds: one(inst)}))
		},
		"InvalidInstanceID.NotFound Describe": func(x context.Context) error {
			return second(c.DescribeInstances(x, &shape.DescribeInstancesRequest{InstanceIds: one(inst)}))
		},
		"InvalidInstanceID.NotFound Status": func(x context.Context) error {
			return second(c.DescribeInstanceStatus(x, &shape.DescribeInstanceStatusRequest{InstanceIds: one(inst)}))
		},
		"InvalidInstanceID.NotFound Console": func(x context.Context) error {
			return second(c.GetConsoleOutput(x, &shape.GetConsoleOutputRequest{InstanceId: inst}))
		},
		"InvalidInstanceID.NotFound Attribute": func(x context.Context) error {
			return second(c.DescribeInstanceAttribute(x, &shape.DescribeInstanceAttributeRequest{InstanceId: inst, Attribute: "userData"}))
		},
		"InvalidInstanceID.NotFound Modify": func(x context.Context) error {
			return second(c.ModifyInstanceAttribute(x, &shape.ModifyInstanceAttributeRequest{InstanceId: inst, SourceDestCheck: boolean(false)}))
		},
		"InvalidInstanceID.NotFound IMDS": func(x context.Context) error {
			return second(c.ModifyInstanceMetadataOptions(x, &shape.ModifyInstanceMetadataOptionsRequest{InstanceId: inst, HttpTokens: "optional"}))
		},
		"InvalidInstanceID.NotFound Tag": func(x context.Context) error {
			return second(c.CreateTags(x, &shape.CreateTagsRequest{Resources: one(inst), Tags: tags}))
		},
		"InvalidVpcID.NotFound Untag": func(x context.Context) error {
			return second(c.DeleteTags(x, &shape.DeleteTagsRequest{Resources: one(vpc.ID)}))
		},
		"InvalidSecurityGroupRuleId.NotFound Tag": func(x context.Context) error {
			return second(c.CreateTags(x, &shape.CreateTagsRequest{Resources: one(rule), Tags: tags}))
		},
		"InvalidVpcID.NotFound Describe": func(x context.Context) error {
			return second(c.DescribeVpcs(x, &shape.DescribeVpcsRequest{VpcIds: one(vpc.ID)}))
		},
		"InvalidVpcID.NotFound Attribute": func(x context.Context) error {
			return second(c.DescribeVpcAttribute(x, &shape.DescribeVpcAttributeRequest{VpcId: vpc.ID, Attribute: "enableDnsSupport"}))
		},
		"InvalidVpcID.NotFound Group": func(x context.Context) error {
			return second(c.CreateSecurityGroup(x, &shape.CreateSecurityGroupRequest{VpcId: vpc.ID, GroupName: "g", Description: "d"}))
		},
		"InvalidSubnetID.NotFound Describe": func(x context.Context) error {
			return second(c.DescribeSubnets(x, &shape.DescribeSubnetsRequest{SubnetIds: one(sub.ID)}))
		},
		"InvalidRouteTableID.NotFound Describe": func(x context.Context) error {
			return second(c.DescribeRouteTables(x, &shape.DescribeRouteTablesRequest{RouteTableIds: one(vpc.MainRouteTable)}))
		},
		"InvalidInternetGatewayID.NotFound Describe": func(x context.Context) error {
			return second(c.DescribeInternetGateways(x, &shape.DescribeInternetGatewaysRequest{InternetGatewayIds: one(igw)}))
		},
		"InvalidNetworkAclID.NotFound Describe": func(x context.Context) error {
			return second(c.DescribeNetworkAcls(x, &shape.DescribeNetworkAclsRequest{NetworkAclIds: one(vpc.DefaultACL)}))
		},
		"InvalidDhcpOptionID.NotFound Describe": func(x context.Context) error {
			return second(c.DescribeDhcpOptions(x, &shape.DescribeDhcpOptionsRequest{DhcpOptionsIds: one(vpc.DHCPOptionsID)}))
		},
		"InvalidNetworkInterfaceID.NotFound Describe": func(x context.Context) error {
			return second(c.DescribeNetworkInterfaces(x, &shape.DescribeNetworkInterfacesRequest{NetworkInterfaceIds: one(eni)}))
		},
		"InvalidGroup.NotFound Describe": func(x context.Context) error {
			return second(c.DescribeSecurityGroups(x, &shape.DescribeSecurityGroupsRequest{GroupIds: one(group)}))
		},
		"InvalidGroup.NotFound Delete": func(x context.Context) error {
			return second(c.DeleteSecurityGroup(x, &shape.DeleteSecurityGroupRequest{GroupId: group}))
		},
		"InvalidGroup.NotFound In": func(x context.Context) error {
			return second(c.AuthorizeSecurityGroupIngress(x, &shape.AuthorizeSecurityGroupIngressRequest{GroupId: group, IpPermissions: perms}))
		},
		"InvalidGroup.NotFound Out": func(x context.Context) error {
			return second(c.AuthorizeSecurityGroupEgress(x, &shape.AuthorizeSecurityGroupEgressRequest{GroupId: group, IpPermissions: perms}))
		},
		"InvalidGroup.NotFound RevokeIn": func(x context.Context) error {
			return second(c.RevokeSecurityGroupIngress(x, &shape.RevokeSecurityGroupIngressRequest{GroupId: group, IpPermissions: perms}))
		},
		"InvalidGroup.NotFound RevokeOut": func(x context.Context) error {
			return second(c.RevokeSecurityGroupEgress(x, &shape.RevokeSecurityGroupEgressRequest{GroupId: group, IpPermissions: perms}))
		},
		"InvalidSecurityGroupRuleId.NotFound Describe": func(x context.Context) error {
			return second(c.DescribeSecurityGroupRules(x, &shape.DescribeSecurityGroupRulesRequest{SecurityGroupRuleIds: one(rule)}))
		},
		"InvalidKeyPair.NotFound Describe": func(x context.Context) error {
			return second(c.DescribeKeyPairs(x, &shape.DescribeKeyPairsRequest{KeyPairIds: one(key.KeyPairId)}))
		},
		"InvalidKeyPair.NotFound Name": func(x context.Context) error {
			return second(c.DescribeKeyPairs(x, &shape.DescribeKeyPairsRequest{KeyNames: one("k")}))
		},
		"InvalidKeyPair.NotFound Delete": func(x context.Context) error {
			return second(c.DeleteKeyPair(x, &shape.DeleteKeyPairRequest{KeyPairId: key.KeyPairId}))
		},
		"InvalidAllocationID.NotFound Describe": func(x context.Context) error {
			return second(c.DescribeAddresses(x, &shape.DescribeAddressesRequest{AllocationIds: one(eip.AllocationId)}))
		},
		"InvalidAddress.NotFound Describe": func(x context.Context) error {
			return second(c.DescribeAddresses(x, &shape.DescribeAddressesRequest{PublicIps: one(eip.PublicIp)}))
		},
		"InvalidAllocationID.NotFound Associate": func(x context.Context) error {
			return second(c.AssociateAddress(x, &shape.AssociateAddressRequest{AllocationId: eip.AllocationId, InstanceId: inst}))
		},
		"InvalidAssociationID.NotFound Disassociate": func(x context.Context) error {
			return second(c.DisassociateAddress(x, &shape.DisassociateAddressRequest{AssociationId: assoc.AssociationId}))
		},
		"InvalidAddress.NotFound Disassociate": func(x context.Context) error {
			return second(c.DisassociateAddress(x, &shape.DisassociateAddressRequest{PublicIp: eip.PublicIp}))
		},
		"InvalidAllocationID.NotFound Release": func(x context.Context) error {
			return second(c.ReleaseAddress(x, &shape.ReleaseAddressRequest{AllocationId: eip.AllocationId}))
		},
		"InvalidAMIID.NotFound Describe": func(x context.Context) error {
			return second(c.DescribeImages(x, &shape.DescribeImagesRequest{ImageIds: one(c.image)}))
		},
		"InvalidAMIID.NotFound Run": func(x context.Context) error {
			return second(c.RunInstances(x, &shape.RunInstancesRequest{ImageId: c.image, MinCount: 1, MaxCount: 1}))
		},
		"InvalidAMIID.NotFound Deregister": func(x context.Context) error {
			return second(c.DeregisterImage(x, &shape.DeregisterImageRequest{ImageId: c.image}))
		},
		"InvalidAMIID.NotFound Attribute": func(x context.Context) error {
			return second(c.DescribeImageAttribute(x, &shape.DescribeImageAttributeRequest{ImageId: c.image, Attribute: "description"}))
		},
		"InvalidAMIID.NotFound Modify": func(x context.Context) error {
			return second(c.ModifyImageAttribute(x, &shape.ModifyImageAttributeRequest{ImageId: c.image, Description: text("x")}))
		},
		"InvalidAMIID.NotFound Reset": func(x context.Context) error {
			return second(c.ResetImageAttribute(x, &shape.ResetImageAttributeRequest{ImageId: c.image, Attribute: "launchPermission"}))
		},
		"InvalidConversionTaskId Describe": func(x context.Context) error {
			return second(c.DescribeImportImageTasks(x, &shape.DescribeImportImageTasksRequest{ImportTaskIds: one(task.ImportTaskId)}))
		},
		"InvalidConversionTaskId Snapshot": func(x context.Context) error {
			return second(c.DescribeImportSnapshotTasks(x, &shape.DescribeImportSnapshotTasksRequest{ImportTaskIds: one(snapshot.ImportTaskId)}))
		},
		"InvalidConversionTaskId CancelSnapshot": func(x context.Context) error {
			return second(c.CancelImportTask(x, &shape.CancelImportTaskRequest{ImportTaskId: snapshot.ImportTaskId}))
		},
		"InvalidAMIID.NotFound Export": func(x context.Context) error { return second(c.ExportImage(x, exportRequest(c.image))) },
		"InvalidExportTaskID.NotFound Describe": func(x context.Context) error {
			return second(c.DescribeExportImageTasks(x, &shape.DescribeExportImageTasksRequest{ExportImageTaskIds: one(export.ExportImageTaskId)}))
		},
		"InvalidExportTaskID.NotFound Cancel": func(x context.Context) error {
			return second(c.CancelExportTask(x, &shape.CancelExportTaskRequest{ExportTaskId: export.ExportImageTaskId}))
		},
		"InvalidConversionTaskId Cancel": func(x context.Context) error {
			return second(c.CancelImportTask(x, &shape.CancelImportTaskRequest{ImportTaskId: task.ImportTaskId}))
		},
	}
	before := c.Store.Snapshot().Revision
	elsewhere := as(alice)
	info := *callInfo(elsewhere)
	info.Region = "eu-west-1"
	elsewhere = withInfo(elsewhere, &info)
	for name, f := range calls {
		code, _, _ := strings.Cut(name, " ")
		c.code(name+" as bob", f(c.bob), code)
		c.code(name+" in another region", f(elsewhere), code)
	}
	// Groups of others cannot be named in rules, nor others' images and lists be seen.
	mine := store.VPCsByOwner.One(c.Store.Snapshot(), bob+"/"+east).DefaultGroup
	_, err = c.AuthorizeSecurityGroupIngress(c.bob, &shape.AuthorizeSecurityGroupIngressRequest{GroupId: mine, IpPermissions: []shape.IpPermission{{
		IpProtocol: "-1", UserIdGroupPairs: []shape.UserIdGroupPair{{GroupId: group, UserId: alice}},
	}}})
	c.code("another's group in a rule", err, "InvalidGroup.NotFound")
	if out, err := c.DescribeInstances(c.bob, &shape.DescribeInstancesRequest{}); err != nil || len(out.Reservations) != 0 {
		t.Errorf("bob sees %+v, %v", out, err)
	}
	if out, err := c.DescribeTags(c.bob, &shape.DescribeTagsRequest{}); err != nil || len(out.Tags) != 0 {
		t.Errorf("bob sees %+v, %v", out, err)
	}
	if now := c.Store.Snapshot().Revision; now != before {
		t.Errorf("something was written: revision %d, was %d", now, before)
	}
}

// The name of a key pair that is another's is free; deleting it deletes nothing of theirs.
func TestKeyNamesAreAnAccountsOwn(t *testing.T) {
	c := newCloud(t)
	for _, who := range []context.Context{c.alice, c.bob} {
		c.code("create", second(c.CreateKeyPair(who, &shape.CreateKeyPairRequest{KeyName: "k", KeyType: "ed25519"})), "")
		c.code("again", second(c.CreateKeyPair(who, &shape.CreateKeyPairRequest{KeyName: "k", KeyType: "ed25519"})), "InvalidKeyPair.Duplicate")
	}
	c.code("delete", second(c.DeleteKeyPair(c.bob, &shape.DeleteKeyPairRequest{KeyName: "k"})), "")
	if out, err := c.DescribeKeyPairs(c.alice, &shape.DescribeKeyPairsRequest{}); err != nil || len(out.KeyPairs) != 1 {
		t.Errorf("%+v %v", out, err)
	}
}

// Deleting an account leaves nothing of it, and all of the others.
func TestDeleteAccount(t *testing.T) {
	c := newCloud(t)
	ids := c.run(2)
	c.place(ids[0])
	other := store.VPCsByOwner.One(c.Store.Snapshot(), bob+"/"+east).ID
	alive := -1
	c.write(func(tx *store.Tx) (err error) { alive, err = EndInstances(tx, alice, c.clock()); return err })
	if alive != 1 {
		t.Fatalf("%d alive", alive)
	}
	if err := c.Store.Update(context.Background(), func(tx *store.Tx) error { return DeleteAccount(tx, alice) }); err == nil {
		t.Fatal("deleted with a live instance")
	}
	c.finish(ids[0])
	c.write(func(tx *store.Tx) error { return DeleteAccount(tx, alice) })
	r := c.Store.Snapshot()
	if store.VPCs.Len(r) != 1 || store.VPCs.Get(r, other) == nil || store.Subnets.Len(r) != 2 || store.SecurityGroups.Len(r) != 1 ||
		store.Instances.Len(r)+store.Interfaces.Len(r)+store.Images.Len(r) != 0 {
		t.Error("something is left, or gone that should not be")
	}
}
