package s3

import (
	"context"

	"karri.dev/internal/aws/awserr"
	"karri.dev/internal/aws/call"
	"karri.dev/internal/resource"
	"karri.dev/internal/store"
)

func accessDenied() *awserr.Error { return awserr.New("AccessDenied", "Access Denied").WithStatus(403) }

// allowed decides whether the caller may do the action on the bucket or its objects. For now the bucket's account
// may do everything and nobody else anything. This is the place of bucket policies and ACLs.
func allowed(c call.Caller, b *resource.Bucket, _ action) bool {
	return !c.Anonymous() && c.AccountID == b.AccountID
}

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
	if !allowed(call.From(ctx).Caller, b, act) || owner != "" && owner != b.AccountID {
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
	b, err := s.bucket(ctx, name, owner, act)
	if err != nil {
		return nil, err
	}
	return b, checkKey(key)
}
