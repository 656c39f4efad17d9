package iam

import (
	"context"
	"crypto/rsa"
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

// maxCertificates is how many signing certificates AWS gives a user.
const maxCertificates = 2

// checkCertificate reads an X.509 certificate with an RSA key in PEM.
func checkCertificate(body string) ([]byte, error) {
	block, rest := pem.Decode([]byte(strings.TrimSpace(body)))
	if len(body) > 16384 || block == nil || block.Type != "CERTIFICATE" || len(strings.TrimSpace(string(rest))) > 0 {
		return nil, awserr.New("MalformedCertificate", "The certificate is not one certificate in PEM.")
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return nil, awserr.New("MalformedCertificate", "The certificate cannot be read.").Because(err)
	}
	key, ok := cert.PublicKey.(*rsa.PublicKey)
	if !ok || key.N.BitLen() < 1024 || key.N.BitLen() > 8192 {
		return nil, awserr.New("InvalidCertificate", "A signing certificate has an RSA key of 1024 to 8192 bits.")
	}
	return block.Bytes, nil
}

// certificateOwner gives the user whose certificates are meant: the one named, or who is calling.
func certificateOwner(r store.Reader, c call.Caller, name string) (*resource.User, error) {
	name, err := owner(c, name)
	if err != nil {
		return nil, err
	}
	if name == "" {
		return &resource.User{AccountID: c.AccountID}, nil
	}
	return identity.FindUser(r, c.AccountID, name)
}

// certificatesOf gives a user's certificates in order of id.
func certificatesOf(r store.Reader, u *resource.User) (out []*resource.SigningCertificate) {
	for c := range store.SigningCertificatesByAccount.By(r, u.AccountID) {
		if c.UserID == u.ID {
			out = append(out, c)
		}
	}
	return out
}

func shapeCertificate(c *resource.SigningCertificate) shape.SigningCertificate {
	return shape.SigningCertificate{UserName: c.UserName, CertificateId: c.ID, CertificateBody: c.PEM, Status: status(c.Active), UploadDate: c.UploadedAt}
}

// UploadSigningCertificate adds a certificate with which a user signs bundles.
func (s *Service) UploadSigningCertificate(ctx context.Context, in *shape.UploadSigningCertificateRequest) (*shape.UploadSigningCertificateResult, error) {
	der, err := checkCertificate(in.CertificateBody)
	if err != nil {
		return nil, err
	}
	info := call.From(ctx)
	id := strings.ToUpper(strings.TrimPrefix(s.identity.RandomKey().ID, "AKIA")) + strings.ToUpper(strings.TrimPrefix(s.identity.RandomKey().ID, "AKIA"))
	var made *resource.SigningCertificate
	err = s.update(ctx, func(tx *store.Tx) error {
		u, err := certificateOwner(tx, info.Caller, in.UserName)
		if err != nil {
			return err
		}
		have := certificatesOf(tx, u)
		for _, c := range have {
			if string(c.DER) == string(der) {
				return awserr.New("DuplicateCertificate", "The certificate is the user's already.").WithStatus(409)
			}
		}
		if len(have) >= maxCertificates {
			return awserr.New("LimitExceeded", "Cannot exceed quota for CertificatesPerUser: %d", maxCertificates).WithStatus(409)
		}
		made = &resource.SigningCertificate{
			ID: id, AccountID: u.AccountID, UserName: u.Name, UserID: u.ID, PEM: strings.TrimSpace(in.CertificateBody), DER: der, Active: true,
			UploadedAt: info.Time.UTC().Truncate(time.Second),
		}
		return store.SigningCertificates.Put(tx, made)
	})
	if err != nil {
		return nil, err
	}
	out := shapeCertificate(made)
	return &shape.UploadSigningCertificateResult{Certificate: &out}, nil
}

// ListSigningCertificates lists a user's X.509 certificates.
func (s *Service) ListSigningCertificates(ctx context.Context, in *shape.ListSigningCertificatesRequest) (*shape.ListSigningCertificatesResult, error) {
	p, err := newPage(in.Marker, in.MaxItems)
	if err != nil {
		return nil, err
	}
	snap := s.store.Snapshot()
	u, err := certificateOwner(snap, call.From(ctx).Caller, in.UserName)
	if err != nil {
		return nil, err
	}
	out := &shape.ListSigningCertificatesResult{Certificates: []shape.SigningCertificate{}}
	for _, c := range certificatesOf(snap, u) {
		if c.ID <= p.after {
			continue
		}
		if n := len(out.Certificates); n == p.max {
			out.IsTruncated, out.Marker = true, marker(out.Certificates[n-1].CertificateId)
			break
		}
		out.Certificates = append(out.Certificates, shapeCertificate(c))
	}
	return out, nil
}

// changeCertificate changes one of a user's certificates.
func (s *Service) changeCertificate(ctx context.Context, user, id string, change func(*store.Tx, *resource.SigningCertificate) error) error {
	return s.update(ctx, func(tx *store.Tx) error {
		u, err := certificateOwner(tx, call.From(ctx).Caller, user)
		if err != nil {
			return err
		}
		c := store.SigningCertificates.Get(tx, id)
		if c == nil || c.AccountID != u.AccountID || c.UserID != u.ID {
			return awserr.New("NoSuchEntity", "The Certificate with id %.128s cannot be found.", id).WithStatus(404)
		}
		return change(tx, c)
	})
}

// UpdateSigningCertificate activates or deactivates a certificate.
func (s *Service) UpdateSigningCertificate(ctx context.Context, in *shape.UpdateSigningCertificateRequest) (*shape.UpdateSigningCertificateResult, error) {
	if err := checkStatus(in.Status); err != nil {
		return nil, err
	}
	err := s.changeCertificate(ctx, in.UserName, in.CertificateId, func(tx *store.Tx, c *resource.SigningCertificate) error {
		next := *c
		next.Active = in.Status == shape.StatusTypeActive
		return store.SigningCertificates.Put(tx, &next)
	})
	if err != nil {
		return nil, err
	}
	return &shape.UpdateSigningCertificateResult{}, nil
}

// DeleteSigningCertificate deletes a certificate.
func (s *Service) DeleteSigningCertificate(ctx context.Context, in *shape.DeleteSigningCertificateRequest) (*shape.DeleteSigningCertificateResult, error) {
	err := s.changeCertificate(ctx, in.UserName, in.CertificateId, func(tx *store.Tx, c *resource.SigningCertificate) error {
		store.SigningCertificates.Delete(tx, c.ID)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return &shape.DeleteSigningCertificateResult{}, nil
}
