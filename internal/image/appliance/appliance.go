// Package appliance looks into other people's file systems where they can do no harm: inside a small virtual
// machine, made of Debian's kernel and busybox, that knows no network and lives for one job. Its QEMU runs in the
// jail of conversions. A hostile file system can at most spoil the answer about itself.
package appliance

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"karri.dev/internal/image"
	"karri.dev/internal/image/tiny"
	"karri.dev/internal/jail"
)

// Machine is a helper machine that can be run any number of times.
type Machine struct {
	kernel, ramdisk string
	firmware        map[string]string
	uid             int
	log             *slog.Logger
}

// New prepares a machine of Debian's packages; they come from cacheDir, or are fetched there.
func New(ctx context.Context, cacheDir string, log *slog.Logger) (*Machine, error) {
	m := &Machine{uid: jail.Nobody, firmware: map[string]string{}, log: log}
	var err error
	if m.kernel, m.ramdisk, err = tiny.Helper(ctx, cacheDir, log); err != nil {
		return nil, err
	}
	for _, name := range []string{"qboot.rom", "linuxboot_dma.bin", "kvmvapic.bin"} {
		m.firmware["/firmware/"+name] = filepath.Join("/usr/share/qemu", name)
	}
	return m, nil
}

// Job is what a machine does in one life.
type Job struct {
	// Script is run by busybox's shell in a folder that holds Files. Disk is its /dev/vda, Archive /dev/vdd. What it
	// leaves in /out is the job's result; it should end with status 0.
	Script string
	Files  map[string][]byte
	// Disk is an image of which Inspect said Info. It is only read, unless Change is set: then it is a file of ours, raw or
	// qcow2.
	Disk    string
	Info    image.Info
	Change  bool
	Archive string // a further file, read only; "" for none
	// Limits: memory in MiB (0: 256), size of the result in bytes (0: 64 MiB), time (0: 2 minutes).
	Memory  int
	Result  int64
	MaxTime time.Duration
}

// Failed says that a job did not come to its end; Console is the last that the machine said.
type Failed struct {
	Reason  error
	Console string
}

func (e *Failed) Error() string {
	lines := strings.Split(strings.TrimSpace(e.Console), "\n")
	return fmt.Sprintf("the helper machine failed: %v; it said: %s", e.Reason, strings.Join(lines[max(0, len(lines)-8):], " | "))
}

func (e *Failed) Unwrap() error { return e.Reason }

// Run does a job. Files of the result are in the returned map by their paths; links are left out.
func (m *Machine) Run(ctx context.Context, job Job) (map[string][]byte, error) {
	if job.Memory == 0 {
		job.Memory = 256
	}
	if job.Result == 0 {
		job.Result = 64 << 20
	}
	if job.MaxTime == 0 {
		job.MaxTime = 2 * time.Minute
	}
	near := os.TempDir()
	if job.Change {
		near = filepath.Dir(job.Disk)
	}
	dir, err := os.MkdirTemp(near, ".helper-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	if err := errors.Join(writeJob(filepath.Join(dir, "job"), job), sized(filepath.Join(dir, "result"), job.Result)); err != nil {
		return nil, err
	}
	if job.Change { // QEMU writes in its own folder only
		if err := os.Rename(job.Disk, filepath.Join(dir, "disk")); err != nil {
			return nil, err
		}
		defer func() { os.Rename(filepath.Join(dir, "disk"), job.Disk) }()
	}
	console, err := m.boot(ctx, dir, job)
	if err != nil {
		return nil, &Failed{err, console}
	}
	result, err := readResult(filepath.Join(dir, "result"), job.Result)
	if err == nil && result["done"] == nil {
		err = errors.New("the job was not done")
	}
	if err != nil {
		return nil, &Failed{err, console}
	}
	if job.Change {
		if err := os.Chown(filepath.Join(dir, "disk"), os.Geteuid(), os.Getegid()); err != nil {
			return nil, err
		}
	}
	m.log.Debug("the helper machine has done its job", "console", console)
	return result, nil
}

// boot runs the machine to its end and gives what it said.
func (m *Machine) boot(ctx context.Context, dir string, job Job) (console string, err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, job.MaxTime, errors.New("it took too long"))
	defer cancel()
	show := maps.Clone(m.firmware)
	show["/firmware/kernel"], show["/firmware/ramdisk"] = m.kernel, m.ramdisk
	j := jail.Jail{
		UID: m.uid, Memory: int64(job.Memory)<<20 + 2<<30, CPU: 4 * job.MaxTime, Grace: 5 * time.Second, Show: show,
		FileBytes: max(job.Result, job.Info.VirtualSize+job.Info.VirtualSize/1000+16<<20),
	}
	args := []string{
		"-L", "/firmware", "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
		"-sandbox", "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny",
		"-accel", "tcg,thread=multi,tb-size=64", "-cpu", "max,la57=off,smap=off", "-smp", "1", "-m", fmt.Sprintf("%dM", job.Memory),
		"-machine", "q35,sata=off,usb=off,smbus=off,vmport=off,graphics=off,dump-guest-core=off", "-bios", "qboot.rom",
		"-kernel", "/firmware/kernel", "-initrd", "/firmware/ramdisk", "-append", tiny.HelperCommandLine, "-serial", "stdio",
	}
	disk := func(options string) {
		id := fmt.Sprintf("disk%d", len(args))
		args = append(args, "-blockdev", options+",node-name="+id, "-device", "virtio-blk-pci,drive="+id)
	}
	// What is only read may be anybody's: it is opened here, and its owner and mode stay.
	open := func(path string) (string, error) {
		f, err := os.Open(path)
		if err != nil {
			return "", err
		}
		j.Files = append(j.Files, f)
		n := len(j.Files)
		args = append(args, "-add-fd", fmt.Sprintf("fd=%d,set=%d", n+2, n))
		return fmt.Sprintf("/dev/fdset/%d", n), nil
	}
	defer func() {
		for _, f := range j.Files {
			f.Close()
		}
	}()
	var subject string
	if job.Change {
		if subject, err = image.OpenOptions(job.Info, jail.Out+"/disk"); err != nil {
			return "", err
		}
		subject += ",discard=unmap,cache.no-flush=on"
	} else {
		path, err := open(job.Disk)
		if err != nil {
			return "", err
		}
		if subject, err = image.OpenOptions(job.Info, path); err != nil {
			return "", err
		}
		subject += ",read-only=on"
	}
	disk(subject)
	disk("driver=raw,read-only=on,file.driver=file,file.filename=" + jail.Out + "/job")
	disk("driver=raw,file.driver=file,file.filename=" + jail.Out + "/result")
	if job.Archive != "" {
		path, err := open(job.Archive)
		if err != nil {
			return "", err
		}
		disk("driver=raw,read-only=on,file.driver=file,file.filename=" + path)
	}
	for _, name := range []string{"job", "result", "disk"} {
		if err := os.Chown(filepath.Join(dir, name), m.uid, m.uid); err != nil && os.Geteuid() == 0 && !errors.Is(err, os.ErrNotExist) {
			return "", err
		}
	}
	if err := j.Give("", dir); err != nil {
		return "", err
	}
	said := &jail.Tail{Max: 16 << 10}
	err = j.Run(ctx, "", dir, said, "qemu-system-x86_64", args...)
	if context.Cause(ctx) != nil {
		err = context.Cause(ctx)
	}
	return strings.ReplaceAll(said.String(), "\r", ""), err
}

// writeJob makes the archive that is the second disk.
func writeJob(path string, job Job) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	w := tar.NewWriter(f)
	add := func(name string, data []byte) error {
		if err := w.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: int64(len(data)), Typeflag: tar.TypeReg}); err != nil {
			return err
		}
		_, err := w.Write(data)
		return err
	}
	if err := add("job", []byte(job.Script)); err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(job.Files)) {
		if err := add(name, job.Files[name]); err != nil {
			return err
		}
	}
	return errors.Join(w.Close(), f.Close())
}

func sized(path string, size int64) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	return errors.Join(f.Truncate(size), f.Close())
}

// maxFiles bounds how many files a result has.
const maxFiles = 20000

// readResult reads what the job left: a stranger may have had a hand in it.
func readResult(path string, limit int64) (map[string][]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	out := map[string][]byte{}
	r := tar.NewReader(io.LimitReader(f, limit))
	for n := 0; ; n++ {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return out, nil
		}
		if err != nil {
			return nil, fmt.Errorf("read the result: %w", err)
		}
		if n == maxFiles || h.Size > limit {
			return nil, errors.New("the result is too large")
		}
		if h.Typeflag != tar.TypeReg {
			continue
		}
		var data bytes.Buffer
		if _, err := io.Copy(&data, r); err != nil {
			return nil, fmt.Errorf("read the result: %w", err)
		}
		out[strings.TrimPrefix(h.Name, "./")] = data.Bytes()
	}
}
