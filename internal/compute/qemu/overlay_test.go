package qemu

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"karri.dev/internal/compute"
)

// TestOverlay lets QEMU's own tool judge what we write.
func TestOverlay(t *testing.T) {
	if _, err := exec.LookPath("qemu-img"); err != nil {
		t.Skip("needs qemu-utils")
	}
	dir := t.TempDir()
	base := filepath.Join(dir, "base.raw")
	if err := os.WriteFile(base, bytes.Repeat([]byte("karri!!\n"), 1<<17), 0o644); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(base)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for _, size := range []int64{1 << 20, 1<<20 + 512, 512<<20 - 512, 512 << 20, 8 << 30, 16 << 40, maxDisk} {
		path := filepath.Join(dir, "o.qcow2")
		d := compute.Disk{Name: "root", Base: base, BaseFormat: "raw", SizeBytes: size}
		if err := createOverlay(path, d, f); err != nil {
			t.Fatalf("%d: %v", size, err)
		}
		out, err := exec.Command("qemu-img", "check", "-f", "qcow2", path).CombinedOutput()
		if err != nil || !strings.Contains(string(out), "No errors") {
			t.Errorf("%d: check: %v\n%s", size, err, out)
		}
		out, err = exec.Command("qemu-img", "info", "-f", "qcow2", "--output=json", path).Output()
		var info struct {
			Size    int64  `json:"virtual-size"`
			Actual  int64  `json:"actual-size"`
			Backing string `json:"backing-filename"`
			Format  string `json:"backing-filename-format"`
		}
		if err != nil || json.Unmarshal(out, &info) != nil {
			t.Fatalf("info: %v %s", err, out)
		}
		if info.Size != size || info.Backing != base || info.Format != "raw" || info.Actual > 1<<20 {
			t.Errorf("%d: %+v", size, info)
		}
		if size <= 8<<30 { // written to and read through
			out, err := exec.Command("qemu-io", "-f", "qcow2", "-c", "write -P 7 65536 1M", "-c", "read -P 7 65536 1M", "-c", "read 0 65536", path).CombinedOutput()
			if err != nil && size > 2<<20 {
				t.Errorf("%d: %v %s", size, err, out)
			}
		}
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
	}
	if err := createOverlay(filepath.Join(dir, "x"), compute.Disk{Name: "root", Base: base, BaseFormat: "raw", SizeBytes: 512}, f); err == nil {
		t.Error("a disk smaller than its base was made")
	}
}

func TestHostileBase(t *testing.T) {
	head, _, err := overlayHeader(1<<30, "", "")
	if err != nil {
		t.Fatal(err)
	}
	be := binary.BigEndian
	good := func() []byte { h := bytes.Clone(head[:512]); be.PutUint64(h[8:], 0); return h }
	for name, spoil := range map[string]func([]byte) []byte{
		"backing file": func(h []byte) []byte { be.PutUint64(h[8:], 200); return h },
		"data file":    func(h []byte) []byte { be.PutUint64(h[72:], qcow2DataFile); return h },
		"encrypted":    func(h []byte) []byte { be.PutUint32(h[32:], 2); return h },
		"size":         func(h []byte) []byte { be.PutUint64(h[24:], 1<<63); return h },
		"magic":        func(h []byte) []byte { h[0] = 0; return h },
		"version":      func(h []byte) []byte { h[7] = 9; return h },
		"truncated":    func(h []byte) []byte { return h[:50] },
		"empty":        func([]byte) []byte { return nil },
	} {
		if size, err := qcow2Size(bytes.NewReader(spoil(good()))); err == nil {
			t.Errorf("%s: taken for %d bytes", name, size)
		}
	}
	if size, err := qcow2Size(bytes.NewReader(good())); err != nil || size != 1<<30 {
		t.Errorf("good: %d, %v", size, err)
	}
}

func FuzzQcow2Size(f *testing.F) {
	head, _, _ := overlayHeader(1<<30, "", "")
	f.Add(head[:200])
	f.Add([]byte("QFI\xfb"))
	f.Fuzz(func(t *testing.T, b []byte) {
		size, err := qcow2Size(bytes.NewReader(b))
		if err == nil && (size < 0 || size > maxDisk || binary.BigEndian.Uint64(b[8:]) != 0) {
			t.Errorf("taken for %d bytes", size)
		}
	})
}

func FuzzParseStartTicks(f *testing.F) {
	f.Add([]byte("1 (a) b) (c) S 1 1 1 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 4242 5 6"))
	f.Fuzz(func(_ *testing.T, b []byte) { _, _ = parseStartTicks(b) })
}

func BenchmarkOverlay(b *testing.B) {
	dir := b.TempDir()
	base := filepath.Join(dir, "base.raw")
	if err := os.WriteFile(base, make([]byte, 1<<20), 0o644); err != nil {
		b.Fatal(err)
	}
	f, err := os.Open(base)
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	path := filepath.Join(dir, "o.qcow2")
	b.Run("ours", func(b *testing.B) {
		for b.Loop() {
			os.Remove(path)
			if err := createOverlay(path, compute.Disk{Name: "root", Base: base, BaseFormat: "raw", SizeBytes: 8 << 30}, f); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("qemu-img", func(b *testing.B) {
		for b.Loop() {
			os.Remove(path)
			if out, err := exec.Command("qemu-img", "create", "-q", "-f", "qcow2", "-F", "raw", "-b", base, path, "8G").CombinedOutput(); err != nil {
				b.Fatalf("%v: %s", err, out)
			}
		}
	})
}
