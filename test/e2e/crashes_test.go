package e2e

import (
	"bufio"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"karri.dev/test/e2e/numbered"
)

var (
	crashCount = flag.Int("crashes", 6, "how many processes TestCrashes kills")
	crashSeed  = flag.Uint64("crash-seed", uint64(time.Now().UnixNano()), "what TestCrashes kills, and when")
)

// TestCrashes: a guest writes and fsyncs while one process after the other is killed: its own QEMU, the server of
// volumes, the zone, the cloud with S3, the node, and several at once; and snapshots are made all the while. No write that the
// guest has reported is lost, no error reaches the guest, and each completed snapshot is a state that was.
//
//	go test -run TestCrashes -v ./test/e2e -crashes 50 -crash-seed 1
func TestCrashes(t *testing.T) {
	t.Logf("seed %d", *crashSeed)
	t.Run("one process", func(t *testing.T) {
		c := newCloudWith(t, "--import-root-device", "ebs")
		r := newCrashes(t, c, func(id string) string { return filepath.Join(c.dir, "node", "machines", id) })
		r.begin()
		snapshots := r.snapshot()
		r.rounds(max(1, *crashCount/3), []crash{
			{"karri", func() { c.proc.kill(); r.pause(); c.up() }, false},
			{"QEMU", r.killQEMU, true},
			{"karri and QEMU", func() { c.proc.kill(); r.killQEMU(); r.pause(); c.up() }, true},
		})
		snapshots()
		r.end()
		r.checkSnapshots()
		r.report()
	})
	t.Run("apart", func(t *testing.T) {
		c := newRemote(t)
		r := newCrashes(t, c.cloud, func(id string) string { return filepath.Join(c.on(id).dir, "node", "machines", id) })
		r.begin()
		zone := func() {
			server := c.server()
			c.zone.kill()
			r.pause()
			c.restart()
			if c.server() != server {
				t.Error("the server of volumes did not outlive the zone")
			}
		}
		cloud := func() { c.proc.kill(); r.pause(); c.restartCloud() }
		node := func() { n := c.on(r.guest.ID); n.proc.kill(); r.pause(); n.restart() }
		server := func() { must(t, "kill", "-9", strconv.Itoa(c.server())) }
		r.rounds(max(1, *crashCount*2/3), []crash{
			{"volume server", server, false},
			{"zone", zone, false},
			{"cloud with S3", cloud, false},
			{"node", node, false},
			{"QEMU", r.killQEMU, true},
			{"volume server and QEMU", func() { server(); r.killQEMU() }, true},
			{"zone and volume server", func() { c.zone.kill(); server(); r.pause(); c.restart() }, false},
			{"all", func() {
				n := c.on(r.guest.ID)
				for _, p := range []*process{c.proc, c.zone, n.proc} {
					p.kill()
				}
				server()
				r.killQEMU()
				c.restartCloud()
				c.restart()
				n.restart()
			}, true},
		})
		r.end()
		r.report()
	})
}

// crash is something that dies. guest: the guest dies with it.
type crash struct {
	name  string
	kill  func()
	guest bool
}

// crashes is a guest that writes numbered blocks to a volume.
type crashes struct {
	*cloud
	random  *rand.Rand
	machine func(id string) string // folder of its machine
	key     string
	program string
	volume  string
	disk    string
	guest   instance
	boot    string
	counts  map[string]int

	mu           sync.Mutex
	acknowledged numbered.Numbers
	calls        []numbered.Numbers // what was acknowledged before each CreateSnapshot call; its description is the index
	writer       *exec.Cmd
	ended        chan string // what the guest's program said at last
}

func newCrashes(t *testing.T, c *cloud, machine func(string) string) *crashes {
	t.Helper()
	r := &crashes{cloud: c, random: rand.New(rand.NewPCG(*crashSeed, 1)), machine: machine, counts: map[string]int{}, program: filepath.Join(t.TempDir(), "numbered")}
	must(t, "env", "CGO_ENABLED=0", "GOFLAGS=-buildvcs=false -trimpath", "go", "build", "-ldflags", "-s -w", "-o", r.program, "./numbered/guest")
	image := c.tinyImage()
	r.key = c.keyPair("crash")
	c.openPort("22")
	r.guest = c.launch(image, "crash", "1")[0]
	r.volume = c.text("VolumeId", "create-volume", "--availability-zone", "us-east-1a", "--size", "1", "--volume-type", "gp3", "--encrypted")
	return r
}

// begin attaches the volume and lets the guest write.
func (r *crashes) begin() {
	r.t.Helper()
	r.boot = r.login(r.key, r.guest, "cat /proc/sys/kernel/random/boot_id")
	r.copyTo(r.key, r.guest, r.program, "/root/numbered")
	r.login(r.key, r.guest, "sync")
	r.attach(r.volume, "/dev/sdf")
	r.disk = r.diskOf(r.key, r.guest, r.volume)
	r.write(numbered.Numbers{})
}

// attach attaches a volume to the guest.
func (r *crashes) attach(volume, device string) {
	r.t.Helper()
	r.wait("volume-available", "--volume-ids", volume)
	r.aws("ec2", "attach-volume", "--volume-id", volume, "--instance-id", r.guest.ID, "--device", device)
}

// write lets the guest write on.
func (r *crashes) write(last numbered.Numbers) {
	r.t.Helper()
	r.login(r.key, r.guest, "killall -9 numbered 2>/dev/null; true")
	cmd := r.sshCommand(context.Background(), r.key, r.guest.Public, "/root/numbered write "+r.disk+" "+strings.Trim(fmt.Sprint(last), "[]"))
	var said strings.Builder
	cmd.Stderr = &said
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		r.t.Fatal(err)
	}
	ended := make(chan string, 1)
	r.writer, r.ended = cmd, ended
	go func() {
		lines := bufio.NewReader(out)
		for {
			line, err := lines.ReadString('\n') // a half line is none
			if err != nil {
				break
			}
			var stream int
			var n uint64
			if _, err := fmt.Sscan(line, &stream, &n); err != nil || stream >= numbered.Streams {
				said.WriteString(line)
				break
			}
			r.mu.Lock()
			r.acknowledged[stream] = max(n, r.acknowledged[stream])
			r.mu.Unlock()
		}
		err := cmd.Wait()
		ended <- strings.TrimSpace(fmt.Sprint(err, " ", said.String()))
	}()
}

func (r *crashes) now() numbered.Numbers {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.acknowledged
}

// rounds kills n times: first each alone, then at random.
func (r *crashes) rounds(n int, kinds []crash) {
	r.t.Helper()
	began := time.Now()
	for i := range n {
		k := kinds[r.random.IntN(len(kinds))]
		if i < len(kinds) {
			k = kinds[i]
		}
		r.progress()
		time.Sleep(time.Duration(200+r.random.IntN(1800)) * time.Millisecond)
		before := r.now()
		k.kill()
		r.counts[k.name]++
		if k.guest {
			r.revive()
		}
		r.progress()
		if testing.Verbose() {
			r.t.Logf("%v: %s killed with %v acknowledged", time.Since(began).Round(time.Second), k.name, before)
		}
	}
}

// pause is how long something stays dead.
func (r *crashes) pause() { time.Sleep(time.Duration(r.random.IntN(1000)) * time.Millisecond) }

// progress waits until each stream has gone on.
func (r *crashes) progress() {
	r.t.Helper()
	began := r.now()
	eventually(r.t, "the guest writes on", 2*time.Minute, func() bool {
		select {
		case said := <-r.ended:
			r.t.Fatalf("the guest's writer ended: %s", said)
		default:
		}
		now := r.now()
		for i := range now {
			if now[i] <= began[i] {
				return false
			}
		}
		return true
	})
}

// killQEMU kills the guest's machine, if there is one.
func (r *crashes) killQEMU() {
	r.t.Helper()
	must(r.t, "kill", "-9", strconv.Itoa(r.qemu()))
}

// qemu gives the guest's QEMU.
func (r *crashes) qemu() int {
	r.t.Helper()
	return machinePID(r.t, r.machine(r.guest.ID))
}

// revive waits until the guest is up again, checks what its disk has, and lets it write on.
func (r *crashes) revive() {
	r.t.Helper()
	r.writer.Process.Kill()
	said := <-r.ended
	if strings.Contains(said, "numbered:") {
		r.t.Errorf("before its death the guest saw: %s", said)
	}
	eventually(r.t, "the guest is up again", 3*time.Minute, func() bool {
		r.guest = r.describe(r.guest.ID)[0]
		if r.guest.State.Name == "stopped" { // it has failed a few times
			r.counts["given up by its node and started anew"]++
			r.aws("ec2", "start-instances", "--instance-ids", r.guest.ID)
		}
		if r.guest.State.Name != "running" || r.guest.Public == "" {
			return false
		}
		boot, err := r.ssh(r.key, r.guest.Public, "cat /proc/sys/kernel/random/boot_id")
		if err != nil || boot == r.boot {
			return false
		}
		r.boot = boot
		return true
	})
	r.disk = r.diskOf(r.key, r.guest, r.volume)
	r.write(r.check("the volume", r.disk, r.now()))
}

// check reads a disk in the guest; it must have what was acknowledged. It gives the last writes.
func (r *crashes) check(what, disk string, acknowledged numbered.Numbers) numbered.Numbers {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	defer cancel()
	var said strings.Builder
	cmd := r.sshCommand(ctx, r.key, r.guest.Public, "/root/numbered read "+disk)
	cmd.Stderr = &said
	dump, err := cmd.Output()
	if err != nil {
		r.t.Fatalf("%s is not read: %v %s", what, err, said.String())
	}
	last, err := numbered.Check(dump)
	if err == nil {
		err = last.Lacks(acknowledged)
	}
	if err != nil {
		r.t.Fatalf("%s: %v (acknowledged: %v)", what, err, acknowledged)
	}
	r.counts["checks"]++
	return last
}

// snapshot makes snapshots from time to time until stop is called.
func (r *crashes) snapshot() (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var all sync.WaitGroup
	random := rand.New(rand.NewPCG(*crashSeed, 2))
	all.Go(func() {
		for ctx.Err() == nil {
			r.mu.Lock()
			i := len(r.calls)
			r.calls = append(r.calls, r.acknowledged)
			r.mu.Unlock()
			_, err := r.try("ec2", "create-snapshot", "--volume-id", r.volume, "--description", strconv.Itoa(i))
			if err != nil { // the cloud is down; it may have taken the call for all that
				time.Sleep(100 * time.Millisecond)
				continue
			}
			select {
			case <-time.After(time.Duration(1000+random.IntN(9000)) * time.Millisecond):
			case <-ctx.Done():
			}
		}
	})
	return func() { cancel(); all.Wait() }
}

// checkSnapshots waits until all snapshots are settled, and checks a volume of each that is completed.
func (r *crashes) checkSnapshots() {
	r.t.Helper()
	var list [][3]string
	eventually(r.t, "the snapshots are settled", 3*time.Minute, func() bool {
		list = nil
		text := r.aws("ec2", "describe-snapshots", "--owner-ids", "self", "--filters", "Name=volume-id,Values="+r.volume, "--query", "Snapshots[].[SnapshotId,State,Description]", "--output", "json")
		if err := json.Unmarshal([]byte(text), &list); err != nil {
			r.t.Fatal(err)
		}
		return !slices.ContainsFunc(list, func(s [3]string) bool { return s[1] == "pending" })
	})
	for batch := range slices.Chunk(list, 4) {
		volumes := map[string][3]string{}
		for n, s := range batch {
			r.counts["snapshots "+s[1]]++
			if s[1] != "completed" {
				r.refused("IncorrectState", "ec2", "create-volume", "--availability-zone", "us-east-1a", "--snapshot-id", s[0])
				continue
			}
			v := r.text("VolumeId", "create-volume", "--availability-zone", "us-east-1a", "--snapshot-id", s[0])
			volumes[v] = s
			r.attach(v, "/dev/sd"+string(rune('g'+n)))
		}
		for v, s := range volumes {
			i, err := strconv.Atoi(s[2])
			if err != nil || i >= len(r.calls) {
				r.t.Fatalf("snapshot %v", s)
			}
			r.check("snapshot "+s[0], r.diskOf(r.key, r.guest, v), r.calls[i])
			r.aws("ec2", "detach-volume", "--volume-id", v)
		}
		for v := range volumes {
			r.wait("volume-available", "--volume-ids", v)
			r.aws("ec2", "delete-volume", "--volume-id", v)
		}
	}
	if r.counts["snapshots completed"] == 0 {
		r.t.Error("no snapshot was completed")
	}
	copies := filepath.Join(r.dir, "volumes", ".copies")
	eventually(r.t, "copies for snapshots are gone", time.Minute, func() bool {
		left, err := os.ReadDir(copies)
		return err == nil && len(left) == 0
	})
}

// halt ends the guest's writer.
func (r *crashes) halt() {
	r.t.Helper()
	r.writer.Process.Kill()
	<-r.ended
	r.login(r.key, r.guest, "killall -9 numbered 2>/dev/null; true")
}

// end stops the writer and checks the volume for the last time.
func (r *crashes) end() {
	r.t.Helper()
	r.progress()
	r.halt()
	r.check("the volume at last", r.disk, r.now())
}

func (r *crashes) report() {
	r.t.Helper()
	var writes uint64
	for _, n := range r.now() {
		writes += n
	}
	for _, name := range slices.Sorted(maps.Keys(r.counts)) {
		r.t.Logf("%s: %d", name, r.counts[name])
	}
	r.t.Logf("acknowledged writes: %d", writes)
}
