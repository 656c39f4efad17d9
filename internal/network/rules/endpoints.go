package rules

import (
	"fmt"
	"net/netip"
	"slices"

	"karri.dev/internal/network"
)

// endpoints gives the chains before the cloud's API at the addresses of VPC endpoints, which every host of the VPC
// has itself. A packet is judged as one to another guest would be: by the sender's ACL and groups, by the endpoint's
// ACL and groups, and S3Addr by whether the sender's route table leads to a gateway endpoint.
func endpoints(s *sets, v network.VPC) []Chain {
	all, same, tables := s.set("endpoints", IPDest), s.set("ep_same", InGroup, IPDest), s.set("ep_tables", Marked)
	all.put("", S3Addr.String())
	for _, sub := range v.Subnets {
		for _, a := range endpointsIn(v, sub) {
			all.put("", a.String())
			same.put("", fmt.Sprint(sub.Index), a.String())
		}
	}
	for _, t := range v.RouteTables {
		if slices.ContainsFunc(t.Routes, func(r network.Route) bool { return r.Target == network.ToGatewayService }) {
			tables.put("", fmt.Sprint(t.Index))
		}
	}
	return []Chain{
		{Name: "endpoint", Rules: []Rule{
			{Prefix{IPDest, host(S3Addr)}, In{Fields: Fields{Marked}, Set: "ep_tables", Not: true}, Do("drop")},
			{Do("jump ep_acl")},
			{State{Established}, Do("accept")},
			{State{New}, Over{Set: "rate", Rate: servicePackets, Burst: serviceBurst}, Do("drop")},
			{State{New}, Conns{"conns", serviceConns}, Do("drop")},
			{Jump{Fields{InName}, "eni_out"}},
			{Do("drop")},
		}},
		{Name: "ep_acl", Rules: []Rule{
			{In{Fields: Fields{InGroup, IPDest}, Set: "ep_same"}, Do("return")},
			{Jump{Fields{InGroup}, "acl_out"}},
			{Jump{Fields{IPDest}, "ep_acl_in"}},
		}},
		{Name: "ep_answer", Base: &Base{"filter", "output", 0, false}, Rules: []Rule{
			{In{Fields: Fields{IPSource}, Set: "endpoints", Not: true}, Do("accept")},
			{In{Fields: Fields{OutGroup, IPSource}, Set: "ep_same"}, Do("accept")},
			{Jump{Fields{IPSource}, "ep_acl_out"}},
			{Jump{Fields{OutGroup}, "acl_in"}},
		}},
	}
}

// endpointsIn gives the addresses of interface endpoints in a subnet.
func endpointsIn(v network.VPC, sub network.Subnet) (out []netip.Addr) {
	for _, e := range v.Endpoints {
		for _, a := range e.Addresses {
			if v4(a) && sub.CIDR.Contains(a) {
				out = append(out, a)
			}
		}
	}
	return sorted(out)
}

// endpointPolicies lead the answers of endpoints by their subnets' route tables, as a peer needs it.
func endpointPolicies(v network.VPC) (out []Policy) {
	for _, sub := range v.Subnets {
		i := slices.IndexFunc(v.RouteTables, func(t network.RouteTable) bool { return t.ID == sub.RouteTable })
		if i < 0 {
			continue
		}
		for _, a := range endpointsIn(v, sub) {
			out = append(out, Policy{Priority: prefRouteTable, From: a, Table: tableBase + int(v.RouteTables[i].Index)})
		}
	}
	return out
}
