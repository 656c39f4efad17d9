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

// AssignPrivateIpAddresses gives an interface further private addresses.
func (s *Service) AssignPrivateIpAddresses(ctx context.Context, in *shape.AssignPrivateIpAddressesRequest) (*shape.AssignPrivateIpAddressesResult, error) {
	info, err := s.begin(ctx, in)
	if err != nil {
		return nil, err
	}
	count := 0
	if in.SecondaryPrivateIpAddressCount != nil {
		count = *in.SecondaryPrivateIpAddressCount
	}
	switch {
	case in.NetworkInterfaceId == "":
		return nil, errMissing("networkInterfaceId")
	case len(in.PrivateIpAddresses) == 0 && in.SecondaryPrivateIpAddressCount == nil:
		return nil, awserr.New("MissingParameter", "Either privateIpAddresses or secondaryPrivateIpAddressCount must be given")
	case len(in.PrivateIpAddresses) > 0 && in.SecondaryPrivateIpAddressCount != nil:
		return nil, errCombination("The parameters privateIpAddresses and secondaryPrivateIpAddressCount cannot be used together")
	case in.SecondaryPrivateIpAddressCount != nil && (count < 1 || count > maxSecondary):
		return nil, errValue(itoa(count), "secondaryPrivateIpAddressCount")
	}
	rnd := s.random()
	out := &shape.AssignPrivateIpAddressesResult{NetworkInterfaceId: in.NetworkInterfaceId}
	err = s.update(ctx, nil, func(tx *store.Tx) error {
		out.AssignedPrivateIpAddresses = nil
		e, err := editable(tx, info, in.NetworkInterfaceId)
		if err != nil {
			return err
		}
		sub := store.Subnets.Get(tx, e.SubnetID)
		next, taken := *e, map[string]bool{}
		next.Secondary = slices.Clone(e.Secondary)
		for _, want := range append(slices.Clone(in.PrivateIpAddresses), make([]string, count)...) {
			if want != "" && slices.ContainsFunc(next.Addresses(), func(a resource.PrivateAddress) bool { return a.PrivateIP == want }) {
				if want == e.PrivateIP {
					return awserr.New("InvalidParameterValue", "Address %s is the primary address of %s", want, e.ID)
				}
				continue // it has it
			}
			if want != "" && isTrue(in.AllowReassignment) {
				if err := s.reassign(tx, info, e, want); err != nil {
					return err
				}
			}
			ip, err := takeAddress(tx, sub, want, taken, rnd)
			if err != nil {
				return err
			}
			next.Secondary = append(next.Secondary, resource.PrivateAddress{PrivateIP: ip})
			out.AssignedPrivateIpAddresses = append(out.AssignedPrivateIpAddresses, shape.AssignedPrivateIpAddress{PrivateIpAddress: ip})
		}
		if err := s.checkAddressLimit(tx, &next); err != nil {
			return err
		}
		return store.Interfaces.Put(tx, &next)
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// reassign takes a further address from the interface of the caller's that has it.
func (s *Service) reassign(tx *store.Tx, info *call.Info, to *resource.Interface, ip string) error {
	other := store.InterfacesByIP.One(tx, to.VPCID+"/"+ip)
	if other == nil || other.ID == to.ID || other.PrivateIP == ip || !interfaces.mine(info, other) || other.Requester != "" {
		return nil // takeAddress says what is wrong
	}
	return s.unassign(tx, other, []string{ip})
}

// unassign takes further addresses from an interface; their elastic IPs are free again.
func (s *Service) unassign(tx *store.Tx, e *resource.Interface, ips []string) error {
	for _, a := range e.Secondary {
		if slices.Contains(ips, a.PrivateIP) && a.AllocationID != "" {
			if err := s.dissociate(tx, store.Addresses.Get(tx, a.AllocationID)); err != nil {
				return err
			}
		}
	}
	next := *store.Interfaces.Get(tx, e.ID)
	next.Secondary = slices.DeleteFunc(slices.Clone(next.Secondary), func(a resource.PrivateAddress) bool { return slices.Contains(ips, a.PrivateIP) })
	return store.Interfaces.Put(tx, &next)
}

// checkAddressLimit holds an interface to its instance type's number of addresses.
func (s *Service) checkAddressLimit(r store.Reader, e *resource.Interface) error {
	most := maxSecondary + 1
	if inst := store.Instances.Get(r, e.InstanceID); inst != nil {
		types, err := s.Types.At(r)
		if err != nil {
			return err
		}
		if t := types.Get(inst.Type); t != nil {
			most = t.AddressesPerInterface()
		}
	}
	if len(e.Addresses()) > most {
		return awserr.New("PrivateIpAddressLimitExceeded", "Number of private addresses will exceed limit.")
	}
	return nil
}

// UnassignPrivateIpAddresses takes further addresses from an interface.
func (s *Service) UnassignPrivateIpAddresses(ctx context.Context, in *shape.UnassignPrivateIpAddressesRequest) (*shape.UnassignPrivateIpAddressesResult, error) {
	info, err := s.begin(ctx, in)
	if err != nil {
		return nil, err
	}
	if len(in.PrivateIpAddresses) == 0 {
		return nil, errMissing("privateIpAddresses")
	}
	err = s.update(ctx, nil, func(tx *store.Tx) error {
		e, err := editable(tx, info, in.NetworkInterfaceId)
		if err != nil {
			return err
		}
		for _, ip := range in.PrivateIpAddresses {
			if !slices.ContainsFunc(e.Secondary, func(a resource.PrivateAddress) bool { return a.PrivateIP == ip }) {
				return awserr.New("InvalidParameterValue", "Some of [%s] are not assigned to interface %s", strings.Join(in.PrivateIpAddresses, ", "), e.ID)
			}
		}
		return s.unassign(tx, e, in.PrivateIpAddresses)
	})
	if err != nil {
		return nil, err
	}
	return &shape.UnassignPrivateIpAddressesResult{}, nil
}
