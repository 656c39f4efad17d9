package rules

import (
	"fmt"
	"slices"

	"karri.dev/internal/network"
)

// acls gives the chains of network ACLs: stateless, before conntrack, and only where a packet crosses a subnet's
// border. An ACL that lets everything through has no chain.
func acls(f family, s *sets, v network.VPC, ps []port, gates []gate, overlay bool) []Chain {
	var here []network.Subnet
	for _, sub := range v.Subnets {
		if slices.ContainsFunc(ps, func(p port) bool { return p.SubnetID == sub.ID }) ||
			slices.ContainsFunc(gates, func(g gate) bool { return g.SubnetID == sub.ID }) || len(endpointsIn(v, sub)) > 0 {
			here = append(here, sub)
		}
	}
	same := s.set("samesub", InGroup, OutGroup)
	out, in := s.mapTo("acl_out", Verdict, InGroup), s.mapTo("acl_in", Verdict, OutGroup)
	leave, enter := s.mapTo("ep_acl_out", Verdict, f.source), s.mapTo("ep_acl_in", Verdict, f.dest) // of endpoints' subnets
	var within []Rule                                                                               // same subnet, one end on another host
	used := map[string]bool{}
	for _, sub := range here {
		group := fmt.Sprint(sub.Index)
		same.put("", group, group)
		if own := f.of(sub); overlay && own.IsValid() {
			within = append(within,
				Rule{Name{InName, OverlayName}, Group{OutGroup, sub.Index}, Prefix{f.source, own.Masked()}, Do("return")},
				Rule{Name{OutName, OverlayName}, Group{InGroup, sub.Index}, Prefix{f.dest, own.Masked()}, Do("return")})
		}
		filter := func(verdict string, egress bool) {
			devices, addresses := in, enter
			if egress {
				devices, addresses = out, leave
			}
			devices.put(verdict, group)
			for _, a := range endpointsIn(v, sub) {
				if !f.has(a) {
					continue
				}
				addresses.put(verdict, a.String())
			}
		}
		i := slices.IndexFunc(v.ACLs, func(a network.ACL) bool { return a.ID == sub.ACL })
		switch {
		case sub.ACL == "":
			continue
		case i < 0 || !plainID(sub.ACL): // unknown: nothing crosses
			filter("drop", true)
			filter("drop", false)
			continue
		}
		for _, egress := range []bool{true, false} {
			if !allowsAll(f, v.ACLs[i], egress) {
				filter("jump "+chainName(sub.ACL)+direction(egress), egress)
				used[sub.ACL] = true
			}
		}
	}
	acl := Chain{Name: "acl", Rules: []Rule{{In{Fields: Fields{InGroup, OutGroup}, Set: "samesub"}, Do("return")}}}
	acl.Rules = append(acl.Rules, within...)
	acl.Rules = append(acl.Rules, Rule{Jump{Fields{InGroup}, "acl_out"}}, Rule{Jump{Fields{OutGroup}, "acl_in"}})
	chains := []Chain{acl}
	for _, a := range v.ACLs {
		if used[a.ID] {
			chains = append(chains, aclChain(f, a, true), aclChain(f, a, false))
		}
	}
	return chains
}

func allowsAll(f family, a network.ACL, egress bool) bool {
	for _, e := range a.Entries {
		if e.Egress == egress && f.holds(e.CIDR) {
			return e.Allow && e.Protocol == -1 && e.CIDR.Bits() == 0
		}
	}
	return false
}

func direction(egress bool) string {
	if egress {
		return "_out"
	}
	return "_in"
}

func aclChain(f family, a network.ACL, egress bool) Chain {
	c, field := Chain{Name: chainName(a.ID) + direction(egress)}, f.source
	if egress {
		field = f.dest
	}
	for _, e := range a.Entries {
		if e.Egress != egress || !f.holds(e.CIDR) {
			continue
		}
		match, ok := traffic(e.Protocol, e.Ports)
		if !ok {
			continue
		}
		var rule Rule
		if e.CIDR.Bits() > 0 {
			rule = append(rule, Prefix{field, e.CIDR.Masked()})
		}
		verdict := Do("drop")
		if e.Allow {
			verdict = "return"
		}
		c.Rules = append(c.Rules, append(append(rule, match...), verdict))
	}
	c.Rules = append(c.Rules, Rule{Do("drop")})
	return c
}
