// Package resource is the domain: what Karri stores about accounts, machines, networks, images and nodes.
// Records are plain data without I/O. A record is immutable once it is in the store: to change one, copy
// it, change the copy and Put it. Slices and maps in a record are part of it: never change them in place.
package resource

import "time"

// Tags are a resource's tags.
type Tags map[string]string

// Owned is what every regional resource has.
type Owned struct {
	AccountID string    `json:"account"`
	Region    string    `json:"region"`
	CreatedAt time.Time `json:"created"`
	Tags      Tags      `json:"tags,omitempty"`
	// Creator is the unique id of the user or role that made it, whose quotas it counts against; "" is the root.
	Creator string `json:"by,omitempty"`
}

// OwnedBy gives the key "ACCOUNT/REGION" that indexes use.
func (o Owned) OwnedBy() string { return o.AccountID + "/" + o.Region }

// Holders are whose quotas it counts against: OwnedBy, and "CREATOR/REGION".
func (o Owned) Holders() []string {
	if o.Creator == "" {
		return []string{o.OwnedBy()}
	}
	return []string{o.OwnedBy(), o.Creator + "/" + o.Region}
}
