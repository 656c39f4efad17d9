package frontdoor

import (
	"context"

	"karri.dev/internal/authz"
	"karri.dev/internal/aws/awserr"
	"karri.dev/internal/aws/call"
)

// Authorizer decides calls. nil allows; the error should be an AWS error. authz.Engine is one.
type Authorizer interface {
	Authorize(ctx context.Context, c authz.Call) error
}

// withinSession refuses what AWS keeps from temporary credentials of users whatever their policies say: IAM, where
// no MFA device has vouched for them and no password began them, and the making of further credentials.
func withinSession(info *call.Info) error {
	if info.Session == nil || info.Session.Kind == call.RoleSession || info.Session.ImpersonatedBy != "" {
		return nil
	}
	federated := info.Session.Kind == call.FederatedSession
	switch {
	case info.Service == "iam" && (federated || !info.Session.MFA && !info.Session.Login):
		return awserr.New("InvalidClientTokenId", "The security token included in the request is invalid").WithStatus(403)
	case info.Service != "sts", info.Operation == "GetCallerIdentity", info.Operation == "AssumeRole" && !federated:
		return nil
	}
	return awserr.New("AccessDenied", "Cannot call %s with session credentials", info.Operation).WithStatus(403)
}
