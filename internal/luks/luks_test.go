package luks

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"karri.dev/internal/qcow2"
)

const key = "0123456789abcdef0123456789abcdef"

// TestAgainstQEMU: QEMU reads and writes what we made, and we read what QEMU wrote, through a qcow2 inside.
func TestAgainstQEMU(t *testing.T) {
	dir := t.TempDir()
	path, secret := filepath.Join(dir, "c"), filepath.Join(dir, "k")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	d, err := Format(f, []byte(key))
	if err != nil {
		t.Fatal(err)
	}
	if err := qcow2.Create(d, 64<<20, "note"); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(secret, []byte(key), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("qemu-io", "--object", "secret,id=k,file="+secret, "-c", "read -P 0 0 1M", "-c", "write -P 0x41 5000 3M", "-c", "flush", "-c", "read -P 0x41 5000 3M", "-c", "read -P 0 32M 1M",
		"--image-opts", "driver=qcow2,backing=,file.driver=luks,file.key-secret=k,file.file.driver=file,file.file.filename="+path).CombinedOutput()
	if err != nil || bytes.Contains(out, []byte("fail")) {
		t.Fatalf("%v %s", err, out)
	}
	again, err := Open(f, []byte(key))
	if err != nil {
		t.Fatal(err)
	}
	q, err := qcow2.Open(again, nil)
	if err != nil {
		t.Fatal(err)
	}
	got := make([]byte, 3<<20+10000)
	if _, err := q.ReadAt(got, 0); err != nil {
		t.Fatal(err)
	}
	want := make([]byte, len(got))
	copy(want[5000:], strings.Repeat("A", 3<<20))
	if !bytes.Equal(got, want) {
		t.Error("we read something else than QEMU wrote")
	}
	if n, err := qcow2.Note(again); n != "note" || err != nil {
		t.Errorf("note %q %v", n, err)
	}
	if err := qcow2.Grow(again, 128<<20); err != nil {
		t.Error(err)
	}
	raw, err := os.ReadFile(path)
	if err != nil || bytes.Contains(raw, []byte("AAAAAAAA")) {
		t.Errorf("plain text on disk: %v", err)
	}
	if _, err := Open(f, []byte("another")); !errors.Is(err, ErrKey) {
		t.Errorf("a wrong key: %v", err)
	}
}

func FuzzOpen(f *testing.F) {
	file, err := os.Create(filepath.Join(f.TempDir(), "c"))
	if err != nil {
		f.Fatal(err)
	}
	if _, err := Format(file, []byte(key)); err != nil {
		f.Fatal(err)
	}
	h := make([]byte, 592)
	if _, err := file.ReadAt(h, 0); err != nil {
		f.Fatal(err)
	}
	f.Add(h)
	f.Fuzz(func(_ *testing.T, head []byte) {
		Open(over{file, head}, []byte(key))
	})
}

// over is a file with another head.
type over struct {
	*os.File
	head []byte
}

func (o over) ReadAt(p []byte, off int64) (int, error) {
	if off == 0 {
		n := copy(p, o.head)
		clear(p[n:])
		return len(p), nil
	}
	return o.File.ReadAt(p, off)
}
