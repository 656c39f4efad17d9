package ec2

import (
	"karri.dev/internal/aws/awserr"
	"karri.dev/internal/volumetype"
)

// disk is what is asked of a new or changed volume.
type disk struct {
	kind             string
	gib              int
	iops, throughput *int
	encrypted        *bool
	encrypts         bool // all new volumes of the account are encrypted
}

// fill checks a volume's size and limits against its type, in AWS's order, and gives those that hold.
func (d disk) fill() (iops, throughput int, err error) {
	t, ok := volumetype.Get(d.kind)
	switch {
	case !ok:
		return 0, 0, awserr.New("UnknownVolumeType", "Unsupported volume type '%s' for volume creation.", d.kind)
	case d.gib < t.MinGiB:
		return 0, 0, awserr.New("InvalidParameterValue", "Volume of %dGiB is too small for volume type %s; minimum is %dGiB.", d.gib, d.kind, t.MinGiB)
	case d.gib > t.MaxGiB:
		return 0, 0, awserr.New("InvalidParameterValue", "Volume of %dGiB is too large for volume type %s; maximum is %dGiB.", d.gib, d.kind, t.MaxGiB)
	}
	switch {
	case d.iops != nil && t.MaxIOPS == 0:
		return 0, 0, errCombination("The parameter iops is not supported for %s volumes.", d.kind)
	case d.iops == nil && t.MaxIOPS > 0 && t.DefaultIOPS == 0:
		return 0, 0, errMissing("iops")
	case d.iops == nil:
		iops = t.DefaultIOPS
	default:
		iops = *d.iops
		if iops < t.MinIOPS {
			return 0, 0, awserr.New("InvalidParameterValue", "Volume iops of %d is too low; minimum is %d.", iops, t.MinIOPS)
		}
		if iops > t.MaxIOPS {
			return 0, 0, awserr.New("InvalidParameterValue", "Volume iops of %d is too high; maximum is %d.", iops, t.MaxIOPS)
		}
		if iops > max(t.DefaultIOPS, t.PerGiB*d.gib) {
			return 0, 0, errCombination("Iops to volume size ratio of %f is too high; maximum is %d", float64(iops)/float64(d.gib), t.PerGiB)
		}
	}
	switch {
	case d.throughput == nil && t.MaxMiBps > 0:
		throughput = volumetype.Throughput
	case d.throughput != nil && t.MaxMiBps == 0:
		return 0, 0, errCombination("The parameter throughput is not supported for %s volumes.", d.kind)
	case d.throughput != nil:
		throughput = *d.throughput
		if throughput < t.MinMiBps || throughput > t.MaxMiBps {
			return 0, 0, awserr.New("InvalidParameterValue", "Throughput of %d MiBps is out of range; it must be from %d to %d.", throughput, t.MinMiBps, t.MaxMiBps)
		}
		if 4*throughput > iops {
			return 0, 0, errCombination("Throughput (MiBps) to iops ratio of %f is too high; maximum is 0.250000 MiBps per iops.", float64(throughput)/float64(iops))
		}
	}
	return iops, throughput, nil
}
