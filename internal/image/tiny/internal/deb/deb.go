// Package deb fetches Debian packages and unpacks them, without installing anything.
package deb

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// ErrUnavailable says that a package can neither be fetched nor is in the cache.
var ErrUnavailable = errors.New("apt cannot fetch the package")

// Cache keeps .deb files in a folder.
type Cache struct {
	Dir string
	Log *slog.Logger
}

// Unpack puts a package's files below dir. A package that is in the cache in the version that apt would
// install, or in any when apt knows none, is not fetched again.
func (c *Cache) Unpack(ctx context.Context, name, dir string) error {
	path, err := c.fetch(ctx, name)
	if err != nil {
		return fmt.Errorf("package %s: %w", name, err)
	}
	if _, err := run(ctx, "", "dpkg-deb", "-x", path, dir); err != nil {
		return fmt.Errorf("package %s: %w", name, err)
	}
	return nil
}

// Depends gives the name of a package's first dependency that begins with prefix.
func (c *Cache) Depends(ctx context.Context, name, prefix string) (string, error) {
	path, err := c.fetch(ctx, name)
	if err != nil {
		return "", fmt.Errorf("package %s: %w", name, err)
	}
	out, err := run(ctx, "", "dpkg-deb", "-f", path, "Depends")
	if err != nil {
		return "", fmt.Errorf("package %s: %w", name, err)
	}
	for d := range strings.SplitSeq(out, ",") {
		if d, _, _ = strings.Cut(strings.TrimSpace(d), " "); strings.HasPrefix(d, prefix) {
			return d, nil
		}
	}
	return "", fmt.Errorf("package %s depends on no %s…", name, prefix)
}

func (c *Cache) fetch(ctx context.Context, name string) (string, error) {
	// apt prints nothing where the file is already in the working folder: ask from a folder without any.
	uris, aptErr := run(ctx, "/", "apt-get", "download", "--print-uris", "-qq", name)
	if aptErr == nil {
		// 'URI' file size hash
		fields := strings.Fields(uris)
		if len(fields) < 2 {
			return "", fmt.Errorf("apt-get names no file: %q", uris)
		}
		path := filepath.Join(c.Dir, fields[1])
		if _, err := os.Stat(path); err == nil {
			return path, nil
		}
		if aptErr = c.download(ctx, name); aptErr == nil {
			return path, nil
		}
	}
	old, err := filepath.Glob(filepath.Join(c.Dir, name+"_*.deb"))
	if err != nil || len(old) == 0 {
		return "", fmt.Errorf("%w, nor is it in %s (run apt-get update, or make deps): %w", ErrUnavailable, c.Dir, aptErr)
	}
	slices.SortFunc(old, func(a, b string) int {
		if exec.CommandContext(ctx, "dpkg", "--compare-versions", version(a), "lt", version(b)).Run() == nil {
			return -1
		}
		return 1
	})
	newest := old[len(old)-1]
	c.Log.Warn("apt cannot fetch the package; the cached one is used", "package", name, "file", newest, "err", aptErr)
	return newest, nil
}

// download fetches into a folder of its own first: a file in the cache is whole.
func (c *Cache) download(ctx context.Context, name string) error {
	c.Log.Info("fetching package", "package", name)
	tmp, err := os.MkdirTemp(c.Dir, ".fetch-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(tmp)
	// As root apt would drop to its own user, which may not write here.
	if _, err := run(ctx, tmp, "apt-get", "download", "-qq", "-o", "APT::Sandbox::User=", name); err != nil {
		return err
	}
	files, err := filepath.Glob(filepath.Join(tmp, "*.deb"))
	if err != nil {
		return err
	}
	for _, f := range files {
		if err := os.Rename(f, filepath.Join(c.Dir, filepath.Base(f))); err != nil {
			return err
		}
	}
	return nil
}

// version gives the version in a .deb file's name.
func version(path string) string {
	parts := strings.Split(strings.TrimSuffix(filepath.Base(path), ".deb"), "_")
	if len(parts) < 2 {
		return ""
	}
	return strings.ReplaceAll(parts[1], "%3a", ":")
}

func run(ctx context.Context, dir, name string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "LC_ALL=C")
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("%s: %w: %s", strings.Join(cmd.Args, " "), err, strings.TrimSpace(stderr.String()))
	}
	return strings.TrimSpace(stdout.String()), nil
}
