package ec2

import (
	"regexp"
	"slices"

	"karri.dev/internal/aws/awserr"
	"karri.dev/internal/aws/call"
	shape "karri.dev/internal/aws/shape/ec2"
	"karri.dev/internal/resource"
	"karri.dev/internal/store"
	"karri.dev/internal/volumetype"
)

var ephemeral = regexp.MustCompile(`^ephemeral([0-9]|1[0-9]|2[0-3])$`)

func errMapping(format string, args ...any) error {
	return awserr.New("InvalidBlockDeviceMapping", format, args...)
}

// checkMappings checks block device mappings as far as possible without the state.
func checkMappings(mappings []shape.BlockDeviceMapping) error {
	seen := map[string]bool{}
	for _, m := range mappings {
		switch {
		case m.DeviceName == "":
			return errMissing("deviceName")
		case seen[m.DeviceName]:
			return errMapping("The device '%s' is used in more than one block-device mapping", m.DeviceName)
		case m.Ebs != nil && (m.VirtualName != "" || m.NoDevice != ""), m.VirtualName != "" && m.NoDevice != "":
			return errMapping("The device '%s' can have one of ebs, virtualName and noDevice", m.DeviceName)
		case m.VirtualName != "" && !ephemeral.MatchString(m.VirtualName):
			return errMapping("The virtual name '%s' is not valid", m.VirtualName)
		}
		if err := checkDevice(m.DeviceName); err != nil {
			return err
		}
		seen[m.DeviceName] = true
	}
	return nil
}

// newVolume is one volume that a launch makes.
type newVolume struct {
	device      string
	deleteOnEnd bool
	volume      resource.Volume // without owner, and without an id if it is a new one
}

// mergeMappings joins an image's or an instance's mappings and a request's: a request's mapping of a device takes the
// other's place, and may say only what is to differ. Disks of the host are kept where an image is made, which shows
// them; there are none here, as with most types in EC2, which ignores them at a launch.
func mergeMappings(have []resource.ImageMapping, asked []shape.BlockDeviceMapping, root string, keepVirtual bool) ([]resource.ImageMapping, error) {
	mappings := slices.Clone(have)
	for _, m := range asked {
		at := slices.IndexFunc(mappings, func(have resource.ImageMapping) bool { return sameDevice(have.Device, m.DeviceName) })
		isRoot := root != "" && sameDevice(m.DeviceName, root)
		if m.Ebs == nil { // NoDevice, which has no value, or a disk of the host
			if isRoot {
				return nil, errMapping("The root device '%s' cannot be left out", m.DeviceName)
			}
			if at >= 0 {
				mappings = slices.Delete(mappings, at, at+1)
			}
			if m.VirtualName != "" && keepVirtual {
				mappings = append(mappings, resource.ImageMapping{Device: m.DeviceName, Virtual: m.VirtualName})
			}
			continue
		}
		next := resource.ImageMapping{Device: m.DeviceName, DeleteOnEnd: true}
		if at >= 0 {
			next = mappings[at]
			next.Virtual = ""
		}
		e := m.Ebs
		if isRoot && at >= 0 && e.SnapshotId != "" && e.SnapshotId != next.SnapshotID {
			return nil, errMapping("The snapshot of the root device '%s' cannot be changed", m.DeviceName)
		}
		next.SnapshotID = pick(e.SnapshotId, next.SnapshotID)
		if e.VolumeType != "" && e.VolumeType != next.Type {
			next.Type, next.IOPS, next.Throughput = e.VolumeType, 0, 0
		}
		if e.DeleteOnTermination != nil {
			next.DeleteOnEnd = *e.DeleteOnTermination
		}
		if e.VolumeSize != nil {
			next.SizeGiB = *e.VolumeSize
		}
		if e.Iops != nil {
			next.IOPS = *e.Iops
		}
		if e.Encrypted != nil {
			next.Encrypted = e.Encrypted
		}
		if e.Throughput != nil {
			next.Throughput = *e.Throughput
		}
		if next.SizeGiB == 0 && next.SnapshotID == "" {
			return nil, errMissing("size/snapshot")
		}
		if at >= 0 {
			mappings[at] = next
		} else {
			mappings = append(mappings, next)
		}
	}
	return mappings, nil
}

// mappedDisk gives what a mapping asks of a volume of a size.
func mappedDisk(m resource.ImageMapping, gib int) disk {
	d := disk{kind: pick(m.Type, volumetype.Default), gib: gib}
	if m.IOPS != 0 {
		d.iops = &m.IOPS
	}
	if m.Throughput != 0 {
		d.throughput = &m.Throughput
	}
	return d
}

// joined gives the mappings of a launch.
func joined(img *resource.Image, asked []shape.BlockDeviceMapping) ([]resource.ImageMapping, error) {
	root := ""
	if img.RootDeviceType == "ebs" {
		root = img.RootDeviceName
	}
	return mergeMappings(img.Mappings, asked, root, false)
}

// planVolumes gives the volumes of a launch. Who may launch an image may use its snapshots, and not others for that.
func (s *Service) planVolumes(r store.Reader, info *call.Info, img *resource.Image, asked []shape.BlockDeviceMapping) ([]newVolume, error) {
	mappings, err := joined(img, asked)
	if err != nil {
		return nil, err
	}
	var out []newVolume
	for _, m := range mappings {
		if m.Virtual != "" {
			continue
		}
		d := mappedDisk(m, m.SizeGiB)
		d.encrypted, d.encrypts = m.Encrypted, encryptsByDefault(r, info)
		v := resource.Volume{Type: d.kind}
		var snap *resource.Snapshot
		if m.SnapshotID != "" {
			own := slices.ContainsFunc(img.Mappings, func(of resource.ImageMapping) bool {
				return of.SnapshotID == m.SnapshotID && sameDevice(of.Device, m.Device)
			})
			if snap = store.Snapshots.Get(r, m.SnapshotID); snap == nil || !own || snap.AccountID != img.AccountID {
				if snap, err = findSnapshot(r, info, m.SnapshotID); err != nil {
					return nil, err
				}
			}
		}
		if err := s.fillVolume(&v, d, snap); err != nil {
			return nil, err
		}
		out = append(out, newVolume{m.Device, m.DeleteOnEnd, v})
	}
	return out, nil
}

func pick(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

// addVolumes makes the volumes of a launch for one instance.
func (s *Service) addVolumes(tx *store.Tx, info *call.Info, p *plan, inst *resource.Instance) error {
	for _, n := range p.volumes {
		v := n.volume
		v.Owned = inst.Owned
		v.Tags = p.tags["volume"]
		v.ID, v.Zone, v.State = pick(v.ID, s.IDs.Resource("vol-")), inst.Zone, resource.VolumeCreating
		v.Attachment = &resource.VolumeAttachment{
			InstanceID: inst.ID, Device: n.device, State: resource.Attaching, At: inst.LaunchedAt, DeleteOnEnd: n.deleteOnEnd,
		}
		if err := s.addVolume(tx, &v); err != nil {
			return err
		}
	}
	return nil
}

// shapeMappings shows an image's mappings.
func shapeMappings(img *resource.Image) []shape.BlockDeviceMapping {
	out := []shape.BlockDeviceMapping{}
	for _, m := range img.Mappings {
		b := shape.BlockDeviceMapping{DeviceName: m.Device, VirtualName: m.Virtual}
		if m.Virtual == "" {
			yes, no := m.DeleteOnEnd, false
			b.Ebs = &shape.EbsBlockDevice{DeleteOnTermination: &yes, Encrypted: &no, SnapshotId: m.SnapshotID, VolumeType: m.Type}
			for _, n := range []struct {
				value int
				to    **int
			}{{m.SizeGiB, &b.Ebs.VolumeSize}, {m.IOPS, &b.Ebs.Iops}, {m.Throughput, &b.Ebs.Throughput}} {
				if n.value != 0 {
					*n.to = &n.value
				}
			}
		}
		out = append(out, b)
	}
	return out
}
