package disk

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"karri.dev/internal/object"
	"karri.dev/internal/object/objecttest"
)

// TestDamage: a changed, moved or missing byte is an error and never a wrong answer.
func TestDamage(t *testing.T) {
	fs := InMemory()
	e := open(t, Config{Dir: "/o", FS: fs})
	body := objecttest.Bytes(1, 5*blockData+100)
	for name, damage := range map[string]func(raw []byte) []byte{
		"bit":      func(raw []byte) []byte { raw[3*blockSize+17] ^= 1; return raw },
		"checksum": func(raw []byte) []byte { raw[4*blockSize-1] ^= 0x80; return raw },
		"swapped": func(raw []byte) []byte {
			return bytes.Join([][]byte{raw[blockSize : 2*blockSize], raw[:blockSize], raw[2*blockSize:]}, nil)
		},
		"truncated": func(raw []byte) []byte { return raw[:len(raw)-1] },
		"shifted":   func(raw []byte) []byte { return raw[blockSize:] },
		"zeros":     func(raw []byte) []byte { return make([]byte, len(raw)) },
		"empty":     func([]byte) []byte { return nil },
	} {
		if _, err := e.Put(t.Context(), "b", object.Put{Key: name, Body: bytes.NewReader(body), Size: -1}); err != nil {
			t.Fatal(err)
		}
		o, err := e.Get(t.Context(), "b", name, "")
		if err != nil {
			t.Fatal(err)
		}
		rewrite(t, fs, e.home().name(o.(*openObject).pin.id), damage)
		r, err := o.Range(0, int64(len(body)))
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(r)
		if !errors.Is(err, object.ErrCorrupt) {
			t.Errorf("%s: %v", name, err)
		}
		if !bytes.HasPrefix(body, got) {
			t.Errorf("%s: wrong bytes were given out", name)
		}
		if err := errors.Join(r.Close(), o.Close()); err != nil {
			t.Error(err)
		}
	}
}

func rewrite(t *testing.T, fs vfs.FS, name string, change func([]byte) []byte) {
	t.Helper()
	f, err := fs.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := io.ReadAll(f)
	if err := errors.Join(err, f.Close()); err != nil {
		t.Fatal(err)
	}
	if f, err = fs.Create(name, vfs.WriteCategoryUnspecified); err != nil {
		t.Fatal(err)
	}
	_, err = f.Write(change(raw))
	if err := errors.Join(err, f.Close()); err != nil {
		t.Fatal(err)
	}
}

// fullFS is a file system with little space for data files. How much it says is free is set apart.
type fullFS struct {
	vfs.FS
	mu   sync.Mutex
	left int64 // for data files
	says uint64
}

func (f *fullFS) GetDiskUsage(string) (vfs.DiskUsage, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return vfs.DiskUsage{AvailBytes: f.says, TotalBytes: memoryDisk}, nil
}

func (f *fullFS) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	file, err := f.FS.Create(name, c)
	if err != nil || !strings.Contains(path.Dir(name), "/data/") {
		return file, err
	}
	return &fullFile{file, f}, nil
}

type fullFile struct {
	vfs.File
	fs *fullFS
}

func (f *fullFile) Write(p []byte) (int, error) {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	if f.fs.left -= int64(len(p)); f.fs.left < 0 {
		return 0, syscall.ENOSPC
	}
	return f.File.Write(p)
}

// TestNoSpace: a full disk is an error, and what is there stays whole.
func TestNoSpace(t *testing.T) {
	fs := &fullFS{FS: InMemory(), left: 1 << 20, says: memoryDisk}
	e := open(t, Config{Dir: "/o", FS: fs})
	body := objecttest.Bytes(1, 200<<10)
	put := func(key string, body []byte) error {
		_, err := e.Put(t.Context(), "b", object.Put{Key: key, Body: bytes.NewReader(body), Size: int64(len(body))})
		return err
	}
	good := 0
	for ; ; good++ {
		if err := put(fmt.Sprint(good), body); err != nil {
			if !errors.Is(err, object.ErrNoSpace) {
				t.Fatal(err)
			}
			break
		}
	}
	if good == 0 || good > 5 {
		t.Fatalf("%d objects fit", good)
	}
	check := func() {
		l, err := e.List(t.Context(), "b", object.ListOptions{Max: 100})
		if err != nil || len(l.Objects) != good {
			t.Fatalf("%d objects of %d, %v", len(l.Objects), good, err)
		}
		for _, m := range l.Objects {
			o, err := e.Get(t.Context(), "b", m.Key, "")
			if err != nil {
				t.Fatal(err)
			}
			r, err := o.Range(0, m.Size)
			if err != nil {
				t.Fatal(err)
			}
			if b, err := io.ReadAll(r); err != nil || objecttest.ETag(b) != m.ETag {
				t.Fatalf("%s is damaged: %v", m.Key, err)
			}
			if err := errors.Join(r.Close(), o.Close()); err != nil {
				t.Fatal(err)
			}
		}
	}
	check()
	// Below the reserve nothing is written, but deleting goes on.
	fs.mu.Lock()
	fs.says, fs.left = 100<<20, 1<<30
	fs.mu.Unlock()
	e.space, e.places[0].seen = spaceCheck{}, time.Time{} // look again at once
	if err := put("small", []byte("x")); !errors.Is(err, object.ErrNoSpace) {
		t.Fatalf("below the reserve: %v", err)
	}
	if _, err := e.Delete(t.Context(), "b", object.Delete{Key: "0"}); err != nil {
		t.Fatal(err)
	}
	good--
	check()
	fs.mu.Lock()
	fs.says = memoryDisk
	fs.mu.Unlock()
	if err := put("small", []byte("x")); err != nil {
		t.Fatal(err)
	}
}

// TestCollect: files that nothing names go, and no others.
func TestCollect(t *testing.T) {
	fs := InMemory()
	e := open(t, Config{Dir: "/o", FS: fs})
	body := objecttest.Bytes(1, 200<<10)
	for _, k := range []string{"stays", "read", "goes"} {
		if _, err := e.Put(t.Context(), "b", object.Put{Key: k, Body: bytes.NewReader(body), Size: -1}); err != nil {
			t.Fatal(err)
		}
	}
	lost := e.home().name(0x123456)
	f, err := fs.Create(lost, vfs.WriteCategoryUnspecified)
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	reading, err := e.Get(t.Context(), "b", "read", "")
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range []string{"read", "goes"} {
		if _, err := e.Delete(t.Context(), "b", object.Delete{Key: k}); err != nil {
			t.Fatal(err)
		}
	}
	// A write under way.
	r, w := io.Pipe()
	done := make(chan error)
	go func() {
		_, err := e.Put(t.Context(), "b", object.Put{Key: "slow", Body: r, Size: -1})
		done <- err
	}()
	if _, err := w.Write(body); err != nil {
		t.Fatal(err)
	}
	if _, err := e.collect(); err != nil {
		t.Fatal(err)
	}
	if _, err := fs.Stat(lost); err == nil {
		t.Fatal("a lost file is still there")
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	for _, o := range []string{"stays", "slow"} {
		if m, err := e.Head(t.Context(), "b", o, ""); err != nil || m.ETag != objecttest.ETag(body) {
			t.Fatalf("%s: %v", o, err)
		}
	}
	in, err := reading.Range(0, int64(len(body)))
	if err != nil {
		t.Fatal(err)
	}
	if b, err := io.ReadAll(in); err != nil || !bytes.Equal(b, body) {
		t.Fatalf("what was being read went: %v", err)
	}
	if err := errors.Join(in.Close(), reading.Close()); err != nil {
		t.Fatal(err)
	}
	for { // the sweeper works beside us; what it has not done, the collector does
		if _, err := e.collect(); err != nil {
			t.Fatal(err)
		}
		onDisk, named := e.files(t)
		if named != 2 {
			t.Fatalf("%d files are named", named)
		}
		if onDisk == named {
			return
		}
	}
}
