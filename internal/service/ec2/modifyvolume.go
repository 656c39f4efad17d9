package ec2

import (
	"context"
	"strconv"
	"time"

	"karri.dev/internal/aws/awserr"
	shape "karri.dev/internal/aws/shape/ec2"
	"karri.dev/internal/filter"
	"karri.dev/internal/resource"
	"karri.dev/internal/store"
	"karri.dev/internal/volumetype"
)

// modifyPause is how long EBS makes one wait between two modifications of a volume.
const modifyPause = 6 * time.Hour

// ModifyVolume grows a volume, or changes its type or limits, while it is used.
func (s *Service) ModifyVolume(ctx context.Context, in *shape.ModifyVolumeRequest) (*shape.ModifyVolumeResult, error) {
	info, err := s.begin(ctx, in)
	if err != nil {
		return nil, err
	}
	switch {
	case in.VolumeId == "":
		return nil, errMissing("VolumeId")
	case in.Size == nil && in.VolumeType == "" && in.Iops == nil && in.Throughput == nil:
		return nil, errCombination("At least one of size, volume type, IOPS or throughput must be specified.")
	}
	var out *resource.Volume
	err = s.update(ctx, in.DryRun, func(tx *store.Tx) error {
		v, err := volumes.find(tx, info, in.VolumeId)
		switch {
		case err != nil:
			return err
		case v.State != resource.VolumeAvailable && v.State != resource.VolumeInUse:
			return awserr.New("IncorrectState", "Volume '%s' is in the '%s' state.", v.ID, v.State)
		case v.Modification != nil && v.Modification.State == "modifying":
			return awserr.New("IncorrectModificationState", "Volume %s is already being modified: its modification has not completed.", v.ID)
		case v.Modification != nil && s.now().Sub(v.Modification.StartedAt) < modifyPause:
			return awserr.New("VolumeModificationRateExceeded", "You've reached the maximum modification rate per volume limit. Wait at least 6 hours between modifications per EBS volume.")
		}
		d := disk{kind: v.Type, gib: v.SizeGiB, iops: in.Iops, throughput: in.Throughput}
		if in.VolumeType != "" {
			d.kind = in.VolumeType
		}
		if in.Size != nil {
			d.gib = *in.Size
		}
		if d.gib < v.SizeGiB {
			return awserr.New("InvalidParameterValue", "New size cannot be smaller than existing size")
		}
		if t, ok := volumetype.Get(d.kind); ok && d.kind == v.Type { // what is not named stays
			if d.iops == nil && t.MaxIOPS > 0 {
				d.iops = &v.IOPS
			}
			if d.throughput == nil && t.MaxMiBps > 0 {
				d.throughput = &v.Throughput
			}
		}
		next := *v
		next.SizeGiB, next.Type = d.gib, d.kind
		if next.IOPS, next.Throughput, err = d.fill(); err != nil {
			return err
		}
		if next.SizeGiB == v.SizeGiB && next.Type == v.Type && next.IOPS == v.IOPS && next.Throughput == v.Throughput {
			return awserr.New("InvalidParameterValue", "The volume '%s' is already as it is to become.", v.ID)
		}
		if err := checkRoom(tx, v.Zone, next.SizeGiB-v.SizeGiB); err != nil {
			return err
		}
		next.Modification = &resource.VolumeModification{
			State: "modifying", StartedAt: s.now(), OldSizeGiB: v.SizeGiB, OldType: v.Type, OldIOPS: volumetype.IOPS(v), OldThroughput: v.Throughput,
			TargetSizeGiB: next.SizeGiB, TargetType: next.Type, TargetIOPS: volumetype.IOPS(&next), TargetThroughput: next.Throughput,
		}
		out = &next
		return store.Volumes.Put(tx, &next)
	})
	if err != nil {
		return nil, err
	}
	m := shapeModification(out)
	return &shape.ModifyVolumeResult{VolumeModification: &m}, nil
}

func shapeModification(v *resource.Volume) shape.VolumeModification {
	m := v.Modification
	out := shape.VolumeModification{
		VolumeId: v.ID, ModificationState: m.State, StartTime: m.StartedAt, EndTime: m.EndedAt,
		TargetSize: m.TargetSizeGiB, TargetIops: m.TargetIOPS, TargetVolumeType: m.TargetType, TargetThroughput: m.TargetThroughput,
		OriginalSize: m.OldSizeGiB, OriginalIops: m.OldIOPS, OriginalVolumeType: m.OldType, OriginalThroughput: m.OldThroughput,
	}
	if m.State == "completed" {
		out.Progress = 100
	}
	return out
}

var modificationFilters = func() *filter.Set[*resource.Volume] {
	of := func(field func(*resource.VolumeModification) string) func(*resource.Volume) []string {
		return func(v *resource.Volume) []string { return one(field(v.Modification)) }
	}
	return &filter.Set[*resource.Volume]{Fields: map[string]func(*resource.Volume) []string{
		"modification-state":            of(func(m *resource.VolumeModification) string { return m.State }),
		"original-iops":                 of(func(m *resource.VolumeModification) string { return strconv.Itoa(m.OldIOPS) }),
		"original-multi-attach-enabled": constant[*resource.Volume]("false"),
		"original-size":                 of(func(m *resource.VolumeModification) string { return strconv.Itoa(m.OldSizeGiB) }),
		"original-throughput":           of(func(m *resource.VolumeModification) string { return strconv.Itoa(m.OldThroughput) }),
		"original-volume-type":          of(func(m *resource.VolumeModification) string { return m.OldType }),
		"start-time":                    of(func(m *resource.VolumeModification) string { return awsTime(m.StartedAt) }),
		"target-iops":                   of(func(m *resource.VolumeModification) string { return strconv.Itoa(m.TargetIOPS) }),
		"target-multi-attach-enabled":   constant[*resource.Volume]("false"),
		"target-size":                   of(func(m *resource.VolumeModification) string { return strconv.Itoa(m.TargetSizeGiB) }),
		"target-throughput":             of(func(m *resource.VolumeModification) string { return strconv.Itoa(m.TargetThroughput) }),
		"target-volume-type":            of(func(m *resource.VolumeModification) string { return m.TargetType }),
		"volume-id":                     func(v *resource.Volume) []string { return one(v.ID) },
	}}
}()

// DescribeVolumesModifications lists the last modification of each volume that has had one.
func (s *Service) DescribeVolumesModifications(ctx context.Context, in *shape.DescribeVolumesModificationsRequest) (*shape.DescribeVolumesModificationsResult, error) {
	info, r, err := s.read(ctx, in, in.DryRun)
	if err != nil {
		return nil, err
	}
	match, err := compile(modificationFilters, in.Filters)
	if err != nil {
		return nil, err
	}
	list, next, err := list(s, r, info, volumes, selection[resource.Volume]{
		op: "DescribeVolumesModifications", ids: in.VolumeIds, max: in.MaxResults, token: in.NextToken, least: 1,
		match: func(v *resource.Volume) bool { return v.Modification != nil && (match == nil || match(v)) },
	})
	if err != nil {
		return nil, err
	}
	for _, id := range in.VolumeIds {
		if v := store.Volumes.Get(r, id); v != nil && v.Modification == nil {
			return nil, awserr.New("InvalidVolumeModification.NotFound", "Modification for volume '%s' does not exist.", id)
		}
	}
	out := make([]shape.VolumeModification, len(list))
	for i, v := range list {
		out[i] = shapeModification(v)
	}
	return &shape.DescribeVolumesModificationsResult{VolumesModifications: out, NextToken: next}, nil
}
