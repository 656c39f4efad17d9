package sts

import (
	"errors"
	"strings"
	"time"
	"unicode/utf8"

	"karri.dev/internal/authz"
	"karri.dev/internal/aws/awserr"
	"karri.dev/internal/aws/call"
	shape "karri.dev/internal/aws/shape/sts"
	"karri.dev/internal/policy"
	"karri.dev/internal/quota"
	"karri.dev/internal/session"
)

// AWS's limits.
const (
	shortest      = 15 * time.Minute
	longestUser   = 36 * time.Hour // GetSessionToken and GetFederationToken
	defaultUser   = 12 * time.Hour
	longestRoot   = time.Hour // the same two, asked for by root
	maxPolicy     = 2048      // characters of an inline session policy
	maxPolicyARNs = 10
	maxTags       = 50
)

func invalid(format string, args ...any) error {
	return awserr.New("ValidationError", "1 validation error detected: "+format, args...)
}

func denied(format string, args ...any) error {
	return awserr.New("AccessDenied", format, args...).WithStatus(403)
}

// duration checks a session's length in seconds; nil is the default.
func duration(seconds *int, standard, longest time.Duration) (time.Duration, error) {
	if seconds == nil {
		return standard, nil
	}
	d := time.Duration(*seconds) * time.Second
	if d < shortest {
		return 0, invalid("Value '%d' at 'durationSeconds' failed to satisfy constraint: Member must have value greater than or equal to %d", *seconds, shortest/time.Second)
	}
	if d > longest {
		return 0, invalid("Value '%d' at 'durationSeconds' failed to satisfy constraint: Member must have value less than or equal to %d", *seconds, longest/time.Second)
	}
	return d, nil
}

// name checks a session's or federated user's name.
func name(member, s string, least, most int) error {
	switch n := len(s); {
	case n < least:
		return invalid("Value '%s' at '%s' failed to satisfy constraint: Member must have length greater than or equal to %d", s, member, least)
	case n > most:
		return invalid("Value '%.100s' at '%s' failed to satisfy constraint: Member must have length less than or equal to %d", s, member, most)
	}
	for i := range len(s) {
		c := s[i]
		if (c < '0' || c > '9') && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && strings.IndexByte("_+=,.@-", c) < 0 {
			return invalid(`Value '%s' at '%s' failed to satisfy constraint: Member must satisfy regular expression pattern: [\w+=,.@-]*`, s, member)
		}
	}
	return nil
}

// policies checks session policies and notes them in the session.
func (s *Service) policies(to *call.Session, inline string, arns []shape.PolicyDescriptorType) error {
	if inline != "" {
		if utf8.RuneCountInString(inline) > maxPolicy {
			return invalid("Value at 'policy' failed to satisfy constraint: Member must have length less than or equal to %d", maxPolicy)
		}
		p, err := policy.Parse(inline, policy.Identity)
		if err == nil {
			err = quota.Check(p)
		}
		if err != nil {
			return awserr.New("MalformedPolicyDocument", "%s", err.Error())
		}
		to.Policies = []string{inline}
	}
	if len(arns) > maxPolicyARNs {
		return invalid("Value at 'policyArns' failed to satisfy constraint: Member must have length less than or equal to %d", maxPolicyARNs)
	}
	for _, d := range arns {
		if !s.policyExists(to.AccountID, d.Arn) {
			return awserr.New("MalformedPolicyDocument", "The policy is not valid or does not exist: %.256s", d.Arn)
		}
		to.PolicyARNs = append(to.PolicyARNs, d.Arn)
	}
	return nil
}

// policyExists says whether a managed policy is the cloud's or the account's.
func (s *Service) policyExists(account, arn string) bool {
	p := authz.FindPolicy(s.Store.Snapshot(), arn)
	return s.managed[arn] || p != nil && p.AccountID == account
}

// tags checks session tags and notes them in the session, beside those that a chain hands on.
func tags(to *call.Session, list []shape.Tag, transitive []string) error {
	if len(list) > maxTags {
		return invalid("Value at 'tags' failed to satisfy constraint: Member must have length less than or equal to %d", maxTags)
	}
	seen := map[string]bool{}
	handedOn := map[string]bool{}
	for k := range to.Tags {
		handedOn[strings.ToLower(k)] = true
	}
	all := map[string]string{}
	for k, v := range to.Tags {
		all[k] = v
	}
	for _, t := range list {
		folded := strings.ToLower(t.Key)
		switch {
		case t.Key == "" || utf8.RuneCountInString(t.Key) > 128 || utf8.RuneCountInString(t.Value) > 256:
			return invalid("Value at 'tags' failed to satisfy constraint: keys have 1 to 128 characters, values at most 256")
		case strings.HasPrefix(folded, "aws:"):
			return awserr.New("InvalidParameterValue", "Tag keys beginning with aws: are reserved")
		case seen[folded]:
			return awserr.New("InvalidParameterValue", "Duplicate tag keys found. Please note that Tag keys are case insensitive.")
		case handedOn[folded]:
			return awserr.New("InvalidParameterValue", "One of the specified transitive tag keys can't be set because it conflicts with a transitive tag key from the calling session.")
		}
		seen[folded] = true
		all[t.Key] = t.Value
	}
	for _, k := range transitive {
		if !seen[strings.ToLower(k)] {
			return awserr.New("InvalidParameterValue", "The specified transitive tag key must be included in the requested tags.")
		}
		to.TransitiveTags = append(to.TransitiveTags, k)
	}
	if len(all) > 0 {
		to.Tags = all
	}
	return nil
}

// credentials makes a session's credentials, and says how much of the room for policies and tags it takes.
func (s *Service) credentials(of *call.Session) (*shape.Credentials, int, error) {
	packed, err := session.Packed(of)
	if errors.Is(err, session.ErrTooLarge) {
		return nil, 0, awserr.New("PackedPolicyTooLarge", "Packed size of session tags or session policies consumes %d%% of allotted space.", packed)
	}
	if err != nil {
		return nil, 0, err
	}
	c, err := s.Sessions.NewSession(of)
	if err != nil {
		return nil, 0, err
	}
	return &shape.Credentials{AccessKeyId: c.AccessKeyID, SecretAccessKey: c.Secret, SessionToken: c.Token, Expiration: c.ExpiresAt}, packed, nil
}
