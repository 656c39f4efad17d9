package resource

import "time"

// Snapshot is an EBS snapshot. Its data is one object in the system bucket: a qcow2 file that stands alone, as an
// image's is. Handlers make it; the zone of its volume fills it.
type Snapshot struct {
	Owned
	ID          string    `json:"id"` // snap-…
	VolumeID    string    `json:"volume"`
	SizeGiB     int       `json:"size_gib"`
	Description string    `json:"description,omitempty"`
	State       string    `json:"state"` // "pending", "completed", "error"
	Progress    int       `json:"progress"`
	Reason      string    `json:"reason,omitempty"` // of an error
	CompletedAt time.Time `json:"completed,omitzero"`
	Data        ImageData `json:"data"`
	Public      bool      `json:"public,omitempty"`
	Accounts    []string  `json:"accounts,omitempty"` // that may make volumes of it
	// Zone has the volume; "" for a snapshot that was not made of one.
	Zone string `json:"zone,omitempty"`
}

// ImageMapping is a block device mapping of an image.
type ImageMapping struct {
	Device      string `json:"device"`
	SnapshotID  string `json:"snapshot,omitempty"`
	SizeGiB     int    `json:"size_gib,omitempty"`
	Type        string `json:"type,omitempty"`
	IOPS        int    `json:"iops,omitempty"`
	Throughput  int    `json:"throughput,omitempty"`
	DeleteOnEnd bool   `json:"delete_on_termination,omitempty"`
	Virtual     string `json:"virtual,omitempty"` // "ephemeral0": no volume
}
