package ec2

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"strings"

	"karri.dev/internal/aws/awserr"
	shape "karri.dev/internal/aws/shape/ec2"
	"karri.dev/internal/resource"
	"karri.dev/internal/store"
)

// Limits of AWS.
const maxSubnets = 200 // of a VPC

// CreateSubnet makes a subnet in a range of its VPC that no other subnet has.
func (s *Service) CreateSubnet(ctx context.Context, in *shape.CreateSubnetRequest) (*shape.CreateSubnetResult, error) {
	info, err := s.begin(ctx, in)
	if err != nil {
		return nil, err
	}
	switch {
	case in.VpcId == "":
		return nil, errMissing("vpcId")
	case in.CidrBlock == "":
		return nil, awserr.New("MissingParameter", "Either 'cidrBlock' or 'ipv4IpamPoolId' should be provided.")
	case in.AvailabilityZone != "" && in.AvailabilityZoneId != "":
		return nil, errCombination("The parameters availabilityZone and availabilityZoneId cannot be used together")
	}
	block, err := parseBlock(in.CidrBlock, "cidrBlock")
	if err != nil {
		return nil, err
	}
	tags, err := tagsOnCreate(in.TagSpecifications, "subnet")
	if err != nil {
		return nil, err
	}
	id := s.IDs.Resource("subnet-")
	var made *resource.Subnet
	err = s.update(ctx, in.DryRun, func(tx *store.Tx) error {
		v, err := vpcs.find(tx, info, in.VpcId)
		if err != nil {
			return err
		}
		if block.Bits() < 16 || block.Bits() > 28 || !within(v, block) {
			return awserr.New("InvalidSubnet.Range", "The CIDR '%s' is invalid.", in.CidrBlock)
		}
		zone, err := subnetZone(tx, info.Region, in.AvailabilityZone, in.AvailabilityZoneId)
		if err != nil {
			return err
		}
		index, err := freeSubnet(tx, v, block)
		if err != nil {
			return err
		}
		made = &resource.Subnet{
			Owned: s.owned(info, tags["subnet"]), ID: id, VPCID: v.ID, Zone: zone, CIDR: block.String(), Index: index,
			NetworkACL: v.DefaultACL, ACLAssoc: s.IDs.Resource("aclassoc-"),
		}
		if in.Ipv6CidrBlock != "" {
			if made.IPv6, err = s.subnetV6(tx, v, in.Ipv6CidrBlock); err != nil {
				return err
			}
		}
		return store.Subnets.Put(tx, made)
	})
	if err != nil {
		return nil, err
	}
	out := shapeSubnet(s.Store.Snapshot(), made)
	return &shape.CreateSubnetResult{Subnet: &out}, nil
}

// subnetZone gives the zone that a new subnet is to be in: the one asked for, else the region's first.
func subnetZone(r store.Reader, region, name, id string) (string, error) {
	var names []string
	for _, z := range vpcZones(r, region) {
		if (name == "" || z.Name == name) && (id == "" || z.ZoneID == id) {
			return z.Name, nil
		}
		names = append(names, z.Name)
	}
	parameter := "availabilityZone"
	if id != "" {
		parameter = "availabilityZoneId"
	}
	return "", awserr.New("InvalidParameterValue", "Value (%s) for parameter %s is invalid. Subnets can currently only be created in the following availability zones: %s.",
		name+id, parameter, strings.Join(names, ", "))
}

// freeSubnet checks that a VPC has room for a subnet, and gives its number.
func freeSubnet(r store.Reader, v *resource.VPC, block netip.Prefix) (uint32, error) {
	count, index := 0, uint32(0)
	for other := range store.SubnetsByVPC.By(r, v.ID) {
		if prefixOf(other.CIDR).Overlaps(block) {
			return 0, awserr.New("InvalidSubnet.Conflict", "The CIDR '%s' conflicts with another subnet", block)
		}
		index = max(index, other.Index)
		count++
	}
	if count >= maxSubnets {
		return 0, awserr.New("SubnetLimitExceeded", "The maximum number of subnets has been reached.")
	}
	return index + 1, nil
}

// CreateDefaultSubnet makes the default subnet of a zone again.
func (s *Service) CreateDefaultSubnet(ctx context.Context, in *shape.CreateDefaultSubnetRequest) (*shape.CreateDefaultSubnetResult, error) {
	info, err := s.begin(ctx, in)
	if err != nil {
		return nil, err
	}
	if in.AvailabilityZone == "" {
		return nil, errMissing("availabilityZone")
	}
	var made *resource.Subnet
	err = s.update(ctx, in.DryRun, func(tx *store.Tx) error {
		zone, err := subnetZone(tx, info.Region, in.AvailabilityZone, "")
		if err != nil {
			return err
		}
		v := defaultVPC(tx, info)
		if v == nil {
			return awserr.New("DefaultVpcDoesNotExist", "No default VPC exists for this account in this region.")
		}
		if old := defaultSubnet(tx, v.ID, zone); old != nil {
			return awserr.New("DefaultSubnetAlreadyExistsInAvailabilityZone", "'%s' is already the default subnet in %s.", old.ID, zone)
		}
		if err := CreateDefaultSubnet(tx, s.IDs, s.now(), v, zone); errors.Is(err, errNoRoom) {
			return awserr.New("InvalidSubnet.Conflict", "The default VPC has no room for another default subnet")
		} else if err != nil {
			return err
		}
		made = defaultSubnet(tx, v.ID, zone)
		return nil
	})
	if err != nil {
		return nil, err
	}
	out := shapeSubnet(s.Store.Snapshot(), made)
	return &shape.CreateDefaultSubnetResult{Subnet: &out}, nil
}

// DeleteSubnet deletes a subnet without interfaces.
func (s *Service) DeleteSubnet(ctx context.Context, in *shape.DeleteSubnetRequest) (*shape.DeleteSubnetResult, error) {
	info, err := s.begin(ctx, in)
	if err != nil {
		return nil, err
	}
	if in.SubnetId == "" {
		return nil, errMissing("subnetId")
	}
	err = s.update(ctx, in.DryRun, func(tx *store.Tx) error {
		sub, err := subnets.find(tx, info, in.SubnetId)
		if err != nil {
			return err
		}
		if store.InterfacesBySubnet.One(tx, sub.ID) != nil {
			return errDependent("subnet", sub.ID)
		}
		return dropSubnet(tx, sub)
	})
	if err != nil {
		return nil, err
	}
	return &shape.DeleteSubnetResult{}, nil
}

// ModifySubnetAttribute changes one attribute.
func (s *Service) ModifySubnetAttribute(ctx context.Context, in *shape.ModifySubnetAttributeRequest) (*shape.ModifySubnetAttributeResult, error) {
	info, err := s.begin(ctx, in)
	if err != nil {
		return nil, err
	}
	if in.SubnetId == "" {
		return nil, errMissing("subnetId")
	}
	if err := oneOf("privateDnsHostnameTypeOnLaunch", in.PrivateDnsHostnameTypeOnLaunch, "ip-name", "resource-name"); err != nil {
		return nil, err
	}
	if in.PrivateDnsHostnameTypeOnLaunch == "resource-name" {
		return nil, errUnsupported("Resource-based host names are not supported by this cloud.")
	}
	given := 0
	for _, a := range []*shape.AttributeBooleanValue{
		in.AssignIpv6AddressOnCreation, in.MapPublicIpOnLaunch, in.MapCustomerOwnedIpOnLaunch, in.EnableDns64,
		in.EnableResourceNameDnsARecordOnLaunch, in.EnableResourceNameDnsAAAARecordOnLaunch, in.DisableLniAtDeviceIndex,
	} {
		if a != nil {
			given++
		}
	}
	if in.PrivateDnsHostnameTypeOnLaunch != "" {
		given++
	}
	switch {
	case given == 0:
		return nil, errMissing("attribute")
	case given > 1:
		return nil, errCombination("Only one attribute can be modified at a time.")
	}
	err = s.update(ctx, nil, func(tx *store.Tx) error {
		sub, err := subnets.find(tx, info, in.SubnetId)
		if err != nil {
			return err
		}
		next := *sub
		if a := in.MapPublicIpOnLaunch; a != nil {
			next.MapPublicIP = isTrue(a.Value)
		}
		if a := in.AssignIpv6AddressOnCreation; a != nil {
			if isTrue(a.Value) && sub.IPv6 == nil {
				return awserr.New("InvalidParameterValue", "Invalid value 'true' for assignIpv6AddressOnCreation. Must be set to false unless the subnet has an IPv6 CIDR block.")
			}
			next.AssignIPv6 = isTrue(a.Value)
		}
		return store.Subnets.Put(tx, &next)
	})
	if err != nil {
		return nil, err
	}
	return &shape.ModifySubnetAttributeResult{}, nil
}

// subnetV6 checks an IPv6 range for a subnet.
func (s *Service) subnetV6(r store.Reader, v *resource.VPC, block string) (*resource.V6Block, error) {
	p, err := netip.ParsePrefix(block)
	if err != nil || !isV6(block) {
		return nil, awserr.New("InvalidParameterValue", "Value (%s) for parameter ipv6CidrBlock is invalid. This is not a valid CIDR block.", block)
	}
	p = p.Masked()
	if p.Bits() < 44 || p.Bits() > 64 || p.Bits()%4 != 0 || !slices.ContainsFunc(v.IPv6, func(b resource.V6Block) bool {
		return prefixOf(b.CIDR).Bits() <= p.Bits() && prefixOf(b.CIDR).Overlaps(p)
	}) {
		return nil, awserr.New("InvalidSubnet.Range", "The CIDR '%s' is invalid.", block)
	}
	for other := range store.SubnetsByVPC.By(r, v.ID) {
		if other.IPv6 != nil && prefixOf(other.IPv6.CIDR).Overlaps(p) {
			return nil, awserr.New("InvalidSubnet.Conflict", "The CIDR '%s' conflicts with another subnet", block)
		}
	}
	return &resource.V6Block{AssociationID: s.IDs.Resource("subnet-cidr-assoc-"), CIDR: p.String()}, nil
}
