package zone

import (
	"maps"
	"slices"
	"time"

	"karri.dev/internal/lifecycle"
	"karri.dev/internal/placement"
	"karri.dev/internal/resource"
	"karri.dev/internal/store"
)

// patience is how long an instance waits for room or for a node to connect before it is given up.
const patience = 30 * time.Second

// placeIn places every waiting instance inside one transaction: capacity can never be given out twice.
func (z *Zone) placeIn(tx *store.Tx) error {
	var nodes []placement.Node
	for _, n := range z.candidates(tx) {
		p := placement.Node{ID: n.ID, Total: n.Capacity}
		for inst := range store.InstancesByNode.By(tx, n.ID) {
			need := needs(inst)
			p.Used.VCPUs += need.VCPUs
			p.Used.MemoryMiB += need.MemoryMiB
			p.Used.DiskGiB += need.DiskGiB
		}
		nodes = append(nodes, p)
	}
	planner := placement.NewPlanner(z.cfg.Placement, nodes, z.last)
	for _, inst := range slices.Collect(store.InstancesUnplaced.By(tx, z.cfg.Name)) {
		next := *inst
		switch {
		case inst.Power == resource.PowerGone:
			if _, err := lifecycle.Finish(tx, inst, z.deps.Now()); err != nil {
				return err
			}
			continue
		case inst.Power == resource.PowerOff:
			continue
		}
		if next.Node = planner.Place(needs(inst), z.reachable(tx, inst, wish(tx, inst))); next.Node == "" {
			if z.deps.Now().Sub(inst.LaunchedAt) < patience {
				continue // a node may yet connect, or an instance end
			}
			next.StateReason = resource.StateReason{
				Code:    "Server.InsufficientInstanceCapacity",
				Message: "Server.InsufficientInstanceCapacity: Insufficient capacity to satisfy instance request",
			}
			if inst.HasRun {
				if err := lifecycle.Stopped(tx, &next); err != nil {
					return err
				}
				continue
			}
			if _, err := lifecycle.Finish(tx, &next, z.deps.Now()); err != nil {
				return err
			}
			continue
		}
		if err := store.Instances.Put(tx, &next); err != nil {
			return err
		}
	}
	z.last = planner.Last() // only a hint: a transaction that runs again may move it
	return nil
}

// reachable keeps an instance with volumes off hosts that do not reach them, where the zone serves none to others.
func (z *Zone) reachable(r store.Reader, inst *resource.Instance, w placement.Wish) placement.Wish {
	if z.deps.Exports != nil || inst.RootDevice == "" && store.VolumesByInstance.One(r, inst.ID) == nil {
		return w
	}
	avoid := maps.Clone(w.Avoid)
	if avoid == nil {
		avoid = map[string]bool{}
	}
	for n := range store.NodesByZone.By(r, z.cfg.Name) {
		if !n.Local {
			avoid[n.ID] = true
		}
	}
	w.Avoid = avoid
	return w
}

// lost gives the live instances of nodes that are shut out for good.
func (z *Zone) lost(r store.Reader) (out []*resource.Instance) {
	for n := range store.NodesByZone.By(r, z.cfg.Name) {
		if n.Revoked {
			out = slices.AppendSeq(out, store.InstancesByNode.By(r, n.ID))
		}
	}
	return out
}

// endLost ends them: nobody will ever say of them that they are gone.
func (z *Zone) endLost(tx *store.Tx) error {
	for _, inst := range z.lost(tx) {
		next := *inst
		if inst.Power != resource.PowerGone {
			next.StateReason = resource.StateReason{
				Code: "Server.InternalError", Message: "Server.InternalError: the instance's host was removed", At: z.deps.Now(),
			}
		}
		if _, err := lifecycle.Finish(tx, &next, z.deps.Now()); err != nil {
			return err
		}
	}
	return nil
}

// needs is the capacity that an instance takes.
func needs(inst *resource.Instance) resource.Capacity {
	return resource.Capacity{VCPUs: inst.VCPUs, MemoryMiB: inst.MemoryMiB, DiskGiB: inst.DiskGiB}
}

// wish is what an instance's placement group asks of its node: members of a spread lie on nodes of their own,
// partitions share no node, and a cluster stays close.
func wish(r store.Reader, inst *resource.Instance) placement.Wish {
	g := store.PlacementGroups.Get(r, inst.PlacementGroup)
	if g == nil {
		return placement.Wish{}
	}
	nodes := map[string]bool{}
	for other := range store.InstancesByPlacement.By(r, g.ID) {
		if other.Node != "" && other.ID != inst.ID && (g.Strategy != "partition" || other.Partition != inst.Partition) {
			nodes[other.Node] = true
		}
	}
	if g.Strategy == "cluster" {
		return placement.Wish{Prefer: nodes}
	}
	return placement.Wish{Avoid: nodes}
}
