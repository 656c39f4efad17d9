package imagestore

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

type shop struct {
	dir string
	key ed25519.PrivateKey
	img Image
}

func (s *shop) public() ed25519.PublicKey { return s.key.Public().(ed25519.PublicKey) }

// open makes a folder with a signed catalogue of one image.
func open(t *testing.T, change func(*Catalogue)) *shop {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	s := &shop{dir: t.TempDir(), key: key}
	data := bytes.Repeat([]byte("karri"), 1<<20)
	sum := sha256.Sum256(data)
	s.img = Image{Name: "small", Architecture: "x86_64", Format: "raw", URL: "files/small.raw", Size: int64(len(data)), SHA256: hex.EncodeToString(sum[:])}
	c := &Catalogue{Version: 1, Expires: time.Now().Add(time.Hour), Images: []Image{s.img}}
	if change != nil {
		change(c)
	}
	raw, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	sig := base64.StdEncoding.EncodeToString(ed25519.Sign(key, raw))
	if err := errors.Join(os.MkdirAll(filepath.Join(s.dir, "files"), 0o755), os.WriteFile(filepath.Join(s.dir, "catalogue.json"), raw, 0o644),
		os.WriteFile(filepath.Join(s.dir, "catalogue.json.sig"), []byte(sig), 0o644), os.WriteFile(filepath.Join(s.dir, "files/small.raw"), data, 0o644)); err != nil {
		t.Fatal(err)
	}
	return s
}

func source(t *testing.T, at string) *Source {
	t.Helper()
	s, err := NewSource(at, http.DefaultClient)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestFromAServerAndFromAFolder(t *testing.T) {
	s := open(t, nil)
	server := httptest.NewServer(http.FileServer(http.Dir(s.dir)))
	defer server.Close()
	for _, at := range []string{server.URL + "/catalogue.json", "file://" + s.dir + "/catalogue.json", s.dir + "/catalogue.json"} {
		src := source(t, at)
		c, err := src.Catalogue(t.Context(), s.public(), time.Now())
		if err != nil {
			t.Fatal(err)
		}
		i, err := c.Find("small", "x86_64")
		if err != nil {
			t.Fatal(err)
		}
		var last int64
		path, err := src.Download(t.Context(), i, t.TempDir(), func(n int64) { last = n })
		if err != nil || last != i.Size {
			t.Fatalf("%d, %v", last, err)
		}
		if sum, n, err := digest(path); err != nil || sum != i.SHA256 || n != i.Size {
			t.Errorf("%s %d %v", sum, n, err)
		}
	}
}

func TestWhatIsNotBelieved(t *testing.T) {
	s := open(t, nil)
	src := source(t, s.dir+"/catalogue.json")
	other, _, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := src.Catalogue(t.Context(), other, time.Now()); !errors.Is(err, ErrSignature) {
		t.Errorf("another's key: %v", err)
	}
	if _, err := src.Catalogue(t.Context(), s.public(), time.Now().Add(2*time.Hour)); err == nil || !strings.Contains(err.Error(), "expired") {
		t.Errorf("an old catalogue: %v", err)
	}
	raw, err := os.ReadFile(s.dir + "/catalogue.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(s.dir+"/catalogue.json", bytes.Replace(raw, []byte("small"), []byte("smell"), 1), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := src.Catalogue(t.Context(), s.public(), time.Now()); !errors.Is(err, ErrSignature) {
		t.Errorf("a changed catalogue: %v", err)
	}
	for want, change := range map[string]func(*Catalogue){
		"name":         func(c *Catalogue) { c.Images[0].Name = "../x" },
		"twice":        func(c *Catalogue) { c.Images = append(c.Images, c.Images[0]) },
		"SHA-256":      func(c *Catalogue) { c.Images[0].SHA256 = "../../etc/passwd" },
		"size":         func(c *Catalogue) { c.Images[0].Size = 1 << 50 },
		"format":       func(c *Catalogue) { c.Images[0].Format = "iso" },
		"boot mode":    func(c *Catalogue) { c.Images[0].BootMode = "x" },
		"architecture": func(c *Catalogue) { c.Images[0].Architecture = "vax" },
		"URL":          func(c *Catalogue) { c.Images[0].URL = "" },
		"version":      func(c *Catalogue) { c.Version = 2 },
	} {
		s := open(t, change)
		if _, err := source(t, s.dir+"/catalogue.json").Catalogue(t.Context(), s.public(), time.Now()); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", want, err)
		}
	}
}

func TestAFileOfAnotherContentIsRefusedAndRemoved(t *testing.T) {
	for name, data := range map[string]string{"changed": strings.Repeat("kurri", 1<<20), "longer": strings.Repeat("karri", 1<<20) + "x", "empty": ""} {
		s, dir := open(t, nil), t.TempDir()
		if err := os.WriteFile(s.dir+"/files/small.raw", []byte(data), 0o644); err != nil {
			t.Fatal(err)
		}
		if path, err := source(t, s.dir+"/catalogue.json").Download(t.Context(), s.img, dir, func(int64) {}); err == nil {
			t.Errorf("%s: %s", name, path)
		}
		if left, err := filepath.Glob(dir + "/*"); err != nil || name != "empty" && len(left) != 0 {
			t.Errorf("%s: left %v, %v", name, left, err)
		}
	}
}

func TestADownloadIsTakenUpWhereItBrokeOff(t *testing.T) {
	s, dir := open(t, nil), t.TempDir()
	files := http.FileServer(http.Dir(s.dir))
	var ranges atomic.Int32
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/files/") {
			if r.Header.Get("Range") == "" { // breaks off in the midst
				w.Header().Set("Content-Length", "5242880")
				w.Write(bytes.Repeat([]byte("karri"), 1<<19))
				panic(http.ErrAbortHandler)
			}
			ranges.Add(1)
		}
		files.ServeHTTP(w, r)
	}))
	defer server.Close()
	src := source(t, server.URL+"/catalogue.json")
	if _, err := src.Download(t.Context(), s.img, dir, func(int64) {}); err != nil || ranges.Load() != 1 {
		t.Errorf("%d, %v", ranges.Load(), err)
	}
	server.Close() // what is there needs no server
	if _, err := src.Download(t.Context(), s.img, dir, func(int64) {}); err != nil {
		t.Error(err)
	}
}

func TestAServerWithoutRanges(t *testing.T) {
	s, dir := open(t, nil), t.TempDir()
	data, err := os.ReadFile(s.dir + "/files/small.raw")
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.Write(data) }))
	defer server.Close()
	if err := os.WriteFile(filepath.Join(dir, s.img.SHA256+".part"), []byte("something else"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := source(t, server.URL+"/catalogue.json").Download(t.Context(), s.img, dir, func(int64) {}); err != nil {
		t.Error(err)
	}
}

func TestACatalogueFromTheNetworkNamesNoFilesHere(t *testing.T) {
	s := open(t, nil)
	s.img.URL = "file:///etc/passwd"
	if _, err := source(t, "http://127.0.0.1:1/catalogue.json").Download(t.Context(), s.img, t.TempDir(), func(int64) {}); err == nil || !strings.Contains(err.Error(), "cannot name") {
		t.Error(err)
	}
}

// A catalogue that was made entry by entry can be signed; an entry takes the place of one of its name.
func TestAdd(t *testing.T) {
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	later := time.Now().Add(time.Hour).UTC().Truncate(time.Second)
	entry := Image{Name: "debian-12", Architecture: "x86_64", Format: "qcow2", URL: "a.qcow2", Size: 1, SHA256: strings.Repeat("ab", 32)}
	var raw []byte
	for _, change := range []func(){func() {}, func() { entry.Architecture = "arm64" }, func() { entry.Size = 2 }} {
		change()
		if raw, err = Add(raw, entry, later); err != nil {
			t.Fatal(err)
		}
	}
	sig, err := Sign(raw, private, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	c, err := Parse(raw, []byte(sig), public, time.Now())
	if err != nil || len(c.Images) != 2 || c.Images[1].Size != 2 || !c.Expires.Equal(later) {
		t.Errorf("%+v, %v", c, err)
	}
	for name, change := range map[string]func(i *Image){
		"path as a name": func(i *Image) { i.Name = "../x" },
		"no URL":         func(i *Image) { i.URL = "" },
		"empty file":     func(i *Image) { i.Size = 0 },
		"no digest":      func(i *Image) { i.SHA256 = "" },
		"a format":       func(i *Image) { i.Format = "iso" },
	} {
		bad := entry
		change(&bad)
		if _, err := Add(raw, bad, later); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
	if _, err := Add([]byte("["), entry, later); err == nil {
		t.Error("rubbish was taken")
	}
}
