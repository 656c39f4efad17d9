package e2e

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"karri.dev/internal/network/netlab"
)

// A company reaches a guest in a private subnet by a VPN connection, and nothing else does; the guest's way to the
// Internet is the company's.
func TestVPN(t *testing.T) {
	netlab.NeedStrongSwan(t)
	c := prepareCloud(t, "--public-interface", "br9")
	for _, command := range []string{"link add br9 type bridge", "addr add 192.0.2.1/24 dev br9", "link set br9 up"} {
		must(t, "ip", append([]string{"-n", c.ns.name}, strings.Fields(command)...)...)
	}
	c.up()
	image, key := c.tinyImage(), c.keyPair("vpn")
	vpc := c.text("Vpc.VpcId", "create-vpc", "--cidr-block", "10.0.0.0/16")
	subnet := c.text("Subnet.SubnetId", "create-subnet", "--vpc-id", vpc, "--cidr-block", "10.0.1.0/24")
	table := c.text("RouteTables[0].RouteTableId", "describe-route-tables", "--filters", "Name=vpc-id,Values="+vpc)
	group := c.text("GroupId", "create-security-group", "--group-name", "office", "--description", "SSH from the office", "--vpc-id", vpc)
	c.aws("ec2", "authorize-security-group-ingress", "--group-id", group, "--protocol", "tcp", "--port", "22", "--cidr", "192.168.7.0/24")
	cgw := c.text("CustomerGateway.CustomerGatewayId", "create-customer-gateway", "--type", "ipsec.1", "--ip-address", "192.0.2.10", "--bgp-asn", "65000")
	vgw := c.text("VpnGateway.VpnGatewayId", "create-vpn-gateway", "--type", "ipsec.1")
	c.aws("ec2", "attach-vpn-gateway", "--vpn-gateway-id", vgw, "--vpc-id", vpc)
	vpn := c.text("VpnConnection.VpnConnectionId", "create-vpn-connection", "--type", "ipsec.1", "--customer-gateway-id", cgw, "--vpn-gateway-id", vgw, "--options", "StaticRoutesOnly=true")
	for _, block := range []string{"192.168.7.0/24", "0.0.0.0/0"} {
		c.aws("ec2", "create-vpn-connection-route", "--vpn-connection-id", vpn, "--destination-cidr-block", block)
	}
	c.aws("ec2", "enable-vgw-route-propagation", "--route-table-id", table, "--gateway-id", vgw)
	c.wait("vpn-connection-available", "--vpn-connection-ids", vpn)
	guest := c.launch(image, "vpn", "1", "--subnet-id", subnet, "--security-group-ids", group)[0]

	var tunnels []struct{ OutsideIpAddress, PreSharedKey string }
	out := c.aws("ec2", "describe-vpn-connections", "--vpn-connection-ids", vpn, "--query", "VpnConnections[0].Options.TunnelOptions", "--output", "json")
	if err := json.Unmarshal([]byte(out), &tunnels); err != nil {
		t.Fatal(err)
	}
	company := netlab.NewCompany(t, c.ns.name, "br9", "192.0.2.10/24", "192.168.7.1")
	company.Run("ip", "route", "add", "default", "dev", "e0")
	company.Run("ip", "addr", "add", "203.0.113.80/32", "dev", "lo") // the Internet, as the company sees it
	company.Listen(7)
	if out, err := company.Call(netlab.Tunnel{Gateway: tunnels[0].OutsideIpAddress, PSK: tunnels[0].PreSharedKey}); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	company.Route("10.0.0.0/16")
	ssh := func(command string) (string, error) {
		return company.Try("ssh", "-i", key, "-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR", "-o", "ConnectTimeout=5", "root@"+guest.Private, command)
	}
	eventually(t, "SSH by the tunnel", 3*time.Minute, func() bool {
		out, err := ssh("echo $((6*7))")
		return err == nil && strings.TrimSpace(out) == "42"
	})
	if out, err := ssh("echo hello | nc -w 5 203.0.113.80 7"); err != nil || !strings.Contains(out, guest.Private) {
		t.Errorf("the Internet by the company: %v %q", err, out)
	}
	if out, err := c.ssh(key, guest.Private, "true"); err == nil {
		t.Errorf("SSH from outside of the tunnel: %s", out)
	}
	company.HangUp()
	eventually(t, "the telemetry says so", time.Minute, func() bool {
		return c.text("VpnConnections[0].VgwTelemetry[?Status=='UP'] | length(@)", "describe-vpn-connections", "--vpn-connection-ids", vpn) == "0"
	})
	if out, err := ssh("true"); err == nil {
		t.Errorf("SSH without a tunnel: %s", out)
	}
}
