package policy

import (
	"strings"
)

// checkShape asks for the elements that the kind of policy needs, and refuses those that it must not have.
func checkShape(s *Statement, kind Kind) *Error {
	if s.Effect == 0 {
		return fault("Effect", "Missing required field Effect.")
	}
	if strings.Trim(s.Sid, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789") != "" && kind != Resource {
		return fault("Sid", "Statement IDs (SID) must be alpha-numeric. Check that your input satisfies the regular expression [0-9A-Za-z]*.")
	}
	if s.Effect == Limit && kind != Identity {
		return fault("Effect", "Invalid effect: %q.", "Limit")
	}
	if err := checkPrincipals(s, kind); err != nil {
		return err
	}
	switch {
	case s.Action != nil && s.NotAction != nil:
		return fault("NotAction", "Policy statement must not contain both Action and NotAction.")
	case len(s.Action)+len(s.NotAction) == 0:
		return fault("Action", "Policy statement must contain actions.")
	case kind == Trust && s.NotAction != nil:
		return fault("NotAction", "Has prohibited field NotAction.")
	case kind == Trust && s.Resource != nil:
		return fault("Resource", "Has prohibited field Resource.")
	case kind == Trust && s.NotResource != nil:
		return fault("NotResource", "Has prohibited field NotResource.")
	case s.Resource != nil && s.NotResource != nil:
		return fault("NotResource", "Policy statement must not contain both Resource and NotResource.")
	case kind != Trust && len(s.Resource)+len(s.NotResource) == 0:
		return fault("Resource", "Policy statement must contain resources.")
	}
	return nil
}

func checkPrincipals(s *Statement, kind Kind) *Error {
	switch {
	case kind != Resource && kind != Trust:
		if s.Principal != nil {
			return fault("Principal", "Policy document should not specify a principal.")
		}
		if s.NotPrincipal != nil {
			return fault("NotPrincipal", "Policy document should not specify a principal.")
		}
		return nil
	case s.Principal == nil && s.NotPrincipal == nil:
		return fault("Principal", "Missing required field Principal.")
	case s.Principal != nil && s.NotPrincipal != nil:
		return fault("NotPrincipal", "Policy statement must not contain both Principal and NotPrincipal.")
	case s.NotPrincipal != nil && kind == Trust:
		return fault("NotPrincipal", "Has prohibited field NotPrincipal.")
	case s.NotPrincipal != nil && s.Effect != Deny:
		return fault("NotPrincipal", "NotPrincipal must be used with Effect Deny.")
	case s.NotPrincipal != nil:
		return checkNames("NotPrincipal", s.NotPrincipal, kind)
	}
	return checkNames("Principal", s.Principal, kind)
}

func checkNames(element string, p *Principals, kind Kind) *Error {
	if !p.Everyone && len(p.AWS)+len(p.Service)+len(p.Federated)+len(p.CanonicalUser) == 0 {
		return fault(element, "Missing required field %s cannot be empty!", element)
	}
	for _, list := range []struct {
		kind  string
		names []string
		valid func(string) bool
	}{
		{"AWS", p.AWS, validAWS},
		{"Service", p.Service, validService},
		{"Federated", p.Federated, validFederated},
		{"CanonicalUser", p.CanonicalUser, func(s string) bool { return kind == Resource && validCanonical(s) }},
	} {
		for _, name := range list.names {
			if !list.valid(name) {
				return fault(element+"/"+list.kind, "Invalid principal in policy: %q:%q.", list.kind, name)
			}
		}
	}
	return nil
}

// validAWS accepts "*", accounts, unique ids of users and roles, and ARNs of accounts, users, roles and their
// sessions: never a part of a name with a wildcard, nor a group (elements_principal).
func validAWS(s string) bool {
	if s == "*" || validAccount(s) {
		return true
	}
	if strings.ContainsAny(s, "*?") {
		return false
	}
	if (strings.HasPrefix(s, "AIDA") || strings.HasPrefix(s, "AROA")) && strings.Trim(s, upperDigits) == "" {
		return len(s) >= 16
	}
	seg := strings.SplitN(s, ":", 6)
	if len(seg) < 6 || seg[0] != "arn" || !validPartition(seg[1]) || seg[3] != "" || !validAccount(seg[4]) {
		return false
	}
	kind, name, _ := strings.Cut(seg[5], "/")
	switch seg[2] {
	case "iam":
		return seg[5] == "root" || (kind == "user" || kind == "role") && name != "" && !strings.HasSuffix(name, "/")
	case "sts":
		role, session, _ := strings.Cut(name, "/")
		return kind == "federated-user" && name != "" || kind == "assumed-role" && role != "" && session != ""
	}
	return false
}

const upperDigits = "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"

func validAccount(s string) bool {
	return len(s) == 12 && strings.Trim(s, "0123456789") == ""
}

func validPartition(s string) bool {
	return s == "aws" || strings.HasPrefix(s, "aws-") && strings.Trim(s, "abcdefghijklmnopqrstuvwxyz-") == ""
}

func validService(s string) bool {
	return strings.Contains(s, ".") && !strings.HasPrefix(s, ".") && !strings.HasSuffix(s, ".") &&
		strings.Trim(s, "abcdefghijklmnopqrstuvwxyz0123456789.-") == ""
}

// validFederated accepts ARNs of providers, and the names of the well-known ones (host names).
func validFederated(s string) bool {
	seg := strings.SplitN(s, ":", 6)
	if len(seg) < 6 {
		return validService(s)
	}
	kind, name, _ := strings.Cut(seg[5], "/")
	return seg[0] == "arn" && validPartition(seg[1]) && seg[2] == "iam" && seg[3] == "" && validAccount(seg[4]) &&
		(kind == "saml-provider" || kind == "oidc-provider") && name != "" && !strings.ContainsAny(name, "*?")
}

func validCanonical(s string) bool {
	return len(s) == 64 && strings.Trim(s, "0123456789abcdef") == ""
}

// compileAction checks and compiles an action pattern: "*", or "vendor:name" with wildcards in the name.
func compileAction(text string, kind Kind) (pattern, *Error) {
	vendor, name, ok := strings.Cut(text, ":")
	switch {
	case text == "*":
	case !ok || vendor == "" || name == "":
		return pattern{}, fault("", "Actions/Conditions must be prefaced by a vendor, e.g., iam, sdb, ec2, etc.")
	case strings.Trim(strings.ToLower(vendor), "abcdefghijklmnopqrstuvwxyz0123456789-") != "" && text != "*:*":
		return pattern{}, fault("", "Vendor %s is not valid.", vendor)
	case strings.Trim(name, upperDigits+"abcdefghijklmnopqrstuvwxyz*?") != "":
		return pattern{}, fault("", "Action %q is not valid.", text)
	}
	if kind == Trust && !strings.EqualFold(vendor, "sts") {
		return pattern{}, fault("", "AssumeRole policy may only specify STS AssumeRole actions.")
	}
	return compilePattern(strings.ToLower(text), free, Version2008)
}

// compileResource checks and compiles "*" or an ARN pattern, whose service has no wildcards (elements_resource).
func compileResource(text, version string) (pattern, *Error) {
	p, err := compilePattern(text, resource, version)
	if err != nil || text == "*" {
		return p, err
	}
	seg := strings.SplitN(text, ":", 4)
	if seg[0] != "arn" || len(seg) < 4 || seg[2] == "" || strings.ContainsAny(seg[2], "*?$") {
		return p, fault("", "Resource %s must be in ARN format or \"*\".", text)
	}
	if seg[1] != "*" && !validPartition(seg[1]) {
		return p, fault("", "Partition %q is not valid for resource %q.", seg[1], text)
	}
	if strings.Count(text, ":") < 5 && !strings.HasSuffix(text, "*") {
		return p, fault("", "Resource %s must be in ARN format or \"*\".", text)
	}
	return p, nil
}
