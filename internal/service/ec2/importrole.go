package ec2

import (
	"context"

	"karri.dev/internal/authz"
	"karri.dev/internal/aws/awserr"
	"karri.dev/internal/aws/call"
	"karri.dev/internal/policy"
	"karri.dev/internal/resource"
	"karri.dev/internal/store"
)

// importService takes the role of an import, with its name's external id.
const (
	importService    = "vmie.amazonaws.com"
	importExternalID = "vmimport"
)

// mayImport wants the task's disk to be readable with its role, and says what is missing where it is not.
func (s *Service) mayImport(ctx context.Context, info *call.Info, task *resource.ImportTask) error {
	ctx, name, who, err := s.takeRole(ctx, info, task.RoleName, "HeadObject")
	if err != nil {
		return err
	}
	if name != "" {
		task.RoleName = name
	}
	for _, d := range task.Disks {
		if err := s.readable(ctx, d, who); err != nil {
			return err
		}
	}
	return nil
}

// takeRole gives the context of an import or export with a role: the one named, or "vmimport". Where none is named and
// there is no vmimport it is the caller's own. who says whose it is, for messages.
func (s *Service) takeRole(ctx context.Context, info *call.Info, given, operation string) (as context.Context, taken, who string, err error) {
	name := given
	if name == "" {
		name = defaultRole
	}
	r := s.Store.Snapshot()
	role := store.Roles.Get(r, store.UserKey(info.AccountID, name))
	switch {
	case role == nil && given == "":
		return ctx, "", "the caller", nil
	case role == nil:
		return nil, "", "", awserr.New("InvalidParameter", "The service role %s provided does not exist or does not have sufficient permissions", name)
	case s.Roles == nil:
		return nil, "", "", errUnsupported("Imports with a role are not supported by this cloud.")
	}
	trust, err := s.Roles.Trust(role)
	if err != nil {
		return nil, "", "", err
	}
	err = s.Roles.Decide(ctx, authz.Question{
		Action: s.assume, Resource: role.ARN(), Owner: role.AccountID, Policy: trust, Trust: true,
		As: &policy.Principal{Kind: policy.Service, ARN: importService, ID: importService},
		Keys: func(k policy.Key) (policy.Value, bool) {
			switch k.Name {
			case "sts:externalid":
				return policy.String(importExternalID), true
			case "aws:sourceaccount":
				return policy.String(info.AccountID), true
			}
			return policy.Value{}, false
		},
	})
	switch awserr.Code(err) {
	case "AccessDenied", "UnauthorizedOperation":
		return nil, "", "", awserr.New("InvalidParameter", "The service role %s provided does not exist or does not have sufficient permissions: "+
			"its trust policy does not allow sts:AssumeRole to %s with the external id %s", role.Name, importService, importExternalID).Because(err)
	}
	if err != nil {
		return nil, "", "", err
	}
	return s.as(ctx, info, r, role, operation), role.Name, "the service role " + role.Name, nil
}

// as gives a context in which the caller is the import service with a role.
func (s *Service) as(ctx context.Context, info *call.Info, r store.Reader, role *resource.IAMRole, operation string) context.Context {
	now := s.now()
	session := &call.Session{
		Kind: call.RoleSession, AccountID: role.AccountID, PrincipalID: role.ID, Name: importExternalID, IssuedAt: now, ExpiresAt: now.Add(longestImport),
		RoleARN: role.ARN(), RoleName: role.Name,
	}
	inner := *info
	inner.Service, inner.Operation = "s3", operation
	inner.Caller = call.Caller{
		AccountID: role.AccountID, UserID: role.ID + ":" + session.Name, ARN: call.AssumedRoleARN(role.AccountID, role.Name, session.Name), Session: session,
	}
	if a := store.Accounts.Get(r, role.AccountID); a != nil {
		inner.CanonicalID = a.CanonicalID
	}
	return call.With(ctx, &inner)
}

// readable wants the disk to be readable by who is in ctx.
func (s *Service) readable(ctx context.Context, disk resource.ImportDisk, who string) error {
	err := s.Objects.Exists(ctx, disk.Bucket, disk.Key)
	if err == nil || awserr.Code(err) == "" {
		return err
	}
	return awserr.New("InvalidParameter", "The S3 object s3://%s/%s does not exist, or cannot be read by %s: %s", disk.Bucket, disk.Key, who, awserr.From(err).Message).Because(err)
}
