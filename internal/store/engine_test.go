package store

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"log/slog"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"karri.dev/internal/store/embedded"
)

var quiet = slog.New(slog.DiscardHandler)

// thing is a record for tests: it has everything that a table can have.
type thing struct {
	ID    string   `json:"id"`
	Name  string   `json:"name,omitempty"` // unique
	Kinds []string `json:"kinds,omitempty"`
	N     int      `json:"n,omitempty"`
}

var (
	things       = table("test-things", 1, func(t *thing) string { return t.ID })
	thingsByName = unique(things, "name", func(t *thing) []string { return some(t.Name) })
	thingsByKind = index(things, "kind", func(t *thing) []string { return t.Kinds })
	thingsSum    = tally(things, "n", func(t *thing) ([]string, int64) { return t.Kinds, int64(t.N) })
	others       = table("test-others", 1, func(t *thing) string { return t.ID })
)

// backend opens stores that share one state, empty at first.
type backend struct {
	name   string
	engine func(t testing.TB) func() engine
}

func backends() []backend {
	return []backend{
		{"memory", func(testing.TB) func() engine {
			m := newMemory()
			return func() engine { return m }
		}},
		{"embedded", func(t testing.TB) func() engine {
			server, err := embedded.Start(t.Context(), embedded.Config{Dir: t.TempDir()}, quiet)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(server.Close)
			return func() engine {
				return &etcd{client: server.Client(), prefix: "/test/", space: server.Space, leader: &election{quiet, server.Client(), "/test/"}, end: func() error { return nil }}
			}
		}},
		{"external", func(t testing.TB) func() engine {
			cfg := external(t)
			return func() engine {
				e, err := openExternal(context.Background(), cfg, quiet)
				if err != nil {
					t.Fatal(err)
				}
				return e
			}
		}},
	}
}

func openOn(t testing.TB, e engine) *Store {
	t.Helper()
	s, err := open(context.Background(), quiet, e)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// external runs an etcd as an operator would, with TLS and client certificates, and says how to reach it.
func external(t testing.TB) Config {
	t.Helper()
	dir := t.TempDir()
	ca := newAuthority(t, dir)
	cert, key := ca.issue(t, dir, "server", "")
	ccert, ckey := ca.issue(t, dir, "client", "store-client")
	addr := freeAddress(t)
	server, err := embedded.Start(t.Context(), embedded.Config{
		Dir: filepath.Join(dir, "etcd"), Listen: addr,
		TLS: embedded.TLS{Cert: cert, Key: key, ClientCA: ca.file, ClientName: "store-client"},
	}, quiet)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Close)
	return Config{Prefix: "/karri/", External: External{Endpoints: []string{"https://" + addr}, Cert: ccert, Key: ckey, CA: ca.file}}
}

func freeAddress(t testing.TB) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	file string
}

var serial atomic.Int64

func newAuthority(t testing.TB, dir string) *authority {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(serial.Add(1)), Subject: pkix.Name{CommonName: "test CA"}, NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	tmpl, _ = x509.ParseCertificate(der)
	a := &authority{tmpl, key, filepath.Join(dir, fmt.Sprintf("ca%d.pem", tmpl.SerialNumber))}
	writePEM(t, a.file, "CERTIFICATE", der)
	return a
}

func (a *authority) issue(t testing.TB, dir, name, dns string) (cert, keyFile string) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(serial.Add(1)), Subject: pkix.Name{CommonName: name}, NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
	}
	if dns != "" {
		tmpl.DNSNames = []string{dns}
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, a.cert, &key.PublicKey, a.key)
	if err != nil {
		t.Fatal(err)
	}
	cert, keyFile = filepath.Join(dir, name+".pem"), filepath.Join(dir, name+".key")
	writePEM(t, cert, "CERTIFICATE", der)
	raw, _ := x509.MarshalPKCS8PrivateKey(key)
	writePEM(t, keyFile, "PRIVATE KEY", raw)
	return cert, keyFile
}

func writePEM(t testing.TB, file, kind string, der []byte) {
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
}
