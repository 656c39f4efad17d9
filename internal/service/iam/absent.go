package iam

import (
	"context"

	"karri.dev/internal/aws/call"
	shape "karri.dev/internal/aws/shape/iam"
	"karri.dev/internal/identity"
)

// What users cannot have here: nothing makes keys of other services, so that listing them truthfully answers none.
// Clients ask before they delete a user.

// none checks a listing's request. user may be empty where AWS then means the caller.
func (s *Service) none(ctx context.Context, user, marker string, maxItems *int) error {
	if _, err := newPage(marker, maxItems); err != nil {
		return err
	}
	return s.exists(ctx, user)
}

func (s *Service) exists(ctx context.Context, user string) error {
	if user == "" {
		return nil
	}
	if err := identity.CheckUserName(user); err != nil {
		return err
	}
	_, err := identity.FindUser(s.store.Snapshot(), call.From(ctx).AccountID, user)
	return err
}

// ListSSHPublicKeys lists a user's keys for CodeCommit.
func (s *Service) ListSSHPublicKeys(ctx context.Context, in *shape.ListSSHPublicKeysRequest) (*shape.ListSSHPublicKeysResult, error) {
	if err := s.none(ctx, in.UserName, in.Marker, in.MaxItems); err != nil {
		return nil, err
	}
	return &shape.ListSSHPublicKeysResult{SSHPublicKeys: []shape.SSHPublicKeyMetadata{}}, nil
}

// ListServiceSpecificCredentials lists a user's passwords for single services.
func (s *Service) ListServiceSpecificCredentials(ctx context.Context, in *shape.ListServiceSpecificCredentialsRequest) (*shape.ListServiceSpecificCredentialsResult, error) {
	if err := s.exists(ctx, in.UserName); err != nil {
		return nil, err
	}
	return &shape.ListServiceSpecificCredentialsResult{ServiceSpecificCredentials: []shape.ServiceSpecificCredentialMetadata{}}, nil
}
