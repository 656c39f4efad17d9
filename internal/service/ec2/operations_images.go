package ec2

// imageOperations is the table's part on images and imports.
func imageOperations() map[string]members {
	return map[string]members{
		"ImportImage": {
			on: "image:+ import-image-task:+", more: madeByCaller,
			used: "DryRun Architecture ClientToken Description DiskContainers.Description DiskContainers.DeviceName DiskContainers.Format " +
				"DiskContainers.Url DiskContainers.UserBucket Hypervisor Platform RoleName BootMode LicenseType TagSpecifications UsageOperation",
			refused: "Encrypted KmsKeyId LicenseSpecifications DiskContainers.SnapshotId",
			harmless: map[string]string{
				"ClientData": "only a record of the client's upload",
			},
			note: "Up to 20 disks, of which the first is the root disk; more than one only where imported images are EBS-backed.",
		},
		"ImportSnapshot": {
			on: "snapshot:+ import-snapshot-task:+", more: madeByCaller,
			used:     "DryRun ClientToken Description DiskContainer.Description DiskContainer.Format DiskContainer.Url DiskContainer.UserBucket RoleName TagSpecifications",
			refused:  "Encrypted KmsKeyId",
			harmless: map[string]string{"ClientData": "only a record of the client's upload"},
		},
		"DescribeImportSnapshotTasks": {used: pageMembers + "ImportTaskIds"},
		"ExportImage": {
			on:   "image:ImageId export-image-task:+",
			used: "DryRun ClientToken Description DiskImageFormat ImageId S3ExportLocation RoleName TagSpecifications",
			note: "Of an image with several disks the root disk; not of encrypted snapshots.",
		},
		"ImportVolume": {
			on: "volume:+", more: made("volume", importedVolume), used: "DryRun AvailabilityZone Description Image.Bytes Image.Format Image.ImportManifestUrl Volume.Size",
			note: "The manifest and its parts must be in this cloud's S3, and readable by the caller.",
		},
		"ImportInstance": {
			on: "instance:+ volume:+ subnet:LaunchSpecification.SubnetId? security-group:LaunchSpecification.GroupIds,LaunchSpecification.GroupNames?",
			used: "DryRun Description DiskImages.Description DiskImages.Image.Bytes DiskImages.Image.Format DiskImages.Image.ImportManifestUrl DiskImages.Volume.Size Platform " +
				"LaunchSpecification.Architecture LaunchSpecification.GroupIds LaunchSpecification.GroupNames LaunchSpecification.InstanceInitiatedShutdownBehavior " +
				"LaunchSpecification.InstanceType LaunchSpecification.Monitoring LaunchSpecification.PrivateIpAddress LaunchSpecification.SubnetId LaunchSpecification.UserData " +
				"LaunchSpecification.Placement.AvailabilityZone LaunchSpecification.Placement.AvailabilityZoneId LaunchSpecification.Placement.Tenancy LaunchSpecification.Placement.GroupName LaunchSpecification.Placement.GroupId LaunchSpecification.Placement.PartitionNumber",
			refused: "LaunchSpecification.AdditionalInfo LaunchSpecification.Placement.Affinity LaunchSpecification.Placement.HostId " +
				"LaunchSpecification.Placement.SpreadDomain LaunchSpecification.Placement.HostResourceGroupArn",
			note: "The instance is there, stopped, when its disks are converted. Manifests and parts must be in this cloud's S3, and readable by the caller.",
		},
		"DescribeConversionTasks":  {used: "DryRun ConversionTaskIds", note: "Tasks of ImportVolume and ImportInstance."},
		"CancelConversionTask":     {used: "DryRun ConversionTaskId", harmless: map[string]string{"ReasonMessage": "AWS does not show it either"}},
		"DescribeExportImageTasks": {used: pageMembers + "ExportImageTaskIds"},
		"CancelExportTask":         {on: "export-image-task:ExportTaskId", used: "ExportTaskId", note: "Tasks of ExportImage."},
		"DescribeImportImageTasks": {used: pageMembers + "ImportTaskIds"},
		"CancelImportTask":         {on: "any:ImportTaskId", used: "DryRun ImportTaskId", harmless: map[string]string{"CancelReason": "AWS does not show it either"}},
		"BundleInstance": {
			on: "*", used: "DryRun InstanceId Storage",
			note: "Of instance-store instances, Linux too, on the cloud's own host; the bundle is signed by the cloud, and encrypted for the account's signing certificate if there is one.",
		},
		"DescribeBundleTasks": {used: "DryRun BundleIds Filters"},
		"CancelBundleTask":    {used: "DryRun BundleId"},
		"RegisterImage": {
			on: "image:+ snapshot:BlockDeviceMappings.Ebs.SnapshotId?", more: madeByCaller, used: "DryRun Architecture BlockDeviceMappings.DeviceName BlockDeviceMappings.VirtualName BlockDeviceMappings.NoDevice BlockDeviceMappings.Ebs.DeleteOnTermination BlockDeviceMappings.Ebs.Iops " +
				"BlockDeviceMappings.Ebs.SnapshotId BlockDeviceMappings.Ebs.VolumeSize BlockDeviceMappings.Ebs.VolumeType BlockDeviceMappings.Ebs.Throughput BootMode Description ImageLocation KernelId Name RamdiskId RootDeviceName TagSpecifications VirtualizationType EnaSupport SriovNetSupport",
			refused: "BillingProducts TpmSupport UefiData ImdsSupport BlockDeviceMappings.Ebs.Encrypted BlockDeviceMappings.Ebs.KmsKeyId BlockDeviceMappings.Ebs.OutpostArn BlockDeviceMappings.Ebs.AvailabilityZone BlockDeviceMappings.Ebs.VolumeInitializationRate",
			note: "From the caller's own snapshots, or from a bundle (ImageLocation) whose signature a certificate of the account's must have made. " +
				"EnaSupport and SriovNetSupport are kept and shown; guests have virtio cards.",
		},
		"CreateImage": {
			on: "image:+ instance:InstanceId", also: snapshotsOfImage, more: madeByCaller,
			used: "DryRun BlockDeviceMappings.DeviceName BlockDeviceMappings.VirtualName BlockDeviceMappings.NoDevice BlockDeviceMappings.Ebs.DeleteOnTermination BlockDeviceMappings.Ebs.Iops " +
				"BlockDeviceMappings.Ebs.SnapshotId BlockDeviceMappings.Ebs.VolumeSize BlockDeviceMappings.Ebs.VolumeType BlockDeviceMappings.Ebs.Throughput Description InstanceId Name NoReboot TagSpecifications",
			refused: "BlockDeviceMappings.Ebs.Encrypted BlockDeviceMappings.Ebs.KmsKeyId BlockDeviceMappings.Ebs.OutpostArn BlockDeviceMappings.Ebs.AvailabilityZone BlockDeviceMappings.Ebs.VolumeInitializationRate",
		},
		"CopyImage": {
			on: "image:+ image:SourceImageId snapshot:+", more: madeByCaller,
			used:    "DryRun ClientToken CopyImageTags Description Name SourceImageId SourceRegion TagSpecifications",
			refused: "DestinationOutpostArn Encrypted KmsKeyId",
			note:    "Within the region.",
		},
		"DeregisterImage":                      {on: "image:ImageId", used: "DryRun ImageId", refused: "DeleteAssociatedSnapshots"},
		"DescribeImages":                       {used: pageMembers + "ImageIds Owners ExecutableUsers IncludeDeprecated IncludeDisabled"},
		"EnableImageDeprecation":               {on: "image:ImageId", used: "DryRun ImageId DeprecateAt"},
		"DisableImageDeprecation":              {on: "image:ImageId", used: "DryRun ImageId"},
		"EnableImageDeregistrationProtection":  {on: "image:ImageId", used: "DryRun ImageId WithCooldown"},
		"DisableImageDeregistrationProtection": {on: "image:ImageId", used: "DryRun ImageId"},
		"EnableImageBlockPublicAccess":         {used: "DryRun ImageBlockPublicAccessState"},
		"DisableImageBlockPublicAccess":        {used: "DryRun"},
		"GetImageBlockPublicAccessState":       {used: "DryRun"},
		"DescribeImageAttribute":               {on: "image:ImageId", used: "DryRun ImageId Attribute"},
		"ModifyImageAttribute": {
			on: "image:ImageId",
			used: "DryRun ImageId Attribute Description LaunchPermission.Add.Group LaunchPermission.Add.UserId LaunchPermission.Remove.Group " +
				"LaunchPermission.Remove.UserId OperationType ProductCodes UserGroups UserIds Value",
			refused: "OrganizationArns OrganizationalUnitArns ImdsSupport LaunchPermission.Add.OrganizationArn LaunchPermission.Add.OrganizationalUnitArn " +
				"LaunchPermission.Remove.OrganizationArn LaunchPermission.Remove.OrganizationalUnitArn",
		},
		"ConfirmProductInstance": {on: "*", used: "DryRun InstanceId ProductCode"},
		"ResetImageAttribute":    {on: "image:ImageId", used: "DryRun ImageId Attribute"},
	}
}
