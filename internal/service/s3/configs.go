package s3

import (
	"context"
	"encoding/json"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"weak"

	"karri.dev/internal/aws/awserr"
	"karri.dev/internal/resource"
	"karri.dev/internal/store"
)

// Configurations of buckets are documents beside the bucket's record. A document is validated when it is put,
// stored in AWS's member names, and read once for as long as its record lives.

// setConfig stores a bucket's configuration; doc is JSON's to write. check, if set, judges in the transaction.
func (s *Service) setConfig(ctx context.Context, b *resource.Bucket, kind resource.BucketPart, doc any, check ...func(*store.Tx) error) error {
	return s.store.Update(ctx, func(tx *store.Tx) error {
		if err := still(tx, b); err != nil {
			return err
		}
		for _, f := range check {
			if err := f(tx); err != nil {
				return err
			}
		}
		return putConfig(tx, b, kind, doc)
	})
}

func putConfig(tx *store.Tx, b *resource.Bucket, kind resource.BucketPart, doc any) error {
	text, err := json.Marshal(doc)
	if err != nil {
		return fmt.Errorf("write %s of bucket %s: %w", kind, b.Name, err)
	}
	return store.BucketConfigs.Put(tx, &resource.BucketConfig{Bucket: b.Engine, Kind: kind, Document: text})
}

// dropConfig removes a bucket's configuration; that there is none is no error.
func (s *Service) dropConfig(ctx context.Context, bucket, owner string, act action, kind resource.BucketPart) error {
	b, err := s.bucket(ctx, bucket, owner, act)
	if err != nil {
		return err
	}
	return s.store.Update(ctx, func(tx *store.Tx) error {
		if err := still(tx, b); err != nil {
			return err
		}
		store.BucketConfigs.Delete(tx, store.BucketConfigKey(b.Engine, kind))
		return nil
	})
}

// still says whether a bucket is what it was when the request began.
func still(tx *store.Tx, b *resource.Bucket) error {
	if now := store.Buckets.Get(tx, b.Name); now == nil || now.Engine != b.Engine {
		return noSuchBucket(b.Name)
	}
	return nil
}

// Forget removes the record of a bucket and all that was configured of it.
func Forget(tx *store.Tx, b *resource.Bucket) {
	store.Buckets.Delete(tx, b.Name)
	dropConfigs(tx, b.Engine)
}

func dropConfigs(tx *store.Tx, engine string) {
	prefix := store.BucketConfigKey(engine, "")
	for c := range store.BucketConfigs.From(tx, prefix) {
		key := store.BucketConfigKey(c.Bucket, c.Kind)
		if !strings.HasPrefix(key, prefix) {
			return
		}
		store.BucketConfigs.Delete(tx, key)
	}
}

// config gives a bucket's configuration, nil when it has none. The caller must not change it.
func config[T any](s *Service, r store.Reader, b *resource.Bucket, kind resource.BucketPart) (*T, error) {
	c := store.BucketConfigs.Get(r, store.BucketConfigKey(b.Engine, kind))
	if c == nil {
		return nil, nil
	}
	return once(&s.read, c, func(c *resource.BucketConfig) (*T, error) {
		doc := new(T)
		if err := json.Unmarshal(c.Document, doc); err != nil {
			return nil, fmt.Errorf("read %s of bucket %s: %w", c.Kind, b.Name, err)
		}
		return doc, nil
	})
}

// asked gives the configuration that a request asks for; without one the answer is an error of that code.
func asked[T any](ctx context.Context, s *Service, bucket, owner string, act action, kind resource.BucketPart, code, message string) (*T, error) {
	b, err := s.bucket(ctx, bucket, owner, act)
	if err != nil {
		return nil, err
	}
	doc, err := config[T](s, s.store.Snapshot(), b, kind)
	if err == nil && doc == nil && code != "" {
		err = awserr.New(code, "%s", message).WithStatus(404).With("BucketName", b.Name)
	}
	return doc, err
}

// readings remember what was made of records. A record never changes, so what was made of it is right for as
// long as it lives, and is forgotten with it.
type readings struct{ known sync.Map } // weak.Pointer[resource.BucketConfig] to *T

// once gives what read makes of a record.
func once[T any](m *readings, c *resource.BucketConfig, read func(*resource.BucketConfig) (*T, error)) (*T, error) {
	key := weak.Make(c)
	if v, ok := m.known.Load(key); ok {
		return v.(*T), nil
	}
	v, err := read(c)
	if err != nil {
		return nil, err
	}
	if _, there := m.known.Swap(key, v); !there {
		runtime.AddCleanup(c, func(key weak.Pointer[resource.BucketConfig]) { m.known.Delete(key) }, key)
	}
	return v, nil
}
