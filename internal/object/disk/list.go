package disk

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/cockroachdb/pebble/v2"

	"karri.dev/internal/object"
)

// scan opens an iterator over the keys that begin with prefix.
func (r reader) scan(prefix []byte) (*pebble.Iterator, error) {
	it, err := r.NewIter(&pebble.IterOptions{LowerBound: prefix, UpperBound: after(prefix)})
	if err != nil {
		return nil, fmt.Errorf("scan object index: %w", damaged(err))
	}
	return it, nil
}

func closeScan(it *pebble.Iterator) error {
	if err := it.Close(); err != nil {
		return fmt.Errorf("scan object index: %w", damaged(err))
	}
	return nil
}

// List gives a page of a bucket. It reads one key for each object on the page and two for each common prefix,
// and none in between.
func (e *Engine) List(ctx context.Context, bucket string, o object.ListOptions) (l object.Listing, err error) {
	if err := e.enter(); err != nil {
		return l, err
	}
	defer e.calls.RUnlock()
	err = e.look(func(r reader) error {
		l, err = r.list(ctx, bucket, o)
		return err
	})
	return l, err
}

func (r reader) list(ctx context.Context, bucket string, o object.ListOptions) (l object.Listing, err error) {
	if err := r.alive(bucket); err != nil {
		return l, err
	}
	base := bucketPrefix(tableObjects, bucket)
	it, err := r.scan(append(bytes.Clone(base), o.Prefix...))
	if err != nil {
		return l, err
	}
	defer func() { err = errors.Join(err, closeScan(it)) }()

	ok := seekPast(it, base, o)
	for count := 0; ok; count++ {
		if err := ctx.Err(); err != nil {
			return l, err
		}
		key := it.Key()[len(base):]
		if count >= o.Max {
			l.Truncated = count > 0 // a page of none has no place to go on from
			return l, nil
		}
		if common, found := commonPrefix(key, o); found {
			l.Next = string(common)
			l.Prefixes = append(l.Prefixes, l.Next)
			ok = it.SeekGE(after(append(bytes.Clone(base), l.Next...)))
			continue
		}
		value, err := it.ValueAndErr()
		if err != nil {
			return l, fmt.Errorf("scan object index: %w", damaged(err))
		}
		rec, err := r.decode(value, string(key), o.Full)
		if err != nil {
			return l, err
		}
		l.Next = rec.Key
		l.Objects = append(l.Objects, rec.Meta)
		ok = it.Next()
	}
	l.Next = ""
	return l, nil
}

// seekPast goes to the first key behind o.After.
func seekPast(it *pebble.Iterator, base []byte, o object.ListOptions) bool {
	if o.After == "" {
		return it.First()
	}
	from := append(bytes.Clone(base), o.After...)
	if common, found := commonPrefix([]byte(o.After), o); found && len(common) == len(o.After) {
		return it.SeekGE(after(from))
	}
	return it.SeekGE(append(from, 0))
}

// commonPrefix gives the common prefix that a key is covered by.
func commonPrefix(key []byte, o object.ListOptions) ([]byte, bool) {
	if o.Delimiter == "" || !strings.HasPrefix(string(key), o.Prefix) {
		return nil, false
	}
	i := bytes.Index(key[len(o.Prefix):], []byte(o.Delimiter))
	if i < 0 {
		return nil, false
	}
	return key[:len(o.Prefix)+i+len(o.Delimiter)], true
}

// Empty says whether a bucket holds objects.
func (e *Engine) Empty(_ context.Context, bucket string) error {
	if err := e.enter(); err != nil {
		return err
	}
	defer e.calls.RUnlock()
	return e.look(func(r reader) error { return r.empty(bucket) })
}

func (r reader) empty(bucket string) error {
	if err := r.alive(bucket); err != nil {
		return err
	}
	for _, table := range []byte{tableObjects, tableOlder} {
		it, err := r.scan(bucketPrefix(table, bucket))
		if err != nil {
			return err
		}
		if it.First() {
			err = object.ErrNotEmpty
		}
		if err := errors.Join(err, closeScan(it)); err != nil {
			return err
		}
	}
	return nil
}

// Drop ends an empty bucket.
func (e *Engine) Drop(_ context.Context, bucket string) error {
	if err := e.enter(); err != nil {
		return err
	}
	defer e.calls.RUnlock()
	err := e.update(func(t *tx) error {
		switch err := t.empty(bucket); {
		case errors.Is(err, object.ErrNoBucket):
			return nil
		case err != nil:
			return err
		}
		if err := t.dropUploads(bucket); err != nil {
			return err
		}
		t.known.live.Delete(bucket)
		return t.set(droppedKey(bucket), nil)
	})
	if err == nil {
		e.cfg.Ledger.Forget(bucket)
	}
	return err
}
