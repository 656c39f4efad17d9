// Package e2e runs whole clouds as real processes with real guests and drives them with real AWS clients. It
// needs root and bin/karri (make build). Every cloud lives in a network namespace without a route out, which
// the test makes and removes, so that no packet can leave by mistake.
package e2e

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// shared is what all tests use and nothing changes.
var shared struct {
	karri string // path of the binary
	tiny  string // the small guest's disk image
	dir   string
}

func TestMain(m *testing.M) {
	if os.Getenv(asClient) != "" {
		client := goClient
		if os.Getenv(asClient) == "identity" {
			client = goIdentity
		}
		if err := client(context.Background()); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		return
	}
	if os.Geteuid() != 0 {
		fmt.Println("e2e: skipped: needs root")
		return
	}
	if os.Getenv("KARRI_APART") == "" {
		// All that a test makes lives in namespaces that end with it.
		apart, err := filepath.Abs("../../scripts/apart")
		if err == nil {
			err = syscall.Exec(apart, append([]string{apart}, os.Args...), os.Environ())
		}
		fmt.Println("e2e: run apart from the host:", err)
		os.Exit(1)
	}
	os.Exit(run(m))
}

func run(m *testing.M) int {
	fail := func(args ...any) int {
		fmt.Println(append([]any{"e2e:"}, args...)...)
		return 1
	}
	var err error
	if shared.karri, err = filepath.Abs("../../bin/karri"); err != nil {
		return fail(err)
	}
	if _, err := os.Stat(shared.karri); err != nil {
		return fail("build first (make build):", err)
	}
	if shared.dir, err = os.MkdirTemp("", "karri-e2e-"); err != nil {
		return fail(err)
	}
	defer os.RemoveAll(shared.dir)
	if err := os.Chmod(shared.dir, 0o711); err != nil { // QEMU's users pass through
		return fail(err)
	}
	shared.tiny = filepath.Join(shared.dir, "tiny.raw")
	if out, err := exec.Command(shared.karri, "image", "build", "tiny", "-o", shared.tiny).CombinedOutput(); err != nil {
		return fail("build the tiny image:", err, string(out))
	}
	// Named namespaces bring a mount with them that stays: let it be there before.
	if out, err := exec.Command("sh", "-c", "ip netns add first && ip netns delete first").CombinedOutput(); err != nil {
		return fail("make a namespace:", err, string(out))
	}
	before := leftovers()
	code := m.Run()
	// What ends takes a moment to be gone.
	var left []string
	for range 50 {
		left = slices.DeleteFunc(leftovers(), func(s string) bool { return slices.Contains(before, s) })
		if len(left) == 0 {
			return code
		}
		time.Sleep(100 * time.Millisecond)
	}
	return fail("left behind:\n" + strings.Join(left, "\n"))
}

// leftovers lists what a test could leave on the host: processes of ours, namespaces, links, mounts, routes.
func leftovers() []string {
	var out []string
	procs, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, p := range procs {
		if cmd, err := os.ReadFile(p); err == nil && bytes.Contains(cmd, []byte(shared.dir)) {
			out = append(out, "process "+p+" "+strings.ReplaceAll(string(cmd), "\x00", " "))
		}
	}
	groups, _ := filepath.Glob("/sys/fs/cgroup/*/karri-*")
	out = append(out, groups...)
	for _, args := range [][]string{{"ip", "netns", "list"}, {"ip", "-o", "link"}, {"ip", "route"}, {"cat", "/proc/self/mounts"}} {
		text, _ := exec.Command(args[0], args[1:]...).Output()
		for line := range strings.Lines(string(text)) {
			line = strings.TrimSpace(line)
			if args[1] == "-o" {
				line, _, _ = strings.Cut(line, "<") // counters and states change
			}
			if !strings.Contains(line, "nsfs") || strings.Contains(line, "karri") {
				out = append(out, line)
			}
		}
	}
	return out
}

// namespace is a network namespace that stands for a machine.
type namespace struct{ name string }

// newNamespace makes a namespace with loopback up and no way out.
func newNamespace(t *testing.T, name string) namespace {
	t.Helper()
	n := namespace{fmt.Sprintf("kt%d-%s", os.Getpid(), name)}
	must(t, "ip", "netns", "add", n.name)
	t.Cleanup(func() { must(t, "ip", "netns", "delete", n.name) })
	must(t, "ip", "-n", n.name, "link", "set", "lo", "up")
	return n
}

// command runs in the namespace. Not by `ip netns exec`: that gives each command a mount namespace of its own,
// in which one would not see the namespaces that another made.
func (n namespace) command(ctx context.Context, name string, args ...string) *exec.Cmd {
	return exec.CommandContext(ctx, "nsenter", append([]string{"--net=/run/netns/" + n.name, "--", name}, args...)...)
}

func must(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}

// eventually waits until ok says so. It is no timing assertion: the limit only ends a hopeless wait.
func eventually(t *testing.T, what string, limit time.Duration, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(limit); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
		if ok() {
			return
		}
	}
	t.Fatalf("%s: not after %v", what, limit)
}
