package disk

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/md5"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"fmt"

	"karri.dev/internal/object"
)

// Every version, and every upload, has a data key of its own, with which its bytes are encrypted in blocks
// (AES-256-GCM). The key is in its record, sealed with the cloud's key or with the customer's. A block's nonce is its
// place: the id of the content and the block's number, and no id is given out twice. So a block that was changed,
// moved or taken from elsewhere does not open. A record without a sealed key is of bytes that are not encrypted.

// Sealer seals data keys; seal.Sealer is one.
type Sealer interface {
	Seal(plain []byte, context string) []byte
	Open(sealed []byte, context string) ([]byte, error)
}

// First byte of a sealed data key: who sealed it.
const (
	sealedByCloud    = 1
	sealedByCustomer = 2
)

const (
	dataKeySize = 32
	dataKeyUse  = "object data key"
	gcmTag      = 16
)

// secret is a data key. nil means that bytes are not encrypted.
type secret struct {
	aead   cipher.AEAD
	key    []byte
	sealed []byte
}

func newAEAD(key []byte) (cipher.AEAD, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, fmt.Errorf("data key: %w", err)
	}
	return cipher.NewGCM(block)
}

// newSecret makes a data key. customer is nil unless the customer brings the key to seal it with.
func (e *Engine) newSecret(customer []byte) (*secret, error) {
	if customer == nil && e.cfg.Sealer == nil {
		return nil, nil
	}
	s := &secret{key: make([]byte, dataKeySize)}
	rand.Read(s.key)
	var err error
	if s.aead, err = newAEAD(s.key); err != nil {
		return nil, err
	}
	if customer == nil {
		s.sealed = append([]byte{sealedByCloud}, e.cfg.Sealer.Seal(s.key, dataKeyUse)...)
		return s, nil
	}
	if len(customer) != dataKeySize {
		return nil, object.ErrKey
	}
	wrap, err := newAEAD(customer)
	if err != nil {
		return nil, err
	}
	nonce := make([]byte, wrap.NonceSize())
	rand.Read(nonce)
	s.sealed = wrap.Seal(append([]byte{sealedByCustomer}, nonce...), nonce, s.key, []byte(dataKeyUse))
	return s, nil
}

// openSecret opens a sealed data key. That it opens is the only proof of the customer's key that is kept.
func (e *Engine) openSecret(sealed, customer []byte) (*secret, error) {
	if (encryption(sealed) == object.ByCustomer) != (customer != nil) {
		return nil, object.ErrKey
	}
	if len(sealed) == 0 {
		return nil, nil
	}
	s := &secret{sealed: sealed}
	var err error
	switch {
	case customer != nil:
		wrap, err := newAEAD(customer)
		if err != nil || len(customer) != dataKeySize || len(sealed) < 1+wrap.NonceSize() {
			return nil, object.ErrKey
		}
		nonce := sealed[1 : 1+wrap.NonceSize()]
		if s.key, err = wrap.Open(nil, nonce, sealed[1+len(nonce):], []byte(dataKeyUse)); err != nil {
			return nil, object.ErrKey
		}
	case e.cfg.Sealer == nil:
		return nil, fmt.Errorf("%w: it is encrypted, and the engine has no key", object.ErrCorrupt)
	default:
		if s.key, err = e.cfg.Sealer.Open(sealed[1:], dataKeyUse); err != nil {
			return nil, fmt.Errorf("%w: data key: %w", object.ErrCorrupt, err)
		}
	}
	s.aead, err = newAEAD(s.key)
	return s, err
}

// encryption says who has the key of a sealed data key.
func encryption(sealed []byte) string {
	switch {
	case len(sealed) == 0:
		return ""
	case sealed[0] == sealedByCustomer:
		return object.ByCustomer
	}
	return object.ByCloud
}

func (s *secret) sealedKey() []byte {
	if s == nil {
		return nil
	}
	return s.sealed
}

// digest is what is shown of a body's MD5. Of a body under the customer's key nothing is: the MD5 would tell who
// guesses the body that the guess is right.
func (s *secret) digest(sum [md5.Size]byte) [md5.Size]byte {
	if s == nil || encryption(s.sealed) != object.ByCustomer {
		return sum
	}
	m := hmac.New(sha256.New, s.key)
	m.Write([]byte("etag"))
	m.Write(sum[:])
	return [md5.Size]byte(m.Sum(nil)[:md5.Size])
}

func blockNonce(id uint64, index int64) (n [12]byte) {
	binary.BigEndian.PutUint64(n[:8], id)
	binary.BigEndian.PutUint32(n[8:], uint32(index))
	return n
}

// blockData is how many bytes of a body fit into a block.
func (s *secret) blockData() int {
	if s == nil {
		return blockData
	}
	return blockData - gcmTag
}

// overhead is what encryption adds to a block, in bytes.
func (s *secret) overhead() int64 { return int64(blockData - s.blockData()) }

// stored gives the size on disk of n bytes.
func (s *secret) stored(n int64) int64 {
	per := int64(s.blockData())
	return n + (n+per-1)/per*(blockSum+s.overhead())
}

// encrypt appends the encrypted block, without its checksum, to dst.
func (s *secret) encrypt(dst, plain []byte, id uint64, index int64) []byte {
	if s == nil {
		return append(dst, plain...)
	}
	n := blockNonce(id, index)
	return s.aead.Seal(dst, n[:], plain, nil)
}

// decrypt appends a block's bytes to dst; false if they are not what was written there. dst may be the block's own beginning.
func (s *secret) decrypt(dst, block []byte, id uint64, index int64) ([]byte, bool) {
	if s == nil {
		return append(dst, block...), true
	}
	n := blockNonce(id, index)
	plain, err := s.aead.Open(dst, n[:], block, nil)
	return plain, err == nil
}

// openBlock appends the bytes of a block as it is stored. Encryption proves more than the checksum, which is then left to
// the scrubber.
func (s *secret) openBlock(dst, stored []byte, id uint64, index int64) ([]byte, bool) {
	if s == nil {
		data, ok := openBlock(stored, id, index)
		return append(dst, data...), ok
	}
	if len(stored) < blockSum {
		return dst, false
	}
	return s.decrypt(dst, stored[:len(stored)-blockSum], id, index)
}
