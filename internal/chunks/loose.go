package chunks

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
	"time"

	"karri.dev/internal/object"
	"karri.dev/internal/resource"
	"karri.dev/internal/sparse"
)

// A list that a client makes block by block is loose until it is joined: one empty object for each block, whose key
// says all, loose/SNAPSHOT/INDEX/BLOCK/SHA256. So a block that was acknowledged is durable, and no object grows.

// Loose is one block of such a list.
type Loose struct {
	Index  uint32
	ID     ID
	SHA256 [sha256.Size]byte // of its content
	At     time.Time         // when it was put
}

func looseKey(key string) (snapshot string, l Loose, ok bool) {
	parts := strings.Split(strings.TrimPrefix(key, loosePrefix), "/")
	if len(parts) != 4 {
		return "", l, false
	}
	n, err := strconv.ParseUint(parts[1], 16, 32)
	id, idErr := hex.DecodeString(parts[2])
	sum, sumErr := hex.DecodeString(parts[3])
	if err != nil || idErr != nil || sumErr != nil || len(id) != len(l.ID) || len(sum) != len(l.SHA256) {
		return "", l, false
	}
	return parts[0], Loose{Index: uint32(n), ID: ID(id), SHA256: [sha256.Size]byte(sum)}, true
}

// looseKeys begins the keys of a snapshot's loose blocks.
func looseKeys(snapshot string) string { return loosePrefix + snapshot + "/" }

func loosePlace(snapshot string, index uint32) string {
	return fmt.Sprintf("%s%08x/", looseKeys(snapshot), index)
}

// PutLoose stores a block of a list that is not joined yet, in the place of an earlier one.
func (s *Store) PutLoose(ctx context.Context, snapshot string, index uint32, data []byte) error {
	w := s.NewWriter()
	defer w.Close()
	if sparse.IsZero(data) {
		// It must hide what the parent has there: kept as the block of zeros, which Join leaves out.
		w.Keep(Entry{index, s.Name(data)})
		if _, err := s.put(ctx, s.Name(data), data); err != nil {
			return err
		}
	} else if _, err := w.Add(ctx, index, data); err != nil {
		return err
	}
	old, err := s.keys(ctx, loosePlace(snapshot, index))
	if err != nil {
		return err
	}
	id, sum := s.Name(data), sha256.Sum256(data)
	key := loosePlace(snapshot, index) + hex.EncodeToString(id[:]) + "/" + hex.EncodeToString(sum[:])
	if _, err := s.objects.Put(ctx, Bucket, object.Put{Key: key, Body: strings.NewReader(""), Size: 0}); err != nil {
		return fmt.Errorf("place of a block: %w", err)
	}
	for _, k := range old {
		if k == key {
			continue
		}
		if _, err := s.objects.Delete(ctx, Bucket, object.Delete{Key: k}); err != nil {
			return fmt.Errorf("place of a block: %w", err)
		}
	}
	return nil
}

// Loose gives the blocks that were put, in order of index.
func (s *Store) Loose(ctx context.Context, snapshot string) (out []Loose, err error) {
	err = s.list(ctx, looseKeys(snapshot), func(o object.Meta) {
		if _, l, ok := looseKey(o.Key); ok {
			l.At = o.Modified
			if n := len(out); n > 0 && out[n-1].Index == l.Index { // a crash has kept one from being replaced
				out = out[:n-1]
			}
			out = append(out, l)
		}
	})
	return out, err
}

// Join makes the list of a snapshot of its loose blocks and, where there are none, of its parent's data; nil for no
// parent. It may be called again until DropLoose. It says how many blocks the list has.
func (s *Store) Join(ctx context.Context, snapshot, images string, parent *resource.ImageData) (blocks int, err error) {
	w := s.NewWriter()
	defer w.Close()
	loose, err := s.Loose(ctx, snapshot)
	if err != nil {
		return 0, err
	}
	put := make(map[uint32]bool, len(loose))
	zeros := s.Name(make([]byte, Size))
	for _, l := range loose {
		put[l.Index] = true
		if l.ID != zeros {
			w.Keep(Entry{l.Index, l.ID})
		}
	}
	switch {
	case parent == nil:
	case parent.Format == Format:
		err = s.each(ctx, parent.Key, func(e Entry) {
			if !put[e.Index] {
				w.Keep(e)
			}
		})
	default:
		err = s.copyData(ctx, w, images, parent, put)
	}
	if err != nil {
		return 0, err
	}
	return len(w.entries), w.Commit(ctx, ListKey(snapshot))
}

// copyData adds the data of an image, but at the indexes that are put.
func (s *Store) copyData(ctx context.Context, w *Writer, images string, data *resource.ImageData, put map[uint32]bool) error {
	d, c, err := s.OpenData(ctx, images, data)
	if err != nil {
		return err
	}
	defer c.Close()
	return sparse.Blocks(d, Size, func(index int64, block []byte) error {
		if put[uint32(index)] {
			return nil
		}
		_, err := w.Add(ctx, uint32(index), block)
		return err
	})
}

// DropLoose forgets the loose blocks of a snapshot; its list keeps those that are in it.
func (s *Store) DropLoose(ctx context.Context, snapshot string) error {
	keys, err := s.keys(ctx, looseKeys(snapshot))
	if err != nil {
		return err
	}
	for _, key := range keys {
		if _, err := s.objects.Delete(ctx, Bucket, object.Delete{Key: key}); err != nil {
			return err
		}
	}
	return nil
}
