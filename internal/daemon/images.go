package daemon

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"karri.dev/internal/admin"
	"karri.dev/internal/importer"
	"karri.dev/internal/resource"
	"karri.dev/internal/store"
)

// SaveImage asks for an image's disk in a new file on this machine.
type SaveImage struct{ ID, Path string }

func (p *cloudProcess) imageMethods() map[string]admin.Method {
	return map[string]admin.Method{"image-save": admin.Handle(p.saveImage), "image-default": admin.Handle(p.imageDefaults)}
}

// saveImage writes an image's data to a file that must not be there, and gives its format.
func (p *cloudProcess) saveImage(ctx context.Context, in SaveImage) (string, error) {
	img := store.Images.Get(p.store.Snapshot(), in.ID)
	switch {
	case img == nil || img.State != resource.ImageAvailable:
		return "", fmt.Errorf("there is no image %s, or it is not available", in.ID)
	case img.Data.Key == "":
		return "", fmt.Errorf("the image %s has its disk in the snapshot %s, which cannot be read here", in.ID, img.SnapshotID)
	case !filepath.IsAbs(in.Path):
		return "", errors.New("the path must be absolute")
	}
	o, err := p.objects.Get(ctx, importer.Bucket, img.Data.Key, "")
	if err != nil {
		return "", fmt.Errorf("read the image: %w", err)
	}
	defer o.Close()
	body, err := o.Range(0, o.Meta().Size)
	if err != nil {
		return "", err
	}
	defer body.Close()
	f, err := os.OpenFile(in.Path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return "", err
	}
	_, err = io.Copy(f, body)
	if err = errors.Join(err, f.Close()); err != nil {
		os.Remove(in.Path)
		return "", fmt.Errorf("write the image: %w", err)
	}
	return img.Data.Format, nil
}
