// Package oidctest is an OpenID Connect issuer on this machine, for tests.
package oidctest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/json"
	"io"
	"log"
	"math/big"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
)

// Issuer serves https://localhost:PORT/realm. What it publishes can be changed while it runs.
type Issuer struct {
	URL        string
	Thumbprint string
	RSA        *rsa.PrivateKey   // kid "rsa", RS256
	EC         *ecdsa.PrivateKey // kid "ec", ES256
	Roots      *x509.CertPool    // the authority of its certificate, which is itself

	mu      sync.Mutex
	keys    []jose.JSONWebKey
	answers map[string]http.HandlerFunc
	asked   map[string]int
}

// Paths of what it serves.
const (
	Discovery = "/realm/.well-known/openid-configuration"
	Keys      = "/realm/keys"
)

// New starts an issuer that ends with the test.
func New(t testing.TB) *Issuer {
	t.Helper()
	i := &Issuer{answers: map[string]http.HandlerFunc{}, asked: map[string]int{}}
	var err error
	if i.RSA, err = rsa.GenerateKey(rand.Reader, 2048); err != nil {
		t.Fatal(err)
	}
	if i.EC, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
		t.Fatal(err)
	}
	i.keys = []jose.JSONWebKey{{Key: i.RSA.Public(), KeyID: "rsa", Use: "sig", Algorithm: "RS256"}, {Key: i.EC.Public(), KeyID: "ec", Use: "sig"}}
	s := httptest.NewUnstartedServer(i)
	s.Config.ErrorLog = log.New(io.Discard, "", 0) // refused handshakes are what is tested
	s.TLS = &tls.Config{Certificates: []tls.Certificate{i.certificate(t)}}
	s.StartTLS()
	t.Cleanup(s.Close)
	i.URL = "https://localhost" + s.URL[strings.LastIndexByte(s.URL, ':'):] + "/realm"
	return i
}

func (i *Issuer) certificate(t testing.TB) tls.Certificate {
	t.Helper()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "localhost"}, DNSNames: []string{"localhost"}, NotBefore: time.Now().Add(-time.Hour),
		NotAfter: time.Now().Add(24 * time.Hour), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, i.EC.Public(), i.EC)
	if err != nil {
		t.Fatal(err)
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	i.Roots = x509.NewCertPool()
	i.Roots.AddCert(c)
	sum := sha1.Sum(der)
	i.Thumbprint = hex.EncodeToString(sum[:])
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: i.EC}
}

// ServeHTTP answers as an issuer does, or as Answer has it.
func (i *Issuer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	i.mu.Lock()
	i.asked[r.URL.Path]++
	h, keys := i.answers[r.URL.Path], i.keys
	i.mu.Unlock()
	switch {
	case h != nil:
		h(w, r)
	case r.URL.Path == Discovery:
		_ = json.NewEncoder(w).Encode(map[string]string{"issuer": i.URL, "jwks_uri": strings.TrimSuffix(i.URL, "/realm") + Keys})
	case r.URL.Path == Keys:
		_ = json.NewEncoder(w).Encode(jose.JSONWebKeySet{Keys: keys})
	default:
		http.NotFound(w, r)
	}
}

// Answer puts a handler in the place of a document; nil takes it away.
func (i *Issuer) Answer(path string, h http.HandlerFunc) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.answers[path] = h
}

// Publish replaces the keys.
func (i *Issuer) Publish(keys ...jose.JSONWebKey) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.keys = keys
}

// Asked says how often a document was read.
func (i *Issuer) Asked(path string) int {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.asked[path]
}

// Claims are those of a good token for the client "app", with changes; nil takes a claim away.
func (i *Issuer) Claims(change map[string]any) map[string]any {
	now := time.Now()
	c := map[string]any{"iss": i.URL, "sub": "alice", "aud": "app", "iat": now.Unix(), "exp": now.Add(10 * time.Minute).Unix()}
	for k, v := range change {
		if c[k] = v; v == nil {
			delete(c, k)
		}
	}
	return c
}

// Token signs claims with RS256.
func (i *Issuer) Token(t testing.TB, change map[string]any) string {
	t.Helper()
	return Sign(t, jose.RS256, i.RSA, "rsa", i.Claims(change))
}

// Sign makes a token.
func Sign(t testing.TB, a jose.SignatureAlgorithm, key any, kid string, claims map[string]any) string {
	t.Helper()
	s, err := jose.NewSigner(jose.SigningKey{Algorithm: a, Key: key}, (&jose.SignerOptions{}).WithHeader("kid", kid).WithType("JWT"))
	if err != nil {
		t.Fatal(err)
	}
	text, err := jwt.Signed(s).Claims(claims).Serialize()
	if err != nil {
		t.Fatal(err)
	}
	return text
}
