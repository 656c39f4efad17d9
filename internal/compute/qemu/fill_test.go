package qemu

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"karri.dev/internal/compute"
	"karri.dev/internal/compute/computetest"
	"karri.dev/internal/nbd"
	"karri.dev/internal/qcow2"
	"karri.dev/internal/sparse"
)

// elsewhere serves the bases of disks, slowly. Like a zone it can go away, with all connections, and come back.
type elsewhere struct {
	t     *testing.T
	disk  sparse.Disk
	reads atomic.Int32

	mu    sync.Mutex
	away  bool
	conns []net.Conn
}

func (e *elsewhere) dial(_ context.Context, name string) (net.Conn, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.away {
		return nil, fmt.Errorf("%s is away", name)
	}
	near, far := net.Pipe()
	e.conns = append(e.conns, far)
	go nbd.Serve(context.Background(), far, func(_ context.Context, asked string) (nbd.Export, error) {
		if asked != name {
			return nbd.Export{}, nbd.ErrUnknown
		}
		return nbd.Export{Disk: &slowDisk{e.disk, &e.reads}, Backing: true}, nil
	})
	return near, nil
}

func (e *elsewhere) set(away bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.away = away; away {
		for _, c := range e.conns {
			c.Close()
		}
		e.conns = nil
	}
}

type slowDisk struct {
	sparse.Disk
	reads *atomic.Int32
}

func (s *slowDisk) ReadAt(p []byte, off int64) (int, error) {
	s.reads.Add(1)
	time.Sleep(10 * time.Millisecond)
	return s.Disk.ReadAt(p, off)
}

// sparseBytes has data in one range only.
type sparseBytes struct {
	bytesDisk
	from, to int64
}

func (b sparseBytes) Next(off int64) (from, to int64, err error) {
	if off >= b.to {
		return b.Size(), b.Size(), nil
	}
	return max(off, b.from), b.to, nil
}

// TestFill: a volume over what is served from elsewhere is filled while it is used, and in the end has all that was
// below it but for what was written over; whoever dies meanwhile, the hypervisor, the driver, or who serves. Snapshots
// and growth in between are right.
func TestFill(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	const size = 96 << 20
	content := make([]byte, 80<<20)
	rand.NewChaCha8([32]byte{3}).Read(content[4<<20 : 60<<20])
	e := &elsewhere{t: t, disk: sparseBytes{bytesDisk(bytes.Clone(content)), 4 << 20, 60 << 20}}
	cfg := Config{Dir: filepath.Join(dir, "machines"), Dial: e.dial}
	again := func() *Driver {
		d, err := New(cfg, slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelInfo})))
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	d := again()
	defer func() { cleanup(t, d) }()
	path := filepath.Join(dir, "volume")
	f, err := os.Create(path)
	if err == nil {
		err = qcow2.Create(f, size, "")
	}
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	m := guest("", "", id, "")
	m.CommandLine = ""
	v := compute.Disk{Name: "vol-0123456789abcdef0", Path: path, Format: "qcow2", SizeBytes: size, BaseExport: "base-vol-0123456789abcdef0"}
	m.Disks = []compute.Disk{v}
	want := append(content, make([]byte, size-len(content))...)
	write := func(pattern byte, at, length int) {
		t.Helper()
		c, err := d.machines[id].connected(t.Context())
		if err == nil {
			err = c.Do(t.Context(), "human-monitor-command", map[string]any{"command-line": fmt.Sprintf(`qemu-io -d %s/virtio-backend "write -f -P %d %d %d"`, deviceID(v.Name), pattern, at, length)}, nil)
		}
		if err != nil {
			t.Fatal(err)
		}
		copy(want[at:], bytes.Repeat([]byte{pattern}, length))
	}
	progress := func() {
		t.Helper()
		n := e.reads.Load()
		computetest.Await(t, "progress", func() bool { return e.reads.Load() > n+8 })
	}
	filled := func() bool {
		list := computetest.StatusOf(t, d, id).Disks
		return len(list) == 1 && list[0].BaseExport == ""
	}
	same := func(name string, below sparse.Disk, what string) {
		t.Helper()
		f, err := os.Open(name)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		q, err := qcow2.Open(f, below)
		if err != nil {
			t.Fatal(err)
		}
		got := make([]byte, q.Size())
		if _, err := io.ReadFull(io.NewSectionReader(q, 0, q.Size()), got); err != nil {
			t.Fatal(err)
		}
		if len(got) != len(want) || !bytes.Equal(got, want) {
			at := 0
			for at < min(len(got), len(want)) && got[at] == want[at] {
				at++
			}
			t.Errorf("%s: %d bytes where %d are wanted, the first difference is at %d", what, len(got), len(want), at)
		}
	}

	began := time.Now()
	if err := d.Start(t.Context(), m, nil); err != nil {
		t.Fatal(err)
	}
	t.Logf("started after %v", time.Since(began))
	write(7, 5<<20, 1<<20)
	progress()

	// Who serves goes away and comes back: the guest only waits.
	e.set(true)
	time.Sleep(50 * time.Millisecond)
	e.set(false)
	progress()

	// The driver ends, and comes back.
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	d = again()
	write(8, 59<<20, 64<<10)
	progress()

	// The hypervisor dies. What was flushed is there.
	kill(t, d, id)
	computetest.Await(t, "the machine's death", func() bool { return computetest.StatusOf(t, d, id).State == compute.Failed })
	same(path, e.disk, "after the hypervisor's death")
	if err := d.Start(t.Context(), m, nil); err != nil {
		t.Fatal(err)
	}
	progress()

	// A snapshot, and growth, in between.
	snap := filepath.Join(dir, "snap-0")
	if filled() {
		t.Error("filled before the snapshot: nothing was tested")
	}
	if err := d.Snapshot(t.Context(), id, []compute.Copy{{Disk: v.Name, To: snap}}, 0); err != nil {
		t.Fatal(err)
	}
	computetest.Await(t, "the snapshot", func() bool { _, err := os.Lstat(snap); return err == nil })
	same(snap, nil, "the snapshot")
	v.SizeBytes += 1 << 20
	if err := d.SetDisk(t.Context(), id, v); err != nil {
		t.Fatal(err)
	}
	want = append(want, make([]byte, 1<<20)...)
	write(9, size, 1<<20)

	computetest.Await(t, "the end of the filling", filled)
	computetest.Await(t, "the base's end", func() bool {
		c, err := d.machines[id].connected(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		have, err := nodeNames(t.Context(), c)
		if err != nil {
			t.Fatal(err)
		}
		return !have[baseName(v.Name)]
	})
	e.set(true) // for good
	write(10, 6<<20, 4096)
	if err := d.Stop(t.Context(), id, 0); err != nil {
		t.Fatal(err)
	}
	same(path, nil, "the volume by itself")
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil || st.Blocks*512 > 64<<20 {
		t.Errorf("the volume takes %d bytes: holes were not left out (%v)", st.Blocks*512, err)
	}
	v.BaseExport = ""
	m.Disks = []compute.Disk{v}
	if err := d.Start(t.Context(), m, nil); err != nil {
		t.Fatal(err)
	}

	// Plugged into a running machine, taken away while it is filled, and plugged in again.
	e.set(false)
	second := compute.Disk{Name: "vol-0123456789abcdef1", Path: filepath.Join(dir, "second"), Format: "qcow2", SizeBytes: 80 << 20, BaseExport: "base-vol-0123456789abcdef1"}
	f2, err := os.Create(second.Path)
	if err == nil {
		err = qcow2.Create(f2, second.SizeBytes, "")
	}
	if err != nil {
		t.Fatal(err)
	}
	defer f2.Close()
	if err := d.SetDisk(t.Context(), id, second); err != nil {
		t.Fatal(err)
	}
	progress()
	err = d.DropDisk(t.Context(), id, second.Name, true) // there is nobody to answer
	if err != compute.ErrHeld && !bytes.Contains([]byte(fmt.Sprint(err)), []byte(compute.ErrHeld.Error())) {
		t.Fatal(err)
	}
	if locked(t, second.Path) {
		t.Error("a disk taken away by force is open")
	}
}
