package importer

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"syscall"

	"karri.dev/internal/bundle"
	"karri.dev/internal/image"
	"karri.dev/internal/object"
	"karri.dev/internal/resource"
	"karri.dev/internal/sparse"
	"karri.dev/internal/store"
)

// Limits on what is unbundled, in bytes.
const (
	maxKernel  = 256 << 20
	maxRamdisk = 1 << 30
)

// unbundle begins to make the images that wait for their bundles.
func (im *Importer) unbundle(ctx context.Context, work chan struct{}) {
	for img := range store.ImagesBundled.By(im.deps.Store.Snapshot(), "yes") {
		im.mu.Lock()
		_, running := im.running[img.ID]
		im.mu.Unlock()
		if running {
			continue
		}
		if !im.start(ctx, work, img.ID, func(ctx context.Context) { im.carryOutBundle(ctx, img) }) {
			return
		}
	}
}

// carryOutBundle makes one image, or says in it why there is none.
func (im *Importer) carryOutBundle(ctx context.Context, img *resource.Image) {
	log := im.deps.Log.With("image", img.ID, "bundle", img.Location)
	data, fileSystem, err := im.fromBundle(ctx, img)
	var badImage *BadImage
	var badBundle *bundle.Invalid
	reason := ""
	switch {
	case err == nil:
	case ctx.Err() != nil:
		return // we are being stopped: it is done again
	case errors.As(err, &badBundle):
		reason = badBundle.Reason
	case errors.As(err, &badImage):
		reason = badImage.Reason
	case errors.Is(err, object.ErrNoSpace):
		reason = "There is not enough disk space in the cloud for this image"
	case im.again(img.ID):
		log.Warn("bundle is tried again", "error", err)
		return
	default:
		reason = "An internal error has occurred"
	}
	if err != nil {
		log.Warn("bundle refused", "error", err)
	}
	err = im.deps.Store.Update(context.WithoutCancel(ctx), func(tx *store.Tx) error {
		old := store.Images.Get(tx, img.ID)
		if old == nil || old.State != resource.ImagePending {
			return nil // deregistered meanwhile
		}
		next := *old
		next.State, next.StateReason, next.Data, next.FileSystem = resource.ImageAvailable, reason, data, fileSystem
		if reason != "" {
			next.State = resource.ImageFailed
		}
		return store.Images.Put(tx, &next)
	})
	if err != nil {
		log.Error("cannot end a bundle", "error", err)
	}
}

// fromBundle reads the bundle and keeps the image.
func (im *Importer) fromBundle(ctx context.Context, img *resource.Image) (data resource.ImageData, fileSystem bool, err error) {
	if im.deps.Bundles == nil {
		return data, false, &bundle.Invalid{Reason: "This cloud has no certificate for bundles"}
	}
	open := func(key string) (io.ReadCloser, error) {
		b := store.Buckets.Get(im.deps.Store.Snapshot(), img.Bundle.Bucket)
		if b == nil || b.System || b.AccountID != img.AccountID {
			return nil, &bundle.Invalid{Reason: fmt.Sprintf("The bucket %s does not exist or is not the account's", img.Bundle.Bucket)}
		}
		o, err := im.deps.Objects.Get(ctx, b.Engine, key, "")
		if errors.Is(err, object.ErrNotFound) {
			return nil, &bundle.Invalid{Reason: fmt.Sprintf("The object %s does not exist in bucket %s", key, img.Bundle.Bucket)}
		}
		if err != nil {
			return nil, err
		}
		body, err := o.Range(0, o.Meta().Size)
		if err != nil {
			o.Close()
			return nil, err
		}
		return &part{body, o}, nil
	}
	f, err := open(img.Bundle.Manifest)
	if err != nil {
		return data, false, err
	}
	raw, err := io.ReadAll(io.LimitReader(f, bundle.MaxManifest+1))
	f.Close()
	if err != nil {
		return data, false, err
	}
	if sum := sha256.Sum256(raw); hex.EncodeToString(sum[:]) != img.Bundle.SHA256 {
		return data, false, &bundle.Invalid{Reason: "The manifest was changed after the image was registered: register it anew"}
	}
	m, err := bundle.Parse(raw)
	if err != nil {
		return data, false, err
	}
	secret, err := m.Cloud(im.deps.Bundles, rand.Reader)
	if err != nil {
		return data, false, err
	}
	dir := im.scratch(img.ID)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return data, false, spaceError(err)
	}
	defer os.RemoveAll(dir)
	in := filepath.Join(dir, "in")
	limit := int64(image.DefaultMaxSize)
	switch m.Kind {
	case bundle.Kernel:
		limit = maxKernel
	case bundle.Ramdisk:
		limit = maxRamdisk
	}
	w, err := newHoled(in, im.cfg.Reserve)
	if err != nil {
		return data, false, spaceError(err)
	}
	err = m.Read(secret, func(name string) (io.ReadCloser, error) {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		return open(path.Join(path.Dir(img.Bundle.Manifest), name))
	}, w, limit)
	if err := errors.Join(err, w.close()); err != nil {
		return data, false, spaceError(err)
	}
	quiet := func(int) {}
	file, err := os.Open(in)
	if err != nil {
		return data, false, err
	}
	defer file.Close()
	disk, err := sparse.NewFile(file)
	if err != nil {
		return data, false, err
	}
	if m.Kind != bundle.Machine {
		data, err = im.put(ctx, img.ID, file, disk.Size(), quiet)
		data.Format, data.VirtualSize = "raw", data.Size
		return data, false, spaceError(err)
	}
	if _, err := image.Inspect(file, disk.Size(), image.Raw, limit); err != nil {
		return data, false, err
	}
	data, err = im.keep(ctx, img.ID, image.Disk{Disk: disk, Mapped: true}, quiet)
	return data, !w.bootable(), spaceError(err)
}

// part closes the object with its body.
type part struct {
	io.ReadCloser
	o object.Object
}

func (p *part) Close() error { return errors.Join(p.ReadCloser.Close(), p.o.Close()) }

// holed writes a file from its beginning, with holes for zeros, and leaves others their space.
type holed struct {
	f      *os.File
	at     int64
	free   int64
	sector [512]byte // the first
}

func newHoled(path string, reserve int64) (*holed, error) {
	var space syscall.Statfs_t
	if err := syscall.Statfs(filepath.Dir(path), &space); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	return &holed{f: f, free: int64(space.Bavail)*space.Bsize - reserve}, err
}

func (s *holed) Write(b []byte) (int, error) {
	if s.at < int64(len(s.sector)) {
		copy(s.sector[s.at:], b)
	}
	if !sparse.IsZero(b) {
		if s.free -= int64(len(b)); s.free < 0 {
			return 0, syscall.ENOSPC
		}
		if _, err := s.f.WriteAt(b, s.at); err != nil {
			return 0, err
		}
	}
	s.at += int64(len(b))
	return len(b), nil
}

// bootable says whether what was written begins with a boot sector.
func (s *holed) bootable() bool { return s.sector[510] == 0x55 && s.sector[511] == 0xaa }

func (s *holed) close() error { return errors.Join(s.f.Truncate(s.at), s.f.Close()) }
