package iam

import (
	"context"
	"strings"
	"time"

	"karri.dev/internal/aws/call"
	shape "karri.dev/internal/aws/shape/iam"
	"karri.dev/internal/identity"
	"karri.dev/internal/resource"
	"karri.dev/internal/saml"
	"karri.dev/internal/store"
)

// AWS's limits of SAML providers. A metadata document has at most what fits into a request.
const (
	maxSAMLProviders = 100
	leastMetadata    = 1000
	mostMetadata     = 10_000_000
)

// describe takes a metadata document over.
func describe(p *resource.SAMLProvider, metadata string) error {
	if n := len(metadata); n < leastMetadata || n > mostMetadata {
		return invalid("1 validation error detected: Value at 'sAMLMetadataDocument' failed to satisfy constraint: Member must have length between %d and %d", leastMetadata, mostMetadata)
	}
	m, err := saml.ParseMetadata(metadata)
	if err != nil {
		return badInput("Could not parse metadata: %s", err)
	}
	p.Metadata, p.ValidUntil = metadata, m.ValidUntil
	if p.ValidUntil.IsZero() {
		p.ValidUntil = p.CreatedAt.AddDate(100, 0, 0)
	}
	return nil
}

// encrypted refuses what concerns encrypted assertions: they are not read.
func encrypted(members ...string) error {
	if strings.Join(members, "") != "" {
		return badInput("Encrypted assertions (AssertionEncryptionMode, AddPrivateKey, RemovePrivateKey) are not supported by this cloud.")
	}
	return nil
}

// CreateSAMLProvider notes a SAML provider that the account trusts.
func (s *Service) CreateSAMLProvider(ctx context.Context, in *shape.CreateSAMLProviderRequest) (*shape.CreateSAMLProviderResult, error) {
	if err := encrypted(in.AssertionEncryptionMode, in.AddPrivateKey); err != nil {
		return nil, err
	}
	if n := len(in.Name); n < 1 || n > 128 || strings.Trim(in.Name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-") != "" {
		return nil, invalid(`1 validation error detected: Value at 'name' failed to satisfy constraint: Member must have length between 1 and 128 and satisfy regular expression pattern: [\w._-]+`)
	}
	p := &resource.SAMLProvider{AccountID: call.From(ctx).AccountID, Name: in.Name, UUID: "SAMLSP" + strings.TrimPrefix(s.identity.NewID("AIDA"), "AIDA"), CreatedAt: s.identity.Now()}
	var err error
	if p.Tags, err = tagsIn(in.Tags); err != nil {
		return nil, err
	}
	if err := describe(p, in.SAMLMetadataDocument); err != nil {
		return nil, err
	}
	err = s.update(ctx, func(tx *store.Tx) error {
		n := 0
		for other := range store.SAMLProvidersByAccount.By(tx, p.AccountID) {
			if n++; strings.EqualFold(other.Name, p.Name) {
				return exists("SAMLProvider %s already exists.", p.Name)
			}
		}
		if n >= maxSAMLProviders {
			return identity.OverQuota("SAMLProvidersPerAccount", maxSAMLProviders)
		}
		return store.SAMLProviders.Put(tx, p)
	})
	if err != nil {
		return nil, err
	}
	return &shape.CreateSAMLProviderResult{SAMLProviderArn: p.ARN(), Tags: tagsOut(p.Tags)}, nil
}

// samlProvider gives the account's provider of this ARN.
func samlProvider(ctx context.Context, r store.Reader, arn string) (*resource.SAMLProvider, error) {
	if _, rest, ok := strings.Cut(arn, ":saml-provider/"); !ok || rest == "" || !strings.HasPrefix(arn, "arn:aws:iam::") {
		return nil, badInput("Invalid ARN: %.256s", arn)
	}
	p := store.SAMLProviders.Get(r, arn)
	if p == nil || p.AccountID != call.From(ctx).AccountID {
		return nil, noEntity("Manifest not found for arn %.512s", arn)
	}
	return p, nil
}

// changeSAML replaces a provider by what fn makes of a copy.
func (s *Service) changeSAML(ctx context.Context, arn string, fn func(*resource.SAMLProvider) error) error {
	return s.update(ctx, func(tx *store.Tx) error {
		p, err := samlProvider(ctx, tx, arn)
		if err != nil {
			return err
		}
		next := *p
		if err := fn(&next); err != nil {
			return err
		}
		return store.SAMLProviders.Put(tx, &next)
	})
}

// GetSAMLProvider gives a provider with its metadata.
func (s *Service) GetSAMLProvider(ctx context.Context, in *shape.GetSAMLProviderRequest) (*shape.GetSAMLProviderResult, error) {
	p, err := samlProvider(ctx, s.store.Snapshot(), in.SAMLProviderArn)
	if err != nil {
		return nil, err
	}
	return &shape.GetSAMLProviderResult{
		SAMLProviderUUID: p.UUID, SAMLMetadataDocument: p.Metadata, CreateDate: p.CreatedAt, ValidUntil: p.ValidUntil.Truncate(time.Second), Tags: tagsOut(p.Tags),
	}, nil
}

// ListSAMLProviders lists the account's providers.
func (s *Service) ListSAMLProviders(ctx context.Context, _ *shape.ListSAMLProvidersRequest) (*shape.ListSAMLProvidersResult, error) {
	out := &shape.ListSAMLProvidersResult{SAMLProviderList: []shape.SAMLProviderListEntry{}}
	for p := range store.SAMLProvidersByAccount.By(s.store.Snapshot(), call.From(ctx).AccountID) {
		out.SAMLProviderList = append(out.SAMLProviderList, shape.SAMLProviderListEntry{Arn: p.ARN(), ValidUntil: p.ValidUntil.Truncate(time.Second), CreateDate: p.CreatedAt})
	}
	return out, nil
}

// UpdateSAMLProvider replaces the metadata.
func (s *Service) UpdateSAMLProvider(ctx context.Context, in *shape.UpdateSAMLProviderRequest) (*shape.UpdateSAMLProviderResult, error) {
	if err := encrypted(in.AssertionEncryptionMode, in.AddPrivateKey, in.RemovePrivateKey); err != nil {
		return nil, err
	}
	err := s.changeSAML(ctx, in.SAMLProviderArn, func(p *resource.SAMLProvider) error { return describe(p, in.SAMLMetadataDocument) })
	if err != nil {
		return nil, err
	}
	return &shape.UpdateSAMLProviderResult{SAMLProviderArn: in.SAMLProviderArn}, nil
}

// DeleteSAMLProvider deletes a provider. Roles that name it stay as they are, and nobody can take them through it.
func (s *Service) DeleteSAMLProvider(ctx context.Context, in *shape.DeleteSAMLProviderRequest) (*shape.DeleteSAMLProviderResult, error) {
	err := s.update(ctx, func(tx *store.Tx) error {
		p, err := samlProvider(ctx, tx, in.SAMLProviderArn)
		if err != nil {
			return err
		}
		store.SAMLProviders.Delete(tx, p.ARN())
		return nil
	})
	if err != nil {
		return nil, err
	}
	return &shape.DeleteSAMLProviderResult{}, nil
}

// TagSAMLProvider adds tags to a provider.
func (s *Service) TagSAMLProvider(ctx context.Context, in *shape.TagSAMLProviderRequest) (*shape.TagSAMLProviderResult, error) {
	change, err := adding(in.Tags)
	if err != nil {
		return nil, err
	}
	if err := s.retagSAML(ctx, in.SAMLProviderArn, change); err != nil {
		return nil, err
	}
	return &shape.TagSAMLProviderResult{}, nil
}

// UntagSAMLProvider removes tags of a provider.
func (s *Service) UntagSAMLProvider(ctx context.Context, in *shape.UntagSAMLProviderRequest) (*shape.UntagSAMLProviderResult, error) {
	change, err := removing(in.TagKeys)
	if err != nil {
		return nil, err
	}
	if err := s.retagSAML(ctx, in.SAMLProviderArn, change); err != nil {
		return nil, err
	}
	return &shape.UntagSAMLProviderResult{}, nil
}

func (s *Service) retagSAML(ctx context.Context, arn string, change retag) error {
	return s.changeSAML(ctx, arn, func(p *resource.SAMLProvider) (err error) {
		p.Tags, err = change(p.Tags)
		return err
	})
}

// ListSAMLProviderTags lists a provider's tags in order of key.
func (s *Service) ListSAMLProviderTags(ctx context.Context, in *shape.ListSAMLProviderTagsRequest) (*shape.ListSAMLProviderTagsResult, error) {
	pg, err := newPage(in.Marker, in.MaxItems)
	if err != nil {
		return nil, err
	}
	p, err := samlProvider(ctx, s.store.Snapshot(), in.SAMLProviderArn)
	if err != nil {
		return nil, err
	}
	out := &shape.ListSAMLProviderTagsResult{}
	out.Tags, out.Marker = cut(pg, tagsOut(p.Tags), tagKey)
	out.IsTruncated = out.Marker != ""
	return out, nil
}
