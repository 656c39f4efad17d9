package s3

import (
	"context"
	"strings"

	"karri.dev/internal/aws/call"
	shape "karri.dev/internal/aws/shape/s3"
	"karri.dev/internal/resource"
)

// PutBucketRequestPayment says who pays for requests. There are no bills here; what a client sees of it is the same.
func (s *Service) PutBucketRequestPayment(ctx context.Context, in *shape.PutBucketRequestPaymentRequest) (*shape.PutBucketRequestPaymentResult, error) {
	b, err := s.bucket(ctx, in.Bucket, in.ExpectedBucketOwner, "PutBucketRequestPayment")
	if err != nil {
		return nil, err
	}
	c := in.RequestPaymentConfiguration
	if c == nil || c.Payer != "Requester" && c.Payer != "BucketOwner" {
		return nil, malformedXML()
	}
	return &shape.PutBucketRequestPaymentResult{}, s.setConfig(ctx, b, resource.PartRequestPayment, c)
}

// GetBucketRequestPayment answers who pays for requests.
func (s *Service) GetBucketRequestPayment(ctx context.Context, in *shape.GetBucketRequestPaymentRequest) (*shape.GetBucketRequestPaymentResult, error) {
	c, err := asked[shape.RequestPaymentConfiguration](ctx, s, in.Bucket, in.ExpectedBucketOwner, "GetBucketRequestPayment", resource.PartRequestPayment, "", "")
	if err != nil {
		return nil, err
	}
	out := &shape.GetBucketRequestPaymentResult{Payer: "BucketOwner"}
	if c != nil {
		out.Payer = c.Payer
	}
	return out, nil
}

// charge refuses requests of other accounts that do not say that they pay, where a bucket's requesters do.
func (s *Service) charge(ctx context.Context, b *resource.Bucket) error {
	who := call.From(ctx)
	if who.AccountID == b.AccountID {
		return nil
	}
	c, err := config[shape.RequestPaymentConfiguration](s, s.store.Snapshot(), b, resource.PartRequestPayment)
	if err != nil || c == nil || c.Payer != "Requester" {
		return err
	}
	if who.Anonymous() || who.Payer != "requester" {
		return accessDenied()
	}
	who.Charged = true
	return nil
}

// PutBucketAccelerateConfiguration sets whether a bucket may be used by its accelerated endpoint.
func (s *Service) PutBucketAccelerateConfiguration(ctx context.Context, in *shape.PutBucketAccelerateConfigurationRequest) (*shape.PutBucketAccelerateConfigurationResult, error) {
	b, err := s.bucket(ctx, in.Bucket, in.ExpectedBucketOwner, "PutAccelerateConfiguration")
	if err != nil {
		return nil, err
	}
	c := in.AccelerateConfiguration
	if c == nil || c.Status != "Enabled" && c.Status != "Suspended" {
		return nil, malformedXML()
	}
	if strings.Contains(b.Name, ".") {
		return nil, invalidRequest("S3 Transfer Acceleration is not supported for buckets with periods (.) in their names")
	}
	return &shape.PutBucketAccelerateConfigurationResult{}, s.setConfig(ctx, b, resource.PartAccelerate, c)
}

// GetBucketAccelerateConfiguration answers whether a bucket may be used by its accelerated endpoint.
func (s *Service) GetBucketAccelerateConfiguration(ctx context.Context, in *shape.GetBucketAccelerateConfigurationRequest) (*shape.GetBucketAccelerateConfigurationResult, error) {
	c, err := asked[shape.AccelerateConfiguration](ctx, s, in.Bucket, in.ExpectedBucketOwner, "GetAccelerateConfiguration", resource.PartAccelerate, "", "")
	if err != nil {
		return nil, err
	}
	out := &shape.GetBucketAccelerateConfigurationResult{}
	if c != nil {
		out.Status = c.Status
	}
	return out, checkPayer(in.RequestPayer)
}

// Accelerated says whether a bucket may be used by its accelerated endpoint.
func (s *Service) Accelerated(bucket string) bool {
	snap := s.store.Snapshot()
	b := s.visible(snap, bucket)
	if b == nil {
		return false
	}
	c, err := config[shape.AccelerateConfiguration](s, snap, b, resource.PartAccelerate)
	return err == nil && c != nil && c.Status == "Enabled"
}
