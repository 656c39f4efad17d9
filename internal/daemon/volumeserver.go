package daemon

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"syscall"

	"golang.org/x/sync/errgroup"

	"karri.dev/internal/block/serve"
	"karri.dev/internal/membership"
)

// VolumeServerCommand is the command that runs the zone's server of volumes. The zone starts it.
const VolumeServerCommand = "volume-server"

func volumeServerDir(dataDir string) string { return under(dataDir, "volume-server") }

// VolumeServer serves the volumes of the zone that belongs to the data directory, on the address listen, until the zone
// says that it is to end.
func VolumeServer(ctx context.Context, dataDir, listen string, log *slog.Logger) error {
	dir := volumeServerDir(dataDir)
	l, err := acquire(dir)
	if err != nil {
		return err
	}
	defer l.release()
	own := under(dataDir, "membership")
	m, err := membership.Load(own)
	if err != nil {
		return err
	}
	if m.Identity.Role != "zone" {
		return fmt.Errorf("%s belongs to a %s, not to a zone", dataDir, m.Identity.Role)
	}
	config := &tls.Config{
		MinVersion: tls.VersionTLS13,
		// The zone renews its certificate; we are told by nobody, and connections are rare.
		GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
			now, err := membership.Load(own)
			if err != nil {
				return nil, err
			}
			c := now.Keys.ServerConfig(now.Roots)
			c.DynamicRecordSizingDisabled = true
			return c, nil
		},
	}
	tcp, err := net.Listen("tcp", listen)
	if err != nil {
		return err
	}
	ctx, end := context.WithCancel(ctx)
	defer end()
	s := serve.NewServer(m.Identity.Name, log)
	g, gctx := errgroup.WithContext(ctx)
	g.Go(func() error { return s.Serve(gctx, tcp, config) })
	g.Go(func() error { return s.Control(gctx, under(dir, "control"), end) })
	log.Info("serving volumes", "zone", m.Identity.Name, "listen", listen)
	return ended(ctx, g.Wait())
}

// volumeController makes the zone's end of its server, which is started as a process of its own session: it goes on
// without us.
func volumeController(dataDir, listen string, log *slog.Logger) (*serve.Controller, error) {
	dir := volumeServerDir(dataDir)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	return serve.NewController(under(dir, "control"), func() error {
		out, err := os.OpenFile(under(dir, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
		if err != nil {
			return err
		}
		defer out.Close()
		if fi, err := out.Stat(); err == nil && fi.Size() > maxServerLog {
			if err := out.Truncate(0); err != nil {
				return err
			}
		}
		c := exec.Command("/proc/self/exe", VolumeServerCommand, "--data-dir", dataDir, "--listen", listen)
		c.Stdout, c.Stderr, c.Dir = out, out, "/"
		c.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
		if err := c.Start(); err != nil {
			return err
		}
		log.Info("server of volumes started", "pid", c.Process.Pid, "listen", listen)
		go func() {
			if err := c.Wait(); err != nil {
				log.Warn("server of volumes ended", "error", err)
			}
		}()
		return nil
	}), nil
}

const maxServerLog = 16 << 20

// endVolumeServer ends the server of a data directory, if there is one.
func endVolumeServer(ctx context.Context, dataDir string) error {
	path := under(volumeServerDir(dataDir), "control")
	if _, err := os.Stat(path); errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return serve.NewController(path, nil).End(ctx)
}
