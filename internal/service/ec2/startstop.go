package ec2

import (
	"context"

	"karri.dev/internal/aws/awserr"
	"karri.dev/internal/aws/call"
	shape "karri.dev/internal/aws/shape/ec2"
	"karri.dev/internal/compute"
	"karri.dev/internal/lifecycle"
	"karri.dev/internal/resource"
	"karri.dev/internal/store"
	"karri.dev/internal/userdata"
)

func errNotEBS(inst *resource.Instance, verb string) error {
	return errUnsupported("The instance '%s' does not have an 'ebs' root device type and cannot be %s.", inst.ID, verb)
}

// StopInstances powers EBS-backed instances off: all that are named, or none. They keep their volumes, private
// addresses and elastic IPs; their hosts and public addresses from the pool are free.
func (s *Service) StopInstances(ctx context.Context, in *shape.StopInstancesRequest) (*shape.StopInstancesResult, error) {
	info, err := s.begin(ctx, in)
	if err != nil {
		return nil, err
	}
	if err := checkInstanceIDs(in.InstanceIds); err != nil {
		return nil, err
	}
	var out []shape.InstanceStateChange
	err = s.update(ctx, in.DryRun, func(tx *store.Tx) error {
		out = nil
		list, err := findInstances(tx, info, in.InstanceIds)
		if err != nil {
			return err
		}
		for _, inst := range list {
			switch {
			case inst.Power == resource.PowerGone:
				return errInstanceState(inst.ID, string(inst.State))
			case inst.RootDevice == "":
				return errNotEBS(inst, "stopped")
			case inst.APIStop:
				return awserr.New("OperationNotPermitted", "The instance '%s' may not be stopped. Modify its 'disableApiStop' instance attribute and try again.", inst.ID)
			}
		}
		for _, inst := range list {
			next := *inst
			if inst.Power == resource.PowerOn {
				next.Power, next.State, next.StateReason = resource.PowerOff, resource.Stopping, lifecycle.ByUser
				next.StateReason.At = s.now()
				if inst.Node == "" { // it was not placed yet
					next.State = resource.Stopped
					if err := lifecycle.Stopped(tx, &next); err != nil {
						return err
					}
				} else if err := store.Instances.Put(tx, &next); err != nil {
					return err
				}
			}
			out = append(out, shape.InstanceStateChange{InstanceId: inst.ID, CurrentState: shapeState(next.State), PreviousState: shapeState(inst.State)})
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return &shape.StopInstancesResult{StoppingInstances: out}, nil
}

// StartInstances powers stopped instances on again, on any host of their zone.
func (s *Service) StartInstances(ctx context.Context, in *shape.StartInstancesRequest) (*shape.StartInstancesResult, error) {
	info, err := s.begin(ctx, in)
	if err != nil {
		return nil, err
	}
	if err := checkInstanceIDs(in.InstanceIds); err != nil {
		return nil, err
	}
	var out []shape.InstanceStateChange
	rnd := s.random()
	err = s.update(ctx, in.DryRun, func(tx *store.Tx) error {
		out = nil
		list, err := findInstances(tx, info, in.InstanceIds)
		if err != nil {
			return err
		}
		for _, inst := range list {
			switch {
			case inst.Power == resource.PowerGone:
				return errInstanceState(inst.ID, string(inst.State))
			case inst.RootDevice == "":
				return errNotEBS(inst, "started")
			case inst.State == resource.Stopping:
				return errInstanceState(inst.ID, string(inst.State))
			}
		}
		for _, inst := range list {
			next := *inst
			if inst.State == resource.Stopped {
				volumes := volumesOf(tx, inst)
				if len(volumes) == 0 || volumes[0].Attachment.Device != inst.RootDevice {
					return awserr.New("IncorrectInstanceState", "Instance '%s' does not have a volume attached at root (%s)", inst.ID, inst.RootDevice)
				}
				next.Power, next.State, next.StateReason, next.LaunchedAt = resource.PowerOn, resource.Pending, resource.StateReason{}, s.now()
				next.Slots = compute.Slots(len(volumes) + len(inst.Interfaces))
				for _, id := range inst.Interfaces {
					e := store.Interfaces.Get(tx, id)
					if e == nil || !e.AutoPublic || e.PublicIP != "" {
						continue
					}
					given := *e
					if given.PublicIP = s.freePublic(tx, rnd); given.PublicIP == "" {
						return errNoPublic()
					}
					if err := store.Interfaces.Put(tx, &given); err != nil {
						return err
					}
				}
				if err := store.Instances.Put(tx, &next); err != nil {
					return err
				}
			}
			out = append(out, shape.InstanceStateChange{InstanceId: inst.ID, CurrentState: shapeState(next.State), PreviousState: shapeState(inst.State)})
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return &shape.StartInstancesResult{StartingInstances: out}, nil
}

// changeStopped changes what can be changed of a stopped instance only: its type, its kernel and ramdisk, its user data.
func (s *Service) changeStopped(tx *store.Tx, info *call.Info, inst *resource.Instance, c *instanceChange) error {
	if inst.State != resource.Stopped {
		return errInstanceState(inst.ID, string(inst.State))
	}
	next := *inst
	if c.userData != nil {
		if len(*c.userData) > maxUserData {
			return awserr.New("InvalidParameterValue", "User data is limited to %d bytes", maxUserData)
		}
		userdata.Set(s.Sealer, &next, *c.userData)
	}
	var err error
	if next.KernelID, err = part(tx, info, "kernel", c.kernel, inst.KernelID); err != nil {
		return err
	}
	if next.RamdiskID, err = part(tx, info, "ramdisk", c.ramdisk, inst.RamdiskID); err != nil {
		return err
	}
	if c.kind != "" {
		types, err := s.Types.At(tx)
		if err != nil {
			return err
		}
		kind := types.Get(c.kind)
		if kind == nil {
			return awserr.New("InvalidParameterValue", "Invalid value '%s' for InstanceType.", c.kind)
		}
		next.Type, next.VCPUs, next.MemoryMiB = kind.Name, kind.VCPUs, kind.MemoryMiB
	}
	return store.Instances.Put(tx, &next)
}
