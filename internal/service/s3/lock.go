package s3

import (
	"context"
	"time"

	"karri.dev/internal/aws/awserr"
	shape "karri.dev/internal/aws/shape/s3"
	"karri.dev/internal/object"
	"karri.dev/internal/resource"
)

func noLock() error { return invalidRequest("Bucket is missing Object Lock Configuration") }

// locks says that a write brings a lock of its own.
func (w writing) locks() bool { return w.lockMode != "" || !w.lockUntil.IsZero() || w.legalHold != "" }

// attributes are those that a written version begins with.
func (w writing) attributes(b *resource.Bucket, now time.Time) (a object.Attributes, err error) {
	tags, err := tagHeader(w.tagging)
	if err != nil {
		return a, err
	}
	a.Tags = tags
	if b.Lock == nil {
		if w.locks() {
			err = noLock()
		}
		return a, err
	}
	if (w.lockMode == "") != w.lockUntil.IsZero() {
		return a, awserr.New("InvalidArgument", "x-amz-object-lock-retain-until-date and x-amz-object-lock-mode must both be supplied")
	}
	if w.lockMode != "" {
		if err := checkRetention(w.lockMode, w.lockUntil, now); err != nil {
			return a, err
		}
		a.Lock.Mode, a.Lock.Until = w.lockMode, w.lockUntil.UTC()
	} else if b.Lock.Mode != "" {
		a.Lock.Mode, a.Lock.Until = b.Lock.Mode, now.UTC().AddDate(b.Lock.Years, 0, b.Lock.Days)
	}
	if w.legalHold != "" && w.legalHold != "ON" && w.legalHold != "OFF" {
		return a, invalidArgument("x-amz-object-lock-legal-hold", w.legalHold, "Legal Hold must be either of 'ON' or 'OFF'")
	}
	a.Lock.Hold = w.legalHold == "ON"
	return a, nil
}

// begins gives a written version's owner, and the attributes that it begins with.
func (s *Service) begins(ctx context.Context, b *resource.Bucket, key string, w writing) (owner string, a object.Attributes, err error) {
	if err := s.mayAttribute(ctx, b, key, w); err != nil {
		return "", a, err
	}
	if a, err = w.attributes(b, s.now()); err == nil {
		owner, a.ACL, err = s.newACL(ctx, b, w)
	}
	if err == nil {
		a.Replication, a.Awaits, err = s.replicates(ctx, b, key, a.Tags)
	}
	return owner, a, err
}

// mayAttribute asks for what a write does beside writing.
func (s *Service) mayAttribute(ctx context.Context, b *resource.Bucket, key string, w writing) error {
	for _, x := range []struct {
		asked bool
		act   action
	}{{w.acl != "" || w.grants.any(), "PutObjectAcl"}, {w.tagging != "", "PutObjectTagging"}, {w.lockMode != "", "PutObjectRetention"}, {w.legalHold != "", "PutObjectLegalHold"}} {
		if x.asked {
			if err := s.may(ctx, b, key, x.act, nil); err != nil {
				return err
			}
		}
	}
	return nil
}

func checkRetention(mode string, until, now time.Time) error {
	switch {
	case mode != object.Governance && mode != object.Compliance:
		return awserr.New("InvalidArgument", "Unknown wormMode directive.")
	case !until.After(now):
		return awserr.New("InvalidArgument", "The retain until date must be in the future!")
	}
	return nil
}

// holdStatus is a legal hold as answers give it; only a bucket with object lock has any.
func holdStatus(b *resource.Bucket, l object.Lock) string {
	switch {
	case b.Lock == nil:
		return ""
	case l.Hold:
		return "ON"
	}
	return ""
}

// bypass judges x-amz-bypass-governance-retention.
func (s *Service) bypass(ctx context.Context, b *resource.Bucket, key string, asked *bool) (bool, error) {
	if asked == nil || !*asked {
		return false, nil
	}
	if b.Lock == nil {
		return false, nil
	}
	err := s.may(ctx, b, key, "BypassGovernanceRetention", nil)
	return err == nil, err
}

// GetObjectLockConfiguration answers a bucket's object lock.
func (s *Service) GetObjectLockConfiguration(ctx context.Context, in *shape.GetObjectLockConfigurationRequest) (*shape.GetObjectLockConfigurationResult, error) {
	b, err := s.bucket(ctx, in.Bucket, in.ExpectedBucketOwner, "GetBucketObjectLockConfiguration")
	if err != nil {
		return nil, err
	}
	if b.Lock == nil {
		return nil, awserr.New("ObjectLockConfigurationNotFoundError", "Object Lock configuration does not exist for this bucket").WithStatus(404).With("BucketName", b.Name)
	}
	c := &shape.ObjectLockConfiguration{ObjectLockEnabled: enabled}
	if b.Lock.Mode != "" {
		d := &shape.DefaultRetention{Mode: b.Lock.Mode}
		if b.Lock.Days > 0 {
			d.Days = &b.Lock.Days
		} else {
			d.Years = &b.Lock.Years
		}
		c.Rule = &shape.ObjectLockRule{DefaultRetention: d}
	}
	return &shape.GetObjectLockConfigurationResult{ObjectLockConfiguration: c}, nil
}

// PutObjectLockConfiguration enables a bucket's object lock and sets its default retention.
func (s *Service) PutObjectLockConfiguration(ctx context.Context, in *shape.PutObjectLockConfigurationRequest) (*shape.PutObjectLockConfigurationResult, error) {
	c := in.ObjectLockConfiguration
	if c == nil || c.ObjectLockEnabled != enabled {
		return nil, malformedXML()
	}
	if in.Token != "" { // AWS's support gives such tokens
		return nil, notImplemented("x-amz-bucket-object-lock-token")
	}
	if err := checkPayer(in.RequestPayer); err != nil {
		return nil, err
	}
	lock := &resource.BucketLock{}
	if c.Rule != nil {
		d := c.Rule.DefaultRetention
		if d == nil || d.Mode != object.Governance && d.Mode != object.Compliance || (d.Days == nil) == (d.Years == nil) {
			return nil, malformedXML()
		}
		lock.Mode = d.Mode
		const days, years = 36500, 100
		switch {
		case d.Days != nil && *d.Days <= 0, d.Years != nil && *d.Years <= 0:
			return nil, awserr.New("InvalidArgument", "Default retention period must be a positive integer value.")
		case d.Days != nil && *d.Days > days, d.Years != nil && *d.Years > years:
			return nil, awserr.New("InvalidArgument", "Default retention period too large. Maximum retention period is %d days", days)
		case d.Days != nil:
			lock.Days = *d.Days
		default:
			lock.Years = *d.Years
		}
	}
	b, err := s.bucket(ctx, in.Bucket, in.ExpectedBucketOwner, "PutBucketObjectLockConfiguration")
	if err != nil {
		return nil, err
	}
	err = s.change(ctx, b, func(b *resource.Bucket) error {
		if b.Versioning != enabled {
			return awserr.New("InvalidBucketState", "Versioning must be 'Enabled' on the bucket to apply a Object Lock configuration").WithStatus(409)
		}
		b.Lock = lock
		return nil
	})
	if err != nil {
		return nil, err
	}
	return &shape.PutObjectLockConfigurationResult{}, nil
}

// locked finds the bucket of a request about a version's lock.
func (s *Service) locked(ctx context.Context, bucket, key, owner, payer string, act action) (*resource.Bucket, error) {
	b, err := s.object(ctx, bucket, key, owner, act)
	if err != nil {
		return nil, err
	}
	if b.Lock == nil {
		return nil, noLock()
	}
	return b, checkPayer(payer)
}

func noSuchLock() error {
	return awserr.New("NoSuchObjectLockConfiguration", "The specified object does not have a ObjectLock configuration").WithStatus(404)
}

// GetObjectRetention answers a version's retention.
func (s *Service) GetObjectRetention(ctx context.Context, in *shape.GetObjectRetentionRequest) (*shape.GetObjectRetentionResult, error) {
	b, err := s.locked(ctx, in.Bucket, in.Key, in.ExpectedBucketOwner, in.RequestPayer, "GetObjectRetention")
	if err != nil {
		return nil, err
	}
	m, err := s.engine.Head(ctx, b.Engine, in.Key, in.VersionId)
	switch {
	case err != nil:
		return nil, versionFault(err, in.Bucket, in.Key, in.VersionId)
	case m.Lock.Mode == "":
		return nil, noSuchLock()
	}
	return &shape.GetObjectRetentionResult{Retention: &shape.ObjectLockRetention{Mode: m.Lock.Mode, RetainUntilDate: m.Lock.Until}}, nil
}

// PutObjectRetention sets a version's retention. One in compliance mode can only be made longer; one in governance
// mode is weakened by who may bypass it.
func (s *Service) PutObjectRetention(ctx context.Context, in *shape.PutObjectRetentionRequest) (*shape.PutObjectRetentionResult, error) {
	b, err := s.locked(ctx, in.Bucket, in.Key, in.ExpectedBucketOwner, in.RequestPayer, "PutObjectRetention")
	if err != nil {
		return nil, err
	}
	var want object.Lock
	if r := in.Retention; r != nil {
		want.Mode, want.Until = r.Mode, r.RetainUntilDate.UTC()
	}
	now := s.now()
	if want.Mode != "" || in.Retention != nil && !in.Retention.RetainUntilDate.IsZero() {
		if want.Mode != object.Governance && want.Mode != object.Compliance || in.Retention.RetainUntilDate.IsZero() {
			return nil, malformedXML()
		}
		if err := checkRetention(want.Mode, want.Until, now); err != nil {
			return nil, err
		}
	} else {
		want = object.Lock{}
	}
	bypass, err := s.bypass(ctx, b, in.Key, in.BypassGovernanceRetention)
	if err != nil {
		return nil, err
	}
	_, err = s.engine.Change(ctx, b.Engine, in.Key, in.VersionId, func(_ object.Meta, a *object.Attributes) error {
		old := a.Lock
		old.Hold = false
		stronger := want.Mode == old.Mode && !want.Until.Before(old.Until) || want.Mode == object.Compliance && old.Mode == object.Governance && !want.Until.Before(old.Until)
		if old.Holds(now, bypass) && !stronger {
			return object.ErrLocked
		}
		a.Lock.Mode, a.Lock.Until = want.Mode, want.Until
		return nil
	})
	if err != nil {
		return nil, versionFault(err, in.Bucket, in.Key, in.VersionId)
	}
	return &shape.PutObjectRetentionResult{}, nil
}

// GetObjectLegalHold answers a version's legal hold.
func (s *Service) GetObjectLegalHold(ctx context.Context, in *shape.GetObjectLegalHoldRequest) (*shape.GetObjectLegalHoldResult, error) {
	b, err := s.locked(ctx, in.Bucket, in.Key, in.ExpectedBucketOwner, in.RequestPayer, "GetObjectLegalHold")
	if err != nil {
		return nil, err
	}
	m, err := s.engine.Head(ctx, b.Engine, in.Key, in.VersionId)
	if err != nil {
		return nil, versionFault(err, in.Bucket, in.Key, in.VersionId)
	}
	status := "OFF"
	if m.Lock.Hold {
		status = "ON"
	}
	return &shape.GetObjectLegalHoldResult{LegalHold: &shape.ObjectLockLegalHold{Status: status}}, nil
}

// PutObjectLegalHold sets or lifts a version's legal hold.
func (s *Service) PutObjectLegalHold(ctx context.Context, in *shape.PutObjectLegalHoldRequest) (*shape.PutObjectLegalHoldResult, error) {
	if in.LegalHold == nil || in.LegalHold.Status != "ON" && in.LegalHold.Status != "OFF" {
		return nil, malformedXML()
	}
	b, err := s.locked(ctx, in.Bucket, in.Key, in.ExpectedBucketOwner, in.RequestPayer, "PutObjectLegalHold")
	if err != nil {
		return nil, err
	}
	_, err = s.engine.Change(ctx, b.Engine, in.Key, in.VersionId, func(_ object.Meta, a *object.Attributes) error {
		a.Lock.Hold = in.LegalHold.Status == "ON"
		return nil
	})
	if err != nil {
		return nil, versionFault(err, in.Bucket, in.Key, in.VersionId)
	}
	return &shape.PutObjectLegalHoldResult{}, nil
}
