// Package denial makes the encoded authorisation messages of refusals (EC2's UnauthorizedOperation) and opens them
// for sts:DecodeAuthorizationMessage. A message is sealed: why a call was refused is for those to read whom
// the account lets decode it, not for who was refused.
package denial

import (
	"bytes"
	"compress/flate"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"

	"karri.dev/internal/seal"
)

// Message says why a call was refused, in the members of AWS's decoded messages.
type Message struct {
	Allowed           bool       `json:"allowed"`
	ExplicitDeny      bool       `json:"explicitDeny"`
	MatchedStatements Statements `json:"matchedStatements"`
	Failures          Statements `json:"failures"`
	Context           Context    `json:"context"`
}

// Statements are policy statements that matched.
type Statements struct {
	Items []Statement `json:"items"`
}

// Statement is one of them.
type Statement struct {
	StatementID  string `json:"statementId"`
	Effect       string `json:"effect"`
	SourcePolicy string `json:"sourcePolicyType,omitempty"` // "identity-based policy"
}

// Context is what was asked.
type Context struct {
	Principal  Principal  `json:"principal"`
	Action     string     `json:"action"`
	Resource   string     `json:"resource"`
	Conditions Conditions `json:"conditions"`
}

// Principal is who asked.
type Principal struct {
	ID  string `json:"id"`
	ARN string `json:"arn"`
}

// Conditions are the keys of the request.
type Conditions struct {
	Items []Condition `json:"items"`
}

// Condition is one key with its values.
type Condition struct {
	Key    string `json:"key"`
	Values Values `json:"values"`
}

// Values are a key's values.
type Values struct {
	Items []Value `json:"items"`
}

// Value is one value.
type Value struct {
	Value string `json:"value"`
}

const (
	maxEncoded = 64 << 10 // of what is decoded
	maxPlain   = 256 << 10
)

// ErrInvalid says that a message was not made here, or for another account.
var ErrInvalid = errors.New("the encoded message is not valid")

// Codec makes and opens messages.
type Codec struct{ sealer *seal.Sealer }

// New makes a Codec with the cloud's key, so that every process of the cloud opens every other's.
func New(s *seal.Sealer) *Codec { return &Codec{s} }

func context(account string) string { return "denial:" + account }

// Encode seals a message for the account of who was refused.
func (c *Codec) Encode(account string, m *Message) (string, error) {
	text, err := json.Marshal(m)
	if err != nil {
		return "", err
	}
	var b bytes.Buffer
	w, _ := flate.NewWriter(&b, flate.BestSpeed) // only a wrong level is an error
	_, _ = w.Write(text)                         // into memory
	_ = w.Close()
	return base64.RawURLEncoding.EncodeToString(c.sealer.Seal(b.Bytes(), context(account))), nil
}

// Decode gives the text of a message, JSON, to somebody of the account.
func (c *Codec) Decode(account, encoded string) (string, error) {
	if len(encoded) > maxEncoded {
		return "", ErrInvalid
	}
	raw, err := base64.RawURLEncoding.DecodeString(encoded)
	if err != nil {
		return "", ErrInvalid
	}
	packed, err := c.sealer.Open(raw, context(account))
	if err != nil {
		return "", ErrInvalid
	}
	text, err := io.ReadAll(io.LimitReader(flate.NewReader(bytes.NewReader(packed)), maxPlain))
	if err != nil {
		return "", ErrInvalid
	}
	return string(text), nil
}
