package disk

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"

	"karri.dev/internal/object"
)

// CreateUpload begins a multipart upload. Its id begins with the time, so that ids sort by it.
func (e *Engine) CreateUpload(_ context.Context, bucket string, u object.Upload) (string, error) {
	if err := e.enter(); err != nil {
		return "", err
	}
	defer e.calls.RUnlock()
	if err := e.checkSpace(); err != nil {
		return "", err
	}
	secret, err := e.newSecret(u.Customer)
	if err != nil {
		return "", err
	}
	err = e.update(func(t *tx) error {
		if err := t.alive(bucket); err != nil {
			return err
		}
		u.Started = e.cfg.Now().UTC()
		id := binary.BigEndian.AppendUint64(nil, uint64(u.Started.UnixNano()))
		u.ID = hex.EncodeToString(binary.BigEndian.AppendUint64(id, e.ids.next()))
		return t.set(uploadKey(bucket, u.Key, u.ID), (&uploadRecord{Upload: u, sealed: secret.sealedKey()}).encode())
	})
	return u.ID, err
}

// GetUpload describes an upload under way.
func (e *Engine) GetUpload(_ context.Context, bucket, key, id string) (u object.Upload, err error) {
	if err := e.enter(); err != nil {
		return u, err
	}
	defer e.calls.RUnlock()
	err = e.look(func(r reader) error {
		rec, err := r.upload(bucket, key, id)
		u = rec.Upload
		return err
	})
	return u, err
}

func (r reader) upload(bucket, key, id string) (uploadRecord, error) {
	if err := r.alive(bucket); err != nil {
		return uploadRecord{}, err
	}
	v, err := r.get(uploadKey(bucket, key, id))
	if err != nil {
		return uploadRecord{}, err
	}
	if v == nil {
		return uploadRecord{}, object.ErrNoUpload
	}
	u, err := decodeUpload(v, key, id)
	if err != nil {
		return u, fmt.Errorf("upload %s: %w: %w", id, object.ErrCorrupt, err)
	}
	return u, nil
}

// PutPart writes a part, in place of one with the same number.
func (e *Engine) PutPart(ctx context.Context, bucket, key, id string, number int, p object.Put) (object.Part, error) {
	if err := e.enter(); err != nil {
		return object.Part{}, err
	}
	defer e.calls.RUnlock()
	if number < 1 || number > 10000 {
		return object.Part{}, fmt.Errorf("part number %d: %w", number, object.ErrInvalidPart)
	}
	var u uploadRecord
	uploading := func(r reader) (err error) {
		u, err = r.upload(bucket, key, id)
		return err
	}
	if err := e.look(uploading); err != nil {
		return object.Part{}, err
	}
	if err := e.early(bucket, &p, replacedPart(partKey(bucket, key, id, number))); err != nil {
		return object.Part{}, err
	}
	secret, err := e.openSecret(u.sealed, p.Customer)
	if err != nil {
		return object.Part{}, err
	}
	b, err := e.ingest(ctx, &p, secret, true)
	if err != nil {
		return object.Part{}, err
	}
	defer e.discard(b)
	part := partRecord{Part: object.Part{
		Number: number, Size: b.size, ETag: b.etag(),
		ChecksumAlgorithm: b.algorithm, Checksum: b.checksum,
	}, content: b.content}
	err = e.update(func(t *tx) error {
		if err := uploading(t.reader); err != nil {
			return err
		}
		k := partKey(bucket, key, id, number)
		if err := t.room(bucket, &p, part.Size, replacedPart(k)); err != nil {
			return err
		}
		if err := t.dropPart(bucket, k); err != nil {
			return err
		}
		t.tally.add(bucket, part.tally())
		if err := t.keep(b); err != nil {
			return err
		}
		part.Modified = e.cfg.Now().UTC()
		return t.set(k, part.encode(nil))
	})
	if err != nil {
		return object.Part{}, err
	}
	e.adopt(b)
	return part.Part, nil
}

// dropPart drops a part's content, if there is one.
func (t *tx) dropPart(bucket string, key []byte) error {
	v, err := t.get(key)
	if err != nil || v == nil {
		return err
	}
	p, err := decodePart(v)
	if err != nil {
		return fmt.Errorf("part: %w: %w", object.ErrCorrupt, err)
	}
	t.tally.take(bucket, p.tally())
	return t.drop(p.content)
}

// ListParts gives a page of an upload's parts.
func (e *Engine) ListParts(_ context.Context, bucket, key, id string, above, limit int) (out []object.Part, more bool, err error) {
	if err := e.enter(); err != nil {
		return nil, false, err
	}
	defer e.calls.RUnlock()
	err = e.look(func(r reader) error {
		if _, err := r.upload(bucket, key, id); err != nil {
			return err
		}
		return r.eachPart(bucket, key, id, func(p partRecord) bool {
			if p.Number <= above {
				return true
			}
			if more = len(out) >= limit; !more {
				out = append(out, p.Part)
			}
			return !more
		})
	})
	return out, more && limit > 0, err
}

// eachPart calls fn for the parts of an upload in order, until it answers false.
func (r reader) eachPart(bucket, key, id string, fn func(partRecord) bool) (err error) {
	it, err := r.scan(partPrefix(bucket, key, id))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closeScan(it)) }()
	for ok := it.First(); ok; ok = it.Next() {
		value, err := it.ValueAndErr()
		if err != nil {
			return fmt.Errorf("scan object index: %w", damaged(err))
		}
		p, err := decodePart(value)
		if err != nil {
			return fmt.Errorf("part of upload %s: %w: %w", id, object.ErrCorrupt, err)
		}
		if !fn(p) {
			return nil
		}
	}
	return nil
}

// ListUploads gives a page of a bucket's uploads.
func (e *Engine) ListUploads(_ context.Context, bucket, prefix, afterKey, afterID string, limit int) (out []object.Upload, more bool, err error) {
	if err := e.enter(); err != nil {
		return nil, false, err
	}
	defer e.calls.RUnlock()
	err = e.look(func(r reader) error {
		if err := r.alive(bucket); err != nil {
			return err
		}
		base := bucketPrefix(tableUploads, bucket)
		start := bytes.Clone(base)
		// Every upload of a key begins with the escaped key; without its end, keys that begin with prefix.
		from := escape(bytes.Clone(base), prefix)
		from = from[:len(from)-2]
		it, err := r.scan(from)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, closeScan(it)) }()
		ok := it.First()
		if afterKey != "" {
			start = escape(start, afterKey)
			if afterID == "" {
				start = after(start)
			} else {
				start = append(append(start, afterID...), 0)
			}
			ok = it.SeekGE(start)
		}
		for ; ok; ok = it.Next() {
			if more = len(out) >= limit; more {
				return nil
			}
			u, err := decodeUploadEntry(it.Key()[len(base):], it.ValueAndErr)
			if err != nil {
				return err
			}
			out = append(out, u)
		}
		return nil
	})
	return out, more && limit > 0, err
}

func decodeUploadEntry(entry []byte, value func() ([]byte, error)) (object.Upload, error) {
	v, err := value()
	if err != nil {
		return object.Upload{}, fmt.Errorf("scan object index: %w", damaged(err))
	}
	key, id, ok := unescape(entry)
	if !ok {
		return object.Upload{}, fmt.Errorf("upload: %w: %w", object.ErrCorrupt, errRecord)
	}
	u, err := decodeUpload(v, key, string(id))
	if err != nil {
		return u.Upload, fmt.Errorf("upload %s: %w: %w", id, object.ErrCorrupt, err)
	}
	return u.Upload, nil
}

// Abort ends an upload and drops its parts.
func (e *Engine) Abort(_ context.Context, bucket, key, id string) error {
	if err := e.enter(); err != nil {
		return err
	}
	defer e.calls.RUnlock()
	return e.update(func(t *tx) error {
		if _, err := t.upload(bucket, key, id); err != nil {
			return err
		}
		return t.dropUpload(bucket, key, id, nil)
	})
}

// dropUpload takes an upload out of the index, with the content of those of its parts that are not kept.
func (t *tx) dropUpload(bucket, key, id string, kept map[int]bool) error {
	var failed error
	err := t.eachPart(bucket, key, id, func(p partRecord) bool {
		t.tally.take(bucket, p.tally())
		if !kept[p.Number] {
			failed = t.drop(p.content)
		}
		return failed == nil
	})
	if err := errors.Join(err, failed); err != nil {
		return err
	}
	prefix := partPrefix(bucket, key, id)
	if err := t.batch.DeleteRange(prefix, after(prefix), nil); err != nil {
		return fmt.Errorf("write object index: %w", err)
	}
	return t.remove(uploadKey(bucket, key, id))
}

// dropUploads takes all uploads of a bucket out of the index.
func (t *tx) dropUploads(bucket string) error {
	base := bucketPrefix(tableUploads, bucket)
	it, err := t.scan(base)
	if err != nil {
		return err
	}
	var all []object.Upload
	for ok := it.First(); ok; ok = it.Next() {
		key, id, good := unescape(it.Key()[len(base):])
		if !good {
			return errors.Join(fmt.Errorf("upload: %w: %w", object.ErrCorrupt, errRecord), closeScan(it))
		}
		all = append(all, object.Upload{Key: key, ID: string(id)})
	}
	if err := closeScan(it); err != nil {
		return err
	}
	for _, u := range all {
		if err := t.dropUpload(bucket, u.Key, u.ID, nil); err != nil {
			return err
		}
	}
	return nil
}
