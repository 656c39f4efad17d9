package zone

import (
	"cmp"
	"slices"

	"karri.dev/internal/lifecycle"
	"karri.dev/internal/network"
	"karri.dev/internal/nodeapi"
	"karri.dev/internal/resource"
	"karri.dev/internal/store"
)

// natGateways gives all NAT gateways of a VPC that are on some node, as this one needs them.
func (n *networks) natGateways(v *resource.VPC) (out []network.NATGateway) {
	for g := range store.NATGatewaysByVPC.By(n.r, v.ID) {
		eni := store.Interfaces.Get(n.r, g.InterfaceID)
		if !g.Works() || g.Node == "" || eni == nil {
			continue
		}
		nat := network.NATGateway{ID: g.ID, InterfaceID: eni.ID, SubnetID: eni.SubnetID, MAC: eni.MAC}
		for _, a := range eni.Addresses() {
			nat.Addresses = append(nat.Addresses, network.Address{Private: addr(a.PrivateIP), Public: addr(a.PublicIP)})
		}
		if g.Node != n.node {
			host := store.Nodes.Get(n.r, g.Node)
			if host == nil || !addr(host.Underlay).IsValid() {
				continue
			}
			nat.Underlay = addr(host.Underlay)
		}
		out = append(out, nat)
	}
	return out
}

// gatewaysOf gives the NAT gateways that a node has, or is to say of that they are gone.
func gatewaysOf(r store.Reader, node string) (out []nodeapi.Gateway) {
	for g := range store.NATGatewaysByNode.By(r, node) {
		out = append(out, nodeapi.Gateway{ID: g.ID, Gone: g.State == resource.NATDeleting})
	}
	return out
}

// placeNATs gives every NAT gateway of the zone a node that is up, and ends those that are to go and are on none.
func (z *Zone) placeNATs(tx *store.Tx) error {
	nodes := z.candidates(tx)
	load := map[string]int{}
	for g := range store.NATGatewaysByZone.By(tx, z.cfg.Name) {
		load[g.Node]++
	}
	for _, g := range slices.Collect(store.NATGatewaysByZone.By(tx, z.cfg.Name)) {
		if n := store.Nodes.Get(tx, g.Node); n != nil && n.Up && !n.Revoked {
			continue
		}
		if g.State == resource.NATDeleting {
			if err := lifecycle.FinishNAT(tx, g); err != nil {
				return err
			}
			continue
		}
		next := *g
		if next.Node = ""; len(nodes) > 0 {
			next.Node = slices.MinFunc(nodes, func(a, b *resource.Node) int {
				return cmp.Or(cmp.Compare(load[a.ID], load[b.ID]), cmp.Compare(a.ID, b.ID))
			}).ID
			load[next.Node]++
		}
		if next.Node == g.Node {
			continue
		}
		z.deps.Log.Info("NAT gateway placed", "nat", g.ID, "from", g.Node, "to", next.Node)
		if err := store.NATGateways.Put(tx, &next); err != nil {
			return err
		}
	}
	return nil
}

// natsWaiting says whether placeNATs has something to do.
func (z *Zone) natsWaiting(r store.Reader) bool {
	for g := range store.NATGatewaysByZone.By(r, z.cfg.Name) {
		if n := store.Nodes.Get(r, g.Node); n == nil || !n.Up || n.Revoked {
			return true
		}
	}
	return false
}

// gatewayNews says whether a node's word on a NAT gateway changes its state.
func gatewayNews(r store.Reader, node string, o nodeapi.Gateway) *resource.NATGateway {
	g := store.NATGateways.Get(r, o.ID)
	if g == nil || g.Node != node || o.Gone && g.State != resource.NATDeleting || !o.Gone && g.State != resource.NATPending {
		return nil
	}
	return g
}

// observeGateway takes in a node's word on a NAT gateway.
func observeGateway(tx *store.Tx, node string, o nodeapi.Gateway) error {
	g := gatewayNews(tx, node, o)
	switch {
	case g == nil:
		return nil
	case o.Gone:
		return lifecycle.FinishNAT(tx, g)
	}
	next := *g
	next.State = resource.NATAvailable
	return store.NATGateways.Put(tx, &next)
}

// natChanged follows a NAT gateway's record; either is nil where there is none.
func (z *Zone) natChanged(was, is *resource.NATGateway, vpcs map[string]bool) {
	if was == nil {
		was = &resource.NATGateway{}
	}
	if is == nil {
		is = &resource.NATGateway{}
	}
	if is.Zone == z.cfg.Name && is.Alive() && is.Node == "" {
		z.place.Poke()
	}
	z.wake(was.Node, is.Node) // which are told of it even where the VPC has nothing else
	if was.Node != is.Node || was.Works() != is.Works() {
		vpcs[was.VPCID], vpcs[is.VPCID] = true, true
		delete(vpcs, "")
	}
}
