package s3

import (
	"context"

	"karri.dev/internal/aws/awserr"
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
