package cli

import (
	"fmt"
	"log/slog"

	"github.com/spf13/cobra"

	"karri.dev/internal/image/debian"
	"karri.dev/internal/image/tiny"
)

func imageCommand() *cobra.Command {
	img := &cobra.Command{Use: "image", Short: "Make, check and mend images"}
	build := &cobra.Command{Use: "build", Short: "Build an image from Debian's packages"}
	var o tiny.Options
	c := &cobra.Command{
		Use:   "tiny -o FILE",
		Short: "Build the small guest: Debian's cloud kernel, busybox and dropbear",
		Long: `Build a small bootable disk image from Debian's packages. It takes an address by DHCP, the launch's public
key and user data from the metadata service, and lets that key in by SSH as root and karri.`,
		Example: "  karri image build tiny -o tiny.raw",
		Args:    cobra.NoArgs,
	}
	c.Flags().StringVarP(&o.Out, "output", "o", "", "the disk image to write")
	c.Flags().StringVar(&o.KernelOut, "kernel", "", "also write the kernel to this file")
	c.Flags().StringVar(&o.RamdiskOut, "ramdisk", "", "also write the ramdisk to this file")
	c.Flags().StringVar(&o.CacheDir, "cache", "", "where downloaded packages are kept (default: the user's cache folder)")
	if err := c.MarkFlagRequired("output"); err != nil {
		panic(err) // the flag is defined above
	}
	logged(c, func(log *slog.Logger) error {
		o.Log = log
		if err := tiny.Build(c.Context(), o); err != nil {
			return err
		}
		fmt.Fprintln(c.OutOrStdout(), o.Out)
		return nil
	})
	build.AddCommand(c, buildDebianCommand())
	img.AddCommand(build, imageCheckCommand(), imagePrepareCommand(), imageDefaultCommand())
	return img
}

func buildDebianCommand() *cobra.Command {
	var o debian.Options
	var gib int64
	c := &cobra.Command{
		Use: "debian -o FILE", Short: "Build a full Debian with cloud-init", Args: cobra.NoArgs,
		Long: `Build a Debian cloud image from Debian's packages with mmdebstrap: cloud kernel, systemd, cloud-init, OpenSSH. It boots
by BIOS and UEFI. A name that ends in .qcow2 gives a compressed qcow2 file, any other a raw one.`,
		Example: "  karri image build debian -o debian.qcow2",
	}
	c.Flags().StringVarP(&o.Out, "output", "o", "", "the disk image to write")
	c.Flags().StringVar(&o.Suite, "suite", "bookworm", "Debian's release")
	c.Flags().StringVar(&o.Mirror, "mirror", "", "URL of the packages (default: Debian's own)")
	c.Flags().StringSliceVar(&o.Packages, "include", nil, "further packages")
	c.Flags().StringVar(&o.Archive, "archive", "", "a tar archive of the installed packages that mmdebstrap made before (default: make one)")
	c.Flags().Int64Var(&gib, "size", 2, "size of the disk in GiB")
	c.Flags().StringVar(&o.CacheDir, "cache", "", "where downloaded packages are kept (default: the user's cache folder)")
	if err := c.MarkFlagRequired("output"); err != nil {
		panic(err) // the flag is defined above
	}
	logged(c, func(log *slog.Logger) error {
		o.Log, o.Size = log, gib<<30
		if err := debian.Build(c.Context(), o); err != nil {
			return err
		}
		fmt.Fprintln(c.OutOrStdout(), o.Out)
		return nil
	})
	return c
}
