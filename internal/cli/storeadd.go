package cli

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"karri.dev/internal/image"
	"karri.dev/internal/imagestore"
)

func storeAddCommand() *cobra.Command {
	var i imagestore.Image
	var days int
	c := &cobra.Command{
		Use: "add CATALOGUE FILE", Short: "Write an image that was downloaded and checked into a catalogue", Args: cobra.ExactArgs(2),
		Long: `Write an entry with the file's size, format and SHA-256 into a catalogue, which is made if it is not there; one of the same
name and architecture is replaced. The file must be the publisher's: check it against his signed digests before. Sign the
catalogue afterwards.`,
		Example: `  karri store add catalogue.json debian-12-genericcloud-amd64.qcow2 --name debian-12 --user debian
  karri store sign catalogue.json -k key.pem`,
		RunE: func(c *cobra.Command, args []string) error {
			f, err := os.Open(args[1])
			if err != nil {
				return err
			}
			defer f.Close()
			format, err := image.Detect(f)
			if err != nil {
				return fmt.Errorf("%s: %w", args[1], err)
			}
			sum := sha256.New()
			if _, err := f.Seek(0, io.SeekStart); err != nil {
				return err
			}
			if i.Size, err = io.Copy(sum, f); err != nil {
				return err
			}
			i.Format, i.SHA256 = string(format), hex.EncodeToString(sum.Sum(nil))
			if i.URL == "" {
				i.URL = filepath.Base(args[1])
			}
			raw, err := os.ReadFile(args[0])
			if err != nil && !errors.Is(err, os.ErrNotExist) {
				return err
			}
			raw, err = imagestore.Add(raw, i, time.Now().UTC().AddDate(0, 0, days).Truncate(time.Second))
			if err != nil {
				return fmt.Errorf("%s: %w", args[0], err)
			}
			part := args[0] + ".part"
			if err := os.WriteFile(part, raw, 0o644); err != nil {
				return err
			}
			return os.Rename(part, args[0])
		},
	}
	c.Flags().StringVar(&i.Name, "name", "", "the image's name in the catalogue")
	c.Flags().StringVar(&i.Description, "description", "", "a line about it")
	c.Flags().StringVar(&i.Architecture, "architecture", "x86_64", "x86_64 or arm64")
	c.Flags().StringVar(&i.BootMode, "boot-mode", "", "legacy-bios (which is also empty) or uefi")
	c.Flags().StringVar(&i.URL, "url", "", "where it is fetched from (default: beside the catalogue)")
	c.Flags().StringVar(&i.User, "user", "", "the user to log in as")
	c.Flags().IntVar(&days, "days", 180, "how long the catalogue is believed from now on")
	required(c, "name")
	return c
}
