package ec2

import (
	"context"
	"encoding/binary"
	"net/netip"
	"slices"

	"karri.dev/internal/aws/awserr"
	shape "karri.dev/internal/aws/shape/ec2"
	"karri.dev/internal/resource"
	"karri.dev/internal/store"
)

// Sizes of IPv6 ranges, and how many of them a VPC can have.
const (
	vpcBits6   = 56 // of those that the cloud gives
	maxBlocks6 = 5
)

// giveV6 gives a VPC an IPv6 range that no other one has.
func (s *Service) giveV6(tx *store.Tx, v *resource.VPC, rnd rng) error {
	if len(v.IPv6) >= maxBlocks6 {
		return awserr.New("CidrLimitExceeded", "This network '%s' has met its maximum number of allowed IPv6 CIDRs: %d", v.ID, maxBlocks6)
	}
	for _, pool := range s.pools(true) {
		if pool.Bits() > vpcBits6 {
			continue
		}
		room, first := uint64(1)<<min(vpcBits6-pool.Bits(), 32), rnd.Uint64()
		for i := range min(room, 1<<16) {
			block := part6(pool, (first+i)%room).String()
			if store.VPCsByIPv6.One(tx, block) == nil {
				v.IPv6 = append(slices.Clone(v.IPv6), resource.V6Block{AssociationID: s.IDs.Resource("vpc-cidr-assoc-"), CIDR: block})
				return nil
			}
		}
	}
	return awserr.New("InsufficientCidrBlocks", "There is no IPv6 range left for a VPC.").WithStatus(503)
}

// part6 gives the n-th of a pool's ranges for VPCs.
func part6(pool netip.Prefix, n uint64) netip.Prefix {
	b := pool.Masked().Addr().As16()
	binary.BigEndian.PutUint64(b[:8], binary.BigEndian.Uint64(b[:8])|n<<(64-vpcBits6))
	return netip.PrefixFrom(netip.AddrFrom16(b), vpcBits6)
}

// openV6 adds to a VPC's default network ACL and group what AWS adds with the first IPv6 range: what is allowed
// to IPv4 by default is to IPv6.
func (s *Service) openV6(tx *store.Tx, v *resource.VPC) error {
	if len(v.IPv6) > 1 {
		return nil
	}
	if a := store.NetworkACLs.Get(tx, v.DefaultACL); a != nil {
		next := *a
		next.Entries = slices.Clone(a.Entries)
		for _, egress := range []bool{false, true} {
			own := slices.DeleteFunc(slices.Clone(a.Entries), func(e resource.ACLEntry) bool { return e.Egress != egress })
			if len(own) == 1 && own[0] == allowAll(egress) { // else somebody has changed what may pass
				next.Entries = append(next.Entries, resource.ACLEntry{Number: 101, Egress: egress, Allow: true, Protocol: "-1", CIDR6: "::/0"})
			}
		}
		slices.SortStableFunc(next.Entries, func(a, b resource.ACLEntry) int { return a.Number - b.Number })
		if err := store.NetworkACLs.Put(tx, &next); err != nil {
			return err
		}
	}
	g := store.SecurityGroups.Get(tx, v.DefaultGroup)
	if g == nil || slices.ContainsFunc(g.Rules, func(r resource.Rule) bool { return r.Egress && r.CIDR6 != "" }) ||
		!slices.ContainsFunc(g.Rules, func(r resource.Rule) bool { return r.Egress && r.Protocol == "-1" && r.CIDR == "0.0.0.0/0" }) {
		return nil // somebody has changed what may go out
	}
	next := *g
	next.Rules = append(slices.Clone(g.Rules), allOut6(s.IDs.Resource("sgr-")))
	return store.SecurityGroups.Put(tx, &next)
}

func allOut6(id string) resource.Rule {
	return resource.Rule{ID: id, Egress: true, Protocol: "-1", FromPort: -1, ToPort: -1, CIDR6: "::/0"}
}

// AssociateSubnetCidrBlock gives a subnet an IPv6 range of its VPC's.
func (s *Service) AssociateSubnetCidrBlock(ctx context.Context, in *shape.AssociateSubnetCidrBlockRequest) (*shape.AssociateSubnetCidrBlockResult, error) {
	info, err := s.begin(ctx, in)
	if err != nil {
		return nil, err
	}
	switch {
	case in.SubnetId == "":
		return nil, errMissing("subnetId")
	case in.Ipv6CidrBlock == "":
		return nil, errMissing("ipv6CidrBlock")
	}
	out := &shape.AssociateSubnetCidrBlockResult{SubnetId: in.SubnetId}
	err = s.update(ctx, nil, func(tx *store.Tx) error {
		sub, err := subnets.find(tx, info, in.SubnetId)
		if err != nil {
			return err
		}
		if sub.IPv6 != nil {
			return awserr.New("CidrLimitExceeded", "The subnet '%s' has an IPv6 CIDR block already: %s", sub.ID, sub.IPv6.CIDR)
		}
		next := *sub
		if next.IPv6, err = s.subnetV6(tx, store.VPCs.Get(tx, sub.VPCID), in.Ipv6CidrBlock); err != nil {
			return err
		}
		out.Ipv6CidrBlockAssociation = shapeSubnetV6(next.IPv6, "associating")
		return store.Subnets.Put(tx, &next)
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// DisassociateSubnetCidrBlock takes a subnet's IPv6 range away, once no interface has an address of it.
func (s *Service) DisassociateSubnetCidrBlock(ctx context.Context, in *shape.DisassociateSubnetCidrBlockRequest) (*shape.DisassociateSubnetCidrBlockResult, error) {
	info, err := s.begin(ctx, in)
	if err != nil {
		return nil, err
	}
	if in.AssociationId == "" {
		return nil, errMissing("associationId")
	}
	var out *shape.DisassociateSubnetCidrBlockResult
	err = s.update(ctx, nil, func(tx *store.Tx) error {
		for sub := range store.SubnetsByOwner.By(tx, ownerKey(info)) {
			if sub.IPv6 == nil || sub.IPv6.AssociationID != in.AssociationId {
				continue
			}
			if has(store.InterfacesBySubnet.By(tx, sub.ID), func(e *resource.Interface) bool { return len(e.IPv6) > 0 }) {
				return awserr.New("InvalidCidrBlock.InUse", "The IPv6 CIDR block %s of the subnet '%s' is in use.", sub.IPv6.CIDR, sub.ID)
			}
			out = &shape.DisassociateSubnetCidrBlockResult{SubnetId: sub.ID, Ipv6CidrBlockAssociation: shapeSubnetV6(sub.IPv6, "disassociating")}
			next := *sub
			next.IPv6, next.AssignIPv6 = nil, false
			return store.Subnets.Put(tx, &next)
		}
		return awserr.New("InvalidSubnetCidrBlockAssociationID.NotFound", "The subnet CIDR block association ID '%s' does not exist", in.AssociationId)
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}
