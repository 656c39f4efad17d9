package resource

import "encoding/json"

// LaunchTemplate is a named list of versions of launch parameters. Numbers of versions are never used twice.
type LaunchTemplate struct {
	Owned
	ID          string `json:"id"`   // lt-…
	Name        string `json:"name"` // unique in account and region
	CreatedBy   string `json:"created_by"`
	Default     int64  `json:"default"` // number of the default version: it always exists
	Newest      int64  `json:"newest"`  // the highest number given so far
	ClientToken string `json:"client_token,omitempty"`
	TokenDigest string `json:"token_digest,omitempty"`
}

// LaunchTemplateVersion is one version; immutable.
type LaunchTemplateVersion struct {
	Owned
	TemplateID  string `json:"template"`
	Number      int64  `json:"number"`
	Description string `json:"description,omitempty"`
	CreatedBy   string `json:"created_by"`
	// Data is the launch parameters: a JSON object whose names are AWS's (RequestLaunchTemplateData).
	Data           json.RawMessage `json:"data"`
	SealedUserData []byte          `json:"sealed_user_data,omitempty"` // of Data, see package userdata
	ClientToken    string          `json:"client_token,omitempty"`
	TokenDigest    string          `json:"token_digest,omitempty"`
}

// PlacementGroup says how its instances lie on nodes.
type PlacementGroup struct {
	Owned
	ID         string `json:"id"`       // pg-…
	Name       string `json:"name"`     // unique in account and region
	Strategy   string `json:"strategy"` // "cluster", "spread" or "partition"
	Partitions int    `json:"partitions,omitempty"`
}
