package iam

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/csv"
	"io"
	"slices"
	"strconv"
	"time"

	"karri.dev/internal/aws/awserr"
	"karri.dev/internal/aws/call"
	shape "karri.dev/internal/aws/shape/iam"
	"karri.dev/internal/identity"
	"karri.dev/internal/resource"
	"karri.dev/internal/store"
)

// reportLife is how long a credential report is good, and no other is made.
const reportLife = 4 * time.Hour

var reportColumns = []string{
	"user", "arn", "user_creation_time", "password_enabled", "password_last_used", "password_last_changed", "password_next_rotation", "mfa_active",
	"access_key_1_active", "access_key_1_last_rotated", "access_key_1_last_used_date", "access_key_1_last_used_region", "access_key_1_last_used_service",
	"access_key_2_active", "access_key_2_last_rotated", "access_key_2_last_used_date", "access_key_2_last_used_region", "access_key_2_last_used_service",
	"cert_1_active", "cert_1_last_rotated", "cert_2_active", "cert_2_last_rotated",
}

// GenerateCredentialReport makes a report about the credentials of the account's users, unless a recent one is there.
func (s *Service) GenerateCredentialReport(ctx context.Context, _ *shape.GenerateCredentialReportRequest) (*shape.GenerateCredentialReportResult, error) {
	r, account, now := s.store.Snapshot(), call.From(ctx).AccountID, s.identity.Now()
	if have := store.CredentialReports.Get(r, account); have != nil && now.Sub(have.MadeAt) < reportLife {
		return &shape.GenerateCredentialReportResult{State: shape.ReportStateTypeComplete}, nil
	}
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	if _, err := z.Write(s.credentialReport(r, account)); err != nil {
		return nil, err
	}
	if err := z.Close(); err != nil {
		return nil, err
	}
	rec := &resource.CredentialReport{AccountID: account, MadeAt: now, CSV: packed.Bytes()}
	if err := s.update(ctx, func(tx *store.Tx) error { return store.CredentialReports.Put(tx, rec) }); err != nil {
		return nil, err
	}
	return &shape.GenerateCredentialReportResult{State: shape.ReportStateTypeStarted, Description: "No report exists. Starting a new report generation task"}, nil
}

// GetCredentialReport gives the last report.
func (s *Service) GetCredentialReport(ctx context.Context, _ *shape.GetCredentialReportRequest) (*shape.GetCredentialReportResult, error) {
	rec := store.CredentialReports.Get(s.store.Snapshot(), call.From(ctx).AccountID)
	if rec == nil {
		return nil, awserr.New("ReportNotPresent", "No report has been generated for this account. Use GenerateCredentialReport to make one.").WithStatus(410)
	}
	if s.identity.Now().Sub(rec.MadeAt) >= reportLife {
		return nil, awserr.New("ReportExpired", "The most recent credential report has expired. Use GenerateCredentialReport to make another.").WithStatus(410)
	}
	z, err := gzip.NewReader(bytes.NewReader(rec.CSV))
	if err != nil {
		return nil, err
	}
	text, err := io.ReadAll(z)
	if err != nil {
		return nil, err
	}
	return &shape.GetCredentialReportResult{Content: text, ReportFormat: shape.ReportFormatTypeTextCsv, GeneratedTime: rec.MadeAt}, nil
}

// credentialReport writes the report as AWS does.
func (s *Service) credentialReport(r store.Reader, account string) []byte {
	var out bytes.Buffer
	w := csv.NewWriter(&out)
	put := func(row []string) { _ = w.Write(row) } // to memory
	put(reportColumns)
	if a := store.Accounts.Get(r, account); a != nil {
		used := "no_information"
		if p := store.LoginProfiles.Get(r, account); p != nil && !p.UsedAt.IsZero() {
			used = date(p.UsedAt)
		}
		root := []string{"<root_account>", identity.RootARN(account), date(a.CreatedAt), "not_supported", used, "not_supported", "not_supported", strconv.FormatBool(store.MFADevicesByUser.One(r, account) != nil)}
		put(append(root, s.reportKeys(r, &resource.User{AccountID: account})...))
	}
	rules := store.PasswordPolicies.Get(r, account)
	for u := range identity.UsersOf(r, account) {
		row := []string{u.Name, u.ARN(), date(u.CreatedAt), "false", "N/A", "N/A", "N/A"}
		if p := store.LoginProfiles.Get(r, u.ID); p != nil {
			used := "no_information"
			if !p.UsedAt.IsZero() {
				used = date(p.UsedAt)
			}
			row = []string{u.Name, u.ARN(), date(u.CreatedAt), "true", used, date(p.ChangedAt), date(rules.Expires(p.ChangedAt))}
		}
		row = append(row, strconv.FormatBool(store.MFADevicesByUser.One(r, u.ID) != nil))
		put(append(row, s.reportKeys(r, u)...))
	}
	w.Flush()
	return out.Bytes()
}

// reportKeys are the columns on access keys and signing certificates, the older ones first.
func (s *Service) reportKeys(r store.Reader, u *resource.User) (row []string) {
	keys := slices.SortedFunc(identity.KeysOf(r, u.AccountID, u.Name), func(a, b *resource.AccessKey) int { return a.CreatedAt.Compare(b.CreatedAt) })
	for i := range identity.MaxKeysPerUser {
		if i >= len(keys) {
			row = append(row, "false", "N/A", "N/A", "N/A", "N/A")
			continue
		}
		used, region, service := "N/A", "N/A", "N/A"
		if use, ok := s.identity.LastUsed(keys[i].ID); ok {
			used, region, service = date(use.Time), use.Region, use.Service
		}
		row = append(row, strconv.FormatBool(keys[i].Active), date(keys[i].CreatedAt), used, region, service)
	}
	certificates := certificatesOf(r, u)
	slices.SortFunc(certificates, func(a, b *resource.SigningCertificate) int { return a.UploadedAt.Compare(b.UploadedAt) })
	for i := range maxCertificates {
		if i >= len(certificates) {
			row = append(row, "false", "N/A")
			continue
		}
		row = append(row, strconv.FormatBool(certificates[i].Active), date(certificates[i].UploadedAt))
	}
	return row
}

// date writes a time as the report does, "N/A" for none.
func date(t time.Time) string {
	if t.IsZero() {
		return "N/A"
	}
	return t.UTC().Format("2006-01-02T15:04:05+00:00")
}
