package ec2

import (
	"context"

	"karri.dev/internal/aws/awserr"
	"karri.dev/internal/aws/call"
	shape "karri.dev/internal/aws/shape/ec2"
	"karri.dev/internal/resource"
	"karri.dev/internal/store"
)

// errDependent refuses to delete what something else needs.
func errDependent(noun, id string) error {
	return awserr.New("DependencyViolation", "The %s '%s' has dependencies and cannot be deleted.", noun, id)
}

// count counts the caller's records of a kind.
func (k *kind[T]) count(r store.Reader, info *call.Info) (n int) {
	for range k.owner.By(r, ownerKey(info)) {
		n++
	}
	return n
}

// has says whether a sequence has an element that passes.
func has[T any](seq func(func(T) bool), pass func(T) bool) bool {
	for v := range seq {
		if pass(v) {
			return true
		}
	}
	return false
}

// CreateVpc makes a VPC with its main route table, default group and default network ACL.
func (s *Service) CreateVpc(ctx context.Context, in *shape.CreateVpcRequest) (*shape.CreateVpcResult, error) {
	info, err := s.begin(ctx, in)
	if err != nil {
		return nil, err
	}
	if in.CidrBlock == "" {
		return nil, awserr.New("MissingParameter", "Either 'cidrBlock' or 'ipv4IpamPoolId' should be provided.")
	}
	block, err := vpcBlock(in.CidrBlock)
	if err != nil {
		return nil, err
	}
	if err := checkTenancy(in.InstanceTenancy); err != nil {
		return nil, err
	}
	if err := s.checkV6(info, isTrue(in.AmazonProvidedIpv6CidrBlock), in.Ipv6CidrBlockNetworkBorderGroup); err != nil {
		return nil, err
	}
	tags, err := tagsOnCreate(in.TagSpecifications, "vpc")
	if err != nil {
		return nil, err
	}
	id, rnd := s.IDs.Resource("vpc-"), s.random()
	var made *resource.VPC
	err = s.update(ctx, in.DryRun, func(tx *store.Tx) error {
		if err := needVPCs(tx, info.Region); err != nil {
			return err
		}
		vpc := resource.VPC{Owned: s.owned(info, tags["vpc"]), ID: id, CIDR: block.String()}
		if isTrue(in.AmazonProvidedIpv6CidrBlock) {
			if err := s.giveV6(tx, &vpc, rnd); err != nil {
				return err
			}
		}
		if made, err = newVPC(tx, s.IDs, vpc); err != nil || len(vpc.IPv6) == 0 {
			return err
		}
		return s.openV6(tx, made)
	})
	if err != nil {
		return nil, err
	}
	out := shapeVPC(made)
	out.State = "pending" // as AWS answers; it is there when the next call comes
	return &shape.CreateVpcResult{Vpc: &out}, nil
}

// checkTenancy takes the only tenancy that there is: no host is ever one account's own.
func checkTenancy(tenancy string) error {
	if err := oneOf("instanceTenancy", tenancy, "default", "dedicated", "host"); err != nil {
		return err
	}
	if tenancy != "" && tenancy != "default" {
		return errUnsupported("The tenancy '%s' is not supported by this cloud.", tenancy)
	}
	return nil
}

// CreateDefaultVpc makes the caller's default VPC again.
func (s *Service) CreateDefaultVpc(ctx context.Context, in *shape.CreateDefaultVpcRequest) (*shape.CreateDefaultVpcResult, error) {
	info, err := s.begin(ctx, in)
	if err != nil {
		return nil, err
	}
	var made *resource.VPC
	err = s.update(ctx, in.DryRun, func(tx *store.Tx) error {
		if v := defaultVPC(tx, info); v != nil {
			return awserr.New("DefaultVpcAlreadyExists", "A Default VPC already exists for this account in this region.")
		}
		if !hasDefaultVPCs(tx, info.Region) {
			return awserr.New("OperationNotPermitted", "Accounts on the EC2-Classic platform cannot create a default VPC.")
		}
		made, err = CreateDefaultVPC(tx, s.IDs, s.now(), info.AccountID, info.Region)
		return err
	})
	if err != nil {
		return nil, err
	}
	out := shapeVPC(made)
	out.State = "pending"
	return &shape.CreateDefaultVpcResult{Vpc: &out}, nil
}

// DeleteVpc deletes a VPC that nothing is left in but what it came with.
func (s *Service) DeleteVpc(ctx context.Context, in *shape.DeleteVpcRequest) (*shape.DeleteVpcResult, error) {
	info, err := s.begin(ctx, in)
	if err != nil {
		return nil, err
	}
	if in.VpcId == "" {
		return nil, errMissing("vpcId")
	}
	err = s.update(ctx, in.DryRun, func(tx *store.Tx) error {
		v, err := vpcs.find(tx, info, in.VpcId)
		if err != nil {
			return err
		}
		if vpcInUse(tx, v) {
			return errDependent("vpc", v.ID)
		}
		for p := range store.PeeringsByVPC.By(tx, v.ID) {
			if p.State == resource.PeeringActive || p.State == resource.PeeringPending {
				if err := endPeering(tx, p, info.AccountID, s.now()); err != nil {
					return err
				}
			}
		}
		deleteVPC(tx, v)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return &shape.DeleteVpcResult{}, nil
}

// vpcInUse says whether a VPC holds more than what it came with.
func vpcInUse(r store.Reader, v *resource.VPC) bool {
	return store.SubnetsByVPC.One(r, v.ID) != nil || store.VPCEndpointsByVPC.One(r, v.ID) != nil || store.InterfacesByVPC.One(r, v.ID) != nil || store.InternetGatewaysByVPC.One(r, v.ID) != nil || store.EgressGatewaysByVPC.One(r, v.ID) != nil || store.VPNGatewaysByVPC.One(r, v.ID) != nil ||
		has(store.RouteTablesByVPC.By(r, v.ID), func(t *resource.RouteTable) bool { return t.ID != v.MainRouteTable }) ||
		has(store.SecurityGroupsByVPC.By(r, v.ID), func(g *resource.SecurityGroup) bool { return g.ID != v.DefaultGroup }) ||
		has(store.NetworkACLsByVPC.By(r, v.ID), func(a *resource.NetworkACL) bool { return a.ID != v.DefaultACL })
}

// ModifyVpcAttribute changes one attribute.
func (s *Service) ModifyVpcAttribute(ctx context.Context, in *shape.ModifyVpcAttributeRequest) (*shape.ModifyVpcAttributeResult, error) {
	info, err := s.begin(ctx, in)
	if err != nil {
		return nil, err
	}
	if in.VpcId == "" {
		return nil, errMissing("vpcId")
	}
	given := 0
	for _, a := range []*shape.AttributeBooleanValue{in.EnableDnsHostnames, in.EnableDnsSupport, in.EnableNetworkAddressUsageMetrics} {
		if a != nil && a.Value != nil {
			given++
		}
	}
	switch {
	case given == 0:
		return nil, errMissing("attribute")
	case given > 1:
		return nil, errCombination("Only one attribute can be modified at a time.")
	}
	err = s.update(ctx, nil, func(tx *store.Tx) error {
		v, err := vpcs.find(tx, info, in.VpcId)
		if err != nil {
			return err
		}
		next := *v
		set := func(field *bool, a *shape.AttributeBooleanValue) {
			if a != nil && a.Value != nil {
				*field = *a.Value
			}
		}
		set(&next.DNSHostnames, in.EnableDnsHostnames)
		set(&next.DNSSupport, in.EnableDnsSupport)
		set(&next.UsageMetrics, in.EnableNetworkAddressUsageMetrics)
		return store.VPCs.Put(tx, &next)
	})
	if err != nil {
		return nil, err
	}
	return &shape.ModifyVpcAttributeResult{}, nil
}

// ModifyVpcTenancy takes "default", which every VPC has.
func (s *Service) ModifyVpcTenancy(ctx context.Context, in *shape.ModifyVpcTenancyRequest) (*shape.ModifyVpcTenancyResult, error) {
	info, err := s.begin(ctx, in)
	if err != nil {
		return nil, err
	}
	switch {
	case in.VpcId == "":
		return nil, errMissing("vpcId")
	case in.InstanceTenancy == "":
		return nil, errMissing("instanceTenancy")
	}
	if err := oneOf("instanceTenancy", in.InstanceTenancy, "default"); err != nil {
		return nil, err
	}
	err = s.update(ctx, in.DryRun, func(tx *store.Tx) error {
		_, err := vpcs.find(tx, info, in.VpcId)
		return err
	})
	if err != nil {
		return nil, err
	}
	return &shape.ModifyVpcTenancyResult{ReturnValue: true}, nil
}
