package qemu

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"karri.dev/internal/compute"
)

// cgroups are the directories, one a hierarchy, in which machines get groups of their own: version 1 has a
// hierarchy a controller, version 2 one for all. Empty where none can be written.
type cgroups struct {
	parents map[string]string // controller ("" = version 2) → directory
}

// findCgroups makes a group called name below our own one in each hierarchy that is of use.
//
// All machines together weigh as much as one task a processor would: with a group's default weight, every
// machine of the host would have to share what a single process beside them gets.
func findCgroups(self, mounts, name string, cpus int) cgroups {
	c := cgroups{parents: map[string]string{}}
	ours := map[string]string{}
	for line := range strings.Lines(self) { // "4:memory:/path", "0::/path"
		f := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(f) == 3 {
			for _, controller := range strings.Split(f[1], ",") {
				ours[controller] = f[2]
			}
		}
	}
	unified := ""
	for line := range strings.Lines(mounts) { // "cgroup /sys/fs/cgroup/cpu cgroup rw,cpu 0 0"
		f := strings.Fields(line)
		if len(f) < 4 {
			continue
		}
		switch f[2] {
		case "cgroup":
			for _, controller := range strings.Split(f[3], ",") {
				if controller == "cpu" || controller == "memory" || controller == "pids" {
					c.parents[controller] = filepath.Join(f[1], ours[controller], name)
				}
			}
		case "cgroup2":
			unified = filepath.Join(f[1], ours[""], name)
		}
	}
	if len(c.parents) == 0 && unified != "" {
		c.parents[""] = unified
	}
	for controller, dir := range c.parents {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			delete(c.parents, controller)
			continue
		}
		switch controller {
		case "cpu":
			os.WriteFile(filepath.Join(dir, "cpu.shares"), []byte(strconv.Itoa(1024*cpus)), 0)
		case "":
			// Refused where our own group holds processes: then machines are grouped but not limited.
			for _, d := range []string{filepath.Dir(dir), dir} {
				os.WriteFile(filepath.Join(d, "cgroup.subtree_control"), []byte("+cpu +memory +pids"), 0)
			}
			os.WriteFile(filepath.Join(dir, "cpu.weight"), []byte(strconv.Itoa(min(100*cpus, 10000))), 0)
		}
	}
	return c
}

// enter puts a process into the machine's own groups. Limits are set where the controller is there; a
// process that could not be moved is an error.
func (c cgroups) enter(m compute.Machine, pid, overheadMiB int) error {
	memory := strconv.FormatInt(int64(m.MemoryMiB+overheadMiB)<<20, 10)
	limits := map[string]map[string]string{
		"cpu":    {"cpu.shares": strconv.Itoa(1024 * m.VCPUs)},
		"memory": {"memory.limit_in_bytes": memory},
		"pids":   {"pids.max": strconv.Itoa(256 + m.VCPUs)},
		"":       {"cpu.weight": strconv.Itoa(min(100*m.VCPUs, 10000)), "memory.max": memory, "pids.max": strconv.Itoa(256 + m.VCPUs)},
	}
	var errs []error
	for controller, parent := range c.parents {
		dir := filepath.Join(parent, m.ID)
		if err := os.MkdirAll(dir, 0o755); err != nil {
			errs = append(errs, err)
			continue
		}
		for file, value := range limits[controller] {
			if err := os.WriteFile(filepath.Join(dir, file), []byte(value), 0); err != nil && !errors.Is(err, os.ErrNotExist) && !errors.Is(err, os.ErrPermission) {
				errs = append(errs, err)
			}
		}
		if err := os.WriteFile(filepath.Join(dir, "cgroup.procs"), []byte(strconv.Itoa(pid)), 0); err != nil {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// remove deletes the machine's groups, and with the last one our own.
func (c cgroups) remove(id string) error {
	var errs []error
	for _, parent := range c.parents {
		if err := removeGroup(filepath.Join(parent, id)); err != nil {
			errs = append(errs, fmt.Errorf("cgroup: %w", err))
		}
	}
	return errors.Join(errs...)
}

// removeParents deletes our own groups where no machine has one below.
func (c cgroups) removeParents() {
	for _, parent := range c.parents {
		if below, err := filepath.Glob(filepath.Join(parent, "*", "cgroup.procs")); err == nil && len(below) == 0 {
			_ = removeGroup(parent) // another driver over another directory has its own
		}
	}
}

// removeGroup deletes a group; it is no error if there is none. A process that has just died stays in its group
// until it is reaped, which is not always ours to do: it gets a moment.
func removeGroup(dir string) error {
	for tries := 0; ; tries++ {
		err := os.Remove(dir)
		switch {
		case err == nil || errors.Is(err, os.ErrNotExist):
			return nil
		case !errors.Is(err, syscall.EBUSY) || tries == 200:
			return err
		}
		time.Sleep(25 * time.Millisecond)
	}
}
