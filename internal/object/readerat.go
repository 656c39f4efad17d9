package object

import (
	"errors"
	"io"

	"karri.dev/internal/blockcache"
)

const (
	readPart    = 1 << 20
	partsInHand = 12
)

// ReaderAt reads an object at any place. Parts of it are kept, so that small reads are cheap. Its methods may be
// called concurrently.
type ReaderAt struct {
	object Ranger
	size   int64
	parts  *blockcache.Cache[int64] // by place
}

// Ranger gives bytes from a place on; an Object does.
type Ranger interface {
	Range(offset, length int64) (io.ReadCloser, error)
}

// NewReaderAt makes a reader of an open object.
func NewReaderAt(o Object) *ReaderAt { return NewRangeReaderAt(o, o.Meta().Size) }

// NewRangeReaderAt makes a reader of what has a size.
func NewRangeReaderAt(o Ranger, size int64) *ReaderAt {
	return &ReaderAt{object: o, size: size, parts: blockcache.New[int64](partsInHand)}
}

// Size is the object's.
func (r *ReaderAt) Size() int64 { return r.size }

// ReadAt implements io.ReaderAt.
func (r *ReaderAt) ReadAt(p []byte, off int64) (n int, err error) {
	if off < 0 {
		return 0, errors.New("negative offset")
	}
	for n < len(p) {
		at := off + int64(n)
		if at >= r.size {
			return n, io.EOF
		}
		part, err := r.part(at / readPart * readPart)
		if err != nil {
			return n, err
		}
		n += copy(p[n:], part[at%readPart:])
	}
	return n, nil
}

func (r *ReaderAt) part(at int64) ([]byte, error) {
	return r.parts.Get(at, func() ([]byte, error) {
		data := make([]byte, min(readPart, r.size-at))
		body, err := r.object.Range(at, int64(len(data)))
		if err == nil {
			_, err = io.ReadFull(body, data)
			err = errors.Join(err, body.Close())
		}
		return data, err
	})
}
