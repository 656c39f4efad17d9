package s3

import (
	"context"

	"karri.dev/internal/aws/awserr"
	shape "karri.dev/internal/aws/shape/s3"
	"karri.dev/internal/resource"
)

// PutBucketLogging takes the word that nothing is to be logged; no log is delivered yet, so a target is refused.
func (s *Service) PutBucketLogging(ctx context.Context, in *shape.PutBucketLoggingRequest) (*shape.PutBucketLoggingResult, error) {
	_, err := s.bucket(ctx, in.Bucket, in.ExpectedBucketOwner, "PutBucketLogging")
	if err != nil {
		return nil, err
	}
	if in.BucketLoggingStatus == nil {
		return nil, malformedXML()
	}
	if in.BucketLoggingStatus.LoggingEnabled == nil {
		return &shape.PutBucketLoggingResult{}, s.dropConfig(ctx, in.Bucket, in.ExpectedBucketOwner, "PutBucketLogging", resource.PartLogging)
	}
	return nil, awserr.New("NotImplemented", "Server access logging is not implemented").WithStatus(501)
}

// GetBucketLogging answers where the requests to a bucket are logged.
func (s *Service) GetBucketLogging(ctx context.Context, in *shape.GetBucketLoggingRequest) (*shape.GetBucketLoggingResult, error) {
	c, err := asked[shape.BucketLoggingStatus](ctx, s, in.Bucket, in.ExpectedBucketOwner, "GetBucketLogging", resource.PartLogging, "", "")
	if c == nil || err != nil {
		return &shape.GetBucketLoggingResult{}, err
	}
	return &shape.GetBucketLoggingResult{LoggingEnabled: c.LoggingEnabled}, nil
}
