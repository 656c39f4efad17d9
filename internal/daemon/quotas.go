package daemon

import (
	"context"
	"time"

	"karri.dev/internal/admin"
	"karri.dev/internal/aws/call"
	"karri.dev/internal/quota"
	"karri.dev/internal/resource"
	"karri.dev/internal/service/s3"
	"karri.dev/internal/service/servicequotas"
	"karri.dev/internal/store"
)

// What the karri command asks of a cloud process about quotas.
type (
	// Quotas asks for an account's quotas after changing them. Account "" means all that have none of their own.
	Quotas struct {
		Account  string
		Set      map[string]int64 // by key; quota.None takes one away
		Policy   *string          // in place of the whole policy; "" takes it away
		Defaults string           // of the cloud: quota.DefaultsUsual …; "" leaves them
		Buckets  bool             // tell what each bucket holds
	}
	// AccountQuotas are an account's quotas, and what it has.
	AccountQuotas struct {
		Account string      `json:"Account"`
		Policy  string      `json:"Policy,omitempty"`
		Quotas  []QuotaInfo `json:"Quotas"`

		Buckets []s3.BucketUsage `json:"Buckets,omitempty"`
	}
	// QuotaInfo is one of them.
	QuotaInfo struct {
		Key    string `json:"Key"`
		Counts string `json:"Counts"`
		Unit   string `json:"Unit,omitempty"`
		Used   int64  `json:"Used"`
		Most   *int64 `json:"Most"` // null: as much as there is
	}
	// QuotaDecision is the answer to an account's request for more; without an ID there is none yet.
	QuotaDecision struct {
		ID     string
		Accept bool
	}
)

// inBuckets gives what is used of the quotas on what is in buckets.
func inBuckets(buckets []s3.BucketUsage) map[string]int64 {
	var total, largest, objects int64
	for _, b := range buckets {
		total, largest, objects = total+b.Bytes, max(largest, b.Bytes), max(objects, b.Objects)
	}
	mib := func(n int64) int64 { return (n + 1<<20 - 1) >> 20 }
	return map[string]int64{quota.TotalSize: mib(total), quota.BucketSize: mib(largest), quota.BucketObjects: objects}
}

func (p *cloudProcess) quotaMethods() map[string]admin.Method {
	return map[string]admin.Method{"account-quotas": admin.Handle(p.accountQuotas), "quota-requests": admin.Handle(p.quotaRequests)}
}

// quotaRequests gives the accounts' requests for more, after deciding one.
func (p *cloudProcess) quotaRequests(ctx context.Context, in QuotaDecision) ([]resource.QuotaRequest, error) {
	if in.ID != "" {
		err := p.store.Update(ctx, func(tx *store.Tx) error { return servicequotas.Decide(tx, in.ID, in.Accept, time.Now()) })
		if err != nil {
			return nil, err
		}
	}
	out := []resource.QuotaRequest{}
	for q := range store.QuotaRequests.All(p.store.Snapshot()) {
		out = append(out, *q)
	}
	return out, nil
}

func (p *cloudProcess) accountQuotas(ctx context.Context, in Quotas) (AccountQuotas, error) {
	a := resource.Account{}
	if in.Account != "" {
		var err error
		if a, err = p.role.Identity.Account(in.Account); err != nil {
			return AccountQuotas{}, err
		}
	}
	if in.Policy != nil || len(in.Set) > 0 || in.Defaults != "" {
		err := p.store.Update(ctx, func(tx *store.Tx) error {
			if in.Defaults != "" {
				if err := quota.SetDefaults(tx, in.Defaults); err != nil {
					return err
				}
			}
			if in.Policy != nil {
				if err := quota.PutPolicy(tx, a.ID, *in.Policy); err != nil {
					return err
				}
			}
			if len(in.Set) == 0 {
				return nil
			}
			return quota.Put(tx, a.ID, in.Set)
		})
		if err != nil {
			return AccountQuotas{}, err
		}
	}
	r := p.store.Snapshot()
	out := AccountQuotas{Account: a.Name, Policy: quota.Policy(r, a.ID), Quotas: []QuotaInfo{}}
	buckets, err := p.role.BucketUsage(ctx, a.ID)
	if err != nil {
		return AccountQuotas{}, err
	}
	if in.Buckets {
		out.Buckets = buckets
	}
	stored := inBuckets(buckets)
	info := &call.Info{Caller: call.Caller{AccountID: a.ID, UserID: a.ID}, Region: p.cfg.Region}
	for _, q := range quota.All() {
		i := QuotaInfo{Key: q.Key, Counts: q.Counts, Unit: q.Unit, Used: q.Used(r, a.ID, p.cfg.Region) + stored[q.Key]}
		n, limited, err := p.role.Quotas.Most(r, info, q.Key)
		if err != nil {
			return AccountQuotas{}, err
		}
		if limited {
			i.Most = &n
		}
		out.Quotas = append(out.Quotas, i)
	}
	return out, nil
}
