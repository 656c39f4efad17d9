package ec2

import (
	"context"
	"slices"
	"time"

	"karri.dev/internal/aws/awserr"
	shape "karri.dev/internal/aws/shape/ec2"
	"karri.dev/internal/lifecycle"
	"karri.dev/internal/resource"
	"karri.dev/internal/store"
)

func errNoAttachment(id string) error {
	return awserr.New("InvalidAttachmentID.NotFound", "The attachment '%s' does not exist.", id)
}

// AttachNetworkInterface gives an instance an interface. Its node plugs it in while the guest runs; a stopped one finds
// it when it starts.
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
		if in.NetworkInterfaceId == "" {
			return errMissing("networkInterfaceId")
		}
		e, err := granted(tx, info, in.NetworkInterfaceId, resource.GrantAttach)
		if err != nil {
			return err
		}
		inst, err := instances.find(tx, info, in.InstanceId)
		if err != nil {
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

// attachable checks that an instance can have an interface at a device index.
func (s *Service) attachable(r store.Reader, e *resource.Interface, inst *resource.Instance, device int) error {
	switch {
	case inst.State != resource.Running && inst.State != resource.Stopped:
		return errInstanceState(inst.ID, string(inst.State))
	case e.InstanceID != "" || e.Requester != "":
		return awserr.New("InvalidNetworkInterface.InUse", "Interface: [%s] in use.", e.ID)
	case e.Zone != inst.Zone:
		return errCombination("You may not attach a network interface to an instance if they are not in the same availability zone")
	}
	for _, id := range inst.Interfaces {
		if other := store.Interfaces.Get(r, id); other != nil && other.DeviceIndex == device {
			return awserr.New("InvalidParameterValue", "Instance '%s' already has an interface attached at device index '%d'.", inst.ID, device)
		}
	}
	if n := len(volumesOf(r, inst)) + len(inst.Interfaces); n+storeDisks(inst) >= slots(inst) {
		return awserr.New("AttachmentLimitExceeded", "The maximum number of devices that can be attached to the instance '%s' while it runs has been reached.", inst.ID)
	}
	types, err := s.Types.At(r)
	if err != nil {
		return err
	}
	if t := types.Get(inst.Type); t != nil {
		if len(inst.Interfaces) >= t.MaxInterfaces() {
			return awserr.New("AttachmentLimitExceeded", "Interface count %d exceeds the limit for %s", len(inst.Interfaces)+1, t.Name)
		}
		if err := addressesFit(t, len(e.Addresses()), len(e.IPv6), len(e.Prefixes)); err != nil {
			return err
		}
	}
	return nil
}

// attach writes an attachment into both records.
func attach(tx *store.Tx, e *resource.Interface, inst *resource.Instance, device int, id string, now time.Time) error {
	next, owner := *e, *inst
	next.InstanceID, next.DeviceIndex, next.AttachmentID, next.AttachedAt, next.DeleteOnEnd = inst.ID, device, id, now, false
	if inst.State == resource.Running {
		next.AttachState = "attaching"
	}
	owner.Interfaces = append(slices.Clone(inst.Interfaces), e.ID)
	if err := store.Interfaces.Put(tx, &next); err != nil {
		return err
	}
	return store.Instances.Put(tx, &owner)
}

// DetachNetworkInterface takes an interface from its instance: a running guest is asked to let go, and with Force not
// waited for.
func (s *Service) DetachNetworkInterface(ctx context.Context, in *shape.DetachNetworkInterfaceRequest) (*shape.DetachNetworkInterfaceResult, error) {
	info, err := s.begin(ctx, in)
	if err != nil {
		return nil, err
	}
	if in.AttachmentId == "" {
		return nil, errMissing("attachmentId")
	}
	err = s.update(ctx, in.DryRun, func(tx *store.Tx) error {
		if e := attachedBy(tx, info, in.AttachmentId); e != nil {
			return detach(tx, e, isTrue(in.Force))
		}
		return errNoAttachment(in.AttachmentId)
	})
	if err != nil {
		return nil, err
	}
	return &shape.DetachNetworkInterfaceResult{}, nil
}

func detach(tx *store.Tx, e *resource.Interface, force bool) error {
	inst := store.Instances.Get(tx, e.InstanceID)
	switch {
	case e.Requester != "":
		return errRequester(e)
	case e.DeviceIndex == 0 || inst == nil:
		return awserr.New("OperationNotPermitted", "The network interface at device index 0 cannot be detached.")
	case inst.State == resource.Stopped || force && inst.State == resource.Running:
		return lifecycle.DetachInterface(tx, e)
	case inst.State != resource.Running:
		return errInstanceState(inst.ID, string(inst.State))
	}
	next := *e
	next.AttachState = "detaching"
	return store.Interfaces.Put(tx, &next)
}
