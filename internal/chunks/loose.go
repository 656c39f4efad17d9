package chunks

import (
	"context"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"

	"karri.dev/internal/object"
	"karri.dev/internal/sparse"
)

// A list that a client makes block by block is loose until it is joined: one empty object for each block, whose key
// says all, loose/SNAPSHOT/INDEX/BLOCK. So a block that was acknowledged is durable, and no object grows.

func looseKey(key string) (snapshot string, index uint32, id ID, ok bool) {
	parts := strings.Split(strings.TrimPrefix(key, loosePrefix), "/")
	if len(parts) != 3 {
		return "", 0, id, false
	}
	n, err := strconv.ParseUint(parts[1], 16, 32)
	raw, hexErr := hex.DecodeString(parts[2])
	if err != nil || hexErr != nil || len(raw) != len(id) {
		return "", 0, id, false
	}
	return parts[0], uint32(n), ID(raw), true
}

func loosePlace(snapshot string, index uint32) string {
	return fmt.Sprintf("%s%s/%08x/", loosePrefix, snapshot, index)
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
	key := loosePlace(snapshot, index) + hex.EncodeToString(idBytes(s.Name(data)))
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

func idBytes(id ID) []byte { return id[:] }

// CountLoose says how many blocks were put.
func (s *Store) CountLoose(ctx context.Context, snapshot string) (int, error) {
	entries, err := s.loose(ctx, snapshot)
	return len(entries), err
}

func (s *Store) loose(ctx context.Context, snapshot string) (map[uint32]ID, error) {
	keys, err := s.keys(ctx, loosePrefix+snapshot+"/")
	if err != nil {
		return nil, err
	}
	out := map[uint32]ID{}
	for _, key := range keys {
		if _, index, id, ok := looseKey(key); ok {
			out[index] = id
		}
	}
	return out, nil
}

// Join makes the list of a snapshot of its loose blocks and, where there are none, of a parent's, "" for none. It may
// be called again until DropLoose.
func (s *Store) Join(ctx context.Context, snapshot, parent string) error {
	w := s.NewWriter()
	defer w.Close()
	put, err := s.loose(ctx, snapshot)
	if err != nil {
		return err
	}
	zeros := s.Name(make([]byte, Size))
	for index, id := range put {
		if id != zeros {
			w.Keep(Entry{index, id})
		}
	}
	if parent != "" {
		err := s.each(ctx, parent, func(e Entry) {
			if _, there := put[e.Index]; !there {
				w.Keep(e)
			}
		})
		if err != nil {
			return err
		}
	}
	return w.Commit(ctx, ListKey(snapshot))
}

// DropLoose forgets the loose blocks of a snapshot; its list keeps those that are in it.
func (s *Store) DropLoose(ctx context.Context, snapshot string) error {
	keys, err := s.keys(ctx, loosePrefix+snapshot+"/")
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
