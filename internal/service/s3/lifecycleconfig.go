package s3

import (
	"context"
	"time"

	"karri.dev/internal/aws/awserr"
	shape "karri.dev/internal/aws/shape/s3"
	"karri.dev/internal/resource"
)

// maxLifecycleRules is S3's limit of lifecycle rules.
const maxLifecycleRules = 1000

// lifecycleDocument is what is stored of a lifecycle configuration.
type lifecycleDocument struct {
	Rules   []shape.LifecycleRule
	Minimum string // below which size objects do not change class
}

// PutBucketLifecycleConfiguration sets what becomes of a bucket's objects in time.
func (s *Service) PutBucketLifecycleConfiguration(ctx context.Context, in *shape.PutBucketLifecycleConfigurationRequest) (*shape.PutBucketLifecycleConfigurationResult, error) {
	b, err := s.bucket(ctx, in.Bucket, in.ExpectedBucketOwner, "PutLifecycleConfiguration")
	if err != nil {
		return nil, err
	}
	doc := lifecycleDocument{Minimum: in.TransitionDefaultMinimumObjectSize}
	switch doc.Minimum {
	case "":
		doc.Minimum = "all_storage_classes_128K"
	case "all_storage_classes_128K", "varies_by_storage_class":
	default:
		return nil, invalidArgument("x-amz-transition-default-minimum-object-size", doc.Minimum, "Invalid transition default minimum object size")
	}
	if in.LifecycleConfiguration == nil {
		return nil, malformedXML()
	}
	for _, r := range in.LifecycleConfiguration.Rules {
		if r.ID == "" {
			r.ID = s.ids.UUID()
		}
		doc.Rules = append(doc.Rules, r)
	}
	if err := checkLifecycle(doc.Rules); err != nil {
		return nil, err
	}
	return &shape.PutBucketLifecycleConfigurationResult{TransitionDefaultMinimumObjectSize: doc.Minimum}, s.setConfig(ctx, b, resource.PartLifecycle, doc)
}

// GetBucketLifecycleConfiguration gives a bucket's lifecycle rules.
func (s *Service) GetBucketLifecycleConfiguration(ctx context.Context, in *shape.GetBucketLifecycleConfigurationRequest) (*shape.GetBucketLifecycleConfigurationResult, error) {
	c, err := asked[lifecycleDocument](ctx, s, in.Bucket, in.ExpectedBucketOwner, "GetLifecycleConfiguration", resource.PartLifecycle,
		"NoSuchLifecycleConfiguration", "The lifecycle configuration does not exist")
	if err != nil {
		return nil, err
	}
	return &shape.GetBucketLifecycleConfigurationResult{Rules: c.Rules, TransitionDefaultMinimumObjectSize: c.Minimum}, nil
}

// DeleteBucketLifecycle removes a bucket's lifecycle rules.
func (s *Service) DeleteBucketLifecycle(ctx context.Context, in *shape.DeleteBucketLifecycleRequest) (*shape.DeleteBucketLifecycleResult, error) {
	return &shape.DeleteBucketLifecycleResult{}, s.dropConfig(ctx, in.Bucket, in.ExpectedBucketOwner, "PutLifecycleConfiguration", resource.PartLifecycle)
}

func checkLifecycle(rules []shape.LifecycleRule) error {
	if len(rules) == 0 || len(rules) > maxLifecycleRules {
		return malformedXML()
	}
	ids := map[string]bool{}
	for i := range rules {
		r := &rules[i]
		if len(r.ID) > 255 {
			return invalidArgument("ID", r.ID, "ID length should not exceed allowed limit of 255")
		}
		if ids[r.ID] {
			return invalidArgument("ID", r.ID, "Rule ID must be unique. Found same ID for more than one rule")
		}
		ids[r.ID] = true
		if err := checkLifecycleRule(r); err != nil {
			return err
		}
	}
	return nil
}

func checkLifecycleRule(r *shape.LifecycleRule) error {
	if r.Status != "Enabled" && r.Status != "Disabled" || (r.Prefix == nil) == (r.Filter == nil) {
		return malformedXML()
	}
	if len(r.Transitions) > 0 || len(r.NoncurrentVersionTransitions) > 0 {
		return awserr.New("NotImplemented", "Transitions are not implemented: there is one storage class only").WithStatus(501)
	}
	if r.Expiration == nil && r.NoncurrentVersionExpiration == nil && r.AbortIncompleteMultipartUpload == nil {
		return invalidRequest("At least one action needs to be specified in a rule")
	}
	f, err := lifecycleFilter(r)
	if err != nil {
		return err
	}
	narrow := f.larger != nil || f.smaller != nil
	if e := r.Expiration; e != nil {
		given := 0
		for _, yes := range []bool{e.Days != nil, !e.Date.IsZero(), e.ExpiredObjectDeleteMarker != nil} {
			if yes {
				given++
			}
		}
		switch {
		case given != 1:
			return malformedXML()
		case e.Days != nil && *e.Days <= 0:
			return invalidArgument("Days", "", "'Days' for Expiration action must be a positive integer")
		case !e.Date.IsZero() && !e.Date.Equal(e.Date.Truncate(24*time.Hour)):
			return invalidArgument("Date", "", "'Date' must be at midnight GMT")
		case e.ExpiredObjectDeleteMarker != nil && len(f.tags) > 0:
			return invalidRequest("ExpiredObjectDeleteMarker cannot be specified with Tags.")
		case e.ExpiredObjectDeleteMarker != nil && narrow:
			return invalidRequest("ExpiredObjectDeleteMarker cannot be specified with Object Size.")
		}
	}
	if n := r.NoncurrentVersionExpiration; n != nil {
		switch {
		case n.NoncurrentDays == nil || *n.NoncurrentDays <= 0:
			return invalidArgument("NoncurrentDays", "", "'NoncurrentDays' for NoncurrentVersionExpiration action must be a positive integer")
		case n.NewerNoncurrentVersions != nil && (*n.NewerNoncurrentVersions < 1 || *n.NewerNoncurrentVersions > 100):
			return invalidArgument("NewerNoncurrentVersions", "", "'NewerNoncurrentVersions' must be between 1 and 100")
		}
	}
	if a := r.AbortIncompleteMultipartUpload; a != nil {
		switch {
		case a.DaysAfterInitiation == nil || *a.DaysAfterInitiation <= 0:
			return invalidArgument("DaysAfterInitiation", "", "'DaysAfterInitiation' for AbortIncompleteMultipartUpload action must be a positive integer")
		case len(f.tags) > 0:
			return invalidRequest("AbortIncompleteMultipartUpload cannot be specified with Tags.")
		case narrow:
			return invalidRequest("AbortIncompleteMultipartUpload cannot be specified with Object Size.")
		}
	}
	return nil
}

// objectFilter is which objects a rule is about.
type objectFilter struct {
	prefix          string
	tags            []shape.Tag
	larger, smaller *int64 // than these sizes
}

// count says how many of a filter's conditions are given.
func count(given ...bool) (n int) {
	for _, g := range given {
		if g {
			n++
		}
	}
	return n
}

// lifecycleFilter reads a rule's filter. Of several conditions each must stand in And.
func lifecycleFilter(r *shape.LifecycleRule) (objectFilter, error) {
	if r.Prefix != nil {
		return objectFilter{prefix: *r.Prefix}, checkPrefix(*r.Prefix)
	}
	f := r.Filter
	out := objectFilter{larger: f.ObjectSizeGreaterThan, smaller: f.ObjectSizeLessThan}
	if f.Prefix != nil {
		out.prefix = *f.Prefix
	}
	if f.Tag != nil {
		out.tags = []shape.Tag{*f.Tag}
	}
	if and := f.And; and != nil {
		out = objectFilter{tags: and.Tags, larger: and.ObjectSizeGreaterThan, smaller: and.ObjectSizeLessThan}
		if and.Prefix != nil {
			out.prefix = *and.Prefix
		}
		if len(and.Tags)+count(and.Prefix != nil, out.larger != nil, out.smaller != nil) < 2 {
			return out, malformedXML()
		}
	}
	if count(f.Prefix != nil, f.Tag != nil, f.ObjectSizeGreaterThan != nil, f.ObjectSizeLessThan != nil, f.And != nil) > 1 {
		return out, malformedXML()
	}
	for _, n := range []*int64{out.larger, out.smaller} {
		if n != nil && (*n < 0 || *n > maxObject) {
			return out, invalidArgument("ObjectSize", "", "'ObjectSizeGreaterThan' and 'ObjectSizeLessThan' must be between 0 and 5TB")
		}
	}
	if out.larger != nil && out.smaller != nil && *out.smaller <= *out.larger {
		return out, invalidRequest("'ObjectSizeLessThan' has to be a value greater than 'ObjectSizeGreaterThan'.")
	}
	if err := checkFilterTags(out.tags); err != nil {
		return out, err
	}
	return out, checkPrefix(out.prefix)
}

func checkPrefix(prefix string) error {
	if len(prefix) > maxKey {
		return invalidRequest("The maximum size of a prefix is %d.", maxKey)
	}
	return nil
}

func checkFilterTags(tags []shape.Tag) error {
	seen := map[string]bool{}
	for _, t := range tags {
		if t.Key == "" || len(t.Key) > 4*128 || len(t.Value) > 4*256 {
			return invalidTag(t.Key, "The TagKey you have provided is invalid")
		}
		if seen[t.Key] {
			return invalidRequest("Duplicate Tag Keys are not allowed.")
		}
		seen[t.Key] = true
	}
	return nil
}

// matches says whether a rule is about an object.
func (f *objectFilter) matches(key string, size int64, tags map[string]string) bool {
	if len(key) < len(f.prefix) || key[:len(f.prefix)] != f.prefix || f.larger != nil && size <= *f.larger || f.smaller != nil && size >= *f.smaller {
		return false
	}
	for _, t := range f.tags {
		if v, ok := tags[t.Key]; !ok || v != t.Value {
			return false
		}
	}
	return true
}
