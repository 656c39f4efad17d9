package ec2

import "strings"

func templateOperations() map[string]members {
	templateParameters := ""
	for name := range strings.FieldsSeq("EbsOptimized IamInstanceProfile BlockDeviceMappings NetworkInterfaces ImageId InstanceType KeyName Monitoring Placement RamDiskId DisableApiTermination InstanceInitiatedShutdownBehavior UserData TagSpecifications ElasticInferenceAccelerators SecurityGroupIds SecurityGroups InstanceMarketOptions CreditSpecification CpuOptions CapacityReservationSpecification LicenseSpecifications HibernationOptions MetadataOptions EnclaveOptions PrivateDnsNameOptions MaintenanceOptions DisableApiStop KernelId") {
		templateParameters += " LaunchTemplateData." + name
	}
	const unknownParameters = "LaunchTemplateData.ElasticGpuSpecifications LaunchTemplateData.InstanceRequirements"
	return map[string]members{
		"CreateLaunchTemplate": {
			used: "DryRun ClientToken LaunchTemplateName VersionDescription TagSpecifications" + templateParameters, refused: unknownParameters,
			note: "What RunInstances refuses may be in a template, and is refused at the launch.",
		},
		"CreateLaunchTemplateVersion": {
			used:    "DryRun ClientToken LaunchTemplateId LaunchTemplateName SourceVersion VersionDescription" + templateParameters,
			refused: unknownParameters + " ResolveAlias",
		},
		"ModifyLaunchTemplate":           {used: "DryRun LaunchTemplateId LaunchTemplateName DefaultVersion", harmless: map[string]string{"ClientToken": "to choose a default twice is to choose it once"}},
		"DeleteLaunchTemplate":           {used: "DryRun LaunchTemplateId LaunchTemplateName"},
		"DeleteLaunchTemplateVersions":   {used: "DryRun LaunchTemplateId LaunchTemplateName Versions"},
		"DescribeLaunchTemplates":        {used: pageMembers + "LaunchTemplateIds LaunchTemplateNames"},
		"DescribeLaunchTemplateVersions": {used: pageMembers + "LaunchTemplateId LaunchTemplateName Versions MinVersion MaxVersion", refused: "ResolveAlias"},
		"GetLaunchTemplateData":          {used: "DryRun InstanceId"},
		"CreatePlacementGroup":           {more: made("placement-group", createdPlacementGroup), used: "DryRun GroupName Strategy PartitionCount TagSpecifications SpreadLevel", note: "A rack is a node here: members of a spread lie on nodes of their own, partitions share no node. A cluster stays on one node while that has room."},
		"DeletePlacementGroup":           {used: "DryRun GroupName"},
		"DescribePlacementGroups":        {used: "DryRun Filters GroupNames GroupIds"},
	}
}

func unofferedOperations() map[string]members {
	return map[string]members{
		"DescribeSpotInstanceRequests": {used: pageMembers + "SpotInstanceRequestIds", note: "There is none."},
		"DescribeSpotPriceHistory": {used: pageMembers, harmless: map[string]string{
			"AvailabilityZone": "the list is empty", "EndTime": "the list is empty", "InstanceTypes": "the list is empty", "ProductDescriptions": "the list is empty", "StartTime": "the list is empty",
		}, note: "There is none."},
		"DescribeReservedInstances": {used: "DryRun Filters ReservedInstancesIds", harmless: map[string]string{"OfferingClass": "the list is empty", "OfferingType": "the list is empty"}, note: "There is none."},
		"DescribeReservedInstancesOfferings": {used: "DryRun MaxResults NextToken ReservedInstancesOfferingIds", harmless: map[string]string{
			"AvailabilityZone": "the list is empty", "Filters": "the list is empty", "IncludeMarketplace": "the list is empty", "InstanceType": "the list is empty",
			"MaxDuration": "the list is empty", "MaxInstanceCount": "the list is empty", "MinDuration": "the list is empty", "OfferingClass": "the list is empty",
			"ProductDescription": "the list is empty", "InstanceTenancy": "the list is empty", "OfferingType": "the list is empty",
		}, note: "There is none."},
		"DescribeHosts": {used: "Filter HostIds MaxResults NextToken", note: "There is none."},
		"RequestSpotInstances": {refused: "AvailabilityZoneGroup BlockDurationMinutes ClientToken DryRun InstanceCount LaunchGroup LaunchSpecification SpotPrice Type " +
			"ValidFrom ValidUntil TagSpecifications InstanceInterruptionBehavior", note: "Always refused: spot instances are not offered."},
		"PurchaseReservedInstancesOffering": {refused: "InstanceCount ReservedInstancesOfferingId DryRun LimitPrice PurchaseTime", note: "Always refused: reserved instances are not offered."},
		"AllocateHosts": {refused: "AutoPlacement AvailabilityZone ClientToken InstanceType InstanceFamily Quantity TagSpecifications HostRecovery OutpostArn " +
			"HostMaintenance AssetIds", note: "Always refused: dedicated hosts are not offered."},
	}
}

func consoleOperations() map[string]members {
	return map[string]members{
		"GetConsoleScreenshot":         {used: "DryRun InstanceId", harmless: map[string]string{"WakeUp": "a display here never sleeps"}, note: "Emulated machines (TCG) have a display when they boot by UEFI, are Windows, or their image has the tag karri:display=on; machines under KVM always, but not with a kernel of their own."},
		"GetPasswordData":              {used: "DryRun InstanceId", note: "What a Windows guest wrote between <Password> tags on its serial console."},
		"GetSerialConsoleAccessStatus": {used: "DryRun"},
		"EnableSerialConsoleAccess":    {used: "DryRun", note: "Refused: there are no serial console sessions; get-console-output reads the console."},
		"DisableSerialConsoleAccess":   {used: "DryRun"},
	}
}
