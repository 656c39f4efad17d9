package ec2

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"strings"

	"karri.dev/internal/aws/awserr"
	"karri.dev/internal/aws/call"
	shape "karri.dev/internal/aws/shape/ec2"
	"karri.dev/internal/resource"
	"karri.dev/internal/store"
)

// v6Pool is the name of the pool that IPv6 ranges of the cloud come from.
const v6Pool = "Amazon"

// maxBlocks is how many IPv4 ranges a VPC can have.
const maxBlocks = 5

// Ranges in which no VPC can be: they mean something to every host.
var unusable = []netip.Prefix{
	netip.MustParsePrefix("0.0.0.0/8"), netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("169.254.0.0/16"), netip.MustParsePrefix("224.0.0.0/3"),
}

// parseBlock reads an IPv4 CIDR block and takes its host bits away, as AWS does.
func parseBlock(block, parameter string) (netip.Prefix, error) {
	p, err := netip.ParsePrefix(block)
	if err != nil || !p.Addr().Is4() {
		return p, awserr.New("InvalidParameterValue", "Value (%s) for parameter %s is invalid. This is not a valid CIDR block.", block, parameter)
	}
	return p.Masked(), nil
}

// vpcBlock reads a range for a VPC.
func vpcBlock(block string) (netip.Prefix, error) {
	p, err := parseBlock(block, "cidrBlock")
	if err != nil {
		return p, err
	}
	if p.Bits() < 16 || p.Bits() > 28 || slices.ContainsFunc(unusable, p.Overlaps) {
		return p, awserr.New("InvalidVpc.Range", "The CIDR '%s' is invalid.", block)
	}
	return p, nil
}

// private are the ranges of RFC 1918: a VPC has ranges of one of them at most.
var private = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("172.16.0.0/12"), netip.MustParsePrefix("192.168.0.0/16")}

// checkFurther checks a range that is to be added to a VPC.
func checkFurther(r store.Reader, v *resource.VPC, block netip.Prefix) error {
	first := prefixOf(v.CIDR)
	for _, own := range private {
		if !own.Overlaps(block) || own.Overlaps(first) {
			continue
		}
		return awserr.New("InvalidVpc.Range", "The CIDR '%s' is restricted. Use a CIDR from the same private address range as the current VPC CIDR, or use a publicly-routable CIDR.", block)
	}
	for _, own := range v.Blocks() {
		if prefixOf(own).Overlaps(block) {
			return awserr.New("InvalidVpc.Range", "The CIDR '%s' overlaps with the CIDR '%s' of this VPC.", block, own)
		}
	}
	for p := range store.PeeringsByVPC.By(r, v.ID) {
		peer := store.VPCs.Get(r, p.Other(v.ID))
		if p.State == resource.PeeringActive && peer != nil && slices.ContainsFunc(peer.Blocks(), func(b string) bool { return prefixOf(b).Overlaps(block) }) {
			return awserr.New("InvalidVpc.Range", "The CIDR '%s' overlaps with a CIDR of the peered VPC %s.", block, peer.ID)
		}
	}
	for t := range store.RouteTablesByVPC.By(r, v.ID) {
		for _, route := range t.Routes {
			if d := prefixOf(route.Destination); d.IsValid() && d.Bits() >= block.Bits() && block.Overlaps(d) {
				return awserr.New("InvalidVpc.Range", "The CIDR '%s' is the same as or larger than the destination %s of a route in %s.", block, d, t.ID)
			}
		}
	}
	return nil
}

// prefixOf reads a range that was checked when it was stored; what is none gives the zero prefix.
func prefixOf(s string) netip.Prefix {
	p, _ := netip.ParsePrefix(s)
	return p
}

// AssociateVpcCidrBlock adds a range to a VPC.
func (s *Service) AssociateVpcCidrBlock(ctx context.Context, in *shape.AssociateVpcCidrBlockRequest) (*shape.AssociateVpcCidrBlockResult, error) {
	info, err := s.begin(ctx, in)
	if err != nil {
		return nil, err
	}
	v6 := isTrue(in.AmazonProvidedIpv6CidrBlock)
	switch {
	case in.VpcId == "":
		return nil, errMissing("vpcId")
	case in.CidrBlock == "" && !v6:
		return nil, awserr.New("MissingParameter", "Either 'cidrBlock' or 'amazonProvidedIpv6CidrBlock' should be provided.")
	case in.CidrBlock != "" && v6:
		return nil, errCombination("Only one of 'cidrBlock' and 'amazonProvidedIpv6CidrBlock' can be provided.")
	}
	if err := s.checkV6(info, v6, in.Ipv6CidrBlockNetworkBorderGroup); err != nil {
		return nil, err
	}
	var block netip.Prefix
	if !v6 {
		if block, err = vpcBlock(in.CidrBlock); err != nil {
			return nil, err
		}
	}
	out, rnd := &shape.AssociateVpcCidrBlockResult{VpcId: in.VpcId}, s.random()
	err = s.update(ctx, nil, func(tx *store.Tx) error {
		v, err := vpcs.find(tx, info, in.VpcId)
		if err != nil {
			return err
		}
		next := *v
		if v6 {
			if err := s.giveV6(tx, &next, rnd); err != nil {
				return err
			}
			out.Ipv6CidrBlockAssociation = shapeV6Block(&next, next.IPv6[len(next.IPv6)-1], "associating")
			return errors.Join(store.VPCs.Put(tx, &next), s.openV6(tx, &next))
		}
		if err := checkFurther(tx, v, block); err != nil {
			return err
		}
		if len(v.Blocks()) >= maxBlocks {
			return awserr.New("CidrLimitExceeded", "This network '%s' has met its maximum number of allowed CIDRs: %d", v.ID, maxBlocks)
		}
		next.CIDRs = append(slices.Clone(v.CIDRs), block.String())
		out.CidrBlockAssociation = shapeBlock(&next, len(next.CIDRs), "associating")
		return store.VPCs.Put(tx, &next)
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// DisassociateVpcCidrBlock takes a further range from a VPC.
func (s *Service) DisassociateVpcCidrBlock(ctx context.Context, in *shape.DisassociateVpcCidrBlockRequest) (*shape.DisassociateVpcCidrBlockResult, error) {
	info, err := s.begin(ctx, in)
	if err != nil {
		return nil, err
	}
	if in.AssociationId == "" {
		return nil, errMissing("associationId")
	}
	var out *shape.DisassociateVpcCidrBlockResult
	err = s.update(ctx, nil, func(tx *store.Tx) error {
		for v := range store.VPCsByOwner.By(tx, ownerKey(info)) {
			if n := slices.Index(vpcAssociations(v), in.AssociationId); n >= 0 {
				out = &shape.DisassociateVpcCidrBlockResult{VpcId: v.ID, CidrBlockAssociation: shapeBlock(v, n, "disassociating")}
				return removeBlock(tx, v, n)
			}
			n := slices.IndexFunc(v.IPv6, func(b resource.V6Block) bool { return b.AssociationID == in.AssociationId })
			if n >= 0 {
				out = &shape.DisassociateVpcCidrBlockResult{VpcId: v.ID, Ipv6CidrBlockAssociation: shapeV6Block(v, v.IPv6[n], "disassociating")}
				return removeV6(tx, v, n)
			}
		}
		return awserr.New("InvalidVpcCidrBlockAssociationID.NotFound", "The vpc CIDR block association ID '%s' does not exist", in.AssociationId)
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

func removeBlock(tx *store.Tx, v *resource.VPC, n int) error {
	block := v.Blocks()[n]
	if n == 0 {
		return awserr.New("OperationNotPermitted", "The vpc CIDR block with association ID %s may not be disassociated. It is the primary IPv4 CIDR block of the VPC", blockAssociation(v, n))
	}
	for sub := range store.SubnetsByVPC.By(tx, v.ID) {
		if prefixOf(block).Overlaps(prefixOf(sub.CIDR)) {
			return awserr.New("DependencyViolation", "The vpc %s currently has a subnet within CIDR block %s", v.ID, block)
		}
	}
	next := *v
	next.CIDRs = slices.Delete(slices.Clone(v.CIDRs), n-1, n)
	return store.VPCs.Put(tx, &next)
}

func removeV6(tx *store.Tx, v *resource.VPC, n int) error {
	block := prefixOf(v.IPv6[n].CIDR)
	for sub := range store.SubnetsByVPC.By(tx, v.ID) {
		if sub.IPv6 != nil && block.Overlaps(prefixOf(sub.IPv6.CIDR)) {
			return awserr.New("DependencyViolation", "The vpc %s currently has a subnet within CIDR block %s", v.ID, block)
		}
	}
	next := *v
	next.IPv6 = slices.Delete(slices.Clone(v.IPv6), n, n+1)
	return store.VPCs.Put(tx, &next)
}

// checkV6 refuses IPv6 ranges where the cloud has none to give.
func (s *Service) checkV6(info *call.Info, wanted bool, border string) error {
	if border != "" && border != info.Region {
		return errValue(border, "ipv6CidrBlockNetworkBorderGroup")
	}
	if wanted && len(s.pools(true)) == 0 {
		return errUnsupported("This cloud has no IPv6 addresses.")
	}
	return nil
}

// within says whether a block lies in one of a VPC's ranges.
func within(v *resource.VPC, p netip.Prefix) bool {
	return slices.ContainsFunc(v.Ranges(), func(block string) bool {
		own := prefixOf(block)
		return own.Bits() <= p.Bits() && own.Overlaps(p)
	})
}

func isV6(block string) bool { return strings.Contains(block, ":") }
