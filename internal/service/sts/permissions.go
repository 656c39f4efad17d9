package sts

import (
	"karri.dev/internal/authz"
	"karri.dev/internal/aws/call"
)

// Permissions is what each operation asks leave for.
func Permissions() authz.Service {
	return authz.Service{Table: authz.Table{
		"GetCallerIdentity":          {Free: "as in AWS: a Deny on it has no effect"},
		"GetAccessKeyInfo":           {},
		"AssumeRole":                 assuming("AssumeRole"), // and its siblings: they ask when they have the role and its trust policy
		"AssumeRoleWithSAML":         assuming("AssumeRoleWithSAML"),
		"AssumeRoleWithWebIdentity":  assuming("AssumeRoleWithWebIdentity"),
		"GetSessionToken":            {Free: "as in AWS: policies do not count for it"},
		"GetFederationToken":         {On: "federated-user:+Name"},
		"DecodeAuthorizationMessage": {},
	}, Kinds: map[string]authz.Kind{
		"federated-user": {ARN: federatedARN, New: newName},
	}}
}

func assuming(operation string) authz.Entry {
	return authz.Entry{Handler: operation + " TagSession SetSourceIdentity"}
}

func newName(_ *call.Info, members []string) string { return members[0] }

func federatedARN(b []byte, info *call.Info, name string) []byte {
	for _, s := range []string{"arn:aws:sts::", info.AccountID, ":federated-user/", name} {
		b = append(b, s...)
	}
	return b
}
