package remote

import (
	"bytes"
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"

	"karri.dev/internal/object"
	"karri.dev/internal/object/disk"
	"karri.dev/internal/s3client"
)

const (
	// singleMax is the largest file, in bytes, that is sent as one object.
	singleMax = 64 << 20
	// partSize is that of the parts of larger ones: 5 GiB, the largest, are 160.
	partSize = 32 << 20
	// heldPart is that of files whose size is not known: a part is held until it is whole.
	heldPart = 8 << 20
)

// Create begins a file: one object, or an upload in parts.
func (f *files) Create(ctx context.Context, id uint64, size int64) (disk.FileWriter, error) {
	w := &writer{files: f, ctx: ctx, id: id, size: size}
	if size >= 0 && size <= singleMax {
		w.sending = f.send(ctx, id, nil, size)
		return w, nil
	}
	var out struct {
		ID string `xml:"UploadId"`
	}
	_, err := f.client.call(ctx, http.MethodPost, f.key(id), url.Values{"uploads": {""}}, nil, nil, &out)
	if err != nil {
		return nil, err
	}
	w.upload = out.ID
	return w, nil
}

type writer struct {
	files   *files
	ctx     context.Context
	id      uint64
	size    int64 // -1: unknown
	written int64
	sending *sending // the object or part under way
	upload  string   // "" for a single object
	parts   []part
	held    []byte // of a part, if the size is not known
}

type part struct {
	Number int    `xml:"PartNumber"`
	ETag   string `xml:"ETag"`
}

// sending is a PUT whose body is written while it is sent.
type sending struct {
	pipe  *io.PipeWriter
	left  int64
	guard *s3client.Guard
	done  chan struct{}
	etag  string
	err   error
}

func (f *files) send(ctx context.Context, id uint64, query url.Values, size int64) *sending {
	ctx, g := s3client.NewGuard(ctx, stallTime)
	r, w := io.Pipe()
	s := &sending{pipe: w, left: size, guard: g, done: make(chan struct{})}
	go func() {
		defer close(s.done)
		a, err := f.client.send(ctx, http.MethodPut, f.key(id), query, nil, r, size)
		if err == nil {
			s.etag = a.Header.Get("ETag")
			_, err = io.Copy(io.Discard, a.Body)
			err = errors.Join(err, a.Body.Close())
		}
		if err == nil && s.etag == "" {
			err = fmt.Errorf("%w: it gives no ETag", object.ErrOffline)
		}
		s.err = err
		r.CloseWithError(errors.Join(err, io.ErrClosedPipe)) // whoever still writes ends
	}()
	return s
}

func (s *sending) write(p []byte) error {
	s.guard.Moved()
	n, err := s.pipe.Write(p)
	s.left -= int64(n)
	if err != nil {
		<-s.done
		if s.err == nil {
			s.err = object.ErrLength
		}
		return s.err
	}
	return nil
}

// end waits for the acknowledgement.
func (s *sending) end() error {
	s.guard.Moved()
	s.pipe.Close()
	<-s.done
	s.guard.End()
	if s.err == nil && s.left != 0 {
		return object.ErrLength
	}
	return s.err
}

// cut ends it, so that the endpoint keeps nothing.
func (s *sending) cut() {
	s.pipe.CloseWithError(context.Canceled)
	s.guard.End()
	<-s.done
}

func (w *writer) Write(p []byte) (int, error) {
	n := len(p)
	if w.size < 0 {
		return n, w.hold(p)
	}
	for len(p) > 0 {
		if w.sending == nil {
			left := w.size - w.written
			if left <= 0 {
				return n - len(p), object.ErrLength
			}
			w.sending = w.files.send(w.ctx, w.id, w.partQuery(), min(left, partSize))
		}
		k := min(int64(len(p)), w.sending.left)
		if k == 0 {
			return n - len(p), object.ErrLength
		}
		if err := w.sending.write(p[:k]); err != nil {
			return n - len(p), err
		}
		p = p[k:]
		w.written += k
		if w.upload != "" && w.sending.left == 0 {
			if err := w.endPart(); err != nil {
				return n - len(p), err
			}
		}
	}
	return n, nil
}

func (w *writer) partQuery() url.Values {
	return url.Values{"partNumber": {strconv.Itoa(len(w.parts) + 1)}, "uploadId": {w.upload}}
}

func (w *writer) endPart() error {
	s := w.sending
	w.sending = nil
	if err := s.end(); err != nil {
		return err
	}
	w.parts = append(w.parts, part{len(w.parts) + 1, s.etag})
	return nil
}

// hold collects a part and sends it, several times if need be.
func (w *writer) hold(p []byte) error {
	if w.held == nil {
		w.held = make([]byte, 0, heldPart)
	}
	for len(p) > 0 {
		k := min(len(p), heldPart-len(w.held))
		w.held = append(w.held, p[:k]...)
		if p = p[k:]; len(w.held) == heldPart {
			if err := w.sendHeld(); err != nil {
				return err
			}
		}
	}
	return nil
}

func (w *writer) sendHeld() error {
	h, err := w.files.client.call(w.ctx, http.MethodPut, w.files.key(w.id), w.partQuery(), nil, w.held, nil)
	if err != nil {
		return err
	}
	w.parts = append(w.parts, part{len(w.parts) + 1, h.Get("ETag")})
	w.held = w.held[:0]
	return nil
}

// Commit returns when the endpoint has acknowledged all of it.
func (w *writer) Commit() error {
	if w.upload == "" {
		return w.sending.end()
	}
	if w.sending != nil {
		return errors.Join(object.ErrLength, w.Abort())
	}
	if len(w.held) > 0 || len(w.parts) == 0 {
		if err := w.sendHeld(); err != nil {
			return errors.Join(err, w.Abort())
		}
	}
	var body bytes.Buffer
	err := xml.NewEncoder(&body).Encode(struct {
		XMLName xml.Name `xml:"http://s3.amazonaws.com/doc/2006-03-01/ CompleteMultipartUpload"`
		Parts   []part   `xml:"Part"`
	}{Parts: w.parts})
	if err == nil {
		_, err = w.files.client.call(w.ctx, http.MethodPost, w.files.key(w.id), url.Values{"uploadId": {w.upload}}, nil, body.Bytes(), nil)
	}
	if err != nil {
		// It may have been completed all the same. Nothing names it; the collector removes what is there.
		return errors.Join(fmt.Errorf("complete an upload to the object store: %w", err), w.Abort())
	}
	return nil
}

func (w *writer) Abort() error {
	if w.sending != nil {
		w.sending.cut()
		w.sending = nil
	}
	if w.upload == "" {
		return nil
	}
	// The caller may be gone already.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(w.ctx), answerTime)
	defer cancel()
	if err := w.files.abort(ctx, w.id, w.upload); err != nil {
		w.files.mu.Lock()
		w.files.torn[w.id] = append(w.files.torn[w.id], w.upload)
		w.files.mu.Unlock()
	}
	return nil
}
