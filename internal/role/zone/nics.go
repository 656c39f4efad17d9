package zone

import (
	"slices"

	"karri.dev/internal/compute"
	"karri.dev/internal/lifecycle"
	"karri.dev/internal/nodeapi"
	"karri.dev/internal/resource"
	"karri.dev/internal/store"
)

// nicDone says whether a running machine has, or has no more, the interface that is on its way.
func nicDone(e *resource.Interface, o nodeapi.Observed) bool {
	has := slices.Contains(o.NICs, e.ID)
	return e.AttachState == "attaching" && has || e.AttachState == "detaching" && !has
}

func watchesNICs(inst *resource.Instance, o nodeapi.Observed) bool {
	return o.State == compute.Running && o.Power == inst.Power && inst.State == resource.Running
}

// nicNews says whether a node's word on an instance settles one of its interfaces.
func nicNews(r store.Reader, inst *resource.Instance, o nodeapi.Observed) bool {
	return watchesNICs(inst, o) && slices.ContainsFunc(interfacesOf(r, inst), func(e *resource.Interface) bool { return nicDone(e, o) })
}

// observeNICs settles the interfaces of an instance as its node saw them.
func observeNICs(tx *store.Tx, inst *resource.Instance, o nodeapi.Observed) error {
	if !watchesNICs(inst, o) {
		return nil
	}
	for _, e := range interfacesOf(tx, inst) {
		if !nicDone(e, o) {
			continue
		}
		if e.AttachState == "detaching" {
			if err := lifecycle.DetachInterface(tx, e); err != nil {
				return err
			}
			continue
		}
		next := *e
		next.AttachState = ""
		if err := store.Interfaces.Put(tx, &next); err != nil {
			return err
		}
	}
	return nil
}
