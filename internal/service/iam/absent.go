package iam

import (
	"context"

	"karri.dev/internal/aws/call"
	shape "karri.dev/internal/aws/shape/iam"
	"karri.dev/internal/identity"
)

// What users cannot have here: nothing makes keys of other services, so that listing them truthfully answers none.
// Clients ask before they delete a user.

// exists checks the user of a listing. It may be empty where AWS then means the caller.
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

// ListServiceSpecificCredentials lists a user's passwords for single services.
func (s *Service) ListServiceSpecificCredentials(ctx context.Context, in *shape.ListServiceSpecificCredentialsRequest) (*shape.ListServiceSpecificCredentialsResult, error) {
	if err := s.exists(ctx, in.UserName); err != nil {
		return nil, err
	}
	return &shape.ListServiceSpecificCredentialsResult{ServiceSpecificCredentials: []shape.ServiceSpecificCredentialMetadata{}}, nil
}
