package disk

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"fmt"

	"github.com/cockroachdb/pebble/v2"

	"karri.dev/internal/object"
)

// versionNames makes version ids of sequence numbers, and reads them. An id is the number, encrypted: nobody can
// guess one, or learn from them how much others write, and nothing needs to be stored.
type versionNames struct{ block cipher.Block }

func openVersionNames(db *pebble.DB) (*versionNames, error) {
	key, err := random(db, keyVersion)
	if err != nil {
		return nil, err
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, fmt.Errorf("key of version ids: %w", err)
	}
	return &versionNames{block}, nil
}

// random gives 16 bytes that were once thrown and are kept under a key.
func random(db *pebble.DB, at []byte) ([]byte, error) {
	b, err := reader{Reader: db}.get(at)
	if err != nil || b != nil {
		return b, err
	}
	b = make([]byte, 16)
	rand.Read(b)
	if err := db.Set(at, b, pebble.Sync); err != nil {
		return nil, fmt.Errorf("write object index: %w", noSpace(err))
	}
	return b, nil
}

func (n *versionNames) name(seq uint64) string {
	var b [aes.BlockSize]byte
	binary.BigEndian.PutUint64(b[:], seq)
	n.block.Encrypt(b[:], b[:])
	return hex.EncodeToString(b[:])
}

// parse reads an id that is not that of the null version.
func (n *versionNames) parse(id string) (seq uint64, err error) {
	var b [aes.BlockSize]byte
	if len(id) != 2*len(b) {
		return 0, object.ErrBadVersion
	}
	if _, err := hex.Decode(b[:], []byte(id)); err != nil {
		return 0, object.ErrBadVersion
	}
	n.block.Decrypt(b[:], b[:])
	if binary.BigEndian.Uint64(b[8:]) != 0 {
		return 0, object.ErrBadVersion
	}
	return binary.BigEndian.Uint64(b[:]), nil
}
