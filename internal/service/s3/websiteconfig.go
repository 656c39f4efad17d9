package s3

import (
	"context"
	"strconv"
	"strings"

	"karri.dev/internal/aws/awserr"
	shape "karri.dev/internal/aws/shape/s3"
	"karri.dev/internal/resource"
)

// maxRoutingRules is S3's limit of routing rules.
const maxRoutingRules = 50

// PutBucketWebsite makes a bucket a website.
func (s *Service) PutBucketWebsite(ctx context.Context, in *shape.PutBucketWebsiteRequest) (*shape.PutBucketWebsiteResult, error) {
	b, err := s.bucket(ctx, in.Bucket, in.ExpectedBucketOwner, "PutBucketWebsite")
	if err != nil {
		return nil, err
	}
	if err := checkWebsite(in.WebsiteConfiguration); err != nil {
		return nil, err
	}
	return &shape.PutBucketWebsiteResult{}, s.setConfig(ctx, b, resource.PartWebsite, in.WebsiteConfiguration)
}

// GetBucketWebsite gives a bucket's website configuration.
func (s *Service) GetBucketWebsite(ctx context.Context, in *shape.GetBucketWebsiteRequest) (*shape.GetBucketWebsiteResult, error) {
	c, err := asked[shape.WebsiteConfiguration](ctx, s, in.Bucket, in.ExpectedBucketOwner, "GetBucketWebsite", resource.PartWebsite,
		"NoSuchWebsiteConfiguration", "The specified bucket does not have a website configuration")
	if err != nil {
		return nil, err
	}
	return &shape.GetBucketWebsiteResult{
		RedirectAllRequestsTo: c.RedirectAllRequestsTo, IndexDocument: c.IndexDocument, ErrorDocument: c.ErrorDocument, RoutingRules: c.RoutingRules,
	}, nil
}

// DeleteBucketWebsite ends a bucket's website.
func (s *Service) DeleteBucketWebsite(ctx context.Context, in *shape.DeleteBucketWebsiteRequest) (*shape.DeleteBucketWebsiteResult, error) {
	return &shape.DeleteBucketWebsiteResult{}, s.dropConfig(ctx, in.Bucket, in.ExpectedBucketOwner, "DeleteBucketWebsite", resource.PartWebsite)
}

// Website gives a bucket's website configuration to whoever reads it.
func (s *Service) Website(bucket string) (*shape.WebsiteConfiguration, error) {
	snap := s.store.Snapshot()
	b := s.visible(snap, bucket)
	if b == nil {
		return nil, noSuchBucket(bucket)
	}
	c, err := config[shape.WebsiteConfiguration](s, snap, b, resource.PartWebsite)
	if c == nil && err == nil {
		err = awserr.New("NoSuchWebsiteConfiguration", "The specified bucket does not have a website configuration").WithStatus(404).With("BucketName", bucket)
	}
	return c, err
}

func checkWebsite(c *shape.WebsiteConfiguration) error {
	if c == nil {
		return malformedXML()
	}
	if all := c.RedirectAllRequestsTo; all != nil {
		if c.IndexDocument != nil || c.ErrorDocument != nil || c.RoutingRules != nil {
			return invalidRequest("RedirectAllRequestsTo cannot be provided in conjunction with other Routing Rules.")
		}
		if all.HostName == "" {
			return invalidRequest("A host name must be provided to redirect all requests")
		}
		return checkProtocol(all.Protocol)
	}
	if c.IndexDocument == nil || c.IndexDocument.Suffix == "" {
		return invalidArgument("IndexDocument", "null", "A value for IndexDocument Suffix must be provided if RedirectAllRequestsTo is empty")
	}
	if strings.Contains(c.IndexDocument.Suffix, "/") || len(c.IndexDocument.Suffix) > maxKey {
		return invalidArgument("IndexDocument", c.IndexDocument.Suffix, "The IndexDocument Suffix is not well formed")
	}
	if c.ErrorDocument != nil && (c.ErrorDocument.Key == "" || len(c.ErrorDocument.Key) > maxKey) {
		return invalidArgument("ErrorDocument", c.ErrorDocument.Key, "The ErrorDocument Key is not well formed")
	}
	if c.RoutingRules != nil && len(c.RoutingRules) == 0 {
		return malformedXML()
	}
	if len(c.RoutingRules) > maxRoutingRules {
		return invalidRequest("%d routing rules provided, the number of routing rules in a website configuration is limited to %d.", len(c.RoutingRules), maxRoutingRules)
	}
	for _, r := range c.RoutingRules {
		if err := checkRoutingRule(r); err != nil {
			return err
		}
	}
	return nil
}

func checkRoutingRule(r shape.RoutingRule) error {
	to := r.Redirect
	if to == nil {
		return malformedXML()
	}
	if err := checkProtocol(to.Protocol); err != nil {
		return err
	}
	if to.ReplaceKeyWith != nil && to.ReplaceKeyPrefixWith != nil {
		return invalidRequest("You can only define ReplaceKeyPrefix or ReplaceKey but not both.")
	}
	if to.HostName == "" && to.Protocol == "" && to.HttpRedirectCode == "" && to.ReplaceKeyWith == nil && to.ReplaceKeyPrefixWith == nil {
		return malformedXML()
	}
	if code := to.HttpRedirectCode; code != "" {
		if n, err := strconv.Atoi(code); err != nil || n <= 300 || n > 399 {
			return invalidRequest("The provided HTTP redirect code (%s) is not valid. Valid codes are 3XX except 300.", code)
		}
	}
	if r.Condition == nil {
		return nil
	}
	if r.Condition.KeyPrefixEquals == "" && r.Condition.HttpErrorCodeReturnedEquals == "" {
		return invalidRequest("Condition cannot be empty. To redirect all requests without a condition, the condition element shouldn't be present.")
	}
	if code := r.Condition.HttpErrorCodeReturnedEquals; code != "" {
		if n, err := strconv.Atoi(code); err != nil || n < 400 || n > 599 {
			return invalidRequest("The provided HTTP error code (%s) is not valid. Valid codes are 4XX or 5XX.", code)
		}
	}
	return nil
}

func checkProtocol(p string) error {
	if p != "" && p != "http" && p != "https" {
		return invalidRequest("Invalid protocol, protocol can be http or https. If not defined the protocol will be selected automatically.")
	}
	return nil
}
