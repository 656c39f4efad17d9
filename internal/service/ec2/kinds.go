package ec2

import (
	"karri.dev/internal/aws/awserr"
	"karri.dev/internal/aws/call"
	"karri.dev/internal/resource"
	"karri.dev/internal/store"
)

// kind is what all resources of one type have in common: how they are named, found and owned.
type kind[T any] struct {
	prefix string // of ids
	noun   string // in messages: "instance"
	name   string // ResourceType of tags: "instance"
	table  *store.Table[T]
	owner  *store.Index[T]
	id     func(*T) string
	owned  func(*T) *resource.Owned
	// absent is the error code for an unknown id, malformed that for an ill-formed one ("" = absent).
	absent, malformed string
}

var (
	instances = &kind[resource.Instance]{
		"i-", "instance", "instance", store.Instances, store.InstancesByOwner,
		func(v *resource.Instance) string { return v.ID }, func(v *resource.Instance) *resource.Owned { return &v.Owned },
		"InvalidInstanceID.NotFound", "InvalidInstanceID.Malformed",
	}
	images = &kind[resource.Image]{
		"ami-", "image", "image", store.Images, store.ImagesByOwner,
		func(v *resource.Image) string { return v.ID }, func(v *resource.Image) *resource.Owned { return &v.Owned },
		"InvalidAMIID.NotFound", "InvalidAMIID.Malformed",
	}
	importTasks = &kind[resource.ImportTask]{
		"import-ami-", "import task", "import-image-task", store.ImportTasks, store.ImportTasksByOwner,
		func(v *resource.ImportTask) string { return v.ID }, func(v *resource.ImportTask) *resource.Owned { return &v.Owned },
		"InvalidConversionTaskId", "InvalidConversionTaskId.Malformed",
	}
	snapshotImports = &kind[resource.ImportTask]{
		"import-snap-", "import task", "import-snapshot-task", store.ImportTasks, store.ImportTasksByOwner,
		func(v *resource.ImportTask) string { return v.ID }, func(v *resource.ImportTask) *resource.Owned { return &v.Owned },
		"InvalidConversionTaskId", "InvalidConversionTaskId.Malformed",
	}
	conversions = &kind[resource.ImportTask]{
		"import-vol-", "conversion task", "import-volume-task", store.ImportTasks, store.ImportTasksByOwner,
		func(v *resource.ImportTask) string { return v.ID }, func(v *resource.ImportTask) *resource.Owned { return &v.Owned },
		"InvalidConversionTaskId", "InvalidConversionTaskId.Malformed",
	}
	instanceImports = &kind[resource.ImportTask]{
		"import-i-", "conversion task", "import-instance-task", store.ImportTasks, store.ImportTasksByOwner,
		func(v *resource.ImportTask) string { return v.ID }, func(v *resource.ImportTask) *resource.Owned { return &v.Owned },
		"InvalidConversionTaskId", "InvalidConversionTaskId.Malformed",
	}
	exportTasks = &kind[resource.ExportTask]{
		"export-ami-", "export task", "export-image-task", store.ExportTasks, store.ExportTasksByOwner,
		func(v *resource.ExportTask) string { return v.ID }, func(v *resource.ExportTask) *resource.Owned { return &v.Owned },
		"InvalidExportTaskID.NotFound", "InvalidExportTaskID.Malformed",
	}
	bundleTasks = &kind[resource.BundleTask]{
		"bun-", "bundle task", "bundle-task", store.BundleTasks, store.BundleTasksByOwner,
		func(v *resource.BundleTask) string { return v.ID }, func(v *resource.BundleTask) *resource.Owned { return &v.Owned },
		"InvalidBundleID.NotFound", "",
	}
	volumes = &kind[resource.Volume]{
		"vol-", "volume", "volume", store.Volumes, store.VolumesByOwner,
		func(v *resource.Volume) string { return v.ID }, func(v *resource.Volume) *resource.Owned { return &v.Owned },
		"InvalidVolume.NotFound", "InvalidParameterValue",
	}
	rootTasks = &kind[resource.RootVolumeTask]{
		"replacevol-", "replace root volume task", "replace-root-volume-task", store.RootVolumeTasks, store.RootVolumeTasksByOwner,
		func(v *resource.RootVolumeTask) string { return v.ID }, func(v *resource.RootVolumeTask) *resource.Owned { return &v.Owned },
		"InvalidReplaceRootVolumeTaskId.NotFound", "InvalidReplaceRootVolumeTaskId.Malformed",
	}
	snapshots = &kind[resource.Snapshot]{
		"snap-", "snapshot", "snapshot", store.Snapshots, store.SnapshotsByOwner,
		func(v *resource.Snapshot) string { return v.ID }, func(v *resource.Snapshot) *resource.Owned { return &v.Owned },
		"InvalidSnapshot.NotFound", "InvalidParameterValue",
	}
	keyPairs = &kind[resource.KeyPair]{
		"key-", "key pair", "key-pair", store.KeyPairs, store.KeyPairsByOwner,
		func(v *resource.KeyPair) string { return v.ID }, func(v *resource.KeyPair) *resource.Owned { return &v.Owned },
		"InvalidKeyPair.NotFound", "",
	}
	templates = &kind[resource.LaunchTemplate]{
		"lt-", "launch template", "launch-template", store.LaunchTemplates, store.LaunchTemplatesByOwner,
		func(v *resource.LaunchTemplate) string { return v.ID }, func(v *resource.LaunchTemplate) *resource.Owned { return &v.Owned },
		"InvalidLaunchTemplateId.NotFound", "InvalidLaunchTemplateId.Malformed",
	}
	placementGroups = &kind[resource.PlacementGroup]{
		"pg-", "placement group", "placement-group", store.PlacementGroups, store.PlacementGroupsByOwner,
		func(v *resource.PlacementGroup) string { return v.ID }, func(v *resource.PlacementGroup) *resource.Owned { return &v.Owned },
		"InvalidPlacementGroup.Unknown", "InvalidPlacementGroupId.Malformed",
	}
	vpcs = &kind[resource.VPC]{
		"vpc-", "vpc", "vpc", store.VPCs, store.VPCsByOwner,
		func(v *resource.VPC) string { return v.ID }, func(v *resource.VPC) *resource.Owned { return &v.Owned },
		"InvalidVpcID.NotFound", "",
	}
	subnets = &kind[resource.Subnet]{
		"subnet-", "subnet", "subnet", store.Subnets, store.SubnetsByOwner,
		func(v *resource.Subnet) string { return v.ID }, func(v *resource.Subnet) *resource.Owned { return &v.Owned },
		"InvalidSubnetID.NotFound", "",
	}
	cidrReservations = &kind[resource.CIDRReservation]{
		"scr-", "subnet CIDR reservation", "subnet-cidr-reservation", store.CIDRReservations, store.CIDRReservationsByOwner,
		func(v *resource.CIDRReservation) string { return v.ID }, func(v *resource.CIDRReservation) *resource.Owned { return &v.Owned },
		"InvalidSubnetCidrReservationID.NotFound", "",
	}
	groups = &kind[resource.SecurityGroup]{
		"sg-", "security group", "security-group", store.SecurityGroups, store.SecurityGroupsByOwner,
		func(v *resource.SecurityGroup) string { return v.ID }, func(v *resource.SecurityGroup) *resource.Owned { return &v.Owned },
		"InvalidGroup.NotFound", "InvalidGroupId.Malformed",
	}
	routeTables = &kind[resource.RouteTable]{
		"rtb-", "routeTable", "route-table", store.RouteTables, store.RouteTablesByOwner,
		func(v *resource.RouteTable) string { return v.ID }, func(v *resource.RouteTable) *resource.Owned { return &v.Owned },
		"InvalidRouteTableID.NotFound", "",
	}
	gateways = &kind[resource.InternetGateway]{
		"igw-", "internetGateway", "internet-gateway", store.InternetGateways, store.InternetGatewaysByOwner,
		func(v *resource.InternetGateway) string { return v.ID }, func(v *resource.InternetGateway) *resource.Owned { return &v.Owned },
		"InvalidInternetGatewayID.NotFound", "",
	}
	egressGateways = &kind[resource.EgressGateway]{
		"eigw-", "egressOnlyInternetGateway", "egress-only-internet-gateway", store.EgressGateways, store.EgressGatewaysByOwner,
		func(v *resource.EgressGateway) string { return v.ID }, func(v *resource.EgressGateway) *resource.Owned { return &v.Owned },
		"InvalidGatewayID.NotFound", "",
	}
	acls = &kind[resource.NetworkACL]{
		"acl-", "networkAcl", "network-acl", store.NetworkACLs, store.NetworkACLsByOwner,
		func(v *resource.NetworkACL) string { return v.ID }, func(v *resource.NetworkACL) *resource.Owned { return &v.Owned },
		"InvalidNetworkAclID.NotFound", "",
	}
	dhcpOptions = &kind[resource.DHCPOptions]{
		"dopt-", "dhcpOption", "dhcp-options", store.DHCPOptions, store.DHCPOptionsByOwner,
		func(v *resource.DHCPOptions) string { return v.ID }, func(v *resource.DHCPOptions) *resource.Owned { return &v.Owned },
		"InvalidDhcpOptionID.NotFound", "",
	}
	interfaces = &kind[resource.Interface]{
		"eni-", "networkInterface", "network-interface", store.Interfaces, store.InterfacesByOwner,
		func(v *resource.Interface) string { return v.ID }, func(v *resource.Interface) *resource.Owned { return &v.Owned },
		"InvalidNetworkInterfaceID.NotFound", "",
	}
	prefixLists = &kind[resource.PrefixList]{
		"pl-", "prefix list", "prefix-list", store.PrefixLists, store.PrefixListsByOwner,
		func(v *resource.PrefixList) string { return v.ID }, func(v *resource.PrefixList) *resource.Owned { return &v.Owned },
		"InvalidPrefixListID.NotFound", "InvalidPrefixListId.Malformed",
	}
	natGateways = &kind[resource.NATGateway]{
		"nat-", "NatGateway", "natgateway", store.NATGateways, store.NATGatewaysByOwner,
		func(v *resource.NATGateway) string { return v.ID }, func(v *resource.NATGateway) *resource.Owned { return &v.Owned },
		"NatGatewayNotFound", "NatGatewayMalformed",
	}
	vpcEndpoints = &kind[resource.VPCEndpoint]{
		"vpce-", "Vpc Endpoint Id", "vpc-endpoint", store.VPCEndpoints, store.VPCEndpointsByOwner,
		func(v *resource.VPCEndpoint) string { return v.ID }, func(v *resource.VPCEndpoint) *resource.Owned { return &v.Owned },
		"InvalidVpcEndpointId.NotFound", "InvalidVpcEndpointId.Malformed",
	}
	customerGateways = &kind[resource.CustomerGateway]{
		"cgw-", "customerGateway", "customer-gateway", store.CustomerGateways, store.CustomerGatewaysByOwner,
		func(v *resource.CustomerGateway) string { return v.ID }, func(v *resource.CustomerGateway) *resource.Owned { return &v.Owned },
		"InvalidCustomerGatewayID.NotFound", "",
	}
	vpnGateways = &kind[resource.VPNGateway]{
		"vgw-", "vpnGateway", "vpn-gateway", store.VPNGateways, store.VPNGatewaysByOwner,
		func(v *resource.VPNGateway) string { return v.ID }, func(v *resource.VPNGateway) *resource.Owned { return &v.Owned },
		"InvalidVpnGatewayID.NotFound", "",
	}
	vpnConnections = &kind[resource.VPNConnection]{
		"vpn-", "vpnConnection", "vpn-connection", store.VPNConnections, store.VPNConnectionsByOwner,
		func(v *resource.VPNConnection) string { return v.ID }, func(v *resource.VPNConnection) *resource.Owned { return &v.Owned },
		"InvalidVpnConnectionID.NotFound", "",
	}
	flowLogs = &kind[resource.FlowLog]{
		"fl-", "flow log", "vpc-flow-log", store.FlowLogs, store.FlowLogsByOwner,
		func(v *resource.FlowLog) string { return v.ID }, func(v *resource.FlowLog) *resource.Owned { return &v.Owned },
		"InvalidFlowLogId.NotFound", "",
	}
	addressTransfers = &kind[resource.AddressTransfer]{
		"eipalloc-", "allocation", "elastic-ip", store.AddressTransfers, store.AddressTransfersByOwner,
		func(v *resource.AddressTransfer) string { return v.AllocationID }, func(v *resource.AddressTransfer) *resource.Owned { return &v.Owned },
		"InvalidAllocationID.NotFound", "",
	}
	addresses = &kind[resource.Address]{
		"eipalloc-", "allocation", "elastic-ip", store.Addresses, store.AddressesByOwner,
		func(v *resource.Address) string { return v.AllocationID }, func(v *resource.Address) *resource.Owned { return &v.Owned },
		"InvalidAllocationID.NotFound", "",
	}
)

// find gives the caller's resource with this id. What is another account's or region's is not found.
func (k *kind[T]) find(r store.Reader, info *call.Info, id string) (*T, error) {
	if k.malformed != "" && !wellFormed(k.prefix, id) {
		return nil, awserr.New(k.malformed, "Invalid id: \"%s\" (expecting \"%s...\")", id, k.prefix)
	}
	v := k.table.Get(r, id)
	if v == nil || !k.mine(info, v) {
		return nil, k.notFound(id)
	}
	return v, nil
}

func (k *kind[T]) mine(info *call.Info, v *T) bool {
	o := k.owned(v)
	return o.AccountID == info.AccountID && o.Region == info.Region
}

// arn is the resource's name in the whole of AWS.
func (k *kind[T]) arn(v *T) string {
	o := k.owned(v)
	return "arn:aws:ec2:" + o.Region + ":" + o.AccountID + ":" + k.name + "/" + k.id(v)
}

func (k *kind[T]) notFound(id string) error {
	switch k.prefix {
	case "i-", "vpc-", "subnet-", "rtb-", "igw-", "eigw-", "acl-", "dopt-", "eni-", "eipalloc-", "import-ami-", "import-snap-", "import-vol-", "import-i-", "export-ami-", "pl-", "cgw-", "vgw-", "vpn-":
		return awserr.New(k.absent, "The %s ID '%s' does not exist", k.noun, id)
	case "nat-":
		return awserr.New(k.absent, "NatGateway %s was not found", id)
	case "lt-":
		return errNoTemplate(id, "")
	case "ami-":
		return awserr.New(k.absent, "The image id '[%s]' does not exist", id)
	}
	return awserr.New(k.absent, "The %s '%s' does not exist", k.noun, id)
}

// ownerKey is the value of "owner" indexes for the caller.
func ownerKey(info *call.Info) string { return info.AccountID + "/" + info.Region }

// owned is the common part of a new resource of the caller's.
func (s *Service) owned(info *call.Info, tags resource.Tags) resource.Owned {
	return resource.Owned{AccountID: info.AccountID, Region: info.Region, CreatedAt: s.now(), Tags: tags, Creator: info.PrincipalID()}
}
