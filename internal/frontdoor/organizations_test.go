package frontdoor_test

import (
	"context"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/organizations"
	"github.com/aws/aws-sdk-go-v2/service/organizations/types"
	"github.com/aws/aws-sdk-go-v2/service/sts"

	orgshape "karri.dev/internal/aws/shape/organizations"
	"karri.dev/internal/identity"
	"karri.dev/internal/ids"
	"karri.dev/internal/page"
	"karri.dev/internal/seal"
	orgs "karri.dev/internal/service/organizations"
)

func TestOrganization(t *testing.T) {
	c, ctx := newCloud(t), context.Background()
	sealer, err := seal.New(make([]byte, seal.KeySize))
	if err != nil {
		t.Fatal(err)
	}
	c.Register(orgshape.Service(), orgs.New(orgs.Deps{Store: c.store, Identity: c.id, IDs: ids.New(nil), Tokens: page.New(sealer), Now: c.now}))
	c.serve(t)
	admin := organizations.NewFromConfig(c.config(c.key))
	create := func(name, email string) (*organizations.CreateAccountOutput, error) {
		return admin.CreateAccount(ctx, &organizations.CreateAccountInput{AccountName: &name, Email: &email, Tags: []types.Tag{{Key: aws.String("a"), Value: aws.String("b")}}})
	}
	made, err := create("physics", "physics@example.com")
	if err != nil || made.CreateAccountStatus.State != types.CreateAccountStateSucceeded {
		t.Fatalf("%+v, %v", made, err)
	}
	id := *made.CreateAccountStatus.AccountId
	status, err := admin.DescribeCreateAccountStatus(ctx, &organizations.DescribeCreateAccountStatusInput{CreateAccountRequestId: made.CreateAccountStatus.Id})
	if err != nil || *status.CreateAccountStatus.AccountId != id {
		t.Errorf("%+v, %v", status, err)
	}
	for i := range 3 {
		if _, err := create("dept-"+string(rune('a'+i)), string(rune('a'+i))+"@example.com"); err != nil {
			t.Fatal(err)
		}
	}
	var names []string
	pages := organizations.NewListAccountsPaginator(admin, &organizations.ListAccountsInput{MaxResults: aws.Int32(2)})
	for pages.HasMorePages() {
		p, err := pages.NextPage(ctx)
		if err != nil {
			t.Fatal(err)
		}
		for _, a := range p.Accounts {
			names = append(names, *a.Name)
		}
	}
	if len(names) != 5 {
		t.Errorf("%v", names)
	}
	org, err := admin.DescribeOrganization(ctx, nil)
	if err != nil || *org.Organization.MasterAccountId != c.account.ID || !strings.HasPrefix(*org.Organization.Id, "o-") {
		t.Errorf("%+v, %v", org, err)
	}
	// A member, its keys, and what CloseAccount does to them.
	_, member, err := c.id.CreateAccount(ctx, identity.NewAccount{Name: "member", Email: "member@example.com"})
	if err != nil {
		t.Fatal(err)
	}
	theirs := organizations.NewFromConfig(c.config(member))
	a, err := c.id.Account("member")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := admin.CloseAccount(ctx, &organizations.CloseAccountInput{AccountId: &c.account.ID}); code(err) != "ConstraintViolationException 400" {
		t.Errorf("the management account: %v", err)
	}
	for name, f := range map[string]struct {
		want string
		call func() error
	}{
		"members list": {"AccessDeniedException 400", func() error { _, err := theirs.ListAccounts(ctx, nil); return err }},
		"members create": {"AccessDeniedException 400", func() error {
			_, err := theirs.CreateAccount(ctx, &organizations.CreateAccountInput{AccountName: aws.String("x"), Email: aws.String("x@example.com")})
			return err
		}},
		"members describe": {"AccessDeniedException 400", func() error {
			_, err := theirs.DescribeAccount(ctx, &organizations.DescribeAccountInput{AccountId: &id})
			return err
		}},
		"members close": {"AccessDeniedException 400", func() error {
			_, err := theirs.CloseAccount(ctx, &organizations.CloseAccountInput{AccountId: &id})
			return err
		}},
		"same name": {"DuplicateAccountException 400", func() error { _, err := create("physics", "other@example.com"); return err }},
		"same mail": {"DuplicateAccountException 400", func() error { _, err := create("physics-2", "PHYSICS@example.com"); return err }},
		"bad mail":  {"InvalidInputException 400", func() error { _, err := create("physics-3", "nobody\r\nBcc: x@y"); return err }},
		"bad name":  {"InvalidInputException 400", func() error { _, err := create("A Name", "z@example.com"); return err }},
		"no such account": {"AccountNotFoundException 400", func() error {
			_, err := admin.DescribeAccount(ctx, &organizations.DescribeAccountInput{AccountId: aws.String("111111111111")})
			return err
		}},
	} {
		if got := code(f.call()); got != f.want {
			t.Errorf("%s: %s, want %s", name, got, f.want)
		}
	}
	if _, err := admin.CloseAccount(ctx, &organizations.CloseAccountInput{AccountId: &a.ID}); err != nil {
		t.Fatal(err)
	}
	if _, err := sts.NewFromConfig(c.config(member)).GetCallerIdentity(ctx, nil); code(err) != "InvalidClientTokenId 403" {
		t.Errorf("a closed account's key: %v", err)
	}
	if out, err := admin.DescribeAccount(ctx, &organizations.DescribeAccountInput{AccountId: &a.ID}); err != nil || out.Account.Status != types.AccountStatusSuspended { //nolint:staticcheck // what clients read
		t.Errorf("%+v, %v", out, err)
	}
	if err := c.id.SuspendAccount(ctx, "member", false); err != nil {
		t.Fatal(err)
	}
	if _, err := sts.NewFromConfig(c.config(member)).GetCallerIdentity(ctx, nil); err != nil {
		t.Errorf("resumed: %v", err)
	}
	if err := c.id.SuspendAccount(ctx, "karri", true); err == nil {
		t.Error("the administrator can be suspended")
	}
}
