package rules

import (
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strings"

	"karri.dev/internal/network"
)

// groups gives the forward chains: what conntrack knows passes; else the sender's groups must let it out and the
// receiver's let it in. One chain pair per group, one per distinct combination of groups; which combination a
// tap has is one lookup in a verdict map.
func groups(f family, s *sets, v network.VPC, ps []port, gates []gate, joined []network.Peering, gateway *vpn, overlay bool) []Chain {
	out, in := s.mapTo("eni_out", Verdict, InName), s.mapTo("eni_in", Verdict, OutName)
	open := []string{GatewayName, OverlayName} // what is beyond them has no group here
	for _, g := range gates {
		open = append(open, g.link)
	}
	for _, p := range joined {
		open = append(open, PeerName(p.ID))
	}
	if gateway != nil {
		open = append(open, gateway.link)
	}
	for _, name := range open {
		out.put("goto ingress", name)
		in.put("accept", name)
	}
	known := map[string]bool{}
	for _, g := range v.Groups {
		known[g.ID] = plainID(g.ID)
	}
	used := map[string]bool{}      // groups of local interfaces
	mixes := map[string][]string{} // chain stem → its groups
	mix := func(groups []string) string {
		ids := slices.DeleteFunc(slices.Clone(groups), func(id string) bool { return !known[id] })
		slices.Sort(ids)
		ids = slices.Compact(ids)
		for _, id := range ids {
			used[id] = true
		}
		stem := mixName(ids)
		mixes[stem] = ids
		return stem
	}
	for _, p := range ps {
		stem := mix(p.Groups)
		out.put("goto "+stem+"_out", p.tap)
		in.put("goto "+stem+"_in", p.tap)
	}
	inside := s.mapTo("ep_in", Verdict, f.dest)
	if !f.six {
		inside.put("accept", S3Addr.String()) // a gateway endpoint has no groups
	}
	for _, e := range v.Endpoints {
		for _, a := range e.Addresses {
			if f.has(a) {
				inside.put("goto "+mix(e.Groups)+"_in", a.String())
			}
		}
	}

	forward := Chain{Name: "forward", Base: &Base{"filter", "forward", 0, true}, Rules: []Rule{
		{Do("jump acl")},
		{State{Established}, Do("accept")},
		{State{Invalid}, Do("drop")},
		{State{Unknown}, In{Fields: Fields{OutName}, Set: Full}, Do("drop")},
		{Jump{Fields{InName}, "eni_out"}},
	}}
	if overlay { // between a peer and another host this one is on the way only, and may see just half of a connection
		for _, p := range joined {
			forward.Rules = append([]Rule{{Name{InName, PeerName(p.ID)}, Name{OutName, OverlayName}, Do("accept")}}, forward.Rules...)
		}
	}
	ingress := Chain{Name: "ingress", Rules: []Rule{{Jump{Fields{OutName}, "eni_in"}}, {Jump{Fields{f.dest}, "ep_in"}}, {Do("drop")}}}
	chains := []Chain{forward, ingress}

	peers := map[string]bool{} // groups that rules refer to
	for _, g := range v.Groups {
		if !used[g.ID] {
			continue
		}
		egress, inward := Chain{Name: chainName(g.ID) + "_out"}, Chain{Name: chainName(g.ID) + "_in"}
		for _, r := range g.Rules {
			if r.Group != "" && !known[r.Group] {
				continue // names a group that is gone: allows nothing
			}
			c, field, verdict := &inward, f.source, Do("accept")
			if r.Egress {
				c, field, verdict = &egress, f.dest, Do("goto ingress")
			}
			var rule Rule
			switch {
			case r.Group != "":
				peers[r.Group] = true
				rule = append(rule, In{Fields: Fields{field}, Set: chainName(r.Group) + "_m"})
			case !f.holds(r.CIDR):
				continue
			case r.CIDR.Bits() > 0:
				rule = append(rule, Prefix{field, r.CIDR.Masked()})
			}
			match, ok := traffic(r.Protocol, r.Ports)
			if !ok {
				continue
			}
			c.Rules = append(c.Rules, append(append(rule, match...), verdict))
		}
		chains = append(chains, egress, inward)
	}
	for _, g := range v.Groups {
		if !peers[g.ID] {
			continue
		}
		m := s.set(chainName(g.ID)+"_m", f.source)
		for _, a := range g.Members {
			if f.has(a) {
				m.put("", a.String())
			}
		}
	}
	stems := make([]string, 0, len(mixes))
	for stem := range mixes {
		stems = append(stems, stem)
	}
	slices.Sort(stems)
	for _, stem := range stems {
		for _, way := range []string{"_out", "_in"} {
			c := Chain{Name: stem + way}
			for _, id := range mixes[stem] {
				c.Rules = append(c.Rules, Rule{Do("jump " + chainName(id) + way)})
			}
			chains = append(chains, Chain{Name: c.Name, Rules: append(c.Rules, Rule{Do("drop")})})
		}
	}
	return chains
}

// chainName turns an id into a word that nft takes without quotes.
func chainName(id string) string { return strings.ReplaceAll(id, "-", "_") }

// mixName names a combination of groups.
func mixName(ids []string) string {
	sum := sha256.Sum256([]byte(strings.Join(ids, " ")))
	return "mix_" + hex.EncodeToString(sum[:6])
}

// traffic gives the terms for a protocol and its ports; false if no packet can match.
func traffic(protocol int, ports network.PortRange) (Rule, bool) {
	switch {
	case protocol == -1:
		return nil, true
	case protocol < 0 || protocol > 255:
		return nil, false
	}
	rule := Rule{Proto{uint8(protocol)}}
	switch protocol {
	case 6, 17:
		if ports.From < 0 || ports.From == 0 && ports.To == 65535 {
			return rule, true
		}
		if ports.To < ports.From || ports.To > 65535 {
			return nil, false
		}
		return append(rule, Ports{uint16(ports.From), uint16(ports.To)}), true
	case 1, 58:
		if ports.From < 0 {
			return rule, true
		}
		if ports.From > 255 || ports.To > 255 {
			return nil, false
		}
		return append(rule, ICMP{ports.From, ports.To, protocol == 58}), true
	}
	return rule, true
}
