package file

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"karri.dev/internal/block"
	"karri.dev/internal/block/blocktest"
)

func TestContract(t *testing.T) {
	dirs := map[*testing.T]string{}
	blocktest.Run(t, blocktest.Harness{
		Open: func(t *testing.T) block.Driver {
			if dirs[t] == "" {
				dirs[t] = t.TempDir()
			}
			d, err := New(dirs[t])
			if err != nil {
				t.Fatal(err)
			}
			return d
		},
		Hold: func(t *testing.T, d block.Driver, id string) func() {
			f, err := os.OpenFile(d.Path(id), os.O_RDWR, 0)
			if err != nil {
				t.Fatal(err)
			}
			if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
				t.Fatal(err)
			}
			return func() { f.Close() }
		},
	})
}

// TestQcow2: QEMU finds nothing to complain about in our files, before and after they grow, and they take hardly
// any space.
func TestQcow2(t *testing.T) {
	if _, err := exec.LookPath("qemu-img"); err != nil {
		t.Skip("needs qemu-utils")
	}
	d, err := New(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	v := block.Spec{ID: "vol-0123456789abcdef0", SizeBytes: 8 << 30, Format: block.Qcow2}
	if err := d.Create(t.Context(), v); err != nil {
		t.Fatal(err)
	}
	for _, size := range []int64{8 << 30, 64 << 40} {
		v.SizeBytes = size
		if err := d.Grow(t.Context(), v); err != nil {
			t.Fatal(err)
		}
		if out, err := exec.Command("qemu-img", "check", "-f", "qcow2", d.Path(v.ID)).CombinedOutput(); err != nil {
			t.Errorf("%v: %s", err, out)
		}
		out, err := exec.Command("qemu-img", "info", "--output=json", "-f", "qcow2", d.Path(v.ID)).Output()
		var info struct {
			Size int64 `json:"virtual-size"`
		}
		if err == nil {
			err = json.Unmarshal(out, &info)
		}
		if err != nil || info.Size != size {
			t.Errorf("%+v, %v", info, err)
		}
	}
	if _, used, err := d.Usage(t.Context()); err != nil || used > 1<<20 {
		t.Errorf("it takes %d bytes, %v", used, err)
	}
}

// TestInterrupted: half a volume is none.
func TestInterrupted(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, ".new-123"), make([]byte, 100), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := New(dir); err != nil {
		t.Fatal(err)
	}
	if left, _ := os.ReadDir(dir); len(left) != 1 || left[0].Name() != copiesDir {
		t.Errorf("left: %v", left)
	}
}
