package s3

import (
	"context"
	"reflect"

	"karri.dev/internal/authz"
	"karri.dev/internal/aws/call"
	shape "karri.dev/internal/aws/shape/s3"
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
	q := authz.Question{Action: s.action(act), Resource: bucketARN(b.Name), Owner: b.AccountID, Keys: s.keysFor(ctx, b, key, act, nil, keys)}
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
	return s.decide(ctx, authz.Question{Action: s.action(act), Resource: resource, Keys: s.keysFor(ctx, nil, "", act, nil, nil)})
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

// Permissions is the table of what each operation asks leave for: its handler asks, when it knows the bucket.
func Permissions() authz.Service {
	t, api := authz.Table{}, reflect.TypeFor[shape.API]()
	for op, actions := range actionsOf() {
		t[op] = authz.Entry{Handler: actions, Keys: keysOf(api, op)}
	}
	return authz.Service{Table: t}
}

// actionsOf says for each operation for which actions its handler asks.
func actionsOf() map[string]string {
	return map[string]string{
		"AbortMultipartUpload": "AbortMultipartUpload", "CompleteMultipartUpload": "PutObject", "CopyObject": "PutObject GetObject",
		"CreateBucket": "CreateBucket PutBucketAcl PutBucketOwnershipControls PutBucketObjectLockConfiguration PutBucketVersioning TagResource", "CreateMultipartUpload": "PutObject", "DeleteBucket": "DeleteBucket", "DeleteBucketCors": "PutBucketCORS",
		"DeleteBucketEncryption": "PutEncryptionConfiguration", "DeleteBucketLifecycle": "PutLifecycleConfiguration",
		"DeleteBucketOwnershipControls": "PutBucketOwnershipControls", "DeleteBucketPolicy": "DeleteBucketPolicy", "DeleteBucketTagging": "PutBucketTagging",
		"DeleteBucketWebsite": "DeleteBucketWebsite", "DeleteObject": "DeleteObject", "DeleteObjectTagging": "DeleteObjectTagging",
		"DeleteObjects": "DeleteObject", "DeletePublicAccessBlock": "PutBucketPublicAccessBlock",
		"GetBucketAccelerateConfiguration": "GetAccelerateConfiguration", "GetBucketAcl": "GetBucketAcl", "GetBucketCors": "GetBucketCORS",
		"GetBucketEncryption": "GetEncryptionConfiguration", "GetBucketLifecycleConfiguration": "GetLifecycleConfiguration",
		"GetBucketLocation": "GetBucketLocation", "GetBucketLogging": "GetBucketLogging", "GetBucketNotificationConfiguration": "GetBucketNotification",
		"GetBucketOwnershipControls": "GetBucketOwnershipControls", "GetBucketPolicy": "GetBucketPolicy", "GetBucketPolicyStatus": "GetBucketPolicyStatus",
		"GetBucketReplication": "GetReplicationConfiguration", "GetBucketRequestPayment": "GetBucketRequestPayment", "GetBucketTagging": "GetBucketTagging",
		"GetBucketVersioning": "GetBucketVersioning", "GetBucketWebsite": "GetBucketWebsite", "GetObject": "GetObject", "GetObjectAcl": "GetObjectAcl",
		"GetObjectAttributes": "GetObject GetObjectAttributes", "GetObjectLegalHold": "GetObjectLegalHold",
		"GetObjectLockConfiguration": "GetBucketObjectLockConfiguration", "GetObjectRetention": "GetObjectRetention", "GetObjectTagging": "GetObjectTagging",
		"GetPublicAccessBlock": "GetBucketPublicAccessBlock", "HeadBucket": "ListBucket", "HeadObject": "GetObject", "ListBuckets": "ListAllMyBuckets",
		"ListMultipartUploads": "ListBucketMultipartUploads", "ListObjectVersions": "ListBucketVersions", "ListObjects": "ListBucket",
		"ListObjectsV2": "ListBucket", "ListParts": "ListMultipartUploadParts", "PutBucketAccelerateConfiguration": "PutAccelerateConfiguration",
		"PutBucketAcl": "PutBucketAcl", "PutBucketCors": "PutBucketCORS", "PutBucketEncryption": "PutEncryptionConfiguration",
		"PutBucketLifecycleConfiguration": "PutLifecycleConfiguration", "PutBucketLogging": "PutBucketLogging",
		"PutBucketNotificationConfiguration": "PutBucketNotification", "PutBucketOwnershipControls": "PutBucketOwnershipControls",
		"PutBucketPolicy": "PutBucketPolicy", "PutBucketRequestPayment": "PutBucketRequestPayment", "PutBucketTagging": "PutBucketTagging",
		"PutBucketVersioning": "PutBucketVersioning", "PutBucketWebsite": "PutBucketWebsite", "PutObject": "PutObject", "PutObjectAcl": "PutObjectAcl",
		"PutObjectLegalHold": "PutObjectLegalHold", "PutObjectLockConfiguration": "PutBucketObjectLockConfiguration",
		"PutObjectRetention": "PutObjectRetention", "PutObjectTagging": "PutObjectTagging", "PutPublicAccessBlock": "PutBucketPublicAccessBlock",
		"PutBucketReplication": "PutReplicationConfiguration", "DeleteBucketReplication": "PutReplicationConfiguration",
		"GetBucketAnalyticsConfiguration": "GetAnalyticsConfiguration", "ListBucketAnalyticsConfigurations": "GetAnalyticsConfiguration",
		"PutBucketAnalyticsConfiguration": "PutAnalyticsConfiguration", "DeleteBucketAnalyticsConfiguration": "PutAnalyticsConfiguration",
		"GetBucketIntelligentTieringConfiguration": "GetIntelligentTieringConfiguration", "ListBucketIntelligentTieringConfigurations": "GetIntelligentTieringConfiguration",
		"PutBucketIntelligentTieringConfiguration": "PutIntelligentTieringConfiguration", "DeleteBucketIntelligentTieringConfiguration": "PutIntelligentTieringConfiguration",
		"GetBucketInventoryConfiguration": "GetInventoryConfiguration", "ListBucketInventoryConfigurations": "GetInventoryConfiguration",
		"PutBucketInventoryConfiguration": "PutInventoryConfiguration", "DeleteBucketInventoryConfiguration": "PutInventoryConfiguration",
		"GetBucketMetricsConfiguration": "GetMetricsConfiguration", "ListBucketMetricsConfigurations": "GetMetricsConfiguration",
		"PutBucketMetricsConfiguration": "PutMetricsConfiguration", "DeleteBucketMetricsConfiguration": "PutMetricsConfiguration",
		"UploadPart": "PutObject", "UploadPartCopy": "PutObject GetObject",
	}
}
