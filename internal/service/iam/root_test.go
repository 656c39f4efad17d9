package iam_test

import (
	"strings"
	"testing"

	sdk "github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/sts"

	"karri.dev/internal/login"
)

// Root has a password and MFA devices of its own, and the summary and the report say so.
func TestRootLogin(t *testing.T) {
	c, ctx := newCloud(t), t.Context()
	summary := func() string {
		m := must(t)(c.mine.GetAccountSummary(ctx, &sdk.GetAccountSummaryInput{})).(*sdk.GetAccountSummaryOutput).SummaryMap
		return string('0'+m["AccountMFAEnabled"]) + string('0'+m["AccountPasswordPresent"]) + string('0'+m["MFADevicesInUse"])
	}
	if got := summary(); got != "000" {
		t.Errorf("summary %s", got)
	}
	me := []string{"account", "karri", "root", "true", "password", "Root-Horse-1"}
	c.says(login.Denied, me...)
	if err := c.identity.SetRootPassword(ctx, "karri", "Root-Horse-1"); err != nil {
		t.Fatal(err)
	}
	a := c.login(me...)
	if a.ARN != "arn:aws:iam::"+c.account+":root" {
		t.Fatalf("%+v", a)
	}
	// Root of the session may what root may, beside what no session may.
	root := c.session(a)
	must(t)(root.ListUsers(ctx, &sdk.ListUsersInput{}))
	if u := must(t)(root.GetUser(ctx, &sdk.GetUserInput{})).(*sdk.GetUserOutput).User; *u.UserId != c.account || u.PasswordLastUsed == nil {
		t.Errorf("%+v", u)
	}
	refused(t, "AccessDenied")(c.sts(a).GetSessionToken(ctx, &sts.GetSessionTokenInput{}))
	refused(t, "InvalidUserType")(root.ChangePassword(ctx, &sdk.ChangePasswordInput{OldPassword: p("Root-Horse-1"), NewPassword: p("Root-Horse-2")}))
	if a := c.login(append(me, "new_password", "Root-Horse-2")...); a.Code != "" {
		t.Errorf("%+v", a)
	}
	c.says(login.Denied, me...)
	me[5] = "Root-Horse-2"
	c.says("PasswordPolicyViolation", append(me, "new_password", "simple")...)

	// A device of root's: it is asked for at logins, and vouches for keys' sessions.
	d := c.device("root-account-mfa-device")
	admin := c.user("ann")
	must(t)(c.mine.AttachUserPolicy(ctx, &sdk.AttachUserPolicyInput{UserName: p("ann"), PolicyArn: p(administrator)}))
	enable := func(client *sdk.Client, name string) (any, error) {
		return client.EnableMFADevice(ctx, &sdk.EnableMFADeviceInput{UserName: &name, SerialNumber: d.serial, AuthenticationCode1: d.code(-1), AuthenticationCode2: d.code(0)})
	}
	refused(t, "NoSuchEntity")(enable(admin, c.account)) // nobody else gives root a device
	refused(t, "NoSuchEntity")(enable(c.mine, "root"))
	must(t)(enable(c.mine, c.account))
	if got := summary(); got != "111" {
		t.Errorf("summary %s", got)
	}
	c.later(1)
	c.says(login.NeedsCode, me...)
	if a := c.login(append(me, "code", *d.code(0))...); a.Code != "" {
		t.Errorf("%+v", a)
	}
	c.later(1)
	key := login.Answer{AccessKeyID: "AKIAADMINADMINADMIN1", SecretAccessKey: "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"}
	got := answer(must(t)(c.sts(key).GetSessionToken(ctx, &sts.GetSessionTokenInput{SerialNumber: d.serial, TokenCode: d.code(0)})).(*sts.GetSessionTokenOutput).Credentials)
	must(t)(c.session(got).ListUsers(ctx, &sdk.ListUsersInput{})) // IAM is open to sessions that a device vouched for

	list := must(t)(c.mine.ListMFADevices(ctx, &sdk.ListMFADevicesInput{})).(*sdk.ListMFADevicesOutput).MFADevices
	if len(list) != 1 || *list[0].SerialNumber != *d.serial || *list[0].UserName != c.account {
		t.Errorf("%+v", list)
	}
	if one := must(t)(c.mine.GetMFADevice(ctx, &sdk.GetMFADeviceInput{SerialNumber: d.serial})).(*sdk.GetMFADeviceOutput); *one.SerialNumber != *d.serial {
		t.Errorf("%+v", one)
	}
	virtual := must(t)(c.mine.ListVirtualMFADevices(ctx, &sdk.ListVirtualMFADevicesInput{})).(*sdk.ListVirtualMFADevicesOutput).VirtualMFADevices
	if len(virtual) != 1 || *virtual[0].User.Arn != "arn:aws:iam::"+c.account+":root" {
		t.Errorf("%+v", virtual)
	}
	must(t)(c.mine.GenerateCredentialReport(ctx, &sdk.GenerateCredentialReportInput{}))
	report := string(must(t)(c.mine.GetCredentialReport(ctx, &sdk.GetCredentialReportInput{})).(*sdk.GetCredentialReportOutput).Content)
	if row := strings.Split(strings.Split(report, "\n")[1], ","); row[0] != "<root_account>" || row[3] != "not_supported" || !strings.HasPrefix(row[4], "20") || row[7] != "true" {
		t.Errorf("%v", row)
	}

	// An administrator of the account is not root; root can always get rid of its own, and the cloud's administrator too.
	refused(t, "NoSuchEntity")(admin.DeactivateMFADevice(ctx, &sdk.DeactivateMFADeviceInput{UserName: &c.account, SerialNumber: d.serial}))
	refused(t, "DeleteConflict")(admin.DeleteVirtualMFADevice(ctx, &sdk.DeleteVirtualMFADeviceInput{SerialNumber: d.serial}))
	must(t)(c.mine.DeactivateMFADevice(ctx, &sdk.DeactivateMFADeviceInput{UserName: &c.account, SerialNumber: d.serial}))
	c.later(2)
	must(t)(enable(c.mine, c.account))
	if err := c.identity.RemoveRootDevices(ctx, "karri"); err != nil {
		t.Fatal(err)
	}
	if a := c.login(me...); a.Code != "" {
		t.Errorf("%+v", a)
	}
	// A user with the account's id for a name is meant by it, not root.
	c.user(c.account)
	c.later(2)
	must(t)(enable(c.mine, c.account))
	if got := summary(); got[0] != '0' {
		t.Errorf("summary %s", got)
	}
	// The other account's root is somebody else.
	c.says(login.Denied, "account", "other", "root", "true", "password", "Root-Horse-2")
}
