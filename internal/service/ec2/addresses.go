package ec2

import (
	"cmp"
	"context"
	"math/rand/v2"
	"net/netip"
	"slices"

	"karri.dev/internal/aws/awserr"
	"karri.dev/internal/aws/call"
	shape "karri.dev/internal/aws/shape/ec2"
	"karri.dev/internal/cidr"
	"karri.dev/internal/filter"
	"karri.dev/internal/resource"
	"karri.dev/internal/store"
)

// freePublic picks a public address that neither an elastic IP nor an interface has; "" when the pool is empty.
func (s *Service) freePublic(tx *store.Tx, rnd *rand.Rand) string {
	pools := s.pools(false)
	if len(pools) == 0 {
		return ""
	}
	first := rnd.IntN(len(pools))
	for i := range pools {
		pool := cidr.Pool(pools[(first+i)%len(pools)])
		if ip, ok := pool.Free(rnd.Uint32(), func(ip netip.Addr) bool { return publicTaken(tx, ip.String()) }); ok {
			return ip.String()
		}
	}
	return ""
}

// pools gives the public ranges of one family.
func (s *Service) pools(six bool) (out []netip.Prefix) {
	for _, p := range s.cfg.PublicPool {
		if p.Addr().Is6() == six {
			out = append(out, p)
		}
	}
	return out
}

func publicTaken(r store.Reader, ip string) bool {
	return store.AddressesByIP.One(r, ip) != nil || store.InterfacesByPublicIP.One(r, ip) != nil || store.VPNConnectionsByIP.One(r, ip) != nil
}

func errNoPublic() error {
	return awserr.New("InsufficientAddressCapacity", "Not enough available addresses to satisfy your request.").WithStatus(503)
}

// AllocateAddress gives the account an elastic IP.
func (s *Service) AllocateAddress(ctx context.Context, in *shape.AllocateAddressRequest) (*shape.AllocateAddressResult, error) {
	info, err := s.begin(ctx, in)
	if err != nil {
		return nil, err
	}
	if err := oneOf("domain", in.Domain, "vpc", "standard"); err != nil {
		return nil, err
	}
	if in.NetworkBorderGroup != "" && in.NetworkBorderGroup != info.Region {
		return nil, errValue(in.NetworkBorderGroup, "networkBorderGroup")
	}
	if in.PublicIpv4Pool != "" && in.PublicIpv4Pool != "amazon" {
		return nil, awserr.New("InvalidPublicIpv4PoolID.NotFound", "The pool ID '%s' does not exist", in.PublicIpv4Pool)
	}
	tags, err := tagsOnCreate(in.TagSpecifications, "elastic-ip")
	if err != nil {
		return nil, err
	}
	rnd := s.random()
	var address *resource.Address
	err = s.update(ctx, in.DryRun, func(tx *store.Tx) error {
		classic := in.Domain == "standard" || in.Domain == "" && !hasDefaultVPCs(tx, info.Region)
		if classic && classicVPC(tx, info.Region) == nil {
			return errUnsupported("The region %s has no elastic IPs of the domain 'standard' (EC2-Classic).", info.Region)
		}
		if !classic {
			if err := needVPCs(tx, info.Region); err != nil {
				return err
			}
		}
		ip := in.Address
		if ip == "" {
			if ip = s.freePublic(tx, rnd); ip == "" {
				return errNoPublic()
			}
		} else if parsed, err := netip.ParseAddr(ip); err != nil || !s.inPool(parsed) || publicTaken(tx, ip) {
			return awserr.New("InvalidAddress.NotFound", "Address '%s' not found.", ip)
		}
		address = &resource.Address{Owned: s.owned(info, tags["elastic-ip"]), AllocationID: s.IDs.Resource("eipalloc-"), PublicIP: ip, Classic: classic}
		return store.Addresses.Put(tx, address)
	})
	if err != nil {
		return nil, err
	}
	if address.Classic {
		return &shape.AllocateAddressResult{PublicIp: address.PublicIP, Domain: "standard"}, nil
	}
	return &shape.AllocateAddressResult{
		PublicIp: address.PublicIP, AllocationId: address.AllocationID, PublicIpv4Pool: "amazon", NetworkBorderGroup: info.Region, Domain: "vpc",
	}, nil
}

func (s *Service) inPool(ip netip.Addr) bool {
	for _, p := range s.cfg.PublicPool {
		if ip.Is4() && cidr.Pool(p).Contains(ip) {
			return true
		}
	}
	return false
}

// addressOf finds the caller's elastic IP by allocation id, or by the address itself.
func addressOf(r store.Reader, info *call.Info, allocation, ip string) (*resource.Address, error) {
	switch {
	case allocation != "" && ip != "":
		return nil, errCombination("You may specify public IP or allocation id, but not both in the same call")
	case allocation != "":
		return addresses.find(r, info, allocation)
	case ip == "":
		return nil, awserr.New("MissingParameter", "Either public IP or allocation id must be specified")
	}
	parsed, err := netip.ParseAddr(ip)
	if err != nil || !parsed.Is4() {
		return nil, awserr.New("InvalidParameterValue", "Invalid IPv4 address: %s", ip)
	}
	a := store.AddressesByIP.One(r, parsed.String())
	if a == nil || !addresses.mine(info, a) {
		return nil, awserr.New("InvalidAddress.NotFound", "Address '%s' not found.", ip)
	}
	return a, nil
}

// AssociateAddress gives an elastic IP to an instance or interface.
func (s *Service) AssociateAddress(ctx context.Context, in *shape.AssociateAddressRequest) (*shape.AssociateAddressResult, error) {
	info, err := s.begin(ctx, in)
	if err != nil {
		return nil, err
	}
	if in.InstanceId == "" && in.NetworkInterfaceId == "" {
		return nil, awserr.New("MissingParameter", "Either instance ID or network interface id must be specified")
	}
	if in.InstanceId != "" && in.NetworkInterfaceId != "" {
		return nil, errCombination("You may specify instance ID or network interface id, but not both in the same call")
	}
	var id string
	classic, rnd := false, s.random()
	err = s.update(ctx, in.DryRun, func(tx *store.Tx) error {
		a, err := addressOf(tx, info, in.AllocationId, in.PublicIp)
		if err != nil {
			return err
		}
		eni, err := s.associable(tx, info, in)
		if err != nil {
			return err
		}
		classic = a.Classic
		switch {
		case resource.InVPC(eni.VPCID) && a.Classic:
			return errCombination("You must specify an allocation id when mapping an address to a VPC instance")
		case !resource.InVPC(eni.VPCID) && !a.Classic:
			return awserr.New("InvalidInstanceID", "The instance '%s' is not in a VPC: its addresses are of the domain 'standard'.", eni.InstanceID)
		}
		if store.InternetGatewaysByVPC.One(tx, eni.VPCID) == nil {
			return awserr.New("Gateway.NotAttached", "Network %s is not attached to any internet gateway", eni.VPCID)
		}
		at := slices.IndexFunc(eni.Addresses(), func(p resource.PrivateAddress) bool {
			return in.PrivateIpAddress == "" || p.PrivateIP == in.PrivateIpAddress
		})
		have := eni.Addresses()[at]
		if have.AllocationID == a.AllocationID {
			id = a.AssociationID
			return nil
		}
		if a.ManagedBy != "" {
			return errManaged(a)
		}
		if a.InterfaceID != "" {
			if isFalse(in.AllowReassociation) {
				return awserr.New("Resource.AlreadyAssociated", "resource %s is already associated with associate-id %s", a.AllocationID, a.AssociationID)
			}
			if err := s.withdraw(tx, a, rnd); err != nil {
				return err
			}
		}
		if have.AllocationID != "" {
			if old := store.Addresses.Get(tx, have.AllocationID); isFalse(in.AllowReassociation) || old != nil && !addresses.mine(info, old) {
				return awserr.New("Resource.AlreadyAssociated", "resource %s is already associated with associate-id %s", eni.ID, have.AssociationID)
			}
			if old := store.Addresses.Get(tx, have.AllocationID); old != nil {
				if err := dissociate(tx, old); err != nil {
					return err
				}
			}
		}
		id = s.IDs.Resource("eipassoc-")
		return associateAddress(tx, store.Addresses.Get(tx, a.AllocationID), eni.ID, at, id)
	})
	if err != nil {
		return nil, err
	}
	if classic {
		id = "" // there are no associations outside of VPCs
	}
	return &shape.AssociateAddressResult{AssociationId: id}, nil
}

// associateAddress gives a free elastic IP to the n-th private address of an interface.
func associateAddress(tx *store.Tx, a *resource.Address, eni string, n int, id string) error {
	next, taken := *store.Interfaces.Get(tx, eni), *a
	all := next.Addresses()
	all[n].PublicIP, all[n].AllocationID, all[n].AssociationID = a.PublicIP, a.AllocationID, id
	next.SetAddresses(all)
	taken.AssociationID, taken.InterfaceID, taken.PrivateIP = id, eni, ""
	if n > 0 {
		taken.PrivateIP = all[n].PrivateIP
	}
	if err := store.Addresses.Put(tx, &taken); err != nil {
		return err
	}
	return store.Interfaces.Put(tx, &next)
}

func errManaged(a *resource.Address) error {
	return awserr.New("AuthFailure", "You do not have permission to access the specified resource: the address %s is in use by %s.", a.PublicIP, a.ManagedBy)
}

// associable gives the interface that a request means.
func (s *Service) associable(tx *store.Tx, info *call.Info, in *shape.AssociateAddressRequest) (*resource.Interface, error) {
	id := in.NetworkInterfaceId
	if in.InstanceId != "" {
		inst, err := instances.find(tx, info, in.InstanceId)
		if err != nil {
			return nil, err
		}
		if inst.Power == resource.PowerGone || len(inst.Interfaces) == 0 {
			return nil, awserr.New("InvalidInstanceID", "The instance '%s' is not in a valid state for this operation.", inst.ID)
		}
		id = inst.Interfaces[0]
		if eni := store.Interfaces.Get(tx, id); eni != nil && !resource.InVPC(inst.VPCID) {
			return s.associableClassic(tx, eni, in)
		}
	}
	eni, err := granted(tx, info, id, resource.GrantAddress)
	if err != nil {
		return nil, err
	}
	if eni.Requester != "" {
		return nil, errRequester(eni)
	}
	if in.PrivateIpAddress != "" && !slices.ContainsFunc(eni.Addresses(), func(p resource.PrivateAddress) bool { return p.PrivateIP == in.PrivateIpAddress }) {
		return nil, awserr.New("InvalidParameterValue", "Address %s does not belong to network interface %s", in.PrivateIpAddress, eni.ID)
	}
	return eni, nil
}

// dissociate takes an elastic IP from its interface.
func dissociate(tx *store.Tx, a *resource.Address) error {
	if a.ManagedBy != "" {
		return errManaged(a)
	}
	if eni := store.Interfaces.Get(tx, a.InterfaceID); eni != nil {
		next, all := *eni, eni.Addresses()
		for i := range all {
			if all[i].AllocationID == a.AllocationID {
				all[i].PublicIP, all[i].AllocationID, all[i].AssociationID = "", "", ""
			}
		}
		next.SetAddresses(all)
		if err := store.Interfaces.Put(tx, &next); err != nil {
			return err
		}
	}
	free := *a
	free.AssociationID, free.InterfaceID, free.PrivateIP = "", "", ""
	return store.Addresses.Put(tx, &free)
}

// withdraw takes an elastic IP from its interface. Outside of VPCs that gets another address then: it is never without one.
func (s *Service) withdraw(tx *store.Tx, a *resource.Address, rnd *rand.Rand) error {
	if err := dissociate(tx, a); err != nil || !a.Classic {
		return err
	}
	eni := store.Interfaces.Get(tx, a.InterfaceID)
	if eni == nil {
		return nil
	}
	next := *eni
	next.PublicIP = s.freePublic(tx, rnd)
	return store.Interfaces.Put(tx, &next)
}

// DisassociateAddress takes an elastic IP from what has it.
func (s *Service) DisassociateAddress(ctx context.Context, in *shape.DisassociateAddressRequest) (*shape.DisassociateAddressResult, error) {
	info, err := s.begin(ctx, in)
	if err != nil {
		return nil, err
	}
	if in.AssociationId == "" && in.PublicIp == "" {
		return nil, awserr.New("MissingParameter", "Either public IP or association id must be specified")
	}
	if in.AssociationId != "" && in.PublicIp != "" {
		return nil, errCombination("You may specify public IP or association id, but not both in the same call")
	}
	rnd := s.random()
	err = s.update(ctx, in.DryRun, func(tx *store.Tx) error {
		if in.PublicIp != "" {
			a, err := addressOf(tx, info, "", in.PublicIp)
			if err != nil {
				return err
			}
			if a.AssociationID == "" {
				return nil
			}
			return s.withdraw(tx, a, rnd)
		}
		for a := range store.AddressesByOwner.By(tx, ownerKey(info)) {
			if a.AssociationID == in.AssociationId {
				return s.withdraw(tx, a, rnd)
			}
		}
		return awserr.New("InvalidAssociationID.NotFound", "The association ID '%s' does not exist", in.AssociationId)
	})
	if err != nil {
		return nil, err
	}
	return &shape.DisassociateAddressResult{}, nil
}

// ReleaseAddress gives an elastic IP back.
func (s *Service) ReleaseAddress(ctx context.Context, in *shape.ReleaseAddressRequest) (*shape.ReleaseAddressResult, error) {
	info, err := s.begin(ctx, in)
	if err != nil {
		return nil, err
	}
	if in.NetworkBorderGroup != "" && in.NetworkBorderGroup != info.Region {
		return nil, errValue(in.NetworkBorderGroup, "networkBorderGroup")
	}
	err = s.update(ctx, in.DryRun, func(tx *store.Tx) error {
		a, err := addressOf(tx, info, in.AllocationId, in.PublicIp)
		if err != nil {
			return err
		}
		if a.AssociationID != "" {
			return awserr.New("InvalidIPAddress.InUse", "Address %s is in use.", a.PublicIP)
		}
		if hasPTR(a) {
			return awserr.New("InvalidAddress.Locked", "The address with allocation id [%s] cannot be released because it is locked to your account: remove its reverse DNS record first.", a.AllocationID)
		}
		store.AddressTransfers.Delete(tx, a.AllocationID)
		store.Addresses.Delete(tx, a.AllocationID)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return &shape.ReleaseAddressResult{}, nil
}

// shapeAddress shows an elastic IP.
func shapeAddress(r store.Reader, a *resource.Address) shape.Address {
	out := shape.Address{
		PublicIp: a.PublicIP, AllocationId: a.AllocationID, Domain: "vpc", Tags: shapeTags(a.Tags), PublicIpv4Pool: "amazon", NetworkBorderGroup: a.Region,
	}
	if a.Classic {
		out = shape.Address{PublicIp: a.PublicIP, Domain: "standard", Tags: shapeTags(a.Tags)}
		if eni := store.Interfaces.Get(r, a.InterfaceID); eni != nil {
			out.InstanceId = eni.InstanceID
		}
		return out
	}
	if eni := store.Interfaces.Get(r, a.InterfaceID); eni != nil {
		out.AssociationId, out.NetworkInterfaceId, out.NetworkInterfaceOwnerId = a.AssociationID, eni.ID, eni.AccountID
		out.InstanceId, out.PrivateIpAddress = eni.InstanceID, cmp.Or(a.PrivateIP, eni.PrivateIP)
	}
	return out
}

var addressFilters = &filter.Set[*shape.Address]{
	Fields: map[string]func(*shape.Address) []string{
		"allocation-id":              func(a *shape.Address) []string { return one(a.AllocationId) },
		"association-id":             func(a *shape.Address) []string { return one(a.AssociationId) },
		"domain":                     func(a *shape.Address) []string { return one(a.Domain) },
		"instance-id":                func(a *shape.Address) []string { return one(a.InstanceId) },
		"network-border-group":       func(a *shape.Address) []string { return one(a.NetworkBorderGroup) },
		"network-interface-id":       func(a *shape.Address) []string { return one(a.NetworkInterfaceId) },
		"network-interface-owner-id": func(a *shape.Address) []string { return one(a.NetworkInterfaceOwnerId) },
		"private-ip-address":         func(a *shape.Address) []string { return one(a.PrivateIpAddress) },
		"public-ip":                  func(a *shape.Address) []string { return one(a.PublicIp) },
	},
	Tags: func(a *shape.Address) map[string]string { return mapTags(a.Tags) },
}

// DescribeAddresses lists elastic IPs.
func (s *Service) DescribeAddresses(ctx context.Context, in *shape.DescribeAddressesRequest) (*shape.DescribeAddressesResult, error) {
	info, r, err := s.read(ctx, in, in.DryRun)
	if err != nil {
		return nil, err
	}
	match, err := compile(addressFilters, in.Filters)
	if err != nil {
		return nil, err
	}
	wanted := in.AllocationIds
	for _, ip := range in.PublicIps {
		a, err := addressOf(r, info, "", ip)
		if err != nil {
			return nil, err
		}
		wanted = append(wanted, a.AllocationID)
	}
	list, _, err := list(s, r, info, addresses, selection[resource.Address]{op: "DescribeAddresses", ids: wanted, match: shown(r, match, shapeAddress)})
	if err != nil {
		return nil, err
	}
	return &shape.DescribeAddressesResult{Addresses: showAll(r, list, shapeAddress)}, nil
}
