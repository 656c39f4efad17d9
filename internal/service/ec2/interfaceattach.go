package ec2

import (
	"context"
	"slices"
	"time"

	"karri.dev/internal/aws/awserr"
	shape "karri.dev/internal/aws/shape/ec2"
	"karri.dev/internal/resource"
	"karri.dev/internal/store"
)

func errNoAttachment(id string) error {
	return awserr.New("InvalidAttachmentID.NotFound", "The attachment '%s' does not exist.", id)
}

// AttachNetworkInterface gives a stopped instance an interface, which it finds when it starts.
func (s *Service) AttachNetworkInterface(ctx context.Context, in *shape.AttachNetworkInterfaceRequest) (*shape.AttachNetworkInterfaceResult, error) {
	info, err := s.begin(ctx, in)
	if err != nil {
		return nil, err
	}
	switch {
	case in.InstanceId == "":
		return nil, errMissing("instanceId")
	case in.DeviceIndex < 1 || in.DeviceIndex > 31:
		return nil, errValue(itoa(in.DeviceIndex), "deviceIndex")
	case in.NetworkCardIndex != nil && *in.NetworkCardIndex != 0:
		return nil, errValue(itoa(*in.NetworkCardIndex), "networkCardIndex")
	}
	id := s.IDs.Resource("eni-attach-")
	err = s.update(ctx, in.DryRun, func(tx *store.Tx) error {
		e, err := editable(tx, info, in.NetworkInterfaceId)
		if err != nil {
			return err
		}
		inst, err := instances.find(tx, info, in.InstanceId)
		if err != nil {
			return err
		}
		if err := plugged(inst); err != nil {
			return err
		}
		if err := s.attachable(tx, e, inst, in.DeviceIndex); err != nil {
			return err
		}
		return attach(tx, e, inst, in.DeviceIndex, id, s.now())
	})
	if err != nil {
		return nil, err
	}
	return &shape.AttachNetworkInterfaceResult{AttachmentId: id}, nil
}

// plugged refuses to change the interfaces of an instance that is not stopped.
func plugged(inst *resource.Instance) error {
	switch inst.State {
	case resource.Stopped:
		return nil
	case resource.Running:
		return errUnsupported("Network interfaces of the running instance '%s' cannot be changed in this cloud yet: stop it first.", inst.ID)
	}
	return errInstanceState(inst.ID, string(inst.State))
}

// attachable checks that an instance can have an interface at a device index.
func (s *Service) attachable(r store.Reader, e *resource.Interface, inst *resource.Instance, device int) error {
	switch {
	case e.InstanceID != "" || e.Requester != "":
		return awserr.New("InvalidNetworkInterface.InUse", "Interface: [%s] in use.", e.ID)
	case e.Zone != inst.Zone:
		return errCombination("You may not attach a network interface to an instance if they are not in the same availability zone")
	case e.VPCID != inst.VPCID:
		return errUnsupported("The network interface '%s' is in another VPC than the instance '%s'.", e.ID, inst.ID)
	}
	for _, id := range inst.Interfaces {
		if other := store.Interfaces.Get(r, id); other != nil && other.DeviceIndex == device {
			return awserr.New("InvalidParameterValue", "Instance '%s' already has an interface attached at device index '%d'.", inst.ID, device)
		}
	}
	types, err := s.Types.At(r)
	if err != nil {
		return err
	}
	if t := types.Get(inst.Type); t != nil {
		if len(inst.Interfaces) >= t.MaxInterfaces() {
			return awserr.New("AttachmentLimitExceeded", "Interface count %d exceeds the limit for %s", len(inst.Interfaces)+1, t.Name)
		}
		if len(e.Addresses()) > t.AddressesPerInterface() {
			return awserr.New("PrivateIpAddressLimitExceeded", "Number of private addresses will exceed limit.")
		}
	}
	return nil
}

// attach writes an attachment into both records.
func attach(tx *store.Tx, e *resource.Interface, inst *resource.Instance, device int, id string, now time.Time) error {
	next, owner := *e, *inst
	next.InstanceID, next.DeviceIndex, next.AttachmentID, next.AttachedAt, next.DeleteOnEnd = inst.ID, device, id, now, false
	owner.Interfaces = append(slices.Clone(inst.Interfaces), e.ID)
	if err := store.Interfaces.Put(tx, &next); err != nil {
		return err
	}
	return store.Instances.Put(tx, &owner)
}

// DetachNetworkInterface takes an interface from a stopped instance.
func (s *Service) DetachNetworkInterface(ctx context.Context, in *shape.DetachNetworkInterfaceRequest) (*shape.DetachNetworkInterfaceResult, error) {
	info, err := s.begin(ctx, in)
	if err != nil {
		return nil, err
	}
	if in.AttachmentId == "" {
		return nil, errMissing("attachmentId")
	}
	err = s.update(ctx, in.DryRun, func(tx *store.Tx) error {
		for e := range store.InterfacesByOwner.By(tx, ownerKey(info)) {
			if e.AttachmentID == in.AttachmentId {
				return detach(tx, e)
			}
		}
		return errNoAttachment(in.AttachmentId)
	})
	if err != nil {
		return nil, err
	}
	return &shape.DetachNetworkInterfaceResult{}, nil
}

func detach(tx *store.Tx, e *resource.Interface) error {
	inst := store.Instances.Get(tx, e.InstanceID)
	switch {
	case e.Requester != "":
		return errRequester(e)
	case e.DeviceIndex == 0 || inst == nil:
		return awserr.New("OperationNotPermitted", "The network interface at device index 0 cannot be detached.")
	}
	if err := plugged(inst); err != nil {
		return err
	}
	next, owner := *e, *inst
	next.InstanceID, next.DeviceIndex, next.AttachmentID, next.AttachedAt, next.DeleteOnEnd = "", 0, "", time.Time{}, false
	owner.Interfaces = slices.DeleteFunc(slices.Clone(inst.Interfaces), func(id string) bool { return id == e.ID })
	if err := store.Interfaces.Put(tx, &next); err != nil {
		return err
	}
	return store.Instances.Put(tx, &owner)
}
