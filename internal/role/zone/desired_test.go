package zone

import (
	"encoding/json"
	"errors"
	"flag"
	"log/slog"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"karri.dev/internal/compute"
	"karri.dev/internal/resource"
	"karri.dev/internal/store"
)

var update = flag.Bool("update", false, "write golden files anew")

// world is a small cloud: two nodes, two VPCs with the same range, instances of two accounts.
func world(t *testing.T) *store.Snapshot { return worldIn(t).Snapshot() }

func worldIn(t *testing.T) *store.Store {
	t.Helper()
	st := store.OpenMemory(slog.New(slog.DiscardHandler))
	t.Cleanup(func() { st.Close() })
	at := time.Unix(1_800_000_000, 0).UTC()
	err := st.Update(t.Context(), func(tx *store.Tx) error {
		errs := []error{
			store.Zones.Put(tx, &resource.Zone{Name: "us-east-1a", Region: "us-east-1", ZoneID: "use1-az1"}),
			store.Nodes.Put(tx, &resource.Node{ID: "node-1", Zone: "us-east-1a", Underlay: "192.0.2.1"}),
			store.Nodes.Put(tx, &resource.Node{ID: "node-2", Zone: "us-east-1a", Underlay: "192.0.2.2"}),
			store.Images.Put(tx, &resource.Image{
				ID: "ami-1", BootMode: "uefi", Data: resource.ImageData{Format: "qcow2", Size: 100, VirtualSize: 3 << 30, SHA256: "aa"},
			}),
			store.Images.Put(tx, &resource.Image{ID: "aki-1", Kind: "kernel", Data: resource.ImageData{Format: "raw", Size: 10, SHA256: "bb"}}),
		}
		for _, account := range []string{"1", "2"} {
			owned := resource.Owned{AccountID: account, Region: "us-east-1", CreatedAt: at}
			vpc := "vpc-" + account
			range6, part6 := []resource.V6Block{{CIDR: "2001:db8:1::/56"}}, &resource.V6Block{CIDR: "2001:db8:1:1::/64"}
			if account == "2" {
				range6, part6 = nil, nil
			}
			errs = append(
				errs,
				store.VPCs.Put(tx, &resource.VPC{IPv6: range6, Owned: owned, ID: vpc, CIDR: "10.0.0.0/16", DNSHostnames: true, DNSSupport: true, VNI: 4096, MainRouteTable: "rtb-" + account}),
				store.Subnets.Put(tx, &resource.Subnet{IPv6: part6, Owned: owned, ID: "subnet-" + account, VPCID: vpc, CIDR: "10.0.0.0/20", Index: 1, NetworkACL: "acl-" + account}),
				store.InternetGateways.Put(tx, &resource.InternetGateway{Owned: owned, ID: "igw-" + account, VPCID: vpc}),
				store.EgressGateways.Put(tx, &resource.EgressGateway{Owned: owned, ID: "eigw-1", VPCID: vpc}), // the second account has none
				store.RouteTables.Put(tx, &resource.RouteTable{
					Owned: owned, ID: "rtb-" + account, VPCID: vpc, Index: 1, Main: true,
					Routes: []resource.Route{{Destination: "0.0.0.0/0", GatewayID: "igw-" + account}, {Destination: "172.16.0.0/12", GatewayID: "igw-gone"}, {Destination: "::/0", EgressOnlyID: "eigw-" + account}, {Destination: "2001:db8:f::/48", GatewayID: "igw-" + account}},
				}),
				store.NetworkACLs.Put(tx, &resource.NetworkACL{
					Owned: owned, ID: "acl-" + account, VPCID: vpc,
					Entries: []resource.ACLEntry{{Number: 100, Allow: true, Protocol: "-1", CIDR: "0.0.0.0/0"}, {Number: 101, Protocol: "6", CIDR: "0.0.0.0/0", FromPort: 22, ToPort: 23}, {Number: 102, Allow: true, Protocol: "58", CIDR6: "::/0", FromPort: -1, ToPort: -1}},
				}),
				store.SecurityGroups.Put(tx, &resource.SecurityGroup{
					Owned: owned, ID: "sg-" + account, VPCID: vpc, Name: "default", Rules: []resource.Rule{
						{Protocol: "-1", FromPort: -1, ToPort: -1, GroupID: "sg-" + account},
						{Protocol: "tcp", FromPort: 22, ToPort: 22, CIDR: "203.0.113.0/24"},
						{Protocol: "tcp", FromPort: 22, ToPort: 22, CIDR6: "2001:db8::/32"},
						{Protocol: "nonsense", CIDR: "not a range"},
						{Egress: true, Protocol: "-1", FromPort: -1, ToPort: -1, CIDR: "0.0.0.0/0"},
					},
				}),
			)
		}
		errs = append(errs, store.SecurityGroups.Put(tx, &resource.SecurityGroup{
			ID: "sg-other", VPCID: "vpc-1", Name: "other", Rules: []resource.Rule{{Protocol: "icmp", FromPort: 8, ToPort: -1, CIDR: "0.0.0.0/0"}},
		}))
		for _, i := range []struct {
			id, account, node, ip, public string
			power                         resource.Power
			state                         resource.InstanceState
		}{
			{"i-1", "1", "node-1", "10.0.0.4", "198.51.100.4", resource.PowerOn, resource.Running},
			{"i-2", "1", "node-2", "10.0.0.5", "198.51.100.5", resource.PowerOn, resource.Running},
			{"i-3", "2", "node-2", "10.0.0.4", "198.51.100.6", resource.PowerOn, resource.Running},
			{"i-4", "1", "node-1", "10.0.0.6", "", resource.PowerGone, resource.ShuttingDown},
			{"i-5", "1", "", "10.0.0.7", "", resource.PowerOn, resource.Pending},
			{"i-6", "1", "node-1", "", "", resource.PowerGone, resource.Terminated},
		} {
			inst := &resource.Instance{
				Owned: resource.Owned{AccountID: i.account, Region: "us-east-1", CreatedAt: at, Tags: resource.Tags{"secret of": i.id}},
				ID:    i.id, ReservationID: "r-" + i.id, ImageID: "ami-1", Type: "t3.nano", VCPUs: 2, MemoryMiB: 512, DiskGiB: 2, Zone: "us-east-1a",
				KeyName: "key", PublicKey: "ssh-ed25519 AAAA " + i.id, UserData: []byte("user data of " + i.id), VPCID: "vpc-" + i.account, SubnetID: "subnet-" + i.account,
				IMDS: resource.IMDSOptions{HopLimit: 2, InstanceTags: i.id == "i-1"}, Power: i.power, State: i.state, Node: i.node, LaunchedAt: at,
			}
			if i.id == "i-1" {
				inst.KernelID = "aki-1"
			}
			if i.ip != "" {
				eni := &resource.Interface{
					ID: "eni-" + i.id, VPCID: inst.VPCID, SubnetID: inst.SubnetID, MAC: "06:00:00:00:00:0" + i.id[2:], PrivateIP: i.ip, PublicIP: i.public,
					Groups: []string{"sg-" + i.account}, InstanceID: i.id,
				}
				if i.id == "i-1" || i.id == "i-2" {
					eni.IPv6 = []string{"2001:db8:1:1::" + i.id[2:]}
				}
				if i.id == "i-5" {
					eni.Groups = append(eni.Groups, "sg-other")
				}
				inst.Interfaces = []string{eni.ID}
				errs = append(errs, store.Interfaces.Put(tx, eni))
			}
			errs = append(errs, store.Instances.Put(tx, inst))
		}
		return errors.Join(errs...)
	})
	if err != nil {
		t.Fatal(err)
	}
	return st
}

// fresh gives neighbours of the snapshot itself.
func fresh(snap *store.Snapshot) func(*resource.VPC) *neighbours {
	return func(v *resource.VPC) *neighbours { return neighboursOf(snap, v, "karri.internal") }
}

func TestDesired(t *testing.T) {
	snap := world(t)
	cfg := Config{PublicPool: []netip.Prefix{netip.MustParsePrefix("198.51.100.0/24")}, Domain: "karri.internal"}
	for _, node := range []string{"node-1", "node-2", "node-3"} {
		d := desired(snap, node, cfg, fresh(snap), nowhere)
		got, err := json.MarshalIndent(d, "", "\t")
		if err != nil {
			t.Fatal(err)
		}
		file := "testdata/" + node + ".json"
		if *update {
			if err := os.WriteFile(file, append(got, '\n'), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(strings.TrimSpace(string(want)), string(got)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", node, diff)
		}
		if again, _ := json.MarshalIndent(desired(snap, node, cfg, fresh(snap), nowhere), "", "\t"); string(again) != string(got) {
			t.Errorf("%s: the same snapshot gave another state", node)
		}
	}
}

// A node learns nothing of other nodes' instances but where packets for them go.
func TestDesiredKeepsSecrets(t *testing.T) {
	snap := world(t)
	data, err := json.Marshal(desired(snap, "node-1", Config{}, fresh(snap), nowhere))
	if err != nil {
		t.Fatal(err)
	}
	text := string(data)
	for _, other := range []string{`"i-2"`, `"i-3"`, `"i-5"`, "user data of i-2", "vpc-2", "sg-other", "198.51.100.5", "AAAA i-2", "secret of"} {
		found := strings.Contains(text, other)
		if other == "secret of" { // its own, since it allows tags in metadata
			found = strings.Count(text, other) != 1
		}
		if found {
			t.Errorf("node-1 is told %q", other)
		}
	}
}

func TestProtocol(t *testing.T) {
	for name, want := range map[string]int{"tcp": 6, "udp": 17, "icmp": 1, "icmpv6": 58, "-1": -1, "50": 50, "": 255, "TCP": 255, "x": 255} {
		if got := protocol(name); got != want {
			t.Errorf("%q: %d, want %d", name, got, want)
		}
	}
}

// nowhere is the place of volumes where there are none.
func nowhere(*resource.Volume) (compute.Disk, bool) { return compute.Disk{}, false }
