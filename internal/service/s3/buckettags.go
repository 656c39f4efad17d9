package s3

import (
	"context"
	"slices"
	"strings"
	"unicode/utf8"

	"karri.dev/internal/aws/awserr"
	shape "karri.dev/internal/aws/shape/s3"
	"karri.dev/internal/resource"
	"karri.dev/internal/store"
)

// maxBucketTags is S3's limit.
const maxBucketTags = 50

// GetBucketTagging lists a bucket's tags in order of key.
func (s *Service) GetBucketTagging(ctx context.Context, in *shape.GetBucketTaggingRequest) (*shape.GetBucketTaggingResult, error) {
	b, err := s.bucket(ctx, in.Bucket, in.ExpectedBucketOwner, actGetTagging)
	if err != nil {
		return nil, err
	}
	if len(b.Tags) == 0 {
		return nil, awserr.New("NoSuchTagSet", "The TagSet does not exist").WithStatus(404).With("BucketName", b.Name)
	}
	out := &shape.GetBucketTaggingResult{}
	for k, v := range b.Tags {
		out.TagSet = append(out.TagSet, shape.Tag{Key: k, Value: v})
	}
	slices.SortFunc(out.TagSet, func(a, b shape.Tag) int { return strings.Compare(a.Key, b.Key) })
	return out, nil
}

// PutBucketTagging replaces a bucket's tags.
func (s *Service) PutBucketTagging(ctx context.Context, in *shape.PutBucketTaggingRequest) (*shape.PutBucketTaggingResult, error) {
	if in.Tagging == nil {
		return nil, malformedXML()
	}
	tags, err := bucketTags(in.Tagging.TagSet)
	if err != nil {
		return nil, err
	}
	if err := s.retag(ctx, in.Bucket, in.ExpectedBucketOwner, tags); err != nil {
		return nil, err
	}
	return &shape.PutBucketTaggingResult{}, nil
}

// DeleteBucketTagging removes all of a bucket's tags.
func (s *Service) DeleteBucketTagging(ctx context.Context, in *shape.DeleteBucketTaggingRequest) (*shape.DeleteBucketTaggingResult, error) {
	if err := s.retag(ctx, in.Bucket, in.ExpectedBucketOwner, nil); err != nil {
		return nil, err
	}
	return &shape.DeleteBucketTaggingResult{}, nil
}

func (s *Service) retag(ctx context.Context, name, owner string, tags resource.Tags) error {
	b, err := s.bucket(ctx, name, owner, actPutTagging)
	if err != nil {
		return err
	}
	return s.store.Update(ctx, func(tx *store.Tx) error {
		now := store.Buckets.Get(tx, b.Name)
		if now == nil || now.Engine != b.Engine {
			return noSuchBucket(b.Name)
		}
		next := *now
		next.Tags = tags
		return store.Buckets.Put(tx, &next)
	})
}

// bucketTags checks tags as S3 does.
func bucketTags(in []shape.Tag) (resource.Tags, error) {
	if len(in) > maxBucketTags {
		return nil, awserr.New("BadRequest", "Bucket tag count cannot be greater than %d", maxBucketTags)
	}
	var tags resource.Tags
	for _, t := range in {
		if t.Key == "" || utf8.RuneCountInString(t.Key) > 128 {
			return nil, invalidTag(t.Key, "The TagKey you have provided is invalid")
		}
		if utf8.RuneCountInString(t.Value) > 256 {
			return nil, invalidTag(t.Key, "The TagValue you have provided is invalid")
		}
		if strings.HasPrefix(strings.ToLower(t.Key), "aws:") {
			return nil, invalidTag(t.Key, "System tags cannot be added/updated by requester")
		}
		if _, again := tags[t.Key]; again {
			return nil, invalidTag(t.Key, "Cannot provide multiple Tags with the same key")
		}
		if tags == nil {
			tags = resource.Tags{}
		}
		tags[t.Key] = t.Value
	}
	return tags, nil
}

func invalidTag(key, message string) error {
	return awserr.New("InvalidTag", "%s", message).With("TagKey", key)
}
