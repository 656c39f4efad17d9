// Command s3 measures S3 over the front door, and beside it, in the same run, what the machine allows: a bare net/http
// handler, write and fsync, and Pebble's group commit; and a handler that also does what S3 cannot leave out: MD5 (the
// ETag), AES-256-GCM, the commit. The client does the same in each case: it signs its requests, so they cost it the same.
//
//	go run ./test/bench/s3 -dir DIR [-time 3s] [-only "PUT 1 KiB"] [-clients 8,64] [-keys 100000] [-profile FOLDER]
//	go run ./test/bench/s3 -dir DIR -scale 1000000     # a bucket of so many objects
//	go run ./test/bench/s3 -dir DIR -uploads 256       # memory while so many bodies of 64 MiB are sent
package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2"
)

type bench struct {
	dir    string
	length time.Duration
	only   string
	hello  hello
	ask    func(profile string) (usage, error)
	pprof  string // folder for profiles

	mu   sync.Mutex
	idle map[string][]*client // by address
}

func main() {
	dir := flag.String("dir", "", "folder on the disk to measure; emptied at the end")
	length := flag.Duration("time", 3*time.Second, "of each measurement")
	only := flag.String("only", "", "measure only what has this in its name")
	clients := flag.String("clients", "8,64", "how many clients at a time")
	keys := flag.Int("keys", 100000, "in the bucket that is listed")
	profiles := flag.String("profile", "", "folder for a CPU profile of the server in each measurement")
	scale := flag.Int("scale", 0, "measure a bucket of so many small objects in place of the rest")
	uploads := flag.Int("uploads", 0, "measure memory while so many bodies of 64 MiB are sent, in place of the rest")
	server := flag.Bool("serve", false, "be the server")
	flag.Parse()
	err := errors.New("-dir is missing")
	b := &bench{dir: *dir, length: *length, only: *only, pprof: *profiles, idle: map[string][]*client{}}
	switch {
	case *dir == "":
	case *server:
		err = serve(*dir)
	case *scale > 0:
		err = b.scale(*scale)
	case *uploads > 0:
		err = b.uploads(*uploads)
	default:
		err = run(b, *clients, *keys)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "s3:", err)
		os.Exit(1)
	}
}

func run(b *bench, clients string, keys int) error {
	stop, err := b.start()
	if err != nil {
		return err
	}
	defer stop()
	if err := b.do(http.MethodPut, "/bench", nil); err != nil {
		return err
	}
	header()
	for _, text := range strings.Split(clients, ",") {
		n, err := strconv.Atoi(text)
		if err != nil {
			return err
		}
		if err := b.sizes(n); err != nil {
			return err
		}
	}
	return b.lists(keys)
}

// start starts the server's process.
func (b *bench) start() (stop func(), err error) {
	cmd := exec.Command(os.Args[0], "-serve", "-dir", b.dir)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	answers := json.NewDecoder(bufio.NewReader(out))
	b.ask = func(profile string) (u usage, err error) {
		if _, err := fmt.Fprintln(in, profile); err != nil {
			return u, err
		}
		return u, answers.Decode(&u)
	}
	stop = func() { in.Close(); _ = cmd.Wait() }
	return stop, answers.Decode(&b.hello)
}

// do sends one signed request to S3.
func (b *bench) do(method, path string, body []byte) error {
	return b.to(b.hello.Addr, method, path, body)
}

// bare sends one to the floor.
func (b *bench) bare(method, path string, body []byte) error {
	return b.to(b.hello.Plain, method, path, body)
}

// to sends one on a connection that nobody uses.
func (b *bench) to(addr, method, path string, body []byte) (err error) {
	b.mu.Lock()
	idle := b.idle[addr]
	var c *client
	if n := len(idle); n > 0 {
		c, b.idle[addr] = idle[n-1], idle[:n-1]
	}
	b.mu.Unlock()
	if c == nil {
		if c, err = b.newClient(addr); err != nil {
			return err
		}
	}
	path, query, _ := strings.Cut(path, "?")
	if err := c.do(method, path, query, body); err != nil {
		return errors.Join(err, c.conn.Close())
	}
	b.mu.Lock()
	b.idle[addr] = append(b.idle[addr], c)
	b.mu.Unlock()
	return nil
}

func (b *bench) sizes(clients int) error {
	for _, size := range []int{1 << 10, 64 << 10, 1 << 20, 64 << 20} {
		if size == 64<<20 && clients > 8 {
			continue // the disk is the same, and it takes long
		}
		name := sizeName(size)
		body := make([]byte, size)
		_, _ = rand.NewChaCha8([32]byte{1}).Read(body)
		key := func(n int64) string { return fmt.Sprintf("/bench/%s/%08d", strings.ReplaceAll(name, " ", ""), n) }
		var written, floored atomic.Int64
		store := "/file/"
		if size < 64<<10 {
			store = "/pebble/"
		}
		steps := []step{
			{"PUT " + name, func(n int64) error { return b.do(http.MethodPut, key(written.Add(1)), body) }},
			{"— net/http and all that must be done, PUT " + name, func(int64) error {
				return b.bare(http.MethodPut, fmt.Sprint(store, size, "-", floored.Add(1)), body)
			}},
			{"— write and fsync, " + name, func(n int64) error { return b.raw(n, body) }},
			{"GET " + name, func(n int64) error { return b.do(http.MethodGet, key(1+n%max(1, written.Load())), nil) }},
			{"— net/http and all that must be done, GET " + name, func(n int64) error {
				return b.bare(http.MethodGet, fmt.Sprint(store, size, "-", 1+n%max(1, floored.Load())), nil)
			}},
			{"— bare net/http, " + name, func(int64) error { return b.bare(http.MethodGet, fmt.Sprintf("/zeros/%d", size), nil) }},
			{"HEAD " + name, func(n int64) error { return b.do(http.MethodHead, key(1+n%max(1, written.Load())), nil) }},
			{"DELETE " + name, func(n int64) error { return b.do(http.MethodDelete, key(n), nil) }},
		}
		for _, s := range steps {
			// What is read has been read before: from memory, as far as it fits there.
			if strings.Contains(s.name, "GET") && size >= 1<<20 && b.wanted(s.name) {
				for n := range min(max(written.Load(), floored.Load()), 64) {
					if err := s.fn(n); err != nil {
						return err
					}
				}
			}
			if err := b.measure(s.name, clients, size, s.fn); err != nil {
				return err
			}
			if size == 1<<10 && strings.HasPrefix(s.name, "PUT") {
				if err := b.commits(clients); err != nil {
					return err
				}
			}
		}
		if err := b.dropRaw(); err != nil {
			return err
		}
	}
	return nil
}

type step struct {
	name string
	fn   func(n int64) error
}

// raw writes and syncs a file, which stays for a while: new files cost more than those that take the memory of old ones.
func (b *bench) raw(n int64, body []byte) error {
	name := filepath.Join(b.dir, fmt.Sprintf("raw-%d", n))
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	_, err = f.Write(body)
	return errors.Join(err, f.Sync(), f.Close())
}

func (b *bench) dropRaw() error {
	names, err := filepath.Glob(filepath.Join(b.dir, "raw-*"))
	for _, name := range names {
		err = errors.Join(err, os.Remove(name))
	}
	return err
}

// commits measures Pebble's group commit with values of 1 KiB.
func (b *bench) commits(clients int) error {
	dir := filepath.Join(b.dir, "raw-pebble")
	db, err := pebble.Open(dir, &pebble.Options{Logger: quiet{}})
	if err != nil {
		return err
	}
	body := make([]byte, 1<<10)
	err = b.measure("— Pebble's group commit, 1 KiB", clients, 1<<10, func(n int64) error {
		return db.Set(fmt.Appendf(nil, "%d", n), body, pebble.Sync)
	})
	return errors.Join(err, db.Close(), os.RemoveAll(dir))
}

type quiet struct{}

func (quiet) Infof(string, ...any)      {}
func (quiet) Errorf(string, ...any)     {}
func (quiet) Fatalf(f string, a ...any) { panic(fmt.Sprintf(f, a...)) }

// lists measures pages of a large bucket.
func (b *bench) lists(keys int) error {
	if !b.wanted("LIST") {
		return nil
	}
	if err := b.do(http.MethodPut, "/listed", nil); err != nil {
		return err
	}
	var wg sync.WaitGroup
	next, failed := make(chan int), make(chan error, 64)
	for range 64 {
		wg.Go(func() {
			for i := range next {
				if err := b.do(http.MethodPut, fmt.Sprintf("/listed/%03d/%07d", i%1000, i), nil); err != nil {
					failed <- err
					return
				}
			}
		})
	}
	for i := range keys {
		select {
		case next <- i:
		case err := <-failed:
			return err
		}
	}
	close(next)
	wg.Wait()
	return b.pages("listed", "%03d", keys, min(keys, 1000)-1)
}

// pages measures pages of a bucket of so many keys below so many prefixes.
func (b *bench) pages(bucket, prefix string, keys, prefixes int) error {
	for _, l := range []struct{ name, query string }{
		{"1,000 keys", "list-type=2&start-after=" + prefix + "%%2F"},
		{"1,000 prefixes", "delimiter=%%2F&list-type=2&x-id=%d"},
		{"one prefix", "delimiter=%%2F&list-type=2&prefix=" + prefix + "%%2F"},
	} {
		err := b.measure(fmt.Sprintf("LIST of %d: %s", keys, l.name), 8, 0, func(n int64) error {
			return b.do(http.MethodGet, "/"+bucket+"?"+fmt.Sprintf(l.query, n*7%int64(prefixes)), nil)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// measure runs fn with so many clients for a while and prints a line.
func (b *bench) measure(name string, clients, size int, fn func(n int64) error) error {
	if !b.wanted(name) {
		return nil
	}
	file := ""
	if b.pprof != "" {
		file = filepath.Join(b.pprof, fmt.Sprintf("%s.%d.pprof", strings.NewReplacer(" ", "-", ",", "", "/", "-").Replace(name), clients))
	}
	before, err := b.ask(file)
	if err != nil {
		return err
	}
	var count atomic.Int64
	times := make([][]time.Duration, clients)
	errs := make([]error, clients)
	begin := time.Now()
	var wg sync.WaitGroup
	for c := range clients {
		wg.Go(func() {
			for time.Since(begin) < b.length && errs[c] == nil {
				start := time.Now()
				errs[c] = fn(count.Add(1))
				times[c] = append(times[c], time.Since(start))
			}
		})
	}
	wg.Wait()
	took := time.Since(begin)
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	after, err := b.ask("")
	if err != nil {
		return err
	}
	all := slices.Concat(times...)
	slices.Sort(all)
	rate := float64(len(all)) / took.Seconds()
	n := len(all)
	fmt.Printf("| %s | %d | %.0f | %.0f | %v | %v | %v | %d | %d |\n", name, clients, rate, rate*float64(size)/1e6,
		round(all[n/2]), round(all[n*99/100]), round((after.CPU-before.CPU)/time.Duration(n)), (after.Allocations-before.Allocations)/n, (after.Allocated-before.Allocated)/n)
	return nil
}

func (b *bench) wanted(name string) bool { return b.only == "" || strings.Contains(name, b.only) }

func round(d time.Duration) time.Duration {
	if d > 10*time.Millisecond {
		return d.Round(time.Millisecond)
	}
	return d.Round(time.Microsecond)
}

func sizeName(n int) string {
	if n >= 1<<20 {
		return fmt.Sprintf("%d MiB", n>>20)
	}
	return fmt.Sprintf("%d KiB", n>>10)
}
