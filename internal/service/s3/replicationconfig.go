package s3

import (
	"context"
	"strings"

	"karri.dev/internal/authz"
	shape "karri.dev/internal/aws/shape/s3"
	"karri.dev/internal/policy"
	"karri.dev/internal/resource"
	"karri.dev/internal/store"
)

const (
	maxReplicationRules = 1000
	replicationService  = "s3.amazonaws.com" // who takes the role
)

// RoleTrust gives a role's trust policy; authz.Engine does.
type RoleTrust interface {
	Trust(role *resource.IAMRole) (*policy.Policy, error)
}

// PutBucketReplication sets what of a bucket is copied to other buckets.
func (s *Service) PutBucketReplication(ctx context.Context, in *shape.PutBucketReplicationRequest) (*shape.PutBucketReplicationResult, error) {
	b, err := s.bucket(ctx, in.Bucket, in.ExpectedBucketOwner, "PutReplicationConfiguration")
	if err != nil {
		return nil, err
	}
	c := in.ReplicationConfiguration
	switch {
	case c == nil || len(c.Rules) == 0:
		return nil, malformedXML()
	case len(c.Rules) > maxReplicationRules:
		return nil, invalidRequest("The number of replication rules must not exceed the allowed limit of %d rules.", maxReplicationRules)
	case in.Token != "": // AWS's support gives such tokens
		return nil, notImplemented("x-amz-bucket-object-lock-token")
	case b.Versioning != enabled:
		return nil, invalidRequest("Versioning must be 'Enabled' on the bucket to apply a replication configuration")
	}
	if err := s.mayReplicateWith(ctx, c.Role, b); err != nil {
		return nil, err
	}
	ids, priorities := map[string]bool{}, map[int]bool{}
	for i := range c.Rules {
		r := &c.Rules[i]
		if r.ID == "" {
			r.ID = s.ids.UUID()
		}
		if len(r.ID) > 255 || ids[r.ID] {
			return nil, invalidArgument("ID", r.ID, "Rule Id must be unique and no longer than 255 characters")
		}
		ids[r.ID] = true
		if (r.Filter == nil) != (c.Rules[0].Filter == nil) {
			return nil, invalidRequest("Rules of both versions of the schema cannot be in one configuration")
		}
		if r.Filter != nil && priorities[priority(r)] {
			return nil, invalidRequest("Found duplicate priority %d", priority(r))
		}
		priorities[priority(r)] = true
		if err := s.checkReplicationRule(ctx, b, r); err != nil {
			return nil, err
		}
	}
	return &shape.PutBucketReplicationResult{}, s.setConfig(ctx, b, resource.PartReplication, c)
}

func (s *Service) checkReplicationRule(ctx context.Context, b *resource.Bucket, r *shape.ReplicationRule) error {
	if r.Status != "Enabled" && r.Status != "Disabled" || r.Destination == nil || r.Destination.Bucket == "" {
		return malformedXML()
	}
	if _, err := replicationFilter(r); err != nil {
		return err
	}
	d := r.DeleteMarkerReplication
	switch {
	case r.Filter == nil && (d != nil || r.Priority != nil):
		return invalidRequest("Priority and DeleteMarkerReplication cannot be used for this version of the replication configuration schema")
	case r.Filter != nil && r.Priority == nil:
		return invalidRequest("Priority must be specified for this version of Cross Region Replication configuration schema. Please refer to S3 Developer Guide for more information.")
	case r.Filter != nil && d == nil:
		return invalidRequest("DeleteMarkerReplication must be specified for this version of Cross Region Replication configuration schema. Please refer to S3 Developer Guide for more information.")
	case d != nil && d.Status != "Enabled" && d.Status != "Disabled":
		return malformedXML()
	case d != nil && d.Status == "Enabled" && (r.Filter.Tag != nil || r.Filter.And != nil && len(r.Filter.And.Tags) > 0):
		return invalidRequest("Delete marker replication is not supported if any Tag filter is specified. Please refer to S3 Developer Guide for more information.")
	case r.ExistingObjectReplication != nil && r.ExistingObjectReplication.Status == "Enabled":
		return notImplemented("ExistingObjectReplication")
	case r.SourceSelectionCriteria != nil:
		return notImplemented("SourceSelectionCriteria")
	}
	to := r.Destination
	switch {
	case to.StorageClass != "" && to.StorageClass != "STANDARD":
		return notImplemented("StorageClass")
	case to.AccessControlTranslation != nil:
		return notImplemented("AccessControlTranslation")
	case to.EncryptionConfiguration != nil:
		return notImplemented("EncryptionConfiguration")
	case to.ReplicationTime != nil && to.ReplicationTime.Status == "Enabled":
		return notImplemented("ReplicationTime")
	case to.Metrics != nil && to.Metrics.Status == "Enabled":
		return notImplemented("Metrics")
	}
	name, ok := strings.CutPrefix(to.Bucket, "arn:aws:s3:::")
	if !ok {
		return invalidArgument("Bucket", to.Bucket, "Invalid bucket ARN")
	}
	if bucket, target, ok := elsewhere(name); ok {
		if to.Account != "" {
			return invalidRequest("Account cannot be used with a bucket at another endpoint")
		}
		return s.checkAway(ctx, b, bucket, target)
	}
	dest := s.visible(s.store.Snapshot(), name)
	switch {
	case dest == nil:
		return invalidRequest("Destination bucket must exist.")
	case dest.Name == b.Name:
		return invalidRequest("Destination bucket cannot be the same as the source bucket.")
	case to.Account != "" && to.Account != dest.AccountID:
		return invalidRequest("Account must be the owner of the destination bucket")
	case dest.Versioning != enabled:
		return invalidRequest("Destination bucket must have versioning enabled.")
	}
	return nil
}

func priority(r *shape.ReplicationRule) int {
	if r.Priority == nil {
		return 0
	}
	return *r.Priority
}

// replicationFilter reads which objects a rule is about.
func replicationFilter(r *shape.ReplicationRule) (objectFilter, error) {
	f := objectFilter{prefix: r.Prefix}
	if of := r.Filter; of != nil {
		if r.Prefix != "" || count(of.Prefix != "", of.Tag != nil, of.And != nil) > 1 {
			return f, malformedXML()
		}
		f.prefix = of.Prefix
		if of.Tag != nil {
			f.tags = []shape.Tag{*of.Tag}
		}
		if of.And != nil {
			f = objectFilter{prefix: of.And.Prefix, tags: of.And.Tags}
		}
	}
	if err := checkFilterTags(f.tags); err != nil {
		return f, err
	}
	return f, checkPrefix(f.prefix)
}

// mayReplicateWith wants a role of the bucket's account that S3 may take, and that the caller may hand to it.
func (s *Service) mayReplicateWith(ctx context.Context, arn string, b *resource.Bucket) error {
	role := s.replicationRole(s.store.Snapshot(), arn, b)
	if role == nil {
		return invalidArgument("Role", arn, "Invalid Role specified in replication configuration")
	}
	if s.authz == nil {
		return nil
	}
	err := s.authz.Decide(ctx, authz.Question{
		Action: policy.MakeAction("iam:PassRole"), Resource: role.ARN(), Owner: role.AccountID,
		Keys: func(k policy.Key) (policy.Value, bool) {
			return policy.String(replicationService), k.Name == "iam:passedtoservice"
		},
	})
	if err != nil {
		return accessDenied()
	}
	return nil
}

// replicationRole finds a role by ARN; nil if it is not of the bucket's account.
func (s *Service) replicationRole(r store.Reader, arn string, b *resource.Bucket) *resource.IAMRole {
	account, kind, name := authz.PrincipalARN(arn)
	if kind != "role" || account != b.AccountID {
		return nil
	}
	role := store.Roles.Get(r, store.UserKey(account, name))
	if role == nil || role.ARN() != arn {
		return nil
	}
	return role
}

// GetBucketReplication gives a bucket's replication.
func (s *Service) GetBucketReplication(ctx context.Context, in *shape.GetBucketReplicationRequest) (*shape.GetBucketReplicationResult, error) {
	c, err := asked[shape.ReplicationConfiguration](ctx, s, in.Bucket, in.ExpectedBucketOwner, "GetReplicationConfiguration", resource.PartReplication,
		"ReplicationConfigurationNotFoundError", "The replication configuration was not found")
	if err != nil {
		return nil, err
	}
	return &shape.GetBucketReplicationResult{ReplicationConfiguration: c}, nil
}

// DeleteBucketReplication ends a bucket's replication. What waits is not copied any more.
func (s *Service) DeleteBucketReplication(ctx context.Context, in *shape.DeleteBucketReplicationRequest) (*shape.DeleteBucketReplicationResult, error) {
	return &shape.DeleteBucketReplicationResult{}, s.dropConfig(ctx, in.Bucket, in.ExpectedBucketOwner, "PutReplicationConfiguration", resource.PartReplication)
}
