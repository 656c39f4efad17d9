package daemon

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"

	"karri.dev/internal/durable"
)

// lock is held on a data directory by the process that serves it. The kernel lets go of it when the process
// ends, however it ends.
type lock struct{ file *os.File }

// acquire takes the data directory for this process and writes its process id there.
func acquire(dir string) (*lock, error) { return acquireIn(dir, durable.Handover) }

func acquireIn(dir string, wait time.Duration) (*lock, error) {
	if err := os.MkdirAll(dir, 0o711); err != nil { // QEMU's user must get to its own files below
		return nil, err
	}
	f, err := durable.Lock(under(dir, "lock"), wait)
	if errors.Is(err, durable.ErrLocked) {
		pid, _ := os.ReadFile(under(dir, "lock"))
		return nil, fmt.Errorf("%s is in use by Karri process %s", dir, strings.TrimSpace(string(pid)))
	}
	if err != nil {
		return nil, err
	}
	if err := errors.Join(f.Truncate(0), write(f, strconv.Itoa(os.Getpid())+"\n")); err != nil {
		f.Close()
		return nil, err
	}
	return &lock{f}, nil
}

func write(f *os.File, s string) error {
	_, err := f.WriteAt([]byte(s), 0)
	return err
}

func (l *lock) release() { l.file.Close() }

// stopHolder ends the process that holds the data directory, if any, and waits until it let go.
func stopHolder(ctx context.Context, dir string) error {
	for asked := false; ; asked = true {
		l, err := acquireIn(dir, 0)
		if err == nil {
			l.release()
			return nil
		}
		if !asked {
			text, readErr := os.ReadFile(under(dir, "lock"))
			pid, convErr := strconv.Atoi(strings.TrimSpace(string(text)))
			if readErr != nil || convErr != nil || pid <= 1 {
				return err
			}
			if err := syscall.Kill(pid, syscall.SIGTERM); err != nil && !errors.Is(err, syscall.ESRCH) {
				return fmt.Errorf("end process %d: %w", pid, err)
			}
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("the process does not end: %w", err)
		case <-time.After(100 * time.Millisecond):
		}
	}
}
