package ec2

import (
	"context"
	"slices"
	"strings"

	"karri.dev/internal/aws/awserr"
	"karri.dev/internal/aws/call"
	shape "karri.dev/internal/aws/shape/ec2"
	"karri.dev/internal/resource"
	"karri.dev/internal/store"
)

// changeNAT changes the addresses of an available NAT gateway of the caller's, of the one kind or the other, and shows
// those that change gave or took, with the status that they are in meanwhile. change is given the gateway's interface.
func (s *Service) changeNAT(ctx context.Context, info *call.Info, dryRun *bool, id string, private bool, status string,
	change func(tx *store.Tx, g *resource.NATGateway, eni *resource.Interface) ([]resource.PrivateAddress, error),
) ([]shape.NatGatewayAddress, error) {
	if id == "" {
		return nil, errMissing("natGatewayId")
	}
	var out []shape.NatGatewayAddress
	err := s.update(ctx, dryRun, func(tx *store.Tx) error {
		g, err := natGateways.find(tx, info, id)
		if err != nil {
			return err
		}
		switch {
		case g.State != resource.NATAvailable:
			return awserr.New("IncorrectState", "The NAT gateway '%s' is in the state '%s'.", g.ID, g.State)
		case g.Private != private:
			return awserr.New("InvalidParameter", "The NAT gateway '%s' is %s.", g.ID, choose(g.Private, "private", "public"))
		}
		changed, err := change(tx, g, store.Interfaces.Get(tx, g.InterfaceID))
		out = nil
		for _, a := range changed {
			out = append(out, shape.NatGatewayAddress{
				AllocationId: a.AllocationID, NetworkInterfaceId: g.InterfaceID, PrivateIp: a.PrivateIP, PublicIp: a.PublicIP, AssociationId: a.AssociationID, Status: status,
			})
		}
		return err
	})
	return out, err
}

// widenNAT gives a NAT gateway's interface further private addresses: those that are named, and any for "".
func (s *Service) widenNAT(tx *store.Tx, eni *resource.Interface, wanted []string, rnd rng) (*resource.Interface, error) {
	if len(eni.Addresses())+len(wanted) > maxNATPrivate {
		return nil, errNATAddresses()
	}
	next, taken := *eni, map[string]bool{}
	next.Secondary = slices.Clone(eni.Secondary)
	for _, want := range wanted {
		ip, err := takeAddress(tx, store.Subnets.Get(tx, eni.SubnetID), want, taken, rnd)
		if err != nil {
			return nil, err
		}
		next.Secondary = append(next.Secondary, resource.PrivateAddress{PrivateIP: ip})
	}
	return &next, store.Interfaces.Put(tx, &next)
}

// narrowNAT takes secondary addresses away that pass a test; there must be as many as wanted.
func narrowNAT(tx *store.Tx, eni *resource.Interface, wanted int, pass func(resource.PrivateAddress) bool) (gone []resource.PrivateAddress, err error) {
	next := *eni
	next.Secondary = nil
	for _, a := range eni.Secondary {
		if pass(a) {
			gone = append(gone, a)
		} else {
			next.Secondary = append(next.Secondary, a)
		}
	}
	if len(gone) != wanted {
		return nil, awserr.New("InvalidParameter", "Only secondary addresses of the NAT gateway can be taken from it, each once.")
	}
	return gone, store.Interfaces.Put(tx, &next)
}

// AssociateNatGatewayAddress gives a public NAT gateway further elastic IPs.
func (s *Service) AssociateNatGatewayAddress(ctx context.Context, in *shape.AssociateNatGatewayAddressRequest) (*shape.AssociateNatGatewayAddressResult, error) {
	info, err := s.begin(ctx, in)
	if err != nil {
		return nil, err
	}
	switch {
	case len(in.AllocationIds) == 0:
		return nil, errMissing("allocationId")
	case len(in.PrivateIpAddresses) > len(in.AllocationIds):
		return nil, errCombination("There are more private addresses than allocations")
	}
	rnd := s.random()
	list, err := s.changeNAT(ctx, info, in.DryRun, in.NatGatewayId, false, "associating", func(tx *store.Tx, g *resource.NATGateway, eni *resource.Interface) ([]resource.PrivateAddress, error) {
		have := len(eni.Addresses())
		if err := checkNATElastic(have + len(in.AllocationIds)); err != nil {
			return nil, err
		}
		if _, err := s.widenNAT(tx, eni, append(slices.Clone(in.PrivateIpAddresses), make([]string, len(in.AllocationIds)-len(in.PrivateIpAddresses))...), rnd); err != nil {
			return nil, err
		}
		for i, id := range in.AllocationIds {
			a, err := addresses.find(tx, info, id)
			if err != nil {
				return nil, err
			}
			if a.AssociationID != "" {
				return nil, awserr.New("Resource.AlreadyAssociated", "Elastic IP address [%s] is already associated", a.AllocationID)
			}
			if err := s.giveNAT(tx, a, g, have+i); err != nil {
				return nil, err
			}
		}
		return store.Interfaces.Get(tx, eni.ID).Addresses()[have:], nil
	})
	if err != nil {
		return nil, err
	}
	return &shape.AssociateNatGatewayAddressResult{NatGatewayId: in.NatGatewayId, NatGatewayAddresses: list}, nil
}

// checkDrain checks for how long AWS would let connections end; here they end at once.
func checkDrain(seconds *int) error {
	if seconds != nil && (*seconds < 1 || *seconds > 4000) {
		return errValue(itoa(*seconds), "maxDrainDurationSeconds")
	}
	return nil
}

// DisassociateNatGatewayAddress takes elastic IPs from a public NAT gateway, with their private addresses.
func (s *Service) DisassociateNatGatewayAddress(ctx context.Context, in *shape.DisassociateNatGatewayAddressRequest) (*shape.DisassociateNatGatewayAddressResult, error) {
	info, err := s.begin(ctx, in)
	if err != nil {
		return nil, err
	}
	if len(in.AssociationIds) == 0 {
		return nil, errMissing("associationId")
	}
	if err := checkDrain(in.MaxDrainDurationSeconds); err != nil {
		return nil, err
	}
	list, err := s.changeNAT(ctx, info, in.DryRun, in.NatGatewayId, false, "disassociating", func(tx *store.Tx, _ *resource.NATGateway, eni *resource.Interface) ([]resource.PrivateAddress, error) {
		for _, id := range in.AssociationIds {
			if !slices.ContainsFunc(eni.Addresses(), func(a resource.PrivateAddress) bool { return a.AssociationID == id }) {
				return nil, awserr.New("InvalidAssociationID.NotFound", "The association ID '%s' does not exist", id)
			}
		}
		gone, err := narrowNAT(tx, eni, len(in.AssociationIds), func(a resource.PrivateAddress) bool { return slices.Contains(in.AssociationIds, a.AssociationID) })
		for _, a := range gone {
			free := *store.Addresses.Get(tx, a.AllocationID)
			free.AssociationID, free.InterfaceID, free.PrivateIP, free.ManagedBy = "", "", "", ""
			if err := store.Addresses.Put(tx, &free); err != nil {
				return nil, err
			}
		}
		return gone, err
	})
	if err != nil {
		return nil, err
	}
	return &shape.DisassociateNatGatewayAddressResult{NatGatewayId: in.NatGatewayId, NatGatewayAddresses: list}, nil
}

// AssignPrivateNatGatewayAddress gives a private NAT gateway further addresses.
func (s *Service) AssignPrivateNatGatewayAddress(ctx context.Context, in *shape.AssignPrivateNatGatewayAddressRequest) (*shape.AssignPrivateNatGatewayAddressResult, error) {
	info, err := s.begin(ctx, in)
	if err != nil {
		return nil, err
	}
	wanted := in.PrivateIpAddresses
	switch n := in.PrivateIpAddressCount; {
	case len(wanted) == 0 && n == nil:
		return nil, awserr.New("MissingParameter", "Either privateIpAddresses or privateIpAddressCount must be given")
	case len(wanted) > 0 && n != nil:
		return nil, errCombination("The parameters privateIpAddresses and privateIpAddressCount cannot be used together")
	case n != nil && (*n < 1 || *n > maxNATPrivate):
		return nil, errValue(itoa(*n), "privateIpAddressCount")
	case n != nil:
		wanted = make([]string, *n)
	}
	rnd := s.random()
	list, err := s.changeNAT(ctx, info, in.DryRun, in.NatGatewayId, true, "assigning", func(tx *store.Tx, _ *resource.NATGateway, eni *resource.Interface) ([]resource.PrivateAddress, error) {
		next, err := s.widenNAT(tx, eni, wanted, rnd)
		if err != nil {
			return nil, err
		}
		return next.Addresses()[len(eni.Addresses()):], nil
	})
	if err != nil {
		return nil, err
	}
	return &shape.AssignPrivateNatGatewayAddressResult{NatGatewayId: in.NatGatewayId, NatGatewayAddresses: list}, nil
}

// UnassignPrivateNatGatewayAddress takes secondary addresses from a private NAT gateway.
func (s *Service) UnassignPrivateNatGatewayAddress(ctx context.Context, in *shape.UnassignPrivateNatGatewayAddressRequest) (*shape.UnassignPrivateNatGatewayAddressResult, error) {
	info, err := s.begin(ctx, in)
	if err != nil {
		return nil, err
	}
	if len(in.PrivateIpAddresses) == 0 {
		return nil, errMissing("privateIpAddress")
	}
	if err := checkDrain(in.MaxDrainDurationSeconds); err != nil {
		return nil, err
	}
	list, err := s.changeNAT(ctx, info, in.DryRun, in.NatGatewayId, true, "unassigning", func(tx *store.Tx, g *resource.NATGateway, eni *resource.Interface) ([]resource.PrivateAddress, error) {
		for _, ip := range in.PrivateIpAddresses {
			if !slices.ContainsFunc(eni.Addresses(), func(a resource.PrivateAddress) bool { return a.PrivateIP == ip }) {
				return nil, awserr.New("InvalidParameterValue", "Some of [%s] are not assigned to %s", strings.Join(in.PrivateIpAddresses, ", "), g.ID)
			}
		}
		return narrowNAT(tx, eni, len(in.PrivateIpAddresses), func(a resource.PrivateAddress) bool { return slices.Contains(in.PrivateIpAddresses, a.PrivateIP) })
	})
	if err != nil {
		return nil, err
	}
	return &shape.UnassignPrivateNatGatewayAddressResult{NatGatewayId: in.NatGatewayId, NatGatewayAddresses: list}, nil
}
