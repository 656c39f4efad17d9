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

// Whoever has a VPC chooses its addresses: a stolen key with a policy for the office's network does not work from a guest that
// has the office's address.
func TestAddressesWithinVPCs(t *testing.T) {
	st := store.OpenMemory(slog.New(slog.DiscardHandler))
	t.Cleanup(func() { st.Close() })
	const account = "111122223333"
	user := &resource.User{AccountID: account, Name: "ann", ID: "AIDAANN", Path: "/", Permissions: resource.Permissions{Inline: map[string]string{"office": `{"Version":"2012-10-17","Statement":[
		{"Effect":"Allow","Action":"s3:GetObject","Resource":"*","Condition":{"IpAddress":{"aws:SourceIp":"10.0.0.0/8"}}},
		{"Effect":"Allow","Action":"s3:PutObject","Resource":"*","Condition":{"IpAddress":{"aws:VpcSourceIp":"10.0.0.0/8"},"StringEquals":{"aws:SourceVpc":"vpc-1"}}}]}`}}}
	if err := st.Update(context.Background(), func(tx *store.Tx) error { return store.Users.Put(tx, user) }); err != nil {
		t.Fatal(err)
	}
	engine := authz.New(authz.Deps{Store: st})
	may := func(action, address, vpc string) bool {
		ctx := call.With(context.Background(), &call.Info{
			Caller: call.Caller{AccountID: account, UserName: user.Name, UserID: user.ID, ARN: user.ARN()}, Service: "s3", SourceIP: netip.MustParseAddr(address), SourceVPC: vpc,
		})
		return engine.Decide(ctx, authz.Question{Action: policy.MakeAction(action), Resource: "arn:aws:s3:::b/k"}) == nil
	}
	for _, tt := range []struct {
		action, address, vpc string
		want                 bool
	}{
		{"s3:GetObject", "10.1.2.3", "", true},
		{"s3:GetObject", "192.0.2.1", "", false},
		{"s3:GetObject", "10.1.2.3", "vpc-1", false},
		{"s3:PutObject", "10.1.2.3", "vpc-1", true},
		{"s3:PutObject", "10.1.2.3", "vpc-2", false},
		{"s3:PutObject", "10.1.2.3", "", false},
	} {
		if got := may(tt.action, tt.address, tt.vpc); got != tt.want {
			t.Errorf("%+v: %v", tt, got)
		}
	}
}
