package resource

import "time"

// Webhook is a URL that is told of events. Only the administrator makes one: the cloud itself calls it, from
// where its tenants could not.
type Webhook struct {
	ARN       string    `json:"arn"`     // arn:aws:sns:REGION:ACCOUNT:NAME, as clients name it
	AccountID string    `json:"account"` // whose buckets may use it
	URL       string    `json:"url"`
	Sealed    []byte    `json:"sealed,omitempty"` // a token for the Authorization header, sealed with the cloud's key
	CreatedAt time.Time `json:"created"`
}
