package ec2

// volumeOperations are those about EBS volumes and snapshots.
func volumeOperations() map[string]members {
	return map[string]members{
		"DescribeVolumes":              {used: pageMembers + "VolumeIds"},
		"DescribeVolumeStatus":         {used: pageMembers + "VolumeIds"},
		"DescribeVolumeAttribute":      {used: "DryRun VolumeId Attribute"},
		"DescribeVolumesModifications": {used: pageMembers + "VolumeIds"},
		"ModifyVolumeAttribute":        {used: "DryRun VolumeId AutoEnableIO", note: "I/O to volumes is never switched off, so AutoEnableIO is only kept."},
		"EnableVolumeIO":               {used: "DryRun VolumeId"},
		"CreateVolume": {
			used:    "DryRun AvailabilityZone Iops Size SnapshotId VolumeType TagSpecifications Throughput ClientToken",
			refused: "Encrypted KmsKeyId OutpostArn MultiAttachEnabled",
		},
		"DeleteVolume": {used: "DryRun VolumeId"},
		"AttachVolume": {used: "DryRun Device InstanceId VolumeId"},
		"DetachVolume": {used: "DryRun Device InstanceId VolumeId Force"},
		"ModifyVolume": {used: "DryRun VolumeId Size VolumeType Iops Throughput", refused: "MultiAttachEnabled"},
	}
}
