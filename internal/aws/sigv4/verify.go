package sigv4

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"strings"
	"sync"
)

// keyCacheSize bounds each of the two generations of derived day keys (about 200 bytes each).
const keyCacheSize = 4096

// Verifier checks signatures. It keeps the keys it derived: a key serves one secret, day, region and service.
type Verifier struct {
	mu         sync.RWMutex
	young, old map[keyName]*[32]byte

	scratch sync.Pool // *[]byte for canonical requests
}

type keyName struct{ secret, date, region, service string }

// NewVerifier makes a Verifier with an empty cache.
func NewVerifier() *Verifier {
	v := &Verifier{young: map[keyName]*[32]byte{}}
	v.scratch.New = func() any { b := make([]byte, 0, 2048); return &b }
	return v
}

// Proof is a verified signature's key material; chunked payloads are checked with it.
type Proof struct {
	key         [32]byte
	stamp       string
	scope       string
	seed        string
	payload     string
	accessKeyID string
}

// Verify checks the signature with the secret of its access key. r.Payload is what the client signed as its
// payload's digest: Signature.Payload for S3, the digest of the body read elsewhere.
func (v *Verifier) Verify(s *Signature, r *Request, secret string) (*Proof, error) {
	if err := s.checkSigned(r); err != nil {
		return nil, err
	}
	p := &Proof{stamp: s.stamp, scope: s.Scope.String(), seed: s.Hex, payload: r.Payload, accessKeyID: s.AccessKeyID}
	name := keyName{secret, s.Date, s.Region, s.Service}
	key, cached := v.lookup(name)
	if !cached {
		k := deriveKey(secret, s.Scope)
		key = &k
	}
	buf := v.scratch.Get().(*[]byte)
	defer v.scratch.Put(buf)
	canonical := appendCanonical((*buf)[:0], r, s.Signed)
	*buf = canonical
	digest := sha256.Sum256(canonical)
	var room [256]byte
	sts := appendStringToSign(room[:0], p.stamp, p.scope, digest)
	want := mac(key, sts)
	var claimed [32]byte
	if _, err := hex.Decode(claimed[:], []byte(s.Hex)); err != nil || subtle.ConstantTimeCompare(want[:], claimed[:]) != 1 {
		return nil, &Error{
			Reason: Mismatch, Message: "The request signature we calculated does not match the signature you provided.",
			StringToSign: string(sts), CanonicalRequest: string(canonical),
		}
	}
	if !cached { // only keys that proved right: nobody can fill the cache with guesses
		v.keep(name, key)
	}
	p.key = *key
	return p, nil
}

// checkSigned refuses requests whose host or x-amz- headers could be changed on the way.
func (s *Signature) checkSigned(r *Request) error {
	var missing []string
	if !s.Covers("host") {
		missing = append(missing, "host")
	}
	for name := range r.Header {
		if len(name) > 6 && strings.EqualFold(name[:6], "X-Amz-") {
			if lower := strings.ToLower(name); !s.Covers(lower) {
				missing = append(missing, lower)
			}
		}
	}
	if missing == nil {
		return nil
	}
	return &Error{Reason: HeadersNotSigned, Message: "There were headers present in the request which were not signed", Names: missing}
}

func (v *Verifier) lookup(name keyName) (*[32]byte, bool) {
	v.mu.RLock()
	k, ok := v.young[name]
	if ok {
		v.mu.RUnlock()
		return k, true
	}
	k, ok = v.old[name]
	v.mu.RUnlock()
	if ok {
		v.keep(name, k)
	}
	return k, ok
}

// keep adds a key to the young generation; a full one becomes the old one.
func (v *Verifier) keep(name keyName, key *[32]byte) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if len(v.young) >= keyCacheSize {
		v.old, v.young = v.young, make(map[keyName]*[32]byte)
	}
	v.young[name] = key
}

func deriveKey(secret string, s Scope) [32]byte {
	k := macLong([]byte("AWS4"+secret), []byte(s.Date))
	k = mac(&k, []byte(s.Region))
	k = mac(&k, []byte(s.Service))
	return mac(&k, []byte("aws4_request"))
}

// macLong is HMAC-SHA256 for keys of any length.
func macLong(key, msg []byte) [32]byte {
	if len(key) > sha256.BlockSize {
		k := sha256.Sum256(key)
		return mac(&k, msg)
	}
	return macBlock(key, msg)
}

// mac is HMAC-SHA256 without allocations for messages of up to 256 bytes.
func mac(key *[32]byte, msg []byte) [32]byte { return macBlock(key[:], msg) }

// macBlock is HMAC-SHA256 for keys of up to one block.
func macBlock(key, msg []byte) [32]byte {
	var room [sha256.BlockSize + 256]byte
	b := room[:sha256.BlockSize]
	copy(b, key)
	for i := range b {
		b[i] ^= 0x36
	}
	inner := sha256.Sum256(append(b, msg...))
	for i := range sha256.BlockSize {
		room[i] ^= 0x36 ^ 0x5c
	}
	return sha256.Sum256(append(room[:sha256.BlockSize], inner[:]...))
}

func appendStringToSign(b []byte, stamp, scope string, digest [32]byte) []byte {
	b = append(b, algorithm+"\n"...)
	b = append(b, stamp...)
	b = append(b, '\n')
	b = append(b, scope...)
	b = append(b, '\n')
	return hex.AppendEncode(b, digest[:])
}
