package disk

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2"

	"karri.dev/internal/object"
)

// What buckets hold is counted where records are written and removed, and stored once for each bucket of a group, in
// the group's own commit: so the numbers are as durable and as exact as the objects.

// tallying counts the changes of a group.
type tallying struct {
	ledger  *object.Ledger
	changes map[string]object.Tally // of the group, by bucket
	now     map[string]object.Tally // of the update under way
	// reserved is what the update under way was allowed to add; the ledger has it already.
	reserved object.Tally
	bucket   string
}

func (c *tallying) add(bucket string, t object.Tally) {
	if c.now == nil {
		c.now, c.changes = map[string]object.Tally{}, map[string]object.Tally{}
	}
	c.now[bucket] = c.now[bucket].Plus(t)
}

func (c *tallying) take(bucket string, t object.Tally) { c.add(bucket, object.Tally{}.Minus(t)) }

// reserve asks whether there is room.
func (c *tallying) reserve(bucket string, added object.Tally, room func(object.Balance) error) error {
	c.add(bucket, object.Tally{})
	if err := c.ledger.Add(bucket, added, room); err != nil {
		return err
	}
	c.reserved, c.bucket = added, bucket
	return nil
}

// settle ends an update: the ledger gets what it has really changed.
func (c *tallying) settle() {
	for bucket, change := range c.now {
		c.changes[bucket] = c.changes[bucket].Plus(change)
		if bucket == c.bucket {
			change = change.Minus(c.reserved)
		}
		_ = c.ledger.Add(bucket, change, nil) // nothing refuses it
	}
	clear(c.now)
	c.reserved, c.bucket = object.Tally{}, ""
}

// undo takes a group back that was not committed.
func (c *tallying) undo() {
	for bucket, change := range c.changes {
		_ = c.ledger.Add(bucket, object.Tally{}.Minus(change), nil)
	}
}

// putTallies stores what the group's buckets hold now.
func (t *tx) putTallies() error {
	for bucket, change := range t.tally.changes {
		if change == (object.Tally{}) {
			continue
		}
		if err := t.setTally(bucket, t.tally.ledger.Of(bucket)); err != nil {
			return err
		}
	}
	return nil
}

func (t *tx) setTally(bucket string, n object.Tally) error {
	if n == (object.Tally{}) {
		return t.remove(tallyKey(bucket))
	}
	return t.set(tallyKey(bucket), binary.AppendVarint(binary.AppendVarint(nil, n.Objects), n.Bytes))
}

func decodeTally(b []byte) (object.Tally, error) {
	d := decoder{b: b}
	t := object.Tally{Objects: d.varint(), Bytes: d.varint()}
	if d.err != nil {
		return t, fmt.Errorf("what a bucket holds: %w: %w", object.ErrCorrupt, d.err)
	}
	return t, nil
}

func (o *objectRecord) tally() object.Tally { return object.Tally{Objects: 1, Bytes: o.Size} }

func (p *partRecord) tally() object.Tally { return object.Tally{Objects: 1, Bytes: p.Size} }

// Tally gives what a bucket holds.
func (e *Engine) Tally(_ context.Context, bucket string) (out object.Tally, err error) {
	if err := e.enter(); err != nil {
		return out, err
	}
	defer e.calls.RUnlock()
	err = e.look(func(r reader) error {
		if err := r.alive(bucket); err != nil {
			return err
		}
		v, err := r.get(tallyKey(bucket))
		if err == nil && v != nil {
			out, err = decodeTally(v)
		}
		return err
	})
	return out, err
}

// early judges a write before its body is read.
func (e *Engine) early(bucket string, p *object.Put, replaced func(reader) (object.Tally, error)) error {
	if p.Room == nil || p.Size < 0 {
		return nil
	}
	return e.look(func(r reader) error {
		old, err := replaced(r)
		if err != nil {
			return err
		}
		return e.cfg.Ledger.Judge(bucket, object.Tally{Objects: 1, Bytes: p.Size}.Minus(old), p.Room)
	})
}

// room judges a write of size bytes in its moment.
func (t *tx) room(bucket string, p *object.Put, size int64, replaced func(reader) (object.Tally, error)) error {
	if p.Room == nil {
		return nil
	}
	old, err := replaced(t.reader)
	if err != nil {
		return err
	}
	return t.tally.reserve(bucket, object.Tally{Objects: 1, Bytes: size}.Minus(old), p.Room)
}

// replacedVersion tells what goes when a key is written: the null version, unless the bucket is versioned.
func replacedVersion(bucket, key string, v object.Versioning) func(reader) (object.Tally, error) {
	return func(r reader) (object.Tally, error) {
		if v == object.Enabled {
			return object.Tally{}, nil
		}
		o, err := r.lookup(bucket, key, object.Null)
		if err != nil || o == nil {
			return object.Tally{}, err
		}
		return o.tally(), nil
	}
}

// replacedPart tells what goes when a part is written.
func replacedPart(at []byte) func(reader) (object.Tally, error) {
	return func(r reader) (object.Tally, error) {
		v, err := r.get(at)
		if err != nil || v == nil {
			return object.Tally{}, err
		}
		p, err := decodePart(v)
		if err != nil {
			return object.Tally{}, fmt.Errorf("part: %w: %w", object.ErrCorrupt, err)
		}
		return p.tally(), nil
	}
}

// replacedUpload tells what goes when an upload becomes a version: its parts, and what the version replaces.
func replacedUpload(bucket, key, id string, v object.Versioning) func(reader) (object.Tally, error) {
	return func(r reader) (object.Tally, error) {
		sum, err := replacedVersion(bucket, key, v)(r)
		if err != nil {
			return sum, err
		}
		err = r.eachPart(bucket, key, id, func(p partRecord) bool {
			sum = sum.Plus(p.tally())
			return true
		})
		return sum, err
	}
}

// openTallies tells the ledger what is stored. An index from before there were such numbers is counted once.
func (e *Engine) openTallies() error {
	r := reader{Reader: e.db, known: e.known}
	complete, err := r.has(keyTallied)
	if err != nil {
		return err
	}
	var all map[string]object.Tally
	if complete {
		all, err = r.tallies()
	} else {
		all, err = r.count()
	}
	if err != nil {
		return err
	}
	if !complete {
		t := tx{reader: r, batch: e.db.NewBatch()}
		for bucket, n := range all {
			if err := t.setTally(bucket, n); err != nil {
				return err
			}
		}
		if err := t.set(keyTallied, nil); err != nil {
			return err
		}
		if err := t.batch.Commit(pebble.Sync); err != nil {
			return fmt.Errorf("store what buckets hold: %w", err)
		}
	}
	for bucket, n := range all {
		if err := e.cfg.Ledger.Add(bucket, n, nil); err != nil {
			return err
		}
	}
	return nil
}

// tallies gives what is stored of all buckets.
func (r reader) tallies() (map[string]object.Tally, error) {
	all := map[string]object.Tally{}
	err := r.each(tableTallies, func(bucket string, _, value []byte) error {
		n, err := decodeTally(value)
		all[bucket] = n
		return err
	})
	return all, err
}

// count counts what all buckets hold.
func (r reader) count() (map[string]object.Tally, error) {
	all := map[string]object.Tally{}
	version := func(bucket string, _, value []byte) error {
		o, err := decodeObject(value, "", false)
		if err != nil {
			return fmt.Errorf("object: %w: %w", object.ErrCorrupt, err)
		}
		all[bucket] = all[bucket].Plus(o.tally())
		return nil
	}
	part := func(bucket string, _, value []byte) error {
		p, err := decodePart(value)
		if err != nil {
			return fmt.Errorf("part: %w: %w", object.ErrCorrupt, err)
		}
		all[bucket] = all[bucket].Plus(p.tally())
		return nil
	}
	return all, errors.Join(r.each(tableObjects, version), r.each(tableOlder, version), r.each(tableParts, part))
}

// each goes through a table whose keys begin with a bucket.
func (r reader) each(table byte, fn func(bucket string, key, value []byte) error) (err error) {
	it, err := r.scan([]byte{table})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closeScan(it)) }()
	bucket := ""
	for ok := it.First(); ok; ok = it.Next() {
		key := it.Key()[1:]
		size, n := binary.Uvarint(key)
		if n <= 0 || size > uint64(len(key)-n) {
			return fmt.Errorf("scan object index: %w: %w", object.ErrCorrupt, errRecord)
		}
		if name := key[n : n+int(size)]; string(name) != bucket {
			bucket = string(name)
		}
		value, err := it.ValueAndErr()
		if err != nil {
			return fmt.Errorf("scan object index: %w", damaged(err))
		}
		if err := fn(bucket, key[n+int(size):], value); err != nil {
			return err
		}
	}
	return nil
}

// recount compares what is stored with what is there, in one view of the index, and mends what differs.
func (e *Engine) recount() (wrong int, err error) {
	differs := map[string]object.Tally{}
	err = e.look(func(r reader) error {
		stored, err := r.tallies()
		if err != nil {
			return err
		}
		counted, err := r.count()
		if err != nil {
			return err
		}
		for bucket, n := range counted {
			differs[bucket] = n.Minus(stored[bucket])
		}
		for bucket, n := range stored {
			differs[bucket] = counted[bucket].Minus(n)
		}
		return nil
	})
	for bucket, change := range differs {
		if change == (object.Tally{}) {
			continue
		}
		e.log.Error("object engine: a bucket holds something else than was counted", "bucket", bucket, "objects", change.Objects, "bytes", change.Bytes)
		wrong++
		// What was written since was counted on its own.
		err = errors.Join(err, e.update(func(t *tx) error { t.tally.add(bucket, change); return nil }))
	}
	return wrong, err
}
