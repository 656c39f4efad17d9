package servicequotas

import (
	"context"
	"math"
	"slices"
	"time"

	"karri.dev/internal/aws/awserr"
	"karri.dev/internal/aws/call"
	shape "karri.dev/internal/aws/shape/servicequotas"
	"karri.dev/internal/quota"
	"karri.dev/internal/resource"
	"karri.dev/internal/store"
)

// mostKept is how many requests of an account are remembered: decided ones make room for new ones.
const mostKept = 100

// RequestServiceQuotaIncrease asks the administrator for more of something. There is one open request of a quota at a
// time.
func (s *Service) RequestServiceQuotaIncrease(ctx context.Context, in *shape.RequestServiceQuotaIncreaseRequest) (*shape.RequestServiceQuotaIncreaseResult, error) {
	q, err := find(in.ServiceCode, in.QuotaCode)
	if err != nil {
		return nil, err
	}
	info := call.From(ctx)
	switch {
	case in.ContextId != "":
		return nil, noContext()
	case in.DesiredValue != math.Trunc(in.DesiredValue) || in.DesiredValue < 0 || in.DesiredValue > 1e10: // not a number is none of these
		return nil, awserr.New("IllegalArgumentException", "The desired value must be a whole number between 0 and 10000000000.")
	}
	now := s.Now().Truncate(time.Second)
	made := &resource.QuotaRequest{
		AccountID: info.AccountID, ID: s.IDs.Hex(16), Region: info.Region, Key: q.Key, Wanted: int64(in.DesiredValue),
		State: resource.QuotaPending, Requester: info.ARN, CreatedAt: now, ChangedAt: now,
	}
	err = s.Store.Update(ctx, func(tx *store.Tx) error {
		most, limited, err := s.Quotas.Most(tx, info, q.Key)
		if err != nil {
			return err
		}
		if !limited || made.Wanted <= most {
			return awserr.New("IllegalArgumentException", "You must provide a quota value greater than the current quota value: %d", most)
		}
		had := requests(tx, info.AccountID)
		for _, r := range had {
			if r.Key == q.Key && r.State.Open() {
				return awserr.New("ResourceAlreadyExistsException", "Only one open service quota increase request is allowed per quota.")
			}
		}
		for _, r := range had { // the oldest first
			if len(had) < mostKept {
				break
			}
			if !r.State.Open() {
				store.QuotaRequests.Delete(tx, store.UserKey(r.AccountID, r.ID))
				had = had[1:]
			}
		}
		return store.QuotaRequests.Put(tx, made)
	})
	if err != nil {
		return nil, err
	}
	return &shape.RequestServiceQuotaIncreaseResult{RequestedQuota: showRequest(made)}, nil
}

// requests gives an account's requests, the oldest first.
func requests(r store.Reader, account string) []*resource.QuotaRequest {
	var all []*resource.QuotaRequest
	for q := range store.QuotaRequests.From(r, account+"/") {
		if q.AccountID != account {
			break
		}
		all = append(all, q)
	}
	slices.SortStableFunc(all, func(a, b *resource.QuotaRequest) int { return a.CreatedAt.Compare(b.CreatedAt) })
	return all
}

// DeleteAccount removes what a deleted account has asked for.
func DeleteAccount(tx *store.Tx, account string) {
	for _, q := range requests(tx, account) {
		store.QuotaRequests.Delete(tx, store.UserKey(account, q.ID))
	}
}

// quotaOf gives the quota that a request is about; nil for one that is no more.
func quotaOf(r *resource.QuotaRequest) *quota.Quota {
	all := known("")
	if i := slices.IndexFunc(all, func(q quota.Quota) bool { return q.Key == r.Key }); i >= 0 {
		return &all[i]
	}
	return nil
}

func showRequest(r *resource.QuotaRequest) *shape.RequestedServiceQuotaChange {
	out := &shape.RequestedServiceQuotaChange{
		Id: r.ID, DesiredValue: float64(r.Wanted), Status: string(r.State), Created: r.CreatedAt, LastUpdated: r.ChangedAt,
		Requester: r.Requester, Unit: "None", QuotaRequestedAtLevel: accountLevel,
	}
	if q := quotaOf(r); q != nil {
		out.ServiceCode, out.ServiceName, out.QuotaCode, out.QuotaName = q.Service, names[q.Service], q.Code, q.Name
		out.QuotaArn, out.GlobalQuota = arn(q, r.Region, r.AccountID), q.Global()
	}
	return out
}

// GetRequestedServiceQuotaChange shows one request.
func (s *Service) GetRequestedServiceQuotaChange(ctx context.Context, in *shape.GetRequestedServiceQuotaChangeRequest) (*shape.GetRequestedServiceQuotaChangeResult, error) {
	r := store.QuotaRequests.Get(s.Store.Snapshot(), store.UserKey(call.From(ctx).AccountID, in.RequestId))
	if r == nil {
		return nil, awserr.New("NoSuchResourceException", "The request failed because the specified quota increase request does not exist.")
	}
	return &shape.GetRequestedServiceQuotaChangeResult{RequestedQuota: showRequest(r)}, nil
}

// ListRequestedServiceQuotaChangeHistory lists the account's requests of the region, of one service or of all.
func (s *Service) ListRequestedServiceQuotaChangeHistory(ctx context.Context, in *shape.ListRequestedServiceQuotaChangeHistoryRequest) (*shape.ListRequestedServiceQuotaChangeHistoryResult, error) {
	if in.ServiceCode != "" && len(known(in.ServiceCode)) == 0 {
		return nil, noService()
	}
	list, next, err := s.history(ctx, in.MaxResults, in.NextToken, in.ServiceCode, "", in.Status, in.QuotaRequestedAtLevel)
	return &shape.ListRequestedServiceQuotaChangeHistoryResult{RequestedQuotas: list, NextToken: next}, err
}

// ListRequestedServiceQuotaChangeHistoryByQuota lists the account's requests of one quota.
func (s *Service) ListRequestedServiceQuotaChangeHistoryByQuota(ctx context.Context, in *shape.ListRequestedServiceQuotaChangeHistoryByQuotaRequest) (*shape.ListRequestedServiceQuotaChangeHistoryByQuotaResult, error) {
	if _, err := find(in.ServiceCode, in.QuotaCode); err != nil {
		return nil, err
	}
	list, next, err := s.history(ctx, in.MaxResults, in.NextToken, in.ServiceCode, in.QuotaCode, in.Status, in.QuotaRequestedAtLevel)
	return &shape.ListRequestedServiceQuotaChangeHistoryByQuotaResult{RequestedQuotas: list, NextToken: next}, err
}

func (s *Service) history(ctx context.Context, maxResults *int, token, service, code, status, level string) ([]shape.RequestedServiceQuotaChange, string, error) {
	info := call.From(ctx)
	all := slices.DeleteFunc(requests(s.Store.Snapshot(), info.AccountID), func(r *resource.QuotaRequest) bool {
		q := quotaOf(r)
		return q == nil || service != "" && q.Service != service || code != "" && q.Code != code || status != "" && string(r.State) != status ||
			level == "RESOURCE" || !q.Global() && r.Region != info.Region
	})
	out := []shape.RequestedServiceQuotaChange{}
	next, err := list(s, ctx, maxResults, token, []string{service, code, status, level}, all, requestKey, func(r *resource.QuotaRequest) error {
		out = append(out, *showRequest(r))
		return nil
	})
	return out, next, err
}

// requestKey orders requests by time.
func requestKey(r *resource.QuotaRequest) string {
	return r.CreatedAt.UTC().Format(time.RFC3339) + r.ID
}

// Decide is the administrator's answer to a request: with yes, the account's quota is what was asked for.
func Decide(tx *store.Tx, id string, yes bool, now time.Time) error {
	for r := range store.QuotaRequests.All(tx) {
		if r.ID != id || !r.State.Open() {
			continue
		}
		next := *r
		next.State, next.ChangedAt = resource.QuotaDenied, now.Truncate(time.Second)
		if yes {
			next.State = resource.QuotaApproved
			if err := quota.Put(tx, r.AccountID, map[string]int64{r.Key: r.Wanted}); err != nil {
				return err
			}
		}
		return store.QuotaRequests.Put(tx, &next)
	}
	return awserr.New("NoSuchResourceException", "There is no open request %s.", id)
}
