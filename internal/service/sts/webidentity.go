package sts

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"time"

	"karri.dev/internal/aws/awserr"
	"karri.dev/internal/aws/call"
	shape "karri.dev/internal/aws/shape/sts"
	"karri.dev/internal/oidc"
	"karri.dev/internal/policy"
	"karri.dev/internal/store"
)

// Tokens verifies those of OpenID Connect providers; oidc.Verifier does.
type Tokens interface {
	Verify(ctx context.Context, p *oidc.Provider, token string) (*oidc.Claims, error)
}

// AssumeRoleWithWebIdentity gives credentials of a role to whom a provider of the role's account vouches for. Nobody signs it.
func (s *Service) AssumeRoleWithWebIdentity(ctx context.Context, in *shape.AssumeRoleWithWebIdentityRequest) (*shape.AssumeRoleWithWebIdentityResult, error) {
	account, err := checkRole(in.RoleArn)
	if err != nil {
		return nil, err
	}
	if err := name("roleSessionName", in.RoleSessionName, 2, 64); err != nil {
		return nil, err
	}
	if n := len(in.WebIdentityToken); n < 4 || n > 20000 {
		return nil, invalid("Value at 'webIdentityToken' failed to satisfy constraint: Member must have length between 4 and 20000")
	}
	if in.ProviderId != "" { // of OAuth 2.0 access tokens, which are good only at their one provider
		return nil, awserr.New("InvalidParameterValue", "ProviderId must not be given with an OpenID Connect ID token; OAuth 2.0 access tokens of www.amazon.com and graph.facebook.com are not supported by this cloud.")
	}
	d, err := duration(in.DurationSeconds, defaultRole, longestRole)
	if err != nil {
		return nil, err
	}
	p, arn, err := s.issuer(account, in.WebIdentityToken)
	if err != nil {
		return nil, err
	}
	claims, err := s.Tokens.Verify(ctx, p, in.WebIdentityToken)
	if err != nil {
		return nil, badToken(err)
	}
	now := s.Now().UTC().Truncate(time.Second)
	of := &call.Session{
		Kind: call.RoleSession, AccountID: account, Name: in.RoleSessionName, IssuedAt: now, ExpiresAt: now.Add(d),
		SourceIdentity: claims.Source, Provider: arn, Subject: claims.Subject,
	}
	w := &wish{action: s.actions.web, as: &policy.Principal{Kind: policy.External, ARN: arn}, arn: in.RoleArn, role: s.findRole(in.RoleArn), of: of}
	if err := w.said(claims); err != nil {
		return nil, err
	}
	if err := tags(of, w.tags, w.transitive); err != nil {
		return nil, err
	}
	call.From(ctx).Federated = &call.Federated{
		Type: "WebIdentityUser", Provider: arn, Subject: claims.Subject, ID: arn + ":" + claims.Client() + ":" + claims.Subject, Account: account,
	}
	c, packed, err := s.issue(ctx, w, d, in.Policy, in.PolicyArns)
	if err != nil {
		return nil, err
	}
	return &shape.AssumeRoleWithWebIdentityResult{
		Credentials: c, PackedPolicySize: packed, AssumedRoleUser: w.user(), SourceIdentity: of.SourceIdentity,
		SubjectFromWebIdentityToken: claims.Subject, Provider: arn, Audience: claims.Client(),
	}, nil
}

// issuer finds the provider whose token it is said to be, in the role's account.
func (s *Service) issuer(account, token string) (*oidc.Provider, string, error) {
	issuer, err := oidc.Issuer(token)
	if err != nil {
		return nil, "", badToken(err)
	}
	snap := s.Store.Snapshot()
	url, https := strings.CutPrefix(issuer, "https://")
	p := store.OIDCProviders.Get(snap, "arn:aws:iam::"+account+":oidc-provider/"+url)
	if a := store.Accounts.Get(snap, account); p == nil || !https || a == nil || !a.Open() {
		return nil, "", awserr.New("InvalidIdentityToken", "No OpenIDConnect provider found in your account for %.256s", issuer)
	}
	return &oidc.Provider{AccountID: account, Issuer: issuer, ClientIDs: p.ClientIDs, Thumbprints: p.Thumbprints}, p.ARN(), nil
}

// badToken says in STS's words why a token was refused.
func badToken(err error) error {
	var e *oidc.Error
	if !errors.As(err, &e) {
		return err
	}
	switch e.Reason {
	case oidc.Expired:
		return awserr.New("ExpiredTokenException", "%s", e.Message).Because(err)
	case oidc.Communication:
		return awserr.New("IDPCommunicationError", "%s", e.Message).Because(err)
	}
	return awserr.New("InvalidIdentityToken", "%s", e.Message).Because(err)
}

// said takes over what a token says: condition keys under the issuer's name, session tags.
func (w *wish) said(c *oidc.Claims) error {
	prefix := strings.ToLower(strings.TrimPrefix(c.Issuer, "https://")) + ":"
	w.claims = map[string]policy.Value{
		prefix + "sub": policy.String(c.Subject),
		prefix + "aud": policy.String(c.Client()),
	}
	w.of.Claims = map[string]string{prefix + "sub": c.Subject, prefix + "aud": c.Client()}
	if c.Party != "" {
		w.claims[prefix+"oaud"] = policy.Strings(c.Audience)
	}
	if len(c.Methods) > 0 {
		w.claims[prefix+"amr"] = policy.Strings(c.Methods)
	}
	if c.Source != "" {
		if err := name("sourceIdentity", c.Source, 2, 64); err != nil {
			return err
		}
	}
	if c.Tags == nil {
		return nil
	}
	for _, key := range slices.Sorted(maps.Keys(c.Tags.Principal)) {
		values := c.Tags.Principal[key]
		if len(values) != 1 {
			return awserr.New("InvalidIdentityToken", "The session tag %.128s in the ID Token provided must have one value", key)
		}
		w.tags = append(w.tags, shape.Tag{Key: key, Value: values[0]})
	}
	w.transitive = c.Tags.Transitive
	return nil
}
