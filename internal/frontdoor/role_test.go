package frontdoor_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/aws-sdk-go-v2/service/sts/types"

	"karri.dev/internal/authz"
	"karri.dev/internal/identity"
	"karri.dev/internal/policy"
	"karri.dev/internal/resource"
	"karri.dev/internal/store"
)

// role makes a role with a trust policy.
func (c *cloud) role(t *testing.T, account, name, trust string, max time.Duration) *resource.IAMRole {
	t.Helper()
	bound, missing, err := authz.Bind(c.store.Snapshot(), trust, policy.Trust)
	if err != nil || missing != "" {
		t.Fatal(missing, err)
	}
	r := &resource.IAMRole{AccountID: account, Name: name, ID: "AROA" + strings.ToUpper(name), Path: "/", Trust: bound, MaxSession: max}
	if err := c.store.Update(context.Background(), func(tx *store.Tx) error { return store.Roles.Put(tx, r) }); err != nil {
		t.Fatal(err)
	}
	return r
}

func statement(principal, action, condition string) string {
	if condition != "" {
		condition = `,"Condition":` + condition
	}
	return `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"` + principal + `"},"Action":` + action + condition + `}]}`
}

func TestAssumeRole(t *testing.T) {
	c, ctx := newCloud(t), context.Background()
	c.serve(t)
	bob, key, err := c.id.CreateUser(ctx, identity.NewUser{Account: "karri", Name: "bob", Key: &identity.Key{}})
	if err != nil {
		t.Fatal(err)
	}
	other, otherRoot, err := c.id.CreateAccount(ctx, identity.NewAccount{Name: "other"})
	if err != nil {
		t.Fatal(err)
	}
	_, eve, err := c.id.CreateUser(ctx, identity.NewUser{Account: "other", Name: "eve", Key: &identity.Key{}})
	if err != nil {
		t.Fatal(err)
	}
	arn := "arn:aws:iam::" + c.account.ID + ":user/bob"
	const all = `["sts:AssumeRole","sts:TagSession","sts:SetSourceIdentity"]`
	open := c.role(t, c.account.ID, "open", statement(arn, `["sts:AssumeRole","sts:TagSession","sts:SetSourceIdentity"]`, ""), 2*time.Hour)
	c.role(t, c.account.ID, "plain", statement(arn, `"sts:AssumeRole"`, ""), time.Hour)
	c.role(t, c.account.ID, "external", statement(arn, `"sts:AssumeRole"`, `{"StringEquals":{"sts:ExternalId":"secret-1"}}`), time.Hour)
	c.role(t, c.account.ID, "mfa", statement(arn, `"sts:AssumeRole"`, `{"Bool":{"aws:MultiFactorAuthPresent":"true"}}`), time.Hour)
	c.role(t, c.account.ID, "delegated", statement("arn:aws:iam::"+other.ID+":root", `"sts:AssumeRole"`, ""), time.Hour)
	c.role(t, c.account.ID, "chain", statement("arn:aws:sts::"+c.account.ID+":assumed-role/open/me", all, ""), 12*time.Hour)
	me := "arn:aws:sts::" + c.account.ID + ":assumed-role/open/me"
	c.role(t, c.account.ID, "untagged", statement(me, `["sts:AssumeRole","sts:SetSourceIdentity"]`, ""), time.Hour)
	c.role(t, c.account.ID, "nameless", statement(me, `["sts:AssumeRole","sts:TagSession"]`, ""), time.Hour)
	c.role(t, c.account.ID, "bobs", statement(me, all, `{"StringLike":{"aws:SourceIdentity":"bob@*","sts:SourceIdentity":"bob@*"},"StringEquals":{"aws:PrincipalTag/team":"blue"}}`), time.Hour)
	c.role(t, c.account.ID, "anns", statement(me, all, `{"StringLike":{"aws:SourceIdentity":"ann@*"}}`), time.Hour)
	c.role(t, c.account.ID, "tagged", statement(arn, all, `{"StringEquals":{"aws:RequestTag/cost":"1","sts:RoleSessionName":"${aws:username}"},"ForAllValues:StringEquals":{"aws:TagKeys":["cost","team"],"sts:TransitiveTagKeys":["team"]}}`), time.Hour)
	asBob := sts.NewFromConfig(c.config(key))
	roleARN := func(name string) *string { return aws.String("arn:aws:iam::" + c.account.ID + ":role/" + name) }
	input := func(name string) *sts.AssumeRoleInput {
		return &sts.AssumeRoleInput{RoleArn: roleARN(name), RoleSessionName: aws.String("me")}
	}
	in := input("open")
	in.DurationSeconds = aws.Int32(7200)
	in.Tags = []types.Tag{{Key: aws.String("team"), Value: aws.String("blue")}, {Key: aws.String("cost"), Value: aws.String("1")}}
	in.TransitiveTagKeys, in.SourceIdentity = []string{"team"}, aws.String("bob@example.com")
	out, err := asBob.AssumeRole(ctx, in)
	if err != nil {
		t.Fatal(err)
	}
	if *out.AssumedRoleUser.AssumedRoleId != open.ID+":me" || *out.AssumedRoleUser.Arn != "arn:aws:sts::"+c.account.ID+":assumed-role/open/me" || *out.SourceIdentity != "bob@example.com" {
		t.Errorf("%+v", out.AssumedRoleUser)
	}
	session := sts.NewFromConfig(c.with(out.Credentials))
	who, err := session.GetCallerIdentity(ctx, nil)
	if err != nil || *who.Arn != *out.AssumedRoleUser.Arn || *who.UserId != open.ID+":me" || *who.Account != c.account.ID {
		t.Fatalf("%+v, %v", who, err)
	}
	e := c.audit.last()
	if e.UserIdentity.Type != "AssumedRole" || e.UserIdentity.SessionContext.SessionIssuer.ARN != open.ARN() || e.UserIdentity.SessionContext.SourceIdentity != "bob@example.com" {
		t.Errorf("audit: %+v", e.UserIdentity)
	}
	// The chain: an hour at most, the transitive tag goes on and cannot be changed, nor the source identity.
	chain, err := session.AssumeRole(ctx, input("chain"))
	if err != nil {
		t.Fatal(err)
	}
	p, err := c.id.Lookup(*chain.Credentials.AccessKeyId, *chain.Credentials.SessionToken, time.Now())
	if err != nil || p.Caller.Session.Tags["team"] != "blue" || p.Caller.Session.Tags["cost"] != "" || p.Caller.Session.SourceIdentity != "bob@example.com" || !p.Caller.Session.Chained {
		t.Errorf("%+v, %v", p, err)
	}
	if out, err := asBob.AssumeRole(ctx, func() *sts.AssumeRoleInput { i := input("external"); i.ExternalId = aws.String("secret-1"); return i }()); err != nil {
		t.Errorf("external id: %v, %v", out, err)
	}
	with := func(name string, change func(*sts.AssumeRoleInput)) func(*sts.Client) string {
		return func(client *sts.Client) string {
			i := input(name)
			change(i)
			_, err := client.AssumeRole(ctx, i)
			return code(err)
		}
	}
	nothing := func(*sts.AssumeRoleInput) {}
	root := sts.NewFromConfig(c.config(c.key))
	asEve, theirRoot := sts.NewFromConfig(c.config(eve)), sts.NewFromConfig(c.config(otherRoot))
	for name, tt := range map[string]struct {
		client *sts.Client
		call   func(*sts.Client) string
		want   string
	}{
		"no such role":                 {asBob, with("none", nothing), "AccessDenied 403"},
		"not trusted":                  {asEve, with("open", nothing), "AccessDenied 403"},
		"trusted account, no policies": {asEve, with("delegated", nothing), "AccessDenied 403"},
		"root":                         {root, with("open", nothing), "AccessDenied 403"},
		"root of a trusted account":    {theirRoot, with("delegated", nothing), "AccessDenied 403"},
		"confused deputy":              {asBob, with("external", nothing), "AccessDenied 403"},
		"wrong external id":            {asBob, with("external", func(i *sts.AssumeRoleInput) { i.ExternalId = aws.String("secret-2") }), "AccessDenied 403"},
		"mfa missing":                  {asBob, with("mfa", nothing), "AccessDenied 403"},
		"mfa wrong": {asBob, with("mfa", func(i *sts.AssumeRoleInput) {
			i.SerialNumber, i.TokenCode = aws.String("arn:aws:iam::123456789012:mfa/b"), aws.String("000000")
		}), "AccessDenied 403"},
		"tags not trusted":            {asBob, with("plain", func(i *sts.AssumeRoleInput) { i.Tags = in.Tags }), "AccessDenied 403"},
		"source identity not trusted": {asBob, with("plain", func(i *sts.AssumeRoleInput) { i.SourceIdentity = aws.String("me") }), "AccessDenied 403"},
		"longer than the role's":      {asBob, with("open", func(i *sts.AssumeRoleInput) { i.DurationSeconds = aws.Int32(7201) }), "ValidationError 400"},
		"longer than a chain's":       {session, with("chain", func(i *sts.AssumeRoleInput) { i.DurationSeconds = aws.Int32(3601) }), "ValidationError 400"},
		"tag handed on, changed": {session, with("chain", func(i *sts.AssumeRoleInput) {
			i.Tags = []types.Tag{{Key: aws.String("TEAM"), Value: aws.String("red")}}
		}), "InvalidParameterValue 400"},
		"other source identity":        {session, with("chain", func(i *sts.AssumeRoleInput) { i.SourceIdentity = aws.String("mallory") }), "AccessDenied 403"},
		"tags go where none are taken": {session, with("untagged", nothing), "AccessDenied 403"},
		"a source identity likewise":   {session, with("nameless", nothing), "AccessDenied 403"},
		"by source identity":           {session, with("bobs", nothing), "<nil>"},
		"by another source identity":   {session, with("anns", nothing), "AccessDenied 403"},
		"by tags and name": {asBob, with("tagged", func(i *sts.AssumeRoleInput) {
			i.RoleSessionName, i.Tags, i.TransitiveTagKeys = aws.String("bob"), in.Tags, []string{"team"}
		}), "<nil>"},
		"another name": {asBob, with("tagged", func(i *sts.AssumeRoleInput) { i.Tags = in.Tags }), "AccessDenied 403"},
		"another tag": {asBob, with("tagged", func(i *sts.AssumeRoleInput) {
			i.RoleSessionName, i.Tags = aws.String("bob"), append([]types.Tag{{Key: aws.String("x"), Value: aws.String("y")}}, in.Tags...)
		}), "AccessDenied 403"},
		"another tag is to go on": {asBob, with("tagged", func(i *sts.AssumeRoleInput) {
			i.RoleSessionName, i.Tags, i.TransitiveTagKeys = aws.String("bob"), in.Tags, []string{"team", "cost"}
		}), "AccessDenied 403"},
		"a tag goes on that is not there": {asBob, with("tagged", func(i *sts.AssumeRoleInput) {
			i.RoleSessionName, i.Tags, i.TransitiveTagKeys = aws.String("bob"), in.Tags, []string{"other"}
		}), "InvalidParameterValue 400"},
		"an external id that is too short": {asBob, with("external", func(i *sts.AssumeRoleInput) { i.ExternalId = aws.String("x") }), "ValidationError 400"},
		"an external id with spaces":       {asBob, with("external", func(i *sts.AssumeRoleInput) { i.ExternalId = aws.String("secret 1") }), "ValidationError 400"},
		"an external id of another case":   {asBob, with("external", func(i *sts.AssumeRoleInput) { i.ExternalId = aws.String("Secret-1") }), "AccessDenied 403"},
		"bad session name":                 {asBob, with("open", func(i *sts.AssumeRoleInput) { i.RoleSessionName = aws.String("a/b") }), "ValidationError 400"},
		"bad arn":                          {asBob, with("open", func(i *sts.AssumeRoleInput) { i.RoleArn = aws.String("arn:aws:iam::123456789012:user/not-a-role") }), "ValidationError 400"},
		"bad policy":                       {asBob, with("open", func(i *sts.AssumeRoleInput) { i.Policy = aws.String("{}") }), "MalformedPolicyDocument 400"},
	} {
		if got := tt.call(tt.client); got != tt.want {
			t.Errorf("%s: %s, want %s", name, got, tt.want)
		}
	}
	// Revoked, then deleted and made anew under the same name: neither session lives on.
	revoked := *store.RolesByID.One(c.store.Snapshot(), open.ID)
	revoked.RevokedAt = time.Now().Add(time.Second)
	if err := c.store.Update(ctx, func(tx *store.Tx) error { return store.Roles.Put(tx, &revoked) }); err != nil {
		t.Fatal(err)
	}
	if _, err := session.GetCallerIdentity(ctx, nil); code(err) != "InvalidClientTokenId 403" {
		t.Errorf("revoked: %v", err)
	}
	chained := sts.NewFromConfig(c.with(chain.Credentials))
	if _, err := chained.GetCallerIdentity(ctx, nil); err != nil {
		t.Error(err)
	}
	if err := c.store.Update(ctx, func(tx *store.Tx) error {
		r := *store.Roles.Get(tx, store.UserKey(c.account.ID, "chain"))
		r.ID = "AROAANOTHER"
		return store.Roles.Put(tx, &r)
	}); err != nil {
		t.Fatal(err)
	}
	if _, err := chained.GetCallerIdentity(ctx, nil); code(err) != "InvalidClientTokenId 403" {
		t.Errorf("a new role of the same name: %v", err)
	}
	_ = bob
}
