package ec2

import (
	"context"
	"slices"

	"karri.dev/internal/aws/call"
	shape "karri.dev/internal/aws/shape/ec2"
	"karri.dev/internal/resource"
	"karri.dev/internal/store"
)

// ModifyVpcEndpoint changes an endpoint's policy, and where it is.
func (s *Service) ModifyVpcEndpoint(ctx context.Context, in *shape.ModifyVpcEndpointRequest) (*shape.ModifyVpcEndpointResult, error) {
	info, err := s.begin(ctx, in)
	if err != nil {
		return nil, err
	}
	switch {
	case in.VpcEndpointId == "":
		return nil, errMissing("VpcEndpointId")
	case isTrue(in.ResetPolicy) && in.PolicyDocument != "":
		return nil, errCombination("The parameters resetPolicy and policyDocument cannot be used together")
	}
	if err := checkEndpointAddresses(in.IpAddressType); err != nil {
		return nil, err
	}
	rnd := s.random()
	err = s.update(ctx, in.DryRun, func(tx *store.Tx) error {
		e, err := vpcEndpoints.find(tx, info, in.VpcEndpointId)
		if err != nil {
			return err
		}
		next := *e
		switch {
		case e.Gateway && len(in.AddSubnetIds)+len(in.RemoveSubnetIds)+len(in.AddSecurityGroupIds)+len(in.RemoveSecurityGroupIds) > 0 || e.Gateway && in.PrivateDnsEnabled != nil:
			return errEndpoint("Subnets, security groups and private DNS are only supported for Interface type VPC Endpoint.")
		case !e.Gateway && len(in.AddRouteTableIds)+len(in.RemoveRouteTableIds) > 0:
			return errEndpoint("Route table IDs are only supported for Gateway type VPC Endpoint.")
		case isTrue(in.ResetPolicy):
			next.Policy = nil
		case in.PolicyDocument != "":
			if next.Policy, err = endpointPolicy(tx, in.PolicyDocument); err != nil {
				return err
			}
		}
		if e.Gateway {
			err = moveRoutes(tx, info, &next, in)
		} else {
			err = s.moveInterfaces(tx, info, &next, in, rnd)
		}
		if err != nil {
			return err
		}
		return store.VPCEndpoints.Put(tx, &next)
	})
	if err != nil {
		return nil, err
	}
	return &shape.ModifyVpcEndpointResult{Return: true}, nil
}

func moveRoutes(tx *store.Tx, info *call.Info, e *resource.VPCEndpoint, in *shape.ModifyVpcEndpointRequest) error {
	for _, id := range in.RemoveRouteTableIds {
		if _, err := routeTables.find(tx, info, id); err != nil {
			return err
		}
	}
	if err := dropEndpointRoutes(tx, e, func(id string) bool { return slices.Contains(in.RemoveRouteTableIds, id) }); err != nil {
		return err
	}
	return addEndpointRoutes(tx, info, e, in.AddRouteTableIds)
}

func (s *Service) moveInterfaces(tx *store.Tx, info *call.Info, e *resource.VPCEndpoint, in *shape.ModifyVpcEndpointRequest, rnd rng) error {
	if in.PrivateDnsEnabled != nil {
		if e.PrivateDNS = *in.PrivateDnsEnabled; e.PrivateDNS {
			if err := checkPrivateDNS(tx, store.VPCs.Get(tx, e.VPCID), e, s.cfg.Domain); err != nil {
				return err
			}
		}
	}
	var kept []string
	for _, id := range e.Interfaces {
		eni := store.Interfaces.Get(tx, id)
		if eni != nil && slices.Contains(in.RemoveSubnetIds, eni.SubnetID) {
			store.Interfaces.Delete(tx, id)
			continue
		}
		kept = append(kept, id)
	}
	e.Interfaces = kept
	if len(in.AddSecurityGroupIds)+len(in.RemoveSecurityGroupIds) > 0 {
		ids := slices.DeleteFunc(slices.Clone(e.Groups), func(id string) bool { return slices.Contains(in.RemoveSecurityGroupIds, id) })
		ids = append(ids, in.AddSecurityGroupIds...)
		slices.Sort(ids)
		if ids = slices.Compact(ids); len(ids) == 0 {
			return errEndpoint("A VPC endpoint of the type Interface needs a security group")
		}
		groups, err := groupsIn(tx, info, e.VPCID, ids)
		if err != nil {
			return err
		}
		e.Groups = groups
		for _, id := range e.Interfaces {
			if eni := store.Interfaces.Get(tx, id); eni != nil {
				next := *eni
				next.Groups = groups
				if err := store.Interfaces.Put(tx, &next); err != nil {
					return err
				}
			}
		}
	}
	return s.addEndpointSubnets(tx, info, e, in.AddSubnetIds, rnd)
}
