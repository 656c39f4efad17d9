package zone

import (
	"slices"
	"strings"

	"karri.dev/internal/network"
	"karri.dev/internal/nodeapi"
	"karri.dev/internal/resource"
	"karri.dev/internal/store"
)

// flat compiles what a node has of its zone's flat network; local are the node's own interfaces, by network.
func flat(r store.Reader, zone string, local map[string][]*resource.Interface) *network.Flat {
	z := store.Zones.Get(r, zone)
	cards := local[resource.FlatID(zone)]
	if z == nil || !z.Network.Flat() || len(cards) == 0 {
		return nil
	}
	out := &network.Flat{ID: resource.FlatID(zone), Bridge: z.Network.Bridge}
	for _, e := range cards {
		c := network.FlatInterface{ID: e.ID, InstanceID: e.InstanceID, MAC: e.MAC, IP: addr(e.PrivateIP)}
		if e.PrivateIP != "" {
			c.Hostname = resource.PrivateHost(e.PrivateIP)
		}
		out.Interfaces = append(out.Interfaces, c)
	}
	slices.SortFunc(out.Interfaces, func(a, b network.FlatInterface) int { return strings.Compare(a.ID, b.ID) })
	if z.Network.Mode == resource.ModeStatic {
		out.DHCP = &network.FlatDHCP{Subnet: prefix(z.Network.Subnet), Router: addr(z.Network.Router), Domain: z.Network.Domain}
		for _, s := range z.Network.DNS {
			out.DHCP.Servers = append(out.DHCP.Servers, addr(s))
		}
	}
	return out
}

// learnedNews gives the interface whose address a node's word changes; nil if it does not.
func (z *Zone) learnedNews(r store.Reader, node string, l network.LearnedAddress) *resource.Interface {
	e := store.Interfaces.Get(r, l.Interface)
	if e == nil || e.VPCID != resource.FlatID(z.cfg.Name) || !l.IP.Is4() || e.PrivateIP == l.IP.String() {
		return nil
	}
	own := store.Zones.Get(r, z.cfg.Name)
	inst := store.Instances.Get(r, e.InstanceID)
	if own == nil || own.Network.Mode != resource.ModeSystem || inst == nil || inst.Node != node || !inst.State.Alive() {
		return nil
	}
	return e
}

func (z *Zone) anyLearned(r store.Reader, node string, report *nodeapi.Report) bool {
	return slices.ContainsFunc(report.Learned, func(l network.LearnedAddress) bool { return z.learnedNews(r, node, l) != nil })
}

// observeLearned takes in the addresses that the operator's DHCP server gave. Whoever had one of them before has it no
// more: its lease had ended.
func (z *Zone) observeLearned(tx *store.Tx, node string, report *nodeapi.Report) error {
	for _, l := range report.Learned {
		e := z.learnedNews(tx, node, l)
		if e == nil {
			continue
		}
		if other := store.InterfacesByIP.One(tx, e.VPCID+"/"+l.IP.String()); other != nil {
			without := *other
			without.PrivateIP = ""
			if err := store.Interfaces.Put(tx, &without); err != nil {
				return err
			}
		}
		next := *e
		next.PrivateIP = l.IP.String()
		z.deps.Log.Info("address learned", "instance", e.InstanceID, "address", next.PrivateIP, "before", e.PrivateIP)
		if err := store.Interfaces.Put(tx, &next); err != nil {
			return err
		}
	}
	return nil
}
