// Package page makes the opaque NextTokens of paginated answers. A token is sealed: a client can neither
// read nor make one, and it opens only for the account, region and operation that it was given to.
package page

import (
	"encoding/base64"
	"strings"

	"karri.dev/internal/aws/awserr"
	"karri.dev/internal/seal"
)

// maxToken bounds what is decoded of a client's token, in bytes.
const maxToken = 1024

// Tokens makes and opens tokens.
type Tokens struct{ sealer *seal.Sealer }

// New makes Tokens with the cloud's key, so that every process of the cloud opens every other's.
func New(s *seal.Sealer) *Tokens { return &Tokens{s} }

func context(scope []string) string { return "page:" + strings.Join(scope, "\x00") }

// Make gives a token for going on at key. scope names what the token is good for.
func (t *Tokens) Make(key string, scope ...string) string {
	return base64.RawURLEncoding.EncodeToString(t.sealer.Seal([]byte(key), context(scope)))
}

// Open gives the key in a token made for the same scope, or an AWS error. The empty token gives "".
func (t *Tokens) Open(token string, scope ...string) (string, error) {
	if token == "" {
		return "", nil
	}
	if len(token) <= maxToken {
		if raw, err := base64.RawURLEncoding.DecodeString(token); err == nil {
			if key, err := t.sealer.Open(raw, context(scope)); err == nil {
				return string(key), nil
			}
		}
	}
	return "", awserr.New("InvalidNextToken", "The token '%.40s' is invalid", token)
}
