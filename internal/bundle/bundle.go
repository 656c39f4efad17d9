package bundle

import (
	"archive/tar"
	"bufio"
	"compress/gzip"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
)

// Source is what a bundle is made of.
type Source struct {
	Image       io.Reader
	Size        int64  // of Image in bytes
	Name        string // the image's file name; parts are NAME.part.N
	User        string // account id
	Kind        string // Machine, Kernel or Ramdisk
	Kernel      string // ids that go with a machine image; "" = none
	Ramdisk     string
	Mappings    []Mapping
	Codes       []string
	Certificate *x509.Certificate // the user's, or the cloud's for what it bundles itself
	Key         *rsa.PrivateKey   // with which the bundle is signed: the certificate's
	Owner       *x509.Certificate // whose key opens the bundle beside the cloud's; nil: Certificate's
	Cloud       *x509.Certificate
	Random      io.Reader // of keys
}

// Write bundles an image. part opens each part to be written, in order; the manifest comes last.
func Write(s Source, part func(name string) (io.WriteCloser, error)) ([]byte, error) {
	cloud, ok := s.Cloud.PublicKey.(*rsa.PublicKey)
	if !ok {
		return nil, errors.New("the cloud's certificate has no RSA key")
	}
	user, ok := s.Certificate.PublicKey.(*rsa.PublicKey)
	if !ok || user.N.Cmp(s.Key.N) != 0 {
		return nil, errors.New("the user's certificate does not go with the user's private key")
	}
	if s.Owner != nil {
		if user, ok = s.Owner.PublicKey.(*rsa.PublicKey); !ok {
			return nil, errors.New("the owner's certificate has no RSA key")
		}
	}
	if !ValidName(s.Name) {
		return nil, fmt.Errorf("an image cannot be bundled under the name %q", s.Name)
	}
	if s.Size <= 0 {
		return nil, errors.New("the image is empty")
	}
	secret := make([]byte, 32)
	if _, err := io.ReadFull(s.Random, secret); err != nil {
		return nil, fmt.Errorf("make a key: %w", err)
	}
	m := &Manifest{
		Architecture: "x86_64", KernelID: s.Kernel, RamdiskID: s.Ramdisk, Mappings: s.Mappings, ProductCodes: s.Codes, Name: s.Name, User: s.User,
		Kind: s.Kind, Size: s.Size,
	}
	for _, e := range []struct {
		key   *rsa.PublicKey
		plain []byte
		to    *[]byte
	}{{cloud, secret[:16], &m.CloudKey}, {cloud, secret[16:], &m.CloudIV}, {user, secret[:16], &m.UserKey}, {user, secret[16:], &m.UserIV}} {
		//lint:ignore SA1019 the format of bundles knows no other
		b, err := rsa.EncryptPKCS1v15(s.Random, e.key, []byte(hex.EncodeToString(e.plain)))
		if err != nil {
			return nil, fmt.Errorf("encrypt the key: %w", err)
		}
		*e.to = b
	}
	block, err := aes.NewCipher(secret[:16])
	if err != nil {
		return nil, err
	}
	parts := &partWriter{m: m, open: part}
	enc := &encrypter{mode: cipher.NewCBCEncrypter(block, secret[16:]), w: parts}
	zip := gzip.NewWriter(enc)
	sum := sha1.New()
	archive := tar.NewWriter(io.MultiWriter(zip, sum))
	if err := archive.WriteHeader(&tar.Header{Name: s.Name, Mode: 0o600, Size: s.Size, Typeflag: tar.TypeReg, Format: tar.FormatGNU}); err != nil {
		return nil, err
	}
	n, err := io.Copy(archive, s.Image)
	if err == nil && n != s.Size {
		err = fmt.Errorf("the image has %d bytes, not %d", n, s.Size)
	}
	if err := errors.Join(err, archive.Close(), zip.Close(), enc.close(), parts.close()); err != nil {
		return nil, fmt.Errorf("bundle %s: %w", s.Name, err)
	}
	m.Digest = hex.EncodeToString(sum.Sum(nil))
	return m.encode(s.Key)
}

// encrypter encrypts whole blocks and pads the last.
type encrypter struct {
	mode cipher.BlockMode
	w    io.Writer
	rest []byte
}

func (e *encrypter) Write(b []byte) (int, error) {
	e.rest = append(e.rest, b...)
	n := len(e.rest) / aes.BlockSize * aes.BlockSize
	out := e.rest[:n]
	e.mode.CryptBlocks(out, out)
	_, err := e.w.Write(out)
	e.rest = append([]byte(nil), e.rest[n:]...)
	return len(b), err
}

func (e *encrypter) close() error {
	pad := aes.BlockSize - len(e.rest)
	for range pad {
		e.rest = append(e.rest, byte(pad))
	}
	e.mode.CryptBlocks(e.rest, e.rest)
	_, err := e.w.Write(e.rest)
	return err
}

// partWriter cuts what it is given into parts.
type partWriter struct {
	m    *Manifest
	open func(name string) (io.WriteCloser, error)
	now  io.WriteCloser
	left int
	sum  hash.Hash
}

func (p *partWriter) Write(b []byte) (int, error) {
	total := len(b)
	for len(b) > 0 {
		if p.left == 0 {
			if err := p.close(); err != nil {
				return 0, err
			}
			if len(p.m.Parts) == MaxParts {
				return 0, fmt.Errorf("the image needs more than %d parts", MaxParts)
			}
			name := fmt.Sprintf("%s.part.%d", p.m.Name, len(p.m.Parts))
			f, err := p.open(name)
			if err != nil {
				return 0, err
			}
			p.now, p.left, p.sum = f, PartSize, sha1.New()
			p.m.Parts = append(p.m.Parts, Part{Name: name})
		}
		n := min(p.left, len(b))
		if _, err := p.now.Write(b[:n]); err != nil {
			return 0, err
		}
		p.sum.Write(b[:n])
		p.m.BundledSize += int64(n)
		p.left -= n
		b = b[n:]
	}
	return total, nil
}

func (p *partWriter) close() error {
	if p.now == nil {
		return nil
	}
	p.m.Parts[len(p.m.Parts)-1].Digest = hex.EncodeToString(p.sum.Sum(nil))
	err := p.now.Close()
	p.now = nil
	return err
}

// Secret is what opens a bundle.
type Secret struct{ key, iv [16]byte }

// Cloud opens a bundle's secret with the cloud's key. It does not say whether that went well: then anybody could
// ask it about ciphertexts of others until he knew what is in them. A wrong secret shows when the bundle is read.
func (m *Manifest) Cloud(key *rsa.PrivateKey, random io.Reader) (Secret, error) {
	return open(key, m.CloudKey, m.CloudIV, random)
}

// Owner opens it with the user's, likewise.
func (m *Manifest) Owner(key *rsa.PrivateKey, random io.Reader) (Secret, error) {
	return open(key, m.UserKey, m.UserIV, random)
}

func open(key *rsa.PrivateKey, sealedKey, sealedIV []byte, random io.Reader) (s Secret, err error) {
	for _, e := range []struct {
		sealed []byte
		to     *[16]byte
	}{{sealedKey, &s.key}, {sealedIV, &s.iv}} {
		var other [16]byte
		if _, err := io.ReadFull(random, other[:]); err != nil {
			return s, fmt.Errorf("open the bundle's key: %w", err)
		}
		text := []byte(hex.EncodeToString(other[:]))
		if len(e.sealed) == key.Size() {
			//lint:ignore SA1019 the format of bundles knows no other
			if err := rsa.DecryptPKCS1v15SessionKey(random, key, e.sealed, text); err != nil {
				text = []byte(hex.EncodeToString(other[:]))
			}
		}
		if _, err := hex.Decode(e.to[:], text); err != nil {
			*e.to = other
		}
	}
	return s, nil
}

var errWrongKey = &Invalid{"The bundle cannot be decrypted: it was bundled for another certificate, or its key is damaged. Bundle the image anew with this cloud's certificate (cloud-cert.pem)"}

// Read unbundles. part opens each part; the image goes to w. limit bounds the image's size in bytes.
func (m *Manifest) Read(secret Secret, part func(name string) (io.ReadCloser, error), w io.Writer, limit int64) error {
	if m.Size > limit {
		return invalid("The image has %d bytes, more than the %d that this cloud takes", m.Size, limit)
	}
	block, err := aes.NewCipher(secret.key[:])
	if err != nil {
		return err
	}
	parts := &partReader{m: m, open: part}
	defer parts.close()
	zip, err := gzip.NewReader(bufio.NewReader(&decrypter{mode: cipher.NewCBCDecrypter(block, secret.iv[:]), r: bufio.NewReaderSize(parts, 1<<16)}))
	if err != nil {
		return decryption(err)
	}
	sum := sha1.New()
	// A tar stream is the image, headers (of a sparse file: many) and padding.
	stream := io.TeeReader(io.LimitReader(zip, m.Size+m.Size/16+(64<<20)), sum)
	archive := tar.NewReader(stream)
	head, err := archive.Next()
	switch {
	case err != nil:
		return decryption(err)
	case head.Typeflag != tar.TypeReg && head.Typeflag != tar.TypeGNUSparse:
		return invalid("The bundle holds something other than a file")
	case head.Size != m.Size:
		return invalid("The bundle's image has %d bytes, the manifest says %d", head.Size, m.Size)
	}
	if _, err := io.Copy(target{w}, archive); err != nil {
		return decryption(err)
	}
	if _, err := archive.Next(); !errors.Is(err, io.EOF) {
		if err == nil {
			return invalid("The bundle holds more than one file")
		}
		return decryption(err)
	}
	if _, err := io.Copy(io.Discard, stream); err != nil {
		return decryption(err)
	}
	if n, err := io.Copy(io.Discard, io.LimitReader(zip, 1)); err != nil || n > 0 {
		return invalid("The bundle is longer than its image")
	}
	if hex.EncodeToString(sum.Sum(nil)) != m.Digest {
		return invalid("The image does not have the digest that the manifest says")
	}
	return nil
}

// decryption tells what went wrong with the parts from what is rubbish because the key is wrong.
func decryption(err error) error {
	var bad *Invalid
	var other *partError
	if errors.As(err, &bad) || errors.As(err, &other) || errors.Is(err, errTarget) {
		return err
	}
	return fmt.Errorf("%w (%w)", errWrongKey, err)
}

var errTarget = errors.New("write the image")

// target marks errors of writing.
type target struct{ w io.Writer }

func (t target) Write(b []byte) (int, error) {
	n, err := t.w.Write(b)
	if err != nil {
		err = fmt.Errorf("%w: %w", errTarget, err)
	}
	return n, err
}

// partError is an error of ours in reading a part, not the bundle's.
type partError struct{ error }

func (p *partError) Unwrap() error { return p.error }

// partReader reads all parts as one, and checks each.
type partReader struct {
	m     *Manifest
	open  func(name string) (io.ReadCloser, error)
	at    int // of the open part
	now   io.ReadCloser
	sum   hash.Hash
	total int64
}

func (p *partReader) close() {
	if p.now != nil {
		p.now.Close()
	}
}

func (p *partReader) Read(b []byte) (int, error) {
	for {
		if p.now == nil {
			if p.at == len(p.m.Parts) {
				if p.total != p.m.BundledSize {
					return 0, invalid("The parts have %d bytes together, the manifest says %d", p.total, p.m.BundledSize)
				}
				return 0, io.EOF
			}
			f, err := p.open(p.m.Parts[p.at].Name)
			if err != nil {
				return 0, &partError{err}
			}
			p.now, p.sum = f, sha1.New()
		}
		n, err := p.now.Read(b)
		p.sum.Write(b[:n])
		if p.total += int64(n); p.total > p.m.BundledSize {
			return 0, invalid("The parts are longer than the %d bytes that the manifest says", p.m.BundledSize)
		}
		if errors.Is(err, io.EOF) {
			p.now.Close()
			p.now = nil
			if hex.EncodeToString(p.sum.Sum(nil)) != p.m.Parts[p.at].Digest {
				return 0, invalid("The part %s does not have the digest that the manifest says: upload it again", p.m.Parts[p.at].Name)
			}
			p.at++
			if n == 0 {
				continue
			}
			return n, nil
		}
		if err != nil {
			err = &partError{err}
		}
		return n, err
	}
}

// decrypter decrypts and takes the padding away.
type decrypter struct {
	mode cipher.BlockMode
	r    *bufio.Reader
	out  []byte
	done bool
}

func (d *decrypter) Read(b []byte) (int, error) {
	for len(d.out) == 0 {
		if d.done {
			return 0, io.EOF
		}
		buf := make([]byte, 32<<10)
		n, err := io.ReadFull(d.r, buf)
		if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, io.EOF) {
			return 0, err
		}
		if n%aes.BlockSize != 0 || n == 0 {
			return 0, invalid("The parts are not whole cipher blocks")
		}
		buf = buf[:n]
		d.mode.CryptBlocks(buf, buf)
		if _, err := d.r.Peek(1); errors.Is(err, io.EOF) { // this was the end
			d.done = true
			pad := int(buf[n-1])
			if pad < 1 || pad > aes.BlockSize {
				return 0, errWrongKey
			}
			buf = buf[:n-pad]
		} else if err != nil {
			return 0, err
		}
		d.out = buf
	}
	n := copy(b, d.out)
	d.out = d.out[n:]
	return n, nil
}
