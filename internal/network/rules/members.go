package rules

import "net/netip"

// MemberSet is the name of the set of a group's members; it is there where a rule names the group.
func MemberSet(group string) string { return chainName(group) + "_m" }

// WithMembers gives the set with other members.
func (s Set) WithMembers(members []netip.Addr) Set {
	g := &growing{Set: s, seen: map[string]bool{}}
	g.Elements = nil
	for _, a := range members {
		if (s.Key[0] == IPv4Addr) == a.Is4() && a.IsValid() && !a.IsUnspecified() {
			g.put("", a.String())
		}
	}
	return (&sets{order: []*growing{g}}).all()[0]
}
