package qemu

import (
	"context"
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"karri.dev/internal/qmp"
)

// Encrypted volumes: between a volume's file and its format lies a LUKS container, which QEMU opens with a key that is
// an object of it for as long as that takes. A key is in no command line and in no file on a disk.

const luksSuffix = ".luks"

func keyID(disk string) string { return disk + ".key" }

func luksNode(disk string) map[string]any {
	return map[string]any{"driver": "luks", "node-name": disk + luksSuffix, "key-secret": keyID(disk), "file": disk + ".file"}
}

// keyFile gives a key in a file in memory, for QEMU's command line to name.
func keyFile(key string) (*os.File, error) {
	fd, err := unix.MemfdCreate("key", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("key: %w", err)
	}
	f := os.NewFile(uintptr(fd), "key")
	if _, err := f.WriteString(key); err != nil {
		f.Close()
		return nil, fmt.Errorf("key: %w", err)
	}
	return f, nil
}

// giveKey tells a running QEMU a key.
func giveKey(ctx context.Context, c *qmp.Client, disk, key string) error {
	if err := dropKey(ctx, c, disk); err != nil {
		return err
	}
	return c.Do(ctx, "object-add", map[string]any{"qom-type": "secret", "id": keyID(disk), "data": key}, nil)
}

// dropKey makes QEMU forget it; a container that is open stays so.
func dropKey(ctx context.Context, c *qmp.Client, disk string) error {
	err := c.Do(ctx, "object-del", map[string]any{"id": keyID(disk)}, nil)
	if err != nil && strings.Contains(err.Error(), "not found") {
		return nil
	}
	return err
}
