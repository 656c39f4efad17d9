package zone

import (
	"context"
	"maps"
	"slices"
	"time"

	"karri.dev/internal/block"
	"karri.dev/internal/block/serve"
	"karri.dev/internal/lifecycle"
	"karri.dev/internal/resource"
	"karri.dev/internal/store"
)

// Exports serves volumes to nodes of other hosts; serve.Controller does.
type Exports interface {
	// Set makes these grants the ones that hold. When it returns without an error, nobody else has a volume open.
	Set(ctx context.Context, grants []serve.Grant) (refused map[string]string, err error)
	// Lost says that the server may have ended.
	Lost() <-chan struct{}
}

// followExports tells a server that was started anew.
func (z *Zone) followExports(ctx context.Context) error {
	for {
		select {
		case <-z.deps.Exports.Lost():
			z.deps.Log.Warn("the server of volumes has ended")
			z.serve.Poke()
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// grants are the volumes that nodes of other hosts may have open, by what the store says.
func (z *Zone) grants(r store.Reader) (out []serve.Grant) {
	for node := range store.NodesByZone.By(r, z.cfg.Name) {
		if node.Local || node.Revoked {
			continue
		}
		for inst := range store.InstancesByNode.By(r, node.ID) {
			if inst.State == resource.Stopped || !inst.State.Alive() {
				continue
			}
			for v := range store.VolumesByInstance.By(r, inst.ID) {
				if z.isMade(v) && !taken(v, node) {
					out = append(out, serve.Grant{Volume: v.ID, Node: node.ID, Path: z.deps.Volumes.Path(v.ID), Growing: v.Format == block.Qcow2})
				}
			}
		}
	}
	return out
}

// taken says that a volume is taken by force from a node that does not answer.
func taken(v *resource.Volume, node *resource.Node) bool {
	return v.Attachment.State == resource.Detaching && v.Attachment.Force && !node.Up && !node.Local
}

// export has those volumes served. What a node that is away shall let go of is free once it is not served any more.
func (z *Zone) export(ctx context.Context) error {
	snap := z.deps.Store.Snapshot()
	grants := z.grants(snap)
	refused, err := z.deps.Exports.Set(ctx, grants)
	served := map[string]string{}
	for _, g := range grants {
		if why, no := refused[g.Volume]; no {
			z.deps.Log.Warn("volume not served", "volume", g.Volume, "node", g.Node, "why", why)
		} else if err == nil {
			served[g.Volume] = g.Node
		}
	}
	z.mu.Lock()
	first, was := z.served == nil, z.served
	if err == nil || first {
		z.served = served
	}
	z.mu.Unlock()
	if first {
		z.wake(z.all()...)
	} else if err == nil && !maps.Equal(was, served) {
		z.wake(slices.Collect(maps.Values(served))...)
	}
	if err != nil {
		return err
	}
	if len(refused) > 0 {
		time.AfterFunc(time.Second, z.serve.Poke) // who has it is about to let go
	}
	return z.freeTaken(ctx, snap)
}

// freeTaken frees the volumes that are taken from nodes that are away: they can reach them no more.
func (z *Zone) freeTaken(ctx context.Context, snap *store.Snapshot) error {
	free := func(r store.Reader, id string) *resource.Volume {
		v := store.Volumes.Get(r, id)
		if v == nil || v.Attachment == nil {
			return nil
		}
		inst := store.Instances.Get(r, v.Attachment.InstanceID)
		if inst == nil || store.Nodes.Get(r, inst.Node) == nil || !taken(v, store.Nodes.Get(r, inst.Node)) {
			return nil
		}
		return v
	}
	for v := range store.VolumesByZone.By(snap, z.cfg.Name) {
		if free(snap, v.ID) == nil {
			continue
		}
		z.deps.Log.Info("volume taken from a node that is away", "volume", v.ID)
		err := z.deps.Store.Update(ctx, func(tx *store.Tx) error {
			if v := free(tx, v.ID); v != nil {
				return lifecycle.Detached(tx, v)
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// exportsKnown says that it is known who is served what: before, no node is told of its volumes, lest it let go of them.
func (z *Zone) exportsKnown() bool {
	z.mu.Lock()
	defer z.mu.Unlock()
	return z.deps.Exports == nil || z.served != nil
}

// isServed says that a node may be told of a volume: it is served to it, or its guest has it already and waits if it is
// not served for a moment.
func (z *Zone) isServed(v *resource.Volume, node string) bool {
	if z.deps.Exports == nil {
		return false
	}
	z.mu.Lock()
	defer z.mu.Unlock()
	if z.served[v.ID] == node {
		return true
	}
	inst := store.Instances.Get(z.deps.Store.Snapshot(), v.Attachment.InstanceID)
	return v.Attachment.State == resource.Attached && inst != nil && inst.State == resource.Running
}
