package ec2

import (
	"context"

	"karri.dev/internal/aws/awserr"
	shape "karri.dev/internal/aws/shape/ec2"
	"karri.dev/internal/filter"
)

// What Karri sells none of: spot and reserved instances, dedicated hosts. Lists of it are empty, and an order
// is refused.

var (
	spotFilters = &filter.Set[*shape.SpotInstanceRequest]{
		Never: []string{
			"availability-zone-group", "create-time", "fault-code", "fault-message", "instance-id", "launch-group", "launch.block-device-mapping.delete-on-termination",
			"launch.block-device-mapping.device-name", "launch.block-device-mapping.snapshot-id", "launch.block-device-mapping.volume-size",
			"launch.block-device-mapping.volume-type", "launch.group-id", "launch.image-id", "launch.instance-type", "launch.kernel-id", "launch.key-name",
			"launch.monitoring-enabled", "launch.ramdisk-id", "launched-availability-zone", "network-interface.addresses.primary",
			"network-interface.delete-on-termination", "network-interface.description", "network-interface.device-index", "network-interface.group-id",
			"network-interface.network-interface-id", "network-interface.private-ip-address", "network-interface.subnet-id", "product-description",
			"spot-instance-request-id", "spot-price", "state", "status-code", "status-message", "type", "valid-from", "valid-until",
		},
		Tags: func(*shape.SpotInstanceRequest) map[string]string { return nil },
	}
	priceFilters = &filter.Set[*shape.SpotPrice]{
		Never: []string{"availability-zone", "availability-zone-id", "instance-type", "product-description", "spot-price", "timestamp"},
	}
	reservedFilters = &filter.Set[*shape.ReservedInstances]{
		Never: []string{
			"availability-zone", "availability-zone-id", "duration", "end", "fixed-price", "instance-type", "scope", "product-description",
			"reserved-instances-id", "start", "state", "usage-price", "marketplace", "reserved-instances-offering-id",
		},
		Tags: func(*shape.ReservedInstances) map[string]string { return nil },
	}
	hostFilters = &filter.Set[*shape.Host]{
		Never: []string{"auto-placement", "availability-zone", "availability-zone-id", "client-token", "host-reservation-id", "instance-type", "state"},
		Tags:  func(*shape.Host) map[string]string { return nil },
	}
)

// DescribeSpotInstanceRequests lists spot requests: none.
func (s *Service) DescribeSpotInstanceRequests(ctx context.Context, in *shape.DescribeSpotInstanceRequestsRequest) (*shape.DescribeSpotInstanceRequestsResult, error) {
	info, _, err := s.read(ctx, in, in.DryRun)
	if err != nil {
		return nil, err
	}
	if _, err := compile(spotFilters, in.Filters); err != nil {
		return nil, err
	}
	if _, _, err := s.page(info, "DescribeSpotInstanceRequests", in.MaxResults, in.NextToken, 0); err != nil {
		return nil, err
	}
	for _, id := range in.SpotInstanceRequestIds {
		return nil, awserr.New("InvalidSpotInstanceRequestID.NotFound", "The spot instance request ID '%s' does not exist", id)
	}
	return &shape.DescribeSpotInstanceRequestsResult{SpotInstanceRequests: []shape.SpotInstanceRequest{}}, nil
}

// DescribeSpotPriceHistory lists spot prices: none.
func (s *Service) DescribeSpotPriceHistory(ctx context.Context, in *shape.DescribeSpotPriceHistoryRequest) (*shape.DescribeSpotPriceHistoryResult, error) {
	info, _, err := s.read(ctx, in, in.DryRun)
	if err != nil {
		return nil, err
	}
	if _, err := compile(priceFilters, in.Filters); err != nil {
		return nil, err
	}
	if _, _, err := s.page(info, "DescribeSpotPriceHistory", in.MaxResults, in.NextToken, 1); err != nil {
		return nil, err
	}
	return &shape.DescribeSpotPriceHistoryResult{SpotPriceHistory: []shape.SpotPrice{}}, nil
}

// DescribeReservedInstances lists reserved instances: none.
func (s *Service) DescribeReservedInstances(ctx context.Context, in *shape.DescribeReservedInstancesRequest) (*shape.DescribeReservedInstancesResult, error) {
	_, _, err := s.read(ctx, in, in.DryRun)
	if err != nil {
		return nil, err
	}
	if _, err := compile(reservedFilters, in.Filters); err != nil {
		return nil, err
	}
	for _, id := range in.ReservedInstancesIds {
		return nil, awserr.New("InvalidReservationID.NotFound", "The reserved instances ID '%s' does not exist", id)
	}
	return &shape.DescribeReservedInstancesResult{ReservedInstances: []shape.ReservedInstances{}}, nil
}

// DescribeReservedInstancesOfferings lists what could be reserved: nothing.
func (s *Service) DescribeReservedInstancesOfferings(ctx context.Context, in *shape.DescribeReservedInstancesOfferingsRequest) (*shape.DescribeReservedInstancesOfferingsResult, error) {
	info, _, err := s.read(ctx, in, in.DryRun)
	if err != nil {
		return nil, err
	}
	if _, _, err := s.page(info, "DescribeReservedInstancesOfferings", in.MaxResults, in.NextToken, 1); err != nil {
		return nil, err
	}
	for _, id := range in.ReservedInstancesOfferingIds {
		return nil, awserr.New("InvalidReservedInstancesOfferingId", "The reserved instances offering ID '%s' does not exist", id)
	}
	return &shape.DescribeReservedInstancesOfferingsResult{ReservedInstancesOfferings: []shape.ReservedInstancesOffering{}}, nil
}

// DescribeHosts lists dedicated hosts: none.
func (s *Service) DescribeHosts(ctx context.Context, in *shape.DescribeHostsRequest) (*shape.DescribeHostsResult, error) {
	info, _, err := s.read(ctx, in, nil)
	if err != nil {
		return nil, err
	}
	if _, err := compile(hostFilters, in.Filter); err != nil {
		return nil, err
	}
	if _, _, err := s.page(info, "DescribeHosts", in.MaxResults, in.NextToken, 0); err != nil {
		return nil, err
	}
	for _, id := range in.HostIds {
		return nil, awserr.New("InvalidHostID.NotFound", "The dedicated host ID '%s' does not exist", id)
	}
	return &shape.DescribeHostsResult{Hosts: []shape.Host{}}, nil
}

// RequestSpotInstances is refused.
func (s *Service) RequestSpotInstances(ctx context.Context, in *shape.RequestSpotInstancesRequest) (*shape.RequestSpotInstancesResult, error) {
	if _, err := s.begin(ctx, in); err != nil {
		return nil, err
	}
	return nil, errUnsupported("Spot instances are not offered by this cloud.")
}

// PurchaseReservedInstancesOffering is refused.
func (s *Service) PurchaseReservedInstancesOffering(ctx context.Context, in *shape.PurchaseReservedInstancesOfferingRequest) (*shape.PurchaseReservedInstancesOfferingResult, error) {
	if _, err := s.begin(ctx, in); err != nil {
		return nil, err
	}
	return nil, errUnsupported("Reserved instances are not offered by this cloud.")
}

// AllocateHosts is refused.
func (s *Service) AllocateHosts(ctx context.Context, in *shape.AllocateHostsRequest) (*shape.AllocateHostsResult, error) {
	if _, err := s.begin(ctx, in); err != nil {
		return nil, err
	}
	return nil, errUnsupported("Dedicated hosts are not offered by this cloud.")
}
