package iam_test

import (
	"bytes"
	"encoding/base32"
	"fmt"
	"image/png"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	sdk "github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/iam/types"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	ststypes "github.com/aws/aws-sdk-go-v2/service/sts/types"

	"karri.dev/internal/aws/wire/wiretest"
	"karri.dev/internal/login"
	"karri.dev/internal/store"
	"karri.dev/internal/totp"
)

// device is a telephone with a seed.
type device struct {
	c      *cloud
	serial *string
	seed   []byte
	clock  time.Duration // how wrong it goes
}

func (c *cloud) device(name string) *device {
	c.t.Helper()
	v := must(c.t)(c.mine.CreateVirtualMFADevice(c.t.Context(), &sdk.CreateVirtualMFADeviceInput{VirtualMFADeviceName: &name})).(*sdk.CreateVirtualMFADeviceOutput).VirtualMFADevice
	seed, err := base32.StdEncoding.DecodeString(string(v.Base32StringSeed))
	if err != nil || len(v.Base32StringSeed) != 64 {
		c.t.Fatalf("seed %q: %v", v.Base32StringSeed, err)
	}
	if _, err := png.Decode(bytes.NewReader(v.QRCodePNG)); err != nil {
		c.t.Fatal(err)
	}
	return &device{c: c, serial: v.SerialNumber, seed: seed}
}

// code is what the telephone shows some steps from now.
func (d *device) code(steps int64) *string {
	code := totp.Code(d.seed, totp.Step(d.c.identity.Now().Add(d.clock))+steps)
	return &code
}

// later lets some steps pass.
func (c *cloud) later(steps int) { c.ahead.Add(int64(steps) * int64(totp.Period)) }

// enable gives a user the device, and waits until its next code.
func (d *device) enable(user string) {
	d.c.t.Helper()
	must(d.c.t)(d.c.mine.EnableMFADevice(d.c.t.Context(), &sdk.EnableMFADeviceInput{UserName: &user, SerialNumber: d.serial, AuthenticationCode1: d.code(-1), AuthenticationCode2: d.code(0)}))
	d.c.later(1)
}

func (c *cloud) sts(a login.Answer) *sts.Client {
	return sts.New(sts.Options{
		Region: "us-east-1", BaseEndpoint: &c.url, RetryMaxAttempts: 1, HTTPClient: &http.Client{Transport: &wiretest.Transport{}},
		Credentials: credentials.NewStaticCredentialsProvider(a.AccessKeyID, a.SecretAccessKey, a.SessionToken),
	})
}

// keyOf makes a user a key.
func (c *cloud) keyOf(user string) login.Answer {
	key := must(c.t)(c.mine.CreateAccessKey(c.t.Context(), &sdk.CreateAccessKeyInput{UserName: &user})).(*sdk.CreateAccessKeyOutput).AccessKey
	return login.Answer{AccessKeyID: *key.AccessKeyId, SecretAccessKey: *key.SecretAccessKey}
}

func answer(c *ststypes.Credentials) login.Answer {
	return login.Answer{AccessKeyID: *c.AccessKeyId, SecretAccessKey: *c.SecretAccessKey, SessionToken: *c.SessionToken}
}

func TestMFADevices(t *testing.T) {
	c, ctx := newCloud(t), t.Context()
	c.user("ann")
	c.user("bob")
	d := c.device("ann")
	if *d.serial != "arn:aws:iam::"+c.account+":mfa/ann" {
		t.Errorf("serial %s", *d.serial)
	}
	refused(t, "EntityAlreadyExists")(c.mine.CreateVirtualMFADevice(ctx, &sdk.CreateVirtualMFADeviceInput{VirtualMFADeviceName: p("ANN")}))
	refused(t, "ValidationError")(c.mine.CreateVirtualMFADevice(ctx, &sdk.CreateVirtualMFADeviceInput{VirtualMFADeviceName: p("a b")}))
	for rec := range store.MFADevices.All(c.store.Snapshot()) {
		if bytes.Contains(rec.Sealed, d.seed) {
			t.Error("the seed is stored in clear")
		}
	}
	enable := func(user string, first, second *string) (any, error) {
		return c.mine.EnableMFADevice(ctx, &sdk.EnableMFADeviceInput{UserName: &user, SerialNumber: d.serial, AuthenticationCode1: first, AuthenticationCode2: second})
	}
	refused(t, "InvalidAuthenticationCode")(enable("ann", d.code(0), d.code(0))) // not two in a row
	refused(t, "InvalidAuthenticationCode")(enable("ann", d.code(1), d.code(0)))
	refused(t, "ValidationError")(enable("ann", p("12345x"), d.code(0)))
	refused(t, "NoSuchEntity")(enable("ghost", d.code(-1), d.code(0)))
	must(t)(enable("ann", d.code(-1), d.code(0)))
	refused(t, "EntityAlreadyExists")(enable("bob", d.code(0), d.code(1)))

	devices := must(t)(c.mine.ListMFADevices(ctx, &sdk.ListMFADevicesInput{UserName: p("ann")})).(*sdk.ListMFADevicesOutput).MFADevices
	one := must(t)(c.mine.GetMFADevice(ctx, &sdk.GetMFADeviceInput{SerialNumber: d.serial, UserName: p("ann")})).(*sdk.GetMFADeviceOutput)
	if len(devices) != 1 || *devices[0].SerialNumber != *d.serial || *one.UserName != "ann" || one.EnableDate == nil {
		t.Errorf("%+v %+v", devices, one)
	}
	refused(t, "NoSuchEntity")(c.mine.GetMFADevice(ctx, &sdk.GetMFADeviceInput{SerialNumber: d.serial, UserName: p("bob")}))
	refused(t, "DeleteConflict")(c.mine.DeleteVirtualMFADevice(ctx, &sdk.DeleteVirtualMFADeviceInput{SerialNumber: d.serial}))
	must(t)(c.mine.TagMFADevice(ctx, &sdk.TagMFADeviceInput{SerialNumber: d.serial, Tags: []types.Tag{{Key: p("k"), Value: p("v")}, {Key: p("l"), Value: p("w")}}}))
	must(t)(c.mine.UntagMFADevice(ctx, &sdk.UntagMFADeviceInput{SerialNumber: d.serial, TagKeys: []string{"L"}}))
	if tags := must(t)(c.mine.ListMFADeviceTags(ctx, &sdk.ListMFADeviceTagsInput{SerialNumber: d.serial})).(*sdk.ListMFADeviceTagsOutput).Tags; len(tags) != 1 || *tags[0].Value != "v" {
		t.Errorf("%+v", tags)
	}

	// Other accounts neither see nor take it.
	for _, serial := range []*string{d.serial, p(strings.Replace(*d.serial, c.account, c.other, 1))} {
		refused(t, "NoSuchEntity")(c.them.DeleteVirtualMFADevice(ctx, &sdk.DeleteVirtualMFADeviceInput{SerialNumber: serial}))
		refused(t, "NoSuchEntity")(c.them.ListMFADeviceTags(ctx, &sdk.ListMFADeviceTagsInput{SerialNumber: serial}))
	}
	if all := must(t)(c.them.ListVirtualMFADevices(ctx, &sdk.ListVirtualMFADevicesInput{})).(*sdk.ListVirtualMFADevicesOutput); len(all.VirtualMFADevices) != 0 {
		t.Errorf("%+v", all)
	}
	refused(t, "NoSuchEntity")(c.mine.EnableMFADevice(ctx, &sdk.EnableMFADeviceInput{UserName: p("bob"), SerialNumber: p("GAHT12345678"), AuthenticationCode1: p("123456"), AuthenticationCode2: p("234567")}))

	// A clock that has gone wrong is followed by two codes; a code counts once.
	c.later(10)
	d.clock = 5 * time.Minute
	refused(t, "NoSuchEntity")(c.mine.ResyncMFADevice(ctx, &sdk.ResyncMFADeviceInput{UserName: p("bob"), SerialNumber: d.serial, AuthenticationCode1: d.code(-1), AuthenticationCode2: d.code(0)}))
	must(t)(c.mine.ResyncMFADevice(ctx, &sdk.ResyncMFADeviceInput{UserName: p("ann"), SerialNumber: d.serial, AuthenticationCode1: d.code(-1), AuthenticationCode2: d.code(0)}))
	refused(t, "InvalidAuthenticationCode")(c.mine.ResyncMFADevice(ctx, &sdk.ResyncMFADeviceInput{UserName: p("ann"), SerialNumber: d.serial, AuthenticationCode1: d.code(-1), AuthenticationCode2: d.code(0)}))

	for i := range 3 {
		c.device(fmt.Sprintf("spare%d", i))
	}
	var names []string
	for marker := (*string)(nil); ; {
		page := must(t)(c.mine.ListVirtualMFADevices(ctx, &sdk.ListVirtualMFADevicesInput{MaxItems: aws.Int32(2), Marker: marker})).(*sdk.ListVirtualMFADevicesOutput)
		for _, v := range page.VirtualMFADevices {
			names = append(names, (*v.SerialNumber)[strings.LastIndex(*v.SerialNumber, "/")+1:])
		}
		if marker = page.Marker; !page.IsTruncated {
			break
		}
	}
	if strings.Join(names, " ") != "ann spare0 spare1 spare2" {
		t.Errorf("%v", names)
	}
	for status, n := range map[types.AssignmentStatusType]int{types.AssignmentStatusTypeAssigned: 1, types.AssignmentStatusTypeUnassigned: 3, types.AssignmentStatusTypeAny: 4} {
		all := must(t)(c.mine.ListVirtualMFADevices(ctx, &sdk.ListVirtualMFADevicesInput{AssignmentStatus: status})).(*sdk.ListVirtualMFADevicesOutput).VirtualMFADevices
		if len(all) != n || status == types.AssignmentStatusTypeAssigned && *all[0].User.UserName != "ann" {
			t.Errorf("%s: %+v", status, all)
		}
	}

	refused(t, "NoSuchEntity")(c.mine.DeactivateMFADevice(ctx, &sdk.DeactivateMFADeviceInput{UserName: p("bob"), SerialNumber: d.serial}))
	must(t)(c.mine.DeactivateMFADevice(ctx, &sdk.DeactivateMFADeviceInput{UserName: p("ann"), SerialNumber: d.serial}))
	must(t)(c.mine.DeleteVirtualMFADevice(ctx, &sdk.DeleteVirtualMFADeviceInput{SerialNumber: d.serial}))
	refused(t, "NoSuchEntity")(c.mine.DeleteVirtualMFADevice(ctx, &sdk.DeleteVirtualMFADeviceInput{SerialNumber: d.serial}))
}

// What needs MFA is refused without: to keys, to sessions, to roles, at logins.
func TestMFAInDecisions(t *testing.T) {
	c, ctx := newCloud(t), t.Context()
	c.user("ann")
	c.user("eve")
	key := c.keyOf("ann")
	d := c.device("ann")
	d.enable("ann")
	young := `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":["iam:ListUsers","sts:AssumeRole"],"Resource":"*","Condition":{"Bool":{"aws:MultiFactorAuthPresent":"true"}}},
		{"Effect":"Allow","Action":"iam:ListRoles","Resource":"*","Condition":{"NumericLessThan":{"aws:MultiFactorAuthAge":"3600"}}}]}`
	for _, user := range []string{"ann", "eve"} {
		must(t)(c.mine.PutUserPolicy(ctx, &sdk.PutUserPolicyInput{UserName: &user, PolicyName: p("mfa"), PolicyDocument: &young}))
	}
	refused(t, "AccessDenied")(c.session(key).ListUsers(ctx, &sdk.ListUsersInput{}))
	token := func(serial, code *string) (any, error) {
		return c.sts(key).GetSessionToken(ctx, &sts.GetSessionTokenInput{SerialNumber: serial, TokenCode: code})
	}
	refused(t, "AccessDenied")(token(d.serial, nil))
	refused(t, "AccessDenied")(token(nil, d.code(0)))
	refused(t, "ValidationError")(token(d.serial, p("12345")))
	wrong := *d.code(0)
	wrong = wrong[1:] + string('0'+(wrong[0]-'0'+1)%10)
	refused(t, "AccessDenied")(token(d.serial, &wrong))
	refused(t, "AccessDenied")(token(d.serial, d.code(2)))
	code := d.code(0)
	got := answer(must(t)(token(d.serial, code)).(*sts.GetSessionTokenOutput).Credentials)
	with := c.session(got)
	must(t)(with.ListUsers(ctx, &sdk.ListUsersInput{}))
	must(t)(with.ListRoles(ctx, &sdk.ListRolesInput{}))
	refused(t, "AccessDenied")(token(d.serial, code)) // used
	refused(t, "AccessDenied")(token(d.serial, d.code(-1)))
	without := answer(must(t)(token(nil, nil)).(*sts.GetSessionTokenOutput).Credentials)
	refused(t, "InvalidClientTokenId")(c.session(without).ListUsers(ctx, &sdk.ListUsersInput{}))

	// Somebody else's device vouches for nobody.
	c.later(1)
	eve := c.keyOf("eve")
	refused(t, "AccessDenied")(c.sts(eve).GetSessionToken(ctx, &sts.GetSessionTokenInput{SerialNumber: d.serial, TokenCode: d.code(0)}))

	// A role whose trust asks for it, by a key with a code and by the session that has one.
	trust := fmt.Sprintf(`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::%s:root"},"Action":"sts:AssumeRole","Condition":{"Bool":{"aws:MultiFactorAuthPresent":"true"}}}]}`, c.account)
	role := must(t)(c.mine.CreateRole(ctx, &sdk.CreateRoleInput{RoleName: p("careful"), AssumeRolePolicyDocument: &trust})).(*sdk.CreateRoleOutput).Role
	assume := func(a login.Answer, serial, code *string) (any, error) {
		return c.sts(a).AssumeRole(ctx, &sts.AssumeRoleInput{RoleArn: role.Arn, RoleSessionName: p("me"), SerialNumber: serial, TokenCode: code})
	}
	refused(t, "AccessDenied")(assume(key, nil, nil))
	refused(t, "AccessDenied")(assume(without, nil, nil))
	must(t)(assume(key, d.serial, d.code(0)))
	must(t)(assume(got, nil, nil))

	// At logins.
	must(t)(c.mine.CreateLoginProfile(ctx, &sdk.CreateLoginProfileInput{UserName: p("ann"), Password: p("Correct-Horse-1")}))
	me := []string{"account", "karri", "user", "ann", "password", "Correct-Horse-1"}
	c.later(1)
	c.says(login.NeedsCode, me...)
	c.says(login.WrongCode, append(me, "code", wrong)...)
	c.says(login.Denied, "account", "karri", "user", "ann", "password", "wrong", "code", *d.code(0)) // and the code is not used up
	a := c.login(append(me, "code", *d.code(0))...)
	must(t)(c.session(a).ListUsers(ctx, &sdk.ListUsersInput{}))
	c.says(login.WrongCode, append(me, "code", *d.code(0))...)

	// A code counts once, however many ask at a time.
	c.later(2)
	code = d.code(0)
	var took sync.Map
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			if _, err := token(d.serial, code); err == nil {
				took.Store(i, true)
			}
		})
	}
	all.Wait()
	n := 0
	took.Range(func(any, any) bool { n++; return true })
	if n != 1 {
		t.Errorf("one code was taken %d times", n)
	}

	// Nobody tries codes for long: then the right one is refused as well, for some time.
	c.later(30)
	for range 12 {
		if _, err := token(d.serial, &wrong); err == nil {
			t.Fatal("a wrong code was taken")
		}
	}
	refused(t, "Throttling")(token(d.serial, d.code(0)))
	c.later(3)
	must(t)(token(d.serial, d.code(0)))

	// A device that was taken away, and one made anew in its name, are others.
	must(t)(c.mine.DeactivateMFADevice(ctx, &sdk.DeactivateMFADeviceInput{UserName: p("ann"), SerialNumber: d.serial}))
	c.later(2)
	refused(t, "AccessDenied")(token(d.serial, d.code(0)))
	must(t)(c.mine.DeleteVirtualMFADevice(ctx, &sdk.DeleteVirtualMFADeviceInput{SerialNumber: d.serial}))
	c.device("ann").enable("ann")
	refused(t, "AccessDenied")(token(d.serial, d.code(0)))
}
