package ec2

import (
	"context"
	"slices"
	"time"

	"karri.dev/internal/aws/awserr"
	"karri.dev/internal/aws/call"
	shape "karri.dev/internal/aws/shape/ec2"
	"karri.dev/internal/filter"
	"karri.dev/internal/lifecycle"
	"karri.dev/internal/resource"
	"karri.dev/internal/store"
)

// Limits of NAT gateways, as AWS's.
const (
	maxNATGateways = 5 // of an account in a zone
	maxNATElastic  = 2 // elastic IPs of one
	maxNATPrivate  = 8 // private addresses of one
)

// natInterface is the kind of a NAT gateway's interface, natKeeper who keeps it.
const (
	natInterface = "nat_gateway"
	natKeeper    = "amazon-aws"
)

// natRequest is what CreateNatGateway asks for, checked as far as it can be without looking.
type natRequest struct {
	private     bool
	allocations []string // the primary's first; as many as private addresses
	addresses   interfaceSpec
}

func readNAT(in *shape.CreateNatGatewayRequest) (q natRequest, err error) {
	if in.SubnetId == "" {
		return q, errMissing("subnetId")
	}
	if err := oneOf("connectivityType", in.ConnectivityType, "public", "private"); err != nil {
		return q, err
	}
	q.private = in.ConnectivityType == "private"
	switch {
	case q.private && (in.AllocationId != "" || len(in.SecondaryAllocationIds) > 0):
		return q, errCombination("A private NAT gateway has no elastic IPs")
	case !q.private && in.AllocationId == "":
		return q, errMissing("allocationId")
	case !q.private && in.SecondaryPrivateIpAddressCount != nil:
		return q, errCombination("The parameter secondaryPrivateIpAddressCount is for private NAT gateways only")
	case !q.private && len(in.SecondaryPrivateIpAddresses) > len(in.SecondaryAllocationIds):
		return q, errCombination("There are more secondary private addresses than secondary allocations")
	}
	var list []shape.PrivateIpAddressSpecification
	for _, ip := range in.SecondaryPrivateIpAddresses {
		list = append(list, shape.PrivateIpAddressSpecification{PrivateIpAddress: ip})
	}
	if q.addresses, err = readAddresses(in.PrivateIpAddress, list, in.SecondaryPrivateIpAddressCount); err != nil {
		return q, err
	}
	if !q.private {
		q.allocations = append([]string{in.AllocationId}, in.SecondaryAllocationIds...)
		q.addresses.count = len(in.SecondaryAllocationIds) - len(in.SecondaryPrivateIpAddresses)
	}
	if 1+len(q.addresses.secondary)+q.addresses.count > maxNATPrivate {
		return q, errNATAddresses()
	}
	sorted := slices.Sorted(slices.Values(q.allocations))
	if len(slices.Compact(sorted)) < len(q.allocations) {
		return q, awserr.New("InvalidParameterValue", "An elastic IP is given twice")
	}
	return q, nil
}

func errNATAddresses() error {
	return awserr.New("PrivateIpAddressLimitExceeded", "The maximum number of addresses of a NAT gateway has been reached.")
}

// CreateNatGateway makes a NAT gateway. Its zone gives it a node, and it is available once that has it.
func (s *Service) CreateNatGateway(ctx context.Context, in *shape.CreateNatGatewayRequest) (*shape.CreateNatGatewayResult, error) {
	info, err := s.begin(ctx, in)
	if err != nil {
		return nil, err
	}
	q, err := readNAT(in)
	if err != nil {
		return nil, err
	}
	tags, err := tagsOnCreate(in.TagSpecifications, "natgateway")
	if err != nil {
		return nil, err
	}
	token, err := tokenOfRequest(in)
	if err != nil {
		return nil, err
	}
	id, eni, rnd := s.IDs.Resource("nat-"), s.IDs.Resource("eni-"), s.random()
	var made *resource.NATGateway
	err = s.update(ctx, in.DryRun, func(tx *store.Tx) error {
		for g := range store.NATGatewaysByOwner.By(tx, ownerKey(info)) {
			if token.same(g.Token) {
				made = g
				return token.check(g.Token)
			}
		}
		sub, err := subnets.find(tx, info, in.SubnetId)
		if err != nil {
			return err
		}
		if err := checkNATLimits(tx, info, sub, len(q.allocations)); err != nil {
			return err
		}
		made = &resource.NATGateway{
			Owned: s.owned(info, tags["natgateway"]), ID: id, VPCID: sub.VPCID, SubnetID: sub.ID, Zone: sub.Zone, Private: q.private,
			State: resource.NATPending, InterfaceID: eni, Token: token.token,
		}
		failure, err := s.furnishNAT(tx, info, made, sub, q, rnd)
		if err != nil {
			return err
		}
		if failure != nil { // as in AWS, what cannot be is there for a while and has failed
			made.State, made.InterfaceID, made.EndedAt, made.FailureCode, made.Failure = resource.NATFailed, "", s.now(), failure.Code, failure.Message
			for _, a := range q.allocations {
				made.Had = append(made.Had, resource.PrivateAddress{AllocationID: a})
			}
		}
		return store.NATGateways.Put(tx, made)
	})
	if err != nil {
		return nil, err
	}
	out := shapeNAT(s.Store.Snapshot(), made)
	if out.State != resource.NATPending { // a failure shows later
		out.State, out.FailureCode, out.FailureMessage, out.DeleteTime = resource.NATPending, "", "", time.Time{}
	}
	return &shape.CreateNatGatewayResult{NatGateway: &out, ClientToken: in.ClientToken}, nil
}

func checkNATLimits(r store.Reader, info *call.Info, sub *resource.Subnet, allocations int) error {
	n := 0
	for g := range store.NATGatewaysByOwner.By(r, ownerKey(info)) {
		if g.Zone == sub.Zone && g.Alive() {
			n++
		}
	}
	if n >= maxNATGateways {
		return awserr.New("NatGatewayLimitExceeded", "The maximum number of NAT gateways in %s has been reached.", sub.Zone)
	}
	return checkNATElastic(allocations)
}

func checkNATElastic(allocations int) error {
	if allocations > maxNATElastic {
		return awserr.New("AddressLimitExceeded", "The maximum number of elastic IPs of a NAT gateway has been reached.")
	}
	return nil
}

// furnishNAT makes the interface of a new NAT gateway. failure is what AWS says later, in the gateway's state.
func (s *Service) furnishNAT(tx *store.Tx, info *call.Info, g *resource.NATGateway, sub *resource.Subnet, q natRequest, rnd rng) (failure *awserr.Error, err error) {
	var eips []*resource.Address
	for _, id := range q.allocations {
		a, err := addresses.find(tx, info, id)
		if err != nil {
			return nil, err
		}
		eips = append(eips, a)
		if a.AssociationID != "" {
			return awserr.New("Resource.AlreadyAssociated", "Elastic IP address [%s] is already associated", a.AllocationID), nil
		}
	}
	if !q.private && store.InternetGatewaysByVPC.One(tx, sub.VPCID) == nil {
		return awserr.New("Gateway.NotAttached", "Network %s has no Internet gateway attached", sub.VPCID), nil
	}
	e := &resource.Interface{
		Owned: s.owned(info, nil), ID: g.InterfaceID, Description: "Interface for NAT Gateway " + g.ID, Kind: natInterface, Requester: natKeeper,
		AttachmentID: s.IDs.Resource("ela-attach-"), NoSourceCheck: true,
	}
	if err := giveAddresses(tx, e, sub, q.addresses, rnd); err != nil {
		if awserr.Code(err) == "InsufficientFreeAddressesInSubnet" {
			return awserr.New("InsufficientFreeAddressesInSubnet", "Subnet %s has insufficient free addresses to create this NAT gateway", sub.ID), nil
		}
		return nil, err
	}
	if err := store.Interfaces.Put(tx, e); err != nil {
		return nil, err
	}
	for i, a := range eips {
		if err := s.giveNAT(tx, a, g, i); err != nil {
			return nil, err
		}
	}
	return nil, nil
}

// giveNAT gives a free elastic IP to the n-th private address of a NAT gateway.
func (s *Service) giveNAT(tx *store.Tx, a *resource.Address, g *resource.NATGateway, n int) error {
	managed := *a
	managed.ManagedBy = g.ID
	return associateAddress(tx, &managed, g.InterfaceID, n, s.IDs.Resource("eipassoc-"))
}

// DeleteNatGateway wants a NAT gateway gone. It is, and its elastic IPs are free, once its node has none of it.
func (s *Service) DeleteNatGateway(ctx context.Context, in *shape.DeleteNatGatewayRequest) (*shape.DeleteNatGatewayResult, error) {
	info, err := s.begin(ctx, in)
	if err != nil {
		return nil, err
	}
	if in.NatGatewayId == "" {
		return nil, errMissing("natGatewayId")
	}
	err = s.update(ctx, in.DryRun, func(tx *store.Tx) error {
		g, err := natGateways.find(tx, info, in.NatGatewayId)
		if err != nil {
			return err
		}
		next := *g
		switch {
		case g.State == resource.NATFailed:
			next.State = resource.NATDeleted
			return store.NATGateways.Put(tx, &next)
		case !g.Works():
			return nil
		}
		next.State, next.EndedAt = resource.NATDeleting, s.now()
		if g.Node == "" {
			return lifecycle.FinishNAT(tx, &next)
		}
		return store.NATGateways.Put(tx, &next)
	})
	if err != nil {
		return nil, err
	}
	return &shape.DeleteNatGatewayResult{NatGatewayId: in.NatGatewayId}, nil
}

// shapeNAT shows a NAT gateway.
func shapeNAT(r store.Reader, g *resource.NATGateway) shape.NatGateway {
	return shape.NatGateway{
		CreateTime: g.CreatedAt, DeleteTime: g.EndedAt, FailureCode: g.FailureCode, FailureMessage: g.Failure, NatGatewayAddresses: shapeNATAddresses(r, g),
		NatGatewayId: g.ID, State: g.State, SubnetId: g.SubnetID, VpcId: g.VPCID, Tags: shapeTags(g.Tags), ConnectivityType: choose(g.Private, "private", "public"),
	}
}

func shapeNATAddresses(r store.Reader, g *resource.NATGateway) []shape.NatGatewayAddress {
	all := g.Had
	if eni := store.Interfaces.Get(r, g.InterfaceID); eni != nil {
		all = eni.Addresses()
	}
	status := "succeeded"
	switch {
	case g.State == resource.NATPending:
		status = choose(g.Private, "assigning", "associating")
	case g.State == resource.NATDeleting:
		status = choose(g.Private, "unassigning", "disassociating")
	case g.State == resource.NATFailed:
		status = "failed"
	}
	out := []shape.NatGatewayAddress{}
	for i, a := range all {
		out = append(out, shape.NatGatewayAddress{
			AllocationId: a.AllocationID, NetworkInterfaceId: g.InterfaceID, PrivateIp: a.PrivateIP, PublicIp: a.PublicIP, AssociationId: a.AssociationID,
			IsPrimary: i == 0, Status: status,
		})
	}
	return out
}

var natFilters = &filter.Set[*resource.NATGateway]{
	Fields: map[string]func(*resource.NATGateway) []string{
		"nat-gateway-id": func(g *resource.NATGateway) []string { return one(g.ID) },
		"state":          func(g *resource.NATGateway) []string { return one(g.State) },
		"subnet-id":      func(g *resource.NATGateway) []string { return one(g.SubnetID) },
		"vpc-id":         func(g *resource.NATGateway) []string { return one(g.VPCID) },
	},
	Tags: func(g *resource.NATGateway) map[string]string { return g.Tags },
}

// DescribeNatGateways lists NAT gateways; deleted and failed ones, too, for an hour.
func (s *Service) DescribeNatGateways(ctx context.Context, in *shape.DescribeNatGatewaysRequest) (*shape.DescribeNatGatewaysResult, error) {
	info, r, err := s.read(ctx, in, in.DryRun)
	if err != nil {
		return nil, err
	}
	match, err := compile(natFilters, in.Filter)
	if err != nil {
		return nil, err
	}
	list, next, err := list(s, r, info, natGateways, selection[resource.NATGateway]{
		op: "DescribeNatGateways", ids: in.NatGatewayIds, max: in.MaxResults, token: in.NextToken, match: match,
	})
	if err != nil {
		return nil, err
	}
	return &shape.DescribeNatGatewaysResult{NatGateways: showAll(r, list, shapeNAT), NextToken: next}, nil
}
