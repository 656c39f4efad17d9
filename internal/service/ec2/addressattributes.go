package ec2

import (
	"context"
	"regexp"
	"strings"

	"karri.dev/internal/aws/awserr"
	"karri.dev/internal/aws/call"
	shape "karri.dev/internal/aws/shape/ec2"
	"karri.dev/internal/resource"
	"karri.dev/internal/store"
)

// domainName is a name of at least two labels that can be in a PTR record.
var domainName = regexp.MustCompile(`^([A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?\.)+[A-Za-z]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.?$`)

// hasPTR says whether an elastic IP has a reverse name, with which its account keeps it.
func hasPTR(a *resource.Address) bool { return a.PTR != "" }

func shapeAddressAttribute(_ store.Reader, a *resource.Address) shape.AddressAttribute {
	return shape.AddressAttribute{PublicIp: a.PublicIP, AllocationId: a.AllocationID, PtrRecord: a.PTR}
}

// setPTR gives the caller's elastic IP a reverse name, or none.
func (s *Service) setPTR(ctx context.Context, info *call.Info, dryRun *bool, id, name string) (*shape.AddressAttribute, error) {
	if id == "" {
		return nil, errMissing("allocationId")
	}
	var out shape.AddressAttribute
	err := s.update(ctx, dryRun, func(tx *store.Tx) error {
		a, err := addresses.find(tx, info, id)
		if err != nil {
			return err
		}
		next := *a
		next.PTR = name
		out = shapeAddressAttribute(tx, &next)
		if name == "" {
			out.PtrRecord = a.PTR
			if a.PTR != "" {
				out.PtrRecordUpdate = &shape.PtrUpdateStatus{Status: "PENDING"}
			}
		}
		return store.Addresses.Put(tx, &next)
	})
	return &out, err
}

// ModifyAddressAttribute gives an elastic IP a reverse DNS name.
func (s *Service) ModifyAddressAttribute(ctx context.Context, in *shape.ModifyAddressAttributeRequest) (*shape.ModifyAddressAttributeResult, error) {
	info, err := s.begin(ctx, in)
	if err != nil {
		return nil, err
	}
	switch {
	case in.DomainName == "":
		return nil, errMissing("domainName")
	case len(in.DomainName) > 253 || !domainName.MatchString(in.DomainName):
		return nil, awserr.New("InvalidParameterValue", "Value (%s) for parameter domainName is invalid. It is not a fully qualified domain name.", in.DomainName)
	}
	out, err := s.setPTR(ctx, info, in.DryRun, in.AllocationId, strings.ToLower(strings.TrimSuffix(in.DomainName, "."))+".")
	if err != nil {
		return nil, err
	}
	return &shape.ModifyAddressAttributeResult{Address: out}, nil
}

// ResetAddressAttribute takes an elastic IP's reverse DNS name away.
func (s *Service) ResetAddressAttribute(ctx context.Context, in *shape.ResetAddressAttributeRequest) (*shape.ResetAddressAttributeResult, error) {
	info, err := s.begin(ctx, in)
	if err != nil {
		return nil, err
	}
	if in.Attribute == "" {
		return nil, errMissing("attribute")
	}
	if err := oneOf("attribute", in.Attribute, "domain-name"); err != nil {
		return nil, err
	}
	out, err := s.setPTR(ctx, info, in.DryRun, in.AllocationId, "")
	if err != nil {
		return nil, err
	}
	return &shape.ResetAddressAttributeResult{Address: out}, nil
}

// DescribeAddressesAttribute lists the reverse DNS names of elastic IPs that have one.
func (s *Service) DescribeAddressesAttribute(ctx context.Context, in *shape.DescribeAddressesAttributeRequest) (*shape.DescribeAddressesAttributeResult, error) {
	info, r, err := s.read(ctx, in, in.DryRun)
	if err != nil {
		return nil, err
	}
	if err := oneOf("attribute", in.Attribute, "domain-name"); err != nil {
		return nil, err
	}
	list, next, err := list(s, r, info, addresses, selection[resource.Address]{
		op: "DescribeAddressesAttribute", ids: in.AllocationIds, max: in.MaxResults, token: in.NextToken, match: hasPTR, least: 1,
	})
	if err != nil {
		return nil, err
	}
	return &shape.DescribeAddressesAttributeResult{Addresses: showAll(r, list, shapeAddressAttribute), NextToken: next}, nil
}
