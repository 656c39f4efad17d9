package lifecycle

import (
	"slices"
	"time"

	"karri.dev/internal/resource"
	"karri.dev/internal/store"
)

// DetachInterface makes an interface free again: no guest has it any more.
func DetachInterface(tx *store.Tx, e *resource.Interface) error {
	next := *e
	next.InstanceID, next.AttachmentID, next.AttachState, next.DeviceIndex = "", "", "", 0
	next.AttachedAt, next.DeleteOnEnd = time.Time{}, false
	if inst := store.Instances.Get(tx, e.InstanceID); inst != nil {
		owner := *inst
		owner.Interfaces = slices.DeleteFunc(slices.Clone(inst.Interfaces), func(id string) bool { return id == e.ID })
		if err := store.Instances.Put(tx, &owner); err != nil {
			return err
		}
	}
	return store.Interfaces.Put(tx, &next)
}

// settleInterfaces ends what was under way with the interfaces of an instance whose machine is off, and gives the
// instance as it is then.
func settleInterfaces(tx *store.Tx, inst *resource.Instance) (*resource.Instance, error) {
	next := *inst
	next.Interfaces = nil
	for _, id := range inst.Interfaces {
		e := store.Interfaces.Get(tx, id)
		if e != nil && e.AttachState == "detaching" {
			if err := DetachInterface(tx, e); err != nil {
				return nil, err
			}
			continue
		}
		next.Interfaces = append(next.Interfaces, id)
		if e == nil {
			continue
		}
		settled := *e
		settled.AttachState = ""
		if e.PublicIP != "" && e.AllocationID == "" {
			settled.PublicIP, settled.AutoPublic = "", true
		}
		if settled.AttachState != e.AttachState || settled.PublicIP != e.PublicIP {
			if err := store.Interfaces.Put(tx, &settled); err != nil {
				return nil, err
			}
		}
	}
	return &next, nil
}
