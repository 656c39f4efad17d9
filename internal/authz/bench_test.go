package authz_test

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"karri.dev/internal/authz"
	"karri.dev/internal/aws/call"
	shape "karri.dev/internal/aws/shape/ec2"
	"karri.dev/internal/resource"
	"karri.dev/internal/service/ec2"
	"karri.dev/internal/store"
)

// BenchmarkAuthorize is the decision on one call of a user with 10 policies of 20 statements, the last of which allows it.
func BenchmarkAuthorize(b *testing.B) {
	st := store.OpenMemory(slog.New(slog.DiscardHandler))
	defer st.Close()
	inline := map[string]string{}
	for p := range 10 {
		var list []string
		for s := range 20 {
			list = append(list, fmt.Sprintf(`{"Effect":"Allow","Action":["s3:Get%d*","dynamodb:*"],"Resource":"arn:aws:s3:::b%d/*","Condition":{"StringLike":{"aws:RequestTag/a":"x%d*"}}}`, s, s, s))
		}
		if p == 9 {
			list[19] = `{"Effect":"Allow","Action":"ec2:*","Resource":"*","Condition":{"StringEquals":{"aws:RequestedRegion":"us-east-1"}}}`
		}
		inline[fmt.Sprint(p)] = `{"Version":"2012-10-17","Statement":[` + strings.Join(list, ",") + `]}`
	}
	u := &resource.User{AccountID: "111122223333", Name: "bob", ID: "AIDABOB", Path: "/", Permissions: resource.Permissions{Inline: inline}}
	if err := st.Update(b.Context(), func(tx *store.Tx) error { return store.Users.Put(tx, u) }); err != nil {
		b.Fatal(err)
	}
	e := authz.New(authz.Deps{Store: st})
	if err := authz.Register[shape.API](e, shape.Service(), ec2.Permissions()); err != nil {
		b.Fatal(err)
	}
	info := &call.Info{
		Caller:  call.Caller{AccountID: u.AccountID, UserName: u.Name, UserID: u.ID, ARN: u.ARN()},
		Service: "ec2", Region: "us-east-1", Time: time.Now(),
	}
	for _, op := range []struct {
		name string
		in   any
	}{
		{"DescribeInstances", &shape.DescribeInstancesRequest{}},
		{"TerminateInstances", &shape.TerminateInstancesRequest{InstanceIds: []string{"i-0123456789abcdef0"}}},
	} {
		b.Run(op.name, func(b *testing.B) {
			info.Operation = op.name
			c := authz.Call{Info: info, Service: shape.Service(), Operation: op.name, Input: op.in}
			b.ReportAllocs()
			for b.Loop() {
				if err := e.Authorize(context.Background(), c); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
