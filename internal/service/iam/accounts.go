package iam

import (
	"context"
	"errors"

	"karri.dev/internal/aws/call"
	shape "karri.dev/internal/aws/shape/iam"
	"karri.dev/internal/identity"
	"karri.dev/internal/resource"
	"karri.dev/internal/store"
)

// CreateAccountAlias gives the account an alias, in place of the one that it had.
func (s *Service) CreateAccountAlias(ctx context.Context, in *shape.CreateAccountAliasRequest) (*shape.CreateAccountAliasResult, error) {
	err := s.update(ctx, func(tx *store.Tx) error { return identity.SetAlias(tx, call.From(ctx).AccountID, in.AccountAlias) })
	if err != nil {
		return nil, err
	}
	return &shape.CreateAccountAliasResult{}, nil
}

// DeleteAccountAlias takes the account's alias away.
func (s *Service) DeleteAccountAlias(ctx context.Context, in *shape.DeleteAccountAliasRequest) (*shape.DeleteAccountAliasResult, error) {
	err := s.update(ctx, func(tx *store.Tx) error { return identity.RemoveAlias(tx, call.From(ctx).AccountID, in.AccountAlias) })
	if err != nil {
		return nil, err
	}
	return &shape.DeleteAccountAliasResult{}, nil
}

// ListAccountAliases gives the account's alias: its name until one is set.
func (s *Service) ListAccountAliases(ctx context.Context, in *shape.ListAccountAliasesRequest) (*shape.ListAccountAliasesResult, error) {
	p, err := newPage(in.Marker, in.MaxItems)
	if err != nil {
		return nil, err
	}
	out := &shape.ListAccountAliasesResult{AccountAliases: []string{}}
	if a := store.Accounts.Get(s.store.Snapshot(), call.From(ctx).AccountID); a != nil && a.AliasName() != "" && p.after == "" {
		out.AccountAliases = append(out.AccountAliases, a.AliasName())
	}
	return out, nil
}

// SetSecurityTokenServicePreferences says which session tokens the global endpoint gives: those that are good in the
// regions that every account has, or in all. Here every account has all regions.
func (s *Service) SetSecurityTokenServicePreferences(ctx context.Context, in *shape.SetSecurityTokenServicePreferencesRequest) (*shape.SetSecurityTokenServicePreferencesResult, error) {
	if v := in.GlobalEndpointTokenVersion; v != shape.GlobalEndpointTokenVersionV1Token && v != shape.GlobalEndpointTokenVersionV2Token {
		return nil, invalid("1 validation error detected: Value '%.64s' at 'globalEndpointTokenVersion' failed to satisfy constraint: Member must satisfy enum value set: [v1Token, v2Token]", v)
	}
	err := s.update(ctx, func(tx *store.Tx) error {
		a := store.Accounts.Get(tx, call.From(ctx).AccountID)
		if a == nil {
			return noEntity("The account cannot be found.")
		}
		next := *a
		next.TokenV2 = in.GlobalEndpointTokenVersion == shape.GlobalEndpointTokenVersionV2Token
		return store.Accounts.Put(tx, &next)
	})
	if err != nil {
		return nil, err
	}
	return &shape.SetSecurityTokenServicePreferencesResult{}, nil
}

// GetAccountSummary counts what the account has, and says how much it may have.
func (s *Service) GetAccountSummary(ctx context.Context, _ *shape.GetAccountSummaryRequest) (*shape.GetAccountSummaryResult, error) {
	r, account := s.store.Snapshot(), call.From(ctx).AccountID
	var failed error
	most := func(key string) int {
		n, _, err := s.quotas.Most(r, call.From(ctx), key)
		failed = errors.Join(failed, err)
		return int(n)
	}
	m := map[string]int{
		"Users": userKind.count(r, account), "UsersQuota": most("iam:quota-usernumber"),
		"Groups": groupKind.count(r, account), "GroupsQuota": most("iam:quota-groupnumber"),
		"Roles": roleKind.count(r, account), "RolesQuota": most("iam:quota-rolenumber"),
		"Policies": policyKind.count(r, account), "PoliciesQuota": most("iam:quota-policynumber"),
		"InstanceProfiles": profileKind.count(r, account), "InstanceProfilesQuota": most("iam:quota-instanceprofilenumber"),
		"ServerCertificates": serverCertificateKind.count(r, account), "ServerCertificatesQuota": serverCertificateKind.most,
		"MFADevices": deviceKind.count(r, account), "MFADevicesInUse": 0,
		"PolicySizeQuota": maxPolicy, "VersionsPerPolicyQuota": maxVersions, "PolicyVersionsInUse": 0, "PolicyVersionsInUseQuota": 10000,
		"AccessKeysPerUserQuota": identity.MaxKeysPerUser, "SigningCertificatesPerUserQuota": maxCertificates, "GroupsPerUserQuota": maxGroups,
		"AttachedPoliciesPerUserQuota": maxAttached, "AttachedPoliciesPerGroupQuota": maxAttached, "AttachedPoliciesPerRoleQuota": maxAttached,
		"UserPolicySizeQuota": inlineUser, "GroupPolicySizeQuota": inlineGroup, "RolePolicySizeQuota": inlineRole, "AssumeRolePolicySizeQuota": maxTrust,
		"Providers": 0, "AccountMFAEnabled": 0, "AccountPasswordPresent": 0, "AccountAccessKeysPresent": 0, "AccountSigningCertificatesPresent": 0,
		"GlobalEndpointTokenVersion": 1,
	}
	if failed != nil {
		return nil, failed
	}
	for d := range deviceKind.all(r, account, "") {
		if d.UserID != "" {
			m["MFADevicesInUse"]++
		}
	}
	for p := range policyKind.all(r, account, "") {
		m["PolicyVersionsInUse"] += len(p.Versions)
	}
	for range store.OIDCProvidersByAccount.By(r, account) {
		m["Providers"]++
	}
	for range store.SAMLProvidersByAccount.By(r, account) {
		m["Providers"]++
	}
	if store.LoginProfiles.Get(r, account) != nil {
		m["AccountPasswordPresent"] = 1
	}
	if store.MFADevicesByUser.One(r, account) != nil {
		m["AccountMFAEnabled"] = 1
	}
	for range identity.KeysOf(r, account, "") {
		m["AccountAccessKeysPresent"] = 1
	}
	if len(certificatesOf(r, &resource.User{AccountID: account})) > 0 {
		m["AccountSigningCertificatesPresent"] = 1
	}
	if a := store.Accounts.Get(r, account); a != nil && a.TokenV2 {
		m["GlobalEndpointTokenVersion"] = 2
	}
	return &shape.GetAccountSummaryResult{SummaryMap: m}, nil
}
