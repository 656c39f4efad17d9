package sshkey

import (
	"encoding/base64"
	"encoding/pem"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"
)

func TestGenerate(t *testing.T) {
	for _, kind := range []string{RSA, Ed25519} {
		private, public, err := Generate(kind)
		if err != nil {
			t.Fatal(err)
		}
		signer, err := ssh.ParsePrivateKey([]byte(private))
		if err != nil {
			t.Fatalf("%s: %v\n%s", kind, err, private)
		}
		if got := line(signer.PublicKey()); got != public.Line {
			t.Errorf("%s: private key is of %s, not %s", kind, got, public.Line)
		}
		back, err := Import([]byte(public.Line + " a comment\n"))
		if err != nil {
			t.Fatal(err)
		}
		if back.Type != kind || back.Line != public.Line {
			t.Errorf("import gives %+v", back)
		}
		// An RSA key has another fingerprint when imported; an Ed25519 key has the same.
		if (back.Fingerprint == public.Fingerprint) != (kind == Ed25519) {
			t.Errorf("%s: %s and %s", kind, public.Fingerprint, back.Fingerprint)
		}
		if kind == RSA && (len(public.Fingerprint) != 59 || len(back.Fingerprint) != 47) {
			t.Errorf("%s, %s: want SHA-1 and MD5", public.Fingerprint, back.Fingerprint)
		}
	}
}

// The fingerprints are those that AWS's guide tells users to compute with openssl.
func TestFingerprintsByOpenSSL(t *testing.T) {
	openssl, err := exec.LookPath("openssl")
	if err != nil {
		t.Skip("no openssl here")
	}
	private, public, err := Generate(RSA)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "key.pem")
	if err := os.WriteFile(file, []byte(private), 0o600); err != nil {
		t.Fatal(err)
	}
	run := func(script string) string {
		cmd := exec.Command("sh", "-c", script)
		cmd.Env = append(os.Environ(), "F="+file, "O="+openssl)
		out, err := cmd.Output()
		if err != nil {
			t.Fatal(err)
		}
		fields := strings.Fields(string(out))
		return fields[len(fields)-1]
	}
	if got := run(`$O pkcs8 -in $F -inform PEM -outform DER -topk8 -nocrypt | $O sha1 -c`); got != public.Fingerprint {
		t.Errorf("created: %s, openssl says %s", public.Fingerprint, got)
	}
	imported, err := Import([]byte(public.Line))
	if err != nil {
		t.Fatal(err)
	}
	if got := run(`$O rsa -in $F -pubout -outform DER 2>/dev/null | $O md5 -c`); got != imported.Fingerprint {
		t.Errorf("imported: %s, openssl says %s", imported.Fingerprint, got)
	}
	der := run(`$O rsa -in $F -pubout -outform DER 2>/dev/null | base64 -w0`)
	pemText := run(`$O rsa -in $F -pubout 2>/dev/null | base64 -w0`)
	decoded, _ := base64.StdEncoding.DecodeString(pemText)
	for _, form := range []string{der, string(decoded)} {
		if got, err := Import([]byte(form)); err != nil || got != imported {
			t.Errorf("%.30s…: %v %v", form, got, err)
		}
	}
}

func TestImportRefuses(t *testing.T) {
	dsa := "ssh-dss AAAAB3NzaC1kc3MAAACBAP"
	_, pub, _ := Generate(Ed25519)
	for _, text := range []string{
		"", "hello", "ssh-rsa", "ssh-rsa AAAA", dsa, strings.Repeat("A", MaxImport+1), pub.Line + "\n" + pub.Line,
		"---- BEGIN SSH2 PUBLIC KEY ----\nAAAA", string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: []byte("x")})),
	} {
		if _, err := Import([]byte(text)); !errors.Is(err, ErrFormat) {
			t.Errorf("%.40q: %v", text, err)
		}
	}
}

func TestImportRFC4716(t *testing.T) {
	_, pub, _ := Generate(Ed25519)
	body := strings.Fields(pub.Line)[1]
	text := "---- BEGIN SSH2 PUBLIC KEY ----\nComment: \"one \\\ntwo\"\n" + body[:40] + "\n" + body[40:] + "\n---- END SSH2 PUBLIC KEY ----\n"
	if got, err := Import([]byte(text)); err != nil || got != pub {
		t.Errorf("%+v %v", got, err)
	}
}

func FuzzImport(f *testing.F) {
	f.Add([]byte("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ"))
	f.Add([]byte("---- BEGIN SSH2 PUBLIC KEY ----\nx: y\\\n---- END SSH2 PUBLIC KEY ----"))
	f.Add([]byte("-----BEGIN PUBLIC KEY-----\n-----END PUBLIC KEY-----"))
	f.Fuzz(func(t *testing.T, data []byte) {
		pub, err := Import(data)
		if err == nil {
			if back, err := Import([]byte(pub.Line)); err != nil || back != pub {
				t.Fatalf("%+v is not itself again: %+v %v", pub, back, err)
			}
		}
	})
}
