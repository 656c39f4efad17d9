// Package pki is the cloud's own small certificate authority: it says who is cloud, zone and node.
package pki

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"net/url"
	"strings"
	"time"
)

// Lifetimes. Leaf certificates are short-lived and renewed at two thirds of their life.
const (
	AuthorityLife = 10 * 365 * 24 * time.Hour
	LeafLife      = 30 * 24 * time.Hour
	backdate      = 5 * time.Minute // for clocks that are a little behind
)

// MemberName is the server name that members of the cloud ask for when they dial one another: the API then
// shows the certificate of the cloud's own authority, even where clients see one of the administrator's.
// Members check who the peer is, not what it is called, so addresses may change.
const MemberName = "member.karri.invalid"

// Identity is who a certificate speaks for.
type Identity struct {
	Role string // "cloud", "zone" or "node"
	Name string // zone name, node id
	Zone string // of a node
}

// uri is the identity as a URI SAN: karri://node/node-0a…?zone=us-east-1a.
func (i Identity) uri() *url.URL {
	u := &url.URL{Scheme: "karri", Host: i.Role, Path: "/" + i.Name}
	if i.Zone != "" {
		u.RawQuery = url.Values{"zone": {i.Zone}}.Encode()
	}
	return u
}

// IdentityOf reads the identity out of a verified certificate.
func IdentityOf(cert *x509.Certificate) (Identity, error) {
	if len(cert.URIs) != 1 || cert.URIs[0].Scheme != "karri" {
		return Identity{}, errors.New("certificate has no Karri identity")
	}
	u := cert.URIs[0]
	return Identity{Role: u.Host, Name: strings.TrimPrefix(u.Path, "/"), Zone: u.Query().Get("zone")}, nil
}

// Authority signs certificates.
type Authority struct {
	cert *x509.Certificate
	key  crypto.Signer
	now  func() time.Time
}

// NewAuthority makes an authority with a new key.
func NewAuthority(name string, now func() time.Time) (*Authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	t := &x509.Certificate{
		Subject:   pkix.Name{CommonName: name, Organization: []string{"Karri"}},
		NotBefore: now().Add(-backdate), NotAfter: now().Add(AuthorityLife),
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
		IsCA:     true, BasicConstraintsValid: true, MaxPathLenZero: true,
	}
	der, err := sign(t, t, key.Public(), key)
	if err != nil {
		return nil, err
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	return LoadAuthority(der, keyDER, now)
}

// LoadAuthority makes an authority from what Certificate and Key gave.
func LoadAuthority(cert, key []byte, now func() time.Time) (*Authority, error) {
	c, err := x509.ParseCertificate(cert)
	if err != nil {
		return nil, fmt.Errorf("authority's certificate: %w", err)
	}
	k, err := x509.ParsePKCS8PrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("authority's key: %w", err)
	}
	signer, ok := k.(crypto.Signer)
	if !ok {
		return nil, errors.New("authority's key cannot sign")
	}
	return &Authority{c, signer, now}, nil
}

// Certificate gives the authority's certificate in DER.
func (a *Authority) Certificate() []byte { return a.cert.Raw }

// Key gives the authority's private key in PKCS#8 DER: seal it before it is stored.
func (a *Authority) Key() ([]byte, error) { return x509.MarshalPKCS8PrivateKey(a.key) }

// Pool gives a pool that trusts this authority alone.
func (a *Authority) Pool() *x509.CertPool {
	p := x509.NewCertPool()
	p.AddCert(a.cert)
	return p
}

// Issue signs a certificate for id, for both ends of TLS, that also names hosts (names and addresses).
func (a *Authority) Issue(id Identity, hosts []string, pub crypto.PublicKey) ([]byte, error) {
	t := &x509.Certificate{
		Subject:   pkix.Name{CommonName: id.Role + ":" + id.Name, Organization: []string{"Karri"}},
		NotBefore: a.now().Add(-backdate), NotAfter: a.now().Add(LeafLife),
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		URIs:        []*url.URL{id.uri()},
	}
	for _, h := range hosts {
		if ip := net.ParseIP(h); ip != nil {
			t.IPAddresses = append(t.IPAddresses, ip)
		} else {
			t.DNSNames = append(t.DNSNames, h)
		}
	}
	return sign(t, a.cert, pub, a.key)
}

func sign(t, parent *x509.Certificate, pub crypto.PublicKey, key crypto.Signer) ([]byte, error) {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return nil, err
	}
	t.SerialNumber = serial
	return x509.CreateCertificate(rand.Reader, t, parent, pub, key)
}

// NewKey makes a leaf's key.
func NewKey() (crypto.Signer, error) { return ecdsa.GenerateKey(elliptic.P256(), rand.Reader) }

// Request makes a signing request (DER) that proves possession of key. Its subject is of no meaning: the
// authority decides who one is.
func Request(key crypto.Signer) ([]byte, error) {
	return x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, key)
}

// RequestKey checks a signing request and gives the public key in it.
func RequestKey(der []byte) (crypto.PublicKey, error) {
	r, err := x509.ParseCertificateRequest(der)
	if err != nil {
		return nil, fmt.Errorf("signing request: %w", err)
	}
	if err := r.CheckSignature(); err != nil {
		return nil, fmt.Errorf("signing request: %w", err)
	}
	if _, ok := r.PublicKey.(*ecdsa.PublicKey); !ok {
		return nil, errors.New("signing request: only ECDSA keys are signed")
	}
	return r.PublicKey, nil
}

// Fingerprint is the SHA-256 of a certificate in hex: join tokens carry the root's.
func Fingerprint(der []byte) string {
	sum := sha256.Sum256(der)
	return hex.EncodeToString(sum[:])
}

// PinnedConfig is for dialling want before the root's certificate is known: the peer must present a chain that
// ends in the root with this fingerprint.
func PinnedConfig(fingerprint string, want Identity) *tls.Config {
	return memberConfig(func(s tls.ConnectionState) error {
		for _, c := range s.PeerCertificates {
			if Fingerprint(c.Raw) == fingerprint {
				roots := x509.NewCertPool()
				roots.AddCert(c)
				return checkPeer(s, roots, want)
			}
		}
		return errors.New("the server does not present the root certificate that the token names")
	})
}

func memberConfig(check func(tls.ConnectionState) error) *tls.Config {
	return &tls.Config{
		MinVersion:         tls.VersionTLS13,
		ServerName:         MemberName,
		InsecureSkipVerify: true, // check does the verifying
		VerifyConnection:   check,
	}
}

// checkPeer verifies that the peer's certificate is signed by one of roots and speaks for want.
func checkPeer(s tls.ConnectionState, roots *x509.CertPool, want Identity) error {
	leaf := s.PeerCertificates[0]
	if _, err := leaf.Verify(x509.VerifyOptions{Roots: roots, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}); err != nil {
		return err
	}
	id, err := IdentityOf(leaf)
	if err != nil {
		return err
	}
	if id != want {
		return fmt.Errorf("the peer is %s %q, want %s %q", id.Role, id.Name, want.Role, want.Name)
	}
	return nil
}

// EncodePEM gives certificates (DER) as PEM.
func EncodePEM(certs ...[]byte) []byte {
	var b bytes.Buffer
	for _, c := range certs {
		pem.Encode(&b, &pem.Block{Type: "CERTIFICATE", Bytes: c})
	}
	return b.Bytes()
}
