package sim

import (
	"errors"
	"fmt"
	"net/netip"

	"karri.dev/internal/compute"
	networkfake "karri.dev/internal/network/fake"
	"karri.dev/internal/resource"
	"karri.dev/internal/store"
)

// Check verifies what must hold at every moment, and gives the first thing that was seen to be wrong on the way.
func (c *Cloud) Check() error {
	if err := c.wrong.get(); err != nil {
		return err
	}
	before := c.Store.Snapshot()
	where := map[string]*Node{}
	var errs []error
	machines := map[string]compute.State{}
	for _, n := range c.Nodes {
		if n.Revoked() {
			continue // what it does is no longer ours to say
		}
		for _, m := range n.machines() {
			if other := where[m.ID]; other != nil {
				errs = append(errs, fmt.Errorf("instance %s is on two nodes: %s and %s", m.ID, other.ID, n.ID))
			}
			where[m.ID], machines[m.ID] = n, m.State
		}
	}
	after := c.Store.Snapshot()
	for id, n := range where {
		was, is := store.Instances.Get(before, id), store.Instances.Get(after, id)
		switch {
		case is == nil:
			errs = append(errs, fmt.Errorf("node %s has a machine %s, which is no instance", n.ID, id))
		case is.Node != n.ID:
			errs = append(errs, fmt.Errorf("node %s has the machine of %s, which is placed on %q", n.ID, id, is.Node))
		case was != nil && !was.State.Alive():
			errs = append(errs, fmt.Errorf("instance %s is terminated, but its machine on %s is %s", id, n.ID, machines[id]))
		}
	}
	return errors.Join(append(errs, c.CheckState(after))...)
}

// CheckState verifies one snapshot: everything that is counted or kept twice is counted anew.
func (c *Cloud) CheckState(snap *store.Snapshot) error {
	errs := []error{snap.Check()}
	used := map[string]resource.Capacity{}
	for inst := range store.Instances.All(snap) {
		if !inst.State.Alive() {
			if inst.StateReason.Code == "" || inst.StateReason.Code == "pending" {
				errs = append(errs, fmt.Errorf("instance %s is terminated without a reason", inst.ID))
			}
			continue
		}
		if inst.State == resource.Running && inst.Node == "" {
			errs = append(errs, fmt.Errorf("instance %s runs nowhere", inst.ID))
		}
		if inst.Node != "" {
			u := used[inst.Node]
			u.VCPUs += inst.VCPUs
			u.MemoryMiB += inst.MemoryMiB
			u.DiskGiB += inst.DiskGiB
			used[inst.Node] = u
		}
		for _, id := range inst.Interfaces {
			if e := store.Interfaces.Get(snap, id); e == nil || e.InstanceID != inst.ID {
				errs = append(errs, fmt.Errorf("instance %s does not have its interface %s", inst.ID, id))
			}
		}
	}
	for id, u := range used {
		n := store.Nodes.Get(snap, id)
		if n == nil {
			errs = append(errs, fmt.Errorf("node %s does not exist and has instances", id))
		} else if u.VCPUs > n.Capacity.VCPUs || u.MemoryMiB > n.Capacity.MemoryMiB || u.DiskGiB > n.Capacity.DiskGiB {
			errs = append(errs, fmt.Errorf("node %s holds %+v of %+v", id, u, n.Capacity))
		}
	}
	return errors.Join(append(errs, addresses(snap))...)
}

// addresses verifies that every address has one owner and lies where it should.
func addresses(snap *store.Snapshot) error {
	var errs []error
	taken := map[string]string{}
	take := func(key, id string) {
		if other := taken[key]; other != "" {
			errs = append(errs, fmt.Errorf("%s and %s both have %s", other, id, key))
		}
		taken[key] = id
	}
	for e := range store.Interfaces.All(snap) {
		take(e.VPCID+" "+e.PrivateIP, e.ID)
		take(e.VPCID+" "+e.MAC, e.ID)
		if e.PublicIP != "" {
			take(e.PublicIP, e.ID)
		}
		s := store.Subnets.Get(snap, e.SubnetID)
		ip, err := netip.ParseAddr(e.PrivateIP)
		if s == nil || err != nil || !netip.MustParsePrefix(s.CIDR).Contains(ip) {
			errs = append(errs, fmt.Errorf("interface %s has %q, which is not in its subnet", e.ID, e.PrivateIP))
		}
		if e.InstanceID != "" {
			if inst := store.Instances.Get(snap, e.InstanceID); inst == nil || !inst.State.Alive() {
				errs = append(errs, fmt.Errorf("interface %s belongs to %s, which is gone", e.ID, e.InstanceID))
			}
		}
	}
	return errors.Join(errs...)
}

// Unsettled gives the instances that have neither come up nor ended as was wanted, with how they are.
func (c *Cloud) Unsettled() (out []string) {
	for inst := range store.Instances.All(c.Store.Snapshot()) {
		switch {
		case inst.State == resource.Terminated, inst.Power == resource.PowerOff && inst.State == resource.Stopped:
		case inst.Power == resource.PowerOn && inst.State == resource.Running:
		default:
			out = append(out, fmt.Sprintf("%s: %s, wanted %s, on %q, %s", inst.ID, inst.State, inst.Power, inst.Node, inst.StateReason.Code))
		}
	}
	return out
}

// CheckSettled verifies, when nothing happens any more, that hosts have exactly what the state says.
func (c *Cloud) CheckSettled() error {
	errs := []error{c.Check()}
	snap := c.Store.Snapshot()
	for _, n := range c.Nodes {
		if n.Revoked() {
			continue
		}
		have := map[string]compute.State{}
		for _, m := range n.machines() {
			have[m.ID] = m.State
		}
		for inst := range store.InstancesByNode.By(snap, n.ID) {
			if inst.Power == resource.PowerOn && have[inst.ID] != compute.Running {
				errs = append(errs, fmt.Errorf("instance %s is %s, its machine on %s is %q", inst.ID, inst.State, n.ID, have[inst.ID]))
			}
			delete(have, inst.ID)
		}
		for id, state := range have {
			errs = append(errs, fmt.Errorf("node %s still has %s: %s", n.ID, id, state))
		}
		errs = append(errs, n.checkSettled(snap))
	}
	return errors.Join(errs...)
}

// checkSettled verifies a node's network, and that it holds nothing for nobody.
func (n *Node) checkSettled(snap *store.Snapshot) error {
	var errs []error
	want := map[string]bool{}
	instances := 0
	for inst := range store.InstancesByNode.By(snap, n.ID) {
		instances++
		for _, id := range inst.Interfaces {
			want[id] = inst.Power == resource.PowerOn
		}
	}
	simulated, ok := n.network.(*networkfake.Driver)
	if !ok {
		return nil // tests look at the packets
	}
	for _, v := range simulated.State().VPCs {
		for _, e := range v.Interfaces {
			if !want[e.ID] {
				errs = append(errs, fmt.Errorf("node %s still serves interface %s", n.ID, e.ID))
			}
			delete(want, e.ID)
		}
	}
	for id, on := range want {
		if on {
			errs = append(errs, fmt.Errorf("node %s does not serve interface %s", n.ID, id))
		}
	}
	if instances == 0 && !n.memory.Empty() {
		errs = append(errs, fmt.Errorf("node %s keeps records of instances that are gone", n.ID))
	}
	n.cache.mu.Lock()
	defer n.cache.mu.Unlock()
	if n.cache.held != 0 {
		errs = append(errs, fmt.Errorf("node %s holds %d images", n.ID, n.cache.held))
	}
	return errors.Join(errs...)
}
