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
	Tags   Tags   `json:"tags,omitempty"`
}
