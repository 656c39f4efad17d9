package membership

import (
	"bytes"
	"context"
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"karri.dev/internal/durable"
	"karri.dev/internal/pki"
)

// Member is a process that belongs to the cloud, with what it needs on its own disk.
type Member struct {
	Identity pki.Identity
	Cloud    string // the API's URL
	Keys     *pki.KeyPair
	Roots    *x509.CertPool

	StoreKeys *pki.KeyPair // zones of a cloud with an embedded store

	dir     string
	welcome Welcome
}

// Cloud is who answers at the API.
var Cloud = pki.Identity{Role: "cloud", Name: "api"}

// state is member.json.
type state struct {
	Cloud   string  `json:"cloud"`
	Welcome Welcome `json:"welcome"`
}

func (m *Member) path(name string) string { return filepath.Join(m.dir, name) }

// Welcome is what the cloud said last.
func (m *Member) Welcome() Welcome { return m.welcome }

// StorePaths gives the files with the zone's certificate for the store (key in the same file) and its root.
func (m *Member) StorePaths() (cert, root string) {
	return m.path("store.pem"), m.path("store-root.pem")
}

// Load reads the membership kept in dir; os.ErrNotExist when the process has not joined.
func Load(dir string) (*Member, error) {
	data, err := os.ReadFile(filepath.Join(dir, "member.json"))
	if err != nil {
		return nil, err
	}
	var s state
	if err := json.Unmarshal(data, &s); err != nil {
		return nil, fmt.Errorf("read membership: %w", err)
	}
	m := &Member{dir: dir, Cloud: s.Cloud, welcome: s.Welcome, Identity: s.Welcome.Identity}
	if m.Keys, err = pki.LoadKeyPair(m.path("member.pem")); err != nil {
		return nil, err
	}
	if len(s.Welcome.StoreCertificate) > 0 {
		if m.StoreKeys, err = pki.LoadKeyPair(m.path("store.pem")); err != nil {
			return nil, err
		}
	}
	return m, m.trust()
}

func (m *Member) trust() error {
	root, err := x509.ParseCertificate(m.welcome.Root)
	if err != nil {
		return fmt.Errorf("the cloud's root certificate: %w", err)
	}
	m.Roots = x509.NewCertPool()
	m.Roots.AddCert(root)
	return nil
}

// Join uses a token at the cloud's API and keeps what it gets in dir. A dir that has a membership already is
// loaded, the token ignored: so a restart with the same command line works.
func Join(ctx context.Context, dir, cloud, token, name string) (*Member, error) {
	if m, err := Load(dir); !errors.Is(err, os.ErrNotExist) {
		return m, err
	}
	if token == "" || cloud == "" {
		return nil, fmt.Errorf("this process has not joined a cloud: give --cloud URL and --join TOKEN (made by `karri token create`)")
	}
	t, err := pki.ParseToken(token)
	if err != nil {
		return nil, err
	}
	u, err := url.Parse(cloud)
	if err != nil || u.Scheme != "https" || u.Host == "" {
		return nil, fmt.Errorf("%q is not the cloud's URL: want https://HOST:8773", cloud)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	m := &Member{dir: dir, Cloud: strings.TrimSuffix(cloud, "/")}
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: pki.PinnedConfig(t.Root, Cloud)}}
	return m, m.exchange(ctx, client, JoinPath, request{Token: token, Name: name})
}

// exchange sends a request with new keys and takes in the answer.
func (m *Member) exchange(ctx context.Context, client *http.Client, path string, r request) error {
	defer client.CloseIdleConnections()
	key, err := pki.NewKey()
	if err != nil {
		return err
	}
	storeKey, err := pki.NewKey()
	if err != nil {
		return err
	}
	if r.Signing, err = pki.Request(key); err != nil {
		return err
	}
	if r.Store, err = pki.Request(storeKey); err != nil {
		return err
	}
	body, err := json.Marshal(r)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, m.Cloud+path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	res, err := client.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(res.Body, 1<<20))
	if err != nil {
		return err
	}
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("the cloud at %s refuses: %s", m.Cloud, bytes.TrimSpace(answer))
	}
	var w Welcome
	if err := json.Unmarshal(answer, &w); err != nil {
		return fmt.Errorf("the cloud's answer: %w", err)
	}
	return m.accept(w, key, storeKey)
}

// accept keeps an answer. member.json comes last: it is what makes the process a member.
func (m *Member) accept(w Welcome, key, storeKey crypto.Signer) error {
	if err := keep(&m.Keys, m.path("member.pem"), key, w.Certificate, w.Root); err != nil {
		return err
	}
	if len(w.StoreCertificate) > 0 {
		if err := keep(&m.StoreKeys, m.path("store.pem"), storeKey, w.StoreCertificate); err != nil {
			return err
		}
		if err := durable.WriteFile(m.path("store-root.pem"), pki.EncodePEM(w.StoreRoot), 0o600); err != nil {
			return err
		}
	}
	m.welcome, m.Identity = w, w.Identity
	data, err := json.Marshal(state{m.Cloud, w})
	if err != nil {
		return err
	}
	if err := durable.WriteFile(m.path("member.json"), data, 0o600); err != nil {
		return err
	}
	return m.trust()
}

func keep(p **pki.KeyPair, path string, key crypto.Signer, chain ...[]byte) (err error) {
	if *p == nil {
		*p, err = pki.NewKeyPair(path, key, chain...)
		return err
	}
	return (*p).Replace(key, chain...)
}

// CloudConfig is for dialling the cloud's API as this member.
func (m *Member) CloudConfig() *tls.Config { return m.Keys.ClientConfig(m.Roots, Cloud) }

// Run renews the certificates when two thirds of their life are over.
func (m *Member) Run(ctx context.Context, log *slog.Logger) error {
	for {
		wait := max(time.Until(m.Keys.RenewAt()), time.Minute)
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(wait):
		}
		if err := m.Renew(ctx); err != nil {
			log.Error("cannot renew the certificates", "error", err, "expires", m.Keys.Leaf().NotAfter)
		}
	}
}

// Renew gets new certificates, and whatever else the cloud says now.
func (m *Member) Renew(ctx context.Context) error {
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: m.CloudConfig()}}
	return m.exchange(ctx, client, RenewPath, request{})
}
