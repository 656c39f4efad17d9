package ec2

import (
	"context"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"karri.dev/internal/aws/awserr"
	shape "karri.dev/internal/aws/shape/ec2"
	"karri.dev/internal/filter"
	"karri.dev/internal/resource"
	"karri.dev/internal/store"
)

var dhcpFilters = &filter.Set[*resource.DHCPOptions]{
	Fields: map[string]func(*resource.DHCPOptions) []string{
		"dhcp-options-id": func(d *resource.DHCPOptions) []string { return one(d.ID) },
		"key": func(d *resource.DHCPOptions) (out []string) {
			for k := range d.Values {
				out = append(out, k)
			}
			return out
		},
		"value": func(d *resource.DHCPOptions) (out []string) {
			for _, v := range d.Values {
				out = append(out, v...)
			}
			return out
		},
		"owner-id": func(d *resource.DHCPOptions) []string { return one(d.AccountID) },
	},
	Tags: func(d *resource.DHCPOptions) map[string]string { return d.Tags },
}

// shapeOptions shows a set of DHCP options.
func shapeOptions(_ store.Reader, d *resource.DHCPOptions) shape.DhcpOptions {
	out := shape.DhcpOptions{DhcpOptionsId: d.ID, OwnerId: d.AccountID, Tags: shapeTags(d.Tags)}
	for _, key := range slices.Sorted(maps.Keys(d.Values)) {
		c := shape.DhcpConfiguration{Key: key}
		for _, v := range d.Values[key] {
			c.Values = append(c.Values, shape.AttributeValue{Value: v})
		}
		out.DhcpConfigurations = append(out.DhcpConfigurations, c)
	}
	return out
}

// DescribeDhcpOptions lists sets of DHCP options.
func (s *Service) DescribeDhcpOptions(ctx context.Context, in *shape.DescribeDhcpOptionsRequest) (*shape.DescribeDhcpOptionsResult, error) {
	info, r, err := s.read(ctx, in, in.DryRun)
	if err != nil {
		return nil, err
	}
	match, err := compile(dhcpFilters, in.Filters)
	if err != nil {
		return nil, err
	}
	list, next, err := list(s, r, info, dhcpOptions, selection[resource.DHCPOptions]{
		op: "DescribeDhcpOptions", ids: in.DhcpOptionsIds, max: in.MaxResults, token: in.NextToken, match: match,
	})
	if err != nil {
		return nil, err
	}
	return &shape.DescribeDhcpOptionsResult{DhcpOptions: showAll(r, list, shapeOptions), NextToken: next}, nil
}

// ownResolver is the name of the VPC's own DNS server in DHCP options; noOptions that of a set without any.
const (
	ownResolver = "AmazonProvidedDNS"
	noOptions   = "default"
)

const maxOptions = 100 // sets of an account in a region

// checkOption checks one option of a set.
func checkOption(key string, values []string) error {
	most := 1
	check := func(v string) bool { return v != "" && len(v) <= 253 }
	switch key {
	case "domain-name":
	case "domain-name-servers":
		most, check = 4, func(v string) bool { return v == ownResolver || isAddress(v) }
	case "ntp-servers", "netbios-name-servers":
		most, check = 4, isAddress
	case "netbios-node-type":
		check = func(v string) bool { return slices.Contains([]string{"1", "2", "4", "8"}, v) }
	default:
		return awserr.New("InvalidParameterValue", "Value (%s) for parameter name is invalid. Invalid DHCP option name", key)
	}
	if len(values) == 0 || len(values) > most {
		return awserr.New("InvalidParameterValue", "The DHCP option %s takes 1 to %d values", key, most)
	}
	for _, v := range values {
		if !check(v) {
			return awserr.New("InvalidParameterValue", "Value (%s) for parameter value is invalid. Invalid value for the DHCP option %s", v, key)
		}
	}
	return nil
}

func isAddress(v string) bool {
	ip, err := netip.ParseAddr(v)
	return err == nil && ip.Is4()
}

// CreateDhcpOptions makes a set of DHCP options.
func (s *Service) CreateDhcpOptions(ctx context.Context, in *shape.CreateDhcpOptionsRequest) (*shape.CreateDhcpOptionsResult, error) {
	info, err := s.begin(ctx, in)
	if err != nil {
		return nil, err
	}
	if len(in.DhcpConfigurations) == 0 {
		return nil, errMissing("dhcpConfiguration")
	}
	values := map[string][]string{}
	for _, c := range in.DhcpConfigurations {
		var list []string
		for _, v := range c.Values { // clients write lists and "a,b" alike
			for _, part := range strings.Split(v, ",") {
				list = append(list, strings.TrimSpace(part))
			}
		}
		if err := checkOption(c.Key, list); err != nil {
			return nil, err
		}
		if values[c.Key] != nil {
			return nil, awserr.New("InvalidParameterValue", "The DHCP option %s is given twice", c.Key)
		}
		values[c.Key] = list
	}
	tags, err := tagsOnCreate(in.TagSpecifications, "dhcp-options")
	if err != nil {
		return nil, err
	}
	d := &resource.DHCPOptions{Owned: s.owned(info, tags["dhcp-options"]), ID: s.IDs.Resource("dopt-"), Values: values}
	err = s.update(ctx, in.DryRun, func(tx *store.Tx) error {
		if dhcpOptions.count(tx, info) >= maxOptions {
			return awserr.New("DhcpOptionsLimitExceeded", "The maximum number of DHCP options sets has been reached.")
		}
		return store.DHCPOptions.Put(tx, d)
	})
	if err != nil {
		return nil, err
	}
	out := shapeOptions(nil, d)
	return &shape.CreateDhcpOptionsResult{DhcpOptions: &out}, nil
}

// DeleteDhcpOptions deletes a set that no VPC has.
func (s *Service) DeleteDhcpOptions(ctx context.Context, in *shape.DeleteDhcpOptionsRequest) (*shape.DeleteDhcpOptionsResult, error) {
	info, err := s.begin(ctx, in)
	if err != nil {
		return nil, err
	}
	if in.DhcpOptionsId == "" {
		return nil, errMissing("dhcpOptionsId")
	}
	err = s.update(ctx, in.DryRun, func(tx *store.Tx) error {
		d, err := dhcpOptions.find(tx, info, in.DhcpOptionsId)
		if err != nil {
			return err
		}
		if has(store.VPCsByOwner.By(tx, ownerKey(info)), func(v *resource.VPC) bool { return v.DHCPOptionsID == d.ID }) {
			return errDependent("dhcpOptions", d.ID)
		}
		store.DHCPOptions.Delete(tx, d.ID)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return &shape.DeleteDhcpOptionsResult{}, nil
}

// AssociateDhcpOptions gives a VPC another set, or none: "default".
func (s *Service) AssociateDhcpOptions(ctx context.Context, in *shape.AssociateDhcpOptionsRequest) (*shape.AssociateDhcpOptionsResult, error) {
	info, err := s.begin(ctx, in)
	if err != nil {
		return nil, err
	}
	switch {
	case in.DhcpOptionsId == "":
		return nil, errMissing("dhcpOptionsId")
	case in.VpcId == "":
		return nil, errMissing("vpcId")
	}
	err = s.update(ctx, in.DryRun, func(tx *store.Tx) error {
		if in.DhcpOptionsId != noOptions {
			if _, err := dhcpOptions.find(tx, info, in.DhcpOptionsId); err != nil {
				return err
			}
		}
		v, err := vpcs.find(tx, info, in.VpcId)
		if err != nil {
			return err
		}
		next := *v
		next.DHCPOptionsID = in.DhcpOptionsId
		return store.VPCs.Put(tx, &next)
	})
	if err != nil {
		return nil, err
	}
	return &shape.AssociateDhcpOptionsResult{}, nil
}
