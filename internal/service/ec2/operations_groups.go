package ec2

// groupOperations is the table's part on security groups.
func groupOperations() map[string]members {
	const (
		target = "DryRun GroupId CidrIp FromPort ToPort IpProtocol SourceSecurityGroupName SourceSecurityGroupOwnerId " +
			"IpPermissions.FromPort IpPermissions.ToPort IpPermissions.IpProtocol IpPermissions.IpRanges IpPermissions.Ipv6Ranges " +
			"IpPermissions.UserIdGroupPairs.Description IpPermissions.UserIdGroupPairs.GroupId IpPermissions.UserIdGroupPairs.GroupName " +
			"IpPermissions.UserIdGroupPairs.UserId IpPermissions.UserIdGroupPairs.VpcId IpPermissions.PrefixListIds "
		noTarget = "IpPermissions.UserIdGroupPairs.VpcPeeringConnectionId"
	)
	peering := map[string]string{"IpPermissions.UserIdGroupPairs.PeeringStatus": "AWS only answers it"}
	return map[string]members{
		"CreateSecurityGroup":        {on: "security-group:+ vpc:VpcId?", used: "DryRun GroupName Description VpcId TagSpecifications"},
		"DeleteSecurityGroup":        {on: "security-group:GroupId,GroupName", used: "DryRun GroupId GroupName"},
		"DescribeSecurityGroups":     {used: pageMembers + "GroupIds GroupNames"},
		"DescribeSecurityGroupRules": {used: pageMembers + "SecurityGroupRuleIds"},
		"AuthorizeSecurityGroupIngress": {
			on:   "security-group:GroupId,GroupName security-group-rule:+?",
			used: target + "GroupName TagSpecifications", refused: noTarget, harmless: peering,
			note: "Groups of other accounts cannot be named in a rule.",
		},
		"AuthorizeSecurityGroupEgress": {on: "security-group:GroupId security-group-rule:+?", used: target + "TagSpecifications", refused: noTarget, harmless: peering},
		"RevokeSecurityGroupIngress":   {on: "security-group:GroupId,GroupName", used: target + "GroupName SecurityGroupRuleIds", refused: noTarget, harmless: peering},
		"RevokeSecurityGroupEgress":    {on: "security-group:GroupId", used: target + "SecurityGroupRuleIds", refused: noTarget, harmless: peering},
	}
}
