package resource

import "time"

// Bucket is an S3 bucket. Its objects' index is the object engine's, not the store's.
type Bucket struct {
	Name      string    `json:"name"` // unique in the cloud
	AccountID string    `json:"account"`
	Region    string    `json:"region"`
	CreatedAt time.Time `json:"created"`
	// Engine is its name in the object engine: another one each time a bucket of this name is made, so that a
	// late write into a deleted bucket never shows up in the next one.
	Engine string `json:"engine"`
	System bool   `json:"system,omitempty"` // Karri's own: invisible to every API
	// Creator is the unique id of the user or role that made it, whose quotas it counts against; "" is the root.
	Creator string `json:"by,omitempty"`
	Tags    Tags   `json:"tags,omitempty"`
	// Versioning is "" (never enabled), "Enabled" or "Suspended".
	Versioning string      `json:"versioning,omitempty"`
	Lock       *BucketLock `json:"lock,omitempty"`      // object lock is enabled, for good
	BucketKey  bool        `json:"bucketKey,omitempty"` // of the default encryption; it means nothing without KMS
}

// BucketLock is a bucket's object lock: what new versions get that bring no retention of their own.
type BucketLock struct {
	Mode  string `json:"mode,omitempty"` // "": nothing; else GOVERNANCE or COMPLIANCE, with Days or Years
	Days  int    `json:"days,omitempty"`
	Years int    `json:"years,omitempty"`
}
