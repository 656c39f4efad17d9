package volumetype

import (
	"testing"

	"karri.dev/internal/compute"
	"karri.dev/internal/resource"
)

func TestLimits(t *testing.T) {
	const mib = 1 << 20
	for name, x := range map[string]struct {
		v    resource.Volume
		want compute.Limits
	}{
		"small gp2": {resource.Volume{Type: "gp2", SizeGiB: 8}, compute.Limits{IOPS: 100, BurstIOPS: 3000, BurstSeconds: 1800, BytesPerSecond: 128 * mib}},
		"large gp2": {resource.Volume{Type: "gp2", SizeGiB: 10000}, compute.Limits{IOPS: 16000, BytesPerSecond: 250 * mib}},
		"gp3":       {resource.Volume{Type: "gp3", SizeGiB: 8, IOPS: 3000, Throughput: 125}, compute.Limits{IOPS: 3000, BytesPerSecond: 125 * mib}},
		"io2":       {resource.Volume{Type: "io2", SizeGiB: 8, IOPS: 500}, compute.Limits{IOPS: 500, BytesPerSecond: 4000 * mib}},
		"st1":       {resource.Volume{Type: "st1", SizeGiB: 1024}, compute.Limits{BytesPerSecond: 250 * mib}},
		"sc1":       {resource.Volume{Type: "sc1", SizeGiB: 16384}, compute.Limits{BytesPerSecond: 250 * mib}},
	} {
		if got := Limits(&x.v); got != x.want {
			t.Errorf("%s: %+v", name, got)
		}
	}
}
