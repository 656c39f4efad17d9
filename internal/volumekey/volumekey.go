// Package volumekey makes the keys of encrypted volumes: one each, random, and sealed in the volume's record for its
// account. Cloud and zones open them.
package volumekey

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"

	"karri.dev/internal/seal"
)

// Keys seals and opens volumes' keys.
type Keys struct{ shared []byte }

// New makes Keys of the key that the cloud shares with its zones.
func New(shared []byte) *Keys { return &Keys{shared} }

func (k *Keys) of(account string) (*seal.Sealer, error) {
	m := hmac.New(sha256.New, k.shared)
	m.Write([]byte("volumes of " + account))
	return seal.New(m.Sum(nil))
}

// Make makes a volume's key, and gives it sealed.
func (k *Keys) Make(account, volume string) ([]byte, error) {
	s, err := k.of(account)
	if err != nil {
		return nil, err
	}
	raw := make([]byte, 32)
	rand.Read(raw)
	return s.Seal([]byte(base64.StdEncoding.EncodeToString(raw)), "volume:"+volume), nil
}

// Open gives a volume's key, which is text. One that was sealed for another volume or account does not open.
func (k *Keys) Open(account, volume string, sealed []byte) (string, error) {
	s, err := k.of(account)
	if err != nil {
		return "", err
	}
	key, err := s.Open(sealed, "volume:"+volume)
	return string(key), err
}
