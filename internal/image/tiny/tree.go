package tiny

import (
	"bytes"
	"context"
	"debug/elf"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"karri.dev/internal/image/tiny/internal/deb"
)

//go:embed guest
var guest embed.FS

// tree is what the guest consists of.
type tree struct {
	release string // of the kernel
	kernel  []byte // bzImage
	modules []module
	busybox []byte
	applets []string
	ssh     map[string][]byte // path in the guest → dropbear, its libraries and loader
}

// drivers are the kernel modules that the guest loads; what they need comes with them.
var drivers = []string{"virtio_pci", "virtio-rng", "virtio_blk", "virtio_scsi", "virtio_net", "overlay", "button", "evdev"}

func collect(ctx context.Context, packages *deb.Cache, work string, drivers []string) (*tree, error) {
	t := &tree{ssh: map[string][]byte{}}

	name, err := packages.Depends(ctx, "linux-image-cloud-amd64", "linux-image-")
	if err != nil {
		return nil, err
	}
	root := filepath.Join(work, "kernel")
	if err := packages.Unpack(ctx, name, root); err != nil {
		return nil, err
	}
	t.release = strings.TrimPrefix(name, "linux-image-")
	if t.kernel, err = os.ReadFile(filepath.Join(root, "boot", "vmlinuz-"+t.release)); err != nil {
		return nil, err
	}
	if t.modules, err = resolve(filepath.Join(root, "lib/modules", t.release), drivers); err != nil {
		return nil, err
	}

	root = filepath.Join(work, "user")
	path, err := file(ctx, packages, root, "busybox-static", "bin/busybox", "usr/bin/busybox")
	if err != nil {
		return nil, err
	}
	if t.busybox, err = os.ReadFile(path); err != nil {
		return nil, err
	}
	out, err := exec.CommandContext(ctx, path, "--list").Output()
	if err != nil {
		return nil, fmt.Errorf("list busybox's applets: %w", err)
	}
	t.applets = strings.Fields(string(out))
	return t, nil
}

// collectSSH brings dropbear with the libraries it is linked to.
func (t *tree) collectSSH(ctx context.Context, packages *deb.Cache, root string) error {
	add := func(as, path string) error {
		b, err := os.ReadFile(path)
		t.ssh[as] = b
		return err
	}
	var queue []string
	for _, name := range []string{"dropbear", "dropbearkey"} {
		path, err := file(ctx, packages, root, "dropbear-bin", "usr/sbin/"+name, "usr/bin/"+name)
		if err != nil {
			return err
		}
		if err := add("bin/"+name, path); err != nil {
			return err
		}
		queue = append(queue, path)
	}
	loader, err := file(ctx, packages, root, "libc6", "lib64/ld-linux-x86-64.so.2", "lib/x86_64-linux-gnu/ld-linux-x86-64.so.2")
	if err != nil {
		return err
	}
	if err := add("lib64/ld-linux-x86-64.so.2", loader); err != nil {
		return err
	}
	for len(queue) > 0 {
		f, err := elf.Open(queue[0])
		if err != nil {
			return fmt.Errorf("%s: %w", queue[0], err)
		}
		needed, err := f.ImportedLibraries()
		f.Close()
		if err != nil {
			return fmt.Errorf("%s: %w", queue[0], err)
		}
		queue = queue[1:]
		for _, lib := range needed {
			as := "lib/x86_64-linux-gnu/" + lib
			if t.ssh[as] != nil || strings.HasPrefix(lib, "ld-linux") {
				continue
			}
			owner, ok := libraries[lib]
			if !ok {
				return fmt.Errorf("dropbear needs %s, and I do not know its package", lib)
			}
			path, err := file(ctx, packages, root, owner, as, "usr/"+as)
			if err != nil {
				return err
			}
			if err := add(as, path); err != nil {
				return err
			}
			queue = append(queue, path)
		}
	}
	return nil
}

// libraries are those that dropbear may be linked to, and the packages that hold them.
var libraries = map[string]string{
	"libc.so.6": "libc6", "libcrypt.so.1": "libcrypt1", "libz.so.1": "zlib1g", "libgmp.so.10": "libgmp10",
	"libtomcrypt.so.1": "libtomcrypt1", "libtommath.so.1": "libtommath1",
}

// file gives the host's own file where it is installed, else the one from the package.
func file(ctx context.Context, packages *deb.Cache, root, name string, paths ...string) (string, error) {
	for _, r := range []string{"/", root} {
		for _, p := range paths {
			if i, err := os.Stat(filepath.Join(r, p)); err == nil && i.Mode().IsRegular() {
				return filepath.Join(r, p), nil
			}
		}
		if r == "/" {
			if err := packages.Unpack(ctx, name, root); err != nil {
				return "", err
			}
		}
	}
	return "", fmt.Errorf("package %s has no %s", name, paths[0])
}

// module is a kernel module, in an order in which they can be loaded.
type module struct {
	name string
	data []byte
}

// resolve reads the wanted modules below dir, each after those that it depends on.
func resolve(dir string, wanted []string) ([]module, error) {
	paths := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if name, ok := strings.CutSuffix(filepath.Base(path), ".ko"); ok {
			paths[strings.ReplaceAll(name, "-", "_")] = path
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	var out []module
	var visit func(name string) error
	visit = func(name string) error {
		name = strings.ReplaceAll(name, "-", "_")
		if slices.ContainsFunc(out, func(m module) bool { return m.name == name }) {
			return nil
		}
		if paths[name] == "" {
			return fmt.Errorf("the kernel has no module %s", name)
		}
		data, err := os.ReadFile(paths[name])
		if err != nil {
			return err
		}
		needs, err := dependencies(data)
		if err != nil {
			return fmt.Errorf("module %s: %w", name, err)
		}
		for _, n := range needs {
			if err := visit(n); err != nil {
				return fmt.Errorf("module %s: %w", name, err)
			}
		}
		out = append(out, module{name, data})
		return nil
	}
	for _, name := range wanted {
		if err := visit(name); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// dependencies reads what a module says about itself.
func dependencies(data []byte) ([]string, error) {
	f, err := elf.NewFile(bytes.NewReader(data))
	if err != nil {
		return nil, err
	}
	s := f.Section(".modinfo")
	if s == nil {
		return nil, errors.New("no .modinfo section")
	}
	info, err := s.Data()
	if err != nil {
		return nil, err
	}
	for line := range strings.SplitSeq(string(info), "\x00") {
		if v, ok := strings.CutPrefix(line, "depends="); ok && v != "" {
			return strings.Split(v, ","), nil
		}
	}
	return nil, nil
}
