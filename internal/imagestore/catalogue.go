// Package imagestore reads catalogues of ready-made images, and downloads from them. A catalogue is a JSON document
// with an ed25519 signature beside it: who holds the key says what the images' digests are, and whoever serves the
// files, a mirror too, can change nothing.
package imagestore

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strings"
	"time"
)

// Catalogue is a signed list of images.
type Catalogue struct {
	Version int       `json:"version"` // 1
	Expires time.Time `json:"expires"` // after that it is not believed: an old one may name images with known holes
	Images  []Image   `json:"images"`
}

// Image is one image.
type Image struct {
	Name         string `json:"name"` // "debian-12"
	Description  string `json:"description,omitempty"`
	Architecture string `json:"architecture"` // "x86_64", "arm64"
	Format       string `json:"format"`       // "raw", "qcow2", "vmdk", "vhd", "vhdx", "ova"
	BootMode     string `json:"boot_mode,omitempty"`
	URL          string `json:"url"` // absolute, or relative to the catalogue's own
	Size         int64  `json:"size"`
	SHA256       string `json:"sha256"` // hex, of the file
	User         string `json:"user,omitempty"`
}

// Limits of a catalogue.
const (
	maxCatalogue = 4 << 20
	maxImages    = 10000
	maxImage     = 1 << 40
)

var (
	validName = regexp.MustCompile(`^[a-z0-9][a-z0-9._-]{0,99}$`)
	// ErrSignature says that a catalogue is not signed by the key.
	ErrSignature = errors.New("the catalogue's signature is not of this key")
)

// ParseKey reads a public key: 32 bytes in base64.
func ParseKey(text string) (ed25519.PublicKey, error) {
	b, err := base64.StdEncoding.DecodeString(strings.TrimSpace(text))
	if err != nil || len(b) != ed25519.PublicKeySize {
		return nil, errors.New("the catalogue's key must be 32 bytes in base64, as `karri store key` prints it")
	}
	return b, nil
}

// Parse reads a catalogue that key signed.
func Parse(raw, signature []byte, key ed25519.PublicKey, now time.Time) (*Catalogue, error) {
	sig, err := base64.StdEncoding.DecodeString(strings.TrimSpace(string(signature)))
	if err != nil || !ed25519.Verify(key, raw, sig) {
		return nil, ErrSignature
	}
	c := new(Catalogue)
	d := json.NewDecoder(bytes.NewReader(raw))
	if err := d.Decode(c); err != nil {
		return nil, fmt.Errorf("read the catalogue: %w", err)
	}
	if err := c.check(); err != nil {
		return nil, fmt.Errorf("read the catalogue: %w", err)
	}
	if now.After(c.Expires) {
		return nil, fmt.Errorf("the catalogue expired on %s: get a newer one", c.Expires.Format(time.DateOnly))
	}
	return c, nil
}

func (c *Catalogue) check() error {
	if c.Version != 1 {
		return fmt.Errorf("its version %d is not known: use a newer karri", c.Version)
	}
	if len(c.Images) > maxImages {
		return errors.New("it has too many images")
	}
	seen := map[string]bool{}
	for _, i := range c.Images {
		sum, err := hex.DecodeString(i.SHA256)
		switch {
		case !validName.MatchString(i.Name):
			return fmt.Errorf("the name %q is not valid", i.Name)
		case seen[i.Name+"/"+i.Architecture]:
			return fmt.Errorf("%s for %s is there twice", i.Name, i.Architecture)
		case !slices.Contains([]string{"x86_64", "arm64"}, i.Architecture):
			return fmt.Errorf("%s: the architecture %q is not known", i.Name, i.Architecture)
		case !slices.Contains([]string{"raw", "qcow2", "vmdk", "vhd", "vhdx", "ova"}, i.Format):
			return fmt.Errorf("%s: the format %q is not known", i.Name, i.Format)
		case !slices.Contains([]string{"", "legacy-bios", "uefi"}, i.BootMode):
			return fmt.Errorf("%s: the boot mode %q is not known", i.Name, i.BootMode)
		case err != nil || len(sum) != 32:
			return fmt.Errorf("%s: the digest is no SHA-256", i.Name)
		case i.Size <= 0 || i.Size > maxImage:
			return fmt.Errorf("%s: a size of %d bytes is not possible", i.Name, i.Size)
		case i.URL == "":
			return fmt.Errorf("%s has no URL", i.Name)
		}
		seen[i.Name+"/"+i.Architecture] = true
	}
	return nil
}

// Add writes an image into a catalogue that is yet to be signed, in the place of what has its name and architecture; raw may
// be empty.
func Add(raw []byte, i Image, expires time.Time) ([]byte, error) {
	c := &Catalogue{Version: 1}
	if len(raw) > 0 {
		if err := json.Unmarshal(raw, c); err != nil {
			return nil, err
		}
	}
	c.Expires = expires
	c.Images = slices.DeleteFunc(c.Images, func(old Image) bool { return old.Name == i.Name && old.Architecture == i.Architecture })
	c.Images = append(c.Images, i)
	if err := c.check(); err != nil {
		return nil, err
	}
	out, err := json.MarshalIndent(c, "", "  ")
	return append(out, '\n'), err
}

// Find gives an image by its name.
func (c *Catalogue) Find(name, architecture string) (Image, error) {
	for _, i := range c.Images {
		if i.Name == name && i.Architecture == architecture {
			return i, nil
		}
	}
	return Image{}, fmt.Errorf("the catalogue has no image %q for %s", name, architecture)
}

// Sign checks a catalogue and gives its signature.
func Sign(raw []byte, key ed25519.PrivateKey, now time.Time) (string, error) {
	sig := base64.StdEncoding.EncodeToString(ed25519.Sign(key, raw))
	_, err := Parse(raw, []byte(sig), key.Public().(ed25519.PublicKey), now)
	return sig + "\n", err
}

// Source is where a catalogue is: an http, https or file URL, or a path.
type Source struct {
	at     *url.URL
	client *http.Client
}

// NewSource reads where a catalogue is.
func NewSource(at string, client *http.Client) (*Source, error) {
	u, err := url.Parse(at)
	if err != nil {
		return nil, fmt.Errorf("the catalogue's URL: %w", err)
	}
	if u.Scheme == "" {
		u = &url.URL{Scheme: "file", Path: at}
	}
	if !slices.Contains([]string{"http", "https", "file"}, u.Scheme) {
		return nil, fmt.Errorf("the catalogue's URL: %s is not http, https or file", u.Scheme)
	}
	return &Source{u, client}, nil
}

// Catalogue fetches the catalogue and its signature, which is beside it as NAME.sig.
func (s *Source) Catalogue(ctx context.Context, key ed25519.PublicKey, now time.Time) (*Catalogue, error) {
	raw, err := s.small(ctx, s.at)
	if err != nil {
		return nil, fmt.Errorf("fetch the catalogue: %w", err)
	}
	beside := *s.at
	beside.Path += ".sig"
	sig, err := s.small(ctx, &beside)
	if err != nil {
		return nil, fmt.Errorf("fetch the catalogue's signature: %w", err)
	}
	return Parse(raw, sig, key, now)
}

func (s *Source) small(ctx context.Context, u *url.URL) ([]byte, error) {
	body, _, err := s.open(ctx, u, 0)
	if err != nil {
		return nil, err
	}
	defer body.Close()
	b, err := io.ReadAll(io.LimitReader(body, maxCatalogue+1))
	if err == nil && len(b) > maxCatalogue {
		err = errors.New("it is too large")
	}
	return b, err
}

// open opens a file from an offset, or, if its server cannot do that, from its beginning: from says which.
func (s *Source) open(ctx context.Context, u *url.URL, offset int64) (body io.ReadCloser, from int64, err error) {
	if u.Scheme == "file" {
		f, err := os.Open(u.Path)
		if err != nil {
			return nil, 0, err
		}
		if _, err := f.Seek(offset, io.SeekStart); err != nil {
			f.Close()
			return nil, 0, err
		}
		return f, offset, nil
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return nil, 0, err
	}
	if offset > 0 {
		r.Header.Set("Range", fmt.Sprintf("bytes=%d-", offset))
	}
	resp, err := s.client.Do(r)
	if err != nil {
		return nil, 0, err
	}
	switch {
	case resp.StatusCode == http.StatusOK:
		return resp.Body, 0, nil
	case resp.StatusCode == http.StatusPartialContent && strings.HasPrefix(resp.Header.Get("Content-Range"), fmt.Sprintf("bytes %d-", offset)):
		return resp.Body, offset, nil
	}
	resp.Body.Close()
	return nil, 0, fmt.Errorf("GET %s: %s", u, resp.Status)
}

// FormatKey writes a public key as ParseKey reads it.
func FormatKey(key ed25519.PublicKey) string { return base64.StdEncoding.EncodeToString(key) }
