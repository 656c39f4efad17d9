package cli

import (
	"fmt"
	"log/slog"

	"github.com/spf13/cobra"

	"karri.dev/internal/image/tiny"
)

func imageCommand() *cobra.Command {
	img := &cobra.Command{Use: "image", Short: "Make images"}
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
	build.AddCommand(c)
	img.AddCommand(build)
	return img
}
