package iam

import (
	"context"
	"time"

	"karri.dev/internal/aws/awserr"
	"karri.dev/internal/aws/call"
	shape "karri.dev/internal/aws/shape/iam"
	"karri.dev/internal/identity"
	"karri.dev/internal/resource"
	"karri.dev/internal/store"
)

// owner gives the user whose keys are meant, "" for root: the one named, or who is calling.
func owner(c call.Caller, name string) (string, error) {
	if name == "" {
		return c.UserName, nil
	}
	return name, identity.CheckUserName(name)
}

// CreateAccessKey makes a key and shows its secret, this once.
func (s *Service) CreateAccessKey(ctx context.Context, in *shape.CreateAccessKeyRequest) (*shape.CreateAccessKeyResult, error) {
	c := call.From(ctx).Caller
	user, err := owner(c, in.UserName)
	if err != nil {
		return nil, err
	}
	key := s.identity.RandomKey()
	var rec *resource.AccessKey
	err = s.update(ctx, func(tx *store.Tx) (err error) {
		rec, err = s.identity.AddKey(tx, c.AccountID, user, key)
		return err
	})
	if err != nil {
		return nil, err
	}
	return &shape.CreateAccessKeyResult{AccessKey: &shape.AccessKey{
		UserName: rec.UserName, AccessKeyId: key.ID, SecretAccessKey: key.Secret, Status: status(rec.Active), CreateDate: rec.CreatedAt,
	}}, nil
}

// ListAccessKeys lists a user's keys.
func (s *Service) ListAccessKeys(ctx context.Context, in *shape.ListAccessKeysRequest) (*shape.ListAccessKeysResult, error) {
	p, err := newPage(in.Marker, in.MaxItems)
	if err != nil {
		return nil, err
	}
	c, snap := call.From(ctx).Caller, s.store.Snapshot()
	user, err := owner(c, in.UserName)
	if err != nil {
		return nil, err
	}
	if user != "" {
		if _, err := identity.FindUser(snap, c.AccountID, user); err != nil {
			return nil, err
		}
	}
	out := &shape.ListAccessKeysResult{AccessKeyMetadata: []shape.AccessKeyMetadata{}}
	for k := range identity.KeysOf(snap, c.AccountID, user) {
		if k.ID <= p.after {
			continue
		}
		if n := len(out.AccessKeyMetadata); n == p.max {
			out.IsTruncated, out.Marker = true, marker(out.AccessKeyMetadata[n-1].AccessKeyId)
			break
		}
		out.AccessKeyMetadata = append(out.AccessKeyMetadata, shape.AccessKeyMetadata{
			UserName: k.UserName, AccessKeyId: k.ID, Status: status(k.Active), CreateDate: k.CreatedAt,
		})
	}
	return out, nil
}

// UpdateAccessKey activates or deactivates a key.
func (s *Service) UpdateAccessKey(ctx context.Context, in *shape.UpdateAccessKeyRequest) (*shape.UpdateAccessKeyResult, error) {
	if err := checkStatus(in.Status); err != nil {
		return nil, err
	}
	c := call.From(ctx).Caller
	err := s.changeKey(ctx, c, in.UserName, in.AccessKeyId, func(tx *store.Tx, k *resource.AccessKey) error {
		changed := *k
		changed.Active = in.Status == shape.StatusTypeActive
		return store.AccessKeys.Put(tx, &changed)
	})
	if err != nil {
		return nil, err
	}
	return &shape.UpdateAccessKeyResult{}, nil
}

// DeleteAccessKey deletes a key.
func (s *Service) DeleteAccessKey(ctx context.Context, in *shape.DeleteAccessKeyRequest) (*shape.DeleteAccessKeyResult, error) {
	c := call.From(ctx).Caller
	err := s.changeKey(ctx, c, in.UserName, in.AccessKeyId, func(tx *store.Tx, k *resource.AccessKey) error {
		store.AccessKeys.Delete(tx, k.ID)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return &shape.DeleteAccessKeyResult{}, nil
}

func (s *Service) changeKey(ctx context.Context, c call.Caller, userName, id string, change func(*store.Tx, *resource.AccessKey) error) error {
	user, err := owner(c, userName)
	if err != nil {
		return err
	}
	return s.update(ctx, func(tx *store.Tx) error {
		if user != "" {
			if _, err := identity.FindUser(tx, c.AccountID, user); err != nil {
				return err
			}
		}
		k, err := identity.FindKey(tx, c.AccountID, user, id)
		if err != nil {
			return err
		}
		return change(tx, k)
	})
}

// GetAccessKeyLastUsed says when a key of the account was last used, as far as this process knows.
func (s *Service) GetAccessKeyLastUsed(ctx context.Context, in *shape.GetAccessKeyLastUsedRequest) (*shape.GetAccessKeyLastUsedResult, error) {
	k := store.AccessKeys.Get(s.store.Snapshot(), in.AccessKeyId)
	if k == nil || k.AccountID != call.From(ctx).AccountID {
		return nil, awserr.New("AccessDenied", "User: %s is not authorized to perform: iam:GetAccessKeyLastUsed on resource: access key %.128s",
			call.From(ctx).ARN, in.AccessKeyId).WithStatus(403)
	}
	out := &shape.GetAccessKeyLastUsedResult{
		UserName:          k.UserName,
		AccessKeyLastUsed: &shape.AccessKeyLastUsed{ServiceName: "N/A", Region: "N/A"},
	}
	if use, ok := s.identity.LastUsed(k.ID); ok && !use.Time.Before(k.CreatedAt.Truncate(time.Second)) {
		*out.AccessKeyLastUsed = shape.AccessKeyLastUsed{LastUsedDate: use.Time, ServiceName: use.Service, Region: use.Region}
	}
	return out, nil
}
