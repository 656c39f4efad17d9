package sts

import (
	"context"
	"errors"
	"strings"
	"time"

	"karri.dev/internal/aws/call"
	shape "karri.dev/internal/aws/shape/sts"
	"karri.dev/internal/identity"
	"karri.dev/internal/totp"
)

// userSession begins a session of the caller, who must have signed with a long-lived key.
func (s *Service) userSession(ctx context.Context, operation string, kind call.SessionKind, seconds *int) (*call.Session, error) {
	info := call.From(ctx)
	if info.Session != nil {
		return nil, denied("Cannot call %s with session credentials", operation)
	}
	d, err := duration(seconds, defaultUser, longestUser)
	if err != nil {
		return nil, err
	}
	if info.Root() { // AWS gives root an hour where it asks for more
		d = min(d, longestRoot)
	}
	now := s.Now().UTC().Truncate(time.Second)
	return &call.Session{Kind: kind, AccountID: info.AccountID, PrincipalID: info.UserID, IssuedAt: now, ExpiresAt: now.Add(d)}, nil
}

// GetSessionToken gives the caller credentials of a session, for another device or with proof of MFA.
func (s *Service) GetSessionToken(ctx context.Context, in *shape.GetSessionTokenRequest) (*shape.GetSessionTokenResult, error) {
	of, err := s.userSession(ctx, "GetSessionToken", call.UserSession, in.DurationSeconds)
	if err != nil {
		return nil, err
	}
	if err := s.mfa(ctx, of, in.SerialNumber, in.TokenCode); err != nil {
		return nil, err
	}
	c, _, err := s.credentials(of)
	if err != nil {
		return nil, err
	}
	return &shape.GetSessionTokenResult{Credentials: c}, nil
}

// mfa checks a device's code, if one is given, and notes it in the session. Only users and root have devices.
func (s *Service) mfa(ctx context.Context, of *call.Session, serial, code string) error {
	info := call.From(ctx)
	switch {
	case serial == "" && code == "":
		return nil
	case serial == "" || code == "":
		return denied("MultiFactorAuthentication failed, must provide both MFA serial number and one time pass code.")
	case len(serial) < 9 || len(serial) > 256:
		return invalid("Value at 'serialNumber' failed to satisfy constraint: Member must have length between 9 and 256")
	case len(code) != totp.Digits || strings.Trim(code, "0123456789") != "":
		return invalid(`Value at 'tokenCode' failed to satisfy constraint: Member must satisfy regular expression pattern: [\d]{6}`)
	}
	err := identity.ErrNoDevice
	if (info.UserName != "" || info.Root()) && (info.Session == nil || info.Session.Kind == call.UserSession) {
		err = s.Sessions.CheckCode(ctx, info.UserID, serial, code)
	}
	switch {
	case errors.Is(err, identity.ErrNoDevice):
		return denied("MultiFactorAuthentication failed, unable to validate MFA code.  Please verify your MFA serial number is valid and associated with this user.")
	case errors.Is(err, identity.ErrCode):
		return denied("MultiFactorAuthentication failed with invalid MFA one time pass code.")
	case err != nil:
		return err
	}
	of.MFA, of.MFATime = true, s.Now().UTC().Truncate(time.Second)
	return nil
}

// GetFederationToken gives credentials for somebody whom the caller knows by name: they can do what both the
// caller's policies and the session's allow.
func (s *Service) GetFederationToken(ctx context.Context, in *shape.GetFederationTokenRequest) (*shape.GetFederationTokenResult, error) {
	if err := name("name", in.Name, 2, 32); err != nil {
		return nil, err
	}
	of, err := s.userSession(ctx, "GetFederationToken", call.FederatedSession, in.DurationSeconds)
	if err != nil {
		return nil, err
	}
	of.Name = in.Name
	if err := s.policies(of, in.Policy, in.PolicyArns); err != nil {
		return nil, err
	}
	if err := tags(of, in.Tags, nil); err != nil {
		return nil, err
	}
	c, packed, err := s.credentials(of)
	if err != nil {
		return nil, err
	}
	return &shape.GetFederationTokenResult{Credentials: c, PackedPolicySize: packed, FederatedUser: &shape.FederatedUser{
		FederatedUserId: of.AccountID + ":" + of.Name, Arn: "arn:aws:sts::" + of.AccountID + ":federated-user/" + of.Name,
	}}, nil
}
