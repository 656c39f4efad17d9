package s3

import (
	"context"
	"errors"
	"fmt"
	"time"

	shape "karri.dev/internal/aws/shape/s3"
	"karri.dev/internal/object"
	"karri.dev/internal/resource"
	"karri.dev/internal/store"
)

// expiryPeriod is how often buckets are gone through. Rules count in days; AWS goes through them once a day.
const expiryPeriod = time.Hour

// ApplyLifecycles carries out the lifecycle rules of every bucket once. What fails in one bucket waits for the next
// time and holds up no other.
func (s *Service) ApplyLifecycles(ctx context.Context) error {
	snap := s.store.Snapshot()
	var failures []error
	for b := range store.Buckets.All(snap) {
		doc, err := config[lifecycleDocument](s, snap, b, resource.PartLifecycle)
		if err == nil && doc != nil && !b.System {
			err = s.applyLifecycle(ctx, b, doc.Rules)
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil && !errors.Is(err, object.ErrNoBucket) {
			failures = append(failures, fmt.Errorf("lifecycle of bucket %s: %w", b.Name, err))
		}
	}
	return errors.Join(failures...)
}

// expiryRule is a rule with its filter read.
type expiryRule struct {
	*shape.LifecycleRule
	filter objectFilter
}

func (s *Service) applyLifecycle(ctx context.Context, b *resource.Bucket, rules []shape.LifecycleRule) error {
	var active []expiryRule
	for i := range rules {
		if rules[i].Status != "Enabled" {
			continue
		}
		f, err := lifecycleFilter(&rules[i])
		if err != nil {
			return err
		}
		active = append(active, expiryRule{&rules[i], f})
	}
	if active == nil {
		return nil
	}
	now := s.now()
	if err := s.expireVersions(ctx, b, active, now); err != nil {
		return err
	}
	return s.expireUploads(ctx, b, active, now)
}

// due says whether something of that time is as old as a number of days, which end at midnight UTC.
func due(from time.Time, days int, now time.Time) bool {
	midnight := from.UTC().AddDate(0, 0, days)
	if whole := midnight.Truncate(24 * time.Hour); !whole.Equal(midnight) {
		midnight = whole.AddDate(0, 0, 1)
	}
	return !now.Before(midnight)
}

// expireVersions goes through all versions of a bucket. Those of one key come together, the latest first.
func (s *Service) expireVersions(ctx context.Context, b *resource.Bucket, rules []expiryRule, now time.Time) error {
	k := keyWalk{service: s, bucket: b, rules: rules, now: now}
	o := object.VersionOptions{Max: maxPage, Full: true}
	for {
		page, err := s.engine.ListVersions(ctx, b.Engine, o)
		if err != nil {
			return err
		}
		for i := range page.Versions {
			if err := k.add(ctx, page.Versions[i]); err != nil {
				return err
			}
		}
		if !page.Truncated {
			return k.flush(ctx)
		}
		o.AfterKey, o.AfterVersion = page.NextKey, page.NextVersion
	}
}

// keyWalk sees one key's versions after the other. It keeps the latest only, and when it was followed.
type keyWalk struct {
	service *Service
	bucket  *resource.Bucket
	rules   []expiryRule
	now     time.Time

	latest object.Version
	any    bool
	older  int       // versions behind the latest
	kept   int       // of those, how many stay
	since  time.Time // when the version at hand stopped being the latest
}

func (k *keyWalk) add(ctx context.Context, v object.Version) error {
	if v.Latest || !k.any || v.Key != k.latest.Key {
		if err := k.flush(ctx); err != nil {
			return err
		}
		k.latest, k.any, k.older, k.kept, k.since = v, true, 0, 0, v.Modified
		return nil
	}
	k.older++
	since := k.since
	k.since = v.Modified
	for i := range k.rules {
		r := &k.rules[i]
		n := r.NoncurrentVersionExpiration
		if n == nil || !r.filter.matches(v.Key, v.Size, v.Tags) || !due(since, *n.NoncurrentDays, k.now) {
			continue
		}
		if n.NewerNoncurrentVersions != nil && k.older <= *n.NewerNoncurrentVersions {
			continue
		}
		return k.service.expire(ctx, k.bucket, object.Delete{Key: v.Key, VersionID: v.VersionID})
	}
	k.kept++
	return nil
}

// flush judges the latest version of the key that was gone through.
func (k *keyWalk) flush(ctx context.Context) error {
	if !k.any {
		return nil
	}
	k.any = false
	v := &k.latest
	for i := range k.rules {
		r := &k.rules[i]
		e := r.Expiration
		if e == nil || !r.filter.matches(v.Key, v.Size, v.Tags) {
			continue
		}
		if v.Marker { // one that hides nothing any more goes
			lonely := k.kept == 0 && (e.ExpiredObjectDeleteMarker != nil && *e.ExpiredObjectDeleteMarker || e.Days != nil && due(v.Modified, *e.Days, k.now))
			if lonely {
				return k.service.expire(ctx, k.bucket, object.Delete{Key: v.Key, VersionID: v.VersionID})
			}
			continue
		}
		if e.Days != nil && due(v.Modified, *e.Days, k.now) || !e.Date.IsZero() && !k.now.Before(e.Date) {
			id := v.VersionID
			return k.service.expire(ctx, k.bucket, object.Delete{
				Key: v.Key, Versioning: versioning(k.bucket), Owner: k.service.canonical(k.service.store.Snapshot(), k.bucket.AccountID),
				Check: func(m *object.Meta) error { // it is still what was judged
					if m == nil || m.VersionID != id || !m.Modified.Equal(v.Modified) {
						return errChanged
					}
					return nil
				},
			})
		}
	}
	return nil
}

// errChanged says that what was to expire has been replaced meanwhile.
var errChanged = errors.New("object was replaced")

// expire deletes what its time is over for. A lock keeps it.
func (s *Service) expire(ctx context.Context, b *resource.Bucket, d object.Delete) error {
	_, err := s.remove(ctx, b, d, "LifecycleExpiration")
	if errors.Is(err, object.ErrLocked) || errors.Is(err, errChanged) || errors.Is(err, object.ErrNoVersion) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("expire %q: %w", d.Key, err)
	}
	return nil
}

// expireUploads ends uploads that were not completed in time.
func (s *Service) expireUploads(ctx context.Context, b *resource.Bucket, rules []expiryRule, now time.Time) error {
	key, id := "", ""
	for {
		us, more, err := s.engine.ListUploads(ctx, b.Engine, "", key, id, maxPage)
		if err != nil {
			return err
		}
		for _, u := range us {
			key, id = u.Key, u.ID
			for i := range rules {
				a := rules[i].AbortIncompleteMultipartUpload
				if a == nil || !rules[i].filter.matches(u.Key, 0, nil) || !due(u.Started, *a.DaysAfterInitiation, now) {
					continue
				}
				if err := s.engine.Abort(ctx, b.Engine, u.Key, u.ID); err != nil && !errors.Is(err, object.ErrNoUpload) {
					return fmt.Errorf("abort upload of %q: %w", u.Key, err)
				}
				break
			}
		}
		if !more {
			return nil
		}
	}
}
