package cli

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// A folder becomes a file system, without what is excluded and without the image itself.
func TestBundleVolume(t *testing.T) {
	for _, tool := range []string{"/sbin/mke2fs", "/sbin/debugfs"} {
		if _, err := os.Stat(tool); err != nil {
			t.Skip(err)
		}
	}
	root := t.TempDir()
	for _, dir := range []string{"etc", "mnt/out", "var/cache"} {
		if err := os.MkdirAll(filepath.Join(root, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for name, text := range map[string]string{"etc/hostname": "old\n", "var/cache/big": "junk", "etc/shadow": "secret", "etc/large": strings.Repeat("0123456789abcdef", 2<<16)} {
		if err := os.WriteFile(filepath.Join(root, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	out := filepath.Join(root, "mnt/out/image")
	v := volume{root: root, excluded: []string{filepath.Join(root, "var/cache")}, mib: 16, label: "root"}
	if err := v.build(t.Context(), out); err != nil {
		t.Fatal(err)
	}
	look := func(command string) string {
		said, err := exec.Command("/sbin/debugfs", "-R", command, out).Output()
		if err != nil {
			t.Fatal(err)
		}
		return string(said)
	}
	if got := look("cat /etc/hostname"); got != "old\n" {
		t.Errorf("hostname %q", got)
	}
	if got := look("stat /etc/shadow"); !strings.Contains(got, "Mode:  0600") {
		t.Errorf("shadow: %s", got)
	}
	for dir, want := range map[string]string{"/": "proc", "/var": "", "/mnt": ""} {
		if got := look("ls -p " + dir); !strings.Contains(got, want) || strings.Contains(got, "/cache/") || strings.Contains(got, "/out/") {
			t.Errorf("%s: %s", dir, got)
		}
	}
	if left, err := os.ReadDir(filepath.Dir(out)); err != nil || len(left) != 1 {
		t.Errorf("left: %v, %v", left, err)
	}
	v.mib = 1
	if err := v.build(t.Context(), out+"2"); err == nil {
		t.Error("a file system of 1 MiB is large enough")
	}
	if _, err := os.Stat(out + "2"); err == nil {
		t.Error("a failed image is left")
	}
}
