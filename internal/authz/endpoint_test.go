package authz_test

import (
	"context"
	"log/slog"
	"net/netip"
	"testing"

	"karri.dev/internal/authz"
	"karri.dev/internal/aws/call"
	"karri.dev/internal/policy"
	"karri.dev/internal/resource"
	"karri.dev/internal/store"
)

// A VPC endpoint's policy limits everybody who comes by it, the account's root as well, and grants nothing. An
// endpoint is for its service only, and one that is gone lets nothing through.
func TestEndpointPolicies(t *testing.T) {
	st := store.OpenMemory(slog.New(slog.DiscardHandler))
	t.Cleanup(func() { st.Close() })
	const account = "111122223333"
	user := &resource.User{AccountID: account, Name: "ann", ID: "AIDAANN", Path: "/", Permissions: resource.Permissions{Inline: map[string]string{"all": `{"Version":"2012-10-17","Statement":[
		{"Effect":"Allow","Action":"s3:Get*","Resource":"*"},
		{"Effect":"Allow","Action":"s3:PutObject","Resource":"*","Condition":{"StringEquals":{"aws:SourceVpce":"vpce-open"}}}]}`}}}
	endpoint := func(id, service, text string) *resource.VPCEndpoint {
		e := &resource.VPCEndpoint{ID: id, VPCID: "vpc-1", Service: resource.EndpointService("us-east-1", service)}
		if text != "" {
			e.Policy = &resource.Bound{Text: text}
		}
		return e
	}
	err := st.Update(context.Background(), func(tx *store.Tx) error {
		for _, e := range []*resource.VPCEndpoint{
			endpoint("vpce-open", "s3", ""), endpoint("vpce-ec2", "ec2", ""),
			endpoint("vpce-bucket", "s3", `{"Version":"2012-10-17","Statement":[
				{"Effect":"Allow","Principal":"*","Action":"s3:*","Resource":"arn:aws:s3:::b/*"},
				{"Effect":"Deny","Principal":"*","Action":"s3:GetObjectTagging","Resource":"*"}]}`),
			endpoint("vpce-bad", "s3", "{"),
		} {
			if err := store.VPCEndpoints.Put(tx, e); err != nil {
				return err
			}
		}
		return store.Users.Put(tx, user)
	})
	if err != nil {
		t.Fatal(err)
	}
	engine := authz.New(authz.Deps{Store: st})
	ann := call.Caller{AccountID: account, UserName: user.Name, UserID: user.ID, ARN: user.ARN()}
	root := call.Caller{AccountID: account, UserID: account, ARN: "arn:aws:iam::" + account + ":root"}
	for _, tt := range []struct {
		who                        call.Caller
		action, resource, endpoint string
		want                       bool
	}{
		{ann, "s3:GetObject", "arn:aws:s3:::b/k", "", true},
		{ann, "s3:GetObject", "arn:aws:s3:::b/k", "vpce-open", true},
		{ann, "s3:GetObject", "arn:aws:s3:::b/k", "vpce-bucket", true},
		{ann, "s3:GetObject", "arn:aws:s3:::other/k", "vpce-bucket", false},
		{ann, "s3:GetObjectTagging", "arn:aws:s3:::b/k", "vpce-bucket", false},
		{ann, "s3:DeleteObject", "arn:aws:s3:::b/k", "vpce-bucket", false}, // it grants nothing
		{ann, "s3:GetObject", "arn:aws:s3:::b/k", "vpce-ec2", false},
		{ann, "s3:GetObject", "arn:aws:s3:::b/k", "vpce-gone", false},
		{ann, "s3:GetObject", "arn:aws:s3:::b/k", "vpce-bad", false},
		{ann, "s3:PutObject", "arn:aws:s3:::b/k", "", false},
		{ann, "s3:PutObject", "arn:aws:s3:::b/k", "vpce-open", true},
		{ann, "s3:PutObject", "arn:aws:s3:::b/k", "vpce-bucket", false},
		{root, "s3:GetObject", "arn:aws:s3:::other/k", "", true},
		{root, "s3:GetObject", "arn:aws:s3:::other/k", "vpce-bucket", false},
		{root, "s3:DeleteObject", "arn:aws:s3:::b/k", "vpce-bucket", true},
	} {
		ctx := call.With(context.Background(), &call.Info{
			Caller: tt.who, Service: "s3", Region: "us-east-1", SourceIP: netip.MustParseAddr("10.0.0.5"), SourceVPC: "vpc-1", SourceEndpoint: tt.endpoint,
		})
		q := authz.Question{Action: policy.MakeAction(tt.action), Resource: tt.resource, Owner: account}
		if err := engine.Decide(ctx, q); (err == nil) != tt.want {
			t.Errorf("%s %s on %s by %q: %v", tt.who.ARN, tt.action, tt.resource, tt.endpoint, err)
		}
	}
	// The bucket's own grant does not go around it.
	open, err := policy.Parse(`{"Version":"2012-10-17","Statement":{"Effect":"Allow","Principal":"*","Action":"s3:*","Resource":"*"}}`, policy.Resource)
	if err != nil {
		t.Fatal(err)
	}
	ctx := call.With(context.Background(), &call.Info{Service: "s3", SourceVPC: "vpc-1", SourceEndpoint: "vpce-bucket"})
	for name, want := range map[string]bool{"b": true, "other": false} {
		err := engine.Decide(ctx, authz.Question{Action: policy.MakeAction("s3:GetObject"), Resource: "arn:aws:s3:::" + name + "/k", Owner: account, Policy: open})
		if (err == nil) != want {
			t.Errorf("anonymous on %s: %v", name, err)
		}
	}
}
