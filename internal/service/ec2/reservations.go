package ec2

import (
	"context"
	"net/netip"
	"slices"

	"karri.dev/internal/aws/awserr"
	shape "karri.dev/internal/aws/shape/ec2"
	"karri.dev/internal/filter"
	"karri.dev/internal/resource"
	"karri.dev/internal/store"
)

// reservations are those of a subnet.
type reservations []*resource.CIDRReservation

func reservationsOf(r store.Reader, sub *resource.Subnet) reservations {
	return slices.Collect(store.CIDRReservationsBySubnet.By(r, sub.ID))
}

// overlap says whether something of p is reserved.
func (l reservations) overlap(p netip.Prefix) bool {
	return slices.ContainsFunc(l, func(c *resource.CIDRReservation) bool { return prefixOf(c.CIDR).Overlaps(p) })
}

// forPrefixes says whether p lies in a range that is reserved for delegated prefixes.
func (l reservations) forPrefixes(p netip.Prefix) bool {
	return slices.ContainsFunc(l, func(c *resource.CIDRReservation) bool {
		own := prefixOf(c.CIDR)
		return c.ForPrefixes && own.Bits() <= p.Bits() && own.Contains(p.Addr())
	})
}

func shapeReservation(_ store.Reader, c *resource.CIDRReservation) shape.SubnetCidrReservation {
	return shape.SubnetCidrReservation{
		SubnetCidrReservationId: c.ID, SubnetId: c.SubnetID, Cidr: c.CIDR, ReservationType: c.Type(), OwnerId: c.AccountID, Description: c.Description, Tags: shapeTags(c.Tags),
	}
}

// CreateSubnetCidrReservation keeps a range of a subnet from being given out unasked.
func (s *Service) CreateSubnetCidrReservation(ctx context.Context, in *shape.CreateSubnetCidrReservationRequest) (*shape.CreateSubnetCidrReservationResult, error) {
	info, err := s.begin(ctx, in)
	if err != nil {
		return nil, err
	}
	switch {
	case in.SubnetId == "":
		return nil, errMissing("subnetId")
	case in.Cidr == "":
		return nil, errMissing("cidr")
	case in.ReservationType == "":
		return nil, errMissing("reservationType")
	case len(in.Description) > 255:
		return nil, awserr.New("InvalidParameterValue", "The description has more than 255 characters.")
	}
	if err := oneOf("reservationType", in.ReservationType, "prefix", "explicit"); err != nil {
		return nil, err
	}
	block, err := netip.ParsePrefix(in.Cidr)
	if err != nil || block != block.Masked() {
		return nil, awserr.New("InvalidParameterValue", "Value (%s) for parameter cidr is invalid. This is not a valid CIDR block.", in.Cidr)
	}
	if in.ReservationType == "prefix" && block.Addr().Is4() && block.Bits() > delegatedBits {
		return nil, awserr.New("InvalidParameterValue", "Value (%s) for parameter cidr is invalid. A range for prefixes has at least a /%d.", in.Cidr, delegatedBits)
	}
	tags, err := tagsOnCreate(in.TagSpecifications, "subnet-cidr-reservation")
	if err != nil {
		return nil, err
	}
	made := &resource.CIDRReservation{
		Owned: s.owned(info, tags["subnet-cidr-reservation"]), ID: s.IDs.Resource("scr-"), SubnetID: in.SubnetId, CIDR: block.String(),
		ForPrefixes: in.ReservationType == "prefix", Description: in.Description,
	}
	err = s.update(ctx, in.DryRun, func(tx *store.Tx) error {
		sub, err := subnets.find(tx, info, in.SubnetId)
		if err != nil {
			return err
		}
		kept := reservationsOf(tx, sub)
		switch own := prefixOf(sub.CIDR); {
		case !block.Addr().Is4():
			return errUnsupported("Ranges of IPv6 cannot be reserved in this cloud.")
		case own.Bits() > block.Bits() || !own.Contains(block.Addr()):
			return awserr.New("InvalidParameterValue", "The CIDR '%s' is not within the CIDR '%s' of the subnet.", block, own)
		case kept.overlap(block):
			return awserr.New("InvalidSubnetCidrReservation.Conflict", "The CIDR '%s' overlaps with another reservation of the subnet.", block)
		case len(kept) >= maxReservations:
			return awserr.New("SubnetCidrReservationLimitExceeded", "The maximum number of CIDR reservations of the subnet has been reached.")
		}
		return store.CIDRReservations.Put(tx, made)
	})
	if err != nil {
		return nil, err
	}
	out := shapeReservation(nil, made)
	return &shape.CreateSubnetCidrReservationResult{SubnetCidrReservation: &out}, nil
}

// maxReservations is how many a subnet can have: each is looked at when an address is picked.
const maxReservations = 50

var reservationFilters = &filter.Set[*resource.CIDRReservation]{
	Fields: map[string]func(*resource.CIDRReservation) []string{
		"reservationType":  func(c *resource.CIDRReservation) []string { return one(c.Type()) },
		"reservation-type": func(c *resource.CIDRReservation) []string { return one(c.Type()) },
		"subnet-id":        func(c *resource.CIDRReservation) []string { return one(c.SubnetID) },
	},
	Tags: func(c *resource.CIDRReservation) map[string]string { return c.Tags },
}

// GetSubnetCidrReservations lists a subnet's reservations.
func (s *Service) GetSubnetCidrReservations(ctx context.Context, in *shape.GetSubnetCidrReservationsRequest) (*shape.GetSubnetCidrReservationsResult, error) {
	info, r, err := s.read(ctx, in, in.DryRun)
	if err != nil {
		return nil, err
	}
	if in.SubnetId == "" {
		return nil, errMissing("subnetId")
	}
	if _, err := subnets.find(r, info, in.SubnetId); err != nil {
		return nil, err
	}
	match, err := compile(reservationFilters, in.Filters)
	if err != nil {
		return nil, err
	}
	list, next, err := list(s, r, info, cidrReservations, selection[resource.CIDRReservation]{
		op: "GetSubnetCidrReservations/" + in.SubnetId, max: in.MaxResults, token: in.NextToken,
		match: func(c *resource.CIDRReservation) bool { return c.SubnetID == in.SubnetId && (match == nil || match(c)) },
	})
	if err != nil {
		return nil, err
	}
	return &shape.GetSubnetCidrReservationsResult{
		SubnetIpv4CidrReservations: showAll(r, list, shapeReservation), SubnetIpv6CidrReservations: []shape.SubnetCidrReservation{}, NextToken: next,
	}, nil
}

// DeleteSubnetCidrReservation frees a range; addresses of it that are in use stay so.
func (s *Service) DeleteSubnetCidrReservation(ctx context.Context, in *shape.DeleteSubnetCidrReservationRequest) (*shape.DeleteSubnetCidrReservationResult, error) {
	info, err := s.begin(ctx, in)
	if err != nil {
		return nil, err
	}
	if in.SubnetCidrReservationId == "" {
		return nil, errMissing("subnetCidrReservationId")
	}
	var gone shape.SubnetCidrReservation
	err = s.update(ctx, in.DryRun, func(tx *store.Tx) error {
		c, err := cidrReservations.find(tx, info, in.SubnetCidrReservationId)
		if err != nil {
			return err
		}
		gone = shapeReservation(tx, c)
		store.CIDRReservations.Delete(tx, c.ID)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return &shape.DeleteSubnetCidrReservationResult{DeletedSubnetCidrReservation: &gone}, nil
}
