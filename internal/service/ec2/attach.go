package ec2

import (
	"context"
	"regexp"
	"strings"

	"karri.dev/internal/aws/awserr"
	shape "karri.dev/internal/aws/shape/ec2"
	"karri.dev/internal/compute"
	"karri.dev/internal/lifecycle"
	"karri.dev/internal/resource"
	"karri.dev/internal/store"
)

// deviceName is what EC2 takes as the name of a volume's device.
var deviceName = regexp.MustCompile(`^(/dev/)?(sd[a-z]|xvd[a-z]|xvd[b-d][a-z]|hd[a-z])([1-9]|1[0-5])?$`)

func checkDevice(name string) error {
	if !deviceName.MatchString(name) {
		return awserr.New("InvalidParameterValue", "Value (%s) for parameter device is invalid. %s is not a valid EBS device name.", name, name)
	}
	return nil
}

// compareDevices orders device names as people count them: xvdb before xvdba.
func compareDevices(a, b string) int {
	if len(a) != len(b) {
		return len(a) - len(b)
	}
	return strings.Compare(a, b)
}

// sameDevice says that two names are one device: /dev/sdf is sdf.
func sameDevice(a, b string) bool {
	return strings.TrimPrefix(a, "/dev/") == strings.TrimPrefix(b, "/dev/")
}

// AttachVolume attaches a volume to an instance. The node plugs it in while the guest runs.
func (s *Service) AttachVolume(ctx context.Context, in *shape.AttachVolumeRequest) (*shape.AttachVolumeResult, error) {
	info, err := s.begin(ctx, in)
	if err != nil {
		return nil, err
	}
	switch {
	case in.VolumeId == "":
		return nil, errMissing("VolumeId")
	case in.InstanceId == "":
		return nil, errMissing("InstanceId")
	case in.Device == "":
		return nil, errMissing("Device")
	}
	if err := checkDevice(in.Device); err != nil {
		return nil, err
	}
	var a shape.VolumeAttachment
	err = s.update(ctx, in.DryRun, func(tx *store.Tx) error {
		v, err := volumes.find(tx, info, in.VolumeId)
		if err != nil {
			return err
		}
		inst, err := instances.find(tx, info, in.InstanceId)
		switch {
		case err != nil:
			return err
		case v.Attachment != nil:
			return awserr.New("VolumeInUse", "%s is already attached to an instance", v.ID)
		case v.State != resource.VolumeAvailable:
			return awserr.New("IncorrectState", "Volume '%s' is not 'available'.", v.ID)
		case inst.State != resource.Running && inst.State != resource.Stopped:
			return awserr.New("IncorrectState", "Instance '%s' is not 'running'.", inst.ID)
		case v.Zone != inst.Zone:
			return awserr.New("InvalidVolume.ZoneMismatch", "The volume '%s' is not in the same availability zone as instance '%s'", v.ID, inst.ID)
		}
		have := volumesOf(tx, inst)
		for _, other := range have {
			if sameDevice(other.Attachment.Device, in.Device) {
				return awserr.New("InvalidParameterValue", "Invalid value '%s' for unixDevice. Attachment point %s is already in use", in.Device, in.Device)
			}
		}
		if n := len(have) + len(inst.Interfaces); n+storeDisks(inst) >= slots(inst) {
			return awserr.New("AttachmentLimitExceeded", "The maximum number of volumes that can be attached to the instance '%s' while it runs has been reached.", inst.ID)
		}
		next := *v
		next.State = resource.VolumeInUse
		next.Attachment = &resource.VolumeAttachment{InstanceID: inst.ID, Device: in.Device, State: resource.Attaching, At: s.now()}
		if inst.State == resource.Stopped { // nobody has to do anything
			next.Attachment.State = resource.Attached
		}
		a = shapeAttachment(&next)
		return store.Volumes.Put(tx, &next)
	})
	if err != nil {
		return nil, err
	}
	return &shape.AttachVolumeResult{AttachTime: a.AttachTime, Device: a.Device, InstanceId: a.InstanceId, State: a.State, VolumeId: a.VolumeId}, nil
}

// storeDisks is how many disks an instance has that are no volumes.
func storeDisks(inst *resource.Instance) int { return choose(inst.RootDevice == "", 1, 0) }

// slots is how many disks and interfaces an instance can have as it is.
func slots(inst *resource.Instance) int {
	switch {
	case inst.State == resource.Stopped: // it gets others when it starts
		return compute.MaxSlots
	case inst.Slots == 0:
		return compute.Slots(2)
	}
	return inst.Slots
}

// DetachVolume takes a volume from its instance: the guest is asked to let go, and with Force not waited for.
func (s *Service) DetachVolume(ctx context.Context, in *shape.DetachVolumeRequest) (*shape.DetachVolumeResult, error) {
	info, err := s.begin(ctx, in)
	if err != nil {
		return nil, err
	}
	if in.VolumeId == "" {
		return nil, errMissing("VolumeId")
	}
	var a shape.VolumeAttachment
	err = s.update(ctx, in.DryRun, func(tx *store.Tx) error {
		v, err := volumes.find(tx, info, in.VolumeId)
		if err != nil {
			return err
		}
		if v.Attachment == nil {
			return awserr.New("IncorrectState", "Volume '%s' is in the '%s' state.", v.ID, v.State)
		}
		if in.InstanceId != "" {
			if _, err := instances.find(tx, info, in.InstanceId); err != nil {
				return err
			}
		}
		if in.InstanceId != "" && in.InstanceId != v.Attachment.InstanceID || in.Device != "" && !sameDevice(in.Device, v.Attachment.Device) {
			return awserr.New("InvalidAttachment.NotFound", "The volume '%s' is not attached to instance '%s' as device '%s'", v.ID, in.InstanceId, in.Device)
		}
		inst := store.Instances.Get(tx, v.Attachment.InstanceID)
		stopped := inst == nil || inst.State == resource.Stopped
		if inst != nil && !stopped && inst.RootDevice == v.Attachment.Device {
			return awserr.New("OperationNotPermitted", "Unable to detach root volume '%s' from instance '%s'", v.ID, inst.ID)
		}
		next, link := *v, *v.Attachment
		link.State, link.Force = resource.Detaching, link.Force || isTrue(in.Force)
		next.Attachment = &link
		a = shapeAttachment(&next)
		if stopped {
			return lifecycle.Detached(tx, v)
		}
		return store.Volumes.Put(tx, &next)
	})
	if err != nil {
		return nil, err
	}
	return &shape.DetachVolumeResult{
		AttachTime: a.AttachTime, Device: a.Device, InstanceId: a.InstanceId, State: a.State, VolumeId: a.VolumeId, DeleteOnTermination: a.DeleteOnTermination,
	}, nil
}

// shapeInstanceVolume shows a volume as its instance has it.
func shapeInstanceVolume(v *resource.Volume) *shape.EbsInstanceBlockDevice {
	a := v.Attachment
	return &shape.EbsInstanceBlockDevice{AttachTime: a.At, DeleteOnTermination: a.DeleteOnEnd, Status: string(a.State), VolumeId: v.ID}
}
