package iam

import (
	"context"
	"slices"
	"strings"

	"karri.dev/internal/aws/awserr"
	"karri.dev/internal/aws/call"
	shape "karri.dev/internal/aws/shape/iam"
	"karri.dev/internal/identity"
	"karri.dev/internal/oidc"
	"karri.dev/internal/resource"
	"karri.dev/internal/store"
)

// AWS's limits of OpenID Connect providers.
const (
	maxOIDCProviders = 100
	maxClientIDs     = 100
	maxThumbprints   = 5
)

// Issuers looks at OpenID Connect providers; oidc.Verifier does.
type Issuers interface {
	Thumbprints(ctx context.Context, issuer string) ([]string, error)
	Ports() bool
}

func badInput(format string, args ...any) error { return awserr.New("InvalidInput", format, args...) }

func checkClientID(id string) error {
	if n := len([]rune(id)); n < 1 || n > 255 {
		return invalid("1 validation error detected: Value at 'clientID' failed to satisfy constraint: Member must have length between 1 and 255")
	}
	return nil
}

// clientsIn checks a list of client ids; one that is there twice counts once.
func clientsIn(list []string) (out []string, err error) {
	for _, id := range list {
		if err := checkClientID(id); err != nil {
			return nil, err
		}
		if !slices.Contains(out, id) {
			out = append(out, id)
		}
	}
	if len(out) > maxClientIDs {
		return nil, identity.OverQuota("ClientIdsPerOpenIdConnectProvider", maxClientIDs)
	}
	return out, nil
}

func thumbprintsIn(list []string) (out []string, err error) {
	if len(list) > maxThumbprints {
		return nil, badInput("Thumbprint list must contain fewer than %d entries.", maxThumbprints+1)
	}
	for _, t := range list {
		t = strings.ToLower(t)
		if len(t) != 40 || strings.Trim(t, "0123456789abcdef") != "" {
			return nil, invalid("1 validation error detected: Value at 'thumbprintList' failed to satisfy constraint: Member must satisfy constraint: [Member must have length 40 and be hexadecimal]")
		}
		if !slices.Contains(out, t) {
			out = append(out, t)
		}
	}
	return out, nil
}

// CreateOpenIDConnectProvider notes an issuer that the account trusts. Without thumbprints it is asked for its certificates.
func (s *Service) CreateOpenIDConnectProvider(ctx context.Context, in *shape.CreateOpenIDConnectProviderRequest) (*shape.CreateOpenIDConnectProviderResult, error) {
	if n := len(in.Url); n < 1 || n > 255 {
		return nil, invalid("1 validation error detected: Value at 'url' failed to satisfy constraint: Member must have length between 1 and 255")
	}
	url, err := oidc.CheckURL(in.Url, s.issuers.Ports())
	if err != nil {
		return nil, badInput("Invalid Open ID Connect Provider URL: %s", err)
	}
	p := &resource.OIDCProvider{AccountID: call.From(ctx).AccountID, URL: url, CreatedAt: s.identity.Now()}
	if p.Tags, err = tagsIn(in.Tags); err != nil {
		return nil, err
	}
	if p.ClientIDs, err = clientsIn(in.ClientIDList); err != nil {
		return nil, err
	}
	if p.Thumbprints, err = thumbprintsIn(in.ThumbprintList); err != nil {
		return nil, err
	}
	admit := func(r store.Reader) error {
		if store.OIDCProviders.Get(r, p.ARN()) != nil {
			return exists("Provider with url https://%s already exists.", url)
		}
		n := 0
		for range store.OIDCProvidersByAccount.By(r, p.AccountID) {
			n++
		}
		if n >= maxOIDCProviders {
			return identity.OverQuota("OpenIdConnectProvidersPerAccount", maxOIDCProviders)
		}
		return nil
	}
	if len(p.Thumbprints) == 0 {
		if err := admit(s.store.Snapshot()); err != nil { // before anybody is bothered
			return nil, err
		}
		if p.Thumbprints, err = s.issuers.Thumbprints(ctx, "https://"+url); err != nil {
			return nil, awserr.New("OpenIdIdpCommunicationError", "Please check .well-known/openid-configuration of provider: https://%s is valid.", url).Because(err)
		}
	}
	err = s.update(ctx, func(tx *store.Tx) error {
		if err := admit(tx); err != nil {
			return err
		}
		return store.OIDCProviders.Put(tx, p)
	})
	if err != nil {
		return nil, err
	}
	return &shape.CreateOpenIDConnectProviderResult{OpenIDConnectProviderArn: p.ARN(), Tags: tagsOut(p.Tags)}, nil
}

// oidcProvider gives the account's provider of this ARN.
func oidcProvider(ctx context.Context, r store.Reader, arn string) (*resource.OIDCProvider, error) {
	if _, rest, ok := strings.Cut(arn, ":oidc-provider/"); !ok || rest == "" || !strings.HasPrefix(arn, "arn:aws:iam::") {
		return nil, badInput("Invalid ARN: %.256s", arn)
	}
	p := store.OIDCProviders.Get(r, arn)
	if p == nil || p.AccountID != call.From(ctx).AccountID {
		return nil, noEntity("OpenIDConnect Provider not found for arn %.512s", arn)
	}
	return p, nil
}

// changeOIDC replaces a provider by what fn makes of a copy.
func (s *Service) changeOIDC(ctx context.Context, arn string, fn func(*resource.OIDCProvider) error) error {
	return s.update(ctx, func(tx *store.Tx) error {
		p, err := oidcProvider(ctx, tx, arn)
		if err != nil {
			return err
		}
		next := *p
		if err := fn(&next); err != nil {
			return err
		}
		return store.OIDCProviders.Put(tx, &next)
	})
}

// GetOpenIDConnectProvider gives a provider.
func (s *Service) GetOpenIDConnectProvider(ctx context.Context, in *shape.GetOpenIDConnectProviderRequest) (*shape.GetOpenIDConnectProviderResult, error) {
	p, err := oidcProvider(ctx, s.store.Snapshot(), in.OpenIDConnectProviderArn)
	if err != nil {
		return nil, err
	}
	return &shape.GetOpenIDConnectProviderResult{Url: p.URL, ClientIDList: p.ClientIDs, ThumbprintList: p.Thumbprints, CreateDate: p.CreatedAt, Tags: tagsOut(p.Tags)}, nil
}

// ListOpenIDConnectProviders lists the account's providers.
func (s *Service) ListOpenIDConnectProviders(ctx context.Context, _ *shape.ListOpenIDConnectProvidersRequest) (*shape.ListOpenIDConnectProvidersResult, error) {
	out := &shape.ListOpenIDConnectProvidersResult{OpenIDConnectProviderList: []shape.OpenIDConnectProviderListEntry{}}
	for p := range store.OIDCProvidersByAccount.By(s.store.Snapshot(), call.From(ctx).AccountID) {
		out.OpenIDConnectProviderList = append(out.OpenIDConnectProviderList, shape.OpenIDConnectProviderListEntry{Arn: p.ARN()})
	}
	return out, nil
}

// DeleteOpenIDConnectProvider deletes a provider; one that is not there does not matter. Roles that name it stay as they are,
// and nobody can take them through it.
func (s *Service) DeleteOpenIDConnectProvider(ctx context.Context, in *shape.DeleteOpenIDConnectProviderRequest) (*shape.DeleteOpenIDConnectProviderResult, error) {
	err := s.update(ctx, func(tx *store.Tx) error {
		p, err := oidcProvider(ctx, tx, in.OpenIDConnectProviderArn)
		if awserr.Code(err) == "NoSuchEntity" {
			return nil
		}
		if err == nil {
			store.OIDCProviders.Delete(tx, p.ARN())
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return &shape.DeleteOpenIDConnectProviderResult{}, nil
}

// UpdateOpenIDConnectProviderThumbprint replaces the thumbprints.
func (s *Service) UpdateOpenIDConnectProviderThumbprint(ctx context.Context, in *shape.UpdateOpenIDConnectProviderThumbprintRequest) (*shape.UpdateOpenIDConnectProviderThumbprintResult, error) {
	list, err := thumbprintsIn(in.ThumbprintList)
	if err != nil {
		return nil, err
	}
	if len(list) == 0 {
		return nil, badInput("Thumbprint list must contain at least one entry.")
	}
	err = s.changeOIDC(ctx, in.OpenIDConnectProviderArn, func(p *resource.OIDCProvider) error {
		p.Thumbprints = list
		return nil
	})
	if err != nil {
		return nil, err
	}
	return &shape.UpdateOpenIDConnectProviderThumbprintResult{}, nil
}

// AddClientIDToOpenIDConnectProvider adds a client (audience); one that is there already does not matter.
func (s *Service) AddClientIDToOpenIDConnectProvider(ctx context.Context, in *shape.AddClientIDToOpenIDConnectProviderRequest) (*shape.AddClientIDToOpenIDConnectProviderResult, error) {
	err := s.changeOIDC(ctx, in.OpenIDConnectProviderArn, func(p *resource.OIDCProvider) (err error) {
		p.ClientIDs, err = clientsIn(append(slices.Clone(p.ClientIDs), in.ClientID))
		return err
	})
	if err != nil {
		return nil, err
	}
	return &shape.AddClientIDToOpenIDConnectProviderResult{}, nil
}

// RemoveClientIDFromOpenIDConnectProvider removes a client; one that is not there does not matter.
func (s *Service) RemoveClientIDFromOpenIDConnectProvider(ctx context.Context, in *shape.RemoveClientIDFromOpenIDConnectProviderRequest) (*shape.RemoveClientIDFromOpenIDConnectProviderResult, error) {
	err := s.changeOIDC(ctx, in.OpenIDConnectProviderArn, func(p *resource.OIDCProvider) error {
		if err := checkClientID(in.ClientID); err != nil {
			return err
		}
		p.ClientIDs = slices.DeleteFunc(slices.Clone(p.ClientIDs), func(id string) bool { return id == in.ClientID })
		return nil
	})
	if err != nil {
		return nil, err
	}
	return &shape.RemoveClientIDFromOpenIDConnectProviderResult{}, nil
}

// TagOpenIDConnectProvider adds tags to a provider.
func (s *Service) TagOpenIDConnectProvider(ctx context.Context, in *shape.TagOpenIDConnectProviderRequest) (*shape.TagOpenIDConnectProviderResult, error) {
	change, err := adding(in.Tags)
	if err != nil {
		return nil, err
	}
	if err := s.retagOIDC(ctx, in.OpenIDConnectProviderArn, change); err != nil {
		return nil, err
	}
	return &shape.TagOpenIDConnectProviderResult{}, nil
}

// UntagOpenIDConnectProvider removes tags of a provider.
func (s *Service) UntagOpenIDConnectProvider(ctx context.Context, in *shape.UntagOpenIDConnectProviderRequest) (*shape.UntagOpenIDConnectProviderResult, error) {
	change, err := removing(in.TagKeys)
	if err != nil {
		return nil, err
	}
	if err := s.retagOIDC(ctx, in.OpenIDConnectProviderArn, change); err != nil {
		return nil, err
	}
	return &shape.UntagOpenIDConnectProviderResult{}, nil
}

func (s *Service) retagOIDC(ctx context.Context, arn string, change retag) error {
	return s.changeOIDC(ctx, arn, func(p *resource.OIDCProvider) (err error) {
		p.Tags, err = change(p.Tags)
		return err
	})
}

// ListOpenIDConnectProviderTags lists a provider's tags in order of key.
func (s *Service) ListOpenIDConnectProviderTags(ctx context.Context, in *shape.ListOpenIDConnectProviderTagsRequest) (*shape.ListOpenIDConnectProviderTagsResult, error) {
	pg, err := newPage(in.Marker, in.MaxItems)
	if err != nil {
		return nil, err
	}
	p, err := oidcProvider(ctx, s.store.Snapshot(), in.OpenIDConnectProviderArn)
	if err != nil {
		return nil, err
	}
	out := &shape.ListOpenIDConnectProviderTagsResult{}
	out.Tags, out.Marker = cut(pg, tagsOut(p.Tags), tagKey)
	out.IsTruncated = out.Marker != ""
	return out, nil
}
