package node

import (
	"net/netip"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"karri.dev/internal/nodeapi"
	"karri.dev/internal/resource"
)

func agentDir(t *testing.T) (string, disk) {
	dir := t.TempDir()
	d := disk{filepath.Join(dir, "agent")}
	if _, err := d.desired(); err != nil {
		t.Fatal(err)
	}
	return dir, d
}

func TestDiskKeeps(t *testing.T) {
	_, d := agentDir(t)
	want := &nodeapi.Desired{Revision: 7, Instances: []nodeapi.Instance{{ID: "i-1", Power: resource.PowerOn}}}
	if err := d.setDesired(want); err != nil {
		t.Fatal(err)
	}
	got, err := d.desired()
	if err != nil || !cmp.Equal(want, got) {
		t.Error(got, err)
	}
	if l := d.instance("i-1"); l.known || l.Started {
		t.Errorf("unknown instance: %+v", l)
	}
	r := record{Started: true, Reboots: 3}
	if err := d.setInstance("i-1", r); err != nil {
		t.Fatal(err)
	}
	if l := d.instance("i-1"); !l.known || l.record != r {
		t.Errorf("%+v", l)
	}
	for range 2 { // removing what is gone is no error
		if err := d.removeInstance("i-1"); err != nil {
			t.Error(err)
		}
	}
	if d.instance("i-1").known {
		t.Error("it is still known")
	}
}

func TestUnreadable(t *testing.T) {
	_, d := agentDir(t)
	if err := os.WriteFile(d.instancePath("i-1"), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if d.instance("i-1").known {
		t.Error("half a record is known")
	}
	if err := os.WriteFile(d.desiredPath(), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := d.desired(); err == nil {
		t.Error("half a desired state was taken for a whole one: all guests would be orphans")
	}
}

func TestPathsStayInside(t *testing.T) {
	_, d := agentDir(t)
	if got, want := d.instancePath("../../etc/passwd"), filepath.Join(d.dir, "instances", "passwd.json"); got != want {
		t.Error(got)
	}
}

// TestMarkStopped: what `karri down` stopped is to be started again, and was not powered off by its guest.
func TestMarkStopped(t *testing.T) {
	dir, d := agentDir(t)
	for _, id := range []string{"i-1", "i-2"} {
		if err := d.setInstance(id, record{Started: true, Reboots: 2}); err != nil {
			t.Fatal(err)
		}
	}
	if err := MarkStopped(dir); err != nil {
		t.Fatal(err)
	}
	for _, id := range []string{"i-1", "i-2"} {
		if l := d.instance(id); l.Started || l.Reboots != 2 || !l.known {
			t.Errorf("%s: %+v", id, l)
		}
	}
	if err := MarkStopped(t.TempDir()); err != nil {
		t.Error("a node that never ran:", err)
	}
}

func TestLookup(t *testing.T) {
	n, err := New(Config{Memory: new(Memory)}, Deps{})
	if err != nil {
		t.Fatal(err)
	}
	meta := nodeapi.Metadata{ImageID: "ami-1", Interfaces: []nodeapi.Interface{{VPCID: "vpc-1", PrivateIP: "10.0.0.4"}}}
	off := nodeapi.Metadata{ImageID: "ami-2", Interfaces: []nodeapi.Interface{{VPCID: "vpc-1", PrivateIP: "10.0.0.5"}}}
	n.set(&nodeapi.Desired{Instances: []nodeapi.Instance{{ID: "i-1", Power: resource.PowerOn, Metadata: meta}, {ID: "i-2", Power: resource.PowerGone, Metadata: off}}})
	for _, c := range []struct {
		vpc, ip string
		ok      bool
	}{{"vpc-1", "10.0.0.4", true}, {"vpc-2", "10.0.0.4", false}, {"vpc-1", "10.0.0.5", false}, {"vpc-1", "10.0.0.6", false}} {
		if m, ok := n.Lookup(c.vpc, netip.MustParseAddr(c.ip)); ok != c.ok || ok && m.ImageID != "ami-1" {
			t.Errorf("%s in %s: %v", c.ip, c.vpc, ok)
		}
	}
}
