package ec2

// vpnOperations is the table's part on VPN connections and both of their ends.
func vpnOperations() map[string]members {
	const described = "DryRun Filters "
	const options = "Options.StaticRoutesOnly Options.TunnelInsideIpVersion Options.LocalIpv4NetworkCidr Options.RemoteIpv4NetworkCidr Options.OutsideIpAddressType "
	const noOptions = "TransitGatewayId Options.EnableAcceleration Options.LocalIpv6NetworkCidr Options.RemoteIpv6NetworkCidr Options.TransportTransitGatewayAttachmentId "
	return map[string]members{
		"CreateCustomerGateway":    {on: "customer-gateway:+", used: "DryRun BgpAsn BgpAsnExtended PublicIp IpAddress Type TagSpecifications DeviceName", refused: "CertificateArn"},
		"DeleteCustomerGateway":    {on: "customer-gateway:CustomerGatewayId", used: "DryRun CustomerGatewayId"},
		"DescribeCustomerGateways": {used: described + "CustomerGatewayIds"},
		"CreateVpnGateway":         {on: "vpn-gateway:+", used: "DryRun AvailabilityZone Type TagSpecifications AmazonSideAsn"},
		"DeleteVpnGateway":         {on: "vpn-gateway:VpnGatewayId", used: "DryRun VpnGatewayId"},
		"DescribeVpnGateways":      {used: described + "VpnGatewayIds"},
		"AttachVpnGateway":         {on: "vpn-gateway:VpnGatewayId vpc:VpcId", used: "DryRun VpcId VpnGatewayId"},
		"DetachVpnGateway":         {on: "vpn-gateway:VpnGatewayId vpc:VpcId", used: "DryRun VpcId VpnGatewayId"},
		"CreateVpnConnection": {
			on: "vpn-connection:+ customer-gateway:CustomerGatewayId vpn-gateway:VpnGatewayId?", more: made("vpn-connection", createdVPN), keys: tunnelKeys("Options.TunnelOptions."),
			used: "DryRun CustomerGatewayId Type VpnGatewayId TagSpecifications " + options + tunnelMembers("Options.TunnelOptions.", false), refused: noOptions + tunnelMembers("Options.TunnelOptions.", true),
		},
		"DeleteVpnConnection":         {on: "vpn-connection:VpnConnectionId", used: "DryRun VpnConnectionId"},
		"DescribeVpnConnections":      {used: described + "VpnConnectionIds"},
		"CreateVpnConnectionRoute":    {on: "vpn-connection:VpnConnectionId", used: "VpnConnectionId DestinationCidrBlock"},
		"DeleteVpnConnectionRoute":    {on: "vpn-connection:VpnConnectionId", used: "VpnConnectionId DestinationCidrBlock"},
		"EnableVgwRoutePropagation":   {on: "route-table:RouteTableId vpn-gateway:GatewayId", used: "DryRun GatewayId RouteTableId"},
		"DisableVgwRoutePropagation":  {on: "route-table:RouteTableId vpn-gateway:GatewayId", used: "DryRun GatewayId RouteTableId"},
		"GetVpnConnectionDeviceTypes": {on: "*", used: "MaxResults NextToken DryRun", note: "A generic one and strongSwan."},
		"GetVpnConnectionDeviceSampleConfiguration": {
			on: "vpn-connection:VpnConnectionId vpn-connection-device-type:VpnConnectionDeviceTypeId", used: "VpnConnectionId VpnConnectionDeviceTypeId InternetKeyExchangeVersion DryRun",
		},
		"ModifyVpnConnectionOptions": {
			on: "vpn-connection:VpnConnectionId", used: "DryRun VpnConnectionId LocalIpv4NetworkCidr RemoteIpv4NetworkCidr", refused: "LocalIpv6NetworkCidr RemoteIpv6NetworkCidr",
		},
		"ModifyVpnTunnelOptions": {
			on: "vpn-connection:VpnConnectionId", keys: tunnelKeys("TunnelOptions."),
			used: "DryRun VpnConnectionId VpnTunnelOutsideIpAddress " + tunnelMembers("TunnelOptions.", false), refused: tunnelMembers("TunnelOptions.", true),
			harmless: map[string]string{"SkipTunnelReplacement": "a tunnel is changed in place"},
		},
	}
}

// tunnelMembers gives the members of tunnel options below a path: those that are used, or those that are refused.
func tunnelMembers(path string, refused bool) (out string) {
	names := []string{
		"TunnelInsideCidr", "PreSharedKey", "Phase1LifetimeSeconds", "Phase2LifetimeSeconds", "RekeyMarginTimeSeconds", "RekeyFuzzPercentage", "ReplayWindowSize",
		"DPDTimeoutSeconds", "DPDTimeoutAction", "Phase1EncryptionAlgorithms", "Phase2EncryptionAlgorithms", "Phase1IntegrityAlgorithms",
		"Phase2IntegrityAlgorithms", "Phase1DHGroupNumbers", "Phase2DHGroupNumbers", "IKEVersions", "StartupAction",
	}
	if refused {
		names = []string{"TunnelInsideIpv6Cidr", "LogOptions", "EnableTunnelLifecycleControl"}
	}
	for _, n := range names {
		out += path + n + " "
	}
	return out
}
