package chunks

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
	"sort"

	"karri.dev/internal/object"
)

// Entry says which block is at an index.
type Entry struct {
	Index uint32
	ID    ID
}

// A list is listMagic, and then its entries in order of index.
const (
	listMagic = "karri-blocks-1\n\x00"
	entrySize = 4 + len(ID{})
)

// putList writes a list, which becomes there whole.
func (s *Store) putList(ctx context.Context, key string, entries []Entry) error {
	slices.SortFunc(entries, func(a, b Entry) int { return cmp.Compare(a.Index, b.Index) })
	buf := bytes.NewBuffer(make([]byte, 0, len(listMagic)+len(entries)*entrySize))
	buf.WriteString(listMagic)
	for i, e := range entries {
		if i > 0 && e.Index == entries[i-1].Index {
			return fmt.Errorf("list %s: index %d is there twice", key, e.Index)
		}
		var n [4]byte
		binary.BigEndian.PutUint32(n[:], e.Index)
		buf.Write(n[:])
		buf.Write(e.ID[:])
	}
	_, err := s.objects.Put(ctx, Bucket, object.Put{Key: key, Body: buf, Size: int64(buf.Len())})
	if err != nil {
		return fmt.Errorf("list %s: %w", key, err)
	}
	return nil
}

// each calls f for the entries of a list, in order.
func (s *Store) each(ctx context.Context, key string, f func(Entry)) error {
	o, err := s.objects.Get(ctx, Bucket, key, "")
	if err != nil {
		return fmt.Errorf("list %s: %w", key, err)
	}
	defer o.Close()
	body, err := o.Range(0, o.Meta().Size)
	if err != nil {
		return fmt.Errorf("list %s: %w", key, err)
	}
	defer body.Close()
	r := bufio.NewReaderSize(body, 256<<10)
	magic := make([]byte, len(listMagic))
	if _, err := io.ReadFull(r, magic); err != nil || string(magic) != listMagic {
		return fmt.Errorf("list %s is not one: %w", key, err)
	}
	raw := make([]byte, entrySize)
	for last := int64(-1); ; {
		if _, err := io.ReadFull(r, raw); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return fmt.Errorf("list %s: %w", key, err)
		}
		e := Entry{Index: binary.BigEndian.Uint32(raw), ID: ID(raw[4:])}
		if int64(e.Index) <= last {
			return fmt.Errorf("list %s is not in order", key)
		}
		last = int64(e.Index)
		f(e)
	}
}

// Part reads a part of a list: at most most entries, the first of them the first at or after an index.
func (s *Store) Part(ctx context.Context, key string, from uint32, most int) (out []Entry, err error) {
	o, err := s.objects.Get(ctx, Bucket, key, "")
	if err != nil {
		return nil, fmt.Errorf("list %s: %w", key, err)
	}
	defer o.Close()
	n := int((o.Meta().Size - int64(len(listMagic))) / int64(entrySize))
	r := object.NewReaderAt(o)
	raw := make([]byte, entrySize)
	start := sort.Search(n, func(i int) bool {
		if err == nil {
			_, err = r.ReadAt(raw[:4], int64(len(listMagic)+i*entrySize))
		}
		return err != nil || binary.BigEndian.Uint32(raw) >= from
	})
	if err != nil {
		return nil, fmt.Errorf("list %s: %w", key, err)
	}
	all := make([]byte, min(most, n-start)*entrySize)
	if _, err := r.ReadAt(all, int64(len(listMagic)+start*entrySize)); err != nil && len(all) > 0 {
		return nil, fmt.Errorf("list %s: %w", key, err)
	}
	for raw := range slices.Chunk(all, entrySize) {
		out = append(out, Entry{Index: binary.BigEndian.Uint32(raw), ID: ID(raw[4:])})
	}
	return out, nil
}

// List reads a list.
func (s *Store) List(ctx context.Context, key string) (out []Entry, err error) {
	err = s.each(ctx, key, func(e Entry) { out = append(out, e) })
	return out, err
}
