package main

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"karri.dev/internal/object"
	"karri.dev/internal/object/disk"
	"karri.dev/internal/seal"
)

// scaled is a bucket that is filled without HTTP, and its name in the engine.
const scaled = "scaled"

// smallBody is the size of its objects, in bytes.
const smallBody = 100

// openEngine opens the engine as a server does.
func openEngine(dir string) (*disk.Engine, *seal.Sealer, error) {
	sealer, err := seal.New(make([]byte, seal.KeySize))
	if err != nil {
		return nil, nil, err
	}
	e, err := disk.Open(disk.Config{Dir: filepath.Join(dir, "objects"), Sealer: sealer})
	return e, sealer, err
}

// fill puts n small objects, a thousand below each prefix, in an order without sense.
func fill(dir string, n int) error {
	e, _, err := openEngine(dir)
	if err != nil {
		return err
	}
	body := make([]byte, smallBody)
	_, _ = rand.NewChaCha8([32]byte{}).Read(body)
	var next atomic.Int64
	errs := make(chan error, 64)
	var wg sync.WaitGroup
	begin := time.Now()
	for range cap(errs) {
		wg.Go(func() {
			for {
				i := next.Add(1) - 1
				if i >= int64(n) {
					return
				}
				i = i * 7919 % int64(n) // 7919 is prime
				p := object.Put{
					Key: fmt.Sprintf("%05d/%08d", i/1000, i), Owner: "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
					Headers: map[string]string{"Content-Type": "application/octet-stream"}, Body: bytes.NewReader(body), Size: smallBody,
					Checksum: func() (string, string, string, error) { return "CRC64NVME", "AAAAAAAAAAA=", "FULL_OBJECT", nil },
				}
				if _, err := e.Put(context.Background(), scaled, p); err != nil {
					errs <- err
					return
				}
			}
		})
	}
	wg.Wait()
	close(errs)
	if err := <-errs; err != nil {
		return err
	}
	took := time.Since(begin)
	time.Sleep(10 * time.Second) // for compactions
	if err := e.Close(); err != nil {
		return err
	}
	size, err := folderSize(filepath.Join(dir, "objects", "index"))
	fmt.Printf("%d objects of %d bytes in %v; %d bytes of disk for each, %d of them beside its data\n", n, smallBody, took.Round(time.Second), size/int64(n), size/int64(n)-smallBody)
	return err
}

func folderSize(dir string) (size int64, err error) {
	err = filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		i, err := d.Info()
		if err == nil {
			size += i.Size()
		}
		return err
	})
	return size, err
}

// scale measures a bucket of n objects: disk, memory and listings.
func (b *bench) scale(n int) error {
	if err := fill(b.dir, n); err != nil {
		return err
	}
	stop, err := b.start()
	if err != nil {
		return err
	}
	defer stop()
	time.Sleep(10 * time.Second)
	u, err := b.ask("")
	if err != nil {
		return err
	}
	fmt.Printf("server with them, idle for 10 s: %d MB resident\n", u.RSS/1e6)
	header()
	if err := b.pages(scaled, "%05d", n, max(1, n/1000)); err != nil {
		return err
	}
	if u, err = b.ask(""); err == nil {
		fmt.Printf("\nafter that: %d MB resident\n", u.RSS/1e6)
	}
	return err
}

// uploads measures memory while many large bodies are sent at the same time.
func (b *bench) uploads(n int) error {
	stop, err := b.start()
	if err != nil {
		return err
	}
	defer stop()
	if err := b.do(http.MethodPut, "/bench", nil); err != nil {
		return err
	}
	before, err := b.ask("")
	if err != nil {
		return err
	}
	body := make([]byte, 64<<20)
	errs := make(chan error, n)
	for i := range n {
		go func() { errs <- b.do(http.MethodPut, fmt.Sprintf("/bench/%d", i), body) }()
	}
	most := int64(0)
	begin := time.Now()
	for done := 0; done < n; {
		select {
		case err := <-errs:
			if done++; err != nil {
				return err
			}
		case <-time.After(100 * time.Millisecond):
			u, err := b.ask("")
			if err != nil {
				return err
			}
			most = max(most, u.RSS)
		}
	}
	fmt.Printf("%d uploads of 64 MiB at once, in %v: %d MB resident at most, %d MB before\n", n, time.Since(begin).Round(time.Second), most/1e6, before.RSS/1e6)
	return nil
}

func header() {
	fmt.Fprintln(os.Stdout, "| what | clients | per second | MB/s | p50 | p99 | server CPU | allocations | bytes |")
	fmt.Fprintln(os.Stdout, "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |")
}
