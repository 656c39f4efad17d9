package s3

import (
	"context"

	"karri.dev/internal/aws/awserr"
	"karri.dev/internal/aws/call"
	shape "karri.dev/internal/aws/shape/s3"
)

// Settings that no bucket or object here can have. Each is answered as AWS answers it of a bucket that never
// got one; what would set them is not served.

// never answers a setting of a bucket that is not there: with an error, as AWS does for most of them.
func (s *Service) never(ctx context.Context, bucket, owner string, act action, code, message string) error {
	if _, err := s.bucket(ctx, bucket, owner, act); err != nil {
		return err
	}
	return awserr.New(code, "%s", message).WithStatus(404).With("BucketName", bucket)
}

// GetBucketReplication says that there is no configuration.
func (s *Service) GetBucketReplication(ctx context.Context, in *shape.GetBucketReplicationRequest) (*shape.GetBucketReplicationResult, error) {
	return nil, s.never(ctx, in.Bucket, in.ExpectedBucketOwner, "GetReplicationConfiguration", "ReplicationConfigurationNotFoundError", "The replication configuration was not found")
}

// GetBucketEncryption says that objects are not encrypted at rest. AWS's buckets always are, since 2023; before
// that it answered so.
func (s *Service) GetBucketEncryption(ctx context.Context, in *shape.GetBucketEncryptionRequest) (*shape.GetBucketEncryptionResult, error) {
	return nil, s.never(ctx, in.Bucket, in.ExpectedBucketOwner, "GetEncryptionConfiguration", "ServerSideEncryptionConfigurationNotFoundError", "The server side encryption configuration was not found")
}

// GetObjectLockConfiguration says that there is no configuration.
func (s *Service) GetObjectLockConfiguration(ctx context.Context, in *shape.GetObjectLockConfigurationRequest) (*shape.GetObjectLockConfigurationResult, error) {
	return nil, s.never(ctx, in.Bucket, in.ExpectedBucketOwner, "GetBucketObjectLockConfiguration", "ObjectLockConfigurationNotFoundError", "Object Lock configuration does not exist for this bucket")
}

// GetObjectAcl answers the one ACL there is: all to the bucket's owner.
func (s *Service) GetObjectAcl(ctx context.Context, in *shape.GetObjectAclRequest) (*shape.GetObjectAclResult, error) {
	if err := s.present(ctx, in.Bucket, in.Key, in.ExpectedBucketOwner, in.VersionId, in.RequestPayer, "GetObjectAcl"); err != nil {
		return nil, err
	}
	owner := s.owner(s.store.Snapshot(), call.From(ctx).AccountID) // only the bucket's account gets here
	return &shape.GetObjectAclResult{Owner: owner, Grants: ownerOnly(owner)}, nil
}

func ownerOnly(o *shape.Owner) []shape.Grant {
	return []shape.Grant{{Grantee: &shape.Grantee{ID: o.ID, DisplayName: o.DisplayName, Type: "CanonicalUser"}, Permission: "FULL_CONTROL"}}
}

// GetObjectTagging answers that an object has no tags.
func (s *Service) GetObjectTagging(ctx context.Context, in *shape.GetObjectTaggingRequest) (*shape.GetObjectTaggingResult, error) {
	if err := s.present(ctx, in.Bucket, in.Key, in.ExpectedBucketOwner, in.VersionId, in.RequestPayer, "GetObjectTagging"); err != nil {
		return nil, err
	}
	return &shape.GetObjectTaggingResult{TagSet: []shape.Tag{}}, nil
}

// present checks that an object is there.
func (s *Service) present(ctx context.Context, bucket, key, owner, version, payer string, act action) error {
	b, err := s.object(ctx, bucket, key, owner, act)
	if err != nil {
		return err
	}
	if err := checkVersion(version); err != nil {
		return err
	}
	if err := checkPayer(payer); err != nil {
		return err
	}
	o, err := s.engine.Get(ctx, b.Engine, key, "")
	if err != nil {
		return fault(err, bucket, key, "")
	}
	return o.Close()
}
