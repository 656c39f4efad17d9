package ec2

import (
	"context"
	"encoding/base64"
	"fmt"
	"log/slog"
	"math/rand"
	"strings"
	"sync"
	"testing"
	"time"

	"karri.dev/internal/aws/awserr"
	shape "karri.dev/internal/aws/shape/ec2"
	"karri.dev/internal/lifecycle"
	"karri.dev/internal/quota"
	"karri.dev/internal/store"
)

func TestRunInstancesAnswer(t *testing.T) {
	c := newCloud(t)
	if _, err := c.CreateKeyPair(c.alice, &shape.CreateKeyPairRequest{KeyName: "k", KeyType: "ed25519"}); err != nil {
		t.Fatal(err)
	}
	out, err := c.RunInstances(c.alice, &shape.RunInstancesRequest{
		ImageId: strings.Replace(c.image, "ami-", "emi-", 1), InstanceType: "t3.nano", MinCount: 1, MaxCount: 2, KeyName: "k",
		UserData:          base64.StdEncoding.EncodeToString([]byte("#!/bin/sh")),
		SecurityGroups:    []string{"default"},
		Placement:         &shape.Placement{AvailabilityZone: "us-east-1b"},
		MetadataOptions:   &shape.InstanceMetadataOptionsRequest{HttpTokens: "required", HttpPutResponseHopLimit: ptr(2)},
		TagSpecifications: []shape.TagSpecification{{ResourceType: "instance", Tags: []shape.Tag{{Key: "Name", Value: "web"}}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(out.Instances) != 2 || out.OwnerId != alice || !strings.HasPrefix(out.ReservationId, "r-") {
		t.Fatalf("%+v", out)
	}
	i := out.Instances[1]
	if i.AmiLaunchIndex != 1 || i.State.Name != "pending" || i.State.Code != 0 || i.Placement.AvailabilityZone != "us-east-1b" || i.Placement.AvailabilityZoneId != "use1-az2" ||
		i.KeyName != "k" || i.ImageId != c.image || i.MetadataOptions.HttpTokens != "required" || i.MetadataOptions.HttpPutResponseHopLimit != 2 ||
		i.Tags[0] != (shape.Tag{Key: "Name", Value: "web"}) || i.SecurityGroups[0].GroupName != "default" || i.CpuOptions.CoreCount != 1 || i.CpuOptions.ThreadsPerCore != 2 {
		t.Errorf("%+v", i)
	}
	if want := "ip-" + strings.ReplaceAll(i.PrivateIpAddress, ".", "-") + ".ec2.internal"; i.PrivateDnsName != want {
		t.Errorf("%s, want %s", i.PrivateDnsName, want)
	}
	if want := "ec2-" + strings.ReplaceAll(i.PublicIpAddress, ".", "-") + ".compute-1.cloud.test"; i.PublicDnsName != want {
		t.Errorf("%s, want %s", i.PublicDnsName, want)
	}
	if n := i.NetworkInterfaces[0]; n.MacAddress[:3] != "0a:" || n.Association.IpOwnerId != "amazon" || !n.Attachment.DeleteOnTermination || n.PrivateIpAddress != i.PrivateIpAddress {
		t.Errorf("%+v", n)
	}
	rec := store.Instances.Get(c.Store.Snapshot(), i.InstanceId)
	if c.userData(rec) != "#!/bin/sh" || !strings.HasPrefix(rec.PublicKey, "ssh-ed25519 ") || rec.VCPUs != 2 || rec.MemoryMiB != 512 || rec.DiskGiB != 2 || rec.OnShutdown != "terminate" {
		t.Errorf("%+v", rec)
	}
	c.invariants()
}

func TestRunInstancesRefuses(t *testing.T) {
	c := newCloud(t)
	vpc := store.VPCsByOwner.One(c.Store.Snapshot(), alice+"/"+east)
	bobs := store.SubnetsByOwner.One(c.Store.Snapshot(), bob+"/"+east).ID
	sub := store.SubnetsByVPC.One(c.Store.Snapshot(), vpc.ID)
	type req = shape.RunInstancesRequest
	for _, x := range []struct {
		what string
		edit func(*req)
		code string
	}{
		{"no image", func(r *req) { r.ImageId = "" }, "MissingParameter"},
		{"bad image", func(r *req) { r.ImageId = "ami-xyz" }, "InvalidAMIID.Malformed"},
		{"no such image", func(r *req) { r.ImageId = "ami-00000000" }, "InvalidAMIID.NotFound"},
		{"min 0", func(r *req) { r.MinCount = 0 }, "InvalidParameterValue"},
		{"min above max", func(r *req) { r.MinCount = 2 }, "InvalidParameterValue"},
		{"too many", func(r *req) { r.MinCount, r.MaxCount = 1001, 1001 }, "InstanceLimitExceeded"},
		{"type", func(r *req) { r.InstanceType = "z9.huge" }, "InvalidParameterValue"},
		{"key", func(r *req) { r.KeyName = "nope" }, "InvalidKeyPair.NotFound"},
		{"group", func(r *req) { r.SecurityGroupIds = []string{"sg-00000000"} }, "InvalidGroup.NotFound"},
		{"bad group", func(r *req) { r.SecurityGroupIds = []string{"default"} }, "InvalidGroupId.Malformed"},
		{"group name", func(r *req) { r.SecurityGroups = []string{"nope"} }, "InvalidGroup.NotFound"},
		{"subnet", func(r *req) { r.SubnetId = "subnet-00000000" }, "InvalidSubnetID.NotFound"},
		{"another's subnet", func(r *req) { r.SubnetId = bobs }, "InvalidSubnetID.NotFound"},
		{"zone", func(r *req) { r.Placement = &shape.Placement{AvailabilityZone: "us-east-1z"} }, "InvalidParameterValue"},
		{"zone and subnet", func(r *req) {
			r.SubnetId, r.Placement = sub.ID, &shape.Placement{AvailabilityZone: "us-east-1b"}
			if sub.Zone == "us-east-1b" {
				r.Placement.AvailabilityZone = "us-east-1a"
			}
		}, "InvalidParameterValue"},
		{"tenancy", func(r *req) { r.Placement = &shape.Placement{Tenancy: "dedicated"} }, "UnsupportedOperation"},
		{"user data", func(r *req) { r.UserData = "%%%" }, "InvalidUserData.Malformed"},
		{"much user data", func(r *req) { r.UserData = base64.StdEncoding.EncodeToString(make([]byte, 16<<10+1)) }, "InvalidParameterValue"},
		{"stop on shutdown", func(r *req) { r.InstanceInitiatedShutdownBehavior = "stop" }, "InvalidParameterCombination"},
		{"rubbish on shutdown", func(r *req) { r.InstanceInitiatedShutdownBehavior = "explode" }, "InvalidParameterValue"},
		{"template", func(r *req) { r.LaunchTemplate = &shape.LaunchTemplateSpecification{LaunchTemplateName: "x"} }, "InvalidLaunchTemplateName.NotFoundException"},
		{"spot", func(r *req) { r.InstanceMarketOptions = &shape.InstanceMarketOptionsRequest{MarketType: "spot"} }, "UnsupportedOperation"},
		{"volume of another's snapshot", func(r *req) {
			r.BlockDeviceMappings = []shape.BlockDeviceMapping{{DeviceName: "/dev/sdb", Ebs: &shape.EbsBlockDevice{SnapshotId: "snap-0123456789abcdef0"}}}
		}, "InvalidSnapshot.NotFound"},
		{"volume of no size", func(r *req) {
			r.BlockDeviceMappings = []shape.BlockDeviceMapping{{DeviceName: "/dev/sdb", Ebs: &shape.EbsBlockDevice{}}}
		}, "MissingParameter"},
		{"key of KMS", func(r *req) {
			r.BlockDeviceMappings = []shape.BlockDeviceMapping{{DeviceName: "/dev/sdb", Ebs: &shape.EbsBlockDevice{VolumeSize: ptr(1), Encrypted: ptr(true), KmsKeyId: "alias/mine"}}}
		}, "UnsupportedOperation"},
		{"no device", func(r *req) {
			r.BlockDeviceMappings = []shape.BlockDeviceMapping{{DeviceName: "/dev/sdb", NoDevice: ""}}
		}, ""},
		{"private address outside", func(r *req) { r.SubnetId, r.PrivateIpAddress = sub.ID, "10.0.0.9" }, "InvalidParameterValue"},
		{"reserved private address", func(r *req) {
			r.SubnetId, r.PrivateIpAddress = sub.ID, strings.TrimSuffix(sub.CIDR, "0/20")+"3"
		}, "InvalidParameterValue"},
		{"private address twice", func(r *req) {
			r.SubnetId, r.PrivateIpAddress, r.MaxCount = sub.ID, strings.TrimSuffix(sub.CIDR, "0/20")+"9", 2
		}, "InvalidParameterCombination"},
		{"two interfaces", func(r *req) {
			r.NetworkInterfaces = []shape.InstanceNetworkInterfaceSpecification{{DeviceIndex: ptr(0)}, {DeviceIndex: ptr(1)}}
		}, "InvalidSubnetID.NotFound"},
		{"interface and subnet", func(r *req) {
			r.SubnetId, r.NetworkInterfaces = sub.ID, []shape.InstanceNetworkInterfaceSpecification{{DeviceIndex: ptr(0)}}
		}, "InvalidParameterCombination"},
		{"interface without index", func(r *req) { r.NetworkInterfaces = []shape.InstanceNetworkInterfaceSpecification{{}} }, "MissingParameter"},
		{"existing interface", func(r *req) {
			r.NetworkInterfaces = []shape.InstanceNetworkInterfaceSpecification{{DeviceIndex: ptr(0), NetworkInterfaceId: "eni-0"}}
		}, "InvalidNetworkInterfaceID.NotFound"},
		{"cores", func(r *req) { r.CpuOptions = &shape.CpuOptionsRequest{CoreCount: ptr(7)} }, "InvalidParameterCombination"},
		{"hops", func(r *req) {
			r.MetadataOptions = &shape.InstanceMetadataOptionsRequest{HttpPutResponseHopLimit: ptr(65)}
		}, "InvalidParameterValue"},
		{"reserved tag", func(r *req) {
			r.TagSpecifications = []shape.TagSpecification{{ResourceType: "instance", Tags: []shape.Tag{{Key: "AWS:x"}}}}
		}, "InvalidParameterValue"},
		{"tags for what is not made", func(r *req) {
			r.TagSpecifications = []shape.TagSpecification{{ResourceType: "vpc", Tags: []shape.Tag{{Key: "x"}}}}
		}, "InvalidParameterValue"},
		{"dry run", func(r *req) { r.DryRun = ptr(true) }, "DryRunOperation"},
	} {
		in := &req{ImageId: c.image, InstanceType: "t3.nano", MinCount: 1, MaxCount: 1}
		x.edit(in)
		before := store.Instances.Len(c.Store.Snapshot())
		_, err := c.RunInstances(c.alice, in)
		c.code(x.what, err, x.code)
		if x.code != "" && store.Instances.Len(c.Store.Snapshot()) != before {
			t.Errorf("%s: something was launched", x.what)
		}
	}
	c.invariants()
}

func TestRunInstancesNetwork(t *testing.T) {
	c := newCloud(t)
	sub := store.SubnetsByOwner.One(c.Store.Snapshot(), alice+"/"+east)
	ip := strings.TrimSuffix(sub.CIDR, "0/20") + "77"
	id := c.run(1, func(r *shape.RunInstancesRequest) {
		r.NetworkInterfaces = []shape.InstanceNetworkInterfaceSpecification{{
			DeviceIndex: ptr(0), SubnetId: sub.ID, PrivateIpAddress: ip, AssociatePublicIpAddress: ptr(false), DeleteOnTermination: ptr(false), Description: "mine",
		}}
	})[0]
	i := c.one(id)
	if i.PrivateIpAddress != ip || i.PublicIpAddress != "" || i.NetworkInterfaces[0].Description != "mine" {
		t.Errorf("%+v", i)
	}
	_, err := c.RunInstances(c.alice, &shape.RunInstancesRequest{ImageId: c.image, InstanceType: "t3.nano", MinCount: 1, MaxCount: 1, SubnetId: sub.ID, PrivateIpAddress: ip})
	c.code("address in use", err, "InvalidIPAddress.InUse")
	// An interface that outlives its instance is detached, and keeps its address.
	if _, err := c.TerminateInstances(c.alice, &shape.TerminateInstancesRequest{InstanceIds: []string{id}}); err != nil {
		t.Fatal(err)
	}
	out, err := c.DescribeNetworkInterfaces(c.alice, &shape.DescribeNetworkInterfacesRequest{Filters: filters("private-ip-address", ip)})
	if err != nil || len(out.NetworkInterfaces) != 1 || out.NetworkInterfaces[0].Status != "available" || out.NetworkInterfaces[0].Attachment != nil {
		t.Errorf("%+v %v", out, err)
	}
}

func TestClientToken(t *testing.T) {
	c := newCloud(t)
	token := func(r *shape.RunInstancesRequest) { r.ClientToken = "once" }
	first := c.run(2, token)
	if again := c.run(2, token); fmt.Sprint(again) != fmt.Sprint(first) {
		t.Errorf("%v, then %v", first, again)
	}
	_, err := c.RunInstances(c.alice, &shape.RunInstancesRequest{ImageId: c.image, InstanceType: "t3.micro", MinCount: 2, MaxCount: 2, ClientToken: "once"})
	c.code("other parameters", err, "IdempotentParameterMismatch")
	c.write(func(tx *store.Tx) error {
		next := *store.Images.Get(tx, c.image)
		next.Public = true
		return store.Images.Put(tx, &next)
	})
	if _, err := c.RunInstances(c.bob, &shape.RunInstancesRequest{ImageId: c.image, InstanceType: "t3.nano", MinCount: 2, MaxCount: 2, ClientToken: "once"}); err != nil {
		t.Errorf("another account's token is its own: %v", err)
	}
	if n := store.Instances.Len(c.Store.Snapshot()); n != 4 {
		t.Errorf("%d instances", n)
	}
}

// Concurrent calls with one token launch once.
func TestClientTokenRace(t *testing.T) {
	c := newCloud(t)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() { c.run(3, func(r *shape.RunInstancesRequest) { r.ClientToken = "race" }) })
	}
	wg.Wait()
	if n := store.Instances.Len(c.Store.Snapshot()); n != 3 {
		t.Errorf("%d instances", n)
	}
}

func TestCountsAndQuotas(t *testing.T) {
	c := newCloud(t, "203.0.113.0/29") // six public addresses
	out, err := c.RunInstances(c.alice, &shape.RunInstancesRequest{ImageId: c.image, InstanceType: "t3.nano", MinCount: 2, MaxCount: 50})
	if err != nil || len(out.Instances) != 6 {
		t.Fatalf("%v", err)
	}
	_, err = c.RunInstances(c.alice, &shape.RunInstancesRequest{ImageId: c.image, InstanceType: "t3.nano", MinCount: 1, MaxCount: 1})
	c.code("no public address", err, "InsufficientAddressCapacity")
	private := func(n int) (*shape.RunInstancesResult, error) {
		return c.RunInstances(c.alice, &shape.RunInstancesRequest{
			ImageId: c.image, InstanceType: "t3.nano", MinCount: 1, MaxCount: n,
			NetworkInterfaces: []shape.InstanceNetworkInterfaceSpecification{{DeviceIndex: ptr(0), AssociatePublicIpAddress: ptr(false)}},
		})
	}
	c.quota("", map[string]int64{quota.VCPUs: 15})
	if out, err = private(5); err != nil || len(out.Instances) != 1 {
		t.Fatalf("15 vCPUs, 12 used: %v", err)
	}
	_, err = private(1)
	c.code("quota", err, "VcpuLimitExceeded")
	c.quota(alice, map[string]int64{quota.VCPUs: 16})
	if _, err = private(1); err != nil {
		t.Error(err)
	}
	c.invariants()
}

// A full subnet refuses, and one address freed is one address to have.
func TestSubnetRunsFull(t *testing.T) {
	c := newCloud(t)
	sub := *store.SubnetsByOwner.One(c.Store.Snapshot(), alice+"/"+east)
	sub.CIDR, sub.MapPublicIP = strings.Replace(sub.CIDR, "/20", "/28", 1), false
	c.write(func(tx *store.Tx) error { return store.Subnets.Put(tx, &sub) })
	in := func(r *shape.RunInstancesRequest) { r.SubnetId = sub.ID }
	all := c.run(11, in)
	_, err := c.RunInstances(c.alice, &shape.RunInstancesRequest{ImageId: c.image, InstanceType: "t3.nano", MinCount: 1, MaxCount: 1, SubnetId: sub.ID})
	c.code("full", err, "InsufficientFreeAddressesInSubnet")
	if _, err := c.TerminateInstances(c.alice, &shape.TerminateInstancesRequest{InstanceIds: all[3:4]}); err != nil {
		t.Fatal(err)
	}
	c.run(1, in)
	c.invariants()
}

// However launches, ends and address calls run into each other, no address is given twice, quotas hold and
// the counters are right.
func TestConcurrentLaunches(t *testing.T) {
	c := newCloud(t, "203.0.113.0/26")
	c.quota("", map[string]int64{quota.VCPUs: 60, quota.Addresses: 20})
	var wg sync.WaitGroup
	for w := range 8 {
		rnd := rand.New(rand.NewSource(int64(w)))
		wg.Go(func() {
			var mine []string
			for range 60 {
				switch rnd.Intn(5) {
				case 0, 1:
					n := 1 + rnd.Intn(4)
					out, err := c.RunInstances(c.alice, &shape.RunInstancesRequest{ImageId: c.image, InstanceType: "t3.nano", MinCount: 1, MaxCount: n})
					if code := awserr.Code(err); err != nil && code != "VcpuLimitExceeded" && code != "InsufficientAddressCapacity" {
						t.Errorf("run: %v", err)
					} else if err == nil {
						for _, i := range out.Instances {
							mine = append(mine, i.InstanceId)
						}
					}
				case 2:
					if len(mine) > 0 {
						id := mine[rnd.Intn(len(mine))]
						if _, err := c.TerminateInstances(c.alice, &shape.TerminateInstancesRequest{InstanceIds: []string{id}}); err != nil {
							t.Errorf("terminate: %v", err)
						}
					}
				case 3:
					if len(mine) == 0 {
						continue
					}
					a, err := c.AllocateAddress(c.alice, &shape.AllocateAddressRequest{})
					if err != nil {
						continue
					}
					_, _ = c.AssociateAddress(c.alice, &shape.AssociateAddressRequest{AllocationId: a.AllocationId, InstanceId: mine[rnd.Intn(len(mine))]})
				case 4:
					out, err := c.DescribeAddresses(c.alice, &shape.DescribeAddressesRequest{})
					if err == nil && len(out.Addresses) > 0 {
						a := out.Addresses[rnd.Intn(len(out.Addresses))]
						_, _ = c.DisassociateAddress(c.alice, &shape.DisassociateAddressRequest{PublicIp: a.PublicIp})
						_, _ = c.ReleaseAddress(c.alice, &shape.ReleaseAddressRequest{AllocationId: a.AllocationId})
					}
				}
				if u := store.InstancesVCPUs.Sum(c.Store.Snapshot(), alice+"/"+east); u > 60 {
					t.Errorf("%d vCPUs are in use, 60 are allowed", u)
				}
			}
		})
	}
	wg.Wait()
	c.invariants()
}

func TestTerminate(t *testing.T) {
	c := newCloud(t)
	ids := c.run(3)
	c.place(ids[:2]...)
	protect := func(on bool) {
		_, err := c.ModifyInstanceAttribute(c.alice, &shape.ModifyInstanceAttributeRequest{InstanceId: ids[0], DisableApiTermination: &shape.AttributeBooleanValue{Value: &on}})
		c.code("protect", err, "")
	}
	protect(true)
	_, err := c.TerminateInstances(c.alice, &shape.TerminateInstancesRequest{InstanceIds: ids})
	c.code("protected", err, "OperationNotPermitted")
	if got := c.one(ids[1]).State.Name; got != "running" {
		t.Errorf("the others are %s: all or nothing", got)
	}
	protect(false)
	out, err := c.TerminateInstances(c.alice, &shape.TerminateInstancesRequest{InstanceIds: append(ids, ids[0])})
	if err != nil || len(out.TerminatingInstances) != 3 {
		t.Fatalf("%+v %v", out, err)
	}
	for i, want := range []string{"shutting-down", "shutting-down", "terminated"} { // the third was on no node yet
		if got := out.TerminatingInstances[i].CurrentState.Name; got != want {
			t.Errorf("%s is %s, want %s", ids[i], got, want)
		}
	}
	if i := c.one(ids[0]); i.PrivateIpAddress == "" || i.StateReason.Code != "Client.UserInitiatedShutdown" || i.StateTransitionReason != "User initiated (2026-11-21 12:00:00 GMT)" {
		t.Errorf("%+v", i)
	}
	c.finish(ids[:2]...)
	c.finish(ids[:2]...) // twice changes nothing
	if i := c.one(ids[0]); i.State.Name != "terminated" || i.VpcId != "" || len(i.NetworkInterfaces) != 0 || i.PublicDnsName != "" {
		t.Errorf("%+v", i)
	}
	for what, err := range map[string]error{
		"reboot": second(c.RebootInstances(c.alice, &shape.RebootInstancesRequest{InstanceIds: ids[:1]})),
		"stop":   second(c.StopInstances(c.alice, &shape.StopInstancesRequest{InstanceIds: ids[:1]})),
		"modify": second(c.ModifyInstanceMetadataOptions(c.alice, &shape.ModifyInstanceMetadataOptionsRequest{InstanceId: ids[0], HttpTokens: "required"})),
	} {
		c.code(what+" a terminated instance", err, "IncorrectInstanceState")
	}
	c.invariants()
	if store.InstancesVCPUs.Sum(c.Store.Snapshot(), alice+"/"+east) != 0 || store.Interfaces.Len(c.Store.Snapshot()) != 0 {
		t.Error("something is left of terminated instances")
	}
	reaper := lifecycle.NewReaper(c.Store, c.clock, time.Minute, slog.New(slog.DiscardHandler))
	c.pass(59 * time.Minute)
	if n, err := reaper.Once(context.Background()); n != 0 || err != nil {
		t.Errorf("%d forgotten early, %v", n, err)
	}
	c.pass(2 * time.Minute)
	if n, err := reaper.Once(context.Background()); n != 3 || err != nil {
		t.Errorf("%d forgotten, %v", n, err)
	}
	_, err = c.DescribeInstances(c.alice, &shape.DescribeInstancesRequest{InstanceIds: ids[:1]})
	c.code("forgotten", err, "InvalidInstanceID.NotFound")
}

func second[T any](_ T, err error) error { return err }

func TestPowerCalls(t *testing.T) {
	c := newCloud(t)
	id := c.run(1)
	c.place(id...)
	c.code("stop", second(c.StopInstances(c.alice, &shape.StopInstancesRequest{InstanceIds: id})), "UnsupportedOperation")
	c.code("start", second(c.StartInstances(c.alice, &shape.StartInstancesRequest{InstanceIds: id})), "UnsupportedOperation")
	c.code("reboot", second(c.RebootInstances(c.alice, &shape.RebootInstancesRequest{InstanceIds: id})), "")
	if n := store.Instances.Get(c.Store.Snapshot(), id[0]).Reboots; n != 1 {
		t.Errorf("%d reboots", n)
	}
	c.code("no ids", second(c.TerminateInstances(c.alice, &shape.TerminateInstancesRequest{})), "MissingParameter")
	c.code("bad id", second(c.RebootInstances(c.alice, &shape.RebootInstancesRequest{InstanceIds: []string{"i-1"}})), "InvalidInstanceID.Malformed")
	c.consoles[id[0]] = strings.Repeat("x", maxConsole) + "login:"
	out, err := c.GetConsoleOutput(c.alice, &shape.GetConsoleOutputRequest{InstanceId: id[0]})
	if err != nil {
		t.Fatal(err)
	}
	text, err := base64.StdEncoding.DecodeString(out.Output)
	if err != nil || len(text) != maxConsole || !strings.HasSuffix(string(text), "login:") {
		t.Errorf("%d bytes, %v", len(text), err)
	}
	status, err := c.DescribeInstanceStatus(c.alice, &shape.DescribeInstanceStatusRequest{Filters: filters("instance-status.status", "ok", "system-status.reachability", "passed")})
	if err != nil || len(status.InstanceStatuses) != 1 {
		t.Errorf("%+v %v", status, err)
	}
	if _, err := c.TerminateInstances(c.alice, &shape.TerminateInstancesRequest{InstanceIds: id}); err != nil {
		t.Fatal(err)
	}
	status, err = c.DescribeInstanceStatus(c.alice, &shape.DescribeInstanceStatusRequest{})
	if err != nil || len(status.InstanceStatuses) != 0 {
		t.Errorf("%+v %v", status, err)
	}
	status, err = c.DescribeInstanceStatus(c.alice, &shape.DescribeInstanceStatusRequest{IncludeAllInstances: ptr(true)})
	if err != nil || len(status.InstanceStatuses) != 1 || status.InstanceStatuses[0].InstanceStatus.Status != "not-applicable" {
		t.Errorf("%+v %v", status, err)
	}
}

// An image that was deregistered goes with its last instance.
func TestDeregisteredImageStaysWhileUsed(t *testing.T) {
	c := newCloud(t)
	id := c.run(1)
	c.code("deregister", second(c.DeregisterImage(c.alice, &shape.DeregisterImageRequest{ImageId: c.image})), "")
	if store.Images.Get(c.Store.Snapshot(), c.image) == nil {
		t.Fatal("the record is gone while an instance runs from it")
	}
	c.code("launch", second(c.RunInstances(c.alice, &shape.RunInstancesRequest{ImageId: c.image, MinCount: 1, MaxCount: 1})), "InvalidAMIID.NotFound")
	c.code("describe", second(c.DescribeImages(c.alice, &shape.DescribeImagesRequest{ImageIds: []string{c.image}})), "InvalidAMIID.NotFound")
	c.code("terminate", second(c.TerminateInstances(c.alice, &shape.TerminateInstancesRequest{InstanceIds: id})), "")
	if store.Images.Get(c.Store.Snapshot(), c.image) != nil {
		t.Error("the record is still there")
	}
}
