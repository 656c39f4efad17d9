package ec2

// instanceOperations is the table's part on instances and their types.
func instanceOperations() map[string]members {
	return map[string]members{
		"DescribeInstances":             {used: pageMembers + "InstanceIds", harmless: nothingManaged},
		"DescribeInstanceStatus":        {used: pageMembers + "InstanceIds IncludeAllInstances", harmless: nothingManaged, note: "The checks say what Karri knows: ok while the machine runs on a node that is up."},
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
		"RunInstances":                         runInstancesMembers(),
		"DescribeInstanceTypes":                {used: pageMembers + "InstanceTypes", harmless: map[string]string{"IncludeUnsupportedInRegion": "every type is offered everywhere"}, note: "The catalogue is the administrator's; numbers say what Karri gives: one network interface, instance-store root disks."},
		"DescribeInstanceTypeOfferings":        {used: pageMembers + "LocationType"},
		"DescribeInstanceCreditSpecifications": {used: pageMembers + "InstanceIds", note: "CPU credits are not counted: every burstable instance is unlimited."},
	}
}

func runInstancesMembers() members {
	return members{
		used: "DryRun ImageId InstanceType KernelId RamdiskId KeyName MinCount MaxCount ClientToken UserData Monitoring SecurityGroupIds SecurityGroups " +
			"SubnetId PrivateIpAddress DisableApiTermination InstanceInitiatedShutdownBehavior TagSpecifications MetadataOptions " +
			"Placement.AvailabilityZone Placement.AvailabilityZoneId Placement.Tenancy Placement.GroupName Placement.GroupId Placement.PartitionNumber LaunchTemplate BlockDeviceMappings CpuOptions.CoreCount CpuOptions.ThreadsPerCore CreditSpecification " +
			"CapacityReservationSpecification.CapacityReservationPreference MaintenanceOptions PrivateDnsNameOptions " +
			"NetworkInterfaces.AssociatePublicIpAddress NetworkInterfaces.DeleteOnTermination NetworkInterfaces.Description NetworkInterfaces.DeviceIndex " +
			"NetworkInterfaces.Groups NetworkInterfaces.PrivateIpAddress NetworkInterfaces.PrivateIpAddresses NetworkInterfaces.SubnetId " +
			"NetworkInterfaces.InterfaceType NetworkInterfaces.NetworkCardIndex",
		refused: "InstanceMarketOptions IamInstanceProfile EbsOptimized Ipv6AddressCount Ipv6Addresses EnablePrimaryIpv6 " +
			"ElasticGpuSpecification ElasticInferenceAccelerators HibernationOptions LicenseSpecifications EnclaveOptions DisableApiStop " +
			"CpuOptions.AmdSevSnp CapacityReservationSpecification.CapacityReservationTarget " +
			"Placement.Affinity Placement.HostId Placement.SpreadDomain Placement.HostResourceGroupArn " +
			"NetworkInterfaces.NetworkInterfaceId NetworkInterfaces.SecondaryPrivateIpAddressCount NetworkInterfaces.AssociateCarrierIpAddress " +
			"NetworkInterfaces.Ipv6AddressCount NetworkInterfaces.Ipv6Addresses NetworkInterfaces.Ipv4Prefixes NetworkInterfaces.Ipv4PrefixCount " +
			"NetworkInterfaces.Ipv6Prefixes NetworkInterfaces.Ipv6PrefixCount NetworkInterfaces.PrimaryIpv6 NetworkInterfaces.EnaSrdSpecification " +
			"NetworkInterfaces.ConnectionTrackingSpecification",
		harmless: map[string]string{"AdditionalInfo": "reserved by AWS"},
		note: "One network interface. Of what can be chosen, only what Karri does is accepted: default tenancy, the type's own cores and threads, " +
			"no capacity reservation, the ip-name host names, recovery default, no EBS volumes. Detailed monitoring is noted; there are no metrics yet.",
	}
}
