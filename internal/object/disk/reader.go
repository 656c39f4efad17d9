package disk

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"sync"

	"karri.dev/internal/object"
)

// openObject is an object as it was when it was opened.
type openObject struct {
	engine *Engine
	meta   object.Meta
	pin    content
	inline content
	sealed []byte
	secret *secret
	locked bool         // the customer's key is still to come
	bytes  []byte       // inline; decrypted once the key is there
	list   []partRecord // of a multipart object; a single file counts as one part
	once   sync.Once
}

// Get opens an object.
func (e *Engine) Get(_ context.Context, bucket, key, version string) (object.Object, error) {
	if err := e.enter(); err != nil {
		return nil, err
	}
	defer e.calls.RUnlock()
	for {
		o := &openObject{engine: e}
		var rec objectRecord
		err := e.look(func(r reader) (err error) {
			if rec, err = r.find(bucket, key, version); err != nil {
				return err
			}
			return o.load(r, &rec)
		})
		if err != nil {
			return nil, err
		}
		if !o.locked {
			if err := o.open(nil); err != nil {
				return nil, err
			}
		}
		if rec.content.kind != file && rec.content.kind != parts {
			return o, nil
		}
		if err := o.online(); err != nil {
			return nil, err
		}
		// The files may be unlinked from when their content is dropped and not pinned. So pin it, and look
		// whether it is there still: then whoever drops it later finds the pin.
		e.garbage.pin(rec.content.id)
		o.pin = rec.content
		var again objectRecord
		err = e.look(func(r reader) (err error) {
			again, err = r.find(bucket, key, version)
			return err
		})
		if err == nil && again.content == rec.content {
			return o, nil
		}
		if err := errors.Join(o.Close(), err); err != nil {
			return nil, err
		}
	}
}

// online says whether all disks with its files are there: an answer that has begun cannot say any more what is wrong.
func (o *openObject) online() error {
	for i := range o.list {
		if o.list[i].content.kind == file {
			if _, err := o.engine.place(o.list[i].content.disk); err != nil {
				return err
			}
		}
	}
	return nil
}

func (o *openObject) load(r reader, rec *objectRecord) (err error) {
	o.meta, o.sealed = rec.Meta, rec.sealed
	o.locked = rec.Encryption == object.ByCustomer
	switch rec.content.kind {
	case inline:
		o.inline = rec.content
		o.bytes, err = r.get(contentKey(rec.content.id))
		overhead := int64(0)
		if len(rec.sealed) > 0 {
			overhead = gcmTag
		}
		if err == nil && int64(len(o.bytes)) != rec.Size+overhead {
			err = fmt.Errorf("object %q: %w: %d bytes of %d", rec.Key, object.ErrCorrupt, len(o.bytes), rec.Size)
		}
	case file:
		o.list = []partRecord{{Part: object.Part{Size: rec.Size}, content: rec.content}}
	case parts:
		o.list, err = r.parts(rec.content.id)
	}
	return err
}

// open takes the key, and decrypts what is inline.
func (o *openObject) open(customer []byte) (err error) {
	if o.secret, err = o.engine.openSecret(o.sealed, customer); err != nil {
		return err
	}
	if o.inline.kind == inline {
		plain, ok := o.secret.decrypt(o.bytes[:0], o.bytes, o.inline.id, 0)
		if !ok {
			return fmt.Errorf("object %q: %w: its bytes do not decrypt", o.meta.Key, object.ErrCorrupt)
		}
		o.bytes = plain
	}
	o.locked = false
	return nil
}

// Unlock takes the customer's key.
func (o *openObject) Unlock(customer []byte) error {
	if !o.locked {
		return object.ErrKey
	}
	return o.open(customer)
}

func (o *openObject) Meta() object.Meta { return o.meta }

func (o *openObject) Parts() ([]object.Part, error) {
	if o.meta.Parts == 0 {
		return nil, nil
	}
	out := make([]object.Part, len(o.list))
	for i := range o.list {
		out[i] = o.list[i].Part
	}
	return out, nil
}

func (o *openObject) Close() error {
	o.once.Do(func() {
		if o.pin.kind != empty {
			o.engine.garbage.unpin(o.pin.id)
		}
	})
	return nil
}

func (o *openObject) Range(offset, length int64) (io.ReadCloser, error) {
	if offset < 0 || length < 0 || length > o.meta.Size-offset {
		return nil, fmt.Errorf("range %d+%d of an object of %d bytes", offset, length, o.meta.Size)
	}
	if o.locked {
		return nil, object.ErrKey
	}
	if o.list == nil {
		return io.NopCloser(bytes.NewReader(o.bytes[offset : offset+length])), nil
	}
	r := &rangeReader{engine: o.engine, secret: o.secret, list: o.list, left: length}
	for len(r.list) > 0 && offset >= r.list[0].Size {
		offset -= r.list[0].Size
		r.list = r.list[1:]
	}
	r.offset = offset
	if length > 0 { // while the answer can still say what is wrong
		if err := r.openFile(); err != nil {
			return nil, err
		}
	}
	return r, nil
}

// rangeReader reads from part after part, a run of blocks at a time. Every block is checked before any byte of
// it is given out.
type rangeReader struct {
	engine *Engine
	secret *secret
	list   []partRecord // the one being read and those after it
	offset int64        // in the first of list, of what follows in it
	left   int64        // bytes still to be given out
	ready  []byte       // of buffer: checked, given out next
	buffer *[]byte
	file   io.ReadCloser // of the first of list from the next block on, once it is needed
	err    error
}

func (r *rangeReader) Read(p []byte) (int, error) {
	if err := r.fill(); err != nil {
		return 0, err
	}
	n := copy(p, r.ready)
	r.ready = r.ready[n:]
	return n, nil
}

// WriteTo saves io.Copy a buffer and a copy.
func (r *rangeReader) WriteTo(w io.Writer) (total int64, err error) {
	for {
		switch err := r.fill(); {
		case err == io.EOF:
			return total, nil
		case err != nil:
			return total, err
		}
		n, err := w.Write(r.ready)
		total += int64(n)
		if r.ready = r.ready[n:]; err != nil {
			return total, err
		}
	}
}

// fill makes ready non-empty, or gives io.EOF or an error, which stays.
func (r *rangeReader) fill() error {
	for r.err == nil && len(r.ready) == 0 {
		switch {
		case r.left == 0:
			r.err = io.EOF
		case len(r.list) == 0:
			r.err = fmt.Errorf("%w: parts are shorter than the object", object.ErrCorrupt)
		case r.offset == r.list[0].Size:
			r.err = r.next()
		default:
			r.err = r.run()
		}
	}
	return r.err
}

func (r *rangeReader) next() error {
	r.list, r.offset = r.list[1:], 0
	return r.closeFile()
}

// run reads and checks the blocks that follow.
func (r *rangeReader) run() error {
	part := &r.list[0]
	id := part.content.id
	per := int64(r.secret.blockData())
	first := r.offset / per
	skip := r.offset - first*per
	want := min(r.left, part.Size-r.offset)
	// Whole blocks, up to the end of the run or of the part.
	end := min((first+min(runBlocks, (skip+want+per-1)/per))*per, part.Size)
	if err := r.openFile(); err != nil {
		return err
	}
	buffer := buffers.Get().(*[]byte)
	defer buffers.Put(buffer)
	raw := (*buffer)[:r.secret.stored(end-first*per)]
	if n, err := io.ReadFull(r.file, raw); err != nil {
		return fmt.Errorf("read data file %x: %w: %d bytes of %d: %w", id, object.ErrCorrupt, n, len(raw), err)
	}
	if r.buffer == nil {
		r.buffer = buffers.Get().(*[]byte)
	}
	plain := (*r.buffer)[:0]
	for i := first; len(raw) > 0; i++ {
		n := min(blockSize, len(raw))
		var ok bool
		if plain, ok = r.secret.openBlock(plain, raw[:n], id, i); !ok {
			return fmt.Errorf("data file %x, block %d: %w", id, i, object.ErrCorrupt)
		}
		raw = raw[n:]
	}
	r.ready = plain[skip : skip+min(want, int64(len(plain))-skip)]
	r.left -= int64(len(r.ready))
	r.offset += int64(len(r.ready))
	return nil
}

// openFile opens the file of the first part, from the next block on and as far as it will be read.
func (r *rangeReader) openFile() error {
	if r.file != nil {
		return nil
	}
	p := &r.list[0]
	files, err := r.engine.place(p.content.disk)
	if err != nil {
		return err
	}
	per := int64(r.secret.blockData())
	first := r.offset / per
	end := (r.offset + min(r.left, p.Size-r.offset) + per - 1) / per
	length := min(end*blockSize, r.secret.stored(p.Size)) - first*blockSize
	r.file, err = files.Read(r.engine.closing, p.content.id, first*blockSize, length)
	if errors.Is(err, fs.ErrNotExist) {
		err = fmt.Errorf("%w: %w", object.ErrCorrupt, err)
	}
	if err != nil {
		r.file = nil
		return fmt.Errorf("data file %x: %w", p.content.id, err)
	}
	return nil
}

func (r *rangeReader) closeFile() error {
	if r.file == nil {
		return nil
	}
	f := r.file
	r.file = nil
	if err := f.Close(); err != nil {
		return fmt.Errorf("close data file: %w", err)
	}
	return nil
}

func (r *rangeReader) Close() error {
	if r.buffer != nil {
		r.ready = nil
		buffers.Put(r.buffer)
		r.buffer = nil
	}
	if r.err == nil {
		r.err = io.ErrClosedPipe
	}
	return r.closeFile()
}
