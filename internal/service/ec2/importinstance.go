package ec2

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"karri.dev/internal/aws/awserr"
	"karri.dev/internal/aws/call"
	shape "karri.dev/internal/aws/shape/ec2"
	"karri.dev/internal/lifecycle"
	"karri.dev/internal/resource"
	"karri.dev/internal/store"
)

// ImportInstance begins to make an instance of disk images that are in S3 in parts, or will be: the first is its root
// disk. The instance is there, stopped, when all are converted.
func (s *Service) ImportInstance(ctx context.Context, in *shape.ImportInstanceRequest) (*shape.ImportInstanceResult, error) {
	info, err := s.begin(ctx, in)
	if err != nil {
		return nil, err
	}
	spec := in.LaunchSpecification
	switch {
	case in.Platform == "":
		return nil, errMissing("platform")
	case spec == nil:
		return nil, errMissing("LaunchSpecification")
	case spec.InstanceType == "":
		return nil, errMissing("LaunchSpecification.InstanceType")
	case len(in.DiskImages) == 0:
		return nil, errMissing("DiskImage")
	case len(in.DiskImages) > maxImportDisks:
		return nil, awserr.New("InvalidParameter", "At most %d disk images can be imported into one instance.", maxImportDisks)
	case len(in.Description) > maxDescription:
		return nil, awserr.New("InvalidParameterValue", "The description has more than %d characters.", maxDescription)
	}
	if err := oneOf("platform", strings.ToLower(in.Platform), "windows", "linux"); err != nil {
		return nil, err
	}
	if err := oneOf("architecture", spec.Architecture, "i386", architecture); err != nil {
		return nil, err
	}
	task := &resource.ImportTask{
		Owned: s.owned(info, nil), ID: s.IDs.Resource(instanceImports.prefix), Description: in.Description, Architecture: architecture,
		Status: importActive, StatusMessage: "Pending", InstanceID: s.IDs.Resource(instances.prefix), ImageID: s.IDs.Resource(images.prefix),
	}
	if strings.EqualFold(in.Platform, "windows") {
		task.Platform = "Windows"
	}
	launch := importedLaunch(spec, task.ImageID)
	if _, err := check(launch); err != nil {
		return nil, err
	}
	for i := range in.DiskImages {
		d := &in.DiskImages[i]
		disk, v, err := s.converted(ctx, d.Image, d.Volume)
		if err != nil {
			return nil, err
		}
		disk.Description = d.Description
		task.Disks, task.Volumes = append(task.Disks, disk), append(task.Volumes, v)
	}
	err = s.update(ctx, in.DryRun, func(tx *store.Tx) error {
		// What the launch names must be there now; it is looked up anew when there is something to launch.
		p, err := s.planImported(tx, info, task, launch, make([]resource.ImageData, len(task.Disks)))
		if err != nil {
			return err
		}
		store.Images.Delete(tx, task.ImageID)
		made, pinned, total := *task, *launch, 0
		made.Volumes = nil
		for _, v := range task.Volumes {
			v.Zone = p.subnet.Zone
			total += v.SizeGiB
			made.Volumes = append(made.Volumes, v)
		}
		if err := checkRoom(tx, p.subnet.Zone, total); err != nil {
			return err
		}
		place := shape.Placement{}
		if launch.Placement != nil {
			place = *launch.Placement
		}
		place.AvailabilityZone, pinned.Placement = p.subnet.Zone, &place // the volumes are to be there
		if made.Launch, err = json.Marshal(&pinned); err != nil {
			return err
		}
		task = &made
		return store.ImportTasks.Put(tx, task)
	})
	if err != nil {
		return nil, err
	}
	out := shapeConversion(nil, task)
	return &shape.ImportInstanceResult{ConversionTask: &out}, nil
}

// importedLaunch gives the launch that an imported instance is made with.
func importedLaunch(spec *shape.ImportInstanceLaunchSpecification, image string) *shape.RunInstancesRequest {
	launch := &shape.RunInstancesRequest{
		ImageId: image, MinCount: 1, MaxCount: 1, InstanceType: spec.InstanceType, SubnetId: spec.SubnetId, PrivateIpAddress: spec.PrivateIpAddress,
		SecurityGroupIds: spec.GroupIds, SecurityGroups: spec.GroupNames, Placement: spec.Placement,
		InstanceInitiatedShutdownBehavior: spec.InstanceInitiatedShutdownBehavior,
	}
	if spec.UserData != nil {
		launch.UserData = spec.UserData.Data
	}
	if spec.Monitoring != nil {
		launch.Monitoring = &shape.RunInstancesMonitoringEnabled{Enabled: *spec.Monitoring}
	}
	return launch
}

// planImported puts the image of an imported instance into the transaction, and plans the launch.
func (s *Service) planImported(tx *store.Tx, info *call.Info, t *resource.ImportTask, in *shape.RunInstancesRequest, disks []resource.ImageData) (*plan, error) {
	err := store.Images.Put(tx, &resource.Image{
		Owned: t.Owned, ID: t.ImageID, Kind: "machine", Name: t.ID, Architecture: t.Architecture, Platform: t.Platform, State: resource.ImageAvailable,
		RootDeviceType: "ebs", RootDeviceName: defaultRootDevice, Location: t.Disks[0].Bucket + "/" + t.Disks[0].Key,
	})
	if err != nil {
		return nil, err
	}
	l, err := check(in)
	if err != nil {
		return nil, err
	}
	p, err := s.resolve(tx, info, l)
	if err != nil {
		return nil, err
	}
	p.id = t.InstanceID
	for n, v := range t.Volumes {
		device := defaultRootDevice
		if n > 0 {
			device = fmt.Sprintf("/dev/sd%c", 'a'+n)
		}
		d := disk{kind: "gp2", gib: v.SizeGiB, encrypts: encryptsByDefault(tx, info)}
		made := resource.Volume{ID: v.ID, Type: d.kind}
		// As a volume of a snapshot, but there is none.
		if err := s.fillVolume(&made, d, &resource.Snapshot{State: "completed", Data: disks[n]}); err != nil {
			return nil, err
		}
		p.volumes = append(p.volumes, newVolume{device, true, made})
	}
	return p, nil
}

// AddInstance puts an instance that was imported into a transaction, stopped. disks are the data of its volumes. Its
// image is one that nobody sees, and goes with it.
func (s *Service) AddInstance(tx *store.Tx, t *resource.ImportTask, disks []resource.ImageData) error {
	var in shape.RunInstancesRequest
	if err := json.Unmarshal(t.Launch, &in); err != nil {
		return fmt.Errorf("read the launch of %s: %w", t.ID, err)
	}
	info := requester(tx, &t.Owned, "ImportInstance")
	return s.Quotas.Within(tx, info, func(tx *store.Tx) error {
		p, err := s.planImported(tx, info, t, &in, disks)
		if err != nil {
			return err
		}
		list, err := s.make(tx, info, p, s.random())
		if err != nil {
			return err
		}
		next := *list[0]
		next.StateReason = resource.StateReason{}
		if err := lifecycle.Stopped(tx, &next); err != nil {
			return err
		}
		hidden := *p.image
		hidden.State = resource.ImageDeregistered
		return store.Images.Put(tx, &hidden)
	})
}

// requester is who asked for what is made by and by, so that the quotas of that user or role count: the account's root where they
// are gone, or it was that.
func requester(r store.Reader, o *resource.Owned, operation string) *call.Info {
	who := call.Caller{AccountID: o.AccountID, UserID: o.AccountID, ARN: "arn:aws:iam::" + o.AccountID + ":root"}
	if u := store.UsersByID.One(r, o.Creator); u != nil && u.AccountID == o.AccountID {
		who.UserName, who.UserID, who.ARN = u.Name, u.ID, u.ARN()
	} else if role := store.RolesByID.One(r, o.Creator); role != nil && role.AccountID == o.AccountID {
		who.UserID, who.ARN = role.ID, role.ARN()
		who.Session = &call.Session{Kind: call.RoleSession, AccountID: o.AccountID, PrincipalID: role.ID}
	}
	return &call.Info{Caller: who, Region: o.Region, Service: "ec2", Operation: operation}
}
