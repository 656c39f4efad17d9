package daemon

import (
	"archive/zip"
	"bytes"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"time"

	"karri.dev/internal/identity"
	"karri.dev/internal/resource"
)

// certificateLife is how long a user's X.509 certificate is good for.
const certificateLife = 10 * 365 * 24 * time.Hour

// bundle packs a user's credentials: what clients read, a certificate of the user's own for tools that sign bundles
// with one, and the cloud's certificate. Paths in it are relative to the folder that it is unpacked into.
func bundle(e endpoint, a resource.Account, u *resource.User, key identity.Key, now time.Time) ([]byte, error) {
	cert, private, err := userCertificate(a, u, now)
	if err != nil {
		return nil, err
	}
	rc := fmt.Sprintf(`# Source this in bash or zsh to be %[5]s of the account %[6]s at the Karri cloud %[1]s.
here=$(cd "$(dirname "${BASH_SOURCE:-$0}")" && pwd)
export AWS_CONFIG_FILE="$here/config"
export AWS_SHARED_CREDENTIALS_FILE="$here/credentials"
export AWS_PROFILE=karri
export AWS_ACCESS_KEY_ID=%[2]s
export AWS_SECRET_ACCESS_KEY=%[3]s
export AWS_DEFAULT_REGION=%[4]s AWS_REGION=%[4]s
export AWS_ENDPOINT_URL=%[1]s
export AWS_CA_BUNDLE="$here/ca.pem"
export EC2_URL=%[1]s S3_URL=%[1]s EUARE_URL=%[1]s TOKEN_URL=%[1]s
export EC2_ACCESS_KEY=%[2]s EC2_SECRET_KEY=%[3]s
export EC2_ACCOUNT_NUMBER=%[7]s EC2_USER_ID=%[7]s
export EC2_CERT="$here/cert.pem" EC2_PRIVATE_KEY="$here/pk.pem"
export EUCALYPTUS_CERT="$here/ca.pem"
`, e.url, key.ID, quote(key.Secret), e.region, u.Name, a.Name, a.ID)
	var out bytes.Buffer
	w := zip.NewWriter(&out)
	for _, f := range []struct {
		name string
		text []byte
	}{
		{"karrirc", []byte(rc)},
		{"credentials", fmt.Appendf(nil, "[karri]\naws_access_key_id = %s\naws_secret_access_key = %s\n", key.ID, key.Secret)},
		{"config", fmt.Appendf(nil, "[profile karri]\nregion = %s\nendpoint_url = %s\noutput = json\n", e.region, e.url)},
		{"cert.pem", cert},
		{"pk.pem", private},
		{"ca.pem", e.ca},
	} {
		h := &zip.FileHeader{Name: f.name, Method: zip.Deflate, Modified: now}
		h.SetMode(0o600)
		part, err := w.CreateHeader(h)
		if err != nil {
			return nil, err
		}
		if _, err := part.Write(f.text); err != nil {
			return nil, err
		}
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}

// userCertificate makes a certificate that a user signs for itself; RSA, as the old tools want it.
func userCertificate(a resource.Account, u *resource.User, now time.Time) (cert, private []byte, err error) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return nil, nil, err
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return nil, nil, err
	}
	t := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: u.Name, Organization: []string{a.ID}, OrganizationalUnit: []string{a.Name}},
		NotBefore: now.Add(-5 * time.Minute), NotAfter: now.Add(certificateLife), KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageKeyEncipherment,
	}
	der, err := x509.CreateCertificate(rand.Reader, t, t, key.Public(), key)
	if err != nil {
		return nil, nil, err
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8}), nil
}
