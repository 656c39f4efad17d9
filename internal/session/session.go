// Package session makes and opens session tokens: what a session is, sealed, so that whoever holds the cloud's
// key can check it without looking anything up. That its principal still exists is for the caller to check.
package session

import (
	"bytes"
	"compress/flate"
	"encoding/base32"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"karri.dev/internal/aws/call"
	"karri.dev/internal/ids"
	"karri.dev/internal/seal"
)

const (
	// KeyPrefix begins the access key ids of sessions.
	KeyPrefix = "ASIA"
	// MaxPacked is the most that session policies and tags may take together, in bytes as they are packed.
	MaxPacked = 4096
	// maxToken bounds a token: MaxPacked and all else that a session can carry, in base64.
	maxToken = 12 << 10
	// maxPlain bounds what an unpacked token may take.
	maxPlain = 128 << 10

	version = 1
	context = "session token"
)

// Errors of Open. A token that is not ours, belongs to another key or was changed is invalid.
var (
	ErrInvalid  = errors.New("the session token is not valid")
	ErrExpired  = errors.New("the session has expired")
	ErrTooLarge = errors.New("session policies and tags are too large together")
)

// Credentials are what a client signs with.
type Credentials struct {
	AccessKeyID string
	Secret      string
	Token       string
	ExpiresAt   time.Time
}

// Codec makes and opens tokens.
type Codec struct {
	sealer *seal.Sealer
	ids    *ids.Source
}

// NewCodec makes a Codec of a key of seal.KeySize bytes that serves nothing else.
func NewCodec(key []byte, source *ids.Source) (*Codec, error) {
	s, err := seal.New(key)
	if err != nil {
		return nil, fmt.Errorf("session tokens: %w", err)
	}
	return &Codec{s, source}, nil
}

// sealed is a token's content.
type sealed struct {
	Key    string `json:"key"`
	Secret string `json:"secret"`
	call.Session
}

// Packed gives what session policies and tags take of MaxPacked, in percent, rounded up. More than 100 is
// ErrTooLarge.
func Packed(s *call.Session) (percent int, err error) {
	if len(s.Policies) == 0 && len(s.PolicyARNs) == 0 && len(s.Tags) == 0 {
		return 0, nil
	}
	text, err := json.Marshal([]any{s.Policies, s.PolicyARNs, s.Tags, s.TransitiveTags})
	if err != nil {
		return 0, err
	}
	percent = (len(pack(text))*100 + MaxPacked - 1) / MaxPacked
	if percent > 100 {
		return percent, ErrTooLarge
	}
	return percent, nil
}

// Make gives credentials for a session.
func (c *Codec) Make(s *call.Session) (Credentials, error) {
	if _, err := Packed(s); err != nil {
		return Credentials{}, err
	}
	random := make([]byte, 0, 8)
	for _, part := range []string{c.ids.Hex(4), c.ids.Hex(4)} {
		n, err := strconv.ParseUint(part, 16, 32)
		if err != nil {
			return Credentials{}, err
		}
		random = binary.BigEndian.AppendUint32(random, uint32(n))
	}
	id, err := keyID(s.AccountID, random)
	if err != nil {
		return Credentials{}, err
	}
	content := sealed{Key: id, Secret: c.ids.Secret(), Session: *s}
	text, err := json.Marshal(content)
	if err != nil {
		return Credentials{}, err
	}
	token := base64.StdEncoding.EncodeToString(append([]byte{version}, c.sealer.Seal(pack(text), context)...))
	if len(token) > maxToken { // Open would not take it
		return Credentials{}, ErrTooLarge
	}
	return Credentials{id, content.Secret, token, s.ExpiresAt}, nil
}

// Open gives a session and the secret of its key. A session that is over is given too, with ErrExpired.
func (c *Codec) Open(accessKeyID, token string, now time.Time) (*call.Session, string, error) {
	if len(token) > maxToken {
		return nil, "", ErrInvalid
	}
	raw, err := base64.StdEncoding.Strict().DecodeString(token)
	if err != nil || len(raw) == 0 || raw[0] != version {
		return nil, "", ErrInvalid
	}
	plain, err := c.sealer.Open(raw[1:], context)
	if err != nil {
		return nil, "", ErrInvalid
	}
	text, err := io.ReadAll(io.LimitReader(flate.NewReader(bytes.NewReader(plain)), maxPlain))
	if err != nil {
		return nil, "", ErrInvalid
	}
	var s sealed
	if json.Unmarshal(text, &s) != nil || s.Key != accessKeyID || s.Secret == "" {
		return nil, "", ErrInvalid
	}
	if !now.Before(s.ExpiresAt) {
		return &s.Session, s.Secret, ErrExpired
	}
	return &s.Session, s.Secret, nil
}

func pack(text []byte) []byte {
	var b bytes.Buffer
	w, _ := flate.NewWriter(&b, flate.BestSpeed) // only a wrong level is an error
	_, _ = w.Write(text)                         // into memory
	_ = w.Close()
	return b.Bytes()
}

// keyID makes an access key id that tells its account, as AWS's do: a bit, 40 bits of account, 39 at random.
func keyID(account string, random []byte) (string, error) {
	n, err := strconv.ParseUint(account, 10, 40)
	if err != nil || len(account) != 12 {
		return "", fmt.Errorf("no access key id for account %q", account)
	}
	b := make([]byte, 10)
	var head [8]byte
	binary.BigEndian.PutUint64(head[:], 1<<47|n<<7|uint64(random[4]&0x7f))
	copy(b, head[2:])
	copy(b[6:], random[:4])
	return KeyPrefix + base32.StdEncoding.EncodeToString(b), nil
}

// Account gives the account that a session's access key id tells.
func Account(accessKeyID string) (string, bool) {
	text, ok := strings.CutPrefix(accessKeyID, KeyPrefix)
	if !ok || len(text) != 16 {
		return "", false
	}
	b, err := base32.StdEncoding.DecodeString(text)
	if err != nil {
		return "", false
	}
	var head [8]byte
	copy(head[2:], b[:6])
	bits := binary.BigEndian.Uint64(head[:])
	account := fmt.Sprintf("%012d", bits>>7&(1<<40-1))
	return account, bits>>47 == 1 && len(account) == 12
}
