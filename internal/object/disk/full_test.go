package disk

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"karri.dev/internal/object"
	"karri.dev/internal/object/objecttest"
)

const fullDir = "KARRI_TEST_FULL_DIR"

// TestFullDisk fills the disk under a running engine to the last byte: a small tmpfs in a mount namespace of its own.
func TestFullDisk(t *testing.T) {
	if dir := os.Getenv(fullDir); dir != "" {
		if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=192m"); err != nil {
			t.Fatal(err)
		}
		fullDisk(t, dir)
		return
	}
	if os.Geteuid() != 0 {
		t.Skip("mounts a file system")
	}
	cmd := exec.Command(os.Args[0], "-test.run=^TestFullDisk$", "-test.v")
	cmd.Env = append(os.Environ(), fullDir+"="+t.TempDir())
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS}
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}

// filler takes all space that there is, again and again.
type filler struct{ file *os.File }

func newFiller(t *testing.T, dir string) *filler {
	t.Helper()
	f, err := os.Create(filepath.Join(dir, "others"))
	if err != nil {
		t.Fatal(err)
	}
	return &filler{f}
}

func (f *filler) take(t *testing.T) {
	t.Helper()
	b := make([]byte, 4096)
	for {
		if _, err := f.file.Write(b); errors.Is(err, syscall.ENOSPC) {
			return
		} else if err != nil {
			t.Fatal(err)
		}
	}
}

func (f *filler) give(t *testing.T) {
	t.Helper()
	if err := f.file.Truncate(0); err != nil {
		t.Fatal(err)
	}
	if _, err := f.file.Seek(0, 0); err != nil {
		t.Fatal(err)
	}
}

func fullDisk(t *testing.T, dir string) {
	cfg := Config{Dir: filepath.Join(dir, "objects"), Sealer: sealer(t), Log: slog.New(slog.NewTextHandler(os.Stderr, nil))}
	e, err := Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	others := newFiller(t, dir)
	put := func(key string, size int) error {
		body := objecttest.Bytes(uint64(size), size)
		_, err := e.Put(t.Context(), "b", object.Put{Key: key, Body: bytes.NewReader(body), Size: int64(size)})
		return err
	}
	for i := range 40 {
		if err := put(fmt.Sprint("old", i), 300+i*7000); err != nil {
			t.Fatal(err)
		}
	}
	h := objecttest.NewHistory()
	check := func(want map[string]bool) {
		t.Helper()
		l, err := e.ListVersions(t.Context(), "b", object.VersionOptions{Max: 1 << 20})
		if err != nil {
			t.Fatal(err)
		}
		found := map[string]bool{}
		for _, v := range l.Versions {
			found[v.Key] = true
			if !v.Marker {
				h.Whole(t, e, v.Meta)
			}
		}
		for key := range want {
			if !found[key] {
				t.Fatalf("%s was acknowledged and is not there", key)
			}
		}
	}
	check(nil)
	others.take(t)
	for _, size := range []int{10, 10 << 10, 200 << 10} {
		if err := put("new", size); !errors.Is(err, object.ErrNoSpace) {
			t.Fatalf("put of %d bytes: %v", size, err)
		}
	}

	// Changes that need little space go on as long as there is any; then they are refused, or wait. Others take what the
	// spare file has given.
	var mu sync.Mutex
	acked := map[string]bool{}
	var next, noSpaces atomic.Int64
	var wg sync.WaitGroup
	stop := make(chan struct{})
	for range 8 {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				key := fmt.Sprintf("%0900d", next.Add(1))
				_, err := e.Delete(t.Context(), "b", object.Delete{Key: key, Versioning: object.Enabled})
				switch {
				case err == nil:
					mu.Lock()
					acked[key] = true
					mu.Unlock()
				case errors.Is(err, object.ErrNoSpace):
					noSpaces.Add(1)
					time.Sleep(time.Millisecond)
				default:
					t.Errorf("delete: %v", err)
					return
				}
			}
		})
	}
	for deadline := time.Now().Add(time.Minute); e.spare.waiting.Load() == 0; {
		if time.Now().After(deadline) {
			t.Fatal("the disk is full, and the index does not wait")
		}
		others.take(t)
		time.Sleep(time.Millisecond)
	}
	// The index may find a little space in between (Pebble removes what is obsolete), and then wait with a change that it
	// has taken: each is refused, or acknowledged in the end.
	var refused []string
	wg.Go(func() {
		for n := 0; len(refused) < 100; n++ {
			select {
			case <-stop:
				return
			default:
			}
			key := fmt.Sprint("late", n)
			_, err := e.Delete(t.Context(), "b", object.Delete{Key: key, Versioning: object.Enabled})
			switch {
			case errors.Is(err, object.ErrNoSpace):
				refused = append(refused, key)
				noSpaces.Add(1)
				time.Sleep(time.Millisecond)
			case err != nil:
				t.Errorf("a change while the index waits: %v", err)
				return
			default:
				mu.Lock()
				acked[key] = true
				mu.Unlock()
			}
		}
	})
	for deadline := time.Now().Add(time.Minute); noSpaces.Load() == 0; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the index waits, and nothing is refused")
		}
	}
	check(nil) // reads go on
	mu.Lock()
	before := len(acked)
	mu.Unlock()
	others.give(t)
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) { // and then everything goes on
		mu.Lock()
		n := len(acked)
		mu.Unlock()
		if n > before+100 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("there is space, and nothing goes on")
		}
	}
	close(stop)
	wg.Wait()
	t.Logf("%d changes acknowledged", len(acked))
	if err := put("new", 200<<10); err != nil {
		t.Fatal(err)
	}
	acked["new"] = true
	check(acked)
	for _, key := range refused {
		if _, err := e.Head(t.Context(), "b", key, ""); errors.As(err, new(*object.MarkerError)) || !errors.Is(err, object.ErrNotFound) {
			t.Fatalf("what was refused is there: %v", err)
		}
	}

	// A start on a full disk takes the spare file, and without it it is an error.
	e.spare.refill()
	if !e.spare.held {
		t.Fatal("there is space, and no spare file")
	}
	for n := range 2 {
		if err := e.Close(); err != nil {
			t.Fatal(err)
		}
		if n == 1 {
			if err := os.Remove(e.spare.name); err != nil && !errors.Is(err, os.ErrNotExist) {
				t.Fatal(err)
			}
		}
		others.take(t)
		e, err = Open(cfg)
		if n == 0 && err != nil || n == 1 && !errors.Is(err, object.ErrNoSpace) {
			t.Fatalf("start %d on a full disk: %v", n, err)
		}
	}
	others.give(t)
	if e, err = Open(cfg); err != nil {
		t.Fatal(err)
	}
	check(acked)
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
}
