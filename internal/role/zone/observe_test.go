package zone

import (
	"testing"
	"time"

	"karri.dev/internal/compute"
	"karri.dev/internal/nodeapi"
	"karri.dev/internal/resource"
)

func TestNext(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	inst := func(p resource.Power, s resource.InstanceState) resource.Instance {
		return resource.Instance{ID: "i-1", Power: p, State: s, OnShutdown: "terminate"}
	}
	stops := inst(resource.PowerOn, resource.Running)
	stops.OnShutdown = "stop"
	for _, c := range []struct {
		name  string
		inst  resource.Instance
		seen  nodeapi.Observed
		state resource.InstanceState // "" = no change
		power resource.Power
	}{
		{"it runs", inst("on", resource.Pending), nodeapi.Observed{State: compute.Running, Power: "on"}, resource.Running, "on"},
		{"still starting", inst("on", resource.Pending), nodeapi.Observed{State: compute.Absent, Power: "on"}, "", ""},
		{"nothing new", inst("on", resource.Running), nodeapi.Observed{State: compute.Running, Power: "on"}, "", ""},
		{"a failed start is tried again", inst("on", resource.Pending), nodeapi.Observed{State: compute.Failed, Power: "on"}, "", ""},
		{"a start that cannot succeed", inst("on", resource.Pending), nodeapi.Observed{State: compute.Failed, Final: true, Power: "on"}, resource.ShuttingDown, "gone"},
		{"the guest powered off", inst("on", resource.Running), nodeapi.Observed{State: compute.Off, Power: "on"}, resource.ShuttingDown, "gone"},
		{"the guest powered off and may", stops, nodeapi.Observed{State: compute.Off, Power: "on"}, resource.Stopped, "off"},
		{"off, seen before the stop was asked for", inst("off", resource.Stopping), nodeapi.Observed{State: compute.Off, Power: "on"}, "", ""},
		{"stopped", inst("off", resource.Stopping), nodeapi.Observed{State: compute.Off, Power: "off"}, resource.Stopped, "off"},
		{"running, seen before the end was asked for", inst("gone", resource.ShuttingDown), nodeapi.Observed{State: compute.Absent, Power: "on"}, "", ""},
		{"ending", inst("gone", resource.ShuttingDown), nodeapi.Observed{State: compute.Off, Power: "gone"}, "", ""},
		{"ended", inst("gone", resource.ShuttingDown), nodeapi.Observed{State: compute.Absent, Power: "gone"}, resource.Terminated, "gone"},
		{"terminated stays so", inst("gone", resource.Terminated), nodeapi.Observed{State: compute.Running, Power: "gone"}, "", ""},
	} {
		got := next(&c.inst, c.seen, now)
		switch {
		case c.state == "":
			if got != nil {
				t.Errorf("%s: became %s, %s", c.name, got.State, got.Power)
			}
		case got == nil:
			t.Errorf("%s: no change, want %s", c.name, c.state)
		case got.State != c.state || got.Power != c.power:
			t.Errorf("%s: %s, %s; want %s, %s", c.name, got.State, got.Power, c.state, c.power)
		}
	}
}

func TestMachineUUID(t *testing.T) {
	a, b := machineUUID("i-0123456789abcdef0"), machineUUID("i-0123456789abcdef1")
	if len(a) != 36 || a[:3] != "ec2" || a == b || a != machineUUID("i-0123456789abcdef0") {
		t.Fatal(a, b)
	}
}
