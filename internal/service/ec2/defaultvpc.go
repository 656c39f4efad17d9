package ec2

import (
	"errors"
	"fmt"
	"net/netip"
	"time"

	"karri.dev/internal/aws/call"
	"karri.dev/internal/cidr"
	"karri.dev/internal/ids"
	"karri.dev/internal/resource"
	"karri.dev/internal/store"
)

// defaultRange is the range of every default VPC; each zone gets the next /20 of it.
const defaultRange = "172.31.0.0/16"

// firstVNI leaves room for ids with a meaning of their own.
const firstVNI = 4096

// defaultVPC gives the caller's default VPC, or nil.
func defaultVPC(r store.Reader, info *call.Info) *resource.VPC {
	for v := range store.VPCsByOwner.By(r, ownerKey(info)) {
		if v.Default {
			return v
		}
	}
	return nil
}

// CreateDefaultVPC gives an account its default VPC in a region, with a subnet in each of the region's zones,
// as AWS does for new accounts. An account that has one already keeps it.
func CreateDefaultVPC(tx *store.Tx, source *ids.Source, now time.Time, account, region string) (*resource.VPC, error) {
	info := &call.Info{Caller: call.Caller{AccountID: account}, Region: region}
	if v := defaultVPC(tx, info); v != nil {
		return v, nil
	}
	vpc, err := newVPC(tx, source, resource.VPC{
		Owned: resource.Owned{AccountID: account, Region: region, CreatedAt: now}, ID: source.Resource("vpc-"), CIDR: defaultRange,
		Default: true, DNSHostnames: true,
	})
	if err != nil {
		return nil, fmt.Errorf("default VPC: %w", err)
	}
	gateway := &resource.InternetGateway{Owned: vpc.Owned, ID: source.Resource("igw-"), VPCID: vpc.ID}
	if err := store.InternetGateways.Put(tx, gateway); err != nil {
		return nil, fmt.Errorf("default VPC: %w", err)
	}
	table := *store.RouteTables.Get(tx, vpc.MainRouteTable)
	table.Routes = []resource.Route{{Destination: "0.0.0.0/0", GatewayID: gateway.ID}}
	if err := store.RouteTables.Put(tx, &table); err != nil {
		return nil, fmt.Errorf("default VPC: %w", err)
	}
	for _, z := range vpcZones(tx, region) {
		if err := CreateDefaultSubnet(tx, source, now, vpc, z.Name); err != nil {
			return nil, err
		}
	}
	return vpc, nil
}

// newVPC writes a VPC and what every VPC comes with: a main route table, a group and a network ACL that are its
// defaults, and the account's default DHCP options.
func newVPC(tx *store.Tx, source *ids.Source, vpc resource.VPC) (*resource.VPC, error) {
	owned := vpc.Owned
	owned.Tags = nil
	vpc.DNSSupport, vpc.VNI = true, nextVNI(tx)
	vpc.MainRouteTable, vpc.DefaultGroup, vpc.DefaultACL = source.Resource("rtb-"), source.Resource("sg-"), source.Resource("acl-")
	options, err := defaultOptions(tx, source, owned)
	if err != nil {
		return nil, err
	}
	vpc.DHCPOptionsID = options
	acl := &resource.NetworkACL{Owned: owned, ID: vpc.DefaultACL, VPCID: vpc.ID, Default: true, Entries: []resource.ACLEntry{
		allowAll(false), allowAll(true),
	}}
	group := &resource.SecurityGroup{
		Owned: owned, ID: vpc.DefaultGroup, VPCID: vpc.ID, Name: "default", Description: "default VPC security group",
		Rules: []resource.Rule{
			{ID: source.Resource("sgr-"), Protocol: "-1", FromPort: -1, ToPort: -1, GroupID: vpc.DefaultGroup, GroupOwner: owned.AccountID},
			allOut(source.Resource("sgr-")),
		},
	}
	table := &resource.RouteTable{
		Owned: owned, ID: vpc.MainRouteTable, VPCID: vpc.ID, Index: 1, Main: true, MainAssoc: source.Resource("rtbassoc-"),
	}
	return &vpc, errors.Join(
		store.VPCs.Put(tx, &vpc), store.NetworkACLs.Put(tx, acl), store.SecurityGroups.Put(tx, group), store.RouteTables.Put(tx, table))
}

// allowAll is the entry that a default network ACL comes with.
func allowAll(egress bool) resource.ACLEntry {
	return resource.ACLEntry{Number: 100, Egress: egress, Allow: true, Protocol: "-1", CIDR: "0.0.0.0/0"}
}

// defaultOptions gives the id of the DHCP options that an account's new VPCs get, which its first VPC makes.
func defaultOptions(tx *store.Tx, source *ids.Source, owned resource.Owned) (string, error) {
	for d := range store.DHCPOptionsByOwner.By(tx, owned.OwnedBy()) {
		if d.Default {
			return d.ID, nil
		}
	}
	d := &resource.DHCPOptions{Owned: owned, ID: source.Resource("dopt-"), Default: true, Values: map[string][]string{
		"domain-name":         {resource.PrivateDomain(owned.Region)},
		"domain-name-servers": {ownResolver},
	}}
	return d.ID, store.DHCPOptions.Put(tx, d)
}

// CreateDefaultSubnet gives a default VPC its default subnet in a zone: for zones that come later. A zone
// that has one keeps it.
func CreateDefaultSubnet(tx *store.Tx, source *ids.Source, now time.Time, vpc *resource.VPC, zone string) error {
	taken := map[netip.Prefix]bool{}
	index := uint32(0)
	for s := range store.SubnetsByVPC.By(tx, vpc.ID) {
		if s.Default && s.Zone == zone {
			return nil
		}
		p, err := netip.ParsePrefix(s.CIDR)
		if err != nil {
			return fmt.Errorf("subnet %s: %w", s.ID, err)
		}
		taken[p] = true
		index = max(index, s.Index)
	}
	whole, err := netip.ParsePrefix(vpc.CIDR)
	if err != nil {
		return fmt.Errorf("vpc %s: %w", vpc.ID, err)
	}
	for n := 0; ; n++ {
		p, ok := cidr.Split(whole, 20, n)
		if !ok {
			return fmt.Errorf("vpc %s, %s: %w", vpc.ID, zone, errNoRoom)
		}
		if overlaps(taken, p) {
			continue
		}
		subnet := &resource.Subnet{
			Owned: resource.Owned{AccountID: vpc.AccountID, Region: vpc.Region, CreatedAt: now},
			ID:    source.Resource("subnet-"), VPCID: vpc.ID, Zone: zone, CIDR: p.String(), Index: index + 1,
			Default: true, MapPublicIP: true, NetworkACL: vpc.DefaultACL,
		}
		if err := store.Subnets.Put(tx, subnet); err != nil {
			return fmt.Errorf("default subnet in %s: %w", zone, err)
		}
		return nil
	}
}

// CreateDefaultSubnets gives every default VPC of the zone's region its subnet there.
func CreateDefaultSubnets(tx *store.Tx, source *ids.Source, now time.Time, z *resource.Zone) error {
	for v := range store.VPCs.All(tx) {
		if v.Default && v.Region == z.Region {
			if err := CreateDefaultSubnet(tx, source, now, v, z.Name); err != nil {
				return err
			}
		}
	}
	return nil
}

func overlaps(taken map[netip.Prefix]bool, p netip.Prefix) bool {
	for t := range taken {
		if t.Overlaps(p) {
			return true
		}
	}
	return false
}

// nextVNI gives a VXLAN id that no VPC has.
func nextVNI(tx *store.Tx) uint32 {
	last := uint32(firstVNI - 1)
	for v := range store.VPCs.All(tx) {
		last = max(last, v.VNI)
	}
	return last + 1
}

var errNoRoom = errors.New("no room for a default subnet")
