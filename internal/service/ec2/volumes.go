package ec2

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"slices"
	"strconv"

	"karri.dev/internal/aws/awserr"
	shape "karri.dev/internal/aws/shape/ec2"
	"karri.dev/internal/chunks"
	"karri.dev/internal/filter"
	"karri.dev/internal/lifecycle"
	"karri.dev/internal/resource"
	"karri.dev/internal/store"
	"karri.dev/internal/volumetype"
)

// CreateVolume makes a volume, empty or of a snapshot. Its zone makes the file.
func (s *Service) CreateVolume(ctx context.Context, in *shape.CreateVolumeRequest) (*shape.CreateVolumeResult, error) {
	info, err := s.begin(ctx, in)
	if err != nil {
		return nil, err
	}
	switch {
	case in.AvailabilityZone == "":
		return nil, errMissing("AvailabilityZone")
	case in.Size == nil && in.SnapshotId == "":
		return nil, errMissing("size/snapshot")
	case len(in.ClientToken) > maxClientToken:
		return nil, awserr.New("InvalidParameterValue", "The client token has more than %d characters.", maxClientToken)
	}
	tags, err := tagsOnCreate(in.TagSpecifications, "volume")
	if err != nil {
		return nil, err
	}
	v := &resource.Volume{
		Owned: s.owned(info, tags["volume"]), ID: s.IDs.Resource("vol-"), Zone: in.AvailabilityZone, Type: in.VolumeType,
		ClientToken: in.ClientToken, State: resource.VolumeCreating, Format: "raw",
	}
	if v.Type == "" {
		v.Type = defaultVolumeType(in.Iops)
	}
	if in.ClientToken != "" {
		plain := *in
		plain.ClientToken, plain.DryRun = "", nil
		data, _ := json.Marshal(&plain)
		sum := sha256.Sum256(data)
		v.TokenDigest = hex.EncodeToString(sum[:])
	}
	var made *resource.Volume
	err = s.update(ctx, in.DryRun, func(tx *store.Tx) error {
		if in.ClientToken != "" {
			if old := store.VolumesByToken.One(tx, v.OwnedBy()+"/"+in.ClientToken); old != nil {
				if old.TokenDigest != v.TokenDigest {
					return awserr.New("IdempotentParameterMismatch", "Arguments on this idempotent request are inconsistent with arguments used in previous request(s).")
				}
				made = old
				return nil
			}
		}
		if z := store.Zones.Get(tx, in.AvailabilityZone); z == nil || z.Region != info.Region {
			return awserr.New("InvalidZone.NotFound", "The zone '%s' does not exist.", in.AvailabilityZone)
		}
		next := *v
		var snap *resource.Snapshot
		if in.SnapshotId != "" {
			if snap, err = findSnapshot(tx, info, in.SnapshotId); err != nil {
				return err
			}
		}
		if err := s.fillVolume(&next, disk{kind: v.Type, gib: number(in.Size), iops: in.Iops, throughput: in.Throughput, encrypted: in.Encrypted, encrypts: encryptsByDefault(tx, info)}, snap); err != nil {
			return err
		}
		made = &next
		return s.addVolume(tx, made)
	})
	if err != nil {
		return nil, err
	}
	out := shapeVolume(made)
	return &shape.CreateVolumeResult{
		Attachments: out.Attachments, AvailabilityZone: out.AvailabilityZone, CreateTime: out.CreateTime, Encrypted: out.Encrypted, Size: out.Size,
		SnapshotId: out.SnapshotId, State: out.State, VolumeId: out.VolumeId, Iops: out.Iops, Tags: out.Tags, VolumeType: out.VolumeType, Throughput: out.Throughput, KmsKeyId: out.KmsKeyId,
	}, nil
}

// defaultVolumeType is what AWS takes when no type is given.
func defaultVolumeType(iops *int) string {
	if iops != nil {
		return "io1"
	}
	return volumetype.Default
}

func number(p *int) int {
	if p == nil {
		return 0
	}
	return *p
}

// fillVolume gives a new volume its size, its limits, and what it begins with: a snapshot, or nothing.
func (s *Service) fillVolume(v *resource.Volume, d disk, snap *resource.Snapshot) (err error) {
	v.Format = "raw"
	if snap != nil {
		if snap.State != "completed" {
			return awserr.New("IncorrectState", "The snapshot '%s' is in the '%s' state.", snap.ID, snap.State)
		}
		if d.gib == 0 {
			d.gib = snap.SizeGiB
		}
		if d.gib < snap.SizeGiB {
			return awserr.New("InvalidParameterValue", "Volume of size %dGB is smaller than snapshot '%s', expect size >= %dGB", d.gib, snap.ID, snap.SizeGiB)
		}
		data := snap.Data
		v.SnapshotID, v.Format, v.Base = snap.ID, "qcow2", &data
	}
	if v.Encrypted, err = encrypts(d, snap); err != nil {
		return err
	}
	if v.Encrypted {
		v.Format = "qcow2" // which knows what was never written: an encrypted hole would not read as zeros
	}
	v.SizeGiB = d.gib
	v.IOPS, v.Throughput, err = d.fill()
	return err
}

// addVolume puts a new volume into the transaction, within the zone's room.
func (s *Service) addVolume(tx *store.Tx, v *resource.Volume) error {
	if err := s.seal(v); err != nil {
		return err
	}
	if err := checkRoom(tx, v.Zone, v.SizeGiB); err != nil {
		return err
	}
	if z := store.Zones.Get(tx, v.Zone); v.Base != nil && v.Base.Format == chunks.Format && z != nil && z.StorageGiB > 0 && !z.Snapshots {
		return errUnsupported("Zone %s keeps its volumes away from the cloud's objects: it can make none of snapshot '%s'.", v.Zone, v.SnapshotID)
	}
	return store.Volumes.Put(tx, v)
}

// checkRoom refuses what a zone's storage cannot take.
func checkRoom(r store.Reader, zone string, gib int) error {
	z := store.Zones.Get(r, zone)
	if z == nil || z.StorageGiB == 0 { // it has not said yet
		return nil
	}
	if int(store.VolumesGiB.Sum(r, store.ZoneKey(zone)))+gib > z.StorageGiB {
		return awserr.New("InsufficientVolumeCapacity", "There is not enough capacity in zone %s for a volume of %d GiB.", zone, gib).WithStatus(500)
	}
	return nil
}

// DeleteVolume deletes a volume that is not attached.
func (s *Service) DeleteVolume(ctx context.Context, in *shape.DeleteVolumeRequest) (*shape.DeleteVolumeResult, error) {
	info, err := s.begin(ctx, in)
	if err != nil {
		return nil, err
	}
	if in.VolumeId == "" {
		return nil, errMissing("VolumeId")
	}
	err = s.update(ctx, in.DryRun, func(tx *store.Tx) error {
		v, err := volumes.find(tx, info, in.VolumeId)
		switch {
		case err != nil:
			return err
		case v.Attachment != nil:
			return awserr.New("VolumeInUse", "Volume %s is currently attached to %s", v.ID, v.Attachment.InstanceID)
		case v.State == resource.VolumeDeleting:
			return volumes.notFound(v.ID)
		}
		return lifecycle.DeleteVolume(tx, v)
	})
	if err != nil {
		return nil, err
	}
	return &shape.DeleteVolumeResult{}, nil
}

// shapeVolume shows a volume.
func shapeVolume(v *resource.Volume) shape.Volume {
	out := shape.Volume{
		Attachments: []shape.VolumeAttachment{}, AvailabilityZone: v.Zone, CreateTime: v.CreatedAt, Size: v.SizeGiB, SnapshotId: v.SnapshotID,
		State: string(v.State), VolumeId: v.ID, Iops: volumetype.IOPS(v), Tags: shapeTags(v.Tags), VolumeType: v.Type, Throughput: v.Throughput,
		Encrypted: v.Encrypted, KmsKeyId: ebsKeyOf(v.Owned, v.Encrypted),
	}
	if v.Attachment != nil {
		out.Attachments = append(out.Attachments, shapeAttachment(v))
	}
	return out
}

func shapeAttachment(v *resource.Volume) shape.VolumeAttachment {
	a := v.Attachment
	return shape.VolumeAttachment{
		AttachTime: a.At, Device: a.Device, InstanceId: a.InstanceID, State: string(a.State), VolumeId: v.ID, DeleteOnTermination: a.DeleteOnEnd,
	}
}

var volumeFilters = func() *filter.Set[*resource.Volume] {
	type volume = *resource.Volume
	attached := func(field func(*resource.VolumeAttachment) []string) func(volume) []string {
		return func(v volume) []string {
			if v.Attachment == nil {
				return nil
			}
			return field(v.Attachment)
		}
	}
	return &filter.Set[volume]{
		Fields: map[string]func(volume) []string{
			"attachment.attach-time":           attached(func(a *resource.VolumeAttachment) []string { return one(awsTime(a.At)) }),
			"attachment.delete-on-termination": attached(func(a *resource.VolumeAttachment) []string { return yes(a.DeleteOnEnd) }),
			"attachment.device":                attached(func(a *resource.VolumeAttachment) []string { return one(a.Device) }),
			"attachment.instance-id":           attached(func(a *resource.VolumeAttachment) []string { return one(a.InstanceID) }),
			"attachment.status":                attached(func(a *resource.VolumeAttachment) []string { return one(string(a.State)) }),
			"availability-zone":                func(v volume) []string { return one(v.Zone) },
			"create-time":                      func(v volume) []string { return one(awsTime(v.CreatedAt)) },
			"encrypted":                        func(v volume) []string { return one(strconv.FormatBool(v.Encrypted)) },
			"fast-restored":                    constant[volume]("false"),
			"multi-attach-enabled":             constant[volume]("false"),
			"operator.managed":                 constant[volume]("false"),
			"size":                             func(v volume) []string { return one(strconv.Itoa(v.SizeGiB)) },
			"snapshot-id":                      func(v volume) []string { return one(v.SnapshotID) },
			"status":                           func(v volume) []string { return one(string(v.State)) },
			"volume-id":                        func(v volume) []string { return one(v.ID) },
			"volume-type":                      func(v volume) []string { return one(v.Type) },
		},
		Never: []string{"availability-zone-id", "operator.principal", "source-volume-id"},
		Tags:  func(v volume) map[string]string { return v.Tags },
	}
}()

// DescribeVolumes lists volumes.
func (s *Service) DescribeVolumes(ctx context.Context, in *shape.DescribeVolumesRequest) (*shape.DescribeVolumesResult, error) {
	info, r, err := s.read(ctx, in, in.DryRun)
	if err != nil {
		return nil, err
	}
	match, err := compile(volumeFilters, in.Filters)
	if err != nil {
		return nil, err
	}
	if in.MaxResults != nil && len(in.VolumeIds) > 0 {
		return nil, errCombination("The parameter volumeIds cannot be used with the parameter maxResults")
	}
	list, next, err := list(s, r, info, volumes, selection[resource.Volume]{
		op: "DescribeVolumes", ids: in.VolumeIds, max: in.MaxResults, token: in.NextToken, match: match,
	})
	if err != nil {
		return nil, err
	}
	out := make([]shape.Volume, len(list))
	for i, v := range list {
		out[i] = shapeVolume(v)
	}
	return &shape.DescribeVolumesResult{Volumes: out, NextToken: next}, nil
}

var volumeStatusFilters = &filter.Set[*resource.Volume]{
	Fields: map[string]func(*resource.Volume) []string{
		"availability-zone":          func(v *resource.Volume) []string { return one(v.Zone) },
		"operator.managed":           constant[*resource.Volume]("false"),
		"volume-status.details-name": func(*resource.Volume) []string { return []string{"io-enabled", "io-performance"} },
		"volume-status.details-status": func(v *resource.Volume) []string {
			return []string{choose(v.State == resource.VolumeError, "failed", "passed"), "not-applicable"}
		},
		"volume-status.status": func(v *resource.Volume) []string { return one(volumeHealth(v)) },
	},
	Never: []string{
		"action.code", "action.description", "action.event-id", "availability-zone-id", "event.description", "event.event-id", "event.event-type",
		"event.not-after", "event.not-before", "operator.principal",
	},
}

func volumeHealth(v *resource.Volume) string {
	return choose(v.State == resource.VolumeError, "impaired", choose(v.State == resource.VolumeCreating, "insufficient-data", "ok"))
}

// DescribeVolumeStatus says how volumes are.
func (s *Service) DescribeVolumeStatus(ctx context.Context, in *shape.DescribeVolumeStatusRequest) (*shape.DescribeVolumeStatusResult, error) {
	info, r, err := s.read(ctx, in, in.DryRun)
	if err != nil {
		return nil, err
	}
	match, err := compile(volumeStatusFilters, in.Filters)
	if err != nil {
		return nil, err
	}
	if in.MaxResults != nil && len(in.VolumeIds) > 0 {
		return nil, errCombination("The parameter volumeIds cannot be used with the parameter maxResults")
	}
	list, next, err := list(s, r, info, volumes, selection[resource.Volume]{
		op: "DescribeVolumeStatus", ids: in.VolumeIds, max: in.MaxResults, token: in.NextToken, match: match,
	})
	if err != nil {
		return nil, err
	}
	out := make([]shape.VolumeStatusItem, len(list))
	for i, v := range list {
		out[i] = shape.VolumeStatusItem{
			Actions: []shape.VolumeStatusAction{}, AvailabilityZone: v.Zone, Events: []shape.VolumeStatusEvent{}, VolumeId: v.ID,
			VolumeStatus: &shape.VolumeStatusInfo{Status: volumeHealth(v), Details: []shape.VolumeStatusDetails{
				{Name: "io-enabled", Status: choose(v.State == resource.VolumeError, "failed", "passed")}, {Name: "io-performance", Status: "not-applicable"},
			}},
		}
	}
	return &shape.DescribeVolumeStatusResult{VolumeStatuses: out, NextToken: next}, nil
}

// DescribeVolumeAttribute answers one attribute.
func (s *Service) DescribeVolumeAttribute(ctx context.Context, in *shape.DescribeVolumeAttributeRequest) (*shape.DescribeVolumeAttributeResult, error) {
	info, r, err := s.read(ctx, in, in.DryRun)
	if err != nil {
		return nil, err
	}
	switch {
	case in.VolumeId == "":
		return nil, errMissing("VolumeId")
	case in.Attribute == "":
		return nil, errMissing("attribute")
	}
	v, err := volumes.find(r, info, in.VolumeId)
	if err != nil {
		return nil, err
	}
	out := &shape.DescribeVolumeAttributeResult{VolumeId: v.ID}
	switch in.Attribute {
	case "autoEnableIO":
		out.AutoEnableIO = boolean(v.AutoEnableIO)
	case "productCodes":
		out.ProductCodes = noCodes
	default:
		return nil, errValue(in.Attribute, "attribute")
	}
	return out, nil
}

// ModifyVolumeAttribute changes the one attribute that there is. I/O to volumes is never switched off here, so
// nothing follows from it.
func (s *Service) ModifyVolumeAttribute(ctx context.Context, in *shape.ModifyVolumeAttributeRequest) (*shape.ModifyVolumeAttributeResult, error) {
	info, err := s.begin(ctx, in)
	if err != nil {
		return nil, err
	}
	switch {
	case in.VolumeId == "":
		return nil, errMissing("VolumeId")
	case in.AutoEnableIO == nil || in.AutoEnableIO.Value == nil:
		return nil, errMissing("autoEnableIO")
	}
	err = s.update(ctx, in.DryRun, func(tx *store.Tx) error {
		v, err := volumes.find(tx, info, in.VolumeId)
		if err != nil {
			return err
		}
		next := *v
		next.AutoEnableIO = *in.AutoEnableIO.Value
		return store.Volumes.Put(tx, &next)
	})
	if err != nil {
		return nil, err
	}
	return &shape.ModifyVolumeAttributeResult{}, nil
}

// EnableVolumeIO enables I/O that was never disabled.
func (s *Service) EnableVolumeIO(ctx context.Context, in *shape.EnableVolumeIORequest) (*shape.EnableVolumeIOResult, error) {
	info, r, err := s.read(ctx, in, in.DryRun)
	if err != nil {
		return nil, err
	}
	if in.VolumeId == "" {
		return nil, errMissing("VolumeId")
	}
	if _, err := volumes.find(r, info, in.VolumeId); err != nil {
		return nil, err
	}
	return &shape.EnableVolumeIOResult{}, nil
}

// volumesOf gives the volumes of an instance, in order of device, the root volume first.
func volumesOf(r store.Reader, inst *resource.Instance) []*resource.Volume {
	list := slices.Collect(store.VolumesByInstance.By(r, inst.ID))
	slices.SortFunc(list, func(a, b *resource.Volume) int {
		if x, y := a.Attachment.Device == inst.RootDevice, b.Attachment.Device == inst.RootDevice; x != y {
			return choose(x, -1, 1)
		}
		return compareDevices(a.Attachment.Device, b.Attachment.Device)
	})
	return list
}
