package ec2

import (
	"encoding/xml"
	"strings"
	"testing"

	shape "karri.dev/internal/aws/shape/ec2"
	"karri.dev/internal/lifecycle"
	"karri.dev/internal/resource"
	"karri.dev/internal/store"
)

// vpn gives a VPN connection as alice sees it.
func (c *cloud) vpn(id string) shape.VpnConnection {
	c.Helper()
	return do(c, c.DescribeVpnConnections, shape.DescribeVpnConnectionsRequest{VpnConnectionIds: []string{id}}).VpnConnections[0]
}

// vpnUp sets how a connection's tunnels are, as a zone does.
func (c *cloud) vpnUp(id string, up ...bool) {
	c.Helper()
	c.write(func(tx *store.Tx) error {
		v := *store.VPNConnections.Get(tx, id)
		v.State, v.Tunnels = resource.VPNAvailable, append([]resource.VPNTunnel{}, v.Tunnels...)
		for i := range up {
			v.Tunnels[i].Up = up[i]
			if v.BGP && up[i] {
				v.Tunnels[i].Learned = []string{"192.168.9.0/24"}
			}
		}
		return store.VPNConnections.Put(tx, &v)
	})
}

func static(options ...shape.VpnTunnelOptionsSpecification) *shape.VpnConnectionOptionsSpecification {
	return &shape.VpnConnectionOptionsSpecification{StaticRoutesOnly: ptr(true), TunnelOptions: options}
}

func TestVPNConnection(t *testing.T) {
	c := newCloud(t)
	vpc, _ := c.vpc("10.0.0.0/16", "10.0.0.0/24")
	table := do(c, c.CreateRouteTable, shape.CreateRouteTableRequest{VpcId: vpc}).RouteTable.RouteTableId
	cgw := do(c, c.CreateCustomerGateway, shape.CreateCustomerGatewayRequest{Type: "ipsec.1", IpAddress: "192.0.2.7", BgpAsn: ptr(65010)}).CustomerGateway
	if again := do(c, c.CreateCustomerGateway, shape.CreateCustomerGatewayRequest{Type: "ipsec.1", PublicIp: "192.0.2.7", BgpAsn: ptr(65010)}).CustomerGateway; again.CustomerGatewayId != cgw.CustomerGatewayId || cgw.BgpAsn != "65010" || cgw.State != "available" {
		t.Errorf("%+v, %+v", cgw, again)
	}
	vgw := do(c, c.CreateVpnGateway, shape.CreateVpnGatewayRequest{Type: "ipsec.1"}).VpnGateway.VpnGatewayId
	route := shape.CreateRouteRequest{RouteTableId: table, DestinationCidrBlock: "192.168.0.0/16", GatewayId: vgw}
	refused(c, c.CreateRoute, route, "InvalidParameterValue") // not attached
	refused(c, c.EnableVgwRoutePropagation, shape.EnableVgwRoutePropagationRequest{RouteTableId: table, GatewayId: vgw}, "Gateway.NotAttached")
	do(c, c.AttachVpnGateway, shape.AttachVpnGatewayRequest{VpcId: vpc, VpnGatewayId: vgw})
	other := do(c, c.CreateVpnGateway, shape.CreateVpnGatewayRequest{Type: "ipsec.1"}).VpnGateway.VpnGatewayId
	refused(c, c.AttachVpnGateway, shape.AttachVpnGatewayRequest{VpcId: vpc, VpnGatewayId: other}, "VpnGatewayAttachmentLimitExceeded")
	c.write(func(tx *store.Tx) error { // as its zone does
		g := *store.VPNGateways.Get(tx, vgw)
		g.Node = "node-us-east-1a"
		return store.VPNGateways.Put(tx, &g)
	})

	create := shape.CreateVpnConnectionRequest{Type: "ipsec.1", CustomerGatewayId: cgw.CustomerGatewayId, VpnGatewayId: vgw}
	for code, options := range map[string]*shape.VpnConnectionOptionsSpecification{
		"UnsupportedOperation IPv6":               {StaticRoutesOnly: ptr(true), TunnelInsideIpVersion: "ipv6"},
		"UnsupportedOperation private":            {StaticRoutesOnly: ptr(true), OutsideIpAddressType: "PrivateIpv4"},
		"UnsupportedOperation accelerated":        {StaticRoutesOnly: ptr(true), EnableAcceleration: ptr(true)},
		"InvalidParameterValue three":             static(make([]shape.VpnTunnelOptionsSpecification, 3)...),
		"InvalidParameterValue range":             {StaticRoutesOnly: ptr(true), LocalIpv4NetworkCidr: "10.0.0.1/8"},
		"InvalidParameterValue inside size":       static(shape.VpnTunnelOptionsSpecification{TunnelInsideCidr: "169.254.10.0/29"}),
		"InvalidParameterValue inside host":       static(shape.VpnTunnelOptionsSpecification{TunnelInsideCidr: "169.254.10.1/30"}),
		"InvalidParameterValue inside elsewhere":  static(shape.VpnTunnelOptionsSpecification{TunnelInsideCidr: "10.0.0.0/30"}),
		"InvalidParameterValue inside reserved":   static(shape.VpnTunnelOptionsSpecification{TunnelInsideCidr: "169.254.5.0/30"}),
		"InvalidParameterValue inside metadata":   static(shape.VpnTunnelOptionsSpecification{TunnelInsideCidr: "169.254.169.252/30"}),
		"InvalidParameterValue inside twice":      static(shape.VpnTunnelOptionsSpecification{TunnelInsideCidr: "169.254.10.0/30"}, shape.VpnTunnelOptionsSpecification{TunnelInsideCidr: "169.254.10.0/30"}),
		"InvalidParameterValue short key":         static(shape.VpnTunnelOptionsSpecification{PreSharedKey: "a234567"}),
		"InvalidParameterValue long key":          static(shape.VpnTunnelOptionsSpecification{PreSharedKey: strings.Repeat("a", 65)}),
		"InvalidParameterValue key begins":        static(shape.VpnTunnelOptionsSpecification{PreSharedKey: "01234567"}),
		"InvalidParameterValue key letters":       static(shape.VpnTunnelOptionsSpecification{PreSharedKey: "a2345678\"}"}),
		"InvalidParameterValue phase 1":           static(shape.VpnTunnelOptionsSpecification{Phase1LifetimeSeconds: ptr(899)}),
		"InvalidParameterCombination phases":      static(shape.VpnTunnelOptionsSpecification{Phase1LifetimeSeconds: ptr(900), Phase2LifetimeSeconds: ptr(3600)}),
		"InvalidParameterValue margin":            static(shape.VpnTunnelOptionsSpecification{Phase2LifetimeSeconds: ptr(900), RekeyMarginTimeSeconds: ptr(451)}),
		"InvalidParameterValue fuzz":              static(shape.VpnTunnelOptionsSpecification{RekeyFuzzPercentage: ptr(101)}),
		"InvalidParameterValue dpd":               static(shape.VpnTunnelOptionsSpecification{DPDTimeoutSeconds: ptr(29)}),
		"InvalidParameterValue cipher":            static(shape.VpnTunnelOptionsSpecification{Phase1EncryptionAlgorithms: []shape.Phase1EncryptionAlgorithmsRequestListValue{{Value: "3DES"}}}),
		"InvalidParameterValue group of phase 1":  static(shape.VpnTunnelOptionsSpecification{Phase1DHGroupNumbers: []shape.Phase1DHGroupNumbersRequestListValue{{Value: ptr(5)}}}),
		"InvalidParameterValue version":           static(shape.VpnTunnelOptionsSpecification{IKEVersions: []shape.IKEVersionsRequestListValue{{Value: "ikev3"}}}),
		"UnsupportedOperation inside IPv6 of one": static(shape.VpnTunnelOptionsSpecification{TunnelInsideIpv6Cidr: "fd00::/126"}),
	} {
		in := create
		in.Options = options
		word, _, _ := strings.Cut(code, " ")
		if _, err := c.CreateVpnConnection(c.alice, &in); err == nil {
			t.Errorf("%s: accepted", code)
		} else {
			c.code(code, err, word)
			if o := options; o != nil && len(o.TunnelOptions) == 1 && o.TunnelOptions[0].PreSharedKey != "" && strings.Contains(err.Error(), o.TunnelOptions[0].PreSharedKey) {
				t.Errorf("%s: the answer repeats the secret", code)
			}
		}
	}
	in := create
	in.Options = static(shape.VpnTunnelOptionsSpecification{
		TunnelInsideCidr: "169.254.10.0/30", PreSharedKey: "my_secret.1", Phase1DHGroupNumbers: []shape.Phase1DHGroupNumbersRequestListValue{{Value: ptr(20)}},
		Phase1EncryptionAlgorithms: []shape.Phase1EncryptionAlgorithmsRequestListValue{{Value: "AES256"}}, IKEVersions: []shape.IKEVersionsRequestListValue{{Value: "ikev2"}},
	})
	made := do(c, c.CreateVpnConnection, in).VpnConnection
	if made.State != "pending" || len(made.Options.TunnelOptions) != 2 || made.VgwTelemetry[0].Status != "DOWN" {
		t.Fatalf("%+v", made)
	}
	one, two := made.Options.TunnelOptions[0], made.Options.TunnelOptions[1]
	if one.TunnelInsideCidr != "169.254.10.0/30" || one.PreSharedKey != "my_secret.1" || one.Phase1DHGroupNumbers[0].Value != 20 || one.OutsideIpAddress == two.OutsideIpAddress ||
		checkPSK(two.PreSharedKey) != nil || readInside(two.TunnelInsideCidr) != nil || two.Phase1LifetimeSeconds != 0 {
		t.Errorf("%+v\n%+v", one, two)
	}
	var config configuration
	if err := xml.Unmarshal([]byte(made.CustomerGatewayConfiguration), &config); err != nil {
		t.Fatal(err)
	}
	if got := config.Tunnels[0]; config.ID != made.VpnConnectionId || got.IKE.PSK != "my_secret.1" || got.IKE.Encryption != "aes-256-cbc" || got.IKE.Secrecy != "group20" ||
		got.Gateway.Outside.IP != one.OutsideIpAddress || got.Gateway.Inside.IP != "169.254.10.1" || got.Customer.Inside.IP != "169.254.10.2" || got.Customer.Outside.IP != "192.0.2.7" {
		t.Errorf("%+v", got)
	}
	// At rest the secret is sealed.
	rec := store.VPNConnections.Get(c.Store.Snapshot(), made.VpnConnectionId)
	if strings.Contains(string(rec.Tunnels[0].PSK), "my_secret") {
		t.Error("the secret is stored as it is")
	}
	refused(c, c.CreateVpnConnection, in, "InvalidParameterCombination") // one between the two
	id := made.VpnConnectionId
	refused(c, c.ModifyVpnTunnelOptions, shape.ModifyVpnTunnelOptionsRequest{VpnConnectionId: id, VpnTunnelOutsideIpAddress: one.OutsideIpAddress, TunnelOptions: &shape.ModifyVpnTunnelOptionsSpecification{}}, "IncorrectState")
	refused(c, c.DeleteCustomerGateway, shape.DeleteCustomerGatewayRequest{CustomerGatewayId: cgw.CustomerGatewayId}, "IncorrectState")
	refused(c, c.DeleteVpnGateway, shape.DeleteVpnGatewayRequest{VpnGatewayId: vgw}, "IncorrectState")
	// Its addresses are nobody else's.
	refused(c, c.AllocateAddress, shape.AllocateAddressRequest{Address: one.OutsideIpAddress}, "InvalidAddress.NotFound")

	// Routes: of the table's own, and those that come by propagation while a tunnel is up.
	do(c, c.CreateRoute, route)
	do(c, c.EnableVgwRoutePropagation, shape.EnableVgwRoutePropagationRequest{RouteTableId: table, GatewayId: vgw})
	for _, block := range []string{"192.168.7.0/24", "192.168.0.0/16", "10.0.5.0/24", "172.16.0.0/12"} {
		do(c, c.CreateVpnConnectionRoute, shape.CreateVpnConnectionRouteRequest{VpnConnectionId: id, DestinationCidrBlock: block})
	}
	refused(c, c.CreateVpnConnectionRoute, shape.CreateVpnConnectionRouteRequest{VpnConnectionId: id, DestinationCidrBlock: "x"}, "InvalidParameterValue")
	do(c, c.DeleteVpnConnectionRoute, shape.DeleteVpnConnectionRouteRequest{VpnConnectionId: id, DestinationCidrBlock: "172.16.0.0/12"})
	refused(c, c.DeleteVpnConnectionRoute, shape.DeleteVpnConnectionRouteRequest{VpnConnectionId: id, DestinationCidrBlock: "172.16.0.0/12"}, "InvalidRoute.NotFound")
	routes := func() string {
		var out []string
		for _, r := range do(c, c.DescribeRouteTables, shape.DescribeRouteTablesRequest{RouteTableIds: []string{table}}).RouteTables[0].Routes {
			out = append(out, r.DestinationCidrBlock+" "+r.Origin+" "+r.State)
		}
		return strings.Join(out, "\n")
	}
	local := "10.0.0.0/16 CreateRouteTable active\n192.168.0.0/16 CreateRoute active"
	if got := routes(); got != local {
		t.Errorf("down:\n%s", got)
	}
	c.vpnUp(id, false, true)
	if got := routes(); got != local+"\n192.168.7.0/24 EnableVgwRoutePropagation active" {
		t.Errorf("up:\n%s", got)
	}
	if v := c.vpn(id); v.State != "available" || v.VgwTelemetry[1].Status != "UP" || v.VgwTelemetry[1].AcceptedRouteCount != 3 || v.VgwTelemetry[0].AcceptedRouteCount != 0 {
		t.Errorf("%+v", v)
	}
	for name, want := range map[string]int{"bgp-asn=65010": 1, "bgp-asn=1": 0, "vpn-gateway-id=" + vgw: 1, "route.destination-cidr-block=192.168.7.0/24": 1, "state=pending": 0, "option.static-routes-only=true": 1} {
		k, v, _ := strings.Cut(name, "=")
		if got := do(c, c.DescribeVpnConnections, shape.DescribeVpnConnectionsRequest{Filters: filters(k, v)}).VpnConnections; len(got) != want {
			t.Errorf("%s: %d", name, len(got))
		}
	}
	modified := do(c, c.ModifyVpnTunnelOptions, shape.ModifyVpnTunnelOptionsRequest{
		VpnConnectionId: id, VpnTunnelOutsideIpAddress: one.OutsideIpAddress, TunnelOptions: &shape.ModifyVpnTunnelOptionsSpecification{PreSharedKey: "another.one", ReplayWindowSize: ptr(64)},
	}).VpnConnection.Options.TunnelOptions[0]
	if modified.PreSharedKey != "another.one" || modified.ReplayWindowSize != 64 || modified.Phase1DHGroupNumbers[0].Value != 20 {
		t.Errorf("%+v", modified)
	}

	// The other account sees and touches nothing.
	for code, call := range map[string]func() error{
		"InvalidVpnConnectionID.NotFound": func() error {
			return second(c.DescribeVpnConnections(c.bob, &shape.DescribeVpnConnectionsRequest{VpnConnectionIds: []string{id}}))
		},
		"InvalidVpnConnectionID.NotFound delete": func() error {
			return second(c.DeleteVpnConnection(c.bob, &shape.DeleteVpnConnectionRequest{VpnConnectionId: id}))
		},
		"InvalidVpnConnectionID.NotFound route": func() error {
			return second(c.CreateVpnConnectionRoute(c.bob, &shape.CreateVpnConnectionRouteRequest{VpnConnectionId: id, DestinationCidrBlock: "10.9.0.0/16"}))
		},
		"InvalidVpnGatewayID.NotFound": func() error {
			return second(c.DeleteVpnGateway(c.bob, &shape.DeleteVpnGatewayRequest{VpnGatewayId: other}))
		},
		"InvalidCustomerGatewayID.NotFound": func() error {
			return second(c.DeleteCustomerGateway(c.bob, &shape.DeleteCustomerGatewayRequest{CustomerGatewayId: cgw.CustomerGatewayId}))
		},
		"InvalidCustomerGatewayID.NotFound connect": func() error {
			in := in
			return second(c.CreateVpnConnection(c.bob, &in))
		},
	} {
		word, _, _ := strings.Cut(code, " ")
		c.code(code, call(), word)
	}

	// The end.
	refused(c, c.DeleteVpc, shape.DeleteVpcRequest{VpcId: vpc}, "DependencyViolation")
	do(c, c.DeleteVpnConnection, shape.DeleteVpnConnectionRequest{VpnConnectionId: id})
	if v := c.vpn(id); v.State != "deleting" || v.CustomerGatewayConfiguration != "" {
		t.Errorf("%+v", v)
	}
	do(c, c.DetachVpnGateway, shape.DetachVpnGatewayRequest{VpcId: vpc, VpnGatewayId: vgw})
	refused(c, c.DetachVpnGateway, shape.DetachVpnGatewayRequest{VpcId: vpc, VpnGatewayId: vgw}, "InvalidVpnGatewayAttachment.NotFound")
	if v := c.vpn(id); v.State != "deleted" || v.Options != nil {
		t.Errorf("%+v", v)
	}
	if got := routes(); got != "10.0.0.0/16 CreateRouteTable active\n192.168.0.0/16 CreateRoute blackhole" {
		t.Errorf("detached:\n%s", got)
	}
	do(c, c.DeleteVpnGateway, shape.DeleteVpnGatewayRequest{VpnGatewayId: vgw})
	do(c, c.DeleteCustomerGateway, shape.DeleteCustomerGatewayRequest{CustomerGatewayId: cgw.CustomerGatewayId})
	c.pass(lifecycle.Shown)
	c.write(func(tx *store.Tx) error {
		lifecycle.Reap(tx, c.clock(), 10)
		return nil
	})
	refused(c, c.DescribeVpnConnections, shape.DescribeVpnConnectionsRequest{VpnConnectionIds: []string{id}}, "InvalidVpnConnectionID.NotFound")
	if got := do(c, c.DescribeVpnGateways, shape.DescribeVpnGatewaysRequest{}).VpnGateways; len(got) != 1 || got[0].VpnGatewayId != other {
		t.Errorf("%+v", got)
	}
}

func TestCustomerGatewayChecks(t *testing.T) {
	c := newCloud(t)
	for code, in := range map[string]shape.CreateCustomerGatewayRequest{
		"MissingParameter type":            {IpAddress: "192.0.2.1"},
		"InvalidParameterValue type":       {Type: "ipsec.2", IpAddress: "192.0.2.1"},
		"MissingParameter address":         {Type: "ipsec.1"},
		"InvalidParameterValue loopback":   {Type: "ipsec.1", IpAddress: "127.0.0.1"},
		"InvalidParameterValue link-local": {Type: "ipsec.1", IpAddress: "169.254.169.254"},
		"InvalidParameterValue IPv6":       {Type: "ipsec.1", IpAddress: "2001:db8::1"},
		"InvalidParameterValue ASN":        {Type: "ipsec.1", IpAddress: "192.0.2.1", BgpAsn: ptr(0)},
		"UnsupportedOperation certificate": {Type: "ipsec.1", CertificateArn: "arn:aws:acm:us-east-1:111111111111:certificate/x"},
	} {
		word, _, _ := strings.Cut(code, " ")
		_, err := c.CreateCustomerGateway(c.alice, &in)
		c.code(code, err, word)
	}
	refused(c, c.CreateVpnGateway, shape.CreateVpnGatewayRequest{Type: "ipsec.1", AmazonSideAsn: ptr(int64(65535))}, "InvalidParameterValue")
	refused(c, c.CreateVpnGateway, shape.CreateVpnGatewayRequest{Type: "ipsec.1", AvailabilityZone: "us-east-1z"}, "InvalidParameterValue")
	for range maxVPNGateways {
		do(c, c.CreateVpnGateway, shape.CreateVpnGatewayRequest{Type: "ipsec.1", AvailabilityZone: "us-east-1b"})
	}
	refused(c, c.CreateVpnGateway, shape.CreateVpnGatewayRequest{Type: "ipsec.1"}, "VpnGatewayLimitExceeded")
}

func TestVPNConnectionWithBGP(t *testing.T) {
	c := newCloud(t)
	vpc, _ := c.vpc("10.0.0.0/16", "10.0.0.0/24")
	main := store.VPCs.Get(c.Store.Snapshot(), vpc).MainRouteTable
	cgw := do(c, c.CreateCustomerGateway, shape.CreateCustomerGatewayRequest{Type: "ipsec.1", IpAddress: "192.0.2.7", BgpAsnExtended: ptr(int64(4200000010))}).CustomerGateway
	vgw := do(c, c.CreateVpnGateway, shape.CreateVpnGatewayRequest{Type: "ipsec.1", AmazonSideAsn: ptr(int64(64999))}).VpnGateway.VpnGatewayId
	do(c, c.AttachVpnGateway, shape.AttachVpnGatewayRequest{VpcId: vpc, VpnGatewayId: vgw})
	do(c, c.EnableVgwRoutePropagation, shape.EnableVgwRoutePropagationRequest{RouteTableId: main, GatewayId: vgw})
	made := do(c, c.CreateVpnConnection, shape.CreateVpnConnectionRequest{Type: "ipsec.1", CustomerGatewayId: cgw.CustomerGatewayId, VpnGatewayId: vgw}).VpnConnection
	var config configuration
	if err := xml.Unmarshal([]byte(made.CustomerGatewayConfiguration), &config); err != nil {
		t.Fatal(err)
	}
	if made.Options.StaticRoutesOnly || config.Attributes != "" || config.Tunnels[1].Customer.BGP.ASN != 4200000010 || config.Tunnels[1].Gateway.BGP.ASN != 64999 {
		t.Errorf("%+v", config)
	}
	id := made.VpnConnectionId
	refused(c, c.CreateVpnConnectionRoute, shape.CreateVpnConnectionRouteRequest{VpnConnectionId: id, DestinationCidrBlock: "192.168.0.0/16"}, "UnsupportedOperation")
	c.vpnUp(id, true, true)
	v := c.vpn(id)
	if len(v.Routes) != 0 || v.VgwTelemetry[0].AcceptedRouteCount != 1 || v.VgwTelemetry[0].StatusMessage != "1 BGP ROUTES" {
		t.Errorf("%+v", v.VgwTelemetry)
	}
	routes := do(c, c.DescribeRouteTables, shape.DescribeRouteTablesRequest{RouteTableIds: []string{main}}).RouteTables[0].Routes
	if len(routes) != 2 || routes[1].DestinationCidrBlock != "192.168.9.0/24" || routes[1].GatewayId != vgw {
		t.Errorf("%+v", routes)
	}
	c.vpnUp(id, false, false)
	if routes := do(c, c.DescribeRouteTables, shape.DescribeRouteTablesRequest{RouteTableIds: []string{main}}).RouteTables[0].Routes; len(routes) != 1 {
		t.Errorf("%+v", routes)
	}
}
