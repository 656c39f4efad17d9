package ec2

// operations is the table of what is done with every member of every request.
func operations() map[string]members {
	const (
		page   = "DryRun Filters MaxResults NextToken "
		target = "DryRun GroupId CidrIp FromPort ToPort IpProtocol SourceSecurityGroupName SourceSecurityGroupOwnerId " +
			"IpPermissions.FromPort IpPermissions.ToPort IpPermissions.IpProtocol IpPermissions.IpRanges IpPermissions.Ipv6Ranges " +
			"IpPermissions.UserIdGroupPairs.Description IpPermissions.UserIdGroupPairs.GroupId IpPermissions.UserIdGroupPairs.GroupName " +
			"IpPermissions.UserIdGroupPairs.UserId IpPermissions.UserIdGroupPairs.VpcId "
		noTarget = "IpPermissions.PrefixListIds IpPermissions.UserIdGroupPairs.VpcPeeringConnectionId"
	)
	unmanaged := map[string]string{"IncludeManagedResources": "nothing is managed by another service"}
	peering := map[string]string{"IpPermissions.UserIdGroupPairs.PeeringStatus": "AWS only answers it"}
	return map[string]members{
		"DescribeRegions":            {used: "DryRun Filters RegionNames", harmless: map[string]string{"AllRegions": "every region of the cloud is enabled"}},
		"DescribeAvailabilityZones":  {used: "DryRun Filters ZoneNames ZoneIds", harmless: map[string]string{"AllAvailabilityZones": "every zone of the cloud is enabled"}},
		"DescribeAccountAttributes":  {used: "DryRun AttributeNames"},
		"CreateKeyPair":              {used: "DryRun KeyName KeyType KeyFormat TagSpecifications", note: "KeyFormat ppk is refused."},
		"ImportKeyPair":              {used: "DryRun KeyName PublicKeyMaterial TagSpecifications"},
		"DescribeKeyPairs":           {used: "DryRun Filters KeyNames KeyPairIds IncludePublicKey"},
		"DeleteKeyPair":              {used: "DryRun KeyName KeyPairId"},
		"CreateSecurityGroup":        {used: "DryRun GroupName Description VpcId TagSpecifications"},
		"DeleteSecurityGroup":        {used: "DryRun GroupId GroupName"},
		"DescribeSecurityGroups":     {used: page + "GroupIds GroupNames"},
		"DescribeSecurityGroupRules": {used: page + "SecurityGroupRuleIds"},
		"AuthorizeSecurityGroupIngress": {
			used: target + "GroupName TagSpecifications", refused: noTarget, harmless: peering,
			note: "Groups of other accounts cannot be named in a rule.",
		},
		"AuthorizeSecurityGroupEgress":  {used: target + "TagSpecifications", refused: noTarget, harmless: peering},
		"RevokeSecurityGroupIngress":    {used: target + "GroupName SecurityGroupRuleIds", refused: noTarget, harmless: peering},
		"RevokeSecurityGroupEgress":     {used: target + "SecurityGroupRuleIds", refused: noTarget, harmless: peering},
		"DescribeVpcs":                  {used: page + "VpcIds"},
		"DescribeVpcAttribute":          {used: "DryRun VpcId Attribute"},
		"DescribeSubnets":               {used: page + "SubnetIds"},
		"DescribeRouteTables":           {used: page + "RouteTableIds"},
		"DescribeInternetGateways":      {used: page + "InternetGatewayIds"},
		"DescribeNetworkAcls":           {used: page + "NetworkAclIds"},
		"DescribeDhcpOptions":           {used: page + "DhcpOptionsIds"},
		"DescribeNetworkInterfaces":     {used: page + "NetworkInterfaceIds", harmless: unmanaged},
		"DescribeAddresses":             {used: "DryRun Filters PublicIps AllocationIds"},
		"AllocateAddress":               {used: "DryRun Domain Address TagSpecifications NetworkBorderGroup PublicIpv4Pool", refused: "CustomerOwnedIpv4Pool IpamPoolId", note: "NetworkBorderGroup must be the region, PublicIpv4Pool amazon."},
		"AssociateAddress":              {used: "DryRun AllocationId InstanceId PublicIp AllowReassociation NetworkInterfaceId PrivateIpAddress"},
		"DisassociateAddress":           {used: "DryRun AssociationId PublicIp"},
		"ReleaseAddress":                {used: "DryRun AllocationId PublicIp NetworkBorderGroup"},
		"DescribeInstances":             {used: page + "InstanceIds", harmless: unmanaged},
		"DescribeInstanceStatus":        {used: page + "InstanceIds IncludeAllInstances", harmless: unmanaged, note: "The checks say what Karri knows: ok while the machine runs on a node that is up."},
		"TerminateInstances":            {used: "DryRun InstanceIds", refused: "SkipOsShutdown", harmless: map[string]string{"Force": "an ending machine always ends, after a grace at most"}},
		"StopInstances":                 {used: "DryRun InstanceIds", harmless: map[string]string{"Force": "instance-store instances cannot be stopped at all", "Hibernate": "likewise", "SkipOsShutdown": "likewise"}},
		"StartInstances":                {used: "DryRun InstanceIds", harmless: map[string]string{"AdditionalInfo": "reserved by AWS"}},
		"RebootInstances":               {used: "DryRun InstanceIds"},
		"GetConsoleOutput":              {used: "DryRun InstanceId", harmless: map[string]string{"Latest": "every answer is the latest"}},
		"DescribeInstanceAttribute":     {used: "DryRun InstanceId Attribute"},
		"ModifyInstanceMetadataOptions": {used: "DryRun InstanceId HttpTokens HttpPutResponseHopLimit HttpEndpoint HttpProtocolIpv6 InstanceMetadataTags", note: "HttpProtocolIpv6 enabled is refused."},
		"ModifyInstanceAttribute": {
			used:    "DryRun InstanceId Attribute Value Groups SourceDestCheck DisableApiTermination InstanceInitiatedShutdownBehavior",
			refused: "BlockDeviceMappings SriovNetSupport EnaSupport EbsOptimized DisableApiStop InstanceType Kernel Ramdisk UserData",
			note:    "Instance-store instances cannot be stopped, and type, kernel, ramdisk and user data change only on stopped ones.",
		},
		"RunInstances":                  runInstancesMembers(),
		"DescribeInstanceTypes":         {used: page + "InstanceTypes", harmless: map[string]string{"IncludeUnsupportedInRegion": "every type is offered everywhere"}, note: "The catalogue is the administrator's; numbers say what Karri gives: one network interface, instance-store root disks."},
		"DescribeInstanceTypeOfferings": {used: page + "LocationType"},
		"ImportImage": {
			used: "DryRun Architecture ClientToken Description DiskContainers.Description DiskContainers.DeviceName DiskContainers.Format " +
				"DiskContainers.Url DiskContainers.UserBucket Hypervisor Platform RoleName BootMode LicenseType TagSpecifications UsageOperation",
			refused: "Encrypted KmsKeyId LicenseSpecifications DiskContainers.SnapshotId",
			harmless: map[string]string{
				"ClientData": "only a record of the client's upload",
			},
			note: "One disk container. RoleName is kept, but until roles exist the caller's own access to the object counts. The image is instance-store.",
		},
		"DescribeImportImageTasks": {used: page + "ImportTaskIds"},
		"CancelImportTask":         {used: "DryRun ImportTaskId", harmless: map[string]string{"CancelReason": "AWS does not show it either"}},
		"DeregisterImage":          {used: "DryRun ImageId", refused: "DeleteAssociatedSnapshots"},
		"DescribeImages":           {used: page + "ImageIds Owners ExecutableUsers", harmless: map[string]string{"IncludeDeprecated": "no image is deprecated", "IncludeDisabled": "no image is disabled"}},
		"DescribeImageAttribute":   {used: "DryRun ImageId Attribute"},
		"ModifyImageAttribute": {
			used: "DryRun ImageId Attribute Description LaunchPermission.Add.Group LaunchPermission.Add.UserId LaunchPermission.Remove.Group " +
				"LaunchPermission.Remove.UserId OperationType UserGroups UserIds Value",
			refused: "ProductCodes OrganizationArns OrganizationalUnitArns ImdsSupport LaunchPermission.Add.OrganizationArn LaunchPermission.Add.OrganizationalUnitArn " +
				"LaunchPermission.Remove.OrganizationArn LaunchPermission.Remove.OrganizationalUnitArn",
		},
		"ResetImageAttribute":                  {used: "DryRun ImageId Attribute"},
		"CreateTags":                           {used: "DryRun Resources Tags"},
		"DeleteTags":                           {used: "DryRun Resources Tags"},
		"DescribeTags":                         {used: page},
		"DescribeVolumes":                      {used: page + "VolumeIds", note: "There are no volumes yet."},
		"DescribeInstanceCreditSpecifications": {used: page + "InstanceIds", note: "CPU credits are not counted: every burstable instance is unlimited."},
		"DescribeAddressesAttribute":           {used: "DryRun AllocationIds Attribute MaxResults NextToken", note: "No address has a reverse DNS name."},
	}
}

func runInstancesMembers() members {
	return members{
		used: "DryRun ImageId InstanceType KernelId RamdiskId KeyName MinCount MaxCount ClientToken UserData Monitoring SecurityGroupIds SecurityGroups " +
			"SubnetId PrivateIpAddress DisableApiTermination InstanceInitiatedShutdownBehavior TagSpecifications MetadataOptions " +
			"Placement.AvailabilityZone Placement.AvailabilityZoneId Placement.Tenancy BlockDeviceMappings CpuOptions.CoreCount CpuOptions.ThreadsPerCore CreditSpecification " +
			"CapacityReservationSpecification.CapacityReservationPreference MaintenanceOptions PrivateDnsNameOptions " +
			"NetworkInterfaces.AssociatePublicIpAddress NetworkInterfaces.DeleteOnTermination NetworkInterfaces.Description NetworkInterfaces.DeviceIndex " +
			"NetworkInterfaces.Groups NetworkInterfaces.PrivateIpAddress NetworkInterfaces.PrivateIpAddresses NetworkInterfaces.SubnetId " +
			"NetworkInterfaces.InterfaceType NetworkInterfaces.NetworkCardIndex",
		refused: "LaunchTemplate InstanceMarketOptions IamInstanceProfile EbsOptimized Ipv6AddressCount Ipv6Addresses EnablePrimaryIpv6 " +
			"ElasticGpuSpecification ElasticInferenceAccelerators HibernationOptions LicenseSpecifications EnclaveOptions DisableApiStop " +
			"CpuOptions.AmdSevSnp CapacityReservationSpecification.CapacityReservationTarget " +
			"Placement.Affinity Placement.GroupName Placement.PartitionNumber Placement.HostId Placement.SpreadDomain Placement.HostResourceGroupArn Placement.GroupId " +
			"NetworkInterfaces.NetworkInterfaceId NetworkInterfaces.SecondaryPrivateIpAddressCount NetworkInterfaces.AssociateCarrierIpAddress " +
			"NetworkInterfaces.Ipv6AddressCount NetworkInterfaces.Ipv6Addresses NetworkInterfaces.Ipv4Prefixes NetworkInterfaces.Ipv4PrefixCount " +
			"NetworkInterfaces.Ipv6Prefixes NetworkInterfaces.Ipv6PrefixCount NetworkInterfaces.PrimaryIpv6 NetworkInterfaces.EnaSrdSpecification " +
			"NetworkInterfaces.ConnectionTrackingSpecification",
		harmless: map[string]string{"AdditionalInfo": "reserved by AWS"},
		note: "One network interface. Of what can be chosen, only what Karri does is accepted: default tenancy, the type's own cores and threads, " +
			"no capacity reservation, the ip-name host names, recovery default, no EBS volumes. Detailed monitoring is noted; there are no metrics yet.",
	}
}
