package disk

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"github.com/cockroachdb/pebble/v2"

	"karri.dev/internal/object"
)

// ListVersions gives a page of a bucket's versions: two tables, read side by side in the order of keys.
func (e *Engine) ListVersions(ctx context.Context, bucket string, o object.VersionOptions) (l object.Versions, err error) {
	if err := e.enter(); err != nil {
		return l, err
	}
	defer e.calls.RUnlock()
	err = e.look(func(r reader) error {
		l, err = r.listVersions(ctx, bucket, o)
		return err
	})
	return l, err
}

func (r reader) listVersions(ctx context.Context, bucket string, o object.VersionOptions) (l object.Versions, err error) {
	if err := r.alive(bucket); err != nil {
		return l, err
	}
	m, err := r.merge(bucket, o.Prefix)
	if err != nil {
		return l, err
	}
	defer func() { err = errors.Join(err, m.close()) }()
	if err := m.start(o); err != nil {
		return l, err
	}
	lo := object.ListOptions{Prefix: o.Prefix, Delimiter: o.Delimiter}
	// A key whose first versions are on the page before begins with one that is not the latest.
	last, begun := o.AfterKey, o.AfterVersion != ""
	for count := 0; ; count++ {
		if err := ctx.Err(); err != nil {
			return l, err
		}
		key, ok, err := m.key()
		if err != nil {
			return l, err
		}
		if !ok {
			l.NextKey, l.NextVersion = "", ""
			return l, nil
		}
		if count >= o.Max {
			l.Truncated = count > 0
			return l, nil
		}
		if common, found := commonPrefix([]byte(key), lo); found {
			l.NextKey, l.NextVersion = string(common), ""
			l.Prefixes = append(l.Prefixes, l.NextKey)
			m.skip(l.NextKey)
			continue
		}
		rec, err := m.take(key, o.Full)
		if err != nil {
			return l, err
		}
		l.Versions = append(l.Versions, object.Version{Meta: rec.Meta, Latest: !begun || key != last})
		last, begun = key, true
		l.NextKey, l.NextVersion = key, rec.VersionID
	}
}

// merger reads latest and older versions side by side.
type merger struct {
	reader
	bucket        string
	latest, older *pebble.Iterator
	latestBase    []byte
	olderBase     []byte
}

func (r reader) merge(bucket, prefix string) (*merger, error) {
	m := &merger{reader: r, bucket: bucket, latestBase: bucketPrefix(tableObjects, bucket), olderBase: bucketPrefix(tableOlder, bucket)}
	var err error
	if m.latest, err = r.scan(append(bytes.Clone(m.latestBase), prefix...)); err != nil {
		return nil, err
	}
	from := escape(bytes.Clone(m.olderBase), prefix)
	if m.older, err = r.scan(from[:len(from)-2]); err != nil { // without the end: keys that begin with prefix
		return nil, errors.Join(err, closeScan(m.latest))
	}
	return m, nil
}

func (m *merger) close() error { return errors.Join(closeScan(m.latest), closeScan(m.older)) }

// start goes to the first version behind the markers.
func (m *merger) start(o object.VersionOptions) error {
	if o.AfterKey == "" {
		m.latest.First()
		m.older.First()
		return nil
	}
	lo := object.ListOptions{Prefix: o.Prefix, Delimiter: o.Delimiter}
	if common, found := commonPrefix([]byte(o.AfterKey), lo); found && len(common) == len(o.AfterKey) {
		m.skip(o.AfterKey)
		return nil
	}
	m.latest.SeekGE(append(append(bytes.Clone(m.latestBase), o.AfterKey...), 0))
	key := escape(bytes.Clone(m.olderBase), o.AfterKey)
	if o.AfterVersion == "" {
		m.older.SeekGE(after(key))
		return nil
	}
	seq, found, err := m.seqOf(o.AfterKey, o.AfterVersion)
	switch {
	case err != nil:
		return err
	case !found: // the null version went meanwhile, and with it its place: rather twice than never
		m.older.SeekGE(key)
	case seq == 0: // there is none older
		m.older.SeekGE(after(key))
	default:
		m.older.SeekGE(binary.BigEndian.AppendUint64(key, ^(seq - 1)))
	}
	return nil
}

// seqOf gives the place of a version, which need not be there any more.
func (m *merger) seqOf(key, version string) (seq uint64, found bool, err error) {
	if version != object.Null {
		seq, err = m.known.parse(version)
		return seq, err == nil, err
	}
	o, err := m.lookup(m.bucket, key, version)
	if err != nil || o == nil {
		return 0, false, err
	}
	return o.seq, true, nil
}

// skip passes over all keys that begin with prefix.
func (m *merger) skip(prefix string) {
	seek(m.latest, after(append(bytes.Clone(m.latestBase), prefix...)))
	from := escape(bytes.Clone(m.olderBase), prefix)
	seek(m.older, after(from[:len(from)-2]))
}

func seek(it *pebble.Iterator, to []byte) {
	if !it.Valid() || bytes.Compare(it.Key(), to) < 0 {
		it.SeekGE(to)
	}
}

// key gives the key that comes next.
func (m *merger) key() (key string, ok bool, err error) {
	older := ""
	if m.older.Valid() {
		if older, _, ok = unescape(m.older.Key()[len(m.olderBase):]); !ok {
			return "", false, fmt.Errorf("version: %w: %w", object.ErrCorrupt, errRecord)
		}
	}
	if m.latest.Valid() {
		if latest := string(m.latest.Key()[len(m.latestBase):]); !ok || latest <= older {
			return latest, true, nil
		}
	}
	return older, ok, nil
}

// take gives the next version, which is one of key, and goes on.
func (m *merger) take(key string, full bool) (objectRecord, error) {
	it := m.older
	if m.latest.Valid() && string(m.latest.Key()[len(m.latestBase):]) == key {
		it = m.latest
	}
	v, err := it.ValueAndErr()
	if err != nil {
		return objectRecord{}, fmt.Errorf("scan object index: %w", damaged(err))
	}
	rec, err := m.decode(slices.Clone(v), key, full)
	it.Next()
	return rec, err
}
