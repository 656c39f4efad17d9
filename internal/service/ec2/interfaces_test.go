package ec2

import (
	"strings"
	"testing"
	"time"

	shape "karri.dev/internal/aws/shape/ec2"
	"karri.dev/internal/lifecycle"
	"karri.dev/internal/resource"
	"karri.dev/internal/store"
)

// stopped makes instances stopped, as a zone does.
func (c *cloud) stopped(ids ...string) {
	c.Helper()
	c.write(func(tx *store.Tx) error {
		for _, id := range ids {
			next := *store.Instances.Get(tx, id)
			next.Power, next.State = resource.PowerOff, resource.Stopped
			if err := store.Instances.Put(tx, &next); err != nil {
				return err
			}
		}
		return nil
	})
}

func TestInterfaces(t *testing.T) {
	c := newCloud(t)
	vpc, sub := c.vpc("10.0.0.0/16", "10.0.0.0/24")
	for code, in := range map[string]shape.CreateNetworkInterfaceRequest{
		"MissingParameter":                      {},
		"InvalidSubnetID.NotFound":              {SubnetId: "subnet-0123456789abcdef0"},
		"InvalidGroup.NotFound":                 {SubnetId: sub, Groups: []string{"sg-0123456789abcdef0"}},
		"InvalidParameterValue outside":         {SubnetId: sub, PrivateIpAddress: "10.0.1.9"},
		"InvalidParameterValue gateway":         {SubnetId: sub, PrivateIpAddress: "10.0.0.1"},
		"InvalidParameterValue last":            {SubnetId: sub, PrivateIpAddress: "10.0.0.255"},
		"InvalidParameterValue words":           {SubnetId: sub, PrivateIpAddress: "ten"},
		"InvalidParameterValue count":           {SubnetId: sub, SecondaryPrivateIpAddressCount: ptr(50)},
		"UnsupportedOperation":                  {SubnetId: sub, InterfaceType: "efa"},
		"InvalidParameterCombination primaries": {SubnetId: sub, PrivateIpAddress: "10.0.0.8", PrivateIpAddresses: []shape.PrivateIpAddressSpecification{{Primary: ptr(true), PrivateIpAddress: "10.0.0.9"}}},
	} {
		refused(c, c.CreateNetworkInterface, in, strings.Fields(code)[0])
	}
	made := do(c, c.CreateNetworkInterface, shape.CreateNetworkInterfaceRequest{
		SubnetId: sub, Description: "d", ClientToken: "t", PrivateIpAddresses: []shape.PrivateIpAddressSpecification{{Primary: ptr(true), PrivateIpAddress: "10.0.0.9"}, {PrivateIpAddress: "10.0.0.10"}},
	}).NetworkInterface
	if made.PrivateIpAddress != "10.0.0.9" || made.Status != "pending" || len(made.PrivateIpAddresses) != 2 || len(made.Groups) != 1 {
		t.Errorf("%+v", made)
	}
	id := made.NetworkInterfaceId
	refused(c, c.CreateNetworkInterface, shape.CreateNetworkInterfaceRequest{SubnetId: sub, ClientToken: "t"}, "IdempotentParameterMismatch")
	refused(c, c.CreateNetworkInterface, shape.CreateNetworkInterfaceRequest{SubnetId: sub, PrivateIpAddress: "10.0.0.10"}, "InvalidIPAddress.InUse")
	refused(c, c.DeleteSubnet, shape.DeleteSubnetRequest{SubnetId: sub}, "DependencyViolation")

	more := do(c, c.AssignPrivateIpAddresses, shape.AssignPrivateIpAddressesRequest{NetworkInterfaceId: id, SecondaryPrivateIpAddressCount: ptr(2)})
	if len(more.AssignedPrivateIpAddresses) != 2 {
		t.Errorf("%+v", more)
	}
	other := do(c, c.CreateNetworkInterface, shape.CreateNetworkInterfaceRequest{SubnetId: sub}).NetworkInterface.NetworkInterfaceId
	take := shape.AssignPrivateIpAddressesRequest{NetworkInterfaceId: other, PrivateIpAddresses: []string{"10.0.0.10"}}
	refused(c, c.AssignPrivateIpAddresses, take, "InvalidIPAddress.InUse")
	take.AllowReassignment = ptr(true)
	do(c, c.AssignPrivateIpAddresses, take)
	take.PrivateIpAddresses = []string{"10.0.0.9"} // a primary address stays where it is
	refused(c, c.AssignPrivateIpAddresses, take, "InvalidIPAddress.InUse")
	refused(c, c.UnassignPrivateIpAddresses, shape.UnassignPrivateIpAddressesRequest{NetworkInterfaceId: id, PrivateIpAddresses: []string{"10.0.0.10"}}, "InvalidParameterValue")
	refused(c, c.UnassignPrivateIpAddresses, shape.UnassignPrivateIpAddressesRequest{NetworkInterfaceId: id, PrivateIpAddresses: []string{"10.0.0.9"}}, "InvalidParameterValue")

	igw := do(c, c.CreateInternetGateway, shape.CreateInternetGatewayRequest{}).InternetGateway.InternetGatewayId
	eip := do(c, c.AllocateAddress, shape.AllocateAddressRequest{})
	give := shape.AssociateAddressRequest{AllocationId: eip.AllocationId, NetworkInterfaceId: other, PrivateIpAddress: "10.0.0.10"}
	refused(c, c.AssociateAddress, give, "Gateway.NotAttached")
	do(c, c.AttachInternetGateway, shape.AttachInternetGatewayRequest{InternetGatewayId: igw, VpcId: vpc})
	do(c, c.AssociateAddress, give)
	refused(c, c.DetachInternetGateway, shape.DetachInternetGatewayRequest{InternetGatewayId: igw, VpcId: vpc}, "DependencyViolation")
	found := do(c, c.DescribeNetworkInterfaces, shape.DescribeNetworkInterfacesRequest{Filters: filters("addresses.association.public-ip", eip.PublicIp)}).NetworkInterfaces
	if len(found) != 1 || found[0].Association != nil || found[0].PrivateIpAddresses[1].Association.AllocationId != eip.AllocationId {
		t.Errorf("%+v", found)
	}
	if a := do(c, c.DescribeAddresses, shape.DescribeAddressesRequest{}).Addresses[0]; a.PrivateIpAddress != "10.0.0.10" || a.NetworkInterfaceId != other {
		t.Errorf("%+v", a)
	}
	c.invariants()
	do(c, c.UnassignPrivateIpAddresses, shape.UnassignPrivateIpAddressesRequest{NetworkInterfaceId: other, PrivateIpAddresses: []string{"10.0.0.10"}})
	if a := do(c, c.DescribeAddresses, shape.DescribeAddressesRequest{}).Addresses[0]; a.AssociationId != "" {
		t.Errorf("%+v", a)
	}

	do(c, c.ModifyNetworkInterfaceAttribute, shape.ModifyNetworkInterfaceAttributeRequest{NetworkInterfaceId: id, SourceDestCheck: boolean(false)})
	if a := do(c, c.DescribeNetworkInterfaceAttribute, shape.DescribeNetworkInterfaceAttributeRequest{NetworkInterfaceId: id, Attribute: "sourceDestCheck"}); isTrue(a.SourceDestCheck.Value) {
		t.Errorf("%+v", a)
	}
	do(c, c.ResetNetworkInterfaceAttribute, shape.ResetNetworkInterfaceAttributeRequest{NetworkInterfaceId: id, SourceDestCheck: "true"})
	refused(c, c.ModifyNetworkInterfaceAttribute, shape.ModifyNetworkInterfaceAttributeRequest{NetworkInterfaceId: id}, "InvalidParameterCombination")
	refused(c, c.ModifyNetworkInterfaceAttribute, shape.ModifyNetworkInterfaceAttributeRequest{NetworkInterfaceId: id, Attachment: &shape.NetworkInterfaceAttachmentChanges{}}, "InvalidAttachmentID.NotFound")
	for _, e := range []string{id, other} {
		do(c, c.DeleteNetworkInterface, shape.DeleteNetworkInterfaceRequest{NetworkInterfaceId: e})
	}
	do(c, c.DeleteSubnet, shape.DeleteSubnetRequest{SubnetId: sub})
	c.invariants()
}

func TestSeveralInterfaces(t *testing.T) {
	c := newCloud(t)
	_, sub := c.vpc("10.0.0.0/16", "10.0.0.0/24")
	kept := do(c, c.CreateNetworkInterface, shape.CreateNetworkInterfaceRequest{SubnetId: sub}).NetworkInterface.NetworkInterfaceId
	spec := func(n int, change ...func(*shape.InstanceNetworkInterfaceSpecification)) shape.InstanceNetworkInterfaceSpecification {
		e := shape.InstanceNetworkInterfaceSpecification{DeviceIndex: ptr(n), SubnetId: sub}
		for _, f := range change {
			f(&e)
		}
		return e
	}
	existing := func(e *shape.InstanceNetworkInterfaceSpecification) { e.SubnetId, e.NetworkInterfaceId = "", kept }
	launch := func(list ...shape.InstanceNetworkInterfaceSpecification) shape.RunInstancesRequest {
		return shape.RunInstancesRequest{ImageId: c.image, InstanceType: "t3.small", MinCount: 1, MaxCount: 1, NetworkInterfaces: list}
	}
	refused(c, c.RunInstances, launch(spec(0), spec(0)), "InvalidParameterValue")
	refused(c, c.RunInstances, launch(spec(1)), "InvalidParameterCombination")
	refused(c, c.RunInstances, launch(spec(0), spec(1), spec(2), spec(3)), "AttachmentLimitExceeded")
	refused(c, c.RunInstances, launch(spec(0), spec(1, func(e *shape.InstanceNetworkInterfaceSpecification) { e.AssociatePublicIpAddress = ptr(true) })), "InvalidParameterCombination")
	refused(c, c.RunInstances, launch(spec(0, func(e *shape.InstanceNetworkInterfaceSpecification) { e.SecondaryPrivateIpAddressCount = ptr(9) })), "PrivateIpAddressLimitExceeded")
	twice := launch(spec(0, existing))
	twice.MaxCount = 2
	refused(c, c.RunInstances, twice, "InvalidParameterCombination")
	out := do(c, c.RunInstances, launch(spec(2, existing), spec(0, func(e *shape.InstanceNetworkInterfaceSpecification) { e.SecondaryPrivateIpAddressCount = ptr(2) })))
	inst := out.Instances[0]
	if n := inst.NetworkInterfaces; len(n) != 2 || n[0].Attachment.DeviceIndex != 0 || len(n[0].PrivateIpAddresses) != 3 || n[1].Attachment.DeviceIndex != 2 || n[1].NetworkInterfaceId != kept {
		t.Fatalf("%+v", n)
	}
	id := inst.InstanceId
	c.place(id)
	refused(c, c.RunInstances, launch(spec(0, existing)), "InvalidNetworkInterface.InUse")
	refused(c, c.DeleteNetworkInterface, shape.DeleteNetworkInterfaceRequest{NetworkInterfaceId: kept}, "InvalidParameterValue")
	another := do(c, c.CreateNetworkInterface, shape.CreateNetworkInterfaceRequest{SubnetId: sub}).NetworkInterface.NetworkInterfaceId
	attach := shape.AttachNetworkInterfaceRequest{InstanceId: id, NetworkInterfaceId: another, DeviceIndex: 2}
	refused(c, c.AttachNetworkInterface, attach, "InvalidParameterValue") // taken
	attach.DeviceIndex = 1
	far := do(c, c.CreateSubnet, shape.CreateSubnetRequest{VpcId: inst.VpcId, CidrBlock: "10.0.9.0/24", AvailabilityZone: "us-east-1b"}).Subnet.SubnetId
	away := do(c, c.CreateNetworkInterface, shape.CreateNetworkInterfaceRequest{SubnetId: far}).NetworkInterface.NetworkInterfaceId
	refused(c, c.AttachNetworkInterface, shape.AttachNetworkInterfaceRequest{InstanceId: id, NetworkInterfaceId: away, DeviceIndex: 1}, "InvalidParameterCombination")
	assoc := do(c, c.AttachNetworkInterface, attach).AttachmentId
	attach.NetworkInterfaceId, attach.DeviceIndex = do(c, c.CreateNetworkInterface, shape.CreateNetworkInterfaceRequest{SubnetId: sub}).NetworkInterface.NetworkInterfaceId, 3
	refused(c, c.AttachNetworkInterface, attach, "AttachmentLimitExceeded")
	do(c, c.ModifyNetworkInterfaceAttribute, shape.ModifyNetworkInterfaceAttributeRequest{
		NetworkInterfaceId: another, Attachment: &shape.NetworkInterfaceAttachmentChanges{AttachmentId: assoc, DeleteOnTermination: ptr(true)},
	})
	refused(c, c.DetachNetworkInterface, shape.DetachNetworkInterfaceRequest{AttachmentId: c.one(id).NetworkInterfaces[0].Attachment.AttachmentId}, "OperationNotPermitted")
	c.invariants()
	do(c, c.TerminateInstances, shape.TerminateInstancesRequest{InstanceIds: []string{id}})
	c.finish(id)
	r := c.Store.Snapshot()
	if e := store.Interfaces.Get(r, kept); e == nil || e.InstanceID != "" {
		t.Errorf("the interface that was there before: %+v", e)
	}
	if store.Interfaces.Get(r, another) != nil {
		t.Error("an interface that was to go with its instance is there")
	}
	c.invariants()
}

func TestPrefixLists(t *testing.T) {
	c := newCloud(t)
	vpc, _ := c.vpc("10.0.0.0/16", "10.0.0.0/24")
	group := do(c, c.CreateSecurityGroup, shape.CreateSecurityGroupRequest{GroupName: "g", Description: "d", VpcId: vpc}).GroupId
	entries := func(blocks ...string) (out []shape.AddPrefixListEntry) {
		for _, b := range blocks {
			out = append(out, shape.AddPrefixListEntry{Cidr: b, Description: "about " + b})
		}
		return out
	}
	create := func(blocks ...string) shape.CreateManagedPrefixListRequest {
		return shape.CreateManagedPrefixListRequest{PrefixListName: "office", AddressFamily: "IPv4", MaxEntries: 2, Entries: entries(blocks...)}
	}
	refused(c, c.CreateManagedPrefixList, create("10.0.0.0/8", "11.0.0.0/8", "12.0.0.0/8"), "PrefixListMaxEntriesExceeded")
	refused(c, c.CreateManagedPrefixList, create("fd00::/8"), "InvalidParameterValue")
	refused(c, c.CreateManagedPrefixList, create("10.0.0.0/8", "10.9.0.0/8"), "InvalidParameterValue")
	id := do(c, c.CreateManagedPrefixList, create("10.0.0.0/8")).PrefixList.PrefixListId
	change := shape.ModifyManagedPrefixListRequest{PrefixListId: id, AddEntries: entries("11.0.0.0/8"), RemoveEntries: []shape.RemovePrefixListEntry{{Cidr: "10.0.0.0/8"}}}
	refused(c, c.ModifyManagedPrefixList, change, "MissingParameter")
	change.CurrentVersion = ptr(int64(2))
	refused(c, c.ModifyManagedPrefixList, change, "PrefixListVersionMismatch")
	change.CurrentVersion = ptr(int64(1))
	if l := do(c, c.ModifyManagedPrefixList, change).PrefixList; l.Version != 2 || l.State != "modify-in-progress" {
		t.Errorf("%+v", l)
	}
	get := func(version *int64) string {
		out := ""
		for _, e := range do(c, c.GetManagedPrefixListEntries, shape.GetManagedPrefixListEntriesRequest{PrefixListId: id, TargetVersion: version}).Entries {
			out += e.Cidr + " "
		}
		return out
	}
	if old, now := get(ptr(int64(1))), get(nil); old != "10.0.0.0/8 " || now != "11.0.0.0/8 " {
		t.Errorf("%s, %s", old, now)
	}
	do(c, c.RestoreManagedPrefixListVersion, shape.RestoreManagedPrefixListVersionRequest{PrefixListId: id, PreviousVersion: 1, CurrentVersion: 2})
	if now := get(nil); now != "10.0.0.0/8 " {
		t.Error(now)
	}
	perm := []shape.IpPermission{{IpProtocol: "tcp", FromPort: ptr(22), ToPort: ptr(22), PrefixListIds: []shape.PrefixListId{{PrefixListId: id}}}}
	rule := do(c, c.AuthorizeSecurityGroupIngress, shape.AuthorizeSecurityGroupIngressRequest{GroupId: group, IpPermissions: perm}).SecurityGroupRules[0]
	if rule.PrefixListId != id {
		t.Errorf("%+v", rule)
	}
	// A rule with a list counts for as many as the list may have entries.
	refused(c, c.ModifyManagedPrefixList, shape.ModifyManagedPrefixListRequest{PrefixListId: id, MaxEntries: ptr(61)}, "ResourceLimitExceeded")
	do(c, c.ModifyManagedPrefixList, shape.ModifyManagedPrefixListRequest{PrefixListId: id, MaxEntries: ptr(60)})
	one := []shape.IpPermission{{IpProtocol: "-1", IpRanges: []shape.IpRange{{CidrIp: "1.2.3.4/32"}}}}
	refused(c, c.AuthorizeSecurityGroupIngress, shape.AuthorizeSecurityGroupIngressRequest{GroupId: group, IpPermissions: one}, "RulesPerSecurityGroupLimitExceeded")
	if a := do(c, c.GetManagedPrefixListAssociations, shape.GetManagedPrefixListAssociationsRequest{PrefixListId: id}).PrefixListAssociations; len(a) != 1 || a[0].ResourceId != group {
		t.Errorf("%+v", a)
	}
	refused(c, c.DeleteManagedPrefixList, shape.DeleteManagedPrefixListRequest{PrefixListId: id}, "DependencyViolation")
	do(c, c.RevokeSecurityGroupIngress, shape.RevokeSecurityGroupIngressRequest{GroupId: group, IpPermissions: perm})
	for _, err := range []error{
		second(c.GetManagedPrefixListEntries(c.bob, &shape.GetManagedPrefixListEntriesRequest{PrefixListId: id})),
		second(c.DeleteManagedPrefixList(c.bob, &shape.DeleteManagedPrefixListRequest{PrefixListId: id})),
		second(c.ModifyManagedPrefixList(c.bob, &shape.ModifyManagedPrefixListRequest{PrefixListId: id, PrefixListName: "mine"})),
		second(c.DescribeManagedPrefixLists(c.bob, &shape.DescribeManagedPrefixListsRequest{PrefixListIds: []string{id}})),
	} {
		c.code("another account's list", err, "InvalidPrefixListID.NotFound")
	}
	do(c, c.DeleteManagedPrefixList, shape.DeleteManagedPrefixListRequest{PrefixListId: id})
	s3 := do(c, c.DescribePrefixLists, shape.DescribePrefixListsRequest{Filters: filters("prefix-list-name", "com.amazonaws.us-east-1.s3")}).PrefixLists
	if len(s3) != 1 || len(s3[0].Cidrs) != 1 {
		t.Errorf("%+v", s3)
	}
	refused(c, c.DeleteManagedPrefixList, shape.DeleteManagedPrefixListRequest{PrefixListId: s3[0].PrefixListId}, "OperationNotPermitted")
}

func TestRuleChanges(t *testing.T) {
	c := newCloud(t)
	vpc, _ := c.vpc("10.0.0.0/16", "10.0.0.0/24")
	group := do(c, c.CreateSecurityGroup, shape.CreateSecurityGroupRequest{GroupName: "g", Description: "d", VpcId: vpc}).GroupId
	perms := []shape.IpPermission{{IpProtocol: "tcp", FromPort: ptr(22), ToPort: ptr(22), IpRanges: []shape.IpRange{{CidrIp: "1.2.3.0/24"}, {CidrIp: "1.2.4.0/24"}}}}
	rules := do(c, c.AuthorizeSecurityGroupIngress, shape.AuthorizeSecurityGroupIngressRequest{GroupId: group, IpPermissions: perms}).SecurityGroupRules
	change := func(id string, r shape.SecurityGroupRuleRequest) shape.ModifySecurityGroupRulesRequest {
		return shape.ModifySecurityGroupRulesRequest{GroupId: group, SecurityGroupRules: []shape.SecurityGroupRuleUpdate{{SecurityGroupRuleId: id, SecurityGroupRule: &r}}}
	}
	to := shape.SecurityGroupRuleRequest{IpProtocol: "tcp", FromPort: ptr(80), ToPort: ptr(81), CidrIpv4: "1.2.3.0/24", Description: "web"}
	do(c, c.ModifySecurityGroupRules, change(rules[0].SecurityGroupRuleId, to))
	to.CidrIpv4, to.ReferencedGroupId = "", group
	refused(c, c.ModifySecurityGroupRules, change(rules[0].SecurityGroupRuleId, to), "InvalidParameterValue")
	refused(c, c.ModifySecurityGroupRules, change("sgr-0123456789abcdef0", to), "InvalidSecurityGroupRuleId.NotFound")
	to.CidrIpv4, to.ReferencedGroupId = "1.2.3.0/24", ""
	refused(c, c.ModifySecurityGroupRules, change(rules[1].SecurityGroupRuleId, to), "InvalidPermission.Duplicate")
	do(c, c.UpdateSecurityGroupRuleDescriptionsIngress, shape.UpdateSecurityGroupRuleDescriptionsIngressRequest{
		GroupId: group, SecurityGroupRuleDescriptions: []shape.SecurityGroupRuleDescription{{SecurityGroupRuleId: rules[1].SecurityGroupRuleId, Description: "new"}},
	})
	perms[0].IpRanges[0].Description = "x"
	refused(c, c.UpdateSecurityGroupRuleDescriptionsIngress, shape.UpdateSecurityGroupRuleDescriptionsIngressRequest{GroupId: group, IpPermissions: perms}, "InvalidPermission.NotFound")
	got := do(c, c.DescribeSecurityGroupRules, shape.DescribeSecurityGroupRulesRequest{SecurityGroupRuleIds: []string{rules[0].SecurityGroupRuleId, rules[1].SecurityGroupRuleId}}).SecurityGroupRules
	for _, r := range got {
		if want := map[string]string{rules[0].SecurityGroupRuleId: "web", rules[1].SecurityGroupRuleId: "new"}[r.SecurityGroupRuleId]; r.Description != want {
			t.Errorf("%+v, want %s", r, want)
		}
	}
	c.code("another account's", second(c.ModifySecurityGroupRules(c.bob, ptr(change(rules[0].SecurityGroupRuleId, to)))), "InvalidGroup.NotFound")
	if got := do(c, c.GetSecurityGroupsForVpc, shape.GetSecurityGroupsForVpcRequest{VpcId: vpc}).SecurityGroupForVpcs; len(got) != 2 {
		t.Errorf("%+v", got)
	}
}

func TestPeering(t *testing.T) {
	c := newCloud(t)
	vpc, _ := c.vpc("10.0.0.0/16", "10.0.0.0/24")
	group := store.VPCs.Get(c.Store.Snapshot(), vpc).DefaultGroup
	theirs := store.VPCsByOwner.One(c.Store.Snapshot(), bob+"/"+east)
	ask := shape.CreateVpcPeeringConnectionRequest{VpcId: vpc, PeerVpcId: theirs.ID, PeerOwnerId: bob}
	status := func(id string) string {
		return do(c, c.DescribeVpcPeeringConnections, shape.DescribeVpcPeeringConnectionsRequest{VpcPeeringConnectionIds: []string{id}}).VpcPeeringConnections[0].Status.Code
	}
	wrong := ask
	wrong.PeerOwnerId = "333333333333"
	if id := do(c, c.CreateVpcPeeringConnection, wrong).VpcPeeringConnection.VpcPeeringConnectionId; status(id) != "failed" {
		t.Error("a request to an account that does not have the VPC is " + status(id))
	}
	same, _ := c.vpc("10.0.128.0/20", "10.0.128.0/24")
	if id := do(c, c.CreateVpcPeeringConnection, shape.CreateVpcPeeringConnectionRequest{VpcId: vpc, PeerVpcId: same}).VpcPeeringConnection.VpcPeeringConnectionId; status(id) != "failed" {
		t.Error("a peering of overlapping VPCs is " + status(id))
	}
	id := do(c, c.CreateVpcPeeringConnection, ask).VpcPeeringConnection.VpcPeeringConnectionId
	refused(c, c.CreateVpcPeeringConnection, ask, "VpcPeeringConnectionAlreadyExists")
	accept := shape.AcceptVpcPeeringConnectionRequest{VpcPeeringConnectionId: id}
	refused(c, c.AcceptVpcPeeringConnection, accept, "OperationNotPermitted") // only the other side can
	if p := do(c, c.DescribeVpcPeeringConnections, shape.DescribeVpcPeeringConnectionsRequest{VpcPeeringConnectionIds: []string{id}}).VpcPeeringConnections[0]; p.AccepterVpcInfo.CidrBlock != "" {
		t.Errorf("the other side's range is told before it accepted: %+v", p.AccepterVpcInfo)
	}
	named := shape.AuthorizeSecurityGroupIngressRequest{GroupId: group, IpPermissions: []shape.IpPermission{{
		IpProtocol: "-1", UserIdGroupPairs: []shape.UserIdGroupPair{{GroupId: theirs.DefaultGroup, UserId: bob}},
	}}}
	refused(c, c.AuthorizeSecurityGroupIngress, named, "InvalidGroup.NotFound") // not yet
	third := as("333333333333")
	c.code("a third account", second(c.AcceptVpcPeeringConnection(third, &accept)), "InvalidVpcPeeringConnectionID.NotFound")
	if out, err := c.AcceptVpcPeeringConnection(c.bob, &accept); err != nil || out.VpcPeeringConnection.Status.Code != "active" {
		t.Fatalf("%+v, %v", out, err)
	}
	do(c, c.AuthorizeSecurityGroupIngress, named)
	refs, err := c.DescribeSecurityGroupReferences(c.bob, &shape.DescribeSecurityGroupReferencesRequest{GroupId: []string{theirs.DefaultGroup}})
	if err != nil || len(refs.SecurityGroupReferenceSet) != 1 || refs.SecurityGroupReferenceSet[0].ReferencingVpcId != vpc {
		t.Errorf("%+v, %v", refs, err)
	}
	refused(c, c.AssociateVpcCidrBlock, shape.AssociateVpcCidrBlockRequest{VpcId: vpc, CidrBlock: "172.31.0.0/20"}, "InvalidVpc.Range")
	refused(c, c.ModifyVpcPeeringConnectionOptions, shape.ModifyVpcPeeringConnectionOptionsRequest{
		VpcPeeringConnectionId: id, AccepterPeeringConnectionOptions: &shape.PeeringConnectionOptionsRequest{AllowDnsResolutionFromRemoteVpc: ptr(true)},
	}, "OperationNotPermitted")
	do(c, c.CreateTags, shape.CreateTagsRequest{Resources: []string{id}, Tags: []shape.Tag{{Key: "mine", Value: "1"}}})
	if out, err := c.DescribeVpcPeeringConnections(c.bob, &shape.DescribeVpcPeeringConnectionsRequest{}); err != nil || len(out.VpcPeeringConnections) != 1 || len(out.VpcPeeringConnections[0].Tags) != 0 {
		t.Errorf("the accepter sees %+v, %v", out, err)
	}
	do(c, c.DeleteVpcPeeringConnection, shape.DeleteVpcPeeringConnectionRequest{VpcPeeringConnectionId: id})
	if got := do(c, c.DescribeStaleSecurityGroups, shape.DescribeStaleSecurityGroupsRequest{VpcId: vpc}).StaleSecurityGroupSet; len(got) != 1 || len(got[0].StaleIpPermissions) != 1 {
		t.Errorf("%+v", got)
	}
	again := do(c, c.CreateVpcPeeringConnection, ask).VpcPeeringConnection.VpcPeeringConnectionId
	c.pass(peeringTime)
	if status(again) != "expired" {
		t.Error("after a week a request is " + status(again))
	}
	_, err = c.AcceptVpcPeeringConnection(c.bob, &shape.AcceptVpcPeeringConnectionRequest{VpcPeeringConnectionId: again})
	c.code("accept an expired request", err, "InvalidStateTransition")
	c.pass(peeringShownFails + time.Second)
	refused(c, c.DescribeVpcPeeringConnections, shape.DescribeVpcPeeringConnectionsRequest{VpcPeeringConnectionIds: []string{again}}, "InvalidVpcPeeringConnectionID.NotFound")
}

// A running instance's interfaces are on their way until its node says that they are there, or gone.
func TestInterfacesOfARunningInstance(t *testing.T) {
	c := newCloud(t)
	_, sub := c.vpc("10.0.0.0/16", "10.0.0.0/24")
	id := c.run(1, func(in *shape.RunInstancesRequest) { in.SubnetId = sub })[0]
	eni := do(c, c.CreateNetworkInterface, shape.CreateNetworkInterfaceRequest{SubnetId: sub}).NetworkInterface.NetworkInterfaceId
	attach := shape.AttachNetworkInterfaceRequest{InstanceId: id, NetworkInterfaceId: eni, DeviceIndex: 1}
	refused(c, c.AttachNetworkInterface, attach, "IncorrectInstanceState") // pending
	c.place(id)
	status := func() string {
		e := do(c, c.DescribeNetworkInterfaces, shape.DescribeNetworkInterfacesRequest{NetworkInterfaceIds: []string{eni}}).NetworkInterfaces[0]
		if e.Attachment == nil {
			return ""
		}
		return e.Attachment.Status
	}
	assoc := do(c, c.AttachNetworkInterface, attach).AttachmentId
	if s := status(); s != "attaching" {
		t.Error(s)
	}
	refused(c, c.AttachNetworkInterface, attach, "InvalidNetworkInterface.InUse")
	settle := func(change func(*resource.Interface)) {
		c.write(func(tx *store.Tx) error {
			e := *store.Interfaces.Get(tx, eni)
			change(&e)
			return store.Interfaces.Put(tx, &e)
		})
	}
	settle(func(e *resource.Interface) { e.AttachState = "" })
	if s := status(); s != "attached" {
		t.Error(s)
	}
	detach := shape.DetachNetworkInterfaceRequest{AttachmentId: assoc}
	do(c, c.DetachNetworkInterface, detach)
	if s := status(); s != "detaching" || len(c.one(id).NetworkInterfaces) != 2 {
		t.Error(s)
	}
	refused(c, c.DeleteNetworkInterface, shape.DeleteNetworkInterfaceRequest{NetworkInterfaceId: eni}, "InvalidParameterValue")
	detach.Force = ptr(true)
	do(c, c.DetachNetworkInterface, detach) // is not waited for
	if s := status(); s != "" || len(c.one(id).NetworkInterfaces) != 1 {
		t.Error(s)
	}
	refused(c, c.DetachNetworkInterface, detach, "InvalidAttachmentID.NotFound")
	// What is on its way when the instance stops is settled by that.
	assoc = do(c, c.AttachNetworkInterface, attach).AttachmentId
	settle(func(e *resource.Interface) { e.AttachState = "" })
	do(c, c.DetachNetworkInterface, shape.DetachNetworkInterfaceRequest{AttachmentId: assoc})
	c.write(func(tx *store.Tx) error { return lifecycle.Stopped(tx, store.Instances.Get(tx, id)) })
	if s := status(); s != "" || len(c.one(id).NetworkInterfaces) != 1 {
		t.Error(s)
	}
	do(c, c.DeleteNetworkInterface, shape.DeleteNetworkInterfaceRequest{NetworkInterfaceId: eni})
	c.invariants()
}
