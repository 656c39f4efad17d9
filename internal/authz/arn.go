package authz

import "strings"

// PrincipalARN takes a principal of a policy apart: "everyone" for "*", "account" for 12 digits, "id" for a unique id,
// else what the ARN is of ("root", "user", "role", "assumed-role", "federated-user"), with the account and the name
// after the last slash. kind is "" for what is none.
func PrincipalARN(s string) (account, kind, name string) {
	switch {
	case s == "*":
		return "", "everyone", ""
	case len(s) == 12 && strings.Trim(s, "0123456789") == "":
		return s, "account", ""
	case strings.HasPrefix(s, "AIDA") || strings.HasPrefix(s, "AROA"):
		return "", "id", s
	}
	part := strings.SplitN(s, ":", 6)
	if len(part) != 6 || part[0] != "arn" || part[3] != "" || part[2] != "iam" && part[2] != "sts" {
		return "", "", ""
	}
	if part[2] == "iam" && part[5] == "root" {
		return part[4], "root", ""
	}
	kind, rest, ok := strings.Cut(part[5], "/")
	if !ok {
		return "", "", ""
	}
	switch part[2] + " " + kind {
	case "iam user", "iam role", "sts assumed-role", "sts federated-user":
		return part[4], kind, rest[strings.LastIndexByte(rest, '/')+1:]
	}
	return "", "", ""
}
