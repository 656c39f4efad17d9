package frontdoor

import (
	"context"

	"karri.dev/internal/aws/awserr"
	"karri.dev/internal/aws/call"
	"karri.dev/internal/aws/wire"
)

// Access is a decoded call that asks for leave.
type Access struct {
	Info      *call.Info
	Service   *wire.Service
	Operation string
	Input     any // pointer to the operation's request struct
}

// Authorizer decides calls. nil allows; the error should be an AWS error. This is the place of IAM policies.
type Authorizer interface {
	Authorize(ctx context.Context, a Access) error
}

// OwnAccount lets every authenticated principal of an account do everything within its account, and
// anonymous callers nothing. That a call stays within its account is the handlers' duty: they look records
// up by the caller's account.
type OwnAccount struct{}

// Authorize implements Authorizer.
func (OwnAccount) Authorize(_ context.Context, a Access) error {
	if a.Info.Anonymous() {
		return accessDenied(a.Service)
	}
	if s := a.Info.Session; s != nil && s.Kind != call.UserSession && a.Info.Service != "sts" {
		// Policies limit these sessions, and here none are looked at.
		return awserr.New("AccessDenied", "User: %s is not authorized to perform: %s:%s", a.Info.ARN, a.Info.Service, a.Operation).WithStatus(403)
	}
	return nil
}

// withinSession refuses what AWS keeps from temporary credentials of users whatever their policies say: IAM, where
// no MFA device has vouched for them, and the making of further credentials.
func withinSession(info *call.Info) error {
	if info.Session == nil || info.Session.Kind == call.RoleSession || info.Session.ImpersonatedBy != "" {
		return nil
	}
	federated := info.Session.Kind == call.FederatedSession
	switch {
	case info.Service == "iam" && (federated || !info.Session.MFA):
		return awserr.New("InvalidClientTokenId", "The security token included in the request is invalid").WithStatus(403)
	case info.Service != "sts", info.Operation == "GetCallerIdentity", info.Operation == "AssumeRole" && !federated:
		return nil
	}
	return awserr.New("AccessDenied", "Cannot call %s with session credentials", info.Operation).WithStatus(403)
}

// accessDenied is what an anonymous caller hears.
func accessDenied(s *wire.Service) error {
	switch s.Protocol {
	case wire.RestXML:
		return awserr.New("AccessDenied", "Access Denied").WithStatus(403)
	case wire.EC2:
		return awserr.New("AuthFailure", "AWS was not able to validate the provided access credentials").WithStatus(401)
	}
	if s.Protocol == wire.JSON {
		return awserr.New("MissingAuthenticationTokenException", "Request is missing Authentication Token")
	}
	return awserr.New("MissingAuthenticationToken", "Request is missing Authentication Token").WithStatus(403)
}
