package qemu

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// maxErrors bounds what QEMU may write to its standard error in its life.
const maxErrors = 64 << 10

// errorLog gives a file in memory that cannot grow: a guest that makes QEMU complain forever fills nothing.
func errorLog() (*os.File, error) {
	fd, err := unix.MemfdCreate("qemu-stderr", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err != nil {
		return nil, fmt.Errorf("error log: %w", err)
	}
	f := os.NewFile(uintptr(fd), "stderr")
	if err := f.Truncate(maxErrors); err == nil {
		_, err = unix.FcntlInt(f.Fd(), unix.F_ADD_SEALS, unix.F_SEAL_GROW|unix.F_SEAL_SHRINK|unix.F_SEAL_SEAL)
		if err != nil {
			f.Close()
			return nil, fmt.Errorf("error log: %w", err)
		}
	}
	return f, nil
}

// lastErrors gives the end of what QEMU said on its standard error.
func lastErrors(f *os.File) string {
	if f == nil {
		return ""
	}
	b := make([]byte, maxErrors)
	n, _ := f.ReadAt(b, 0)
	s := strings.TrimSpace(string(bytes.TrimRight(b[:n], "\x00")))
	if len(s) > 512 {
		s = "…" + s[len(s)-512:]
	}
	return s
}

// listen makes the QMP socket. QEMU inherits it, so it can be connected to at once, and QEMU needs no
// right to the directory.
func listen(dir string) (*os.File, error) {
	var f *os.File
	err := atSocket(dir, func(path string) error {
		if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
		fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return err
		}
		f = os.NewFile(uintptr(fd), "qmp")
		if err := unix.Bind(fd, &unix.SockaddrUnix{Name: path}); err != nil {
			f.Close()
			return err
		}
		if err := unix.Listen(fd, 1); err != nil {
			f.Close()
			return err
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("qmp socket: %w", err)
	}
	return f, nil
}

// listening says whether a process holds the QMP socket of the machine in dir.
func listening(dir string) bool {
	return atSocket(dir, func(path string) error {
		fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		if err := unix.Connect(fd, &unix.SockaddrUnix{Name: path}); err != nil && !errors.Is(err, unix.EAGAIN) { // a full backlog
			return err
		}
		return nil
	}) == nil
}

// atSocket calls do with a path of the QMP socket that is short enough for the kernel, whatever the
// directory's own is.
func atSocket(dir string, do func(path string) error) error {
	fd, err := unix.Open(dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	return do(fmt.Sprintf("/proc/self/fd/%d/%s", fd, socketFile))
}

// jail is how a hypervisor process is kept apart.
type jail struct {
	uid    int   // 0 = stay who we are
	groups []int // supplementary
	netns  bool  // an empty network namespace of its own
}

// launch starts a program in the jail: own session, no capabilities, no way to gain any, no core dumps.
// Identities are dropped before exec, so no instruction of it ever runs with ours.
func launch(j jail, path string, args, env []string, stderr *os.File, files []*os.File) (*process, error) {
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	defer null.Close()
	fds := []uintptr{null.Fd(), stderr.Fd(), stderr.Fd()}
	for _, f := range files {
		fds = append(fds, f.Fd())
	}
	sys := &syscall.SysProcAttr{Setsid: true}
	if j.netns {
		sys.Cloneflags = unix.CLONE_NEWNET
	}
	if j.uid != 0 {
		sys.Credential = &syscall.Credential{Uid: uint32(j.uid), Gid: uint32(j.uid)}
		for _, g := range j.groups {
			sys.Credential.Groups = append(sys.Credential.Groups, uint32(g))
		}
	}
	type result struct {
		pid int
		err error
	}
	started := make(chan result)
	go func() {
		// no_new_privs is a thread's and is inherited: set it on one that dies with this goroutine, since
		// it is locked to it to the end.
		runtime.LockOSThread()
		if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
			started <- result{err: fmt.Errorf("no_new_privs: %w", err)}
			return
		}
		pid, _, err := syscall.StartProcess(path, append([]string{path}, args...), &syscall.ProcAttr{Dir: "/", Env: env, Files: fds, Sys: sys})
		started <- result{pid, err}
	}()
	r := <-started
	runtime.KeepAlive(files)
	runtime.KeepAlive(stderr)
	if r.err != nil {
		return nil, fmt.Errorf("start %s: %w", path, r.err)
	}
	// Not reaped yet, so the pid is still its own.
	id, err := identify(r.pid)
	if err != nil {
		return nil, fmt.Errorf("process %d: %w", r.pid, err)
	}
	p, err := openProcess(id)
	if err != nil {
		syscall.Wait4(r.pid, nil, syscall.WNOHANG, nil)
		return nil, fmt.Errorf("%s ended at once: %s", path, lastErrors(stderr))
	}
	unix.Prlimit(r.pid, unix.RLIMIT_CORE, &unix.Rlimit{}, nil) // a dump would hold the guest's memory
	// When memory runs out, a guest goes before Karri.
	os.WriteFile(fmt.Sprintf("/proc/%d/oom_score_adj", r.pid), []byte("200"), 0)
	return p, nil
}
