package frontdoor_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/iam/types"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	ststypes "github.com/aws/aws-sdk-go-v2/service/sts/types"
	"github.com/aws/smithy-go"
	"github.com/google/go-cmp/cmp"

	"karri.dev/internal/aws/wire/wiretest"
	"karri.dev/internal/identity"
)

func (c *cloud) config(k identity.Key) aws.Config {
	return aws.Config{
		Region: "us-east-1", BaseEndpoint: aws.String(c.url), HTTPClient: &http.Client{Transport: &wiretest.Transport{}},
		Credentials: credentials.NewStaticCredentialsProvider(k.ID, k.Secret, ""),
		Retryer:     func() aws.Retryer { return aws.NopRetryer{} },
	}
}

// code gives the AWS error code and HTTP status of a client's error.
func code(err error) string {
	var api smithy.APIError
	var status interface{ HTTPStatusCode() int }
	if !errors.As(err, &api) || !errors.As(err, &status) {
		return fmt.Sprint(err)
	}
	return fmt.Sprint(api.ErrorCode(), " ", status.HTTPStatusCode())
}

func TestCallerIdentity(t *testing.T) {
	c, ctx := newCloud(t), context.Background()
	c.serve(t)
	out, err := sts.NewFromConfig(c.config(c.key)).GetCallerIdentity(ctx, nil)
	if err != nil {
		t.Fatal(err)
	}
	got := []string{*out.Account, *out.Arn, *out.UserId}
	if diff := cmp.Diff([]string{c.account.ID, "arn:aws:iam::" + c.account.ID + ":root", c.account.ID}, got); diff != "" {
		t.Error(diff)
	}
	user, key, err := c.id.CreateUser(ctx, identity.NewUser{Account: "karri", Name: "Bob", Path: "/dev/", Key: &identity.Key{}, Policies: []string{"AdministratorAccess"}})
	if err != nil {
		t.Fatal(err)
	}
	if out, err = sts.NewFromConfig(c.config(key)).GetCallerIdentity(ctx, nil); err != nil {
		t.Fatal(err)
	}
	got = []string{*out.Account, *out.Arn, *out.UserId}
	if diff := cmp.Diff([]string{c.account.ID, "arn:aws:iam::" + c.account.ID + ":user/dev/Bob", user.ID}, got); diff != "" {
		t.Error(diff)
	}
	info, err := sts.NewFromConfig(c.config(key)).GetAccessKeyInfo(ctx, &sts.GetAccessKeyInfoInput{AccessKeyId: &c.key.ID})
	if err != nil || *info.Account != c.account.ID {
		t.Errorf("GetAccessKeyInfo: %v, %v", info, err)
	}
}

func TestRefusalsInQueryProtocol(t *testing.T) {
	c, ctx := newCloud(t), context.Background()
	c.serve(t)
	for _, k := range []struct {
		name string
		key  identity.Key
		want string
	}{
		{"unknown key", identity.Key{ID: "AKIANOSUCHKEYNOSUCHK", Secret: adminSecret}, "InvalidClientTokenId 403"},
		{"wrong secret", identity.Key{ID: adminKey, Secret: "wrong"}, "SignatureDoesNotMatch 403"},
	} {
		_, err := sts.NewFromConfig(c.config(k.key)).GetCallerIdentity(ctx, nil)
		if code(err) != k.want {
			t.Errorf("%s: %s, want %s", k.name, code(err), k.want)
		}
	}
	cfg := c.config(c.key)
	cfg.Region = "mars-north-1"
	if _, err := sts.NewFromConfig(cfg).GetCallerIdentity(ctx, nil); code(err) != "SignatureDoesNotMatch 403" {
		t.Errorf("unknown region: %s", code(err))
	}
	if _, err := sts.NewFromConfig(c.config(c.key)).AssumeRoot(ctx, &sts.AssumeRootInput{TargetPrincipal: aws.String("123456789012"), TaskPolicyArn: &ststypes.PolicyDescriptorType{}}); code(err) != "InvalidAction 400" {
		t.Errorf("not served: %s", code(err))
	}
	cfg = c.config(c.key)
	cfg.Credentials = credentials.NewStaticCredentialsProvider(c.key.ID, c.key.Secret, "token")
	if _, err := sts.NewFromConfig(cfg).GetCallerIdentity(ctx, nil); code(err) != "InvalidClientTokenId 403" {
		t.Errorf("token: %s", code(err))
	}
}

func TestUsersAndKeys(t *testing.T) {
	c, ctx := newCloud(t), context.Background()
	c.serve(t)
	client := iam.NewFromConfig(c.config(c.key))
	for i := range 7 {
		path := "/"
		if i%2 == 1 {
			path = "/odd/"
		}
		if _, err := client.CreateUser(ctx, &iam.CreateUserInput{UserName: aws.String(fmt.Sprintf("User%d", i)), Path: &path}); err != nil {
			t.Fatal(err)
		}
	}
	var names []string
	pages := iam.NewListUsersPaginator(client, &iam.ListUsersInput{MaxItems: aws.Int32(2)})
	for pages.HasMorePages() {
		p, err := pages.NextPage(ctx)
		if err != nil {
			t.Fatal(err)
		}
		for _, u := range p.Users {
			names = append(names, *u.UserName)
		}
	}
	if diff := cmp.Diff([]string{"User0", "User1", "User2", "User3", "User4", "User5", "User6"}, names); diff != "" {
		t.Error(diff)
	}
	odd, err := client.ListUsers(ctx, &iam.ListUsersInput{PathPrefix: aws.String("/odd/")})
	if err != nil || len(odd.Users) != 3 {
		t.Errorf("path prefix: %v, %v", odd, err)
	}

	made, err := client.CreateAccessKey(ctx, &iam.CreateAccessKeyInput{UserName: aws.String("user1")})
	if err != nil {
		t.Fatal(err)
	}
	key := identity.Key{ID: *made.AccessKey.AccessKeyId, Secret: *made.AccessKey.SecretAccessKey}
	if *made.AccessKey.UserName != "User1" {
		t.Errorf("key's user is %q", *made.AccessKey.UserName)
	}
	asUser := iam.NewFromConfig(c.config(key))
	if _, err := asUser.GetUser(ctx, nil); code(err) != "AccessDenied 403" {
		t.Errorf("a user without policies: %v", err)
	}
	c.allow(t, "User1", "IAMReadOnlyAccess")
	me, err := asUser.GetUser(ctx, nil)
	if err != nil || *me.User.UserName != "User1" || *me.User.Path != "/odd/" {
		t.Errorf("GetUser: %v, %v", me, err)
	}
	if _, err := client.UpdateUser(ctx, &iam.UpdateUserInput{UserName: aws.String("User1"), NewUserName: aws.String("Zoe"), NewPath: aws.String("/z/")}); err != nil {
		t.Fatal(err)
	}
	if me, err = asUser.GetUser(ctx, nil); err != nil || *me.User.Arn != "arn:aws:iam::"+c.account.ID+":user/z/Zoe" {
		t.Errorf("renamed: %v, %v", me, err)
	}
	used, err := client.GetAccessKeyLastUsed(ctx, &iam.GetAccessKeyLastUsedInput{AccessKeyId: &key.ID})
	if err != nil || *used.UserName != "Zoe" || *used.AccessKeyLastUsed.ServiceName != "iam" {
		t.Errorf("last used: %+v, %v", used, err)
	}
	list, err := asUser.ListAccessKeys(ctx, nil)
	if err != nil || len(list.AccessKeyMetadata) != 1 || *list.AccessKeyMetadata[0].AccessKeyId != key.ID {
		t.Errorf("ListAccessKeys: %v, %v", list, err)
	}
	alias, err := client.ListAccountAliases(ctx, nil)
	if err != nil || len(alias.AccountAliases) != 1 || alias.AccountAliases[0] != "karri" {
		t.Errorf("aliases: %v, %v", alias, err)
	}

	inactive := &iam.UpdateAccessKeyInput{UserName: aws.String("Zoe"), AccessKeyId: &key.ID, Status: "Inactive"}
	if _, err := client.UpdateAccessKey(ctx, inactive); err != nil {
		t.Fatal(err)
	}
	if _, err := asUser.GetUser(ctx, nil); code(err) != "InvalidClientTokenId 403" {
		t.Errorf("inactive key: %s", code(err))
	}
	for _, f := range []struct {
		want string
		call func() error
	}{
		{"EntityAlreadyExists 409", func() error {
			_, err := client.CreateUser(ctx, &iam.CreateUserInput{UserName: aws.String("ZOE")})
			return err
		}},
		{"ValidationError 400", func() error {
			_, err := client.CreateUser(ctx, &iam.CreateUserInput{UserName: aws.String("a b")})
			return err
		}},
		{"ValidationError 400", func() error {
			_, err := client.CreateUser(ctx, &iam.CreateUserInput{UserName: aws.String("x"), Path: aws.String("nope")})
			return err
		}},
		{"NoSuchEntity 404", func() error {
			_, err := client.GetUser(ctx, &iam.GetUserInput{UserName: aws.String("nobody")})
			return err
		}},
		{"DeleteConflict 409", func() error {
			_, err := client.DeleteUser(ctx, &iam.DeleteUserInput{UserName: aws.String("Zoe")})
			return err
		}},
		{"LimitExceeded 409", func() error {
			_, err := client.CreateAccessKey(ctx, &iam.CreateAccessKeyInput{UserName: aws.String("Zoe")})
			if err == nil {
				_, err = client.CreateAccessKey(ctx, &iam.CreateAccessKeyInput{UserName: aws.String("Zoe")})
			}
			return err
		}},
		{"ValidationError 400", func() error {
			_, err := client.ListUsers(ctx, &iam.ListUsersInput{MaxItems: aws.Int32(1001)})
			return err
		}},
		{"ValidationError 400", func() error {
			_, err := client.ListUsers(ctx, &iam.ListUsersInput{Marker: aws.String("***")})
			return err
		}},
		{"NoSuchEntity 404", func() error { // a key of another user
			_, err := client.DeleteAccessKey(ctx, &iam.DeleteAccessKeyInput{UserName: aws.String("User2"), AccessKeyId: &key.ID})
			return err
		}},
	} {
		if got := code(f.call()); got != f.want {
			t.Errorf("got %s, want %s", got, f.want)
		}
	}
	keys, err := client.ListAccessKeys(ctx, &iam.ListAccessKeysInput{UserName: aws.String("Zoe")})
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range keys.AccessKeyMetadata {
		if _, err := client.DeleteAccessKey(ctx, &iam.DeleteAccessKeyInput{UserName: aws.String("Zoe"), AccessKeyId: k.AccessKeyId}); err != nil {
			t.Fatal(err)
		}
	}
	_, err = client.DetachUserPolicy(ctx, &iam.DetachUserPolicyInput{UserName: aws.String("Zoe"), PolicyArn: aws.String("arn:aws:iam::aws:policy/IAMReadOnlyAccess")})
	if err != nil {
		t.Error(err)
	}
	if _, err := client.DeleteUser(ctx, &iam.DeleteUserInput{UserName: aws.String("Zoe")}); err != nil {
		t.Error(err)
	}
}

func TestOtherAccountIsNotThere(t *testing.T) {
	c, ctx := newCloud(t), context.Background()
	c.serve(t)
	_, other, err := c.id.CreateAccount(ctx, identity.NewAccount{Name: "other"})
	if err != nil {
		t.Fatal(err)
	}
	mine, theirs := iam.NewFromConfig(c.config(c.key)), iam.NewFromConfig(c.config(other))
	if _, err := mine.CreateUser(ctx, &iam.CreateUserInput{UserName: aws.String("alice")}); err != nil {
		t.Fatal(err)
	}
	made, err := mine.CreateAccessKey(ctx, &iam.CreateAccessKeyInput{UserName: aws.String("alice")})
	if err != nil {
		t.Fatal(err)
	}
	keyID := made.AccessKey.AccessKeyId
	alice := aws.String("alice")
	for name, call := range map[string]func() error{
		"GetUser":    func() error { _, err := theirs.GetUser(ctx, &iam.GetUserInput{UserName: alice}); return err },
		"DeleteUser": func() error { _, err := theirs.DeleteUser(ctx, &iam.DeleteUserInput{UserName: alice}); return err },
		"UpdateUser": func() error {
			_, err := theirs.UpdateUser(ctx, &iam.UpdateUserInput{UserName: alice, NewUserName: aws.String("x")})
			return err
		},
		"CreateAccessKey": func() error {
			_, err := theirs.CreateAccessKey(ctx, &iam.CreateAccessKeyInput{UserName: alice})
			return err
		},
		"ListAccessKeys": func() error {
			_, err := theirs.ListAccessKeys(ctx, &iam.ListAccessKeysInput{UserName: alice})
			return err
		},
		"DeleteAccessKey": func() error {
			_, err := theirs.DeleteAccessKey(ctx, &iam.DeleteAccessKeyInput{AccessKeyId: keyID})
			return err
		},
		"DeleteAccessKey of root": func() error {
			_, err := theirs.DeleteAccessKey(ctx, &iam.DeleteAccessKeyInput{AccessKeyId: &c.key.ID})
			return err
		},
		"UpdateAccessKey": func() error {
			_, err := theirs.UpdateAccessKey(ctx, &iam.UpdateAccessKeyInput{AccessKeyId: keyID, Status: "Inactive"})
			return err
		},
	} {
		if got := code(call()); got != "NoSuchEntity 404" {
			t.Errorf("%s: %s", name, got)
		}
	}
	if _, err := theirs.GetAccessKeyLastUsed(ctx, &iam.GetAccessKeyLastUsedInput{AccessKeyId: keyID}); code(err) != "AccessDenied 403" {
		t.Errorf("GetAccessKeyLastUsed: %s", code(err))
	}
	users, err := theirs.ListUsers(ctx, nil)
	if err != nil || len(users.Users) != 0 {
		t.Errorf("ListUsers: %v, %v", users, err)
	}

	if err := c.id.DeleteAccount(ctx, "other"); err != nil {
		t.Fatal(err)
	}
	if _, err := theirs.ListUsers(ctx, nil); code(err) != "InvalidClientTokenId 403" {
		t.Errorf("deleted account: %s", code(err))
	}
}

func TestUserTags(t *testing.T) {
	c, ctx := newCloud(t), context.Background()
	c.serve(t)
	client := iam.NewFromConfig(c.config(c.key))
	tag := func(k, v string) types.Tag { return types.Tag{Key: &k, Value: &v} }
	must := func(_ any, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	bob := aws.String("Bob")
	must(client.CreateUser(ctx, &iam.CreateUserInput{UserName: bob, Tags: []types.Tag{tag("Team", "a")}}))
	must(client.TagUser(ctx, &iam.TagUserInput{UserName: bob, Tags: []types.Tag{tag("team", "b"), tag("empty", ""), tag("x", "1")}}))
	must(client.UntagUser(ctx, &iam.UntagUserInput{UserName: bob, TagKeys: []string{"X", "none"}}))
	out, err := client.ListUserTags(ctx, &iam.ListUserTagsInput{UserName: bob})
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, t := range out.Tags {
		got[*t.Key] = *t.Value // an empty value is there
	}
	if diff := cmp.Diff(map[string]string{"team": "b", "empty": ""}, got); diff != "" {
		t.Error(diff)
	}
	var many []types.Tag
	for i := range 49 {
		many = append(many, tag(fmt.Sprint("t", i), ""))
	}
	if _, err := client.TagUser(ctx, &iam.TagUserInput{UserName: bob, Tags: many}); code(err) != "LimitExceeded 409" {
		t.Errorf("51 tags: %v", err)
	}
	if _, err := client.TagUser(ctx, &iam.TagUserInput{UserName: aws.String("nobody"), Tags: many[:1]}); code(err) != "NoSuchEntity 404" {
		t.Errorf("nobody: %v", err)
	}
}

// What a user cannot have is listed as none, and of users that are not there as not found.
func TestWhatUsersCannotHave(t *testing.T) {
	c, ctx := newCloud(t), context.Background()
	c.serve(t)
	client := iam.NewFromConfig(c.config(c.key))
	if _, err := client.CreateUser(ctx, &iam.CreateUserInput{UserName: aws.String("Bob")}); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"Bob": "<nil>", "Nobody": "NoSuchEntity 404"} {
		user := &name
		var errs []error
		add := func(_ any, err error) { errs = append(errs, err) }
		add(client.ListAttachedUserPolicies(ctx, &iam.ListAttachedUserPoliciesInput{UserName: user}))
		add(client.ListUserPolicies(ctx, &iam.ListUserPoliciesInput{UserName: user}))
		add(client.ListGroupsForUser(ctx, &iam.ListGroupsForUserInput{UserName: user}))
		add(client.ListMFADevices(ctx, &iam.ListMFADevicesInput{UserName: user}))
		add(client.ListSSHPublicKeys(ctx, &iam.ListSSHPublicKeysInput{UserName: user}))
		add(client.ListSigningCertificates(ctx, &iam.ListSigningCertificatesInput{UserName: user}))
		add(client.ListServiceSpecificCredentials(ctx, &iam.ListServiceSpecificCredentialsInput{UserName: user}))
		for i, err := range errs {
			if code(err) != want {
				t.Errorf("%s, %d: %s, want %s", name, i, code(err), want)
			}
		}
		if _, err := client.GetLoginProfile(ctx, &iam.GetLoginProfileInput{UserName: user}); code(err) != "NoSuchEntity 404" {
			t.Errorf("login profile: %v", err)
		}
	}
	groups, err := client.ListGroups(ctx, nil)
	if err != nil || len(groups.Groups) != 0 {
		t.Errorf("groups: %v, %v", groups, err)
	}
	roles, err := client.ListRoles(ctx, nil)
	if err != nil || len(roles.Roles) != 0 {
		t.Errorf("roles: %v, %v", roles, err)
	}
}
