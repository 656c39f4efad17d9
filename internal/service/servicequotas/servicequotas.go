// Package servicequotas serves AWS's Service Quotas: what an account may have of what AWS counts too, and requests
// for more, which the cloud's administrator decides.
package servicequotas

import (
	"context"
	"slices"
	"strings"
	"time"

	"karri.dev/internal/authz"
	"karri.dev/internal/aws/awserr"
	"karri.dev/internal/aws/call"
	shape "karri.dev/internal/aws/shape/servicequotas"
	"karri.dev/internal/ids"
	"karri.dev/internal/page"
	"karri.dev/internal/quota"
	"karri.dev/internal/store"
)

// mostResults is Service Quotas' page size.
const mostResults = 100

// accountLevel says that a quota is the account's, and not a resource's.
const accountLevel = "ACCOUNT"

// Deps are what the service works with.
type Deps struct {
	Store  *store.Store
	Quotas *quota.Keeper
	IDs    *ids.Source
	Tokens *page.Tokens
	Now    func() time.Time
}

// Service implements the operations.
type Service struct{ Deps }

var _ shape.API = (*Service)(nil)

// New makes a Service.
func New(deps Deps) *Service { return &Service{deps} }

// Permissions is what each operation asks leave for: the action of its own name, on the quota that it is about.
func Permissions() authz.Service {
	quota := authz.Entry{On: "quota:+ServiceCode,QuotaCode", Keys: "servicequotas:service=ServiceCode"}
	return authz.Service{
		Table: authz.Table{
			"ListServices": {}, "ListServiceQuotas": {}, "GetServiceQuota": quota, "ListAWSDefaultServiceQuotas": {}, "GetAWSDefaultServiceQuota": {},
			"GetRequestedServiceQuotaChange": {}, "ListRequestedServiceQuotaChangeHistory": {}, "ListRequestedServiceQuotaChangeHistoryByQuota": quota,
			"RequestServiceQuotaIncrease": quota,
		},
		Kinds: map[string]authz.Kind{"quota": {
			ARN: func(b []byte, info *call.Info, name string) []byte {
				return append(b, "arn:aws:servicequotas:"+info.Region+":"+info.AccountID+":"+name...)
			},
			New: func(_ *call.Info, members []string) string { return strings.Join(members, "/") },
		}},
	}
}

// Notes says per operation what of it is not honoured.
func Notes() map[string]string {
	const only = "Only quotas that this cloud counts and AWS has as well; the rest is in karri account quota."
	return map[string]string{
		"ListServices": only, "ListServiceQuotas": only, "ListAWSDefaultServiceQuotas": only,
		"GetServiceQuota":             "As much as there is reads as 1048576.",
		"RequestServiceQuotaIncrease": "The cloud's administrator decides (karri account quota-requests); the new number holds in every region.",
	}
}

// names are those of the services that have quotas, by code.
var names = map[string]string{
	"ebs": "Amazon Elastic Block Store (Amazon EBS)",
	"ec2": "Amazon Elastic Compute Cloud (Amazon EC2)",
	"iam": "AWS Identity and Access Management (IAM)",
	"s3":  "Amazon Simple Storage Service (Amazon S3)",
	"vpc": "Amazon Virtual Private Cloud (Amazon VPC)",
}

// known gives the quotas that AWS has too, in order of code: of one service, or, for "", of all.
func known(service string) []quota.Quota {
	all := slices.DeleteFunc(quota.All(), func(q quota.Quota) bool { return q.Code == "" || service != "" && q.Service != service })
	slices.SortFunc(all, func(a, b quota.Quota) int { return strings.Compare(a.Service+a.Code, b.Service+b.Code) })
	return all
}

func noService() error {
	return awserr.New("NoSuchResourceException", "The request failed because the specified service does not exist.")
}

// find gives a quota by what AWS calls it.
func find(service, code string) (*quota.Quota, error) {
	all := known(service)
	if service == "" || len(all) == 0 {
		return nil, noService()
	}
	for i := range all {
		if all[i].Code == code {
			return &all[i], nil
		}
	}
	return nil, awserr.New("NoSuchResourceException", "The request failed because the specified quota does not exist.")
}

// arn is a quota's ARN; without an account it is that of AWS's default.
func arn(q *quota.Quota, region, account string) string {
	if q.Global() {
		region = ""
	}
	return "arn:aws:servicequotas:" + region + ":" + account + ":" + q.Service + "/" + q.Code
}

func show(q *quota.Quota, region, account string, value int64) shape.ServiceQuota {
	out := shape.ServiceQuota{
		ServiceCode: q.Service, ServiceName: names[q.Service], QuotaArn: arn(q, region, account), QuotaCode: q.Code, QuotaName: q.Name,
		Value: float64(value), Unit: "None", Adjustable: true, GlobalQuota: q.Global(),
	}
	if account != "" {
		out.QuotaAppliedAtLevel = accountLevel
	}
	return out
}

// applied shows what the caller's account has.
func (s *Service) applied(info *call.Info, q *quota.Quota) (shape.ServiceQuota, error) {
	n, _, err := s.Quotas.Most(s.Store.Snapshot(), info, q.Key)
	return show(q, info.Region, info.AccountID, n), err
}

// GetServiceQuota shows what the account may have.
func (s *Service) GetServiceQuota(ctx context.Context, in *shape.GetServiceQuotaRequest) (*shape.GetServiceQuotaResult, error) {
	q, err := find(in.ServiceCode, in.QuotaCode)
	if err != nil {
		return nil, err
	}
	if in.ContextId != "" {
		return nil, noContext()
	}
	out, err := s.applied(call.From(ctx), q)
	return &shape.GetServiceQuotaResult{Quota: &out}, err
}

func noContext() error {
	return awserr.New("IllegalArgumentException", "The quota is not applied at the level of resources: it takes no ContextId.")
}

// GetAWSDefaultServiceQuota shows what AWS's accounts may have at first.
func (s *Service) GetAWSDefaultServiceQuota(ctx context.Context, in *shape.GetAWSDefaultServiceQuotaRequest) (*shape.GetAWSDefaultServiceQuotaResult, error) {
	q, err := find(in.ServiceCode, in.QuotaCode)
	if err != nil {
		return nil, err
	}
	out := show(q, call.From(ctx).Region, "", q.Default)
	return &shape.GetAWSDefaultServiceQuotaResult{Quota: &out}, nil
}

// ListServices lists the services that have quotas.
func (s *Service) ListServices(ctx context.Context, in *shape.ListServicesRequest) (*shape.ListServicesResult, error) {
	out := &shape.ListServicesResult{Services: []shape.ServiceInfo{}}
	var codes []string
	for _, q := range known("") {
		if !slices.Contains(codes, q.Service) {
			codes = append(codes, q.Service)
		}
	}
	next, err := list(s, ctx, in.MaxResults, in.NextToken, nil, codes, func(code string) string { return code }, func(code string) error {
		out.Services = append(out.Services, shape.ServiceInfo{ServiceCode: code, ServiceName: names[code]})
		return nil
	})
	out.NextToken = next
	return out, err
}

// ListServiceQuotas lists what the account may have.
func (s *Service) ListServiceQuotas(ctx context.Context, in *shape.ListServiceQuotasRequest) (*shape.ListServiceQuotasResult, error) {
	out := &shape.ListServiceQuotasResult{Quotas: []shape.ServiceQuota{}}
	info, all := call.From(ctx), known(in.ServiceCode)
	if in.ServiceCode == "" || len(all) == 0 {
		return nil, noService()
	}
	all = slices.DeleteFunc(all, func(q quota.Quota) bool {
		return in.QuotaCode != "" && q.Code != in.QuotaCode || in.QuotaAppliedAtLevel == "RESOURCE"
	})
	next, err := list(s, ctx, in.MaxResults, in.NextToken, []string{in.ServiceCode, in.QuotaCode, in.QuotaAppliedAtLevel}, all, codeOf, func(q quota.Quota) error {
		shown, err := s.applied(info, &q)
		out.Quotas = append(out.Quotas, shown)
		return err
	})
	out.NextToken = next
	return out, err
}

// ListAWSDefaultServiceQuotas lists what AWS's accounts may have at first.
func (s *Service) ListAWSDefaultServiceQuotas(ctx context.Context, in *shape.ListAWSDefaultServiceQuotasRequest) (*shape.ListAWSDefaultServiceQuotasResult, error) {
	out := &shape.ListAWSDefaultServiceQuotasResult{Quotas: []shape.ServiceQuota{}}
	info, all := call.From(ctx), known(in.ServiceCode)
	if in.ServiceCode == "" || len(all) == 0 {
		return nil, noService()
	}
	next, err := list(s, ctx, in.MaxResults, in.NextToken, []string{in.ServiceCode}, all, codeOf, func(q quota.Quota) error {
		out.Quotas = append(out.Quotas, show(&q, info.Region, "", q.Default))
		return nil
	})
	out.NextToken = next
	return out, err
}

func codeOf(q quota.Quota) string { return q.Code }

// list walks through things in order of key from where the token says; what the token is good for is the operation
// with these parameters.
func list[T any](s *Service, ctx context.Context, maxResults *int, token string, scope []string, all []T, key func(T) string, take func(T) error) (string, error) {
	info := call.From(ctx)
	limit := mostResults
	if maxResults != nil {
		if limit = *maxResults; limit < 1 || limit > mostResults {
			return "", awserr.New("IllegalArgumentException", "MaxResults must be between 1 and %d.", mostResults)
		}
	}
	scope = append([]string{info.Operation, info.AccountID, info.Region}, scope...)
	after, err := s.Tokens.Open(token, scope...)
	if err != nil {
		return "", awserr.New("InvalidPaginationTokenException", "Invalid token was used.").Because(err)
	}
	n, last := 0, ""
	for _, v := range all {
		if key(v) <= after {
			continue
		}
		if n == limit {
			return s.Tokens.Make(last, scope...), nil
		}
		if err := take(v); err != nil {
			return "", err
		}
		n, last = n+1, key(v)
	}
	return "", nil
}
