package ec2

// volumeOperations are those about EBS volumes and snapshots.
func volumeOperations() map[string]members {
	return map[string]members{
		"DescribeVolumes":   {used: pageMembers + "VolumeIds"},
		"DescribeSnapshots": {used: pageMembers + "SnapshotIds OwnerIds RestorableByUserIds"},
		"CreateSnapshot":    {on: "snapshot:+ volume:VolumeId", more: made("snapshot", createdSnapshot), used: "DryRun Description VolumeId TagSpecifications", refused: "OutpostArn"},
		"CreateSnapshots": {
			on: "instance:InstanceSpecification.InstanceId", also: volumesOfInstance,
			used: "DryRun Description InstanceSpecification.InstanceId InstanceSpecification.ExcludeBootVolume InstanceSpecification.ExcludeDataVolumeIds " +
				"TagSpecifications CopyTagsFromSource",
			refused: "OutpostArn",
		},
		"CopySnapshot": {
			on: "snapshot:+ snapshot:SourceSnapshotId", more: made("snapshot", copiedSnapshot), used: "DryRun Description Encrypted SourceRegion SourceSnapshotId DestinationRegion TagSpecifications",
			refused:  "DestinationOutpostArn KmsKeyId",
			harmless: map[string]string{"PresignedUrl": "there is one region"},
		},
		"DescribeSnapshotAttribute": {on: "snapshot:SnapshotId", used: "DryRun SnapshotId Attribute"},
		"ModifySnapshotAttribute": {
			on: "snapshot:SnapshotId", more: permissionKeys,
			used: "DryRun SnapshotId Attribute CreateVolumePermission.Add.Group CreateVolumePermission.Add.UserId CreateVolumePermission.Remove.Group " +
				"CreateVolumePermission.Remove.UserId GroupNames OperationType UserIds",
		},
		"ResetSnapshotAttribute":            {on: "snapshot:SnapshotId", used: "DryRun SnapshotId Attribute"},
		"GetSnapshotBlockPublicAccessState": {on: "*", used: "DryRun"},
		"EnableSnapshotBlockPublicAccess":   {on: "*", used: "DryRun State"},
		"DisableSnapshotBlockPublicAccess":  {on: "*", used: "DryRun"},
		"EnableEbsEncryptionByDefault":      {on: "*", used: "DryRun"},
		"DisableEbsEncryptionByDefault":     {on: "*", used: "DryRun"},
		"GetEbsEncryptionByDefault":         {on: "*", used: "DryRun"},
		"GetEbsDefaultKmsKeyId":             {on: "*", used: "DryRun"},
		"LockSnapshot":                      {on: "snapshot:SnapshotId", keys: "ec2:SnapshotLockDuration=LockDuration ec2:SnapshotCoolOffPeriod=CoolOffPeriod", used: "DryRun SnapshotId LockMode CoolOffPeriod LockDuration ExpirationDate"},
		"UnlockSnapshot":                    {on: "snapshot:SnapshotId", used: "DryRun SnapshotId"},
		"DescribeLockedSnapshots":           {used: pageMembers + "SnapshotIds"},
		"DeleteSnapshot":                    {on: "snapshot:SnapshotId", used: "DryRun SnapshotId"},
		"DescribeVolumeStatus":              {used: pageMembers + "VolumeIds"},
		"DescribeVolumeAttribute":           {on: "volume:VolumeId", used: "DryRun VolumeId Attribute"},
		"DescribeVolumesModifications":      {used: pageMembers + "VolumeIds"},
		"ModifyVolumeAttribute":             {on: "volume:VolumeId", used: "DryRun VolumeId AutoEnableIO", note: "I/O to volumes is never switched off, so AutoEnableIO is only kept."},
		"EnableVolumeIO":                    {on: "volume:VolumeId", used: "DryRun VolumeId"},
		"CreateVolume": {
			on: "volume:+ snapshot:SnapshotId?", more: made("volume", createdVolume),
			used:    "DryRun AvailabilityZone Encrypted Iops Size SnapshotId VolumeType TagSpecifications Throughput ClientToken",
			refused: "KmsKeyId OutpostArn MultiAttachEnabled",
		},
		"CreateReplaceRootVolumeTask": {
			on:   "replace-root-volume-task:+ instance:InstanceId volume:+ snapshot:SnapshotId? image:ImageId?",
			used: "DryRun InstanceId SnapshotId ImageId ClientToken TagSpecifications DeleteReplacedRootVolume",
		},
		"DescribeSnapshotTierStatus":     {used: pageMembers, note: "All snapshots are in the standard tier."},
		"ModifySnapshotTier":             {on: "snapshot:SnapshotId", used: "SnapshotId", refused: "StorageTier DryRun", note: "Refused: there is no archive tier."},
		"RestoreSnapshotTier":            {on: "snapshot:SnapshotId", used: "SnapshotId", refused: "TemporaryRestoreDays PermanentRestore DryRun", note: "Refused: there is no archive tier."},
		"DescribeFastSnapshotRestores":   {used: pageMembers, note: "None."},
		"EnableFastSnapshotRestores":     {on: "snapshot:SourceSnapshotIds", refused: "AvailabilityZones SourceSnapshotIds DryRun", note: "Refused: volumes of snapshots fill while they are used."},
		"DisableFastSnapshotRestores":    {on: "snapshot:SourceSnapshotIds", refused: "AvailabilityZones SourceSnapshotIds DryRun", note: "Refused, likewise."},
		"ListSnapshotsInRecycleBin":      {on: "*", used: "DryRun MaxResults NextToken SnapshotIds", note: "There is no recycle bin: the list is empty."},
		"RestoreSnapshotFromRecycleBin":  {on: "snapshot:SnapshotId", used: "SnapshotId DryRun", note: "There is no recycle bin: nothing is found."},
		"ListImagesInRecycleBin":         {on: "*", used: "DryRun MaxResults NextToken ImageIds", note: "There is no recycle bin: the list is empty."},
		"RestoreImageFromRecycleBin":     {on: "image:ImageId", used: "ImageId DryRun", note: "There is no recycle bin: nothing is found."},
		"DisableImage":                   {on: "image:ImageId", used: "DryRun ImageId"},
		"EnableImage":                    {on: "image:ImageId", used: "DryRun ImageId"},
		"DescribeReplaceRootVolumeTasks": {used: pageMembers + "ReplaceRootVolumeTaskIds"},
		"DeleteVolume":                   {on: "volume:VolumeId", used: "DryRun VolumeId"},
		"AttachVolume":                   {on: "volume:VolumeId instance:InstanceId", used: "DryRun Device InstanceId VolumeId"},
		"DetachVolume":                   {on: "volume:VolumeId instance:InstanceId?", used: "DryRun Device InstanceId VolumeId Force"},
		"ModifyVolume": {
			on: "volume:VolumeId", used: "DryRun VolumeId Size VolumeType Iops Throughput", refused: "MultiAttachEnabled",
		},
	}
}
