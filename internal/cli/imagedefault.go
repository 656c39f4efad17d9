package cli

import (
	"cmp"
	"fmt"

	"github.com/spf13/cobra"

	"karri.dev/internal/admin"
	"karri.dev/internal/daemon"
)

// imageDefaultCommand sets what boots images that are file systems.
func imageDefaultCommand() *cobra.Command {
	var dir, kernel, ramdisk string
	c := &cobra.Command{
		Use: "default [--kernel ID|none] [--ramdisk ID|none]", Short: "Show and set the kernel and ramdisk that boot bundled file systems", Args: cobra.NoArgs,
		Long: `Show and set the cloud's default kernel and ramdisk. They boot images that are a file system without a boot loader, when
neither the image nor the launch names others. They must be public, since everybody's images boot with them.`,
		Example: "  karri image default --kernel aki-0123456789abcdef0 --ramdisk ari-0123456789abcdef0\n  karri image default --ramdisk none",
		RunE: func(c *cobra.Command, _ []string) error {
			var in, out daemon.ImageDefaults
			if c.Flags().Changed("kernel") {
				in.Kernel = &kernel
			}
			if c.Flags().Changed("ramdisk") {
				in.Ramdisk = &ramdisk
			}
			if err := admin.Call(c.Context(), dir, "image-default", in, &out); err != nil {
				return err
			}
			none := "none"
			fmt.Fprintf(c.OutOrStdout(), "kernel %s\nramdisk %s\n", *cmp.Or(out.Kernel, &none), *cmp.Or(out.Ramdisk, &none))
			return nil
		},
	}
	dataDirFlag(c, &dir)
	c.Flags().StringVar(&kernel, "kernel", "", "id of the kernel, or none")
	c.Flags().StringVar(&ramdisk, "ramdisk", "", "id of the ramdisk, or none")
	return c
}
