package qemu

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"karri.dev/internal/compute"
)

// How volumes of other hosts get in. A machine's QEMU is in an empty network namespace and knows no certificates.
// For each such volume we listen on a socket in the machine's directory and join what connects there to what
// Config.Dial gives. QEMU connects again when a connection ends, and we listen again when we start anew.

// openExports makes the directory of the sockets. It is opened for its name only, and QEMU's user may pass through.
func (m *machine) openExports() (*os.File, error) {
	dir := filepath.Join(m.dir, exportsDir)
	if err := os.Mkdir(dir, 0o711); err != nil && !errors.Is(err, os.ErrExist) {
		return nil, err
	}
	fd, err := unix.Open(dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC|unix.O_NOFOLLOW, 0)
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), dir), nil
}

// export listens for QEMU's connections to a volume of another host. Other disks need none.
func (m *machine) export(d compute.Disk) error {
	if d.Export == "" || m.exports[d.Name] != nil {
		return nil
	}
	if m.d.cfg.Dial == nil {
		return errors.New("volumes of other hosts cannot be reached")
	}
	dir, err := m.openExports()
	if err != nil {
		return err
	}
	defer dir.Close()
	path := fmt.Sprintf("/proc/self/fd/%d/%s", dir.Fd(), d.Name) // short enough, whatever the directory's own is
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		return err
	}
	l.SetUnlinkOnClose(false) // the path is another file by then
	if err := os.Chmod(path, 0o666); err != nil {
		l.Close()
		return err
	}
	ctx, cancel := context.WithCancel(m.d.ctx)
	m.exports[d.Name] = &export{l, cancel}
	m.d.wg.Go(func() {
		defer cancel()
		m.accept(ctx, l, d.Export)
	})
	return nil
}

// export is a listener that ends its connections with itself.
type export struct {
	net.Listener
	cancel context.CancelFunc
}

func (e *export) Close() error {
	e.cancel()
	return e.Listener.Close()
}

func (m *machine) unexport(disk string) {
	if e := m.exports[disk]; e != nil {
		e.Close()
		delete(m.exports, disk)
	}
}

func (m *machine) accept(ctx context.Context, l net.Listener, name string) {
	stop := context.AfterFunc(ctx, func() { l.Close() })
	defer stop()
	for {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		m.d.wg.Go(func() {
			if err := m.join(ctx, conn, name); err != nil && ctx.Err() == nil {
				m.d.log.Warn("connection to a volume ended", "machine", m.id, "volume", name, "err", err)
			}
		})
	}
}

// join carries bytes both ways until either end closes.
func (m *machine) join(ctx context.Context, near net.Conn, name string) error {
	defer near.Close()
	dial, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	far, err := m.d.cfg.Dial(dial, name)
	if err != nil {
		return err
	}
	defer far.Close()
	stop := context.AfterFunc(ctx, func() { near.Close(); far.Close() })
	defer stop()
	ended := make(chan error, 2)
	carry := func(to, from net.Conn) {
		_, err := io.Copy(to, from)
		ended <- err
	}
	go carry(far, near)
	go carry(near, far)
	err = <-ended
	near.Close()
	far.Close()
	<-ended
	return err
}
