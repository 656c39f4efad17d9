package disk

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"

	"karri.dev/internal/object/objecttest"
)

const (
	killDir  = "KARRI_TEST_KILL_DIR"
	killSeed = "KARRI_TEST_KILL_SEED"
)

// TestKill kills a process that writes, with SIGKILL, again and again.
func TestKill(t *testing.T) {
	if dir := os.Getenv(killDir); dir != "" {
		victim(dir)
		return
	}
	if testing.Short() {
		t.Skip("starts processes")
	}
	const kills = 6
	dir, h, checked := t.TempDir(), objecttest.NewHistory(), 0
	for n := range kills {
		killOne(t, dir, n, h)
		e, err := Open(Config{Dir: dir})
		if err != nil {
			t.Fatalf("after kill %d: %v", n, err)
		}
		checked += h.Check(t, e)
		if wrong, err := e.recount(); wrong > 0 || err != nil {
			t.Fatalf("%d buckets are counted wrongly, %v", wrong, err)
		}
		if _, err := e.collect(); err != nil {
			t.Fatal(err)
		}
		if onDisk, named := e.files(t); onDisk != named {
			t.Fatalf("%d files, %d of them named", onDisk, named)
		}
		if err := e.Close(); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("%d kills, %d keys checked", kills, checked)
}

// killOne starts a victim, kills it after some of its lines, and takes all of them into h.
func killOne(t *testing.T, dir string, n int, h *objecttest.History) {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^TestKill$")
	cmd.Env = append(os.Environ(), killDir+"="+dir, killSeed+"="+strconv.Itoa(n))
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewReader(out)
	for count := 0; ; count++ {
		line, err := lines.ReadString('\n')
		if err != nil { // also a line that was cut
			break
		}
		f := strings.Split(strings.TrimSuffix(line, "\n"), " ")
		switch {
		case f[0] == "B" && len(f) == 3:
			h.Begin(f[1], f[2])
		case f[0] == "A" && len(f) == 3:
			h.End(f[1], nil)
		default:
			t.Errorf("the victim says %q", line)
		}
		if count == 150+n*37 {
			if err := cmd.Process.Kill(); err != nil {
				t.Fatal(err)
			}
		}
	}
	_ = cmd.Wait() // it was killed
}

// victim writes until it is killed. A line is out before the change begins, or after it was acknowledged.
func victim(dir string) {
	e, err := Open(Config{Dir: dir})
	if err != nil {
		fmt.Println("E", err)
		os.Exit(1)
	}
	seed, _ := strconv.Atoi(os.Getenv(killSeed))
	h := objecttest.NewHistory()
	h.Tell = func(line string) { os.Stdout.WriteString(line + "\n") }
	var wg sync.WaitGroup
	for w := range 4 {
		wg.Go(func() { h.Write(context.Background(), e, uint64(seed)<<8|uint64(w)) })
	}
	wg.Wait()
}
