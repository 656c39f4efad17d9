package ec2

import (
	"context"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"karri.dev/internal/aws/call"
	"karri.dev/internal/policy"
	"karri.dev/internal/resource"
	"karri.dev/internal/store"
)

// withoutValue are AWS's keys that a resource that is there has no value for, and why.
var withoutValue = map[string]string{
	"IpamPrefixListResolverTargetId Ipv4IpamPoolId Ipv6IpamPoolId OutpostArn SourceOutpostArn KmsKeyId VolumeInitializationRate": "there are no such things here",
	"ManagedResourceOperator AuthorizedService AuthorizedUser Permission":                                                        "nothing is managed by another",
	"CpuOptionsAmdSevSnp BootModeOverride VpceMultiRegion VpcePrivateDnsPreference VpcePrivateDnsSpecifiedDomains":               "options that are refused",
	"NewInstanceProfile AssociatePublicIpAddress SourceAvailabilityZone ParentSnapshot:snapshot Location:snapshot":               "keys of requests",
	"Add/group Add/userId Remove/group Remove/userId SnapshotCoolOffPeriod SnapshotLockDuration VpceServiceOwner":                "keys of requests",
	"ProductCode:snapshot": "AWS's marketplace has them",
	"DPDTimeoutSeconds IKEVersions InsideTunnelCidr InsideTunnelIpv6Cidr Phase1DHGroup Phase1EncryptionAlgorithms Phase1IntegrityAlgorithms Phase1LifetimeSeconds " +
		"Phase2DHGroup Phase2EncryptionAlgorithms Phase2IntegrityAlgorithms Phase2LifetimeSeconds RekeyFuzzPercentage RekeyMarginTimeSeconds ReplayWindowSizePackets": "keys of requests",
}

// Every resource that is there has a value for every condition key that AWS gives its kind (testdata/conditionkeys.txt, from
// the service authorization reference), but for those above.
func TestConditionKeysOfResources(t *testing.T) {
	c := newCloud(t)
	info := &call.Info{Caller: call.Caller{AccountID: alice}, Region: east}
	owned := resource.Owned{AccountID: alice, Region: east, CreatedAt: time.Now(), Tags: resource.Tags{"team": "blue"}}
	zone := ""
	for z := range store.Zones.All(c.Store.Snapshot()) {
		zone = z.Name
	}
	const id = "0123456789abcdef0"
	err := c.Store.Update(context.Background(), func(tx *store.Tx) error {
		for _, err := range []error{
			store.InstanceProfiles.Put(tx, &resource.InstanceProfile{AccountID: alice, Name: "web", ID: "AIPA1", Path: "/"}),
			store.PlacementGroups.Put(tx, &resource.PlacementGroup{Owned: owned, ID: "pg-" + id, Name: "near", Strategy: "cluster"}),
			store.Images.Put(tx, &resource.Image{Owned: owned, ID: "ami-" + id, Name: "i", Kind: "machine", RootDeviceType: "ebs", ProductCodes: []string{"code"}}),
			store.Instances.Put(tx, &resource.Instance{Owned: owned, ID: "i-" + id, Type: "t3.nano", Zone: zone, ImageID: "ami-" + id, ProfileID: "AIPA1", PlacementGroup: "pg-" + id, State: resource.Stopped}),
			store.Volumes.Put(tx, &resource.Volume{Owned: owned, ID: "vol-" + id, Zone: zone, SizeGiB: 8, Type: "gp3", IOPS: 3000, Throughput: 125, SnapshotID: "snap-" + id, Encrypted: true}),
			store.Snapshots.Put(tx, &resource.Snapshot{Owned: owned, ID: "snap-" + id, VolumeID: "vol-1", SizeGiB: 8, Zone: zone, Encrypted: true}),
			store.KeyPairs.Put(tx, &resource.KeyPair{Owned: owned, ID: "key-" + id, Name: "k", Type: "rsa"}),
			store.VPCs.Put(tx, &resource.VPC{Owned: owned, ID: "vpc-" + id}),
			store.Subnets.Put(tx, &resource.Subnet{Owned: owned, ID: "subnet-" + id, VPCID: "vpc-" + id, Zone: zone, CIDR: "10.9.0.0/24"}),
			store.SecurityGroups.Put(tx, &resource.SecurityGroup{Owned: owned, ID: "sg-" + id, VPCID: "vpc-" + id, Name: "g"}),
			store.RouteTables.Put(tx, &resource.RouteTable{Owned: owned, ID: "rtb-" + id, VPCID: "vpc-" + id}),
			store.InternetGateways.Put(tx, &resource.InternetGateway{Owned: owned, ID: "igw-" + id}),
			store.NetworkACLs.Put(tx, &resource.NetworkACL{Owned: owned, ID: "acl-" + id, VPCID: "vpc-" + id}),
			store.DHCPOptions.Put(tx, &resource.DHCPOptions{Owned: owned, ID: "dopt-" + id}),
			store.Interfaces.Put(tx, &resource.Interface{Owned: owned, ID: "eni-" + id, VPCID: "vpc-" + id, SubnetID: "subnet-" + id, Zone: zone}),
			store.NATGateways.Put(tx, &resource.NATGateway{Owned: owned, ID: "nat-" + id, VPCID: "vpc-" + id}),
			store.VPCEndpoints.Put(tx, &resource.VPCEndpoint{Owned: owned, ID: "vpce-" + id, VPCID: "vpc-" + id, Service: "com.amazonaws.us-east-1.s3"}),
			store.Addresses.Put(tx, &resource.Address{Owned: owned, AllocationID: "eipalloc-" + id, PublicIP: "192.0.2.9"}),
			store.VPNConnections.Put(tx, &resource.VPNConnection{Owned: owned, ID: "vpn-" + id}),
			store.Peerings.Put(tx, &resource.Peering{Owned: owned, ID: "pcx-" + id, Requester: resource.PeeringSide{AccountID: alice, Region: east, VPCID: "vpc-1"}}),
			store.LaunchTemplates.Put(tx, &resource.LaunchTemplate{Owned: owned, ID: "lt-" + id, Name: "t"}),
			store.PrefixLists.Put(tx, &resource.PrefixList{Owned: owned, ID: "pl-" + id}),
		} {
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile("testdata/conditionkeys.txt")
	if err != nil {
		t.Fatal(err)
	}
	var without []string
	for keys := range withoutValue {
		without = append(without, strings.Fields(keys)...)
	}
	kinds := map[string]tagged{}
	for _, k := range taggables() {
		kinds[k.name] = k
	}
	for line := range strings.Lines(string(text)) {
		words := strings.Fields(line)
		name := kinds[words[0]].prefix + id
		if words[0] == "key-pair" {
			name = "k"
		}
		v := kinds[words[0]].access.Find(c.Store.Snapshot(), info, name)
		if v == nil {
			t.Errorf("no %s", words[0])
			continue
		}
		if _, ok := v.Value(policy.MakeKey("aws:ResourceTag/team")); !ok {
			t.Errorf("%s has no tags", words[0])
		}
		for _, key := range words[1:] {
			_, ok := v.Value(policy.MakeKey(key))
			plain := strings.TrimPrefix(key, "ec2:")
			if none := slices.Contains(without, plain) || slices.Contains(without, plain+":"+words[0]); ok == none {
				t.Errorf("%s of %s: a value: %v", key, words[0], ok)
			}
		}
	}
}
