package zone

import (
	"net/netip"

	"karri.dev/internal/network"
	"karri.dev/internal/network/rules"
	"karri.dev/internal/resource"
	"karri.dev/internal/store"
)

// addEndpoints adds a VPC's endpoints and the names by which its guests find them.
func (n *neighbours) addEndpoints(r store.Reader, v *resource.VPC, domain string) {
	gateway := false
	var later []network.Name // an interface endpoint's private names go before a gateway's
	for e := range store.VPCEndpointsByVPC.By(r, v.ID) {
		out := network.Endpoint{ID: e.ID, Groups: e.Groups}
		if e.Gateway {
			if !gateway {
				later = append(later, serviceNames(e, domain, rules.S3Addr)...)
			}
			gateway = true
			n.endpoints = append(n.endpoints, out)
			continue
		}
		var zones []string
		for _, id := range e.Interfaces {
			eni := store.Interfaces.Get(r, id)
			if eni == nil {
				continue
			}
			ip := addr(eni.PrivateIP)
			out.Addresses = append(out.Addresses, ip)
			zones = append(zones, eni.Zone)
			if e.PrivateDNS {
				n.names = append(n.names, serviceNames(e, domain, ip)...)
			}
		}
		all, zonal := e.Names(domain, zones)
		for i, ip := range out.Addresses {
			n.names = append(n.names, network.Name{Name: all, IP: ip}, network.Name{Name: zonal[i], IP: ip})
		}
		n.endpoints = append(n.endpoints, out)
	}
	n.names = append(n.names, later...)
}

// serviceNames are the names of an endpoint's service, of buckets as well.
func serviceNames(e *resource.VPCEndpoint, domain string, ip netip.Addr) []network.Name {
	name := resource.ServiceName(e.Region, e.Signing(), domain)
	out := []network.Name{{Name: name, IP: ip}}
	if e.Signing() == "s3" {
		out = append(out, network.Name{Name: "*." + name, IP: ip})
	}
	return out
}
