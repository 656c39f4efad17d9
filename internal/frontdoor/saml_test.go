package frontdoor_test

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/sts"

	"karri.dev/internal/aws/wire/wiretest"
	"karri.dev/internal/identity"
	"karri.dev/internal/saml/samltest"
)

func TestAssumeRoleWithSAML(t *testing.T) {
	c, ctx := newCloud(t), context.Background()
	c.serve(t)
	idp := samltest.New(t)
	api := iam.NewFromConfig(c.config(c.key))
	made, err := api.CreateSAMLProvider(ctx, &iam.CreateSAMLProviderInput{Name: aws.String("Acme"), SAMLMetadataDocument: aws.String(idp.Metadata())})
	if err != nil {
		t.Fatal(err)
	}
	provider := *made.SAMLProviderArn
	other, otherKey, err := c.id.CreateAccount(ctx, identity.NewAccount{Name: "other"})
	if err != nil {
		t.Fatal(err)
	}
	theirs, err := iam.NewFromConfig(c.config(otherKey)).CreateSAMLProvider(ctx, &iam.CreateSAMLProviderInput{Name: aws.String("Acme"), SAMLMetadataDocument: aws.String(idp.Metadata())})
	if err != nil {
		t.Fatal(err)
	}
	const plain = `"sts:AssumeRoleWithSAML"`
	role := c.role(t, c.account.ID, "sso", federated(provider, `["sts:AssumeRoleWithSAML","sts:TagSession","sts:SetSourceIdentity"]`,
		`{"StringEquals":{"saml:aud":"https://signin.aws.amazon.com/saml","saml:iss":"`+idp.EntityID+`","saml:doc":"`+c.account.ID+`/Acme","saml:sub_type":"persistent"}}`), 4*time.Hour)
	c.role(t, c.account.ID, "staff", federated(provider, plain, `{"ForAnyValue:StringEquals":{"saml:eduPersonAffiliation":["staff"]}}`), time.Hour)
	c.role(t, other.ID, "theirs", federated(provider, plain, `{"StringLike":{"saml:sub":"*"}}`), time.Hour)
	arn := func(account, role string) string { return "arn:aws:iam::" + account + ":role/" + role }
	offer := func(change map[string][]string, roles ...string) map[string][]string {
		a := map[string][]string{samltest.Attribute + "RoleSessionName": {"alice@acme"}, samltest.Attribute + "Role": roles}
		for k, v := range change {
			a[samltest.Attribute+k] = v
		}
		return a
	}
	pair := func(account, role string) string { return arn(account, role) + "," + provider }
	anonymous := sts.New(sts.Options{Region: "us-east-1", BaseEndpoint: &c.url, RetryMaxAttempts: 1, HTTPClient: &http.Client{Transport: &wiretest.Transport{}}})
	assume := func(account, role, provider string, r samltest.Response, seconds ...int32) (*sts.AssumeRoleWithSAMLOutput, error) {
		in := &sts.AssumeRoleWithSAMLInput{RoleArn: aws.String(arn(account, role)), PrincipalArn: &provider, SAMLAssertion: aws.String(samltest.Encode(idp.XML(t, r)))}
		if len(seconds) > 0 {
			in.DurationSeconds = &seconds[0]
		}
		return anonymous.AssumeRoleWithSAML(ctx, in)
	}

	out, err := assume(c.account.ID, "sso", provider, samltest.Response{Attributes: offer(map[string][]string{
		"PrincipalTag:team": {"blue"}, "TransitiveTagKeys": {"team"}, "SourceIdentity": {"alice"}, "SessionDuration": {"7200"},
	}, "arn:aws:iam::1:role/x,y", " "+provider+" , "+arn(c.account.ID, "sso"))})
	if err != nil {
		t.Fatal(err)
	}
	if *out.Subject != "alice" || *out.SubjectType != "persistent" || *out.Issuer != idp.EntityID || *out.Audience != "https://signin.aws.amazon.com/saml" ||
		len(*out.NameQualifier) != 28 || *out.SourceIdentity != "alice" || *out.AssumedRoleUser.AssumedRoleId != role.ID+":alice@acme" ||
		time.Until(*out.Credentials.Expiration) < 110*time.Minute {
		t.Errorf("%+v", out)
	}
	e := c.audit.last()
	if e.UserIdentity.Type != "SAMLUser" || e.UserIdentity.UserName != "alice" || e.Recipient != c.account.ID || e.Parameters["SAMLAssertion"] != "HIDDEN_DUE_TO_SECURITY_REASONS" {
		t.Errorf("audit: %+v", e)
	}
	p, err := c.id.Lookup(*out.Credentials.AccessKeyId, *out.Credentials.SessionToken, time.Now())
	if err != nil || p.Caller.Session.Tags["team"] != "blue" || p.Caller.Session.Claims["saml:sub"] != "alice" || p.Caller.Session.TransitiveTags[0] != "team" {
		t.Errorf("%+v, %v", p, err)
	}
	session := sts.NewFromConfig(c.with(out.Credentials))
	if _, err := session.GetCallerIdentity(ctx, nil); err != nil {
		t.Error(err)
	}
	// A session ends with the provider's.
	soon := time.Now().Add(20 * time.Minute)
	out, err = assume(c.account.ID, "sso", provider, samltest.Response{SessionEnd: soon, Attributes: offer(nil, pair(c.account.ID, "sso"))}, 7200)
	if err != nil || out.Credentials.Expiration.After(soon) {
		t.Errorf("%+v, %v", out, err)
	}

	sso := func(change map[string][]string) samltest.Response {
		return samltest.Response{Attributes: offer(change, pair(c.account.ID, "sso"))}
	}
	staff := func(affiliation ...string) samltest.Response {
		a := offer(nil, pair(c.account.ID, "staff"))
		a["urn:oid:1.3.6.1.4.1.5923.1.1.1.1"] = affiliation
		return samltest.Response{Attributes: a}
	}
	changed := func(r samltest.Response, f func(*samltest.Response)) samltest.Response {
		f(&r)
		return r
	}
	for name, tt := range map[string]struct {
		account, role, provider string
		r                       samltest.Response
		want                    string
	}{
		"staff":                         {c.account.ID, "staff", provider, staff("member", "staff"), "<nil>"},
		"not staff":                     {c.account.ID, "staff", provider, staff("member"), "AccessDenied 403"},
		"a role not offered":            {c.account.ID, "staff", provider, sso(nil), "AccessDenied 403"},
		"no such role":                  {c.account.ID, "none", provider, samltest.Response{Attributes: offer(nil, pair(c.account.ID, "none"))}, "AccessDenied 403"},
		"offered with another":          {c.account.ID, "sso", provider, samltest.Response{Attributes: offer(nil, arn(c.account.ID, "sso")+","+*theirs.SAMLProviderArn)}, "AccessDenied 403"},
		"role of another account":       {other.ID, "theirs", provider, samltest.Response{Attributes: offer(nil, pair(other.ID, "theirs"))}, "InvalidIdentityToken 400"},
		"their provider, trust in ours": {other.ID, "theirs", *theirs.SAMLProviderArn, samltest.Response{Attributes: offer(nil, arn(other.ID, "theirs")+","+*theirs.SAMLProviderArn)}, "AccessDenied 403"},
		"no such provider":              {c.account.ID, "sso", provider + "x", sso(nil), "InvalidIdentityToken 400"},
		"not a provider":                {c.account.ID, "sso", arn(c.account.ID, "sso"), sso(nil), "ValidationError 400"},
		"no session name":               {c.account.ID, "sso", provider, sso(map[string][]string{"RoleSessionName": {}}), "InvalidIdentityToken 400"},
		"two session names":             {c.account.ID, "sso", provider, sso(map[string][]string{"RoleSessionName": {"alice", "bobby"}}), "InvalidIdentityToken 400"},
		"bad session name":              {c.account.ID, "sso", provider, sso(map[string][]string{"RoleSessionName": {"a/b"}}), "InvalidIdentityToken 400"},
		"bad source identity":           {c.account.ID, "sso", provider, sso(map[string][]string{"SourceIdentity": {"a b"}}), "InvalidIdentityToken 400"},
		"bad duration":                  {c.account.ID, "sso", provider, sso(map[string][]string{"SessionDuration": {"12 hours"}}), "InvalidIdentityToken 400"},
		"longer than the role's":        {c.account.ID, "sso", provider, sso(map[string][]string{"SessionDuration": {"14401"}}), "ValidationError 400"},
		"tag with two values":           {c.account.ID, "sso", provider, sso(map[string][]string{"PrincipalTag:a": {"b", "c"}}), "InvalidIdentityToken 400"},
		"expired":                       {c.account.ID, "sso", provider, changed(sso(nil), func(r *samltest.Response) { r.Issued = time.Now().Add(-6 * time.Minute) }), "ExpiredTokenException 400"},
		"refused":                       {c.account.ID, "sso", provider, changed(sso(nil), func(r *samltest.Response) { r.Status = "Requester" }), "IDPRejectedClaim 403"},
		"not signed":                    {c.account.ID, "sso", provider, changed(sso(nil), func(r *samltest.Response) { r.Unsigned = true }), "InvalidIdentityToken 400"},
		"not persistent":                {c.account.ID, "sso", provider, changed(sso(nil), func(r *samltest.Response) { r.Format = "urn:x" }), "AccessDenied 403"},
	} {
		if _, err := assume(tt.account, tt.role, tt.provider, tt.r); code(err) != tt.want {
			t.Errorf("%s: %s, want %s", name, code(err), tt.want)
		}
	}
	huge := strings.Repeat("A", 100_001)
	if _, err := anonymous.AssumeRoleWithSAML(ctx, &sts.AssumeRoleWithSAMLInput{RoleArn: aws.String(arn(c.account.ID, "sso")), PrincipalArn: &provider, SAMLAssertion: &huge}); code(err) != "ValidationError 400" {
		t.Error(err)
	}
	// Other keys, and then none: what was signed with the old one is worth nothing.
	if _, err := api.UpdateSAMLProvider(ctx, &iam.UpdateSAMLProviderInput{SAMLProviderArn: &provider, SAMLMetadataDocument: aws.String(samltest.New(t).Metadata())}); err != nil {
		t.Fatal(err)
	}
	if _, err := assume(c.account.ID, "sso", provider, sso(nil)); code(err) != "InvalidIdentityToken 400" {
		t.Error(err)
	}
	if _, err := api.DeleteSAMLProvider(ctx, &iam.DeleteSAMLProviderInput{SAMLProviderArn: &provider}); err != nil {
		t.Fatal(err)
	}
	if _, err := assume(c.account.ID, "sso", provider, sso(nil)); code(err) != "InvalidIdentityToken 400" {
		t.Error(err)
	}
}
