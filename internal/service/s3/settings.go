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

// present checks that an object is there.
func (s *Service) present(ctx context.Context, bucket, key, owner, version, payer string, act action) error {
	b, err := s.object(ctx, bucket, key, owner, versioned(act, version))
	if err != nil {
		return err
	}
	if err := checkPayer(payer); err != nil {
		return err
	}
	_, err = s.engine.Head(ctx, b.Engine, key, version)
	return versionFault(err, bucket, key, version)
}
