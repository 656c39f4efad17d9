package resource

import "time"

// QuotaRequestState is where a wish for a larger quota stands, in Service Quotas' words.
type QuotaRequestState string

const (
	QuotaPending  QuotaRequestState = "PENDING"
	QuotaApproved QuotaRequestState = "APPROVED"
	QuotaDenied   QuotaRequestState = "DENIED"
)

// Open says that the administrator has not decided yet.
func (s QuotaRequestState) Open() bool { return s == QuotaPending }

// QuotaRequest is an account's wish for a larger quota.
type QuotaRequest struct {
	AccountID string            `json:"account"`
	ID        string            `json:"id"`
	Region    string            `json:"region"`
	Key       string            `json:"key"` // of the quota: "ec2:quota-vpcnumber"
	Wanted    int64             `json:"wanted"`
	State     QuotaRequestState `json:"state"`
	Requester string            `json:"requester"` // ARN
	CreatedAt time.Time         `json:"created"`
	ChangedAt time.Time         `json:"changed"`
}
