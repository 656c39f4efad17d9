package s3

import (
	"context"
	"regexp"
	"strings"

	"karri.dev/internal/aws/awserr"
	shape "karri.dev/internal/aws/shape/s3"
	"karri.dev/internal/resource"
	"karri.dev/internal/store"
)

// many are configurations of which a bucket can have several, each with an id and a record of its own.
type many[T any] struct {
	part        resource.BucketPart
	read, write action
	id          func(*T) string
}

var (
	analytics   = many[shape.AnalyticsConfiguration]{resource.PartAnalytics, "GetAnalyticsConfiguration", "PutAnalyticsConfiguration", func(c *shape.AnalyticsConfiguration) string { return c.Id }}
	inventories = many[shape.InventoryConfiguration]{resource.PartInventory, "GetInventoryConfiguration", "PutInventoryConfiguration", func(c *shape.InventoryConfiguration) string { return c.Id }}
	metrics     = many[shape.MetricsConfiguration]{resource.PartMetrics, "GetMetricsConfiguration", "PutMetricsConfiguration", func(c *shape.MetricsConfiguration) string { return c.Id }}
	tierings    = many[shape.IntelligentTieringConfiguration]{resource.PartTiering, "GetIntelligentTieringConfiguration", "PutIntelligentTieringConfiguration", func(c *shape.IntelligentTieringConfiguration) string { return c.Id }}
)

// Limits of AWS.
const (
	maxConfigs     = 1000
	maxConfigsPage = 100
)

var configID = regexp.MustCompile(`^[A-Za-z0-9._-]{1,64}$`)

func (m many[T]) kind(id string) resource.BucketPart { return m.part + "/" + resource.BucketPart(id) }

// put stores a configuration if check finds nothing wrong with it.
func (m many[T]) put(ctx context.Context, s *Service, bucket, owner, id string, c *T, check func(*resource.Bucket, *T) error) error {
	b, err := s.bucket(ctx, bucket, owner, m.write)
	if err != nil {
		return err
	}
	switch {
	case !configID.MatchString(id):
		return awserr.New("InvalidConfigurationId", "The specified configuration id is invalid.")
	case c == nil:
		return malformedXML()
	case m.id(c) != id:
		return awserr.New("IdMismatch", "Document ID does not match the specified configuration ID.")
	}
	if err := check(b, c); err != nil {
		return err
	}
	return s.setConfig(ctx, b, m.kind(id), c, func(tx *store.Tx) error {
		n := 0
		for range m.records(tx, b, "") {
			n++
		}
		if n >= maxConfigs && store.BucketConfigs.Get(tx, store.BucketConfigKey(b.Engine, m.kind(id))) == nil {
			return awserr.New("TooManyConfigurations", "You are attempting to create a new configuration but have already reached the %d-configuration limit.", maxConfigs)
		}
		return nil
	})
}

// records gives a bucket's in the order of their ids, those behind one id.
func (m many[T]) records(r store.Reader, b *resource.Bucket, after string) func(yield func(*resource.BucketConfig) bool) {
	prefix := store.BucketConfigKey(b.Engine, m.kind(""))
	return func(yield func(*resource.BucketConfig) bool) {
		for c := range store.BucketConfigs.From(r, prefix+after) {
			key := store.BucketConfigKey(c.Bucket, c.Kind)
			if !strings.HasPrefix(key, prefix) {
				return
			}
			if key[len(prefix):] > after && !yield(c) {
				return
			}
		}
	}
}

func noSuchConfiguration(bucket string) error {
	return awserr.New("NoSuchConfiguration", "The specified configuration does not exist.").WithStatus(404).With("BucketName", bucket)
}

func (m many[T]) get(ctx context.Context, s *Service, bucket, owner, id string) (*T, error) {
	return asked[T](ctx, s, bucket, owner, m.read, m.kind(id), "NoSuchConfiguration", "The specified configuration does not exist.")
}

// drop removes a configuration, and what else is kept of it.
func (m many[T]) drop(ctx context.Context, s *Service, bucket, owner, id string, also ...resource.BucketPart) error {
	b, err := s.bucket(ctx, bucket, owner, m.write)
	if err != nil {
		return err
	}
	return s.store.Update(ctx, func(tx *store.Tx) error {
		if err := still(tx, b); err != nil {
			return err
		}
		key := store.BucketConfigKey(b.Engine, m.kind(id))
		if store.BucketConfigs.Get(tx, key) == nil {
			return noSuchConfiguration(bucket)
		}
		store.BucketConfigs.Delete(tx, key)
		for _, kind := range also {
			store.BucketConfigs.Delete(tx, store.BucketConfigKey(b.Engine, kind))
		}
		return nil
	})
}

// list gives a page and the token of the next one, "" at the end.
func (m many[T]) list(ctx context.Context, s *Service, bucket, owner, token string) (page []T, next string, err error) {
	b, err := s.bucket(ctx, bucket, owner, m.read)
	if err != nil {
		return nil, "", err
	}
	after, err := parseToken(token)
	if err != nil {
		return nil, "", err
	}
	snap := s.store.Snapshot()
	for r := range m.records(snap, b, after) {
		if len(page) == maxConfigsPage {
			return page, makeToken(m.id(&page[len(page)-1])), nil
		}
		c, err := config[T](s, snap, b, r.Kind)
		if err != nil {
			return nil, "", err
		}
		page = append(page, *c)
	}
	return page, "", nil
}
