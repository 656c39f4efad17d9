package ec2

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"karri.dev/internal/aws/call"
	"karri.dev/internal/ids"
	"karri.dev/internal/resource"
	"karri.dev/internal/store"
)

// SetZoneNetwork gives a zone another network. Nothing may be in the zone that has a place on the old one. Default subnets
// and default VPCs come and go with the zones that have VPCs; others must be deleted before.
func SetZoneNetwork(tx *store.Tx, source *ids.Source, now time.Time, zone string, network resource.ZoneNetwork) error {
	if err := network.Check(); err != nil {
		return err
	}
	z := store.Zones.Get(tx, zone)
	if z == nil {
		return fmt.Errorf("there is no zone %q", zone)
	}
	if network.Mode == resource.ModeVPC {
		network = resource.ZoneNetwork{}
	}
	if z.Network.Flat() && z.Network.Mode == network.Mode && z.Network.Bridge == network.Bridge {
		if err := keepsCards(tx, z, network); err != nil {
			return err
		}
	} else if err := emptyZone(tx, z); err != nil {
		return err
	}
	next := *z
	next.Network = network
	if network.Managed() {
		for _, other := range zones(tx, z.Region) {
			if other.Name != zone && other.Network.Managed() && prefixOf(other.Network.Subnet).Overlaps(prefixOf(network.Subnet)) {
				return fmt.Errorf("the subnet %s overlaps that of %s, %s", network.Subnet, other.Name, other.Network.Subnet)
			}
		}
	}
	if err := store.Zones.Put(tx, &next); err != nil {
		return err
	}
	return SettleRegion(tx, source, now, z.Region)
}

// keepsCards says whether cards in use stay as they are.
func keepsCards(r store.Reader, z *resource.Zone, network resource.ZoneNetwork) error {
	for e := range store.InterfacesByVPC.By(r, resource.FlatID(z.Name)) {
		if network.Mode == resource.ModeStatic && !slices.Contains(network.MACs, resource.MACAddress{MAC: e.MAC, IP: e.PrivateIP}) {
			return fmt.Errorf("the card %s with %s is in use by %s", e.MAC, e.PrivateIP, e.InstanceID)
		}
	}
	return nil
}

// emptyZone checks that nothing has a place on the zone's network, and deletes its subnets if they are only the default ones.
func emptyZone(tx *store.Tx, z *resource.Zone) error {
	for inst := range store.Instances.All(tx) {
		if inst.Zone == z.Name && inst.State.Alive() {
			return fmt.Errorf("zone %s has the instance %s of account %s", z.Name, inst.ID, inst.AccountID)
		}
	}
	for g := range store.NATGatewaysByZone.By(tx, z.Name) {
		return fmt.Errorf("zone %s has the NAT gateway %s of account %s", z.Name, g.ID, g.AccountID)
	}
	for g := range store.VPNGatewaysByZone.By(tx, z.Name) {
		return fmt.Errorf("zone %s has the virtual private gateway %s of account %s", z.Name, g.ID, g.AccountID)
	}
	var gone []*resource.Subnet
	for sub := range store.Subnets.All(tx) {
		if sub.Zone != z.Name {
			continue
		}
		if e := store.InterfacesBySubnet.One(tx, sub.ID); e != nil {
			return fmt.Errorf("zone %s has the network interface %s in the subnet %s of account %s", z.Name, e.ID, sub.ID, sub.AccountID)
		}
		if !sub.Default && resource.InVPC(sub.VPCID) {
			return fmt.Errorf("zone %s has the subnet %s of account %s", z.Name, sub.ID, sub.AccountID)
		}
		gone = append(gone, sub)
	}
	for _, sub := range gone {
		if err := dropSubnet(tx, sub); err != nil {
			return err
		}
	}
	return nil
}

// SettleRegion makes a region's networks fit the modes of its zones. With one in a MANAGED mode there is the region's own VPC, and no
// account has a default VPC: groups and addresses that name no VPC are of the region's. Else accounts have default VPCs as long as there
// is a zone with VPCs.
func SettleRegion(tx *store.Tx, source *ids.Source, now time.Time, region string) error {
	var managed []*resource.Zone
	for _, z := range zones(tx, region) {
		if z.Network.Managed() {
			managed = append(managed, z)
		}
	}
	if len(managed) == 0 {
		if err := dropClassic(tx, region); err != nil {
			return err
		}
	}
	if !hasDefaultVPCs(tx, region) {
		var all []*resource.VPC
		for v := range store.VPCs.All(tx) {
			if v.Default && v.Region == region {
				all = append(all, v)
			}
		}
		for _, v := range all {
			if err := dropDefaultVPC(tx, v); err != nil {
				return err
			}
		}
	}
	if len(managed) > 0 {
		if err := settleClassic(tx, source, now, region, managed); err != nil {
			return err
		}
	}
	for a := range store.Accounts.All(tx) {
		if err := WelcomeAccount(tx, source, now, a.ID, region); err != nil {
			return err
		}
	}
	for _, z := range vpcZones(tx, region) {
		if err := CreateDefaultSubnets(tx, source, now, z); err != nil {
			return err
		}
	}
	return nil
}

// hasDefaultVPCs says whether accounts have default VPCs in a region.
func hasDefaultVPCs(r store.Reader, region string) bool {
	all := zones(r, region)
	return len(all) == 0 || len(vpcZones(r, region)) > 0 && !slices.ContainsFunc(all, func(z *resource.Zone) bool { return z.Network.Managed() })
}

// WelcomeAccount gives an account what it has in a region from the beginning: a default VPC, or a default group of the
// region's own.
func WelcomeAccount(tx *store.Tx, source *ids.Source, now time.Time, account, region string) error {
	if hasDefaultVPCs(tx, region) {
		_, err := CreateDefaultVPC(tx, source, now, account, region)
		return err
	}
	info := &call.Info{Caller: call.Caller{AccountID: account}, Region: region}
	v := classicVPC(tx, region)
	if v == nil || groupNamed(tx, info, v.ID, "default") != nil {
		return nil
	}
	id := source.Resource("sg-")
	return store.SecurityGroups.Put(tx, &resource.SecurityGroup{
		Owned: resource.Owned{AccountID: account, Region: region, CreatedAt: now}, ID: id, VPCID: v.ID, Name: "default", Description: "default group",
		Rules: []resource.Rule{
			{ID: source.Resource("sgr-"), Protocol: "-1", FromPort: -1, ToPort: -1, GroupID: id, GroupOwner: account},
			allOut(source.Resource("sgr-")),
		},
	})
}

// settleClassic makes the region's own VPC and its subnets.
func settleClassic(tx *store.Tx, source *ids.Source, now time.Time, region string, managed []*resource.Zone) error {
	v := classicVPC(tx, region)
	if v == nil {
		var err error
		owned := resource.Owned{Region: region, CreatedAt: now}
		if v, err = newVPC(tx, source, resource.VPC{Owned: owned, ID: resource.ClassicID(region), CIDR: managed[0].Network.Subnet, DNSHostnames: true}); err != nil {
			return err
		}
		gateway := &resource.InternetGateway{Owned: owned, ID: source.Resource("igw-"), VPCID: v.ID}
		table := *store.RouteTables.Get(tx, v.MainRouteTable)
		table.Routes = []resource.Route{{Destination: "0.0.0.0/0", GatewayID: gateway.ID}}
		if err := errors.Join(store.InternetGateways.Put(tx, gateway), store.RouteTables.Put(tx, &table)); err != nil {
			return err
		}
	}
	next := *v
	var blocks []string
	for _, z := range managed {
		blocks = append(blocks, z.Network.Subnet)
	}
	if !slices.Contains(blocks, v.CIDR) && store.InterfacesByVPC.One(tx, v.ID) != nil {
		return fmt.Errorf("the region's name server is in %s, which instances use", v.CIDR)
	}
	if !slices.Contains(blocks, v.CIDR) {
		next.CIDR = blocks[0]
	}
	next.CIDRs = slices.DeleteFunc(blocks, func(b string) bool { return b == next.CIDR })
	if err := store.VPCs.Put(tx, &next); err != nil {
		return err
	}
	for _, z := range managed {
		if z.Network.Mode == resource.ModeManaged {
			continue // each group's first launch makes its subnet
		}
		index, there := uint32(0), false
		for sub := range store.SubnetsByVPC.By(tx, v.ID) {
			index, there = max(index, sub.Index), there || sub.Zone == z.Name
		}
		if there {
			continue
		}
		sub := classicSubnet(&next, z, source.Resource("subnet-"), z.Network.Subnet, index+1)
		sub.Default = true
		if err := store.Subnets.Put(tx, sub); err != nil {
			return err
		}
	}
	return nil
}

// dropClassic deletes the region's own VPC, with the accounts' default groups.
func dropClassic(tx *store.Tx, region string) error {
	v := classicVPC(tx, region)
	if v == nil {
		return nil
	}
	for a := range store.Addresses.All(tx) {
		if a.Classic && a.Region == region {
			return fmt.Errorf("account %s has the elastic IP %s", a.AccountID, a.PublicIP)
		}
	}
	var groups []string
	for g := range store.SecurityGroupsByVPC.By(tx, v.ID) {
		if g.Name != "default" {
			return fmt.Errorf("account %s has the security group %s (%s)", g.AccountID, g.ID, g.Name)
		}
		groups = append(groups, g.ID)
	}
	for _, id := range groups {
		store.SecurityGroups.Delete(tx, id)
	}
	return dropVPC(tx, v)
}

// dropDefaultVPC deletes a default VPC that was never used for anything.
func dropDefaultVPC(tx *store.Tx, v *resource.VPC) error {
	var subs []*resource.Subnet
	for sub := range store.SubnetsByVPC.By(tx, v.ID) {
		if sub.Default && store.InterfacesBySubnet.One(tx, sub.ID) == nil {
			subs = append(subs, sub)
		}
	}
	for _, sub := range subs {
		if err := dropSubnet(tx, sub); err != nil {
			return err
		}
	}
	return dropVPC(tx, v)
}

// dropVPC deletes a VPC with its internet gateway.
func dropVPC(tx *store.Tx, v *resource.VPC) error {
	if g := store.InternetGatewaysByVPC.One(tx, v.ID); g != nil {
		store.InternetGateways.Delete(tx, g.ID)
	}
	if vpcInUse(tx, v) || store.PeeringsByVPC.One(tx, v.ID) != nil || store.FlowLogsByVPC.One(tx, v.ID) != nil {
		return fmt.Errorf("the VPC %s of account %s is in use", v.ID, v.AccountID)
	}
	deleteVPC(tx, v)
	return nil
}

// dropSubnet deletes a subnet and its association with a route table.
func dropSubnet(tx *store.Tx, sub *resource.Subnet) error {
	if table, i := tableOf(tx, sub); table != nil {
		next := *table
		next.Associations = slices.Delete(slices.Clone(table.Associations), i, i+1)
		if err := store.RouteTables.Put(tx, &next); err != nil {
			return err
		}
	}
	for _, c := range reservationsOf(tx, sub) {
		store.CIDRReservations.Delete(tx, c.ID)
	}
	store.Subnets.Delete(tx, sub.ID)
	return nil
}

// deleteVPC deletes a VPC and what it came with.
func deleteVPC(tx *store.Tx, v *resource.VPC) {
	store.RouteTables.Delete(tx, v.MainRouteTable)
	store.SecurityGroups.Delete(tx, v.DefaultGroup)
	store.NetworkACLs.Delete(tx, v.DefaultACL)
	store.VPCs.Delete(tx, v.ID)
}
