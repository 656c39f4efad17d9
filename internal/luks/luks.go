// Package luks reads and writes disks in LUKS containers, version 1, as its specification describes them and QEMU opens
// them: AES-256 in XTS mode. A container's own key is random and lies in its header, encrypted with the key that is
// given here. That must be a random one: it is not made slow to guess. Where a container has a hole there is no zeros but
// nonsense.
package luks

import (
	"crypto/aes"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"

	"golang.org/x/crypto/xts"
)

const (
	sector     = 512
	keySize    = 64   // two AES-256 keys
	stripes    = 4000 // over which a slot spreads the key
	slots      = 8
	slotAt     = 208 // in the header
	slotSize   = 48
	iterations = 1000
	digestSize = 20
	saltSize   = 32

	slotSectors = 504 // (stripes·keySize, rounded up to 4 KiB)
	firstSlot   = 8   // sector
	payload     = firstSlot + slots*slotSectors

	slotUsed = 0x00ac71f3
	slotFree = 0x0000dead
)

var magic = []byte("LUKS\xba\xbe\x00\x01")

// File is what a container is in.
type File interface {
	io.ReaderAt
	io.WriterAt
}

// Disk is an open container: its content.
type Disk struct {
	f    File
	c    *xts.Cipher
	from int64 // where the content begins
	size int64 // of what was written through it, for Truncate
}

// Format makes a container of a new file.
func Format(f File, key []byte) (*Disk, error) {
	master, salt, slotSalt := make([]byte, keySize), make([]byte, saltSize), make([]byte, saltSize)
	id := make([]byte, 16)
	for _, b := range [][]byte{master, salt, slotSalt, id} {
		rand.Read(b)
	}
	digest, err := pbkdf2.Key(sha256.New, string(master), salt, iterations, digestSize)
	if err != nil {
		return nil, err
	}
	be := binary.BigEndian
	h := make([]byte, slotAt+slots*slotSize)
	copy(h, magic)
	copy(h[8:], "aes")
	copy(h[40:], "xts-plain64")
	copy(h[72:], "sha256")
	be.PutUint32(h[104:], payload)
	be.PutUint32(h[108:], keySize)
	copy(h[112:], digest)
	copy(h[132:], salt)
	be.PutUint32(h[164:], iterations)
	x := hex.EncodeToString(id)
	copy(h[168:], x[:8]+"-"+x[8:12]+"-"+x[12:16]+"-"+x[16:20]+"-"+x[20:])
	for i := range slots {
		s := h[slotAt+i*slotSize:]
		be.PutUint32(s, slotFree)
		be.PutUint32(s[40:], uint32(firstSlot+i*slotSectors))
		be.PutUint32(s[44:], stripes)
	}
	be.PutUint32(h[slotAt:], slotUsed)
	be.PutUint32(h[slotAt+4:], iterations)
	copy(h[slotAt+8:], slotSalt)
	material := split(master)
	c, err := slotCipher(key, slotSalt, iterations)
	if err != nil {
		return nil, err
	}
	for at := 0; at < len(material); at += sector {
		c.Encrypt(material[at:at+sector], material[at:at+sector], uint64(at/sector))
	}
	if _, err := f.WriteAt(material, firstSlot*sector); err != nil {
		return nil, err
	}
	if _, err := f.WriteAt(h, 0); err != nil {
		return nil, err
	}
	return open(f, master, payload*sector)
}

// ErrKey says that a container does not open with the key.
var ErrKey = errors.New("luks: the key does not open it")

// Open opens a container that Format made.
func Open(f File, key []byte) (*Disk, error) {
	h := make([]byte, slotAt+slots*slotSize)
	if _, err := f.ReadAt(h, 0); err != nil {
		return nil, fmt.Errorf("luks: %w", err)
	}
	be := binary.BigEndian
	text := func(at int) string {
		n := at
		for n < at+32 && h[n] != 0 {
			n++
		}
		return string(h[at:n])
	}
	s := h[slotAt:]
	if string(h[:8]) != string(magic) || text(8) != "aes" || text(40) != "xts-plain64" || text(72) != "sha256" ||
		be.Uint32(h[104:]) != payload || be.Uint32(h[108:]) != keySize || be.Uint32(s) != slotUsed || be.Uint32(s[40:]) != firstSlot || be.Uint32(s[44:]) != stripes {
		return nil, errors.New("luks: not one of our containers")
	}
	const most = 1 << 20 // iterations that are worth a try
	slotTurns, turns := be.Uint32(s[4:]), be.Uint32(h[164:])
	if slotTurns == 0 || turns == 0 || slotTurns > most || turns > most {
		return nil, errors.New("luks: not one of our containers")
	}
	c, err := slotCipher(key, s[8:8+saltSize], int(slotTurns))
	if err != nil {
		return nil, err
	}
	material := make([]byte, stripes*keySize)
	if _, err := f.ReadAt(material, firstSlot*sector); err != nil {
		return nil, fmt.Errorf("luks: %w", err)
	}
	for at := 0; at < len(material); at += sector {
		c.Decrypt(material[at:at+sector], material[at:at+sector], uint64(at/sector))
	}
	master := merge(material)
	digest, err := pbkdf2.Key(sha256.New, string(master), h[132:132+saltSize], int(turns), digestSize)
	if err != nil {
		return nil, err
	}
	if subtle.ConstantTimeCompare(digest, h[112:112+digestSize]) != 1 {
		return nil, ErrKey
	}
	return open(f, master, payload*sector)
}

func open(f File, master []byte, from int64) (*Disk, error) {
	c, err := xts.NewCipher(aes.NewCipher, master)
	return &Disk{f: f, c: c, from: from}, err
}

func slotCipher(key, salt []byte, turns int) (*xts.Cipher, error) {
	k, err := pbkdf2.Key(sha256.New, string(key), salt, turns, keySize)
	if err != nil {
		return nil, err
	}
	return xts.NewCipher(aes.NewCipher, k)
}

// split spreads a key over stripes: all of them are needed to get it back.
func split(key []byte) []byte {
	out := make([]byte, stripes*len(key))
	rand.Read(out[:(stripes-1)*len(key)])
	last := out[(stripes-1)*len(key):]
	copy(last, fold(out, len(key)))
	subtle.XORBytes(last, last, key)
	return out
}

func merge(material []byte) []byte {
	n := len(material) / stripes
	key := fold(material, n)
	subtle.XORBytes(key, key, material[(stripes-1)*n:])
	return key
}

// fold mixes all stripes but the last one.
func fold(material []byte, n int) []byte {
	d := make([]byte, n)
	for i := range stripes - 1 {
		subtle.XORBytes(d, d, material[i*n:(i+1)*n])
		for j, at := 0, 0; at < n; j, at = j+1, at+sha256.Size {
			sum := sha256.Sum256(append(binary.BigEndian.AppendUint32(nil, uint32(j)), d[at:at+sha256.Size]...))
			copy(d[at:], sum[:])
		}
	}
	return d
}
