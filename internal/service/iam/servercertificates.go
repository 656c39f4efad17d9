package iam

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"strings"
	"time"

	"karri.dev/internal/aws/awserr"
	"karri.dev/internal/aws/call"
	shape "karri.dev/internal/aws/shape/iam"
	"karri.dev/internal/identity"
	"karri.dev/internal/resource"
	"karri.dev/internal/store"
)

var serverCertificateKind = &kind[resource.ServerCertificate]{
	"Server Certificate", "serverCertificateName", 128, "ServerCertificatesPerAccount", 20, store.ServerCertificates,
	func(c *resource.ServerCertificate) string { return c.AccountID }, func(c *resource.ServerCertificate) string { return c.Name },
	func(c *resource.ServerCertificate) string { return c.Path },
}

const (
	maxPEM   = 16384
	maxChain = 2097152
)

// readCertificates reads PEM that holds certificates and nothing else.
func readCertificates(text string) (out []*x509.Certificate, ok bool) {
	rest := []byte(text)
	for len(strings.TrimSpace(string(rest))) > 0 {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil || block.Type != "CERTIFICATE" || len(out) > 100 {
			return nil, false
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, false
		}
		out = append(out, c)
	}
	return out, len(out) > 0
}

// checkServerCertificate checks that certificate, key and chain belong together now.
func checkServerCertificate(body, key, chain string, now time.Time) (*x509.Certificate, error) {
	malformed := func(format string, args ...any) error { return awserr.New("MalformedCertificate", format, args...) }
	for member, n := range map[string][2]int{"certificateBody": {len(body), maxPEM}, "privateKey": {len(key), maxPEM}, "certificateChain": {len(chain), maxChain}} {
		if n[0] > n[1] {
			return nil, invalid("1 validation error detected: Value at '%s' failed to satisfy constraint: Member must have length less than or equal to %d", member, n[1])
		}
	}
	leaf, ok := readCertificates(body)
	if !ok || len(leaf) != 1 {
		return nil, malformed("Unable to parse certificate. Please ensure the certificate is in PEM format.")
	}
	block, rest := pem.Decode([]byte(key))
	if block == nil || !strings.HasSuffix(block.Type, "PRIVATE KEY") || len(strings.TrimSpace(string(rest))) > 0 {
		return nil, malformed("Unable to parse private key. Please ensure the key is in PEM format.")
	}
	if block.Type == "ENCRYPTED PRIVATE KEY" || strings.Contains(block.Headers["Proc-Type"], "ENCRYPTED") {
		return nil, malformed("The private key must not be encrypted.")
	}
	if _, err := tls.X509KeyPair([]byte(body), []byte(key)); err != nil {
		return nil, awserr.New("KeyPairMismatch", "The private key does not match the public key in the certificate.").Because(err)
	}
	if now.Before(leaf[0].NotBefore) || !now.Before(leaf[0].NotAfter) {
		return nil, malformed("The certificate is not valid now: it is from %s to %s.", leaf[0].NotBefore.UTC().Format(time.RFC3339), leaf[0].NotAfter.UTC().Format(time.RFC3339))
	}
	if chain == "" {
		return leaf[0], nil
	}
	above, ok := readCertificates(chain)
	if !ok {
		return nil, malformed("Unable to parse certificate chain. Please ensure it is in PEM format.")
	}
	below := leaf[0]
	for i, c := range above {
		if below.CheckSignatureFrom(c) != nil {
			return nil, malformed("Unable to validate certificate chain. The certificate chain must start with the immediate signing certificate, followed by any intermediaries in order. The index within the chain of the invalid certificate is: %d", i)
		}
		below = c
	}
	return leaf[0], nil
}

func serverCertificateOut(c *resource.ServerCertificate) *shape.ServerCertificateMetadata {
	return &shape.ServerCertificateMetadata{
		Path: c.Path, ServerCertificateName: c.Name, ServerCertificateId: c.ID, Arn: c.ARN(), UploadDate: c.UploadedAt, Expiration: c.ExpiresAt,
	}
}

// UploadServerCertificate stores a certificate with its key, which nobody gets back.
func (s *Service) UploadServerCertificate(ctx context.Context, in *shape.UploadServerCertificateRequest) (*shape.UploadServerCertificateResult, error) {
	tags, err := tagsIn(in.Tags)
	if err != nil {
		return nil, err
	}
	now := s.identity.Now()
	leaf, err := checkServerCertificate(in.CertificateBody, in.PrivateKey, in.CertificateChain, now)
	if err != nil {
		return nil, err
	}
	c := &resource.ServerCertificate{
		AccountID: call.From(ctx).AccountID, Name: in.ServerCertificateName, ID: s.identity.NewID("ASCA"), Body: strings.TrimSpace(in.CertificateBody),
		Chain: strings.TrimSpace(in.CertificateChain), UploadedAt: now, ExpiresAt: leaf.NotAfter.UTC(), Tags: tags,
	}
	c.Sealed = s.identity.SealCertificateKey(c.ID, []byte(in.PrivateKey))
	err = s.update(ctx, func(tx *store.Tx) (err error) {
		if c.Path, err = serverCertificateKind.admit(tx, c.AccountID, in.ServerCertificateName, in.Path); err != nil {
			return err
		}
		return store.ServerCertificates.Put(tx, c)
	})
	if err != nil {
		return nil, err
	}
	return &shape.UploadServerCertificateResult{ServerCertificateMetadata: serverCertificateOut(c), Tags: tagsOut(c.Tags)}, nil
}

// GetServerCertificate gives a certificate without its key.
func (s *Service) GetServerCertificate(ctx context.Context, in *shape.GetServerCertificateRequest) (*shape.GetServerCertificateResult, error) {
	c, err := serverCertificateKind.find(s.store.Snapshot(), call.From(ctx).AccountID, in.ServerCertificateName)
	if err != nil {
		return nil, err
	}
	return &shape.GetServerCertificateResult{ServerCertificate: &shape.ServerCertificate{
		ServerCertificateMetadata: serverCertificateOut(c), CertificateBody: c.Body, CertificateChain: c.Chain, Tags: tagsOut(c.Tags),
	}}, nil
}

// ListServerCertificates lists the account's certificates in order of name.
func (s *Service) ListServerCertificates(ctx context.Context, in *shape.ListServerCertificatesRequest) (*shape.ListServerCertificatesResult, error) {
	p, err := newPage(in.Marker, in.MaxItems)
	if err != nil {
		return nil, err
	}
	list, next, err := serverCertificateKind.list(s.store.Snapshot(), call.From(ctx).AccountID, in.PathPrefix, p, nil)
	if err != nil {
		return nil, err
	}
	out := &shape.ListServerCertificatesResult{ServerCertificateMetadataList: []shape.ServerCertificateMetadata{}, Marker: next, IsTruncated: next != ""}
	for _, c := range list {
		out.ServerCertificateMetadataList = append(out.ServerCertificateMetadataList, *serverCertificateOut(c))
	}
	return out, nil
}

// changeServerCertificate replaces a certificate by what fn makes of a copy.
func (s *Service) changeServerCertificate(ctx context.Context, name string, fn func(tx *store.Tx, c *resource.ServerCertificate) error) error {
	account := call.From(ctx).AccountID
	return s.update(ctx, func(tx *store.Tx) error {
		c, err := serverCertificateKind.find(tx, account, name)
		if err != nil {
			return err
		}
		next := *c
		if err := fn(tx, &next); err != nil {
			return err
		}
		if next.Name != c.Name {
			store.ServerCertificates.Delete(tx, store.UserKey(account, c.Name))
		}
		return store.ServerCertificates.Put(tx, &next)
	})
}

// UpdateServerCertificate gives a certificate another name or path.
func (s *Service) UpdateServerCertificate(ctx context.Context, in *shape.UpdateServerCertificateRequest) (*shape.UpdateServerCertificateResult, error) {
	err := s.changeServerCertificate(ctx, in.ServerCertificateName, func(tx *store.Tx, c *resource.ServerCertificate) error {
		if in.NewPath != "" {
			if err := identity.CheckPath(in.NewPath); err != nil {
				return err
			}
			c.Path = in.NewPath
		}
		if in.NewServerCertificateName == "" {
			return nil
		}
		if err := checkName("newServerCertificateName", in.NewServerCertificateName, serverCertificateKind.longest); err != nil {
			return err
		}
		if had := store.ServerCertificates.Get(tx, store.UserKey(c.AccountID, in.NewServerCertificateName)); had != nil && had.ID != c.ID {
			return exists("The Server Certificate with name %s already exists.", in.NewServerCertificateName)
		}
		c.Name = in.NewServerCertificateName
		return nil
	})
	if err != nil {
		return nil, err
	}
	return &shape.UpdateServerCertificateResult{}, nil
}

// DeleteServerCertificate deletes a certificate and its key.
func (s *Service) DeleteServerCertificate(ctx context.Context, in *shape.DeleteServerCertificateRequest) (*shape.DeleteServerCertificateResult, error) {
	account := call.From(ctx).AccountID
	err := s.update(ctx, func(tx *store.Tx) error {
		c, err := serverCertificateKind.find(tx, account, in.ServerCertificateName)
		if err == nil {
			store.ServerCertificates.Delete(tx, store.UserKey(account, c.Name))
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return &shape.DeleteServerCertificateResult{}, nil
}

// TagServerCertificate adds tags to a certificate.
func (s *Service) TagServerCertificate(ctx context.Context, in *shape.TagServerCertificateRequest) (*shape.TagServerCertificateResult, error) {
	change, err := adding(in.Tags)
	if err != nil {
		return nil, err
	}
	err = s.changeServerCertificate(ctx, in.ServerCertificateName, func(_ *store.Tx, c *resource.ServerCertificate) (err error) {
		c.Tags, err = change(c.Tags)
		return err
	})
	if err != nil {
		return nil, err
	}
	return &shape.TagServerCertificateResult{}, nil
}

// UntagServerCertificate removes tags of a certificate.
func (s *Service) UntagServerCertificate(ctx context.Context, in *shape.UntagServerCertificateRequest) (*shape.UntagServerCertificateResult, error) {
	change, err := removing(in.TagKeys)
	if err != nil {
		return nil, err
	}
	err = s.changeServerCertificate(ctx, in.ServerCertificateName, func(_ *store.Tx, c *resource.ServerCertificate) (err error) {
		c.Tags, err = change(c.Tags)
		return err
	})
	if err != nil {
		return nil, err
	}
	return &shape.UntagServerCertificateResult{}, nil
}

// ListServerCertificateTags lists a certificate's tags in order of key.
func (s *Service) ListServerCertificateTags(ctx context.Context, in *shape.ListServerCertificateTagsRequest) (*shape.ListServerCertificateTagsResult, error) {
	p, err := newPage(in.Marker, in.MaxItems)
	if err != nil {
		return nil, err
	}
	c, err := serverCertificateKind.find(s.store.Snapshot(), call.From(ctx).AccountID, in.ServerCertificateName)
	if err != nil {
		return nil, err
	}
	out := &shape.ListServerCertificateTagsResult{}
	out.Tags, out.Marker = cut(p, tagsOut(c.Tags), tagKey)
	out.IsTruncated = out.Marker != ""
	return out, nil
}
