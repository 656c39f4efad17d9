package qemu

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/jpeg"
	"io"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"karri.dev/internal/compute"
	"karri.dev/internal/qmp"
)

// maxScreen bounds a picture that QEMU gives, in bytes: QEMU may be in its guest's hands.
const maxScreen = 64 << 20

// Screen implements compute.Driver: QEMU writes the picture into memory of ours, as it can open no file.
func (d *Driver) Screen(ctx context.Context, id string) ([]byte, error) {
	m, err := d.acquire(ctx, id, false)
	if err == nil && m == nil {
		err = compute.ErrNotFound
	}
	if err != nil {
		return nil, fmt.Errorf("screen of %s: %w", id, err)
	}
	defer m.release()
	if m.proc == nil {
		return nil, fmt.Errorf("screen of %s: %w", id, compute.ErrNotFound)
	}
	c, err := m.connected(ctx)
	if err != nil {
		return nil, fmt.Errorf("screen of %s: %w", id, err)
	}
	ppm, err := dump(ctx, c)
	if err != nil {
		return nil, fmt.Errorf("screen of %s: %w", id, err)
	}
	picture, err := readPPM(ppm)
	if err != nil {
		return nil, fmt.Errorf("screen of %s: %w", id, err)
	}
	var out bytes.Buffer
	if err := jpeg.Encode(&out, picture, &jpeg.Options{Quality: 85}); err != nil {
		return nil, fmt.Errorf("screen of %s: %w", id, err)
	}
	return out.Bytes(), nil
}

// dump gives QEMU's picture of the display.
func dump(ctx context.Context, c *qmp.Client) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	fd, err := unix.MemfdCreate("karri-screen", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("make memory for the picture: %w", err)
	}
	f := os.NewFile(uintptr(fd), "screen")
	defer f.Close()
	// QEMU takes a file out of a set only in the mode in which it is open.
	w, err := os.OpenFile(fmt.Sprintf("/proc/self/fd/%d", fd), os.O_WRONLY, 0)
	if err != nil {
		return nil, err
	}
	defer w.Close()
	var set struct {
		ID int `json:"fdset-id"`
	}
	if err := c.DoWithFile(ctx, "add-fd", nil, &set, w); err != nil {
		return nil, err
	}
	defer c.Do(context.WithoutCancel(ctx), "remove-fd", map[string]any{"fdset-id": set.ID}, nil)
	err = c.Do(ctx, "screendump", map[string]any{"filename": fmt.Sprintf("/dev/fdset/%d", set.ID)}, nil)
	var refused *qmp.Error
	if errors.As(err, &refused) && strings.Contains(refused.Desc, "no console") {
		return nil, compute.ErrNoScreen
	}
	if err != nil {
		return nil, err
	}
	return io.ReadAll(io.NewSectionReader(f, 0, maxScreen))
}

// readPPM reads a binary PPM with 8 bits a colour.
func readPPM(b []byte) (image.Image, error) {
	var w, h, most int
	n, err := fmt.Sscanf(string(b[:min(len(b), 64)]), "P6\n%d %d\n%d", &w, &h, &most)
	if err != nil || n != 3 {
		return nil, fmt.Errorf("not a picture of QEMU's: %w", err)
	}
	const widest = 8192
	pixels := fmt.Appendf(nil, "P6\n%d %d\n%d\n", w, h, most)
	if most != 255 || w < 1 || h < 1 || w > widest || h > widest || !bytes.HasPrefix(b, pixels) || len(b)-len(pixels) != 3*w*h {
		return nil, fmt.Errorf("a picture of %d×%d in %d bytes", w, h, len(b))
	}
	b = b[len(pixels):]
	img := image.NewNRGBA(image.Rect(0, 0, w, h))
	for i := range w * h {
		img.SetNRGBA(i%w, i/w, color.NRGBA{b[3*i], b[3*i+1], b[3*i+2], 255})
	}
	return img, nil
}
