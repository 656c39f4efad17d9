package lifecycle

import (
	"net/netip"
	"slices"
	"time"

	"karri.dev/internal/resource"
	"karri.dev/internal/store"
)

// maxPropagated is how many routes a route table takes from virtual private gateways.
const maxPropagated = 100

// Propagated gives the routes that a route table has from the virtual private gateways that it lets in: those of
// connections that are up. A route of the table's own, and the VPC's, goes before one with the same destination.
func Propagated(r store.Reader, t *resource.RouteTable) (out []resource.Route) {
	if len(t.Propagating) == 0 {
		return nil
	}
	v := store.VPCs.Get(r, t.VPCID)
	if v == nil {
		return nil
	}
	var own []netip.Prefix
	for _, b := range v.Blocks() {
		if p, err := netip.ParsePrefix(b); err == nil {
			own = append(own, p)
		}
	}
	taken := map[string]bool{}
	for i := range t.Routes {
		taken[t.Routes[i].Destination] = true
	}
	for _, id := range t.Propagating {
		g := store.VPNGateways.Get(r, id)
		if g == nil || g.VPCID != t.VPCID {
			continue
		}
		for c := range store.VPNConnectionsByGateway.By(r, id) {
			if !c.Alive() {
				continue
			}
			for _, block := range c.Behind() {
				p, err := netip.ParsePrefix(block)
				inside := slices.ContainsFunc(own, func(o netip.Prefix) bool { return o.Bits() <= p.Bits() && o.Contains(p.Addr()) })
				if err != nil || inside || taken[block] || len(out) >= maxPropagated {
					continue
				}
				taken[block] = true
				out = append(out, resource.Route{Destination: block, GatewayID: id, Origin: "EnableVgwRoutePropagation"})
			}
		}
	}
	return out
}

// FinishVPN makes a VPN connection deleted: to be called once no node has it any more.
func FinishVPN(tx *store.Tx, c *resource.VPNConnection) error {
	next := *c
	next.State = resource.VPNDeleted
	next.Tunnels = slices.Clone(c.Tunnels)
	for i := range next.Tunnels {
		next.Tunnels[i].PSK, next.Tunnels[i].Up, next.Tunnels[i].Learned = nil, false, nil
	}
	return store.VPNConnections.Put(tx, &next)
}

// reapVPN forgets what ended longer than Shown ago, at most limit of each kind.
func reapVPN(tx *store.Tx, now time.Time, limit int) int {
	return reapEnded(tx, store.VPNConnections, store.VPNConnectionsEnded, now, limit, func(c *resource.VPNConnection) (string, time.Time) {
		if c.State != resource.VPNDeleted {
			return "", now
		}
		return c.ID, c.EndedAt
	}) + reapEnded(tx, store.VPNGateways, store.VPNGatewaysEnded, now, limit, func(g *resource.VPNGateway) (string, time.Time) { return g.ID, g.EndedAt }) +
		reapEnded(tx, store.CustomerGateways, store.CustomerGatewaysEnded, now, limit, func(g *resource.CustomerGateway) (string, time.Time) { return g.ID, g.EndedAt })
}

func reapEnded[T any](tx *store.Tx, table *store.Table[T], ended *store.Index[T], now time.Time, limit int, when func(*T) (string, time.Time)) int {
	var ids []string
	for v := range ended.By(tx, "yes") {
		if id, at := when(v); len(ids) < limit && now.Sub(at) >= Shown {
			ids = append(ids, id)
		}
	}
	for _, id := range ids {
		table.Delete(tx, id)
	}
	return len(ids)
}
