package importer

import (
	"log/slog"
	"math/rand"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"karri.dev/internal/image"
	"karri.dev/internal/object"
	"karri.dev/internal/object/disk"
	"karri.dev/internal/resource"
	"karri.dev/internal/store"
)

// BenchmarkImport compares the import of an 8 GiB disk with 256 MiB of data, durable object included, with
// qemu-img alone.
func BenchmarkImport(b *testing.B) {
	log := slog.New(slog.DiscardHandler)
	dir := b.TempDir()
	raw, qcow := filepath.Join(dir, "raw"), filepath.Join(dir, "qcow2")
	f, err := os.Create(raw)
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	if err := f.Truncate(8 << 30); err != nil {
		b.Fatal(err)
	}
	piece, random := make([]byte, 1<<20), rand.New(rand.NewSource(1))
	for i := range int64(256) {
		random.Read(piece)
		if _, err := f.WriteAt(piece, i*(30<<20)); err != nil {
			b.Fatal(err)
		}
	}
	alone := func(b *testing.B) {
		out, err := exec.Command("qemu-img", "convert", "-f", "raw", "-O", "qcow2", raw, qcow).CombinedOutput()
		if err != nil {
			b.Fatalf("%v: %s", err, out)
		}
	}
	alone(b)
	b.Run("qemu-img", func(b *testing.B) {
		for b.Loop() {
			out, err := exec.Command("qemu-img", "convert", "-f", "qcow2", "-O", "qcow2", qcow, filepath.Join(dir, "out")).CombinedOutput()
			if err != nil {
				b.Fatalf("%v: %s", err, out)
			}
		}
	})
	b.Run("qemu-img-durable", func(b *testing.B) { // as the import is
		for b.Loop() {
			out, err := exec.Command("qemu-img", "convert", "-t", "writeback", "-f", "qcow2", "-O", "qcow2", qcow, filepath.Join(dir, "out")).CombinedOutput()
			if err != nil {
				b.Fatalf("%v: %s", err, out)
			}
			if out, err := exec.Command("sync", filepath.Join(dir, "out")).CombinedOutput(); err != nil {
				b.Fatalf("%v: %s", err, out)
			}
		}
	})
	b.Run("copy", func(b *testing.B) {
		info, err := image.InspectFile(qcow, image.QCOW2, 0)
		if err != nil {
			b.Fatal(err)
		}
		for b.Loop() {
			out := filepath.Join(dir, "copy")
			if err := image.Copy(b.Context(), info, qcow, out); err != nil {
				b.Fatal(err)
			}
			os.Remove(out)
		}
	})
	engine, err := disk.Open(disk.Config{Dir: filepath.Join(dir, "objects"), Log: log})
	if err != nil {
		b.Fatal(err)
	}
	defer engine.Close()
	s := store.OpenMemory(log)
	defer s.Close()
	in, err := os.Open(qcow)
	if err != nil {
		b.Fatal(err)
	}
	defer in.Close()
	if _, err := engine.Put(b.Context(), "mine-1", object.Put{Key: "disk", Body: in, Size: -1}); err != nil {
		b.Fatal(err)
	}
	im := New(Config{Scratch: filepath.Join(dir, "scratch")}, Deps{Store: s, Objects: engine, Now: time.Now, Log: log})
	task := &resource.ImportTask{
		Owned: resource.Owned{AccountID: account, Region: "us-east-1"}, ID: "t", ImageID: "ami-t", Status: "active",
		Disks: []resource.ImportDisk{{Format: "qcow2", Bucket: "mine", Key: "disk"}},
	}
	b.Run("task", func(b *testing.B) {
		for b.Loop() {
			err := s.Update(b.Context(), func(tx *store.Tx) error {
				if err := store.ImportTasks.Put(tx, task); err != nil {
					return err
				}
				return store.Buckets.Put(tx, &resource.Bucket{Name: "mine", Engine: "mine-1", AccountID: account})
			})
			if err != nil {
				b.Fatal(err)
			}
			if err := im.importImage(b.Context(), task); err != nil {
				b.Fatal(err)
			}
		}
	})
}
