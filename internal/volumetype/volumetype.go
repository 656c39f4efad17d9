// Package volumetype is what EBS offers under the names of its volume types, and what a guest may do to a volume
// of each. It is pure.
package volumetype

import (
	"math"

	"karri.dev/internal/compute"
	"karri.dev/internal/resource"
)

// Type is what EBS offers under one name.
type Type struct {
	MinGiB, MaxGiB     int
	MinIOPS, MaxIOPS   int // that can be asked for; 0 = none can
	PerGiB             int // most IOPS for each GiB
	DefaultIOPS        int // 0 = must be given, where any can
	MinMiBps, MaxMiBps int // throughput that can be asked for
}

var types = map[string]Type{
	"standard": {MinGiB: 1, MaxGiB: 1024},
	"gp2":      {MinGiB: 1, MaxGiB: 16384},
	"gp3":      {MinGiB: 1, MaxGiB: 65536, MinIOPS: 3000, MaxIOPS: 80000, PerGiB: 500, DefaultIOPS: 3000, MinMiBps: 125, MaxMiBps: 2000},
	"io1":      {MinGiB: 4, MaxGiB: 16384, MinIOPS: 100, MaxIOPS: 64000, PerGiB: 50},
	"io2":      {MinGiB: 4, MaxGiB: 65536, MinIOPS: 100, MaxIOPS: 256000, PerGiB: 1000},
	"st1":      {MinGiB: 125, MaxGiB: 16384},
	"sc1":      {MinGiB: 125, MaxGiB: 16384},
}

// What holds where nothing is asked for.
const (
	Default    = "gp2"
	Throughput = 125 // MiB/s, where none is asked for
)

// Get gives a type by its name.
func Get(name string) (Type, bool) {
	t, ok := types[name]
	return t, ok
}

// IOPS are those that EC2 shows of a volume.
func IOPS(v *resource.Volume) int {
	if v.Type == "gp2" {
		return gp2IOPS(v.SizeGiB)
	}
	return v.IOPS
}

func gp2IOPS(gib int) int { return min(max(100, 3*gib), 16000) }

// Limits are what a guest may do to a volume: what its type and its owner's wishes give, as EBS documents it.
func Limits(v *resource.Volume) compute.Limits {
	const mib = 1 << 20
	switch v.Type {
	case "gp2": // credits for half an hour of 3,000
		l := compute.Limits{IOPS: gp2IOPS(v.SizeGiB), BytesPerSecond: 250 * mib}
		if v.SizeGiB <= 170 {
			l.BytesPerSecond = 128 * mib
		}
		if l.IOPS < 3000 {
			l.BurstIOPS, l.BurstSeconds = 3000, 1800
		}
		return l
	case "gp3":
		return compute.Limits{IOPS: v.IOPS, BytesPerSecond: int64(v.Throughput) * mib}
	case "io1":
		return compute.Limits{IOPS: v.IOPS, BytesPerSecond: 1000 * mib}
	case "io2":
		return compute.Limits{IOPS: v.IOPS, BytesPerSecond: 4000 * mib}
	case "st1", "sc1":
		// Their best, not their baseline: credits of throughput are not counted.
		best, most := 250.0, 500.0
		if v.Type == "sc1" {
			best, most = 80, 250
		}
		return compute.Limits{BytesPerSecond: int64(math.Min(best*float64(v.SizeGiB)/1024, most) * mib)}
	default: // standard: some hundreds, as the disk gives
		return compute.Limits{IOPS: 200, BytesPerSecond: 90 * mib}
	}
}
