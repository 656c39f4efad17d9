package ec2

import (
	"cmp"
	"context"
	"strconv"
	"time"

	shape "karri.dev/internal/aws/shape/ec2"
	"karri.dev/internal/filter"
	"karri.dev/internal/resource"
	"karri.dev/internal/store"
)

// attachedStatus is the state of a settled attachment.
const attachedStatus = "attached"

func attachStatus(e *resource.Interface) string { return cmp.Or(e.AttachState, attachedStatus) }

// ipOwner is who owns a public address of an interface: an account if it is an elastic IP, else "amazon".
func ipOwner(r store.Reader, a resource.PrivateAddress) string {
	if eip := store.Addresses.Get(r, a.AllocationID); eip != nil {
		return eip.AccountID
	}
	return "amazon"
}

// instanceOwner is who owns the instance that has the interface.
func instanceOwner(r store.Reader, e *resource.Interface) string {
	if inst := store.Instances.Get(r, e.InstanceID); inst != nil {
		return inst.AccountID
	}
	return e.AccountID
}

// identifiers gives groups with their names.
func identifiers(r store.Reader, ids []string) []shape.GroupIdentifier {
	out := make([]shape.GroupIdentifier, len(ids))
	for i, id := range ids {
		out[i].GroupId = id
		if g := store.SecurityGroups.Get(r, id); g != nil {
			out[i].GroupName = g.Name
		}
	}
	return out
}

// shapeInterface shows a network interface.
func (s *Service) shapeInterface(r store.Reader, e *resource.Interface) shape.NetworkInterface {
	v := interfaceView{e, r, s.cfg.Domain}
	out := shape.NetworkInterface{
		AvailabilityZone: e.Zone, AvailabilityZoneId: v.zoneID(), Description: e.Description, Groups: identifiers(r, e.Groups), InterfaceType: v.kind(),
		Ipv6Addresses: []shape.NetworkInterfaceIpv6Address{}, MacAddress: e.MAC, NetworkInterfaceId: e.ID, OwnerId: e.AccountID,
		PrivateDnsName: resource.PrivateName(e.Region, e.PrivateIP), PrivateIpAddress: e.PrivateIP, RequesterManaged: e.Requester != "", RequesterId: e.Requester,
		SourceDestCheck: !e.NoSourceCheck, Status: v.status(), SubnetId: e.SubnetID, TagSet: shapeTags(e.Tags), VpcId: e.VPCID,
	}
	for i, a := range e.Addresses() {
		address := shape.NetworkInterfacePrivateIpAddress{
			Primary: i == 0, PrivateDnsName: resource.PrivateName(e.Region, a.PrivateIP), PrivateIpAddress: a.PrivateIP,
		}
		if a.PublicIP != "" {
			address.Association = &shape.NetworkInterfaceAssociation{
				AllocationId: a.AllocationID, AssociationId: a.AssociationID, IpOwnerId: ipOwner(r, a),
				PublicDnsName: publicName(v, a), PublicIp: a.PublicIP,
			}
		}
		if i == 0 {
			out.Association = address.Association
		}
		out.PrivateIpAddresses = append(out.PrivateIpAddresses, address)
	}
	out.Ipv4Prefixes = shapePrefixes(e.IPv4Prefixes())
	for i, ip := range e.IPv6 {
		out.Ipv6Addresses = append(out.Ipv6Addresses, shape.NetworkInterfaceIpv6Address{Ipv6Address: ip, IsPrimaryIpv6: e.Primary6 && i == 0})
	}
	if len(e.IPv6) > 0 {
		out.Ipv6Address = e.IPv6[0]
	}
	switch {
	case e.InstanceID != "":
		out.Attachment = &shape.NetworkInterfaceAttachment{
			AttachTime: e.AttachedAt, AttachmentId: e.AttachmentID, DeleteOnTermination: e.DeleteOnEnd, DeviceIndex: e.DeviceIndex,
			InstanceId: e.InstanceID, InstanceOwnerId: instanceOwner(r, e), Status: attachStatus(e),
		}
	case e.Requester != "":
		out.Attachment = &shape.NetworkInterfaceAttachment{
			AttachTime: e.CreatedAt, AttachmentId: e.AttachmentID, DeviceIndex: 1, InstanceOwnerId: e.Requester, Status: attachedStatus,
		}
	}
	return out
}

// awsTime is how filters and texts write times.
func awsTime(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format("2006-01-02T15:04:05.000Z")
}

// interfaceView is an interface with what filters need beside it.
type interfaceView struct {
	*resource.Interface
	r      store.Reader
	domain string
}

func (v interfaceView) zoneID() string {
	if z := store.Zones.Get(v.r, v.Zone); z != nil {
		return z.ZoneID
	}
	return ""
}

func (v interfaceView) attached(value string) []string {
	if v.InstanceID == "" {
		return nil
	}
	return one(value)
}

// addressField makes a filter's field of all of an interface's private addresses.
func addressField(value func(v interfaceView, a resource.PrivateAddress) string) func(interfaceView) []string {
	return func(v interfaceView) (out []string) {
		for _, a := range v.Addresses() {
			out = append(out, one(value(v, a))...)
		}
		return out
	}
}

// publicName is the DNS name of a public address, which it has where its VPC gives names.
func publicName(v interfaceView, a resource.PrivateAddress) string {
	if vpc := store.VPCs.Get(v.r, v.VPCID); a.PublicIP == "" || vpc == nil || !vpc.DNSHostnames {
		return ""
	}
	return resource.PublicName(v.Region, a.PublicIP, v.domain)
}

func publicOwner(v interfaceView, a resource.PrivateAddress) string {
	if a.PublicIP == "" {
		return ""
	}
	return ipOwner(v.r, a)
}

func (v interfaceView) kind() string { return cmp.Or(v.Kind, "interface") }

func (v interfaceView) status() string {
	if v.InstanceID == "" && v.Requester == "" {
		return "available"
	}
	return "in-use"
}

func (v interfaceView) groupNames() (out []string) {
	for _, id := range v.Groups {
		if g := store.SecurityGroups.Get(v.r, id); g != nil {
			out = append(out, g.Name)
		}
	}
	return out
}

// interfaceFields are the filters on an interface; DescribeInstances has most of them too, after "network-interface.".
func interfaceFields() map[string]func(interfaceView) []string {
	type (
		view    = interfaceView
		address = resource.PrivateAddress
	)
	return map[string]func(view) []string{
		"addresses.association.allocation-id":   addressField(func(_ view, a address) string { return a.AllocationID }),
		"addresses.association.association-id":  addressField(func(_ view, a address) string { return a.AssociationID }),
		"addresses.association.ip-owner-id":     addressField(publicOwner),
		"addresses.association.owner-id":        addressField(publicOwner),
		"addresses.association.public-dns-name": addressField(publicName),
		"addresses.association.public-ip":       addressField(func(_ view, a address) string { return a.PublicIP }),
		"addresses.primary":                     addressField(func(v view, a address) string { return strconv.FormatBool(a.PrivateIP == v.PrivateIP) }),
		"addresses.private-dns-name":            addressField(func(v view, a address) string { return resource.PrivateName(v.Region, a.PrivateIP) }),
		"addresses.private-ip-address":          addressField(func(_ view, a address) string { return a.PrivateIP }),
		"association.allocation-id":             func(v view) []string { return one(v.AllocationID) },
		"association.association-id":            func(v view) []string { return one(v.AssociationID) },
		"association.ip-owner-id":               func(v view) []string { return one(publicOwner(v, v.Addresses()[0])) },
		"association.public-dns-name":           func(v view) []string { return one(publicName(v, v.Addresses()[0])) },
		"association.public-ip":                 func(v view) []string { return one(v.PublicIP) },
		"attachment.attach-time":                func(v view) []string { return v.attached(awsTime(v.AttachedAt)) },
		"attachment.attachment-id":              func(v view) []string { return v.attached(v.AttachmentID) },
		"attachment.delete-on-termination":      func(v view) []string { return v.attached(strconv.FormatBool(v.DeleteOnEnd)) },
		"attachment.device-index":               func(v view) []string { return v.attached(strconv.Itoa(v.DeviceIndex)) },
		"attachment.instance-id":                func(v view) []string { return v.attached(v.InstanceID) },
		"attachment.instance-owner-id":          func(v view) []string { return v.attached(instanceOwner(v.r, v.Interface)) },
		"attachment.network-card-index":         func(v view) []string { return v.attached("0") },
		"attachment.status":                     func(v view) []string { return v.attached(attachStatus(v.Interface)) },
		"availability-zone":                     func(v view) []string { return one(v.Zone) },
		"availability-zone-id":                  func(v view) []string { return one(v.zoneID()) },
		"description":                           func(v view) []string { return []string{v.Description} },
		"group-id":                              func(v view) []string { return v.Groups },
		"group-name":                            view.groupNames,
		"interface-type":                        func(v view) []string { return one(v.kind()) },
		"mac-address":                           func(v view) []string { return one(v.MAC) },
		"network-interface-id":                  func(v view) []string { return one(v.ID) },
		"operator.managed":                      constant[view]("false"),
		"owner-id":                              func(v view) []string { return one(v.AccountID) },
		"private-dns-name":                      func(v view) []string { return one(resource.PrivateName(v.Region, v.PrivateIP)) },
		"private-ip-address":                    func(v view) []string { return one(v.PrivateIP) },
		"public-dns-name":                       addressField(publicName),
		"requester-managed":                     func(v view) []string { return yes(v.Requester != "") },
		"requester-id":                          func(v view) []string { return one(v.Requester) },
		"ipv6-addresses.ipv6-address":           func(v view) []string { return v.IPv6 },
		"ipv6-addresses.is-primary-ipv6": func(v view) (out []string) {
			for i := range v.IPv6 {
				out = append(out, strconv.FormatBool(v.Primary6 && i == 0))
			}
			return out
		},
		"ipv6-native":       constant[view]("false"),
		"source-dest-check": func(v view) []string { return yes(!v.NoSourceCheck) },
		"status":            func(v view) []string { return one(v.status()) },
		"subnet-id":         func(v view) []string { return one(v.SubnetID) },
		"vpc-id":            func(v view) []string { return one(v.VPCID) },
	}
}

var interfaceFilters = &filter.Set[interfaceView]{
	Fields: interfaceFields(),
	Never:  []string{"operator.principal"},
	Tags:   func(v interfaceView) map[string]string { return v.Tags },
}

// DescribeNetworkInterfaces lists network interfaces.
func (s *Service) DescribeNetworkInterfaces(ctx context.Context, in *shape.DescribeNetworkInterfacesRequest) (*shape.DescribeNetworkInterfacesResult, error) {
	info, r, err := s.read(ctx, in, in.DryRun)
	if err != nil {
		return nil, err
	}
	match, err := compile(interfaceFilters, in.Filters)
	if err != nil {
		return nil, err
	}
	list, next, err := list(s, r, info, interfaces, selection[resource.Interface]{
		op: "DescribeNetworkInterfaces", ids: in.NetworkInterfaceIds, max: in.MaxResults, token: in.NextToken,
		match: on(match, func(e *resource.Interface) interfaceView { return interfaceView{e, r, s.cfg.Domain} }),
	})
	if err != nil {
		return nil, err
	}
	return &shape.DescribeNetworkInterfacesResult{NetworkInterfaces: showAll(r, list, s.shapeInterface), NextToken: next}, nil
}
