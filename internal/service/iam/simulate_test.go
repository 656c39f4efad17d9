package iam_test

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	sdk "github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/iam/types"
	"pgregory.net/rapid"

	"karri.dev/internal/authz"
	"karri.dev/internal/aws/awserr"
	"karri.dev/internal/aws/call"
	shape "karri.dev/internal/aws/shape/iam"
	"karri.dev/internal/identity"
	"karri.dev/internal/oidc"
	"karri.dev/internal/policy"
	"karri.dev/internal/resource"
	"karri.dev/internal/seal"
	"karri.dev/internal/service/iam"
	"karri.dev/internal/store"
)

func TestSimulateCustomPolicy(t *testing.T) {
	c, ctx := newCloud(t), t.Context()
	first := "{\"Version\":\"2012-10-17\",\n \"Statement\":[\n  {\"Effect\":\"Allow\",\"Action\":\"s3:Get*\",\"Resource\":\"arn:aws:s3:::home/${aws:username}/*\"},\n" +
		"  {\"Effect\":\"Allow\",\"Action\":\"s3:Put*\",\"Resource\":\"*\",\"Condition\":{\"IpAddress\":{\"aws:SourceIp\":\"10.0.0.0/8\"},\"Bool\":{\"aws:SecureTransport\":\"true\"}}}\n ]}"
	second := `{"Version":"2012-10-17","Statement":{"Effect":"Deny","Action":"s3:*","Resource":"arn:aws:s3:::home/secret/*"}}`
	simulate := func(change func(*sdk.SimulateCustomPolicyInput)) []types.EvaluationResult {
		t.Helper()
		in := &sdk.SimulateCustomPolicyInput{PolicyInputList: []string{first, second}, ActionNames: []string{"s3:GetObject"}}
		change(in)
		return must(t)(c.mine.SimulateCustomPolicy(ctx, in)).(*sdk.SimulateCustomPolicyOutput).EvaluationResults
	}
	ann := types.ContextEntry{ContextKeyName: p("AWS:UserName"), ContextKeyType: types.ContextKeyTypeEnumString, ContextKeyValues: []string{"ann"}}
	r := simulate(func(in *sdk.SimulateCustomPolicyInput) {
		in.ResourceArns, in.ContextEntries = []string{"arn:aws:s3:::home/ann/x", "arn:aws:s3:::home/secret/x", "arn:aws:s3:::home/bob/x"}, []types.ContextEntry{ann}
	})
	if len(r) != 3 || r[0].EvalDecision != "allowed" || r[1].EvalDecision != "explicitDeny" || r[2].EvalDecision != "implicitDeny" {
		t.Fatalf("%+v", r)
	}
	m := r[0].ResourceSpecificResults[0].MatchedStatements
	if len(m) != 1 || *m[0].SourcePolicyId != "PolicyInputList.1" || m[0].SourcePolicyType != "none" || m[0].StartPosition.Line != 3 || m[0].StartPosition.Column != 3 ||
		m[0].EndPosition.Line != 3 || int(m[0].EndPosition.Column) != 3+len(`{"Effect":"Allow","Action":"s3:Get*","Resource":"arn:aws:s3:::home/${aws:username}/*"}`) {
		t.Errorf("%+v", m)
	}
	if m := r[1].MatchedStatements; len(m) != 1 || *m[0].SourcePolicyId != "PolicyInputList.2" {
		t.Errorf("%+v", m)
	}
	if len(r[2].MatchedStatements) != 0 {
		t.Errorf("%+v", r[2])
	}
	// What is missing is said in the policy's own spelling.
	r = simulate(func(in *sdk.SimulateCustomPolicyInput) { in.ActionNames = []string{"s3:PutObject"} })
	if r[0].EvalDecision != "implicitDeny" || strings.Join(r[0].MissingContextValues, " ") != "aws:SourceIp" {
		t.Errorf("%+v", r[0])
	}
	r = simulate(func(in *sdk.SimulateCustomPolicyInput) {
		in.ActionNames = []string{"s3:PutObject"}
		in.ContextEntries = []types.ContextEntry{
			{ContextKeyName: p("aws:SourceIp"), ContextKeyType: "ip", ContextKeyValues: []string{"10.1.2.3"}},
			{ContextKeyName: p("aws:SecureTransport"), ContextKeyType: "boolean", ContextKeyValues: []string{"true"}},
		}
	})
	if r[0].EvalDecision != "allowed" || len(r[0].MissingContextValues) != 0 || r[0].ResourceSpecificResults != nil {
		t.Errorf("%+v", r[0])
	}
	// A boundary caps; a bucket's policy grants to another account only together with the caller's own.
	r = simulate(func(in *sdk.SimulateCustomPolicyInput) {
		in.ResourceArns, in.ContextEntries = []string{"arn:aws:s3:::home/ann/x"}, []types.ContextEntry{ann}
		in.PermissionsBoundaryPolicyInputList = []string{allow("ec2:*", "*")}
	})
	if r[0].EvalDecision != "implicitDeny" || r[0].PermissionsBoundaryDecisionDetail.AllowedByPermissionsBoundary {
		t.Errorf("%+v", r[0])
	}
	across := func(principal string) types.EvaluationResult {
		return simulate(func(in *sdk.SimulateCustomPolicyInput) {
			in.ResourceArns, in.CallerArn, in.ResourceOwner = []string{"arn:aws:s3:::home/ann/x"}, p("arn:aws:iam::111122223333:user/ann"), p("arn:aws:iam::444455556666:root")
			in.ResourcePolicy = p(`{"Version":"2012-10-17","Statement":{"Effect":"Allow","Principal":{"AWS":"` + principal + `"},"Action":"s3:GetObject","Resource":"arn:aws:s3:::home/*"}}`)
		})[0]
	}
	if r := across("arn:aws:iam::111122223333:user/ann"); r.EvalDecision != "allowed" || r.EvalDecisionDetails["IAM Policy"] != "allowed" || r.EvalDecisionDetails["Resource Policy"] != "allowed" {
		t.Errorf("%+v", r)
	}
	if r := across("arn:aws:iam::111122223333:user/bob"); r.EvalDecision != "implicitDeny" || r.EvalDecisionDetails["IAM Policy"] != "allowed" || r.EvalDecisionDetails["Resource Policy"] != "implicitDeny" {
		t.Errorf("%+v", r)
	}

	bad := func(change func(*sdk.SimulateCustomPolicyInput)) {
		t.Helper()
		in := &sdk.SimulateCustomPolicyInput{PolicyInputList: []string{first}, ActionNames: []string{"s3:GetObject"}}
		change(in)
		refused(t, "InvalidInput")(c.mine.SimulateCustomPolicy(ctx, in))
	}
	entry := func(kind types.ContextKeyTypeEnum, values ...string) func(*sdk.SimulateCustomPolicyInput) {
		return func(in *sdk.SimulateCustomPolicyInput) {
			in.ContextEntries = []types.ContextEntry{{ContextKeyName: p("aws:x"), ContextKeyType: kind, ContextKeyValues: values}}
		}
	}
	bad(entry("ip", "ten"))
	bad(entry("boolean", "yes"))
	bad(entry("numeric", "1", "2"))
	bad(entry("dateList", "2020-01-01T00:00:00Z", "soon"))
	bad(entry("colour", "red"))
	bad(func(in *sdk.SimulateCustomPolicyInput) { in.PolicyInputList = []string{"{"} })
	bad(func(in *sdk.SimulateCustomPolicyInput) { in.ActionNames = []string{"s3:*"} })
	bad(func(in *sdk.SimulateCustomPolicyInput) { in.ActionNames = []string{"GetObject"} })
	bad(func(in *sdk.SimulateCustomPolicyInput) { in.ResourceArns = []string{"bucket"} })
	bad(func(in *sdk.SimulateCustomPolicyInput) {
		in.CallerArn = p("arn:aws:sts::111122223333:assumed-role/x/y")
	})
	bad(func(in *sdk.SimulateCustomPolicyInput) { in.ResourcePolicy = p(second) })
	bad(func(in *sdk.SimulateCustomPolicyInput) { in.ResourceHandlingOption = p("EC2-VPC-EBS") })
	bad(func(in *sdk.SimulateCustomPolicyInput) {
		in.PermissionsBoundaryPolicyInputList = []string{first, second}
	})

	// Pages come in order and in full.
	var seen []string
	for marker := (*string)(nil); ; {
		out := must(t)(c.mine.SimulateCustomPolicy(ctx, &sdk.SimulateCustomPolicyInput{
			PolicyInputList: []string{first}, ActionNames: []string{"s3:GetObject", "s3:PutObject", "s3:ListBucket"}, ResourceArns: []string{"arn:aws:s3:::a", "arn:aws:s3:::b"}, MaxItems: ptr(int32(4)), Marker: marker,
		})).(*sdk.SimulateCustomPolicyOutput)
		for _, r := range out.EvaluationResults {
			seen = append(seen, strings.TrimPrefix(*r.EvalActionName, "s3:")+*r.EvalResourceName)
		}
		if marker = out.Marker; !out.IsTruncated {
			break
		}
	}
	if got := strings.ReplaceAll(strings.Join(seen, " "), "arn:aws:s3:::", "-"); got != "GetObject-a GetObject-b PutObject-a PutObject-b ListBucket-a ListBucket-b" {
		t.Error(got)
	}
	keys := must(t)(c.mine.GetContextKeysForCustomPolicy(ctx, &sdk.GetContextKeysForCustomPolicyInput{PolicyInputList: []string{first, second}})).(*sdk.GetContextKeysForCustomPolicyOutput)
	if strings.Join(keys.ContextKeyNames, " ") != "aws:username aws:SourceIp aws:SecureTransport" {
		t.Error(keys.ContextKeyNames)
	}
}

func ptr[T any](v T) *T { return &v }

func TestSimulatePrincipalPolicy(t *testing.T) {
	c, ctx := newCloud(t), t.Context()
	eve := c.user("eve")
	must(t)(c.mine.CreateGroup(ctx, &sdk.CreateGroupInput{GroupName: p("staff")}))
	must(t)(c.mine.AddUserToGroup(ctx, &sdk.AddUserToGroupInput{GroupName: p("staff"), UserName: p("eve")}))
	must(t)(c.mine.PutGroupPolicy(ctx, &sdk.PutGroupPolicyInput{GroupName: p("staff"), PolicyName: p("g"), PolicyDocument: p(allow("ec2:DescribeVpcs", "*"))}))
	must(t)(c.mine.PutUserPolicy(ctx, &sdk.PutUserPolicyInput{UserName: p("eve"), PolicyName: p("u"), PolicyDocument: p(allow("s3:GetObject", "arn:aws:s3:::home/${aws:username}/*"))}))
	made := must(t)(c.mine.CreatePolicy(ctx, &sdk.CreatePolicyInput{PolicyName: p("M"), PolicyDocument: p(allow("sns:Publish", "*"))})).(*sdk.CreatePolicyOutput)
	must(t)(c.mine.AttachUserPolicy(ctx, &sdk.AttachUserPolicyInput{UserName: p("eve"), PolicyArn: made.Policy.Arn}))
	must(t)(c.mine.AttachGroupPolicy(ctx, &sdk.AttachGroupPolicyInput{GroupName: p("staff"), PolicyArn: p("arn:aws:iam::aws:policy/IAMReadOnlyAccess")}))
	arn := "arn:aws:iam::" + c.account + ":user/eve"
	simulate := func(arn string, actions ...string) (*sdk.SimulatePrincipalPolicyOutput, error) {
		return c.mine.SimulatePrincipalPolicy(ctx, &sdk.SimulatePrincipalPolicyInput{PolicySourceArn: &arn, ActionNames: actions, ResourceArns: []string{"arn:aws:s3:::home/eve/x"}})
	}
	out := must(t)(simulate(arn, "s3:GetObject", "ec2:DescribeVpcs", "sns:Publish", "iam:GetUser", "s3:PutObject")).(*sdk.SimulatePrincipalPolicyOutput)
	var got []string
	for _, r := range out.EvaluationResults {
		word := string(r.EvalDecision)
		for _, m := range r.MatchedStatements {
			word += ":" + *m.SourcePolicyId + ":" + string(m.SourcePolicyType)
		}
		got = append(got, word)
	}
	if s := strings.Join(got, " "); s != "allowed:user_eve_u:user allowed:group_staff_g:group allowed:M:user-managed allowed:IAMReadOnlyAccess:aws-managed implicitDeny" {
		t.Error(s)
	}
	keys := must(t)(c.mine.GetContextKeysForPrincipalPolicy(ctx, &sdk.GetContextKeysForPrincipalPolicyInput{PolicySourceArn: &arn, PolicyInputList: []string{allow("s3:*", "arn:aws:s3:::${aws:PrincipalTag/team}")}})).(*sdk.GetContextKeysForPrincipalPolicyOutput)
	if strings.Join(keys.ContextKeyNames, " ") != "aws:username aws:PrincipalTag/team" {
		t.Error(keys.ContextKeyNames)
	}
	must(t)(c.mine.PutUserPermissionsBoundary(ctx, &sdk.PutUserPermissionsBoundaryInput{UserName: p("eve"), PermissionsBoundary: made.Policy.Arn}))
	out = must(t)(simulate(arn, "s3:GetObject", "sns:Publish")).(*sdk.SimulatePrincipalPolicyOutput)
	if r := out.EvaluationResults; r[0].EvalDecision != "implicitDeny" || r[0].PermissionsBoundaryDecisionDetail.AllowedByPermissionsBoundary || r[1].EvalDecision != "allowed" || !r[1].PermissionsBoundaryDecisionDetail.AllowedByPermissionsBoundary {
		t.Errorf("%+v", r)
	}
	group := must(t)(simulate("arn:aws:iam::"+c.account+":group/staff", "ec2:DescribeVpcs", "sns:Publish")).(*sdk.SimulatePrincipalPolicyOutput).EvaluationResults
	if group[0].EvalDecision != "allowed" || group[1].EvalDecision != "implicitDeny" {
		t.Errorf("%+v", group)
	}
	for arn, want := range map[string]string{
		"arn:aws:iam::" + c.account + ":user/nobody": "NoSuchEntity", "arn:aws:iam::999999999999:user/eve": "NoSuchEntity", "arn:aws:iam::" + c.account + ":root": "InvalidInput",
		"arn:aws:iam::" + c.account + ":user/path/eve": "NoSuchEntity", "arn:aws:iam::" + c.account + ":policy/M": "InvalidInput",
	} {
		_, err := simulate(arn, "s3:GetObject")
		refused(t, want)(nil, err)
	}
	// To see what somebody may do is a right of its own, user by user.
	_, err := eve.SimulatePrincipalPolicy(ctx, &sdk.SimulatePrincipalPolicyInput{PolicySourceArn: &arn, ActionNames: []string{"s3:GetObject"}})
	refused(t, "AccessDenied")(nil, err)
	must(t)(c.mine.DeleteUserPermissionsBoundary(ctx, &sdk.DeleteUserPermissionsBoundaryInput{UserName: p("eve")}))
	must(t)(c.mine.PutUserPolicy(ctx, &sdk.PutUserPolicyInput{UserName: p("eve"), PolicyName: p("u"), PolicyDocument: p(allow("iam:SimulatePrincipalPolicy", arn))}))
	must(t)(eve.SimulatePrincipalPolicy(ctx, &sdk.SimulatePrincipalPolicyInput{PolicySourceArn: &arn, ActionNames: []string{"s3:GetObject"}}))
	// It tells of nobody outside the account, whoever is named as the caller.
	refused(t, "NoSuchEntity")(c.them.SimulatePrincipalPolicy(ctx, &sdk.SimulatePrincipalPolicyInput{PolicySourceArn: &arn, ActionNames: []string{"s3:GetObject"}}))
}

// world is a store with what both the simulator and the engine decide by.
type world struct {
	store   *store.Store
	engine  *authz.Engine
	service *iam.Service
	account string
}

func newWorld(t *testing.T) *world {
	st := store.OpenMemory(slog.New(slog.DiscardHandler))
	t.Cleanup(func() { st.Close() })
	sealer, err := seal.New(make([]byte, seal.KeySize))
	if err != nil {
		t.Fatal(err)
	}
	id := identity.New(identity.Config{}, identity.Deps{Store: st, Sealer: sealer})
	account, _, err := id.Bootstrap(context.Background(), identity.Key{})
	if err != nil {
		t.Fatal(err)
	}
	return &world{st, authz.New(authz.Deps{Store: st}), iam.New(st, id, oidc.New(oidc.Config{}, time.Now), nil), account.ID}
}

// drawDocument makes a policy of few words, so that statements meet requests.
func drawDocument(t *rapid.T, label string) string {
	var statements []string
	for range rapid.IntRange(1, 3).Draw(t, label) {
		effect := rapid.SampledFrom([]string{"Allow", "Allow", "Deny"}).Draw(t, "effect")
		action := rapid.SampledFrom([]string{`"Action":"s3:*"`, `"Action":"s3:GetObject"`, `"Action":["s3:Put*","ec2:*"]`, `"NotAction":"s3:GetObject"`}).Draw(t, "action")
		on := rapid.SampledFrom([]string{`"Resource":"*"`, `"Resource":"arn:aws:s3:::b/*"`, `"Resource":"arn:aws:s3:::${aws:username}/*"`, `"NotResource":"arn:aws:s3:::b/x"`}).Draw(t, "resource")
		condition := rapid.SampledFrom([]string{
			"", "", `,"Condition":{"StringEquals":{"s3:prefix":"p"}}`, `,"Condition":{"StringLikeIfExists":{"s3:prefix":"q*"}}`,
			`,"Condition":{"StringEquals":{"aws:PrincipalTag/team":"blue"}}`, `,"Condition":{"Null":{"s3:prefix":"true"}}`, `,"Condition":{"ArnLike":{"aws:PrincipalArn":"arn:aws:iam::*:user/ann"}}`,
		}).Draw(t, "condition")
		statements = append(statements, fmt.Sprintf(`{"Effect":%q,%s,%s%s}`, effect, action, on, condition))
	}
	return `{"Version":"2012-10-17","Statement":[` + strings.Join(statements, ",") + `]}`
}

// The simulator says what the engine does: for users with their groups, managed policies, boundaries and tags, with a bucket's
// policy and without.
func TestSimulatorAgreesWithEngine(t *testing.T) {
	w := newWorld(t)
	n := 0
	rapid.Check(t, func(rt *rapid.T) {
		n++
		name := rapid.SampledFrom([]string{"ann", "b"}).Draw(rt, "name")
		managed := &resource.Policy{AccountID: w.account, Name: fmt.Sprint("m", n), ID: fmt.Sprint("ANPA", n), Path: "/", Versions: []resource.PolicyVersion{{Number: 1, Text: drawDocument(rt, "managed")}}, Default: 1}
		bound := &resource.Policy{AccountID: w.account, Name: fmt.Sprint("b", n), ID: fmt.Sprint("ANPB", n), Path: "/", Versions: []resource.PolicyVersion{{Number: 1, Text: drawDocument(rt, "boundary")}}, Default: 1}
		group := &resource.Group{AccountID: w.account, Name: "g", ID: "AGPAG", Path: "/"}
		user := &resource.User{AccountID: w.account, Name: name, ID: "AIDA" + strings.ToUpper(name), Path: "/"}
		if rapid.Bool().Draw(rt, "inline") {
			user.Inline = map[string]string{"i": drawDocument(rt, "user's")}
		}
		if rapid.Bool().Draw(rt, "attached") {
			user.Attached = []string{managed.ARN()}
		}
		if rapid.Bool().Draw(rt, "grouped") {
			user.Groups, group.Inline = []string{group.ID}, map[string]string{"i": drawDocument(rt, "group's")}
		}
		switch rapid.IntRange(0, 3).Draw(rt, "bound") {
		case 0:
			user.Boundary = bound.ARN()
		case 1:
			user.Boundary = bound.ARN() + "-gone"
		}
		if rapid.Bool().Draw(rt, "tagged") {
			user.Tags = resource.Tags{"team": "blue"}
		}
		if err := w.store.Update(context.Background(), func(tx *store.Tx) error {
			for _, put := range []error{store.Policies.Put(tx, managed), store.Policies.Put(tx, bound), store.Groups.Put(tx, group), store.Users.Put(tx, user)} {
				if put != nil {
					return put
				}
			}
			return nil
		}); err != nil {
			rt.Fatal(err)
		}
		action := rapid.SampledFrom([]string{"s3:GetObject", "s3:PutObject", "ec2:RunInstances"}).Draw(rt, "asked")
		arn := rapid.SampledFrom([]string{"arn:aws:s3:::b/x", "arn:aws:s3:::b/y", "arn:aws:s3:::ann/x", "arn:aws:s3:::c"}).Draw(rt, "on")
		owner := rapid.SampledFrom([]string{w.account, "444455556666"}).Draw(rt, "owner")
		prefix := rapid.SampledFrom([]string{"", "p", "quite"}).Draw(rt, "prefix")
		bucket := ""
		if rapid.Bool().Draw(rt, "bucket") {
			bucket = strings.ReplaceAll(drawDocument(rt, "bucket's"), `"Effect"`, `"Principal":{"AWS":"`+rapid.SampledFrom([]string{user.ARN(), w.account, "*"}).Draw(rt, "principal")+`"},"Effect"`)
		}

		ctx := call.With(context.Background(), &call.Info{Caller: call.Caller{AccountID: w.account, UserName: user.Name, UserID: user.ID, ARN: user.ARN()}, Service: "s3"})
		q := authz.Question{Action: policy.MakeAction(action), Resource: arn, Owner: owner, Keys: func(k policy.Key) (policy.Value, bool) {
			return policy.String(prefix), k.Name == "s3:prefix" && prefix != ""
		}}
		in := &shape.SimulatePrincipalPolicyRequest{PolicySourceArn: user.ARN(), ActionNames: []string{action}, ResourceArns: []string{arn}, ResourceOwner: owner, ResourcePolicy: bucket}
		if prefix != "" {
			in.ContextEntries = []shape.ContextEntry{{ContextKeyName: "s3:prefix", ContextKeyType: "string", ContextKeyValues: []string{prefix}}}
		}
		if bucket != "" {
			var err error
			if q.Policy, err = policy.Parse(bucket, policy.Resource); err != nil {
				rt.Fatal(err)
			}
		}
		err := w.engine.Decide(ctx, q)
		if err != nil && awserr.Code(err) != "AccessDenied" {
			rt.Fatal(err)
		}
		out, failed := w.service.SimulatePrincipalPolicy(ctx, in)
		if failed != nil {
			rt.Fatal(failed)
		}
		r := out.EvaluationResults[0]
		explicit := err != nil && strings.Contains(err.Error(), "explicit deny")
		want := map[bool]string{true: "allowed", false: "implicitDeny"}[err == nil]
		if explicit {
			want = "explicitDeny"
		}
		if r.EvalDecision != want || (len(r.MatchedStatements) > 0) != (r.EvalDecision != "implicitDeny") {
			rt.Fatalf("the simulator says %s, the engine %s (%v): %+v", r.EvalDecision, want, err, r.MatchedStatements)
		}
	})
}
