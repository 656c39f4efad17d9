package netns

import (
	"io"
	"net/netip"
	"testing"

	"karri.dev/internal/network"
	"karri.dev/internal/network/rules"
)

// asks gets a page of the API at an address; "" = it cannot.
func (g *guest) asks(at string) string {
	g.t.Helper()
	c := g.client()
	c.Timeout = patience * 2
	a, err := c.Get("http://" + at + "/x")
	if err != nil {
		return ""
	}
	defer a.Body.Close()
	b, _ := io.ReadAll(a.Body)
	return string(b)
}

func TestEndpoints(t *testing.T) {
	t.Parallel()
	d := newDriver(t, newLab(t), Config{}, nil)
	v, w := plainVPC("vpc-e", 1), plainVPC("vpc-f", 2)
	s3 := netip.PrefixFrom(rules.S3Addr, 32)
	v.RouteTables[1].Routes = []network.Route{{Destination: s3, Target: network.ToGatewayService, ID: "vpce-s3"}}
	toS3 := network.Rule{Egress: true, Protocol: 6, Ports: network.PortRange{From: 0, To: 65535}, CIDR: s3}
	v.Groups = append(v.Groups, network.Group{ID: "sg-s3", Rules: []network.Rule{toS3}}, network.Group{ID: "sg-mute"},
		network.Group{ID: "sg-ep", Rules: []network.Rule{tcp(80, "10.0.0.0/24")}})
	v.Endpoints = []network.Endpoint{{ID: "vpce-s3"}, {ID: "vpce-ec2", Addresses: addrs("10.0.0.200"), Groups: []string{"sg-ep"}}}
	public, private := nic(1, "subnet-a", "10.0.0.10"), nic(2, "subnet-b", "10.0.1.10", "sg-s3")
	mute, other := nic(3, "subnet-b", "10.0.1.11", "sg-mute"), nic(4, "subnet-b", "10.0.1.10")
	v.Interfaces, w.Interfaces = []network.Interface{public, private, mute}, []network.Interface{other}
	apply(t, d, state(v, w))
	ga, gb, gm := newGuest(t, d, public, subnetA), newGuest(t, d, private, subnetB), newGuest(t, d, mute, subnetB)
	gw := newGuest(t, d, other, subnetB)
	ga.listen(7)
	const atS3, atEC2 = "169.254.169.251", "10.0.0.200"
	expect := func(g *guest, at, want string) {
		t.Helper()
		if got := g.asks(at); got != want {
			t.Errorf("%s at %s: %q, want %q", g.nic.PrivateIP, at, got, want)
		}
	}
	expect(gb, atS3, "vpc-e 10.0.1.10 /x by vpce-s3")
	expect(gb, atS3+":8773", "vpc-e 10.0.1.10 /x by vpce-s3")
	expect(gb, atS3+":53", "")
	gb.cannotReach("10.0.0.10:7") // its group lets it to S3 and nowhere else
	expect(ga, atS3, "")          // its route table does not lead there
	expect(gm, atS3, "")          // its group lets nothing out
	expect(gw, atS3, "")          // no endpoint in that VPC
	expect(ga, atEC2, "vpc-e 10.0.0.10 /x by vpce-ec2")
	expect(ga, atEC2+":8773", "") // the endpoint's group
	expect(gb, atEC2, "")         // its own group
	if out, err := ga.try("busybox", "ping", "-c1", "-W1", atEC2); err == nil {
		t.Errorf("an endpoint answers more than TCP:\n%s", out)
	}

	// The endpoint's subnet denies what comes from outside of it, and lets no answer out.
	deny := func(egress bool) []network.ACLEntry {
		return []network.ACLEntry{
			{Egress: egress, Protocol: 6, CIDR: netip.MustParsePrefix("10.0.1.0/24"), Ports: network.PortRange{From: 0, To: 65535}},
			{Egress: true, Allow: true, Protocol: -1, CIDR: everything},
			{Allow: true, Protocol: -1, CIDR: everything},
		}
	}
	v.Groups[3].Rules = []network.Rule{tcp(80, "0.0.0.0/0")}
	v.Interfaces[1].Groups = []string{"sg-echo"}
	apply(t, d, state(v, w))
	expect(gb, atEC2, "vpc-e 10.0.1.10 /x by vpce-ec2")
	for _, egress := range []bool{false, true} {
		v.ACLs = []network.ACL{{ID: "acl-ep", Entries: deny(egress)}}
		v.Subnets[0].ACL = "acl-ep"
		apply(t, d, state(v, w))
		expect(gb, atEC2, "")
		expect(ga, atEC2, "vpc-e 10.0.0.10 /x by vpce-ec2")
	}
	// And the guest's own subnet keeps it from S3.
	v.Subnets[0].ACL, v.Subnets[1].ACL = "", "acl-own"
	v.ACLs = []network.ACL{{ID: "acl-own", Entries: []network.ACLEntry{
		{Egress: true, Protocol: -1, CIDR: s3},
		{Egress: true, Allow: true, Protocol: -1, CIDR: everything},
		{Allow: true, Protocol: -1, CIDR: everything},
	}}}
	apply(t, d, state(v, w))
	expect(gb, atS3, "")
	expect(gb, atEC2, "vpc-e 10.0.1.10 /x by vpce-ec2")

	// Gone is gone.
	v.Subnets[1].ACL, v.ACLs = "", nil
	v.Endpoints, v.RouteTables[1].Routes = nil, nil
	apply(t, d, state(v, w))
	expect(gb, atS3, "")
	expect(ga, atEC2, "")
}
