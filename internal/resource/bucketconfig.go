package resource

import "encoding/json"

// BucketConfig is one configuration of a bucket: its CORS rules, its policy … It is a record of its own, so
// that what every request reads of a bucket stays small.
type BucketConfig struct {
	Bucket string     `json:"bucket"` // Bucket.Engine: the next bucket of the name begins without
	Kind   BucketPart `json:"kind"`
	// Document is the S3 service's, in AWS's own member names.
	Document json.RawMessage `json:"document"`
}

// BucketPart names a configuration.
type BucketPart string

// The configurations. What a bucket has without a record is as of a new bucket at AWS, unless said.
const (
	PartCORS           BucketPart = "cors"
	PartWebsite        BucketPart = "website"
	PartLogging        BucketPart = "logging"
	PartNotification   BucketPart = "notification"
	PartLifecycle      BucketPart = "lifecycle"
	PartReplication    BucketPart = "replication"
	PartRequestPayment BucketPart = "request-payment"
	PartAccelerate     BucketPart = "accelerate"
	PartOwnership      BucketPart = "ownership"     // none: ACLs are off
	PartPublicAccess   BucketPart = "public-access" // none: all is blocked
	PartPolicy         BucketPart = "policy"
	PartACL            BucketPart = "acl" // none: private

	// Of these a bucket has many: "inventory/ID".
	PartAnalytics BucketPart = "analytics"
	PartInventory BucketPart = "inventory"
	PartMetrics   BucketPart = "metrics"
	PartTiering   BucketPart = "tiering"
	// PartInventoried is when the inventory of an id was written last.
	PartInventoried BucketPart = "inventoried"
)
