package daemon

import (
	"archive/zip"
	"bytes"
	"crypto/tls"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"karri.dev/internal/identity"
	"karri.dev/internal/resource"
)

func TestBundle(t *testing.T) {
	data, err := bundle(endpoint{url: "https://cloud.example:8773", region: "us-east-1", ca: []byte("CA")}, resource.Account{ID: "123456789012", Name: "acme"},
		&resource.User{Name: "o'bob"}, identity.Key{ID: "AKIA", Secret: "s/e+c'ret"}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	z, err := zip.NewReader(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for _, f := range z.File {
		if f.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v", f.Name, f.Mode())
		}
		r, err := f.Open()
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, f.Name), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := tls.LoadX509KeyPair(filepath.Join(dir, "cert.pem"), filepath.Join(dir, "pk.pem")); err != nil {
		t.Error(err)
	}
	out, err := exec.Command("bash", "-c", ". "+dir+"/karrirc && echo \"$AWS_SECRET_ACCESS_KEY $AWS_ENDPOINT_URL\" && cat $AWS_CA_BUNDLE $AWS_SHARED_CREDENTIALS_FILE").CombinedOutput()
	if err != nil || !strings.HasPrefix(string(out), "s/e+c'ret https://cloud.example:8773\nCA[karri]\naws_access_key_id = AKIA") {
		t.Errorf("%s, %v", out, err)
	}
}
