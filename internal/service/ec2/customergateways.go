package ec2

import (
	"context"
	"net/netip"
	"strconv"

	"karri.dev/internal/aws/awserr"
	shape "karri.dev/internal/aws/shape/ec2"
	"karri.dev/internal/filter"
	"karri.dev/internal/resource"
	"karri.dev/internal/store"
)

// Limits of AWS on what belongs to VPN connections, a region.
const (
	maxCustomerGateways = 50
	maxVPNGateways      = 5
	maxVPNConnections   = 50
	maxVPNsOfGateway    = 10
	maxVPNRoutes        = 50 // static ones of a connection
)

const ipsec1 = "ipsec.1" // the only type of all of these

func checkIPsec(kind string) error {
	if kind == "" {
		return errMissing("type")
	}
	if kind != ipsec1 {
		return errValue(kind, "type")
	}
	return nil
}

// readASN gives the number of the customer's autonomous system.
func readASN(in *shape.CreateCustomerGatewayRequest) (int64, error) {
	switch {
	case in.BgpAsn != nil && in.BgpAsnExtended != nil:
		return 0, errCombination("Only one of bgpAsn and bgpAsnExtended can be given")
	case in.BgpAsn != nil:
		if *in.BgpAsn < 1 || *in.BgpAsn > 1<<31-1 {
			return 0, errValue(strconv.Itoa(*in.BgpAsn), "bgpAsn")
		}
		return int64(*in.BgpAsn), nil
	case in.BgpAsnExtended != nil:
		if *in.BgpAsnExtended < 1<<31 || *in.BgpAsnExtended > 1<<32-1 {
			return 0, errValue(strconv.FormatInt(*in.BgpAsnExtended, 10), "bgpAsnExtended")
		}
		return *in.BgpAsnExtended, nil
	}
	return 65000, nil
}

// readCustomerIP gives the customer's public address. Private ones are taken: the Internet of this cloud may be a
// company's own network.
func readCustomerIP(in *shape.CreateCustomerGatewayRequest) (string, error) {
	given := in.IpAddress
	switch {
	case in.IpAddress != "" && in.PublicIp != "" && in.IpAddress != in.PublicIp:
		return "", errCombination("Only one of ipAddress and publicIp can be given")
	case given == "":
		given = in.PublicIp
	}
	if given == "" {
		return "", errMissing("ipAddress")
	}
	ip, err := netip.ParseAddr(given)
	if err != nil || !ip.Is4() || ip.IsUnspecified() || ip.IsLoopback() || ip.IsMulticast() || ip.IsLinkLocalUnicast() || ip.As4()[0] == 0 || ip.As4()[0] >= 224 {
		return "", awserr.New("InvalidParameterValue", "Value (%s) for parameter ipAddress is invalid. Invalid IP address.", given)
	}
	return ip.String(), nil
}

// CreateCustomerGateway notes a customer's end of VPN connections. The same again is the one that is there.
func (s *Service) CreateCustomerGateway(ctx context.Context, in *shape.CreateCustomerGatewayRequest) (*shape.CreateCustomerGatewayResult, error) {
	info, err := s.begin(ctx, in)
	if err != nil {
		return nil, err
	}
	if err := checkIPsec(in.Type); err != nil {
		return nil, err
	}
	asn, err := readASN(in)
	if err != nil {
		return nil, err
	}
	ip, err := readCustomerIP(in)
	if err != nil {
		return nil, err
	}
	if len(in.DeviceName) > 255 {
		return nil, errValue(in.DeviceName, "deviceName")
	}
	tags, err := tagsOnCreate(in.TagSpecifications, "customer-gateway")
	if err != nil {
		return nil, err
	}
	id := s.IDs.Resource("cgw-")
	var made *resource.CustomerGateway
	err = s.update(ctx, in.DryRun, func(tx *store.Tx) error {
		n := 0
		for g := range store.CustomerGatewaysByOwner.By(tx, ownerKey(info)) {
			if g.State == resource.VPNDeleted {
				continue
			}
			if n++; g.IP == ip && g.ASN == asn && g.DeviceName == in.DeviceName {
				made = g
				return nil
			}
		}
		if n >= maxCustomerGateways {
			return awserr.New("CustomerGatewayLimitExceeded", "The maximum number of customer gateways has been reached.")
		}
		made = &resource.CustomerGateway{Owned: s.owned(info, tags["customer-gateway"]), ID: id, IP: ip, ASN: asn, DeviceName: in.DeviceName, State: resource.VPNAvailable}
		return store.CustomerGateways.Put(tx, made)
	})
	if err != nil {
		return nil, err
	}
	out := shapeCustomer(nil, made)
	return &shape.CreateCustomerGatewayResult{CustomerGateway: &out}, nil
}

func shapeCustomer(_ store.Reader, g *resource.CustomerGateway) shape.CustomerGateway {
	out := shape.CustomerGateway{CustomerGatewayId: g.ID, DeviceName: g.DeviceName, IpAddress: g.IP, State: g.State, Type: ipsec1, Tags: shapeTags(g.Tags)}
	if out.BgpAsn = strconv.FormatInt(g.ASN, 10); g.ASN >= 1<<31 {
		out.BgpAsn, out.BgpAsnExtended = "", out.BgpAsn
	}
	return out
}

// DeleteCustomerGateway deletes one that no VPN connection uses.
func (s *Service) DeleteCustomerGateway(ctx context.Context, in *shape.DeleteCustomerGatewayRequest) (*shape.DeleteCustomerGatewayResult, error) {
	info, err := s.begin(ctx, in)
	if err != nil {
		return nil, err
	}
	if in.CustomerGatewayId == "" {
		return nil, errMissing("customerGatewayId")
	}
	err = s.update(ctx, in.DryRun, func(tx *store.Tx) error {
		g, err := customerGateways.find(tx, info, in.CustomerGatewayId)
		switch {
		case err != nil:
			return err
		case g.State == resource.VPNDeleted:
			return nil
		case store.VPNConnectionsByCustomer.One(tx, g.ID) != nil:
			return awserr.New("IncorrectState", "The customer gateway is in use.")
		}
		next := *g
		next.State, next.EndedAt = resource.VPNDeleted, s.now()
		return store.CustomerGateways.Put(tx, &next)
	})
	if err != nil {
		return nil, err
	}
	return &shape.DeleteCustomerGatewayResult{}, nil
}

var customerFilters = &filter.Set[*resource.CustomerGateway]{
	Fields: map[string]func(*resource.CustomerGateway) []string{
		"bgp-asn":             func(g *resource.CustomerGateway) []string { return one(strconv.FormatInt(g.ASN, 10)) },
		"customer-gateway-id": func(g *resource.CustomerGateway) []string { return one(g.ID) },
		"ip-address":          func(g *resource.CustomerGateway) []string { return one(g.IP) },
		"state":               func(g *resource.CustomerGateway) []string { return one(g.State) },
		"type":                constant[*resource.CustomerGateway](ipsec1),
	},
	Tags: func(g *resource.CustomerGateway) map[string]string { return g.Tags },
}

// DescribeCustomerGateways lists customer gateways; deleted ones, too, for an hour.
func (s *Service) DescribeCustomerGateways(ctx context.Context, in *shape.DescribeCustomerGatewaysRequest) (*shape.DescribeCustomerGatewaysResult, error) {
	info, r, err := s.read(ctx, in, in.DryRun)
	if err != nil {
		return nil, err
	}
	match, err := compile(customerFilters, in.Filters)
	if err != nil {
		return nil, err
	}
	list, _, err := list(s, r, info, customerGateways, selection[resource.CustomerGateway]{op: "DescribeCustomerGateways", ids: in.CustomerGatewayIds, match: match})
	if err != nil {
		return nil, err
	}
	return &shape.DescribeCustomerGatewaysResult{CustomerGateways: showAll(r, list, shapeCustomer)}, nil
}
