package ec2

import (
	"context"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"karri.dev/internal/authz"
	"karri.dev/internal/aws/awserr"
	"karri.dev/internal/aws/call"
	shape "karri.dev/internal/aws/shape/ec2"
	"karri.dev/internal/resource"
	"karri.dev/internal/store"
)

// ruleRequest is what the four calls on rules share.
type ruleRequest struct {
	egress             bool
	groupID, groupName string
	permissions        []shape.IpPermission
	ruleIDs            []string
	// The flat form: one rule.
	cidr, protocol, sourceName, sourceOwner string
	from, to                                *int
	tags                                    resource.Tags
}

// flat says whether the request has any of the flat form's parameters.
func (q *ruleRequest) flat() bool {
	return q.cidr != "" || q.protocol != "" || q.sourceName != "" || q.sourceOwner != "" || q.from != nil || q.to != nil
}

// all gives the request's permissions, the flat form turned into the other.
func (q *ruleRequest) all() ([]shape.IpPermission, error) {
	if !q.flat() {
		return q.permissions, nil
	}
	switch {
	case len(q.permissions) > 0:
		return nil, errCombination("The parameter ipPermissions cannot be used with the parameters of a single rule")
	case q.cidr != "" && q.sourceName != "":
		return nil, errCombination("The parameters cidrIp and sourceSecurityGroupName cannot be used together")
	case q.cidr != "":
		return []shape.IpPermission{{IpProtocol: q.protocol, FromPort: q.from, ToPort: q.to, IpRanges: []shape.IpRange{{CidrIp: q.cidr}}}}, nil
	case q.sourceName == "":
		return nil, errMissing("cidrIp")
	}
	peer := []shape.UserIdGroupPair{{GroupName: q.sourceName, UserId: q.sourceOwner}}
	if q.protocol != "" {
		return []shape.IpPermission{{IpProtocol: q.protocol, FromPort: q.from, ToPort: q.to, UserIdGroupPairs: peer}}, nil
	}
	lo, hi, any := 0, 65535, -1
	return []shape.IpPermission{
		{IpProtocol: "tcp", FromPort: &lo, ToPort: &hi, UserIdGroupPairs: peer},
		{IpProtocol: "udp", FromPort: &lo, ToPort: &hi, UserIdGroupPairs: peer},
		{IpProtocol: "icmp", FromPort: &any, ToPort: &any, UserIdGroupPairs: peer},
	}, nil
}

// protocol gives a protocol as records have it.
func protocol(p string) (string, error) {
	switch p = strings.ToLower(p); p {
	case "":
		return "", errMissing("ipProtocol")
	case "tcp", "udp", "icmp", "icmpv6", "-1":
		return p, nil
	case "all":
		return "-1", nil
	case "6":
		return "tcp", nil
	case "17":
		return "udp", nil
	case "1":
		return "icmp", nil
	case "58":
		return "icmpv6", nil
	}
	if n, err := strconv.Atoi(p); err != nil || n < 0 || n > 255 || strconv.Itoa(n) != p {
		return "", awserr.New("InvalidPermission.Malformed", "Unsupported IP protocol \"%s\"  - supported: [tcp, udp, icmp]", p)
	}
	return p, nil
}

// ports gives a range as records have it.
func ports(proto string, from, to *int) (int, int, error) {
	switch proto {
	case "tcp", "udp":
		if from == nil || to == nil {
			return 0, 0, awserr.New("InvalidParameterValue", "Invalid value 'Must specify both from and to ports with TCP/UDP.' for portRange.")
		}
		if *from < 0 || *to > 65535 || *from > *to {
			return 0, 0, awserr.New("InvalidParameterValue", "Invalid TCP/UDP port range (%d:%d)", *from, *to)
		}
		return *from, *to, nil
	case "icmp", "icmpv6":
		kind, code := -1, -1
		if from != nil {
			kind = *from
		}
		if to != nil {
			code = *to
		}
		if kind < -1 || kind > 255 || code < -1 || code > 255 || (kind == -1 && code != -1) {
			return 0, 0, awserr.New("InvalidParameterValue", "ICMP code (%d) or type (%d) out of range", code, kind)
		}
		return kind, code, nil
	}
	return -1, -1, nil // other protocols have no ports; AWS ignores what was given
}

// rules turns permissions into rules, one for each peer. IDs are left empty.
func (q *ruleRequest) rules(r store.Reader, info *call.Info, group *resource.SecurityGroup) ([]resource.Rule, error) {
	perms, err := q.all()
	if err != nil {
		return nil, err
	}
	var out []resource.Rule
	for _, p := range perms {
		base := resource.Rule{Egress: q.egress}
		if base.Protocol, err = protocol(p.IpProtocol); err != nil {
			return nil, err
		}
		if base.FromPort, base.ToPort, err = ports(base.Protocol, p.FromPort, p.ToPort); err != nil {
			return nil, err
		}
		before := len(out)
		for _, v4 := range p.IpRanges {
			rule := base
			if rule.CIDR, err = canonical(v4.CidrIp, true); err != nil {
				return nil, err
			}
			rule.Description = v4.Description
			out = append(out, rule)
		}
		for _, v6 := range p.Ipv6Ranges {
			rule := base
			if rule.CIDR6, err = canonical(v6.CidrIpv6, false); err != nil {
				return nil, err
			}
			rule.Description = v6.Description
			out = append(out, rule)
		}
		for _, list := range p.PrefixListIds {
			rule := base
			l, err := prefixList(r, info, list.PrefixListId)
			if err != nil {
				return nil, err
			}
			rule.PrefixList, rule.Description = l.ID, list.Description
			out = append(out, rule)
		}
		for _, pair := range p.UserIdGroupPairs {
			rule := base
			peer, err := peerGroup(r, info, group, pair)
			if err != nil {
				return nil, err
			}
			rule.GroupID, rule.GroupOwner, rule.Description = peer.ID, peer.AccountID, pair.Description
			out = append(out, rule)
		}
		if len(out) == before {
			return nil, awserr.New("MissingParameter", "The request must contain a source or destination: a CIDR block, a prefix list or a security group")
		}
	}
	for i := range out {
		if err := checkGroupText("description", out[i].Description, 255); err != nil {
			return nil, err
		}
		if slices.ContainsFunc(out[:i], func(o resource.Rule) bool { return sameRule(&o, &out[i]) }) {
			return nil, awserr.New("InvalidParameterValue", "The same permission must not appear multiple times")
		}
	}
	return out, nil
}

// canonical gives a CIDR block without host bits, as AWS keeps it.
func canonical(block string, v4 bool) (string, error) {
	p, err := netip.ParsePrefix(block)
	if err != nil || p.Addr().Is4() != v4 || p.Addr().Is4In6() {
		return "", awserr.New("InvalidParameterValue", "CIDR block %s is malformed", block)
	}
	return p.Masked().String(), nil
}

// peerGroup gives the group that a rule names: one of the group's own VPC, or one of a VPC that is peered with it.
func peerGroup(r store.Reader, info *call.Info, group *resource.SecurityGroup, pair shape.UserIdGroupPair) (*resource.SecurityGroup, error) {
	if pair.GroupId == "" && pair.GroupName != "" {
		peer := peerNamed(r, info, group, pair)
		if peer == nil {
			return nil, groups.notFound(pair.GroupName)
		}
		return peer, nil
	}
	peer := store.SecurityGroups.Get(r, pair.GroupId)
	peered := peer != nil && peer.VPCID != group.VPCID && peeringBetween(r, group.VPCID, peer.VPCID) != nil
	if !peered {
		if pair.UserId != "" && pair.UserId != info.AccountID {
			return nil, groups.notFound(pair.GroupId)
		}
		var err error
		if peer, err = groups.find(r, info, pair.GroupId); err != nil {
			return nil, err
		}
	}
	if peer.VPCID != group.VPCID && !peered || pair.VpcId != "" && pair.VpcId != peer.VPCID {
		return nil, awserr.New("InvalidGroup.NotFound", "You have specified two resources that belong to different networks.")
	}
	if pair.UserId != "" && pair.UserId != peer.AccountID {
		return nil, groups.notFound(pair.GroupId)
	}
	return peer, nil
}

// sameRule compares what makes a rule, not its id, description and tags.
func sameRule(a, b *resource.Rule) bool {
	return a.Egress == b.Egress && a.Protocol == b.Protocol && a.FromPort == b.FromPort && a.ToPort == b.ToPort &&
		a.CIDR == b.CIDR && a.CIDR6 == b.CIDR6 && a.PrefixList == b.PrefixList && a.GroupID == b.GroupID
}

func describeRule(r *resource.Rule) string {
	peer := r.CIDR + r.CIDR6 + r.PrefixList + r.GroupID
	if r.FromPort < 0 {
		return fmt.Sprintf("peer: %s, %s, ALLOW", peer, strings.ToUpper(strings.Replace(r.Protocol, "-1", "ALL", 1)))
	}
	return fmt.Sprintf("peer: %s, %s, from port: %d, to port: %d, ALLOW", peer, strings.ToUpper(r.Protocol), r.FromPort, r.ToPort)
}

// authorize adds rules to a group.
func (s *Service) authorize(ctx context.Context, info *call.Info, dryRun *bool, q ruleRequest) ([]shape.SecurityGroupRule, error) {
	if len(q.permissions) == 0 && !q.flat() {
		return nil, errMissing("ipPermissions")
	}
	var out []shape.SecurityGroupRule
	err := s.update(ctx, dryRun, func(tx *store.Tx) error {
		out = nil
		group, err := groupOf(tx, info, q.groupID, q.groupName)
		if err != nil {
			return err
		}
		add, err := q.rules(tx, info, group)
		if err != nil {
			return err
		}
		next := *group
		next.Rules = slices.Clone(group.Rules)
		for _, rule := range add {
			if slices.ContainsFunc(group.Rules, func(o resource.Rule) bool { return sameRule(&o, &rule) }) {
				return awserr.New("InvalidPermission.Duplicate", "the specified rule \"%s\" already exists", describeRule(&rule))
			}
			rule.ID, rule.Tags = s.IDs.Resource("sgr-"), q.tags
			next.Rules = append(next.Rules, rule)
			out = append(out, shapeRule(&next, &rule))
		}
		if err := checkRuleLimit(tx, &next, q.egress); err != nil {
			return err
		}
		return store.SecurityGroups.Put(tx, &next)
	})
	return out, err
}

func checkRuleLimit(r store.Reader, g *resource.SecurityGroup, egress bool) error {
	if ruleWeight(g.Rules, egress, func(id string) int { return listWeight(r, id) }) > maxRulesPerGroup {
		return awserr.New("RulesPerSecurityGroupLimitExceeded", "The maximum number of rules per security group has been reached.")
	}
	return nil
}

// revoke removes rules from a group. In a default VPC rules that are not there are answered, elsewhere they
// are an error: as AWS does.
func (s *Service) revoke(ctx context.Context, info *call.Info, dryRun *bool, q ruleRequest) (out revoked, err error) {
	hasPermissions := len(q.permissions) > 0 || q.flat()
	switch {
	case !hasPermissions && len(q.ruleIDs) == 0:
		return out, awserr.New("MissingParameter", "Either 'ipPermissions' or 'securityGroupRuleIds' should be provided.")
	case hasPermissions && len(q.ruleIDs) > 0:
		return out, errCombination("The parameters ipPermissions and securityGroupRuleIds cannot be used together")
	}
	err = s.update(ctx, dryRun, func(tx *store.Tx) error {
		out = revoked{}
		group, err := groupOf(tx, info, q.groupID, q.groupName)
		if err != nil {
			return err
		}
		next := *group
		next.Rules = slices.Clone(group.Rules)
		for _, id := range q.ruleIDs {
			i := slices.IndexFunc(next.Rules, func(r resource.Rule) bool { return r.ID == id && r.Egress == q.egress })
			if i < 0 {
				return errNoRule(id)
			}
			out.rules = append(out.rules, shapeRevoked(group, &next.Rules[i]))
			next.Rules = slices.Delete(next.Rules, i, i+1)
		}
		var remove []resource.Rule
		if hasPermissions {
			if remove, err = q.rules(tx, info, group); err != nil {
				return err
			}
		}
		var missing []resource.Rule
		for _, rule := range remove {
			i := slices.IndexFunc(next.Rules, func(o resource.Rule) bool { return sameRule(&o, &rule) })
			if i < 0 {
				missing = append(missing, rule)
				continue
			}
			out.rules = append(out.rules, shapeRevoked(group, &next.Rules[i]))
			next.Rules = slices.Delete(next.Rules, i, i+1)
		}
		if len(missing) > 0 {
			vpc := store.VPCs.Get(tx, group.VPCID)
			if vpc == nil || !vpc.Default {
				return awserr.New("InvalidPermission.NotFound", "The specified rule does not exist in this security group.")
			}
			out.unknown = permissions(missing, q.egress)
		}
		return store.SecurityGroups.Put(tx, &next)
	})
	return out, err
}

// revoked is what became of a request to revoke rules.
type revoked struct {
	rules   []shape.RevokedSecurityGroupRule
	unknown []shape.IpPermission
}

func shapeRevoked(g *resource.SecurityGroup, r *resource.Rule) shape.RevokedSecurityGroupRule {
	return shape.RevokedSecurityGroupRule{
		SecurityGroupRuleId: r.ID, GroupId: g.ID, IsEgress: r.Egress, IpProtocol: r.Protocol, FromPort: r.FromPort, ToPort: r.ToPort,
		CidrIpv4: r.CIDR, CidrIpv6: r.CIDR6, PrefixListId: r.PrefixList, ReferencedGroupId: r.GroupID, Description: r.Description,
	}
}

func errNoRule(id string) error {
	return awserr.New("InvalidSecurityGroupRuleId.NotFound", "The security group rule ID '%s' does not exist", id)
}

// permissions shows rules of one direction as EC2's permissions: one for each protocol and range.
func permissions(rules []resource.Rule, egress bool) []shape.IpPermission {
	out := []shape.IpPermission{}
	type key struct {
		proto    string
		from, to int
	}
	at := map[key]int{}
	for i := range rules {
		r := &rules[i]
		if r.Egress != egress {
			continue
		}
		k := key{r.Protocol, r.FromPort, r.ToPort}
		n, ok := at[k]
		if !ok {
			n = len(out)
			at[k] = n
			p := shape.IpPermission{
				IpProtocol: r.Protocol, IpRanges: []shape.IpRange{}, Ipv6Ranges: []shape.Ipv6Range{},
				PrefixListIds: []shape.PrefixListId{}, UserIdGroupPairs: []shape.UserIdGroupPair{},
			}
			switch r.Protocol {
			case "tcp", "udp", "icmp", "icmpv6":
				from, to := r.FromPort, r.ToPort
				p.FromPort, p.ToPort = &from, &to
			}
			out = append(out, p)
		}
		switch p := &out[n]; {
		case r.GroupID != "":
			p.UserIdGroupPairs = append(p.UserIdGroupPairs, shape.UserIdGroupPair{GroupId: r.GroupID, UserId: r.GroupOwner, Description: r.Description})
		case r.PrefixList != "":
			p.PrefixListIds = append(p.PrefixListIds, shape.PrefixListId{PrefixListId: r.PrefixList, Description: r.Description})
		case r.CIDR6 != "":
			p.Ipv6Ranges = append(p.Ipv6Ranges, shape.Ipv6Range{CidrIpv6: r.CIDR6, Description: r.Description})
		default:
			p.IpRanges = append(p.IpRanges, shape.IpRange{CidrIp: r.CIDR, Description: r.Description})
		}
	}
	return out
}

func shapeRule(g *resource.SecurityGroup, rule *resource.Rule) shape.SecurityGroupRule {
	out := shape.SecurityGroupRule{
		SecurityGroupRuleId: rule.ID, GroupId: g.ID, GroupOwnerId: g.AccountID, IsEgress: rule.Egress, IpProtocol: rule.Protocol,
		FromPort: rule.FromPort, ToPort: rule.ToPort, CidrIpv4: rule.CIDR, CidrIpv6: rule.CIDR6, PrefixListId: rule.PrefixList, Description: rule.Description, Tags: shapeTags(rule.Tags),
		SecurityGroupRuleArn: "arn:aws:ec2:" + g.Region + ":" + g.AccountID + ":security-group-rule/" + rule.ID,
	}
	if rule.GroupID != "" {
		out.ReferencedGroupInfo = &shape.ReferencedSecurityGroup{GroupId: rule.GroupID, UserId: rule.GroupOwner}
	}
	return out
}

// taggedRules lets the tag operations see security group rules, which are parts of their group's record.
func taggedRules() tagged {
	return tagged{
		prefix: "sgr-", name: "security-group-rule", access: authz.Kind{
			ARN: func(b []byte, info *call.Info, name string) []byte {
				return appendARN(b, info, "security-group-rule", name)
			},
		},
		retag: func(tx *store.Tx, info *call.Info, id string, edit func(resource.Tags) (resource.Tags, error)) error {
			for g := range store.SecurityGroupsByOwner.By(tx, ownerKey(info)) {
				i := slices.IndexFunc(g.Rules, func(r resource.Rule) bool { return r.ID == id })
				if i < 0 {
					continue
				}
				next := *g
				next.Rules = slices.Clone(g.Rules)
				var err error
				if next.Rules[i].Tags, err = edit(g.Rules[i].Tags); err != nil {
					return err
				}
				return store.SecurityGroups.Put(tx, &next)
			}
			return errNoRule(id)
		},
		each: func(r store.Reader, info *call.Info, yield func(string, resource.Tags) bool) {
			tags := map[string]resource.Tags{}
			for g := range store.SecurityGroupsByOwner.By(r, ownerKey(info)) {
				for i := range g.Rules {
					tags[g.Rules[i].ID] = g.Rules[i].Tags
				}
			}
			for _, id := range slices.Sorted(maps.Keys(tags)) {
				if !yield(id, tags[id]) {
					return
				}
			}
		},
	}
}
