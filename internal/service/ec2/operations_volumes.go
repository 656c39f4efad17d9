package ec2

// volumeOperations are those about EBS volumes and snapshots.
func volumeOperations() map[string]members {
	return map[string]members{
		"DescribeVolumes":              {used: pageMembers + "VolumeIds"},
		"DescribeSnapshots":            {used: pageMembers + "SnapshotIds OwnerIds RestorableByUserIds", note: "The snapshots are those of imported images; none can be made of a volume yet."},
		"DeleteSnapshot":               {on: "snapshot:SnapshotId", used: "DryRun SnapshotId"},
		"DescribeVolumeStatus":         {used: pageMembers + "VolumeIds"},
		"DescribeVolumeAttribute":      {used: "DryRun VolumeId Attribute"},
		"DescribeVolumesModifications": {used: pageMembers + "VolumeIds"},
		"ModifyVolumeAttribute":        {on: "volume:VolumeId", used: "DryRun VolumeId AutoEnableIO", note: "I/O to volumes is never switched off, so AutoEnableIO is only kept."},
		"EnableVolumeIO":               {on: "volume:VolumeId", used: "DryRun VolumeId"},
		"CreateVolume": {
			on: "volume:+ snapshot:SnapshotId?", keys: "ec2:VolumeType=VolumeType ec2:AvailabilityZone=AvailabilityZone",
			used:    "DryRun AvailabilityZone Iops Size SnapshotId VolumeType TagSpecifications Throughput ClientToken",
			refused: "Encrypted KmsKeyId OutpostArn MultiAttachEnabled",
		},
		"DeleteVolume": {on: "volume:VolumeId", used: "DryRun VolumeId"},
		"AttachVolume": {on: "volume:VolumeId instance:InstanceId", used: "DryRun Device InstanceId VolumeId"},
		"DetachVolume": {on: "volume:VolumeId instance:InstanceId?", used: "DryRun Device InstanceId VolumeId Force"},
		"ModifyVolume": {on: "volume:VolumeId", used: "DryRun VolumeId Size VolumeType Iops Throughput", refused: "MultiAttachEnabled"},
	}
}
