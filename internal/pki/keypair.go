package pki

import (
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"os"
	"sync/atomic"
	"time"

	"karri.dev/internal/durable"
)

// KeyPair is a certificate in use, which can be replaced by a renewed one without a restart.
type KeyPair struct {
	path    string // "" = memory only
	current atomic.Pointer[tls.Certificate]
}

// NewKeyPair makes a KeyPair. chain is the leaf followed by the root, so that peers that pin the root see it.
func NewKeyPair(path string, key crypto.Signer, chain ...[]byte) (*KeyPair, error) {
	p := &KeyPair{path: path}
	return p, p.Replace(key, chain...)
}

// LoadKeyPair reads one that Replace wrote.
func LoadKeyPair(path string) (*KeyPair, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	cert, err := tls.X509KeyPair(data, data)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	p := &KeyPair{path: path}
	p.current.Store(&cert)
	return p, nil
}

// Replace puts a new certificate in place, durably where there is a path.
func (p *KeyPair) Replace(key crypto.Signer, chain ...[]byte) error {
	leaf, err := x509.ParseCertificate(chain[0])
	if err != nil {
		return err
	}
	if p.path != "" {
		der, err := x509.MarshalPKCS8PrivateKey(key)
		if err != nil {
			return err
		}
		data := append(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), EncodePEM(chain...)...)
		if err := durable.WriteFile(p.path, data, 0o600); err != nil {
			return err
		}
	}
	p.current.Store(&tls.Certificate{Certificate: chain, PrivateKey: key, Leaf: leaf})
	return nil
}

// Leaf gives the certificate in use.
func (p *KeyPair) Leaf() *x509.Certificate { return p.current.Load().Leaf }

// Chain gives the DER certificates in use, leaf first.
func (p *KeyPair) Chain() [][]byte { return p.current.Load().Certificate }

// RenewAt is when to ask for a new certificate.
func (p *KeyPair) RenewAt() time.Time {
	l := p.Leaf()
	return l.NotBefore.Add(l.NotAfter.Sub(l.NotBefore) * 2 / 3)
}

// ServerConfig is for listening; with clients set, peers must show a certificate of that pool.
func (p *KeyPair) ServerConfig(clients *x509.CertPool) *tls.Config {
	c := &tls.Config{
		MinVersion:     tls.VersionTLS12,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return p.current.Load(), nil },
	}
	if clients != nil {
		c.ClientAuth, c.ClientCAs, c.MinVersion = tls.RequireAndVerifyClientCert, clients, tls.VersionTLS13
	}
	return c
}

// ClientConfig is for dialling the member want with our certificate.
func (p *KeyPair) ClientConfig(roots *x509.CertPool, want Identity) *tls.Config {
	c := memberConfig(func(s tls.ConnectionState) error { return checkPeer(s, roots, want) })
	c.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return p.current.Load(), nil }
	return c
}
