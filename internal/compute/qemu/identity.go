package qemu

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// launchEnv marks a machine's process: its value is the machine's directory.
const launchEnv = "KARRI_MACHINE="

// identity names one process for good: pids are reused, and start over with the host.
type identity struct {
	PID   int    `json:"pid"`
	Start uint64 `json:"start"` // clock ticks after boot, from /proc/PID/stat
	Boot  string `json:"boot"`
}

func bootID() (string, error) {
	b, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	return strings.TrimSpace(string(b)), err
}

func identify(pid int) (identity, error) {
	boot, err := bootID()
	if err != nil {
		return identity{}, err
	}
	start, err := startTicks(pid)
	return identity{PID: pid, Start: start, Boot: boot}, err
}

func startTicks(pid int) (uint64, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	return parseStartTicks(b)
}

// parseStartTicks reads field 22. The second field, the program's name in parentheses, may hold anything.
func parseStartTicks(stat []byte) (uint64, error) {
	i := bytes.LastIndexByte(stat, ')')
	if i < 0 {
		return 0, errors.New("stat of a process: no name")
	}
	fields := bytes.Fields(stat[i+1:])
	if len(fields) < 20 {
		return 0, errors.New("stat of a process: too short")
	}
	return strconv.ParseUint(string(fields[19]), 10, 64)
}

// process is a running hypervisor, held by a pidfd: signals and waits cannot hit another one.
type process struct {
	identity
	pidfd *os.File
}

// openProcess gives the process that id names, or os.ErrProcessDone.
func openProcess(id identity) (*process, error) {
	if id.PID <= 1 {
		return nil, os.ErrProcessDone
	}
	fd, err := unix.PidfdOpen(id.PID, unix.PIDFD_NONBLOCK)
	if errors.Is(err, unix.ESRCH) {
		return nil, os.ErrProcessDone
	}
	if err != nil {
		return nil, fmt.Errorf("open process %d: %w", id.PID, err)
	}
	p := &process{identity: id, pidfd: os.NewFile(uintptr(fd), "pidfd")}
	// Looked at after the pidfd was opened, so what is seen belongs to it.
	if now, err := identify(id.PID); err != nil || now != id || p.ended() {
		p.pidfd.Close()
		return nil, os.ErrProcessDone
	}
	return p, nil
}

func readable(fd uintptr) bool {
	n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 0)
	return err == nil && n > 0
}

func (p *process) ended() (ended bool) {
	raw, err := p.pidfd.SyscallConn()
	if err != nil {
		return false
	}
	raw.Control(func(fd uintptr) { ended = readable(fd) })
	return ended
}

// wait returns when the process has ended, with how it did where it is our child. It takes no thread. An
// error means that the pidfd was closed: the process may live on.
func (p *process) wait() (how string, err error) {
	raw, err := p.pidfd.SyscallConn()
	if err != nil {
		return "", err
	}
	if err := raw.Read(readable); err != nil {
		return "", err
	}
	var ws unix.WaitStatus
	pid, err := unix.Wait4(p.PID, &ws, unix.WNOHANG, nil)
	switch {
	case err != nil || pid != p.PID: // not our child: it was adopted
		return "ended", nil
	case ws.Signaled():
		return fmt.Sprintf("was ended by signal %d (%s)", ws.Signal(), unix.SignalName(ws.Signal())), nil
	default:
		return fmt.Sprintf("exited with status %d", ws.ExitStatus()), nil
	}
}

func (p *process) kill() error {
	raw, err := p.pidfd.SyscallConn()
	if err != nil {
		return err
	}
	var sent error
	if err := raw.Control(func(fd uintptr) { sent = unix.PidfdSendSignal(int(fd), unix.SIGKILL, nil, 0) }); err != nil {
		return err
	}
	if errors.Is(sent, unix.ESRCH) {
		return nil
	}
	return sent
}

// findLaunch looks for a process that was started for the machine in dir. It finds one that its driver died
// too early to note.
func findLaunch(dir string) (identity, bool) {
	files, _ := filepath.Glob("/proc/[0-9]*/environ")
	for _, file := range files {
		env, err := os.ReadFile(file)
		if err != nil || !bytes.Contains(append([]byte{0}, env...), []byte("\x00"+launchEnv+dir+"\x00")) {
			continue
		}
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(file)))
		if err != nil {
			continue
		}
		if id, err := identify(pid); err == nil {
			return id, true
		}
	}
	return identity{}, false
}
