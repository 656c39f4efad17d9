package chunks

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"

	"karri.dev/internal/object"
	"karri.dev/internal/qcow2"
	"karri.dev/internal/resource"
	"karri.dev/internal/sparse"
)

// OpenData opens the data of a snapshot, whether it is kept here or as an image in the bucket for those. It reads until
// ctx ends, and is to be closed.
func (s *Store) OpenData(ctx context.Context, images string, data *resource.ImageData) (sparse.Disk, io.Closer, error) {
	if data.Format == Format {
		d, err := s.Open(ctx, data.Key, data.VirtualSize)
		return d, io.NopCloser(nil), err
	}
	if data.Format != "qcow2" {
		return nil, nil, fmt.Errorf("data of format %q cannot be read", data.Format)
	}
	o, err := s.objects.Get(ctx, images, data.Key, "")
	if err != nil {
		return nil, nil, fmt.Errorf("image data %s: %w", data.Key, err)
	}
	d, err := qcow2.Open(&objectReader{object: o, size: o.Meta().Size}, nil)
	if err != nil {
		o.Close()
		return nil, nil, fmt.Errorf("image data %s: %w", data.Key, err)
	}
	return d, o, nil
}

// objectReader reads an object at any place, some parts of which it keeps.
type objectReader struct {
	object object.Object
	size   int64

	mu    sync.Mutex
	parts [4]struct {
		at   int64
		data []byte
	}
	next int
}

const readPart = 1 << 20

func (r *objectReader) ReadAt(p []byte, off int64) (n int, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for n < len(p) {
		at := off + int64(n)
		if at >= r.size {
			return n, io.EOF
		}
		part, err := r.part(at / readPart * readPart)
		if err != nil {
			return n, err
		}
		n += copy(p[n:], part[at%readPart:])
	}
	return n, nil
}

func (r *objectReader) part(at int64) ([]byte, error) {
	for i := range r.parts {
		if r.parts[i].data != nil && r.parts[i].at == at {
			return r.parts[i].data, nil
		}
	}
	data := make([]byte, min(readPart, r.size-at))
	body, err := r.object.Range(at, int64(len(data)))
	if err != nil {
		return nil, err
	}
	_, err = io.ReadFull(body, data)
	if err = errors.Join(err, body.Close()); err != nil {
		return nil, err
	}
	r.parts[r.next].at, r.parts[r.next].data = at, data
	r.next = (r.next + 1) % len(r.parts)
	return data, nil
}
