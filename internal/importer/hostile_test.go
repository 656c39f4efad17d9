package importer

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/binary"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"karri.dev/internal/object"
	"karri.dev/internal/resource"
	"karri.dev/internal/store"
)

const hostSecret = "TOP-SECRET-OF-THE-HOST"

// hostile gives images that want more than to be a disk: by format and name. What they name on the host is there.
func hostile(t *testing.T) map[string]map[string][]byte {
	t.Helper()
	if _, err := exec.LookPath("qemu-img"); err != nil {
		t.Skip("needs qemu-img")
	}
	dir := t.TempDir()
	secret := filepath.Join(dir, "secret")
	if err := os.WriteFile(secret, bytes.Repeat([]byte(hostSecret+"\n"), 100), 0o644); err != nil {
		t.Fatal(err)
	}
	make := func(format, size string, args ...string) []byte {
		path := filepath.Join(dir, "image")
		os.Remove(path)
		if out, err := exec.Command("qemu-img", append(append([]string{"create", "-q", "-f", format}, args...), path, size)...).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	patch := func(b []byte, at int, with []byte) []byte {
		b = bytes.Clone(b)
		copy(b[at:], with)
		return b
	}
	qcow2, vmdk, vhd, vhdx := make("qcow2", "4M"), make("vmdk", "4M"), make("vpc", "4M"), make("vhdx", "4M")
	size := binary.BigEndian.AppendUint64(nil, 1<<62)
	document := func(href string) []byte {
		return []byte(`<Envelope><References><File href="` + href + `" id="f"/></References><DiskSection><Disk fileRef="f"/></DiskSection></Envelope>`)
	}
	flat := []byte("# Disk DescriptorFile\nversion=1\nCID=1\nparentCID=ffffffff\ncreateType=\"monolithicFlat\"\nRW 4 FLAT \"" + secret + "\" 0\n" + strings.Repeat("\n", 600))
	return map[string]map[string][]byte{
		"raw": {"half a sector": []byte("x"), "nothing": {}},
		"qcow2": {
			"backing file":    make("qcow2", "4M", "-u", "-b", secret, "-F", "raw"),
			"backing json":    make("qcow2", "4M", "-u", "-b", `json:{"driver":"file","filename":"`+secret+`"}`, "-F", "raw"),
			"backing network": make("qcow2", "4M", "-u", "-b", "http://169.254.169.254/latest/meta-data/", "-F", "raw"),
			"data file":       make("qcow2", "4M", "-o", "data_file="+filepath.Join(dir, "data")),
			"bomb":            make("qcow2", "9T"),
			"overflow":        patch(qcow2, 24, size),
			"cut off":         qcow2[:len(qcow2)/2],
			"tables outside":  patch(qcow2, 40, size),
			"another format":  vmdk,
		},
		"vmdk": {
			"flat extent": flat, "bomb": patch(vmdk, 12, binary.LittleEndian.AppendUint64(nil, 1<<32)), "cut off": vmdk[:700], "another format": qcow2,
			"capacity of nothing": patch(vmdk, 12, binary.LittleEndian.AppendUint64(nil, 0)), "huge capacity": patch(vmdk, 12, bytes.Repeat([]byte{255}, 8)),
		},
		"vhd":  {"cut off": vhd[:len(vhd)-512], "checksum": patch(vhd, len(vhd)-400, []byte("x")), "another format": qcow2},
		"vhdx": {"cut off": vhdx[:1<<20], "headers": patch(patch(vhdx, 64<<10, []byte("xxxx")), 128<<10, []byte("xxxx")), "bomb": make("vhdx", "9T"), "another format": qcow2},
		"ova": {
			"path to the host": archive(t, "a.ovf", document("../../../../../"+secret+".img")), "absolute path": archive(t, "a.ovf", document(secret+".img")),
			"hostile disk": archive(t, "a.ovf", document("d.qcow2"), "d.qcow2", make("qcow2", "4M", "-u", "-b", secret, "-F", "raw")),
			"no document":  archive(t, "d.raw", make("raw", "1M")), "cut off": archive(t, "a.ovf", document("d.raw"), "d.raw", make("raw", "1M"))[:4096],
			"external entity": archive(t, "a.ovf", []byte(`<!DOCTYPE x [<!ENTITY e SYSTEM "file://`+secret+`">]><Envelope>&e;</Envelope>`)),
			"another format":  qcow2,
		},
	}
}

// TestHostileImages: whatever way a hostile image comes in by, its task fails for a reason that its owner is told,
// nothing of the host is in it, and nothing is left.
func TestHostileImages(t *testing.T) {
	corpus := hostile(t)
	for way, begin := range map[string]func(f *fixture, format, key string, size int) string{
		"ImportImage": func(f *fixture, format, key string, _ int) string {
			f.task("import-ami-1", resource.ImportDisk{Format: format, Bucket: "mine", Key: key})
			return "import-ami-1"
		},
		"ImportSnapshot": func(f *fixture, format, key string, _ int) string {
			f.update(func(tx *store.Tx) error {
				return store.ImportTasks.Put(tx, &resource.ImportTask{
					Owned: resource.Owned{AccountID: account, Region: "us-east-1"}, ID: "import-snap-1", SnapshotID: "snap-1", Status: "active",
					Disks: []resource.ImportDisk{{Format: format, Bucket: "mine", Key: key}},
				})
			})
			return "import-snap-1"
		},
		"ImportVolume": func(f *fixture, format, key string, size int) string {
			if size == 0 { // no manifest can say that
				return ""
			}
			f.inParts(format, key, size)
			return "import-vol-1"
		},
	} {
		for format, images := range corpus {
			if way != "ImportImage" && format == "ova" {
				continue // refused by the API
			}
			for name, data := range images {
				t.Run(way+"/"+format+"/"+name, func(t *testing.T) {
					f := setup(t)
					f.put("mine-1", "disk", data)
					id := begin(f, format, "disk", len(data))
					if id == "" {
						return
					}
					f.run(upper)
					task := f.await(id, ended)
					if task.Status != "deleted" || !strings.HasPrefix(task.StatusMessage, "ClientError: ") || strings.Contains(task.StatusMessage, hostSecret) {
						t.Errorf("%+v", task)
					}
					r := f.store.Snapshot()
					if len(f.keys()) != 0 || store.Images.Len(r)+store.Snapshots.Len(r)+store.Volumes.Len(r) != 0 {
						t.Errorf("left: %v", f.keys())
					}
				})
			}
		}
	}
}

// What a guest wrote onto its raw disk stays data, though it looks like an image with a backing file.
func TestHeadersOnRawDisksAreData(t *testing.T) {
	f := setup(t)
	evil := hostile(t)["qcow2"]["backing file"]
	evil = append(evil, make([]byte, 512-len(evil)%512)...)
	f.put("mine-1", "disk", evil)
	f.task("t", resource.ImportDisk{Format: "raw", Bucket: "mine", Key: "disk"})
	f.run(upper)
	task := f.await("t", ended)
	img := store.Images.Get(f.store.Snapshot(), "ami-t")
	if task.Status != "completed" || !bytes.Equal(f.content(img.Data), evil) {
		t.Errorf("%+v", task)
	}
}

// A zip bomb of a qcow2 file, all of whose clusters are one, ends when the disk is full, and leaves nothing.
func TestExpandingImagesMeetTheLimit(t *testing.T) {
	f := setup(t)
	const bits, l1, l2, data = 16, 1 << 16, 2 << 16, 3 << 16
	be := binary.BigEndian
	b := make([]byte, 4<<16)
	be.PutUint32(b[0:], 0x514649fb)
	be.PutUint32(b[4:], 2)
	be.PutUint32(b[20:], bits)
	be.PutUint64(b[24:], 64<<29) // 64 second-level tables
	be.PutUint32(b[36:], 64)
	be.PutUint64(b[40:], l1)
	for i := range 64 {
		be.PutUint64(b[l1+8*i:], l2)
	}
	for i := range 8192 {
		be.PutUint64(b[l2+8*i:], data)
	}
	copy(b[data:], "x")
	f.put("mine-1", "disk", b)
	real := f.objects
	f.objects = broken{real, func(_ context.Context, p object.Put) error {
		if p.Size < 32<<30 {
			t.Errorf("%d bytes", p.Size)
		}
		return object.ErrNoSpace // as an engine does that looks at its free space
	}}
	f.task("t", resource.ImportDisk{Format: "qcow2", Bucket: "mine", Key: "disk"})
	f.run(upper)
	if task := f.await("t", ended); task.Status != "deleted" {
		t.Errorf("%+v", task)
	}
}

// archive makes an archive of names and contents, in this order.
func archive(t *testing.T, pairs ...any) []byte {
	t.Helper()
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	for i := 0; i < len(pairs); i += 2 {
		name, data := pairs[i].(string), pairs[i+1].([]byte)
		if err := w.WriteHeader(&tar.Header{Name: name, Size: int64(len(data)), Mode: 0o644}); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(data); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}
