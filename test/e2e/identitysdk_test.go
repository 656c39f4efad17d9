package e2e

import (
	"context"
	"errors"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/credentials/stscreds"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/iam/types"
	"github.com/aws/aws-sdk-go-v2/service/sts"
)

// goIdentity is what programs in Go do with IAM and STS: typed errors, paginators, waiters, and credentials that come of
// a role.
func goIdentity(ctx context.Context) error {
	cfg, err := config.LoadDefaultConfig(ctx)
	if err != nil {
		return err
	}
	client := iam.NewFromConfig(cfg)
	who, err := sts.NewFromConfig(cfg).GetCallerIdentity(ctx, nil)
	if err != nil {
		return err
	}
	name := aws.String("gopher")
	if _, err := client.CreateUser(ctx, &iam.CreateUserInput{UserName: name}); err != nil {
		return err
	}
	if err := iam.NewUserExistsWaiter(client).Wait(ctx, &iam.GetUserInput{UserName: name}, 1e10); err != nil {
		return err
	}
	var exists *types.EntityAlreadyExistsException
	if _, err := client.CreateUser(ctx, &iam.CreateUserInput{UserName: name}); !errors.As(err, &exists) {
		return fmt.Errorf("a user twice: %w", err)
	}
	var malformed *types.MalformedPolicyDocumentException
	if _, err := client.PutUserPolicy(ctx, &iam.PutUserPolicyInput{UserName: name, PolicyName: name, PolicyDocument: aws.String(`{"Version":"2012-10-17"}`)}); !errors.As(err, &malformed) {
		return fmt.Errorf("a policy of nothing: %w", err)
	}
	users := 0
	for pages := iam.NewListUsersPaginator(client, &iam.ListUsersInput{MaxItems: aws.Int32(1)}); pages.HasMorePages(); {
		p, err := pages.NextPage(ctx)
		if err != nil {
			return err
		}
		users += len(p.Users)
	}
	if users < 2 {
		return fmt.Errorf("%d users", users)
	}

	// The user takes a role whose external id it knows.
	key, err := client.CreateAccessKey(ctx, &iam.CreateAccessKeyInput{UserName: name})
	if err != nil {
		return err
	}
	role, err := client.CreateRole(ctx, &iam.CreateRoleInput{RoleName: name, AssumeRolePolicyDocument: aws.String(
		`{"Version":"2012-10-17","Statement":{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::` + *who.Account + `:user/gopher"},"Action":"sts:AssumeRole","Condition":{"StringEquals":{"sts:ExternalId":"burrow"}}}}`)})
	if err != nil {
		return err
	}
	if _, err := client.AttachRolePolicy(ctx, &iam.AttachRolePolicyInput{RoleName: name, PolicyArn: aws.String("arn:aws:iam::aws:policy/IAMReadOnlyAccess")}); err != nil {
		return err
	}
	user := cfg.Copy()
	user.Credentials = credentials.NewStaticCredentialsProvider(*key.AccessKey.AccessKeyId, *key.AccessKey.SecretAccessKey, "")
	as := func(external string) error {
		taken := cfg.Copy()
		taken.Credentials = aws.NewCredentialsCache(stscreds.NewAssumeRoleProvider(sts.NewFromConfig(user), *role.Role.Arn, func(o *stscreds.AssumeRoleOptions) { o.ExternalID = &external }))
		_, err := iam.NewFromConfig(taken).GetRole(ctx, &iam.GetRoleInput{RoleName: name})
		return err
	}
	if err := as("burrow"); err != nil {
		return fmt.Errorf("the role: %w", err)
	}
	if err := as("den"); err == nil {
		return errors.New("the role was taken with a wrong external id")
	}
	var conflict *types.DeleteConflictException
	if _, err := client.DeleteRole(ctx, &iam.DeleteRoleInput{RoleName: name}); !errors.As(err, &conflict) {
		return fmt.Errorf("a role with a policy was deleted: %w", err)
	}
	if _, err := client.DeleteAccessKey(ctx, &iam.DeleteAccessKeyInput{UserName: name, AccessKeyId: key.AccessKey.AccessKeyId}); err != nil {
		return err
	}
	if _, err := client.DeleteUser(ctx, &iam.DeleteUserInput{UserName: name}); err != nil {
		return err
	}
	var gone *types.NoSuchEntityException
	if _, err := client.GetUser(ctx, &iam.GetUserInput{UserName: name}); !errors.As(err, &gone) {
		return fmt.Errorf("a user that is gone: %w", err)
	}
	return nil
}
