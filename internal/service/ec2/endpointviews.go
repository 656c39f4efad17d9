package ec2

import (
	"cmp"
	"context"
	"slices"
	"strings"

	"karri.dev/internal/aws/call"
	shape "karri.dev/internal/aws/shape/ec2"
	"karri.dev/internal/filter"
	"karri.dev/internal/resource"
	"karri.dev/internal/store"
)

// openPolicy is what an endpoint without a policy of its own shows.
const openPolicy = `{"Version":"2008-10-17","Statement":[{"Effect":"Allow","Principal":"*","Action":"*","Resource":"*"}]}`

// shapeEndpoint shows a VPC endpoint.
func (s *Service) shapeEndpoint(r store.Reader, e *resource.VPCEndpoint) shape.VpcEndpoint {
	out := shape.VpcEndpoint{
		VpcEndpointId: e.ID, VpcEndpointType: choose(e.Gateway, "Gateway", "Interface"), VpcId: e.VPCID, ServiceName: e.Service, State: "available",
		PolicyDocument: openPolicy, RouteTableIds: []string{}, SubnetIds: []string{}, Groups: []shape.SecurityGroupIdentifier{}, IpAddressType: "ipv4",
		DnsOptions:        &shape.DnsOptions{DnsRecordIpType: choose(e.Gateway, "service-defined", "ipv4")},
		PrivateDnsEnabled: e.PrivateDNS, NetworkInterfaceIds: []string{}, DnsEntries: []shape.DnsEntry{}, CreationTimestamp: e.CreatedAt,
		Tags: shapeTags(e.Tags), OwnerId: e.AccountID,
	}
	if e.Policy != nil {
		out.PolicyDocument = e.Policy.Text
	}
	for _, g := range identifiers(r, e.Groups) {
		out.Groups = append(out.Groups, shape.SecurityGroupIdentifier{GroupId: g.GroupId, GroupName: g.GroupName})
	}
	if e.Gateway {
		for t := range store.RouteTablesByVPC.By(r, e.VPCID) {
			if slices.ContainsFunc(t.Routes, func(route resource.Route) bool { return route.GatewayID == e.ID }) {
				out.RouteTableIds = append(out.RouteTableIds, t.ID)
			}
		}
		return out
	}
	var zones []string
	for _, id := range e.Interfaces {
		if eni := store.Interfaces.Get(r, id); eni != nil {
			out.NetworkInterfaceIds, out.SubnetIds, zones = append(out.NetworkInterfaceIds, id), append(out.SubnetIds, eni.SubnetID), append(zones, eni.Zone)
		}
	}
	all, zonal := e.Names(s.cfg.Domain, zones)
	for _, name := range append([]string{all}, zonal...) {
		out.DnsEntries = append(out.DnsEntries, shape.DnsEntry{DnsName: name})
	}
	if e.PrivateDNS {
		out.DnsEntries = append(out.DnsEntries, shape.DnsEntry{DnsName: resource.ServiceName(e.Region, e.Signing(), s.cfg.Domain)})
	}
	return out
}

var endpointFilters = &filter.Set[*resource.VPCEndpoint]{
	Fields: map[string]func(*resource.VPCEndpoint) []string{
		"ip-address-type":    constant[*resource.VPCEndpoint]("ipv4"),
		"service-region":     func(e *resource.VPCEndpoint) []string { return one(e.Region) },
		"service-name":       func(e *resource.VPCEndpoint) []string { return one(e.Service) },
		"vpc-id":             func(e *resource.VPCEndpoint) []string { return one(e.VPCID) },
		"vpc-endpoint-id":    func(e *resource.VPCEndpoint) []string { return one(e.ID) },
		"vpc-endpoint-state": constant[*resource.VPCEndpoint]("available"),
		"vpc-endpoint-type":  func(e *resource.VPCEndpoint) []string { return one(choose(e.Gateway, "Gateway", "Interface")) },
	},
	Tags: func(e *resource.VPCEndpoint) map[string]string { return e.Tags },
}

// DescribeVpcEndpoints lists VPC endpoints.
func (s *Service) DescribeVpcEndpoints(ctx context.Context, in *shape.DescribeVpcEndpointsRequest) (*shape.DescribeVpcEndpointsResult, error) {
	info, r, err := s.read(ctx, in, in.DryRun)
	if err != nil {
		return nil, err
	}
	match, err := compile(endpointFilters, in.Filters)
	if err != nil {
		return nil, err
	}
	list, next, err := list(s, r, info, vpcEndpoints, selection[resource.VPCEndpoint]{
		op: "DescribeVpcEndpoints", ids: in.VpcEndpointIds, max: in.MaxResults, token: in.NextToken, match: match,
	})
	if err != nil {
		return nil, err
	}
	return &shape.DescribeVpcEndpointsResult{VpcEndpoints: showAll(r, list, s.shapeEndpoint), NextToken: next}, nil
}

// serviceDetails gives the services that have endpoints in a region.
func (s *Service) serviceDetails(r store.Reader, info *call.Info) (out []shape.ServiceDetail) {
	var names []string
	for _, z := range zones(r, info.Region) {
		names = append(names, z.Name)
	}
	for _, signing := range resource.EndpointServices {
		private := resource.ServiceName(info.Region, signing, s.cfg.Domain)
		d := shape.ServiceDetail{
			ServiceName: resource.EndpointService(info.Region, signing), ServiceId: association("vpce-svc-", "s-", info.Region+signing),
			ServiceType: []shape.ServiceTypeDetail{{ServiceType: "Interface"}}, AvailabilityZones: names, Owner: "amazon",
			BaseEndpointDnsNames: []string{signing + "." + info.Region + ".vpce." + s.cfg.Domain}, PrivateDnsName: private,
			PrivateDnsNames: []shape.PrivateDnsDetails{{PrivateDnsName: private}}, VpcEndpointPolicySupported: true, Tags: []shape.Tag{},
			PrivateDnsNameVerificationState: "verified", SupportedIpAddressTypes: []string{"ipv4"},
		}
		if signing == "s3" {
			gateway := d
			gateway.ServiceType, gateway.ServiceId = []shape.ServiceTypeDetail{{ServiceType: "Gateway"}}, association("vpce-svc-", "s-", info.Region+"s3gateway")
			gateway.BaseEndpointDnsNames, gateway.PrivateDnsName, gateway.PrivateDnsNames, gateway.PrivateDnsNameVerificationState = []string{private}, "", nil, ""
			out = append(out, gateway)
		}
		out = append(out, d)
	}
	slices.SortStableFunc(out, func(a, b shape.ServiceDetail) int { return cmp.Compare(a.ServiceName, b.ServiceName) })
	return out
}

var serviceFilters = &filter.Set[*shape.ServiceDetail]{
	Fields: map[string]func(*shape.ServiceDetail) []string{
		"owner":        func(d *shape.ServiceDetail) []string { return one(d.Owner) },
		"service-name": func(d *shape.ServiceDetail) []string { return one(d.ServiceName) },
		"service-region": func(d *shape.ServiceDetail) []string {
			if f := strings.Split(d.ServiceName, "."); len(f) > 3 { // com.amazonaws.REGION.SERVICE
				return one(f[2])
			}
			return one("us-east-1") // where AWS has its global services
		},
		"service-type":               func(d *shape.ServiceDetail) []string { return one(d.ServiceType[0].ServiceType) },
		"supported-ip-address-types": func(d *shape.ServiceDetail) []string { return d.SupportedIpAddressTypes },
	},
	Tags: func(*shape.ServiceDetail) map[string]string { return nil },
}

// DescribeVpcEndpointServices lists the services that have endpoints.
func (s *Service) DescribeVpcEndpointServices(ctx context.Context, in *shape.DescribeVpcEndpointServicesRequest) (*shape.DescribeVpcEndpointServicesResult, error) {
	info, r, err := s.read(ctx, in, in.DryRun)
	if err != nil {
		return nil, err
	}
	match, err := compile(serviceFilters, in.Filters)
	if err != nil {
		return nil, err
	}
	for _, name := range in.ServiceNames {
		if _, err := endpointService(info.Region, name); err != nil {
			return nil, err
		}
	}
	limit, start, err := s.page(info, "DescribeVpcEndpointServices", in.MaxResults, in.NextToken, 1)
	if err != nil {
		return nil, err
	}
	list := []shape.ServiceDetail{}
	for _, d := range s.serviceDetails(r, info) {
		if serviceKey(d) >= start && (len(in.ServiceNames) == 0 || slices.Contains(in.ServiceNames, d.ServiceName)) && (match == nil || match(&d)) {
			list = append(list, d)
		}
	}
	list, next, err := cut(s, info, "DescribeVpcEndpointServices", list, limit, serviceKey)
	if err != nil {
		return nil, err
	}
	out := &shape.DescribeVpcEndpointServicesResult{ServiceDetails: list, NextToken: next}
	for _, d := range list {
		out.ServiceNames = append(out.ServiceNames, d.ServiceName)
	}
	out.ServiceNames = slices.Compact(out.ServiceNames)
	return out, nil
}

func serviceKey(d shape.ServiceDetail) string {
	return d.ServiceName + "/" + d.ServiceType[0].ServiceType
}
