package s3

import (
	"context"
	"net/url"
	"slices"
	"strings"
	"unicode/utf8"

	"karri.dev/internal/aws/awserr"
	shape "karri.dev/internal/aws/shape/s3"
	"karri.dev/internal/object"
	"karri.dev/internal/resource"
)

// maxObjectTags is S3's limit.
const maxObjectTags = 10

// GetObjectTagging lists a version's tags in order of key.
func (s *Service) GetObjectTagging(ctx context.Context, in *shape.GetObjectTaggingRequest) (*shape.GetObjectTaggingResult, error) {
	b, err := s.object(ctx, in.Bucket, in.Key, in.ExpectedBucketOwner, versioned("GetObjectTagging", in.VersionId))
	if err != nil {
		return nil, err
	}
	if err := checkPayer(in.RequestPayer); err != nil {
		return nil, err
	}
	m, err := s.engine.Head(ctx, b.Engine, in.Key, in.VersionId)
	if err != nil {
		return nil, versionFault(err, in.Bucket, in.Key, in.VersionId)
	}
	out := &shape.GetObjectTaggingResult{VersionId: shownVersion(b, m), TagSet: []shape.Tag{}}
	for k, v := range m.Tags {
		out.TagSet = append(out.TagSet, shape.Tag{Key: k, Value: v})
	}
	slices.SortFunc(out.TagSet, func(a, b shape.Tag) int { return strings.Compare(a.Key, b.Key) })
	return out, nil
}

// PutObjectTagging replaces a version's tags.
func (s *Service) PutObjectTagging(ctx context.Context, in *shape.PutObjectTaggingRequest) (*shape.PutObjectTaggingResult, error) {
	if in.Tagging == nil {
		return nil, malformedXML()
	}
	tags, err := objectTags(in.Tagging.TagSet)
	if err != nil {
		return nil, err
	}
	if err := checkPayer(in.RequestPayer); err != nil {
		return nil, err
	}
	version, err := s.retagObject(ctx, in.Bucket, in.Key, in.VersionId, in.ExpectedBucketOwner, "PutObjectTagging", tags)
	if err != nil {
		return nil, err
	}
	return &shape.PutObjectTaggingResult{VersionId: version}, nil
}

// DeleteObjectTagging removes all of a version's tags.
func (s *Service) DeleteObjectTagging(ctx context.Context, in *shape.DeleteObjectTaggingRequest) (*shape.DeleteObjectTaggingResult, error) {
	version, err := s.retagObject(ctx, in.Bucket, in.Key, in.VersionId, in.ExpectedBucketOwner, "DeleteObjectTagging", nil)
	if err != nil {
		return nil, err
	}
	return &shape.DeleteObjectTaggingResult{VersionId: version}, nil
}

func (s *Service) retagObject(ctx context.Context, bucket, key, version, owner string, act action, tags map[string]string) (string, error) {
	b, err := s.object(ctx, bucket, key, owner, versioned(act, version))
	if err != nil {
		return "", err
	}
	event := "ObjectTagging:Put"
	if tags == nil {
		event = "ObjectTagging:Delete"
	}
	notes, err := s.changes(ctx, b, key, event)
	if err != nil {
		return "", err
	}
	m, err := s.engine.Change(ctx, b.Engine, key, version, func(m object.Meta, a *object.Attributes) error {
		a.Tags, a.Notes = tags, notes(m)
		return nil
	})
	s.noted()
	return shownVersion(b, m), versionFault(err, bucket, key, version)
}

// objectTags checks tags as S3 does: an object has fewer than a bucket.
func objectTags(in []shape.Tag) (resource.Tags, error) {
	if len(in) > maxObjectTags {
		return nil, awserr.New("BadRequest", "Object tags cannot be greater than %d", maxObjectTags)
	}
	return bucketTags(in)
}

// tagHeader reads x-amz-tagging: a URL query.
func tagHeader(text string) (resource.Tags, error) {
	if text == "" {
		return nil, nil
	}
	bad := invalidArgument("x-amz-tagging", text, "The header 'x-amz-tagging' shall be encoded as UTF-8 then URLEncoded URL query parameters without tag name duplicates.")
	var list []shape.Tag
	for pair := range strings.SplitSeq(text, "&") {
		k, v, _ := strings.Cut(pair, "=")
		k, err1 := url.QueryUnescape(k)
		v, err2 := url.QueryUnescape(v)
		again := slices.ContainsFunc(list, func(t shape.Tag) bool { return t.Key == k })
		if err1 != nil || err2 != nil || again || !utf8.ValidString(k) || !utf8.ValidString(v) {
			return nil, bad
		}
		list = append(list, shape.Tag{Key: k, Value: v})
	}
	return objectTags(list)
}
