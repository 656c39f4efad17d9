package s3

import (
	"context"
	"fmt"
	"strconv"

	"karri.dev/internal/aws/awserr"
	shape "karri.dev/internal/aws/shape/s3"
	"karri.dev/internal/resource"
)

// Storage class analysis, metrics of requests and intelligent tiering: their configurations are kept and answered. What
// they would have an effect on does not exist here: there is one storage class, and no CloudWatch.

// PutBucketAnalyticsConfiguration stores an analysis of storage classes. Exports of it are refused.
func (s *Service) PutBucketAnalyticsConfiguration(ctx context.Context, in *shape.PutBucketAnalyticsConfigurationRequest) (*shape.PutBucketAnalyticsConfigurationResult, error) {
	err := analytics.put(ctx, s, in.Bucket, in.ExpectedBucketOwner, in.Id, in.AnalyticsConfiguration, func(_ *resource.Bucket, c *shape.AnalyticsConfiguration) error {
		if c.StorageClassAnalysis == nil {
			return malformedXML()
		}
		if c.StorageClassAnalysis.DataExport != nil {
			return awserr.New("NotImplemented", "Analyses are not exported: there is one storage class only").WithStatus(501)
		}
		if f := c.Filter; f != nil && (count(f.Prefix != "", f.Tag != nil, f.And != nil) > 1 || f.And != nil && !joins(f.And.Prefix, len(f.And.Tags))) {
			return malformedXML()
		}
		return nil
	})
	return &shape.PutBucketAnalyticsConfigurationResult{}, err
}

// joins says whether And has what makes it necessary: two conditions.
func joins(prefix string, tags int) bool { return tags+count(prefix != "") > 1 }

// GetBucketAnalyticsConfiguration answers one.
func (s *Service) GetBucketAnalyticsConfiguration(ctx context.Context, in *shape.GetBucketAnalyticsConfigurationRequest) (*shape.GetBucketAnalyticsConfigurationResult, error) {
	c, err := analytics.get(ctx, s, in.Bucket, in.ExpectedBucketOwner, in.Id)
	return &shape.GetBucketAnalyticsConfigurationResult{AnalyticsConfiguration: c}, err
}

// DeleteBucketAnalyticsConfiguration removes one.
func (s *Service) DeleteBucketAnalyticsConfiguration(ctx context.Context, in *shape.DeleteBucketAnalyticsConfigurationRequest) (*shape.DeleteBucketAnalyticsConfigurationResult, error) {
	return &shape.DeleteBucketAnalyticsConfigurationResult{}, analytics.drop(ctx, s, in.Bucket, in.ExpectedBucketOwner, in.Id)
}

// ListBucketAnalyticsConfigurations lists them, 100 on a page.
func (s *Service) ListBucketAnalyticsConfigurations(ctx context.Context, in *shape.ListBucketAnalyticsConfigurationsRequest) (*shape.ListBucketAnalyticsConfigurationsResult, error) {
	page, next, err := analytics.list(ctx, s, in.Bucket, in.ExpectedBucketOwner, in.ContinuationToken)
	return &shape.ListBucketAnalyticsConfigurationsResult{
		AnalyticsConfigurationList: page, ContinuationToken: in.ContinuationToken, NextContinuationToken: next, IsTruncated: next != "",
	}, err
}

// PutBucketMetricsConfiguration stores which requests are to be counted.
func (s *Service) PutBucketMetricsConfiguration(ctx context.Context, in *shape.PutBucketMetricsConfigurationRequest) (*shape.PutBucketMetricsConfigurationResult, error) {
	err := metrics.put(ctx, s, in.Bucket, in.ExpectedBucketOwner, in.Id, in.MetricsConfiguration, func(_ *resource.Bucket, c *shape.MetricsConfiguration) error {
		f := c.Filter
		if f == nil {
			return nil
		}
		if f.AccessPointArn != "" || f.And != nil && f.And.AccessPointArn != "" {
			return invalidArgument("AccessPointArn", f.AccessPointArn, "There are no access points")
		}
		if count(f.Prefix != "", f.Tag != nil, f.And != nil) > 1 || f.And != nil && !joins(f.And.Prefix, len(f.And.Tags)) {
			return malformedXML()
		}
		return nil
	})
	return &shape.PutBucketMetricsConfigurationResult{}, err
}

// GetBucketMetricsConfiguration answers one.
func (s *Service) GetBucketMetricsConfiguration(ctx context.Context, in *shape.GetBucketMetricsConfigurationRequest) (*shape.GetBucketMetricsConfigurationResult, error) {
	c, err := metrics.get(ctx, s, in.Bucket, in.ExpectedBucketOwner, in.Id)
	return &shape.GetBucketMetricsConfigurationResult{MetricsConfiguration: c}, err
}

// DeleteBucketMetricsConfiguration removes one.
func (s *Service) DeleteBucketMetricsConfiguration(ctx context.Context, in *shape.DeleteBucketMetricsConfigurationRequest) (*shape.DeleteBucketMetricsConfigurationResult, error) {
	return &shape.DeleteBucketMetricsConfigurationResult{}, metrics.drop(ctx, s, in.Bucket, in.ExpectedBucketOwner, in.Id)
}

// ListBucketMetricsConfigurations lists them, 100 on a page.
func (s *Service) ListBucketMetricsConfigurations(ctx context.Context, in *shape.ListBucketMetricsConfigurationsRequest) (*shape.ListBucketMetricsConfigurationsResult, error) {
	page, next, err := metrics.list(ctx, s, in.Bucket, in.ExpectedBucketOwner, in.ContinuationToken)
	return &shape.ListBucketMetricsConfigurationsResult{
		MetricsConfigurationList: page, ContinuationToken: in.ContinuationToken, NextContinuationToken: next, IsTruncated: next != "",
	}, err
}

// PutBucketIntelligentTieringConfiguration stores when objects of the class INTELLIGENT_TIERING, of which there can be
// none, are archived.
func (s *Service) PutBucketIntelligentTieringConfiguration(ctx context.Context, in *shape.PutBucketIntelligentTieringConfigurationRequest) (*shape.PutBucketIntelligentTieringConfigurationResult, error) {
	err := tierings.put(ctx, s, in.Bucket, "", in.Id, in.IntelligentTieringConfiguration, checkTiering)
	return &shape.PutBucketIntelligentTieringConfigurationResult{}, err
}

func checkTiering(_ *resource.Bucket, c *shape.IntelligentTieringConfiguration) error {
	if c.Status != "Enabled" && c.Status != "Disabled" || len(c.Tierings) == 0 {
		return malformedXML()
	}
	least := map[string]int{"ARCHIVE_ACCESS": 90, "DEEP_ARCHIVE_ACCESS": 180} // days
	for _, t := range c.Tierings {
		from, once := least[t.AccessTier]
		if !once {
			return malformedXML()
		}
		if t.Days < from || t.Days > 730 {
			return invalidArgument("Days", strconv.Itoa(t.Days), fmt.Sprintf("'Days' in the Tiering action must be between %d and 730 for the access tier %s", from, t.AccessTier))
		}
		delete(least, t.AccessTier)
	}
	if f := c.Filter; f != nil && (count(f.Prefix != "", f.Tag != nil, f.And != nil) > 1 || f.And != nil && !joins(f.And.Prefix, len(f.And.Tags))) {
		return malformedXML()
	}
	return nil
}

// GetBucketIntelligentTieringConfiguration answers one.
func (s *Service) GetBucketIntelligentTieringConfiguration(ctx context.Context, in *shape.GetBucketIntelligentTieringConfigurationRequest) (*shape.GetBucketIntelligentTieringConfigurationResult, error) {
	c, err := tierings.get(ctx, s, in.Bucket, "", in.Id)
	return &shape.GetBucketIntelligentTieringConfigurationResult{IntelligentTieringConfiguration: c}, err
}

// DeleteBucketIntelligentTieringConfiguration removes one.
func (s *Service) DeleteBucketIntelligentTieringConfiguration(ctx context.Context, in *shape.DeleteBucketIntelligentTieringConfigurationRequest) (*shape.DeleteBucketIntelligentTieringConfigurationResult, error) {
	return &shape.DeleteBucketIntelligentTieringConfigurationResult{}, tierings.drop(ctx, s, in.Bucket, "", in.Id)
}

// ListBucketIntelligentTieringConfigurations lists them, 100 on a page.
func (s *Service) ListBucketIntelligentTieringConfigurations(ctx context.Context, in *shape.ListBucketIntelligentTieringConfigurationsRequest) (*shape.ListBucketIntelligentTieringConfigurationsResult, error) {
	page, next, err := tierings.list(ctx, s, in.Bucket, "", in.ContinuationToken)
	return &shape.ListBucketIntelligentTieringConfigurationsResult{
		IntelligentTieringConfigurationList: page, ContinuationToken: in.ContinuationToken, NextContinuationToken: next, IsTruncated: next != "",
	}, err
}
