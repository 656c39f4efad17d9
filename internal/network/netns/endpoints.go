package netns

import (
	"net"
	"net/netip"

	"karri.dev/internal/network"
	"karri.dev/internal/network/rules"
)

// gateway is a gateway endpoint as one range of guests has it.
type gateway struct {
	guests netip.Prefix
	id     string
}

// endpointsOf gives a VPC's interface endpoints by address, and its gateway endpoints by the subnets whose route
// tables lead to them.
func endpointsOf(v network.VPC) (map[netip.Addr]string, []gateway) {
	byAddress, tables := map[netip.Addr]string{}, map[string]string{}
	for _, e := range v.Endpoints {
		for _, a := range e.Addresses {
			byAddress[a] = e.ID
		}
	}
	for _, t := range v.RouteTables {
		for _, r := range t.Routes {
			if r.Target == network.ToGatewayService {
				tables[t.ID] = r.ID
			}
		}
	}
	var gateways []gateway
	for _, sub := range v.Subnets {
		if id := tables[sub.RouteTable]; id != "" {
			gateways = append(gateways, gateway{sub.CIDR, id})
		}
	}
	return byAddress, gateways
}

func (v *view) gatewayOf(guest netip.Addr) (string, bool) {
	for _, g := range v.gateways {
		if g.guests.Contains(guest) {
			return g.id, true
		}
	}
	return "", false
}

// openEndpoints opens the API's sockets at the addresses of endpoints, and closes those of endpoints that are gone,
// with the connections there.
func (s *services) openEndpoints(v *view) error {
	if s.d.deps.API == nil {
		return nil
	}
	wanted := map[netip.Addr]func(netip.Addr) (string, bool){}
	if len(v.gateways) > 0 {
		wanted[rules.S3Addr] = func(guest netip.Addr) (string, bool) { return s.view.Load().gatewayOf(guest) }
	}
	for a := range v.endpoints {
		wanted[a] = func(netip.Addr) (string, bool) {
			id, ok := s.view.Load().endpoints[a]
			return id, ok
		}
	}
	for a, stop := range s.ways {
		if wanted[a] == nil {
			stop()
			delete(s.ways, a)
		}
	}
	for a, by := range wanted {
		if s.ways[a] != nil {
			continue
		}
		var listeners []net.Listener
		if err := s.space.enter(func() (err error) { listeners, err = listenAPI(a); return err }); err != nil {
			return err
		}
		end := s.forwardAPI(listeners, by)
		s.ways[a] = func() {
			for _, l := range listeners {
				l.Close()
			}
			end()
		}
	}
	return nil
}

// listenAPI opens the API's sockets at an address of the calling thread's namespace.
func listenAPI(a netip.Addr) (out []net.Listener, err error) {
	for _, port := range apiPorts {
		l, err := net.Listen("tcp4", netip.AddrPortFrom(a, port).String())
		if err != nil {
			for _, l := range out {
				l.Close()
			}
			return nil, err
		}
		out = append(out, l)
	}
	return out, nil
}
