package s3

import (
	"context"

	"karri.dev/internal/authz"
	"karri.dev/internal/aws/awserr"
	shape "karri.dev/internal/aws/shape/s3"
	"karri.dev/internal/policy"
	"karri.dev/internal/resource"
	"karri.dev/internal/store"
)

// logDelivery is the service that writes access logs.
const logDelivery = "logging.s3.amazonaws.com"

// PutBucketLogging sets where the requests to a bucket are logged; without a target it ends that.
func (s *Service) PutBucketLogging(ctx context.Context, in *shape.PutBucketLoggingRequest) (*shape.PutBucketLoggingResult, error) {
	b, err := s.bucket(ctx, in.Bucket, in.ExpectedBucketOwner, "PutBucketLogging")
	if err != nil {
		return nil, err
	}
	if in.BucketLoggingStatus == nil {
		return nil, malformedXML()
	}
	l := in.BucketLoggingStatus.LoggingEnabled
	if l == nil {
		return &shape.PutBucketLoggingResult{}, s.dropConfig(ctx, in.Bucket, in.ExpectedBucketOwner, "PutBucketLogging", resource.PartLogging)
	}
	if err := s.checkLogTarget(ctx, b, l); err != nil {
		return nil, err
	}
	return &shape.PutBucketLoggingResult{}, s.setConfig(ctx, b, resource.PartLogging, in.BucketLoggingStatus)
}

func badLogTarget(message string) error {
	return awserr.New("InvalidTargetBucketForLogging", "%s", message)
}

func (s *Service) checkLogTarget(ctx context.Context, b *resource.Bucket, l *shape.LoggingEnabled) error {
	snap := s.store.Snapshot()
	to := s.visible(snap, l.TargetBucket)
	switch {
	case to == nil:
		return badLogTarget("The target bucket for logging does not exist").(*awserr.Error).With("TargetBucket", l.TargetBucket)
	case to.AccountID != b.AccountID:
		return badLogTarget("The owner for the bucket to be logged and the target bucket must be the same.")
	case to.Region != b.Region:
		return awserr.New("CrossLocationLoggingProhibited", "Cross S3 location logging not allowed.").WithStatus(403)
	case to.Lock != nil && to.Lock.Mode != "":
		return badLogTarget("The target bucket for logging has a default retention of Object Lock")
	}
	if c, err := config[shape.RequestPaymentConfiguration](s, snap, to, resource.PartRequestPayment); err != nil || c != nil && c.Payer == "Requester" {
		return badLogTarget("The target bucket for logging cannot be a Requester Pays bucket")
	}
	if f := l.TargetObjectKeyFormat; f != nil {
		if (f.SimplePrefix == nil) == (f.PartitionedPrefix == nil) {
			return malformedXML()
		}
		if p := f.PartitionedPrefix; p != nil && p.PartitionDateSource != "" && p.PartitionDateSource != "EventTime" && p.PartitionDateSource != "DeliveryTime" {
			return malformedXML()
		}
	}
	if len(l.TargetPrefix) > maxKey-100 {
		return invalidArgument("TargetPrefix", l.TargetPrefix, "The prefix is too long")
	}
	if len(l.TargetGrants) > 0 {
		rule, err := s.ownership(snap, to)
		if err != nil {
			return err
		}
		if rule == ownerEnforced {
			return badLogTarget("Target grants are not supported where the target bucket does not allow ACLs")
		}
		var grants []shape.Grant
		for _, g := range l.TargetGrants {
			if g.Permission == "WRITE" { // nothing can be written to an object
				g.Permission = "WRITE_ACP"
			}
			grants = append(grants, shape.Grant(g))
		}
		if err := checkGrants(snap, grants); err != nil {
			return err
		}
	}
	if s.mayLog(ctx, b, to, l.TargetPrefix+"x") != nil {
		return badLogTarget("You must give the log-delivery group WRITE and READ_ACP permissions to the target bucket")
	}
	return nil
}

// mayLog asks whether the log delivery may write an object for a bucket.
func (s *Service) mayLog(ctx context.Context, b, to *resource.Bucket, key string) error {
	return s.mayServe(ctx, to, key, logDelivery, bucketARN(b.Name), b.AccountID, "")
}

// mayServe asks whether a service may write an object, with a canned ACL, in the name of an account's resource.
func (s *Service) mayServe(ctx context.Context, to *resource.Bucket, key, service, source, account, canned string) error {
	if s.authz == nil {
		return nil
	}
	block, err := s.block(s.store.Snapshot(), to)
	if err != nil {
		return err
	}
	p, err := s.policyOf(s.store.Snapshot(), to)
	if err != nil {
		return err
	}
	q := authz.Question{
		Action: s.action(actPutObject), Resource: bucketARN(to.Name) + "/" + key, Owner: to.AccountID, As: &policy.Principal{Kind: policy.Service, ARN: service},
		Keys: func(k policy.Key) (policy.Value, bool) {
			switch k.Name {
			case "aws:sourcearn":
				return policy.String(source), true
			case "aws:sourceaccount":
				return policy.String(account), true
			case "aws:principalisawsservice":
				return policy.Bool(true), true
			case "s3:x-amz-acl":
				return policy.String(canned), canned != ""
			}
			return policy.Value{}, false
		},
	}
	if p != nil {
		q.Policy = p.Policy
	}
	if q.Grants, err = s.grantsOf(s.store.Snapshot(), to, block.ignoreACLs); err != nil {
		return err
	}
	return s.authz.Decide(ctx, q)
}

// GetBucketLogging answers where the requests to a bucket are logged.
func (s *Service) GetBucketLogging(ctx context.Context, in *shape.GetBucketLoggingRequest) (*shape.GetBucketLoggingResult, error) {
	c, err := asked[shape.BucketLoggingStatus](ctx, s, in.Bucket, in.ExpectedBucketOwner, "GetBucketLogging", resource.PartLogging, "", "")
	if c == nil || err != nil {
		return &shape.GetBucketLoggingResult{}, err
	}
	return &shape.GetBucketLoggingResult{LoggingEnabled: c.LoggingEnabled}, nil
}

// logging gives where a bucket's requests are logged, nil for nowhere.
func (s *Service) logging(r store.Reader, b *resource.Bucket) (*shape.LoggingEnabled, error) {
	c, err := config[shape.BucketLoggingStatus](s, r, b, resource.PartLogging)
	if c == nil || err != nil {
		return nil, err
	}
	return c.LoggingEnabled, nil
}
