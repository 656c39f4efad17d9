package rules

import (
	"slices"
	"strings"

	"karri.dev/internal/network"
)

// What is denied goes to flow logs as the head of each packet, in this group of the kernel's log.
const (
	LogGroup = 20
	LogBytes = 128

	loggedPackets = 500 // a second and interface; what is beyond is denied all the same, and not counted
)

// Words of Log: who denied, the sender's side or the receiver's.
const (
	DeniedOut = "out"
	DeniedIn  = "in"
)

// logDenied lets the chains of groups and ACLs say what they deny, where the VPC has flow logs.
func logDenied(s *sets, v network.VPC, chains []Chain) []Chain {
	if len(v.FlowLogs) == 0 {
		return chains
	}
	s.add(Set{Name: "logged", Key: []Type{IfName}, Dynamic: true})
	for i := range chains {
		word := ""
		switch name := chains[i].Name; {
		case name == "ingress":
			word = DeniedIn
		case !strings.HasPrefix(name, "acl_") && !strings.HasPrefix(name, "mix_"):
			continue
		case strings.HasSuffix(name, "_out"):
			word = DeniedOut
		default:
			word = DeniedIn
		}
		rules := slices.Clone(chains[i].Rules)
		for j, r := range rules {
			if r[len(r)-1] == Do("drop") {
				rules[j] = append(slices.Clone(r[:len(r)-1]), Do("goto denied_"+word))
			}
		}
		chains[i].Rules = rules
	}
	for _, word := range []string{DeniedOut, DeniedIn} {
		chains = append(chains, Chain{Name: "denied_" + word, Rules: []Rule{
			{Over{Set: "logged", Rate: loggedPackets, Burst: 2 * loggedPackets}, Do("drop")},
			{Log(word), Do("drop")},
		}})
	}
	return chains
}
