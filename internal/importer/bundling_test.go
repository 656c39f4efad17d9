package importer

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"errors"
	"io"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"karri.dev/internal/aws/awserr"
	"karri.dev/internal/bundle"
	"karri.dev/internal/resource"
	"karri.dev/internal/sparse"
	"karri.dev/internal/store"
)

var cloudKey = sync.OnceValue(func() *rsa.PrivateKey {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return key
})

// memoryDisk is a disk in memory.
type memoryDisk struct{ *bytes.Reader }

func (m memoryDisk) Next(off int64) (from, to int64, err error) {
	if off >= m.Size() {
		return 0, 0, io.EOF
	}
	return off, m.Size(), nil
}

var _ sparse.Disk = memoryDisk{}

// bundling is an importer with a task, a disk and a bucket.
type bundling struct {
	*fixture
	disk   []byte
	bucket sync.Map // by key
	fields sync.Map // of the last upload
	refuse func(key string) error
}

func newBundling(t *testing.T, change func(b *bundling, task *resource.BundleTask, snap *resource.Snapshot)) *bundling {
	b := &bundling{fixture: setup(t), disk: bytes.Repeat(sector, 4000), refuse: func(string) error { return nil }}
	task := &resource.BundleTask{
		Owned: resource.Owned{AccountID: account, Region: "us-east-1"}, ID: "bun-1", InstanceID: "i-1", SnapshotID: "snap-1", KernelID: "aki-1",
		Bucket: "mine", Prefix: "dir/name", State: resource.BundlePending, Upload: resource.BundleUpload{AccessKeyID: "AKIA", Policy: "p", Signature: "s"},
	}
	snap := &resource.Snapshot{ID: "snap-1", RootOf: "i-1", State: "completed", Data: resource.ImageData{Key: "x"}}
	if change != nil {
		change(b, task, snap)
	}
	b.update(func(tx *store.Tx) error {
		return errors.Join(store.BundleTasks.Put(tx, task), store.Snapshots.Put(tx, snap))
	})
	return b
}

func (b *bundling) work() {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	i := New(Config{Scratch: b.scratch, RetryPause: time.Millisecond}, Deps{
		Store: b.store, Objects: b.objects, Now: time.Now, Log: slog.New(slog.DiscardHandler), Bundles: cloudKey(),
		OpenData: func(context.Context, *resource.ImageData) (sparse.Disk, io.Closer, error) {
			return memoryDisk{bytes.NewReader(b.disk)}, io.NopCloser(nil), nil
		},
		Upload: func(_ context.Context, bucket string, fields map[string]string, file []byte) error {
			if err := b.refuse(fields["key"]); err != nil {
				return err
			}
			b.fields.Store("", fields)
			b.bucket.Store(bucket+"/"+fields["key"], bytes.Clone(file))
			return nil
		},
	})
	go func() { done <- i.Run(ctx) }()
	b.stop = func() { cancel(); <-done }
}

func (b *bundling) ended() *resource.BundleTask {
	b.t.Helper()
	feed := b.store.Feed(store.BundleTasks)
	defer feed.Close()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	for {
		_, snap, err := feed.Next(ctx)
		t := store.BundleTasks.Get(snap, "bun-1")
		if err != nil {
			b.t.Fatalf("%v: %+v", err, t)
		}
		if !t.Open() {
			return t
		}
	}
}

func (b *bundling) file(name string) []byte {
	data, ok := b.bucket.Load("mine/dir/" + name)
	if !ok {
		b.t.Errorf("there is no %s", name)
		return nil
	}
	return data.([]byte)
}

func TestBundleAnInstance(t *testing.T) {
	b := newBundling(t, nil)
	b.work()
	task := b.ended()
	if task.State != resource.BundleComplete || task.Progress != 100 || task.Upload != (resource.BundleUpload{}) || store.Snapshots.Get(b.store.Snapshot(), "snap-1") != nil {
		t.Errorf("%+v", task)
	}
	fields, _ := b.fields.Load("")
	if f := fields.(map[string]string); f["acl"] != "ec2-bundle-read" || f["AWSAccessKeyId"] != "AKIA" || f["policy"] != "p" || f["signature"] != "s" {
		t.Error(f)
	}
	m, err := bundle.Parse(b.file("name.manifest.xml"))
	if err != nil {
		t.Fatal(err)
	}
	if !m.Verify([]*x509.Certificate{{PublicKey: &cloudKey().PublicKey}}) || m.User != account || m.KernelID != "aki-1" {
		t.Errorf("%+v", m)
	}
	secret, err := m.Cloud(cloudKey(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	err = m.Read(secret, func(name string) (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(b.file(name))), nil }, &out, 1<<30)
	if err != nil || !bytes.Equal(out.Bytes(), b.disk) {
		t.Errorf("%v, %d bytes", err, out.Len())
	}
}

func TestBundlesOfInstancesThatFail(t *testing.T) {
	for name, x := range map[string]struct {
		change        func(b *bundling, task *resource.BundleTask, snap *resource.Snapshot)
		code, message string
	}{
		"a bucket that refuses": {func(b *bundling, _ *resource.BundleTask, _ *resource.Snapshot) {
			b.refuse = func(string) error { return awserr.New("AccessDenied", "not yours") }
		}, "Client.S3Error", "not yours"},
		"an error of ours": {func(b *bundling, _ *resource.BundleTask, _ *resource.Snapshot) {
			b.refuse = func(string) error { return errors.New("secret detail") }
		}, "Server.InternalError", "internal error"},
		"a disk that could not be read": {func(_ *bundling, _ *resource.BundleTask, snap *resource.Snapshot) { snap.State = "error" }, "Client.InstanceGone", ""},
		"cancelled": {func(_ *bundling, task *resource.BundleTask, snap *resource.Snapshot) {
			task.State, snap.State = resource.BundleCancelling, "pending"
		}, "Client.Cancelled", ""},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBundling(t, x.change)
			b.work()
			task := b.ended()
			if task.State != resource.BundleFailed || task.Code != x.code || !strings.Contains(task.Message, x.message) || strings.Contains(task.Message, "secret") || task.Upload != (resource.BundleUpload{}) {
				t.Errorf("%+v", task)
			}
			if store.Snapshots.Get(b.store.Snapshot(), "snap-1") != nil {
				t.Error("the disk's snapshot is left")
			}
		})
	}
}

// A stopped process leaves the task open; the next one does it again from the start. An error that passes does no harm.
func TestABundleIsDoneAgain(t *testing.T) {
	var tries sync.Map
	began := make(chan struct{})
	hold := make(chan struct{})
	b := newBundling(t, func(b *bundling, _ *resource.BundleTask, _ *resource.Snapshot) {
		b.refuse = func(string) error {
			close(began)
			<-hold
			return context.Canceled
		}
	})
	b.work()
	<-began
	go func() { time.Sleep(10 * time.Millisecond); close(hold) }()
	b.kill()
	if task := store.BundleTasks.Get(b.store.Snapshot(), "bun-1"); !task.Open() {
		t.Fatalf("%+v", task)
	}
	b.refuse = func(key string) error {
		if _, again := tries.LoadOrStore(key, true); !again && strings.HasSuffix(key, ".xml") {
			return errors.New("a disk that is busy")
		}
		return nil
	}
	b.work()
	if task := b.ended(); task.State != resource.BundleComplete {
		t.Errorf("%+v", task)
	}
}
