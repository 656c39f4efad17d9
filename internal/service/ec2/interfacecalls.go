package ec2

import (
	"context"
	"math/rand/v2"
	"net/netip"
	"slices"

	"karri.dev/internal/aws/awserr"
	"karri.dev/internal/aws/call"
	shape "karri.dev/internal/aws/shape/ec2"
	"karri.dev/internal/cidr"
	"karri.dev/internal/resource"
	"karri.dev/internal/store"
)

// Limits of AWS.
const (
	maxSecondary = 49 // of an interface that no instance has
)

// interfaceSpec is what a caller says of a new interface's addresses.
type interfaceSpec struct {
	ip        string
	secondary []string
	count     int      // of further addresses that the cloud picks
	prefixes  []string // delegated ones, of IPv4; "" is one that the cloud picks
	six       []string
	sixCount  int  // of IPv6 addresses that the cloud picks
	sixGiven  bool // 0 is meant
	primary6  bool // the first IPv6 address is to stay
}

// any says whether a caller has said anything.
func (spec *interfaceSpec) any() bool {
	return spec.ip != "" || len(spec.secondary)+spec.count+len(spec.prefixes)+len(spec.six)+spec.sixCount > 0 || spec.primary6
}

// readAddresses gathers the addresses of a request from the places where they can be said.
func readAddresses(ip string, list []shape.PrivateIpAddressSpecification, count *int) (spec interfaceSpec, err error) {
	spec.ip = ip
	for _, a := range list {
		switch {
		case a.PrivateIpAddress == "":
			return spec, errMissing("privateIpAddress")
		case isTrue(a.Primary) && spec.ip != "":
			return spec, errCombination("Only one primary private IP address can be specified.")
		case isTrue(a.Primary):
			spec.ip = a.PrivateIpAddress
		default:
			spec.secondary = append(spec.secondary, a.PrivateIpAddress)
		}
	}
	if spec.count, err = furtherCount(count); err != nil {
		return spec, err
	}
	if count != nil && len(spec.secondary) > 0 {
		return spec, errCombination("The parameters privateIpAddresses and secondaryPrivateIpAddressCount cannot be used together")
	}
	seen := map[string]bool{}
	for _, a := range append(one(spec.ip), spec.secondary...) {
		ip, err := netip.ParseAddr(a)
		if err != nil || !ip.Is4() {
			return spec, awserr.New("InvalidParameterValue", "invalid value for parameter address: %s", a)
		}
		if seen[a] {
			return spec, awserr.New("InvalidParameterValue", "The address %s is given twice", a)
		}
		seen[a] = true
	}
	return spec, nil
}

// furtherCount checks a number of further addresses.
func furtherCount(count *int) (int, error) {
	switch {
	case count == nil:
		return 0, nil
	case *count < 1 || *count > maxSecondary:
		return 0, errValue(itoa(*count), "secondaryPrivateIpAddressCount")
	}
	return *count, nil
}

// takeAddress gives a private address of a subnet: the one asked for, if it is free, or any. taken has those
// that were taken in this call and are not in the store yet.
func takeAddress(r store.Reader, sub *resource.Subnet, want string, taken map[string]bool, rnd *rand.Rand) (string, error) {
	block := prefixOf(sub.CIDR)
	room := cidr.Subnet(block)
	used := func(ip netip.Addr) bool {
		return taken[ip.String()] || store.InterfacesByIP.One(r, sub.VPCID+"/"+ip.String()) != nil
	}
	if want == "" {
		kept := reservationsOf(r, sub)
		ip, ok := room.Free(rnd.Uint32(), func(ip netip.Addr) bool { return used(ip) || kept.overlap(netip.PrefixFrom(ip, 32)) })
		if !ok {
			return "", awserr.New("InsufficientFreeAddressesInSubnet", "The specified subnet '%s' does not have enough free addresses to satisfy the request.", sub.ID)
		}
		taken[ip.String()] = true
		return ip.String(), nil
	}
	ip, err := netip.ParseAddr(want)
	switch {
	case err != nil || !block.Contains(ip):
		return "", awserr.New("InvalidParameterValue", "Address %s does not fall within the subnet's address range", want)
	case !room.Contains(ip):
		return "", awserr.New("InvalidParameterValue", "Address %s is in subnet's reserved address range", want)
	case used(ip):
		return "", awserr.New("InvalidIPAddress.InUse", "Address %s is in use.", want)
	}
	taken[want] = true
	return want, nil
}

// giveAddresses gives a new interface its private addresses and what follows of them.
func giveAddresses(r store.Reader, e *resource.Interface, sub *resource.Subnet, spec interfaceSpec, rnd *rand.Rand) (err error) {
	taken := map[string]bool{}
	if e.PrivateIP, err = takeAddress(r, sub, spec.ip, taken, rnd); err != nil {
		return err
	}
	for _, want := range append(slices.Clone(spec.secondary), make([]string, spec.count)...) {
		ip, err := takeAddress(r, sub, want, taken, rnd)
		if err != nil {
			return err
		}
		e.Secondary = append(e.Secondary, resource.PrivateAddress{PrivateIP: ip})
	}
	if err := giveIPv4Prefixes(r, e, sub, spec.prefixes, taken, rnd); err != nil {
		return err
	}
	v := store.VPCs.Get(r, sub.VPCID)
	e.VPCID, e.SubnetID, e.Zone, e.MAC = v.ID, sub.ID, sub.Zone, mac(v.VNI, netip.MustParseAddr(e.PrivateIP))
	if sub.AssignIPv6 && !spec.sixGiven && len(spec.six) == 0 && e.Kind == "" {
		spec.sixCount = 1
	}
	e.Primary6 = spec.primary6
	e.IPv6, err = takeIPv6(r, sub, spec.six, spec.sixCount, rnd)
	return err
}

// CreateNetworkInterface makes an interface that no instance has.
func (s *Service) CreateNetworkInterface(ctx context.Context, in *shape.CreateNetworkInterfaceRequest) (*shape.CreateNetworkInterfaceResult, error) {
	info, err := s.begin(ctx, in)
	if err != nil {
		return nil, err
	}
	if in.SubnetId == "" {
		return nil, errMissing("subnetId")
	}
	if err := oneOf("interfaceType", in.InterfaceType, "interface"); err != nil {
		return nil, errUnsupported("Interfaces of the type '%s' are not supported by this cloud.", in.InterfaceType)
	}
	if len(in.Description) > 255 {
		return nil, awserr.New("InvalidParameterValue", "The description has more than 255 characters.")
	}
	spec, err := readAddresses(in.PrivateIpAddress, in.PrivateIpAddresses, in.SecondaryPrivateIpAddressCount)
	if err != nil {
		return nil, err
	}
	if err := spec.readPrefixes(prefixTexts(in.Ipv4Prefixes), in.Ipv4PrefixCount); err != nil {
		return nil, err
	}
	if err := spec.readIPv6(ipv6Texts(in.Ipv6Addresses), in.Ipv6AddressCount, in.EnablePrimaryIpv6); err != nil {
		return nil, err
	}
	tags, err := tagsOnCreate(in.TagSpecifications, "network-interface")
	if err != nil {
		return nil, err
	}
	token, err := tokenOfRequest(in)
	if err != nil {
		return nil, err
	}
	id, rnd := s.IDs.Resource("eni-"), s.random()
	var made *resource.Interface
	err = s.update(ctx, in.DryRun, func(tx *store.Tx) error {
		for e := range store.InterfacesByOwner.By(tx, ownerKey(info)) {
			if token.same(e.Token) {
				made = e
				return token.check(e.Token)
			}
		}
		sub, err := subnets.find(tx, info, in.SubnetId)
		if err != nil {
			return err
		}
		made = &resource.Interface{Owned: s.owned(info, tags["network-interface"]), ID: id, Description: in.Description, Token: token.token}
		if made.Groups, err = groupsOr(tx, info, sub.VPCID, in.Groups); err != nil {
			return err
		}
		if err := giveAddresses(tx, made, sub, spec, rnd); err != nil {
			return err
		}
		return store.Interfaces.Put(tx, made)
	})
	if err != nil {
		return nil, err
	}
	out := s.shapeInterface(s.Store.Snapshot(), made)
	out.Status = "pending" // as AWS answers; it is there when the next call comes
	return &shape.CreateNetworkInterfaceResult{NetworkInterface: &out, ClientToken: in.ClientToken}, nil
}

// groupsOr gives checked groups for an interface, the VPC's default one if none are named.
func groupsOr(r store.Reader, info *call.Info, vpc string, ids []string) ([]string, error) {
	if len(ids) == 0 {
		return []string{store.VPCs.Get(r, vpc).DefaultGroup}, nil
	}
	return groupsIn(r, info, vpc, ids)
}

func errRequester(e *resource.Interface) error {
	return awserr.New("OperationNotPermitted", "You do not have permission to change the network interface '%s': %s keeps it.", e.ID, e.Requester)
}

// DeleteNetworkInterface deletes an interface that nothing has.
func (s *Service) DeleteNetworkInterface(ctx context.Context, in *shape.DeleteNetworkInterfaceRequest) (*shape.DeleteNetworkInterfaceResult, error) {
	info, err := s.begin(ctx, in)
	if err != nil {
		return nil, err
	}
	if in.NetworkInterfaceId == "" {
		return nil, errMissing("networkInterfaceId")
	}
	err = s.update(ctx, in.DryRun, func(tx *store.Tx) error {
		e, err := interfaces.find(tx, info, in.NetworkInterfaceId)
		if err != nil {
			return err
		}
		if e.InstanceID != "" || e.Requester != "" {
			return awserr.New("InvalidParameterValue", "Network interface '%s' is currently in use.", e.ID)
		}
		for _, address := range e.Addresses() {
			if a := store.Addresses.Get(tx, address.AllocationID); a != nil {
				if err := dissociate(tx, a); err != nil {
					return err
				}
			}
		}
		store.Interfaces.Delete(tx, e.ID)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return &shape.DeleteNetworkInterfaceResult{}, nil
}

// editable gives the caller's interface, unless a service keeps it.
func editable(r store.Reader, info *call.Info, id string) (*resource.Interface, error) {
	if id == "" {
		return nil, errMissing("networkInterfaceId")
	}
	e, err := interfaces.find(r, info, id)
	if err != nil {
		return nil, err
	}
	if e.Requester != "" {
		return nil, errRequester(e)
	}
	return e, nil
}

// DescribeNetworkInterfaceAttribute answers one attribute.
func (s *Service) DescribeNetworkInterfaceAttribute(ctx context.Context, in *shape.DescribeNetworkInterfaceAttributeRequest) (*shape.DescribeNetworkInterfaceAttributeResult, error) {
	info, r, err := s.read(ctx, in, in.DryRun)
	if err != nil {
		return nil, err
	}
	switch {
	case in.NetworkInterfaceId == "":
		return nil, errMissing("networkInterfaceId")
	case in.Attribute == "":
		return nil, errMissing("attribute")
	}
	e, err := interfaces.find(r, info, in.NetworkInterfaceId)
	if err != nil {
		return nil, err
	}
	view := s.shapeInterface(r, e)
	out := &shape.DescribeNetworkInterfaceAttributeResult{NetworkInterfaceId: e.ID}
	switch in.Attribute {
	case "description":
		out.Description = text(e.Description)
	case "groupSet":
		out.Groups = view.Groups
	case "sourceDestCheck":
		out.SourceDestCheck = boolean(!e.NoSourceCheck)
	case "attachment":
		out.Attachment = view.Attachment
	default:
		return nil, errValue(in.Attribute, "attribute")
	}
	return out, nil
}

// ModifyNetworkInterfaceAttribute changes one attribute.
func (s *Service) ModifyNetworkInterfaceAttribute(ctx context.Context, in *shape.ModifyNetworkInterfaceAttributeRequest) (*shape.ModifyNetworkInterfaceAttributeResult, error) {
	info, err := s.begin(ctx, in)
	if err != nil {
		return nil, err
	}
	given := 0
	for _, yes := range []bool{in.Description != nil, in.SourceDestCheck != nil, in.Attachment != nil, in.EnablePrimaryIpv6 != nil, len(in.Groups) > 0} {
		if yes {
			given++
		}
	}
	switch {
	case given == 0:
		return nil, errCombination("No attributes specified.")
	case given > 1:
		return nil, errCombination("Fields for multiple attribute types specified: only one attribute can be modified at a time.")
	case in.Description != nil && len(in.Description.Value) > 255:
		return nil, awserr.New("InvalidParameterValue", "The description has more than 255 characters.")
	}
	err = s.update(ctx, in.DryRun, func(tx *store.Tx) error {
		e, err := editable(tx, info, in.NetworkInterfaceId)
		if err != nil {
			return err
		}
		next := *e
		switch {
		case in.Description != nil:
			next.Description = in.Description.Value
		case in.SourceDestCheck != nil:
			next.NoSourceCheck = !isTrue(in.SourceDestCheck.Value)
		case in.Attachment != nil:
			if in.Attachment.AttachmentId == "" || in.Attachment.AttachmentId != e.AttachmentID {
				return errNoAttachment(in.Attachment.AttachmentId)
			}
			if in.Attachment.DeleteOnTermination == nil {
				return errMissing("deleteOnTermination")
			}
			next.DeleteOnEnd = *in.Attachment.DeleteOnTermination
		case in.EnablePrimaryIpv6 != nil:
			if e.Primary6 && !*in.EnablePrimaryIpv6 {
				return awserr.New("InvalidParameterValue", "The primary IPv6 address of the network interface '%s' cannot be disabled.", e.ID)
			}
			next.Primary6 = *in.EnablePrimaryIpv6
		default:
			if next.Groups, err = groupsIn(tx, info, e.VPCID, in.Groups); err != nil {
				return err
			}
		}
		return store.Interfaces.Put(tx, &next)
	})
	if err != nil {
		return nil, err
	}
	return &shape.ModifyNetworkInterfaceAttributeResult{}, nil
}

// ResetNetworkInterfaceAttribute turns the source/destination check on again.
func (s *Service) ResetNetworkInterfaceAttribute(ctx context.Context, in *shape.ResetNetworkInterfaceAttributeRequest) (*shape.ResetNetworkInterfaceAttributeResult, error) {
	info, err := s.begin(ctx, in)
	if err != nil {
		return nil, err
	}
	if in.SourceDestCheck == "" {
		return nil, errMissing("sourceDestCheck")
	}
	err = s.update(ctx, in.DryRun, func(tx *store.Tx) error {
		e, err := editable(tx, info, in.NetworkInterfaceId)
		if err != nil {
			return err
		}
		next := *e
		next.NoSourceCheck = false
		return store.Interfaces.Put(tx, &next)
	})
	if err != nil {
		return nil, err
	}
	return &shape.ResetNetworkInterfaceAttributeResult{}, nil
}
