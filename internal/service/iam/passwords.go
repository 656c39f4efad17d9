package iam

import (
	"context"

	"karri.dev/internal/aws/call"
	shape "karri.dev/internal/aws/shape/iam"
	"karri.dev/internal/identity"
	"karri.dev/internal/resource"
	"karri.dev/internal/store"
)

// CreateLoginProfile gives a user a password.
func (s *Service) CreateLoginProfile(ctx context.Context, in *shape.CreateLoginProfileRequest) (*shape.CreateLoginProfileResult, error) {
	if err := identity.CheckUserName(in.UserName); err != nil {
		return nil, err
	}
	p, name, err := s.identity.CreateLoginProfile(ctx, call.From(ctx).AccountID, in.UserName, in.Password, given(in.PasswordResetRequired))
	if err != nil {
		return nil, err
	}
	return &shape.CreateLoginProfileResult{LoginProfile: loginProfileOut(name, p)}, nil
}

// GetLoginProfile says whether a user has a password, or who is calling where no name is given.
func (s *Service) GetLoginProfile(ctx context.Context, in *shape.GetLoginProfileRequest) (*shape.GetLoginProfileResult, error) {
	c := call.From(ctx).Caller
	name, err := owner(c, in.UserName)
	if err != nil {
		return nil, err
	}
	u, p, err := identity.FindLoginProfile(s.store.Snapshot(), c.AccountID, name)
	if err != nil {
		return nil, err
	}
	return &shape.GetLoginProfileResult{LoginProfile: loginProfileOut(u.Name, p)}, nil
}

// UpdateLoginProfile changes a user's password.
func (s *Service) UpdateLoginProfile(ctx context.Context, in *shape.UpdateLoginProfileRequest) (*shape.UpdateLoginProfileResult, error) {
	if err := s.identity.UpdateLoginProfile(ctx, call.From(ctx).AccountID, in.UserName, in.Password, in.PasswordResetRequired); err != nil {
		return nil, err
	}
	return &shape.UpdateLoginProfileResult{}, nil
}

// DeleteLoginProfile takes a user's password away.
func (s *Service) DeleteLoginProfile(ctx context.Context, in *shape.DeleteLoginProfileRequest) (*shape.DeleteLoginProfileResult, error) {
	if err := s.identity.DeleteLoginProfile(ctx, call.From(ctx).AccountID, in.UserName); err != nil {
		return nil, err
	}
	return &shape.DeleteLoginProfileResult{}, nil
}

// ChangePassword changes the caller's own password.
func (s *Service) ChangePassword(ctx context.Context, in *shape.ChangePasswordRequest) (*shape.ChangePasswordResult, error) {
	if err := s.identity.ChangePassword(ctx, in.OldPassword, in.NewPassword); err != nil {
		return nil, err
	}
	return &shape.ChangePasswordResult{}, nil
}

func loginProfileOut(user string, p *resource.LoginProfile) *shape.LoginProfile {
	return &shape.LoginProfile{UserName: user, CreateDate: p.CreatedAt, PasswordResetRequired: p.ResetRequired}
}

// UpdateAccountPasswordPolicy says what the account wants of passwords. As in AWS, what is not given gets its default.
func (s *Service) UpdateAccountPasswordPolicy(ctx context.Context, in *shape.UpdateAccountPasswordPolicyRequest) (*shape.UpdateAccountPasswordPolicyResult, error) {
	p := &resource.PasswordPolicy{
		AccountID: call.From(ctx).AccountID, Symbols: given(in.RequireSymbols), Numbers: given(in.RequireNumbers), Uppercase: given(in.RequireUppercaseCharacters),
		Lowercase: given(in.RequireLowercaseCharacters), HardExpiry: given(in.HardExpiry), AllowChange: given(in.AllowUsersToChangePassword),
	}
	for _, n := range []struct {
		member           string
		in               *int
		to               *int
		absent, low, top int
	}{
		{"minimumPasswordLength", in.MinimumPasswordLength, &p.MinLength, 6, 6, 128},
		{"maxPasswordAge", in.MaxPasswordAge, &p.MaxAge, 0, 1, 1095},
		{"passwordReusePrevention", in.PasswordReusePrevention, &p.Reuse, 0, 1, 24},
	} {
		*n.to = n.absent
		if n.in == nil {
			continue
		}
		if *n.in < n.low || *n.in > n.top {
			return nil, invalid("1 validation error detected: Value '%d' at '%s' failed to satisfy constraint: Member must have value between %d and %d", *n.in, n.member, n.low, n.top)
		}
		*n.to = *n.in
	}
	if err := s.update(ctx, func(tx *store.Tx) error { return store.PasswordPolicies.Put(tx, p) }); err != nil {
		return nil, err
	}
	return &shape.UpdateAccountPasswordPolicyResult{}, nil
}

// GetAccountPasswordPolicy gives the account's own policy.
func (s *Service) GetAccountPasswordPolicy(ctx context.Context, _ *shape.GetAccountPasswordPolicyRequest) (*shape.GetAccountPasswordPolicyResult, error) {
	p, err := passwordPolicy(s.store.Snapshot(), call.From(ctx).AccountID)
	if err != nil {
		return nil, err
	}
	return &shape.GetAccountPasswordPolicyResult{PasswordPolicy: &shape.PasswordPolicy{
		MinimumPasswordLength: p.MinLength, RequireSymbols: p.Symbols, RequireNumbers: p.Numbers, RequireUppercaseCharacters: p.Uppercase,
		RequireLowercaseCharacters: p.Lowercase, AllowUsersToChangePassword: p.AllowChange, ExpirePasswords: p.MaxAge > 0, MaxPasswordAge: p.MaxAge,
		PasswordReusePrevention: p.Reuse, HardExpiry: p.HardExpiry,
	}}, nil
}

// DeleteAccountPasswordPolicy brings AWS's default back.
func (s *Service) DeleteAccountPasswordPolicy(ctx context.Context, _ *shape.DeleteAccountPasswordPolicyRequest) (*shape.DeleteAccountPasswordPolicyResult, error) {
	err := s.update(ctx, func(tx *store.Tx) error {
		p, err := passwordPolicy(tx, call.From(ctx).AccountID)
		if err == nil {
			store.PasswordPolicies.Delete(tx, p.AccountID)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return &shape.DeleteAccountPasswordPolicyResult{}, nil
}

func passwordPolicy(r store.Reader, account string) (*resource.PasswordPolicy, error) {
	if p := store.PasswordPolicies.Get(r, account); p != nil {
		return p, nil
	}
	return nil, noEntity("The Password Policy with domain name %s cannot be found.", account)
}

func given(v *bool) bool { return v != nil && *v }
