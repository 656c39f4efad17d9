package zone

import (
	"errors"
	"net/netip"
	"slices"
	"testing"

	"karri.dev/internal/network"
	"karri.dev/internal/resource"
	"karri.dev/internal/store"
)

// peered is world with a VPC of a third account, peered with the first one's, and an instance in it on node-2.
func peered(t *testing.T) *store.Store {
	t.Helper()
	st := worldIn(t)
	err := st.Update(t.Context(), func(tx *store.Tx) error {
		owned := resource.Owned{AccountID: "3", Region: "us-east-1"}
		one := *store.VPCs.Get(tx, "vpc-1")
		one.DHCPOptionsID = "dopt-1"
		group := *store.SecurityGroups.Get(tx, "sg-1")
		group.Rules = append(slices.Clone(group.Rules), resource.Rule{Protocol: "tcp", FromPort: 80, ToPort: 80, GroupID: "sg-3", GroupOwner: "3"})
		table := *store.RouteTables.Get(tx, "rtb-1")
		table.Routes = append(slices.Clone(table.Routes), resource.Route{Destination: "10.1.0.0/16", PeeringID: "pcx-1"}, resource.Route{Destination: "10.2.0.0/16", InterfaceID: "eni-i-2"})
		return errors.Join(
			store.VPCs.Put(tx, &one), store.SecurityGroups.Put(tx, &group), store.RouteTables.Put(tx, &table),
			store.DHCPOptions.Put(tx, &resource.DHCPOptions{ID: "dopt-1", Values: map[string][]string{
				"domain-name": {"corp.example"}, "domain-name-servers": {"10.0.0.9", "AmazonProvidedDNS"}, "ntp-servers": {"10.0.0.8"},
				"netbios-name-servers": {"10.0.0.7"}, "netbios-node-type": {"2"},
			}}),
			store.VPCs.Put(tx, &resource.VPC{Owned: owned, ID: "vpc-3", CIDR: "10.1.0.0/16", DNSSupport: true, DNSHostnames: true, VNI: 4097, MainRouteTable: "rtb-3"}),
			store.RouteTables.Put(tx, &resource.RouteTable{Owned: owned, ID: "rtb-3", VPCID: "vpc-3", Index: 1}),
			store.Subnets.Put(tx, &resource.Subnet{Owned: owned, ID: "subnet-3", VPCID: "vpc-3", CIDR: "10.1.0.0/24", Index: 1}),
			store.SecurityGroups.Put(tx, &resource.SecurityGroup{Owned: owned, ID: "sg-3", VPCID: "vpc-3", Name: "default"}),
			store.Interfaces.Put(tx, &resource.Interface{
				ID: "eni-i-7", VPCID: "vpc-3", SubnetID: "subnet-3", MAC: "06:00:00:00:00:07", PrivateIP: "10.1.0.4", PublicIP: "198.51.100.7", Groups: []string{"sg-3"}, InstanceID: "i-7",
			}),
			store.Instances.Put(tx, &resource.Instance{
				Owned: owned, ID: "i-7", VPCID: "vpc-3", Interfaces: []string{"eni-i-7"}, Power: resource.PowerOn, State: resource.Running, Node: "node-2", UserData: []byte("user data of i-7"),
			}),
			store.Peerings.Put(tx, &resource.Peering{
				Owned: resource.Owned{AccountID: "1"}, ID: "pcx-1", State: resource.PeeringActive,
				Requester: resource.PeeringSide{AccountID: "1", VPCID: "vpc-1"}, Accepter: resource.PeeringSide{AccountID: "3", VPCID: "vpc-3", RemoteDNS: true},
			}),
		)
	})
	if err != nil {
		t.Fatal(err)
	}
	return st
}

func vpcsOn(st *store.Store, node string) map[string]network.VPC {
	snap := st.Snapshot()
	out := map[string]network.VPC{}
	for _, v := range desired(snap, node, Config{}, fresh(snap), nowhere).Network.VPCs {
		out[v.ID] = v
	}
	return out
}

func TestPeeredVPCs(t *testing.T) {
	st := peered(t)
	on := vpcsOn(st, "node-1")
	one, three := on["vpc-1"], on["vpc-3"]
	if len(on) != 2 || len(three.Interfaces) != 0 || len(three.Remotes) != 1 || three.Remotes[0].ID != "eni-i-7" {
		t.Fatalf("node-1 gets %+v", on)
	}
	want := network.Peering{ID: "pcx-1", VPC: "vpc-3", CIDRs: []netip.Prefix{netip.MustParsePrefix("10.1.0.0/16")}}
	if len(one.Peerings) != 1 || one.Peerings[0].ID != want.ID || one.Peerings[0].VPC != want.VPC || one.Peerings[0].CIDRs[0] != want.CIDRs[0] || three.Peerings[0].VPC != "vpc-1" {
		t.Errorf("%+v and %+v", one.Peerings, three.Peerings)
	}
	i := slices.IndexFunc(one.Groups, func(g network.Group) bool { return g.ID == "sg-3" })
	if i < 0 || !slices.Equal(one.Groups[i].Members, []netip.Addr{netip.MustParseAddr("10.1.0.4")}) {
		t.Errorf("groups: %+v", one.Groups)
	}
	name := network.Name{Name: "ec2-198-51-100-7.compute-1.karri.internal", IP: netip.MustParseAddr("10.1.0.4")}
	if !slices.Contains(one.DNS.Names, name) {
		t.Errorf("a peer's public name is not private: %+v", one.DNS.Names)
	}
	if theirs := "ec2-198-51-100-4.compute-1.karri.internal"; slices.ContainsFunc(three.DNS.Names, func(n network.Name) bool { return n.Name == theirs }) {
		t.Error("the requester's names are private for the accepter, unasked")
	}
	routes := one.RouteTables[0].Routes
	for _, want := range []network.Route{
		{Destination: netip.MustParsePrefix("10.1.0.0/16"), Target: network.ToPeering, ID: "pcx-1"},
		{Destination: netip.MustParsePrefix("10.2.0.0/16"), Target: network.ToInterface, ID: "eni-i-2"},
	} {
		if !slices.Contains(routes, want) {
			t.Errorf("no %+v in %+v", want, routes)
		}
	}
	if len(one.DNS.Servers) != 2 || one.DNS.Servers[1] != netip.MustParseAddr("10.0.0.2") || one.DHCP.Domain != "corp.example" ||
		one.DHCP.NTP[0] != netip.MustParseAddr("10.0.0.8") || one.DHCP.NetBIOS[0] != netip.MustParseAddr("10.0.0.7") || one.DHCP.NetBIOSNodeType != 2 {
		t.Errorf("%+v %+v", one.DNS, one.DHCP)
	}
	for _, vpc := range []string{"vpc-1", "vpc-3"} {
		if nodes := nodesOf(st.Snapshot(), vpc); len(nodes) != 2 {
			t.Errorf("a change of %s is told to %v", vpc, nodes)
		}
	}
	// A peering that is not active joins nothing.
	err := st.Update(t.Context(), func(tx *store.Tx) error {
		p := *store.Peerings.Get(tx, "pcx-1")
		p.State = resource.PeeringDeleted
		return store.Peerings.Put(tx, &p)
	})
	if err != nil {
		t.Fatal(err)
	}
	on = vpcsOn(st, "node-1")
	one = on["vpc-1"]
	i = slices.IndexFunc(one.Groups, func(g network.Group) bool { return g.ID == "sg-3" })
	if len(on) != 1 || len(one.Peerings) != 0 || slices.Contains(one.DNS.Names, name) || i >= 0 && len(one.Groups[i].Members) != 0 {
		t.Errorf("a deleted peering: %+v", on)
	}
}

// An instance may have an interface of another VPC, another account's too: its node gets both networks.
func TestInterfaceOfAnotherVPC(t *testing.T) {
	st := peered(t)
	err := st.Update(t.Context(), func(tx *store.Tx) error {
		p := *store.Peerings.Get(tx, "pcx-1")
		p.State = resource.PeeringDeleted
		inst := *store.Instances.Get(tx, "i-1")
		inst.Interfaces = append(slices.Clone(inst.Interfaces), "eni-lent")
		return errors.Join(store.Peerings.Put(tx, &p), store.Instances.Put(tx, &inst), store.Interfaces.Put(tx, &resource.Interface{
			Owned: resource.Owned{AccountID: "3", Region: "us-east-1"}, ID: "eni-lent", VPCID: "vpc-3", SubnetID: "subnet-3", MAC: "06:00:00:00:00:08", PrivateIP: "10.1.0.8",
			Groups: []string{"sg-3"}, InstanceID: "i-1", DeviceIndex: 1,
		}))
	})
	if err != nil {
		t.Fatal(err)
	}
	node := store.Instances.Get(st.Snapshot(), "i-1").Node
	on := vpcsOn(st, node)
	if v := on["vpc-3"]; len(on) != 2 || len(v.Interfaces) != 1 || v.Interfaces[0].ID != "eni-lent" || len(v.Groups) != 1 {
		t.Errorf("%s gets %+v", node, on)
	}
	if nodes := nodesOf(st.Snapshot(), "vpc-3"); !slices.Contains(nodes, node) {
		t.Errorf("a change of the other VPC is told to %v", nodes)
	}
}

// A name that an owner gave to an elastic IP is what every VPC's resolver answers.
func TestReverseNames(t *testing.T) {
	st := peered(t)
	err := st.Update(t.Context(), func(tx *store.Tx) error {
		return store.Addresses.Put(tx, &resource.Address{AllocationID: "eipalloc-1", PublicIP: "198.51.100.9", PTR: "mail.example.com."})
	})
	if err != nil {
		t.Fatal(err)
	}
	want := []network.Name{{Name: "mail.example.com", IP: netip.MustParseAddr("198.51.100.9")}}
	for id, v := range vpcsOn(st, "node-1") {
		if !slices.Equal(v.DNS.Reverse, want) {
			t.Errorf("%s: %+v", id, v.DNS.Reverse)
		}
	}
}
