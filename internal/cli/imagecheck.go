package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"karri.dev/internal/admin"
	"karri.dev/internal/daemon"
	"karri.dev/internal/image"
	"karri.dev/internal/image/appliance"
	"karri.dev/internal/image/check"
)

// subject is the image that a command is about: a file, or an image of the cloud's on this machine.
type subject struct{ format, dataDir, cache string }

func (s *subject) flags(c *cobra.Command) {
	c.Flags().StringVar(&s.format, "format", "", "raw, qcow2, vmdk, vhd, vhdx or ova (default: by what the file begins with)")
	c.Flags().StringVar(&s.cache, "cache", "", "where downloaded packages are kept (default: the user's cache folder)")
	dataDirFlag(c, &s.dataDir)
}

// open gives the image's file, and what its header says. An image of the cloud's is saved into dir.
func (s *subject) open(ctx context.Context, name, dir string) (string, image.Info, error) {
	path, format := name, image.Format(s.format)
	if strings.HasPrefix(name, "ami-") || strings.HasPrefix(name, "emi-") {
		path = filepath.Join(dir, "image")
		var kind string
		if err := admin.Call(ctx, s.dataDir, "image-save", daemon.SaveImage{ID: "ami-" + name[4:], Path: path}, &kind); err != nil {
			return "", image.Info{}, err
		}
		format = image.Format(kind)
	}
	if format == "" {
		f, err := os.Open(path)
		if err != nil {
			return "", image.Info{}, err
		}
		defer f.Close()
		if format, err = image.Detect(f); err != nil {
			return "", image.Info{}, err
		}
	}
	info, err := image.InspectFile(path, format, 0)
	if err != nil {
		return "", image.Info{}, fmt.Errorf("%s: %w", name, err)
	}
	return path, info, nil
}

func imageCheckCommand() *cobra.Command {
	var s subject
	var asJSON bool
	c := &cobra.Command{
		Use: "check FILE|ami-…", Short: "Say what would stop an image from running as an instance", Args: cobra.ExactArgs(1),
		Long: `Read a disk image, or one of the cloud's images, and print each finding with its remedy: boot loader, drivers, fstab,
network, SSH server, cloud-init. The image's file systems are read inside a small virtual machine. The exit code is 1
if there are errors: the image would not boot, or let nobody in.`,
		Example: "  karri image check server.vmdk",
	}
	s.flags(c)
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	logged(c, func(log *slog.Logger) error {
		name := c.Flags().Arg(0)
		dir, err := os.MkdirTemp("", "karri-check-")
		if err != nil {
			return err
		}
		defer os.RemoveAll(dir)
		path, info, err := s.open(c.Context(), name, dir)
		if err != nil {
			return err
		}
		m, err := appliance.New(c.Context(), s.cache, log)
		if err != nil {
			return err
		}
		r, err := check.Image(c.Context(), m, path, info)
		if err != nil {
			return err
		}
		if asJSON {
			err = printJSON(c.OutOrStdout(), r)
		} else {
			err = printReport(c.OutOrStdout(), name, r)
		}
		if err == nil && r.Errors() > 0 {
			err = fmt.Errorf("%s would not run as an instance", name)
		}
		return err
	})
	return c
}

func printReport(w io.Writer, name string, r *check.Report) error {
	system := r.System
	if system == "" {
		system = "no known system"
	}
	fmt.Fprintf(w, "%s: %s, %.1f GiB, partitions: %s, boots by %s, %s\n", name, r.Format, float64(r.Size)/(1<<30), r.Partitions, r.BootMode, system)
	for _, f := range r.Findings {
		fmt.Fprintf(w, "\n%-7s  %s [%s]\n         remedy: %s\n", f.Severity, f.Message, f.Name, f.Remedy)
		if f.Fixable {
			fmt.Fprintln(w, "         (karri image prepare does that)")
		}
	}
	if len(r.Findings) == 0 {
		fmt.Fprintln(w, "nothing to complain of")
	}
	return nil
}

func imagePrepareCommand() *cobra.Command {
	var s subject
	var out string
	c := &cobra.Command{
		Use: "prepare FILE|ami-… -o FILE", Short: "Make an image fit to run as an instance", Args: cobra.ExactArgs(1),
		Long: `Copy a disk image into a qcow2 file and mend in it what karri image check finds and can be mended. The original stays
as it is. The exit code is 1 if errors remain.`,
		Example: `  karri image prepare server.vmdk -o server.qcow2
  aws s3 cp server.qcow2 s3://disks/
  aws ec2 import-image --disk-containers 'Format=qcow2,UserBucket={S3Bucket=disks,S3Key=server.qcow2}'`,
	}
	s.flags(c)
	c.Flags().StringVarP(&out, "output", "o", "", "the qcow2 file to write")
	if err := c.MarkFlagRequired("output"); err != nil {
		panic(err) // the flag is defined above
	}
	logged(c, func(log *slog.Logger) error { return prepare(c, &s, out, log) })
	return c
}

func prepare(c *cobra.Command, s *subject, out string, log *slog.Logger) error {
	ctx, w := c.Context(), c.OutOrStdout()
	dir, err := os.MkdirTemp(filepath.Dir(out), ".karri-prepare-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	name := c.Flags().Arg(0)
	path, info, err := s.open(ctx, name, dir)
	if err != nil {
		return err
	}
	m, err := appliance.New(ctx, s.cache, log)
	if err != nil {
		return err
	}
	made := filepath.Join(dir, "disk.qcow2")
	if err := image.Copy(ctx, info, path, made); err != nil {
		return err
	}
	if info, err = image.InspectFile(made, image.QCOW2, 0); err != nil {
		return err
	}
	before, err := check.Image(ctx, m, made, info)
	if err != nil {
		return err
	}
	done, err := check.Prepare(ctx, m, made, info, before)
	if err != nil {
		return err
	}
	after, err := check.Image(ctx, m, made, info)
	if err != nil {
		return err
	}
	if err := errors.Join(os.Chmod(made, 0o644), os.Rename(made, out)); err != nil {
		return err
	}
	for _, f := range done {
		fmt.Fprintf(w, "mended   %s [%s]\n", f.Message, f.Name)
	}
	fmt.Fprintln(w)
	if err := printReport(w, out, after); err != nil {
		return err
	}
	if after.Errors() > 0 {
		return fmt.Errorf("%s would still not run as an instance", out)
	}
	return nil
}
