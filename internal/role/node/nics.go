package node

import (
	"context"
	"errors"
	"slices"
	"time"

	"karri.dev/internal/compute"
	"karri.dev/internal/nodeapi"
)

func hasNIC(list []compute.NIC, id string) bool {
	return slices.ContainsFunc(list, func(n compute.NIC) bool { return n.ID == id })
}

// nicsSettled says that a running machine has the network cards that it should have.
func nicsSettled(inst nodeapi.Instance, s compute.Status) bool {
	return !slices.ContainsFunc(inst.Machine.NICs, func(n compute.NIC) bool { return !hasNIC(s.NICs, n.ID) }) &&
		!slices.ContainsFunc(s.NICs, func(n compute.NIC) bool { return !hasNIC(inst.Machine.NICs, n.ID) })
}

// changeNICs gives a running machine the network cards that it should have, and takes away the others. Like disks,
// what does not succeed is tried again, together with these.
func (n *Node) changeNICs(ctx context.Context, inst nodeapi.Instance, s compute.Status) {
	if nicsSettled(inst, s) || n.disksRest(inst.ID) {
		return
	}
	log := n.deps.Log.With("instance", inst.ID)
	rest := false
	for _, have := range s.NICs {
		if hasNIC(inst.Machine.NICs, have.ID) {
			continue
		}
		switch err := n.deps.Compute.DropNIC(ctx, inst.ID, have.ID); {
		case err == nil:
			log.Info("network card taken away", "interface", have.ID)
		case errors.Is(err, compute.ErrHeld):
			rest = true
		default:
			rest = true
			log.Error("network card not taken away", "interface", have.ID, "error", err)
		}
	}
	for _, want := range inst.Machine.NICs {
		if hasNIC(s.NICs, want.ID) {
			continue
		}
		if err := n.plugNIC(ctx, inst.ID, want); err != nil {
			rest = true
			log.Error("network card not plugged in", "interface", want.ID, "error", err)
		} else {
			log.Info("network card plugged in", "interface", want.ID)
		}
	}
	if rest {
		n.mu.Lock()
		n.disksRetry[inst.ID] = n.deps.Now().Add(diskPatience)
		n.mu.Unlock()
		time.AfterFunc(diskPatience, func() { poke(n.wake) })
	}
}

func (n *Node) plugNIC(ctx context.Context, instance string, nic compute.NIC) error {
	tap, err := n.deps.Network.OpenTap(ctx, nic.ID)
	if err != nil {
		return err
	}
	defer tap.Close()
	nic.MTU = n.deps.Network.MTU()
	return n.deps.Compute.SetNIC(ctx, instance, nic, tap)
}

func observedNICs(s compute.Status) (out []string) {
	for _, n := range s.NICs {
		out = append(out, n.ID)
	}
	return out
}
