// Package password keeps people's passwords: as argon2id hashes, which it makes and checks a few at a time, so that a
// crowd of guesses takes neither all memory nor all processors.
package password

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"

	"golang.org/x/crypto/argon2"
)

// Cost is what one hash takes.
type Cost struct {
	MemoryKiB uint32
	Passes    uint32
	Threads   uint8
}

// Standard is OWASP's first choice for argon2id.
var Standard = Cost{MemoryKiB: 19 << 10, Passes: 2, Threads: 1}

const (
	saltSize = 16
	hashSize = 32
	// atOnce is how many hashes are computed at a time, waiting how many further may wait for their turn.
	atOnce  = 2
	waiting = 64
)

// ErrBusy says that too many passwords are being checked already.
var ErrBusy = errors.New("too many passwords are being checked")

// Hasher makes and checks hashes.
type Hasher struct {
	cost    Cost
	running chan struct{}
	queue   chan struct{}
	nobody  string // hash of a password that nobody has
}

// New makes a Hasher.
func New(cost Cost) *Hasher {
	h := &Hasher{cost: cost, running: make(chan struct{}, atOnce), queue: make(chan struct{}, atOnce+waiting)}
	none := make([]byte, 32)
	rand.Read(none)
	h.nobody = h.hash(string(none), none[:saltSize])
	return h
}

// Hash gives a password's hash with a fresh salt, in the form that argon2's reference program prints.
func (h *Hasher) Hash(ctx context.Context, password string) (string, error) {
	salt := make([]byte, saltSize)
	rand.Read(salt)
	release, err := h.turn(ctx)
	if err != nil {
		return "", err
	}
	defer release()
	return h.hash(password, salt), nil
}

// Check says whether a hash is the password's. The hash "" is nobody's: it takes as long, and the answer is no.
func (h *Hasher) Check(ctx context.Context, hash, password string) (bool, error) {
	known := hash != ""
	if !known {
		hash = h.nobody
	}
	release, err := h.turn(ctx)
	if err != nil {
		return false, err
	}
	defer release()
	var version int
	var c Cost
	parts := strings.Split(hash, "$")
	if len(parts) != 6 || parts[1] != "argon2id" {
		return false, errors.New("the hash is of an unknown kind")
	}
	if _, err := fmt.Sscanf(parts[2]+" "+parts[3], "v=%d m=%d,t=%d,p=%d", &version, &c.MemoryKiB, &c.Passes, &c.Threads); err != nil || version != argon2.Version {
		return false, fmt.Errorf("the hash is of an unknown version: %w", err)
	}
	salt, err := base64.RawStdEncoding.DecodeString(parts[4])
	if err != nil {
		return false, fmt.Errorf("the hash is damaged: %w", err)
	}
	want, err := base64.RawStdEncoding.DecodeString(parts[5])
	if err != nil || len(want) == 0 {
		return false, fmt.Errorf("the hash is damaged: %w", err)
	}
	got := argon2.IDKey([]byte(password), salt, c.Passes, c.MemoryKiB, c.Threads, uint32(len(want)))
	return subtle.ConstantTimeCompare(got, want) == 1 && known, nil
}

func (h *Hasher) hash(password string, salt []byte) string {
	sum := argon2.IDKey([]byte(password), salt, h.cost.Passes, h.cost.MemoryKiB, h.cost.Threads, hashSize)
	return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s", argon2.Version, h.cost.MemoryKiB, h.cost.Passes, h.cost.Threads,
		base64.RawStdEncoding.EncodeToString(salt), base64.RawStdEncoding.EncodeToString(sum))
}

// turn waits for a place among those who compute.
func (h *Hasher) turn(ctx context.Context) (release func(), err error) {
	select {
	case h.queue <- struct{}{}:
	default:
		return nil, ErrBusy
	}
	select {
	case h.running <- struct{}{}:
		return func() { <-h.running; <-h.queue }, nil
	case <-ctx.Done():
		<-h.queue
		return nil, ctx.Err()
	}
}
