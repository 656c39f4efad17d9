// Package checksum computes the checksums that S3 knows, as S3 writes them: base64 of the big-endian value.
package checksum

import (
	"crypto/sha1"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"hash"
	"hash/crc32"
	"strings"

	"github.com/minio/crc64nvme"
)

// Algorithm is a checksum algorithm by its S3 name. The zero Algorithm is none.
type Algorithm string

// The algorithms.
const (
	CRC32     Algorithm = "CRC32"
	CRC32C    Algorithm = "CRC32C"
	CRC64NVME Algorithm = "CRC64NVME"
	SHA1      Algorithm = "SHA1"
	SHA256    Algorithm = "SHA256"
)

// Default is the algorithm of objects whose client sent no checksum.
const Default = CRC64NVME

// Types of a multipart object's checksum.
const (
	FullObject = "FULL_OBJECT" // of all the bytes, as if there were no parts
	Composite  = "COMPOSITE"   // of the parts' checksums, followed by "-" and their number
)

// All lists the algorithms.
func All() []Algorithm { return []Algorithm{CRC32, CRC32C, CRC64NVME, SHA1, SHA256} }

// Parse finds an algorithm by its name, in any case.
func Parse(name string) (Algorithm, bool) {
	for _, a := range All() {
		if strings.EqualFold(name, string(a)) {
			return a, true
		}
	}
	return "", false
}

// Header is the header that carries a value: "x-amz-checksum-crc32".
func (a Algorithm) Header() string { return "x-amz-checksum-" + strings.ToLower(string(a)) }

// Size is the length of a value in bytes.
func (a Algorithm) Size() int { return a.New().Size() }

// CRC says that the algorithm can be combined: FULL_OBJECT is possible.
func (a Algorithm) CRC() bool { return a == CRC32 || a == CRC32C || a == CRC64NVME }

// Type is the type of a multipart object's checksum unless the client chooses.
func (a Algorithm) Type() string {
	if a == CRC64NVME {
		return FullObject
	}
	return Composite
}

// Allows says whether a multipart object may have a checksum of this type.
func (a Algorithm) Allows(kind string) bool {
	return kind == FullObject && a.CRC() || kind == Composite && a != CRC64NVME
}

// New begins a computation. It panics on an algorithm that is none of the above.
func (a Algorithm) New() hash.Hash {
	switch a {
	case CRC32:
		return crc32.NewIEEE()
	case CRC32C:
		return crc32.New(crc32.MakeTable(crc32.Castagnoli))
	case CRC64NVME:
		return crc64nvme.New()
	case SHA1:
		return sha1.New()
	case SHA256:
		return sha256.New()
	}
	panic(fmt.Sprintf("checksum: no algorithm %q", string(a)))
}

// Encode writes a value as S3 does.
func Encode(h hash.Hash) string { return base64.StdEncoding.EncodeToString(h.Sum(nil)) }

// Valid says whether s can be a value of this algorithm.
func (a Algorithm) Valid(s string) bool {
	_, err := a.decode(s)
	return err == nil
}

func (a Algorithm) decode(s string) ([]byte, error) {
	b, err := base64.StdEncoding.Strict().DecodeString(s)
	if err != nil {
		return nil, fmt.Errorf("decode %s: %w", a, err)
	}
	if len(b) != a.Size() || base64.StdEncoding.EncodeToString(b) != s { // the decoder passes over newlines
		return nil, fmt.Errorf("decode %s: not a value of %d bytes", a, a.Size())
	}
	return b, nil
}

// Part is what is known of a part: its checksum and its size in bytes.
type Part struct {
	Value string
	Size  int64
}

var errNoCombine = errors.New("checksum cannot be combined")

// Join gives the checksum of a multipart object from those of its parts.
func (a Algorithm) Join(kind string, parts []Part) (string, error) {
	if !a.Allows(kind) {
		return "", fmt.Errorf("%s %s: %w", kind, a, errNoCombine)
	}
	if kind == FullObject {
		return a.combine(parts)
	}
	h := a.New()
	for _, p := range parts {
		b, err := a.decode(p.Value)
		if err != nil {
			return "", err
		}
		h.Write(b)
	}
	return fmt.Sprintf("%s-%d", Encode(h), len(parts)), nil
}
