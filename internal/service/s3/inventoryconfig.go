package s3

import (
	"context"
	"slices"
	"strings"

	"karri.dev/internal/aws/awserr"
	shape "karri.dev/internal/aws/shape/s3"
	"karri.dev/internal/resource"
	"karri.dev/internal/store"
)

// PutBucketInventoryConfiguration stores what lists of a bucket's objects are written, and where. They are written as CSV.
func (s *Service) PutBucketInventoryConfiguration(ctx context.Context, in *shape.PutBucketInventoryConfigurationRequest) (*shape.PutBucketInventoryConfigurationResult, error) {
	err := inventories.put(ctx, s, in.Bucket, in.ExpectedBucketOwner, in.Id, in.InventoryConfiguration, s.checkInventory)
	return &shape.PutBucketInventoryConfigurationResult{}, err
}

func (s *Service) checkInventory(b *resource.Bucket, c *shape.InventoryConfiguration) error {
	if c.Destination == nil || c.Destination.S3BucketDestination == nil || c.Schedule == nil {
		return malformedXML()
	}
	d := c.Destination.S3BucketDestination
	switch {
	case c.IncludedObjectVersions != "All" && c.IncludedObjectVersions != "Current",
		c.Schedule.Frequency != "Daily" && c.Schedule.Frequency != "Weekly",
		d.Format != "CSV" && d.Format != "ORC" && d.Format != "Parquet":
		return malformedXML()
	case d.Format != "CSV":
		return awserr.New("NotImplemented", "Inventories are written in the format CSV only").WithStatus(501)
	case d.Encryption != nil && d.Encryption.SSEKMS != nil:
		return awserr.New("NotImplemented", "There are no KMS keys to encrypt inventories with").WithStatus(501)
	case len(d.Prefix) > maxKey/2:
		return invalidArgument("Prefix", d.Prefix, "The prefix is too long")
	}
	for i, f := range c.OptionalFields {
		if slices.Contains(c.OptionalFields[:i], f) {
			return malformedXML()
		}
		known := slices.ContainsFunc(inventoryFields, func(x inventoryField) bool { return x.name == f })
		if !known && (f == "ObjectAccessControlList" || f == "LifecycleExpirationDate") {
			return awserr.New("NotImplemented", "Inventories do not have the field %s", f).WithStatus(501)
		}
		if !known {
			return malformedXML()
		}
	}
	to := s.inventoryTarget(s.store.Snapshot(), b, c)
	if to == nil {
		return awserr.New("InvalidS3DestinationBucket", "The destination bucket does not exist in this Region, is not named by its ARN, or is not the account's that was given.")
	}
	return nil
}

// inventoryTarget gives the bucket into which inventories of another one are written, nil if there is none.
func (s *Service) inventoryTarget(r store.Reader, b *resource.Bucket, c *shape.InventoryConfiguration) *resource.Bucket {
	d := c.Destination.S3BucketDestination
	name, isARN := strings.CutPrefix(d.Bucket, bucketARN(""))
	to := s.visible(r, name)
	if !isARN || to == nil || to.Region != b.Region || d.AccountId != "" && d.AccountId != to.AccountID {
		return nil
	}
	return to
}

// GetBucketInventoryConfiguration answers one.
func (s *Service) GetBucketInventoryConfiguration(ctx context.Context, in *shape.GetBucketInventoryConfigurationRequest) (*shape.GetBucketInventoryConfigurationResult, error) {
	c, err := inventories.get(ctx, s, in.Bucket, in.ExpectedBucketOwner, in.Id)
	return &shape.GetBucketInventoryConfigurationResult{InventoryConfiguration: c}, err
}

// DeleteBucketInventoryConfiguration removes one.
func (s *Service) DeleteBucketInventoryConfiguration(ctx context.Context, in *shape.DeleteBucketInventoryConfigurationRequest) (*shape.DeleteBucketInventoryConfigurationResult, error) {
	return &shape.DeleteBucketInventoryConfigurationResult{}, inventories.drop(ctx, s, in.Bucket, in.ExpectedBucketOwner, in.Id, inventoriedKind(in.Id))
}

// ListBucketInventoryConfigurations lists them, 100 on a page.
func (s *Service) ListBucketInventoryConfigurations(ctx context.Context, in *shape.ListBucketInventoryConfigurationsRequest) (*shape.ListBucketInventoryConfigurationsResult, error) {
	page, next, err := inventories.list(ctx, s, in.Bucket, in.ExpectedBucketOwner, in.ContinuationToken)
	return &shape.ListBucketInventoryConfigurationsResult{
		InventoryConfigurationList: page, ContinuationToken: in.ContinuationToken, NextContinuationToken: next, IsTruncated: next != "",
	}, err
}
