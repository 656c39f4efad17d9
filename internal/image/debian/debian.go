// Package debian makes a full Debian cloud image from Debian's packages: mmdebstrap unpacks and configures them, and
// a helper machine installs the boot loaders. It boots by BIOS and by UEFI, and is set up by its own cloud-init,
// unmodified, from the EC2 metadata service. Nothing is mounted on this machine.
package debian

import (
	"context"
	"crypto/rand"
	"embed"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"karri.dev/internal/image"
	"karri.dev/internal/image/appliance"
)

// Options say what to build.
type Options struct {
	Out      string   // the disk image: qcow2 if its name ends so, else raw
	Suite    string   // "" = bookworm
	Mirror   string   // URL; "" = Debian's own
	Packages []string // further ones
	Size     int64    // of the disk in bytes; 0 = 2 GiB; the first start grows the root file system to its volume
	Archive  string   // a tar archive that mmdebstrap made before, with at least the packages below; "" = make one
	CacheDir string   // of the helper machine's packages
	Log      *slog.Logger
}

// packages are those of a cloud image beyond Debian's smallest system.
var packages = []string{
	"linux-image-cloud-amd64", "grub-pc", "grub-efi-amd64-bin", "initramfs-tools", "e2fsprogs",
	"systemd-sysv", "systemd-resolved", "libnss-resolve", "udev", "dbus", "netplan.io", "iproute2", "iputils-ping",
	"cloud-init", "cloud-guest-utils", "fdisk", "openssh-server", "sudo", "ca-certificates", "curl", "less", "vim-tiny",
}

//go:embed files
var files embed.FS

// Build makes the image. The file is whole or absent.
func Build(ctx context.Context, o Options) (err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("build the Debian image: %w", err)
		}
	}()
	if o.Suite == "" {
		o.Suite = "bookworm"
	}
	if o.Size == 0 {
		o.Size = 2 << 30
	}
	m, err := appliance.New(ctx, o.CacheDir, o.Log)
	if err != nil {
		return err
	}
	work, err := os.MkdirTemp(filepath.Dir(o.Out), ".karri-debian-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)

	began := time.Now()
	archive := o.Archive
	if archive == "" {
		archive = filepath.Join(work, "system.tar")
		o.Log.Info("unpacking and configuring Debian's packages", "suite", o.Suite)
		if err := bootstrap(ctx, o, archive); err != nil {
			return err
		}
	}
	o.Log.Info("installing the boot loaders", "after", time.Since(began).Round(time.Second))
	disk := filepath.Join(work, "disk.raw")
	id, err := layOut(ctx, disk, o.Size)
	if err != nil {
		return err
	}
	if err := install(ctx, m, disk, archive, id, o.Size); err != nil {
		return err
	}
	o.Log.Info("writing the image", "after", time.Since(began).Round(time.Second))
	if strings.HasSuffix(o.Out, ".qcow2") { // our own disk: it needs no jail
		made := filepath.Join(work, "disk.qcow2")
		if err := run(ctx, "qemu-img", "convert", "-f", "raw", "-O", "qcow2", "-c", disk, made); err != nil {
			return err
		}
		disk = made
	}
	return errors.Join(os.Chmod(disk, 0o644), os.Rename(disk, o.Out))
}

// bootstrap makes the archive of an installed system.
func bootstrap(ctx context.Context, o Options, archive string) error {
	args := []string{
		"--quiet", "--variant=minbase", "--format=tar", "--components=main",
		"--include=" + strings.Join(append(slices.Clone(packages), o.Packages...), ","), o.Suite, archive,
	}
	if o.Mirror != "" {
		args = append(args, o.Mirror)
	}
	return run(ctx, "mmdebstrap", args...)
}

// layOut makes the disk with its partitions and an empty root file system, and gives that one's UUID.
func layOut(ctx context.Context, path string, size int64) (id string, err error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return "", err
	}
	defer f.Close()
	if err := f.Truncate(size); err != nil {
		return "", err
	}
	if err := writeGPT(f, size, rand.Reader); err != nil {
		return "", err
	}
	var b [16]byte
	if _, err := rand.Read(b[:]); err != nil {
		return "", err
	}
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	id = fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
	root := size - rootStart - gptTail
	return id, run(ctx, "mke2fs", "-q", "-F", "-t", "ext4", "-b", "4096", "-L", "root", "-U", id,
		"-E", fmt.Sprintf("offset=%d,lazy_itable_init=1,nodiscard", rootStart), path, fmt.Sprint(root/4096))
}

// install fills the disk in a helper machine.
func install(ctx context.Context, m *appliance.Machine, disk, archive, id string, size int64) error {
	job, err := files.ReadFile("files/job")
	if err != nil {
		return err
	}
	add := map[string][]byte{"uuid": []byte(id)}
	for _, name := range []string{"fstab", "grub", "99_karri.cfg"} {
		if add[name], err = files.ReadFile("files/" + name); err != nil {
			return err
		}
		add[name] = []byte(strings.ReplaceAll(string(add[name]), "@ROOT@", id))
	}
	_, err = m.Run(ctx, appliance.Job{
		Script: string(job), Files: add, Disk: disk, Info: image.Info{Format: image.Raw, VirtualSize: size, Length: size},
		Change: true, Archive: archive, Memory: 768, MaxTime: 20 * time.Minute,
	})
	return err
}

func run(ctx context.Context, name string, args ...string) error {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Env = append(os.Environ(), "LC_ALL=C", "PATH="+os.Getenv("PATH")+":/usr/sbin:/sbin", "DEBIAN_FRONTEND=noninteractive")
	if out, err := cmd.CombinedOutput(); err != nil {
		text := strings.TrimSpace(string(out))
		return fmt.Errorf("%s: %w: %s", name, err, text[max(0, len(text)-2000):])
	}
	return nil
}
