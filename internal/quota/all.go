package quota

import (
	"strings"

	"karri.dev/internal/aws/awserr"
	"karri.dev/internal/policy"
	"karri.dev/internal/store"
)

// Keys that services ask for by name.
const (
	Instances       = "ec2:quota-vminstancenumber"
	ActiveInstances = "ec2:quota-vminstanceactivenumber"
	VCPUs           = "ec2:quota-cputotalsize"
	Memory          = "ec2:quota-memorytotalsize"
	Disk            = "ec2:quota-disktotalsize"
	Addresses       = "ec2:quota-addressnumber"
)

// kinds is how many quotas there are.
const kinds = 24

// All gives every quota. The keys are Eucalyptus's.
func All() []Quota {
	ec2 := []Quota{
		{Key: Instances, Counts: "instances, stopped ones too", Default: None, kind: "instance", action: act("ec2:RunInstances"), used: by(store.InstancesHeld), refuse: tooManyInstances},
		{Key: ActiveInstances, Counts: "instances that are not stopped", Default: None, kind: "instance", action: act("ec2:RunInstances"), used: by(store.InstancesActive), refuse: tooManyInstances},
		{
			Key: VCPUs, Counts: "vCPUs of instances that are not stopped", Service: "ec2", Code: "L-1216C47A", Default: 5, Low: true,
			Name: "Running On-Demand Standard (A, C, D, H, I, M, R, T, Z) instances",
			kind: "instance", action: act("ec2:RunInstances"), used: by(store.InstancesVCPUs),
			refuse: over("VcpuLimitExceeded", "You have requested more vCPU capacity than your current vCPU limit of %d allows for the instance bucket that the specified instance type belongs to."),
		},
		{Key: Memory, Counts: "memory of instances that are not stopped", Unit: "MiB", Default: None, kind: "instance", action: act("ec2:RunInstances"), used: by(store.InstancesMemory), refuse: over("InstanceLimitExceeded", "You have requested more memory than your current limit of %d MiB allows.")},
		{Key: Disk, Counts: "instance-store disks of instances", Unit: "GiB", Default: None, kind: "instance", action: act("ec2:RunInstances"), used: by(store.InstancesDisk), refuse: over("InstanceLimitExceeded", "You have requested larger disks than your current limit of %d GiB allows.")},
		{
			Key: Addresses, Counts: "elastic IP addresses", Service: "ec2", Code: "L-0263D0A3", Name: "EC2-VPC Elastic IPs", Default: 5,
			kind: "elastic-ip", action: act("ec2:AllocateAddress"), used: by(store.AddressesHeld), refuse: over("AddressLimitExceeded", "The maximum number of addresses has been reached."),
		},
		{
			Key: "ec2:quota-imagenumber", Counts: "images, and imports that will be some", Service: "ec2", Code: "L-B665C33B", Name: "AMIs", Default: 50_000,
			kind: "image", action: act("ec2:RegisterImage"), used: by(store.ImagesHeld, store.ImportsOpen), refuse: over("ResourceLimitExceeded", "You have exceeded the number of images that you can own: %d."),
		},
		{
			Key: "ec2:quota-snapshotnumber", Counts: "snapshots", Service: "ebs", Code: "L-309BACF6", Name: "Snapshots per Region", Default: 100_000,
			kind: "snapshot", action: act("ec2:CreateSnapshot"), used: by(store.SnapshotsHeld), refuse: over("SnapshotLimitExceeded", "You have reached the limit of %d snapshots."),
		},
		{Key: "ec2:quota-volumenumber", Counts: "volumes", Default: None, kind: "volume", action: act("ec2:CreateVolume"), used: by(store.VolumesHeld), refuse: over("VolumeLimitExceeded", "Maximum number of volumes exceeded: %d.")},
		{Key: "ec2:quota-volumetotalsize", Counts: "size of all volumes", Unit: "GiB", Default: None, kind: "volume", action: act("ec2:CreateVolume"), used: by(store.VolumesGiB), refuse: over("VolumeLimitExceeded", "You have exceeded your maximum volume storage limit of %d GiB in this region.")},
		{
			Key: "ec2:quota-vpcnumber", Counts: "VPCs", Service: "vpc", Code: "L-F678F1CE", Name: "VPCs per Region", Default: 5,
			kind: "vpc", action: act("ec2:CreateVpc"), used: by(store.VPCsHeld), refuse: over("VpcLimitExceeded", "The maximum number of VPCs has been reached."),
		},
		{
			Key: "ec2:quota-internetgatewaynumber", Counts: "internet gateways", Service: "vpc", Code: "L-A4707A72", Name: "Internet gateways per Region", Default: 5,
			kind: "internet-gateway", action: act("ec2:CreateInternetGateway"), used: by(store.GatewaysHeld), refuse: over("InternetGatewayLimitExceeded", "The maximum number of internet gateways has been reached."),
		},
		{
			Key: "ec2:quota-egressonlyinternetgatewaynumber", Counts: "egress-only internet gateways", Service: "vpc", Code: "L-45FE3B85", Name: "Egress-only internet gateways per Region", Default: 5,
			kind: "egress-only-internet-gateway", action: act("ec2:CreateEgressOnlyInternetGateway"), used: by(store.EgressHeld), refuse: over("EgressOnlyInternetGatewayLimitExceeded", "The maximum number of egress-only internet gateways has been reached."),
		},
		{
			Key: "ec2:quota-securitygroupnumber", Counts: "security groups", Service: "vpc", Code: "L-E79EC296", Name: "VPC security groups per Region", Default: 2500,
			kind: "security-group", action: act("ec2:CreateSecurityGroup"), used: by(store.GroupsHeld), refuse: over("SecurityGroupLimitExceeded", "The maximum number of security groups has been reached."),
		},
		{
			Key: "ec2:quota-networkinterfacenumber", Counts: "network interfaces", Service: "vpc", Code: "L-DF5E4CA3", Name: "Network interfaces per Region", Default: 5000, Low: true,
			kind: "network-interface", action: act("ec2:CreateNetworkInterface"), used: by(store.InterfacesHeld), refuse: over("NetworkInterfaceLimitExceeded", "The maximum number of network interfaces has been reached."),
		},
	}
	global := []Quota{
		{
			Key: "s3:quota-bucketnumber", Counts: "buckets", Service: "s3", Code: "L-DC2B2D3D", Name: "General purpose buckets", Default: 10_000,
			action: act("s3:CreateBucket"), used: by(store.BucketsHeld), refuse: over("TooManyBuckets", "You have attempted to create more buckets than allowed"),
		},
		entities("iam:quota-usernumber", "user", "L-F55AF5E4", "Users per account", 5000, "CreateUser", store.UsersHeld),
		entities("iam:quota-groupnumber", "group", "L-F4A5425F", "Groups per account", 300, "CreateGroup", store.IAMGroupsHeld),
		entities("iam:quota-rolenumber", "role", "L-FE177D64", "Roles per account", 1000, "CreateRole", store.RolesHeld),
		entities("iam:quota-instanceprofilenumber", "instance-profile", "L-6E65F664", "Instance profiles per account", 1000, "CreateInstanceProfile", store.ProfilesHeld),
		entities("iam:quota-policynumber", "policy", "L-E95E4862", "Customer managed policies per account", 1500, "CreatePolicy", store.PoliciesHeld),
	}
	global = append(global, inBuckets()...)
	for i := range global {
		global[i].global = true
	}
	return append(ec2, global...)
}

func act(name string) policy.Action { return policy.MakeAction(name) }

// tally is a store.Tally of any table.
type tally interface {
	Sum(r store.Reader, value string) int64
}

func by(tallies ...tally) func(store.Reader, string) int64 {
	return func(r store.Reader, holder string) (n int64) {
		for _, t := range tallies {
			n += t.Sum(r, holder)
		}
		return n
	}
}

// over makes an error of a code and a message, which may have the limit in it.
func over(code, message string) func(int64) error {
	return func(most int64) error {
		if strings.Contains(message, "%d") {
			return awserr.New(code, message, most)
		}
		return awserr.New(code, "%s", message)
	}
}

var tooManyInstances = over("InstanceLimitExceeded", "You have requested more instances than your current instance limit of %d allows.")

// entities is a quota of IAM, which AWS words alike.
func entities[T any](key, kind, code, name string, most int64, create string, t *store.Tally[T]) Quota {
	plural := strings.ToLower(strings.TrimSuffix(name, " per account"))
	return Quota{
		Key: key, Counts: plural, Service: "iam", Code: code, Name: name, Default: most, whole: true, kind: kind, action: act("iam:" + create), used: by(t),
		refuse: func(most int64) error {
			return awserr.New("LimitExceeded", "Cannot exceed quota for %sPerAccount: %d", strings.TrimPrefix(create, "Create")+"s", most).WithStatus(409)
		},
	}
}
