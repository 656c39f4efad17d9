// Package sts serves AWS's Security Token Service: who is calling, and temporary credentials.
package sts

import (
	"context"
	"time"

	"karri.dev/internal/aws/awserr"
	"karri.dev/internal/aws/call"
	shape "karri.dev/internal/aws/shape/sts"
	"karri.dev/internal/denial"
	"karri.dev/internal/policy"
	"karri.dev/internal/session"
	"karri.dev/internal/store"
)

// Sessions makes credentials, and checks codes of MFA devices; identity.Identity does.
type Sessions interface {
	NewSession(s *call.Session) (session.Credentials, error)
	CheckCode(ctx context.Context, userID, serial, code string) error
}

// Deps are what the service works with.
type Deps struct {
	Store    *store.Store
	Sessions Sessions
	Denials  *denial.Codec
	Roles    Roles
	Tokens   Tokens
	Endpoint string // URL of the API, by which SAML providers may mean this cloud
	Now      func() time.Time
}

// Service implements the operations.
type Service struct {
	Deps
	managed  map[string]bool // ARNs of the cloud's own policies
	actions  actions
	metadata parsed // of SAML providers
}

var _ shape.API = (*Service)(nil)

// New makes a Service.
func New(deps Deps) *Service {
	if deps.Now == nil {
		deps.Now = time.Now
	}
	s := &Service{Deps: deps, managed: map[string]bool{}, actions: newActions()}
	managed, err := policy.Managed()
	if err != nil {
		panic(err) // they are part of the program
	}
	for _, m := range managed {
		s.managed[m.ARN()] = true
	}
	return s
}

// GetCallerIdentity says who signed the request. Nobody needs leave for it.
func (s *Service) GetCallerIdentity(ctx context.Context, _ *shape.GetCallerIdentityRequest) (*shape.GetCallerIdentityResult, error) {
	c := call.From(ctx).Caller
	return &shape.GetCallerIdentityResult{Account: c.AccountID, Arn: c.ARN, UserId: c.UserID}, nil
}

// GetAccessKeyInfo says which account an access key belongs to; as in AWS, to everyone who knows its id. The id of
// a session's key tells it by itself.
func (s *Service) GetAccessKeyInfo(_ context.Context, in *shape.GetAccessKeyInfoRequest) (*shape.GetAccessKeyInfoResult, error) {
	if n := len(in.AccessKeyId); n < 16 || n > 128 {
		return nil, awserr.New("ValidationError", "1 validation error detected: Value at 'accessKeyId' failed to satisfy constraint: Member must have length between 16 and 128")
	}
	r := s.Store.Snapshot()
	if key := store.AccessKeys.Get(r, in.AccessKeyId); key != nil {
		return &shape.GetAccessKeyInfoResult{Account: key.AccountID}, nil
	}
	if account, ok := session.Account(in.AccessKeyId); ok && store.Accounts.Get(r, account) != nil {
		return &shape.GetAccessKeyInfoResult{Account: account}, nil
	}
	return nil, awserr.New("ValidationError", "Access key not found: %.128s", in.AccessKeyId)
}

// DecodeAuthorizationMessage opens the message of a refusal within the caller's account.
func (s *Service) DecodeAuthorizationMessage(ctx context.Context, in *shape.DecodeAuthorizationMessageRequest) (*shape.DecodeAuthorizationMessageResult, error) {
	text, err := s.Denials.Decode(call.From(ctx).AccountID, in.EncodedMessage)
	if err != nil {
		return nil, awserr.New("InvalidAuthorizationMessageException", "Message is not valid").Because(err)
	}
	return &shape.DecodeAuthorizationMessageResult{DecodedMessage: text}, nil
}
