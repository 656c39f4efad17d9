package qemu

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"karri.dev/internal/compute"
	"karri.dev/internal/compute/computetest"
)

var update = flag.Bool("update", false, "rewrite golden files")

func TestCommandLine(t *testing.T) {
	tcg := host{accel: "tcg", translationMiB: 32, firmware: "/usr/share/OVMF/OVMF_CODE_4M.fd"}
	kvm := tcg
	kvm.accel = "kvm"
	disk := guest("", "", "i-0123456789abcdef0", "")
	disk.CommandLine = ""
	disk.VCPUs = 2
	disk.Disks = []compute.Disk{
		{Name: "root", Base: "/cache/x", BaseFormat: "raw", SizeBytes: 8 << 30},
		{Name: "data", Base: "/cache/y", BaseFormat: "qcow2", SizeBytes: 8 << 30},
	}
	disk.NICs = []compute.NIC{{ID: "eni-1", MAC: "02:00:00:00:00:01", MTU: 1450}}
	uefi := disk
	uefi.UEFI = true
	for name, test := range map[string]struct {
		h host
		m compute.Machine
	}{
		"kernel":   {tcg, guest("/k", "/r", "i-0123456789abcdef0", computetest.Deaf)},
		"disk":     {tcg, disk},
		"uefi-kvm": {kvm, uefi},
	} {
		if err := check(test.m); err != nil {
			t.Fatal(err)
		}
		c := commandLine(test.h, test.m, files{disks: []diskFiles{{base: os.Stdin}, {base: os.Stdin}}, taps: make([]*os.File, 1)})
		var out bytes.Buffer
		for _, a := range c.args {
			if strings.HasPrefix(a, "-") {
				out.WriteByte('\n')
			} else {
				out.WriteByte(' ')
			}
			out.WriteString(a)
		}
		golden := filepath.Join("testdata", name+".golden")
		if *update {
			if err := os.WriteFile(golden, out.Bytes(), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(golden)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(string(want), out.String()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

func TestCheck(t *testing.T) {
	for name, spoil := range map[string]func(*compute.Machine){
		"id with a comma": func(m *compute.Machine) { m.ID = "i-1,process=x" },
		"id upwards":      func(m *compute.Machine) { m.ID = ".." },
		"option in type":  func(m *compute.Machine) { m.Type = "t3,serial=x" },
		"disk path":       func(m *compute.Machine) { m.Disks = []compute.Disk{{Name: "../x", SizeBytes: 512}} },
		"same disk":       func(m *compute.Machine) { d := compute.Disk{Name: "a", SizeBytes: 512}; m.Disks = []compute.Disk{d, d} },
		"huge disk":       func(m *compute.Machine) { m.Disks = []compute.Disk{{Name: "a", SizeBytes: maxDisk + 512}} },
		"odd disk":        func(m *compute.Machine) { m.Disks = []compute.Disk{{Name: "a", SizeBytes: 1000}} },
		"option in MAC":   func(m *compute.Machine) { m.NICs = []compute.NIC{{MAC: "02:00:00:00:00:01,id=x"}} },
		"multicast MAC":   func(m *compute.Machine) { m.NICs = []compute.NIC{{MAC: "01:00:00:00:00:01"}} },
		"NUL":             func(m *compute.Machine) { m.CommandLine = "a\x00b" },
		"no boot":         func(m *compute.Machine) { m.Kernel, m.Ramdisk, m.CommandLine = "", "", "" },
		"ramdisk alone":   func(m *compute.Machine) { m.Kernel = "" },
		"memory":          func(m *compute.Machine) { m.MemoryMiB = 1 << 40 },
		"too many disks":  func(m *compute.Machine) { m.NICs = make([]compute.NIC, compute.MaxSlots+1) },
	} {
		m := guest("/k", "/r", "i-0123456789abcdef0", computetest.Deaf)
		spoil(&m)
		if err := check(m); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func TestConsoleFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "console")
	var all []byte
	for n := range 300 {
		b := bytes.Repeat([]byte{byte('a' + n%26)}, n)
		all = append(all, b...)
		if err := appendConsole(path, b, 1000); err != nil {
			t.Fatal(err)
		}
		if fi, err := os.Stat(path); err == nil && fi.Size() > 2000 {
			t.Fatalf("%d bytes", fi.Size())
		}
		got, err := readConsole(path, 1000)
		if err != nil || !bytes.Equal(got, all[max(0, len(all)-1000):]) {
			t.Fatalf("after %d: %d bytes, %v", n, len(got), err)
		}
	}
}

func TestFindCgroups(t *testing.T) {
	dir := t.TempDir()
	c := findCgroups("4:memory:/a\n3:cpu,cpuacct:/\n0::/\n", "cgroup "+dir+"/m cgroup rw,memory 0 0\ncgroup "+dir+"/c cgroup rw,cpuacct,cpu 0 0\ncgroup2 "+dir+"/u cgroup2 rw 0 0\n", "k", 2)
	want := map[string]string{"memory": dir + "/m/a/k", "cpu": dir + "/c/k"}
	if diff := cmp.Diff(want, c.parents); diff != "" {
		t.Errorf("version 1: %s", diff)
	}
	for file, want := range map[string]string{"/c/k/cpu.shares": "2048", "/u/b/k/cpu.weight": "200"} {
		if file[1] == 'u' {
			findCgroups("0::/b\n", "cgroup2 "+dir+"/u cgroup2 rw 0 0\n", "k", 2)
		}
		if got, err := os.ReadFile(dir + file); err != nil || string(got) != want {
			t.Errorf("%s: %s, %v: two processors' worth is %s", file, got, err, want)
		}
	}
	c = findCgroups("0::/b\n", "cgroup2 "+dir+"/u cgroup2 rw 0 0\n", "k", 2)
	if diff := cmp.Diff(map[string]string{"": dir + "/u/b/k"}, c.parents); diff != "" {
		t.Errorf("version 2: %s", diff)
	}
}
