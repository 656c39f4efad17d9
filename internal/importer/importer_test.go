package importer

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"karri.dev/internal/object"
	"karri.dev/internal/object/disk"
	"karri.dev/internal/qcow2"
	"karri.dev/internal/resource"
	"karri.dev/internal/sparse"
	"karri.dev/internal/store"
)

const account, stranger = "111111111111", "222222222222"

type fixture struct {
	t       *testing.T
	store   *store.Store
	objects object.Engine
	scratch string
	stop    func()

	rootDevice string
}

func setup(t *testing.T) *fixture {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	f := &fixture{t: t, store: store.OpenMemory(log), scratch: filepath.Join(t.TempDir(), "scratch")}
	t.Cleanup(func() { f.store.Close() })
	var err error
	if f.objects, err = disk.Open(disk.Config{Dir: "objects", FS: disk.InMemory(), Log: log}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.objects.Close() })
	f.update(func(tx *store.Tx) error {
		return errors.Join(CreateBucket(tx, "us-east-1", time.Now()),
			store.Buckets.Put(tx, &resource.Bucket{Name: "mine", Engine: "mine-1", AccountID: account}),
			store.Buckets.Put(tx, &resource.Bucket{Name: "theirs", Engine: "theirs-1", AccountID: stranger}))
	})
	t.Cleanup(func() { f.kill() })
	return f
}

// run begins an importer; kill ends it as a stopped process does.
func (f *fixture) run(c Converter) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	i := New(Config{Scratch: f.scratch, RootDevice: f.rootDevice, RetryPause: time.Millisecond, PartsPause: 10 * time.Millisecond}, Deps{AddVolume: addVolume, AddInstance: addInstance, Store: f.store, Objects: f.objects, Converter: c, Now: time.Now, Log: slog.New(slog.DiscardHandler)})
	go func() { done <- i.Run(ctx) }()
	f.stop = func() {
		cancel()
		if err := <-done; err != nil && !errors.Is(err, context.Canceled) {
			f.t.Error(err)
		}
	}
}

func (f *fixture) kill() {
	if f.stop != nil {
		f.stop()
		f.stop = nil
	}
}

func (f *fixture) update(fn func(*store.Tx) error) {
	f.t.Helper()
	if err := f.store.Update(context.Background(), fn); err != nil {
		f.t.Fatal(err)
	}
}

func (f *fixture) put(bucket, key string, data []byte) {
	f.t.Helper()
	if _, err := f.objects.Put(context.Background(), bucket, object.Put{Key: key, Body: bytes.NewReader(data), Size: int64(len(data))}); err != nil {
		f.t.Fatal(err)
	}
}

func (f *fixture) task(id string, disks ...resource.ImportDisk) {
	f.t.Helper()
	f.update(func(tx *store.Tx) error {
		return store.ImportTasks.Put(tx, &resource.ImportTask{
			Owned: resource.Owned{AccountID: account, Region: "us-east-1"}, ID: id, ImageID: "ami-" + id,
			Architecture: "x86_64", Disks: disks, Status: "active", StatusMessage: "pending",
		})
	})
}

// await waits for a task to be as ok wants it.
func (f *fixture) await(id string, ok func(*resource.ImportTask) bool) *resource.ImportTask {
	f.t.Helper()
	feed := f.store.Feed(store.ImportTasks)
	defer feed.Close()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	for {
		_, snap, err := feed.Next(ctx)
		if err != nil {
			f.t.Fatalf("task %s: %v: %+v", id, err, store.ImportTasks.Get(f.store.Snapshot(), id))
		}
		if t := store.ImportTasks.Get(snap, id); t != nil && ok(t) {
			return t
		}
	}
}

func ended(t *resource.ImportTask) bool { return t.Status == "completed" || t.Status == "deleted" }

func (f *fixture) keys() []string {
	f.t.Helper()
	l, err := f.objects.List(context.Background(), Bucket, object.ListOptions{Max: 100})
	if err != nil {
		f.t.Fatal(err)
	}
	var out []string
	for _, o := range l.Objects {
		out = append(out, o.Key)
	}
	return out
}

// converterFunc stands for qemu-img in exports.
type converterFunc func(ctx context.Context, in, out string) error

func (c converterFunc) Export(ctx context.Context, in, _, out string, _ func(int)) error {
	return c(ctx, in, out)
}

var upper = converterFunc(func(_ context.Context, in, out string) error {
	b, err := os.ReadFile(in)
	if err != nil {
		return err
	}
	return os.WriteFile(out, bytes.ToUpper(b), 0o600)
})

// sector is a disk.
var sector = bytes.Repeat([]byte("sector, "), 64)

// content reads what was kept as the data of an image.
func (f *fixture) content(data resource.ImageData) []byte {
	f.t.Helper()
	o, err := f.objects.Get(f.t.Context(), Bucket, data.Key, "")
	if err != nil {
		f.t.Fatal(err)
	}
	defer o.Close()
	r := object.NewReaderAt(o)
	sum := sha256.New()
	if _, err := io.Copy(sum, io.NewSectionReader(r, 0, r.Size())); err != nil || hex.EncodeToString(sum.Sum(nil)) != data.SHA256 || r.Size() != data.Size {
		f.t.Fatalf("%+v is not what is kept, %v", data, err)
	}
	d, err := qcow2.Open(r, nil)
	if err != nil || data.Format != "qcow2" || d.Size() != data.VirtualSize {
		f.t.Fatalf("%v: %+v", err, data)
	}
	out := make([]byte, d.Size())
	if _, err := d.ReadAt(out, 0); err != nil {
		f.t.Fatal(err)
	}
	return out
}

func TestImport(t *testing.T) {
	f := setup(t)
	f.put("mine-1", "disk", sector)
	f.task("import-ami-1", resource.ImportDisk{Format: "raw", Bucket: "mine", Key: "disk"})
	f.run(upper)
	task := f.await("import-ami-1", ended)
	img := store.Images.Get(f.store.Snapshot(), task.ImageID)
	if task.Status != "completed" || task.Disks[0].Size != 512 || img == nil {
		t.Fatalf("%+v %+v", task, img)
	}
	if !bytes.Equal(f.content(img.Data), sector) || img.AccountID != account || img.State != resource.ImageAvailable {
		t.Errorf("%+v", img)
	}
	f.kill()
	if left, err := os.ReadDir(f.scratch); err != nil || len(left) != 0 {
		t.Errorf("the scratch folder holds %v, %v", left, err)
	}
}

// Several containers, and an archive of several disks, become an image with a snapshot for each.
func TestSeveralDisks(t *testing.T) {
	second := bytes.Repeat([]byte("another "), 128)
	archive := ova(t, map[string][]byte{"root.raw": sector, "data.img": second}, "root.raw", "data.img")
	for name, disks := range map[string][]resource.ImportDisk{
		"containers": {{Format: "raw", Bucket: "mine", Key: "root"}, {Format: "raw", Bucket: "mine", Key: "data", DeviceName: "/dev/sdf"}},
		"archive":    {{Format: "ova", Bucket: "mine", Key: "ova"}},
	} {
		t.Run(name, func(t *testing.T) {
			f := setup(t)
			f.rootDevice = "ebs"
			f.put("mine-1", "root", sector)
			f.put("mine-1", "data", second)
			f.put("mine-1", "ova", archive)
			f.task("import-ami-1", disks...)
			f.run(upper)
			task := f.await("import-ami-1", ended)
			r := f.store.Snapshot()
			img := store.Images.Get(r, task.ImageID)
			if task.Status != "completed" || img == nil || len(img.Mappings) != 2 || len(task.Disks) != 2 || store.Snapshots.Len(r) != 2 {
				t.Fatalf("%+v %+v", task, img)
			}
			device := map[string]string{"containers": "/dev/sdf", "archive": "/dev/sdb"}[name]
			for i, want := range []struct {
				device string
				data   []byte
			}{{"/dev/sda1", sector}, {device, second}} {
				snap := store.Snapshots.Get(r, img.Mappings[i].SnapshotID)
				if snap == nil || snap.State != "completed" || snap.AccountID != account || !bytes.Equal(f.content(snap.Data), want.data) {
					t.Errorf("disk %d: %+v", i, snap)
				}
				if img.Mappings[i].Device != want.device || task.Disks[i].DeviceName != want.device || task.Disks[i].SnapshotID != snap.ID || task.Disks[i].Size != int64(len(want.data)) {
					t.Errorf("disk %d: %+v %+v", i, img.Mappings[i], task.Disks[i])
				}
			}
			im := New(Config{Scratch: f.scratch}, Deps{Store: f.store, Objects: f.objects, Now: time.Now, Log: slog.New(slog.DiscardHandler)})
			if err := im.collect(t.Context()); err != nil || len(f.keys()) != 2 {
				t.Errorf("left: %v, %v", f.keys(), err)
			}
		})
	}
	f := setup(t) // an instance-store image has one disk
	f.put("mine-1", "ova", archive)
	f.task("t", resource.ImportDisk{Format: "ova", Bucket: "mine", Key: "ova"})
	f.run(upper)
	if task := f.await("t", ended); task.Status != "deleted" || !strings.Contains(task.StatusMessage, "has 2 disks") || len(f.keys()) != 0 {
		t.Errorf("%+v, %v", task, f.keys())
	}
}

// ova makes an archive of disks, with a document that names them in this order.
func ova(t *testing.T, files map[string][]byte, order ...string) []byte {
	t.Helper()
	doc := `<Envelope xmlns:ovf="http://schemas.dmtf.org/ovf/envelope/1"><References>`
	for _, name := range order {
		doc += `<File ovf:href="` + name + `" ovf:id="` + name + `"/>`
	}
	doc += "</References><DiskSection>"
	for _, name := range order {
		doc += `<Disk ovf:fileRef="` + name + `"/>`
	}
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	add := func(name string, data []byte) {
		if err := w.WriteHeader(&tar.Header{Name: name, Size: int64(len(data)), Mode: 0o644}); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(data); err != nil {
			t.Fatal(err)
		}
	}
	add("a.ovf", []byte(doc+"</DiskSection></Envelope>"))
	for name, data := range files {
		add(name, data)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// broken is an engine whose system bucket cannot be written, for a reason.
type broken struct {
	object.Engine
	put func(ctx context.Context, p object.Put) error
}

func (b broken) Put(ctx context.Context, bucket string, p object.Put) (object.Meta, error) {
	if bucket == Bucket {
		if err := b.put(ctx, p); err != nil {
			return object.Meta{}, err
		}
	}
	return b.Engine.Put(ctx, bucket, p)
}

func TestWhatFails(t *testing.T) {
	for name, c := range map[string]struct {
		bucket, key, format string
		err                 error
		want                string
	}{
		"someone else's bucket": {"theirs", "disk", "raw", nil, "ClientError: The bucket"},
		"the system's bucket":   {Bucket, "disk", "raw", nil, "ClientError: The bucket"},
		"no bucket":             {"none", "disk", "raw", nil, "ClientError: The bucket"},
		"no object":             {"mine", "none", "raw", nil, "ClientError: The object"},
		"bad image":             {"mine", "disk", "qcow2", nil, "ClientError: Disk validation failed [the file is not a QCOW2 image]"},
		"empty image":           {"mine", "empty", "raw", nil, "ClientError: The disk image is empty"},
		"full":                  {"mine", "disk", "raw", syscall.ENOSPC, "enough disk space"},
		"anything else":         {"mine", "disk", "raw", errors.New("/secret/path"), "internal error"},
	} {
		t.Run(name, func(t *testing.T) {
			f := setup(t)
			for _, engine := range []string{"mine-1", "theirs-1", Bucket} {
				f.put(engine, "disk", sector)
			}
			f.put("mine-1", "empty", nil)
			f.objects = broken{f.objects, func(context.Context, object.Put) error { return c.err }}
			f.task("t", resource.ImportDisk{Format: c.format, Bucket: c.bucket, Key: c.key})
			f.run(upper)
			task := f.await("t", ended)
			if task.Status != "deleted" || !strings.Contains(task.StatusMessage, c.want) || strings.Contains(task.StatusMessage, "/secret") {
				t.Errorf("%+v", task)
			}
			if n := store.Images.Len(f.store.Snapshot()); n != 0 {
				t.Errorf("%d images", n)
			}
		})
	}
}

// stuck gives the fixture an engine whose writes wait for the end of their context.
func (f *fixture) stuck() (begun chan struct{}) {
	begun = make(chan struct{})
	f.objects = broken{f.objects, func(ctx context.Context, p object.Put) error {
		if _, err := p.Body.Read(make([]byte, 1)); err != nil {
			return err
		}
		close(begun)
		<-ctx.Done()
		return ctx.Err()
	}}
	return begun
}

func TestCancel(t *testing.T) {
	f := setup(t)
	f.put("mine-1", "disk", sector)
	f.task("t", resource.ImportDisk{Format: "raw", Bucket: "mine", Key: "disk"})
	begun := f.stuck()
	f.run(upper)
	<-begun
	f.update(func(tx *store.Tx) error {
		next := *store.ImportTasks.Get(tx, "t")
		next.Cancel, next.Status = true, "deleting"
		return store.ImportTasks.Put(tx, &next)
	})
	if task := f.await("t", ended); task.Status != "deleted" || !strings.Contains(task.StatusMessage, "ancelled") {
		t.Errorf("%+v", task)
	}
}

// A process that stops in the midst leaves the task open and the next one brings it to its end.
func TestStoppedAndTakenUpAgain(t *testing.T) {
	f := setup(t)
	f.put("mine-1", "disk", sector)
	f.put(Bucket, Key("ami-t"), []byte("half done"))
	f.task("t", resource.ImportDisk{Format: "raw", Bucket: "mine", Key: "disk"})
	real := f.objects
	begun := f.stuck()
	f.run(upper)
	<-begun
	f.kill()
	if task := store.ImportTasks.Get(f.store.Snapshot(), "t"); task.Status != "active" {
		t.Fatalf("%+v", task)
	}
	if err := os.MkdirAll(filepath.Join(f.scratch, "t"), 0o700); err != nil { // what kill -9 leaves
		t.Fatal(err)
	}
	f.objects = real
	f.run(upper)
	if task := f.await("t", ended); task.Status != "completed" {
		t.Errorf("%+v", task)
	}
}

func TestDataOfNoImageIsDeleted(t *testing.T) {
	f := setup(t)
	for _, id := range []string{"ami-live", "ami-gone", "ami-open"} {
		f.put(Bucket, Key(id), []byte("x"))
	}
	f.put(Bucket, "else", []byte("x"))
	f.update(func(tx *store.Tx) error {
		return errors.Join(
			store.Images.Put(tx, &resource.Image{ID: "ami-live", State: resource.ImageDeregistered}),
			store.ImportTasks.Put(tx, &resource.ImportTask{ID: "open", ImageID: "ami-open", Status: "active"}))
	})
	i := New(Config{Scratch: f.scratch}, Deps{Store: f.store, Objects: f.objects, Now: time.Now, Log: slog.New(slog.DiscardHandler)})
	if err := i.collect(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(f.keys(), " "); got != "else images/ami-live images/ami-open" {
		t.Errorf("left: %s", got)
	}
}

// Images that qemu-img made: a good one becomes an AMI, a hostile one a failed task.
func TestRealImages(t *testing.T) {
	if _, err := exec.LookPath("qemu-img"); err != nil {
		t.Skip("needs qemu-img")
	}
	f, dir := setup(t), t.TempDir()
	for key, args := range map[string][]string{
		"good": {"-f", "qcow2"}, "backed": {"-f", "qcow2", "-u", "-b", "/etc/passwd", "-F", "raw"}, "bomb": {"-f", "qcow2"},
	} {
		path, size := filepath.Join(dir, key), "4M"
		if key == "bomb" {
			size = "8T"
		}
		if out, err := exec.Command("qemu-img", append(append([]string{"create", "-q"}, args...), path, size)...).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		f.put("mine-1", key, data)
		f.task(key, resource.ImportDisk{Format: "qcow2", Bucket: "mine", Key: key})
	}
	f.run(upper)
	for key, want := range map[string]string{"good": "", "backed": "ClientError: Disk validation failed [the image has a backing file", "bomb": "exceeds the limit"} {
		if task := f.await(key, ended); !strings.Contains(task.StatusMessage, want) || (task.Status == "completed") != (want == "") {
			t.Errorf("%s: %+v", key, task)
		}
	}
}

func TestImportSnapshot(t *testing.T) {
	f := setup(t)
	f.put("mine-1", "disk", sector)
	f.update(func(tx *store.Tx) error {
		return store.ImportTasks.Put(tx, &resource.ImportTask{
			Owned: resource.Owned{AccountID: account, Region: "us-east-1"}, ID: "import-snap-1", SnapshotID: "snap-1",
			Disks: []resource.ImportDisk{{Format: "raw", Bucket: "mine", Key: "disk"}}, Status: "active",
		})
	})
	f.run(upper)
	task := f.await("import-snap-1", ended)
	snap := store.Snapshots.Get(f.store.Snapshot(), "snap-1")
	if task.Status != "completed" || snap == nil || snap.State != "completed" || snap.SizeGiB != 1 || snap.AccountID != account || store.Images.Len(f.store.Snapshot()) != 0 {
		t.Fatalf("%+v %+v", task, snap)
	}
	if got := strings.Join(f.keys(), " "); got != Key("snap-1") {
		t.Errorf("kept: %s", got)
	}
}

// exported begins an export of an image with this data and waits for its end.
func (f *fixture) exported(c Converter, bucket string, cancel bool) *resource.ExportTask {
	f.t.Helper()
	f.put(Bucket, Key("ami-1"), []byte("a disk"))
	f.update(func(tx *store.Tx) error {
		return store.ExportTasks.Put(tx, &resource.ExportTask{
			Owned: resource.Owned{AccountID: account, Region: "us-east-1"}, ID: "export-ami-1", ImageID: "ami-1", Data: resource.ImageData{Key: Key("ami-1"), Format: "qcow2"},
			Format: "vmdk", Bucket: bucket, Prefix: "a/", Status: "active", Cancel: cancel,
		})
	})
	f.run(c)
	feed := f.store.Feed(store.ExportTasks)
	defer feed.Close()
	ctx, stop := context.WithTimeout(context.Background(), time.Minute)
	defer stop()
	for {
		_, snap, err := feed.Next(ctx)
		if err != nil {
			f.t.Fatal(err)
		}
		if t := store.ExportTasks.Get(snap, "export-ami-1"); t != nil && (t.Status == "completed" || t.Status == "deleted") {
			return t
		}
	}
}

func TestExport(t *testing.T) {
	f := setup(t)
	if task := f.exported(upper, "mine", false); task.Status != "completed" {
		t.Fatalf("%+v", task)
	}
	o, err := f.objects.Get(t.Context(), "mine-1", "a/export-ami-1.vmdk", "")
	if err != nil {
		t.Fatal(err)
	}
	defer o.Close()
	body, err := o.Range(0, o.Meta().Size)
	if err != nil {
		t.Fatal(err)
	}
	defer body.Close()
	if data, err := io.ReadAll(body); err != nil || string(data) != "A DISK" {
		t.Errorf("%q %v", data, err)
	}
	f.kill()
	if left, err := os.ReadDir(f.scratch); err != nil || len(left) != 0 {
		t.Errorf("the scratch folder holds %v, %v", left, err)
	}
}

// What is exported of a snapshot is a qcow2 file of its blocks.
func TestExportOfASnapshot(t *testing.T) {
	f := setup(t)
	disk := append(bytes.Repeat(sector, 300), make([]byte, 1<<20)...)
	f.update(func(tx *store.Tx) error {
		return store.ExportTasks.Put(tx, &resource.ExportTask{
			Owned: resource.Owned{AccountID: account}, ID: "export-ami-1", ImageID: "ami-1", Data: resource.ImageData{Key: "x", Format: "chunks"},
			Format: "raw", Bucket: "mine", Status: "active",
		})
	})
	var got []byte
	im := New(Config{Scratch: f.scratch}, Deps{
		Store: f.store, Objects: f.objects, Now: time.Now, Log: slog.New(slog.DiscardHandler),
		OpenData: func(context.Context, *resource.ImageData) (sparse.Disk, io.Closer, error) {
			return memoryDisk{bytes.NewReader(disk)}, io.NopCloser(nil), nil
		},
		Converter: converterFunc(func(_ context.Context, in, out string) error {
			file, err := os.Open(in)
			if err != nil {
				return err
			}
			defer file.Close()
			d, err := qcow2.Open(file, nil)
			if err != nil {
				return err
			}
			got, err = io.ReadAll(io.NewSectionReader(d, 0, d.Size()))
			return errors.Join(err, os.WriteFile(out, []byte("whole"), 0o600))
		}),
	})
	if err := im.exportImage(t.Context(), store.ExportTasks.Get(f.store.Snapshot(), "export-ami-1")); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, disk) {
		t.Errorf("another disk of %d bytes", len(got))
	}
}

func TestExportsThatFail(t *testing.T) {
	for bucket, want := range map[string]string{"theirs": "ClientError: The bucket", Bucket: "ClientError: The bucket", "none": "ClientError: The bucket"} {
		if task := setup(t).exported(upper, bucket, false); task.Status != "deleted" || !strings.Contains(task.StatusMessage, want) {
			t.Errorf("%s: %+v", bucket, task)
		}
	}
	if task := setup(t).exported(upper, "mine", true); task.Status != "deleted" || !strings.Contains(task.StatusMessage, "ancelled") {
		t.Errorf("%+v", task)
	}
}

func (f *fixture) forget(key string) {
	f.t.Helper()
	if _, err := f.objects.Delete(context.Background(), "mine-1", object.Delete{Key: key}); err != nil {
		f.t.Fatal(err)
	}
}
