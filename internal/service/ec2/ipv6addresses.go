package ec2

import (
	"context"
	"encoding/binary"
	"net/netip"
	"slices"
	"strings"

	"karri.dev/internal/aws/awserr"
	shape "karri.dev/internal/aws/shape/ec2"
	"karri.dev/internal/resource"
	"karri.dev/internal/store"
)

func ipv6Texts(list []shape.InstanceIpv6Address) (out []string) {
	for _, a := range list {
		out = append(out, a.Ipv6Address)
	}
	return out
}

// readIPv6 reads what a request says of IPv6 addresses.
func (spec *interfaceSpec) readIPv6(list []string, count *int, primary *bool) (err error) {
	spec.primary6 = isTrue(primary)
	if count != nil && len(list) > 0 {
		return errCombination("The parameters ipv6Addresses and ipv6AddressCount cannot be used together")
	}
	if count != nil {
		if *count < 0 || *count > maxSecondary+1 {
			return errValue(itoa(*count), "ipv6AddressCount")
		}
		spec.sixCount, spec.sixGiven = *count, true
	}
	spec.six, err = canonicalIPv6(list)
	return err
}

// canonicalIPv6 checks addresses and gives them as they are kept: one spelling each.
func canonicalIPv6(list []string) (out []string, err error) {
	for _, text := range list {
		a, err := netip.ParseAddr(text)
		if err != nil || !a.Is6() || a.Is4In6() || a.Zone() != "" {
			return nil, awserr.New("InvalidParameterValue", "Value (%s) for parameter ipv6Addresses is invalid. This is not a valid IPv6 address.", text)
		}
		if slices.Contains(out, a.String()) {
			return nil, awserr.New("InvalidParameterValue", "The address %s is given twice", a)
		}
		out = append(out, a.String())
	}
	return out, nil
}

// takeIPv6 gives free IPv6 addresses of a subnet: those asked for and, of the subnet's choice, count more.
func takeIPv6(r store.Reader, sub *resource.Subnet, want []string, count int, rnd rng) (out []string, err error) {
	if len(want)+count == 0 {
		return nil, nil
	}
	if sub.IPv6 == nil {
		return nil, awserr.New("InvalidParameterValue", "The subnet '%s' does not have an IPv6 CIDR block", sub.ID)
	}
	block := prefixOf(sub.IPv6.CIDR)
	used := func(a netip.Addr) bool {
		return slices.Contains(out, a.String()) || store.InterfacesByIP.One(r, sub.VPCID+"/"+a.String()) != nil
	}
	for _, text := range want {
		a, err := netip.ParseAddr(text)
		switch {
		case err != nil || !block.Contains(a):
			return nil, awserr.New("InvalidParameterValue", "Address %s does not fall within the subnet's address range", text)
		case reserved6(block, a):
			return nil, awserr.New("InvalidParameterValue", "Address %s is in subnet's reserved address range", text)
		case used(a):
			return nil, awserr.New("InvalidIPAddress.InUse", "Address %s is in use.", text)
		}
		out = append(out, a.String())
	}
	for range count {
		for { // of 2^64 or more there is always one
			if a := random6(block, rnd); !reserved6(block, a) && !used(a) {
				out = append(out, a.String())
				break
			}
		}
	}
	return out, nil
}

// reserved6 says whether an address is one of those that AWS keeps in each subnet: the first four and the last.
func reserved6(block netip.Prefix, a netip.Addr) bool {
	first := block.Masked().Addr()
	for range 4 {
		if a == first {
			return true
		}
		first = first.Next()
	}
	return !block.Contains(a.Next())
}

// random6 gives any address of a range.
func random6(block netip.Prefix, rnd rng) netip.Addr {
	first, out := block.Masked().Addr().As16(), [16]byte{}
	binary.BigEndian.PutUint64(out[:8], rnd.Uint64())
	binary.BigEndian.PutUint64(out[8:], rnd.Uint64())
	for i := range out {
		mask := byte(0xff) >> min(8, max(0, block.Bits()-8*i)) // the bits that are free
		out[i] = first[i] | out[i]&mask
	}
	return netip.AddrFrom16(out)
}

// AssignIpv6Addresses gives an interface IPv6 addresses.
func (s *Service) AssignIpv6Addresses(ctx context.Context, in *shape.AssignIpv6AddressesRequest) (*shape.AssignIpv6AddressesResult, error) {
	info, err := s.begin(ctx, in)
	if err != nil {
		return nil, err
	}
	switch {
	case in.NetworkInterfaceId == "":
		return nil, errMissing("networkInterfaceId")
	case len(in.Ipv6Addresses) == 0 && in.Ipv6AddressCount == nil:
		return nil, awserr.New("MissingParameter", "Either ipv6Addresses or ipv6AddressCount must be given")
	case in.Ipv6AddressCount != nil && *in.Ipv6AddressCount < 1:
		return nil, errValue(itoa(*in.Ipv6AddressCount), "ipv6AddressCount")
	}
	var spec interfaceSpec
	if err := spec.readIPv6(in.Ipv6Addresses, in.Ipv6AddressCount, nil); err != nil {
		return nil, err
	}
	rnd := s.random()
	out := &shape.AssignIpv6AddressesResult{NetworkInterfaceId: in.NetworkInterfaceId}
	err = s.update(ctx, nil, func(tx *store.Tx) error {
		e, err := editable(tx, info, in.NetworkInterfaceId)
		if err != nil {
			return err
		}
		want := slices.DeleteFunc(slices.Clone(spec.six), func(a string) bool { return slices.Contains(e.IPv6, a) }) // it has them
		given, err := takeIPv6(tx, store.Subnets.Get(tx, e.SubnetID), want, spec.sixCount, rnd)
		if err != nil {
			return err
		}
		next := *e
		next.IPv6 = append(slices.Clone(e.IPv6), given...)
		out.AssignedIpv6Addresses = given
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

// UnassignIpv6Addresses takes IPv6 addresses from an interface.
func (s *Service) UnassignIpv6Addresses(ctx context.Context, in *shape.UnassignIpv6AddressesRequest) (*shape.UnassignIpv6AddressesResult, error) {
	info, err := s.begin(ctx, in)
	if err != nil {
		return nil, err
	}
	switch {
	case in.NetworkInterfaceId == "":
		return nil, errMissing("networkInterfaceId")
	case len(in.Ipv6Addresses) == 0:
		return nil, errMissing("ipv6Addresses")
	}
	gone, err := canonicalIPv6(in.Ipv6Addresses)
	if err != nil {
		return nil, err
	}
	err = s.update(ctx, nil, func(tx *store.Tx) error {
		e, err := editable(tx, info, in.NetworkInterfaceId)
		if err != nil {
			return err
		}
		for _, a := range gone {
			if !slices.Contains(e.IPv6, a) {
				return awserr.New("InvalidParameterValue", "Some of [%s] are not assigned to interface %s", strings.Join(gone, ", "), e.ID)
			}
		}
		if e.Primary6 && e.InstanceID != "" && slices.Contains(gone, e.IPv6[0]) {
			return awserr.New("OperationNotPermitted", "The primary IPv6 address %s cannot be unassigned while an instance has the network interface '%s'.", e.IPv6[0], e.ID)
		}
		next := *e
		next.IPv6 = slices.DeleteFunc(slices.Clone(e.IPv6), func(a string) bool { return slices.Contains(gone, a) })
		return store.Interfaces.Put(tx, &next)
	})
	if err != nil {
		return nil, err
	}
	return &shape.UnassignIpv6AddressesResult{NetworkInterfaceId: in.NetworkInterfaceId, UnassignedIpv6Addresses: gone}, nil
}
