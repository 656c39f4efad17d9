// Package organizations serves what of AWS Organizations makes and lists accounts. The cloud is one organization: the
// administrator's account is its management account, all others are members, and only it may call.
package organizations

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"strings"
	"time"

	"karri.dev/internal/authz"
	"karri.dev/internal/aws/awserr"
	"karri.dev/internal/aws/call"
	shape "karri.dev/internal/aws/shape/organizations"
	"karri.dev/internal/identity"
	"karri.dev/internal/ids"
	"karri.dev/internal/page"
	"karri.dev/internal/policy"
	"karri.dev/internal/resource"
	"karri.dev/internal/store"
)

// defaultRole is the role by which the management account gets into a new one.
const defaultRole = "OrganizationAccountAccessRole"

// mostResults is Organizations' page size.
const mostResults = 20

// Deps are what the service works with.
type Deps struct {
	Store    *store.Store
	Identity *identity.Identity
	IDs      *ids.Source
	Tokens   *page.Tokens
	Now      func() time.Time
}

// Service implements the operations.
type Service struct{ Deps }

var _ shape.API = (*Service)(nil)

// New makes a Service.
func New(deps Deps) *Service { return &Service{deps} }

// Permissions is what each operation asks leave for: the action of its own name.
func Permissions() authz.Service {
	return authz.Service{Table: authz.Table{
		"CreateAccount": {}, "CloseAccount": {On: "account:AccountId"}, "DescribeAccount": {On: "account:AccountId"}, "ListAccounts": {}, "DescribeOrganization": {},
		"DescribeCreateAccountStatus": {}, "ListCreateAccountStatus": {},
	}, Kinds: map[string]authz.Kind{"account": {
		// Only the management account's callers get further than this: it is theirs.
		ARN: func(b []byte, info *call.Info, id string) []byte { return append(b, accountARN(info.AccountID, id)...) },
		Find: func(r store.Reader, _ *call.Info, id string) authz.Resource {
			if a := store.Accounts.Get(r, id); a != nil {
				return accountTags(a.Tags)
			}
			return nil
		},
	}}}
}

// accountTags gives the condition keys of an account.
type accountTags resource.Tags

// Value implements authz.Resource.
func (t accountTags) Value(k policy.Key) (policy.Value, bool) {
	if k.Name == "aws:resourcetag" {
		return authz.Tag(resource.Tags(t), k.Arg)
	}
	return policy.Value{}, false
}

func accountARN(manager, id string) string {
	return "arn:aws:organizations::" + manager + ":account/" + organization(manager) + "/" + id
}

// manager refuses everybody but the management account.
func manager(ctx context.Context) (*call.Info, error) {
	info := call.From(ctx)
	if !info.CloudAdmin {
		return nil, awserr.New("AccessDeniedException", "You don't have permissions to access this resource.")
	}
	return info, nil
}

// organization is the organization's id, which follows from its management account.
func organization(account string) string {
	sum := sha256.Sum256([]byte("organization:" + account))
	return "o-" + hex.EncodeToString(sum[:5])
}

// management gives the management account.
func (s *Service) management(r store.Reader) *resource.Account {
	return store.AccountsByName.One(r, identity.AdminAccount)
}

// CreateAccount makes an account with its default VPC and a role by which the management account gets into it. It
// has no access key: its root can be let in by that role.
func (s *Service) CreateAccount(ctx context.Context, in *shape.CreateAccountRequest) (*shape.CreateAccountResult, error) {
	info, err := manager(ctx)
	if err != nil {
		return nil, err
	}
	if err := identity.CheckEmail(in.Email); err != nil {
		return nil, awserr.New("InvalidInputException", "You specified an invalid value: Email").With("Reason", "INVALID_EMAIL_ADDRESS_PATTERN")
	}
	roleName := in.RoleName
	if roleName == "" {
		roleName = defaultRole
	}
	if identity.CheckUserName(roleName) != nil {
		return nil, awserr.New("InvalidInputException", "You specified an invalid value: RoleName")
	}
	switch in.IamUserAccessToBilling {
	case "", "ALLOW", "DENY": // there are no bills
	default:
		return nil, awserr.New("InvalidInputException", "You specified an invalid value: IamUserAccessToBilling")
	}
	tags := resource.Tags{}
	for _, t := range in.Tags {
		if t.Key == "" || len(t.Key) > 128 || len(t.Value) > 256 || strings.HasPrefix(strings.ToLower(t.Key), "aws:") || len(in.Tags) > 50 {
			return nil, awserr.New("InvalidInputException", "You specified an invalid value: Tags")
		}
		tags[t.Key] = t.Value
	}
	request := "car-" + s.IDs.Hex(16)
	roleID := s.IDs.IAM("AROA")
	a, _, err := s.Identity.CreateAccount(ctx, identity.NewAccount{
		Name: in.AccountName, Email: in.Email, Tags: tags, Request: request, NoKey: true,
		Then: func(tx *store.Tx, a resource.Account) error {
			return accessRole(tx, a, roleName, roleID, info.AccountID, a.CreatedAt)
		},
	})
	switch awserr.Code(err) {
	case "EntityAlreadyExists":
		return nil, awserr.New("DuplicateAccountException", "An account with this name or e-mail address exists already.")
	case "ValidationError":
		return nil, awserr.New("InvalidInputException", "%s", awserr.From(err).Message)
	}
	if err != nil {
		return nil, err
	}
	return &shape.CreateAccountResult{CreateAccountStatus: status(&a)}, nil
}

// accessRole makes the role that the management account takes.
func accessRole(tx *store.Tx, a resource.Account, name, id, manager string, now time.Time) error {
	text := `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::` + manager + `:root"},"Action":"sts:AssumeRole"}]}`
	return store.Roles.Put(tx, &resource.IAMRole{
		AccountID: a.ID, Name: name, ID: id, Path: "/", Trust: resource.Bound{Text: text}, MaxSession: time.Hour, CreatedAt: now,
		Permissions: resource.Permissions{Attached: []string{policy.ManagedPrefix + "AdministratorAccess"}},
	})
}

func status(a *resource.Account) *shape.CreateAccountStatus {
	return &shape.CreateAccountStatus{
		Id: a.Request, AccountName: a.Name, AccountId: a.ID, State: shape.CreateAccountStateSucceeded, RequestedTimestamp: a.CreatedAt, CompletedTimestamp: a.CreatedAt,
	}
}

// DescribeCreateAccountStatus tells how a CreateAccount ended. What failed has failed at once.
func (s *Service) DescribeCreateAccountStatus(ctx context.Context, in *shape.DescribeCreateAccountStatusRequest) (*shape.DescribeCreateAccountStatusResult, error) {
	if _, err := manager(ctx); err != nil {
		return nil, err
	}
	for a := range store.Accounts.All(s.Store.Snapshot()) {
		if a.Request != "" && a.Request == in.CreateAccountRequestId {
			return &shape.DescribeCreateAccountStatusResult{CreateAccountStatus: status(a)}, nil
		}
	}
	return nil, awserr.New("CreateAccountStatusNotFoundException", "We can't find a create account request with the CreateAccountRequestId that you specified.")
}

// ListCreateAccountStatus lists the accounts that CreateAccount made.
func (s *Service) ListCreateAccountStatus(ctx context.Context, in *shape.ListCreateAccountStatusRequest) (*shape.ListCreateAccountStatusResult, error) {
	out := &shape.ListCreateAccountStatusResult{CreateAccountStatuses: []shape.CreateAccountStatus{}}
	wanted := len(in.States) == 0
	for _, state := range in.States {
		wanted = wanted || state == shape.CreateAccountStateSucceeded
	}
	next, err := s.page(ctx, "ListCreateAccountStatus", in.MaxResults, in.NextToken, func(a *resource.Account) bool {
		if a.Request == "" || !wanted {
			return false
		}
		out.CreateAccountStatuses = append(out.CreateAccountStatuses, *status(a))
		return true
	})
	out.NextToken = next
	return out, err
}

// page walks through the accounts from where the token says; take says whether it took one.
func (s *Service) page(ctx context.Context, operation string, maxResults *int, token string, take func(a *resource.Account) bool) (string, error) {
	info, err := manager(ctx)
	if err != nil {
		return "", err
	}
	limit := mostResults
	if maxResults != nil {
		if limit = *maxResults; limit < 1 || limit > mostResults {
			return "", awserr.New("InvalidInputException", "You specified an invalid value: MaxResults")
		}
	}
	after, err := s.Tokens.Open(token, operation, info.AccountID)
	if err != nil {
		return "", awserr.New("InvalidInputException", "You specified an invalid value: NextToken").Because(err)
	}
	n, last := 0, ""
	for a := range store.Accounts.From(s.Store.Snapshot(), after) {
		if a.ID == after {
			continue
		}
		if n == limit {
			return s.Tokens.Make(last, operation, info.AccountID), nil
		}
		if take(a) {
			n++
		}
		last = a.ID
	}
	return "", nil
}

func (s *Service) show(r store.Reader, a *resource.Account) *shape.Account {
	manager := a.ID
	if m := s.management(r); m != nil {
		manager = m.ID
	}
	out := &shape.Account{
		Id: a.ID, Arn: accountARN(manager, a.ID), Email: a.Email, Name: a.Name,
		Status: shape.AccountStatusActive, JoinedMethod: shape.AccountJoinedMethodCreated, JoinedTimestamp: a.CreatedAt,
	}
	switch {
	case a.Closing:
		out.Status = shape.AccountStatusPendingClosure
	case a.Suspended:
		out.Status = shape.AccountStatusSuspended
	}
	return out
}

// ListAccounts lists all accounts of the cloud.
func (s *Service) ListAccounts(ctx context.Context, in *shape.ListAccountsRequest) (*shape.ListAccountsResult, error) {
	out, r := &shape.ListAccountsResult{Accounts: []shape.Account{}}, s.Store.Snapshot()
	next, err := s.page(ctx, "ListAccounts", in.MaxResults, in.NextToken, func(a *resource.Account) bool {
		out.Accounts = append(out.Accounts, *s.show(r, a))
		return true
	})
	out.NextToken = next
	return out, err
}

// DescribeAccount shows one account.
func (s *Service) DescribeAccount(ctx context.Context, in *shape.DescribeAccountRequest) (*shape.DescribeAccountResult, error) {
	if _, err := manager(ctx); err != nil {
		return nil, err
	}
	r := s.Store.Snapshot()
	a := store.Accounts.Get(r, in.AccountId)
	if a == nil {
		return nil, notFound()
	}
	return &shape.DescribeAccountResult{Account: s.show(r, a)}, nil
}

func notFound() error {
	return awserr.New("AccountNotFoundException", "You specified an account that doesn't exist.")
}

// CloseAccount suspends an account: nobody of it gets in any more, and what it has stays until the administrator
// deletes it (karri account delete) or lets it in again.
func (s *Service) CloseAccount(ctx context.Context, in *shape.CloseAccountRequest) (*shape.CloseAccountResult, error) {
	info, err := manager(ctx)
	if err != nil {
		return nil, err
	}
	a := store.Accounts.Get(s.Store.Snapshot(), in.AccountId)
	switch {
	case a == nil:
		return nil, notFound()
	case a.ID == info.AccountID:
		return nil, awserr.New("ConstraintViolationException", "You cannot close the management account.").With("Reason", "CANNOT_CLOSE_MANAGEMENT_ACCOUNT")
	case !a.Open():
		return nil, awserr.New("AccountAlreadyClosedException", "You attempted to close an account that is already closed.")
	}
	if err := s.Identity.SuspendAccount(ctx, a.ID, true); err != nil {
		return nil, err
	}
	return &shape.CloseAccountResult{}, nil
}

// DescribeOrganization shows the cloud as an organization, to every account of it.
func (s *Service) DescribeOrganization(_ context.Context, _ *shape.DescribeOrganizationRequest) (*shape.DescribeOrganizationResult, error) {
	m := s.management(s.Store.Snapshot())
	if m == nil {
		return nil, awserr.New("AWSOrganizationsNotInUseException", "Your account is not a member of an organization.")
	}
	id := organization(m.ID)
	return &shape.DescribeOrganizationResult{Organization: &shape.Organization{
		Id: id, Arn: "arn:aws:organizations::" + m.ID + ":organization/" + id, FeatureSet: shape.OrganizationFeatureSetConsolidatedBilling,
		MasterAccountId: m.ID, MasterAccountArn: accountARN(m.ID, m.ID), MasterAccountEmail: m.Email,
		AvailablePolicyTypes: []shape.PolicyTypeSummary{},
	}}, nil
}
