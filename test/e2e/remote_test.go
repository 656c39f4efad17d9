package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// remote is a cloud whose zone serves its volumes to two nodes, each process on its own machine.
type remote struct {
	*cloud
	zoneNS  namespace
	zoneDir string
	zone    *process
	nodes   []*node
	restart func() // the zone

	restartCloud func()
}

func newRemote(t *testing.T) *remote {
	l := newLAN(t)
	base := filepath.Join(shared.dir, "remote")
	dir := func(name string) string { return filepath.Join(base, name) }
	t.Cleanup(func() { os.RemoveAll(base) })
	r := &remote{cloud: &cloud{t: t, ns: l.plug("cloud", "10.99.0.1"), dir: dir("cloud"), url: "https://10.99.0.1:8773"}, zoneDir: dir("zone")}
	r.zoneNS = l.plug("zone", "10.99.0.2")
	must(t, "ip", "-n", r.ns.name, "route", "add", "198.51.100.0/24", "dev", "eth0")
	r.restartCloud = func() {
		r.proc = start(t, r.ns, "cloud.log", "cloud", "--data-dir", r.dir, "--api-addr", "10.99.0.1:8773", "--store-listen", "10.99.0.1:2379", "--import-root-device", "ebs")
	}
	r.restartCloud()
	r.clients(r.dir)
	token := func(role string) string {
		return strings.TrimSpace(r.karri("token", "create", "--data-dir", r.dir, "--role", role, "--zone", "us-east-1a"))
	}
	zoneToken := token("zone")
	r.restart = func() {
		r.zone = start(t, r.zoneNS, "zone.log", "zone", "--data-dir", r.zoneDir, "--cloud", r.url, "--join", zoneToken, "--listen", "10.99.0.2:8774", "--placement", "round-robin")
	}
	t.Cleanup(func() { r.zone.kill(); r.cloud.down(r.zoneNS, r.zoneDir) })
	r.restart()
	for i, name := range []string{"node1", "node2"} {
		n := &node{dir: dir(name), underlay: "10.99.0.1" + strconv.Itoa(i+1)}
		n.ns = l.plug(name, n.underlay)
		join := token("node")
		n.restart = func() {
			n.proc = start(t, n.ns, name+".log", "node", "--data-dir", n.dir, "--cloud", r.url, "--join", join, "--underlay", n.underlay, "--public-interface", "eth0", "--node-name", name)
		}
		n.restart()
		t.Cleanup(func() { n.proc.kill(); r.cloud.down(n.ns, n.dir) })
		r.nodes = append(r.nodes, n)
	}
	r.karri("status", "--wait", "--data-dir", r.dir)
	return r
}

// server gives the process that serves the zone's volumes.
func (r *remote) server() int {
	r.t.Helper()
	text, err := os.ReadFile(filepath.Join(r.zoneDir, "volume-server", "lock"))
	pid, convErr := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil || convErr != nil {
		r.t.Fatalf("server of volumes: %v %v", err, convErr)
	}
	return pid
}

// on gives the node that has an instance's machine.
func (r *remote) on(id string) *node {
	r.t.Helper()
	for _, n := range r.nodes {
		if _, err := os.Stat(filepath.Join(n.dir, "node", "machines", id)); err == nil {
			return n
		}
	}
	r.t.Fatalf("no node has %s", id)
	return nil
}

// machinePID gives the QEMU of the machine that has a folder.
func machinePID(t *testing.T, folder string) int {
	t.Helper()
	var record struct {
		Process struct {
			PID int `json:"pid"`
		} `json:"process"`
	}
	data, err := os.ReadFile(filepath.Join(folder, "machine.json"))
	if err == nil {
		err = json.Unmarshal(data, &record)
	}
	if err != nil || record.Process.PID == 0 {
		t.Fatalf("%s has no QEMU: %v %s", folder, err, data)
	}
	return record.Process.PID
}

// TestRemoteVolumes: guests of two nodes use volumes that the zone serves from a third machine.
func TestRemoteVolumes(t *testing.T) {
	r := newRemote(t)
	image, key := r.tinyImage(), r.keyPair("remote")
	r.openPort("22")
	two := r.launch(image, "remote", "2") // from volumes, over the network
	if r.on(two[0].ID) == r.on(two[1].ID) {
		t.Fatal("both are on one node")
	}
	i := two[0]
	vol := r.text("VolumeId", "create-volume", "--availability-zone", "us-east-1a", "--size", "1", "--volume-type", "gp3", "--encrypted")
	r.wait("volume-available", "--volume-ids", vol)
	attach := func(i instance) {
		t.Helper()
		r.login(key, i, "true")
		r.aws("ec2", "attach-volume", "--volume-id", vol, "--instance-id", i.ID, "--device", "/dev/sdf")
		eventually(t, "the volume is attached", time.Minute, func() bool {
			return r.text("Volumes[0].Attachments[0].State", "describe-volumes", "--volume-ids", vol) == "attached"
		})
	}
	attach(i)
	disk := r.diskOf(key, i, vol)

	// That guests write on while processes die is TestCrashes's business.
	r.login(key, i, "n=0; while [ $n -lt 40 ]; do printf 'line %04d\\n' $n > /tmp/b; truncate -s 4096 /tmp/b; cat /tmp/b; n=$((n+1)); done > "+disk+"; sync")
	if text, err := os.ReadFile(filepath.Join(r.zoneDir, "volumes", vol)); err != nil || bytes.Contains(text, []byte("line 00")) {
		t.Errorf("what was written can be read in the zone's file: %v", err)
	}

	// It grows under the guest.
	r.aws("ec2", "modify-volume", "--volume-id", vol, "--size", "8", "--iops", "4000")
	eventually(t, "the volume is modified", time.Minute, func() bool {
		return r.text("VolumesModifications[0].ModificationState", "describe-volumes-modifications", "--volume-ids", vol) == "completed"
	})
	if got := r.login(key, i, "cat /sys/block/"+filepath.Base(disk)+"/size"); got != "16777216" {
		t.Errorf("the guest sees %s sectors", got)
	}

	// Its node dies with its guest. By force the volume comes to the other node's.
	dead := r.on(i.ID)
	dead.proc.kill()
	pid := strconv.Itoa(machinePID(t, filepath.Join(dead.dir, "node", "machines", i.ID)))
	must(t, "kill", "-STOP", pid) // it is not dead: it is cut off
	r.aws("ec2", "detach-volume", "--volume-id", vol, "--force")
	r.wait("volume-available", "--volume-ids", vol)
	attach(two[1])
	disk = r.diskOf(key, two[1], vol)
	var want []string
	for n := range 40 {
		want = append(want, fmt.Sprintf("line %04d", n))
	}
	if got := r.login(key, two[1], "dd if="+disk+" bs=4096 count=40 2>/dev/null | tr -d '\\000'"); got != strings.Join(want, "\n") {
		t.Errorf("on the other node: %q", got)
	}
	must(t, "kill", "-CONT", pid) // it can write no more
}
