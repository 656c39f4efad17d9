package daemon

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"
	"time"

	"karri.dev/internal/aws/sigv4"
	"karri.dev/internal/object"
	"karri.dev/internal/object/disk"
	"karri.dev/internal/object/remote"
)

// storeFile is what the file of an object store says.
type storeFile struct {
	Endpoint  string `json:"endpoint"`
	Region    string `json:"region"`
	Bucket    string `json:"bucket"`
	AccessKey string `json:"access_key"`
	SecretKey string `json:"secret_key"`
	CA        string `json:"ca"` // file (PEM); "" = the system's
}

var storeName = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,31}$`)

// openStores opens the object stores besides the cloud's own disks.
func (p *cloudProcess) openStores() error {
	p.stores = map[string]*disk.Engine{}
	for _, s := range p.cfg.ObjectStores {
		name, file, _ := strings.Cut(s, "=")
		if !storeName.MatchString(name) || file == "" || p.stores[name] != nil {
			return fmt.Errorf("--object-store %s: want NAME=FILE, each NAME once, of lower-case letters, digits and hyphens", s)
		}
		e, err := p.openObjectStore(name, file)
		if err != nil {
			return fmt.Errorf("object store %s: %w", name, err)
		}
		p.stores[name] = e
		p.closers.add(e.Close)
	}
	return nil
}

func (p *cloudProcess) openObjectStore(name, file string) (*disk.Engine, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var f storeFile
	d := json.NewDecoder(strings.NewReader(string(text)))
	d.DisallowUnknownFields()
	if err := d.Decode(&f); err != nil {
		return nil, fmt.Errorf("read %s: %w", file, err)
	}
	cfg := remote.Config{
		Dir: under(p.cfg.DataDir, "object-stores", name), Endpoint: f.Endpoint, Region: f.Region, Bucket: f.Bucket,
		Credentials: sigv4.Credentials{AccessKeyID: f.AccessKey, Secret: f.SecretKey}, Sealer: p.sealer, Ledger: p.ledger, Now: time.Now, Log: p.log.With("store", name),
	}
	if f.CA != "" {
		pem, err := os.ReadFile(f.CA)
		if err != nil {
			return nil, err
		}
		pool := x509.NewCertPool()
		if !pool.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("%s holds no certificate", f.CA)
		}
		t := remote.Transport()
		t.TLSClientConfig = &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
		cfg.HTTP = http.RoundTripper(t)
	}
	return remote.Open(cfg)
}

// routes leads each bucket to its engine.
func (p *cloudProcess) routes() object.Engine {
	others := make(map[string]object.Engine, len(p.stores))
	for name, e := range p.stores {
		others[name] = e
	}
	return object.Routes{Home: p.objects, Others: others}
}

// engines gives all object engines by name, the cloud's own first.
func (p *cloudProcess) engines(yield func(string, *disk.Engine) bool) {
	if !yield("disk", p.objects) {
		return
	}
	for _, name := range slices.Sorted(maps.Keys(p.stores)) {
		if !yield(name, p.stores[name]) {
			return
		}
	}
}
