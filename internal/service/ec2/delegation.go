package ec2

import (
	"math/rand/v2"
	"net/netip"
	"slices"

	"karri.dev/internal/aws/awserr"
	shape "karri.dev/internal/aws/shape/ec2"
	"karri.dev/internal/cidr"
	"karri.dev/internal/resource"
	"karri.dev/internal/store"
)

// delegatedBits is the length of delegated IPv4 prefixes, in AWS and here.
const delegatedBits = 28

// readPrefixes gathers the IPv4 prefixes of a request, which has them instead of further addresses.
func (spec *interfaceSpec) readPrefixes(list []string, count *int) error {
	switch {
	case len(list) == 0 && count == nil:
		return nil
	case len(list) > 0 && count != nil:
		return errCombination("The parameters ipv4Prefixes and ipv4PrefixCount cannot be used together")
	case len(spec.secondary) > 0 || spec.count > 0:
		return errCombination("IPv4 prefixes cannot be given together with secondary private addresses or their count")
	case count != nil && (*count < 1 || *count > maxSecondary):
		return errValue(itoa(*count), "ipv4PrefixCount")
	case count != nil:
		spec.prefixes = make([]string, *count)
		return nil
	}
	for i, text := range list {
		p, err := netip.ParsePrefix(text)
		if err != nil || !p.Addr().Is4() || p.Bits() != delegatedBits || p != p.Masked() {
			return awserr.New("InvalidParameterValue", "Value (%s) for parameter ipv4Prefix is invalid. This is not a valid /%d prefix.", text, delegatedBits)
		}
		if slices.Contains(list[:i], text) {
			return awserr.New("InvalidParameterValue", "The prefix %s is given twice", text)
		}
	}
	spec.prefixes = list
	return nil
}

// prefixTexts gives the prefixes that a request names.
func prefixTexts(in []shape.Ipv4PrefixSpecificationRequest) (out []string) {
	for _, p := range in {
		out = append(out, p.Ipv4Prefix)
	}
	return out
}

func shapePrefixes(list []string) (out []shape.Ipv4PrefixSpecification) {
	for _, p := range list {
		out = append(out, shape.Ipv4PrefixSpecification{Ipv4Prefix: p})
	}
	return out
}

// takePrefix gives a /28 of a subnet none of whose addresses is taken: the one asked for or any, then of ranges that are
// reserved for prefixes before others.
func takePrefix(r store.Reader, sub *resource.Subnet, want string, taken map[string]bool, rnd *rand.Rand) (string, error) {
	block := prefixOf(sub.CIDR)
	room := cidr.Subnet(block)
	whole := func(p netip.Prefix) bool {
		return room.Contains(p.Addr()) && room.Contains(cidr.Nth(p, 1<<(32-delegatedBits)-1))
	}
	free := func(p netip.Prefix) bool {
		for ip := p.Addr(); p.Contains(ip); ip = ip.Next() {
			if taken[ip.String()] || store.InterfacesByIP.One(r, sub.VPCID+"/"+ip.String()) != nil {
				return false
			}
		}
		return true
	}
	take := func(p netip.Prefix) string {
		for ip := p.Addr(); p.Contains(ip); ip = ip.Next() {
			taken[ip.String()] = true
		}
		return p.String()
	}
	if want != "" {
		p := prefixOf(want)
		switch {
		case !block.Overlaps(p):
			return "", awserr.New("InvalidParameterValue", "The prefix %s does not fall within the subnet's address range", want)
		case !whole(p):
			return "", awserr.New("InvalidParameterValue", "The prefix %s has addresses of the subnet's reserved address range", want)
		case !free(p):
			return "", awserr.New("InvalidIPAddress.InUse", "Address range %s is in use.", want)
		}
		return take(p), nil
	}
	kept := reservationsOf(r, sub)
	n := 1 << max(delegatedBits-block.Bits(), 0)
	start := rnd.IntN(n)
	for _, reserved := range []bool{true, false} {
		for i := range n {
			p, ok := cidr.Split(block, delegatedBits, (start+i)%n)
			if !ok || !whole(p) || kept.forPrefixes(p) != reserved || !reserved && kept.overlap(p) || !free(p) {
				continue
			}
			return take(p), nil
		}
	}
	return "", awserr.New("InsufficientCidrBlocks", "The specified subnet '%s' does not have enough free cidr blocks to satisfy the request.", sub.ID)
}

// giveIPv4Prefixes gives an interface further prefixes: those named, and any for "".
func giveIPv4Prefixes(r store.Reader, e *resource.Interface, sub *resource.Subnet, wanted []string, taken map[string]bool, rnd *rand.Rand) error {
	for _, want := range wanted {
		p, err := takePrefix(r, sub, want, taken, rnd)
		if err != nil {
			return err
		}
		e.Prefixes = append(slices.Clip(e.Prefixes), p)
	}
	return nil
}
