package zone

import (
	"net/netip"
	"slices"
	"sync"

	"karri.dev/internal/network"
	"karri.dev/internal/resource"
	"karri.dev/internal/store"
)

// neighbours are all interfaces of a VPC as its nodes need to know them. They are the same for every node, and
// much work where a VPC is large: so they are compiled once for all. They must not be changed.
type neighbours struct {
	names   []network.Name
	public  []network.Name          // public names with private addresses, as peers may see them
	members map[string][]netip.Addr // of security groups
	placed  []placed

	endpoints []network.Endpoint
}

// placed is an interface whose instance has a node.
type placed struct {
	network.Remote
	node string
}

func neighboursOf(r store.Reader, v *resource.VPC, domain string) *neighbours {
	n := &neighbours{members: map[string][]netip.Addr{}}
	underlay := map[string]netip.Addr{}
	for e := range store.InterfacesByVPC.By(r, v.ID) {
		ip := addr(e.PrivateIP)
		for _, a := range e.Addresses() {
			n.names = append(n.names, network.Name{Name: resource.PrivateName(v.Region, a.PrivateIP), IP: addr(a.PrivateIP)})
			for _, g := range e.Groups {
				n.members[g] = append(n.members[g], addr(a.PrivateIP))
			}
			if a.PublicIP != "" && v.DNSHostnames {
				n.public = append(n.public, network.Name{Name: resource.PublicName(v.Region, a.PublicIP, domain), IP: addr(a.PrivateIP)})
			}
		}
		for _, g := range e.Groups {
			for _, ip := range e.IPv6 {
				n.members[g] = append(n.members[g], addr(ip))
			}
			n.members[g] = append(n.members[g], e.DelegatedIPv4()...)
		}
		inst := store.Instances.Get(r, e.InstanceID)
		if inst == nil || inst.Node == "" {
			continue
		}
		at, known := underlay[inst.Node]
		if !known {
			if host := store.Nodes.Get(r, inst.Node); host != nil {
				at = addr(host.Underlay)
			}
			underlay[inst.Node] = at
		}
		if at.IsValid() {
			remote := network.Remote{ID: e.ID, PrivateIP: ip, MAC: e.MAC, Underlay: at, SubnetID: e.SubnetID}
			for _, a := range e.Secondary {
				remote.Others = append(remote.Others, netip.PrefixFrom(addr(a.PrivateIP), 32))
			}
			for _, ip := range e.IPv6 {
				remote.Others = append(remote.Others, netip.PrefixFrom(addr(ip), 128))
			}
			for _, p := range e.Prefixes {
				remote.Others = append(remote.Others, prefix(p))
			}
			n.placed = append(n.placed, placed{remote, inst.Node})
		}
	}
	n.names = append(n.names, n.public...)
	n.addEndpoints(r, v, domain)
	for _, ips := range n.members {
		slices.SortFunc(ips, netip.Addr.Compare)
	}
	return n
}

// remotes gives those on other nodes.
func (n *neighbours) remotes(nodeID string) (out []network.Remote) {
	for i := range n.placed {
		if p := &n.placed[i]; p.node != nodeID {
			out = append(out, p.Remote)
		}
	}
	return out
}

// neighbourhood keeps the neighbours of VPCs until they change.
type neighbourhood struct {
	domain string // of public names

	mu   sync.Mutex
	vpcs map[string]*neighbours
	// since is the revision below which a snapshot is too old to be kept: of a VPC, and under "" of all.
	since map[string]int64
}

// of gives a VPC's neighbours.
func (h *neighbourhood) of(snap *store.Snapshot, v *resource.VPC) *neighbours {
	h.mu.Lock()
	defer h.mu.Unlock()
	n := h.vpcs[v.ID]
	if n == nil {
		n = neighboursOf(snap, v, h.domain)
		if snap.Revision >= max(h.since[v.ID], h.since[""]) {
			h.vpcs[v.ID] = n
		}
	}
	return n
}

// forget makes the next caller compile a VPC's neighbours anew, or with "" those of all VPCs, and not from a
// snapshot before this revision.
func (h *neighbourhood) forget(vpcID string, revision int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.since[vpcID] = revision
	if vpcID == "" {
		clear(h.vpcs)
	}
	delete(h.vpcs, vpcID)
}
