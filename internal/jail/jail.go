// Package jail runs programs on files that strangers made.
package jail

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// ErrNoJail says that programs cannot be confined on this host. Nothing is ever run without.
var ErrNoJail = errors.New("this host cannot confine programs")

// Jail runs one program that sees its own libraries, one input file and one output folder; no network, no
// other process, no privilege.
//
// As root the namespaces are made with root's rights and the program runs as an unprivileged user of the
// host, so that it works where user namespaces are switched off. Otherwise a user namespace is needed.
type Jail struct {
	UID       int   // of the program when we are root
	FileBytes int64 // largest file that it may write
	Memory    int64 // address space in bytes
	CPU       time.Duration
	Grace     time.Duration     // after it was killed, for its pipes
	Files     []*os.File        // open in the program from descriptor 3 on
	Show      map[string]string // further files and folders that it may read: path inside → path outside
}

// Paths inside the jail.
const (
	In  = "/in"
	Out = "/out"
)

// Nobody is the user of the host that runs programs unless another is named.
const Nobody = 65534

// Give makes the output folder the program's own, and lets it read in ("": none): both must be files of ours.
func (j Jail) Give(in, outDir string) error {
	if os.Geteuid() != 0 {
		return nil
	}
	err := os.Chown(outDir, j.UID, j.UID)
	if in != "" {
		err = errors.Join(err, os.Chown(in, j.UID, j.UID), os.Chmod(in, 0o400))
	}
	return err
}

// command gives the command line that runs program in the jail.
func (j Jail) command(in, outDir, program string, args ...string) ([]string, error) {
	path, err := exec.LookPath(program)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNoJail, err)
	}
	c := []string{
		"prlimit", "--core=0", "--nofile=64",
		"--as=" + strconv.FormatInt(j.Memory, 10), "--fsize=" + strconv.FormatInt(j.FileBytes, 10),
		"--cpu=" + strconv.FormatInt(int64(j.CPU/time.Second), 10), "--",
		"bwrap", "--unshare-ipc", "--unshare-pid", "--unshare-net", "--unshare-uts", "--unshare-cgroup-try",
		"--die-with-parent", "--new-session", "--clearenv", "--setenv", "LC_ALL", "C", "--cap-drop", "ALL",
	}
	var inside []string
	if os.Geteuid() == 0 {
		setpriv, err := exec.LookPath("setpriv")
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrNoJail, err)
		}
		c = append(c, "--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID", "--cap-add", "CAP_SETPCAP")
		inside = []string{
			"/bin/setpriv", "--reuid=" + strconv.Itoa(j.UID), "--regid=" + strconv.Itoa(j.UID), "--clear-groups",
			"--no-new-privs", "--inh-caps=-all", "--bounding-set=-all", "--",
		}
		c = append(c, "--perms", "0755", "--dir", "/bin", "--ro-bind", setpriv, "/bin/setpriv")
	} else {
		c = append(c, "--unshare-user", "--disable-userns", "--perms", "0755", "--dir", "/bin")
	}
	c = append(c, "--ro-bind", path, "/bin/"+program, "--perms", "0755", "--dir", "/usr")
	for _, lib := range []string{"/usr/lib", "/usr/lib64"} {
		c = append(c, "--ro-bind-try", lib, lib)
	}
	for _, lib := range []string{"/lib", "/lib64"} {
		if target, err := os.Readlink(lib); err == nil {
			c = append(c, "--symlink", target, lib)
		} else {
			c = append(c, "--ro-bind-try", lib, lib)
		}
	}
	// qemu-img wants /dev/null for a probe of file locks.
	c = append(c, "--perms", "0755", "--dir", "/dev", "--dev-bind", "/dev/null", "/dev/null")
	made := map[string]bool{}
	for _, inside := range slices.Sorted(maps.Keys(j.Show)) {
		if dir := filepath.Dir(inside); !made[dir] {
			made[dir] = true
			c = append(c, "--perms", "0755", "--dir", dir)
		}
		c = append(c, "--ro-bind", j.Show[inside], inside)
	}
	if in != "" {
		c = append(c, "--ro-bind", in, In)
	}
	if outDir != "" {
		c = append(c, "--bind", outDir, Out)
	}
	c = append(c, "--remount-ro", "/", "--chdir", "/", "--")
	return append(append(append(c, inside...), "/bin/"+program), args...), nil
}

// Run runs the program; its standard output goes to stdout. When ctx ends it is killed with all that it began.
func (j Jail) Run(ctx context.Context, in, outDir string, stdout io.Writer, program string, args ...string) error {
	line, err := j.command(in, outDir, program, args...)
	if err != nil {
		return err
	}
	// bwrap dies with the thread that started it; this one lives as long as the call.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	cmd := exec.CommandContext(ctx, line[0], line[1:]...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.ExtraFiles = j.Files
	cmd.WaitDelay = j.Grace
	stderr := &Tail{Max: 4 << 10}
	cmd.Stdout, cmd.Stderr = stdout, stderr
	err = cmd.Run()
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err == nil {
		return nil
	}
	said := strings.TrimSpace(stderr.String())
	if errors.Is(err, exec.ErrNotFound) || strings.HasPrefix(said, "bwrap:") || strings.HasPrefix(said, "setpriv:") {
		return fmt.Errorf("%w: %w: %s", ErrNoJail, err, said)
	}
	return fmt.Errorf("%s: %w: %s", program, err, said)
}

// Tail keeps the end of what is written to it.
type Tail struct {
	bytes.Buffer
	Max int
}

func (t *Tail) Write(b []byte) (int, error) {
	n, err := t.Buffer.Write(b)
	if over := t.Len() - t.Max; over > 0 {
		t.Next(over)
	}
	return n, err
}
