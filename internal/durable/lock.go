package durable

import (
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// ErrLocked says that another process holds a lock.
var ErrLocked = errors.New("it is in use by another process")

// Handover is how long to wait for the lock of a process that may just have been killed: a child that it was about to
// start has the file open until its exec.
const Handover = 2 * time.Second

// Lock opens a file, made if need be, and takes its lock (flock), for which it waits so long at most. The kernel lets go of
// the lock when the process ends, however it ends. The error is ErrLocked if another process keeps it.
func Lock(path string, wait time.Duration) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	for deadline := time.Now().Add(wait); ; time.Sleep(10 * time.Millisecond) {
		switch err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); {
		case err == nil:
			return f, nil
		case !errors.Is(err, unix.EWOULDBLOCK) && !errors.Is(err, unix.EINTR):
			return nil, errors.Join(fmt.Errorf("lock %s: %w", path, err), f.Close())
		case !time.Now().Before(deadline):
			return nil, errors.Join(fmt.Errorf("%s: %w", path, ErrLocked), f.Close())
		}
	}
}
