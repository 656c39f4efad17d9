package image

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// ErrNoJail says that programs cannot be confined on this host. Nothing is ever run without.
var ErrNoJail = errors.New("this host cannot confine programs")

// jail runs one program that sees its own libraries, one input file and one output folder; no network, no
// other process, no privilege.
//
// As root the namespaces are made with root's rights and the program runs as an unprivileged user of the
// host, so that it works where user namespaces are switched off. Otherwise a user namespace is needed.
type jail struct {
	uid       int // of the program when we are root
	root      bool
	fileBytes int64 // largest file that it may write
	memory    int64 // address space in bytes
	cpu       time.Duration
	grace     time.Duration // after it was killed, for its pipes
}

// Paths inside the jail.
const (
	jailIn  = "/in"
	jailOut = "/out"
)

// command gives the command line that runs program in the jail.
func (j jail) command(in, outDir, program string, args ...string) ([]string, error) {
	path, err := exec.LookPath(program)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNoJail, err)
	}
	c := []string{
		"prlimit", "--core=0", "--nofile=64",
		"--as=" + strconv.FormatInt(j.memory, 10), "--fsize=" + strconv.FormatInt(j.fileBytes, 10),
		"--cpu=" + strconv.FormatInt(int64(j.cpu/time.Second), 10), "--",
		"bwrap", "--unshare-ipc", "--unshare-pid", "--unshare-net", "--unshare-uts", "--unshare-cgroup-try",
		"--die-with-parent", "--new-session", "--clearenv", "--setenv", "LC_ALL", "C", "--cap-drop", "ALL",
	}
	var inside []string
	if j.root {
		setpriv, err := exec.LookPath("setpriv")
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrNoJail, err)
		}
		c = append(c, "--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID", "--cap-add", "CAP_SETPCAP")
		inside = []string{
			"/bin/setpriv", "--reuid=" + strconv.Itoa(j.uid), "--regid=" + strconv.Itoa(j.uid), "--clear-groups",
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
	if in != "" {
		c = append(c, "--ro-bind", in, jailIn, "--bind", outDir, jailOut)
	}
	c = append(c, "--remount-ro", "/", "--chdir", "/", "--")
	return append(append(append(c, inside...), "/bin/"+program), args...), nil
}

// run runs the program; its standard output goes to stdout. When ctx ends it is killed with all that it began.
func (j jail) run(ctx context.Context, in, outDir string, stdout io.Writer, program string, args ...string) error {
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
	cmd.WaitDelay = j.grace
	stderr := &tail{max: 4 << 10}
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

// tail keeps the end of what is written to it.
type tail struct {
	bytes.Buffer
	max int
}

func (t *tail) Write(b []byte) (int, error) {
	n, err := t.Buffer.Write(b)
	if over := t.Len() - t.max; over > 0 {
		t.Next(over)
	}
	return n, err
}
