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
	"karri.dev/internal/cidr"
	"karri.dev/internal/lifecycle"
	"karri.dev/internal/resource"
	"karri.dev/internal/store"
)

type rng = *rand.Rand

// netSpec is what a launch says of its one network interface, from either place where it can be said.
type netSpec struct {
	subnet      string
	ip          string
	groupIDs    []string
	groupNames  []string
	public      *bool
	description string
	keep        bool // the interface outlives the instance
}

// networkSpec gathers the network's part of a request.
func networkSpec(in *shape.RunInstancesRequest) (netSpec, error) {
	n := netSpec{subnet: in.SubnetId, ip: in.PrivateIpAddress, groupIDs: in.SecurityGroupIds, groupNames: in.SecurityGroups}
	switch len(in.NetworkInterfaces) {
	case 0:
	case 1:
		if n.subnet != "" || n.ip != "" || len(n.groupIDs) > 0 || len(n.groupNames) > 0 {
			return n, errCombination("Network interfaces and an instance-level subnet ID, private IP address or security groups may not be specified on the same request")
		}
		e := &in.NetworkInterfaces[0]
		switch {
		case e.DeviceIndex == nil:
			return n, errMissing("NetworkInterface.DeviceIndex")
		case *e.DeviceIndex != 0:
			return n, errCombination("The first network interface must have device index 0")
		case e.NetworkCardIndex != nil && *e.NetworkCardIndex != 0:
			return n, errValue(strconv.Itoa(*e.NetworkCardIndex), "networkCardIndex")
		case len(e.PrivateIpAddresses) > 1:
			return n, errUnsupported("Secondary private IP addresses are not supported by this cloud.")
		case len(e.PrivateIpAddresses) == 1 && e.PrivateIpAddress != "":
			return n, errCombination("The parameters privateIpAddress and privateIpAddresses cannot be used together")
		case len(e.PrivateIpAddresses) == 1 && !isTrue(e.PrivateIpAddresses[0].Primary):
			return n, errUnsupported("Secondary private IP addresses are not supported by this cloud.")
		}
		if err := oneOf("interfaceType", e.InterfaceType, "interface"); err != nil {
			return n, err
		}
		n = netSpec{subnet: e.SubnetId, ip: e.PrivateIpAddress, groupIDs: e.Groups, public: e.AssociatePublicIpAddress, description: e.Description, keep: isFalse(e.DeleteOnTermination)}
		if len(e.PrivateIpAddresses) == 1 {
			n.ip = e.PrivateIpAddresses[0].PrivateIpAddress
		}
	default:
		return n, errUnsupported("This cloud gives an instance one network interface.")
	}
	if n.ip != "" {
		ip, err := netip.ParseAddr(n.ip)
		if err != nil || !ip.Is4() {
			return n, awserr.New("InvalidParameterValue", "invalid value for parameter address: %s", n.ip)
		}
		if in.MaxCount > 1 {
			return n, errCombination("A private IP address may only be given when one instance is launched")
		}
	}
	if len(n.description) > 255 {
		return n, awserr.New("InvalidParameterValue", "The description has more than 255 characters.")
	}
	return n, nil
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
	if p.net.subnet != "" {
		sub, err := subnets.find(r, info, p.net.subnet)
		if err != nil {
			return err
		}
		if want != "" && sub.Zone != want {
			return awserr.New("InvalidParameterValue", "The subnet %s is not in the availability zone %s", sub.ID, want)
		}
		p.subnet, p.vpc = sub, store.VPCs.Get(r, sub.VPCID)
	} else {
		v := defaultVPC(r, info)
		if v == nil {
			return awserr.New("MissingInput", "No default VPC for this user")
		}
		p.vpc = v
		if p.subnet = defaultSubnet(r, v.ID, want); p.subnet == nil {
			return awserr.New("MissingInput", "No subnets found for the default VPC '%s'. Please specify a subnet.", v.ID)
		}
	}
	if p.vpc == nil {
		return fmt.Errorf("subnet %s is in the VPC %s, which does not exist", p.subnet.ID, p.subnet.VPCID)
	}
	p.public = p.subnet.MapPublicIP
	if p.net.public != nil {
		p.public = *p.net.public
	}
	if isTrue(p.net.public) && store.InternetGatewaysByVPC.One(r, p.vpc.ID) == nil {
		return awserr.New("InvalidParameterCombination", "The VPC %s has no internet gateway: no public address can be given", p.vpc.ID)
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
	if u := store.Usages.Get(r, lifecycle.ZoneUsage(zone)); u != nil {
		free -= u.VCPUs
	}
	return free
}

// findGroups gives the plan its security groups: those named, or the VPC's default one.
func (p *plan) findGroups(r store.Reader, info *call.Info) error {
	for _, id := range p.net.groupIDs {
		g, err := groups.find(r, info, id)
		if err != nil {
			return err
		}
		if g.VPCID != p.vpc.ID {
			return errCombination("Security group %s and subnet %s belong to different networks.", g.ID, p.subnet.ID)
		}
		p.groups = append(p.groups, g.ID)
	}
	for _, name := range p.net.groupNames {
		if strings.HasPrefix(name, "sg-") {
			return awserr.New("InvalidParameterValue", "Value (%s) for parameter groupName is invalid. It is an id: use SecurityGroupId.", name)
		}
		if p.net.subnet != "" && !p.vpc.Default {
			return errCombination("The parameter groupName cannot be used with the parameter subnet")
		}
		g := store.SecurityGroupsByName.One(r, p.vpc.ID+"/"+name)
		if g == nil {
			return awserr.New("InvalidGroup.NotFound", "The security group '%s' does not exist in VPC '%s'", name, p.vpc.ID)
		}
		p.groups = append(p.groups, g.ID)
	}
	if len(p.groups) == 0 {
		p.groups = []string{p.vpc.DefaultGroup}
	}
	slices.Sort(p.groups)
	p.groups = slices.Compact(p.groups)
	if len(p.groups) > maxGroupsPerInterface {
		return awserr.New("SecurityGroupsPerInterfaceLimitExceeded", "The maximum number of security groups per interface has been reached.")
	}
	return nil
}

// addressRoom is where a launch takes private addresses from.
type addressRoom struct {
	subnet cidr.Range
	fixed  netip.Addr // asked for, or zero
}

func newAddresses(tx *store.Tx, p *plan) (*addressRoom, error) {
	prefix, err := netip.ParsePrefix(p.subnet.CIDR)
	if err != nil {
		return nil, fmt.Errorf("subnet %s: %w", p.subnet.ID, err)
	}
	room := &addressRoom{subnet: cidr.Subnet(prefix)}
	if p.net.ip == "" {
		return room, nil
	}
	room.fixed = netip.MustParseAddr(p.net.ip) // networkSpec checked it
	if !prefix.Contains(room.fixed) {
		return nil, awserr.New("InvalidParameterValue", "Address %s does not fall within the subnet's address range", p.net.ip)
	}
	if !room.subnet.Contains(room.fixed) {
		return nil, awserr.New("InvalidParameterValue", "Address %s is in subnet's reserved address range", p.net.ip)
	}
	if store.InterfacesByIP.One(tx, p.vpc.ID+"/"+p.net.ip) != nil {
		return nil, awserr.New("InvalidIPAddress.InUse", "Address %s is in use.", p.net.ip)
	}
	return room, nil
}

// newInterface makes an instance's interface with free addresses. Nothing is written.
func (s *Service) newInterface(tx *store.Tx, p *plan, inst *resource.Instance, room *addressRoom, rnd rng) (*resource.Interface, error) {
	ip, ok := room.fixed, room.fixed.IsValid()
	if !ok {
		ip, ok = room.subnet.Free(rnd.Uint32(), func(a netip.Addr) bool { return store.InterfacesByIP.One(tx, p.vpc.ID+"/"+a.String()) != nil })
	}
	if !ok {
		return nil, awserr.New("InsufficientFreeAddressesInSubnet", "There are not enough free addresses in subnet '%s' to satisfy the requested number of instances.", p.subnet.ID)
	}
	public := ""
	if p.public {
		if public = s.freePublic(tx, rnd); public == "" {
			return nil, errNoPublic()
		}
	}
	owned := inst.Owned
	owned.Tags = p.tags["network-interface"]
	return &resource.Interface{
		Owned: owned, ID: s.IDs.Resource("eni-"), VPCID: p.vpc.ID, SubnetID: p.subnet.ID, Zone: p.subnet.Zone, MAC: mac(p.vpc.VNI, ip),
		PrivateIP: ip.String(), PublicIP: public, Groups: p.groups, Description: p.net.description, InstanceID: inst.ID,
		AttachmentID: s.IDs.Resource("eni-attach-"), DeleteOnEnd: !p.net.keep, AttachedAt: inst.LaunchedAt,
	}, nil
}

// mac makes an interface's MAC address of its VPC and private address: as that is unique in the VPC, so is
// this, without looking. It is a locally administered unicast address, as AWS's are.
func mac(vni uint32, ip netip.Addr) string {
	b := ip.As4()
	return fmt.Sprintf("0a:%02x:%02x:%02x:%02x:%02x", byte(vni), b[0], b[1], b[2], b[3])
}

func itoa(n int) string { return strconv.Itoa(n) }
