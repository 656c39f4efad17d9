package audit

import (
	"bytes"
	"flag"
	"net/netip"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"karri.dev/internal/aws/call"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func TestEvents(t *testing.T) {
	var out bytes.Buffer
	w := NewWriter(&out)
	at := time.Date(2026, 11, 21, 12, 0, 0, 5, time.UTC)
	root := call.Caller{AccountID: "123456789012", UserID: "123456789012", ARN: "arn:aws:iam::123456789012:root", AccessKeyID: "AKIA"}
	user := call.Caller{AccountID: "123456789012", UserID: "AIDA", UserName: "bob", ARN: "arn:aws:iam::123456789012:user/bob", AccessKeyID: "AKIB"}
	info := func(c call.Caller, service, operation string) *call.Info {
		return &call.Info{
			Caller: c, RequestID: "id", Service: service, Operation: operation, Region: "us-east-1",
			SourceIP: netip.MustParseAddr("192.0.2.1"), UserAgent: "aws-cli", Time: at,
		}
	}
	w.Record(New(info(root, "ec2", "RunInstances"), url.Values{
		"Action": {"RunInstances"}, "ImageId": {"ami-1"}, "UserData": {"c2VjcmV0"}, "ClientToken": {"t"},
		"LaunchTemplate.UserData": {"c2VjcmV0"}, "Long": {strings.Repeat("é", 1000)},
	}, "", "", ""))
	w.Record(New(info(root, "ec2", "CreateVpnConnection"), url.Values{"Options.TunnelOptions.1.PreSharedKey": {"hush"}, "VpnGatewayId": {"vgw-1"}}, "", "", ""))
	w.Record(New(info(user, "ec2", "ImportKeyPair"), url.Values{"PublicKeyMaterial": {"ssh-rsa"}, "NextToken": {"n"}}, "", "InvalidKeyPair.Duplicate", "no"))
	w.Record(New(info(call.Caller{}, "s3", "GetObject"), url.Values{"x-amz-server-side-encryption-customer-key": {"hush"}}, "bucket/key\n", "AccessDenied", "Access Denied"))
	role := call.Caller{
		AccountID: "123456789012", UserID: "AROA:me", ARN: "arn:aws:sts::123456789012:assumed-role/deploy/me", AccessKeyID: "ASIA",
		Session: &call.Session{
			Kind: call.RoleSession, AccountID: "123456789012", PrincipalID: "AROA", Name: "me", IssuedAt: at, SourceIdentity: "alice", InstanceID: "i-1",
			RoleARN: "arn:aws:iam::123456789012:role/x/deploy", RoleName: "deploy", Provider: "https://id.example.com", Subject: "robot",
		},
	}
	fed := call.Caller{
		AccountID: "123456789012", UserID: "123456789012:carol", ARN: "arn:aws:sts::123456789012:federated-user/carol", AccessKeyID: "ASIB",
		Session: &call.Session{Kind: call.FederatedSession, AccountID: "123456789012", PrincipalID: "AIDA", Name: "carol", IssuedAt: at},
	}
	mfa := user
	mfa.Session = &call.Session{Kind: call.UserSession, AccountID: "123456789012", PrincipalID: "AIDA", IssuedAt: at, MFA: true, ImpersonatedBy: "arn:aws:iam::000000000000:root"}
	guest := info(role, "s3", "ListBuckets")
	guest.SourceVPC = "vpc-1"
	w.Record(New(guest, nil, "", "", ""))
	w.Record(New(info(fed, "sts", "AssumeRole"), url.Values{"RoleArn": {"arn:aws:iam::123456789012:role/x"}}, "", "AccessDenied", "no"))
	w.Record(New(info(mfa, "sts", "AssumeRoleWithSAML"), url.Values{"SAMLAssertion": {"hush"}, "WebIdentityToken": {"hush"}, "TokenCode": {"hush"}}, "", "", ""))
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	if *update {
		if err := os.WriteFile("testdata/events.golden", out.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile("testdata/events.golden")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), out.String()); diff != "" {
		t.Error(diff)
	}
	for _, s := range []string{"c2VjcmV0", "hush"} {
		if strings.Contains(out.String(), s) {
			t.Errorf("%q is in the record", s)
		}
	}
}
