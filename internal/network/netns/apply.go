package netns

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"time"

	"karri.dev/internal/network"
	"karri.dev/internal/network/rules"
)

// Apply makes the host's network what state says.
func (d *Driver) Apply(ctx context.Context, state network.State) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return errClosed
	}
	d.ticks.Do(func() {
		d.work.Go(d.guard)
		if d.cfg.Verify > 0 {
			d.work.Go(d.verify)
		}
		d.work.Go(d.learn)
	})
	return d.apply(ctx, state)
}

// verify applies the last state again from time to time, which repairs what others changed.
func (d *Driver) verify() {
	d.every(d.cfg.Verify, func() {
		if d.last == nil {
			return
		}
		before := d.writes.Load()
		if err := d.apply(d.ctx, *d.last); err != nil {
			d.deps.Log.Error("network does not converge", "error", err)
		} else if n := d.writes.Load() - before; n > 0 {
			d.deps.Log.Warn("repaired the network: something else had changed it", "changes", n)
		}
	})
}

// every calls do once a period, with d.mu held, until the driver is closed.
func (d *Driver) every(period time.Duration, do func()) {
	t := time.NewTicker(period)
	defer t.Stop()
	for {
		select {
		case <-d.ctx.Done():
			return
		case <-t.C:
		}
		d.mu.Lock()
		if !d.closed {
			do()
		}
		d.mu.Unlock()
	}
}

func (d *Driver) apply(ctx context.Context, state network.State) error {
	if done, err := d.applyMembers(state); done || err != nil {
		return err
	}
	d.whole = false
	err := d.applyAll(ctx, state)
	d.whole = err == nil
	return err
}

func (d *Driver) applyAll(ctx context.Context, state network.State) error {
	previous := map[string]network.VPC{}
	samePool := false
	if d.last != nil {
		for _, v := range d.last.VPCs {
			previous[v.ID] = v
		}
		samePool = reflect.DeepEqual(d.last.PublicPool, state.PublicPool)
	}
	o := d.rules
	o.Tunnels = d.views()
	host, err := rules.Compile(o, state)
	errs := []error{err}
	d.compiled, d.last = host, &state
	d.endTunnels(func(id string) bool { // before their namespaces go
		return slices.ContainsFunc(host.NATs, func(g rules.Gateway) bool { return g.ID == id && g.Tunnel })
	})
	if err := d.adopt(host); err != nil {
		return errors.Join(append(errs, err)...)
	}
	if err := d.makeEdge(); err != nil {
		return errors.Join(append(errs, err)...)
	}
	if err := d.switchEdge(host.Six); err != nil {
		return errors.Join(append(errs, err)...)
	}
	if err := d.makeSpaces(host); err != nil {
		return errors.Join(append(errs, err)...)
	}
	wanted := map[string]bool{}
	unchanged := samePool
	for i, v := range host.VPCs {
		wanted[v.ID] = true
		if err := ctx.Err(); err != nil {
			return errors.Join(append(errs, err)...)
		}
		p, had := previous[v.ID]
		// A VPC that changes is brought from its last state to its next one. One that does not is compared
		// with the kernel: there is time for it.
		same := had && reflect.DeepEqual(p, state.VPCs[i])
		unchanged = unchanged && same
		if err := d.applyVPC(v, state.VPCs[i], same); err != nil {
			errs = append(errs, fmt.Errorf("netns: %s: %w", v.ID, err))
		}
	}
	for _, g := range host.NATs {
		wanted[g.ID] = true
		if err := d.applyNAT(g, unchanged); err != nil {
			errs = append(errs, fmt.Errorf("netns: %s: %w", g.ID, err))
		}
	}
	d.runTunnels(state, host)
	if err := d.applyEdge(host.Edge, unchanged); err != nil {
		errs = append(errs, fmt.Errorf("netns: edge: %w", err))
	}
	if err := d.applyRoot(host.Root, unchanged); err != nil {
		errs = append(errs, fmt.Errorf("netns: host: %w", err))
	}
	if err := d.applyFlat(host.Flat, state.Flat); err != nil {
		errs = append(errs, fmt.Errorf("netns: flat network: %w", err))
	}
	for id := range d.vpcs {
		if !wanted[id] {
			errs = append(errs, d.dropVPC(id))
		}
	}
	for id := range d.nats {
		if !wanted[id] {
			errs = append(errs, d.dropNAT(id))
		}
	}
	return errors.Join(errs...)
}

// adopt removes, once, namespaces of our name that state has no VPC for: an earlier run's.
func (d *Driver) adopt(host rules.Host) error {
	if d.adopted {
		return nil
	}
	keep := map[string]bool{d.spaceName("edge"): true}
	if host.Flat != nil {
		keep[d.spaceName(rules.FlatSpace)] = true
	}
	for _, v := range host.VPCs {
		keep[d.spaceName(v.ID)] = true
	}
	for _, g := range host.NATs {
		keep[d.spaceName(g.ID)] = true
	}
	names, err := namedSpaces(d.prefix())
	if err != nil {
		return fmt.Errorf("netns: list namespaces: %w", err)
	}
	for _, name := range names {
		if !keep[name] {
			if err := d.dropSpace(name); err != nil {
				return err
			}
		}
	}
	d.adopted = true
	return nil
}

// makeEdge makes the edge's namespace and its link to the host.
func (d *Driver) makeEdge() error {
	if d.edge != nil {
		return nil
	}
	edge, err := makeSpace(d.spaceName("edge"), &d.writes)
	if err != nil {
		return err
	}
	d.edge = edge
	return nil
}

// makeSpaces makes the namespaces of VPCs and NAT gateways: links between them need both.
func (d *Driver) makeSpaces(host rules.Host) error {
	for _, want := range host.VPCs {
		if d.vpcs[want.ID] != nil {
			continue
		}
		s, err := makeSpace(d.spaceName(want.ID), &d.writes)
		if err != nil {
			return err
		}
		d.vpcs[want.ID] = &vpc{space: s, services: newServices(d, want.ID, s), flows: &flows{d: d, space: s, vpc: want.ID}}
	}
	for _, g := range host.NATs {
		if d.nats[g.ID] != nil {
			continue
		}
		s, err := makeSpace(d.spaceName(g.ID), &d.writes)
		if err != nil {
			return err
		}
		if err := s.enter(func() error { return setting("netfilter/nf_conntrack_tcp_timeout_established", natIdle) }); err != nil {
			return err
		}
		d.nats[g.ID] = s
	}
	return nil
}

// natIdle is how many seconds a NAT gateway remembers a TCP connection on which nothing passes: EC2's time.
const natIdle = "350"

// applyNAT brings a NAT gateway to what it should be. Its link has been made with its VPC.
func (d *Driver) applyNAT(want rules.Gateway, same bool) error {
	s := d.nats[want.ID]
	if err := s.filter.apply(want.Tables); err != nil {
		return err
	}
	own := allOurs
	if want.Tunnel {
		own.route = func(r rules.Route) bool { return r.Table != charonRoutes }
	}
	// Few links, which strongSwan and the edge can take away: they are looked at each time.
	have, devices, err := d.look(s, own, same || len(want.Links) > 0)
	if err != nil {
		return err
	}
	made, err := d.joinLinks(s, want.Links, devices)
	if err != nil {
		return err
	}
	if made {
		if have, _, err = d.look(s, own, true); err != nil {
			return err
		}
	}
	return d.bring(s, have, want.Namespace)
}

// other gives the namespace at the other end of a link, and forgets what is known of it.
func (d *Driver) other(id string) *space {
	if v := d.vpcs[id]; v != nil {
		return v.space
	}
	if id == rules.EdgeSpace {
		return d.edge
	}
	return d.nats[id]
}

// joinAll makes the VPC's links to other VPCs and NAT gateways, and removes those that are not wanted.
func (v *vpc) joinAll(d *Driver, want rules.VPC, devices map[string]device) error {
	wanted := map[string]bool{}
	for _, l := range want.Links {
		wanted[l.Name] = true
	}
	for name := range devices {
		if (strings.HasPrefix(name, "pcx") || strings.HasPrefix(name, "nat") || strings.HasPrefix(name, "vgw")) && !wanted[name] {
			d.writes.Add(1)
			delete(v.index, name)
			if err := v.deleteLink(name); err != nil {
				return err
			}
		}
	}
	v.joined = want.Links
	_, err := d.joinLinks(v.space, want.Links, devices)
	return err
}

// joinLinks makes a namespace's links to others, and says whether there was anything to do.
func (d *Driver) joinLinks(s *space, links []rules.Link, devices map[string]device) (any bool, err error) {
	for _, l := range links {
		far := d.other(l.To)
		if l.ByOtherSide || far == nil {
			continue
		}
		theirs, err := far.devices()
		if err != nil {
			return any, err
		}
		if far.index == nil {
			far.index = map[string]int{}
		}
		made, err := join(end{s, l.Name, l.MAC, l.Group}, end{far, l.There, l.ThereMAC, 0}, gatewayMTU, devices, theirs)
		if made {
			d.writes.Add(1)
			far.known = false // its routes over the link are gone
			any = true
		}
		if err != nil {
			return any, err
		}
	}
	return any, nil
}

// applyVPC brings one VPC to what it should be. same says that it was so before.
func (d *Driver) applyVPC(want rules.VPC, state network.VPC, same bool) error {
	v := d.vpcs[want.ID]
	before := v.filter.have
	if err := v.filter.apply(withFull(want.Tables, v.full)); err != nil { // rules first: nothing passes unfiltered
		return err
	}
	have, err := v.makeLinks(d, want, same)
	if err != nil {
		v.known = false
		return err
	}
	w := d.writer()
	v.change(have, want.Namespace, w.write)
	if w.err != nil {
		v.known = false
		return w.err
	}
	v.have, v.known = want.Namespace, true
	if err := v.forget(have, want.Namespace, before); err != nil {
		return err
	}
	v.flows.update(state, want, v.index)
	return v.services.update(state, want)
}

// writer counts changes and collects their errors.
type writer struct {
	d   *Driver
	err error
}

func (d *Driver) writer() *writer { return &writer{d: d} }

func (w *writer) write(what string, err error) {
	w.d.writes.Add(1)
	if err != nil {
		w.err = errors.Join(w.err, fmt.Errorf("%s: %w", what, err))
	}
}

// makeLinks makes the VPC's links what they should be, and says what the namespace holds now.
func (v *vpc) makeLinks(d *Driver, want rules.VPC, same bool) (rules.Namespace, error) {
	have := v.have
	if v.known && !same && v.gateway == want.Gateway && v.overlay == want.Overlay && v.six == want.IPv6 && slices.Equal(v.joined, want.Links) {
		out, in := differ(have.Taps, want.Taps)
		return have, v.changeTaps(d, out, in, nil)
	}
	fresh := !v.known
	if fresh || v.six != want.IPv6 {
		if err := v.switchSix(want.IPv6); err != nil {
			return have, err
		}
		v.six = want.IPv6
	}
	devices, err := v.devices()
	if err != nil {
		return have, err
	}
	v.index = map[string]int{}
	for name, dev := range devices {
		v.index[name] = dev.index
	}
	if have, err = v.observe(devices, allOurs); err != nil {
		return have, err
	}
	routers, err := v.routers()
	if err != nil {
		return have, err
	}
	var there []rules.Tap // those that are as they should be
	var stale []rules.Tap
	wanted := map[string]rules.Tap{}
	for _, t := range want.Taps {
		wanted[t.Name] = t
	}
	for name, dev := range devices {
		t, ok := wanted[name]
		switch {
		case !strings.HasPrefix(name, "eni"):
		case !ok:
			stale = append(stale, rules.Tap{Name: name})
		case !fresh && dev.up && dev.group == t.Group && dev.mac == rules.TapMAC && dev.mtu == d.cfg.MTU && routers[dev.index] == t.IPv6:
			there = append(there, t)
		}
	}
	_, missing := differ(there, want.Taps)
	if err := v.changeTaps(d, stale, missing, devices); err != nil {
		return have, err
	}
	if err := v.gatewayLink(d, want, devices); err != nil {
		return have, err
	}
	if err := v.joinAll(d, want, devices); err != nil {
		return have, err
	}
	if want.Overlay {
		made, err := makeOverlay(d.root, v.space, want.VNI, d.cfg.Underlay, d.cfg.MTU, devices)
		if made {
			d.writes.Add(1)
		}
		if err != nil {
			return have, err
		}
	}
	v.gateway, v.overlay = want.Gateway, want.Overlay
	return have, nil
}

func (v *vpc) changeTaps(d *Driver, out, in []rules.Tap, devices map[string]device) error {
	stay := map[string]bool{}
	for _, t := range in {
		stay[t.Name] = true
	}
	for _, t := range out {
		if !stay[t.Name] {
			d.writes.Add(1)
			delete(v.index, t.Name)
			if err := v.deleteLink(t.Name); err != nil {
				return err
			}
		}
	}
	d.writes.Add(int64(len(in)))
	return v.makeTaps(in, d.cfg.MTU, devices)
}

// gatewayLink makes, or removes, the link to the edge.
func (v *vpc) gatewayLink(d *Driver, want rules.VPC, devices map[string]device) error {
	edgeDevices, err := d.edge.devices()
	if err != nil {
		return err
	}
	if !want.Gateway {
		if _, ok := devices[rules.GatewayName]; !ok {
			return nil
		}
		d.writes.Add(1)
		return v.deleteLink(rules.GatewayName)
	}
	if d.edge.index == nil {
		d.edge.index = map[string]int{}
	}
	made, err := join(
		end{v.space, rules.GatewayName, rules.GatewayMAC, 0}, end{d.edge, want.EdgeName(), rules.EdgeVPCMAC, 0},
		gatewayMTU, devices, edgeDevices)
	if made {
		d.writes.Add(1)
		d.edge.known = false // its routes over the link are gone
	}
	return err
}

// gatewayMTU is that of links to the internet.
const gatewayMTU = 1500

// applyEdge brings the edge to what it should be.
func (d *Driver) applyEdge(want rules.Namespace, same bool) error {
	if err := d.edge.filter.apply(want.Tables); err != nil {
		return err
	}
	have, devices, err := d.look(d.edge, allOurs, same)
	if err != nil {
		return err
	}
	if devices != nil {
		rootDevices, err := d.root.devices()
		if err != nil {
			return err
		}
		d.root.index = map[string]int{}
		for name, dev := range rootDevices {
			d.root.index[name] = dev.index
		}
		made, err := join(
			end{d.edge, rules.EdgeLink, rules.EdgeLinkMAC, 0}, end{d.root, d.rules.Link, rules.HostLinkMAC, 0},
			gatewayMTU, devices, rootDevices)
		if made {
			d.writes.Add(1)
			d.root.known = false
		}
		if err != nil {
			return err
		}
	}
	return d.bring(d.edge, have, want)
}

// look gives what a namespace holds: from memory, or from the kernel when it is time or memory is not to be
// trusted. devices is nil in the first case.
func (d *Driver) look(s *space, own owner, compare bool) (rules.Namespace, map[string]device, error) {
	if s.known && !compare {
		return s.have, nil, nil
	}
	devices, err := s.devices()
	if err != nil {
		return rules.Namespace{}, nil, err
	}
	s.index = map[string]int{}
	for name, dev := range devices {
		s.index[name] = dev.index
	}
	have, err := s.observe(devices, own)
	return have, devices, err
}

// bring leads a namespace's addresses, routes and neighbours from have to want.
func (d *Driver) bring(s *space, have, want rules.Namespace) error {
	w := d.writer()
	s.change(have, want, w.write)
	s.have, s.known = want, w.err == nil
	return w.err
}

// leaving lists the addresses that mean somebody else from now on.
func leaving(have, want rules.Namespace, before []rules.Table) map[netip.Addr]bool {
	out := map[netip.Addr]bool{}
	routes, _ := differ(have.Routes, want.Routes)
	for _, r := range routes {
		if r.Kind == rules.Unicast && (strings.HasPrefix(r.Device, "eni") || strings.HasPrefix(r.Device, "nat")) && r.Table == rules.MainTable && r.Destination.IsSingleIP() {
			out[r.Destination.Addr()] = true
		}
	}
	public := func(tables []rules.Table) []rules.Element {
		for _, t := range tables {
			for _, s := range t.Sets {
				if s.Name == "eip_in" {
					return s.Elements
				}
			}
		}
		return nil
	}
	moved, _ := differ(public(before), public(want.Tables))
	for _, e := range moved {
		if a, err := netip.ParseAddr(e.Key); err == nil {
			out[a] = true
		}
	}
	return out
}
