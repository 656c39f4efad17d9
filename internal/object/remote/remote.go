// Package remote keeps objects' bytes in a bucket of another S3 endpoint (Ceph RGW, SeaweedFS, another Karri), under names
// that say nothing, sealed before they leave. What describes objects (keys, versions, metadata, policies) stays here, in
// the same index that the disk engine has; so this is the disk engine with other files (disk.Files).
//
// A body is sent while it arrives, and nothing of it is kept here: as one upload, or, above singleMax or where the length
// is not known, in parts. The commit that names it follows once the endpoint has acknowledged it. What a crash leaves there
// without a name is found by the collector, and so are uploads that never ended.
package remote

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"karri.dev/internal/aws/sigv4"
	"karri.dev/internal/durable"
	"karri.dev/internal/object"
	"karri.dev/internal/object/disk"
	"karri.dev/internal/s3client"
)

// Config says where the index and the bytes are.
type Config struct {
	Dir      string // of the index
	FS       vfs.FS // of the index; nil is the machine's
	Endpoint string // https://HOST[:PORT]
	Region   string // us-east-1 unless told otherwise
	Bucket   string // it must be there
	// Prefix tells the objects of several clouds in one bucket apart; "" is one that is thrown once and kept in Dir.
	Prefix      string
	Credentials sigv4.Credentials
	HTTP        http.RoundTripper // nil: Transport
	Sealer      disk.Sealer
	Ledger      *object.Ledger
	Now         func() time.Time
	Log         *slog.Logger
}

// Open opens or creates the engine. Close it.
func Open(cfg Config) (*disk.Engine, error) {
	if cfg.Region == "" {
		cfg.Region = "us-east-1"
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	u, err := url.Parse(cfg.Endpoint)
	switch {
	case err != nil:
		return nil, fmt.Errorf("endpoint of the object store: %w", err)
	case u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || strings.Trim(u.Path, "/") != "" || u.RawQuery != "":
		return nil, fmt.Errorf("endpoint of the object store is %q: want https://HOST", cfg.Endpoint)
	case cfg.Bucket == "" || cfg.Credentials.AccessKeyID == "" || cfg.Credentials.Secret == "":
		return nil, errors.New("object store: bucket, access key and secret key are needed")
	case cfg.Sealer == nil:
		return nil, errors.New("object store: bytes do not leave unsealed, and there is no key")
	}
	if cfg.Prefix == "" {
		if cfg.Prefix, err = ownPrefix(cfg.Dir); err != nil {
			return nil, err
		}
	}
	if cfg.HTTP == nil {
		cfg.HTTP = Transport()
	}
	c := &client{s3client.Endpoint{Base: u, Region: cfg.Region, Credentials: cfg.Credentials, Now: cfg.Now, HTTP: &http.Client{Transport: cfg.HTTP, CheckRedirect: func(*http.Request, []*http.Request) error {
		return http.ErrUseLastResponse
	}}}, cfg}
	return disk.Open(disk.Config{
		Dir: cfg.Dir, FS: cfg.FS, Files: &files{client: c, torn: map[uint64][]string{}}, ScrubRate: -1, Sealer: cfg.Sealer, Ledger: cfg.Ledger, Now: cfg.Now, Log: cfg.Log,
	})
}

// Transport makes what carries the requests, for Config.HTTP.
func Transport() *http.Transport {
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.MaxIdleConnsPerHost = 256
	t.ResponseHeaderTimeout = answerTime
	t.DisableCompression = true
	t.ForceAttemptHTTP2 = false
	t.WriteBufferSize, t.ReadBufferSize = 64<<10, 64<<10
	return t
}

// ownPrefix gives the prefix that was thrown when the index was made.
func ownPrefix(dir string) (string, error) {
	name := filepath.Join(dir, "prefix")
	text, err := os.ReadFile(name)
	if err == nil {
		return strings.TrimSpace(string(text)), nil
	}
	if !errors.Is(err, os.ErrNotExist) {
		return "", fmt.Errorf("prefix in the object store: %w", err)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", fmt.Errorf("prefix in the object store: %w", err)
	}
	prefix := "karri-" + hex.EncodeToString(random()) + "/"
	return prefix, durable.WriteFile(name, []byte(prefix+"\n"), 0o600)
}

func random() []byte {
	b := make([]byte, 8)
	rand.Read(b)
	return b
}

// Check asks whether the endpoint answers and lets us in.
func (f *files) Check(ctx context.Context) error {
	_, err := f.client.list(ctx, url.Values{"list-type": {"2"}, "max-keys": {"1"}, "prefix": {f.client.cfg.Prefix}}, new(objectPage))
	return err
}

func (f *files) String() string { return f.client.cfg.Endpoint + "/" + f.client.cfg.Bucket }
