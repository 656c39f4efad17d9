package tiny

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"

	"karri.dev/internal/image/tiny/internal/deb"
)

// helperDrivers are what a helper machine needs: its disks, and the file systems of other people's.
var helperDrivers = []string{"virtio_pci", "virtio_blk", "xfs", "btrfs", "vfat", "nls_cp437", "nls_ascii", "nls_utf8"}

// HelperCommandLine is the helper machine's kernel's.
const HelperCommandLine = CommandLine + " panic=-1"

// Helper makes the kernel and the ramdisk of package appliance's machine, in the cache of packages (cacheDir as in
// Options). One that was made before of the same kernel is taken.
func Helper(ctx context.Context, dir string, log *slog.Logger) (kernel, ramdisk string, err error) {
	fail := func(err error) (string, string, error) {
		return "", "", fmt.Errorf("build the helper machine: %w", err)
	}
	init, err := guest.ReadFile("guest/helper")
	if err != nil {
		return fail(err)
	}
	cache, err := cacheDir(dir)
	if err != nil {
		return fail(err)
	}
	packages := &deb.Cache{Dir: cache, Log: log}
	release, err := packages.Depends(ctx, "linux-image-cloud-amd64", "linux-image-")
	if err != nil {
		return fail(err)
	}
	sum := sha256.Sum256([]byte(strings.Join(helperDrivers, " ") + string(init)))
	name := filepath.Join(cache, fmt.Sprintf("helper-%s-%x", strings.TrimPrefix(release, "linux-image-"), sum[:6]))
	kernel, ramdisk = name+".kernel", name+".ramdisk"
	if exists(kernel) && exists(ramdisk) {
		return kernel, ramdisk, nil
	}
	work, err := os.MkdirTemp("", "karri-helper-")
	if err != nil {
		return fail(err)
	}
	defer os.RemoveAll(work)
	t, err := collect(ctx, packages, work, helperDrivers)
	if err != nil {
		return fail(err)
	}
	w := &cpio{made: map[string]bool{}}
	t.base(w)
	w.file("init", 0o755, init)
	archive := w.finish()
	err = errors.Join(
		writeFile(kernel, func(f *os.File) error { _, err := f.Write(t.kernel); return err }),
		writeFile(ramdisk, func(f *os.File) error { _, err := f.Write(archive); return err }))
	if err != nil {
		return fail(err)
	}
	return kernel, ramdisk, nil
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// ErrUnavailable says that a package can neither be fetched nor is in the cache.
var ErrUnavailable = deb.ErrUnavailable
