package iam_test

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/iam"

	"karri.dev/internal/login"
	"karri.dev/internal/store"
)

// login sends the form of a login; fields go in pairs of name and value.
func (c *cloud) login(fields ...string) (a login.Answer) {
	c.t.Helper()
	form := url.Values{}
	for i := 0; i < len(fields); i += 2 {
		form.Set(fields[i], fields[i+1])
	}
	res, err := http.PostForm(c.url+login.Path, form)
	if err != nil {
		c.t.Fatal(err)
	}
	defer res.Body.Close()
	if err := json.NewDecoder(res.Body).Decode(&a); err != nil || (a.Code == "") != (res.StatusCode == 200) {
		c.t.Fatalf("%d %+v %v", res.StatusCode, a, err)
	}
	return a
}

// says fails unless a login was refused with this word.
func (c *cloud) says(want string, fields ...string) {
	c.t.Helper()
	if a := c.login(fields...); a.Code != want || a.AccessKeyID != "" || a.ARN != "" || a.AccountID != "" {
		c.t.Errorf("login: %+v, want %q", a, want)
	}
}

func (c *cloud) days(n int) { c.ahead.Add(int64(n) * int64(24*time.Hour)) }

func TestLoginProfile(t *testing.T) {
	c, ctx := newCloud(t), t.Context()
	jane := c.user("Jane")
	refused(t, "NoSuchEntity")(c.mine.GetLoginProfile(ctx, &sdk.GetLoginProfileInput{UserName: p("Jane")}))
	refused(t, "NoSuchEntity")(c.mine.CreateLoginProfile(ctx, &sdk.CreateLoginProfileInput{UserName: p("ghost"), Password: p("Correct-Horse-1")}))
	for _, bad := range []string{"short1A", "onlylowercase", "lower4444444", "KARRI"} {
		refused(t, "PasswordPolicyViolation")(c.mine.CreateLoginProfile(ctx, &sdk.CreateLoginProfileInput{UserName: p("Jane"), Password: &bad}))
	}
	for _, bad := range []string{strings.Repeat("aA1", 43), "Snowman-1234☃", "Null-1234\x00"} {
		refused(t, "ValidationError")(c.mine.CreateLoginProfile(ctx, &sdk.CreateLoginProfileInput{UserName: p("Jane"), Password: &bad}))
	}
	made := must(t)(c.mine.CreateLoginProfile(ctx, &sdk.CreateLoginProfileInput{UserName: p("jane"), Password: p("Correct-Horse-1"), PasswordResetRequired: true})).(*sdk.CreateLoginProfileOutput)
	if *made.LoginProfile.UserName != "Jane" || !made.LoginProfile.PasswordResetRequired {
		t.Errorf("%+v", made.LoginProfile)
	}
	refused(t, "EntityAlreadyExists")(c.mine.CreateLoginProfile(ctx, &sdk.CreateLoginProfileInput{UserName: p("JANE"), Password: p("Correct-Horse-1")}))
	if text := stored(c); strings.Contains(text, "Correct-Horse") || !strings.Contains(text, "$argon2id$") {
		t.Errorf("a password is kept as %s", text)
	}

	me := []string{"account", "karri", "user", "jane", "password"}
	c.says(login.NeedsNew, append(me, "Correct-Horse-1")...)
	c.says("AccessDenied", append(me, "Correct-Horse-1", "new_password", "Better-Horse-22")...) // nothing lets her yet
	must(t)(c.mine.UpdateAccountPasswordPolicy(ctx, &sdk.UpdateAccountPasswordPolicyInput{AllowUsersToChangePassword: true}))
	c.says("PasswordPolicyViolation", append(me, "Correct-Horse-1", "new_password", "12345")...)
	a := c.login(append(me, "Correct-Horse-1", "new_password", "Better-Horse-22")...)
	if a.ARN != "arn:aws:iam::"+c.account+":user/Jane" || !strings.HasPrefix(a.AccessKeyID, "ASIA") || time.Until(*a.Expiration) < 11*time.Hour {
		t.Fatalf("%+v", a)
	}
	c.says(login.Denied, append(me, "Correct-Horse-1")...)
	if a := c.login("account", c.account, "user", "Jane", "password", "Better-Horse-22", "seconds", "900"); a.Code != "" || time.Until(*a.Expiration) > 15*time.Minute {
		t.Errorf("%+v", a)
	}
	c.says("ValidationError", append(me, "Better-Horse-22", "seconds", "100000")...)

	// As in AWS's console, IAM is open to the session, as far as its user's policies go.
	session := c.session(a)
	must(t)(session.ChangePassword(ctx, &sdk.ChangePasswordInput{OldPassword: p("Better-Horse-22"), NewPassword: p("Third-Horse-333")}))
	refused(t, "AccessDenied")(session.ListUsers(ctx, &sdk.ListUsersInput{}))

	refused(t, "AccessDenied")(jane.ChangePassword(ctx, &sdk.ChangePasswordInput{OldPassword: p("wrong"), NewPassword: p("Fourth-Horse-4")}))
	refused(t, "InvalidUserType")(c.mine.ChangePassword(ctx, &sdk.ChangePasswordInput{OldPassword: p("wrong"), NewPassword: p("Fourth-Horse-4")}))
	refused(t, "DeleteConflict")(c.mine.DeleteUser(ctx, &sdk.DeleteUserInput{UserName: p("Jane")}))

	// The password stays with its user, whatever that is called, and does not come back with the name.
	must(t)(c.mine.UpdateUser(ctx, &sdk.UpdateUserInput{UserName: p("Jane"), NewUserName: p("june")}))
	if a := c.login("account", "karri", "user", "june", "password", "Third-Horse-333"); a.Code != "" {
		t.Errorf("%+v", a)
	}
	c.says(login.Denied, append(me, "Third-Horse-333")...)
	must(t)(c.mine.UpdateLoginProfile(ctx, &sdk.UpdateLoginProfileInput{UserName: p("june"), Password: p("Fifth-Horse-5555"), PasswordResetRequired: aws.Bool(true)}))
	c.says(login.NeedsNew, "account", "karri", "user", "june", "password", "Fifth-Horse-5555")
	must(t)(c.mine.DeleteLoginProfile(ctx, &sdk.DeleteLoginProfileInput{UserName: p("june")}))
	c.says(login.Denied, "account", "karri", "user", "june", "password", "Fifth-Horse-5555")
	refused(t, "NoSuchEntity")(c.mine.DeleteLoginProfile(ctx, &sdk.DeleteLoginProfileInput{UserName: p("june")}))
	refused(t, "NoSuchEntity")(c.mine.UpdateLoginProfile(ctx, &sdk.UpdateLoginProfileInput{UserName: p("june"), Password: p("Fifth-Horse-5555")}))
}

// stored gives what the store has of passwords.
func stored(c *cloud) string {
	var out strings.Builder
	for p := range store.LoginProfiles.All(c.store.Snapshot()) {
		text, _ := json.Marshal(p)
		out.Write(text)
	}
	return out.String()
}

func TestPasswordPolicy(t *testing.T) {
	c, ctx := newCloud(t), t.Context()
	refused(t, "NoSuchEntity")(c.mine.GetAccountPasswordPolicy(ctx, &sdk.GetAccountPasswordPolicyInput{}))
	refused(t, "NoSuchEntity")(c.mine.DeleteAccountPasswordPolicy(ctx, &sdk.DeleteAccountPasswordPolicyInput{}))
	for _, bad := range []*sdk.UpdateAccountPasswordPolicyInput{
		{MinimumPasswordLength: aws.Int32(5)}, {MinimumPasswordLength: aws.Int32(129)}, {MaxPasswordAge: aws.Int32(1096)}, {MaxPasswordAge: aws.Int32(-1)}, {PasswordReusePrevention: aws.Int32(25)},
	} {
		refused(t, "ValidationError")(c.mine.UpdateAccountPasswordPolicy(ctx, bad))
	}
	must(t)(c.mine.UpdateAccountPasswordPolicy(ctx, &sdk.UpdateAccountPasswordPolicyInput{
		MinimumPasswordLength: aws.Int32(10), RequireNumbers: true, RequireSymbols: true, RequireLowercaseCharacters: true, RequireUppercaseCharacters: true,
		MaxPasswordAge: aws.Int32(30), PasswordReusePrevention: aws.Int32(3), AllowUsersToChangePassword: true,
	}))
	have := must(t)(c.mine.GetAccountPasswordPolicy(ctx, &sdk.GetAccountPasswordPolicyInput{})).(*sdk.GetAccountPasswordPolicyOutput).PasswordPolicy
	if *have.MinimumPasswordLength != 10 || !have.ExpirePasswords || *have.MaxPasswordAge != 30 || *have.PasswordReusePrevention != 3 || *have.HardExpiry {
		t.Errorf("%+v", have)
	}
	refused(t, "NoSuchEntity")(c.them.GetAccountPasswordPolicy(ctx, &sdk.GetAccountPasswordPolicyInput{}))
	ann := c.user("ann")
	for _, bad := range []string{"Short-1aaa"[:9], "no-upper-1", "NO-LOWER-1", "No-number-", "NoSymbol11"} {
		refused(t, "PasswordPolicyViolation")(c.mine.CreateLoginProfile(ctx, &sdk.CreateLoginProfileInput{UserName: p("ann"), Password: &bad}))
	}
	must(t)(c.mine.CreateLoginProfile(ctx, &sdk.CreateLoginProfileInput{UserName: p("ann"), Password: p("Password-0")}))
	change := func(from, to string) (any, error) {
		return ann.ChangePassword(ctx, &sdk.ChangePasswordInput{OldPassword: &from, NewPassword: &to})
	}
	refused(t, "PasswordPolicyViolation")(change("Password-0", "Password-0")) // the present one counts
	must(t)(change("Password-0", "Password-1"))
	must(t)(change("Password-1", "Password-2"))
	refused(t, "PasswordPolicyViolation")(change("Password-2", "Password-0"))
	must(t)(change("Password-2", "Password-3"))
	must(t)(change("Password-3", "Password-0")) // the fourth before

	// What has expired can be changed at a login, unless the end is hard.
	me := []string{"account", "karri", "user", "ann", "password"}
	c.days(29)
	if a := c.login(append(me, "Password-0")...); a.Code != "" {
		t.Errorf("%+v", a)
	}
	c.days(1)
	c.says(login.NeedsNew, append(me, "Password-0")...)
	if a := c.login(append(me, "Password-0", "new_password", "Password-9")...); a.Code != "" {
		t.Errorf("%+v", a)
	}
	must(t)(c.mine.UpdateAccountPasswordPolicy(ctx, &sdk.UpdateAccountPasswordPolicyInput{MaxPasswordAge: aws.Int32(30), HardExpiry: aws.Bool(true)}))
	have = must(t)(c.mine.GetAccountPasswordPolicy(ctx, &sdk.GetAccountPasswordPolicyInput{})).(*sdk.GetAccountPasswordPolicyOutput).PasswordPolicy
	if *have.MinimumPasswordLength != 6 || have.RequireNumbers || have.PasswordReusePrevention != nil || have.AllowUsersToChangePassword || !*have.HardExpiry {
		t.Errorf("what was not given did not get its default: %+v", have)
	}
	c.days(31)
	c.says(login.Expired, append(me, "Password-9", "new_password", "Password-8")...)
	must(t)(c.mine.UpdateLoginProfile(ctx, &sdk.UpdateLoginProfileInput{UserName: p("ann"), Password: p("simple")}))
	if a := c.login(append(me, "simple")...); a.Code != "" {
		t.Errorf("%+v", a)
	}
	// Without the account's leave, a policy lets somebody change the own password, and nobody else's.
	refused(t, "AccessDenied")(change("simple", "simpler"))
	must(t)(c.mine.AttachUserPolicy(ctx, &sdk.AttachUserPolicyInput{UserName: p("ann"), PolicyArn: p("arn:aws:iam::aws:policy/IAMUserChangePassword")}))
	must(t)(change("simple", "simpler"))
	refused(t, "AccessDenied")(ann.UpdateLoginProfile(ctx, &sdk.UpdateLoginProfileInput{UserName: p("ann"), Password: p("simple")}))
	must(t)(c.mine.DeleteAccountPasswordPolicy(ctx, &sdk.DeleteAccountPasswordPolicyInput{}))
	refused(t, "PasswordPolicyViolation")(change("simpler", "simplest"))
	// A denial counts before the account's leave.
	must(t)(c.mine.UpdateAccountPasswordPolicy(ctx, &sdk.UpdateAccountPasswordPolicyInput{AllowUsersToChangePassword: true}))
	deny := strings.Replace(allow("iam:ChangePassword", "*"), "Allow", "Deny", 1)
	must(t)(c.mine.PutUserPolicy(ctx, &sdk.PutUserPolicyInput{UserName: p("ann"), PolicyName: p("no"), PolicyDocument: &deny}))
	refused(t, "AccessDenied")(change("simpler", "simplest"))
}

// Whether a name is there shows nowhere, and nobody guesses for long.
func TestLoginAttacks(t *testing.T) {
	c, ctx := newCloud(t), t.Context()
	c.user("bob")
	c.user("without")
	must(t)(c.mine.CreateLoginProfile(ctx, &sdk.CreateLoginProfileInput{UserName: p("bob"), Password: p("Correct-Horse-1")}))
	must(t)(c.them.CreateUser(ctx, &sdk.CreateUserInput{UserName: p("bob")}))
	same := map[string]bool{}
	for _, try := range [][]string{
		{"karri", "bob", "Wrong-Horse-1"},
		{"karri", "nobody", "Correct-Horse-1"},
		{"nowhere", "bob", "Correct-Horse-1"},
		{"other", "bob", "Correct-Horse-1"},
		{"karri", "without", "Correct-Horse-1"},
		{"karri", "without", ""},
		{"karri", "", "Correct-Horse-1"},
		{"", "", ""},
		{"karri", "bob", strings.Repeat("x", 4000)},
	} {
		a := c.login("account", try[0], "user", try[1], "password", try[2], "code", "123456", "new_password", "Another-Horse-1")
		same[a.Code+" "+a.Message] = true
	}
	if len(same) != 1 {
		t.Errorf("refusals tell apart: %v", same)
	}
	// What is in the URL does not count.
	res, err := http.PostForm(c.url+login.Path+"?account=karri&user=bob&password=Correct-Horse-1", nil)
	if err != nil || res.StatusCode != http.StatusUnauthorized {
		t.Errorf("%v %v", res, err)
	}
	// Bob's account is one, whatever it is called, and so are his tries; the right password comes too late.
	c.ahead.Add(int64(time.Hour))
	names := []string{"karri", c.account}
	for i := range 10 {
		c.says(login.Denied, "account", names[i%2], "user", []string{"bob", "BOB"}[i%2], "password", "guess")
	}
	c.says(login.TooOften, "account", "karri", "user", "bob", "password", "Correct-Horse-1")
	c.says(login.TooOften, "account", c.account, "user", "Bob", "password", "guess")
	if a := c.login("account", "other", "user", "nobody", "password", "guess"); a.Code != login.Denied {
		t.Errorf("somebody else's tries count for all: %+v", a)
	}
	c.ahead.Add(int64(31 * time.Second))
	if a := c.login("account", "karri", "user", "bob", "password", "Correct-Horse-1"); a.Code != "" {
		t.Errorf("half a minute later: %+v", a)
	}
	// One source cannot try many names.
	c.ahead.Add(int64(time.Hour))
	for i := range 30 {
		c.says(login.Denied, "account", "karri", "user", "name"+string(rune('a'+i)), "password", "guess")
	}
	c.says(login.TooOften, "account", "karri", "user", "fresh", "password", "guess")
}
