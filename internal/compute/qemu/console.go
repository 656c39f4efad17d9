package qemu

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"karri.dev/internal/qmp"
)

// How the console is kept. QEMU writes it into a ring in its own memory (chardev ringbuf, 1 MiB): bounded,
// no file, and it goes on while no Karri runs. Reading takes bytes out of the ring; what is taken is
// appended to a file that is cut to its last half when it has twice the ring's size. It is taken when
// somebody asks, and for the last time before a QEMU is told to quit; that QEMU pauses instead of exiting
// when its guest powers off leaves the time for it. A QEMU that dies takes the unread part with it.

// drainConsole moves what the ring holds to the machine's file.
func drainConsole(ctx context.Context, c *qmp.Client, dir string) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	const chunk = 256 << 10
	for range consoleRing/chunk + 1 { // a guest may write faster than we read: one ring's worth at most
		var text string
		args := map[string]any{"device": consoleID, "size": chunk, "format": "base64"}
		if err := c.Do(ctx, "ringbuf-read", args, &text); err != nil {
			return err
		}
		b, err := base64.StdEncoding.DecodeString(text)
		if err != nil {
			return fmt.Errorf("console: %w", err)
		}
		if err := appendConsole(filepath.Join(dir, consoleFile), b, consoleRing); err != nil {
			return fmt.Errorf("console: %w", err)
		}
		if len(b) < chunk {
			return nil
		}
	}
	return nil
}

// appendConsole adds to a file that never exceeds 2*limit bytes and keeps at least the last limit ones.
func appendConsole(path string, b []byte, limit int) error {
	if len(b) == 0 {
		return nil
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	fi, err := f.Stat()
	if err == nil && fi.Size()+int64(len(b)) <= int64(2*limit) {
		_, err = f.Write(b)
		return errors.Join(err, f.Close())
	}
	f.Close()
	if err != nil {
		return err
	}
	old, err := readConsole(path, limit)
	if err != nil {
		return err
	}
	whole := append(old, b...)
	if err := os.WriteFile(path+".new", whole[max(0, len(whole)-limit):], 0o600); err != nil {
		os.Remove(path + ".new")
		return err
	}
	return os.Rename(path+".new", path)
}

// readConsole gives the file's last limit bytes; none if there is no file.
func readConsole(path string, limit int) ([]byte, error) {
	f, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	fi, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if _, err := f.Seek(max(0, fi.Size()-int64(limit)), io.SeekStart); err != nil {
		return nil, err
	}
	return io.ReadAll(io.LimitReader(f, int64(limit)))
}
