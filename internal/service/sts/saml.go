package sts

import (
	"context"
	"crypto/sha1"
	"encoding/base64"
	"errors"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"karri.dev/internal/aws/awserr"
	"karri.dev/internal/aws/call"
	shape "karri.dev/internal/aws/shape/sts"
	"karri.dev/internal/policy"
	"karri.dev/internal/resource"
	"karri.dev/internal/saml"
	"karri.dev/internal/store"
)

// attribute begins the names of the attributes that say what a session is to be.
const attribute = "https://aws.amazon.com/SAML/Attributes/"

// AssumeRoleWithSAML gives credentials of a role to whom a SAML provider of the role's account vouches for. Nobody signs it. As in
// AWS, an assertion is good for five minutes, and as often as it is presented in them.
func (s *Service) AssumeRoleWithSAML(ctx context.Context, in *shape.AssumeRoleWithSAMLRequest) (*shape.AssumeRoleWithSAMLResult, error) {
	account, err := checkRole(in.RoleArn)
	if err != nil {
		return nil, err
	}
	if n := len(in.SAMLAssertion); n < 4 || n > 100_000 {
		return nil, invalid("Value at 'sAMLAssertion' failed to satisfy constraint: Member must have length between 4 and 100000")
	}
	if !strings.HasPrefix(in.PrincipalArn, "arn:aws:iam::") || !strings.Contains(in.PrincipalArn, ":saml-provider/") {
		return nil, invalid("Value '%.256s' at 'principalArn' is not the ARN of a SAML provider", in.PrincipalArn)
	}
	d, err := duration(in.DurationSeconds, defaultRole, longestRole)
	if err != nil {
		return nil, err
	}
	p, metadata, err := s.samlProvider(account, in.PrincipalArn)
	if err != nil {
		return nil, err
	}
	now := s.Now().UTC().Truncate(time.Second)
	a, err := saml.Verify(metadata, in.SAMLAssertion, s.Endpoint, now)
	if err != nil {
		return nil, badAssertion(err)
	}
	w := &wish{
		action: s.actions.saml, as: &policy.Principal{Kind: policy.External, ARN: p.ARN()}, arn: in.RoleArn, role: s.findRole(in.RoleArn),
		of: &call.Session{Kind: call.RoleSession, AccountID: account, IssuedAt: now, Provider: p.ARN(), Subject: a.Subject},
	}
	if in.DurationSeconds == nil {
		if d, err = sessionDuration(a, d); err != nil {
			return nil, err
		}
	}
	w.of.ExpiresAt = now.Add(d)
	if end := a.SessionEnd; !end.IsZero() && end.Before(w.of.ExpiresAt) {
		w.of.ExpiresAt = end.UTC().Truncate(time.Second)
	}
	qualifier := w.asserted(a, p)
	call.From(ctx).Federated = &call.Federated{
		Type: "SAMLUser", Provider: p.ARN(), Subject: a.Subject, ID: qualifier + ":" + a.Subject, Account: account,
	}
	if !offered(a, in.RoleArn, p.ARN()) {
		return nil, w.refuse(ctx, w.action)
	}
	if err := w.attributes(a); err != nil {
		return nil, err
	}
	if err := tags(w.of, w.tags, w.transitive); err != nil {
		return nil, err
	}
	c, packed, err := s.issue(ctx, w, d, in.Policy, in.PolicyArns)
	if err != nil {
		return nil, err
	}
	return &shape.AssumeRoleWithSAMLResult{
		Credentials: c, PackedPolicySize: packed, AssumedRoleUser: w.user(), SourceIdentity: w.of.SourceIdentity,
		Subject: a.Subject, SubjectType: a.Format, Issuer: a.Issuer, Audience: a.Recipient, NameQualifier: qualifier,
	}, nil
}

// samlProvider gives a provider of the role's account.
func (s *Service) samlProvider(account, arn string) (*resource.SAMLProvider, *saml.Metadata, error) {
	snap := s.Store.Snapshot()
	p := store.SAMLProviders.Get(snap, arn)
	if a := store.Accounts.Get(snap, account); p == nil || p.AccountID != account || a == nil || !a.Open() {
		return nil, nil, awserr.New("InvalidIdentityToken", "Specified provider doesn't exist")
	}
	m, err := s.metadata.of(p)
	if err != nil {
		return nil, nil, awserr.New("InvalidIdentityToken", "Could not parse metadata").Because(err)
	}
	return p, m, nil
}

// parsed keeps providers' metadata, which may be large and which whoever knows a provider's name can have read. Records are
// immutable, so their addresses name them.
type parsed struct {
	mu  sync.Mutex
	all map[*resource.SAMLProvider]*saml.Metadata
}

func (c *parsed) of(p *resource.SAMLProvider) (*saml.Metadata, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if m := c.all[p]; m != nil {
		return m, nil
	}
	m, err := saml.ParseMetadata(p.Metadata)
	if err != nil {
		return nil, err
	}
	if c.all == nil || len(c.all) >= 256 {
		c.all = map[*resource.SAMLProvider]*saml.Metadata{}
	}
	c.all[p] = m
	return m, nil
}

// badAssertion says in STS's words why an assertion was refused.
func badAssertion(err error) error {
	var e *saml.Error
	if !errors.As(err, &e) {
		return err
	}
	switch e.Reason {
	case saml.Expired:
		return awserr.New("ExpiredTokenException", "%s", e.Message).Because(err)
	case saml.Rejected:
		return awserr.New("IDPRejectedClaim", "%s", e.Message).WithStatus(403).Because(err)
	}
	return awserr.New("InvalidIdentityToken", "%s", e.Message).Because(err)
}

// offered says whether the provider offers the role: as a pair of the role's ARN and its own, in either order.
func offered(a *saml.Assertion, role, provider string) bool {
	return slices.ContainsFunc(a.Attributes[attribute+"Role"], func(pair string) bool {
		x, y, _ := strings.Cut(pair, ",")
		x, y = strings.TrimSpace(x), strings.TrimSpace(y)
		return x == role && y == provider || x == provider && y == role
	})
}

// sessionDuration gives how long a session lasts that nobody asked a time for.
func sessionDuration(a *saml.Assertion, standard time.Duration) (time.Duration, error) {
	list := a.Attributes[attribute+"SessionDuration"]
	if len(list) == 0 {
		return standard, nil
	}
	seconds, err := strconv.Atoi(list[0])
	d := time.Duration(seconds) * time.Second
	if len(list) > 1 || err != nil || seconds < 0 || d < shortest || d > longestRole {
		return 0, awserr.New("InvalidIdentityToken", "SessionDuration in AuthnResponse must be between %d and %d", shortest/time.Second, longestRole/time.Second)
	}
	return d, nil
}

// asserted notes the condition keys and gives what names the subjects of a provider apart from those of others.
func (w *wish) asserted(a *saml.Assertion, p *resource.SAMLProvider) (qualifier string) {
	sum := sha1.Sum([]byte(a.Issuer + p.AccountID + "/" + p.Name)) // AWS's definition; it is a name, not a proof
	qualifier = base64.StdEncoding.EncodeToString(sum[:])
	w.of.Claims = map[string]string{"saml:namequalifier": qualifier, "saml:sub": a.Subject, "saml:sub_type": a.Format}
	w.claims = map[string]policy.Value{
		"saml:aud": policy.String(a.Recipient), "saml:iss": policy.String(a.Issuer), "saml:doc": policy.String(p.AccountID + "/" + p.Name),
	}
	for key, v := range w.of.Claims {
		w.claims[key] = policy.String(v)
	}
	for name, key := range samlKeys {
		if values := a.Attributes[name]; len(values) > 0 {
			w.claims["saml:"+key] = policy.Strings(values)
		}
	}
	return qualifier
}

// samlKeys are the attributes that are condition keys, by name.
var samlKeys = map[string]string{
	"urn:oid:1.3.6.1.4.1.5923.1.1.1.1":                                        "edupersonaffiliation",
	"urn:oid:1.3.6.1.4.1.5923.1.1.1.2":                                        "edupersonnickname",
	"urn:oid:1.3.6.1.4.1.5923.1.1.1.3":                                        "edupersonorgdn",
	"urn:oid:1.3.6.1.4.1.5923.1.1.1.4":                                        "edupersonorgunitdn",
	"urn:oid:1.3.6.1.4.1.5923.1.1.1.5":                                        "edupersonprimaryaffiliation",
	"urn:oid:1.3.6.1.4.1.5923.1.1.1.6":                                        "edupersonprincipalname",
	"urn:oid:1.3.6.1.4.1.5923.1.1.1.7":                                        "edupersonentitlement",
	"urn:oid:1.3.6.1.4.1.5923.1.1.1.8":                                        "edupersonprimaryorgunitdn",
	"urn:oid:1.3.6.1.4.1.5923.1.1.1.9":                                        "edupersonscopedaffiliation",
	"urn:oid:1.3.6.1.4.1.5923.1.1.1.10":                                       "edupersontargetedid",
	"urn:oid:1.3.6.1.4.1.5923.1.1.1.11":                                       "edupersonassurance",
	"urn:oid:1.3.6.1.4.1.5923.1.2.1.2":                                        "eduorghomepageuri",
	"urn:oid:1.3.6.1.4.1.5923.1.2.1.3":                                        "eduorgidentityauthnpolicyuri",
	"urn:oid:1.3.6.1.4.1.5923.1.2.1.4":                                        "eduorglegalname",
	"urn:oid:1.3.6.1.4.1.5923.1.2.1.5":                                        "eduorgsuperioruri",
	"urn:oid:1.3.6.1.4.1.5923.1.2.1.6":                                        "eduorgwhitepagesuri",
	"urn:oid:2.5.4.3":                                                         "cn",
	"http://schemas.xmlsoap.org/ws/2005/05/identity/claims/name":              "name",
	"http://schemas.xmlsoap.org/claims/CommonName":                            "commonname",
	"http://schemas.xmlsoap.org/ws/2005/05/identity/claims/givenname":         "givenname",
	"http://schemas.xmlsoap.org/ws/2005/05/identity/claims/surname":           "surname",
	"http://schemas.xmlsoap.org/ws/2005/05/identity/claims/emailaddress":      "mail",
	"http://schemas.xmlsoap.org/ws/2005/05/identity/claims/uid":               "uid",
	"http://schemas.microsoft.com/ws/2008/06/identity/claims/primarygroupsid": "primarygroupsid",
}

// attributes takes over what the session is to be called and to carry.
func (w *wish) attributes(a *saml.Assertion) error {
	single := func(name string) (string, error) {
		list := a.Attributes[attribute+name]
		if len(list) > 1 {
			return "", awserr.New("InvalidIdentityToken", "%s in AuthnResponse must have one value", name)
		}
		return strings.Join(list, ""), nil
	}
	session, err := single("RoleSessionName")
	if err != nil {
		return err
	}
	switch {
	case session == "":
		return awserr.New("InvalidIdentityToken", "RoleSessionName is required in AuthnResponse")
	case name("roleSessionName", session, 2, 64) != nil:
		return awserr.New("InvalidIdentityToken", "RoleSessionName in AuthnResponse must match [a-zA-Z_0-9+=,.@-]{2,64}")
	}
	w.of.Name = session
	if w.of.SourceIdentity, err = single("SourceIdentity"); err != nil {
		return err
	}
	if w.of.SourceIdentity != "" && name("sourceIdentity", w.of.SourceIdentity, 2, 64) != nil {
		return awserr.New("InvalidIdentityToken", "Source Identity in AuthnResponse must match [a-zA-Z_0-9+=,.@-]{2,64} and not begin with \"aws:\"")
	}
	for _, full := range slices.Sorted(maps.Keys(a.Attributes)) {
		key, ok := strings.CutPrefix(full, attribute+"PrincipalTag:")
		if !ok {
			continue
		}
		value, err := single("PrincipalTag:" + key)
		if err != nil {
			return err
		}
		w.tags = append(w.tags, shape.Tag{Key: key, Value: value})
	}
	w.transitive = a.Attributes[attribute+"TransitiveTagKeys"]
	return nil
}
