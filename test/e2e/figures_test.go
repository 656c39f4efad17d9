package e2e

import (
	"context"
	"flag"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

var figureRounds = flag.Int("figures", 0, "rounds of TestVolumeFigures, which measures and asserts nothing; 0: skip it")

// TestVolumeFigures measures volumes from inside a guest, in turns with a bare QEMU's guest on a file beside the volume's.
// test/bench/ebs runs it.
func TestVolumeFigures(t *testing.T) {
	if *figureRounds == 0 {
		t.Skip("measures only with -figures N")
	}
	t.Run("one host", func(t *testing.T) {
		c := newCloudWith(t, "--import-root-device", "ebs")
		f := newFigures(t, newCrashes(t, c, func(id string) string { return filepath.Join(c.dir, "node", "machines", id) }))
		f.speed("same host")
		f.flushes("QEMU", f.qemu())
		f.snapshots()
		f.restarts()
	})
	t.Run("over the network", func(t *testing.T) {
		r := newRemote(t)
		f := newFigures(t, newCrashes(t, r.cloud, func(id string) string { return filepath.Join(r.on(id).dir, "node", "machines", id) }))
		f.speed("over the network")
		f.flushes("the server of volumes", r.server())
	})
}

// figures is a guest with a fast volume, and a bare QEMU's guest.
type figures struct {
	*crashes
	bare *bareGuest
}

func newFigures(t *testing.T, r *crashes) *figures {
	t.Helper()
	r.aws("ec2", "delete-volume", "--volume-id", r.volume) // slow by its type
	r.volume = r.text("VolumeId", "create-volume", "--availability-zone", "us-east-1a", "--size", "64", "--volume-type", "io2", "--iops", "64000")
	r.begin()
	r.halt()
	f := &figures{r, newBareGuest(t, r.key)}
	groups, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", r.qemu()))
	if m := regexp.MustCompile(`:cpu(?:,\w+)*:(\S+)`).FindSubmatch(groups); m != nil {
		f.bare.group = filepath.Join("/sys/fs/cgroup/cpu", string(m[1]), "cgroup.procs")
	}
	f.bare.start()
	if out, err := exec.Command("sh", "-c", f.bare.sshLine("cat > /root/numbered && chmod 755 /root/numbered")+" < "+r.program).CombinedOutput(); err != nil {
		t.Fatalf("%v %s", err, out)
	}
	return f
}

// speed compares the two guests' disks in turns.
func (f *figures) speed(where string) {
	f.t.Helper()
	var karri, bare [4][]float64
	add := func(to *[4][]float64, text string) {
		for i, s := range strings.Fields(text) {
			x, err := strconv.ParseFloat(s, 64)
			if err != nil || i >= len(to) {
				f.t.Fatalf("measured: %q", text)
			}
			to[i] = append(to[i], x)
		}
	}
	for range *figureRounds {
		add(&bare, f.bare.ssh("/root/numbered measure /dev/vdb 2"))
		add(&karri, f.long("/root/numbered measure "+f.disk+" 2"))
	}
	for i, what := range []string{"read, MiB/s", "write, MiB/s", "4k reads/s", "4k synced writes/s"} {
		f.t.Logf("| %s: %s | %.0f | bare %.0f | ratio %.2f |", where, what, median(karri[i]), median(bare[i]), median(karri[i])/median(bare[i]))
	}
}

// long is a command that takes its time in the guest.
func (f *figures) long(command string) string {
	f.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	defer cancel()
	out, err := f.sshCommand(ctx, f.key, f.guest.Public, command).CombinedOutput()
	if err != nil {
		f.t.Fatalf("%s: %v %s", command, err, out)
	}
	return strings.TrimSpace(string(out))
}

func median(list []float64) float64 {
	slices.Sort(list)
	return list[len(list)/2]
}

// flushes counts the disk's flushes while the guest syncs.
func (f *figures) flushes(who string, pid int) {
	f.t.Helper()
	const count = 200
	trace := filepath.Join(f.t.TempDir(), "trace")
	strace := exec.Command("strace", "-f", "-qq", "-e", "trace=fdatasync,fsync", "-o", trace, "-p", strconv.Itoa(pid))
	if err := strace.Start(); err != nil {
		f.t.Logf("flushes are not counted: %v", err)
		return
	}
	time.Sleep(2 * time.Second)
	f.long("/root/numbered sync " + f.disk + " " + strconv.Itoa(count))
	strace.Process.Signal(os.Interrupt)
	strace.Wait()
	text, err := os.ReadFile(trace)
	if err != nil {
		f.t.Fatal(err)
	}
	calls := 0
	for line := range strings.Lines(string(text)) {
		if strings.Contains(line, "sync(") { // and not its resumption
			calls++
		}
	}
	f.t.Logf("| fdatasyncs of %s for %d of the guest | %d |", who, count, calls)
}

// snapshots measures how long the calls take, and the guest waits.
func (f *figures) snapshots() {
	f.t.Helper()
	var calls, with, without []float64
	for range *figureRounds {
		without = append(without, f.number(f.long("/root/numbered sync "+f.disk+" 600")))
		longest := make(chan string, 1)
		go func() { out, _ := f.ssh(f.key, f.guest.Public, "/root/numbered sync "+f.disk+" 600"); longest <- out }()
		time.Sleep(500 * time.Millisecond)
		text, took := f.call("CreateSnapshot", "VolumeId="+f.volume)
		calls = append(calls, took.Seconds()*1000)
		with = append(with, f.number(<-longest))
		f.wait("snapshot-completed", "--snapshot-ids", regexp.MustCompile("snap-[0-9a-f]+").FindString(text))
	}
	f.t.Logf("| CreateSnapshot call, median | %.0f ms |", median(calls))
	f.t.Logf("| longest of 600 synced writes, with a snapshot; without, medians | %.0f ms; %.0f ms |", median(with), median(without))

	large := f.text("VolumeId", "create-volume", "--availability-zone", "us-east-1a", "--size", "100")
	f.wait("volume-available", "--volume-ids", large)
	for _, v := range []struct{ size, volume string }{{"64 GiB, 256 MiB written", f.volume}, {"100 GiB, empty", large}} {
		snap := f.text("SnapshotId", "create-snapshot", "--volume-id", v.volume)
		f.wait("snapshot-completed", "--snapshot-ids", snap)
		var ready []float64
		for range *figureRounds {
			began := time.Now()
			text, _ := f.call("CreateVolume", "SnapshotId="+snap, "AvailabilityZone=us-east-1a")
			id := regexp.MustCompile("vol-[0-9a-f]+").FindString(text)
			eventually(f.t, "the volume is available", time.Minute, func() bool {
				text, _ := f.call("DescribeVolumes", "VolumeId.1="+id)
				return strings.Contains(text, "<status>available</status>")
			})
			ready = append(ready, time.Since(began).Seconds()*1000)
			f.aws("ec2", "delete-volume", "--volume-id", id)
		}
		f.t.Logf("| volume of a snapshot of %s until available, median | %.0f ms |", v.size, median(ready))
	}
}

func (f *figures) number(text string) float64 {
	f.t.Helper()
	x, err := strconv.ParseFloat(strings.TrimSpace(text), 64)
	if err != nil {
		f.t.Fatal(err)
	}
	return x
}

// restarts measures how long a stopped instance and a bare QEMU take until a login.
func (f *figures) restarts() {
	f.t.Helper()
	var karri, bare []float64
	for range *figureRounds {
		f.bare.stop()
		f.bare.group = "" // it goes with the stopped machine
		began := time.Now()
		f.bare.start()
		bare = append(bare, time.Since(began).Seconds())

		f.aws("ec2", "stop-instances", "--instance-ids", f.guest.ID)
		f.wait("instance-stopped", "--instance-ids", f.guest.ID)
		began = time.Now()
		f.call("StartInstances", "InstanceId.1="+f.guest.ID)
		address := ""
		eventually(f.t, "the instance has an address", time.Minute, func() bool {
			text, _ := f.call("DescribeInstances", "InstanceId.1="+f.guest.ID)
			if m := regexp.MustCompile(`<ipAddress>([0-9.]+)</ipAddress>`).FindStringSubmatch(text); m != nil {
				address = m[1]
			}
			return address != ""
		})
		eventually(f.t, "SSH", 3*time.Minute, func() bool {
			_, err := f.ssh(f.key, address, "true")
			return err == nil
		})
		karri = append(karri, time.Since(began).Seconds())
	}
	f.bare.stop()
	f.t.Logf("| StartInstances of a stopped instance until SSH, median | %.2f s | bare QEMU until SSH %.2f s | ratio %.2f |", median(karri), median(bare), median(karri)/median(bare))
}

// call makes an EC2 call with curl, which takes no time to start, and says how long the call took.
func (c *cloud) call(action string, params ...string) (text string, took time.Duration) {
	c.t.Helper()
	args := []string{"-sS", "-f", "--aws-sigv4", "aws:amz:us-east-1:ec2", "--user", c.variable("AWS_ACCESS_KEY_ID") + ":" + c.variable("AWS_SECRET_ACCESS_KEY"), "-w", "\n%{time_total}", "-d", "Action=" + action, "-d", "Version=2016-11-15"}
	for _, p := range params {
		args = append(args, "-d", p)
	}
	out, err := c.ns.command(context.Background(), "curl", append(args, c.url+"/")...).CombinedOutput()
	i := strings.LastIndexByte(string(out), '\n')
	seconds, convErr := strconv.ParseFloat(string(out[i+1:]), 64)
	if err != nil || convErr != nil {
		c.t.Fatalf("%s: %v %s", action, err, out)
	}
	return string(out[:i]), time.Duration(seconds * float64(time.Second))
}

// variable gives a variable of the clients' environment.
func (c *cloud) variable(name string) string {
	for _, v := range c.env {
		if value, ok := strings.CutPrefix(v, name+"="); ok {
			return value
		}
	}
	c.t.Fatalf("clients have no %s", name)
	return ""
}

// bareGuest is the tiny guest under a QEMU that somebody started by hand, with a raw file as its second disk. It is given
// the key by a metadata service that knows nothing else.
type bareGuest struct {
	t        *testing.T
	key      string
	port     string
	metadata string
	dir      string
	group    string // of processes that share the processors
	cmd      *exec.Cmd
}

func newBareGuest(t *testing.T, key string) *bareGuest {
	t.Helper()
	g := &bareGuest{t: t, key: key, port: "127.0.0.1:2222", dir: t.TempDir()}
	public := must(t, "ssh-keygen", "-y", "-f", key)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	g.metadata = strings.Replace(l.Addr().String(), ":", " ", 1)
	go http.Serve(l, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case strings.HasSuffix(r.URL.Path, "/api/token"):
			fmt.Fprint(w, "token")
		case strings.HasSuffix(r.URL.Path, "/instance-id"):
			fmt.Fprint(w, "i-0123456789abcdef0")
		case strings.HasSuffix(r.URL.Path, "/openssh-key"):
			fmt.Fprint(w, public)
		default:
			http.NotFound(w, r)
		}
	}))
	must(t, "qemu-img", "create", "-q", "-f", "qcow2", "-b", shared.tiny, "-F", "raw", g.path("root"))
	must(t, "truncate", "-s", "64G", g.path("volume"))
	t.Cleanup(g.stop)
	return g
}

func (g *bareGuest) path(name string) string { return filepath.Join(g.dir, name) }

// start starts it and waits for a login.
func (g *bareGuest) start() {
	g.t.Helper()
	g.cmd = exec.Command("qemu-system-x86_64", "-machine", "q35", "-accel", "tcg,thread=multi", "-cpu", "max,la57=off,smap=off", "-smp", "2", "-m", "512",
		"-nodefaults", "-display", "none", "-serial", "file:"+g.path("console"), "-device", "virtio-rng-pci",
		"-drive", "if=virtio,format=qcow2,file="+g.path("root"), "-drive", "if=virtio,format=raw,cache=writeback,discard=unmap,file="+g.path("volume"),
		"-netdev", "user,id=n,restrict=on,net=169.254.169.0/24,host=169.254.169.2,hostfwd=tcp:"+g.port+"-:22,guestfwd=tcp:169.254.169.254:80-cmd:busybox nc "+g.metadata,
		"-device", "virtio-net-pci,netdev=n,romfile=")
	g.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := g.cmd.Start(); err != nil {
		g.t.Fatal(err)
	}
	g.among()
	eventually(g.t, "SSH of the bare guest", 3*time.Minute, func() bool { return exec.Command("sh", "-c", g.sshLine("true")).Run() == nil })
}

// among puts it into the group that the other guest's QEMU has for the processors, where groups are of version 1: on a busy
// machine, who is alone in a group and who is not get different shares.
func (g *bareGuest) among() {
	if g.group != "" {
		if err := os.WriteFile(g.group, []byte(strconv.Itoa(g.cmd.Process.Pid)), 0); err != nil {
			g.t.Logf("the bare QEMU is in a group of its own: %v", err)
		}
	}
}

func (g *bareGuest) stop() {
	if g.cmd != nil && g.cmd.ProcessState == nil {
		exec.Command("sh", "-c", g.sshLine("sync")).Run()
		g.cmd.Process.Kill()
		g.cmd.Wait()
	}
}

func (g *bareGuest) sshLine(command string) string {
	host, port, _ := strings.Cut(g.port, ":")
	return "ssh -i " + g.key + " -p " + port + " -o BatchMode=yes -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR -o ConnectTimeout=3 root@" + host + " '" + command + "'"
}

func (g *bareGuest) ssh(command string) string {
	g.t.Helper()
	out, err := exec.Command("sh", "-c", g.sshLine(command)).CombinedOutput()
	if err != nil {
		g.t.Fatalf("%s: %v %s", command, err, out)
	}
	return strings.TrimSpace(string(out))
}
