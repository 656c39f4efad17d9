package appliance

import (
	"bytes"
	"errors"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"karri.dev/internal/image"
	"karri.dev/internal/image/tiny"
)

func machine(t *testing.T) *Machine {
	t.Helper()
	for _, p := range []string{"apt-get", "dpkg-deb", "bwrap", "qemu-system-x86_64"} {
		if _, err := exec.LookPath(p); err != nil {
			t.Skipf("needs %s", p)
		}
	}
	m, err := New(t.Context(), "", slog.New(slog.DiscardHandler))
	if errors.Is(err, tiny.ErrUnavailable) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// disk is a raw disk that is one ext4 file system with the file greeting.
func disk(t *testing.T) (string, image.Info) {
	t.Helper()
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "root"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "root", "greeting"), []byte("hello"), 0o644); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "disk.raw")
	if out, err := exec.Command("mke2fs", "-q", "-t", "ext4", "-d", filepath.Join(dir, "root"), path, "16M").CombinedOutput(); err != nil {
		t.Fatalf("mke2fs: %s", out)
	}
	if err := os.Chmod(path, 0o600); err != nil {
		t.Fatal(err)
	}
	info, err := image.InspectFile(path, image.Raw, 0)
	if err != nil {
		t.Fatal(err)
	}
	return path, info
}

func TestReadsADiskAndLeavesItAlone(t *testing.T) {
	m := machine(t)
	path, info := disk(t)
	before, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	archive := filepath.Join(t.TempDir(), "archive")
	if err := os.WriteFile(archive, bytes.Repeat([]byte("x"), 512), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := m.Run(t.Context(), Job{
		Script: "mount -o ro,noload /dev/vda /mnt && cp /mnt/greeting /out/ && head -c 5 /dev/vdd >/out/archive && cat extra >/out/extra; ls /sys/class/net >/out/net;" +
			"echo no >/dev/vda; mount -o remount,rw /mnt && touch /mnt/x; true",
		Files: map[string][]byte{"extra": []byte("extra")}, Disk: path, Info: info, Archive: archive,
	})
	if err != nil {
		t.Fatal(err)
	}
	if string(out["greeting"]) != "hello" || string(out["extra"]) != "extra" || string(out["archive"]) != "xxxxx" || string(out["net"]) != "lo\n" {
		t.Errorf("%q", out)
	}
	after, err := os.ReadFile(path)
	if err != nil || !bytes.Equal(before, after) {
		t.Errorf("the disk was changed, or: %v", err)
	}
	if i, err := os.Stat(path); err != nil || i.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", i.Mode(), err)
	}
}

func TestJobsThatFail(t *testing.T) {
	m := machine(t)
	path, info := disk(t)
	for want, job := range map[string]Job{
		"was not done":          {Script: "exit 3"},
		"too long":              {Script: "echo begun; sleep 1000", MaxTime: 6 * time.Second},
		"helper machine failed": {Script: "echo c >/proc/sysrq-trigger"},
		"too large":             {Script: "head -c 3000000 /dev/zero >/out/zeros", Result: 1 << 20},
	} {
		job.Disk, job.Info = path, info
		t.Run(want, func(t *testing.T) {
			t.Parallel()
			var failed *Failed
			if _, err := m.Run(t.Context(), job); !errors.As(err, &failed) || !strings.Contains(err.Error(), want) {
				t.Error(err)
			}
		})
	}
}

func TestChangesADisk(t *testing.T) {
	m := machine(t)
	path, info := disk(t)
	changed := filepath.Join(t.TempDir(), "disk.qcow2")
	if out, err := exec.Command("qemu-img", "convert", "-f", "raw", "-O", "qcow2", path, changed).CombinedOutput(); err != nil {
		t.Fatalf("qemu-img: %s", out)
	}
	info.Format = image.QCOW2
	if _, err := m.Run(t.Context(), Job{Script: "mount /dev/vda /mnt && echo changed >/mnt/greeting && umount /mnt", Disk: changed, Info: info, Change: true}); err != nil {
		t.Fatal(err)
	}
	info, err := image.InspectFile(changed, image.QCOW2, 0)
	if err != nil {
		t.Fatal(err)
	}
	out, err := m.Run(t.Context(), Job{Script: "mount -o ro /dev/vda /mnt && cp /mnt/greeting /out/", Disk: changed, Info: info})
	if err != nil || string(out["greeting"]) != "changed\n" {
		t.Errorf("%q, %v", out, err)
	}
}
