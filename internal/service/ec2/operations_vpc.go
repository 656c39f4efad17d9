package ec2

// vpcOperations is the table's part on making and changing VPCs and what routes and filters in them.
func vpcOperations() map[string]members {
	const entry = "DryRun CidrBlock Egress IcmpTypeCode Ipv6CidrBlock NetworkAclId PortRange Protocol RuleAction RuleNumber"
	const route = "DryRun RouteTableId DestinationCidrBlock DestinationIpv6CidrBlock DestinationPrefixListId GatewayId NatGatewayId NetworkInterfaceId " +
		"InstanceId VpcPeeringConnectionId EgressOnlyInternetGatewayId"
	const noRoute = "VpcEndpointId TransitGatewayId LocalGatewayId CarrierGatewayId CoreNetworkArn"
	const noPools = "Ipv6Pool Ipv4IpamPoolId Ipv4NetmaskLength Ipv6IpamPoolId Ipv6NetmaskLength"
	return map[string]members{
		"CreateVpc": {
			used:    "DryRun CidrBlock AmazonProvidedIpv6CidrBlock Ipv6CidrBlockNetworkBorderGroup InstanceTenancy TagSpecifications",
			refused: "Ipv6CidrBlock " + noPools, note: "The tenancy is default.",
		},
		"DeleteVpc":                {used: "DryRun VpcId"},
		"ModifyVpcAttribute":       {used: "VpcId EnableDnsHostnames EnableDnsSupport EnableNetworkAddressUsageMetrics"},
		"ModifyVpcTenancy":         {used: "DryRun VpcId InstanceTenancy", note: "The tenancy is default."},
		"AssociateVpcCidrBlock":    {used: "VpcId CidrBlock AmazonProvidedIpv6CidrBlock Ipv6CidrBlockNetworkBorderGroup", refused: "Ipv6CidrBlock " + noPools},
		"DisassociateVpcCidrBlock": {used: "AssociationId"},
		"CreateDefaultVpc":         {used: "DryRun"},
		"CreateDefaultSubnet":      {used: "DryRun AvailabilityZone", refused: "Ipv6Native"},
		"CreateSubnet": {
			used:    "DryRun VpcId CidrBlock Ipv6CidrBlock AvailabilityZone AvailabilityZoneId TagSpecifications",
			refused: "OutpostArn Ipv6Native Ipv4IpamPoolId Ipv4NetmaskLength Ipv6IpamPoolId Ipv6NetmaskLength",
		},
		"DeleteSubnet": {used: "DryRun SubnetId"},
		"ModifySubnetAttribute": {
			used: "SubnetId AssignIpv6AddressOnCreation MapPublicIpOnLaunch PrivateDnsHostnameTypeOnLaunch",
			refused: "MapCustomerOwnedIpOnLaunch CustomerOwnedIpv4Pool EnableDns64 EnableResourceNameDnsARecordOnLaunch " +
				"EnableResourceNameDnsAAAARecordOnLaunch EnableLniAtDeviceIndex DisableLniAtDeviceIndex",
			note: "Host names are of the kind ip-name.",
		},
		"CreateRouteTable":             {used: "DryRun VpcId TagSpecifications ClientToken"},
		"DeleteRouteTable":             {used: "DryRun RouteTableId"},
		"AssociateRouteTable":          {used: "DryRun RouteTableId SubnetId", refused: "GatewayId"},
		"DisassociateRouteTable":       {used: "DryRun AssociationId"},
		"ReplaceRouteTableAssociation": {used: "DryRun AssociationId RouteTableId"},
		"CreateRoute":                  {used: route, refused: noRoute},
		"ReplaceRoute":                 {used: route, refused: noRoute + " LocalTarget"},
		"DeleteRoute":                  {used: "DryRun RouteTableId DestinationCidrBlock DestinationIpv6CidrBlock DestinationPrefixListId"},
		"CreateInternetGateway":        {used: "DryRun TagSpecifications"},
		"DeleteInternetGateway":        {used: "DryRun InternetGatewayId"},
		"AttachInternetGateway":        {used: "DryRun InternetGatewayId VpcId"},
		"DetachInternetGateway":        {used: "DryRun InternetGatewayId VpcId"},
		"CreateNetworkAcl":             {used: "DryRun VpcId TagSpecifications ClientToken"},
		"DeleteNetworkAcl":             {used: "DryRun NetworkAclId"},
		"CreateNetworkAclEntry":        {used: entry},
		"ReplaceNetworkAclEntry":       {used: entry},
		"DeleteNetworkAclEntry":        {used: "DryRun NetworkAclId Egress RuleNumber"},
		"ReplaceNetworkAclAssociation": {used: "DryRun AssociationId NetworkAclId"},
		"CreateDhcpOptions":            {used: "DryRun DhcpConfigurations TagSpecifications"},
		"DeleteDhcpOptions":            {used: "DryRun DhcpOptionsId"},
		"AssociateDhcpOptions":         {used: "DryRun DhcpOptionsId VpcId"},
	}
}
