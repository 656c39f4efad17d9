// Package block is the engine family that keeps volumes' bytes. A driver keeps the volumes of one zone: file in
// files of the zone's host, fake in no place at all for simulation. The comments on Driver are the contract, and
// blocktest checks it.
package block

import (
	"context"
	"errors"
)

var (
	// ErrNotFound says that the driver has no such volume.
	ErrNotFound = errors.New("no such volume")
	// ErrBusy says that somebody has the volume open.
	ErrBusy = errors.New("the volume is open")
	// ErrNoSpace says that there is no room for it.
	ErrNoSpace = errors.New("no space left")
)

// Formats of volumes.
const (
	Raw   = "raw"   // the file is the disk
	Qcow2 = "qcow2" // the file holds what differs from a base, which is the machine's business
)

// Spec describes a volume.
type Spec struct {
	ID        string // "vol-…", a file name
	SizeBytes int64  // as guests see it: whole MiB, at most 64 TiB
	Format    string
	// Key makes the file a LUKS container with the qcow2 file in it; nil: it is not encrypted.
	Key []byte
}

// Driver keeps volumes. All methods may be called concurrently, and are idempotent; what they have acknowledged
// is durable. A volume reads as zeros (or as its base) where nothing was written, and takes no space there.
type Driver interface {
	// Create makes a volume unless it is there. A crash leaves it whole or not at all.
	Create(ctx context.Context, v Spec) error
	// Grow makes an existing volume as large as said, if it is smaller; it may be open.
	Grow(ctx context.Context, v Spec) error
	// Delete removes a volume with all that is in it; ErrBusy while anybody has it open. Deleting none is no error.
	Delete(ctx context.Context, id string) error
	// List gives the ids of all volumes.
	List(ctx context.Context) ([]string, error)
	// Path gives the file with which a hypervisor on this host opens the volume. Whoever opens it to write locks it
	// (flock, exclusively) and keeps the lock for as long.
	Path(id string) string
	// Copy copies the file of a volume as it is into a file beside the volumes, for a snapshot: ErrBusy while anybody
	// has it open, and nobody can open it meanwhile. A crash leaves the copy whole or not at all; one that is there
	// stays as it is.
	Copy(ctx context.Context, id, name string) error
	// CopyPath gives the path of a copy, also for a hypervisor to make one. Copies that are not whole have a name with a
	// dot in it.
	CopyPath(name string) string
	// Copies gives the names of all copies, also of those that are not whole.
	Copies(ctx context.Context) ([]string, error)
	// DeleteCopy removes a copy; removing none is no error.
	DeleteCopy(ctx context.Context, name string) error
	// Usage gives the bytes that all volumes together may take, and those that they take.
	Usage(ctx context.Context) (total, used int64, err error)
}
