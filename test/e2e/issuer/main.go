// Issuer is an OpenID Connect issuer on loopback: it prints its URL and tokens as JSON, and serves until its input ends.
package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha1"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/json"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
)

func main() {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	check(err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "localhost"}, DNSNames: []string{"localhost"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	check(err)
	sum := sha1.Sum(der)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	check(err)
	_, port, err := net.SplitHostPort(l.Addr().String())
	check(err)
	url := "https://localhost:" + port + "/realms/acme"
	mux := http.NewServeMux()
	mux.HandleFunc("/realms/acme/.well-known/openid-configuration", func(w http.ResponseWriter, _ *http.Request) {
		_ = json.NewEncoder(w).Encode(map[string]string{"issuer": url, "jwks_uri": url + "/keys"})
	})
	mux.HandleFunc("/realms/acme/keys", func(w http.ResponseWriter, _ *http.Request) {
		_ = json.NewEncoder(w).Encode(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: key.Public(), KeyID: "1", Use: "sig", Algorithm: "ES256"}}})
	})
	s := &http.Server{Handler: mux, ReadHeaderTimeout: time.Minute, TLSConfig: &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}}
	go func() { log.Fatal(s.ServeTLS(l, "", "")) }()
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: key}, (&jose.SignerOptions{}).WithHeader("kid", "1"))
	check(err)
	token := func(sub string, until time.Duration) string {
		now := time.Now()
		text, err := jwt.Signed(signer).Claims(map[string]any{"iss": url, "sub": sub, "aud": "sts.amazonaws.com", "iat": now.Add(-time.Minute).Unix(), "exp": now.Add(until).Unix()}).Serialize()
		check(err)
		return text
	}
	check(json.NewEncoder(os.Stdout).Encode(map[string]string{"URL": url, "Thumbprint": hex.EncodeToString(sum[:]), "Good": token("alice", 10*time.Minute), "Expired": token("alice", -time.Second), "Stranger": token("mallory", 10*time.Minute)}))
	_, _ = io.Copy(io.Discard, os.Stdin)
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
