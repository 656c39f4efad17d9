package nbd

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"karri.dev/internal/sparse"
)

// fileDisk is a sparse file to be read and written.
type fileDisk struct {
	*sparse.File
	mu    sync.Mutex
	syncs int
}

func (f *fileDisk) Sync() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.syncs++
	return f.File.Sync()
}

func (f *fileDisk) Zero(off, length int64, punch bool) error {
	if punch {
		return f.Discard(off, length)
	}
	_, err := f.WriteAt(make([]byte, length), off)
	return err
}

func (f *fileDisk) Discard(off, length int64) error {
	return unix.Fallocate(int(f.Fd()), unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, off, length)
}

// failing is a disk that cannot be read.
type failing struct{ sparse.Zeros }

func (failing) Next(off int64) (from, to int64, err error) { return off, off + 1, nil }
func (failing) ReadAt([]byte, int64) (int, error)          { return 0, errors.New("no") }

const size = 64 << 20

// serve serves what open gives on a socket.
func serve(t *testing.T, open func(ctx context.Context, name string) (Export, error)) (socket string) {
	t.Helper()
	socket = filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(func() { cancel(); l.Close(); all.Wait() })
	all.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			all.Go(func() {
				if err := Serve(ctx, conn, open); err != nil && ctx.Err() == nil {
					t.Log(err)
				}
			})
		}
	})
	return socket
}

func disk(t *testing.T) *fileDisk {
	t.Helper()
	f, err := os.Create(filepath.Join(t.TempDir(), "disk"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	if err := f.Truncate(size); err != nil {
		t.Fatal(err)
	}
	d, err := sparse.NewFile(f)
	if err != nil {
		t.Fatal(err)
	}
	return &fileDisk{File: d}
}

func run(t *testing.T, name string, args ...string) (string, error) {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), name, args...).CombinedOutput()
	return string(out), err
}

func names(list map[string]Export) func(context.Context, string) (Export, error) {
	return func(_ context.Context, name string) (Export, error) {
		if e, ok := list[name]; ok {
			return e, nil
		}
		return Export{}, ErrUnknown
	}
}

// TestQEMU: QEMU reads and writes a disk, sees its holes, and what it flushed was flushed.
func TestQEMU(t *testing.T) {
	t.Parallel()
	d := disk(t)
	content := make([]byte, 3<<20)
	rand.NewChaCha8([32]byte{7}).Read(content)
	if _, err := d.WriteAt(content, 8<<20); err != nil {
		t.Fatal(err)
	}
	closed := 0
	var mu sync.Mutex
	socket := serve(t, names(map[string]Export{
		"rw":      {Disk: d, Write: d, Close: func() { mu.Lock(); closed++; mu.Unlock() }},
		"ro":      {Disk: d},
		"backing": {Disk: d, Backing: true},
		"bad":     {Disk: failing{size}},
	}))
	url := func(name string) string { return "nbd+unix:///" + name + "?socket=" + socket }

	copied := filepath.Join(t.TempDir(), "copy")
	if out, err := run(t, "qemu-img", "convert", "-f", "raw", "-O", "raw", url("ro"), copied); err != nil {
		t.Fatal(err, out)
	}
	whole, err := os.ReadFile(copied)
	if err != nil || len(whole) != size || !bytes.Equal(whole[8<<20:11<<20], content) || !sparse.IsZero(whole[:8<<20]) || !sparse.IsZero(whole[11<<20:]) {
		t.Errorf("the copy of %d bytes is another, %v", len(whole), err)
	}
	type extent struct {
		Start, Length int64
		Zero, Data    bool
	}
	mapOf := func(name string) (list []extent) {
		t.Helper()
		out, err := exec.CommandContext(t.Context(), "qemu-img", "map", "-f", "raw", "--output=json", url(name)).Output()
		if err != nil {
			t.Fatal(err, string(out))
		}
		if err := json.Unmarshal(out, &list); err != nil {
			t.Fatal(err)
		}
		return list
	}
	if got := mapOf("ro"); len(got) != 3 || !got[0].Zero || got[0].Length != 8<<20 || !got[1].Data || got[1].Length != 3<<20 || got[1].Zero || got[2].Data {
		t.Errorf("map %+v", got)
	}
	if got := mapOf("backing"); len(got) != 3 || got[0].Zero || got[0].Data || !got[1].Data {
		t.Errorf("map of a backing file %+v", got)
	}

	for name, commands := range map[string][]string{
		"writes":   {"write -P 7 1M 5M", "write -z 9M 512k", "discard 10M 512k", "flush", "read -P 7 1M 5M", "read -P 0 9M 512k", "read -P 0 10M 512k"},
		"fua":      {"write -f -P 3 40M 4k", "read -P 3 40M 4k"},
		"odd":      {"write -P 5 12345 678", "read -P 5 12345 678"},
		"the end":  {"write -P 9 67108352 512", "read -P 9 67108352 512"},
		"at once":  {"aio_write -P 1 20M 8M", "aio_write -P 2 28M 8M", "aio_flush", "read -P 1 20M 8M", "read -P 2 28M 8M"},
		"nothing?": {"read -P 0 60M 1M"},
	} {
		args := []string{"-f", "raw", url("rw")}
		for _, c := range commands {
			args = append([]string{"-c", c}, args...)
		}
		for i, j := 0, 2*len(commands)-2; i < j; i, j = i+2, j-2 { // they were put in backwards
			args[i+1], args[j+1] = args[j+1], args[i+1]
		}
		out, err := run(t, "qemu-io", args...)
		if err != nil || strings.Contains(out, "ailed") || strings.Contains(out, "rror") {
			t.Errorf("%s: %v %s", name, err, out)
		}
	}
	d.mu.Lock()
	if d.syncs < 2 {
		t.Errorf("%d flushes arrived", d.syncs)
	}
	d.mu.Unlock()
	for name, args := range map[string][]string{
		"an unknown export":    {"-c", "read 0 512", "-f", "raw", url("other")},
		"writing a read-only":  {"-c", "write 0 512", "-f", "raw", url("ro")},
		"a disk that's broken": {"-r", "-c", "read 0 512", "-f", "raw", url("bad")},
	} {
		if out, err := run(t, "qemu-io", args...); err == nil && !strings.Contains(out, "rror") && !strings.Contains(out, "ailed") {
			t.Errorf("%s: %s", name, out)
		}
	}
	mu.Lock()
	defer mu.Unlock()
	if closed == 0 {
		t.Error("no export was closed")
	}
}

// client talks to the server by hand.
type client struct {
	t *testing.T
	net.Conn
}

func dial(t *testing.T, socket string) client {
	t.Helper()
	conn, err := net.Dial("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	c := client{t, conn}
	c.read(18)
	c.write(be.AppendUint32(nil, flagFixed|flagNoZeros))
	return c
}

func (c client) write(b []byte) {
	c.t.Helper()
	if _, err := c.Write(b); err != nil {
		c.t.Fatal(err)
	}
}

func (c client) read(n int) []byte {
	c.t.Helper()
	b := make([]byte, n)
	if _, err := io.ReadFull(c, b); err != nil {
		c.t.Fatal(err)
	}
	return b
}

func (c client) option(option uint32, data []byte) (kind uint32, answer []byte) {
	c.t.Helper()
	head := be.AppendUint64(nil, magicOption)
	head = be.AppendUint32(head, option)
	c.write(append(be.AppendUint32(head, uint32(len(data))), data...))
	r := c.read(20)
	return be.Uint32(r[12:]), c.read(int(be.Uint32(r[16:])))
}

func (c client) request(flags, kind uint16, off uint64, length uint32, data []byte) {
	c.t.Helper()
	head := be.AppendUint32(nil, magicRequest)
	head = be.AppendUint16(head, flags)
	head = be.AppendUint16(head, kind)
	head = be.AppendUint64(head, 42)
	head = be.AppendUint64(head, off)
	c.write(append(be.AppendUint32(head, length), data...))
}

func exportName(name string) []byte { return append(be.AppendUint32(nil, uint32(len(name))), name...) }

// TestHostile: what a client has no right to say is refused, and never read beyond a disk.
func TestHostile(t *testing.T) {
	t.Parallel()
	d := disk(t)
	socket := serve(t, names(map[string]Export{"d": {Disk: d, Write: d}}))
	for name, data := range map[string][]byte{
		"nothing": nil, "a long name": be.AppendUint32(nil, 1<<31), "no count": exportName("d"), "a wrong count": append(exportName("d"), 0, 9),
	} {
		if kind, _ := dial(t, socket).option(optGo, data); kind != repInvalid {
			t.Errorf("%s: %#x", name, kind)
		}
	}
	if kind, _ := dial(t, socket).option(optSetMeta, append(exportName("d"), 0xff, 0xff, 0xff, 0xff)); kind != repInvalid {
		t.Errorf("contexts without structured replies: %#x", kind)
	}
	c := dial(t, socket)
	c.option(optStructured, nil)
	if kind, _ := c.option(optSetMeta, append(exportName("d"), 0xff, 0xff, 0xff, 0xff)); kind != repInvalid {
		t.Errorf("4 billion contexts: %#x", kind)
	}
	if kind, _ := dial(t, socket).option(77, nil); kind != repUnsupported {
		t.Errorf("an unknown option: %#x", kind)
	}
	c = dial(t, socket)
	c.write(be.AppendUint32(be.AppendUint32(be.AppendUint64(nil, magicOption), optGo), 1<<30))
	if _, err := c.Read(make([]byte, 1)); err == nil {
		t.Error("an option of a gigabyte is taken")
	}

	c = dial(t, socket)
	c.write(append(be.AppendUint32(be.AppendUint32(be.AppendUint64(nil, magicOption), optExportName), 1), 'd'))
	if got := be.Uint64(c.read(10)); got != size {
		t.Fatalf("size %d", got)
	}
	for name, r := range map[string]struct {
		kind uint16
		off  uint64
		len  uint32
		want syscall.Errno
	}{
		"beyond the end":     {cmdRead, size - 1, 2, syscall.EINVAL},
		"far beyond":         {cmdRead, 1<<64 - 1, 1, syscall.EINVAL},
		"around":             {cmdTrim, 1<<63 - 1, 1<<32 - 1, syscall.EINVAL},
		"too much":           {cmdRead, 0, maxRequest + 1, syscall.EINVAL},
		"zeroes beyond":      {cmdWriteZeroes, size, 1, syscall.ENOSPC},
		"an unknown command": {99, 0, 0, syscall.EINVAL},
		"no context chosen":  {cmdBlockStatus, 0, 512, syscall.EINVAL},
	} {
		c.request(0, r.kind, r.off, r.len, nil)
		if got := syscall.Errno(be.Uint32(c.read(16)[4:])); got != r.want {
			t.Errorf("%s: %v", name, got)
		}
	}
	c.request(0, cmdWrite, size-1, 2, []byte("xx"))
	if got := syscall.Errno(be.Uint32(c.read(16)[4:])); got != syscall.ENOSPC {
		t.Errorf("a write beyond the end: %v", got)
	}
	c.request(0, cmdWrite, 0, 1<<31, nil)
	if _, err := c.Read(make([]byte, 1)); err == nil {
		t.Error("a write of two gigabytes is taken")
	}
}

// FuzzServe: whatever a client sends, the server ends, and does not panic.
func FuzzServe(f *testing.F) {
	hello := be.AppendUint32(nil, flagFixed)
	start := append(be.AppendUint32(be.AppendUint32(be.AppendUint64(hello, magicOption), optExportName), 1), 'd')
	f.Add(start)
	f.Add(append(start, make([]byte, 28)...))
	f.Add(append(be.AppendUint32(be.AppendUint32(be.AppendUint64(hello, magicOption), optGo), 7), 0, 0, 0, 1, 'd', 0, 0))
	f.Fuzz(func(t *testing.T, data []byte) {
		near, far := net.Pipe()
		done := make(chan struct{})
		go func() {
			defer close(done)
			_ = Serve(t.Context(), far, names(map[string]Export{"d": {Disk: sparse.Zeros(1 << 20)}}))
		}()
		go io.Copy(io.Discard, near)
		near.Write(data)
		near.Close()
		<-done
	})
}
