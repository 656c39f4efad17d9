package s3

import (
	"context"

	"karri.dev/internal/aws/awserr"
	shape "karri.dev/internal/aws/shape/s3"
)

// Configurations that no bucket here can have, as what they promise is not done: reports of analytics and inventories,
// metrics of requests, tiers. What would set them is not served; what reads or removes them is answered as AWS answers
// it of a bucket without any.

// without answers that a bucket has no such configuration.
func (s *Service) without(ctx context.Context, bucket, owner string, act action) error {
	if _, err := s.bucket(ctx, bucket, owner, act); err != nil {
		return err
	}
	return awserr.New("NoSuchConfiguration", "The specified configuration does not exist.").WithStatus(404).With("BucketName", bucket)
}

// GetBucketAnalyticsConfiguration says that there is none.
func (s *Service) GetBucketAnalyticsConfiguration(ctx context.Context, in *shape.GetBucketAnalyticsConfigurationRequest) (*shape.GetBucketAnalyticsConfigurationResult, error) {
	return nil, s.without(ctx, in.Bucket, in.ExpectedBucketOwner, "GetAnalyticsConfiguration")
}

// DeleteBucketAnalyticsConfiguration says that there is none.
func (s *Service) DeleteBucketAnalyticsConfiguration(ctx context.Context, in *shape.DeleteBucketAnalyticsConfigurationRequest) (*shape.DeleteBucketAnalyticsConfigurationResult, error) {
	return nil, s.without(ctx, in.Bucket, in.ExpectedBucketOwner, "PutAnalyticsConfiguration")
}

// ListBucketAnalyticsConfigurations lists none.
func (s *Service) ListBucketAnalyticsConfigurations(ctx context.Context, in *shape.ListBucketAnalyticsConfigurationsRequest) (*shape.ListBucketAnalyticsConfigurationsResult, error) {
	_, err := s.bucket(ctx, in.Bucket, in.ExpectedBucketOwner, "GetAnalyticsConfiguration")
	return &shape.ListBucketAnalyticsConfigurationsResult{}, err
}

// GetBucketIntelligentTieringConfiguration says that there is none.
func (s *Service) GetBucketIntelligentTieringConfiguration(ctx context.Context, in *shape.GetBucketIntelligentTieringConfigurationRequest) (*shape.GetBucketIntelligentTieringConfigurationResult, error) {
	return nil, s.without(ctx, in.Bucket, "", "GetIntelligentTieringConfiguration")
}

// DeleteBucketIntelligentTieringConfiguration says that there is none.
func (s *Service) DeleteBucketIntelligentTieringConfiguration(ctx context.Context, in *shape.DeleteBucketIntelligentTieringConfigurationRequest) (*shape.DeleteBucketIntelligentTieringConfigurationResult, error) {
	return nil, s.without(ctx, in.Bucket, "", "PutIntelligentTieringConfiguration")
}

// ListBucketIntelligentTieringConfigurations lists none.
func (s *Service) ListBucketIntelligentTieringConfigurations(ctx context.Context, in *shape.ListBucketIntelligentTieringConfigurationsRequest) (*shape.ListBucketIntelligentTieringConfigurationsResult, error) {
	_, err := s.bucket(ctx, in.Bucket, "", "GetIntelligentTieringConfiguration")
	return &shape.ListBucketIntelligentTieringConfigurationsResult{}, err
}

// GetBucketInventoryConfiguration says that there is none.
func (s *Service) GetBucketInventoryConfiguration(ctx context.Context, in *shape.GetBucketInventoryConfigurationRequest) (*shape.GetBucketInventoryConfigurationResult, error) {
	return nil, s.without(ctx, in.Bucket, in.ExpectedBucketOwner, "GetInventoryConfiguration")
}

// DeleteBucketInventoryConfiguration says that there is none.
func (s *Service) DeleteBucketInventoryConfiguration(ctx context.Context, in *shape.DeleteBucketInventoryConfigurationRequest) (*shape.DeleteBucketInventoryConfigurationResult, error) {
	return nil, s.without(ctx, in.Bucket, in.ExpectedBucketOwner, "PutInventoryConfiguration")
}

// ListBucketInventoryConfigurations lists none.
func (s *Service) ListBucketInventoryConfigurations(ctx context.Context, in *shape.ListBucketInventoryConfigurationsRequest) (*shape.ListBucketInventoryConfigurationsResult, error) {
	_, err := s.bucket(ctx, in.Bucket, in.ExpectedBucketOwner, "GetInventoryConfiguration")
	return &shape.ListBucketInventoryConfigurationsResult{}, err
}

// GetBucketMetricsConfiguration says that there is none.
func (s *Service) GetBucketMetricsConfiguration(ctx context.Context, in *shape.GetBucketMetricsConfigurationRequest) (*shape.GetBucketMetricsConfigurationResult, error) {
	return nil, s.without(ctx, in.Bucket, in.ExpectedBucketOwner, "GetMetricsConfiguration")
}

// DeleteBucketMetricsConfiguration says that there is none.
func (s *Service) DeleteBucketMetricsConfiguration(ctx context.Context, in *shape.DeleteBucketMetricsConfigurationRequest) (*shape.DeleteBucketMetricsConfigurationResult, error) {
	return nil, s.without(ctx, in.Bucket, in.ExpectedBucketOwner, "PutMetricsConfiguration")
}

// ListBucketMetricsConfigurations lists none.
func (s *Service) ListBucketMetricsConfigurations(ctx context.Context, in *shape.ListBucketMetricsConfigurationsRequest) (*shape.ListBucketMetricsConfigurationsResult, error) {
	_, err := s.bucket(ctx, in.Bucket, in.ExpectedBucketOwner, "GetMetricsConfiguration")
	return &shape.ListBucketMetricsConfigurationsResult{}, err
}
