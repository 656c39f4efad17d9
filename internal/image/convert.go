package image

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// ErrNoSpace says that there was no room for the converted image.
var ErrNoSpace = errors.New("no space left for the converted image")

// ConverterConfig says how conversions are confined; zero values mean defaults.
type ConverterConfig struct {
	UID     int           // runs qemu-img when we are root; 0 means 65534, nobody
	Memory  int64         // its address space in bytes; 0 means 4 GiB
	MaxTime time.Duration // of one conversion; 0 means 2 hours
}

// Converter makes our own qcow2 files from inspected images.
type Converter struct {
	cfg ConverterConfig
	log *slog.Logger
}

// NewConverter makes a Converter.
func NewConverter(cfg ConverterConfig, log *slog.Logger) (*Converter, error) {
	if cfg.UID == 0 {
		cfg.UID = 65534
	}
	if cfg.UID < 0 || cfg.Memory < 0 || cfg.MaxTime < 0 {
		return nil, fmt.Errorf("image converter: negative values in %+v", cfg)
	}
	if cfg.Memory == 0 {
		cfg.Memory = 4 << 30
	}
	if cfg.MaxTime == 0 {
		cfg.MaxTime = 2 * time.Hour
	}
	return &Converter{cfg, log}, nil
}

func (c *Converter) jail(fileBytes int64) jail {
	return jail{
		uid: c.cfg.UID, root: os.Geteuid() == 0, fileBytes: fileBytes, memory: c.cfg.Memory, cpu: c.cfg.MaxTime,
		grace: 5 * time.Second,
	}
}

// Probe says whether conversions can be confined here: an error wraps ErrNoJail.
func (c *Converter) Probe(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	var out bytes.Buffer
	if err := c.jail(1<<20).run(ctx, "", "", &out, "qemu-img", "--version"); err != nil {
		return err
	}
	c.log.Debug("conversions are confined", "program", strings.SplitN(out.String(), "\n", 2)[0], "as_root", os.Geteuid() == 0)
	return nil
}

// Convert writes the image in src, of which Inspect said info, to dst as a qcow2 file without compression.
// progress, if set, is told percentages. dst is whole when it returns nil, else absent. src's owner and
// mode may be changed: it must be a file of ours.
func (c *Converter) Convert(ctx context.Context, src string, info Info, dst string, progress func(percent float64)) (err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, c.cfg.MaxTime, errors.New("the conversion took too long"))
	defer cancel()
	if src, err = filepath.Abs(src); err != nil {
		return err
	}
	out, err := os.MkdirTemp(filepath.Dir(dst), ".convert-")
	if err != nil {
		return fmt.Errorf("convert image: %w", err)
	}
	defer os.RemoveAll(out)
	if out, err = filepath.Abs(out); err != nil {
		return err
	}
	if os.Geteuid() == 0 {
		if err := errors.Join(os.Chown(out, c.cfg.UID, c.cfg.UID), os.Chown(src, c.cfg.UID, c.cfg.UID), os.Chmod(src, 0o400)); err != nil {
			return fmt.Errorf("convert image: %w", err)
		}
	}
	options, err := openOptions(info)
	if err != nil {
		return err
	}
	// Tables add about one part in 8,000.
	limit := info.VirtualSize + info.VirtualSize/1000 + 16<<20
	err = c.jail(limit).run(ctx, src, out, &percentages{tell: progress}, "qemu-img", "convert", "-p", "-W", "-m", "8",
		"--image-opts", "-O", "qcow2", "-o", "compat=1.1,cluster_size=64k", options, jailOut+"/disk")
	switch {
	case context.Cause(ctx) != nil:
		return fmt.Errorf("convert image: %w", context.Cause(ctx))
	case err != nil && (strings.Contains(err.Error(), "No space left") || errors.Is(err, syscall.ENOSPC)):
		return fmt.Errorf("convert image: %w: %w", ErrNoSpace, err)
	case err != nil:
		return fmt.Errorf("convert image: %w", err)
	}
	if err := take(filepath.Join(out, "disk"), info.VirtualSize); err != nil {
		return fmt.Errorf("convert image: %w", err)
	}
	return os.Rename(filepath.Join(out, "disk"), dst)
}

// take makes the program's output ours. It trusts it no more than any other image.
func take(path string, size int64) error {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	i, err := f.Stat()
	if err != nil {
		return err
	}
	if !i.Mode().IsRegular() {
		return errors.New("the output is no file")
	}
	made, err := Inspect(f, i.Size(), QCOW2, math.MaxInt64>>10)
	if err != nil {
		return fmt.Errorf("check the output: %w", err)
	}
	if made.VirtualSize != size {
		return fmt.Errorf("the output has %d bytes, not %d", made.VirtualSize, size)
	}
	return errors.Join(f.Chown(os.Geteuid(), os.Getegid()), f.Chmod(0o600))
}

// openOptions names every driver, so that nothing is guessed from what the image contains.
func openOptions(info Info) (string, error) {
	file := "file.driver=file,file.filename=" + jailIn
	if info.Offset > 0 {
		at, size := strconv.FormatInt(info.Offset, 10), strconv.FormatInt(info.Length, 10)
		file = "file.driver=raw,file.offset=" + at + ",file.size=" + size + ",file.file.driver=file,file.file.filename=" + jailIn
	}
	switch info.Format {
	case Raw:
		// The window also leaves out a fixed VHD's footer.
		return fmt.Sprintf("driver=raw,offset=%d,size=%d,file.driver=file,file.filename=%s", info.Offset, info.VirtualSize, jailIn), nil
	case QCOW2, VMDK, VHDX:
		return "driver=" + string(info.Format) + "," + file, nil
	case VHD:
		return "driver=vpc,force_size_calc=current_size," + file, nil
	}
	return "", fmt.Errorf("convert image: unknown format %q", info.Format)
}

// percentages reads what qemu-img -p writes: "    (12.34/100%)\r".
type percentages struct {
	tell func(float64)
	line []byte
}

func (p *percentages) Write(b []byte) (int, error) {
	for _, c := range b {
		switch {
		case c == '(':
			p.line = p.line[:0]
		case c == '/':
			if v, err := strconv.ParseFloat(string(p.line), 64); err == nil && v >= 0 && v <= 100 && p.tell != nil {
				p.tell(v)
			}
		case len(p.line) < 16:
			p.line = append(p.line, c)
		}
	}
	return len(b), nil
}

var _ io.Writer = (*percentages)(nil)
