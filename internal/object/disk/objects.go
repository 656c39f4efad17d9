package disk

import (
	"context"
	"errors"
	"fmt"

	"karri.dev/internal/object"
)

// Put writes an object.
func (e *Engine) Put(ctx context.Context, bucket string, p object.Put) (object.Meta, error) {
	if err := e.enter(); err != nil {
		return object.Meta{}, err
	}
	defer e.calls.RUnlock()
	// Whatever will be refused is better refused before the body has been read.
	if err := e.look(func(r reader) error { return r.allows(bucket, p.Key, &p) }); err != nil {
		return object.Meta{}, err
	}
	replaced := replacedVersion(bucket, p.Key, p.Versioning)
	if err := e.early(bucket, &p, replaced); err != nil {
		return object.Meta{}, err
	}
	secret, err := e.newSecret(p.Customer)
	if err != nil {
		return object.Meta{}, err
	}
	b, err := e.ingest(ctx, &p, secret, false)
	if err != nil {
		return object.Meta{}, err
	}
	defer e.discard(b)
	o := objectRecord{Meta: object.Meta{
		Key: p.Key, Size: b.size, ETag: b.etag(), Owner: p.Owner, Class: p.Class, Headers: p.Headers, Attributes: p.Attributes,
		ChecksumAlgorithm: b.algorithm, Checksum: b.checksum, ChecksumType: b.kind,
	}, content: b.content, sealed: secret.sealedKey()}
	o.Encryption = encryption(o.sealed)
	err = e.update(func(t *tx) error {
		if err := t.allows(bucket, p.Key, &p); err != nil {
			return err
		}
		if err := t.room(bucket, &p, o.Size, replaced); err != nil {
			return err
		}
		if err := t.keep(b); err != nil {
			return err
		}
		return e.replace(t, bucket, &p, &o)
	})
	if err != nil {
		return object.Meta{}, err
	}
	e.adopt(b)
	return o.Meta, nil
}

// look runs fn on the newest durable state.
func (e *Engine) look(fn func(reader) error) error {
	v := e.current.acquire()
	err := fn(v.reader)
	return errors.Join(err, e.current.release(v))
}

// allows judges a Put's conditions.
func (r reader) allows(bucket, key string, p *object.Put) error {
	if err := r.alive(bucket); err != nil {
		return err
	}
	if !p.IfNoneMatch && p.IfMatch == "" {
		return nil
	}
	o, err := r.find(bucket, key, "")
	switch {
	case errors.Is(err, object.ErrNotFound) && p.IfMatch == "":
		return nil
	case err != nil:
		return err
	case p.IfNoneMatch || o.ETag != p.IfMatch:
		return object.ErrPrecondition
	}
	return nil
}

// keep puts a body's bytes, or its file's name, into the index.
func (t *tx) keep(b *body) error {
	switch b.content.kind {
	case inline:
		return t.set(contentKey(b.content.id), b.bytes)
	case file:
		return t.set(fileKey(b.content.id), nil)
	}
	return nil
}

// adopt tells that keep is durable.
func (e *Engine) adopt(b *body) {
	if b.content.kind == file {
		e.garbage.adopt(b.content.id)
	}
}

// drop takes a content out of the index and dooms its files.
func (t *tx) drop(c content) error {
	d := doomed{id: c.id}
	switch c.kind {
	case inline:
		return t.remove(contentKey(c.id))
	case file:
		d.files = []content{c}
	case parts:
		list, err := t.parts(c.id)
		if err != nil {
			return err
		}
		for _, p := range list {
			if p.content.kind == file {
				d.files = append(d.files, p.content)
			}
		}
		if err := t.remove(contentKey(c.id)); err != nil {
			return err
		}
	}
	for _, f := range d.files {
		if err := t.remove(fileKey(f.id)); err != nil {
			return err
		}
	}
	t.doomed = append(t.doomed, d)
	return nil
}

// parts gives the list of a multipart object's parts.
func (r reader) parts(id uint64) ([]partRecord, error) {
	v, err := r.get(contentKey(id))
	if err != nil {
		return nil, err
	}
	list, err := decodeParts(v)
	if err != nil || v == nil {
		return nil, fmt.Errorf("list of parts %x: %w", id, object.ErrCorrupt)
	}
	return list, nil
}

// Head gives an object's description.
func (e *Engine) Head(_ context.Context, bucket, key, version string) (m object.Meta, err error) {
	if err := e.enter(); err != nil {
		return m, err
	}
	defer e.calls.RUnlock()
	err = e.look(func(r reader) error {
		o, err := r.find(bucket, key, version)
		m = o.Meta
		return err
	})
	return m, err
}
