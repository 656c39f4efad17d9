package zone

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"karri.dev/internal/chunks"
	"karri.dev/internal/nbd"
	"karri.dev/internal/object"
	"karri.dev/internal/resource"
	"karri.dev/internal/sparse"
	"karri.dev/internal/store"
)

// A volume of a snapshot is there at once: its file is an empty qcow2 over the snapshot's blocks, which we serve, to be
// read only, by NBD; a machine's hypervisor reads through it and copies the rest meanwhile (compute.Disk.BaseExport).
// Until the store says that this is done (Volume.Base is nil) the blocks are kept, whatever becomes of the snapshot
// (chunks.Live). Nothing that a guest writes goes through here, so our end and our coming back lose nothing: QEMU
// waits for us and asks again.

const basePrefix = "base-"

// baseExport is the name under which what is below a volume is served.
func baseExport(volume string) string { return basePrefix + volume }

// fillable says that a volume lies over blocks that are served, and copied into it.
func fillable(v *resource.Volume) bool { return v.Base != nil && v.Base.Format == chunks.Format }

// ServeDisks serves, to this host's own node, what it asks for of volumes.
func (z *Zone) ServeDisks(ctx context.Context, conn net.Conn) error {
	return nbd.Serve(ctx, conn, func(ctx context.Context, name string) (nbd.Export, error) {
		id, ok := strings.CutPrefix(name, basePrefix)
		v := store.Volumes.Get(z.deps.Store.Snapshot(), id)
		if !ok || v == nil || v.Zone != z.cfg.Name || !fillable(v) || z.deps.Chunks == nil {
			return nbd.Export{}, fmt.Errorf("%s: %w", name, nbd.ErrUnknown)
		}
		disk, err := z.deps.Chunks.Open(ctx, v.Base.Key, v.Base.VirtualSize)
		if err != nil {
			return nbd.Export{}, err
		}
		return nbd.Export{Disk: &patient{disk, z, v.ID, ctx}, Backing: true}, nil
	})
}

const (
	readPatience = 5 * time.Minute // with objects that cannot be read
	readPause    = time.Second
)

// patient is a disk that is read again where that fails for a reason that may pass: a guest that waits is better off
// than one that gets an error.
type patient struct {
	sparse.Disk
	z      *Zone
	volume string
	ctx    context.Context // of the connection
}

// ReadAt implements sparse.Disk.
func (p *patient) ReadAt(b []byte, off int64) (n int, err error) {
	for end := p.z.deps.Now().Add(readPatience); ; {
		n, err = p.Disk.ReadAt(b, off)
		if err == nil || n == len(b) || errors.Is(err, chunks.ErrDamaged) || errors.Is(err, object.ErrNotFound) || p.ctx.Err() != nil || p.z.deps.Now().After(end) {
			break
		}
		p.z.deps.Log.Warn("what is below a volume cannot be read, will try again", "volume", p.volume, "error", err)
		select {
		case <-time.After(readPause):
		case <-p.ctx.Done():
		}
	}
	if err != nil && n < len(b) {
		p.z.deps.Log.Error("what is below a volume cannot be read", "volume", p.volume, "at", off, "error", err)
	}
	return n, err
}
