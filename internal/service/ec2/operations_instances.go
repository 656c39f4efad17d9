package ec2

// instanceOperations is the table's part on instances and their types.
func instanceOperations() map[string]members {
	return map[string]members{
		"DescribeInstances":             {used: pageMembers + "InstanceIds", harmless: nothingManaged},
		"DescribeInstanceStatus":        {used: pageMembers + "InstanceIds IncludeAllInstances", harmless: nothingManaged, note: "The checks say what Karri knows: ok while the machine runs on a node that is up."},
		"TerminateInstances":            {on: "instance:InstanceIds", used: "DryRun InstanceIds", refused: "SkipOsShutdown", harmless: map[string]string{"Force": "an ending machine always ends, after a grace at most"}},
		"StopInstances":                 {on: "instance:InstanceIds", used: "DryRun InstanceIds", refused: "Hibernate SkipOsShutdown", harmless: map[string]string{"Force": "a machine that does not power off in time is switched off anyway"}},
		"StartInstances":                {on: "instance:InstanceIds", used: "DryRun InstanceIds", harmless: map[string]string{"AdditionalInfo": "reserved by AWS"}},
		"RebootInstances":               {on: "instance:InstanceIds", used: "DryRun InstanceIds"},
		"GetConsoleOutput":              {on: "instance:InstanceId", used: "DryRun InstanceId", harmless: map[string]string{"Latest": "every answer is the latest"}},
		"DescribeInstanceAttribute":     {on: "instance:InstanceId", used: "DryRun InstanceId Attribute"},
		"ModifyInstanceMetadataOptions": {on: "instance:InstanceId", used: "DryRun InstanceId HttpTokens HttpPutResponseHopLimit HttpEndpoint HttpProtocolIpv6 InstanceMetadataTags", note: "HttpProtocolIpv6 enabled is refused."},
		"ModifyInstanceAttribute": {
			on: "instance:InstanceId security-group:Groups?",
			used: "DryRun InstanceId Attribute Value Groups SourceDestCheck DisableApiTermination InstanceInitiatedShutdownBehavior InstanceType UserData " +
				"DisableApiStop Kernel Ramdisk BlockDeviceMappings.DeviceName BlockDeviceMappings.Ebs.DeleteOnTermination BlockDeviceMappings.Ebs.VolumeId",
			refused: "BlockDeviceMappings.NoDevice BlockDeviceMappings.VirtualName SriovNetSupport EnaSupport EbsOptimized",
			note:    "Type, kernel, ramdisk and user data change only on stopped instances.",
		},
		"RunInstances":                           runInstancesMembers(),
		"AssociateIamInstanceProfile":            {on: "instance:InstanceId", also: passAssociated, more: newProfile, used: "InstanceId IamInstanceProfile"},
		"DescribeIamInstanceProfileAssociations": {used: "AssociationIds Filters MaxResults NextToken"},
		"DisassociateIamInstanceProfile":         {also: onAssociated, used: "AssociationId"},
		"ReplaceIamInstanceProfileAssociation":   {also: onAssociated, more: newProfile, used: "AssociationId IamInstanceProfile"},
		"DescribeInstanceTypes":                  {used: pageMembers + "InstanceTypes", harmless: map[string]string{"IncludeUnsupportedInRegion": "every type is offered everywhere"}, note: "The catalogue is the administrator's; numbers say what Karri gives: instance-store root disks."},
		"DescribeInstanceTypeOfferings":          {used: pageMembers + "LocationType"},
		"DescribeInstanceCreditSpecifications":   {used: pageMembers + "InstanceIds", note: "CPU credits are not counted: every burstable instance is unlimited."},
	}
}

func runInstancesMembers() members {
	return members{
		on: "image:ImageId instance:+ network-interface:+ subnet:SubnetId,NetworkInterfaces.SubnetId? " +
			"security-group:SecurityGroupIds,SecurityGroups,NetworkInterfaces.Groups? network-interface:NetworkInterfaces.NetworkInterfaceId? key-pair:KeyName? " +
			"launch-template:LaunchTemplate.LaunchTemplateId,LaunchTemplate.LaunchTemplateName? placement-group:Placement.GroupName?",
		also: launchUses, more: launchKeys, whole: wholeLaunch,
		used: "DryRun ImageId InstanceType KernelId RamdiskId KeyName MinCount MaxCount ClientToken UserData Monitoring SecurityGroupIds SecurityGroups " +
			"SubnetId PrivateIpAddress DisableApiTermination InstanceInitiatedShutdownBehavior TagSpecifications MetadataOptions " +
			"Placement.AvailabilityZone Placement.AvailabilityZoneId Placement.Tenancy Placement.GroupName Placement.GroupId Placement.PartitionNumber LaunchTemplate BlockDeviceMappings.DeviceName BlockDeviceMappings.VirtualName BlockDeviceMappings.NoDevice BlockDeviceMappings.Ebs.DeleteOnTermination " +
			"BlockDeviceMappings.Ebs.Encrypted BlockDeviceMappings.Ebs.Iops BlockDeviceMappings.Ebs.SnapshotId BlockDeviceMappings.Ebs.VolumeSize BlockDeviceMappings.Ebs.VolumeType BlockDeviceMappings.Ebs.Throughput CpuOptions.CoreCount CpuOptions.ThreadsPerCore CreditSpecification " +
			"CapacityReservationSpecification.CapacityReservationPreference MaintenanceOptions PrivateDnsNameOptions " +
			"NetworkInterfaces.AssociatePublicIpAddress NetworkInterfaces.DeleteOnTermination NetworkInterfaces.Description NetworkInterfaces.DeviceIndex " +
			"NetworkInterfaces.Groups NetworkInterfaces.PrivateIpAddress NetworkInterfaces.PrivateIpAddresses NetworkInterfaces.SubnetId " +
			"NetworkInterfaces.InterfaceType NetworkInterfaces.NetworkCardIndex NetworkInterfaces.NetworkInterfaceId NetworkInterfaces.SecondaryPrivateIpAddressCount NetworkInterfaces.Ipv4Prefixes NetworkInterfaces.Ipv4PrefixCount IamInstanceProfile " +
			"Ipv6AddressCount Ipv6Addresses.Ipv6Address NetworkInterfaces.Ipv6AddressCount NetworkInterfaces.Ipv6Addresses.Ipv6Address EnablePrimaryIpv6 NetworkInterfaces.PrimaryIpv6",
		refused: "BlockDeviceMappings.Ebs.KmsKeyId BlockDeviceMappings.Ebs.OutpostArn BlockDeviceMappings.Ebs.AvailabilityZone BlockDeviceMappings.Ebs.VolumeInitializationRate " +
			"InstanceMarketOptions EbsOptimized Ipv6Addresses.IsPrimaryIpv6 " +
			"ElasticGpuSpecification ElasticInferenceAccelerators HibernationOptions LicenseSpecifications EnclaveOptions DisableApiStop " +
			"CpuOptions.AmdSevSnp CapacityReservationSpecification.CapacityReservationTarget " +
			"Placement.Affinity Placement.HostId Placement.SpreadDomain Placement.HostResourceGroupArn " +
			"NetworkInterfaces.AssociateCarrierIpAddress " +
			"NetworkInterfaces.Ipv6Addresses.IsPrimaryIpv6 " +
			"NetworkInterfaces.Ipv6Prefixes NetworkInterfaces.Ipv6PrefixCount NetworkInterfaces.EnaSrdSpecification " +
			"NetworkInterfaces.ConnectionTrackingSpecification",
		harmless: map[string]string{"AdditionalInfo": "reserved by AWS"},
		note: "Of what can be chosen, only what Karri does is accepted: default tenancy, the type's own cores and threads, " +
			"no capacity reservation, the ip-name host names, recovery default. Mappings of the host's disks (ephemeral0 …) are ignored, as with EC2's types that have none. Detailed monitoring is noted; there are no metrics yet.",
	}
}
