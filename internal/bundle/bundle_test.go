package bundle

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"io"
	"math/big"
	mrand "math/rand"
	"strings"
	"sync"
	"testing"
	"time"
)

type pair struct {
	key  *rsa.PrivateKey
	cert *x509.Certificate
}

func newPair() pair {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	t := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, t, t, &key.PublicKey, key)
	if err != nil {
		panic(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		panic(err)
	}
	return pair{key, cert}
}

var pairs = sync.OnceValue(func() [3]pair { return [3]pair{newPair(), newPair(), newPair()} }) // cloud, user, stranger

type memory map[string][]byte

type memoryPart struct {
	bytes.Buffer
	name string
	m    memory
}

func (p *memoryPart) Close() error { p.m[p.name] = p.Bytes(); return nil }

func (m memory) create(name string) (io.WriteCloser, error) {
	return &memoryPart{name: name, m: m}, nil
}

func (m memory) open(name string) (io.ReadCloser, error) {
	b, ok := m[name]
	if !ok {
		return nil, errors.New("no such part")
	}
	return io.NopCloser(bytes.NewReader(b)), nil
}

// made bundles data.
func made(t testing.TB, data []byte, change func(*Source)) ([]byte, memory) {
	t.Helper()
	p := pairs()
	parts := memory{}
	s := Source{
		Image: bytes.NewReader(data), Size: int64(len(data)), Name: "disk.img", User: "111111111111", Kind: Machine, Kernel: "aki-1", Certificate: p[1].cert,
		Key: p[1].key, Cloud: p[0].cert, Random: rand.Reader, Mappings: []Mapping{{"ami", "sda1"}}, Codes: []string{"A&B"},
	}
	if change != nil {
		change(&s)
	}
	raw, err := Write(s, parts.create)
	if err != nil {
		t.Fatal(err)
	}
	return raw, parts
}

func unbundle(t testing.TB, raw []byte, parts memory, key *rsa.PrivateKey) ([]byte, error) {
	m, err := Parse(raw)
	if err != nil {
		return nil, err
	}
	secret, err := m.Cloud(key, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	err = m.Read(secret, parts.open, &out, 1<<30)
	return out.Bytes(), err
}

func TestRoundTrip(t *testing.T) {
	p := pairs()
	big := make([]byte, 23<<20) // three parts: it does not compress
	mrand.New(mrand.NewSource(1)).Read(big)
	for _, data := range [][]byte{{1}, bytes.Repeat([]byte("x"), 512), make([]byte, 12<<20), big} {
		raw, parts := made(t, data, nil)
		m, err := Parse(raw)
		if err != nil {
			t.Fatal(err)
		}
		if !m.Verify([]*x509.Certificate{p[2].cert, p[1].cert}) || m.Verify([]*x509.Certificate{p[2].cert}) || m.Verify(nil) {
			t.Error("signature")
		}
		if m.Kind != Machine || m.KernelID != "aki-1" || m.ProductCodes[0] != "A&B" || m.Mappings[0].Device != "sda1" || len(m.Parts) != len(parts) {
			t.Errorf("%+v", m)
		}
		got, err := unbundle(t, raw, parts, p[0].key)
		if err != nil || !bytes.Equal(got, data) {
			t.Errorf("%d bytes: %d, %v", len(data), len(got), err)
		}
		secret, err := m.Owner(p[1].key, rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		var own bytes.Buffer
		if err := m.Read(secret, parts.open, &own, 1<<30); err != nil || !bytes.Equal(own.Bytes(), data) {
			t.Errorf("the owner: %v", err)
		}
	}
	for _, kind := range []string{Kernel, Ramdisk} {
		raw, _ := made(t, []byte("k"), func(s *Source) { s.Kind, s.Kernel = kind, "" })
		m, err := Parse(raw)
		if err != nil || m.Kind != kind || m.KernelID != "" || m.RamdiskID != "" || !strings.Contains(string(raw), "<"+kind+"_id>true</") {
			t.Errorf("%+v %v", m, err)
		}
	}
}

func TestWrongKey(t *testing.T) {
	raw, parts := made(t, []byte("hello"), nil)
	for range 20 { // whatever a random key makes of it
		if _, err := unbundle(t, raw, parts, pairs()[2].key); err == nil || !strings.Contains(err.Error(), "another certificate") {
			t.Fatal(err)
		}
	}
}

// TestHostile changes what an attacker can change. Nothing is taken, and each refusal says why.
func TestHostile(t *testing.T) {
	data := bytes.Repeat([]byte("data"), 1000)
	raw, parts := made(t, data, nil)
	text := string(raw)
	swap := func(old, with string) string {
		if !strings.Contains(text, old) {
			t.Fatalf("no %q in the manifest", old)
		}
		return strings.Replace(text, old, with, 1)
	}
	for name, c := range map[string]struct{ manifest, want string }{
		"empty":            {"", "not XML"},
		"rubbish":          {"<manifest", "not XML"},
		"other version":    {swap("2007-10-10", "2006-01-01"), "version"},
		"doctype":          {swap("<manifest>", `<!DOCTYPE x [<!ENTITY a "b">]><manifest>`), "markup"},
		"cdata":            {swap("<name>disk.img</name>", "<name><![CDATA[disk.img]]></name>"), "markup"},
		"two images":       {swap("<signature>", "<image><name>evil</name></image><signature>"), "one element image"},
		"path":             {swap("disk.img.part.0", "../../etc/passwd"), "file name"},
		"absolute":         {swap("disk.img.part.0", "/etc/passwd"), "file name"},
		"count":            {swap(`count="1"`, `count="2"`), "says that there are 2"},
		"many":             {swap(`count="1"`, `count="99999999999"`), ""},
		"index":            {swap(`index="0"`, `index="1"`), "index"},
		"size":             {swap("<size>4000</size>", "<size>4001</size>"), "4000 bytes"},
		"negative size":    {swap("<size>4000</size>", "<size>-1</size>"), "no sizes"},
		"beyond the limit": {swap("<size>4000</size>", "<size>9000000000000</size>"), "more than"},
		"no digest":        {swap(`<digest algorithm="SHA1">`, `<digest algorithm="SHA1">zz`), "digest"},
		"odd key":          {swap(`<ec2_encrypted_key algorithm="AES-128-CBC">`, `<ec2_encrypted_key algorithm="AES-128-CBC">zz`), "hexadecimal"},
		"kind":             {swap("<type>machine</type>", "<type>toaster</type>"), "type"},
	} {
		if _, err := unbundle(t, []byte(c.manifest), parts, pairs()[0].key); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	m, err := Parse([]byte(swap("<architecture>x86_64", "<architecture>i386")))
	if err != nil || m.Verify([]*x509.Certificate{pairs()[1].cert}) {
		t.Errorf("a changed manifest still has a good signature (%v)", err)
	}
	broken := func(change func([]byte) []byte, want string) {
		t.Helper()
		_, err := unbundle(t, raw, memory{"disk.img.part.0": change(bytes.Clone(parts["disk.img.part.0"]))}, pairs()[0].key)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Error(err)
		}
	}
	broken(func(b []byte) []byte { b[20] ^= 1; return b }, "")
	broken(func(b []byte) []byte { return b[:16] }, "")
	broken(func(b []byte) []byte { return nil }, "digest")
	broken(func(b []byte) []byte { return append(b, make([]byte, 1<<20)...) }, "longer")
	if _, err := unbundle(t, raw, memory{}, pairs()[0].key); err == nil || !strings.Contains(err.Error(), "no such part") {
		t.Error(err)
	}
}

// A bundle that is small and would become large is read no further than its manifest says, whoever signed it.
func TestDecompressionBombs(t *testing.T) {
	p := pairs()
	for name, c := range map[string]struct {
		head tar.Header
		tail int // zeros after the file
		want string
	}{
		"endless":          {tar.Header{Name: "disk.img", Size: 4000, Typeflag: tar.TypeReg}, 200 << 20, "longer than its image"},
		"larger than said": {tar.Header{Name: "disk.img", Size: 200 << 20, Typeflag: tar.TypeReg}, 200 << 20, "209715200 bytes"},
		"a link":           {tar.Header{Name: "disk.img", Linkname: "/etc/passwd", Typeflag: tar.TypeSymlink}, 0, "other than a file"},
	} {
		raw, parts := made(t, bytes.Repeat([]byte("data"), 1000), nil)
		m, err := Parse(raw)
		if err != nil {
			t.Fatal(err)
		}
		secret, err := m.Cloud(p[0].key, rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		block, err := aes.NewCipher(secret.key[:])
		if err != nil {
			t.Fatal(err)
		}
		m.Parts, m.BundledSize = nil, 0
		w := &partWriter{m: m, open: parts.create}
		enc := &encrypter{mode: cipher.NewCBCEncrypter(block, secret.iv[:]), w: w}
		zip := gzip.NewWriter(enc)
		archive := tar.NewWriter(zip)
		if err := archive.WriteHeader(&c.head); err != nil {
			t.Fatal(err)
		}
		if c.head.Size == 4000 {
			if _, err := archive.Write(make([]byte, 4000)); err != nil {
				t.Fatal(err)
			}
			archive.Flush()
		}
		zeros := make([]byte, 1<<20)
		for range c.tail >> 20 {
			zip.Write(zeros)
		}
		if err := errors.Join(zip.Close(), enc.close(), w.close()); err != nil {
			t.Fatal(err)
		}
		wrote := 0
		err = m.Read(secret, parts.open, countWriter(func(n int) { wrote += n }), 1<<40)
		var bad *Invalid
		if !errors.As(err, &bad) || !strings.Contains(bad.Reason, c.want) || wrote > 4000 {
			t.Errorf("%s: %v, %d bytes written", name, err, wrote)
		}
	}
}

type countWriter func(n int)

func (c countWriter) Write(b []byte) (int, error) { c(len(b)); return len(b), nil }

func TestWriteRefuses(t *testing.T) {
	p := pairs()
	good := Source{Image: strings.NewReader("x"), Size: 1, Name: "a", Kind: Machine, Certificate: p[1].cert, Key: p[1].key, Cloud: p[0].cert, Random: rand.Reader}
	for name, change := range map[string]func(*Source){
		"other key": func(s *Source) { s.Key = p[2].key },
		"name":      func(s *Source) { s.Name = "a/b" },
		"size":      func(s *Source) { s.Size = 2 },
		"empty":     func(s *Source) { s.Size = 0 },
	} {
		s := good
		s.Image = strings.NewReader("x")
		change(&s)
		if _, err := Write(s, memory{}.create); err == nil {
			t.Errorf("%s is taken", name)
		}
	}
}

func FuzzParse(f *testing.F) {
	raw, parts := made(f, []byte("hello"), nil)
	f.Add(raw)
	key := pairs()[0].key
	f.Fuzz(func(t *testing.T, raw []byte) {
		m, err := Parse(raw)
		if err != nil {
			return
		}
		secret, err := m.Cloud(key, rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		m.Read(secret, parts.open, io.Discard, 1<<20)
	})
}

func ExampleInvalid() {
	_, err := Parse(nil)
	fmt.Println(err)
	// Output: The manifest is not XML: EOF
}
