package importer

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"path"
	"sort"

	"karri.dev/internal/importmanifest"
	"karri.dev/internal/object"
	"karri.dev/internal/resource"
	"karri.dev/internal/store"
)

// errWaiting says that parts of a disk are still to be uploaded.
var errWaiting = errors.New("not all parts are uploaded")

// file is a disk image's file in S3.
type file interface {
	object.Ranger
	Size() int64
	Close() error
}

// file opens a disk's file: an object, or the parts of a manifest.
func (im *Importer) file(ctx context.Context, account string, disk resource.ImportDisk) (file, error) {
	o, err := im.object(ctx, account, disk)
	if err != nil || disk.Manifest == "" {
		return &parts{list: []object.Object{o}, ends: ends(o)}, err
	}
	defer o.Close()
	body, err := o.Range(0, min(o.Meta().Size, importmanifest.MaxBytes+1))
	if err != nil {
		return nil, err
	}
	raw, err := io.ReadAll(body)
	if err = errors.Join(err, body.Close()); err != nil {
		return nil, err
	}
	if sum := sha256.Sum256(raw); hex.EncodeToString(sum[:]) != disk.Manifest {
		return nil, &BadImage{Reason: "The manifest was changed after the import was asked for"}
	}
	m, err := importmanifest.Parse(raw)
	var bad *importmanifest.Invalid
	if errors.As(err, &bad) {
		return nil, &BadImage{Reason: bad.Reason}
	}
	if err != nil {
		return nil, err
	}
	b := store.Buckets.Get(im.deps.Store.Snapshot(), disk.Bucket)
	if b == nil || b.System || b.AccountID != account {
		return nil, &BadImage{Reason: fmt.Sprintf("The bucket %s does not exist or is not the account's", disk.Bucket)}
	}
	f := &parts{}
	for n, p := range m.Parts {
		o, err := im.deps.Objects.Get(ctx, b.Engine, p.Key, "")
		if errors.Is(err, object.ErrNotFound) {
			err = fmt.Errorf("%w: %d of %d, %s is not there", errWaiting, n, len(m.Parts), path.Base(p.Key))
		}
		if err == nil && o.Meta().Size != p.Size {
			err = errors.Join(&BadImage{Reason: fmt.Sprintf("Part %d has %d bytes, and %d in the manifest", n, o.Meta().Size, p.Size)}, o.Close())
		}
		if err != nil {
			return nil, errors.Join(err, f.Close())
		}
		f.list = append(f.list, o)
		f.ends = append(f.ends, f.Size()+p.Size)
	}
	return f, nil
}

// parts are objects one after the other.
type parts struct {
	list []object.Object
	ends []int64
}

func ends(o object.Object) []int64 {
	if o == nil {
		return nil
	}
	return []int64{o.Meta().Size}
}

func (p *parts) Size() int64 {
	if len(p.ends) == 0 {
		return 0
	}
	return p.ends[len(p.ends)-1]
}

func (p *parts) Close() (err error) {
	for _, o := range p.list {
		if o != nil {
			err = errors.Join(err, o.Close())
		}
	}
	return err
}

// Range implements object.Ranger.
func (p *parts) Range(offset, length int64) (io.ReadCloser, error) {
	out := &joined{}
	for n := sort.Search(len(p.ends), func(i int) bool { return p.ends[i] > offset }); length > 0; n++ {
		if n == len(p.ends) {
			return nil, errors.Join(io.ErrUnexpectedEOF, out.Close())
		}
		start := p.ends[n] - p.list[n].Meta().Size
		size := min(length, p.ends[n]-offset)
		body, err := p.list[n].Range(offset-start, size)
		if err != nil {
			return nil, errors.Join(err, out.Close())
		}
		out.bodies = append(out.bodies, body)
		offset, length = offset+size, length-size
	}
	var readers []io.Reader
	for _, b := range out.bodies {
		readers = append(readers, b)
	}
	out.Reader = io.MultiReader(readers...)
	return out, nil
}

type joined struct {
	io.Reader
	bodies []io.ReadCloser
}

func (j *joined) Close() (err error) {
	for _, b := range j.bodies {
		err = errors.Join(err, b.Close())
	}
	return err
}

// addVolume makes the volume of a task, over the data that was imported.
func (im *Importer) addVolume(tx *store.Tx, t *resource.ImportTask, owned resource.Owned, data resource.ImageData) error {
	v := t.Volumes[0]
	return im.deps.AddVolume(tx, &resource.Volume{
		Owned: owned, ID: v.ID, Zone: v.Zone, SizeGiB: v.SizeGiB, Type: "gp2", State: resource.VolumeCreating,
		Format: "qcow2", Base: &data,
	})
}
