package ec2

// networkOperations is the table's part on VPCs and what is in them.
func networkOperations() map[string]members {
	return map[string]members{
		"DescribeVpcs":               {used: pageMembers + "VpcIds"},
		"DescribeVpcAttribute":       {on: "vpc:VpcId", used: "DryRun VpcId Attribute"},
		"DescribeSubnets":            {used: pageMembers + "SubnetIds"},
		"DescribeRouteTables":        {used: pageMembers + "RouteTableIds"},
		"DescribeInternetGateways":   {used: pageMembers + "InternetGatewayIds"},
		"DescribeNetworkAcls":        {used: pageMembers + "NetworkAclIds"},
		"DescribeDhcpOptions":        {used: pageMembers + "DhcpOptionsIds"},
		"DescribeNetworkInterfaces":  {used: pageMembers + "NetworkInterfaceIds", harmless: nothingManaged},
		"DescribeAddresses":          {used: "DryRun Filters PublicIps AllocationIds"},
		"AllocateAddress":            {on: "elastic-ip:+", used: "DryRun Domain Address TagSpecifications NetworkBorderGroup PublicIpv4Pool", refused: "CustomerOwnedIpv4Pool IpamPoolId", note: "NetworkBorderGroup must be the region, PublicIpv4Pool amazon."},
		"AssociateAddress":           {on: "elastic-ip:AllocationId,PublicIp instance:InstanceId? network-interface:NetworkInterfaceId?", used: "DryRun AllocationId InstanceId PublicIp AllowReassociation NetworkInterfaceId PrivateIpAddress"},
		"DisassociateAddress":        {on: "elastic-ip:AssociationId,PublicIp", used: "DryRun AssociationId PublicIp"},
		"ReleaseAddress":             {on: "elastic-ip:AllocationId,PublicIp", used: "DryRun AllocationId PublicIp NetworkBorderGroup"},
		"DescribeAddressesAttribute": {used: "DryRun AllocationIds Attribute MaxResults NextToken"},
		"ModifyAddressAttribute": {
			on: "elastic-ip:AllocationId", used: "DryRun AllocationId DomainName",
			note: "The resolvers of all VPCs answer the name at once. Whether it leads to the address is not looked up.",
		},
		"ResetAddressAttribute":    {on: "elastic-ip:AllocationId", used: "DryRun AllocationId Attribute"},
		"EnableAddressTransfer":    {on: "elastic-ip:AllocationId", used: "DryRun AllocationId TransferAccountId"},
		"DisableAddressTransfer":   {on: "elastic-ip:AllocationId", used: "DryRun AllocationId"},
		"AcceptAddressTransfer":    {on: "elastic-ip:+", used: "DryRun Address TagSpecifications"},
		"DescribeAddressTransfers": {used: "DryRun AllocationIds MaxResults NextToken"},
	}
}
