package qcow2

import (
	"bytes"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"karri.dev/internal/sparse"
)

// TestAgainstQEMU: what qemu-img and qemu-io wrote reads as they read it, over a base and without.
func TestAgainstQEMU(t *testing.T) {
	if _, err := exec.LookPath("qemu-io"); err != nil {
		t.Skip("no qemu-io")
	}
	dir := t.TempDir()
	run := func(args ...string) {
		t.Helper()
		if out, err := exec.Command(args[0], args[1:]...).CombinedOutput(); err != nil {
			t.Fatalf("%v: %v\n%s", args, err, out)
		}
	}
	raw, base, top, flat := filepath.Join(dir, "raw"), filepath.Join(dir, "base"), filepath.Join(dir, "top"), filepath.Join(dir, "flat")
	data := make([]byte, 5<<20+512)
	rnd := rand.NewChaCha8([32]byte{1})
	rnd.Read(data[1<<20 : 2<<20])
	for i := range data[3<<20 : 4<<20] {
		data[3<<20+i] = byte(i / 1000) // compresses
	}
	if err := os.WriteFile(raw, data, 0o600); err != nil {
		t.Fatal(err)
	}
	run("qemu-img", "convert", "-q", "-c", "-f", "raw", "-O", "qcow2", raw, base)
	run("qemu-img", "create", "-q", "-f", "qcow2", "-b", base, "-F", "qcow2", top, "700M")
	run("qemu-io", "-f", "qcow2", "-c", "write -P 7 1500k 100k", "-c", "write -z 3200k 256k", "-c", "write -P 9 650M 4k", "-c", "discard 1024k 64k", top)
	run("qemu-img", "convert", "-q", "-f", "qcow2", "-O", "raw", top, flat)

	open := func(path string, below sparse.Disk) *File {
		t.Helper()
		f, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { f.Close() })
		d, err := Open(f, below)
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	same := func(name string, d *File, want string) {
		t.Helper()
		w, err := os.ReadFile(want)
		if err != nil {
			t.Fatal(err)
		}
		w = append(w, make([]byte, d.Size()-int64(len(w)))...)
		got := make([]byte, d.Size())
		if _, err := io.ReadFull(io.NewSectionReader(d, 0, d.Size()), got); err != nil || !bytes.Equal(got, w) {
			t.Errorf("%s reads differently: %v", name, err)
		}
		clear(got)
		blocks := 0
		err = sparse.Blocks(d, 512<<10, func(i int64, b []byte) error {
			blocks++
			copy(got[i*(512<<10):], b)
			return nil
		})
		if err != nil || !bytes.Equal(got, w) {
			t.Errorf("%s: data is outside the ranges that Next gives: %v", name, err)
		}
		if blocks > 12 {
			t.Errorf("%s: Next takes %d blocks for data", name, blocks)
		}
	}
	below := open(base, nil)
	same("base", below, raw)
	same("top", open(top, below), flat)
}

func FuzzOpen(f *testing.F) {
	f.Add(make([]byte, 200))
	h := make([]byte, 4<<9)
	copy(h, "QFI\xfb\x00\x00\x00\x03")
	h[23], h[31], h[39], h[46] = 9, 200, 1, 2
	f.Add(h)
	f.Fuzz(func(t *testing.T, b []byte) {
		d, err := Open(bytes.NewReader(b), nil)
		if err != nil || d.Size() > 1<<20 {
			return
		}
		p := make([]byte, 4096)
		for at := int64(0); at < d.Size(); at += 4096 {
			if _, err := d.ReadAt(p, at); err != nil && err != io.EOF {
				break
			}
		}
		for at := int64(0); at < d.Size(); {
			_, to, err := d.Next(at)
			if err != nil {
				break
			}
			if to <= at {
				t.Fatalf("Next(%d) ends at %d", at, to)
			}
			at = to
		}
	})
}
