package ec2

// volumeOperations is the table's part on volumes and snapshots.
func volumeOperations() map[string]members {
	return map[string]members{
		"DescribeVolumes": {used: pageMembers + "VolumeIds", note: "There are no volumes yet."},
	}
}
