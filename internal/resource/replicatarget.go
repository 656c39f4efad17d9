package resource

import "time"

// ReplicaTarget is another S3 endpoint that an account's buckets may be replicated to, under an access key there. Only the
// administrator makes one: the cloud itself calls it.
type ReplicaTarget struct {
	AccountID string    `json:"account"`
	Name      string    `json:"name"` // replication rules name arn:aws:s3:::BUCKET@NAME
	Endpoint  string    `json:"endpoint"`
	Region    string    `json:"region"`
	AccessKey string    `json:"access_key"`
	Sealed    []byte    `json:"sealed"`       // the secret key, sealed with the cloud's key
	CA        string    `json:"ca,omitempty"` // certificates (PEM) to trust in place of the system's
	CreatedAt time.Time `json:"created"`
}

// Key names it in the store.
func (t *ReplicaTarget) Key() string { return t.AccountID + "/" + t.Name }
