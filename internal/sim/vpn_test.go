package sim

import (
	"encoding/xml"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	shape "karri.dev/internal/aws/shape/ec2"
	"karri.dev/internal/network/netlab"
	"karri.dev/internal/network/netns"
	"karri.dev/internal/resource"
	"karri.dev/internal/store"
)

// customerTunnels reads what a company must know out of the configuration that the API gives.
func customerTunnels(t *testing.T, config string) (out []netlab.Tunnel) {
	t.Helper()
	var c struct {
		Tunnels []struct {
			Gateway string `xml:"vpn_gateway>tunnel_outside_address>ip_address"`
			IKE     struct {
				Hash   string `xml:"authentication_protocol"`
				Cipher string `xml:"encryption_protocol"`
				Group  string `xml:"perfect_forward_secrecy"`
				PSK    string `xml:"pre_shared_key"`
			} `xml:"ike"`
		} `xml:"ipsec_tunnel"`
	}
	if err := xml.Unmarshal([]byte(config), &c); err != nil {
		t.Fatal(err)
	}
	groups := map[string]string{"group2": "modp1024", "group14": "modp2048", "group20": "ecp384"}
	for _, tun := range c.Tunnels {
		cipher := strings.TrimSuffix(strings.Replace(tun.IKE.Cipher, "aes-", "aes", 1), "-cbc")
		out = append(out, netlab.Tunnel{Gateway: tun.Gateway, PSK: tun.IKE.PSK, Proposal: strings.Join([]string{cipher, strings.Replace(tun.IKE.Hash, "sha2-", "sha", 1), groups[tun.IKE.Group]}, "-")})
	}
	return out
}

// TestVPNByPackets: a company whose strongSwan is configured by what the API gives reaches the private subnet of its
// VPC, on both nodes, and nothing else; and a private subnet's way to the Internet can be the company's.
func TestVPNByPackets(t *testing.T) {
	netlab.NeedStrongSwan(t)
	world := netlab.New(t)
	world.Run("ip", "link", "add", "br9", "type", "bridge")
	world.Run("ip", "link", "set", "br9", "up")
	p := newPackets(t, 2, func(host *netlab.Space, n int, cfg *netns.Config) {
		host.Run("ip", "link", "add", "x0", "type", "veth", "peer", "name", fmt.Sprintf("x%d", n), "netns", world.Name)
		host.Run("ip", "addr", "add", fmt.Sprintf("192.0.2.%d/24", 100+n), "dev", "x0")
		host.Run("ip", "link", "set", "x0", "up")
		world.Run("ip", "link", "set", fmt.Sprintf("x%d", n), "master", "br9", "up")
		cfg.PublicInterface = "x0"
	})
	ec2 := p.Role.EC2
	v := p.vpc(p.alice, "10.0.0.0/16")
	private, public := p.subnet(p.alice, v, "10.0.1.0/24"), p.subnet(p.alice, v, "10.0.0.0/24")
	table := p.internet(p.alice, v)
	ask(p, p.alice, ec2.AssociateRouteTable, shape.AssociateRouteTableRequest{RouteTableId: table, SubnetId: public})
	e1, g1 := p.launch(p.alice, private)
	e2, g2 := p.launch(p.alice, private) // on the other node
	_, g3 := p.launch(p.alice, public)
	other := p.vpc(p.bob, "10.0.0.0/16")
	_, gb := p.launch(p.bob, p.subnet(p.bob, other, "10.0.1.0/24"))

	connect := func(ip string, routes ...string) string {
		cgw := ask(p, p.alice, ec2.CreateCustomerGateway, shape.CreateCustomerGatewayRequest{Type: "ipsec.1", IpAddress: ip}).CustomerGateway.CustomerGatewayId
		vgw := ask(p, p.alice, ec2.CreateVpnGateway, shape.CreateVpnGatewayRequest{Type: "ipsec.1"}).VpnGateway.VpnGatewayId
		ask(p, p.alice, ec2.AttachVpnGateway, shape.AttachVpnGatewayRequest{VpcId: v.ID, VpnGatewayId: vgw})
		ask(p, p.alice, ec2.EnableVgwRoutePropagation, shape.EnableVgwRoutePropagationRequest{RouteTableId: v.MainRouteTable, GatewayId: vgw})
		yes := true
		id := ask(p, p.alice, ec2.CreateVpnConnection, shape.CreateVpnConnectionRequest{
			Type: "ipsec.1", CustomerGatewayId: cgw, VpnGatewayId: vgw, Options: &shape.VpnConnectionOptionsSpecification{StaticRoutesOnly: &yes},
		}).VpnConnection.VpnConnectionId
		for _, r := range routes {
			ask(p, p.alice, ec2.CreateVpnConnectionRoute, shape.CreateVpnConnectionRouteRequest{VpnConnectionId: id, DestinationCidrBlock: r})
		}
		return id
	}
	id := connect("192.0.2.10", "192.168.7.0/24")
	describe := func() shape.VpnConnection {
		return ask(p, p.alice, ec2.DescribeVpnConnections, shape.DescribeVpnConnectionsRequest{VpnConnectionIds: []string{id}}).VpnConnections[0]
	}
	p.eventually("the connection is available", func() bool { return describe().State == resource.VPNAvailable })
	status := func() string { return describe().VgwTelemetry[0].Status + " " + describe().VgwTelemetry[1].Status }
	if got := status(); got != "DOWN DOWN" {
		t.Error(got)
	}

	company := netlab.NewCompany(t, world.Name, "br9", "192.0.2.10/24", "192.168.7.1")
	company.Run("ip", "route", "add", "default", "dev", "e0")
	company.Listen(7)
	tunnels := customerTunnels(t, describe().CustomerGatewayConfiguration)
	g1.CannotReach("192.168.7.1:7")
	if out, err := company.Call(netlab.Tunnel{Gateway: tunnels[0].Gateway, PSK: tunnels[1].PSK, Proposal: tunnels[0].Proposal}); err == nil {
		t.Errorf("the wrong secret is taken:\n%s", out)
	}
	// strongSwan takes the API's sample as it is.
	devices := ask(p, p.alice, ec2.GetVpnConnectionDeviceTypes, shape.GetVpnConnectionDeviceTypesRequest{}).VpnConnectionDeviceTypes
	at := slices.IndexFunc(devices, func(d shape.VpnConnectionDeviceType) bool { return d.Vendor == "strongSwan" })
	sample := ask(p, p.alice, ec2.GetVpnConnectionDeviceSampleConfiguration, shape.GetVpnConnectionDeviceSampleConfigurationRequest{
		VpnConnectionId: id, VpnConnectionDeviceTypeId: devices[at].VpnConnectionDeviceTypeId,
	}).VpnConnectionDeviceSampleConfiguration
	said := ""
	p.eventually("the company calls by the sample", func() bool {
		var err error
		said, err = company.CallBy(sample, "tunnel2")
		return err == nil
	})
	if !strings.Contains(said, "CHILD_SA tunnel2") {
		t.Errorf("%s\n%s", sample, said)
	}
	company.End("cloud2")
	p.eventually("the company calls", func() bool {
		_, err := company.Call(tunnels[0])
		return err == nil
	})
	company.Route("10.0.0.0/16")
	p.eventually("the telemetry says so", func() bool { return status() == "UP DOWN" })
	for _, e := range []*resource.Interface{e1, e2} {
		if seen := company.Reaches(e.PrivateIP + ":7"); seen != "192.168.7.1" {
			t.Errorf("came as %s", seen)
		}
	}
	for _, g := range []*netlab.Guest{g1, g2} {
		g.Reaches("192.168.7.1:7")
	}
	g3.CannotReach("192.168.7.1:7") // its table has no such route
	gb.CannotReach("192.168.7.1:7") // another tenant with the same range
	company.Run("ip", "addr", "add", "203.0.113.80/32", "dev", "lo")
	g1.CannotReach("203.0.113.80:7") // not a route of the connection's

	// All of the subnet's traffic for the Internet by the company.
	vgw := store.VPNGatewaysByVPC.One(p.Store.Snapshot(), v.ID)
	ask(p, p.alice, ec2.CreateVpnConnectionRoute, shape.CreateVpnConnectionRouteRequest{VpnConnectionId: id, DestinationCidrBlock: "0.0.0.0/0"})
	for _, g := range []*netlab.Guest{g1, g2} {
		g.Reaches("203.0.113.80:7")
	}
	// The other tunnel takes over.
	company.HangUp()
	p.eventually("the tunnel is down", func() bool { return status() == "DOWN DOWN" })
	g1.CannotReach("192.168.7.1:7")
	if out, err := company.Call(tunnels[1]); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	p.eventually("the other one is up", func() bool { return status() == "DOWN UP" })
	g2.Reaches("203.0.113.80:7")

	// The end.
	ask(p, p.alice, ec2.DeleteVpnConnection, shape.DeleteVpnConnectionRequest{VpnConnectionId: id})
	p.eventually("the connection is gone", func() bool { return describe().State == resource.VPNDeleted })
	g1.CannotReach("192.168.7.1:7")

	// By BGP: what the company's router tells is in the route table, and on the other node, too.
	id = ask(p, p.alice, ec2.CreateVpnConnection, shape.CreateVpnConnectionRequest{Type: "ipsec.1", CustomerGatewayId: describe().CustomerGatewayId, VpnGatewayId: vgw.ID}).VpnConnection.VpnConnectionId
	p.eventually("the connection with BGP is available", func() bool { return describe().State == resource.VPNAvailable })
	tunnels = customerTunnels(t, describe().CustomerGatewayConfiguration)
	call := func() {
		p.eventually("the company calls", func() bool {
			_, err := company.Call(tunnels[0])
			return err == nil
		})
	}
	call()
	inside := netip.MustParsePrefix(describe().Options.TunnelOptions[0].TunnelInsideCidr).Addr().Next()
	company.BGP(inside.Next().String(), inside.String(), 65000, 64512, "192.168.7.0/24")
	p.eventually("the telemetry says so", func() bool { return status() == "UP DOWN" && describe().VgwTelemetry[0].AcceptedRouteCount == 1 })
	for _, g := range []*netlab.Guest{g1, g2} {
		g.Reaches("192.168.7.1:7")
	}
	routes := ask(p, p.alice, ec2.DescribeRouteTables, shape.DescribeRouteTablesRequest{RouteTableIds: []string{v.MainRouteTable}}).RouteTables[0].Routes
	if r := routes[len(routes)-1]; r.DestinationCidrBlock != "192.168.7.0/24" || r.GatewayId != vgw.ID || r.Origin != "EnableVgwRoutePropagation" || r.State != "active" {
		t.Errorf("%+v", routes)
	}

	// Another node takes the gateway over.
	was := store.VPNGateways.Get(p.Store.Snapshot(), vgw.ID).Node
	p.down(was)
	p.eventually("the gateway moves", func() bool { return store.VPNGateways.Get(p.Store.Snapshot(), vgw.ID).Node != was })
	p.up(was)
	call()
	p.eventually("the tunnel is up again", func() bool { return status() == "UP DOWN" })
	for _, g := range []*netlab.Guest{g1, g2} {
		g.Reaches("192.168.7.1:7")
	}
	ask(p, p.alice, ec2.DeleteVpnConnection, shape.DeleteVpnConnectionRequest{VpnConnectionId: id})
	p.eventually("the connection is gone", func() bool { return describe().State == resource.VPNDeleted })
	ask(p, p.alice, ec2.DetachVpnGateway, shape.DetachVpnGatewayRequest{VpcId: v.ID, VpnGatewayId: vgw.ID})
	ask(p, p.alice, ec2.DeleteVpnGateway, shape.DeleteVpnGatewayRequest{VpnGatewayId: vgw.ID})
}
