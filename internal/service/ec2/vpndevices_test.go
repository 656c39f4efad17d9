package ec2

import (
	"strings"
	"testing"

	shape "karri.dev/internal/aws/shape/ec2"
)

func TestVPNSamples(t *testing.T) {
	c := newCloud(t)
	vpc, _ := c.vpc("10.0.0.0/16", "10.0.0.0/24")
	cgw := do(c, c.CreateCustomerGateway, shape.CreateCustomerGatewayRequest{Type: "ipsec.1", IpAddress: "192.0.2.7", BgpAsn: ptr(65010)}).CustomerGateway.CustomerGatewayId
	vgw := do(c, c.CreateVpnGateway, shape.CreateVpnGatewayRequest{Type: "ipsec.1"}).VpnGateway.VpnGatewayId
	do(c, c.AttachVpnGateway, shape.AttachVpnGatewayRequest{VpcId: vpc, VpnGatewayId: vgw})
	id := do(c, c.CreateVpnConnection, shape.CreateVpnConnectionRequest{Type: "ipsec.1", CustomerGatewayId: cgw, VpnGatewayId: vgw, Options: static(
		shape.VpnTunnelOptionsSpecification{
			PreSharedKey: "first.secret", Phase1EncryptionAlgorithms: []shape.Phase1EncryptionAlgorithmsRequestListValue{{Value: "AES256-GCM-16"}},
			Phase1IntegrityAlgorithms: []shape.Phase1IntegrityAlgorithmsRequestListValue{{Value: "SHA2-384"}}, Phase1DHGroupNumbers: []shape.Phase1DHGroupNumbersRequestListValue{{Value: ptr(20)}},
			Phase2EncryptionAlgorithms: []shape.Phase2EncryptionAlgorithmsRequestListValue{{Value: "AES256-GCM-16"}}, IKEVersions: []shape.IKEVersionsRequestListValue{{Value: "ikev2"}},
		}, shape.VpnTunnelOptionsSpecification{
			Phase2EncryptionAlgorithms: []shape.Phase2EncryptionAlgorithmsRequestListValue{{Value: "AES256"}}, Phase2IntegrityAlgorithms: []shape.Phase2IntegrityAlgorithmsRequestListValue{{Value: "SHA2-256"}},
		},
	)}).VpnConnection.VpnConnectionId
	page := do(c, c.GetVpnConnectionDeviceTypes, shape.GetVpnConnectionDeviceTypesRequest{MaxResults: ptr(1)})
	rest := do(c, c.GetVpnConnectionDeviceTypes, shape.GetVpnConnectionDeviceTypesRequest{NextToken: page.NextToken})
	if len(page.VpnConnectionDeviceTypes) != 1 || len(rest.VpnConnectionDeviceTypes) != len(vpnDevices)-1 || rest.NextToken != "" {
		t.Errorf("%+v, %+v", page, rest)
	}
	in := shape.GetVpnConnectionDeviceSampleConfigurationRequest{VpnConnectionId: id}
	refused(c, c.GetVpnConnectionDeviceSampleConfiguration, in, "MissingParameter")
	in.VpnConnectionDeviceTypeId = "ffffffff"
	refused(c, c.GetVpnConnectionDeviceSampleConfiguration, in, "InvalidVpnConnectionDeviceTypeId.NotFound")
	tunnel := c.vpn(id).VgwTelemetry[0].OutsideIpAddress
	for _, d := range vpnDevices {
		in.VpnConnectionDeviceTypeId = d.VpnConnectionDeviceTypeId
		text := do(c, c.GetVpnConnectionDeviceSampleConfiguration, in).VpnConnectionDeviceSampleConfiguration
		for _, want := range []string{"first.secret", tunnel, "192.0.2.7"} {
			if !strings.Contains(text, want) {
				t.Errorf("%s: no %s in\n%s", d.Vendor, want, text)
			}
		}
		if d.Vendor == "strongSwan" {
			for _, want := range []string{"= aes256gcm16-prfsha384-ecp384\n", "esp_proposals = aes256gcm16-modp1024\n", "esp_proposals = aes256-sha256-modp1024\n", "proposals = aes128-sha1-modp1024\n", "local_ts = 0.0.0.0/0\n"} {
				if !strings.Contains(text, want) {
					t.Errorf("no %s in\n%s", want, text)
				}
			}
		}
		c.code("another's secrets", second(c.GetVpnConnectionDeviceSampleConfiguration(c.bob, &in)), "InvalidVpnConnectionID.NotFound")
	}
	in.InternetKeyExchangeVersion = "ikev1"
	refused(c, c.GetVpnConnectionDeviceSampleConfiguration, in, "InvalidParameterCombination")

	change := shape.ModifyVpnConnectionOptionsRequest{VpnConnectionId: id, LocalIpv4NetworkCidr: "192.168.7.0/24"}
	refused(c, c.ModifyVpnConnectionOptions, change, "IncorrectState") // pending
	c.vpnUp(id)
	refused(c, c.ModifyVpnConnectionOptions, shape.ModifyVpnConnectionOptionsRequest{VpnConnectionId: id}, "InvalidParameterCombination")
	refused(c, c.ModifyVpnConnectionOptions, shape.ModifyVpnConnectionOptionsRequest{VpnConnectionId: id, RemoteIpv4NetworkCidr: "10.0.0.1/16"}, "InvalidParameterValue")
	if o := do(c, c.ModifyVpnConnectionOptions, change).VpnConnection.Options; o.LocalIpv4NetworkCidr != "192.168.7.0/24" || o.RemoteIpv4NetworkCidr != "0.0.0.0/0" {
		t.Errorf("%+v", o)
	}
	change.LocalIpv4NetworkCidr = "0.0.0.0/0"
	if o := do(c, c.ModifyVpnConnectionOptions, change).VpnConnection.Options; o.LocalIpv4NetworkCidr != "0.0.0.0/0" {
		t.Errorf("%+v", o)
	}
	c.code("another's", second(c.ModifyVpnConnectionOptions(c.bob, &change)), "InvalidVpnConnectionID.NotFound")
}
