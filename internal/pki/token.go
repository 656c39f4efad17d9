package pki

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"fmt"
	"strings"
)

// Token is a one-time join token: which record it is, its secret, and the root's fingerprint so that the
// joining process knows whom to trust. Its text is "ID.SECRET.FINGERPRINT".
type Token struct{ ID, Secret, Root string }

func (t Token) String() string { return t.ID + "." + t.Secret + "." + t.Root }

// ParseToken reads a token's text.
func ParseToken(s string) (Token, error) {
	parts := strings.Split(strings.TrimSpace(s), ".")
	if len(parts) != 3 || parts[0] == "" || parts[1] == "" || len(parts[2]) != sha256.Size*2 {
		return Token{}, fmt.Errorf("this is not a join token: want ID.SECRET.FINGERPRINT")
	}
	return Token{parts[0], parts[1], parts[2]}, nil
}

// Hash is what the store keeps of a secret.
func Hash(secret string) string {
	sum := sha256.Sum256([]byte(secret))
	return hex.EncodeToString(sum[:])
}

// HashMatches compares in constant time.
func HashMatches(hash, secret string) bool {
	return subtle.ConstantTimeCompare([]byte(hash), []byte(Hash(secret))) == 1
}
