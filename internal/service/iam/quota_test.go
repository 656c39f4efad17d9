package iam_test

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	sdk "github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/smithy-go"

	"karri.dev/internal/quota"
	"karri.dev/internal/store"
)

// As many calls at the same time as there may be make no more than the quota allows.
func TestQuotas(t *testing.T) {
	c, ctx := newCloud(t), t.Context()
	trust := `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Principal":{"Service":"ec2.amazonaws.com"},"Action":"sts:AssumeRole"}}`
	text := `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"*","Resource":"*"}}`
	err := c.store.Update(ctx, func(tx *store.Tx) error {
		return quota.Put(tx, c.account, map[string]int64{
			"iam:usernumber": 5, "iam:groupnumber": 5, "iam:rolenumber": 5, "iam:instanceprofilenumber": 5, "iam:policynumber": 5,
		})
	})
	if err != nil {
		t.Fatal(err)
	}
	for what, create := range map[string]func(name string) error{
		"users": func(n string) error { _, err := c.mine.CreateUser(ctx, &sdk.CreateUserInput{UserName: &n}); return err },
		"groups": func(n string) error {
			_, err := c.mine.CreateGroup(ctx, &sdk.CreateGroupInput{GroupName: &n})
			return err
		},
		"roles": func(n string) error {
			_, err := c.mine.CreateRole(ctx, &sdk.CreateRoleInput{RoleName: &n, AssumeRolePolicyDocument: &trust})
			return err
		},
		"profiles": func(n string) error {
			_, err := c.mine.CreateInstanceProfile(ctx, &sdk.CreateInstanceProfileInput{InstanceProfileName: &n})
			return err
		},
		"policies": func(n string) error {
			_, err := c.mine.CreatePolicy(ctx, &sdk.CreatePolicyInput{PolicyName: &n, PolicyDocument: &text})
			return err
		},
	} {
		var wg sync.WaitGroup
		var made atomic.Int64
		for i := range 20 {
			wg.Go(func() {
				var api smithy.APIError
				switch err := create(fmt.Sprint("n", i)); {
				case err == nil:
					made.Add(1)
				case !errors.As(err, &api) || api.ErrorCode() != "LimitExceeded":
					t.Errorf("%s: %v", what, err)
				}
			})
		}
		wg.Wait()
		if made.Load() != 5 {
			t.Errorf("%d %s were made", made.Load(), what)
		}
	}
	if _, err := c.them.CreateUser(ctx, &sdk.CreateUserInput{UserName: p("n1")}); err != nil {
		t.Errorf("another account: %v", err)
	}
}
