package ec2

import (
	"context"
	"strconv"
	"time"

	shape "karri.dev/internal/aws/shape/ec2"
	"karri.dev/internal/filter"
	"karri.dev/internal/resource"
	"karri.dev/internal/store"
)

// attachedStatus is the state of an interface's attachment.
const attachedStatus = "attached"

// ipOwner is who owns the public address of an interface: the account if it is an elastic IP, else "amazon".
func ipOwner(e *resource.Interface) string {
	if e.AllocationID != "" {
		return e.AccountID
	}
	return "amazon"
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
	private := resource.PrivateName(e.Region, e.PrivateIP)
	out := shape.NetworkInterface{
		AvailabilityZone: e.Zone, Description: e.Description, Groups: identifiers(r, e.Groups), InterfaceType: "interface",
		Ipv6Addresses: []shape.NetworkInterfaceIpv6Address{}, MacAddress: e.MAC, NetworkInterfaceId: e.ID, OwnerId: e.AccountID,
		PrivateDnsName: private, PrivateIpAddress: e.PrivateIP, RequesterManaged: false, SourceDestCheck: !e.NoSourceCheck,
		Status: "available", SubnetId: e.SubnetID, TagSet: shapeTags(e.Tags), VpcId: e.VPCID,
	}
	if e.PublicIP != "" {
		out.Association = &shape.NetworkInterfaceAssociation{
			AllocationId: e.AllocationID, AssociationId: e.AssociationID, IpOwnerId: ipOwner(e),
			PublicDnsName: resource.PublicName(e.Region, e.PublicIP, s.cfg.Domain), PublicIp: e.PublicIP,
		}
	}
	out.PrivateIpAddresses = []shape.NetworkInterfacePrivateIpAddress{{
		Association: out.Association, Primary: true, PrivateDnsName: private, PrivateIpAddress: e.PrivateIP,
	}}
	if e.InstanceID != "" {
		out.Status = "in-use"
		out.Attachment = &shape.NetworkInterfaceAttachment{
			AttachTime: e.AttachedAt, AttachmentId: e.AttachmentID, DeleteOnTermination: e.DeleteOnEnd, DeviceIndex: e.DeviceIndex,
			InstanceId: e.InstanceID, InstanceOwnerId: e.AccountID, Status: attachedStatus,
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

func (v interfaceView) associated(value string) []string {
	if v.PublicIP == "" {
		return nil
	}
	return one(value)
}

func (v interfaceView) publicName() []string {
	if v.PublicIP == "" {
		return nil
	}
	return one(resource.PublicName(v.Region, v.PublicIP, v.domain))
}

func (v interfaceView) status() string {
	if v.InstanceID == "" {
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
	type view = interfaceView
	return map[string]func(view) []string{
		"addresses.association.allocation-id":   func(v view) []string { return one(v.AllocationID) },
		"addresses.association.association-id":  func(v view) []string { return one(v.AssociationID) },
		"addresses.association.ip-owner-id":     func(v view) []string { return v.associated(ipOwner(v.Interface)) },
		"addresses.association.owner-id":        func(v view) []string { return v.associated(ipOwner(v.Interface)) },
		"addresses.association.public-dns-name": view.publicName,
		"addresses.association.public-ip":       func(v view) []string { return one(v.PublicIP) },
		"addresses.primary":                     constant[view]("true"),
		"addresses.private-dns-name":            func(v view) []string { return one(resource.PrivateName(v.Region, v.PrivateIP)) },
		"addresses.private-ip-address":          func(v view) []string { return one(v.PrivateIP) },
		"association.allocation-id":             func(v view) []string { return one(v.AllocationID) },
		"association.association-id":            func(v view) []string { return one(v.AssociationID) },
		"association.ip-owner-id":               func(v view) []string { return v.associated(ipOwner(v.Interface)) },
		"association.public-dns-name":           view.publicName,
		"association.public-ip":                 func(v view) []string { return one(v.PublicIP) },
		"attachment.attach-time":                func(v view) []string { return v.attached(awsTime(v.AttachedAt)) },
		"attachment.attachment-id":              func(v view) []string { return v.attached(v.AttachmentID) },
		"attachment.delete-on-termination":      func(v view) []string { return v.attached(strconv.FormatBool(v.DeleteOnEnd)) },
		"attachment.device-index":               func(v view) []string { return v.attached(strconv.Itoa(v.DeviceIndex)) },
		"attachment.instance-id":                func(v view) []string { return v.attached(v.InstanceID) },
		"attachment.instance-owner-id":          func(v view) []string { return v.attached(v.AccountID) },
		"attachment.network-card-index":         func(v view) []string { return v.attached("0") },
		"attachment.status":                     func(v view) []string { return v.attached(attachedStatus) },
		"availability-zone":                     func(v view) []string { return one(v.Zone) },
		"availability-zone-id":                  func(v view) []string { return one(v.zoneID()) },
		"description":                           func(v view) []string { return []string{v.Description} },
		"group-id":                              func(v view) []string { return v.Groups },
		"group-name":                            view.groupNames,
		"interface-type":                        constant[view]("interface"),
		"mac-address":                           func(v view) []string { return one(v.MAC) },
		"network-interface-id":                  func(v view) []string { return one(v.ID) },
		"operator.managed":                      constant[view]("false"),
		"owner-id":                              func(v view) []string { return one(v.AccountID) },
		"private-dns-name":                      func(v view) []string { return one(resource.PrivateName(v.Region, v.PrivateIP)) },
		"private-ip-address":                    func(v view) []string { return one(v.PrivateIP) },
		"public-dns-name":                       view.publicName,
		"requester-managed":                     constant[view]("false"),
		"source-dest-check":                     func(v view) []string { return yes(!v.NoSourceCheck) },
		"status":                                func(v view) []string { return one(v.status()) },
		"subnet-id":                             func(v view) []string { return one(v.SubnetID) },
		"vpc-id":                                func(v view) []string { return one(v.VPCID) },
	}
}

var interfaceFilters = &filter.Set[interfaceView]{
	Fields: interfaceFields(),
	Never:  []string{"ipv6-addresses.ipv6-address", "operator.principal", "requester-id"},
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
