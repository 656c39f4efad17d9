package ec2

import (
	"context"
	"slices"

	"karri.dev/internal/aws/awserr"
	shape "karri.dev/internal/aws/shape/ec2"
	"karri.dev/internal/filter"
	"karri.dev/internal/resource"
	"karri.dev/internal/store"
)

var gatewayFilters = &filter.Set[*resource.InternetGateway]{
	Fields: map[string]func(*resource.InternetGateway) []string{
		"attachment.state": func(g *resource.InternetGateway) []string {
			if g.VPCID == "" {
				return nil
			}
			return []string{"available"}
		},
		"attachment.vpc-id":   func(g *resource.InternetGateway) []string { return one(g.VPCID) },
		"internet-gateway-id": func(g *resource.InternetGateway) []string { return one(g.ID) },
		"owner-id":            func(g *resource.InternetGateway) []string { return one(g.AccountID) },
	},
	Tags: func(g *resource.InternetGateway) map[string]string { return g.Tags },
}

// shapeGateway shows an internet gateway.
func shapeGateway(_ store.Reader, g *resource.InternetGateway) shape.InternetGateway {
	out := shape.InternetGateway{InternetGatewayId: g.ID, OwnerId: g.AccountID, Tags: shapeTags(g.Tags), Attachments: []shape.InternetGatewayAttachment{}}
	if g.VPCID != "" {
		out.Attachments = append(out.Attachments, shape.InternetGatewayAttachment{State: "available", VpcId: g.VPCID})
	}
	return out
}

// DescribeInternetGateways lists internet gateways.
func (s *Service) DescribeInternetGateways(ctx context.Context, in *shape.DescribeInternetGatewaysRequest) (*shape.DescribeInternetGatewaysResult, error) {
	info, r, err := s.read(ctx, in, in.DryRun)
	if err != nil {
		return nil, err
	}
	match, err := compile(gatewayFilters, in.Filters)
	if err != nil {
		return nil, err
	}
	list, next, err := list(s, r, info, gateways, selection[resource.InternetGateway]{
		op: "DescribeInternetGateways", ids: in.InternetGatewayIds, max: in.MaxResults, token: in.NextToken, match: match,
	})
	if err != nil {
		return nil, err
	}
	return &shape.DescribeInternetGatewaysResult{InternetGateways: showAll(r, list, shapeGateway), NextToken: next}, nil
}

// CreateInternetGateway makes an internet gateway that no VPC has yet.
func (s *Service) CreateInternetGateway(ctx context.Context, in *shape.CreateInternetGatewayRequest) (*shape.CreateInternetGatewayResult, error) {
	info, err := s.begin(ctx, in)
	if err != nil {
		return nil, err
	}
	tags, err := tagsOnCreate(in.TagSpecifications, "internet-gateway")
	if err != nil {
		return nil, err
	}
	g := &resource.InternetGateway{Owned: s.owned(info, tags["internet-gateway"]), ID: s.IDs.Resource("igw-")}
	err = s.update(ctx, in.DryRun, func(tx *store.Tx) error {
		return store.InternetGateways.Put(tx, g)
	})
	if err != nil {
		return nil, err
	}
	out := shapeGateway(nil, g)
	return &shape.CreateInternetGatewayResult{InternetGateway: &out}, nil
}

// DeleteInternetGateway deletes an internet gateway that no VPC has.
func (s *Service) DeleteInternetGateway(ctx context.Context, in *shape.DeleteInternetGatewayRequest) (*shape.DeleteInternetGatewayResult, error) {
	info, err := s.begin(ctx, in)
	if err != nil {
		return nil, err
	}
	if in.InternetGatewayId == "" {
		return nil, errMissing("internetGatewayId")
	}
	err = s.update(ctx, in.DryRun, func(tx *store.Tx) error {
		g, err := gateways.find(tx, info, in.InternetGatewayId)
		if err != nil {
			return err
		}
		if g.VPCID != "" {
			return errDependent("internetGateway", g.ID)
		}
		store.InternetGateways.Delete(tx, g.ID)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return &shape.DeleteInternetGatewayResult{}, nil
}

// AttachInternetGateway joins a VPC to the public network.
func (s *Service) AttachInternetGateway(ctx context.Context, in *shape.AttachInternetGatewayRequest) (*shape.AttachInternetGatewayResult, error) {
	info, err := s.begin(ctx, in)
	if err != nil {
		return nil, err
	}
	switch {
	case in.InternetGatewayId == "":
		return nil, errMissing("internetGatewayId")
	case in.VpcId == "":
		return nil, errMissing("vpcId")
	}
	err = s.update(ctx, in.DryRun, func(tx *store.Tx) error {
		g, err := gateways.find(tx, info, in.InternetGatewayId)
		if err != nil {
			return err
		}
		v, err := vpcs.find(tx, info, in.VpcId)
		if err != nil {
			return err
		}
		if g.VPCID != "" {
			return awserr.New("Resource.AlreadyAssociated", "resource %s is already attached to network %s", g.ID, g.VPCID)
		}
		if store.InternetGatewaysByVPC.One(tx, v.ID) != nil {
			return awserr.New("InvalidParameterValue", "Network %s already has an internet gateway attached", v.ID)
		}
		next := *g
		next.VPCID = v.ID
		return store.InternetGateways.Put(tx, &next)
	})
	if err != nil {
		return nil, err
	}
	return &shape.AttachInternetGatewayResult{}, nil
}

// DetachInternetGateway takes the public network from a VPC in which nothing has a public address.
func (s *Service) DetachInternetGateway(ctx context.Context, in *shape.DetachInternetGatewayRequest) (*shape.DetachInternetGatewayResult, error) {
	info, err := s.begin(ctx, in)
	if err != nil {
		return nil, err
	}
	switch {
	case in.InternetGatewayId == "":
		return nil, errMissing("internetGatewayId")
	case in.VpcId == "":
		return nil, errMissing("vpcId")
	}
	err = s.update(ctx, in.DryRun, func(tx *store.Tx) error {
		g, err := gateways.find(tx, info, in.InternetGatewayId)
		if err != nil {
			return err
		}
		v, err := vpcs.find(tx, info, in.VpcId)
		if err != nil {
			return err
		}
		if g.VPCID != v.ID {
			return awserr.New("Gateway.NotAttached", "resource %s is not attached to network %s", g.ID, v.ID)
		}
		if has(store.InterfacesByVPC.By(tx, v.ID), func(e *resource.Interface) bool {
			return slices.ContainsFunc(e.Addresses(), func(a resource.PrivateAddress) bool { return a.PublicIP != "" })
		}) {
			return awserr.New("DependencyViolation", "Network %s has some mapped public address(es). Please unmap those public address(es) before detaching the gateway.", v.ID)
		}
		next := *g
		next.VPCID = ""
		return store.InternetGateways.Put(tx, &next)
	})
	if err != nil {
		return nil, err
	}
	return &shape.DetachInternetGatewayResult{}, nil
}
