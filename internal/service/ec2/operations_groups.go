package ec2

// groupOperations is the table's part on security groups.
func groupOperations() map[string]members {
	const (
		target = "DryRun GroupId CidrIp FromPort ToPort IpProtocol SourceSecurityGroupName SourceSecurityGroupOwnerId " +
			"IpPermissions.FromPort IpPermissions.ToPort IpPermissions.IpProtocol IpPermissions.IpRanges IpPermissions.Ipv6Ranges " +
			"IpPermissions.UserIdGroupPairs.Description IpPermissions.UserIdGroupPairs.GroupId IpPermissions.UserIdGroupPairs.GroupName " +
			"IpPermissions.UserIdGroupPairs.UserId IpPermissions.UserIdGroupPairs.VpcId "
		noTarget = "IpPermissions.PrefixListIds IpPermissions.UserIdGroupPairs.VpcPeeringConnectionId"
	)
	peering := map[string]string{"IpPermissions.UserIdGroupPairs.PeeringStatus": "AWS only answers it"}
	return map[string]members{
		"CreateSecurityGroup":        {used: "DryRun GroupName Description VpcId TagSpecifications"},
		"DeleteSecurityGroup":        {used: "DryRun GroupId GroupName"},
		"DescribeSecurityGroups":     {used: pageMembers + "GroupIds GroupNames"},
		"DescribeSecurityGroupRules": {used: pageMembers + "SecurityGroupRuleIds"},
		"AuthorizeSecurityGroupIngress": {
			used: target + "GroupName TagSpecifications", refused: noTarget, harmless: peering,
			note: "Groups of other accounts cannot be named in a rule.",
		},
		"AuthorizeSecurityGroupEgress": {used: target + "TagSpecifications", refused: noTarget, harmless: peering},
		"RevokeSecurityGroupIngress":   {used: target + "GroupName SecurityGroupRuleIds", refused: noTarget, harmless: peering},
		"RevokeSecurityGroupEgress":    {used: target + "SecurityGroupRuleIds", refused: noTarget, harmless: peering},
	}
}
