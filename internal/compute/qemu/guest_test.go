package qemu

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"karri.dev/internal/compute"
	"karri.dev/internal/compute/computetest"
)

const id = "i-0123456789abcdef0"

// cleanup ends what a test started.
func cleanup(t testing.TB, d *Driver) {
	list, _ := d.List(t.Context())
	for _, s := range list {
		if err := d.Remove(t.Context(), s.ID); err != nil {
			t.Error(err)
		}
	}
	if err := d.Close(); err != nil {
		t.Error(err)
	}
}

// TestJail looks at a running machine's process from outside, and from a process of its user.
func TestJail(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root, to have other users")
	}
	t.Parallel()
	kernel, ramdisk := computetest.Guest(t)
	d := open(t, t.TempDir())
	defer cleanup(t, d)
	other := strings.ReplaceAll(id, "0", "1")
	for _, id := range []string{id, other} {
		if err := d.Start(t.Context(), guest(kernel, ramdisk, id, computetest.Deaf), nil); err != nil {
			t.Fatal(err)
		}
	}
	pid := computetest.StatusOf(t, d, id).PID
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"CapEff:\t0000000000000000", "CapPrm:\t0000000000000000", "CapAmb:\t0000000000000000", "NoNewPrivs:\t1", "Seccomp:\t2"} {
		if !strings.Contains(string(text), want+"\n") {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
	rec, err := loadRecord(filepath.Join(d.cfg.Dir, id))
	if err != nil {
		t.Fatal(err)
	}
	rec2, err := loadRecord(filepath.Join(d.cfg.Dir, other))
	if err != nil {
		t.Fatal(err)
	}
	if rec.UID == 0 || rec.UID == rec2.UID || !strings.Contains(string(text), fmt.Sprintf("Uid:\t%d\t%[1]d\t%[1]d\t%[1]d\n", rec.UID)) {
		t.Errorf("users %d and %d:\n%s", rec.UID, rec2.UID, text)
	}
	ours, _ := os.Readlink("/proc/self/ns/net")
	theirs, _ := os.Readlink(fmt.Sprintf("/proc/%d/ns/net", pid))
	if theirs == "" || ours == theirs {
		t.Errorf("network namespace %q, ours %q", theirs, ours)
	}
	if dev, _ := os.ReadFile(fmt.Sprintf("/proc/%d/net/dev", pid)); strings.Count(string(dev), "\n") > 3 {
		t.Errorf("its network has more than a loopback:\n%s", dev)
	}
	// What the user of one machine can do to itself and to the other.
	for _, dir := range []string{rec.Machine.ID, other} {
		for _, script := range []string{"ls", "cat machine.json", "touch x", "cat qmp.sock"} {
			args := strings.Fields(script)
			c := exec.Command(args[0], args[1:]...)
			path := filepath.Join(d.cfg.Dir, dir)
			for i, a := range c.Args[1:] {
				c.Args[i+1] = filepath.Join(path, a)
			}
			if script == "ls" {
				c.Args = append(c.Args, path)
			}
			c.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(rec.UID), Gid: uint32(rec.UID)}}
			if out, err := c.CombinedOutput(); err == nil || !strings.Contains(string(out), "Permission denied") {
				t.Errorf("%v as user %d: %v %s", c.Args, rec.UID, err, out)
			}
		}
	}
	c := exec.Command("kill", "-9", fmt.Sprint(computetest.StatusOf(t, d, other).PID))
	c.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(rec.UID), Gid: uint32(rec.UID)}}
	if out, err := c.CombinedOutput(); err == nil {
		t.Errorf("one machine's user killed another machine: %s", out)
	}
	if _, err := New(Config{Dir: d.cfg.Dir}, slog.New(slog.DiscardHandler)); err == nil {
		t.Error("two drivers over one directory")
	}
}

// TestDisk: a disk is copy-on-write, outlives a stop, and what the guest flushed is there after a kill.
func TestDisk(t *testing.T) {
	t.Parallel()
	kernel, ramdisk := computetest.Guest(t)
	dir := t.TempDir()
	base := filepath.Join(dir, "base.raw")
	content := bytes.Repeat([]byte("made-of-this----"), 1<<16)
	if err := os.WriteFile(base, content, 0o400); err != nil { // unreadable to the machine's user: it gets it open
		t.Fatal(err)
	}
	d := open(t, filepath.Join(dir, "machines"))
	defer cleanup(t, d)
	m := guest(kernel, ramdisk, id, "disk")
	m.Disks = []compute.Disk{{Name: "root", Base: base, BaseFormat: "raw", SizeBytes: 64 << 20}}
	if err := d.Start(t.Context(), m, nil); err != nil {
		t.Fatal(err)
	}
	computetest.AwaitConsole(t, d, id, "DISK made-of-this---- 131072")
	computetest.AwaitConsole(t, d, id, "WRITTEN")
	kill(t, d, id)
	computetest.Await(t, "failed", func() bool { return computetest.StatusOf(t, d, id).State == compute.Failed })
	if err := d.Start(t.Context(), m, nil); err != nil {
		t.Fatal(err)
	}
	computetest.AwaitConsole(t, d, id, "DISK was-here-before! 131072")
	if got, err := os.ReadFile(base); err != nil || !bytes.Equal(got, content) {
		t.Errorf("the base has changed: %v", err)
	}
	m.ID = strings.ReplaceAll(id, "0", "2")
	m.Disks[0].Base = filepath.Join(dir, "missing")
	if err := d.Start(t.Context(), m, nil); err == nil {
		t.Error("started without its base")
	}
	if s := computetest.StatusOf(t, d, m.ID); s.State != compute.Absent {
		t.Errorf("a failed start left %+v", s)
	}
	if _, err := os.Stat(filepath.Join(d.cfg.Dir, m.ID)); err == nil {
		t.Error("a failed start left a directory")
	}
}

// TestDevices: QEMU takes every kind of device that we know how to ask for, and a volume can be plugged
// into a running machine.
func TestDevices(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root, for a tap")
	}
	t.Parallel()
	dir := t.TempDir()
	raw, qcow2 := filepath.Join(dir, "a"), filepath.Join(dir, "b")
	head, size, err := overlayHeader(1<<20, "", "")
	if err == nil {
		clear(head[8:16]) // no backing file
		err = os.WriteFile(qcow2, head, 0o644)
	}
	if err = errors.Join(err, os.Truncate(qcow2, size), os.WriteFile(raw, make([]byte, 1<<20), 0o644)); err != nil {
		t.Fatal(err)
	}
	d := open(t, filepath.Join(dir, strings.Repeat("long-", 30))) // longer than a socket's path may be
	defer cleanup(t, d)
	m := guest("", "", id, "")
	m.CommandLine, m.VCPUs = "", 2
	m.Disks = []compute.Disk{
		{Name: "root", Base: raw, BaseFormat: "raw", SizeBytes: 1 << 20},
		{Name: "data", Base: qcow2, BaseFormat: "qcow2", SizeBytes: 8 << 30},
	}
	m.NICs = []compute.NIC{{ID: "eni-1", MAC: "02:00:00:00:00:01", MTU: 1450}}
	tap := openTap(t)
	if err := d.Start(t.Context(), m, []*os.File{tap}); err != nil {
		t.Fatal(err)
	}
	vm := d.machines[id]
	<-vm.lock
	c := vm.client
	vm.release()
	volume, err := os.OpenFile(raw, os.O_RDONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer volume.Close()
	if err := c.DoWithFile(t.Context(), "add-fd", map[string]any{"fdset-id": 100}, nil, volume); err != nil {
		t.Fatal(err)
	}
	if err := c.Do(t.Context(), "blockdev-add", map[string]any{
		"driver": "raw", "node-name": "vol", "read-only": true,
		"file": map[string]any{"driver": "file", "filename": "/dev/fdset/100"},
	}, nil); err != nil {
		t.Fatal(err)
	}
	if err := c.Do(t.Context(), "device_add", map[string]any{"driver": "virtio-blk-pci", "id": "vol", "drive": "vol", "bus": "port7"}, nil); err != nil {
		t.Fatal(err)
	}
	if err := d.Stop(t.Context(), id, 0); err != nil {
		t.Fatal(err)
	}
	m.UEFI = true
	if err := d.Start(t.Context(), m, []*os.File{tap}); err != nil {
		t.Fatal(err)
	}
	if s := computetest.StatusOf(t, d, id); s.State != compute.Running {
		t.Errorf("status %+v", s)
	}
}

// openTap makes a tap in a network namespace that goes with it.
func openTap(t *testing.T) *os.File {
	t.Helper()
	type result struct {
		f   *os.File
		err error
	}
	made := make(chan result)
	go func() { // on a thread that ends in its new namespace
		runtime.LockOSThread()
		var fd int
		err := unix.Unshare(unix.CLONE_NEWNET)
		if err == nil {
			fd, err = unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC, 0)
		}
		if err == nil {
			var ifr *unix.Ifreq
			if ifr, err = unix.NewIfreq("t0"); err == nil {
				ifr.SetUint16(unix.IFF_TAP | unix.IFF_NO_PI | unix.IFF_VNET_HDR)
				err = unix.IoctlIfreq(fd, unix.TUNSETIFF, ifr)
			}
		}
		made <- result{os.NewFile(uintptr(fd), "tap"), err}
	}()
	r := <-made
	if r.err != nil {
		t.Skipf("needs a tap: %v", r.err)
	}
	t.Cleanup(func() { r.f.Close() })
	return r.f
}

// TestConsoleBounded: a guest that writes without end fills neither disk nor memory.
func TestConsoleBounded(t *testing.T) {
	t.Parallel()
	kernel, ramdisk := computetest.Guest(t)
	d := open(t, t.TempDir())
	defer cleanup(t, d)
	if err := d.Start(t.Context(), guest(kernel, ramdisk, id, computetest.Talks), nil); err != nil {
		t.Fatal(err)
	}
	computetest.AwaitConsole(t, d, id, computetest.Up)
	for range 20 {
		if _, err := d.Console(t.Context(), id, 1); err != nil {
			t.Fatal(err)
		}
		time.Sleep(20 * time.Millisecond)
	}
	if n := dirSize(t, d.cfg.Dir); n > 2*consoleRing+64<<10 {
		t.Errorf("the directory has %d bytes", n)
	}
	if err := d.Stop(t.Context(), id, 0); err != nil {
		t.Fatal(err)
	}
	b, err := d.Console(t.Context(), id, 64<<10)
	if err != nil || len(b) == 0 || !bytes.Contains(b, []byte("0123456789abcdef")) {
		t.Errorf("%d bytes, %v", len(b), err)
	}
}

func dirSize(t *testing.T, dir string) (size int) {
	err := filepath.WalkDir(dir, func(_ string, e os.DirEntry, err error) error {
		if fi, ferr := e.Info(); ferr == nil && fi.Mode().IsRegular() {
			size += int(fi.Size())
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return size
}

const ownerEnv = "KARRI_TEST_OWNER"

// TestOwner is not a test: it is the process that TestKilledOwner kills.
func TestOwner(t *testing.T) {
	args := strings.Split(os.Getenv(ownerEnv), "|")
	if len(args) != 3 {
		t.Skip("run by TestKilledOwner only")
	}
	d := open(t, args[0])
	for {
		if err := d.Start(t.Context(), guest(args[1], args[2], id, computetest.Deaf), nil); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Duration(rand.IntN(200)) * time.Millisecond)
		if err := d.Remove(t.Context(), id); err != nil {
			t.Fatal(err)
		}
	}
}

// TestKilledOwner kills the process that owns a driver at random moments of starts and removals. Whatever is
// left, the next driver sees it and can remove it.
func TestKilledOwner(t *testing.T) {
	t.Parallel()
	kernel, ramdisk := computetest.Guest(t)
	states := map[string]int{}
	for range 8 {
		dir := t.TempDir()
		c := exec.Command(os.Args[0], "-test.run=^TestOwner$")
		c.Env = append(os.Environ(), ownerEnv+"="+dir+"|"+kernel+"|"+ramdisk)
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		for { // it has begun
			if files, _ := os.ReadDir(dir); len(files) > 0 {
				break
			}
			time.Sleep(time.Millisecond)
		}
		time.Sleep(time.Duration(rand.IntN(800)) * time.Millisecond)
		c.Process.Kill()
		c.Wait()
		d := open(t, dir)
		s := computetest.StatusOf(t, d, id)
		states[string(s.State)+" "+s.Reason]++
		if s.State == compute.Running && syscall.Kill(s.PID, 0) != nil {
			t.Errorf("not really running: %+v", s)
		}
		if left, ok := findLaunch(filepath.Join(dir, id)); ok && s.State != compute.Running {
			t.Errorf("process %d of a machine that is %+v", left.PID, s)
		}
		cleanup(t, d)
		if left, ok := findLaunch(filepath.Join(dir, id)); ok {
			t.Errorf("process %d is left", left.PID)
		}
		if files, _ := filepath.Glob(dir + "/i-*"); len(files) != 0 {
			t.Errorf("files are left: %v", files)
		}
		for _, parent := range d.cgroups.parents {
			if _, err := os.Stat(parent); err == nil {
				t.Errorf("control group %s is left", parent)
			}
		}
	}
	t.Logf("found %v", states)
}
