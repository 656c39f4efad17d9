package ec2

import (
	"cmp"
	"context"
	"slices"
	"strconv"

	"karri.dev/internal/aws/awserr"
	"karri.dev/internal/aws/call"
	shape "karri.dev/internal/aws/shape/ec2"
	"karri.dev/internal/resource"
	"karri.dev/internal/store"
)

// Limits of AWS.
const (
	maxACLs    = 200 // of a VPC
	maxEntries = 20  // of a network ACL, for each direction
)

// aclAssociation is the id of a subnet's association with its network ACL.
func aclAssociation(sub *resource.Subnet) string {
	if sub.ACLAssoc != "" {
		return sub.ACLAssoc
	}
	return association("aclassoc-", sub.ID, "")
}

// CreateNetworkAcl makes a network ACL that denies everything.
func (s *Service) CreateNetworkAcl(ctx context.Context, in *shape.CreateNetworkAclRequest) (*shape.CreateNetworkAclResult, error) {
	info, err := s.begin(ctx, in)
	if err != nil {
		return nil, err
	}
	if in.VpcId == "" {
		return nil, errMissing("vpcId")
	}
	tags, err := tagsOnCreate(in.TagSpecifications, "network-acl")
	if err != nil {
		return nil, err
	}
	token, err := tokenOf(in.ClientToken, in.VpcId, in.TagSpecifications)
	if err != nil {
		return nil, err
	}
	id := s.IDs.Resource("acl-")
	var made *resource.NetworkACL
	err = s.update(ctx, in.DryRun, func(tx *store.Tx) error {
		v, err := vpcs.find(tx, info, in.VpcId)
		if err != nil {
			return err
		}
		count := 0
		for a := range store.NetworkACLsByVPC.By(tx, v.ID) {
			if token.same(a.Token) {
				made = a
				return token.check(a.Token)
			}
			count++
		}
		if count >= maxACLs {
			return awserr.New("NetworkAclLimitExceeded", "The maximum number of network ACLs has been reached.")
		}
		made = &resource.NetworkACL{Owned: s.owned(info, tags["network-acl"]), ID: id, VPCID: v.ID, Token: token.token}
		return store.NetworkACLs.Put(tx, made)
	})
	if err != nil {
		return nil, err
	}
	out := shapeACL(s.Store.Snapshot(), made)
	return &shape.CreateNetworkAclResult{NetworkAcl: &out, ClientToken: in.ClientToken}, nil
}

// DeleteNetworkAcl deletes a network ACL that no subnet has.
func (s *Service) DeleteNetworkAcl(ctx context.Context, in *shape.DeleteNetworkAclRequest) (*shape.DeleteNetworkAclResult, error) {
	info, err := s.begin(ctx, in)
	if err != nil {
		return nil, err
	}
	if in.NetworkAclId == "" {
		return nil, errMissing("networkAclId")
	}
	err = s.update(ctx, in.DryRun, func(tx *store.Tx) error {
		a, err := acls.find(tx, info, in.NetworkAclId)
		if err != nil {
			return err
		}
		if a.Default {
			return awserr.New("InvalidParameterValue", "cannot delete default network ACL %s", a.ID)
		}
		if has(store.SubnetsByVPC.By(tx, a.VPCID), func(sub *resource.Subnet) bool { return sub.NetworkACL == a.ID }) {
			return errDependent("networkAcl", a.ID)
		}
		store.NetworkACLs.Delete(tx, a.ID)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return &shape.DeleteNetworkAclResult{}, nil
}

// aclEntry makes an entry of what a caller says of it.
func aclEntry(in *shape.CreateNetworkAclEntryRequest) (e resource.ACLEntry, err error) {
	e = resource.ACLEntry{Number: in.RuleNumber, Egress: in.Egress, Allow: in.RuleAction == "allow"}
	switch {
	case in.NetworkAclId == "":
		return e, errMissing("networkAclId")
	case in.Protocol == "":
		return e, errMissing("protocol")
	case in.RuleAction == "":
		return e, errMissing("ruleAction")
	case in.RuleNumber < 1 || in.RuleNumber >= lastRule:
		return e, awserr.New("InvalidParameterValue", "Value (%d) for parameter ruleNumber is invalid. Rule number must be between 1 and %d.", in.RuleNumber, lastRule-1)
	case in.CidrBlock == "" && in.Ipv6CidrBlock == "":
		return e, awserr.New("MissingParameter", "Either 'cidrBlock' or 'ipv6CidrBlock' should be provided.")
	case in.CidrBlock != "" && in.Ipv6CidrBlock != "":
		return e, errCombination("Only one of 'cidrBlock' and 'ipv6CidrBlock' can be provided.")
	}
	if err := oneOf("ruleAction", in.RuleAction, "allow", "deny"); err != nil {
		return e, err
	}
	if in.CidrBlock != "" {
		if e.CIDR, err = canonical(in.CidrBlock, true); err != nil {
			return e, err
		}
	} else if e.CIDR6, err = canonical(in.Ipv6CidrBlock, false); err != nil {
		return e, err
	}
	proto, err := protocol(in.Protocol)
	if err != nil {
		return e, awserr.New("InvalidParameterValue", "Invalid value '%s' for protocol. Must be a protocol number or -1.", in.Protocol)
	}
	number := map[string]string{"tcp": "6", "udp": "17", "icmp": "1", "icmpv6": "58"}
	e.Protocol = cmp.Or(number[proto], proto)
	switch e.Protocol {
	case "6", "17":
		r := in.PortRange
		if r == nil || r.From == nil || r.To == nil {
			return e, awserr.New("InvalidParameterValue", "Invalid value 'Must specify both from and to ports with TCP/UDP.' for portRange.")
		}
		if e.FromPort, e.ToPort = *r.From, *r.To; e.FromPort < 0 || e.ToPort > 65535 || e.FromPort > e.ToPort {
			return e, awserr.New("InvalidParameterValue", "Invalid TCP/UDP port range (%d:%d)", e.FromPort, e.ToPort)
		}
	case "1", "58":
		c := in.IcmpTypeCode
		if c == nil || c.Type == nil {
			return e, awserr.New("InvalidParameterValue", "Invalid value 'Must specify ICMP type and code.' for icmpTypeCode.")
		}
		if e.FromPort, e.ToPort, err = ports("icmp", c.Type, c.Code); err != nil {
			return e, err
		}
	}
	return e, nil
}

// CreateNetworkAclEntry adds an entry.
func (s *Service) CreateNetworkAclEntry(ctx context.Context, in *shape.CreateNetworkAclEntryRequest) (*shape.CreateNetworkAclEntryResult, error) {
	info, err := s.begin(ctx, in)
	if err != nil {
		return nil, err
	}
	e, err := aclEntry(in)
	if err != nil {
		return nil, err
	}
	err = s.changeEntries(ctx, info, in.DryRun, in.NetworkAclId, e.Egress, e.Number, func(entries []resource.ACLEntry, at int) ([]resource.ACLEntry, error) {
		if at >= 0 {
			return nil, awserr.New("NetworkAclEntryAlreadyExists", "The network acl entry identified by %d already exists.", e.Number)
		}
		count := 0
		for _, o := range entries {
			if o.Egress == e.Egress {
				count++
			}
		}
		if count >= maxEntries {
			return nil, awserr.New("NetworkAclEntryLimitExceeded", "The maximum number of network ACL entries has been reached.")
		}
		return append(entries, e), nil
	})
	if err != nil {
		return nil, err
	}
	return &shape.CreateNetworkAclEntryResult{}, nil
}

// ReplaceNetworkAclEntry puts another entry in an entry's place.
func (s *Service) ReplaceNetworkAclEntry(ctx context.Context, in *shape.ReplaceNetworkAclEntryRequest) (*shape.ReplaceNetworkAclEntryResult, error) {
	info, err := s.begin(ctx, in)
	if err != nil {
		return nil, err
	}
	like := shape.CreateNetworkAclEntryRequest(*in)
	e, err := aclEntry(&like)
	if err != nil {
		return nil, err
	}
	err = s.changeEntries(ctx, info, in.DryRun, in.NetworkAclId, e.Egress, e.Number, func(entries []resource.ACLEntry, at int) ([]resource.ACLEntry, error) {
		if at < 0 {
			return nil, errNoEntry(in.NetworkAclId, e.Number)
		}
		entries[at] = e
		return entries, nil
	})
	if err != nil {
		return nil, err
	}
	return &shape.ReplaceNetworkAclEntryResult{}, nil
}

// DeleteNetworkAclEntry takes an entry away.
func (s *Service) DeleteNetworkAclEntry(ctx context.Context, in *shape.DeleteNetworkAclEntryRequest) (*shape.DeleteNetworkAclEntryResult, error) {
	info, err := s.begin(ctx, in)
	if err != nil {
		return nil, err
	}
	switch {
	case in.NetworkAclId == "":
		return nil, errMissing("networkAclId")
	case in.RuleNumber < 1 || in.RuleNumber >= lastRule:
		return nil, errValue(strconv.Itoa(in.RuleNumber), "ruleNumber")
	}
	err = s.changeEntries(ctx, info, in.DryRun, in.NetworkAclId, in.Egress, in.RuleNumber, func(entries []resource.ACLEntry, at int) ([]resource.ACLEntry, error) {
		if at < 0 {
			return nil, errNoEntry(in.NetworkAclId, in.RuleNumber)
		}
		return slices.Delete(entries, at, at+1), nil
	})
	if err != nil {
		return nil, err
	}
	return &shape.DeleteNetworkAclEntryResult{}, nil
}

func errNoEntry(acl string, number int) error {
	return awserr.New("InvalidNetworkAclEntry.NotFound", "The network acl entry identified by %d does not exist in %s.", number, acl)
}

// changeEntries changes an ACL's entries, which are kept in order of number. change gets a copy, and where
// the entry with this number is, or -1.
func (s *Service) changeEntries(ctx context.Context, info *call.Info, dryRun *bool, id string, egress bool, number int, change func(entries []resource.ACLEntry, at int) ([]resource.ACLEntry, error)) error {
	return s.update(ctx, dryRun, func(tx *store.Tx) error {
		a, err := acls.find(tx, info, id)
		if err != nil {
			return err
		}
		at := slices.IndexFunc(a.Entries, func(e resource.ACLEntry) bool { return e.Egress == egress && e.Number == number })
		next := *a
		if next.Entries, err = change(slices.Clone(a.Entries), at); err != nil {
			return err
		}
		slices.SortStableFunc(next.Entries, func(x, y resource.ACLEntry) int { return x.Number - y.Number })
		return store.NetworkACLs.Put(tx, &next)
	})
}

// ReplaceNetworkAclAssociation gives a subnet another network ACL.
func (s *Service) ReplaceNetworkAclAssociation(ctx context.Context, in *shape.ReplaceNetworkAclAssociationRequest) (*shape.ReplaceNetworkAclAssociationResult, error) {
	info, err := s.begin(ctx, in)
	if err != nil {
		return nil, err
	}
	switch {
	case in.AssociationId == "":
		return nil, errMissing("associationId")
	case in.NetworkAclId == "":
		return nil, errMissing("networkAclId")
	}
	id := s.IDs.Resource("aclassoc-")
	err = s.update(ctx, in.DryRun, func(tx *store.Tx) error {
		a, err := acls.find(tx, info, in.NetworkAclId)
		if err != nil {
			return err
		}
		for sub := range store.SubnetsByOwner.By(tx, ownerKey(info)) {
			if aclAssociation(sub) != in.AssociationId {
				continue
			}
			if sub.VPCID != a.VPCID {
				return awserr.New("InvalidParameterValue", "Network ACL %s and subnet %s belong to different networks", a.ID, sub.ID)
			}
			next := *sub
			next.NetworkACL, next.ACLAssoc = a.ID, id
			return store.Subnets.Put(tx, &next)
		}
		return awserr.New("InvalidAssociationID.NotFound", "The association ID '%s' does not exist", in.AssociationId)
	})
	if err != nil {
		return nil, err
	}
	return &shape.ReplaceNetworkAclAssociationResult{NewAssociationId: id}, nil
}
