package ec2

import (
	"context"
	"slices"
	"strconv"
	"strings"

	"karri.dev/internal/aws/awserr"
	shape "karri.dev/internal/aws/shape/ec2"
	"karri.dev/internal/filter"
	"karri.dev/internal/instancetype"
)

// architecture is that of all instance types.
const architecture = "x86_64"

// shapeType shows an instance type as Karri gives it: what AWS's namesake has besides is not claimed.
func shapeType(t *instancetype.Type) shape.InstanceTypeInfo {
	return shape.InstanceTypeInfo{
		InstanceType: t.Name, CurrentGeneration: !t.Previous, FreeTierEligible: t.FreeTier, SupportedUsageClasses: []string{"on-demand"},
		SupportedRootDeviceTypes: []string{"instance-store"}, SupportedVirtualizationTypes: []string{"hvm"}, Hypervisor: t.Hypervisor,
		ProcessorInfo: &shape.ProcessorInfo{SupportedArchitectures: []string{architecture}},
		VCpuInfo: &shape.VCpuInfo{
			DefaultVCpus: t.VCPUs, DefaultCores: t.Cores(), DefaultThreadsPerCore: t.ThreadsPerCore(),
			ValidCores: []int{t.Cores()}, ValidThreadsPerCore: []int{t.ThreadsPerCore()},
		},
		MemoryInfo: &shape.MemoryInfo{SizeInMiB: int64(t.MemoryMiB)}, InstanceStorageSupported: true,
		InstanceStorageInfo: &shape.InstanceStorageInfo{
			TotalSizeInGB: int64(t.DiskGiB), Disks: []shape.DiskInfo{{SizeInGB: int64(t.DiskGiB), Count: 1, Type: "ssd"}},
			NvmeSupport: "unsupported", EncryptionSupport: "unsupported",
		},
		EbsInfo: &shape.EbsInfo{EbsOptimizedSupport: "unsupported", EncryptionSupport: "unsupported", NvmeSupport: "unsupported"},
		NetworkInfo: &shape.NetworkInfo{
			NetworkPerformance: t.Network, MaximumNetworkInterfaces: t.MaxInterfaces(), MaximumNetworkCards: 1, Ipv4AddressesPerInterface: t.AddressesPerInterface(), EnaSupport: "unsupported",
			NetworkCards: []shape.NetworkCardInfo{{NetworkPerformance: t.Network, MaximumNetworkInterfaces: t.MaxInterfaces()}},
		},
		PlacementGroupInfo: &shape.PlacementGroupInfo{SupportedStrategies: []string{"cluster", "partition", "spread"}}, BurstablePerformanceSupported: t.Burstable,
		SupportedBootModes: []string{"legacy-bios", "uefi"}, NitroEnclavesSupport: "unsupported", NitroTpmSupport: "unsupported", PhcSupport: "unsupported",
		SupportedInRegion: true,
	}
}

var typeFilters = &filter.Set[*shape.InstanceTypeInfo]{
	Fields: map[string]func(*shape.InstanceTypeInfo) []string{
		"auto-recovery-supported":                      func(t *shape.InstanceTypeInfo) []string { return yes(t.AutoRecoverySupported) },
		"bare-metal":                                   func(t *shape.InstanceTypeInfo) []string { return yes(t.BareMetal) },
		"burstable-performance-supported":              func(t *shape.InstanceTypeInfo) []string { return yes(t.BurstablePerformanceSupported) },
		"current-generation":                           func(t *shape.InstanceTypeInfo) []string { return yes(t.CurrentGeneration) },
		"dedicated-hosts-supported":                    constant[*shape.InstanceTypeInfo]("false"),
		"ebs-info.ebs-optimized-support":               constant[*shape.InstanceTypeInfo]("unsupported"),
		"ebs-info.encryption-support":                  constant[*shape.InstanceTypeInfo]("unsupported"),
		"ebs-info.nvme-support":                        constant[*shape.InstanceTypeInfo]("unsupported"),
		"free-tier-eligible":                           func(t *shape.InstanceTypeInfo) []string { return yes(t.FreeTierEligible) },
		"hibernation-supported":                        constant[*shape.InstanceTypeInfo]("false"),
		"hypervisor":                                   func(t *shape.InstanceTypeInfo) []string { return one(t.Hypervisor) },
		"instance-storage-info.disk.count":             constant[*shape.InstanceTypeInfo]("1"),
		"instance-storage-info.disk.size-in-gb":        func(t *shape.InstanceTypeInfo) []string { return long(t.InstanceStorageInfo.TotalSizeInGB) },
		"instance-storage-info.disk.type":              constant[*shape.InstanceTypeInfo]("ssd"),
		"instance-storage-info.encryption-support":     constant[*shape.InstanceTypeInfo]("unsupported"),
		"instance-storage-info.nvme-support":           constant[*shape.InstanceTypeInfo]("unsupported"),
		"instance-storage-info.total-size-in-gb":       func(t *shape.InstanceTypeInfo) []string { return long(t.InstanceStorageInfo.TotalSizeInGB) },
		"instance-storage-supported":                   constant[*shape.InstanceTypeInfo]("true"),
		"instance-type":                                func(t *shape.InstanceTypeInfo) []string { return one(t.InstanceType) },
		"memory-info.size-in-mib":                      func(t *shape.InstanceTypeInfo) []string { return long(t.MemoryInfo.SizeInMiB) },
		"network-info.efa-supported":                   constant[*shape.InstanceTypeInfo]("false"),
		"network-info.ena-support":                     constant[*shape.InstanceTypeInfo]("unsupported"),
		"network-info.encryption-in-transit-supported": constant[*shape.InstanceTypeInfo]("false"),
		"network-info.flexible-ena-queues-support":     constant[*shape.InstanceTypeInfo]("unsupported"),
		"network-info.ipv4-addresses-per-interface":    func(t *shape.InstanceTypeInfo) []string { return one(itoa(t.NetworkInfo.Ipv4AddressesPerInterface)) },
		"network-info.ipv6-addresses-per-interface":    constant[*shape.InstanceTypeInfo]("0"),
		"network-info.ipv6-supported":                  constant[*shape.InstanceTypeInfo]("false"),
		"network-info.maximum-network-cards":           constant[*shape.InstanceTypeInfo]("1"),
		"network-info.maximum-network-interfaces":      func(t *shape.InstanceTypeInfo) []string { return one(itoa(t.NetworkInfo.MaximumNetworkInterfaces)) },
		"network-info.network-performance":             func(t *shape.InstanceTypeInfo) []string { return one(t.NetworkInfo.NetworkPerformance) },
		"nitro-enclaves-support":                       constant[*shape.InstanceTypeInfo]("unsupported"),
		"nitro-tpm-support":                            constant[*shape.InstanceTypeInfo]("unsupported"),
		"processor-info.supported-architecture":        constant[*shape.InstanceTypeInfo]("x86_64"),
		"reboot-migration-support":                     constant[*shape.InstanceTypeInfo]("unsupported"),
		"supported-boot-mode":                          func(t *shape.InstanceTypeInfo) []string { return t.SupportedBootModes },
		"supported-root-device-type":                   func(t *shape.InstanceTypeInfo) []string { return t.SupportedRootDeviceTypes },
		"supported-usage-class":                        func(t *shape.InstanceTypeInfo) []string { return t.SupportedUsageClasses },
		"supported-virtualization-type":                func(t *shape.InstanceTypeInfo) []string { return t.SupportedVirtualizationTypes },
		"vcpu-info.default-cores":                      func(t *shape.InstanceTypeInfo) []string { return long(int64(t.VCpuInfo.DefaultCores)) },
		"vcpu-info.default-threads-per-core":           func(t *shape.InstanceTypeInfo) []string { return long(int64(t.VCpuInfo.DefaultThreadsPerCore)) },
		"vcpu-info.default-vcpus":                      func(t *shape.InstanceTypeInfo) []string { return long(int64(t.VCpuInfo.DefaultVCpus)) },
		"vcpu-info.valid-cores":                        func(t *shape.InstanceTypeInfo) []string { return long(int64(t.VCpuInfo.DefaultCores)) },
		"vcpu-info.valid-threads-per-core":             func(t *shape.InstanceTypeInfo) []string { return long(int64(t.VCpuInfo.DefaultThreadsPerCore)) },
	},
	Never: []string{
		"ebs-info.attachment-limit-type", "ebs-info.maximum-ebs-attachments", "ebs-info.ebs-optimized-info.baseline-bandwidth-in-mbps",
		"ebs-info.ebs-optimized-info.baseline-iops", "ebs-info.ebs-optimized-info.baseline-throughput-in-mbps",
		"ebs-info.ebs-optimized-info.maximum-bandwidth-in-mbps", "ebs-info.ebs-optimized-info.maximum-iops",
		"ebs-info.ebs-optimized-info.maximum-throughput-in-mbps", "network-info.bandwidth-weightings", "network-info.efa-info.maximum-efa-interfaces",
		"nitro-tpm-info.supported-versions", "processor-info.sustained-clock-speed-in-ghz", "processor-info.supported-features",
	},
}

func long(n int64) []string { return []string{strconv.FormatInt(n, 10)} }

// DescribeInstanceTypes lists the catalogue.
func (s *Service) DescribeInstanceTypes(ctx context.Context, in *shape.DescribeInstanceTypesRequest) (*shape.DescribeInstanceTypesResult, error) {
	info, r, err := s.read(ctx, in, in.DryRun)
	if err != nil {
		return nil, err
	}
	match, err := compile(typeFilters, in.Filters)
	if err != nil {
		return nil, err
	}
	if in.MaxResults != nil && (*in.MaxResults > 100 || len(in.InstanceTypes) > 0) {
		return nil, errCombination("The parameter MaxResults is 5 to 100, and cannot be used with instance types")
	}
	limit, start, err := s.page(info, "DescribeInstanceTypes", in.MaxResults, in.NextToken, 0)
	if err != nil {
		return nil, err
	}
	table, err := s.Types.At(r)
	if err != nil {
		return nil, err
	}
	var unknown []string
	for _, name := range in.InstanceTypes {
		if table.Get(name) == nil {
			unknown = append(unknown, name)
		}
	}
	if len(unknown) > 0 {
		return nil, awserr.New("InvalidInstanceType", "The following supplied instance types do not exist: [%s]", strings.Join(unknown, ", "))
	}
	out := []shape.InstanceTypeInfo{}
	all := table.All()
	for i := range all {
		t := &all[i]
		if t.Name < start || (len(in.InstanceTypes) > 0 && !slices.Contains(in.InstanceTypes, t.Name)) {
			continue
		}
		if show := shapeType(t); match == nil || match(&show) {
			if out = append(out, show); len(out) > limit {
				break
			}
		}
	}
	list, next, err := cut(s, info, "DescribeInstanceTypes", out, limit, func(t shape.InstanceTypeInfo) string { return t.InstanceType })
	return &shape.DescribeInstanceTypesResult{InstanceTypes: list, NextToken: next}, err
}

var offeringFilters = &filter.Set[*shape.InstanceTypeOffering]{Fields: map[string]func(*shape.InstanceTypeOffering) []string{
	"instance-type": func(o *shape.InstanceTypeOffering) []string { return one(o.InstanceType) },
	"location":      func(o *shape.InstanceTypeOffering) []string { return one(o.Location) },
}}

// DescribeInstanceTypeOfferings lists where types are offered: everywhere.
func (s *Service) DescribeInstanceTypeOfferings(ctx context.Context, in *shape.DescribeInstanceTypeOfferingsRequest) (*shape.DescribeInstanceTypeOfferingsResult, error) {
	info, r, err := s.read(ctx, in, in.DryRun)
	if err != nil {
		return nil, err
	}
	match, err := compile(offeringFilters, in.Filters)
	if err != nil {
		return nil, err
	}
	limit, start, err := s.page(info, "DescribeInstanceTypeOfferings", in.MaxResults, in.NextToken, 0)
	if err != nil {
		return nil, err
	}
	kind := in.LocationType
	if kind == "" {
		kind = "region"
	}
	var places []string
	switch kind {
	case "region":
		places = []string{info.Region}
	case "availability-zone", "availability-zone-id":
		for _, z := range zones(r, info.Region) {
			places = append(places, choose(kind == "availability-zone", z.Name, z.ZoneID))
		}
	case "outpost":
	default:
		return nil, errValue(kind, "locationType")
	}
	table, err := s.Types.At(r)
	if err != nil {
		return nil, err
	}
	key := func(o shape.InstanceTypeOffering) string { return o.InstanceType + "\x00" + o.Location }
	slices.Sort(places)
	out := []shape.InstanceTypeOffering{}
	for _, t := range table.All() {
		for _, place := range places {
			o := shape.InstanceTypeOffering{InstanceType: t.Name, LocationType: kind, Location: place}
			if key(o) >= start && (match == nil || match(&o)) {
				out = append(out, o)
			}
		}
	}
	list, next, err := cut(s, info, "DescribeInstanceTypeOfferings", out, limit, key)
	return &shape.DescribeInstanceTypeOfferingsResult{InstanceTypeOfferings: list, NextToken: next}, err
}
