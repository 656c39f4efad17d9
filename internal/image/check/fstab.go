package check

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// diskName fits names of disks that depend on the machine: its letter, and the partition's number.
var diskName = regexp.MustCompile(`^/dev/(?:sd|hd|xvd|vd)([a-z])([0-9]*)$`)

// fstabEntry is one line.
type fstabEntry struct {
	line             int
	source, at, kind string
	options          []string
}

func parseFstab(data []byte) []fstabEntry {
	var out []fstabEntry
	n := -1
	for line := range strings.Lines(string(data)) {
		n++
		w := strings.Fields(line)
		if len(w) < 3 || strings.HasPrefix(w[0], "#") {
			continue
		}
		e := fstabEntry{line: n, source: w[0], at: w[1], kind: w[2]}
		if len(w) > 3 {
			e.options = strings.Split(w[3], ",")
		}
		out = append(out, e)
	}
	return out
}

func (e fstabEntry) has(option string) bool { return slices.Contains(e.options, option) }

func (r *Report) checkFstab() {
	f := r.facts
	const file = "etc/fstab"
	data, ok := f.files[file]
	if !ok {
		r.found(Warning, "no-fstab", "There is no /etc/fstab", "Write one that mounts / by UUID", nil)
		return
	}
	replace := func(e fstabEntry, source string) func(*changes) {
		return func(c *changes) {
			c.edit(file, func(s string) string {
				lines := strings.SplitAfter(s, "\n")
				if source == "" {
					lines[e.line] = "# not on this disk: " + lines[e.line]
				} else {
					lines[e.line] = strings.Replace(lines[e.line], e.source, source, 1)
				}
				return strings.Join(lines, "")
			})
		}
	}
	for _, e := range parseFstab(data) {
		to := f.find(e.source)
		machine := diskName.MatchString(e.source) || strings.HasPrefix(e.source, "/dev/disk/by-path/") || strings.HasPrefix(e.source, "/dev/disk/by-id/")
		named := strings.Contains(e.source, "UUID=") || strings.Contains(e.source, "LABEL=") || strings.HasPrefix(e.source, "/dev/disk/by-")
		severity := Error
		if e.has("nofail") || e.has("noauto") || e.kind == "swap" || e.kind == "iso9660" || e.kind == "udf" {
			severity = Warning
		}
		switch {
		case machine && to != nil && to.uuid != "":
			r.found(severity, "fstab-device", fmt.Sprintf("/etc/fstab mounts %s on %s: disks have other names here", e.source, e.at),
				"Name it by its UUID: UUID="+to.uuid, replace(e, "UUID="+to.uuid))
		case machine && strings.HasPrefix(e.source, "/dev/vd"):
			// our own kind of name: a second disk, if it is attached
		case machine, named && to == nil && !f.hidden():
			r.found(severity, "fstab-missing", fmt.Sprintf("/etc/fstab mounts %s on %s, and this disk has no such file system: the start waits for it, and stops", e.source, e.at),
				"Take the line out, or add nofail to its options", replace(e, ""))
		case e.kind == "nfs" || e.kind == "nfs4" || e.kind == "cifs":
			if !e.has("nofail") && !e.has("noauto") {
				r.found(Warning, "fstab-network", fmt.Sprintf("/etc/fstab mounts %s over the network on %s", e.source, e.at),
					"Add nofail to its options, or see that the server can be reached from the instance", nil)
			}
		}
	}
}

// hidden says whether the disk has file systems inside something that is not read.
func (f *facts) hidden() bool {
	return slices.ContainsFunc(f.systems, func(s *filesystem) bool { return s.kind == "lvm" || s.kind == "luks" })
}
