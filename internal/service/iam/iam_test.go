package iam_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	sdk "github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/iam/types"
	"github.com/aws/smithy-go"

	"karri.dev/internal/authz"
	shape "karri.dev/internal/aws/shape/iam"
	shapests "karri.dev/internal/aws/shape/sts"
	"karri.dev/internal/aws/wire/wiretest"
	"karri.dev/internal/frontdoor"
	"karri.dev/internal/identity"
	"karri.dev/internal/ids"
	"karri.dev/internal/login"
	"karri.dev/internal/oidc"
	"karri.dev/internal/password"
	"karri.dev/internal/quota"
	"karri.dev/internal/seal"
	"karri.dev/internal/service/iam"
	"karri.dev/internal/service/sts"
	"karri.dev/internal/store"
)

// cloud is IAM behind a front door that decides by policies, with two accounts.
type cloud struct {
	t          *testing.T
	url        string
	mine, them *sdk.Client // roots
	account    string
	other      string
	store      *store.Store
	identity   *identity.Identity
	ahead      atomic.Int64 // how far the clock of passwords and devices is ahead, in nanoseconds
}

func newCloud(t *testing.T) *cloud {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	st := store.OpenMemory(log)
	t.Cleanup(func() { st.Close() })
	sealer, err := seal.New(make([]byte, seal.KeySize))
	if err != nil {
		t.Fatal(err)
	}
	engine := authz.New(authz.Deps{Store: st})
	c := &cloud{t: t, store: st}
	id := identity.New(identity.Config{}, identity.Deps{
		Store: st, Sealer: sealer, Log: log, Authz: engine, Passwords: password.New(password.Cost{MemoryKiB: 8, Passes: 1, Threads: 1}),
		Now: func() time.Time { return time.Now().Add(time.Duration(c.ahead.Load())) },
	})
	account, key, err := id.Bootstrap(context.Background(), identity.Key{ID: "AKIAADMINADMINADMIN1", Secret: "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"})
	if err != nil {
		t.Fatal(err)
	}
	second, other, err := id.CreateAccount(context.Background(), identity.NewAccount{Name: "other"})
	if err != nil {
		t.Fatal(err)
	}
	err = errors.Join(authz.Register[shape.API](engine, shape.Service(), iam.Permissions()),
		authz.Register[shapests.API](engine, shapests.Service(), sts.Permissions()))
	if err != nil {
		t.Fatal(err)
	}
	door := frontdoor.New(frontdoor.Config{Regions: []string{"us-east-1"}, RatePerSecond: -1}, frontdoor.Deps{Authenticator: id, Authorizer: engine})
	door.Register(shape.Service(), iam.New(st, id, oidc.New(oidc.Config{}, time.Now), quota.New(engine)))
	door.Register(shapests.Service(), sts.New(sts.Deps{Store: st, Sessions: id, Roles: engine}))
	door.Handle("login", login.New(login.Deps{Identity: id, Region: "us-east-1", IDs: ids.New(nil), Now: time.Now, Log: log}))
	server := httptest.NewServer(door)
	t.Cleanup(server.Close)
	c.url, c.account, c.other, c.identity = server.URL, account.ID, second.ID, id
	c.mine, c.them = c.client(key.ID, key.Secret), c.client(other.ID, other.Secret)
	return c
}

func (c *cloud) client(id, secret string) *sdk.Client {
	return c.session(login.Answer{AccessKeyID: id, SecretAccessKey: secret})
}

// session gives a client with temporary credentials.
func (c *cloud) session(a login.Answer) *sdk.Client {
	return sdk.New(sdk.Options{
		Region: "us-east-1", BaseEndpoint: &c.url, RetryMaxAttempts: 1, HTTPClient: &http.Client{Transport: &wiretest.Transport{}},
		Credentials: credentials.NewStaticCredentialsProvider(a.AccessKeyID, a.SecretAccessKey, a.SessionToken),
	})
}

// user makes a user without policies and gives its client.
func (c *cloud) user(name string) *sdk.Client {
	c.t.Helper()
	must(c.t)(c.mine.CreateUser(c.t.Context(), &sdk.CreateUserInput{UserName: &name}))
	key := must(c.t)(c.mine.CreateAccessKey(c.t.Context(), &sdk.CreateAccessKeyInput{UserName: &name})).(*sdk.CreateAccessKeyOutput)
	return c.client(*key.AccessKey.AccessKeyId, *key.AccessKey.SecretAccessKey)
}

// must gives a call's answer and ends the test at its error.
func must(t *testing.T) func(any, error) any {
	return func(out any, err error) any {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
}

// refused fails unless a call ended with this code.
func refused(t *testing.T, code string) func(any, error) {
	return func(_ any, err error) {
		t.Helper()
		var api smithy.APIError
		if !errors.As(err, &api) || api.ErrorCode() != code {
			t.Errorf("%v, want %s", err, code)
		}
	}
}

const (
	administrator = "arn:aws:iam::aws:policy/AdministratorAccess"
	assume        = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"ec2.amazonaws.com"},"Action":"sts:AssumeRole"}]}`
)

func allow(action, resource string) string {
	return fmt.Sprintf(`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":%q,"Resource":%q}]}`, action, resource)
}

var p = aws.String

// As AWS's guide begins: a group of administrators, and somebody in it.
func TestAdministrators(t *testing.T) {
	c, ctx := newCloud(t), t.Context()
	jane := c.user("Jane")
	list := func() (any, error) { return jane.ListUsers(ctx, &sdk.ListUsersInput{}) }
	refused(t, "AccessDenied")(list())

	must(t)(c.mine.CreateGroup(ctx, &sdk.CreateGroupInput{GroupName: p("Administrators"), Path: p("/people/")}))
	must(t)(c.mine.AttachGroupPolicy(ctx, &sdk.AttachGroupPolicyInput{GroupName: p("administrators"), PolicyArn: p(administrator)}))
	refused(t, "AccessDenied")(list())
	for range 2 { // twice is no error
		must(t)(c.mine.AddUserToGroup(ctx, &sdk.AddUserToGroupInput{GroupName: p("Administrators"), UserName: p("jane")}))
	}
	must(t)(list())
	group := must(t)(jane.GetGroup(ctx, &sdk.GetGroupInput{GroupName: p("Administrators")})).(*sdk.GetGroupOutput)
	if len(group.Users) != 1 || *group.Users[0].UserName != "Jane" || *group.Group.Arn != "arn:aws:iam::"+c.account+":group/people/Administrators" {
		t.Errorf("%+v %+v", group.Group, group.Users)
	}
	in := must(t)(c.mine.ListGroupsForUser(ctx, &sdk.ListGroupsForUserInput{UserName: p("Jane")})).(*sdk.ListGroupsForUserOutput)
	attached := must(t)(c.mine.ListAttachedGroupPolicies(ctx, &sdk.ListAttachedGroupPoliciesInput{GroupName: p("Administrators")})).(*sdk.ListAttachedGroupPoliciesOutput)
	if len(in.Groups) != 1 || len(attached.AttachedPolicies) != 1 || *attached.AttachedPolicies[0].PolicyName != "AdministratorAccess" {
		t.Errorf("%+v %+v", in.Groups, attached.AttachedPolicies)
	}

	// A denial of her own, and a boundary, count before the group's policy.
	must(t)(c.mine.PutUserPolicy(ctx, &sdk.PutUserPolicyInput{UserName: p("Jane"), PolicyName: p("no"), PolicyDocument: p(strings.Replace(allow("iam:ListUsers", "*"), "Allow", "Deny", 1))}))
	refused(t, "AccessDenied")(list())
	must(t)(c.mine.DeleteUserPolicy(ctx, &sdk.DeleteUserPolicyInput{UserName: p("Jane"), PolicyName: p("no")}))
	must(t)(c.mine.PutUserPermissionsBoundary(ctx, &sdk.PutUserPermissionsBoundaryInput{UserName: p("Jane"), PermissionsBoundary: p("arn:aws:iam::aws:policy/AmazonEC2FullAccess")}))
	refused(t, "AccessDenied")(list())
	must(t)(c.mine.DeleteUserPermissionsBoundary(ctx, &sdk.DeleteUserPermissionsBoundaryInput{UserName: p("Jane")}))
	must(t)(list())

	refused(t, "DeleteConflict")(c.mine.DeleteGroup(ctx, &sdk.DeleteGroupInput{GroupName: p("Administrators")}))
	refused(t, "DeleteConflict")(c.mine.DeleteUser(ctx, &sdk.DeleteUserInput{UserName: p("Jane")}))
	must(t)(c.mine.RemoveUserFromGroup(ctx, &sdk.RemoveUserFromGroupInput{GroupName: p("Administrators"), UserName: p("Jane")}))
	refused(t, "AccessDenied")(list())
	refused(t, "DeleteConflict")(c.mine.DeleteGroup(ctx, &sdk.DeleteGroupInput{GroupName: p("Administrators")}))
	must(t)(c.mine.DetachGroupPolicy(ctx, &sdk.DetachGroupPolicyInput{GroupName: p("Administrators"), PolicyArn: p(administrator)}))
	refused(t, "NoSuchEntity")(c.mine.DetachGroupPolicy(ctx, &sdk.DetachGroupPolicyInput{GroupName: p("Administrators"), PolicyArn: p(administrator)}))
	must(t)(c.mine.UpdateGroup(ctx, &sdk.UpdateGroupInput{GroupName: p("Administrators"), NewGroupName: p("Former")}))
	must(t)(c.mine.DeleteGroup(ctx, &sdk.DeleteGroupInput{GroupName: p("former")}))
	refused(t, "NoSuchEntity")(c.mine.GetGroup(ctx, &sdk.GetGroupInput{GroupName: p("Former")}))
}

func TestPolicyVersions(t *testing.T) {
	c, ctx := newCloud(t), t.Context()
	bob := c.user("bob")
	made := must(t)(c.mine.CreatePolicy(ctx, &sdk.CreatePolicyInput{PolicyName: p("P"), Path: p("/a/"), PolicyDocument: p(allow("iam:ListUsers", "*")), Tags: []types.Tag{{Key: p("k"), Value: p("v")}}})).(*sdk.CreatePolicyOutput)
	arn := made.Policy.Arn
	must(t)(c.mine.AttachUserPolicy(ctx, &sdk.AttachUserPolicyInput{UserName: p("bob"), PolicyArn: arn}))
	must(t)(bob.ListUsers(ctx, &sdk.ListUsersInput{}))
	for i := 2; i <= 5; i++ {
		v := must(t)(c.mine.CreatePolicyVersion(ctx, &sdk.CreatePolicyVersionInput{PolicyArn: arn, PolicyDocument: p(allow("iam:ListRoles", "*"))})).(*sdk.CreatePolicyVersionOutput)
		if *v.PolicyVersion.VersionId != fmt.Sprintf("v%d", i) || v.PolicyVersion.IsDefaultVersion {
			t.Errorf("%+v", v.PolicyVersion)
		}
	}
	refused(t, "LimitExceeded")(c.mine.CreatePolicyVersion(ctx, &sdk.CreatePolicyVersionInput{PolicyArn: arn, PolicyDocument: p(allow("iam:ListRoles", "*"))}))
	must(t)(bob.ListUsers(ctx, &sdk.ListUsersInput{}))
	must(t)(c.mine.SetDefaultPolicyVersion(ctx, &sdk.SetDefaultPolicyVersionInput{PolicyArn: arn, VersionId: p("v3")}))
	refused(t, "AccessDenied")(bob.ListUsers(ctx, &sdk.ListUsersInput{}))
	must(t)(bob.ListRoles(ctx, &sdk.ListRolesInput{}))
	refused(t, "DeleteConflict")(c.mine.DeletePolicyVersion(ctx, &sdk.DeletePolicyVersionInput{PolicyArn: arn, VersionId: p("v3")}))
	text := must(t)(c.mine.GetPolicyVersion(ctx, &sdk.GetPolicyVersionInput{PolicyArn: arn, VersionId: p("v1")})).(*sdk.GetPolicyVersionOutput)
	if plain, err := url.PathUnescape(*text.PolicyVersion.Document); err != nil || plain != allow("iam:ListUsers", "*") {
		t.Errorf("%q, %v", plain, err)
	}
	var seen []string
	for marker := (*string)(nil); ; {
		page := must(t)(c.mine.ListPolicyVersions(ctx, &sdk.ListPolicyVersionsInput{PolicyArn: arn, MaxItems: aws.Int32(2), Marker: marker})).(*sdk.ListPolicyVersionsOutput)
		for _, v := range page.Versions {
			seen = append(seen, *v.VersionId)
		}
		if marker = page.Marker; !page.IsTruncated {
			break
		}
	}
	if got := strings.Join(seen, " "); got != "v5 v4 v3 v2 v1" {
		t.Errorf("versions %s", got)
	}
	refused(t, "DeleteConflict")(c.mine.DeletePolicy(ctx, &sdk.DeletePolicyInput{PolicyArn: arn}))
	uses := must(t)(c.mine.ListEntitiesForPolicy(ctx, &sdk.ListEntitiesForPolicyInput{PolicyArn: arn})).(*sdk.ListEntitiesForPolicyOutput)
	got := must(t)(c.mine.GetPolicy(ctx, &sdk.GetPolicyInput{PolicyArn: arn})).(*sdk.GetPolicyOutput).Policy
	if len(uses.PolicyUsers) != 1 || *got.AttachmentCount != 1 || *got.DefaultVersionId != "v3" || len(got.Tags) != 1 {
		t.Errorf("%+v %+v", uses, got)
	}
	must(t)(c.mine.DetachUserPolicy(ctx, &sdk.DetachUserPolicyInput{UserName: p("bob"), PolicyArn: arn}))
	refused(t, "DeleteConflict")(c.mine.DeletePolicy(ctx, &sdk.DeletePolicyInput{PolicyArn: arn}))
	for _, v := range []string{"v1", "v2", "v4", "v5"} {
		must(t)(c.mine.DeletePolicyVersion(ctx, &sdk.DeletePolicyVersionInput{PolicyArn: arn, VersionId: &v}))
	}
	must(t)(c.mine.DeletePolicy(ctx, &sdk.DeletePolicyInput{PolicyArn: arn}))

	all := must(t)(c.mine.ListPolicies(ctx, &sdk.ListPoliciesInput{Scope: types.PolicyScopeTypeAws})).(*sdk.ListPoliciesOutput)
	if len(all.Policies) < 11 {
		t.Errorf("%d policies of the cloud", len(all.Policies))
	}
	refused(t, "AccessDenied")(c.mine.DeletePolicy(ctx, &sdk.DeletePolicyInput{PolicyArn: p(administrator)}))
}

func TestRolesAndProfiles(t *testing.T) {
	c, ctx := newCloud(t), t.Context()
	refused(t, "MalformedPolicyDocument")(c.mine.CreateRole(ctx, &sdk.CreateRoleInput{RoleName: p("r"), AssumeRolePolicyDocument: p(allow("sts:AssumeRole", "*"))}))
	ghost := strings.Replace(assume, `{"Service":"ec2.amazonaws.com"}`, `{"AWS":"arn:aws:iam::`+c.account+`:user/ghost"}`, 1)
	refused(t, "MalformedPolicyDocument")(c.mine.CreateRole(ctx, &sdk.CreateRoleInput{RoleName: p("r"), AssumeRolePolicyDocument: &ghost}))
	made := must(t)(c.mine.CreateRole(ctx, &sdk.CreateRoleInput{RoleName: p("r"), AssumeRolePolicyDocument: p(assume), MaxSessionDuration: aws.Int32(7200), PermissionsBoundary: p(administrator)})).(*sdk.CreateRoleOutput)
	if *made.Role.MaxSessionDuration != 7200 || !strings.HasPrefix(*made.Role.RoleId, "AROA") || *made.Role.PermissionsBoundary.PermissionsBoundaryArn != administrator {
		t.Errorf("%+v", made.Role)
	}
	refused(t, "EntityAlreadyExists")(c.mine.CreateRole(ctx, &sdk.CreateRoleInput{RoleName: p("R"), AssumeRolePolicyDocument: p(assume)}))
	must(t)(c.mine.PutRolePolicy(ctx, &sdk.PutRolePolicyInput{RoleName: p("r"), PolicyName: p("in"), PolicyDocument: p(allow("s3:*", "*"))}))
	must(t)(c.mine.CreateInstanceProfile(ctx, &sdk.CreateInstanceProfileInput{InstanceProfileName: p("web")}))
	must(t)(c.mine.AddRoleToInstanceProfile(ctx, &sdk.AddRoleToInstanceProfileInput{InstanceProfileName: p("web"), RoleName: p("r")}))
	refused(t, "LimitExceeded")(c.mine.AddRoleToInstanceProfile(ctx, &sdk.AddRoleToInstanceProfileInput{InstanceProfileName: p("web"), RoleName: p("r")}))
	profile := must(t)(c.mine.GetInstanceProfile(ctx, &sdk.GetInstanceProfileInput{InstanceProfileName: p("web")})).(*sdk.GetInstanceProfileOutput).InstanceProfile
	if len(profile.Roles) != 1 || *profile.Roles[0].RoleName != "r" {
		t.Errorf("%+v", profile)
	}
	refused(t, "DeleteConflict")(c.mine.DeleteRole(ctx, &sdk.DeleteRoleInput{RoleName: p("r")}))
	refused(t, "DeleteConflict")(c.mine.DeleteInstanceProfile(ctx, &sdk.DeleteInstanceProfileInput{InstanceProfileName: p("web")}))
	must(t)(c.mine.RemoveRoleFromInstanceProfile(ctx, &sdk.RemoveRoleFromInstanceProfileInput{InstanceProfileName: p("web"), RoleName: p("r")}))
	refused(t, "DeleteConflict")(c.mine.DeleteRole(ctx, &sdk.DeleteRoleInput{RoleName: p("r")}))
	must(t)(c.mine.DeleteRolePolicy(ctx, &sdk.DeleteRolePolicyInput{RoleName: p("r"), PolicyName: p("in")}))
	must(t)(c.mine.DeleteRole(ctx, &sdk.DeleteRoleInput{RoleName: p("r")}))
	must(t)(c.mine.DeleteInstanceProfile(ctx, &sdk.DeleteInstanceProfileInput{InstanceProfileName: p("web")}))
}

// Nobody gets more than they have: by names of other accounts, by policies of other accounts, by handing on a role.
func TestNobodyHelpsThemselves(t *testing.T) {
	c, ctx := newCloud(t), t.Context()
	theirs := must(t)(c.them.CreatePolicy(ctx, &sdk.CreatePolicyInput{PolicyName: p("theirs"), PolicyDocument: p(allow("*", "*"))})).(*sdk.CreatePolicyOutput).Policy
	must(t)(c.them.CreateRole(ctx, &sdk.CreateRoleInput{RoleName: p("theirs"), AssumeRolePolicyDocument: p(assume)}))
	must(t)(c.them.CreateGroup(ctx, &sdk.CreateGroupInput{GroupName: p("theirs")}))
	eve := c.user("eve")
	refused(t, "NoSuchEntity")(c.mine.AttachUserPolicy(ctx, &sdk.AttachUserPolicyInput{UserName: p("eve"), PolicyArn: theirs.Arn}))
	refused(t, "NoSuchEntity")(c.mine.GetPolicy(ctx, &sdk.GetPolicyInput{PolicyArn: theirs.Arn}))
	refused(t, "NoSuchEntity")(c.mine.GetRole(ctx, &sdk.GetRoleInput{RoleName: p("theirs")}))
	refused(t, "NoSuchEntity")(c.mine.AddUserToGroup(ctx, &sdk.AddUserToGroupInput{GroupName: p("theirs"), UserName: p("eve")}))
	refused(t, "NoSuchEntity")(c.mine.DeletePolicy(ctx, &sdk.DeletePolicyInput{PolicyArn: theirs.Arn}))

	refused(t, "AccessDenied")(eve.AttachUserPolicy(ctx, &sdk.AttachUserPolicyInput{UserName: p("eve"), PolicyArn: p(administrator)}))
	// She may attach one policy only, by condition.
	only := fmt.Sprintf(`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"iam:AttachUserPolicy","Resource":"*","Condition":{"ArnEquals":{"iam:PolicyARN":%q}}},
		{"Effect":"Allow","Action":["iam:AddRoleToInstanceProfile","iam:CreateInstanceProfile","iam:AddUserToGroup"],"Resource":["arn:aws:iam::*:instance-profile/*","arn:aws:iam::*:group/mine"]}]}`, "arn:aws:iam::aws:policy/IAMReadOnlyAccess")
	must(t)(c.mine.PutUserPolicy(ctx, &sdk.PutUserPolicyInput{UserName: p("eve"), PolicyName: p("only"), PolicyDocument: &only}))
	refused(t, "AccessDenied")(eve.AttachUserPolicy(ctx, &sdk.AttachUserPolicyInput{UserName: p("eve"), PolicyArn: p(administrator)}))
	must(t)(eve.AttachUserPolicy(ctx, &sdk.AttachUserPolicyInput{UserName: p("eve"), PolicyArn: p("arn:aws:iam::aws:policy/IAMReadOnlyAccess")}))
	// Without PassRole a profile does not get a role from her, whatever the profile allows.
	must(t)(c.mine.CreateRole(ctx, &sdk.CreateRoleInput{RoleName: p("power"), AssumeRolePolicyDocument: p(assume)}))
	must(t)(eve.CreateInstanceProfile(ctx, &sdk.CreateInstanceProfileInput{InstanceProfileName: p("hers")}))
	refused(t, "AccessDenied")(eve.AddRoleToInstanceProfile(ctx, &sdk.AddRoleToInstanceProfileInput{InstanceProfileName: p("hers"), RoleName: p("power")}))
	// A group of another name, in whatever case, is another group.
	must(t)(c.mine.CreateGroup(ctx, &sdk.CreateGroupInput{GroupName: p("admins")}))
	refused(t, "AccessDenied")(eve.AddUserToGroup(ctx, &sdk.AddUserToGroupInput{GroupName: p("ADMINS"), UserName: p("eve")}))

	for name, text := range map[string]string{
		"no JSON": "{", "no effect": `{"Statement":[{"Action":"*","Resource":"*"}]}`, "a principal": strings.Replace(allow("*", "*"), `"Action"`, `"Principal":"*","Action"`, 1),
		"a quota of what is not counted": `{"Statement":[{"Effect":"Limit","Action":"*","Resource":"*","Condition":{"NumericLessThanEquals":{"s3:quota-buckettotalmoons":"1"}}}]}`,
	} {
		_, err := c.mine.PutUserPolicy(ctx, &sdk.PutUserPolicyInput{UserName: p("eve"), PolicyName: p("bad"), PolicyDocument: &text})
		var api smithy.APIError
		if !errors.As(err, &api) || api.ErrorCode() != "MalformedPolicyDocument" {
			t.Errorf("%s: %v", name, err)
		}
	}
	long := allow("s3:"+strings.Repeat("a", 2048), "*")
	refused(t, "LimitExceeded")(c.mine.PutUserPolicy(ctx, &sdk.PutUserPolicyInput{UserName: p("eve"), PolicyName: p("long"), PolicyDocument: &long}))
	half := allow("s3:"+strings.Repeat("a", 1500), "*")
	must(t)(c.mine.PutUserPolicy(ctx, &sdk.PutUserPolicyInput{UserName: p("eve"), PolicyName: p("half"), PolicyDocument: &half}))
	refused(t, "LimitExceeded")(c.mine.PutUserPolicy(ctx, &sdk.PutUserPolicyInput{UserName: p("eve"), PolicyName: p("rest"), PolicyDocument: &half}))
}
