package s3

import (
	"context"

	shape "karri.dev/internal/aws/shape/s3"
	"karri.dev/internal/resource"
)

// GetBucketEncryption answers the default encryption, which every bucket has.
func (s *Service) GetBucketEncryption(ctx context.Context, in *shape.GetBucketEncryptionRequest) (*shape.GetBucketEncryptionResult, error) {
	b, err := s.bucket(ctx, in.Bucket, in.ExpectedBucketOwner, "GetEncryptionConfiguration")
	if err != nil {
		return nil, err
	}
	rule := shape.ServerSideEncryptionRule{
		ApplyServerSideEncryptionByDefault: &shape.ServerSideEncryptionByDefault{SSEAlgorithm: aes256}, BucketKeyEnabled: &b.BucketKey,
	}
	return &shape.GetBucketEncryptionResult{
		ServerSideEncryptionConfiguration: &shape.ServerSideEncryptionConfiguration{Rules: []shape.ServerSideEncryptionRule{rule}},
	}, nil
}

// PutBucketEncryption sets the default encryption: without KMS there is one only.
func (s *Service) PutBucketEncryption(ctx context.Context, in *shape.PutBucketEncryptionRequest) (*shape.PutBucketEncryptionResult, error) {
	c := in.ServerSideEncryptionConfiguration
	if c == nil || len(c.Rules) != 1 {
		return nil, malformedXML()
	}
	b, err := s.bucket(ctx, in.Bucket, in.ExpectedBucketOwner, "PutEncryptionConfiguration")
	if err != nil {
		return nil, err
	}
	if d := c.Rules[0].ApplyServerSideEncryptionByDefault; d != nil {
		switch d.SSEAlgorithm {
		case aes256:
			if d.KMSMasterKeyID != "" {
				return nil, invalidArgument("KMSMasterKeyID", d.KMSMasterKeyID, "a KMSMasterKeyID is not applicable if the default sse algorithm is not aws:kms or aws:kms:dsse")
			}
		case "aws:kms", "aws:kms:dsse", "aws:fsx":
			return nil, notImplemented("x-amz-server-side-encryption")
		default:
			return nil, malformedXML()
		}
	}
	key := c.Rules[0].BucketKeyEnabled != nil && *c.Rules[0].BucketKeyEnabled
	if err := s.change(ctx, b, func(b *resource.Bucket) error { b.BucketKey = key; return nil }); err != nil {
		return nil, err
	}
	return &shape.PutBucketEncryptionResult{}, nil
}

// DeleteBucketEncryption goes back to what every bucket begins with.
func (s *Service) DeleteBucketEncryption(ctx context.Context, in *shape.DeleteBucketEncryptionRequest) (*shape.DeleteBucketEncryptionResult, error) {
	b, err := s.bucket(ctx, in.Bucket, in.ExpectedBucketOwner, "PutEncryptionConfiguration")
	if err != nil {
		return nil, err
	}
	if err := s.change(ctx, b, func(b *resource.Bucket) error { b.BucketKey = false; return nil }); err != nil {
		return nil, err
	}
	return &shape.DeleteBucketEncryptionResult{}, nil
}

const aes256 = "AES256"
