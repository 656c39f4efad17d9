package store

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

var crashFor = flag.Duration("crash", 4*time.Second, "how long TestKill goes on killing")

const childEnv = "KARRI_STORE_TEST_CHILD" // DIR:MINFREE

// childMain is the other process of TestKill and TestFullDisk: it opens the state in a folder, says what it
// finds, and then writes and says what was acknowledged, until it dies.
func childMain() bool {
	spec := os.Getenv(childEnv)
	if spec == "" {
		return false
	}
	i := strings.LastIndexByte(spec, ':')
	free, _ := strconv.ParseUint(spec[i+1:], 10, 64)
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	s, err := Open(context.Background(), Config{Dir: spec[:i], MinFree: free}, log)
	if err != nil {
		fmt.Println("failed", err)
		return true
	}
	snap := s.Snapshot()
	if err := snap.Check(); err != nil {
		fmt.Println("broken", err)
		return true
	}
	for w := range crashWorkers {
		a, b := things.Get(snap, fmt.Sprint("a", w)), others.Get(snap, fmt.Sprint("b", w))
		if a == nil {
			a = &thing{}
		}
		if b == nil {
			b = &thing{}
		}
		if a.N != b.N {
			fmt.Printf("broken worker %d: half a transaction: %d and %d\n", w, a.N, b.N)
			return true
		}
		fmt.Printf("found %d %d\n", w, a.N)
	}
	fmt.Println("ready")
	ballast := strings.Repeat("x", 2000)
	if free > 0 {
		ballast = strings.Repeat("x", 50000)
	}
	var mu sync.Mutex // one line at a time
	var workers sync.WaitGroup
	for w := range crashWorkers {
		workers.Go(func() {
			for {
				n := 0
				err := s.Update(context.Background(), func(tx *Tx) error {
					a := thing{ID: fmt.Sprint("a", w)}
					if old := things.Get(tx, a.ID); old != nil {
						a = *old
					}
					a.N++
					a.Name = fmt.Sprint("name", w, "-", a.N)
					a.Kinds = []string{ballast}
					n = a.N
					if err := things.Put(tx, &a); err != nil {
						return err
					}
					return others.Put(tx, &thing{ID: fmt.Sprint("b", w), N: a.N})
				})
				mu.Lock()
				if err != nil {
					fmt.Println("refused", err)
					mu.Unlock()
					break
				}
				fmt.Println("acknowledged", w, n)
				mu.Unlock()
			}
		})
	}
	workers.Wait()
	fmt.Println("ended", s.Close())
	return true
}

const crashWorkers = 8

// life is what a child told.
type life struct {
	ready, ended bool
	found, acked [crashWorkers]int
	refused      []string
	stderr       string
}

// live runs a child until it dies, or is killed when kill says so (after it is ready).
func live(t *testing.T, dir string, minFree uint64, kill func(p *os.Process, dead <-chan struct{})) life {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), fmt.Sprint(childEnv, "=", dir, ":", minFree))
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Process.Kill()
	var l life
	dead := make(chan struct{})
	var killer sync.WaitGroup
	defer func() { close(dead); killer.Wait() }()
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		kind, rest, _ := strings.Cut(lines.Text(), " ")
		var w, n int
		switch kind {
		case "found":
			fmt.Sscan(rest, &w, &n)
			l.found[w] = n
		case "ready":
			l.ready = true
			if kill != nil {
				killer.Go(func() { kill(cmd.Process, dead) })
			}
		case "acknowledged":
			if _, err := fmt.Sscan(rest, &w, &n); err == nil {
				l.acked[w] = n
			}
		case "refused", "failed":
			l.refused = append(l.refused, rest)
		case "ended":
			l.ended = true
		default:
			t.Errorf("child: %s", lines.Text())
		}
	}
	cmd.Wait() // killed
	l.stderr = stderr.String()
	return l
}

// TestKill kills a process with an embedded etcd in the middle of its work, again and again.
func TestKill(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	var known [crashWorkers]int
	began := time.Now()
	lives := 0
	for time.Since(began) < *crashFor {
		l := live(t, dir, 0, func(p *os.Process, dead <-chan struct{}) {
			time.Sleep(rand.N(200 * time.Millisecond))
			p.Kill()
		})
		lives++
		for w, n := range known {
			// At most one transaction of a worker may have happened without its answer coming through.
			if l.found[w] < n || (lives > 1 && l.found[w] > n+1) {
				t.Fatalf("life %d, worker %d: %d was acknowledged, %d is there\n%s", lives, w, n, l.found[w], l.stderr)
			}
			known[w] = max(l.found[w], l.acked[w])
		}
		if !l.ready {
			t.Fatalf("life %d did not get ready:\n%s", lives, l.stderr)
		}
	}
	sum := 0
	for _, n := range known {
		sum += n
	}
	if sum == 0 {
		t.Error("nothing was ever written")
	}
	t.Logf("%d lives, %d transactions", lives, sum)
}

// TestFullDisk fills the disk under a process: writes are refused with a clear error before etcd gives up,
// and when somebody else takes the last bytes and etcd dies, what was acknowledged is there afterwards.
func TestFullDisk(t *testing.T) {
	t.Parallel()
	if os.Getuid() != 0 {
		t.Skip("mounting a small file system needs root")
	}
	disk := t.TempDir()
	if err := syscall.Mount("tmpfs", disk, "tmpfs", 0, "size=400m"); err != nil {
		t.Skipf("cannot mount a tmpfs: %v", err)
	}
	defer syscall.Unmount(disk, 0)
	filler := filepath.Join(disk, "filler")
	dir := filepath.Join(disk, "state")

	first := live(t, dir, 128<<20, func(p *os.Process, dead <-chan struct{}) {
		time.Sleep(100 * time.Millisecond)
		fill(filler, disk, 50<<20) // etcd gives back 61 MiB when it ends
	})
	if !first.ended || len(first.refused) != crashWorkers || !strings.Contains(first.refused[0], "disk is almost full") {
		t.Errorf("ended=%v refused=%q\n%s", first.ended, first.refused, first.stderr)
	}
	if l := live(t, dir, 128<<20, nil); l.ready || len(l.refused) != 1 {
		t.Errorf("on a full disk: ready=%v refused=%q", l.ready, l.refused)
	}
	os.Remove(filler)
	second := live(t, dir, 1, func(p *os.Process, dead <-chan struct{}) { // no reserve: etcd meets the end of the disk
		time.Sleep(100 * time.Millisecond)
		fill(filler, disk, 2<<20)
		select {
		case <-dead:
		case <-time.After(20 * time.Second): // its writers are stuck
			p.Kill()
		}
	})
	t.Logf("etcd on a full disk: ended=%v refused=%q\n%s", second.ended, second.refused, second.stderr)
	os.Remove(filler)
	third := live(t, dir, 1, func(p *os.Process, dead <-chan struct{}) { p.Kill() })
	for w := range crashWorkers {
		if second.found[w] < first.acked[w] || third.found[w] < second.acked[w] {
			t.Errorf("worker %d: acknowledged %d, then found %d, acknowledged %d, then found %d",
				w, first.acked[w], second.found[w], second.acked[w], third.found[w])
		}
	}
}

// fill leaves this much of a file system free.
func fill(file, disk string, leave uint64) {
	f, err := os.Create(file)
	if err != nil {
		return
	}
	defer f.Close()
	chunk := make([]byte, 1<<20)
	for {
		var fs syscall.Statfs_t
		if err := syscall.Statfs(disk, &fs); err != nil || (leave > 0 && fs.Bavail*uint64(fs.Bsize) < leave) {
			return
		}
		if _, err := f.Write(chunk); errors.Is(err, syscall.ENOSPC) {
			return
		}
	}
}
