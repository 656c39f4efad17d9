// Package check says what would stop a disk image from running as an instance, before it runs, and mends what
// can be mended: boot loader, drivers, fstab, network, SSH server, what brings the launch's key and user data.
//
// The disk is read by a helper machine (package appliance), which only collects facts; what they mean is decided here,
// by pure functions.
package check

import (
	"context"
	_ "embed"
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"

	"karri.dev/internal/image"
	"karri.dev/internal/image/appliance"
)

// Severity says how bad a finding is.
type Severity string

const (
	Error   Severity = "error"   // it does not boot, or nobody can log in
	Warning Severity = "warning" // something will be missing or slow
	Note    Severity = "note"
)

// Finding is one thing that is wrong, and what to do about it.
type Finding struct {
	Severity Severity `json:"severity"`
	Name     string   `json:"name"` // stable, for programs
	Message  string   `json:"message"`
	Remedy   string   `json:"remedy"`
	Fixable  bool     `json:"fixable"` // Prepare does it

	fix func(*changes)
}

// Report is what is known of an image.
type Report struct {
	Format     string    `json:"format"`
	Size       int64     `json:"size"` // bytes, of the disk
	Partitions string    `json:"partitions"`
	System     string    `json:"system"` // as its os-release says
	BootMode   string    `json:"boot_mode"`
	Findings   []Finding `json:"findings"`
	facts      *facts
}

// Errors counts the findings that keep it from running.
func (r *Report) Errors() int {
	return len(slices.DeleteFunc(slices.Clone(r.Findings), func(f Finding) bool { return f.Severity != Error }))
}

//go:embed job.sh
var job string

// Image checks the image in path, of which Inspect said info.
func Image(ctx context.Context, m *appliance.Machine, path string, info image.Info) (*Report, error) {
	// Two initial ramdisks of up to 100 MB are read; they lie in the machine's memory twice.
	out, err := m.Run(ctx, appliance.Job{Script: job, Disk: path, Info: info, Memory: 768, Result: 320 << 20})
	if err != nil {
		return nil, fmt.Errorf("read the image's file systems: %w", err)
	}
	r := look(out)
	r.Format, r.Size = string(info.Format), info.VirtualSize
	return r, nil
}

// facts are what the helper machine found, put together.
type facts struct {
	table    table
	systems  []*filesystem // by number of partition
	root     *filesystem
	mounts   []mount // of the system's fstab, that lie on this disk; the root first
	names    map[string]bool
	files    map[string][]byte
	target   string
	release  map[string]string // of os-release
	cloud    bool              // cloud-init is there
	modules  string            // folder of the kernels' modules: "lib/modules" or "usr/lib/modules"
	ramdisks map[string]map[string]bool
}

// mount is where a file system of the disk belongs in the system.
type mount struct {
	at string // "" for the root, else without the first slash
	fs *filesystem
}

// collect makes facts of the job's result.
func collect(out map[string][]byte) *facts {
	f := &facts{names: map[string]bool{}, files: map[string][]byte{}}
	for name, head := range out {
		device, ok := strings.CutSuffix(name, "/head")
		if !ok {
			continue
		}
		if device == "vda" {
			f.table = divide(head)
		}
		s := &filesystem{device: device, names: map[string]bool{}, files: map[string][]byte{}}
		s.sectors, _ = strconv.ParseInt(strings.TrimSpace(string(out[device+"/size"])), 10, 64)
		identify(s, head)
		names, ok := out[device+"/names"]
		s.read = ok
		for n := range strings.Lines(string(names)) {
			s.names[path.Clean(strings.TrimSuffix(n, "\n"))] = true
		}
		s.initTarget = strings.TrimSpace(string(out[device+"/default.target"]))
		s.subvolume = strings.TrimSpace(string(out[device+"/subvolume"]))
		prefix := device + "/files/"
		for file, data := range out {
			if rest, ok := strings.CutPrefix(file, prefix); ok {
				s.files[path.Clean(rest)] = data
			}
		}
		f.systems = append(f.systems, s)
	}
	slices.SortFunc(f.systems, func(a, b *filesystem) int {
		return len(a.device)*1000 - len(b.device)*1000 + strings.Compare(a.device, b.device)
	})
	for _, s := range f.systems {
		if s.read && (s.names["etc"] && (s.names["sbin"] || s.names["usr"] || s.files["etc/fstab"] != nil)) && f.root == nil {
			f.root = s
		}
	}
	if f.root == nil {
		return f
	}
	f.assemble()
	return f
}

// assemble puts the file systems together as the system's fstab says.
func (f *facts) assemble() {
	f.mounts = []mount{{"", f.root}}
	for _, e := range parseFstab(f.root.files["etc/fstab"]) {
		if s := f.find(e.source); s != nil && s != f.root && s.read && e.at != "/" && strings.HasPrefix(e.at, "/") {
			f.mounts = append(f.mounts, mount{strings.Trim(path.Clean(e.at), "/"), s})
		}
	}
	for _, m := range f.mounts {
		for n := range m.fs.names {
			f.names[path.Join(m.at, n)] = true
		}
		for n, data := range m.fs.files {
			f.files[path.Join(m.at, n)] = data
		}
	}
	f.target = f.root.initTarget
	f.release = map[string]string{}
	text := f.files["etc/os-release"]
	if text == nil {
		text = f.files["usr/lib/os-release"]
	}
	for line := range strings.Lines(string(text)) {
		if k, v, ok := strings.Cut(strings.TrimSpace(line), "="); ok {
			f.release[k] = strings.Trim(v, `"'`)
		}
	}
	f.cloud = f.program("cloud-init")
	if f.modules = "lib/modules"; !f.names[f.modules] {
		f.modules = "usr/lib/modules"
	}
	f.ramdisks = map[string]map[string]bool{}
}

// find gives the file system of this disk that a mount's source means; nil if none does.
func (f *facts) find(source string) *filesystem {
	kind, value, _ := strings.Cut(source, "=")
	value = strings.Trim(value, `"`)
	for _, prefix := range []string{"/dev/disk/by-uuid/", "/dev/disk/by-label/", "/dev/disk/by-partuuid/"} {
		if v, ok := strings.CutPrefix(source, prefix); ok {
			kind, value = strings.ToUpper(strings.TrimSuffix(strings.TrimPrefix(prefix, "/dev/disk/by-"), "/")), v
		}
	}
	for _, s := range f.systems {
		switch kind {
		case "UUID":
			if s.uuid != "" && strings.EqualFold(s.uuid, value) {
				return s
			}
		case "LABEL":
			if s.label != "" && s.label == value {
				return s
			}
		case "PARTUUID":
			n, err := strconv.Atoi(strings.TrimPrefix(s.device, "vda"))
			if err == nil && strings.EqualFold(f.table.ids[n], value) {
				return s
			}
		}
	}
	if m := diskName.FindStringSubmatch(source); m != nil && m[1] == "a" {
		for _, s := range f.systems {
			if s.device == "vda"+m[2] {
				return s
			}
		}
	}
	return nil
}

// program says whether the system has one.
func (f *facts) program(name string) bool {
	for _, dir := range []string{"usr/bin/", "usr/sbin/", "bin/", "sbin/"} {
		if f.names[dir+name] {
			return true
		}
	}
	return false
}

// below gives the files in a folder, sorted.
func (f *facts) below(dir string) []string {
	var out []string
	for name := range f.files {
		if strings.HasPrefix(name, dir+"/") {
			out = append(out, name)
		}
	}
	slices.Sort(out)
	return out
}

// named gives the names in a folder, sorted.
func (f *facts) named(dir string) []string {
	var out []string
	for name := range f.names {
		if path.Dir(name) == dir {
			out = append(out, path.Base(name))
		}
	}
	slices.Sort(out)
	return out
}

// look makes the report of facts.
func look(out map[string][]byte) *Report {
	f := collect(out)
	r := &Report{Partitions: f.table.kind, facts: f}
	if r.Partitions == "" {
		r.Partitions = "none"
	}
	r.checkDisk()
	if f.root == nil {
		return r
	}
	if r.System = f.release["PRETTY_NAME"]; r.System == "" {
		r.System = strings.TrimSpace(string(f.files["etc/redhat-release"]))
	}
	r.checkKernels()
	r.checkCommandLine()
	r.checkFstab()
	r.checkNetwork()
	r.checkServices()
	r.checkIdentity()
	rank := map[Severity]int{Error: 0, Warning: 1, Note: 2}
	slices.SortStableFunc(r.Findings, func(a, b Finding) int { return rank[a.Severity] - rank[b.Severity] })
	return r
}

// found adds a finding; fix may be nil.
func (r *Report) found(s Severity, name, message, remedy string, fix func(*changes)) {
	r.Findings = append(r.Findings, Finding{Severity: s, Name: name, Message: message, Remedy: remedy, Fixable: fix != nil, fix: fix})
}
