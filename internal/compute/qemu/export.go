package qemu

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"karri.dev/internal/compute"
	"karri.dev/internal/qmp"
)

// How volumes of other hosts get in, and what is below volumes and others serve. A machine's QEMU is in an empty
// network namespace and knows no certificates. For each we listen on a socket in the machine's directory and join what
// connects there to what Config.Dial gives. QEMU connects again when a connection ends, and we listen again when we start anew.

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

// export listens for QEMU's connections to what of a disk others serve.
func (m *machine) export(d compute.Disk) error {
	if err := m.exportOne(d.Name, d.Export); err != nil {
		return err
	}
	return m.exportOne(baseName(d.Name), d.BaseExport)
}

func (m *machine) exportOne(socket, name string) error {
	if name == "" || m.exports[socket] != nil {
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
	path := fmt.Sprintf("/proc/self/fd/%d/%s", dir.Fd(), socket) // short enough, whatever the directory's own is
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
	e := &export{Listener: l, cancel: cancel, conns: map[net.Conn]bool{}}
	m.exports[socket] = e
	m.d.wg.Go(func() {
		defer cancel()
		m.accept(ctx, e, name)
	})
	return nil
}

// export is a listener that ends its connections with itself.
type export struct {
	net.Listener
	cancel context.CancelFunc

	mu    sync.Mutex
	conns map[net.Conn]bool // QEMU's; usually one
}

// reconnect ends the connections. QEMU makes another one at its next request, and learns of a new size by it.
func (e *export) reconnect() {
	e.mu.Lock()
	defer e.mu.Unlock()
	for c := range e.conns {
		c.Close()
	}
}

func (e *export) note(c net.Conn, here bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.conns[c] = true; !here {
		delete(e.conns, c)
	}
}

// growExport makes QEMU see the new size of a volume that another host serves: the server says it to a new connection.
func (m *machine) growExport(ctx context.Context, c *qmp.Client, d compute.Disk) error {
	e := m.exports[d.Name]
	if e == nil {
		return errors.New("nobody listens for it")
	}
	e.reconnect()
	for end := time.Now().Add(growTime); ; {
		// A read makes it connect. It is HMP's, which has no answer for programs.
		ask := map[string]any{"command-line": "qemu-io " + d.Name + ` "read 0 512"`}
		if err := c.Do(ctx, "human-monitor-command", ask, nil); err != nil {
			return err
		}
		err := c.Do(ctx, "block_resize", map[string]any{"node-name": d.Name, "size": d.SizeBytes}, nil)
		if err == nil || time.Now().After(end) {
			return err
		}
		select {
		case <-time.After(200 * time.Millisecond):
		case <-ctx.Done():
			return err
		}
	}
}

// growTime is how long the server may be away meanwhile.
const growTime = 3 * time.Second

func (e *export) Close() error {
	e.cancel()
	return e.Listener.Close()
}

func (m *machine) unexport(disk string) {
	m.unexportOne(disk)
	m.unexportOne(baseName(disk))
}

func (m *machine) unexportOne(socket string) {
	if e := m.exports[socket]; e != nil {
		e.Close()
		delete(m.exports, socket)
	}
}

func (m *machine) accept(ctx context.Context, l *export, name string) {
	stop := context.AfterFunc(ctx, func() { l.Listener.Close() })
	defer stop()
	for {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		m.d.wg.Go(func() {
			l.note(conn, true)
			defer l.note(conn, false)
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
		_, err := io.CopyBuffer(struct{ io.Writer }{to}, struct{ io.Reader }{from}, make([]byte, 256<<10))
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
