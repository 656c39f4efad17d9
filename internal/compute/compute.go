// Package compute is the engine family that runs machines. A driver runs them on one host: qemu for real,
// fake for simulation. The comments on Driver are the contract, and computetest checks it.
package compute

import (
	"context"
	"errors"
	"os"
	"time"
)

// ErrNotFound says that the driver has no such machine.
var ErrNotFound = errors.New("no such machine")

// ErrHeld says that the guest has not let go of a disk or network card yet.
var ErrHeld = errors.New("the guest holds on to the device")

// ErrRestarting says that a guest is being restarted for a snapshot.
var ErrRestarting = errors.New("the guest is being restarted for it")

// ErrNoScreen says that a machine has no display.
var ErrNoScreen = errors.New("the machine has no display")

// Machine is everything a driver must know to run one machine.
type Machine struct {
	ID        string `json:"id"`             // instance id: "i-…"
	UUID      string `json:"uuid"`           // SMBIOS UUID; EC2's begin with "ec2"
	Type      string `json:"type,omitempty"` // instance type, SMBIOS's product name
	VCPUs     int    `json:"vcpus"`
	MemoryMiB int    `json:"memory_mib"`
	UEFI      bool   `json:"uefi,omitempty"`
	// Display asks for a display adapter: for Screen, and for guests that want one. A driver may give one
	// unasked where that costs the guest nothing.
	Display bool `json:"display,omitempty"`

	// Kernel, Ramdisk and CommandLine boot without the disk's own boot loader. Paths of files that the
	// driver may read; empty = boot from the first disk.
	Kernel      string `json:"kernel,omitempty"`
	Ramdisk     string `json:"ramdisk,omitempty"`
	CommandLine string `json:"command_line,omitempty"`

	Disks []Disk `json:"disks,omitempty"`
	NICs  []NIC  `json:"nics,omitempty"`
}

// Disk is one disk, in boot order. It is one of three:
//
//   - without Path and Export, the machine's own: the driver makes a copy-on-write disk over Base in the
//     machine's directory, and deletes it with the machine;
//   - with Path, a volume in a file of this host;
//   - with Export, a volume that another host serves; Config.Dial of the driver reaches it.
//
// A volume exists before the machine and after it. The hypervisor holds the file of one on this host locked for
// as long as it has it open, whatever becomes of the driver: nobody else opens it meanwhile.
type Disk struct {
	Name string `json:"name"` // "root", "vol-…"; unique in the machine, a file name
	// Base is a file of format BaseFormat ("qcow2" or "raw") that stays unchanged below the machine's own disk,
	// or below a volume of format qcow2.
	Base       string `json:"base,omitempty"`
	BaseFormat string `json:"base_format,omitempty"`
	// BaseExport, in place of Base, names what is below a volume of format qcow2 and somebody else serves, to be read
	// only; Config.Dial of the driver reaches it. The machine begins at once. While it runs the driver copies what the
	// volume lacks into it; when all is there and durable, Status shows the disk without BaseExport: from then on it
	// may be used without.
	BaseExport string `json:"base_export,omitempty"`
	SizeBytes  int64  `json:"size_bytes"` // at least the base's virtual size

	Path   string `json:"path,omitempty"`
	Export string `json:"export,omitempty"`
	Format string `json:"format,omitempty"` // of a volume: "raw" or "qcow2"
	Limits Limits `json:"limits,omitzero"`

	// Encrypted says that a volume's file, which is of format qcow2, is in a LUKS container, and Key opens it. A driver
	// keeps no key on its disk: what Status shows may lack it.
	Encrypted bool   `json:"encrypted,omitempty"`
	Key       string `json:"key,omitempty"`
}

// Volume says that the disk outlives the machine.
func (d Disk) Volume() bool { return d.Path != "" || d.Export != "" }

// Slots says how many disks and network cards together a machine can have that starts with n of them: further
// ones are plugged in while it runs.
func Slots(n int) int { return min(max(minSlots, n+freeSlots), MaxSlots) }

// Each slot costs a guest some 10 ms of boot where it is emulated (8: 80 ms, 16: 180 ms).
const (
	minSlots  = 8
	freeSlots = 4
	MaxSlots  = 28
)

// Limits bound what a guest may do to a disk. The zero value is none.
type Limits struct {
	IOPS           int   `json:"iops,omitempty"`       // a second
	BurstIOPS      int   `json:"burst_iops,omitempty"` // above IOPS, for at most BurstSeconds after a rest
	BurstSeconds   int   `json:"burst_seconds,omitempty"`
	BytesPerSecond int64 `json:"bytes_per_second,omitempty"`
}

// Copy says what to copy of a running machine's disk.
type Copy struct {
	Disk string `json:"disk"`
	// To is the copy's file; its name, as that of all copies of the disk, is unique ("snap-…").
	To string `json:"to"`
	// Since names an earlier copy of the disk, if there is one that the caller still has. The driver may then copy
	// only what has changed since, and says so in the file's note (qcow2.Note): it lies over that one.
	Since string `json:"since,omitempty"`
	// Key is that of the copy, which is in a LUKS container, too; "" for a disk that is not encrypted.
	Key string `json:"key,omitempty"`
}

// Partial is the copy's file while it is being made.
func (c Copy) Partial() string { return c.To + ".part" }

// NIC is one network card on a tap that the network driver made.
type NIC struct {
	ID  string `json:"id"` // "eni-…"
	MAC string `json:"mac"`
	MTU int    `json:"mtu,omitempty"`
}

// State is what a machine does.
type State string

const (
	Absent  State = "absent"  // unknown to the driver
	Running State = "running" // the machine executes (or is paused by us for a moment)
	Off     State = "off"     // the guest powered itself off, or was stopped; its disks stay
	Failed  State = "failed"  // could not start, or its process died; Reason says why
)

// Status is one machine as observed.
type Status struct {
	ID        string    `json:"id"`
	State     State     `json:"state"`
	Reason    string    `json:"reason,omitempty"`
	StartedAt time.Time `json:"started,omitzero"`
	PID       int       `json:"pid,omitempty"` // of the hypervisor process, 0 if none
	// Resets counts the guest's restarts in this run of the machine, since this driver first saw it.
	Resets int `json:"resets,omitempty"`
	// Disks and NICs are those that the machine has while it runs, as they are.
	Disks []Disk `json:"disks,omitempty"`
	NICs  []NIC  `json:"nics,omitempty"`
}

// Accel says how machines are executed, and why so.
type Accel struct {
	Name   string `json:"name"` // "kvm", "tcg" or "fake"
	Reason string `json:"reason"`
}

// Driver runs machines on this host. All methods may be called concurrently, for different machines and the
// same one; all are idempotent. A driver made anew over the same directory adopts what already runs without
// touching it.
type Driver interface {
	// Start makes the machine run. taps holds one open tap file per NIC, in order; the driver duplicates
	// what it needs, the caller closes its own. A running machine is left as it is; one that is Off or
	// Failed starts again from its existing disks. It returns when the hypervisor executes the guest. An
	// error leaves the machine Failed or Absent, never half there.
	Start(ctx context.Context, m Machine, taps []*os.File) error
	// Stop asks the guest to power off and, after grace, ends it. grace 0 ends it at once. It returns when
	// the machine is Off. Stopping a machine that is not running is no error.
	Stop(ctx context.Context, id string, grace time.Duration) error
	// Reboot asks the guest to restart and resets it if it has not done so after grace. The machine stays
	// Running throughout. ErrNotFound if there is none.
	Reboot(ctx context.Context, id string, grace time.Duration) error
	// SetDisk makes a running machine have a disk as described: it is plugged in if it is not there, grown if
	// SizeBytes is more than it has, and gets the limits. A disk never shrinks.
	SetDisk(ctx context.Context, id string, d Disk) error
	// DropDisk asks the guest of a running machine to let go of a disk and takes it away; ErrHeld while the
	// guest has not: ask again later. With force the disk is taken away from under the guest, which sees errors:
	// ErrHeld then says that the volume is closed, and only the device is still the guest's.
	// Dropping a disk that is not there is no error.
	DropDisk(ctx context.Context, id, name string, force bool) error
	// SetNIC plugs a network card on an open tap file into a running machine, unless it has that card. The driver
	// duplicates the file.
	SetNIC(ctx context.Context, id string, n NIC, tap *os.File) error
	// DropNIC asks the guest of a running machine to let go of a network card and takes it away; ErrHeld while the
	// guest has not: ask again later. Dropping one that is not there is no error.
	DropNIC(ctx context.Context, id, nic string) error
	// Snapshot copies disks of a running machine as they are at one moment before it returns, the same for all. The
	// guest goes on meanwhile. A copy is a qcow2 file: it is made as Copy.Partial and becomes Copy.To when it is
	// whole; of one that cannot be made neither stays. The guest's powering off, Stop, and the driver's end do not
	// harm it, the hypervisor's sudden end does. Asking again for the same copies is no error.
	//
	// With reboot the guest is restarted, as by Reboot with that grace, and the moment is that when it is down. This
	// takes time, which is not waited for: ErrRestarting says to ask again.
	Snapshot(ctx context.Context, id string, copies []Copy, reboot time.Duration) error
	// Remove ends the machine and deletes all that is left of it but volumes. Removing an unknown one is no error.
	Remove(ctx context.Context, id string) error
	// List gives every machine that has anything on this host.
	List(ctx context.Context) ([]Status, error)
	// Events gives a channel on which the driver says that some machine's state changed by itself; it holds
	// at most one pending word. There is one receiver.
	Events() <-chan struct{}
	// Console gives the last max bytes of the machine's serial console; ErrNotFound if there is none.
	Console(ctx context.Context, id string, max int) ([]byte, error)
	// Screen gives what the machine's display shows, as JPEG; ErrNotFound if it does not run, ErrNoScreen if it
	// has no display.
	Screen(ctx context.Context, id string) ([]byte, error)
	// Accel says how machines run here.
	Accel() Accel
	// Close lets go of everything. Machines go on running.
	Close() error
}
