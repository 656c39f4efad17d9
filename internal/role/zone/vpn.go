package zone

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"karri.dev/internal/lifecycle"
	"karri.dev/internal/network"
	"karri.dev/internal/nodeapi"
	"karri.dev/internal/resource"
	"karri.dev/internal/store"
)

// vpnGateway gives a VPC's virtual private gateway as this node needs it.
func (n *networks) vpnGateway(v *resource.VPC) *network.VPNGateway {
	g := store.VPNGatewaysByVPC.One(n.r, v.ID)
	if g == nil || g.Node == "" {
		return nil
	}
	out := &network.VPNGateway{ID: g.ID}
	if g.Node != n.node {
		host := store.Nodes.Get(n.r, g.Node)
		if host == nil || !addr(host.Underlay).IsValid() {
			return nil
		}
		out.Underlay = addr(host.Underlay)
		return out
	}
	for c := range store.VPNConnectionsByGateway.By(n.r, g.ID) {
		customer := store.CustomerGateways.Get(n.r, c.CustomerID)
		if !c.Alive() || customer == nil || n.key == nil {
			continue
		}
		conn := network.VPNConnection{ID: c.ID, Customer: addr(customer.IP), Local: rangeOf(c.Cloud), Remote: rangeOf(c.Customer)}
		if c.BGP {
			conn.BGP = &network.BGP{LocalAS: uint32(g.ASN), PeerAS: uint32(customer.ASN)}
		}
		for _, block := range c.Routes {
			conn.Routes = append(conn.Routes, prefix(block))
		}
		for i := range c.Tunnels {
			t := &c.Tunnels[i]
			psk, err := n.key.Open(t.PSK, resource.PSKContext(c.ID, t.Outside))
			if err != nil {
				continue // without a secret there is no tunnel
			}
			conn.Tunnels = append(conn.Tunnels, tunnel(c.ID, i, t, string(psk)))
		}
		out.Connections = append(out.Connections, conn)
	}
	return out
}

func rangeOf(block string) netip.Prefix {
	if block == "" {
		return netip.PrefixFrom(netip.IPv4Unspecified(), 0)
	}
	return prefix(block)
}

// tunnelID names the n-th tunnel of a connection on its node.
func tunnelID(connection string, n int) string { return fmt.Sprintf("%s-%d", connection, n+1) }

// tunnel gives a tunnel with AWS's defaults for what was not asked for.
func tunnel(connection string, n int, t *resource.VPNTunnel, psk string) network.VPNTunnel {
	o := &t.Options
	out := network.VPNTunnel{
		ID: tunnelID(connection, n), Public: addr(t.Outside), Inside: prefix(t.Inside), PSK: psk,
		Phase1: phase(o.Phase1, 28800), Phase2: phase(o.Phase2, 3600), Margin: cmp.Or(o.Margin, 270), Fuzz: 100, Replay: cmp.Or(o.Replay, 1024),
		DPDTimeout: cmp.Or(o.DPDTimeout, 30), DPDAction: cmp.Or(o.DPDAction, "clear"), Start: o.Startup == "start",
	}
	if o.Fuzz != nil {
		out.Fuzz = *o.Fuzz
	}
	if len(o.Phase2.Groups) == 0 {
		out.Phase2.Groups = append([]int{5}, out.Phase2.Groups...)
	}
	for i, name := range []string{"ikev1", "ikev2"} {
		if len(o.Versions) == 0 || slices.Contains(o.Versions, name) {
			out.Versions = append(out.Versions, i+1)
		}
	}
	return out
}

func phase(p resource.VPNPhase, seconds int) network.Phase {
	out := network.Phase{Encryption: p.Encryption, Integrity: p.Integrity, Groups: p.Groups, Seconds: cmp.Or(p.Seconds, seconds)}
	if len(out.Encryption) == 0 {
		out.Encryption = []string{"AES256-GCM-16", "AES128-GCM-16", "AES256", "AES128"}
	}
	if len(out.Integrity) == 0 {
		out.Integrity = []string{"SHA2-512", "SHA2-384", "SHA2-256", "SHA1"}
	}
	if len(out.Groups) == 0 {
		out.Groups = []int{20, 21, 19, 14, 15, 16, 17, 18, 24, 23, 22, 2}
	}
	return out
}

// placeVPNs gives every attached virtual private gateway of the zone a node that is up: one that can serve it, if any.
func (z *Zone) placeVPNs(tx *store.Tx) error {
	nodes := z.candidates(tx)
	if able := slices.DeleteFunc(slices.Clone(nodes), func(n *resource.Node) bool { return !n.VPN }); len(able) > 0 {
		nodes = able
	}
	load := map[string]int{}
	for g := range store.VPNGatewaysByZone.By(tx, z.cfg.Name) {
		load[g.Node]++
	}
	for _, g := range slices.Collect(store.VPNGatewaysByZone.By(tx, z.cfg.Name)) {
		if n := store.Nodes.Get(tx, g.Node); n != nil && n.Up && !n.Revoked || len(nodes) == 0 {
			continue
		}
		next := *g
		next.Node = slices.MinFunc(nodes, func(a, b *resource.Node) int {
			return cmp.Or(cmp.Compare(load[a.ID], load[b.ID]), cmp.Compare(a.ID, b.ID))
		}).ID
		load[next.Node]++
		z.deps.Log.Info("virtual private gateway placed", "gateway", g.ID, "from", g.Node, "to", next.Node)
		if err := store.VPNGateways.Put(tx, &next); err != nil {
			return err
		}
	}
	return nil
}

// vpnsWaiting says whether placeVPNs has something to do.
func (z *Zone) vpnsWaiting(r store.Reader) bool {
	for g := range store.VPNGatewaysByZone.By(r, z.cfg.Name) {
		if n := store.Nodes.Get(r, g.Node); n == nil || !n.Up || n.Revoked {
			return true
		}
	}
	return false
}

// vpnChanged follows a virtual private gateway's record; either is nil where there is none.
func (z *Zone) vpnChanged(was, is *resource.VPNGateway, vpcs map[string]bool) {
	if was == nil {
		was = &resource.VPNGateway{}
	}
	if is == nil {
		is = &resource.VPNGateway{}
	}
	if is.Zone == z.cfg.Name && is.VPCID != "" && is.Node == "" {
		z.place.Poke()
	}
	z.wake(was.Node, is.Node) // which are told of it even where the VPC has nothing else
	if was.Node != is.Node || was.VPCID != is.VPCID {
		vpcs[was.VPCID], vpcs[is.VPCID] = true, true
		delete(vpcs, "")
	}
}

// vpnsOf gives a node's VPN connections as they become by its report, where that changes anything.
func vpnsOf(r store.Reader, node string, report *nodeapi.Report, now time.Time) (out []*resource.VPNConnection) {
	status := map[string]network.TunnelStatus{}
	for _, t := range report.Tunnels {
		status[t.ID] = t
	}
	for g := range store.VPNGatewaysByNode.By(r, node) {
		for c := range store.VPNConnectionsByGateway.By(r, g.ID) {
			if next := vpnNext(c, status, now); next != nil {
				out = append(out, next)
			}
		}
	}
	slices.SortFunc(out, func(a, b *resource.VPNConnection) int { return strings.Compare(a.ID, b.ID) })
	return out
}

// vpnNext gives a connection as it becomes by what its node says of tunnels, or nil. It is pure.
func vpnNext(c *resource.VPNConnection, status map[string]network.TunnelStatus, now time.Time) *resource.VPNConnection {
	next := *c
	next.Tunnels = slices.Clone(c.Tunnels)
	there, changed := 0, false
	for i := range next.Tunnels {
		t := &next.Tunnels[i]
		o, ok := status[tunnelID(c.ID, i)]
		if ok {
			there++
		}
		if o.Up != t.Up {
			t.Changed = now
		}
		var learned []string
		for _, p := range o.Routes {
			learned = append(learned, p.String())
		}
		changed = changed || o.Up != t.Up || o.Message != t.Message || !slices.Equal(learned, t.Learned)
		t.Up, t.Message, t.Learned = o.Up, o.Message, learned
	}
	switch {
	case c.State == resource.VPNPending && there == len(c.Tunnels):
		next.State = resource.VPNAvailable
	case c.State == resource.VPNDeleting && there == 0:
		next.State = resource.VPNDeleted
	case !changed:
		return nil
	}
	return &next
}

func vpnNews(r store.Reader, node string, report *nodeapi.Report) bool {
	return len(vpnsOf(r, node, report, time.Time{})) > 0
}

// observeVPN takes in a node's word on its VPN tunnels.
func observeVPN(tx *store.Tx, node string, report *nodeapi.Report, now time.Time) error {
	for _, c := range vpnsOf(tx, node, report, now) {
		if c.State == resource.VPNDeleted {
			if err := lifecycle.FinishVPN(tx, c); err != nil {
				return err
			}
		} else if err := store.VPNConnections.Put(tx, c); err != nil {
			return err
		}
	}
	return nil
}
