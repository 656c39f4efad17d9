package s3

import (
	"context"

	"karri.dev/internal/authz"
	"karri.dev/internal/aws/awserr"
	"karri.dev/internal/aws/call"
	"karri.dev/internal/resource"
	"karri.dev/internal/store"
)

func accessDenied() *awserr.Error { return awserr.New("AccessDenied", "Access Denied").WithStatus(403) }

// action is an IAM action without its "s3:".
type action string

// The actions that are asked for.
const (
	actListBucket    action = "ListBucket"
	actListUploads   action = "ListBucketMultipartUploads"
	actGetLocation   action = "GetBucketLocation"
	actGetVersioning action = "GetBucketVersioning"
	actDeleteBucket  action = "DeleteBucket"
	actGetObject     action = "GetObject"
	actPutObject     action = "PutObject"
	actDeleteObject  action = "DeleteObject"
	actAbortUpload   action = "AbortMultipartUpload"
	actListParts     action = "ListMultipartUploadParts"
	actGetTagging    action = "GetBucketTagging"
	actPutTagging    action = "PutBucketTagging"
)

// bucket finds a bucket for the caller. owner is x-amz-expected-bucket-owner.
func (s *Service) bucket(ctx context.Context, name, owner string, act action) (*resource.Bucket, error) {
	return s.lookup(ctx, name, "", owner, act, nil)
}

// lookup finds a bucket for an action on it, or on the object with this key in it.
func (s *Service) lookup(ctx context.Context, name, key, owner string, act action, keys authz.Keys) (*resource.Bucket, error) {
	b, err := s.named(ctx, name, "")
	if err != nil {
		return nil, err
	}
	if err := s.may(ctx, b, key, act, keys); err != nil {
		return nil, err
	}
	if owner != "" && owner != b.AccountID {
		return nil, accessDenied()
	}
	return b, s.charge(ctx, b)
}

// named finds a bucket without asking what the caller may do with it.
func (s *Service) named(ctx context.Context, name, owner string) (*resource.Bucket, error) {
	b := s.visible(s.store.Snapshot(), name)
	if b == nil {
		if !validBucketName(name) {
			return nil, invalidBucketName(name)
		}
		if call.From(ctx).Anonymous() {
			return nil, accessDenied()
		}
		return nil, noSuchBucket(name)
	}
	if owner != "" && owner != b.AccountID {
		return nil, accessDenied()
	}
	return b, nil
}

// visible gives a bucket, nil if there is none for anybody outside.
func (s *Service) visible(r store.Reader, name string) *resource.Bucket {
	b := store.Buckets.Get(r, name)
	if b == nil || b.System {
		return nil
	}
	return b
}

// object finds the bucket of a key for the caller, and judges the key.
func (s *Service) object(ctx context.Context, name, key, owner string, act action) (*resource.Bucket, error) {
	b, err := s.lookup(ctx, name, key, owner, act, nil)
	if err != nil {
		return nil, err
	}
	return b, checkKey(key)
}
