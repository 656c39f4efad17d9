// Package tiny makes a small guest image from Debian's packages: the cloud kernel, busybox and dropbear.
//
// The guest configures its network by DHCP, fetches its key and user data from the EC2 metadata service
// (tokens), serves SSH for root and karri with that key, keeps files over reboots and powers off when asked
// to by ACPI. It boots from its disk (BIOS) and, as a kernel with a ramdisk, also without one.
//
// Nothing is mounted, no kernel is installed, and root is not needed. The same packages give the same bytes.
package tiny

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"

	"karri.dev/internal/image/tiny/internal/deb"
)

// CommandLine is the kernel's when it is booted with the ramdisk; the disk's boot loader uses the same.
// The console is the serial port; a panic restarts the machine.
const CommandLine = "console=ttyS0 quiet loglevel=3 panic=5 nokaslr mitigations=off cryptomgr.notests no_timer_check"

// DefaultCache is where packages are kept; `make deps` fills it.
const DefaultCache = "/var/cache/karri/packages"

// Options say what to build.
type Options struct {
	Out                   string // disk image; raw; "" = none
	KernelOut, RamdiskOut string // "" = none
	CacheDir              string // of Debian packages; "" = DefaultCache, or the user's cache where that cannot be written
	Log                   *slog.Logger
}

// Build makes the files. Each is written beside its place and renamed, so that it is whole or absent.
func Build(ctx context.Context, o Options) error {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	cache, err := cacheDir(o.CacheDir)
	if err != nil {
		return err
	}
	work, err := os.MkdirTemp("", "karri-tiny-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)

	packages := &deb.Cache{Dir: cache, Log: o.Log}
	tree, err := collect(ctx, packages, work, drivers)
	if err == nil {
		err = tree.collectSSH(ctx, packages, filepath.Join(work, "user"))
	}
	if err != nil {
		return fmt.Errorf("build tiny image: %w", err)
	}
	ramdisk, err := tree.ramdisk()
	if err != nil {
		return fmt.Errorf("build tiny image: %w", err)
	}
	o.Log.Info("packages collected", "kernel", tree.release, "kernel_bytes", len(tree.kernel), "ramdisk_bytes", len(ramdisk))

	if o.KernelOut != "" {
		if err := writeFile(o.KernelOut, func(f *os.File) error { _, err := f.Write(tree.kernel); return err }); err != nil {
			return err
		}
	}
	if o.RamdiskOut != "" {
		if err := writeFile(o.RamdiskOut, func(f *os.File) error { _, err := f.Write(ramdisk); return err }); err != nil {
			return err
		}
	}
	if o.Out != "" {
		return writeFile(o.Out, func(f *os.File) error { return writeDisk(ctx, f, tree.kernel, ramdisk) })
	}
	return nil
}

func cacheDir(dir string) (string, error) {
	if dir != "" {
		return dir, os.MkdirAll(dir, 0o755)
	}
	if err := os.MkdirAll(DefaultCache, 0o755); err == nil {
		if f, err := os.CreateTemp(DefaultCache, ".probe-"); err == nil {
			f.Close()
			os.Remove(f.Name())
			return DefaultCache, nil
		}
	}
	user, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("no place for packages: %s cannot be written, and %w", DefaultCache, err)
	}
	dir = filepath.Join(user, "karri", "packages")
	return dir, os.MkdirAll(dir, 0o755)
}

// writeFile makes path whole or not at all.
func writeFile(path string, write func(*os.File) error) (err error) {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-")
	if err != nil {
		return err
	}
	defer func() {
		f.Close()
		if err != nil {
			os.Remove(f.Name())
			err = fmt.Errorf("write %s: %w", path, err)
		}
	}()
	if err = write(f); err != nil {
		return err
	}
	if err = f.Chmod(0o644); err != nil {
		return err
	}
	if err = f.Sync(); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}
