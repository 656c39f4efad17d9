package ec2

import (
	"context"

	"karri.dev/internal/aws/call"
	shape "karri.dev/internal/aws/shape/ec2"
	"karri.dev/internal/filter"
	"karri.dev/internal/lifecycle"
	"karri.dev/internal/resource"
	"karri.dev/internal/store"
)

// Parts of every instance's answer that never differ. They are only read.
var (
	noReservation = &shape.CapacityReservationSpecificationResponse{CapacityReservationPreference: "open"}
	noHibernation = &shape.HibernationOptions{}
	noEnclave     = &shape.EnclaveOptions{}
	noRecovery    = &shape.InstanceMaintenanceOptions{AutoRecovery: "disabled"}
	ipNames       = &shape.PrivateDnsNameOptionsResponse{HostnameType: "ip-name"}
	unmanaged     = &shape.OperatorResponse{}
	monitoringOn  = &shape.Monitoring{State: "enabled"}
	monitoringOff = &shape.Monitoring{State: "disabled"}
	noCodes       = []shape.ProductCode{}
	noGroups      = []shape.GroupIdentifier{}
	noIPv6        = []shape.InstanceIpv6Address{}
)

// defaultRootDevice is the root device's name where the image does not say.
const defaultRootDevice = "/dev/sda1"

// transition is EC2's text for why the state changed last.
func transition(inst *resource.Instance) string {
	switch r := inst.StateReason; {
	case r.Code == lifecycle.ByUser.Code && !r.At.IsZero():
		return "User initiated (" + r.At.UTC().Format("2006-01-02 15:04:05 GMT") + ")"
	case inst.Power == resource.PowerOn:
		return ""
	default:
		return r.Code
	}
}

// shapeInstance shows an instance.
func (s *Service) shapeInstance(r store.Reader, inst *resource.Instance) shape.Instance {
	out := shape.Instance{
		AmiLaunchIndex: inst.LaunchIndex, ImageId: inst.ImageID, InstanceId: inst.ID, InstanceType: inst.Type, KernelId: inst.KernelID,
		KeyName: inst.KeyName, LaunchTime: inst.LaunchedAt, Monitoring: monitoringOff, RamdiskId: inst.RamdiskID,
		Placement:    &shape.Placement{AvailabilityZone: inst.Zone, Tenancy: "default"},
		ProductCodes: noCodes, State: &shape.InstanceState{Code: inst.State.Code(), Name: string(inst.State)},
		StateTransitionReason: transition(inst), Architecture: "x86_64", BlockDeviceMappings: []shape.InstanceBlockDeviceMapping{}, ClientToken: inst.ClientToken,
		Hypervisor: "xen", NetworkInterfaces: []shape.InstanceNetworkInterface{}, RootDeviceName: defaultRootDevice, RootDeviceType: "instance-store",
		SecurityGroups: noGroups, Tags: shapeTags(inst.Tags), VirtualizationType: "hvm", CapacityReservationSpecification: noReservation,
		HibernationOptions: noHibernation, EnclaveOptions: noEnclave, PlatformDetails: "Linux/UNIX", UsageOperation: "RunInstances",
		UsageOperationUpdateTime: inst.LaunchedAt, PrivateDnsNameOptions: ipNames, MaintenanceOptions: noRecovery, CurrentInstanceBootMode: "legacy-bios",
		Operator: unmanaged, CpuOptions: s.cpu(r, inst), MetadataOptions: shapeIMDS(inst.IMDS),
	}
	if z := store.Zones.Get(r, inst.Zone); z != nil {
		out.Placement.AvailabilityZoneId = z.ZoneID
	}
	if inst.Monitoring {
		out.Monitoring = monitoringOn
	}
	if img := store.Images.Get(r, inst.ImageID); img != nil {
		out.Architecture, out.BootMode = img.Architecture, img.BootMode
		if img.RootDeviceName != "" {
			out.RootDeviceName = img.RootDeviceName
		}
		out.ProductCodes = shapeCodes(img.ProductCodes)
		if img.UEFI() {
			out.CurrentInstanceBootMode = "uefi"
		}
	}
	if g := store.PlacementGroups.Get(r, inst.PlacementGroup); g != nil {
		out.Placement.GroupName, out.Placement.GroupId = g.Name, g.ID
		if inst.Partition > 0 {
			out.Placement.PartitionNumber = &inst.Partition
		}
	}
	if inst.RootDevice != "" {
		out.RootDeviceName, out.RootDeviceType = inst.RootDevice, "ebs"
	}
	if inst.StateReason.Code != "" {
		out.StateReason = &shape.StateReason{Code: inst.StateReason.Code, Message: inst.StateReason.Message}
	}
	if !inst.State.Alive() {
		return out
	}
	out.IamInstanceProfile = shapeProfile(r, inst)
	if resource.InVPC(inst.VPCID) {
		out.VpcId, out.SubnetId = inst.VPCID, inst.SubnetID
	}
	for _, v := range volumesOf(r, inst) {
		out.BlockDeviceMappings = append(out.BlockDeviceMappings, shape.InstanceBlockDeviceMapping{DeviceName: v.Attachment.Device, Ebs: shapeInstanceVolume(v)})
	}
	for i, id := range inst.Interfaces {
		e := store.Interfaces.Get(r, id)
		if e == nil {
			continue
		}
		n := s.shapeInstanceInterface(r, e)
		if i == 0 {
			out.PrivateIpAddress, out.PrivateDnsName, out.SecurityGroups, out.SourceDestCheck = n.PrivateIpAddress, n.PrivateDnsName, n.Groups, n.SourceDestCheck
			if n.Association != nil {
				out.PublicIpAddress, out.PublicDnsName = n.Association.PublicIp, n.Association.PublicDnsName
			}
			if len(e.IPv6) > 0 {
				out.Ipv6Address = e.IPv6[0]
			}
		}
		if resource.InVPC(inst.VPCID) {
			out.NetworkInterfaces = append(out.NetworkInterfaces, n)
		}
	}
	return out
}

func (s *Service) shapeInstanceInterface(r store.Reader, e *resource.Interface) shape.InstanceNetworkInterface {
	out := shape.InstanceNetworkInterface{
		Description: e.Description, Groups: identifiers(r, e.Groups), Ipv6Addresses: noIPv6, MacAddress: e.MAC,
		Attachment: &shape.InstanceNetworkInterfaceAttachment{
			AttachTime: e.AttachedAt, AttachmentId: e.AttachmentID, DeleteOnTermination: e.DeleteOnEnd, DeviceIndex: e.DeviceIndex, Status: attachStatus(e),
		},
		NetworkInterfaceId: e.ID, OwnerId: e.AccountID, PrivateDnsName: privateName(e.Region, e.PrivateIP), PrivateIpAddress: e.PrivateIP,
		SourceDestCheck: !e.NoSourceCheck, Status: "in-use", SubnetId: e.SubnetID, VpcId: e.VPCID, InterfaceType: "interface", Operator: unmanaged,
	}
	for i, ip := range e.IPv6 {
		address := shape.InstanceIpv6Address{Ipv6Address: ip}
		if e.Primary6 && i == 0 {
			yes := true
			address.IsPrimaryIpv6 = &yes
		}
		out.Ipv6Addresses = append(out.Ipv6Addresses, address)
	}
	for _, p := range e.IPv4Prefixes() {
		out.Ipv4Prefixes = append(out.Ipv4Prefixes, shape.InstanceIpv4Prefix{Ipv4Prefix: p})
	}
	v := interfaceView{e, r, s.cfg.Domain}
	for i, a := range e.Addresses() {
		address := shape.InstancePrivateIpAddress{Primary: i == 0, PrivateDnsName: resource.PrivateName(e.Region, a.PrivateIP), PrivateIpAddress: a.PrivateIP}
		if a.PublicIP != "" {
			address.Association = &shape.InstanceNetworkInterfaceAssociation{IpOwnerId: ipOwner(r, a), PublicDnsName: publicName(v, a), PublicIp: a.PublicIP}
		}
		if i == 0 {
			out.Association = address.Association
		}
		out.PrivateIpAddresses = append(out.PrivateIpAddresses, address)
	}
	return out
}

func (s *Service) cpu(r store.Reader, inst *resource.Instance) *shape.CpuOptions {
	threads := 1
	if types, err := s.Types.At(r); err == nil {
		if t := types.Get(inst.Type); t != nil && t.VCPUs == inst.VCPUs {
			threads = t.ThreadsPerCore()
		}
	}
	return &shape.CpuOptions{CoreCount: inst.VCPUs / threads, ThreadsPerCore: threads}
}

func shapeIMDS(o resource.IMDSOptions) *shape.InstanceMetadataOptionsResponse {
	out := &shape.InstanceMetadataOptionsResponse{
		State: "applied", HttpTokens: "optional", HttpPutResponseHopLimit: max(1, o.HopLimit), HttpEndpoint: "enabled",
		HttpProtocolIpv6: "disabled", InstanceMetadataTags: "disabled",
	}
	if o.TokensNeeded {
		out.HttpTokens = "required"
	}
	if o.Disabled {
		out.HttpEndpoint = "disabled"
	}
	if o.InstanceTags {
		out.InstanceMetadataTags = "enabled"
	}
	return out
}

// reservations groups instances as their launches were, in the order in which each first comes.
func (s *Service) reservations(r store.Reader, list []*resource.Instance) []shape.Reservation {
	size := make(map[string]int, len(list))
	for _, inst := range list {
		size[inst.ReservationID]++
	}
	out := make([]shape.Reservation, 0, len(size))
	at := make(map[string]int, len(size))
	for _, inst := range list {
		n, ok := at[inst.ReservationID]
		if !ok {
			n = len(out)
			at[inst.ReservationID] = n
			out = append(out, shape.Reservation{
				Groups: noGroups, OwnerId: inst.AccountID, ReservationId: inst.ReservationID,
				Instances: make([]shape.Instance, 0, size[inst.ReservationID]),
			})
		}
		out[n].Instances = append(out[n].Instances, s.shapeInstance(r, inst))
	}
	return out
}

// selectInstances is what DescribeInstances and DescribeInstanceStatus share.
func (s *Service) selectInstances(r store.Reader, info *call.Info, sel selection[resource.Instance]) ([]*resource.Instance, string, error) {
	if sel.max != nil && len(sel.ids) > 0 {
		return nil, "", errCombination("The parameter instancesSet cannot be used with the parameter maxResults")
	}
	return list(s, r, info, instances, sel)
}

// DescribeInstances lists instances, terminated ones too for a while.
func (s *Service) DescribeInstances(ctx context.Context, in *shape.DescribeInstancesRequest) (*shape.DescribeInstancesResult, error) {
	info, r, err := s.read(ctx, in, in.DryRun)
	if err != nil {
		return nil, err
	}
	match, err := compile(instanceFilters, in.Filters)
	if err != nil {
		return nil, err
	}
	list, next, err := s.selectInstances(r, info, selection[resource.Instance]{
		op: "DescribeInstances", ids: in.InstanceIds, max: in.MaxResults, token: in.NextToken,
		match: on(match, func(i *resource.Instance) *instanceView { return &instanceView{Instance: i, r: r, s: s} }),
	})
	if err != nil {
		return nil, err
	}
	return &shape.DescribeInstancesResult{Reservations: s.reservations(r, list), NextToken: next}, nil
}

// health gives the two status checks of an instance: of its node, and of itself.
func health(r store.Reader, inst *resource.Instance) (system, own string) {
	if inst.State != resource.Running {
		return "not-applicable", "not-applicable"
	}
	if n := store.Nodes.Get(r, inst.Node); n == nil || !n.Up {
		return "impaired", "insufficient-data"
	}
	return "ok", "ok"
}

func reachability(status string) string {
	switch status {
	case "ok":
		return "passed"
	case "impaired":
		return "failed"
	}
	return status
}

func summary(status string) *shape.InstanceStatusSummary {
	out := &shape.InstanceStatusSummary{Status: status}
	if status != "not-applicable" {
		out.Details = []shape.InstanceStatusDetails{{Name: "reachability", Status: reachability(status)}}
	}
	return out
}

var statusFilters = func() *filter.Set[*instanceView] {
	set := &filter.Set[*instanceView]{
		Fields: map[string]func(*instanceView) []string{
			"system-status.status": func(v *instanceView) []string { s, _ := health(v.r, v.Instance); return one(s) },
			"system-status.reachability": func(v *instanceView) []string {
				s, _ := health(v.r, v.Instance)
				return one(reachability(s))
			},
			"instance-status.status": func(v *instanceView) []string { _, s := health(v.r, v.Instance); return one(s) },
			"instance-status.reachability": func(v *instanceView) []string {
				_, s := health(v.r, v.Instance)
				return one(reachability(s))
			},
			"attached-ebs-status.status": constant[*instanceView]("not-applicable"),
		},
		Never: []string{
			"event.code", "event.description", "event.instance-event-id", "event.not-after", "event.not-before", "event.not-before-deadline",
			"operator.principal", "application-status.status",
		},
		Tags: func(v *instanceView) map[string]string { return v.Tags },
	}
	for _, name := range []string{"availability-zone", "availability-zone-id", "instance-state-code", "instance-state-name", "operator.managed"} {
		set.Fields[name] = instanceFilters.Fields[name]
	}
	return set
}()

// DescribeInstanceStatus lists the state and the checks of running instances, or of all.
func (s *Service) DescribeInstanceStatus(ctx context.Context, in *shape.DescribeInstanceStatusRequest) (*shape.DescribeInstanceStatusResult, error) {
	info, r, err := s.read(ctx, in, in.DryRun)
	if err != nil {
		return nil, err
	}
	match, err := compile(statusFilters, in.Filters)
	if err != nil {
		return nil, err
	}
	list, next, err := s.selectInstances(r, info, selection[resource.Instance]{
		op: "DescribeInstanceStatus", ids: in.InstanceIds, max: in.MaxResults, token: in.NextToken,
		match: func(i *resource.Instance) bool {
			return (isTrue(in.IncludeAllInstances) || i.State == resource.Running) && (match == nil || match(&instanceView{Instance: i, r: r, s: s}))
		},
	})
	if err != nil {
		return nil, err
	}
	out := make([]shape.InstanceStatus, len(list))
	for i, inst := range list {
		system, own := health(r, inst)
		out[i] = shape.InstanceStatus{
			AvailabilityZone: inst.Zone, InstanceId: inst.ID, InstanceState: &shape.InstanceState{Code: inst.State.Code(), Name: string(inst.State)},
			SystemStatus: summary(system), InstanceStatus: summary(own), AttachedEbsStatus: &shape.EbsStatusSummary{Status: "not-applicable"}, Operator: unmanaged,
		}
		if z := store.Zones.Get(r, inst.Zone); z != nil {
			out[i].AvailabilityZoneId = z.ZoneID
		}
	}
	return &shape.DescribeInstanceStatusResult{InstanceStatuses: out, NextToken: next}, nil
}
