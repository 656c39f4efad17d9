package ec2

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"karri.dev/internal/aws/awserr"
	"karri.dev/internal/aws/call"
	shape "karri.dev/internal/aws/shape/ec2"
	"karri.dev/internal/resource"
	"karri.dev/internal/store"
)

func checkImageName(name, description string) error {
	switch {
	case name == "":
		return errMissing("name")
	case len(name) < 3 || len(name) > 128:
		return awserr.New("InvalidAMIName.Malformed", "AMI names must be between 3 and 128 characters long.")
	case len(description) > maxDescription:
		return awserr.New("InvalidParameterValue", "The description has more than %d characters.", maxDescription)
	}
	return nil
}

func nameFree(r store.Reader, info *call.Info, name string) error {
	if old := store.ImagesByName.One(r, ownerKey(info)+"/"+name); old != nil {
		return awserr.New("InvalidAMIName.Duplicate", "AMI name %s is already in use by AMI %s", name, old.ID)
	}
	return nil
}

// CreateImage makes an image of an instance: snapshots of its volumes, all of one moment, and the mappings that give
// new instances the like. A running guest is restarted, and the moment is that when it is down, unless NoReboot says
// that it is to go on.
func (s *Service) CreateImage(ctx context.Context, in *shape.CreateImageRequest) (*shape.CreateImageResult, error) {
	info, err := s.begin(ctx, in)
	if err != nil {
		return nil, err
	}
	if in.InstanceId == "" {
		return nil, errMissing("instanceId")
	}
	if err := checkImageName(in.Name, in.Description); err != nil {
		return nil, err
	}
	if err := checkMappings(in.BlockDeviceMappings); err != nil {
		return nil, err
	}
	tags, err := tagsOnCreate(in.TagSpecifications, "image", "snapshot")
	if err != nil {
		return nil, err
	}
	var made *resource.Image
	var snaps []*resource.Snapshot
	err = s.update(ctx, in.DryRun, func(tx *store.Tx) error {
		snaps = nil
		inst, err := instances.find(tx, info, in.InstanceId)
		switch {
		case err != nil:
			return err
		case inst.RootDevice == "":
			return awserr.New("InvalidParameterValue", "The instance '%s' does not have an 'ebs' root device type: no image can be created of it.", inst.ID)
		case inst.State != resource.Running && inst.State != resource.Stopped && inst.State != resource.Stopping:
			return errInstanceState(inst.ID, string(inst.State))
		}
		if err := nameFree(tx, info, in.Name); err != nil {
			return err
		}
		made = &resource.Image{
			Owned: s.owned(info, tags["image"]), ID: s.IDs.Resource("ami-"), Kind: "machine", Name: in.Name, Description: in.Description, Architecture: "x86_64",
			State: resource.ImagePending, RootDeviceType: "ebs", RootDeviceName: inst.RootDevice, KernelID: inst.KernelID, RamdiskID: inst.RamdiskID,
			Location: info.AccountID + "/" + in.Name,
		}
		if old := store.Images.Get(tx, inst.ImageID); old != nil {
			made.Architecture, made.Platform, made.BootMode, made.FileSystem = old.Architecture, old.Platform, old.BootMode, old.FileSystem
			if display, ok := old.Tags[resource.DisplayTag]; ok && made.Tags[resource.DisplayTag] == "" {
				made.Tags = withTag(made.Tags, resource.DisplayTag, display)
			}
		}
		var own []resource.ImageMapping // their snapshots are made below; until then the volumes stand for them
		volumes := map[string]*resource.Volume{}
		for _, v := range volumesOf(tx, inst) {
			volumes[v.Attachment.Device] = v
			own = append(own, resource.ImageMapping{
				Device: v.Attachment.Device, SnapshotID: v.ID, SizeGiB: v.SizeGiB, Type: v.Type, IOPS: v.IOPS, Throughput: v.Throughput, DeleteOnEnd: v.Attachment.DeleteOnEnd,
			})
		}
		if len(own) == 0 || own[0].Device != inst.RootDevice {
			return awserr.New("IncorrectInstanceState", "Instance '%s' does not have a volume attached at root (%s)", inst.ID, inst.RootDevice)
		}
		if made.Mappings, err = mergeMappings(own, in.BlockDeviceMappings, inst.RootDevice, true); err != nil {
			return err
		}
		now := s.now()
		for i, m := range made.Mappings {
			v := volumes[m.Device]
			if v == nil || v.ID != m.SnapshotID {
				if err := s.checkMapping(tx, info, m); err != nil {
					return err
				}
				continue
			}
			snap, err := s.addSnapshot(tx, info, v, fmt.Sprintf("Created by CreateImage(%s) for %s", inst.ID, made.ID), tags["snapshot"], now)
			if err != nil {
				return err
			}
			if inst.State == resource.Running && !isTrue(in.NoReboot) {
				snap.Reboot = true
				if err := store.Snapshots.Put(tx, snap); err != nil {
					return err
				}
			}
			made.Mappings[i].SnapshotID = snap.ID
			if err := s.checkMapping(nil, info, made.Mappings[i]); err != nil {
				return err
			}
			snaps = append(snaps, snap)
		}
		made.SnapshotID = made.Mappings[0].SnapshotID
		return store.Images.Put(tx, made)
	})
	if err != nil {
		return nil, err
	}
	if !snaps[0].Reboot {
		s.awaitCut(ctx, snaps...)
	}
	return &shape.CreateImageResult{ImageId: made.ID}, nil
}

func withTag(tags resource.Tags, key, value string) resource.Tags {
	out := maps.Clone(tags)
	if out == nil {
		out = resource.Tags{}
	}
	out[key] = value
	return out
}

// checkMapping checks a mapping of a new image: what a launch would refuse later. With r, its snapshot has to be one
// that the caller may use, and completed.
func (s *Service) checkMapping(r store.Reader, info *call.Info, m resource.ImageMapping) error {
	if m.Virtual != "" {
		return nil
	}
	gib := m.SizeGiB
	if m.SnapshotID != "" && r != nil {
		snap, err := findSnapshot(r, info, m.SnapshotID)
		switch {
		case err != nil:
			return err
		case snap.AccountID != info.AccountID:
			// Its owner could delete it under the image's instances.
			return awserr.New("AuthFailure", "Not authorized for snapshot:%s. Copy it first.", snap.ID).WithStatus(403)
		case snap.State != "completed":
			return awserr.New("IncorrectState", "The snapshot '%s' is in the '%s' state.", snap.ID, snap.State)
		case gib == 0:
			gib = snap.SizeGiB
		case gib < snap.SizeGiB:
			return awserr.New("InvalidBlockDeviceMapping", "Volume of size %dGB is smaller than snapshot '%s', expect size >= %dGB", gib, snap.ID, snap.SizeGiB)
		}
	}
	_, _, err := mappedDisk(m, gib).fill()
	return err
}

// registerSnapshots makes an image of snapshots that are there.
func (s *Service) registerSnapshots(ctx context.Context, info *call.Info, in *shape.RegisterImageRequest) (*shape.RegisterImageResult, error) {
	if err := checkImageName(in.Name, in.Description); err != nil {
		return nil, err
	}
	for _, e := range []error{
		oneOf("architecture", in.Architecture, "x86_64"), oneOf("virtualizationType", in.VirtualizationType, "hvm"),
		oneOf("bootMode", in.BootMode, "legacy-bios", "uefi"), oneOf("sriovNetSupport", in.SriovNetSupport, "simple"), checkMappings(in.BlockDeviceMappings),
	} {
		if e != nil {
			return nil, e
		}
	}
	tags, err := tagsOnCreate(in.TagSpecifications, "image")
	if err != nil {
		return nil, err
	}
	made := &resource.Image{
		Owned: s.owned(info, tags["image"]), ID: s.IDs.Resource("ami-"), Kind: "machine", Name: in.Name, Description: in.Description, Architecture: "x86_64",
		State: resource.ImageAvailable, RootDeviceType: "ebs", RootDeviceName: pick(in.RootDeviceName, defaultRootDevice), BootMode: in.BootMode,
		Location: info.AccountID + "/" + in.Name, ENA: isTrue(in.EnaSupport), SRIOV: in.SriovNetSupport,
	}
	if made.Mappings, err = mergeMappings(nil, in.BlockDeviceMappings, made.RootDeviceName, true); err != nil {
		return nil, err
	}
	root := slices.IndexFunc(made.Mappings, func(m resource.ImageMapping) bool { return sameDevice(m.Device, made.RootDeviceName) })
	if root < 0 || made.Mappings[root].SnapshotID == "" {
		return nil, errMapping("No snapshot is given for the root device '%s'.", made.RootDeviceName)
	}
	made.RootDeviceName, made.SnapshotID = made.Mappings[root].Device, made.Mappings[root].SnapshotID
	err = s.update(ctx, in.DryRun, func(tx *store.Tx) (err error) {
		next := *made
		next.Mappings = slices.Clone(made.Mappings)
		if err := nameFree(tx, info, next.Name); err != nil {
			return err
		}
		for i, m := range next.Mappings {
			if err := s.checkMapping(tx, info, m); err != nil {
				return err
			}
			if snap := store.Snapshots.Get(tx, m.SnapshotID); snap != nil && m.SizeGiB == 0 {
				next.Mappings[i].SizeGiB = snap.SizeGiB
			}
		}
		if next.KernelID, err = part(tx, info, "kernel", in.KernelId, ""); err != nil {
			return err
		}
		if next.RamdiskID, err = part(tx, info, "ramdisk", in.RamdiskId, ""); err != nil {
			return err
		}
		return store.Images.Put(tx, &next)
	})
	if err != nil {
		return nil, err
	}
	return &shape.RegisterImageResult{ImageId: made.ID}, nil
}

// CopyImage makes an image of the caller's that is as another. Data never changes, so that none is copied.
func (s *Service) CopyImage(ctx context.Context, in *shape.CopyImageRequest) (*shape.CopyImageResult, error) {
	info, err := s.begin(ctx, in)
	if err != nil {
		return nil, err
	}
	switch {
	case in.SourceRegion == "":
		return nil, errMissing("SourceRegion")
	case in.SourceImageId == "":
		return nil, errMissing("SourceImageId")
	case in.SourceRegion != info.Region:
		return nil, awserr.New("InvalidParameterValue", "Value (%s) for parameter SourceRegion is invalid. This cloud has the one region %s.", in.SourceRegion, info.Region)
	}
	if err := checkImageName(in.Name, in.Description); err != nil {
		return nil, err
	}
	tags, err := tagsOnCreate(in.TagSpecifications, "image", "snapshot")
	if err != nil {
		return nil, err
	}
	token, err := tokenOfRequest(in)
	if err != nil {
		return nil, err
	}
	var made *resource.Image
	err = s.update(ctx, in.DryRun, func(tx *store.Tx) error {
		for old := range store.ImagesByOwner.By(tx, ownerKey(info)) {
			if token.same(old.CopyToken) {
				made = old
				return token.check(old.CopyToken)
			}
		}
		from, err := findImage(tx, info, in.SourceImageId)
		switch {
		case err != nil:
			return err
		case from.State != resource.ImageAvailable:
			return awserr.New("InvalidAMIID.Unavailable", "The image ID '%s' is not available", from.ID)
		case from.RootDeviceType != "ebs" && from.AccountID != info.AccountID:
			return errNoStorage()
		}
		if err := nameFree(tx, info, in.Name); err != nil {
			return err
		}
		next := *from
		made = &next
		made.Owned, made.ID, made.Name, made.Description = s.owned(info, nil), s.IDs.Resource(imagePrefix(from.Kind)), in.Name, pick(in.Description, from.Description)
		made.Public, made.LaunchAccounts, made.Protected, made.Cooldown, made.CopyToken = false, nil, false, false, token.token
		made.DeprecatedAt, made.ProtectedUntil = time.Time{}, time.Time{}
		if isTrue(in.CopyImageTags) && from.AccountID == info.AccountID {
			made.Tags = maps.Clone(from.Tags)
		}
		for k, v := range tags["image"] {
			made.Tags = withTag(made.Tags, k, v)
		}
		if from.RootDeviceType == "ebs" {
			made.Location = info.AccountID + "/" + in.Name
		}
		made.Mappings = slices.Clone(from.Mappings)
		for i, m := range made.Mappings {
			if m.SnapshotID == "" {
				continue
			}
			snap := store.Snapshots.Get(tx, m.SnapshotID)
			if snap == nil || snap.State != "completed" || !mayRestore(tx, info.AccountID, snap) {
				return errNoStorage()
			}
			copied := s.copyOf(info, snap, fmt.Sprintf("Copied for DestinationAmi %s from SourceAmi %s for SourceSnapshot %s.", made.ID, from.ID, snap.ID), tags["snapshot"])
			if err := store.Snapshots.Put(tx, copied); err != nil {
				return err
			}
			made.Mappings[i].SnapshotID = copied.ID
			if m.SnapshotID == from.SnapshotID {
				made.SnapshotID = copied.ID
			}
		}
		return store.Images.Put(tx, made)
	})
	if err != nil {
		return nil, err
	}
	return &shape.CopyImageResult{ImageId: made.ID}, nil
}

func errNoStorage() error {
	return awserr.New("InvalidRequest", "You do not have permission to access the storage of this ami")
}

// copyOf gives a snapshot of the caller's with the data of another.
func (s *Service) copyOf(info *call.Info, from *resource.Snapshot, description string, tags resource.Tags) *resource.Snapshot {
	return &resource.Snapshot{
		Owned: s.owned(info, tags), ID: s.IDs.Resource("snap-"), VolumeID: resource.NoVolume, SizeGiB: from.SizeGiB, Description: description,
		State: "completed", Progress: 100, CompletedAt: s.now(), Data: from.Data, Encrypted: from.Encrypted,
	}
}
