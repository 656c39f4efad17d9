package ec2

import (
	"strings"
	"testing"

	shape "karri.dev/internal/aws/shape/ec2"
	"karri.dev/internal/resource"
)

const serviceS3 = "com.amazonaws.us-east-1.s3"

func TestGatewayEndpoint(t *testing.T) {
	c := newCloud(t)
	vpc, _ := c.vpc("10.0.0.0/16", "10.0.0.0/24")
	other, _ := c.vpc("10.1.0.0/16", "10.1.0.0/24")
	table := do(c, c.CreateRouteTable, shape.CreateRouteTableRequest{VpcId: vpc}).RouteTable.RouteTableId
	foreign := do(c, c.CreateRouteTable, shape.CreateRouteTableRequest{VpcId: other}).RouteTable.RouteTableId
	for code, in := range map[string]shape.CreateVpcEndpointRequest{
		"MissingParameter vpc":                   {ServiceName: serviceS3},
		"MissingParameter service":               {VpcId: vpc},
		"InvalidServiceName":                     {VpcId: vpc, ServiceName: "com.amazonaws.us-east-1.dynamodb"},
		"InvalidServiceName region":              {VpcId: vpc, ServiceName: "com.amazonaws.eu-west-1.s3"},
		"InvalidParameter subnets":               {VpcId: vpc, ServiceName: serviceS3, SubnetIds: []string{"subnet-1"}},
		"InvalidParameter no gateway":            {VpcId: vpc, ServiceName: "com.amazonaws.us-east-1.ec2"},
		"InvalidParameterValue type":             {VpcId: vpc, ServiceName: serviceS3, VpcEndpointType: "Portal"},
		"UnsupportedOperation":                   {VpcId: vpc, ServiceName: serviceS3, VpcEndpointType: "GatewayLoadBalancer"},
		"UnsupportedOperation addresses":         {VpcId: vpc, ServiceName: serviceS3, IpAddressType: "dualstack"},
		"InvalidVpcID.NotFound":                  {VpcId: "vpc-0123456789abcdef0", ServiceName: serviceS3},
		"InvalidRouteTableID.NotFound":           {VpcId: vpc, ServiceName: serviceS3, RouteTableIds: []string{"rtb-0123456789abcdef0"}},
		"InvalidParameterValue network":          {VpcId: vpc, ServiceName: serviceS3, RouteTableIds: []string{foreign}},
		"InvalidPolicyDocument":                  {VpcId: vpc, ServiceName: serviceS3, PolicyDocument: "{"},
		"InvalidPolicyDocument without a caller": {VpcId: vpc, ServiceName: serviceS3, PolicyDocument: `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"*","Resource":"*"}}`},
		"InvalidPolicyDocument long":             {VpcId: vpc, ServiceName: serviceS3, PolicyDocument: strings.Repeat(" ", maxEndpointPolicy+1)},
	} {
		refused(c, c.CreateVpcEndpoint, in, strings.Fields(code)[0])
	}
	in := shape.CreateVpcEndpointRequest{VpcId: vpc, ServiceName: serviceS3, RouteTableIds: []string{table}, ClientToken: "t"}
	made := do(c, c.CreateVpcEndpoint, in).VpcEndpoint
	if again := do(c, c.CreateVpcEndpoint, in).VpcEndpoint; again.VpcEndpointId != made.VpcEndpointId {
		t.Errorf("the token made another one: %s", again.VpcEndpointId)
	}
	if made.State != "available" || made.PolicyDocument != openPolicy || len(made.RouteTableIds) != 1 || made.VpcEndpointType != "Gateway" {
		t.Errorf("%+v", made)
	}
	refused(c, c.CreateVpcEndpoint, shape.CreateVpcEndpointRequest{VpcId: vpc, ServiceName: serviceS3, RouteTableIds: []string{table}}, "RouteAlreadyExists")
	shown := do(c, c.DescribeRouteTables, shape.DescribeRouteTablesRequest{RouteTableIds: []string{table}}).RouteTables[0].Routes
	if last := shown[len(shown)-1]; last.DestinationPrefixListId != resource.S3PrefixList || last.GatewayId != made.VpcEndpointId || last.State != "active" {
		t.Errorf("%+v", last)
	}
	refused(c, c.DeleteRoute, shape.DeleteRouteRequest{RouteTableId: table, DestinationPrefixListId: resource.S3PrefixList}, "InvalidParameterValue")
	refused(c, c.DeleteVpc, shape.DeleteVpcRequest{VpcId: other}, "DependencyViolation")

	text := `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Principal":"*","Action":"s3:GetObject","Resource":"*"}}`
	refused(c, c.ModifyVpcEndpoint, shape.ModifyVpcEndpointRequest{VpcEndpointId: made.VpcEndpointId, PolicyDocument: text, ResetPolicy: ptr(true)}, "InvalidParameterCombination")
	refused(c, c.ModifyVpcEndpoint, shape.ModifyVpcEndpointRequest{VpcEndpointId: made.VpcEndpointId, AddSubnetIds: []string{"x"}}, "InvalidParameter")
	do(c, c.ModifyVpcEndpoint, shape.ModifyVpcEndpointRequest{VpcEndpointId: made.VpcEndpointId, PolicyDocument: text, RemoveRouteTableIds: []string{table}})
	e := do(c, c.DescribeVpcEndpoints, shape.DescribeVpcEndpointsRequest{Filters: filters("vpc-id", vpc)}).VpcEndpoints[0]
	if e.PolicyDocument != text || len(e.RouteTableIds) != 0 {
		t.Errorf("%+v", e)
	}
	do(c, c.ModifyVpcEndpoint, shape.ModifyVpcEndpointRequest{VpcEndpointId: made.VpcEndpointId, ResetPolicy: ptr(true), AddRouteTableIds: []string{table}})
	for name, value := range map[string]string{
		"service-name": serviceS3, "vpc-endpoint-type": "Gateway", "vpc-endpoint-state": "available", "vpc-endpoint-id": made.VpcEndpointId,
	} {
		if list := do(c, c.DescribeVpcEndpoints, shape.DescribeVpcEndpointsRequest{Filters: filters(name, value)}).VpcEndpoints; len(list) != 1 {
			t.Errorf("%s=%s: %d", name, value, len(list))
		}
		if list := do(c, c.DescribeVpcEndpoints, shape.DescribeVpcEndpointsRequest{Filters: filters(name, "x")}).VpcEndpoints; len(list) != 0 {
			t.Errorf("%s=x: %d", name, len(list))
		}
	}

	// Another account neither sees nor changes it.
	if list, err := c.DescribeVpcEndpoints(c.bob, &shape.DescribeVpcEndpointsRequest{}); err != nil || len(list.VpcEndpoints) != 0 {
		t.Errorf("bob: %v, %v", list, err)
	}
	_, err := c.ModifyVpcEndpoint(c.bob, &shape.ModifyVpcEndpointRequest{VpcEndpointId: made.VpcEndpointId, ResetPolicy: ptr(true)})
	c.code("bob modifies", err, "InvalidVpcEndpointId.NotFound")
	gone, err := c.DeleteVpcEndpoints(c.bob, &shape.DeleteVpcEndpointsRequest{VpcEndpointIds: []string{made.VpcEndpointId}})
	if err != nil || len(gone.Unsuccessful) != 1 || gone.Unsuccessful[0].Error.Code != "InvalidVpcEndpointId.NotFound" {
		t.Errorf("bob deletes: %+v, %v", gone, err)
	}
	if gone := do(c, c.DeleteVpcEndpoints, shape.DeleteVpcEndpointsRequest{VpcEndpointIds: []string{made.VpcEndpointId}}); len(gone.Unsuccessful) != 0 {
		t.Errorf("%+v", gone.Unsuccessful)
	}
	if routes := do(c, c.DescribeRouteTables, shape.DescribeRouteTablesRequest{RouteTableIds: []string{table}}).RouteTables[0].Routes; len(routes) != 1 {
		t.Errorf("%+v", routes)
	}
}

func TestInterfaceEndpoint(t *testing.T) {
	c := newCloud(t)
	vpc, sub := c.vpc("10.0.0.0/16", "10.0.0.0/24")
	twin := c.subnet(vpc, "10.0.1.0/24")
	far := do(c, c.CreateSubnet, shape.CreateSubnetRequest{VpcId: vpc, CidrBlock: "10.0.2.0/24", AvailabilityZoneId: "use1-az2"}).Subnet.SubnetId
	in := shape.CreateVpcEndpointRequest{VpcId: vpc, ServiceName: "com.amazonaws.us-east-1.ec2", VpcEndpointType: "Interface", SubnetIds: []string{sub}}
	refused(c, c.CreateVpcEndpoint, in, "InvalidParameter") // private DNS needs the VPC's host names
	do(c, c.ModifyVpcAttribute, shape.ModifyVpcAttributeRequest{VpcId: vpc, EnableDnsHostnames: boolean(true)})
	both := in
	both.SubnetIds = []string{sub, twin}
	refused(c, c.CreateVpcEndpoint, both, "DuplicateSubnetsInSameZone")
	made := do(c, c.CreateVpcEndpoint, in).VpcEndpoint
	if made.State != "pending" || !made.PrivateDnsEnabled || len(made.NetworkInterfaceIds) != 1 || len(made.Groups) != 1 || len(made.DnsEntries) != 3 {
		t.Errorf("%+v", made)
	}
	refused(c, c.CreateVpcEndpoint, in, "InvalidParameter") // the name is taken
	eni := do(c, c.DescribeNetworkInterfaces, shape.DescribeNetworkInterfacesRequest{NetworkInterfaceIds: made.NetworkInterfaceIds}).NetworkInterfaces[0]
	if eni.InterfaceType != endpointInterface || !eni.RequesterManaged || eni.Status != "in-use" || eni.SubnetId != sub {
		t.Errorf("%+v", eni)
	}
	refused(c, c.DeleteNetworkInterface, shape.DeleteNetworkInterfaceRequest{NetworkInterfaceId: eni.NetworkInterfaceId}, "InvalidParameterValue")
	group := do(c, c.CreateSecurityGroup, shape.CreateSecurityGroupRequest{GroupName: "g", Description: "g", VpcId: vpc}).GroupId
	refused(c, c.ModifyVpcEndpoint, shape.ModifyVpcEndpointRequest{VpcEndpointId: made.VpcEndpointId, RemoveSecurityGroupIds: []string{made.Groups[0].GroupId}}, "InvalidParameter")
	do(c, c.ModifyVpcEndpoint, shape.ModifyVpcEndpointRequest{
		VpcEndpointId: made.VpcEndpointId, AddSubnetIds: []string{far}, AddSecurityGroupIds: []string{group}, RemoveSecurityGroupIds: []string{made.Groups[0].GroupId}, PrivateDnsEnabled: ptr(false),
	})
	e := do(c, c.DescribeVpcEndpoints, shape.DescribeVpcEndpointsRequest{VpcEndpointIds: []string{made.VpcEndpointId}}).VpcEndpoints[0]
	if len(e.SubnetIds) != 2 || len(e.Groups) != 1 || e.Groups[0].GroupId != group || e.PrivateDnsEnabled || len(e.DnsEntries) != 3 {
		t.Errorf("%+v", e)
	}
	refused(c, c.DeleteSecurityGroup, shape.DeleteSecurityGroupRequest{GroupId: group}, "DependencyViolation")
	do(c, c.ModifyVpcEndpoint, shape.ModifyVpcEndpointRequest{VpcEndpointId: made.VpcEndpointId, RemoveSubnetIds: []string{sub}})
	do(c, c.DeleteSubnet, shape.DeleteSubnetRequest{SubnetId: sub})
	do(c, c.DeleteVpcEndpoints, shape.DeleteVpcEndpointsRequest{VpcEndpointIds: []string{made.VpcEndpointId}})
	do(c, c.DeleteSubnet, shape.DeleteSubnetRequest{SubnetId: far})
	do(c, c.DeleteSecurityGroup, shape.DeleteSecurityGroupRequest{GroupId: group})
}

func TestEndpointServices(t *testing.T) {
	c := newCloud(t)
	all := do(c, c.DescribeVpcEndpointServices, shape.DescribeVpcEndpointServicesRequest{})
	if len(all.ServiceNames) != len(resource.EndpointServices) || len(all.ServiceDetails) != len(resource.EndpointServices)+1 {
		t.Errorf("%v, %d details", all.ServiceNames, len(all.ServiceDetails))
	}
	gateways := do(c, c.DescribeVpcEndpointServices, shape.DescribeVpcEndpointServicesRequest{Filters: filters("service-type", "Gateway")})
	if len(gateways.ServiceDetails) != 1 || gateways.ServiceNames[0] != serviceS3 {
		t.Errorf("%+v", gateways)
	}
	refused(c, c.DescribeVpcEndpointServices, shape.DescribeVpcEndpointServicesRequest{ServiceNames: []string{"com.amazonaws.us-east-1.nothing"}}, "InvalidServiceName")
	var names []string
	for token := ""; ; {
		page := do(c, c.DescribeVpcEndpointServices, shape.DescribeVpcEndpointServicesRequest{MaxResults: ptr(2), NextToken: token})
		for _, d := range page.ServiceDetails {
			names = append(names, serviceKey(d))
		}
		if token = page.NextToken; token == "" {
			break
		}
	}
	if len(names) != len(all.ServiceDetails) {
		t.Errorf("in pages: %v", names)
	}
}

func TestServiceRegions(t *testing.T) {
	c := newCloud(t)
	all := do(c, c.DescribeVpcEndpointServices, shape.DescribeVpcEndpointServicesRequest{}).ServiceNames
	here := do(c, c.DescribeVpcEndpointServices, shape.DescribeVpcEndpointServicesRequest{Filters: filters("service-region", "us-east-1")}).ServiceNames
	if len(all) == 0 || len(here) != len(all) {
		t.Errorf("%v, %v", all, here)
	}
	if away := do(c, c.DescribeVpcEndpointServices, shape.DescribeVpcEndpointServicesRequest{Filters: filters("service-region", "eu-west-1")}).ServiceNames; len(away) != 0 {
		t.Errorf("%v", away)
	}
}
