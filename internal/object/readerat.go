package object

import (
	"errors"
	"io"
	"sync"
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

	mu    sync.Mutex
	parts map[int64]*objectPart
	order []int64 // of parts, oldest first
}

type objectPart struct {
	once sync.Once
	data []byte
	err  error
}

// Ranger gives bytes from a place on; an Object does.
type Ranger interface {
	Range(offset, length int64) (io.ReadCloser, error)
}

// NewReaderAt makes a reader of an open object.
func NewReaderAt(o Object) *ReaderAt { return NewRangeReaderAt(o, o.Meta().Size) }

// NewRangeReaderAt makes a reader of what has a size.
func NewRangeReaderAt(o Ranger, size int64) *ReaderAt {
	return &ReaderAt{object: o, size: size, parts: map[int64]*objectPart{}}
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

// part reads a part once for all who want it at the same time.
func (r *ReaderAt) part(at int64) ([]byte, error) {
	r.mu.Lock()
	p := r.parts[at]
	if p == nil {
		p = new(objectPart)
		r.parts[at] = p
		if r.order = append(r.order, at); len(r.order) > partsInHand {
			delete(r.parts, r.order[0])
			r.order = r.order[1:]
		}
	}
	r.mu.Unlock()
	p.once.Do(func() {
		data := make([]byte, min(readPart, r.size-at))
		body, err := r.object.Range(at, int64(len(data)))
		if err == nil {
			_, err = io.ReadFull(body, data)
			err = errors.Join(err, body.Close())
		}
		p.data, p.err = data, err
	})
	return p.data, p.err
}
