package s3

import (
	"context"

	"karri.dev/internal/authz"
	"karri.dev/internal/aws/call"
	"karri.dev/internal/policy"
	"karri.dev/internal/resource"
	"karri.dev/internal/store"
)

// Authorizer decides calls; authz.Engine does.
type Authorizer interface {
	Decide(ctx context.Context, q authz.Question) error
}

// may asks whether the caller may do the action on a bucket, or on the object with this key in it. keys gives the s3:
// condition keys; nil: none.
func (s *Service) may(ctx context.Context, b *resource.Bucket, key string, act action, keys authz.Keys) error {
	q := authz.Question{Action: s.action(act), Resource: bucketARN(b.Name), Owner: b.AccountID, Keys: keys}
	if key != "" {
		q.Resource += "/" + key
	}
	var err error
	if q.Policy, q.Grants, err = s.resourcePolicies(ctx, s.store.Snapshot(), b); err != nil {
		return err
	}
	return s.decide(ctx, q)
}

// mayAccount asks for an action that is about no bucket that is there: "*", or the name of one to be made.
func (s *Service) mayAccount(ctx context.Context, resource string, act action) error {
	return s.decide(ctx, authz.Question{Action: s.action(act), Resource: resource})
}

func (s *Service) decide(ctx context.Context, q authz.Question) error {
	if s.authz != nil {
		return s.authz.Decide(ctx, q)
	}
	if c := call.From(ctx); c.Anonymous() || q.Owner != "" && q.Owner != c.AccountID {
		return accessDenied()
	}
	return nil
}

// resourcePolicies gives what a bucket says itself on who may use it and its objects: its policy, and its access
// control list as a policy. Objects have none of their own.
func (s *Service) resourcePolicies(ctx context.Context, r store.Reader, b *resource.Bucket) (own, grants *policy.Policy, err error) {
	block, err := s.block(r, b)
	if err != nil {
		return nil, nil, err
	}
	p, err := s.policyOf(r, b)
	if err != nil {
		return nil, nil, err
	}
	// A public policy lets nobody in from outside while the bucket restricts it.
	if p != nil && !(p.public && block.restrict && call.From(ctx).AccountID != b.AccountID) {
		own = p.Policy
	}
	grants, err = s.grantsOf(r, b, block.ignoreACLs)
	return own, grants, err
}

// action prepares an action's name once.
func (s *Service) action(act action) policy.Action {
	if a, ok := s.actions.Load(act); ok {
		return a.(policy.Action)
	}
	a := policy.MakeAction("s3:" + string(act))
	s.actions.Store(act, a)
	return a
}

// Permissions is the table of what each operation asks leave for: its handler asks, when it knows the bucket. An
// operation that is not listed asks for the action of its own name.
func Permissions() authz.Service {
	t := authz.Table{}
	for op, actions := range map[string]string{
		"HeadBucket": "ListBucket", "ListObjects": "ListBucket", "ListObjectsV2": "ListBucket", "ListBuckets": "ListAllMyBuckets",
		"HeadObject": "GetObject", "CopyObject": "PutObject GetObject", "UploadPart": "PutObject", "UploadPartCopy": "PutObject GetObject",
		"CreateMultipartUpload": "PutObject", "CompleteMultipartUpload": "PutObject", "DeleteObjects": "DeleteObject",
		"ListParts": "ListMultipartUploadParts", "ListMultipartUploads": "ListBucketMultipartUploads", "DeleteBucketTagging": "PutBucketTagging",
		"ListObjectVersions": "ListBucketVersions", "GetObjectLockConfiguration": "GetBucketObjectLockConfiguration", "PutObjectLockConfiguration": "PutBucketObjectLockConfiguration",
		"GetBucketReplication": "GetReplicationConfiguration", "PutBucketReplication": "PutReplicationConfiguration", "DeleteBucketReplication": "PutReplicationConfiguration",
		"GetBucketEncryption": "GetEncryptionConfiguration", "PutBucketEncryption": "PutEncryptionConfiguration", "DeleteBucketEncryption": "PutEncryptionConfiguration",
	} {
		t[op] = authz.Entry{Handler: actions}
	}
	return authz.Service{Table: t, Default: func(op string) (authz.Entry, bool) { return authz.Entry{Handler: op}, true }}
}
