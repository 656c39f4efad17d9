package e2e

import (
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"karri.dev/internal/network/netlab"
)

// Eucalyptus's network modes, with real guests: one cloud whose zone goes through all of them.
func TestOldModes(t *testing.T) {
	c := newCloud(t)
	image, key := c.tinyImage(), c.keyPair("modes")
	office := netlab.NewOffice(t, c.ns.name, "office0", netip.MustParsePrefix("192.168.77.0/24"))
	mode := func(args ...string) {
		t.Helper()
		c.karri(append([]string{"zone", "network", "us-east-1a", "--data-dir", c.dir, "--mode"}, args...)...)
	}
	run := func(more ...string) instance { return c.launch(image, "modes", "1", more...)[0] }
	from := namespace{office.Name} // a machine of the operator's

	t.Run("SYSTEM", func(t *testing.T) {
		office.ServeDHCP()
		mode("SYSTEM", "--bridge", "office0")
		a, b := run(), run()
		for _, i := range []*instance{&a, &b} {
			eventually(t, "the address is learned", time.Minute, func() bool {
				*i = c.describe(i.ID)[0]
				return strings.HasPrefix(i.Private, "192.168.77.1")
			})
		}
		flatGuests(t, c, from, key, office, a, b)
		if vpc := c.text("Reservations[].Instances[].[VpcId,SubnetId,PublicIpAddress,NetworkInterfaces[0].NetworkInterfaceId]", "describe-instances", "--instance-ids", a.ID); strings.Trim(vpc, "None\t") != "" {
			t.Errorf("an instance of a flat network shows %q", vpc)
		}
		notInFlat(c, image, a.ID)
		c.terminate(a.ID, b.ID)
	})
	t.Run("STATIC", func(t *testing.T) {
		cards := filepath.Join(t.TempDir(), "cards")
		if err := os.WriteFile(cards, []byte("0a:00:00:00:00:01=192.168.77.20 # two cards\n0a:00:00:00:00:02=192.168.77.21\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		mode("STATIC", "--bridge", "office0", "--subnet", "192.168.77.0/24", "--router", office.Router.String(), "--mac-list", cards)
		a, b := run(), run()
		if ips := a.Private + " " + b.Private; ips != "192.168.77.20 192.168.77.21" && ips != "192.168.77.21 192.168.77.20" {
			t.Errorf("addresses %s", ips)
		}
		flatGuests(t, c, from, key, office, a, b)
		c.refused("InsufficientAddressCapacity", "ec2", "run-instances", "--image-id", image)
		c.terminate(a.ID, b.ID)
	})
}

// flatGuests shows that two instances on the operator's network are there, and that metadata gave them their key.
func flatGuests(t *testing.T, c *cloud, from namespace, key string, office *netlab.Office, a, b instance) {
	t.Helper()
	guest := *c
	guest.ns = from
	login := func(i instance, command string) (out string) {
		t.Helper()
		end := time.Now().Add(2 * time.Minute)
		for {
			var err error
			if out, err = guest.ssh(key, i.Private, command); err == nil {
				return out
			}
			if time.Now().After(end) {
				t.Fatalf("no SSH at %s (%s): %v %s\nconsole:\n%s", i.ID, i.Private, err, out, c.text("Output", "get-console-output", "--latest", "--instance-id", i.ID))
			}
			time.Sleep(250 * time.Millisecond)
		}
	}
	for _, i := range []instance{a, b} {
		if id := login(i, ". /etc/metadata; metadata_open; metadata_get meta-data/instance-id"); id != i.ID {
			t.Errorf("%s is told that it is %q", i.ID, id)
		}
	}
	login(a, "ping -c1 -W5 "+b.Private+" && ping -c1 -W5 "+office.Router.String())
	if out, err := guest.ssh(key, a.Private, "ip addr add "+b.Private+"/24 dev eth0; ping -c1 -W2 -I "+b.Private+" "+office.Router.String()); err == nil {
		t.Errorf("a guest takes its neighbour's address: %s", out)
	}
	login(b, "true") // which has not lost it
}

// notInFlat shows that what a flat network has not is refused.
func notInFlat(c *cloud, image, id string) {
	c.t.Helper()
	c.refused("UnsupportedOperation", "ec2", "run-instances", "--image-id", image, "--security-groups", "default")
	c.refused("InvalidParameterCombination", "ec2", "run-instances", "--image-id", image, "--private-ip-address", "192.168.77.9")
	c.refused("UnsupportedOperation", "ec2", "create-security-group", "--group-name", "web", "--description", "web")
	c.refused("UnsupportedOperation", "ec2", "allocate-address")
	c.refused("UnsupportedOperation", "ec2", "allocate-address", "--domain", "vpc")
	c.refused("UnsupportedOperation", "ec2", "create-vpc", "--cidr-block", "10.0.0.0/16")
	c.refused("OperationNotPermitted", "ec2", "create-default-vpc")
	c.refused("InvalidParameterCombination", "ec2", "modify-instance-attribute", "--instance-id", id, "--no-source-dest-check")
	if out := c.text("NetworkInterfaces[]", "describe-network-interfaces") + c.text("Vpcs[]", "describe-vpcs") + c.text("Subnets[]", "describe-subnets"); out != "" {
		c.t.Errorf("a flat network shows %q", out)
	}
	if out := c.text("AccountAttributes[].AttributeValues[].AttributeValue", "describe-account-attributes", "--attribute-names", "supported-platforms"); out != "EC2" {
		c.t.Errorf("platforms %q", out)
	}
	out, err := c.ns.command(c.t.Context(), shared.karri, "zone", "network", "us-east-1a", "--data-dir", c.dir, "--mode", "VPC").CombinedOutput()
	if err == nil || !strings.Contains(string(out), "us-east-1a has the instance i-") {
		c.t.Errorf("the network changes under an instance: %s", out)
	}
}
