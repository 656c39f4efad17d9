package qemu

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"karri.dev/internal/compute"
	"karri.dev/internal/durable"
)

// Files of a machine's directory. Only its owner, Karri, may enter: QEMU gets open files.
const (
	recordFile  = "machine.json"
	socketFile  = "qmp.sock"
	consoleFile = "console.log"
	varsFile    = "uefi-vars.fd"
	exportsDir  = "exports" // the sockets behind which volumes of other hosts are
)

func overlayFile(disk string) string { return "disk-" + disk + ".qcow2" }

// phase is how far a machine has come, as its record says.
type phase string

const (
	// starting is written before there is a process. Whoever finds it later ends what there is of one.
	starting phase = "starting"
	running  phase = "running"
	off      phase = "off"
	failed   phase = "failed"
)

// record is what is kept of a machine across restarts of Karri.
type record struct {
	Version   int             `json:"version"`
	Machine   compute.Machine `json:"machine"`
	Phase     phase           `json:"phase"`
	Reason    string          `json:"reason,omitempty"`
	UID       int             `json:"uid,omitempty"` // the process's own user, 0 = ours
	Process   identity        `json:"process,omitzero"`
	StartedAt time.Time       `json:"started,omitzero"`
	// RebootBy is set while the guest has been asked to restart: its powering off is then no end, and at
	// this time it is reset.
	RebootBy time.Time `json:"reboot_by,omitzero"`
	// Ports says in which root port each device of the running machine is, by its id; there are Slots.
	Ports map[string]int `json:"ports,omitempty"`
	Slots int            `json:"slots,omitempty"`
	// AtReboot are the snapshots that are to be made when the guest is down, while it is being restarted for them, and
	// Rebooted those for which that is over.
	AtReboot []compute.Copy `json:"at_reboot,omitempty"`
	Rebooted []compute.Copy `json:"rebooted,omitempty"`
	// Copies are the snapshots of disks that are being made.
	Copies []compute.Copy `json:"copies,omitempty"`
}

func loadRecord(dir string) (record, error) {
	data, err := os.ReadFile(filepath.Join(dir, recordFile))
	if err != nil {
		return record{}, err
	}
	var r record
	if err := json.Unmarshal(data, &r); err != nil {
		return record{}, fmt.Errorf("%s: %w", recordFile, err)
	}
	if r.Version != 1 {
		return record{}, fmt.Errorf("%s: version %d is not known", recordFile, r.Version)
	}
	if r.Machine.ID != filepath.Base(dir) {
		return record{}, errors.New(recordFile + ": is another machine's")
	}
	return r, nil
}

func (r record) save(dir string) error {
	r.Version = 1
	r.Machine.Disks, r.Copies, r.Rebooted = slices.Clone(r.Machine.Disks), slices.Clone(r.Copies), slices.Clone(r.Rebooted)
	for i := range r.Machine.Disks {
		r.Machine.Disks[i].Key = ""
	}
	for i := range r.Copies {
		r.Copies[i].Key = ""
	}
	for i := range r.Rebooted {
		r.Rebooted[i].Key = ""
	}
	data, err := json.MarshalIndent(r, "", "\t")
	if err != nil {
		return err
	}
	return durable.WriteFile(filepath.Join(dir, recordFile), data, 0o600)
}
