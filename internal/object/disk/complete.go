package disk

import (
	"context"
	"crypto/md5"
	"encoding/hex"
	"errors"
	"fmt"

	"karri.dev/internal/object"
)

// minPart is the smallest size, in bytes, of a part that is not the last.
const minPart = 5 << 20

// Complete makes an object of an upload's parts. No byte is copied: the object is the list of their files.
func (e *Engine) Complete(_ context.Context, bucket, key, id string, named []object.Part, p object.Put) (object.Meta, error) {
	if err := e.enter(); err != nil {
		return object.Meta{}, err
	}
	defer e.calls.RUnlock()
	p.Key = key
	if err := e.checkSpace(); err != nil {
		return object.Meta{}, err
	}
	for i := 1; i < len(named); i++ {
		if named[i].Number <= named[i-1].Number {
			return object.Meta{}, object.ErrPartOrder
		}
	}
	o := objectRecord{upload: id}
	o.Key = key
	if p.Checksum != nil {
		var err error
		if o.ChecksumAlgorithm, o.Checksum, o.ChecksumType, err = p.Checksum(); err != nil {
			return object.Meta{}, err
		}
	}
	err := e.update(func(t *tx) error {
		u, err := t.upload(bucket, key, id)
		if errors.Is(err, object.ErrNoUpload) {
			return t.completed(bucket, id, named, &o)
		}
		if err != nil {
			return err
		}
		if err := t.allows(bucket, key, &p); err != nil {
			return err
		}
		list, err := t.choose(bucket, key, id, named)
		if err != nil {
			return err
		}
		o.Headers, o.Owner, o.Class, o.Attributes, o.sealed = u.Headers, u.Owner, u.Class, u.Attributes, u.sealed
		o.Encryption = u.Encryption
		var size int64
		for i := range list {
			size += list[i].Size
		}
		if err := t.room(bucket, &p, size, replacedUpload(bucket, key, id, p.Versioning)); err != nil {
			return err
		}
		return e.join(t, bucket, &p, &o, list)
	})
	return o.Meta, err
}

// completed answers a Complete that has been answered before: o becomes the object that it made.
func (t *tx) completed(bucket, id string, named []object.Part, o *objectRecord) error {
	made, err := t.find(bucket, o.Key, "")
	if errors.Is(err, object.ErrNotFound) || err == nil && (made.content.kind != parts || made.upload != id) {
		return object.ErrNoUpload
	}
	if err != nil {
		return err
	}
	list, err := t.parts(made.content.id)
	if err != nil {
		return err
	}
	if len(list) != len(named) {
		return object.ErrNoUpload
	}
	for i := range list {
		if list[i].Number != named[i].Number || list[i].ETag != named[i].ETag {
			return object.ErrNoUpload
		}
	}
	*o = made
	return nil
}

// choose gives the parts that are named, once they are found to be as they should.
func (t *tx) choose(bucket, key, id string, named []object.Part) ([]partRecord, error) {
	if len(named) == 0 {
		return nil, object.ErrInvalidPart
	}
	list := make([]partRecord, 0, len(named))
	err := t.eachPart(bucket, key, id, func(p partRecord) bool {
		want := named[len(list)]
		if p.Number == want.Number && p.ETag == want.ETag {
			list = append(list, p)
		}
		return p.Number < want.Number || len(list) < len(named) && p.ETag == want.ETag
	})
	if err != nil {
		return nil, err
	}
	if len(list) < len(named) {
		return nil, fmt.Errorf("part %d: %w", named[len(list)].Number, object.ErrInvalidPart)
	}
	for i := range list[:len(list)-1] {
		if list[i].Size < minPart {
			return nil, fmt.Errorf("part %d: %w", list[i].Number, object.ErrPartTooSmall)
		}
	}
	return list, nil
}

// join writes the object and ends the upload.
func (e *Engine) join(t *tx, bucket string, p *object.Put, o *objectRecord, list []partRecord) error {
	sums := md5.New()
	kept := make(map[int]bool, len(list))
	var table []byte
	o.Size = 0
	for i := range list {
		part := &list[i]
		sum, err := hex.DecodeString(part.ETag)
		if err != nil {
			return fmt.Errorf("part %d: %w: %w", part.Number, object.ErrCorrupt, err)
		}
		sums.Write(sum)
		kept[part.Number] = true
		table = part.encode(table)
		o.Size += part.Size
	}
	o.Parts = len(list)
	o.ETag = fmt.Sprintf("%x-%d", sums.Sum(nil), len(list))
	o.content = content{kind: parts, id: e.ids.next()}
	if err := t.dropUpload(bucket, o.Key, o.upload, kept); err != nil {
		return err
	}
	if err := t.set(contentKey(o.content.id), table); err != nil {
		return err
	}
	return e.replace(t, bucket, p, o)
}
