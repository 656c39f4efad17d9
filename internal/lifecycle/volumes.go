package lifecycle

import (
	"karri.dev/internal/resource"
	"karri.dev/internal/store"
)

// DeleteVolume wants a volume that nobody has gone. Its zone deletes the data and then the record.
func DeleteVolume(tx *store.Tx, v *resource.Volume) error {
	next := *v
	next.State, next.Attachment = resource.VolumeDeleting, nil
	return store.Volumes.Put(tx, &next)
}

// Detached makes a volume free again: nothing has it open any more.
func Detached(tx *store.Tx, v *resource.Volume) error {
	next := *v
	next.Attachment = nil
	if next.State == resource.VolumeInUse {
		next.State = resource.VolumeAvailable
	}
	return store.Volumes.Put(tx, &next)
}

// endVolumes does with the volumes of an instance that ended as their attachments say.
func endVolumes(tx *store.Tx, instanceID string) error {
	var list []*resource.Volume
	for v := range store.VolumesByInstance.By(tx, instanceID) {
		list = append(list, v)
	}
	for _, v := range list {
		end := Detached
		if v.Attachment.DeleteOnEnd {
			end = DeleteVolume
		}
		if err := end(tx, v); err != nil {
			return err
		}
	}
	return nil
}

// Stopped makes an instance stopped, whose machine is off: its node is free, the address that it had from the pool
// too, and its volumes are as settled as they will be.
func Stopped(tx *store.Tx, inst *resource.Instance) error {
	next, err := settleInterfaces(tx, inst)
	if err != nil {
		return err
	}
	next.Power, next.State, next.Node, next.Slots = resource.PowerOff, resource.Stopped, "", 0
	var list []*resource.Volume
	for v := range store.VolumesByInstance.By(tx, inst.ID) {
		list = append(list, v)
	}
	for _, v := range list {
		var err error
		switch v.Attachment.State {
		case resource.Detaching:
			err = Detached(tx, v)
		case resource.Attaching:
			settled, link := *v, *v.Attachment
			link.State = resource.Attached
			settled.Attachment = &link
			err = store.Volumes.Put(tx, &settled)
		}
		if err != nil {
			return err
		}
	}
	return store.Instances.Put(tx, next)
}
