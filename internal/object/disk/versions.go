package disk

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/cockroachdb/pebble/v2"

	"karri.dev/internal/object"
)

// The latest version of a key is in tableObjects, unless it is a delete marker; all others are in tableOlder. So
// plain listings and reads are as quick as without versions. The null version is found in tableObjects, or by
// tableNulls.

// decode reads a version's record and names the version.
func (r reader) decode(value []byte, key string, full bool) (objectRecord, error) {
	o, err := decodeObject(value, key, full)
	if err != nil {
		return o, fmt.Errorf("object %q: %w: %w", key, object.ErrCorrupt, err)
	}
	r.name(&o)
	return o, nil
}

func (r reader) name(o *objectRecord) {
	o.VersionID = object.Null
	if !o.null {
		o.VersionID = r.known.name(o.seq)
	}
}

// find gives a version, "" being the latest, by the rules of object.Engine.
func (r reader) find(bucket, key, version string) (objectRecord, error) {
	o, err := r.lookup(bucket, key, version)
	switch {
	case err != nil:
		return objectRecord{}, err
	case o == nil:
		if err := r.alive(bucket); err != nil {
			return objectRecord{}, err
		}
		if version == "" {
			return objectRecord{}, object.ErrNotFound
		}
		return objectRecord{}, object.ErrNoVersion
	case o.Marker:
		return objectRecord{}, &object.MarkerError{Marker: o.Meta}
	}
	return *o, nil
}

// lookup gives a version, also if it is a delete marker; nil if there is none.
func (r reader) lookup(bucket, key, version string) (*objectRecord, error) {
	switch version {
	case "":
		o, err := r.current(bucket, key)
		if err != nil || o != nil {
			return o, err
		}
		return r.newestOlder(bucket, key)
	case object.Null:
		o, err := r.current(bucket, key)
		if err != nil || o != nil && o.null {
			return o, err
		}
		seq, found, err := r.nullSeq(bucket, key)
		if err != nil || !found {
			return nil, err
		}
		return r.older(bucket, key, seq)
	}
	seq, err := r.known.parse(version)
	if err != nil {
		return nil, err
	}
	o, err := r.current(bucket, key)
	if err == nil && (o == nil || o.seq != seq) {
		o, err = r.older(bucket, key, seq)
	}
	if err != nil || o == nil || o.null { // null versions have no other name
		return nil, err
	}
	return o, nil
}

// current gives the latest version unless it is a delete marker.
func (r reader) current(bucket, key string) (*objectRecord, error) {
	return r.record(objectKey(bucket, key), key)
}

func (r reader) older(bucket, key string, seq uint64) (*objectRecord, error) {
	return r.record(olderKey(bucket, key, seq), key)
}

func (r reader) record(at []byte, key string) (*objectRecord, error) {
	v, closer, err := r.Get(at)
	switch {
	case errors.Is(err, pebble.ErrNotFound):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("read object index: %w", damaged(err))
	}
	o, err := r.decode(v, key, true) // copies
	return &o, errors.Join(err, closer.Close())
}

// newestOlder gives the newest version in tableOlder.
func (r reader) newestOlder(bucket, key string) (o *objectRecord, err error) {
	it, err := r.scan(olderPrefix(bucket, key))
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, closeScan(it)) }()
	if !it.First() {
		return nil, nil
	}
	v, err := it.ValueAndErr()
	if err != nil {
		return nil, fmt.Errorf("scan object index: %w", damaged(err))
	}
	rec, err := r.decode(bytes.Clone(v), key, true)
	return &rec, err
}

// nullSeq finds the null version in tableOlder.
func (r reader) nullSeq(bucket, key string) (seq uint64, found bool, err error) {
	if !r.known.nulls.Load() {
		return 0, false, nil
	}
	v, err := r.get(nullKey(bucket, key))
	switch {
	case err != nil || v == nil:
		return 0, false, err
	case len(v) != 8:
		return 0, false, fmt.Errorf("null version of %q: %w: %w", key, object.ErrCorrupt, errRecord)
	}
	return binary.BigEndian.Uint64(v), true, nil
}

// replace makes o the latest version of its key. Its time and number are taken here, in the order of the commits.
func (e *Engine) replace(t *tx, bucket string, p *object.Put, o *objectRecord) error {
	o.null = p.Versioning != object.Enabled
	if err := e.makeRoom(t, bucket, o); err != nil {
		return err
	}
	t.tally.add(bucket, o.tally())
	if p.Notes != nil {
		if err := e.note(t, p.Notes(o.Meta)); err != nil {
			return err
		}
	}
	return t.set(objectKey(bucket, o.Key), o.encode())
}

// mark puts a delete marker on top of a key's versions.
func (e *Engine) mark(t *tx, bucket string, d object.Delete) (objectRecord, error) {
	m := objectRecord{null: d.Versioning != object.Enabled}
	m.Key, m.Owner, m.Marker = d.Key, d.Owner, true
	if err := e.makeRoom(t, bucket, &m); err != nil {
		return m, err
	}
	if err := t.remove(objectKey(bucket, d.Key)); err != nil {
		return m, err
	}
	t.tally.add(bucket, m.tally())
	return m, t.shelve(bucket, &m)
}

// makeRoom moves the latest version to the older ones, or removes the null version if o takes its place, and gives
// o its number, name and time.
func (e *Engine) makeRoom(t *tx, bucket string, o *objectRecord) error {
	o.seq = e.ids.next()
	o.Modified = e.cfg.Now().UTC()
	t.name(o)
	old, err := t.current(bucket, o.Key)
	switch {
	case err != nil:
		return err
	case old != nil && o.null && old.null:
		return e.discardVersion(t, bucket, old, false)
	case old != nil:
		if err := t.shelve(bucket, old); err != nil {
			return err
		}
	}
	if !o.null {
		return nil
	}
	seq, found, err := t.nullSeq(bucket, o.Key)
	if err != nil || !found {
		return err
	}
	if old, err = t.older(bucket, o.Key, seq); err != nil {
		return err
	}
	if old != nil {
		if err := e.discardVersion(t, bucket, old, false); err != nil {
			return err
		}
	}
	return t.unshelve(bucket, o.Key, seq, true)
}

// shelve puts a version into tableOlder.
func (t *tx) shelve(bucket string, o *objectRecord) error {
	if o.null {
		t.known.nulls.Store(true)
		if err := t.set(nullKey(bucket, o.Key), binary.BigEndian.AppendUint64(nil, o.seq)); err != nil {
			return err
		}
	}
	return t.set(olderKey(bucket, o.Key, o.seq), o.encode())
}

func (t *tx) unshelve(bucket, key string, seq uint64, null bool) error {
	if null {
		if err := t.remove(nullKey(bucket, key)); err != nil {
			return err
		}
	}
	return t.remove(olderKey(bucket, key, seq))
}

// discardVersion drops a version's content, if its lock allows; its record is the caller's.
func (e *Engine) discardVersion(t *tx, bucket string, o *objectRecord, bypass bool) error {
	if o.Lock.Holds(e.cfg.Now(), bypass) {
		return object.ErrLocked
	}
	t.tally.take(bucket, o.tally())
	return t.drop(o.content)
}

// Delete removes an object or a version.
func (e *Engine) Delete(_ context.Context, bucket string, d object.Delete) (out object.Deleted, err error) {
	if err := e.enter(); err != nil {
		return out, err
	}
	defer e.calls.RUnlock()
	err = e.update(func(t *tx) error {
		if err := t.alive(bucket); err != nil {
			return err
		}
		out = object.Deleted{VersionID: d.VersionID}
		o, err := t.lookup(bucket, d.Key, d.VersionID)
		if err != nil {
			return err
		}
		if o != nil && o.Marker && d.VersionID == "" {
			o = nil
		}
		if d.Check != nil {
			var m *object.Meta
			if o != nil {
				m = &o.Meta
			}
			if err := d.Check(m); err != nil {
				return err
			}
		}
		out.Found = o != nil
		switch {
		case d.VersionID == "" && (d.Versioning != object.Unversioned || o != nil && !o.null):
			m, err := e.mark(t, bucket, d)
			out.VersionID, out.Marker = m.VersionID, true
			if err == nil && d.Notes != nil {
				err = e.note(t, d.Notes(out, &m.Meta))
			}
			return err
		case o == nil:
			return nil
		}
		out.VersionID, out.Marker = o.VersionID, o.Marker
		if err := e.removeVersion(t, bucket, o, d.Bypass); err != nil || d.Notes == nil {
			return err
		}
		return e.note(t, d.Notes(out, &o.Meta))
	})
	return out, err
}

// removeVersion removes a version for good. If it was the latest, the one before it becomes that.
func (e *Engine) removeVersion(t *tx, bucket string, o *objectRecord, bypass bool) error {
	if err := e.discardVersion(t, bucket, o, bypass); err != nil {
		return err
	}
	at := objectKey(bucket, o.Key)
	cur, err := t.current(bucket, o.Key)
	switch {
	case err != nil:
		return err
	case cur != nil && cur.seq == o.seq:
		if err := t.remove(at); err != nil {
			return err
		}
	default:
		if err := t.unshelve(bucket, o.Key, o.seq, o.null); err != nil || cur != nil {
			return err
		}
	}
	next, err := t.newestOlder(bucket, o.Key)
	if err != nil || next == nil || next.Marker {
		return err
	}
	if err := t.unshelve(bucket, o.Key, next.seq, next.null); err != nil {
		return err
	}
	return t.set(at, next.encode())
}

// Change changes a version's attributes.
func (e *Engine) Change(_ context.Context, bucket, key, version string, fn func(object.Meta, *object.Attributes) error) (m object.Meta, err error) {
	if err := e.enter(); err != nil {
		return m, err
	}
	defer e.calls.RUnlock()
	err = e.update(func(t *tx) error {
		o, err := t.find(bucket, key, version)
		if err != nil {
			return err
		}
		a := o.Attributes
		a.Tags, a.ACL, a.Awaits = maps.Clone(a.Tags), bytes.Clone(a.ACL), slices.Clone(a.Awaits)
		if err := fn(o.Meta, &a); err != nil {
			return err
		}
		if err := e.note(t, a.Notes); err != nil {
			return err
		}
		a.Notes = nil
		o.Attributes = a
		m = o.Meta
		at := objectKey(bucket, key)
		if cur, err := t.current(bucket, key); err != nil || cur == nil || cur.seq != o.seq {
			if err != nil {
				return err
			}
			at = olderKey(bucket, key, o.seq)
		}
		return t.set(at, o.encode())
	})
	return m, err
}
