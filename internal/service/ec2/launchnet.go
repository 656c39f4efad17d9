package ec2

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"karri.dev/internal/aws/awserr"
	"karri.dev/internal/aws/call"
	shape "karri.dev/internal/aws/shape/ec2"
	"karri.dev/internal/resource"
	"karri.dev/internal/store"
)

type rng = *rand.Rand

// netSpec is what a launch says of one network interface, from either place where it can be said.
type netSpec struct {
	device      int
	existing    string // an interface that is there already
	subnet      string
	addresses   interfaceSpec
	groupIDs    []string
	groupNames  []string
	public      *bool
	description string
	keep        bool // the interface outlives the instance
}

// networkSpecs gathers the network's part of a request, by device index.
func networkSpecs(in *shape.RunInstancesRequest) ([]netSpec, error) {
	if len(in.NetworkInterfaces) == 0 {
		addresses, err := readAddresses(in.PrivateIpAddress, nil, nil)
		if err != nil {
			return nil, err
		}
		if err := addresses.readIPv6(ipv6Texts(in.Ipv6Addresses), in.Ipv6AddressCount, in.EnablePrimaryIpv6); err != nil {
			return nil, err
		}
		if (addresses.ip != "" || len(addresses.six) > 0) && in.MaxCount > 1 {
			return nil, errOneAddress()
		}
		return []netSpec{{subnet: in.SubnetId, addresses: addresses, groupIDs: in.SecurityGroupIds, groupNames: in.SecurityGroups}}, nil
	}
	if in.SubnetId != "" || in.PrivateIpAddress != "" || len(in.Ipv6Addresses) > 0 || in.Ipv6AddressCount != nil || isTrue(in.EnablePrimaryIpv6) || len(in.SecurityGroupIds) > 0 || len(in.SecurityGroups) > 0 {
		return nil, errCombination("Network interfaces and an instance-level subnet ID, private IP address or security groups may not be specified on the same request")
	}
	var out []netSpec
	for i := range in.NetworkInterfaces {
		n, err := interfaceOf(&in.NetworkInterfaces[i], in.MaxCount)
		if err != nil {
			return nil, err
		}
		if slices.ContainsFunc(out, func(o netSpec) bool { return o.device == n.device }) {
			return nil, awserr.New("InvalidParameterValue", "Each network interface requires a unique device index.")
		}
		if len(in.NetworkInterfaces) > 1 && isTrue(n.public) {
			return nil, errCombination("The associatePublicIPAddress parameter cannot be specified when launching with multiple network interfaces.")
		}
		out = append(out, n)
	}
	slices.SortFunc(out, func(a, b netSpec) int { return a.device - b.device })
	if out[0].device != 0 {
		return nil, errCombination("The first network interface must have device index 0")
	}
	return out, nil
}

func errOneAddress() error {
	return errCombination("A private IP address may only be given when one instance is launched")
}

// interfaceOf reads one interface of a request.
func interfaceOf(e *shape.InstanceNetworkInterfaceSpecification, instances int) (n netSpec, err error) {
	switch {
	case e.DeviceIndex == nil:
		return n, errMissing("NetworkInterface.DeviceIndex")
	case *e.DeviceIndex < 0 || *e.DeviceIndex > 31:
		return n, errValue(strconv.Itoa(*e.DeviceIndex), "deviceIndex")
	case e.NetworkCardIndex != nil && *e.NetworkCardIndex != 0:
		return n, errValue(strconv.Itoa(*e.NetworkCardIndex), "networkCardIndex")
	case len(e.Description) > 255:
		return n, awserr.New("InvalidParameterValue", "The description has more than 255 characters.")
	}
	if err := oneOf("interfaceType", e.InterfaceType, "interface"); err != nil {
		return n, err
	}
	n = netSpec{
		device: *e.DeviceIndex, existing: e.NetworkInterfaceId, subnet: e.SubnetId, groupIDs: e.Groups, public: e.AssociatePublicIpAddress,
		description: e.Description, keep: isFalse(e.DeleteOnTermination),
	}
	if n.addresses, err = readAddresses(e.PrivateIpAddress, e.PrivateIpAddresses, e.SecondaryPrivateIpAddressCount); err != nil {
		return n, err
	}
	if err := n.addresses.readPrefixes(prefixTexts(e.Ipv4Prefixes), e.Ipv4PrefixCount); err != nil {
		return n, err
	}
	if err := n.addresses.readIPv6(ipv6Texts(e.Ipv6Addresses), e.Ipv6AddressCount, e.PrimaryIpv6); err != nil {
		return n, err
	}
	if instances > 1 && (n.addresses.ip != "" || len(n.addresses.secondary)+len(e.Ipv4Prefixes)+len(n.addresses.six) > 0) {
		return n, errOneAddress()
	}
	if n.existing == "" {
		return n, nil
	}
	switch {
	case instances > 1:
		return n, errCombination("A network interface may only be given when one instance is launched")
	case n.subnet != "" || len(n.groupIDs) > 0 || n.addresses.any() || n.description != "" || isTrue(n.public):
		return n, errCombination("A network interface that exists may not be given together with a subnet, security groups, addresses or a description")
	case isTrue(e.DeleteOnTermination):
		return n, errCombination("A network interface that exists stays when the instance ends; change that after the launch")
	}
	n.keep = true
	return n, nil
}

// card is a network interface of a launch with everything that it names looked up.
type card struct {
	netSpec
	existing *resource.Interface
	subnet   *resource.Subnet
	groups   []string
	slice    string // the group whose subnet it is in, in the network mode MANAGED: the first one that is named
	public   bool
}

// findSubnet gives the plan its subnet and VPC: the one named, or the default one of the zone asked for.
func (p *plan) findSubnet(r store.Reader, info *call.Info) error {
	want := ""
	if p.in.Placement != nil {
		want = p.in.Placement.AvailabilityZone
	}
	if p.in.Placement != nil && p.in.Placement.AvailabilityZoneId != "" {
		for _, z := range zones(r, info.Region) {
			if z.ZoneID == p.in.Placement.AvailabilityZoneId && (want == "" || want == z.Name) {
				want = z.Name
			}
		}
		if want == "" || store.Zones.Get(r, want) == nil || store.Zones.Get(r, want).ZoneID != p.in.Placement.AvailabilityZoneId {
			return awserr.New("InvalidParameterValue", "Invalid availability zone-id: [%s]", p.in.Placement.AvailabilityZoneId)
		}
	}
	if want != "" {
		if _, err := zone(r, info.Region, want); err != nil {
			return err
		}
	}
	first := p.nets[0]
	named := first.subnet
	if first.existing != "" {
		e, err := interfaces.find(r, info, first.existing)
		if err != nil {
			return err
		}
		named = e.SubnetID
	}
	if named != "" {
		sub, err := subnets.find(r, info, named)
		if err != nil {
			return err
		}
		if want != "" && sub.Zone != want {
			return awserr.New("InvalidParameterValue", "The subnet %s is not in the availability zone %s", sub.ID, want)
		}
		p.subnet, p.vpc = sub, store.VPCs.Get(r, sub.VPCID)
	} else {
		if z := flatZone(r, info, want); z != nil {
			return p.onFlat(z)
		}
		v := home(r, info)
		if v == nil {
			return awserr.New("MissingInput", "No default VPC for this user")
		}
		if p.vpc = v; !resource.InVPC(v.ID) {
			return p.onClassic(r, info, want)
		}
		if p.subnet = defaultSubnet(r, v.ID, want); p.subnet == nil {
			return awserr.New("MissingInput", "No subnets found for the default VPC '%s'. Please specify a subnet.", v.ID)
		}
	}
	if p.vpc == nil {
		return fmt.Errorf("subnet %s is in the VPC %s, which does not exist", p.subnet.ID, p.subnet.VPCID)
	}
	if isTrue(first.public) && store.InternetGatewaysByVPC.One(r, p.vpc.ID) == nil {
		return awserr.New("InvalidParameterCombination", "The VPC %s has no internet gateway: no public address can be given", p.vpc.ID)
	}
	return nil
}

// findCards looks up what the launch says of each of its interfaces.
func (p *plan) findCards(r store.Reader, info *call.Info) error {
	if len(p.nets) > p.kind.MaxInterfaces() {
		return awserr.New("AttachmentLimitExceeded", "Interface count %d exceeds the limit for %s", len(p.nets), p.kind.Name)
	}
	for i, n := range p.nets {
		c := card{netSpec: n, subnet: p.subnet}
		if i > 0 && n.existing == "" {
			sub, err := subnets.find(r, info, n.subnet)
			if err != nil {
				return err
			}
			c.subnet = sub
		}
		addresses, six, prefixes := 1+len(n.addresses.secondary)+n.addresses.count, len(n.addresses.six)+n.addresses.sixCount, len(n.addresses.prefixes)
		if n.existing != "" {
			e, err := interfaces.find(r, info, n.existing)
			if err != nil {
				return err
			}
			if e.InstanceID != "" || e.Requester != "" {
				return awserr.New("InvalidNetworkInterface.InUse", "Interface: [%s] in use.", e.ID)
			}
			if slices.ContainsFunc(p.cards, func(o card) bool { return o.existing != nil && o.existing.ID == e.ID }) {
				return awserr.New("InvalidParameterValue", "The network interface '%s' is given twice", e.ID)
			}
			c.existing, c.subnet, addresses, six, prefixes = e, store.Subnets.Get(r, e.SubnetID), len(e.Addresses()), len(e.IPv6), len(e.Prefixes)
		}
		if c.subnet.Zone != p.subnet.Zone {
			return errCombination("You may not attach a network interface to an instance if they are not in the same availability zone")
		}
		if c.subnet.VPCID != p.vpc.ID {
			return errUnsupported("Interfaces of one instance in several VPCs are not supported by this cloud.")
		}
		if err := addressesFit(p.kind, addresses, six, prefixes); err != nil {
			return err
		}
		if c.public = c.subnet.MapPublicIP && len(p.nets) == 1; n.public != nil {
			c.public = *n.public
		}
		if c.existing == nil {
			var err error
			if c.groups, c.slice, err = p.findGroups(r, info, &n); err != nil {
				return err
			}
		}
		p.cards = append(p.cards, c)
	}
	return nil
}

// defaultSubnet gives the VPC's default subnet in a zone. Where the zone is left to the cloud, it is the one
// with most free vCPUs.
func defaultSubnet(r store.Reader, vpc, zone string) *resource.Subnet {
	var all []*resource.Subnet
	for s := range store.SubnetsByVPC.By(r, vpc) {
		if s.Default && (zone == "" || s.Zone == zone) {
			all = append(all, s)
		}
	}
	if len(all) < 2 {
		return append(all, nil)[0]
	}
	return slices.MaxFunc(all, func(a, b *resource.Subnet) int {
		if d := freeVCPUs(r, a.Zone) - freeVCPUs(r, b.Zone); d != 0 {
			return d
		}
		return strings.Compare(b.Zone, a.Zone)
	})
}

func freeVCPUs(r store.Reader, zone string) int {
	free := 0
	for n := range store.NodesByZone.By(r, zone) {
		if n.Up && !n.Revoked {
			free += n.Capacity.VCPUs
		}
	}
	return free - int(store.InstancesVCPUs.Sum(r, store.ZoneKey(zone)))
}

// findGroups gives an interface's security groups, and which comes first: those named, or the VPC's default one.
func (p *plan) findGroups(r store.Reader, info *call.Info, n *netSpec) (out []string, first string, err error) {
	for _, id := range n.groupIDs {
		g, err := groups.find(r, info, id)
		if err != nil {
			return nil, "", err
		}
		if g.VPCID != p.vpc.ID {
			return nil, "", errCombination("Security group %s and subnet %s belong to different networks.", g.ID, p.subnet.ID)
		}
		out = append(out, g.ID)
	}
	for _, name := range n.groupNames {
		if strings.HasPrefix(name, "sg-") {
			return nil, "", awserr.New("InvalidParameterValue", "Value (%s) for parameter groupName is invalid. It is an id: use SecurityGroupId.", name)
		}
		if n.subnet != "" && !p.vpc.Default && resource.InVPC(p.vpc.ID) {
			return nil, "", errCombination("The parameter groupName cannot be used with the parameter subnet")
		}
		g := groupNamed(r, info, p.vpc.ID, name)
		if g == nil {
			return nil, "", awserr.New("InvalidGroup.NotFound", "The security group '%s' does not exist in VPC '%s'", name, shownVPC(p.vpc.ID))
		}
		out = append(out, g.ID)
	}
	if len(out) == 0 && p.flat == nil {
		out = []string{p.defaultGroup(r, info)}
	}
	if len(out) > 0 {
		first = out[0]
	}
	slices.Sort(out)
	out = slices.Compact(out)
	if len(out) > maxGroupsPerInterface {
		return nil, "", awserr.New("SecurityGroupsPerInterfaceLimitExceeded", "The maximum number of security groups per interface has been reached.")
	}
	return out, first, nil
}

// putInterfaces gives an instance its interfaces and writes them.
func (s *Service) putInterfaces(tx *store.Tx, p *plan, inst *resource.Instance, rnd rng) error {
	for i := range p.cards {
		c := &p.cards[i]
		eni, err := s.newInterface(tx, p, c, inst, rnd)
		if err != nil {
			return err
		}
		eni.InstanceID, eni.AttachmentID, eni.DeviceIndex = inst.ID, s.IDs.Resource("eni-attach-"), c.device
		eni.DeleteOnEnd, eni.AttachedAt = !c.keep, inst.LaunchedAt
		if err := store.Interfaces.Put(tx, eni); err != nil {
			return err
		}
		inst.Interfaces = append(inst.Interfaces, eni.ID)
	}
	return nil
}

// newInterface makes an interface with free addresses, or gives a copy of the one that is there already.
func (s *Service) newInterface(tx *store.Tx, p *plan, c *card, inst *resource.Instance, rnd rng) (*resource.Interface, error) {
	if c.existing != nil {
		next := *c.existing
		return &next, nil
	}
	owned := inst.Owned
	owned.Tags = p.tags["network-interface"]
	eni := &resource.Interface{Owned: owned, ID: s.IDs.Resource("eni-"), Groups: c.groups, Description: c.description}
	if p.flat != nil {
		return eni, flatCard(tx, eni, p.flat, rnd)
	}
	if err := s.giveClassic(tx, p, c, eni); err != nil {
		return nil, err
	}
	if err := giveAddresses(tx, eni, c.subnet, c.addresses, rnd); err != nil {
		return nil, err
	}
	if c.public {
		if eni.PublicIP = s.freePublic(tx, rnd); eni.PublicIP == "" {
			return nil, errNoPublic()
		}
	}
	return eni, nil
}

// mac makes an interface's MAC address of its VPC and private address: as that is unique in the VPC, so is
// this, without looking. It is a locally administered unicast address, as AWS's are.
func mac(vni uint32, ip netip.Addr) string {
	b := ip.As4()
	return fmt.Sprintf("0a:%02x:%02x:%02x:%02x:%02x", byte(vni), b[0], b[1], b[2], b[3])
}

func itoa(n int) string { return strconv.Itoa(n) }
