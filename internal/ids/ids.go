// Package ids makes identifiers of the shapes that AWS uses.
package ids

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io"
	"sync"
)

// Source makes identifiers from a stream of random bytes.
type Source struct {
	mu   sync.Mutex
	rand io.Reader
}

// New makes a Source; a nil reader means the system's random numbers, tests give a seeded one.
func New(r io.Reader) *Source {
	if r == nil {
		r = rand.Reader
	}
	return &Source{rand: r}
}

func (s *Source) bytes(n int) []byte {
	b := make([]byte, n)
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, err := io.ReadFull(s.rand, b); err != nil {
		panic(fmt.Sprintf("ids: no random bytes: %v", err)) // the system's source does not fail
	}
	return b
}

// Resource gives a resource id: prefix ("i-", "vpc-") and 17 hex digits.
func (s *Source) Resource(prefix string) string {
	return prefix + hex.EncodeToString(s.bytes(9))[:17]
}

// IAM gives an IAM id: prefix ("AIDA", "AKIA") and upper-case letters and digits, 20 characters (21 but for keys).
func (s *Source) IAM(prefix string) string {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
	n := 17
	if prefix == "AKIA" || prefix == "ASIA" {
		n = 16
	}
	b := s.bytes(n)
	for i := range b {
		b[i] = alphabet[b[i]%32]
	}
	return prefix + string(b)
}

// Secret gives a 40-character secret access key.
func (s *Source) Secret() string { return base64.StdEncoding.EncodeToString(s.bytes(30)) }

// Account gives a 12-digit account id that does not begin with 0.
func (s *Source) Account() string {
	b := s.bytes(12)
	for i := range b {
		b[i] = '0' + b[i]%10
	}
	if b[0] == '0' {
		b[0] = '1'
	}
	return string(b)
}

// Canonical gives an S3 canonical user id: 64 hex digits.
func (s *Source) Canonical() string { return hex.EncodeToString(s.bytes(32)) }

// UUID gives a random UUID, as in request ids.
func (s *Source) UUID() string {
	b := s.bytes(16)
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	u := make([]byte, 0, 37)
	for _, part := range [][]byte{b[:4], b[4:6], b[6:8], b[8:10], b[10:]} {
		u = append(hex.AppendEncode(u, part), '-')
	}
	return string(u[:36])
}

// Hex gives n random bytes as hex digits.
func (s *Source) Hex(n int) string { return hex.EncodeToString(s.bytes(n)) }
