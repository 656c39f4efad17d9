package ec2

// permissionsOf is authz.Entry's On for operations whose entry in the table of members has none.
func permissionsOf() map[string]string {
	const (
		template = "launch-template:LaunchTemplateId,LaunchTemplateName"
		instance = "instance:InstanceId"
	)
	return map[string]string{
		"CancelConversionTask": "*", "CancelBundleTask": "*", "AllocateHosts": "*", "PurchaseReservedInstancesOffering": "*", "RequestSpotInstances": "*",
		"EnableSerialConsoleAccess": "*", "DisableSerialConsoleAccess": "*", "GetSerialConsoleAccessStatus": "*",
		"EnableImageBlockPublicAccess": "*", "DisableImageBlockPublicAccess": "*", "GetImageBlockPublicAccessState": "*",
		"GetConsoleScreenshot": instance, "GetLaunchTemplateData": instance, "GetPasswordData": instance,

		"CreateLaunchTemplate": "launch-template:+", "CreateLaunchTemplateVersion": template, "DeleteLaunchTemplate": template,
		"DeleteLaunchTemplateVersions": template, "ModifyLaunchTemplate": template,
		"CreatePlacementGroup": "placement-group:+GroupName", "DeletePlacementGroup": "placement-group:GroupName",

		"CreateDefaultVpc": "*", "CreateDefaultSubnet": "*",
	}
}
