package ec2

// vpcOperations is the table's part on making and changing VPCs and what routes and filters in them.
func vpcOperations() map[string]members {
	const entry = "DryRun CidrBlock Egress IcmpTypeCode Ipv6CidrBlock NetworkAclId PortRange Protocol RuleAction RuleNumber"
	const route = "DryRun RouteTableId DestinationCidrBlock DestinationIpv6CidrBlock DestinationPrefixListId GatewayId NatGatewayId NetworkInterfaceId " +
		"InstanceId VpcPeeringConnectionId EgressOnlyInternetGatewayId"
	const noRoute = "VpcEndpointId TransitGatewayId LocalGatewayId CarrierGatewayId CoreNetworkArn"
	const noPools = "Ipv6Pool Ipv4IpamPoolId Ipv4NetmaskLength Ipv6IpamPoolId Ipv6NetmaskLength"
	const described = "DryRun GroupId GroupName SecurityGroupRuleDescriptions IpPermissions.FromPort IpPermissions.ToPort IpPermissions.IpProtocol " +
		"IpPermissions.IpRanges IpPermissions.Ipv6Ranges IpPermissions.UserIdGroupPairs.Description IpPermissions.UserIdGroupPairs.GroupId " +
		"IpPermissions.UserIdGroupPairs.GroupName IpPermissions.UserIdGroupPairs.UserId IpPermissions.UserIdGroupPairs.VpcId IpPermissions.PrefixListIds"
	const noPeer = "IpPermissions.UserIdGroupPairs.VpcPeeringConnectionId"
	peering := map[string]string{"IpPermissions.UserIdGroupPairs.PeeringStatus": "AWS only answers it"}
	drain := map[string]string{"MaxDrainDurationSeconds": "connections by such an address end at once"}
	return map[string]members{
		"CreateVpc": {
			on:      "vpc:+",
			used:    "DryRun CidrBlock AmazonProvidedIpv6CidrBlock Ipv6CidrBlockNetworkBorderGroup InstanceTenancy TagSpecifications",
			refused: "Ipv6CidrBlock " + noPools, note: "The tenancy is default.",
		},
		"DeleteVpc":                {on: "vpc:VpcId", used: "DryRun VpcId"},
		"ModifyVpcAttribute":       {on: "vpc:VpcId", used: "VpcId EnableDnsHostnames EnableDnsSupport EnableNetworkAddressUsageMetrics"},
		"ModifyVpcTenancy":         {on: "vpc:VpcId", used: "DryRun VpcId InstanceTenancy", note: "The tenancy is default."},
		"AssociateVpcCidrBlock":    {on: "vpc:VpcId", used: "VpcId CidrBlock AmazonProvidedIpv6CidrBlock Ipv6CidrBlockNetworkBorderGroup", refused: "Ipv6CidrBlock " + noPools},
		"DisassociateVpcCidrBlock": {on: "vpc:AssociationId", used: "AssociationId"},
		"CreateDefaultVpc":         {used: "DryRun"},
		"CreateDefaultSubnet":      {used: "DryRun AvailabilityZone", refused: "Ipv6Native"},
		"CreateSubnet": {
			on:      "subnet:+ vpc:VpcId",
			used:    "DryRun VpcId CidrBlock Ipv6CidrBlock AvailabilityZone AvailabilityZoneId TagSpecifications",
			refused: "OutpostArn Ipv6Native Ipv4IpamPoolId Ipv4NetmaskLength Ipv6IpamPoolId Ipv6NetmaskLength",
		},
		"AssociateSubnetCidrBlock":    {on: "subnet:SubnetId", used: "SubnetId Ipv6CidrBlock", refused: "Ipv6IpamPoolId Ipv6NetmaskLength"},
		"DisassociateSubnetCidrBlock": {on: "subnet:AssociationId", used: "AssociationId"},
		"AssignIpv6Addresses":         {on: "network-interface:NetworkInterfaceId", used: "NetworkInterfaceId Ipv6AddressCount Ipv6Addresses", refused: "Ipv6PrefixCount Ipv6Prefixes"},
		"UnassignIpv6Addresses":       {on: "network-interface:NetworkInterfaceId", used: "NetworkInterfaceId Ipv6Addresses", refused: "Ipv6Prefixes"},
		"DeleteSubnet":                {on: "subnet:SubnetId", used: "DryRun SubnetId"},
		"ModifySubnetAttribute": {
			on:   "subnet:SubnetId",
			used: "SubnetId AssignIpv6AddressOnCreation MapPublicIpOnLaunch PrivateDnsHostnameTypeOnLaunch",
			refused: "MapCustomerOwnedIpOnLaunch CustomerOwnedIpv4Pool EnableDns64 EnableResourceNameDnsARecordOnLaunch " +
				"EnableResourceNameDnsAAAARecordOnLaunch EnableLniAtDeviceIndex DisableLniAtDeviceIndex",
			note: "Host names are of the kind ip-name.",
		},
		"CreateSubnetCidrReservation":                {on: "subnet:SubnetId subnet-cidr-reservation:+?", used: "DryRun SubnetId Cidr ReservationType Description TagSpecifications", note: "Ranges of IPv4."},
		"GetSubnetCidrReservations":                  {on: "*", used: pageMembers + "SubnetId"},
		"DeleteSubnetCidrReservation":                {on: "*", used: "DryRun SubnetCidrReservationId"},
		"CreateRouteTable":                           {on: "route-table:+ vpc:VpcId", used: "DryRun VpcId TagSpecifications ClientToken"},
		"DeleteRouteTable":                           {on: "route-table:RouteTableId", used: "DryRun RouteTableId"},
		"AssociateRouteTable":                        {on: "route-table:RouteTableId subnet:SubnetId?", used: "DryRun RouteTableId SubnetId", refused: "GatewayId"},
		"DisassociateRouteTable":                     {on: "route-table:AssociationId", also: associatedSubnet, used: "DryRun AssociationId"},
		"ReplaceRouteTableAssociation":               {on: "route-table:AssociationId route-table:RouteTableId", also: associatedSubnet, used: "DryRun AssociationId RouteTableId"},
		"CreateRoute":                                {on: "route-table:RouteTableId", used: route, refused: noRoute},
		"ReplaceRoute":                               {on: "route-table:RouteTableId", used: route, refused: noRoute + " LocalTarget"},
		"DeleteRoute":                                {on: "route-table:RouteTableId", used: "DryRun RouteTableId DestinationCidrBlock DestinationIpv6CidrBlock DestinationPrefixListId"},
		"CreateInternetGateway":                      {on: "internet-gateway:+", used: "DryRun TagSpecifications"},
		"DescribeEgressOnlyInternetGateways":         {used: pageMembers + "EgressOnlyInternetGatewayIds"},
		"CreateEgressOnlyInternetGateway":            {on: "egress-only-internet-gateway:+ vpc:VpcId", used: "DryRun VpcId ClientToken TagSpecifications"},
		"DeleteEgressOnlyInternetGateway":            {on: "egress-only-internet-gateway:EgressOnlyInternetGatewayId", used: "DryRun EgressOnlyInternetGatewayId"},
		"DeleteInternetGateway":                      {on: "internet-gateway:InternetGatewayId", used: "DryRun InternetGatewayId"},
		"AttachInternetGateway":                      {on: "internet-gateway:InternetGatewayId vpc:VpcId", used: "DryRun InternetGatewayId VpcId"},
		"DetachInternetGateway":                      {on: "internet-gateway:InternetGatewayId vpc:VpcId", used: "DryRun InternetGatewayId VpcId"},
		"CreateNetworkAcl":                           {on: "network-acl:+ vpc:VpcId", used: "DryRun VpcId TagSpecifications ClientToken"},
		"DeleteNetworkAcl":                           {on: "network-acl:NetworkAclId", used: "DryRun NetworkAclId"},
		"CreateNetworkAclEntry":                      {on: "network-acl:NetworkAclId", used: entry},
		"ReplaceNetworkAclEntry":                     {on: "network-acl:NetworkAclId", used: entry},
		"DeleteNetworkAclEntry":                      {on: "network-acl:NetworkAclId", used: "DryRun NetworkAclId Egress RuleNumber"},
		"ReplaceNetworkAclAssociation":               {on: "network-acl:NetworkAclId subnet:AssociationId", used: "DryRun AssociationId NetworkAclId"},
		"CreateDhcpOptions":                          {on: "dhcp-options:+", used: "DryRun DhcpConfigurations TagSpecifications"},
		"DeleteDhcpOptions":                          {on: "dhcp-options:DhcpOptionsId", used: "DryRun DhcpOptionsId"},
		"AssociateDhcpOptions":                       {on: "dhcp-options:DhcpOptionsId vpc:VpcId", used: "DryRun DhcpOptionsId VpcId"},
		"ModifySecurityGroupRules":                   {on: "security-group:GroupId security-group-rule:SecurityGroupRules.SecurityGroupRuleId? prefix-list:SecurityGroupRules.SecurityGroupRule.PrefixListId?", used: "DryRun GroupId SecurityGroupRules"},
		"UpdateSecurityGroupRuleDescriptionsIngress": {on: "security-group:GroupId,GroupName", used: described, refused: noPeer, harmless: peering},
		"UpdateSecurityGroupRuleDescriptionsEgress":  {on: "security-group:GroupId,GroupName", used: described, refused: noPeer, harmless: peering},
		"DescribeSecurityGroupReferences":            {on: "security-group:GroupId", used: "DryRun GroupId"},
		"DescribeStaleSecurityGroups":                {used: "DryRun VpcId MaxResults NextToken"},
		"GetSecurityGroupsForVpc":                    {on: "vpc:VpcId", used: pageMembers + "VpcId"},
		"CreateManagedPrefixList":                    {on: "prefix-list:+", used: "DryRun PrefixListName Entries MaxEntries TagSpecifications AddressFamily ClientToken"},
		"ModifyManagedPrefixList":                    {on: "prefix-list:PrefixListId", used: "DryRun PrefixListId CurrentVersion PrefixListName AddEntries RemoveEntries MaxEntries"},
		"DeleteManagedPrefixList":                    {on: "prefix-list:PrefixListId", used: "DryRun PrefixListId"},
		"DescribeManagedPrefixLists":                 {used: pageMembers + "PrefixListIds"},
		"DescribePrefixLists":                        {used: pageMembers + "PrefixListIds"},
		"GetManagedPrefixListEntries":                {on: "prefix-list:PrefixListId", used: "DryRun PrefixListId TargetVersion MaxResults NextToken"},
		"GetManagedPrefixListAssociations":           {on: "prefix-list:PrefixListId", used: "DryRun PrefixListId MaxResults NextToken"},
		"RestoreManagedPrefixListVersion":            {on: "prefix-list:PrefixListId", used: "DryRun PrefixListId PreviousVersion CurrentVersion", note: "The last 100 versions are kept."},
		"CreateNetworkInterface": {
			on:      "network-interface:+ subnet:SubnetId security-group:Groups?",
			used:    "DryRun Description Groups PrivateIpAddress PrivateIpAddresses SecondaryPrivateIpAddressCount InterfaceType SubnetId TagSpecifications ClientToken Ipv4Prefixes Ipv4PrefixCount Ipv6AddressCount Ipv6Addresses.Ipv6Address EnablePrimaryIpv6",
			refused: "Ipv6Addresses.IsPrimaryIpv6 Ipv6Prefixes Ipv6PrefixCount ConnectionTrackingSpecification",
		},
		"DeleteNetworkInterface": {on: "network-interface:NetworkInterfaceId", used: "DryRun NetworkInterfaceId"},
		"AttachNetworkInterface": {
			on: "network-interface:NetworkInterfaceId instance:InstanceId", used: "DryRun DeviceIndex InstanceId NetworkInterfaceId NetworkCardIndex",
			refused: "EnaSrdSpecification",
		},
		"DetachNetworkInterface": {
			on: "network-interface:AttachmentId", also: attachedInstance, used: "DryRun AttachmentId Force",
		},
		"ModifyNetworkInterfaceAttribute": {
			on: "network-interface:NetworkInterfaceId security-group:Groups?", also: attachedInstance,
			used:    "DryRun NetworkInterfaceId Description SourceDestCheck Groups Attachment EnablePrimaryIpv6",
			refused: "EnaSrdSpecification ConnectionTrackingSpecification AssociatePublicIpAddress",
		},
		"DescribeNetworkInterfaceAttribute":   {used: "DryRun NetworkInterfaceId Attribute"},
		"ResetNetworkInterfaceAttribute":      {on: "network-interface:NetworkInterfaceId", used: "DryRun NetworkInterfaceId SourceDestCheck"},
		"CreateNetworkInterfacePermission":    {on: "network-interface:NetworkInterfaceId", used: "DryRun NetworkInterfaceId AwsAccountId Permission", refused: "AwsService"},
		"DeleteNetworkInterfacePermission":    {on: "*", used: "DryRun NetworkInterfacePermissionId Force"},
		"DescribeNetworkInterfacePermissions": {used: "Filters NetworkInterfacePermissionIds MaxResults NextToken"},
		"AssignPrivateIpAddresses": {
			on: "network-interface:NetworkInterfaceId", used: "NetworkInterfaceId PrivateIpAddresses SecondaryPrivateIpAddressCount AllowReassignment Ipv4Prefixes Ipv4PrefixCount",
		},
		"UnassignPrivateIpAddresses": {on: "network-interface:NetworkInterfaceId", used: "NetworkInterfaceId PrivateIpAddresses Ipv4Prefixes"},
		"CreateNatGateway": {
			on:   "natgateway:+ subnet:SubnetId elastic-ip:AllocationId? elastic-ip:SecondaryAllocationIds?",
			used: "DryRun AllocationId ClientToken SubnetId TagSpecifications ConnectivityType PrivateIpAddress SecondaryAllocationIds SecondaryPrivateIpAddresses SecondaryPrivateIpAddressCount",
		},
		"CreateFlowLogs": {
			on: "vpc-flow-log:+ any:ResourceIds",
			used: "DryRun ClientToken ResourceIds ResourceType TrafficType LogDestinationType LogDestination LogFormat TagSpecifications MaxAggregationInterval " +
				"DestinationOptions.FileFormat DestinationOptions.HiveCompatiblePartitions DestinationOptions.PerHourPartition DeliverLogsPermissionArn LogGroupName",
			refused: "DeliverCrossAccountRole",
			note:    "To S3, as plain text; records span at most 60 seconds.",
		},
		"DescribeFlowLogs":                 {used: "DryRun Filter FlowLogIds MaxResults NextToken"},
		"DeleteFlowLogs":                   {on: "vpc-flow-log:FlowLogIds", used: "DryRun FlowLogIds"},
		"DeleteNatGateway":                 {on: "natgateway:NatGatewayId", used: "DryRun NatGatewayId"},
		"DescribeNatGateways":              {used: "DryRun Filter MaxResults NatGatewayIds NextToken"},
		"AssociateNatGatewayAddress":       {on: "natgateway:NatGatewayId elastic-ip:AllocationIds", used: "DryRun NatGatewayId AllocationIds PrivateIpAddresses"},
		"DisassociateNatGatewayAddress":    {on: "natgateway:NatGatewayId elastic-ip:AssociationIds", used: "DryRun NatGatewayId AssociationIds", harmless: drain},
		"AssignPrivateNatGatewayAddress":   {on: "natgateway:NatGatewayId", used: "DryRun NatGatewayId PrivateIpAddresses PrivateIpAddressCount"},
		"UnassignPrivateNatGatewayAddress": {on: "natgateway:NatGatewayId", used: "DryRun NatGatewayId PrivateIpAddresses", harmless: drain},
		"CreateVpcEndpoint": {
			on:      "vpc-endpoint:+ vpc:VpcId route-table:RouteTableIds? subnet:SubnetIds? security-group:SecurityGroupIds?",
			more:    made("vpc-endpoint", createdEndpoint),
			used:    "DryRun VpcEndpointType VpcId ServiceName PolicyDocument RouteTableIds SubnetIds SecurityGroupIds IpAddressType ClientToken PrivateDnsEnabled TagSpecifications",
			refused: "DnsOptions SubnetConfigurations", note: "IpAddressType must be ipv4.",
		},
		"ModifyVpcEndpoint": {
			on: "vpc-endpoint:VpcEndpointId route-table:AddRouteTableIds? route-table:RemoveRouteTableIds? subnet:AddSubnetIds? subnet:RemoveSubnetIds? " +
				"security-group:AddSecurityGroupIds? security-group:RemoveSecurityGroupIds?",
			used: "DryRun VpcEndpointId ResetPolicy PolicyDocument AddRouteTableIds RemoveRouteTableIds AddSubnetIds RemoveSubnetIds AddSecurityGroupIds " +
				"RemoveSecurityGroupIds IpAddressType PrivateDnsEnabled",
			refused: "DnsOptions SubnetConfigurations",
		},
		"DeleteVpcEndpoints":            {on: "vpc-endpoint:VpcEndpointIds", used: "DryRun VpcEndpointIds"},
		"DescribeVpcEndpoints":          {used: pageMembers + "VpcEndpointIds"},
		"DescribeVpcEndpointServices":   {used: pageMembers + "ServiceNames"},
		"CreateVpcPeeringConnection":    {on: "vpc-peering-connection:+ vpc:VpcId", more: made("vpc-peering-connection", createdPeering), used: "DryRun PeerOwnerId PeerVpcId VpcId PeerRegion TagSpecifications", note: "PeerRegion must be the region."},
		"AcceptVpcPeeringConnection":    {on: "vpc-peering-connection:VpcPeeringConnectionId", also: acceptedVPC, used: "DryRun VpcPeeringConnectionId"},
		"RejectVpcPeeringConnection":    {on: "vpc-peering-connection:VpcPeeringConnectionId", used: "DryRun VpcPeeringConnectionId"},
		"DeleteVpcPeeringConnection":    {on: "vpc-peering-connection:VpcPeeringConnectionId", used: "DryRun VpcPeeringConnectionId"},
		"DescribeVpcPeeringConnections": {used: pageMembers + "VpcPeeringConnectionIds"},
		"ModifyVpcPeeringConnectionOptions": {
			on:   "vpc-peering-connection:VpcPeeringConnectionId",
			used: "DryRun VpcPeeringConnectionId AccepterPeeringConnectionOptions.AllowDnsResolutionFromRemoteVpc RequesterPeeringConnectionOptions.AllowDnsResolutionFromRemoteVpc",
			refused: "AccepterPeeringConnectionOptions.AllowEgressFromLocalClassicLinkToRemoteVpc AccepterPeeringConnectionOptions.AllowEgressFromLocalVpcToRemoteClassicLink " +
				"RequesterPeeringConnectionOptions.AllowEgressFromLocalClassicLinkToRemoteVpc RequesterPeeringConnectionOptions.AllowEgressFromLocalVpcToRemoteClassicLink",
		},
	}
}
