package tiny

import (
	"bytes"
	"fmt"
	"path"
	"strings"
)

const (
	modeDir  = 0o040000
	modeFile = 0o100000
	modeLink = 0o120000
	modeChar = 0o020000
)

// ramdisk gives the guest's files as an initial ramdisk. It is not compressed: under emulation unpacking
// costs more time than reading.
func (t *tree) ramdisk() ([]byte, error) {
	w := &cpio{made: map[string]bool{}}
	for _, d := range []string{"run/state", "run/root", "etc/dropbear", "var/lib", "var/log"} {
		w.dir(d, 0o755)
	}
	t.base(w)
	for _, p := range sortedKeys(t.ssh) {
		w.file(p, 0o755, t.ssh[p])
	}

	for _, f := range []struct {
		name, as string
		mode     uint32
	}{
		{"init", "init", 0o755},
		{"inittab", "etc/inittab", 0o644},
		{"rc", "etc/rc", 0o755},
		{"rc.final", "etc/rc.final", 0o755},
		{"metadata", "etc/metadata", 0o644},
		{"udhcpc.script", "etc/udhcpc.script", 0o755},
		{"down", "bin/down", 0o755},
		{"power-button", "bin/power-button", 0o755},
		{"passwd", "etc/passwd", 0o644},
		{"group", "etc/group", 0o644},
		{"profile", "etc/profile", 0o644},
		{"shadow", "etc/shadow", 0o600},
		{"nsswitch.conf", "etc/nsswitch.conf", 0o644},
	} {
		data, err := guest.ReadFile("guest/" + f.name)
		if err != nil {
			return nil, err
		}
		w.file(f.as, f.mode, data)
	}
	w.file("etc/os-release", 0o644, []byte("ID=karri-tiny\nPRETTY_NAME=\"Karri tiny guest\"\nKERNEL="+t.release+"\n"))
	w.owner = 1000
	w.dir("home/karri", 0o755)
	return w.finish(), nil
}

// base puts busybox and the drivers into a ramdisk.
func (t *tree) base(w *cpio) {
	for _, d := range []string{"proc", "sys", "lib/modules", "usr", "mnt"} {
		w.dir(d, 0o755)
	}
	w.dir("tmp", 0o1777)
	w.dir("root", 0o700)
	w.node("dev/console", 5, 1)
	w.node("dev/null", 1, 3)

	// One folder of programs under all its names.
	w.dir("bin", 0o755)
	for _, l := range []string{"sbin", "usr/bin", "usr/sbin"} {
		w.link(l, "/bin")
	}
	w.file("bin/busybox", 0o4755, t.busybox) // set-uid for su; it drops to the caller for everything else
	for _, a := range t.applets {
		if a != "busybox" {
			w.link("bin/"+a, "busybox")
		}
	}
	var order strings.Builder
	for _, m := range t.modules {
		w.file("lib/modules/"+m.name+".ko", 0o644, m.data)
		fmt.Fprintf(&order, "%s.ko\n", m.name)
	}
	w.file("lib/modules/order", 0o644, []byte(order.String()))
}

// cpio writes the "newc" archive that the kernel unpacks. Every file has time 0, so that the same files give
// the same bytes.
type cpio struct {
	buf   bytes.Buffer
	inode uint32
	owner uint32 // of the entries that follow
	made  map[string]bool
}

func (w *cpio) entry(name string, mode, major, minor uint32, data []byte) {
	w.inode++
	links := uint32(1)
	fmt.Fprintf(&w.buf, "070701%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x",
		w.inode, mode, w.owner, w.owner, links, 0, len(data), 0, 0, major, minor, len(name)+1, 0)
	w.buf.WriteString(name)
	w.buf.WriteByte(0)
	w.pad()
	w.buf.Write(data)
	w.pad()
}

func (w *cpio) pad() {
	for w.buf.Len()%4 != 0 {
		w.buf.WriteByte(0)
	}
}

// dir makes a folder, and those above it as root's.
func (w *cpio) dir(name string, mode uint32) {
	if name == "." || w.made[name] {
		return
	}
	owner := w.owner
	w.owner = 0
	w.dir(path.Dir(name), 0o755)
	w.owner = owner
	w.made[name] = true
	w.entry(name, modeDir|mode, 0, 0, nil)
}

func (w *cpio) file(name string, mode uint32, data []byte) {
	w.dir(path.Dir(name), 0o755)
	w.entry(name, modeFile|mode, 0, 0, data)
}

func (w *cpio) link(name, target string) {
	w.dir(path.Dir(name), 0o755)
	w.entry(name, modeLink|0o777, 0, 0, []byte(target))
}

func (w *cpio) node(name string, major, minor uint32) {
	w.dir(path.Dir(name), 0o755)
	w.entry(name, modeChar|0o600, major, minor, nil)
}

func (w *cpio) finish() []byte {
	w.owner = 0
	w.entry("TRAILER!!!", 0, 0, 0, nil)
	for w.buf.Len()%512 != 0 {
		w.buf.WriteByte(0)
	}
	return w.buf.Bytes()
}
