package netns

import (
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"karri.dev/internal/network"
	"karri.dev/internal/network/rules"
)

var (
	topologies = flag.Int("topologies", 3, "how many random networks the reachability oracle tries")
	firstSeed  = flag.Uint64("seed", 1, "the seed of the first of them")
)

// TestOracle makes random networks and compares what packets do with what AWS's rules say, for every pair of
// guests and every port. The model below knows nothing of how the driver works.
func TestOracle(t *testing.T) {
	t.Parallel()
	for i := range *topologies {
		seed := *firstSeed + uint64(i)
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) { tryTopology(t, seed) })
	}
	t.Logf("%d topologies: %d probes were to get through, %d were not", *topologies, oracleYes.Load(), oracleNo.Load())
}

var oraclePorts = []int{7, 9}

const clientPort = 40000 // any that a client may have

var oracleYes, oracleNo atomic.Int64 // probes that got through as they should, and that did not

func tryTopology(t *testing.T, seed uint64) {
	r := rand.New(rand.NewPCG(seed, 0))
	v, w := peered()
	vpcs := []*network.VPC{&v, &w}
	if r.IntN(3) == 0 {
		v.RouteTables[1].Routes = nil
	}
	ports := func() network.PortRange {
		return []network.PortRange{{From: 7, To: 7}, {From: 9, To: 9}, {From: 0, To: 65535}}[r.IntN(3)]
	}
	cidr := func() netip.Prefix {
		return netip.MustParsePrefix([]string{
			"0.0.0.0/0", "10.0.0.0/24", "10.0.1.0/24", "10.1.0.0/16", "10.0.0.8/30",
			"::/0", "2001:db8:0:a000::/64", "2001:db8:0:a001::/64", "2001:db8:0:a100::/56", "2001:db8:0:a000::8/126",
		}[r.IntN(10)])
	}
	for _, v := range vpcs { // IPv6 ranges as the IPv4 ones: 10.a.b.0/24 beside 2001:db8:0:XXb::/64
		dualise(v)
	}
	for _, v := range vpcs {
		for i := range v.Peerings {
			v.Peerings[i].CIDRs = vpcs[0].CIDRs
			if v == vpcs[0] {
				v.Peerings[i].CIDRs = vpcs[1].CIDRs
			}
		}
		for i := range v.RouteTables {
			for _, route := range v.RouteTables[i].Routes {
				if route.Target == network.ToPeering && r.IntN(3) > 0 {
					route.Destination = v.Peerings[0].CIDRs[1]
					v.RouteTables[i].Routes = append(v.RouteTables[i].Routes, route)
				}
			}
			// And by IPv6 the ways out of the VPC, for everything or for the other one's range only.
			for _, to := range []netip.Prefix{everything6, v.Peerings[0].CIDRs[1]} {
				taken := slices.ContainsFunc(v.RouteTables[i].Routes, func(r network.Route) bool { return r.Destination == to })
				if way := r.IntN(8); way < 4 && !taken {
					target := []network.Target{network.InternetGateway, network.EgressOnly, network.InternetGateway, network.Blackhole}[way]
					v.RouteTables[i].Routes = append(v.RouteTables[i].Routes, network.Route{Destination: to, Target: target})
				}
			}
		}
	}
	members := map[string][]netip.Addr{}
	for i, v := range vpcs {
		v.ACLs, v.Groups = nil, nil
		for s := range v.Subnets {
			if r.IntN(2) == 0 {
				continue
			}
			a := network.ACL{ID: fmt.Sprintf("acl-%d%d", i, s)}
			for range r.IntN(4) {
				a.Entries = append(a.Entries, network.ACLEntry{Egress: r.IntN(2) == 0, Allow: r.IntN(3) > 0, Protocol: 6, CIDR: cidr(), Ports: ports()})
			}
			for _, out := range []bool{true, false} {
				a.Entries = append(a.Entries, network.ACLEntry{Egress: out, Allow: r.IntN(4) > 0, Protocol: -1, CIDR: everything},
					network.ACLEntry{Egress: out, Allow: r.IntN(4) > 0, Protocol: -1, CIDR: everything6})
			}
			v.ACLs, v.Subnets[s].ACL = append(v.ACLs, a), a.ID
		}
		for n := range 3 {
			at := v.Subnets[r.IntN(len(v.Subnets))]
			ip := at.CIDR.Addr().As4()
			ip[3] = byte(9 + n)
			e := nic(i*10+n, at.ID, netip.AddrFrom4(ip).String(), fmt.Sprintf("sg-%d%d", i, r.IntN(2)))
			long := at.CIDR6.Addr().As16()
			long[15] = ip[3]
			e.IPv6 = []netip.Addr{netip.AddrFrom16(long)}
			if r.IntN(2) == 0 {
				e.Groups = append(e.Groups, fmt.Sprintf("sg-%d2", i))
			}
			for _, g := range e.Groups {
				members[g] = append(members[g], e.PrivateIP, e.IPv6[0])
			}
			v.Interfaces = append(v.Interfaces, e)
		}
	}
	for i, v := range vpcs {
		for g := range 3 {
			group := network.Group{ID: fmt.Sprintf("sg-%d%d", i, g), Members: members[fmt.Sprintf("sg-%d%d", i, g)]}
			for range 1 + r.IntN(4) {
				rule := network.Rule{Egress: r.IntN(2) == 0, Protocol: 6, Ports: ports()}
				if r.IntN(2) == 0 {
					rule.CIDR = cidr()
				} else {
					rule.Group = fmt.Sprintf("sg-%d%d", r.IntN(2), r.IntN(3))
				}
				group.Rules = append(group.Rules, rule)
			}
			if r.IntN(2) == 0 {
				group.Rules = append(group.Rules, []network.Rule{all(true), all6(true)}[r.IntN(2)])
			}
			v.Groups = append(v.Groups, group)
		}
		for g := range 3 { // the other VPC's groups, whose members rules may mean
			id := fmt.Sprintf("sg-%d%d", 1-i, g)
			v.Groups = append(v.Groups, network.Group{ID: id, Members: members[id]})
		}
	}
	host := newLab(t)
	d := newDriver(t, host, Config{}, nil)
	apply(t, d, state6(v, w))
	type place struct {
		*guest
		vpc *network.VPC
	}
	var places []place
	for _, v := range vpcs {
		for _, e := range v.Interfaces {
			p := place{newGuest6(t, d, e, model{v, members}.subnet(e.PrivateIP).CIDR), v}
			for _, port := range oraclePorts {
				p.listen(port)
			}
			places = append(places, p)
		}
	}
	var probes sync.WaitGroup
	probe := func(from *lab, source, dest netip.Addr, port int, want bool) {
		wait := patience * 2
		if want {
			wait = patience * 25
		}
		c, _, err := from.dial(netip.AddrPortFrom(dest, uint16(port)).String(), wait)
		for end := time.Now().Add(wait); want && errors.Is(err, unix.EHOSTUNREACH) && time.Now().Before(end); {
			// On a busy machine a guest gives up on ARP before it is answered.
			c, _, err = from.dial(netip.AddrPortFrom(dest, uint16(port)).String(), wait)
		}
		if err == nil {
			c.Close()
		}
		if (err == nil) != want {
			t.Errorf("seed %d: %s → %s:%d: packets say %v, the rules %v (%v)", seed, source, dest, port, err == nil, want, err)
		}
		if want {
			oracleYes.Add(1)
		} else {
			oracleNo.Add(1)
		}
	}
	for _, to := range places { // from outside
		for _, port := range oraclePorts {
			m, dest := model{to.vpc, members}, to.nic.IPv6[0]
			at := m.subnet(dest)
			want := m.target(at, rules.HostAddr6) == network.InternetGateway && m.acl(at, false, rules.HostAddr6, port) &&
				m.acl(at, true, rules.HostAddr6, clientPort) && m.groups(to.nic, false, rules.HostAddr6, port)
			probes.Go(func() { probe(host, rules.HostAddr6, dest, port, want) })
		}
	}
	for _, from := range places {
		for _, to := range places {
			for _, port := range oraclePorts {
				if from.guest == to.guest {
					continue
				}
				for _, way := range [][2]netip.Addr{{from.nic.PrivateIP, to.nic.PrivateIP}, {from.nic.IPv6[0], to.nic.IPv6[0]}} {
					probes.Go(func() {
						want := reachable(model{from.vpc, members}, model{to.vpc, members}, from.nic, to.nic, way[0], way[1], port)
						probe(from.lab, way[0], way[1], port, want)
					})
				}
			}
		}
	}
	probes.Wait()
}

// model reads a VPC's settings as AWS's documentation explains them.
type model struct {
	*network.VPC
	members map[string][]netip.Addr
}

func reachable(from, to model, a, b network.Interface, source, dest netip.Addr, port int) bool {
	src, dst := from.subnet(source), to.subnet(dest)
	if from.VPC != to.VPC && (!from.leads(src, to, dst, dest, false) || !to.leads(dst, from, src, source, true)) {
		return false
	}
	if src.ID != dst.ID && !(from.acl(src, true, dest, port) && to.acl(dst, false, source, port) &&
		to.acl(dst, true, source, clientPort) && from.acl(src, false, dest, clientPort)) {
		return false
	}
	return from.groups(a, true, dest, port) && to.groups(b, false, source, port)
}

// dualise gives a VPC and its subnets IPv6 ranges that are made of their IPv4 ones.
func dualise(v *network.VPC) {
	six := func(p netip.Prefix, bits int) netip.Prefix {
		b := p.Addr().As4()
		return netip.PrefixFrom(netip.AddrFrom16([16]byte{0x20, 1, 0xd, 0xb8, 6: 0xa0 + b[1], 7: b[2]}), bits)
	}
	v.CIDRs = append(v.CIDRs, six(v.CIDRs[0], 56))
	for i := range v.Subnets {
		v.Subnets[i].CIDR6 = six(v.Subnets[i].CIDR, 64)
	}
}

func (m model) subnet(ip netip.Addr) network.Subnet {
	for _, s := range m.Subnets {
		if s.CIDR.Contains(ip) || s.CIDR6.Contains(ip) {
			return s
		}
	}
	return network.Subnet{}
}

// leads says whether a packet gets from a subnet into another VPC's. An answer passes where a question does not: into
// a subnet that has an egress-only gateway, but not out by one that has not seen the question.
func (m model) leads(s network.Subnet, to model, dst network.Subnet, ip netip.Addr, answer bool) bool {
	switch m.target(s, ip) {
	case network.ToPeering:
		return true
	case network.InternetGateway:
		return ip.Is6() && (to.out(dst, network.InternetGateway) || answer && to.out(dst, network.EgressOnly))
	case network.EgressOnly:
		return ip.Is6() && !answer && to.out(dst, network.InternetGateway)
	}
	return false
}

// target is where a subnet's route table leads an address.
func (m model) target(s network.Subnet, ip netip.Addr) (target network.Target) {
	best := -1
	for _, t := range m.RouteTables {
		for _, r := range t.Routes {
			if t.ID == s.RouteTable && r.Destination.Contains(ip) && r.Destination.Bits() > best {
				best, target = r.Destination.Bits(), r.Target
			}
		}
	}
	return target
}

// out says whether a subnet has an IPv6 route to such a gateway.
func (m model) out(s network.Subnet, target network.Target) bool {
	return slices.ContainsFunc(m.RouteTables, func(t network.RouteTable) bool {
		return t.ID == s.RouteTable && slices.ContainsFunc(t.Routes, func(r network.Route) bool { return r.Target == target && r.Destination.Addr().Is6() })
	})
}

func (m model) acl(s network.Subnet, egress bool, peer netip.Addr, port int) bool {
	for _, a := range m.ACLs {
		if a.ID != s.ACL {
			continue
		}
		for _, e := range a.Entries {
			if e.Egress == egress && e.CIDR.Contains(peer) && (e.Protocol == -1 || e.Ports.From <= port && port <= e.Ports.To) {
				return e.Allow
			}
		}
		return false
	}
	return true
}

func (m model) groups(e network.Interface, egress bool, peer netip.Addr, port int) bool {
	for _, id := range e.Groups {
		for _, g := range m.Groups {
			for _, r := range g.Rules {
				if g.ID != id || r.Egress != egress || r.Protocol != -1 && (port < r.Ports.From || port > r.Ports.To) {
					continue
				}
				if r.Group == "" && r.CIDR.Contains(peer) {
					return true
				}
				for _, ip := range m.members[r.Group] {
					if ip == peer {
						return true
					}
				}
			}
		}
	}
	return false
}
