package cli

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"karri.dev/internal/bundle"
)

// bundleFlags are the user's and the cloud's certificates, by the names of euca2ools.
type bundleFlags struct{ key, cert, cloud, user string }

func (f *bundleFlags) add(c *cobra.Command) {
	c.Flags().StringVarP(&f.key, "privatekey", "k", os.Getenv("EC2_PRIVATE_KEY"), "your private key, PEM (or EC2_PRIVATE_KEY)")
	c.Flags().StringVarP(&f.cert, "cert", "c", os.Getenv("EC2_CERT"), "your certificate, PEM (or EC2_CERT)")
	c.Flags().StringVar(&f.cloud, "ec2cert", os.Getenv("EUCALYPTUS_CERT"), "the cloud's certificate, PEM (or EUCALYPTUS_CERT)")
	c.Flags().StringVarP(&f.user, "user", "u", os.Getenv("EC2_USER_ID"), "your account's number (or EC2_USER_ID)")
}

// readPEM reads the first block of one of these types.
func readPEM(what, path string, types ...string) ([]byte, error) {
	if path == "" {
		return nil, fmt.Errorf("%s is missing: see --help", what)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", what, err)
	}
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		for _, t := range types {
			if block.Type == t {
				return block.Bytes, nil
			}
		}
	}
	return nil, fmt.Errorf("%s: %s holds no %s in PEM", what, path, types[0])
}

func readCertificate(what, path string) (*x509.Certificate, error) {
	der, err := readPEM(what, path, "CERTIFICATE")
	if err != nil {
		return nil, err
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", what, err)
	}
	return cert, nil
}

func readKey(path string) (*rsa.PrivateKey, error) {
	const what = "your private key (-k)"
	der, err := readPEM(what, path, "PRIVATE KEY", "RSA PRIVATE KEY")
	if err != nil {
		return nil, err
	}
	if key, err := x509.ParsePKCS1PrivateKey(der); err == nil {
		return key, nil
	}
	key, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", what, err)
	}
	if key, ok := key.(*rsa.PrivateKey); ok {
		return key, nil
	}
	return nil, fmt.Errorf("%s is not an RSA key: bundles need one", what)
}

// bundling is what a command that bundles was told.
type bundling struct {
	bundleFlags
	out, prefix, kernel, ramdisk string
	mappings, codes              []string
}

func bundleImageCommand() *cobra.Command {
	var image string
	c := bundleCommand("bundle-image -i FILE -d DIR", "Bundle an image as the classic AMI tools do", func(*cobra.Command, *bundling) (string, func(), error) {
		return image, func() {}, nil
	})
	c.Long = `Compress, encrypt and cut an image into parts, with a signed manifest. The certificate must be one of your
signing certificates (aws iam upload-signing-certificate). With --kernel true the image is a kernel, with --ramdisk true
a ramdisk; else these name the ones with which the image boots.`
	c.Example = `  openssl req -x509 -newkey rsa:2048 -nodes -keyout pk.pem -out cert.pem -subj /CN=me -days 3650
  aws iam upload-signing-certificate --certificate-body file://cert.pem
  karri bundle-image -i disk.raw -d out -k pk.pem -c cert.pem
  karri upload-bundle -b images -m out/disk.raw.manifest.xml
  aws ec2 register-image --name mine --image-location images/disk.raw.manifest.xml`
	c.Flags().StringVarP(&image, "image", "i", "", "the image: a file or a block device")
	return c
}

// bundleCommand makes a command that bundles the image that make gives, a file or a device. done is called afterwards.
func bundleCommand(use, short string, make func(c *cobra.Command, b *bundling) (image string, done func(), err error)) *cobra.Command {
	var b bundling
	c := &cobra.Command{
		Use: use, Short: short, Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			s, err := b.source()
			if err != nil {
				return err
			}
			image, done, err := make(c, &b)
			if err != nil {
				return err
			}
			defer done()
			if s.Name == "" {
				s.Name = filepath.Base(image)
			}
			path, err := b.write(s, image)
			if err == nil {
				fmt.Fprintln(c.OutOrStdout(), path)
			}
			return err
		},
	}
	b.add(c)
	c.Flags().StringVarP(&b.out, "destination", "d", ".", "the folder for the parts and the manifest")
	c.Flags().StringVarP(&b.prefix, "prefix", "p", "", "name of parts and manifest (default: the image's)")
	c.Flags().StringVar(&b.kernel, "kernel", "", "id of the kernel with which the image boots, or true: it is a kernel")
	c.Flags().StringVar(&b.ramdisk, "ramdisk", "", "id of the ramdisk, or true: it is a ramdisk")
	c.Flags().StringArrayVarP(&b.mappings, "block-device-mapping", "B", nil, "VIRTUAL=DEVICE, for example root=/dev/sda1")
	c.Flags().StringArrayVar(&b.codes, "productcodes", nil, "a product code")
	return c
}

// source says how to bundle, all but what.
func (b *bundling) source() (s bundle.Source, err error) {
	s = bundle.Source{Name: b.prefix, User: b.user, Kind: bundle.Machine, Codes: b.codes, Random: rand.Reader}
	switch {
	case b.kernel == "true" && b.ramdisk == "true":
		return s, errors.New("an image is a kernel or a ramdisk, not both")
	case b.kernel == "true":
		s.Kind = bundle.Kernel
	case b.ramdisk == "true":
		s.Kind = bundle.Ramdisk
	default:
		s.Kernel, s.Ramdisk = b.kernel, b.ramdisk
	}
	for _, m := range b.mappings {
		virtual, device, ok := strings.Cut(m, "=")
		if !ok {
			return s, fmt.Errorf("-B %s: want VIRTUAL=DEVICE", m)
		}
		s.Mappings = append(s.Mappings, bundle.Mapping{Virtual: virtual, Device: device})
	}
	if s.Cloud, err = readCertificate("the cloud's certificate (--ec2cert)", b.cloud); err != nil {
		return s, err
	}
	if s.Certificate, err = readCertificate("your certificate (-c)", b.cert); err != nil {
		return s, err
	}
	s.Key, err = readKey(b.key)
	return s, err
}

// write bundles an image and gives the manifest's path.
func (b *bundling) write(s bundle.Source, image string) (string, error) {
	in, err := os.Open(image)
	if err != nil {
		return "", err
	}
	defer in.Close()
	if s.Size, err = in.Seek(0, io.SeekEnd); err != nil { // devices have no size in stat
		return "", err
	}
	if _, err := in.Seek(0, io.SeekStart); err != nil {
		return "", err
	}
	s.Image = io.LimitReader(in, s.Size)
	if err := os.MkdirAll(b.out, 0o700); err != nil {
		return "", err
	}
	manifest, err := bundle.Write(s, func(name string) (io.WriteCloser, error) { return os.Create(filepath.Join(b.out, name)) })
	if err != nil {
		return "", err
	}
	path := filepath.Join(b.out, s.Name+".manifest.xml")
	return path, os.WriteFile(path, manifest, 0o600)
}

// openManifest reads a manifest's file, for use on one's own bundle.
func openManifest(path string) (*bundle.Manifest, []byte, error) {
	raw, err := os.ReadFile(path)
	if err != nil {
		return nil, nil, err
	}
	m, err := bundle.Parse(raw)
	return m, raw, err
}

func unbundleCommand() *cobra.Command {
	var key, manifest, source, out string
	c := &cobra.Command{
		Use: "unbundle -m MANIFEST -k KEY -d DIR", Short: "Make the image of a bundle again, with the key that bundled it", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			m, _, err := openManifest(manifest)
			if err != nil {
				return err
			}
			k, err := readKey(key)
			if err != nil {
				return err
			}
			secret, err := m.Owner(k, rand.Reader)
			if err != nil {
				return err
			}
			if source == "" {
				source = filepath.Dir(manifest)
			}
			path := filepath.Join(out, filepath.Base(m.Name))
			f, err := os.CreateTemp(out, ".unbundle-")
			if err != nil {
				return err
			}
			defer os.Remove(f.Name())
			defer f.Close()
			if err := m.Read(secret, func(name string) (io.ReadCloser, error) { return os.Open(filepath.Join(source, name)) }, f, 1<<50); err != nil {
				return err
			}
			if err := errors.Join(f.Sync(), f.Close()); err != nil {
				return err
			}
			if err := os.Rename(f.Name(), path); err != nil {
				return err
			}
			fmt.Fprintln(c.OutOrStdout(), path)
			return nil
		},
	}
	c.Flags().StringVarP(&key, "privatekey", "k", os.Getenv("EC2_PRIVATE_KEY"), "your private key, PEM (or EC2_PRIVATE_KEY)")
	c.Flags().StringVarP(&manifest, "manifest", "m", "", "the manifest")
	c.Flags().StringVarP(&source, "source", "s", "", "the folder of the parts (default: the manifest's)")
	c.Flags().StringVarP(&out, "destination", "d", ".", "the folder for the image")
	return c
}
