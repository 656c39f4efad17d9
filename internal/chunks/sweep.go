package chunks

import (
	"context"
	"encoding/hex"
	"strings"

	"karri.dev/internal/object"
)

// Swept counts what Sweep has deleted.
type Swept struct{ Lists, Blocks int }

// Sweep deletes lists that are not live, and the blocks that only those hold; with all, every block that no list
// holds, too: what crashes have left. live is asked, after the lists are known, which keys are in use; a list that is
// about to be made must be among them. What loose lists hold that are not live goes as well.
func (s *Store) Sweep(ctx context.Context, all bool, live func() map[string]bool) (n Swept, err error) {
	s.mu.Lock()
	s.sweeping = true
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.sweeping = false
		for _, id := range s.released {
			s.drop(id)
		}
		s.released = nil
	}()
	var lists, loose []string
	if lists, err = s.keys(ctx, listPrefix); err != nil {
		return n, err
	}
	if loose, err = s.keys(ctx, loosePrefix); err != nil {
		return n, err
	}
	keep := live()
	garbage := map[ID]struct{}{}
	var dead []string
	for _, key := range lists {
		if keep[key] {
			continue
		}
		dead = append(dead, key)
		if err := s.each(ctx, key, func(e Entry) { garbage[e.ID] = struct{}{} }); err != nil {
			return n, err
		}
	}
	for _, key := range loose {
		if snap, l, ok := looseKey(key); ok && !keep[looseKeys(snap)] {
			dead = append(dead, key)
			garbage[l.ID] = struct{}{}
		}
	}
	if len(dead) == 0 && !all {
		return n, nil
	}
	if all {
		blocks, err := s.keys(ctx, blockPrefix)
		if err != nil {
			return n, err
		}
		for _, key := range blocks {
			if raw, err := hex.DecodeString(key[len(blockPrefix):]); err == nil && len(raw) == len(ID{}) {
				garbage[ID(raw)] = struct{}{}
			}
		}
	}
	for _, key := range lists {
		if keep[key] {
			if err := s.each(ctx, key, func(e Entry) { delete(garbage, e.ID) }); err != nil {
				return n, err
			}
		}
	}
	for _, key := range loose {
		if snap, l, ok := looseKey(key); ok && keep[looseKeys(snap)] {
			delete(garbage, l.ID)
		}
	}
	for id := range garbage {
		gone, err := s.deleteBlock(ctx, id)
		if err != nil {
			return n, err
		}
		if gone {
			n.Blocks++
		}
	}
	for _, key := range dead { // last: so a crash forgets no block
		if _, err := s.objects.Delete(ctx, Bucket, object.Delete{Key: key}); err != nil {
			return n, err
		}
		if strings.HasPrefix(key, listPrefix) {
			n.Lists++
		}
	}
	return n, nil
}

// deleteBlock deletes a block unless a writer needs it. No writer can begin to need it meanwhile.
func (s *Store) deleteBlock(ctx context.Context, id ID) (gone bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.held[id] > 0 {
		return false, nil
	}
	_, err = s.objects.Delete(ctx, Bucket, object.Delete{Key: id.key()})
	return err == nil, err
}

// keys lists all keys with a prefix.
func (s *Store) keys(ctx context.Context, prefix string) (out []string, err error) {
	err = s.list(ctx, prefix, func(o object.Meta) { out = append(out, o.Key) })
	return out, err
}

// list calls f for all objects with a prefix, in order of key.
func (s *Store) list(ctx context.Context, prefix string, f func(object.Meta)) error {
	for after := ""; ; {
		page, err := s.objects.List(ctx, Bucket, object.ListOptions{Prefix: prefix, After: after, Max: 1000})
		if err != nil {
			return err
		}
		for _, o := range page.Objects {
			f(o)
		}
		if !page.Truncated {
			return nil
		}
		after = page.Next
	}
}
