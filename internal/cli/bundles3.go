package cli

import (
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"karri.dev/internal/bundle"
	"karri.dev/internal/s3client"
)

// location parts "bucket/prefix".
func location(b string) (bucket, prefix string) {
	bucket, prefix, _ = strings.Cut(strings.Trim(b, "/"), "/")
	return bucket, prefix
}

func uploadBundleCommand() *cobra.Command {
	var where, manifest string
	c := &cobra.Command{
		Use: "upload-bundle -b BUCKET[/PREFIX] -m MANIFEST", Short: "Upload a bundle to S3: the parts, then the manifest", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			m, raw, err := openManifest(manifest)
			if err != nil {
				return err
			}
			s3, err := s3client.FromEnvironment(os.Getenv)
			if err != nil {
				return err
			}
			bucket, prefix := location(where)
			if err := s3.Create(c.Context(), bucket); err != nil {
				return err
			}
			for _, p := range m.Parts {
				data, err := os.ReadFile(filepath.Join(filepath.Dir(manifest), p.Name))
				if err != nil {
					return err
				}
				if err := s3.Put(c.Context(), bucket, path.Join(prefix, p.Name), data); err != nil {
					return err
				}
			}
			key := path.Join(prefix, filepath.Base(manifest))
			if err := s3.Put(c.Context(), bucket, key, raw); err != nil {
				return err
			}
			fmt.Fprintln(c.OutOrStdout(), bucket+"/"+key)
			return nil
		},
	}
	c.Flags().StringVarP(&where, "bucket", "b", "", "the bucket, made if it is not there, and a prefix")
	c.Flags().StringVarP(&manifest, "manifest", "m", "", "the manifest; its parts lie beside it")
	required(c, "bucket", "manifest")
	return c
}

func required(c *cobra.Command, names ...string) {
	for _, n := range names {
		if err := c.MarkFlagRequired(n); err != nil {
			panic(err) // the flag is defined beside
		}
	}
}

// fetchManifest reads a bundle's manifest from S3.
func fetchManifest(c *cobra.Command, s3 *s3client.Client, bucket, key string) (*bundle.Manifest, []byte, error) {
	body, err := s3.Get(c.Context(), bucket, key)
	if err != nil {
		return nil, nil, err
	}
	defer body.Close()
	raw, err := io.ReadAll(io.LimitReader(body, bundle.MaxManifest+1))
	if err != nil {
		return nil, nil, err
	}
	m, err := bundle.Parse(raw)
	return m, raw, err
}

func downloadBundleCommand() *cobra.Command {
	var where, manifest, out string
	c := &cobra.Command{
		Use: "download-bundle -b BUCKET[/PREFIX] -m NAME.manifest.xml -d DIR", Short: "Download a bundle from S3", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			s3, err := s3client.FromEnvironment(os.Getenv)
			if err != nil {
				return err
			}
			bucket, prefix := location(where)
			m, raw, err := fetchManifest(c, s3, bucket, path.Join(prefix, manifest))
			if err != nil {
				return err
			}
			if err := os.MkdirAll(out, 0o700); err != nil {
				return err
			}
			for _, p := range m.Parts { // names were checked: they lead nowhere else
				if err := download(c, s3, bucket, path.Join(prefix, p.Name), filepath.Join(out, p.Name)); err != nil {
					return err
				}
			}
			to := filepath.Join(out, filepath.Base(manifest))
			if err := os.WriteFile(to, raw, 0o600); err != nil {
				return err
			}
			fmt.Fprintln(c.OutOrStdout(), to)
			return nil
		},
	}
	c.Flags().StringVarP(&where, "bucket", "b", "", "the bucket and prefix")
	c.Flags().StringVarP(&manifest, "manifest", "m", "", "the manifest's name in it")
	c.Flags().StringVarP(&out, "destination", "d", ".", "the folder for the bundle")
	required(c, "bucket", "manifest")
	return c
}

func download(c *cobra.Command, s3 *s3client.Client, bucket, key, to string) error {
	body, err := s3.Get(c.Context(), bucket, key)
	if err != nil {
		return err
	}
	defer body.Close()
	f, err := os.Create(to)
	if err != nil {
		return err
	}
	defer f.Close()
	if _, err := io.Copy(f, body); err != nil {
		return fmt.Errorf("download %s: %w", key, err)
	}
	return f.Close()
}

func deleteBundleCommand() *cobra.Command {
	var where, manifest string
	c := &cobra.Command{
		Use: "delete-bundle -b BUCKET[/PREFIX] -m NAME.manifest.xml", Short: "Delete a bundle from S3", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			s3, err := s3client.FromEnvironment(os.Getenv)
			if err != nil {
				return err
			}
			bucket, prefix := location(where)
			key := path.Join(prefix, manifest)
			m, _, err := fetchManifest(c, s3, bucket, key)
			if err != nil {
				return err
			}
			for _, p := range m.Parts {
				if err := s3.Delete(c.Context(), bucket, path.Join(prefix, p.Name)); err != nil {
					return err
				}
			}
			return s3.Delete(c.Context(), bucket, key) // last: it names the others
		},
	}
	c.Flags().StringVarP(&where, "bucket", "b", "", "the bucket and prefix")
	c.Flags().StringVarP(&manifest, "manifest", "m", "", "the manifest's name in it")
	required(c, "bucket", "manifest")
	return c
}
