// Package sshkey makes and reads SSH key pairs and their fingerprints as EC2 shows them: for an RSA key
// that was made here the SHA-1 of the private key's PKCS#8 DER, for an imported one the MD5 of the public
// key's DER, for Ed25519 the SHA-256 of the public key blob in base64.
package sshkey

import (
	"bytes"
	"crypto/ed25519"
	"crypto/md5"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"

	"golang.org/x/crypto/ssh"
)

// Types of keys, as EC2 names them.
const (
	RSA     = "rsa"
	Ed25519 = "ed25519"
)

// MaxImport bounds the text of an imported key, in bytes.
const MaxImport = 16 << 10

// ErrFormat says that an imported key is none of the formats that EC2 takes, or of a kind or size that it
// does not take.
var ErrFormat = errors.New("key is not in valid OpenSSH public key format")

// Public is a public key.
type Public struct {
	Type        string // RSA or Ed25519
	Line        string // authorized_keys line without comment
	Fingerprint string
}

// Generate makes a key pair. The private key is PEM: PKCS#1 for RSA (2048 bits), OpenSSH's for Ed25519.
func Generate(kind string) (private string, public Public, err error) {
	switch kind {
	case RSA:
		key, err := rsa.GenerateKey(rand.Reader, 2048)
		if err != nil {
			return "", Public{}, fmt.Errorf("generate RSA key: %w", err)
		}
		der, err := x509.MarshalPKCS8PrivateKey(key)
		if err != nil {
			return "", Public{}, fmt.Errorf("encode RSA key: %w", err)
		}
		pub, err := ssh.NewPublicKey(&key.PublicKey)
		if err != nil {
			return "", Public{}, fmt.Errorf("encode RSA public key: %w", err)
		}
		sum := sha1.Sum(der)
		block := &pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)}
		return string(pem.EncodeToMemory(block)), Public{RSA, line(pub), colons(sum[:])}, nil
	case Ed25519:
		_, key, err := ed25519.GenerateKey(rand.Reader)
		if err != nil {
			return "", Public{}, fmt.Errorf("generate Ed25519 key: %w", err)
		}
		block, err := ssh.MarshalPrivateKey(key, "")
		if err != nil {
			return "", Public{}, fmt.Errorf("encode Ed25519 key: %w", err)
		}
		pub, err := ssh.NewPublicKey(key.Public())
		if err != nil {
			return "", Public{}, fmt.Errorf("encode Ed25519 public key: %w", err)
		}
		return string(pem.EncodeToMemory(block)), Public{Ed25519, line(pub), sha256print(pub)}, nil
	}
	return "", Public{}, fmt.Errorf("unknown key type %q", kind)
}

// Import reads a public key: an OpenSSH line, RFC 4716, PEM, or base64 of DER. Errors wrap ErrFormat.
func Import(data []byte) (Public, error) {
	if len(data) > MaxImport {
		return Public{}, fmt.Errorf("%w: more than %d bytes", ErrFormat, MaxImport)
	}
	pub, err := parse(bytes.TrimSpace(data))
	if err != nil {
		return Public{}, fmt.Errorf("%w: %w", ErrFormat, err)
	}
	crypto, ok := pub.(ssh.CryptoPublicKey)
	if !ok {
		return Public{}, fmt.Errorf("%w: %s keys are not taken", ErrFormat, pub.Type())
	}
	switch key := crypto.CryptoPublicKey().(type) {
	case *rsa.PublicKey:
		if n := key.N.BitLen(); n != 1024 && n != 2048 && n != 4096 {
			return Public{}, fmt.Errorf("%w: RSA keys of %d bits are not taken", ErrFormat, n)
		}
		der, err := x509.MarshalPKIXPublicKey(key)
		if err != nil {
			return Public{}, fmt.Errorf("%w: %w", ErrFormat, err)
		}
		sum := md5.Sum(der)
		return Public{RSA, line(pub), colons(sum[:])}, nil
	case ed25519.PublicKey:
		return Public{Ed25519, line(pub), sha256print(pub)}, nil
	}
	return Public{}, fmt.Errorf("%w: %s keys are not taken", ErrFormat, pub.Type())
}

func parse(data []byte) (ssh.PublicKey, error) {
	text := string(data)
	switch {
	case strings.HasPrefix(text, "ssh-"):
		pub, _, options, rest, err := ssh.ParseAuthorizedKey(data)
		if err == nil && (len(options) > 0 || len(bytes.TrimSpace(rest)) > 0) {
			err = errors.New("more than one key")
		}
		return pub, err
	case strings.HasPrefix(text, "---- BEGIN SSH2 PUBLIC KEY ----"):
		return rfc4716(text)
	case strings.HasPrefix(text, "-----BEGIN"):
		block, _ := pem.Decode(data)
		if block == nil {
			return nil, errors.New("bad PEM")
		}
		return der(block.Bytes)
	}
	raw, err := base64.StdEncoding.DecodeString(strings.Join(strings.Fields(text), ""))
	if err != nil {
		return nil, err
	}
	return der(raw)
}

func der(raw []byte) (ssh.PublicKey, error) {
	if key, err := x509.ParsePKIXPublicKey(raw); err == nil {
		return ssh.NewPublicKey(key)
	}
	key, err := x509.ParsePKCS1PublicKey(raw)
	if err != nil {
		return nil, err
	}
	return ssh.NewPublicKey(key)
}

func rfc4716(text string) (ssh.PublicKey, error) {
	var body strings.Builder
	continued := false
	for _, l := range strings.Split(text, "\n")[1:] {
		l = strings.TrimRight(l, "\r ")
		switch {
		case strings.HasPrefix(l, "---- END SSH2 PUBLIC KEY"):
			raw, err := base64.StdEncoding.DecodeString(body.String())
			if err != nil {
				return nil, err
			}
			return ssh.ParsePublicKey(raw)
		case continued || strings.Contains(l, ":"):
			continued = strings.HasSuffix(l, `\`)
		default:
			body.WriteString(l)
		}
	}
	return nil, errors.New("no end line")
}

func line(pub ssh.PublicKey) string {
	return strings.TrimSpace(string(ssh.MarshalAuthorizedKey(pub)))
}

func sha256print(pub ssh.PublicKey) string {
	sum := sha256.Sum256(pub.Marshal())
	return base64.StdEncoding.EncodeToString(sum[:])
}

func colons(sum []byte) string {
	out := make([]string, len(sum))
	for i, b := range sum {
		out[i] = hex.EncodeToString([]byte{b})
	}
	return strings.Join(out, ":")
}
