package cli

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"karri.dev/internal/imagestore"
	"karri.dev/internal/s3client"
)

// catalogueFlags say which catalogue is meant.
type catalogueFlags struct{ at, key string }

func (f *catalogueFlags) add(c *cobra.Command) {
	c.Flags().StringVar(&f.at, "catalogue", os.Getenv("KARRI_CATALOGUE"), "URL or path of the catalogue (or KARRI_CATALOGUE)")
	c.Flags().StringVar(&f.key, "key", os.Getenv("KARRI_CATALOGUE_KEY"), "the public key that must have signed it, base64 (or KARRI_CATALOGUE_KEY)")
}

func (f *catalogueFlags) open(ctx context.Context) (*imagestore.Source, *imagestore.Catalogue, error) {
	if f.at == "" || f.key == "" {
		return nil, nil, errors.New("no catalogue: give --catalogue and --key, or set KARRI_CATALOGUE and KARRI_CATALOGUE_KEY")
	}
	key, err := imagestore.ParseKey(f.key)
	if err != nil {
		return nil, nil, err
	}
	source, err := imagestore.NewSource(f.at, http.DefaultClient)
	if err != nil {
		return nil, nil, err
	}
	c, err := source.Catalogue(ctx, key, time.Now())
	return source, c, err
}

func storeCommand() *cobra.Command {
	store := &cobra.Command{Use: "store", Short: "Install ready-made images from a signed catalogue"}
	store.AddCommand(storeListCommand(), storeInstallCommand(), storeAddCommand(), storeKeyCommand(), storeSignCommand())
	return store
}

func storeListCommand() *cobra.Command {
	var f catalogueFlags
	var asJSON bool
	c := &cobra.Command{
		Use: "list", Short: "List the catalogue's images", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			_, catalogue, err := f.open(c.Context())
			if err != nil {
				return err
			}
			if asJSON {
				return printJSON(c.OutOrStdout(), catalogue.Images)
			}
			w := tabwriter.NewWriter(c.OutOrStdout(), 0, 0, 2, ' ', 0)
			for _, i := range catalogue.Images {
				fmt.Fprintf(w, "%s\t%s\t%s\t%d MiB\t%s\n", i.Name, i.Architecture, i.Format, i.Size>>20, i.Description)
			}
			return w.Flush()
		},
	}
	f.add(c)
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return c
}

func storeInstallCommand() *cobra.Command {
	var f catalogueFlags
	var dir, bucket string
	c := &cobra.Command{
		Use: "install NAME", Short: "Make an image of the catalogue an AMI", Args: cobra.ExactArgs(1),
		Long: `Download an image, check its digest, upload it to S3 and import it; the id of the AMI is printed. A download that was
cut short is continued. The cloud is the one whose karrirc is sourced.`,
		Example: `  export KARRI_CATALOGUE=https://images.example.org/catalogue.json KARRI_CATALOGUE_KEY=…
  karri store list
  karri store install debian-12`,
		RunE: func(c *cobra.Command, args []string) error {
			cloud, err := s3client.FromEnvironment(os.Getenv)
			if err != nil {
				return err
			}
			source, catalogue, err := f.open(c.Context())
			if err != nil {
				return err
			}
			image, err := catalogue.Find(args[0], "x86_64")
			if err != nil {
				return err
			}
			if dir == "" {
				cache, err := os.UserCacheDir()
				if err != nil {
					return fmt.Errorf("no place for downloads (--downloads): %w", err)
				}
				dir = filepath.Join(cache, "karri", "store")
			}
			tell := progress(c.ErrOrStderr())
			path, err := source.Download(c.Context(), image, dir, func(n int64) { tell("downloading "+image.Name, int(n*100/image.Size)) })
			if err != nil {
				return err
			}
			ami, err := installFile(c.Context(), cloud, bucket, path, image, tell)
			if err != nil {
				return err
			}
			fmt.Fprintln(c.OutOrStdout(), ami)
			return nil
		},
	}
	f.add(c)
	c.Flags().StringVar(&dir, "downloads", "", "where downloads are kept (default: the user's cache folder)")
	c.Flags().StringVar(&bucket, "bucket", "", "the bucket by which the image goes into the cloud (default: karri-store-ACCESSKEY, made if it is not there)")
	return c
}

// progress gives a function that says how far something is, at each further percent.
func progress(w io.Writer) func(what string, percent int) {
	var said string
	return func(what string, percent int) {
		if line := fmt.Sprintf("%s: %d %%", what, percent); line != said {
			said = line
			fmt.Fprintln(w, line)
		}
	}
}

// installFile makes an AMI of a file.
func installFile(ctx context.Context, cloud *s3client.Client, bucket, path string, image imagestore.Image, tell func(string, int)) (string, error) {
	if bucket == "" {
		bucket = cloud.OwnBucket("karri-store")
	}
	if err := cloud.Create(ctx, bucket); err != nil {
		return "", err
	}
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	tell("uploading", 0)
	if err := cloud.PutFile(ctx, bucket, image.SHA256, f, image.Size, image.SHA256); err != nil {
		return "", err
	}
	defer cloud.Delete(context.WithoutCancel(ctx), bucket, image.SHA256) //nolint:errcheck // a copy of what the cloud has now
	request := map[string]string{
		"Description": image.Name, "Architecture": image.Architecture, "DiskContainer.1.Format": image.Format,
		"DiskContainer.1.UserBucket.S3Bucket": bucket, "DiskContainer.1.UserBucket.S3Key": image.SHA256,
	}
	if image.BootMode != "" {
		request["BootMode"] = image.BootMode
	}
	var task struct {
		ID string `xml:"importTaskId"`
	}
	if err := cloud.EC2(ctx, "ImportImage", request, &task); err != nil {
		return "", err
	}
	for {
		var list struct {
			Tasks []struct {
				Status   string `xml:"status"`
				Message  string `xml:"statusMessage"`
				Progress string `xml:"progress"`
				Image    string `xml:"imageId"`
			} `xml:"importImageTaskSet>item"`
		}
		if err := cloud.EC2(ctx, "DescribeImportImageTasks", map[string]string{"ImportTaskId.1": task.ID}, &list); err != nil {
			return "", err
		}
		if len(list.Tasks) != 1 {
			return "", fmt.Errorf("the cloud does not know its task %s any more", task.ID)
		}
		t := list.Tasks[0]
		switch t.Status {
		case "completed":
			err := cloud.EC2(ctx, "CreateTags", map[string]string{"ResourceId.1": t.Image, "Tag.1.Key": "Name", "Tag.1.Value": image.Name}, &struct{}{})
			return t.Image, err
		case "deleted":
			return "", fmt.Errorf("import %s: %s", image.Name, t.Message)
		}
		if n, err := strconv.Atoi(t.Progress); err == nil {
			tell("importing", n)
		}
		select {
		case <-ctx.Done():
			return "", ctx.Err()
		case <-time.After(500 * time.Millisecond):
		}
	}
}

func storeKeyCommand() *cobra.Command {
	return &cobra.Command{
		Use: "key FILE", Short: "Make a key that signs catalogues; the public key is printed", Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			public, private, err := ed25519.GenerateKey(rand.Reader)
			if err != nil {
				return err
			}
			der, err := x509.MarshalPKCS8PrivateKey(private)
			if err != nil {
				return err
			}
			f, err := os.OpenFile(args[0], os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
			if err != nil {
				return err
			}
			if err := errors.Join(pem.Encode(f, &pem.Block{Type: "PRIVATE KEY", Bytes: der}), f.Close()); err != nil {
				return err
			}
			fmt.Fprintln(c.OutOrStdout(), imagestore.FormatKey(public))
			return nil
		},
	}
}

func storeSignCommand() *cobra.Command {
	var key string
	c := &cobra.Command{
		Use: "sign CATALOGUE -k KEY", Short: "Check a catalogue and write its signature beside it", Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			der, err := readPEM("the key (-k)", key, "PRIVATE KEY")
			if err != nil {
				return err
			}
			k, err := x509.ParsePKCS8PrivateKey(der)
			if err != nil {
				return fmt.Errorf("read the key: %w", err)
			}
			private, ok := k.(ed25519.PrivateKey)
			if !ok {
				return errors.New("the key is not an ed25519 key: make one with karri store key")
			}
			raw, err := os.ReadFile(args[0])
			if err != nil {
				return err
			}
			sig, err := imagestore.Sign(raw, private, time.Now())
			if err != nil {
				return err
			}
			return os.WriteFile(args[0]+".sig", []byte(sig), 0o644)
		},
	}
	c.Flags().StringVarP(&key, "private", "k", "", "the private key, PEM")
	required(c, "private")
	return c
}
