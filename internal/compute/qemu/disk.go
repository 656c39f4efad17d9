package qemu

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"karri.dev/internal/compute"
)

// maxDiskName leaves room for what is appended in QEMU's names of nodes, which have at most 31 characters.
const maxDiskName = 25

func checkDisk(d compute.Disk) error {
	switch {
	case !validID.MatchString(d.Name) || len(d.Name) > maxDiskName || d.Name[0] <= '9':
		return fmt.Errorf("disk name %q is not valid", d.Name)
	case d.SizeBytes <= 0 || d.SizeBytes > maxDisk || d.SizeBytes%512 != 0:
		return fmt.Errorf("disk %s: a size of %d bytes is not possible", d.Name, d.SizeBytes)
	case d.Path != "" && d.Export != "":
		return fmt.Errorf("disk %s: it is here and elsewhere", d.Name)
	case d.Export != "" && !validID.MatchString(d.Export):
		return fmt.Errorf("disk %s: export %q is not valid", d.Name, d.Export)
	case d.Volume() && d.Format != "raw" && d.Format != "qcow2":
		return fmt.Errorf("disk %s: format %q is not known", d.Name, d.Format)
	case d.BaseExport != "" && (d.Format != "qcow2" || d.Base != "" || !d.Volume()):
		return fmt.Errorf("disk %s: only a volume of format qcow2 has a base elsewhere", d.Name)
	case d.BaseExport != "" && !validID.MatchString(d.BaseExport):
		return fmt.Errorf("disk %s: export %q is not valid", d.Name, d.BaseExport)
	case d.Volume() && d.Format == "raw" && d.Base != "":
		return fmt.Errorf("disk %s: a raw volume has no base", d.Name)
	case d.Encrypted && (!d.Volume() || d.Format != "qcow2" || d.Key == ""):
		return fmt.Errorf("disk %s: it is encrypted, and its key is not known", d.Name)
	case !d.Volume() && d.Base == "":
		return fmt.Errorf("disk %s: no base", d.Name)
	}
	return nil
}

// deviceID is QEMU's name of the device that a guest sees.
func deviceID(disk string) string { return "blk-" + disk }

// serial is what a guest reads as the disk's serial number: as EC2, a volume's id without its dash, which has
// just the 20 characters that there may be.
func serial(disk string) string {
	if len(disk) > 4 && disk[:4] == "vol-" {
		disk = "vol" + disk[4:]
	}
	return disk[:min(len(disk), 20)]
}

func fdset(n int) string { return fmt.Sprintf("/dev/fdset/%d", n) }

// exportPath is where QEMU finds the socket of what somebody else serves: in a directory that it has open as its
// first file. It needs no right to anything above, and finds new sockets there.
func exportPath(socket string) string { return "/proc/self/fd/3/" + socket }

// baseName is how the socket and the node of what is below a disk are called.
func baseName(disk string) string { return disk + ".base" }

// diskPaths are QEMU's names for a disk's files; no base where it is "".
type diskPaths struct{ base, data string }

// reconnect is how many seconds a volume that another host serves may be away before the guest sees an error.
// EC2's guests wait forever.
const reconnect = 7 * 86400

// blockNodes gives the nodes of a disk, each after those that it names. Every driver and file is named: nothing is
// guessed from what a guest can write. A base whose header names further files does not get here (baseSize).
func blockNodes(d compute.Disk, p diskPaths) []map[string]any {
	cache := map[string]any{"direct": false, "no-flush": false} // a guest's flush reaches the host's disk
	var nodes []map[string]any
	format := d.Format
	if !d.Volume() {
		format = "qcow2"
	}
	top := map[string]any{"driver": format, "node-name": d.Name, "discard": "unmap", "cache": cache, "file": d.Name + ".file"}
	if format == "qcow2" {
		top["backing"] = nil
	}
	switch {
	case d.BaseExport != "":
		base := served(d.BaseExport, exportPath(baseName(d.Name)))
		base["node-name"], base["read-only"] = baseName(d.Name), true
		nodes = append(nodes, base)
		top["backing"] = baseName(d.Name)
	case p.base != "":
		nodes = append(nodes, map[string]any{
			"driver": d.BaseFormat, "node-name": baseName(d.Name), "read-only": true,
			"file": map[string]any{"driver": "file", "filename": p.base},
		})
		top["backing"] = baseName(d.Name)
	}
	file := map[string]any{"driver": "file", "filename": p.data}
	if d.Export != "" {
		file = served(d.Export, p.data)
	}
	file["node-name"], file["discard"], file["cache"] = d.Name+".file", "unmap", cache
	nodes = append(nodes, file)
	if d.Encrypted {
		nodes = append(nodes, luksNode(d.Name))
		top["file"] = d.Name + luksSuffix
	}
	return append(nodes, top)
}

// served gives a node for what somebody serves on a socket.
func served(export, socket string) map[string]any {
	return map[string]any{
		"driver": "nbd", "export": export, "reconnect-delay": reconnect,
		"server": map[string]any{"type": "unix", "path": socket},
	}
}

// openDisk makes what a disk lacks and opens its files. What it gives is to be closed, even with an error.
func (m *machine) openDisk(d compute.Disk) (f diskFiles, err error) {
	if d.Base != "" {
		if f.base, err = os.Open(d.Base); err != nil {
			return f, err
		}
		virtual, err := baseSize(f.base, d.BaseFormat)
		if err != nil {
			return f, fmt.Errorf("base: %w", err)
		}
		if d.SizeBytes < virtual {
			return f, fmt.Errorf("%d bytes are fewer than the base's %d", d.SizeBytes, virtual)
		}
	}
	if err := m.export(d); err != nil {
		return f, err
	}
	switch {
	case d.Export != "":
		return f, nil
	case d.Path != "":
		f.data, err = openVolume(d)
		return f, err
	}
	path := filepath.Join(m.dir, overlayFile(d.Name))
	if err := createOverlay(path, d, f.base); err != nil {
		return f, err
	}
	f.data, err = os.OpenFile(path, os.O_RDWR, 0)
	return f, err
}

// openVolume opens a volume's file and locks it. The lock is the open file's: QEMU, to which it is passed on,
// holds it until it has closed it or is dead, and we ourselves not a moment longer.
func openVolume(d compute.Disk) (*os.File, error) {
	f, err := os.OpenFile(d.Path, os.O_RDWR|unix.O_NOFOLLOW, 0)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		f.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, fmt.Errorf("the volume is still open elsewhere: %w", err)
		}
		return nil, err
	}
	return f, nil
}
