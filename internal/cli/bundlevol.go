package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"
)

// volume is what bundle-vol makes an image of.
type volume struct {
	root     string
	excluded []string
	mib      int64
	label    string
}

// defaultVolumeMiB is the largest image that the AMI tools made by themselves.
const defaultVolumeMiB = 10 << 10

// build makes a file system in a new file of what is below root: of its own file system only, without what is
// excluded.
func (v *volume) build(ctx context.Context, out string) error {
	mke2fs, err := exec.LookPath("mke2fs")
	if err != nil {
		mke2fs = "/sbin/mke2fs"
	}
	tar, err := exec.LookPath("tar")
	if err != nil {
		return err
	}
	staging, err := os.MkdirTemp(filepath.Dir(out), ".bundle-vol-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(staging)
	root, err := filepath.Abs(v.root)
	if err != nil {
		return err
	}
	leave := append(slices.Clone(v.excluded), out, staging, filepath.Dir(out)) // the image is not in itself
	args := []string{"-C", root, "--one-file-system", "--numeric-owner", "--sparse", "--acls", "--xattrs"}
	for _, path := range leave {
		abs, err := filepath.Abs(path)
		if err != nil {
			return err
		}
		if rel, err := filepath.Rel(root, abs); err == nil && rel != "." && !strings.HasPrefix(rel, "..") {
			args = append(args, "--exclude=./"+rel)
		}
	}
	read := exec.CommandContext(ctx, tar, append(args, "-cf", "-", ".")...)
	write := exec.CommandContext(ctx, tar, "-C", staging, "--numeric-owner", "--acls", "--xattrs", "-xpf", "-")
	if write.Stdin, err = read.StdoutPipe(); err != nil {
		return err
	}
	read.Stderr, write.Stderr = os.Stderr, os.Stderr
	if err := errors.Join(read.Start(), write.Start()); err != nil {
		return err
	}
	writeErr := write.Wait()
	readErr := read.Wait()
	var exit *exec.ExitError
	if errors.As(readErr, &exit) && exit.ExitCode() == 1 { // files changed while they were read: the machine runs
		readErr = nil
	}
	if err := errors.Join(readErr, writeErr); err != nil {
		return fmt.Errorf("copy %s: %w", v.root, err)
	}
	for dir, mode := range map[string]fs.FileMode{"proc": 0o555, "sys": 0o555, "dev": 0o755, "run": 0o755, "tmp": 0o777 | fs.ModeSticky, "mnt": 0o755} {
		if err := os.Mkdir(filepath.Join(staging, dir), 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		} else if err == nil {
			if err := os.Chmod(filepath.Join(staging, dir), mode); err != nil {
				return err
			}
		}
	}
	f, err := os.OpenFile(out, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	err = errors.Join(f.Truncate(v.mib<<20), f.Close())
	if err == nil {
		var said []byte
		said, err = exec.CommandContext(ctx, mke2fs, "-q", "-F", "-t", "ext4", "-L", v.label, "-d", staging, out).CombinedOutput()
		if err != nil {
			err = fmt.Errorf("make the file system: %w: %s: is --size large enough?", err, said)
		}
	}
	if err != nil {
		os.Remove(out)
	}
	return err
}

func bundleVolCommand() *cobra.Command {
	var v volume
	c := bundleCommand("bundle-vol [-r FOLDER|DEVICE] -d DIR", "Bundle the running machine's own disk, or a folder", func(c *cobra.Command, b *bundling) (string, func(), error) {
		info, err := os.Stat(v.root)
		if err != nil {
			return "", nil, err
		}
		if info.Mode()&fs.ModeDevice != 0 || info.Mode().IsRegular() {
			return v.root, func() {}, nil // bundled as it is
		}
		if err := os.MkdirAll(b.out, 0o700); err != nil {
			return "", nil, err
		}
		image := filepath.Join(b.out, cmp.Or(b.prefix, "image"))
		if err := v.build(c.Context(), image); err != nil {
			return "", nil, err
		}
		return image, func() { os.Remove(image) }, nil
	})
	c.Long = `Bundle what a machine runs from, from within it: the root folder (its own file system only, without what is mounted in
it) becomes an ext4 file system without a boot loader, which needs a kernel (--kernel, or the cloud's default); a device
is bundled as it is. Keep the work folder (-d) out of the way: it is never in the image. Files may change meanwhile: stop
what writes to them first.`
	c.Example = "  karri bundle-vol -d /mnt/bundle -e /mnt,/var/cache -s 2048\n  karri bundle-vol -r /dev/vda -d /mnt/bundle -p machine"
	c.Flags().StringVarP(&v.root, "volume", "r", "/", "the folder or device to bundle")
	c.Flags().StringSliceVarP(&v.excluded, "exclude", "e", nil, "folders to leave out")
	c.Flags().Int64VarP(&v.mib, "size", "s", defaultVolumeMiB, "size of the file system in MiB")
	c.Flags().StringVar(&v.label, "label", "root", "label of the file system")
	return c
}
