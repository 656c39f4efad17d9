package disk

import (
	"bytes"
	"context"
	"crypto/md5"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"sync"

	"karri.dev/internal/object"
)

// spaceEvery is how many buffers are written between two looks at the free space.
const spaceEvery = 4

// body is what has been taken in of a Put and is not yet named by the index: bytes in memory, or a durable file.
type body struct {
	content content
	bytes   []byte // inline; part of buffer
	size    int64
	md5     [md5.Size]byte
	secret  *secret // nil: not encrypted

	algorithm, checksum, kind string

	buffer *[]byte // from heads
}

// Buffers for whole small bodies, and for runs of blocks. The pools hold no state.
var (
	heads   = sync.Pool{New: func() any { b := make([]byte, InlineMax+1, InlineMax+1+gcmTag); return &b }}
	buffers = sync.Pool{New: func() any { b := make([]byte, bufferBytes); return &b }}
)

// ingest reads p.Body to its end and checks all that was promised of it. The caller must end with discard,
// whatever has become of the body.
func (e *Engine) ingest(ctx context.Context, p *object.Put, s *secret, fileOnly bool) (*body, error) {
	if err := e.checkSpace(); err != nil {
		return nil, err
	}
	b := &body{buffer: heads.Get().(*[]byte), secret: s}
	err := e.take(ctx, p, b, fileOnly)
	if err == nil {
		err = b.check(p)
	}
	if err != nil {
		e.discard(b)
		return nil, err
	}
	return b, nil
}

func (e *Engine) take(ctx context.Context, p *object.Put, b *body, fileOnly bool) error {
	src := &source{ctx: ctx, closing: e.closing, r: p.Body, size: p.Size}
	if p.Body == nil {
		src.r = bytes.NewReader(nil)
	}
	if !fileOnly && p.Size <= InlineMax {
		// One byte more than fits tells whether there is more.
		head := *b.buffer
		n, err := io.ReadFull(src, head)
		switch {
		case err == nil:
			return e.stream(p, src, head, b)
		case err != io.EOF && err != io.ErrUnexpectedEOF:
			return err
		}
		if n > 0 && e.cfg.Files != nil {
			src.size = int64(n)
			return e.stream(p, src, head[:n], b)
		}
		if b.size = int64(n); n > 0 {
			b.content = content{kind: inline, id: e.ids.next()}
		}
		b.bytes = head[:n]
		sum := newSum(p)
		sum.Write(b.bytes)
		b.md5 = begin(sum)
		if n > 0 && b.secret != nil {
			b.bytes = b.secret.encrypt(head[:0], b.bytes, b.content.id, 0)
		}
		return nil
	}
	return e.stream(p, src, nil, b)
}

// etag is the hex MD5, or what stands for it.
func (b *body) etag() string {
	sum := b.secret.digest(b.md5)
	return hex.EncodeToString(sum[:])
}

// check compares the body with the digest that was promised, and asks for the checksum.
func (b *body) check(p *object.Put) error {
	if p.MD5 != nil && !bytes.Equal(p.MD5, b.md5[:]) {
		return object.ErrDigest
	}
	if p.Checksum == nil {
		return nil
	}
	var err error
	b.algorithm, b.checksum, b.kind, err = p.Checksum()
	return err
}

// stream writes head and the rest of src into a new file and makes both the file and its name durable.
func (e *Engine) stream(p *object.Put, src *source, head []byte, b *body) error {
	size := src.size
	if size >= 0 {
		size = b.secret.stored(size)
	}
	place, err := e.choose(size)
	if err != nil {
		return err
	}
	files, err := place.files()
	if err != nil {
		return err
	}
	b.content = content{kind: file, id: e.ids.next(), disk: place.id}
	e.garbage.begin(b.content.id)
	f, err := files.Create(src.ctx, b.content.id, size)
	if err != nil {
		place.failed()
		return err
	}
	w := &fileWriter{engine: e, place: place, file: f, id: b.content.id, secret: b.secret, digest: newDigest(newSum(p))}
	err = w.copy(io.MultiReader(bytes.NewReader(head), src))
	b.md5 = w.digest.sum()
	b.size = w.size
	if err == nil {
		if err = f.Commit(); err != nil {
			place.failed()
		}
		return err
	}
	return errors.Join(err, f.Abort())
}

// discard gives back what a body holds. A file that the index has not taken over (see tx.adopt) goes.
func (e *Engine) discard(b *body) {
	if b.buffer != nil {
		heads.Put(b.buffer)
		b.buffer, b.bytes = nil, nil
	}
	if b.content.kind == file {
		e.garbage.end(b.content)
	}
}

type fileWriter struct {
	engine *Engine
	place  *place
	file   FileWriter
	id     uint64
	secret *secret
	digest *digest
	size   int64 // bytes of the body
	runs   int
}

// copy writes r in runs of blocks, while another goroutine computes the MD5.
func (w *fileWriter) copy(r io.Reader) error {
	for index := int64(0); ; index += runBlocks {
		run := w.digest.buffer()
		n, err := io.ReadFull(r, (*run)[:runBlocks*w.secret.blockData()])
		last := err == io.EOF || err == io.ErrUnexpectedEOF
		if err != nil && !last {
			w.digest.giveBack(run)
			return err
		}
		w.digest.add(run, n)
		if n > 0 {
			if err := w.writeRun((*run)[:n], index); err != nil {
				return err
			}
		}
		w.size += int64(n)
		if last {
			return nil
		}
	}
}

// writeRun makes blocks of a run and writes them. They are not made in place: the run is still being summed. Their
// buffer is held for no longer than that, because clients may be slow.
func (w *fileWriter) writeRun(run []byte, index int64) error {
	buffer := buffers.Get().(*[]byte)
	defer buffers.Put(buffer)
	out := *buffer
	size := w.secret.stored(int64(len(run)))
	for ; len(run) > 0; index++ {
		n := min(len(run), w.secret.blockData())
		sealed := w.secret.encrypt(out[:0], run[:n], w.id, index)
		sealBlock(out, len(sealed), w.id, index)
		run, out = run[n:], out[min(blockSize, len(out)):]
	}
	return w.write((*buffer)[:size])
}

func (w *fileWriter) write(b []byte) error {
	if w.runs%spaceEvery == 0 {
		if room, err := w.place.room(w.engine); err != nil || room <= 0 {
			return errors.Join(fmt.Errorf("%w in %s", object.ErrNoSpace, w.place.dir), err)
		}
	}
	w.runs++
	_, err := w.file.Write(b)
	if err != nil && !errors.Is(err, context.Canceled) {
		w.place.failed()
	}
	return err
}

// source reads a body: it ends with the context, and a body of another length than promised is an error. Its
// only bare io.EOF is the body's true end: a connection that broke off gives io.ErrUnexpectedEOF, which
// io.ReadFull must not take for that.
type source struct {
	ctx     context.Context
	closing context.Context // the engine's
	r       io.Reader
	size    int64 // promised; negative: unknown
	got     int64
}

func (s *source) Read(p []byte) (int, error) {
	if err := s.ctx.Err(); err != nil {
		return 0, fmt.Errorf("read body: %w", err)
	}
	if s.closing.Err() != nil {
		return 0, errClosed
	}
	n, err := s.r.Read(p)
	s.got += int64(n)
	switch {
	case err != nil && err != io.EOF:
		return n, fmt.Errorf("read body: %w", err)
	case s.size >= 0 && (s.got > s.size || err == io.EOF && s.got < s.size):
		return n, object.ErrLength
	}
	return n, err
}
