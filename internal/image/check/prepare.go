package check

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"
	"time"

	"karri.dev/internal/image"
	"karri.dev/internal/image/appliance"
)

// changes are what the remedies of a report do to a system: files first, then commands in it.
type changes struct {
	old      map[string][]byte // the system's files
	files    map[string]file
	removed  map[string]bool
	commands []string
	options  []string // of the kernel
}

type file struct {
	mode int
	text string
}

func (c *changes) write(name string, mode int, text string) {
	c.files[name] = file{mode, text}
	delete(c.removed, name)
}

// edit changes a file that is there, with what was changed in it before.
func (c *changes) edit(name string, f func(string) string) {
	old, ok := c.files[name]
	if !ok {
		old = file{0o644, string(c.old[name])}
	}
	old.text = f(old.text)
	c.write(name, old.mode, old.text)
}

func (c *changes) remove(name string) {
	c.removed[name] = true
	delete(c.files, name)
}

func (c *changes) run(command string) { c.commands = append(c.commands, command) }

// kernelOption adds to the command line of the kernels, now and for those that are installed later.
func (c *changes) kernelOption(option string) {
	if !slices.Contains(c.options, option) {
		c.options = append(c.options, option)
	}
}

// applyOptions edits the boot loader's files.
func (c *changes) applyOptions(f *facts) {
	if len(c.options) == 0 {
		return
	}
	options := strings.Join(c.options, " ")
	for _, name := range f.loaderFiles() {
		c.edit(name, func(s string) string {
			return kernelLine.ReplaceAllStringFunc(s, func(l string) string {
				if w := strings.Fields(l); len(w) < 2 || w[0] == "kernel" && !strings.Contains(w[1], "vmlinuz") {
					return l // GRUB legacy's "kernel" may load other things
				}
				return strings.TrimRight(l, " \t\r") + " " + options
			})
		})
	}
	if f.files["etc/default/grub"] != nil {
		c.edit("etc/default/grub", func(s string) string {
			return strings.TrimRight(s, "\n") + "\nGRUB_CMDLINE_LINUX=\"$GRUB_CMDLINE_LINUX " + options + "\"\n"
		})
	}
}

// script is the job that makes the changes.
func (c *changes) script(f *facts) (script string, files map[string][]byte) {
	var s strings.Builder
	files = map[string][]byte{}
	s.WriteString("set -e\n")
	mounts := slices.Clone(f.mounts)
	slices.SortStableFunc(mounts, func(a, b mount) int { return strings.Count(a.at+"/", "/") - strings.Count(b.at+"/", "/") })
	for _, m := range mounts {
		options := "rw,nodev"
		switch {
		case m.fs.kind == "btrfs" && m.fs.subvolume != "":
			options += ",subvol=" + m.fs.subvolume
		case m.fs.kind == "xfs":
			options += ",nouuid"
		}
		fmt.Fprintf(&s, "mount -t %s -o %s /dev/%s %s\n", m.fs.kind, quote(options), m.fs.device, quote("/mnt/"+m.at))
	}
	for _, name := range slices.Sorted(maps.Keys(c.removed)) {
		fmt.Fprintf(&s, "rm -f %s\n", quote("/mnt/"+name))
	}
	for i, name := range slices.Sorted(maps.Keys(c.files)) {
		to, from := quote("/mnt/"+name), fmt.Sprintf("file%d", i)
		files[from] = []byte(c.files[name].text)
		// What is there keeps its owner and mode.
		fmt.Fprintf(&s, "mkdir -p %s\n[ -f %s ] && cat %s >%s || { rm -f %s; cp %s %s; chmod %o %s; }\n",
			quote("/mnt/"+path.Dir(name)), to, from, to, to, from, to, c.files[name].mode, to)
	}
	if len(c.commands) > 0 {
		s.WriteString("for d in dev proc sys; do [ -d /mnt/$d ] && mount --bind /$d /mnt/$d; done\nmount -t tmpfs tmp /mnt/tmp\n")
		s.WriteString("export PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C\n")
		for i, command := range c.commands {
			fmt.Fprintf(&s, "if /bin/chroot /mnt /bin/sh -c %s; then /bin/touch /out/ran%d; fi\n", quote(command), i)
		}
		s.WriteString("export PATH=/bin\numount /mnt/tmp; for d in sys proc dev; do umount /mnt/$d || true; done\n")
	}
	if strings.Contains(string(f.files["etc/selinux/config"]), "SELINUX=enforcing") {
		s.WriteString("touch /mnt/.autorelabel\n")
	}
	for _, m := range slices.Backward(mounts) {
		fmt.Fprintf(&s, "umount %s\n", quote("/mnt/"+m.at))
	}
	return s.String(), files
}

// quote is for a shell.
func quote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

// Prepare mends what can be mended in the qcow2 image at path, which is changed in place: it must be a file of ours
// that Image made the report of. It gives the findings whose remedies were done.
func Prepare(ctx context.Context, m *appliance.Machine, path string, info image.Info, r *Report) ([]Finding, error) {
	f := r.facts
	c := &changes{old: f.files, files: map[string]file{}, removed: map[string]bool{}}
	var done []Finding
	commands := map[int]int{} // by command: its finding
	for _, found := range r.Findings {
		if found.fix == nil {
			continue
		}
		before := len(c.commands)
		found.fix(c)
		for i := before; i < len(c.commands); i++ {
			commands[i] = len(done)
		}
		done = append(done, found)
	}
	if len(done) == 0 {
		return nil, nil
	}
	if f.root == nil {
		return nil, errors.New("there is no system to mend")
	}
	c.applyOptions(f)
	script, files := c.script(f)
	out, err := m.Run(ctx, appliance.Job{Script: script, Files: files, Disk: path, Info: info, Change: true, Memory: 1024, MaxTime: 15 * time.Minute})
	if err != nil {
		return nil, fmt.Errorf("mend the image: %w", err)
	}
	failed := map[int]bool{}
	for i, finding := range commands {
		if out[fmt.Sprintf("ran%d", i)] == nil {
			failed[finding] = true
		}
	}
	var worked []Finding
	for i, d := range done {
		if !failed[i] {
			worked = append(worked, d)
		}
	}
	return worked, nil
}
