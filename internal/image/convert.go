package image

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"karri.dev/internal/jail"
	"karri.dev/internal/qcow2"
)

// ConverterConfig says how conversions are confined; zero values mean defaults.
type ConverterConfig struct {
	UID     int           // runs qemu-img when we are root; 0 means 65534, nobody
	Memory  int64         // its address space in bytes; 0 means 4 GiB
	MaxTime time.Duration // of one conversion; 0 means 2 hours
	Reserve int64         // bytes that a conversion leaves free on the file system; 0 means 256 MiB
}

// Converter writes disks in the formats of others, by qemu-img in a jail.
type Converter struct {
	cfg ConverterConfig
	log *slog.Logger
}

// NewConverter makes a Converter.
func NewConverter(cfg ConverterConfig, log *slog.Logger) (*Converter, error) {
	if cfg.UID == 0 {
		cfg.UID = jail.Nobody
	}
	if cfg.UID < 0 || cfg.Memory < 0 || cfg.MaxTime < 0 {
		return nil, fmt.Errorf("image converter: negative values in %+v", cfg)
	}
	if cfg.Memory == 0 {
		cfg.Memory = 4 << 30
	}
	if cfg.Reserve == 0 {
		cfg.Reserve = 256 << 20
	}
	if cfg.MaxTime == 0 {
		cfg.MaxTime = 2 * time.Hour
	}
	return &Converter{cfg, log}, nil
}

func (c *Converter) jail(fileBytes int64) jail.Jail {
	return jail.Jail{UID: c.cfg.UID, FileBytes: fileBytes, Memory: c.cfg.Memory, CPU: c.cfg.MaxTime, Grace: 5 * time.Second}
}

// Probe says whether conversions can be confined here: an error wraps jail.ErrNoJail.
func (c *Converter) Probe(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	var out bytes.Buffer
	if err := c.jail(1<<20).Run(ctx, "", "", &out, "qemu-img", "--version"); err != nil {
		return err
	}
	c.log.Debug("conversions are confined", "program", strings.SplitN(out.String(), "\n", 2)[0], "as_root", os.Geteuid() == 0)
	return nil
}

// InspectFile is Inspect on a file.
func InspectFile(path string, format Format, maxSize int64) (Info, error) {
	f, err := os.Open(path)
	if err != nil {
		return Info{}, err
	}
	defer f.Close()
	i, err := f.Stat()
	if err != nil {
		return Info{}, err
	}
	return Inspect(f, i.Size(), format, maxSize)
}

// Export writes the disk of src, a qcow2 file of ours, to dst in another format: Raw, VMDK (stream-optimized) or VHD
// (dynamic). dst is whole when the error is nil, else absent. src's owner and mode may be changed.
func (c *Converter) Export(ctx context.Context, src, format, dst string, progress func(percent int)) error {
	var args []string
	switch Format(format) {
	case Raw:
		args = []string{"-O", "raw"}
	case VMDK:
		args = []string{"-O", "vmdk", "-o", "subformat=streamOptimized"}
	case VHD:
		args = []string{"-O", "vpc", "-o", "subformat=dynamic,force_size=on"}
	default:
		return fmt.Errorf("export image: unknown format %q", format)
	}
	info, err := InspectFile(src, QCOW2, 0)
	if err != nil {
		return fmt.Errorf("export image: %w", err)
	}
	return c.run(ctx, info, src, dst, args, progress)
}

// Copy makes a qcow2 file that stands alone, dst, of an image of which Inspect said info. dst is whole when the error is
// nil, else absent.
func Copy(ctx context.Context, info Info, src, dst string) error {
	in, err := os.Open(src)
	if err != nil {
		return err
	}
	defer in.Close()
	d, err := Open(in, info)
	if err != nil {
		return err
	}
	img, err := qcow2.NewImage(ctx, d, !d.Mapped, func(int) {})
	if err != nil {
		return err
	}
	r := img.Reader(ctx)
	defer r.Close()
	out, err := os.OpenFile(dst, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, r)
	if err = errors.Join(err, out.Close()); err != nil {
		os.Remove(dst)
		return fmt.Errorf("copy the image: %w", err)
	}
	return nil
}

// run runs qemu-img over an image of which Inspect said info. Its output is trusted no more than any other image.
func (c *Converter) run(ctx context.Context, info Info, src, dst string, args []string, progress func(percent int)) error {
	ctx, cancel := context.WithTimeoutCause(ctx, c.cfg.MaxTime, errors.New("it took too long"))
	defer cancel()
	options, err := OpenOptions(info, jail.In)
	if err != nil {
		return err
	}
	if src, err = filepath.Abs(src); err != nil {
		return err
	}
	out, err := filepath.Abs(filepath.Dir(dst))
	if err != nil {
		return err
	}
	if out, err = os.MkdirTemp(out, ".convert-"); err != nil {
		return err
	}
	defer os.RemoveAll(out)
	if err := c.jail(0).Give(src, out); err != nil {
		return err
	}
	// Room for the disk and its tables, about one part in 8,000; but others live on the file system too.
	limit := info.VirtualSize + info.VirtualSize/1000 + 16<<20
	var fs syscall.Statfs_t
	if err := syscall.Statfs(out, &fs); err != nil {
		return err
	}
	free := int64(fs.Bavail)*fs.Bsize - c.cfg.Reserve
	if free <= 0 {
		return syscall.ENOSPC
	}
	err = c.jail(min(limit, free)).Run(ctx, src, out, &percentages{tell: progress}, "qemu-img",
		append(append([]string{"convert", "-p", "--image-opts"}, args...), options, jail.Out+"/disk")...)
	switch {
	case context.Cause(ctx) != nil:
		return context.Cause(ctx)
	case errors.Is(err, jail.ErrNoJail):
		return err
	case err != nil && (free < limit && outgrew(err) || strings.Contains(err.Error(), "No space left")):
		return fmt.Errorf("%w: %w", syscall.ENOSPC, err)
	case err != nil:
		c.log.Warn("qemu-img refuses an image", "format", info.Format, "err", err)
		return invalid("Disk validation failed [the image is damaged: it cannot be converted]")
	}
	if i, err := os.Lstat(filepath.Join(out, "disk")); err != nil || !i.Mode().IsRegular() {
		return errors.Join(err, errors.New("the output is no file"))
	}
	return os.Rename(filepath.Join(out, "disk"), dst)
}

// outgrew says whether the program met its limit of file size: by a signal or an error of write.
func outgrew(err error) bool {
	return strings.Contains(err.Error(), "File too large") || strings.Contains(err.Error(), "file size limit") ||
		strings.Contains(err.Error(), fmt.Sprintf("exit status %d", 128+int(syscall.SIGXFSZ)))
}

// OpenOptions is how QEMU's programs are told to open an image at path of which Inspect said info. They name
// every driver, so that nothing is guessed from what the image contains.
func OpenOptions(info Info, path string) (string, error) {
	file := "file.driver=file,file.filename=" + path
	if info.Offset > 0 {
		at, size := strconv.FormatInt(info.Offset, 10), strconv.FormatInt(info.Length, 10)
		file = "file.driver=raw,file.offset=" + at + ",file.size=" + size + ",file.file.driver=file,file.file.filename=" + path
	}
	switch info.Format {
	case Raw:
		// The window also leaves out a fixed VHD's footer.
		return fmt.Sprintf("driver=raw,offset=%d,size=%d,file.driver=file,file.filename=%s", info.Offset, info.VirtualSize, path), nil
	case QCOW2, VMDK, VHDX:
		return "driver=" + string(info.Format) + "," + file, nil
	case VHD:
		return "driver=vpc,force_size_calc=current_size," + file, nil
	}
	return "", fmt.Errorf("convert image: unknown format %q", info.Format)
}

// percentages reads what qemu-img -p writes: "    (12.34/100%)\r".
type percentages struct {
	tell func(int)
	line []byte
}

func (p *percentages) Write(b []byte) (int, error) {
	for _, c := range b {
		switch {
		case c == '(':
			p.line = p.line[:0]
		case c == '/':
			if v, err := strconv.ParseFloat(string(p.line), 64); err == nil && v >= 0 && v <= 100 && p.tell != nil {
				p.tell(int(v))
			}
		case len(p.line) < 16:
			p.line = append(p.line, c)
		}
	}
	return len(b), nil
}

var _ io.Writer = (*percentages)(nil)
