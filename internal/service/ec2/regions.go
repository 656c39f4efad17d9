package ec2

import (
	"context"
	"slices"
	"strconv"

	"karri.dev/internal/aws/awserr"
	shape "karri.dev/internal/aws/shape/ec2"
	"karri.dev/internal/filter"
	"karri.dev/internal/quota"
	"karri.dev/internal/resource"
	"karri.dev/internal/store"
)

var regionFilters = &filter.Set[*shape.Region]{Fields: map[string]func(*shape.Region) []string{
	"endpoint":      func(r *shape.Region) []string { return one(r.Endpoint) },
	"opt-in-status": func(r *shape.Region) []string { return one(r.OptInStatus) },
	"region-name":   func(r *shape.Region) []string { return one(r.RegionName) },
}}

// regions gives the cloud's regions in order of name: those that have a zone.
func regions(r store.Reader) []string {
	var out []string
	for z := range store.Zones.All(r) {
		out = append(out, z.Region)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// DescribeRegions lists the cloud's regions.
func (s *Service) DescribeRegions(ctx context.Context, in *shape.DescribeRegionsRequest) (*shape.DescribeRegionsResult, error) {
	_, r, err := s.read(ctx, in, in.DryRun)
	if err != nil {
		return nil, err
	}
	match, err := compile(regionFilters, in.Filters)
	if err != nil {
		return nil, err
	}
	all := regions(r)
	for _, name := range in.RegionNames {
		if !slices.Contains(all, name) {
			return nil, awserr.New("InvalidParameterValue", "Invalid region provided: [%s]", name)
		}
	}
	out := []shape.Region{}
	for _, name := range all {
		region := shape.Region{RegionName: name, Endpoint: "ec2." + name + "." + s.cfg.Domain, OptInStatus: "opt-in-not-required"}
		if (len(in.RegionNames) == 0 || slices.Contains(in.RegionNames, name)) && (match == nil || match(&region)) {
			out = append(out, region)
		}
	}
	return &shape.DescribeRegionsResult{Regions: out}, nil
}

var zoneFilters = &filter.Set[*shape.AvailabilityZone]{
	Fields: map[string]func(*shape.AvailabilityZone) []string{
		"group-long-name": constant[*shape.AvailabilityZone](""),
		"group-name":      func(z *shape.AvailabilityZone) []string { return one(z.GroupName) },
		"opt-in-status":   func(z *shape.AvailabilityZone) []string { return one(z.OptInStatus) },
		"region-name":     func(z *shape.AvailabilityZone) []string { return one(z.RegionName) },
		"state":           func(z *shape.AvailabilityZone) []string { return one(z.State) },
		"zone-id":         func(z *shape.AvailabilityZone) []string { return one(z.ZoneId) },
		"zone-name":       func(z *shape.AvailabilityZone) []string { return one(z.ZoneName) },
		"zone-type":       func(z *shape.AvailabilityZone) []string { return one(z.ZoneType) },
	},
	Never: []string{"message", "parent-zone-id", "parent-zone-name"},
}

// zones gives the zones of a region in order of name.
func zones(r store.Reader, region string) []*resource.Zone {
	var out []*resource.Zone
	for z := range store.Zones.All(r) {
		if z.Region == region {
			out = append(out, z)
		}
	}
	return out
}

// zone gives a zone of the region by name.
func zone(r store.Reader, region, name string) (*resource.Zone, error) {
	if z := store.Zones.Get(r, name); z != nil && z.Region == region {
		return z, nil
	}
	return nil, awserr.New("InvalidParameterValue", "Invalid availability zone: [%s]", name)
}

// DescribeAvailabilityZones lists the region's zones.
func (s *Service) DescribeAvailabilityZones(ctx context.Context, in *shape.DescribeAvailabilityZonesRequest) (*shape.DescribeAvailabilityZonesResult, error) {
	info, r, err := s.read(ctx, in, in.DryRun)
	if err != nil {
		return nil, err
	}
	match, err := compile(zoneFilters, in.Filters)
	if err != nil {
		return nil, err
	}
	all := zones(r, info.Region)
	for _, name := range in.ZoneNames {
		if _, err := zone(r, info.Region, name); err != nil {
			return nil, err
		}
	}
	for _, id := range in.ZoneIds {
		if !slices.ContainsFunc(all, func(z *resource.Zone) bool { return z.ZoneID == id }) {
			return nil, awserr.New("InvalidParameterValue", "Invalid availability zone-id: [%s]", id)
		}
	}
	out := []shape.AvailabilityZone{}
	for _, z := range all {
		if (len(in.ZoneNames) > 0 && !slices.Contains(in.ZoneNames, z.Name)) || (len(in.ZoneIds) > 0 && !slices.Contains(in.ZoneIds, z.ZoneID)) {
			continue
		}
		az := shape.AvailabilityZone{
			State: "available", OptInStatus: "opt-in-not-required", Messages: []shape.AvailabilityZoneMessage{}, RegionName: z.Region,
			ZoneName: z.Name, ZoneId: z.ZoneID, GroupName: z.Region, NetworkBorderGroup: z.Region, ZoneType: "availability-zone",
		}
		if match == nil || match(&az) {
			out = append(out, az)
		}
	}
	return &shape.DescribeAvailabilityZonesResult{AvailabilityZones: out}, nil
}

// DescribeAccountAttributes answers limits and the default VPC.
func (s *Service) DescribeAccountAttributes(ctx context.Context, in *shape.DescribeAccountAttributesRequest) (*shape.DescribeAccountAttributesResult, error) {
	info, r, err := s.read(ctx, in, in.DryRun)
	if err != nil {
		return nil, err
	}
	defaultVPCID := "none"
	if v := defaultVPC(r, info); v != nil {
		defaultVPCID = v.ID
	}
	addresses, _, err := s.Quotas.Most(r, info, quota.Addresses)
	if err != nil {
		return nil, err
	}
	vcpus, _, err := s.Quotas.Most(r, info, quota.VCPUs)
	if err != nil {
		return nil, err
	}
	limit := strconv.FormatInt(addresses, 10)
	values := [][2]string{
		{"supported-platforms", "VPC"},
		{"vpc-max-security-groups-per-interface", strconv.Itoa(maxGroupsPerInterface)},
		{"max-elastic-ips", limit},
		{"max-instances", strconv.FormatInt(vcpus, 10)},
		{"vpc-max-elastic-ips", limit},
		{"default-vpc", defaultVPCID},
	}
	out := []shape.AccountAttribute{}
	for _, name := range in.AttributeNames {
		if !slices.ContainsFunc(values, func(v [2]string) bool { return v[0] == name }) {
			return nil, errValue(name, "attributeName")
		}
	}
	for _, v := range values {
		if len(in.AttributeNames) == 0 || slices.Contains(in.AttributeNames, v[0]) {
			out = append(out, shape.AccountAttribute{AttributeName: v[0], AttributeValues: []shape.AccountAttributeValue{{AttributeValue: v[1]}}})
			if v[0] == "supported-platforms" {
				out[len(out)-1].AttributeValues = platforms(r, info)
			}
		}
	}
	return &shape.DescribeAccountAttributesResult{AccountAttributes: out}, nil
}
