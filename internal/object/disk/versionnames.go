package disk

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2"

	"karri.dev/internal/object"
)

// versionNames makes version ids of sequence numbers, and reads them. An id is the number, encrypted: nobody can
// guess one, or learn from them how much others write, and nothing needs to be stored.
type versionNames struct{ block cipher.Block }

func openVersionNames(db *pebble.DB) (*versionNames, error) {
	key, closer, err := db.Get(keyVersion)
	switch {
	case errors.Is(err, pebble.ErrNotFound):
		key = make([]byte, 16)
		rand.Read(key)
		if err := db.Set(keyVersion, key, pebble.Sync); err != nil {
			return nil, fmt.Errorf("write key of version ids: %w", err)
		}
	case err != nil:
		return nil, fmt.Errorf("read key of version ids: %w", err)
	default:
		defer closer.Close()
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, fmt.Errorf("key of version ids: %w", err)
	}
	return &versionNames{block}, nil
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
