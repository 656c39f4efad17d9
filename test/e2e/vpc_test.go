package e2e

import (
	"context"
	"strings"
	"testing"
	"time"
)

// The network of AWS's own tutorials, with its commands: a public subnet with an internet gateway, a private one behind a
// NAT gateway, a bastion. Guests show that it is so.
func TestTwoTiers(t *testing.T) {
	c := newCloud(t)
	image, key := c.tinyImage(), c.keyPair("tiers")

	vpc := c.text("Vpc.VpcId", "create-vpc", "--cidr-block", "10.0.0.0/16", "--tag-specifications", "ResourceType=vpc,Tags=[{Key=Name,Value=MyVPC}]")
	public := c.text("Subnet.SubnetId", "create-subnet", "--vpc-id", vpc, "--cidr-block", "10.0.1.0/24", "--availability-zone", "us-east-1a")
	private := c.text("Subnet.SubnetId", "create-subnet", "--vpc-id", vpc, "--cidr-block", "10.0.0.0/24", "--availability-zone", "us-east-1a")
	igw := c.text("InternetGateway.InternetGatewayId", "create-internet-gateway")
	c.aws("ec2", "attach-internet-gateway", "--vpc-id", vpc, "--internet-gateway-id", igw)
	publicTable := c.text("RouteTable.RouteTableId", "create-route-table", "--vpc-id", vpc)
	c.aws("ec2", "create-route", "--route-table-id", publicTable, "--destination-cidr-block", "0.0.0.0/0", "--gateway-id", igw)
	c.aws("ec2", "associate-route-table", "--subnet-id", public, "--route-table-id", publicTable)
	c.aws("ec2", "modify-subnet-attribute", "--subnet-id", public, "--map-public-ip-on-launch")
	allocation := c.text("AllocationId", "allocate-address", "--domain", "vpc")
	eip := c.text("Addresses[0].PublicIp", "describe-addresses", "--allocation-ids", allocation)
	nat := c.text("NatGateway.NatGatewayId", "create-nat-gateway", "--subnet-id", public, "--allocation-id", allocation)
	c.wait("nat-gateway-available", "--nat-gateway-ids", nat)
	privateTable := c.text("RouteTable.RouteTableId", "create-route-table", "--vpc-id", vpc)
	c.aws("ec2", "create-route", "--route-table-id", privateTable, "--destination-cidr-block", "0.0.0.0/0", "--nat-gateway-id", nat)
	c.aws("ec2", "associate-route-table", "--subnet-id", private, "--route-table-id", privateTable)
	door := c.text("GroupId", "create-security-group", "--group-name", "bastion", "--description", "SSH from everywhere", "--vpc-id", vpc)
	c.aws("ec2", "authorize-security-group-ingress", "--group-id", door, "--protocol", "tcp", "--port", "22", "--cidr", "0.0.0.0/0")
	inner := c.text("GroupId", "create-security-group", "--group-name", "app", "--description", "SSH from the bastion", "--vpc-id", vpc)
	c.aws("ec2", "authorize-security-group-ingress", "--group-id", inner, "--protocol", "tcp", "--port", "22", "--source-group", door)

	bastion := c.launch(image, "tiers", "1", "--subnet-id", public, "--security-group-ids", door)[0]
	app := c.launch(image, "tiers", "1", "--subnet-id", private, "--security-group-ids", inner)[0]
	c.openPort("22")
	outside := c.launch(image, "tiers", "1")[0] // somebody on the internet, in the default VPC
	if bastion.Public == "" || app.Public != "" {
		t.Fatalf("bastion %+v, app %+v", bastion, app)
	}
	c.login(key, bastion, "true")
	c.login(key, outside, "true")

	through := func(command string) (string, error) {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		options := "-i " + key + " -o BatchMode=yes -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR -o ConnectTimeout=5"
		out, err := c.ns.command(ctx, "sh", "-c", "ssh "+options+" -o ProxyCommand='ssh "+options+" -W %h:%p root@"+bastion.Public+"' root@"+app.Private+" \"$0\"", command).CombinedOutput()
		return strings.TrimSpace(string(out)), err
	}
	eventually(t, "SSH through the bastion", 3*time.Minute, func() bool {
		out, err := through("echo $((6*7))")
		return err == nil && out == "42"
	})
	// Out it gets, as the NAT gateway.
	if out, err := through("(sleep 30 | nc " + outside.Public + " 22) >/dev/null 2>&1 & sleep 3; netstat -tn | grep " + outside.Public); err != nil || !strings.Contains(out, "ESTABLISHED") {
		t.Errorf("the private instance's connection: %v %s", err, out)
	}
	if seen := c.login(key, outside, "netstat -tn"); !strings.Contains(seen, eip+":") || strings.Contains(seen, app.Private) {
		t.Errorf("from outside, the private instance is seen as %q, want %s", seen, eip)
	}
	// In comes nobody: neither by the NAT gateway's address nor, around the bastion, by the private one.
	for _, address := range []string{eip, app.Private} {
		if out, err := c.ssh(key, address, "true"); err == nil {
			t.Errorf("SSH to %s from outside: %s", address, out)
		}
	}
	if out, err := c.ssh(key, outside.Public, "nc -w 3 "+eip+" 22 </dev/null"); err == nil && strings.Contains(out, "SSH") {
		t.Errorf("the NAT gateway takes calls: %q", out)
	}
	// Without its gateway, the private subnet is alone.
	c.aws("ec2", "delete-nat-gateway", "--nat-gateway-id", nat)
	c.wait("nat-gateway-deleted", "--nat-gateway-ids", nat)
	if state := c.text("RouteTables[0].Routes[?NatGatewayId].State", "describe-route-tables", "--route-table-ids", privateTable); state != "blackhole" {
		t.Errorf("the route to the deleted gateway is %q", state)
	}
	if out, err := through("nc -w 3 " + outside.Public + " 22 </dev/null"); err == nil || strings.Contains(out, "SSH") {
		t.Errorf("without a NAT gateway: %q", out)
	}
	c.refused("DependencyViolation", "ec2", "delete-vpc", "--vpc-id", vpc)

	c.terminate(bastion.ID, app.ID, outside.ID)
	c.aws("ec2", "delete-security-group", "--group-id", inner)
	c.aws("ec2", "delete-security-group", "--group-id", door)
	c.aws("ec2", "delete-subnet", "--subnet-id", public)
	c.aws("ec2", "delete-subnet", "--subnet-id", private)
	c.aws("ec2", "delete-route-table", "--route-table-id", publicTable)
	c.aws("ec2", "delete-route-table", "--route-table-id", privateTable)
	c.aws("ec2", "release-address", "--allocation-id", allocation)
	c.aws("ec2", "detach-internet-gateway", "--internet-gateway-id", igw, "--vpc-id", vpc)
	c.aws("ec2", "delete-internet-gateway", "--internet-gateway-id", igw)
	c.aws("ec2", "delete-vpc", "--vpc-id", vpc)
}

// A guest is reached by its IPv6 address through an internet gateway, and not through an egress-only one.
func TestIPv6(t *testing.T) {
	c := newCloud(t)
	image, key := c.tinyImage(), c.keyPair("six")
	vpc := c.text("Vpc.VpcId", "create-vpc", "--cidr-block", "10.6.0.0/16", "--amazon-provided-ipv6-cidr-block")
	block := c.text("Vpcs[0].Ipv6CidrBlockAssociationSet[0].Ipv6CidrBlock", "describe-vpcs", "--vpc-ids", vpc)
	subnet := c.text("Subnet.SubnetId", "create-subnet", "--vpc-id", vpc, "--cidr-block", "10.6.0.0/24", "--ipv6-cidr-block", strings.TrimSuffix(block, "/56")+"/64")
	c.aws("ec2", "modify-subnet-attribute", "--subnet-id", subnet, "--assign-ipv6-address-on-creation")
	igw := c.text("InternetGateway.InternetGatewayId", "create-internet-gateway")
	c.aws("ec2", "attach-internet-gateway", "--vpc-id", vpc, "--internet-gateway-id", igw)
	table := c.text("RouteTables[0].RouteTableId", "describe-route-tables", "--filters", "Name=vpc-id,Values="+vpc)
	c.aws("ec2", "create-route", "--route-table-id", table, "--destination-ipv6-cidr-block", "::/0", "--gateway-id", igw)
	door := c.text("GroupId", "create-security-group", "--group-name", "door", "--description", "SSH by IPv6", "--vpc-id", vpc)
	c.aws("ec2", "authorize-security-group-ingress", "--group-id", door, "--ip-permissions", "IpProtocol=tcp,FromPort=22,ToPort=22,Ipv6Ranges=[{CidrIpv6=::/0}]")

	i := c.launch(image, "six", "1", "--subnet-id", subnet, "--security-group-ids", door)[0]
	address := c.text("Reservations[0].Instances[0].Ipv6Address", "describe-instances", "--instance-ids", i.ID)
	var out string
	eventually(t, "SSH by IPv6", 3*time.Minute, func() (ok bool) {
		var err error
		out, err = c.ssh(key, address, "ip -6 addr show scope global; ip -6 route show default")
		return err == nil
	})
	if !strings.Contains(out, address+"/128") || !strings.Contains(out, "via fe80::1") {
		t.Errorf("in the guest: %s", out)
	}

	eigw := c.text("EgressOnlyInternetGateway.EgressOnlyInternetGatewayId", "create-egress-only-internet-gateway", "--vpc-id", vpc)
	c.aws("ec2", "replace-route", "--route-table-id", table, "--destination-ipv6-cidr-block", "::/0", "--egress-only-internet-gateway-id", eigw)
	eventually(t, "nobody comes in by the egress-only gateway", time.Minute, func() bool {
		_, err := c.ssh(key, address, "true")
		return err != nil
	})
	c.refused("DependencyViolation", "ec2", "delete-vpc", "--vpc-id", vpc)
	c.terminate(i.ID)
	c.aws("ec2", "delete-egress-only-internet-gateway", "--egress-only-internet-gateway-id", eigw)
	c.aws("ec2", "detach-internet-gateway", "--internet-gateway-id", igw, "--vpc-id", vpc)
	c.aws("ec2", "delete-security-group", "--group-id", door)
	c.aws("ec2", "delete-subnet", "--subnet-id", subnet)
	c.aws("ec2", "delete-vpc", "--vpc-id", vpc)
}

// A running guest gets a second network card, which DHCP serves, and lets go of it.
func TestSecondInterface(t *testing.T) {
	c := newCloud(t)
	image, key := c.tinyImage(), c.keyPair("second")
	c.openPort("22")
	i := c.launch(image, "second", "1")[0]
	c.login(key, i, "true")
	subnet := c.text("Reservations[0].Instances[0].SubnetId", "describe-instances", "--instance-ids", i.ID)
	eni := c.text("NetworkInterface.NetworkInterfaceId", "create-network-interface", "--subnet-id", subnet)
	ip := c.text("NetworkInterfaces[0].PrivateIpAddress", "describe-network-interfaces", "--network-interface-ids", eni)
	mac := c.text("NetworkInterfaces[0].MacAddress", "describe-network-interfaces", "--network-interface-ids", eni)
	attachment := c.text("AttachmentId", "attach-network-interface", "--network-interface-id", eni, "--instance-id", i.ID, "--device-index", "1")
	status := func() string {
		return c.text("NetworkInterfaces[0].Attachment.Status", "describe-network-interfaces", "--network-interface-ids", eni)
	}
	eventually(t, "the interface is attached", time.Minute, func() bool { return status() == "attached" })
	card := strings.TrimSpace(c.login(key, i, "grep -l "+mac+" /sys/class/net/*/address | cut -d/ -f5"))
	if card == "" {
		t.Fatalf("no card with %s in the guest: %s", mac, c.login(key, i, "ip link"))
	}
	if out := c.login(key, i, "ip link set "+card+" up; udhcpc -i "+card+" -n -q -f -s /bin/true 2>&1; true"); !strings.Contains(out, ip) {
		t.Errorf("DHCP on %s: %q, want %s", card, out, ip)
	}
	c.aws("ec2", "modify-network-interface-attribute", "--network-interface-id", eni, "--attachment", "AttachmentId="+attachment+",DeleteOnTermination=true")
	c.aws("ec2", "detach-network-interface", "--attachment-id", attachment)
	c.wait("network-interface-available", "--network-interface-ids", eni)
	if out := c.login(key, i, "ls /sys/class/net"); strings.Contains(out, card) {
		t.Errorf("the guest still has %s: %q", card, out)
	}
	// And once more; it goes with the instance.
	attachment = c.text("AttachmentId", "attach-network-interface", "--network-interface-id", eni, "--instance-id", i.ID, "--device-index", "1")
	c.aws("ec2", "modify-network-interface-attribute", "--network-interface-id", eni, "--attachment", "AttachmentId="+attachment+",DeleteOnTermination=true")
	eventually(t, "the interface is attached again", time.Minute, func() bool { return status() == "attached" })
	c.terminate(i.ID)
	c.refused("InvalidNetworkInterfaceID.NotFound", "ec2", "describe-network-interfaces", "--network-interface-ids", eni)
}
