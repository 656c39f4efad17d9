package ec2

// permissionsOf is authz.Entry's On for operations whose entry in the table of members has none.
func permissionsOf() map[string]string {
	const (
		template = "launch-template:LaunchTemplateId,LaunchTemplateName"
		table    = "route-table:RouteTableId"
		acl      = "network-acl:NetworkAclId"
		volume   = "volume:VolumeId"
		instance = "instance:InstanceId"
	)
	return map[string]string{
		"AllocateHosts": "*", "PurchaseReservedInstancesOffering": "*", "RequestSpotInstances": "*",
		"EnableSerialConsoleAccess": "*", "DisableSerialConsoleAccess": "*", "GetSerialConsoleAccessStatus": "*",
		"EnableImageBlockPublicAccess": "*", "DisableImageBlockPublicAccess": "*", "GetImageBlockPublicAccessState": "*",
		"GetConsoleScreenshot": instance, "GetLaunchTemplateData": instance, "GetPasswordData": instance,

		"CreateLaunchTemplate": "launch-template:+", "CreateLaunchTemplateVersion": template, "DeleteLaunchTemplate": template,
		"DeleteLaunchTemplateVersions": template, "ModifyLaunchTemplate": template,
		"CreatePlacementGroup": "placement-group:+GroupName", "DeletePlacementGroup": "placement-group:GroupName",

		"CreateVolume": "volume:+ snapshot:SnapshotId?", "DeleteVolume": volume, "ModifyVolume": volume, "ModifyVolumeAttribute": volume,
		"EnableVolumeIO": volume, "AttachVolume": volume + " " + instance, "DetachVolume": volume + " " + instance + "?",

		"CreateDefaultVpc": "vpc:+", "CreateDefaultSubnet": "subnet:+", "CreateVpc": "vpc:+", "DeleteVpc": "vpc:VpcId",
		"ModifyVpcAttribute": "vpc:VpcId", "ModifyVpcTenancy": "vpc:VpcId", "AssociateVpcCidrBlock": "vpc:VpcId", "DisassociateVpcCidrBlock": "vpc:AssociationId",
		"CreateSubnet": "subnet:+ vpc:VpcId", "DeleteSubnet": "subnet:SubnetId", "ModifySubnetAttribute": "subnet:SubnetId",
		"CreateDhcpOptions": "dhcp-options:+", "DeleteDhcpOptions": "dhcp-options:DhcpOptionsId", "AssociateDhcpOptions": "dhcp-options:DhcpOptionsId vpc:VpcId",
		"CreateInternetGateway": "internet-gateway:+", "DeleteInternetGateway": "internet-gateway:InternetGatewayId",
		"AttachInternetGateway": "internet-gateway:InternetGatewayId vpc:VpcId", "DetachInternetGateway": "internet-gateway:InternetGatewayId vpc:VpcId",
		"CreateRouteTable": "route-table:+ vpc:VpcId", "DeleteRouteTable": table, "CreateRoute": table, "DeleteRoute": table, "ReplaceRoute": table,
		"AssociateRouteTable": table + " subnet:SubnetId? internet-gateway:GatewayId?", "DisassociateRouteTable": "route-table:AssociationId",
		"ReplaceRouteTableAssociation": "route-table:AssociationId,RouteTableId",
		"CreateNetworkAcl":             "network-acl:+ vpc:VpcId", "DeleteNetworkAcl": acl, "CreateNetworkAclEntry": acl, "DeleteNetworkAclEntry": acl, "ReplaceNetworkAclEntry": acl,
		"ReplaceNetworkAclAssociation": acl,
	}
}

// permissionKeys are condition keys out of the request of such operations: authz.Entry's Keys.
func permissionKeys() map[string]string {
	return map[string]string{
		"CreateVolume": "ec2:VolumeType=VolumeType ec2:VolumeSize=Size ec2:VolumeIops=Iops ec2:VolumeThroughput=Throughput ec2:Encrypted=Encrypted ec2:AvailabilityZone=AvailabilityZone",
		"ModifyVolume": "ec2:TargetVolumeSize=Size ec2:TargetVolumeType=VolumeType",
		"CreateSubnet": "ec2:AvailabilityZone=AvailabilityZone",
	}
}
