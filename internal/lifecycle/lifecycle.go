// Package lifecycle is how an instance ends: the transitions of its record and what it gives back. The API
// (TerminateInstances) and the zone (a guest powered itself off, a launch failed) end instances in the same way.
package lifecycle

import (
	"time"

	"karri.dev/internal/resource"
	"karri.dev/internal/store"
)

// Shown is how long a terminated instance stays visible.
const Shown = time.Hour

// Reasons of EC2 for a state change.
var (
	ByUser  = resource.StateReason{Code: "Client.UserInitiatedShutdown", Message: "Client.UserInitiatedShutdown: User initiated shutdown"}
	ByGuest = resource.StateReason{Code: "Client.InstanceInitiatedShutdown", Message: "Client.InstanceInitiatedShutdown: Instance initiated shutdown"}
)

// End wants the instance gone and puts what follows into the transaction: it shuts down, or, if no node has
// it yet, is terminated at once. Ending an instance that is ending already changes nothing. It gives the
// record as it is now.
func End(tx *store.Tx, inst *resource.Instance, why resource.StateReason, now time.Time) (*resource.Instance, error) {
	if inst.Power == resource.PowerGone {
		return inst, nil
	}
	next := *inst
	next.Power, next.State = resource.PowerGone, resource.ShuttingDown
	next.StateReason = why
	next.StateReason.At = now
	if next.Node == "" {
		return Finish(tx, &next, now)
	}
	return &next, store.Instances.Put(tx, &next)
}

// Finish makes the instance terminated: to be called once nothing of it is left on a node. Its interfaces
// go (or are only detached), its addresses are free again. What is still shown
// of it stays until Reap. Finishing twice changes nothing. It gives the record as it is now.
func Finish(tx *store.Tx, inst *resource.Instance, now time.Time) (*resource.Instance, error) {
	if stored := store.Instances.Get(tx, inst.ID); stored != nil && !stored.State.Alive() {
		return stored, nil
	}
	for _, id := range inst.Interfaces {
		if err := leave(tx, id); err != nil {
			return nil, err
		}
	}
	if err := endVolumes(tx, inst.ID); err != nil {
		return nil, err
	}
	next := *inst
	next.Power, next.State, next.TerminatedAt = resource.PowerGone, resource.Terminated, now
	next.Interfaces, next.UserData, next.SealedUserData, next.PublicKey = nil, nil, nil, ""
	if err := store.Instances.Put(tx, &next); err != nil {
		return nil, err
	}
	for _, id := range []string{next.ImageID, next.KernelID, next.RamdiskID} {
		forgetImage(tx, id)
	}
	return &next, nil
}

// leave takes an interface from its instance, and deletes it if it was made for it.
func leave(tx *store.Tx, id string) error {
	eni := store.Interfaces.Get(tx, id)
	if eni == nil {
		return nil
	}
	if eni.DeleteOnEnd {
		if err := freeAddresses(tx, eni); err != nil {
			return err
		}
		store.Interfaces.Delete(tx, id)
		return nil
	}
	next := *eni
	next.InstanceID, next.AttachmentID, next.AttachState, next.DeviceIndex, next.AttachedAt = "", "", "", 0, time.Time{}
	if next.AllocationID == "" { // an address from the pool goes with the instance, an elastic one stays
		next.PublicIP = ""
	}
	return store.Interfaces.Put(tx, &next)
}

// forgetImage removes a deregistered image with its last instance.
func forgetImage(tx *store.Tx, id string) {
	img := store.Images.Get(tx, id)
	if img != nil && img.State == resource.ImageDeregistered && store.InstancesByImage.One(tx, id) == nil {
		store.Images.Delete(tx, id)
	}
}

// Reap forgets instances and NAT gateways that ended longer than Shown ago, at most limit of each, and says how many.
func Reap(tx *store.Tx, now time.Time, limit int) int {
	var old []string
	for inst := range store.InstancesTerminated.By(tx, "yes") {
		if now.Sub(inst.TerminatedAt) >= Shown {
			if old = append(old, inst.ID); len(old) == limit {
				break
			}
		}
	}
	for _, id := range old {
		store.Instances.Delete(tx, id)
	}
	nats := oldNATs(tx, now, limit)
	for _, id := range nats {
		store.NATGateways.Delete(tx, id)
	}
	return len(old) + len(nats) + reapVPN(tx, now, limit)
}
