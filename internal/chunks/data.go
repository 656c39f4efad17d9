package chunks

import (
	"context"
	"fmt"
	"io"

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
	d, err := qcow2.Open(object.NewReaderAt(o), nil)
	if err != nil {
		o.Close()
		return nil, nil, fmt.Errorf("image data %s: %w", data.Key, err)
	}
	return d, o, nil
}
