// Package sts serves AWS's Security Token Service.
package sts

import (
	"context"

	"karri.dev/internal/aws/awserr"
	"karri.dev/internal/aws/call"
	shape "karri.dev/internal/aws/shape/sts"
	"karri.dev/internal/store"
)

// Service implements the operations.
type Service struct{ store *store.Store }

var _ shape.API = (*Service)(nil)

// New makes a Service.
func New(s *store.Store) *Service { return &Service{s} }

// GetCallerIdentity says who signed the request. Nobody needs leave for it.
func (s *Service) GetCallerIdentity(ctx context.Context, _ *shape.GetCallerIdentityRequest) (*shape.GetCallerIdentityResult, error) {
	c := call.From(ctx).Caller
	return &shape.GetCallerIdentityResult{Account: c.AccountID, Arn: c.ARN, UserId: c.UserID}, nil
}

// GetAccessKeyInfo says which account an access key belongs to; as in AWS, to everyone who knows its id.
func (s *Service) GetAccessKeyInfo(_ context.Context, in *shape.GetAccessKeyInfoRequest) (*shape.GetAccessKeyInfoResult, error) {
	if n := len(in.AccessKeyId); n < 16 || n > 128 {
		return nil, awserr.New("ValidationError", "1 validation error detected: Value at 'accessKeyId' failed to satisfy constraint: Member must have length between 16 and 128")
	}
	key := store.AccessKeys.Get(s.store.Snapshot(), in.AccessKeyId)
	if key == nil {
		return nil, awserr.New("ValidationError", "Access key not found: %.128s", in.AccessKeyId)
	}
	return &shape.GetAccessKeyInfoResult{Account: key.AccountID}, nil
}
