package disk

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"karri.dev/internal/object"
	"karri.dev/internal/object/objecttest"
)

// The benchmarks come in pairs: what the engine does, and beside it what the machine allows ("raw").
//
//	go test -run - -bench . -benchtime 2s ./internal/object/disk

// Each also reports the CPU time that the process took, which tells more than rates on a busy machine.

const writers = 64

// cpu reports the CPU time of an operation when the benchmark ends.
func cpu(b *testing.B) {
	b.Helper()
	used := func() time.Duration {
		var u syscall.Rusage
		if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
			b.Fatal(err)
		}
		return time.Duration(u.Utime.Nano() + u.Stime.Nano())
	}
	before := used()
	b.ResetTimer()
	b.Cleanup(func() { b.ReportMetric(float64(used()-before)/1e3/float64(b.N), "cpu-µs/op") })
}

func concurrently(b *testing.B, fn func(n int64) error) {
	b.Helper()
	var next atomic.Int64
	b.SetParallelism(max(1, writers/runtime.GOMAXPROCS(0)))
	cpu(b)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if err := fn(next.Add(1)); err != nil {
				b.Error(err)
				return
			}
		}
	})
}

func BenchmarkPut1K(b *testing.B) {
	body := objecttest.Bytes(1, 1024)
	b.Run("engine", func(b *testing.B) {
		e := open(b, Config{Dir: b.TempDir()})
		concurrently(b, func(n int64) error {
			_, err := e.Put(context.Background(), "b", object.Put{Key: fmt.Sprintf("%016x", uint64(n)*0x9e3779b97f4a7c15), Body: bytes.NewReader(body), Size: 1024})
			return err
		})
	})
	b.Run("raw", func(b *testing.B) {
		e := open(b, Config{Dir: b.TempDir()})
		db, err := pebble.Open(filepath.Join(b.TempDir(), "raw"), e.options())
		if err != nil {
			b.Fatal(err)
		}
		concurrently(b, func(n int64) error {
			return db.Set(fmt.Appendf(nil, "%016x", uint64(n)*0x9e3779b97f4a7c15), body, pebble.Sync)
		})
		b.StopTimer()
		if err := db.Close(); err != nil {
			b.Fatal(err)
		}
	})
}

func BenchmarkGet1K(b *testing.B) {
	e := open(b, Config{Dir: b.TempDir()})
	body := objecttest.Bytes(1, 1024)
	const count = 20000
	fill(b, e, count, body)
	concurrently(b, func(n int64) error {
		return readAll(e, fmt.Sprintf("k/%08d", n*7919%count))
	})
}

func fill(b *testing.B, e *Engine, count int, body []byte) {
	b.Helper()
	next := make(chan int)
	done := make(chan error)
	for range writers {
		go func() {
			for i := range next {
				if _, err := e.Put(context.Background(), "b", object.Put{Key: fmt.Sprintf("k/%08d", i), Body: bytes.NewReader(body), Size: -1}); err != nil {
					b.Error(err)
				}
			}
			done <- nil
		}()
	}
	for i := range count {
		next <- i
	}
	close(next)
	for range writers {
		<-done
	}
}

func readAll(e *Engine, key string) error {
	o, err := e.Get(context.Background(), "b", key, "")
	if err != nil {
		return err
	}
	defer o.Close()
	r, err := o.Range(0, o.Meta().Size)
	if err != nil {
		return err
	}
	defer r.Close()
	_, err = io.Copy(sink{}, r)
	return err
}

// sink is io.Discard without its ReadFrom, like a connection.
type sink struct{}

func (sink) Write(p []byte) (int, error) { return len(p), nil }

const large = 64 << 20

func BenchmarkPut64M(b *testing.B) {
	body := objecttest.Bytes(1, large)
	b.Run("engine", func(b *testing.B) {
		e := open(b, Config{Dir: b.TempDir()})
		b.SetBytes(large)
		cpu(b)
		for b.Loop() {
			if _, err := e.Put(context.Background(), "b", object.Put{Key: "o", Body: bytes.NewReader(body), Size: large}); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("raw", func(b *testing.B) {
		name := filepath.Join(b.TempDir(), "raw")
		b.SetBytes(large)
		cpu(b)
		for b.Loop() {
			f, err := os.Create(name + ".new")
			if err != nil {
				b.Fatal(err)
			}
			if _, err := io.Copy(f, struct{ io.Reader }{bytes.NewReader(body)}); err != nil {
				b.Fatal(err)
			}
			if err := f.Sync(); err != nil {
				b.Fatal(err)
			}
			if err := f.Close(); err != nil {
				b.Fatal(err)
			}
			if err := os.Rename(name+".new", name); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkGet64M(b *testing.B) {
	body := objecttest.Bytes(1, large)
	b.Run("engine", func(b *testing.B) {
		e := open(b, Config{Dir: b.TempDir(), Sealer: sealer(b)})
		if _, err := e.Put(context.Background(), "b", object.Put{Key: "o", Body: bytes.NewReader(body), Size: large}); err != nil {
			b.Fatal(err)
		}
		b.SetBytes(large)
		cpu(b)
		for b.Loop() {
			if err := readAll(e, "o"); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("raw", func(b *testing.B) {
		name := filepath.Join(b.TempDir(), "raw")
		if err := os.WriteFile(name, body, 0o600); err != nil {
			b.Fatal(err)
		}
		b.SetBytes(large)
		cpu(b)
		for b.Loop() {
			f, err := os.Open(name)
			if err != nil {
				b.Fatal(err)
			}
			if _, err := io.CopyBuffer(sink{}, struct{ io.Reader }{f}, make([]byte, bufferBytes)); err != nil {
				b.Fatal(err)
			}
			if err := f.Close(); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkList1000of100000(b *testing.B) {
	e := open(b, Config{Dir: "/o", FS: InMemory()})
	const count = 100000
	fill(b, e, count, []byte("x"))
	for _, o := range []object.ListOptions{{Max: 1000}, {Max: 1000, Delimiter: "/"}} {
		b.Run("delimiter="+o.Delimiter, func(b *testing.B) {
			cpu(b)
			for i := 0; b.Loop(); i++ {
				o.After = fmt.Sprintf("k/%08d", i*9973%(count-1000))
				if _, err := e.List(context.Background(), "b", o); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkMemory256M writes a large object and reports how much memory that took.
func BenchmarkMemory256M(b *testing.B) {
	e := open(b, Config{Dir: b.TempDir()})
	for b.Loop() {
		var before, peak runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		var most uint64
		body := io.LimitReader(endless{}, 256<<20)
		watch := readerFunc(func(p []byte) (int, error) {
			if runtime.ReadMemStats(&peak); peak.HeapAlloc > before.HeapAlloc {
				most = max(most, peak.HeapAlloc-before.HeapAlloc)
			}
			return body.Read(p)
		})
		if _, err := e.Put(context.Background(), "b", object.Put{Key: "o", Body: watch, Size: -1}); err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(float64(most)/(1<<20), "MiB-heap")
	}
}

type endless struct{}

func (endless) Read(p []byte) (int, error) { return len(p), nil }

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }
