package s3

import (
	"context"

	"karri.dev/internal/aws/awserr"
	shape "karri.dev/internal/aws/shape/s3"
	"karri.dev/internal/resource"
	"karri.dev/internal/store"
)

// PutBucketLogging sets where the requests to a bucket are logged; without a target, nowhere.
func (s *Service) PutBucketLogging(ctx context.Context, in *shape.PutBucketLoggingRequest) (*shape.PutBucketLoggingResult, error) {
	b, err := s.bucket(ctx, in.Bucket, in.ExpectedBucketOwner, "PutBucketLogging")
	if err != nil {
		return nil, err
	}
	if in.BucketLoggingStatus == nil {
		return nil, malformedXML()
	}
	if in.BucketLoggingStatus.LoggingEnabled == nil {
		return &shape.PutBucketLoggingResult{}, s.dropConfig(ctx, in.Bucket, in.ExpectedBucketOwner, "PutBucketLogging", resource.PartLogging)
	}
	to := in.BucketLoggingStatus.LoggingEnabled
	if err := checkLogging(to); err != nil {
		return nil, err
	}
	return &shape.PutBucketLoggingResult{}, s.setConfig(ctx, b, resource.PartLogging, in.BucketLoggingStatus, func(tx *store.Tx) error {
		return s.checkLogTarget(tx, b, to.TargetBucket)
	})
}

// GetBucketLogging answers where the requests to a bucket are logged.
func (s *Service) GetBucketLogging(ctx context.Context, in *shape.GetBucketLoggingRequest) (*shape.GetBucketLoggingResult, error) {
	c, err := asked[shape.BucketLoggingStatus](ctx, s, in.Bucket, in.ExpectedBucketOwner, "GetBucketLogging", resource.PartLogging, "", "")
	if c == nil || err != nil {
		return &shape.GetBucketLoggingResult{}, err
	}
	return &shape.GetBucketLoggingResult{LoggingEnabled: c.LoggingEnabled}, nil
}

func checkLogging(to *shape.LoggingEnabled) error {
	if len(to.TargetPrefix) > 800 {
		return invalidArgument("TargetPrefix", to.TargetPrefix, "The target prefix for logging must not be longer than 800 bytes")
	}
	if len(to.TargetGrants) > 0 { // they would be ACLs on the logs; see Notes
		return awserr.New("NotImplemented", "Target grants are not implemented").WithStatus(501)
	}
	if f := to.TargetObjectKeyFormat; f != nil {
		if (f.SimplePrefix == nil) == (f.PartitionedPrefix == nil) {
			return malformedXML()
		}
		if p := f.PartitionedPrefix; p != nil {
			switch p.PartitionDateSource {
			case "EventTime", "DeliveryTime":
			default:
				return malformedXML()
			}
		}
	}
	return nil
}

// checkLogTarget judges a bucket as the target of another's logs.
func (s *Service) checkLogTarget(r store.Reader, b *resource.Bucket, name string) error {
	bad := func(message string) error {
		return awserr.New("InvalidTargetBucketForLogging", "%s", message).With("TargetBucket", name)
	}
	target := s.visible(r, name)
	switch {
	case target == nil:
		return bad("The target bucket for logging does not exist")
	case target.AccountID != b.AccountID:
		return bad("The owner for the bucket to be logged and the target bucket must be the same.")
	case target.Region != b.Region:
		return awserr.New("CrossLocationLoggingProhibitted", "Cross S3 location logging not allowed.").WithStatus(403).With("TargetBucketLocation", target.Region)
	}
	return nil
}
