package ec2

import (
	"context"
	"slices"
	"strings"

	"karri.dev/internal/aws/awserr"
	"karri.dev/internal/aws/call"
	shape "karri.dev/internal/aws/shape/ec2"
	"karri.dev/internal/instancetype"
	"karri.dev/internal/resource"
	"karri.dev/internal/store"
)

// AssignPrivateIpAddresses gives an interface further private addresses.
func (s *Service) AssignPrivateIpAddresses(ctx context.Context, in *shape.AssignPrivateIpAddressesRequest) (*shape.AssignPrivateIpAddressesResult, error) {
	info, err := s.begin(ctx, in)
	if err != nil {
		return nil, err
	}
	var spec interfaceSpec
	if spec.count, err = furtherCount(in.SecondaryPrivateIpAddressCount); err != nil {
		return nil, err
	}
	spec.secondary = in.PrivateIpAddresses
	switch {
	case in.NetworkInterfaceId == "":
		return nil, errMissing("networkInterfaceId")
	case len(in.PrivateIpAddresses)+len(in.Ipv4Prefixes) == 0 && in.SecondaryPrivateIpAddressCount == nil && in.Ipv4PrefixCount == nil:
		return nil, awserr.New("MissingParameter", "Either privateIpAddresses or secondaryPrivateIpAddressCount must be given")
	case len(in.PrivateIpAddresses) > 0 && in.SecondaryPrivateIpAddressCount != nil:
		return nil, errCombination("The parameters privateIpAddresses and secondaryPrivateIpAddressCount cannot be used together")
	}
	if err := spec.readPrefixes(in.Ipv4Prefixes, in.Ipv4PrefixCount); err != nil {
		return nil, err
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
		for _, want := range append(slices.Clone(spec.secondary), make([]string, spec.count)...) {
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
		if err := giveIPv4Prefixes(tx, &next, sub, spec.prefixes, taken, rnd); err != nil {
			return err
		}
		out.AssignedIpv4Prefixes = shapePrefixes(next.Prefixes[len(e.Prefixes):])
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
			if err := dissociate(tx, store.Addresses.Get(tx, a.AllocationID)); err != nil {
				return err
			}
		}
	}
	next := *store.Interfaces.Get(tx, e.ID)
	next.Secondary = slices.DeleteFunc(slices.Clone(next.Secondary), func(a resource.PrivateAddress) bool { return slices.Contains(ips, a.PrivateIP) })
	return store.Interfaces.Put(tx, &next)
}

// addressesFit checks an interface's number of addresses and delegated prefixes, of which each counts like one, for an
// instance type; nil is none.
func addressesFit(t *instancetype.Type, addresses, six, prefixes int) error {
	most := maxSecondary + 1
	if t != nil {
		most = t.AddressesPerInterface()
	}
	switch {
	case prefixes > 0 && t != nil && t.Hypervisor != "nitro":
		return errUnsupported("Delegated prefixes are supported for Nitro instances only; the instance type '%s' is none.", t.Name)
	case addresses+prefixes > most, six > most:
		return awserr.New("PrivateIpAddressLimitExceeded", "Number of private addresses will exceed limit.")
	}
	return nil
}

// checkAddressLimit holds an interface to its instance type's number of addresses.
func (s *Service) checkAddressLimit(r store.Reader, e *resource.Interface) error {
	if inst := store.Instances.Get(r, e.InstanceID); inst != nil {
		types, err := s.Types.At(r)
		if err != nil {
			return err
		}
		if t := types.Get(inst.Type); t != nil {
			return addressesFit(t, len(e.Addresses()), len(e.IPv6), len(e.Prefixes))
		}
	}
	return addressesFit(nil, len(e.Addresses()), len(e.IPv6), len(e.Prefixes))
}

// UnassignPrivateIpAddresses takes further addresses from an interface.
func (s *Service) UnassignPrivateIpAddresses(ctx context.Context, in *shape.UnassignPrivateIpAddressesRequest) (*shape.UnassignPrivateIpAddressesResult, error) {
	info, err := s.begin(ctx, in)
	if err != nil {
		return nil, err
	}
	if len(in.PrivateIpAddresses)+len(in.Ipv4Prefixes) == 0 {
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
		for _, p := range in.Ipv4Prefixes {
			if !slices.Contains(e.IPv4Prefixes(), p) {
				return awserr.New("InvalidParameterValue", "Some of [%s] are not assigned to interface %s", strings.Join(in.Ipv4Prefixes, ", "), e.ID)
			}
		}
		next := *e
		next.Prefixes = slices.DeleteFunc(slices.Clone(e.Prefixes), func(p string) bool { return slices.Contains(in.Ipv4Prefixes, p) })
		if err := store.Interfaces.Put(tx, &next); err != nil {
			return err
		}
		return s.unassign(tx, &next, in.PrivateIpAddresses)
	})
	if err != nil {
		return nil, err
	}
	return &shape.UnassignPrivateIpAddressesResult{}, nil
}
