package ec2

import (
	"context"
	"slices"

	"karri.dev/internal/authz"
	"karri.dev/internal/aws/awserr"
	"karri.dev/internal/aws/call"
	shape "karri.dev/internal/aws/shape/ec2"
	"karri.dev/internal/policy"
	"karri.dev/internal/resource"
	"karri.dev/internal/store"
)

// Limits of AWS on VPC endpoints.
const (
	maxGatewayEndpoints   = 20 // of an account in a region
	maxInterfaceEndpoints = 50 // of a VPC
	maxEndpointPolicy     = 20480
)

// endpointInterface is the kind of an interface endpoint's interfaces.
const endpointInterface = "vpc_endpoint"

func errEndpoint(format string, args ...any) error {
	return awserr.New("InvalidParameter", format, args...)
}

// endpointService gives the signing name of a service that has endpoints in the region.
func endpointService(region, name string) (string, error) {
	for _, s := range resource.EndpointServices {
		if resource.EndpointService(region, s) == name {
			return s, nil
		}
	}
	return "", awserr.New("InvalidServiceName", "The Vpc Endpoint Service '%s' does not exist", name)
}

// endpointPolicy reads a policy for an endpoint; "" is none.
func endpointPolicy(r store.Reader, text string) (*resource.Bound, error) {
	if text == "" {
		return nil, nil
	}
	if len(text) > maxEndpointPolicy {
		return nil, awserr.New("InvalidPolicyDocument", "The policy document has more than %d characters.", maxEndpointPolicy)
	}
	bound, missing, err := authz.Bind(r, text, policy.Resource)
	switch {
	case err != nil:
		return nil, awserr.New("InvalidPolicyDocument", "The policy document is invalid: %v", err)
	case missing != "":
		return nil, awserr.New("InvalidPolicyDocument", "The policy document names a principal that does not exist: %s", missing)
	}
	return &bound, nil
}

func checkEndpointAddresses(kind string) error {
	if err := oneOf("ipAddressType", kind, "ipv4", "dualstack", "ipv6"); err != nil {
		return err
	}
	if kind != "" && kind != "ipv4" {
		return errUnsupported("VPC endpoints of the IP address type '%s' are not supported by this cloud.", kind)
	}
	return nil
}

// CreateVpcEndpoint makes a gateway endpoint to S3, or an interface endpoint to one of the cloud's services.
func (s *Service) CreateVpcEndpoint(ctx context.Context, in *shape.CreateVpcEndpointRequest) (*shape.CreateVpcEndpointResult, error) {
	info, err := s.begin(ctx, in)
	if err != nil {
		return nil, err
	}
	gateway := in.VpcEndpointType == "" || in.VpcEndpointType == "Gateway"
	switch {
	case in.VpcId == "":
		return nil, errMissing("VpcId")
	case in.ServiceName == "":
		return nil, errMissing("ServiceName")
	case gateway && len(in.SubnetIds) > 0:
		return nil, errEndpoint("Subnet IDs are only supported for Interface type VPC Endpoint.")
	case gateway && len(in.SecurityGroupIds) > 0:
		return nil, errEndpoint("Security group IDs are only supported for Interface type VPC Endpoint.")
	case gateway && isTrue(in.PrivateDnsEnabled):
		return nil, errEndpoint("Private DNS is only supported for Interface type VPC Endpoint.")
	case !gateway && len(in.RouteTableIds) > 0:
		return nil, errEndpoint("Route table IDs are only supported for Gateway type VPC Endpoint.")
	}
	if err := oneOf("vpcEndpointType", in.VpcEndpointType, "Gateway", "Interface", "GatewayLoadBalancer", "Resource", "ServiceNetwork"); err != nil {
		return nil, err
	}
	if !gateway && in.VpcEndpointType != "Interface" {
		return nil, errUnsupported("VPC endpoints of the type '%s' are not supported by this cloud.", in.VpcEndpointType)
	}
	if err := checkEndpointAddresses(in.IpAddressType); err != nil {
		return nil, err
	}
	signing, err := endpointService(info.Region, in.ServiceName)
	if err != nil {
		return nil, err
	}
	if gateway && signing != "s3" {
		return nil, errEndpoint("The service %s has no endpoints of the type Gateway.", in.ServiceName)
	}
	tags, err := tagsOnCreate(in.TagSpecifications, "vpc-endpoint")
	if err != nil {
		return nil, err
	}
	token, err := tokenOfRequest(in)
	if err != nil {
		return nil, err
	}
	id, label, rnd := s.IDs.Resource("vpce-"), s.IDs.Hex(4), s.random()
	var made *resource.VPCEndpoint
	err = s.update(ctx, in.DryRun, func(tx *store.Tx) error {
		for e := range store.VPCEndpointsByOwner.By(tx, ownerKey(info)) {
			if token.same(e.Token) {
				made = e
				return token.check(e.Token)
			}
		}
		v, err := vpcs.find(tx, info, in.VpcId)
		if err != nil {
			return err
		}
		if err := checkEndpointLimit(tx, info, v, gateway); err != nil {
			return err
		}
		made = &resource.VPCEndpoint{
			Owned: s.owned(info, tags["vpc-endpoint"]), ID: id, VPCID: v.ID, Service: in.ServiceName, Gateway: gateway, Token: token.token,
		}
		if made.Policy, err = endpointPolicy(tx, in.PolicyDocument); err != nil {
			return err
		}
		if gateway {
			if err := addEndpointRoutes(tx, info, made, in.RouteTableIds); err != nil {
				return err
			}
			return store.VPCEndpoints.Put(tx, made)
		}
		made.Label = label
		if made.Groups, err = groupsOr(tx, info, v.ID, in.SecurityGroupIds); err != nil {
			return err
		}
		if made.PrivateDNS = !isFalse(in.PrivateDnsEnabled); made.PrivateDNS {
			if err := checkPrivateDNS(tx, v, made, s.cfg.Domain); err != nil {
				return err
			}
		}
		if err := s.addEndpointSubnets(tx, info, made, in.SubnetIds, rnd); err != nil {
			return err
		}
		return store.VPCEndpoints.Put(tx, made)
	})
	if err != nil {
		return nil, err
	}
	out := s.shapeEndpoint(s.Store.Snapshot(), made)
	if !gateway {
		out.State = "pending" // as AWS answers; it is there when the next call comes
	}
	return &shape.CreateVpcEndpointResult{VpcEndpoint: &out, ClientToken: in.ClientToken}, nil
}

func checkEndpointLimit(r store.Reader, info *call.Info, v *resource.VPC, gateway bool) error {
	gateways, interfaces := 0, 0
	for e := range store.VPCEndpointsByOwner.By(r, ownerKey(info)) {
		if e.Gateway {
			gateways++
		} else if e.VPCID == v.ID {
			interfaces++
		}
	}
	if gateway && gateways >= maxGatewayEndpoints || !gateway && interfaces >= maxInterfaceEndpoints {
		return awserr.New("VpcEndpointLimitExceeded", "The maximum number of VPC endpoints has been reached.")
	}
	return nil
}

// checkPrivateDNS checks that an endpoint can take over its service's name in the VPC.
func checkPrivateDNS(r store.Reader, v *resource.VPC, e *resource.VPCEndpoint, domain string) error {
	if !v.DNSSupport || !v.DNSHostnames {
		return errEndpoint("Enabling private DNS requires both enableDnsSupport and enableDnsHostnames VPC attributes set to true for %s", v.ID)
	}
	for other := range store.VPCEndpointsByVPC.By(r, v.ID) {
		if other.ID != e.ID && other.PrivateDNS && other.Service == e.Service {
			return errEndpoint("private-dns-enabled cannot be set because there is already a conflicting DNS domain for %s in the VPC %s",
				resource.ServiceName(e.Region, e.Signing(), domain), v.ID)
		}
	}
	return nil
}

// addEndpointRoutes makes route tables lead to a gateway endpoint.
func addEndpointRoutes(tx *store.Tx, info *call.Info, e *resource.VPCEndpoint, ids []string) error {
	for _, id := range ids {
		t, err := routeTables.find(tx, info, id)
		if err != nil {
			return err
		}
		if t.VPCID != e.VPCID {
			return errNetworks(t, "vpc endpoint", e.ID)
		}
		next := *t
		if i := slices.IndexFunc(t.Routes, func(r resource.Route) bool { return r.PrefixListID == resource.S3PrefixList }); i >= 0 {
			if t.Routes[i].GatewayID == e.ID {
				continue
			}
			return awserr.New("RouteAlreadyExists", "route table %s already has a route with destination-prefix-list-id %s", t.ID, resource.S3PrefixList)
		}
		if len(t.Routes) >= maxRoutes {
			return awserr.New("RouteLimitExceeded", "The maximum number of routes has been reached.")
		}
		next.Routes = append(slices.Clone(t.Routes), resource.Route{PrefixListID: resource.S3PrefixList, GatewayID: e.ID})
		if err := store.RouteTables.Put(tx, &next); err != nil {
			return err
		}
	}
	return nil
}

// dropEndpointRoutes makes route tables of its VPC, all of them or those named, lead to a gateway endpoint no more.
func dropEndpointRoutes(tx *store.Tx, e *resource.VPCEndpoint, pass func(id string) bool) error {
	for _, t := range slices.Collect(store.RouteTablesByVPC.By(tx, e.VPCID)) {
		i := slices.IndexFunc(t.Routes, func(r resource.Route) bool { return r.GatewayID == e.ID })
		if i < 0 || !pass(t.ID) {
			continue
		}
		next := *t
		next.Routes = slices.Delete(slices.Clone(t.Routes), i, i+1)
		if err := store.RouteTables.Put(tx, &next); err != nil {
			return err
		}
	}
	return nil
}

// addEndpointSubnets gives an interface endpoint an interface in each of the subnets. A zone has one at most.
func (s *Service) addEndpointSubnets(tx *store.Tx, info *call.Info, e *resource.VPCEndpoint, ids []string, rnd rng) error {
	e.Interfaces = slices.Clone(e.Interfaces)
	zones := map[string]string{}
	for _, id := range e.Interfaces {
		if eni := store.Interfaces.Get(tx, id); eni != nil {
			zones[eni.Zone] = eni.SubnetID
		}
	}
	for _, id := range ids {
		sub, err := subnets.find(tx, info, id)
		if err != nil {
			return err
		}
		if sub.VPCID != e.VPCID {
			return errEndpoint("The subnet %s is not in the VPC %s", sub.ID, e.VPCID)
		}
		if zones[sub.Zone] == sub.ID {
			continue
		}
		if zones[sub.Zone] != "" {
			return awserr.New("DuplicateSubnetsInSameZone", "Found another VPC endpoint subnet in the availability zone of %s. VPC endpoint subnets should be in different availability zones supported by the VPC endpoint service.", sub.ID)
		}
		zones[sub.Zone] = sub.ID
		eni := &resource.Interface{
			Owned: s.owned(info, nil), ID: s.IDs.Resource("eni-"), Description: "VPC Endpoint Interface " + e.ID, Kind: endpointInterface, Requester: natKeeper,
			AttachmentID: s.IDs.Resource("ela-attach-"), Groups: e.Groups,
		}
		if err := giveAddresses(tx, eni, sub, interfaceSpec{}, rnd); err != nil {
			return err
		}
		if err := store.Interfaces.Put(tx, eni); err != nil {
			return err
		}
		e.Interfaces = append(e.Interfaces, eni.ID)
	}
	return nil
}

// DeleteVpcEndpoints deletes endpoints, with their routes and interfaces. It says which are not there.
func (s *Service) DeleteVpcEndpoints(ctx context.Context, in *shape.DeleteVpcEndpointsRequest) (*shape.DeleteVpcEndpointsResult, error) {
	info, err := s.begin(ctx, in)
	if err != nil {
		return nil, err
	}
	if len(in.VpcEndpointIds) == 0 {
		return nil, errMissing("VpcEndpointId")
	}
	out := &shape.DeleteVpcEndpointsResult{}
	err = s.update(ctx, in.DryRun, func(tx *store.Tx) error {
		out.Unsuccessful = nil
		for _, id := range in.VpcEndpointIds {
			e, err := vpcEndpoints.find(tx, info, id)
			if err != nil {
				out.Unsuccessful = append(out.Unsuccessful, shape.UnsuccessfulItem{
					ResourceId: id, Error: &shape.UnsuccessfulItemError{Code: awserr.Code(err), Message: err.Error()},
				})
				continue
			}
			if err := dropEndpointRoutes(tx, e, func(string) bool { return true }); err != nil {
				return err
			}
			for _, id := range e.Interfaces {
				store.Interfaces.Delete(tx, id)
			}
			store.VPCEndpoints.Delete(tx, e.ID)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}
