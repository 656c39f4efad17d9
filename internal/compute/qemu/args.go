package qemu

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"regexp"
	"strings"

	"karri.dev/internal/compute"
)

// board is the leanest q35: everything off that EC2's machines do not have and firmware would look for.
const board = "q35,sata=off,usb=off,smbus=off,vmport=off,graphics=off,dump-guest-core=off"

const (
	consoleID   = "console"
	consoleRing = 1 << 20 // bytes; a power of two
)

var (
	validID   = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,62}$`)
	validUUID = regexp.MustCompile(`^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$`)
	validType = regexp.MustCompile(`^[A-Za-z0-9.-]{0,64}$`)
)

// check refuses what could not run, and whatever could mean something else on a command line or in a path.
func check(m compute.Machine) error {
	switch {
	case !validID.MatchString(m.ID):
		return fmt.Errorf("machine id %q is not valid", m.ID)
	case !validUUID.MatchString(m.UUID):
		return fmt.Errorf("uuid %q is not valid", m.UUID)
	case !validType.MatchString(m.Type):
		return fmt.Errorf("type %q is not valid", m.Type)
	case m.VCPUs < 1 || m.VCPUs > 255:
		return fmt.Errorf("%d vcpus are not possible", m.VCPUs)
	case m.MemoryMiB < 16 || m.MemoryMiB > 4<<20:
		return fmt.Errorf("%d MiB of memory are not possible", m.MemoryMiB)
	case len(m.Disks)+len(m.NICs) > compute.MaxSlots:
		return fmt.Errorf("%d disks and cards do not fit", len(m.Disks)+len(m.NICs))
	case m.Kernel == "" && len(m.Disks) == 0:
		return errors.New("nothing to boot from")
	case m.Kernel == "" && (m.Ramdisk != "" || m.CommandLine != ""):
		return errors.New("ramdisk and command line need a kernel")
	case len(m.CommandLine) > 2047 || strings.ContainsRune(m.CommandLine, 0):
		return errors.New("kernel command line is too long")
	}
	seen := map[string]bool{}
	for _, d := range m.Disks {
		if err := checkDisk(d); err != nil {
			return err
		}
		if seen[d.Name] {
			return fmt.Errorf("disk name %q is there twice", d.Name)
		}
		seen[d.Name] = true
	}
	for _, n := range m.NICs {
		if err := checkNIC(n); err != nil {
			return err
		}
	}
	return nil
}

// files are a machine's open files. QEMU opens none of its own but firmware: it needs no right to any path.
type files struct {
	socket          *os.File // listening, for QMP
	exports         *os.File // the directory of the sockets behind which volumes of other hosts are
	kernel, ramdisk *os.File
	vars            *os.File
	disks           []diskFiles
	taps            []*os.File
}

// diskFiles are a disk's files: that of its data, nil if another host has it, of its base, and of its key,
// nil if there is none.
type diskFiles struct{ base, data, key *os.File }

// host is what the command line takes from here rather than from the machine.
type host struct {
	accel          string
	translationMiB int    // of TCG's buffer
	firmware       string // UEFI code
}

// command is a command line whose files are, in order, the descriptors from 3 on.
type command struct {
	args  []string
	files []*os.File
}

func (c *command) add(args ...string) { c.args = append(c.args, args...) }

func (c *command) fd(f *os.File) int {
	c.files = append(c.files, f)
	return 2 + len(c.files)
}

// path gives QEMU's name for an open file that its block layer reads. of is the disk to which it belongs.
func (c *command) path(f *os.File, of string) string {
	n := c.fd(f)
	c.add("-add-fd", fmt.Sprintf("fd=%d,set=%d,opaque=%s", n, n, of))
	return fdset(n)
}

// commandLine is everything after the name of the program.
func commandLine(h host, m compute.Machine, f files) command {
	c := new(command)
	c.fd(f.exports) // the first of all: see exportPath
	c.add("-name", m.ID, "-nodefaults", "-no-user-config", "-display", "none")
	c.add("-sandbox", "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny")
	c.processor(h, m)
	c.smbios(m)

	// We begin the guest when all is noted, and a guest that powers off leaves a paused QEMU, so that its
	// last words can be read and its end is not mistaken for a crash.
	c.add("-S", "-action", "reboot=reset,shutdown=pause")
	c.add("-chardev", fmt.Sprintf("socket,id=qmp,fd=%d,server=on,wait=off", c.fd(f.socket)), "-mon", "chardev=qmp,mode=control")
	// The console goes to memory inside QEMU: bounded whatever the guest writes, there while Karri is not.
	c.add("-chardev", fmt.Sprintf("ringbuf,id=%s,size=%d", consoleID, consoleRing), "-device", "isa-serial,chardev="+consoleID)
	c.add("-object", "rng-random,id=rng,filename=/dev/urandom", "-device", "virtio-rng-pci,rng=rng,bus=pcie.0,addr=2")

	if display(h, m) { // where EC2's machines have theirs
		c.add("-device", "VGA,vgamem_mb=4,bus=pcie.0,addr=3")
	}
	c.boot(h, m, f)
	for i := range portCount(m) {
		c.add("-device", fmt.Sprintf("pcie-root-port,id=port%d,bus=pcie.0,chassis=%d,addr=%x.%x,multifunction=on", i, i+1, 4+i/8, i%8))
	}
	for i, d := range m.Disks {
		c.disk(i, d, f.disks[i])
	}
	for i, n := range m.NICs {
		c.add("-netdev", fmt.Sprintf("tap,id=%s,fd=%d,vhost=off", netID(n.ID), c.fd(f.taps[i])))
		device := fmt.Sprintf("virtio-net-pci,id=%s,netdev=%s,mac=%s,bus=port%d,romfile=", nicID(n.ID), netID(n.ID), n.MAC, len(m.Disks)+i)
		if n.MTU != 0 {
			device += fmt.Sprintf(",host_mtu=%d", n.MTU)
		}
		c.add("-device", device)
	}
	return *c
}

func portCount(m compute.Machine) int { return compute.Slots(len(m.Disks) + len(m.NICs)) }

// display says whether a machine gets a display adapter. Emulated, its BIOS costs a guest some 0.7 s of its boot
// (2.2 s to userland): so there it is for those that ask.
func display(h host, m compute.Machine) bool {
	return m.Kernel == "" && (m.Display || m.UEFI || h.accel == "kvm")
}

func (c *command) processor(h host, m compute.Machine) {
	machine := board
	if h.accel == "kvm" {
		c.add("-accel", "kvm", "-cpu", "host")
		machine += ",hpet=off" // guests have kvm-clock
	} else {
		// max has what x86-64-v2 and v3 systems need. Five-level page tables and SMAP are left out: emulated,
		// SMAP alone costs a guest a fifteenth of its time to userland (2.18 against 2.34 CPU-seconds).
		c.add("-accel", fmt.Sprintf("tcg,thread=multi,tb-size=%d", h.translationMiB), "-cpu", "max,la57=off,smap=off")
	}
	if m.UEFI {
		machine += ",pflash0=code,pflash1=vars"
	}
	c.add("-machine", machine, "-global", "ICH9-LPC.disable_s3=1", "-global", "ICH9-LPC.disable_s4=1")
	c.add("-smp", fmt.Sprintf("%d,sockets=1,cores=%d,threads=1", m.VCPUs, m.VCPUs), "-m", fmt.Sprintf("%dM", m.MemoryMiB), "-rtc", "base=utc")
}

// smbios says what EC2's Nitro machines say.
func (c *command) smbios(m compute.Machine) {
	uuid := strings.ToLower(m.UUID)
	c.add("-uuid", uuid,
		"-smbios", "type=0,vendor=Amazon EC2,version=1.0",
		"-smbios", fmt.Sprintf("type=1,manufacturer=Amazon EC2,product=%s,serial=%s,uuid=%s", m.Type, uuid, uuid),
		"-smbios", "type=2,manufacturer=Amazon EC2,asset="+m.ID,
		"-smbios", "type=3,manufacturer=Amazon EC2,asset=Amazon EC2")
}

func (c *command) boot(h host, m compute.Machine, f files) {
	if m.UEFI {
		c.add("-blockdev", "driver=raw,node-name=code,read-only=on,file.driver=file,file.filename="+h.firmware)
		c.add("-blockdev", "driver=raw,node-name=vars,file.driver=file,file.filename="+c.path(f.vars, "vars"))
		c.add("-device", "vmgenid,guid=auto")
	} else if m.Kernel != "" {
		// Half of SeaBIOS's time, but it reads no disks, and halts on the ACPI tables of a vmgenid.
		c.add("-bios", "qboot.rom")
	} else {
		c.add("-device", "vmgenid,guid=auto")
	}
	if m.Kernel == "" {
		return
	}
	// Opened anew through /proc: that needs the right to the file, but to no directory above it.
	c.add("-kernel", fmt.Sprintf("/proc/self/fd/%d", c.fd(f.kernel)))
	if m.Ramdisk != "" {
		c.add("-initrd", fmt.Sprintf("/proc/self/fd/%d", c.fd(f.ramdisk)))
	}
	if m.CommandLine != "" {
		c.add("-append", m.CommandLine)
	}
}

// disk puts a disk on the command line.
func (c *command) disk(i int, d compute.Disk, f diskFiles) {
	var p diskPaths
	if f.base != nil {
		p.base = c.path(f.base, d.Name)
	}
	if d.Export != "" {
		p.data = exportPath(d.Name)
	} else {
		p.data = c.path(f.data, d.Name)
	}
	if f.key != nil { // opened anew through /proc
		c.add("-object", fmt.Sprintf("secret,id=%s,file=/proc/self/fd/%d", keyID(d.Name), c.fd(f.key)))
	}
	for _, n := range blockNodes(d, p) {
		text, _ := json.Marshal(n) // strings, numbers, booleans
		c.add("-blockdev", string(text))
	}
	c.add("-device", fmt.Sprintf("virtio-blk-pci,id=%s,drive=%s,bus=port%d,serial=%s,bootindex=%d", deviceID(d.Name), d.Name, i, serial(d.Name), i+1))
}
