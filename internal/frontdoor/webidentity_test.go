package frontdoor_test

import (
	"context"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/sts"

	"karri.dev/internal/aws/wire/wiretest"
	"karri.dev/internal/identity"
	"karri.dev/internal/oidc/oidctest"
)

// federated is a trust policy for a provider.
func federated(provider, action, condition string) string {
	return `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Federated":"` + provider + `"},"Action":` + action + `,"Condition":` + condition + `}]}`
}

func TestAssumeRoleWithWebIdentity(t *testing.T) {
	c, ctx := newCloud(t), context.Background()
	c.serve(t)
	issuer := oidctest.New(t)
	api := iam.NewFromConfig(c.config(c.key))
	made, err := api.CreateOpenIDConnectProvider(ctx, &iam.CreateOpenIDConnectProviderInput{Url: &issuer.URL, ClientIDList: []string{"app"}})
	if err != nil {
		t.Fatal(err)
	}
	provider, key := *made.OpenIDConnectProviderArn, strings.TrimPrefix(issuer.URL, "https://")
	if provider != "arn:aws:iam::"+c.account.ID+":oidc-provider/"+key {
		t.Fatal(provider)
	}
	const web = `"sts:AssumeRoleWithWebIdentity"`
	role := c.role(t, c.account.ID, "web", federated(provider, `["sts:AssumeRoleWithWebIdentity","sts:TagSession","sts:SetSourceIdentity"]`,
		`{"StringEquals":{"`+key+`:aud":"app"},"StringLike":{"`+key+`:sub":"repo:acme/*"}}`), 2*time.Hour)
	c.role(t, c.account.ID, "plain", federated(provider, web, `{"StringEquals":{"`+key+`:sub":"repo:acme/x"}}`), time.Hour)
	c.role(t, c.account.ID, "mfa", federated(provider, web, `{"ForAnyValue:StringEquals":{"`+key+`:amr":"mfa"}}`), time.Hour)
	c.role(t, c.account.ID, "users", statement("*", `"sts:AssumeRole"`, ""), time.Hour)
	c.role(t, c.account.ID, "everyone", statement("*", `"sts:*"`, ""), time.Hour)
	other, otherKey, err := c.id.CreateAccount(ctx, identity.NewAccount{Name: "other"})
	if err != nil {
		t.Fatal(err)
	}
	// Another account's role that names our provider, and its own provider of the same issuer without our client.
	c.role(t, other.ID, "theirs", federated(provider, web, `{"StringLike":{"`+key+`:sub":"*"}}`), time.Hour)

	anonymous := sts.New(sts.Options{Region: "us-east-1", BaseEndpoint: &c.url, RetryMaxAttempts: 1, HTTPClient: &http.Client{Transport: &wiretest.Transport{}}})
	input := func(account, role, token string) *sts.AssumeRoleWithWebIdentityInput {
		return &sts.AssumeRoleWithWebIdentityInput{RoleArn: aws.String("arn:aws:iam::" + account + ":role/" + role), RoleSessionName: aws.String("ci"), WebIdentityToken: &token}
	}
	acme := map[string]any{"sub": "repo:acme/x"}
	in := input(c.account.ID, "web", issuer.Token(t, map[string]any{
		"sub": "repo:acme/x", "https://aws.amazon.com/source_identity": "acme",
		"https://aws.amazon.com/tags": map[string]any{"principal_tags": map[string][]string{"team": {"blue"}}, "transitive_tag_keys": []string{"team"}},
	}))
	in.DurationSeconds = aws.Int32(7200)
	out, err := anonymous.AssumeRoleWithWebIdentity(ctx, in)
	if err != nil {
		t.Fatal(err)
	}
	if *out.SubjectFromWebIdentityToken != "repo:acme/x" || *out.Provider != provider || *out.Audience != "app" || *out.SourceIdentity != "acme" ||
		*out.AssumedRoleUser.AssumedRoleId != role.ID+":ci" {
		t.Errorf("%+v", out)
	}
	//lint:ignore SA1019 what clients have read until now
	if out.PackedPolicySize == nil {
		t.Errorf("no packed size: %+v", out)
	}
	e := c.audit.last()
	if e.UserIdentity.Type != "WebIdentityUser" || e.UserIdentity.UserName != "repo:acme/x" || e.UserIdentity.Provider != provider || e.Recipient != c.account.ID ||
		e.Parameters["WebIdentityToken"] != "HIDDEN_DUE_TO_SECURITY_REASONS" {
		t.Errorf("audit: %+v", e)
	}
	session := sts.NewFromConfig(c.with(out.Credentials))
	if who, err := session.GetCallerIdentity(ctx, nil); err != nil || *who.Arn != "arn:aws:sts::"+c.account.ID+":assumed-role/web/ci" {
		t.Errorf("%+v, %v", who, err)
	}
	p, err := c.id.Lookup(*out.Credentials.AccessKeyId, *out.Credentials.SessionToken, time.Now())
	if err != nil || p.Caller.Session.Tags["team"] != "blue" || p.Caller.Session.Claims[key+":sub"] != "repo:acme/x" || p.Caller.Session.Provider != provider {
		t.Errorf("%+v, %v", p, err)
	}

	with := func(account, role string, change map[string]any, more ...func(*sts.AssumeRoleWithWebIdentityInput)) func() error {
		return func() error {
			in := input(account, role, issuer.Token(t, change))
			for _, f := range more {
				f(in)
			}
			_, err := anonymous.AssumeRoleWithWebIdentity(ctx, in)
			return err
		}
	}
	for name, tt := range map[string]struct {
		call func() error
		want string
	}{
		"good":                     {with(c.account.ID, "plain", acme), "<nil>"},
		"everyone may":             {with(c.account.ID, "everyone", acme), "<nil>"},
		"with another factor":      {with(c.account.ID, "mfa", map[string]any{"amr": []string{"pwd", "mfa"}}), "<nil>"},
		"without another factor":   {with(c.account.ID, "mfa", map[string]any{"amr": []string{"pwd"}}), "AccessDenied 403"},
		"another subject":          {with(c.account.ID, "plain", map[string]any{"sub": "repo:acme/xy"}), "AccessDenied 403"},
		"a role for signed calls":  {with(c.account.ID, "users", acme), "AccessDenied 403"},
		"no such role":             {with(c.account.ID, "none", acme), "AccessDenied 403"},
		"role of other account":    {with(other.ID, "theirs", acme), "InvalidIdentityToken 400"},
		"no such account":          {with("999999999999", "theirs", acme), "InvalidIdentityToken 400"},
		"foreign issuer":           {with(c.account.ID, "plain", map[string]any{"iss": "https://evil.example/realm"}), "InvalidIdentityToken 400"},
		"issuer over HTTP":         {with(c.account.ID, "plain", map[string]any{"iss": "http://" + key}), "InvalidIdentityToken 400"},
		"issuer with an ARN in it": {with(c.account.ID, "plain", map[string]any{"iss": provider}), "InvalidIdentityToken 400"},
		"another client":           {with(c.account.ID, "plain", map[string]any{"aud": "stranger"}), "InvalidIdentityToken 400"},
		"expired":                  {with(c.account.ID, "plain", map[string]any{"exp": time.Now().Add(-time.Minute).Unix()}), "ExpiredTokenException 400"},
		"tags are not trusted": {
			with(c.account.ID, "plain", map[string]any{"sub": "repo:acme/x", "https://aws.amazon.com/tags": map[string]any{"principal_tags": map[string][]string{"a": {"b"}}}}),
			"AccessDenied 403",
		},
		"source identity is not trusted": {with(c.account.ID, "plain", map[string]any{"sub": "repo:acme/x", "https://aws.amazon.com/source_identity": "me"}), "AccessDenied 403"},
		"a tag with two values": {
			with(c.account.ID, "web", map[string]any{"sub": "repo:acme/x", "https://aws.amazon.com/tags": map[string]any{"principal_tags": map[string][]string{"a": {"b", "c"}}}}),
			"InvalidIdentityToken 400",
		},
		"longer than the role's": {with(c.account.ID, "plain", acme, func(i *sts.AssumeRoleWithWebIdentityInput) { i.DurationSeconds = aws.Int32(3601) }), "ValidationError 400"},
		"a provider of OAuth":    {with(c.account.ID, "plain", acme, func(i *sts.AssumeRoleWithWebIdentityInput) { i.ProviderId = aws.String("www.amazon.com") }), "InvalidParameterValue 400"},
		"no token":               {with(c.account.ID, "plain", acme, func(i *sts.AssumeRoleWithWebIdentityInput) { i.WebIdentityToken = aws.String("abcd") }), "InvalidIdentityToken 400"},
		"bad session name":       {with(c.account.ID, "plain", acme, func(i *sts.AssumeRoleWithWebIdentityInput) { i.RoleSessionName = aws.String("a/b") }), "ValidationError 400"},
		"bad policy":             {with(c.account.ID, "plain", acme, func(i *sts.AssumeRoleWithWebIdentityInput) { i.Policy = aws.String("{}") }), "MalformedPolicyDocument 400"},
	} {
		if err := tt.call(); code(err) != tt.want {
			t.Errorf("%s: %s, want %s", name, code(err), tt.want)
		}
	}

	// The same issuer in another account is another provider: theirs does not open ours.
	theirs := iam.NewFromConfig(c.config(otherKey))
	if _, err := theirs.CreateOpenIDConnectProvider(ctx, &iam.CreateOpenIDConnectProviderInput{Url: &issuer.URL, ClientIDList: []string{"app"}, ThumbprintList: []string{issuer.Thumbprint}}); err != nil {
		t.Fatal(err)
	}
	if err := with(other.ID, "theirs", acme)(); code(err) != "AccessDenied 403" {
		t.Errorf("a provider of another account in the trust policy: %v", err)
	}
	// Gone is gone: the client, then the provider; sessions that were made stay good, as in AWS.
	if _, err := api.RemoveClientIDFromOpenIDConnectProvider(ctx, &iam.RemoveClientIDFromOpenIDConnectProviderInput{OpenIDConnectProviderArn: &provider, ClientID: aws.String("app")}); err != nil {
		t.Fatal(err)
	}
	if err := with(c.account.ID, "plain", acme)(); code(err) != "InvalidIdentityToken 400" {
		t.Errorf("a client that was removed: %v", err)
	}
	if _, err := api.DeleteOpenIDConnectProvider(ctx, &iam.DeleteOpenIDConnectProviderInput{OpenIDConnectProviderArn: &provider}); err != nil {
		t.Fatal(err)
	}
	if err := with(c.account.ID, "plain", acme)(); code(err) != "InvalidIdentityToken 400" {
		t.Errorf("a provider that was deleted: %v", err)
	}
	if _, err := session.GetCallerIdentity(ctx, nil); err != nil {
		t.Error(err)
	}
}

// Without a signature only what proves itself is served, wherever the action is written.
func TestUnsignedOperations(t *testing.T) {
	c := newCloud(t)
	c.serve(t)
	everyone := statement("*", `"sts:*"`, "")
	c.role(t, c.account.ID, "everyone", everyone, time.Hour)
	arn := "arn:aws:iam::" + c.account.ID + ":role/everyone"
	post := func(path, body, kind string) string {
		resp, err := http.Post(c.url+path, kind, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		return resp.Status[:3] + " " + body1k(t, resp)
	}
	const form = "application/x-www-form-urlencoded"
	values := func(action string, more ...string) string {
		v := url.Values{"Action": {action}, "Version": {"2011-06-15"}, "RoleArn": {arn}, "RoleSessionName": {"me"}, "WebIdentityToken": {"a.b.c"}}
		for i := 0; i < len(more); i += 2 {
			v.Set(more[i], more[i+1])
		}
		return v.Encode()
	}
	for name, tt := range map[string]struct{ path, body, kind, want string }{
		"role":             {"/", values("AssumeRole"), form, "403 MissingAuthenticationToken"},
		"role in URL":      {"/?" + values("AssumeRole"), "", form, "403 MissingAuthenticationToken"},
		"caller":           {"/", values("GetCallerIdentity"), form, "403 MissingAuthenticationToken"},
		"iam":              {"/", "Action=ListUsers&Version=2010-05-08", form, "403 MissingAuthenticationToken"},
		"token":            {"/", values("AssumeRoleWithWebIdentity"), form, "400 InvalidIdentityToken"},
		"token in URL":     {"/?" + values("AssumeRoleWithWebIdentity"), "", form, "400 InvalidIdentityToken"},
		"action twice":     {"/?Action=AssumeRoleWithWebIdentity", values("AssumeRole"), form, "400 MalformedQueryString"},
		"actions in body":  {"/", values("AssumeRoleWithWebIdentity") + "&Action=AssumeRole", form, "403 MissingAuthenticationToken"},
		"too large":        {"/", values("AssumeRoleWithWebIdentity", "Policy", strings.Repeat("x", 400<<10)), form, "403 MissingAuthenticationToken"},
		"not a form":       {"/", values("AssumeRoleWithWebIdentity"), "text/plain", "40"},
		"parameters twice": {"/", values("AssumeRoleWithWebIdentity") + "&RoleArn=x", form, "400 MalformedQueryString"},
	} {
		if got := post(tt.path, tt.body, tt.kind); !strings.HasPrefix(got, tt.want[:2]) || !strings.Contains(got, strings.TrimSpace(tt.want[min(4, len(tt.want)):])) {
			t.Errorf("%s: %s, want %s", name, got, tt.want)
		}
	}
}

func body1k(t *testing.T, r *http.Response) string {
	t.Helper()
	text, err := io.ReadAll(io.LimitReader(r.Body, 1<<10))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
