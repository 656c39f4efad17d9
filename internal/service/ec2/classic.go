package ec2

import (
	"math/rand/v2"
	"net/netip"

	"karri.dev/internal/aws/awserr"
	"karri.dev/internal/aws/call"
	shape "karri.dev/internal/aws/shape/ec2"
	"karri.dev/internal/cidr"
	"karri.dev/internal/resource"
	"karri.dev/internal/store"
)

// A zone in one of the old network modes has no VPCs. What AWS once had there is EC2-Classic, and that is what its clients
// meet: instances without subnet, VPC or network interfaces, groups of the account, elastic IPs of the domain "standard".
// Within, the interfaces are there all the same. They are nobody's, so that no call finds them.
//
// SYSTEM and STATIC: an instance is on the zone's flat network, which has neither groups nor elastic IPs.
// MANAGED-NOVLAN and MANAGED: the region has one VPC that nobody owns, with a subnet for each such zone, or for each group.

// vpcZones gives the region's zones that have VPCs.
func vpcZones(r store.Reader, region string) (out []*resource.Zone) {
	for _, z := range zones(r, region) {
		if z.Network.VPC() {
			out = append(out, z)
		}
	}
	return out
}

// classicVPC gives the region's network of the modes MANAGED-NOVLAN and MANAGED, or nil.
func classicVPC(r store.Reader, region string) *resource.VPC {
	return store.VPCs.Get(r, resource.ClassicID(region))
}

// home gives the network of what names none: the caller's default VPC, or the region's own; nil if there is neither.
func home(r store.Reader, info *call.Info) *resource.VPC {
	if v := classicVPC(r, info.Region); v != nil {
		return v
	}
	return defaultVPC(r, info)
}

// needVPCs refuses what only zones with VPCs have.
func needVPCs(r store.Reader, region string) error {
	if len(zones(r, region)) > 0 && len(vpcZones(r, region)) == 0 {
		return errUnsupported("The region %s has no VPCs: its network mode is another.", region)
	}
	return nil
}

// groupNamed gives the caller's group of a network by its name, or nil.
func groupNamed(r store.Reader, info *call.Info, vpc, name string) *resource.SecurityGroup {
	return store.SecurityGroupsByName.One(r, resource.GroupHome(vpc, info.AccountID)+"/"+name)
}

// shownVPC gives a network's id as clients see it.
func shownVPC(id string) string {
	if resource.InVPC(id) {
		return id
	}
	return ""
}

// flatZone gives the zone for a launch that names no network, if that is one with a flat network: the one asked for, or
// where there is none with a network of ours or a default subnet, the one with most free vCPUs.
func flatZone(r store.Reader, info *call.Info, want string) *resource.Zone {
	if want != "" {
		if z := store.Zones.Get(r, want); z != nil && z.Network.Flat() {
			return z
		}
		return nil
	}
	if v := home(r, info); v != nil && defaultSubnet(r, v.ID, "") != nil {
		return nil
	}
	var best *resource.Zone
	for _, z := range zones(r, info.Region) {
		if z.Network.Flat() && (best == nil || freeVCPUs(r, z.Name) > freeVCPUs(r, best.Name)) {
			best = z
		}
	}
	return best
}

// onFlat puts the plan on a zone's flat network.
func (p *plan) onFlat(z *resource.Zone) error {
	p.flat = z
	p.vpc = &resource.VPC{ID: resource.FlatID(z.Name)}
	p.subnet = &resource.Subnet{VPCID: p.vpc.ID, Zone: z.Name}
	if n := p.nets[0]; len(n.groupIDs)+len(n.groupNames) > 0 {
		return errUnsupported("The zone %s has no security groups: its network mode is %s.", z.Name, z.Network.Mode)
	}
	return p.classicOnly()
}

// classicOnly refuses what a launch may say of VPCs only.
func (p *plan) classicOnly() error {
	n := p.nets[0]
	switch {
	case len(p.in.NetworkInterfaces) > 0:
		return errCombination("Network interfaces can be specified for VPC instances only: a subnet is needed.")
	case n.addresses.ip != "":
		return errCombination("A private IP address can be specified for VPC instances only: a subnet is needed.")
	}
	return nil
}

// flatCard gives a new interface its card on the zone's flat network. In STATIC that is one of the operator's list, with its
// address; in SYSTEM the address is learned.
func flatCard(r store.Reader, e *resource.Interface, z *resource.Zone, rnd *rand.Rand) error {
	e.VPCID, e.Zone, e.AccountID = resource.FlatID(z.Name), z.Name, ""
	if z.Network.Mode == resource.ModeSystem {
		e.MAC = flatMAC(e.ID)
		return nil
	}
	list := z.Network.MACs
	first := rnd.IntN(len(list))
	for i := range list {
		m := list[(first+i)%len(list)]
		if store.InterfacesByIP.One(r, e.VPCID+"/"+m.IP) == nil {
			e.MAC, e.PrivateIP = m.MAC, m.IP
			return nil
		}
	}
	return awserr.New("InsufficientAddressCapacity", "Not enough available addresses to satisfy your request.").WithStatus(503)
}

// flatMAC makes a MAC address of an interface's id, whose digits are random.
func flatMAC(id string) string {
	const digits = 10
	mac := "0a"
	for i := len(id) - digits; i < len(id); i += 2 {
		mac += ":" + id[i:i+2]
	}
	return mac
}

// slice gives the subnet of a group in a zone of the mode MANAGED, made now if it is the group's first.
func (s *Service) slice(tx *store.Tx, v *resource.VPC, z *resource.Zone, group string) (*resource.Subnet, error) {
	taken := map[netip.Prefix]bool{}
	index := uint32(0)
	for sub := range store.SubnetsByVPC.By(tx, v.ID) {
		if sub.Zone == z.Name && sub.Group == group {
			return sub, nil
		}
		if sub.Group != "" {
			taken[prefixOf(sub.CIDR)] = true
		}
		index = max(index, sub.Index)
	}
	for n := 0; ; n++ {
		block, ok := cidr.Split(prefixOf(z.Network.Subnet), z.Network.SliceBits(), n)
		if !ok {
			return nil, awserr.New("InsufficientAddressCapacity", "The zone %s has no network left for another security group.", z.Name).WithStatus(503)
		}
		if taken[block] {
			continue
		}
		sub := classicSubnet(v, z, s.IDs.Resource("subnet-"), block.String(), index+1)
		sub.Group = group
		return sub, store.Subnets.Put(tx, sub)
	}
}

func classicSubnet(v *resource.VPC, z *resource.Zone, id, block string, index uint32) *resource.Subnet {
	return &resource.Subnet{Owned: v.Owned, ID: id, VPCID: v.ID, Zone: z.Name, CIDR: block, Index: index, MapPublicIP: true, NetworkACL: v.DefaultACL}
}

// dropSlices deletes the subnets of a group that goes.
func dropSlices(tx *store.Tx, g *resource.SecurityGroup) {
	if resource.InVPC(g.VPCID) {
		return
	}
	var ids []string
	for sub := range store.SubnetsByVPC.By(tx, g.VPCID) {
		if sub.Group == g.ID {
			ids = append(ids, sub.ID)
		}
	}
	for _, id := range ids {
		store.Subnets.Delete(tx, id)
	}
}

// onClassic puts the plan on the region's own VPC.
func (p *plan) onClassic(r store.Reader, info *call.Info, want string) error {
	var best *resource.Zone
	for _, z := range zones(r, info.Region) {
		if z.Network.Managed() && (want == "" || z.Name == want) && (best == nil || freeVCPUs(r, z.Name) > freeVCPUs(r, best.Name)) {
			best = z
		}
	}
	if best == nil {
		return awserr.New("VPCIdNotSpecified", "No default VPC for this user: the zone %s needs a subnet.", want)
	}
	p.subnet = defaultSubnet(r, p.vpc.ID, best.Name)
	if best.Network.Mode == resource.ModeManaged { // which the group has, or gets when the instance is made
		p.subnet = &resource.Subnet{VPCID: p.vpc.ID, Zone: best.Name, MapPublicIP: true}
	}
	if p.subnet == nil {
		return awserr.New("MissingInput", "No subnets found in the zone %s.", best.Name)
	}
	return p.classicOnly()
}

// defaultGroup gives the group of who names none.
func (p *plan) defaultGroup(r store.Reader, info *call.Info) string {
	if !resource.InVPC(p.vpc.ID) {
		if g := groupNamed(r, info, p.vpc.ID, "default"); g != nil {
			return g.ID
		}
	}
	return p.vpc.DefaultGroup
}

// giveClassic makes an interface nobody's where it is on the region's own VPC, and finds its group's subnet.
func (s *Service) giveClassic(tx *store.Tx, p *plan, c *card, eni *resource.Interface) error {
	if resource.InVPC(p.vpc.ID) {
		return nil
	}
	eni.AccountID = ""
	if c.subnet.ID != "" {
		return nil
	}
	var err error
	c.subnet, err = s.slice(tx, p.vpc, store.Zones.Get(tx, c.subnet.Zone), c.slice)
	return err
}

// peerNamed gives the group that a rule names by its name: one of the same network, and of the same account, or where all
// accounts share the network, of the one that is named.
func peerNamed(r store.Reader, info *call.Info, group *resource.SecurityGroup, pair shape.UserIdGroupPair) *resource.SecurityGroup {
	account := info.AccountID
	if pair.UserId != "" && pair.UserId != account {
		if resource.InVPC(group.VPCID) {
			return nil
		}
		account = pair.UserId
	}
	return store.SecurityGroupsByName.One(r, resource.GroupHome(group.VPCID, account)+"/"+pair.GroupName)
}

// privateName is the private DNS name of an address that may not be known yet.
func privateName(region, ip string) string {
	if ip == "" {
		return ""
	}
	return resource.PrivateName(region, ip)
}

// associableClassic checks that an elastic IP can be given to an instance outside of VPCs.
func (s *Service) associableClassic(r store.Reader, eni *resource.Interface, in *shape.AssociateAddressRequest) (*resource.Interface, error) {
	switch {
	case in.PrivateIpAddress != "":
		return nil, errCombination("A private IP address can be specified for VPC instances only.")
	case classicVPC(r, eni.Region) == nil || eni.VPCID != resource.ClassicID(eni.Region):
		return nil, errUnsupported("The zone %s has no elastic IPs: its network mode is %s.", eni.Zone, store.Zones.Get(r, eni.Zone).Network.Mode)
	}
	return eni, nil
}

// platforms says where an account's instances can be: outside of VPCs, in them, or both.
func platforms(r store.Reader, info *call.Info) (out []shape.AccountAttributeValue) {
	inVPCs := len(zones(r, info.Region)) == 0 || len(vpcZones(r, info.Region)) > 0
	if len(vpcZones(r, info.Region)) < len(zones(r, info.Region)) {
		out = append(out, shape.AccountAttributeValue{AttributeValue: "EC2"})
	}
	if inVPCs {
		out = append(out, shape.AccountAttributeValue{AttributeValue: "VPC"})
	}
	return out
}
