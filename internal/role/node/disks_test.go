package node

import (
	"testing"
	"testing/synctest"
	"time"

	"karri.dev/internal/compute"
	"karri.dev/internal/nodeapi"
	"karri.dev/internal/resource"
)

// TestVolumes: a running machine gets and loses volumes; trouble with them is tried again, and is no trouble of the
// machine's.
func TestVolumes(t *testing.T) {
	inRig(t, func(r *rig) {
		inst := instance("i-1", resource.PowerOn, 0)
		r.want(inst)
		r.called("start i-1")
		r.reported(nodeapi.Observed{ID: "i-1", State: compute.Running, Power: resource.PowerOn})
		v := compute.Disk{Name: "vol-1", Path: "/v", Format: "raw", SizeBytes: 1024}
		with := func(disks ...compute.Disk) nodeapi.Instance {
			i := inst
			i.Machine.Disks = append(append([]compute.Disk(nil), inst.Machine.Disks...), disks...)
			return i
		}
		r.driver.fail(attempts + 2) // more than a machine may have
		r.want(with(v))
		for range attempts + 2 {
			r.called("set i-1 vol-1 1024")
			time.Sleep(diskPatience)
			synctest.Wait()
		}
		r.called("set i-1 vol-1 1024")
		r.reported(nodeapi.Observed{ID: "i-1", State: compute.Running, Power: resource.PowerOn, NICs: []string{"eni-1"}, Disks: []nodeapi.ObservedDisk{{Name: "vol-1", SizeBytes: 1024, Filled: true}}})
		v.SizeBytes = 2048
		r.want(with(v))
		r.called("set i-1 vol-1 2048")
		r.driver.beDeaf(true)
		r.want(inst)
		r.called("drop i-1 vol-1 false")
		forced := inst
		forced.Forced = []string{"vol-1"}
		r.want(forced)
		time.Sleep(diskPatience)
		synctest.Wait()
		r.called("drop i-1 vol-1 true")
		r.reported(nodeapi.Observed{ID: "i-1", State: compute.Running, Power: resource.PowerOn, NICs: []string{"eni-1"}, Disks: []nodeapi.ObservedDisk{{Name: "vol-1", SizeBytes: 2048, Filled: true, Cut: true}}})
		r.driver.beDeaf(false)
		time.Sleep(diskPatience)
		synctest.Wait()
		r.called("drop i-1 vol-1 true")
		r.reported(nodeapi.Observed{ID: "i-1", State: compute.Running, Power: resource.PowerOn})
		if r.images.held != 0 {
			t.Errorf("%d images are held", r.images.held)
		}
	})
}

// A running machine gets and loses network cards; what the guest does not let go of is asked for again.
func TestNICsOfARunningMachine(t *testing.T) {
	inRig(t, func(r *rig) {
		inst := instance("i-1", resource.PowerOn, 0)
		r.want(inst)
		r.called("start i-1")
		two := instance("i-1", resource.PowerOn, 0)
		two.Machine.NICs = append(two.Machine.NICs, compute.NIC{ID: "eni-2"})
		r.want(two)
		r.called("plug i-1 eni-2")
		r.reported(nodeapi.Observed{ID: "i-1", State: compute.Running, Power: resource.PowerOn, NICs: []string{"eni-1", "eni-2"}})
		r.driver.beDeaf(true)
		r.want(inst)
		r.called("unplug i-1 eni-2")
		r.reported(nodeapi.Observed{ID: "i-1", State: compute.Running, Power: resource.PowerOn, NICs: []string{"eni-1", "eni-2"}})
		r.driver.beDeaf(false)
		time.Sleep(diskPatience)
		synctest.Wait()
		r.called("unplug i-1 eni-2")
		r.reported(nodeapi.Observed{ID: "i-1", State: compute.Running, Power: resource.PowerOn})
	})
}
