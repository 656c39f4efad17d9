// Package chunks keeps the data of snapshots: blocks of 512 KiB, each once whatever holds it, and for each snapshot a
// list of its blocks. Both are objects in a bucket of the system; the object engine encrypts them at rest. Blocks of
// zeros are left out.
//
// A block is named by a keyed digest of what is in it, so that a name tells nothing about the content, and what is
// read is checked against its name. Lists never change. Blocks and lists that nobody needs any more are swept away
// (see Sweep); those that a Writer is about to need are safe from that.
package chunks

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"karri.dev/internal/object"
	"karri.dev/internal/resource"
	"karri.dev/internal/store"
)

// Bucket is the system bucket that holds it all, in the object engine and in the store.
const Bucket = "karri-snapshots"

// Size is that of a block.
const Size = 512 << 10

// Format is what ImageData says of data that is kept here: Key names the list.
const Format = "chunks"

// ErrDamaged says that a block is not what its name says.
var ErrDamaged = errors.New("a block is damaged")

// ID names a block by its content.
type ID [sha256.Size]byte

func (id ID) key() string { return blockPrefix + hex.EncodeToString(id[:]) }

const (
	blockPrefix = "blocks/"
	listPrefix  = "lists/"
	loosePrefix = "loose/" // blocks of lists that are still being made by PutLoose
)

// ListKey is the key of a snapshot's list.
func ListKey(snapshotID string) string { return listPrefix + snapshotID }

// Store keeps blocks and lists.
type Store struct {
	objects object.Engine
	key     []byte

	mu       sync.Mutex
	held     map[ID]int // by writers
	sweeping bool
	released []ID // since the sweep under way began
}

// New makes a store. key makes the blocks' names.
func New(objects object.Engine, key []byte) *Store {
	return &Store{objects: objects, key: key, held: map[ID]int{}}
}

// CreateBucket makes the system bucket's record.
func CreateBucket(tx *store.Tx, region string, now time.Time) error {
	if store.Buckets.Get(tx, Bucket) != nil {
		return nil
	}
	return store.Buckets.Put(tx, &resource.Bucket{Name: Bucket, Region: region, CreatedAt: now, Engine: Bucket, System: true})
}

// Name gives the name of a block's content.
func (s *Store) Name(data []byte) (id ID) {
	m := hmac.New(sha256.New, s.key)
	m.Write(data)
	m.Sum(id[:0])
	return id
}

// Block reads a block.
func (s *Store) Block(ctx context.Context, id ID) ([]byte, error) {
	o, err := s.objects.Get(ctx, Bucket, id.key(), "")
	if err != nil {
		return nil, fmt.Errorf("block %x: %w", id[:6], err)
	}
	defer o.Close()
	if o.Meta().Size != Size {
		return nil, fmt.Errorf("block %x: %w", id[:6], ErrDamaged)
	}
	body, err := o.Range(0, Size)
	if err != nil {
		return nil, fmt.Errorf("block %x: %w", id[:6], err)
	}
	defer body.Close()
	data := make([]byte, Size)
	if _, err := io.ReadFull(body, data); err != nil {
		return nil, fmt.Errorf("block %x: %w", id[:6], err)
	}
	if s.Name(data) != id {
		return nil, fmt.Errorf("block %x: %w", id[:6], ErrDamaged)
	}
	return data, nil
}

// hold keeps a block from being swept away.
func (s *Store) hold(id ID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.held[id]++
}

func (s *Store) release(ids []ID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.sweeping { // it has perhaps read the lists before ours was there
		s.released = append(s.released, ids...)
		return
	}
	for _, id := range ids {
		s.drop(id)
	}
}

// drop forgets one hold. mu is held.
func (s *Store) drop(id ID) {
	if s.held[id]--; s.held[id] <= 0 {
		delete(s.held, id)
	}
}
